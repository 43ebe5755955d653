//! The policy core with many clients, in virtual time: no over-issue, work conserving, fair, nobody starved, nothing leaks.
//!
//! What holds at each single step is asserted in support/sharing.rs. Doesn't know sockets or processes.

mod support;

use jobgate::policy::account::{ClientId, Lease, Loan, Terms};
use jobgate::policy::gate::Hold;
use proptest::prelude::*;
use std::time::Duration;
use support::sharing::{Kind, World, exec, shell, terms};

#[derive(Clone, Debug)]
enum Event {
    /// Kind, demand, job in ms, weight.
    Join(Kind, u32, u64, u32),
    /// One who may have so many only.
    Capped(u32),
    /// Waits so many ms for its lease.
    Patient(u64),
    /// Of another user.
    Guest(u32),
    /// An interactive shell.
    Shell(Kind),
    /// Least and more.
    Exec(u32, u32),
    /// Runs inside the job of this number.
    Inside(u64),
    /// That job is over.
    LoanOver(u64),
    Leave(usize),
    /// All tools of a tree die with what they hold.
    Lose(usize),
    Demand(usize, u32),
    Stop(usize),
    Continue(usize),
    Settings(u32, Hold),
    /// Pressure from now on.
    Pressure(u32),
    /// The server dies, and another takes its place.
    Restart,
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let kind = || prop_oneof![Just(Kind::Make), Just(Kind::Ninja)];
    prop_oneof![
        4 => (kind(), 1u32..12, 5u64..400, 1u32..4).prop_map(|(k, d, j, w)| Event::Join(k, d, j, w)),
        1 => (1u32..4).prop_map(Event::Capped),
        1 => (200u64..3000).prop_map(Event::Patient),
        1 => (1u32..12).prop_map(Event::Guest),
        1 => kind().prop_map(Event::Shell),
        1 => (1u32..4, 0u32..4).prop_map(|(min, more)| Event::Exec(min, more)),
        1 => (0u64..3).prop_map(Event::Inside),
        1 => (0u64..3).prop_map(Event::LoanOver),
        3 => any::<usize>().prop_map(Event::Leave),
        1 => any::<usize>().prop_map(Event::Lose),
        3 => (any::<usize>(), 0u32..12).prop_map(|(at, demand)| Event::Demand(at, demand)),
        1 => any::<usize>().prop_map(Event::Stop),
        2 => any::<usize>().prop_map(Event::Continue),
        1 => (2u32..10, prop_oneof![Just(Hold::All), Just(Hold::Starts)])
            .prop_map(|(jobs, hold)| Event::Settings(jobs, hold)),
        1 => prop_oneof![Just(0u32), Just(99_000), Just(101_000), Just(900_000)].prop_map(Event::Pressure),
        1 => Just(Event::Restart),
        8 => (1u64..800).prop_map(Event::Pass),
    ]
}

