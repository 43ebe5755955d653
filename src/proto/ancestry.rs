//! Whose child a process is, and which paid job it belongs to: the line of its ancestors as values.
//!
//! Knows `/proc/PID/stat` as text (proc_pid_stat(5)) and the tools that start jobs, by name. Doesn't know where a line was
//! read, what an anchor is paid for, or whether the processes still live.

use super::argv::Tool;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What is used of a `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its process id.
    pub pid: i32,
    /// The process's name (`comm`): at most 15 bytes, and any bytes.
    pub name: Vec<u8>,
    /// Its state: `R`, `S`, `T` stopped by job control, `t` by a debugger, `Z` ended ...
    pub state: u8,
    /// Its parent; 0 where that can't be seen from here.
    pub parent: i32,
    /// The page faults of its children whose status it has taken (field 11): more with each of them.
    pub reaped_faults: u64,
    /// Its threads.
    pub threads: u32,
    /// When it started, in clock ticks since boot (field 22). With its pid it names a process for good.
    pub start: u64,
    /// Its memory that is in RAM, in pages.
    pub resident: u64,
}

impl Stat {
    /// Reads a `stat` file. The name may hold blanks, newlines and brackets, so it ends at the last `)` of all.
    pub fn parse(file: &[u8]) -> Option<Stat> {
        let open = file.iter().position(|&byte| byte == b'(')?;
        let close = file.iter().rposition(|&byte| byte == b')')?;
        let name = file.get(open + 1..close)?.to_vec();
        let pid = std::str::from_utf8(&file[..open]).ok()?.trim_end().parse().ok()?;
        let rest = std::str::from_utf8(&file[close + 1..]).ok()?;
        // Field 3 comes first here: `state ppid ... starttime`.
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let reaped_faults = fields.nth(11 - 5)?.parse().ok()?;
        let threads = fields.nth(20 - 12)?.parse().ok()?;
        let start = fields.nth(22 - 21)?.parse().ok()?;
        let resident = fields.nth(24 - 23)?.parse().unwrap_or(0);
        Some(Stat { pid, name, state, parent, reaped_faults, threads, start, resident })
    }
}

/// One process of a line of ancestors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Its process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
    /// Its name (`comm`).
    pub name: Vec<u8>,
}

/// The paid job that a process belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRoot {
    /// The pid of the anchor below which it runs.
    pub anchor: i32,
    /// The job's first process: its pid and when it started.
    pub root: (i32, u64),
    /// Whether a tool of the anchor's tree started the job, with a token of its own; else it is what the anchor started.
    pub below_tool: bool,
}

/// Which job the first process of `chain` belongs to. The chain goes from that process up, each the parent of the one
/// before; `anchors` are the pids below which jobs are paid for.
///
/// The nearest anchor counts, and the process itself is none. The job begins below the nearest tool between the two
/// (again not the process itself, which may be a tool that asks for its job), or else below the anchor. `None`: no
/// ancestor is an anchor.
pub fn job_root(chain: &[Ancestor], anchors: &[i32]) -> Option<JobRoot> {
    let anchor = (1..chain.len()).find(|&at| anchors.contains(&chain[at].pid))?;
    let tool = (1..anchor).find(|&at| starts_jobs(&chain[at].name));
    let root = &chain[tool.unwrap_or(anchor) - 1];
    Some(JobRoot { anchor: chain[anchor].pid, root: (root.pid, root.start), below_tool: tool.is_some() })
}

/// The jobs in a tree, each by its processes and when they started, the first of each in front: what a tool has started and
/// all below that. Not those that have a tool below them, or one of `clients`, or a process that is stopped.
pub fn jobs(tree: &[Stat], clients: &[i32]) -> Vec<Vec<(i32, u64)>> {
    let mut children: HashMap<i32, Vec<&Stat>> = HashMap::new();
    tree.iter().for_each(|process| children.entry(process.parent).or_default().push(process));
    let tools: HashSet<i32> =
        tree.iter().filter(|stat| starts_jobs(&stat.name)).map(|stat| stat.pid).collect();
    let mut found = Vec::new();
    for first in tree.iter().filter(|stat| tools.contains(&stat.parent)) {
        let mut job = vec![first];
        let mut at = 0;
        while let Some(process) = job.get(at) {
            job.extend(children.get(&process.pid).into_iter().flatten());
            at += 1;
        }
        let is_free =
            |stat: &&Stat| !tools.contains(&stat.pid) && !clients.contains(&stat.pid) && stat.state != b'T';
        if job.iter().all(is_free) {
            found.push(job.iter().map(|stat| (stat.pid, stat.start)).collect());
        }
    }
    found
}

/// Whether a process of this name hands out jobs: make, ninja, samurai, cargo.
pub fn starts_jobs(name: &[u8]) -> bool {
    Tool::of(OsStr::from_bytes(name)) != Tool::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str =
        "1 2 0 -1 4194304 105 17 0 0 0 0 0 0 20 0 1 0 8675309 2703360 256 18446744073709551615";

    #[test]
    fn stat_files() {
        let names: [&[u8]; 8] =
            [b"make", b"", b"a b", b")", b"x) R 1 (y", b"(((", b"line\nline", b"\xff\xfe) S 9 9 9"];
        for name in names {
            let file = [b"77 (", name, b") T 42 ", TAIL.as_bytes(), b"\n"].concat();
            let stat = Stat {
                pid: 77,
                name: name.to_vec(),
                state: b'T',
                parent: 42,
                reaped_faults: 17,
                threads: 1,
                start: 8_675_309,
                resident: 256,
            };
            assert_eq!(Stat::parse(&file), Some(stat), "{name:?}");
        }
    }

    #[test]
    fn jobs_are_what_tools_have_started_and_nobody_waits_for() {
        let process = |pid, name: &str, parent| Stat {
            pid,
            name: name.into(),
            state: b'S',
            parent,
            reaped_faults: 0,
            threads: 1,
            start: 100 + pid as u64,
            resident: 0,
        };
        let mut tree = vec![
            process(2, "sh", 1),
            process(3, "make", 2),
            process(4, "sh", 3),
            process(5, "gcc", 4),
            process(6, "cc1", 5),
            process(7, "sh", 3),
            process(8, "ninja", 7),
            process(9, "cc1plus", 8),
            process(10, "sh", 3),
            process(11, "jobgate", 10),
            process(12, "cc1", 3),
            process(13, "as", 12),
        ];
        tree[11].state = b'T';
        let found = |tree: &[Stat]| {
            jobs(tree, &[11])
                .iter()
                .map(|job| job.iter().map(|&(pid, _)| pid).collect())
                .collect::<Vec<Vec<i32>>>()
        };
        assert_eq!(found(&tree), [vec![4, 5, 6], vec![9]]);
        assert_eq!(jobs(&tree, &[])[0][0], (4, 104));
        assert_eq!(found(&tree[..2]), Vec::<Vec<i32>>::new());
    }

    #[test]
    fn what_is_no_stat_file() {
        let odd: [&str; 9] = [
            "",
            "77",
            "77 (make",
            "77 make) T 42",
            ") (",
            "77 (make)",
            "77 (make) T",
            "77 (make) T x 1 2 0 -1 4194304 105 0 0 0 0 0 0 0 20 0 1 0 8675309",
            "77 (make) T 42 1 2 0 -1 4194304 105 0 0 0 0 0 0 0 20 0 1 0",
        ];
        for file in odd {
            assert_eq!(Stat::parse(file.as_bytes()), None, "{file:?}");
        }
    }

    /// A chain from names, the asker first: its pid is 100, its parent's 99 and so on; each started at ten times its pid.
    fn chain(names: &str) -> Vec<Ancestor> {
        let named = |(pid, name): (i32, &str)| {
            let name = name.as_bytes().to_vec();
            Ancestor { pid, start: pid as u64 * 10, name }
        };
        (1..=100).rev().zip(names.split_whitespace()).map(named).collect()
    }

    /// The chain from the asker (100) up, the anchors, and (anchor, the job's first process, below a tool).
    type Row = (&'static str, &'static [i32], Option<(i32, i32, bool)>);

    #[test]
    fn the_job_begins_below_the_nearest_tool_or_the_anchor() {
        #[rustfmt::skip]
        let rows: &[Row] = &[
            ("sh jobgate bash init", &[99], Some((99, 100, false))),
            ("sh bash jobgate init", &[98], Some((98, 99, false))),
            ("sh make jobgate init", &[98], Some((98, 100, true))),
            ("cc sh make jobgate init", &[97], Some((97, 99, true))),
            ("make sh jobgate init", &[98], Some((98, 99, false))),        // the asker isn't a tool to itself
            ("make sh make sh jobgate", &[96], Some((96, 99, true))),
            ("cc make sh make sh jobgate", &[95], Some((95, 100, true))),  // the deepest tool, not the first
            ("cc sh gmake-4.4 sh ninja sh jobgate", &[94], Some((94, 99, true))),
            ("cc ninja jobgate", &[98], Some((98, 100, true))),
            ("cc ninja-build jobgate", &[98], Some((98, 100, true))),
            ("cc samu jobgate", &[98], Some((98, 100, true))),
            ("cc samurai jobgate", &[98], Some((98, 100, true))),
            ("cc rustc cargo jobgate", &[97], Some((97, 99, true))),
            ("cc remake makeinfo muon jobgate", &[96], Some((96, 97, false))),
            ("sh jobgate sh make jobgate", &[99, 96], Some((99, 100, false))), // the nearest anchor
            ("sh jobgate sh make jobgate", &[96], Some((96, 98, true))),
            ("sh jobgate make init", &[99], Some((99, 100, false))),       // a tool above the anchor is no matter
            ("sh make init", &[98], Some((98, 100, true))),
            ("sh make init", &[99], Some((99, 100, false))),               // an anchor that is a tool
            ("jobgate bash init", &[100], None),                           // the asker isn't its own anchor
            ("jobgate sh jobgate", &[100, 98], Some((98, 99, false))),
            ("sh bash init", &[7], None),
            ("sh bash init", &[], None),
            ("sh", &[100], None),
            ("", &[100], None),
        ];
        for &(names, anchors, expected) in rows {
            let expected = expected.map(|(anchor, pid, below_tool)| JobRoot {
                anchor,
                root: (pid, pid as u64 * 10),
                below_tool,
            });
            assert_eq!(job_root(&chain(names), anchors), expected, "{names} {anchors:?}");
        }
    }
}
