//! A server's hold on the name of its socket: that the name was taken away is seen by the server, and that a server without a
//! name lives is seen by whoever would start another.
//!
//! Doesn't know what is said over the socket. Cleaners of temporary folders, and people, remove sockets that are in use; two
//! gates in the place of one would hand out twice the limit.

use super::again::again;
use super::socket;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket as sys_socket};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub struct SocketName {
    socket: PathBuf,
    /// The file that has the name as long as it is ours.
    identity: Option<(u64, u64)>,
    /// Its permissions, and those of its folder.
    mode: u32,
    folder_mode: u32,
    watch: Inotify,
    watched: Option<WatchDescriptor>,
    /// Locked while we serve; `None`: it can't be, or isn't to be any more.
    alive: Option<File>,
}

/// Whose the name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Ours, as before.
    Ours,
    /// Nobody's who listens.
    Nobodys,
    /// Another server's.
    Anothers,
}

impl SocketName {
    /// Takes hold of the name of a socket that listens. The error: it can't be watched.
    pub fn hold(socket: &Path) -> io::Result<SocketName> {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mode_of = |path: &Path| std::fs::symlink_metadata(path).map(|meta| meta.mode() & 0o777);
        let (mode, folder_mode) = (mode_of(socket)?, mode_of(socket.parent().unwrap_or(socket))?);
        let mut name = SocketName {
            socket: socket.to_owned(),
            identity: None,
            mode,
            folder_mode,
            watch,
            watched: None,
            alive: None,
        };
        name.take()?;
        Ok(name)
    }

    fn take(&mut self) -> io::Result<()> {
        if let Some(watched) = self.watched.take() {
            // The kernel has ended it already where the file is gone.
            let _ = self.watch.rm_watch(watched);
        }
        // A link fewer is a change of attributes; the file itself stays as long as the socket is open.
        let changes = AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
        self.watched = Some(self.watch.add_watch(&self.socket, changes)?);
        // After that, so that no change between the two is missed.
        self.identity = socket::identity(&self.socket);
        // The old lock's file may be gone as well, and where it isn't our own lock would be in our way.
        self.alive = None;
        self.alive = lock_alive(&self.socket).ok();
        Ok(())
    }

    /// The descriptor that is readable when something has happened to the name.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Whose it is now.
    pub fn whose(&self) -> Whose {
        while self.watch.read_events().is_ok_and(|events| !events.is_empty()) {}
        if self.identity.is_some() && socket::identity(&self.socket) == self.identity {
            Whose::Ours
        } else if is_listening(&self.socket) {
            Whose::Anothers
        } else {
            Whose::Nobodys
        }
    }

    /// Makes the folder anew where that is gone as well.
    pub fn make_folder(&self) {
        if let Some(folder) = self.socket.parent() {
            let _ = std::fs::DirBuilder::new().mode(self.folder_mode).create(folder);
        }
    }

    /// Listens under the name again, in the place of whatever has it. To be called under the lock.
    pub fn put_back(&mut self) -> io::Result<UnixListener> {
        let listener = socket::bind(&self.socket, self.mode)?;
        self.take()?;
        Ok(listener)
    }

    /// We serve no more: another may be started. To be called under the lock.
    pub fn let_go(&mut self) {
        self.alive = None;
    }
}

/// Without waiting: one that is too busy to accept us listens, too.
fn is_listening(socket: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(caller) = sys_socket(AddressFamily::Unix, SockType::Stream, flags, None) else { return false };
    let Ok(address) = UnixAddr::new(socket) else { return false };
    matches!(again(|| connect(caller.as_raw_fd(), &address)), Ok(()) | Err(Errno::EAGAIN))
}

/// Whether a server lives that has this name, or had it. To be called under the lock.
pub fn is_held(socket: &Path) -> bool {
    let Ok(file) = open(socket) else { return false };
    let mut lock = whole(libc::F_WRLCK);
    again(|| fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))).is_ok()
        && i32::from(lock.l_type) != libc::F_UNLCK
}

/// Beside the one under which sockets come and go (flock(2)), in the same file: this one (fcntl(2)) doesn't know that one.
fn lock_alive(socket: &Path) -> io::Result<File> {
    let file = open(socket)?;
    again(|| fcntl(&file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))))?;
    Ok(file)
}

fn open(socket: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags((OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW).bits()).open(socket::lock_file(socket))
}

fn whole(kind: i32) -> libc::flock {
    // SAFETY: all of its fields are numbers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (kind as i16, libc::SEEK_SET as i16);
    lock
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::unix::net::UnixStream;

    fn is_told(name: &SocketName) -> bool {
        poll(&mut [PollFd::new(name.event(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
    }

    #[test]
    fn a_name_that_is_taken_away_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let first = socket::bind(&socket, 0o600).unwrap();
        assert!(!is_held(&socket));
        let mut name = SocketName::hold(&socket).unwrap();
        assert!(!is_told(&name) && name.whose() == Whose::Ours && is_held(&socket));

        std::fs::remove_file(&socket).unwrap();
        assert!(is_told(&name) && name.whose() == Whose::Nobodys && is_held(&socket));
        let again = name.put_back().unwrap();
        assert!(UnixStream::connect(&socket).is_ok() && name.whose() == Whose::Ours && is_held(&socket));
        drop(first);
        assert_eq!(name.whose(), Whose::Ours, "the old file's end is no news");

        std::fs::rename(&socket, folder.path().join("elsewhere")).unwrap();
        assert!(is_told(&name) && name.whose() == Whose::Nobodys);
        let other = socket::bind(&socket, 0o600).unwrap();
        assert_eq!(name.whose(), Whose::Anothers);
        name.let_go();
        assert!(!is_held(&socket));
        drop((again, other));
    }

    #[test]
    fn a_folder_that_is_gone_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("below/socket");
        std::fs::create_dir(socket.parent().unwrap()).unwrap();
        let _first = socket::bind(&socket, 0o600).unwrap();
        let mut name = SocketName::hold(&socket).unwrap();
        std::fs::remove_dir_all(socket.parent().unwrap()).unwrap();
        assert!(is_told(&name) && name.whose() == Whose::Nobodys);
        name.make_folder();
        let _again = name.put_back().unwrap();
        assert!(name.whose() == Whose::Ours && is_held(&socket));
    }
}
