//! Processes that stand still (SIGSTOP), and a process beside us that lets all of them go on when we end, however that is.
//!
//! Doesn't know whose they are, nor why. If that process is killed, we let them go on ourselves; only who kills both at one
//! moment leaves some.

use super::again::again;
use super::ancestors;
use super::witness::{close_all_but, name_it};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A process, and when it started: its number may be another's later.
pub type Process = (i32, u64);

/// An answer takes two switches between processes; on a machine that thrashes these take long.
const PATIENCE: Duration = Duration::from_secs(2);

const STOP: u8 = b'S';
const CONTINUE: u8 = b'C';

/// See the module.
#[derive(Debug, Default)]
pub struct Freezer {
    keeper: Option<Keeper>,
    still: Vec<Process>,
}

impl Freezer {
    /// What stands still.
    pub fn still(&self) -> &[Process] {
        &self.still
    }

    /// Has a process stand still. The error: it doesn't, since nobody would let it go on.
    pub fn stop(&mut self, process: Process) -> io::Result<()> {
        if self.keeper.is_none() {
            self.keeper = Some(Keeper::start()?);
        }
        // It may be stopped by one who is killed before he says so.
        self.still.push(process);
        if let Some(keeper) = &self.keeper
            && let Err(error) = keeper.tell(STOP, process)
        {
            self.let_all_go_on();
            return Err(error);
        }
        Ok(())
    }

    /// Lets it go on.
    pub fn go_on(&mut self, process: Process) {
        self.still.retain(|&other| other != process);
        let told = self.keeper.as_ref().map(|keeper| keeper.tell(CONTINUE, process));
        if !matches!(told, Some(Ok(()))) {
            signal(process, Signal::SIGCONT);
            self.let_all_go_on();
        }
    }

    /// Whether all is well: the keeper lives. Else all go on.
    pub fn check(&mut self) {
        if self.keeper.as_ref().is_some_and(Keeper::is_gone) {
            self.let_all_go_on();
        }
    }

    /// All go on.
    pub fn let_all_go_on(&mut self) {
        self.still.drain(..).for_each(|process| signal(process, Signal::SIGCONT));
        self.keeper = None;
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.let_all_go_on();
    }
}

/// The process beside us, which stops them, too: what it has stopped it knows.
#[derive(Debug)]
struct Keeper {
    pid: Pid,
    line: UnixStream,
}

impl Keeper {
    /// Forks it. To be called while this process has one thread.
    fn start() -> io::Result<Keeper> {
        let (ours, its) = UnixStream::pair()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        // SAFETY: one thread, so the child may do anything; it never returns from `keep`.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Keeper { pid: child, line: ours }),
            ForkResult::Child => keep(its),
        }
    }

    fn tell(&self, what: u8, (pid, start): Process) -> io::Result<()> {
        let mut line = &self.line;
        let mut words = [what; 13];
        words[1..5].copy_from_slice(&pid.to_ne_bytes());
        words[5..].copy_from_slice(&start.to_ne_bytes());
        line.write_all(&words)?;
        line.read_exact(&mut [0])
    }

    fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(self.line.as_fd(), PollFlags::POLLIN)];
        // It says nothing but answers.
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.line.shutdown(std::net::Shutdown::Both);
        let _ = again(|| waitpid(self.pid, None));
    }
}

/// Its whole life. No signal but SIGKILL ends it, only the end of its line.
fn keep(mut line: UnixStream) -> ! {
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
    // What is meant for a group of processes isn't meant for it.
    let _ = nix::unistd::setsid();
    name_it(c"jg-thaw");
    close_all_but(line.as_raw_fd());
    let mut still: Vec<Process> = Vec::new();
    let mut words = [0; 13];
    while line.read_exact(&mut words).is_ok() {
        let number = |from: usize, until: usize| &words[from..until];
        let pid = i32::from_ne_bytes(number(1, 5).try_into().unwrap_or_default());
        let process = (pid, u64::from_ne_bytes(number(5, 13).try_into().unwrap_or_default()));
        still.retain(|&other| other != process);
        if words[0] == STOP {
            still.push(process);
            signal(process, Signal::SIGSTOP);
        } else {
            signal(process, Signal::SIGCONT);
        }
        if line.write_all(&[1]).is_err() {
            break;
        }
    }
    still.into_iter().for_each(|process| signal(process, Signal::SIGCONT));
    // SAFETY: ends the process without running anything of its parent's.
    unsafe { libc::_exit(0) }
}

/// Sends it to that process and no other (pidfd_open(2), Linux 5.3).
fn signal((pid, start): Process, signal: Signal) {
    // SAFETY: takes numbers.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(raw) = i32::try_from(raw) else { return };
    if raw < 0 {
        return; // it has ended
    }
    // SAFETY: it was just opened, and is nobody else's.
    let pidfd = unsafe { OwnedFd::from_raw_fd(raw) };
    if ancestors::is_alive_since(Path::new(ancestors::PROC), pid, start) {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: an open pidfd, and no siginfo.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal as i32, no_info, 0) };
    }
}
