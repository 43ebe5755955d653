//! What a journal says over its whole time: who ran how many jobs when, the limit, the pressure, when the gate was held, and what
//! held the build back.
//!
//! Doesn't know how it is drawn. Whatever records say, taking them in never fails: a journal may be damaged, and of a gate that
//! died and came again.

use super::clock::Clock;
use super::grid::{Grid, Line};
use super::levels::Levels;
use super::words::{percent, span};
use crate::policy::pressure::{PerResource, Pressure, Resource};
use crate::policy::time::Moment;
use crate::proto::journal::{Header, Record, Total};
use crate::proto::scene::Scene;
use crate::proto::text::printable;
use std::collections::BTreeMap;
use std::time::Duration;

/// Of more spans than this in which the gate was held the shortest aren't told one by one.
const MOST_SPANS: usize = 400;

/// What kept those waiting who wanted more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Something over its threshold held the gate.
    Gate(String),
    /// The part of the law that bound the limit.
    Law(String),
    /// All the jobs that there may be were out.
    Ceiling,
    /// The gate had just come anew.
    Recovery,
}

/// A time in which the gate was held. Microseconds since the beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// From then ...
    pub from: u64,
    /// ... up to then.
    pub until: u64,
    /// By what, in words.
    pub why: String,
}

/// One client. Times are microseconds since the beginning.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What it runs.
    pub label: String,
    /// Its proxy's process; 0: isn't shown.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// When it came ...
    pub came: u64,
    /// ... and left.
    pub left: u64,
    /// Tokens times seconds.
    pub token_s: f64,
    /// Seconds that it waited for its lease.
    pub waited_s: f64,
    /// The most jobs at once.
    pub peak: u32,
    /// How many ran.
    pub line: Line,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Story {
    /// The first header, and the settings at the end.
    pub header: Header,
    /// The last scene.
    pub scene: Scene,
    /// How wide columns are.
    pub grid: Grid,
    /// The last moment, microseconds since the beginning.
    pub until: u64,
    /// In the order in which they came.
    pub clients: Vec<Told>,
    /// All of them together.
    pub running: Line,
    /// The limit.
    pub limit: Line,
    /// Pressure, in microseconds per second.
    pub pressure: [Line; 3],
    /// How long that was how high while jobs ran.
    pub levels: [Levels; 3],
    /// Thresholds, likewise.
    pub thresholds: [Line; 3],
    /// 1 while the gate was held.
    pub hold: Line,
    /// When it was held for the longest.
    pub held: Vec<Span>,
    /// Seconds of that, in all.
    pub held_s: f64,
    /// Seconds that somebody wanted more, by what kept it waiting.
    pub causes: BTreeMap<Cause, f64>,
    /// Beats, those that were missed, and when.
    pub beats: u64,
    /// How many were missed.
    pub missed: u64,
    /// When some were, and how many.
    pub misses: Vec<(u64, u64)>,
    /// When something isn't told, and what.
    pub gaps: Vec<(u64, String)>,
    /// The most jobs at once.
    pub peak: u32,
    clock: Clock,
    /// Those who are there, by their numbers: which of `clients`, how many run since when.
    here: BTreeMap<u64, Here>,
    /// Those of this gate who were described so far: a later header describes them again.
    known: BTreeMap<u64, usize>,
    shortest: u64,
    gauge: Pressure,
    rates: PerResource<Option<f64>>,
}

#[derive(Clone, Copy, Debug)]
struct Here {
    which: usize,
    running: u32,
    since: u64,
}

fn cause_name(of: &str) -> &str {
    match of {
        "cpu" => "pressure on the cpus",
        "io" => "pressure on io",
        "memory" => "pressure on memory",
        "load" => "the load average",
        other => other,
    }
}

