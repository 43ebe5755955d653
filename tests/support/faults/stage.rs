//! One scene with one fault: a folder of its own, the script in it, a deadline, and what must hold afterwards whatever failed.
//!
//! Doesn't know the scenes, nor which call fails.

use super::scenes::{End, PRELUDE, Scene};
use super::{Fault, Kit};
use crate::support::{Real, clean, jobgate, jobs, tool};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitPidFlag;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The one deadline of a run.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a run may leave for a moment: a server that waits for the next client.
const LINGER: Duration = Duration::from_secs(5);

/// Where the tools are, and what was remembered of their versions.
pub struct Stage {
    kit: Kit,
    tools: tempfile::TempDir,
    remembered: Vec<u8>,
}

/// What must not come of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It doesn't end.
    Late,
    /// Something of jobgate's own stays: a process, a fifo, a socket, a file.
    Left,
    /// jobgate dies of it.
    Panic,
    /// The tools complain, and jobgate has said nothing; or it says something though all is well.
    Words,
    /// It isn't refused with one line, before anything is started.
    Refusal,
    /// It doesn't end as it would without jobgate, or not all is made.
    End,
    /// More jobs at once than there may be.
    Peak,
    /// The scene itself has found something.
    Scene,
}

/// Something of the sort.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// What sort.
    pub kind: Kind,
    /// For people.
    pub what: String,
}

/// What came of a run.
pub struct Outcome {
    /// What the library wrote down.
    pub notes: tempfile::TempDir,
    /// The call was come by.
    pub hit: bool,
    /// What is wrong with it; nothing, if all is well.
    pub wrong: Vec<Wrong>,
    /// What was said on stderr.
    pub said: String,
    /// How long it took.
    pub took: Duration,
}

