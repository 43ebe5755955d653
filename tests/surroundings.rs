//! A wrapped command's surroundings: what it is given, how its end shows, and which signals reach it.
//!
//! Doesn't know tokens. Where it can be, the same command without `jobgate` says what is right; terminals have a
//! program of their own.

mod support;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command};
use support::receiver::Receiver;
use support::{clean, finish, finish_child, jobgate};

/// The descriptors where an endpoint lies: out of the way of scripts, within reach of make's `pselect`.
const HIGH: Range<i32> = 100..1024;

/// A caller: what its shell does before it runs the command, what the kernel then tells of the command (a field, and in
/// it bits of a mask or a text), and where an endpoint may lie.
struct Caller {
    name: &'static str,
    prelude: &'static str,
    shows: (&'static str, &'static str),
    endpoint: Range<i32>,
}

const fn caller(name: &'static str, prelude: &'static str, shows: (&'static str, &'static str)) -> Caller {
    Caller { name, prelude, shows, endpoint: HIGH }
}

const CALLERS: [Caller; 12] = [
    caller("plain", "", ("NoNewPrivs", "0")),
    caller("nohup", "trap '' HUP", ("SigIgn", "1")),
    caller("in the background", "trap '' INT QUIT", ("SigIgn", "6")),
    caller("job control ignored", "trap '' TSTP TTIN TTOU CONT USR1", ("SigIgn", "3a0200")),
    caller("children ignored", "set -- env --ignore-signal=CHLD \"$@\"", ("SigIgn", "10000")),
    caller("USR2 blocked", "set -- env --block-signal=USR2 \"$@\"", ("SigBlk", "800")),
    caller("all blocked", "set -- env --block-signal \"$@\"", ("SigBlk", "fffffffe7ffbfeff")),
    caller("umask", "umask 077", ("Umask", "0077")),
    Caller { endpoint: 32..64, ..caller("few descriptors", "ulimit -n 64", ("Max open files", " 64 ")) },
    caller("other limits", "ulimit -c 0 -s 4096", ("Max stack size", " 4194304 ")),
    caller("own descriptors", "exec 7<in 100<in 150>>err", ("fd/100", "FOLDER/in")),
    caller("another folder", "cd /; export MAKEFLAGS=k", ("cwd", "-> /")),
];

/// What proc_pid_status(5) and proc_pid_limits(5) tell that a parent hands down.
const HANDED_DOWN: [&str; 17] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "NSpgid",
    "NSsid",
    "SigPnd",
    "ShdPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "Cap",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed",
    "Mems_allowed",
    "Max ",
];

/// What one command was given: field by field, as the kernel tells it.
type Given = BTreeMap<String, String>;

