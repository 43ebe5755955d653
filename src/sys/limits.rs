//! What the kernel still gives this user, seen by trying it.
//!
//! Doesn't know how much is needed.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// How many bytes a new pipe holds (F_GETPIPE_SZ): less than usual where this user's pipes are beyond their quota (pipe(7)).
pub fn size_of_a_new_pipe() -> io::Result<u64> {
    let (_reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    Ok(u64::try_from(fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?).unwrap_or(0))
}

/// Makes an inotify instance and lets it go. EMFILE where the user's are used up (inotify(7)).
pub fn try_inotify() -> io::Result<()> {
    Inotify::init(InitFlags::IN_CLOEXEC)?;
    Ok(())
}

/// Lifts the bound on how many descriptors this process may have open to the most that it may be (RLIMIT_NOFILE), and gives
/// what holds then. A soft limit of 1024 is for programs that select(2).
pub fn lift_descriptors() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let lifted = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    usize::try_from(lifted).unwrap_or(usize::MAX)
}
