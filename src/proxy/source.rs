//! Where a tree's allotment comes from: a gate of its own, or the shared one, whichever can be had.
//!
//! Doesn't know endpoints. When the server is gone the tree goes on with what it had until that is back, or the gate becomes
//! one's own: the build never notices.

mod notes;

use super::disks::Disks;
use super::journal::Journal;
use super::link::Link;
use super::lost::{Lost, News};
use super::own::{self, ME, OwnGate};
use super::payment::Payment;
use super::stats::Stats;
use super::token;
use super::upstream::Upstream;
use crate::policy::account::{Claim, ClientId, Report};
use crate::policy::diskmon::State;
use crate::policy::ledger::Change;
use crate::policy::regulator::{Action, Input, Regulator};
use crate::policy::summary::Summary;
use crate::policy::time::Moment;
use crate::proto::status;
use crate::proto::view::View;
use crate::proto::wire::Granted;
use crate::sys::machine::Machine;
use crate::sys::say::say;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use std::os::fd::AsRawFd;

/// See the module.
#[derive(Debug)]
pub struct Source {
    gate: Gate,
    /// What takes the shared gate's place when that can't be had.
    spare: OwnGate,
    /// The shared gate, while it is gone.
    lost: Option<Lost>,
    /// The jobserver that we were started below, if it isn't this gate's own.
    upstream: Option<Upstream>,
    /// What pays for the job in which we are.
    payment: Option<Payment>,
    /// What closes the gate for this tree alone.
    disks: Option<Disks>,
    /// What is written down.
    journal: Option<Journal>,
    stats: Option<Stats>,
    /// ... and summed up.
    summary: Option<Summary>,
    /// What the tree may hold of the gate's allotment, and the last of it that was in force.
    may: u32,
    may_in_force: u32,
    stopped: bool,
    registry: Option<Registry>,
    in_force: u32,
    held: u32,
}

#[derive(Debug)]
enum Gate {
    Own {
        regulator: Box<Regulator>,
        machine: Option<Box<Machine>>,
        allotment: u32,
        /// The number of the last allotment, and of the one in force.
        serial: u64,
        obeyed: u64,
        /// What was last told.
        reported: Option<(u64, u32)>,
    },
    Shared(Box<Link>),
    /// What was had from the shared one, which is gone.
    Kept {
        allotment: u32,
    },
}

impl Source {
    /// From a gate of one's own.
    pub fn own(spare: OwnGate, now: Moment) -> Source {
        let mut source = Source::from(own_gate(&spare, None, now, false), spare);
        source.drain(now);
        source
    }

    /// From the shared one.
    pub fn shared(link: Link, spare: OwnGate) -> Source {
        Source::from(Gate::Shared(Box::new(link)), spare)
    }

    fn from(gate: Gate, spare: OwnGate) -> Source {
        let mut source = Source {
            gate,
            spare,
            lost: None,
            upstream: None,
            payment: None,
            disks: None,
            journal: None,
            stats: None,
            summary: None,
            may: 0,
            may_in_force: 0,
            stopped: false,
            registry: None,
            in_force: 0,
            held: 0,
        };
        source.may = source.allowed();
        source
    }

    /// What it gives has to be had from that jobserver, too.
    pub fn go_through(&mut self, upstream: Upstream) {
        self.may = upstream.lent().min(self.allowed());
        self.upstream = Some(upstream);
    }

    /// The job in which we are is paid for by that.
    pub fn pay_by(&mut self, payment: Payment) {
        self.payment = Some(payment);
    }

    /// Nothing is issued here while that says so.
    pub fn watch(&mut self, disks: Disks) {
        self.disks = Some(disks);
    }

    /// What the disk space lets the tree do.
    pub fn disk_state(&self) -> State {
        self.disks.as_ref().map_or(State::Open, Disks::state)
    }

