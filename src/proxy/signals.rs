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
}

impl SignalDesk {
    /// To be opened before the command is started, while this process has one thread.
    pub fn open() -> io::Result<SignalDesk> {
        let signals = Signals::take()?;
        let witness = Witness::start();
        if let Err(error) = &witness {
            log::warn!("no witness ({error}): signals to the whole group reach the command twice");
        }
        Ok(SignalDesk { signals, witness: witness.ok(), child_changed: false })
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
                    Some(change) => return Ok(Some(happening(change))),
                    None => self.child_changed = false,
                }
            }
            let Some(arrival) = self.signals.next() else { return Ok(None) };
            match arrival.kind {
                Kind::ChildChanged => self.child_changed = true,
                Kind::Asked => return Ok(Some(Happening::Asked)),
                Kind::Plain => self.pass_on(&arrival, child),
            }
        }
    }

    fn pass_on(&self, arrival: &Arrival, child: &Child) {
        // The witness is asked in any case: what it isn't asked about, it would take for the next of that kind.
        let to_the_group = self.witness.as_ref().is_some_and(|witness| witness.saw(arrival));
        if !arrival.by_kernel && !to_the_group {
            child.pass_on(arrival);
        }
    }
}

/// A command that catches SIGTSTP stops itself by SIGTSTP in the end (less, vim, bash's readline), so a stop by SIGSTOP
/// is somebody's who will continue the command, and not us.
fn happening(change: Change) -> Happening {
    match change {
        Change::Ended(status) => Happening::Ended(status),
        Change::Stopped { by_job_control } => Happening::Stopped { mirror: by_job_control },
        Change::Continued => Happening::Continued,
    }
}
