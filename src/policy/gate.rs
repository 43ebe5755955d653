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

/// What may hold a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Pressure, in microseconds per second.
    Pressure(Resource),
    /// The load average of the last minute, per cpu.
    Load,
}

impl Cause {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Pressure(resource) => resource.name(),
            Cause::Load => "load",
        }
    }
}

/// One thing over its threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// Which.
    pub cause: Cause,
    /// Its rate, or the load.
    pub rate: f64,
    /// The threshold that it is over, likewise.
    pub max: f64,
}

/// Thresholds and what they say about the last rates.
#[derive(Debug)]
pub struct Gate {
    thresholds: Thresholds,
    max_load: Option<f64>,
    reasons: Vec<Reason>,
}

impl Gate {
    /// An open gate. `max_load`: the highest load average per cpu; it counts only where no pressure is watched, as in
    /// bitbake (`lib/bb/runqueue.py`).
    pub fn new(thresholds: Thresholds, max_load: Option<f64>) -> Gate {
        Gate { thresholds, max_load, reasons: Vec::new() }
    }

    /// Whether there is any threshold.
    pub fn is_watching(&self) -> bool {
        self.watches_pressure() || self.max_load.is_some()
    }

    /// Whether any is for pressure.
    pub fn watches_pressure(&self) -> bool {
        Resource::ALL.iter().any(|&resource| self.thresholds.get(resource).is_some())
    }

    /// Judges the rates, and the load per cpu: strictly above the threshold is over it; what is unknown isn't.
    pub fn judge(&mut self, rates: Rates, load: Option<f64>) {
        self.reasons.clear();
        if let (Some(rate), Some(max), false) = (load, self.max_load, self.watches_pressure())
            && rate > max
        {
            self.reasons.push(Reason { cause: Cause::Load, rate, max });
        }
        for resource in Resource::ALL {
            let (Some(rate), Some(max)) = (rates.get(resource), self.thresholds.get(resource)) else {
                continue;
            };
            if rate > max.us_per_second() {
                let cause = Cause::Pressure(resource);
                self.reasons.push(Reason { cause, rate, max: max.us_per_second() });
            }
        }
    }

    /// Other thresholds from here on; judged by the next rates.
    pub fn set(&mut self, thresholds: Thresholds, max_load: Option<f64>) {
        (self.thresholds, self.max_load) = (thresholds, max_load);
        let load = max_load.filter(|_| !self.watches_pressure());
        self.reasons.retain(|reason| {
            let max = match reason.cause {
                Cause::Pressure(resource) => thresholds.get(resource).map(Threshold::us_per_second),
                Cause::Load => load,
            };
            max.is_some_and(|max| reason.rate > max)
        });
    }

    /// Opens it, for pressure can't be read: there is nothing left to judge by, but perhaps the load.
    pub fn stop_watching(&mut self) {
        *self = Gate::new(Thresholds::default(), self.max_load);
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
        let mut gate = Gate::new(thresholds, None);
        let mut rates = Rates::default();
        let verdict = |gate: &mut Gate, rates| {
            gate.judge(rates, None);
            gate.is_held()
        };
        assert!(!verdict(&mut gate, rates), "an unknown rate holds nothing");
        rates.set(Resource::Cpu, Some(900_000.0));
        assert!(!verdict(&mut gate, rates), "cpu isn't watched");
        rates.set(Resource::Io, Some(100.0));
        assert!(!verdict(&mut gate, rates), "equal isn't above");
        rates.set(Resource::Io, Some(100.5));
        assert!(verdict(&mut gate, rates));
        assert_eq!(
            gate.reasons(),
            [Reason { cause: Cause::Pressure(Resource::Io), rate: 100.5, max: 100.0 }]
        );
        rates.set(Resource::Io, Some(0.0));
        assert!(!verdict(&mut gate, rates));
    }

    #[test]
    fn the_load_counts_only_where_no_pressure_is_watched() {
        let held = |gate: &mut Gate, load| {
            gate.judge(Rates::default(), load);
            gate.is_held()
        };
        let mut gate = Gate::new(Thresholds::default(), Some(1.5));
        assert!(gate.is_watching());
        assert_eq!([None, Some(1.5), Some(1.6)].map(|load| held(&mut gate, load)), [false, false, true]);
        assert_eq!(gate.reasons(), [Reason { cause: Cause::Load, rate: 1.6, max: 1.5 }]);
        let mut thresholds = Thresholds::default();
        thresholds.set(Resource::Io, Threshold::new(100.0).ok());
        gate.set(thresholds, Some(1.5));
        assert!(!gate.is_held() && !held(&mut gate, Some(9.0)));
        gate.stop_watching();
        assert!(held(&mut gate, Some(9.0)), "where pressure can't be read the load is what is left");
    }
}
