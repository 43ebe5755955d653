//! What real tools get from the pool: every case first with GNU make's own jobserver, then with ours, by the same
//! assertion. How many jobs ran at once is read off the stamps that the jobs themselves leave.
//!
//! Doesn't know pressure (gate.rs), nor what killed tools lose (losses.rs).

mod support;

use std::path::Path;
use std::process::Command;
use support::Real::{Make441, Ninja, SystemMake};
use support::build::{Build, text};
use support::pool::{Pool, at_once, write_client};
use support::{Real, clean, finish, jobgate, jobs, makefile, run, succeed, tool};

/// A pool of three is used in full, never beyond: `mean` for the jobs that start late while the machine is busy.
fn check_three(log: &Path, count: usize, name: &str) {
    let seen = jobs(log);
    assert_eq!((seen.count, seen.peak), (count, 3), "{name}: {seen:?}");
    assert!(seen.mean >= 2.0, "{name}: {seen:?}");
}

/// Runs a build in a pool of three.
fn check_build(build: Build, pool: &Pool) {
    let folder = tempfile::tempdir().unwrap();
    let Some(line) = build.lay(folder.path()) else { return };
    let mut command = pool.command(3, folder.path(), &line);
    build.environment(folder.path(), &mut command);
    succeed(&mut command);
    check_three(&folder.path().join("log"), build.count(), &format!("{build:?} in {pool:?}"));
}

#[test]
fn tools_use_the_whole_pool_and_no_more() {
    // What is built, the reference and its style, our style.
    let rows = [
        (Build::Make(SystemMake), SystemMake, "pipe", "auto"),
        (Build::Make(Make441), Make441, "pipe", "pipe"),
        (Build::Make(Make441), Make441, "fifo", "auto"),
        (Build::Nested(SystemMake), SystemMake, "pipe", "auto"),
        (Build::Nested(Make441), Make441, "pipe", "pipe"),
        (Build::Nested(Make441), Make441, "fifo", "auto"),
        (Build::Ninja, Make441, "fifo", "auto"),
        (Build::StockNinja, Make441, "fifo", "auto"),
        (Build::NinjaBelow(Make441), Make441, "fifo", "auto"),
        (Build::MakeThenNinja(Make441), Make441, "fifo", "fifo"),
        (Build::Cargo, SystemMake, "pipe", "pipe"),
        (Build::Cargo, Make441, "fifo", "auto"),
    ];
    let pools = |ours: bool| {
        at_once(&rows, |&(build, make, reference, style)| {
            let pool = if ours { Some(Pool::ours(style)) } else { Pool::reference(make, reference) };
            if let Some(pool) = pool {
                check_build(build, &pool);
            }
        });
    };
    pools(false);
    pools(true);
}

/// A build by a tool that is given more words and variables, `-j16` of its own among them.
fn spelled(
    build: Build,
    words: &[&str],
    variables: &[(&str, &str)],
    pool: impl Fn(&Path, &[String]) -> Command,
) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut line) = build.lay(folder.path()) else { return 0 };
    line.extend(words.iter().map(|&word| word.to_owned()));
    let mut command = pool(folder.path(), &line);
    build.environment(folder.path(), &mut command);
    succeed(command.envs(variables.iter().copied()));
    let seen = jobs(&folder.path().join("log"));
    assert_eq!(seen.count, build.count(), "{build:?} {words:?} {variables:?}");
    seen.peak
}

/// A tool's words, and variables around it.
type Spelling = (Build, &'static [&'static str], &'static [(&'static str, &'static str)]);

