//! The regulator: everything that decides, behind three calls: `handle` (or `note` and `settle`), `poll`, `deadline`.
//!
//! Doesn't know endpoints, sockets or kernel files: it is told how its clients stand and what the pressure counters say,
//! and answers with allotments and leases. A run's own gate has one client, a shared one many.

use super::account::{Account, Claim, ClientId, Door, Loan, Report, Terms};
use super::gate::{Gate, Hold, Thresholds};
use super::law::{self, Law, Parts, Tightest};
use super::ledger::{Change, Ledger};
use super::limit::{Limit, Ramps};
use super::pressure::{PerResource, Pressure, Rates};
use super::reading::Reading;
use super::ticker::{self, Ticker};
use super::time::Moment;
use std::time::Duration;

/// While somebody waits for a lease the regulator is to be told the time at least so often.
const LOOK: Duration = Duration::from_secs(1);

/// Who is told the time so much later than it asked has stood still, and its clients most likely with it: a frozen
/// container, a suspended machine, a stopped server. Nobody has waited meanwhile.
const STANDSTILL: Duration = Duration::from_secs(3);

/// What a gate is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The most jobs that may ever run at once, 1 or more.
    pub jobs: u32,
    /// Usable cpus, 1 or more.
    pub cpus: u32,
    /// Pressure thresholds.
    pub thresholds: Thresholds,
    /// What a held gate holds back.
    pub hold: Hold,
    /// The time between two beats.
    pub heartbeat: Duration,
    /// By what the limit is found.
    pub law: law::Terms,
    /// The highest load average per cpu; it counts where no pressure is watched.
    pub max_load: Option<f64>,
}

impl Settings {
    /// A fixed pool of so many jobs, nothing watched.
    pub fn new(jobs: u32, cpus: u32) -> Settings {
        Settings {
            jobs,
            cpus,
            thresholds: Thresholds::default(),
            hold: Hold::All,
            heartbeat: ticker::DEFAULT_HEARTBEAT,
            law: law::Terms::default(),
            max_load: None,
        }
    }

    /// What has to be looked at.
    pub fn wants(&self) -> Wants {
        Wants {
            pressure: PerResource::from_fn(|resource| self.thresholds.get(resource).is_some()),
            law: self.law.kind == law::Kind::Adaptive,
            memory: self.law.reserve.is_some(),
            load: self.max_load.is_some(),
            recorded: false,
        }
    }

    fn ramps(&self) -> Ramps {
        match self.law.kind {
            law::Kind::Fixed => Ramps::AfterHolds,
            law::Kind::Adaptive => Ramps::Always,
        }
    }
}

/// What has to be looked at of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wants {
    /// Pressure that has a threshold.
    pub pressure: PerResource<bool>,
    /// All that the adaptive law goes by, as far as it is there.
    pub law: bool,
    /// Memory.
    pub memory: bool,
    /// The load average.
    pub load: bool,
    /// All that can be had, because somebody writes it down: it may change nothing else.
    pub recorded: bool,
}

impl Wants {
    /// Whether there is nothing to look at.
    pub fn is_nothing(&self) -> bool {
        *self == Wants::default()
    }
}

/// How the limit was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How many jobs may run.
    pub limit: u32,
    /// What bounds it.
    pub tightest: Tightest,
    /// What each part says.
    pub parts: Parts,
}

/// What the regulator is told.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// It is `now`; to be told at the deadline, harmless at any time.
    Time,
    /// A client comes, perhaps with what it has from a gate that is gone.
    Join(ClientId, Terms, Option<Claim>),
    /// A client is gone.
    Leave(ClientId),
    /// How a client stands.
    Report(ClientId, Report),
    /// A client uses its lease.
    Started(ClientId),
    /// Job control stopped a client's tree.
    Stopped(ClientId),
    /// That tree goes on.
    Continued(ClientId),
    /// The job that a client borrows its lease from is over.
    LoanOver(ClientId),
    /// Where a client was started that came before those around it is known by now: in a job that lends, or in none.
    Placed(ClientId, Option<Loan>),
    /// Other settings from here on.
    Settings(Settings),
    /// The jobs of those who are here become as large as that, in bytes, as far as is known; 0: nothing is.
    JobSize(u64),
    /// How the machine stands, looked at now.
    Sample(Reading),
    /// The pressure counters can't be read (any more).
    Blind,
}

