//! The command line: parsed first, given meaning later.
//!
//! Doesn't know how tokens move; it puts together what the user asked for and hands it to the proxy.

mod args;
mod around;
mod ask;
mod attach;
mod bitbake;
mod disks;
mod doctor;
mod env;
mod exec;
mod gate;
mod guest;
mod journals;
mod launch;
mod listed;
mod pages;
mod prose;
mod replay;
mod report;
mod run;
mod serve;
mod settings;
mod shim;
mod style;
mod summary;
mod table;
mod top;

use crate::sys::notify::Original;
use crate::sys::say::say;
use crate::sys::{shims, users};
use clap::Parser;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// jobgate's own failures: bad input, or a machine that has no descriptor left (as env(1) and nohup(1)).
const OWN_FAILURE: i32 = 125;

/// One sentence that a user can act on; nothing was started.
#[derive(Debug)]
struct Failure(String);

impl From<String> for Failure {
    fn from(sentence: String) -> Failure {
        Failure(sentence)
    }
}

/// Parses, runs, and ends the process.
pub fn main() -> ! {
    // Without its own signal mask a command can't be started as its caller meant.
    let original = Original::read().unwrap_or_else(|error| fail(&format!("no signal mask: {error}")));
    if let Some(name) = shims::called_as() {
        shim::main(&name, &original);
    }
    if users::acts_for_another() {
        fail(
            "it runs as another user than its caller (set-user-ID); jobgate trusts its environment: run it as that user",
        )
    }
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => refuse(&error),
    };
    use args::Command;
    let done = match args.command {
        Command::Run(args) => run::run(args, &original).map(|never| match never {}),
        Command::Exec(args) => exec::exec(&args, &original).map(|never| match never {}),
        Command::Env(args) => env::env(&args),
        Command::Attach(args) => attach::attach(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Status(args) => ask::status(&args),
        Command::Top(args) => top::top(&args),
        Command::Set(args) => ask::set(&args),
        Command::Report(args) => report::report(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Shims => shim::tell_folder(),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Pages(args) => pages::pages(&args),
    };
    match done {
        Ok(()) => std::process::exit(0),
        Err(Failure(sentence)) => fail(&sentence),
    }
}

/// Whether somebody sits at it: a shell without a script, at a terminal.
fn is_interactive(program: &OsStr, args: &[OsString]) -> bool {
    const SHELLS: [&str; 8] = ["sh", "bash", "dash", "zsh", "fish", "ksh", "mksh", "tcsh"];
    let name = Path::new(program).file_name().unwrap_or(program);
    let is_option = |arg: &OsString| arg.as_bytes().starts_with(b"-") && arg != "-c";
    SHELLS.iter().any(|shell| name == *shell) && args.iter().all(is_option) && std::io::stdin().is_terminal()
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
