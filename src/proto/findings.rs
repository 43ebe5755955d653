//! What keeps builds out of the gate: from what was seen on a machine to findings, each with its mend.
//!
//! Doesn't look at anything itself. Variables and makefiles are in `flags`, tools in `tools`; here are the kernel and its
//! limits, sockets and folders.

use super::kernel::pressure_total;
use serde::Serialize;
use std::path::{Path, PathBuf};

pub mod flags;
pub mod tools;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, in a word: `psi`, `socket`, the variable's name.
    pub about: String,
    /// A sentence with the path or the value in it.
    pub what: String,
    /// A sentence that says what to do.
    pub mend: String,
}

impl Finding {
    /// Of these words.
    pub fn new(about: &str, what: String, mend: String) -> Finding {
        Finding { about: about.to_owned(), what, mend }
    }
}

/// All that a look at a machine gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checkup {
    /// The tools there, as they are found: those that come first are those that a name alone means.
    pub tools: Vec<tools::Tool>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Why a pressure file says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// There is no such file.
    Absent,
    /// The kernel has it and answers that PSI is off.
    Off,
    /// In the system's words.
    Other(String),
}

/// Judges the files of `ROOT/pressure`, each with its name and its text.
pub fn pressure(root: &Path, files: &[(&str, Result<Vec<u8>, Unreadable>)]) -> Vec<Finding> {
    let folder = root.join("pressure");
    let mend = |mend: &str| match root == Path::new("/proc") {
        true => mend.to_owned(),
        false => {
            "Give --proc a folder with pressure/cpu, io and memory as the kernel writes them.".to_owned()
        }
    };
    const START_WITH_PSI: &str = "Start a kernel that has CONFIG_PSI with psi=1 on its command line; until then every threshold is passed over and \
         only the number of jobs holds.";
    if files.iter().all(|(_, file)| *file == Err(Unreadable::Absent)) {
        let what =
            format!("{} isn't there: this kernel has no PSI or was started with psi=0.", folder.display());
        return vec![Finding::new("psi", what, mend(START_WITH_PSI))];
    }
    let judge = |(name, file): &(&str, Result<Vec<u8>, Unreadable>)| {
        let path = folder.join(name);
        let path = path.display();
        let (what, to_do) = match file {
            Ok(text) if pressure_total(text, "some").is_some() => return None,
            Ok(_) => (
                format!("{path} has no line 'some ... total=N' in it."),
                "See what is mounted over it, and take that away.",
            ),
            Err(Unreadable::Absent) => {
                (format!("{path} isn't there, though other pressure files are."), START_WITH_PSI)
            }
            Err(Unreadable::Off) => (format!("{path} can't be read: PSI is turned off."), START_WITH_PSI),
            Err(Unreadable::Other(why)) => (
                format!("{path} can't be read: {why}."),
                "Let this user read it: a container or a security module keeps it away.",
            ),
        };
        Some(Finding::new("psi", what, mend(to_do)))
    };
    files.iter().filter_map(judge).collect()
}

/// The least that a pipe's buffer may be limited to: a fifo needs so much so that no tool's return can block.
const LEAST_PIPE: u64 = 8192;

/// A new pipe that holds no more than this is one beyond the user's quota; jobgate then can't follow who closes its fifo.
const MEAGRE_PIPE: u64 = 2 * LEAST_PIPE;

/// Sixteen pipes of the usual sixteen pages: a run, its make and a few tools have about so many open.
const LEAST_QUOTA: u64 = 256;

/// Judges the size that a new pipe gets (or why there is none), and the kernel's limits in pages and bytes, where they
/// are known (pipe(7)).
pub fn pipes(fresh: &Result<u64, String>, quota: Option<u64>, largest: Option<u64>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |what: String, mend: &str| findings.push(Finding::new("pipes", what, mend.to_owned()));
    if let Some(largest) = largest.filter(|&largest| largest < LEAST_PIPE) {
        add(
            format!(
                "fs.pipe-max-size is {largest}, and the fifo through which tokens go needs {LEAST_PIPE} bytes."
            ),
            "Raise it: sysctl fs.pipe-max-size=1048576.",
        );
    }
    if let Some(quota) = quota.filter(|&quota| (1..LEAST_QUOTA).contains(&quota)) {
        add(
            format!(
                "fs.pipe-user-pages-soft is {quota}: a user's pipes beyond so many pages are cut down to two."
            ),
            "Raise it: sysctl fs.pipe-user-pages-soft=16384.",
        );
    }
    match fresh {
        Err(why) => add(
            format!("A pipe can't be made: {why}."),
            "End what holds so many files, or raise the limit (ulimit -n, fs.file-max, fs.pipe-user-pages-hard).",
        ),
        // Whatever else was said explains it.
        Ok(size) if *size <= MEAGRE_PIPE && largest.is_none_or(|largest| largest > MEAGRE_PIPE) => {
            let quota = quota.map_or(String::new(), |quota| format!(" ({quota} pages)"));
            add(
                format!(
                    "A new pipe holds only {size} bytes: this user's pipes are beyond fs.pipe-user-pages-soft{quota}."
                ),
                "End what holds so many pipes, or raise it: sysctl fs.pipe-user-pages-soft=65536.",
            );
        }
        Ok(_) => {}
    }
    findings
}

