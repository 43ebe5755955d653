//! Many trees and a shared gate in virtual time: the real core, the proxies' rules of what they tell, and messages that take
//! their time, so that allotments and reports cross on the way.
//!
//! What holds for each single step of the core is asserted here; doesn't know what is played, nor what is to come of it.

pub mod tree;

use jobgate::policy::account::{Account, Claim, ClientId, Door, Lease, Loan, Terms};
use jobgate::policy::endpoint::Style;
use jobgate::policy::gate::{Hold, Threshold, Thresholds};
use jobgate::policy::law;
use jobgate::policy::ledger::Change;
use jobgate::policy::pressure::{Resource, Totals};
use jobgate::policy::reading::{CpuUse, Memory, Reading};
use jobgate::policy::regulator::{Action, Input, Regulator, Settings};
use jobgate::policy::time::Moment;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tree::Word2Server;
pub use tree::{Kind, Tree};

/// Above it the gate is held, in us per second.
pub const THRESHOLD: u32 = 100_000;

/// Where nobody runs, though somebody wants to and may, that has an end within so many ms: a lease that isn't used is
/// passed on, an offer that isn't taken outlives its patience, and what died with its holder is written off.
const STILL: u64 = 2_500;

/// As the server has it.
const RECOVERY: Duration = Duration::from_millis(250);
const LONGEST_RECOVERY: Duration = Duration::from_secs(2);

/// What is on its way to the server or from it: when it arrives.
enum Letter {
    Hello(ClientId, Terms, Option<Claim>),
    Word(ClientId, Word2Server),
    Bye(ClientId),
}

/// See the module. Time goes in steps of 1 ms.
pub struct World {
    /// ms since the start.
    pub now: u64,
    /// The core.
    pub regulator: Regulator,
    /// All trees.
    pub trees: Vec<Tree>,
    /// Pressure from now on, in us per second.
    pub pressure: u32,
    next_id: ClientId,
    up: BTreeMap<ClientId, VecDeque<(u64, Letter)>>,
    down: BTreeMap<ClientId, VecDeque<(u64, Change)>>,
    random: u64,
    total: u64,
    /// Since when nobody runs, though somebody wants to.
    still: Option<u64>,
    /// The most that one user may have.
    quota: Option<u32>,
    /// When each user last had as much as may be, however he came to it.
    full: [u64; 2],
    /// The limit is found by measurement.
    is_adaptive: bool,
    /// Jobs x ms that ran, up to four of them.
    busy: u64,
}

/// Plain terms: it waits for a lease.
pub fn terms() -> Terms {
    Terms {
        lease: Lease::Wait { min: 1, max: 1 },
        cap: 4096,
        weight: 1,
        max_wait: Some(Duration::ZERO),
        loan: None,
        idle: false,
        takes: true,
        uid: 0,
    }
}

/// An interactive shell's: it pays nothing, and nobody is there yet.
pub fn shell() -> Terms {
    Terms { lease: Lease::Nothing, idle: true, ..terms() }
}

/// Those of a tool that knows no jobserver.
pub fn exec(min: u32, max: u32) -> Terms {
    Terms { lease: Lease::Wait { min, max }, takes: false, idle: true, cap: max, ..terms() }
}

/// A gate's settings; the cpu's pressure is watched.
pub fn settings(jobs: u32, hold: Hold) -> Settings {
    let mut thresholds = Thresholds::default();
    thresholds.set(Resource::Cpu, Threshold::new(f64::from(THRESHOLD)).ok());
    Settings { thresholds, hold, ..Settings::new(jobs, 4) }
}

impl World {
    /// A gate of so many jobs.
    pub fn new(jobs: u32, seed: u64) -> World {
        World {
            now: 0,
            regulator: Regulator::new(settings(jobs, Hold::All), Moment::default()),
            trees: Vec::new(),
            pressure: 0,
            next_id: 1,
            up: BTreeMap::new(),
            down: BTreeMap::new(),
            random: seed | 1,
            total: 0,
            still: None,
            quota: None,
            full: [0; 2],
            is_adaptive: false,
            busy: 0,
        }
    }

    /// From here on the limit follows from what runs on four cpus and in 8 GiB, and from pressure.
    pub fn adapt(&mut self) {
        self.is_adaptive = true;
        self.set(self.regulator.settings().jobs, Hold::All);
    }

    /// No user may have more.
    pub fn set_quota(&mut self, quota: Option<u32>) {
        self.quota = quota;
        self.regulator.set_quota(Vec::new(), quota);
    }

    fn at(&self) -> Moment {
        Moment::at(Duration::from_millis(self.now))
    }

    fn roll(&mut self, sides: u64) -> u64 {
        roll(&mut self.random, sides)
    }

