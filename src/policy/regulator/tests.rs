//! The regulator, told what happens by hand.
//!
//! Knows no clock.

use super::*;
use crate::policy::account::{Appetite, Lease};
use crate::policy::gate::Threshold;
use crate::policy::pressure::{Resource, Totals};

/// The serial of the last allotment that each client was told, and how many were told in all.
fn told(regulator: &mut Regulator) -> (Vec<(ClientId, u64)>, usize) {
    let mut last: Vec<(ClientId, u64)> = Vec::new();
    let mut count = 0;
    while let Some(action) = regulator.poll() {
        if let Action::Tell(Change::Allot { id, serial, .. }) = action {
            last.retain(|&(known, _)| known != id);
            last.push((id, serial));
            count += 1;
        }
    }
    (last, count)
}

fn with_jobs(jobs: u32) -> Regulator {
    Regulator::new(Settings::new(jobs, 4), Moment::default())
}

fn terms(lease: Lease) -> Terms {
    Terms { lease, cap: 100, weight: 1, max_wait: None, loan: None, idle: false, takes: true, uid: 0 }
}

#[test]
fn nobody_waits_while_the_machine_stands_still() {
    let at = |seconds| Moment::at(Duration::from_secs(seconds));
    let mut regulator = with_jobs(1);
    regulator.handle(at(0), Input::Join(1, terms(Lease::Counted), None));
    regulator.handle(at(0), Input::Join(2, terms(Lease::Wait { min: 1, max: 1 }), None));
    let granted = |regulator: &Regulator| regulator.account(2).is_some_and(|account| account.lease() > 0);
    let go_on = |regulator: &mut Regulator, until: Moment| {
        while let Some(due) = regulator.deadline().filter(|&due| due <= until && !granted(regulator)) {
            regulator.handle(due, Input::Time);
            while regulator.poll().is_some() {}
        }
    };
    go_on(&mut regulator, at(40));
    // An hour, then what was due: still 20 of the 60 seconds to wait.
    regulator.handle(at(3640), Input::Time);
    assert!(!granted(&regulator), "an hour in which nobody ran is no wait");
    go_on(&mut regulator, at(3655));
    assert!(!granted(&regulator));
    go_on(&mut regulator, at(3665));
    assert!(granted(&regulator) && regulator.account(2).unwrap().is_overdue());
}

#[test]
fn who_was_granted_a_lease_before_a_standstill_has_it_after() {
    let at = |ms| Moment::at(Duration::from_millis(ms));
    let mut regulator = with_jobs(1);
    regulator.handle(at(0), Input::Join(1, terms(Lease::Wait { min: 1, max: 1 }), None));
    regulator.handle(at(3_600_000), Input::Join(2, terms(Lease::Wait { min: 1, max: 1 }), None));
    assert_eq!(regulator.charge(), 1, "it has had no time to say that it uses it");
    regulator.handle(at(3_600_100), Input::Started(1));
    assert_eq!((regulator.charge(), regulator.account(2).unwrap().lease()), (1, 0));
}

#[test]
fn the_clients_of_a_gate_that_died_are_all_heard_first() {
    let at = |ms| Moment::at(Duration::from_millis(ms));
    let terms = terms(Lease::Wait { min: 1, max: 1 });
    // When clients come with what they have, when it is told the time, and whether nothing is issued then.
    type Row = (&'static [u64], &'static [(u64, bool)]);
    #[rustfmt::skip]
    let rows: [Row; 4] = [
        (&[], &[(100, true), (250, false)]),
        (&[10, 200, 210], &[(400, true), (460, false)]),
        // One after the other, without an end.
        (&[200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 1990], &[(1999, true), (2000, false)]),
        // It stood still, and has heard nobody meanwhile.
        (&[], &[(900, true), (1149, true), (1150, false)]),
    ];
    for (comes, told) in rows {
        let mut regulator = with_jobs(4);
        regulator.recover(at(0), Duration::from_millis(250), Duration::from_secs(2));
        for (id, &ms) in (1..).zip(comes) {
            let claim = Claim { lease: 1, ..Claim::default() };
            regulator.handle(at(ms), Input::Join(id, terms, Some(claim)));
        }
        for &(ms, recovers) in told {
            regulator.handle(at(ms), Input::Time);
            assert_eq!(regulator.door() == Door::Recovering, recovers, "{comes:?}, {ms}");
            assert!(!recovers || regulator.deadline().is_some_and(|when| when > at(ms)));
        }
    }
}

