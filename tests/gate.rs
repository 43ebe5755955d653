//! The gate from outside: counters that the test moves, real tools below, and what runs meanwhile.
//!
//! Doesn't know how rates are made (unit tests hold the exact thresholds), nor endpoints.

mod support;

use std::cell::RefCell;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;
use support::Real::{Make441, SystemMake};
use support::build::Build;
use support::pool::at_once;
use support::{DEADLINE, FakeProc, Jobs, await_change, finish_child, job, jobs, run};

/// A build below `jobgate run` that can be asked and, once enough was seen, cut short: its remaining jobs then end at
/// once.
struct Gated {
    folder: tempfile::TempDir,
    child: Option<Child>,
    pid: nix::unistd::Pid,
    lines: Receiver<String>,
    heard: RefCell<Vec<String>>,
    started: Instant,
}

impl Gated {
    /// `None` where the tool is missing.
    fn start(
        build: Build,
        seconds: f64,
        proc: &FakeProc,
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Option<Gated> {
        let folder = tempfile::tempdir().unwrap();
        let tool = build.lay_jobs(folder.path(), 150, seconds)?;
        let recipe = job(seconds).replace('$', "$$");
        for file in ["Makefile", "build.ninja"] {
            let path = folder.path().join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace(&recipe, &format!("[ -e stop ] || {{ {recipe}; }}"));
            std::fs::write(path, text).unwrap();
        }
        let options = [options, &["--proc", proc.path()]].concat();
        let mut command = run(&options, &tool.iter().map(String::as_str).collect::<Vec<_>>());
        command.current_dir(&folder).env("LOG", folder.path().join("log"));
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        let lines = listen(child.stderr.take().unwrap());
        Some(Gated { folder, child: Some(child), pid, lines, heard: RefCell::default(), started })
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

    /// Waits for so many starts after the first `stamps` stamps; gives the number of stamps then.
    fn until_started(&self, starts: usize, stamps: usize) -> usize {
        self.until(|seen| {
            let later = seen.course.len().checked_sub(stamps)?;
            // Each job has two stamps.
            (later >= 2 * starts).then_some(seen.course.len())
        })
    }

    /// Asks for the status line. Only once a job was seen: then the signal has somebody who answers.
    fn ask(&self) -> String {
        nix::sys::signal::kill(self.pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
        loop {
            let line = self
                .lines
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|_| panic!("no answer after {:?}", self.heard.borrow().last()));
            self.heard.borrow_mut().push(line.clone());
            if line.starts_with("jobgate: limit ") {
                return line;
            }
        }
    }

    /// Asks whenever something has happened, until the answer is good.
    fn until_says(&self, good: impl Fn(&str) -> bool) -> String {
        self.until(|seen| (!seen.course.is_empty()).then(|| self.ask()).filter(|line| good(line)))
    }

    /// Cuts the build short. Gives the jobs and all lines that it said.
    fn finish(mut self) -> (Jobs, Vec<String>) {
        std::fs::write(self.folder.path().join("stop"), "").unwrap();
        let output = finish_child(self.child.take().unwrap());
        self.heard.borrow_mut().extend(self.lines.iter());
        let heard = self.heard.take();
        assert!(output.status.success(), "{:?}: {heard:?}", output.status);
        (self.jobs(), heard)
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A test has failed; what it started goes with it.
            let _ = nix::sys::signal::kill(self.pid, nix::sys::signal::Signal::SIGTERM);
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

/// Held, and everything that was held by the tree has come back.
fn is_held_and_empty(line: &str) -> bool {
    line.contains("gate held") && line.contains("(1 lease, 0 held)")
}

/// The most that ran at once between two numbers of stamps.
fn peak_between(seen: &Jobs, from: usize, to: usize) -> usize {
    seen.course[from..to].iter().map(|&(_, running)| running).max().unwrap_or(0)
}

/// The number behind a word of a line.
fn number_after(line: &str, word: &str) -> f64 {
    let rest = line.split_once(word).unwrap_or_else(|| panic!("{word} in {line}")).1;
    let digits = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap();
    digits.parse().unwrap_or_else(|_| panic!("a number behind {word} in {line}"))
}

const OLD: Build = Build::Make(SystemMake);
const NEW: Build = Build::Make(Make441);

#[test]
fn a_held_gate_lets_one_job_run_and_then_all_again() {
    // The tool, the resource, its threshold as an option or a variable, other options and variables.
    type Row = (Build, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);
    let rows: [Row; 9] = [
        (OLD, "cpu", &["--max-cpu", "100000"], &[]),
        (NEW, "cpu", &["--heartbeat", "0.2"], &[("BB_PRESSURE_MAX_CPU", "100000")]),
        (Build::Ninja, "cpu", &["--max-cpu=100000", "--max-io=100000"], &[]),
        (OLD, "io", &[], &[("BB_PRESSURE_MAX_IO", "100000"), ("BB_HEARTBEAT_EVENT", "0.2")]),
        (NEW, "io", &["--max-io", "1e5"], &[("BB_PRESSURE_MAX_IO", "999999")]),
        (Build::Ninja, "io", &[], &[("BB_PRESSURE_MAX_IO", "100000")]),
        (OLD, "memory", &["--max-memory", "100000", "--hold", "all"], &[]),
        (NEW, "memory", &["--style", "pipe"], &[("BB_PRESSURE_MAX_MEMORY", "100000")]),
        (Build::Ninja, "memory", &["--max-memory", "100000", "--heartbeat", "3"], &[]),
    ];
    at_once(&rows, |&(build, resource, options, variables)| {
        let proc = FakeProc::new();
        let options = [options, &["-j4"]].concat();
        let Some(gated) = Gated::start(build, 0.2, &proc, &options, variables) else { return };
        gated.until_running(4, 0);
        let growth = proc.grow(&[(resource, 500_000)]);
        let line = gated.until_says(is_held_and_empty);
        let rate = number_after(&line, &format!("gate held: {resource} "));
        assert!(rate > 100_000.0 && line.contains(" > 100000 us/s"), "{line}");
        let from = gated.jobs().course.len();
        let to = gated.until_started(4, from);
        drop(growth);
        gated.until_running(4, to);
        let line = gated.until_says(|line| !line.contains("growing back"));
        assert!(line.contains("gate open: ") && line.contains(" of 100000 us/s"), "{line}");
        let (seen, _) = gated.finish();
        let name = format!("{build:?} {options:?} {variables:?}");
        assert_eq!(peak_between(&seen, from, to), 1, "{name}");
        assert_eq!(seen.peak, 4, "{name}");
    });
}

#[test]
fn hold_starts_leaves_a_running_tool_its_tokens() {
    at_once(&[OLD, NEW, Build::Ninja], |&build| {
        let proc = FakeProc::new();
        let options = ["-j4", "--hold", "starts", "--max-cpu", "100000"];
        let Some(gated) = Gated::start(build, 0.2, &proc, &options, &[]) else { return };
        gated.until_running(4, 0);
        let _growth = proc.grow(&[("cpu", 500_000)]);
        gated.until_says(|line| line.contains("gate held"));
        let from = gated.jobs().course.len();
        let to = gated.until_started(16, from);
        assert!(gated.ask().contains("gate held"), "it is held all the time");
        let (seen, _) = gated.finish();
        assert_eq!(peak_between(&seen, from, to), 4, "{build:?}: {seen:?}");
        // Four at a time: held, it would have been one.
        let mean = seen.course[from..to].iter().map(|&(_, running)| running as f64).sum::<f64>();
        assert!(mean / (to - from) as f64 > 2.0, "{build:?}: {seen:?}");
    });
}

#[test]
fn what_is_not_over_a_watched_threshold_holds_nothing() {
    type Row = (&'static [&'static str], &'static [(&'static str, u64)], Option<(u64, u64)>);
    // Options; how counters grow; what the cpu's shows at first, and from the middle on.
    let rows: [Row; 5] = [
        (&["--max-cpu", "100000"], &[("cpu", 60_000)], None),
        (&["--max-cpu", "100000"], &[("io", 900_000), ("memory", 900_000)], None),
        (&["--max-cpu", "1"], &[], Some((10_000_000, 10_000_000))),
        (&["--max-cpu", "1"], &[], Some((10_000_000, 5))),
        (&["--max-cpu", "1"], &[], Some((u64::MAX, 0))),
    ];
    at_once(&rows, |&(options, rates, counter)| {
        let proc = FakeProc::new();
        counter.inspect(|&(first, _)| proc.set("cpu", first));
        let options = [options, &["-j4"]].concat();
        let Some(gated) = Gated::start(OLD, 0.2, &proc, &options, &[]) else { return };
        let _growth = proc.grow(rates);
        let mut asked = 0;
        // 50 jobs, four at once, take more than two windows of a second.
        for jobs in 1..=50 {
            let line = gated.until(|seen| (seen.count >= jobs).then(|| gated.ask()));
            asked += usize::from(line.contains("gate open: cpu ") && !line.contains("cpu ?"));
            assert!(line.contains("gate open: cpu "), "{options:?} {rates:?} {counter:?}: {line}");
            if let Some((_, second)) = counter.filter(|_| jobs == 25) {
                proc.set("cpu", second);
            }
        }
        assert!(asked >= 10, "the rates were known most of the time");
        let (seen, heard) = gated.finish();
        assert_eq!(seen.peak, 4, "{options:?} {rates:?} {counter:?}");
        assert!(heard.iter().all(|line| line.starts_with("jobgate: limit 4, ")), "{heard:?}");
    });
}

#[test]
fn after_a_hold_jobs_come_back_one_by_one() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    let step = (cpus / 4).max(1);
    if step > 2 {
        support::skipped(&format!("with {cpus} cpus the ramp is too steep to be told from a herd of 8"));
        return;
    }
    at_once(&[OLD, NEW], |&build| {
        let proc = FakeProc::new();
        let Some(gated) = Gated::start(build, 0.7, &proc, &["-j8", "--max-cpu", "100000"], &[]) else {
            return;
        };
        gated.until_running(8, 0);
        let growth = proc.grow(&[("cpu", 500_000)]);
        gated.until_says(is_held_and_empty);
        let from = gated.jobs().course.len();
        let to = gated.until_started(1, from);
        drop(growth);
        gated.until_running(8, to);
        let (seen, _) = gated.finish();
        let course = &seen.course[to..];
        let first = course.iter().find(|&&(_, running)| running > 1).unwrap().0;
        let whole = course.iter().find(|&&(_, running)| running == 8).unwrap().0;
        let soon = course.iter().take_while(|&&(when, _)| when <= first + 0.2);
        let soon = soon.map(|&(_, running)| running).max().unwrap();
        // A tick that comes late may be followed closely by the next.
        assert!(soon <= 1 + 2 * step + 1, "{build:?}: {soon} within 0.2 s: {course:?}");
        let ticks = 7_usize.div_ceil(step) - 1;
        assert!(whole - first >= 0.5 * 0.25 * ticks as f64, "{build:?}: {first} to {whole}: {course:?}");
        assert_eq!(seen.peak, 8);
    });
}

