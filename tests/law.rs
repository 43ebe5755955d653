//! The limit as it follows from how a machine stands: a real gate and real builds on a machine that the test makes up.
//!
//! Doesn't know how good a law is (plant.rs), nor the exact figures of its parts (unit tests).

mod support;

use serde_json::Value;
use std::process::Child;
use support::Real::SystemMake;
use support::build::Build;
use support::machine::{FakeMachine, Stand};
use support::shared::Shared;
use support::{await_change, finish, jobs, succeed};

const OLD: Build = Build::Make(SystemMake);

/// Ended with its test, and with what it runs.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// A build that takes all it can get for as long as the test runs; its jobs sleep.
fn greedy(shared: &Shared, options: &[&str]) -> Ended {
    let mut build = shared.build("a", options, OLD, 3_000, 0.1).expect("a make");
    build.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    Ended(build.spawn().unwrap())
}

fn tightest(status: &Value) -> (u64, &str) {
    (status["limit"].as_u64().unwrap(), status["law"]["tightest"].as_str().unwrap())
}

#[test]
fn the_limit_follows_how_the_machine_stands() {
    let (machine, shared) = (FakeMachine::new(Stand::default()), Shared::new());
    let server = shared.serve(&["--law", "adaptive", "-j12", "--proc", machine.path()]);
    let _build = greedy(&shared, &[]);
    let is = |limit: u64, by: &str| shared.await_status(|status| tightest(status) == (limit, by));
    // Nothing of what runs shows on the cpus: more and more are let out.
    let all = shared.await_status(|status| status["in_use"] == 12);
    assert_eq!((&all["law"]["kind"], all["law"]["parts"]["io"].is_null()), (&"adaptive".into(), true));
    let cpus = all["law"]["cpus"].as_u64().unwrap();

    machine.stand(Stand { busy: 1.0, pressure: 1.0, ..Stand::default() });
    is(1, "cpu");
    shared.await_status(|status| status["in_use"] == 1);
    let table = succeed(&mut shared.jobgate(&["status"]));
    assert!(table.starts_with("limit 1 of 12: cpu is the tightest (cpu 1, memory "), "{table}");
    assert!(table.contains(", io –)\nin use ") && table.lines().all(|line| line.chars().count() <= 80));

    machine.stand(Stand { available: 2, ..Stand::default() });
    let short = is(1, "memory");
    assert_eq!(short["law"]["available_bytes"], 2u64 << 30);

    machine.stand(Stand { io_full: 0.9, ..Stand::default() });
    is(cpus, "io");
    shared.await_status(|status| status["in_use"] == cpus);

    machine.stand(Stand { memory_full: 0.2, ..Stand::default() });
    let thrashes = shared.await_status(|status| status["law"]["thrashes"] == true);
    assert_eq!(tightest(&thrashes), (1, "memory"));
    assert_eq!(server.end(), "", "nothing is said when all is well");
}

#[test]
fn without_pressure_files_the_run_queue_counts() {
    let queue = Stand { busy: 1.0, pressure: -1.0, running: 500, ..Stand::default() };
    let (machine, shared) = (FakeMachine::new(queue), Shared::new());
    let server = shared.serve(&["--law", "adaptive", "-j6", "--proc", machine.path()]);
    let _build = greedy(&shared, &[]);
    shared.await_status(|status| tightest(status) == (1, "cpu") && status["law"]["load"] == 2.0);
    machine.stand(Stand { pressure: -1.0, ..Stand::default() });
    shared.await_status(|status| status["in_use"] == 6);
    assert_eq!(server.end(), "");
}

#[test]
fn pressure_that_stands_still_on_a_full_machine_is_told_once() {
    let full = Stand { busy: 1.0, running: 500, ..Stand::default() };
    let (machine, shared) = (FakeMachine::new(full), Shared::new());
    let server = shared.serve(&["--law", "adaptive", "-j6", "--proc", machine.path()]);
    let _build = greedy(&shared, &[]);
    let doubts = |status: &Value| status["law"]["distrusts_pressure"] == true;
    shared.await_status(|status| doubts(status) && tightest(status) == (1, "cpu"));
    let said = server.end();
    assert!(said.lines().count() == 1 && said.contains("somebody reads /proc/pressure so fast"), "{said}");
}

#[test]
fn the_load_holds_a_gate_that_watches_no_pressure() {
    let (machine, shared) = (FakeMachine::new(Stand { load: 9.0, ..Stand::default() }), Shared::new());
    let _server = shared.serve(&["--max-load", "8.5", "-j4", "--proc", machine.path()]);
    let _build = greedy(&shared, &[]);
    let held = shared.await_status(|status| status["gate"]["state"] == "held");
    let reason = &held["gate"]["reasons"][0];
    assert_eq!((&reason["resource"], &reason["max"]), (&"load".into(), &8.5.into()));
    let table = succeed(&mut shared.jobgate(&["status"]));
    assert!(table.contains("gate held: load 9.00 > 8.50 per cpu"), "{table}");
    // With a threshold on pressure it doesn't count.
    succeed(&mut shared.jobgate(&["set", "max-cpu=900000"]));
    shared.await_status(|status| status["gate"]["state"] == "open");
    succeed(&mut shared.jobgate(&["set", "max-cpu=none"]));
    shared.await_status(|status| status["gate"]["state"] == "held");
    machine.stand(Stand { load: 8.5, ..Stand::default() });
    shared.await_status(|status| status["in_use"] == 4);
}

