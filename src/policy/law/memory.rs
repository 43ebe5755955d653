//! The memory part of the limit: as many jobs as there is room for, a reserve left, and those that still grow counted in full.
//!
//! A compiler grows after it was let in, and without swap nothing warns before memory runs out: only what is available does.
//! So what was issued a moment ago has its size set aside, and a job that takes a finished one's place is judged like
//! any other, for it will grow too. How large a job becomes shows in what it gives back when it ends. Doesn't know whose the
//! memory is that is in use.

use super::cpu::TOO_OLD;
use crate::policy::reading::Memory;
use crate::policy::time::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// The size of a job while none has been seen, in bytes.
const FIRST_SIZE: f64 = 256.0 * MIB;

/// Until one has ended a job may become so many times as large as it is thought to be.
const UNKNOWN: f64 = 2.0;

/// At least so much of a job's size stays in reserve.
const RESERVED: f64 = 0.25;

/// No job is thought to be smaller.
const LEAST_SIZE: f64 = 16.0 * MIB;

/// The size of a job is the largest seen; that is forgotten by half in this time, ...
const SIZE_HALF_LIFE: Duration = Duration::from_secs(35);

/// ... and the sooner the more often it is as large as what is seen, beyond so often: what others have taken and given back
/// was no job's.
const CREDIBLE: f64 = 8.0;

/// What is in use beyond a first guess for each job is taken for others' after a while: half of it in this time.
const BASE_HALF_LIFE: Duration = Duration::from_secs(300);

/// A job that was issued so long ago has shown how large it is.
const YOUNG: Duration = Duration::from_secs(10);

/// What was issued within this is remembered as one.
const BUCKET: Duration = Duration::from_millis(100);

/// How fast memory is taken is smoothed by this.
const RISE_SMOOTHING: Duration = Duration::from_secs(1);

/// When nothing has come back for so long all has that belongs together, ...
const SETTLED: Duration = Duration::from_millis(100);

/// ... and at the latest after this: where jobs end all the time there is no such moment.
const LONGEST_FALL: Duration = Duration::from_millis(500);

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

/// See the module. Sizes are bytes.
#[derive(Debug, Default)]
pub struct Room {
    reserve: Option<Reserve>,
    last: Option<Look>,
    /// In use when nothing of ours ran.
    base: f64,
    /// Of one job.
    size: f64,
    /// One has ended, so that its size is one.
    is_known: bool,
    /// What is known of jobs of those builds otherwise; 0: nothing.
    expected: f64,
    /// How fast memory is taken, a second.
    rise: f64,
    /// What comes back just now.
    fall: Option<Fall>,
    /// How many were issued, and when.
    young: VecDeque<(Moment, f64)>,
    issued: u64,
}

/// What jobs that end give back: memory comes back in parts, and their tokens a moment later.
#[derive(Clone, Copy, Debug)]
struct Fall {
    since: Moment,
    /// The last part came then.
    last: Moment,
    given_back: f64,
    /// What others are thought to have taken meanwhile.
    taken: f64,
    /// How many tokens have come back.
    ends: f64,
}

/// How things stood.
#[derive(Clone, Copy, Debug)]
struct Look {
    when: Moment,
    memory: Memory,
    jobs: u32,
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

    /// Jobs become as large as that, in bytes; 0: that isn't known.
    pub fn expect(&mut self, bytes: u64) {
        self.expected = bytes as f64;
    }

    /// What was last said of their size, in bytes.
    pub fn expected(&self) -> u64 {
        self.expected as u64
    }

    /// Takes a look in, at which `jobs` of ours were out.
    pub fn look(&mut self, now: Moment, memory: Option<Memory>, jobs: u32) {
        let Some(memory) = memory else {
            (self.last, self.fall) = (None, None);
            return;
        };
        let used = memory.total.saturating_sub(memory.available) as f64;
        let look = Look { when: now, memory, jobs, issued: self.issued };
        // At the first look, or where another cgroup's limit is the nearest now, nothing can be compared.
        let before = self.last.replace(look).filter(|before| before.memory.total == memory.total);
        if before.is_none() {
            self.base = used;
        }
        if jobs == 0 {
            // The next build may be another.
            (self.base, self.size, self.is_known) = (used, self.size.max(FIRST_SIZE), false);
            self.fall = None;
            return;
        }
        let dt = before.map_or(Duration::ZERO, |before| now.since(before.when).min(TOO_OLD)).as_secs_f64();
        let left = |half_life: Duration| 0.5f64.powf(dt / half_life.as_secs_f64());
        let others = used - f64::from(jobs) * FIRST_SIZE;
        if others > self.base {
            self.base = others - (others - self.base) * left(BASE_HALF_LIFE);
        }
        self.base = self.base.min(used);
        let mean = ((used - self.base) / f64::from(jobs)).max(LEAST_SIZE);
        let ended = before.map_or(0.0, |before| self.ended(before, look, dt));
        let haste = (self.size / (CREDIBLE * mean).max(FIRST_SIZE)).max(1.0);
        self.size = (self.size * left(SIZE_HALF_LIFE).powf(haste)).max(mean).max(ended);
    }

