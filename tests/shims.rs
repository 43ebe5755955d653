//! Shims: what stands for make and ninja on PATH. Who pays for what they start, what passes through, and that without a gate
//! they are the tools themselves.
//!
//! Doesn't know each pair of tools (nesting.rs).

mod support;

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use support::Real::{Make441, Ninja, SystemMake};
use support::shims::{Place, teller};
use support::{Real, clean, finish, jobgate, jobs, succeed};

const MAKES: [Real; 2] = [SystemMake, Make441];

/// Runs a script under a limit; the peak of its jobs is within it, the mean at least that.
fn within(place: &Place, options: &[&str], limit: usize, script: &str, count: usize, mean: f64) {
    let output = finish(&mut place.run(options, script));
    let what = format!("{options:?} {script}");
    assert!(output.status.success(), "{what}: {output:?}");
    let seen = jobs(&place.log());
    assert_eq!(seen.count, count, "{what}");
    assert!(seen.peak <= limit && seen.mean >= mean, "{what}: {seen:?}");
}

#[test]
fn one_tool_of_a_job_borrows_and_the_one_beside_it_pays() {
    let rows = MAKES.map(|make| [("-j1", 1, 0.8), ("-j2", 2, 1.5), ("-j3", 3, 2.0)].map(|row| (make, row)));
    support::pool::at_once(&rows.concat(), |&(make, (jobs, limit, mean))| {
        let Some(place) = Place::lay(&[make, Ninja], 6, 0.15) else { return };
        let script = "make -s & ninja --quiet & wait";
        within(&place, &[jobs], limit, script, 12, mean);
    });
}

/// A ninja without a number goes by the cpus; cargo takes one behind the name of what it is to do.
#[test]
fn who_may_have_one_job_runs_one() {
    let scripts = [
        ("$JOBGATE run -j1 -- ninja --quiet", 6),
        ("$JOBGATE run --cap 1 -- ninja --quiet", 6),
        ("$JOBGATE run -j1 -- make -s", 6),
        ("ninja --quiet -j1", 6),
        ("cd crate && $JOBGATE run -- cargo build --quiet --offline -j1", 0),
        ("cd crate && $JOBGATE run -j1 -- cargo build --quiet --offline", 0),
    ];
    support::pool::at_once(&scripts, |&(script, count)| {
        let Some(place) = Place::lay(&[SystemMake, Ninja], 6, 0.1) else { return };
        std::fs::create_dir_all(place.path("crate/src")).unwrap();
        std::fs::write(place.path("crate/src/lib.rs"), "").unwrap();
        let manifest = "[package]\nname = \"one\"\nversion = \"0.0.0\"\nedition = \"2021\"\n";
        std::fs::write(place.path("crate/Cargo.toml"), manifest).unwrap();
        within(&place, &["-j4"], 1, script, count, 0.0);
    });
}