impl Stage {
    /// `None` where there is no compiler. `depth`: how far sites are told apart.
    pub fn set(depth: u32) -> Option<Stage> {
        let kit = Kit::build(depth)?;
        nix::sys::prctl::set_child_subreaper(true).expect("Linux 3.4");
        let tools = tempfile::tempdir().expect("a folder");
        let link = |real: Real, name: &str| {
            let path = tools.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            if let Some(real) = tool(real) {
                symlink(real, path).expect("a link");
            }
        };
        link(Real::SystemMake, "old/make");
        link(Real::Make441, "new/make");
        link(Real::Ninja, "new/ninja");
        link(Real::OldNinja, "stock/ninja");
        let bitbake = tools.path().join("bb/bitbake");
        std::fs::create_dir(tools.path().join("bb")).expect("a folder");
        std::fs::write(&bitbake, "#!/bin/sh\nfor file; do :; done; exec make -s -f \"$file\"\n")
            .expect("a script");
        std::fs::set_permissions(&bitbake, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("chmod");
        let mut stage = Stage { kit, tools, remembered: Vec::new() };
        stage.remember();
        Some(stage)
    }

    /// The map of the program.
    pub fn kit(&self) -> &Kit {
        &self.kit
    }

    /// Whether the tools for it are there.
    pub fn can_play(&self, scene: &Scene) -> bool {
        // Where a user has a folder of the system's own, that comes first: what is looked for then isn't there.
        let runtime = format!("/run/user/{}", nix::unistd::geteuid());
        let is_own = scene.needs_own_folder && Path::new(&runtime).exists();
        !is_own && scene.needs.iter().all(|need| self.tools.path().join(need).exists())
    }

    /// Has the versions of all tools asked for once.
    fn remember(&mut self) {
        let folder = tempfile::tempdir().expect("a folder");
        for tools in ["old", "new", "stock"] {
            let mut run = clean(Command::new(jobgate()));
            run.args(["run", "--private", "--no-shims", "--", "true"]).env("XDG_CACHE_HOME", folder.path());
            run.env("PATH", self.path(tools));
            assert!(run.status().expect("it starts").success());
            run.args(["ninja", "--version"]);
            let mut ninja = clean(Command::new(jobgate()));
            ninja.args(["run", "--private", "--no-shims", "--", "ninja", "--version"]);
            ninja.env("XDG_CACHE_HOME", folder.path()).env("PATH", self.path(tools));
            let _ = ninja.output();
        }
        self.remembered = std::fs::read(folder.path().join("jobgate/versions.json")).unwrap_or_default();
    }

    fn path(&self, tools: &str) -> std::ffi::OsString {
        let mut path = self.tools.path().join(tools).into_os_string();
        path.push(":/usr/bin:/bin");
        path
    }

    /// Plays it.
    pub fn play(&self, scene: &Scene, fault: Fault) -> Outcome {
        let notes = tempfile::tempdir().expect("a folder");
        let folder = tempfile::tempdir().expect("a folder");
        let run = Run { scene, folder: folder.path().to_owned() };
        run.lay(&self.remembered);
        let mut command = self.command(&run);
        self.kit.set(&mut command, fault, &notes.path().join("notes"));
        let started = Instant::now();
        let (in_time, status) = run.to_the_end(command, started + DEADLINE);
        let took = started.elapsed();
        let mut wrong = Vec::new();
        if let Err(still) = in_time {
            let what = format!("it didn't end within {DEADLINE:?}: {}", still.join(", "));
            wrong.push(Wrong { kind: Kind::Late, what });
        } else {
            wrong.extend(run.judge(status, fault));
        }
        wrong.extend(run.leftovers().into_iter().map(|what| Wrong { kind: Kind::Left, what }));
        let hit = std::fs::read(notes.path().join("notes")).is_ok_and(|notes| !notes.is_empty());
        let said = run.read("stderr").trim().replace('\n', " | ");
        Outcome { notes, hit, wrong, said, took }
    }

    /// The scene's script, in its folder, with nothing of the user's around it.
    fn command(&self, run: &Run<'_>) -> Command {
        let mut command = clean(Command::new("sh"));
        command.args(["-c", &format!("{PRELUDE}{}", run.scene.script)]).current_dir(&run.folder);
        let path = |name: &str| run.folder.join(name);
        let tool = |name: &str| self.tools.path().join(name);
        command.env("JOBGATE", jobgate()).env("TOOLS", self.tools.path()).env("PATH", self.path("new"));
        command
            .env("MAKE43", tool("old/make"))
            .env("MAKE44", tool("new/make"))
            .env("NINJA", tool("new/ninja"));
        command.env("LOG", path("log")).env("OUT", path("out")).env("JOBGATE_SOCKET", path("gate/socket"));
        command.env("XDG_RUNTIME_DIR", path("runtime")).env("XDG_CACHE_HOME", path("cache"));
        command.env("XDG_DATA_HOME", path("data")).env("HOME", path("home")).env("TMPDIR", path("runtime"));
        command.env("RUST_BACKTRACE", "0").env("APART", apart(&run.folder));
        if run.scene.listens {
            let listener = UnixListener::bind(path("gate/socket")).expect("a socket");
            command.stdin(OwnedFd::from(listener));
        }
        command.stdout(File::create(path("stdout")).expect("a file"));
        command.stderr(File::create(path("stderr")).expect("a file"));
        command
    }
}

/// A folder on another file system, where there is one.
fn apart(folder: &Path) -> PathBuf {
    let name = folder.file_name().expect("a name");
    if Path::new("/dev/shm").exists() { Path::new("/dev/shm").join(name) } else { folder.join("apart") }
}

/// The shells of all runs that go on: their own threads reap them.
static SPAWNED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Reaps the orphans that we have adopted: what has ended is to be gone.
fn reap_orphans() {
    let spawned = SPAWNED.lock().expect("no thread panics with it");
    for pid in children(std::process::id() as i32).into_iter().filter(|pid| !spawned.contains(pid)) {
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
    }
}

fn children(pid: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_task =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let texts: String = tasks.map(of_task).collect();
    texts.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// All below this process.
fn descendants(pid: i32) -> Vec<i32> {
    let mut all = children(pid);
    let mut at = 0;
    while at < all.len() {
        all.extend(children(all[at]));
        at += 1;
    }
    all
}

/// A run, in its folder.
struct Run<'a> {
    scene: &'a Scene,
    folder: PathBuf,
}

/// `count` jobs from `first` on: each stamps the log and makes its file.
fn job(name: &str) -> String {
    format!("echo S 0 {name} >>$$LOG; : >$$OUT/{name}; echo E 0 {name} >>$$LOG")
}

fn makefile(names: &str, before: &str) -> String {
    format!("all: {names}\n.PHONY: all {names}\n{names}:\n\t@{before}{}\n", job("$@"))
}

impl Run<'_> {
    fn lay(&self, remembered: &[u8]) {
        for name in ["out", "gate", "runtime", "cache/jobgate", "data", "home", "proc/pressure"] {
            std::fs::create_dir_all(self.folder.join(name)).expect("a folder");
        }
        let write = |name: &str, text: &str| std::fs::write(self.folder.join(name), text).expect("a file");
        for name in ["gate", "cache", "cache/jobgate"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            std::fs::set_permissions(self.folder.join(name), mode).expect("chmod");
        }
        write("jobs.mk", &makefile("5 6 7 8 9 10 11 12", ""));
        write("little.mk", &makefile("1 2 3", ""));
        write("more.mk", &makefile("31 32 33 34 35 36 37 38", ""));
        write("slow.mk", &makefile("5 6 7 8 9 10 11 12", "sleep 0.05; "));
        let below = "all: below\nbelow:\n\t+@$(MAKE) -s -f jobs.mk\n";
        write("Makefile", &(makefile("1 2 3 4", "") + below + ZOMBIES));
        let builds: String = (21..29).map(|name| format!("build {name}: job\n")).collect();
        write("build.ninja", &format!("rule job\n  command = {}\n{builds}", job("$out")));
        for resource in ["cpu", "io", "memory"] {
            let averages = "avg10=0.00 avg60=0.00 avg300=0.00";
            let text = format!("some {averages} total={:020}\nfull {averages} total={:020}\n", 0, 0);
            write(&format!("proc/pressure/{resource}"), &text);
        }
        std::fs::write(self.folder.join("cache/jobgate/versions.json"), remembered).expect("a file");
    }

