//! Processes as `/proc` shows them: the line of one's ancestors, who is stopped, who still lives.
//!
//! Doesn't know jobs. All hangs from a root folder, `/proc` mostly: a test is a folder. What can't be read (it has ended,
//! or `hidepid` hides it) isn't there.

use super::again::{again, fill};
use crate::proto::ancestry::{Ancestor, Stat};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{SysconfVar, sysconf};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where the kernel shows processes.
pub const PROC: &str = "/proc";

/// A line longer than this is cut: nobody nests builds so deep, and each step costs a read.
const MOST_STEPS: usize = 64;

/// The process and its ancestors, up to pid 1 or to the first that can't be read; 64 at the most, the process included.
/// Empty where it can't be read itself.
///
/// A parent that started after its child isn't its parent: that one ended between two readings, and another process got
/// its pid.
pub fn chain(root: &Path, pid: i32) -> Vec<Ancestor> {
    chain_to(root, pid, |_| false)
}

/// The same, up to the first that `is_end`.
pub fn chain_to(root: &Path, pid: i32, mut is_end: impl FnMut(&Ancestor) -> bool) -> Vec<Ancestor> {
    let mut chain: Vec<Ancestor> = Vec::new();
    let mut next = pid;
    while next > 0 && chain.len() < MOST_STEPS {
        let Some(stat) = stat(root, next) else { break };
        if chain.last().is_some_and(|child| child.start < stat.start) {
            break;
        }
        let ancestor = Ancestor { pid: next, start: stat.start, name: stat.name };
        next = if is_end(&ancestor) { 0 } else { stat.parent };
        chain.push(ancestor);
    }
    chain
}

/// What tells our pid namespace from others; 0 where that can't be seen.
pub fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino())
}

/// Whose a process is.
pub fn owner_of(pid: i32) -> Option<u32> {
    std::fs::metadata(Path::new(PROC).join(pid.to_string())).ok().map(|meta| meta.uid())
}

/// When a process started, in clock ticks since boot.
pub fn start_of(pid: i32) -> Option<u64> {
    stat(Path::new(PROC), pid).map(|stat| stat.start)
}

/// A process that is looked at more than once: never another one that has got its pid meanwhile.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// Its folder below `/proc`.
    pub fn open(pid: i32) -> io::Result<Process> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let path = Path::new(PROC).join(pid.to_string());
        Ok(Process(again(|| open(&path, flags, Mode::empty()))?))
    }

    /// Whose it is; root's where it doesn't let itself be looked into (proc(5)).
    pub fn owner(&self) -> io::Result<u32> {
        Ok(fstat(&self.0)?.st_uid)
    }

    /// When it started, in clock ticks since boot; `None`: it has ended.
    pub fn start(&self) -> Option<u64> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = again(|| openat(&self.0, "stat", flags, Mode::empty())).ok()?;
        read_stat(File::from(file)).map(|stat| stat.start)
    }

    /// Opens what it has open at `number` anew.
    pub fn open_descriptor(&self, number: i32, flags: OFlag) -> io::Result<OwnedFd> {
        let name = format!("fd/{number}");
        Ok(again(|| openat(&self.0, name.as_str(), flags, Mode::empty()))?)
    }
}

/// A variable of the environment that the process was started with; `None` also where that is hidden from us.
pub fn variable_of(root: &Path, pid: i32, name: &str) -> Option<OsString> {
    let environment = std::fs::read(root.join(pid.to_string()).join("environ")).ok()?;
    let mut words = environment.split(|&byte| byte == 0);
    let value = words.find_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    Some(OsString::from_vec(value.to_vec()))
}

/// Whether the process is stopped by job control (`T`; not by a debugger).
pub fn is_stopped(root: &Path, pid: i32) -> bool {
    stat(root, pid).is_some_and(|stat| stat.state == b'T')
}

/// Whether the process with this pid is the one that started at `start` (clock ticks since boot), and hasn't ended. One
/// that waits for its parent to take its status has; so has, as seen here, one whose first thread alone has ended.
pub fn is_alive_since(root: &Path, pid: i32, start: u64) -> bool {
    stat(root, pid).is_some_and(|stat| stat.start == start && !matches!(stat.state, b'Z' | b'X' | b'x'))
}

/// The process's children that haven't ended.
pub fn children(root: &Path, pid: i32) -> Vec<i32> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |stat: Stat| stat.parent == pid && !matches!(stat.state, b'Z' | b'X' | b'x');
    pids.filter(|&child| stat(root, child).is_some_and(is_child)).collect()
}

/// What lives below each of these groups of processes, themselves not counted, nor what is below another of them that is
/// nearer. `None`: one of the group isn't seen here. Reads the line of every process.
pub fn below(root: &Path, groups: &[&[i32]]) -> Vec<Option<Vec<Stat>>> {
    below_where(root, groups, |stat| !matches!(stat.state, b'Z' | b'X' | b'x'))
}

/// The same with those that have ended and whose parent hasn't taken their status yet.
pub fn below_with_ended(root: &Path, groups: &[&[i32]]) -> Vec<Option<Vec<Stat>>> {
    below_where(root, groups, |stat| !matches!(stat.state, b'X' | b'x'))
}