/// Runs `wrapper PROBE` as `caller` does, for probes that tell of themselves, with no shell in between.
fn given(caller: &Caller, wrapper: &[&str], folder: &Path) -> Given {
    let probe = |probe: &[&str]| {
        let file = |name: &str| File::create(folder.join(name)).expect("a file is made");
        let prelude = format!("{}\nexec \"$@\"", caller.prelude);
        let mut command = clean(Command::new("env"));
        command.env("JOBGATE_SOCKET", folder.join("gate/socket"));
        command.args(["--default-signal", "bash", "-c", &prelude, "bash"]).args(wrapper).args(probe);
        command.current_dir(folder).stdin(File::open(folder.join("in")).expect("a file opens"));
        let output =
            finish_child(command.stdout(file("out")).stderr(file("err")).spawn().expect("it starts"));
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("text");
        assert!(output.status.success(), "{}: {wrapper:?} {probe:?}: {}", caller.name, read("err"));
        assert_eq!(read("err"), "", "{}: nothing is said", caller.name);
        read("out")
    };
    let mut given = Given::new();
    let mut note = |name: &str, value: &str| given.insert(name.trim().to_owned(), value.trim().to_owned());

    let kernel = probe(&["cat", "/proc/self/status", "/proc/self/limits", "/proc/self/stat"]);
    for line in kernel.lines() {
        if let Some((_, fields)) = line.split_once(") R ") {
            // proc_pid_stat(5), where ours is the fourth: 5 to 8, and 19.
            let fields: Vec<&str> = fields.split(' ').collect();
            note("group, session, terminal, the terminal's group", &fields[1..5].join(" "));
            note("nice", fields[15]);
        } else if HANDED_DOWN.iter().any(|name| line.starts_with(name)) {
            let (name, value) =
                line.split_once(':').unwrap_or_else(|| line.split_at("Max realtime priority ".len()));
            note(name, &format!("{value} "));
        }
    }
    for entry in probe(&["env", "-0"]).split_terminator('\0') {
        let (name, value) = entry.split_once('=').expect("name=value");
        // bash's own: the file it started last.
        if name != "_" {
            note(&format!("variable {name}"), value);
        }
    }
    let find = ["find", "/proc/self/cwd", "/proc/self/root", "/proc/self/fd", "-maxdepth", "1"];
    let links = probe(&[&find[..], &["-type", "l", "-printf", "%p -> %l\\n"]].concat());
    let links = links.replace(folder.to_str().expect("text"), "FOLDER");
    for (link, target) in links.lines().filter_map(|line| line.split_once(' ')) {
        // The probe itself looks into its own folder of /proc, named by its pid.
        if !target.starts_with("-> /proc/") {
            note(link.trim_start_matches("/proc/self/"), target);
        }
    }
    given
}

/// Whether the caller is what it is said to be.
fn shows(given: &Given, (name, expected): (&str, &str)) -> bool {
    let value = given.get(name).map_or("", String::as_str);
    let mask = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
    if name.starts_with("Sig") {
        mask(value) & mask(expected) == mask(expected)
    } else {
        value.contains(expected)
    }
}

/// The names whose values differ, and those that only one has.
fn differences(without: &Given, with: &Given) -> Vec<String> {
    let names: BTreeSet<&String> = without.keys().chain(with.keys()).collect();
    names.into_iter().filter(|&name| without.get(name) != with.get(name)).cloned().collect()
}

/// One table: the command has all that it would have without us, and beyond it six variables and an endpoint.
#[test]
fn a_command_is_given_what_its_caller_has() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    File::create(folder.path().join("in")).expect("a file is made");
    for caller in &CALLERS {
        let without = given(caller, &[], folder.path());
        let (name, value) = caller.shows;
        assert!(
            shows(&without, caller.shows),
            "{}: {name} is {:?}, not {value}",
            caller.name,
            without.get(name)
        );
        for (style, descriptors) in [("pipe", 4), ("fifo", 1)] {
            let with = given(caller, &[jobgate(), "run", "--style", style, "--"], folder.path());
            let is_more = |name: &String| name.starts_with("fd/") && !without.contains_key(name);
            let (more, other): (Vec<_>, Vec<_>) =
                differences(&without, &with).into_iter().partition(|name| is_more(name));
            let row = format!("{}, {style}", caller.name);
            let told =
                ["CARGO_MAKEFLAGS", "JOBGATE_AUTH", "JOBGATE_INSIDE", "JOBGATE_TREE", "MAKEFLAGS", "PATH"];
            assert_eq!(other, told.map(|name| format!("variable {name}")), "{row}");
            assert_eq!(more.len(), descriptors, "{row}: {more:?}");
            let number = |name: &String| name["fd/".len()..].parse().expect("a number");
            assert!(more.iter().all(|name| caller.endpoint.contains(&number(name))), "{row}: {more:?}");
        }
    }
}

