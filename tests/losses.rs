//! What tools lose when they are killed, or add by mistake, and that the fifo's pool is whole again a beat later.
//! GNU make's own pool isn't: the same scripts in it show that something was lost or added.
//!
//! Doesn't know pressure, nor pipes: a pipe's losses come back with the end of its tree (conformance.rs).

mod support;

use support::Real::Make441;
use support::build::Build;
use support::pool::{Pool, at_once, write_client};
use support::{Jobs, jobs, succeed};

/// A `timeout` that waits until the tool is dead, and kills nothing else: one that kills its group dies with it, and the
/// next tool may then have opened the fifo before the first one has closed it; nobody was ever gone. The jobs of a tool
/// that was killed outlive it.
const LOSE: &str = "timeout --foreground -s";

/// What a script's last part saw of the pool.
#[derive(Debug)]
struct Seen {
    /// The jobs of the tool that ran after all the others.
    jobs: Jobs,
    /// How many tokens a client could take after it.
    tokens: String,
}

/// Runs a line of shell in a fifo's pool of four, then a tool of 24 jobs, then a client that counts.
///
/// The line finds that tool as `$TOOL`, a client that runs `client` as `$CLIENT`, and `$LOSE SIGNAL SECONDS`. Their jobs have a log of their
/// own: those of a killed tool may outlive it.
fn after(pool: &Pool, build: Build, client: &str, line: &str) -> Option<Seen> {
    let folder = tempfile::tempdir().unwrap();
    let tool = build.lay_jobs(folder.path(), 24, 0.25)?.remove(0);
    write_client(&folder.path().join("client.sh"), client);
    write_client(&folder.path().join("count.sh"), "drain; echo $taken; give $taken");
    let outer = "all:\n\t-@$$LOSE KILL 0.5 $(MAKE) --no-print-directory\n";
    std::fs::write(folder.path().join("outer.mk"), outer).unwrap();
    let line = format!("(export LOG=other; {line}) >/dev/null 2>&1; $TOOL >&2 && exec sh count.sh");
    let mut command = pool.command(4, folder.path(), &["sh", "-c", &line]);
    let said = succeed(command.env("TOOL", tool).env("CLIENT", "sh client.sh").env("LOSE", LOSE));
    Some(Seen { jobs: jobs(&folder.path().join("log")), tokens: said.trim().to_owned() })
}

/// How many jobs had started when four ran for the first time.
fn starts_before_four(jobs: &Jobs) -> usize {
    let until = jobs.course.iter().position(|&(_, running)| running == 4).unwrap_or(jobs.course.len());
    let mut before = 0;
    let starts = jobs.course[..until].iter().filter(|&&(_, running)| {
        let started = running > before;
        before = running;
        started
    });
    starts.count()
}

fn check_whole_again(build: Build, client: &str, line: &str) {
    let Some(seen) = after(&Pool::ours("fifo"), build, client, line) else { return };
    let name = format!("{line}, {client}, {build:?}: {seen:?}");
    assert_eq!((seen.jobs.count, seen.jobs.peak, &seen.tokens[..]), (24, 4, "3"), "{name}");
    // One at a time for a beat is 4 jobs; the rest is for a machine that is busy meanwhile.
    assert!(starts_before_four(&seen.jobs) <= 14, "{name}");
}

#[test]
fn what_a_killed_tool_held_is_back_a_beat_later() {
    let mut rows = Vec::new();
    for build in [Build::Make(Make441), Build::Ninja] {
        for signal in ["TERM", "KILL", "INT", "HUP"] {
            rows.push((build, format!("$LOSE {signal} 0.5 $TOOL")));
        }
        // Here the proxy, as on a busy machine, comes to look only when the next tool has opened the fifo already.
        let late = "(sleep 0.3; kill -STOP $PPID; sleep 0.6; kill -CONT $PPID) & $LOSE KILL 0.5 $TOOL";
        rows.push((build, late.to_owned()));
        // Here it has no descriptor to fill the fifo with, when that is due; later it has.
        let poor = "(sleep 2; prlimit --pid $PPID --nofile=1024:) & prlimit --pid $PPID --nofile=3:; \
                    $LOSE KILL 0.5 $TOOL";
        rows.push((build, poor.to_owned()));
    }
    at_once(&rows, |(build, line)| check_whole_again(*build, "", line));
}

#[test]
fn losses_one_after_the_other_come_back() {
    let make = Build::Make(Make441);
    let rows = [
        (make, "for i in 1 2 3; do $LOSE KILL 0.4 $TOOL; done"),
        (make, "for i in 1 2 3; do $LOSE TERM 0.7 $TOOL; done"),
        (Build::Ninja, "for i in 1 2 3; do $LOSE KILL 0.4 $TOOL; done"),
        // Below a make that lives on: back when that has ended.
        (make, "$TOOL -f outer.mk"),
        (make, "for i in 1 2 3; do $CLIENT; done"),
    ];
    at_once(&rows, |&(build, line)| check_whole_again(build, "take 5", line));
}

#[test]
fn minted_tokens_do_not_stay() {
    let rows = [
        ("give 3; sleep 0.5", "$CLIENT"),
        ("give 5; sleep 0.3", "for i in 1 2 3; do $CLIENT; done"),
        ("give 3; sleep 0.5", "sleep 1.5; $CLIENT"),
        ("take 5; give 4; sleep 0.5", "$CLIENT"),
        ("give 3", "$TOOL & sleep 0.6; $CLIENT; wait"),
        ("give 3", "$LOSE KILL 1 $TOOL & sleep 0.6; $CLIENT; wait"),
    ];
    at_once(&rows, |&(client, line)| check_whole_again(Build::Make(Make441), client, line));
}

#[test]
fn gnu_makes_own_pool_shows_losses_and_mints() {
    let Some(pool) = Pool::reference(Make441, "fifo") else { return };
    let make = Build::Make(Make441);
    // The last: whether the pool is smaller or larger afterwards.
    let rows = [
        (make, "", "$LOSE TERM 0.5 $TOOL", false),
        (make, "", "$LOSE KILL 0.5 $TOOL", false),
        (make, "", "$LOSE INT 0.5 $TOOL", false),
        (make, "", "$LOSE HUP 0.5 $TOOL", false),
        (Build::Ninja, "", "$LOSE KILL 0.5 $TOOL", false),
        (make, "", "$TOOL -f outer.mk", false),
        (make, "give 3; sleep 0.5", "$CLIENT", true),
    ];
    at_once(&rows, |&(build, client, line, larger)| {
        let Some(seen) = after(&pool, build, client, line) else { return };
        let tokens: usize = seen.tokens.parse().unwrap();
        let is = |figure: usize, whole: usize| if larger { figure > whole } else { figure < whole };
        assert!(is(seen.jobs.peak, 4) && is(tokens, 3), "{line}, {client}, {build:?}: {seen:?}");
    });
}
