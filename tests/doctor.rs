//! `jobgate doctor`: what it finds in prepared environments and folders, what it says of it, and what it exits with.
//!
//! Doesn't know the rows of each judgement (unit tests in `proto::findings`), only that each thing is looked at.

mod support;

use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{FakeProc, clean, finish, finish_child, jobgate, skipped};

/// A place where nothing is wrong: a PATH with only what a test puts there, an empty folder, readable pressure.
struct Place {
    folder: tempfile::TempDir,
    proc: FakeProc,
}

/// What doctor said in JSON, and its exit status.
struct Said {
    status: Option<i32>,
    json: Value,
}

impl Said {
    /// What the findings are about, in their order.
    fn abouts(&self) -> Vec<&str> {
        self.findings().iter().map(|finding| finding["about"].as_str().expect("a word")).collect()
    }

    fn findings(&self) -> &Vec<Value> {
        self.json["findings"].as_array().expect("a list")
    }

    /// There is this one finding, it names `culprit`, its mend `way_out`, and the status says so, too.
    fn assert_one(&self, about: &str, culprit: &str, way_out: &str) {
        assert_eq!((self.status, self.abouts()), (Some(1), vec![about]), "{}", self.json);
        let text = |key: &str| self.findings()[0][key].as_str().expect("a sentence").to_owned();
        assert!(text("what").contains(culprit), "{culprit:?} isn't in {:?}", text("what"));
        assert!(text("mend").contains(way_out), "{way_out:?} isn't in {:?}", text("mend"));
    }

    fn assert_nothing(&self) {
        assert_eq!((self.status, self.abouts()), (Some(0), vec![]), "{}", self.json);
    }
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a temporary folder"), proc: FakeProc::new() };
        for folder in ["bin", "work", "runtime"] {
            std::fs::create_dir(place.path(folder)).expect("a folder in it");
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that says this when it is asked for its version.
    fn program(&self, name: &str, says: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("its folder");
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).expect("a program");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it can be run");
        path
    }

    fn doctor(&self, words: &[&str]) -> Command {
        let mut command = clean(Command::new(jobgate()));
        command.args(["doctor", "--proc", self.proc.path()]).args(words).current_dir(self.path("work"));
        for name in [
            "NINJAFLAGS",
            "PARALLEL_MAKE",
            "CMAKE_BUILD_PARALLEL_LEVEL",
            "CARGO_BUILD_JOBS",
            "DEB_BUILD_OPTIONS",
            "XDG_DATA_HOME",
            "XDG_RUNTIME_DIR",
            "TMPDIR",
        ] {
            command.env_remove(name);
        }
        command.env("HOME", self.folder.path()).env("PATH", self.path("bin"));
        command
    }

    fn said(&self, prepare: impl FnOnce(&mut Command)) -> Said {
        let mut command = self.doctor(&["--json"]);
        prepare(&mut command);
        said(&mut command)
    }

    fn with(&self, variable: &str, value: &str) -> Said {
        self.said(|command| {
            command.env(variable, value);
        })
    }
}

fn said(command: &mut Command) -> Said {
    let output = finish(command);
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert!(output.stderr.is_empty(), "{output:?}");
    Said { status: output.status.code(), json }
}

#[test]
fn where_nothing_is_wrong_the_tools_are_listed() {
    let place = Place::new();
    place.program("bin/make", "GNU Make 4.4.1");
    place.program("bin/ninja", "1.11.1");
    let output = finish(&mut place.doctor(&[]));
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let make = place.path("bin/make").display().to_string();
    assert!(text.lines().any(|line| line.starts_with(&make) && line.ends_with("fifo")), "{text}");
    assert!(
        text.contains("-jK held")
            && text.ends_with("\nnothing found that would keep a build out of the gate\n")
    );
    place.said(|_| ()).assert_nothing();
}

#[test]
fn each_finding_is_two_lines_for_people() {
    let place = Place::new();
    let output = finish(place.doctor(&[]).env("CARGO_BUILD_JOBS", "3"));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().rev().take(2).collect();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(lines[1].starts_with("1. CARGO_BUILD_JOBS is '3': "), "{text}");
    assert!(lines[0].starts_with("   Unset CARGO_BUILD_JOBS"), "{text}");
}

