//! `jobgate run` on a real terminal: its keys, its resizing, and job control under an interactive bash.
//!
//! Doesn't know tokens. Keys reach the whole foreground group, so what is passed on besides would come twice.

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use support::Real::SystemMake;
use support::build::Build;
use support::receiver::Receiver;
use support::shared::Shared;
use support::terminal::{CTRL_C, CTRL_Z, Terminal};
use support::{clean, finish_child, jobgate};

/// Starts `jobgate run` around the receiver, as the terminal's foreground.
fn start(receiver: &Receiver) -> (Terminal, Child, Pid) {
    let mut command = clean(Command::new("env"));
    command.args(["--default-signal", jobgate(), "run", "--", "bash", &receiver.script()]);
    let (terminal, child) = Terminal::start(&mut command);
    receiver.await_up();
    let us = Pid::from_raw(child.id() as i32);
    (terminal, child, us)
}

/// Starts an interactive bash on the terminal.
fn start_bash() -> (Terminal, Child) {
    let mut command = clean(Command::new("env"));
    command.args(["--default-signal", "bash", "--norc", "--noprofile", "-i"]);
    command.env("HISTFILE", "/dev/null").env("TERM", "dumb").env("PS1", "ready> ");
    let (mut terminal, bash) = Terminal::start(&mut command);
    terminal.await_text("ready> ");
    (terminal, bash)
}

/// Types the command line for a receiver: our pid.
fn type_run(terminal: &Terminal, receiver: &Receiver) -> Pid {
    terminal.press(&format!("{} run -- bash {}\n", jobgate(), receiver.script()));
    let (_, us) = receiver.await_up();
    us
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    let receiver = Receiver::new("");
    let (terminal, child, us) = start(&receiver);
    for presses in 1..=8 {
        terminal.press(CTRL_C);
        receiver.await_signal(Signal::SIGINT, presses);
    }
    kill(us, Signal::SIGWINCH).expect("we are there");
    receiver.await_signal(Signal::SIGWINCH, 1);
    receiver.end(3);
    assert_eq!(finish_child(child).status.code(), Some(3));
    assert_eq!(receiver.signals(), ["INT", "INT", "INT", "INT", "INT", "INT", "INT", "INT", "WINCH"]);
}

#[test]
fn a_resized_window_is_told_once() {
    let receiver = Receiver::new("");
    let (terminal, child, us) = start(&receiver);
    for times in 1..=8 {
        terminal.resize(80 + times as u16);
        receiver.await_signal(Signal::SIGWINCH, times);
    }
    for last in [Signal::SIGTERM, Signal::SIGHUP] {
        kill(us, last).expect("we are there");
        receiver.await_signal(last, 1);
    }
    receiver.end(0);
    assert!(finish_child(child).status.success());
    let mut expected = ["WINCH"; 8].to_vec();
    expected.extend(["TERM", "HUP"]);
    assert_eq!(receiver.signals(), expected);
}

/// The terminal's signal reaches the whole group; the same one sent to us alone, later, is another.
#[test]
fn what_the_terminal_sent_does_not_hide_what_is_sent_to_us_alone() {
    let receiver = Receiver::new("");
    let (terminal, child, us) = start(&receiver);
    terminal.press(CTRL_C);
    receiver.await_signal(Signal::SIGINT, 1);
    terminal.resize(90);
    receiver.await_signal(Signal::SIGWINCH, 1);
    // Once this has arrived both of the above have been dealt with.
    kill(us, Signal::SIGTERM).expect("we are there");
    receiver.await_signal(Signal::SIGTERM, 1);
    kill(us, Signal::SIGHUP).expect("we are there");
    receiver.await_signal(Signal::SIGHUP, 1);
    for signal in [Signal::SIGINT, Signal::SIGWINCH] {
        kill(us, signal).expect("we are there");
        receiver.await_signal(signal, 2);
    }
    receiver.end(0);
    assert!(finish_child(child).status.success());
}

#[test]
fn a_command_that_ctrl_c_ends_ends_us_by_sigint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = clean(Command::new("env"));
    let script = "echo up; exec sleep 60";
    command.args(["--default-signal", jobgate(), "run", "--", "sh", "-c", script]).current_dir(folder.path());
    let (mut terminal, child) = Terminal::start(&mut command);
    terminal.await_text("up");
    terminal.press(CTRL_C);
    assert_eq!(finish_child(child).status.signal(), Some(Signal::SIGINT as i32));
}

