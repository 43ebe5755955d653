//! One time for a whole journal, though each gate in it has a clock of its own.
//!
//! Doesn't know what happened. Times are microseconds since a beginning.

use crate::proto::journal::Header;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Whose clock it is: the gate's process and socket.
    gate: Option<(u32, String)>,
    /// People's time at the beginning, and what that was called.
    begun: (u64, u64),
    /// A moment by the gate's clock, and by ours.
    base: (u64, u64),
}

impl Clock {
    /// The first header's moment is called so.
    pub fn new(begin: u64) -> Clock {
        Clock { begun: (0, begin), ..Clock::default() }
    }

    /// A gate is described from here on. `true`: it is another, which began no earlier than `last`.
    pub fn open(&mut self, header: &Header, last: u64) -> bool {
        let gate = Some((header.pid, header.socket.clone()));
        if self.gate == gate {
            return false;
        }
        if self.gate.is_none() {
            self.begun.0 = header.unix_us;
        }
        let since = header.unix_us.saturating_sub(self.begun.0).saturating_add(self.begun.1);
        (self.gate, self.base) = (gate, (header.t, since.max(last)));
        true
    }

    /// A moment of the gate's clock by ours.
    pub fn at(&self, t: u64) -> u64 {
        let (theirs, ours) = self.base;
        ours.saturating_add(t.saturating_sub(theirs)).saturating_sub(theirs.saturating_sub(t))
    }

    /// Whether any gate was described.
    pub fn is_set(&self) -> bool {
        self.gate.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gate_goes_on_where_people_saw_it() {
        let header = |pid, t, unix_us| Header { pid, t, unix_us, ..Header::default() };
        let mut clock = Clock::new(100);
        assert!(!clock.is_set() && clock.open(&header(1, 5_000, 70_000), 0));
        assert_eq!([clock.at(5_000), clock.at(5_900), clock.at(4_950), clock.at(0)], [100, 1_000, 50, 0]);
        assert!(
            !clock.open(&header(1, 6_000, 99_000), 1_000),
            "its clock goes on, whatever people set theirs to"
        );
        assert_eq!(clock.at(6_000), 1_100);
        assert!(clock.open(&header(2, 10, 75_000), 1_500));
        assert_eq!(clock.at(20), 5_110);
        assert!(clock.open(&header(3, 10, 0), 6_000), "people have set theirs back");
        assert_eq!(clock.at(10), 6_000);
    }
}
