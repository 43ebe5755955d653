//! What a hostile user tries on the gate that he shares with others, each of it by its name. It runs as that user, tries again
//! and again, and says `BREACH` with whatever he could do that he mustn't.
//!
//! Doesn't know what the honest user's build made of it. What he tries by sheer mass is in `flooding`, with
//! names in shared folders in `planting`.

use super::{flooding, planting};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Somebody's build.
#[derive(Clone, Debug)]
pub struct Victim {
    /// Its `jobgate run`.
    pub proxy: i32,
    /// What that has started.
    pub command: i32,
    /// Its fifo; empty where it has a pipe.
    pub fifo: String,
}

/// One try; with a victim once one is there.
pub type Strike = Box<dyn FnMut(Option<&Victim>)>;

/// A name, what it is, and how.
type Row = (&'static str, &'static str, fn() -> Strike);

/// What is tried on a service's gate.
pub const ON_A_SERVICE: &[Row] = &[
    ("nothing", "does nothing, so that it is seen that all else is his doing", || Box::new(|_| {})),
    ("set", "changes the gate's settings", set),
    ("quota", "runs more jobs than it may: ten runs and an exec at once", quota),
    ("claims", "says that it has thousands of tokens from a server that is gone, and holds them", claims),
    ("bound", "says that its tree hangs from pid 1, from the victim's proxy and from its command", bound),
    ("lender", "has the victim's job pay for it, by name and by saying that it is inside", lender),
    ("max-wait", "waits a hundred times, for a millisecond each", max_wait),
    ("labels", "reads what others run", labels),
    (
        "endpoint",
        "reads, takes from, signals, ends, traces and slows the victim's processes and endpoint",
        endpoint,
    ),
    ("server", "locks, renames, replaces and signals what is the server's", server),
    ("connections", "opens as many connections as it can have descriptors", flooding::connections),
    ("half", "begins lines on hundreds of connections, and never ends them", flooding::half),
    ("gigabytes", "sends without end, asks without reading the answers", flooding::gigabytes),
    ("garbage", "sends what is no message", flooding::garbage),
    ("backlog", "connects and goes, as fast as it can", flooding::backlog),
    ("flood", "reports and asks as fast as it can", flooding::flood),
];

