//! `jobgate run`: puts a tree's gate together, starts the command, serves it, and ends as it ended.
//!
//! Doesn't decide about tokens (policy) nor move them (proxy).

mod notes;

use super::args::{GateArgs, RunArgs};
use super::gate::{self, NoGate};
use super::guest::{self, Guest};
use super::launch::{self, Notes, Unserved, Written};
use super::settings::{GateWishes, Wishes, typed};
use super::style::{self, Choice};
use super::summary::When;
use super::{Failure, around, listed};
use crate::policy::endpoint::Style;
use crate::policy::gate::Hold;
use crate::policy::law;
use crate::policy::pressure::PerResource;
use crate::policy::regulator::{Settings, Wants};
use crate::policy::ticker::DEFAULT_HEARTBEAT;
use crate::policy::time::Moment;
use crate::proto::argv::{self, NumberOption, Stripped, Tool};
use crate::proto::makeflags;
use crate::proto::tree::Tree;
use crate::proto::values::{MOST_JOBS, Scope};
use crate::proto::wire::{HELD, Hello, LeaseAsked};
use crate::proxy::disks::Disks;
use crate::proxy::front::Front;
use crate::proxy::own::OwnGate;
use crate::proxy::signals::SignalDesk;
use crate::proxy::source::Source;
use crate::proxy::upstream::Upstream;
use crate::server::settings::Layer;
use crate::sys::child::CommandLine;
use crate::sys::clock::Clock;
use crate::sys::machine::Machine;
use crate::sys::notify::Original;
use crate::sys::proc::usable_cpus;
use crate::sys::say::say;
use crate::sys::scribe::Scribe;
use crate::sys::stats_folder::StatsFolder;
use crate::sys::{shims, tools};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
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
    let journal = args.journal.as_deref().map(Scribe::into_file).transpose();
    let journal = journal.map_err(|why| Failure(format!("--journal {why}")))?;
    let mut plan = Plan::new(&args, &given, wishes);
    plan.journal = journal;
    plan.stats = plan.stats_folder(&args)?;
    if plan.joins_what_is_around {
        for place in args.journal.iter().chain(&args.buildstats) {
            let place = place.display();
            say(&format!("{place} stays empty: the command joins the jobserver around it"));
        }
        // The endpoint that we were started below is the tool's, too: nobody need stand between.
        if plan.shape.tool == Tool::Other {
            launch::become_command(&given, &[], original);
        }
        let given = CommandLine { file: plan.command.file.clone(), ..given };
        let most = [plan.shape.cap, plan.wishes.gate.jobs].into_iter().flatten().min();
        guest::join(Guest::new(given, plan.shape.tool, None, most), plan.around, original);
    }
    let source = match plan.find_gate(&args)? {
        Found::Shared(source) => Some(*source),
        Found::None(why) => {
            why.inspect(|why| say(&format!("no shared gate to be had ({why}); this run has its own")));
            None
        }
    };
    launch::end(plan.start(&args, source, original), &given, original)
}

/// A tool outside of every tree: a run of its own where a gate runs, and else what it would be without us.
pub fn stand_for(guest: Guest, around: around::Around, original: &Original) -> ! {
    if around::is_held_alone() {
        guest::join_alone(&guest, original);
    }
    let (command, cap) = guest.stripped();
    let args = RunArgs::default();
    let mut plan = Plan {
        journal: None,
        stats: None,
        said: Layer::new(),
        sums_up: None,
        waited: Duration::ZERO,
        shape: Shape { tool: guest.tool, choice: guest.choice(), cap, number: guest.number() },
        command,
        wishes: Wishes::default(),
        is_interactive: false,
        proc_root: PathBuf::from("/proc"),
        socket: None,
        around,
        joins_what_is_around: false,
        may_start: false,
        // It may have been called by a path that a build tree has stored: what it starts finds tools by PATH.
        shims: shims::install(&listed::names()).ok(),
    };
    match plan.find_gate(&args) {
        Ok(Found::Shared(source)) => {
            launch::end_for_good(plan.start(&args, Some(*source), original), &guest.given, original)
        }
        // What it is inside of holds a token for it, and nobody could give it another.
        Ok(Found::None(_)) | Err(_) if around::is_held() => guest::join_alone(&guest, original),
        Ok(Found::None(_)) | Err(_) => launch::become_command(&guest.given, &[], original),
    }
}

/// What the gate has to know of a tool to serve it.
pub struct Shape {
    pub tool: Tool,
    pub choice: Choice,
    /// The most jobs that it may have, as its command and its variables say.
    pub cap: Option<u32>,
    /// How it is told its number of jobs, where it knows no jobserver.
    pub number: NumberOption,
}

