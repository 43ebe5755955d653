//! A gate's clients by hand: bytes over its socket, from this user or another, and a gate that is looked at while they do
//! their worst.
//!
//! Knows the protocol as text. Doesn't know what is asserted.

use super::DEADLINE;
use super::shared::{Server, Shared};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A user whom nobody knows.
pub const STRANGER: u32 = 3_000_001;

/// A connection.
pub struct Raw {
    /// The line.
    pub stream: UnixStream,
    heard: Vec<u8>,
}

impl Raw {
    /// One of our own.
    pub fn connect(to: &Path) -> Raw {
        Raw::on(UnixStream::connect(to).expect("it listens"))
    }

    /// A connection that there is already.
    pub fn on(stream: UnixStream) -> Raw {
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
        Raw { stream, heard: Vec::new() }
    }

    /// One of another user's, as the kernel sees it; only root can do that.
    pub fn connect_as(uid: u32, to: &Path) -> Raw {
        let to = to.to_owned();
        let connected = std::thread::spawn(move || {
            // SAFETY: system calls on numbers. Unlike the C library's function, the call changes this thread alone.
            unsafe {
                assert_eq!(libc::syscall(libc::SYS_setgroups, 0, 0), 0);
                assert_eq!(libc::syscall(libc::SYS_setresgid, -1i32, uid, -1i32), 0);
                assert_eq!(libc::syscall(libc::SYS_setresuid, -1i32, uid, -1i32), 0);
            }
            let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
                .expect("a socket");
            connect(fd.as_raw_fd(), &UnixAddr::new(&to).expect("a path")).expect("it listens");
            UnixStream::from(fd)
        });
        Raw::on(connected.join().expect("root can be another"))
    }

    /// Says a message; the error: nobody hears it any more.
    pub fn say(&mut self, message: &Value) -> std::io::Result<()> {
        self.stream.write_all(format!("{message}\n").as_bytes())
    }

    /// The next message; `None`: the line is closed.
    pub fn hear(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a message"));
            }
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.heard.extend(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return None;
                }
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    /// The next message of that kind, past others.
    pub fn await_word(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear().unwrap_or_else(|| panic!("closed before '{kind}'"));
            if let Some(body) = message.get(kind) {
                return body.clone();
            }
        }
    }

    /// Waits until the line is closed, past whatever is still said.
    pub fn await_end(&mut self) {
        while self.hear().is_some() {}
    }

    /// Says hello with these fields, and gives what it is answered; nothing, where there are so many that the line is closed before.
    pub fn hello(&mut self, fields: &Value) -> Value {
        let _ = self.say(&hello(fields));
        self.hear().unwrap_or_default()
    }

    /// The same, and is welcome.
    pub fn enter(&mut self, fields: &Value) -> Value {
        let answer = self.hello(fields);
        answer.get("welcome").unwrap_or_else(|| panic!("not welcome: {answer}")).clone()
    }

    /// Asks how things stand.
    pub fn status(&mut self) -> Value {
        self.say(&json!("status")).expect("it hears");
        self.await_word("status")
    }
}

/// A hello with these fields besides what each has.
pub fn hello(fields: &Value) -> Value {
    let mut hello =
        json!({"protocol": "1.0", "style": "pipe", "label": "raw", "cap": 1, "pid": std::process::id()});
    let more = fields.as_object().expect("fields").clone();
    hello.as_object_mut().expect("fields").extend(more);
    json!({ "hello": hello })
}

/// A lease of one token that is waited for.
pub fn one() -> Value {
    json!({"wait": {"min": 1, "max": 1}})
}

/// Ends those who watch that flag, however the test ends.
pub struct AtTheEnd<'a>(pub &'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A gate that serves whoever comes, and outlives it.
pub struct Gate {
    /// Its socket.
    pub shared: Shared,
    /// Its process.
    pub server: Server,
    /// Its descriptors before anybody came.
    descriptors: usize,
}

/// What a gate has of memory at the most, whatever is done to it, in KiB: built with all checks it begins with a tenth of that.
const MOST_MEMORY: u64 = 96 * 1024;

/// Within so long a client that comes has its lease and its first token, whatever others do.
const PROMPT: Duration = Duration::from_secs(2);

impl Gate {
    /// A service with this configuration, open to all.
    pub fn serve(config: &str) -> Gate {
        Gate::serve_as(Shared::new(), 0, config)
    }

    /// The same, by another user.
    pub fn serve_as(shared: Shared, uid: u32, config: &str) -> Gate {
        let id = uid.to_string();
        let by = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        Gate::of(shared, if uid == 0 { &[] } else { &by }, config)
    }

    /// The same, by a command that starts it.
    pub fn serve_below(around: &[&str], config: &str) -> Gate {
        Gate::of(Shared::new(), around, config)
    }

    fn of(shared: Shared, around: &[&str], config: &str) -> Gate {
        let path = shared.folder.path().join("jobgate.toml");
        std::fs::write(&path, config).expect("a file");
        let server = shared.serve_below(around, &["--config", path.to_str().expect("text")]);
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is there")
        };
        open(&shared.socket, 0o666);
        open(shared.socket.parent().expect("a folder"), 0o755);
        let mut gate = Gate { shared, server, descriptors: 0 };
        gate.descriptors = gate.count_descriptors();
        gate
    }

    /// How things stand, as we may know it.
    pub fn connect_and_ask(&self) -> Value {
        let mut raw = self.connect();
        raw.enter(&json!({"asks_only": true}));
        raw.status()
    }

    /// Another connection of ours.
    pub fn connect(&self) -> Raw {
        Raw::connect(&self.shared.socket)
    }

    /// Another user's.
    pub fn connect_as(&self, uid: u32) -> Raw {
        Raw::connect_as(uid, &self.shared.socket)
    }

    fn proc(&self, name: &str) -> std::path::PathBuf {
        Path::new("/proc").join(self.server.pid().to_string()).join(name)
    }

    /// How many descriptors it has.
    pub fn count_descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).expect("it lives").count()
    }

    /// A client of ours comes beside all that is going on, gets a lease and a token at once, and goes.
    pub fn serves_promptly(&self) {
        let started = Instant::now();
        let mut honest = self.connect();
        honest.enter(&json!({"lease": one(), "cap": 2, "label": "honest"}));
        honest.await_word("granted");
        honest.say(&json!("started")).expect("it hears");
        // All that is there may be told before the lease or after it.
        let status = honest.status();
        let clients = status["clients"].as_array().expect("clients");
        let own = clients.iter().find(|client| client["label"] == "honest").expect("it is there");
        assert_eq!(
            (&own["lease"], &own["allotment"], &own["overdue"]),
            (&1.into(), &1.into(), &false.into()),
            "{status}"
        );
        assert!(started.elapsed() < PROMPT, "served after {:?}", started.elapsed());
    }

    /// Everybody has gone: nothing is left of them.
    pub fn is_as_before(&self) {
        self.serves_promptly();
        let started = Instant::now();
        let is_empty = |status: &Value| status["clients"].as_array().is_some_and(Vec::is_empty);
        let status = self.shared.await_status(is_empty);
        assert_eq!((&status["in_use"], &status["gate"]["state"]), (&0.into(), &"open".into()), "{status}");
        while self.count_descriptors() > self.descriptors {
            assert!(
                started.elapsed() < DEADLINE,
                "{} descriptors, {} before",
                self.count_descriptors(),
                self.descriptors
            );
        }
        let memory = std::fs::read_to_string(self.proc("status")).expect("it lives");
        let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(peak < MOST_MEMORY, "{peak} KiB at its peak");
    }
}
