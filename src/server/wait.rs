//! How an event loop waits: the server's, and those of the proxies above it.
//!
//! Doesn't know what is waited for.

use crate::policy::time::Moment;
use crate::sys::clock::Clock;
use mio::{Events, Poll};
use std::io;
use std::time::Duration;

/// Waits for events, until the deadline at the most, and gives the time after it. A signal handler's return is no event.
pub fn wait(
    poll: &mut Poll,
    events: &mut Events,
    deadline: Option<Moment>,
    clock: Clock,
) -> io::Result<Moment> {
    loop {
        let left = deadline.map(|when| when.since(clock.now()));
        match poll.poll(events, left.map(at_least_a_millisecond)) {
            // What has happened comes before what time it is.
            Ok(()) => return Ok(clock.now()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// epoll waits whole milliseconds; mio rounds up, but a zero wait for a deadline some microseconds away would spin.
fn at_least_a_millisecond(wait: Duration) -> Duration {
    if wait.is_zero() { wait } else { wait.max(Duration::from_millis(1)) }
}
