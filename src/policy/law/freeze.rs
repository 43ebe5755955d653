//! How many jobs stand still while everything waits for memory: half of those that run, again and again until it is calm, and
//! then they go on one by one.
//!
//! A limit acts only as jobs end, and where memory thrashes none does. Doesn't know which jobs, nor how they are stopped.

use crate::policy::time::Moment;
use std::time::Duration;

/// Above this, in us of `full` memory pressure per second, ...
const OVER: f64 = 100_000.0;

/// ... for so long, half of those that run stand still (a thrashing run took 14.5 s without, 4.5 s with that).
const OVER_FOR: Duration = Duration::from_millis(500);

/// Below this ...
const CALM: f64 = 10_000.0;

/// ... for so long, one goes on.
const CALM_FOR: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freeze {
    still: u32,
    over: Option<Moment>,
    calm: Option<Moment>,
}

impl Freeze {
    /// Takes the rate in, in us of `full` memory pressure per second over the last one, while `jobs` are out, those that
    /// stand still counted in. Unknown: they go on one by one.
    pub fn look(&mut self, now: Moment, rate: Option<f64>, jobs: u32) {
        let rate = rate.unwrap_or(0.0);
        let since = |since: Option<Moment>, is_so: bool| is_so.then(|| since.unwrap_or(now));
        self.over = since(self.over, rate > OVER);
        self.calm = since(self.calm, rate < CALM);
        let has_been =
            |since: Option<Moment>, time: Duration| since.is_some_and(|since| now.since(since) >= time);
        // Those that stood still may have been ended.
        self.still = self.still.min(jobs.saturating_sub(1));
        if has_been(self.over, OVER_FOR) {
            self.still += (jobs - self.still) / 2;
            self.over = Some(now);
        } else if self.still > 0 && has_been(self.calm, CALM_FOR) {
            self.still -= 1;
            self.calm = Some(now);
        }
    }

    /// How many stand still.
    pub fn still(&self) -> u32 {
        self.still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::at(Duration::from_millis(ms))
    }

    #[test]
    fn half_stands_still_each_half_second_and_one_goes_on_each_calm_one() {
        let mut freeze = Freeze::default();
        let mut look = |ms, rate: f64, jobs| {
            freeze.look(at(ms), Some(rate), jobs);
            freeze.still()
        };
        assert_eq!([look(0, 100_001.0, 8), look(250, 200_000.0, 8), look(500, 200_000.0, 8)], [0, 0, 4]);
        assert_eq!(
            [look(750, 200_000.0, 8), look(1_000, 200_000.0, 8), look(1_500, 200_000.0, 8)],
            [4, 6, 7]
        );
        assert_eq!([look(2_000, 200_000.0, 8), look(9_000, 200_000.0, 8)], [7, 7], "one runs");
        // Neither.
        assert_eq!([look(9_250, 50_000.0, 8), look(20_000, 50_000.0, 8)], [7, 7]);
        assert_eq!([look(20_250, 0.0, 8), look(21_000, 0.0, 8), look(21_250, 0.0, 8)], [7, 7, 6]);
        assert_eq!([look(22_000, 9_999.0, 7), look(22_250, 0.0, 7), look(23_250, 0.0, 7)], [6, 5, 4]);
        // They end one after the other; the last one goes on.
        assert_eq!(
            [look(23_300, 50_000.0, 3), look(23_400, 50_000.0, 1), look(23_500, 200_000.0, 0)],
            [2, 0, 0]
        );
    }

    #[test]
    fn a_short_surge_stops_nothing_and_what_isnt_known_lets_go() {
        let mut freeze = Freeze::default();
        for (ms, rate) in
            [(0, 300_000.0), (400, 300_000.0), (450, 90_000.0), (500, 300_000.0), (900, 300_000.0)]
        {
            freeze.look(at(ms), Some(rate), 9);
            assert_eq!(freeze.still(), 0);
        }
        freeze.look(at(1_000), Some(300_000.0), 9);
        assert_eq!(freeze.still(), 4);
        (1..=6).for_each(|second| freeze.look(at(1_000 + 1_000 * second), None, 9));
        assert_eq!(freeze.still(), 0);
    }
}
