//! The laws: what the limit follows from. Fixed: nothing but the ceiling. Adaptive: the headroom of the cpus, io, and the
//! room in memory, the tightest of which counts.
//!
//! Doesn't know clients, nor how a limit is handed out, nor where figures are read: it is told how the machine stands and
//! how many jobs are out.

pub mod cpu;
pub mod freeze;
pub mod io;
pub mod memory;
pub mod thrash;

use super::limit::Limit;
use super::pressure::{Pressure, Resource};
use super::reading::Reading;
use super::time::Moment;
use cpu::{Headroom, Smooth};
use freeze::Freeze;
use io::Stall;
use memory::{Reserve, Room};
use std::time::Duration;
use thrash::Thrash;

/// While memory is tight the machine is looked at so often.
pub const CLOSE_TICK: Duration = Duration::from_millis(50);

/// The law where nobody says one.
pub const USUAL: Kind = Kind::Adaptive;

/// By what the limit is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// It is the ceiling.
    #[default]
    Fixed,
    /// By measurement, up to the ceiling.
    Adaptive,
}

impl Kind {
    /// The ceiling where nobody says one: as many jobs as usable cpus; by the adaptive law, which sees whether they are
    /// busy, four times as many.
    pub fn usual_ceiling(self, cpus: u32) -> u32 {
        match self {
            Kind::Fixed => cpus,
            Kind::Adaptive => cpus.saturating_mul(4),
        }
    }
}

/// What a law is set to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// Which.
    pub kind: Kind,
    /// What must stay available of memory. The fixed law looks at memory only where this is said.
    pub reserve: Option<Reserve>,
    /// Jobs are made to stand still while everything waits for memory; only by the adaptive law.
    pub freezes: bool,
}

impl Terms {
    /// Whether the machine must be looked at.
    pub fn is_watching(&self) -> bool {
        self.kind == Kind::Adaptive || self.reserve.is_some()
    }
}

/// How many jobs may run by each part; `None`: it bounds nothing, or isn't known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The headroom of the cpus.
    pub cpu: Option<u32>,
    /// Io.
    pub io: Option<u32>,
    /// The room in memory.
    pub memory: Option<u32>,
    /// How fast the number of jobs may grow.
    pub growth: Option<u32>,
}

/// What bounds the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tightest {
    /// What it was set to.
    Ceiling,
    /// The cpus' headroom.
    Cpu,
    /// Io.
    Io,
    /// Memory.
    Memory,
    /// How fast it may grow.
    Growth,
}

impl Tightest {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Tightest::Ceiling => "ceiling",
            Tightest::Cpu => "cpu",
            Tightest::Io => "io",
            Tightest::Memory => "memory",
            Tightest::Growth => "growth",
        }
    }
}

impl Parts {
    /// The least of all parts and the ceiling, 1 or more, and what that is; of equal ones the first in this order: the
    /// ceiling, memory, io, cpu, growth.
    pub fn tightest(&self, ceiling: u32) -> (u32, Tightest) {
        let mut least = (ceiling.max(1), Tightest::Ceiling);
        let parts = [
            (self.memory, Tightest::Memory),
            (self.io, Tightest::Io),
            (self.cpu, Tightest::Cpu),
            (self.growth, Tightest::Growth),
        ];
        for (part, name) in parts {
            if let Some(part) = part.map(|part| part.max(1)).filter(|&part| part < least.0) {
                least = (part, name);
            }
        }
        least
    }
}

/// See the module.
#[derive(Debug)]
pub struct Law {
    terms: Terms,
    cpus: u32,
    cpu: Headroom,
    io: Stall,
    room: Room,
    thrash: Thrash,
    freeze: Freeze,
    full: Pressure,
    jobs: Mean,
}

impl Law {
    /// Nothing is known yet. `cpus`: usable ones, until a reading says how many.
    pub fn new(terms: Terms, cpus: u32) -> Law {
        Law {
            terms,
            cpus: cpus.max(1),
            cpu: Headroom::default(),
            io: Stall::default(),
            room: Room::new(terms.reserve),
            thrash: Thrash::default(),
            freeze: Freeze::default(),
            full: Pressure::default(),
            jobs: Mean::default(),
        }
    }

