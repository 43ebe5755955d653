//! Two users on one machine, an honest one with real builds and a hostile one: their folders, processes, and what was seen.
//!
//! Doesn't know what the hostile one does, nor what must not come of it.

use crate::support::shared::{Server, Shared};
use crate::support::{self, Jobs, Real, await_change, clean, finish_child, jobgate, jobs};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};

/// What the hostile process is to do, and where.
pub const ROLE: &str = "JOBGATE_TEST_ROLE";

/// Nobody's numbers: of this process alone, so that others may run the same tests.
#[derive(Clone, Copy, Debug)]
pub struct Users {
    /// Builds.
    pub honest: u32,
    /// Does what it can.
    pub hostile: u32,
    /// Isn't let in.
    pub stranger: u32,
}

/// Programs that any user can run: the checkout may lie in a folder that isn't open to others.
pub struct House {
    folder: tempfile::TempDir,
    /// Who lives there.
    pub users: Users,
}

impl House {
    /// `None` where a tool is missing.
    pub fn build() -> Option<House> {
        let first = 3_000_000_000 + std::process::id() * 4;
        let users = Users { honest: first, hostile: first + 1, stranger: first + 2 };
        let house = House { folder: open_folder(), users };
        let own = std::env::current_exe().expect("this program");
        let programs = [
            ("jobgate", PathBuf::from(jobgate())),
            ("two_uids", own),
            ("make", support::tool(Real::Make441)?),
            ("ninja", support::tool(Real::Ninja)?),
        ];
        for (name, program) in programs {
            std::fs::copy(program, house.program(name)).expect("it can be copied");
            set_mode(&house.program(name), 0o755);
        }
        support::tool(Real::SystemMake)?;
        Some(house)
    }

    /// One of them: `jobgate`, `two_uids` (this one), `make` (4.4.1), `ninja`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    set_mode(folder.path(), 0o755);
    folder
}

/// Sets it, whatever the umask.
pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is root's");
}

/// How the honest user builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// GNU make 4.3: a pipe.
    OldMake,
    /// GNU make 4.4.1: a fifo.
    Make,
    /// ninja 1.13: a fifo.
    Ninja,
}

/// How many jobs a build has, but for the one that waits to be let go ...
pub const COUNT: usize = 12;

/// ... and how long each takes, in seconds.
pub const JOB: f64 = 0.15;

/// See the module. `honest`, `hostile` and `shared` are folders: one's own, and one that all may write to.
pub struct Scene<'a> {
    /// The programs.
    pub house: &'a House,
    /// The gate's socket, and the folder in which all lies.
    pub shared: Shared,
}

impl<'a> Scene<'a> {
    /// Nobody has done anything yet.
    pub fn new(house: &'a House) -> Scene<'a> {
        let scene = Scene { house, shared: Shared { folder: open_folder(), socket: support::own_socket() } };
        let Users { honest, hostile, .. } = house.users;
        for (name, uid, mode) in
            [("honest", honest, 0o711), ("hostile", hostile, 0o755), ("shared", 0, 0o1777)]
        {
            scene.folder(name, uid, mode);
        }
        scene.folder("honest/src", honest, 0o751);
        scene.file("honest/log", "", honest);
        scene.fifo("honest/go");
        scene
    }

    /// A fifo of the honest user's, open for both: so that nobody waits for a reader.
    pub fn fifo(&self, name: &str) -> std::fs::File {
        let path = self.path(name);
        if !path.exists() {
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
            let honest = self.house.users.honest;
            chown(&path, Some(honest), Some(honest)).expect("we are root");
        }
        std::fs::File::options().read(true).write(true).open(path).expect("a fifo")
    }

    /// Something in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.shared.folder.path().join(name)
    }

