//! The values of `MAKEFLAGS` and `GNUMAKEFLAGS`: tells a process tree where its endpoint is, keeps
//! the flags and variables the user had there, takes out what would leave the pool, and reads which jobserver a process
//! was started below, and whether a make runs any job there.
//!
//! Knows how make quotes words there and expands `$$` (4.3 and 4.4.1, `src/main.c`:
//! `decode_env_switches`, `quote_for_env`; GNU make manual, "Communicating Options to a Sub-make"
//! and "Sharing Job Slots with GNU make"). Doesn't know the value of a variable: a word with a
//! `$(reference)` in it is taken for the text it is. Doesn't know whether the endpoint exists.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::argv::{Edit, make};

/// How a tree is told where its endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Descriptors that the tree inherits: read tokens from one, return them into the other.
    Pipe {
        /// R.
        read: i32,
        /// W.
        write: i32,
    },
    /// One fifo for both directions.
    Fifo {
        /// Absolute, and free of blanks, backslashes and dollars: ninja 1.13 cuts it at the first
        /// blank, whatever its quoting.
        path: PathBuf,
        /// Some make on PATH is older than 4.4, and so doesn't know fifos.
        old_make: bool,
    },
}

/// A value that stays in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// The variable's new value.
    pub value: OsString,
    /// How many jobs the old value asked for: its last `-jN`, at least 1; `None` where there was
    /// none, or one without a limit. In a recipe of a make that is itself the root of a jobserver
    /// that is the size of its pool.
    pub cap: Option<u32>,
}

/// The jobserver that a process was started below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inherited {
    /// `R,W`. Make 4.3 names them to all that it starts, and leaves them open for `$(MAKE)` and `+` recipes only.
    Pipe {
        /// Where tokens are taken; 0 or more.
        read: i32,
        /// Where they are returned; 0 or more.
        write: i32,
    },
    /// `fifo:PATH`. The path isn't empty; a relative one is as good as the folder one stands in.
    Fifo(PathBuf),
}

/// Which jobserver a value of `MAKEFLAGS` names: its last one, as make itself reads it.
///
/// `None` where it names none, one with a negative descriptor (make 4.4 writes `-2,-2` behind its pipe for recipes that
/// aren't recursive), or something else than `R,W` and `fifo:PATH`; also for a dry run, which is an `n` in a first word
/// without a dash (GNU make manual, "POSIX Jobserver Interaction").
pub fn inherited(makeflags: &OsStr) -> Option<Inherited> {
    let (words, bundle) = options(makeflags.as_bytes());
    if bundle && words[0].plain.contains(&b'n') {
        return None;
    }
    let auth = make::jobserver(&plain(&words))?;
    if let Some(path) = auth.strip_prefix(b"fifo:") {
        return (!path.is_empty()).then(|| Inherited::Fifo(OsStr::from_bytes(path).into()));
    }
    // make and ninja read it by sscanf(3), "%d,%d": what follows doesn't matter.
    let (read, rest) = leading_number(auth)?;
    let (write, _) = leading_number(rest.strip_prefix(b",")?)?;
    (read >= 0 && write >= 0).then_some(Inherited::Pipe { read, write })
}

/// Whether make runs no job with this value: a dry run, `-q`, `-t` or `-v`, bundled in a first word or behind it.
pub fn asks_nothing(makeflags: &OsStr) -> bool {
    make::makeflags_ask_nothing(&plain(&options(makeflags.as_bytes()).0))
}

/// Whether a value names a jobserver, be it one that nobody can join (`-2,-2`).
pub fn names_jobserver(makeflags: &OsStr) -> bool {
    make::jobserver(&plain(&options(makeflags.as_bytes()).0)).is_some()
}

/// The words of a value as make's option parser sees them: unquoted, and a bundle of options with its dash. A reference to
/// a variable is its name.
pub(super) fn words(value: &[u8]) -> Vec<Vec<u8>> {
    options(value).0.into_iter().map(|word| word.plain).collect()
}

