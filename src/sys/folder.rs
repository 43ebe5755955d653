//! The folder of one's own in which endpoints lie, and the clearing of what dead ones left there.
//!
//! Doesn't know what an endpoint says.

use super::again::again;
use super::{fifo, tree_file};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::geteuid;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The first usable folder, made where it is missing: `/run/user/UID/jobgate`, `$XDG_RUNTIME_DIR/jobgate`,
/// `$TMPDIR/jobgate-UID`, `/tmp/jobgate-UID`.
///
/// Usable: a real folder (no link), owned by us or root, writable for nobody else, its path free of white space,
/// `\\` and `$` (make and ninja cut the path there or read them, with no quoting). The error names what was tried last.
pub fn own_folder() -> io::Result<PathBuf> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in candidates(own_variable) {
        match make_usable(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => last = io::Error::new(error.kind(), format!("{}: {error}", folder.display())),
        }
    }
    Err(last)
}

/// As this process was given it.
pub(super) fn own_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Where the folder may be, by an environment.
pub(super) fn candidates(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let uid = geteuid();
    let variable = |name: &str| variable(name).filter(|value: &OsString| !value.is_empty());
    let candidates = [
        Some(PathBuf::from(format!("/run/user/{uid}/jobgate"))),
        variable("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("jobgate")),
        variable("TMPDIR").map(|folder| PathBuf::from(folder).join(format!("jobgate-{uid}"))),
        Some(PathBuf::from(format!("/tmp/jobgate-{uid}"))),
    ];
    candidates.into_iter().flatten().collect()
}

/// The folders that come before the usable one and are there, or could be, but aren't usable; each with the reason.
pub fn passed_over() -> Vec<(PathBuf, io::Error)> {
    let mut passed_over = Vec::new();
    for folder in candidates(own_variable) {
        match make_usable(&folder) {
            Ok(()) => break,
            // Nothing to put it in: no login session, for one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => passed_over.push((folder, error)),
        }
    }
    passed_over
}

fn make_usable(folder: &Path) -> io::Result<()> {
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()));
    let special = |byte: &u8| byte.is_ascii_whitespace() || b"\\$".contains(byte);
    if !folder.is_absolute() || folder.as_os_str().as_bytes().iter().any(special) {
        return refuse("not an absolute path free of white space, '\\' and '$'");
    }
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        // A umask may have taken our own rights away.
        Ok(()) => std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let stat = fstat(again(|| open(folder, flags, Mode::empty()))?)?;
    if stat.st_uid != geteuid().as_raw() && stat.st_uid != 0 {
        return refuse("owned by somebody else");
    }
    if stat.st_mode & 0o022 != 0 {
        return refuse("writable for others");
    }
    nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK)?;
    Ok(())
}

/// Unlinks the fifos in `folder` that nobody holds open any more: their proxy and its whole tree are gone; and what proxies
/// wrote down of their trees.
///
/// One whose maker's pid is alive isn't looked at: to look means to open it, and that wakes the proxy.
pub fn clear_abandoned(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if tree_file::anchor_of(&name).is_some_and(|pid| !is_alive(pid)) {
            let _ = std::fs::remove_file(entry.path());
        }
        let maker = fifo::maker_of(&name);
        if maker.is_some_and(|pid| !is_alive(pid)) && fifo::is_abandoned(&entry.path()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn is_alive(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) != Err(nix::Error::ESRCH)
}
