//! What users read: single lines on stderr.
//!
//! Doesn't know what is said. A closed or broken stderr is no reason to fail a build.

use std::io::Write;

/// Says one line.
pub fn say(sentence: &str) {
    let line = format!("jobgate: {}\n", sentence.replace('\n', " "));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
