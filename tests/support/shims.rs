//! A tree in which tools are found by their names on PATH, the shims first: folders, logs and scripts for it.
//!
//! Doesn't know what is asserted.

use super::shared::Shared;
use super::{Real, build_ninja, jobgate, makefile, succeed, tool};
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A gate, a folder with a makefile and a build.ninja of the same jobs, and tools to be found by their names.
pub struct Place {
    /// The gate, and the folder.
    pub shared: Shared,
    tools: Vec<PathBuf>,
}

impl Place {
    /// `count` jobs of so many seconds. `tools`: each found by its plain name, the first of a name wins. `None` where one is
    /// missing.
    pub fn lay(tools: &[Real], count: usize, seconds: f64) -> Option<Place> {
        let shared = Shared::new();
        let path = |name: &str| shared.folder.path().join(name);
        std::fs::write(path("Makefile"), makefile(count, seconds)).unwrap();
        std::fs::write(path("build.ninja"), build_ninja(count, seconds)).unwrap();
        let mut folders = Vec::new();
        for (number, &real) in tools.iter().enumerate() {
            let real = tool(real)?;
            let folder = path(&format!("tool{number}"));
            std::fs::create_dir(&folder).unwrap();
            symlink(&real, folder.join(real.file_name().unwrap())).unwrap();
            folders.push(folder);
        }
        Some(Place { shared, tools: folders })
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.shared.folder.path().join(name)
    }

    /// PATH with the tools, without the shims.
    pub fn tools_path(&self) -> OsString {
        let old = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(self.tools.iter().cloned().chain(std::env::split_paths(&old))).unwrap()
    }

    /// PATH with the shims first.
    pub fn shims_path(&self) -> OsString {
        let mut path = self.shims().into_os_string();
        path.push(":");
        path.push(self.tools_path());
        path
    }

    /// Where the shims of its tools lie.
    pub fn shims(&self) -> PathBuf {
        self.shims_for(self.tools_path())
    }

    /// Where the shims for the tools of this PATH lie.
    pub fn shims_for(&self, path: impl AsRef<std::ffi::OsStr>) -> PathBuf {
        succeed(self.shared.jobgate(&["shims"]).env("PATH", path)).trim_end().into()
    }

    /// `jobgate run OPTIONS -- sh -c SCRIPT`, in which tools are found by their names.
    pub fn run(&self, options: &[&str], script: &str) -> Command {
        let mut command = self.shared.jobgate(&["run"]);
        command.args(options).args(["--", "sh", "-c", script]);
        command.env("PATH", self.tools_path()).env("JOBGATE", jobgate());
        command
    }

    /// The log of its jobs.
    pub fn log(&self) -> PathBuf {
        self.shared.log()
    }
}

/// A program in `folder` that prints its arguments, one in a line.
pub fn teller(folder: &Path, name: &str, version: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    let answer = format!("[ \"$JOBGATE_ASKING\" ] && {{ echo '{version}'; exit; }}");
    std::fs::write(
        &path,
        format!("#!/bin/sh\n{answer}\nfor word; do printf '%s\\n' \"$word\"; done\nexit 3\n"),
    )
    .unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// The processes below this one, itself left out.
pub fn descendants(pid: i32) -> Vec<i32> {
    let children = |pid: i32| -> Vec<i32> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    };
    let mut all = children(pid);
    let mut at = 0;
    while at < all.len() {
        all.extend(children(all[at]));
        at += 1;
    }
    all
}