    /// Tells the loop what to wait for.
    pub fn register(&mut self, registry: &Registry, now: Moment) -> std::io::Result<()> {
        self.registry = Some(registry.try_clone()?);
        if let Gate::Shared(link) = &mut self.gate {
            link.go_on(now)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut SourceFd(&link.event().as_raw_fd()), token::GATE, both)?;
        }
        if let Some(upstream) = &self.upstream {
            let above = upstream.event().as_raw_fd();
            registry.register(&mut SourceFd(&above), token::ABOVE, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Tokens that the tree may hold.
    pub fn allotment(&self) -> u32 {
        if self.upstream.is_some() { self.may } else { self.allowed() }
    }

    fn allowed(&self) -> u32 {
        if self.disk_state() == State::Open { self.given() } else { 0 }
    }

    /// What the gate gives.
    fn given(&self) -> u32 {
        match &self.gate {
            _ if self.stopped => 0,
            Gate::Own { allotment, .. } | Gate::Kept { allotment } => *allotment,
            Gate::Shared(link) => link.allotment(),
        }
    }

    /// Others wait for what stands here.
    pub fn is_pressed(&self) -> bool {
        matches!(&self.gate, Gate::Shared(link) if link.is_pressed())
    }

    /// The most tokens that might be out when it was asked; 0 for a gate of one's own.
    pub fn jobs_of_others(&self) -> u32 {
        match &self.gate {
            Gate::Own { .. } | Gate::Kept { .. } => 0,
            Gate::Shared(link) => link.jobs(),
        }
    }

    /// What was leased.
    pub fn granted(&self) -> Granted {
        match &self.gate {
            Gate::Own { .. } | Gate::Kept { .. } => Granted { tokens: 1, borrowed: false },
            Gate::Shared(link) => link.granted(),
        }
    }

    /// The shared gate has said something.
    pub fn ready(&mut self, now: Moment) {
        if let Gate::Shared(link) = &mut self.gate
            && let Err(error) = link.ready()
        {
            self.lose(&error.to_string(), now);
        }
        self.write(now);
        self.look_for_gate(now);
    }

    /// The jobserver above has something.
    pub fn ready_above(&mut self) {
        if let Some(upstream) = &mut self.upstream {
            upstream.ready();
        }
    }

    /// Whether nobody is there who could take a token: then others needn't wait for what stands.
    pub fn deserted(&mut self, now: Moment, deserted: bool) {
        if let Gate::Shared(link) = &mut self.gate {
            link.deserted(now, deserted);
        }
    }

    /// How the endpoint stands: what is in force of what `allotment` said, and what is held.
    pub fn report(&mut self, now: Moment, in_force: u32, held: u32) {
        self.may_in_force = in_force;
        let given = self.given();
        // For the gate all that it gave counts: what isn't taken above, or may not be, is left standing here.
        let is_bounded = self.upstream.is_some() || self.disk_state() != State::Open;
        let in_force = if is_bounded && in_force <= given { given } else { in_force };
        match &mut self.gate {
            Gate::Own { serial, obeyed, .. } => *obeyed = *serial,
            Gate::Shared(link) => link.obeyed(),
            Gate::Kept { .. } => {}
        }
        self.pass_on(now, in_force, held);
        self.settle_above(now, held);
        self.sum_up(now);
    }

    fn settle_above(&mut self, now: Moment, held: u32) {
        let allowed = self.allowed();
        if let Some(upstream) = &mut self.upstream {
            // What a stopped tree holds isn't made use of; it is had again when that goes on.
            let held = if self.stopped { 0 } else { held };
            self.may = upstream.settle(now, allowed, self.may_in_force, held);
        }
    }

    fn pass_on(&mut self, now: Moment, in_force: u32, held: u32) {
        (self.in_force, self.held) = (in_force, held);
        match &mut self.gate {
            Gate::Own { regulator, reported, obeyed, .. } => {
                if *reported != Some((*obeyed, held)) {
                    *reported = Some((*obeyed, held));
                    let report = Report { serial: *obeyed, held, appetite: None };
                    regulator.handle(now, Input::Report(ME, report));
                    self.drain(now);
                }
            }
            Gate::Shared(link) => {
                if let Err(error) = link.report(now, in_force, held) {
                    self.lose(&error.to_string(), now);
                }
            }
            Gate::Kept { .. } => {}
        }
    }

    /// The command runs, as this process.
    pub fn started(&mut self, now: Moment, pid: i32) {
        if let Gate::Shared(link) = &mut self.gate
            && let Err(error) = link.started(pid)
        {
            self.lose(&error.to_string(), now);
        }
        if let Some(lost) = &mut self.lost {
            let _ = lost.link().started(pid); // as below
        }
    }

    /// Job control stopped the tree, or lets it go on.
    pub fn stop(&mut self, now: Moment, stopped: bool) {
        self.stopped = stopped;
        if let Some(payment) = &mut self.payment {
            payment.stop(stopped);
        }
        match &mut self.gate {
            Gate::Own { regulator, .. } => {
                regulator.handle(now, if stopped { Input::Stopped(ME) } else { Input::Continued(ME) });
                self.drain(now);
            }
            Gate::Shared(link) => {
                if let Err(error) = link.stop(stopped) {
                    self.lose(&error.to_string(), now);
                }
            }
            Gate::Kept { .. } => {}
        }
        if let Some(lost) = &mut self.lost {
            let _ = lost.link().stop(stopped); // it is hung up: only to be remembered
        }
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Moment) {
        match &mut self.gate {
            Gate::Own { regulator, .. } => {
                if regulator.deadline().is_some_and(|when| when <= now) {
                    regulator.handle(now, Input::Time);
                }
                self.drain(now);
            }
            Gate::Shared(_) | Gate::Kept { .. } => {}
        }
        self.look_for_gate(now);
        if let Some(stats) = &mut self.stats {
            stats.pass(now);
        }
        if let Some(payment) = &mut self.payment {
            payment.pass(now);
        }
        if let Some(disks) = &mut self.disks {
            disks.pass(now);
        }
        self.pass_on(now, self.in_force, self.held);
        self.settle_above(now, self.held);
    }

    /// When it wants to be told so.
    pub fn deadline(&self) -> Option<Moment> {
        let gate = match &self.gate {
            Gate::Own { regulator, .. } => regulator.deadline(),
            Gate::Shared(link) => link.deadline(),
            Gate::Kept { .. } => None,
        };
        let lost = self.lost.as_ref().map(Lost::deadline);
        let above = self.upstream.as_ref().and_then(Upstream::deadline);
        let payment = self.payment.as_ref().and_then(Payment::deadline);
        let disks = self.disks.as_ref().and_then(Disks::deadline);
        let journal = self.journal.as_ref().and_then(Journal::deadline);
        let stats = self.stats.as_ref().and_then(Stats::deadline);
        [gate, lost, above, payment, disks, journal, stats].into_iter().flatten().min()
    }

    /// Whether what is held is to be known now: the gate asks, or what the jobserver above gave is looked at anew.
    pub fn wants_count(&self, now: Moment) -> bool {
        let is_due_above =
            self.upstream.as_ref().and_then(Upstream::deadline).is_some_and(|when| when <= now);
        is_due_above || matches!(&self.gate, Gate::Shared(link) if link.wants_count())
    }

    /// Asks how things stand: `answer` has it, at once or later.
    pub fn ask(&mut self, now: Moment) {
        if let Gate::Shared(link) = &mut self.gate
            && let Err(error) = link.ask()
        {
            self.lose(&error.to_string(), now);
        }
        if let (Gate::Kept { .. }, Some(lost)) = (&self.gate, &mut self.lost) {
            let _ = lost.link().ask(); // the next server is asked
        }
    }

    /// How things stand, and which client this is; a shared gate's answer is given once.
    pub fn answer(&mut self, now: Moment) -> Option<(View, ClientId)> {
        match &mut self.gate {
            Gate::Own { regulator, .. } => Some((status::view(regulator, now), ME)),
            Gate::Shared(link) => {
                let id = link.id();
                link.view().map(|view| (*view, id))
            }
            Gate::Kept { .. } => None,
        }
    }

    /// The server is gone: what was had from it stays in force until it is back, or given up.
    fn lose(&mut self, why: &str, now: Moment) {
        log::info!("the gate is gone: {why}");
        if let (Gate::Shared(link), Some(journal)) = (&mut self.gate, &mut self.journal) {
            let _ = journal.pass_on(now, link); // nobody is asked any more
            journal.lose(now, why);
        }
        let Gate::Shared(link) = &self.gate else { return };
        let kept = Gate::Kept { allotment: link.allotment() };
        if let Gate::Shared(link) = std::mem::replace(&mut self.gate, kept) {
            self.lost = Some(Lost::new(link, why.to_owned(), now));
        }
        self.look_for_gate(now);
    }

    fn look_for_gate(&mut self, now: Moment) {
        let Some(lost) = &mut self.lost else { return };
        match lost.look(now, self.in_force, self.held, self.registry.as_ref()) {
            News::None => {}
            News::Back(link) => {
                log::info!("the gate is back");
                (self.gate, self.lost) = (Gate::Shared(link), None);
            }
            News::GivenUp(why) => {
                say(&format!("the shared gate is lost ({why}); this build goes on with a gate of its own"));
                let Granted { tokens, borrowed } = lost.link().granted();
                let lease = tokens - u32::from(borrowed).min(tokens);
                let (allotment, held, stopped) = (self.in_force, self.held, self.stopped);
                self.gate = own_gate(
                    &self.spare,
                    Some(Claim { lease, borrowed, allotment, held, stopped }),
                    now,
                    false,
                );
                self.record_own(now);
                self.drain(now);
            }
        }
    }

    fn drain(&mut self, now: Moment) {
        let Source { gate: Gate::Own { regulator, machine, allotment, serial, .. }, journal, .. } = self
        else {
            return;
        };
        while let Some(action) = regulator.poll() {
            match action {
                Action::Tell(Change::Allot { tokens, serial: number, .. }) => {
                    (*allotment, *serial) = (tokens, number)
                }
                Action::Tell(Change::Grant { .. }) => {}
                Action::Sample => {
                    own::sample(regulator, machine.as_deref_mut(), now);
                    if let Some(journal) = journal {
                        journal.observe(now, regulator); // what was judged, before anything else changes
                    }
                }
            }
        }
        if let Some(journal) = journal {
            journal.observe(now, regulator);
        }
    }
}

fn own_gate(spare: &OwnGate, claim: Option<Claim>, now: Moment, recorded: bool) -> Gate {
    let allotment = claim.map_or(0, |claim| claim.allotment);
    Gate::Own {
        regulator: Box::new(spare.open(claim, now)),
        machine: spare.machine(recorded),
        allotment,
        serial: 0,
        obeyed: 0,
        reported: None,
    }
}
