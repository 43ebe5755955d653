//! bitbake below a gate: a dozen recipes of our own (tests/bitbake), built by each real bitbake that `BITBAKE_DIR` names (one
//! folder, or several with colons between; its repository is openembedded/bitbake). SKIPPED without one.
//!
//! Doesn't know the layer's inside (bitbake/test_layer.py does). Job times are stamps of the recipes' own jobs.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::Real::{Make441, Ninja, OldNinja, SystemMake};
use support::shared::Shared;
use support::{Real, finish, jobgate, jobs, tool};

/// All recipes' jobs, where the one that knows no jobserver is told a number of 4.
const JOBS: usize = 56;

/// The folders of bitbake; none: it was said.
fn bitbakes() -> Vec<PathBuf> {
    let named = std::env::var_os("BITBAKE_DIR").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&named).filter(|folder| folder.join("bin/bitbake").exists()).collect();
    if folders.is_empty() {
        support::skipped("BITBAKE_DIR names no bitbake (its repository is openembedded/bitbake)");
    }
    folders
}

/// A folder to build in, and the project.
struct Build {
    shared: Shared,
    bitbake: PathBuf,
    project: PathBuf,
}

impl Build {
    /// `tools`: those that recipes find first; `more`: lines of configuration. `None` where a tool is missing.
    fn lay(bitbake: &Path, tools: &[Real], more: &str) -> Option<Build> {
        let shared = Shared::new();
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bitbake");
        let folder = shared.folder.path();
        let mut path = String::new();
        for &real in tools {
            path += &format!("{}:", tool(real)?.parent()?.display());
        }
        std::fs::create_dir(folder.join("conf")).unwrap();
        let layers = std::fs::read_to_string(project.join("conf/bblayers.conf")).unwrap();
        std::fs::write(folder.join("conf/bblayers.conf"), layers.replace("${PROJECT}", project.to_str()?))
            .unwrap();
        let log = shared.log();
        let conf = format!(
            "PATH =. \"{path}\"\nLOG = \"{}\"\nPROJECT = \"{}\"\nJOBGATE_HELD_CLASSES = \"held\"\n{more}\n",
            log.display(),
            project.display()
        );
        std::fs::write(folder.join("conf/test.conf"), conf).unwrap();
        Some(Build { shared, bitbake: bitbake.to_owned(), project })
    }

    /// This command, in the folder, with bitbake on PATH.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.shared.command(program);
        let mut path = self.bitbake.join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.args(args).env("PATH", path).env("BBPATH", self.shared.folder.path());
        command.env("PROJECT", &self.project).env("BB_ENV_PASSTHROUGH_ADDITIONS", "PROJECT");
        command.env("LC_ALL", "en_US.UTF-8").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `jobgate run OPTIONS -- bitbake TARGET`
    fn run(&self, options: &[&str], target: &str) -> Command {
        let words: Vec<&str> =
            ["run"].into_iter().chain(options.iter().copied()).chain(["--", "bitbake", target]).collect();
        self.command(jobgate(), &words)
    }

