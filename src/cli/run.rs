//! `jobgate run`: puts a tree's gate together, starts the command, serves it, and ends as it ended.
//!
//! Doesn't decide about tokens (policy) nor move them (proxy).

use super::args::{GateArgs, RunArgs};
use super::gate::{self, NoGate};
use super::launch::{self, Unserved};
use super::settings::{GateWishes, Wishes};
use super::style::{self, Choice};
use super::{Failure, around};
use crate::policy::endpoint::Style;
use crate::policy::gate::Hold;
use crate::policy::pressure::PerResource;
use crate::policy::regulator::Settings;
use crate::policy::ticker::DEFAULT_HEARTBEAT;
use crate::proto::argv::{self, Stripped, Tool};
use crate::proto::makeflags::{self, Auth};
use crate::proto::values::MOST_JOBS;
use crate::proto::wire::{Hello, LeaseAsked};
use crate::proxy::front::Front;
use crate::proxy::signals::SignalDesk;
use crate::proxy::source::{OwnGate, Source};
use crate::proxy::upstream::Upstream;
use crate::sys::child::CommandLine;
use crate::sys::clock::Clock;
use crate::sys::notify::Original;
use crate::sys::proc::{PressureFiles, usable_cpus};
use crate::sys::say::say;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Runs it all; comes back only where nothing was started.
pub fn run(args: RunArgs, original: &Original) -> Result<Infallible, Failure> {
    let given = launch::command_line(&args.command, "jobgate run -- make")?;
    launch::answer_if_asked(&given, original);
    let mut wishes = Wishes::read(&args, |name| std::env::var_os(name))?;
    check_pressure(&args.gate, &mut wishes.gate)?;
    wishes.gate.warnings.iter().for_each(|warning| say(warning));
    let plan = Plan::new(&args, &given, wishes);
    if plan.joins_what_is_around {
        // The endpoint that we were started below is the tool's, too: nobody need stand between.
        launch::become_command(&plan.command(&[], None), &[], original);
    }
    let source = plan.source(&args)?;
    let served = plan.serve(source, original);
    launch::end(served, &given, original)
}

/// What is to be run, and how.
struct Plan {
    wishes: Wishes,
    tool: Tool,
    program: OsString,
    /// The tool's arguments, without those that leave the pool.
    args: Vec<OsString>,
    /// The most jobs that this run may have, as its command and its variables say.
    cap: Option<u32>,
    choice: Choice,
    /// Somebody sits at a shell: it waits for no job, its tools do.
    is_interactive: bool,
    proc_root: PathBuf,
    /// The gate that was named.
    socket: Option<PathBuf>,
    around: around::Around,
    joins_what_is_around: bool,
}

impl Plan {
    fn new(args: &RunArgs, given: &CommandLine, wishes: Wishes) -> Plan {
        let tool = Tool::of(&given.program);
        let Stripped { args: left, cap } = argv::strip(tool, &given.args);
        let flags_cap = ["GNUMAKEFLAGS", "MAKEFLAGS"]
            .iter()
            .filter_map(|name| makeflags::strip(&std::env::var_os(name)?).cap)
            .next_back();
        let around = around::Around::look();
        // A pool that we are in has said in MAKEFLAGS how large it is: that is nobody's wish.
        let flags_cap = if around.is_any() { None } else { flags_cap };
        // As for the tool itself, its command line comes before the environment.
        let cap = [wishes.cap, cap.or(flags_cap)].into_iter().flatten().min();
        let choice = style::choose(wishes.style, tool, &given.program);
        let joins_what_is_around =
            says_nothing(args) && cap.is_none() && around.suits(tool, choice, wishes.style);
        Plan {
            tool,
            program: given.program.clone(),
            args: left,
            cap,
            choice,
            is_interactive: super::is_interactive(&given.program, &given.args),
            proc_root: args.gate.proc.clone().unwrap_or_else(|| PathBuf::from("/proc")),
            socket: args.socket.clone(),
            around,
            joins_what_is_around,
            wishes,
        }
    }

    fn command(&self, first: &[OsString], last: Option<OsString>) -> CommandLine {
        let args = first.iter().cloned().chain(self.args.iter().cloned()).chain(last);
        CommandLine { program: self.program.clone(), args: args.collect() }
    }

    /// Where tokens come from: the shared gate, or one of our own.
    fn source(&self, args: &RunArgs) -> Result<Option<Source>, Failure> {
        let is_private = args.private || args.gate.proc.is_some() || self.around.is_private();
        if is_private {
            return Ok(None);
        }
        let named = gate::named(args.socket.as_deref());
        match gate::connect(named.as_deref(), self.hello(args), self.patience()) {
            Ok(mut link) => {
                link.notices().iter().for_each(|notice| say(notice));
                if let LeaseAsked::Wait { .. } = self.lease() {
                    link = gate::await_lease(link)?;
                } else if let Err(error) = link.await_allotment() {
                    log::info!("the gate is gone: {error}");
                }
                Ok(Some(Source::shared(link, self.own_gate())))
            }
            Err(NoGate::Failure(failure)) => Err(failure),
            Err(NoGate::Absent(why)) => {
                say(&format!("no shared gate to be had ({why}); this run has its own"));
                Ok(None)
            }
        }
    }

    fn lease(&self) -> LeaseAsked {
        if self.is_interactive {
            LeaseAsked::Nothing
        } else if self.around.is_foreign() {
            // The slot that we were started with is paid for there.
            LeaseAsked::Counted
        } else {
            LeaseAsked::Wait { min: 1, max: 1 }
        }
    }

