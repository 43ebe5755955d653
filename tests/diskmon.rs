//! The disk space monitor from outside: real limits on real file systems, real tools, and what runs meanwhile.
//!
//! Doesn't know the rules for each figure, nor odd spellings (unit tests hold those). What has to be filled and emptied is a
//! tmpfs in a mount namespace of the run's own.

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use support::Real::{Make441, SystemMake};
use support::build::{Build, text};
use support::pool::at_once;
use support::shared::Shared;
use support::{
    DEADLINE, Jobs, await_change, clean, finish, finish_child, job, jobgate, jobs, run, skipped, tool,
};

const STOPPED: &str = "No new tasks can be executed since the disk space monitor action is \"STOPTASKS\"!";
const HALTED: &str = "Immediately halt since the disk space monitor action is \"HALT\"!";
const AGAIN: &str = "New tasks can be executed again: there is enough free space";

/// The file system's size, and less than what a full one has left.
const SIZE: usize = 32 << 20;
const HALF: &str = "16M";

/// A tree below `jobgate run` with a small file system of its own, mounted in the folder at `disk`.
struct Run {
    folder: tempfile::TempDir,
    child: Option<Child>,
    pid: Pid,
    lines: Receiver<String>,
    heard: RefCell<Vec<String>>,
}

impl Run {
    /// `jobgate run OPTIONS --diskmon ACTION,DISK,HALF -- COMMAND` in the folder; `None` where no file system can be mounted.
    fn start(folder: tempfile::TempDir, action: &str, options: &[&str], command: &[&str]) -> Option<Run> {
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let mount = format!("mount -t tmpfs -o size={SIZE} none \"$0\"");
        let mounts = |then: &str| {
            let mut line = clean(Command::new("unshare"));
            line.args(["-Urm", "sh", "-c", &format!("{mount} && {then}")]).arg(&disk);
            line
        };
        if !finish(&mut mounts("true")).status.success() {
            skipped("no tmpfs can be mounted in a namespace of one's own");
            return None;
        }
        let mut line = mounts("exec \"$@\"");
        let monitor = format!("{action},{},{HALF}", disk.display());
        line.args([jobgate(), "run", "--diskmon", &monitor]).args(options).arg("--").args(command);
        line.current_dir(&folder).env("LOG", folder.path().join("log"));
        let mut child = line.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let lines = listen(child.stderr.take().unwrap());
        Some(Run { folder, child: Some(child), pid, lines, heard: RefCell::default() })
    }

    /// The file that takes what is free, as seen from here.
    fn filling(&self) -> PathBuf {
        let disk = self.folder.path().join("disk/filling");
        Path::new("/proc").join(self.pid.to_string()).join("root").join(disk.strip_prefix("/").unwrap())
    }

    fn fill(&self) {
        std::fs::write(self.filling(), vec![0; SIZE * 3 / 4]).unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.filling()).unwrap();
    }

    fn jobs(&self) -> Jobs {
        jobs(&self.folder.path().join("log"))
    }

    /// Waits until the jobs so far give a value.
    fn until<T>(&self, mut ready: impl FnMut(Jobs) -> Option<T>) -> T {
        await_change(self.folder.path(), || ready(self.jobs()))
    }

    /// Waits until so many jobs run at once, later than the first `stamps` stamps.
    fn until_running(&self, running: usize, stamps: usize) {
        self.until(|seen| seen.course.iter().skip(stamps).any(|&(_, now)| now == running).then_some(()));
    }

    /// Waits for a line that has this in it.
    fn until_says(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("no '{part}' in {:?}", self.heard.borrow()));
            self.heard.borrow_mut().push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits for the end: how it ended, and all lines that were said.
    fn end(mut self) -> (Output, Vec<String>, tempfile::TempDir) {
        let output = finish_child(self.child.take().unwrap());
        // Whoever it has left running has them open, too.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            self.heard.borrow_mut().push(line);
        }
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (output, self.heard.take(), folder)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A test has failed; what it started goes with it.
            let _ = kill(self.pid, Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

/// The lines of a stream, as they come.
fn listen(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stream)).map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Lays many jobs of so many seconds, which end at once when there is a file `stop`.
fn lay(folder: &Path, build: Build, seconds: f64) -> Option<Vec<String>> {
    let line = build.lay_jobs(folder, 200, seconds)?;
    let recipe = job(seconds).replace('$', "$$");
    for file in ["Makefile", "build.ninja"] {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace(&recipe, &format!("[ -e stop ] || {{ {recipe}; }}"));
        std::fs::write(path, text).unwrap();
    }
    Some(line)
}