#[test]
fn what_each_tool_is_given() {
    let place = Place::new();
    place.program("bin/make", "GNU Make 4.3");
    place.program("second/make", "GNU Make 4.4.1");
    place.program("bin/samu", "1.9.0");
    // A link to a program that goes by its name, as rustup's.
    let rustup = place.path("bin/rustup");
    let script = "#!/bin/sh\ncase $0 in *cargo) echo cargo 1.95.0;; *) echo rustup 1.28.0;; esac\n";
    std::fs::write(&rustup, script).expect("a program");
    std::fs::set_permissions(&rustup, PermissionsExt::from_mode(0o755)).expect("it can be run");
    symlink(&rustup, place.path("bin/cargo")).expect("a link");
    // The same file under another path is no other tool.
    symlink(place.path("bin"), place.path("third")).expect("a link");
    let path = ["bin", "second", "third"].map(|folder| place.path(folder));
    let path = std::env::join_paths(path).expect("no colon in a folder");
    let said = place.said(|command| {
        command.env("PATH", path);
    });
    said.assert_nothing();
    let ours = |tool: &&Value| {
        tool["path"].as_str().is_some_and(|path| Path::new(path).starts_with(place.folder.path()))
    };
    let line = |tool: &Value| {
        let word = |key: &str| tool[key].as_str().unwrap_or("?").to_owned();
        format!(
            "{} {} {}{}",
            word("name"),
            word("version"),
            word("gets"),
            if tool["note"].is_null() { "" } else { " !" }
        )
    };
    let tools: Vec<String> =
        said.json["tools"].as_array().expect("a list").iter().filter(ours).map(line).collect();
    let want = ["make 4.3 pipe !", "make 4.4.1 fifo", "samu 1.9.0 -jK held", "cargo 1.95.0 pipe"];
    assert_eq!(tools, want, "{}", said.json);
}