    /// A folder of that user's.
    pub fn folder(&self, name: &str, uid: u32, mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).expect("it isn't there yet");
        chown(&path, Some(uid), Some(uid)).expect("we are root");
        set_mode(&path, mode);
        path
    }

    /// A file of that user's.
    pub fn file(&self, name: &str, text: &str, uid: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        chown(&path, Some(uid), Some(uid)).expect("we are root");
        path
    }

    /// The service, root's, with this configuration below who may connect.
    pub fn serve(&self, config: &str) -> Server {
        let Users { honest, hostile, .. } = self.house.users;
        let text = format!("jobs = 6\n[access]\nusers = [{honest}, {hostile}]\n{config}");
        let config = self.file("jobgate.toml", &text, 0);
        let above = self.shared.socket.parent().and_then(Path::parent).expect("a folder").to_owned();
        let server = self.shared.serve(&["--config", config.to_str().expect("text")]);
        // Made by this test, under whatever umask.
        set_mode(
            &above,
            std::fs::metadata(&above).expect("it is there").permissions().mode() & 0o1777 | 0o755,
        );
        set_mode(self.shared.socket.parent().expect("a folder"), 0o755);
        server
    }

    /// A command as that user, with nothing of our environment.
    pub fn command_of(&self, uid: u32, program: &Path) -> Command {
        let mut command = clean(Command::new(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("JOBGATE_SOCKET", &self.shared.socket);
        command.uid(uid).gid(uid).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The honest user's build below `jobgate run OPTIONS`, which ends once it is let go; `extra`: what its last job does then.
    /// `around`: what it is started by.
    pub fn build(&self, tool: Tool, options: &[&str], extra: &str, around: &[String]) -> Command {
        let honest = self.house.users.honest;
        let (jobgate, make, ninja) =
            (self.house.program("jobgate"), self.house.program("make"), self.house.program("ninja"));
        let (name, text, file, line): (_, _, _, Vec<&str>) = match tool {
            Tool::OldMake => ("old", make_text(extra), "Makefile", vec!["/usr/bin/make", "-s", "last"]),
            Tool::Make => ("new", make_text(extra), "Makefile", vec![text(&make), "-s", "last"]),
            Tool::Ninja => ("ninja", ninja_text(extra), "build.ninja", vec![text(&ninja), "--quiet", "last"]),
        };
        let folder = self.path(&format!("honest/{name}"));
        if !folder.exists() {
            self.folder(&format!("honest/{name}"), honest, 0o700);
        }
        self.file(&format!("honest/{name}/{file}"), &text, honest);
        let mut words: Vec<&str> = around.iter().map(String::as_str).collect();
        words.extend([text_of(&jobgate), "run"]);
        words.extend(options);
        words.push("--");
        words.extend(line);
        let mut command = self.command_of(honest, Path::new(words[0]));
        command.args(&words[1..]).current_dir(folder).env("HOME", self.path("honest"));
        command.env("LOG", self.path("honest/log")).env("NAME", "honest").env("GO", self.path("honest/go"));
        command.env("JOBGATE", &jobgate);
        command
    }

    /// What ran of it.
    pub fn jobs(&self) -> Jobs {
        jobs(&self.path("honest/log"))
    }

    /// Waits until the first job runs, or the build has ended without one.
    pub fn await_first(&self, build: &mut Child) {
        let ends = std::thread::scope(|scope| {
            // SAFETY: takes numbers; the child isn't reaped before this returns.
            let pidfd = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, build.id(), 0) };
            // SAFETY: just made, and nobody else's.
            let pidfd = unsafe { OwnedFd::from_raw_fd(i32::try_from(pidfd).expect("a number")) };
            let touch = self.path("honest/ended");
            let _ = std::fs::remove_file(&touch);
            let (over, is_over) = std::io::pipe().expect("a pipe");
            let seen = touch.clone();
            scope.spawn(move || {
                let mut fds = [
                    PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
                    PollFd::new(over.as_fd(), PollFlags::POLLIN),
                ];
                let _ = poll(&mut fds, PollTimeout::NONE);
                let _ = std::fs::write(touch, "");
            });
            await_change(&self.path("honest"), || {
                (!self.jobs().course.is_empty() || seen.exists()).then_some(())
            });
            drop(is_over);
            self.jobs().course.is_empty()
        });
        if ends {
            let mut said = String::new();
            let _ = build.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
            panic!("it ends without a job: {:?} {said}", build.wait());
        }
    }

    /// Lets the build end, and waits for that.
    pub fn let_go(&self, build: Child) -> Output {
        let mut go = self.fifo("honest/go");
        go.write_all(b"go\n").expect("there is room");
        finish_child(build)
    }

    /// Forgets what ran.
    pub fn clear(&self) {
        std::fs::write(self.path("honest/log"), "").expect("it is there");
    }

    /// The hostile user's process, which has done what it can before anybody else came.
    pub fn hostile(&self, role: &str) -> Hostile {
        let mut command = self.command_of(self.house.users.hostile, &self.house.program("two_uids"));
        command.env(ROLE, role).env("BIN", self.house.program("")).env("OWN", self.path("hostile"));
        command.env("SHARED", self.path("shared")).env("VICTIM", self.house.users.honest.to_string());
        command.env("VICTIMS", self.path("honest"));
        Hostile::start(command)
    }

    /// What the gate says to root.
    pub fn status(&self) -> Value {
        self.shared.status()
    }
}

