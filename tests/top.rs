//! `jobgate top` in a real terminal, tmux's: what it shows, and that the terminal is given back.
//!
//! Doesn't know how the screen is laid out.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;
use support::shared::Shared;
use support::{DEADLINE, finish, finish_child, skipped};

/// A terminal with a shell in it, and nothing of the user's.
struct Terminal {
    tmux: PathBuf,
    socket: String,
    folder: PathBuf,
}

impl Terminal {
    /// `None` where there is no tmux.
    fn open(shared: &Shared, size: (u32, u32)) -> Option<Terminal> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let Some(tmux) =
            std::env::split_paths(&path).map(|place| place.join("tmux")).find(|file| file.is_file())
        else {
            skipped("there is no tmux");
            return None;
        };
        let folder = shared.folder.path().to_owned();
        let socket = folder.join("tmux").to_str().unwrap().to_owned();
        let terminal = Terminal { tmux, socket, folder };
        let mut start = shared.command(terminal.tmux.to_str().unwrap());
        start.args(["-f", "/dev/null", "-S", &terminal.socket, "new-session", "-d", "-s", "t"]);
        start.args(["-x", &size.0.to_string(), "-y", &size.1.to_string(), "env", "PS1=ready> ", "sh"]);
        let output = finish(start.env("TERM", "screen").env("LC_ALL", "C.UTF-8"));
        assert!(output.status.success(), "{output:?}");
        terminal.until("ready>");
        Some(terminal)
    }

    fn tell(&self, words: &[&str]) -> String {
        let output =
            finish(Command::new(&self.tmux).args(["-S", &self.socket]).args(words).current_dir(&self.folder));
        assert!(output.status.success(), "{words:?} {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn shown(&self) -> String {
        self.tell(&["capture-pane", "-p", "-t", "t"])
    }

    /// Waits until all of this is shown.
    fn until_all(&self, texts: &[&str]) -> String {
        let started = Instant::now();
        loop {
            let shown = self.shown();
            if texts.iter().all(|text| shown.contains(text)) {
                return shown;
            }
            assert!(started.elapsed() < DEADLINE, "{texts:?} isn't all there:\n{shown}");
        }
    }

    fn until(&self, text: &str) -> String {
        self.until_all(&[text])
    }

    fn type_line(&self, line: &str) {
        self.tell(&["send-keys", "-t", "t", "-l", line]);
        self.tell(&["send-keys", "-t", "t", "Enter"]);
    }

    /// What the terminal is set to.
    fn settings(&self, word: &str) -> String {
        self.type_line(&format!("stty -a >stty; echo {word}-$(wc -l <stty)"));
        self.until(&format!("\n{word}-"));
        std::fs::read_to_string(self.folder.join("stty")).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new(&self.tmux).args(["-S", &self.socket, "kill-server"]).output();
    }
}

/// A build that lasts until the file `go` is there.
fn build(shared: &Shared, label: &str) -> Child {
    let script = "while [ ! -e go ]; do sleep 0.05; done";
    shared.jobgate(&["run", "-j3", "--label", label, "--", "sh", "-c", script]).spawn().unwrap()
}

fn go(shared: &Shared, builds: Vec<Child>) {
    std::fs::write(shared.folder.path().join("go"), "").unwrap();
    builds.into_iter().for_each(|build| assert!(finish_child(build).status.success()));
}

fn pid_of_top(folder: &Path) -> i32 {
    std::fs::read_to_string(folder.join("pid")).unwrap().trim().parse().unwrap()
}

const TOP: &str = "sh -c 'echo $$ >pid; exec $JOBGATE top'; echo ended-$?";

#[test]
fn a_build_is_seen_at_any_size_and_the_terminal_is_given_back() {
    let shared = Shared::new();
    let Some(terminal) = Terminal::open(&shared, (100, 30)) else { return };
    let first = build(&shared, "the first build");
    shared.await_status(|status| status["in_use"] == 1);
    let before = terminal.settings("before");
    terminal.type_line(&format!("JOBGATE={}; export JOBGATE", support::jobgate()));
    terminal.type_line(TOP);
    terminal.until_all(&[
        "limit 3",
        "out 1, gate open",
        "the first build",
        "USER",
        "jobs out 1 (line), limit 3",
        "q quit",
    ]);
    // Another comes while it looks, and the terminal becomes narrow.
    let second = build(&shared, "the second build");
    terminal.until_all(&["out 2, gate open", "the first build", "the second build"]);
    terminal.tell(&["resize-window", "-t", "t", "-x", "60", "-y", "20"]);
    let shown = terminal.until_all(&["limit 3", "the second build", "q quit"]);
    assert!(
        !shown.contains("USER")
            || terminal.until("the second build").lines().all(|line| line.chars().count() <= 60)
    );
    terminal.tell(&["send-keys", "-t", "t", "?"]);
    terminal.until("page up");
    terminal.tell(&["send-keys", "-t", "t", "q"]);
    let shown = terminal.until("ended-0");
    assert!(!shown.contains("q quit"), "the other screen is gone: {shown}");
    assert_eq!(
        terminal.settings("after").replace("columns 60", "columns 100").replace("rows 20", "rows 30"),
        before
    );
    go(&shared, vec![first, second]);
}

