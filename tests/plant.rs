//! The laws of the limit on a simulated machine, in virtual time: how long builds take, how much they press, how fast a law
//! yields and comes back. The real policy core decides; the figures are a table in the repository.
//!
//! `JOBGATE_RENEW=1 cargo test --test plant` writes tests/plant.table anew where a change of policy is meant to change it.

mod support;

use jobgate::policy::gate::Threshold;
use jobgate::policy::law::{self, Kind};
use jobgate::policy::pressure::Resource;
use jobgate::policy::regulator::Settings;
use proptest::prelude::*;
use std::fmt::Write;
use support::plant::build::{Build, Work};
use support::plant::{JIFFY, Machine, Oddity, Plant};

/// A build that takes longer than that hangs.
const LONGEST: u64 = 3_000_000;

/// By what the limit is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Law {
    Adaptive,
    /// bitbake's rule with its own suggestion, 15000 us per second, and 4N jobs.
    Threshold,
    /// A pool of so many jobs.
    Static(u32),
}

impl Law {
    fn settings(self, cpus: u32) -> Settings {
        let mut settings = Settings::new(4 * cpus, cpus);
        match self {
            Law::Adaptive => {
                settings.law = law::Terms { kind: Kind::Adaptive, reserve: None, freezes: false }
            }
            Law::Threshold => settings.thresholds.set(Resource::Cpu, Threshold::new(15_000.0).ok()),
            Law::Static(jobs) => settings.jobs = jobs,
        }
        settings
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    /// How long it took, in seconds.
    seconds: f64,
    /// Share of the seconds in which cpu pressure was above .30.
    over: f64,
    /// Standard deviation of the number of jobs, while there were some to be started, from the sixth second on.
    sd: f64,
    /// Seconds until few enough ran after others came, and until as many as before ran after they had gone.
    down: Option<f64>,
    up: Option<f64>,
    killed: u32,
    /// MiB in use at the most.
    most_memory: u64,
}

/// When others come and go, in ms: from the first to the second of each third.
type Visits = Option<(u64, u64, u64)>;

fn run(machine: Machine, law: Law, works: &[Work], visits: Visits) -> Outcome {
    let mut plant = Plant::new(machine, law.settings(machine.cpus));
    works.iter().for_each(|&work| plant.join(Build::new(work)));
    let (mut jobs, mut waited, mut over, mut busy_until) = (Vec::new(), 0.0, 0, 0);
    while !plant.is_done() {
        plant.step();
        jobs.push(plant.running());
        if plant.builds.iter().any(Build::has_more) {
            busy_until = jobs.len();
        }
        if plant.now.is_multiple_of(1_000) {
            over += u32::from(plant.waited() - waited > 300_000.0);
            waited = plant.waited();
        }
        assert!(plant.now < LONGEST, "it hangs: {law:?} on {} cpus, {works:?}", machine.cpus);
    }
    let (down, up) = visits.map_or((None, None), |visits| reactions(&jobs, visits, machine.cpus));
    let seconds = plant.now as f64 / 1000.0;
    Outcome {
        seconds,
        over: f64::from(over) / seconds,
        sd: deviation(jobs.get(5_000 / JIFFY as usize..busy_until).unwrap_or_default()),
        down,
        up,
        killed: plant.killed,
        most_memory: plant.most_memory,
    }
}

fn mean(jobs: &[u32]) -> f64 {
    jobs.iter().map(|&jobs| f64::from(jobs)).sum::<f64>() / jobs.len().max(1) as f64
}

fn deviation(jobs: &[u32]) -> f64 {
    let mean = mean(jobs);
    let squares = jobs.iter().map(|&jobs| (f64::from(jobs) - mean).powi(2)).sum::<f64>();
    (squares / jobs.len().max(1) as f64).sqrt()
}

/// Down: to what ran in the last third of a visit, within a tenth of the cpus or half a job; up: to nine tenths of what ran
/// before. Medians of all visits, for it depends on where in its work each job is.
fn reactions(jobs: &[u32], (from, until, period): (u64, u64, u64), cpus: u32) -> (Option<f64>, Option<f64>) {
    let at = |ms: u64| jobs.get((ms / JIFFY) as usize..).unwrap_or_default();
    let span = |from: u64, until: u64| &at(from)[..((until - from) / JIFFY) as usize];
    let since = |jobs: &[u32], is: &dyn Fn(f64) -> bool| {
        jobs.iter().position(|&jobs| is(f64::from(jobs))).map_or(f64::MAX, |steps| steps as f64 * 0.004)
    };
    let (mut down, mut up) = (Vec::new(), Vec::new());
    let mut start = 0;
    while jobs.len() as u64 * JIFFY >= start + period {
        let (from, until) = (start + from, start + until);
        let before = mean(span(from - 10_000, from));
        let low = mean(span(until - (until - from) / 3, until)) + (f64::from(cpus) * 0.1).max(0.5);
        down.push(since(at(from), &|jobs| jobs <= low));
        up.push(since(at(until), &|jobs| jobs >= 0.9 * before));
        start += period;
    }
    (median(down), median(up))
}

fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

const VISITS: Visits = Some((20_000, 50_000, 60_000));

/// As many others as cpus, from the 20th to the 50th second of each minute.
fn visitors(now: u64, cpus: u32) -> u32 {
    if (20_000..50_000).contains(&(now % 60_000)) { cpus } else { 0 }
}

const LONG_VISITS: Visits = Some((60_000, 240_000, 300_000));

/// The same for long jobs: from the first minute to the fourth of five.
fn long_visitors(now: u64, cpus: u32) -> u32 {
    if (60_000..240_000).contains(&(now % 300_000)) { cpus } else { 0 }
}

/// Others that come and go, up to half as many as cpus, another number every second and a half.
fn noise(now: u64, cpus: u32) -> u32 {
    let mut random = now / 1_500;
    support::plant::roll(&mut random, 7);
    support::plant::roll(&mut random, u64::from(cpus / 2) + 1) as u32
}

/// A row of the table, beside a pool of as many jobs as cpus.
fn row(table: &mut String, name: &str, machine: Machine, law: Law, works: &[Work], visits: Visits) {
    let outcome = run(machine, law, works, visits);
    let pool = run(machine, Law::Static(machine.cpus), works, visits);
    let law_name = match law {
        Law::Adaptive => "adaptive".to_owned(),
        Law::Threshold => "15000 us/s".to_owned(),
        Law::Static(jobs) => format!("static {jobs}"),
    };
    let seconds = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.1}"));
    let _ = writeln!(
        table,
        "{name:<28} {:>4}  {law_name:<11} {:>5.2} {:>5.0} {:>5.2} {:>5} {:>5}",
        machine.cpus,
        outcome.seconds / pool.seconds,
        outcome.over * 100.0,
        outcome.sd / f64::from(machine.cpus),
        seconds(outcome.down),
        seconds(outcome.up),
    );
    judge(name, machine.cpus, law, outcome, pool);
}

