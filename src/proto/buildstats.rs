//! What the machine did, as OpenEmbedded's buildstats write it down and pybootchartgui reads it: texts of `/proc` in, blocks of logs
//! out.
//!
//! Formats: openembedded-core, meta/lib/oe/buildstats.py and scripts/pybootchartgui/pybootchartgui/parsing.py (35a2c6e). Doesn't
//! know files, nor when it is looked: moments are seconds since 1970.

use super::kernel;
use crate::policy::pressure::{PerResource, Resource};

/// What is read below `/proc`, and the log that is made of it.
pub const LOGS: [(&str, &str); 6] = [
    ("pressure/cpu", "reduced_proc_pressure/cpu.log"),
    ("pressure/io", "reduced_proc_pressure/io.log"),
    ("pressure/memory", "reduced_proc_pressure/memory.log"),
    ("stat", "reduced_proc_stat.log"),
    ("meminfo", "reduced_proc_meminfo.log"),
    ("diskstats", "reduced_proc_diskstats.log"),
];

/// What was seen last, of which the next blocks say how it has grown.
#[derive(Debug, Default)]
pub struct Reducer {
    pressure: PerResource<Option<u64>>,
    stat: Option<[u64; 7]>,
    disks: Option<(f64, [u64; 3])>,
}

impl Reducer {
    /// The next block of the log that `LOGS` has at that place; `None`: there is none yet, or the text isn't as it should be.
    pub fn reduce(&mut self, which: usize, seconds: f64, text: &[u8]) -> Option<String> {
        match which {
            0..3 => self.pressure(Resource::ALL[which], seconds, text),
            3 => self.stat(seconds, text),
            4 => meminfo(seconds, text),
            5 => self.diskstats(seconds, text),
            _ => None,
        }
    }

    /// avg10, avg60, avg300, and by how much the total has grown. (There a total of 0 counts as none before; here it doesn't.)
    fn pressure(&mut self, of: Resource, seconds: f64, text: &[u8]) -> Option<String> {
        let total = kernel::pressure_total(text, "some")?;
        let line = std::str::from_utf8(text).ok()?.lines().find(|line| line.starts_with("some "))?;
        let mut averages = line.split(' ').skip(1).take(3).filter_map(|word| word.split('=').nth(1));
        let averages = [averages.next()?, averages.next()?, averages.next()?];
        averages.iter().try_for_each(|average| average.parse::<f64>().map(drop)).ok()?;
        let before = self.pressure.get(of);
        self.pressure.set(of, Some(total));
        let grown = total.saturating_sub(before?);
        Some(block(seconds, &format!("{} {grown}", averages.join(" "))))
    }

    /// The parts of the cpus' time that went to users, the system, and waiting for io.
    fn stat(&mut self, seconds: f64, text: &[u8]) -> Option<String> {
        let line = std::str::from_utf8(text).ok()?.lines().next()?.strip_prefix("cpu ")?;
        let mut times = [0; 7];
        let mut words = line.split_ascii_whitespace();
        for time in &mut times {
            *time = words.next()?.parse().ok()?;
        }
        let before = self.stat.replace(times)?;
        let grown = |which: &[usize]| -> f64 {
            which.iter().map(|&at| times[at].saturating_sub(before[at]) as f64).sum()
        };
        let (user, system, idle, waits) = (grown(&[0, 1]), grown(&[2, 5, 6]), grown(&[3]), grown(&[4]));
        let all = (user + system + idle + waits).max(1.0);
        Some(block(seconds, &format!("{:?} {:?} {:?}", user / all, system / all, waits / all)))
    }