    fn hello(&self, args: &RunArgs) -> Hello {
        Hello {
            label: gate::label(args.label.as_deref(), &self.program, &self.args),
            style: match self.choice.style {
                Style::Pipe => "pipe".to_owned(),
                Style::Fifo => "fifo".to_owned(),
            },
            lease: self.lease(),
            cap: self.cap,
            weight: self.wishes.weight,
            max_wait_s: self.wishes.gate.max_wait.map(|wait| wait.as_secs_f64()),
            wishes: self.wishes.gate.said(),
            idle: self.is_interactive,
            ..Hello::default()
        }
    }

    /// ninja up to 1.13.2 looks for tokens only when a job of its own ends; anybody may start one.
    fn patience(&self) -> Duration {
        match (self.tool, self.choice.style) {
            (Tool::Make | Tool::Cargo, _) | (Tool::Other, Style::Pipe) => gate::PATIENCE,
            (Tool::Ninja, _) | (Tool::Other, Style::Fifo) => gate::LONG_PATIENCE,
        }
    }

    fn own_gate(&self) -> OwnGate {
        OwnGate {
            settings: self.own_settings(),
            proc_root: self.proc_root.clone(),
            pays_nothing: self.is_interactive,
        }
    }

    fn own_settings(&self) -> Settings {
        let wishes = &self.wishes.gate;
        let cpus = usable_cpus();
        // Where the endpoint around us bounds the jobs, nothing else need.
        let is_bounded = self.around.is_private() && self.choice.joins;
        let jobs = wishes.jobs.unwrap_or(if is_bounded { MOST_JOBS } else { cpus });
        Settings {
            jobs: self.cap.map_or(jobs, |cap| cap.min(jobs)).max(1),
            cpus,
            thresholds: wishes.thresholds,
            hold: wishes.hold.unwrap_or(Hold::All),
            heartbeat: wishes.heartbeat.unwrap_or(DEFAULT_HEARTBEAT),
        }
    }

    /// Puts the endpoint together, starts the command and serves it. Everything that must be dropped before we end, or
    /// become the command, is in here: the witness, the endpoint.
    fn serve(&self, source: Option<Source>, original: &Original) -> Result<ExitStatus, Unserved> {
        let clock = Clock::start();
        // What the jobserver above has to be asked for can't be had from the shared gate alone.
        let is_private = source.is_none() || self.around.is_foreign();
        let mut source = source.unwrap_or_else(|| Source::own(self.own_gate(), clock.now()));
        if let Some(foreign) = self.around.open_foreign() {
            source.go_through(Upstream::new(foreign, self.patience()));
        }
        let desk = SignalDesk::open().map_err(Unserved::NoGate)?;
        let front = open_front(self.choice.style, self.tool).map_err(Unserved::NoGate)?;
        let auth = front.auth(self.choice.old_make);
        let mut variables = variables(&auth, is_private);
        // What is named here is the gate of all that runs below.
        variables.extend(self.socket.clone().map(|socket| (gate::SOCKET, socket.into())));
        let own_number =
            (!self.choice.joins).then(|| OsString::from(format!("-j{}", self.own_settings().jobs)));
        let command = self.command(own_number.as_slice(), None);
        log::debug!("{:?}, {variables:?}, {command:?}", self.choice);
        launch::serve(clock, desk, source, Some(front), &command, &variables, original)
    }
}

/// Nothing was asked for but the command.
fn says_nothing(args: &RunArgs) -> bool {
    let GateArgs { jobs, max_cpu, max_io, max_memory, hold, heartbeat, law, max_wait, proc } = &args.gate;
    let texts = [jobs, max_cpu, max_io, max_memory, hold, heartbeat, law, max_wait];
    let own = [&args.style, &args.cap, &args.weight, &args.label];
    let none = texts.iter().chain(&own).all(|text| text.is_none());
    none && proc.is_none() && !args.private && args.socket.is_none()
}

/// The variables by which a tree finds its endpoint, and by which a jobgate below knows where it is.
pub fn variables(auth: &Auth, is_private: bool) -> Vec<(&'static str, OsString)> {
    let flags = makeflags::compose(auth, std::env::var_os("MAKEFLAGS").as_deref()).value;
    // cargo prefers a variable of its own to MAKEFLAGS.
    let mut variables = vec![
        ("CARGO_MAKEFLAGS", flags.clone()),
        ("MAKEFLAGS", flags),
        (around::AUTH, around::name(auth)),
        (gate::INSIDE, "1".into()),
    ];
    if is_private || std::env::var_os(around::PRIVATE).is_some() {
        variables.push((around::PRIVATE, if is_private { "1" } else { "" }.into()));
    }
    if let Some(value) = std::env::var_os("GNUMAKEFLAGS") {
        variables.push(("GNUMAKEFLAGS", makeflags::strip(&value).value));
    }
    variables
}

/// Sees that the pressure that is watched can be read. Where the kernel has none nothing is watched, and it is said once; a
/// folder that was named must have them.
fn check_pressure(args: &GateArgs, wishes: &mut GateWishes) -> Result<(), Failure> {
    if let Some(folder) = &args.proc {
        let all = PerResource::from_fn(|_| true);
        PressureFiles::open(folder, all)
            .map_err(|error| Failure(format!("--proc {}: {error}", folder.display())))?;
    }
    if wishes.watched() != PerResource::default() {
        let root = args.proc.as_deref().unwrap_or(Path::new("/proc"));
        if let Err(error) = PressureFiles::open(root, wishes.watched()) {
            wishes.warnings.push(format!("no pressure to be had ({error}); the build runs ungated"));
            wishes.thresholds = Default::default();
        }
    }
    Ok(())
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
