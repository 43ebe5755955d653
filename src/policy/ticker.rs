//! A beat that neither drifts nor catches up.
//!
//! Doesn't know what happens on the beat, nor the time: it is asked.

use super::time::Moment;
use std::time::Duration;

/// The heartbeat where none is set: 1 s, as bitbake's `BB_HEARTBEAT_EVENT`.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(1);

/// The kernel's pressure counters must not be read more often than this: its update is weighted by the jiffies
/// since the last read by anybody, and reads 1-2 ms apart make pressure vanish for every reader on the host
/// (measured on Linux 6.18).
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(20);

/// A longer heartbeat than a day is a day: it must stay addable to any moment.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The heartbeat for a number of seconds, or `None` where that isn't a finite number above 0.
///
/// bitbake itself spins on 0 and dies on -1 (seen with 2.0 to 2.19). Clamped to 20 ms ... 1 day.
pub fn heartbeat(seconds: f64) -> Option<Duration> {
    if !seconds.is_finite() || seconds <= 0.0 {
        return None;
    }
    let longest = LONGEST_INTERVAL.as_secs_f64();
    Some(Duration::from_secs_f64(seconds.min(longest)).max(SHORTEST_INTERVAL))
}

/// The regulator's step for a heartbeat: a quarter of it, within 20 ms ... 1 s.
///
/// The upper bound keeps the pressure window near its one second where the heartbeat is long (Yocto's autobuilder
/// sets 60 s).
pub fn tick(heartbeat: Duration) -> Duration {
    (heartbeat / 4).clamp(SHORTEST_INTERVAL, Duration::from_secs(1))
}

/// Fires every `interval`; a late one fires once and the phase starts anew from there
/// (bitbake's rule, `lib/bb/server/process.py`).
#[derive(Debug)]
pub struct Ticker {
    interval: Duration,
    next: Moment,
    fired: u64,
    missed: u64,
}

impl Ticker {
    /// The first firing is one `interval` after `now`.
    pub fn new(interval: Duration, now: Moment) -> Ticker {
        Ticker { interval, next: now + interval, fired: 0, missed: 0 }
    }

    /// Another interval from here on; the same one keeps its phase.
    pub fn set(&mut self, interval: Duration, now: Moment) {
        if interval != self.interval {
            self.interval = interval;
            self.next = now + interval;
        }
    }

    /// Somebody waits for it again: what nobody waited for isn't missed.
    pub fn resume(&mut self, now: Moment) {
        if self.next <= now {
            self.next = now + self.interval;
        }
    }

    /// Another interval from the next firing on, which comes no later than it would have.
    pub fn pace(&mut self, interval: Duration, now: Moment) {
        if interval != self.interval {
            self.interval = interval;
            self.next = self.next.min(now + interval);
        }
    }

    /// The time between two firings.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether it fires at `now`; if so, moves on.
    pub fn due(&mut self, now: Moment) -> bool {
        if now < self.next {
            return false;
        }
        self.fired += 1;
        let late = now.since(self.next);
        self.next = self.next + self.interval;
        if self.next <= now {
            self.missed += (late.as_nanos() / self.interval.as_nanos().max(1)) as u64;
            self.next = now + self.interval;
        }
        true
    }

    /// When it fires next.
    pub fn next(&self) -> Moment {
        self.next
    }

    /// How often it has fired.
    pub fn fired(&self) -> u64 {
        self.fired
    }

    /// How many firings were skipped because it was asked too late.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::at(Duration::from_millis(ms))
    }

    #[test]
    fn keeps_its_phase_when_asked_a_little_late() {
        let mut beat = Ticker::new(Duration::from_secs(1), at(0));
        assert!(!beat.due(at(999)));
        assert!(beat.due(at(1300)));
        assert_eq!(beat.next(), at(2000));
        assert!(beat.due(at(2000)));
        assert_eq!((beat.fired(), beat.missed()), (2, 0));
    }

    #[test]
    fn a_late_beat_fires_once_and_starts_anew() {
        let mut beat = Ticker::new(Duration::from_secs(1), at(0));
        assert!(beat.due(at(3600)));
        assert!(!beat.due(at(3601)));
        assert_eq!(beat.next(), at(4600));
        assert_eq!((beat.fired(), beat.missed()), (1, 2));
    }

    #[test]
    fn what_nobody_waited_for_is_not_missed() {
        let mut beat = Ticker::new(Duration::from_secs(1), at(0));
        beat.resume(at(600));
        assert_eq!(beat.next(), at(1000), "it keeps its phase");
        beat.resume(at(60_500));
        assert!(!beat.due(at(61_000)) && beat.due(at(61_500)));
        assert_eq!((beat.fired(), beat.missed()), (1, 0));
    }

    #[test]
    fn who_paces_it_to_and_fro_never_puts_it_off() {
        let mut tick = Ticker::new(Duration::from_millis(250), at(0));
        let mut fired = 0;
        for ms in 0..1_000 {
            tick.pace(Duration::from_millis(if ms % 2 == 0 { 50 } else { 250 }), at(ms));
            fired += u32::from(tick.due(at(ms)));
        }
        assert!(fired >= 4, "{fired}");
    }

    #[test]
    fn heartbeats_that_bitbake_dies_of_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(heartbeat(bad), None, "{bad}");
        }
        assert_eq!(heartbeat(0.25), Some(Duration::from_millis(250)));
        assert_eq!(heartbeat(1e-9), Some(SHORTEST_INTERVAL));
        assert_eq!(heartbeat(1e300), Some(LONGEST_INTERVAL));
        assert_eq!(tick(Duration::from_secs(1)), Duration::from_millis(250));
        assert_eq!(tick(Duration::from_secs(60)), Duration::from_secs(1));
        assert_eq!(tick(SHORTEST_INTERVAL), SHORTEST_INTERVAL);
    }

    #[test]
    fn a_day_of_beats() {
        let mut beat = Ticker::new(Duration::from_secs(1), at(0));
        for second in 1..=86_400 {
            assert!(beat.due(at(second * 1000)));
        }
        assert_eq!((beat.fired(), beat.missed()), (86_400, 0));
    }
}