#[test]
fn a_make_that_is_none_or_does_not_answer() {
    let place = Place::new();
    place.program("bin/make", "bmake 20200710");
    place.said(|_| ()).assert_one("make", "it says 'bmake 20200710'", "jobgate run -- gmake");
    let make = place.program("bin/make", "");
    // A fifo that nobody writes to: it says nothing for ever, and nothing of it is left behind when it is killed.
    nix::unistd::mkfifo(&place.path("silence"), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    std::fs::write(&make, format!("#!/bin/sh\nread line <{}\n", place.path("silence").display()))
        .expect("a program");
    place.said(|_| ()).assert_one("make", "doesn't tell its version within a second", "make --version");
}

#[test]
fn pressure_that_cannot_be_read() {
    let place = Place::new();
    let pressure = place.proc.root.path().join("pressure");
    std::fs::write(pressure.join("io"), "").expect("an empty file");
    place.said(|_| ()).assert_one("psi", "pressure/io has no line 'some", "Give --proc a folder");
    std::fs::remove_file(pressure.join("io")).expect("it was there");
    place.said(|_| ()).assert_one("psi", "pressure/io isn't there", "Give --proc a folder");
    std::fs::remove_dir_all(&pressure).expect("it was there");
    place.said(|_| ()).assert_one("psi", "pressure isn't there", "Give --proc a folder");
}

#[test]
fn kernel_limits_that_are_too_small() {
    let place = Place::new();
    let settings = place.proc.root.path().join("sys/fs");
    std::fs::create_dir_all(&settings).expect("a folder");
    let rows = [
        ("pipe-max-size", "4096\n", Some("pipe-max-size is 4096")),
        ("pipe-max-size", "1048576\n", None),
        ("pipe-user-pages-soft", "16\n", Some("pipe-user-pages-soft is 16")),
        ("pipe-user-pages-soft", "0\n", None),
    ];
    for (name, value, culprit) in rows {
        std::fs::write(settings.join(name), value).expect("a setting");
        match culprit {
            Some(culprit) => place.said(|_| ()).assert_one("pipes", culprit, &format!("sysctl fs.{name}=")),
            None => place.said(|_| ()).assert_nothing(),
        }
    }
}

#[test]
fn numbers_of_jobs_in_the_environment() {
    let place = Place::new();
    let rows = [
        ("MAKEFLAGS", "k -j8", "'-j8'", "--cap 8"),
        ("MAKEFLAGS", "-l3", "'-l3'", "--max-cpu"),
        ("GNUMAKEFLAGS", "--jobs=5", "'--jobs=5'", "--cap 5"),
        ("NINJAFLAGS", "-j8", "'-j8'", "NINJAFLAGS"),
        ("PARALLEL_MAKE", "-j 8", "'-j 8'", "PARALLEL_MAKE"),
        ("CMAKE_BUILD_PARALLEL_LEVEL", "8", "'8'", "Unset CMAKE_BUILD_PARALLEL_LEVEL"),
        ("CARGO_BUILD_JOBS", "8", "NUM_JOBS", "Unset CARGO_BUILD_JOBS"),
        ("DEB_BUILD_OPTIONS", "nocheck parallel=8", "debhelper", "Take parallel=8 out"),
    ];
    for (name, value, culprit, way_out) in rows {
        place.with(name, value).assert_one(name, culprit, way_out);
        place.with(name, "").assert_nothing();
    }
}

#[test]
fn jobservers_that_are_not_there() {
    let place = Place::new();
    let gone = place.path("gone");
    let fifo = format!(" -j --jobserver-auth=fifo:{}", gone.display());
    place.with("MAKEFLAGS", &fifo).assert_one("MAKEFLAGS", "which is dead", "Whoever made it has ended");
    // 200 and 201 are open to nobody here; the lowest numbers are the first that doctor itself opens.
    for auth in ["200,201", "3,4"] {
        let pipe = format!(" -j4 --jobserver-auth={auth}");
        place.with("MAKEFLAGS", &pipe).assert_one("MAKEFLAGS", "which is dead", "$(MAKE)");
    }
    let kept_back = " -j4 --jobserver-auth=200,201 --jobserver-auth=-2,-2";
    place.with("MAKEFLAGS", kept_back).assert_one("MAKEFLAGS", "keeps its jobserver back", "$(MAKE)");
    place.with("CARGO_MAKEFLAGS", &fifo).assert_one(
        "CARGO_MAKEFLAGS",
        "which is dead",
        "Unset CARGO_MAKEFLAGS",
    );
    let said = place.said(|command| {
        let auth = format!("fifo:{}", gone.display());
        command.envs([("MAKEFLAGS", &fifo), ("CARGO_MAKEFLAGS", &fifo), ("JOBGATE_AUTH", &auth)]);
    });
    said.assert_one("MAKEFLAGS", "which is dead", "jobgate env --stop");
}

#[test]
fn inside_a_run_all_is_well_but_for_what_names_another_jobserver() {
    let place = Place::new();
    for style in ["pipe", "fifo"] {
        let inside = |variable: &str| {
            let doctor = format!("{variable} exec {} doctor --json --proc {}", jobgate(), place.proc.path());
            let mut command = clean(Command::new(jobgate()));
            let run = ["run", "--private", "--style", style, "-j3", "--", "/bin/sh", "-c", &doctor];
            command.args(run).current_dir(place.path("work"));
            command.env("HOME", place.folder.path()).env("PATH", place.path("bin"));
            said(&mut command)
        };
        inside("").assert_nothing();
        // As make itself tells the size of its pool.
        inside("MAKEFLAGS=\"$MAKEFLAGS -j3\";").assert_nothing();
        // Held open for reading and writing, so alive.
        let other = place.path(style);
        nix::unistd::mkfifo(&other, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        let other = other.display();
        inside(&format!("exec 9<>{other}; CARGO_MAKEFLAGS=--jobserver-auth=fifo:{other}")).assert_one(
            "CARGO_MAKEFLAGS",
            "which cargo joins, while MAKEFLAGS names",
            "Unset CARGO_MAKEFLAGS",
        );
    }
}

#[test]
fn the_makefile_at_hand_is_read() {
    let place = Place::new();
    let write =
        |name: &str, text: &str| std::fs::write(place.path("work").join(name), text).expect("a makefile");
    write("Makefile", "all:\n\ttrue\nMAKEFLAGS += -j8\n");
    place.said(|_| ()).assert_one(
        "makefile",
        "Makefile:3 puts '-j8' into MAKEFLAGS",
        "jobgate run -j8 -- make",
    );
    // make reads the first that is there.
    write("GNUmakefile", "MAKEFLAGS := -l2\n");
    place.said(|_| ()).assert_one("makefile", "GNUmakefile:1 puts '-l2'", "--max-cpu");
    write("GNUmakefile", "all:\n");
    place.said(|_| ()).assert_nothing();
}

#[test]
fn sockets_that_cannot_be_used() {
    let place = Place::new();
    let long = format!("/tmp/{}", "x".repeat(120));
    for (socket, culprit) in
        [("gate", "must be an absolute path"), (&long, "too long a path"), ("/gate", "in a folder")]
    {
        place.with("JOBGATE_SOCKET", socket).assert_one("socket", culprit, "unset JOBGATE_SOCKET");
    }
    let open = place.path("open");
    std::fs::create_dir(&open).expect("a folder");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).expect("it is ours");
    let socket = open.join("socket");
    let named = socket.to_str().expect("text");
    place.with("JOBGATE_SOCKET", named).assert_one(
        "socket",
        named,
        &format!("jobgate serve --socket {named}"),
    );
    let option = place.said(|command| {
        command.args(["--socket", named]);
    });
    option.assert_one("socket", named, "jobgate serve");
}

#[test]
fn a_gate_of_another_version() {
    use std::io::{BufRead, BufReader, Write};
    let place = Place::new();
    let socket = place.path("runtime/socket");
    let gate = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || {
        for stream in gate.incoming().map_while(Result::ok) {
            // Who says nothing only looked whether somebody is there.
            let mut hello = String::new();
            if BufReader::new(&stream).read_line(&mut hello).is_ok_and(|length| length > 0) {
                let _ = (&stream).write_all(b"{\"welcome\":{\"protocol\":\"2.0\",\"id\":1}}\n");
            }
        }
    });
    let said = place.with("JOBGATE_SOCKET", socket.to_str().expect("text"));
    said.assert_one("socket", "it speaks protocol \"2.0\"", "End that gate");
}

