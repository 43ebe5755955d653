//! `jobgate attach`, and what `jobgate env` shares with it: a proxy in the background that serves the tree of another process.
//!
//! Doesn't know who asks: a shell, or a task of bitbake's before it begins.

use super::args::AttachArgs;
use super::launch::Written;
use super::{Failure, around, gate, listed, settings, style};
use crate::policy::endpoint::Style;
use crate::policy::regulator::Settings;
use crate::policy::ticker::DEFAULT_HEARTBEAT;
use crate::proto::export::{self, Shell};
use crate::proto::makeflags::Auth;
use crate::proto::tree::Tree;
use crate::proto::values;
use crate::proto::wire::{EXEC, HELD, Hello, LeaseAsked};
use crate::proxy::attached::Attached;
use crate::proxy::front::Front;
use crate::proxy::own::OwnGate;
use crate::proxy::source::Source;
use crate::sys::background::{self, Bound, Side};
use crate::sys::clock::Clock;
use crate::sys::proc::usable_cpus;
use crate::sys::shims;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// What is to be served, and how it is asked for.
pub struct Wanted {
    /// What the gate is told.
    pub hello: Hello,
    /// Whose descendants they are; `None`: nobody's, it is ended by hand.
    pub bound: Option<Bound>,
    /// The gate that was named.
    pub socket: Option<PathBuf>,
    /// What hangs from that process is paid for by the lease.
    pub is_paid: bool,
    /// Where no shared gate is to be had there is one of its own.
    pub may_be_alone: bool,
    /// There is an endpoint.
    pub has_front: bool,
}

/// What is served.
pub struct Served {
    /// The proxy.
    pub pid: String,
    /// Its tree's file; empty where there is none.
    pub tree: String,
    /// The gate's socket; empty where it is alone.
    pub gate: String,
    /// How many tokens were leased.
    pub tokens: u32,
    /// The fifo; empty where there is none.
    pub path: PathBuf,
    /// To be given once all that is passed on.
    pub leave: Leave,
}

/// What the proxy waits for before it serves.
const GO_ON: &str = "go on";

/// The proxy's leave to serve. Without it, it ends: none stays that nobody knows of.
pub struct Leave(background::Line);

impl Leave {
    /// Its word has been passed on.
    pub fn give(self) -> Result<(), Failure> {
        self.0.write(GO_ON).map_err(|error| Failure(format!("the proxy is gone: {error}")))
    }
}

/// Starts it in the background, and waits until it could serve.
pub fn start(wanted: Wanted) -> Result<Served, Failure> {
    let cant_start = |error: io::Error| Failure(format!("can't start a process: {error}"));
    match background::split().map_err(cant_start)? {
        Side::Front(mut line) => {
            let answer = line.read().map_err(|error| Failure(format!("the proxy can't start: {error}")))?;
            let mut words = answer.splitn(6, '\n');
            let mut next = || words.next().unwrap_or_default().to_owned();
            match next().as_str() {
                "ready" => Ok(Served {
                    pid: next(),
                    tree: next(),
                    gate: next(),
                    tokens: next().parse().unwrap_or(0),
                    path: next().into(),
                    leave: Leave(line),
                }),
                _ => Err(Failure(answer.strip_prefix("failed\n").unwrap_or(&answer).to_owned())),
            }
        }
        Side::Back(mut line) => {
            if let Err(Failure(why)) = serve(wanted, &mut line) {
                let _ = line.write(&format!("failed\n{why}"));
            }
            std::process::exit(0)
        }
        Side::Stuck(line, error) => {
            let Failure(why) = cant_start(error);
            let _ = line.write(&format!("failed\n{why}"));
            std::process::exit(0)
        }
    }
}

