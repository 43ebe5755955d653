//! Who comes: what a client is taken for, and what its coming, going and wishes do to the settings.
//!
//! Doesn't move tokens.

use super::conn::{Conn, State};
use super::settings::{self, Layer};
use super::{Kind, Server};
use crate::policy::account::{Claim, ClientId, Lease, Terms};
use crate::policy::pressure::Resource;
use crate::policy::regulator::{Input, Wants};
use crate::policy::time::Moment;
use crate::proto::values::{self, MOST_JOBS, reserve_text};
use crate::proto::wire::{EXEC, HELD, Hello, LeaseAsked, PROTOCOL, Reply, Welcome, WishesSaid, is_spoken};
use crate::sys::machine::Machine;
use crate::sys::proc::usable_cpus;
use crate::sys::say::say;
use crate::sys::socket::Peer;
use mio::Token;
use std::collections::BTreeMap;
use std::time::Duration;

/// Labels are cut there.
const LONGEST_LABEL: usize = 60;

/// ... and styles, which are words of ours.
const LONGEST_STYLE: usize = 8;

/// The usable cpus are looked up so often at the most: it takes twenty system calls, and clients come in swarms.
const CPUS_LOOK: Duration = Duration::from_secs(1);

impl Server {
    /// Answers a hello.
    pub(super) fn welcome(&mut self, token: Token, hello: &Hello, now: Moment) {
        let Some(conn) = self.conns.get_mut(&token) else { return };
        let peer = conn.peer;
        if let Some(why) = conn.refusal.take() {
            return self.refuse(token, Reply::Refused { why, request: false }, now);
        }
        if let Err(why) = self.admit(token, hello, peer) {
            return self.refuse(token, Reply::Refused { why, request: false }, now);
        }
        let mut terms = match self.terms(hello, peer) {
            Ok(terms) => terms,
            Err(why) => return self.refuse(token, Reply::Refused { why, request: true }, now),
        };
        let id = self.next_id;
        self.next_id += 1;
        let is_early = !hello.asks_only && self.came_early(hello, &mut terms, id);
        let notices = self.notices(hello, peer.uid);
        let jobs = self.regulator.settings().jobs;
        if matches!(self.kind, Kind::OnDemand { .. }) && self.rulers.rules(peer.uid) {
            let good = hello.set.iter().filter(|(key, value)| settings::check(key, value).is_ok());
            for (key, value) in good {
                self.set.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let anchors = if hello.asks_only { Vec::new() } else { self.anchors(hello, peer) };
        let Some(conn) = self.conns.get_mut(&token) else { return };
        conn.state = if hello.asks_only { State::Asker } else { State::Client(id) };
        *conn.hello = kept(hello);
        conn.anchors = anchors;
        conn.is_guest = terms.loan.is_some();
        let welcome = Reply::Welcome(Welcome { protocol: PROTOCOL.to_owned(), id, notices, jobs });
        self.send(token, &welcome);
        if !hello.asks_only {
            self.clients.insert(id, token);
            self.early.extend(is_early.then_some(id));
            self.expect_sizes(now);
            self.join(id, terms, hello.claim.map(Claim::from), now);
            self.tell_what_was_set(token);
        }
    }

    /// The next server of a gate that is its clients' is told by them what was `set`, who came later as well.
    fn tell_what_was_set(&mut self, token: Token) {
        if matches!(self.kind, Kind::OnDemand { .. }) && !self.set.is_empty() {
            let reply = Reply::Set { set: self.set.clone() };
            self.send(token, &reply);
        }
    }

    /// The settings come first where it has a say: what it is granted by them must not be more than they allow.
    fn join(&mut self, id: ClientId, terms: Terms, claim: Option<Claim>, now: Moment) {
        if terms.loan.is_none() {
            self.apply_settings(now);
        }
        let claim = claim.map(|claim| self.believe(claim, terms.uid));
        self.note(now, Input::Join(id, terms, claim));
    }

    fn refuse(&mut self, token: Token, refusal: Reply, now: Moment) {
        self.send(token, &refusal);
        if let Some(conn) = self.conns.get_mut(&token) {
            conn.ending = Some(now);
        }
    }

    /// Whether it is spoken to at all.
    fn admit(&self, token: Token, hello: &Hello, peer: Peer) -> Result<(), String> {
        if !is_spoken(&hello.protocol) {
            return Err(format!("the gate speaks protocol {PROTOCOL}, not '{}'", clean(&hello.protocol)));
        }
        if self.conns.get(&token).is_some_and(|conn| self.may_come(peer, &conn.stream)) {
            return Ok(());
        }
        Err(format!("user {} may not use the gate at {}", peer.uid, self.socket.display()))
    }

    /// What it is to the ledger.
    fn terms(&self, hello: &Hello, peer: Peer) -> Result<Terms, String> {
        let loan = if hello.asks_only { None } else { self.job_around(hello, peer) };
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
                let (jobs, quota) = (self.regulator.settings().jobs, self.quota_of(peer.uid));
                if min > jobs {
                    return Err(format!("{min} tokens can never be had: the gate has {jobs}"));
                }
                if min > quota {
                    return Err(format!("{min} tokens can never be had: user {} may have {quota}", peer.uid));
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
        Ok(Terms {
            lease,
            cap: cap.min(asked),
            weight: self.weight(hello, peer.uid),
            max_wait: self.max_wait(hello, peer.uid),
            loan,
            idle: hello.idle || !takes,
            takes,
            uid: peer.uid,
        })
    }

    /// `jobgate set`.
    pub(super) fn take_set(&mut self, token: Token, set: BTreeMap<String, String>, now: Moment) {
        let Some(conn) = self.conns.get(&token) else { return };
        let uid = conn.peer.uid;
        let refused = if self.rulers.rules(uid) {
            set.iter().find_map(|(key, value)| settings::check(key, value).err())
        } else {
            Some(format!("user {uid} may not change the gate: its owner and root may"))
        };
        if let Some(why) = refused {
            return self.send(token, &Reply::Refused { why, request: true });
        }
        let is_news = set.iter().any(|(key, value)| self.set.get(key) != Some(value));
        self.set.extend(set);
        self.apply_settings(now);
        let reply = Reply::Set { set: self.set.clone() };
        let told = |(at, conn): &(&Token, &Conn)| **at == token || (is_news && conn.id().is_some());
        let told: Vec<Token> = self.conns.iter().filter(told).map(|(&at, _)| at).collect();
        told.into_iter().for_each(|at| self.send(at, &reply));
    }

    /// Makes the settings anew from all who have a say.
    pub(super) fn apply_settings(&mut self, now: Moment) {
        if now.since(self.cpus_seen) >= CPUS_LOOK {
            (self.cpus, self.cpus_seen) = (usable_cpus(), now);
        }
        let cpus = self.cpus;
        let set = settings::of_set(&self.set);
        let base = match &self.kind {
            Kind::Service { base, .. } => base.layer.clone(),
            Kind::OnDemand { .. } => self.wishes_of_clients(cpus, &set),
        };
        let (mut settings, all, max_wait) = settings::resolve(cpus, &[&base, &set]);
        (self.all, self.max_wait) = (all, max_wait);
        let wants = Wants { recorded: self.journals.is_any(), ..settings.wants() };
        let looks_at = (wants, settings::scope_of(&self.all));
        if looks_at != self.looks_at {
            let (machine, why) = Machine::open_what_there_is(&self.proc_root, &looks_at.1, looks_at.0);
            if let Some(why) = &why {
                say(&format!("no pressure to be had ({why}); the gate stays open"));
            }
            (self.machine, self.sees_all, self.looks_at) = (machine, why.is_none(), looks_at);
        }
        if !self.sees_all {
            settings.thresholds = Default::default();
        }
        if let Kind::Service { base, .. } = &self.kind {
            // Where nobody has said how much: all that there is, and so no more than twice that however one comes to it.
            let of_others = base.quota_of_others.unwrap_or(settings.jobs);
            self.regulator.set_quota(base.quota.clone(), Some(of_others));
            self.noted = true;
        }
        if settings != *self.regulator.settings() {
            self.note(now, Input::Settings(settings));
            self.tell_brakes();
        }
    }

    /// Those of all who have a say: an `exec` wants no gate of a certain kind, and who runs inside a job of another
    /// doesn't make that one's gate larger.
    fn wishes_of_clients(&self, cpus: u32, set: &Layer) -> Layer {
        let clients = self.conns.values().filter_map(|conn| Some((conn.id()?, conn)));
        let mut clients: Vec<(ClientId, &Conn)> =
            clients.filter(|&(_, conn)| conn.hello.style != EXEC && !conn.is_guest).collect();
        clients.sort_by_key(|&(id, _)| id);
        let named = clients
            .iter()
            .map(|(_, conn)| (format!("{} (pid {})", conn.hello.label, self.pid_of(conn)), &*conn.hello));
        settings::of_clients(cpus, settings::law_of(set), named)
    }
}

/// What is kept of a hello: what is made use of later, each part bounded.
fn kept(hello: &Hello) -> Hello {
    let WishesSaid { jobs, max, hold, heartbeat_s, law, min_available, max_load, scope, freeze_on_thrash } =
        &hello.wishes;
    let known = |word: &String| Resource::ALL.iter().any(|resource| resource.name() == word);
    let max = max.iter().filter(|(word, _)| known(word)).map(|(word, &max)| (word.clone(), max)).collect();
    let one_of =
        |word: &Option<String>, all: [&str; 2]| word.clone().filter(|word| all.contains(&word.as_str()));
    let min_available =
        min_available.as_ref().and_then(|text| values::reserve("", text).ok()).map(reserve_text);
    let scope = scope.clone().filter(|scope| settings::check("scope", scope).is_ok());
    let wishes = WishesSaid {
        jobs: *jobs,
        max,
        hold: one_of(hold, ["all", "starts"]),
        heartbeat_s: *heartbeat_s,
        law: one_of(law, ["adaptive", "fixed"]),
        min_available,
        max_load: *max_load,
        freeze_on_thrash: *freeze_on_thrash,
        scope,
    };
    Hello {
        pid: hello.pid,
        lender: hello.lender,
        inside: hello.inside,
        label: clean(&hello.label),
        style: clean(&hello.style).chars().take(LONGEST_STYLE).collect(),
        wishes,
        follows: hello.follows,
        ..Hello::default()
    }
}

/// A text of somebody else's, fit to be shown: nothing in it moves the cursor or turns what comes after it.
fn clean(text: &str) -> String {
    let moves = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if moves(c) { ' ' } else { c }).take(LONGEST_LABEL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_kept_of_a_hello_that_says_much() {
        let long = "x".repeat(10_000);
        let hello = Hello {
            protocol: long.clone(),
            version: long.clone(),
            label: format!("a\u{202e}b\u{1b}[2J\n{long}"),
            style: long.clone(),
            wishes: WishesSaid {
                max: [("cpu".to_owned(), 5.0), (long.clone(), 1.0)].into(),
                hold: Some(long.clone()),
                ..WishesSaid::default()
            },
            set: [(long.clone(), long)].into(),
            ..Hello::default()
        };
        let kept = kept(&hello);
        assert!(kept.label.starts_with("a b [2J x") && kept.label.len() == LONGEST_LABEL, "{}", kept.label);
        assert_eq!((kept.style.len(), &kept.wishes.hold), (LONGEST_STYLE, &None));
        assert_eq!(kept.wishes.max, [("cpu".to_owned(), 5.0)].into());
        assert!(kept.set.is_empty() && kept.protocol.is_empty() && kept.version.is_empty());
    }
}
