//! Summaries of real builds: what they say is what happened, and they are given where it matters.
//!
//! Doesn't know how they are made.

mod support;

use std::process::{Child, Output};
use support::Real::{Make441, SystemMake};
use support::build::Build;
use support::shared::Shared;
use support::{FakeProc, await_change, finish, finish_child, jobs};

/// Its lines without what all begin with.
fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.lines().map(|line| line.strip_prefix("jobgate: ").expect(line).to_owned()).collect()
}

/// The number of seconds that follows a text.
fn seconds_after(line: &str, text: &str) -> f64 {
    let rest = line.split_once(text).unwrap_or_else(|| panic!("{text}: {line}")).1;
    rest.trim_start().split(' ').next().unwrap().parse().expect(line)
}

#[test]
fn who_asks_is_told_what_ran() {
    for build in [Build::Make(SystemMake), Build::Make(Make441), Build::Ninja] {
        for gate in [&["--private"][..], &[]] {
            let shared = Shared::new();
            let options = [&["-j3", "--label", "it", "--summary"], gate].concat();
            let Some(mut command) = shared.build("a", &options, build, 24, 0.1) else { continue };
            command.env("JOBGATE_SUMMARY", "auto"); // what is typed comes before it
            let told = lines(&finish(&mut command));
            assert_eq!(told.len(), 3, "{told:?}");
            let time = seconds_after(&told[0], "it: took");
            assert!((0.8..30.0).contains(&time) && told[0].ends_with("was never held back"), "{told:?}");
            assert_eq!(told[1].split(", ").next().unwrap(), "it: at most 3 jobs at once");
            let mean = seconds_after(&told[1], "at once,");
            let log = jobs(&shared.log());
            assert!(log.peak == 3 && mean > 1.0 && mean <= 3.0, "{told:?}, {}", log.peak);
            assert_eq!(told[2], "it: nothing held it back");
        }
    }
}

/// A build that is held from when pressure is first known until so many of its jobs have started.
fn held(shared: &Shared, proc: &FakeProc, options: &[&str], build: Build) -> Option<Child> {
    let growth = proc.grow(&[("io", 900_000)]);
    let child = shared.build("a", options, build, 80, 0.1)?.env_remove("JOBGATE_SUMMARY").spawn().unwrap();
    let starts =
        |log: &std::path::Path| std::fs::read_to_string(log).unwrap_or_default().matches('S').count();
    await_change(shared.folder.path(), || (starts(&shared.log()) >= 62).then_some(()));
    drop(growth);
    Some(child)
}

#[test]
fn who_was_held_for_long_is_told_by_what() {
    for build in [Build::Make(SystemMake), Build::Ninja] {
        for is_shared in [false, true] {
            let (shared, proc) = (Shared::new(), FakeProc::new());
            let io = ["--max-io", "100000", "--proc", proc.path()];
            let server = is_shared.then(|| shared.serve(&[&["-j4"][..], &io].concat()));
            let options = if is_shared { vec![] } else { [&["-j4"][..], &io].concat() };
            let Some(child) = held(&shared, &proc, &options, build) else { continue };
            let told = lines(&finish_child(child));
            assert_eq!(told.len(), 3, "{is_shared} {told:?}");
            let (time, io) =
                (seconds_after(&told[0], "took"), seconds_after(&told[2], "held back by: io pressure"));
            assert!(io >= 1.0 && io > time / 10.0 && io <= time + 0.1, "{told:?}");
            assert!(told[0].contains("was held back for"), "{told:?}");
            drop(server);
        }
    }
    // Who doesn't want to know isn't told.
    let (shared, proc) = (Shared::new(), FakeProc::new());
    let options = vec!["-j4", "--max-io", "100000", "--proc", proc.path(), "--summary=never"];
    let Some(child) = held(&shared, &proc, &options, Build::Make(SystemMake)) else { return };
    assert_eq!(lines(&finish_child(child)), Vec::<String>::new());
}

#[test]
fn the_wait_for_the_first_job_counts() {
    let shared = Shared::new();
    let first = shared.jobgate(&["run", "-j1", "--", "sleep", "2"]).spawn().unwrap();
    shared.await_status(|status| status["in_use"] == 1);
    let mut second = shared.jobgate(&["run", "-j1", "--summary", "--", "true"]);
    let told = lines(&finish(&mut second));
    assert!(finish_child(first).status.success());
    // The line that tells why it waits comes first.
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("waiting for a job"), "{told:?}");
    let waited = seconds_after(&told[3], "the wait for its first job");
    assert!((1.0..30.0).contains(&waited), "{told:?}");
    assert!(seconds_after(&told[1], "took") >= waited, "{told:?}");
}