/// A Rust program ignores SIGPIPE, and so would all it starts.
#[test]
fn a_broken_pipe_ends_the_command() {
    let script = "env --ignore-signal=PIPE \"$0\" run -- cat /proc/self/status | grep SigIgn";
    let shown = support::succeed(clean(Command::new("sh")).args(["-c", script, jobgate()]));
    let (_, ignored) = shown.trim().split_once(":\t").expect("a mask");
    let ignored = u64::from_str_radix(ignored, 16).expect("hexadecimal");
    assert_eq!(ignored & (1 << (Signal::SIGPIPE as i32 - 1)), 0, "{shown}");
}

#[test]
fn closed_standard_descriptors_are_no_reason_to_fail() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = folder.path().join("said");
    let descriptors = |wrapper: &str, closed: &str| -> BTreeSet<i32> {
        let look = "find /proc/self/fd -type l >said";
        let script = format!("exec {wrapper} sh -c '{look}' {closed}");
        let mut command = clean(Command::new("sh"));
        let output = finish(command.args(["-c", &script]).current_dir(folder.path()));
        assert!(output.status.success(), "{script}: {output:?}");
        let text = std::fs::read_to_string(&said).expect("the command ran");
        std::fs::remove_file(&said).expect("it is there");
        text.lines().map(|line| line["/proc/self/fd/".len()..].parse().expect("a number")).collect()
    };
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"] {
        let without = descriptors("", closed);
        for (style, count) in [("pipe", 4), ("fifo", 1)] {
            // The bad heartbeat makes us say something.
            let wrapper = format!("{} run --style {style} --heartbeat bad --", jobgate());
            let with = descriptors(&wrapper, closed);
            // A closed one may have become /dev/null (Rust's start does that), and `find` has up to two of its own.
            let more: Vec<i32> = with.difference(&without).copied().filter(|&number| number > 4).collect();
            assert_eq!(more.len(), count, "{closed}, {style}: {more:?}");
            assert!(more.iter().all(|number| HIGH.contains(number)), "{closed}, {style}: {more:?}");
        }
    }
}

/// `jobgate run` with no signal ignored, whatever the caller of this test ignores.
fn attentive(options: &[&str], command: &[&str]) -> Command {
    let mut line = clean(Command::new("env"));
    line.args(["--default-signal", jobgate(), "run"]).args(options).arg("--").args(command);
    line
}

#[test]
fn the_commands_status_is_ours() {
    for style in ["pipe", "fifo"] {
        for status in [0, 1, 7, 125, 126, 127, 128, 130, 255] {
            let output =
                finish(&mut attentive(&["--style", style], &["sh", "-c", &format!("exit {status}")]));
            assert_eq!(output.status.code(), Some(status), "{style}");
            assert_eq!(output.stderr, b"", "{style}, {status}: nothing is said");
        }
    }
}

