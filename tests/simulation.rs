//! The policy core against a simulated tree of tools, in virtual time: random joins, takings, returns, deaths, pressure,
//! stops and late beats, with the invariants asserted after every step.
//!
//! Doesn't know descriptors: what stands in an endpoint is a number here.

use jobgate::policy::account::{Lease, Report, Terms};
use jobgate::policy::endpoint::{Endpoint, Style, Wish};
use jobgate::policy::gate::{Hold, Threshold, Thresholds};
use jobgate::policy::law;
use jobgate::policy::ledger::Change;
use jobgate::policy::pressure::{Resource, Totals};
use jobgate::policy::regulator::{Action, Input, Regulator, Settings};
use jobgate::policy::time::Moment;
use proptest::prelude::*;
use std::time::Duration;

const JOBS: u32 = 6;
const THRESHOLD: f64 = 100_000.0;
const BEAT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Event {
    Join,
    Take(usize),
    Return(usize),
    /// Ends and returns all, as a tool should.
    Exit(usize),
    /// Ends with what it holds.
    Die(usize),
    /// Returns a token that it never took.
    Mint,
    /// Pressure from now on, in microseconds per second.
    Pressure(u32),
    Stop,
    Continue,
    /// So many milliseconds pass; the proxy wakes when it asked to.
    Pass(u64),
    /// So many pass and it wakes late, once.
    Oversleep(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Join),
        9 => any::<usize>().prop_map(Event::Take),
        6 => any::<usize>().prop_map(Event::Return),
        1 => any::<usize>().prop_map(Event::Exit),
        1 => any::<usize>().prop_map(Event::Die),
        1 => Just(Event::Mint),
        2 => prop_oneof![Just(0u32), Just(99_000), Just(101_000), Just(900_000)].prop_map(Event::Pressure),
        1 => Just(Event::Stop),
        2 => Just(Event::Continue),
        6 => (1u64..1500).prop_map(Event::Pass),
        1 => (1000u64..5000).prop_map(Event::Oversleep),
    ]
}

/// The one client.
const ME: u64 = 1;

/// A run's own: its lease isn't waited for.
fn terms() -> Terms {
    Terms {
        lease: Lease::Counted,
        cap: JOBS,
        weight: 1,
        max_wait: None,
        loan: None,
        idle: false,
        takes: true,
        uid: 0,
    }
}

/// A tree, its endpoint, and a proxy without I/O.
struct World {
    now: Duration,
    regulator: Regulator,
    endpoint: Endpoint,
    style: Style,
    /// What really stands in R or the fifo.
    standing: u32,
    tools: Vec<u32>,
    pressure: f64,
    total: f64,
    stopped: bool,
    /// Tokens were minted: then more may run than was issued, until it shows.
    minted: bool,
    /// Tokens that died with their holder, not yet written off.
    dead: u32,
    /// The number of the allotment in force and what is held, as last told.
    told: Option<(u64, u32)>,
    /// As the regulator has it.
    allotment: u32,
    /// Its number.
    serial: u64,
    sampled: Option<Duration>,
}

impl World {
    fn new(style: Style, hold: Hold) -> World {
        World::with_heartbeat(style, hold, BEAT)
    }

    fn with_heartbeat(style: Style, hold: Hold, heartbeat: Duration) -> World {
        let mut thresholds = Thresholds::default();
        thresholds.set(Resource::Cpu, Threshold::new(THRESHOLD).ok());
        let settings = Settings { thresholds, hold, heartbeat, ..Settings::new(JOBS, 4) };
        let mut regulator = Regulator::new(settings, Moment::default());
        regulator.handle(Moment::default(), Input::Join(ME, terms(), None));
        let mut world = World {
            now: Duration::ZERO,
            regulator,
            endpoint: Endpoint::new(style),
            style,
            standing: 0,
            tools: Vec::new(),
            pressure: 0.0,
            total: 0.0,
            stopped: false,
            minted: false,
            dead: 0,
            told: None,
            allotment: 0,
            serial: 0,
            sampled: None,
        };
        world.settle();
        world
    }

    fn now(&self) -> Moment {
        Moment::at(self.now)
    }

    fn running(&self) -> u32 {
        1 + self.tools.iter().sum::<u32>()
    }

