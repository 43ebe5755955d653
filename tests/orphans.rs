//! Builds that outlive their `jobgate`, killed or ended; and that it leaves nothing behind itself.
//!
//! Doesn't know how endpoints outlive a proxy, only that builds do.

mod support;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use support::build::Build;
use support::pool::at_once;
use support::{DEADLINE, Real, await_change, clean, finish, finish_child, jobgate, jobs, succeed};

const JOBS: usize = 12;
const JOB: f64 = 0.3;
/// How many may run at once: `-j4`.
const WIDTH: usize = 4;

/// A build under a style.
struct Row {
    build: Build,
    style: &'static str,
    /// Whether it is alone with its implicit slot once what it holds has been returned: what is returned into a pipe
    /// doesn't come back, a fifo's tokens circulate among those who have it open.
    ends_serially: bool,
}

const ROWS: [Row; 4] = [
    Row { build: Build::Make(Real::SystemMake), style: "pipe", ends_serially: true },
    Row { build: Build::Make(Real::Make441), style: "pipe", ends_serially: true },
    Row { build: Build::Make(Real::Make441), style: "fifo", ends_serially: false },
    Row { build: Build::Ninja, style: "fifo", ends_serially: false },
];

/// A build in a folder of its own, and the process group that it runs in.
struct Run {
    folder: tempfile::TempDir,
    tool: String,
    style: &'static str,
    group: Option<Pid>,
}

impl Run {
    /// `None` where the tool is missing.
    fn lay(row: &Row) -> Option<Run> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        nix::unistd::mkfifo(&folder.path().join("go"), Mode::S_IRWXU).expect("a fifo");
        let tool = row.build.lay_jobs(folder.path(), JOBS, JOB)?.join(" ");
        Some(Run { folder, tool, style: row.style, group: None })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `jobgate run` around this in the folder, endpoints below it where the machine has no /run/user of ours.
    fn line(&self, command: &[&str]) -> Command {
        let mut line = clean(Command::new("env"));
        line.args(["--default-signal", jobgate(), "run", "-j4", "--style", self.style, "--"]).args(command);
        line.env("LOG", self.path("log")).env("TMPDIR", self.folder.path()).env_remove("XDG_RUNTIME_DIR");
        line.current_dir(self.folder.path());
        line
    }

    /// Starts a script in a process group of its own; `TOOL` in it is the build.
    fn start(&mut self, script: &str) -> Child {
        let script = format!("echo \"$MAKEFLAGS\" >flags; {}", script.replace("TOOL", &self.tool));
        let mut line = self.line(&["sh", "-c", &script]);
        let child = line.process_group(0).stdout(Stdio::piped()).spawn().expect("it starts");
        self.group = Some(Pid::from_raw(child.id() as i32));
        child
    }

    /// Lets a script go on that reads from `go`.
    fn go(&self) {
        std::fs::write(self.path("go"), "\n").expect("it is read");
    }

    /// Waits until as many jobs run as may.
    fn await_width(&self) {
        await_change(self.folder.path(), || (jobs(&self.path("log")).peak >= WIDTH).then_some(()));
    }

    /// Waits for the status that a script left.
    fn await_status(&self) -> String {
        await_change(self.folder.path(), || {
            std::fs::read_to_string(self.path("status")).ok().filter(|text| text.ends_with('\n'))
        })
    }

    /// The fifo that the command was told of; `None`: a pipe.
    fn fifo(&self) -> Option<PathBuf> {
        let flags = std::fs::read_to_string(self.path("flags")).expect("the command was started");
        let (_, path) = flags.trim().split_once("fifo:")?;
        Some(PathBuf::from(path.split(' ').next()?))
    }

