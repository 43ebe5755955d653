//! One tree's proxy: an event loop between the regulator, the tree's endpoint, signals and the command itself.
//!
//! Decides nothing: the regulator says how many tokens the tree may hold, the front end how that is brought about.

mod fifo_front;
pub mod front;
mod pipe_front;
pub mod signals;

use crate::policy::regulator::{Action, Input, Regulator};
use crate::policy::time::Moment;
use crate::proto::status;
use crate::sys::child::{self, Child, CommandLine};
use crate::sys::clock::Clock;
use crate::sys::notify::Original;
use crate::sys::proc::PressureFiles;
use crate::sys::say::say;
use crate::sys::schedule;
use front::Front;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use signals::{Happening, SignalDesk};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitStatus;
use std::time::Duration;

/// What an event belongs to.
mod token {
    use mio::Token;
    pub const SIGNAL: Token = Token(0);
    pub const TAKEN: Token = Token(1);
    pub const RETURNED: Token = Token(2);
    pub const DESERTED: Token = Token(3);
    pub const TOUCHED: Token = Token(4);
    pub const PARKED: Token = Token(5);
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    clock: Clock,
    poll: Poll,
    desk: SignalDesk,
    regulator: Regulator,
    front: Front,
    pressure: Option<PressureFiles>,
}

impl Proxy {
    /// A proxy whose endpoint is filled and watched: the command may be started.
    pub fn new(
        clock: Clock,
        desk: SignalDesk,
        regulator: Regulator,
        mut front: Front,
        pressure: Option<PressureFiles>,
    ) -> io::Result<Proxy> {
        let poll = Poll::new()?;
        let signals = desk.event().as_raw_fd();
        poll.registry().register(&mut SourceFd(&signals), token::SIGNAL, Interest::READABLE)?;
        front.register(poll.registry())?;
        let mut proxy = Proxy { clock, poll, desk, regulator, front, pressure };
        proxy.settle(clock.now());
        Ok(proxy)
    }

    /// Starts the command in its `original` surroundings, with `variables` and the endpoint.
    pub fn start(
        &self,
        command: &CommandLine,
        variables: &[(&str, OsString)],
        original: &Original,
    ) -> io::Result<Child> {
        let child = child::start(command, variables, &self.front.inherited(), original)?;
        if let Err(error) = schedule::prefer_promptness() {
            log::info!("no short slices: {error}");
        }
        Ok(child)
    }

    /// Serves until the command ends.
    pub fn serve(&mut self, child: &Child) -> io::Result<ExitStatus> {
        let mut events = Events::with_capacity(64);
        loop {
            let wait = self.deadline().map(|when| when.since(self.clock.now()));
            match self.poll.poll(&mut events, wait.map(round_up)) {
                Ok(()) => {}
                // What has happened comes before what time it is.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let now = self.clock.now();
            for event in &events {
                if event.token() != token::SIGNAL {
                    self.front.ready(event.token(), now)?;
                } else if let Some(status) = self.attend(child, now)? {
                    return Ok(status);
                }
            }
            self.front.pass(now)?;
            if self.regulator.deadline().is_some_and(|when| when <= now) {
                self.regulator.handle(now, Input::Time);
            }
            self.settle(now);
        }
    }

    /// Takes back what stands: what the command leaves running goes on with what it has, unpaid for.
    pub fn close(mut self) {
        self.front.allot(0);
        let _ = self.front.settle(self.clock.now());
    }

    /// Answers all signals that came; the command's status once it has ended.
    fn attend(&mut self, child: &Child, now: Moment) -> io::Result<Option<ExitStatus>> {
        while let Some(happening) = self.desk.next(child)? {
            match happening {
                Happening::Ended(status) => return Ok(Some(status)),
                Happening::Asked => self.tell(now),
                Happening::Stopped { mirror } => self.stop(now, mirror),
                Happening::Continued => self.regulator.handle(now, Input::Continued),
            }
        }
        Ok(None)
    }

    fn deadline(&self) -> Option<Moment> {
        [self.regulator.deadline(), self.front.deadline()].into_iter().flatten().min()
    }

    /// Lets the regulator and the front end answer each other until neither has more to say.
    fn settle(&mut self, now: Moment) {
        loop {
            let held = self.front.held();
            if held != self.regulator.status().held {
                self.regulator.handle(now, Input::Held(held));
            }
            while let Some(action) = self.regulator.poll() {
                match action {
                    Action::Allot(tokens) => self.front.allot(tokens),
                    Action::Sample => self.sample(now),
                }
            }
            if let Err(error) = self.front.settle(now) {
                // Nothing was moved; the tree keeps what it has, and the next event tries again.
                log::warn!("endpoint: {error}");
                return;
            }
            if self.front.held() == held {
                return;
            }
        }
    }

    fn sample(&mut self, now: Moment) {
        let Some(files) = &self.pressure else { return self.regulator.handle(now, Input::Blind) };
        match files.sample() {
            Ok(totals) => self.regulator.handle(now, Input::Sample(totals)),
            Err(error) => {
                say(&format!("pressure can't be read any more ({error}); the build goes on ungated"));
                self.regulator.handle(now, Input::Blind);
            }
        }
    }

    /// The command was stopped: nothing may stand where it could be taken meanwhile. `mirror`: by job control, so
    /// our caller's shell waits for us to stop, too.
    fn stop(&mut self, now: Moment, mirror: bool) {
        self.regulator.handle(now, Input::Stopped);
        self.settle(now);
        if mirror {
            child::stop_self();
        }
    }

    fn tell(&mut self, now: Moment) {
        if let Err(error) = self.front.look() {
            log::warn!("endpoint: {error}");
        }
        self.settle(now);
        say(&status::line(&self.regulator.status(), self.front.oddities()));
    }
}

/// epoll waits whole milliseconds; mio rounds up, but a zero wait for a deadline some microseconds away would spin.
fn round_up(wait: Duration) -> Duration {
    if wait.is_zero() { wait } else { wait.max(Duration::from_millis(1)) }
}
