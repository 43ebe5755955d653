//! A tool that is started inside a tree: it joins the endpoint around it, through one of its own where it can't as it is.
//!
//! Doesn't wait for the shared gate: all that it takes is taken from the endpoint around it, which has its share, its cap and its
//! weight there.

use super::around::{Around, Paid};
use super::launch::{self, Notes, Unserved};
use super::run::{self, Shape};
use super::settings::StyleWish;
use super::style::{self, Choice};
use crate::policy::endpoint::Style;
use crate::policy::regulator::Settings;
use crate::proto::argv::{self, NumberOption, Stripped, Tool};
use crate::proto::makeflags;
use crate::proto::tree::Tree;
use crate::proto::values::MOST_JOBS;
use crate::proxy::own::OwnGate;
use crate::proxy::payment::Payment;
use crate::proxy::signals::SignalDesk;
use crate::proxy::source::Source;
use crate::proxy::upstream::Upstream;
use crate::sys::child::CommandLine;
use crate::sys::clock::Clock;
use crate::sys::descriptor::leave_open;
use crate::sys::foreign::Foreign;
use crate::sys::notify::Original;
use crate::sys::proc::usable_cpus;
use std::cell::OnceCell;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// One that takes all it can have waits so long for the next token to be offered.
const GATHERING: Duration = Duration::from_millis(20);

/// What is to be started.
pub struct Guest {
    /// As it was called.
    pub given: CommandLine,
    /// What it is.
    pub tool: Tool,
    /// How it is told its number of jobs, for one that is listed as knowing no jobserver.
    pub number: Option<NumberOption>,
    /// The most jobs that it may have, whatever its own words are.
    pub most: Option<u32>,
    choice: OnceCell<Choice>,
}

impl Guest {
    /// See the fields.
    pub fn new(given: CommandLine, tool: Tool, number: Option<NumberOption>, most: Option<u32>) -> Guest {
        Guest { given, tool, number, most, choice: OnceCell::new() }
    }

    /// The command without what would take it out of the pool, and the most jobs that it may have.
    pub fn stripped(&self) -> (CommandLine, Option<u32>) {
        let stripped = match &self.number {
            Some(number) => number.strip(&self.given.args),
            None => argv::strip(self.tool, &self.given.args),
        };
        let cap = [cap(self.tool, &stripped, &self.given.args), self.most].into_iter().flatten().min();
        (CommandLine { args: stripped.args, ..self.given.clone() }, cap)
    }

    /// What it can join.
    pub fn choice(&self) -> Choice {
        let file = self.given.file.as_ref().map_or(self.given.program.as_os_str(), |file| file.as_os_str());
        *self.choice.get_or_init(|| match self.number {
            Some(_) => Choice { style: Style::Fifo, old_make: false, joins: false },
            None => style::choose(StyleWish::Auto, self.tool, file),
        })
    }

    /// How it is told its number of jobs.
    pub fn number(&self) -> NumberOption {
        self.number.clone().unwrap_or_else(NumberOption::dash_j)
    }
}

/// Runs it, with `-j` and `-l` taken out; their number is its cap.
pub fn join(guest: Guest, around: Around, original: &Original) -> ! {
    let (command, cap) = guest.stripped();
    let Guest { given, tool, .. } = &guest;
    let tool = *tool;
    let suits = || guest.number.is_none() && around.suits(tool, || guest.choice());
    if !around.is_ours() && cap.is_none() && suits() {
        // Somebody else's pool, as that one has it.
        launch::become_command(given, &[], original);
    }
    let paid = around.pay();
    if cap == Some(1) && guest.number.is_none() {
        run_alone(given, command, tool, paid, original);
    }
    let joins = cap.is_none_or(|cap| around.jobs().is_some_and(|jobs| cap >= jobs)) && suits();
    let served = if joins {
        as_it_is(&command, &around, paid, original)
    } else if guest.choice().joins {
        through_its_own(&guest, &command, cap, &around, paid, original)
    } else {
        holding(&guest, &command, cap, &around, paid, original)
    };
    launch::end_for_good(served, given, original)
}

/// Runs it with the one token that it has.
pub fn join_alone(guest: &Guest, original: &Original) -> ! {
    let (mut command, _) = guest.stripped();
    if let Some(number) = &guest.number {
        command.args.splice(0..0, number.fill(1));
        launch::become_command(&command, &[], original);
    }
    run_alone(&guest.given, command, guest.tool, Paid::ByJob(None), original)
}

/// The most jobs that it was to have, by its own words.
///
/// A make that was told of no pool and no number runs one job after the other, and its makefile may need that.
fn cap(tool: Tool, stripped: &Stripped, args: &[OsString]) -> Option<u32> {
    let flags = ["MAKEFLAGS", "GNUMAKEFLAGS"].map(std::env::var_os);
    let says_pool = flags.iter().flatten().any(|flags| makeflags::names_jobserver(flags));
    if says_pool {
        return stripped.cap;
    }
    let of_flags = flags.iter().flatten().map(|flags| makeflags::strip(flags)).find_map(|flags| flags.cap);
    match stripped.cap.or(of_flags) {
        None if tool == Tool::Make && stripped.args == args => Some(1),
        cap => cap,
    }
}