impl Shape {
    /// ninja up to 1.13.2 looks for tokens only when a job of its own ends; anybody may start one.
    pub fn patience(&self) -> Duration {
        match (self.tool, self.choice.style) {
            (Tool::Make | Tool::Cargo, _) | (Tool::Other, Style::Pipe) => gate::PATIENCE,
            (Tool::Ninja, _) | (Tool::Other, Style::Fifo) => gate::LONG_PATIENCE,
        }
    }
}

enum Found {
    Shared(Box<Source>),
    /// Why, where one was looked for.
    None(Option<String>),
}

/// What is to be run, and how.
struct Plan {
    wishes: Wishes,
    /// What is written of it, and into which file.
    journal: Option<Scribe>,
    stats: Option<StatsFolder>,
    /// What was typed.
    said: Layer,
    /// When a summary is given, if one is made, and how long the first token was waited for.
    sums_up: Option<When>,
    waited: Duration,
    shape: Shape,
    /// Without the arguments that leave the pool.
    command: CommandLine,
    /// Somebody sits at a shell, or it is bitbake: it waits for no job, its tools do, and its tasks.
    is_interactive: bool,
    proc_root: PathBuf,
    /// The gate that was named.
    socket: Option<PathBuf>,
    around: around::Around,
    joins_what_is_around: bool,
    /// A gate is started where there is none.
    may_start: bool,
    /// What is to be first on PATH.
    shims: Option<PathBuf>,
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
        let knows_tool = tool != Tool::Other;
        // Who asks for nothing but a number of jobs has that from the endpoint around it; so has what knows no jobserver.
        let is_guest = around.is_ours()
            && says_nothing(args)
            && (knows_tool || (cap.is_none() && wishes.gate.jobs.is_none()));
        let joins_what_is_around = is_guest || (around.is_any() && !choice.joins);
        let shims = if args.no_shims { Err(None) } else { super::shim::folder() };
        let shims = shims.inspect_err(|why| why.iter().for_each(|why| say(why))).ok();
        Plan {
            sums_up: Some(wishes.summary),
            waited: Duration::ZERO,
            journal: None,
            stats: None,
            said: typed(&args.gate, &wishes.gate),
            shape: Shape { tool, choice, cap, number: NumberOption::dash_j() },
            command: CommandLine { args: left, file: real_file(tool, &given.program), ..given.clone() },
            may_start: true,
            shims,
            is_interactive: super::is_interactive(&given.program, &given.args)
                || super::bitbake::is_bitbake(&given.program),
            proc_root: args.gate.proc.clone().unwrap_or_else(|| PathBuf::from("/proc")),
            socket: args.socket.clone(),
            around,
            joins_what_is_around,
            wishes,
        }
    }

    /// Where tokens come from: the shared gate, or one of our own.
    fn find_gate(&mut self, args: &RunArgs) -> Result<Found, Failure> {
        let is_private = args.private || args.gate.proc.is_some() || self.around.is_private();
        if is_private {
            return Ok(Found::None(None));
        }
        let named = gate::named(args.socket.as_deref());
        let hello = self.hello(args);
        let found = gate::connect(named.as_deref(), self.may_start, hello, self.shape.patience());
        let ready = found.and_then(|mut link| {
            link.notices().iter().for_each(|notice| say(notice));
            self.ask_journal(&mut link);
            if let LeaseAsked::Wait { .. } = self.lease() {
                let clock = Clock::start();
                let link = gate::await_lease(link, || false);
                self.waited = clock.now().since(Moment::default());
                return link;
            }
            if let Err(error) = link.await_allotment() {
                log::info!("the gate is gone: {error}");
            }
            Ok(link)
        });
        match ready {
            Ok(link) => Ok(Found::Shared(Box::new(Source::shared(link, self.own_gate())))),
            Err(NoGate::Failure(failure)) => Err(failure),
            Err(NoGate::Absent(why)) => Ok(Found::None(Some(why))),
        }
    }

    fn lease(&self) -> LeaseAsked {
        if self.is_interactive {
            LeaseAsked::Nothing
        } else if self.around.is_foreign() {
            // The slot that we were started with is paid for there.
            LeaseAsked::Counted
        } else if self.shape.choice.joins {
            LeaseAsked::Wait { min: 1, max: 1 }
        } else {
            LeaseAsked::Wait { min: 1, max: self.own_settings().jobs }
        }
    }

    fn hello(&self, args: &RunArgs) -> Hello {
        Hello {
            label: gate::label(args.label.as_deref(), &self.command.program, &self.command.args),
            style: match self.shape.choice.style {
                _ if !self.shape.choice.joins => HELD.to_owned(),
                Style::Pipe => "pipe".to_owned(),
                Style::Fifo => "fifo".to_owned(),
            },
            lease: self.lease(),
            cap: self.shape.cap,
            weight: self.wishes.weight,
            max_wait_s: self.wishes.gate.max_wait.map(|wait| wait.as_secs_f64()),
            wishes: self.wishes.gate.said(),
            idle: self.is_interactive,
            ..Hello::default()
        }
    }

    fn own_gate(&self) -> OwnGate {
        OwnGate {
            settings: self.own_settings(),
            scope: self.wishes.gate.scope.clone().unwrap_or_default(),
            proc_root: self.proc_root.clone(),
            pays_nothing: self.is_interactive,
        }
    }

    fn own_settings(&self) -> Settings {
        let wishes = &self.wishes.gate;
        let cpus = usable_cpus();
        // Where the endpoint around us bounds the jobs, nothing else need.
        let is_bounded = self.around.is_private() && self.shape.choice.joins;
        let law = law::Terms {
            kind: wishes.law.unwrap_or(law::USUAL),
            reserve: wishes.min_available,
            freezes: wishes.freeze_on_thrash,
        };
        let usual = law.kind.usual_ceiling(cpus).min(MOST_JOBS);
        let jobs = wishes.jobs.unwrap_or(if is_bounded { MOST_JOBS } else { usual });
        let jobs = self.shape.cap.map_or(jobs, |cap| cap.min(jobs)).max(1);
        Settings {
            thresholds: wishes.thresholds,
            hold: wishes.hold.unwrap_or(Hold::All),
            heartbeat: wishes.heartbeat.unwrap_or(DEFAULT_HEARTBEAT),
            law,
            max_load: wishes.max_load,
            ..Settings::new(jobs, cpus)
        }
    }

    fn watch_disks(&self, source: &mut Source, now: Moment) {
        if let Some(monitor) = &self.wishes.diskmon {
            source.watch(Disks::new(monitor, self.own_settings().heartbeat, now));
        }
    }

    /// As the tool can be served.
    fn start(
        &mut self,
        args: &RunArgs,
        source: Option<Source>,
        original: &Original,
    ) -> Result<ExitStatus, Unserved> {
        if self.shape.choice.joins {
            self.serve(args, source, original)
        } else {
            self.hold(args, source, original)
        }
    }

    /// What is named here is the gate of all that runs below; and their shims come first.
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let socket = self.socket.clone().map(|socket| (gate::SOCKET, socket.into()));
        let path = self.shims.as_deref().and_then(shims::path_with).map(|path| ("PATH", path));
        socket.into_iter().chain(path).collect()
    }

    /// Puts the endpoint together, starts the command and serves it.
    fn serve(
        &mut self,
        args: &RunArgs,
        source: Option<Source>,
        original: &Original,
    ) -> Result<ExitStatus, Unserved> {
        let clock = Clock::start();
        // What the jobserver above has to be asked for can't be had from the shared gate alone.
        let is_private = source.is_none() || self.around.is_foreign();
        let mut source = source.unwrap_or_else(|| Source::own(self.own_gate(), clock.now()));
        if let Some(foreign) = self.around.open_foreign().map_err(Unserved::NoGate)? {
            source.go_through(Upstream::new(foreign, self.shape.patience()));
        }
        self.watch_disks(&mut source, clock.now());
        self.keep_journal(args, &mut source, clock.now());
        self.keep_stats(args, &mut source, clock.now());
        let jobs =
            self.own_settings().jobs.max(source.jobs_of_others()).min(self.shape.cap.unwrap_or(MOST_JOBS));
        let tree = Tree {
            jobs,
            is_private,
            is_paid: !self.is_interactive,
            lends: self.shape.tool == Tool::Other,
            socket: self.socket.clone(),
            ..Tree::default()
        };
        let sums_up = self.sum_up(args, &mut source, clock.now());
        serve_tree(clock, source, &self.shape, &self.command, tree, self.variables(), sums_up, original)
    }

    /// A tool that knows no jobserver: as many jobs as tokens are held for it until it ends.
    fn hold(
        &mut self,
        args: &RunArgs,
        source: Option<Source>,
        original: &Original,
    ) -> Result<ExitStatus, Unserved> {
        let clock = Clock::start();
        let desk = SignalDesk::open().map_err(Unserved::NoGate)?;
        let tokens = source.as_ref().map_or(self.own_settings().jobs, |source| source.granted().tokens);
        // What is started below takes what it takes besides from the shared gate, which knows nothing of a cap or of this gate.
        let is_bounded = |source: &Source| self.shape.cap.is_some_and(|cap| cap < source.jobs_of_others());
        let is_alone = source.as_ref().is_none_or(is_bounded);
        let mut source = source.unwrap_or_else(|| Source::own(self.own_gate(), clock.now()));
        self.watch_disks(&mut source, clock.now());
        self.keep_journal(args, &mut source, clock.now());
        self.keep_stats(args, &mut source, clock.now());
        let mut command = self.command.clone();
        command.args.splice(0..0, self.shape.number.fill(tokens.max(1)));
        let mut variables = self.variables();
        let inside = if is_alone { around::ALONE } else { "1" };
        variables.extend([(gate::INSIDE, OsString::from(inside)), (around::TREE, OsString::new())]);
        let sums_up = self.sum_up(args, &mut source, clock.now());
        launch::serve(
            clock,
            desk,
            source,
            None,
            &command,
            &variables,
            Notes { written: None, sums_up },
            original,
        )
    }
}

