//! `jobgate env`: exports for a shell or CI script, and behind them a proxy in the background that serves its tree.
//!
//! Doesn't know how it is served.

use super::args::EnvArgs;
use super::{Failure, around, gate, run, style};
use crate::policy::endpoint::Style;
use crate::policy::gate::Hold;
use crate::policy::regulator::Settings;
use crate::policy::ticker::DEFAULT_HEARTBEAT;
use crate::proto::export::{self, Shell};
use crate::proto::values;
use crate::proto::wire::{Hello, LeaseAsked, WishesSaid};
use crate::proxy::attached::{self, Attached};
use crate::proxy::front::Front;
use crate::proxy::source::{OwnGate, Source};
use crate::sys::background::{self, Bound, Side};
use crate::sys::clock::Clock;
use crate::sys::proc::usable_cpus;
use crate::sys::say::say;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// The process in the background that an earlier `env` has started.
const ATTACHED: &str = "JOBGATE_ATTACHED";

/// What the user had in MAKEFLAGS before.
const BEFORE: &str = "JOBGATE_MAKEFLAGS_BEFORE";

/// All that is exported, and taken away again.
const EXPORTED: [&str; 7] =
    ["MAKEFLAGS", "CARGO_MAKEFLAGS", around::AUTH, gate::INSIDE, around::PRIVATE, ATTACHED, BEFORE];

/// Prints the exports.
pub fn env(args: &EnvArgs) -> Result<(), Failure> {
    let shell = shell(args)?;
    if args.stop {
        return stop(shell);
    }
    let cap = args.cap.as_deref().map(|cap| values::count("--cap", cap)).transpose()?;
    let jobs = args.jobs.as_deref().map_or(Ok(None), |jobs| values::jobs("-j", jobs))?;
    if let Some(make) = style::make_that_dies_of_a_fifo() {
        return Err(Failure(format!(
            "{} is older than GNU make 4.4 and can't join from a shell: use 'jobgate run -- make', or put a newer make first on PATH",
            make.display()
        )));
    }
    let bound = match args.pid {
        _ if args.until_stopped => None,
        Some(pid) => Some(pid),
        None => Some(background::caller()),
    };
    let bound = bound
        .map(Bound::to)
        .transpose()
        .map_err(|(pid, error)| Failure(format!("process {pid}: {error}")))?;
    match background::split().map_err(|error| Failure(format!("can't start a process: {error}")))? {
        Side::Front(line) => {
            let answer = line.read().map_err(|error| Failure(format!("the proxy can't start: {error}")))?;
            match answer.split_once(' ') {
                Some(("ready", rest)) => {
                    let (pid, path) = rest.split_once(' ').unwrap_or((rest, ""));
                    print(shell, pid, PathBuf::from(path))
                }
                _ => Err(Failure(answer.strip_prefix("failed ").unwrap_or(&answer).to_owned())),
            }
        }
        Side::Back(line) => {
            let served = attach(args, cap, jobs, bound, &line);
            if let Err(Failure(why)) = served {
                line.write(&format!("failed {why}"));
            }
            std::process::exit(0)
        }
    }
}

/// The whole life of the process in the background.
fn attach(
    args: &EnvArgs,
    cap: Option<u32>,
    jobs: Option<u32>,
    bound: Option<Bound>,
    line: &background::Line,
) -> Result<(), Failure> {
    let pid = bound.as_ref().map(Bound::pid);
    let label = args.label.clone().or_else(|| pid.and_then(background::name_of));
    let hello = Hello {
        label: label.unwrap_or_else(|| "env".to_owned()),
        style: "fifo".to_owned(),
        lease: LeaseAsked::Nothing,
        cap,
        wishes: WishesSaid { jobs, ..WishesSaid::default() },
        bound_to: pid,
        idle: true,
        ..Hello::default()
    };
    let cpus = usable_cpus();
    let settings = Settings {
        jobs: jobs.unwrap_or(cpus).min(cap.unwrap_or(u32::MAX)),
        cpus,
        thresholds: Default::default(),
        hold: Hold::All,
        heartbeat: DEFAULT_HEARTBEAT,
    };
    let spare = OwnGate { settings, proc_root: PathBuf::from("/proc"), pays_nothing: true };
    let clock = Clock::start();
    let named = gate::named(args.socket.as_deref());
    let source = match gate::connect(named.as_deref(), hello, gate::LONG_PATIENCE) {
        Ok(link) => Source::shared(link, spare),
        Err(gate::NoGate::Failure(failure)) => return Err(failure),
        Err(gate::NoGate::Absent(_)) => Source::own(spare, clock.now()),
    };
    let failed = |error: std::io::Error| Failure(error.to_string());
    let front = Front::open(Style::Fifo, DEFAULT_HEARTBEAT).map_err(failed)?;
    let path = front.path().map(|path| path.display().to_string()).unwrap_or_default();
    let mut attached = Attached::new(clock, source, front, bound).map_err(failed)?;
    line.write(&format!("ready {} {path}", std::process::id()));
    attached.serve().map_err(failed)
}

fn print(shell: Shell, pid: &str, path: PathBuf) -> Result<(), Failure> {
    let auth = crate::proto::makeflags::Auth::Fifo { path, old_make: style::some_make_is_old() };
    let mut variables: Vec<(&str, Option<OsString>)> =
        run::variables(&auth, false).into_iter().map(|(name, value)| (name, Some(value))).collect();
    // A shell's tools aren't inside a job that is paid for.
    variables.retain(|(name, _)| *name != gate::INSIDE);
    variables.push((ATTACHED, Some(pid.into())));
    let before = std::env::var_os(BEFORE).or_else(|| std::env::var_os("MAKEFLAGS")).unwrap_or_default();
    variables.push((BEFORE, Some(before)));
    say_to_shell(&export::text(shell, &variables)?)
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
    let variables: Vec<(&str, Option<OsString>)> = EXPORTED.iter().map(|name| (*name, value(name))).collect();
    say_to_shell(&export::text(shell, &variables)?)
}

fn say_to_shell(text: &str) -> Result<(), Failure> {
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
