//! The sockets where a gate listens: which may be used, who is at the other end, and how a gate is started on demand.
//!
//! Doesn't know what is said over them.

use super::again::again;
use super::guarded::{self, Groups};
use super::{folder, on_demand, socket_name, users};
use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, getsockopt, setsockopt};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::geteuid;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the host's own gate listens.
const OF_THE_HOST: &str = "/run/jobgate/socket";

/// `sun_path` has 108 bytes, the final zero counted in (unix(7)).
const LONGEST_PATH: usize = 107;

/// A server takes a connection within microseconds. Where its queue is full for so many seconds it serves nobody.
const CONNECT_PATIENCE: i64 = 10;

/// The lock is held for the time of a bind; who can't have it for so long is told.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// A socket that may be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub socket: PathBuf,
    /// A gate may be started there where none listens.
    pub may_start: bool,
}

/// Where to look for a gate: the one that was `named`, or the host's, then one's own.
///
/// The error is about the named one, or says that there is no folder for one's own.
pub fn places(named: Option<&Path>) -> Result<Vec<Place>, String> {
    if let Some(socket) = named {
        return Ok(vec![named_place(socket)?]);
    }
    let mut places = Vec::new();
    if Path::new(OF_THE_HOST).exists() && is_guarded(Path::new(OF_THE_HOST)) {
        places.push(Place { socket: OF_THE_HOST.into(), may_start: false });
    }
    match folder::own_folder() {
        Ok(folder) => places.push(Place { socket: folder.join("socket"), may_start: true }),
        Err(error) if places.is_empty() => return Err(error.to_string()),
        Err(_) => {}
    }
    Ok(places)
}

/// The folder of the host's gate, if its socket is there and not to be trusted: then one's own is used.
pub fn untrusted_folder() -> Option<&'static Path> {
    let socket = Path::new(OF_THE_HOST);
    if socket.exists() && !is_guarded(socket) { socket.parent() } else { None }
}

/// Where `serve` listens: at the socket that was `named`; if none was, root for the whole host, others for themselves.
/// `is_open`: others may connect. The error is about the named one.
pub fn place_to_serve(named: Option<&Path>, is_open: bool) -> Result<Option<Place>, String> {
    let named = named.or(geteuid().is_root().then_some(Path::new(OF_THE_HOST)));
    let Some(socket) = named else {
        return Ok(places(None)?.into_iter().find(|place| place.may_start));
    };
    let mode = if is_open || socket == Path::new(OF_THE_HOST) { 0o755 } else { 0o700 };
    let place = named_place_of(socket, mode)?;
    let folder = socket.parent().unwrap_or(socket);
    guarded::open_folder(folder, Groups::OfPrograms)
        .map_err(|error| format!("the socket '{}' isn't safe from others: {error}", socket.display()))?;
    Ok(Some(place))
}

/// Anybody may connect to the host's gate, and to one that is open, which look who it is; to others their owner alone.
pub fn mode_for(socket: &Path, is_open: bool) -> u32 {
    if is_open || socket == Path::new(OF_THE_HOST) { 0o666 } else { 0o600 }
}

fn named_place(socket: &Path) -> Result<Place, String> {
    named_place_of(socket, 0o700)
}

fn named_place_of(socket: &Path, mode: u32) -> Result<Place, String> {
    let name = socket.display();
    if !socket.is_absolute() {
        return Err(format!("the socket '{name}' must be an absolute path"));
    }
    if socket.as_os_str().len() > LONGEST_PATH {
        return Err(format!("the socket '{name}' has too long a path: {LONGEST_PATH} bytes at the most"));
    }
    let folder = socket.parent().filter(|folder| folder.parent().is_some());
    let Some(folder) = folder else { return Err(format!("the socket '{name}' must lie in a folder")) };
    if !folder.exists() {
        // Not in a folder of somebody else's, who would have to live with it: below `sudo` the socket may be his.
        guarded::make_last(folder, Mode::from_bits_truncate(mode))
            .map_err(|error| format!("the socket '{name}': can't make its folder: {error}"))?;
    }
    Ok(Place { socket: socket.to_owned(), may_start: guarded::is_own(folder) })
}