#[test]
fn the_heartbeat_is_what_was_asked_for() {
    type Row = (&'static [&'static str], &'static [(&'static str, &'static str)], f64);
    let rows: [Row; 5] = [
        (&[], &[], 1.0),
        (&["--heartbeat", "0.2"], &[], 0.2),
        (&[], &[("BB_HEARTBEAT_EVENT", "0.2")], 0.2),
        (&["--heartbeat", "0.5"], &[("BB_HEARTBEAT_EVENT", "0.02")], 0.5),
        (&["--heartbeat", "-1"], &[], 1.0),
    ];
    at_once(&rows, |&(options, variables, interval)| {
        let proc = FakeProc::new();
        let options = [options, &["-j4", "--max-cpu", "100000"]].concat();
        let Some(gated) = Gated::start(OLD, 0.2, &proc, &options, variables) else { return };
        let first = gated.until(|seen| (!seen.course.is_empty()).then(Instant::now));
        let line = gated.until(|_| (first.elapsed().as_secs_f64() > 2.5).then(|| gated.ask()));

        // "beat 11 (1 missed)": what fired, and what a busy machine swallowed.
        let (fired, missed) = line.split_once("beat ").unwrap().1.split_once(" (").unwrap();
        let missed: f64 = missed.trim_end_matches(" missed)").parse().unwrap();
        let beats = fired.parse::<f64>().unwrap() + missed;
        let (least, most) = (2.5 / interval - 2.0, gated.started.elapsed().as_secs_f64() / interval);
        assert!(beats >= least && beats <= most, "{options:?} {variables:?}: {line}");
        gated.finish();
    });
}

