//! The io part of the limit: while all that runs waits for io, no more jobs than cpus.
//!
//! It never cuts below that: one job that writes through already shows `some` pressure of .48, and from one to eight such
//! jobs throughput rises 2.6 times while `full` falls (measured), so a build's own io is no overload. Doesn't know
//! devices.

use super::cpu::TOO_OLD;
use crate::policy::ticker::SHORTEST_INTERVAL;
use crate::policy::time::Moment;
use std::time::Duration;

/// `full` pressure is smoothed by this, ...
const SMOOTHING: Duration = Duration::from_millis(500);

/// ... and above this share of time it counts, ...
const STALLED: f64 = 0.5;

/// ... until it is below this.
const FLOWING: f64 = 0.4;

/// See the module.
#[derive(Debug, Default)]
pub struct Stall {
    last: Option<(Moment, u64)>,
    smooth: f64,
    is_stalled: bool,
}

impl Stall {
    /// Takes the counter of `full` pressure in, microseconds since boot.
    pub fn look(&mut self, now: Moment, full: Option<u64>) {
        let Some(total) = full else {
            *self = Stall::default();
            return;
        };
        let Some((when, before)) = self.last else {
            self.last = Some((now, total));
            return;
        };
        let since = now.since(when);
        if since < SHORTEST_INTERVAL {
            return;
        }
        self.last = Some((now, total));
        if since > TOO_OLD {
            (self.smooth, self.is_stalled) = (0.0, false);
            return;
        }
        let dt = since.as_secs_f64();
        let share = (total.saturating_sub(before) as f64 / 1e6 / dt).clamp(0.0, 1.0);
        self.smooth += (1.0 - (-dt / SMOOTHING.as_secs_f64()).exp()) * (share - self.smooth);
        self.is_stalled = self.smooth > if self.is_stalled { FLOWING } else { STALLED };
    }

    /// How many jobs may run by this; `None`: as many as there may be.
    pub fn limit(&self, cpus: u32) -> Option<u32> {
        self.is_stalled.then_some(cpus.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit on 4 cpus after each look, one a quarter of a second, `full` pressure growing by that share.
    fn limits(shares: &[f64]) -> Vec<Option<u32>> {
        let mut stall = Stall::default();
        let mut total = 0.0;
        stall.look(Moment::default(), Some(0));
        let look = |(at, share): (usize, &f64)| {
            total += share * 250_000.0;
            stall.look(Moment::at(Duration::from_millis(250 * (at as u64 + 1))), Some(total as u64));
            stall.limit(4)
        };
        shares.iter().enumerate().map(look).collect()
    }

    #[test]
    fn no_more_jobs_than_cpus_while_all_wait_for_io() {
        let (free, bound) = (None, Some(4));
        assert_eq!(limits(&[0.9, 0.9, 0.9, 0.45, 0.45]), [free, bound, bound, bound, bound]);
        assert_eq!(limits(&[0.9, 0.9, 0.9, 0.0, 0.0]), [free, bound, bound, bound, free]);
        assert_eq!(limits(&[0.5; 40]), [free; 40], "half of the time isn't more than that");
        assert_eq!(limits(&[f64::MAX, 0.0]), [free, free], "one jump of the counter is one look");
    }

    #[test]
    fn looks_too_close_or_too_far_apart_say_nothing() {
        let at = |ms| Moment::at(Duration::from_millis(ms));
        let mut stall = Stall::default();
        stall.look(at(0), Some(0));
        for ms in 1..19 {
            stall.look(at(ms), Some(ms * 1000));
        }
        stall.look(at(10_000), Some(10_000_000));
        assert_eq!(stall.limit(4), None);
        stall.look(at(11_000), Some(11_000_000));
        assert_eq!(stall.limit(4), Some(4));
        stall.look(at(20_000), Some(20_000_000));
        assert_eq!(stall.limit(4), None);
        stall.look(at(21_000), None);
        assert_eq!(stall.limit(4), None);
    }
}