/// However the environment was emptied, or who has adopted it.
#[test]
fn nobody_leaves_by_an_emptied_environment() {
    let bare = "env -i LOG=$LOG PATH=$PATH";
    let scripts = [
        (format!("{bare} make -s -j8"), 6),
        (format!("{bare} make -s -j8 & {bare} ninja --quiet & make -s & wait"), 18),
        (format!("setsid -w {bare} ninja --quiet -j9"), 6),
        // As debhelper: the pool taken out of MAKEFLAGS, and a number of its own.
        ("MAKEFLAGS= make -s -j4 & MAKEFLAGS=-j5 make -s & wait".to_owned(), 12),
        (format!("(setsid sh -c '{bare} make -s -j8; echo >up' &); make -s; read x <up"), 12),
    ];
    let limits = [("-j1", 1), ("-j2", 2)];
    let rows: Vec<_> = MAKES
        .iter()
        .flat_map(|&make| scripts.iter().flat_map(move |script| limits.map(|limit| (make, script, limit))))
        .collect();
    support::pool::at_once(&rows, |&(make, (script, count), (option, limit))| {
        let Some(place) = Place::lay(&[make, Ninja], 6, 0.1) else { return };
        nix::unistd::mkfifo(&place.path("up"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        within(&place, &[option], limit, script, *count, 0.6 * limit as f64);
    });
}

#[test]
fn a_private_gate_is_found_as_well() {
    support::pool::at_once(&MAKES, |&make| {
        let Some(place) = Place::lay(&[make, Ninja], 6, 0.1) else { return };
        let script = "env -i LOG=$LOG PATH=$PATH make -s -j8 & ninja --quiet -j7 & wait";
        within(&place, &["-j2", "--private"], 2, script, 12, 1.5);
    });
}

#[test]
fn numbers_are_caps() {
    let rows = [("make -s -j2", 2), ("ninja --quiet -j 2", 2), ("make -s -j1", 1), ("ninja --quiet -j1", 1)];
    let rows: Vec<_> = MAKES.iter().flat_map(|&make| rows.map(|row| (make, row))).collect();
    support::pool::at_once(&rows, |&(make, (script, cap))| {
        let Some(place) = Place::lay(&[make, Ninja], 6, 0.1) else { return };
        within(&place, &["-j4"], cap, script, 6, cap as f64 * 0.7);
    });
}

/// A shell that joined by `env`: what is started there pays for itself, whatever its version.
#[test]
fn in_a_shell_that_joined_the_first_job_is_paid_for() {
    support::pool::at_once(&MAKES, |&make| {
        let Some(place) = Place::lay(&[make, Ninja], 6, 0.1) else { return };
        let script = "eval \"$($JOBGATE env -j2)\"; make -s -j8 & ninja --quiet & wait";
        let mut shell = place.shared.command("sh");
        shell.args(["-c", script]).env("PATH", place.tools_path()).env("JOBGATE", jobgate());
        succeed(&mut shell);
        let seen = jobs(&place.log());
        assert!(seen.count == 12 && seen.peak == 2 && seen.mean > 1.4, "{make:?}: {seen:?}");
    });
}

/// Each with an endpoint of its own, which takes and gives back all the time.
#[test]
fn caps_side_by_side() {
    let rows: Vec<_> = MAKES.iter().flat_map(|&make| [2, 3, 4].map(|limit| (make, limit))).collect();
    support::pool::at_once(&rows, |&(make, limit)| {
        let Some(place) = Place::lay(&[make, Ninja], 8, 0.12) else { return };
        let script = "make -s -j2 & make -s -j2 & make -s & ninja --quiet -j3 & wait";
        within(&place, &[&format!("-j{limit}")], limit, script, 32, 0.6 * limit as f64);
    });
}

/// The folder in which a tree is written down may be known by a variable alone.
#[test]
fn a_tree_is_found_where_its_folders_name_is_lost() {
    support::pool::at_once(&MAKES, |&make| {
        let Some(place) = Place::lay(&[make, Ninja], 6, 0.1) else { return };
        let script = "env -i LOG=$LOG PATH=$PATH make -s -j8 & ninja --quiet & wait";
        let output = finish(place.run(&["-j2"], script).env("TMPDIR", place.path("")));
        assert!(output.status.success(), "{output:?}");
        let seen = jobs(&place.log());
        assert!(seen.count == 12 && seen.peak <= 2, "{seen:?}");
    });
}

/// A makefile that was written for one job at a time gets one at a time.
#[test]
fn a_make_that_was_told_nothing_is_serial() {
    let Some(place) = Place::lay(&[Make441], 4, 0.05) else { return };
    within(&place, &["-j4"], 1, "unset MAKEFLAGS; make -s", 4, 0.5);
    within(&place, &["-j4"], 4, "make -s", 8, 1.0);
}

#[test]
fn what_starts_no_job_passes_through() {
    let Some(place) = Place::lay(&[Make441, Ninja], 3, 0.1) else { return };
    let shims = place.shims();
    for line in [
        "make -n",
        "make -sj4 --dry-run",
        "make -q",
        "make -v",
        "make --version",
        "make -h",
        "ninja -n",
        "ninja --version",
        "ninja -t targets all",
        "ninja -t commands",
        "ninja -h",
    ] {
        // Straight and below a gate, by name and by path.
        let plain = finish(place.shared.command("sh").args(["-c", line]).env("PATH", place.tools_path()));
        let by_path = format!("{}/{line}", shims.display());
        for script in [line, &by_path] {
            let gated = finish(&mut place.run(&["-j1"], script));
            let told = |output: &std::process::Output| (output.status.code(), output.stdout.clone());
            if !line.ends_with("-h") || script == line {
                assert_eq!(told(&gated), told(&plain), "{script}: {gated:?} {plain:?}");
            }
        }
    }
    assert_eq!(jobs(&place.log()).count, 0);
}

/// Tokens are held for it: who waited for one of them, below it, would wait for its end.
#[test]
fn below_a_listed_tool_others_go_on() {
    let rows = [("#!/bin/sh", "-j1", 1), ("#!/usr/bin/env sh", "-j1", 1), ("#!/bin/sh", "-j2", 2)];
    support::pool::at_once(&rows, |&(interpreter, option, limit)| {
        let Some(place) = Place::lay(&[Make441, Ninja], 4, 0.1) else { return };
        std::fs::create_dir(place.path("config")).unwrap();
        std::fs::write(place.path("config/jobgate.toml"), "[tools]\nscons = \"-P{}\"\n").unwrap();
        let file = place.path("tool0/scons");
        std::fs::write(&file, format!("{interpreter}\ncase $1 in -P*) make -s; ninja --quiet;; esac\n"))
            .unwrap();
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = place.run(&[option], "scons & make -s & wait");
        let started = std::time::Instant::now();
        succeed(command.env("XDG_CONFIG_HOME", place.path("config")));
        let seen = jobs(&place.log());
        assert!(seen.count == 12 && seen.peak <= limit, "{seen:?}");
        assert!(started.elapsed().as_secs() < 20);
    });
}

/// No gate runs and none is started; the tool is the tool, whatever the words.
#[test]
fn without_a_gate_a_shim_is_the_tool_itself() {
    let Some(place) = Place::lay(&[], 3, 0.1) else { return };
    for name in ["make", "gmake", "ninja", "ninja-build", "samu"] {
        teller(&place.path("told"), name, "GNU Make 4.4.1");
        let words = ["-j4", "", "-l2.5", "a b", "--", "-n", "\u{e4}\n"];
        let mut command = place.shared.command(name);
        let path = [place.shims_for(place.path("told")), place.path("told"), "/bin".into()];
        let output = finish(command.args(words).env("PATH", std::env::join_paths(path).unwrap()));
        let said: String = words.iter().map(|word| format!("{word}\n")).collect();
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()),
            (Some(3), &*said),
            "{name}"
        );
        assert!(output.stderr.is_empty() && !place.shared.socket.exists());
    }
}

