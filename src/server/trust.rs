//! What a client is believed: whose word settles things, and how far the others' goes.
//!
//! Doesn't know how it is asked. Who runs the gate is believed, and so is everybody at a gate of one's own, whose socket lets
//! nobody else in; a stranger's wish counts as far as it takes nothing from others.

use super::{Kind, Server};
use crate::policy::account::{Claim, WAIT_HELD};
use crate::proto::values::{MOST_JOBS, law_name};
use crate::proto::wire::{Hello, WishesSaid};
use crate::sys::socket::{self, Peer};
use crate::sys::users;
use std::os::fd::AsFd;
use std::time::Duration;

/// The largest weight of a stranger where the configuration doesn't say.
const WEIGHT: u32 = 1;

/// Whom the gate is for, and who may change it.
#[derive(Clone, Copy, Debug)]
pub struct Rulers {
    /// Who runs it.
    own: u32,
    /// The number of all whom our user namespace doesn't know.
    overflow: u32,
    /// It serves others, too.
    is_service: bool,
}

impl Rulers {
    /// Of this process.
    pub fn new(kind: &Kind) -> Rulers {
        let is_service = matches!(kind, Kind::Service { .. });
        Rulers { own: users::own_uid(), overflow: users::overflow_uid(), is_service }
    }

    /// Whether a user may do anything here. One of those whom our user namespace doesn't know may not, also where we have
    /// their number ourselves; only a gate of one's own is kept from them by its socket's mode.
    pub fn rules(&self, uid: u32) -> bool {
        (uid == 0 || uid == self.own) && !(self.is_service && self.is_overflow(uid))
    }

    /// Whether that uid stands for many users.
    pub fn is_overflow(&self, uid: u32) -> bool {
        uid == self.overflow
    }
}

impl Server {
    /// Whether a user may connect.
    pub(super) fn may_come(&self, peer: Peer, stream: &impl AsFd) -> bool {
        let Kind::Service { base, .. } = &self.kind else { return true };
        let is_open = base.users.is_empty() && base.groups.is_empty();
        if is_open || peer.uid == 0 || base.users.contains(&peer.uid) {
            return true;
        }
        // A group that our user namespace doesn't know is none that could be meant.
        let overflow = users::overflow_gid();
        let groups: Vec<u32> = base.groups.iter().copied().filter(|&gid| gid != overflow).collect();
        if groups.contains(&peer.gid) {
            return true;
        }
        match socket::peer_groups(stream) {
            Ok(Some(own)) => own.iter().any(|gid| groups.contains(gid)),
            Ok(None) => users::is_member(peer.uid, peer.gid, &groups),
            Err(error) => {
                log::warn!("the groups of a client of user {}: {error}", peer.uid);
                false
            }
        }
    }

    /// The most tokens that a user's clients may have together.
    pub(super) fn quota_of(&self, uid: u32) -> u32 {
        let jobs = self.regulator.settings().jobs;
        let Kind::Service { base, .. } = &self.kind else { return jobs };
        let named = base.quota.iter().find(|&&(user, _)| user == uid).map(|&(_, quota)| quota);
        named.or(base.quota_of_others).unwrap_or(jobs)
    }

    /// A client's share: a stranger's is bounded.
    pub(super) fn weight(&self, hello: &Hello, uid: u32) -> u32 {
        let weight = hello.weight.unwrap_or(1).clamp(1, MOST_JOBS);
        match &self.kind {
            Kind::Service { base, .. } if !self.rulers.rules(uid) => {
                weight.min(base.max_weight.unwrap_or(WEIGHT))
            }
            Kind::Service { .. } | Kind::OnDemand { .. } => weight,
        }
    }

    /// How long a client waits for its lease: a stranger not less than others. `None`: as the ledger has it.
    pub(super) fn max_wait(&self, hello: &Hello, uid: u32) -> Option<Duration> {
        let asked =
            hello.max_wait_s.filter(|seconds| (0.0..1e9).contains(seconds)).map(Duration::from_secs_f64);
        let usual = self.max_wait;
        if self.rulers.rules(uid) {
            return asked.or(usual);
        }
        // Zero is for ever.
        let least = usual.unwrap_or(WAIT_HELD);
        let longer = |asked: &Duration| asked.is_zero() || (!least.is_zero() && *asked >= least);
        asked.filter(longer).or(usual)
    }

    /// What the user should know.
    pub(super) fn notices(&self, hello: &Hello, uid: u32) -> Vec<String> {
        let Kind::Service { .. } = self.kind else { return Vec::new() };
        let mut notices = Vec::new();
        let at = self.socket.display();
        let WishesSaid {
            jobs: _,
            max,
            hold,
            heartbeat_s,
            law,
            min_available,
            max_load,
            scope,
            freeze_on_thrash,
        } = &hello.wishes;
        let other_law = law.clone().filter(|law| law != law_name(self.regulator.settings().law.kind));
        let texts = [hold, &other_law, min_available, scope];
        let numbers = [heartbeat_s, max_load];
        let says_one =
            texts.iter().any(|text| text.is_some()) || numbers.iter().any(|number| number.is_some());
        if !max.is_empty() || says_one || *freeze_on_thrash {
            notices.push(format!(
                "thresholds, --hold, --heartbeat and --law are passed over: the gate at {at} has its own (jobgate status)"
            ));
        }
        let weight = self.weight(hello, uid);
        if hello.weight.is_some_and(|asked| asked > weight) {
            notices.push(format!(
                "--weight counts as {weight}: more than that the gate at {at} gives to nobody"
            ));
        }
        let asked = hello.max_wait_s.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        if asked.is_some() && asked != self.max_wait(hello, uid) {
            notices.push(format!(
                "--max-wait is passed over: nobody waits less than others at the gate at {at}"
            ));
        }
        notices
    }

    /// A claim counts up to what there is. A stranger's never counts for more than that altogether; the ledger sees to it that it doesn't
    /// for more than the quota allows. It counts whenever it comes: whom job control had stopped when his server died
    /// comes late, and what his tree has he has.
    pub(super) fn believe(&self, claim: Claim, uid: u32) -> Claim {
        let jobs = self.regulator.settings().jobs.max(1);
        if !self.rulers.rules(uid) {
            return claim.within(jobs);
        }
        Claim {
            lease: claim.lease.min(jobs),
            allotment: claim.allotment.min(jobs),
            held: claim.held.min(MOST_JOBS),
            ..claim
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_owner_rule_and_nobody_who_is_unknown() {
        let (service, own) = (true, false);
        let rows = [
            (1000, service, 0, true),
            (1000, service, 1000, true),
            (1000, service, 1001, false),
            (0, service, 65_534, false),
            (65_534, service, 65_534, false),
            (65_534, service, 0, true),
            (65_534, own, 65_534, true),
        ];
        for (of, is_service, uid, rules) in rows {
            let rulers = Rulers { own: of, overflow: 65_534, is_service };
            assert_eq!(rulers.rules(uid), rules, "{uid} at the gate of {of}, a service: {is_service}");
        }
    }
}
