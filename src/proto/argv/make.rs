//! GNU make's command line, and the words of its `MAKEFLAGS`, which follow the same rules.
//!
//! Knows the options of 4.3 and 4.4.1 (`src/main.c`: `switches`, `long_option_aliases`,
//! `decode_switches`). Doesn't know how `MAKEFLAGS` is quoted.

use super::getopt::{self, Grammar, Options, Role, Takes, each_option, scan};
use super::{Edits, Jobs, limit};

/// What becomes of the words of a command line, or of an unquoted `MAKEFLAGS`.
pub(in crate::proto) fn edits(words: &[&[u8]]) -> Edits {
    scan(&GRAMMAR, words)
}

/// The value of the last option that names a jobserver: `--jobserver-auth`, or `--jobserver-fds` as it was called up to
/// 4.1. Both fill one variable, and the last one counts (4.3 and 4.4.1).
pub(in crate::proto) fn jobserver<'a>(words: &[&'a [u8]]) -> Option<&'a [u8]> {
    let mut last = None;
    each_option(&GRAMMAR, words, |seen| {
        if matches!(seen.key, b'2' | b'8') && seen.value.is_some() {
            last = seen.value;
        }
    });
    last
}

/// Whether a command line runs no job, but for recipes with a `+` or `$(MAKE)` in them, and those that remake a makefile.
pub(super) fn asks_nothing(words: &[&[u8]]) -> bool {
    getopt::asks_nothing(&GRAMMAR, words)
}

/// The same of an unquoted `MAKEFLAGS`, where 4.3 passes over `h` (4.4.1 doesn't).
pub(in crate::proto) fn makeflags_ask_nothing(words: &[&[u8]]) -> bool {
    let mut ask_nothing = false;
    each_option(&GRAMMAR, words, |seen| ask_nothing |= seen.asks_nothing() && seen.key != b'h');
    ask_nothing
}

/// GNU make: the union of 4.3 and 4.4.1 (which added jobserver-style, shuffle and temp-stdin; 4.3
/// refuses these on the command line and ignores them in MAKEFLAGS).
const GRAMMAR: Grammar = Grammar {
    options: Options {
        short: b"bBdeE:hikLmnpqrRsStvwC:f:I:j::l::o:O::W:",
        long: &[
            ("always-make", b'B', Takes::Nothing),
            ("environment-overrides", b'e', Takes::Nothing),
            ("eval", b'E', Takes::Word),
            ("help", b'h', Takes::Nothing),
            ("ignore-errors", b'i', Takes::Nothing),
            ("keep-going", b'k', Takes::Nothing),
            ("check-symlink-times", b'L', Takes::Nothing),
            ("just-print", b'n', Takes::Nothing),
            ("print-data-base", b'p', Takes::Nothing),
            ("question", b'q', Takes::Nothing),
            ("no-builtin-rules", b'r', Takes::Nothing),
            ("no-builtin-variables", b'R', Takes::Nothing),
            ("silent", b's', Takes::Nothing),
            ("no-keep-going", b'S', Takes::Nothing),
            ("touch", b't', Takes::Nothing),
            ("version", b'v', Takes::Nothing),
            ("print-directory", b'w', Takes::Nothing),
            ("directory", b'C', Takes::Word),
            ("file", b'f', Takes::Word),
            ("include-dir", b'I', Takes::Word),
            ("jobs", b'j', Takes::Attached),
            ("load-average", b'l', Takes::Attached),
            ("old-file", b'o', Takes::Word),
            ("output-sync", b'O', Takes::Attached),
            ("what-if", b'W', Takes::Word),
            ("debug", b'1', Takes::Attached),
            ("jobserver-auth", b'2', Takes::Word),
            ("trace", b'3', Takes::Nothing),
            ("no-print-directory", b'4', Takes::Nothing),
            ("warn-undefined-variables", b'5', Takes::Nothing),
            ("sync-mutex", b'6', Takes::Word),
            ("no-silent", b'7', Takes::Nothing),
            ("jobserver-fds", b'8', Takes::Word),
            ("temp-stdin", b'9', Takes::Word),
            ("shuffle", b'0', Takes::Attached),
            ("jobserver-style", b'+', Takes::Word),
            ("quiet", b's', Takes::Nothing),
            ("stop", b'S', Takes::Nothing),
            ("new-file", b'W', Takes::Word),
            ("assume-new", b'W', Takes::Word),
            ("assume-old", b'o', Takes::Word),
            ("max-load", b'l', Takes::Attached),
            ("dry-run", b'n', Takes::Nothing),
            ("recon", b'n', Takes::Nothing),
            ("makefile", b'f', Takes::Word),
        ],
        abbreviates: true,
    },
    role: |key| match key {
        b'j' => Role::Jobs,
        b'l' => Role::Load,
        b'2' | b'8' | b'+' => Role::Jobserver,
        b'h' | b'n' | b'q' | b't' | b'v' => Role::NoJob,
        _ => Role::Plain,
    },
    jobs: make_jobs,
    // make reads it with atof, which takes anything (for 0, mostly).
    load: |_| true,
};

/// Digits, at least 1; none at all means no limit. 4.4.1 takes `+4` too; 4.3 complains, as we
/// expect make to. Both cut numbers beyond 32 bits: nobody means those as a limit.
fn make_jobs(value: Option<&[u8]>) -> Jobs {
    let Some(digits) = value else {
        return Jobs::Unlimited;
    };
    if !digits.iter().all(u8::is_ascii_digit) || digits.iter().all(|b| *b == b'0') {
        return Jobs::Malformed;
    }
    limit(digits)
}