/// What the regulator wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell a client.
    Tell(Change),
    /// Look at the machine and tell.
    Sample,
}

/// See the module.
#[derive(Debug)]
pub struct Regulator {
    settings: Settings,
    ledger: Ledger,
    limit: Limit,
    law: Law,
    verdict: Verdict,
    gate: Gate,
    pressure: Pressure,
    beat: Ticker,
    tick: Ticker,
    ticking: bool,
    /// Beats and samples go on though nothing is watched.
    recorded: bool,
    wants_sample: bool,
    /// When a sample was last asked for.
    sampled: Option<Moment>,
    /// The last one, while the pressure goes on from it.
    last: Option<(Moment, Reading)>,
    /// Nothing is issued.
    recovering: Option<Recovery>,
    /// When it was last told anything.
    told: Moment,
}

/// Who is told that a silence is over later than that may not have listened all the time.
const LATE: Duration = Duration::from_millis(50);

/// The clients of a gate that died are heard first.
#[derive(Clone, Copy, Debug)]
struct Recovery {
    quiet: Duration,
    until: Moment,
    most: Moment,
}

impl Regulator {
    /// A regulator without clients.
    pub fn new(settings: Settings, now: Moment) -> Regulator {
        let gate = Gate::new(settings.thresholds, settings.max_load);
        let limit = Limit::new(settings.jobs, settings.cpus, settings.ramps());
        let mut law = Law::new(settings.law, settings.cpus);
        let gate_watches = gate.is_watching();
        Regulator {
            settings,
            ledger: Ledger::default(),
            verdict: verdict(&mut law, &limit, now, 0),
            limit,
            law,
            wants_sample: gate_watches,
            gate,
            pressure: Pressure::default(),
            beat: Ticker::new(settings.heartbeat, now),
            tick: Ticker::new(ticker::tick(settings.heartbeat), now),
            ticking: false,
            recorded: false,
            last: None,
            sampled: gate_watches.then_some(now),
            recovering: None,
            told: now,
        }
    }

    /// Issues nothing until no client of a gate that died has come for so long, to say what it holds; `most`: but no longer than
    /// that.
    pub fn recover(&mut self, now: Moment, quiet: Duration, most: Duration) {
        self.recovering = Some(Recovery { quiet, until: now + quiet, most: now + most });
    }

    /// Sets the most tokens that one user may have: by uid, and for all not named.
    pub fn set_quota(&mut self, of_users: Vec<(u32, u32)>, of_others: Option<u32>) {
        self.ledger.set_quota(of_users, of_others);
    }

    /// Whether beats and samples go on though nothing is watched, because somebody writes them down. Nothing else depends on it.
    pub fn record(&mut self, now: Moment, recorded: bool) {
        let was_beating = self.is_beating();
        self.recorded = recorded;
        self.resume_beating(now, was_beating);
    }

    fn is_beating(&self) -> bool {
        self.is_watching() || self.recorded
    }

    fn resume_beating(&mut self, now: Moment, was_beating: bool) {
        if self.is_beating() && !was_beating {
            self.beat.resume(now);
            self.tick.resume(now);
            self.look(now, true);
        }
    }