#[test]
fn what_cant_be_run_is_126_and_what_isnt_there_is_127() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "exit 0\n").expect("a file is written");
    let name = |path: &Path| path.to_str().expect("text").to_owned();
    let rows = [
        (name(&plain), 126),
        (name(folder.path()), 126),
        (name(&plain.join("below")), 126),
        (name(&folder.path().join("missing")), 127),
        ("no-such-command-anywhere".to_owned(), 127),
    ];
    for (command, status) in rows {
        let output = finish(&mut attentive(&[], &[&command]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{command}: {said}");
        assert!(said.starts_with("jobgate: ") && said.contains(&command), "{said}");
        assert_eq!(said.matches('\n').count(), 1, "{said}");
        // env(1) draws the line in the same place.
        let reference = finish(clean(Command::new("env")).arg(&command));
        assert_eq!(reference.status.code(), Some(status), "env {command}");
    }
}

/// A shell loop goes on after exit 130, but not after a death by SIGINT.
#[test]
fn the_signal_that_ended_the_command_ends_us() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first_real_time = nix::libc::SIGRTMIN();
    let signals = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGABRT, Signal::SIGKILL]
        .into_iter()
        .chain([Signal::SIGUSR1, Signal::SIGSEGV, Signal::SIGPIPE, Signal::SIGALRM, Signal::SIGTERM])
        .map(|signal| signal as i32);
    for signal in signals.chain([first_real_time, first_real_time + 1, nix::libc::SIGRTMAX()]) {
        // The command may leave no core, we could: an uncaught SIGSEGV or SIGQUIT of ours would.
        let ends = format!("ulimit -c 0; kill -{signal} $$");
        let script = format!("ulimit -c unlimited; exec \"$0\" run -- sh -c '{ends}'");
        let mut command = clean(Command::new("env"));
        command.args(["--default-signal", "bash", "-c", &script, jobgate()]).current_dir(folder.path());
        let output = finish(&mut command);
        assert_eq!(output.status.signal(), Some(signal), "{output:?}");
        assert!(!output.status.core_dumped(), "a core of ours, after signal {signal}");
        assert_eq!(output.stderr, b"", "{signal}: nothing is said");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Starts `jobgate run` in a process group of its own around a receiver; our stderr is the receiver's file `err`.
fn start(receiver: &Receiver, options: &[&str]) -> Child {
    let mut command = attentive(options, &["bash", &receiver.script()]);
    let said = File::create(receiver.path("err")).expect("a file is made");
    let child = command.process_group(0).stderr(said).spawn().expect("it starts");
    let (_, parent) = receiver.await_up();
    assert_eq!(parent.as_raw(), child.id() as i32, "the command is our direct child");
    child
}

/// Whether sent to us alone, or to the whole group as `timeout`, bitbake and shells do.
#[test]
fn a_signal_reaches_the_command_exactly_once() {
    const ROUNDS: usize = 8;
    let signals =
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR2, Signal::SIGTERM, Signal::SIGCONT];
    let name = |signal: Signal| &signal.as_str()["SIG".len()..];
    for signal in signals {
        let receiver = Receiver::new("");
        let child = start(&receiver, &[]);
        let us = Pid::from_raw(child.id() as i32);
        for round in 0..ROUNDS {
            kill(us, signal).expect("we are there");
            receiver.await_signal(signal, 2 * round + 1);
            killpg(us, signal).expect("our group is there");
            receiver.await_signal(signal, 2 * round + 2);
            // The command has it; have we? Signals are taken in the order of their numbers: with a higher one passed
            // on this one has been dealt with, and no second one is under way.
            kill(us, Signal::SIGWINCH).expect("we are there");
            receiver.await_signal(Signal::SIGWINCH, round + 1);
        }
        receiver.end(3);
        assert_eq!(finish_child(child).status.code(), Some(3));
        assert_eq!(receiver.signals(), [name(signal), name(signal), "WINCH"].repeat(ROUNDS));
    }
}

/// `killall jobgate` and `pkill -f 'jobgate run'` mean us, not the process that would take it for a signal to the group.
#[test]
fn the_witness_does_not_bear_our_name() {
    let receiver = Receiver::new("");
    let child = start(&receiver, &[]);
    let us = Pid::from_raw(child.id() as i32);
    let (command, _) = receiver.await_up();
    let witness = witness_of(us, command);
    for file in ["comm", "cmdline"] {
        let text = std::fs::read_to_string(format!("/proc/{witness}/{file}")).expect("the witness is there");
        assert!(!text.contains("jobgate"), "{file}: {text:?}");
    }
    receiver.end(0);
    assert!(finish_child(child).status.success());
}

/// Our other child.
fn witness_of(us: Pid, command: Pid) -> Pid {
    let children = std::fs::read_to_string(format!("/proc/{us}/task/{us}/children")).expect("our children");
    let mut children = children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().expect("a pid")));
    children.find(|&pid| pid != command).expect("a second child")
}

