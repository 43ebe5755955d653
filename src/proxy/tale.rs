//! What a shared gate tells of itself: what keeps builds from running more jobs; and its journal, until somebody writes it down.
//!
//! Doesn't know how it is asked for, nor where it is written.

use crate::policy::summary::Brake;
use crate::proto::journal::Record;

/// So much that nobody has looked at is kept.
const MOST_RECORDS: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub struct Tale {
    /// The journal was asked for.
    pub is_wanted: bool,
    /// The gate can tell it.
    pub can_be_had: bool,
    /// What keeps builds from running more jobs was asked for ...
    pub brake_is_wanted: bool,
    /// ... and is that.
    pub brake: Option<Brake>,
    records: Vec<Record>,
    missing: u64,
}

impl Tale {
    /// These happened next.
    pub fn add(&mut self, records: Vec<Record>) {
        if self.records.len() + records.len() > MOST_RECORDS {
            self.missing += records.len() as u64;
        } else {
            self.records.extend(records);
        }
    }

    /// What has come since it was last looked at, and how many records had no place here.
    pub fn take(&mut self) -> (Vec<Record>, u64) {
        (std::mem::take(&mut self.records), std::mem::take(&mut self.missing))
    }
}