    /// Every job has run, once; at the end alone, if so said.
    fn assert_built(&self, ends_serially: bool) {
        let jobs = jobs(&self.path("log"));
        assert_eq!((jobs.count, jobs.course.len()), (JOBS, 2 * JOBS), "{}: {jobs:?}", self.tool);
        assert!(jobs.peak <= WIDTH, "{}: {jobs:?}", self.tool);
        let last = &jobs.course[jobs.course.len() - 8..];
        assert!(!ends_serially || last.iter().all(|&(_, running)| running <= 1), "{}: {jobs:?}", self.tool);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs the check for all rows whose tool is there.
fn each(rows: &[Row], check: impl Fn(&Row, Run) + Sync) {
    at_once(rows, |row| {
        if let Some(run) = Run::lay(row) {
            check(row, run);
        }
    });
}

/// As the out-of-memory killer does, or an impatient user. What was started with it goes on.
fn kill_outright(mut child: Child) {
    child.kill().expect("it is there");
    let status = child.wait().expect("it has ended");
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
}

/// Waits until all that hold the other end have ended.
fn await_end(output: &ChildStdout) {
    let mut fds = [PollFd::new(output.as_fd(), PollFlags::empty())];
    let ended = poll(&mut fds, PollTimeout::try_from(DEADLINE).expect("less than a month"));
    assert_eq!(ended, Ok(1), "they end in time");
}

/// Seconds of cpu time that a shell's `times` tells of its children.
fn cpu_time(times: &str) -> f64 {
    let children = times.lines().nth(1).expect("a line for the children");
    let seconds = children.split_whitespace().map(|time| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').expect("minutes and seconds");
        60.0 * minutes.parse::<f64>().expect("minutes") + seconds.parse::<f64>().expect("seconds")
    });
    seconds.sum()
}

/// The direct command is told by SIGTERM, which this one ignores. Nothing else may happen to the build: no spinning at
/// an end of file, no death by a broken pipe, no hanging in open(2).
#[test]
fn a_build_whose_jobgate_was_killed_goes_on_to_its_own_end() {
    each(&ROWS, |row, mut run| {
        let child = run.start("trap '' TERM; TOOL >said 2>&1; ended=$?; times >cpu; echo $ended >status");
        run.await_width();
        kill_outright(child);
        let fifo = run.fifo();
        assert_eq!(fifo.is_some(), row.style == "fifo");
        // Another one starts while the orphan needs its endpoint, and clears up.
        succeed(&mut run.line(&["true"]));
        assert!(fifo.iter().all(|fifo| fifo.exists()), "it is still used");
        assert!(!run.path("status").exists(), "{}: it ended before it could be looked at", run.tool);

        assert_eq!(run.await_status(), "0\n", "{}", run.tool);
        run.assert_built(row.ends_serially);
        let cpu = cpu_time(&std::fs::read_to_string(run.path("cpu")).expect("it was noted"));
        assert!(cpu < 0.5, "{} burnt {cpu} s", run.tool);
    });
}

/// A tool that is only started then finds the endpoint as it would have been; a fifo that nobody held open would keep
/// make waiting in open(2) for ever.
#[test]
fn a_tool_may_start_after_its_jobgate_was_killed() {
    each(&ROWS, |row, mut run| {
        let child = run.start("trap '' TERM; echo up >up; read go <go; TOOL >said 2>&1; echo $? >status");
        await_change(run.folder.path(), || run.path("up").exists().then_some(()));
        kill_outright(child);
        succeed(&mut run.line(&["true"]));
        assert!(run.fifo().iter().all(|fifo| fifo.exists()), "it will be used");
        run.go();
        assert_eq!(run.await_status(), "0\n", "{}", run.tool);
        run.assert_built(row.ends_serially);
    });
}

/// A build that fails after its jobgate was killed fails with its own status.
#[test]
fn an_orphan_fails_with_its_own_status() {
    each(&ROWS[..3], |_, mut run| {
        let makefile = std::fs::read_to_string(run.path("Makefile")).expect("it was laid");
        let failing = format!("{}; test $@ != job11\n", makefile.trim_end());
        std::fs::write(run.path("Makefile"), failing).expect("a file is written");
        let child = run.start("trap '' TERM; TOOL >said 2>&1; echo $? >status");
        run.await_width();
        kill_outright(child);
        assert_eq!(run.await_status(), "2\n", "{}", run.tool);
        run.assert_built(false);
    });
}

/// What the dead leave behind is cleared by the next one to start.
#[test]
fn the_fifo_of_a_killed_jobgate_is_unlinked_by_the_next() {
    each(&ROWS[2..3], |_, mut run| {
        let mut child = run.start("trap '' TERM; echo up >status; read end <go");
        run.await_status();
        let output = child.stdout.take().expect("it is piped");
        kill_outright(child);
        let fifo = run.fifo().expect("a fifo");
        assert!(fifo.exists(), "nobody was there to unlink it");
        run.go();
        await_end(&output);
        succeed(&mut run.line(&["true"]));
        assert!(!fifo.exists());
    });
}

/// Where the killed one's direct command is the tool itself, that tool is told to end.
#[test]
fn a_tool_whose_jobgate_was_killed_is_ended() {
    each(&ROWS, |_, mut run| {
        let mut child = run.start("exec TOOL 2>said");
        let output = child.stdout.take().expect("it is piped");
        run.await_width();
        kill_outright(child);
        await_end(&output);
        let jobs = jobs(&run.path("log"));
        assert!(jobs.count < JOBS && jobs.course.len() < 2 * JOBS, "{}: {jobs:?}", run.tool);
    });
}

/// A build left in the background while it runs: its `jobgate` doesn't wait for it, and takes back what stands.
#[test]
fn a_build_left_running_goes_on_to_its_own_end() {
    each(&ROWS, |row, mut run| {
        let child = run.start("{ TOOL; echo $? >status; } >/dev/null 2>&1 & read go <go");
        run.await_width();
        run.go();
        assert!(finish_child(child).status.success());
        assert!(!run.path("status").exists(), "{}: it ended before it could be looked at", run.tool);
        assert!(run.fifo().is_none_or(|fifo| !fifo.exists()), "no fifo is left");
        assert_eq!(run.await_status(), "0\n", "{}", run.tool);
        run.assert_built(row.ends_serially);
    });
}

/// One that only starts when `jobgate` has gone finds no pool, and makes do with its implicit slot. (ninja doesn't:
/// where it can't open the fifo it goes by the cpus.)
#[test]
fn a_build_that_starts_too_late_runs_serially() {
    each(&ROWS[..3], |_, mut run| {
        let child = run.start("{ read go; TOOL; echo $? >status; } >/dev/null 2>&1 <go & true");
        assert!(finish_child(child).status.success());
        run.go();
        assert_eq!(run.await_status(), "0\n", "{}", run.tool);
        run.assert_built(true);
        assert_eq!(jobs(&run.path("log")).peak, 1, "{}", run.tool);
    });
}

/// Neither what is left in the background nor anything of ours keeps a command substitution waiting.
#[test]
fn a_command_substitution_returns() {
    for style in ["pipe", "fifo"] {
        for command in ["echo said", "sleep 120 >/dev/null 2>&1 & echo said"] {
            let script = "x=$(\"$0\" run --style \"$1\" -- sh -c \"$2\"); echo \"got $x\"";
            let mut line = clean(Command::new("sh"));
            line.args(["-c", script, jobgate(), style, command]).process_group(0);
            let child = line.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
            let group = Pid::from_raw(child.id() as i32);
            let output = finish_child(child);
            let _ = killpg(group, Signal::SIGKILL);
            assert_eq!(String::from_utf8_lossy(&output.stdout), "got said\n", "{style}: {command}");
        }
    }
}

/// However the command ends.
#[test]
fn nothing_of_ours_is_left() {
    for row in &ROWS[1..3] {
        for ends in ["true", "exit 3", "kill -TERM $$", "kill -KILL $$", "exec /nowhere/at/all 2>said"] {
            let Some(mut run) = Run::lay(row) else { return };
            let child = run.start(ends);
            let group = run.group.take().expect("it was started");
            finish_child(child);
            // Nobody is left in our group, not even a zombie: the witness had been in it.
            assert_eq!(killpg(group, None), Err(Errno::ESRCH), "{}, {ends}", row.style);
            assert_eq!(run.fifo().is_some(), row.style == "fifo");
            assert!(run.fifo().is_none_or(|fifo| !fifo.exists()), "{ends}");
            let below = |folder: &Path| std::fs::read_dir(folder).map_or(0, Iterator::count);
            let own = run.path(&format!("jobgate-{}", nix::unistd::geteuid()));
            assert_eq!(below(&own), 0, "{ends}: {}", own.display());
        }
    }
    // What can't be started leaves nothing either.
    let Some(run) = Run::lay(&ROWS[2]) else { return };
    let status = finish(&mut run.line(&["/nowhere/at/all"])).status;
    assert_eq!(status.code(), Some(127));
    let own = run.path(&format!("jobgate-{}", nix::unistd::geteuid()));
    assert_eq!(std::fs::read_dir(own).map_or(0, Iterator::count), 0);
}

/// Scripts redirect low descriptors before they call make, and bash takes from 10 up for its own; an endpoint lies out
/// of their way.
#[test]
fn a_script_may_use_low_descriptors() {
    each(&ROWS, |_, run| {
        let redirect = "exec 3>three 4>&1 5>five; for n in {6..30}; do eval \"exec $n>>many\"; done";
        let output = finish(&mut run.line(&["bash", "-c", &format!("{redirect}; {}", run.tool)]));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", run.tool);
        run.assert_built(false);
        assert_eq!(jobs(&run.path("log")).peak, WIDTH, "{}: its jobs ran side by side", run.tool);
    });
}