#[cfg(test)]
mod tests {
    use crate::proto::argv::Tool;
    use crate::proto::argv::tests::{check, check_asks_nothing};

    #[test]
    fn odd_command_lines() {
        #[rustfmt::skip]
        check(Tool::Make, &[
            ("-j", "", None),
            ("-j16 all", "all", Some(16)),
            ("-j 16 all", "all", Some(16)),
            ("--jobs", "", None),
            ("--jobs=16", "", Some(16)),
            ("--jobs 16 x", "x", Some(16)),
            ("-kj16", "-k", Some(16)),
            ("-kj 16", "-k", Some(16)),
            ("-Bkj", "-Bk", None),
            ("-j all", "all", None),
            ("-j 4x", "4x", None),
            ("-j4 -j", "", None),
            ("-j -j4", "", Some(4)),
            ("-j007", "", Some(7)),
            ("-j4294967297", "", None),
            ("-l", "", None),
            ("-l 4.5", "", None),
            ("-l .5 x", "x", None),
            ("-l4.5", "", None),
            ("-kl4", "-k", None),
            ("-l x", "x", None),
            ("-lx", "", None),
            ("--load-average", "", None),
            ("--load-average=3 x", "x", None),
            ("--max-load 3", "", None),
            ("--load=3", "", None),
            ("--max-l 3", "", None),
            ("--l 3", "", None),
            ("--m 3", "--m 3", None),
            ("--jo 4", "--jo 4", None),
            ("--job=4", "--job=4", None),
            ("-jx", "-jx", None),
            ("-j0", "-j0", None),
            ("-j 0", "-j 0", None),
            ("--jobs 0", "--jobs 0", None),
            ("-j16k", "-j16k", None),
            ("-j+4", "-j+4", None),
            ("-jk", "-jk", None),
            ("--jobs=", "--jobs=", None),
            ("-kj0 -j4", "-kj0", Some(4)),
            ("-j ''", "-j ''", None),
            ("-C -j4", "-C -j4", None),
            ("-C-j4", "-C-j4", None),
            ("-kC -j4 -j2", "-kC -j4", Some(2)),
            ("-f -j4", "-f -j4", None),
            ("-I -j4", "-I -j4", None),
            ("-o -j4", "-o -j4", None),
            ("-W -l", "-W -l", None),
            ("-E -j4", "-E -j4", None),
            ("--directory -j4", "--directory -j4", None),
            ("--dir -j4", "--dir -j4", None),
            ("--eval -j4", "--eval -j4", None),
            ("--eval=x -j4", "--eval=x", Some(4)),
            ("--assume-new -j4", "--assume-new -j4", None),
            ("-O -j4", "-O", Some(4)),
            ("-Oj4", "-Oj4", None),
            ("-Oline -j4", "-Oline", Some(4)),
            ("--output-sync -j4", "--output-sync", Some(4)),
            ("-d -j4", "-d", Some(4)),
            ("-dj4", "-d", Some(4)),
            ("--debug j4", "--debug j4", None),
            ("--debug=j -j4", "--debug=j", Some(4)),
            ("X=-j4", "X=-j4", None),
            ("-- -j4", "-- -j4", None),
            ("-j2 -- -j4", "-- -j4", Some(2)),
            ("-", "-", None),
            ("- -j4", "-", Some(4)),
            ("-zj4", "-z", Some(4)),
            ("--jobserver-auth=3,4", "", None),
            ("--jobserver-auth 3,4 x", "x", None),
            ("--jobserver-fds=3,4", "", None),
            ("--jobserver-a=3,4", "", None),
            ("--jobserver-style=pipe", "", None),
            ("--jobserver-style", "--jobserver-style", None),
            ("--jobserver=3", "--jobserver=3", None),
            ("-C", "-C", None),
            ("", "", None),
        ]);
    }

    /// As 4.3 and 4.4.1 do, tried with a target that wasn't there.
    #[test]
    fn command_lines_that_run_no_job() {
        #[rustfmt::skip]
        check_asks_nothing(Tool::Make, &[
            "-n", "--just-print", "--dry-run", "--recon", "-q", "--question", "-t", "--touch", "-v", "--version",
            "-h", "--help",
            // Bundled, abbreviated, anywhere.
            "-kn", "-nk", "-Bq", "-bt", "-dn", "-kn all", "--dry", "--just", "--ju", "--rec", "--que", "--to",
            "--v", "--h", "all -n", "X=1 -n all", "-n -- x", "- -n",
            // Behind arguments of others.
            "-f Makefile -n", "-kf Makefile -n", "-O -n", "-j -n", "-j 4 -n", "-l -n", "--debug -n", "--shuffle -n",
            "--eval x -n", "-j4 -n",
        ][..], &[
            "", "all", "-k", "n", "-", "-j4", "-Bdeikmprs", "-p", "--trace", "-w", "-L", "-S", "-i",
            // Arguments, targets, variables.
            "-f -n", "-C -n", "-I -n", "-o -n", "-W -n", "-E -n", "-fn", "-Cn", "-kfn", "-On", "-ln", "-jn", "-j4n",
            "--file -n", "--f -n", "--fi -n", "--directory -n", "--eval -n", "--eval=-n", "--debug=n", "-C -f -f -n",
            "-- -n", "-k -- --version", "X=-n", "-j n", "-l n",
            // Other names, and none.
            "--qui", "--quiet", "--silent", "--no-print-directory", "--tr", "--new-file x", "--no-p",
            "--q", "--t", "--n", "--version=1", "--just-print=", "--dry-runs", "---n",
        ]);
    }
}
