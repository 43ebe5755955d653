//! The tools around a command and what follows from them: which makes can be reached, what they are, how they are asked.
//!
//! Doesn't know how a tool joins, only whether the build that it does without jobgate also works with it.

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Real, finish, jobs, succeed};

/// A folder with files; those whose text begins with `#!` can be run.
fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
    }
    folder
}

fn run_in(folder: &Path, options: &[&str], command: &[&str]) -> Command {
    let mut line = support::run(options, command);
    line.current_dir(folder).env("LOG", folder.join("log"));
    line
}

fn fifo_is_understood(make: &Path) -> bool {
    !succeed(Command::new(make).arg("--version")).starts_with("GNU Make 4.3")
}

#[test]
fn a_build_script_may_hand_cargos_pool_to_an_old_make() {
    let Some(make) = support::tool(Real::SystemMake) else { return };
    let script = format!(
        "fn main() {{ let flags = std::env::var(\"CARGO_MAKEFLAGS\").unwrap();
        let made = std::process::Command::new(\"{}\").env(\"MAKEFLAGS\", flags).status().unwrap();
        assert!(made.success()); }}",
        make.display()
    );
    let folder = place(&[
        ("Cargo.toml", "[package]\nname = \"crate\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n"),
        ("build.rs", &script),
        ("src/lib.rs", ""),
        ("Makefile", "all:\n\t@true\n"),
    ]);
    succeed(run_in(folder.path(), &["-j3"], &["cargo", "build", "--offline"]).env_remove("CARGO_TARGET_DIR"));
}

#[test]
fn an_old_make_by_its_path_works_below_ninja() {
    let (Some(make), Some(newer), Some(ninja)) =
        (support::tool(Real::SystemMake), support::tool(Real::Make441), support::tool(Real::Ninja))
    else {
        return;
    };
    if fifo_is_understood(&make) {
        return support::skipped("the system's make isn't older than 4.4");
    }
    let build = format!("rule make\n  command = {} -s\nbuild all: make\n", make.display());
    let folder = place(&[("build.ninja", &build), ("Makefile", "all:\n\t@true\n")]);
    std::os::unix::fs::symlink(&newer, folder.path().join("gmake")).unwrap();
    std::os::unix::fs::symlink(&newer, folder.path().join("make")).unwrap();
    let path = support::path_with(&[&folder.path().join("make")]);
    succeed(run_in(folder.path(), &["-j3"], &[ninja.to_str().unwrap()]).env("PATH", path));
}

#[test]
fn a_make_that_is_a_script_around_jobgate_is_asked_once() {
    let count = "echo asked >>$COUNT; test $(wc -l <$COUNT) -lt 20 || exit 1";
    let make =
        format!("#!/bin/sh\n{count}\nexec {} run -j2 -- env /usr/bin/make \"$@\"\n", support::jobgate());
    let folder = place(&[("make", &make), ("Makefile", "all:\n\t@echo made\n")]);
    let path = support::path_with(&[&folder.path().join("make")]);
    let counted = folder.path().join("count");
    let made = succeed(run_in(folder.path(), &[], &["make"]).env("PATH", path).env("COUNT", &counted));
    assert_eq!(made, "made\n");
    let asked = std::fs::read_to_string(counted).unwrap().lines().count();
    assert!(asked <= 4, "asked {asked} times");
}

#[test]
fn a_make_that_does_not_answer_is_not_waited_for() {
    let folder = place(&[("make", "#!/bin/sh\nexec sleep 1000\n")]);
    let path = support::path_with(&[&folder.path().join("make")]);
    let flags = succeed(run_in(folder.path(), &[], &["sh", "-c", "echo \"$MAKEFLAGS\""]).env("PATH", path));
    assert!(!flags.contains("fifo:"), "an unknown make may be an old one: {flags}");
}

/// A folder for what is remembered of the system's makes.
struct Remembering {
    folder: tempfile::TempDir,
}

impl Remembering {
    fn new() -> Option<Remembering> {
        support::tool(Real::SystemMake)?;
        Some(Remembering { folder: tempfile::tempdir().unwrap() })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("cache/jobgate/versions.json")
    }

    /// A run whose command, which could be anything, tells which endpoint it has: a fifo where no make is old.
    fn run(&self) -> Command {
        let mut line = run_in(self.folder.path(), &["--private"], &["sh", "-c", "echo \"$MAKEFLAGS\""]);
        line.env("XDG_CACHE_HOME", self.folder.path().join("cache"));
        line
    }

    fn has_fifo(&self) -> bool {
        succeed(&mut self.run()).contains("fifo:")
    }
}

#[test]
fn what_a_make_has_answered_is_remembered() {
    let Some(place) = Remembering::new() else { return };
    let has_fifo = place.has_fifo();
    let text = std::fs::read_to_string(place.file()).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(&place.file()), mode(place.file().parent().unwrap())], [0o600, 0o700], "{text}");
    // Makes that are taken for others: nobody has asked them.
    let changed = text.replace("GNU Make ", if has_fifo { "GNU Make 1." } else { "GNU Make 9" });
    assert_ne!(changed, text);
    std::fs::write(place.file(), &changed).unwrap();
    assert_eq!(place.has_fifo(), !has_fifo, "{changed}");
    // A file that is no good is as good as none.
    std::fs::write(place.file(), &changed[1..]).unwrap();
    assert_eq!(place.has_fifo(), has_fifo);
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), text);
}

#[test]
fn without_a_home_nothing_is_remembered_and_nothing_is_said() {
    let Some(place) = Remembering::new() else { return };
    for home in [None, Some("relative"), Some("/nonexistent")] {
        let mut line = place.run();
        line.env_remove("XDG_CACHE_HOME").env_remove("HOME");
        if let Some(home) = home {
            line.env("HOME", home);
        }
        let output = finish(&mut line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""), "{home:?}");
    }
    assert!(!Path::new("/nonexistent").exists());
    assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 0);
}