#[test]
fn a_gate_that_comes_anew_is_found() {
    let shared = Shared::new();
    let Some(terminal) = Terminal::open(&shared, (80, 24)) else { return };
    let build = build(&shared, "a long build");
    shared.await_status(|status| status["in_use"] == 1);
    let server = shared.server();
    terminal.type_line(&format!("JOBGATE={}; export JOBGATE", support::jobgate()));
    terminal.type_line(TOP);
    terminal.until_all(&["out 1, gate open", "a long build"]);
    // Stopped, it doesn't answer, and nobody brings another; killed, its run does.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server), nix::sys::signal::Signal::SIGSTOP).unwrap();
    terminal.until_all(&["the gate is gone; looking for it", "a long build"]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server), nix::sys::signal::Signal::SIGKILL).unwrap();
    let started = Instant::now();
    while terminal.shown().contains("the gate is gone") {
        assert!(started.elapsed() < DEADLINE, "{}", terminal.shown());
    }
    terminal.until_all(&["out 1, gate open", "a long build", "q quit"]);
    assert_ne!(shared.server(), server);
    // Ended from outside it gives the terminal back, too.
    let before = pid_of_top(shared.folder.path());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before), nix::sys::signal::Signal::SIGTERM).unwrap();
    let shown = terminal.until("ended-143");
    assert!(!shown.contains("q quit"), "{shown}");
    let settings = terminal.settings("end");
    assert!(settings.contains(" icanon") && settings.contains(" echo "), "{settings}");
    go(&shared, vec![build]);
}

#[test]
fn nothing_is_left_of_it_where_the_terminal_goes_away() {
    let shared = Shared::new();
    let Some(terminal) = Terminal::open(&shared, (80, 24)) else { return };
    let build = build(&shared, "a long build");
    shared.await_status(|status| status["in_use"] == 1);
    terminal.type_line(&format!("JOBGATE={}; export JOBGATE", support::jobgate()));
    terminal.type_line(TOP);
    terminal.until("out 1, gate open");
    let top = pid_of_top(shared.folder.path());
    drop(terminal);
    let started = Instant::now();
    while Path::new("/proc").join(top.to_string()).exists() {
        assert!(started.elapsed() < DEADLINE, "it is there still");
        std::thread::yield_now();
    }
    go(&shared, vec![build]);
}

#[test]
fn job_control_stops_it_and_it_goes_on() {
    let shared = Shared::new();
    let Some(terminal) = Terminal::open(&shared, (80, 24)) else { return };
    let build = build(&shared, "a long build");
    shared.await_status(|status| status["in_use"] == 1);
    terminal.type_line(&format!("JOBGATE={}; export JOBGATE; set -m", support::jobgate()));
    terminal.type_line("$JOBGATE top");
    terminal.until("out 1, gate open");
    terminal.tell(&["send-keys", "-t", "t", "C-z"]);
    terminal.until("Stopped");
    terminal.type_line("echo still-$((1+1))-here");
    terminal.until("still-2-here");
    terminal.type_line("fg");
    terminal.until_all(&["out 1, gate open", "a long build", "q quit"]);
    terminal.tell(&["send-keys", "-t", "t", "C-c"]);
    terminal.type_line("echo ended-$?");
    terminal.until("ended-0");
    go(&shared, vec![build]);
}

#[test]
fn where_it_cannot_show_anything_it_says_so() {
    let shared = Shared::new();
    let output = finish(&mut shared.jobgate(&["top"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(125) && said.contains("jobgate status --watch"), "{said}");
    let Some(terminal) = Terminal::open(&shared, (80, 24)) else { return };
    terminal.type_line(&format!("JOBGATE={}; export JOBGATE", support::jobgate()));
    terminal.type_line(TOP);
    let shown = terminal.until("ended-125");
    assert!(shown.contains("no gate is running"), "{shown}");
}
