//! The wrapped command: started in its caller's surroundings, watched, and its end made our own.
//!
//! Doesn't know endpoints or policy: it is told which descriptors and variables the command gets.

use super::ancestors;
use super::notify::{Arrival, Original};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getsid};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// A command as the user gave it.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// The program: a name to be found on PATH, or a path. It is told that it is called so.
    pub program: OsString,
    /// The file to run, where that isn't what the name says.
    pub file: Option<PathBuf>,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// The direct child.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
}

/// What stopped the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopBy {
    /// SIGTSTP: Ctrl-Z, or somebody's kill.
    Key,
    /// SIGTTIN, SIGTTOU: it used a terminal that isn't its own now.
    Terminal,
    /// SIGSTOP.
    Force,
}

/// What `waitpid` tells of the child.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// It has ended, and was reaped.
    Ended(ExitStatus),
    /// It was stopped.
    Stopped(StopBy),
    /// It goes on.
    Continued,
}

/// Whoever is orphaned below us becomes our child, not init's (prctl(2), PR_SET_CHILD_SUBREAPER): so a job that forks twice
/// and takes a session of its own can still be seen to be one of ours.
pub fn adopt_orphans(adopt: bool) {
    // Since Linux 3.4; without it such a job is a stranger.
    let _ = nix::sys::prctl::set_child_subreaper(adopt);
}

/// Starts the command with `variables` set over the environment and `inherited` left open to it.
///
/// Everything else is as our caller had it: process group, terminal, signal mask, ignored signals, umask, limits.
/// It gets SIGTERM should we die before it (prctl(2), PR_SET_PDEATHSIG). The error is exec's own.
pub fn start(
    command: &CommandLine,
    variables: &[(&str, OsString)],
    inherited: &[BorrowedFd<'_>],
    original: &Original,
) -> io::Result<Child> {
    let inherited: Vec<RawFd> = inherited.iter().map(|fd| fd.as_raw_fd()).collect();
    let original = original.clone();
    let parent = std::process::id();
    let mut child = prepared(command, variables);
    let prepare = move || {
        // What of ours can't be had is no fault of the command's: it then runs without us.
        let ours = |_| io::Error::from_raw_os_error(OURS);
        inherited.iter().try_for_each(|&fd| keep_over_exec(fd)).map_err(ours)?;
        // Where a sandbox forbids that it outlives us, as it would anybody.
        if nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).is_ok()
            && std::os::unix::process::parent_id() != parent
        {
            nix::sys::signal::raise(Signal::SIGTERM).map_err(io::Error::from).map_err(ours)?;
        }
        original.restore().map_err(ours)
    };
    // SAFETY: between fork and exec only async-signal-safe calls are made: fcntl, prctl, getppid, kill, sigaction,
    // sigprocmask; nothing allocates. This process has one thread.
    unsafe { child.pre_exec(prepare) };
    let pid = child.spawn()?.id();
    Ok(Child { pid: Pid::from_raw(pid as i32) })
}

/// Becomes the command, with `variables` and nothing else of ours. Only returns with exec's error.
pub fn become_command(
    command: &CommandLine,
    variables: &[(&str, OsString)],
    original: &Original,
) -> io::Error {
    let original = original.clone();
    let mut child = prepared(command, variables);
    // SAFETY: without a fork, just before exec, in a process of one thread: anything may be called.
    unsafe { child.pre_exec(move || original.restore()) };
    child.exec()
}

fn prepared(command: &CommandLine, variables: &[(&str, OsString)]) -> Command {
    let mut child = match &command.file {
        Some(file) => Command::new(file),
        None => Command::new(&command.program),
    };
    child.arg0(&command.program).args(&command.args);
    child.envs(variables.iter().map(|(name, value)| (name, value)));
    child
}

/// By which `is_shortage` knows that something of ours couldn't be had between fork and exec.
const OURS: i32 = libc::EAGAIN;

/// Whether it was the machine that was out of processes, memory or descriptors, or our variables that made the
/// environment too large (E2BIG), and not the command.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(OURS | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::E2BIG))
}

