//! Records of the policy core in virtual time: taken together they are what the core was, and fed to another core they are
//! judged as they were.
//!
//! Doesn't know files.

use jobgate::policy::account::{Appetite, Lease, Report, Terms};
use jobgate::policy::gate::{Hold, Threshold, Thresholds};
use jobgate::policy::law::{self, memory::Reserve};
use jobgate::policy::ledger::Change;
use jobgate::policy::pressure::{Resource, Totals};
use jobgate::policy::reading::{CpuUse, Memory, Reading};
use jobgate::policy::regulator::{Action, Input, Regulator, Settings};
use jobgate::policy::time::Moment;
use jobgate::proto::journal::{self, Reader, Record};
use jobgate::proto::recorder::{About, Recorder, Seen, Who, us};
use jobgate::proto::scene::Scene;
use jobgate::proto::status::state_name;
use jobgate::report::replay::Replay;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// What happens next, after so many milliseconds; the number says to whom, or how much.
#[derive(Clone, Copy, Debug)]
enum Event {
    Join(u32),
    Leave(u32),
    Held(u32),
    Slack(u32),
    Stop(u32),
    Continue(u32),
    /// Pressure grows so fast from here on.
    Press(u64),
    Set(u32),
    Blind,
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let what = prop_oneof![
        3 => any::<u32>().prop_map(Event::Join),
        2 => any::<u32>().prop_map(Event::Leave),
        8 => any::<u32>().prop_map(Event::Held),
        3 => any::<u32>().prop_map(Event::Slack),
        1 => any::<u32>().prop_map(Event::Stop),
        1 => any::<u32>().prop_map(Event::Continue),
        4 => (0..4_u64).prop_map(|step| Event::Press(step * 400)),
        2 => any::<u32>().prop_map(Event::Set),
        1 => Just(Event::Blind),
    ];
    (prop_oneof![3 => 0..40_u64, 1 => 0..1500_u64], what)
}

fn settings(choice: u32) -> Settings {
    let mut thresholds = Thresholds::default();
    let max = [None, Some(300_000.0), Some(700_000.5)][choice as usize % 3];
    thresholds.set(Resource::Cpu, max.and_then(|max| Threshold::new(max).ok()));
    thresholds.set(Resource::Io, (choice & 8 > 0).then(|| Threshold::new(900_000.0).unwrap()));
    Settings {
        thresholds,
        hold: if choice & 16 > 0 { Hold::Starts } else { Hold::All },
        heartbeat: Duration::from_millis([1000, 300][(choice & 32 > 0) as usize]),
        law: law::Terms {
            kind: if choice & 64 > 0 { law::Kind::Adaptive } else { law::Kind::Fixed },
            reserve: (choice & 128 > 0).then_some(Reserve { bytes: 1 << 30, share: 0.125 }),
            freezes: choice & 256 > 0,
        },
        max_load: (choice & 512 > 0).then_some(1.25),
        ..Settings::new(1 + choice % 7, 2)
    }
}

/// A client: its number, lease, allotment and what it holds, whether it wants more, whether it is stopped.
type Stands = (u64, [u32; 3], bool, bool);

/// What was judged of samples, by their moments: the gate's state, and the resources that are over their thresholds.
type Judged = BTreeMap<u64, Verdict>;
type Verdict = (&'static str, Vec<&'static str>);

/// A core, what it is told, and what is recorded of it.
struct World {
    now: Moment,
    regulator: Regulator,
    recorder: Option<Recorder>,
    records: Vec<Record>,
    /// How it was at each beat that was recorded, and what was judged of each sample.
    beats: BTreeMap<u64, Vec<Stands>>,
    judged: Judged,
    rate: u64,
    total: u64,
    counted: Moment,
    next_id: u64,
    serials: BTreeMap<u64, (u64, u32)>,
}

impl World {
    fn new() -> World {
        let now = Moment::at(Duration::from_micros(777));
        World {
            now,
            regulator: Regulator::new(settings(0), now),
            recorder: None,
            records: Vec::new(),
            beats: BTreeMap::new(),
            judged: BTreeMap::new(),
            rate: 0,
            total: 5,
            counted: now,
            next_id: 1,
            serials: BTreeMap::new(),
        }
    }