    /// The size of what has ended, 0 where nothing seems to have, or not all of it has been seen.
    fn ended(&mut self, before: Look, look: Look, dt: f64) -> f64 {
        let ends = u64::from(before.jobs) + look.issued - before.issued;
        let ends = ends.saturating_sub(u64::from(look.jobs)) as f64;
        let given_back = look.memory.available as f64 - before.memory.available as f64;
        self.is_known |= ends > 0.0;
        // What a job gives back at its end is more than jobs give and take all the time.
        let is_fall = given_back >= LEAST_SIZE.max(self.size / 4.0);
        if is_fall {
            self.is_known = true;
            let fall = self.fall.get_or_insert(Fall {
                since: look.when,
                last: look.when,
                given_back: 0.0,
                taken: 0.0,
                ends: 0.0,
            });
            fall.given_back += given_back;
            fall.taken += self.rise * dt;
            fall.last = look.when;
        } else {
            let weight = 1.0 - (-dt / RISE_SMOOTHING.as_secs_f64()).exp();
            self.rise += weight * ((-given_back).max(0.0) / dt.max(1e-3) - self.rise);
        }
        let Some(fall) = &mut self.fall else { return 0.0 };
        fall.ends += ends;
        let is_over = look.when.since(fall.last) >= SETTLED || look.when.since(fall.since) >= LONGEST_FALL;
        if !is_over {
            return 0.0;
        }
        let Fall { since, given_back, taken, mut ends, .. } = *fall;
        self.fall = None;
        // Of several that end at once one's token may have been taken anew; more than one end isn't made up beside those that were
        // seen, for it may be a job larger than any before.
        let unseen = (self.unseen(given_back) - ends).min(if ends == 0.0 { f64::MAX } else { 1.0 });
        if unseen > 0.0 {
            ends += unseen;
            self.push_young(since, unseen);
        }
        (given_back + taken) / ends
    }

    /// How many jobs have given that back whose ends nobody saw: others have taken their tokens before, and will grow. What has been
    /// forgotten of the size mustn't make two of a large one.
    fn unseen(&self, given_back: f64) -> f64 {
        (given_back / self.size + 0.2).floor().max(1.0)
    }

    /// `issued` jobs were let out since the start.
    pub fn note_issued(&mut self, now: Moment, issued: u64) {
        let new = issued.saturating_sub(self.issued);
        self.issued = issued;
        self.forget(now);
        if new > 0 {
            self.push_young(now, new as f64);
        }
    }

    fn push_young(&mut self, now: Moment, jobs: f64) {
        match self.young.back_mut() {
            Some((when, known)) if now.since(*when) < BUCKET => *known += jobs,
            Some(_) | None => self.young.push_back((now, jobs)),
        }
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
        let Memory { available, total } = self.last?.memory;
        let reserve = self.reserve.map_or_else(|| usual_reserve(total), |own| own.of(total));
        let size = self.job_size() as f64;
        // What has ended meanwhile grows no more; and none grows beyond its size.
        let jobs = f64::from(jobs);
        let unseen =
            self.fall.filter(|fall| fall.ends == 0.0).map_or(0.0, |fall| self.unseen(fall.given_back));
        let young = (self.young.iter().map(|&(_, jobs)| jobs).sum::<f64>() + unseen).min(jobs);
        let used = total.saturating_sub(available) as f64 - self.base;
        let growth = (young * size).min(jobs * size - used).max(0.0);
        Some((available as f64 - reserve.max(size * RESERVED) - growth) / size)
    }

    /// Whether so little is left that what becomes free should be seen soon.
    pub fn is_tight(&mut self, now: Moment, jobs: u32) -> bool {
        self.more(now, jobs).is_some_and(|more| more < 2.0)
    }

    /// The size that a job is thought to come to, in bytes.
    pub fn job_size(&self) -> u64 {
        let seen = match (self.is_known, self.expected > 0.0) {
            (true, _) => self.size,
            // What was seen of them before says more than a guess.
            (false, true) => LEAST_SIZE,
            (false, false) => self.size * UNKNOWN,
        };
        seen.max(self.expected) as u64
    }

    /// What was available at the last look, in bytes.
    pub fn available(&self) -> Option<u64> {
        self.last.map(|look| look.memory.available)
    }
}
