//! The cpu's part of the limit: as many jobs as there is headroom for.
//!
//! `busy share + some pressure` is the number of runnable threads over the number of cpus on both sides of saturation, so one
//! job more adds 1/N: the gain is known, there is nothing to tune, and no integrator that could wind up while jobs can't
//! be revoked or clients don't use their tokens. Doesn't know memory, io, or how fast a limit may grow.

use crate::policy::pressure::Resource;
use crate::policy::reading::{CpuUse, Reading};
use crate::policy::ticker::SHORTEST_INTERVAL;
use crate::policy::time::Moment;
use std::time::Duration;

/// So much more than the cpus have to do is aimed at: up to 0.20 keeps exactly N jobs on 2 cpus and N + 1 on 4, 0.30 was
/// bistable (measured).
const TARGET: f64 = 0.15;

/// Measurements are smoothed by this.
const SMOOTHING: Duration = Duration::from_millis(500);

/// The limit stays while it is so near to the estimate, in jobs: more than half, or it would flutter.
const NEAR: f64 = 0.6;

/// Looks further apart than this say nothing about now: the filters start anew.
pub(super) const TOO_OLD: Duration = Duration::from_secs(3);

/// So many looks in a row are needed to believe that the pressure counter lies, or doesn't any more.
const SURE: u32 = 3;

/// See the module.
#[derive(Debug, Default)]
pub struct Headroom {
    last: Option<(Moment, Reading)>,
    smooth: Option<Smooth>,
    /// When that was renewed.
    measured: Moment,
    limit: Option<u32>,
    /// The pressure counter is read so fast by somebody that it stands still for everybody.
    distrusts: bool,
    /// Looks in a row that speak against what is believed of the counter.
    doubts: u32,
}

/// What was measured, smoothed alike, so that they stay comparable while jobs come and go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smooth {
    /// Runnable threads over cpus.
    pub load: f64,
    /// Own jobs.
    pub jobs: f64,
}

/// What was seen between two looks, as shares.
struct Seen {
    busy: f64,
    pressure: Option<f64>,
}

impl Headroom {
    /// Takes a look in; `jobs`: own jobs out, on average since the last one; `most`: no limit is higher.
    pub fn look(&mut self, now: Moment, reading: &Reading, cpus: u32, jobs: f64, most: u32) {
        let (cpus_f, most) = (f64::from(cpus.max(1)), most.max(1));
        let since = self.last.as_ref().map(|&(when, _)| now.since(when));
        match since {
            Some(since) if since < SHORTEST_INTERVAL => return,
            Some(since) if since <= TOO_OLD => {}
            Some(_) | None => {
                self.last = Some((now, *reading));
                self.smooth = None;
                // A start is a start; but what has stalled meanwhile doesn't get more for it.
                self.limit = self.limit.filter(|_| jobs > 0.0);
                return;
            }
        }
        let Some((before, old)) = self.last.replace((now, *reading)) else { return };
        let dt = now.since(before).as_secs_f64();
        let Some(load) = self.measure(&old, reading, cpus, dt) else {
            if now.since(self.measured) > TOO_OLD {
                (self.smooth, self.limit) = (None, None);
            }
            return;
        };
        self.measured = now;
        let new = Smooth { load, jobs };
        let weight = 1.0 - (-dt / SMOOTHING.as_secs_f64()).exp();
        let smooth = self.smooth.map_or(new, |old| Smooth {
            load: old.load + weight * (new.load - old.load),
            jobs: old.jobs + weight * (new.jobs - old.jobs),
        });
        self.smooth = Some(smooth);
        let estimate = smooth.jobs + cpus_f * (1.0 + TARGET - smooth.load);
        if (estimate - f64::from(self.limit(cpus))).abs() > NEAR {
            self.limit = Some((estimate + 0.5).floor().clamp(1.0, f64::from(most)) as u32);
        }
    }

    /// Runnable threads over cpus between two looks; `None`: nobody can tell.
    fn measure(&mut self, old: &Reading, new: &Reading, cpus: u32, dt: f64) -> Option<f64> {
        let Seen { busy, pressure } = seen(old, new, f64::from(cpus.max(1)), dt)?;
        let queue = new.running.map(|running| queue(running, cpus));
        self.judge_counter(busy, pressure, new.running, cpus);
        let pressure = match (pressure, queue) {
            (Some(pressure), Some(queue)) if self.distrusts => Some(pressure.max(queue)),
            (pressure, queue) => pressure.or(queue),
        };
        // Without either nothing tells a full machine from an overloaded one.
        Some(busy + pressure?)
    }

    /// Whether the pressure counter stands still though it can't: then the queue counts, too.
    fn judge_counter(&mut self, busy: f64, pressure: Option<f64>, running: Option<u32>, cpus: u32) {
        let (Some(pressure), Some(running)) = (pressure, running) else { return };
        let contradicts = if self.distrusts {
            pressure >= 0.01
        } else {
            busy > 0.97 && running > cpus.saturating_add(1) && pressure < 0.01
        };
        self.doubts = if contradicts { self.doubts + 1 } else { 0 };
        if self.doubts >= SURE {
            (self.distrusts, self.doubts) = (!self.distrusts, 0);
        }
    }

    /// How many jobs may run by this; before anything is known as many as there are cpus.
    pub fn limit(&self, cpus: u32) -> u32 {
        self.limit.unwrap_or(cpus).max(1)
    }

    /// What it goes by; `None`: nothing yet.
    pub fn smooth(&self) -> Option<Smooth> {
        self.smooth
    }

    /// Whether somebody reads the pressure counter so fast that it says nothing.
    pub fn distrusts_pressure(&self) -> bool {
        self.distrusts
    }
}

/// Threads that wait for a cpu over cpus; the one that looks runs, too.
fn queue(running: u32, cpus: u32) -> f64 {
    let waiting = f64::from(running) - 1.0 - f64::from(cpus);
    (waiting / f64::from(cpus.max(1))).clamp(0.0, 1.0)
}

/// What went on between two looks; `None`: the cpus' counters say nothing (they stood still, or began anew).
fn seen(old: &Reading, new: &Reading, cpus: f64, dt: f64) -> Option<Seen> {
    let busy = match (old.cpu?, new.cpu?) {
        (CpuUse::Share { busy: from, total: all }, CpuUse::Share { busy, total }) if total > all => {
            busy.saturating_sub(from) as f64 / (total - all) as f64
        }
        (CpuUse::Time(from), CpuUse::Time(until)) if until >= from => share(until - from, cpus * dt),
        _ => return None,
    };
    let grown = |old: Option<u64>, new: Option<u64>| Some(new?.saturating_sub(old?));
    let cpu = Resource::Cpu;
    let waited = grown(old.some.get(cpu), new.some.get(cpu)).map(|grown| share(grown, dt));
    // Runnable threads that a quota stopped, over the cpus that it allows.
    let throttled = grown(old.throttled, new.throttled).map(|grown| share(grown, cpus * dt));
    let pressure = match (waited, throttled) {
        (Some(waited), Some(throttled)) => Some(waited.max(throttled)),
        (waited, throttled) => waited.or(throttled),
    };
    Some(Seen { busy: busy.clamp(0.0, 1.0), pressure })
}

/// Microseconds over seconds, within 0 to 1.
fn share(us: u64, seconds: f64) -> f64 {
    (us as f64 / 1e6 / seconds).clamp(0.0, 1.0)
}