#[test]
fn no_spelling_of_j_leaves_the_pool() {
    let (old, new) = (Build::Make(SystemMake), Build::Make(Make441));
    let rows: [Spelling; 22] = [
        (old, &["-j16"], &[]),
        (old, &["-j", "16"], &[]),
        (old, &["--jobs=16"], &[]),
        (old, &["-kj16"], &[]),
        (old, &["-j"], &[]),
        // An own load limit keeps jobs back for what the gate already judges.
        (old, &["-l", "0.01"], &[]),
        (old, &["-l", "4.5"], &[]),
        (old, &[], &[("MAKEFLAGS", "-j16")]),
        (old, &[], &[("GNUMAKEFLAGS", "-j16")]),
        (old, &[], &[("GNUMAKEFLAGS", "-l0.01")]),
        (old, &[], &[("MAKEFLAGS", "-l0.01")]),
        // What another pool left behind.
        (old, &[], &[("MAKEFLAGS", "k -j16 --jobserver-auth=7,8")]),
        (new, &[], &[("MAKEFLAGS", " -j16 --jobserver-auth=fifo:/nowhere")]),
        (new, &["-j16"], &[]),
        (new, &["-kj", "16"], &[]),
        (new, &["--max-load=0.01"], &[]),
        (new, &[], &[("MAKEFLAGS", "kj16")]),
        (new, &[], &[("GNUMAKEFLAGS", "-j16")]),
        (Build::Ninja, &["-j16"], &[]),
        (Build::Ninja, &["-j", "16", "-l", "0.01"], &[]),
        (Build::StockNinja, &["-j16"], &[]),
        (Build::Cargo, &["-j16"], &[]),
    ];
    at_once(&rows, |&(build, words, variables)| {
        let ours = |folder: &Path, line: &[String]| Pool::ours("auto").command(3, folder, line);
        let peak = spelled(build, words, variables, ours);
        assert!(peak == 3 || peak == 0, "{build:?} {words:?} {variables:?}: {peak} at once");
    });
    // That leaving would be seen: GNU make's own jobserver doesn't keep them.
    for (build, make) in [(old, SystemMake), (new, Make441)] {
        if let Some(pool) = Pool::reference(make, "fifo") {
            let peak = spelled(build, &["-j16"], &[], |folder, line| pool.command(3, folder, line));
            assert!(peak > 3, "{make:?}: {peak}");
        }
    }
}

#[test]
fn a_lower_number_is_a_cap() {
    let (old, new) = (Build::Make(SystemMake), Build::Make(Make441));
    let rows: [(&[&str], Spelling, usize); 8] = [
        (&["-j4"], (old, &["-j2"], &[]), 2),
        (&["-j4"], (new, &["-j", "1"], &[]), 1),
        (&["-j4"], (new, &[], &[("MAKEFLAGS", "-j2")]), 2),
        (&["-j4"], (Build::Ninja, &["-j2"], &[]), 2),
        (&["-j4"], (Build::Cargo, &["--jobs", "1"], &[]), 1),
        (&["-j4", "--cap", "2"], (old, &[], &[]), 2),
        (&["-j1"], (old, &["-j4"], &[]), 1),
        (&["-j1"], (Build::Ninja, &[], &[]), 1),
    ];
    at_once(&rows, |&(options, (build, words, variables), cap)| {
        let ours = |folder: &Path, line: &[String]| {
            let mut command = run(options, &line.iter().map(String::as_str).collect::<Vec<_>>());
            command.current_dir(folder).env("LOG", folder.join("log"));
            command
        };
        let peak = spelled(build, words, variables, ours);
        assert!(peak == cap || peak == 0, "{options:?} {build:?} {words:?} {variables:?}: {peak}");
    });
}

/// The cpus that this process may use, as the kernel lists them.
fn allowed_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse().unwrap()..=last.parse::<usize>().unwrap()
    };
    list.split(',').flat_map(range).collect()
}

