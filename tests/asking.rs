//! `jobgate status`, `set` and `exec`: what a gate tells, how it is changed, and tokens for tools that know no jobserver.
//!
//! Doesn't know shares (sharing.rs).

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Output;
use support::Real::SystemMake;
use support::build::Build;
use support::shared::Shared;
use support::{finish, finish_child, jobs, succeed};

const OLD: Build = Build::Make(SystemMake);

fn assert_refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(said.lines().count() == 1 && said.contains(why) && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn status_tells_all_that_it_promises() {
    let shared = Shared::new();
    let options = ["-j4", "--label", "the build", "--max-cpu", "900000"];
    let Some(mut build) = shared.build("a", &options, OLD, 24, 0.2) else { return };
    let build = build.spawn().unwrap();
    shared.await_starts(8);
    let status = shared.await_status(|status| status["in_use"] == 4);
    for key in
        ["version", "pid", "uptime_s", "jobs", "limit", "in_use", "gate", "pressure", "heartbeat", "clients"]
    {
        assert!(!status[key].is_null(), "{key}: {status}");
    }
    assert_eq!((&status["jobs"], &status["limit"]), (&4.into(), &4.into()));
    assert_eq!(
        (&status["gate"]["state"], &status["pressure"]["cpu"]["max"]),
        (&"open".into(), &900000.0.into())
    );
    assert_eq!(status["heartbeat"]["interval_s"], 1.0);
    let client = &status["clients"][0];
    assert_eq!((&client["pid"], &client["label"]), (&build.id().into(), &"the build".into()));
    assert_eq!((&client["style"], &client["lease"]), (&"pipe".into(), &1.into()));
    assert_eq!(
        (&client["allotment"], &client["held"], &client["wants"]),
        (&3.into(), &3.into(), &true.into())
    );
    let table = succeed(&mut shared.jobgate(&["status"]));
    assert!(table.starts_with("limit 4, in use 4   (jobs 4: the build (pid"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80) && table.contains("the build"), "{table}");
    assert!(finish_child(build).status.success());
}

/// Those who were there when it was set have gone by the time the server dies.
#[test]
fn what_was_set_outlives_the_server_and_who_was_told_of_it() {
    let shared = Shared::new();
    let idle = || shared.jobgate(&["run", "-j6", "--", "sleep", "60"]).spawn().expect("it starts");
    let end = |child: std::process::Child| {
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        finish_child(child);
    };
    let first = idle();
    shared.await_status(|status| status["in_use"] == 1);
    succeed(&mut shared.jobgate(&["set", "jobs=3"]));
    let second = idle();
    let server = shared.await_status(|status| status["in_use"] == 2)["pid"].as_i64().unwrap();
    end(first);
    shared.await_status(|status| status["in_use"] == 1);
    kill(Pid::from_raw(server as i32), Signal::SIGKILL).unwrap();
    let status = shared.await_status(|status| status["pid"] != server && status["in_use"] == 1);
    assert_eq!(status["jobs"], 3, "{status}");
    end(second);
}

#[test]
fn without_a_gate_there_is_nothing_to_ask() {
    let shared = Shared::new();
    assert_refused(&finish(&mut shared.jobgate(&["status"])), "no gate is running");
    assert_refused(&finish(&mut shared.jobgate(&["set", "jobs=2"])), "no gate is running");
    assert_refused(&finish(&mut shared.jobgate(&["set", "jobs"])), "'jobs' is no setting");
}

#[test]
fn set_changes_a_running_gate_and_outlives_the_server() {
    let shared = Shared::new();
    let Some(mut build) = shared.build("a", &["-j6"], OLD, 60, 0.2) else { return };
    let build = build.spawn().unwrap();
    shared.await_starts(12);
    for (bad, why) in
        [("jobs=0", "jobs '0'"), ("max-cpu=0.1", "max-cpu 0.1 is too low"), ("x=1", "no setting 'x'")]
    {
        assert_refused(&finish(&mut shared.jobgate(&["set", bad])), why);
    }
    assert_eq!(succeed(&mut shared.jobgate(&["set", "jobs=2", "heartbeat=0.5"])), "");
    let server = shared.await_status(|status| status["in_use"] == 2)["pid"].as_i64().unwrap();
    let from = jobs(&shared.log()).course.len();
    kill(Pid::from_raw(server as i32), Signal::SIGKILL).unwrap();
    let after = shared.await_status(|status| status["pid"] != server && status["clients"][0]["lease"] == 1);
    assert_eq!((&after["jobs"], &after["settings"]["jobs"]["from"]), (&2.into(), &"jobgate set".into()));
    assert_eq!(after["heartbeat"]["interval_s"], 0.5);
    shared.await_starts(40);
    let peak = jobs(&shared.log()).course[from..].iter().map(|&(_, running)| running).max();
    assert_eq!(peak, Some(2));
    succeed(&mut shared.jobgate(&["set", "jobs=auto"]));
    assert!(finish_child(build).status.success());
}

#[test]
fn exec_takes_what_is_there() {
    let shared = Shared::new();
    let tokens = |words: &[&str]| {
        let all = [&["exec"], words, &["--", "sh", "-c", "echo $JOBGATE_TOKENS"]].concat();
        succeed(&mut shared.jobgate(&all)).trim().to_owned()
    };
    let idle = shared.jobgate(&["run", "-j4", "--style", "pipe", "--", "sleep", "30"]).spawn().unwrap();
    shared.await_status(|status| status["in_use"] == 1);
    assert_eq!(tokens(&[]), "1");
    assert_eq!(tokens(&["-n", "2"]), "2");
    assert_eq!(tokens(&["-n", "3"]), "3");
    let most: u32 = tokens(&["-n", "1-8"]).parse().unwrap();
    assert!((2..=3).contains(&most), "{most}");
    assert_refused(
        &finish(&mut shared.jobgate(&["exec", "-n", "5", "--", "true"])),
        "5 tokens can never be had",
    );
    assert_refused(&finish(&mut shared.jobgate(&["exec", "-n", "x", "--", "true"])), "-n 'x'");
    let output = finish(&mut shared.jobgate(&["exec", "--", "sh", "-c", "exit 7"]));
    assert_eq!(output.status.code(), Some(7));
    let output = finish(&mut shared.jobgate(&["exec", "--", "sh", "-c", "kill -TERM $$"]));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(15));
    kill(Pid::from_raw(idle.id() as i32), Signal::SIGTERM).unwrap();
    finish_child(idle);
}

