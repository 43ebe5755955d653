//! Runs where something is used up: descriptors, or space in the folder for endpoints and sockets. The build is as without
//! jobgate, after a line or two.
//!
//! Doesn't know which of its calls fails.

mod support;

use std::path::Path;
use std::process::{Command, Output};
use support::build::Build;
use support::{Real, clean, finish, jobgate, jobs};

const MAKES: [Real; 2] = [Real::SystemMake, Real::Make441];

/// `sh -c SCRIPT` in a folder with a build of six jobs; in the script `BUILD` is a run of it. `None` where the tool is missing.
fn scarce(make: Real, script: &str) -> Option<(tempfile::TempDir, Command)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tool = Build::Make(make).lay_jobs(folder.path(), 6, 0.02)?.join(" ");
    let mut line = clean(Command::new("sh"));
    let run = format!("{} run -j3 -- {tool} -s", jobgate());
    line.args(["-c", &script.replace("BUILD", &run)]).current_dir(folder.path());
    line.env("LOG", folder.path().join("log")).env_remove("JOBGATE_SOCKET");
    line.env("XDG_RUNTIME_DIR", folder.path()).env_remove("TMPDIR");
    Some((folder, line))
}

/// It was built; whether by the gate, or without it, after at most two lines that say why.
fn is_gated(what: &str, log: &Path, output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    let seen = jobs(log);
    assert!(output.status.success() && seen.count == 6, "{what}: {output:?}");
    assert!(said.lines().count() <= 2 && !said.contains("panicked"), "{what}: {said}");
    let alone = said.contains("runs without the gate");
    assert!(alone || seen.peak <= 3, "{what}: {seen:?}, {said}");
    !alone
}

#[test]
fn with_few_descriptors_a_build_is_built() {
    for make in MAKES {
        // dash itself needs twelve; some of them are taken.
        let taken = (0..=5).map(|taken| (12, taken)).chain((13..32).map(|most| (most, 0)));
        let mut gated = Vec::new();
        for (most, taken) in taken.chain([(64, 0)]) {
            let take: String = (3..3 + taken).map(|fd| format!("exec {fd}</dev/null; ")).collect();
            let script = format!("{take}ulimit -n {most}; exec BUILD");
            let Some((folder, mut line)) = scarce(make, &script) else { return };
            let output = finish(&mut line);
            if is_gated(&format!("{make:?}, {most} less {taken}"), &folder.path().join("log"), &output) {
                gated.push(most - taken);
            }
        }
        // How many are enough is the kernel's affair, too.
        assert!(gated.contains(&31) && gated.contains(&64) && !gated.contains(&7), "{make:?}: {gated:?}");
    }
}

#[test]
fn where_no_file_can_be_made_a_build_is_built() {
    let may_mount = Command::new("unshare").args(["-m", "true"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        return support::skipped("no mount namespace can be had");
    }
    for make in MAKES {
        for (inodes, size) in [(1, 16), (2, 16), (3, 16), (4, 16), (5, 16), (6, 16), (64, 4), (64, 8)] {
            let script = format!(
                "unshare -m sh -c 'unset XDG_RUNTIME_DIR; own=/tmp/jobgate-$(id -u); mkdir -p -m 700 $own; \
                 mount -t tmpfs -o mode=0700,nr_inodes={inodes},size={size}k none $own && \
                 {{ [ {inodes} -lt 64 ] || head -c 9000 /dev/zero >$own/filler 2>/dev/null; exec BUILD; }}'"
            );
            let Some((folder, mut line)) = scarce(make, &script) else { return };
            let output = finish(&mut line);
            is_gated(&format!("{make:?}, {inodes} inodes, {size} KiB"), &folder.path().join("log"), &output);
        }
    }
}
