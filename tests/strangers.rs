//! A service for several users: what one of them does, or says, takes nothing from another, shows him nothing of another's, and
//! changes nothing.
//!
//! Only root can be several users; others skip it. Doesn't know what a single user's clients can do (hostile.rs).

mod support;

use nix::unistd::{Gid, Uid, chown};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::raw::{Gate, Raw, STRANGER, hello, one};
use support::shared::Shared;
use support::{DEADLINE, finish, finish_child, jobgate, skipped};

/// Another whom nobody knows.
const SECOND: u32 = STRANGER + 1;

/// Who stands for everybody whom a user namespace doesn't know.
const OVERFLOW: u32 = 65_534;

/// Whether this can be several users.
fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skipped("only root can be several users");
    }
    is_root
}

/// A command of another user's, with these groups; our own program lies where he can read it.
fn by(shared: &Shared, uid: u32, groups: &str, words: &[&str]) -> Command {
    let folder = shared.folder.path();
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.join("jobgate");
    if !program.exists() {
        std::fs::copy(jobgate(), &program).unwrap();
    }
    let mut command = shared.command("setpriv");
    let id = uid.to_string();
    let groups = if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={groups}") };
    command.args(["--reuid", &id, "--regid", &id, &groups]).arg(program).args(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn client<'a>(status: &'a Value, label: &str) -> &'a Value {
    let clients = status["clients"].as_array().expect("clients");
    clients.iter().find(|client| client["label"] == label).unwrap_or_else(|| panic!("no {label} in {status}"))
}

/// What all clients of a user are charged for.
fn charge_of(status: &Value, uid: u32) -> u64 {
    let clients = status["clients"].as_array().expect("clients");
    let figure = |client: &Value, name: &str| client[name].as_u64().expect("a number");
    let charge =
        |client: &Value| figure(client, "lease") + figure(client, "allotment").max(figure(client, "held"));
    let counts = |client: &&Value| client["uid"] == uid && client["stopped"] == false;
    clients.iter().filter(counts).map(charge).sum()
}

/// Asks another user's connection to set something: what it is answered.
fn set(mut by: Raw, jobs: &str) -> Value {
    by.enter(&json!({"asks_only": true}));
    by.say(&json!({"set": {"jobs": jobs}})).unwrap();
    by.hear().expect("an answer")
}

#[test]
fn only_root_and_the_owner_change_the_gate() {
    if !is_root() {
        return;
    }
    for owner in [0, STRANGER, OVERFLOW] {
        let shared = Shared::new();
        let folder = shared.folder.path().join("gate");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(shared.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        chown(&folder, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner))).unwrap();
        let shared = Shared { socket: folder.join("socket"), ..shared };
        let gate = Gate::serve_as(shared, owner, "jobs = 3\n");
        // What a stranger says that was set counts as little.
        let mut other = gate.connect_as(SECOND);
        other.enter(&json!({"lease": "nothing", "style": "held", "set": {"jobs": "9"}}));
        for uid in [SECOND, OVERFLOW] {
            let answer = set(gate.connect_as(uid), "4");
            assert_eq!(
                answer["refused"]["why"],
                format!("user {uid} may not change the gate: its owner and root may")
            );
        }
        assert_eq!(other.status()["jobs"], 3, "the owner is {owner}");
        if owner != OVERFLOW {
            assert_eq!(set(gate.connect_as(owner), "5")["set"]["set"]["jobs"], "5");
        }
        assert_eq!(set(gate.connect(), "6")["set"]["set"]["jobs"], "6");
        assert_eq!(other.status()["jobs"], 6);
        let long = set(gate.connect(), &"0".repeat(200));
        assert!(long["refused"]["why"].as_str().is_some_and(|why| why.starts_with("jobs: ")), "{long}");
    }
}

