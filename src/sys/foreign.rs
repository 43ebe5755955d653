//! A jobserver that isn't ours, as an honest client sees it: takes tokens without waiting, and gives back what it took.
//!
//! Doesn't know how many tokens there are, or what they are for. Touches nothing that others see: it has descriptions of
//! its own, so no flag of theirs changes, and all of it is close-on-exec.

use super::again::again;
use super::descriptor::{place_high, reopen};
use super::{ancestors, users};
use crate::proto::makeflags::Inherited;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// A foreign jobserver held open. What was taken and not given back goes back when it is dropped.
///
/// While this lives it keeps the pool open for writing, so the death of the pool's owner doesn't show; and a make that
/// owns a pipe reads it to the end of file when it is done. So it mustn't outlive what it is needed for.
#[derive(Debug)]
pub struct Foreign {
    reader: OwnedFd,
    writer: OwnedFd,
    /// The bytes taken, as they came: the same ones are to be returned (GNU make manual, "POSIX Jobserver Interaction").
    taken: Vec<u8>,
}

impl Foreign {
    /// Opens the jobserver that `inherited` names, without waiting. Needs /proc for a pipe.
    ///
    /// Fails where it isn't there (no such file; make closes the descriptors for recipes that aren't recursive), where it
    /// isn't one (no pipe or fifo, or not open in that direction), and where it is dead: nothing stands in it, and nobody
    /// could put anything there. The error names the descriptor or the path.
    pub fn open(inherited: &Inherited) -> io::Result<Foreign> {
        let (reader, writer) = open_ends(inherited).map_err(|(name, error)| named(&name, &error))?;
        Ok(Foreign { reader, writer, taken: Vec::new() })
    }

    /// Whether it could be opened, or couldn't for want of descriptors or memory alone: then it is there, for others.
    pub fn is_there(inherited: &Inherited) -> bool {
        let is_shortage = |error: io::Error| {
            matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
        };
        open_ends(inherited).map_or_else(|(_, error)| is_shortage(error), |_| true)
    }

    /// Opens the pipes that the process `proxy`, which started at `start` (clock ticks since boot), has at these numbers, for one
    /// that hasn't inherited them: four descriptors, high and close-on-exec, R and W first, then their other ends, which keep
    /// them alive.
    ///
    /// Another process that has got its pid meanwhile, or one of another user's, is refused.
    pub fn reach(proxy: i32, start: u64, read: i32, write: i32) -> io::Result<[OwnedFd; 4]> {
        let process = ancestors::Process::open(proxy)?;
        if process.start() != Some(start) || !users::is_own(process.owner()?) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let end = |number: i32, access: OFlag| {
            let flags = access | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
            let pipe = process.open_descriptor(number, flags)?;
            check_fifo(fstat(&pipe)?.st_mode)?;
            // Its tools expect ends that wait.
            fcntl(&pipe, FcntlArg::F_SETFL(OFlag::empty()))?;
            place_high(pipe)
        };
        Ok([
            end(read, OFlag::O_RDONLY)?,
            end(write, OFlag::O_WRONLY)?,
            end(read, OFlag::O_WRONLY)?,
            end(write, OFlag::O_RDONLY)?,
        ])
    }

