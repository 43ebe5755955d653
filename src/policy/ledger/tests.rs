//! The ledger alone, with clients that do as they are told.
//!
//! Doesn't know time but as numbers.

use super::*;
use crate::policy::account::{Appetite, Lease};

fn at(ms: u64) -> Moment {
    Moment::at(Duration::from_millis(ms))
}

fn terms() -> Terms {
    Terms {
        lease: Lease::Wait { min: 1, max: 1 },
        cap: 100,
        weight: 1,
        max_wait: None,
        loan: None,
        idle: false,
        takes: true,
        uid: 0,
    }
}

fn shell() -> Terms {
    Terms { lease: Lease::Nothing, idle: true, ..terms() }
}

/// A ledger whose clients do as they are told, at once.
struct Desk {
    ledger: Ledger,
    limit: u32,
    door: Door,
}

impl Desk {
    fn new(limit: u32, door: Door) -> Desk {
        Desk { ledger: Ledger::default(), limit, door }
    }

    fn join(&mut self, ms: u64, id: ClientId, terms: Terms) {
        self.ledger.join(at(ms), id, terms, None);
        self.settle(ms);
    }

    /// Until nothing is left to be said: the leases that were granted.
    fn settle(&mut self, ms: u64) -> Vec<(ClientId, u32)> {
        let mut granted = vec![];
        self.ledger.settle(at(ms), self.limit, self.door);
        while let Some(change) = self.ledger.poll() {
            match change {
                Change::Allot { id, serial, .. } => self.report(ms, id, serial, None),
                Change::Grant { id, tokens, .. } => {
                    granted.push((id, tokens));
                    self.ledger.started(id);
                }
            }
        }
        granted
    }

    fn report(&mut self, ms: u64, id: ClientId, serial: u64, appetite: Option<Appetite>) {
        let held = self.ledger.find(id).map_or(0, |account| account.held);
        self.ledger.report(at(ms), id, Report { serial, held, appetite });
        self.ledger.settle(at(ms), self.limit, self.door);
    }

    fn lease(&self, id: ClientId) -> u32 {
        self.ledger.accounts().iter().find(|account| account.id() == id).map_or(0, Account::lease)
    }
}

#[test]
fn what_stands_untaken_in_a_shell_keeps_nobody_from_starting_while_it_is_held() {
    for door in [Door::Held, Door::StartsHeld] {
        let mut desk = Desk::new(4, Door::Open);
        desk.join(0, 1, shell());
        desk.door = door;
        desk.settle(10);
        desk.join(20, 2, terms());
        desk.settle(30);
        assert_eq!(desk.lease(2), 1, "{door:?}");
        desk.join(40, 3, terms());
        desk.settle(50);
        assert_eq!(desk.lease(3), 0, "{door:?}: one runs");
    }
}

#[test]
fn one_starts_where_nothing_runs_and_starts_are_held() {
    let mut desk = Desk::new(4, Door::StartsHeld);
    desk.ledger.join(at(0), 1, terms(), None);
    desk.ledger.join(at(0), 2, terms(), None);
    assert_eq!(desk.settle(0), [(1, 1)]);
    desk.ledger.leave(1);
    assert_eq!(desk.settle(1), [(2, 1)]);
}

#[test]
fn a_quota_never_cuts_what_is_needed_at_once() {
    let mut desk = Desk::new(8, Door::Open);
    desk.ledger.set_quota(vec![], Some(3));
    desk.join(0, 1, terms());
    let three = Terms { lease: Lease::Wait { min: 3, max: 4 }, takes: false, ..terms() };
    desk.ledger.join(at(1), 2, three, None);
    desk.ledger.join(at(1), 3, Terms { uid: 1, ..three }, None);
    assert_eq!(desk.settle(1), [(3, 3)], "nor does who can't have it keep others from it");
    desk.ledger.leave(1);
    assert_eq!(desk.settle(2), [(2, 3)]);
}

#[test]
fn who_rests_where_all_is_used_is_probed_as_well() {
    let mut desk = Desk::new(2, Door::Open);
    desk.join(0, 1, Terms { cap: 2, ..terms() });
    desk.join(0, 2, shell());
    desk.settle(1);
    assert!(desk.ledger.contended);
    desk.settle(200);
    assert!(desk.ledger.accounts()[1].allotment() > 0);
}