#[test]
fn auto_means_the_usable_cpus() {
    let Some(make) = tool(SystemMake) else { return };
    let cpus = allowed_cpus();
    let first = cpus[0].to_string();
    // A cgroup's quota may leave fewer than the mask.
    let usable = std::thread::available_parallelism().unwrap().get();
    let rows: [(&[&str], usize); 2] = [(&["taskset", "-c", &first], 1), (&[], usable)];
    let make = text(&make);
    at_once(&rows, |&(before, expected)| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Makefile"), makefile(3 * expected, 0.3)).unwrap();
        let line = [before, &[jobgate(), "run", "-j", "auto", "--", &make]].concat();
        let mut command = clean(Command::new(line[0]));
        succeed(command.args(&line[1..]).current_dir(&folder).env("LOG", folder.path().join("log")));
        assert_eq!(jobs(&folder.path().join("log")).peak, expected, "{before:?}");
    });
}

/// Runs a script in a pool of three of either kind, `$TOOL` and `$NINJA` being its tools, and gives what it printed.
fn script(pool: &Pool, make: Real, count: usize, script: &str) -> Option<(String, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let tool = Build::Make(make).lay_jobs(folder.path(), count, 0.3)?.remove(0);
    let fail = makefile(4, 0.1).replace("all: job0", "all: bad job0") + "bad:\n\t@exit 7\n";
    std::fs::write(folder.path().join("fail.mk"), fail).unwrap();
    std::fs::write(folder.path().join("fail.ninja"), "rule r\n  command = exit 1\nbuild x: r\n").unwrap();
    write_client(&folder.path().join("client.sh"), script);
    let mut command = pool.command(3, folder.path(), &["sh", "client.sh"]);
    command.env("TOOL", tool).env("NINJA", support::tool(Ninja)?);
    Some((succeed(&mut command), folder))
}

/// The reference and our own pool for a make and a style.
fn both(make: Real, style: &'static str) -> impl Iterator<Item = Pool> {
    [Pool::reference(make, style), Some(Pool::ours(style))].into_iter().flatten()
}

const KINDS: [(Real, &str); 3] = [(SystemMake, "pipe"), (Make441, "pipe"), (Make441, "fifo")];

#[test]
fn what_a_tool_took_comes_back() {
    let firsts = [
        ("true", 0),
        ("LOG=first $TOOL", 0),
        ("LOG=first $TOOL -f fail.mk", 2),
        ("LOG=first $TOOL -kf fail.mk", 2),
        ("LOG=first $NINJA -f fail.ninja", 1),
    ];
    let mut rows = Vec::new();
    for (make, style) in KINDS {
        rows.extend(both(make, style).flat_map(|pool| firsts.map(|first| (make, pool.clone(), first))));
    }
    at_once(&rows, |(make, pool, (first, status))| {
        let steps = format!(
            "{first} >/dev/null 2>&1; echo ended $?; drain; echo $taken; give $taken; $TOOL; drain; echo $taken; give $taken"
        );
        let Some((said, folder)) = script(pool, *make, 9, &steps) else { return };
        let name = format!("{first} in {pool:?}");
        assert_eq!(said, format!("ended {status}\n2\n2\n"), "{name}");
        check_three(&folder.path().join("log"), 9, &name);
    });
}

#[test]
fn odd_clients_change_nothing() {
    // What it does; how many run at once afterwards, in GNU make's own pool and in ours; its style, if only one.
    let rows = [
        ("a byte it never took", "give 1; sleep 0.5", 4, 3, None),
        ("another byte than '+'", "drain; give $taken G", 3, 3, None),
        ("a NUL", "drain; for i in 1 2; do printf '\\0' >&9; done", 3, 3, None),
        ("all, one at a time", "for i in 1 2 3 4 5; do take 9 && give 1; done", 3, 3, None),
        ("takes one and keeps it", "take 9", 2, 2, None),
        ("takes one and goes", "take 9; exec 8<&- 9>&-", 2, 2, Some("pipe")),
        ("opens and goes", "exec 8<&- 9>&-", 3, 3, None),
    ];
    let mut all = Vec::new();
    for (make, kind) in KINDS {
        for (name, does, reference, ours, style) in rows {
            let peak = |pool: &Pool| if pool.is_reference() { reference } else { ours };
            let pools = both(make, kind).filter(|_| style.is_none_or(|style| style == kind));
            all.extend(pools.map(|pool| (name, does, make, peak(&pool), pool)));
        }
    }
    at_once(&all, |(name, does, make, peak, pool)| {
        let Some((_, folder)) = script(pool, *make, 12, &format!("{does}\n$TOOL")) else { return };
        let seen = jobs(&folder.path().join("log"));
        assert_eq!((seen.count, seen.peak), (12, *peak), "{name} in {pool:?}: {seen:?}");
    });
}