fn said(output: &Output) -> Vec<String> {
    String::from_utf8(output.stderr.clone()).unwrap().lines().map(str::to_owned).collect()
}

/// `jobgate run OPTIONS -- sh -c LINE`, to its end.
fn shell(options: &[&str], variables: &[(&str, &str)], line: &str) -> Output {
    finish(run(options, &["sh", "-c", line]).envs(variables.iter().copied()))
}

#[test]
fn a_bad_option_is_refused_and_a_bad_variable_leaves_no_monitor() {
    for bad in ["", "WARN,/", "FOO,/,1G", "WARN,,1G", "WARN,/,0", "WARN,/,1G,x", "WARN,/,,", "WARN,/,1 WARN"]
    {
        let output = shell(&["--diskmon", "WARN,/,1", "--diskmon", bad], &[], "echo started");
        let said = said(&output);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{bad}: {said:?}");
        let culprit = bad.split(' ').next_back().unwrap();
        assert!(
            said.len() == 1 && said[0].starts_with(&format!("jobgate: --diskmon '{culprit}': ")),
            "{said:?}"
        );
    }
    let dirs = "HALT,/,1000000G FOO,/,1G";
    let output = shell(&["--heartbeat", "0.05"], &[("BB_DISKMON_DIRS", dirs)], "sleep 0.3; exit 3");
    let why = "BB_DISKMON_DIRS 'FOO,/,1G': the action is WARN, STOPTASKS or HALT";
    assert_eq!(said(&output), [format!("jobgate: {why}; the disk space monitor will NOT be enabled")]);
    assert_eq!(output.status.code(), Some(3), "the build goes on");
}

#[test]
fn what_is_low_is_said_once_and_what_is_not_never() {
    let device = finish(Command::new("df").args(["--output=source", "/"]));
    let device = String::from_utf8(device.stdout).unwrap().lines().next_back().unwrap().to_owned();
    let space = format!("jobgate: The free space of / ({device}) is running low (");
    let inode = format!("jobgate: The free inode of / ({device}) is running low (");
    let renamed = "\"ABORT\" action has been renamed to \"HALT\", update configuration";
    type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], Vec<String>);
    let rows: [Row; 8] = [
        (&["--diskmon", "WARN,/,1000000G"], &[], vec![space.clone()]),
        (&["--diskmon=WARN,/,1"], &[], vec![]),
        (&[], &[("BB_DISKMON_DIRS", "WARN,/,1000000G,1000000G")], vec![space.clone(), inode.clone()]),
        (
            &[],
            &[("BB_DISKMON_DIRS", "HALT,/,1K STOPTASKS,/,1,1"), ("BB_DISKMON_WARNINTERVAL", "1,1")],
            vec![],
        ),
        // Each of several is watched; options come before the variable.
        (
            &["--diskmon", "WARN,/,1000000G", "--diskmon", "WARN,/,,1000000G WARN,/,1"],
            &[("BB_DISKMON_DIRS", "WARN,/nowhere,1000000G")],
            vec![space.clone(), inode.clone()],
        ),
        // Nothing to be said of nothing: no inodes are counted there.
        (&["--diskmon", "WARN,/proc,,1000000G"], &[], vec![]),
        (&["--diskmon", "WARN,/no/where,1000000G"], &[], vec![space.replace("of / ", "of /no/where ")]),
        (&["--diskmon", "ABORT,/,1"], &[], vec![format!("jobgate: The --diskmon {renamed}")]),
    ];
    at_once(&rows, |(options, variables, expected)| {
        // Six beats.
        let output = shell(&[options, &["--heartbeat", "0.1"][..]].concat(), variables, "sleep 0.65; exit 4");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(4), "{said:?}");
        assert_eq!(said.len(), expected.len(), "{options:?} {variables:?}: {said:?}");
        for (line, expected) in said.iter().zip(expected) {
            assert!(line.starts_with(expected), "{options:?} {variables:?}: {line}");
            assert!(
                !line.contains(" free ") || line.ends_with("GB left)") || line.ends_with("K left)"),
                "{line}"
            );
        }
    });
}

