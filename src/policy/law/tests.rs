//! The laws on plain numbers: each part alone, and what the tightest is. Whole courses are in tests/plant.rs.

use super::memory::{Reserve, Room};
use super::*;
use crate::policy::limit::Ramps;
use crate::policy::pressure::PerResource;
use crate::policy::reading::{CpuUse, Memory};
use proptest::prelude::*;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn at(ms: u64) -> Moment {
    Moment::at(Duration::from_millis(ms))
}

/// A machine whose counters grow as they are told to.
#[derive(Clone, Copy, Default)]
struct Machine {
    now: u64,
    busy: f64,
    ticks: u64,
    waited: f64,
    running: u32,
}

impl Machine {
    /// A quarter of a second passes, the cpus busy and cpu pressure growing for that share of it.
    fn pass(&mut self, busy: f64, pressure: f64, running: u32) -> (Moment, Reading) {
        self.now += 250;
        self.ticks += 1000;
        self.busy += busy * 1000.0;
        self.waited += pressure * 250_000.0;
        self.running = running;
        (at(self.now), self.reading())
    }

    fn reading(&self) -> Reading {
        let cpu_pressure = |resource| (resource == Resource::Cpu).then_some(self.waited as u64);
        Reading {
            some: PerResource::from_fn(cpu_pressure),
            cpu: Some(CpuUse::Share { busy: self.busy as u64, total: self.ticks }),
            running: Some(self.running),
            ..Reading::default()
        }
    }
}

/// Limits on 4 cpus where `jobs` and what is seen stay so for some seconds.
fn settled(cpus: u32, jobs: f64, busy: f64, pressure: f64) -> u32 {
    let (mut machine, mut headroom) = (Machine::default(), Headroom::default());
    headroom.look(at(0), &machine.reading(), cpus, jobs, 1000);
    for _ in 0..20 {
        let (now, reading) = machine.pass(busy, pressure, 1);
        headroom.look(now, &reading, cpus, jobs, 1000);
    }
    headroom.limit(cpus)
}

#[test]
fn as_many_jobs_as_there_is_headroom_for() {
    let rows = [
        // Full and no more: as many as cpus on two and four, one more on eight, ten more on 64.
        (2, 2.0, 1.0, 0.03, 2),
        (4, 4.0, 1.0, 0.03, 4),
        (8, 8.0, 1.0, 0.03, 9),
        (8, 9.0, 1.0, 0.125, 9),
        (64, 64.0, 1.0, 0.0, 74),
        // Others want as much: one.
        (2, 2.0, 1.0, 1.0, 1),
        (8, 8.0, 1.0, 1.0, 1),
        // One of eight is at work: the other seven, and a little.
        (8, 1.0, 0.125, 0.0, 9),
        // Sixteen jobs that wait for the network.
        (4, 16.0, 0.25, 0.0, 20),
        // Nothing of ours runs, and nothing of others.
        (2, 0.0, 0.0, 0.0, 2),
        (64, 0.0, 0.0, 0.0, 74),
        (8, 0.0, 1.0, 1.0, 1),
    ];
    for (cpus, jobs, busy, pressure, limit) in rows {
        assert_eq!(settled(cpus, jobs, busy, pressure), limit, "{jobs} on {cpus}, {busy} + {pressure}");
    }
}

#[test]
fn without_pressure_counters_the_queue_counts() {
    let (mut machine, mut headroom) = (Machine::default(), Headroom::default());
    let blind = |reading| Reading { some: PerResource::default(), ..reading };
    headroom.look(at(0), &blind(machine.reading()), 4, 4.0, 16);
    for _ in 0..20 {
        let (now, reading) = machine.pass(1.0, 0.0, 9);
        headroom.look(now, &blind(reading), 4, 4.0, 16);
    }
    assert_eq!(headroom.limit(4), 1, "eight want four cpus, and one looked");
    assert!(!headroom.distrusts_pressure());
    for _ in 0..20 {
        let (now, reading) = machine.pass(1.0, 0.0, 5);
        headroom.look(now, &blind(reading), 4, 4.0, 16);
    }
    assert_eq!(headroom.limit(4), 4);
}

