//! `jobgate exec`: holds tokens while a tool that knows no jobserver runs.
//!
//! Doesn't know how they are found.

use super::Failure;
use super::args::ExecArgs;
use super::gate::{self, NoGate};
use super::launch::{self, Notes, Unserved};
use crate::policy::regulator::Settings;
use crate::proto::values;
use crate::proto::wire::{EXEC, Hello, LeaseAsked};
use crate::proxy::link::Link;
use crate::proxy::own::OwnGate;
use crate::proxy::signals::SignalDesk;
use crate::proxy::source::Source;
use crate::sys::clock::Clock;
use crate::sys::notify::Original;
use crate::sys::proc::usable_cpus;
use crate::sys::say::say;
use std::convert::Infallible;
use std::path::PathBuf;

/// Tells the command how many tokens are held for it.
const TOKENS: &str = "JOBGATE_TOKENS";

/// Runs it all; comes back only where nothing was started.
pub fn exec(args: &ExecArgs, original: &Original) -> Result<Infallible, Failure> {
    let given = launch::command_line(&args.command, "jobgate exec -- xz FILE")?;
    launch::answer_if_asked(&given, original);
    let (min, max) = args.tokens.as_deref().map_or(Ok((1, 1)), |tokens| values::range("-n", tokens))?;
    let max_wait = args.max_wait.as_deref().map(|wait| values::wait("--max-wait", wait)).transpose()?;
    let weight = args.weight.as_deref().map(|weight| values::count("--weight", weight)).transpose()?;
    let hello = Hello {
        label: gate::label(args.label.as_deref(), &given.program, &given.args),
        style: EXEC.to_owned(),
        lease: LeaseAsked::Wait { min, max },
        weight,
        max_wait_s: max_wait.map(|wait| wait.as_secs_f64()),
        ..Hello::default()
    };
    let named = gate::named(args.socket.as_deref());
    let variables = |tokens: u32| vec![(TOKENS, tokens.to_string().into())];
    let found = gate::connect(named.as_deref(), true, hello, gate::PATIENCE);
    let link: Link = match found.and_then(|link| gate::await_lease(link, || false)) {
        Ok(link) => link,
        Err(NoGate::Failure(failure)) => return Err(failure),
        Err(NoGate::Absent(why)) => {
            say(&format!("no shared gate to be had ({why}); the command runs without it"));
            launch::become_command(&given, &variables(min), original)
        }
    };
    let tokens = link.granted().tokens;
    let clock = Clock::start();
    let served = SignalDesk::open().map_err(Unserved::NoGate).and_then(|desk| {
        let source = Source::shared(link, spare(tokens));
        launch::serve(clock, desk, source, None, &given, &variables(tokens), Notes::default(), original)
    });
    launch::end(served, &given, original)
}

/// What is left when the gate is gone: what it has.
fn spare(tokens: u32) -> OwnGate {
    let settings = Settings::new(tokens, usable_cpus());
    OwnGate { settings, scope: Default::default(), proc_root: PathBuf::from("/proc"), pays_nothing: true }
}
