//! How the shared gate comes and goes: on demand, at once, killed, replaced, in the foreground.
//!
//! Doesn't know shares (sharing.rs).

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::Real::{Make441, SystemMake};
use support::build::Build;
use support::shared::Shared;
use support::{DEADLINE, FakeProc, finish, finish_child, jobs, succeed};

const OLD: Build = Build::Make(SystemMake);
const NEW: Build = Build::Make(Make441);

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn ten_at_the_same_instant_find_one_server() {
    let shared = Shared::new();
    let builds: Option<Vec<Child>> = (0..10)
        .map(|number| {
            Some(shared.build(&format!("b{number}"), &["-j10"], OLD, 4, 0.2)?.spawn().expect("it starts"))
        })
        .collect();
    let Some(builds) = builds else { return };
    shared.await_starts(10);
    let server = shared.server();
    for build in builds {
        let output = finish_child(build);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    let seen = jobs(&shared.log());
    assert_eq!((seen.count, seen.peak), (40, 10), "{seen:?}");
    // Gone within a second of its last client, and its socket with it.
    let gone = Instant::now();
    while kill(Pid::from_raw(server), None).is_ok() && shared.socket.exists() {
        assert!(gone.elapsed() < DEADLINE, "the server stays");
    }
    assert!(gone.elapsed() < Duration::from_millis(1500), "{:?}", gone.elapsed());
}

#[test]
fn one_that_comes_while_the_server_leaves_finds_one() {
    let shared = Shared::new();
    for number in 0..30 {
        let output = finish(&mut shared.jobgate(&["run", "--", "true"]));
        assert!(output.status.success() && output.stderr.is_empty(), "{number}: {output:?}");
        // So long that the server is just about to leave: it stays 300 ms.
        std::thread::park_timeout(Duration::from_millis(285 + number));
    }
}

#[test]
fn a_caller_that_reads_our_output_does_not_wait_for_the_server() {
    let shared = Shared::new();
    let long = shared.jobgate(&["run", "--", "sleep", "30"]).spawn().unwrap();
    shared.await_status(|status| status["in_use"] == 1);
    let started = Instant::now();
    let script = format!("x=$({0} run --max-wait 0.1 -- echo out); echo \"got $x\"", support::jobgate());
    let text = succeed(shared.command("sh").args(["-c", &script]));
    assert_eq!(text, "got out\n");
    assert!(started.elapsed() < Duration::from_secs(10));
    kill(Pid::from_raw(long.id() as i32), Signal::SIGTERM).unwrap();
    finish_child(long);
}

#[test]
fn the_server_has_nothing_of_its_starter() {
    let shared = Shared::new();
    let script = "exec 7</dev/zero; cat /proc/$$/stat >/dev/null; jobgate() { \"$0\" \"$@\"; }; jobgate run -- sh -c \
                  'pid=$(\"$0\" status --json | cut -d: -f3 | cut -d, -f1); ls -l /proc/$pid/fd; \
                  readlink /proc/$pid/cwd; cut -d\" \" -f6 /proc/$pid/stat; echo $pid; tr \"\\0\" \"\\n\" </proc/$pid/environ' \"$0\"";
    let text = succeed(shared.command("bash").args(["-c", script, support::jobgate()]));
    assert_eq!(text.matches("/dev/null").count(), 3, "{text}");
    assert!(!text.contains("/dev/zero") && text.contains("\n/\n"), "{text}");
    let ours = nix::unistd::getsid(None).unwrap().to_string();
    // Where its user's cache lies is all that it knows.
    let is_cache = |line: &&str| line.starts_with("HOME=") || line.starts_with("XDG_CACHE_HOME=");
    let tail: Vec<&str> = text.lines().rev().skip_while(is_cache).take(2).collect();
    assert!(tail[0].parse::<i32>().is_ok(), "no more environment after the pid: {text}");
    assert!(tail[1] != ours && tail[1].parse::<i32>().is_ok(), "a session of its own: {text}");
}

#[test]
fn a_stale_socket_is_replaced() {
    let shared = Shared::new();
    let idle = shared.jobgate(&["run", "--", "sleep", "30"]).spawn().unwrap();
    let server = shared.await_status(|status| status["in_use"] == 1)["pid"].as_i64().unwrap() as i32;
    kill(Pid::from_raw(idle.id() as i32), Signal::SIGSTOP).unwrap();
    kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
    let output = finish(&mut shared.jobgate(&["run", "--", "echo", "ran"]));
    assert_eq!((&output.stdout[..], said(&output)), (&b"ran\n"[..], String::new()));
    kill(Pid::from_raw(idle.id() as i32), Signal::SIGCONT).unwrap();
    kill(Pid::from_raw(idle.id() as i32), Signal::SIGTERM).unwrap();
    finish_child(idle);
}

#[test]
fn killed_amid_builds_it_comes_back_and_nobody_notices() {
    for (signal, times) in [(Signal::SIGKILL, 3), (Signal::SIGTERM, 1)] {
        let shared = Shared::new();
        let start =
            |name, build| Some(shared.build(name, &["-j4"], build, 24, 0.25)?.spawn().expect("it starts"));
        let (Some(first), Some(second)) = (start("a", OLD), start("b", NEW)) else { return };
        let mut before = 0;
        for round in 1..=times {
            shared.await_starts(10 * round);
            let server = shared.await_status(|status| {
                let all = status["clients"].as_array().is_some_and(|clients| clients.len() == 2);
                all && status["pid"] != before
            });
            before = server["pid"].as_i64().unwrap();
            kill(Pid::from_raw(before as i32), signal).unwrap();
        }
        let status = shared.await_status(|status| {
            let ready = status["clients"].as_array().is_some_and(|clients| clients.len() == 2);
            ready && status["pid"] != before && status["gate"]["state"] == "open" && status["in_use"] == 4
        });
        assert_eq!((&status["limit"], &status["jobs"]), (&4.into(), &4.into()));
        for build in [first, second] {
            let output = finish_child(build);
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
        let seen = jobs(&shared.log());
        assert_eq!((seen.count, seen.peak), (48, 4), "{signal}: {seen:?}");
    }
}

/// By a cleaner of temporary folders, say. Two gates would let twice as many jobs run.
#[test]
fn a_server_whose_socket_is_removed_puts_it_back() {
    let shared = Shared::new();
    let start = |name: &str| Some(shared.build(name, &["-j4"], OLD, 12, 0.25)?.spawn().expect("it starts"));
    let Some(first) = start("a") else { return };
    shared.await_starts(4);
    let server = shared.server();
    kill(Pid::from_raw(server), Signal::SIGSTOP).unwrap();
    std::fs::remove_file(&shared.socket).expect("it is there");
    let Some(second) = start("b") else { return };
    // As on a busy machine: the next one is there before the server has seen anything.
    std::thread::park_timeout(Duration::from_millis(200));
    kill(Pid::from_raw(server), Signal::SIGCONT).unwrap();
    shared.await_starts(8);
    assert_eq!(shared.server(), server);
    std::fs::remove_file(&shared.socket).expect("it is there");
    let Some(third) = start("c") else { return };
    shared.await_starts(25);
    assert_eq!(shared.server(), server);
    for build in [first, second, third] {
        let output = finish_child(build);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    let seen = jobs(&shared.log());
    assert_eq!((seen.count, seen.peak), (36, 4), "{seen:?}");
}

/// One that could see nothing of it, for it stood still, gives its clients to the one that was started meanwhile.
#[test]
fn a_server_that_was_replaced_gives_its_clients_away() {
    let shared = Shared::new();
    let start = |name: &str| Some(shared.build(name, &["-j4"], OLD, 24, 0.25)?.spawn().expect("it starts"));
    let Some(first) = start("a") else { return };
    shared.await_starts(4);
    let server = shared.server();
    kill(Pid::from_raw(server), Signal::SIGSTOP).unwrap();
    std::fs::remove_file(&shared.socket).expect("it is there");
    let Some(second) = start("b") else { return };
    shared.await_status(|status| status["pid"] != server && status["in_use"] == 4);
    kill(Pid::from_raw(server), Signal::SIGCONT).unwrap();
    let status = shared.await_status(|status| {
        status["clients"].as_array().is_some_and(|clients| clients.len() == 2) && status["in_use"] == 4
    });
    assert!(status["pid"] != server);
    for build in [first, second] {
        let output = finish_child(build);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    assert_eq!(jobs(&shared.log()).count, 48);
}

#[test]
fn where_no_server_can_be_had_a_run_has_its_own_gate() {
    // Each answers a hello with this.
    for answer in
        ["{\"welcome\":{\"protocol\":\"2.0\"}}\n", "garbage\n", "", "{\"refused\":{\"why\":\"no\"}}\n"]
    {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("jobgate");
        std::fs::create_dir(&own).unwrap();
        std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        if std::path::Path::new(&format!("/run/user/{}", nix::unistd::geteuid())).exists() {
            return support::skipped("the user's own folder is /run/user's, which isn't the test's");
        }
        let listener = UnixListener::bind(own.join("socket")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut hello = String::new();
                let _ = BufReader::new(stream.try_clone().expect("a copy")).read_line(&mut hello);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let mut line = support::run(&["-j2"], &["sh", "-c", "echo $MAKEFLAGS"]);
        line.env_remove("JOBGATE_SOCKET").env("XDG_RUNTIME_DIR", folder.path());
        let output = finish(&mut line);
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("--jobserver-auth="),
            "{answer}: {output:?}"
        );
        let lines = said(&output);
        assert!(lines.lines().count() == 1 && lines.contains("this run has its own"), "{answer}: {lines}");
        // One that was named must be usable.
        let mut named = support::run(&["-j2"], &["true"]);
        let output = finish(named.env("JOBGATE_SOCKET", own.join("socket")));
        assert_eq!((output.status.code(), said(&output).lines().count()), (Some(125), 1), "{output:?}");
    }
}

#[test]
fn in_the_foreground_the_configuration_rules() {
    let shared = Shared::new();
    let config = shared.folder.path().join("jobgate.toml");
    let path = config.to_str().unwrap();
    let proc = FakeProc::new();
    std::fs::write(&config, "jobs = 3\nmax-cpu = 100000\n[quota]\ndefault = 2\n").unwrap();
    let server = shared.serve(&["--config", path, "--proc", proc.path()]);
    let Some(mut build) = shared.build("a", &["-j8", "--max-io", "5000"], OLD, 40, 0.1) else { return };
    let build = build.spawn().unwrap();
    shared.await_starts(10);
    let status = shared.status();
    assert_eq!((&status["jobs"], &status["settings"]["jobs"]["from"]), (&3.into(), &path.into()), "{status}");
    assert_eq!(status["pressure"]["io"]["max"], serde_json::Value::Null);
    assert_eq!(jobs(&shared.log()).peak, 2, "the quota");
    let growth = proc.grow(&[("cpu", 500_000)]);
    let held = shared.await_status(|status| status["gate"]["state"] == "held");
    assert_eq!(held["gate"]["reasons"][0]["resource"], "cpu");
    drop(growth);

    std::fs::write(&config, "jobs = 3\nmax-cpu = 0.5\n").unwrap();
    kill(server.pid(), Signal::SIGHUP).unwrap();
    std::fs::write(&config, "jobs = 5\n").unwrap();
    kill(server.pid(), Signal::SIGHUP).unwrap();
    shared.await_status(|status| status["jobs"] == 5 && status["pressure"]["cpu"]["max"].is_null());
    let output = finish_child(build);
    assert!(output.status.success(), "{output:?}");
    assert!(said(&output).contains("are passed over") && said(&output).lines().count() == 1, "{output:?}");
    assert!(jobs(&shared.log()).peak > 2);

    std::fs::write(&config, "jobs = 3\n\nmax-cpu = 0.5\n").unwrap();
    let second = finish(&mut shared.jobgate(&["serve", "--config", path]));
    assert_eq!(second.status.code(), Some(125));
    assert!(said(&second).contains(&format!("{path}:3: max-cpu 0.5 is too low")), "{second:?}");
    std::fs::remove_file(&shared.socket).expect("it is there");
    shared.await_status(|status| status["pid"] == server.pid().as_raw());
    assert!(server.end().contains("was removed, and is put back"));
    assert!(!shared.socket.exists());
}

#[test]
fn systemd_hands_over_the_socket_and_is_told() {
    let shared = Shared::new();
    let folder = shared.folder.path();
    let notify = std::os::unix::net::UnixDatagram::bind(folder.join("notify")).unwrap();
    notify.set_read_timeout(Some(DEADLINE)).unwrap();
    std::fs::create_dir_all(shared.socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&shared.socket).unwrap();
    let mut command = shared.command("sh");
    command.args([
        "-c",
        "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 0</dev/null",
        "sh",
        support::jobgate(),
        "serve",
    ]);
    command.env("NOTIFY_SOCKET", folder.join("notify")).env("WATCHDOG_USEC", "400000");
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener))).env_remove("JOBGATE_SOCKET");
    let server = command.spawn().unwrap();
    let hear = || {
        let mut bytes = [0; 512];
        let length = notify.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert!(hear().contains("READY=1"));
    assert!(hear().contains("WATCHDOG=1"));
    assert_eq!(succeed(&mut shared.jobgate(&["run", "--", "echo", "ran"])), "ran\n");
    kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).unwrap();
    while !hear().contains("STOPPING=1") {}
    assert!(finish_child(server).status.success());
    assert!(shared.socket.exists(), "the socket is systemd's");
}
