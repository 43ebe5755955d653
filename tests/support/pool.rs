//! A pool of jobs around a command: GNU make's own jobserver, by which every assertion is proved first, or ours.
//!
//! Doesn't know what runs in it, nor what is asserted.

use super::{Real, clean, run, tool};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who hands out the tokens.
#[derive(Clone, Debug)]
pub enum Pool {
    /// `make -jN` with the command in a recipe that begins with `+`.
    Reference {
        /// Which make.
        make: PathBuf,
        /// Its `--jobserver-style`; make 4.3 has only a pipe, and no such option.
        style: Option<&'static str>,
    },
    /// `jobgate run -jN --style STYLE`.
    Ours {
        /// The style.
        style: &'static str,
    },
}

impl Pool {
    /// The make that knows this style, as the reference; `None` where it is missing.
    pub fn reference(make: Real, style: &'static str) -> Option<Pool> {
        let style = (make == Real::Make441).then_some(style);
        Some(Pool::Reference { make: tool(make)?, style })
    }

    /// Ours.
    pub fn ours(style: &'static str) -> Pool {
        Pool::Ours { style }
    }

    /// Whether it is the reference.
    pub fn is_reference(&self) -> bool {
        matches!(self, Pool::Reference { .. })
    }

    /// `line` in a pool of `jobs`, its folder being `folder` and its jobs' log `folder/log`.
    pub fn command<S: AsRef<str>>(&self, jobs: u32, folder: &Path, line: &[S]) -> Command {
        let jobs = format!("-j{jobs}");
        let line: Vec<&str> = line.iter().map(AsRef::as_ref).collect();
        let mut command = match self {
            Pool::Ours { style } => run(&[&jobs, "--style", style], &line),
            Pool::Reference { make, style } => {
                let file = folder.join("pool.mk");
                let recipe: Vec<String> = line.iter().map(|word| quote(word).replace('$', "$$")).collect();
                let text = format!("all:\n\t+@exec {}\n", recipe.join(" "));
                std::fs::write(&file, text).expect("the pool's makefile can be written");
                let mut command = clean(Command::new(make));
                command.arg(jobs).arg("--no-print-directory").arg("-f").arg(file);
                command.args(style.map(|style| format!("--jobserver-style={style}")));
                command
            }
        };
        command.current_dir(folder).env("LOG", folder.join("log"));
        command
    }
}

/// A word for the shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Writes a shell script that is a client of either style to `file`. It may use `take SECONDS`, which waits so long for
/// one token; `drain`, which takes until none has come for a second and counts in `$taken`; `give N [BYTE]`, which
/// returns. Descriptors 8 and 9 stay open for them.
pub fn write_client(file: &Path, script: &str) {
    std::fs::write(file, format!("{CLIENT}{script}\n")).expect("a script can be written");
}

const CLIENT: &str = r#"
auth=${MAKEFLAGS##*--jobserver-auth=}; auth=${auth%% *}
case $auth in
fifo:*) r=${auth#fifo:} w=${auth#fifo:} ;;
*) r=/dev/fd/${auth%,*} w=/dev/fd/${auth#*,} ;;
esac
exec 8<"$r" 9>"$w"
take() { [ -n "$(timeout "$1" dd bs=1 count=1 <&8 2>/dev/null)" ]; }
drain() { taken=0; while take 1; do taken=$((taken + 1)); done; }
give() { left=$1; while [ "$left" -gt 0 ]; do printf %s "${2:-+}" >&9; left=$((left - 1)); done; }
"#;

/// Checks all rows at the same time: their jobs mostly sleep.
pub fn at_once<T: Sync>(rows: &[T], check: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        let check = &check;
        let threads: Vec<_> = rows.iter().map(|row| scope.spawn(move || check(row))).collect();
        let failed = threads.into_iter().filter_map(|thread| thread.join().err()).count();
        assert_eq!(failed, 0, "rows that failed of {}", rows.len());
    });
}