/// Nobody but root or we can have put another socket there.
fn is_guarded(socket: &Path) -> bool {
    socket.parent().is_some_and(|folder| guarded::is_closed(folder, Groups::OfPrograms))
}

/// Connects to a gate, which is started where none listens and that may be.
pub fn connect(place: &Place) -> io::Result<UnixStream> {
    match dial(&place.socket) {
        Err(error) if place.may_start && is_absent(&error) => start_and_connect(&place.socket),
        connected => connected,
    }
}

/// Connects, without waiting for ever.
pub fn dial(socket: &Path) -> io::Result<UnixStream> {
    connect_within(socket, CONNECT_PATIENCE)
}

/// Connects, and waits at most so many seconds for that; and sees whose server it is.
fn connect_within(socket: &Path, seconds: i64) -> io::Result<UnixStream> {
    use nix::sys::socket::{connect, socket as new_socket};
    let fd = new_socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // unix(7): for connect(2), too.
    setsockopt(&fd, SendTimeout, &TimeVal::seconds(seconds))?;
    let address = UnixAddr::new(socket)?;
    // An interrupted one of this family has done nothing.
    again(|| connect(fd.as_raw_fd(), &address)).map_err(|error| match error {
        nix::Error::EAGAIN => io::Error::new(io::ErrorKind::TimedOut, "too many wait to be let in there"),
        error => error.into(),
    })?;
    let stream = UnixStream::from(fd);
    stream.set_write_timeout(None)?;
    check_server(&stream, socket)?;
    Ok(stream)
}

