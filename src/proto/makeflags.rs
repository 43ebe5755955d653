//! The values of `MAKEFLAGS` and `GNUMAKEFLAGS`: tells a process tree where its endpoint is, keeps
//! the flags and variables the user had there, takes out what would leave the pool, and reads which jobserver a process
//! was started below.
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
    let mut words = split(makeflags.as_bytes());
    if let Some(first) = words.first_mut().filter(|first| first.is_bundle()) {
        if first.plain.contains(&b'n') {
            return None;
        }
        first.plain.insert(0, b'-');
    }
    let plain: Vec<&[u8]> = words.iter().map(|word| &word.plain[..]).collect();
    let auth = make::jobserver(&plain)?;
    if let Some(path) = auth.strip_prefix(b"fifo:") {
        return (!path.is_empty()).then(|| Inherited::Fifo(OsStr::from_bytes(path).into()));
    }
    // make and ninja read it by sscanf(3), "%d,%d": what follows doesn't matter.
    let (read, rest) = leading_number(auth)?;
    let (write, _) = leading_number(rest.strip_prefix(b",")?)?;
    (read >= 0 && write >= 0).then_some(Inherited::Pipe { read, write })
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
        let mut words = split(value);
        let bundle = words.first().is_some_and(Word::is_bundle);
        if bundle {
            words[0].plain.insert(0, b'-');
        }
        let plain: Vec<&[u8]> = words.iter().map(|word| &word.plain[..]).collect();
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
                Edit::Keep if word.plain == b"--" => {
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
mod tests {
    use super::*;

    #[rustfmt::skip]
    const ODD_VALUES: &[(&str, &str, Option<u32>)] = &[
        // Inherited, what stands behind ours, cap.
        ("", "", None),
        ("   ", "", None),
        ("k", " -k", None),
        ("kw", " -kw", None),
        ("rR -k", " -rR -k", None),
        ("-k X=1", " -k X=1", None),
        ("X=1 k", " X=1 k", None),
        ("  kw -s", " -kw -s", None),
        ("kj", " -k", None),
        ("kj16", " -k", Some(16)),
        ("kj 16 w", " -k w", Some(16)),
        ("j4 X=1", " X=1", Some(4)),
        ("j4 foo", " foo", Some(4)),
        (" -j4", "", Some(4)),
        ("-j ", "", None),
        ("-j8 -j", "", None),
        ("--jobs=7 -l 3", "", Some(7)),
        ("-l3 --load=2 --max-load", "", None),
        ("kw -j8 --jobserver-auth=3,4 -- A=b\\ c", " -kw -- A=b\\ c", Some(8)),
        (" -j --jobserver-fds=3,4 -j", "", None),
        ("--jobserver-a=3,4 --jobserver-auth=fifo:/tmp/GMfifo1", "", None),
        (" -j --jobserver-auth=fifo:/p --jobserver-style --jobserver-f=-2,-2 --jobserver-style=fifo -k",
         " -k", None),
        ("-- A=1  B=-j4 -j4 ", " -- A=1  B=-j4 -j4 ", None),
        ("-j4 -- -l3", " -- -l3", Some(4)),
        ("X=-j4 Y=a\\ -j5", " X=-j4 Y=a\\ -j5", None),
        ("-I -j4 -j2", " -I -j4", Some(2)),
        ("-Ia\\ b\\\\c -j2", " -Ia\\ b\\\\c", Some(2)),
        ("-I\\ -j4", " -I\\ -j4", None),
        ("-\\j4 -k", " -k", Some(4)),
        ("-j\\4", "", Some(4)),
        ("--eval=$$(info\\ x) -j2", " --eval=$$(info\\ x)", Some(2)),
        ("-I$(subst a,b -j3,X) -j2", " -I$(subst a,b -j3,X)", Some(2)),
        ("-j$(N)", " -j$(N)", None),
        ("-$(X)j4", " -$(X)j4", Some(4)),
        ("$(X) -j4", " $(X)", Some(4)),
        ("-k\t-s", " -k -s", None),
        ("-jx -k", " -jx -k", None),
        ("k\\", " -k\\", None),
        ("k$", " -k$", None),
        ("-k$", " -k$", None),
        ("-$$j4", " -$$", Some(4)),
        ("- -j4 -k", " - -k", Some(4)),
    ];

    #[test]
    fn odd_values() {
        let auth = Auth::Pipe { read: 100, write: 101 };
        for &(inherited, left, cap) in ODD_VALUES {
            let value = format!(" -j --jobserver-auth=100,101{left}").into();
            let flags = compose(&auth, Some(OsStr::new(inherited)));
            assert_eq!(flags, Flags { value, cap }, "{inherited:?}");
        }
    }

    #[test]
    fn ways_to_the_endpoint() {
        let path = PathBuf::from("/run/f");
        let fifo = |old_make| Auth::Fifo { path: path.clone(), old_make };
        let rows = [
            (Auth::Pipe { read: 3, write: 4 }, " -j --jobserver-auth=3,4"),
            (fifo(false), " -j --jobserver-auth=fifo:/run/f"),
            (
                fifo(true),
                " -j --jobserver-auth=fifo:/run/f --jobserver-style --jobserver-f=-2,-2 \
                 --jobserver-style=fifo",
            ),
        ];
        for (auth, value) in rows {
            let flags = compose(&auth, None);
            assert_eq!(flags, Flags { value: value.into(), cap: None });
        }
    }

    #[test]
    fn only_taken_out() {
        #[rustfmt::skip]
        let rows = [
            ("", "", None), ("  k   X=1 ", "  k   X=1 ", None), ("k -j4", "-k", Some(4)),
            ("kj4  X=1", "-k X=1", Some(4)), ("j4", "", Some(4)), ("-j4 kw", "- kw", Some(4)),
            ("-j4 X=1", "X=1", Some(4)), ("-j4 -k", "-k", Some(4)), ("-j4 -- k", "-- k", Some(4)),
            ("-jx", "-jx", None), ("-l", "", None), ("X=1 kw -j4", "X=1 kw", Some(4)),
        ];
        for (old, new, cap) in rows {
            let flags = Flags { value: new.into(), cap };
            assert_eq!(strip(OsStr::new(old)), flags, "{old:?}");
        }
    }

    #[rustfmt::skip]
    const INHERITED: &[(&str, Option<(i32, i32)>)] = &[
        // Written by make 4.3 for any recipe, and by 4.4.1 in pipe style for recursive ones ...
        (" -j4 --jobserver-auth=3,4", Some((3, 4))),
        ("k -j3 --jobserver-auth=3,4", Some((3, 4))),
        (" -j2 -l3 -Otarget --jobserver-auth=3,4 -- I=1", Some((3, 4))),
        (" -Ia\\ b -j4 --jobserver-auth=3,4 -- X=a\\ \\ b$$c", Some((3, 4))),
        // ... and by 4.4.1 for the others, for a dry run, and by both without a jobserver.
        (" -j3 --jobserver-auth=3,4 --jobserver-auth=-2,-2", None),
        ("n -j4 --jobserver-auth=3,4", None),
        ("kn -j4 --jobserver-auth=3,4", None),
        (" -j1", None), (" -j", None), ("k", None), ("", None), ("  ", None),
        // By older makes, jobserver-rs, and what make reads too.
        (" --jobserver-fds=5,6 -j", Some((5, 6))),
        ("-j --jobserver-fds=5,6 --jobserver-auth=7,8", Some((7, 8))),
        ("-j --jobserver-auth=7,8 --jobserver-fds=5,6", Some((5, 6))),
        (" -j --jobserver-auth 3,4", Some((3, 4))),
        (" -j --jobserver-f=3,4", Some((3, 4))),
        ("--jobserver-auth=3,4 n", Some((3, 4))),
        ("-n --jobserver-auth=3,4", Some((3, 4))),
        ("X=n --jobserver-auth=3,4", Some((3, 4))),
        (" --jobserver-auth=0,0", Some((0, 0))),
        (" --jobserver-auth=+3,4x", Some((3, 4))),
        // The last one counts, whatever it is.
        (" --jobserver-auth=-2,-2 --jobserver-auth=3,4", Some((3, 4))),
        (" --jobserver-auth=3,4 --jobserver-auth=x", None),
        (" --jobserver-auth=3,-1", None), (" --jobserver-auth=-1,4", None),
        (" --jobserver-auth=3", None), (" --jobserver-auth=3,", None), (" --jobserver-auth=,4", None),
        (" --jobserver-auth=3;4", None), (" --jobserver-auth=- 3,4", None), (" --jobserver-auth=3,99999999999", None),
        (" --jobserver-auth=", None), (" --jobserver-auth", None), (" --jobserver-auth=fifo:", None),
        (" --jobserver-auth=sem", None), (" --jobserver-authority=3,4", None), (" --jobserver=3,4", None),
        // Not options: arguments, variables.
        ("-I --jobserver-auth=3,4", None),
        ("kI --jobserver-auth=3,4", None),
        ("k --jobserver-auth=3,4 -- X=1 --jobserver-auth=5,6", Some((3, 4))),
        (" -- --jobserver-auth=3,4", None),
        (" X=--jobserver-auth=3,4", None),
        (" -Ix\\ --jobserver-auth=3,4", None),
    ];

    #[test]
    fn the_pipe_below_which_a_process_was_started() {
        for &(value, pipe) in INHERITED {
            let expected = pipe.map(|(read, write)| Inherited::Pipe { read, write });
            assert_eq!(inherited(OsStr::new(value)), expected, "{value:?}");
        }
    }

    #[test]
    fn the_fifo_below_which_a_process_was_started() {
        let rows: [(&[u8], &[u8]); 6] = [
            (b" -j4 --jobserver-auth=fifo:/tmp/GMfifo1", b"/tmp/GMfifo1"),
            (b" -j2 --jobserver-auth=fifo:/tmp/GMfifo1 --sync-mutex=fnm:/tmp/Gmo1 -- I=1", b"/tmp/GMfifo1"),
            // make 4.4.1 escapes blanks here, but leaves dollars as they are.
            (b" -j4 --jobserver-auth=fifo:/tmp/t\\ m$p/GMfifo1", b"/tmp/t m$p/GMfifo1"),
            (b" --jobserver-auth=3,4 --jobserver-auth=fifo:f", b"f"),
            (b" --jobserver-auth=fifo:/\xff", b"/\xff"),
            (b"--jobserver-auth=fifo:/a --jobserver-style=fifo", b"/a"),
        ];
        for (value, path) in rows {
            let expected = Inherited::Fifo(OsStr::from_bytes(path).into());
            assert_eq!(inherited(OsStr::from_bytes(value)), Some(expected), "{value:?}");
        }
    }

    #[test]
    fn what_we_write_is_read_again() {
        let path = PathBuf::from("/run/f");
        for old_make in [false, true] {
            let auth = Auth::Fifo { path: path.clone(), old_make };
            let flags = compose(&auth, Some(OsStr::new("k --jobserver-auth=3,4 -- A=1")));
            assert_eq!(inherited(&flags.value), Some(Inherited::Fifo(path.clone())));
        }
        let flags = compose(&Auth::Pipe { read: 100, write: 101 }, None);
        assert_eq!(inherited(&flags.value), Some(Inherited::Pipe { read: 100, write: 101 }));
    }

    #[test]
    fn bytes_need_not_be_text() {
        let value = b"k -j4 -I\xff -- A=\xfe\\ \xff";
        let left = strip(OsStr::from_bytes(value));
        assert_eq!(left.value.as_bytes(), b"-k -I\xff -- A=\xfe\\ \xff");
        assert_eq!(left.cap, Some(4));
    }
}
