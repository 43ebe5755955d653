//! The disk space monitor of a run: looks on the beat, says what is to be said, and knows what the build may still do.
//!
//! Doesn't know tokens or the command: the loop closes the gate, or ends the build.

use crate::policy::diskmon::{Amounts, Intervals, State, Watch};
use crate::policy::ticker::Ticker;
use crate::policy::time::Moment;
use crate::proto::diskmon::{self, Entry, Monitor};
use crate::sys::disk;
use crate::sys::say::say;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Disks {
    beat: Ticker,
    intervals: Intervals,
    directories: Vec<Directory>,
    state: State,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    device: String,
    watch: Watch,
    /// It was said that it can't be seen.
    unseen: bool,
}

impl Disks {
    /// Looks for the first time after one `heartbeat`.
    pub fn new(monitor: &Monitor, heartbeat: Duration, now: Moment) -> Disks {
        Disks {
            beat: Ticker::new(heartbeat, now),
            intervals: monitor.intervals,
            directories: monitor.entries.iter().map(Directory::new).collect(),
            state: State::Open,
        }
    }

    /// When it wants to look; a build that is ended needs no more looking after.
    pub fn deadline(&self) -> Option<Moment> {
        (self.state != State::Halted).then(|| self.beat.next())
    }

    /// Looks, if it is time to.
    pub fn pass(&mut self, now: Moment) {
        if self.deadline().is_none() || !self.beat.due(now) {
            return;
        }
        let was = self.state;
        self.directories.iter_mut().for_each(|directory| directory.look(self.intervals));
        let states = self.directories.iter().map(|directory| directory.watch.state());
        self.state = states.max().unwrap_or(State::Open);
        if (was, self.state) == (State::Closed, State::Open) {
            say("New tasks can be executed again: there is enough free space");
        }
    }

    /// What the build may do.
    pub fn state(&self) -> State {
        self.state
    }
}

impl Directory {
    fn new(entry: &Entry) -> Directory {
        let path = disk::real_path(Path::new(&entry.dir));
        let device = disk::device(&path).unwrap_or_else(|| "no device".to_owned());
        Directory { path, device, watch: Watch::new(entry.action, entry.least), unseen: false }
    }

    fn look(&mut self, intervals: Intervals) {
        let free = disk::free(&self.path).unwrap_or_else(|error| {
            if !std::mem::replace(&mut self.unseen, true) {
                say(&format!("the free space of {} can't be seen ({error})", self.path.display()));
            }
            Amounts::default()
        });
        for word in self.watch.look(free, intervals) {
            say(&diskmon::sentence(word, &self.path.display().to_string(), &self.device));
        }
    }
}