    /// KiB a second read and written by all disks, times 100, and how busy they were; stamped with the beginning of the time.
    fn diskstats(&mut self, seconds: f64, text: &[u8]) -> Option<String> {
        let mut sums = [0_u64; 3];
        for line in std::str::from_utf8(text).ok()?.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if words.len() < 14 || !is_disk(words[2]) {
                continue;
            }
            for (sum, at) in sums.iter_mut().zip([5, 9, 12]) {
                *sum = sum.saturating_add(words[at].parse().ok()?);
            }
        }
        let (since, before) = self.disks.replace((seconds, sums))?;
        let time = seconds - since;
        if time <= 0.0 {
            return None;
        }
        let grown = |at: usize| sums[at].saturating_sub(before[at]) as f64;
        let [read, written] = [0, 1].map(|at| grown(at) / 2.0 * 100.0 / time);
        let busy = (grown(2) / 10.0 / time).clamp(0.0, 1.0);
        Some(block(since, &format!("{read:?} {written:?} {busy:?}")))
    }
}

/// Whole disks, by the names that are looked at there.
fn is_disk(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let one = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.len() == 1 && digits(rest));
    let two = |rest: &str, between: char| {
        rest.split_once(between).is_some_and(|(first, second)| digits(first) && digits(second))
    };
    let bytes = name.as_bytes();
    (bytes.len() == 3 && b"hsv".contains(&bytes[0]) && bytes[1] == b'd')
        || one("mtdblock")
        || one("mmcblk")
        || name.strip_prefix("cciss/c").is_some_and(|rest| two(rest, 'd'))
        || name.strip_prefix("nvme").is_some_and(|rest| {
            let namespace = rest.split_once('n');
            namespace
                .is_some_and(|(disk, rest)| digits(disk) && rest.starts_with(|c: char| c.is_ascii_digit()))
        })
}

/// MemTotal MemFree Buffers Cached SwapTotal SwapFree in KiB.
fn meminfo(seconds: f64, text: &[u8]) -> Option<String> {
    const NAMES: [&str; 6] = ["MemTotal", "MemFree", "Buffers", "Cached", "SwapTotal", "SwapFree"];
    let text = std::str::from_utf8(text).ok()?;
    let mut values = Vec::new();
    for name in NAMES {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let value = line.split_ascii_whitespace().next()?;
        value.parse::<u64>().ok()?;
        values.push(value);
    }
    Some(block(seconds, &values.join(" ")))
}

fn block(seconds: f64, line: &str) -> String {
    format!("{seconds:.0}\n{line}\n\n")
}

/// How the file of a task begins, ...
pub fn task_started(seconds: f64) -> String {
    format!("Event: TaskStarted \nStarted: {seconds:.2} \n")
}

/// ... and goes on when that has ended.
pub fn task_ended(name: &str, started: f64, ended: f64) -> String {
    format!("run: {name}\nElapsed time: {:.2} seconds\nEnded: {ended:.2} \n", (ended - started).max(0.0))
}

