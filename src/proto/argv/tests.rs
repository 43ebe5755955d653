//! What holds for every tool's command line, and a table's reader for those of each.
//!
//! Doesn't know any tool's manual: their spellings stand beside their grammars.

use super::*;
use proptest::prelude::*;
use std::os::unix::ffi::OsStringExt;

/// Checks rows of (command line, what is left of it, cap), words separated by blanks, `''`
/// for an empty one.
pub(super) fn check(tool: Tool, rows: &[(&str, &str, Option<u32>)]) {
    for &(line, args, cap) in rows {
        let args = split(args);
        assert_eq!(strip(tool, &split(line)), Stripped { args, cap }, "{line}");
    }
}

fn split(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(|word| word.replace("''", "").into()).collect()
}

/// Checks which command lines run no job: those of the first list.
pub(super) fn check_asks_nothing(tool: Tool, asking_nothing: &[&str], asking: &[&str]) {
    for (lines, expected) in [(asking_nothing, true), (asking, false)] {
        for line in lines {
            assert_eq!(asks_nothing(tool, &split(line)), expected, "{line:?}");
        }
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
        ("samu", Tool::Ninja), ("samurai", Tool::Ninja), ("samurai-git", Tool::Other),
        ("cargo", Tool::Cargo), ("cargo-1.85", Tool::Cargo),
        ("cargo-nextest", Tool::Other), ("", Tool::Other), ("/", Tool::Other),
    ];
    for (program, tool) in rows {
        assert_eq!(Tool::of(OsStr::new(program)), tool, "{program}");
    }
}

#[test]
fn others_are_left_alone() {
    check(Tool::Other, &[("-j4 -l3", "-j4 -l3", None)]);
    check_asks_nothing(Tool::Other, &[], &["-n", "--version", ""]);
    check_asks_nothing(Tool::Cargo, &[], &["build", "-n", "-q", "-h"]);
}

#[test]
fn bytes_need_not_be_text() {
    let args = [b"-kj4".as_slice(), b"\xff=\xfe", b"-I\xff"].map(OsStr::from_bytes);
    let left = [b"-k".as_slice(), b"\xff=\xfe", b"-I\xff"].map(OsStr::from_bytes);
    let stripped = strip(Tool::Make, &args.map(OsString::from));
    assert_eq!(stripped.args, left);
    assert_eq!(stripped.cap, Some(4));
}

/// Some words of a command line, and what is left of them.
#[derive(Clone, Debug)]
struct Piece {
    words: Vec<OsString>,
    left: Vec<OsString>,
}

fn piece(words: &[OsString], left: &[OsString]) -> Piece {
    Piece { words: words.to_vec(), left: left.to_vec() }
}

/// Any bytes but NUL: as an option's argument it may look like an option.
fn any_word() -> impl Strategy<Value = OsString> {
    let looks = ["-j4", "-n", "-l", "--", "--jobs=4", "-t", "", "-", "4"].map(OsString::from);
    let bytes = prop::collection::vec(1..=u8::MAX, 0..6).prop_map(OsString::from_vec);
    prop_oneof![bytes, prop::sample::select(looks.to_vec())]
}

/// A target or a variable, or something like it.
fn operand() -> impl Strategy<Value = OsString> {
    let start = prop::sample::select(b"abnqtv/=\x80\xff".to_vec());
    (start, any_word()).prop_map(|(start, rest)| OsString::from_vec([&[start][..], rest.as_bytes()].concat()))
}

/// A tool's own spellings, for `lines`.
struct Spellings {
    /// Letters without an argument.
    flags: &'static [&'static str],
    /// Options whose argument is the next word, whatever it is.
    with_word: &'static [&'static str],
    /// Options whose argument is behind them, whatever it is.
    with_rest: &'static [&'static str],
    /// What leaves the pool: each whole, and at the end of a bundle where it has one dash.
    taken_out: &'static [&'static [&'static str]],
}