    /// Nobody is left: no client, so no gate.
    fn assert_all_is_back(&self) {
        let started = std::time::Instant::now();
        while self.shared.socket.exists() {
            assert!(started.elapsed() < support::DEADLINE, "a client is left: {}", self.shared.status());
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The log's lines of jobs of this name.
fn only(log: &Path, name: &str) -> support::Jobs {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: String =
        text.lines().filter(|line| line.ends_with(name)).map(|line| line.to_owned() + "\n").collect();
    let own = log.with_extension(name);
    std::fs::write(&own, lines).unwrap();
    jobs(&own)
}

#[test]
fn the_whole_build_keeps_to_one_limit() {
    let tools: [&[Real]; 3] = [&[SystemMake, Ninja], &[Make441, Ninja], &[SystemMake, OldNinja]];
    let rows: Vec<_> =
        bitbakes().into_iter().flat_map(|bitbake| tools.map(|tools| (bitbake.clone(), tools))).collect();
    support::pool::at_once(&rows, |(bitbake, tools)| {
        let Some(build) = Build::lay(bitbake, tools, "") else { return };
        let output = finish(&mut build.run(&["-j2"], "all"));
        let text = said(&output);
        assert!(
            output.status.success() && !text.contains("jobgate"),
            "{} {tools:?}: {text}",
            bitbake.display()
        );
        let seen = jobs(&build.shared.log());
        assert!(seen.peak == 2 && seen.mean > 1.2, "{} {tools:?}: {seen:?}", bitbake.display());
        assert_eq!(only(&build.shared.log(), "serial").peak, 1);
        assert!(only(&build.shared.log(), "held").peak <= 2);
        build.assert_all_is_back();
        let waits =
            std::fs::read_to_string(build.shared.folder.path().join("tmp/buildstats/jobgate.log")).unwrap();
        let of = |task: &str| waits.lines().filter(|line| line.contains(task)).count();
        assert_eq!((of("do_compile"), of("flat1-1:do_compile"), of("do_build")), (12, 1, 0), "{waits}");
        assert_eq!(std::fs::read_dir(build.shared.folder.path().join("tmp/work")).unwrap().count(), 13);
    });
}

/// What bitbake keeps of a build isn't changed by a gate around it: nothing is rerun, and the second time nothing parsed.
#[test]
fn nothing_is_rerun_because_of_it() {
    for bitbake in bitbakes() {
        let Some(build) = Build::lay(&bitbake, &[SystemMake, Ninja], "JOB_SECONDS = \"0.01\"") else {
            return;
        };
        let mut plain = build.command("bitbake", &["all"]);
        let first = said(&finish(&mut plain));
        assert!(first.contains("all succeeded"), "{first}");
        let gated = said(&finish(&mut build.run(&["-j2"], "all")));
        let count = first.split("Attempted ").nth(1).unwrap().split(' ').next().unwrap();
        let all = format!("Attempted {count} tasks of which {count} didn't need to be rerun");
        assert!(gated.contains(&all), "{}: {gated}", bitbake.display());
        let again = said(&finish(&mut build.run(&["-j2"], "all")));
        assert!(
            again.contains(&all) && again.contains("Loaded 13 entries") && !again.contains("Parsing of"),
            "{}: {again}",
            bitbake.display()
        );
    }
}

/// A script that calls bitbake, one limit of 1, where the script's own job is the only one there is.
#[test]
fn a_script_lends_its_job_to_the_build() {
    for bitbake in bitbakes() {
        let Some(build) = Build::lay(&bitbake, &[Make441, Ninja], "JOB_SECONDS = \"0.05\"") else { return };
        let output =
            finish(&mut build.command(jobgate(), &["run", "-j1", "--", "sh", "-c", "bitbake all; exit $?"]));
        assert!(output.status.success(), "{}: {}", bitbake.display(), said(&output));
        assert_eq!(jobs(&build.shared.log()).peak, 1);
    }
}

/// The layer by hand, with no wrapper, and a gate that can't be had: as without it, after one warning.
#[test]
fn without_a_gate_the_build_goes_on() {
    for bitbake in bitbakes() {
        let Some(build) = Build::lay(&bitbake, &[SystemMake, Ninja], "JOB_SECONDS = \"0.05\"") else {
            return;
        };
        let layer = Path::new(env!("CARGO_MANIFEST_DIR")).join("shims/bitbake-layer");
        let conf = build.shared.folder.path().join("by-hand.conf");
        let lines =
            format!("JOBGATE_LAYER = \"{0}\"\nBBPATH .= \":{0}\"\nINHERIT += \"jobgate\"\n", layer.display());
        for (program, gate, is_had) in
            [(jobgate(), None, true), (jobgate(), Some("/proc/nowhere"), false), ("/nowhere", None, false)]
        {
            let _ = std::fs::remove_file(build.shared.log());
            let _ = std::fs::remove_dir_all(build.shared.folder.path().join("tmp"));
            std::fs::write(&conf, format!("{lines}JOBGATE_PROGRAM = \"{program}\"\n")).unwrap();
            let mut command = build.command("bitbake", &["-R", conf.to_str().unwrap(), "all"]);
            if let Some(gate) = gate {
                command.env("JOBGATE_SOCKET", gate);
            }
            let output = finish(&mut command);
            let text = said(&output);
            let warnings = text.matches("WARNING: jobgate").count() + text.matches("jobgate:").count().min(1);
            assert!(output.status.success(), "{}: {text}", bitbake.display());
            let seen = jobs(&build.shared.log());
            if is_had {
                let cpus = std::thread::available_parallelism().unwrap().get();
                assert!(
                    seen.peak <= cpus && !text.contains("jobgate"),
                    "{}: {seen:?} {text}",
                    bitbake.display()
                );
            } else {
                assert!(seen.count == JOBS && warnings > 0, "{}: {seen:?} {text}", bitbake.display());
                assert_eq!(text.matches("goes on without the gate").count(), 1, "{text}");
            }
        }
    }
}

/// So many bytes are taken off the disk.
const DROP: u64 = 2 << 30;

fn free(folder: &Path) -> u64 {
    let stat = nix::sys::statvfs::statvfs(folder).unwrap();
    stat.blocks_available() * stat.fragment_size()
}

/// However a build is ended, all that it had is back at once; another that shares the gate goes on.
#[test]
fn what_an_ended_build_had_comes_back() {
    let ways = ["HALT", "TERM", "KILL"];
    let rows: Vec<_> =
        bitbakes().into_iter().flat_map(|bitbake| ways.map(|way| (bitbake.clone(), way))).collect();
    // One after the other: they share a disk.
    for (bitbake, way) in &rows {
        // Half of what is written below it; in 2.0 a long heartbeat would hold all up.
        let folder = std::env::temp_dir();
        let limit = free(&folder) - DROP / 2;
        let halt = format!("BB_DISKMON_DIRS = \"HALT,${{TOPDIR}},{limit},\"\nJOB_SECONDS = \"5\"\n");
        let more = if *way == "HALT" { &halt } else { "JOB_SECONDS = \"5\"\n" };
        let Some(build) = Build::lay(bitbake, &[Make441, Ninja], more) else { return };
        let mut child = build.run(&["-j2"], "all").spawn().unwrap();
        build.shared.await_starts(1);
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        match *way {
            "HALT" => {
                let file = std::fs::File::create(build.shared.folder.path().join("large")).unwrap();
                nix::fcntl::posix_fallocate(&file, 0, DROP as i64).unwrap();
            }
            "TERM" => nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap(),
            _ => {
                // Of the run, and of what makes the tasks: nobody is asked to clean up.
                let below = support::shims::descendants(child.id() as i32);
                child.kill().unwrap();
                for pid in below {
                    let _ = nix::sys::signal::kill(
                        nix::unistd::Pid::from_raw(pid),
                        nix::sys::signal::Signal::SIGKILL,
                    );
                }
            }
        }
        let output = support::finish_child(child);
        assert!(!output.status.success(), "{way}: {}", said(&output));
        build.assert_all_is_back();
    }
}

/// bitbake's own thresholds and its heartbeat are the gate's while it builds: they delay tasks.
#[test]
fn what_bitbake_watches_is_watched_by_the_gate() {
    for bitbake in bitbakes() {
        let lines = "BB_PRESSURE_MAX_CPU = \"20000\"\nBB_HEARTBEAT_EVENT = \"0.5\"\n";
        let Some(build) = Build::lay(&bitbake, &[Make441, Ninja], lines) else { return };
        let child = build.run(&["-j2"], "all").spawn().unwrap();
        build.shared.await_status(|status| {
            status["pressure"]["cpu"]["max"] == 20000.0
                && status["gate"]["hold"] == "starts"
                && status["heartbeat"]["interval_s"] == 0.5
        });
        let output = support::finish_child(child);
        assert!(output.status.success(), "{}: {}", bitbake.display(), said(&output));
        assert!(!said(&output).contains("Pressure status"), "bitbake watches, too: {}", said(&output));
    }
}

/// Two bitbakes and a make on one gate.
#[test]
fn two_builds_and_a_make_share_the_limit() {
    for bitbake in bitbakes() {
        let Some(one) = Build::lay(&bitbake, &[Make441, Ninja], "") else { return };
        let Some(mut two) = Build::lay(&bitbake, &[SystemMake, Ninja], "") else { return };
        two.shared.socket.clone_from(&one.shared.socket);
        let conf = two.shared.folder.path().join("conf/test.conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        let own = two.shared.log().display().to_string();
        std::fs::write(conf, text.replace(&own, &one.shared.log().display().to_string())).unwrap();
        let Some(mut make) =
            one.shared.build("make", &["-j3"], support::build::Build::Make(Make441), 30, 0.2)
        else {
            return;
        };
        let children =
            [one.run(&["-j3"], "all"), two.run(&["-j3"], "all")].map(|mut run| run.spawn().unwrap());
        let make = support::finish_child(make.spawn().unwrap());
        assert!(make.status.success(), "{make:?}");
        for child in children {
            let output = support::finish_child(child);
            assert!(output.status.success(), "{}: {}", bitbake.display(), said(&output));
        }
        let seen = jobs(&one.shared.log());
        assert_eq!(seen.peak, 3, "{}: {seen:?}", bitbake.display());
        // While all three are there; alone, a bitbake of twelve small tasks is mostly between them.
        let (from, to) = support::span(&one.shared.log(), "make");
        let mean: f64 = support::means(&one.shared.log(), from, to).values().sum();
        assert!(mean > 2.0, "{}: {mean} {seen:?}", bitbake.display());
    }
}
