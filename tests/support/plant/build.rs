//! One build on the plant: jobs that want cpu time, wait now and then, and grow; and its proxy, which tells what
//! `src/proxy/link.rs` tells.
//!
//! Doesn't know the machine.

use super::roll;
use jobgate::policy::account::{Appetite, ClientId, Report};
use jobgate::policy::appetite::{Appetite as Tracker, Word};
use jobgate::policy::time::Moment;
use std::time::Duration;

/// What is to be built.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// How many jobs.
    pub jobs: u32,
    /// What each takes of a cpu on average, in ms; half to one and a half of it.
    pub length: u64,
    /// How much of its time each waits for something else, in percent.
    pub waits: u64,
    /// MiB that each comes to use on average ...
    pub memory: u64,
    /// ... give or take half of so many percent of it.
    pub spread: u64,
    /// It asks for no token before then, in ms: its implicit job sleeps.
    pub idle_until: u64,
}

impl Work {
    /// Jobs that compute, 5 % of their time apart, for as long as `seconds` on `cpus`.
    pub fn computing(cpus: u32, length: u64, seconds: u64) -> Work {
        let jobs = (u64::from(cpus) * seconds * 1000).div_ceil(length) as u32;
        Work { jobs, length, waits: 5, memory: 50, spread: 100, idle_until: 0 }
    }
}

/// A job. It can't be revoked.
#[derive(Debug)]
pub struct Job {
    /// ms of cpu time, done and to be done.
    done: f64,
    length: f64,
    /// MiB at the end of its growth, after two thirds of its work.
    memory: u64,
    waits: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Build {
    /// Its number.
    pub id: ClientId,
    /// What runs; one job of them without a token.
    pub jobs: Vec<Job>,
    work: Work,
    left: u32,
    leased: bool,
    just_started: bool,
    allotment: u32,
    serial: u64,
    reported: Option<(u64, u32)>,
    tracker: Tracker,
    asked: u64,
}

impl Build {
    /// It waits for its lease.
    pub fn new(work: Work) -> Build {
        Build {
            id: 0,
            jobs: Vec::new(),
            work,
            left: work.jobs,
            leased: false,
            just_started: false,
            allotment: 0,
            serial: 0,
            reported: None,
            tracker: Tracker::new(Duration::from_millis(30), Moment::default()),
            asked: 0,
        }
    }

    /// It may hold so many.
    pub fn allot(&mut self, tokens: u32, serial: u64) {
        (self.allotment, self.serial) = (tokens, serial);
    }

    /// Its lease is there.
    pub fn start(&mut self) {
        (self.leased, self.just_started) = (true, true);
    }

    /// Once after its lease has come.
    pub fn has_just_started(&mut self) -> bool {
        std::mem::take(&mut self.just_started)
    }

    /// Tokens held: all jobs but one have one.
    fn held(&self) -> u32 {
        (self.jobs.len() as u32).saturating_sub(1)
    }

    /// How many of its jobs want a cpu now.
    pub fn wake(&mut self, mut percent: impl FnMut() -> u64) -> u32 {
        let waits = self.work.waits;
        self.jobs.iter_mut().for_each(|job| job.waits = percent() < waits);
        self.jobs.iter().filter(|job| !job.waits).count() as u32
    }

    /// Those get so many ms.
    pub fn compute(&mut self, ms: f64) {
        self.jobs.iter_mut().filter(|job| !job.waits).for_each(|job| job.done += ms);
    }

    /// MiB that it uses.
    pub fn memory(&self) -> u64 {
        self.jobs.iter().map(Job::memory).sum()
    }

    /// Its largest job, in MiB.
    pub fn largest(&self) -> u64 {
        self.jobs.iter().map(Job::memory).max().unwrap_or(0)
    }

    /// Kills that one; whether there was one.
    pub fn kill_largest(&mut self) -> bool {
        let largest = self.largest();
        let at = self.jobs.iter().position(|job| job.memory() == largest);
        at.map(|at| self.jobs.swap_remove(at)).is_some()
    }

    /// Ends what is done and starts what it may.
    pub fn serve(&mut self, now: u64) {
        self.jobs.retain(|job| job.done < job.length);
        if !self.leased || now < self.work.idle_until {
            return;
        }
        while self.left > 0 && (self.jobs.is_empty() || self.held() < self.allotment) {
            // The same for each job whatever the law.
            let mut random = u64::from(self.left) * 7919;
            let mut around = |mean: u64, spread: u64| mean - spread / 2 + roll(&mut random, spread + 1);
            let Work { length, memory, spread, .. } = self.work;
            let length = around(length, length) as f64;
            let memory = around(memory, memory * spread / 100);
            self.jobs.push(Job { done: 0.0, length, memory, waits: false });
            self.left -= 1;
        }
    }

    /// Whether jobs are left that haven't been started.
    pub fn has_more(&self) -> bool {
        self.left > 0
    }

    /// Starts nothing more, and what runs is nearly done.
    pub fn abandon(&mut self) {
        self.left = 0;
        self.leased = true;
        self.jobs.iter_mut().for_each(|job| job.done = job.length);
    }

    /// All is built.
    pub fn is_over(&self) -> bool {
        self.left == 0 && self.jobs.is_empty()
    }

    /// What its proxy has to tell.
    pub fn report(&mut self, now: u64) -> Option<Report> {
        let now = Moment::at(Duration::from_millis(now));
        let held = self.held();
        if self.asked != self.serial {
            self.asked = self.serial;
            self.tracker.ask();
        }
        self.tracker.saw(now, self.allotment, held);
        let appetite = self.tracker.poll(now).map(|word| match word {
            Word::Full => Appetite::Full,
            Word::Slack(used) => Appetite::Slack(used),
        });
        let news = match self.reported {
            None => true,
            Some((serial, before)) => {
                serial != self.serial
                    || (held != before && (held >= self.allotment || before > self.allotment))
            }
        };
        if !self.leased || (!news && appetite.is_none()) {
            return None;
        }
        self.reported = Some((self.serial, held));
        Some(Report { serial: self.serial, held, appetite })
    }
}

impl Job {
    fn memory(&self) -> u64 {
        (self.memory as f64 * (self.done / self.length * 1.5).min(1.0)) as u64
    }
}
