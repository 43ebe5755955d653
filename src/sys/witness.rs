//! A process that knows whether a signal went to our whole process group or to us alone.
//!
//! Doesn't know what is done about it. The kernel doesn't tell a receiver: `kill -TERM PID` and `kill -TERM -PGID`
//! look the same. A signal to the group has reached the command already; passing it on would be a second SIGTERM,
//! which kills a make that is about to delete its half-built targets after the first (make resets the disposition in
//! `fatal_error_signal`). `timeout` and bitbake both signal groups. The witness shares our group, blocks everything,
//! and looks at its own pending signals when asked.

use super::again::again;
use super::notify::Arrival;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use std::cell::Cell;
use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The name of its process.
pub const WITNESS: &CStr = c"jg-witness";

/// An answer takes two switches between processes; a machine so busy that this passes is told "us alone".
const PATIENCE: Duration = Duration::from_millis(200);

/// See the module. Ends with us.
#[derive(Debug)]
pub struct Witness {
    pid: Pid,
    line: UnixStream,
    /// The number of the last question.
    asked: Cell<u8>,
}

impl Witness {
    /// Forks it. To be called while this process has one thread.
    pub fn start() -> io::Result<Witness> {
        let (ours, its) = UnixStream::pair()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        let parent = std::process::id();
        // SAFETY: one thread, so the child may do anything; it never returns from `testify`.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Witness { pid: child, line: ours, asked: Cell::new(0) }),
            ForkResult::Child => testify(its, parent),
        }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Whether the signal, just received, went to the whole group.
    pub fn saw(&self, arrival: &Arrival) -> bool {
        self.ask(arrival.signal).unwrap_or(false)
    }

    fn ask(&self, signal: Signal) -> io::Result<bool> {
        let number = self.asked.get().wrapping_add(1);
        self.asked.set(number);
        let mut line = &self.line;
        line.write_all(&[number, signal as u8])?;
        loop {
            let mut answer = [0; 2];
            line.read_exact(&mut answer)?;
            // Others are answers that came too late.
            if answer[0] == number {
                return Ok(answer[1] == 1);
            }
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // It ends by either: where the one fails, the other doesn't.
        let _ = self.line.shutdown(Shutdown::Both);
        let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
        let _ = again(|| waitpid(self.pid, None));
    }
}

/// The witness's whole life.
fn testify(mut line: UnixStream, parent: u32) -> ! {
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
    name_it(WITNESS);
    // Nobody must wait for us at the other end of an inherited pipe.
    close_all_but(line.as_raw_fd());
    if std::os::unix::process::parent_id() == parent {
        let mut question = [0; 2];
        while line.read_exact(&mut question).is_ok() {
            let [number, signal] = question;
            let answer = [number, u8::from(consume(i32::from(signal)))];
            if line.write_all(&answer).is_err() {
                break;
            }
        }
    }
    // SAFETY: ends the process without running anything of its parent's.
    unsafe { libc::_exit(0) }
}

/// Takes another name, in both places: `killall jobgate` and `pkill -f 'jobgate run'` mean our parent, and would tell us
/// the same.
pub(super) fn name_it(name: &CStr) {
    let _ = nix::sys::prctl::set_name(name);
    // proc(5), /proc/pid/stat: arg_start and arg_end are fields 48 and 49; the name in field 2 may hold anything.
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    let Some((_, fields)) = stat.rsplit_once(')') else { return };
    let mut fields = fields.split_ascii_whitespace().skip(45).map_while(|field| field.parse::<usize>().ok());
    if let (Some(start), Some(end)) = (fields.next(), fields.next()) {
        let length = end.saturating_sub(start);
        // SAFETY: the kernel says that our arguments lie there, in our own writable stack; nothing reads them any more.
        unsafe { std::ptr::write_bytes(start as *mut u8, 0, length) };
    }
}

/// Whether the signal is pending; it isn't any more afterwards.
fn consume(signal: i32) -> bool {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a set of one signal, a zero timeout, no siginfo wanted.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::sigtimedwait(&set, std::ptr::null_mut(), &now) == signal
    }
}

pub(super) fn close_all_but(kept: i32) {
    let close_range = |first: i32, last: u32| {
        // SAFETY: closes numbers only; this process uses none of them any more. As a raw call, for libc's wrapper isn't
        // everywhere. Before Linux 5.9 it fails, and the descriptors stay open as long as the wrapped command's do.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }
    };
    if kept > 0 {
        close_range(0, kept as u32 - 1);
    }
    close_range(kept + 1, u32::MAX);
}
