//! What can be typed wrong, what is merely odd, and what is said about it.
//!
//! Doesn't know tokens. A user's script sees three things: the status, what stands on stderr, whether anything ran.

mod support;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{FakeProc, clean, finish, jobgate};

/// A folder where the command, if it is started, leaves a file.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a temporary folder"))
    }

    fn trace(&self) -> PathBuf {
        self.0.path().join("ran")
    }

    /// `jobgate WORDS`, with these variables set.
    fn type_in(&self, words: &[impl AsRef<OsStr>], variables: &[(&str, &str)]) -> Command {
        let mut line = clean(Command::new(jobgate()));
        line.args(words).envs(variables.iter().copied()).env_remove("JOBGATE_LOG").current_dir(self.0.path());
        line
    }

    /// `jobgate run OPTIONS -- touch ran`.
    fn run(&self, options: &[impl AsRef<OsStr>], variables: &[(&str, &str)]) -> Output {
        let words = options.iter().map(|option| option.as_ref().to_owned());
        let words: Vec<OsString> = ["run".into()]
            .into_iter()
            .chain(words)
            .chain(["--", "touch", "ran"].map(OsString::from))
            .collect();
        finish(&mut self.type_in(&words, variables))
    }

    /// Whether the command ran since this was asked last.
    fn has_run(&self) -> bool {
        std::fs::remove_file(self.trace()).is_ok()
    }
}

/// The lines on stderr.
fn said(output: &Output) -> Vec<String> {
    String::from_utf8(output.stderr.clone()).expect("text").lines().map(str::to_owned).collect()
}

/// It was refused: 125, one line of ours that names the culprit, nothing on stdout, nothing started.
fn assert_refused(place: &Place, output: &Output, culprit: &str, row: &dyn std::fmt::Debug) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(125), "{row:?}: {said:?}");
    assert_eq!(said.len(), 1, "{row:?}: {said:?}");
    assert!(said[0].starts_with("jobgate: ") && said[0].contains(culprit), "{row:?}: {said:?}");
    assert!(output.stderr.ends_with(b"\n") && output.stdout.is_empty(), "{row:?}: {output:?}");
    assert!(!place.has_run(), "{row:?}: nothing may be started");
}

#[test]
fn bad_input_is_refused_in_one_line_and_nothing_is_started() {
    let rows: &[(&[&str], &str)] = &[
        (&["-j0"], "-j '0'"),
        (&["-jx"], "-j 'x'"),
        (&["-j", "-3"], "-j '-3'"),
        (&["-j", ""], "-j ''"),
        (&["--jobs=1.5"], "-j '1.5'"),
        (&["-j99999999999999999999"], "-j '99999999999999999999'"),
        (&["--cap", "0"], "--cap '0'"),
        (&["--cap", "many"], "--cap 'many'"),
        (&["--max-cpu", "0.99"], "--max-cpu 0.99 is too low"),
        (&["--max-cpu", "0"], "--max-cpu 0 is too low"),
        (&["--max-io", "-1000"], "--max-io -1000 is too low"),
        (&["--max-memory", "much"], "--max-memory 'much' is not a number"),
        (&["--max-memory", ""], "--max-memory '' is not a number"),
        (&["--max-cpu", "nan"], "--max-cpu 'nan' is not a number"),
        (&["--max-cpu", "5\n6"], "--max-cpu '5 6' is not a number"),
        (&["--style", "socket"], "--style 'socket'"),
        (&["--hold", "none"], "--hold 'none'"),
        (&["--law", "murphy"], "--law 'murphy'"),
        (&["--proc", "/nowhere"], "--proc /nowhere"),
        (&["--no-such-option"], "'--no-such-option'"),
        (&["-q"], "'-q'"),
        (&["--style"], "--style"),
    ];
    let place = Place::new();
    for row @ (options, culprit) in rows {
        assert_refused(&place, &place.run(options, &[]), culprit, row);
    }
    let not_text = [OsString::from("-j"), OsString::from_vec(vec![0xff, 0xfe])];
    assert_refused(&place, &place.run(&not_text, &[]), "UTF-8", &not_text);
}