/// No inotify instance can be had.
pub fn inotify(why: &str, instances: Option<u64>) -> Finding {
    let limit = instances.map_or(String::new(), |instances| format!(" is {instances}"));
    Finding::new(
        "inotify",
        format!("No inotify instance can be had ({why}; fs.inotify.max_user_instances{limit})."),
        "End what holds so many (editors, file watchers), or raise it: sysctl fs.inotify.max_user_instances=1024; until \
         then tokens of killed tools may come back late."
            .to_owned(),
    )
}

/// The socket that was named, or any at all, can't be used.
pub fn no_socket(why: &str, is_named: bool) -> Finding {
    let mend = if is_named {
        "Name one by an absolute path of at most 107 bytes in a folder that is yours alone, or unset JOBGATE_SOCKET."
    } else {
        "Make a folder that only you may write to, and set XDG_RUNTIME_DIR to it."
    };
    Finding::new("socket", sentence(why), mend.to_owned())
}

/// Nobody listens at the socket that was named, and no gate may be started there.
pub fn no_gate_there(socket: &Path) -> Finding {
    Finding::new(
        "socket",
        format!(
            "No gate listens at {}, and none is started in a folder that isn't yours alone.",
            socket.display()
        ),
        format!(
            "Start one there (jobgate serve --socket {}), or name a socket in a folder of your own.",
            socket.display()
        ),
    )
}

/// A socket's folder is passed over, for this reason.
pub fn passed_over(folder: &Path, why: &str) -> Finding {
    let name = folder.display();
    let mend = if why.contains("rename") {
        "Set the sticky bit of that folder (chmod +t), or point XDG_RUNTIME_DIR and TMPDIR at folders of your own."
            .to_owned()
    } else if why.contains("writable") {
        format!("Take the right to write there from others: chmod go-w {name}.")
    } else {
        format!("Take {name} out of the way, or point XDG_RUNTIME_DIR and TMPDIR at folders of your own.")
    };
    Finding::new("socket", format!("{name} can't hold a gate's socket or fifo: {why}."), mend)
}

/// The shims can't lie where they should, for this reason.
pub fn no_shims(folder: &Path, why: &str) -> Finding {
    Finding::new(
        "shims",
        format!("{} can't hold the shims: {why}.", folder.display()),
        "Point HOME, or XDG_DATA_HOME, at a folder of your own that nobody else can write to.".to_owned(),
    )
}

/// Something listens at a socket, and it is no gate that we could talk to.
pub fn strange_gate(why: &str) -> Finding {
    Finding::new(
        "socket",
        sentence(&format!("What listens is no gate for this jobgate: {why}")),
        "End that gate and let this jobgate start its own, or use the jobgate of the gate's version."
            .to_owned(),
    )
}

/// Judges where PATH has the shims: `behind` are the tools of a shim's name that come before it.
pub fn shims(shims: &Path, path: &[PathBuf], behind: &[PathBuf], is_inside: bool) -> Option<Finding> {
    let mend = format!("Put it first: export PATH={}:\"$PATH\".", shims.display());
    let name = shims.display();
    let what = match path.iter().position(|folder| folder == shims) {
        Some(0) => return None,
        None if !is_inside => return None,
        None => format!("{name} isn't on PATH inside this run."),
        Some(_) if !behind.is_empty() => {
            let tools: Vec<String> = behind.iter().map(|tool| tool.display().to_string()).collect();
            format!("{name} is on PATH behind {}.", tools.join(", "))
        }
        Some(at) => format!("{name} is on PATH behind {}.", path[at - 1].display()),
    };
    Some(Finding::new("shims", what, mend))
}

