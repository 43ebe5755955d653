//! How things stand: a regulator as figures, and those as a line for people.
//!
//! Doesn't know where it is printed, nor how a table looks.

use super::values::law_name;
use super::view::{BeatView, ClientView, GateView, LawView, PartsView, PressureView, ReasonView, View};
use crate::policy::account::{Account, ClientId, Door};
use crate::policy::endpoint::Oddities;
use crate::policy::gate::{Hold, Reason, Threshold};
use crate::policy::law::{Kind, Parts};
use crate::policy::pressure::Resource;
use crate::policy::regulator::Regulator;
use crate::policy::time::Moment;
use std::fmt::Write;

/// All that a regulator knows; who its clients are is left to be filled in.
pub fn view(regulator: &Regulator, now: Moment) -> View {
    let settings = regulator.settings();
    let gate = regulator.gate();
    let pressure = |resource: Resource| {
        let max = gate.thresholds().get(resource).map(Threshold::us_per_second);
        (resource.name().to_owned(), PressureView { rate: regulator.rates().get(resource), max })
    };
    let reasons = gate.reasons().iter().map(ReasonView::from);
    let state = state_name(regulator.door());
    let (beats, missed) = regulator.beats();
    View {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: now.since(Moment::default()).as_secs_f64(),
        jobs: settings.jobs,
        limit: regulator.limit(),
        in_use: regulator.out(),
        law: law(regulator),
        gate: GateView {
            state: state.to_owned(),
            hold: hold_name(settings.hold).to_owned(),
            reasons: reasons.collect(),
        },
        pressure: Resource::ALL.map(pressure).into(),
        heartbeat: BeatView { interval_s: settings.heartbeat.as_secs_f64(), beats, missed },
        growing_back: regulator.is_ramping(),
        clients: regulator.accounts().iter().map(|account| client(account, now)).collect(),
        ..View::default()
    }
}

fn law(regulator: &Regulator) -> LawView {
    let (verdict, law) = (regulator.verdict(), regulator.law());
    LawView {
        kind: law_name(regulator.settings().law.kind).to_owned(),
        tightest: verdict.tightest.name().to_owned(),
        cpus: law.cpus(),
        parts: verdict.parts.into(),
        load: law.smooth().map(|smooth| smooth.load),
        job_bytes: verdict.parts.memory.map(|_| law.room().job_size()),
        available_bytes: law.room().available(),
        thrashes: law.thrashes(),
        still: law.still(),
        distrusts_pressure: law.distrusts_pressure(),
    }
}

fn client(account: &Account, now: Moment) -> ClientView {
    let terms = account.terms();
    ClientView {
        id: account.id(),
        uid: terms.uid,
        lease: account.lease(),
        borrowed: account.is_borrowing(),
        overdue: account.is_overdue(),
        allotment: account.allotment(),
        held: account.held(),
        owed: account.owed(),
        wants: account.is_hungry(),
        stopped: account.is_stopped(),
        waits_s: account.waits_since().map(|since| now.since(since).as_secs_f64()),
        cap: (terms.cap < u32::MAX).then_some(terms.cap),
        weight: terms.weight,
        age_s: now.since(account.joined()).as_secs_f64(),
        ..ClientView::default()
    }
}

impl From<Parts> for PartsView {
    fn from(Parts { cpu, io, memory, growth }: Parts) -> PartsView {
        PartsView { cpu, io, memory, growth }
    }
}

impl From<&Reason> for ReasonView {
    fn from(reason: &Reason) -> ReasonView {
        ReasonView { resource: reason.cause.name().to_owned(), rate: reason.rate, max: reason.max }
    }
}

/// The word for what may be issued.
pub fn state_name(door: Door) -> &'static str {
    match door {
        Door::Open => "open",
        Door::StartsHeld | Door::Held => "held",
        Door::Recovering => "recovering",
    }
}

/// The word for it.
pub fn hold_name(hold: Hold) -> &'static str {
    match hold {
        Hold::All => "all",
        Hold::Starts => "starts",
    }
}