#[test]
fn a_gate_that_runs_is_fine_and_none_is_started() {
    let place = Place::new();
    let socket = support::own_socket();
    let socket = socket.to_str().expect("text");
    place.with("JOBGATE_SOCKET", socket).assert_nothing();
    assert!(!Path::new(socket).exists(), "doctor starts no gate");
    let doctor = format!("exec {} doctor --json --proc {}", jobgate(), place.proc.path());
    let mut run = clean(Command::new(jobgate()));
    run.args(["run", "-j2", "--", "/bin/sh", "-c", &doctor]).current_dir(place.path("work"));
    run.env("JOBGATE_SOCKET", socket).env("HOME", place.folder.path()).env("PATH", place.path("bin"));
    said(&mut run).assert_nothing();
}

#[test]
fn folders_that_others_may_write_to() {
    if Path::new("/run/jobgate/socket").exists()
        || Path::new(&format!("/run/user/{}", nix::unistd::geteuid())).exists()
    {
        return skipped("a folder of the system's comes before the one that this test prepares");
    }
    let place = Place::new();
    let mine = place.path("runtime/jobgate");
    std::fs::create_dir(&mine).expect("a folder");
    let look = |place: &Place| {
        place.said(|command| {
            command.env_remove("JOBGATE_SOCKET").env("XDG_RUNTIME_DIR", place.path("runtime"));
        })
    };
    std::fs::set_permissions(&mine, PermissionsExt::from_mode(0o770)).expect("it is ours");
    let name = mine.to_str().expect("text");
    look(&place).assert_one("socket", name, &format!("chmod go-w {name}"));
    std::fs::set_permissions(&mine, PermissionsExt::from_mode(0o700)).expect("it is ours");
    look(&place).assert_nothing();
}