#[test]
fn what_is_noted_is_judged_at_once() {
    let now = Moment::default();
    let mut regulator = with_jobs(100);
    (1..=4).for_each(|id| regulator.note(now, Input::Join(id, terms(Lease::Counted), None)));
    assert_eq!(regulator.poll(), None, "nothing follows from a note");
    regulator.settle(now);
    let (serials, count) = told(&mut regulator);
    assert_eq!((serials.len(), count, regulator.charge()), (4, 4, 100), "each is told once");
    for (id, serial) in serials {
        let report = Report { serial, held: 0, appetite: Some(Appetite::Slack(id as u32)) };
        regulator.note(now, Input::Report(id, report));
    }
    regulator.settle(now);
    assert!(told(&mut regulator).1 <= 4);
    assert_eq!(regulator.charge(), 100);
}

#[test]
fn where_nothing_is_watched_any_more_nothing_grows_step_by_step() {
    let at = |ms| Moment::at(Duration::from_millis(ms));
    let fixed = Settings::new(8, 2);
    let adaptive = Settings {
        law: law::Terms { kind: law::Kind::Adaptive, ..law::Terms::default() },
        ..Settings::new(8, 2)
    };
    let threshold = Threshold::new(1_000.0).ok();
    let mut thresholds = Thresholds::default();
    thresholds.set(Resource::Cpu, threshold);
    let held = Settings { thresholds, ..fixed };
    for before in [adaptive, held] {
        let mut regulator = Regulator::new(before, at(0));
        regulator.handle(at(0), Input::Join(1, terms(Lease::Counted), None));
        for (ms, waited) in [(0, 0), (1_000, 1_000_000), (2_000, 1_000_000), (3_000, 1_000_000)] {
            let some = PerResource::from_fn(|_| Some(waited));
            regulator.handle(at(ms), Input::Sample(Reading { some, ..Reading::default() }));
        }
        assert!(regulator.limit() < 8, "{before:?}");
        regulator.handle(at(3_100), Input::Settings(fixed));
        assert_eq!(regulator.limit(), 8, "{before:?}");
    }
}

#[test]
fn a_record_needs_beats_where_nothing_is_watched_and_changes_no_verdict() {
    let at = |ms| Moment::at(Duration::from_millis(ms));
    let mut regulator = with_jobs(4);
    regulator.settle(at(0));
    assert_eq!(regulator.deadline(), None);
    regulator.record(at(60_000), true);
    assert_eq!((regulator.poll(), regulator.deadline()), (Some(Action::Sample), Some(at(61_000))));
    for (second, total) in [(0, 0), (1, 900_000), (2, 1_800_000)] {
        let totals = Totals::from_fn(|_| Some(total));
        regulator.handle(at(60_000 + second * 1000), Input::Time);
        regulator.handle(at(60_000 + second * 1000), Input::Sample(totals.into()));
    }
    assert_eq!((regulator.beats(), regulator.door()), ((2, 0), Door::Open));
    assert_eq!(regulator.looks().count(), 2);
    // From here on it is judged as if nothing had been seen before.
    let mut thresholds = Thresholds::default();
    thresholds.set(Resource::Cpu, Threshold::new(5.0).ok());
    regulator.handle(at(62_001), Input::Settings(Settings { thresholds, ..*regulator.settings() }));
    assert_eq!((regulator.door(), regulator.looks().count()), (Door::Open, 0));
    let settings = Settings { thresholds: Thresholds::default(), ..*regulator.settings() };
    regulator.handle(at(62_002), Input::Settings(settings));
    regulator.record(at(62_003), false);
    assert_eq!(regulator.deadline(), None);
}
