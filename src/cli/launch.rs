//! What `run` and `exec` share: a command served by a proxy until it ends, or run as it would be without us.
//!
//! Doesn't know where the gate comes from.

use super::Failure;
use crate::proxy::Proxy;
use crate::proxy::front::Front;
use crate::proxy::signals::SignalDesk;
use crate::proxy::source::Source;
use crate::sys::child::{self, CommandLine};
use crate::sys::clock::Clock;
use crate::sys::notify::Original;
use crate::sys::say::say;
use crate::sys::tools;
use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;

/// Why there is no status.
pub enum Unserved {
    /// No gate could be made; nothing was started, and nothing of ours is left.
    NoGate(io::Error),
    /// The command can't be waited for.
    Lost(io::Error),
}

/// The command line that was typed.
pub fn command_line(words: &[OsString], example: &str) -> Result<CommandLine, Failure> {
    match words.split_first() {
        Some((program, rest)) if !program.is_empty() => {
            Ok(CommandLine { program: program.clone(), args: rest.to_vec() })
        }
        Some(_) | None => Err(Failure(format!("there is no command to run: give one, as in '{example}'"))),
    }
}

/// Another jobgate asks a make for its version, and that make is a script around us: we become what it runs.
pub fn answer_if_asked(given: &CommandLine, original: &Original) {
    if std::env::var_os(tools::ASKING).is_some() {
        become_command(given, &[], original);
    }
}

/// The command, with nothing of ours around it.
pub fn become_command(command: &CommandLine, variables: &[(&str, OsString)], original: &Original) -> ! {
    fail_to_start(command, &child::become_command(command, variables, original))
}

/// Starts the command, serves it until it ends, and gives its status.
pub fn serve(
    clock: Clock,
    desk: SignalDesk,
    source: Source,
    front: Option<Front>,
    command: &CommandLine,
    variables: &[(&str, OsString)],
    original: &Original,
) -> Result<ExitStatus, Unserved> {
    let mut proxy = Proxy::new(clock, desk, source, front).map_err(Unserved::NoGate)?;
    let child = match proxy.start(command, variables, original) {
        Ok(child) => child,
        Err(error) if child::is_shortage(&error) => return Err(Unserved::NoGate(error)),
        Err(error) => {
            drop(proxy);
            fail_to_start(command, &error)
        }
    };
    let status = proxy.serve(&child).or_else(|error| {
        say(&format!("the gate is lost ({error}); the build goes on with the jobs it has"));
        child.wait()
    });
    proxy.close();
    status.map_err(Unserved::Lost)
}

/// Ends as the command ended; where no gate was to be had, as it will.
pub fn end(
    served: Result<ExitStatus, Unserved>,
    given: &CommandLine,
    original: &Original,
) -> Result<std::convert::Infallible, Failure> {
    match served {
        Ok(status) => child::end_as(status),
        Err(Unserved::Lost(error)) => Err(Failure(format!("the command's status is lost: {error}"))),
        Err(Unserved::NoGate(error)) => {
            // No gate to be had is no reason to fail: the command runs as it would without us.
            say(&format!("{error}; the command runs without the gate"));
            become_command(given, &[], original)
        }
    }
}

fn fail_to_start(command: &CommandLine, error: &io::Error) -> ! {
    let status = child::start_failure_status(error);
    say(&format!("can't run '{}': {error}", command.program.to_string_lossy()));
    std::process::exit(status)
}