/// Outside of every tree, a gate that runs is joined: with a lease of its own, and its number as the cap.
#[test]
fn outside_a_running_gate_is_joined() {
    let Some(place) = Place::lay(&[Make441, Ninja], 6, 0.15) else { return };
    let mut busy = place.shared.jobgate(&["run", "-j3", "--", "sh", "-c", "echo; read line; true"]);
    let mut busy =
        busy.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(busy.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let outside = |script: &str| {
        let mut command = place.shared.command("sh");
        succeed(command.args(["-c", script]).env("PATH", place.shims_path()));
        let seen = jobs(&place.log());
        std::fs::remove_file(place.log()).unwrap();
        seen
    };
    let seen = outside("make -s -j8 & ninja --quiet & wait");
    assert!(seen.count == 12 && seen.peak == 2, "{seen:?}");
    assert_eq!(outside("make -s").peak, 1);
    drop(busy.stdin.take());
    assert!(support::finish_child(busy).status.success());
}

/// The next one on PATH, then the system's; never itself, by whatever way it is reached.
#[test]
fn the_real_tool_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let teller = |name: &str| teller(&path(name), "make", name);
    let (first, second) = (teller("first"), teller("second"));
    let place = Place::lay(&[], 1, 0.1).unwrap();
    let shims = place.shims();
    // bitbake's hosttools: links to what was found on PATH.
    std::fs::create_dir(path("links")).unwrap();
    symlink(shims.join("make"), path("links/make")).unwrap();
    // Another program's shims, as it were: a copy elsewhere.
    std::fs::create_dir(path("other")).unwrap();
    std::fs::copy(jobgate(), path("other/.jobgate")).unwrap();
    symlink(".jobgate", path("other/make")).unwrap();
    let shims = shims.to_str().unwrap();
    let rows: [(&str, &[&str], &str); 9] = [
        ("make", &[shims, "first", "second"], "first"),
        ("make", &[shims, "links", shims, "second"], "second"),
        ("make", &["links", "first"], "first"),
        ("make", &["links", shims], "/usr/bin/make"),
        ("make", &[shims, "other", "first"], "first"),
        ("make", &["other", shims, "other", "first"], "first"),
        ("make", &[shims, "missing", "", "second"], "second"),
        ("links/make", &["first", "second"], "first"),
        ("other/make", &["/nowhere"], "/usr/bin/make"),
    ];
    for (program, folders, real) in rows {
        let mut words: Vec<OsString> = folders.iter().map(|name| path(name).into()).collect();
        words.retain(|word| !word.is_empty());
        let mut command = clean(Command::new("/usr/bin/env"));
        command.arg(format!("PATH={}", std::env::join_paths(&words).unwrap().display()));
        let program = if program.contains('/') { path(program) } else { program.into() };
        command.arg(program).args(["-f", "/dev/null", "--version"]).env("JOBGATE_ASKING", "1");
        let said = succeed(command.current_dir(folder.path()));
        let expected = if real.starts_with('/') { "GNU Make".to_owned() } else { format!("{real}\n") };
        assert!(said.starts_with(&expected), "{folders:?}: {said}");
    }
    drop((first, second));
}

