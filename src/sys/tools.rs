//! Which tools lie where on this machine, and of what version they are.
//!
//! Doesn't know what follows from it.

use crate::proto::text;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The file that running `program` starts: itself where it holds a slash, else the first on PATH.
pub fn resolve(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(program));
    }
    on_path(program).into_iter().next()
}

/// All executable files called `name` on PATH, in its order.
pub fn on_path(name: &OsStr) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.filter(|file| is_executable(file)).collect()
}

/// Whether it is a file with an execute bit.
pub fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What each of these programs says of its version: (major, minor), or `None` where it isn't GNU make or doesn't say.
///
/// A file that is there under several names is asked once; all are asked at the same time.
pub fn gnu_make_versions(programs: impl Iterator<Item = PathBuf>) -> Vec<Option<(u32, u32)>> {
    let mut files: Vec<PathBuf> = programs.map(|file| std::fs::canonicalize(&file).unwrap_or(file)).collect();
    files.sort();
    files.dedup();
    let asked: Vec<Option<Child>> = files.iter().map(|file| ask_version(file)).collect();
    asked.into_iter().map(|child| text::gnu_make_version(&child?.wait_with_output().ok()?.stdout)).collect()
}

fn ask_version(program: &Path) -> Option<Child> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // It must not act on what our caller meant for the build.
    command.env_remove("MAKEFLAGS").env_remove("GNUMAKEFLAGS").env_remove("MAKELEVEL");
    command.spawn().ok()
}
