//! A machine in virtual time: cpus, jobs that can't be revoked, others' load, memory, and the counters that a kernel would show;
//! builds on it take tokens from the real policy core.
//!
//! Doesn't judge what comes of it. Time goes in jiffies of 4 ms, as on a kernel with HZ=250.

pub mod build;

use build::Build;
use jobgate::policy::account::{ClientId, Lease, Terms};
use jobgate::policy::ledger::Change;
use jobgate::policy::pressure::{PerResource, Resource};
use jobgate::policy::reading::{CpuUse, Memory, Reading};
use jobgate::policy::regulator::{Action, Input, Regulator, Settings};
use jobgate::policy::time::Moment;
use std::time::Duration;

/// Milliseconds in a step.
pub const JIFFY: u64 = 4;

const MIB: u64 = 1 << 20;

/// What is lost of the cpus' time to switching and cold caches where as many wait as run: eight compilers on two cpus took
/// 1.19 times as long as two (measured).
const SWITCHING: f64 = 0.16;

/// What a machine is like, and what goes on there beside the builds.
#[derive(Clone, Copy)]
pub struct Machine {
    /// Usable cpus.
    pub cpus: u32,
    /// MiB, of which `others` are in use by others.
    pub memory: u64,
    /// Threads of others that want a cpu, by ms since the start.
    pub load: fn(u64, u32) -> u32,
    /// MiB that others use, likewise.
    pub others: fn(u64) -> u64,
    /// What is odd about it.
    pub oddity: Oddity,
}

/// What can be wrong with counters and clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Nothing.
    None,
    /// No pressure files.
    NoPressure,
    /// Somebody reads the pressure files so fast that the counters stand still.
    FastReader,
    /// The pressure counter stands still for 3 s, jumps by an hour, goes backwards, over and over.
    WildCounter,
    /// Ticks come up to 2 s late.
    LateTicks,
}

impl Machine {
    /// A quiet one with plenty of memory.
    pub fn quiet(cpus: u32) -> Machine {
        Machine { cpus, memory: 4096 * u64::from(cpus), load: |_, _| 0, others: |_| 0, oddity: Oddity::None }
    }
}

/// A machine at work. See the module.
pub struct Plant {
    machine: Machine,
    /// Milliseconds since the start.
    pub now: u64,
    /// The core.
    pub regulator: Regulator,
    /// Who builds.
    pub builds: Vec<Build>,
    random: u64,
    /// Since the start: microseconds of cpu pressure, busy jiffies of all cpus.
    waited: f64,
    busy: f64,
    runnable: u32,
    /// When the tick is told, if it is late.
    late_until: u64,
    /// Jobs killed for want of memory.
    pub killed: u32,
    /// MiB in use at the most.
    pub most_memory: u64,
    next_id: ClientId,
}

impl Plant {
    /// Nobody builds yet.
    pub fn new(machine: Machine, settings: Settings) -> Plant {
        Plant {
            machine,
            now: 0,
            regulator: Regulator::new(settings, Moment::default()),
            builds: Vec::new(),
            random: 7,
            waited: 0.0,
            busy: 0.0,
            runnable: 0,
            late_until: 0,
            killed: 0,
            most_memory: 0,
            next_id: 1,
        }
    }

    fn at(&self) -> Moment {
        Moment::at(Duration::from_millis(self.now))
    }

    /// A build comes, and waits for its lease.
    pub fn join(&mut self, mut build: Build) {
        build.id = self.next_id;
        self.next_id += 1;
        let terms = Terms {
            lease: Lease::Wait { min: 1, max: 1 },
            cap: 4096,
            weight: 1,
            max_wait: Some(Duration::ZERO),
            loan: None,
            idle: false,
            takes: true,
            uid: 0,
        };
        let id = build.id;
        self.builds.push(build);
        self.tell(Input::Join(id, terms, None));
    }

    /// The machine has others from here on.
    pub fn set_load(&mut self, load: fn(u64, u32) -> u32) {
        self.machine.load = load;
    }

    /// Another oddity from here on.
    pub fn set_oddity(&mut self, oddity: Oddity) {
        self.machine.oddity = oddity;
    }

    /// Jobs that run.
    pub fn running(&self) -> u32 {
        self.builds.iter().map(|build| build.jobs.len() as u32).sum()
    }

    /// Microseconds of cpu pressure since the start, as it really was.
    pub fn waited(&self) -> f64 {
        self.waited
    }

    /// Whether all has been built.
    pub fn is_done(&self) -> bool {
        self.builds.is_empty()
    }

    fn tell(&mut self, input: Input) {
        let (before, now) = (self.regulator.charge(), self.at());
        self.regulator.handle(now, input);
        self.obey(before);
    }