/// Serves a command below an endpoint of its own. Everything that must be dropped before we end, or become the command, is in
/// here: the witness, the endpoint.
#[allow(clippy::too_many_arguments, reason = "all that a tree is served with")]
pub fn serve_tree(
    clock: Clock,
    source: Source,
    shape: &Shape,
    command: &CommandLine,
    mut tree: Tree,
    mut variables: Vec<(&'static str, OsString)>,
    sums_up: Option<(When, String)>,
    original: &Original,
) -> Result<ExitStatus, Unserved> {
    let desk = SignalDesk::open().map_err(Unserved::NoGate)?;
    let front = open_front(shape.choice.style, shape.tool).map_err(Unserved::NoGate)?;
    let auth = front.auth(shape.choice.old_make);
    tree.auth = around::name(&auth).to_string_lossy().into_owned();
    tree.old_make = shape.choice.old_make;
    variables.extend(around::variables(&auth, tree.is_private));
    let written = Written::new(tree);
    // One that the variables of our caller name is another's.
    let named = written.as_ref().map_or_else(|| (around::TREE, OsString::new()), Written::variable);
    variables.push(named);
    log::debug!("{:?}, {variables:?}, {command:?}", shape.choice);
    launch::serve(clock, desk, source, Some(front), command, &variables, Notes { written, sums_up }, original)
}

/// The tool itself, where PATH has its shim first.
fn real_file(tool: Tool, program: &OsStr) -> Option<PathBuf> {
    if tool == Tool::Other || program.as_bytes().contains(&b'/') {
        return None;
    }
    tools::resolve(program)
}

/// Nothing was asked for but the command and a number of jobs.
fn says_nothing(args: &RunArgs) -> bool {
    let GateArgs { jobs: _, max_cpu, max_io, max_memory, hold, heartbeat, law, max_wait, proc, .. } =
        &args.gate;
    let GateArgs { min_available, max_load, scope, .. } = &args.gate;
    let texts = [max_cpu, max_io, max_memory, hold, heartbeat, law, max_wait, min_available, max_load, scope];
    let own = [&args.style, &args.weight];
    let none = texts.iter().chain(&own).all(|text| text.is_none());
    let is_silent = args.journal.is_none()
        && args.buildstats.is_none()
        && args.diskmon.is_empty()
        && !args.gate.freeze_on_thrash;
    none && proc.is_none() && is_silent && !args.private && args.socket.is_none()
}

/// Sees that the pressure that is watched can be read. Where the kernel has none nothing is watched, and it is said once; a
/// folder that was named must have them.
fn check_pressure(args: &GateArgs, wishes: &mut GateWishes) -> Result<(), Failure> {
    let scope = wishes.scope.clone().unwrap_or_default();
    if let Scope::Cgroup(_) = scope {
        let root = args.proc.as_deref().unwrap_or(Path::new("/proc"));
        Machine::open(root, &scope, Wants::default()).map_err(|why| Failure(format!("--scope: {why}")))?;
    }
    let open =
        |root: &Path, pressure| Machine::open(root, &scope, Wants { pressure, ..Wants::default() }).map(drop);
    if let Some(folder) = &args.proc {
        let all = PerResource::from_fn(|_| true);
        open(folder, all).map_err(|error| Failure(format!("--proc {}: {error}", folder.display())))?;
    }
    let root = args.proc.as_deref().unwrap_or(Path::new("/proc"));
    if let Err(error) = open(root, wishes.watched()) {
        wishes.warnings.push(format!("no pressure to be had ({error}); the build runs ungated"));
        wishes.thresholds = Default::default();
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