impl Story {
    /// What happened next.
    pub fn take(&mut self, record: &Record) {
        if let Record::Header(header) = record {
            self.open(header);
        }
        // No clock goes back.
        let now = self.clock.at(record.t()).max(self.until);
        self.pass(now);
        match record {
            Record::Header(_) | Record::Gone(_) => self.close_all(now),
            Record::Leave(total) => self.leave(now, total),
            Record::End(end) => end.of.iter().for_each(|total| self.leave(now, total)),
            Record::Dropped(dropped) => {
                self.gaps.push((now, format!("{} records are missing", dropped.records)))
            }
            Record::Blind(_) => self.rates = PerResource::default(),
            Record::Sample(sample) => {
                let moment = Moment::at(Duration::from_micros(sample.t));
                self.gauge.add(moment, sample.reading().some);
                self.rates = self.gauge.rates();
            }
            Record::Beat(beat) => {
                self.beats += 1;
                let before = self.scene.beat;
                if before.beat > 0 && beat.missed > before.missed {
                    let missed = beat.missed - before.missed;
                    self.missed = self.missed.saturating_add(missed);
                    self.misses.push((now, missed));
                }
            }
            _ => {}
        }
        if let Record::Gone(gone) = record {
            self.gaps.push((now, printable(&gone.why)));
        }
        let was_held = self.scene.gate.state == "held";
        self.scene.take(record);
        match record {
            Record::Join(join) => {
                let which = self.known.get(&join.id).copied().unwrap_or(self.clients.len());
                self.here.insert(join.id, Here { which, running: 0, since: now });
                if which == self.clients.len() {
                    self.known.insert(join.id, which);
                    let (label, pid, uid) = (printable(&join.label), join.pid, join.uid);
                    self.clients.push(Told { label, pid, uid, came: now, left: now, ..Told::default() });
                }
            }
            Record::Clients(changes) => {
                changes.of.iter().for_each(|change| self.change(now, change.id, change.peak));
                self.peak = self.peak.max(self.scene.running()).max(changes.peak.unwrap_or(0));
                self.running.touch(self.grid, now, f64::from(changes.peak.unwrap_or(0)));
            }
            Record::Gate(gate) => self.note_gate(now, was_held, gate.state == "held"),
            _ => {}
        }
    }

    /// Nothing follows.
    pub fn end(&mut self) {
        let now = self.until;
        self.close_all(now);
        self.end_span(now, self.scene.gate.state == "held");
    }

    /// Seconds that it took.
    pub fn seconds(&self) -> f64 {
        self.until as f64 / 1e6
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.grid.column(self.until.saturating_sub(1)) + 1
    }

    /// One sentence that says what held the build back most.
    pub fn verdict(&self) -> String {
        let wanted: f64 = self.causes.values().sum();
        let most = self.causes.iter().max_by(|one, other| one.1.total_cmp(other.1));
        let Some((cause, &seconds)) = most.filter(|_| wanted >= self.seconds() / 100.0) else {
            return "Nothing held it back: whoever could use more jobs had them.".to_owned();
        };
        let (time, all) = (span(seconds), span(self.seconds()));
        let part = percent(seconds, self.seconds());
        let what = match cause {
            Cause::Gate(of) => format!("the gate, held because of {}", cause_name(of)),
            Cause::Law(part) => match part.as_str() {
                "cpu" => "the cpus: more jobs would only have waited for them".to_owned(),
                "io" => "io: all work waited for the disks".to_owned(),
                "memory" => "memory: there was no room for more jobs".to_owned(),
                _ => "the limit itself, which grew step by step".to_owned(),
            },
            Cause::Ceiling => format!("-j: all {} jobs that may run did", self.scene.settings.jobs),
            Cause::Recovery => "the gate, which had come anew".to_owned(),
        };
        format!("What held it back most was {what}; more jobs could have run for {time} of {all} ({part}).")
    }

    /// A gate is described from here on.
    fn open(&mut self, header: &Header) {
        if !self.clock.is_set() {
            self.header = header.clone();
        }
        if self.clock.open(header, self.until) {
            self.known.clear();
            (self.gauge, self.rates) = (Pressure::default(), PerResource::default());
        }
    }

