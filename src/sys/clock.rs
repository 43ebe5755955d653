//! The clock that everything is timed by: monotonic, from zero at the start.
//!
//! Doesn't know what is timed.

use crate::policy::time::Moment;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Waits.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A running clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at zero.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// The moment it shows, in whole microseconds: so it can be written down as it was.
    pub fn now(self) -> Moment {
        Moment::at(Duration::from_micros(self.0.elapsed().as_micros() as u64))
    }
}

/// What people call now, in microseconds since 1970 (UTC). It may jump: nothing is timed by it.
pub fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
