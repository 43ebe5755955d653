//! Several runs on one gate: their jobs in one log, each run's by its name, and a gate that is watched from outside.
//!
//! Doesn't know what is asserted.

use super::build::Build;
use super::{clean, jobgate, own_socket, succeed};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A gate's socket and a folder for builds.
pub struct Shared {
    /// Where the builds and the log lie.
    pub folder: tempfile::TempDir,
    /// The gate's.
    pub socket: PathBuf,
}

impl Shared {
    /// Nobody is there yet.
    pub fn new() -> Shared {
        Shared { folder: tempfile::tempdir().expect("a temporary folder"), socket: own_socket() }
    }

    /// The log of all jobs.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// `jobgate WORDS` on this gate.
    pub fn jobgate(&self, words: &[&str]) -> Command {
        let mut command = self.command(jobgate());
        command.args(words);
        command
    }

    /// Any command that is to find this gate.
    pub fn command(&self, program: &str) -> Command {
        let mut command = clean(Command::new(program));
        command.env("JOBGATE_SOCKET", &self.socket).env("LOG", self.log());
        command.current_dir(self.folder.path());
        command
    }

    /// A build of `count` jobs of so many seconds under `run OPTIONS`, not started yet; `None` where its tool is missing.
    pub fn build(
        &self,
        name: &str,
        options: &[&str],
        build: Build,
        count: usize,
        seconds: f64,
    ) -> Option<Command> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let line = build.lay_jobs(&folder, count, seconds)?;
        let mut command = self.jobgate(&["run"]);
        command.args(options).arg("--").args(line).current_dir(folder).env("NAME", name);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Some(command)
    }

    /// What `status --json` says.
    pub fn status(&self) -> Value {
        let text = succeed(&mut self.jobgate(&["status", "--json"]));
        serde_json::from_str(&text).expect("an object")
    }

    /// Waits until so many jobs have started in all.
    pub fn await_starts(&self, count: usize) {
        let starts = |log: &Path| {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            text.lines().filter(|line| line.starts_with('S')).count()
        };
        super::await_change(self.folder.path(), || (starts(&self.log()) >= count).then_some(()));
    }

    /// Asks again and again until there is a gate and its `status` says so.
    pub fn await_status(&self, ready: impl Fn(&Value) -> bool) -> Value {
        let started = std::time::Instant::now();
        loop {
            let output = super::finish(&mut self.jobgate(&["status", "--json"]));
            let status: Option<Value> = serde_json::from_slice(&output.stdout).ok();
            if let Some(status) = status.clone().filter(&ready) {
                return status;
            }
            assert!(started.elapsed() < super::DEADLINE, "never so: {status:?}");
        }
    }

    /// The server's process, as it says.
    pub fn server(&self) -> i32 {
        self.status()["pid"].as_i64().expect("a pid") as i32
    }

    /// A server in the foreground, which has said that it is ready.
    pub fn serve(&self, words: &[&str]) -> Server {
        self.serve_below(&[], words)
    }

    /// The same, by a command that starts it.
    pub fn serve_below(&self, around: &[&str], words: &[&str]) -> Server {
        let mut command = self.command("sh");
        let line = r#"exec "$@" --ready-fd 3 3>ready"#;
        nix::unistd::mkfifo(&self.folder.path().join("ready"), nix::sys::stat::Mode::S_IRWXU)
            .expect("a fifo");
        command
            .args(["-c", line, "sh"])
            .args(around)
            .args([jobgate(), "serve"])
            .args(words)
            .stderr(Stdio::piped());
        std::fs::create_dir_all(self.socket.parent().expect("a folder")).expect("it can be made");
        let child = command.spawn().expect("it starts");
        // Opening it waits until the other side has, too; it ends with the server, or once that has said its line, unless
        // what started it keeps it open.
        let ready = std::fs::File::open(self.folder.path().join("ready")).expect("it opens");
        let (mut ready, mut said) = (BufReader::new(ready), String::new());
        ready.read_line(&mut said).expect("text");
        if around.is_empty() {
            ready.read_to_string(&mut said).expect("text");
        }
        std::fs::remove_file(self.folder.path().join("ready")).expect("it is there");
        let server = Server(Some(child));
        assert_eq!(said, "ready\n", "{}", server.said());
        server
    }
}

/// A server in the foreground; ended with the test.
pub struct Server(Option<Child>);

impl Server {
    /// Its process.
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.0.as_ref().expect("it runs").id() as i32)
    }

    fn said(&self) -> &'static str {
        "see its stderr"
    }

    /// Ends it, and gives what it has said.
    pub fn end(mut self) -> String {
        let child = self.0.take().expect("it runs");
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id() as i32),
            nix::sys::signal::Signal::SIGTERM,
        );
        let output = super::finish_child(child);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