/// What is asked of the adaptive law on 2, 8 and 64 cpus, at least.
fn judge(name: &str, cpus: u32, law: Law, outcome: Outcome, pool: Outcome) {
    if law != Law::Adaptive || ![2, 8, 64].contains(&cpus) {
        return;
    }
    if name.starts_with("quiet") {
        let steady = outcome.over <= 0.05 && outcome.sd <= 0.15 * f64::from(cpus);
        let told = format!("{name} on {cpus}: {outcome:?} beside {} s", pool.seconds);
        assert!(outcome.seconds <= 1.02 * pool.seconds && steady, "{told}");
    }
    if ["visitors, jobs of 0.2 s", "visitors, jobs of 1 s"].contains(&name) {
        let within = |time: Option<f64>, most: f64| time.is_some_and(|time| time <= most);
        assert!(within(outcome.down, 3.0) && within(outcome.up, 2.0), "{name} on {cpus}: {outcome:?}");
    }
}

/// Compares with what is in the repository.
fn compare(table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plant.table");
    if std::env::var_os("JOBGATE_RENEW").is_some() {
        std::fs::write(&path, table).unwrap();
        return;
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let mut differences = String::new();
    for line in known.lines().filter(|line| !table.lines().any(|new| new == *line)) {
        let _ = writeln!(differences, "- {line}");
    }
    for line in table.lines().filter(|line| !known.lines().any(|old| old == *line)) {
        let _ = writeln!(differences, "+ {line}");
    }
    assert!(
        differences.is_empty() && known == table,
        "the laws do something else than tests/plant.table says:\n{differences}\
         If that is meant: JOBGATE_RENEW=1 cargo test --test plant"
    );
}

const HEAD: &str = "\
What the laws do on a simulated machine (tests/plant.rs): time beside a pool of as many jobs as cpus; seconds with
cpu pressure above .30, in percent; standard deviation of the number of jobs over cpus; seconds until few enough ran
after as many others as cpus had come, and until nine tenths of what ran before ran again after they had gone
(medians of several visits).

case                         cpus  law          time  over    sd  down    up
";

#[test]
fn three_builds_that_come_at_once_on_two_cpus_run_two_jobs() {
    let mut plant = Plant::new(Machine::quiet(2), Law::Adaptive.settings(2));
    (0..3).for_each(|_| plant.join(Build::new(Work::computing(2, 1_000, 5))));
    while !plant.is_done() {
        plant.step();
        assert!(plant.running() <= 2, "{} ms", plant.now);
    }
}

/// Something happens on a machine.
#[derive(Clone, Debug)]
enum Event {
    Join(u64, u64, u64),
    Load(usize),
    Oddity(usize),
    Pass(u64),
}

const LOADS: [fn(u64, u32) -> u32; 4] =
    [|_, _| 0, |_, cpus| cpus.div_ceil(2), |_, cpus| cpus, |_, cpus| 3 * cpus];

const ODDITIES: [Oddity; 5] =
    [Oddity::None, Oddity::NoPressure, Oddity::FastReader, Oddity::WildCounter, Oddity::LateTicks];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (20u64..2_000, 0u64..80, 1u64..20).prop_map(|(length, waits, seconds)| {
            Event::Join(length, waits, seconds)
        }),
        2 => (0..LOADS.len()).prop_map(Event::Load),
        1 => (0..ODDITIES.len()).prop_map(Event::Oddity),
        4 => (10u64..4_000).prop_map(Event::Pass),
    ]
}