/// The exit status for a command that can't be run: 127 not found, 126 found but not runnable (env(1)).
pub fn start_failure_status(error: &io::Error) -> i32 {
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

fn keep_over_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: fcntl on a number that the parent keeps open over the fork; FD_CLOEXEC is the only descriptor flag.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Child {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// The next change, or `None` where there is none now.
    pub fn change(&self) -> io::Result<Option<Change>> {
        let mut status = 0;
        let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
        // SAFETY: plain waitpid on our own child. (nix's wrapper fails on a death by a real-time signal.)
        match unsafe { libc::waitpid(self.pid.as_raw(), &mut status, flags) } {
            0 => Ok(None),
            reaped if reaped > 0 => {
                let status = ExitStatus::from_raw(status);
                Ok(Some(match status.stopped_signal() {
                    Some(signal) => Change::Stopped(match signal {
                        libc::SIGTSTP => StopBy::Key,
                        libc::SIGTTIN | libc::SIGTTOU => StopBy::Terminal,
                        _ => StopBy::Force,
                    }),
                    None if status.continued() => Change::Continued,
                    None => Change::Ended(status),
                }))
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Reaps the orphans that have ended; `but`: another child, which is somebody else's to reap: whether it has ended, and must be
    /// for those behind it to be seen.
    pub fn reap_orphans(&self, but: Option<i32>) -> bool {
        loop {
            // SAFETY: all of its fields are integers.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            // SAFETY: the kernel writes one siginfo; nothing is reaped by this.
            if unsafe { libc::waitid(libc::P_ALL, 0, &mut info, flags) } < 0 {
                return false;
            }
            // SAFETY: waitid fills in this part of it, with zero where nobody has ended.
            let pid = unsafe { info.si_pid() };
            if pid == 0 || pid == self.pid() || Some(pid) == but {
                return Some(pid) == but;
            }
            // SAFETY: a child of ours that has ended, and that nobody else waits for.
            if unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) } <= 0 {
                return false; // else it would be seen again and again
            }
        }
    }

    /// Waits for its end, and does nothing else.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            let mut status = 0;
            // SAFETY: plain waitpid on our own child.
            if unsafe { libc::waitpid(self.pid.as_raw(), &mut status, 0) } > 0 {
                return Ok(ExitStatus::from_raw(status));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Tells it to end.
    pub fn terminate(&self) {
        terminate(self.pid());
    }

    /// Passes a signal on to it.
    pub fn pass_on(&self, arrival: &Arrival) {
        // It may have ended just now; then nobody is there to be told.
        let _ = nix::sys::signal::kill(self.pid, arrival.signal);
    }
}

/// Our children in our own session, `but` one: what the command has left running, and not what has made itself a daemon.
pub fn orphans(but: Option<i32>) -> Vec<i32> {
    let own = getsid(None);
    let mut orphans = ancestors::children(Path::new(ancestors::PROC), std::process::id() as i32);
    orphans.retain(|&orphan| Some(orphan) != but && getsid(Some(Pid::from_raw(orphan))) == own);
    orphans
}

/// Tells a process to end.
pub fn terminate(pid: i32) {
    // It may have ended just now; then nobody is there to be told.
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM);
}

/// Ends this process as the command ended: with its status, or by the same signal (a shell loop goes on after exit
/// 130, but not after a death by SIGINT), leaving no core of ours.
pub fn end_as(status: ExitStatus) -> ! {
    if let Some(code) = status.code() {
        std::process::exit(code);
    }
    let signal = status.signal().unwrap_or(libc::SIGKILL);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = nix::sys::prctl::set_dumpable(false);
    // SAFETY: default disposition, unblocked, raised; one thread. Numbers come from the kernel, real-time ones too.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::raise(signal);
    }
    // Still here: pid 1 of a namespace can't be killed by its own signal.
    std::process::exit(128 + signal)
}

/// Stops this process, so that a waiting shell sees a stopped job; returns when it was continued.
pub fn stop_self() {
    let _ = nix::sys::signal::raise(Signal::SIGSTOP);
}
