//! What systemd, or a service manager that speaks like it, hands to a service, and what a service tells it.
//!
//! Doesn't know what the service does. Without a service manager nothing is handed over and telling does nothing.

use super::descriptor::set_nonblocking;
use sd_notify::NotifyState;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::time::Duration;

/// sd_notify(3).
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// A service manager that doesn't read for so long is told no more: whoever waited for it would serve nobody.
const PATIENCE: Duration = Duration::from_secs(1);

/// The line to the service manager, if there is one. The default is none: for a server that a build has started, which must
/// not speak for the service that the build runs in.
#[derive(Debug, Default)]
pub struct Systemd {
    line: Option<Line>,
    watchdog: Option<Duration>,
}

/// One socket for all that is told: an own one for each message couldn't be had when descriptors are used up, and the
/// watchdog would end a server that is only busy.
#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Systemd {
    /// Takes what sd_notify(3) and sd_watchdog_enabled(3) say stands in the environment, out of it: what is started later
    /// must not speak in our name. To be called while this process has one thread. The error names a socket that isn't one.
    pub fn take() -> io::Result<Systemd> {
        let named = std::env::var_os(NOTIFY_SOCKET).filter(|name| !name.is_empty());
        // SAFETY: one thread, so nobody reads the environment meanwhile.
        let watchdog = unsafe {
            std::env::remove_var(NOTIFY_SOCKET);
            sd_notify::watchdog_enabled_and_unset_env()
        };
        let line = named.map(|name| Line::to(&name)).transpose()?;
        Ok(Systemd { line, watchdog: watchdog.filter(|interval| !interval.is_zero()) })
    }

    /// The service serves: after the start, and again after a reload.
    pub fn ready(&self) -> io::Result<()> {
        self.tell(&[NotifyState::Ready])
    }

    /// It reads its configuration again; `ready` must follow.
    pub fn reloading(&self) -> io::Result<()> {
        // systemd 253 takes the one only with the other.
        self.tell(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
    }

    /// It is about to end.
    pub fn stopping(&self) -> io::Result<()> {
        self.tell(&[NotifyState::Stopping])
    }

    /// How things stand, for `systemctl status`: one line.
    pub fn status(&self, sentence: &str) -> io::Result<()> {
        // What stood on a second line would be another message.
        self.tell(&[NotifyState::Status(&sentence.replace('\n', " "))])
    }

    /// How often `alive` must be called: twice as often as the watchdog looks. `None`: there is no watchdog.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|interval| interval / 2)
    }

    /// Keeps the watchdog from ending us.
    pub fn alive(&self) -> io::Result<()> {
        self.tell(&[NotifyState::Watchdog])
    }

    fn tell(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let Some(Line { socket, address }) = &self.line else { return Ok(()) };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        // To the address each time: a service manager that was started anew is reached, too.
        socket.send_to_addr(message.as_bytes(), address)?;
        Ok(())
    }
}

impl Line {
    /// `/path`, or `@name` for an abstract one.
    fn to(named: &OsStr) -> io::Result<Line> {
        let address = match named.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(named),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "neither an absolute path nor '@' and a name",
            )),
        };
        let address = address.map_err(|error| {
            let sentence = format!("{NOTIFY_SOCKET} '{}': {error}", named.display());
            io::Error::new(error.kind(), sentence)
        })?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Line { socket, address })
    }
}

/// The socket that the service manager listens on for us (sd_listen_fds(3)), non-blocking and close-on-exec, or `None`
/// where there is none: the first, if it gives several. Takes the variables about it out of the environment.
///
/// To be called once, while this process has one thread. The error says what the descriptor is instead of a listening one.
pub fn inherited_listener() -> io::Result<Option<UnixListener>> {
    // SAFETY: one thread, so nobody reads the environment meanwhile.
    let descriptors = unsafe {
        std::env::remove_var("LISTEN_FDNAMES");
        std::env::remove_var("LISTEN_PIDFDID");
        sd_notify::listen_fds_and_unset_env()
    };
    let first = descriptors.map_err(|error| refused(error.kind(), &error.to_string()))?.next();
    let Some(first) = first else { return Ok(None) };
    // SAFETY: the variables say that it was opened for this process; it is open, for close-on-exec was just set on it, and
    // nothing else here owns what it hasn't opened.
    let first = unsafe { OwnedFd::from_raw_fd(first) };
    listener(first).map(Some)
}

