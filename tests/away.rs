//! A server that is away for a while, doesn't answer, or never comes back: builds go on with what they have.
//!
//! Doesn't know how one comes and goes by itself (server_life.rs).

mod support;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use support::Real::{Make441, SystemMake};
use support::build::Build;
use support::raw::{Raw, one};
use support::shared::Shared;
use support::{finish_child, jobs};

/// Three builds of the three kinds of clients, all under way on a gate of four; `None` where a tool is missing.
fn three_builds(shared: &Shared, count: usize) -> Option<Vec<Child>> {
    let tools = [("old", Build::Make(SystemMake)), ("new", Build::Make(Make441)), ("ninja", Build::Ninja)];
    let builds: Option<Vec<_>> =
        tools.iter().map(|&(name, tool)| shared.build(name, &["-j4"], tool, count, 0.2)).collect();
    let builds = builds?.into_iter().map(|mut build| build.spawn().expect("it starts")).collect();
    shared.await_status(|status| status["clients"].as_array().is_some_and(|clients| clients.len() == 3));
    shared.await_starts(12);
    Some(builds)
}

fn starts(shared: &Shared) -> usize {
    let text = std::fs::read_to_string(shared.log()).unwrap_or_default();
    text.lines().filter(|line| line.starts_with('S')).count()
}

/// A gate that its clients can't start; `None` where that can't be had.
fn service() -> Option<Shared> {
    if !nix::unistd::geteuid().is_root() {
        support::skipped(
            "without root there is no folder where a service may listen and clients may start none",
        );
        return None;
    }
    let mut shared = Shared::new();
    let folder = shared.folder.path().join("gate");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o775)).unwrap();
    shared.socket = folder.join("socket");
    Some(shared)
}

/// Ends them all well, each having said so many lines.
fn end_well(builds: Vec<Child>, lines: usize) {
    for build in builds {
        let output = finish_child(build);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.lines().count() == lines, "{output:?}");
    }
}

#[test]
fn a_service_that_is_restarted_amid_builds_is_waited_for() {
    let Some(shared) = service() else { return };
    let mut servers = vec![shared.serve(&["--jobs", "4"])];
    let Some(builds) = three_builds(&shared, 30) else { return };
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        kill(servers.last().expect("there is one").pid(), signal).unwrap();
        // They go on meanwhile.
        shared.await_starts(starts(&shared) + 8);
        servers.push(shared.serve(&["--jobs", "4"]));
        shared.await_status(|status| {
            status["clients"].as_array().is_some_and(|clients| clients.len() == 3) && status["in_use"] == 4
        });
    }
    end_well(builds, 0);
    let seen = jobs(&shared.log());
    assert_eq!((seen.count, seen.peak), (90, 4), "{seen:?}");
}