#[test]
fn exec_beside_a_build_never_goes_over_the_limit() {
    let shared = Shared::new();
    let Some(mut build) = shared.build("a", &["-j4"], OLD, 40, 0.2) else { return };
    let build = build.spawn().unwrap();
    shared.await_starts(6);
    // Its tokens are in use, each by a job that leaves its stamps.
    let job = support::job(0.3);
    let script = format!("for i in $(seq $JOBGATE_TOKENS); do ( {job} ) & done; wait");
    for _ in 0..3 {
        let mut exec = shared.jobgate(&["exec", "-n", "2-3", "--", "sh", "-c", &script]);
        succeed(exec.env("NAME", "x"));
    }
    assert!(finish_child(build).status.success());
    let seen = jobs(&shared.log());
    assert!(seen.peak == 4 && seen.count >= 46, "{seen:?}");
}

#[test]
fn who_waits_says_so_once_and_not_without_end() {
    let shared = Shared::new();
    let idle = shared.jobgate(&["run", "-j1", "--", "sleep", "30"]).spawn().unwrap();
    shared.await_status(|status| status["in_use"] == 1);
    let second = shared
        .jobgate(&["run", "-j1", "--max-wait", "2.5", "--", "sh", "-c", "$0 status", support::jobgate()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    shared.await_status(|status| status["clients"][1]["waits_s"].as_f64() > Some(0.0));
    let output = finish_child(second);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "jobgate: waiting for a job: all 1 of 1 jobs are in use\n");
    assert!(String::from_utf8_lossy(&output.stdout).contains("overdue"), "{output:?}");
    kill(Pid::from_raw(idle.id() as i32), Signal::SIGTERM).unwrap();
    finish_child(idle);
}

/// Labels, reasons and files' names come from others.
#[test]
fn nothing_that_is_said_speaks_to_the_terminal() {
    let output = finish(&mut Shared::new().jobgate(&["set", "a\x1b[2J\u{9b}b\x07"]));
    assert_refused(&output, "is no setting");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.trim_end().chars().all(|c| !c.is_control()), "{said:?}");
}
