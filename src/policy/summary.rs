//! What a run's summary says: how many jobs ran, and for how long what kept it from running more.
//!
//! Doesn't know how it is learnt, nor whether anybody reads it. Nobody knows what a tree would have started had it been let: what
//! has taken all that it may is counted as held back.

use super::gate::Cause;
use super::law::Tightest;
use super::pressure::Resource;
use super::regulator::Regulator;
use super::time::Moment;
use std::time::Duration;

/// What keeps builds from running as many jobs as they may at most. That all cpus are busy is none: more jobs would only have waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brake {
    /// It waits for its first token.
    Lease,
    /// That holds the gate.
    Gate(Cause),
    /// The law lets no more out, for all that runs waits for io.
    Io,
    /// The law lets no more out, for there is no room in memory.
    Memory,
}

impl Brake {
    /// All there are.
    pub const ALL: [Brake; 7] = [
        Brake::Lease,
        Brake::Gate(Cause::Pressure(Resource::Cpu)),
        Brake::Gate(Cause::Pressure(Resource::Io)),
        Brake::Gate(Cause::Pressure(Resource::Memory)),
        Brake::Gate(Cause::Load),
        Brake::Io,
        Brake::Memory,
    ];

    /// The one that acts on all in a gate now.
    pub fn of(regulator: &Regulator) -> Option<Brake> {
        if let Some(reason) = regulator.gate().reasons().first() {
            return Some(Brake::Gate(reason.cause));
        }
        match regulator.verdict().tightest {
            Tightest::Io => Some(Brake::Io),
            Tightest::Memory => Some(Brake::Memory),
            Tightest::Ceiling | Tightest::Cpu | Tightest::Growth => None,
        }
    }

    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Brake::Lease => "lease",
            Brake::Gate(cause) => cause.name(),
            Brake::Io => "law-io",
            Brake::Memory => "law-memory",
        }
    }

    /// Which has that name.
    pub fn named(name: &str) -> Option<Brake> {
        Brake::ALL.into_iter().find(|brake| brake.name() == name)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Summary {
    began: Moment,
    /// Since when it is so.
    since: Moment,
    running: u32,
    brake: Option<Brake>,
    peak: u32,
    /// Jobs times seconds.
    area: f64,
    waited: [Duration; Brake::ALL.len()],
}

impl Summary {
    /// Of a run that begins now, and has waited so long for its first token.
    pub fn new(now: Moment, lease: Duration) -> Summary {
        let mut waited = [Duration::ZERO; Brake::ALL.len()];
        waited[0] = lease;
        Summary { began: now, since: now, running: 0, brake: None, peak: 0, area: 0.0, waited }
    }

    /// So it is from now on.
    pub fn note(&mut self, now: Moment, running: u32, brake: Option<Brake>) {
        let time = now.since(self.since);
        self.area += time.as_secs_f64() * f64::from(self.running);
        if let Some(at) = self.brake.and_then(|brake| Brake::ALL.iter().position(|&other| other == brake)) {
            self.waited[at] += time;
        }
        (self.since, self.running, self.brake) = (now, running, brake);
        self.peak = self.peak.max(running);
    }

    /// How long it took up to now, the wait for the first token counted in.
    pub fn time(&self) -> Duration {
        self.since.since(self.began) + self.waited[0]
    }

    /// The most jobs at once.
    pub fn peak(&self) -> u32 {
        self.peak
    }

    /// How many on average since it had its first token.
    pub fn mean(&self) -> f64 {
        let time = self.since.since(self.began).as_secs_f64();
        if time > 0.0 { self.area / time } else { f64::from(self.running) }
    }

    /// How long it was held back by what, the longest first.
    pub fn waits(&self) -> Vec<(Brake, Duration)> {
        let all = Brake::ALL.into_iter().zip(self.waited);
        let mut waits: Vec<_> = all.filter(|(_, time)| !time.is_zero()).collect();
        waits.sort_by_key(|&(_, time)| std::cmp::Reverse(time));
        waits
    }

    /// ... in all.
    pub fn waited(&self) -> Duration {
        self.waited.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_what_was_until_then() {
        let at = |ms| Moment::at(Duration::from_millis(ms));
        let ms = Duration::from_millis;
        let held = Brake::Gate(Cause::Pressure(Resource::Io));
        let mut summary = Summary::new(at(1000), ms(500));
        summary.note(at(1000), 1, None);
        summary.note(at(2000), 4, None);
        summary.note(at(3000), 2, Some(held));
        summary.note(at(5000), 1, Some(Brake::Memory));
        summary.note(at(5100), 3, None);
        summary.note(at(6000), 0, None);
        assert_eq!((summary.time(), summary.peak()), (ms(5500), 4));
        assert_eq!(summary.waits(), [(held, ms(2000)), (Brake::Lease, ms(500)), (Brake::Memory, ms(100))]);
        assert_eq!(summary.waited(), ms(2600));
        assert!((summary.mean() - (1.0 + 4.0 + 4.0 + 0.1 + 2.7) / 5.0).abs() < 1e-9, "{}", summary.mean());
    }

    #[test]
    fn each_has_a_name_of_its_own() {
        for brake in Brake::ALL {
            assert_eq!(Brake::named(brake.name()), Some(brake));
        }
        assert_eq!(Brake::named("cpus"), None);
    }
}
