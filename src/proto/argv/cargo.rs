//! cargo's command line.
//!
//! Knows which subcommands of 1.95 have `-j`, and which options have values (`cargo help build` and
//! so on; `src/util/command_prelude.rs`: `arg_jobs`). Doesn't know configured aliases, nor the
//! plugins: what isn't a building subcommand of cargo's own (or clippy) is left alone.

use super::getopt::{Options, Takes};
use super::{Edits, Jobs};

/// cargo: what has a value, before the subcommand or after `run`, `rustc` and `rustdoc`. (After
/// the others it makes no difference, for no value may begin with a dash there but that of `-j`.)
const OPTIONS: Options = Options {
    short: b"C:F:j:p:Z:",
    long: &[
        ("artifact-dir", b'1', Takes::Word),
        ("bench", b'1', Takes::Word),
        ("bin", b'1', Takes::Word),
        ("color", b'1', Takes::Word),
        ("config", b'1', Takes::Word),
        ("crate-type", b'1', Takes::Word),
        ("example", b'1', Takes::Word),
        ("exclude", b'1', Takes::Word),
        ("explain", b'1', Takes::Word),
        ("features", b'F', Takes::Word),
        ("jobs", b'j', Takes::Word),
        ("lockfile-path", b'1', Takes::Word),
        ("manifest-path", b'1', Takes::Word),
        ("message-format", b'1', Takes::Word),
        ("output-format", b'1', Takes::Word),
        ("package", b'p', Takes::Word),
        ("print", b'1', Takes::Word),
        ("profile", b'1', Takes::Word),
        ("target", b'1', Takes::Word),
        ("target-dir", b'1', Takes::Word),
        ("test", b'1', Takes::Word),
    ],
    abbreviates: false,
};

/// The subcommands that build, so have `-j`. (clippy hands its arguments to check.)
const BUILDS: [&[u8]; 18] = [
    b"build", b"b", b"check", b"c", b"test", b"t", b"bench", b"run", b"r", b"doc", b"d", b"rustc",
    b"rustdoc", b"install", b"clippy", b"fix", b"package", b"publish",
];

/// An `i32` but 0 (below, it is counted from the number of CPUs), or `default`.
fn number(value: Option<&[u8]>) -> Jobs {
    let Some(text) = value.and_then(|value| std::str::from_utf8(value).ok()) else {
        return Jobs::Malformed;
    };
    match text.parse::<i32>() {
        Ok(0) => Jobs::Malformed,
        Ok(n) => u32::try_from(n).map_or(Jobs::Unlimited, Jobs::Number),
        Err(_) if text == "default" => Jobs::Unlimited,
        Err(_) => Jobs::Malformed,
    }
}

/// What becomes of the words of a command line, read as cargo's parser (clap) does: up to `--`, or
/// to a program's own arguments.
pub(super) fn edits(words: &[&[u8]]) -> Edits {
    let mut edits = Edits::none(words.len());
    let mut subcommand: Option<&[u8]> = None;
    // rustup's `+toolchain` comes before everything else.
    let mut i = usize::from(words.first().is_some_and(|word| word.starts_with(b"+")));
    // The option before has no value: without what stands there now, it would take the next word for that.
    let mut lacks_value = false;
    while i < words.len() && words[i] != b"--" {
        if !is_option(words[i]) {
            match subcommand {
                None if BUILDS.contains(&words[i]) => subcommand = Some(words[i]),
                None => break,
                // What follows their first positional argument is for the program they run.
                Some(b"run" | b"r" | b"rustc" | b"rustdoc") => break,
                Some(_) => {}
            }
        }
        let Some(found) = OPTIONS.find(words[i]) else {
            i += 1;
            lacks_value = false;
            continue;
        };
        let is_jobs = found.key == b'j';
        let next = words.get(i + 1).copied();
        let separate = next.filter(|next| {
            // Only the value of -j may begin with a dash.
            found.attached.is_none() && (is_jobs || !is_option(next))
        });
        let used = 1 + usize::from(separate.is_some());
        let value = found.attached.map(|value| match found.at {
            0 => value,
            // A short option's value may come after a `=`.
            _ => value.strip_prefix(b"=").unwrap_or(value),
        });
        // Before the subcommand there is no -j: cargo will say so.
        if is_jobs && !lacks_value && subcommand.is_some() && edits.jobs(number(value.or(separate))) {
            edits.take_out(i, used, found.at);
        }
        lacks_value = !is_jobs && value.or(separate).is_none();
        i += used;
    }
    edits
}

