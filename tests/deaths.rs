//! Deaths at every step: a run, or the server, is sent a signal at its first system call, at its second, and so on, while
//! another build is under way on the same gate.
//!
//! Doesn't know what the calls are for: strace counts them and sends the signal.

mod support;

use jobgate::proto::wire::{self, Hello, LeaseAsked, PROTOCOL, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::Real::{Make441, SystemMake};
use support::build::Build;
use support::shared::Shared;
use support::{finish, finish_child, jobs, makefile};

const SIGNALS: [Signal; 4] = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The ledger is right within two beats; this much more for asking on a busy machine.
const RIGHT: Duration = Duration::from_millis(3500);

/// Whether strace can be had, and may trace.
fn strace() -> bool {
    let works =
        Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        support::skipped("strace isn't installed, or may not trace here");
    }
    works
}

fn send(child: &Child, signal: Signal) {
    let _ = kill(Pid::from_raw(child.id() as i32), signal);
}

/// Whether this many clients are there, with all four jobs among them.
fn is_whole(status: &Value, clients: usize) -> bool {
    status["clients"].as_array().is_some_and(|all| all.len() == clients) && status["in_use"] == 4
}

/// A long build of four jobs at once, under way.
fn steady(shared: &Shared, name: &str, build: Build) -> Option<Child> {
    // What it says there nobody reads: a full pipe would stop it.
    let mut line = shared.build(name, &["-j4"], build, 3000, 0.1)?;
    let child = line.stdout(Stdio::null()).spawn().expect("it starts");
    shared.await_starts(4);
    Some(child)
}

/// Ends it, and asserts that it had nothing to say.
fn end(child: Child) {
    send(&child, Signal::SIGTERM);
    let output = finish_child(child);
    // make dies of it, ninja ends with 130.
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.lines().all(|line| !line.starts_with("jobgate")), "{said}");
}

/// A run is sent a signal at each of its calls: all that it had is back, and its neighbour never notices.
fn run_dies_everywhere(build: Build, style: &str) {
    let shared = Shared::new();
    let Some(make) = build.lay_jobs(shared.folder.path(), 0, 0.0) else { return };
    let short = shared.folder.path().join("short");
    std::fs::write(&short, makefile(6, 0.01).replace("$$LOG", "/dev/null")).unwrap();
    let Some(neighbour) = steady(&shared, "steady", build) else { return };
    let (mut died, mut step) = (0, 1);
    loop {
        let signal = SIGNALS[step % SIGNALS.len()];
        let inject = format!("inject=all:signal={signal}:when={step}");
        let mut line = shared.command("strace");
        line.args([
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &inject,
            support::jobgate(),
            "run",
            "-j4",
            "--style",
            style,
        ]);
        line.args(["--", &make[0], "-f", short.to_str().unwrap()]);
        let output = finish(&mut line);
        let ended = Instant::now();
        let status = shared.await_status(|status| is_whole(status, 1));
        assert!(ended.elapsed() < RIGHT, "{signal} at call {step}: {:?} until {status}", ended.elapsed());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked") && said.matches("jobgate:").count() == 0, "{step}: {said}");
        match output.status.signal() {
            Some(by) => {
                assert_eq!(by, signal as i32, "call {step}");
                died += 1;
            }
            // Its calls are over before this one.
            None if step > 100 => break,
            None => {}
        }
        // The first calls are the loader's; on the way to the end the steps grow.
        step += 1 + step / 40;
    }
    assert!(died > 50, "it died {died} times");
    end(neighbour);
    // What died early ran nothing, what died late its own few jobs; the neighbour had its four.
    assert_eq!(jobs(&shared.log()).peak, 4);
}

#[test]
fn a_run_over_a_pipe_may_die_at_any_call() {
    if strace() {
        run_dies_everywhere(Build::Make(SystemMake), "pipe");
    }
}

#[test]
fn a_run_over_a_fifo_may_die_at_any_call() {
    if strace() {
        run_dies_everywhere(Build::Make(Make441), "fifo");
    }
}

#[test]
fn who_dies_between_hello_and_welcome_was_never_there() {
    let shared = Shared::new();
    let server = shared.serve(&["--jobs", "4"]);
    let hello = Hello {
        protocol: PROTOCOL.to_owned(),
        lease: LeaseAsked::Wait { min: 1, max: 1 },
        ..Hello::default()
    };
    for _ in 0..20 {
        let mut stream = UnixStream::connect(&shared.socket).expect("somebody listens");
        stream.write_all(&wire::line(&Request::Hello(Box::new(hello.clone())))).expect("it is taken");
    }
    let status = shared.await_status(|status| status["clients"].as_array().is_some_and(Vec::is_empty));
    assert_eq!(status["in_use"], 0);
    drop(server);
}

#[test]
fn the_server_may_die_at_any_call_and_the_limit_holds() {
    if !strace() {
        return;
    }
    let shared = Shared::new();
    let (Some(first), Some(second), Some(third)) = (
        steady(&shared, "old", Build::Make(SystemMake)),
        steady(&shared, "new", Build::Make(Make441)),
        steady(&shared, "ninja", Build::Ninja),
    ) else {
        return;
    };
    let mut pid = shared.await_status(|status| is_whole(status, 3))["pid"].as_i64().unwrap();
    for step in 1..100 {
        let inject = format!("inject=all:signal=SIGKILL:when={step}");
        let mut tracer = shared.command("strace");
        tracer.args(["-qq", "-o", "/dev/null", "-e", &inject, "-p", &pid.to_string()]);
        let mut tracer = tracer.stderr(Stdio::null()).spawn().expect("strace starts");
        // Asking makes it call; each time is one more client that comes and goes.
        let status = shared.await_status(|status| is_whole(status, 3) && status["pid"] != pid);
        pid = status["pid"].as_i64().unwrap();
        assert_eq!((&status["limit"], &status["jobs"]), (&4.into(), &4.into()));
        let _ = tracer.wait();
    }
    // Who is ended leaves starts without ends in the log, while the others take its place.
    let seen = jobs(&shared.log());
    [first, second, third].into_iter().for_each(end);
    assert_eq!(seen.peak, 4);
}
