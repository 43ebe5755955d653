//! What a service manager hands over, taken by a process of its own: its number is in the variables, descriptor 3 is the
//! socket, and its environment is changed, which asks for one thread. So this program starts itself, without libtest.
//!
//! Doesn't know what the server does with it.

use jobgate::sys::service::{Systemd, inherited_listener};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the started process is to find; without it this is the test itself.
const ROLE: &str = "JOBGATE_TEST_ROLE";

/// Starts this program as systemd would: in the process whose number LISTEN_PID names.
const AS_SYSTEMD: &str = r#"export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=jobgate.socket LISTEN_PIDFDID=1 WATCHDOG_PID=$$
    exec "$0" 3<&0 </dev/null"#;

/// No process: the numbers end before (proc(5), pid_max).
const NOBODY: &str = "4194305";

fn main() {
    match std::env::var(ROLE).as_deref() {
        Err(_) => all(),
        Ok("service") => service(),
        Ok("stranger") => stranger(),
        Ok("without a socket") => without_a_socket(),
        Ok(role) => panic!("no role {role}"),
    }
}

fn all() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let listener = || UnixListener::bind(folder.path().join("socket")).unwrap();
    // Stands in the queue until somebody accepts it.
    let socket = listener();
    let _client = UnixStream::connect(folder.path().join("socket")).unwrap();

    let shell = |script: &str, folder: &Path| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(std::env::current_exe().unwrap());
        command.env("NOTIFY_SOCKET", folder.join("notify")).env("WATCHDOG_USEC", "30000000");
        command
    };
    let run = |command: &mut Command, role: &str, stdin: Stdio| {
        let status = command.env(ROLE, role).stdin(stdin).status().unwrap();
        assert!(status.success(), "{role}: {status}");
        println!("test {role} ... ok");
    };
    run(&mut shell(AS_SYSTEMD, folder.path()), "service", OwnedFd::from(socket).into());
    let mut message = [0; 64];
    let length = receiver.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1\n");

    std::fs::remove_file(folder.path().join("socket")).unwrap();
    let others = AS_SYSTEMD.replace("$$", NOBODY);
    run(&mut shell(&others, folder.path()), "stranger", OwnedFd::from(listener()).into());
    run(&mut shell(&AS_SYSTEMD.replace("3<&0", "3<&-"), folder.path()), "without a socket", Stdio::null());
}

/// All of it is for this process.
fn service() {
    let systemd = Systemd::take().unwrap();
    let listener = inherited_listener().unwrap().expect("the socket");
    nothing_is_left_to_children();
    assert_eq!(systemd.watchdog_interval(), Some(Duration::from_secs(15)));
    systemd.ready().unwrap();
    assert_eq!(listener.as_fd().as_raw_fd(), 3);
    assert_eq!(fcntl(&listener, FcntlArg::F_GETFD).unwrap(), FdFlag::FD_CLOEXEC.bits());
    let flags = OFlag::from_bits_retain(fcntl(&listener, FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_NONBLOCK));
    assert!(listener.accept().is_ok(), "who has connected before the start is served");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// Socket and watchdog are another process's.
fn stranger() {
    assert_eq!(Systemd::take().unwrap().watchdog_interval(), None);
    assert!(inherited_listener().unwrap().is_none());
    nothing_is_left_to_children();
}

/// The variables speak of a socket that isn't there.
fn without_a_socket() {
    let sentence = inherited_listener().unwrap_err().to_string();
    assert!(
        sentence.starts_with("the socket that LISTEN_FDS speaks of can't be used: Bad file"),
        "{sentence}"
    );
    Systemd::take().unwrap();
    nothing_is_left_to_children();
}

fn nothing_is_left_to_children() {
    let systemds = ["NOTIFY_", "WATCHDOG_", "LISTEN_"];
    let left = std::env::vars().map(|(name, _)| name);
    let left: Vec<_> = left.filter(|name| systemds.iter().any(|word| name.starts_with(word))).collect();
    assert_eq!(left, Vec::<String>::new());
}
