//! The walls between the layers: who may use what, read off the sources.
//!
//! Doesn't know what the code does.

use std::path::{Path, PathBuf};

/// From the lowest up: a layer may use those before it.
const LAYERS: [&str; 7] = ["policy", "proto", "report", "sys", "server", "proxy", "cli"];

/// What may only be named in some layers, in any form that leads there.
const WALLS: [(&str, &[&str]); 19] = [
    ("nix::", &["sys"]),
    ("libc::", &["sys"]),
    ("unsafe", &["sys"]),
    ("mio::", &["server", "proxy"]),
    ("serde", &["proto", "cli"]),
    ("serde_json::", &["proto", "cli"]),
    ("toml::", &["proto"]),
    ("sd_notify::", &["sys"]),
    ("clap::", &["cli"]),
    ("ratatui::", &["cli"]),
    ("clap_complete::", &["cli"]),
    ("clap_mangen::", &["cli"]),
    ("log::", &["sys", "server", "proxy", "cli"]),
    ("Instant", &["sys"]),
    ("SystemTime", &["sys"]),
    ("thread::", &["sys"]),
    ("std::fs", &["sys"]),
    ("std::env", &["sys", "cli"]),
    ("std::io", &["sys", "server", "proxy", "cli"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without its comments and its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What breaks a wall in the code of `layer`.
fn breaches(layer: &str, code: &str) -> Vec<String> {
    let own = LAYERS.iter().position(|&known| known == layer).expect("a folder of src is a layer");
    let above = LAYERS[own + 1..].iter().map(|above| format!("crate::{above}"));
    let walls = WALLS.iter().filter(|(_, may)| !may.contains(&layer)).map(|(word, _)| (*word).to_owned());
    above.chain(walls).filter(|word| names(code, word)).collect()
}

/// Whether the word stands there, and not as the end of a longer one.
fn names(code: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| !code[..at].ends_with(part_of_word))
}

#[test]
fn every_file_keeps_to_its_layer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20, "the sources are there: {files:?}");
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        let layer = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        if layer.ends_with(".rs") {
            continue; // main.rs and lib.rs join the layers
        }
        assert_eq!(breaches(layer, &code(&file)), Vec::<String>::new(), "{}", inside.display());
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} doesn't open with what it does", inside.display());
        assert!(text.lines().count() <= 500, "{} is longer than 500 lines", inside.display());
    }
}

#[test]
fn a_breach_is_seen() {
    assert_eq!(
        breaches("policy", "use crate::sys::pipe;\nlet now = Instant::now();"),
        ["crate::sys", "Instant"]
    );
    assert_eq!(breaches("cli", "use nix::unistd;"), ["nix::"]);
    assert_eq!(breaches("sys", "use nix::unistd; use crate::policy::time;"), Vec::<String>::new());
    assert_eq!(breaches("proxy", "unix::SourceFd"), Vec::<String>::new());
}
