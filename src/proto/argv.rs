//! The command line of the tool that `jobgate run` starts itself, less what would take that tool
//! out of the pool: its own number of jobs, its own load limit, another jobserver.
//!
//! Knows the tools by name; each one's options are in the file of that name. Doesn't know the
//! environment (`POSIXLY_CORRECT` is taken to be unset), or whether an option makes sense: a
//! malformed one is left where it is, so that the tool itself complains about it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

mod cargo;
mod getopt;
pub(super) mod make;
mod ninja;

/// The tools whose command line we understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// GNU make.
    Make,
    /// ninja, stock or Kitware's.
    Ninja,
    /// cargo.
    Cargo,
    /// Anything else (samu and remake too): its command line is never touched.
    Other,
}

impl Tool {
    /// Which tool `program` is, by its file name; a version after the name (`make-4.4`) is fine.
    pub fn of(program: &OsStr) -> Tool {
        const NAMES: [(&[u8], Tool); 6] = [
            (b"make", Tool::Make),
            (b"gmake", Tool::Make),
            (b"gnumake", Tool::Make),
            (b"ninja-build", Tool::Ninja), // Fedora's and Debian's package name
            (b"ninja", Tool::Ninja),
            (b"cargo", Tool::Cargo),
        ];
        let name = Path::new(program).file_name().unwrap_or_default();
        let is = |known: &[u8]| name.as_bytes().strip_prefix(known).is_some_and(is_version);
        NAMES.iter().find(|(known, _)| is(known)).map_or(Tool::Other, |&(_, tool)| tool)
    }
}

/// Nothing, or digits and dots, with or without a dash before them.
fn is_version(rest: &[u8]) -> bool {
    let number = rest.strip_prefix(b"-").unwrap_or(rest);
    rest.is_empty()
        || (number.first().is_some_and(u8::is_ascii_digit)
            && number.iter().all(|b| b.is_ascii_digit() || *b == b'.'))
}

/// A command line that stays in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stripped {
    /// What is left, without the program's name.
    pub args: Vec<OsString>,
    /// How many jobs the user wanted at most: the last `-jN`, as the tool itself would take it.
    /// At least 1; `None` where there was none, or one without a limit (`make -j`, `ninja -j0`).
    pub cap: Option<u32>,
}

/// Takes out of `args` (without the program's name) what would take `tool` out of the pool.
pub fn strip(tool: Tool, args: &[OsString]) -> Stripped {
    let words: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let edits = match tool {
        Tool::Make => make::edits(&words),
        Tool::Ninja => ninja::edits(&words),
        Tool::Cargo => cargo::edits(&words),
        Tool::Other => Edits::none(words.len()),
    };
    let edited = |(&word, edit): (&&[u8], &Edit)| match *edit {
        Edit::Keep => Some(OsStr::from_bytes(word).to_owned()),
        Edit::Cut(len) => Some(OsStr::from_bytes(&word[..len]).to_owned()),
        Edit::Drop => None,
    };
    let args = words.iter().zip(&edits.words).filter_map(edited).collect();
    let cap = edits.cap;
    Stripped { args, cap }
}

/// What becomes of one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Keep,
    Drop,
    /// Only its first bytes stay, at least two: `-kj4` becomes `-k`.
    Cut(usize),
}

/// What becomes of a list of words, and the last number of jobs among them.
pub(super) struct Edits {
    pub(super) words: Vec<Edit>,
    pub(super) cap: Option<u32>,
}

impl Edits {
    fn none(len: usize) -> Edits {
        let words = vec![Edit::Keep; len];
        Edits { words, cap: None }
    }

    /// Takes out the option at byte `at` of word `i`, with its argument: `used` words in all.
    fn take_out(&mut self, i: usize, used: usize, at: usize) {
        self.words[i..i + used].fill(Edit::Drop);
        if at > 1 {
            self.words[i] = Edit::Cut(at);
        }
    }

    /// Notes a number of jobs; says whether its option is to be taken out.
    fn jobs(&mut self, jobs: Jobs) -> bool {
        match jobs {
            Jobs::Malformed => return false,
            Jobs::Unlimited => self.cap = None,
            Jobs::Number(n) => self.cap = Some(n),
        }
        true
    }
}

/// The value of a `-j`.
enum Jobs {
    Malformed,
    Unlimited,
    /// At least 1.
    Number(u32),
}

/// Digits; 0 and what is too large for an `int` are no limit.
fn limit(digits: &[u8]) -> Jobs {
    let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<i32>().ok());
    match number.map(i32::unsigned_abs) {
        None | Some(0) => Jobs::Unlimited,
        Some(n) => Jobs::Number(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks rows of (command line, what is left of it, cap), words separated by blanks, `''`
    /// for an empty one.
    pub(super) fn check(tool: Tool, rows: &[(&str, &str, Option<u32>)]) {
        let split = |line: &str| -> Vec<OsString> {
            let words = line.split_whitespace();
            words.map(|word| word.replace("''", "").into()).collect()
        };
        for &(line, args, cap) in rows {
            let args = split(args);
            assert_eq!(strip(tool, &split(line)), Stripped { args, cap }, "{line}");
        }
    }

    #[test]
    fn tools_by_name() {
        #[rustfmt::skip]
        let rows = [
            ("make", Tool::Make), ("/usr/bin/make", Tool::Make), ("gmake", Tool::Make),
            ("gnumake", Tool::Make), ("make-4.4", Tool::Make), ("gmake4.4.1", Tool::Make),
            ("remake", Tool::Other), ("makeinfo", Tool::Other), ("make-kpkg", Tool::Other),
            ("make-", Tool::Other), ("make/", Tool::Make), ("make-4.4-rc1", Tool::Other),
            ("ninja", Tool::Ninja), ("ninja-build", Tool::Ninja), ("ninja-1.13", Tool::Ninja),
            ("samu", Tool::Other), ("cargo", Tool::Cargo), ("cargo-1.85", Tool::Cargo),
            ("cargo-nextest", Tool::Other), ("", Tool::Other), ("/", Tool::Other),
        ];
        for (program, tool) in rows {
            assert_eq!(Tool::of(OsStr::new(program)), tool, "{program}");
        }
    }

    #[test]
    fn others_are_left_alone() {
        check(Tool::Other, &[("-j4 -l3", "-j4 -l3", None)]);
    }

    #[test]
    fn bytes_need_not_be_text() {
        let args = [b"-kj4".as_slice(), b"\xff=\xfe", b"-I\xff"].map(OsStr::from_bytes);
        let left = [b"-k".as_slice(), b"\xff=\xfe", b"-I\xff"].map(OsStr::from_bytes);
        let stripped = strip(Tool::Make, &args.map(OsString::from));
        assert_eq!(stripped.args, left);
        assert_eq!(stripped.cap, Some(4));
    }
}