    /// What the proxy does after any event, by the same calls.
    fn settle(&mut self) {
        let now = self.now();
        loop {
            while let Some(action) = self.regulator.poll() {
                match action {
                    Action::Tell(Change::Allot { tokens, serial, .. }) => {
                        (self.allotment, self.serial) = (tokens, serial)
                    }
                    Action::Tell(Change::Grant { .. }) => panic!("its lease isn't waited for"),
                    Action::Sample => {
                        let since = self.sampled.map(|before| self.now - before);
                        assert!(since.is_none_or(|since| since >= Duration::from_millis(20)), "{since:?}");
                        self.sampled = Some(self.now);
                        let mut totals = Totals::default();
                        totals.set(Resource::Cpu, Some(self.total as u64));
                        self.regulator.handle(now, Input::Sample(totals.into()));
                    }
                }
            }
            self.endpoint.allot(self.allotment);
            match self.endpoint.wish() {
                Wish::Nothing => {}
                Wish::Offer(tokens) => {
                    self.standing += tokens;
                    self.endpoint.offered(tokens);
                }
                Wish::Withdraw(tokens) => {
                    let there = tokens.min(self.standing);
                    self.standing -= there;
                    self.endpoint.withdrawn(there);
                    self.endpoint.saw(self.standing);
                }
            }
            let stands = (self.serial, self.endpoint.held());
            if self.told == Some(stands) {
                return;
            }
            self.told = Some(stands);
            let report = Report { serial: stands.0, held: stands.1, appetite: None };
            self.regulator.handle(now, Input::Report(ME, report));
        }
    }

    /// A byte comes back: into W, or into the fifo.
    fn come_back(&mut self, tokens: u32) {
        match self.style {
            Style::Pipe => self.endpoint.returned(tokens),
            Style::Fifo => self.standing += tokens,
        }
    }

    /// The last tool is gone: a fifo's deserted event.
    fn look_for_desertion(&mut self) {
        if self.style == Style::Fifo && self.tools.is_empty() {
            self.endpoint.saw(self.standing);
            self.endpoint.deserted(self.now() + BEAT);
        }
    }

    /// Time passes to the next moment that anybody asked for, or to the end.
    fn pass(&mut self, time: Duration, late: bool) {
        let end = self.now + time;
        while self.now < end {
            let count = self.now + Duration::from_millis(100);
            let asked = [self.regulator.deadline(), self.endpoint.doubt()].into_iter().flatten().min();
            let wait = asked.map_or(time, |when| when.since(self.now()));
            let next =
                if late { end } else { end.min(count).min(self.now + wait.max(Duration::from_millis(1))) };
            self.total += self.pressure * (next - self.now).as_secs_f64();
            self.now = next;
            self.endpoint.saw(self.standing);
            self.endpoint.write_off(self.now());
            self.dead = self.dead.min(self.endpoint.held().saturating_sub(self.tools.iter().sum()));
            self.regulator.handle(self.now(), Input::Time);
            self.settle();
        }
    }

    fn step(&mut self, event: &Event) {
        let tool = |at: usize, tools: &[u32]| if tools.is_empty() { None } else { Some(at % tools.len()) };
        match *event {
            Event::Join => self.tools.push(0),
            Event::Take(at) => {
                if let Some(at) = tool(at, &self.tools).filter(|_| self.standing > 0 && !self.stopped) {
                    self.standing -= 1;
                    self.tools[at] += 1;
                }
            }
            Event::Return(at) => {
                if let Some(at) = tool(at, &self.tools).filter(|&at| self.tools[at] > 0) {
                    self.tools[at] -= 1;
                    self.come_back(1);
                }
            }
            Event::Exit(at) | Event::Die(at) => {
                if let Some(at) = tool(at, &self.tools) {
                    let held = self.tools.swap_remove(at);
                    if matches!(event, Event::Exit(_)) {
                        self.come_back(held);
                    } else {
                        self.dead += held;
                    }
                    self.look_for_desertion();
                }
            }
            Event::Mint => {
                self.minted = true;
                self.come_back(1);
            }
            Event::Pressure(rate) => self.pressure = f64::from(rate),
            Event::Stop => {
                self.stopped = true;
                self.regulator.handle(self.now(), Input::Stopped(ME));
            }
            Event::Continue => {
                self.stopped = false;
                self.regulator.handle(self.now(), Input::Continued(ME));
            }
            Event::Pass(ms) => return self.pass(Duration::from_millis(ms), false),
            Event::Oversleep(ms) => return self.pass(Duration::from_millis(ms), true),
        }
        if self.style == Style::Pipe {
            self.endpoint.saw(self.standing); // every taking is an event there
        }
        self.settle();
    }

