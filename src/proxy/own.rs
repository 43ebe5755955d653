//! A gate of one's own: how it is opened, and how the machine is looked at for it.
//!
//! Doesn't know what is done with what it gives.

use crate::policy::account::{Claim, ClientId, Lease, Terms};
use crate::policy::regulator::{Input, Regulator, Settings, Wants};
use crate::policy::time::Moment;
use crate::proto::values::Scope;
use crate::sys::machine::Machine;
use crate::sys::say::say;
use crate::sys::users::own_uid;
use std::path::PathBuf;

/// Its one client.
pub const ME: ClientId = 1;

/// One before it has a client.
#[derive(Debug)]
pub struct OwnGate {
    /// Its settings.
    pub settings: Settings,
    /// Whose cpus and pressure count.
    pub scope: Scope,
    /// Where the machine is looked at.
    pub proc_root: PathBuf,
    /// The tree pays no lease: an interactive shell.
    pub pays_nothing: bool,
}

impl OwnGate {
    /// With its client, which has that much already.
    pub fn open(&self, claim: Option<Claim>, now: Moment) -> Regulator {
        let settings = self.settings;
        let mut regulator = Regulator::new(settings, now);
        let terms = Terms {
            lease: if self.pays_nothing { Lease::Nothing } else { Lease::Counted },
            cap: settings.jobs,
            weight: 1,
            max_wait: None,
            loan: None,
            idle: false,
            takes: true,
            uid: own_uid(),
        };
        regulator.handle(now, Input::Join(ME, terms, claim));
        regulator
    }

    /// The machine, as far as it must be looked at. `recorded`: what is seen is written down.
    pub fn machine(&self, recorded: bool) -> Option<Box<Machine>> {
        let wants = Wants { recorded, ..self.settings.wants() };
        Machine::open_what_there_is(&self.proc_root, &self.scope, wants).0.map(Box::new)
    }
}

/// Looks at the machine.
pub fn sample(regulator: &mut Regulator, machine: Option<&mut Machine>, now: Moment) {
    let Some(machine) = machine else { return regulator.handle(now, Input::Blind) };
    let (reading, why) = machine.look();
    if let Some(why) = why {
        say(&format!("pressure can't be read any more ({why}); the build goes on ungated"));
        regulator.note(now, Input::Blind);
    }
    regulator.handle(now, Input::Sample(reading));
    machine.note(regulator.law().distrusts_pressure()).into_iter().for_each(say);
}