    /// Feed: something happened at `now`.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.note(now, input);
        self.settle(now);
    }

    /// The same where more is to come at this moment: nothing follows from it before `settle`, or the next `handle`.
    pub fn note(&mut self, now: Moment, input: Input) {
        let gap = now.since(self.told);
        self.told = now;
        if gap > STANDSTILL {
            self.ledger.stand_still(gap);
        }
        if let Some(recovery) = self.recovering.as_mut().filter(|recovery| gap > recovery.quiet + LATE) {
            // We stood still ourselves, and have heard nobody.
            (recovery.until, recovery.most) = (now + recovery.quiet, recovery.most + gap);
        }
        match input {
            Input::Time => self.pass(now),
            Input::Join(id, terms, claim) => {
                if let (Some(recovery), Some(_)) = (&mut self.recovering, claim) {
                    // On a busy machine they come one by one.
                    recovery.until = (now + recovery.quiet).min(recovery.most);
                }
                let was_beating = self.is_beating();
                self.ledger.join(now, id, terms, claim);
                // Where nobody was there nobody looked.
                self.resume_beating(now, was_beating);
            }
            Input::Leave(id) => self.ledger.leave(id),
            Input::Report(id, report) => self.ledger.report(now, id, report),
            Input::Started(id) => self.ledger.started(id),
            Input::Stopped(id) => self.ledger.stop(id, true),
            Input::Continued(id) => self.ledger.stop(id, false),
            Input::LoanOver(id) => self.ledger.end_loan(id),
            Input::Placed(id, loan) => self.ledger.place(id, loan),
            Input::Settings(settings) => self.set(now, settings),
            Input::JobSize(bytes) => self.law.expect(bytes),
            Input::Sample(reading) => self.judge(now, &reading),
            Input::Blind => {
                self.gate.stop_watching();
                self.limit.end_ramp();
            }
        }
    }

    /// Drain: what to do next, until `None`.
    pub fn poll(&mut self) -> Option<Action> {
        if std::mem::take(&mut self.wants_sample) {
            return Some(Action::Sample);
        }
        self.ledger.poll().map(Action::Tell)
    }

    /// When `Input::Time` is due; `None`: never, nothing depends on time.
    ///
    /// Nothing is watched nor recorded: no beats. Else: every beat; and every tick while a token is held or the gate is held. While
    /// somebody waits for a lease: every second, so that a standstill is seen as one.
    pub fn deadline(&self) -> Option<Moment> {
        let beat = self.is_beating().then(|| self.beat.next());
        let tick = (self.is_beating() && self.ticking).then(|| self.tick.next());
        let look = self.ledger.is_waited_for().then(|| self.told + LOOK);
        let recovered = self.recovering.map(|recovery| recovery.until);
        [beat, tick, look, recovered, self.ledger.deadline(self.door())].into_iter().flatten().min()
    }

    /// Whether time matters: thresholds are always watched, what the law needs while anybody is there.
    fn is_watching(&self) -> bool {
        self.gate.is_watching() || (self.settings.law.is_watching() && !self.accounts().is_empty())
    }

    /// Whether there is anything to look at the machine for.
    fn may_watch(&self) -> bool {
        self.gate.is_watching() || self.settings.law.is_watching()
    }

    /// How many jobs may run now.
    pub fn limit(&self) -> u32 {
        self.verdict.limit
    }

    /// How that was found.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What the law goes by.
    pub fn law(&self) -> &Law {
        &self.law
    }

    /// What it is set to.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The pressure.
    pub fn rates(&self) -> Rates {
        self.pressure.rates()
    }

    /// The last look at the machine, and before it, the oldest first, what is still known of earlier ones: their pressure.
    pub fn looks(&self) -> impl DoubleEndedIterator<Item = (Moment, Reading)> {
        let last = self.last;
        let before =
            self.pressure.samples().filter(move |(when, _)| last.is_none_or(|(last, _)| *when < last));
        before.map(|(when, some)| (when, Reading::from(some))).chain(last)
    }

    /// Beats so far, and those that came too late to fire.
    pub fn beats(&self) -> (u64, u64) {
        (self.beat.fired(), self.beat.missed())
    }

    /// Whether the limit is growing back after a hold.
    pub fn is_ramping(&self) -> bool {
        self.limit.is_ramping()
    }

    /// All clients, in the order they came.
    pub fn accounts(&self) -> &[Account] {
        self.ledger.accounts()
    }

    /// One client.
    pub fn account(&self, id: ClientId) -> Option<&Account> {
        self.accounts().iter().find(|account| account.id() == id)
    }

    /// Tokens out: leases and what is held.
    pub fn out(&self) -> u32 {
        self.ledger.out()
    }

    /// What all clients pay for.
    pub fn charge(&self) -> u32 {
        self.ledger.charge()
    }

    /// What may be issued now.
    pub fn door(&self) -> Door {
        match self.settings.hold {
            _ if self.recovering.is_some() => Door::Recovering,
            Hold::All if self.gate.is_held() => Door::Held,
            Hold::Starts if self.gate.is_held() => Door::StartsHeld,
            Hold::All | Hold::Starts => Door::Open,
        }
    }

    /// Time has passed: a beat or a tick may be due, and both look at the pressure.
    fn pass(&mut self, now: Moment) {
        self.recovering = self.recovering.filter(|recovery| now < recovery.until);
        let beat = self.beat.due(now);
        let tick = self.ticking && self.tick.due(now);
        self.look(now, (beat || tick) && self.is_beating());
    }

    /// Wants a sample, if it is `due`. Beat and tick may fall close together; the counters must not be read that fast.
    fn look(&mut self, now: Moment, due: bool) {
        let is_soon = self.sampled.is_some_and(|when| now.since(when) < ticker::SHORTEST_INTERVAL);
        if due && (self.may_watch() || self.recorded) && !is_soon {
            (self.wants_sample, self.sampled) = (true, Some(now));
        }
    }

    fn set(&mut self, now: Moment, settings: Settings) {
        let (was_watching, was_beating) = (self.gate.is_watching(), self.is_beating());
        let is_another_law = settings.law != self.settings.law;
        self.settings = settings;
        self.limit.set_ceiling(settings.jobs);
        self.limit.set_growth(settings.cpus, settings.ramps());
        self.law.set(settings.law, settings.cpus);
        self.gate.set(settings.thresholds, settings.max_load);
        self.beat.set(settings.heartbeat, now);
        self.tick.set(ticker::tick(settings.heartbeat), now);
        if self.gate.is_watching() && !was_watching {
            (self.pressure, self.last) = (Pressure::default(), None);
            (self.wants_sample, self.sampled) = (true, Some(now));
        }
        self.resume_beating(now, was_beating);
        if !self.may_watch() {
            self.limit.end_ramp(); // nobody steps it any more
        }
        self.look(now, is_another_law && settings.law.is_watching());
    }

    fn judge(&mut self, now: Moment, reading: &Reading) {
        let was_held = self.gate.is_held();
        self.pressure.add(now, reading.some);
        self.last = Some((now, *reading));
        self.gate.judge(self.pressure.rates(), reading.load);
        self.law.look(now, reading, self.settings.jobs);
        self.limit.set_growth(self.law.cpus(), self.settings.ramps());
        match (was_held, self.gate.is_held()) {
            (true, false) if self.settings.hold == Hold::All => self.limit.release(now),
            (false, false) => self.limit.step(now),
            (true, false) | (true, true) | (false, true) => {}
        }
    }

    /// Brings limit, allotments, the ramp's memory and the ticker in line with what is known.
    pub fn settle(&mut self, now: Moment) {
        self.law.note(now, self.ledger.out(), self.ledger.issued());
        self.verdict = verdict(&mut self.law, &self.limit, now, self.ledger.out());
        self.ledger.settle(now, self.verdict.limit, self.door());
        self.law.note(now, self.ledger.out(), self.ledger.issued());
        if self.may_watch() {
            self.limit.note(now, self.ledger.out());
        }
        // The tick keeps its phase while nothing is held: with jobs shorter than a tick that is so every other moment.
        // By a law somebody may be left with its lease alone, and want more.
        let is_wanted = || self.settings.law.is_watching() && self.accounts().iter().any(Account::is_hungry);
        self.ticking =
            self.ledger.held() > 0 || self.gate.is_held() || self.ledger.is_waited_for() || is_wanted();
        let usual = ticker::tick(self.settings.heartbeat);
        let close = if self.law.is_close(now) { law::CLOSE_TICK } else { usual };
        self.tick.pace(close.min(usual), now);
    }
}

/// The limit while `jobs` are out.
fn verdict(law: &mut Law, limit: &Limit, now: Moment, jobs: u32) -> Verdict {
    let parts = law.parts(now, jobs, limit);
    let (limit, tightest) = parts.tightest(limit.ceiling());
    Verdict { limit, tightest, parts }
}

#[cfg(test)]
mod tests;