/// The whole life of the process in the background.
fn serve(wanted: Wanted, line: &mut background::Line) -> Result<(), Failure> {
    let cpus = usable_cpus();
    let wishes = &wanted.hello.wishes;
    let cap = wanted.hello.cap.unwrap_or(u32::MAX);
    let settings = Settings::new(wishes.jobs.unwrap_or(cpus).min(cap), cpus);
    let pays_nothing = wanted.hello.lease == LeaseAsked::Nothing;
    let spare =
        OwnGate { settings, scope: Default::default(), proc_root: PathBuf::from("/proc"), pays_nothing };
    let clock = Clock::start();
    let named = gate::named(wanted.socket.as_deref());
    let mut socket = String::new();
    let found = gate::connect(named.as_deref(), true, wanted.hello.clone(), gate::LONG_PATIENCE);
    let ready = found.and_then(|link| match wanted.hello.lease {
        LeaseAsked::Wait { .. } => {
            gate::await_lease(link, || wanted.bound.as_ref().is_some_and(Bound::has_ended))
        }
        LeaseAsked::Counted | LeaseAsked::Nothing => Ok(link),
    });
    let source = match ready {
        Ok(link) => {
            socket = link.socket().display().to_string();
            Source::shared(link, spare)
        }
        Err(gate::NoGate::Failure(failure)) => return Err(failure),
        Err(gate::NoGate::Absent(_)) if wanted.may_be_alone => Source::own(spare, clock.now()),
        Err(gate::NoGate::Absent(why)) => return Err(Failure(format!("no shared gate to be had ({why})"))),
    };
    let tokens = source.granted().tokens;
    let failed = |error: std::io::Error| Failure(error.to_string());
    let front =
        wanted.has_front.then(|| Front::open(Style::Fifo, DEFAULT_HEARTBEAT)).transpose().map_err(failed)?;
    let path =
        front.as_ref().and_then(Front::path).map(|path| path.display().to_string()).unwrap_or_default();
    let anchor = wanted.bound.as_ref().map_or(0, Bound::pid);
    let tree = Tree {
        anchor,
        // All that hangs from it is one job after the other.
        command: if wanted.is_paid { anchor } else { 0 },
        auth: format!("fifo:{path}"),
        jobs: settings.jobs.max(source.jobs_of_others()).min(cap),
        is_paid: wanted.is_paid,
        old_make: style::some_make_is_old(),
        socket: named,
        ..Tree::default()
    };
    let written = if front.is_some() { Written::new(tree) } else { None };
    let tree = written.as_ref().map(|written| written.variable().1).unwrap_or_default();
    let mut attached = Attached::new(clock, source, front, wanted.bound).map_err(failed)?;
    let tree = tree.to_string_lossy();
    line.write(&format!("ready\n{}\n{tree}\n{socket}\n{tokens}\n{path}", std::process::id()))
        .map_err(failed)?;
    match line.read() {
        Ok(word) if word != GO_ON => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        // Where it can't be heard it may have been said: then somebody waits for us.
        Ok(_) | Err(_) => attached.serve().map_err(failed),
    }
}

/// `jobgate attach`: prints the variables for that process as one object.
pub fn attach(args: &AttachArgs) -> Result<(), Failure> {
    let (min, max) = args.tokens.as_deref().map_or(Ok((1, 1)), |tokens| values::range("-n", tokens))?;
    let cap = args.cap.as_deref().map(|cap| values::count("--cap", cap)).transpose()?;
    let max_wait = args
        .gate
        .max_wait
        .as_deref()
        .map_or(Ok(std::time::Duration::ZERO), |wait| values::wait("--max-wait", wait))?;
    // Only what was said: bitbake's own variables are in no environment of ours.
    let wishes = settings::GateWishes::read(&args.gate, |name| {
        std::env::var_os(name).filter(|_| name == settings::LAW)
    })?;
    let bound = Bound::to(args.pid).map_err(|(pid, error)| Failure(format!("process {pid}: {error}")))?;
    let has_front = args.tokens.is_none() && !args.build;
    let label =
        args.label.clone().or_else(|| background::name_of(args.pid)).unwrap_or_else(|| "attach".to_owned());
    let hello = Hello {
        label,
        // One without an endpoint can't take what it is allotted.
        style: match (&args.tokens, args.build) {
            (Some(_), _) => EXEC.to_owned(),
            (None, true) => HELD.to_owned(),
            (None, false) => "fifo".to_owned(),
        },
        lease: if args.build { LeaseAsked::Nothing } else { LeaseAsked::Wait { min, max } },
        cap,
        max_wait_s: Some(max_wait.as_secs_f64()),
        wishes: wishes.said(),
        bound_to: Some(args.pid),
        lender: args.lender,
        follows: true,
        idle: args.build,
        ..Hello::default()
    };
    let socket = args.socket.clone();
    let wanted =
        Wanted { hello, bound: Some(bound), socket, is_paid: !args.build, may_be_alone: false, has_front };
    let served = start(wanted)?;
    let mut variables: Vec<(&str, Option<OsString>)> = vec![(gate::SOCKET, Some(served.gate.into()))];
    if has_front {
        let auth = Auth::Fifo { path: served.path, old_make: style::some_make_is_old() };
        variables
            .extend(around::variables(&auth, false).into_iter().map(|(name, value)| (name, Some(value))));
        variables.push((around::TREE, Some(served.tree.into())));
    } else if !args.build {
        variables.push((gate::INSIDE, Some("1".into())));
        variables.push((around::TREE, Some(OsString::new())));
        variables.push(("JOBGATE_TOKENS", Some(served.tokens.to_string().into())));
    }
    if let Ok(folder) = shims::install(&listed::names()) {
        variables.push(("JOBGATE_SHIMS", Some(folder.into())));
    }
    variables.push(("JOBGATE_ATTACHED", Some(served.pid.into())));
    super::env::say_to_shell(&export::text(Shell::Json, &variables)?)?;
    served.leave.give()
}