#[test]
fn bad_variables_are_refused_by_their_names() {
    let rows = [
        (("BB_PRESSURE_MAX_CPU", "0.5"), "BB_PRESSURE_MAX_CPU 0.5 is too low"),
        (("BB_PRESSURE_MAX_IO", "-7"), "BB_PRESSURE_MAX_IO -7 is too low"),
        (("BB_PRESSURE_MAX_MEMORY", "lots"), "BB_PRESSURE_MAX_MEMORY 'lots' is not a number"),
    ];
    let place = Place::new();
    for row @ (variable, culprit) in rows {
        assert_refused(&place, &place.run(&[""; 0], &[variable]), culprit, &row);
    }
    // An option comes before its variable, which then isn't even looked at.
    let output = place.run(&["--max-cpu", "1e6"], &[("BB_PRESSURE_MAX_CPU", "0.5")]);
    assert!(output.status.success() && place.has_run(), "{output:?}");
}

#[test]
fn without_a_command_nothing_is_done() {
    let rows: &[(&[&str], &str)] = &[
        (&["run"], "no command"),
        (&["run", "--"], "no command"),
        (&["run", "--", ""], "no command"),
        (&["run", "-j4"], "no command"),
        (&["run", "-j4", "--", "", "touch", "ran"], "no command"),
        (&[], "subcommand"),
        (&["walk"], "'walk'"),
        (&["--no-such-option"], "'--no-such-option'"),
    ];
    let place = Place::new();
    for row @ (words, culprit) in rows {
        assert_refused(&place, &finish(&mut place.type_in(words, &[])), culprit, row);
    }
}

/// A folder that was named must have pressure files, whether or not anything is watched.
#[test]
fn a_named_proc_folder_without_pressure_files_is_refused() {
    let place = Place::new();
    let empty = tempfile::tempdir().expect("a temporary folder");
    let path = empty.path().to_str().expect("text");
    for options in [&["--proc", path][..], &["--proc", path, "--max-cpu", "5000"]] {
        assert_refused(&place, &place.run(options, &[]), path, &options);
    }
    // One of the three missing is as bad.
    let part = FakeProc::new();
    std::fs::remove_file(part.root.path().join("pressure/io")).expect("it is there");
    assert_refused(&place, &place.run(&["--proc", part.path()], &[]), part.path(), &"no io");
    let whole = FakeProc::new();
    let output = place.run(&["--proc", whole.path(), "--max-cpu", "5000"], &[]);
    assert!(output.status.success() && place.has_run() && output.stderr.is_empty(), "{output:?}");
}

/// Options, and variables.
type Input<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

#[test]
fn odd_values_are_warned_about_in_one_line_and_the_command_runs() {
    let rows: &[(Input, &[&str])] = &[
        ((&["--heartbeat", "0"], &[]), &["--heartbeat '0'"]),
        ((&["--heartbeat", "-1"], &[]), &["--heartbeat '-1'"]),
        ((&["--heartbeat", "soon"], &[]), &["--heartbeat 'soon'"]),
        ((&["--heartbeat", "nan"], &[]), &["--heartbeat 'nan'"]),
        ((&["--heartbeat", "inf"], &[]), &["--heartbeat 'inf'"]),
        ((&[], &[("BB_HEARTBEAT_EVENT", "often")]), &["BB_HEARTBEAT_EVENT 'often'"]),
        ((&["--max-cpu", "1000001"], &[]), &["--max-cpu 1000001"]),
        ((&["--max-io", "inf"], &[]), &["--max-io inf"]),
        ((&[], &[("BB_PRESSURE_MAX_MEMORY", "2e6")]), &["BB_PRESSURE_MAX_MEMORY 2e6"]),
        (
            (&["--max-io", "9e9", "--max-cpu", "8e8", "--heartbeat", "x"], &[]),
            &["--max-cpu", "--max-io", "--heartbeat"],
        ),
    ];
    let place = Place::new();
    let proc = FakeProc::new();
    for ((options, variables), culprits) in rows {
        let output = place.run(&[&["--proc", proc.path()], *options].concat(), variables);
        let said = said(&output);
        assert!(output.status.success() && place.has_run(), "{options:?}, {variables:?}: {output:?}");
        assert_eq!(said.len(), culprits.len(), "{options:?}, {variables:?}: {said:?}");
        for (line, culprit) in said.iter().zip(*culprits) {
            assert!(line.starts_with("jobgate: ") && line.contains(culprit), "{line:?}, {culprit:?}");
        }
    }
}

