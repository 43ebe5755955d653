//! The command line of the tool that `jobgate run` starts itself, less what would take that tool
//! out of the pool: its own number of jobs, its own load limit, another jobserver.
//!
//! Knows the tools by name; each one's options are in the file of that name. Doesn't know the
//! environment (`POSIXLY_CORRECT` is taken to be unset), or whether an option makes sense: a
//! malformed one is left where it is, so that the tool itself complains about it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub use listed::NumberOption;

mod cargo;
mod getopt;
mod listed;
pub(super) mod make;
mod ninja;

/// The tools whose command line we understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// GNU make.
    Make,
    /// ninja, stock or Kitware's, and samurai.
    Ninja,
    /// cargo.
    Cargo,
    /// Anything else (remake too): its command line is never touched.
    Other,
}

impl Tool {
    /// Which tool `program` is, by its file name; a version after the name (`make-4.4`) is fine.
    pub fn of(program: &OsStr) -> Tool {
        const NAMES: [(&[u8], Tool); 8] = [
            (b"make", Tool::Make),
            (b"gmake", Tool::Make),
            (b"gnumake", Tool::Make),
            (b"ninja-build", Tool::Ninja), // Fedora's and Debian's package name
            (b"ninja", Tool::Ninja),
            (b"samu", Tool::Ninja),
            (b"samurai", Tool::Ninja),
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

/// Whether `tool` runs no job with `args` (without the program's name): it only shows or marks something, or reads how
/// things stand.
pub fn asks_nothing(tool: Tool, args: &[OsString]) -> bool {
    let words: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    match tool {
        Tool::Make => make::asks_nothing(&words),
        Tool::Ninja => ninja::asks_nothing(&words),
        Tool::Cargo | Tool::Other => false,
    }
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
    /// Where options end: the place of a `--` that isn't the argument of one before it.
    pub(super) end: usize,
}

impl Edits {
    fn none(len: usize) -> Edits {
        let words = vec![Edit::Keep; len];
        Edits { words, cap: None, end: len }
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
mod tests;
