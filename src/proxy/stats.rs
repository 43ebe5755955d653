//! The statistics of a build, as OpenEmbedded's: sampled on the beat, and when the command starts and ends.
//!
//! Doesn't know formats, nor tokens. A build never fails for them: what can't be written is said once.

use crate::policy::ticker::Ticker;
use crate::policy::time::Moment;
use crate::proto::buildstats::{LOGS, Reducer, folder_name, task_ended, task_started};
use crate::sys::clock::wall_us;
use crate::sys::say::say;
use crate::sys::stats_folder::StatsFolder;
use std::time::Duration;

/// OpenEmbedded looks no more often.
const SHORTEST: Duration = Duration::from_millis(990);

/// See the module.
#[derive(Debug)]
pub struct Stats {
    beat: Ticker,
    folder: StatsFolder,
    reducer: Reducer,
    /// Of the command: the file, what it is called, when it started.
    task: String,
    name: String,
    started: Option<f64>,
    /// What can't be read isn't there: that is looked at no more.
    missing: [bool; LOGS.len()],
    is_over: bool,
}

fn seconds() -> f64 {
    wall_us() as f64 / 1e6
}

impl Stats {
    /// Of a command, into that folder.
    pub fn new(folder: StatsFolder, command: &str, label: &str, heartbeat: Duration, now: Moment) -> Stats {
        Stats {
            beat: Ticker::new(heartbeat.max(SHORTEST), now),
            folder,
            reducer: Reducer::default(),
            task: task(command),
            name: label.to_owned(),
            started: None,
            missing: [false; LOGS.len()],
            is_over: false,
        }
    }

    /// The command is about to run.
    pub fn start(&mut self) {
        let now = seconds();
        self.started = Some(now);
        self.append(None, &task_started(now));
        self.sample(now);
    }

    /// When it wants to look.
    pub fn deadline(&self) -> Option<Moment> {
        (self.started.is_some() && !self.is_over).then(|| self.beat.next())
    }

    /// Looks, if it is time to.
    pub fn pass(&mut self, now: Moment) {
        if self.deadline().is_some() && self.beat.due(now) {
            self.sample(seconds());
        }
    }

    /// The command has ended.
    pub fn close(mut self) {
        let Some(started) = self.started else { return };
        let now = seconds();
        self.sample(now);
        let text = task_ended(&self.name, started, now);
        self.append(None, &text);
    }

    fn sample(&mut self, now: f64) {
        let mut gone = Vec::new();
        for (which, (file, _)) in LOGS.iter().enumerate() {
            if self.missing[which] || self.is_over {
                continue;
            }
            match self.folder.read(file) {
                Ok(text) => {
                    if let Some(block) = self.reducer.reduce(which, now, &text) {
                        self.append(Some(which), &block);
                    }
                }
                Err(error) => {
                    log::info!("{file}: {error}");
                    self.missing[which] = true;
                    gone.push(*file);
                }
            }
        }
        // Others are missing on some hosts, and nobody misses them.
        gone.retain(|file| file.starts_with("pressure/"));
        if !gone.is_empty() {
            say(&format!("--buildstats: {} can't be read here: the build has no log of it", gone.join(", ")));
        }
    }

    /// To a log, or to the command's file.
    fn append(&mut self, log: Option<usize>, text: &str) {
        let file = log.map_or(self.task.as_str(), |which| LOGS[which].1);
        if self.is_over {
            return;
        }
        if let Err(why) = self.folder.append(file, text) {
            say(&format!("--buildstats {why}; nothing more is written there"));
            self.is_over = true;
        }
    }
}

/// All files that a command's statistics are written to.
pub fn files(command: &str) -> Vec<String> {
    LOGS.iter().map(|log| log.1.to_owned()).chain([task(command)]).collect()
}

fn task(command: &str) -> String {
    format!("{}/run", folder_name(command))
}
