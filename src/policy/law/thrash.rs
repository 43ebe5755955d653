//! The memory emergency: while everything waits for memory one job may run, and then they come back one by one.
//!
//! Where `full` memory pressure grows, work undoes other work: what one job brings in pushes out what the next one needs.
//! Doesn't know how much memory there is.

use crate::policy::time::Moment;
use std::time::Duration;

/// Above this it thrashes, in us of `full` pressure per second: thrashing was measured at 150,000 to 180,000, healthy
/// builds below 6,000.
const THRASHING: f64 = 50_000.0;

/// It is over once the rate has been below this ...
const CALM: f64 = 10_000.0;

/// ... for so long.
const CALM_FOR: Duration = Duration::from_secs(5);

/// Then a job more may run after each of these.
const STEP: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thrash {
    /// Nothing is amiss.
    #[default]
    Calm,
    /// One job.
    Thrashing {
        /// Since when the rate has been low.
        calm: Option<Moment>,
    },
    /// They come back.
    Returning {
        /// From when on.
        since: Moment,
    },
}

impl Thrash {
    /// Takes the rate in, in us of `full` memory pressure per second over the last one; unknown: as it was.
    pub fn look(&mut self, now: Moment, rate: Option<f64>) {
        let Some(rate) = rate else { return };
        *self = match *self {
            _ if rate > THRASHING => Thrash::Thrashing { calm: None },
            Thrash::Thrashing { calm } if rate < CALM => {
                let since = calm.unwrap_or(now);
                if now.since(since) >= CALM_FOR {
                    Thrash::Returning { since: now }
                } else {
                    Thrash::Thrashing { calm: Some(since) }
                }
            }
            Thrash::Thrashing { .. } => Thrash::Thrashing { calm: None },
            other => other,
        };
    }

    /// How many jobs may run by this; `None`: as many as there may be.
    pub fn limit(&self, now: Moment) -> Option<u32> {
        match *self {
            Thrash::Calm => None,
            Thrash::Thrashing { .. } => Some(1),
            Thrash::Returning { since } => {
                let steps = now.since(since).as_millis() / STEP.as_millis();
                Some(u32::try_from(steps).unwrap_or(u32::MAX).saturating_add(2))
            }
        }
    }

    /// Nothing is left of it: so many jobs may run in any case.
    pub fn end_at(&mut self, now: Moment, most: u32) {
        if matches!(self, Thrash::Returning { .. }) && self.limit(now).is_some_and(|limit| limit >= most) {
            *self = Thrash::Calm;
        }
    }

    /// Whether it thrashes.
    pub fn is_on(&self) -> bool {
        matches!(self, Thrash::Thrashing { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::at(Duration::from_millis(ms))
    }

    #[test]
    fn one_job_until_it_has_been_calm_then_one_more_each_two_seconds() {
        let mut thrash = Thrash::default();
        let mut look = |ms, rate: f64| {
            thrash.look(at(ms), Some(rate));
            thrash.limit(at(ms))
        };
        assert_eq!(look(0, 50_000.0), None, "equal isn't above");
        assert_eq!(look(250, 50_001.0), Some(1));
        assert_eq!(look(500, 20_000.0), Some(1));
        assert_eq!(look(1_000, 9_000.0), Some(1));
        assert_eq!(look(5_500, 10_000.0), Some(1), "the five seconds begin anew");
        assert_eq!(look(6_000, 0.0), Some(1));
        assert_eq!(look(10_999, 0.0), Some(1));
        assert_eq!(look(11_000, 0.0), Some(2));
        assert_eq!(look(12_999, 40_000.0), Some(2));
        assert_eq!(look(13_000, 40_000.0), Some(3));
        assert_eq!(look(15_000, 60_000.0), Some(1), "and again");
    }

    #[test]
    fn it_ends_when_it_bounds_nothing() {
        let mut thrash = Thrash::Returning { since: at(0) };
        thrash.end_at(at(3_000), 4);
        assert_eq!(thrash.limit(at(3_000)), Some(3));
        thrash.end_at(at(4_000), 4);
        assert_eq!((thrash, thrash.limit(at(4_000))), (Thrash::Calm, None));
        let mut thrash = Thrash::Thrashing { calm: None };
        thrash.end_at(at(0), 1);
        assert!(thrash.is_on());
        thrash.look(at(1), None);
        assert!(thrash.is_on(), "what isn't known ends nothing");
    }
}