/// Runs as the hostile user, until it is told to end.
pub fn act(role: &str) {
    let strike = ON_A_SERVICE.iter().find(|row| row.0 == role).map(|row| row.2());
    let mut strike = strike.unwrap_or_else(|| match role {
        "weight" => weight(),
        "number" => number(),
        planted => planting::strike(planted),
    });
    // What was sent to one that has hung up is an error, not our end.
    strike(None);
    println!("ready");
    let (sender, victims) = mpsc::channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut victim = None;
    loop {
        match victims.recv_timeout(Duration::from_millis(2)) {
            Ok(line) => {
                let mut words = line.split(' ');
                let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a pid");
                let (proxy, command) = (number(), number());
                victim = Some(Victim { proxy, command, fifo: words.next().unwrap_or_default().to_owned() });
                strike(victim.as_ref());
                println!("struck");
            }
            Err(RecvTimeoutError::Timeout) => strike(victim.as_ref()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Says once what came of a try.
pub fn breach(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().expect("nobody panics here").insert(what.to_owned()) {
        println!("BREACH {what}");
    }
}

/// What mustn't succeed.
pub fn must_fail<T, E>(what: &str, result: Result<T, E>) {
    if result.is_ok() {
        breach(what);
    }
}

/// A path that we were told.
pub fn place(name: &str) -> PathBuf {
    std::env::var_os(name).expect("it is set").into()
}

/// `jobgate WORDS`, to its end: whether it succeeded, and what it said.
fn jobgate(words: &[&str], variables: &[(&str, String)]) -> (bool, String) {
    let mut command = Command::new(place("BIN").join("jobgate"));
    command.args(words).envs(variables.iter().cloned()).env("HOME", place("OWN")).stdin(Stdio::null());
    let output = command.output().expect("it starts");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// A connection, spoken to by hand.
pub struct Conn(pub BufReader<UnixStream>);

impl Conn {
    /// To the gate.
    pub fn open() -> std::io::Result<Conn> {
        let stream = UnixStream::connect(place("JOBGATE_SOCKET"))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        Ok(Conn(BufReader::new(stream)))
    }

    /// Sends a message.
    pub fn say(&mut self, message: &Value) -> std::io::Result<()> {
        self.0.get_mut().write_all(format!("{message}\n").as_bytes())
    }

    /// The next answer that holds this.
    fn answer(&mut self, name: &str) -> Option<Value> {
        let mut line = String::new();
        while self.0.read_line(&mut line).is_ok_and(|length| length > 0) {
            let answer: Value = serde_json::from_str(&line).ok()?;
            if let Some(value) = answer.get(name) {
                return Some(value.clone());
            }
            line.clear();
        }
        None
    }

    /// Says hello with these fields and more of its own.
    pub fn hello(fields: Value) -> Option<Conn> {
        let mut hello =
            json!({"protocol": "1.0", "version": "0", "pid": std::process::id(), "style": "fifo"});
        hello.as_object_mut()?.extend(fields.as_object()?.clone());
        let mut conn = Conn::open().ok()?;
        conn.say(&json!({"hello": hello})).ok()?;
        conn.answer("welcome").map(|_| conn)
    }

    /// It takes all that it is offered, and wants more.
    fn is_hungry(&mut self) {
        for serial in 0..3 {
            let _ = self.say(&json!({"report": {"serial": serial, "held": 4096, "appetite": "full"}}));
        }
    }
}

/// Does it once only, and keeps what it got.
pub fn once<T: 'static>(mut make: impl FnMut() -> T + 'static) -> Strike {
    let mut kept = None;
    Box::new(move |_| {
        kept.get_or_insert_with(&mut make);
    })
}

fn set() -> Strike {
    Box::new(|victim| {
        if victim.is_none() && jobgate(&["set", "jobs=1"], &[]).0 {
            breach("set jobs=1");
        }
        for asks_only in [true, false] {
            let Some(mut conn) = Conn::hello(json!({"asks_only": asks_only, "set": {"jobs": "1"}})) else {
                continue;
            };
            let _ = conn.say(&json!({"set": {"jobs": "1", "max-cpu": "1"}}));
            if conn.answer("refused").is_none() {
                breach("set isn't refused");
            }
        }
    })
}

/// Its jobs are counted by their stamps; for this the first round is enough.
fn quota() -> Strike {
    once(|| {
        let own = place("OWN");
        let makefile = crate::support::makefile(4, 0.3);
        std::fs::write(own.join("Makefile"), makefile).expect("its own folder");
        let start = |words: &[&str]| {
            let mut command = Command::new(place("BIN").join("jobgate"));
            command.args(words).env("HOME", &own).env("LOG", own.join("log")).env("NAME", "hostile");
            command.current_dir(&own).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            drop(std::thread::spawn(move || command.status()));
        };
        let make = place("BIN").join("make");
        (0..10).for_each(|_| start(&["run", "-j64", "--", make.to_str().expect("text"), "-s", "-j64"]));
        let job = crate::support::job(0.3);
        start(&["exec", "-n", "1-64", "--", "sh", "-c", &job]);
    })
}

fn claims() -> Strike {
    once(|| {
        let claim = json!({"lease": 4096, "allotment": 4096, "held": 4096});
        let conns = (0..20).map(|_| Conn::hello(json!({"lease": "counted", "claim": claim})));
        let mut conns: Vec<Conn> = conns.collect::<Option<_>>().unwrap_or_default();
        conns.iter_mut().for_each(Conn::is_hungry);
        conns
    })
}

fn bound() -> Strike {
    let mut conns = Vec::new();
    let mut hang = move |pid: i32| {
        // One that pays for nothing, one that does, and one that says that it has started the victim's.
        conns.extend(Conn::hello(json!({"bound_to": pid, "idle": true})));
        conns.extend(Conn::hello(json!({"bound_to": pid, "lease": "counted", "idle": true})));
        let mut third = Conn::hello(json!({"idle": true}));
        let _ = third.as_mut().map(|conn| conn.say(&json!({"command": {"pid": pid}})));
        conns.extend(third);
    };
    hang(1);
    let mut is_done = false;
    Box::new(move |victim| {
        let Some(victim) = victim.filter(|_| !std::mem::replace(&mut is_done, true)) else { return };
        hang(victim.proxy);
        hang(victim.command);
        let pid = victim.command.to_string();
        if jobgate(&["attach", "--pid", &pid], &[]).0 || jobgate(&["env", "--pid", &pid], &[]).0 {
            breach("attached itself to the victim's command");
        }
    })
}

fn lender() -> Strike {
    Box::new(|victim| {
        let wait = json!({"wait": {"min": 1, "max": 1}});
        let mut tries = vec![json!({"inside": true, "lease": wait, "max_wait_s": 0.0})];
        if let Some(victim) = victim {
            for pid in [victim.command, victim.proxy] {
                tries.push(json!({"lender": pid, "pid": pid, "lease": wait, "max_wait_s": 0.0}));
            }
        }
        for fields in tries {
            let granted = Conn::hello(fields.clone()).and_then(|mut conn| conn.answer("granted"));
            if granted.is_some_and(|granted| granted["borrowed"] == true) {
                breach(&format!("a lease that others pay for: {fields}"));
            }
        }
    })
}

fn max_wait() -> Strike {
    once(|| {
        let hello = || Conn::hello(json!({"lease": {"wait": {"min": 1, "max": 1}}, "max_wait_s": 0.001}));
        let mut conns: Vec<Conn> = (0..100).filter_map(|_| hello()).collect();
        conns.iter_mut().for_each(|conn| drop(conn.say(&json!("started"))));
        conns
    })
}

/// On a gate without quotas, to be had with a scene of its own. It takes all that it is offered, and wants more.
fn weight() -> Strike {
    let wait = json!({"wait": {"min": 1, "max": 1}});
    let mut conn = Conn::hello(json!({"weight": 1_000_000, "lease": wait})).expect("it is let in");
    conn.answer("granted").expect("nobody else is there");
    let _ = conn.say(&json!("started"));
    let _ = conn.0.get_mut().set_read_timeout(Some(Duration::from_millis(1)));
    let mut line = String::new();
    Box::new(move |_| {
        // What has come of a line stays there until the rest comes.
        while conn.0.read_line(&mut line).is_ok_and(|length| length > 0) {
            let answer: Value = serde_json::from_str(&line).unwrap_or_default();
            line.clear();
            let allot = &answer["allot"];
            if let (Some(held), Some(serial)) = (allot["tokens"].as_u64(), allot["serial"].as_u64()) {
                let report = json!({"serial": serial, "held": held, "appetite": "full"});
                let _ = conn.say(&json!({"report": report}));
            }
        }
    })
}

fn labels() -> Strike {
    Box::new(|_| {
        let (_, text) = jobgate(&["status", "--json"], &[]);
        let said = Conn::hello(json!({"lease": {"wait": {"min": 2, "max": 64}}})).map(|mut conn| {
            let _ = conn.say(&json!("why"));
            let why = conn.answer("why");
            let _ = conn.say(&json!("status"));
            format!("{why:?} {:?}", conn.answer("status"))
        });
        if text.contains("secret") || said.is_some_and(|said| said.contains("secret")) {
            breach("read what the victim runs");
        }
    })
}

fn endpoint() -> Strike {
    Box::new(|victim| {
        let Some(victim) = victim else { return };
        for pid in [victim.proxy, victim.command] {
            let proc = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
            must_fail(
                "listed the victim's descriptors",
                std::fs::read_dir(proc("fd")).map(|mut fds| fds.next()),
            );
            for number in 100..116 {
                must_fail(
                    "opened the victim's descriptor",
                    std::fs::File::open(proc(&format!("fd/{number}"))),
                );
            }
            for name in ["environ", "mem", "maps", "cwd/log"] {
                let read = std::fs::File::open(proc(name)).map(|mut file| file.read(&mut [0; 16]));
                if read.is_ok_and(|read| read.is_ok_and(|length| length > 0)) {
                    breach(&format!("read the victim's {name}"));
                }
            }
            processes(pid);
            let attached = [("JOBGATE_ATTACHED", pid.to_string())];
            let _ = jobgate(&["env", "--stop"], &attached);
        }
        // SAFETY: takes numbers.
        if unsafe { nix::libc::kill(victim.command, 0) } == 0 {
            breach("may signal the victim's command");
        }
        let folder =
            Path::new(&victim.fifo).parent().map_or_else(|| place("VICTIMS").join("old"), Path::to_owned);
        must_fail("listed the victim's own folder", std::fs::read_dir(&folder));
        must_fail("took from the victim's fifo", std::fs::File::options().write(true).open(&victim.fifo));
        for name in ["socket", "socket.lock", "x"] {
            must_fail("reached the victim's own gate", UnixStream::connect(folder.join(name)));
            must_fail("made something in the victim's own folder", std::fs::File::create(folder.join(name)));
        }
    })
}

/// What system calls could do to it.
fn processes(pid: i32) {
    use nix::libc::{self, SYS_kill, SYS_prlimit64, SYS_ptrace, SYS_sched_setaffinity, SYS_setpriority};
    let (pid, limit, cpus) = (i64::from(pid), [8_u64; 2], [1_u64; 16]);
    let place = |numbers: &[u64]| numbers.as_ptr() as i64;
    let tries = [
        ("signalled the victim", SYS_kill, [pid, libc::SIGUSR1.into(), 0, 0]),
        ("stopped the victim", SYS_kill, [pid, libc::SIGSTOP.into(), 0, 0]),
        ("traced the victim", SYS_ptrace, [libc::PTRACE_SEIZE.into(), pid, 0, 0]),
        ("slowed the victim", SYS_setpriority, [libc::PRIO_PROCESS.into(), pid, 19, 0]),
        (
            "moved the victim to one cpu",
            SYS_sched_setaffinity,
            [pid, size_of_val(&cpus) as i64, place(&cpus), 0],
        ),
        ("limited the victim", SYS_prlimit64, [pid, libc::RLIMIT_NOFILE.into(), place(&limit), 0]),
    ];
    for (what, number, words) in tries {
        if call(number, words) >= 0 {
            breach(what);
        }
    }
    let pidfd = call(libc::SYS_pidfd_open, [pid, 0, 0, 0]);
    if pidfd >= 0 {
        // SAFETY: just made, and nobody else's.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd as i32) };
        if call(libc::SYS_pidfd_getfd, [pidfd.as_raw_fd().into(), 100, 0, 0]) >= 0 {
            breach("took the victim's descriptor");
        }
    }
}

fn call(number: i64, words: [i64; 4]) -> i64 {
    // SAFETY: what is a place in memory lives as long as the call, and the kernel only reads there.
    unsafe { nix::libc::syscall(number, words[0], words[1], words[2], words[3]) }
}

fn server() -> Strike {
    Box::new(|_| {
        let socket = place("JOBGATE_SOCKET");
        let folder = socket.parent().expect("a folder");
        let lock = socket.with_extension("socket.lock");
        must_fail("opened the server's lock", std::fs::File::open(&lock));
        must_fail("opened the server's lock to write", std::fs::File::options().write(true).open(&lock));
        must_fail("removed the server's socket", std::fs::remove_file(&socket));
        must_fail("renamed the server's socket", std::fs::rename(&socket, folder.join("x")));
        must_fail("renamed the server's folder", std::fs::rename(folder, folder.with_extension("x")));
        must_fail(
            "put a socket in the server's folder",
            std::os::unix::net::UnixListener::bind(folder.join("x")),
        );
        must_fail(
            "changed the socket's mode",
            std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o0)),
        );
        let pid = Conn::hello(json!({"asks_only": true})).and_then(|mut conn| {
            conn.say(&json!("status")).ok()?;
            i32::try_from(conn.answer("status")?["pid"].as_i64()?).ok()
        });
        if let Some(pid) = pid.filter(|&pid| pid > 1) {
            processes(pid);
        }
    })
}

/// A connection that outlives the process which opened it, whose number somebody else will get.
fn number() -> Strike {
    once(|| {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).expect("a socket");
        let address = UnixAddr::new(&place("JOBGATE_SOCKET")).expect("a path");
        // SAFETY: the child makes system calls only, and ends.
        let child = match unsafe { nix::unistd::fork() }.expect("a process") {
            nix::unistd::ForkResult::Child => {
                let connected = connect(fd.as_raw_fd(), &address).is_ok();
                // SAFETY: ends the process without running anything of its parent's.
                unsafe { nix::libc::_exit(i32::from(!connected)) }
            }
            nix::unistd::ForkResult::Parent { child } => child,
        };
        let mut conn = Conn(BufReader::new(UnixStream::from(fd)));
        let opened = format!("{{\"hello\":{{\"protocol\":\"1.0\",\"pid\":{child},\"idle\":true}}}}\n");
        let said = || conn.0.get_mut().write_all(opened.as_bytes());
        // The opener may not have connected yet; it is over when it has.
        nix::sys::wait::waitpid(child, None).expect("our child");
        let mut said = said;
        let _ = said();
        println!("number {child}");
        conn
    })
}