#[test]
fn who_comes_back_late_to_a_job_that_lends_to_another_pays_for_itself() {
    let mut desk = Desk::new(8, Door::Open);
    let inside = Terms { loan: Some(Loan(7, 7)), ..terms() };
    desk.join(0, 1, inside);
    assert_eq!((desk.lease(1), desk.ledger.charge()), (0, 8));
    desk.ledger.join(at(1), 2, inside, Some(Claim { borrowed: true, held: 2, ..Claim::default() }));
    desk.settle(1);
    assert_eq!((desk.lease(1), desk.lease(2)), (0, 1));
}

#[test]
fn who_came_early_borrows_from_the_job_that_it_turns_out_to_be_in() {
    // Its word, the job, whether another borrows from that: what it pays for itself then.
    let rows =
        [(true, true, false, 0), (true, true, true, 1), (true, false, false, 1), (false, true, false, 0)];
    for (borrows, is_inside, is_taken, pays) in rows {
        let mut desk = Desk::new(0, Door::Recovering);
        let inside = Some(Loan(7, 7));
        if is_taken {
            desk.ledger.join(
                at(0),
                1,
                Terms { loan: inside, ..terms() },
                Some(Claim { borrowed: true, ..Claim::default() }),
            );
        }
        let loan = borrows.then_some(Loan(0, 2));
        let claim = borrows.then_some(Claim { borrowed: true, ..Claim::default() });
        desk.ledger.join(at(0), 2, Terms { loan, ..terms() }, claim);
        desk.settle(0);
        assert_eq!(desk.lease(2), 0, "believed so far");
        desk.ledger.place(2, inside.filter(|_| is_inside));
        desk.settle(1);
        let account = desk.ledger.accounts().last().unwrap();
        assert_eq!(
            (desk.lease(2), account.is_borrowing()),
            (pays, pays == 0 && borrows),
            "{borrows} {is_inside} {is_taken}"
        );
    }
    // Who waits for its first token, and who gathers several.
    for min in [1, 2] {
        let mut desk = Desk::new(1, Door::Open);
        desk.join(0, 1, terms());
        desk.settle(0);
        desk.join(1, 2, Terms { lease: Lease::Wait { min, max: 2 }, ..terms() });
        desk.ledger.place(2, Some(Loan(7, 7)));
        desk.settle(1);
        assert_eq!(desk.ledger.accounts()[1].is_borrowing(), min == 1, "{min}");
    }
}

#[test]
fn one_alone_lacks_nothing_that_others_have() {
    let mut desk = Desk::new(2, Door::Open);
    desk.join(0, 1, terms());
    desk.settle(1);
    assert_eq!((desk.ledger.contended, desk.ledger.deadline(Door::Open)), (false, None));
    desk.join(2, 2, terms());
    desk.settle(3);
    assert!(desk.ledger.contended);
    desk.ledger.stop(2, true);
    desk.settle(4);
    assert!(!desk.ledger.contended);
}

#[test]
fn while_it_recovers_nothing_is_due() {
    let mut desk = Desk::new(4, Door::Recovering);
    desk.join(0, 1, Terms { max_wait: Some(Duration::from_millis(5)), ..terms() });
    assert_eq!(desk.ledger.deadline(Door::Recovering), None);
    desk.door = Door::Open;
    assert_eq!(desk.settle(250), [(1, 1)]);
}

#[test]
fn who_is_probed_within_what_it_has_and_uses_less_gives_it_to_who_is_short() {
    let mut desk = Desk::new(4, Door::Open);
    desk.join(0, 1, Terms { cap: 4, ..terms() });
    desk.join(0, 2, Terms { cap: 4, ..terms() });
    let report = |desk: &mut Desk, ms, id, held, appetite| {
        desk.ledger.report(at(ms), id, Report { serial: u64::MAX, held, appetite: Some(appetite) });
        desk.settle(ms);
    };
    let has = |desk: &Desk| -> Vec<u32> { desk.ledger.accounts().iter().map(Account::allotment).collect() };
    report(&mut desk, 1, 1, 1, Appetite::Slack(1));
    report(&mut desk, 1, 2, 1, Appetite::Full);
    // The probe is no news to it: its half is what it has.
    desk.settle(200);
    assert_eq!(has(&desk), [1, 1]);
    report(&mut desk, 201, 1, 0, Appetite::Slack(0));
    assert_eq!(has(&desk), [0, 2]);
}