/// Our process that sees whether a signal went to the whole group may be kept from answering in time; what it says too
/// late belongs to no later signal.
#[test]
fn a_late_witness_confuses_nothing() {
    let receiver = Receiver::new("");
    let child = start(&receiver, &[]);
    let us = Pid::from_raw(child.id() as i32);
    let (command, _) = receiver.await_up();
    let witness = witness_of(us, command);
    kill(witness, Signal::SIGSTOP).expect("the witness is there");
    kill(us, Signal::SIGTERM).expect("we are there");
    receiver.await_signal(Signal::SIGTERM, 1);
    kill(witness, Signal::SIGCONT).expect("the witness is there");
    // Once this has arrived the late answer has been given.
    kill(us, Signal::SIGHUP).expect("we are there");
    receiver.await_signal(Signal::SIGHUP, 1);
    killpg(us, Signal::SIGTERM).expect("our group is there");
    receiver.await_signal(Signal::SIGTERM, 2);
    kill(us, Signal::SIGWINCH).expect("we are there");
    receiver.await_signal(Signal::SIGWINCH, 1);
    receiver.end(0);
    assert!(finish_child(child).status.success());
    assert_eq!(receiver.signals(), ["TERM", "HUP", "TERM", "WINCH"]);
}

/// What wouldn't have reached us doesn't reach the command through us, even where it wants the signal.
#[test]
fn what_the_caller_ignores_is_not_passed_on() {
    let receiver = Receiver::new("");
    let script = "trap '' HUP TERM; exec \"$0\" run -- env --default-signal bash \"$1\"";
    let mut command = clean(Command::new("env"));
    command.args(["--default-signal", "bash", "-c", script, jobgate(), &receiver.script()]);
    let child = command.process_group(0).spawn().expect("it starts");
    receiver.await_up();
    let us = Pid::from_raw(child.id() as i32);
    for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGWINCH] {
        kill(us, signal).expect("we are there");
    }
    receiver.await_signal(Signal::SIGWINCH, 1);
    receiver.end(0);
    assert!(finish_child(child).status.success());
    assert_eq!(receiver.signals(), ["WINCH"]);
}

#[test]
fn usr1_is_answered_with_one_line_and_is_not_passed_on() {
    for style in ["pipe", "fifo"] {
        let receiver = Receiver::new("");
        let child = start(&receiver, &["--style", style, "-j3"]);
        let us = Pid::from_raw(child.id() as i32);
        for asked in 1..=3 {
            kill(us, Signal::SIGUSR1).expect("we are there");
            let said = receiver.await_lines("err", asked);
            assert_eq!(said.len(), asked, "{said:?}");
            assert!(said.iter().all(|line| line.starts_with("jobgate: limit 3, out ")), "{said:?}");
        }
        kill(us, Signal::SIGTERM).expect("we are there");
        receiver.await_signal(Signal::SIGTERM, 1);
        receiver.end(0);
        assert!(finish_child(child).status.success());
        assert_eq!(receiver.signals(), ["TERM"], "USR1 isn't among them");
        assert_eq!(receiver.await_lines("err", 3).len(), 3);
    }
}

/// Stopping the command alone, as a debugger or an administrator does, is no job control.
#[test]
fn a_command_stopped_alone_does_not_stop_us() {
    let receiver = Receiver::new("");
    let child = start(&receiver, &[]);
    let us = Pid::from_raw(child.id() as i32);
    let (command, _) = receiver.await_up();
    let mut answers = 0;
    for (round, stop) in
        [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGSTOP, Signal::SIGTSTP].into_iter().enumerate()
    {
        kill(command, stop).expect("the command is there");
        // Asked until we say that we have seen it.
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains("stopped")) {
            kill(us, Signal::SIGUSR1).expect("we are there");
            answers += 1;
            said = receiver.await_lines("err", answers);
        }
        kill(command, Signal::SIGCONT).expect("the command is there");
        receiver.await_signal(Signal::SIGCONT, round + 1);
        kill(us, Signal::SIGWINCH).expect("we are there");
        receiver.await_signal(Signal::SIGWINCH, round + 1);
    }
    receiver.end(0);
    assert!(finish_child(child).status.success());
}
