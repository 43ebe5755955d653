//! One client's account: what it pays for, what it may have, and how hungry it is.
//!
//! Doesn't know the limit or other clients; the ledger does.

use super::ledger::Change;
use super::share::Wanting;
use super::time::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// A client's number; numbers aren't given twice.
pub type ClientId = u64;

/// A client that left its last probe standing rests so long before the next; twice as long each time ...
const FIRST_REST: Duration = Duration::from_millis(100);

/// ... up to this.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// A wait for a lease ends after so long where the limit is used up, ...
const WAIT_FULL: Duration = Duration::from_secs(60);

/// ... and after so long where the gate is held.
pub const WAIT_HELD: Duration = Duration::from_secs(300);

/// A client that leaves so many allotments unanswered is told no more until it answers: what is kept for it is bounded.
const MOST_UNANSWERED: usize = 64;

/// What may be issued now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Everything.
    Open,
    /// No lease.
    StartsHeld,
    /// Nothing while anything is out.
    Held,
    /// Nothing at all: clients of a server that died first say what they hold.
    Recovering,
}

/// The job in which a client was started, told apart from others: whatever names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loan(pub u64, pub u64);

/// What a client pays before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Nothing.
    Nothing,
    /// One token, not waited for: a gate of one's own, or a slot that somebody else has paid for.
    Counted,
    /// At least `min` tokens, at most `max`.
    Wait {
        /// 1 or more.
        min: u32,
        /// `min` or more.
        max: u32,
    },
}

/// What a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it pays before it starts.
    pub lease: Lease,
    /// The most that it may have, its lease (a borrowed one, too) counted in; 1 or more.
    pub cap: u32,
    /// Its share beside others, 1 or more.
    pub weight: u32,
    /// When its wait ends; `None`: as the ledger has it; zero: never.
    pub max_wait: Option<Duration>,
    /// It runs inside this paid job.
    pub loan: Option<Loan>,
    /// Nobody is there yet who could take a token.
    pub idle: bool,
    /// It has an endpoint; else it has its lease and nothing more.
    pub takes: bool,
    /// Its user.
    pub uid: u32,
}

/// What a client has from a server that is gone. Figures are tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Leased.
    pub lease: u32,
    /// The lease is (in part) a borrowed one.
    pub borrowed: bool,
    /// The allotment in force.
    pub allotment: u32,
    /// Held.
    pub held: u32,
    /// Job control has stopped it.
    pub stopped: bool,
}

impl Claim {
    /// As far as so many tokens go: first the lease.
    #[must_use]
    pub fn within(self, tokens: u32) -> Claim {
        let lease = self.lease.min(tokens);
        let rest = tokens - lease;
        Claim { lease, allotment: self.allotment.min(rest), held: self.held.min(rest), ..self }
    }
}

/// How many tokens a tree could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appetite {
    /// It took all it was allotted.
    Full,
    /// It left some standing for its patience, and used so many meanwhile.
    Slack(u32),
}

/// How a client's endpoint stands. Figures are tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which allotment is in force, by the number that it was told with; 0: none yet, or that of a claim.
    pub serial: u64,
    /// Held.
    pub held: u32,
    /// What is new of its appetite.
    pub appetite: Option<Appetite>,
}

/// What a client could use, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hunger {
    /// All it can get.
    Hungry,
    /// No more than `need`; one more is tried from time to time, in case that has changed.
    Slack { need: u32, probing: bool, rest: Moment, backoff: Duration },
}

impl Hunger {
    fn resting(need: u32, until: Moment) -> Hunger {
        Hunger::Slack { need, probing: false, rest: until, backoff: FIRST_REST }
    }
}

/// A wait for a lease.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub(super) since: Moment,
    pub(super) min: u32,
    max: u32,
    max_wait: Option<Duration>,
    /// It has ended, but its user has as much beyond the quota as may be: it goes on until some of that is back.
    pub(super) goes_on: bool,
}

