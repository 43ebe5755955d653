//! What was recorded against other settings: the same regulator, in virtual time, is told of the same machine and of the same
//! clients.
//!
//! Open loop: pressure is as it was, though other jobs would have made another; clients come, go and could use jobs when they did,
//! though they would have been done sooner or later. A client that could use all it got takes all it gets; a job ends a second
//! after it began, on average.

use super::clock::Clock;
use crate::policy::account::{Appetite, ClientId, Lease, Loan, Report, Terms};
use crate::policy::ledger::Change;
use crate::policy::regulator::{Action, Input, Regulator, Settings};
use crate::policy::time::Moment;
use crate::proto::journal::{Join, Record};
use crate::proto::status::state_name;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where time begins: what a gate still knew at its header was before.
const BEGIN: u64 = 3_600_000_000;

/// How long a job is thought to take, in microseconds.
const JOB: u64 = 1_000_000;

/// Where nothing is recorded for longer than this nothing was: a gate's beats are closer, and a damaged journal may say anything.
const GAP: u64 = 6 * 3_600_000_000;

/// A gate's verdict at a moment, as it changes: microseconds of the replay, the state, and for what.
pub type Verdict = (u64, &'static str, Vec<&'static str>);

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds that the gate was held, by what held it.
    pub held: BTreeMap<&'static str, f64>,
    /// Seconds that the limit was bound by each part of the law, or by the ceiling.
    pub bound: BTreeMap<&'static str, f64>,
    /// The most jobs at once.
    pub peak: u32,
    /// Jobs times seconds.
    pub job_s: f64,
    /// The limit times seconds.
    pub limit_s: f64,
    /// Seconds that clients waited for their leases, all together.
    pub waited_s: f64,
    /// The gate's verdicts, whenever they changed; of samples only.
    pub verdicts: Vec<Verdict>,
}

/// A client as it is replayed. Figures are tokens.
#[derive(Debug, Default)]
struct Client {
    takes: bool,
    hungry: bool,
    needs: u32,
    granted: bool,
    allotment: u32,
    serial: u64,
    held: u32,
    reported: Option<(u64, u32, Option<u32>)>,
    /// When a job ends whose token is owed.
    ends: Option<u64>,
}

impl Client {
    fn could_hold(&self) -> u32 {
        let most = if self.hungry { u32::MAX } else { self.needs };
        if self.takes && self.granted { most.min(self.allotment) } else { 0 }
    }

    /// Takes what it may, at once; what it owes comes back as jobs end.
    fn settle(&mut self, now: u64) {
        let most = self.could_hold();
        if self.ends.is_some_and(|when| when <= now) {
            (self.held, self.ends) = (self.held.saturating_sub(1), None);
        }
        if self.held <= most {
            (self.held, self.ends) = (most, None);
        } else if self.ends.is_none() {
            self.ends = Some(now.saturating_add(JOB / u64::from(self.held)));
        }
    }

    /// What is new to the gate.
    fn report(&mut self) -> Option<Report> {
        let needs = (!self.hungry).then_some(self.needs);
        let news = (self.serial, self.held, needs);
        if !self.granted || self.reported.replace(news) == Some(news) {
            return None;
        }
        let appetite = Some(needs.map_or(Appetite::Full, Appetite::Slack));
        Some(Report { serial: self.serial, held: self.held, appetite })
    }
}

/// See the module.
pub struct Replay<F: Fn(Settings) -> Settings> {
    change: F,
    clock: Clock,
    regulator: Option<Regulator>,
    clients: BTreeMap<ClientId, Client>,
    now: u64,
    outcome: Outcome,
}

fn moment(at: u64) -> Moment {
    Moment::at(Duration::from_micros(at))
}

impl<F: Fn(Settings) -> Settings> Replay<F> {
    /// `change` makes the settings of the replay of those that were recorded.
    pub fn new(change: F) -> Replay<F> {
        Replay {
            change,
            clock: Clock::new(BEGIN),
            regulator: None,
            clients: BTreeMap::new(),
            now: BEGIN,
            outcome: Outcome::default(),
        }
    }

    /// What was recorded next.
    pub fn take(&mut self, record: &Record) {
        if let Record::Header(header) = record
            && (self.clock.open(header, self.now) || self.regulator.is_none())
        {
            self.clients.clear();
            let settings = (self.change)(header.settings.settings());
            self.regulator = Some(Regulator::new(settings, moment(0)));
        }
        let at = self.clock.at(record.t());
        self.pass(at);
        match record {
            Record::Settings(settings) => {
                let settings = (self.change)(settings.now.settings());
                self.tell(at, Input::Settings(settings));
            }
            Record::JobSize(size) => self.tell(at, Input::JobSize(size.bytes)),
            Record::Blind(_) => self.tell(at, Input::Blind),
            Record::Sample(sample) => {
                self.tell(at, Input::Sample(sample.reading()));
                self.judge(at);
            }
            Record::Join(join) => self.join(at, join),
            Record::Clients(changes) => {
                for change in &changes.of {
                    if let Some(client) = self.clients.get_mut(&change.id) {
                        client.hungry = change.hungry.unwrap_or(client.hungry);
                        client.needs = change.needs.unwrap_or(client.needs);
                    }
                    match change.stopped.filter(|_| self.clients.contains_key(&change.id)) {
                        Some(true) => self.tell(at, Input::Stopped(change.id)),
                        Some(false) => self.tell(at, Input::Continued(change.id)),
                        None => {}
                    }
                }
                self.settle(at);
            }
            Record::Leave(total) => self.leave(at, total.id),
            Record::Gone(_) => {
                let ids: Vec<_> = self.clients.keys().copied().collect();
                ids.into_iter().for_each(|id| self.leave(at, id));
            }
            Record::Header(_)
            | Record::Gate(_)
            | Record::Limit(_)
            | Record::Beat(_)
            | Record::Dropped(_)
            | Record::End(_) => {}
        }
    }

