//! A real terminal: a pty whose keys a test presses, the controlling terminal of what it starts.
//!
//! Doesn't know what runs on it.

use super::DEADLINE;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Instant;

/// Ctrl-C.
pub const CTRL_C: &str = "\x03";
/// Ctrl-Z.
pub const CTRL_Z: &str = "\x1a";

/// See the module. Its end hangs up.
pub struct Terminal {
    master: PtyMaster,
    /// What was shown and not yet awaited.
    shown: String,
}

impl Terminal {
    /// Starts the command as the leader of a session on a new terminal.
    pub fn start(command: &mut Command) -> (Terminal, Child) {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal to use");
        let name = ptsname_r(&master).expect("a terminal's name");
        let mut slave = File::options();
        let slave = slave.read(true).write(true).custom_flags(libc::O_NOCTTY).open(name);
        let slave = slave.expect("a terminal opens");
        let copy = || slave.try_clone().expect("a descriptor");
        command.stdin(copy()).stdout(copy()).stderr(copy());
        // SAFETY: setsid and ioctl are async-signal-safe.
        unsafe { command.pre_exec(own_the_terminal) };
        let child = command.spawn().expect("it starts");
        (Terminal { master, shown: String::new() }, child)
    }

    /// Types these bytes.
    pub fn press(&self, keys: &str) {
        let written = nix::unistd::write(&self.master, keys.as_bytes());
        assert_eq!(written, Ok(keys.len()), "keys are taken");
    }

    /// Changes the window's size, of which the kernel tells the foreground.
    pub fn resize(&self, columns: u16) {
        let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCSWINSZ reads one winsize.
        let done = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        assert_eq!(done, 0, "a terminal can be resized");
    }

    /// Waits until this was shown: what came before it. Both are forgotten.
    pub fn await_text(&mut self, text: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(at) = self.shown.find(text) {
                let rest = self.shown.split_off(at + text.len());
                let mut before = std::mem::replace(&mut self.shown, rest);
                before.truncate(at);
                return before;
            }
            let left = DEADLINE.saturating_sub(started.elapsed());
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            let mut bytes = [0; 4096];
            let count = match ready {
                Ok(1..) => nix::unistd::read(&self.master, &mut bytes).unwrap_or(0),
                Ok(_) => 0,
                Err(_) => continue,
            };
            assert!(count > 0, "'{text}' was never shown, but: {}", self.shown);
            self.shown += &String::from_utf8_lossy(&bytes[..count]);
        }
    }
}

fn own_the_terminal() -> std::io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: TIOCSCTTY takes a number; descriptor 0 is the terminal.
    if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