#[test]
fn a_counter_that_stands_still_on_a_full_machine_is_not_believed() {
    let (mut machine, mut headroom) = (Machine::default(), Headroom::default());
    headroom.look(at(0), &machine.reading(), 2, 4.0, 8);
    let mut told = Vec::new();
    for tick in 0..30 {
        let pressure = if tick < 15 { 0.0 } else { 1.0 };
        let (now, reading) = machine.pass(1.0, pressure, 5);
        headroom.look(now, &reading, 2, 4.0, 8);
        told.push(headroom.distrusts_pressure());
    }
    assert_eq!((told.iter().position(|&told| told), told[16], told[17]), (Some(2), true, false));
    assert_eq!(headroom.limit(2), 2, "4 + 2 x (1.15 - 2.0), rounded");
}

#[test]
fn looks_that_say_nothing_change_nothing_until_they_are_too_old() {
    let (mut machine, mut headroom) = (Machine::default(), Headroom::default());
    headroom.look(at(0), &machine.reading(), 2, 2.0, 8);
    for _ in 0..8 {
        let (now, reading) = machine.pass(1.0, 1.0, 4);
        headroom.look(now, &reading, 2, 2.0, 8);
    }
    assert_eq!(headroom.limit(2), 1);
    // The cpus' counters stand still; too close together; backwards.
    headroom.look(at(2_200), &machine.reading(), 2, 2.0, 8);
    headroom.look(at(2_219), &Reading::default(), 2, 2.0, 8);
    headroom.look(at(2_500), &Machine::default().reading(), 2, 2.0, 8);
    assert_eq!(headroom.limit(2), 1);
    headroom.look(at(6_000), &machine.reading(), 2, 2.0, 8);
    assert_eq!(headroom.limit(2), 1, "a stall of our own gives nobody more");
    headroom.look(at(8_000), &machine.reading(), 2, 2.0, 8);
    assert_eq!(headroom.limit(2), 2, "nothing was measured for three seconds: as at the start");
    assert_eq!(headroom.smooth(), None);
    headroom.look(at(60_000), &machine.reading(), 2, 0.0, 8);
    assert_eq!(headroom.limit(2), 2);
}

#[test]
fn a_quota_shows_as_time_used_and_throttled() {
    let mut headroom = Headroom::default();
    let reading = |used, throttled| Reading {
        cpu: Some(CpuUse::Time(used)),
        throttled: Some(throttled),
        ..Reading::default()
    };
    headroom.look(at(0), &reading(0, 0), 2, 4.0, 64);
    for tick in 1..=20 {
        // Two cpus' worth of time, and two threads that may not run.
        headroom.look(at(tick * 250), &reading(tick * 500_000, tick * 500_000), 2, 4.0, 64);
    }
    assert_eq!(headroom.limit(2), 2);
}

/// Whether two sizes are the same to people.
fn near(size: u64, wanted: u64) -> bool {
    size.abs_diff(wanted) * 100 <= wanted
}

fn room(total: u64, available: u64) -> Option<Memory> {
    Some(Memory { available, total })
}

/// A gate's room, told of jobs and of what is available in 32 GiB.
struct Told {
    room: Room,
    issued: u64,
    /// Where its time begins, in ms.
    from: u64,
}

impl Told {
    fn new() -> Told {
        let mut told = Told { room: Room::new(None), issued: 0, from: 0 };
        told.look(0, 32 * GIB, 0, 0);
        told
    }

    /// After so many ms so much is available, so many jobs run, and so many were issued since.
    fn look(&mut self, ms: u64, available: u64, jobs: u32, issued: u64) {
        self.issued += issued;
        self.room.note_issued(self.at(ms), self.issued);
        self.room.look(self.at(ms), room(32 * GIB, available), jobs);
    }

    fn at(&self, ms: u64) -> Moment {
        at(self.from + ms)
    }