fn below_where(root: &Path, groups: &[&[i32]], counts: impl Fn(&Stat) -> bool) -> Vec<Option<Vec<Stat>>> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: HashMap<i32, Stat> = pids.filter_map(|pid| Some((pid, stat(root, pid)?))).collect();
    let group_of = |pid: i32| groups.iter().position(|group| group.contains(&pid));
    let is_seen = |group: &&[i32]| group.iter().all(|pid| all.contains_key(pid));
    let mut trees: Vec<Option<Vec<Stat>>> =
        groups.iter().map(|group| is_seen(group).then(Vec::new)).collect();
    for process in all.values().filter(|stat| counts(stat)) {
        let mut parent = process.parent;
        for _ in 0..MOST_STEPS {
            if let Some(at) = group_of(parent) {
                trees[at].as_mut().into_iter().for_each(|tree| tree.push(process.clone()));
                break;
            }
            let Some(stat) = all.get(&parent) else { break };
            parent = stat.parent;
        }
    }
    trees
}

/// The memory of a process that is in RAM, in bytes.
pub fn bytes(stat: &Stat) -> u64 {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| size.try_into().ok());
    stat.resident.saturating_mul(page.unwrap_or(4096))
}

fn stat(root: &Path, pid: i32) -> Option<Stat> {
    read_stat(File::open(root.join(pid.to_string()).join("stat")).ok()?)
}