#[test]
fn pressure_that_cannot_be_read_any_more_is_said_once() {
    let rows = [
        (OLD, "cpu", ""),
        (NEW, "cpu", "garbage\n"),
        (Build::Ninja, "cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=x\n"),
        // While another resource holds.
        (OLD, "io", "full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"),
    ];
    at_once(&rows, |&(build, grows, garbage)| {
        let proc = FakeProc::new();
        let options = ["-j4", "--max-cpu", "100000", "--max-io", "100000"];
        let Some(gated) = Gated::start(build, 0.2, &proc, &options, &[]) else { return };
        gated.until_running(4, 0);
        let growth = (grows == "io").then(|| proc.grow(&[("io", 500_000)]));
        if growth.is_some() {
            gated.until_says(is_held_and_empty);
        }
        std::fs::write(proc.root.path().join("pressure/cpu"), garbage).unwrap();
        // Nothing is watched any more, so the line tells neither rates nor beats.
        gated.until_says(|line| line.ends_with("gate open"));
        let from = gated.jobs().course.len();
        proc.set("cpu", u64::MAX);
        gated.until_running(4, from);
        let to = gated.until_started(20, from);
        let line = gated.ask();
        assert!(line.ends_with("gate open"), "{line}");
        let (seen, heard) = gated.finish();
        assert!(to > from && seen.peak == 4, "{build:?}: {seen:?}");
        let said: Vec<_> = heard.iter().filter(|line| !line.starts_with("jobgate: limit ")).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("can't be read any more") && said[0].contains("ungated"), "{said:?}");
    });
}
