//! The unit tests of the bitbake layer, which are bitbake's language: python's unittest runs them against bitbake's own library.
//!
//! Doesn't know what they assert, nor any bitbake that builds.

mod support;

use std::path::Path;
use std::process::Command;
use support::{finish, skipped};

/// The library that `scripts/tools` fetches.
const LIBRARY: &str = "bitbake-setup-2.19.0";

#[test]
fn unit_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    let library = target.join("tools").join(LIBRARY);
    if !library.join("bb").is_dir() {
        return skipped(&format!("there is no {}; scripts/tools installs it", library.display()));
    }
    let mut python = Command::new("python3");
    python.args(["-m", "unittest", "discover"]).current_dir(root.join("tests/bitbake"));
    // -P and PYTHONSAFEPATH would hide the tests from each other; nothing of python's is left among the sources.
    python.env_remove("PYTHONSAFEPATH").env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", &library);
    let output = finish(&mut python);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // One that finds no tests is content, too.
    let ran = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<u32>().ok());
    assert!(ran.is_some_and(|ran| ran > 30), "{said}");
}