    /// Waits up to `most` until a token may stand there.
    pub fn wait(&self, most: Duration) {
        let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)], most);
    }

    /// Takes one token, if one stands there: one read of one byte, without waiting.
    ///
    /// The end of file is an error (a pipe's owner is gone), for it would be readable for ever.
    pub fn take(&mut self) -> io::Result<bool> {
        let mut byte = [0];
        loop {
            match nix::unistd::read(&self.reader, &mut byte) {
                Ok(0) => return Err(nobody_writes()),
                Ok(_) => {
                    self.taken.push(byte[0]);
                    return Ok(true);
                }
                Err(nix::Error::EAGAIN) => return Ok(false),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives back up to `count` tokens of those that were taken, the newest first, without waiting.
    ///
    /// After an error the rest is still held: `WouldBlock` where there is no room, `BrokenPipe` where nobody is left to
    /// take them.
    pub fn give_back(&mut self, count: u32) -> io::Result<()> {
        for _ in 0..count {
            let Some(&byte) = self.taken.last() else { break };
            write_byte(&self.writer, byte)?;
            self.taken.pop();
        }
        Ok(())
    }

    /// How many tokens were taken and not given back.
    pub fn have(&self) -> u32 {
        u32::try_from(self.taken.len()).unwrap_or(u32::MAX)
    }

    /// The descriptor with an edge when a token came; others may have taken it before we do.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Gives back all and lets go of it.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // Where that fails nobody waits for them, or there is no room for what was taken out of it.
        let _ = self.give_back(u32::MAX);
    }
}

/// Both ends; an error has the name of what couldn't be opened.
fn open_ends(inherited: &Inherited) -> Result<(OwnedFd, OwnedFd), (String, io::Error)> {
    match inherited {
        Inherited::Pipe { read, write } => {
            let called = |number: i32| move |error| (format!("descriptor {number}"), error);
            let reader = open_number(*read, OFlag::O_RDONLY).and_then(alive).map_err(called(*read))?;
            Ok((reader, open_number(*write, OFlag::O_WRONLY).map_err(called(*write))?))
        }
        Inherited::Fifo(path) => open_path(path).map_err(|error| (path.display().to_string(), error)),
    }
}

/// A description of our own of the pipe (or fifo) behind an inherited number, if that is open for `access`.
fn open_number(number: i32, access: OFlag) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the kernel refuses a number that isn't open.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: F_DUPFD_CLOEXEC has just made this descriptor; nobody else owns it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    check_fifo(fstat(&copy)?.st_mode)?;
    let flags = OFlag::from_bits_retain(fcntl(&copy, FcntlArg::F_GETFL)?);
    let is_open_for = flags & OFlag::O_ACCMODE;
    if flags.contains(OFlag::O_PATH) || (is_open_for != access && is_open_for != OFlag::O_RDWR) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not open in that direction"));
    }
    reopen(&copy, access)
}

/// Both ends of the fifo at `path`.
fn open_path(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    // Opening a device may do something; so it is named first and looked at, and then that very file is opened.
    let named = again(|| open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()))?;
    check_fifo(fstat(&named)?.st_mode)?;
    // By the path where there is no /proc.
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let end = |access| {
        reopen(&named, access)
            .or_else(|_| Ok::<_, io::Error>(again(|| open(path, access | flags, Mode::empty()))?))
    };
    let reader = end(OFlag::O_RDONLY)?;
    check_fifo(fstat(&reader)?.st_mode)?;
    let reader = alive(reader)?;
    let writer = end(OFlag::O_WRONLY)?;
    check_fifo(fstat(&writer)?.st_mode)?;
    Ok((reader, writer))
}

fn check_fifo(mode: libc::mode_t) -> io::Result<()> {
    if SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFIFO {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a pipe nor a fifo"))
}

/// Refuses a pipe that is empty and open for writing nowhere. Nothing is taken for that: tee(2) copies the first byte, and
/// tells the end of file (0) from waiting (EAGAIN).
fn alive(reader: OwnedFd) -> io::Result<OwnedFd> {
    let (_copied, copy) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: two open descriptors and no pointers.
    match unsafe { libc::tee(reader.as_raw_fd(), copy.as_raw_fd(), 1, libc::SPLICE_F_NONBLOCK) } {
        0 => Err(nobody_writes()),
        // Where a sandbox knows no tee(2) the first taking tells.
        _ => Ok(reader),
    }
}

fn nobody_writes() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "nobody holds it open for writing")
}

