//! The folder of one's own in which endpoints lie, and the clearing of what dead ones left there.
//!
//! Doesn't know what an endpoint says.

use super::fifo::{self, Maker};
use super::{cache, guarded, tree_file, users};
use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat, geteuid};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The first usable folder, made where it is missing: `/run/user/UID/jobgate`, `$XDG_RUNTIME_DIR/jobgate`,
/// `$TMPDIR/jobgate-UID`, `/tmp/jobgate-UID`; where somebody else has taken that name, one below the user's cache folder.
///
/// Usable: ours, writable for nobody else, and guarded (see there): nobody can put another in its place. Its path must be free
/// of white space, `\\` and `$` (make and ninja cut the path there or read them, with no quoting). The error names what was
/// tried last.
pub fn own_folder() -> io::Result<PathBuf> {
    // A run asks for it three times.
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found.clone());
    }
    look_for_own_folder().inspect(|folder| {
        let _ = FOUND.set(folder.clone());
    })
}

fn look_for_own_folder() -> io::Result<PathBuf> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in candidates(own_variable) {
        match make_usable(&folder) {
            Ok(()) => return Ok(folder.path),
            Err(error) => {
                last = io::Error::new(error.kind(), format!("{}: {error}", folder.path.display()));
            }
        }
    }
    Err(last)
}

/// As this process was given it.
pub(super) fn own_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Where a folder of ours may be.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its path.
    pub path: PathBuf,
    /// So many of its last folders are made where they are missing.
    makes: usize,
}

/// By an environment, the first that is usable first.
pub(super) fn candidates(
    variable: impl Fn(&str) -> Option<OsString> + Clone,
) -> impl Iterator<Item = Candidate> {
    let uid = geteuid();
    let named = {
        let variable = variable.clone();
        move |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let folders = [
        Some(PathBuf::from(format!("/run/user/{uid}/jobgate"))),
        named("XDG_RUNTIME_DIR").map(|folder| folder.join("jobgate")),
        named("TMPDIR").map(|folder| folder.join(format!("jobgate-{uid}"))),
        Some(PathBuf::from(format!("/tmp/jobgate-{uid}"))),
    ];
    let folders = folders.into_iter().flatten().map(|path| Candidate { path, makes: 1 });
    // A home that the variables name may be another user's, below `sudo`.
    let by_right = |name: &str| users::home().filter(|_| name == "HOME").map(PathBuf::into_os_string);
    folders
        .chain(std::iter::once_with(move || of_the_host(variable)).flatten())
        .chain(std::iter::once_with(move || of_the_host(by_right)).flatten())
}

/// A home may be shared by many hosts, which have nothing to do with each other.
fn of_the_host(variable: impl Fn(&str) -> Option<OsString>) -> Option<Candidate> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let host = host.trim_end();
    let path = cache::folder(variable)?.join(format!("run-{host}"));
    // The cache folder itself, ours in it, and this.
    (!host.contains('/')).then_some(Candidate { path, makes: 3 })
}

/// The folders that come before the usable one and are there, or could be, but aren't usable; each with the reason.
pub fn passed_over() -> Vec<(PathBuf, io::Error)> {
    let mut passed_over = Vec::new();
    for folder in candidates(own_variable) {
        match make_usable(&folder) {
            Ok(()) => break,
            // Nothing to put it in: no login session, for one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => passed_over.push((folder.path, error)),
        }
    }
    passed_over
}

fn make_usable(folder: &Candidate) -> io::Result<()> {
    let special = |byte: &u8| byte.is_ascii_whitespace() || b"\\$".contains(byte);
    if !folder.path.is_absolute() || folder.path.as_os_str().as_bytes().iter().any(special) {
        let why = "not an absolute path free of white space, '\\' and '$'";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let opened = guarded::make_own(&folder.path, folder.makes)?;
    faccessat(&opened, ".", AccessFlags::W_OK, AtFlags::AT_EACCESS)?;
    Ok(())
}

/// The file of this name in the first of our folders that has one, as an environment names them.
pub(super) fn find(name: &str, variable: impl Fn(&str) -> Option<OsString> + Clone) -> Option<PathBuf> {
    let mut folders = candidates(variable).map(|folder| folder.path);
    // Looking is cheaper than to see whose it is.
    folders
        .find(|folder| folder.join(name).exists() && guarded::open_own(folder).is_ok())
        .map(|folder| folder.join(name))
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
        let may_be_left = match fifo::maker_of(&name) {
            Some(Maker::Here(pid)) => !is_alive(pid),
            Some(Maker::Elsewhere) => true,
            None => false,
        };
        if may_be_left && fifo::is_abandoned(&entry.path()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn is_alive(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) != Err(nix::Error::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_lies_in_a_folder_of_somebody_elses_is_not_found() {
        let place = tempfile::tempdir().unwrap();
        let ours = place.path().join("jobgate");
        let variable = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| place.path().as_os_str().to_owned());
        std::fs::create_dir(&ours).unwrap();
        std::fs::write(ours.join("tree-x"), "").unwrap();
        let modes =
            [(0o700, 0o700, true), (0o755, 0o1777, true), (0o777, 0o700, false), (0o700, 0o777, false)];
        for (own, around, is_found) in modes {
            std::fs::set_permissions(&ours, PermissionsExt::from_mode(own)).unwrap();
            std::fs::set_permissions(place.path(), PermissionsExt::from_mode(around)).unwrap();
            let found = find("tree-x", variable);
            assert_eq!(found, is_found.then(|| ours.join("tree-x")), "{own:o} in {around:o}");
            let candidate = Candidate { path: ours.clone(), makes: 1 };
            assert_eq!(make_usable(&candidate).is_ok(), is_found, "{own:o} in {around:o}");
        }
    }

    #[test]
    fn the_last_resort_lies_in_the_cache_folder_and_is_made_whole() {
        let place = tempfile::tempdir().unwrap();
        let variable = |name: &str| (name == "HOME").then(|| place.path().as_os_str().to_owned());
        let mut all: Vec<Candidate> = candidates(variable).collect();
        all.retain(|candidate| users::home().is_none_or(|home| !candidate.path.starts_with(home)));
        let last = all.last().unwrap();
        let name = last.path.file_name().unwrap().to_str().unwrap();
        assert!(
            last.path.starts_with(place.path().join(".cache/jobgate")) && name.starts_with("run-"),
            "{last:?}"
        );
        assert!(
            all[..all.len() - 1]
                .iter()
                .all(|other| other.makes == 1 && !other.path.starts_with(place.path()))
        );
        make_usable(last).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&last.path), mode(&place.path().join(".cache"))], [0o700; 2]);
        std::fs::remove_dir_all(place.path()).unwrap();
        assert!(make_usable(last).is_err() && !place.path().exists(), "a home that isn't there isn't to be");
    }

    #[test]
    fn names_that_tools_cut_are_refused() {
        let place = tempfile::tempdir().unwrap();
        for name in ["a b", "a\\b", "a$b"] {
            let candidate = Candidate { path: place.path().join(name), makes: 1 };
            assert!(make_usable(&candidate).is_err() && !candidate.path.exists(), "{name}");
        }
    }
}
