//! The ledger: what each client pays for, and what it may have of the limit.
//!
//! Doesn't know pressure, sockets or processes: it is told the limit, what may be issued, and how each client stands. A
//! gate of one's own has one client; a shared one has many.

use super::account::{Account, Claim, ClientId, Door, Loan, Report, Terms};
use super::admission::{Quotas, admitted};
use super::share::{Wanting, divide};
use super::time::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// A lease whose client hasn't said that it uses it after so long isn't charged: job control has stopped that client.
const CONFIRM: Duration = Duration::from_millis(250);

/// What can't be divided evenly goes to others so often.
const TURN: Duration = Duration::from_secs(1);

/// Something that a client is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its tree may hold so many tokens; `pressed`: others wait for what it leaves standing.
    Allot {
        /// Who.
        id: ClientId,
        /// Tokens.
        tokens: u32,
        /// The number that its report is to name once this is in force.
        serial: u64,
        /// Whether others wait.
        pressed: bool,
    },
    /// Its lease is there.
    Grant {
        /// Who.
        id: ClientId,
        /// Tokens, a borrowed one counted in.
        tokens: u32,
        /// One of them is lent by the job that it was started in.
        borrowed: bool,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Vec<Account>,
    changes: VecDeque<Change>,
    /// Leases that were granted and aren't told yet.
    grants: Vec<Change>,
    /// Somebody wants more than there is, and others have some of it.
    contended: bool,
    turn: usize,
    turned: Moment,
    quotas: Quotas,
}

impl Ledger {
    /// Sets the most tokens that one user may have: by uid, and for all not named.
    pub fn set_quota(&mut self, of_users: Vec<(u32, u32)>, of_others: Option<u32>) {
        self.quotas = Quotas::new(of_users, of_others);
    }

    /// A client comes; `claim`: with what it has from a server that is gone.
    pub fn join(&mut self, now: Moment, id: ClientId, terms: Terms, claim: Option<Claim>) {
        let is_late = claim.is_some_and(|claim| claim.borrowed) && self.is_lent(terms.loan);
        self.accounts.push(Account::new(now, id, terms, claim));
        if is_late {
            self.end_loan(id); // somebody else borrows from that job by now
        }
    }

    /// A client is gone, and with it all it was charged for.
    pub fn leave(&mut self, id: ClientId) {
        self.accounts.retain(|account| account.id != id);
    }

    /// How a client stands.
    pub fn report(&mut self, now: Moment, id: ClientId, report: Report) {
        if let Some(account) = self.find(id) {
            account.report(now, report);
        }
    }

    /// A granted lease is in use.
    pub fn started(&mut self, id: ClientId) {
        if let Some(account) = self.find(id) {
            account.unconfirmed = None;
            account.stopped = false;
        }
    }

    /// Job control stopped a client's tree, or lets it go on: meanwhile it counts nothing.
    pub fn stop(&mut self, id: ClientId, stopped: bool) {
        if let Some(account) = self.find(id) {
            account.stopped = stopped;
        }
    }

    /// The job that a client borrowed its lease from is over: it runs on, and pays for itself, perhaps above the limit.
    pub fn end_loan(&mut self, id: ClientId) {
        if let Some(account) = self.find(id).filter(|account| account.is_borrowing()) {
            account.borrowed = false;
            account.lease += 1;
        }
    }

    /// For `gap` nobody was told anything, nor could say anything: it counts as no time.
    pub fn stand_still(&mut self, gap: Duration) {
        for account in &mut self.accounts {
            account.unconfirmed = account.unconfirmed.map(|since| since + gap);
            if let Some(wait) = &mut account.wait {
                wait.since = wait.since + gap;
            }
        }
    }

