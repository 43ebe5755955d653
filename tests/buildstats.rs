//! `run --buildstats`: logs as OpenEmbedded's, of real builds, which pybootchartgui reads.
//!
//! Doesn't know how they are made; tests of `proto/buildstats` hold each format.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::Real::SystemMake;
use support::build::Build;
use support::shared::Shared;
use support::{finish, run, skipped, succeed};

const LOGS: [(&str, usize); 6] = [
    ("reduced_proc_pressure/cpu.log", 4),
    ("reduced_proc_pressure/io.log", 4),
    ("reduced_proc_pressure/memory.log", 4),
    ("reduced_proc_stat.log", 3),
    ("reduced_proc_meminfo.log", 6),
    ("reduced_proc_diskstats.log", 3),
];

/// Blocks as parsing.py reads them: a whole number of seconds, a line of figures, an empty line.
fn blocks(path: &Path) -> Vec<(u64, Vec<f64>)> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.is_empty() || text.ends_with("\n\n"), "{text}");
    let block = |block: &str| {
        let (time, figures) = block.split_once('\n').expect(block);
        (time.parse().expect(time), figures.split(' ').map(|figure| figure.parse().expect(figures)).collect())
    };
    text.split("\n\n").filter(|text| !text.is_empty()).map(block).collect()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Seconds after a word in the command's file.
fn seconds(task: &str, word: &str) -> f64 {
    let line =
        task.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("{word}: {task}"));
    line.split_ascii_whitespace().last().unwrap().parse().expect(line)
}

#[test]
fn a_real_build_has_all_logs() {
    for (build, gate) in [(Build::Make(SystemMake), &["--private"][..]), (Build::Ninja, &[])] {
        let shared = Shared::new();
        let options = [&["-j2", "--buildstats", "stats"], gate].concat();
        let Some(mut command) = shared.build("a", &options, build, 48, 0.1) else { continue };
        let stats = shared.folder.path().join("a/stats");
        std::fs::create_dir(&stats).unwrap();
        std::fs::write(stats.join("reduced_proc_stat.log"), "5\nof another build\n\n").unwrap();
        let began = now();
        let output = finish(&mut command);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let ended = now();
        for (log, width) in LOGS {
            let blocks = blocks(&stats.join(log));
            // Over two seconds: at the start, a second and two later, and at the end; of the first nothing has grown.
            assert!((2..12).contains(&blocks.len()), "{log}: {blocks:?}");
            for (time, figures) in &blocks {
                assert!((began..=ended + 1).contains(time) && figures.len() == width, "{log}: {blocks:?}");
            }
        }
        let parts = blocks(&stats.join("reduced_proc_stat.log"));
        assert!(
            parts.iter().all(|(_, parts)| parts.iter().all(|part| (0.0..=1.0).contains(part))),
            "{parts:?}"
        );
        let name = if build == Build::Ninja { "ninja" } else { "make" };
        let task = std::fs::read_to_string(stats.join(name).join("run")).unwrap();
        let took = seconds(&task, "Ended:") - seconds(&task, "Started:");
        assert!((2.0..60.0).contains(&took), "{task}");
    }
}

#[test]
fn figures_are_those_of_the_kernel() {
    let (proc, folder) = (support::FakeProc::new(), tempfile::tempdir().unwrap());
    proc.set("cpu", 1_000);
    std::fs::write(proc.root.path().join("stat"), "cpu  100 0 0 100 0 0 0 0 0 0\n").unwrap();
    // The command itself changes what the machine is seen to do.
    let change = format!(
        "cd {0} && printf 'some avg10=1.00 avg60=2.00 avg300=3.00 total=26000\\n' >pressure/cpu &&
         printf 'cpu  160 0 20 110 10 0 0 0 0 0\\n' >stat",
        proc.path()
    );
    let mut command = run(&["--private", "--proc", proc.path(), "--buildstats", "s"], &["sh", "-c", &change]);
    succeed(command.current_dir(&folder));
    let figures = |log: &str| {
        blocks(&folder.path().join("s").join(log)).into_iter().map(|block| block.1).collect::<Vec<_>>()
    };
    assert_eq!(figures("reduced_proc_pressure/cpu.log"), [[1.0, 2.0, 3.0, 25_000.0]]);
    assert_eq!(figures("reduced_proc_stat.log"), [[0.6, 0.2, 0.1]]);
    assert!(!folder.path().join("s/reduced_proc_meminfo.log").exists(), "there is no such file");
    assert!(folder.path().join("s/sh/run").exists());
}

#[test]
fn what_cannot_be_written_harms_no_build() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |place: &str, why: &str| {
        let mut command = run(&["--private", "--buildstats", place], &["touch", "ran"]);
        let output = finish(command.current_dir(&folder));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(125) && said.contains(why) && said.contains(place), "{said}");
        assert!(!folder.path().join("ran").exists());
    };
    std::fs::write(folder.path().join("file"), "").unwrap();
    refused("file", "not a directory");
    refused("none/s", "No such file");
    // Taken away meanwhile: said once, and the status stays.
    let script = "rm -r s; touch s; exit 7";
    let mut command = run(&["--private", "--buildstats", "s"], &["sh", "-c", script]);
    let output = finish(command.current_dir(&folder));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.matches("--buildstats").count()), (Some(7), 1), "{said}");
    // A kernel that doesn't tell all.
    let proc = support::FakeProc::new();
    let gone = format!("rm {0}/pressure/io {0}/pressure/memory", proc.path());
    let mut command = run(&["--private", "--buildstats", "t", "--proc", proc.path()], &["sh", "-c", &gone]);
    let output = finish(command.current_dir(&folder));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains(": pressure/io, pressure/memory can't be read here"),
        "{said}"
    );
}

#[test]
fn pybootchartgui_draws_it() {
    let Some(tool) = std::env::var_os("PYBOOTCHARTGUI_DIR").map(PathBuf::from) else {
        return skipped(
            "PYBOOTCHARTGUI_DIR names no pybootchartgui (scripts/pybootchartgui of openembedded/openembedded-core)",
        );
    };
    let has_cairo =
        |python: &&str| finish(Command::new(python).args(["-c", "import cairo"])).status.success();
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has_cairo) else {
        return skipped("no python has cairo (Debian's package is python3-cairo)");
    };
    let folder = tempfile::tempdir().unwrap();
    let Some(make) = Build::Make(SystemMake).lay_jobs(folder.path(), 40, 0.2) else { return };
    let mut command = run(&["-j2", "--private", "--buildstats", "stats"], &[&make[0], "-s"]);
    succeed(command.current_dir(&folder).env("LOG", folder.path().join("log")));
    let mut draw = Command::new(python);
    draw.arg(tool.join("pybootchartgui.py")).args(["-f", "svg", "-o", "chart", "stats"]);
    let said = succeed(draw.current_dir(&folder));
    let chart = std::fs::read_to_string(folder.path().join("chart.svg")).unwrap_or_else(|_| panic!("{said}"));
    assert!(chart.contains("<svg") && chart.len() > 10_000, "{} bytes", chart.len());
    if let Some(place) = std::env::var_os("JOBGATE_KEEP") {
        std::fs::write(Path::new(&place).join("chart.svg"), chart).unwrap();
    }
}