    fn check(&self, was: &Before) -> Result<(), TestCaseError> {
        let limit = self.regulator.limit();
        let lease = self.regulator.accounts()[0].lease();
        let issued = self.endpoint.held() + self.endpoint.standing();
        prop_assert!((1..=JOBS).contains(&limit), "the limit stays in its range");
        prop_assert!(lease + issued <= JOBS, "no over-issue: {} issued", issued);
        prop_assert_eq!(lease, 1, "one job always runs");
        if !self.minted {
            prop_assert!(self.running() <= JOBS, "{} run", self.running());
            let held: u32 = self.tools.iter().sum();
            prop_assert!(issued == self.standing + held + self.dead, "conservation");
        }
        let closed = |held: bool, stopped: bool| stopped || held;
        if closed(was.held, was.stopped) && closed(self.held_back(), self.stopped) {
            prop_assert!(issued <= was.issued, "nothing is issued while it is closed");
        }
        if closed(self.held_back(), self.stopped) {
            prop_assert_eq!(self.endpoint.owed(), self.endpoint.held(), "what comes back is to be had");
        } else {
            let room = limit.saturating_sub(1 + self.endpoint.held());
            let goal = if self.style == Style::Pipe { room.min(1) } else { room };
            prop_assert!(self.endpoint.standing() >= goal, "work conserving: {} of {}", self.standing, goal);
        }
        Ok(())
    }

    fn held_back(&self) -> bool {
        self.regulator.gate().is_held()
    }

    fn before(&self) -> Before {
        Before {
            issued: self.endpoint.held() + self.endpoint.standing(),
            held: self.held_back(),
            stopped: self.stopped,
        }
    }
}

/// How things stood before a step.
struct Before {
    issued: u32,
    held: bool,
    stopped: bool,
}

fn play(style: Style, events: &[Event]) -> Result<World, TestCaseError> {
    let mut world = World::new(style, Hold::All);
    for event in events {
        let before = world.before();
        world.step(event);
        world.check(&before)?;
    }
    Ok(world)
}

/// Everybody leaves, the pressure goes, two beats and the ramp pass: all is as at the start.
fn calm_down(world: &mut World) {
    world.step(&Event::Continue);
    world.step(&Event::Pressure(0));
    while !world.tools.is_empty() {
        world.step(&Event::Exit(0));
    }
    world.look_for_desertion();
    world.step(&Event::Pass(3_000));
}

proptest! {
    #[test]
    fn a_pipe_keeps_every_promise(events in prop::collection::vec(event(), 0..300)) {
        // What dies with a tool stays lost to a pipe that a living tree shares: not in this tree.
        let events: Vec<_> = events.into_iter().filter(|event| !matches!(event, Event::Die(_))).collect();
        let mut world = play(Style::Pipe, &events)?;
        calm_down(&mut world);
        prop_assert_eq!((world.endpoint.held(), world.standing), (0, 1), "nothing leaks");
    }

    #[test]
    fn a_fifo_keeps_every_promise(events in prop::collection::vec(event(), 0..300)) {
        let mut world = play(Style::Fifo, &events)?;
        calm_down(&mut world);
        prop_assert_eq!(world.endpoint.held(), 0, "what the dead held is back");
        if !world.regulator.is_ramping() {
            prop_assert_eq!(world.standing, JOBS - 1, "nothing leaks, nothing is minted");
        }
    }

    #[test]
    fn holding_starts_only_never_touches_tokens(rates in prop::collection::vec(0u32..900_000, 1..40)) {
        let mut world = World::new(Style::Fifo, Hold::Starts);
        for rate in rates {
            world.step(&Event::Pressure(rate));
            world.step(&Event::Pass(700));
            prop_assert_eq!(world.standing, JOBS - 1);
        }
    }
}

