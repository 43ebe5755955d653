//! The fifo of one tree, and what can be learnt of it without taking part.
//!
//! Doesn't know how many tokens there should be. It is held **write-only**: then POLLERR on our descriptor says that
//! no process has it open for reading, and the edge comes 1-5 ms after the last one died (make 4.4.1 and ninja).

use super::again::again;
use super::ancestors::pid_namespace;
use super::descriptor::{place_high, read_tokens, reopen, standing, write_tokens};
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The least capacity that can't block a tool's return: below 4096 tokens the bytes never span more than two pages.
const LEAST_CAPACITY: i32 = 8192;

/// A fifo held open, and unlinked at the end.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    /// Ours, and the tree's keeper: with it inherited, a tool of the tree can still open the fifo when we are gone.
    writer: OwnedFd,
    /// Takings and closings, in their order; `None` before one is kept, and where the user's inotify instances are used up.
    record: Option<Inotify>,
}

impl Fifo {
    /// Makes a fifo in `folder`, mode 0600, and opens it.
    ///
    /// It gets its name only once it is held: a fifo with a name that nobody holds is an abandoned one.
    pub fn new(folder: &Path) -> io::Result<Fifo> {
        let pid = std::process::id();
        let unnamed = folder.join(format!("run-{}-{pid}.new", pid_namespace()));
        let _ = std::fs::remove_file(&unnamed);
        nix::unistd::mkfifo(&unnamed, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let named = Fifo::open_and_name(folder, pid, &unnamed);
        if named.is_err() {
            let _ = std::fs::remove_file(&unnamed);
        }
        named
    }

    fn open_and_name(folder: &Path, pid: u32, unnamed: &Path) -> io::Result<Fifo> {
        std::fs::set_permissions(unnamed, PermissionsExt::from_mode(0o600))?;
        // Without a reader it can't be opened for writing only.
        let open = |access: OFlag| {
            let flags = access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            again(|| open(unnamed, flags, Mode::empty()))
        };
        let both = open(OFlag::O_RDWR)?;
        let writer = place_high(open(OFlag::O_WRONLY)?)?;
        if fcntl(&both, FcntlArg::F_GETPIPE_SZ)? < LEAST_CAPACITY {
            // Refused above the user's pipe quota (pipe(7)); one page then serves all but very long runs.
            let _ = fcntl(&both, FcntlArg::F_SETPIPE_SZ(LEAST_CAPACITY));
        }
        // A living tree whose proxy had our pid may still use the first names.
        let mut names = (0..).map(|number| folder.join(name(pid, number)));
        let path = names.find(|path| !path.exists()).expect("numbers don't end");
        std::fs::rename(unnamed, &path)?;
        Ok(Fifo { path, writer, record: None })
    }

    /// Keeps a record from here on, where that can be had. Not from the start: the kernel takes 10 ms to end one, which a run of
    /// some milliseconds needn't pay.
    pub fn keep_record(&mut self) {
        let kept = AddWatchFlags::IN_ACCESS | AddWatchFlags::IN_CLOSE;
        // In a fifo that can be full the deserted event may come for another reason, and the record would mislead.
        let is_roomy =
            fcntl(&self.writer, FcntlArg::F_GETPIPE_SZ).is_ok_and(|size| size > 2 * LEAST_CAPACITY);
        let record = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        self.record = record.filter(|record| is_roomy && record.add_watch(&self.path, kept).is_ok());
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the tree inherits.
    pub fn inherited(&self) -> [BorrowedFd<'_>; 1] {
        [self.writer.as_fd()]
    }

    /// The descriptor with an edge when the last process that had the fifo open for reading has closed it.
    pub fn deserted_event(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// Whether no process has it open for reading now.
    pub fn is_deserted(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.writer.as_fd(), PollFlags::empty())];
        poll(&mut fds, PollTimeout::ZERO)?;
        Ok(fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)))
    }

    /// How many bytes stand in it.
    pub fn standing(&self) -> io::Result<u32> {
        standing(&self.writer)
    }

    /// Puts tokens in: how many there was room for. It is opened for reading, too, for the time of the write, which
    /// would end in EPIPE where no tool has it open.
    pub fn offer(&self, tokens: u32) -> io::Result<u32> {
        write_tokens(self.open_again(OFlag::O_RDWR)?, tokens)
    }

    /// Opens it for reading, to take tokens out as a tool would.
    pub fn reader(&self) -> io::Result<Reader> {
        Ok(Reader(self.open_again(OFlag::O_RDONLY)?))
    }

    /// Through our descriptor where there is a /proc, for somebody may have unlinked the name (a cleaner of temporary
    /// folders); the tools that have it open go on with it.
    fn open_again(&self, access: OFlag) -> io::Result<OwnedFd> {
        let flags = access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        reopen(&self.writer, access).or_else(|_| Ok(again(|| open(&self.path, flags, Mode::empty()))?))
    }

    /// The descriptor that is readable while the record has entries: somebody took a token, or closed the fifo.
    pub fn touched_event(&self) -> Option<BorrowedFd<'_>> {
        self.record.as_ref().map(AsFd::as_fd)
    }

    /// Empties the record. True if, since this was last called, somebody closed the fifo and nobody took anything after
    /// any closing; false also where that isn't known.
    ///
    /// It decides what a deserted event means when somebody has opened the fifo again before we came to look: if nothing
    /// was taken after a closing, nothing was taken after the last of the old tools was gone, so all that is missing
    /// went with them. The kernel merges equal entries that follow each other, so the record stays short.
    pub fn only_closed(&self) -> bool {
        let Some(record) = &self.record else { return false };
        let (mut closed, mut taken_after) = (false, false);
        while let Ok(entries) = record.read_events() {
            for entry in entries {
                if entry.mask.intersects(AddWatchFlags::IN_CLOSE) {
                    closed = true;
                } else {
                    // A taking, or the kernel's word that it had to drop entries.
                    taken_after |= closed || !entry.mask.contains(AddWatchFlags::IN_ACCESS);
                }
            }
        }
        closed && !taken_after
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The fifo open for reading; while it is, the deserted event can't come.
#[derive(Debug)]
pub struct Reader(OwnedFd);

impl Reader {
    /// Takes up to so many tokens: how many stood there.
    pub fn withdraw(&self, tokens: u32) -> io::Result<u32> {
        read_tokens(&self.0, tokens)
    }

    /// The descriptor with an edge when a token was returned.
    pub fn returned_event(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a fifo is called. A pid names a process in its namespace alone, and containers may share the folder: two may make one at
/// the same time.
fn name(pid: u32, number: u32) -> String {
    format!("run-{}-{pid}-{number}.fifo", pid_namespace())
}

/// Who made a fifo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The process of this pid.
    Here(i32),
    /// One of another pid namespace.
    Elsewhere,
}

/// Who made the fifo of this name; `None`: it isn't one of ours.
pub fn maker_of(name: &OsStr) -> Option<Maker> {
    let numbers = name.to_str()?.strip_prefix("run-")?.strip_suffix(".fifo")?;
    let mut numbers = numbers.splitn(3, '-').map(|number| number.parse::<u64>().ok());
    let (namespace, pid, _) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let pid = i32::try_from(pid).ok().filter(|&pid| pid > 0)?;
    Some(if namespace == pid_namespace() { Maker::Here(pid) } else { Maker::Elsewhere })
}

/// Whether nobody holds the fifo at `path` for writing: every proxy does, and leaves a keeper in every process of its
/// tree. Works across pid namespaces, where a pid in the name would say nothing.
pub fn is_abandoned(path: &Path) -> bool {
    let is_fifo = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_fifo());
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Some(reader) = is_fifo.then(|| again(|| open(path, flags, Mode::empty())).ok()).flatten() else {
        return false;
    };
    // Bytes vanish with the last one who holds it: where some stand it is held. Nothing to read at all (EAGAIN): held
    // too; end of file: nobody.
    if !matches!(standing(&reader), Ok(0)) {
        return false;
    }
    let mut byte = [0];
    match again(|| nix::unistd::read(&reader, &mut byte)) {
        Ok(0) => true,
        Ok(_) => {
            // Somebody returned a token in this very moment: it goes back.
            let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let _ = again(|| open(path, flags, Mode::empty())).map(|writer| write_tokens(writer, 1));
            false
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_while_nobody_reads_and_desertion_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = Fifo::new(folder.path()).unwrap();
        assert_eq!(fifo.offer(5).unwrap(), 5);
        assert!(fifo.is_deserted().unwrap());
        let reader = fifo.reader().unwrap();
        assert!(!fifo.is_deserted().unwrap());
        assert_eq!(reader.withdraw(3).unwrap(), 3);
        drop(reader);
        assert!(fifo.is_deserted().unwrap());
        assert_eq!(fifo.standing().unwrap(), 2);
    }

    #[test]
    fn an_unlinked_fifo_still_works() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = Fifo::new(folder.path()).unwrap();
        std::fs::remove_file(fifo.path()).unwrap();
        assert_eq!(fifo.offer(2).unwrap(), 2);
        assert_eq!(fifo.reader().unwrap().withdraw(9).unwrap(), 2);
    }

    #[test]
    fn names_tell_who_made_it() {
        assert_eq!(maker_of(OsStr::new(&name(77, 3))), Some(Maker::Here(77)));
        assert_eq!(maker_of(OsStr::new("run-1-77-3.fifo")), Some(Maker::Elsewhere));
        for other in [
            "run-1-77.new",
            "run-1-x-0.fifo",
            "run-1-0-0.fifo",
            "run-1--1-0.fifo",
            "run-77-0.fifo",
            "other.fifo",
            "",
        ] {
            assert_eq!(maker_of(OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn only_what_nobody_holds_is_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = Fifo::new(folder.path()).unwrap();
        assert!(!is_abandoned(fifo.path()));
        fifo.offer(1).unwrap();
        assert!(!is_abandoned(fifo.path()));
        assert_eq!(fifo.standing().unwrap(), 1, "looking takes nothing");
        let [living, dead] = [1, i32::MAX as u32].map(|pid| folder.path().join(name(pid, 0)));
        for left in [&living, &dead] {
            nix::unistd::mkfifo(left, Mode::S_IRWXU).unwrap();
        }
        super::super::folder::clear_abandoned(folder.path());
        assert!(!dead.exists() && living.exists() && fifo.path().exists());
        let path = fifo.path().to_owned();
        drop(fifo);
        assert!(!path.exists());
    }

    #[test]
    fn the_record_tells_takings_after_a_closing() {
        let folder = tempfile::tempdir().unwrap();
        let mut fifo = Fifo::new(folder.path()).unwrap();
        fifo.keep_record();
        fifo.offer(5).unwrap();
        fifo.only_closed();
        let touched = || {
            let mut fds = [PollFd::new(fifo.touched_event().unwrap(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
        };
        let take = |reader: &Reader| assert_eq!(reader.withdraw(1).unwrap(), 1);
        let first = fifo.reader().unwrap();
        assert!(!touched() && !fifo.only_closed(), "opening it isn't recorded");
        take(&first);
        assert!(touched() && !fifo.only_closed() && !touched());
        take(&first);
        drop(first);
        let second = fifo.reader().unwrap();
        assert!(fifo.only_closed(), "taken, then closed");
        drop(fifo.reader().unwrap());
        take(&second);
        assert!(!fifo.only_closed(), "closed, then taken");
    }
}
