//! The file in which a proxy writes down its tree, and in which the tree's tools lock the jobs that pay for them.
//!
//! Doesn't know what is written there, nor what a job is. A lock is a POSIX record lock: it belongs to a process, stays with it
//! over exec, isn't inherited by its children, and goes with it however it dies (fcntl(2), "Advisory record locking").

use super::again::{again, fill};
use super::ancestors::{self, pid_namespace};
use super::descriptor::place_high;
use super::{folder, users};
use nix::fcntl::{OFlag, open};
use nix::poll::poll;
use nix::sys::stat::{Mode, SFlag, fstat};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What is written is shorter, and is written whole: who reads sees the old or the new.
const LENGTH: usize = 8192;

/// Locks lie behind the text, each job's at its own place.
const FIRST_LOCK: i64 = LENGTH as i64;

/// The descriptors at which a tool may have inherited its tree's file from the tool that started it.
const INHERITED: std::ops::Range<i32> = 100..116;

/// A proxy's own; unlinked at its end.
#[derive(Debug)]
pub struct TreeFile {
    path: PathBuf,
    file: File,
}

impl TreeFile {
    /// Makes the file of the tree below this process, in `folder`; one that was left by a dead one with its pid is replaced.
    pub fn create(folder: &Path, anchor: i32) -> io::Result<TreeFile> {
        let path = folder.join(name(anchor));
        let _ = std::fs::remove_file(&path);
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let tree = TreeFile { path, file };
        // A umask may have taken our own rights away.
        tree.file.set_permissions(PermissionsExt::from_mode(0o600))?;
        Ok(tree)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it down, in place of what was there.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let mut bytes = text.as_bytes().to_vec();
        if bytes.len() > LENGTH {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        bytes.resize(LENGTH, b' ');
        self.file.write_all_at(&bytes, 0)
    }
}

impl Drop for TreeFile {
    fn drop(&mut self) {
        // Another proxy of the same shell may have put its own there.
        let is_ours = |meta: std::fs::Metadata| fstat(&self.file).is_ok_and(|own| own.st_ino == meta.ino());
        if std::fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The text at `path`, if the file is ours.
pub fn read(path: &Path) -> Option<String> {
    let mut file = File::from(open_own(path, OFlag::O_RDONLY)?);
    let mut bytes = vec![0; LENGTH];
    let length = fill(&mut bytes, |to, _| file.read(to), |_| false).ok()?;
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

/// What `wanted` finds in the text at `path`, as soon as it finds something there; `None`: it doesn't within a tenth of a second.
pub fn await_text<T>(path: &Path, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
    for _ in 0..100 {
        if let Some(found) = wanted(&read(path)?) {
            return Some(found);
        }
        let _ = poll(&mut [], 1u16);
    }
    None
}

/// The file of the tree that hangs from `anchor`, in the first that has one of the folders that are usual for us, and of
/// those that were usual for it: our environment may have lost what names them.
pub fn of_anchor(anchor: i32) -> Option<PathBuf> {
    let name = name(anchor);
    let its = |variable: &str| ancestors::variable_of(Path::new(ancestors::PROC), anchor, variable);
    folder::find(&name, folder::own_variable).or_else(|| folder::find(&name, its))
}

/// A tree's file, to lock jobs in.
#[derive(Debug)]
pub struct Jobs(OwnedFd);

impl Jobs {
    /// Opens the file at `path`, if it is ours. One that was inherited is used again: closing another descriptor of it would
    /// end all locks of this process.
    pub fn open(path: &Path) -> Option<Jobs> {
        let opened = open_own(path, OFlag::O_RDWR)?;
        let this = fstat(&opened).ok()?;
        for number in INHERITED {
            // SAFETY: for a question that the kernel refuses where nothing is open at that number.
            let there = fstat(unsafe { BorrowedFd::borrow_raw(number) });
            if there.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (this.st_dev, this.st_ino)) {
                // Nothing is locked yet, so the other descriptor may be closed.
                // SAFETY: open, and by its place our tree's: nobody in this process has it.
                return Some(Jobs(unsafe { OwnedFd::from_raw_fd(number) }));
            }
        }
        Some(Jobs(place_high(opened).ok()?))
    }

    /// Locks a job for this process, without waiting; false: another process has it.
    pub fn lock(&self, job: i32) -> io::Result<bool> {
        // SAFETY: all of its fields are numbers.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_whence) = (libc::F_WRLCK as i16, libc::SEEK_SET as i16);
        (lock.l_start, lock.l_len) = (FIRST_LOCK + i64::from(job), 1);
        // SAFETY: the kernel reads one flock.
        if unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_SETLK, &lock) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => Ok(false),
            error => Err(error),
        }
    }