    fn observe(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        let (from, who) = (BTreeMap::new(), |_| Who::default());
        let seen = Seen { now: self.now, regulator: &self.regulator, from: &from, who: &who };
        let records = recorder.observe(&seen);
        if records.iter().any(|record| matches!(record, Record::Beat(_))) {
            let states = self.regulator.accounts().iter().map(|account| {
                let figures = [account.lease(), account.allotment(), account.held()];
                (account.id(), figures, account.is_hungry(), account.is_stopped())
            });
            self.beats.insert(us(self.now), states.collect());
        }
        self.records.extend(records);
    }

    /// As the server does it: what is judged is seen before anything else.
    fn tell(&mut self, input: Input) {
        self.regulator.handle(self.now, input);
        while let Some(action) = self.regulator.poll() {
            match action {
                Action::Sample => {
                    self.grow();
                    let totals = Totals::from_fn(|of| (of != Resource::Memory).then_some(self.total));
                    self.regulator.handle(self.now, Input::Sample(self.reading(totals)));
                    self.observe();
                    let reasons = self.regulator.gate().reasons().iter();
                    let reasons = reasons.map(|reason| reason.cause.name()).collect();
                    self.judged.insert(us(self.now), (state_name(self.regulator.door()), reasons));
                }
                Action::Tell(Change::Allot { id, tokens, serial, .. }) => {
                    self.serials.insert(id, (serial, tokens));
                }
                Action::Tell(Change::Grant { id, .. }) => self.regulator.handle(self.now, Input::Started(id)),
            }
        }
        self.observe();
    }

    /// The rest of the machine is as loaded as what waits for it.
    fn reading(&self, some: Totals) -> Reading {
        let total = us(self.now) / 5_000;
        Reading {
            some,
            full: some,
            cpu: Some(CpuUse::Share { busy: (total / 2).max(self.total / 10_000).min(total), total }),
            running: Some(1 + (self.rate / 200) as u32),
            memory: Some(Memory { available: (4 << 30) - self.total % (3 << 30), total: 8 << 30 }),
            load: Some(self.rate as f64 / 700.0),
            cpus: Some(2),
            throttled: None,
        }
    }

    fn grow(&mut self) {
        self.total += self.now.since(self.counted).as_millis() as u64 * self.rate;
        self.counted = self.now;
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now + Duration::from_micros(ms * 1000 + 13);
        loop {
            let due = self.recorder.as_ref().and_then(Recorder::deadline);
            let due = due.into_iter().chain(self.regulator.deadline()).min();
            let Some(due) = due.filter(|&due| due <= until) else { break };
            // Nobody is ever called in time.
            self.now = self.now.max(due) + Duration::from_micros(101);
            self.tell(Input::Time);
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, event: Event) {
        let ids: Vec<u64> = self.regulator.accounts().iter().map(|account| account.id()).collect();
        let of = |number: u32| ids.get(number as usize % ids.len().max(1)).copied();
        let input = match event {
            Event::Join(number) => {
                self.next_id += 1;
                let lease =
                    [Lease::Nothing, Lease::Counted, Lease::Wait { min: 1, max: 1 }][number as usize % 3];
                let terms = Terms {
                    lease,
                    cap: 1 + number % 6,
                    weight: 1 + number % 2,
                    max_wait: None,
                    loan: None,
                    idle: false,
                    takes: true,
                    uid: number % 2,
                };
                Some(Input::Join(self.next_id - 1, terms, None))
            }
            Event::Leave(number) => of(number).map(Input::Leave),
            Event::Held(number) | Event::Slack(number) => of(number).map(|id| {
                let (serial, tokens) = self.serials.get(&id).copied().unwrap_or_default();
                let held = (number >> 8) % (tokens + 1);
                let appetite =
                    if matches!(event, Event::Slack(_)) { Appetite::Slack(held) } else { Appetite::Full };
                Input::Report(id, Report { serial, held, appetite: Some(appetite) })
            }),
            Event::Stop(number) => of(number).map(Input::Stopped),
            Event::Continue(number) => of(number).map(Input::Continued),
            Event::Press(rate) => {
                self.grow();
                self.rate = rate;
                None
            }
            // What is set already is nobody told.
            Event::Set(choice) => {
                Some(settings(choice)).filter(|new| new != self.regulator.settings()).map(Input::Settings)
            }
            Event::Blind => self.regulator.gate().is_watching().then_some(Input::Blind),
        };
        if let Some(input) = input {
            self.tell(input);
        }
    }
}

fn moment(t: u64) -> Moment {
    Moment::at(Duration::from_micros(t))
}

/// What another core says of each sample, in the order in which they were told.
fn judge_again(records: &[Record]) -> Vec<(u64, Verdict)> {
    let Record::Header(header) = &records[0] else { panic!("{:?}", records[0]) };
    let mut regulator = Regulator::new(header.settings.settings(), moment(0));
    let mut judged = Vec::new();
    for record in records {
        let now = moment(record.t());
        match record {
            Record::Settings(settings) => regulator.note(now, Input::Settings(settings.now.settings())),
            Record::Blind(_) => regulator.note(now, Input::Blind),
            Record::Sample(sample) => {
                regulator.note(now, Input::Sample(sample.reading()));
                let reasons = regulator.gate().reasons().iter().map(|reason| reason.cause.name());
                judged.push((sample.t, (state_name(regulator.door()), reasons.collect())));
            }
            _ => {}
        }
    }
    judged
}

fn check(events: &[(u64, Event)], from: usize) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for (at, &(ms, event)) in events.iter().enumerate() {
        world.pass(ms);
        if at == from {
            world.recorder = Some(Recorder::new(About::default()));
            let now = world.now;
            world.regulator.record(now, true);
            world.tell(Input::Time);
        }
        world.happen(event);
    }
    world.pass(2000);
    let Some(mut recorder) = world.recorder.take() else { return Ok(()) };
    world.records.push(recorder.end(world.now));
    let text = journal::text(&world.records);
    let mut reader = Reader::new(&text).expect("a journal");
    let records: Vec<Record> = reader.by_ref().collect();
    prop_assert_eq!((reader.skipped(), reader.is_cut(), records.len()), (0, false, world.records.len()));

