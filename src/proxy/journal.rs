//! A run's journal: of its own gate, or what the shared one tells of itself.
//!
//! Doesn't know where tokens come from, nor how a file is written.

use super::link::Link;
use crate::policy::regulator::Regulator;
use crate::policy::time::Moment;
use crate::proto::journal::{Gone, Record};
use crate::proto::recorder::{Seen, Who};
use crate::proto::view::SettingView;
use crate::server::journal::{Keeper, about};
use crate::sys::say::say;
use crate::sys::scribe::Scribe;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub struct Journal {
    keeper: Keeper,
    /// What a gate of one's own is set to, by whom, and who its client is.
    from: BTreeMap<String, SettingView>,
    who: Who,
    /// The gate is one's own.
    is_own: bool,
}

impl Journal {
    /// In that file; `from` and `who` are said of a gate of one's own.
    pub fn new(
        scribe: Scribe,
        file: PathBuf,
        from: BTreeMap<String, SettingView>,
        who: Who,
        now: Moment,
    ) -> Journal {
        let keeper = Keeper::new(scribe, file, about(now, Path::new("")), None);
        Journal { keeper, from, who, is_own: false }
    }

    /// The command runs: from here on it is written.
    pub fn start(&mut self) {
        if let Err(error) = self.keeper.start() {
            say(&format!("there is no journal: {error}"));
        }
    }

    /// The gate is one's own from here on.
    pub fn own(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.is_own, true) {
            self.keeper.begin_anew(now);
        }
    }

    /// When it is to be shown one's own gate although nothing has happened.
    pub fn deadline(&self) -> Option<Moment> {
        self.keeper.deadline().filter(|_| self.is_own)
    }

    /// Something may have happened in one's own gate.
    pub fn observe(&mut self, now: Moment, regulator: &Regulator) {
        let who = |_| self.who.clone();
        self.keeper.observe(&Seen { now, regulator, from: &self.from, who: &who });
    }

    /// What the shared gate has told. The error: that is gone.
    pub fn pass_on(&mut self, now: Moment, link: &mut Link) -> std::io::Result<()> {
        let (records, missing) = link.records();
        if self.keeper.pass_on(now, records, missing) {
            return link.ask_journal();
        }
        Ok(())
    }

    /// The shared gate is gone.
    pub fn lose(&mut self, now: Moment, why: &str) {
        let t = self.keeper.last();
        self.keeper.write(now, vec![Record::Gone(Gone { t, why: why.to_owned() })]);
    }

    /// Its end.
    pub fn close(self, now: Moment) {
        self.keeper.close(now, self.is_own);
    }
}