#[test]
fn memory_that_is_to_stay_available_counts_by_the_fixed_law_too() {
    let (machine, shared) = (FakeMachine::new(Stand { available: 30, ..Stand::default() }), Shared::new());
    let _server = shared.serve(&["--min-available", "50%", "-j5", "--proc", machine.path()]);
    let _build = greedy(&shared, &[]);
    let status = shared.await_status(|status| tightest(status) == (1, "memory"));
    assert_eq!(
        (&status["law"]["kind"], &status["settings"]["min-available"]["value"]),
        (&"fixed".into(), &"50%".into())
    );
    succeed(&mut shared.jobgate(&["set", "min-available=10G"]));
    shared.await_status(|status| status["in_use"] == 5);
}

#[test]
fn a_run_brings_its_law_and_set_is_above_it() {
    let shared = Shared::new();
    let _build = greedy(&shared, &["--law", "adaptive", "--min-available", "1%"]);
    let status = shared.await_status(|status| status["law"]["kind"] == "adaptive");
    let cpus = status["law"]["cpus"].as_u64().unwrap();
    assert_eq!((&status["jobs"], &status["law"]["parts"]["memory"].is_u64()), (&(4 * cpus).into(), &true));
    succeed(&mut shared.jobgate(&["set", "law=fixed"]));
    let status = shared.await_status(|status| status["law"]["kind"] == "fixed");
    assert_eq!(status["jobs"], cpus);
}

#[test]
fn a_gate_of_ones_own_has_a_law_too() {
    let (machine, shared) = (FakeMachine::new(Stand::default()), Shared::new());
    let _build = greedy(&shared, &["--law", "adaptive", "-j6", "--proc", machine.path()]);
    let course = || jobs(&shared.log()).course;
    let from = await_change(shared.folder.path(), || {
        let seen = course();
        seen.iter().any(|&(_, running)| running == 6).then_some(seen.len())
    });
    machine.stand(Stand { busy: 1.0, pressure: 1.0, ..Stand::default() });
    // One after the other: between two of them nobody runs.
    let alone =
        |seen: &[(f64, usize)]| seen.windows(6).any(|six| six.iter().all(|&(_, running)| running <= 1));
    await_change(shared.folder.path(), || alone(course().get(from..)?).then_some(()));
}

#[test]
fn a_file_says_the_law() {
    let shared = Shared::new();
    let file = shared.folder.path().join("jobgate.toml");
    let name = file.to_str().unwrap();
    std::fs::write(&file, "[law]\nkind = \"adaptive\"\nmin-available = \"3G\"\nscope = \"host\"\n").unwrap();
    let server = shared.serve_below(&["env", "-u", "JOBGATE_LAW"], &["--config", name]);
    let settings = shared.status()["settings"].take();
    for (key, value) in [("law", "adaptive"), ("min-available", "3221225472"), ("scope", "host")] {
        assert_eq!(settings[key]["value"], value, "{settings}");
        assert_eq!(settings[key]["from"], name, "{settings}");
    }
    drop(server);
    let refused = |words: &[&str], why: &str| {
        let output = finish(&mut shared.jobgate(&[&["serve"], words].concat()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(said.lines().count() == 1 && said.contains(why), "{said}");
    };
    refused(&["--scope", "cgroup:/no/such/one"], "there is no cgroup /no/such/one");
    refused(&["--law", "pid"], "--law 'pid'");
    std::fs::write(&file, "[law]\nscope = \"cgroup:/no/such/one\"\n").unwrap();
    refused(&["--config", name], "there is no cgroup /no/such/one");
}

#[test]
fn how_large_jobs_were_is_remembered_for_the_next_build_of_that_name() {
    let (machine, shared) = (FakeMachine::new(Stand::default()), Shared::new());
    let cache = format!("CACHE_DIRECTORY={}", shared.folder.path().join("cache").display());
    let serve =
        || shared.serve_below(&["env", &cache], &["--law", "adaptive", "-j8", "--proc", machine.path()]);
    let size = |status: &Value| status["law"]["job_bytes"].as_u64().unwrap_or(0);
    let run = |label: &str, line: &str| {
        let mut run = shared.jobgate(&["run", "--label", label, "--", "sh", "-c", line]);
        Ended(run.stdin(std::process::Stdio::piped()).spawn().unwrap())
    };
    let heavy = "python3 -c 'import sys; held = bytearray(b\"x\" * (700 << 20)); sys.stdin.read()'; true";
    let server = serve();
    let mut build = run("heavy", heavy);
    let seen = shared.await_status(|status| status["clients"][0]["job_bytes"].as_u64() >= Some(700 << 20));
    assert!(size(&seen) >= 700 << 20, "{seen}");
    drop(build.0.stdin.take());
    drop(build);
    shared.await_status(|status| status["clients"] == serde_json::json!([]));
    drop(server);
    // The same by a gate that its clients start.
    let own = Shared::new();
    let folder = own.folder.path().join("own");
    let mut build = own.jobgate(&["run", "--law", "adaptive", "--label", "own", "--", "sh", "-c", heavy]);
    let mut build = build.env("XDG_CACHE_HOME", &folder).stdin(std::process::Stdio::piped()).spawn().unwrap();
    own.await_status(|status| status["clients"][0]["job_bytes"].as_u64() >= Some(700 << 20));
    drop(build.stdin.take());
    assert!(build.wait().unwrap().success());
    await_change(own.folder.path(), || {
        std::fs::read_to_string(folder.join("jobgate/sizes.json"))
            .ok()
            .filter(|text| text.contains("\"label\":\"own\""))
    });
    // Another server, which knows it by what the first has written.
    let server = serve();
    for (label, is_known) in [("another", false), ("heavy", true)] {
        let build = run(label, "cat");
        let seen = shared.await_status(|status| status["clients"][0]["lease"] == 1 && size(status) > 0);
        assert_eq!(size(&seen) >= 700 << 20, is_known, "{seen}");
        drop(build);
        shared.await_status(|status| status["clients"] == serde_json::json!([]));
    }
    drop(server);
}
