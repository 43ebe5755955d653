//! How fast the number of running jobs may grow: up to the ceiling at once, or step by step.
//!
//! Doesn't know pressure, clients or tokens: only how many jobs run, and the ceiling.

use super::time::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// The ramp looks back this far for the highest number of running jobs: what ran a moment ago may run again, so that
/// the re-issue of returned tokens is never slowed (a limit on released tokens made 0.2 s jobs 3.3 times slower).
const LOOK_BACK: Duration = Duration::from_millis(500);

/// While it ramps, the limit grows by at least one job in this time, however few the cpus. A little less than a tick of
/// the default heartbeat, so that a tick that comes early isn't lost.
const LEAST_STEP: Duration = Duration::from_millis(200);

/// ... and by no more than the cpus make in this.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// When growth is slowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ramps {
    /// Once released from a hold, until it has grown back.
    AfterHolds,
    /// Always; where nothing ran, a start of as many jobs as there are cpus is none.
    Always,
}

/// A ceiling, and below it a bound that grows past what runs by at most `cpus` jobs per second (at least one every 200 ms
/// or at the next step after), so that neither a hold nor a wrong estimate is followed by a herd.
#[derive(Debug)]
pub struct Limit {
    ceiling: u32,
    cpus: u32,
    ramps: Ramps,
    running: u32,
    /// What ran before, until when; only what is higher than all that came after it.
    before: VecDeque<(Moment, u32)>,
    ramp: Option<Ramp>,
}

#[derive(Clone, Copy, Debug)]
struct Ramp {
    limit: u32,
    stepped: Moment,
}

impl Limit {
    /// `ceiling`: the most jobs that may ever run, 1 or more; `cpus`: usable cpus, the speed of the ramp.
    pub fn new(ceiling: u32, cpus: u32, ramps: Ramps) -> Limit {
        Limit {
            ceiling: ceiling.max(1),
            cpus: cpus.max(1),
            ramps,
            running: 0,
            before: VecDeque::new(),
            ramp: None,
        }
    }

    /// How many jobs may run now, from 1 to the ceiling.
    pub fn now(&self) -> u32 {
        self.ramp().map_or(self.ceiling, |ramp| ramp.clamp(1, self.ceiling))
    }

    /// What growth allows; `None`: it isn't slowed.
    pub fn ramp(&self) -> Option<u32> {
        self.ramp.map(|ramp| ramp.limit)
    }

    /// The most that may ever run.
    pub fn ceiling(&self) -> u32 {
        self.ceiling
    }

    /// Another ceiling, 1 or more, from here on.
    pub fn set_ceiling(&mut self, ceiling: u32) {
        self.ceiling = ceiling.max(1);
        self.drop_ramp();
    }

    /// Another speed of the ramp, and when there is one.
    pub fn set_growth(&mut self, cpus: u32, ramps: Ramps) {
        (self.cpus, self.ramps) = (cpus.max(1), ramps);
        self.drop_ramp();
    }

    /// Notes that `running` jobs run from `now` on.
    pub fn note(&mut self, now: Moment, running: u32) {
        if running == self.running {
            return;
        }
        while self.before.back().is_some_and(|&(_, jobs)| jobs <= self.running) {
            self.before.pop_back();
        }
        self.before.push_back((now, self.running));
        self.running = running;
        self.forget(now);
    }

    /// A hold ends: from here the limit grows step by step.
    pub fn release(&mut self, now: Moment) {
        let limit = self.highest(now).saturating_add(1);
        self.ramp = Some(Ramp { limit, stepped: now });
        self.drop_ramp();
    }

    /// The whole ceiling at once: there is nothing left to be careful by.
    pub fn end_ramp(&mut self) {
        self.ramp = None;
    }

    /// A tick while the gate is open: the limit may grow.
    pub fn step(&mut self, now: Moment) {
        let ramp = match (self.ramp, self.ramps) {
            (Some(ramp), _) => ramp,
            (None, Ramps::Always) => Ramp { limit: 0, stepped: now },
            (None, Ramps::AfterHolds) => return,
        };
        // A step that comes late makes up for nothing.
        let since = now.since(ramp.stepped).min(LONGEST_STEP);
        let growth = (f64::from(self.cpus) * since.as_secs_f64()) as u32;
        let highest = self.highest(now);
        if highest == 0 && self.ramps == Ramps::Always {
            self.ramp = Some(Ramp { limit: self.cpus, stepped: now });
            return;
        }
        if growth == 0 && since < LEAST_STEP && ramp.limit > 0 {
            return; // it adds up until it makes a job
        }
        self.ramp = Some(Ramp { limit: highest.saturating_add(growth.max(1)), stepped: now });
        self.drop_ramp();
    }

    /// Whether the limit is still growing back after a hold.
    pub fn is_ramping(&self) -> bool {
        self.ramps == Ramps::AfterHolds && self.ramp.is_some()
    }

