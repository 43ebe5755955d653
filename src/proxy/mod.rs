//! One tree's proxy: an event loop between the gate, the tree's endpoint, signals and the command itself.
//!
//! Decides nothing: the gate says how many tokens the tree may hold, the front end how that is brought about.

pub mod attached;
pub mod disks;
mod fifo_front;
pub mod front;
pub mod journal;
pub mod link;
pub mod lost;
pub mod own;
pub mod payment;
mod pipe_front;
pub mod signals;
pub mod source;
pub mod stats;
mod tale;
pub mod upstream;

use crate::policy::diskmon::State;
use crate::policy::endpoint::Oddities;
use crate::policy::summary::Summary;
use crate::policy::time::Moment;
use crate::proto::status;
use crate::server::wait::wait;
use crate::sys::child::{self, Child, CommandLine};
use crate::sys::clock::Clock;
use crate::sys::notify::Original;
use crate::sys::say::say;
use crate::sys::schedule;
use front::Front;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use signals::{Happening, SignalDesk};
use source::Source;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitStatus;

/// What an event belongs to.
mod token {
    use mio::Token;
    pub const SIGNAL: Token = Token(0);
    pub const TAKEN: Token = Token(1);
    pub const RETURNED: Token = Token(2);
    pub const DESERTED: Token = Token(3);
    pub const TOUCHED: Token = Token(4);
    pub const PARKED: Token = Token(5);
    pub const GATE: Token = Token(6);
    pub const ABOVE: Token = Token(7);
    pub const BOUND: Token = Token(8);
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    clock: Clock,
    poll: Poll,
    desk: SignalDesk,
    source: Source,
    /// `None`: the command knows no jobserver, and has its lease alone.
    front: Option<Front>,
    /// Questions by SIGUSR1 that aren't answered.
    asked: u32,
    /// The command was told to end, for want of disk space.
    halted: bool,
}

impl Proxy {
    /// A proxy whose endpoint is filled and watched: the command may be started.
    pub fn new(
        clock: Clock,
        desk: SignalDesk,
        mut source: Source,
        mut front: Option<Front>,
    ) -> io::Result<Proxy> {
        let poll = Poll::new()?;
        let signals = desk.event().as_raw_fd();
        poll.registry().register(&mut SourceFd(&signals), token::SIGNAL, Interest::READABLE)?;
        if let Some(front) = &mut front {
            front.register(poll.registry())?;
        }
        source.register(poll.registry(), clock.now())?;
        let mut proxy = Proxy { clock, poll, desk, source, front, asked: 0, halted: false };
        proxy.settle(clock.now());
        Ok(proxy)
    }

    /// Starts the command in its `original` surroundings, with `variables` and the endpoint.
    pub fn start(
        &mut self,
        command: &CommandLine,
        variables: &[(&str, OsString)],
        original: &Original,
    ) -> io::Result<Child> {
        let inherited = self.front.as_ref().map(Front::inherited).unwrap_or_default();
        child::adopt_orphans(true);
        let child = child::start(command, variables, &inherited, original)
            .inspect_err(|_| child::adopt_orphans(false))?;
        self.source.started(self.clock.now(), child.pid());
        self.source.start_notes();
        if let Err(error) = schedule::prefer_promptness() {
            log::info!("no short slices: {error}");
        }
        Ok(child)
    }

