//! Signals as readable events, and the signal state that our caller gave us.
//!
//! Doesn't know what is done about a signal.

use super::again::again;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// All that `run` takes note of. Ours alone: USR1 (say a line), CHLD; the others concern the command.
const SIGNALS: [Signal; 12] = [
    Signal::SIGCHLD,
    Signal::SIGUSR1,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
];

/// The signal mask and the one disposition that we change for ourselves, as our caller had them.
#[derive(Clone, Debug)]
pub struct Original {
    mask: SigSet,
    ignores_children: bool,
}

impl Original {
    /// Reads them, first thing of all; from here on a question (SIGUSR1) waits until it can be answered.
    pub fn read() -> io::Result<Original> {
        let mut question = SigSet::empty();
        question.add(Signal::SIGUSR1);
        let mut mask = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&question), Some(&mut mask))?;
        Ok(Original { mask, ignores_children: disposition(Signal::SIGCHLD) == libc::SIG_IGN })
    }

    /// Puts them back, before exec. Async-signal-safe.
    pub(super) fn restore(&self) -> io::Result<()> {
        if self.ignores_children {
            set_child_disposition(libc::SIG_IGN);
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None)?;
        Ok(())
    }
}

/// Signals, blocked and readable here instead.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// What a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A child ended, stopped or goes on.
    ChildChanged,
    /// SIGUSR1: say how things stand.
    Asked,
    /// SIGTSTP: Ctrl-Z, for the command.
    Key,
    /// Whatever it is, it is for the command.
    Plain,
}

/// One signal that came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// What it is about.
    pub kind: Kind,
    /// A key on the terminal, or its size: the whole process group has it.
    pub by_terminal: bool,
    /// Which.
    pub(super) signal: Signal,
}

impl Arrival {
    /// Its number.
    pub fn number(&self) -> i32 {
        self.signal as i32
    }

    /// It is to end who gets it, and nothing else.
    pub fn is_end(&self) -> bool {
        matches!(self.signal, Signal::SIGTERM | Signal::SIGHUP | Signal::SIGINT | Signal::SIGQUIT)
    }
}

impl Signals {
    /// Blocks the signals from here on. One that our caller ignores (nohup's SIGHUP, SIGINT of a background job) stays
    /// ignored and is never seen.
    pub fn take() -> io::Result<Signals> {
        let mut set = SigSet::empty();
        for signal in SIGNALS {
            if signal == Signal::SIGCHLD || disposition(signal) != libc::SIG_IGN {
                set.add(signal);
            }
        }
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
        if disposition(Signal::SIGCHLD) == libc::SIG_IGN {
            // Else the kernel reaps our child, and its status is gone.
            set_child_disposition(libc::SIG_DFL);
        }
        Ok(Signals(descriptor))
    }

    /// The descriptor that becomes readable when a signal came.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits for one, at most so long; a call that was interrupted has waited.
    pub fn wait(&self, most: Duration) -> io::Result<()> {
        let mut signals = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        // Rounded up, lest the last millisecond is spent without waiting.
        let most = most + Duration::from_millis(1);
        match poll(&mut signals, PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives each to `take`, in a thread of their own: whatever the others are busy with.
    pub fn watch(self, mut take: impl FnMut(Arrival) + Send + 'static) -> io::Result<()> {
        let watch = move || {
            loop {
                let _ = self.wait(Duration::from_secs(3600));
                while let Ok(Some(arrival)) = self.next() {
                    take(arrival);
                }
            }
        };
        std::thread::Builder::new().name("jg-signals".to_owned()).spawn(watch).map(drop)
    }

    /// The next signal, or `None`. The error: none will be seen any more.
    pub fn next(&self) -> io::Result<Option<Arrival>> {
        let Some(info) = read(&self.0)? else { return Ok(None) };
        let signal = Signal::try_from(info.ssi_signo as i32)?;
        let kind = match signal {
            Signal::SIGCHLD => Kind::ChildChanged,
            Signal::SIGUSR1 => Kind::Asked,
            Signal::SIGTSTP => Kind::Key,
            _ => Kind::Plain,
        };
        // A hang-up is told to the leader of the session alone, with a SIGCONT: where no shell is between, that is us.
        let is_hang_up = matches!(signal, Signal::SIGHUP | Signal::SIGCONT);
        Ok(Some(Arrival { kind, by_terminal: info.ssi_code > 0 && !is_hang_up, signal }))
    }
}

/// The next one that waits there.
fn read(descriptor: &SignalFd) -> io::Result<Option<libc::signalfd_siginfo>> {
    Ok(again(|| descriptor.read_signal())?)
}

/// What a server is told by signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerSignal {
    /// SIGHUP.
    Reload,
    /// SIGTERM, SIGINT.
    End,
}

/// A server's signals, blocked and readable here instead.
#[derive(Debug)]
pub struct ServerSignals(SignalFd);

impl ServerSignals {
    /// Blocks them from here on. A client that went away is no reason to die of SIGPIPE: Rust's start-up ignores it.
    pub fn take() -> io::Result<ServerSignals> {
        let mut set = SigSet::empty();
        [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT].into_iter().for_each(|signal| set.add(signal));
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
        Ok(ServerSignals(descriptor))
    }

    /// The descriptor that becomes readable when a signal came.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next signal, or `None`. The error: none will be seen any more.
    pub fn next(&self) -> io::Result<Option<ServerSignal>> {
        let Some(info) = read(&self.0)? else { return Ok(None) };
        let reload = info.ssi_signo == Signal::SIGHUP as u32;
        Ok(Some(if reload { ServerSignal::Reload } else { ServerSignal::End }))
    }
}

/// All dispositions default, nothing blocked: as init would start a program. Async-signal-safe.
pub(super) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is no handler; numbers that can't be changed fail without harm.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

fn disposition(signal: Signal) -> libc::sighandler_t {
    // SAFETY: with a null new action sigaction(2) only writes the present one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal as i32, std::ptr::null(), &mut action);
        action.sa_sigaction
    }
}

fn set_child_disposition(disposition: libc::sighandler_t) {
    // SAFETY: SIG_DFL and SIG_IGN are no handlers: no code of ours runs on the signal.
    unsafe { libc::signal(libc::SIGCHLD, disposition) };
}
