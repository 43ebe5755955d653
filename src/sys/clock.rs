//! The clock that everything is timed by: monotonic, from zero at the start.
//!
//! Doesn't know what is timed.

use crate::policy::time::Moment;
use std::time::Instant;

/// Waits.
pub fn pause(time: std::time::Duration) {
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

    /// The moment it shows.
    pub fn now(self) -> Moment {
        Moment::at(self.0.elapsed())
    }
}