#[test]
fn flags_and_variables_survive() {
    // The first word of MAKEFLAGS is the bundle of single letters.
    let show = "printf '%s|%s\\n' '$(firstword $(MAKEFLAGS))' \"$$X\"";
    let top = format!(
        "all: bad good\nbad:\n\t@exit 7\ngood:\n\t@{show}\n\t@$(MAKE) --no-print-directory -f sub.mk\n"
    );
    let sub = format!("all:\n\t@{show}\n");
    let rows: [Spelling; 4] = [
        (Build::Make(SystemMake), &["-k", "-s", "X=a  b\\c'd"], &[]),
        (Build::Make(SystemMake), &[], &[("MAKEFLAGS", "ks -- X=a\\ \\ b\\\\c'd")]),
        (Build::Make(SystemMake), &["-k"], &[("GNUMAKEFLAGS", "-s X=a\\ \\ b\\\\c'd -j7")]),
        (Build::Make(SystemMake), &["X=a  b\\c'd"], &[("MAKEFLAGS", "-j7 -k -s")]),
    ];
    let mut all = Vec::new();
    for (make, style) in KINDS {
        all.extend(both(make, style).flat_map(|pool| rows.map(|row| (make, pool.clone(), row))));
    }
    at_once(&all, |(make, pool, (_, words, variables))| {
        let folder = tempfile::tempdir().unwrap();
        let Some(make) = tool(*make) else { return };
        std::fs::write(folder.path().join("Makefile"), &top).unwrap();
        std::fs::write(folder.path().join("sub.mk"), &sub).unwrap();
        let mut line = vec![text(&make)];
        line.extend(words.iter().map(|&word| word.to_owned()));
        let output = finish(pool.command(3, folder.path(), &line).envs(variables.iter().copied()));
        let name = format!("{words:?} {variables:?} in {pool:?}");
        assert_eq!(output.status.code(), Some(2), "{name}: the bad target's");
        let said = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = said.lines().filter(|line| line.contains('|')).collect();
        assert_eq!(lines.len(), 2, "{name}: {said}");
        for line in lines {
            let (flags, x) = line.split_once('|').unwrap();
            assert_eq!(x, "a  b\\c'd", "{name}");
            assert!(flags.contains('k') && flags.contains('s'), "{name}: {flags}");
        }
    });
}

#[test]
fn an_old_make_below_ninja_runs_serially() {
    let (Some(old), Some(ninja)) = (tool(SystemMake), tool(Ninja)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let below = format!("rule r\n  command = {} -f jobs.mk 2>&1\nbuild x: r\n", old.display());
    std::fs::write(folder.path().join("build.ninja"), below).unwrap();
    std::fs::write(folder.path().join("jobs.mk"), makefile(3, 0.2)).unwrap();
    // GNU make 4.4's own fifo ends it, so there is nothing to be the same as.
    if let Some(reference) = Pool::reference(Make441, "fifo") {
        let output = finish(&mut reference.command(3, folder.path(), &[text(&ninja)]));
        assert!(String::from_utf8_lossy(&output.stdout).contains("invalid --jobserver-auth string"));
    }
    let said = succeed(&mut Pool::ours("auto").command(3, folder.path(), &[text(&ninja)]));
    assert!(said.contains("jobserver unavailable"), "{said}");
    let seen = jobs(&folder.path().join("log"));
    assert_eq!((seen.count, seen.peak), (3, 1), "{seen:?}");
}