/// A name for a folder: of a command, without what a path could be made of.
pub fn folder_name(command: &str) -> String {
    let last = command.rsplit('/').next().unwrap_or_default();
    let name: String =
        last.chars().map(|c| if c.is_alphanumeric() || "+-_.".contains(c) { c } else { '_' }).collect();
    // What ends so is read as a log.
    let name = name.trim_start_matches('.').trim_end_matches(".log").to_owned();
    if name.is_empty() { "command".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pressure(total: u64) -> Vec<u8> {
        format!("some avg10=2.93 avg60=4.08 avg300=13.83 total={total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n").into()
    }

    #[test]
    fn pressure_is_its_averages_and_its_growth() {
        let mut reducer = Reducer::default();
        assert_eq!(reducer.reduce(0, 1.0, &pressure(0)), None);
        let block = reducer.reduce(0, 1_795_306_445.4, &pressure(711_582));
        assert_eq!(block.as_deref(), Some("1795306445\n2.93 4.08 13.83 711582\n\n"));
        assert_eq!(reducer.reduce(1, 2.0, &pressure(711_582)), None, "another's");
        assert_eq!(reducer.reduce(0, 3.6, &pressure(5)).as_deref(), Some("4\n2.93 4.08 13.83 0\n\n"));
        assert_eq!(reducer.reduce(0, 3.6, b"some avg10=x avg60=1 avg300=1 total=9\n"), None);
    }

    #[test]
    fn the_cpus_time_is_in_parts() {
        let mut reducer = Reducer::default();
        assert_eq!(reducer.reduce(3, 1.0, b"cpu  10 0 5 100 0 0 0 9 9 9\ncpu0 1\n"), None);
        let block = reducer.reduce(3, 2.0, b"cpu  80 5 15 110 5 3 2 9 9 9\n");
        assert_eq!(
            block.as_deref(),
            Some("2\n0.7142857142857143 0.14285714285714285 0.047619047619047616\n\n")
        );
        assert_eq!(reducer.reduce(3, 3.0, b"cpu  80 5\n"), None);
    }

    #[test]
    fn disks_are_those_that_bitbakes_tools_look_at() {
        let all = ["sda", "vdb", "hdc", "mmcblk0", "mtdblock1", "nvme0n1", "nvme10n1p2", "cciss/c0d1"];
        assert!(all.into_iter().all(is_disk));
        let none = ["sda1", "dm-0", "loop0", "sr0", "mmcblk0p1", "nvme0", "nvmen1", "cciss/c0", "md127", ""];
        assert_eq!(none.into_iter().filter(|name| is_disk(name)).collect::<Vec<_>>(), Vec::<&str>::new());
        let text = |read: u64, written: u64, busy: u64| {
            format!(
                "   8 0 sda 1 0 {read} 0 1 0 {written} 0 0 {busy} 0 0 0 0\n   8 1 sda1 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n"
            )
        };
        let mut reducer = Reducer::default();
        assert_eq!(reducer.reduce(5, 10.25, text(100, 0, 0).as_bytes()), None);
        let block = reducer.reduce(5, 12.25, text(1124, 512, 5).as_bytes());
        assert_eq!(block.as_deref(), Some("10\n25600.0 12800.0 0.25\n\n"), "stamped with its beginning");
        assert_eq!(reducer.reduce(5, 12.25, text(1124, 512, 5).as_bytes()), None, "no time has passed");
    }

    #[test]
    fn memory_is_as_it_stands() {
        let text = "MemTotal:  24684084 kB\nMemFree: 23684696 kB\nMemAvailable: 7 kB\nBuffers: 3484 kB\nCached: 625104 kB\n\
                    SwapCached: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
        let mut reducer = Reducer::default();
        let block = reducer.reduce(4, 7.0, text.as_bytes());
        assert_eq!(block.as_deref(), Some("7\n24684084 23684696 3484 625104 0 0\n\n"));
        assert_eq!(reducer.reduce(4, 7.0, b"MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn names_are_fit_for_folders() {
        let rows =
            [("/usr/bin/make", "make"), ("a b", "a_b"), ("..", "command"), ("x.log", "x"), ("", "command")];
        for (command, name) in rows {
            assert_eq!(folder_name(command), name, "{command}");
        }
    }

    proptest! {
        #[test]
        fn figures_are_finite_and_not_below_nothing(
            looks in prop::collection::vec((0.0..5.0_f64, any::<[u32; 10]>(), any::<bool>()), 1..20),
        ) {
            let (mut reducer, mut now) = (Reducer::default(), 1e9);
            for (step, n, is_odd) in looks {
                now += step;
                let stat = format!("cpu  {} {} {} {} {} {} {}\n", n[0], n[1], n[2], n[3], n[4], n[5], n[6]);
                let disks = format!("8 0 sda 1 0 {} 0 1 0 {} 0 0 {} 0 0\n", n[7], n[8], n[9]);
                for (which, text) in [(0, pressure(n[0].into())), (3, stat.into()), (5, disks.into())] {
                    let text = if is_odd { &text[..text.len() / 2] } else { &text[..] };
                    let Some(block) = reducer.reduce(which, now, text) else { continue };
                    prop_assert!(block.ends_with("\n\n"));
                    let figures = block.lines().nth(1).unwrap().split(' ').map(|word| word.parse::<f64>().unwrap());
                    prop_assert!(figures.into_iter().all(|figure| figure >= 0.0 && figure.is_finite()), "{}", block);
                }
            }
        }
    }
}
