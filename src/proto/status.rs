//! How things stand, as one line for people.
//!
//! Doesn't know where it is printed.

use crate::policy::endpoint::Oddities;
use crate::policy::gate::Hold;
use crate::policy::pressure::Resource;
use crate::policy::regulator::Status;
use std::fmt::Write;

/// `limit 3 of 8, out 3 (1 lease, 2 held), gate held: cpu 348036 > 200000 us/s`.
pub fn line(status: &Status<'_>, oddities: Oddities) -> String {
    let mut line = format!("limit {}", status.limit);
    if status.limit < status.jobs {
        let _ = write!(line, " of {}", status.jobs);
    }
    let out = status.lease + status.held;
    let _ = write!(line, ", out {out} ({} lease, {} held", status.lease, status.held);
    if status.owed > 0 {
        let _ = write!(line, ", {} of them owed", status.owed);
    }
    line.push_str("), gate ");
    line.push_str(&gate(status));
    if status.ramping {
        line.push_str(", growing back after a hold");
    }
    if status.stopped {
        line.push_str(", stopped by job control");
    }
    if oddities.lost > 0 {
        let _ = write!(line, ", {} lost by tools that died and brought back", oddities.lost);
    }
    if oddities.surplus > 0 {
        let _ = write!(line, ", {} returned that were never taken", oddities.surplus);
    }
    if status.gate.is_watching() {
        let (beats, missed) = status.beats;
        let _ = write!(line, ", beat {beats} ({missed} missed)");
    }
    line
}

fn gate(status: &Status<'_>) -> String {
    let Status { gate, rates, .. } = status;
    if gate.is_held() {
        let what = match status.hold {
            Hold::All => "held",
            Hold::Starts => "held for starts only",
        };
        let reasons = gate.reasons().iter();
        let reasons = reasons
            .map(|reason| format!("{} {:.0} > {:.0} us/s", reason.resource.name(), reason.rate, reason.max));
        return format!("{what}: {}", reasons.collect::<Vec<_>>().join(", "));
    }
    let watched = Resource::ALL.iter().filter_map(|&resource| {
        let max = gate.thresholds().get(resource)?.us_per_second();
        let rate = rates.get(resource).map_or("?".to_owned(), |rate| format!("{rate:.0}"));
        Some(format!("{} {rate} of {max:.0} us/s", resource.name()))
    });
    let watched = watched.collect::<Vec<_>>().join(", ");
    if watched.is_empty() { "open".to_owned() } else { format!("open: {watched}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::gate::{Gate, Threshold, Thresholds};
    use crate::policy::pressure::Rates;

    fn status(gate: &Gate) -> Status<'_> {
        let mut rates = Rates::default();
        rates.set(Resource::Cpu, Some(348_035.6));
        Status {
            limit: 3,
            jobs: 3,
            lease: 1,
            held: 2,
            owed: 0,
            stopped: false,
            ramping: false,
            gate,
            hold: Hold::All,
            rates,
            beats: (7, 1),
        }
    }

    fn watching_cpu(max: f64) -> Gate {
        let mut thresholds = Thresholds::default();
        thresholds.set(Resource::Cpu, Threshold::new(max).ok());
        Gate::new(thresholds)
    }

    #[test]
    fn lines() {
        let line = |status: &Status<'_>| super::line(status, Oddities::default());
        let free = Gate::new(Thresholds::default());
        assert_eq!(line(&status(&free)), "limit 3, out 3 (1 lease, 2 held), gate open");
        let mut held = watching_cpu(200_000.0);
        held.judge(status(&free).rates);
        assert_eq!(
            line(&Status { jobs: 8, owed: 2, stopped: true, ..status(&held) }),
            "limit 3 of 8, out 3 (1 lease, 2 held, 2 of them owed), gate held: cpu 348036 > 200000 us/s, \
             stopped by job control, beat 7 (1 missed)"
        );
        let odd = super::line(&status(&free), Oddities { lost: 2, surplus: 1 });
        assert!(odd.ends_with(
            "gate open, 2 lost by tools that died and brought back, 1 returned that were never taken"
        ));
        let starts = line(&Status { hold: Hold::Starts, ..status(&held) });
        assert!(starts.contains("gate held for starts only: cpu 348036 > 200000 us/s"), "{starts}");
        let open = watching_cpu(400_000.0);
        assert_eq!(
            line(&Status { ramping: true, ..status(&open) }),
            "limit 3, out 3 (1 lease, 2 held), gate open: cpu 348036 of 400000 us/s, growing back after a hold, \
             beat 7 (1 missed)"
        );
    }
}
