//! A place in the kernel's scheduling for a process that runs seldom, shortly, and wants to run at once.
//!
//! Doesn't know what for. Needs no privilege and takes no cpu time from anybody: it is about when, not how much.

use std::io;
use std::mem::size_of;

/// The shortest slice that the kernel takes.
const SLICE_NS: u64 = 100_000;

/// Asks for the shortest slice: since Linux 6.12 a waking process with a shorter slice may interrupt one with a longer
/// (`PREEMPT_SHORT`); before, nothing changes. To be called after the command was started, which would inherit it.
///
/// Measured once each, make 4.4.1 with eight 0.2 s jobs on 2 cpus: a parked reader had 7 of 7 tokens after 0.03 s instead
/// of 1.4 s where the jobs slept, after 0.2 s instead of 0.4 s where they kept both cpus busy.
pub fn prefer_promptness() -> io::Result<()> {
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: all of its fields are integers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most `size` bytes into the structure; 0 is this process.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &mut attributes, size, 0) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        // Somebody chose another policy for this build, and us.
        return Ok(());
    }
    attributes.size = size;
    attributes.sched_runtime = SLICE_NS;
    // SAFETY: the kernel reads `size` bytes of the structure.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &attributes, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
