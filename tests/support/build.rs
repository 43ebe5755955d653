//! Builds for the real tools, laid out in a folder: jobs that sleep and stamp the log.
//!
//! Doesn't know who hands out tokens.

use super::{Real, build_ninja, job, makefile, tool};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is built, by which tool. All but cargo's have 12 jobs unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// One makefile.
    Make(Real),
    /// `$(MAKE) -C`, three at once, two deep: 18 jobs.
    Nested(Real),
    /// One build.ninja.
    Ninja,
    /// The same for the ninja that `JOBGATE_STOCK_NINJA` names.
    StockNinja,
    /// ninja as the recipe of a make.
    NinjaBelow(Real),
    /// A script that calls make, then ninja: 24 jobs.
    MakeThenNinja(Real),
    /// A workspace of 8 crates that don't depend on each other: 8 jobs.
    Cargo,
}

/// How long a job takes, in seconds.
const JOB: f64 = 0.3;

impl Build {
    /// Writes what it needs into `folder` and gives the command line; `None` where a tool is missing.
    pub fn lay(self, folder: &Path) -> Option<Vec<String>> {
        self.lay_jobs(folder, 12, JOB)
    }

    /// The same with `count` jobs of so many seconds, where it isn't nested or cargo's.
    pub fn lay_jobs(self, folder: &Path, count: usize, seconds: f64) -> Option<Vec<String>> {
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
        write("Makefile", &makefile(count, seconds));
        write("build.ninja", &build_ninja(count, seconds));
        let only = |path: PathBuf| vec![text(&path)];
        match self {
            Build::Make(make) => tool(make).map(only),
            Build::Ninja => tool(Real::Ninja).map(only),
            Build::StockNinja => stock_ninja().map(only),
            Build::Nested(make) => {
                nest(folder);
                tool(make).map(only)
            }
            Build::NinjaBelow(make) => {
                write("Makefile", &format!("all:\n\t+@{}\n", text(&tool(Real::Ninja)?)));
                tool(make).map(only)
            }
            Build::MakeThenNinja(make) => {
                let script = format!("{} && exec {}", text(&tool(make)?), text(&tool(Real::Ninja)?));
                Some(vec!["sh".to_owned(), "-c".to_owned(), script])
            }
            Build::Cargo => Some(lay_crates(folder)),
        }
    }

    /// What cargo must find in its environment; nothing for the others.
    pub fn environment(self, folder: &Path, command: &mut Command) {
        if self == Build::Cargo {
            command.env("RUSTC_WRAPPER", folder.join("stamp-rustc"));
            command.env("CARGO_TARGET_DIR", folder.join("target"));
            command.env_remove("CARGO_BUILD_JOBS");
        }
    }

    /// How many jobs it has.
    pub fn count(self) -> usize {
        match self {
            Build::Make(_) | Build::Ninja | Build::StockNinja | Build::NinjaBelow(_) => 12,
            Build::Nested(_) => 18,
            Build::MakeThenNinja(_) => 24,
            Build::Cargo => 8,
        }
    }
}

/// A path as text.
pub fn text(path: &Path) -> String {
    path.to_str().expect("the tools' folders are text").to_owned()
}

fn stock_ninja() -> Option<PathBuf> {
    let path = std::env::var_os("JOBGATE_STOCK_NINJA").map(PathBuf::from).filter(|path| path.exists());
    if path.is_none() {
        super::skipped("JOBGATE_STOCK_NINJA names no stock ninja 1.13 or newer");
    }
    path
}

/// Three folders, each with three jobs and a folder with three more.
fn nest(folder: &Path) {
    let subs = |below: &str| {
        format!(
            "all: {below}\n.PHONY: all {below}\n\
             {below}:\n\t@$(MAKE) --no-print-directory -C $@\n"
        )
    };
    let jobs = makefile(3, JOB);
    let write = |path: PathBuf, text: &str| {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders can be made");
        std::fs::write(path, text).expect("a makefile");
    };
    write(folder.join("Makefile"), &subs("a b c"));
    for sub in ["a", "b", "c"] {
        write(folder.join(sub).join("Makefile"), &(jobs.clone() + &subs("deep")));
        write(folder.join(sub).join("deep/Makefile"), &jobs);
    }
}

fn lay_crates(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders can be made");
        std::fs::write(path, text).expect("a source file");
    };
    for number in 0..8 {
        let manifest =
            format!("[package]\nname = \"crate{number}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        write(&format!("crate{number}/Cargo.toml"), &manifest);
        write(&format!("crate{number}/src/lib.rs"), "");
    }
    write("Cargo.toml", "[workspace]\nmembers = [\"crate*\"]\nresolver = \"2\"\n");
    // cargo first asks rustc about itself; those runs are no jobs.
    let stamps = job(JOB).replace(&format!("sleep {JOB}"), &format!("sleep {JOB}; \"$@\"; ended=$?"));
    write(
        "stamp-rustc",
        &format!(
            "#!/bin/sh\ncase \"$*\" in *--crate-name\\ crate*) {stamps}; exit $ended;; esac\nexec \"$@\"\n"
        ),
    );
    std::fs::set_permissions(folder.join("stamp-rustc"), PermissionsExt::from_mode(0o755)).expect("chmod");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    vec![cargo, "build".to_owned(), "--offline".to_owned(), "--quiet".to_owned()]
}
