//! Pressure rates from samples of the kernel's `some total` counters.
//!
//! Doesn't know where the counters come from, nor what a rate is compared with.

use super::ticker::SHORTEST_INTERVAL;
use super::time::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// What the kernel keeps pressure figures of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Runnable work waited for a cpu.
    Cpu,
    /// Work waited for block io.
    Io,
    /// Work waited for memory: reclaim, swap, refaults.
    Memory,
}

impl Resource {
    /// All of them, in the order of every table here.
    pub const ALL: [Resource; 3] = [Resource::Cpu, Resource::Io, Resource::Memory];

    /// The word for it: the file's name below `/proc/pressure`, and what users read.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Io => "io",
            Resource::Memory => "memory",
        }
    }
}

/// One value for each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerResource<T>([T; 3]);

impl PerResource<bool> {
    /// None of them.
    pub const fn none() -> PerResource<bool> {
        PerResource([false; 3])
    }
}

impl<T: Copy> PerResource<T> {
    /// A value for each, by a function of the resource.
    pub fn from_fn(value: impl FnMut(Resource) -> T) -> PerResource<T> {
        PerResource(Resource::ALL.map(value))
    }

    /// The value for `resource`.
    pub fn get(&self, resource: Resource) -> T {
        self.0[resource as usize]
    }

    /// Changes the value for `resource`.
    pub fn set(&mut self, resource: Resource, value: T) {
        self.0[resource as usize] = value;
    }
}

/// `some total` of each resource, in microseconds since boot; `None` where it isn't read.
pub type Totals = PerResource<Option<u64>>;

/// Growth of `some total` in microseconds per second; `None` until a window has passed.
pub type Rates = PerResource<Option<f64>>;

/// A rate is taken over at least this long: bitbake's `psi_accumulation_interval`. bitbake itself also judges over
/// the few milliseconds after it has renewed its base, where the counter hasn't moved: of 459 decisions under full
/// load all 12 "not exceeded" ones were such.
const WINDOW: Duration = Duration::from_secs(1);

/// Samples further apart than this say nothing about now (the machine slept, nobody asked): start anew.
const TOO_OLD: Duration = Duration::from_secs(3);

/// The samples of the last seconds.
#[derive(Debug, Default)]
pub struct Pressure {
    samples: VecDeque<(Moment, Totals)>,
    rates: Rates,
}

impl Pressure {
    /// Takes a sample in and renews the rates: growth since the newest sample at least one second old.
    ///
    /// Where none is old enough the rates stay what they were; after a gap of over 3 s they are unknown again.
    pub fn add(&mut self, now: Moment, totals: Totals) {
        let newest = self.samples.back().map(|&(when, _)| now.since(when));
        match newest {
            Some(age) if age < SHORTEST_INTERVAL => return,
            Some(age) if age > TOO_OLD => *self = Pressure::default(),
            Some(_) | None => {}
        }
        while self.samples.get(1).is_some_and(|&(when, _)| now.since(when) >= WINDOW) {
            self.samples.pop_front();
        }
        if let Some(&(when, base)) = self.samples.front() {
            let window = now.since(when);
            if window >= WINDOW {
                self.rates =
                    PerResource::from_fn(|resource| growth(base.get(resource), totals.get(resource), window));
            }
        }
        self.samples.push_back((now, totals));
    }

    /// The samples that the next rates are made of, the oldest first.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = (Moment, Totals)> {
        self.samples.iter().copied()
    }

    /// The rates as of the last sample.
    pub fn rates(&self) -> Rates {
        self.rates
    }
}

/// Microseconds per second between two totals; a counter that went backwards counts as standing still.
fn growth(base: Option<u64>, total: Option<u64>, window: Duration) -> Option<f64> {
    Some(total?.saturating_sub(base?) as f64 / window.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::at(Duration::from_millis(ms))
    }

    fn cpu(total: u64) -> Totals {
        let mut totals = Totals::default();
        totals.set(Resource::Cpu, Some(total));
        totals
    }

    /// Feeds (ms, cpu total) rows and returns the cpu rate after each.
    fn rates(rows: &[(u64, u64)]) -> Vec<Option<f64>> {
        let mut pressure = Pressure::default();
        rows.iter()
            .map(|&(ms, total)| {
                pressure.add(at(ms), cpu(total));
                pressure.rates().get(Resource::Cpu)
            })
            .collect()
    }

    #[test]
    fn unknown_until_a_second_has_passed() {
        let rows = [(0, 100), (250, 200), (900, 300), (1000, 50_100)];
        assert_eq!(rates(&rows), [None, None, None, Some(50_000.0)]);
    }

    #[test]
    fn compared_with_the_newest_sample_a_second_old() {
        // At 1250 the base is the sample of 250, not that of 0.
        let rows = [(0, 0), (250, 10_000), (500, 20_000), (1000, 20_000), (1250, 30_000)];
        assert_eq!(rates(&rows)[4], Some(20_000.0));
    }

    #[test]
    fn never_judged_over_a_few_milliseconds() {
        let rows = [(0, 0), (1000, 500_000), (1005, 500_000)];
        assert_eq!(rates(&rows)[2], Some(500_000.0));
    }

    #[test]
    fn counters_that_stand_still_jump_or_go_backwards() {
        let rows = [(0, 5_000), (1000, 5_000), (2000, 4_000), (3000, 2_004_000)];
        assert_eq!(rates(&rows), [None, Some(0.0), Some(0.0), Some(2_000_000.0)]);
    }

    #[test]
    fn a_gap_makes_the_rates_unknown_again() {
        let rows = [(0, 0), (1000, 9), (60_000, 99), (61_000, 1_099)];
        assert_eq!(rates(&rows), [None, Some(9.0), None, Some(1000.0)]);
    }
}