fn pass(plant: &mut Plant, ms: u64) {
    let until = plant.now + ms;
    while plant.now < until {
        plant.step();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever came before: on a quiet machine all cpus are in use six seconds later, and not many more. (That the limit
    /// stays within 1 and the ceiling, and nothing is issued above it, is asserted at each step.)
    #[test]
    fn nothing_that_has_passed_is_left(events in prop::collection::vec(event(), 1..30), cpus in 1u32..17) {
        let mut plant = Plant::new(Machine::quiet(cpus), Law::Adaptive.settings(cpus));
        for event in events {
            match event {
                Event::Join(length, waits, seconds) => {
                    plant.join(Build::new(Work { waits, ..Work::computing(cpus, length, seconds) }));
                }
                Event::Load(at) => plant.set_load(LOADS[at]),
                Event::Oddity(at) => plant.set_oddity(ODDITIES[at]),
                Event::Pass(ms) => pass(&mut plant, ms),
            }
        }
        plant.set_load(LOADS[0]);
        plant.set_oddity(Oddity::None);
        plant.builds.iter_mut().for_each(Build::abandon);
        pass(&mut plant, 2_000);
        plant.join(Build::new(Work::computing(cpus, 300, 60)));
        pass(&mut plant, 6_000);
        let mean = {
            let (mut jobs, steps) = (0, 500);
            (0..steps).for_each(|_| { plant.step(); jobs += plant.running(); });
            f64::from(jobs) / f64::from(steps)
        };
        let cpus = f64::from(cpus);
        prop_assert!(mean >= 0.97 * cpus, "{mean} jobs on {cpus} cpus");
        prop_assert!(mean <= 1.2 * cpus + 1.0, "{mean} jobs on {cpus} cpus");
    }
}

#[test]
fn the_laws_do_what_the_table_says() {
    let mut table = HEAD.to_owned();
    let computing = Work::computing;
    for cpus in [1, 2, 4, 8, 64] {
        for length in [200, 1_000, 10_000, 30_000] {
            let name = format!("quiet, jobs of {} s", length as f64 / 1000.0);
            let work = computing(cpus, length, 40.max(length / 150));
            row(&mut table, &name, Machine::quiet(cpus), Law::Adaptive, &[work], None);
        }
    }
    for cpus in [2, 8, 64] {
        for law in [Law::Threshold, Law::Static(4 * cpus)] {
            let work = computing(cpus, 1_000, 40);
            row(&mut table, "quiet, jobs of 1 s", Machine::quiet(cpus), law, &[work], None);
        }
    }
    for cpus in [1, 2, 4, 8, 64] {
        for (length, seconds, load, visits) in [
            (200, 120, visitors as fn(u64, u32) -> u32, VISITS),
            (1_000, 120, visitors, VISITS),
            (10_000, 240, long_visitors, LONG_VISITS),
            (30_000, 240, long_visitors, LONG_VISITS),
        ] {
            let name = format!("visitors, jobs of {} s", length as f64 / 1000.0);
            let machine = Machine { load, ..Machine::quiet(cpus) };
            row(&mut table, &name, machine, Law::Adaptive, &[computing(cpus, length, seconds)], visits);
            if length == 1_000 && [2, 8, 64].contains(&cpus) {
                let works = [computing(cpus, length, seconds)];
                row(&mut table, &name, machine, Law::Threshold, &works, visits);
            }
        }
    }
    for cpus in [2, 8, 64] {
        let machine = Machine::quiet(cpus);
        let work = computing(cpus, 1_000, 60);
        row(&mut table, "noise", Machine { load: noise, ..machine }, Law::Adaptive, &[work], None);
        let idle = Work { idle_until: 60_000, ..work };
        row(&mut table, "takes nothing for a minute", machine, Law::Adaptive, &[idle], None);
        let waiting = Work { waits: 70, ..work };
        row(&mut table, "waits 70 % of its time", machine, Law::Adaptive, &[waiting], None);
        let many = vec![Work { jobs: 20, ..work }; 3 * cpus as usize];
        row(&mut table, "three builds a cpu", machine, Law::Adaptive, &many, None);
        for oddity in [Oddity::NoPressure, Oddity::FastReader, Oddity::WildCounter, Oddity::LateTicks] {
            let name = match oddity {
                Oddity::NoPressure => "no pressure files",
                Oddity::FastReader => "a fast reader",
                Oddity::WildCounter => "a wild counter",
                Oddity::LateTicks => "late ticks",
                Oddity::None => "",
            };
            let machine = Machine { oddity, load: visitors, ..machine };
            let works = [computing(cpus, 1_000, 80)];
            row(&mut table, name, machine, Law::Adaptive, &works, VISITS);
        }
    }
    table.push_str(MEMORY_HEAD);
    memory(&mut table);
    compare(&table);
}

const MEMORY_HEAD: &str = "
Where memory is short: jobs killed for want of it, time beside the largest pool that kills none, most memory used.

case                         cpus  law       killed  time  used
";

/// Others take three fifths of 16 GiB, from the 20th to the 40th second.
fn hogs(now: u64) -> u64 {
    if (20_000..40_000).contains(&now) { 9_830 } else { 0 }
}

fn memory(table: &mut String) {
    let jobs = |jobs, length, memory| Work { jobs, length, waits: 5, memory, spread: 100, idle_until: 0 };
    let alike = |jobs, length, memory| Work { jobs, length, waits: 5, memory, spread: 10, idle_until: 0 };
    let small = |cpus, memory| Machine { memory, ..Machine::quiet(cpus) };
    let cases: [(&str, Machine, Vec<Work>); 11] = [
        ("300 MB each in 1200 MB", small(2, 1_200), vec![alike(64, 2_000, 300)]),
        ("the same, long", small(2, 1_200), vec![alike(32, 10_000, 300)]),
        ("the same, short", small(2, 1_200), vec![alike(320, 300, 300)]),
        ("the same, asleep", small(2, 1_200), vec![Work { waits: 95, ..alike(64, 150, 300) }]),
        ("150 to 450 MB in 1200 MB", small(2, 1_200), vec![jobs(64, 2_000, 300)]),
        ("the same, long", small(2, 1_200), vec![jobs(32, 10_000, 300)]),
        ("the same, short", small(2, 1_200), vec![jobs(320, 300, 300)]),
        ("the same, 70 % waiting", small(2, 1_200), vec![Work { waits: 70, ..jobs(64, 2_000, 300) }]),
        ("1 GB each in 8 GB", small(16, 8_192), vec![jobs(160, 8_000, 1_000)]),
        ("four small ones, one large", small(8, 8_192), {
            let mut works = vec![jobs(150, 2_000, 60); 4];
            works.push(Work { idle_until: 20_000, ..jobs(40, 8_000, 1_500) });
            works
        }),
        ("others come and go", Machine { others: hogs, ..small(8, 16_384) }, vec![jobs(160, 4_000, 1_000)]),
    ];
    for (name, machine, works) in cases {
        let pool = |jobs| run(machine, Law::Static(jobs), &works, None);
        let safe = (1..=4 * machine.cpus).map(pool).take_while(|outcome| outcome.killed == 0).last();
        for law in [Law::Adaptive, Law::Static(machine.cpus), Law::Static(4 * machine.cpus)] {
            let outcome = run(machine, law, &works, None);
            let law = if let Law::Static(jobs) = law { format!("static {jobs}") } else { "adaptive".into() };
            let time = safe.map_or("-".to_owned(), |safe| format!("{:.2}", outcome.seconds / safe.seconds));
            let used = 100 * outcome.most_memory / machine.memory;
            let _ = writeln!(
                table,
                "{name:<28} {:>4}  {law:<9} {:>6} {time:>5} {used:>4} %",
                machine.cpus, outcome.killed
            );
        }
    }
}
