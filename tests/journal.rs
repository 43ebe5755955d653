//! Journals of real runs and servers: what they tell is what happened, and writing them hurts no build.
//!
//! Doesn't know how records are made (`proto/recorder`), nor what is read out of them.

mod support;

use jobgate::proto::journal::{Reader, Record};
use jobgate::proto::scene::Scene;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use support::Real::{Make441, SystemMake};
use support::build::Build;
use support::raw::{Gate, Raw, STRANGER, one};
use support::shared::Shared;
use support::{FakeProc, await_change, clean, finish, finish_child, jobgate, jobs, run, succeed};

/// All records of a journal, which is whole.
fn whole(path: &Path) -> Vec<Record> {
    let text = std::fs::read(path).expect("a journal");
    let mut reader = Reader::new(&text).expect("a journal");
    let records = reader.by_ref().collect();
    assert!(!reader.is_cut() && reader.skipped() == 0, "{}", String::from_utf8_lossy(&text));
    records
}

/// The scenes after each record.
fn scenes(records: &[Record]) -> Vec<Scene> {
    let mut scene = Scene::default();
    let after = |record| {
        scene.take(record);
        scene.clone()
    };
    records.iter().map(after).collect()
}

/// Seconds between two moments.
fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

#[test]
fn a_runs_journal_tells_the_peak_the_holds_and_why() {
    for make in [SystemMake, Make441] {
        let (proc, folder) = (FakeProc::new(), tempfile::tempdir().unwrap());
        let Some(tool) = Build::Make(make).lay_jobs(folder.path(), 60, 0.1) else { return };
        let file = folder.path().join("journal");
        let path = file.to_str().unwrap();
        let options = ["-j4", "--journal", path, "--max-io", "100000", "--proc", proc.path()];
        let mut command = run(&options, &[&tool[0], "-s", "-j4"]);
        command.current_dir(&folder).env("LOG", folder.path().join("log"));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told = |wanted: &dyn Fn(&Scene) -> bool| {
            let text = std::fs::read(&file).unwrap_or_default();
            let mut scene = Scene::default();
            Reader::new(&text).ok()?.any(|record| {
                scene.take(&record);
                wanted(&scene)
            });
            wanted(&scene).then_some(())
        };
        let log = folder.path().join("log");
        await_change(folder.path(), || (jobs(&log).peak == 4).then_some(()));
        let growth = proc.grow(&[("io", 500_000)]);
        await_change(folder.path(), || told(&|scene| scene.gate.state == "held" && scene.running() == 1));
        drop(growth);
        let output = finish_child(child);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");

        let records = whole(&file);
        let Record::Header(header) = &records[0] else { panic!("{:?}", records[0]) };
        assert_eq!((header.settings.jobs, header.settings.max["io"]), (4, 100_000.0));
        assert_eq!(header.settings.from["jobs"].from, "-j");
        assert!(header.settings.from["max-io"].from.contains("--max-io") && !header.kernel.is_empty());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // One hold, for that reason.
        let gates: Vec<_> = records
            .iter()
            .filter_map(|record| if let Record::Gate(gate) = record { Some(gate) } else { None })
            .collect();
        let states: Vec<&str> = gates.iter().map(|gate| gate.state.as_str()).collect();
        assert_eq!(states, ["open", "held", "open"], "{gates:?}");
        let reason = &gates[1].reasons[0];
        assert!(reason.resource == "io" && reason.rate > 100_000.0 && reason.max == 100_000.0, "{gates:?}");
        // What ran, against the time stamps of the jobs themselves.
        let seen = jobs(&log);
        let Some(Record::End(end)) = records.last() else { panic!("{:?}", records.last()) };
        assert_eq!((seen.count, seen.peak, end.of[0].peak), (60, 4, 4), "{end:?}");
        let ran = seen.mean * (seen.course.last().unwrap().0 - seen.course[0].0);
        assert!((end.of[0].token_s / ran - 1.0).abs() < 0.4, "{end:?}, {ran}");
        let held = scenes(&records).into_iter().filter(|scene| scene.gate.state == "held");
        let ran: Vec<u32> = held.map(|scene| scene.running()).collect();
        assert!(ran.first() == Some(&4) && ran.last() == Some(&1), "{ran:?}");
        let beats = records.iter().filter(|record| matches!(record, Record::Beat(_))).count() as u64;
        let all = scenes(&records).last().unwrap().clone();
        assert!(all.is_over && beats == all.beat.beat, "{beats} of {:?}", all.beat);
        assert!((beats + all.beat.missed) as f64 >= seconds(header.t, all.t).floor() - 1.0);
    }
}

