//! The paid job in which a client was started, and when that is over.
//!
//! Doesn't know the settings. What a client says of processes counts only where the kernel bears it out: else it could
//! make itself the job around others' builds, or have a job pay for it that isn't its own.

use super::Server;
use super::conn::Conn;
use crate::policy::account::{Account, ClientId, Door, Loan, Terms};
use crate::policy::regulator::Input;
use crate::policy::time::Moment;
use crate::proto::ancestry::{Ancestor, job_root};
use crate::proto::wire::Hello;
use crate::sys::ancestors;
use crate::sys::socket::Peer;
use std::path::Path;
use std::time::Duration;

/// Whether the job that a client borrows its lease from still runs is looked at so often ...
pub const LOAN_LOOK: Duration = Duration::from_secs(1);

/// ... and sooner, where a client has left, but not more often than that: each look costs a reading for each borrower.
const SOON: Duration = Duration::from_millis(50);

/// A process whose descendants are a client's tree. Its start tells it from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    pid: i32,
    start: u64,
}

/// Whether the pids that a client speaks of are ours: not those of another pid namespace.
fn speaks_of_our_pids(hello: &Hello, peer: Peer) -> bool {
    peer.pid > 0 && hello.pid == peer.pid
}

impl Anchor {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl Server {
    /// Whose descendants are the client's tree: the process that has connected, and the one that it is bound to, each if
    /// it is the user's own. One that has ended since is none: its number may be another's by now.
    pub(super) fn anchors(&self, hello: &Hello, peer: Peer) -> Vec<Anchor> {
        let bound_to = hello.bound_to.filter(|&pid| self.may_name(pid, hello, peer));
        let own = Some(peer.pid).filter(|&pid| pid > 0 && ancestors::owner_of(pid) == Some(peer.uid));
        let anchor = |pid: i32| ancestors::start_of(pid).map(|start| Anchor { pid, start });
        own.into_iter().chain(bound_to).filter_map(anchor).collect()
    }

    /// Whether a client may speak of that process: it is its user's. Root may speak of any; who stands for many users, of
    /// none.
    fn may_name(&self, pid: i32, hello: &Hello, peer: Peer) -> bool {
        let is_own = || peer.uid == 0 || ancestors::owner_of(pid) == Some(peer.uid);
        speaks_of_our_pids(hello, peer) && !self.rulers.is_overflow(peer.uid) && is_own()
    }

    /// The paid job in which a client was started, by the processes that the kernel says it descends from; what it says
    /// itself counts only where they can't be seen.
    pub(super) fn job_around(&self, hello: &Hello, peer: Peer) -> Option<Loan> {
        if peer.pid <= 0 {
            return (hello.inside && self.may_be_inside(peer.uid)).then_some(Loan(0, self.next_id));
        }
        if self.conns.values().all(|conn| conn.anchors.is_empty()) {
            return None; // without a look
        }
        let lender = hello.lender.filter(|&pid| self.may_name(pid, hello, peer));
        let chain = ancestors::chain(Path::new(ancestors::PROC), lender.unwrap_or(peer.pid));
        let is_there = |anchor: &Anchor| {
            chain
                .iter()
                .any(|ancestor: &Ancestor| (ancestor.pid, ancestor.start) == (anchor.pid, anchor.start))
        };
        let conns = || self.conns.values();
        let anchors: Vec<i32> = conns()
            .flat_map(|conn| &conn.anchors)
            .filter(|anchor| is_there(anchor))
            .map(|at| at.pid)
            .collect();
        let job = job_root(&chain, &anchors)?;
        let pays = |conn: &Conn| {
            let Some(account) = conn.id().and_then(|id| self.regulator.account(id)) else { return false };
            // An orphan that its client has adopted: the job in which it was started is over, and pays for nothing.
            let is_orphan = !job.below_tool && conn.command.is_some_and(|command| command != job.root.0);
            !is_orphan && (account.lease() > 0 || account.is_borrowing() || job.below_tool)
        };
        let is_at = |conn: &&Conn| conn.anchors.iter().any(|at| at.pid == job.anchor && is_there(at));
        conns().filter(is_at).any(pays).then_some(Loan(job.root.0 as u64, job.root.1))
    }

    /// Whether a client comes while the clients of a gate that died come back in any order, and the one in whose job it is may
    /// not be there yet. Until all are, its word that it borrows counts.
    pub(super) fn came_early(&self, hello: &Hello, terms: &mut Terms, id: ClientId) -> bool {
        let is_early = terms.loan.is_none() && self.regulator.door() == Door::Recovering;
        if is_early && hello.claim.is_some_and(|claim| claim.borrowed) {
            terms.loan = Some(Loan(0, id));
        }
        is_early
    }

    /// All have come back: the jobs in which those are who came early are known.
    pub(super) fn place_early(&mut self, now: Moment) {
        if self.early.is_empty() || self.regulator.door() == Door::Recovering {
            return;
        }
        for id in std::mem::take(&mut self.early) {
            let Some(&token) = self.clients.get(&id) else { continue };
            let Some(conn) = self.conns.get(&token) else { continue };
            let loan = self.job_around(&conn.hello, conn.peer);
            self.note(now, Input::Placed(id, loan));
            if let Some(conn) = self.conns.get_mut(&token) {
                conn.is_guest = loan.is_some();
            }
        }
        self.apply_settings(now);
    }

    /// Whether a client whose process can't be seen may be believed that it runs inside a paid job: its user's others of
    /// the kind are charged for more than such jobs.
    fn may_be_inside(&self, uid: u32) -> bool {
        let unseen = self.conns.values().filter(|conn| conn.peer.uid == uid && conn.peer.pid <= 0);
        let accounts = unseen.filter_map(|conn| self.regulator.account(conn.id()?));
        let (inside, around): (Vec<&Account>, Vec<&Account>) =
            accounts.partition(|account| account.is_borrowing());
        around.iter().map(|account| account.charge()).sum::<u32>() > inside.len() as u32
    }

    /// A client's command was started: as this process, if that is its child. Said once.
    pub(super) fn note_command(&self, conn: &Conn, pid: i32) -> Option<i32> {
        let chain = ancestors::chain_to(Path::new(ancestors::PROC), pid, |ancestor| ancestor.pid != pid);
        let is_child = chain.get(1).is_some_and(|parent| parent.pid == conn.peer.pid);
        conn.command.or(Some(pid).filter(|_| speaks_of_our_pids(&conn.hello, conn.peer) && is_child))
    }

    /// When the jobs that lend are to be looked at.
    pub(super) fn loans_due(&self) -> Option<Moment> {
        let borrows = self.regulator.accounts().iter().any(Account::is_borrowing);
        borrows.then(|| self.loans_seen + if self.has_left { SOON } else { LOAN_LOOK })
    }

    /// Who borrowed from a job that is over pays for itself from here on.
    pub(super) fn end_loans(&mut self, now: Moment) {
        if self.loans_due().is_none_or(|due| due > now) {
            return;
        }
        (self.loans_seen, self.has_left) = (now, false);
        let lent = self.regulator.accounts().iter().filter(|account| account.is_borrowing());
        let over = lent.filter(|account| {
            let Some(Loan(pid, start)) = account.terms().loan else { return true };
            // Seen by its word only: its job's process has no number here.
            pid != 0 && !ancestors::is_alive_since(Path::new(ancestors::PROC), pid as i32, start)
        });
        let over: Vec<ClientId> = over.map(|account| account.id()).collect();
        over.into_iter().for_each(|id| self.note(now, Input::LoanOver(id)));
    }
}