/// `limit 3 of 8, out 3 (1 lease, 2 held), gate held: cpu 348036 > 200000 us/s`: as the client `me` sees it.
pub fn line(view: &View, me: ClientId, oddities: Oddities) -> String {
    let mut line = limit(view);
    let nobody = ClientView::default();
    let own = view.clients.iter().find(|client| client.id == me).unwrap_or(&nobody);
    let _ = write!(line, ", out {}", view.in_use);
    let out = own.lease + own.held;
    let lease = if own.borrowed {
        "the lease of the job around it".to_owned()
    } else {
        format!("{} lease", own.lease)
    };
    if view.clients.len() > 1 {
        let _ = write!(line, ", here {out}");
    }
    let _ = write!(line, " ({lease}, {} held", own.held);
    if own.owed > 0 {
        let _ = write!(line, ", {} of them owed", own.owed);
    }
    line.push_str("), gate ");
    line.push_str(&gate(view));
    if view.growing_back {
        line.push_str(", growing back after a hold");
    }
    if own.stopped {
        line.push_str(", stopped by job control");
    }
    if oddities.lost > 0 {
        let _ = write!(line, ", {} lost by tools that died and brought back", oddities.lost);
    }
    if oddities.surplus > 0 {
        let _ = write!(line, ", {} returned that were never taken", oddities.surplus);
    }
    if view.pressure.values().any(|pressure| pressure.max.is_some()) {
        let BeatView { beats, missed, .. } = view.heartbeat;
        let _ = write!(line, ", beat {beats} ({missed} missed)");
    }
    line
}

/// `limit 3 of 8: cpu is the tightest (cpu 3, memory 5, io –)`; where nothing is measured `limit 3 of 8`.
pub fn limit(view: &View) -> String {
    let mut line = format!("limit {}", view.limit);
    if view.limit < view.jobs {
        let _ = write!(line, " of {}", view.jobs);
    }
    let LawView { kind, tightest, parts, .. } = &view.law;
    if kind != law_name(Kind::Adaptive) && parts.memory.is_none() {
        return line;
    }
    match tightest.as_str() {
        "ceiling" => line.push_str(": as many as there may be"),
        "growth" => line.push_str(": it grows step by step"),
        part => {
            let _ = write!(line, ": {part} is the tightest");
        }
    }
    let part = |part: Option<u32>| part.map_or("–".to_owned(), |jobs| jobs.to_string());
    let [cpu, memory, io] = [parts.cpu, parts.memory, parts.io].map(part);
    let _ = write!(line, " (cpu {cpu}, memory {memory}, io {io})");
    if view.law.thrashes {
        line.push_str(", everything waits for memory");
    }
    if view.law.still > 0 {
        let _ = write!(line, ", {} jobs stand still", view.law.still);
    }
    if view.law.distrusts_pressure {
        line.push_str(", somebody reads /proc/pressure too fast");
    }
    line
}

/// `open`, or `held: cpu 348036 > 200000 us/s`.
pub fn gate(view: &View) -> String {
    if !view.gate.reasons.is_empty() {
        let what = if view.gate.hold == "starts" { "held for starts only" } else { "held" };
        let reasons = view.gate.reasons.iter();
        let reasons = reasons.map(|ReasonView { resource, rate, max }| match resource.as_str() {
            "load" => format!("load {rate:.2} > {max:.2} per cpu"),
            _ => format!("{resource} {rate:.0} > {max:.0} us/s"),
        });
        return format!("{what}: {}", reasons.collect::<Vec<_>>().join(", "));
    }
    let watched = Resource::ALL.iter().filter_map(|resource| {
        let PressureView { rate, max } = view.pressure.get(resource.name())?;
        let rate = rate.map_or("?".to_owned(), |rate| format!("{rate:.0}"));
        Some(format!("{} {rate} of {:.0} us/s", resource.name(), (*max)?))
    });
    let watched = watched.collect::<Vec<_>>().join(", ");
    let state = &view.gate.state;
    if watched.is_empty() { state.clone() } else { format!("{state}: {watched}") }
}

