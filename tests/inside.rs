//! Jobs inside jobs, shells, and foreign jobservers: who pays for what, at limits where a second payment would never come.
//!
//! Doesn't know shares (sharing.rs).

mod support;

use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use support::Real::{Make441, SystemMake};
use support::build::{Build, text};
use support::receiver::Receiver;
use support::shared::Shared;
use support::terminal::{CTRL_Z, Terminal};
use support::{Real, finish, finish_child, jobgate, jobs, succeed, tool};

/// A makefile `outer.mk` with these recipes, and a folder `sub` with six jobs.
fn lay(shared: &Shared, recipes: &[&str]) -> Option<PathBuf> {
    let make = tool(SystemMake)?;
    let sub = shared.folder.path().join("sub");
    std::fs::create_dir_all(&sub).unwrap();
    Build::Make(SystemMake).lay_jobs(&sub, 6, 0.15)?;
    let names: Vec<String> = (0..recipes.len()).map(|number| format!("t{number}")).collect();
    let all = names.join(" ");
    let rules: String =
        names.iter().zip(recipes).map(|(name, recipe)| format!("{name}:\n\t@{recipe}\n")).collect();
    std::fs::write(shared.folder.path().join("outer.mk"), format!("all: {all}\n.PHONY: all {all}\n{rules}"))
        .unwrap();
    Some(make)
}

#[test]
fn whatever_its_environment_a_job_inside_never_hangs_and_never_goes_over() {
    let inner = "GATE run -- make -s -C sub";
    let rows = [
        format!("BARE {inner}"),
        format!("BARE setsid -w {inner}"),
        "BARE GATE exec -- make -s -C sub".to_owned(),
        format!("BARE {inner} & BARE {inner} & wait"),
        format!("( ( BARE setsid {inner} >/dev/null & ) & ) ; sleep 0.1"),
        format!("BARE GATE run -j4 -- sh -c '{inner}; {inner}'"),
        inner.to_owned(),
    ];
    support::pool::at_once(&rows, |row| {
        for limit in [1, 2] {
            let shared = Shared::new();
            let bare = "env -i PATH=\"$$PATH\" LOG=\"$$LOG\" JOBGATE_SOCKET=\"$$JOBGATE_SOCKET\"";
            let recipe = row.replace("BARE", bare).replace("GATE run", &format!("{} run", jobgate()));
            let recipe = recipe.replace("GATE exec", &format!("{} exec", jobgate()));
            let Some(make) = lay(&shared, &[&recipe]) else { return };
            // The run outlives what the recipe left behind, so that there is something to be over.
            let line = format!("{} -f outer.mk; sleep 2", text(&make));
            let started = std::time::Instant::now();
            let output =
                finish(&mut shared.jobgate(&["run", &format!("-j{limit}"), "--", "sh", "-c", &line]));
            assert!(output.status.success(), "{row}: {output:?}");
            assert!(started.elapsed().as_secs() < 30, "{row}: it hung until it was let through");
            let seen = jobs(&shared.log());
            assert!(seen.peak <= limit, "{row} at {limit}: {seen:?}");
        }
    });
}

#[test]
fn below_our_own_endpoint_a_run_without_options_is_the_command_itself() {
    let shared = Shared::new();
    let script = format!(
        "echo outer $PPID; {0} run -- sh -c 'echo inner $PPID; {0} run -- sh -c \"echo deep \\$PPID\"'",
        jobgate()
    );
    let said = succeed(&mut shared.jobgate(&["run", "-j2", "--", "sh", "-c", &script]));
    let parents: Vec<&str> = said.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(parents.len(), 3, "{said}");
    // No jobgate in between: each shell is the child of the shell before it, or its successor by exec.
    let clients = succeed(&mut shared.jobgate(&[
        "run",
        "--style",
        "pipe",
        "-j2",
        "--",
        "sh",
        "-c",
        &format!("{0} run -- {0} status --json", jobgate()),
    ]));
    let clients: serde_json::Value = serde_json::from_str(&clients).unwrap();
    assert_eq!(clients["clients"].as_array().map(Vec::len), Some(1), "{clients}");
}

#[test]
fn below_gnu_makes_own_jobserver_it_is_an_honest_client() {
    let rows: [(Real, &[&str]); 3] =
        [(SystemMake, &[]), (Make441, &["--jobserver-style=fifo"]), (Make441, &["--jobserver-style=pipe"])];
    support::pool::at_once(&rows, |&(make, style)| {
        for ended in [None, Some("TERM"), Some("INT"), Some("HUP")] {
            let shared = Shared::new();
            let run = format!("{} run -j8 -- make -s -C sub", jobgate());
            let first = match ended {
                None => format!("+{run}"),
                Some(signal) => format!("+-timeout --foreground -s {signal} 0.4 {run} 2>/dev/null; true"),
            };
            let Some(_) = lay(&shared, &[&first]) else { return };
            let Some(path) = tool(make) else { return };
            // Behind it, whether all tokens are back: three jobs at once by make alone.
            let after =
                support::makefile(6, 0.2).replace("all:", "after:").replace(".PHONY: all", ".PHONY: after");
            let outer = shared.folder.path().join("outer.mk");
            let mut rules = std::fs::read_to_string(&outer).unwrap();
            rules = rules.replace("@+", "+@")
                + "both: all\n\t@+$(MAKE) -s -f outer.mk after LOG=$$LOG.after\n"
                + &after;
            std::fs::write(&outer, rules).unwrap();
            let mut command = shared.command(&text(&path));
            command.arg("-j3").args(style).args(["-s", "-f", "outer.mk", "both"]);
            let output = finish(&mut command);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !said.contains("INTERNAL"), "{make:?} {ended:?}: {output:?}");
            let seen = jobs(&shared.log());
            assert!(seen.peak <= 3 && (ended.is_some() || seen.mean >= 2.0), "{make:?} {ended:?}: {seen:?}");
            let after = jobs(&shared.folder.path().join("log.after"));
            assert_eq!((after.count, after.peak), (6, 3), "{make:?} {ended:?}: {after:?}");
        }
    });
}

