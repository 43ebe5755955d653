//! The command line: parsed first, given meaning later.
//!
//! Doesn't know how tokens move; it puts together what the user asked for and hands it to the proxy.

mod args;
mod run;
mod settings;
mod style;

use crate::sys::notify::Original;
use crate::sys::say::say;
use clap::Parser;

/// jobgate's own failures: bad input, or a machine that has no descriptor left (as env(1) and nohup(1)).
const OWN_FAILURE: i32 = 125;

/// One sentence that a user can act on; nothing was started.
#[derive(Debug)]
struct Failure(String);

/// Parses, runs, and ends the process.
pub fn main() -> ! {
    // Without its own signal mask a command can't be started as its caller meant.
    let original = Original::read().unwrap_or_else(|error| fail(&format!("no signal mask: {error}")));
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => refuse(&error),
    };
    let args::Command::Run(run) = args.command;
    let Err(Failure(sentence)) = run::run(run, &original);
    fail(&sentence)
}

fn fail(sentence: &str) -> ! {
    say(sentence);
    std::process::exit(OWN_FAILURE)
}

/// `--help` and `--version` are clap's own; of its errors the first line is enough.
fn refuse(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        let _ = error.print();
        std::process::exit(0);
    }
    let text = error.to_string();
    // Errors about missing arguments name them on the lines below the first.
    let mut lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let first = lines.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let sentence = lines.fold(first.to_owned(), |sentence, line| sentence + " " + line);
    fail(&format!("{sentence}; see jobgate --help"))
}