#[test]
fn nothing_is_said_when_all_is_well() {
    let rows: &[Input] = &[
        (&[], &[]),
        (&["-j4"], &[]),
        (&["-jauto", "--cap=2"], &[]),
        (&["-j0", "-j4", "--heartbeat=x", "--heartbeat", "2"], &[]), // the last counts, as for make
        (&["--jobs", "4096"], &[]),
        (&["--max-cpu", "1.0", "--max-io=1e6", "--max-memory", "1_000"], &[]),
        (&["--style", "auto", "--hold", "starts", "--law", "fixed"], &[]),
        (&["--style", "pipe", "--hold", "all"], &[]),
        (&["--style", "fifo", "--heartbeat", "0.25"], &[]),
        (&[], &[("BB_PRESSURE_MAX_CPU", ""), ("BB_HEARTBEAT_EVENT", "")]),
        (&[], &[("BB_PRESSURE_MAX_CPU", "15000"), ("BB_HEARTBEAT_EVENT", "0.5")]),
        (&[], &[("MAKEFLAGS", "kj4 -- X=1")]),
    ];
    let place = Place::new();
    let proc = FakeProc::new();
    for (options, variables) in rows {
        let output = place.run(&[&["--proc", proc.path()], *options].concat(), variables);
        assert!(output.status.success() && place.has_run(), "{options:?}: {output:?}");
        assert_eq!((said(&output), output.stdout.len()), (Vec::new(), 0), "{options:?}, {variables:?}");
    }
    // The command's own options are its own, with `--` and without.
    for words in
        [&["run", "touch", "-c", "--", "ran"][..], &["run", "--", "sh", "-c", "exit $#", "-j0", "--help"]]
    {
        let output = finish(&mut place.type_in(words, &[]));
        let arguments_seen = if words.contains(&"sh") { 1 } else { 0 };
        assert_eq!((output.status.code(), said(&output)), (Some(arguments_seen), Vec::new()), "{words:?}");
    }
}

#[test]
fn help_and_version_are_no_failures() {
    let place = Place::new();
    let rows: &[(&[&str], &str)] = &[
        (&["--help"], "Usage: jobgate"),
        (&["-h"], "Usage: jobgate"),
        (&["help"], "Usage: jobgate"),
        (&["run", "--help"], "--max-cpu"),
        (&["run", "--help"], "125"),
        (&["run", "-h"], "--style"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["-V"], env!("CARGO_PKG_VERSION")),
    ];
    for (words, text) in rows {
        let output = finish(&mut place.type_in(words, &[]));
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!((output.status.code(), said(&output)), (Some(0), Vec::new()), "{words:?}");
        assert!(shown.contains(text), "{words:?}: {shown}");
    }
}

/// Runs `jobgate run OPTIONS -- touch ran` where /proc/pressure is empty, as on a kernel without it; `None` where a
/// mount namespace can't be had.
fn run_without_pressure(place: &Place, options: &[&str]) -> Option<Output> {
    if !Path::new("/proc/pressure").exists() {
        return Some(place.run(options, &[]));
    }
    let empty = tempfile::tempdir().expect("a temporary folder");
    let hide = "mount --bind \"$0\" /proc/pressure && exec \"$@\"";
    let in_namespace = |line: &[&str]| {
        let mut command = clean(Command::new("unshare"));
        command.args(["--mount", "sh", "-c", hide]).arg(empty.path()).args(line).current_dir(place.0.path());
        command
    };
    let can = in_namespace(&["true"]).output().is_ok_and(|output| output.status.success());
    if !can {
        support::skipped("/proc/pressure can't be hidden here: that needs root and unshare(1)");
        return None;
    }
    Some(finish(in_namespace(&[jobgate(), "run"]).args(options).args(["--", "touch", "ran"])))
}

#[test]
fn a_kernel_without_pressure_is_said_once_where_it_matters() {
    let place = Place::new();
    let rows: &[(&[&str], usize)] = &[
        (&[], 0),
        (&["-j3", "--heartbeat", "0.5"], 0),
        (&["--max-cpu", "15000"], 1),
        (&["--max-cpu", "15000", "--max-io", "15000", "--max-memory", "15000"], 1),
    ];
    for (options, lines) in rows {
        let Some(output) = run_without_pressure(&place, options) else { return };
        let said = said(&output);
        assert!(output.status.success() && place.has_run(), "{options:?}: {output:?}");
        assert_eq!(said.len(), *lines, "{options:?}: {said:?}");
        let tells = |line: &String| line.starts_with("jobgate: ") && line.contains("/proc/pressure");
        assert!(said.iter().all(tells), "{options:?}: {said:?}");
    }
    // What is wrong stays wrong.
    let Some(output) = run_without_pressure(&place, &["--max-cpu", "0.5"]) else { return };
    assert_refused(&place, &output, "--max-cpu 0.5", &"no pressure");
}