/// Writes one byte without waiting.
fn write_byte(writer: &OwnedFd, byte: u8) -> io::Result<()> {
    loop {
        match nix::unistd::write(writer, &[byte]) {
            Ok(_) => return Ok(()),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn named(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::descriptor::standing;
    use super::super::fifo::Fifo;
    use super::*;
    use nix::unistd::{mkfifo, pipe2, read, write};
    use std::sync::mpsc;

    /// Runs a test in a thread: a call that waits for ever must fail it, not hang it.
    fn in_time(test: impl FnOnce() + Send + 'static) {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            test();
            let _ = sender.send(());
        });
        receiver.recv_timeout(Duration::from_secs(20)).expect("it neither fails nor waits");
    }

    fn pipe_of(reader: &OwnedFd, writer: &OwnedFd) -> Inherited {
        Inherited::Pipe { read: reader.as_raw_fd(), write: writer.as_raw_fd() }
    }

    /// Waits until nobody has the other end open: tests beside this one fork, and a child has copies until it execs.
    fn await_gone(end: impl AsFd) {
        let mut fds = [PollFd::new(end.as_fd(), PollFlags::empty())];
        assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1), "the other end was closed");
    }

    /// A pipe as a make has it: blocking, with these tokens in it.
    fn pool(tokens: &[u8]) -> (OwnedFd, OwnedFd) {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        write(&writer, tokens).unwrap();
        (reader, writer)
    }

    /// What stands there now, taken out.
    fn drain(reader: &OwnedFd) -> Vec<u8> {
        let mut bytes = vec![0; standing(reader).unwrap() as usize];
        if !bytes.is_empty() {
            read(reader, &mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn returns_the_bytes_it_took_newest_first() {
        in_time(|| {
            let (reader, writer) = pool(b"abc");
            let mut foreign = Foreign::open(&pipe_of(&reader, &writer)).unwrap();
            assert_eq!((foreign.have(), standing(&reader).unwrap()), (0, 3), "opening takes nothing");
            for (taken, have) in [(true, 1), (true, 2), (true, 3), (false, 3), (false, 3)] {
                assert_eq!((foreign.take().unwrap(), foreign.have()), (taken, have));
            }
            foreign.give_back(0).unwrap();
            assert_eq!(foreign.have(), 3);
            foreign.give_back(1).unwrap();
            assert_eq!((foreign.have(), drain(&reader)), (2, b"c".to_vec()));
            foreign.give_back(9).unwrap();
            assert_eq!((foreign.have(), drain(&reader)), (0, b"ba".to_vec()), "no more than it took");
        });
    }

    #[test]
    fn what_it_has_goes_back_at_the_end() {
        in_time(|| {
            let (reader, writer) = pool(b"+++");
            let mut foreign = Foreign::open(&pipe_of(&reader, &writer)).unwrap();
            assert!(foreign.take().unwrap() && foreign.take().unwrap());
            assert_eq!(standing(&reader).unwrap(), 1);
            foreign.close();
            assert_eq!(drain(&reader), b"+++");
            // The pool's owner reads to the end of file when it is done: no copy of the writing end is left.
            drop(writer);
            await_gone(&reader);
        });
    }

    #[test]
    fn nothing_that_others_see_is_changed() {
        in_time(|| {
            let (reader, writer) = pool(b"+");
            let flags = || [&reader, &writer].map(|end| fcntl(end, FcntlArg::F_GETFL).unwrap());
            let before = flags();
            let mut foreign = Foreign::open(&pipe_of(&reader, &writer)).unwrap();
            assert!(foreign.take().unwrap());
            assert_eq!(flags(), before);
            assert_eq!(before.map(|flags| flags & OFlag::O_NONBLOCK.bits()), [0, 0]);
            for own in [&foreign.reader, &foreign.writer] {
                assert_eq!(fcntl(own, FcntlArg::F_GETFD).unwrap(), libc::FD_CLOEXEC);
                assert_ne!(fcntl(own, FcntlArg::F_GETFL).unwrap() & OFlag::O_NONBLOCK.bits(), 0);
            }
        });
    }

    #[test]
    fn joins_a_fifo_that_nobody_reads_yet() {
        in_time(|| {
            let folder = tempfile::tempdir().unwrap();
            let fifo = Fifo::new(folder.path()).unwrap();
            let mut foreign = Foreign::open(&Inherited::Fifo(fifo.path().to_owned())).unwrap();
            let is_ready = |foreign: &Foreign| {
                let mut fds = [PollFd::new(foreign.event(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
            };
            assert!(!foreign.take().unwrap() && !is_ready(&foreign));
            fifo.offer(3).unwrap();
            assert!(is_ready(&foreign));
            assert!(foreign.take().unwrap() && foreign.take().unwrap());
            assert_eq!(
                (foreign.have(), fifo.standing().unwrap(), fifo.is_deserted().unwrap()),
                (2, 1, false)
            );
            drop(foreign);
            assert_eq!(fifo.standing().unwrap(), 3);
            await_gone(fifo.deserted_event());
        });
    }

    #[test]
    fn what_is_no_jobserver_is_refused() {
        in_time(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            std::fs::write(path("file"), "++").unwrap();
            let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
            mkfifo(&path("dead"), Mode::S_IRWXU).unwrap();
            let file = OwnedFd::from(std::fs::File::open(path("file")).unwrap());
            let (reader, writer) = pool(b"+");
            let (orphan, nobodys) = pool(b"");
            drop(nobodys);
            await_gone(&orphan);
            let number_only = open(&path("dead"), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
            let pipe = |read, write| Inherited::Pipe { read, write };
            let (r, w) = (reader.as_raw_fd(), writer.as_raw_fd());
            // Above any limit of descriptors, so no test beside this one has it open.
            let closed = i32::MAX;
            let fifo = |name| Inherited::Fifo(path(name));
            let rows = [
                (pipe(closed, w), format!("descriptor {closed}: Bad file descriptor")),
                (pipe(r, closed), format!("descriptor {closed}: Bad file descriptor")),
                (pipe(-1, w), "descriptor -1: Bad file descriptor".into()),
                (pipe(w, w), format!("descriptor {w}: not open in that direction")),
                (pipe(r, r), format!("descriptor {r}: not open in that direction")),
                (pipe(file.as_raw_fd(), w), format!("descriptor {}: neither", file.as_raw_fd())),
                (pipe(orphan.as_raw_fd(), w), format!("descriptor {}: nobody holds it", orphan.as_raw_fd())),
                (
                    pipe(number_only.as_raw_fd(), w),
                    format!("descriptor {}: not open", number_only.as_raw_fd()),
                ),
                (fifo("missing"), format!("{}: No such file", path("missing").display())),
                (fifo("file"), format!("{}: neither a pipe nor a fifo", path("file").display())),
                (fifo("socket"), format!("{}: neither a pipe nor a fifo", path("socket").display())),
                (fifo("."), format!("{}: neither a pipe nor a fifo", path(".").display())),
                (fifo("dead"), format!("{}: nobody holds it open for writing", path("dead").display())),
            ];
            for (inherited, error) in rows {
                let found = Foreign::open(&inherited).expect_err("it isn't one").to_string();
                assert!(found.contains(&error), "{found} for {inherited:?}");
            }
            assert_eq!(drain(&reader), b"+");
        });
    }

    #[test]
    fn an_owner_that_dies_later_is_an_error() {
        in_time(|| {
            let (takes, offers) = pool(b"+");
            let (comes_back, returns) = pool(b"");
            let mut foreign = Foreign::open(&pipe_of(&takes, &returns)).unwrap();
            assert!(foreign.take().unwrap());
            drop((offers, comes_back));
            await_gone(&takes);
            await_gone(&returns);
            let errors =
                [foreign.take().map(drop), foreign.give_back(1)].map(|done| done.unwrap_err().kind());
            assert_eq!(errors, [io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe]);
            assert_eq!(foreign.have(), 1);
        });
    }

    #[test]
    fn a_full_pipe_is_not_waited_for() {
        in_time(|| {
            let (takes, _offers) = pool(b"ab");
            let (comes_back, returns) = pool(b"");
            fcntl(&returns, FcntlArg::F_SETPIPE_SZ(1)).unwrap();
            let mut foreign = Foreign::open(&pipe_of(&takes, &returns)).unwrap();
            assert!(foreign.take().unwrap() && foreign.take().unwrap());
            while write_byte(&foreign.writer, b'x').is_ok() {}
            let error = foreign.give_back(2).unwrap_err().kind();
            assert_eq!((error, foreign.have()), (io::ErrorKind::WouldBlock, 2));
            drain(&comes_back);
            foreign.give_back(2).unwrap();
            assert_eq!((foreign.have(), drain(&comes_back)), (0, b"ba".to_vec()));
        });
    }

    #[test]
    fn pipes_are_reached_in_the_process_that_was_meant_and_in_no_other() {
        use std::os::unix::process::CommandExt;
        use std::process::{Command, Stdio};
        in_time(|| {
            let start = |uid: Option<u32>| {
                let mut command = Command::new("cat");
                if let Some(uid) = uid {
                    command.uid(uid);
                }
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
            };
            let reach = |pid: u32, later: u64| {
                let since = ancestors::start_of(pid as i32).unwrap() + later;
                Foreign::reach(pid as i32, since, 0, 1).is_ok()
            };
            let mut ours = start(None);
            assert!(reach(ours.id(), 0));
            assert!(!reach(ours.id(), 1), "another process, which has got its pid");
            drop(ours.stdin.take());
            ours.wait().unwrap();
            if users::own_uid() == 0 {
                let mut theirs = start(Some(4_000_000_001));
                assert!(!reach(theirs.id(), 0));
                drop(theirs.stdin.take());
                theirs.wait().unwrap();
            }
        });
    }
}