#[test]
fn who_waits_for_its_first_job_waits_for_the_service_too() {
    let Some(shared) = service() else { return };
    for comes_back in [true, false] {
        let first = shared.serve(&["--jobs", "1"]);
        let long = shared.jobgate(&["run", "--", "cat"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        shared.await_status(|status| status["in_use"] == 1);
        let mut waiting = shared.jobgate(&["run", "--", "echo", "ran"]);
        waiting.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let waiting = waiting.spawn().unwrap();
        shared.await_status(|status| status["clients"].as_array().is_some_and(|clients| clients.len() == 2));
        // Killed, and gone: else the next would find it.
        drop(first);
        let next = comes_back.then(|| shared.serve(&["--jobs", "1"]));
        if comes_back {
            shared.await_status(|status| {
                status["in_use"] == 1
                    && status["clients"].as_array().is_some_and(|clients| clients.len() == 2)
            });
            kill(nix::unistd::Pid::from_raw(long.id() as i32), Signal::SIGTERM).unwrap();
        }
        let output = finish_child(waiting);
        let said = String::from_utf8_lossy(&output.stderr);
        let own = said.lines().filter(|line| line.contains("this run has its own")).count();
        assert_eq!((&output.stdout[..], own), (&b"ran\n"[..], usize::from(!comes_back)), "{output:?}");
        let _ = kill(nix::unistd::Pid::from_raw(long.id() as i32), Signal::SIGTERM);
        finish_child(long);
        drop(next);
    }
}

#[test]
fn one_that_stands_still_stops_nobody() {
    let shared = Shared::new();
    let Some(builds) = three_builds(&shared, 30) else { return };
    let server = nix::unistd::Pid::from_raw(shared.server());
    kill(server, Signal::SIGSTOP).unwrap();
    shared.await_starts(starts(&shared) + 12);
    kill(server, Signal::SIGCONT).unwrap();
    shared.await_status(|status| status["in_use"] == 4 && status["pid"] == server.as_raw());
    end_well(builds, 0);
    let seen = jobs(&shared.log());
    assert_eq!((seen.count, seen.peak), (90, 4), "{seen:?}");
}

#[test]
fn one_that_never_comes_back_leaves_each_build_a_gate_of_its_own_until_there_is_one_again() {
    let mut shared = Shared::new();
    shared.socket = shared.folder.path().join("gate/socket");
    let Some(builds) = three_builds(&shared, 300) else { return };
    let server = nix::unistd::Pid::from_raw(shared.server());
    let folder = shared.socket.parent().unwrap();
    let aside = folder.with_extension("aside");
    // A file in the folder's place: no server can be had.
    std::fs::rename(folder, &aside).unwrap();
    std::fs::write(folder, "").unwrap();
    kill(server, Signal::SIGKILL).unwrap();
    let before = starts(&shared);
    // All three with their own four: what they had from the gate was four in all.
    support::await_change(shared.folder.path(), || (jobs(&shared.log()).peak > 10).then_some(()));
    assert!(starts(&shared) > before);
    std::fs::remove_file(folder).unwrap();
    std::fs::rename(&aside, folder).unwrap();
    let status = shared.await_status(|status| {
        status["clients"].as_array().is_some_and(|clients| clients.len() == 3) && status["in_use"] == 4
    });
    assert_eq!(status["limit"], 4);
    end_well(builds, 1);
    assert_eq!(jobs(&shared.log()).count, 900);
}

#[test]
fn a_program_that_was_deleted_still_brings_its_server_back() {
    let shared = Shared::new();
    let program = shared.folder.path().join("jobgate");
    std::fs::copy(support::jobgate(), &program).unwrap();
    let Some(mut build) = shared.build("a", &["-j3"], Build::Make(SystemMake), 30, 0.2) else { return };
    let mut own = shared.command(program.to_str().unwrap());
    own.args(build.get_args()).current_dir(build.get_current_dir().unwrap()).env("NAME", "a");
    own.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    build = own;
    let build = build.spawn().unwrap();
    shared.await_starts(6);
    let before = shared.server();
    std::fs::remove_file(&program).unwrap();
    kill(nix::unistd::Pid::from_raw(before), Signal::SIGKILL).unwrap();
    shared.await_status(|status| status["pid"] != before && status["in_use"] == 3);
    end_well(vec![build], 0);
    let seen = jobs(&shared.log());
    assert_eq!((seen.count, seen.peak), (30, 3), "{seen:?}");
}

#[test]
fn who_comes_back_before_the_run_around_it_borrows_as_before() {
    let shared = Shared::new();
    let dead = shared.serve(&["--jobs", "4"]);
    kill(dead.pid(), Signal::SIGKILL).unwrap();
    drop(dead);
    let _server = shared.serve(&["--jobs", "4"]);
    // What we start is in our jobs; we are the run around them.
    let jobs = [(), ()].map(|()| Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat"));
    let come = |fields: Value| {
        let mut raw = Raw::connect(&shared.socket);
        raw.enter(&fields);
        raw
    };
    let _waits = come(json!({"label": "waits", "lease": one(), "lender": jobs[0].id()}));
    let claim = json!({"borrowed": true, "allotment": 1});
    let _inside = come(json!({"label": "inside", "lease": one(), "lender": jobs[1].id(), "claim": claim}));
    let _around = come(json!({"label": "around", "lease": one(), "claim": {"lease": 1, "allotment": 0}}));
    let status = shared.await_status(|status| status["gate"]["state"] != "recovering");
    let clients = status["clients"].as_array().expect("clients");
    let paid: Vec<_> = clients.iter().map(|client| (&client["lease"], &client["borrowed"])).collect();
    assert_eq!(
        paid,
        [(&json!(0), &json!(true)), (&json!(0), &json!(true)), (&json!(1), &json!(false))],
        "{status}"
    );
    for mut job in jobs {
        drop(job.stdin.take());
        job.wait().expect("our child");
    }
}
