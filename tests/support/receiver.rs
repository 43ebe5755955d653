//! A command that writes down each signal that reaches it, and ends when told to or when its test is gone.
//!
//! Doesn't know who sends what, nor what is asserted.

use super::await_change;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// For bash, around three of its ways. A signal that comes while its own trap runs is lost: so it is the loop that writes
/// `log`, when the trap is over. One that comes just before the `read` doesn't end it: so it ends by itself again and
/// again. A trap that runs meanwhile may leave any status: only two 1 on end are the end of `hold`.
const SCRIPT: &str = r#"
caught=()
for name in HUP INT QUIT USR1 USR2 TERM WINCH CONT; do
    trap "caught+=($name)" $name
done
PRELUDE
exec 9<FOLDER/hold
echo "up $$ $PPID" >>FOLDER/log
written=0
ended=
while :; do
    word=
    read -t 0.02 -u 9 word
    ended=$?$ended
    while ((written < ${#caught[@]})); do
        echo "${caught[written++]}" >>FOLDER/log
    done
    test -z "$word" || exit "$word"
    case $ended in
    11) exit 99 ;;
    1) ;;
    *) ended= ;;
    esac
done
"#;

/// See the module.
pub struct Receiver {
    /// Where its files lie: `log`, and whatever the test puts there.
    pub folder: tempfile::TempDir,
    /// Open for both, so that opening never waits; its closing ends the command.
    hold: File,
}

impl Receiver {
    /// One that catches HUP, INT, QUIT, USR1, USR2, TERM, WINCH and CONT, and runs `prelude` first.
    pub fn new(prelude: &str) -> Receiver {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hold = folder.path().join("hold");
        nix::unistd::mkfifo(&hold, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        let hold = File::options().read(true).write(true).open(hold).expect("a fifo opens");
        let path = folder.path().to_str().expect("a temporary folder's name is text");
        let script = SCRIPT.replace("FOLDER", path).replace("PRELUDE", prelude);
        std::fs::write(folder.path().join("receiver.sh"), script).expect("a script is written");
        Receiver { folder, hold }
    }

    /// What to run: `bash` and this.
    pub fn script(&self) -> String {
        self.path("receiver.sh").to_str().expect("text").to_owned()
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until it catches signals: its pid and its parent's.
    pub fn await_up(&self) -> (Pid, Pid) {
        await_change(self.folder.path(), || {
            let text = std::fs::read_to_string(self.path("log")).ok()?;
            let (up, _) = text.split_once('\n')?;
            let pids: Vec<i32> = up.split(' ').skip(1).map(|pid| pid.parse().expect("a pid")).collect();
            Some((Pid::from_raw(pids[0]), Pid::from_raw(pids[1])))
        })
    }

    /// The signals it has caught, in order.
    pub fn signals(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        text.lines().skip(1).map(str::to_owned).collect()
    }

    /// Waits until `signal` has been caught `times` times.
    pub fn await_signal(&self, signal: Signal, times: usize) {
        let name = &signal.as_str()["SIG".len()..];
        await_change(self.folder.path(), || {
            (self.signals().iter().filter(|caught| *caught == name).count() >= times).then_some(())
        });
    }

    /// Waits until a file in its folder has `count` lines.
    pub fn await_lines(&self, name: &str, count: usize) -> Vec<String> {
        await_change(self.folder.path(), || {
            let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
            (text.matches('\n').count() >= count).then(|| text.lines().map(str::to_owned).collect())
        })
    }

    /// Tells it to exit with this status.
    pub fn end(&self, status: i32) {
        writeln!(&self.hold, "{status}").expect("it can be told");
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let read = |name| std::fs::read_to_string(self.path(name)).unwrap_or_default();
            eprintln!("what the command caught:\n{}what was said:\n{}", read("log"), read("err"));
        }
    }
}