/// The decimal number that `text` begins with, and what is behind it.
fn leading_number(text: &[u8]) -> Option<(i32, &[u8])> {
    let signs = usize::from(matches!(text, [b'+' | b'-', ..]));
    let digits = text[signs..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(signs + digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// Turns the fifo away from a make before 4.4, which would die of it (`invalid --jobserver-auth
/// string`): it warns that the jobserver is unavailable, and runs one job at a time.
///
/// The last authorization counts. To 4.4 and newer the one here is the (odd) value of the option
/// before it, which the option after it sets right; older ones don't know those two, and pass over
/// unknown options in the environment. It is written as the beginning of `--jobserver-fds`, which
/// getopt completes in makes up to 4.1 too, and for which ninja 1.13 and jobserver-rs, which look
/// for the whole name, don't look.
const NOT_FOR_OLD_MAKES: &[u8] = b" --jobserver-style --jobserver-f=-2,-2 --jobserver-style=fifo";

/// The new value of `MAKEFLAGS`: ours, then what is left of the `inherited` one. Words that stay
/// keep their bytes; those of a first word without a dash get one, since they aren't first now.
pub fn compose(auth: &Auth, inherited: Option<&OsStr>) -> Flags {
    // A first word without a dash would be read as a bundle of short options. Hence the blank,
    // which make itself writes too. A plain -j: make 4.3 has one beside the authorization.
    let mut value = b" -j --jobserver-auth=".to_vec();
    match auth {
        Auth::Pipe { read, write } => value.extend(format!("{read},{write}").bytes()),
        Auth::Fifo { path, old_make } => {
            let path = path.as_os_str().as_bytes();
            let special = |b: &u8| b.is_ascii_whitespace() || b"\\$".contains(b);
            debug_assert!(path.starts_with(b"/") && !path.iter().any(special));
            value.extend_from_slice(b"fifo:");
            value.extend_from_slice(path);
            if *old_make {
                value.extend_from_slice(NOT_FOR_OLD_MAKES);
            }
        }
    }
    let left = Left::of(inherited.unwrap_or_default().as_bytes());
    value.extend(left.text);
    Flags { value: OsString::from_vec(value), cap: left.cap }
}

/// The new value of `GNUMAKEFLAGS`, which make reads before `MAKEFLAGS`: what is left of the old
/// one; all of it, byte for byte, if there was nothing to take out.
pub fn strip(value: &OsStr) -> Flags {
    let left = Left::of(value.as_bytes());
    let text = match left.text.strip_prefix(b" ") {
        _ if left.unchanged => value.as_bytes().to_vec(),
        // It wasn't first, so it mustn't become a bundle of options now. make skips a lone dash.
        Some(text) if left.begins_bare => [b"- ", text].concat(),
        Some(text) => text.to_vec(),
        None => Vec::new(),
    };
    Flags { value: OsString::from_vec(text), cap: left.cap }
}

/// What is left of a value.
struct Left {
    /// Each word with a blank before it.
    text: Vec<u8>,
    cap: Option<u32>,
    unchanged: bool,
    /// The first word would be read as a bundle of options if nothing were put before it.
    begins_bare: bool,
}

impl Left {
    fn of(value: &[u8]) -> Left {
        let (words, bundle) = options(value);
        let plain = plain(&words);
        let edits = make::edits(&plain);
        let mut left = Left {
            text: Vec::new(),
            cap: edits.cap,
            unchanged: edits.words.iter().all(|edit| *edit == Edit::Keep),
            begins_bare: false,
        };
        for (i, (word, edit)) in words.iter().zip(&edits.words).enumerate() {
            if *edit == Edit::Drop {
                continue;
            }
            left.begins_bare |= left.text.is_empty() && word.is_bundle();
            left.text.push(b' ');
            match edit {
                // From here on nothing is an option: all of it stays, blanks too.
                Edit::Keep if i == edits.end => {
                    left.text.extend_from_slice(&value[word.raw.start..]);
                    break;
                }
                Edit::Cut(len) if !word.has_reference => left.text.extend(quote(&plain[i][..*len])),
                Edit::Keep | Edit::Cut(_) | Edit::Drop => {
                    if bundle && i == 0 {
                        left.text.push(b'-');
                    }
                    left.text.extend_from_slice(&value[word.raw.clone()]);
                }
            }
        }
        left
    }
}

/// The words of a value, as make's option parser sees them, and whether the first one is a bundle, which has got its
/// dash here.
fn options(value: &[u8]) -> (Vec<Word>, bool) {
    let mut words = split(value);
    let bundle = words.first_mut().filter(|first| first.is_bundle());
    let is_bundle = bundle.map(|first| first.plain.insert(0, b'-')).is_some();
    (words, is_bundle)
}

fn plain(words: &[Word]) -> Vec<&[u8]> {
    words.iter().map(|word| &word.plain[..]).collect()
}

/// One word of a value.
struct Word {
    /// Where it stands.
    raw: Range<usize>,
    /// What make's option parser sees.
    plain: Vec<u8>,
    /// A variable is expanded in it: `plain` has its name instead.
    has_reference: bool,
}

impl Word {
    /// Whether it is read as a bundle of short options where it comes first: it has no dash and
    /// isn't a variable definition. (What a reference expands to, nobody knows.)
    fn is_bundle(&self) -> bool {
        !self.plain.starts_with(b"-") && !self.plain.contains(&b'=') && !self.has_reference
    }
}

/// Splits a value at blanks, as make does: it expands variables first, so `$$` is a dollar, and
/// then takes a backslash off what is behind it. Blanks at the end make no empty word here (make
/// sees one there, and refuses `-j` with it).
fn split(value: &[u8]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut in_word = false;
    let mut at = 0;
    while at < value.len() {
        let start = at;
        // A backslash that is the last of all stands for itself.
        let escaped = value[at] == b'\\' && at + 1 < value.len();
        at += usize::from(escaped);
        if !escaped && is_blank(value[at]) {
            in_word = false;
            at += 1;
            continue;
        }
        let (len, text) = expand(&value[at..]);
        at += len;
        if !in_word {
            in_word = true;
            words.push(Word { raw: start..start, plain: Vec::new(), has_reference: false });
        }
        if let Some(word) = words.last_mut() {
            word.raw.end = at;
            word.plain.extend_from_slice(text);
            word.has_reference |= text.len() > 1;
        }
    }
    words
}

/// Space and tab, as make's `ISBLANK`.
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// What stands at the start of `text`, not empty: how many bytes it takes, and the one byte that
/// it means, or the whole of a reference (`$(name)`, `${name}`, `$x`).
fn expand(text: &[u8]) -> (usize, &[u8]) {
    let (open, close) = match text {
        [b'$', b'$', ..] => return (2, &text[..1]),
        [b'$', b'(', ..] => (b'(', b')'),
        [b'$', b'{', ..] => (b'{', b'}'),
        [b'$', _, ..] => return (2, &text[..2]),
        _ => return (1, &text[..1]),
    };
    let mut depth = 0_usize;
    let end = text.iter().position(|&byte| {
        depth += usize::from(byte == open);
        let closes = byte == close;
        depth -= usize::from(closes && depth > 0);
        closes && depth == 0
    });
    let len = end.map_or(text.len(), |end| end + 1);
    (len, &text[..len])
}

/// The opposite of `split`, for one word (make's `quote_for_env`).
fn quote(plain: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(plain.len());
    for &byte in plain {
        match byte {
            b'$' => raw.push(b'$'),
            b'\\' | b' ' | b'\t' => raw.push(b'\\'),
            _ => {}
        }
        raw.push(byte);
    }
    raw
}

#[cfg(test)]
mod tests;