#[test]
fn one_users_connections_are_counted_and_others_come_in() {
    if !is_root() {
        return;
    }
    let gate = Gate::serve("jobs = 3\nconnections = 5\n");
    let mut own: Vec<Raw> = (0..5).map(|_| gate.connect_as(STRANGER)).collect();
    // Also those that never say hello.
    own[1..].iter_mut().for_each(|raw| drop(raw.enter(&json!({"asks_only": true}))));
    let refused = gate.connect_as(STRANGER).hello(&json!({ "lease": one() }));
    let why = refused["refused"]["why"].as_str().expect("a sentence");
    let at = gate.shared.socket.display();
    assert_eq!(why, format!("user {STRANGER} has 5 connections to the gate at {at}, and may have no more"));
    assert_eq!(refused["refused"]["request"], false, "another gate may do");
    let output = finish(&mut by(&gate.shared, STRANGER, "", &["status"]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("may have no more"), "{output:?}");
    // However many try.
    let crowd: Vec<Raw> = (0..200).map(|_| gate.connect_as(STRANGER)).collect();
    gate.connect_as(SECOND).enter(&json!({"asks_only": true}));
    gate.serves_promptly();
    drop(crowd);
    own.pop();
    let started = Instant::now();
    while gate.connect_as(STRANGER).hello(&json!({"asks_only": true})).get("welcome").is_none() {
        assert!(started.elapsed() < DEADLINE, "one has left");
    }
    drop(own);
    gate.is_as_before();
}

#[test]
fn a_strangers_wishes_take_nothing_from_others() {
    if !is_root() {
        return;
    }
    let gate = Gate::serve("jobs = 1\nmax-weight = 3\n[quota]\ndefault = 1\n");
    let mut first = gate.connect();
    first.enter(&json!({ "lease": one() }));
    first.await_word("granted");
    first.say(&json!("started")).unwrap();
    let greedy = json!({"lease": one(), "weight": 1_000_000, "max_wait_s": 0.001, "label": "greedy"});
    let mut stranger = gate.connect_as(STRANGER);
    let welcome = stranger.enter(&greedy);
    let notices = welcome["notices"].as_array().expect("notices");
    let told =
        |what: &str| notices.iter().any(|notice| notice.as_str().is_some_and(|text| text.starts_with(what)));
    assert!(
        notices.len() == 2 && told("--weight counts as 3: ") && told("--max-wait is passed over: "),
        "{welcome}"
    );
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(100) {
        let status = gate.connect_and_ask();
        assert_eq!(client(&status, "greedy")["lease"], 0, "it waits like others: {status}");
    }
    // Root may have both, and hears nothing.
    let mut root = gate.connect();
    assert_eq!(
        root.enter(&json!({"lease": one(), "weight": 9, "max_wait_s": 0.001, "label": "root"}))["notices"],
        json!([])
    );
    root.await_word("granted");
    let status = root.status();
    assert_eq!(
        (&client(&status, "root")["weight"], &client(&status, "root")["overdue"]),
        (&9.into(), &true.into())
    );
    drop((first, root));
    stranger.await_word("granted");
    let status = gate.connect_and_ask();
    let own = client(&status, "greedy");
    assert_eq!((&own["weight"], &own["overdue"]), (&3.into(), &false.into()), "{status}");
    // To wait longer is everybody's own affair.
    let patient = json!({"lease": one(), "max_wait_s": 0.0, "weight": 2});
    assert_eq!(gate.connect_as(SECOND).enter(&patient)["notices"], json!([]));
}

#[test]
fn nobody_sees_what_others_run() {
    if !is_root() {
        return;
    }
    let gate = Gate::serve("jobs = 3\n");
    let mut first = gate.connect_as(STRANGER);
    first.enter(&json!({"lease": one(), "label": "make SECRET=1", "style": "pipe"}));
    first.await_word("granted");
    first.say(&json!("started")).unwrap();
    let mut second = gate.connect_as(SECOND);
    second.enter(&json!({"lease": one(), "label": "own"}));
    second.await_word("granted");
    let seen = second.status();
    let others = client(&seen, "another user's");
    let hidden = (&others["pid"], &others["style"], &others["uid"], &others["lease"]);
    assert_eq!(hidden, (&0.into(), &"".into(), &STRANGER.into(), &1.into()), "figures are no secret: {seen}");
    assert!(
        !seen.to_string().contains("SECRET") && client(&seen, "own")["pid"] == std::process::id(),
        "{seen}"
    );
    assert_eq!(seen["in_use"], 2);
    let root = gate.connect_and_ask();
    assert_eq!(client(&root, "make SECRET=1")["style"], "pipe", "{root}");
    second.say(&json!("why")).unwrap();
    assert!(!second.await_word("why").to_string().contains("SECRET"));
    // He sees his own, whatever connection asks.
    let mut again = gate.connect_as(STRANGER);
    again.enter(&json!({"asks_only": true}));
    assert_eq!(client(&again.status(), "make SECRET=1")["uid"], STRANGER);
}

/// A run of ours that nobody here has started, as the kernel sees it: it is a child of the machine's first process. Ended
/// with the test.
struct Orphan<'a>(&'a Gate);

