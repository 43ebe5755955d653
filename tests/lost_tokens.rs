//! `status` warns of tokens that a tree holds and nobody in it can have, and of none in honest builds.
//!
//! Doesn't know how they come back (losses.rs).

mod support;

use serde_json::Value;
use std::process::Stdio;
use support::Real::{Make441, SystemMake};
use support::build::Build;
use support::pool::{at_once, write_client};
use support::shared::Shared;
use support::{finish_child, succeed, tool};

fn lost(status: &Value) -> Vec<u64> {
    let clients = status["clients"].as_array().expect("clients");
    clients.iter().map(|client| client["lost"].as_u64().expect("a number")).collect()
}

#[test]
fn what_an_ended_tool_has_not_given_back_is_told() {
    at_once(&[SystemMake, Make441], |&make| {
        let Some(program) = tool(make) else { return };
        let shared = Shared::new();
        write_client(&shared.folder.path().join("thief.sh"), "drain");
        let makefile = "all:\n\t+@sh thief.sh\n\t@echo up; read line; true\n";
        std::fs::write(shared.folder.path().join("Makefile"), makefile).unwrap();
        let mut build = shared.jobgate(&["run", "-j6", "--"]);
        let mut build = build
            .arg(program)
            .args(["-s", "-j6"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(build.stdout.take().unwrap()), &mut said)
            .unwrap();
        assert_eq!(said, "up\n");
        // Six tokens, for make and its shell; at once, without waiting for it.
        let status = shared.status();
        assert_eq!(lost(&status), [4], "{make:?}: {status}");
        let table = succeed(&mut shared.jobgate(&["status"]));
        assert!(table.contains("4 lost?"), "{table}");
        drop(build.stdin.take());
        assert!(finish_child(build).status.success());
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
