//! Replays of real journals: with the same settings what was recorded, with others what follows from those.
//!
//! Doesn't know how time is replayed; tests/recording.rs holds that verdicts are the same.

mod support;

use std::path::Path;
use std::process::Command;
use support::Real::SystemMake;
use support::build::Build;
use support::{FakeProc, await_change, finish, finish_child, jobgate, run, succeed};

/// The cells of a line of the table: recorded, the same, replayed.
fn cells(text: &str, name: &str) -> [String; 3] {
    let line = text.lines().find(|line| line.trim_start().starts_with(name));
    let line = line.unwrap_or_else(|| panic!("{name}: {text}"));
    let cell = |from: usize, to: usize| {
        line.chars().skip(from).take(to - from).collect::<String>().trim().to_owned()
    };
    [cell(27, 48), cell(48, 69), cell(69, 200)]
}

fn seconds(cell: &str) -> f64 {
    cell.split(" s").next().unwrap().parse().unwrap_or_else(|_| panic!("{cell}"))
}

#[test]
fn the_same_settings_hold_as_was_recorded_and_others_otherwise() {
    let (proc, folder) = (FakeProc::new(), tempfile::tempdir().unwrap());
    let Some(tool) = Build::Make(SystemMake).lay_jobs(folder.path(), 80, 0.1) else { return };
    let options = ["-j4", "--journal", "j", "--max-io", "100000", "--proc", proc.path()];
    let mut command = run(&options, &[&tool[0], "-s", "-j4"]);
    let log = folder.path().join("log");
    let growth = proc.grow(&[("io", 500_000)]);
    let child = command.current_dir(&folder).env("LOG", &log).spawn().unwrap();
    let starts = |log: &Path| std::fs::read_to_string(log).unwrap_or_default().matches('S').count();
    await_change(folder.path(), || (starts(&log) >= 60).then_some(()));
    drop(growth);
    assert!(finish_child(child).status.success());

    let replay = |options: &[&str]| {
        succeed(Command::new(jobgate()).args(["replay", "j"]).args(options).current_dir(&folder))
    };
    let text = replay(&["--max-io", "none"]);
    let held = cells(&text, "held");
    assert!(seconds(&held[0]) > 0.5 && held[0] == held[1] && held[2] == "0.0 s (0 %)", "{text}");
    assert_eq!(cells(&text, "by io")[1..], [held[0].split(" (").next().unwrap(), "-"], "{text}");
    assert_eq!(cells(&text, "jobs at most"), ["4", "4", "4"], "{text}");
    let jobs = cells(&text, "jobs on average").map(|cell| cell.parse::<f64>().unwrap());
    // Jobs of a tenth of a second give back sooner than is thought.
    assert!((-0.2..1.0).contains(&(jobs[1] - jobs[0])) && jobs[2] > jobs[1] + 0.3, "{text}");
    // Half of what it was for most of the time, and what it was, rounded up.
    assert!(text.contains("--max-io 5") && !text.contains("--max-cpu"), "{text}");

    let fewer = replay(&["-j2", "--max-io", "900000"]);
    assert_eq!(cells(&fewer, "jobs at most"), ["4", "4", "2"], "{fewer}");
    assert_eq!(cells(&fewer, "held")[2], "0.0 s (0 %)", "{fewer}");
    assert_eq!(cells(&fewer, "max-io"), ["100000", "100000", "900000"], "{fewer}");
    let starts_only = replay(&["--hold", "starts"]);
    assert!(
        cells(&starts_only, "jobs on average")[2].parse::<f64>().unwrap() > jobs[1] + 0.3,
        "{starts_only}"
    );

    let refused =
        finish(Command::new(jobgate()).args(["replay", "j", "--max-io", "much"]).current_dir(&folder));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(125) && said.contains("--max-io 'much'"), "{said}");
    // One that ends in mid line is replayed up to there, and it is said.
    let whole = std::fs::read(folder.path().join("j")).unwrap();
    std::fs::write(folder.path().join("j"), &whole[..whole.len() - 5]).unwrap();
    let text = replay(&[]);
    assert!(text.contains("cut off") && text.contains("has no end"), "{text}");
}