    /// Does what the core wants done.
    fn obey(&mut self, before: u32) {
        let (limit, ceiling) = (self.regulator.limit(), self.regulator.settings().jobs);
        assert!((1..=ceiling).contains(&limit), "{limit} of {ceiling}");
        let charge = self.regulator.charge();
        assert!(charge <= limit.max(before), "{charge} of {limit}, {before} before");
        let mut looks = false;
        while let Some(action) = self.regulator.poll() {
            let (id, tell): (ClientId, &dyn Fn(&mut Build)) = match action {
                Action::Sample => {
                    looks = true;
                    continue;
                }
                Action::Tell(Change::Allot { id, tokens, serial, .. }) => {
                    (id, &move |build: &mut Build| build.allot(tokens, serial))
                }
                Action::Tell(Change::Grant { id, .. }) => (id, &Build::start),
            };
            self.builds.iter_mut().filter(|build| build.id == id).for_each(tell);
        }
        if looks {
            let reading = self.reading();
            self.tell(Input::Sample(reading));
        }
    }

    /// What the kernel shows.
    fn reading(&self) -> Reading {
        let seconds = self.now / 1000;
        let waited = match self.machine.oddity {
            Oddity::None | Oddity::LateTicks => Some(self.waited),
            Oddity::NoPressure => None,
            Oddity::FastReader => Some(0.0),
            Oddity::WildCounter => Some(match seconds % 12 {
                0..6 => self.waited,
                6..9 => 0.0,
                9 => self.waited + 3.6e9,
                _ => self.waited / 2.0,
            }),
        };
        let used = self.used();
        Reading {
            some: PerResource::from_fn(|resource| {
                waited.filter(|_| resource == Resource::Cpu).map(|waited| waited as u64)
            }),
            full: PerResource::from_fn(|resource| (resource != Resource::Cpu).then_some(0)),
            cpu: Some(CpuUse::Share {
                busy: self.busy as u64,
                total: self.now / JIFFY * u64::from(self.machine.cpus),
            }),
            running: Some(self.runnable + 1),
            memory: Some(Memory {
                available: self.machine.memory.saturating_sub(used) * MIB,
                total: self.machine.memory * MIB,
            }),
            ..Reading::default()
        }
    }

    /// MiB in use.
    fn used(&self) -> u64 {
        (self.machine.others)(self.now) + self.builds.iter().map(Build::memory).sum::<u64>()
    }

    /// A jiffy passes.
    pub fn step(&mut self) {
        self.now += JIFFY;
        self.compute();
        self.kill();
        self.serve();
        self.pass();
    }

    /// All that is runnable shares the cpus evenly.
    fn compute(&mut self) {
        let cpus = f64::from(self.machine.cpus);
        // The kernel's own and everybody's small threads, seldom and for a moment.
        let small = (0..self.machine.cpus).filter(|_| roll(&mut self.random, 100) < 3).count() as u32;
        let mut runnable = (self.machine.load)(self.now, self.machine.cpus) + small;
        for build in &mut self.builds {
            let random = &mut self.random;
            runnable += build.wake(|| roll(random, 100));
        }
        self.runnable = runnable;
        let runnable = f64::from(runnable);
        let pressure = ((runnable - cpus) / cpus).clamp(0.0, 1.0);
        let rate = (cpus / runnable.max(1.0)).min(1.0) * (1.0 - SWITCHING * pressure);
        self.builds.iter_mut().for_each(|build| build.compute(JIFFY as f64 * rate));
        self.busy += runnable.min(cpus);
        self.waited += pressure * JIFFY as f64 * 1000.0;
    }

    /// Where memory runs out the largest job dies.
    fn kill(&mut self) {
        self.most_memory = self.most_memory.max(self.used());
        while self.used() > self.machine.memory {
            let largest = self.builds.iter_mut().max_by_key(|build| build.largest());
            if !largest.is_some_and(Build::kill_largest) {
                return;
            }
            self.killed += 1;
        }
    }

    /// What the tools and their proxies do.
    fn serve(&mut self) {
        let (now, mut over) = (self.now, Vec::new());
        let mut said = false;
        for build in &mut self.builds {
            build.serve(now);
            if let Some(report) = build.report(now) {
                self.regulator.note(Moment::at(Duration::from_millis(now)), Input::Report(build.id, report));
                said = true;
            }
            if build.is_over() {
                over.push(build.id);
            }
        }
        if said {
            let before = self.regulator.charge();
            self.regulator.settle(self.at());
            self.obey(before);
        }
        for id in over {
            self.builds.retain(|build| build.id != id);
            self.tell(Input::Leave(id));
        }
        let started: Vec<ClientId> =
            self.builds.iter_mut().filter_map(|build| build.has_just_started().then_some(build.id)).collect();
        started.into_iter().for_each(|id| self.tell(Input::Started(id)));
    }

    fn pass(&mut self) {
        if self.regulator.deadline().is_none_or(|when| when > self.at()) || self.now < self.late_until {
            return;
        }
        if self.machine.oddity == Oddity::LateTicks {
            self.late_until = self.now + roll(&mut self.random, 2_000);
        }
        self.tell(Input::Time);
    }
}

/// A number below `sides`, the next of a row that is always the same.
pub fn roll(random: &mut u64, sides: u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33) % sides.max(1)
}
