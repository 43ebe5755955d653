//! What a machine tells of itself in one look: counters and levels, as plain numbers.
//!
//! Doesn't know which files they stand in, nor what follows from them. `None` anywhere: it can't be had here.

use super::pressure::Totals;

/// One look. The default is a machine that tells nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// `some total` of each resource: work waited, in microseconds since boot.
    pub some: Totals,
    /// `full total` of each resource: nothing but waiting went on, likewise.
    pub full: Totals,
    /// How busy the usable cpus were.
    pub cpu: Option<CpuUse>,
    /// Microseconds that threads were kept off the cpus by a quota since its start, summed over the cpus.
    pub throttled: Option<u64>,
    /// Threads that run or could run at this moment, the one that looks counted in.
    pub running: Option<u32>,
    /// Memory.
    pub memory: Option<Memory>,
    /// The load average of the last minute, per cpu.
    pub load: Option<f64>,
    /// Usable cpus, 1 or more.
    pub cpus: Option<u32>,
}

/// A counter of how busy cpus were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuUse {
    /// Of `total` ticks of the cpus they were busy for so many; waiting for io is idle.
    Share {
        /// Not idle.
        busy: u64,
        /// All.
        total: u64,
    },
    /// Microseconds of cpu time used by those who count, since their start.
    Time(u64),
}

/// Memory as it stands, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What can still be used before anything must be swapped or killed.
    pub available: u64,
    /// All there is: of the machine, or of the cgroup whose limit is the nearest.
    pub total: u64,
}

impl From<Totals> for Reading {
    /// Pressure alone.
    fn from(some: Totals) -> Reading {
        Reading { some, ..Reading::default() }
    }
}