    /// Other settings.
    pub fn set(&mut self, jobs: u32, hold: Hold) {
        let kind = if self.is_adaptive { law::Kind::Adaptive } else { law::Kind::Fixed };
        let law = law::Terms { kind, reserve: None, freezes: false };
        self.feed(Input::Settings(Settings { law, ..settings(jobs, hold) }));
    }

    /// A tree comes.
    pub fn join(&mut self, kind: Kind, terms: Terms, demand: u32, job: u64) -> ClientId {
        let style = if kind == Kind::Make && self.roll(2) == 0 { Style::Pipe } else { Style::Fifo };
        let id = self.next_id;
        self.next_id += 1;
        let mut tree = Tree::new(id, kind, style, terms, self.now);
        (tree.demand, tree.job) = (demand, job);
        self.trees.push(tree);
        self.post(id, Letter::Hello(id, terms, None));
        id
    }

    /// A tree is gone, however: the end of its connection comes after all that it said.
    pub fn leave(&mut self, at: usize) {
        let tree = self.trees.remove(at);
        let id = tree.id;
        self.down.remove(&id);
        if tree.is_lost {
            return;
        }
        self.post(id, Letter::Bye(id));
    }

    /// Job control stops a tree, or lets it go on.
    pub fn stop(&mut self, at: usize, stopped: bool) {
        let (id, mut said) = (self.trees[at].id, Vec::new());
        self.trees[at].stop(stopped, self.now, |word| said.push(word));
        if self.trees[at].is_lost {
            if !stopped {
                self.rejoin(at);
            }
            return;
        }
        said.into_iter().for_each(|word| self.post(id, Letter::Word(id, word)));
    }

    /// The server dies with all that was on its way, and another one takes its place.
    pub fn restart(&mut self) {
        let now = self.at();
        self.regulator = Regulator::new(*self.regulator.settings(), now);
        self.regulator.set_quota(Vec::new(), self.quota);
        self.regulator.recover(now, RECOVERY, LONGEST_RECOVERY);
        self.up.clear();
        self.down.clear();
        self.still = None;
        for at in 0..self.trees.len() {
            if self.trees[at].stopped {
                self.trees[at].is_lost = true;
            } else {
                self.rejoin(at);
            }
        }
    }

    fn rejoin(&mut self, at: usize) {
        let id = self.next_id;
        self.next_id += 1;
        let claim = self.trees[at].renew(id, self.now);
        let terms = self.trees[at].terms;
        self.post(id, Letter::Hello(id, terms, claim));
    }

    /// The job that others borrow from is over.
    pub fn end_loan(&mut self, loan: Loan) {
        let borrows = |account: &&Account| account.is_borrowing() && account.terms().loan == Some(loan);
        let ids: Vec<ClientId> = self.regulator.accounts().iter().filter(borrows).map(Account::id).collect();
        for id in ids {
            self.feed(Input::LoanOver(id));
        }
    }

    /// One tree.
    pub fn tree(&self, id: ClientId) -> &Tree {
        self.trees.iter().find(|tree| tree.id == id).expect("it is there")
    }

    /// What runs, but for what job control has stopped.
    pub fn running(&self) -> u32 {
        self.trees.iter().filter(|tree| !tree.stopped).map(Tree::running).sum()
    }

    /// In order, each after the one before.
    fn post(&mut self, id: ClientId, letter: Letter) {
        let delay = self.roll(4);
        let queue = self.up.entry(id).or_default();
        let when = queue.back().map_or(0, |&(when, _)| when).max(self.now + delay);
        queue.push_back((when, letter));
    }

