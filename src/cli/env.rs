//! `jobgate env`: exports for a shell or CI script, and behind them a proxy in the background that serves its tree.
//!
//! Doesn't know how it is served.

use super::args::{EnvArgs, GateArgs};
use super::attach::{self, Served, Wanted};
use super::settings::{GateWishes, LAW};
use super::{Failure, around, gate, style};
use crate::proto::export::{self, Shell};
use crate::proto::makeflags;
use crate::proto::values;
use crate::proto::wire::{Hello, LeaseAsked};
use crate::proxy::attached;
use crate::sys::background::{self, Bound};
use crate::sys::say::say;
use crate::sys::shims;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// The process in the background that an earlier `env` has started.
const ATTACHED: &str = "JOBGATE_ATTACHED";

/// What the user had in MAKEFLAGS before.
const BEFORE: &str = "JOBGATE_MAKEFLAGS_BEFORE";

/// All that is exported, and taken away again.
const EXPORTED: [&str; 8] = [
    "MAKEFLAGS",
    "CARGO_MAKEFLAGS",
    around::AUTH,
    around::TREE,
    gate::INSIDE,
    around::PRIVATE,
    ATTACHED,
    BEFORE,
];

/// Prints the exports.
pub fn env(args: &EnvArgs) -> Result<(), Failure> {
    let shell = shell(args)?;
    if args.stop {
        return stop(shell);
    }
    let cap = args.cap.as_deref().map(|cap| values::count("--cap", cap)).transpose()?;
    let gate = GateArgs { jobs: args.jobs.clone(), ..GateArgs::default() };
    let wishes = GateWishes::read(&gate, |name| std::env::var_os(name).filter(|_| name == LAW))?;
    let shims = super::shim::folder();
    // A shim gives it a pipe pair of its own.
    if shims.is_err()
        && let Some(make) = style::make_that_dies_of_a_fifo()
    {
        return Err(Failure(format!(
            "{} is older than GNU make 4.4 and can't join from a shell: use 'jobgate run -- make', or put a newer make first on PATH",
            make.display()
        )));
    }
    let shims = shims.inspect_err(|why| why.iter().for_each(|why| say(why))).ok();
    let bound = match args.pid {
        _ if args.until_stopped => None,
        Some(pid) => Some(pid),
        None => Some(background::caller()),
    };
    let bound = bound
        .map(Bound::to)
        .transpose()
        .map_err(|(pid, error)| Failure(format!("process {pid}: {error}")))?;
    let pid = bound.as_ref().map(Bound::pid);
    let label = args.label.clone().or_else(|| pid.and_then(background::name_of));
    let hello = Hello {
        label: label.unwrap_or_else(|| "env".to_owned()),
        style: "fifo".to_owned(),
        lease: LeaseAsked::Nothing,
        cap,
        wishes: wishes.said(),
        bound_to: pid,
        idle: true,
        ..Hello::default()
    };
    let wanted = Wanted {
        hello,
        bound,
        socket: args.socket.clone(),
        is_paid: false,
        may_be_alone: true,
        has_front: true,
    };
    print(shell, attach::start(wanted)?, shims)
}

fn print(shell: Shell, served: Served, shims: Option<PathBuf>) -> Result<(), Failure> {
    let auth = makeflags::Auth::Fifo { path: served.path, old_make: style::some_make_is_old() };
    let mut variables: Vec<(&str, Option<OsString>)> =
        around::variables(&auth, false).into_iter().map(|(name, value)| (name, Some(value))).collect();
    // A shell's tools aren't inside a job that is paid for.
    variables.retain(|(name, _)| *name != gate::INSIDE);
    variables.push((ATTACHED, Some(served.pid.into())));
    variables.push((around::TREE, Some(served.tree.into())));
    if let Some(path) = shims.as_deref().and_then(shims::path_with) {
        variables.push(("PATH", Some(path)));
    }
    let before = std::env::var_os(BEFORE).or_else(|| std::env::var_os("MAKEFLAGS")).unwrap_or_default();
    variables.push((BEFORE, Some(before)));
    say_to_shell(&export::text(shell, &variables)?)?;
    served.leave.give()
}

fn stop(shell: Shell) -> Result<(), Failure> {
    let Some(pid) = std::env::var(ATTACHED).ok().and_then(|pid| pid.parse().ok()) else {
        return Err(Failure(format!(
            "nothing to stop: {ATTACHED} isn't set, so no 'jobgate env' was evaluated here"
        )));
    };
    if !attached::end(pid) {
        say(&format!("process {pid} is gone already"));
    }
    let before = std::env::var_os(BEFORE).filter(|flags| !flags.is_empty());
    let value = |name: &str| if name == "MAKEFLAGS" { before.clone() } else { None };
    let mut variables: Vec<(&str, Option<OsString>)> =
        EXPORTED.iter().map(|name| (*name, value(name))).collect();
    if let Some(path) = shims::path_without() {
        variables.push(("PATH", Some(path)));
    }
    say_to_shell(&export::text(shell, &variables)?)
}

pub fn say_to_shell(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure(format!("nobody reads the exports: {error}")))
}

fn shell(args: &EnvArgs) -> Result<Shell, Failure> {
    match args.shell.as_deref() {
        Some("sh") => Ok(Shell::Sh),
        Some("fish") => Ok(Shell::Fish),
        Some("json") => Ok(Shell::Json),
        Some(other) => Err(Failure(format!("--shell '{other}': give 'sh', 'fish' or 'json'"))),
        None => {
            let login = std::env::var("SHELL").unwrap_or_default();
            Ok(if login.ends_with("/fish") { Shell::Fish } else { Shell::Sh })
        }
    }
}
