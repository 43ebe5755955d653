//! A moment on a clock that only goes forward, as a value.
//!
//! Doesn't know which clock: the loop passes the time since it started, a test passes numbers.

use std::ops::Add;
use std::time::Duration;

/// A point in time: how long after the clock's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `since_start` after the clock's start.
    pub fn at(since_start: Duration) -> Moment {
        Moment(since_start)
    }

    /// How long after `earlier` this is; zero where it isn't after it.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, later: Duration) -> Moment {
        Moment(self.0.saturating_add(later))
    }
}