#[test]
fn runs_that_remember_at_the_same_time_leave_a_whole_file() {
    let Some(place) = Remembering::new() else { return };
    for _ in 0..3 {
        let start = |_| place.run().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let runs: Vec<_> = (0..6).map(start).collect();
        for run in runs {
            let output = support::finish_child(run);
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
        let text = std::fs::read(place.file()).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&text).expect("whole");
        assert!(read["programs"][0]["says"].is_string(), "{read}");
        let entries = std::fs::read_dir(place.file().parent().unwrap()).unwrap();
        assert_eq!(entries.count(), 1, "nothing else is left there");
        std::fs::remove_file(place.file()).unwrap();
    }
}

#[test]
fn without_a_path_the_default_one_is_looked_at() {
    let Some(make) = support::tool(Real::SystemMake) else { return };
    let folder = place(&[("Makefile", "all:\n\t@echo \"$(MAKEFLAGS)\"\n")]);
    let flags = succeed(run_in(folder.path(), &["-j3"], &["make"]).env_remove("PATH"));
    assert_eq!(flags.contains("fifo:"), fifo_is_understood(&make), "{flags}");
}

/// A ninja in name and answer, which runs what it was given as an argument.
fn ninja_called(version: &str) -> String {
    format!("#!/bin/sh\nif [ \"$*\" = --version ]; then echo {version}; else echo \"$MAKEFLAGS; $*\"; fi\n")
}

#[test]
fn a_ninja_is_given_what_it_can_join_or_its_own_number() {
    let rows: [(&str, &[&str], bool, &str); 6] = [
        ("1.13.2", &["-j3"], true, "all"),
        ("1.13.2", &["-j3", "--style", "pipe"], false, "-j3 all"),
        ("1.13.2.git.kitware.jobserver-pipe-1", &["-j3", "--style", "pipe"], false, "all"),
        ("1.11.1.git.kitware.jobserver-1", &["-j3"], false, "all"),
        ("1.11.1", &["-j3"], false, "-j3 all"),
        ("1.11.1", &["-j20"], false, "-j16 all"),
    ];
    for (version, options, fifo, args) in rows {
        let folder = place(&[("ninja", &ninja_called(version))]);
        let told = succeed(&mut run_in(folder.path(), options, &["./ninja", "-j16", "all"]));
        let (flags, given) = told.trim_end().rsplit_once("; ").unwrap();
        assert_eq!((flags.contains("fifo:"), given), (fifo, args), "{version} {options:?}: {told}");
    }
}

#[test]
fn real_tools_that_join_nothing_keep_to_the_number_they_are_given() {
    for tool in [Real::OldNinja, Real::Samurai] {
        let Some(path) = support::tool(tool) else { continue };
        let folder = place(&[("build.ninja", &support::build_ninja(6, 0.2))]);
        succeed(&mut run_in(folder.path(), &["--private", "-j2"], &[path.to_str().unwrap(), "-v", "-j5"]));
        let seen = jobs(&folder.path().join("log"));
        assert_eq!((seen.count, seen.peak), (6, 2), "{tool:?}");
    }
}

#[test]
fn variables_too_large_for_us_are_not_too_large_for_the_command() {
    // One string may have 128 KiB, "MAKEFLAGS=" and the final zero included (execve(2)).
    let name = "MAKEFLAGS=";
    let flags = format!("k -- X={}", "x".repeat(128 * 1024 - name.len() - "k -- X=".len() - 1));
    let folder = tempfile::tempdir().unwrap();
    let output = finish(run_in(folder.path(), &[], &["sh", "-c", "exit 7"]).env("MAKEFLAGS", flags));
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

#[test]
fn an_unlinked_fifo_is_filled_again_after_a_hold() {
    let Some(make) = support::tool(Real::Make441) else { return };
    let folder = place(&[("Makefile", &support::makefile(150, 0.1))]);
    let temporary: PathBuf = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let proc = support::FakeProc::new();
    let log = folder.path().join("log");
    let options = ["-j4", "--style", "fifo", "--max-cpu", "100000", "--proc", proc.path()];
    let mut line = run_in(folder.path(), &options, &[make.to_str().unwrap()]);
    line.env("TMPDIR", &temporary).env_remove("XDG_RUNTIME_DIR");
    line.stdout(Stdio::piped()).stderr(Stdio::piped());
    let growth = proc.grow(&[("cpu", 900_000)]);
    let child = line.spawn().unwrap();
    let course =
        |wanted: usize| move |seen: support::Jobs| (seen.peak >= wanted).then_some(seen.course.len());
    let started = support::await_change(folder.path(), || course(2)(jobs(&log)));
    // Held: alone for six jobs in a row.
    support::await_change(folder.path(), || {
        let seen = jobs(&log).course;
        let last = seen.len().checked_sub(12).filter(|&at| at > started)?;
        seen[last..].iter().all(|&(_, running)| running <= 1).then_some(())
    });
    let ours = temporary.join(format!("jobgate-{}", nix::unistd::geteuid()));
    if std::fs::remove_dir_all(ours).is_err() {
        support::skipped("the fifo lies in /run/user, where it isn't to be unlinked");
    }
    let held = jobs(&log).course.len();
    drop(growth);
    let output = support::finish_child(child);
    assert!(output.status.success(), "{output:?}");
    let after = jobs(&log).course.split_off(held).into_iter().map(|(_, running)| running).max();
    assert_eq!(after, Some(4), "all jobs are back");
}