fn is_option(word: &[u8]) -> bool {
    word.len() > 1 && word[0] == b'-'
}

#[cfg(test)]
mod tests {
    use crate::proto::argv::Tool;
    use crate::proto::argv::tests::check;

    #[test]
    fn odd_command_lines() {
        #[rustfmt::skip]
        check(Tool::Cargo, &[
            ("build -j4", "build", Some(4)),
            ("b -j 4", "b", Some(4)),
            ("build -j=4", "build", Some(4)),
            ("check --jobs 4", "check", Some(4)),
            ("c --jobs=4 -v", "c -v", Some(4)),
            ("t -vj4", "t -v", Some(4)),
            ("t -vj=4", "t -v", Some(4)),
            ("build -j +4", "build", Some(4)),
            ("build -j default", "build", None),
            ("build -jdefault -q", "build -q", None),
            ("build -j -1", "build", None),
            ("build -j-1", "build", None),
            ("build -j0", "build -j0", None),
            ("build -jx", "build -jx", None),
            ("build -j --release", "build -j --release", None),
            ("build -j", "build -j", None),
            ("build --jobs=", "build --jobs=", None),
            ("build -j ''", "build -j ''", None),
            ("build -j==4", "build -j==4", None),
            ("build -j4294967296", "build -j4294967296", None),
            ("build --job 4", "build --job 4", None),
            ("+nightly build -j4", "+nightly build", Some(4)),
            ("--color never -v build -j4", "--color never -v build", Some(4)),
            ("-C dir build -j4", "-C dir build", Some(4)),
            ("--config build build -j4", "--config build build", Some(4)),
            ("-j4 build", "-j4 build", None),
            ("build -pj4", "build -pj4", None),
            ("build -Fj4", "build -Fj4", None),
            ("build -Zj4", "build -Zj4", None),
            ("build -p j4 -j2", "build -p j4", Some(2)),
            ("build -p -j2", "build -p -j2", None),
            ("run -C -j2 -j4 x", "run -C -j2 x", Some(4)),
            ("build -F a,b -j2", "build -F a,b", Some(2)),
            ("run -j4 x", "run x", Some(4)),
            ("run x -j4", "run x -j4", None),
            ("r --bin x -j4 y -j2", "r --bin x y -j2", Some(4)),
            ("run --bin -j4", "run --bin -j4", None),
            ("run --release x -j4", "run --release x -j4", None),
            ("run - -j4", "run - -j4", None),
            ("run --timings x -j4", "run --timings x -j4", None),
            ("run -p x --target-dir d -j4 -- -j2", "run -p x --target-dir d -- -j2", Some(4)),
            ("rustc -j4 -- -j2", "rustc -- -j2", Some(4)),
            ("rustc x -j4", "rustc x -j4", None),
            ("rustdoc x -j4", "rustdoc x -j4", None),
            ("test name -j4", "test name", Some(4)),
            ("test -- -j4", "test -- -j4", None),
            ("clippy -j4 -- -D warnings", "clippy -- -D warnings", Some(4)),
            ("install x -j4", "install x", Some(4)),
            ("nextest run -j4", "nextest run -j4", None),
            ("miri test -j4", "miri test -j4", None),
            ("-- build -j4", "-- build -j4", None),
            ("+nightly", "+nightly", None),
            ("", "", None),
        ]);
    }
}