    /// To be left open over exec, with its locks.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

fn open_own(path: &Path, access: OFlag) -> Option<OwnedFd> {
    let flags = access | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = again(|| open(path, flags, Mode::empty())).ok()?;
    let stat = fstat(&file).ok()?;
    let is_file = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    (is_file && users::is_own(stat.st_uid) && stat.st_mode & 0o022 == 0).then_some(file)
}

/// A pid names a process in its namespace alone, and sandboxes and containers may share the folder.
fn name(anchor: i32) -> String {
    format!("tree-{}-{anchor}", pid_namespace())
}

/// Whose file has this name; `None`: it is none, or of another pid namespace.
pub fn anchor_of(name: &std::ffi::OsStr) -> Option<i32> {
    let (namespace, pid) = name.to_str()?.strip_prefix("tree-")?.split_once('-')?;
    let is_ours = namespace.parse() == Ok(pid_namespace());
    pid.parse().ok().filter(|&pid| is_ours && pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, fork};

    #[test]
    fn is_read_whole_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let tree = TreeFile::create(folder.path(), 77).unwrap();
        tree.write("a longer text\n").unwrap();
        tree.write("text\n").unwrap();
        assert_eq!(read(tree.path()).unwrap().trim_end(), "text");
        assert!(tree.write(&"x".repeat(LENGTH + 1)).is_err());
        let again = TreeFile::create(folder.path(), 77).unwrap();
        again.write("new").unwrap();
        assert_eq!(read(again.path()).unwrap().trim_end(), "new");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(again.path(), &link).unwrap();
        assert!(read(&link).is_none() && Jobs::open(&link).is_none());
        let path = again.path().to_owned();
        drop(again);
        assert!(!path.exists() && read(&path).is_none());
        assert_eq!(anchor_of(path.file_name().unwrap()), Some(77));
        let others = ["tree-1-77", "tree-77", "tree--77", "tree-x-77", "77"];
        assert_eq!(others.map(|name| anchor_of(name.as_ref())), [None; 5]);
    }

    /// What a child that has a process of its own says.
    fn in_a_child(question: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child makes system calls only, and ends.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let status = i32::from(question());
                // SAFETY: ends the process without running anything of its parent's.
                unsafe { libc::_exit(status) }
            }
            ForkResult::Parent { child } => {
                matches!(waitpid(child, None).unwrap(), nix::sys::wait::WaitStatus::Exited(_, 1))
            }
        }
    }

    #[test]
    fn a_job_is_one_processs_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let tree = TreeFile::create(folder.path(), 78).unwrap();
        let jobs = Jobs::open(tree.path()).unwrap();
        assert!(jobs.lock(5).unwrap() && jobs.lock(5).unwrap(), "its own again");
        // A child has inherited the descriptor, and not the lock.
        let number = jobs.0.as_raw_fd();
        assert!(in_a_child(|| {
            let Some(inherited) = Jobs::open(tree.path()) else { return false };
            inherited.0.as_raw_fd() == number
                && !inherited.lock(5).unwrap_or(true)
                && inherited.lock(6).unwrap_or(false)
        }));
        assert!(jobs.lock(6).unwrap(), "its end has freed it");
        drop(jobs);
        assert!(in_a_child(|| Jobs::open(tree.path()).is_some_and(|jobs| jobs.lock(5).unwrap_or(false))));
    }
}