    fn limit(&mut self, ms: u64, jobs: u32) -> u32 {
        self.room.limit(self.at(ms), jobs).unwrap()
    }

    /// One job of that size has been and gone, and another begun.
    fn knows(size: u64) -> Told {
        let mut told = Told::new();
        (0..10).for_each(|second| told.look(second * 1_000, 32 * GIB - size, 1, u64::from(second == 0)));
        told.look(9_250, 32 * GIB, 1, 1);
        told.look(9_400, 32 * GIB, 1, 0); // nothing more comes back
        told.from = 9_150;
        assert!(near(told.room.job_size(), size), "{} MiB", told.room.job_size() / MIB);
        told
    }
}

#[test]
fn as_many_jobs_as_there_is_room_for() {
    let mut law = Room::new(None);
    assert_eq!(law.limit(at(0), 3), None, "nothing is known");
    let mut told = Told::new();
    // 32 GiB less a twentieth, in jobs that may come to twice 256 MiB each.
    assert_eq!(told.limit(0, 0), 60);
    told.room.note_issued(at(0), 8);
    assert_eq!(told.limit(0, 8), 60, "eight more, and eight less room");
    let mut told = Told::knows(GIB);
    // Eight run, that have half of it yet.
    told.look(2_000, 28 * GIB, 8, 8);
    assert_eq!(told.limit(2_000, 8), 8 + 23, "28 less 1.6, less what they will come to");
    told.look(12_000, 28 * GIB, 8, 0);
    assert_eq!(told.limit(12_000, 8), 8 + 29, "by now they don't grow any more, and size is forgotten");
}

#[test]
fn a_job_that_takes_a_finished_ones_place_is_judged_too() {
    for is_seen in [true, false] {
        let mut told = Told::knows(GIB);
        told.look(2_000, 30 * GIB, 4, 3);
        told.look(13_000, 30 * GIB, 4, 0);
        let settled = told.limit(13_000, 4);
        // Where nobody saw the token come back, what was given back shows it.
        told.look(13_050, 30 * GIB + 768 * MIB, 4, u64::from(is_seen));
        assert_eq!(told.limit(13_050, 4), settled, "{is_seen}: that will be used again");
    }
}

#[test]
fn how_large_a_job_becomes_shows_when_it_ends() {
    let mut told = Told::new();
    told.look(1_000, 32 * GIB - 400 * MIB, 4, 4);
    assert!(near(told.room.job_size(), 2 * 250 * MIB), "they may still grow: {}", told.room.job_size() / MIB);
    told.look(3_000, 32 * GIB - 2_400 * MIB, 4, 0);
    told.look(3_250, 32 * GIB - 1_500 * MIB, 3, 0);
    told.look(3_400, 32 * GIB - 1_500 * MIB, 3, 0);
    let size = told.room.job_size();
    assert!((900 * MIB..1_200 * MIB).contains(&size), "{} MiB", size / MIB);
    told.look(3_500, 32 * GIB, 1, 0);
    told.look(3_650, 32 * GIB, 1, 0);
    assert!(told.room.job_size() < 1_200 * MIB, "two have ended: {} MiB", told.room.job_size() / MIB);
}

#[test]
fn what_comes_back_in_parts_is_of_all_that_end_meanwhile() {
    // How much comes back with how many tokens, look by look, and how many jobs run on: two jobs of 500 MiB that end at once.
    let rows: [&[(u64, u32, u64)]; 4] = [
        &[(700, 3, 1), (300, 3, 1)],
        &[(300, 4, 0), (500, 3, 0), (200, 2, 0)],
        // One token, or both, were taken anew before they were seen.
        &[(600, 3, 0), (400, 4, 1)],
        &[(600, 4, 0), (400, 4, 0)],
    ];
    for parts in rows {
        let mut told = Told::knows(500 * MIB);
        told.look(2_000, 30 * GIB, 4, 3);
        told.look(4_000, 30 * GIB, 4, 0);
        let (mut available, mut last) = (30 * GIB, (4_000, 4));
        for &(given_back, jobs, issued) in parts {
            available += given_back * MIB;
            last = (last.0 + 50, jobs);
            told.look(last.0, available, jobs, issued);
        }
        told.look(last.0 + 110, available, last.1, 0);
        let size = told.room.job_size();
        assert!((490 * MIB..530 * MIB).contains(&size), "{parts:?}: {} MiB", size / MIB);
    }
}