#[test]
fn after_stoptasks_one_job_runs_at_a_time_until_there_is_space_again() {
    let rows: [(Build, &[&str]); 4] = [
        (Build::Make(SystemMake), &["--private"]),
        (Build::Make(SystemMake), &[]),
        (Build::Make(Make441), &[]),
        (Build::Ninja, &["--heartbeat", "0.3"]),
    ];
    at_once(&rows, |&(build, options)| {
        let folder = tempfile::tempdir().unwrap();
        let Some(line) = lay(folder.path(), build, 0.2) else { return };
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let options = [options, &["-j4"]].concat();
        let Some(run) = Run::start(folder, "STOPTASKS", &options, &line) else { return };
        run.until_running(4, 0);
        run.fill();
        let low = run.until_says("is running low");
        assert!(low.contains("/disk (none) is running low (0.0"), "{low}");
        run.until_says(STOPPED);
        // Whenever something has happened, until all that was out is back.
        let answer = run.until(|_| {
            kill(run.pid, Signal::SIGUSR1).unwrap();
            Some(run.until_says("jobgate: limit 4, ")).filter(|line| line.contains("(1 lease, 0 held)"))
        });
        assert!(answer.ends_with(", nothing new here for want of disk space"), "{answer}");
        let from = run.jobs().course.len();
        let to = run.until(|seen| (seen.course.len() >= from + 10).then_some(seen.course.len()));
        run.empty();
        run.until_says(AGAIN);
        run.until_running(4, to);
        std::fs::write(run.folder.path().join("stop"), "").unwrap();
        let closed = run.jobs();
        let (output, heard, _) = run.end();
        assert!(output.status.success(), "{heard:?}");
        let peak = closed.course[from..to].iter().map(|&(_, running)| running).max();
        assert_eq!((peak, closed.peak), (Some(1), 4), "{build:?} {options:?}: {:?}", closed.course);
        let said = heard.iter().filter(|line| !line.starts_with("jobgate: limit ")).count();
        assert_eq!(said, 3, "each thing once: {heard:?}");
    });
}

#[test]
fn what_a_stopped_build_may_not_have_goes_to_others() {
    let shared = Shared::new();
    let make = Build::Make(SystemMake);
    let stops = ["-j4", "--heartbeat", "0.1", "--diskmon", "STOPTASKS,/,1000000G"];
    let Some(mut stopped) = shared.build("stopped", &stops, make, 40, 0.2) else { return };
    let mut stopped = stopped.spawn().unwrap();
    let lines = listen(stopped.stderr.take().unwrap());
    while !lines.recv_timeout(DEADLINE).unwrap().contains(STOPPED) {}
    let mut other = shared.build("other", &["-j4"], make, 40, 0.2).unwrap();
    assert!(finish(&mut other).status.success());
    // A job each, and the other two for who can take them.
    let (from, to) = support::span(&shared.log(), "other");
    let means = support::means(&shared.log(), from + 0.5, to - 0.3);
    assert!(means["other"] > 2.6 && means["stopped"] < 1.1, "{means:?}");
    assert!(finish_child(stopped).status.success());
}

#[test]
fn halt_ends_the_command_within_two_beats() {
    type Row = (&'static [&'static str], &'static str, Option<i32>, Option<i32>);
    let rows: [Row; 4] = [
        (&[], "trap 'exit 7' TERM; :>up; while :; do sleep 0.02; done", Some(7), None),
        (&["--style", "fifo"], ":>up; exec sleep 1000", None, Some(15)),
        // What it leaves running is ended, too.
        (&["--private"], "sleep 1000 & echo $! >left; :>up; wait", None, Some(15)),
        (&["--style", "pipe"], "sh -c 'echo $$ >left; sleep 1000; :' & :>up; wait; :", None, Some(15)),
    ];
    at_once(&rows, |&(options, script, code, signal)| {
        use std::os::unix::process::ExitStatusExt;
        let folder = tempfile::tempdir().unwrap();
        let Some(run) = Run::start(folder, "HALT", options, &["bash", "-c", script]) else { return };
        await_change(run.folder.path(), || run.folder.path().join("up").exists().then_some(()));
        run.fill();
        let filled = Instant::now();
        let (output, heard, folder) = run.end();
        let took = filled.elapsed();
        assert!(took < Duration::from_secs(2), "{script}: {took:?}");
        assert_eq!((output.status.code(), output.status.signal()), (code, signal), "{script}: {heard:?}");
        assert_eq!(heard.last().unwrap(), &format!("jobgate: {HALTED}"), "{heard:?}");
        assert_eq!(heard.len(), 2, "{heard:?}");
        let left = std::fs::read_to_string(folder.path().join("left")).unwrap_or_default();
        assert_eq!(left.lines().filter(|pid| lives(pid)).count(), 0, "{script}: {left}");
    });
}