fn read_stat(mut file: File) -> Option<Stat> {
    // All of it at once: a line is read for each ancestor of each client that comes, and a name of 16 bytes, escaped, and
    // fifty numbers are shorter than this.
    let mut line = [0; 2048];
    let length = fill(&mut line, |to, _| file.read(to), |line| line.ends_with(b"\n")).ok()?;
    Stat::parse(&line[..length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use nix::unistd::Pid;
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command, Stdio};

    /// A folder as `/proc`, of (pid, name, state, parent, start).
    fn folder(processes: &[(i32, &str, char, i32, u64)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (pid, name, state, parent, start) in processes {
            let process = root.path().join(pid.to_string());
            std::fs::create_dir(&process).unwrap();
            let between = "1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0";
            let stat = format!("{pid} ({name}) {state} {parent} {between} {start} 1 1\n");
            std::fs::write(process.join("stat"), stat).unwrap();
        }
        root
    }

    #[test]
    fn children_are_those_that_live() {
        let processes = [
            (1, "init", 'S', 0, 1),
            (2, "a", 'S', 1, 2),
            (3, "b", 'Z', 1, 3),
            (4, "c", 'T', 1, 4),
            (5, "d", 'R', 2, 5),
        ];
        let root = folder(&processes);
        std::fs::create_dir(root.path().join("sys")).unwrap();
        let sorted = |pid| {
            let mut found = children(root.path(), pid);
            found.sort_unstable();
            found
        };
        assert_eq!((sorted(1), sorted(2), sorted(5)), (vec![2, 4], vec![5], vec![]));
    }

    #[test]
    fn what_lives_below_counts_for_the_nearest_group() {
        let root = folder(&[
            (1, "init", 'S', 0, 1),
            (2, "jobgate", 'S', 1, 2),
            (3, "jg-witness", 'S', 2, 2),
            (4, "make", 'S', 2, 3),
            (5, "cc", 'R', 4, 4),
            (6, "cc", 'Z', 4, 4),
            (7, "jobgate", 'S', 4, 4),
            (8, "make", 'S', 7, 5),
            (9, "sh", 'S', 1, 5),
            (10, "make", 'S', 9, 6),
        ]);
        let names = |groups: &[&[i32]]| {
            let trees = below(root.path(), groups).into_iter();
            let names = |tree: Vec<Stat>| {
                let mut names: Vec<_> =
                    tree.into_iter().map(|stat| String::from_utf8(stat.name).unwrap()).collect();
                names.sort();
                names.join(" ")
            };
            trees.map(|tree| tree.map(names)).collect::<Vec<_>>()
        };
        let nearest = names(&[&[2, 9], &[7], &[8, 99]]);
        assert_eq!(
            nearest,
            [Some("cc jg-witness jobgate make make".to_owned()), Some("make".to_owned()), None]
        );
        assert_eq!(names(&[&[2]]), [Some("cc jg-witness jobgate make make".to_owned())]);
        let counts = |trees: Vec<Option<Vec<Stat>>>| trees[0].as_ref().map(Vec::len);
        assert_eq!(counts(below(root.path(), &[&[2]])), Some(5));
        assert_eq!(counts(below_with_ended(root.path(), &[&[2]])), Some(6));
    }

    fn pids(root: &Path, pid: i32) -> Vec<i32> {
        chain(root, pid).iter().map(|ancestor| ancestor.pid).collect()
    }

    #[test]
    fn goes_up_to_pid_1_or_to_what_cant_be_read() {
        let root = folder(&[
            (1, "init", 'S', 0, 5),
            (20, "make) R 1 (", 'S', 1, 50),
            (30, "sh", 'R', 20, 50),
            (40, "cc", 'R', 39, 60),
            (50, "older parent", 'R', 30, 49),
            (60, "its own parent", 'R', 60, 70),
        ]);
        let root = root.path();
        let ancestor = |pid, start, name: &str| Ancestor { pid, start, name: name.into() };
        let line = [ancestor(30, 50, "sh"), ancestor(20, 50, "make) R 1 ("), ancestor(1, 5, "init")];
        assert_eq!(chain(root, 30), line);
        assert_eq!(pids(root, 40), [40], "its parent has ended");
        assert_eq!(pids(root, 50), [50], "its parent has ended, and the pid is another's");
        assert_eq!(pids(root, 60).len(), MOST_STEPS, "a loop ends");
        assert!(pids(root, 2).is_empty());
        assert!(pids(root, 0).is_empty());
        assert!(pids(root, -1).is_empty());
        assert!(pids(&root.join("nothing"), 1).is_empty());
        std::fs::write(root.join("20/stat"), "20 (make").unwrap();
        assert_eq!(pids(root, 30), [30]);
    }

    #[test]
    fn variables() {
        let root = folder(&[(20, "sh", 'S', 1, 50)]);
        std::fs::write(root.path().join("20/environ"), b"TMP=/x\0TMPDIR=/a=\xff\0TMPDIR=/b\0EMPTY=\0")
            .unwrap();
        let of = |pid, name| variable_of(root.path(), pid, name).map(OsString::into_vec);
        assert_eq!(of(20, "TMPDIR"), Some(b"/a=\xff".to_vec()));
        assert_eq!([of(20, "EMPTY"), of(20, "TM"), of(21, "TMP")], [Some(Vec::new()), None, None]);
    }

    #[test]
    fn states() {
        let states = ['R', 'S', 'D', 'I', 'T', 't', 'Z', 'X', 'x'];
        let processes: Vec<_> = (1..).zip(states).map(|(pid, state)| (pid, "p", state, 0, 5)).collect();
        let root = folder(&processes);
        let those = |is: &dyn Fn(i32) -> bool| -> String {
            (1..).zip(states).filter(|&(pid, _)| is(pid)).map(|(_, state)| state).collect()
        };
        assert_eq!(those(&|pid| is_stopped(root.path(), pid)), "T");
        assert_eq!(those(&|pid| is_alive_since(root.path(), pid, 5)), "RSDITt");
        assert_eq!(those(&|pid| is_alive_since(root.path(), pid, 4)), "");
        assert!(!is_stopped(root.path(), 99) && !is_alive_since(root.path(), 99, 5));
    }

    /// A real process that ends with its guard.
    struct Waiting(Child);

    impl Waiting {
        /// `cat` under a name, waiting for an end of file.
        fn under_name(folder: &Path, name: &str) -> Waiting {
            let program = folder.join(name);
            symlink("/bin/cat", &program).unwrap();
            Waiting(Command::new(program).stdin(Stdio::piped()).spawn().unwrap())
        }

        fn pid(&self) -> i32 {
            self.0.id() as i32
        }

        /// Sends a signal and waits for what comes of it, which stays to be waited for again.
        fn signal(&self, signal: Signal, outcome: WaitPidFlag) {
            let pid = Pid::from_raw(self.pid());
            kill(pid, signal).unwrap();
            waitid(Id::Pid(pid), outcome | WaitPidFlag::WNOWAIT).unwrap();
        }
    }

    impl Drop for Waiting {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_real_process_and_its_ancestors() {
        let folder = tempfile::tempdir().unwrap();
        let name = "a) T 1 (\n";
        let process = Waiting::under_name(folder.path(), name);
        let line = chain(Path::new(PROC), process.pid());
        assert_eq!((line[0].pid, &line[0].name[..]), (process.pid(), name.as_bytes()));
        let ours = nix::unistd::getpid().as_raw();
        let parent = nix::unistd::getppid().as_raw();
        assert_eq!(line[1].pid, ours);
        assert!(line[1].start <= line[0].start);
        assert_eq!(line.get(2).map_or(0, |ancestor| ancestor.pid), parent);
        assert_eq!(chain(Path::new(PROC), ours)[0], line[1]);
    }

    #[test]
    fn a_real_process_stops_goes_on_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Waiting::under_name(folder.path(), "cat");
        let (root, pid) = (Path::new(PROC), process.pid());
        let start = chain(root, pid)[0].start;
        let seen = || (is_stopped(root, pid), is_alive_since(root, pid, start));
        assert_eq!(seen(), (false, true));
        assert!(!is_alive_since(root, pid, start + 1), "another of that pid");
        process.signal(Signal::SIGSTOP, WaitPidFlag::WSTOPPED);
        assert_eq!(seen(), (true, true));
        process.signal(Signal::SIGCONT, WaitPidFlag::WCONTINUED);
        assert_eq!(seen(), (false, true));
        process.signal(Signal::SIGKILL, WaitPidFlag::WEXITED);
        assert_eq!(seen(), (false, false), "ended, its status not yet taken");
        process.0.wait().unwrap();
        assert_eq!(seen(), (false, false));
    }
}