/// One job after the other, as it was told.
fn run_alone(
    given: &CommandLine,
    mut command: CommandLine,
    tool: Tool,
    paid: Paid,
    original: &Original,
) -> ! {
    let mut variables: Vec<(&str, OsString)> = Vec::new();
    match tool {
        // Without a number it is serial anyway, and says nothing of a -j that its own makes would then find.
        Tool::Make if command.args != given.args => command.args.insert(0, "-j1".into()),
        Tool::Make | Tool::Other => {}
        Tool::Ninja => command.args.insert(0, "-j1".into()),
        // Its number stands behind the name of what it is to do.
        Tool::Cargo => variables.push(("CARGO_BUILD_JOBS", "1".into())),
    }
    // What it starts finds the way to the pool by itself.
    if let Some(flags) = std::env::var_os("MAKEFLAGS").filter(|_| tool == Tool::Make) {
        variables.push(("MAKEFLAGS", makeflags::strip(&flags).value));
    }
    let served = match paid {
        Paid::ByJob(jobs) => {
            let _ = jobs.map(|jobs| leave_open_for_good(jobs.into_fd()));
            launch::become_command(&command, &variables, original)
        }
        Paid::ByToken(payment) => wait_for(&command, &variables, Some(payment), None, original),
    };
    launch::end_for_good(served, given, original)
}

/// The endpoint around is the tool's own: nobody stays but who holds a token for it.
fn as_it_is(
    command: &CommandLine,
    around: &Around,
    paid: Paid,
    original: &Original,
) -> Result<ExitStatus, Unserved> {
    let variables = around.leave().map_err(Unserved::NoGate)?;
    match paid {
        Paid::ByJob(jobs) => {
            let _ = jobs.map(|jobs| leave_open_for_good(jobs.into_fd()));
            launch::become_command(command, &variables, original)
        }
        Paid::ByToken(payment) => wait_for(command, &variables, Some(payment), None, original),
    }
}

/// The lock of a job goes with this process into what it becomes.
fn leave_open_for_good(jobs: std::os::fd::OwnedFd) -> io::Result<()> {
    leave_open(&jobs)?;
    std::mem::forget(jobs);
    Ok(())
}

/// An endpoint of its own, which is a client of the one around.
fn through_its_own(
    guest: &Guest,
    command: &CommandLine,
    cap: Option<u32>,
    around: &Around,
    paid: Paid,
    original: &Original,
) -> Result<ExitStatus, Unserved> {
    let clock = Clock::start();
    let shape = Shape { tool: guest.tool, choice: guest.choice(), cap, number: guest.number() };
    let mut source = Source::own(spare(cap.unwrap_or(MOST_JOBS), false), clock.now());
    let mut foreign = around.open().map_err(Unserved::NoGate)?;
    if guest.tool == Tool::Ninja {
        // It starts with what stands there at that instant, and looks again when its first job ends.
        let most = cap.or(around.jobs()).unwrap_or_else(usable_cpus);
        gather(&mut foreign, most);
    }
    // A lock stays with this process.
    let (payment, lock) = paid.split();
    if let Some(payment) = payment {
        source.pay_by(payment);
    }
    source.go_through(Upstream::new(foreign, shape.patience()));
    let jobs = cap.or(around.jobs()).unwrap_or(MOST_JOBS);
    let tree = Tree { jobs, is_private: true, is_paid: true, ..Tree::default() };
    let status = run::serve_tree(clock, source, &shape, command, tree, Vec::new(), None, original);
    drop(lock);
    status
}

/// A tool that knows no jobserver: it runs as many jobs as tokens are held for it until it ends.
fn holding(
    guest: &Guest,
    command: &CommandLine,
    cap: Option<u32>,
    around: &Around,
    paid: Paid,
    original: &Original,
) -> Result<ExitStatus, Unserved> {
    let most = cap.unwrap_or(MOST_JOBS).min(around.jobs().unwrap_or(MOST_JOBS)).min(usable_cpus().max(1));
    let mut foreign = around.open().map_err(Unserved::NoGate)?;
    gather(&mut foreign, most);
    let mut command = command.clone();
    command.args.splice(0..0, guest.number().fill(foreign.have() + 1));
    let variables = around.leave().map_err(Unserved::NoGate)?;
    // A lock stays with this process.
    let (payment, lock) = paid.split();
    let status = wait_for(&command, &variables, payment, Some(foreign), original);
    drop(lock);
    status
}

/// Takes tokens for that many jobs, the first of which is paid for, or as many as come one right after the other.
fn gather(foreign: &mut Foreign, most: u32) {
    while foreign.have() + 1 < most {
        let taken = || -> io::Result<bool> {
            if foreign.take()? {
                return Ok(true);
            }
            foreign.wait(GATHERING);
            foreign.take()
        }();
        if !matches!(taken, Ok(true)) {
            break;
        }
    }
}

/// Pays, and holds what was taken besides, until the command ends.
fn wait_for(
    command: &CommandLine,
    variables: &[(&str, OsString)],
    payment: Option<Payment>,
    held: Option<Foreign>,
    original: &Original,
) -> Result<ExitStatus, Unserved> {
    let clock = Clock::start();
    let desk = SignalDesk::open().map_err(Unserved::NoGate)?;
    let mut source = Source::own(spare(1, true), clock.now());
    if let Some(payment) = payment {
        source.pay_by(payment);
    }
    let status = launch::serve(clock, desk, source, None, command, variables, Notes::default(), original);
    if let Some(held) = held {
        held.close();
    }
    status
}

/// A gate that holds nothing back: that is done above.
fn spare(jobs: u32, pays_nothing: bool) -> OwnGate {
    let settings = Settings::new(jobs, usable_cpus());
    OwnGate { settings, scope: Default::default(), proc_root: PathBuf::from("/proc"), pays_nothing }
}
