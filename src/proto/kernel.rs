//! The kernel's texts of how a machine and its cgroups stand: `/proc/stat`, `meminfo`, `loadavg`, `pressure/*`, `self/cgroup`,
//! `self/mountinfo`, and a cgroup's own files, of both versions.
//!
//! Doesn't know where they were read. What isn't as expected is `None`, never an error.

use std::path::{Path, PathBuf};

fn lines(file: &[u8]) -> impl Iterator<Item = &str> {
    file.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}

/// The total, in microseconds, of the line `some` or `full` of a pressure file (Linux `Documentation/accounting/psi.rst`):
/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
pub fn pressure_total(file: &[u8], kind: &str) -> Option<u64> {
    let line = lines(file).find(|line| line.split(' ').next() == Some(kind))?;
    line.split(' ').find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// Ticks of the cpus since boot, those in which they were busy and all, of a `/proc/stat`; of all cpus, or of those that
/// `counts`. Waiting for io is idle; what the host of a virtual machine kept for others is busy.
pub fn cpu_ticks(stat: &[u8], counts: Option<&dyn Fn(usize) -> bool>) -> Option<(u64, u64)> {
    let mut sum = None;
    for line in lines(stat) {
        let mut words = line.split_ascii_whitespace();
        let Some(number) = words.next().and_then(|name| name.strip_prefix("cpu")) else { break };
        let is_wanted = match (counts, number.parse::<usize>()) {
            (None, Err(_)) => number.is_empty(),
            (Some(counts), Ok(number)) => counts(number),
            (None, Ok(_)) | (Some(_), Err(_)) => false,
        };
        if is_wanted {
            // user nice system idle iowait irq softirq steal; guests are counted in user and nice.
            let ticks: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
            let all: u64 = ticks.iter().fold(0, |sum, &ticks| sum.saturating_add(ticks));
            let idle = ticks.get(3)?.saturating_add(ticks.get(4).copied().unwrap_or(0));
            let (busy, total) = sum.unwrap_or((0u64, 0u64));
            sum = Some((busy.saturating_add(all.saturating_sub(idle)), total.saturating_add(all)));
        }
    }
    sum
}

/// How many cpus a `/proc/stat` tells of.
pub fn cpus_listed(stat: &[u8]) -> u32 {
    let is_one = |line: &&str| {
        let name = line.split(' ').next().and_then(|name| name.strip_prefix("cpu"));
        name.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    u32::try_from(lines(stat).take_while(|line| line.starts_with("cpu")).filter(is_one).count()).unwrap_or(0)
}

/// The number behind a name: `procs_running 3`, `usage_usec 1234`.
pub fn number(file: &[u8], name: &str) -> Option<u64> {
    lines(file).find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Available and all memory of a `/proc/meminfo`, in bytes.
pub fn memory(meminfo: &[u8]) -> Option<(u64, u64)> {
    let bytes = |name: &str| {
        let line = lines(meminfo).find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((bytes("MemAvailable")?, bytes("MemTotal")?))
}

/// The load average of the last minute of a `/proc/loadavg`.
pub fn load(loadavg: &[u8]) -> Option<f64> {
    let load: f64 = lines(loadavg).next()?.split(' ').next()?.parse().ok()?;
    load.is_finite().then_some(load)
}

/// How many cpus' time a `cpu.max` allows (`200000 100000`); `None`: any number (`max 100000`).
pub fn cpu_max(file: &[u8]) -> Option<f64> {
    let mut words = lines(file).next()?.split(' ');
    quota(words.next()?.parse().ok()?, words.next()?.trim().parse().ok()?)
}

/// The same by a quota and a period in microseconds; -1: any number.
pub fn quota(quota: i64, period: i64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// The one number of a file: `memory.max`, `cpu.cfs_quota_us`. `None`: `max`, or what is none.
pub fn only_number(file: &[u8]) -> Option<i64> {
    let text = lines(file).next()?.trim();
    // An unsigned one that is too large is as good as the largest.
    text.parse().ok().or_else(|| text.parse::<u64>().ok().map(|_| i64::MAX))
}

/// The cgroup of a process in the hierarchy that has `controller` (empty: version 2's), of its `/proc/PID/cgroup`.
pub fn cgroup_of(cgroup: &[u8], controller: &str) -> Option<PathBuf> {
    lines(cgroup).find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        controllers.split(',').any(|one| one == controller).then(|| PathBuf::from(path))
    })
}

/// Where a cgroup hierarchy is mounted, and which of its cgroups is the root there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The cgroup that is seen at the point.
    pub root: PathBuf,
    /// The folder.
    pub point: PathBuf,
}

impl Mount {
    /// The folder of a cgroup; what can't be seen from here is as near as the root.
    pub fn folder(&self, cgroup: &Path) -> PathBuf {
        match cgroup.strip_prefix(&self.root) {
            Ok(below) if below.components().all(|part| part.as_os_str() != "..") => self.point.join(below),
            Ok(_) | Err(_) => self.point.clone(),
        }
    }
}

/// Where the hierarchy of `controller` (empty: version 2's) is mounted, of a `/proc/self/mountinfo`
/// (Linux `Documentation/filesystems/proc.rst`, 3.5).
pub fn cgroup_mount(mountinfo: &[u8], controller: &str) -> Option<Mount> {
    lines(mountinfo).find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let (name, options) = (kind.next()?, kind.nth(1)?);
        let is_it = match controller {
            "" => name == "cgroup2",
            _ => name == "cgroup" && options.split(',').any(|option| option == controller),
        };
        let mut mount = mount.split(' ').skip(3).map(|word| PathBuf::from(unescaped(word)));
        is_it.then_some(Mount { root: mount.next()?, point: mount.next()? })
    })
}