    /// All goes on as it was up to then.
    fn pass(&mut self, now: u64) {
        if now <= self.until {
            return;
        }
        while self.grid.is_full(now) {
            self.join_columns();
        }
        let (from, grid, seconds) = (self.until, self.grid, (now - self.until) as f64 / 1e6);
        self.until = now;
        let scene = &self.scene;
        if scene.is_gone || scene.is_over || !self.clock.is_set() {
            return;
        }
        self.running.add(grid, from, now, f64::from(scene.running()));
        if scene.limit.limit > 0 {
            self.limit.add(grid, from, now, f64::from(scene.limit.limit));
        }
        for resource in Resource::ALL {
            if let Some(rate) = self.rates.get(resource) {
                self.pressure[resource as usize].add(grid, from, now, rate);
                if scene.running() > 0 {
                    self.levels[resource as usize].add(rate, seconds);
                }
            }
            if let Some(&max) = scene.settings.max.get(resource.name()) {
                self.thresholds[resource as usize].add(grid, from, now, max);
            }
        }
        let is_held = scene.gate.state == "held";
        if is_held {
            self.held_s += seconds;
            self.hold.add(grid, from, now, 1.0);
        }
        if scene.clients.values().any(|client| client.wants() && !client.stopped) {
            let cause = match scene.gate.state.as_str() {
                "held" => {
                    Cause::Gate(scene.gate.reasons.first().map_or("pressure", |why| &why.resource).to_owned())
                }
                "recovering" => Cause::Recovery,
                _ => match scene.limit.tightest.as_str() {
                    part @ ("cpu" | "io" | "memory" | "growth") => Cause::Law(part.to_owned()),
                    _ => Cause::Ceiling,
                },
            };
            *self.causes.entry(cause).or_default() += seconds;
        }
    }

    fn join_columns(&mut self) {
        self.grid.join();
        let lines = self.clients.iter_mut().map(|client| &mut client.line);
        let lines = lines.chain([&mut self.running, &mut self.limit, &mut self.hold]);
        lines.chain(&mut self.pressure).chain(&mut self.thresholds).for_each(Line::join);
    }

    /// One may have changed how many jobs it runs.
    fn change(&mut self, now: u64, id: u64, peak: Option<u32>) {
        let Some(client) = self.scene.clients.get(&id) else { return };
        let Some(here) = self.here.get_mut(&id) else { return };
        let told = &mut self.clients[here.which];
        let running = client.running();
        if running != here.running {
            told.line.add(self.grid, here.since, now, f64::from(here.running));
            (here.running, here.since) = (running, now);
        }
        told.peak = told.peak.max(running).max(peak.unwrap_or(0));
    }

    fn leave(&mut self, now: u64, total: &Total) {
        if let Some(here) = self.here.remove(&total.id) {
            self.finish(now, here, total);
        }
    }

    /// What is known of it by then is all.
    fn finish(&mut self, now: u64, here: Here, total: &Total) {
        let told = &mut self.clients[here.which];
        told.line.add(self.grid, here.since, now, f64::from(here.running));
        told.left = now;
        told.token_s += total.token_s;
        told.waited_s += total.waited_s;
        told.peak = told.peak.max(total.peak);
        self.peak = self.peak.max(told.peak);
    }

    /// Those who are there are described anew, or nobody is any more.
    fn close_all(&mut self, now: u64) {
        let t = self.scene.t;
        for (id, here) in std::mem::take(&mut self.here) {
            if let Some(total) = self.scene.clients.get(&id).map(|client| client.total(t)) {
                self.finish(now, here, &total);
            }
        }
    }

    fn note_gate(&mut self, now: u64, was_held: bool, is_held: bool) {
        self.end_span(now, was_held && !is_held);
        if !is_held || was_held {
            return;
        }
        let why = self.scene.gate.reasons.iter().map(|why| match why.resource.as_str() {
            "load" => format!("load {:.2} > {:.2} per cpu", why.rate, why.max),
            of => format!("{of} {:.0} > {:.0} us/s", why.rate, why.max),
        });
        let why = why.collect::<Vec<_>>().join(", ");
        self.held.push(Span { from: now, until: now, why });
        while self.held.len() > MOST_SPANS {
            self.shortest = (self.shortest * 2).max(1_000);
            let (shortest, last) = (self.shortest, self.held.len() - 1);
            let mut at = 0..;
            self.held.retain(|span| at.next() == Some(last) || span.until - span.from >= shortest);
        }
    }

    fn end_span(&mut self, now: u64, is_over: bool) {
        if is_over && let Some(span) = self.held.last_mut() {
            span.until = now;
        }
    }
}