impl Orphan<'_> {
    fn start(gate: &Gate) -> Orphan<'_> {
        nix::unistd::mkfifo(&gate.shared.folder.path().join("end"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Only once its shell, which is our child, has ended.
        let line = "sh -c 'while read -r pid name state parent rest </proc/$$/stat && [ $parent = $1 ]; do :; done; \
                    exec \"$0\" run --label ours -- sh -c \"read end <end\"' \"$0\" $$ >/dev/null 2>&1 & exit 0";
        let mut shell = gate.shared.command("sh");
        assert!(finish(shell.args(["-c", line, jobgate()])).status.success());
        Orphan(gate)
    }
}

impl Drop for Orphan<'_> {
    fn drop(&mut self) {
        let end = self.0.shared.folder.path().join("end");
        let both = std::fs::File::options().read(true).write(true).open(&end).unwrap();
        std::io::Write::write_all(&mut &both, b"\n").unwrap();
        std::fs::remove_file(end).unwrap();
        self.0.shared.await_status(|status| our_run(status).is_none());
    }
}

/// The run of ours, once it has its lease.
fn our_run(status: &Value) -> Option<&Value> {
    let clients = status["clients"].as_array().expect("clients");
    clients.iter().find(|client| client["label"] == "ours" && client["waits_s"].is_null())
}

/// Whether the run of ours is taken to be inside a job of somebody's.
fn is_lent(gate: &Gate) -> bool {
    let status = gate.shared.await_status(|status| our_run(status).is_some());
    our_run(&status).expect("just seen")["borrowed"] == true
}

#[test]
fn nobody_makes_himself_the_job_around_another() {
    if !is_root() {
        return;
    }
    let gate = Gate::serve("jobs = 6\n");
    let ours = std::process::id();
    let around = |bound_to: u32, pid: u32| json!({"lease": one(), "bound_to": bound_to, "pid": pid});
    // The first process is above the run, but no stranger's. Root may speak of it, but not by a number from elsewhere.
    for (uid, claims, lends) in
        [(STRANGER, around(1, ours), false), (0, around(1, 7), false), (0, around(1, ours), true)]
    {
        let mut raw = gate.connect_as(uid);
        raw.enter(&claims);
        raw.await_word("granted");
        raw.say(&json!("started")).unwrap();
        let orphan = Orphan::start(&gate);
        assert_eq!(is_lent(&gate), lends, "{uid}: {claims}");
        drop((orphan, raw));
    }
    // A job pays for its own user's only.
    let mut run =
        gate.shared.jobgate(&["run", "--label", "ours", "--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    assert!(!is_lent(&gate));
    let of_its_job = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id())).unwrap();
    let lenders = of_its_job.split_whitespace().map(|pid| pid.parse::<u32>().expect("a pid"));
    for (lender, uid) in lenders.flat_map(|pid| [(pid, STRANGER), (pid, 0)]) {
        let mut raw = gate.connect_as(uid);
        raw.enter(&json!({"lease": one(), "lender": lender, "label": "guest"}));
        raw.await_word("granted");
        let status = gate.connect_and_ask();
        let name = std::fs::read_to_string(format!("/proc/{lender}/comm")).unwrap();
        assert_eq!(
            client(&status, "guest")["borrowed"],
            uid == 0 && name == "cat\n",
            "{name}, {uid}: {status}"
        );
    }
    drop(run.stdin.take());
    assert!(finish_child(run).status.success());
}