#[test]
fn a_build_that_is_known_to_be_heavy_starts_carefully() {
    let starts = |expected: u64| {
        let mut law = Room::new(None);
        law.expect(expected);
        law.look(at(0), room(16 * GIB, 16 * GIB), 0);
        (law.job_size(), law.limit(at(0), 0))
    };
    assert_eq!(starts(0), (512 * MIB, Some(30)), "a guess, twice");
    assert_eq!(starts(4 * GIB), (4 * GIB, Some(3)));
    assert_eq!(starts(64 * MIB), (64 * MIB, Some(243)), "known to be small");
    // What is seen is no less true than what was.
    let mut law = Room::new(None);
    law.expect(GIB);
    law.look(at(0), room(16 * GIB, 16 * GIB), 0);
    law.look(at(1_000), room(16 * GIB, 8 * GIB), 4);
    law.look(at(1_250), room(16 * GIB, 10 * GIB), 3);
    assert!(law.job_size() >= 2 * GIB - 64 * MIB, "{} MiB", law.job_size() / MIB);
    law.expect(0);
    assert!(law.job_size() >= 2 * GIB - 64 * MIB);
}

#[test]
fn where_there_is_no_room_what_comes_back_is_not_issued_again() {
    let mut law = Room::new(None);
    law.look(at(0), room(4 * GIB, 4 * GIB), 0);
    law.note_issued(at(0), 3);
    law.look(at(1_000), room(4 * GIB, GIB), 3);
    assert_eq!((law.limit(at(1_000), 3), law.limit(at(1_000), 2)), (Some(2), Some(1)));
    assert_eq!(law.limit(at(1_000), 0), Some(1), "one job always runs");
    assert!(law.is_tight(at(1_000), 3));
    law.look(at(9_000), room(4 * GIB, GIB), 3);
    law.look(at(9_050), room(4 * GIB, 3 * GIB), 1);
    assert_eq!(law.limit(at(9_050), 1), Some(3), "two have ended: there is room for two");
}

#[test]
fn the_largest_size_seen_is_forgotten_by_half_in_35_seconds() {
    let mut told = Told::knows(GIB);
    for quarter in 2..=141 {
        told.look(quarter * 250, 32 * GIB - 640 * MIB, 4, 0);
    }
    assert!(near(told.room.job_size(), GIB / 2), "{} MiB", told.room.job_size() / MIB);
    for second in 37..=600 {
        told.look(second * 1_000, 32 * GIB, 4, 0);
    }
    assert_eq!(told.room.job_size(), 16 * MIB, "no smaller");
    told.look(601_000, 32 * GIB, 0, 0);
    assert_eq!(told.room.job_size(), 512 * MIB, "the next build may be another");
}

#[test]
fn what_others_take_and_give_back_is_forgotten_soon() {
    let mut told = Told::knows(256 * MIB);
    told.look(2_000, 2 * GIB, 4, 3);
    assert!(told.room.job_size() > 7 * GIB);
    told.look(3_000, 31 * GIB, 4, 0);
    for second in 4..=30 {
        told.look(second * 1_000, 31 * GIB, 4, 0);
    }
    assert!(told.room.job_size() < 4 * GIB, "{} MiB", told.room.job_size() / MIB);
    assert!(told.room.job_size() > GIB, "a job that is eight times as large may well come again");
}