/// Jobs of the runs `a` and `b` on a gate whose server keeps a journal in `journals`.
fn journals_of(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn a_servers_journal_tells_of_all_its_clients() {
    let (shared, proc) = (Shared::new(), FakeProc::new());
    let folder = shared.folder.path().join("journals");
    let words =
        ["--journal", folder.to_str().unwrap(), "-j", "3", "--max-cpu", "100000", "--proc", proc.path()];
    let server = shared.serve(&words);
    let build = |name, options: &[&str]| shared.build(name, options, Build::Make(SystemMake), 8, 0.2);
    let (Some(mut one), Some(mut two)) =
        (build("a", &["--label", "first"]), build("b", &["--label", "second"]))
    else {
        return;
    };
    let children = [one.spawn().unwrap(), two.spawn().unwrap()];
    shared.await_starts(3);
    succeed(&mut shared.jobgate(&["set", "jobs=2"]));
    for child in children {
        assert!(finish_child(child).status.success());
    }
    let said = server.end();
    assert_eq!(said, "");
    let files = journals_of(&folder);
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let records = whole(&files[0]);
    let Record::Header(header) = &records[0] else { panic!("{:?}", records[0]) };
    assert_eq!((header.socket.as_str(), header.settings.jobs), (shared.socket.to_str().unwrap(), 3));
    assert_eq!(header.settings.from["jobs"].from, "-j");
    // Who came and went, and what he had.
    let mut labels = Vec::new();
    for record in &records {
        if let Record::Join(join) = record {
            labels.push(join.label.as_str());
            let left = records.iter().find_map(|record| match record {
                Record::Leave(total) if total.id == join.id => Some(total),
                _ => None,
            });
            let left = left.expect("it has left");
            assert!((1..=3).contains(&left.peak) && left.token_s >= 8.0 * 0.2 * 0.8, "{left:?}");
        }
    }
    labels.sort_unstable();
    assert_eq!(labels, ["first", "second"]);
    let scenes = scenes(&records);
    let limits: Vec<u32> = records
        .iter()
        .filter_map(|record| if let Record::Limit(limit) = record { Some(limit.limit) } else { None })
        .collect();
    assert_eq!(limits, [3, 2]);
    let set = scenes.iter().find(|scene| scene.settings.jobs == 2).expect("the change");
    assert_eq!(set.settings.from["jobs"].from, "jobgate set");
    assert!(scenes.iter().all(|scene| scene.running() <= 3));
    assert_eq!(scenes.last().unwrap().peak, 3);
    assert!(scenes.last().unwrap().is_over && scenes.last().unwrap().clients.is_empty());
}

#[test]
fn a_run_on_a_shared_gate_is_told_of_the_whole_gate() {
    let shared = Shared::new();
    let build = |name, options: &[&str]| shared.build(name, options, Build::Make(SystemMake), 8, 0.2);
    let (Some(mut one), Some(mut two)) =
        (build("a", &["-j2", "--journal", "../journal"]), build("b", &["-j3"]))
    else {
        return;
    };
    let first = one.spawn().unwrap();
    shared.await_starts(1);
    let second = two.spawn().unwrap();
    for child in [first, second] {
        let output = finish_child(child);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    let records = whole(&shared.folder.path().join("journal"));
    let joins = records.iter().filter(|record| matches!(record, Record::Join(_))).count();
    assert!(matches!(records[0], Record::Header(_)) && joins >= 2, "{records:?}");
    let scenes = scenes(&records);
    assert_eq!(scenes.iter().map(|scene| scene.settings.jobs).max(), Some(3), "by who came later");
    assert!(scenes.last().unwrap().peak == 3 && scenes.last().unwrap().is_over);
    // No threshold: beats and pressure are there all the same, to be judged by others.
    if Path::new("/proc/pressure/cpu").exists() {
        let samples =
            records.iter().filter(|record| matches!(record, Record::Sample(sample) if sample.cpu.is_some()));
        assert!(samples.count() >= 3, "{records:?}");
    }
}

#[test]
fn a_gate_that_died_is_told_of_and_the_journal_goes_on_with_the_next() {
    let shared = Shared::new();
    let Some(mut one) =
        shared.build("a", &["-j2", "--journal", "../journal"], Build::Make(SystemMake), 12, 0.3)
    else {
        return;
    };
    let child = one.spawn().unwrap();
    shared.await_starts(2);
    let server = nix::unistd::Pid::from_raw(shared.server());
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGKILL).unwrap();
    let output = finish_child(child);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let records = whole(&shared.folder.path().join("journal"));
    let gone = records.iter().position(|record| matches!(record, Record::Gone(_))).expect("it was killed");
    let Some(Record::Header(next)) = records.get(gone + 1) else { panic!("{:?}", records.get(gone + 1)) };
    assert_ne!(next.pid, server.as_raw() as u32);
    assert!(scenes(&records)[gone + 1..].iter().any(|scene| scene.running() == 2), "{records:?}");
}

#[test]
fn what_is_no_journal_is_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("notes"), "mine").unwrap();
    nix::unistd::mkfifo(Path::new(&at("fifo")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let rows = [
        ("notes", "it is there and is no journal of jobgate's"),
        ("fifo", "a journal is a regular file"),
        ("", "a journal is a regular file"),
        ("none/journal", "No such file or directory"),
    ];
    for (name, why) in rows {
        let output = finish(&mut run(&["--journal", &at(name)], &["touch", &at("started")]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{name}: {said}");
        assert!(
            said.starts_with("jobgate: --journal ") && said.contains(&at(name)) && said.contains(why),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!folder.path().join("started").exists());
    }
    assert_eq!(std::fs::read(at("notes")).unwrap(), b"mine");
    let mut serve = clean(Command::new(jobgate()));
    let output = finish(serve.args(["serve", "--journal", &at("notes")]));
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    // One's own is overwritten.
    for _ in 0..2 {
        assert!(finish(&mut run(&["--private", "--journal", &at("journal")], &["true"])).status.success());
        let headers = whole(Path::new(&at("journal")));
        assert_eq!(headers.iter().filter(|record| matches!(record, Record::Header(_))).count(), 1);
    }
}

#[test]
fn a_full_disk_costs_records_and_nothing_else() {
    let may_mount = Command::new("unshare").args(["-m", "true"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        return support::skipped("no mount namespace can be had");
    }
    for (private, filler) in [("--private", 65_536), ("--private", 63_000), ("--no-shims", 65_536)] {
        let folder = tempfile::tempdir().unwrap();
        let Some(tool) = Build::Make(SystemMake).lay_jobs(folder.path(), 24, 0.2) else { return };
        std::fs::create_dir(folder.path().join("small")).unwrap();
        // There is room again after a while: a job frees it.
        let script = format!(
            "mount -t tmpfs -o size=64k none small && touch log && head -c {filler} /dev/zero >small/filler 2>/dev/null; \
             (while [ $(grep -c ^E log) -lt 8 ]; do sleep 0.05; done; rm small/filler) 2>/dev/null >&2 & \
             {} run -j2 --heartbeat 0.1 {private} --journal small/journal -- {} -s; \
             code=$?; cp small/journal journal; exit $code",
            jobgate(),
            tool.join(" ")
        );
        let mut line = clean(Command::new("unshare"));
        line.args(["-m", "sh", "-c", &script]).current_dir(&folder);
        let output = finish(line.env("LOG", folder.path().join("log")));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let seen = jobs(&folder.path().join("log"));
        assert!(output.status.success() && seen.count == 24 && seen.peak == 2, "{output:?}, {seen:?}");
        let missing: u64 = said
            .strip_prefix("jobgate: the journal small/journal lacks ")
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{said}"));
        assert!(
            said.ends_with("No space left on device (os error 28)\n") && said.lines().count() == 1,
            "{said}"
        );
        let records = whole(&folder.path().join("journal"));
        let told = scenes(&records).last().unwrap().dropped;
        assert!(told > 0 && told == missing, "{told} of {missing}");
    }
}

/// The records of the next message that has any.
fn hear_records(raw: &mut Raw) -> Vec<Value> {
    raw.await_word("journal")["records"].as_array().expect("records").clone()
}

/// The first joins that one is told of: the label, the process, the style.
fn joins(raw: &mut Raw) -> Vec<(String, i64, String)> {
    raw.say(&json!("journal")).unwrap();
    let records = hear_records(raw);
    assert!(records[0].get("header").is_some(), "{records:?}");
    let joins = records.iter().filter_map(|record| record.get("join"));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    joins.map(|join| (text(&join["label"]), join["pid"].as_i64().unwrap(), text(&join["style"]))).collect()
}

#[test]
fn others_are_told_no_more_than_by_status() {
    if !nix::unistd::geteuid().is_root() {
        return support::skipped("only root can be another user");
    }
    let gate = Gate::serve("jobs = 3\n");
    let mut client = gate.connect_as(STRANGER);
    client.enter(&json!({"lease": one(), "label": "secret"}));
    client.await_word("granted");
    let asks = json!({"asks_only": true});
    let mut other = gate.connect_as(STRANGER + 1);
    other.enter(&asks);
    assert_eq!(joins(&mut other), [("another user's".to_owned(), 0, String::new())]);
    let pid = i64::from(std::process::id());
    for mut raw in [gate.connect(), gate.connect_as(STRANGER)] {
        raw.enter(&asks);
        assert_eq!(joins(&mut raw), [("secret".to_owned(), pid, "pipe".to_owned())]);
    }
    // So many of one user's, and no more; asked again it begins anew.
    let mut many: Vec<Raw> = (0..9).map(|_| gate.connect_as(STRANGER + 2)).collect();
    many.iter_mut().for_each(|raw| drop(raw.enter(&asks)));
    let mut last = many.pop().unwrap();
    for raw in &mut many {
        assert_eq!(joins(raw).len() + joins(raw).len(), 2);
    }
    last.say(&json!("journal")).unwrap();
    let why = last.await_word("refused")["why"].as_str().unwrap().to_owned();
    assert!(why.ends_with("tells its journal to too many already"), "{why}");
    drop(many);
    gate.serves_promptly();
    drop((client, other, last));
    gate.is_as_before();
}

#[test]
fn who_does_not_read_what_he_is_told_has_a_gap_and_holds_nobody_up() {
    let gate = Gate::serve("jobs = 3\n");
    let (mut deaf, mut other) = (gate.connect(), gate.connect());
    deaf.enter(&json!({"asks_only": true}));
    other.enter(&json!({"asks_only": true}));
    deaf.say(&json!("journal")).unwrap();
    let first = hear_records(&mut deaf);
    assert!(first[0].get("header").is_some());
    // More than a socket holds.
    for number in 0..2000 {
        other.say(&json!({"set": {"jobs": (2 + number % 2).to_string()}})).unwrap();
        other.await_word("set");
        other.status(); // what follows from it is done by then
    }
    gate.serves_promptly();
    let (mut told, mut gap) = (0, None);
    while gap.is_none() {
        let records = hear_records(&mut deaf);
        told += records.iter().filter(|record| record.get("settings").is_some()).count() as u64;
        if let Some(dropped) = records.iter().find_map(|record| record.get("dropped")) {
            assert!(records[0].get("header").is_some(), "{records:?}");
            gap = dropped["records"].as_u64();
        }
    }
    let missing = gap.unwrap();
    // A limit follows from each.
    assert!(told < 2000 && told + missing >= 2000 && missing <= 2 * 2000, "{told} told, {missing} missing");
    drop((deaf, other));
    gate.is_as_before();
}

#[test]
fn a_gate_that_is_too_old_to_tell_is_told_apart() {
    let shared = Shared::new();
    std::fs::create_dir_all(shared.socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&shared.socket).unwrap();
    std::fs::set_permissions(shared.socket.parent().unwrap(), PermissionsExt::from_mode(0o700)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut to, mut id) = (stream.try_clone().unwrap(), 0);
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    assert!(!line.contains("journal"), "it is asked all the same: {line}");
                    if line.contains("hello") {
                        id += 1;
                        let welcome = json!({"welcome": {"protocol": "1.0", "id": id, "jobs": 2}});
                        let granted = json!({"granted": {"tokens": 1}});
                        let allot = json!({"allot": {"tokens": 1, "serial": 1}});
                        to.write_all(format!("{welcome}\n{granted}\n{allot}\n").as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    let file = shared.folder.path().join("journal");
    let output = finish(&mut shared.jobgate(&["run", "--journal", file.to_str().unwrap(), "--", "true"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{output:?}");
    let at = shared.socket.display();
    let sentence =
        format!("jobgate: there is no journal: the gate at {at} is of an older jobgate, which keeps none\n");
    assert_eq!(said, sentence);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
}
