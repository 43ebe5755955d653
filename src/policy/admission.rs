//! What a user's clients may have together, and who may be given a lease now: what the door and the quotas say.
//!
//! Doesn't know the limit or shares.

use super::account::{Account, Door};
use std::collections::BTreeMap;

/// The most tokens that all clients of one user may have together.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    of_users: Vec<(u32, u32)>,
    of_others: Option<u32>,
}

impl Quotas {
    /// By uid, and for all not named.
    pub(super) fn new(of_users: Vec<(u32, u32)>, of_others: Option<u32>) -> Quotas {
        Quotas { of_users, of_others }
    }

    /// A user's, if there is such a bound.
    pub(super) fn of(&self, uid: u32) -> Option<u32> {
        let named = self.of_users.iter().find(|(user, _)| *user == uid).map(|&(_, quota)| quota);
        named.or(self.of_others)
    }

    /// What a user may come to by what isn't asked of the limit: a wait that has ended, a job that pays no more, a tree
    /// that job control lets go on, a claim. As much again as the quota: who is truthful hardly gets there, and others
    /// needn't be careful of who isn't.
    fn ceiling(&self, uid: u32) -> u32 {
        self.of(uid).map_or(u32::MAX, |quota| quota.saturating_mul(2))
    }

    /// Nobody has one.
    pub(super) fn is_empty(&self) -> bool {
        self.of_users.is_empty() && self.of_others.is_none()
    }
}

/// What each user's clients are charged for.
#[derive(Debug)]
pub(super) struct Charges<'a> {
    quotas: &'a Quotas,
    of_users: BTreeMap<u32, u32>,
}

impl Charges<'_> {
    /// As things stand. Not looked at where there are no quotas.
    pub(super) fn of<'a>(accounts: &[Account], quotas: &'a Quotas) -> Charges<'a> {
        let mut of_users = BTreeMap::new();
        if !quotas.is_empty() {
            for account in accounts {
                *of_users.entry(account.terms.uid).or_default() += account.charge();
            }
        }
        Charges { quotas, of_users }
    }

    fn charge(&self, uid: u32) -> u32 {
        self.of_users.get(&uid).copied().unwrap_or(0)
    }

    /// One of the user's is charged for more.
    pub(super) fn add(&mut self, uid: u32, tokens: u32) {
        *self.of_users.entry(uid).or_default() += tokens;
    }

    /// What the user's may still be given; none: as much as there is.
    pub(super) fn room(&self, uid: u32) -> Option<u32> {
        self.quotas.of(uid).map(|quota| quota.saturating_sub(self.charge(uid)))
    }

    /// What the user's may still come to without being given it.
    pub(super) fn leeway(&self, uid: u32) -> u32 {
        self.quotas.ceiling(uid).saturating_sub(self.charge(uid))
    }
}

/// Which accounts: behind a held gate one, where nothing is out; of those who need several at once the first, that
/// gathers them; and nobody beyond its user's quota.
pub(super) fn admitted(accounts: &[Account], door: Door, quotas: &Quotas) -> Vec<bool> {
    let runs = |account: &Account| !account.stopped && account.lease + account.held > 0;
    let mut places = match door {
        Door::Open => usize::MAX,
        // What stands untaken isn't out: it is taken back for who waits.
        Door::Held | Door::StartsHeld => usize::from(!accounts.iter().any(runs)),
        Door::Recovering => 0,
    };
    let mut gathers = false;
    let mut leased = leases(accounts);
    let mut admit = |account: &Account| {
        // Who borrows is there on another's payment.
        let waits = account.wait.as_ref().filter(|_| !account.stopped && !account.borrowed);
        let Some(min) = waits.map(|wait| wait.min).or(account.queued.map(|_| 1)) else { return false };
        if waits.is_some() && (places == 0 || (gathers && account.gathers())) {
            return false;
        }
        let uid = account.terms.uid;
        if let Some(quota) = quotas.of(uid) {
            let leased = leased.entry(uid).or_default();
            if *leased + min > quota {
                return false;
            }
            *leased += min;
        }
        if waits.is_none() {
            return true; // who pays no lease: no place at the door is needed for what stands there untaken
        }
        places -= 1;
        gathers |= account.gathers();
        true
    };
    accounts.iter().map(&mut admit).collect()
}

/// Tokens leased, by user.
fn leases(accounts: &[Account]) -> BTreeMap<u32, u32> {
    let mut leases = BTreeMap::new();
    for account in accounts.iter().filter(|account| !account.stopped && account.lease > 0) {
        *leases.entry(account.terms.uid).or_default() += account.lease;
    }
    leases
}

/// Whose clients they are: the places of each user's, in order.
pub(super) fn by_user(accounts: &[Account]) -> BTreeMap<u32, Vec<usize>> {
    let mut users: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, account) in accounts.iter().enumerate() {
        users.entry(account.terms.uid).or_default().push(at);
    }
    users
}
