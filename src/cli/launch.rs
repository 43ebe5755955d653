//! What `run` and `exec` share: a command served by a proxy until it ends, or run as it would be without us.
//!
//! Doesn't know where the gate comes from.

use super::summary::{self, When};
use super::{Failure, around};
use crate::proto::tree::Tree;
use crate::proxy::Proxy;
use crate::proxy::front::Front;
use crate::proxy::signals::SignalDesk;
use crate::proxy::source::Source;
use crate::sys::child::{self, CommandLine};
use crate::sys::clock::Clock;
use crate::sys::notify::Original;
use crate::sys::say::say;
use crate::sys::tree_file::TreeFile;
use crate::sys::{ancestors, folder, tools};
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
            Ok(CommandLine { program: program.clone(), file: None, args: rest.to_vec() })
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

/// What is written down of the tree while it is served.
pub struct Written {
    file: TreeFile,
    tree: Tree,
}

impl Written {
    /// Writes it down; `None` where there is no place: then those below do without.
    pub fn new(mut tree: Tree) -> Option<Written> {
        tree.proxy = std::process::id() as i32;
        if tree.anchor == 0 {
            tree.anchor = tree.proxy;
        }
        tree.anchor_start = ancestors::start_of(tree.anchor)?;
        let folder = folder::own_folder().ok()?;
        // What dead ones left there, of either style: here, for each that serves a tree comes by.
        folder::clear_abandoned(&folder);
        let file = TreeFile::create(&folder, tree.anchor).ok()?;
        file.write(&tree.text()).ok()?;
        Some(Written { file, tree })
    }

    /// By which it is found.
    pub fn variable(&self) -> (&'static str, OsString) {
        (around::TREE, self.file.path().into())
    }

    fn started(&mut self, command: i32) {
        self.tree.command = command;
        if let Err(error) = self.file.write(&self.tree.text()) {
            log::warn!("{}: {error}", self.file.path().display());
        }
    }
}

/// What is noted of a tree besides.
#[derive(Default)]
pub struct Notes {
    /// For those below to find it.
    pub written: Option<Written>,
    /// For people, in the end: when, and what it is called.
    pub sums_up: Option<(When, String)>,
}

/// Starts the command, serves it until it ends, and gives its status.
#[allow(clippy::too_many_arguments, reason = "all that a command is served with")]
pub fn serve(
    clock: Clock,
    desk: SignalDesk,
    source: Source,
    front: Option<Front>,
    command: &CommandLine,
    variables: &[(&str, OsString)],
    notes: Notes,
    original: &Original,
) -> Result<ExitStatus, Unserved> {
    let mut proxy = Proxy::new(clock, desk, source, front).map_err(Unserved::NoGate)?;
    let child = match proxy.start(command, variables, original) {
        Ok(child) => child,
        Err(error) if child::is_shortage(&error) => return Err(Unserved::NoGate(error)),
        Err(error) => {
            drop((proxy, notes));
            fail_to_start(command, &error)
        }
    };
    let Notes { mut written, sums_up } = notes;
    if let Some(written) = &mut written {
        written.started(child.pid());
    }
    let status = proxy.serve(&child).or_else(|error| {
        say(&format!("the gate is lost ({error}); the build goes on with the jobs it has"));
        child.wait()
    });
    let summary = proxy.close();
    let lines =
        sums_up.zip(summary).and_then(|((when, label), summary)| summary::lines(when, &label, &summary));
    lines.iter().flatten().for_each(|line| say(line));
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

/// The same for one that stands for its command, and has nobody to give a failure to.
pub fn end_for_good(served: Result<ExitStatus, Unserved>, given: &CommandLine, original: &Original) -> ! {
    match end(served, given, original) {
        Ok(never) => match never {},
        Err(Failure(sentence)) => super::fail(&sentence),
    }
}

fn fail_to_start(command: &CommandLine, error: &io::Error) -> ! {
    let status = child::start_failure_status(error);
    say(&format!("can't run '{}': {error}", command.program.to_string_lossy()));
    std::process::exit(status)
}