/// With a capital and a full stop, as the other sentences.
fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 total=0\n";

    fn whats(findings: &[Finding]) -> Vec<&str> {
        assert!(findings.iter().all(|finding| finding.what.ends_with('.') && finding.mend.ends_with('.')));
        findings.iter().map(|finding| &finding.what[..]).collect()
    }

    #[test]
    fn pressure_files() {
        let (good, absent, off) = (Ok(GOOD.to_vec()), Err(Unreadable::Absent), Err(Unreadable::Off));
        let other = Err(Unreadable::Other("Permission denied".to_owned()));
        let rows = [
            ([&good, &good, &good], vec![]),
            (
                [&absent, &absent, &absent],
                vec!["/proc/pressure isn't there: this kernel has no PSI or was started with psi=0."],
            ),
            (
                [&good, &absent, &good],
                vec!["/proc/pressure/io isn't there, though other pressure files are."],
            ),
            ([&off, &good, &good], vec!["/proc/pressure/cpu can't be read: PSI is turned off."]),
            ([&good, &good, &other], vec!["/proc/pressure/memory can't be read: Permission denied."]),
            (
                [&Ok(b"full total=1\n".to_vec()), &good, &off],
                vec![
                    "/proc/pressure/cpu has no line 'some ... total=N' in it.",
                    "/proc/pressure/memory can't be read: PSI is turned off.",
                ],
            ),
        ];
        for (files, found) in rows {
            let files = ["cpu", "io", "memory"].into_iter().zip(files.map(Clone::clone)).collect::<Vec<_>>();
            assert_eq!(whats(&pressure(Path::new("/proc"), &files)), found);
            let elsewhere = pressure(Path::new("/fake"), &files);
            assert!(elsewhere.iter().all(|finding| finding.mend.starts_with("Give --proc")), "{elsewhere:?}");
        }
    }

    #[test]
    fn pipes_that_hold_too_little() {
        let usual = (Ok(65536), Some(16384), Some(1_048_576));
        let none = Err("Too many open files".to_owned());
        let rows = [
            (usual.clone(), vec![]),
            // No limit; limits that can't be read; pages of 64 KiB.
            ((Ok(65536), Some(0), None), vec![]),
            ((Ok(131_072), None, None), vec![]),
            ((Ok(65536), Some(256), usual.2), vec![]),
            (
                (Ok(65536), Some(255), usual.2),
                vec![
                    "fs.pipe-user-pages-soft is 255: a user's pipes beyond so many pages are cut down to two.",
                ],
            ),
            (
                (Ok(8192), usual.1, usual.2),
                vec![
                    "A new pipe holds only 8192 bytes: this user's pipes are beyond fs.pipe-user-pages-soft (16384 pages).",
                ],
            ),
            (
                (Ok(4096), usual.1, Some(4096)),
                vec!["fs.pipe-max-size is 4096, and the fifo through which tokens go needs 8192 bytes."],
            ),
            ((Ok(65536), usual.1, Some(8192)), vec![]),
            ((none, usual.1, usual.2), vec!["A pipe can't be made: Too many open files."]),
        ];
        for ((fresh, quota, largest), found) in rows {
            assert_eq!(whats(&pipes(&fresh, quota, largest)), found, "{fresh:?} {quota:?} {largest:?}");
        }
    }

    #[test]
    fn shims_on_path() {
        let path = |text: &str| text.split(':').map(PathBuf::from).collect::<Vec<_>>();
        let rows = [
            ("/s:/usr/bin", "", false, None),
            ("/s/:/usr/bin", "", true, None),
            ("/usr/bin", "", false, None),
            ("/usr/bin", "", true, Some("/s isn't on PATH inside this run.")),
            ("/opt:/s:/usr/bin", "", false, Some("/s is on PATH behind /opt.")),
            ("/opt:/s", "/opt/make:/opt/ninja", true, Some("/s is on PATH behind /opt/make, /opt/ninja.")),
        ];
        for (folders, behind, is_inside, what) in rows {
            let behind = if behind.is_empty() { Vec::new() } else { path(behind) };
            let found = shims(Path::new("/s"), &path(folders), &behind, is_inside);
            assert_eq!(found.map(|finding| finding.what).as_deref(), what, "{folders}");
        }
    }

    #[test]
    fn sockets_and_folders() {
        let folder = Path::new("/tmp/jobgate-7");
        let findings = [
            no_socket("the socket 'x' must be an absolute path", true),
            passed_over(folder, "writable for others"),
            passed_over(folder, "owned by somebody else"),
            passed_over(folder, "/tmp is writable for others, who can rename what lies in it"),
            no_shims(Path::new("/home/x"), "/home is somebody else's"),
            strange_gate("/x: it speaks protocol \"2.0\""),
        ];
        let found = [
            "The socket 'x' must be an absolute path.",
            "/tmp/jobgate-7 can't hold a gate's socket or fifo: writable for others.",
            "/tmp/jobgate-7 can't hold a gate's socket or fifo: owned by somebody else.",
            "/tmp/jobgate-7 can't hold a gate's socket or fifo: /tmp is writable for others, who can rename what lies in \
             it.",
            "/home/x can't hold the shims: /home is somebody else's.",
            "What listens is no gate for this jobgate: /x: it speaks protocol \"2.0\".",
        ];
        assert_eq!(whats(&findings), found);
        assert!(findings[1].mend.contains("chmod go-w /tmp/jobgate-7"));
        assert!(!findings[2].mend.contains("chmod") && findings[3].mend.contains("chmod +t"));
    }
}