#[test]
fn a_pid_that_comes_again_is_another_process() {
    use std::io::{BufRead, BufReader, Write};
    let last = "/proc/sys/kernel/ns_last_pid";
    let Some(next) = std::fs::read(last).ok().filter(|_| is_root()) else {
        return skipped("the next pid can't be chosen");
    };
    let gate = Gate::serve("jobs = 6\n");
    let id = STRANGER.to_string();
    let mut first = Command::new("setpriv");
    first.args(["--reuid", &id, "--regid", &id, "--clear-groups", "sh", "-c", "echo up; exec cat"]);
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let pid = first.id();
    let mut around = gate.connect_as(STRANGER);
    around.enter(&json!({"lease": one(), "bound_to": pid}));
    around.await_word("granted");
    around.say(&json!("started")).unwrap();
    drop(first.stdin.take());
    first.wait().unwrap();
    // When a process started is told in hundredths of a second: no pid comes again that soon where it isn't chosen.
    std::thread::park_timeout(std::time::Duration::from_millis(30));
    let line = "read go && \"$0\" run --label ours -- cat; exit";
    for _ in 0..500 {
        std::fs::write(last, (pid - 1).to_string()).unwrap();
        let mut shell = gate.shared.command("sh");
        let mut child = shell.args(["-c", line, jobgate()]).stdin(Stdio::piped()).spawn().unwrap();
        if child.id() != pid {
            drop(child.stdin.take());
            child.wait().unwrap();
            continue; // somebody was quicker
        }
        std::fs::write(last, &next).unwrap();
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        assert!(!is_lent(&gate));
        assert!(finish_child(child).status.success());
        return;
    }
    skipped("the pid was never had again");
}

#[test]
fn what_a_stranger_says_that_he_has_costs_others_nothing() {
    if !is_root() {
        return;
    }
    let gate = Gate::serve("jobs = 6\n[quota]\ndefault = 2\n[quota.users]\nroot = 6\n");
    let all = json!({"lease": 4096, "allotment": 4096, "held": u32::MAX});
    let kinds = [
        json!({"lease": one(), "claim": all}),
        json!({"lease": one(), "claim": {"lease": 1}}),
        json!({"lease": one(), "claim": {"borrowed": true, "held": 9}, "inside": true}),
        json!({"lease": "counted", "cap": 4096}),
        json!({"lease": one(), "cap": 4096}),
        json!({"lease": "nothing", "claim": {"stopped": true, "held": 4000, "allotment": 4000}}),
        json!({"lease": {"wait": {"min": 1, "max": 4096}}, "style": "exec"}),
    ];
    let words = [
        json!("started"),
        json!("stopped"),
        json!({"report": {"serial": 0, "held": 4096, "appetite": {"slack": u32::MAX}}}),
        json!("continued"),
        json!({"report": {"serial": u64::MAX, "held": 4096, "appetite": "full"}}),
        json!({"command": {"pid": 1}}),
        json!("started"),
    ];
    let mut crowd: Vec<Raw> = Vec::new();
    for round in 0..10 {
        for kind in &kinds {
            let mut raw = gate.connect_as(STRANGER);
            raw.enter(kind);
            words.iter().for_each(|word| raw.say(word).unwrap());
            crowd.push(raw);
        }
        gate.serves_promptly();
        let status = gate.connect_and_ask();
        let charge = charge_of(&status, STRANGER);
        assert!((1..=4).contains(&charge), "round {round}: {charge}, {status}");
    }
    drop(crowd);
    // What he can never have isn't waited for.
    let many =
        gate.connect_as(SECOND).hello(&json!({"lease": {"wait": {"min": 3, "max": 3}}, "style": "exec"}));
    let why = format!("3 tokens can never be had: user {SECOND} may have 2");
    assert_eq!(many["refused"], json!({"why": why, "request": true}));
    gate.is_as_before();
}

#[test]
fn a_crowd_that_asks_without_end_keeps_another_user_from_nothing() {
    if !is_root() {
        return;
    }
    let gate = Gate::serve("jobs = 6\n[quota]\ndefault = 2\n");
    let over = AtomicBool::new(false);
    let crowd: Vec<Raw> = (0..300)
        .map(|_| {
            let mut raw = gate.connect_as(STRANGER);
            raw.enter(&json!({"lease": "nothing", "style": "held", "label": "x".repeat(60)}));
            raw.stream.set_nonblocking(true).unwrap();
            raw
        })
        .collect();
    std::thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            use std::io::{Read, Write};
            let questions = b"\"status\"\n\"why\"\n\"stopped\"\n\"continued\"\n".repeat(20);
            let mut bytes = vec![0; 1 << 20];
            while !over.load(Ordering::Relaxed) {
                for raw in &crowd {
                    let _ = (&raw.stream).write(&questions);
                    let _ = (&raw.stream).read(&mut bytes);
                }
            }
        });
        let _end = support::raw::AtTheEnd(over);
        (0..20).for_each(|_| gate.serves_promptly());
    });
    gate.is_as_before();
}

