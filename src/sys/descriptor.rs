//! Descriptors: where they lie, what waits in them, how to get a description of one's own.
//!
//! Doesn't know what they are used for.

use super::again::again;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Descriptors that a tree inherits start here: scripts use low ones (`exec 3>log`, configure 5 and 6, bash from 10).
const FIRST_INHERITED: i32 = 100;

/// ... and end here: GNU make waits with `pselect`, which can't see a descriptor from `FD_SETSIZE` on.
const END_INHERITED: i32 = 1024;

/// How many descriptors an endpoint leaves to its tree at the most; room for them is kept below a low limit.
const MOST_INHERITED: i32 = 8;

mod ioctl {
    // FIONREAD (tty_ioctl(2), pipe(7)): how many bytes can be read.
    nix::ioctl_read_bad!(fionread, libc::FIONREAD, libc::c_int);
}

/// How many bytes stand in a pipe or fifo; works on either end.
pub fn standing(fd: impl AsFd) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for the call and the kernel writes one int through the pointer.
    unsafe { ioctl::fionread(fd.as_fd().as_raw_fd(), &mut bytes) }?;
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// Moves a descriptor to where scripts don't tread: 100 and up, below 1024 and the soft `RLIMIT_NOFILE`.
///
/// Close-on-exec stays set; `child::start` takes it off in the child alone. Fails with `EMFILE` where no room is left.
pub fn place_high(fd: OwnedFd) -> io::Result<OwnedFd> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let end = i32::try_from(soft).unwrap_or(i32::MAX).min(END_INHERITED);
    let first = FIRST_INHERITED.min(end - MOST_INHERITED).max(3);
    let raw = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(first))?;
    // SAFETY: F_DUPFD_CLOEXEC has just made this descriptor; nobody else owns it.
    let high = unsafe { OwnedFd::from_raw_fd(raw) };
    if raw >= END_INHERITED {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    Ok(high)
}

/// Takes over a descriptor that our caller left open at `number` for us, and sets close-on-exec on it.
pub fn own_inherited(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on a number; EBADF where nothing is open there.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: open, as just seen, and by its caller's promise ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Leaves it open over exec, and to every child from here on.
pub fn leave_open(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    Ok(())
}

/// Writes one line, and closes.
pub fn write_line(fd: OwnedFd, line: &str) -> io::Result<()> {
    use std::io::Write;
    std::fs::File::from(fd).write_all(format!("{line}\n").as_bytes())
}

/// Sets O_NONBLOCK on the description behind `fd`, and leaves its other flags.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Opens an own, non-blocking description of the pipe or fifo behind `fd`, through `/proc/self/fd`: flags set on it don't
/// show on the one that the tree has, and no name is needed.
pub fn reopen(fd: impl AsFd, access: OFlag) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(again(|| open(path.as_str(), flags, Mode::empty()))?)
}

/// Reads once without waiting, into a small buffer: how many bytes came, at most `most`; 0 where nothing stands.
pub fn read_tokens(fd: impl AsFd, most: u32) -> io::Result<u32> {
    let mut buffer = [0u8; 256];
    let most = buffer.len().min(most as usize);
    loop {
        match nix::unistd::read(&fd, &mut buffer[..most]) {
            Ok(bytes) => return Ok(bytes as u32),
            Err(nix::Error::EAGAIN) => return Ok(0),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes up to `tokens` of the byte that GNU make uses, without waiting: how many there was room for.
pub fn write_tokens(fd: impl AsFd, tokens: u32) -> io::Result<u32> {
    let bytes = [b'+'; 256];
    let mut written = 0;
    while written < tokens {
        let chunk = bytes.len().min((tokens - written) as usize);
        match nix::unistd::write(&fd, &bytes[..chunk]) {
            Ok(count) => written += count as u32,
            Err(nix::Error::EAGAIN) => break,
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(written)
}
