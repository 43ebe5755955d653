//! One look at the machine as a journal has it, and back: exact, so that what was judged by it can be judged again.
//!
//! Doesn't know when it was looked, but for the moment that it carries, nor what follows from any figure.

use super::recorder::us;
use crate::policy::pressure::{Resource, Totals};
use crate::policy::reading::{CpuUse, Memory, Reading};
use crate::policy::time::Moment;
use serde::{Deserialize, Serialize};

/// See the module. What is none couldn't be had, or nobody needed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// When, in microseconds of the gate's clock.
    pub t: u64,
    /// `some total` of the cpu, in microseconds since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u64>,
    /// Of io.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<u64>,
    /// Of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// `full total` likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_cpu: Option<u64>,
    /// Of io.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_io: Option<u64>,
    /// Of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_memory: Option<u64>,
    /// Ticks that the cpus were busy, and all; since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<(u64, u64)>,
    /// Microseconds of cpu time that the cgroup has used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_us: Option<u64>,
    /// Microseconds that its quota has kept threads waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_us: Option<u64>,
    /// Threads that ran or could run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Memory in bytes: available, and all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<(u64, u64)>,
    /// The load average per cpu.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Usable cpus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
}

impl Sample {
    /// That look, at that moment.
    pub fn new(when: Moment, reading: &Reading) -> Sample {
        let [cpu, io, memory] = Resource::ALL.map(|of| reading.some.get(of));
        let [full_cpu, full_io, full_memory] = Resource::ALL.map(|of| reading.full.get(of));
        let (busy, used_us) = match reading.cpu {
            Some(CpuUse::Share { busy, total }) => (Some((busy, total)), None),
            Some(CpuUse::Time(time)) => (None, Some(time)),
            None => (None, None),
        };
        Sample {
            t: us(when),
            cpu,
            io,
            memory,
            full_cpu,
            full_io,
            full_memory,
            busy,
            used_us,
            throttled_us: reading.throttled,
            running: reading.running,
            bytes: reading.memory.map(|memory| (memory.available, memory.total)),
            load: reading.load.filter(|load| load.is_finite()),
            cpus: reading.cpus,
        }
    }

    /// `some total` of a resource.
    pub fn some(&self, of: Resource) -> Option<u64> {
        [self.cpu, self.io, self.memory][of as usize]
    }

    /// What was seen.
    pub fn reading(&self) -> Reading {
        let full = [self.full_cpu, self.full_io, self.full_memory];
        let share = self.busy.map(|(busy, total)| CpuUse::Share { busy, total });
        Reading {
            some: Totals::from_fn(|of| self.some(of)),
            full: Totals::from_fn(|of| full[of as usize]),
            cpu: share.or(self.used_us.map(CpuUse::Time)),
            throttled: self.throttled_us,
            running: self.running,
            memory: self.bytes.map(|(available, total)| Memory { available, total }),
            load: self.load,
            cpus: self.cpus,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn there_and_back() {
        let when = Moment::at(Duration::from_micros(1_234_567));
        let full = Reading {
            some: Totals::from_fn(|of| Some(of as u64 + 1)),
            full: Totals::from_fn(|of| Some(of as u64 + 10)),
            cpu: Some(CpuUse::Share { busy: 3, total: 9 }),
            throttled: Some(77),
            running: Some(4),
            memory: Some(Memory { available: 5, total: 8 }),
            load: Some(0.1 + 0.2),
            cpus: Some(2),
        };
        let group = Reading { cpu: Some(CpuUse::Time(12)), ..full };
        for reading in [full, group, Reading::default()] {
            let sample = Sample::new(when, &reading);
            let text = serde_json::to_string(&sample).unwrap();
            let back: Sample = serde_json::from_str(&text).unwrap();
            assert_eq!((back.t, back.reading()), (1_234_567, reading), "{text}");
        }
    }
}
