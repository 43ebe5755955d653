//! `status` warns of tokens that a tree holds and nobody in it can have, and of none in honest builds.
//!
//! Doesn't know how they come back (losses.rs).

mod support;

use serde_json::Value;
use std::process::Stdio;
use support::Real::{Make441, Ninja, SystemMake};
use support::build::Build;
use support::pool::{at_once, write_client};
use support::shared::Shared;
use support::{finish_child, succeed, tool};

fn lost(status: &Value) -> Vec<u64> {
    let clients = status["clients"].as_array().expect("clients");
    clients.iter().map(|client| client["lost"].as_u64().expect("a number")).collect()
}

/// A build that drains its six tokens and ends that tool, and goes on so until its stdin ends, once it has said "up"; what it has lost by `status`, and the table.
fn lost_by(make: support::Real, goes_on: &str) -> Option<(Vec<u64>, String)> {
    let program = tool(make)?;
    let shared = Shared::new();
    write_client(&shared.folder.path().join("thief.sh"), "drain");
    let makefile = format!("all:\n\t+@sh thief.sh\n\t@{goes_on}\n");
    std::fs::write(shared.folder.path().join("Makefile"), makefile).unwrap();
    let mut build = shared.jobgate(&["run", "-j6", "--"]);
    let build = build.arg(program).args(["-s", "-j6"]);
    let mut build = build.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut output = std::io::BufReader::new(build.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut said).unwrap();
    assert_eq!(said, "up\n");
    // At once, without waiting for it.
    let lost = lost(&shared.status());
    let table = succeed(&mut shared.jobgate(&["status"]));
    drop(build.stdin.take());
    assert!(finish_child(build).status.success());
    Some((lost, table))
}

#[test]
fn what_an_ended_tool_has_not_given_back_is_told() {
    at_once(&[SystemMake, Make441], |&make| {
        let Some((lost, table)) = lost_by(make, "echo up; exec cat") else { return };
        // Six tokens, for make and cat.
        assert_eq!(lost, [4], "{make:?}");
        assert!(table.contains("4 lost?"), "{table}");
    });
}

/// Nobody takes its status, so that whoever started it may still have its token.
#[test]
fn a_job_whose_end_nobody_has_seen_has_lost_nothing() {
    at_once(&[SystemMake, Make441], |&make| {
        // It ends when its parent is a cat: a shell might take its status.
        let job = "sh -c 'until grep -q cat /proc/$$PPID/comm; do :; done; echo up' & exec cat";
        let Some((lost, table)) = lost_by(make, job) else { return };
        // One less than with make and cat alone.
        assert_eq!(lost, [3], "{make:?}");
        assert!(table.contains("3 lost?"), "{table}");
    });
}

#[test]
fn an_honest_build_has_lost_nothing() {
    at_once(&[Build::Make(SystemMake), Build::Make(Make441), Build::Ninja], |&tool| {
        let shared = Shared::new();
        let Some(mut build) = shared.build("a", &["-j4"], tool, 40, 0.1) else { return };
        let build = build.spawn().unwrap();
        shared.await_starts(4);
        for _ in 0..20 {
            let status = shared.status();
            assert!(lost(&status).iter().all(|&lost| lost == 0), "{tool:?}: {status}");
        }
        assert!(finish_child(build).status.success());
    });
}

/// A tool has the tokens of its ended jobs until it has taken their status, and of such jobs most have ended.
#[test]
fn jobs_that_end_at_once_have_lost_nothing() {
    at_once(&[Make441, Ninja], |&real| {
        let Some(program) = tool(real) else { return };
        let shared = Shared::new();
        let jobs = |line: fn(usize) -> String| (0..2000).map(line).collect::<String>();
        let ninja = jobs(|at| format!("build o{at}: t\n"));
        std::fs::write(shared.folder.path().join("build.ninja"), format!("rule t\n command = true\n{ninja}"))
            .unwrap();
        let make = jobs(|at| format!(" o{at}"));
        std::fs::write(shared.folder.path().join("Makefile"), format!("all:{make}\n%:\n\t@true\n")).unwrap();
        let mut build = shared.jobgate(&["run", "-j8", "--law", "fixed", "--"]);
        let build = build.arg(program).stdout(Stdio::null()).spawn().unwrap();
        shared.await_status(|status| status["in_use"].as_u64() >= Some(1));
        for _ in 0..20 {
            let status = shared.status();
            assert!(lost(&status).iter().all(|&lost| lost == 0), "{real:?}: {status}");
        }
        assert!(finish_child(build).status.success());
    });
}