#[test]
fn who_rests_while_its_part_stands_with_another_is_probed() {
    let mut desk = Desk::new(4, Door::Open);
    for (id, allotment) in [(1, 2), (2, 0)] {
        let claim = Claim { lease: 1, allotment, ..Claim::default() };
        desk.ledger.join(at(0), id, Terms { cap: 4, ..terms() }, Some(claim));
        let report = Report { serial: 0, held: 0, appetite: Some(Appetite::Slack(0)) };
        desk.ledger.report(at(1), id, report);
    }
    let has = |desk: &Desk| -> Vec<u32> { desk.ledger.accounts().iter().map(Account::allotment).collect() };
    desk.settle(2);
    assert_eq!(has(&desk), [2, 0], "nobody asks for more");
    // When its rest is over it may well need more by now; the other gives what it leaves standing.
    desk.settle(300);
    desk.ledger.report(at(301), 1, Report { serial: u64::MAX, held: 0, appetite: None });
    desk.settle(301);
    assert_eq!(has(&desk), [1, 1]);
}

/// A shell's tool that has nothing takes its turn among the runs that wait for their lease, however many come after it.
#[test]
fn who_pays_no_lease_takes_its_turn_in_the_queue() {
    let mut desk = Desk::new(2, Door::Open);
    for id in 1..=5 {
        desk.join(0, id, terms());
    }
    desk.join(0, 6, shell());
    // Every 100 ms the one that has run longest ends, and another comes.
    let mut served = None;
    for round in 1..=20 {
        let ms = 100 * round;
        let oldest = desk.ledger.accounts().iter().find(|account| account.lease() > 0).map(Account::id);
        desk.ledger.leave(oldest.expect("two run"));
        desk.join(ms, 6 + round, terms());
        desk.settle(ms);
        assert_eq!(desk.ledger.charge(), 2);
        if desk.ledger.find(6).is_some_and(|account| account.allotment() == 1) {
            served = Some(round);
            break;
        }
    }
    assert_eq!(served, Some(4), "after the three that had waited before it");
    // Its tool uses it up, and runs on: that isn't taken back, no more than a lease is.
    desk.ledger.find(6).expect("it is there").held = 1;
    desk.report(450, 6, u64::MAX, Some(Appetite::Full));
    desk.settle(450);
    assert_eq!(desk.ledger.find(6).map(|account| account.allotment()), Some(1));
    // Nobody is there any more: the next in the queue has it.
    desk.ledger.find(6).expect("it is there").held = 0;
    desk.report(460, 6, u64::MAX, Some(Appetite::Slack(0)));
    let granted = desk.settle(460);
    assert_eq!((granted.len(), desk.ledger.find(6).map(|account| account.allotment())), (1, Some(0)));
}

#[test]
fn who_says_that_it_holds_more_than_it_was_given_takes_nothing_from_others() {
    let mut desk = Desk::new(4, Door::Open);
    desk.join(0, 1, Terms { cap: 4, ..terms() });
    desk.join(0, 2, Terms { cap: 4, ..terms() });
    let lie = Report { serial: 0, held: 4096, appetite: Some(Appetite::Slack(u32::MAX)) };
    for ms in 1..5_000 {
        desk.ledger.report(at(ms), 2, Report { appetite: [None, lie.appetite][ms as usize % 2], ..lie });
        desk.settle(ms);
        assert!(desk.ledger.charge() <= 4, "{ms}: {:?}", desk.ledger.accounts());
    }
    assert_eq!(desk.ledger.accounts()[0].allotment(), 1);
}

#[test]
fn who_never_answers_is_told_no_more_until_it_does() {
    let mut desk = Desk::new(8, Door::Open);
    desk.join(0, 1, terms());
    desk.settle(0);
    let told = |desk: &mut Desk, from: u64| {
        let mut told = 0;
        for ms in from..from + 1_000 {
            let door = [Door::Held, Door::Open][ms as usize % 2];
            desk.ledger.settle(at(ms), desk.limit, door);
            told += std::iter::from_fn(|| desk.ledger.poll()).count();
        }
        told
    };
    let first = told(&mut desk, 1);
    assert!((32..=64).contains(&first), "{first}");
    assert_eq!(told(&mut desk, 2_000), 0);
    assert_eq!(desk.ledger.charge(), 8, "what it was told it may have by now");
    desk.report(3_000, 1, u64::MAX, None);
    assert!(told(&mut desk, 4_000) > 0);
}

