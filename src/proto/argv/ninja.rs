//! ninja's command line.
//!
//! Knows the options of 1.13 and of its development head (`src/ninja.cc`: `ReadFlags`); samurai's are some of them
//! (1.2, `samu.c`: `main`). Doesn't know the subtools of `-t`: all that follows it is theirs. Doesn't know that samurai
//! takes no option behind a target, and no abbreviations: those are errors there.

use super::getopt::{self, Grammar, Options, Role, Takes, scan};
use super::{Edits, Jobs, limit};

/// What becomes of the words of a command line.
pub(super) fn edits(words: &[&[u8]]) -> Edits {
    scan(&GRAMMAR, words)
}

/// Whether a command line runs no job; a subtool of `-t` runs none.
pub(super) fn asks_nothing(words: &[&[u8]]) -> bool {
    getopt::asks_nothing(&GRAMMAR, words)
}

/// ninja; `--status` is the development head's.
const GRAMMAR: Grammar = Grammar {
    options: Options {
        short: b"d:f:j:k:l:nt:vw:C:h",
        long: &[
            ("help", b'h', Takes::Nothing),
            ("version", b'1', Takes::Nothing),
            ("verbose", b'v', Takes::Nothing),
            ("quiet", b'2', Takes::Nothing),
            ("status", b'3', Takes::Word),
        ],
        abbreviates: true,
    },
    role: |key| match key {
        b'j' => Role::Jobs,
        b'l' => Role::Load,
        b't' => Role::Rest,
        b'h' | b'n' | b'1' => Role::NoJob,
        _ => Role::Plain,
    },
    jobs: ninja_jobs,
    load: |value| value.is_some_and(is_float),
};

/// All of it as strtol(3) reads it, not negative; 0, and nothing at all, mean no limit.
fn ninja_jobs(value: Option<&[u8]>) -> Jobs {
    let text = value.map(<[u8]>::trim_ascii_start);
    let number = text.map(|text| text.strip_prefix(b"+").unwrap_or(text));
    match number {
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => limit(digits),
        Some(_) | None => Jobs::Malformed,
    }
}

/// Whether strtod(3) finds a number at the start of this.
fn is_float(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let number = text.strip_prefix(b"-").or(text.strip_prefix(b"+"));
    match number.unwrap_or(text) {
        [b'.', digit, ..] | [digit, ..] if digit.is_ascii_digit() => true,
        other => other
            .get(..3)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")),
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::argv::Tool;
    use crate::proto::argv::tests::{check, check_asks_nothing};

    #[test]
    fn odd_command_lines() {
        #[rustfmt::skip]
        check(Tool::Ninja, &[
            ("-j4", "", Some(4)),
            ("-j 4 all", "all", Some(4)),
            ("all -vj4", "all -v", Some(4)),
            ("-j0", "", None),
            ("-j0 -j3", "", Some(3)),
            ("-j3 -j0", "", None),
            ("-j ''", "", None),
            ("-j +4", "", Some(4)),
            ("-j99999999999", "", None),
            ("-j", "-j", None),
            ("-j-1", "-j-1", None),
            ("-jx", "-jx", None),
            ("-j4k", "-j4k", None),
            ("-j all", "-j all", None),
            ("-j -v", "-j -v", None),
            ("-l4", "", None),
            ("-l 2.5 x", "x", None),
            ("-l -1", "", None),
            ("-l inf", "", None),
            ("-lx", "-lx", None),
            ("-l", "-l", None),
            ("-nl.5", "-n", None),
            ("-C -j4", "-C -j4", None),
            ("-C out -j4", "-C out", Some(4)),
            ("-f -j4", "-f -j4", None),
            ("-k 0 -j4", "-k 0", Some(4)),
            ("-k0j4", "-k0j4", None),
            ("-d stats -j4", "-d stats", Some(4)),
            ("-w dupbuild=err -j4", "-w dupbuild=err", Some(4)),
            ("-t clean -j4", "-t clean -j4", None),
            ("-j2 -t clean -j4", "-t clean -j4", Some(2)),
            ("-vtclean -j4", "-vtclean -j4", None),
            ("-t", "-t", None),
            ("--status -j4", "--status -j4", None),
            ("--status=x -j4", "--status=x", Some(4)),
            ("--verbose -j4", "--verbose", Some(4)),
            ("--jobs=4", "--jobs=4", None),
            ("--quiet -- -j4", "--quiet -- -j4", None),
            ("-hj4", "-h", Some(4)),
        ]);
    }

    /// As 1.13.2 does.
    #[test]
    fn command_lines_that_run_no_job() {
        #[rustfmt::skip]
        check_asks_nothing(Tool::Ninja, &[
            "-n", "-vn", "-nv", "--version", "--vers", "-h", "--help", "--h", "-vh", "all -n", "--quiet -n",
            "-t list", "-tlist", "-vt list", "-t clean -j4", "-t -v", "-C out -t compdb", "-j4 -t clean -- x",
            "-k 0 -n", "-j 2 -n", "-l 2 -n", "-w dupbuild=err -n", "-d stats -n", "--status x -n",
        ][..], &[
            "", "all", "-v", "--verbose", "--verb", "--quiet", "--qui", "-j4", "-d explain", "n", "-",
            "-C -n", "-f -n", "-k -n", "-l -n", "-j -n", "-d -n", "-w -n", "-kn", "-Cn", "-fn", "-dn", "-wn", "-vfn",
            "-f -t", "-ft", "-C -h", "-Ch", "--status -n", "--status=-n", "-- -n", "-- -t clean", "-v -- --version",
            // Neither one name nor the other, or more than one.
            "--ver", "--v", "--help=1", "--versions", "--touch",
        ]);
    }

    /// samurai's manual (samu.1) and `usage`.
    #[test]
    fn samurai_has_a_part_of_these() {
        check_asks_nothing(
            Tool::of("samu".as_ref()),
            &["-n", "--version", "-t clean", "-vn x"],
            &["-v", "--verbose"],
        );
        check(
            Tool::of("samu".as_ref()),
            &[
                ("-C out -j 3 -k 0 -l 2 -v all", "-C out -k 0 -v all", Some(3)),
                ("-j0 -tclean -j4", "-tclean -j4", None),
            ],
        );
    }
}
