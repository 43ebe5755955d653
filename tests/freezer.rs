//! Jobs that stand still while everything waits for memory, and go on whatever becomes of the gate: a real gate and real builds
//! on a machine that the test makes up.
//!
//! Doesn't know when how many are to stand still (unit tests).

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::{Child, Stdio};
use support::Real::SystemMake;
use support::machine::{FakeMachine, Stand};
use support::shared::{Server, Shared};
use support::{DEADLINE, finish_child, tool};

const THRASHES: Stand =
    Stand { busy: 0.0, pressure: 0.0, running: 1, io_full: 0.0, memory_full: 0.3, available: 60, load: 0.0 };

/// Six jobs, each of which writes down its process and waits for its end of input.
struct Six {
    machine: FakeMachine,
    shared: Shared,
    server: Server,
    build: Child,
}

impl Six {
    fn start(options: &[&str]) -> Option<Six> {
        let make = tool(SystemMake)?;
        let (machine, shared) = (FakeMachine::new(Stand::default()), Shared::new());
        let options = [&["--law", "adaptive", "-j6", "--proc", machine.path()], options].concat();
        let server = shared.serve(&options);
        let makefile = "all: a b c d e f\na b c d e f:\n\t@echo $$$$ >>pids; exec cat <wait\n";
        std::fs::write(shared.folder.path().join("Makefile"), makefile).unwrap();
        nix::unistd::mkfifo(&shared.folder.path().join("wait"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut build = shared.jobgate(&["run", "--"]);
        let build =
            build.arg(make).args(["-s", "-j6"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let six = Six { machine, shared, server, build };
        six.await_jobs(|still| (six.pids().len() == 6 && still == 0).then_some(()));
        Some(six)
    }

    fn pids(&self) -> Vec<i32> {
        let text = std::fs::read_to_string(self.shared.folder.path().join("pids")).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Those that are stopped, in the order in which they began.
    fn still(&self) -> Vec<usize> {
        let is_still = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        self.pids().iter().enumerate().filter(|(_, pid)| is_still(pid)).map(|(at, _)| at).collect()
    }

    fn await_jobs<T>(&self, ready: impl Fn(usize) -> Option<T>) -> T {
        // Nobody tells when a process is stopped that isn't his child.
        let started = std::time::Instant::now();
        loop {
            if let Some(found) = ready(self.still().len()) {
                return found;
            }
            assert!(started.elapsed() < DEADLINE, "{:?} of {:?} stand still", self.still(), self.pids());
            std::thread::yield_now();
        }
    }

    /// The build is let go on, and ends well.
    fn end(self) {
        self.await_jobs(|still| (still == 0).then_some(()));
        let wait = self.shared.folder.path().join("wait");
        // All have opened it, or will find it.
        let line = std::fs::OpenOptions::new().read(true).write(true).open(&wait).unwrap();
        let none = self.shared.folder.path().join("none");
        std::fs::write(&none, "").unwrap();
        std::fs::rename(&none, &wait).unwrap();
        drop(line);
        let output = finish_child(self.build);
        assert!(output.status.success(), "{output:?}");
        drop(self.server);
        self.machine.stand(Stand::default());
    }
}

#[test]
fn the_youngest_half_stands_still_and_goes_on_one_by_one() {
    let Some(six) = Six::start(&["--freeze-on-thrash"]) else { return };
    six.machine.stand(THRASHES);
    let first = six.await_jobs(|still| (still >= 3).then(|| six.still()));
    assert_eq!(first, [3, 4, 5], "the youngest");
    six.await_jobs(|still| (still == 5).then_some(()));
    let status = six.shared.status();
    assert_eq!(status["law"]["still"], 5, "{status}");
    six.machine.stand(Stand::default());
    let seen = std::cell::RefCell::new(vec![5]);
    six.await_jobs(|still| {
        let mut seen = seen.borrow_mut();
        if seen.last() != Some(&still) {
            seen.push(still);
        }
        (still == 0).then_some(())
    });
    assert_eq!(seen.into_inner(), [5, 4, 3, 2, 1, 0]);
    six.end();
}

#[test]
fn nothing_stands_still_where_nobody_wishes_it() {
    let Some(six) = Six::start(&[]) else { return };
    six.machine.stand(THRASHES);
    six.shared.await_status(|status| status["law"]["thrashes"] == true && status["limit"] == 1);
    // Longer than it would have taken.
    let beat = six.shared.status()["heartbeat"]["beats"].as_u64().unwrap();
    six.shared.await_status(|status| status["heartbeat"]["beats"].as_u64() >= Some(beat + 2));
    assert_eq!(six.still(), Vec::<usize>::new());
    six.end();
}

#[test]
fn all_go_on_however_the_gate_ends() {
    for (signal, to_keeper) in [
        (Signal::SIGTERM, false),
        (Signal::SIGKILL, false),
        (Signal::SIGABRT, false),
        (Signal::SIGKILL, true),
    ] {
        let Some(mut six) = Six::start(&["--freeze-on-thrash"]) else { return };
        six.machine.stand(THRASHES);
        six.await_jobs(|still| (still >= 3).then_some(()));
        let server = six.server.pid();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
        let keeper = Pid::from_raw(children.trim().parse().expect("one child, which keeps them"));
        let name = std::fs::read_to_string(Path::new("/proc").join(keeper.to_string()).join("comm")).unwrap();
        assert_eq!(name, "jg-thaw\n");
        if to_keeper {
            // By then it may have stopped them anew.
            six.machine.stand(Stand::default());
        }
        kill(if to_keeper { keeper } else { server }, signal).unwrap();
        six.await_jobs(|still| (still == 0).then_some(()));
        if to_keeper {
            six.end();
        } else {
            kill(Pid::from_raw(six.build.id() as i32), Signal::SIGTERM).unwrap();
            six.build.wait().unwrap();
        }
    }
}
