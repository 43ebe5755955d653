//! What is written down of a tree and its gate, and summed up.
//!
//! Doesn't know where tokens come from, beyond that a gate is one's own or the shared one.

use super::{Gate, Source};
use crate::policy::summary::{Brake, Summary};
use crate::policy::time::Moment;
use crate::proxy::journal::Journal;
use crate::proxy::stats::Stats;
use std::time::Duration;

impl Source {
    /// What happens from here on is written there.
    pub fn keep_journal(&mut self, journal: Journal, now: Moment) {
        self.journal = Some(journal);
        self.record_own(now);
        self.drain(now);
        self.write(now);
    }

    pub(super) fn record_own(&mut self, now: Moment) {
        if let (Gate::Own { regulator, machine, .. }, Some(journal)) = (&mut self.gate, &mut self.journal) {
            regulator.record(now, true);
            *machine = self.spare.machine(true);
            journal.own(now);
        }
    }

    /// The build's statistics are written from here on.
    pub fn keep_stats(&mut self, mut stats: Stats) {
        stats.start();
        self.stats = Some(stats);
    }

    /// The command runs.
    pub fn start_notes(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.start();
        }
    }

    /// Nothing happens any more.
    pub fn close_notes(&mut self, now: Moment) {
        if let Some(stats) = self.stats.take() {
            stats.close();
        }
        self.write(now);
        if let Some(journal) = self.journal.take() {
            journal.close(now);
        }
    }

    /// Writes down what is new. The error: the shared gate is gone.
    pub(super) fn write_news(&mut self, now: Moment) -> std::io::Result<()> {
        match (&mut self.gate, &mut self.journal) {
            (Gate::Own { regulator, .. }, Some(journal)) => journal.observe(now, regulator),
            (Gate::Shared(link), Some(journal)) => journal.pass_on(now, link)?,
            (Gate::Kept { .. }, _) | (_, None) => {}
        }
        Ok(())
    }

    pub(super) fn write(&mut self, now: Moment) {
        if let Err(error) = self.write_news(now) {
            self.lose(&error.to_string(), now);
        }
    }

    /// A summary is made of what happens from here on; so long was waited for the first token.
    pub fn keep_summary(&mut self, now: Moment, waited: Duration) {
        self.summary = Some(Summary::new(now, waited));
        if let Gate::Shared(link) = &mut self.gate
            && let Err(error) = link.ask_brake()
        {
            self.lose(&error.to_string(), now);
        }
        self.sum_up(now);
    }

    /// The summary up to now, if one is made.
    pub fn summary(&mut self, now: Moment) -> Option<Summary> {
        self.sum_up(now);
        self.summary.clone()
    }

    pub(super) fn sum_up(&mut self, now: Moment) {
        let Some(summary) = &mut self.summary else { return };
        let brake = match &self.gate {
            Gate::Own { regulator, .. } => Brake::of(regulator),
            Gate::Shared(link) => link.brake(),
            Gate::Kept { .. } => None,
        };
        let running = if self.stopped { 0 } else { 1 + self.held };
        summary.note(now, running, brake.filter(|_| self.held >= self.in_force && !self.stopped));
    }
}