/// Above these the kernel sets limits for one user namespace alone.
#[test]
fn what_is_used_up_is_seen_by_trying() {
    let place = Place::new();
    let mut probe = Command::new("unshare");
    probe.args(["--user", "--map-root-user", "sh", "-c", "echo 0 >/proc/sys/user/max_inotify_instances"]);
    if !nix::unistd::geteuid().is_root() || !probe.output().is_ok_and(|output| output.status.success()) {
        return skipped("it takes root, and user namespaces with limits of their own");
    }
    let within = |script: &str| {
        let doctor = format!(
            "{script}; PATH={} exec {} doctor --json --proc {}",
            place.path("bin").display(),
            jobgate(),
            place.proc.path()
        );
        let mut command = clean(Command::new("unshare"));
        command.args(["--user", "--map-root-user", "sh", "-c", &doctor]).current_dir(place.path("work"));
        command.env("HOME", place.folder.path());
        said(&mut command)
    };
    within(":").assert_nothing();
    let no_inotify = "echo 0 >/proc/sys/user/max_inotify_instances";
    within(no_inotify).assert_one("inotify", "Too many open files", "sysctl fs.inotify.max_user_instances=");
    // Root's own processes aren't bound by the quota; those in a namespace are, and share it.
    let quota = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").expect("a setting");
    let Ok(quota @ 1..=65536) = quota.trim().parse::<usize>() else {
        return skipped("the quota is off, or larger than this test can use up");
    };
    let pages = 256;
    let hold = |_| {
        let (_, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
        let size = nix::fcntl::FcntlArg::F_SETPIPE_SZ(i32::try_from(pages * 4096).expect("it fits"));
        nix::fcntl::fcntl(&writer, size).expect("root may");
        writer
    };
    let _held: Vec<_> = (0..quota.div_ceil(pages)).map(hold).collect();
    within(":").assert_one("pipes", "A new pipe holds only", "sysctl fs.pipe-user-pages-soft=");
}

#[test]
fn shims_behind_other_tools() {
    let place = Place::new();
    let shims = place.path("data/jobgate/shims/sets/make");
    let make = place.program("bin/make", "GNU Make 4.4.1");
    let look = |folders: &[&Path], inside: bool| {
        place.said(|command| {
            command.env("XDG_DATA_HOME", place.path("data"));
            command.env("PATH", std::env::join_paths(folders).expect("no colon in a folder"));
            if inside {
                command.env("JOBGATE_AUTH", "3,4");
            }
        })
    };
    let bin = place.path("bin");
    look(&[&bin], true).assert_nothing();
    std::fs::create_dir_all(&shims).expect("a folder");
    std::os::unix::fs::symlink(support::jobgate(), shims.join("make")).expect("a link");
    look(&[&bin], false).assert_nothing();
    look(&[&shims, &bin], true).assert_nothing();
    look(&[&bin, &shims], false).assert_one("shims", make.to_str().expect("text"), "export PATH=");
    look(&[&bin], true).assert_one("shims", "isn't on PATH inside this run", "export PATH=");
    let in_home = place.path(".local/share/jobgate/shims/sets/make");
    let home = place.said(|command| {
        command.env("PATH", std::env::join_paths([&bin, &in_home]).expect("no colon in a folder"));
    });
    home.assert_one("shims", in_home.to_str().expect("text"), "export PATH=");
    let tools = look(&[&shims, &bin], true).json["tools"].to_string();
    assert!(!tools.contains("shims"), "{tools}");
}

#[test]
fn what_is_our_own_failure_and_what_is_none() {
    let place = Place::new();
    let output = finish(&mut place.doctor(&["--no-such-option"]));
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    // That nobody reads it is no failure; the status still tells.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = place.doctor(&[]);
    let output = finish_child(
        command
            .env("CARGO_BUILD_JOBS", "3")
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts"),
    );
    assert_eq!((output.status.code(), output.stderr), (Some(1), Vec::new()));
}
