//! Builds inside builds: a tool whose jobs start another tool, both found by their names.
//!
//! Doesn't know who hands out tokens, nor what is asserted.

use super::shared::Shared;
use super::{Real, finish, job, tool};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What runs jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builder {
    /// make 4.3, by the name `make`.
    Make43,
    /// make 4.4.1, by the name `gmake`.
    Make441,
    /// ninja 1.13.2.
    Ninja,
    /// A ninja that knows no jobserver, by the name `ninja-build`.
    OldNinja,
    /// samurai: `samu`.
    Samurai,
    /// `cmake --build` of a makefile, which is for the first of `gmake` and `make` on PATH.
    CmakeMake,
    /// `cmake --build` of a build.ninja, for the first of `ninja-build`, `ninja` and `samu`.
    CmakeNinja,
    /// Crates that run their jobs in build.rs, at most three.
    Cargo,
}

use Builder::{Cargo, CmakeMake, CmakeNinja, Make43, Make441, Ninja, OldNinja, Samurai};

impl Builder {
    /// The programs that it is made of, and what they are called.
    fn tools(self) -> &'static [(&'static str, Real)] {
        match self {
            Make43 => &[("make", Real::SystemMake)],
            Make441 => &[("gmake", Real::Make441)],
            Ninja => &[("ninja", Real::Ninja)],
            OldNinja => &[("ninja-build", Real::OldNinja)],
            Samurai => &[("samu", Real::Samurai)],
            CmakeMake => &[("cmake", Real::Cmake), ("gmake", Real::Make441)],
            CmakeNinja => &[("cmake", Real::Cmake), ("ninja", Real::Ninja)],
            Cargo => &[],
        }
    }

    /// Whether it has all jobs that it will have when it starts.
    pub fn is_fixed(self) -> bool {
        matches!(self, OldNinja | Samurai)
    }

    /// Writes a build of these shell commands into `folder`.
    fn lay(self, folder: &Path, commands: &[String]) {
        std::fs::create_dir_all(folder).expect("a folder");
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a file");
        let names: Vec<String> = (0..commands.len()).map(|number| format!("job{number}")).collect();
        let each = |line: &dyn Fn(&str, &str) -> String| -> String {
            names.iter().zip(commands).map(|(name, command)| line(name, command)).collect()
        };
        match self {
            Make43 | Make441 => {
                let all = format!("all: {0}\n.PHONY: all {0}\n", names.join(" "));
                write("Makefile", all + &each(&|name, command| format!("{name}:\n\t@{command}\n")));
            }
            Ninja | OldNinja | Samurai => {
                let rule = "rule job\n  command = $run\n  description = $out\n".to_owned();
                write(
                    "build.ninja",
                    rule + &each(&|name, command| format!("build {name}: job\n  run = {command}\n")),
                );
            }
            CmakeMake | CmakeNinja => {
                let head = "cmake_minimum_required(VERSION 3.13)\nproject(jobs LANGUAGES NONE)\n".to_owned();
                let target =
                    |name: &str, command: &str| format!("add_custom_target({name} ALL COMMAND {command})\n");
                write("CMakeLists.txt", head + &each(&target));
            }
            Cargo => {
                let from = built_crates();
                let copied = Command::new("cp").arg("-a").arg(from).arg(folder.join("target")).status();
                assert!(copied.expect("cp").success());
                names
                    .iter()
                    .zip(commands)
                    .for_each(|(name, command)| write(&format!("{name}.sh"), command.clone()));
            }
        }
    }

    /// What is to be done before anything is timed: cmake writes the build down, with the path of the tool that it finds.
    fn prepare(self, folder: &Path) -> String {
        let generator = match self {
            CmakeMake => "Unix Makefiles",
            CmakeNinja => "Ninja",
            _ => return String::new(),
        };
        // Progress is told in the order in which jobs end.
        let options = "-DCMAKE_RULE_MESSAGES=OFF -S . -B build";
        format!(
            "(cd {0} && rm -rf build && cmake -G '{generator}' {options} >said 2>&1) || {{ cat {0}/said; exit 99; }}\n",
            folder.display()
        )
    }

    /// Builds what lies in `folder`; with `-j8` or so, where `jobs` says so.
    fn line(self, folder: &Path, jobs: &str) -> String {
        let build = match self {
            Make43 => format!("make {jobs}"),
            Make441 => format!("gmake {jobs}"),
            Ninja => format!("ninja {jobs}"),
            OldNinja => format!("ninja-build {jobs}"),
            Samurai => format!("samu {jobs}"),
            CmakeMake | CmakeNinja => format!("cmake --build build {jobs}"),
            // It keeps to itself what build scripts say.
            Cargo => format!(
                "JOBS=$PWD RUN=$$ cargo build --offline --quiet {jobs} --manifest-path {} --target-dir target; \
                 ended=$?; cat *.out; cat *.err >&2; exit $ended",
                crates().join("Cargo.toml").display()
            ),
        };
        format!("cd {} && {build}\n", folder.display())
    }
}

/// The workspace whose build scripts run `$JOBS/jobN.sh`.
fn crates() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("nest-crates")
}