    // What is told of the clients at a beat is how they were.
    let mut scene = Scene::default();
    for record in &records {
        scene.take(record);
        if let Record::Beat(beat) = record {
            let told = scene.clients.iter().map(|(&id, client)| {
                let figures = [client.lease, client.allotment, client.held];
                (id, figures, client.wants(), client.stopped)
            });
            prop_assert_eq!(&told.collect::<Vec<_>>(), &world.beats[&beat.t]);
            prop_assert_eq!(beat.leased + beat.held, scene.running());
        }
        if let Record::End(end) = record {
            for total in &end.of {
                let near = scene.clients[&total.id].total(total.t);
                prop_assert!((near.waited_s - total.waited_s).abs() <= 1.01, "{:?}, {:?}", near, total);
                prop_assert_eq!(near.peak, total.peak);
            }
        }
    }
    // What was judged is judged so again.
    let Record::Header(header) = &records[0] else { panic!("{:?}", records[0]) };
    let in_order = judge_again(&records);
    let again: Judged = in_order.iter().filter(|(t, _)| *t > header.t).cloned().collect();
    let again: Vec<_> = again.into_iter().collect();
    let judged: Vec<_> = world.judged.into_iter().filter(|&(t, _)| t > header.t).collect();
    let seen: Vec<_> =
        judged.into_iter().filter(|(t, _)| again.iter().any(|(other, _)| other == t)).collect();
    prop_assert_eq!(&again, &seen);
    // ... and told, before anything else is.
    let (mut scene, mut sampled) = (Scene::default(), None);
    let mut told = BTreeMap::new();
    for record in &records {
        scene.take(record);
        match record {
            Record::Sample(sample) => sampled = Some(sample.t),
            Record::Settings(_) | Record::Blind(_) => sampled = None,
            _ => {}
        }
        if sampled == Some(record.t()) {
            let reasons = scene.gate.reasons.iter().map(|reason| reason.resource.clone());
            told.insert(record.t(), (scene.gate.state.clone(), reasons.collect::<Vec<_>>()));
        }
    }
    // A replay with the same settings judges the same.
    let mut replay = Replay::new(|settings| settings);
    records.iter().for_each(|record| replay.take(record));
    let mut verdicts: Vec<_> = in_order.into_iter().map(|(_, verdict)| verdict).collect();
    verdicts.dedup();
    let replayed: Vec<_> =
        replay.end().verdicts.into_iter().map(|(_, state, reasons)| (state, reasons)).collect();
    prop_assert_eq!(replayed, verdicts);
    for (t, (state, reasons)) in again {
        let (told_state, told_reasons) = &told[&t];
        prop_assert!(told_state == state && told_reasons.iter().eq(&reasons), "{}: {:?}", t, told[&t]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn records_are_what_was_and_are_judged_as_it_was(
        events in prop::collection::vec(event(), 1..120),
        from in 0..40_usize,
    ) {
        check(&events, from)?;
    }
}