#[test]
fn what_others_use_is_no_job_of_ours() {
    let mut told = Told::knows(GIB / 2);
    // Somebody starts a virtual machine: at first it seems to be ours, and then less and less.
    told.look(2_000, 27 * GIB, 2, 1);
    assert!(near(told.room.job_size(), 2 * GIB + GIB / 2), "{} MiB", told.room.job_size() / MIB);
    for second in 3..=1_500 {
        told.look(second * 1_000, 27 * GIB, 2, 0);
    }
    assert!(told.room.job_size() < 400 * MIB, "{} MiB", told.room.job_size() / MIB);
    // Another cgroup's limit is the nearest: nothing can be compared.
    told.room.look(told.at(1_501_000), room(4 * GIB, GIB), 2);
    assert!(told.room.job_size() < 400 * MIB, "{} MiB", told.room.job_size() / MIB);
}

#[test]
fn the_reserve_is_what_was_said_and_never_less_than_a_part_of_a_job() {
    let limit = |reserve, available| {
        let mut law = Room::new(reserve);
        law.look(at(0), room(16 * GIB, available), 0);
        law.limit(at(0), 0)
    };
    let said = |bytes, share| Some(Reserve { bytes, share });
    assert_eq!(limit(said(4 * GIB, 0.0), 8 * GIB), Some(8));
    assert_eq!(limit(said(GIB, 0.25), 8 * GIB), Some(8), "the larger counts");
    assert_eq!(limit(said(1, 0.0), 8 * GIB), Some(15), "a quarter of a job");
    assert_eq!(limit(said(20 * GIB, 0.0), 8 * GIB), Some(1));
    let mut small = Room::new(None);
    small.look(at(0), room(4 * GIB, 4 * GIB), 0);
    assert_eq!(small.limit(at(0), 0), Some(7), "a tenth of it");
}

#[test]
fn the_tightest_part_counts_and_has_a_name() {
    let none = Parts::default();
    assert_eq!(none.tightest(8), (8, Tightest::Ceiling));
    assert_eq!(none.tightest(0), (1, Tightest::Ceiling));
    let parts = Parts { cpu: Some(3), io: Some(4), memory: Some(5), growth: Some(9) };
    assert_eq!(parts.tightest(8), (3, Tightest::Cpu));
    assert_eq!(parts.tightest(3), (3, Tightest::Ceiling), "nothing is tighter");
    assert_eq!(Parts { growth: Some(2), ..parts }.tightest(8), (2, Tightest::Growth));
    assert_eq!(Parts { memory: Some(0), ..parts }.tightest(8), (1, Tightest::Memory));
    assert_eq!(Parts { cpu: None, ..parts }.tightest(8), (4, Tightest::Io));
}

#[test]
fn jobs_are_counted_on_average() {
    let mut mean = Mean::default();
    mean.note(at(0), 4);
    mean.note(at(100), 8);
    mean.note(at(150), 8);
    let taken = |mean: &mut Mean, ms| (mean.take(at(ms)) * 1e6).round() / 1e6;
    assert_eq!((taken(&mut mean, 200), taken(&mut mean, 400), mean.now()), (6.0, 8.0, 8));
    mean.note(at(450), 0);
    assert_eq!((taken(&mut mean, 800), taken(&mut mean, 800)), (1.0, 0.0));
}

#[test]
fn the_fixed_law_looks_at_memory_only_where_it_is_told_to() {
    let limit = Limit::new(8, 2, Ramps::AfterHolds);
    let reading = Reading { memory: room(4 * GIB, GIB), ..Machine::default().reading() };
    let mut fixed = Law::new(Terms::default(), 2);
    fixed.look(at(0), &reading, 8);
    assert_eq!(fixed.parts(at(0), 2, &limit), Parts::default());
    let reserve = Some(Reserve { bytes: 2 * GIB, share: 0.0 });
    fixed.set(Terms { reserve, ..Terms::default() }, 2);
    fixed.look(at(250), &reading, 8);
    assert_eq!(fixed.parts(at(250), 2, &limit), Parts { memory: Some(1), ..Parts::default() });
    fixed.set(Terms { kind: Kind::Adaptive, ..Terms::default() }, 2);
    assert_eq!(fixed.parts(at(250), 2, &limit), Parts { cpu: Some(2), ..Parts::default() });
}

