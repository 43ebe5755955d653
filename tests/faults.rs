//! Every call that jobgate makes to the system may fail: the build goes on, or it was refused before it began.
//!
//! Doesn't know what a failed call leads to, only what must never come of it.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use support::faults::Fault;
use support::faults::scenes::{SCENES, Scene};
use support::faults::sites::{self, Site};
use support::faults::stage::{Outcome, Stage, Wrong};

/// Runs at once: they mostly wait.
const AT_ONCE: usize = 16;

/// So often is it tried to come by a call: some are made only when things happen in a certain order.
const TRIES: usize = 8;

/// ... and so many times more where it wasn't come by at first.
const AGAIN: usize = 4;

/// `all`: each error that a call can end by, once and for ever, in several scenes; else one of each call. `SCENE/SITE/ERROR`: one run.
const WHICH: &str = "JOBGATE_FAULTS";

type Play = (&'static Scene, Fault);

/// Where jobgate calls the system, and in which scenes it comes by there.
struct Listed {
    stage: Stage,
    sites: BTreeMap<u64, (Site, Vec<&'static Scene>)>,
}

/// Plays all of these, several at a time, and gives what came of each, in their order.
fn play_all(stage: &Stage, plays: &[Play]) -> Vec<Outcome> {
    // Those of the tests beside this one come later: more at once are no quicker.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let at = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(&(scene, fault)) = plays.get(at)
                {
                    let outcome = stage.play(scene, fault);
                    outcomes.lock().unwrap().insert(at, outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap().into_values().collect()
}

/// `None` where it can't be tried on this machine.
fn listed() -> Option<&'static Listed> {
    static LISTED: OnceLock<Option<Listed>> = OnceLock::new();
    LISTED.get_or_init(list).as_ref()
}

fn list() -> Option<Listed> {
    let stage = Stage::set(sites::depth(all().is_some()))?;
    let scenes = SCENES.iter().filter(|scene| stage.can_play(scene));
    let plays: Vec<Play> = scenes.map(|scene| (scene, Fault::None)).collect();
    let outcomes = play_all(&stage, &plays);
    let mut sites = BTreeMap::<u64, (Site, Vec<&'static Scene>)>::new();
    let mut wrong = Vec::new();
    for ((scene, _), outcome) in plays.iter().zip(outcomes) {
        for site in sites::read(&outcome.notes.path().join("notes")) {
            let (known, scenes) = sites.entry(site.hash).or_insert_with(|| (site.clone(), Vec::new()));
            known.may_be_short |= site.may_be_short;
            if !scenes.iter().any(|other| other.name == scene.name) {
                scenes.push(scene);
            }
        }
        wrong.extend(
            outcome.wrong.iter().map(|wrong| format!("{}: {} {}", scene.name, wrong.what, outcome.said)),
        );
    }
    assert!(wrong.is_empty(), "without any fault: {wrong:#?}");
    Some(Listed { stage, sites })
}

/// Plays them, those that don't come by their site again and in its other scenes, and tells what was wrong.
fn check(listed: &Listed, what: &str, plays: Vec<Play>) {
    let started = std::time::Instant::now();
    let (all, mut runs) = (plays.len(), 0);
    let mut left = plays;
    let mut wrong = Vec::new();
    for tried in 0..TRIES {
        let copies = if tried == 0 { 1 } else { AGAIN };
        let now: Vec<Play> = match tried {
            0 => left.clone(),
            _ => left.iter().flat_map(|&(_, fault)| vec![again(listed, fault, tried); copies]).collect(),
        };
        runs += now.len();
        let outcomes = play_all(&listed.stage, &now);
        for (&(scene, fault), outcome) in now.iter().zip(&outcomes) {
            wrong.extend(tell(listed, scene, fault, outcome));
        }
        let is_hit = |at: usize| outcomes[at * copies..(at + 1) * copies].iter().any(|outcome| outcome.hit);
        let missed =
            left.iter().enumerate().filter(|(at, (_, fault))| site_of(*fault).is_some() && !is_hit(*at));
        left = missed.map(|(_, play)| *play).collect();
        if left.is_empty() {
            break;
        }
    }
    let took = started.elapsed().as_secs();
    let missed = left.len();
    left.retain(|(_, fault)| !is_rare(listed, *fault));
    let rare = missed - left.len();
    println!(
        "{what}: {all} listed, {} hit, {rare} not come by again without a fault either; {runs} runs, {took} s",
        all - missed
    );
    wrong.extend(left.iter().map(|&(scene, fault)| format!("never come by: {}", name(listed, scene, fault))));
    assert!(wrong.is_empty(), "{what}: {} things are wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether it is a matter of luck to come by a site: it was come by when all were listed, and mostly isn't when its scenes are
/// played again.
fn is_rare(listed: &Listed, fault: Fault) -> bool {
    let Some((site, scenes)) = site_of(fault).map(|site| &listed.sites[&site]) else { return false };
    let plays: Vec<Play> = scenes.iter().flat_map(|&scene| vec![(scene, Fault::None); AGAIN]).collect();
    let outcomes = play_all(&listed.stage, &plays);
    let is_there = |outcome: &Outcome| {
        sites::read(&outcome.notes.path().join("notes")).iter().any(|other| other.hash == site.hash)
    };
    2 * outcomes.iter().filter(|outcome| is_there(outcome)).count() < outcomes.len()
}

fn site_of(fault: Fault) -> Option<u64> {
    match fault {
        Fault::Fail { site, .. } | Fault::Short { site } => Some(site),
        Fault::None | Fault::Interrupted { .. } => None,
    }
}

/// The same fault in one of the scenes in which its site was come by, another one each time.
fn again(listed: &Listed, fault: Fault, tried: usize) -> Play {
    let scenes = site_of(fault).map(|site| &listed.sites[&site].1).expect("it has a site");
    (scenes[tried % scenes.len()], fault)
}

/// How to play it again, and where it is.
fn name(listed: &Listed, scene: &Scene, fault: Fault) -> String {
    let at = |site: u64| listed.sites[&site].0.name(listed.stage.kit());
    match fault {
        Fault::None => format!("{WHICH}='{}'", scene.name),
        Fault::Fail { site, error, always } => {
            let (often, how) = if always { ("always/", "always ") } else { ("", "") };
            let error_name = nix::errno::Errno::from_raw(error);
            format!("{WHICH}='{}/{site:x}/{often}{error}' {how}{error_name:?}: {}", scene.name, at(site))
        }
        Fault::Short { site } => format!("{WHICH}='{}/{site:x}/short': {}", scene.name, at(site)),
        Fault::Interrupted { each_second } => {
            format!("{WHICH}='{}/{}'", scene.name, if each_second { "second" } else { "first" })
        }
    }
}

/// What was wrong, if anything is that mustn't be.
fn tell(listed: &Listed, scene: &Scene, fault: Fault, outcome: &Outcome) -> Option<String> {
    let site = site_of(fault).map(|site| &listed.sites[&site].0);
    let error = if let Fault::Fail { error, .. } = fault { error } else { 0 };
    let is_allowed = |wrong: &Wrong| {
        site.is_some_and(|site| {
            sites::allowance(site, scene, error, wrong.kind, listed.stage.kit()).is_some()
        })
    };
    let wrong = outcome.wrong.iter().filter(|wrong| !is_allowed(wrong));
    let wrong: Vec<String> = wrong.map(|wrong| format!("\n      {:?}: {}", wrong.kind, wrong.what)).collect();
    let said =
        if outcome.said.is_empty() { String::new() } else { format!("\n      it said: {}", outcome.said) };
    (!wrong.is_empty()).then(|| name(listed, scene, fault) + &wrong.concat() + &said)
}

/// The one run that was asked for.
fn one(listed: &Listed) -> Option<Play> {
    let which = std::env::var(WHICH).ok()?;
    let words: Vec<&str> = which.split('/').collect();
    let scene = SCENES.iter().find(|scene| scene.name == words[0])?;
    let site = words.get(1).and_then(|word| u64::from_str_radix(word, 16).ok()).unwrap_or(0);
    let fault = match words[1..] {
        [] => Fault::None,
        ["first"] => Fault::Interrupted { each_second: false },
        ["second"] => Fault::Interrupted { each_second: true },
        [_, "short"] => Fault::Short { site },
        [_, "always", error] => Fault::Fail { site, error: error.parse().ok()?, always: true },
        [_, error] => Fault::Fail { site, error: error.parse().ok()?, always: false },
        _ => return None,
    };
    if let Some((site, _)) = listed.sites.get(&site) {
        let lines = listed.stage.kit().lines_of(&site.calls);
        let names = site.calls.iter().map(|&call| listed.stage.kit().name_of(call));
        lines.iter().zip(names).for_each(|(line, name)| println!("{line}  {name}"));
    }
    Some((scene, fault))
}

/// Everything is tried: which part of it, and of how many (`all`, or `all/PART/PARTS`).
fn all() -> Option<(usize, usize)> {
    let which = std::env::var(WHICH).ok()?;
    let mut words = which.split('/');
    let part = |word: Option<&str>| word.and_then(|word| word.parse().ok());
    (words.next() == Some("all")).then(|| (part(words.next()).unwrap_or(0), part(words.next()).unwrap_or(1)))
}

#[test]
fn any_call_may_fail() {
    let Some(listed) = listed() else { return };
    if let Some(play) = one(listed) {
        return check(listed, "one call that fails", vec![play]);
    }
    let fail = |site: &Site, error: i32, always: bool| Fault::Fail { site: site.hash, error, always };
    let mut plays: Vec<Play> = listed
        .sites
        .values()
        .map(|(site, scenes)| (scenes[0], fail(site, site.errors()[0], false)))
        .collect();
    if let Some((part, parts)) = all() {
        // Elsewhere, otherwise, and for ever.
        for (site, scenes) in listed.sites.values() {
            plays.extend(
                scenes.iter().skip(1).take(1).map(|scene| (*scene, fail(site, site.errors()[0], false))),
            );
            plays.extend(site.errors()[1..].iter().map(|&error| (scenes[0], fail(site, error, false))));
            // Nobody is interrupted for ever.
            let lasting = site.errors().iter().filter(|&&error| error != libc::EINTR);
            plays.extend(lasting.map(|&error| (scenes[0], fail(site, error, true))));
        }
        plays = plays.into_iter().skip(part).step_by(parts).collect();
    }
    check(listed, "calls that fail", plays);
}

#[test]
fn reads_and_writes_may_come_short() {
    let Some(listed) = listed() else { return };
    let sites = listed.sites.values().filter(|(site, _)| site.may_be_short);
    let plays = sites.map(|(site, scenes)| (scenes[0], Fault::Short { site: site.hash }));
    check(listed, "reads and writes of one byte", plays.collect());
}

#[test]
fn every_call_that_waits_may_be_interrupted() {
    let Some(listed) = listed() else { return };
    let scenes = SCENES.iter().filter(|scene| listed.stage.can_play(scene));
    let both = [false, true].map(|each_second| Fault::Interrupted { each_second });
    let plays = scenes.flat_map(|scene| both.map(|fault| (scene, fault)));
    check(listed, "scenes with interruptions", plays.collect());
}

/// Functions that ask nothing of the system, or nothing that it could refuse; and those for memory and threads.
const NEVER_FAIL: &str = "
    __cxa_finalize __cxa_thread_atexit_impl __errno_location __gmon_start__ __libc_current_sigrtmax __libc_start_main
    __tls_get_addr __xpg_strerror_r _exit abort bcmp clock_gettime dirfd dl_iterate_phdr dlsym environ exit exp getauxval getenv getegid
    geteuid getgid getgrgid_r getgrouplist getuid getpid getppid gettid gnu_get_libc_version isatty log10 memcmp memcpy memmove memset pause pow sched_yield sigaddset sigemptyset
    sigfillset strlen sysconf umask unsetenv
    calloc free malloc mmap64 mprotect munmap posix_memalign realloc sigaltstack";

/// Those that only parts of Rust's library call that jobgate never comes by: for another user's commands, and for pidfds.
const NEVER_CALLED: &str = "chroot setgid setgroups setpgid setuid pidfd_getpid pidfd_spawnp";

#[test]
fn nothing_is_called_past_the_library() {
    let Some(listed) = listed() else { return };
    let kit = listed.stage.kit();
    let known: Vec<&str> = NEVER_FAIL.split_whitespace().chain(NEVER_CALLED.split_whitespace()).collect();
    let is_harmless = |name: &str| {
        let prefixes = ["_ITM_", "_Unwind_", "pthread_", "posix_spawnattr_", "posix_spawn_file_actions_"];
        known.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let past = kit.imported.iter().filter(|name| !kit.wrapped.contains(name) && !is_harmless(name));
    assert_eq!(past.collect::<Vec<_>>(), Vec::<&String>::new(), "called, and not stood in front of");
}
