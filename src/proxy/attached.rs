//! A proxy without a command of its own: it serves the tree of a process that was there before it.
//!
//! Doesn't know who asked for it; it ends with that process, or when it is told to.

use super::front::Front;
use super::source::Source;
use super::{settle, token};
use crate::policy::time::Moment;
use crate::server::wait::wait;
use crate::sys::background::{self, Bound};
use crate::sys::clock::Clock;
use crate::sys::notify::{ServerSignal, ServerSignals};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use std::io;
use std::os::fd::AsRawFd;

/// See the module.
#[derive(Debug)]
pub struct Attached {
    clock: Clock,
    poll: Poll,
    signals: ServerSignals,
    bound: Option<Bound>,
    source: Source,
    /// `None`: it takes no tokens.
    front: Option<Front>,
}

impl Attached {
    /// One whose endpoint is filled and watched. `bound`: `None`: until it is told to end.
    pub fn new(
        clock: Clock,
        mut source: Source,
        mut front: Option<Front>,
        bound: Option<Bound>,
    ) -> io::Result<Attached> {
        let poll = Poll::new()?;
        let signals = ServerSignals::take()?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&signals.event().as_raw_fd()), token::SIGNAL, Interest::READABLE)?;
        if let Some(bound) = &bound {
            registry.register(&mut SourceFd(&bound.event().as_raw_fd()), token::BOUND, Interest::READABLE)?;
        }
        if let Some(front) = &mut front {
            front.register(registry)?;
        }
        source.register(registry, clock.now())?;
        let mut attached = Attached { clock, poll, signals, bound, source, front };
        attached.settle(clock.now());
        Ok(attached)
    }

    fn settle(&mut self, now: Moment) {
        if let Some(front) = &mut self.front {
            settle(&mut self.source, front, now);
        }
    }

    /// Serves until the end.
    pub fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        loop {
            let deadline = [self.source.deadline(), self.front.as_ref().and_then(Front::deadline)]
                .into_iter()
                .flatten()
                .min();
            let now = wait(&mut self.poll, &mut events, deadline, self.clock)?;
            for event in &events {
                match event.token() {
                    token::SIGNAL => {
                        while let Some(signal) = self.signals.next()? {
                            if signal == ServerSignal::End {
                                return Ok(());
                            }
                        }
                    }
                    token::BOUND => {
                        log::debug!("{:?} has ended", self.bound);
                        return Ok(());
                    }
                    token::GATE => self.source.ready(now),
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
                    front.look()?;
                }
            }
            self.settle(now);
            if self.source.deadline().is_some_and(|when| when <= now) {
                self.source.pass(now);
                self.settle(now);
            }
        }
    }
}

/// Ends one that runs in the background; whether it was one.
pub fn end(pid: i32) -> bool {
    background::end(pid)
}
