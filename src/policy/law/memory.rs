//! The memory part of the limit: as many jobs as there is room for, a reserve left, and those that still grow counted in full.
//!
//! A compiler grows after it was let in, and without swap nothing warns before memory runs out: only what is available does.
//! So what was issued a moment ago has its size set aside, and a job that takes a finished one's place is judged like
//! any other, for it will grow too. Doesn't know whose the memory is that is in use.

use super::cpu::TOO_OLD;
use crate::policy::reading::Memory;
use crate::policy::time::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// The size of a job while none has been seen, in bytes.
const FIRST_SIZE: f64 = 256.0 * MIB;

/// No job is thought to be smaller.
const LEAST_SIZE: f64 = 16.0 * MIB;

/// The size of a job is the largest seen; that is forgotten by half in this time.
const SIZE_HALF_LIFE: Duration = Duration::from_secs(35);

/// ... and the sooner the more often it is as large as what is seen, beyond so often: what others have taken and given back
/// was no job's.
const CREDIBLE: f64 = 8.0;

/// What is in use beyond a first guess for each job is taken for others' after a while: half of it in this time.
const BASE_HALF_LIFE: Duration = Duration::from_secs(300);

/// A job that was issued so long ago has shown how large it is.
const YOUNG: Duration = Duration::from_secs(2);

/// Where there is less than this the reserve is a larger part of it.
const SMALL_MACHINE: u64 = 8 << 30;

const MIB: f64 = 1_048_576.0;

/// What must stay available, beside the size of one job. Where both are said the larger counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reserve {
    /// Bytes.
    pub bytes: u64,
    /// Of all memory, 0 to 1.
    pub share: f64,
}

impl Reserve {
    /// In bytes, of so much memory.
    fn of(self, total: u64) -> f64 {
        (self.bytes as f64).max(self.share * total as f64)
    }
}

/// The reserve where nothing is said.
fn usual_reserve(total: u64) -> f64 {
    total as f64 * if total < SMALL_MACHINE { 0.10 } else { 0.05 }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Room {
    reserve: Option<Reserve>,
    last: Option<(Moment, Memory)>,
    /// In use when nothing of ours ran, in bytes.
    base: f64,
    /// Of one job, in bytes.
    size: f64,
    /// How many were issued, and when.
    young: VecDeque<(Moment, u32)>,
    issued: u64,
}

impl Room {
    /// `reserve`: what must stay available; `None`: a part of all memory.
    pub fn new(reserve: Option<Reserve>) -> Room {
        Room { reserve, size: FIRST_SIZE, ..Room::default() }
    }

    /// Another reserve from here on.
    pub fn set_reserve(&mut self, reserve: Option<Reserve>) {
        self.reserve = reserve;
    }

    /// Takes a look in, at which `jobs` of ours were out.
    pub fn look(&mut self, now: Moment, memory: Option<Memory>, jobs: u32) {
        let Some(memory) = memory else {
            self.last = None;
            return;
        };
        let used = memory.total.saturating_sub(memory.available) as f64;
        let dt = match self.last.replace((now, memory)) {
            Some((when, before)) if before.total == memory.total => now.since(when),
            // The first look, or another cgroup's limit is the nearest now.
            Some(_) | None => {
                self.base = used;
                Duration::ZERO
            }
        };
        if jobs == 0 {
            self.base = used;
            self.size = self.size.max(FIRST_SIZE);
            return;
        }
        let dt = dt.min(TOO_OLD).as_secs_f64();
        let left = |half_life: Duration| 0.5f64.powf(dt / half_life.as_secs_f64());
        let others = used - f64::from(jobs) * FIRST_SIZE;
        if others > self.base {
            self.base = others - (others - self.base) * left(BASE_HALF_LIFE);
        }
        self.base = self.base.min(used);
        let seen = ((used - self.base) / f64::from(jobs)).max(LEAST_SIZE);
        let haste = (self.size / (CREDIBLE * seen).max(FIRST_SIZE)).max(1.0);
        self.size = (self.size * left(SIZE_HALF_LIFE).powf(haste)).max(seen);
    }

    /// `issued` jobs were let out since the start.
    pub fn note_issued(&mut self, now: Moment, issued: u64) {
        let new = issued.saturating_sub(self.issued);
        self.issued = issued;
        if new > 0 {
            self.young.push_back((now, u32::try_from(new).unwrap_or(u32::MAX)));
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Moment) {
        while self.young.front().is_some_and(|&(when, _)| now.since(when) >= YOUNG) {
            self.young.pop_front();
        }
    }

    /// How many jobs may run by this while `jobs` do; `None`: it isn't known how much there is.
    ///
    /// Where there is no room for one more, one less may: then what comes back is seen and judged before it is issued
    /// again, however it is handed out.
    pub fn limit(&mut self, now: Moment, jobs: u32) -> Option<u32> {
        let more = self.more(now, jobs)?;
        Some(if more >= 1.0 { jobs.saturating_add(more as u32) } else { jobs.saturating_sub(1).max(1) })
    }

    /// How many more there is room for; below 0: too many are out.
    fn more(&mut self, now: Moment, jobs: u32) -> Option<f64> {
        self.forget(now);
        let (_, memory) = self.last?;
        let reserve = self.reserve.map_or_else(|| usual_reserve(memory.total), |own| own.of(memory.total));
        // What has ended meanwhile grows no more.
        let young = self.young.iter().map(|&(_, jobs)| f64::from(jobs)).sum::<f64>().min(f64::from(jobs));
        let room = memory.available as f64 - reserve.max(self.size) - young * self.size;
        Some(room / self.size)
    }

    /// Whether so little is left that what becomes free should be seen soon.
    pub fn is_tight(&mut self, now: Moment, jobs: u32) -> bool {
        self.more(now, jobs).is_some_and(|more| more < 2.0)
    }

    /// The size that a job is thought to have, in bytes.
    pub fn job_size(&self) -> u64 {
        self.size as u64
    }

    /// What was available at the last look, in bytes.
    pub fn available(&self) -> Option<u64> {
        self.last.map(|(_, memory)| memory.available)
    }
}
