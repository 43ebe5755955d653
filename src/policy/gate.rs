//! The gate: open, or held with its reasons.
//!
//! Doesn't know how rates are made, nor what is done about a held gate.

use super::pressure::{PerResource, Rates, Resource};

/// A pressure threshold: growth of `some total` in microseconds per second, 1.0 or more.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Threshold(f64);

/// Why a number is no threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadThreshold {
    /// Not a number at all.
    NotANumber,
    /// Below 1.0, which bitbake refuses too.
    BelowOne,
}

impl Threshold {
    /// Checks as bitbake does for `BB_PRESSURE_MAX_*` (`lib/bb/runqueue.py`): below 1.0 is refused.
    pub fn new(us_per_second: f64) -> Result<Threshold, BadThreshold> {
        if us_per_second.is_nan() {
            Err(BadThreshold::NotANumber)
        } else if us_per_second < 1.0 {
            Err(BadThreshold::BelowOne)
        } else {
            Ok(Threshold(us_per_second))
        }
    }

    /// The threshold in microseconds per second.
    pub fn us_per_second(self) -> f64 {
        self.0
    }

    /// Above 1,000,000 us/s, which can't be reached: bitbake warns about it.
    pub fn is_lax(self) -> bool {
        self.0 > 1_000_000.0
    }
}

/// The threshold for each resource; `None`: not watched.
pub type Thresholds = PerResource<Option<Threshold>>;

/// What a held gate holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// No lease and no token is issued while anything is out.
    All,
    /// No lease only: bitbake's own meaning, where a threshold delays the start of tasks.
    Starts,
}

/// One resource over its threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// Which.
    pub resource: Resource,
    /// Its rate, in microseconds per second.
    pub rate: f64,
    /// The threshold that it is over, likewise.
    pub max: f64,
}

/// Thresholds and what they say about the last rates.
#[derive(Debug)]
pub struct Gate {
    thresholds: Thresholds,
    reasons: Vec<Reason>,
}

impl Gate {
    /// An open gate.
    pub fn new(thresholds: Thresholds) -> Gate {
        Gate { thresholds, reasons: Vec::new() }
    }

    /// Whether any resource has a threshold.
    pub fn is_watching(&self) -> bool {
        Resource::ALL.iter().any(|&resource| self.thresholds.get(resource).is_some())
    }

    /// Judges the rates: strictly above the threshold is over it; an unknown rate isn't.
    pub fn judge(&mut self, rates: Rates) {
        self.reasons.clear();
        for resource in Resource::ALL {
            let (Some(rate), Some(max)) = (rates.get(resource), self.thresholds.get(resource)) else {
                continue;
            };
            if rate > max.us_per_second() {
                self.reasons.push(Reason { resource, rate, max: max.us_per_second() });
            }
        }
    }

    /// Other thresholds from here on; judged by the next rates.
    pub fn set(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
        self.reasons.retain(|reason| {
            thresholds.get(reason.resource).is_some_and(|max| reason.rate > max.us_per_second())
        });
    }

    /// Opens it for good: there is nothing left to judge by.
    pub fn stop_watching(&mut self) {
        *self = Gate::new(Thresholds::default());
    }

    /// Whether something is over its threshold.
    pub fn is_held(&self) -> bool {
        !self.reasons.is_empty()
    }

    /// What is over its threshold.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// The thresholds.
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_checked_as_bitbake_does() {
        assert_eq!(Threshold::new(0.99), Err(BadThreshold::BelowOne));
        assert_eq!(Threshold::new(-5.0), Err(BadThreshold::BelowOne));
        assert_eq!(Threshold::new(f64::NAN), Err(BadThreshold::NotANumber));
        assert!(!Threshold::new(1_000_000.0).unwrap().is_lax());
        assert!(Threshold::new(1_000_000.5).unwrap().is_lax());
        assert!(Threshold::new(f64::INFINITY).unwrap().is_lax());
    }

    #[test]
    fn held_only_strictly_above_and_only_where_watched() {
        let mut thresholds = Thresholds::default();
        thresholds.set(Resource::Io, Some(Threshold::new(100.0).unwrap()));
        let mut gate = Gate::new(thresholds);
        let mut rates = Rates::default();
        let verdict = |gate: &mut Gate, rates| {
            gate.judge(rates);
            gate.is_held()
        };
        assert!(!verdict(&mut gate, rates), "an unknown rate holds nothing");
        rates.set(Resource::Cpu, Some(900_000.0));
        assert!(!verdict(&mut gate, rates), "cpu isn't watched");
        rates.set(Resource::Io, Some(100.0));
        assert!(!verdict(&mut gate, rates), "equal isn't above");
        rates.set(Resource::Io, Some(100.5));
        assert!(verdict(&mut gate, rates));
        assert_eq!(gate.reasons(), [Reason { resource: Resource::Io, rate: 100.5, max: 100.0 }]);
        rates.set(Resource::Io, Some(0.0));
        assert!(!verdict(&mut gate, rates));
    }
}