#[test]
fn a_run_stopped_by_ctrl_z_keeps_nobody_waiting() {
    let shared = Shared::new();
    let mut shell = shared.command("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "READY ").env("GATE", jobgate());
    let (mut terminal, child) = Terminal::start(&mut shell);
    terminal.await_text("READY ");
    let receiver = Receiver::new("");
    terminal.press(&format!("$GATE run -j1 -- bash {}\r", receiver.script()));
    receiver.await_up();
    terminal.press(CTRL_Z);
    terminal.await_text("Stopped");
    let started = std::time::Instant::now();
    let second =
        shared.jobgate(&["run", "-j1", "--", "echo", "second"]).stdout(Stdio::piped()).spawn().unwrap();
    assert!(finish_child(second).status.success());
    assert!(started.elapsed().as_secs() < 5, "it didn't wait");
    terminal.press("fg\r");
    receiver.await_signal(Signal::SIGCONT, 1);
    receiver.end(3);
    terminal.press("echo status=$?; exit 0\r");
    terminal.await_text("status=3");
    finish_child(child);
}

/// A shell with make 4.4.1 first on PATH.
fn shell_with_new_make(shared: &Shared, script: &str) -> Option<Command> {
    let make = tool(Make441)?;
    let mut command = shared.command("bash");
    command.args(["-c", script]).env("PATH", support::path_with(&[&make])).env("GATE", jobgate());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

#[test]
fn a_shell_joins_by_env_and_leaves_with_its_end() {
    let shared = Shared::new();
    let Some(_) = lay(&shared, &["true"]) else { return };
    let script =
        "eval \"$($GATE env -j3)\"; echo $JOBGATE_ATTACHED ${MAKEFLAGS##*fifo:}; make -s -C sub; read wait";
    let Some(mut shell) = shell_with_new_make(&shared, script) else { return };
    let child: Child = shell.stdin(Stdio::piped()).spawn().unwrap();
    shared.await_starts(6);
    let status = shared.status();
    let client = &status["clients"][0];
    assert_eq!(
        (&client["label"], &client["lease"], &client["style"]),
        (&"bash".into(), &0.into(), &"fifo".into())
    );
    let attached = client["pid"].as_i64().unwrap() as i32;
    let output = finish_child(child); // its standard input is closed
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with(&format!("{attached} ")), "{said}");
    let seen = jobs(&shared.log());
    // The shell pays no lease, and so make's own slot comes on top.
    assert!(seen.count == 6 && (3..=4).contains(&seen.peak), "{seen:?}");
    let fifo = said.split(' ').nth(1).unwrap();
    let started = std::time::Instant::now();
    while std::path::Path::new(fifo).exists() || shared.socket.exists() {
        assert!(started.elapsed() < support::DEADLINE, "{fifo} or {} is left", shared.socket.display());
    }
}

#[test]
fn env_is_stopped_refused_and_never_waited_for() {
    let shared = Shared::new();
    let script = "x=$($GATE env --until-stopped); eval \"$x\"; a=$JOBGATE_ATTACHED; $GATE status | tail -1; \
                  eval \"$($GATE env --stop)\"; echo \"[$MAKEFLAGS$JOBGATE_AUTH$JOBGATE_ATTACHED]\"; \
                  while kill -0 $a 2>/dev/null; do :; done; $GATE env --shell json | head -c 1; \
                  $GATE env --shell fish | grep -c 'set -gx MAKEFLAGS'; $GATE env --shell x";
    let Some(mut shell) = shell_with_new_make(&shared, script) else { return };
    let output = finish(&mut shell);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("fifo") && said.ends_with("[]\n{1\n"), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--shell 'x'"), "{output:?}");

    let Some(old) = tool(SystemMake) else { return };
    if !succeed(Command::new(&old).arg("--version")).starts_with("GNU Make 4.3") {
        return support::skipped("the system's make isn't older than 4.4");
    }
    let mut refused = shared.jobgate(&["env"]);
    let output =
        finish(refused.env("PATH", support::path_with(&[&old])).env("XDG_DATA_HOME", "/proc/nowhere"));
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(125), true));
    assert!(String::from_utf8_lossy(&output.stderr).contains("older than GNU make 4.4"), "{output:?}");
}

#[test]
fn an_interactive_shell_costs_nothing_while_nobody_builds_there() {
    let shared = Shared::new();
    let mut line = shared.jobgate(&["run", "-j4", "--", "bash", "--norc", "--noprofile"]);
    let (mut terminal, child) = Terminal::start(line.env("PS1", "READY "));
    terminal.await_text("READY ");
    let Some(mut build) = shared.build("a", &["-j4"], Build::Make(Make441), 60, 0.2) else { return };
    let output = finish_child(build.spawn().unwrap());
    assert!(output.status.success(), "{output:?}");
    let seen = jobs(&shared.log());
    assert!(seen.peak == 4 && seen.mean > 3.6, "{seen:?}");
    // It hangs up.
    drop(terminal);
    finish_child(child);
}