    /// Serves until the command ends.
    pub fn serve(&mut self, child: &Child) -> io::Result<ExitStatus> {
        let mut events = Events::with_capacity(64);
        loop {
            let deadline = self.deadline();
            let now = wait(&mut self.poll, &mut events, deadline, self.clock)?;
            for event in &events {
                match event.token() {
                    token::SIGNAL => {
                        if let Some(status) = self.attend(child, now)? {
                            if self.halted {
                                self.desk.sweep(child, self.clock);
                            }
                            return Ok(status);
                        }
                    }
                    token::GATE => self.source.ready(now),
                    token::ABOVE => self.source.ready_above(),
                    other => {
                        if let Some(front) = &mut self.front {
                            front.ready(other, now)?;
                        }
                    }
                }
            }
            if let Some(front) = &mut self.front {
                front.pass(now)?;
                if self.source.wants_count(now) {
                    // What seems to stand there is about to go back above, say: it may have been taken since the last count.
                    front.look()?;
                }
            }
            self.settle(now);
            if self.source.deadline().is_some_and(|when| when <= now) {
                self.source.pass(now);
                self.settle(now);
            }
            if self.source.disk_state() == State::Halted && !self.halted {
                self.halted = true;
                child.terminate();
            }
            self.tell(now);
        }
    }

    /// Takes back what stands: what the command leaves running goes on with what it has, unpaid for. What was summed up, if
    /// anything was.
    pub fn close(mut self) -> Option<Summary> {
        if let Some(front) = &mut self.front {
            front.allot(0);
            let _ = front.settle(self.clock.now());
        }
        self.source.close_notes(self.clock.now());
        self.source.summary(self.clock.now())
    }

    /// Answers all signals that came; the command's status once it has ended.
    fn attend(&mut self, child: &Child, now: Moment) -> io::Result<Option<ExitStatus>> {
        while let Some(happening) = self.desk.next(child)? {
            match happening {
                Happening::Ended(status) => return Ok(Some(status)),
                Happening::Asked => self.be_asked(now),
                Happening::Stopped { mirror } => self.stop(now, mirror),
                Happening::Continued => self.source.stop(now, false),
            }
        }
        Ok(None)
    }

    fn deadline(&self) -> Option<Moment> {
        let front = self.front.as_ref().and_then(Front::deadline);
        [self.source.deadline(), front].into_iter().flatten().min()
    }

    fn settle(&mut self, now: Moment) {
        if let Some(front) = &mut self.front {
            settle(&mut self.source, front, now);
        }
    }

    /// The command was stopped: nothing may stand where it could be taken meanwhile. `mirror`: by job control, so
    /// our caller's shell waits for us to stop, too.
    fn stop(&mut self, now: Moment, mirror: bool) {
        self.source.stop(now, true);
        if let Some(front) = &mut self.front {
            front.allot(0);
            if let Err(error) = front.settle(now) {
                log::warn!("endpoint: {error}");
            }
            self.source.report(now, 0, front.held());
        }
        if mirror {
            child::stop_self();
        }
    }

    fn be_asked(&mut self, now: Moment) {
        if let Some(front) = &mut self.front
            && let Err(error) = front.look()
        {
            log::warn!("endpoint: {error}");
        }
        self.settle(now);
        self.asked += 1;
        self.source.ask(now);
    }

    /// Answers those who asked how things stand.
    fn tell(&mut self, now: Moment) {
        while self.asked > 0 {
            let Some((view, me)) = self.source.answer(now) else { return };
            self.asked -= 1;
            let oddities = self.front.as_ref().map_or(Oddities::default(), Front::oddities);
            let closed = match self.source.disk_state() {
                State::Open => "",
                State::Closed | State::Halted => ", nothing new here for want of disk space",
            };
            say(&(status::line(&view, me, oddities) + closed));
        }
    }
}

/// Lets the gate and the front end answer each other until neither has more to say.
fn settle(source: &mut Source, front: &mut Front, now: Moment) {
    loop {
        let allotment = source.allotment();
        front.allot(allotment);
        front.press(source.is_pressed());
        if let Err(error) = front.settle(now) {
            // Nothing was moved; the tree keeps what it has, and the next event tries again.
            log::warn!("endpoint: {error}");
            return;
        }
        if !front.is_settled() {
            return; // what is to come back still stands: the allotment isn't in force
        }
        source.deserted(now, front.is_deserted());
        source.report(now, allotment, front.held());
        if source.allotment() == allotment {
            return;
        }
    }
}