    /// Tells the core, and sees to it that it keeps its word. `None`: nothing but what was noted before.
    fn feed(&mut self, input: impl Into<Option<Input>>) {
        let input = input.into();
        let now = self.at();
        let before = self.regulator.charge();
        let of_users = [0, 1].map(|uid| self.charge_of(uid));
        let stopped: Vec<ClientId> = self
            .regulator
            .accounts()
            .iter()
            .filter(|account| account.is_stopped())
            .map(Account::id)
            .collect();
        match input {
            Some(input) => self.regulator.handle(now, input),
            None => self.regulator.settle(now),
        }
        let (changes, samples) = self.drain();
        let mut allowed = before + u32::from(matches!(input, Some(Input::LoanOver(_))));
        for account in self.regulator.accounts().iter().filter(|account| !account.is_stopped()) {
            let id = account.id();
            // Job control let it go on: it counts again, whatever the limit says. What it has from a server that died it has.
            let claims = matches!(input, Some(Input::Join(new, _, Some(_))) if new == id);
            if claims || stopped.contains(&id) {
                allowed += account.charge();
            }
        }
        if let Some(Input::Join(id, _, Some(claim))) = input {
            let account = self.regulator.account(id).expect("it is there");
            let claimed = claim.lease + claim.allotment.max(claim.held);
            if !account.is_stopped() && account.charge() < claimed {
                self.leave_unpaid(id);
            }
        }
        let (mut starts, mut granted) = (0, 0);
        for change in &changes {
            if let Change::Grant { id, tokens, borrowed } = *change {
                let account = self.regulator.account(id).expect("it is there");
                let Lease::Wait { min, max } = account.terms().lease else { panic!("it doesn't wait") };
                assert!((min..=max).contains(&tokens), "{tokens} tokens for {:?}", account.terms());
                granted += account.lease();
                if account.is_overdue() { allowed += tokens } else { starts += u32::from(!borrowed) }
            }
        }
        let (door, out) = (self.regulator.door(), self.regulator.out() - granted);
        if matches!(door, Door::Held | Door::StartsHeld) && starts > 0 {
            assert!(starts == 1 && out == 0, "{door:?}: {starts} leases, {out} are out");
        }
        let limit = if door == Door::Held { 1 } else { self.regulator.limit() };
        let charge = self.regulator.charge();
        assert!(
            charge <= limit.max(allowed),
            "{charge} of {limit}, {allowed} before: {input:?}, {}",
            self.picture()
        );
        for (uid, of_user) in of_users.into_iter().enumerate() {
            let most = self.quota.map_or(u32::MAX, |quota| quota.max(of_user + allowed - before));
            // However it came to that, and however it was before the quota: others needn't be careful of it.
            let most = most.min(self.quota.map_or(u32::MAX, |quota| (2 * quota).max(of_user)));
            assert!(self.charge_of(uid as u32) <= most, "{uid}: {most} at the most: {}", self.picture());
        }
        for change in changes {
            let (Change::Allot { id, .. } | Change::Grant { id, .. }) = change;
            if self.trees.iter().any(|tree| tree.id == id) {
                let delay = self.roll(4);
                let queue = self.down.entry(id).or_default();
                let when = queue.back().map_or(0, |&(when, _)| when).max(self.now + delay);
                queue.push_back((when, change));
            }
        }
        if samples {
            let reading = self.reading();
            self.feed(Input::Sample(reading));
        }
    }

    fn reading(&self) -> Reading {
        let mut totals = Totals::default();
        totals.set(Resource::Cpu, Some(self.total / 1000));
        let used = u64::from(self.running()) * 700;
        Reading {
            cpu: Some(CpuUse::Share { busy: self.busy, total: self.now * 4 }),
            running: Some(self.running() + 1),
            memory: Some(Memory { available: 8192u64.saturating_sub(used) << 20, total: 8 << 30 }),
            ..Reading::from(totals)
        }
    }

    /// Its user has as much beyond the quota as may be: what it has more than that counts nowhere.
    fn leave_unpaid(&mut self, id: ClientId) {
        assert!(self.quota.is_some(), "where there is no quota all is paid for: {}", self.picture());
        if let Some(tree) = self.trees.iter_mut().find(|tree| tree.id == id) {
            tree.is_unpaid = true;
        }
    }

    fn charge_of(&self, uid: u32) -> u32 {
        let own = self.regulator.accounts().iter().filter(|account| account.terms().uid == uid);
        own.map(Account::charge).sum()
    }

    fn drain(&mut self) -> (Vec<Change>, bool) {
        let (mut changes, mut samples) = (Vec::new(), false);
        while let Some(action) = self.regulator.poll() {
            match action {
                Action::Tell(change) => changes.push(change),
                Action::Sample => samples = true,
            }
        }
        (changes, samples)
    }

    /// A millisecond passes.
    pub fn step(&mut self) {
        self.now += 1;
        self.total += u64::from(self.pressure);
        self.busy += u64::from(self.running().min(4));
        self.receive();
        let mut wakes = 0;
        while self.regulator.deadline().is_some_and(|when| when <= self.at()) {
            self.feed(Input::Time);
            wakes += 1;
            assert!(wakes < 4, "it spins: {}", self.picture());
        }
        for at in 0..self.trees.len() {
            let (tree, mut said) = (&mut self.trees[at], Vec::new());
            while let Some(queue) = self.down.get_mut(&tree.id).filter(|_| !tree.is_frozen()) {
                if queue.front().is_none_or(|&(when, _)| when > self.now) {
                    break;
                }
                let (_, change) = queue.pop_front().expect("just seen");
                tree.take_in(change, |word| said.push(word));
            }
            let random = &mut self.random;
            tree.work(self.now, |sides| roll(random, sides));
            tree.serve(self.now, |word| said.push(word));
            let id = tree.id;
            said.into_iter().for_each(|word| self.post(id, Letter::Word(id, word)));
        }
        self.check();
    }

