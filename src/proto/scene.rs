//! How a gate stood at a moment of its journal: the records so far, taken together.
//!
//! Doesn't know where they come from. Whatever they say, taking them in never fails: a journal may be damaged.

use super::journal::{Beat, Change, Gate, Header, Join, Limit, Record, Total};
use super::sample::Sample;
use super::set::Set;
use std::collections::BTreeMap;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// The last header.
    pub header: Header,
    /// The settings.
    pub settings: Set,
    /// The moment of the last record.
    pub t: u64,
    /// The last sample.
    pub sample: Sample,
    /// How large jobs become; 0: that isn't known.
    pub job_size: u64,
    /// The gate.
    pub gate: Gate,
    /// The limit.
    pub limit: Limit,
    /// The last beat.
    pub beat: Beat,
    /// Pressure can't be read.
    pub is_blind: bool,
    /// The gate is gone.
    pub is_gone: bool,
    /// It has come to its end.
    pub is_over: bool,
    /// Who is there.
    pub clients: BTreeMap<u64, Client>,
    /// The most that has run at once.
    pub peak: u32,
    /// Records that are missing, in all.
    pub dropped: u64,
}

/// One client. Figures are tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Client {
    /// Who it is.
    pub join: Join,
    /// Leased.
    pub lease: u32,
    /// What its tree may hold.
    pub allotment: u32,
    /// Held.
    pub held: u32,
    /// It can use all that it gets ...
    pub hungry: bool,
    /// ... or else so much beside its lease.
    pub needs: u32,
    /// It waits for its lease.
    pub waits: bool,
    /// It runs on the payment of the job around it.
    pub borrowed: bool,
    /// Its lease was granted above the limit.
    pub overdue: bool,
    /// Job control has stopped it.
    pub stopped: bool,
    /// The most that has run at once.
    pub peak: u32,
    /// Tokens times microseconds, and microseconds that it waited, up to a moment: to within a tick.
    used: u128,
    waited: u64,
    until: u64,
}

impl Client {
    /// What it has had since its header, or since it came, until `t`; a `Leave` has it exactly.
    pub fn total(&self, t: u64) -> Total {
        let mut later = self.clone();
        later.pass(t);
        Total {
            t,
            id: self.join.id,
            token_s: later.used as f64 / 1e6,
            waited_s: later.waited as f64 / 1e6,
            peak: self.peak,
        }
    }

    fn pass(&mut self, t: u64) {
        let time = t.saturating_sub(self.until);
        self.used = self.used.saturating_add(u128::from(time) * u128::from(self.running()));
        if self.waits {
            self.waited = self.waited.saturating_add(time);
        }
        self.until = self.until.max(t);
    }

    /// Jobs that run: its lease, and what it holds.
    pub fn running(&self) -> u32 {
        if self.stopped { 0 } else { self.lease.saturating_add(self.held) }
    }

    /// Held above the allotment.
    pub fn owed(&self) -> u32 {
        self.held.saturating_sub(self.allotment)
    }

    /// It could use more than it has.
    pub fn wants(&self) -> bool {
        self.waits || (self.hungry && self.held >= self.allotment)
    }

    fn take(&mut self, t: u64, change: &Change) {
        fn set<T: Copy>(to: &mut T, news: Option<T>) {
            *to = news.unwrap_or(*to);
        }
        self.pass(t);
        set(&mut self.lease, change.lease);
        set(&mut self.allotment, change.allotment);
        set(&mut self.held, change.held);
        set(&mut self.hungry, change.hungry);
        set(&mut self.needs, change.needs);
        set(&mut self.waits, change.waits);
        set(&mut self.borrowed, change.borrowed);
        set(&mut self.overdue, change.overdue);
        set(&mut self.stopped, change.stopped);
        self.peak = self.peak.max(self.running()).max(change.peak.unwrap_or(0));
    }
}

impl Scene {
    /// Jobs that run.
    pub fn running(&self) -> u32 {
        self.clients.values().map(Client::running).fold(0, u32::saturating_add)
    }

    /// What happened next.
    pub fn take(&mut self, record: &Record) {
        self.t = record.t();
        match record {
            Record::Header(header) => {
                *self = Scene {
                    header: (**header).clone(),
                    settings: header.settings.clone(),
                    t: header.t,
                    dropped: self.dropped,
                    ..Scene::default()
                };
            }
            Record::Settings(settings) => {
                (self.settings, self.is_blind) = (settings.now.clone(), false);
            }
            Record::Sample(sample) => self.sample = *sample,
            Record::Blind(_) => self.is_blind = true,
            Record::JobSize(size) => self.job_size = size.bytes,
            Record::Gate(gate) => self.gate = gate.clone(),
            Record::Limit(limit) => self.limit = limit.clone(),
            Record::Join(join) => {
                let client = Client { join: (**join).clone(), until: join.t, ..Client::default() };
                self.clients.insert(join.id, client);
            }
            Record::Clients(changes) => {
                for change in &changes.of {
                    if let Some(client) = self.clients.get_mut(&change.id) {
                        client.take(changes.t, change);
                    }
                }
                self.peak = self.peak.max(self.running()).max(changes.peak.unwrap_or(0));
            }
            Record::Leave(Total { id, .. }) => drop(self.clients.remove(id)),
            Record::Beat(beat) => self.beat = *beat,
            Record::Dropped(dropped) => self.dropped = self.dropped.saturating_add(dropped.records),
            Record::Gone(_) => {
                self.is_gone = true;
                self.clients.clear();
            }
            Record::End(_) => self.is_over = true,
        }
    }
}
