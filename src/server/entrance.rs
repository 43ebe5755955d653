//! Who is let in: how many connections there may be, of all and of one user, and what becomes of those beyond.
//!
//! Doesn't know what they ask for. Some are kept for root and the service's owner, so that the gate can be asked and set
//! whatever others do; and some descriptors for ourselves.

use super::conn::Conn;
use super::{Kind, Server};
use crate::policy::time::Moment;
use crate::proto::wire::{self, Reply};
use crate::sys::socket::{self, Peer};
use mio::net::UnixStream;
use mio::{Interest, Token};
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

/// Descriptors for what isn't a connection: standard ones, the poll's, pressure files, a file that is being read. And for
/// those who are about to hear that there are too many.
const FOR_OURSELVES: usize = 32;

/// Connections that only root and the owner may have, or a quarter of all, if that is less.
const RESERVE: usize = 32;

/// More than so many cost more than they could be of use.
const MOST: usize = 65_536;

/// The most of one user where the configuration doesn't say.
const OF_ONE_USER: usize = 1024;

/// So many of one user that are refused may first say hello: who finds the line closed before doesn't read why ...
const REFUSED: usize = 16;

/// ... and so many beyond all that there may be.
const REFUSED_BY_ALL: usize = 8;

/// So many are let in at once: those who are in have something to say, too.
const AT_ONCE: usize = 64;

/// Where one couldn't be let in, and nobody leaves, it is tried again after so long.
const AGAIN: Duration = Duration::from_millis(100);

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// It is heard.
    Heard,
    /// It is told that its user has too many, or that there are too many, once it has said hello, or at once.
    Refused { own: bool, at_once: bool },
}

/// Counts and bounds.
#[derive(Debug)]
pub struct Entrance {
    /// Of all, and of one user.
    most: usize,
    half: usize,
    of_users: HashMap<u32, usize>,
    all: usize,
    /// More may wait to be let in.
    pub more: bool,
    /// One couldn't be, then.
    failed: Option<Moment>,
}

impl Entrance {
    /// For a process that may have so many descriptors open.
    pub fn new(descriptors: usize) -> Entrance {
        let most = descriptors.saturating_sub(FOR_OURSELVES.min(descriptors / 2)).clamp(1, MOST);
        Entrance {
            most,
            half: (descriptors / 2).max(1),
            of_users: HashMap::new(),
            all: 0,
            more: false,
            failed: None,
        }
    }

    fn of_user(&self, uid: u32) -> usize {
        self.of_users.get(&uid).copied().unwrap_or(0)
    }

    /// Of one user, who may have `each`, if that is bounded.
    fn admission(&self, uid: u32, rules: bool, each: Option<usize>) -> Admission {
        let reserve = RESERVE.min(self.most / 4);
        let each = each.map_or(usize::MAX, |each| each.min(self.half));
        let (each, most) =
            if rules { (each.saturating_add(reserve), self.most) } else { (each, self.most - reserve) };
        let own = self.of_user(uid);
        if own < each && self.all < most {
            return Admission::Heard;
        }
        let room = if rules { self.most + REFUSED_BY_ALL } else { self.most - reserve / 2 };
        let at_once = own >= each.saturating_add(REFUSED) || self.all >= room;
        Admission::Refused { own: own >= each, at_once }
    }

    fn enter(&mut self, uid: u32) {
        *self.of_users.entry(uid).or_default() += 1;
        self.all += 1;
    }

    /// A connection of that user is over: another may be let in.
    pub fn leave(&mut self, uid: u32) {
        let own = self.of_user(uid).saturating_sub(1);
        if own == 0 {
            self.of_users.remove(&uid);
        } else {
            self.of_users.insert(uid, own);
        }
        self.all = self.all.saturating_sub(1);
        self.more |= self.failed.is_some();
    }

    /// When it is to be tried again.
    pub fn due(&self) -> Option<Moment> {
        self.failed.map(|since| since + AGAIN)
    }
}

