//! Who comes: what a client is taken for, and what its coming, going and wishes do to the settings.
//!
//! Doesn't move tokens.

use super::conn::{Conn, State};
use super::settings::{self, Layer};
use super::{Kind, Server};
use crate::policy::account::{Claim, ClientId, Lease, Loan, Terms};
use crate::policy::pressure::PerResource;
use crate::policy::regulator::Input;
use crate::policy::time::Moment;
use crate::proto::ancestry::job_root;
use crate::proto::values::MOST_JOBS;
use crate::proto::view::ClientView;
use crate::proto::wire::{EXEC, HELD, Hello, LeaseAsked, PROTOCOL, Reply, Welcome, is_spoken};
use crate::sys::ancestors;
use crate::sys::proc::{PressureFiles, usable_cpus};
use crate::sys::say::say;
use crate::sys::socket::Peer;
use crate::sys::users;
use mio::Token;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Labels are cut there.
const LONGEST_LABEL: usize = 60;

/// The usable cpus are looked up so often at the most: it takes twenty system calls, and clients come in swarms.
const CPUS_LOOK: Duration = Duration::from_secs(1);

impl Server {
    /// Answers a hello.
    pub(super) fn welcome(&mut self, token: Token, mut hello: Box<Hello>, now: Moment) {
        hello.label = clean(&hello.label);
        hello.style = clean(&hello.style);
        let Some(conn) = self.conns.get(&token) else { return };
        let peer = conn.peer;
        if let Err(why) = self.admit(&hello, peer) {
            return self.refuse(token, Reply::Refused { why, request: false }, now);
        }
        let terms = match self.terms(&hello, peer) {
            Ok(terms) => terms,
            Err(why) => return self.refuse(token, Reply::Refused { why, request: true }, now),
        };
        let id = self.next_id;
        self.next_id += 1;
        let notices = self.notices(&hello);
        let jobs = self.regulator.settings().jobs;
        let claim = hello.claim.map(|claim| self.believe(claim.into()));
        if let Kind::OnDemand { .. } = self.kind {
            for (key, value) in &hello.set {
                self.set.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let Some(conn) = self.conns.get_mut(&token) else { return };
        let asks_only = hello.asks_only;
        conn.state = if asks_only { State::Asker } else { State::Client(id) };
        conn.owes = None;
        conn.hello = hello;
        let welcome = Reply::Welcome(Welcome { protocol: PROTOCOL.to_owned(), id, notices, jobs });
        self.send(token, &welcome, now);
        // It may be gone already: then nobody would ever take it out again.
        if !asks_only && self.conns.contains_key(&token) {
            self.join(id, terms, claim, now);
        }
    }

    /// The settings come first where it has a say: what it is granted by them must not be more than they allow.
    fn join(&mut self, id: ClientId, terms: Terms, claim: Option<Claim>, now: Moment) {
        if terms.loan.is_none() {
            self.apply_settings(now);
        }
        self.regulator.handle(now, Input::Join(id, terms, claim));
    }

    fn refuse(&mut self, token: Token, refusal: Reply, now: Moment) {
        self.send(token, &refusal, now);
        let Some(conn) = self.conns.get_mut(&token) else { return };
        conn.ending = true;
        if conn.is_flushed() {
            self.drop_conn(token, now);
        }
    }

    /// Whether it is spoken to at all.
    fn admit(&mut self, hello: &Hello, peer: Peer) -> Result<(), String> {
        if !is_spoken(&hello.protocol) {
            return Err(format!("the gate speaks protocol {PROTOCOL}, not '{}'", clean(&hello.protocol)));
        }
        let Kind::Service { base, .. } = &self.kind else { return Ok(()) };
        let open = base.users.is_empty() && base.groups.is_empty();
        let known = open || peer.uid == 0 || base.users.contains(&peer.uid);
        let member = || users::is_member(peer.uid, peer.gid, &base.groups);
        if known || *self.members.entry((peer.uid, peer.gid)).or_insert_with(member) {
            return Ok(());
        }
        Err(format!("user {} may not use the gate at {}", peer.uid, self.socket.display()))
    }

    /// What it is to the ledger.
    fn terms(&self, hello: &Hello, peer: Peer) -> Result<Terms, String> {
        let loan = self.job_around(hello, peer);
        let lease = match hello.lease {
            LeaseAsked::Nothing => Lease::Nothing,
            LeaseAsked::Counted if loan.is_some() => Lease::Wait { min: 1, max: 1 },
            LeaseAsked::Counted => Lease::Counted,
            LeaseAsked::Wait { min, max } => {
                let (min, max) = (min.clamp(1, MOST_JOBS), max.clamp(1, MOST_JOBS));
                if min > 1 && loan.is_some() {
                    return Err(format!(
                        "{min} tokens at once can't be waited for inside a job, which holds one: ask for 1-{min}"
                    ));
                }
                // What can never be had isn't waited for.
                let jobs = self.regulator.settings().jobs;
                if min > jobs {
                    return Err(format!("{min} tokens can never be had: the gate has {jobs}"));
                }
                Lease::Wait { min, max: max.max(min) }
            }
        };
        let takes = hello.style != EXEC && hello.style != HELD;
        let asked = match lease {
            Lease::Wait { max, .. } if !takes => max,
            Lease::Wait { .. } | Lease::Counted | Lease::Nothing => MOST_JOBS,
        };
        let cap =
            hello.cap.unwrap_or(u32::MAX).min(hello.wishes.jobs.unwrap_or(u32::MAX)).clamp(1, MOST_JOBS);
        let max_wait = hello.max_wait_s.filter(|seconds| (0.0..1e9).contains(seconds));
        Ok(Terms {
            lease,
            cap: cap.min(asked),
            weight: hello.weight.unwrap_or(1).clamp(1, MOST_JOBS),
            max_wait: max_wait.map(Duration::from_secs_f64).or(self.max_wait),
            loan,
            idle: hello.idle || !takes,
            takes,
            uid: peer.uid,
        })
    }

    /// The paid job in which a client was started, by the processes that the kernel says it descends from; what it says
    /// itself counts only where they can't be seen.
    fn job_around(&self, hello: &Hello, peer: Peer) -> Option<Loan> {
        if peer.pid <= 0 {
            return hello.inside.then_some(Loan(0, self.next_id));
        }
        let mut anchors = Vec::new();
        for conn in self.conns.values().filter(|conn| conn.id().is_some()) {
            anchors.push(conn.peer.pid);
            anchors.extend(conn.hello.bound_to);
        }
        if anchors.is_empty() {
            return None;
        }
        let lender = hello.lender.filter(|&pid| ancestors::owner_of(pid) == Some(peer.uid));
        let chain = ancestors::chain(Path::new(ancestors::PROC), lender.unwrap_or(peer.pid));
        let job = job_root(&chain, &anchors)?;
        let at_anchor = |conn: &&Conn| conn.peer.pid == job.anchor || conn.hello.bound_to == Some(job.anchor);
        let around = self.conns.values().find(at_anchor)?;
        let account = self.regulator.account(around.id()?)?;
        // An orphan that its client has adopted: the job in which it was started is over, and pays for nothing.
        let is_orphan = !job.below_tool && around.command.is_some_and(|command| command != job.root.0);
        let is_paid = !is_orphan && (account.lease() > 0 || account.is_borrowing() || job.below_tool);
        is_paid.then_some(Loan(job.root.0 as u64, job.root.1))
    }

    /// Who borrowed from a job that is over pays for itself from here on.
    pub(super) fn end_loans(&mut self, now: Moment) {
        let lent = self.regulator.accounts().iter().filter(|account| account.is_borrowing());
        let over = lent.filter(|account| {
            let Some(Loan(pid, start)) = account.terms().loan else { return true };
            // Seen by its word only: its job's process has no number here.
            pid != 0 && !ancestors::is_alive_since(Path::new(ancestors::PROC), pid as i32, start)
        });
        let over: Vec<ClientId> = over.map(|account| account.id()).collect();
        over.into_iter().for_each(|id| self.regulator.handle(now, Input::LoanOver(id)));
    }

    /// What the user should know.
    fn notices(&self, hello: &Hello) -> Vec<String> {
        let wishes = &hello.wishes;
        let says = !wishes.max.is_empty() || wishes.hold.is_some() || wishes.heartbeat_s.is_some();
        match self.kind {
            Kind::Service { .. } if says => vec![format!(
                "thresholds, --hold and --heartbeat are passed over: the gate at {} has its own (jobgate status)",
                self.socket.display()
            )],
            Kind::Service { .. } | Kind::OnDemand { .. } => Vec::new(),
        }
    }

    /// A claim counts up to what there is.
    fn believe(&self, claim: Claim) -> Claim {
        let jobs = self.regulator.settings().jobs.max(1);
        Claim {
            lease: claim.lease.min(jobs),
            allotment: claim.allotment.min(jobs),
            held: claim.held.min(MOST_JOBS),
            ..claim
        }
    }

    /// `jobgate set`.
    pub(super) fn take_set(&mut self, token: Token, set: BTreeMap<String, String>, now: Moment) {
        let Some(conn) = self.conns.get(&token) else { return };
        let uid = conn.peer.uid;
        if uid != 0 && uid != users::own_uid() {
            let why = format!("user {uid} may not change the gate: its owner and root may");
            return self.send(token, &Reply::Refused { why, request: true }, now);
        }
        if let Some(why) = set.iter().find_map(|(key, value)| settings::check(key, value).err()) {
            return self.send(token, &Reply::Refused { why, request: true }, now);
        }
        self.set.extend(set);
        self.apply_settings(now);
        let reply = Reply::Set { set: self.set.clone() };
        let clients: Vec<Token> = self
            .conns
            .iter()
            .filter(|(at, conn)| conn.id().is_some() || **at == token)
            .map(|(&at, _)| at)
            .collect();
        clients.into_iter().for_each(|at| self.send(at, &reply, now));
    }

    /// Makes the settings anew from all who have a say.
    pub(super) fn apply_settings(&mut self, now: Moment) {
        if now.since(self.cpus_seen) >= CPUS_LOOK {
            (self.cpus, self.cpus_seen) = (usable_cpus(), now);
        }
        let cpus = self.cpus;
        let base = match &self.kind {
            Kind::Service { base, .. } => base.layer.clone(),
            Kind::OnDemand { .. } => self.wishes_of_clients(cpus),
        };
        let set = settings::of_set(&self.set);
        let (mut settings, all, max_wait) = settings::resolve(cpus, &[&base, &set]);
        (self.all, self.max_wait) = (all, max_wait);
        let watched = PerResource::from_fn(|resource| settings.thresholds.get(resource).is_some());
        if watched != self.watched {
            self.watched = watched;
            self.pressure = None;
            if watched != PerResource::default() {
                match PressureFiles::open(&self.proc_root, watched) {
                    Ok(files) => self.pressure = Some(files),
                    Err(error) => say(&format!("no pressure to be had ({error}); the gate stays open")),
                }
            }
        }
        if self.pressure.is_none() {
            settings.thresholds = Default::default();
        }
        if let Kind::Service { base, .. } = &self.kind {
            self.regulator.set_quota(base.quota.clone(), base.quota_of_others);
        }
        if settings != *self.regulator.settings() {
            self.regulator.handle(now, Input::Settings(settings));
        }
    }

    /// Those of all who have a say: an `exec` wants no gate of a certain kind, and who runs inside a job of another
    /// doesn't make that one's gate larger.
    fn wishes_of_clients(&self, cpus: u32) -> Layer {
        let is_guest =
            |id: ClientId| self.regulator.account(id).is_some_and(|account| account.terms().loan.is_some());
        let clients = self.conns.values().filter_map(|conn| Some((conn.id()?, conn)));
        let mut clients: Vec<(ClientId, &Conn)> =
            clients.filter(|&(id, conn)| conn.hello.style != EXEC && !is_guest(id)).collect();
        clients.sort_by_key(|&(id, _)| id);
        let named = clients
            .iter()
            .map(|(_, conn)| (format!("{} (pid {})", conn.hello.label, pid_of(conn)), &*conn.hello));
        settings::of_clients(cpus, named)
    }
}

/// Who a client is, for people.
pub(super) fn describe(conn: &Conn, client: &mut ClientView) {
    client.pid = pid_of(conn);
    client.label = conn.hello.label.clone();
    client.style = conn.hello.style.clone();
}

fn pid_of(conn: &Conn) -> i32 {
    if conn.peer.pid > 0 { conn.peer.pid } else { conn.hello.pid }
}

/// A text of somebody else's, fit to be shown.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_LABEL).collect()
}
