//! Tools inside tools: each pair of real ones, both ways, found by their names below one `jobgate run`.
//!
//! Doesn't know how a shim does it: jobs are counted by their time stamps.

mod support;

use std::process::Output;
use support::nest::Builder::{self, Cargo, CmakeMake, CmakeNinja, Make43, Make441, Ninja, OldNinja, Samurai};
use support::nest::nest;
use support::{jobs, pool};

/// cargo starts other tools, by build.rs; that another starts cargo is in the chain.
const INNER: [Builder; 7] = [Make43, Make441, Ninja, OldNinja, Samurai, CmakeMake, CmakeNinja];

/// What it said; a ninja says which pool it is in.
fn lines(text: &[u8]) -> Vec<String> {
    let is_of_the_build = |line: &&str| !line.starts_with("ninja: Jobserver mode detected: ");
    String::from_utf8_lossy(text).lines().filter(is_of_the_build).map(str::to_owned).collect()
}

/// How it ended and what it said.
fn told(output: &Output) -> (Option<i32>, [Vec<String>; 2]) {
    (output.status.code(), [lines(&output.stdout), lines(&output.stderr)])
}

/// The same where jobs ran at once, so that their order isn't determined.
fn told_by_many(output: &Output) -> (Option<i32>, [Vec<String>; 2]) {
    let (status, mut said) = told(output);
    said.iter_mut().for_each(|lines| lines.sort());
    (status, said)
}

/// Three jobs of the one start five of the other below `-j3`; either with `-j8` or with no number.
fn check(outer: Builder, inner: Builder) {
    let what = format!("{inner:?} in {outer:?}");
    let Some(nested) = nest(&[(outer, 3), (inner, 5)], 0.2, 0) else { return };
    let plain = nested.plain();
    // Without jobgate a number would have made a pool of the outer one, which most of the inner ones complain of.
    let number = if matches!(inner, Make43 | Ninja | Samurai | CmakeNinja) { "-j8" } else { "" };
    let gated = nested.gated(&["-j3"], number);
    assert_eq!(told_by_many(&gated), told_by_many(&plain), "{what}");
    assert_eq!(gated.status.code(), Some(0), "{what}: {gated:?}");
    let seen = jobs(&nested.shared.log());
    assert!(seen.count == 15 && seen.peak <= 3, "{what}: {seen:?}");
    if inner == CmakeMake {
        // What cmake writes for make starts three makes and two cmakes around each job, in its token: on a busy machine that
        // takes longer than the job.
        assert_eq!(seen.peak, 3, "{what}: {seen:?}");
    } else {
        // One that knows no jobserver has from its start to its end the tokens that were there at its start: while its last
        // jobs run, others lie idle. More than one at a time on average is what can be had on a busy machine.
        let least = if outer.is_fixed() || inner.is_fixed() { 1.3 } else { 1.6 };
        assert!(seen.mean >= least, "{what}: {seen:?}");
    }

    let Some(failing) = nest(&[(outer, 1), (inner, 1)], 0.0, 3) else { return };
    let plain = failing.plain();
    assert_ne!(plain.status.code(), Some(0), "{what}");
    assert_eq!(told(&failing.gated(&["-j3"], "")), told(&plain), "{what}");
}

fn check_in(outer: Builder) {
    pool::at_once(&INNER, |&inner| check(outer, inner));
}

#[test]
fn in_make_43() {
    check_in(Make43);
}

#[test]
fn in_make_441() {
    check_in(Make441);
}

#[test]
fn in_ninja() {
    check_in(Ninja);
}

#[test]
fn in_an_old_ninja() {
    check_in(OldNinja);
}

#[test]
fn in_samurai() {
    check_in(Samurai);
}

#[test]
fn in_cmake_with_make() {
    check_in(CmakeMake);
}

#[test]
fn in_cmake_with_ninja() {
    check_in(CmakeNinja);
}

#[test]
fn in_cargo() {
    check_in(Cargo);
}

#[test]
fn in_one_long_chain() {
    let chain = [(Make43, 2), (CmakeNinja, 2), (Cargo, 2), (Make441, 3)];
    let Some(nested) = nest(&chain, 0.15, 0) else { return };
    let plain = nested.plain();
    let gated = nested.gated(&["-j3"], "");
    assert_eq!(told_by_many(&gated), told_by_many(&plain));
    let seen = jobs(&nested.shared.log());
    // How many there are on average says little: the four cargos start compilers besides.
    assert!(seen.count == 24 && seen.peak == 3, "{seen:?}");
}

/// What is started below it isn't in its endpoint, for there is none.
#[test]
fn a_cap_holds_below_a_tool_that_knows_no_jobserver() {
    let rows: [(&[&str], usize); 3] =
        [(&["-j6", "--cap", "1"], 1), (&["-j6", "--cap", "2"], 2), (&["--private", "-j2"], 2)];
    pool::at_once(&rows, |&(options, most)| {
        let Some(nested) = nest(&[(OldNinja, 2), (Make43, 2), (Ninja, 2)], 0.2, 0) else { return };
        // A gate that has more than that.
        let mut busy = nested.shared.jobgate(&["run", "-j6", "--", "sh", "-c", "echo; read line; true"]);
        let mut busy =
            busy.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(busy.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let output = nested.straight(options, "ninja-build");
        drop(busy.stdin.take());
        assert!(support::finish_child(busy).status.success());
        assert!(output.status.success(), "{options:?}: {output:?}");
        let seen = jobs(&nested.shared.log());
        assert_eq!((seen.count, seen.peak), (8, most), "{options:?}: {seen:?}");
    });
}

/// cmake has written down a shim's path: it goes on working with no gate there, and with one that runs.
#[test]
fn what_cmake_has_stored_works_elsewhere() {
    pool::at_once(&[CmakeMake, CmakeNinja], |&cmake| {
        let Some(nested) = nest(&[(cmake, 2), (Make43, 2)], 0.05, 0) else { return };
        let plain = nested.plain();
        let gated = nested.gated(&["-j2"], "");
        assert_eq!(told_by_many(&gated), told_by_many(&plain), "{cmake:?}");
        let cache =
            std::fs::read_to_string(nested.shared.folder.path().join("n/build/CMakeCache.txt")).unwrap();
        let stored = cache.lines().find(|line| line.starts_with("CMAKE_MAKE_PROGRAM:")).unwrap();
        assert!(stored.contains("/jobgate/shims/"), "{stored}");
        let nowhere = nested.again(&support::own_socket());
        assert_eq!(told_by_many(&nowhere), told_by_many(&plain), "{cmake:?}");
        let mut busy = nested.shared.jobgate(&["run", "-j3", "--", "sh", "-c", "echo; read line; true"]);
        let mut busy =
            busy.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(busy.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let beside = nested.again(&nested.shared.socket);
        drop(busy.stdin.take());
        assert!(support::finish_child(busy).status.success());
        assert_eq!(told_by_many(&beside), told_by_many(&plain), "{cmake:?}");
    });
}

/// A ninja looks when it starts, and then not before a job of its own ends.
#[test]
fn a_ninja_starts_with_all_that_there_is() {
    let Some(nested) = nest(&[(Ninja, 3)], 0.3, 0) else { return };
    assert!(nested.gated(&["-j3"], "").status.success());
    let seen = jobs(&nested.shared.log());
    assert_eq!((seen.count, seen.peak), (3, 3), "{seen:?}");
}
