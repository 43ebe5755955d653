//! What signals mean to the wrapped command: passed on, mirrored, or answered.
//!
//! Doesn't know tokens. The command is in our process group: what the terminal or `kill -- -PGID` sends reaches it by
//! itself; what was sent to us alone is passed on.

use crate::sys::child::{self, Change, Child, StopBy};
use crate::sys::clock::Clock;
use crate::sys::notify::{Arrival, Kind, Signals};
use crate::sys::witness::Witness;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitStatus;
use std::time::Duration;

/// What is told to end has so long for it.
const SWEEP: Duration = Duration::from_secs(1);

/// What the loop has to know of.
#[derive(Clone, Copy, Debug)]
pub enum Happening {
    /// The command has ended.
    Ended(ExitStatus),
    /// SIGUSR1.
    Asked,
    /// The command was stopped.
    Stopped {
        /// By job control: we are to stop, too.
        mirror: bool,
    },
    /// The command goes on.
    Continued,
}

/// Signals and the child's changes, in the order they came.
#[derive(Debug)]
pub struct SignalDesk {
    signals: Signals,
    witness: Option<Witness>,
    child_changed: bool,
    /// SIGTSTP came, and the command hasn't gone on since.
    key: bool,
    /// The command has stopped by a SIGTSTP that hasn't come to us. It may be on its way: the kernel signals a group's
    /// processes one after the other, and the command may stop before our turn comes.
    alone: bool,
}

impl SignalDesk {
    /// To be opened before the command is started, while this process has one thread.
    pub fn open() -> io::Result<SignalDesk> {
        let signals = Signals::take()?;
        let witness = Witness::start();
        if let Err(error) = &witness {
            log::warn!("no witness ({error}): signals to the whole group reach the command twice");
        }
        Ok(SignalDesk { signals, witness: witness.ok(), child_changed: false, key: false, alone: false })
    }

    /// The descriptor to wait on.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.signals.event()
    }

    /// The next thing that happened, or `None`.
    ///
    /// Signals first: the one that stopped the command came before the news that it has stopped.
    pub fn next(&mut self, child: &Child) -> io::Result<Option<Happening>> {
        while let Some(arrival) = self.signals.next()? {
            match arrival.kind {
                Kind::ChildChanged => self.child_changed = true,
                Kind::Asked => return Ok(Some(Happening::Asked)),
                Kind::Key => {
                    self.key = true;
                    self.pass_on(&arrival, child);
                    if std::mem::take(&mut self.alone) {
                        return Ok(Some(Happening::Stopped { mirror: true }));
                    }
                }
                Kind::Plain => self.pass_on(&arrival, child),
            }
        }
        if !self.child_changed {
            return Ok(None);
        }
        let change = child.change()?;
        self.child_changed = change.is_some();
        if change.is_none() {
            self.reap(child);
        }
        Ok(change.map(|change| self.happening(change)))
    }

    /// Reaps what has ended but the command. A witness that somebody has killed is done without: it would hide all that end later.
    fn reap(&mut self, child: &Child) {
        while child.reap_orphans(self.witness.as_ref().map(Witness::pid)) {
            self.witness = None;
        }
    }

    /// The command was told to end, and has: what it has left running is told as well, and waited for a while. Not before, for a
    /// make tells its own, and a second SIGTERM would kill a make that is about to delete its half-built targets.
    pub fn sweep(&mut self, child: &Child, clock: Clock) {
        let mut told = Vec::new();
        let started = clock.now();
        loop {
            self.reap(child);
            let orphans = child::orphans(self.witness.as_ref().map(Witness::pid));
            if orphans.is_empty() {
                return;
            }
            for orphan in orphans {
                if !told.contains(&orphan) {
                    child::terminate(orphan);
                    told.push(orphan);
                }
            }
            let left = SWEEP.saturating_sub(clock.now().since(started));
            if left.is_zero() || self.signals.wait(left).is_err() {
                return;
            }
            while self.signals.next().is_ok_and(|signal| signal.is_some()) {}
        }
    }

    /// A stop is mirrored where our caller's shell waits for it: one by the terminal, one by a SIGTSTP that came to us as
    /// well. What was stopped alone is continued alone. (A command that catches SIGTSTP stops itself by SIGTSTP in the
    /// end: less, vim, bash's readline.)
    fn happening(&mut self, change: Change) -> Happening {
        match change {
            Change::Ended(status) => Happening::Ended(status),
            Change::Stopped(by) => {
                let mirror = match by {
                    StopBy::Key => self.key,
                    StopBy::Terminal => true,
                    StopBy::Force => false,
                };
                self.alone = by == StopBy::Key && !mirror;
                Happening::Stopped { mirror }
            }
            Change::Continued => {
                (self.key, self.alone) = (false, false);
                Happening::Continued
            }
        }
    }

    fn pass_on(&self, arrival: &Arrival, child: &Child) {
        // The witness is asked in any case: what it isn't asked about, it would take for the next of that kind.
        let to_the_group = self.witness.as_ref().is_some_and(|witness| witness.saw(arrival));
        if !arrival.by_terminal && !to_the_group {
            child.pass_on(arrival);
        }
    }
}
