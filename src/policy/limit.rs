//! The limit: how many jobs may run at once now, and the ramp by which it grows back after a hold.
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

/// A limit with a fixed ceiling that, once released from a hold, grows past what runs by at most `cpus` jobs per
/// second (at least one every 200 ms or at the next step after), so that a hold isn't followed by a herd.
#[derive(Debug)]
pub struct Limit {
    ceiling: u32,
    cpus: u32,
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
    pub fn new(ceiling: u32, cpus: u32) -> Limit {
        Limit { ceiling: ceiling.max(1), cpus: cpus.max(1), running: 0, before: VecDeque::new(), ramp: None }
    }

    /// How many jobs may run now, from 1 to the ceiling.
    pub fn now(&self) -> u32 {
        self.ramp.map_or(self.ceiling, |ramp| ramp.limit.clamp(1, self.ceiling))
    }

    /// The most that may ever run.
    pub fn ceiling(&self) -> u32 {
        self.ceiling
    }

    /// Another ceiling, 1 or more, from here on.
    pub fn set_ceiling(&mut self, ceiling: u32) {
        self.ceiling = ceiling.max(1);
        self.ramp = self.ramp.filter(|ramp| ramp.limit < self.ceiling);
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
        self.ramp = (limit < self.ceiling).then_some(Ramp { limit, stepped: now });
    }

    /// The whole ceiling at once: there is nothing left to be careful by.
    pub fn end_ramp(&mut self) {
        self.ramp = None;
    }

    /// A tick while the gate is open: the limit may grow.
    pub fn step(&mut self, now: Moment) {
        let Some(ramp) = self.ramp else { return };
        let since = now.since(ramp.stepped);
        let growth = (f64::from(self.cpus) * since.as_secs_f64()) as u32;
        if growth == 0 && since < LEAST_STEP {
            return; // it adds up until it makes a job
        }
        let limit = self.highest(now).saturating_add(growth.max(1));
        self.ramp = (limit < self.ceiling).then_some(Ramp { limit, stepped: now });
    }

    /// Whether the limit is still growing back.
    pub fn is_ramping(&self) -> bool {
        self.ramp.is_some()
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
        assert_eq!(Limit::new(8, 2).now(), 8);
        assert_eq!(Limit::new(0, 0).now(), 1);
    }

    #[test]
    fn grows_back_by_cpus_a_second_as_jobs_follow() {
        let mut limit = Limit::new(16, 8);
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
        let mut limit = Limit::new(16, 8);
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
        let mut limit = Limit::new(16, 2);
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
        let mut limit = Limit::new(64, 10);
        limit.note(at(0), 1);
        limit.release(at(10_000));
        for tick in 1..=50 {
            let now = at(10_000 + tick * 20);
            limit.note(now, limit.now());
            limit.step(now);
        }
        assert_eq!(limit.now(), 12, "ten more in a second, as there are ten cpus");
    }
}