impl Wait {
    /// When the lease is granted above the limit.
    pub(super) fn ends(&self, door: Door) -> Option<Moment> {
        let usual = if door == Door::Open { WAIT_FULL } else { WAIT_HELD };
        match self.max_wait {
            Some(Duration::ZERO) => None,
            chosen => Some(self.since + chosen.unwrap_or(usual)),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Account {
    pub(super) id: ClientId,
    pub(super) terms: Terms,
    joined: Moment,
    pub(super) lease: u32,
    pub(super) borrowed: bool,
    pub(super) overdue: bool,
    pub(super) allotment: u32,
    /// The allotment that its proxy last said is in force.
    in_force: u32,
    /// Those that it was told since, by number: each may be in force by now.
    on_the_way: VecDeque<(u64, u32)>,
    serial: u64,
    pub(super) held: u32,
    hunger: Hunger,
    pub(super) stopped: bool,
    /// Job control lets it go on: it counts again as soon as its user may have so much.
    pub(super) resumes: bool,
    pub(super) wait: Option<Wait>,
    /// A lease was granted then, and it hasn't said that it uses it.
    pub(super) unconfirmed: Option<Moment>,
    /// What it was last told.
    pub(super) told: Option<(u32, bool)>,
    /// It pays no lease, has nothing and asks for something: since when.
    pub(super) queued: Option<Moment>,
    /// It was given its first token in its turn, and is asked whether it uses that: as much its own as another's lease.
    served: bool,
}

impl Account {
    pub(super) fn new(now: Moment, id: ClientId, terms: Terms, claim: Option<Claim>) -> Account {
        let claimed = claim.unwrap_or_default();
        let wait = match terms.lease {
            Lease::Wait { min, max } if claim.is_none() => {
                Some(Wait { since: now, min, max, max_wait: terms.max_wait, goes_on: false })
            }
            Lease::Wait { .. } | Lease::Counted | Lease::Nothing => None,
        };
        let counted = claim.is_none() && terms.lease == Lease::Counted;
        Account {
            id,
            terms,
            joined: now,
            lease: claimed.lease + u32::from(counted),
            borrowed: claimed.borrowed,
            overdue: false,
            allotment: claimed.allotment.max(claimed.held),
            in_force: claimed.allotment,
            on_the_way: VecDeque::new(),
            serial: 0,
            held: claimed.held,
            hunger: if terms.idle { Hunger::resting(0, now) } else { Hunger::Hungry },
            stopped: claimed.stopped,
            resumes: false,
            wait,
            unconfirmed: None,
            told: None,
            queued: None,
            served: false,
        }
    }

    pub(super) fn report(&mut self, now: Moment, report: Report) {
        // More than it was ever told to have it can't hold, whatever it says.
        let most = self.standing_charge();
        while let Some(&(serial, tokens)) =
            self.on_the_way.front().filter(|&&(serial, _)| serial <= report.serial)
        {
            debug_assert!(serial > 0);
            self.in_force = tokens;
            self.on_the_way.pop_front();
        }
        self.held = report.held.min(most);
        let Some(appetite) = report.appetite else { return };
        self.hunger = match (appetite, self.hunger) {
            // It uses again what it is known to need.
            (Appetite::Full, Hunger::Slack { need, .. }) if report.held <= need => self.hunger,
            (Appetite::Full, _) => Hunger::Hungry,
            (Appetite::Slack(need), Hunger::Hungry) => Hunger::resting(need, now + FIRST_REST),
            (Appetite::Slack(now_needs), Hunger::Slack { need, probing: true, backoff, .. })
                // What it was offered is more than it needs by now, whether it was told of that as news or had it before.
                if self.on_the_way.is_empty() && self.in_force > need.min(now_needs) =>
            {
                let backoff = if now_needs > need { FIRST_REST } else { (backoff * 2).min(LONGEST_REST) };
                Hunger::Slack { need: now_needs, probing: false, rest: now + backoff, backoff }
            }
            // Not an answer to a probe: none was made, or it hasn't got it yet.
            (Appetite::Slack(need), Hunger::Slack { probing, rest, backoff, .. }) => {
                Hunger::Slack { need, probing, rest, backoff }
            }
        };
    }

    /// Gives it its lease.
    pub(super) fn grant(&mut self, now: Moment, tokens: u32, borrowed: bool) -> Change {
        self.wait = None;
        self.lease = tokens - u32::from(borrowed);
        self.borrowed = borrowed;
        self.unconfirmed = Some(now);
        Change::Grant { id: self.id, tokens, borrowed }
    }

    /// What it pays for.
    pub fn charge(&self) -> u32 {
        if self.stopped { 0 } else { self.lease + self.allotment.max(self.standing_charge()) }
    }

    /// Job control lets it go on, and its user may come to so much more.
    pub(super) fn may_resume(&self, leeway: u32) -> bool {
        self.resumes && self.lease + self.standing_charge() <= leeway
    }

    /// It counts again, with what it has; more than that is given anew.
    pub(super) fn resume(&mut self) {
        (self.resumes, self.stopped) = (false, false);
        self.allotment = self.allotment.min(self.standing_charge());
    }

    /// What its tree has or could take at this moment, whatever it was told since.
    pub(super) fn standing_charge(&self) -> u32 {
        let told = self.on_the_way.iter().map(|&(_, tokens)| tokens).max().unwrap_or(0);
        self.in_force.max(told).max(self.held)
    }

    /// Tells it its allotment, if that is news; whether others wait is news to one who has something standing.
    pub(super) fn tell(&mut self, pressed: bool) -> Option<Change> {
        let tokens = self.allotment();
        let known = self.told.map(|(tokens, _)| tokens) == Some(tokens);
        let is_quiet = self.on_the_way.len() >= MOST_UNANSWERED;
        if self.told == Some((tokens, pressed)) || (known && !self.has_standing()) || is_quiet {
            return None;
        }
        self.told = Some((tokens, pressed));
        self.serial += 1;
        self.on_the_way.push_back((self.serial, tokens));
        Some(Change::Allot { id: self.id, tokens, serial: self.serial, pressed })
    }

    /// Something untaken is on its way back.
    pub(super) fn is_withdrawing(&self) -> bool {
        !self.stopped && self.standing_charge() > self.allotment.max(self.held)
    }

    pub(super) fn has_standing(&self) -> bool {
        self.allotment > self.held
    }

    /// It waits for several tokens at once.
    pub(super) fn gathers(&self) -> bool {
        !self.stopped && self.wait.as_ref().is_some_and(|wait| wait.min > 1)
    }

    /// Until when it isn't probed.
    pub(super) fn rests_until(&self) -> Option<Moment> {
        match self.hunger {
            Hunger::Slack { probing: false, rest, .. } if self.wait.is_none() => Some(rest),
            Hunger::Slack { .. } | Hunger::Hungry => None,
        }
    }

    /// Its rest may be over: then it is offered one more than it is known to need.
    pub(super) fn probe(&mut self, now: Moment) {
        if let Hunger::Slack { probing, rest, .. } = &mut self.hunger
            && !*probing
            && *rest <= now
        {
            *probing = true;
            // What it has already is an offer from here on: it is told so, or there would be no answer.
            self.told = None;
        }
    }

    /// Notes since when it has nothing: who pays no lease takes its turn among those who wait for theirs.
    pub(super) fn line_up(&mut self, now: Moment) {
        let asks = match self.hunger {
            Hunger::Hungry => true,
            Hunger::Slack { need, probing, .. } => need > 0 || probing,
        };
        let is_without = self.lease == 0 && !self.borrowed && self.wait.is_none() && self.charge() == 0;
        let lines_up = is_without && asks && !self.stopped && self.terms.takes;
        self.queued = if lines_up { self.queued.or(Some(now)) } else { None };
        self.served &= asks && self.charge() > 0;
    }

    /// Its turn has come.
    pub(super) fn serve(&mut self) {
        (self.queued, self.served, self.allotment) = (None, true, 1);
    }

    /// The most that it may be charged for.
    pub(super) fn most(&self) -> u32 {
        if self.stopped {
            0
        } else if self.terms.takes {
            self.lease.max(self.terms.cap.saturating_sub(u32::from(self.borrowed)))
        } else {
            self.lease
        }
    }

    /// What it asks for; `admitted`: it may be given a lease, or the first token of who pays none.
    pub(super) fn wanting(&self, admitted: bool) -> Wanting {
        let weight = self.terms.weight.max(1);
        let first = u32::from((self.queued.is_some() && admitted) || self.served);
        let (floor, most) = match (&self.wait, self.hunger) {
            _ if self.stopped => (0, 0),
            (Some(_), _) if !admitted && !self.borrowed => (0, 0),
            (Some(wait), _) => {
                let own = u32::from(self.borrowed);
                (wait.min.saturating_sub(own), wait.max.saturating_sub(own))
            }
            (None, Hunger::Hungry) => (self.lease.max(first), self.most().max(self.lease)),
            (None, Hunger::Slack { need, probing, .. }) => {
                let needs = self.lease.saturating_add(need).saturating_add(u32::from(probing));
                (self.lease.max(first), needs.min(self.most()))
            }
        };
        Wanting { floor, most: most.max(floor), weight }
    }

    /// The same within a quota: neither what it has nor what it needs at once can be divided.
    pub(super) fn bound(&self, wanting: Wanting) -> Wanting {
        Wanting {
            floor: if self.wait.is_some() || self.lease == 0 {
                wanting.floor
            } else {
                self.lease.min(wanting.most)
            },
            ..wanting
        }
    }

    /// Its number.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// What it is.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Tokens leased.
    pub fn lease(&self) -> u32 {
        self.lease
    }

    /// Whether it runs on the payment of the job that it was started in.
    pub fn is_borrowing(&self) -> bool {
        self.borrowed && self.wait.is_none()
    }

    /// Whether its lease was granted above the limit.
    pub fn is_overdue(&self) -> bool {
        self.overdue
    }

    /// Tokens that its tree may hold.
    pub fn allotment(&self) -> u32 {
        if self.stopped { 0 } else { self.allotment }
    }

    /// Tokens that it holds.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Held above the allotment.
    pub fn owed(&self) -> u32 {
        self.held.saturating_sub(self.allotment())
    }

    /// Whether job control has stopped it.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether it could use more than it has.
    pub fn is_hungry(&self) -> bool {
        self.wait.is_some() || (self.hunger == Hunger::Hungry && self.held >= self.allotment())
    }

    /// How many tokens it is known to need beside its lease; `None`: all that it can get.
    pub fn needs(&self) -> Option<u32> {
        match self.hunger {
            Hunger::Hungry => None,
            Hunger::Slack { need, .. } => Some(need),
        }
    }

    /// Since when it waits for its lease.
    pub fn waits_since(&self) -> Option<Moment> {
        self.wait.as_ref().map(|wait| wait.since)
    }

    /// When it came.
    pub fn joined(&self) -> Moment {
        self.joined
    }
}