/// All that isn't asked of the limit, by one user's clients, many times each.
fn come_to(desk: &mut Desk, how: &str, uid: u32) {
    let terms = Terms { uid, max_wait: Some(Duration::from_millis(5)), ..terms() };
    let claim = Claim { lease: 1, held: 7, ..Claim::default() };
    for id in 100..150 {
        let loan = Some(Loan(id, id));
        match how {
            "claims" => desk.ledger.join(at(1), id, terms, Some(claim)),
            "counted" => desk.ledger.join(at(1), id, Terms { lease: Lease::Counted, ..terms }, None),
            "borrowed by its word" => {
                let claim = Claim { borrowed: true, ..Claim::default() };
                desk.ledger.join(at(1), id, terms, Some(claim));
            }
            "over" => {
                desk.join(1, id, Terms { loan, ..terms });
                desk.ledger.end_loan(id);
            }
            "overdue" => desk.join(1, id, Terms { lease: Lease::Wait { min: 2, max: 2 }, ..terms }),
            "stopped" => {
                desk.join(1, id, terms);
                desk.ledger.stop(id, true);
            }
            _ => unreachable!(),
        }
    }
    desk.settle(2);
    desk.settle(10);
    (100..150).for_each(|id| desk.ledger.stop(id, false));
    desk.settle(11);
}

#[test]
fn what_a_user_comes_to_without_being_given_it_is_bounded_by_twice_the_quota() {
    for how in ["claims", "counted", "borrowed by its word", "over", "overdue", "stopped"] {
        let mut desk = Desk::new(8, Door::Open);
        desk.ledger.set_quota(vec![], Some(2));
        come_to(&mut desk, how, 1);
        let own = |desk: &Desk| -> u32 {
            let own = desk.ledger.accounts().iter().filter(|account| account.terms().uid == 1);
            own.map(Account::charge).sum()
        };
        assert!((3..=4).contains(&own(&desk)), "{how}: {}", own(&desk));
        desk.join(12, 1, Terms { cap: 2, ..terms() });
        assert_eq!(desk.ledger.accounts().last().map(Account::charge), Some(2), "{how}: another has his");
        // Nothing of it spins: a wait that goes on isn't due.
        assert!(desk.ledger.deadline(Door::Open).is_none_or(|when| when > at(12)), "{how}");
        (100..150).for_each(|id| desk.ledger.leave(id));
        desk.settle(13);
        assert_eq!(own(&desk), 0);
    }
}

#[test]
fn a_wait_that_goes_on_ends_when_its_user_has_less() {
    let mut desk = Desk::new(8, Door::Open);
    desk.ledger.set_quota(vec![], Some(1));
    let soon = Terms { max_wait: Some(Duration::from_millis(5)), cap: 1, ..terms() };
    (1..=3).for_each(|id| desk.join(0, id, soon));
    desk.settle(10);
    assert_eq!([1, 2, 3].map(|id| desk.lease(id)), [1, 1, 0]);
    desk.ledger.leave(1);
    assert_eq!(desk.settle(11), [(3, 1)]);
}

#[test]
fn a_wait_that_goes_on_is_due_when_there_is_leeway_without_a_word_from_anybody() {
    let mut desk = Desk::new(1, Door::Open);
    desk.ledger.set_quota(vec![], Some(1));
    desk.join(0, 1, terms());
    let guest = |ms| Terms { uid: 1, max_wait: Some(Duration::from_millis(ms)), ..terms() };
    for (id, ms) in [(2, 200), (3, 5), (4, 5)] {
        desk.ledger.join(at(0), id, guest(ms), None);
    }
    // The last two start above the limit, but never say so: job control has stopped them, and they count nothing.
    desk.ledger.settle(at(10), 1, Door::Open);
    assert_eq!([2, 3, 4].map(|id| desk.lease(id)), [0, 1, 1]);
    desk.ledger.settle(at(300), 1, Door::Open);
    assert_eq!(desk.lease(2), 0, "its end came before theirs was seen");
    assert!(desk.ledger.deadline(Door::Open).is_some_and(|when| when <= at(300)));
    desk.ledger.settle(at(300), 1, Door::Open);
    assert_eq!(desk.lease(2), 1);
    assert!(desk.ledger.deadline(Door::Open).is_none_or(|when| when > at(300)));
}
