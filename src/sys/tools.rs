//! Which tools lie where on this machine, and of what version they are.
//!
//! Doesn't know what follows from it.

use super::again::again;
use super::{cache, remembered, shims};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to tell its version: it is asked before a build starts. A wrapper or a network disk that
/// takes longer is a program that doesn't say.
const PATIENCE: Duration = Duration::from_secs(1);

/// Set for the programs that are asked. A `make` may be a script that calls jobgate, which must not ask again.
pub const ASKING: &str = "JOBGATE_ASKING";

/// Where execvp(3) and shells look when PATH isn't set (`getconf PATH`).
pub(super) const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The file that running `program` starts: itself where it holds a slash, else the first on PATH that is no shim.
pub fn resolve(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(program));
    }
    on_path(program).into_iter().next()
}

/// All executable files called `name` on PATH that are no shims, in its order.
pub fn on_path(name: &OsStr) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.filter(|file| is_executable(file) && !shims::is_shim(file)).collect()
}

/// Whether it is a file with an execute bit.
pub fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What each of these programs says first when it is asked for its version, in their order; `None` where it doesn't start
/// or answer in time.
///
/// A file that is there under several names is asked once; all are asked at the same time. One that has been asked before
/// isn't asked again until it changes, unless it is a script.
pub fn version_texts(programs: impl Iterator<Item = PathBuf>) -> Vec<Option<Vec<u8>>> {
    let folder = cache::folder(|name| std::env::var_os(name));
    remembered::texts(folder.as_deref(), programs, |files| {
        let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
        version_text_of_each(&files)
    })
}

/// The same of each of these files, in their order and by the names that they have here: a link may lead to a program that
/// goes by its name (rustup's cargo).
pub fn version_text_of_each(files: &[PathBuf]) -> Vec<Option<Vec<u8>>> {
    let asked: Vec<Option<Child>> = files.iter().map(|file| ask_version(file)).collect();
    let end = Instant::now() + PATIENCE;
    asked.into_iter().map(|child| answer(child?, end)).collect()
}

fn ask_version(program: &Path) -> Option<Child> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // It must not act on what our caller meant for the build.
    command.env_remove("MAKEFLAGS").env_remove("GNUMAKEFLAGS").env_remove("MAKELEVEL").env(ASKING, "1");
    // rustup's cargo would rather install a toolchain than say that it isn't there.
    command.env("RUSTUP_AUTO_INSTALL", "0");
    command.spawn().ok()
}

/// The beginning of what the child prints, once it has ended; past `end` it is killed.
fn answer(mut child: Child, end: Instant) -> Option<Vec<u8>> {
    let mut output = child.stdout.take()?;
    let mut text = Vec::new();
    let finished = loop {
        let left = PollTimeout::try_from(end.saturating_duration_since(Instant::now())).ok()?;
        let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, left) {
            Err(nix::Error::EINTR) => continue, // with the time that is left
            Ok(1..) => {}
            Ok(_) | Err(_) => break false,
        }
        let mut part = [0; 4096];
        match again(|| output.read(&mut part)) {
            Ok(0) => break true,
            Ok(length) if text.len() < part.len() => text.extend_from_slice(&part[..length]),
            Ok(_) => {}
            Err(_) => break false,
        }
    };
    // It has ended, or it is to: nobody waits for a program that has closed its output and goes on.
    let _ = child.kill();
    let _ = child.wait();
    finished.then_some(text)
}
