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
    appetite: Appetite,
    rest: Option<Moment>,
    next_rest: Duration,
    /// Nothing stood there when we looked: its descriptor will tell.
    dry: bool,
}

impl Upstream {
    /// Nothing is taken yet. `patience`: how long an offer may stand before the tree is known not to want it.
    pub fn new(foreign: Foreign, patience: Duration) -> Upstream {
        Upstream {
            foreign,
            appetite: Appetite::new(patience.max(PATIENCE), Moment::default()),
            rest: None,
            next_rest: FIRST_REST,
            dry: false,
        }
    }

    /// The descriptor that becomes readable when something stands there.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.foreign.event()
    }

    /// It has become so.
    pub fn ready(&mut self) {
        self.dry = false;
    }

    /// How many tokens the tree may hold, of those `allowed` by our gate, while it holds `held`.
    pub fn settle(&mut self, now: Moment, allowed: u32, held: u32) -> u32 {
        self.rest = self.rest.filter(|&rest| now < rest);
        self.appetite.saw(now, self.foreign.have(), held);
        match self.appetite.poll(now) {
            Some(Word::Full) => self.next_rest = FIRST_REST,
            Some(Word::Slack(used)) => {
                self.keep(used.max(held));
                self.rest = Some(now + self.next_rest);
                self.next_rest = (self.next_rest * 2).min(LONGEST_REST);
            }
            None => {}
        }
        self.keep(allowed.max(held));
        let have = self.foreign.have();
        if have < allowed && held >= have && self.rest.is_none() && !self.dry {
            match self.foreign.take() {
                Ok(true) => {}
                Ok(false) => self.dry = true,
                Err(error) => {
                    log::warn!("the jobserver above: {error}");
                    self.dry = true;
                }
            }
        }
        self.appetite.saw(now, self.foreign.have(), held);
        self.foreign.have().min(allowed)
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