/// Whether there is such a process, and it hasn't ended.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn halt_lets_every_make_clean_up_and_ends_as_it_does() {
    let rows: [(support::Real, &[&str], bool); 4] = [
        (SystemMake, &["-j4"], false),
        (Make441, &["-j4"], false),
        // Below a script that is ended at once, the make is left to us.
        (SystemMake, &["-j4", "--private"], true),
        (Make441, &["-j4"], true),
    ];
    at_once(&rows, |&(make, options, in_script)| {
        let Some(make) = tool(make) else { return };
        let lay = || {
            let folder = tempfile::tempdir().unwrap();
            let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
            write(
                "Makefile",
                "all: sub a b\n.PHONY: all sub\nsub:\n\t@+$(MAKE) --no-print-directory -f sub.mk\n\
                a b:\n\t@echo $$$$ >>pids; echo half >$@; echo $@ >>log.txt; exec sleep 1000\n",
            );
            write(
                "sub.mk",
                "all: c d\nc d:\n\t@echo $$$$ $$PPID >>pids; echo half >$@; echo $@ >>log.txt; exec sleep 1000\n",
            );
            folder
        };
        let up = |folder: &Path| {
            let started =
                || std::fs::read_to_string(folder.join("log.txt")).unwrap_or_default().lines().count();
            await_change(folder, || (started() >= 4).then_some(()));
        };
        let make = text(&make);
        let script = format!("{make}; echo over >over");
        let line: Vec<&str> = if in_script { vec!["sh", "-c", &script] } else { vec![&make] };
        let Some(run) = Run::start(lay(), "HALT", options, &line) else { return };
        up(run.folder.path());
        run.fill();
        let (output, heard, folder) = run.end();
        // The same without us.
        let plain = lay();
        let mut alone = clean(Command::new(&make));
        alone.arg("-j4").current_dir(&plain).stdout(Stdio::piped()).stderr(Stdio::piped());
        let alone = alone.spawn().unwrap();
        up(plain.path());
        kill(Pid::from_raw(alone.id() as i32), Signal::SIGTERM).unwrap();
        assert_eq!(output.status, finish_child(alone).status, "{heard:?}");
        assert!(heard.contains(&format!("jobgate: {HALTED}")), "{heard:?}");
        for half in ["a", "b", "c", "d", "over"] {
            assert!(!folder.path().join(half).exists(), "{line:?}: {half} is there: {heard:?}");
        }
        let pids = std::fs::read_to_string(folder.path().join("pids")).unwrap();
        assert!(!pids.split_whitespace().any(lives), "{pids:?}");
    });
}

#[test]
fn nothing_wakes_up_for_a_monitor_that_is_not_set() {
    // jobgate's voluntary switches, and two beats later again.
    let line =
        "ask() { grep -w voluntary_ctxt_switches /proc/$PPID/status; }; sleep 0.5; ask; sleep 2.1; ask";
    let wakes = |options: &[&str]| {
        let output = shell(&[&["--style", "pipe"], options].concat(), &[], line);
        let text = String::from_utf8(output.stdout).unwrap();
        let counts: Vec<i64> =
            text.lines().map(|line| line.split('\t').nth(1).unwrap().parse().unwrap()).collect();
        counts[1] - counts[0]
    };
    at_once(&[(&[][..], 0..=0), (&["--diskmon", "WARN,/,1"][..], 2..=4)], |(options, expected)| {
        let wakes = wakes(options);
        assert!(expected.contains(&wakes), "{options:?}: {wakes}");
    });
}
