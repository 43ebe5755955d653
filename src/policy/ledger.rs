//! The ledger: what one process tree pays for, and what it may hold.
//!
//! Doesn't know pressure or time; it is told the limit and whether the gate is open. There is one client here, the
//! tree of this run; a gate that is shared keeps one such account for each.

/// One tree's account. All figures are tokens.
///
/// `charge = lease + max(allotment, held)`: what stands untaken costs as much as what is held, for it may be taken
/// at any moment.
#[derive(Debug)]
pub struct Ledger {
    jobs: u32,
    lease: u32,
    allotment: u32,
    held: u32,
}

impl Ledger {
    /// A ledger of `jobs` tokens whose tree has paid its lease: the implicit slot that every client of a jobserver
    /// has (GNU make manual, "Sharing Job Slots with GNU make") is a job like any other. It is granted whatever the
    /// gate says, since nothing else is out: one job always runs.
    pub fn with_lease(jobs: u32) -> Ledger {
        Ledger { jobs: jobs.max(1), lease: 1, allotment: 0, held: 0 }
    }

    /// The tree holds `held` tokens now.
    pub fn hold(&mut self, held: u32) {
        self.held = held;
    }

    /// Moves the allotment to what `limit` and the gate allow.
    ///
    /// Raised only while the charge is below the limit. Behind a closed gate nothing is allotted: what stands is
    /// withdrawn, all that is held is owed, and the charge only falls.
    pub fn allot(&mut self, limit: u32, open: bool) {
        let room = limit.min(self.jobs).saturating_sub(self.lease);
        self.allotment = if open { room } else { 0 };
    }

    /// How many tokens the tree may hold.
    pub fn allotment(&self) -> u32 {
        self.allotment
    }

    /// How many it holds.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Tokens out: the lease and what is held. Each stands for a job that may run.
    pub fn out(&self) -> u32 {
        self.lease + self.held
    }

    /// What the tree pays for.
    pub fn charge(&self) -> u32 {
        self.lease + self.allotment.max(self.held)
    }

    /// The lease.
    pub fn lease(&self) -> u32 {
        self.lease
    }

    /// Held above the allotment: goes back to the pool at its return.
    pub fn owed(&self) -> u32 {
        self.held.saturating_sub(self.allotment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Event {
        Take,
        Return,
        Die,
        Allot { limit: u32, open: bool },
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Take),
            4 => Just(Event::Return),
            1 => Just(Event::Die),
            3 => (0u32..12, any::<bool>()).prop_map(|(limit, open)| Event::Allot { limit, open }),
        ]
    }

    proptest! {
        #[test]
        fn never_over_the_limit_and_never_without_a_job(events in prop::collection::vec(event(), 0..200)) {
            let mut ledger = Ledger::with_lease(8);
            for event in events {
                let before = ledger.charge();
                match event {
                    Event::Take if ledger.held() < ledger.allotment() => ledger.hold(ledger.held() + 1),
                    Event::Return => ledger.hold(ledger.held().saturating_sub(1)),
                    Event::Die => ledger.hold(0),
                    Event::Allot { limit, open } => {
                        ledger.allot(limit, open);
                        prop_assert!(ledger.charge() <= before.max(limit.clamp(1, 8)));
                        if !open {
                            prop_assert!(ledger.charge() <= before, "a closed gate only takes");
                        } else if limit > 0 {
                            prop_assert!(ledger.charge() >= limit.min(8), "work conserving");
                        }
                    }
                    Event::Take => {}
                }
                prop_assert!(ledger.out() >= 1, "one job always runs");
                prop_assert!(ledger.out() <= ledger.charge());
                prop_assert!(ledger.charge() <= 8);
                prop_assert_eq!(ledger.owed() > 0, ledger.held() > ledger.allotment());
            }
        }
    }
}