#[test]
fn answers_that_a_user_never_reads_are_kept_up_to_a_bound() {
    if !is_root() {
        return;
    }
    jobgate::sys::limits::lift_descriptors();
    let gate = Gate::serve("jobs = 3\n");
    // So many that an answer is longer than what the kernel keeps of it.
    let crowd: Vec<Raw> = (0..900)
        .map(|_| {
            let mut raw = gate.connect_as(STRANGER);
            raw.say(&hello(&json!({"lease": "nothing", "style": "held", "label": "x".repeat(60)}))).unwrap();
            raw
        })
        .collect();
    gate.shared
        .await_status(|status| status["clients"].as_array().is_some_and(|clients| clients.len() == 900));
    let mut askers: Vec<Raw> = Vec::new();
    for _ in 0..100 {
        let mut asker = gate.connect_as(STRANGER);
        asker.enter(&json!({"asks_only": true}));
        asker.say(&json!("status")).unwrap();
        askers.push(asker);
    }
    gate.serves_promptly();
    let mut long = gate.connect();
    long.enter(&json!({"asks_only": true}));
    let length = long.status().to_string().len();
    assert!(length > 230_000, "{length}");
    // Those asked first have theirs; those who came when there was too much have a part of it, and the end.
    let answered = askers.iter_mut().map(|asker| asker.hear().is_some());
    let answered: Vec<bool> = answered.collect();
    let count = answered.iter().filter(|&&is| is).count();
    assert!((5..95).contains(&count) && answered[0], "{count} of 100 were answered");
    drop((crowd, askers, long));
    gate.is_as_before();
}

#[test]
fn the_groups_of_a_process_let_it_in() {
    if !is_root() {
        return;
    }
    let gate = Gate::serve(&format!("jobs = 3\n[access]\nusers = [{SECOND}]\ngroups = [4242, {OVERFLOW}]\n"));
    let asks = |uid: u32, groups: &str| {
        let output = finish(&mut by(&gate.shared, uid, groups, &["status"]));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(asks(STRANGER, "4243,4242"), (Some(0), String::new()));
    assert_eq!(asks(4242, ""), (Some(0), String::new()), "also by its own group");
    assert_eq!(asks(SECOND, ""), (Some(0), String::new()));
    for groups in ["", "4243", &(1000..1200).map(|gid| gid.to_string()).collect::<Vec<_>>().join(",")] {
        let (code, said) = asks(STRANGER, groups);
        assert!(
            code == Some(125) && said.contains(&format!("user {STRANGER} may not use the gate")),
            "{said}"
        );
    }
    assert_eq!(asks(OVERFLOW, "").0, Some(125), "an unknown group is none that could be meant");
    let many: Vec<String> = (4200..4300).map(|gid| gid.to_string()).collect();
    assert_eq!(asks(STRANGER, &many.join(",")), (Some(0), String::new()));
}

#[test]
fn who_cant_be_seen_is_believed_as_far_as_his_own_pay() {
    if !is_root() {
        return;
    }
    let around = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !Command::new(around[0]).args(&around[1..]).arg("true").status().is_ok_and(|status| status.success()) {
        return skipped("no pid namespace can be had");
    }
    let gate = Gate::serve_below(&around, "jobs = 6\n[quota]\ndefault = 3\n");
    let inside =
        |label: &str| json!({"lease": one(), "inside": true, "label": label, "bound_to": 1, "pid": 1});
    let mut clients = Vec::new();
    let mut enter = |fields: Value| {
        let mut raw = gate.connect_as(STRANGER);
        raw.say(&hello(&fields)).unwrap();
        let granted = raw.await_word("granted");
        raw.say(&json!("started")).unwrap();
        raw.status();
        clients.push(raw);
        granted["borrowed"] == true
    };
    assert!(!enter(inside("alone")), "nobody of his pays for it");
    assert!(enter(inside("first")), "the one before it pays");
    assert!(!enter(inside("second")), "that one pays for one");
    assert!(enter(inside("third")));
    // Nor is he the job around anybody, in whatever namespace his pids are.
    let mut other = gate.connect_as(SECOND);
    other.enter(&inside("other"));
    assert_eq!(other.await_word("granted")["borrowed"], false);
    let status = gate.connect_and_ask();
    assert!(
        status["clients"].as_array().unwrap().iter().all(|client| client["pid"] == 0),
        "no pid is made up: {status}"
    );
    assert_eq!(charge_of(&status, STRANGER), 2, "{status}");
}
