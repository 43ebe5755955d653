//! Which tools there are, and what each will be given.
//!
//! Doesn't know where they lie: it is told their names, their paths and what they answer to `--version`.

use super::Finding;
use crate::proto::text::{NinjaJoins, gnu_make_version, ninja_joins};
use serde::Serialize;
use std::path::Path;

/// The tools that are looked for.
pub const NAMES: [&str; 7] = ["make", "gmake", "ninja", "ninja-build", "samu", "cargo", "cmake"];

/// GNU make knows `fifo:` from here on.
pub const FIFO_SINCE: (u32, u32) = (4, 4);

/// One tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// One of the names.
    pub name: String,
    /// Its file.
    pub path: String,
    /// As it says itself; `None` where it doesn't.
    pub version: Option<String>,
    /// `fifo`, `pipe`, `-jK held` (a number of jobs of its own, for which so many tokens are held) or `its tool's` (what
    /// the make or ninja that it starts gets).
    pub gets: String,
    /// What its user should know although nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A tool as it was found: its name, its file, and what it said when it was asked for its version.
pub type Seen<'a> = (&'a str, &'a Path, Option<&'a [u8]>);

/// Judges all tools that were found. Whether one of the makes is old decides what cargo is given.
pub fn judge(seen: &[Seen<'_>]) -> (Vec<Tool>, Vec<Finding>) {
    let is_old = |said: Option<&[u8]>| said.and_then(gnu_make_version).is_none_or(|it| it < FIFO_SINCE);
    let some_make_is_old = seen.iter().any(|&(name, _, said)| is_make(name) && is_old(said));
    let first_make = seen.iter().position(|&(name, ..)| name == "make");
    let tool = |(at, &(name, path, said)): (usize, &Seen<'_>)| Tool {
        name: name.to_owned(),
        path: path.display().to_string(),
        version: said.and_then(version),
        gets: match name {
            "make" | "gmake" => {
                if is_old(said) {
                    "pipe"
                } else {
                    "fifo"
                }
            }
            "ninja" | "ninja-build" => {
                let new = NinjaJoins { fifo: true, pipe: false };
                match said.and_then(ninja_joins).unwrap_or(new) {
                    NinjaJoins { fifo: true, .. } => "fifo",
                    NinjaJoins { pipe: true, .. } => "pipe",
                    NinjaJoins { .. } => "-jK held",
                }
            }
            "cargo" => {
                if some_make_is_old {
                    "pipe"
                } else {
                    "fifo"
                }
            }
            "cmake" => "its tool's",
            _ => "-jK held",
        }
        .to_owned(),
        note: (Some(at) == first_make && is_old(said))
            .then(|| "older than 4.4: in a 'jobgate env' shell it joins by its shim only".to_owned()),
    };
    (seen.iter().enumerate().map(tool).collect(), seen.iter().filter_map(finding).collect())
}

fn is_make(name: &str) -> bool {
    matches!(name, "make" | "gmake")
}

fn is_ninja(name: &str) -> bool {
    matches!(name, "ninja" | "ninja-build")
}

fn finding(&(name, path, said): &Seen<'_>) -> Option<Finding> {
    let path = path.display();
    match said {
        Some(text) if is_make(name) && gnu_make_version(text).is_none() => Some(Finding::new(
            name,
            format!("{path} isn't GNU make: asked for its version it says '{}'.", first_line(text)),
            "Put GNU make before it on PATH, or start GNU make by its own name (jobgate run -- gmake)."
                .to_owned(),
        )),
        None if is_make(name) || is_ninja(name) => Some(Finding::new(
            name,
            format!("{path} doesn't tell its version within a second."),
            format!(
                "See why '{path} --version' fails or takes so long; until then jobgate guesses what it can join."
            ),
        )),
        Some(_) | None => None,
    }
}

/// The first word that begins with a digit in the first line: `GNU Make 4.3`, `1.13.2`, `cargo 1.95.0 (hash date)`,
/// `cmake version 3.25.1`.
fn version(said: &[u8]) -> Option<String> {
    let line = first_line(said);
    line.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// For people: cut, and without what a terminal would act on.
fn first_line(said: &[u8]) -> String {
    let line = said.split(|&byte| byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tool's name and its answer.
    type Row<'a> = (&'a str, Option<&'a str>);

    /// What the tools of these names and answers have and get.
    fn judged(seen: &[Row<'_>]) -> (Vec<String>, Vec<Finding>) {
        let paths: Vec<_> = seen.iter().map(|(name, _)| Path::new("/bin").join(name)).collect();
        let seen: Vec<Seen<'_>> = seen
            .iter()
            .zip(&paths)
            .map(|(&(name, said), path)| (name, &**path, said.map(str::as_bytes)))
            .collect();
        let (tools, findings) = judge(&seen);
        let line = |tool: Tool| {
            let note = tool.note.map_or("", |_| " !");
            format!("{} {} {}{note}", tool.name, tool.version.as_deref().unwrap_or("?"), tool.gets)
        };
        (tools.into_iter().map(line).collect(), findings)
    }

    #[test]
    fn what_each_is_given() {
        let rows: [(&[Row<'_>], &[&str]); 6] = [
            (&[("make", Some("GNU Make 4.3\nBuilt for x\n"))], &["make 4.3 pipe !"]),
            (
                &[("make", Some("GNU Make 4.4.1\n")), ("cargo", Some("cargo 1.95.0 (f2d 2026-03-01)\n"))],
                &["make 4.4.1 fifo", "cargo 1.95.0 fifo"],
            ),
            (
                &[
                    ("make", Some("GNU Make 4.4.1\n")),
                    ("make", Some("GNU Make 4.3\n")),
                    ("gmake", Some("GNU Make 4.2.90\n")),
                    ("cargo", None),
                ],
                &["make 4.4.1 fifo", "make 4.3 pipe", "gmake 4.2.90 pipe", "cargo ? pipe"],
            ),
            (
                &[
                    ("ninja", Some("1.13.2\n")),
                    ("ninja", Some("1.13.2.git.kitware.jobserver-pipe-1\n")),
                    ("ninja-build", Some("1.11.1.git.kitware.jobserver-1\n")),
                    ("ninja", Some("1.11.1\n")),
                    ("samu", Some("1.9.0\n")),
                ],
                &[
                    "ninja 1.13.2 fifo",
                    "ninja 1.13.2.git.kitware.jobserver-pipe-1 fifo",
                    "ninja-build 1.11.1.git.kitware.jobserver-1 pipe",
                    "ninja 1.11.1 -jK held",
                    "samu 1.9.0 -jK held",
                ],
            ),
            (
                &[("cmake", Some("cmake version 3.25.1\n\nCMake suite")), ("samu", None)],
                &["cmake 3.25.1 its tool's", "samu ? -jK held"],
            ),
            (&[], &[]),
        ];
        for (seen, lines) in rows {
            let (tools, findings) = judged(seen);
            assert_eq!(tools, lines);
            assert_eq!(findings, [], "{seen:?}");
        }
    }

    #[test]
    fn who_is_no_gnu_make_or_does_not_say() {
        let (tools, findings) =
            judged(&[("make", Some("bmake\x1b 20200710\n")), ("gmake", None), ("ninja", None)]);
        assert_eq!(tools, ["make 20200710 pipe !", "gmake ? pipe", "ninja ? fifo"]);
        let whats: Vec<&str> = findings.iter().map(|finding| &finding.what[..]).collect();
        assert_eq!(
            whats,
            [
                "/bin/make isn't GNU make: asked for its version it says 'bmake 20200710'.",
                "/bin/gmake doesn't tell its version within a second.",
                "/bin/ninja doesn't tell its version within a second.",
            ]
        );
    }
}