    fn receive(&mut self) {
        let ids: Vec<ClientId> = self.up.keys().copied().collect();
        let mut noted = false;
        for id in ids {
            while let Some(queue) = self.up.get_mut(&id) {
                if queue.front().is_none_or(|&(when, _)| when > self.now) {
                    break;
                }
                let (_, letter) = queue.pop_front().expect("just seen");
                match letter {
                    Letter::Hello(id, terms, claim) => self.feed(Input::Join(id, terms, claim)),
                    Letter::Word(id, Word2Server::Report(report)) => {
                        self.regulator.note(self.at(), Input::Report(id, report));
                        noted = true;
                    }
                    Letter::Word(id, Word2Server::Started) => self.feed(Input::Started(id)),
                    Letter::Word(id, Word2Server::Stop(true)) => self.feed(Input::Stopped(id)),
                    Letter::Word(id, Word2Server::Stop(false)) => self.feed(Input::Continued(id)),
                    Letter::Bye(id) => self.feed(Input::Leave(id)),
                }
            }
            if self.up.get(&id).is_some_and(VecDeque::is_empty) {
                self.up.remove(&id);
            }
        }
        // Reports that came together are judged together.
        if noted {
            self.feed(None);
        }
    }

    /// So many milliseconds pass.
    pub fn pass(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.step());
    }

    /// What holds at any moment.
    fn check(&mut self) {
        let mut unpaid = Vec::new();
        for tree in self.trees.iter_mut().filter(|tree| tree.borrowed) {
            // The job that it borrowed from is over, perhaps before it knew that it borrows: it pays for itself.
            if let Some(account) = self.regulator.account(tree.id).filter(|account| !account.is_borrowing()) {
                (tree.borrowed, tree.lease) = (false, tree.lease.map(|lease| lease + 1));
                if tree.lease.is_some_and(|lease| account.lease() < lease) {
                    unpaid.push(tree.id);
                }
            }
        }
        unpaid.into_iter().for_each(|id| self.leave_unpaid(id));
        for uid in 0..2 {
            if self.quota.is_some_and(|quota| self.charge_of(uid) + 1 > 2 * quota) {
                self.full[uid as usize] = self.now;
            }
        }
        for tree in &self.trees {
            // Conservation at the tree: all that was issued stands, is held, or died with its holder.
            if tree.kind != Kind::Exec {
                let issued = tree.endpoint.held() + tree.endpoint.standing();
                assert_eq!(issued, tree.standing + tree.held() + tree.dead, "{tree:?}");
            }
            let Some(account) = self.regulator.account(tree.id) else { continue };
            let paid = account.is_stopped() || tree.is_unpaid || tree.has() <= account.charge();
            assert!(paid, "{} ms: {tree:?} has more than {account:?}", self.now);
            let longest = tree.terms.max_wait.filter(|wait| !wait.is_zero() && !tree.stopped);
            if let (None, Some(longest)) = (tree.lease, longest) {
                // Behind its user's own builds, which were twice the quota, it went on.
                let due = tree.came + (longest + RECOVERY).as_millis() as u64;
                assert!(
                    self.now <= due.max(self.full[tree.terms.uid as usize]) + 10,
                    "a wait has an end: {tree:?}"
                );
            }
        }
        let borrows = |account: &&Account| account.is_borrowing();
        let mut loans: Vec<_> =
            self.regulator.accounts().iter().filter(borrows).map(|account| account.terms().loan).collect();
        while let Some(loan) = loans.pop() {
            assert!(!loans.contains(&loan), "a job lends once: {}", self.picture());
        }
        let can = |tree: &Tree| match tree.terms.lease {
            Lease::Wait { min, .. } => self.quota.is_none_or(|quota| min <= quota),
            Lease::Nothing | Lease::Counted => true,
        };
        let wants = |tree: &Tree| tree.is_hungry() || (tree.lease.is_none() && !tree.stopped && can(tree));
        let still = self.running() == 0 && self.trees.iter().any(wants);
        self.still = still.then(|| self.still.unwrap_or(self.now));
        let since = self.still.map_or(0, |since| self.now - since);
        assert!(since <= STILL, "{} ms: one job always runs: {}", self.now, self.picture());
    }

    /// How all stand, to be read where a promise is broken.
    pub fn picture(&self) -> String {
        let rows = self.trees.iter().map(|tree| {
            let account = self.regulator.account(tree.id);
            format!(
                "\n  demand {} lease {:?} held {} standing {} dead {} stopped {} {:?}\n    {account:?}",
                tree.demand,
                tree.lease,
                tree.held(),
                tree.standing,
                tree.dead,
                tree.stopped,
                tree.kind
            )
        });
        let (limit, door) = (self.regulator.limit(), self.regulator.door());
        format!("limit {limit} {door:?}{}", rows.collect::<String>())
    }
}

fn roll(random: &mut u64, sides: u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33) % sides
}
