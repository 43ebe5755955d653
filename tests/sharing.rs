//! Several real builds on one gate: one limit, fair shares, and what each run may say for itself.
//!
//! Doesn't know how the gate comes and goes (server_life.rs), nor jobs inside jobs (inside.rs).

mod support;

use std::process::{Child, Command};
use support::Real::{Make441, SystemMake};
use support::build::Build;
use support::shared::Shared;
use support::{finish_child, jobs, means, span};

const OLD: Build = Build::Make(SystemMake);
const NEW: Build = Build::Make(Make441);

/// Ended with its test, and with what it runs.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn start(command: Option<Command>) -> Option<Child> {
    command.map(|mut command| command.spawn().expect("it starts"))
}

/// Runs these builds at once, each of so many jobs; `None` where a tool is missing.
fn run_all(shared: &Shared, builds: &[(&str, &[&str], Build, usize)]) -> Option<()> {
    let children: Option<Vec<Child>> = builds
        .iter()
        .map(|&(name, options, build, count)| start(shared.build(name, options, build, count, 0.2)))
        .collect();
    for child in children? {
        let output = finish_child(child);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    Some(())
}

/// The means from a second after the last has come until the first has ended.
fn shares(shared: &Shared, names: &[&str]) -> Vec<f64> {
    let spans: Vec<(f64, f64)> = names.iter().map(|name| span(&shared.log(), name)).collect();
    let from = spans.iter().map(|span| span.0).fold(0.0, f64::max) + 1.0;
    let to = spans.iter().map(|span| span.1).fold(f64::MAX, f64::min);
    assert!(to > from + 1.0, "they ran beside each other: {spans:?}");
    let means = means(&shared.log(), from, to);
    names.iter().map(|&name| means[name]).collect()
}

fn check_shares(builds: &[(&str, &[&str], Build, usize)], limit: usize) {
    let shared = Shared::new();
    if run_all(&shared, builds).is_none() {
        return;
    }
    let seen = jobs(&shared.log());
    let count: usize = builds.iter().map(|build| build.3).sum();
    assert_eq!((seen.count, seen.peak), (count, limit), "{:?}", seen.course);
    let names: Vec<&str> = builds.iter().map(|build| build.0).collect();
    let share = limit as f64 / builds.len() as f64;
    let shares = shares(&shared, &names);
    assert!(shares.iter().all(|mean| (mean - share).abs() < 1.0), "{shares:?} of {share}");
}

#[test]
fn two_builds_have_a_half_each() {
    check_shares(&[("a", &["-j8"], OLD, 60), ("b", &["-j8"], OLD, 60)], 8);
    check_shares(&[("a", &["-j8"], NEW, 60), ("b", &["-j8"], OLD, 60)], 8);
}

#[test]
fn three_builds_by_different_tools_have_a_third_each() {
    let builds: [(&str, &[&str], Build, usize); 3] =
        [("a", &["-j8"], OLD, 60), ("b", &["-j8"], NEW, 60), ("c", &["-j8"], Build::Ninja, 60)];
    check_shares(&builds, 8);
}

#[test]
fn eight_builds_have_one_job_each() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let tools = [OLD, NEW, Build::Ninja, OLD, NEW, OLD, NEW, OLD];
    let builds: Vec<(&str, &[&str], Build, usize)> =
        names.iter().zip(tools).map(|(&name, tool)| (name, &["-j8"][..], tool, 35)).collect();
    check_shares(&builds, 8);
}

#[test]
fn what_a_run_says_for_itself_counts_for_it_alone() {
    let shared = Shared::new();
    let builds: [(&str, &[&str], Build, usize); 2] =
        [("a", &["-j9", "--cap", "2"], OLD, 20), ("b", &["-j9"], NEW, 70)];
    if run_all(&shared, &builds).is_none() {
        return;
    }
    let means = shares(&shared, &["a", "b"]);
    assert!(means[0] <= 2.01 && means[0] > 1.5 && means[1] > 6.0, "{means:?}");

    let shared = Shared::new();
    let builds: [(&str, &[&str], Build, usize); 2] =
        [("a", &["-j9", "--weight", "2"], OLD, 80), ("b", &["-j9"], OLD, 40)];
    if run_all(&shared, &builds).is_none() {
        return;
    }
    let means = shares(&shared, &["a", "b"]);
    assert!((means[0] - 6.0).abs() < 1.0 && (means[1] - 3.0).abs() < 1.0, "{means:?}");

    // -j is the run's own cap, whatever others say.
    let shared = Shared::new();
    let builds: [(&str, &[&str], Build, usize); 2] = [("a", &["-j2"], OLD, 20), ("b", &["-j6"], OLD, 40)];
    if run_all(&shared, &builds).is_none() {
        return;
    }
    let seen = jobs(&shared.log());
    let means = shares(&shared, &["a", "b"]);
    assert!(seen.peak == 6 && means[0] <= 2.01 && means[1] > 3.0, "{means:?}");
}

#[test]
fn an_idle_run_keeps_its_lease_and_nothing_more() {
    let shared = Shared::new();
    let idle = shared.jobgate(&["run", "-j8", "--", "sleep", "1000"]).spawn().unwrap();
    let idle = Ended(idle);
    shared.await_status(|status| status["in_use"] == 1);
    let builds: [(&str, &[&str], Build, usize); 2] = [("a", &["-j8"], OLD, 60), ("b", &["-j8"], OLD, 60)];
    let ran = run_all(&shared, &builds);
    drop(idle);
    if ran.is_none() {
        return;
    }
    assert_eq!(jobs(&shared.log()).peak, 7);
    let means = shares(&shared, &["a", "b"]);
    assert!(means.iter().sum::<f64>() > 6.5, "{means:?}");
}

#[test]
fn a_build_alone_has_all_again_when_the_other_is_gone() {
    let shared = Shared::new();
    let builds: [(&str, &[&str], Build, usize); 2] = [("a", &["-j6"], NEW, 90), ("b", &["-j6"], OLD, 12)];
    if run_all(&shared, &builds).is_none() {
        return;
    }
    let (_, ended) = span(&shared.log(), "b");
    let (_, last) = span(&shared.log(), "a");
    let alone = means(&shared.log(), ended + 0.5, last - 0.5)["a"];
    assert!(alone > 5.3, "{alone}");
}