    /// The processes of this run that nobody waits for, as `pid name`: who has its folder in the environment or in the command line.
    /// All that are orphaned below this test are its children.
    fn processes(&self) -> Vec<String> {
        let text = self.folder.to_str().expect("a temporary folder's name is text").as_bytes();
        let holds = |file: PathBuf| {
            std::fs::read(file).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text))
        };
        let own = std::process::id() as i32;
        let is_of_it = |pid: &i32| {
            let process = Path::new("/proc").join(pid.to_string());
            holds(process.join("environ")) || holds(process.join("cmdline"))
        };
        descendants(own)
            .into_iter()
            .filter(is_of_it)
            .map(|pid| {
                let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                format!("{pid} {}", comm.trim())
            })
            .collect()
    }

    /// Runs the script until it has ended, or is killed with all below it: the error says what went on then.
    fn to_the_end(&self, mut command: Command, end: Instant) -> (Result<(), Vec<String>>, ExitStatus) {
        let mut child = {
            let mut spawned = SPAWNED.lock().expect("no thread panics with it");
            let child = command.spawn().expect("it starts");
            spawned.insert(child.id() as i32);
            child
        };
        // It holds the socket.
        drop(command);
        let in_time = pidfd(child.id() as i32).is_none_or(|pidfd| await_end(&pidfd, end));
        let still = if in_time { Ok(()) } else { Err(self.processes()) };
        if !in_time {
            self.kill_all();
        }
        let status = child.wait().expect("it can be waited for");
        SPAWNED.lock().expect("no thread panics with it").remove(&(child.id() as i32));
        (still, status)
    }

    fn kill_all(&self) {
        for process in self.processes() {
            let pid = process.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }

    /// Waits a while for what may go on, and tells what stays: processes, fifos, sockets, files that nobody will rename.
    fn leftovers(&self) -> Vec<String> {
        let end = Instant::now() + LINGER;
        let mut wrong = Vec::new();
        loop {
            reap_orphans();
            let left = self.processes();
            let Some(first) = left.first() else { break };
            let pid = first.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
            let has_ended = pidfd(pid).is_none_or(|pidfd| await_end(&pidfd, end));
            if !has_ended {
                wrong.push(format!("left running: {}", left.join(", ")));
                self.kill_all();
            }
            if !has_ended {
                break;
            }
        }
        let mut files = BTreeSet::new();
        for folder in ["runtime", "gate", "cache", "data"] {
            find(&self.folder.join(folder), &mut files);
        }
        let mine = self.scene.listens.then(|| self.folder.join("gate/socket"));
        for file in files.into_iter().filter(|file| Some(file) != mine.as_ref()) {
            wrong
                .push(format!("left behind: {}", file.strip_prefix(&self.folder).expect("inside").display()));
        }
        wrong
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join(name)).unwrap_or_default()).into_owned()
    }

    /// What must hold, whatever has failed.
    fn judge(&self, status: ExitStatus, fault: Fault) -> Vec<Wrong> {
        let said = self.read("stderr");
        let mut wrong = Vec::new();
        let mut note = |kind: Kind, what: String| wrong.push(Wrong { kind, what });
        self.read("wrong").lines().for_each(|line| note(Kind::Scene, line.to_owned()));
        if PANICS.iter().any(|word| said.contains(word)) {
            note(Kind::Panic, "it dies of it".to_owned());
        }
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("jobgate: ")).collect();
        if !said.is_empty() && lines.is_empty() {
            note(Kind::Words, "the tools complain, and jobgate has said nothing".to_owned());
        }
        if !said.is_empty() && fault == Fault::None && !self.scene.speaks {
            note(Kind::Words, "something is said though all is well".to_owned());
        }
        let made = std::fs::read_dir(self.folder.join("out")).map_or(0, Iterator::count);
        let seen = jobs(&self.folder.join("log"));
        let is_refused = status.code() == Some(125) && fault != Fault::None;
        if is_refused && lines.len() != 1 {
            note(Kind::Refusal, format!("refused with {} lines", lines.len()));
        }
        match self.scene.end {
            End::Build { .. } if is_refused => {
                if made != 0 || !seen.course.is_empty() {
                    note(Kind::Refusal, "refused after something was started".to_owned());
                }
            }
            End::Build { jobs, peak } => {
                if status.code() != Some(self.scene.status) || made != jobs || seen.count != jobs {
                    let all = format!("{made} products and {} jobs of {jobs}", seen.count);
                    note(Kind::End, format!("it ended by {status}, {all}"));
                }
                let words = ["without", "the jobs it has", "leave the gate"];
                let has_no_gate = |line: &&str| words.iter().any(|word| line.contains(word));
                if seen.peak > peak && !lines.iter().any(has_no_gate) {
                    note(Kind::Peak, format!("{} jobs at once, {peak} may run", seen.peak));
                }
            }
            End::Answer(statuses) => {
                if !is_refused && !status.code().is_some_and(|code| statuses.contains(&code)) {
                    note(Kind::End, format!("it ended by {status}"));
                }
            }
        }
        wrong
    }
}