impl Drop for Scene<'_> {
    /// Nothing of theirs outlives it, however it went.
    fn drop(&mut self) {
        let Users { honest, hostile, stranger } = self.house.users;
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let uid = entry.metadata().map(|meta| meta.uid());
            if let (Some(pid), Ok(uid)) = (pid, uid)
                && [honest, hostile, stranger].contains(&uid)
            {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
        for uid in [honest, hostile] {
            let own = format!("/tmp/jobgate-{uid}");
            let _ = std::fs::remove_file(&own);
            let _ = std::fs::remove_dir_all(&own);
        }
        let _ = std::fs::remove_dir_all(self.shared.socket.parent().expect("a folder"));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

use text as text_of;

/// What comes after all jobs, once it is let go.
fn last(extra: &str) -> String {
    let extra = if extra.is_empty() { "true" } else { extra };
    format!("read x <$GO && {extra}").replace('$', "$$")
}

fn make_text(extra: &str) -> String {
    let (jobs, last) = (support::makefile(COUNT, JOB), last(extra));
    format!("{jobs}.PHONY: last\nlast: all\n\t@{last}\n")
}

fn ninja_text(extra: &str) -> String {
    let names: Vec<String> = (0..COUNT).map(|number| format!("job{number}")).collect();
    let (jobs, last) = (support::build_ninja(COUNT, JOB), last(extra));
    format!("{jobs}rule last\n  command = {last}\nbuild last: last | {}\n", names.join(" "))
}

/// A process of the hostile user's: it says what it does, line by line, and goes on until it is told to end.
pub struct Hostile {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What it has said.
    pub said: Vec<String>,
}

impl Hostile {
    fn start(mut command: Command) -> Hostile {
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut hostile = Hostile { stdin: child.stdin.take(), child, lines, said: Vec::new() };
        hostile.await_line("ready");
        hostile
    }

    fn await_line(&mut self, wanted: &str) {
        loop {
            let line = self.lines.recv_timeout(support::DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("it never says {wanted}: {:?}", self.said));
            if line == wanted {
                return;
            }
            self.said.push(line);
        }
    }

    /// What it said with this word in front.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.said.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    }

    /// Tells it who builds; it comes back once it has done to them what it can.
    pub fn strike(&mut self, proxy: i32, command: i32, fifo: &str) {
        let line = format!("{proxy} {command} {fifo}\n");
        self.stdin.as_mut().expect("it runs").write_all(line.as_bytes()).expect("it reads");
        self.await_line("struck");
    }

    /// Ends it; what it could do that it mustn't.
    pub fn breaches(mut self) -> Vec<String> {
        drop(self.stdin.take());
        while let Ok(line) = self.lines.recv_timeout(support::DEADLINE) {
            self.said.push(line);
        }
        let status = self.child.wait().expect("it has ended");
        assert!(status.success(), "{status}: {:?}", self.said);
        self.said.iter().filter_map(|line| line.strip_prefix("BREACH ")).map(str::to_owned).collect()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A variable of another process's environment, as root sees it.
pub fn variable_of(pid: i32, name: &str) -> Option<String> {
    let mut text = Vec::new();
    std::fs::File::open(format!("/proc/{pid}/environ")).ok()?.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.split('\0').find_map(|word| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}
