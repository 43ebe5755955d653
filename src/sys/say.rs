//! What users read: single lines on stderr.
//!
//! Doesn't know what is said. A closed or broken stderr is no reason to fail a build.

use crate::proto::text;
use std::io::Write;

/// Says one line. Parts of it may come from a server or from files of others: nothing in it may tell a terminal what to do.
pub fn say(sentence: &str) {
    let line = format!("jobgate: {}\n", text::printable(sentence));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
