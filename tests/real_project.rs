//! The real C project of `tests/project`, nested make and ninja, built under the gate as its user would.
//!
//! Doesn't know how tokens move: it counts compilers from outside and runs what they built.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::Real;

/// Builds a copy with `make`, at most three jobs at once, and runs its own checks.
fn build(make: Real) {
    let (Some(make), Some(ninja)) = (support::tool(make), support::tool(Real::Ninja)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/project");
    support::succeed(Command::new("cp").arg("-r").args([&source, &project]));
    let _ = std::fs::remove_dir_all(project.join("build"));
    let log = folder.path().join("log");

    let compiler = format!("CC={}", project.join("record-cc").display());
    let in_project = |mut command: Command| {
        command.current_dir(&project).env("JOB_LOG", &log).env("NINJA", &ninja);
        support::succeed(&mut command)
    };
    let path: PathBuf = make;
    let make = path.to_str().unwrap();
    in_project(support::run(&["-j3"], &[make, "-j16", &compiler]));

    let jobs = support::jobs(&log);
    assert_eq!(jobs.count, 45, "every compile and link, once");
    assert_eq!(jobs.peak, 3);
    assert!(jobs.mean > 2.0, "{} jobs on average", jobs.mean);
    let checked = in_project(support::run(&["-j3"], &[make, "-j16", &compiler, "check"]));
    assert_eq!(support::jobs(&log).count, 45, "nothing was built twice:\n{checked}");
}

#[test]
fn with_the_systems_make_by_a_pipe() {
    build(Real::SystemMake);
}

#[test]
fn with_make_441_by_a_fifo() {
    build(Real::Make441);
}