/// A space, tab, line end or backslash in a path is written as an octal number there.
fn unescaped(word: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(word.to_owned(), |word, (from, to)| word.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_lines() {
        let file = b"some avg10=0.35 avg60=2.02 avg300=0.76 total=2846709\nfull avg10=0.00 total=7\n";
        assert_eq!(pressure_total(file, "some"), Some(2_846_709));
        assert_eq!(pressure_total(file, "full"), Some(7));
        let rows: [(&str, Option<u64>); 6] = [
            ("some avg10=0.35 total=18446744073709551615", Some(u64::MAX)),
            ("full avg10=0.35 total=5\n", None),
            ("some avg10=0.35\n", None),
            ("some total=-1\n", None),
            ("something total=1\n", None),
            ("", None),
        ];
        for (file, total) in rows {
            assert_eq!(pressure_total(file.as_bytes(), "some"), total, "{file:?}");
        }
    }

    const STAT: &[u8] = b"cpu  100 10 30 800 60 1 2 7 50 5\n\
        cpu0 60 5 20 400 10 1 1 3 50 5\n\
        cpu1 40 5 10 400 50 0 1 4 0 0\n\
        intr 12345 0 0 1\n\
        ctxt 99\nbtime 1\nprocesses 7\nprocs_running 3\nprocs_blocked 1\n";

    #[test]
    fn ticks_of_all_cpus_and_of_some() {
        assert_eq!(cpu_ticks(STAT, None), Some((150, 1010)));
        assert_eq!(cpu_ticks(STAT, Some(&|cpu| cpu == 1)), Some((60, 510)));
        assert_eq!(cpu_ticks(STAT, Some(&|_| true)), Some((150, 1010)));
        assert_eq!(cpu_ticks(STAT, Some(&|cpu| cpu == 2)), None);
        assert_eq!((cpus_listed(STAT), number(STAT, "procs_running")), (2, Some(3)));
        for bad in ["", "intr 1\n", "cpu\n", "cpu 1 2 3\n", "cpu x y z a b c\n"] {
            assert_eq!(cpu_ticks(bad.as_bytes(), None), None, "{bad:?}");
        }
        assert_eq!(cpu_ticks(b"cpu  1 2 3 4\n", None), Some((6, 10)), "an old kernel's");
        let huge = format!("cpu  {0} {0} {0} 5 5", u64::MAX);
        assert_eq!(cpu_ticks(huge.as_bytes(), None), Some((u64::MAX - 10, u64::MAX)));
    }

    #[test]
    fn memory_and_load() {
        let meminfo =
            b"MemTotal:       24684100 kB\nMemFree:  20982860 kB\nMemAvailable:   24122504 kB\nBuffers: 1 kB\n";
        assert_eq!(memory(meminfo), Some((24_122_504 * 1024, 24_684_100 * 1024)));
        assert_eq!(memory(b"MemTotal: 5 kB\n"), None);
        assert_eq!(memory(b"MemTotal: 18446744073709551615 kB\nMemAvailable: 1 kB\n"), None);
        assert_eq!(load(b"1.86 0.91 1.03 5/121 9263\n"), Some(1.86));
        for bad in ["", "x", "nan 1 1", "inf"] {
            assert_eq!(load(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn quotas_and_limits() {
        assert_eq!(cpu_max(b"150000 100000\n"), Some(1.5));
        for any in ["max 100000\n", "", "0 100000", "100000", "100000 0"] {
            assert_eq!(cpu_max(any.as_bytes()), None, "{any:?}");
        }
        assert_eq!((quota(-1, 100_000), quota(50_000, 100_000)), (None, Some(0.5)));
        assert_eq!(only_number(b"-1\n"), Some(-1));
        assert_eq!(only_number(b"9223372036854771712\n"), Some(9_223_372_036_854_771_712));
        assert_eq!(only_number(b"18446744073709551615\n"), Some(i64::MAX));
        assert_eq!((only_number(b"max\n"), only_number(b"")), (None, None));
        let stat = b"usage_usec 123\nuser_usec 100\nnr_throttled 2\nthrottled_usec 77\n";
        assert_eq!((number(stat, "usage_usec"), number(stat, "throttled_usec")), (Some(123), Some(77)));
        assert_eq!((number(stat, "usage"), number(stat, "nr")), (None, None));
    }

    #[test]
    fn cgroups_and_where_they_are_mounted() {
        let own = b"9:name=systemd:/\n4:memory:/a/b:c\n2:cpu,cpuacct:/a\n0::/user.slice/x.scope\n";
        let of = |controller| cgroup_of(own, controller).map(|path| path.display().to_string());
        assert_eq!(of("memory").as_deref(), Some("/a/b:c"));
        assert_eq!((of("cpuacct").as_deref(), of("cpu").as_deref()), (Some("/a"), Some("/a")));
        assert_eq!((of("").as_deref(), of("io")), (Some("/user.slice/x.scope"), None));
        let mounts = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 /docker/12 /sys/fs/cgroup/cpu rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n\
            41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw\n";
        let cpu = cgroup_mount(mounts, "cpuacct").unwrap();
        assert_eq!(cpu.folder(Path::new("/docker/12/job")), Path::new("/sys/fs/cgroup/cpu/job"));
        assert_eq!(cpu.folder(Path::new("/docker/12")), Path::new("/sys/fs/cgroup/cpu"));
        assert_eq!(cpu.folder(Path::new("/elsewhere")), Path::new("/sys/fs/cgroup/cpu"));
        assert_eq!(cpu.folder(Path::new("/docker/12/../..")), Path::new("/sys/fs/cgroup/cpu"));
        let unified = cgroup_mount(mounts, "").unwrap();
        assert_eq!(unified.folder(Path::new("/a")), Path::new("/sys/fs/cgroup/uni fied/a"));
        assert_eq!(cgroup_mount(mounts, "memory"), None);
        assert_eq!(cgroup_mount(b"garbage - \n1 2 3 - cgroup2\n", ""), None);
    }
}