const MAKE: Spellings = Spellings {
    flags: &["b", "B", "d", "e", "i", "k", "L", "m", "p", "r", "R", "s", "S", "w"],
    with_word: &[
        "-C",
        "-f",
        "-I",
        "-E",
        "-o",
        "-W",
        "-kf",
        "--directory",
        "--file",
        "--eval",
        "--what-if",
        "--dir",
    ],
    with_rest: &["-O", "-Cx", "-kIx", "--file=", "--debug=", "--shuffle=", "--output-sync="],
    taken_out: &[
        &["-j4"],
        &["-j", "4"],
        &["-l2.5"],
        &["-l", ".5"],
        &["--jobs=4"],
        &["--jobs", "4"],
        &["--load-average=4"],
        &["--max-load", "4"],
        &["--jobserver-auth=3,4"],
        &["--jobserver-fds", "3,4"],
        &["--jobserver-style=fifo"],
    ],
};

const NINJA: Spellings = Spellings {
    flags: &["v"],
    with_word: &["-C", "-f", "-d", "-k", "-w", "-vf", "--status"],
    with_rest: &["-Cx", "-vdx", "--status="],
    taken_out: &[&["-j4"], &["-j", "4"], &["-l2.5"], &["-l", "-1"]],
};

impl Spellings {
    /// One piece of a command line that runs jobs.
    fn pieces(&self) -> impl Strategy<Value = Piece> + use<> {
        let select = |options: &'static [&'static str]| prop::sample::select(options);
        let flags = prop::collection::vec(select(self.flags), 1..4).prop_map(|flags| flags.concat());
        let kept = prop_oneof![
            operand().prop_map(|word| vec![word]),
            flags.clone().prop_map(|flags| vec![format!("-{flags}").into()]),
            (select(self.with_word), any_word()).prop_map(|(option, word)| vec![option.into(), word]),
            (select(self.with_rest), any_word())
                .prop_map(|(option, rest)| vec![[OsString::from(option), rest].into_iter().collect()]),
        ];
        let taken_out = prop::sample::select(self.taken_out)
            .prop_map(|words| words.iter().map(OsString::from).collect::<Vec<_>>());
        let bundled = (flags, taken_out.clone()).prop_map(|(flags, mut words)| {
            let option = words[0].to_string_lossy().into_owned();
            let left = match option.strip_prefix("--") {
                Some(_) => vec![],
                None => {
                    words[0] = format!("-{flags}{}", &option[1..]).into();
                    vec![format!("-{flags}").into()]
                }
            };
            piece(&words, &left)
        });
        prop_oneof![
            3 => kept.prop_map(|words| piece(&words, &words)),
            1 => taken_out.prop_map(|words| piece(&words, &[])),
            1 => bundled,
        ]
    }

    /// A command line that runs jobs, and what is left of it.
    fn lines(&self) -> impl Strategy<Value = Vec<Piece>> + use<> {
        let end = prop::option::of(prop::collection::vec(any_word(), 0..4)).prop_map(|words| {
            let words: Vec<OsString> = words.map_or(vec![], |words| [vec!["--".into()], words].concat());
            piece(&words, &words)
        });
        (prop::collection::vec(self.pieces(), 0..8), end)
            .prop_map(|(pieces, end)| [pieces, vec![end]].concat())
    }
}

/// A tool and one of its command lines.
fn tool_and_line() -> impl Strategy<Value = (Tool, Vec<Piece>)> {
    prop_oneof![
        MAKE.lines().prop_map(|line| (Tool::Make, line)),
        NINJA.lines().prop_map(|line| (Tool::Ninja, line)),
    ]
}

proptest! {
    #[test]
    fn what_is_no_job_or_load_option_stays_as_it_is((tool, line) in tool_and_line()) {
        let words: Vec<OsString> = line.iter().flat_map(|piece| piece.words.clone()).collect();
        let left: Vec<OsString> = line.iter().flat_map(|piece| piece.left.clone()).collect();
        prop_assert_eq!(&strip(tool, &words).args, &left);
        prop_assert_eq!(&strip(tool, &left).args, &left, "and nothing else comes to light");
    }

    #[test]
    fn a_dry_run_is_seen_wherever_options_are((tool, line) in tool_and_line(), at in any::<prop::sample::Index>()) {
        let words: Vec<OsString> = line.iter().flat_map(|piece| piece.words.clone()).collect();
        prop_assert!(!asks_nothing(tool, &words));
        let (before, after) = line.split_at(at.index(line.len()));
        let dry = piece(&["-n".into()], &[]);
        let words = [before, &[dry], after].concat().into_iter().flat_map(|piece| piece.words);
        prop_assert!(asks_nothing(tool, &words.collect::<Vec<_>>()));
    }
}