fn listener(fd: OwnedFd) -> io::Result<UnixListener> {
    let is = |option, wanted| match socket_option(&fd, option) {
        Ok(value) => Ok(value == wanted),
        // No socket at all.
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => Ok(false),
        Err(error) => Err(error),
    };
    let refuse =
        |what| Err(refused(io::ErrorKind::InvalidInput, &format!("descriptor {} is {what}", fd.as_raw_fd())));
    if !is(libc::SO_DOMAIN, libc::AF_UNIX)? || !is(libc::SO_TYPE, libc::SOCK_STREAM)? {
        return refuse("no stream socket of the family AF_UNIX");
    }
    if !is(libc::SO_ACCEPTCONN, 1)? {
        return refuse("a socket that doesn't listen");
    }
    set_nonblocking(&fd)?;
    Ok(UnixListener::from(fd))
}

fn refused(kind: io::ErrorKind, why: &str) -> io::Error {
    io::Error::new(kind, format!("the socket that LISTEN_FDS speaks of can't be used: {why}"))
}

/// An option of socket(7) that is one int.
fn socket_option(fd: impl AsFd, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the call; the kernel writes at most `length` bytes into `value`.
    let got =
        unsafe { libc::getsockopt(raw, libc::SOL_SOCKET, option, (&raw mut value).cast(), &raw mut length) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    /// What a receiver of ours gets when `told` tells; it waits in the socket's queue.
    fn heard(told: impl Fn(&Systemd) -> io::Result<()>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let line = Some(Line::to(path.as_os_str()).unwrap());
        told(&Systemd { line, watchdog: None }).unwrap();
        receive(&receiver)
    }

    fn receive(receiver: &UnixDatagram) -> String {
        receiver.set_nonblocking(true).unwrap();
        let mut message = [0; 256];
        let length = receiver.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages() {
        assert_eq!(heard(Systemd::ready), "READY=1\n");
        assert_eq!(heard(Systemd::stopping), "STOPPING=1\n");
        assert_eq!(heard(Systemd::alive), "WATCHDOG=1\n");
        assert_eq!(heard(|systemd| systemd.status("3 out\nREADY=1")), "STATUS=3 out READY=1\n");
        let reloading = heard(Systemd::reloading);
        let since_boot = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
        assert!(since_boot.parse::<u64>().is_ok_and(|since_boot| since_boot > 0), "{reloading:?}");
    }

    #[test]
    fn an_abstract_socket_is_reached_and_a_lost_one_is_an_error_only() {
        let name = format!("jobgate-test-{}", std::process::id());
        let receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let line = Some(Line::to(OsStr::new(&format!("@{name}"))).unwrap());
        let systemd = Systemd { line, watchdog: None };
        systemd.ready().unwrap();
        assert_eq!(receive(&receiver), "READY=1\n");
        drop(receiver);
        assert_eq!(systemd.alive().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        systemd.alive().unwrap();
        assert_eq!(receive(&receiver), "WATCHDOG=1\n", "the next one is reached");
    }

    #[test]
    fn without_a_service_manager_telling_does_nothing() {
        let systemd = Systemd::default();
        assert!(systemd.ready().is_ok() && systemd.reloading().is_ok() && systemd.alive().is_ok());
        assert_eq!(systemd.watchdog_interval(), None);
        let relative = Line::to(OsStr::new("vsock:2:1234")).unwrap_err().to_string();
        assert_eq!(relative, "NOTIFY_SOCKET 'vsock:2:1234': neither an absolute path nor '@' and a name");
    }

    #[test]
    fn only_a_listening_stream_socket_of_this_machine_is_a_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let accepted = listener(UnixListener::bind(&path).unwrap().into()).unwrap();
        let flags = OFlag::from_bits_retain(fcntl(&accepted, FcntlArg::F_GETFL).unwrap());
        assert!(flags.contains(OFlag::O_NONBLOCK));
        let nobody = accepted.accept().unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
        let _client = UnixStream::connect(&path).unwrap();
        accepted.accept().unwrap();

        let others: [(OwnedFd, &str); 4] = [
            (UnixStream::pair().unwrap().0.into(), "is a socket that doesn't listen"),
            (UnixDatagram::unbound().unwrap().into(), "is no stream socket of the family AF_UNIX"),
            (TcpListener::bind("127.0.0.1:0").unwrap().into(), "is no stream socket of the family AF_UNIX"),
            (std::io::pipe().unwrap().0.into(), "is no stream socket of the family AF_UNIX"),
        ];
        for (other, what) in others {
            let sentence = listener(other).unwrap_err().to_string();
            assert!(sentence.starts_with("the socket that LISTEN_FDS speaks of can't be used: descriptor "));
            assert!(sentence.ends_with(what), "{sentence}");
        }
    }
}