/// What a program says that dies, or its shell.
const PANICS: [&str; 5] = ["panicked", "Aborted", "core dumped", "Segmentation", "memory allocation"];

/// What notes the zombies that jobgate, the parent of make, has once all jobs are done.
const ZOMBIES: &str = r"all:; @read -r pid name state parent rest </proc/$$PPID/stat; \
  [ $$(cat /proc/$$parent/comm)  = jobgate ] || exit 0; for child in $$(cat /proc/$$parent/task/*/children); do \
  { read -r stat </proc/$$child/stat; } 2>/dev/null && case $$stat in *') Z '*) echo a zombie: $$stat >>wrong;; esac; done; true
";

/// Fifos, sockets, and files with names that they have only until they are whole; trees that nobody serves any more.
fn find(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else { continue };
        let is_unfinished =
            name.starts_with(".jobgate.") || name.starts_with(".new.") || name.starts_with(".versions");
        if kind.is_fifo()
            || kind.is_socket()
            || name.starts_with("tree-")
            || name.ends_with(".new")
            || is_unfinished
        {
            found.insert(path.clone());
        }
        if kind.is_dir() {
            find(&path, found);
        }
    }
}

/// A descriptor for the process; `None`: it has ended.
fn pidfd(pid: i32) -> Option<OwnedFd> {
    // SAFETY: takes numbers.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: just made, and ours alone.
    (raw >= 0).then(|| unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// Waits for the process's end; whether it came.
fn await_end(pidfd: &OwnedFd, end: Instant) -> bool {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Err(nix::Error::EINTR) => {}
            Ok(count) => return count > 0,
            Err(_) => return false,
        }
    }
}