/// Who looks whether there is a tool isn't told so by its stand-in.
#[test]
fn only_tools_that_are_there_have_shims() {
    let Some(place) = Place::lay(&[Make441], 1, 0.1) else { return };
    let path = [place.path("tool0"), "/nowhere".into()];
    let mut asks = place.shared.jobgate(&[
        "run",
        "--",
        "/bin/sh",
        "-c",
        "command -v make; command -v ninja; echo $PATH",
    ]);
    let said = succeed(asks.env("PATH", std::env::join_paths(path).unwrap()));
    let lines: Vec<&str> = said.lines().collect();
    let folder = Path::new(lines[0]).parent().unwrap();
    assert!(folder.ends_with("jobgate/shims/sets/make") && lines.len() == 2, "{said}");
    assert!(lines[1].starts_with(folder.to_str().unwrap()), "{said}");
}

/// A build tree has stored the path of a shim whose tool was on PATH then.
#[test]
fn a_stored_shim_finds_the_tool_that_it_stood_for() {
    let Some(place) = Place::lay(&[Make441], 1, 0.1) else { return };
    teller(&place.path("venv"), "ninja", "1.11.1");
    let path = std::env::join_paths([place.path("tool0"), place.path("venv"), "/bin".into()]).unwrap();
    let stored = place.shims_for(&path).join("ninja");
    let mut again = place.shared.command(stored.to_str().unwrap());
    let output = finish(again.args(["-C", "out"]).env("PATH", "/nowhere"));
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"-C\nout\n"[..]), "{output:?}");
}

/// What has stored a shim's path goes on working: the program moved, renewed, removed.
#[test]
fn the_program_may_go() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("bin/jobgate");
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    std::fs::copy(jobgate(), &program).unwrap();
    let shims = |program: &Path| {
        let said = succeed(clean(Command::new(program)).arg("shims").env("XDG_DATA_HOME", folder.path()));
        std::path::PathBuf::from(said.trim_end())
    };
    let installed = shims(&program);
    assert_eq!(installed.parent().unwrap(), folder.path().join("jobgate/shims/sets"));
    let copy = folder.path().join("jobgate/shims/.jobgate");
    let number = |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    let before = number(&copy);
    assert_eq!(shims(&program), installed);
    assert_eq!(number(&copy), before, "nothing is written anew");
    // Renewed: the shims are, too.
    std::fs::remove_file(&program).unwrap();
    std::fs::copy(jobgate(), &program).unwrap();
    assert_eq!(shims(&program), installed);
    assert_ne!(number(&copy), before);
    std::fs::remove_file(&program).unwrap();
    let version = || {
        finish(clean(Command::new("sh")).args(["-c", "make --version"]).env("PATH", {
            let mut path = installed.clone().into_os_string();
            path.push(":/usr/bin:/bin");
            path
        }))
    };
    assert!(version().stdout.starts_with(b"GNU Make"));
    let called = clean(Command::new(installed.join("make"))).arg("--version").output().unwrap();
    assert!(called.stdout.starts_with(b"GNU Make"));
    // Even its copy may: what is left leads nowhere, and the next on PATH is found.
    std::fs::remove_file(copy).unwrap();
    assert!(version().stdout.starts_with(b"GNU Make"));
}

/// A tree without shims has the PATH that it was given; so has one whose shims can't be put anywhere.
#[test]
fn path_is_left_alone_where_it_must_be() {
    let place = Place::lay(&[], 1, 0.1).unwrap();
    let path = |command: &mut Command| succeed(command.env("PATH", "/usr/bin:/bin"));
    let echo = "echo $PATH";
    assert_eq!(path(&mut place.run(&["--no-shims"], echo)), "/usr/bin:/bin\n");
    let with = format!("{}:/usr/bin:/bin\n", place.shims().display());
    assert_eq!(path(&mut place.run(&[], echo)), with);
    let twice = "$JOBGATE run --label x --weight 2 -- sh -c 'echo $PATH'";
    assert_eq!(path(&mut place.run(&[], twice)), with, "once is enough");
    assert_eq!(path(place.run(&[], echo).env("XDG_DATA_HOME", "/proc/nowhere")), "/usr/bin:/bin\n");
    let nowhere = place.run(&[], echo).env_remove("XDG_DATA_HOME").env_remove("HOME").output().unwrap();
    assert!(nowhere.status.success() && nowhere.stderr.is_empty(), "{nowhere:?}");
}

/// What a killed run wrote down of its tree goes when the next one starts, of whatever style.
#[test]
fn the_next_run_clears_what_a_killed_one_left() {
    use std::io::BufRead;
    let place = Place::lay(&[], 1, 0.1).unwrap();
    let mut killed = place.run(&["--style", "pipe"], "echo $JOBGATE_TREE; read line");
    killed.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut killed = killed.spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(killed.stdout.take().unwrap()).read_line(&mut line).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    let tree = Path::new(line.trim_end());
    assert!(tree.is_absolute() && tree.exists(), "{line}");
    succeed(&mut place.run(&["--style", "pipe"], "true"));
    assert!(!tree.exists());
}