fn play(events: &[Event], seed: u64, quota: Option<u32>, adaptive: bool) -> Result<(), TestCaseError> {
    let mut world = World::new(6, seed);
    world.set_quota(quota);
    if adaptive {
        world.adapt();
    }
    let mut jobs_over = [0; 3];
    for event in events {
        let count = world.trees.len();
        let pick = |at: usize| if count == 0 { None } else { Some(at % count) };
        let now = world.now;
        let mut ms = 5;
        match *event {
            Event::Join(kind, demand, job, weight) => {
                world.join(kind, Terms { weight, ..terms() }, demand, job);
            }
            Event::Capped(cap) => {
                world.join(Kind::Make, Terms { cap, ..terms() }, 9, 50);
            }
            Event::Patient(wait) => {
                let max_wait = Some(Duration::from_millis(wait));
                world.join(Kind::Make, Terms { max_wait, ..terms() }, 9, 50);
            }
            Event::Guest(demand) => {
                world.join(Kind::Make, Terms { uid: 1, ..terms() }, demand, 80);
            }
            Event::Shell(kind) => {
                world.join(kind, shell(), 0, 10);
            }
            Event::Exec(min, more) => {
                world.join(Kind::Exec, exec(min, min + more), 0, 1);
            }
            Event::Inside(job) => {
                let loan = Some(Loan(jobs_over[job as usize], job));
                world.join(Kind::Make, Terms { loan, ..terms() }, 3, 50);
            }
            Event::LoanOver(job) => {
                world.end_loan(Loan(jobs_over[job as usize], job));
                jobs_over[job as usize] += 1;
            }
            Event::Leave(at) => pick(at).into_iter().for_each(|at| world.leave(at)),
            Event::Lose(at) => pick(at).into_iter().for_each(|at| world.trees[at].lose(now)),
            Event::Demand(at, demand) => pick(at).into_iter().for_each(|at| world.trees[at].demand = demand),
            Event::Stop(at) => pick(at).into_iter().for_each(|at| world.stop(at, true)),
            Event::Continue(at) => pick(at).into_iter().for_each(|at| world.stop(at, false)),
            Event::Settings(jobs, hold) => world.set(jobs, hold),
            Event::Pressure(rate) => world.pressure = rate,
            Event::Restart => world.restart(),
            Event::Pass(passes) => ms = passes,
        }
        world.pass(ms);
    }
    calm_down(&mut world);
    // By the adaptive law the limit moves while one looks.
    if quota.is_none() && !adaptive {
        all_is_used_and_nobody_starves(&mut world)?;
    }
    while !world.trees.is_empty() {
        world.leave(0);
        world.step();
    }
    world.pass(50);
    prop_assert_eq!((world.regulator.charge(), world.regulator.out()), (0, 0), "nothing leaks");
    prop_assert!(world.regulator.accounts().is_empty());
    Ok(())
}

/// No pressure, nobody stopped, everybody wants all there is.
fn calm_down(world: &mut World) {
    world.pressure = 0;
    for at in 0..world.trees.len() {
        world.stop(at, false);
        (world.trees[at].demand, world.trees[at].job) = (50, 100);
    }
    world.pass(6_000);
}

