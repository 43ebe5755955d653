//! A gate of one's own: how it is opened, and how its pressure is read.
//!
//! Doesn't know what is done with what it gives.

use super::journal::Journal;
use crate::policy::account::{Claim, ClientId, Lease, Terms};
use crate::policy::pressure::{PerResource, Totals};
use crate::policy::regulator::{Input, Regulator, Settings};
use crate::policy::time::Moment;
use crate::sys::proc::PressureFiles;
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
    /// Where pressure is read.
    pub proc_root: PathBuf,
    /// The tree pays no lease: an interactive shell.
    pub pays_nothing: bool,
}

impl OwnGate {
    /// With its client, which has that much already.
    pub fn open(&self, claim: Option<Claim>, now: Moment) -> (Regulator, Option<PressureFiles>) {
        let settings = self.settings;
        let watched = PerResource::from_fn(|resource| settings.thresholds.get(resource).is_some());
        let pressure = PressureFiles::open(&self.proc_root, watched).ok();
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
        (regulator, pressure)
    }
}

/// Reads the pressure: what is watched must be read, what is only written down is read where it can be.
pub fn sample(
    regulator: &mut Regulator,
    pressure: Option<&PressureFiles>,
    journal: Option<&Journal>,
    now: Moment,
) {
    let complete = |totals| journal.map_or(totals, |journal| journal.complete(totals));
    let input = if regulator.gate().is_watching() {
        match pressure.map(PressureFiles::sample) {
            Some(Ok(totals)) => Input::Sample(complete(totals)),
            Some(Err(error)) => {
                say(&format!("pressure can't be read any more ({error}); the build goes on ungated"));
                Input::Blind
            }
            None => Input::Blind,
        }
    } else {
        Input::Sample(complete(Totals::default()))
    };
    regulator.handle(now, input);
}