    /// Other terms from here on; what was measured stays.
    pub fn set(&mut self, terms: Terms, cpus: u32) {
        if terms.kind != self.terms.kind {
            *self = Law::new(terms, cpus);
        }
        (self.terms, self.cpus) = (terms, cpus.max(1));
        self.room.set_reserve(terms.reserve);
    }

    /// Usable cpus.
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Notes that `jobs` are out from `now` on, and that `issued` were let out since the start.
    pub fn note(&mut self, now: Moment, jobs: u32, issued: u64) {
        self.jobs.note(now, jobs);
        self.room.note_issued(now, issued);
    }

    /// The jobs of those who are here become as large as that, in bytes; 0: that isn't known.
    pub fn expect(&mut self, bytes: u64) {
        self.room.expect(bytes);
    }

    /// What was last said of their size.
    pub fn expected(&self) -> u64 {
        self.room.expected()
    }

    /// Takes a look at the machine in; `most`: no limit is higher.
    pub fn look(&mut self, now: Moment, reading: &Reading, most: u32) {
        if !self.terms.is_watching() {
            return;
        }
        self.cpus = reading.cpus.unwrap_or(self.cpus).max(1);
        let jobs = self.jobs.now();
        self.room.look(now, reading.memory, jobs);
        if self.terms.kind == Kind::Fixed {
            return;
        }
        let mean = self.jobs.take(now);
        self.cpu.look(now, reading, self.cpus, mean, most);
        self.io.look(now, reading.full.get(Resource::Io));
        self.full.add(now, reading.full);
        let rate = self.full.rates().get(Resource::Memory);
        self.thrash.look(now, rate);
        self.freeze.look(now, rate, if self.terms.freezes { jobs } else { 0 });
        self.thrash.end_at(now, most);
    }

    /// How many jobs may run by each part while `jobs` do.
    pub fn parts(&mut self, now: Moment, jobs: u32, limit: &Limit) -> Parts {
        let room = if self.terms.is_watching() { self.room.limit(now, jobs) } else { None };
        let growth = limit.ramp();
        match self.terms.kind {
            Kind::Fixed => Parts { memory: room, growth, ..Parts::default() },
            Kind::Adaptive => Parts {
                cpu: Some(self.cpu.limit(self.cpus)),
                io: self.io.limit(self.cpus),
                memory: [room, self.thrash.limit(now)].into_iter().flatten().min(),
                growth,
            },
        }
    }

    /// Whether the machine should be looked at more often than on the tick.
    pub fn is_close(&mut self, now: Moment) -> bool {
        self.terms.is_watching() && self.room.is_tight(now, self.jobs.now())
    }

    /// What the cpu's part goes by; `None`: nothing yet.
    pub fn smooth(&self) -> Option<Smooth> {
        self.cpu.smooth()
    }

    /// Whether somebody reads the pressure counters so fast that they say nothing.
    pub fn distrusts_pressure(&self) -> bool {
        self.cpu.distrusts_pressure()
    }

    /// The memory part's figures.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// How many jobs are to stand still.
    pub fn still(&self) -> u32 {
        self.freeze.still()
    }

    /// Whether everything waits for memory.
    pub fn thrashes(&self) -> bool {
        self.thrash.is_on()
    }
}

/// How many jobs were out on average since that was last taken.
#[derive(Debug, Default)]
struct Mean {
    jobs: u32,
    noted: Moment,
    taken: Moment,
    /// Jobs times seconds, up to when it was noted.
    area: f64,
}

impl Mean {
    fn note(&mut self, now: Moment, jobs: u32) {
        if jobs != self.jobs {
            self.area += f64::from(self.jobs) * now.since(self.noted).as_secs_f64();
            (self.jobs, self.noted) = (jobs, now.max(self.noted));
        }
    }

    fn now(&self) -> u32 {
        self.jobs
    }

    fn take(&mut self, now: Moment) -> f64 {
        let area = self.area + f64::from(self.jobs) * now.since(self.noted).as_secs_f64();
        let time = now.since(self.taken).as_secs_f64();
        (self.area, self.noted, self.taken) = (0.0, now, now);
        if time > 0.0 { area / time } else { f64::from(self.jobs) }
    }
}

#[cfg(test)]
mod tests;