/// Why the client `me` waits for its lease.
pub fn why(view: &View, me: ClientId) -> String {
    if view.gate.state == "recovering" {
        return "the gate has just been started anew".to_owned();
    }
    if view.gate.state == "held" {
        return format!("the gate is {}", gate(view));
    }
    let others = view.clients.iter().filter(|client| client.id != me && client.waits_s.is_some()).count();
    let queue = match others {
        0 => String::new(),
        1 => ", 1 other waits too".to_owned(),
        _ => format!(", {others} others wait too"),
    };
    let tightest = match view.law.tightest.as_str() {
        part @ ("cpu" | "io" | "memory") => format!(", {part} is the tightest"),
        _ => String::new(),
    };
    format!("all {} of {} jobs are in use{tightest}{queue}", view.in_use, view.limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn view_of(gate: GateView, pressure: BTreeMap<String, PressureView>) -> View {
        let client = ClientView { id: 1, lease: 1, held: 2, ..ClientView::default() };
        View {
            limit: 3,
            jobs: 3,
            in_use: 3,
            gate,
            pressure,
            heartbeat: BeatView { interval_s: 1.0, beats: 7, missed: 1 },
            clients: vec![client],
            ..View::default()
        }
    }

    fn free() -> View {
        view_of(GateView { state: "open".into(), hold: "all".into(), reasons: vec![] }, BTreeMap::new())
    }

    fn watched(max: f64) -> View {
        let rate = 348_035.6;
        let over = rate > max;
        let reasons =
            over.then(|| ReasonView { resource: "cpu".into(), rate, max }).into_iter().collect::<Vec<_>>();
        let state = if over { "held" } else { "open" }.to_owned();
        let pressure = [("cpu".to_owned(), PressureView { rate: Some(rate), max: Some(max) })];
        view_of(GateView { state, hold: "all".into(), reasons }, pressure.into())
    }

    #[test]
    fn lines() {
        let line = |view: &View| super::line(view, 1, Oddities::default());
        assert_eq!(line(&free()), "limit 3, out 3 (1 lease, 2 held), gate open");
        let mut held = watched(200_000.0);
        held.jobs = 8;
        (held.clients[0].owed, held.clients[0].stopped) = (2, true);
        assert_eq!(
            line(&held),
            "limit 3 of 8, out 3 (1 lease, 2 held, 2 of them owed), gate held: cpu 348036 > 200000 us/s, \
             stopped by job control, beat 7 (1 missed)"
        );
        let odd = super::line(&free(), 1, Oddities { lost: 2, surplus: 1 });
        assert!(odd.ends_with(
            "gate open, 2 lost by tools that died and brought back, 1 returned that were never taken"
        ));
        held.gate.hold = "starts".to_owned();
        assert!(line(&held).contains("gate held for starts only: cpu 348036 > 200000 us/s"));
        let open = View { growing_back: true, ..watched(400_000.0) };
        assert_eq!(
            line(&open),
            "limit 3, out 3 (1 lease, 2 held), gate open: cpu 348036 of 400000 us/s, growing back after a hold, \
             beat 7 (1 missed)"
        );
        let mut shared = free();
        shared.clients.push(ClientView { id: 2, borrowed: true, held: 4, ..ClientView::default() });
        shared.in_use = 7;
        assert_eq!(line(&shared), "limit 3, out 7, here 3 (1 lease, 2 held), gate open");
        let other = super::line(&shared, 2, Oddities::default());
        assert_eq!(other, "limit 3, out 7, here 4 (the lease of the job around it, 4 held), gate open");
    }

    #[test]
    fn what_bounds_the_limit_is_told() {
        let parts = PartsView { cpu: Some(3), io: None, memory: Some(5), growth: Some(9) };
        let law = |tightest: &str, parts| LawView {
            kind: "adaptive".to_owned(),
            tightest: tightest.to_owned(),
            parts,
            ..LawView::default()
        };
        let mut view = View { limit: 3, jobs: 8, law: law("cpu", parts), ..free() };
        assert_eq!(limit(&view), "limit 3 of 8: cpu is the tightest (cpu 3, memory 5, io –)");
        assert_eq!(why(&view, 1), "all 3 of 3 jobs are in use, cpu is the tightest");
        view.law = LawView { thrashes: true, ..law("memory", parts) };
        assert!(limit(&view).ends_with(", io –), everything waits for memory"));
        view.law = law("growth", PartsView::default());
        assert_eq!(limit(&view), "limit 3 of 8: it grows step by step (cpu –, memory –, io –)");
        let most = View { limit: 8, law: law("ceiling", parts), ..view.clone() };
        assert_eq!(limit(&most), "limit 8: as many as there may be (cpu 3, memory 5, io –)");
        view.law = LawView { kind: "fixed".to_owned(), ..law("growth", PartsView::default()) };
        assert_eq!(limit(&view), "limit 3 of 8");
        let load = ReasonView { resource: "load".to_owned(), rate: 2.5, max: 1.5 };
        let held = GateView { state: "held".into(), hold: "all".into(), reasons: vec![load] };
        assert_eq!(gate(&view_of(held, BTreeMap::new())), "held: load 2.50 > 1.50 per cpu");
    }

    #[test]
    fn reasons_to_wait() {
        assert_eq!(why(&free(), 1), "all 3 of 3 jobs are in use");
        assert_eq!(why(&watched(200_000.0), 1), "the gate is held: cpu 348036 > 200000 us/s");
        let mut queue = free();
        for id in [2, 3] {
            queue.clients.push(ClientView { id, waits_s: Some(1.0), ..ClientView::default() });
        }
        assert_eq!(why(&queue, 2), "all 3 of 3 jobs are in use, 1 other waits too");
        assert_eq!(why(&queue, 1), "all 3 of 3 jobs are in use, 2 others wait too");
    }
}
