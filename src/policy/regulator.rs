//! The regulator: everything that decides, behind three calls: `handle`, `poll`, `deadline`.
//!
//! Doesn't know endpoints or kernel files: it is told how many tokens are held and what the pressure counters say,
//! and answers with an allotment.

use super::gate::{Gate, Hold, Thresholds};
use super::ledger::Ledger;
use super::limit::Limit;
use super::pressure::{Pressure, Rates, Totals};
use super::ticker::{self, Ticker};
use super::time::Moment;
use std::time::Duration;

/// What a gate is set to.
#[derive(Clone, Copy, Debug)]
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
}

/// What the regulator is told.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// It is `now`; to be told at the deadline, harmless at any time.
    Time,
    /// The tree holds so many tokens.
    Held(u32),
    /// The pressure counters, read now.
    Sample(Totals),
    /// The pressure counters can't be read (any more).
    Blind,
    /// Job control stopped the tree.
    Stopped,
    /// The tree goes on.
    Continued,
}

/// What the regulator wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let the tree hold so many tokens: offer or withdraw accordingly.
    Allot(u32),
    /// Read the pressure counters and tell.
    Sample,
}

/// What `status` shows.
#[derive(Clone, Debug)]
pub struct Status<'a> {
    /// How many jobs may run now.
    pub limit: u32,
    /// The most that may ever.
    pub jobs: u32,
    /// Tokens paid for implicit slots.
    pub lease: u32,
    /// Tokens held.
    pub held: u32,
    /// Tokens held above the allotment.
    pub owed: u32,
    /// Whether job control has stopped the tree.
    pub stopped: bool,
    /// Whether the limit is growing back after a hold.
    pub ramping: bool,
    /// The gate.
    pub gate: &'a Gate,
    /// What it holds back while it is held.
    pub hold: Hold,
    /// The pressure.
    pub rates: Rates,
    /// Beats so far, and those that came too late to fire.
    pub beats: (u64, u64),
}

/// See the module.
#[derive(Debug)]
pub struct Regulator {
    hold: Hold,
    ledger: Ledger,
    limit: Limit,
    gate: Gate,
    pressure: Pressure,
    beat: Ticker,
    tick: Ticker,
    ticking: bool,
    stopped: bool,
    told: Option<u32>,
    wants_sample: bool,
    /// When a sample was last asked for.
    sampled: Moment,
}

impl Regulator {
    /// A regulator whose tree has paid its lease.
    pub fn new(settings: Settings, now: Moment) -> Regulator {
        let mut regulator = Regulator {
            hold: settings.hold,
            ledger: Ledger::with_lease(settings.jobs),
            limit: Limit::new(settings.jobs, settings.cpus),
            gate: Gate::new(settings.thresholds),
            pressure: Pressure::default(),
            beat: Ticker::new(settings.heartbeat, now),
            tick: Ticker::new(ticker::tick(settings.heartbeat), now),
            ticking: false,
            stopped: false,
            told: None,
            wants_sample: false,
            sampled: now,
        };
        regulator.wants_sample = regulator.gate.is_watching();
        regulator.settle(now);
        regulator
    }

    /// Feed: something happened at `now`.
    pub fn handle(&mut self, now: Moment, input: Input) {
        match input {
            Input::Time => self.pass(now),
            Input::Held(held) => self.ledger.hold(held),
            Input::Sample(totals) => self.judge(now, totals),
            Input::Blind => {
                self.gate.stop_watching();
                self.limit.end_ramp();
            }
            Input::Stopped => self.stopped = true,
            Input::Continued => self.stopped = false,
        }
        self.settle(now);
    }

    /// Drain: what to do next, until `None`.
    pub fn poll(&mut self) -> Option<Action> {
        if std::mem::take(&mut self.wants_sample) {
            return Some(Action::Sample);
        }
        let allotment = self.ledger.allotment();
        if self.told == Some(allotment) {
            return None;
        }
        self.told = Some(allotment);
        Some(Action::Allot(allotment))
    }

    /// When `Input::Time` is due; `None`: never, nothing depends on time.
    ///
    /// Nothing is watched: no beats. Watched: every beat; and every tick while a token is held or the gate is held.
    pub fn deadline(&self) -> Option<Moment> {
        if !self.gate.is_watching() {
            None
        } else if self.ticking {
            Some(self.beat.next().min(self.tick.next()))
        } else {
            Some(self.beat.next())
        }
    }

    /// Everything a user may ask.
    pub fn status(&self) -> Status<'_> {
        Status {
            limit: self.limit.now(),
            jobs: self.limit.ceiling(),
            lease: self.ledger.lease(),
            held: self.ledger.held(),
            owed: self.ledger.owed(),
            stopped: self.stopped,
            ramping: self.limit.is_ramping(),
            gate: &self.gate,
            hold: self.hold,
            rates: self.pressure.rates(),
            beats: (self.beat.fired(), self.beat.missed()),
        }
    }

    /// Time has passed: a beat or a tick may be due, and both look at the pressure.
    fn pass(&mut self, now: Moment) {
        let beat = self.beat.due(now);
        let tick = self.ticking && self.tick.due(now);
        // Beat and tick may fall close together; the counters must not be read that fast.
        let is_soon = now.since(self.sampled) < ticker::SHORTEST_INTERVAL;
        if (beat || tick) && !is_soon && self.gate.is_watching() {
            self.wants_sample = true;
            self.sampled = now;
        }
    }

    fn judge(&mut self, now: Moment, totals: Totals) {
        let was_held = self.gate.is_held();
        self.pressure.add(now, totals);
        self.gate.judge(self.pressure.rates());
        match (was_held, self.gate.is_held()) {
            (true, false) if self.hold == Hold::All => self.limit.release(now),
            (false, false) => self.limit.step(now),
            (true, false) | (true, true) | (false, true) => {}
        }
    }

    /// Brings the allotment, the ramp's memory and the ticker in line with what is known.
    fn settle(&mut self, now: Moment) {
        let held_back = self.gate.is_held() && self.hold == Hold::All;
        self.ledger.allot(self.limit.now(), !held_back && !self.stopped);
        if self.gate.is_watching() {
            self.limit.note(now, self.ledger.out());
        }
        // The tick keeps its phase while nothing is held: with jobs shorter than a tick that is so every other moment.
        self.ticking = self.ledger.held() > 0 || self.gate.is_held();
    }
}
