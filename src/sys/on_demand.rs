//! A server that is started on demand: a process with nothing of its starter's but the socket that it is to listen at.
//!
//! Doesn't know where that lies, nor what a server does.

use super::again::again;
use super::notify::reset_signals;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// The descriptor that it finds its socket at.
const LISTENER: i32 = 3;

/// What says where a user's cache lies (cache.rs).
const CACHE: [&str; 2] = ["HOME", "XDG_CACHE_HOME"];

/// Starts `jobgate serve` for `listener`: nobody's child, with nothing of ours: no terminal, no descriptor (a caller
/// that reads our output would wait for its end), no signal state, no environment but where its user's cache lies.
pub(super) fn spawn(socket: &Path, listener: &UnixListener, died: bool) -> io::Result<()> {
    let text = |text: &[u8]| CString::new(text).map_err(io::Error::other);
    let program = text(b"/proc/self/exe")?;
    let mut words = vec![text(b"jobgate")?, text(b"serve")?, text(b"--on-demand")?, text(b"--socket")?];
    words.push(text(socket.as_os_str().as_bytes())?);
    if died {
        words.push(text(b"--recovering")?);
    }
    let kept = CACHE
        .iter()
        .filter_map(|name| Some([name.as_bytes(), b"=", std::env::var_os(name)?.as_bytes()].concat()));
    let kept: Vec<CString> = kept.map(|line| text(&line)).collect::<io::Result<_>>()?;
    let (argv, environment) = (pointers(&words), pointers(&kept));
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
    let (told, tells) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: this process has one thread; the child makes system calls only and ends by exec or _exit.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(tells);
            let _ = again(|| waitpid(child, None));
            started(File::from(told))
        }
        ForkResult::Child => {
            let _ = nix::unistd::setsid();
            // SAFETY: as above; its parent ends now, so that it is nobody's child, whoever adopts it.
            match unsafe { fork() } {
                Ok(ForkResult::Child) => {
                    become_server(&program, &argv, &environment, &null, listener, &tells)
                }
                Ok(ForkResult::Parent { .. }) => {}
                Err(error) => tell(tells.as_raw_fd(), &error.into()),
            }
            // SAFETY: ends the process without running anything of its parent's.
            unsafe { libc::_exit(0) }
        }
    }
}

/// As exec takes them.
fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Waits until the server has its program, which closes the other end, or says why it hasn't.
fn started(mut told: File) -> io::Result<()> {
    let mut why = [0; 4];
    match told.read_exact(&mut why) {
        Ok(()) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(why))),
        Err(_) => Ok(()),
    }
}

/// Says what was refused. Only a system call: we are a fork.
fn tell(line: RawFd, error: &io::Error) {
    let why = error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
    // SAFETY: the kernel reads these bytes.
    let _ = made(|| unsafe { libc::write(line, why.as_ptr().cast(), why.len()) as i32 });
}

/// The call's number, or its error.
fn made(call: impl Fn() -> i32) -> io::Result<i32> {
    again(|| match call() {
        number if number >= 0 => Ok(number),
        _ => Err(io::Error::last_os_error()),
    })
}

/// Only system calls: we are a fork. Returns only where something was refused, which it has told then.
fn become_server(
    program: &CStr,
    argv: &[*const libc::c_char],
    environment: &[*const libc::c_char],
    null: &OwnedFd,
    listener: &UnixListener,
    tells: &OwnedFd,
) {
    let mut line = tells.as_raw_fd();
    // SAFETY: takes numbers.
    let above = |fd: RawFd| made(|| unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) });
    let mut become_it = || -> io::Result<i32> {
        line = above(line)?;
        let (null, listener) = (above(null.as_raw_fd())?, above(listener.as_raw_fd())?);
        for (from, to) in [(null, 0), (null, 1), (null, 2), (listener, LISTENER)] {
            // SAFETY: onto numbers that nothing of this process uses any more.
            made(|| unsafe { libc::dup2(from, to) })?;
        }
        // SAFETY: likewise.
        line = made(|| unsafe { libc::dup3(line, LISTENER + 1, libc::O_CLOEXEC) })?;
        // SAFETY: close_range and exec take no memory but what outlives them.
        unsafe {
            libc::syscall(libc::SYS_close_range, LISTENER + 2, u32::MAX, 0);
            libc::chdir(c"/".as_ptr());
            libc::umask(0o077);
            reset_signals();
            made(|| libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr()))
        }
    };
    if let Err(error) = become_it() {
        tell(line, &error);
    }
}

/// In a server started on demand: the socket that it was given.
pub fn given_listener() -> io::Result<UnixListener> {
    // A name for people: we were started as /proc/self/exe.
    let _ = nix::sys::prctl::set_name(c"jobgate");
    super::descriptor::own_inherited(LISTENER).map(UnixListener::from)
}
