//! The gate that a command is to use: found, started, asked.
//!
//! Doesn't know what is done with it.

use super::Failure;
use crate::policy::time::Moment;
use crate::proto::wire::{Hello, PROTOCOL};
use crate::proxy::link::{Link, NoLink};
use crate::proxy::lost;
use crate::sys::clock::{self, Clock};
use crate::sys::socket;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names the gate.
pub const SOCKET: &str = "JOBGATE_SOCKET";

/// The command runs inside a job that is paid for; counts where the gate can't see that itself.
pub const INSIDE: &str = "JOBGATE_INSIDE";

/// How long an offer stands before a tree that takes at once is known not to want it.
pub const PATIENCE: Duration = Duration::from_millis(30);

/// ... and one with tools that look only when one of their own jobs ends.
pub const LONG_PATIENCE: Duration = Duration::from_secs(1);

/// The socket that was named, by option or variable.
pub fn named(option: Option<&Path>) -> Option<PathBuf> {
    let variable = || std::env::var_os(SOCKET).filter(|value| !value.is_empty()).map(PathBuf::from);
    option.map(Path::to_owned).or_else(variable)
}

/// Why there is no gate to be shared.
pub enum NoGate {
    /// It is no use to go on: one sentence.
    Failure(Failure),
    /// Then without.
    Absent(String),
}

/// Connects to the gate that was named, or to the first that can be had, and says hello. `may_start`: one is started where there
/// is none.
pub fn connect(
    named: Option<&Path>,
    may_start: bool,
    mut hello: Hello,
    patience: Duration,
) -> Result<Link, NoGate> {
    hello.protocol = PROTOCOL.to_owned();
    hello.version = env!("CARGO_PKG_VERSION").to_owned();
    hello.pid = std::process::id() as i32;
    hello.inside = std::env::var_os(INSIDE).is_some();
    let places = socket::places(named);
    let places = places
        .map_err(|why| if named.is_some() { NoGate::Failure(Failure(why)) } else { NoGate::Absent(why) })?;
    let mut absent = Vec::new();
    for mut place in places {
        place.may_start &= may_start;
        match Link::open(&place, hello.clone(), patience) {
            Ok(link) => return Ok(link),
            Err(NoLink::Refused(why)) => return Err(NoGate::Failure(Failure(why))),
            Err(NoLink::Absent(why)) if named.is_some() => {
                return Err(NoGate::Failure(Failure(format!("no gate at {why}"))));
            }
            Err(NoLink::Absent(why)) => absent.push(why),
        }
    }
    Err(NoGate::Absent(absent.join("; ")))
}

/// Connects to a gate that runs, to ask it something. None is started.
pub fn running(option: Option<&Path>) -> Result<Link, Failure> {
    let named = named(option);
    let hello = Hello {
        asks_only: true,
        protocol: PROTOCOL.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Hello::default()
    };
    let mut absent = Vec::new();
    for mut place in socket::places(named.as_deref())? {
        place.may_start = false;
        match Link::open(&place, hello.clone(), PATIENCE) {
            Ok(link) => return Ok(link),
            Err(NoLink::Refused(why) | NoLink::Absent(why)) => absent.push(why),
        }
    }
    Err(Failure(format!("no gate is running ({})", absent.join("; "))))
}

/// What `status` calls a command: its name and first words.
pub fn label(given: Option<&str>, program: &OsStr, args: &[std::ffi::OsString]) -> String {
    if let Some(label) = given {
        return label.to_owned();
    }
    let name = Path::new(program).file_name().unwrap_or(program);
    let words = std::iter::once(name).chain(args.iter().map(|arg| arg.as_os_str()));
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ").chars().take(40).collect()
}

/// A gate that is lost so often, each time within `SOON`, while a lease is waited for, can't be had.
const TRIES: u32 = 5;
const SOON: Duration = Duration::from_secs(1);

/// Waits for the lease; a gate that is gone meanwhile is looked for, and waited for anew. `given_up`: nobody needs it any more.
pub fn await_lease(mut link: Link, given_up: impl Fn() -> bool) -> Result<Link, NoGate> {
    let clock = Clock::start();
    let (mut since, mut tries) = (clock.now(), 0);
    loop {
        match link.await_lease(&given_up) {
            Ok(_) => return Ok(link),
            Err(_) if given_up() => break,
            Err(error) => {
                log::info!("the gate is gone: {error}");
                let now = clock.now();
                tries = if now.since(since) < SOON { tries + 1 } else { 1 };
                since = now;
                if tries > TRIES {
                    return Err(NoGate::Absent(format!("{}: {error}", link.socket().display())));
                }
                link = find_again(&link, &given_up)?;
            }
        }
    }
    Err(NoGate::Failure(Failure("who asked for it has ended".to_owned())))
}

/// One that is started anew is there again in a moment.
fn find_again(link: &Link, given_up: impl Fn() -> bool) -> Result<Link, NoGate> {
    let clock = Clock::start();
    loop {
        match link.start_over() {
            Ok(link) => return Ok(link),
            Err(NoLink::Refused(why)) => return Err(NoGate::Failure(Failure(why))),
            Err(NoLink::Absent(why))
                if given_up() || clock.now().since(Moment::default()) >= lost::PATIENCE =>
            {
                return Err(NoGate::Absent(why));
            }
            Err(NoLink::Absent(_)) => clock::pause(lost::SOON),
        }
    }
}