    /// A ramp that has reached the ceiling is over, unless there always is one.
    fn drop_ramp(&mut self) {
        if self.ramps == Ramps::AfterHolds {
            self.ramp = self.ramp.filter(|ramp| ramp.limit < self.ceiling);
        }
    }

    /// The most jobs that ran at once during the last half second.
    fn highest(&mut self, now: Moment) -> u32 {
        self.forget(now);
        self.before.front().map_or(self.running, |&(_, jobs)| jobs.max(self.running))
    }

    fn forget(&mut self, now: Moment) {
        while self.before.front().is_some_and(|&(until, _)| now.since(until) >= LOOK_BACK) {
            self.before.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::at(Duration::from_millis(ms))
    }

    #[test]
    fn a_fixed_pool_starts_whole() {
        assert_eq!(Limit::new(8, 2, Ramps::AfterHolds).now(), 8);
        assert_eq!(Limit::new(0, 0, Ramps::AfterHolds).now(), 1);
    }

    #[test]
    fn grows_back_by_cpus_a_second_as_jobs_follow() {
        let mut limit = Limit::new(16, 8, Ramps::AfterHolds);
        limit.note(at(0), 1);
        limit.release(at(10_000));
        assert_eq!(limit.now(), 2, "at least one a step");
        let mut seen = vec![];
        for tick in 1..=8 {
            let now = at(10_000 + tick * 250);
            limit.note(now, limit.now());
            limit.step(now);
            seen.push(limit.now());
        }
        assert_eq!(seen, [4, 6, 8, 10, 12, 14, 16, 16]);
        assert!(!limit.is_ramping());
    }

    #[test]
    fn waits_for_jobs_that_do_not_follow() {
        let mut limit = Limit::new(16, 8, Ramps::AfterHolds);
        limit.note(at(0), 3);
        limit.release(at(10_000));
        for tick in 1..=100 {
            limit.step(at(10_000 + tick * 250));
        }
        assert_eq!(limit.now(), 5, "3 run, 2 more each tick");
        assert!(limit.is_ramping());
    }

    #[test]
    fn what_ran_half_a_second_ago_may_run_again() {
        let mut limit = Limit::new(16, 2, Ramps::AfterHolds);
        limit.note(at(0), 9);
        limit.note(at(9_800), 2);
        limit.note(at(9_900), 4);
        limit.note(at(9_950), 3);
        limit.release(at(10_000));
        assert_eq!(limit.now(), 10);
        limit.step(at(10_310));
        assert_eq!(limit.now(), 5, "9 is forgotten, 4 not yet");
        limit.step(at(10_560));
        assert_eq!(limit.now(), 4);
    }

    #[test]
    fn short_steps_add_up() {
        let mut limit = Limit::new(64, 10, Ramps::AfterHolds);
        limit.note(at(0), 1);
        limit.release(at(10_000));
        for tick in 1..=50 {
            let now = at(10_000 + tick * 20);
            limit.note(now, limit.now());
            limit.step(now);
        }
        assert_eq!(limit.now(), 12, "ten more in a second, as there are ten cpus");
    }

    /// What ran at each tick of a quarter of a second, all that may run doing so, and the limit after the last.
    fn course(limit: &mut Limit, from_ms: u64, ticks: u64) -> Vec<u32> {
        let tick = |tick| {
            let now = at(from_ms + tick * 250);
            limit.step(now);
            limit.note(now, limit.now());
            limit.now()
        };
        (0..ticks).map(tick).collect()
    }

    #[test]
    fn a_start_is_one_job_a_cpu_and_then_it_grows_by_the_cpus_each_second() {
        let mut limit = Limit::new(64, 8, Ramps::Always);
        assert_eq!(limit.now(), 64, "nothing is known");
        assert_eq!(course(&mut limit, 0, 5), [8, 10, 12, 14, 16]);
        assert!(!limit.is_ramping(), "that isn't told as what follows a hold");
        let mut small = Limit::new(8, 2, Ramps::Always);
        assert_eq!(course(&mut small, 0, 5), [2, 3, 4, 5, 6], "one each tick at least");
    }

    #[test]
    fn what_has_fallen_grows_from_there_and_what_waits_piles_nothing_up() {
        let mut limit = Limit::new(64, 8, Ramps::Always);
        course(&mut limit, 0, 5);
        limit.note(at(1_100), 1);
        limit.step(at(1_250));
        assert_eq!(limit.now(), 18, "what ran a moment ago may run again");
        for tick in 0..100 {
            limit.step(at(2_000 + tick * 250));
        }
        assert_eq!(limit.now(), 3, "one runs, a tick's growth is two");
        limit.step(at(3_600_000));
        assert_eq!(limit.now(), 9, "an hour late is a second's growth");
    }
}
