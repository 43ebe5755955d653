//! A foreign jobserver above us: for each token that our gate lets the tree have, one of its own is taken there, too.
//!
//! Doesn't know our gate. It takes one at a time, when all that it has is in use, and keeps nothing that isn't.

use crate::policy::appetite::{Appetite, Word};
use crate::policy::time::Moment;
use crate::sys::foreign::Foreign;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// What stands below for so long, or for the tree's own patience, goes back above.
const PATIENCE: Duration = Duration::from_millis(50);

/// ... and isn't tried again before this has passed, twice as long each time ...
const FIRST_REST: Duration = Duration::from_millis(100);

/// ... up to this.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Upstream {
    foreign: Foreign,
    /// What the tree may hold of what we have.
    lent: u32,
    appetite: Appetite,
    rest: Option<Moment>,
    next_rest: Duration,
    /// Nothing stood there when we looked: its descriptor will tell.
    dry: bool,
}

impl Upstream {
    /// What was taken already is the tree's from the start. `patience`: how long an offer may stand before the tree is known not to want it.
    pub fn new(foreign: Foreign, patience: Duration) -> Upstream {
        Upstream {
            lent: foreign.have(),
            foreign,
            appetite: Appetite::new(patience.max(PATIENCE), Moment::default()),
            rest: None,
            next_rest: FIRST_REST,
            dry: false,
        }
    }

    /// What the tree may hold of it as things are.
    pub fn lent(&self) -> u32 {
        self.lent
    }

    /// The descriptor that becomes readable when something stands there.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.foreign.event()
    }

    /// It has become so.
    pub fn ready(&mut self) {
        self.dry = false;
    }

    /// How many tokens the tree may hold, of those `allowed` by our gate, while it holds `held`, and `in_force` of what was
    /// said before stand there or are held: those go back above only when they are had back.
    pub fn settle(&mut self, now: Moment, allowed: u32, in_force: u32, held: u32) -> u32 {
        self.rest = self.rest.filter(|&rest| now < rest);
        self.appetite.saw(now, self.lent, held);
        match self.appetite.poll(now) {
            Some(Word::Full) => self.next_rest = FIRST_REST,
            Some(Word::Slack(used)) => {
                self.lent = self.lent.min(used.max(held));
                self.rest = Some(now + self.next_rest);
                self.next_rest = (self.next_rest * 2).min(LONGEST_REST);
            }
            None => {}
        }
        self.lent = self.lent.min(allowed.max(held));
        self.keep(self.lent.max(in_force).max(held));
        let wants = self.lent < allowed && held >= self.lent && self.rest.is_none();
        if wants && (self.foreign.have() > self.lent || self.take()) {
            self.lent += 1;
        }
        self.appetite.saw(now, self.lent, held);
        self.lent.min(allowed)
    }

    fn take(&mut self) -> bool {
        if self.dry {
            return false;
        }
        let taken = self.foreign.take().inspect_err(|error| log::warn!("the jobserver above: {error}"));
        self.dry = !matches!(taken, Ok(true));
        !self.dry
    }

    /// When `settle` is due by time alone.
    pub fn deadline(&self) -> Option<Moment> {
        [self.appetite.deadline(), self.rest].into_iter().flatten().min()
    }

    /// Gives back what is more than that.
    fn keep(&mut self, tokens: u32) {
        let surplus = self.foreign.have().saturating_sub(tokens);
        if let Err(error) = self.foreign.give_back(surplus) {
            log::warn!("the jobserver above: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::makeflags::Inherited;
    use crate::sys::descriptor::{standing, write_tokens};
    use std::os::fd::AsRawFd;

    #[test]
    fn goes_back_above_only_when_it_is_had_back_below() {
        let (read, write) = nix::unistd::pipe().unwrap();
        write_tokens(&write, 3).unwrap();
        let pool = Inherited::Pipe { read: read.as_raw_fd(), write: write.as_raw_fd() };
        let mut upstream = Upstream::new(Foreign::open(&pool).unwrap(), PATIENCE);
        let at = |ms| Moment::at(Duration::from_millis(ms));
        // (ms, allowed, in force, held): what is lent, what stands above.
        #[rustfmt::skip]
        let rows = [
            ((0, 2, 0, 0), (1, 2)),
            ((1, 2, 1, 1), (2, 1)),
            ((2, 2, 2, 1), (2, 1)),
            ((60, 2, 2, 1), (1, 1)),   // not wanted, and still in force
            ((61, 2, 2, 2), (1, 1)),   // taken just now
            ((62, 2, 1, 1), (1, 2)),
            ((63, 0, 1, 1), (0, 2)),   // stopped: held, it stays paid for
            ((64, 0, 0, 0), (0, 3)),
        ];
        for ((ms, allowed, in_force, held), expected) in rows {
            let lent = upstream.settle(at(ms), allowed, in_force, held);
            assert_eq!((lent, standing(&read).unwrap()), expected, "{ms}");
        }
    }
}
