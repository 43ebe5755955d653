//! `jobgate run`: puts a tree's gate together, starts the command, serves it, and ends as it ended.
//!
//! Doesn't decide about tokens (policy) nor move them (proxy).

use super::Failure;
use super::args::RunArgs;
use super::settings::Wishes;
use super::style;
use crate::policy::endpoint::Style;
use crate::policy::pressure::PerResource;
use crate::policy::regulator::{Regulator, Settings};
use crate::policy::ticker::DEFAULT_HEARTBEAT;
use crate::proto::argv::{self, Stripped, Tool};
use crate::proto::makeflags::{self, Auth};
use crate::proxy::Proxy;
use crate::proxy::front::Front;
use crate::proxy::signals::SignalDesk;
use crate::sys::child::{self, CommandLine};
use crate::sys::clock::Clock;
use crate::sys::notify::Original;
use crate::sys::proc::{PressureFiles, usable_cpus};
use crate::sys::say::say;
use crate::sys::tools;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitStatus;

/// Runs it all; comes back only where nothing was started.
pub fn run(args: RunArgs, original: &Original) -> Result<Infallible, Failure> {
    let given = command_line(&args)?;
    if std::env::var_os(tools::ASKING).is_some() {
        // Another jobgate asks a make for its version, and that make is a script around us.
        fail_to_start(&given, &child::become_command(&given, original));
    }
    let mut wishes = Wishes::read(&args, |name| std::env::var_os(name))?;
    let pressure = open_pressure(&args, &mut wishes)?;
    wishes.warnings.iter().for_each(|warning| say(warning));
    match serve(&given, &wishes, pressure, original) {
        Ok(status) => child::end_as(status),
        Err(Unserved::Lost(error)) => Err(Failure(format!("the command's status is lost: {error}"))),
        Err(Unserved::NoGate(error)) => {
            // No gate to be had is no reason to fail: the command runs as it would without us.
            say(&format!("{error}; the command runs without the gate"));
            fail_to_start(&given, &child::become_command(&given, original))
        }
    }
}

/// Why there is no status.
enum Unserved {
    /// No gate could be made; nothing was started, and nothing of ours is left.
    NoGate(io::Error),
    /// The command can't be waited for.
    Lost(io::Error),
}

/// Puts the gate together, starts the command and serves it. Everything that must be dropped before we end, or become
/// the command, is in here: the witness, the endpoint.
fn serve(
    given: &CommandLine,
    wishes: &Wishes,
    pressure: Option<PressureFiles>,
    original: &Original,
) -> Result<ExitStatus, Unserved> {
    // Before signals are taken: what is asked may take its time, and a Ctrl-C ends us as it should.
    let tool = Tool::of(&given.program);
    let choice = style::choose(wishes.style, tool, &given.program);
    let desk = SignalDesk::open().map_err(Unserved::NoGate)?;
    let front = open_front(choice.style, tool).map_err(Unserved::NoGate)?;
    let Stripped { mut args, cap } = argv::strip(tool, &given.args);
    let (variables, flags_cap) = variables(&front.auth(choice.old_make));
    // As for the tool itself, its command line comes before the environment.
    let settings = settings(wishes, [wishes.cap, cap.or(flags_cap)]);
    if !choice.joins {
        args.insert(0, format!("-j{}", settings.jobs).into());
    }
    let command = CommandLine { program: given.program.clone(), args };
    log::debug!("{choice:?}, {settings:?}, {variables:?}, {command:?}");

    let clock = Clock::start();
    let regulator = Regulator::new(settings, clock.now());
    let mut proxy = Proxy::new(clock, desk, regulator, front, pressure).map_err(Unserved::NoGate)?;
    let child = match proxy.start(&command, &variables, original) {
        Ok(child) => child,
        Err(error) if child::is_shortage(&error) => return Err(Unserved::NoGate(error)),
        Err(error) => {
            drop(proxy);
            fail_to_start(&command, &error)
        }
    };
    let status = proxy.serve(&child).or_else(|error| {
        say(&format!("the gate is lost ({error}); the build goes on with the jobs it has"));
        child.wait()
    });
    proxy.close();
    status.map_err(Unserved::Lost)
}

fn command_line(args: &RunArgs) -> Result<CommandLine, Failure> {
    match args.command.split_first() {
        Some((program, rest)) if !program.is_empty() => {
            Ok(CommandLine { program: program.clone(), args: rest.to_vec() })
        }
        Some(_) | None => {
            Err(Failure("there is no command to run: give one, as in 'jobgate run -- make'".to_owned()))
        }
    }
}

/// Opens the pressure files that are watched. Where the kernel has none nothing is watched, and it is said once; a
/// folder that was named must have them.
fn open_pressure(args: &RunArgs, wishes: &mut Wishes) -> Result<Option<PressureFiles>, Failure> {
    if let Some(folder) = &args.proc {
        let all = PerResource::from_fn(|_| true);
        PressureFiles::open(folder, all)
            .map_err(|error| Failure(format!("--proc {}: {error}", folder.display())))?;
    }
    if wishes.watched() == PerResource::default() {
        return Ok(None);
    }
    match PressureFiles::open(args.proc.as_deref().unwrap_or(Path::new("/proc")), wishes.watched()) {
        Ok(files) => Ok(Some(files)),
        Err(error) => {
            wishes.warnings.push(format!("no pressure to be had ({error}); the build runs ungated"));
            wishes.thresholds = Default::default();
            Ok(None)
        }
    }
}

/// An endpoint of the chosen style; where that can't be had, the other, unless the tool wouldn't know it.
fn open_front(style: Style, tool: Tool) -> io::Result<Front> {
    let front = Front::open(style, DEFAULT_HEARTBEAT);
    match (style, tool) {
        (Style::Fifo, Tool::Make | Tool::Cargo | Tool::Other) => {
            front.or_else(|_| Front::open(Style::Pipe, DEFAULT_HEARTBEAT))
        }
        (Style::Fifo, Tool::Ninja) | (Style::Pipe, _) => front,
    }
}

/// The variables by which a tree finds its endpoint, and the `-j` that the user's MAKEFLAGS had.
fn variables(auth: &Auth) -> (Vec<(&'static str, OsString)>, Option<u32>) {
    let inherited = std::env::var_os("MAKEFLAGS");
    let flags = makeflags::compose(auth, inherited.as_deref());
    let mut cap = flags.cap;
    // cargo prefers a variable of its own to MAKEFLAGS.
    let mut variables = vec![("CARGO_MAKEFLAGS", flags.value.clone()), ("MAKEFLAGS", flags.value)];
    if let Some(value) = std::env::var_os("GNUMAKEFLAGS") {
        let flags = makeflags::strip(&value);
        cap = cap.or(flags.cap);
        variables.push(("GNUMAKEFLAGS", flags.value));
    }
    (variables, cap)
}

fn settings(wishes: &Wishes, caps: [Option<u32>; 2]) -> Settings {
    let cpus = usable_cpus();
    let jobs = caps.into_iter().flatten().fold(wishes.jobs.unwrap_or(cpus), u32::min);
    Settings {
        jobs: jobs.max(1),
        cpus,
        thresholds: wishes.thresholds,
        hold: wishes.hold,
        heartbeat: wishes.heartbeat,
    }
}

fn fail_to_start(command: &CommandLine, error: &io::Error) -> ! {
    let status = child::start_failure_status(error);
    say(&format!("can't run '{}': {error}", command.program.to_string_lossy()));
    std::process::exit(status)
}
