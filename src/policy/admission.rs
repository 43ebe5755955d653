//! Who may be given a lease now, as far as there is room: what the door and the quotas say.
//!
//! Doesn't know the limit or shares.

use super::account::{Account, Door};

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

    /// Nobody has one.
    pub(super) fn is_empty(&self) -> bool {
        self.of_users.is_empty() && self.of_others.is_none()
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
    let mut leased: Vec<(u32, u32)> = Vec::new(); // by whom
    let mut admit = |account: &Account| {
        // Who borrows is there on another's payment.
        let waits = account.wait.as_ref().filter(|_| !account.stopped && !account.borrowed);
        let Some(wait) = waits else { return false };
        if places == 0 || (gathers && account.gathers()) {
            return false;
        }
        let uid = account.terms.uid;
        if let Some(quota) = quotas.of(uid) {
            let at = leased.iter().position(|&(user, _)| user == uid).unwrap_or_else(|| {
                leased.push((uid, leased_by(accounts, uid)));
                leased.len() - 1
            });
            if leased[at].1 + wait.min > quota {
                return false;
            }
            leased[at].1 += wait.min;
        }
        places -= 1;
        gathers |= account.gathers();
        true
    };
    accounts.iter().map(&mut admit).collect()
}

fn leased_by(accounts: &[Account], uid: u32) -> u32 {
    let own = accounts.iter().filter(|account| account.terms.uid == uid && !account.stopped);
    own.map(|account| account.lease).sum()
}