/// Refuses a server that somebody may have put there: not ours, not root's, and in a folder that others write to. Where one
/// user alone does, the socket is his, and who names it means him.
fn check_server(stream: &UnixStream, socket: &Path) -> io::Result<()> {
    let server = peer(stream)?.uid;
    if server == 0 || users::is_own(server) || is_guarded(socket) {
        return Ok(());
    }
    let folder = socket.parent().and_then(|folder| std::fs::metadata(folder).ok());
    if folder.is_some_and(|folder| folder.uid() == server && folder.mode() & 0o022 == 0) {
        return Ok(());
    }
    let why = format!("user {server} listens there, in a folder where anybody can");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Nobody listens there.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn start_and_connect(socket: &Path) -> io::Result<UnixStream> {
    let give_up = Instant::now() + LOCK_PATIENCE;
    let lock = loop {
        let lock = lock(socket, LOCK_PATIENCE)?;
        // Somebody may have started one while we waited.
        match dial(socket) {
            Err(error) if is_absent(&error) => {}
            connected => return connected,
        }
        // One that lives, and whose socket was removed, is about to put that back.
        if identity(socket).is_some() || !socket_name::is_held(socket) || Instant::now() >= give_up {
            break lock;
        }
        drop(lock);
        std::thread::sleep(Duration::from_millis(1));
    };
    // One that ended without clients has taken its socket away.
    let died = identity(socket).is_some();
    let listener = bind(socket, 0o600)?;
    on_demand::spawn(socket, &listener, died).inspect_err(|_| unbind(socket, identity(socket)))?;
    drop(lock);
    dial(socket)
}

/// The lock under which a socket comes and goes, held until it is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Said, for a fork may have a copy of the descriptor; where that fails the last copy's end unlocks it.
        // SAFETY: a number that is open here.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// Waits so long for the lock of a socket.
pub fn lock(socket: &Path, patience: Duration) -> io::Result<Lock> {
    let path = lock_file(socket);
    let mut options = File::options();
    options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(&path).map_err(|error| named(&path, &error))?;
    let meta = file.metadata()?;
    // In a folder that others write to: they could keep it locked, and what it is may be anything.
    if !meta.is_file() || !(users::is_own(meta.uid()) || meta.uid() == 0) {
        let why = io::Error::new(io::ErrorKind::PermissionDenied, "it is somebody else's, or no file");
        return Err(named(&path, &why));
    }
    if meta.mode() & 0o777 != 0o600 && users::is_own(meta.uid()) {
        // A umask may have taken our own rights away; and who can open it can lock it.
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
    }
    let end = Instant::now() + patience;
    loop {
        // SAFETY: a number that is open here.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Lock(file));
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => continue,
            error if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {}
            error => return Err(named(&path, &error)),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The file of that lock.
pub(super) fn lock_file(socket: &Path) -> PathBuf {
    beside(socket, "lock")
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn beside(socket: &Path, ending: &str) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Listens at `socket`, of this mode, in the place of whatever was there. It gets its name only once it listens. To be
/// called under the lock.
pub fn bind(socket: &Path, mode: u32) -> io::Result<UnixListener> {
    let unnamed = beside(socket, "new");
    let _ = std::fs::remove_file(&unnamed);
    let bound = listen_for_us(&unnamed).and_then(|listener| {
        std::fs::set_permissions(&unnamed, PermissionsExt::from_mode(mode))?;
        std::fs::rename(&unnamed, socket)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let _ = std::fs::remove_file(&unnamed);
        named(socket, &error)
    })
}

/// Listens there, for nobody but us and root from the first instant on.
fn listen_for_us(path: &Path) -> io::Result<UnixListener> {
    use nix::sys::socket::{bind, listen, socket as new_socket};
    let fd = new_socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // What bind(2) makes has the mode of its descriptor, less the umask.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::MAXCONN)?;
    Ok(UnixListener::from(fd))
}

/// What tells a socket's file from another that has taken its place.
pub fn identity(socket: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(socket).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Takes the socket's name away, if it is still this one's. To be called under the lock.
pub fn unbind(socket: &Path, identity_then: Option<(u64, u64)>) {
    if identity_then.is_some() && identity(socket) == identity_then {
        let _ = std::fs::remove_file(socket);
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process; 0 where our pid namespace doesn't see it.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Who connected, as the kernel noted it then (SO_PEERCRED, unix(7)).
pub fn peer(stream: &impl AsFd) -> io::Result<Peer> {
    let credentials = getsockopt(stream, PeerCredentials)?;
    Ok(Peer { pid: credentials.pid(), uid: credentials.uid(), gid: credentials.gid() })
}

/// The groups of who connected, beside its own, as the kernel noted them then (SO_PEERGROUPS, socket(7)); `None` where the
/// kernel doesn't tell. One that our user namespace doesn't know has the number of `users::overflow_gid`.
pub fn peer_groups(stream: &impl AsFd) -> io::Result<Option<Vec<u32>>> {
    let fd = stream.as_fd().as_raw_fd();
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut length = size_of_val(&groups[..]) as libc::socklen_t;
        // SAFETY: the descriptor is open for the call; the kernel writes at most `length` bytes into `groups`.
        let got = unsafe {
            let place = groups.as_mut_ptr().cast();
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERGROUPS, place, &raw mut length)
        };
        let count = length as usize / size_of::<libc::gid_t>();
        match (got, io::Error::last_os_error()) {
            (0, _) => {
                groups.truncate(count);
                return Ok(Some(groups));
            }
            // It has said how many there are.
            (_, error) if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => {
                groups.resize(count, 0);
            }
            (_, error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => return Ok(None),
            (_, error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_socket_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("new/socket");
        assert_eq!(named_place(&inside), Ok(Place { socket: inside.clone(), may_start: true }));
        assert_eq!(std::fs::metadata(inside.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(
            !named_place(&folder.path().join("socket")).unwrap().may_start,
            "others could take its place"
        );
        let long = folder.path().join("x".repeat(108));
        for (bad, why) in
            [(Path::new("x"), "absolute"), (&long, "too long"), (Path::new("/socket"), "in a folder")]
        {
            let said = named_place(bad).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_socket_is_taken_away_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _first = bind(&socket, 0o600).unwrap();
        let first = identity(&socket);
        let _second = bind(&socket, 0o600).unwrap();
        unbind(&socket, first);
        assert!(UnixStream::connect(&socket).is_ok(), "the second's is still there");
        unbind(&socket, identity(&socket));
        assert!(is_absent(&UnixStream::connect(&socket).unwrap_err()));
    }

    #[test]
    fn only_we_can_connect_before_it_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().mode() & 0o777;
        let _unnamed = listen_for_us(&folder.path().join("unnamed")).unwrap();
        let _open = bind(&folder.path().join("open"), 0o666).unwrap();
        assert_eq!((mode("unnamed"), mode("open")), (0o600, 0o666));
    }

    #[test]
    fn a_server_that_lets_nobody_in_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = bind(&path, 0o600).unwrap();
        nix::sys::socket::listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _first = dial(&path).unwrap();
            let _ = sender.send(connect_within(&path, 1).map(drop));
        });
        let second = receiver.recv_timeout(Duration::from_secs(20)).expect("it ends");
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_others_planted_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let path = beside(&socket, "lock");
        let why_not =
            || lock(&socket, Duration::ZERO).map_or_else(|error| error.to_string(), |_| "had".into());
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let beside_fifo = socket.clone();
        std::thread::spawn(move || sender.send(lock(&beside_fifo, Duration::ZERO).is_err()));
        assert_eq!(
            receiver.recv_timeout(Duration::from_secs(20)),
            Ok(true),
            "nobody reads it, and it isn't waited for"
        );
        let _reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        assert!(why_not().contains("no file"), "{}", why_not());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(why_not(), "had");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "who can open it can lock it");
        if std::os::unix::fs::chown(&path, Some(4_000_000_001), None).is_ok() {
            assert!(why_not().contains("somebody else's"), "{}", why_not());
        }
    }

    #[test]
    fn nobody_serves_where_others_could_take_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        for (mode, is_safe) in [(0o755, true), (0o1777, true), (0o777, false)] {
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
            let said = place_to_serve(Some(&socket), true);
            assert_eq!(said.is_ok(), is_safe, "{mode:o}: {said:?}");
        }
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for (is_open, mode) in [(true, 0o755), (false, 0o700)] {
            let new = folder.path().join(format!("{mode:o}/socket"));
            place_to_serve(Some(&new), is_open).unwrap();
            assert_eq!(std::fs::metadata(new.parent().unwrap()).unwrap().mode() & 0o777, mode);
            assert_eq!(mode_for(&new, is_open) & 0o077, if is_open { 0o066 } else { 0 });
        }
    }

    #[test]
    fn no_folder_is_made_where_others_could_take_it_away() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let said = named_place(&folder.path().join("new/socket")).unwrap_err();
        assert!(said.contains("writable for others") && !folder.path().join("new").exists(), "{said}");
        if std::os::unix::fs::chown(folder.path(), Some(4_000_000_001), None).is_ok() {
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
            let said = named_place(&folder.path().join("new/socket")).unwrap_err();
            assert!(said.contains("somebody else's") && !folder.path().join("new").exists(), "{said}");
        }
    }

    #[test]
    fn the_groups_of_the_other_side_are_those_of_its_process() {
        let (here, _there) = UnixStream::pair().unwrap();
        let mut groups = peer_groups(&here).unwrap().expect("this kernel tells");
        let mut own: Vec<u32> =
            nix::unistd::getgroups().unwrap().into_iter().map(|gid| gid.as_raw()).collect();
        groups.sort_unstable();
        own.sort_unstable();
        assert_eq!(groups, own);
    }

    #[test]
    fn the_lock_is_had_once() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let held = lock(&socket, Duration::ZERO).unwrap();
        assert!(lock(&socket, Duration::ZERO).is_err());
        drop(held);
        assert!(lock(&socket, Duration::ZERO).is_ok());
    }
}
