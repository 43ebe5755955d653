//! What couldn't be written of a journal: counted, and told in it once there is room again.
//!
//! Doesn't know why, nor where it would have stood.

use super::journal::{Dropped, Record};
use super::recorder::us;
use crate::policy::time::Moment;
use std::time::Duration;

/// After records were dropped a journal is begun anew, so often at the most.
const AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Gap {
    missing: u64,
    told: u64,
    again: Moment,
}

impl Gap {
    /// Records that can be written where there is room; `false`: not these, they are counted. Those after a gap must begin with
    /// a header, and it is told next.
    pub fn admit(&mut self, now: Moment, records: &mut Vec<Record>, room: bool) -> bool {
        let is_over = self.missing == 0 || matches!(records.first(), Some(Record::Header(_)));
        if !room || !is_over {
            self.lose(now, Weight::of(records));
            return false;
        }
        if self.missing > 0 {
            records.insert(1, Record::Dropped(Dropped { t: us(now), records: self.missing }));
            self.told += std::mem::take(&mut self.missing);
        }
        true
    }

    /// These couldn't be written after all.
    pub fn lose(&mut self, now: Moment, lost: Weight) {
        if lost == Weight::default() {
            return;
        }
        if self.missing == 0 {
            self.again = now + AGAIN;
        }
        self.told -= lost.told.min(self.told);
        self.missing += lost.records + lost.told;
    }

    /// Whether it is time to begin anew: so once in a while.
    pub fn is_over(&mut self, now: Moment) -> bool {
        let is_over = self.missing > 0 && now >= self.again;
        if is_over {
            self.again = now + AGAIN;
        }
        is_over
    }

    /// How many are missing in all.
    pub fn all(&self) -> u64 {
        self.missing + self.told
    }
}

/// For how much records stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many there are, but for those that tell of gaps.
    pub records: u64,
    /// How many are missing by what those tell.
    pub told: u64,
}

impl Weight {
    /// Of these.
    pub fn of(records: &[Record]) -> Weight {
        let mut weight = Weight::default();
        for record in records {
            match record {
                Record::Dropped(gap) => weight.told += gap.records,
                _ => weight.records += 1,
            }
        }
        weight
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{At, Header};
    use super::*;

    #[test]
    fn a_gap_is_told_once_after_the_next_header_and_nothing_is_counted_twice() {
        let at = |ms| Moment::at(Duration::from_millis(ms));
        let blind = || vec![Record::Blind(At::default()); 3];
        let header = || vec![Record::Header(Box::default()), Record::Blind(At::default())];
        let mut gap = Gap::default();
        assert!(gap.admit(at(0), &mut blind(), true) && !gap.is_over(at(0)));
        assert!(!gap.admit(at(1), &mut blind(), false));
        assert!(!gap.admit(at(2), &mut blind(), true), "what it would change isn't known");
        assert!(!gap.is_over(at(500)) && gap.is_over(at(1001)) && !gap.is_over(at(1002)));
        let mut records = header();
        assert!(gap.admit(at(1003), &mut records, true));
        assert_eq!(records[0], Record::Header(Box::<Header>::default()));
        assert_eq!(records[1], Record::Dropped(Dropped { t: 1_003_000, records: 6 }));
        assert_eq!((gap.all(), gap.is_over(at(9000))), (6, false));
        // That didn't reach the disk.
        gap.lose(at(2000), Weight::of(&records));
        assert_eq!(gap.all(), 8);
        let mut records = header();
        assert!(gap.is_over(at(3000)) && gap.admit(at(3000), &mut records, true));
        assert_eq!(records[1], Record::Dropped(Dropped { t: 3_000_000, records: 8 }));
        assert_eq!(gap.all(), 8);
    }
}
