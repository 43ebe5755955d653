//! What the kernel tells of this machine and process for good or for once: pressure files at all, usable cpus.
//!
//! Doesn't know thresholds or rates. Pressure files hang from a root folder, `/proc` by default: a test is a folder.

use super::files::read_regular;
use crate::policy::pressure::Resource;
use crate::proto::findings::Unreadable;
use std::path::Path;

/// What one pressure file says now, or why it says nothing.
pub fn pressure(root: &Path, resource: Resource) -> Result<Vec<u8>, Unreadable> {
    read_regular(&root.join("pressure").join(resource.name())).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => Unreadable::Absent,
        Some(libc::EOPNOTSUPP) => Unreadable::Off,
        _ => Unreadable::Other(error.to_string()),
    })
}

/// The kernel's release, as `uname -r` says it; empty where it can't be read.
pub fn kernel() -> String {
    let text = read_regular(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Cpus that this process may use: affinity and the cgroup's cpu quota, 1 or more.
pub fn usable_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

/// A set of cpus.
#[derive(Clone, Copy, Debug)]
pub struct CpuSet([u64; CpuSet::WORDS]);

impl CpuSet {
    /// The largest kernels know 8192 cpus.
    const WORDS: usize = 128;

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether that one is in it.
    pub fn has(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }
}

/// The cpus that this process may run on; all there could be, where the kernel doesn't tell.
pub fn affinity() -> CpuSet {
    let mut set = CpuSet([0; CpuSet::WORDS]);
    let size = std::mem::size_of_val(&set.0);
    // SAFETY: the kernel writes at most `size` bytes, whole longs, into the array; 0 is this process.
    let written = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, set.0.as_mut_ptr()) };
    if written > 0 { set } else { CpuSet([u64::MAX; CpuSet::WORDS]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_cpus_are_in_the_affinity() {
        let set = affinity();
        assert!(set.count() >= usable_cpus() && set.count() < 8192);
        let listed = (0..9000).filter(|&cpu| set.has(cpu)).count();
        assert_eq!(listed, set.count() as usize);
    }
}