#[test]
fn crossing_a_threshold_holds_within_a_window_and_a_tick() {
    let mut world = World::new(Style::Pipe, Hold::All);
    world.step(&Event::Join);
    world.step(&Event::Take(0));
    world.step(&Event::Pass(5_000));
    world.step(&Event::Pressure(900_000));
    world.step(&Event::Pass(1_250));
    assert!(world.held_back());
    assert_eq!((world.standing, world.running()), (0, 2), "withdrawn; what runs runs on");
    world.step(&Event::Return(0));
    assert_eq!((world.standing, world.running()), (0, 1), "what came back isn't offered again");
    world.step(&Event::Pressure(0));
    world.step(&Event::Pass(1_250));
    assert!(!world.held_back());
    assert_eq!(world.standing, 1);
}

#[test]
fn jobs_shorter_than_a_tick_do_not_put_it_off() {
    for heartbeat in [Duration::from_millis(20), BEAT, Duration::from_secs(60)] {
        let mut world = World::with_heartbeat(Style::Pipe, Hold::All, heartbeat);
        world.step(&Event::Join);
        world.step(&Event::Pressure(900_000));
        let mut jobs = 0;
        while !world.held_back() {
            world.step(&Event::Take(0));
            world.step(&Event::Pass(90));
            world.step(&Event::Return(0));
            jobs += 1;
            assert!(jobs < 40, "still open after {:?} with a heartbeat of {heartbeat:?}", world.now);
        }
    }
}

#[test]
fn a_gate_that_goes_blind_in_the_ramp_gives_all() {
    let mut world = World::new(Style::Fifo, Hold::All);
    world.step(&Event::Pressure(900_000));
    world.step(&Event::Pass(3_000));
    world.step(&Event::Pressure(0));
    while world.held_back() {
        world.step(&Event::Pass(50));
    }
    assert!(world.regulator.is_ramping());
    world.regulator.handle(world.now(), Input::Blind);
    world.settle();
    assert_eq!(world.standing, JOBS - 1);
}

#[test]
fn after_a_hold_the_jobs_come_back_step_by_step() {
    let mut world = World::new(Style::Fifo, Hold::All);
    world.step(&Event::Join);
    world.step(&Event::Pass(2_000));
    world.step(&Event::Pressure(900_000));
    world.step(&Event::Pass(3_000));
    world.step(&Event::Pressure(0));
    let mut course = vec![];
    for _ in 0..16 {
        world.step(&Event::Pass(250));
        while world.standing > 0 {
            world.step(&Event::Take(0));
        }
        course.push(world.running());
    }
    course.dedup();
    assert_eq!(course, [1, 2, 3, 4, 5, 6], "4 cpus: one more each quarter of a second");
}

#[test]
fn a_day_of_beats_asks_for_a_sample_each_and_nothing_else() {
    let mut world = World::new(Style::Pipe, Hold::All);
    let mut beats = 0;
    while world.now < Duration::from_secs(24 * 60 * 60) {
        let deadline = world.regulator.deadline().expect("pressure is watched");
        world.now = deadline.since(Moment::default());
        world.regulator.handle(deadline, Input::Time);
        world.settle();
        beats += 1;
    }
    assert_eq!(beats, 86_400, "an idle tree: beats, no ticks");
    assert_eq!(world.regulator.beats(), (86_400, 0));
}

#[test]
fn nothing_watched_nothing_to_wake_for() {
    assert_eq!(Regulator::new(Settings::new(JOBS, 4), Moment::default()).deadline(), None);
}

#[test]
fn by_the_adaptive_law_time_matters_while_somebody_is_there() {
    let law = law::Terms { kind: law::Kind::Adaptive, reserve: None, freezes: false };
    let mut regulator = Regulator::new(Settings { law, ..Settings::new(JOBS, 4) }, Moment::default());
    assert_eq!((regulator.deadline(), regulator.poll()), (None, None));
    let at = |ms| Moment::at(Duration::from_millis(ms));
    let terms = Terms { lease: Lease::Nothing, idle: true, ..terms() };
    regulator.handle(at(1), Input::Join(ME, terms, None));
    assert_eq!(regulator.poll(), Some(Action::Sample), "nobody has looked before");
    while regulator.poll().is_some() {}
    assert_eq!(regulator.deadline(), Some(at(1_000)), "the beat: nothing runs");
    regulator.handle(at(200), Input::Leave(ME));
    assert_eq!(regulator.deadline(), None);
}