    fn find(&mut self, id: ClientId) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.id == id)
    }

    /// All accounts, in the order they came.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Tokens out: leases and what is held. Each stands for a job that may run.
    pub fn out(&self) -> u32 {
        self.accounts
            .iter()
            .filter(|account| !account.stopped)
            .map(|account| account.lease + account.held)
            .sum()
    }

    /// Tokens held.
    pub fn held(&self) -> u32 {
        self.accounts.iter().map(|account| account.held).sum()
    }

    /// What all pay for.
    pub fn charge(&self) -> u32 {
        self.accounts.iter().map(Account::charge).sum()
    }

    /// Whether anybody waits for a lease.
    pub fn is_waited_for(&self) -> bool {
        self.accounts.iter().any(|account| account.wait.is_some() && !account.stopped)
    }

    /// What a client is to be told next.
    pub fn poll(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// When `settle` is due by time alone.
    pub fn deadline(&self, door: Door) -> Option<Moment> {
        if door == Door::Recovering {
            return None;
        }
        let own = |account: &Account| {
            let rest = account.rests_until().filter(|_| self.contended && !account.stopped);
            let wait = account.wait.as_ref().filter(|_| !account.stopped);
            [account.unconfirmed.map(|since| since + CONFIRM), rest, wait.and_then(|wait| wait.ends(door))]
        };
        let turn = self.contended.then_some(self.turned + TURN);
        self.accounts.iter().flat_map(own).flatten().chain(turn).min()
    }

    /// Brings every allotment and every lease in line with the limit and with what is known of the clients.
    ///
    /// A lease or an allotment is raised only while what all pay for is below the limit (overdue leases are the one
    /// exception); behind a held gate only while nothing is charged at all, so that one job always runs.
    pub fn settle(&mut self, now: Moment, limit: u32, door: Door) {
        if door == Door::Recovering {
            return;
        }
        self.expire(now, door);
        self.lend();
        let limit = if door == Door::Held { 1 } else { limit };
        self.move_tokens(now, limit, door);
        if !self.grants.is_empty() {
            // Who has just got its lease has a share of the rest, too, and is told of it first: its tools look for tokens
            // as soon as they are started.
            self.move_tokens(now, limit, door);
        }
        self.tell();
        self.changes.extend(self.grants.drain(..));
    }

    fn move_tokens(&mut self, now: Moment, limit: u32, door: Door) {
        let plan = self.plan(now, limit, door);
        self.lower(limit, &plan);
        self.raise(now, limit, &plan);
    }

    /// What time alone brings about.
    fn expire(&mut self, now: Moment, door: Door) {
        for account in &mut self.accounts {
            if account.unconfirmed.is_some_and(|since| now.since(since) >= CONFIRM) {
                account.unconfirmed = None;
                account.stopped = true;
            }
            let ends = account.wait.as_ref().and_then(|wait| wait.ends(door));
            if !account.stopped && ends.is_some_and(|ends| ends <= now) {
                let tokens = account.wait.as_ref().map_or(1, |wait| wait.min);
                self.grants.push(account.grant(now, tokens, false));
                account.overdue = true;
            }
        }
        if self.contended && now.since(self.turned) >= TURN {
            self.turn += 1;
            self.turned = now;
        }
    }

    /// A job pays for one tool that is started in it, at a time: the first that asks there.
    fn lend(&mut self) {
        for i in 0..self.accounts.len() {
            let account = &self.accounts[i];
            let (Some(_), Some(_), false) = (account.terms.loan, &account.wait, account.stopped) else {
                continue;
            };
            if !self.is_lent(account.terms.loan) {
                self.accounts[i].borrowed = true;
            }
        }
    }

    /// Somebody borrows from that job.
    fn is_lent(&self, loan: Option<Loan>) -> bool {
        loan.is_some() && self.accounts.iter().any(|other| other.borrowed && other.terms.loan == loan)
    }

    /// How many tokens everybody should have, its lease counted in, and who waits in vain for now.
    fn plan(&mut self, now: Moment, limit: u32, door: Door) -> Plan {
        let admitted = admitted(&self.accounts, door, &self.quotas);
        let mut wanting: Vec<Wanting> = Vec::with_capacity(self.accounts.len());
        for (account, admitted) in self.accounts.iter_mut().zip(admitted) {
            if self.contended {
                account.probe(now);
            }
            account.line_up(now);
            wanting.push(account.wanting(admitted));
        }
        let mut wanting = self.within_quota(wanting);
        let needed = divide(&wanting, limit, self.turn);
        let asked = wanting.iter().zip(&needed).any(|(wanting, &part)| part < wanting.most);
        // With what nobody needs everybody has more than it asked for, so that it needn't ask.
        for ((wanting, &part), account) in wanting.iter_mut().zip(&needed).zip(&self.accounts) {
            wanting.floor = part;
            wanting.most = if account.wait.is_some() { part } else { account.most().max(part) };
        }
        let wanting = self.within_quota(wanting);
        let targets = divide(&wanting, limit, self.turn);
        // Who rests and has nothing to spare can't show that it needs more by now: it is probed, too. What it should have may
        // stand with others.
        let is_cramped = |((account, &target), &need): ((&Account, &u32), &u32)| {
            let has = target.min(account.charge());
            account.rests_until().is_some() && has <= need && has < account.most()
        };
        let cramped = self.accounts.iter().zip(&targets).zip(&needed).any(is_cramped);
        let is_shared = self.accounts.iter().filter(|account| !account.stopped).count() > 1;
        self.contended = is_shared && (asked || cramped);
        Plan { needed, targets }
    }

    /// Bounds what the clients of one user want by that user's quota, fairly among them.
    fn within_quota(&self, mut wanting: Vec<Wanting>) -> Vec<Wanting> {
        if self.quotas.is_empty() {
            return wanting;
        }
        let mut users: Vec<u32> = self.accounts.iter().map(|account| account.terms.uid).collect();
        users.sort_unstable();
        users.dedup();
        for uid in users {
            let Some(quota) = self.quotas.of(uid) else { continue };
            let own: Vec<usize> = (0..wanting.len()).filter(|&i| self.accounts[i].terms.uid == uid).collect();
            let group: Vec<Wanting> = own.iter().map(|&i| self.accounts[i].bound(wanting[i])).collect();
            for (&i, most) in own.iter().zip(divide(&group, quota, self.turn)) {
                wanting[i].most = most;
                wanting[i].floor = wanting[i].floor.min(most);
            }
        }
        wanting
    }

    /// Takes back what others need: never more than leaves a client its part.
    fn lower(&mut self, limit: u32, plan: &Plan) {
        // What these would have with all that they ask for.
        let asked = |of: &dyn Fn(&Account) -> bool| -> u64 {
            let those = self.accounts.iter().zip(&plan.needed).filter(|(account, _)| of(account));
            those.map(|(account, &needed)| u64::from(needed.max(account.charge()))).sum()
        };
        let is_short = asked(&|_| true) > u64::from(limit);
        let lowers = |account: &Account| {
            let uid = account.terms.uid;
            let is_users = |quota: u32| asked(&|other| other.terms.uid == uid) > u64::from(quota);
            is_short || self.quotas.of(uid).is_some_and(is_users)
        };
        let lowers: Vec<bool> = self.accounts.iter().map(lowers).collect();
        for ((account, &target), lowers) in self.accounts.iter_mut().zip(&plan.targets).zip(lowers) {
            if lowers {
                account.allotment = account.allotment.min(target.saturating_sub(account.lease));
            }
        }
    }

    /// What a user's clients may still be given; none: as much as there is.
    fn room_of(&self, uid: u32) -> Option<u32> {
        let own = self.accounts.iter().filter(|account| account.terms.uid == uid);
        Some(self.quotas.of(uid)?.saturating_sub(own.map(Account::charge).sum()))
    }

    /// Issues what is free: to the client that has least of its share.
    fn raise(&mut self, now: Moment, limit: u32, plan: &Plan) {
        for (account, &target) in self.accounts.iter_mut().zip(&plan.targets) {
            // What is out anyway may as well stay: old debts are void where the plan allows.
            let out = account.standing_charge().min(target.saturating_sub(account.lease));
            account.allotment = account.allotment.max(out);
        }
        let in_flight = self.accounts.iter().any(Account::is_withdrawing);
        let mut room = limit.saturating_sub(self.charge());
        for i in self.waiting(plan) {
            let here = self.room_of(self.accounts[i].terms.uid).unwrap_or(room).min(room);
            let account = &mut self.accounts[i];
            let Some(wait) = &account.wait else {
                if here > 0 {
                    account.serve();
                }
                room = room.saturating_sub(1); // kept for it where there is none
                continue;
            };
            let own = u32::from(account.borrowed);
            let (least, most) = (wait.min.saturating_sub(own), plan.targets[i]);
            let best = if most <= here { most } else { here.max(least) };
            // What is on its way back will be there in a moment.
            let is_worth_a_moment = in_flight && best < most;
            // More than the limit has become: it has all of that, and is overdue with the rest.
            if least.min(limit) <= here && !is_worth_a_moment {
                room = room.saturating_sub(best);
                self.grants.push(account.grant(now, best + own, account.borrowed));
                account.overdue |= best > limit;
            } else {
                room = room.saturating_sub(least); // kept for it
            }
        }
        self.raise_allotments(room, plan);
    }

    /// Who has nothing and may have its first token now, a lease mostly, in the order they came; borrowers first, for they cost
    /// nothing.
    fn waiting(&self, plan: &Plan) -> Vec<usize> {
        let since = |i: usize| self.accounts[i].waits_since().or(self.accounts[i].queued);
        let may = |i: &usize| {
            let account = &self.accounts[*i];
            let free = account.borrowed || plan.targets[*i] > 0;
            since(*i).is_some() && !account.stopped && free
        };
        let mut waiting: Vec<usize> = (0..self.accounts.len()).filter(may).collect();
        waiting.sort_by_key(|&i| (!self.accounts[i].borrowed, since(i), self.accounts[i].wait.is_none()));
        waiting
    }

    /// Fills up from below: first what is asked for, then what is left over.
    fn raise_allotments(&mut self, mut room: u32, plan: &Plan) {
        for goals in [&plan.needed, &plan.targets] {
            let goal = |(account, &goal): (&Account, &u32)| {
                let (charge, may) = (account.charge(), account.wait.is_none() && !account.stopped);
                let most = if may { goal.max(charge) } else { charge };
                Wanting { floor: charge, most, weight: account.terms.weight.max(1) }
            };
            let goals: Vec<Wanting> = self.accounts.iter().zip(goals).map(goal).collect();
            let goals = self.within_room(goals);
            if goals.iter().all(|goal| goal.most == goal.floor) {
                continue;
            }
            let charged: u32 = goals.iter().map(|goal| goal.floor).sum();
            let parts = divide(&goals, charged + room, self.turn);
            for ((account, goal), part) in self.accounts.iter_mut().zip(&goals).zip(parts) {
                // What is still on its way back was dealt with before: here each token raises the charge.
                account.allotment += part - goal.floor;
                room -= part - goal.floor;
            }
        }
    }

    /// Bounds what the clients of one user are given to what that user's quota leaves, fairly among them.
    fn within_room(&self, mut goals: Vec<Wanting>) -> Vec<Wanting> {
        for i in 0..goals.len() {
            let uid = self.accounts[i].terms.uid;
            let is_first = self.accounts[..i].iter().all(|account| account.terms.uid != uid);
            let Some(room) = self.room_of(uid).filter(|_| is_first) else { continue };
            let own: Vec<usize> = (i..goals.len()).filter(|&at| self.accounts[at].terms.uid == uid).collect();
            let group: Vec<Wanting> = own.iter().map(|&at| goals[at]).collect();
            let charged: u32 = group.iter().map(|goal| goal.floor).sum();
            for (at, part) in own.into_iter().zip(divide(&group, charged + room, self.turn)) {
                goals[at].most = part;
            }
        }
        goals
    }

    fn tell(&mut self) {
        for account in &mut self.accounts {
            self.changes.extend(account.tell(self.contended));
        }
    }
}

/// What everybody should have, leases counted in.
struct Plan {
    /// What is asked for, as far as it is there.
    needed: Vec<u32>,
    /// With what is left over.
    targets: Vec<u32>,
}

#[cfg(test)]
mod tests;
