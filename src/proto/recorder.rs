//! What is new of a gate, as records of a journal: it is shown a regulator whenever something may have happened.
//!
//! Doesn't know where the records go, nor where clients' names come from. Pure: the moment is an argument.

use super::journal::{
    At, Beat, Change, Changes, End, Gate, Header, JobSize, Join, Limit, Record, Settings, Total, VERSION,
};
use super::sample::Sample;
use super::set::Set;
use super::status;
use super::view::{PartsView, ReasonView, SettingView};
use crate::policy::account::{Account, ClientId, Lease, Loan};
use crate::policy::gate::Cause;
use crate::policy::law::Tightest;
use crate::policy::pressure::Resource;
use crate::policy::reading::Reading;
use crate::policy::regulator::{self, Regulator};
use crate::policy::ticker;
use crate::policy::time::Moment;
use std::collections::BTreeMap;
use std::time::Duration;

/// Whose gate it is.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The kernel's release.
    pub kernel: String,
    /// The process.
    pub pid: u32,
    /// Where it listens, if it does.
    pub socket: String,
    /// What the gate's clock began at for people: microseconds since 1970.
    pub epoch_us: u64,
}

/// Who a client is.
#[derive(Clone, Debug, Default)]
pub struct Who {
    /// Its proxy's process; 0: isn't shown.
    pub pid: i32,
    /// What it runs.
    pub label: String,
    /// How it is served.
    pub style: String,
}

/// A gate at a moment.
pub struct Seen<'a> {
    /// When.
    pub now: Moment,
    /// How it stands.
    pub regulator: &'a Regulator,
    /// Each setting and who said so.
    pub from: &'a BTreeMap<String, SettingView>,
    /// Who a client is, as far as the reader may know.
    pub who: &'a dyn Fn(ClientId) -> Who,
}

/// What is written of a client's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    lease: u32,
    allotment: u32,
    held: u32,
    needs: Option<u32>,
    waits: bool,
    borrowed: bool,
    overdue: bool,
    stopped: bool,
}

impl State {
    fn of(account: &Account) -> State {
        State {
            lease: account.lease(),
            allotment: account.allotment(),
            held: account.held(),
            needs: account.needs(),
            waits: account.waits_since().is_some(),
            borrowed: account.is_borrowing(),
            overdue: account.is_overdue(),
            stopped: account.is_stopped(),
        }
    }

    fn running(&self) -> u32 {
        if self.stopped { 0 } else { self.lease + self.held }
    }

    /// What is new since `before`.
    fn change(&self, id: ClientId, before: &State, peak: u32) -> Change {
        fn news<T: PartialEq>(now: T, before: T) -> Option<T> {
            (now != before).then_some(now)
        }
        Change {
            id,
            lease: news(self.lease, before.lease),
            allotment: news(self.allotment, before.allotment),
            held: news(self.held, before.held),
            hungry: news(self.needs.is_none(), before.needs.is_none()),
            needs: if self.needs == before.needs { None } else { self.needs },
            waits: news(self.waits, before.waits),
            borrowed: news(self.borrowed, before.borrowed),
            overdue: news(self.overdue, before.overdue),
            stopped: news(self.stopped, before.stopped),
            peak: (peak > self.running().max(before.running())).then_some(peak),
        }
    }
}

/// One client.
#[derive(Clone, Debug)]
struct Known {
    id: ClientId,
    loan: Option<(Loan, u64)>,
    /// Since when it is so.
    since: Moment,
    now: State,
    written: State,
    /// The most that ran since it was written, and in all.
    peak: u32,
    most: u32,
    /// Tokens times time, and the time it waited.
    used: f64,
    waited: Duration,
}

impl Known {
    fn new(id: ClientId, loan: Option<(Loan, u64)>, now: Moment) -> Known {
        Known {
            id,
            loan,
            since: now,
            now: State::default(),
            written: State { needs: Some(0), ..State::default() },
            peak: 0,
            most: 0,
            used: 0.0,
            waited: Duration::ZERO,
        }
    }

    fn see(&mut self, now: Moment, state: State) {
        let time = now.since(self.since);
        self.used += time.as_secs_f64() * f64::from(self.now.running());
        if self.now.waits {
            self.waited += time;
        }
        (self.since, self.now) = (now, state);
        let running = state.running();
        (self.peak, self.most) = (self.peak.max(running), self.most.max(running));
    }

    fn is_news(&self) -> bool {
        self.now != self.written || self.peak > self.written.running()
    }

    fn write(&mut self) -> Change {
        let change = self.now.change(self.id, &self.written, self.peak);
        (self.written, self.peak) = (self.now, self.now.running());
        change
    }

    fn total(&self, t: u64) -> Total {
        Total {
            t,
            id: self.id,
            token_s: (self.used * 1e6).round() / 1e6,
            waited_s: self.waited.as_secs_f64(),
            peak: self.most,
        }
    }
}