#[test]
fn an_emergency_is_the_memory_part() {
    let limit = Limit::new(8, 2, Ramps::Always);
    let mut law = Law::new(Terms { kind: Kind::Adaptive, ..Terms::default() }, 2);
    let mut machine = Machine::default();
    for tick in 0..6 {
        let (now, reading) = machine.pass(0.5, 0.0, 1);
        let full = PerResource::from_fn(|_| Some(tick * 15_000));
        let memory = room(64 * GIB, 60 * GIB);
        law.look(now, &Reading { full, memory, ..reading }, 8);
    }
    assert_eq!((law.parts(at(machine.now), 4, &limit).memory, law.thrashes()), (Some(1), true));
}

/// Counters that do what they like.
fn reading() -> impl Strategy<Value = Reading> {
    let counter = || prop::option::of(prop_oneof![Just(0), Just(u64::MAX), 0u64..10_000_000]);
    let cpu = prop_oneof![
        Just(None),
        (any::<u32>(), any::<u32>())
            .prop_map(|(busy, total)| Some(CpuUse::Share { busy: busy.into(), total: total.into() })),
        (0u64..10_000_000).prop_map(|time| Some(CpuUse::Time(time))),
    ];
    let memory = prop::option::of((0u64..1 << 40, 0u64..1 << 40));
    (counter(), counter(), counter(), counter(), cpu, prop::option::of(any::<u32>()), memory).prop_map(
        |(waited, io, thrash, throttled, cpu, running, memory)| Reading {
            some: PerResource::from_fn(|resource| waited.filter(|_| resource == Resource::Cpu)),
            full: PerResource::from_fn(|resource| if resource == Resource::Io { io } else { thrash }),
            cpu,
            throttled,
            running,
            memory: memory.map(|(available, total)| Memory { available, total }),
            ..Reading::default()
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_read_the_limit_is_from_one_to_the_ceiling(
        looks in prop::collection::vec((0u64..5_000, reading(), 0u32..300), 1..60),
        cpus in 1u32..128,
        ceiling in 1u32..4096,
    ) {
        let mut law = Law::new(Terms { kind: Kind::Adaptive, ..Terms::default() }, cpus);
        let mut limit = Limit::new(ceiling, cpus, Ramps::Always);
        let (mut ms, mut issued) = (0, 0);
        for (pass, reading, jobs) in looks {
            ms += pass;
            issued += u64::from(jobs / 2);
            law.note(at(ms), jobs, issued);
            limit.note(at(ms), jobs);
            law.look(at(ms), &reading, ceiling);
            limit.step(at(ms));
            let (now, _) = law.parts(at(ms), jobs, &limit).tightest(ceiling);
            prop_assert!((1..=ceiling).contains(&now));
            if let Some(Smooth { load, jobs }) = law.smooth() {
                prop_assert!((0.0..=2.0).contains(&load) && (0.0..=300.0).contains(&jobs));
            }
            prop_assert!(law.room().job_size() >= 16 << 20);
        }
    }

    /// However long a state has lasted, the answer to the next is there within four smoothings: nothing winds up.
    #[test]
    fn nothing_winds_up(ticks in 1usize..2_000, full in any::<bool>()) {
        let (mut machine, mut headroom) = (Machine::default(), Headroom::default());
        let loads = if full { [(1.0, 1.0), (0.25, 0.0)] } else { [(0.25, 0.0), (1.0, 1.0)] };
        headroom.look(at(0), &machine.reading(), 8, 2.0, 64);
        for ((busy, pressure), ticks) in loads.into_iter().zip([ticks, 8]) {
            for _ in 0..ticks {
                let (now, reading) = machine.pass(busy, pressure, 1);
                headroom.look(now, &reading, 8, 2.0, 64);
            }
        }
        prop_assert_eq!(headroom.limit(8), if full { 9 } else { 1 });
    }
}