impl Server {
    /// Lets in who waits.
    pub(super) fn accept(&mut self, now: Moment) {
        (self.entrance.more, self.entrance.failed) = (false, None);
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Ok(peer) = socket::peer(&stream) {
                        self.come_in(stream, peer, now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // Out of descriptors, or of memory: they wait in the backlog, where no event tells of them again.
                    log::warn!("accept: {error}");
                    self.entrance.failed = Some(now);
                    return;
                }
            }
        }
        self.entrance.more = true;
    }

    fn come_in(&mut self, mut stream: UnixStream, peer: Peer, now: Moment) {
        let each = match &self.kind {
            Kind::Service { base, .. } => Some(base.connections.map_or(OF_ONE_USER, |most| most as usize)),
            Kind::OnDemand { .. } => None,
        };
        let admission = self.entrance.admission(peer.uid, self.rulers.rules(peer.uid), each);
        let refusal = match admission {
            Admission::Heard => None,
            Admission::Refused { own, at_once } => {
                let why = self.too_many(peer.uid, own);
                if at_once {
                    let _ = stream.write(&wire::line(&Reply::Refused { why, request: false }));
                    return;
                }
                Some(why)
            }
        };
        let token = Token(self.next_token);
        self.next_token += 1;
        if let Err(error) = self.poll.registry().register(&mut stream, token, Interest::READABLE) {
            return log::warn!("epoll: {error}");
        }
        let mut conn = Conn::new(stream, peer, now);
        conn.refusal = refusal;
        self.conns.insert(token, conn);
        self.entrance.enter(peer.uid);
        self.empty = None;
    }

    fn too_many(&self, uid: u32, own: bool) -> String {
        let at = self.socket.display();
        if own {
            format!(
                "user {uid} has {} connections to the gate at {at}, and may have no more",
                self.entrance.of_user(uid)
            )
        } else {
            format!("the gate at {at} has {} connections, and can have no more", self.entrance.all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Option<usize> = Some(10);

    #[test]
    fn some_are_kept_for_who_rules() {
        let mut entrance = Entrance::new(FOR_OURSELVES + 40); // 30 for all, 10 in reserve
        let fill = |entrance: &mut Entrance, uid: u32, rules: bool| {
            let mut count = 0;
            while entrance.admission(uid, rules, EACH) == Admission::Heard {
                entrance.enter(uid);
                count += 1;
            }
            count
        };
        assert_eq!([1, 2].map(|uid| fill(&mut entrance, uid, false)), [10, 10]);
        assert_eq!(entrance.admission(1, false, EACH), Admission::Refused { own: true, at_once: false });
        assert_eq!([3, 4].map(|uid| fill(&mut entrance, uid, false)), [10, 0]);
        let told_later = Admission::Refused { own: false, at_once: false };
        assert_eq!(entrance.admission(4, false, EACH), told_later, "the reserve's half is for that");
        assert_eq!(fill(&mut entrance, 0, true), 10);
        assert_eq!(entrance.admission(0, true, EACH), told_later, "beyond the reserve, too");
        assert_eq!(entrance.admission(1, false, EACH), Admission::Refused { own: true, at_once: true });
        (0..REFUSED_BY_ALL).for_each(|_| entrance.enter(0));
        assert_eq!(entrance.admission(0, true, EACH), Admission::Refused { own: false, at_once: true });
        (0..REFUSED_BY_ALL).for_each(|_| entrance.leave(0));
        (0..10).for_each(|_| entrance.leave(1));
        assert_eq!(entrance.of_users.len(), 3, "nothing is kept of who has left");
        assert_eq!(entrance.admission(1, false, EACH), told_later);
        (0..10).for_each(|_| entrance.leave(0));
        assert_eq!(fill(&mut entrance, 1, false), 10);
    }

    #[test]
    fn one_user_never_has_more_than_half_of_the_descriptors() {
        let mut entrance = Entrance::new(100);
        (0..50).for_each(|_| entrance.enter(1));
        assert_eq!(
            entrance.admission(1, false, Some(1000)),
            Admission::Refused { own: true, at_once: false }
        );
        assert_eq!(entrance.admission(2, false, Some(1000)), Admission::Heard);
        assert_eq!(entrance.admission(1, true, None), Admission::Heard, "a gate of one's own is one's own");
        (0..20).for_each(|_| entrance.leave(1));
        assert_eq!(Entrance::new(0).admission(1, true, None), Admission::Heard, "one at least");
    }

    #[test]
    fn who_could_not_be_let_in_is_tried_again() {
        let mut entrance = Entrance::new(100);
        entrance.enter(1);
        entrance.leave(1);
        assert!(!entrance.more && entrance.due().is_none());
        entrance.failed = Some(Moment::default());
        assert_eq!(entrance.due(), Some(Moment::default() + AGAIN));
        entrance.leave(1);
        assert!(entrance.more);
    }
}