/// Its target folder, in which all is compiled: `RUN` says that the scripts are to be run again.
fn built_crates() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let folder = crates();
            let _ = std::fs::remove_dir_all(&folder);
            for number in 0..3 {
                let own = folder.join(format!("job{number}"));
                std::fs::create_dir_all(own.join("src")).expect("folders");
                let write = |name: &str, text: &str| std::fs::write(own.join(name), text).expect("a file");
                let package = format!("name = \"job{number}\"\nversion = \"0.0.0\"\nedition = \"2021\"\n");
                write("Cargo.toml", &format!("[package]\n{package}"));
                write("src/lib.rs", "");
                write("build.rs", BUILD_SCRIPT);
            }
            let members = "[workspace]\nresolver = \"2\"\nmembers = [\"job0\", \"job1\", \"job2\"]\n";
            std::fs::write(folder.join("Cargo.toml"), members).expect("a manifest");
            let target = folder.join("target");
            let mut command = super::clean(Command::new("cargo"));
            command.args(["build", "--offline", "--quiet"]).current_dir(&folder);
            super::succeed(command.arg("--target-dir").arg(&target));
            target
        })
        .clone()
}

const BUILD_SCRIPT: &str = r#"
fn main() {
    println!("cargo:rerun-if-env-changed=RUN");
    let Ok(folder) = std::env::var("JOBS") else { return };
    let script = format!("{folder}/{}.sh", std::env::var("CARGO_PKG_NAME").unwrap());
    let said = |name: &str| std::fs::File::create(format!("{script}.{name}")).unwrap();
    if std::path::Path::new(&script).exists() {
        let mut command = std::process::Command::new("sh");
        let status = command.arg(&script).stdout(said("out")).stderr(said("err")).status().unwrap();
        std::process::exit(status.code().unwrap());
    }
}
"#;

/// A line of builders, each started by every job of the one before.
pub struct Nest {
    /// The gate, the folder, the log.
    pub shared: Shared,
    /// Where the tools are found.
    bin: PathBuf,
    prepared: String,
    outermost: Builder,
}

/// The folder of the outermost.
const OUTERMOST: &str = "n";

/// `builders` with so many jobs each; the last one's take `seconds` and end with `status`. `None` where a tool is missing.
pub fn nest(builders: &[(Builder, usize)], seconds: f64, status: i32) -> Option<Nest> {
    let shared = Shared::new();
    let path = |name: &str| shared.folder.path().join(name);
    let bin = path("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for &(name, real) in builders.iter().flat_map(|(builder, _)| builder.tools()) {
        let real = tool(real)?;
        let link = bin.join(name);
        if !link.exists() {
            symlink(real, link).expect("a link");
        }
    }
    let script = path("job.sh");
    let said = "echo out $NAME\necho err $NAME >&2";
    std::fs::write(&script, format!("NAME=$1\n{}\n{said}\nexit {status}\n", job(seconds))).expect("a script");
    let mut prepared = String::new();
    lay(&shared, builders, OUTERMOST, &mut prepared, "");
    Some(Nest { prepared, outermost: builders[0].0, bin, shared })
}

/// Lays the first of the builders, with all that its jobs start; gives the line that builds it.
fn lay(
    shared: &Shared,
    builders: &[(Builder, usize)],
    name: &str,
    prepared: &mut String,
    jobs: &str,
) -> String {
    let [(builder, count), below @ ..] = builders else { unreachable!("one at least") };
    let folder = shared.folder.path().join(name);
    let commands: Vec<String> = (0..*count)
        .map(|number| {
            let own = format!("{name}.{number}");
            if below.is_empty() {
                return format!("sh {}/job.sh {own}", shared.folder.path().display());
            }
            // Every other one says a number.
            let line = lay(shared, below, &own, prepared, if number % 2 == 0 { "-j8" } else { "" });
            let script = shared.folder.path().join(format!("{own}.sh"));
            std::fs::write(&script, line).expect("a script");
            format!("sh {}", script.display())
        })
        .collect();
    builder.lay(&folder, &commands);
    *prepared += &builder.prepare(&folder);
    builder.line(&folder, jobs)
}

impl Nest {
    /// Without jobgate: the tools are on PATH.
    pub fn plain(&self) -> Output {
        let mut command = self.shared.command("sh");
        let output = self.finish(command.args(["-c", &(self.prepared.clone() + &self.line(""))]));
        std::fs::remove_file(self.shared.log()).expect("jobs have run");
        output
    }

    /// Below `jobgate run OPTIONS`; the outermost is told `number`: nothing, or `-j8` or so.
    pub fn gated(&self, options: &[&str], number: &str) -> Output {
        let mut command = self.shared.jobgate(&["run"]);
        let script = self.prepared.clone() + &self.line(number);
        command.args(options).args(["--", "sh", "-c", &script]);
        self.finish(&mut command)
    }

    /// `jobgate run OPTIONS -- TOOL` with the outermost itself as the command, where that is a ninja.
    pub fn straight(&self, options: &[&str], tool: &str) -> Output {
        let mut command = self.shared.jobgate(&["run"]);
        let folder = self.shared.folder.path().join(OUTERMOST);
        self.finish(command.args(options).args(["--", tool, "-C"]).arg(folder))
    }

    /// Once more without jobgate, with what was written down below it; `socket`: of a gate that may run.
    pub fn again(&self, socket: &Path) -> Output {
        let mut command = self.shared.command("sh");
        self.finish(command.args(["-c", &self.line("")]).env("JOBGATE_SOCKET", socket))
    }

    fn line(&self, number: &str) -> String {
        self.outermost.line(&self.shared.folder.path().join(OUTERMOST), number)
    }

    fn finish(&self, command: &mut Command) -> Output {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(self.bin.clone()).chain(std::env::split_paths(&old));
        command.env("PATH", std::env::join_paths(path).expect("folders"));
        // Its default counts jobs in the order in which they end.
        command.env("NINJA_STATUS", "");
        finish(command)
    }
}