/// What was written of the gate itself.
#[derive(Debug, Default)]
struct Written {
    settings: Option<(regulator::Settings, BTreeMap<String, SettingView>)>,
    sampled: Option<Moment>,
    gate: Option<(&'static str, Vec<Cause>)>,
    limit: Option<(u32, bool, Tightest)>,
    job_size: u64,
    blind: bool,
    beats: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Recorder {
    about: About,
    begun: bool,
    written: Written,
    known: Vec<Known>,
    /// When clients were last written, and whether there is news of them.
    flushed: Option<Moment>,
    dirty: bool,
    tick: Duration,
    /// What ran when they were, and the most since.
    ran: u32,
    peak: u32,
}

impl Recorder {
    /// One that has written nothing.
    pub fn new(about: About) -> Recorder {
        Recorder { about, ..Recorder::default() }
    }

    /// What is written next begins with a header, and all that is there. People's clock may have been set meanwhile.
    pub fn begin_anew(&mut self, epoch_us: u64) {
        *self = Recorder::new(About { epoch_us, ..std::mem::take(&mut self.about) });
    }

    /// When it is to be shown the gate again although nothing has happened.
    pub fn deadline(&self) -> Option<Moment> {
        self.flushed.filter(|_| self.dirty).map(|when| when + self.tick)
    }

    /// What is new, in the order in which it is to be taken in.
    pub fn observe(&mut self, seen: &Seen) -> Vec<Record> {
        let (now, t) = (seen.now, us(seen.now));
        let mut records = Vec::new();
        let is_new = !std::mem::replace(&mut self.begun, true);
        self.settings(seen, &mut records, is_new);
        self.gate(seen, &mut records);
        self.clients(seen, &mut records);
        let regulator = seen.regulator;
        let beats = regulator.beats();
        let beat = beats.0 > std::mem::replace(&mut self.written.beats, beats.0) && !is_new;
        let is_due = self.flushed.is_none_or(|when| now.since(when) >= self.tick);
        if self.dirty && (is_due || beat) {
            let of: Vec<_> =
                self.known.iter_mut().filter(|known| known.is_news()).map(Known::write).collect();
            if !of.is_empty() {
                let ran = self.running();
                let peak = (self.peak > ran.max(self.ran)).then_some(self.peak);
                records.push(Record::Clients(Changes { t, of, peak }));
                (self.flushed, self.ran, self.peak) = (Some(now), ran, ran);
            }
            self.dirty = false;
        }
        if beat {
            records.push(Record::Beat(sums(regulator, t)));
        }
        records
    }

    /// The last record.
    pub fn end(&mut self, now: Moment) -> Record {
        let t = us(now);
        let total = |known: &mut Known| {
            known.see(now, known.now);
            known.total(t)
        };
        Record::End(End { t, of: self.known.iter_mut().map(total).collect() })
    }

    fn settings(&mut self, seen: &Seen, records: &mut Vec<Record>, is_new: bool) {
        let settings = seen.regulator.settings();
        let is_known = |(written, from): &(regulator::Settings, BTreeMap<_, _>)| {
            written == settings && from == seen.from
        };
        if self.written.settings.as_ref().is_some_and(is_known) {
            return;
        }
        let set = Set::new(settings, seen.from);
        self.tick = ticker::tick(settings.heartbeat);
        self.written.settings = Some((*settings, seen.from.clone()));
        self.written.blind = false; // with other settings it may be watched again
        let t = us(seen.now);
        records.push(if is_new {
            let About { kernel, pid, socket, epoch_us } = self.about.clone();
            let (journal, program) = (VERSION, env!("CARGO_PKG_VERSION").to_owned());
            let unix_us = epoch_us.saturating_add(t);
            let cpus = set.cpus;
            Record::Header(Box::new(Header {
                journal,
                program,
                kernel,
                cpus,
                pid,
                socket,
                t,
                unix_us,
                settings: set,
            }))
        } else {
            // They may have made the regulator forget what it was told, and hear it again at this very moment.
            let is_first = seen.regulator.looks().next().is_some_and(|(when, _)| when == seen.now);
            self.written.sampled = self.written.sampled.filter(|_| !is_first);
            Record::Settings(Box::new(Settings { t, now: set }))
        });
    }

    fn gate(&mut self, seen: &Seen, records: &mut Vec<Record>) {
        let (regulator, t) = (seen.regulator, us(seen.now));
        let written = &mut self.written;
        let news = |&(when, reading): &(Moment, Reading)| {
            written.sampled.is_none_or(|last| when > last) && reading != Reading::default()
        };
        let looks: Vec<_> = regulator.looks().rev().take_while(news).collect();
        records.extend(looks.iter().rev().map(|(when, reading)| Record::Sample(Sample::new(*when, reading))));
        written.sampled = looks.first().map(|&(when, _)| when).or(written.sampled);
        let job_size = regulator.law().expected();
        if job_size != std::mem::replace(&mut written.job_size, job_size) {
            records.push(Record::JobSize(JobSize { t, bytes: job_size }));
        }
        let is_watched = Resource::ALL.iter().any(|&of| regulator.settings().thresholds.get(of).is_some());
        let blind = is_watched && !regulator.gate().watches_pressure();
        if blind && !written.blind {
            records.push(Record::Blind(At { t }));
        }
        written.blind = blind;
        let state = status::state_name(regulator.door());
        let reasons = regulator.gate().reasons();
        let is_same = |(word, of): &(&str, Vec<Cause>)| {
            *word == state && of.iter().eq(reasons.iter().map(|reason| &reason.cause))
        };
        if !written.gate.as_ref().is_some_and(is_same) {
            written.gate = Some((state, reasons.iter().map(|reason| reason.cause).collect()));
            let reasons = reasons.iter().map(ReasonView::from).collect();
            records.push(Record::Gate(Gate { t, state: state.to_owned(), reasons }));
        }
        let verdict = regulator.verdict();
        let limit = (verdict.limit, regulator.is_ramping(), verdict.tightest);
        if written.limit.replace(limit) != Some(limit) {
            let (limit, growing_back, tightest) = limit;
            let (tightest, parts) = (tightest.name().to_owned(), PartsView::from(verdict.parts));
            records.push(Record::Limit(Limit { t, limit, growing_back, tightest, parts }));
        }
    }

    /// Who has come and gone, and how each stands.
    fn clients(&mut self, seen: &Seen, records: &mut Vec<Record>) {
        let (now, accounts) = (seen.now, seen.regulator.accounts());
        let is_same = self.known.iter().map(|known| known.id).eq(accounts.iter().map(Account::id));
        if !is_same {
            self.come_and_go(seen, records);
        }
        for (known, account) in self.known.iter_mut().zip(accounts) {
            known.see(now, State::of(account));
            self.dirty |= known.is_news();
        }
        self.peak = self.peak.max(self.running());
    }

    fn running(&self) -> u32 {
        self.known.iter().map(|known| known.now.running()).sum()
    }

    fn come_and_go(&mut self, seen: &Seen, records: &mut Vec<Record>) {
        let (now, t) = (seen.now, us(seen.now));
        // Both are in the order in which they came.
        let mut before = std::mem::take(&mut self.known).into_iter().peekable();
        let mut leave = |mut known: Known| {
            known.see(now, known.now);
            records.push(Record::Leave(known.total(t)));
        };
        let mut come = Vec::new();
        for account in seen.regulator.accounts() {
            while let Some(known) = before.next_if(|known| known.id < account.id()) {
                leave(known);
            }
            let known = before.next_if(|known| known.id == account.id()).unwrap_or_else(|| {
                let same =
                    |loan: Loan| self.known.iter().find_map(|known| known.loan.filter(|it| it.0 == loan));
                let loan = account.terms().loan.map(|loan| same(loan).unwrap_or((loan, account.id())));
                come.push(account.id());
                Known::new(account.id(), loan, now)
            });
            self.known.push(known);
        }
        before.for_each(leave);
        for (known, account) in self.known.iter().zip(seen.regulator.accounts()) {
            if come.contains(&known.id) {
                records.push(Record::Join(Box::new(join(account, known, t, (seen.who)(known.id)))));
            }
        }
    }
}

/// A moment as it is written.
pub fn us(moment: Moment) -> u64 {
    moment.since(Moment::default()).as_micros() as u64
}

fn join(account: &Account, known: &Known, t: u64, who: Who) -> Join {
    let terms = account.terms();
    Join {
        t,
        since: us(account.joined()),
        id: account.id(),
        uid: terms.uid,
        pid: who.pid,
        label: who.label,
        style: who.style,
        waits_for: match terms.lease {
            Lease::Wait { min, max } => Some((min, max)),
            Lease::Counted | Lease::Nothing => None,
        },
        pays: terms.lease != Lease::Nothing,
        max_wait_s: terms.max_wait.map(|wait| wait.as_secs_f64()),
        cap: terms.cap,
        weight: terms.weight,
        inside: known.loan.map(|(_, number)| number),
        takes: terms.takes,
    }
}

fn sums(regulator: &Regulator, t: u64) -> Beat {
    let (beat, missed) = regulator.beats();
    let accounts = regulator.accounts();
    let count = |is: fn(&Account) -> bool| accounts.iter().filter(|account| is(account)).count() as u32;
    let going = || accounts.iter().filter(|account| !account.is_stopped());
    Beat {
        t,
        beat,
        missed,
        limit: regulator.limit(),
        leased: going().map(Account::lease).sum(),
        held: going().map(Account::held).sum(),
        charge: regulator.charge(),
        clients: accounts.len() as u32,
        waiting: count(|account| account.waits_since().is_some()),
        wanting: count(Account::is_hungry),
    }
}