fn all_is_used_and_nobody_starves(world: &mut World) -> Result<(), TestCaseError> {
    let limit = world.regulator.limit();
    // What isn't taken back: leases, and the first token of who pays none.
    let kept = |tree: &support::sharing::Tree| match tree.terms.lease {
        Lease::Nothing => (tree.held() + tree.standing).min(1),
        Lease::Counted | Lease::Wait { .. } => tree.lease.unwrap_or(0),
    };
    let leased: u32 = world.trees.iter().map(kept).sum();
    let least = |terms: &Terms| if let Lease::Wait { min, .. } = terms.lease { min.min(limit) } else { 0 };
    // Who needs several at once keeps those behind it waiting.
    if let Some(first) = world.regulator.accounts().iter().find(|account| account.waits_since().is_some()) {
        let full = leased + least(first.terms()) > limit;
        prop_assert!(full, "{first:?} waits, {leased} of {limit} are leased: {}", world.picture());
        return Ok(());
    }
    // ninja lets a token stand until one of its jobs ends.
    let is_greedy = |tree: &support::sharing::Tree| tree.kind == Kind::Make && tree.terms.cap > 50;
    let ninjas = world.trees.iter().any(|tree| tree.kind == Kind::Ninja);
    if ninjas || !world.trees.iter().any(is_greedy) {
        return Ok(());
    }
    let ids: Vec<ClientId> = world.trees.iter().map(|tree| tree.id).collect();
    let means = means(world, &ids, 3_000);
    // A token that goes round is on its way for some milliseconds.
    let all: f64 = means.iter().sum();
    prop_assert!(all > f64::from(limit) - 0.25, "{all} of {limit} are used: {}", world.picture());
    // Who could use more sees nobody who would have more by its weight with a token less.
    for (mine, own) in means.iter().zip(&world.trees).filter(|(_, tree)| is_greedy(tree)) {
        for (&other, theirs) in means.iter().zip(&world.trees) {
            let (mine, more) = ((mine + 1.1) / f64::from(own.terms.weight), f64::from(kept(theirs)));
            let envies = other > more + 0.2 && (other - 0.1) / f64::from(theirs.terms.weight) > mine;
            prop_assert!(!envies, "{means:?} of {limit}: {}", world.picture());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_promise_is_kept(
        events in prop::collection::vec(event(), 1..60),
        seed in any::<u64>(),
        quota in prop::option::weighted(0.2, 1u32..6),
    ) {
        play(&events, seed, quota, false)?;
    }

    #[test]
    fn and_while_the_limit_moves(events in prop::collection::vec(event(), 1..60), seed in any::<u64>()) {
        play(&events, seed, None, true)?;
    }
}

/// Tokens that each tree held on average over so many ms, its lease counted in.
fn means(world: &mut World, ids: &[ClientId], ms: u64) -> Vec<f64> {
    world.trees.iter_mut().for_each(|tree| tree.used = 0);
    world.pass(ms);
    ids.iter()
        .map(|&id| {
            let tree = world.tree(id);
            tree.used as f64 / ms as f64 + f64::from(tree.lease.unwrap_or(0))
        })
        .collect()
}

#[test]
fn equal_builds_have_equal_shares_a_job_after_the_last_has_come() {
    for (jobs, count) in [(8, 2), (8, 3), (8, 8), (64, 5), (7, 3)] {
        for kind in [Kind::Make, Kind::Ninja] {
            let mut world = World::new(jobs, 5);
            let mut ids = vec![];
            for _ in 0..count {
                ids.push(world.join(kind, terms(), 100, 200));
                world.pass(137);
            }
            world.pass(if kind == Kind::Make { 1_300 } else { 3_000 });
            let means = means(&mut world, &ids, 20_000);
            let share = f64::from(jobs) / count as f64;
            for mean in &means {
                assert!((mean - share).abs() < 0.6, "{jobs} among {count} {kind:?}: {means:?}");
            }
            let all: f64 = means.iter().sum();
            assert!(all > f64::from(jobs) - 0.5, "{jobs} among {count} {kind:?}: {all} in use");
        }
    }
}

#[test]
fn the_odd_token_goes_round() {
    let mut world = World::new(8, 9);
    let ids: Vec<_> = (0..3).map(|_| world.join(Kind::Make, terms(), 100, 100)).collect();
    world.pass(2_000);
    let means = means(&mut world, &ids, 30_000);
    assert!(means.iter().all(|mean| (mean - 8.0 / 3.0).abs() < 0.15), "{means:?}");
}

#[test]
fn weights_and_caps_count() {
    let mut world = World::new(12, 3);
    let heavy = world.join(Kind::Make, Terms { weight: 2, ..terms() }, 100, 100);
    let light = world.join(Kind::Make, terms(), 100, 100);
    world.pass(2_000);
    assert_eq!(
        means(&mut world, &[heavy, light], 10_000).iter().map(|mean| mean.round()).collect::<Vec<_>>(),
        [8.0, 4.0]
    );
    let capped = world.join(Kind::Make, Terms { cap: 2, ..terms() }, 100, 100);
    world.pass(2_000);
    let seen = means(&mut world, &[heavy, light, capped], 10_000);
    assert!(seen[2] <= 2.0 && seen[2] > 1.9 && (seen[0] - 20.0 / 3.0).abs() < 0.6, "{seen:?}");
}

#[test]
fn an_idle_shell_costs_the_others_next_to_nothing() {
    let mut world = World::new(8, 3);
    let builds: Vec<_> = (0..2).map(|_| world.join(Kind::Make, terms(), 100, 100)).collect();
    world.join(Kind::Make, shell(), 0, 100);
    let silent = world.join(Kind::Make, terms(), 1, 100);
    world.pass(3_000);
    let means = means(&mut world, &builds, 60_000);
    let all: f64 = means.iter().sum();
    // The silent one has its lease; it is asked for 50 ms in each second whether it wants more.
    assert!(all > 6.9 && world.tree(silent).held() == 0, "{means:?}");
}

#[test]
fn an_idle_shell_where_nobody_knows_what_will_run_costs_no_more() {
    let mut world = World::new(8, 3);
    let builds: Vec<_> = (0..2).map(|_| world.join(Kind::Make, terms(), 100, 100)).collect();
    world.join(Kind::Ninja, shell(), 0, 100);
    world.pass(3_000);
    let all: f64 = means(&mut world, &builds, 60_000).iter().sum();
    assert!(all > 7.97, "{all}: an offer there stands for a second only where somebody could take it");
}

#[test]
fn a_shell_beside_builds_gets_its_share_once_a_tool_runs_there() {
    let mut world = World::new(9, 3);
    let mut ids: Vec<_> = (0..2).map(|_| world.join(Kind::Make, terms(), 100, 100)).collect();
    ids.push(world.join(Kind::Make, shell(), 0, 100));
    world.pass(5_000);
    world.trees[2].demand = 100;
    world.pass(2_000);
    let means = means(&mut world, &ids, 5_000);
    assert!(means.iter().all(|mean| (mean - 3.0).abs() < 0.3), "{means:?}");
}

#[test]
fn demand_that_comes_back_is_served_within_a_second() {
    let mut world = World::new(8, 3);
    let steady = world.join(Kind::Make, terms(), 100, 100);
    let wavering = world.join(Kind::Make, terms(), 1, 100);
    world.pass(10_000);
    assert!(means(&mut world, &[steady], 5_000)[0] > 6.8);
    world.trees[1].demand = 100;
    world.pass(1_500);
    let means = means(&mut world, &[steady, wavering], 5_000);
    assert!(means.iter().all(|mean| (mean - 4.0).abs() < 0.3), "{means:?}");
}

#[test]
fn one_who_needs_several_at_once_gets_them_and_is_not_passed_over() {
    let mut world = World::new(4, 3);
    let builds: Vec<_> = (0..2).map(|_| world.join(Kind::Make, terms(), 100, 100)).collect();
    world.pass(1_000);
    let exec = world.join(Kind::Exec, exec(2, 3), 0, 1);
    world.pass(500);
    assert_eq!(world.tree(exec).lease, Some(2), "the builds keep their leases");
    assert!(builds.iter().all(|&build| world.tree(build).held() == 0));
    let at = world.trees.iter().position(|tree| tree.id == exec).unwrap();
    world.leave(at);
    world.pass(500);
    assert_eq!(world.running(), 4);
}

#[test]
fn a_stopped_tree_keeps_nobody_waiting() {
    let mut world = World::new(1, 3);
    let first = world.join(Kind::Make, terms(), 3, 100);
    world.pass(100);
    let second = world.join(Kind::Make, terms(), 3, 100);
    world.pass(1_000);
    assert_eq!((world.tree(first).lease, world.tree(second).lease), (Some(1), None));
    world.stop(0, true);
    world.pass(10);
    assert_eq!(world.tree(second).lease, Some(1));
}

/// A tree that needs three jobs at a time, beside one that would take all.
fn beside_a_steady_tree(kind: Kind, job: u64) -> Vec<f64> {
    let mut world = World::new(8, 3);
    let steady = world.join(kind, terms(), 3, job);
    world.pass(10_000);
    let greedy = world.join(Kind::Make, terms(), 100, 100);
    world.pass(3_000);
    means(&mut world, &[steady, greedy], 60_000)
}

#[test]
fn what_a_tree_is_known_not_to_want_is_not_kept_for_it() {
    let make = beside_a_steady_tree(Kind::Make, 1_000_000);
    assert!(make[0] > 2.95 && make[1] > 4.9, "{make:?}");
    let ninja = beside_a_steady_tree(Kind::Ninja, 700);
    assert!(ninja[0] > 2.95 && ninja[1] > 4.4, "{ninja:?}");
}