    /// Nothing follows.
    pub fn end(mut self) -> Outcome {
        self.outcome.seconds = (self.now - BEGIN) as f64 / 1e6;
        self.outcome
    }

    fn join(&mut self, at: u64, join: &Join) {
        if self.clients.contains_key(&join.id) {
            return; // described anew
        }
        let lease = match join.waits_for {
            Some((min, max)) => Lease::Wait { min: min.max(1), max: max.max(min).max(1) },
            None if join.pays => Lease::Counted,
            None => Lease::Nothing,
        };
        let granted = !matches!(lease, Lease::Wait { .. });
        let terms = Terms {
            lease,
            cap: join.cap.max(1),
            weight: join.weight.max(1),
            max_wait: join.max_wait_s.and_then(|wait| Duration::try_from_secs_f64(wait).ok()),
            loan: join.inside.map(|number| Loan(number, 0)),
            idle: false,
            takes: join.takes,
            uid: join.uid,
        };
        let client = Client { takes: join.takes, hungry: true, granted, ..Client::default() };
        self.clients.insert(join.id, client);
        self.tell(at, Input::Join(join.id, terms, None));
    }

    fn leave(&mut self, at: u64, id: ClientId) {
        if self.clients.remove(&id).is_some() {
            self.tell(at, Input::Leave(id));
        }
    }

    fn tell(&mut self, at: u64, input: Input) {
        let Some(regulator) = &mut self.regulator else { return };
        // What a gate knew from before its header is told with its own moments.
        regulator.handle(moment(at), input);
        self.settle(at.max(self.now));
    }

    /// Lets gate and clients answer each other until neither has more to say.
    fn settle(&mut self, at: u64) {
        const TURNS: usize = 64;
        let Some(regulator) = &mut self.regulator else { return };
        let now = moment(at);
        for _ in 0..TURNS {
            while let Some(action) = regulator.poll() {
                match action {
                    Action::Tell(Change::Allot { id, tokens, serial, .. }) => {
                        if let Some(client) = self.clients.get_mut(&id) {
                            (client.allotment, client.serial) = (tokens, serial);
                        }
                    }
                    Action::Tell(Change::Grant { id, .. }) => {
                        if let Some(client) = self.clients.get_mut(&id) {
                            client.granted = true;
                        }
                        regulator.handle(now, Input::Started(id));
                    }
                    Action::Sample => {} // they come when they came
                }
            }
            let mut is_quiet = true;
            for (&id, client) in &mut self.clients {
                client.settle(at);
                if let Some(report) = client.report() {
                    regulator.note(now, Input::Report(id, report));
                    is_quiet = false;
                }
            }
            if is_quiet {
                break;
            }
            regulator.settle(now);
        }
        self.outcome.peak = self.outcome.peak.max(regulator.out());
    }

    fn judge(&mut self, at: u64) {
        let Some(regulator) = &self.regulator else { return };
        let reasons: Vec<_> = regulator.gate().reasons().iter().map(|reason| reason.cause.name()).collect();
        let state = state_name(regulator.door());
        let is_same =
            self.outcome.verdicts.last().is_some_and(|(_, before, of)| *before == state && *of == reasons);
        if !is_same {
            self.outcome.verdicts.push((at.saturating_sub(BEGIN), state, reasons));
        }
    }

    /// Time passes up to then, and what is due meanwhile happens.
    fn pass(&mut self, until: u64) {
        if until.saturating_sub(self.now) > GAP {
            self.count(until);
            self.now = until;
            return self.tell(until, Input::Time);
        }
        while self.now < until {
            let due = self.regulator.as_ref().and_then(Regulator::deadline);
            let due = due.map(|when| when.since(Moment::default()).as_micros() as u64);
            let ends = self.clients.values().filter_map(|client| client.ends).min();
            let next =
                due.into_iter().chain(ends).min().map_or(until, |next| next.clamp(self.now + 1, until));
            self.count(next);
            self.now = next;
            if next < until || due.is_some_and(|due| due <= next) {
                self.tell(next, Input::Time);
            }
        }
    }

    /// All was so up to then.
    fn count(&mut self, until: u64) {
        let Some(regulator) = &self.regulator else { return };
        let seconds = (until - self.now) as f64 / 1e6;
        let outcome = &mut self.outcome;
        if let Some(reason) = regulator.gate().reasons().first() {
            *outcome.held.entry(reason.cause.name()).or_default() += seconds;
        }
        let verdict = regulator.verdict();
        *outcome.bound.entry(verdict.tightest.name()).or_default() += seconds;
        outcome.job_s += f64::from(regulator.out()) * seconds;
        outcome.limit_s += f64::from(verdict.limit) * seconds;
        let waiting = regulator.accounts().iter().filter(|account| account.waits_since().is_some()).count();
        outcome.waited_s += waiting as f64 * seconds;
    }
}
