//! A process in the background that outlives the one that started it, until another process ends.
//!
//! Doesn't know what it does.

use super::again::again;
use super::ancestors::Process;
use super::notify::reset_signals;
use super::users;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, getppid};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// What the process in the background is called; `jobgate env --stop` ends nothing else.
const NAME: &std::ffi::CStr = c"jg-attach";

/// Which of the two one is.
pub enum Side {
    /// In front: it reads how the start went.
    Front(Line),
    /// In the background: it says so.
    Back(Line),
    /// On the way there, which it can't go: it says why, and ends.
    Stuck(Line, io::Error),
}

/// Between the two.
pub struct Line(UnixStream);

/// Ends what is said: whoever says it goes on.
const END: u8 = 0;

impl Line {
    /// What the other side says.
    pub fn read(&mut self) -> io::Result<String> {
        let mut text = Vec::new();
        let mut part = [0; 512];
        while text.pop_if(|last| *last == END).is_none() {
            match again(|| self.0.read(&mut part))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => text.extend(&part[..length]),
            }
        }
        String::from_utf8(text).map_err(io::Error::other)
    }

    /// Says something. The error: nobody is there any more.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let mut text = text.as_bytes().to_vec();
        text.push(END);
        (&self.0).write_all(&text)
    }
}

/// Goes on in two processes. The one in the background has a session of its own, standard descriptors on /dev/null, the
/// root folder, and none of our caller's descriptors or signal state: a `$(...)` around us doesn't wait for it.
///
/// The error is the front's, and the only one there is then.
pub fn split() -> io::Result<Side> {
    let (front, back) = UnixStream::pair()?;
    // SAFETY: this process has one thread, so the child may do anything.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        drop(back);
        let _ = again(|| waitpid(child, None));
        return Ok(Side::Front(Line(front)));
    }
    drop(front);
    Ok(match go_back(&back) {
        Ok(()) => Side::Back(Line(back)),
        Err(error) => Side::Stuck(Line(back), error),
    })
}

fn go_back(back: &UnixStream) -> io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: as above; its parent ends now, so that it is nobody's child.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        // SAFETY: ends the process without running anything of its parent's.
        unsafe { libc::_exit(0) };
    }
    reset_signals();
    let _ = nix::sys::prctl::set_name(NAME);
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // Closed first: what our caller left open elsewhere is none of ours.
    close_others(&[back.as_raw_fd(), null.as_raw_fd()]);
    for standard in 0..3 {
        // SAFETY: dup2 onto the standard descriptors, which nothing here owns.
        unsafe { libc::dup2(null.as_raw_fd(), standard) };
    }
    nix::unistd::chdir("/")?;
    Ok(())
}

/// Closes all descriptors from 3 on that nothing of ours owns: those that are inherited.
fn close_others(kept: &[i32]) {
    let mut kept: Vec<i32> = kept.to_vec();
    kept.extend(bound_descriptor());
    kept.sort_unstable();
    let mut first = 3;
    for kept in kept.into_iter().chain([i32::MAX]) {
        if first < kept {
            // SAFETY: closes numbers only; all that this process uses are kept. A raw call, for libc's isn't everywhere.
            unsafe { libc::syscall(libc::SYS_close_range, first, kept - 1, 0) };
        }
        first = kept.saturating_add(1);
    }
}

std::thread_local! {
    /// The one pidfd that must survive `split`.
    static BOUND: std::cell::Cell<i32> = const { std::cell::Cell::new(-1) };
}

fn bound_descriptor() -> Option<i32> {
    Some(BOUND.get()).filter(|&fd| fd >= 0)
}

/// Another process, whose end can be waited for.
#[derive(Debug)]
pub struct Bound {
    pid: i32,
    descriptor: OwnedFd,
}

impl Bound {
    /// By its pidfd (pidfd_open(2), Linux 5.3): no other process that gets its pid later is taken for it.
    pub fn to(pid: i32) -> Result<Bound, (i32, io::Error)> {
        // SAFETY: takes numbers.
        let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if raw < 0 {
            return Err((pid, io::Error::last_os_error()));
        }
        // SAFETY: just made, and ours alone.
        let bound = Bound { pid, descriptor: unsafe { OwnedFd::from_raw_fd(raw as i32) } };
        // Who may not signal it has no say in what it shares.
        bound.send(0).map_err(|error| (pid, error))?;
        BOUND.set(raw as i32);
        Ok(bound)
    }

    /// Sends it a signal; 0: none, only whether one might be.
    fn send(&self, signal: i32) -> io::Result<()> {
        let number = self.descriptor.as_raw_fd();
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: an open pidfd, and no siginfo.
        if unsafe { libc::syscall(libc::SYS_pidfd_send_signal, number, signal, no_info, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
    }

    /// Which.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The descriptor that becomes readable when it has ended.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Who has started us.
pub fn caller() -> i32 {
    getppid().as_raw()
}

/// What a process is called.
pub fn name_of(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Ends a process in the background, if it is one of these and ours; whether it was.
pub fn end(pid: i32) -> bool {
    // Held first, then looked at: what is ended is what was seen.
    let (Ok(bound), Ok(process)) = (Bound::to(pid), Process::open(pid)) else { return false };
    let is_one = name_of(pid).is_some_and(|name| name.as_bytes() == NAME.to_bytes());
    let is_ours = process.owner().is_ok_and(users::is_own);
    is_one && is_ours && !bound.has_ended() && bound.send(libc::SIGTERM).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    /// A process that is called so; of another user's, where one was named.
    fn called(name: &str, uid: Option<u32>) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "printf %s \"$0\" >/proc/$$/comm; echo; read x", name]);
        if let Some(uid) = uid {
            command.uid(uid);
        }
        let mut child =
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    #[test]
    fn only_a_process_in_the_background_of_ours_is_ended() {
        let name = NAME.to_str().unwrap();
        let mut rows = vec![(called(name, None), true), (called("sh", None), false)];
        if users::own_uid() == 0 {
            rows.push((called(name, Some(4_000_000_001)), false));
        }
        for (mut child, is_ended) in rows {
            let pid = child.id() as i32;
            assert_eq!(end(pid), is_ended);
            drop(child.stdin.take());
            let status = child.wait().unwrap();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status).is_some(), is_ended);
            assert!(!end(pid), "it is gone");
        }
    }
}
