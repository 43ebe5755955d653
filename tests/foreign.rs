//! Our client of a foreign jobserver below real makes that own one: it finds what is there, and make misses nothing.
//!
//! Doesn't know how tokens are taken. A client is this program again, started by the make as one of its recipes.

mod support;

use jobgate::proto::makeflags::inherited;
use jobgate::sys::foreign::Foreign;
use std::process::Command;
use support::pool::at_once;
use support::{Real, clean, finish, tool};

/// Where a client leaves its outcome; who has this variable is one.
const OUTCOME: &str = "TEST_OUTCOME";

/// A recipe's client: joins what MAKEFLAGS says, takes all there is, gives one back by itself and the rest at its end.
#[test]
fn client() {
    let Some(outcome) = std::env::var_os(OUTCOME) else { return };
    let makeflags = std::env::var_os("MAKEFLAGS").unwrap_or_default();
    let text = match inherited(&makeflags).map(|inherited| Foreign::open(&inherited)) {
        None => "none".to_owned(),
        Some(Err(_)) => "refused".to_owned(),
        Some(Ok(mut foreign)) => {
            while foreign.take().unwrap() {}
            let all = foreign.have();
            foreign.give_back(1).unwrap();
            format!("{all} {}", foreign.have())
        }
    };
    std::fs::write(outcome, text).unwrap();
}

#[test]
fn makes_own_pools() {
    // (make, style, what the recipe begins with, what the client finds below -j4); make 4.3 has no option for a style.
    let rows = [
        (Real::SystemMake, None, "+", "3 2"),
        (Real::SystemMake, None, "", "refused"),
        (Real::Make441, Some("pipe"), "+", "3 2"),
        (Real::Make441, Some("pipe"), "", "none"),
        (Real::Make441, Some("fifo"), "+", "3 2"),
        (Real::Make441, Some("fifo"), "", "3 2"),
    ];
    at_once(&rows, |&(make, style, mark, expected)| {
        let Some(make) = tool(make) else { return };
        let folder = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        let makefile = format!("all:\n\t{mark}@exec '{}' --exact client\n", program.display());
        std::fs::write(folder.path().join("Makefile"), makefile).unwrap();
        let mut command = clean(Command::new(make));
        command.args(style.map(|style| format!("--jobserver-style={style}"))).arg("-j4");
        command.current_dir(folder.path()).env(OUTCOME, folder.path().join("outcome"));
        let output = finish(&mut command);
        // A make that misses a token says so: "INTERNAL: Exiting with 2 jobserver tokens available; should be 4!".
        assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {output:?}");
        let outcome = std::fs::read_to_string(folder.path().join("outcome")).unwrap();
        assert_eq!(outcome, expected, "{command:?}");
    });
}
