//! The ledger: what each client pays for, and what it may have of the limit.
//!
//! Doesn't know pressure, sockets or processes: it is told the limit, what may be issued, and how each client stands. A
//! gate of one's own has one client; a shared one has many.

use super::account::{Account, Claim, ClientId, Door, Lease, Loan, Report, Terms};
use super::admission::{Charges, Quotas, admitted, by_user};
use super::share::{Wanting, divide};
use super::time::Moment;
use std::collections::{BTreeMap, VecDeque};
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
    /// Tokens leased and takings seen since the start.
    issued: u64,
}

impl Ledger {
    /// Sets the most tokens that one user may have: by uid, and for all not named.
    pub fn set_quota(&mut self, of_users: Vec<(u32, u32)>, of_others: Option<u32>) {
        self.quotas = Quotas::new(of_users, of_others);
    }

    /// A client comes; `claim`: with what it has from a server that is gone. That counts as far as its user may have so
    /// much, and so does a lease that isn't waited for.
    pub fn join(&mut self, now: Moment, id: ClientId, mut terms: Terms, claim: Option<Claim>) {
        let leeway = Charges::of(&self.accounts, &self.quotas).leeway(terms.uid);
        if terms.lease == Lease::Counted && leeway == 0 {
            terms.lease = Lease::Nothing;
        }
        let is_unlent = |claim: Claim| claim.borrowed && (terms.loan.is_none() || self.is_lent(terms.loan));
        let is_late = claim.is_some_and(is_unlent);
        self.accounts.push(Account::new(now, id, terms, claim.map(|claim| claim.within(leeway))));
        if is_late {
            self.end_loan(id); // nobody lends to it, or somebody else borrows from that job by now
        }
    }

    /// A client is gone, and with it all it was charged for.
    pub fn leave(&mut self, id: ClientId) {
        self.accounts.retain(|account| account.id != id);
    }

    /// How a client stands.
    pub fn report(&mut self, now: Moment, id: ClientId, report: Report) {
        if let Some(account) = self.find(id) {
            let before = account.held;
            account.report(now, report);
            self.issued += u64::from(report.held.saturating_sub(before));
        }
    }

    /// A granted lease is in use.
    pub fn started(&mut self, id: ClientId) {
        if let Some(account) = self.find(id) {
            account.unconfirmed = None;
            account.resumes = account.stopped;
        }
    }

    /// Job control stopped a client's tree, or lets it go on: meanwhile it counts nothing.
    pub fn stop(&mut self, id: ClientId, stopped: bool) {
        if let Some(account) = self.find(id) {
            account.resumes = account.stopped && !stopped;
            account.stopped |= stopped;
        }
    }

    /// The job that a client borrowed its lease from is over: it runs on, and pays for itself, perhaps above the limit, but
    /// not above what its user may come to.
    pub fn end_loan(&mut self, id: ClientId) {
        let Some(uid) = self.find(id).map(|account| account.terms.uid) else { return };
        let may = Charges::of(&self.accounts, &self.quotas).leeway(uid) > 0;
        if let Some(account) = self.find(id).filter(|account| account.is_borrowing()) {
            account.borrowed = false;
            account.lease += u32::from(may);
        }
    }