#[test]
fn a_terminal_that_is_closed_ends_the_build_and_its_jobs_are_back() {
    let shared = Shared::new();
    let Some(make) = Build::Make(SystemMake).lay_jobs(shared.folder.path(), 1000, 0.2) else { return };
    let neighbour = shared.jobgate(&["run", "-j4", "--", "sleep", "60"]).spawn().expect("it starts");
    let mut command = shared.command("env");
    command.args(["--default-signal", jobgate(), "run", "-j4", "--", &make[0]]);
    let (terminal, child) = Terminal::start(&mut command);
    shared.await_starts(6);
    assert_eq!(shared.status()["clients"].as_array().map(Vec::len), Some(2));
    drop(terminal);
    assert_eq!(finish_child(child).status.signal(), Some(Signal::SIGHUP as i32));
    let status = shared.await_status(|status| status["clients"].as_array().is_some_and(|all| all.len() == 1));
    assert_eq!(status["in_use"], 1);
    kill(Pid::from_raw(neighbour.id() as i32), Signal::SIGTERM).expect("it runs");
    finish_child(neighbour);
}

/// bash goes on with a loop when a command *exits* after Ctrl-C, whatever its status.
#[test]
fn the_first_ctrl_c_ends_a_shell_loop() {
    let mut command = clean(Command::new("env"));
    let script =
        "for turn in 1 2 3; do \"$0\" run -- sh -c \"echo turn $turn; exec sleep 60\"; done; echo over";
    command.args(["--default-signal", "bash", "-c", script, jobgate()]);
    let (mut terminal, bash) = Terminal::start(&mut command);
    terminal.await_text("turn 1");
    terminal.press(CTRL_C);
    assert_eq!(finish_child(bash).status.signal(), Some(Signal::SIGINT as i32), "bash stops, too");
}

#[test]
fn ctrl_z_stops_the_job_and_fg_resumes_it() {
    let receiver = Receiver::new("");
    let (mut terminal, bash) = start_bash();
    let us = type_run(&terminal, &receiver);
    for times in 1..=2 {
        terminal.press(CTRL_Z);
        terminal.await_text("Stopped");
        terminal.await_text("ready> ");
        terminal.press("jobs -s\n");
        terminal.await_text("Stopped");
        terminal.press("fg\n");
        receiver.await_signal(Signal::SIGCONT, times);
        kill(us, Signal::SIGHUP).expect("we are there");
        receiver.await_signal(Signal::SIGHUP, times);
    }
    receiver.end(3);
    terminal.await_text("ready> ");
    terminal.press("echo status=$?; exit 0\n");
    terminal.await_text("status=3");
    assert!(finish_child(bash).status.success());
    assert_eq!(receiver.signals(), ["CONT", "HUP", "CONT", "HUP"], "SIGCONT reaches it once, too");
}

/// Reading from the terminal in the background stops the job, and the shell sees it.
#[test]
fn a_background_job_that_reads_the_terminal_stops() {
    let (mut terminal, bash) = start_bash();
    terminal.press(&format!("{} run -- cat &\n", jobgate()));
    terminal.await_text("ready> ");
    terminal.press("wait %1; jobs\n");
    terminal.await_text("Stopped");
    terminal.await_text("ready> ");
    terminal.press("fg\n");
    terminal.await_text("run -- cat");
    terminal.press("read by cat\n");
    terminal.await_text("read by cat");
    terminal.await_text("read by cat");
    terminal.press("\x04");
    terminal.await_text("ready> ");
    terminal.press("echo status=$?; exit 0\n");
    terminal.await_text("status=0");
    assert!(finish_child(bash).status.success());
}

#[test]
fn a_command_that_ignores_ctrl_z_goes_on_and_so_do_we() {
    let receiver = Receiver::new("trap '' TSTP");
    let (mut terminal, bash) = start_bash();
    let us = type_run(&terminal, &receiver);
    for times in 1..=3 {
        terminal.press(CTRL_Z);
        terminal.await_text("^Z");
        // Of a higher number than SIGTSTP: when it arrives that one has been dealt with.
        kill(us, Signal::SIGWINCH).expect("we are there");
        receiver.await_signal(Signal::SIGWINCH, times);
    }
    receiver.end(3);
    terminal.await_text("ready> ");
    terminal.press("echo status=$?; exit 0\n");
    terminal.await_text("status=3");
    assert!(finish_child(bash).status.success());
}

/// A stop that Ctrl-Z didn't cause, long after one that was ignored, is no job control either.
#[test]
fn an_ignored_ctrl_z_is_forgotten() {
    let receiver = Receiver::new("trap '' TSTP");
    let (mut terminal, bash) = start_bash();
    let us = type_run(&terminal, &receiver);
    let (command, _) = receiver.await_up();
    terminal.press(CTRL_Z);
    terminal.await_text("^Z");
    kill(us, Signal::SIGWINCH).expect("we are there");
    receiver.await_signal(Signal::SIGWINCH, 1);
    kill(command, Signal::SIGSTOP).expect("the command is there");
    // Asked until we say that we have seen it.
    let mut said = String::new();
    while !said.contains("stopped") {
        kill(us, Signal::SIGUSR1).expect("we are there");
        terminal.await_text("jobgate: limit");
        said = terminal.await_text("\n");
    }
    kill(command, Signal::SIGCONT).expect("the command is there");
    receiver.await_signal(Signal::SIGCONT, 1);
    receiver.end(0);
    terminal.press("exit 0\n");
    assert!(finish_child(bash).status.success());
}
