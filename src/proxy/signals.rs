//! What signals mean to the wrapped command: passed on, mirrored, or answered.
//!
//! Doesn't know tokens. The command is in our process group: what the terminal or `kill -- -PGID` sends reaches it by
//! itself; what was sent to us alone is passed on.

use crate::sys::child::{Change, Child};
use crate::sys::notify::{Arrival, Kind, Signals};
use crate::sys::witness::Witness;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitStatus;

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
    /// A job control signal came and the command hasn't gone on since. One that catches SIGTSTP, as editors do, then
    /// stops itself by SIGSTOP.
    job_stop: bool,
}

impl SignalDesk {
    /// To be opened before the command is started, while this process has one thread.
    pub fn open() -> io::Result<SignalDesk> {
        let signals = Signals::take()?;
        let witness = Witness::start();
        if let Err(error) = &witness {
            log::warn!("no witness ({error}): signals to the whole group reach the command twice");
        }
        Ok(SignalDesk { signals, witness: witness.ok(), child_changed: false, job_stop: false })
    }

    /// The descriptor to wait on.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.signals.event()
    }

    /// The next thing that happened, or `None`.
    pub fn next(&mut self, child: &Child) -> io::Result<Option<Happening>> {
        loop {
            if self.child_changed {
                match child.change()? {
                    Some(change) => return Ok(Some(self.changed(change))),
                    None => self.child_changed = false,
                }
            }
            let Some(arrival) = self.signals.next() else { return Ok(None) };
            match arrival.kind {
                Kind::ChildChanged => self.child_changed = true,
                Kind::Asked => return Ok(Some(Happening::Asked)),
                Kind::JobStop => {
                    self.job_stop = true;
                    self.pass_on(&arrival, child);
                }
                Kind::Plain => self.pass_on(&arrival, child),
            }
        }
    }

    fn changed(&mut self, change: Change) -> Happening {
        match change {
            Change::Ended(status) => Happening::Ended(status),
            Change::Stopped { by_job_control } => {
                Happening::Stopped { mirror: by_job_control || self.job_stop }
            }
            Change::Continued => {
                self.job_stop = false;
                Happening::Continued
            }
        }
    }

    fn pass_on(&self, arrival: &Arrival, child: &Child) {
        let has_it = arrival.by_kernel || self.witness.as_ref().is_some_and(|witness| witness.saw(arrival));
        if !has_it {
            child.pass_on(arrival);
        }
    }
}