    /// Where a client was started that came before those around it is known by now: in a job that lends, or in none.
    pub fn place(&mut self, id: ClientId, loan: Option<Loan>) {
        let is_taken = self.is_lent(loan);
        // Who gathers several doesn't borrow.
        let gathers = |account: &Account| account.wait.as_ref().is_some_and(|wait| wait.min > 1);
        let Some(account) = self.find(id).filter(|account| !gathers(account)) else { return };
        account.terms.loan = loan;
        if loan.is_none() || is_taken {
            self.end_loan(id);
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

    /// Tokens leased and takings seen since the start: each began a job, or did so that many at least.
    pub fn issued(&self) -> u64 {
        self.issued
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
            let wait = account.wait.as_ref().filter(|wait| !account.stopped && !wait.goes_on);
            [account.unconfirmed.map(|since| since + CONFIRM), rest, wait.and_then(|wait| wait.ends(door))]
        };
        let overdue = self.has_leeway().then(Moment::default);
        let turn = self.contended.then_some(self.turned + TURN);
        self.accounts.iter().flat_map(own).flatten().chain(turn).chain(overdue).min()
    }

    /// Somebody's user had as much as may be, and has less by now.
    fn has_leeway(&self) -> bool {
        let goes_on = |account: &Account| account.wait.as_ref().is_some_and(|wait| wait.goes_on);
        let mut held_up =
            self.accounts.iter().filter(|account| account.resumes || goes_on(account)).peekable();
        if held_up.peek().is_none() {
            return false;
        }
        let charges = Charges::of(&self.accounts, &self.quotas);
        held_up.any(|account| {
            let (leeway, wait) = (charges.leeway(account.terms.uid), account.wait.as_ref());
            account.may_resume(leeway)
                || wait.is_some_and(|wait| !account.stopped && wait.goes_on && wait.min <= leeway)
        })
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
        let leased =
            |grant: &Change| if let Change::Grant { tokens, .. } = grant { u64::from(*tokens) } else { 0 };
        self.issued += self.grants.iter().map(leased).sum::<u64>();
        self.changes.extend(self.grants.drain(..));
    }

    fn move_tokens(&mut self, now: Moment, limit: u32, door: Door) {
        let plan = self.plan(now, limit, door);
        self.lower(limit, &plan);
        self.raise(now, limit, &plan);
    }

    /// What time alone brings about.
    fn expire(&mut self, now: Moment, door: Door) {
        let mut charges = Charges::of(&self.accounts, &self.quotas);
        for account in &mut self.accounts {
            if account.unconfirmed.is_some_and(|since| now.since(since) >= CONFIRM) {
                account.unconfirmed = None;
                account.stopped = true;
            }
            if account.may_resume(charges.leeway(account.terms.uid)) {
                account.resume();
                charges.add(account.terms.uid, account.charge());
            }
            let stopped = account.stopped;
            let Some(wait) = account.wait.as_mut().filter(|_| !stopped) else { continue };
            if wait.ends(door).is_some_and(|ends| ends <= now) {
                let tokens = wait.min;
                wait.goes_on = tokens > charges.leeway(account.terms.uid);
                if !wait.goes_on {
                    self.grants.push(account.grant(now, tokens, false));
                    account.overdue = true;
                    charges.add(account.terms.uid, tokens);
                }
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
        for account in &mut self.accounts {
            if self.contended {
                account.probe(now);
            }
            account.line_up(now);
        }
        let admitted = admitted(&self.accounts, door, &self.quotas);
        let wanting = |(account, admitted): (&Account, bool)| account.wanting(admitted);
        let mut wanting = self.within_quota(self.accounts.iter().zip(admitted).map(wanting).collect());
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
        for (uid, own) in by_user(&self.accounts) {
            let Some(quota) = self.quotas.of(uid) else { continue };
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
        // What all would have with all that they ask for, and each user's clients.
        let mut asked = 0;
        let mut of_users: BTreeMap<u32, u64> = BTreeMap::new();
        for (account, &needed) in self.accounts.iter().zip(&plan.needed) {
            let tokens = u64::from(needed.max(account.charge()));
            asked += tokens;
            *of_users.entry(account.terms.uid).or_default() += tokens;
        }
        let is_short = asked > u64::from(limit);
        let lowers = |account: &Account| {
            let uid = account.terms.uid;
            let is_users = |quota: u32| of_users[&uid] > u64::from(quota);
            is_short || self.quotas.of(uid).is_some_and(is_users)
        };
        let lowers: Vec<bool> = self.accounts.iter().map(lowers).collect();
        for ((account, &target), lowers) in self.accounts.iter_mut().zip(&plan.targets).zip(lowers) {
            if lowers {
                account.allotment = account.allotment.min(target.saturating_sub(account.lease));
            }
        }
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
        let waiting = self.waiting(plan);
        let mut charges = Charges::of(&self.accounts, &self.quotas);
        for i in waiting {
            let account = &mut self.accounts[i];
            let uid = account.terms.uid;
            let here = charges.room(uid).unwrap_or(room).min(room);
            let Some(wait) = &account.wait else {
                if charges.room(uid) == Some(0) {
                    continue; // it waits for its own user's
                }
                if here > 0 {
                    account.serve();
                    charges.add(uid, 1);
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
                charges.add(uid, best);
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
        if self.quotas.is_empty() {
            return goals;
        }
        let charges = Charges::of(&self.accounts, &self.quotas);
        for (uid, own) in by_user(&self.accounts) {
            let Some(room) = charges.room(uid) else { continue };
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
