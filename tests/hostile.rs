//! The shared gate against clients that do their worst: each time an honest one beside them is served at once, and what is left
//! of them is nothing.
//!
//! Doesn't know other users (strangers.rs).

mod support;

use nix::sys::resource::{Resource, rlim_t};
use serde_json::{Value, json};
use std::io::{IoSlice, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::DEADLINE;
use support::raw::{AtTheEnd, Gate, Raw, hello, one};

/// What no client says, each as bytes after a good hello or instead of one.
fn garbage() -> Vec<Vec<u8>> {
    let text = |text: &str| text.as_bytes().to_vec();
    let mut all = vec![
        text("\n"),
        text("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        text("{\"report\":"),
        text("{}\n[]\n7\nnull\n\"\"\n"),
        text("{\"report\":{\"serial\":-1,\"held\":-7}}\n"),
        text("{\"report\":{\"serial\":1e999,\"held\":NaN}}\n"),
        text("{\"report\":{\"serial\":18446744073709551616,\"held\":4294967296}}\n"),
        text(
            "{\"report\":{\"serial\":18446744073709551615,\"held\":4294967295,\"appetite\":{\"slack\":4294967295}}}\n",
        ),
        text("{\"report\":{\"serial\":1,\"serial\":2,\"held\":1,\"held\":2}}\n"),
        text("{\"set\":{\"jobs\":\"0\",\"jobs\":\"99999999999\"}}\n"),
        text(
            "{\"command\":{\"pid\":-2147483648}}\n{\"command\":{\"pid\":1}}\n\"stopped\"\n\"started\"\n\"continued\"\n",
        ),
        text("\u{feff}\"status\"\n"),
        vec![0; 5000],
        vec![b'['; 15_000],
        [vec![b'['; 15_000], vec![b'\n']].concat(),
        [b"{\"hello\":".repeat(1500), vec![b'\n']].concat(),
        [&b"\"\xff\xfe\xc0\xaf\"\n"[..], &b"\0\n".repeat(1000)[..]].concat(),
        [vec![b'"'], vec![b'x'; 70_000], b"\"\n".to_vec()].concat(),
    ];
    let number = "9".repeat(12_000);
    all.push(format!("{{\"report\":{{\"serial\":{number},\"held\":0.{number}e{number}}}}}\n").into_bytes());
    all
}

#[test]
fn garbage_of_every_kind_costs_nobody_anything() {
    let gate = Gate::serve("jobs = 3\n");
    for bytes in garbage() {
        for greets in [false, true] {
            let mut raw = gate.connect();
            if greets {
                raw.enter(&json!({ "lease": one() }));
            }
            let _ = raw.stream.write_all(&bytes);
            gate.serves_promptly();
            let _ = raw.stream.shutdown(Shutdown::Write);
            raw.await_end();
        }
    }
    // A hello may be as wrong in its fields: it is heard, passed over, or the end.
    let fields = [
        json!({"weight": u32::MAX, "cap": 0, "max_wait_s": -1e300, "lease": {"wait": {"min": 0, "max": 0}}}),
        json!({"max_wait_s": 1e300, "lease": {"wait": {"min": u32::MAX, "max": 1}}}),
        json!({"wishes": {"jobs": u32::MAX, "heartbeat_s": -0.0, "hold": "x", "max": {"cpu": -1, "x": 0}}}),
        json!({"weight": -1}),
        json!({"weight": 1.5}),
        json!({"lease": "all"}),
        json!({"bound_to": i32::MIN, "lender": -1, "pid": i32::MAX, "inside": true}),
        json!({"label": "x".repeat(15_000), "style": "\u{1b}[2J", "set": {"jobs": "0".repeat(1000)}}),
        json!({"protocol": "2.0"}),
        json!({"protocol": ""}),
    ];
    for fields in fields {
        let mut raw = gate.connect();
        raw.say(&hello(&fields)).unwrap();
        gate.serves_promptly();
        let _ = raw.stream.shutdown(Shutdown::Write);
        raw.await_end();
    }
    gate.is_as_before();
}

/// Writes these bytes over and over until it is told to end, or nobody takes them; how many were taken.
fn pour(mut to: &std::os::unix::net::UnixStream, bytes: &[u8], until: impl Fn(u64) -> bool) -> u64 {
    to.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut taken = 0;
    while !until(taken) {
        match to.write(bytes) {
            Ok(count) => taken += count as u64,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    taken
}

#[test]
fn a_gigabyte_without_an_end_is_cut_off_at_once() {
    let gate = Gate::serve("jobs = 3\n");
    for byte in [b'x', 0] {
        let raw = gate.connect();
        let taken = pour(&raw.stream, &[byte; 65536], |taken| taken >= 1 << 30);
        assert!(taken < 4 << 20, "{taken} bytes were taken");
        gate.serves_promptly();
    }
    gate.is_as_before();
}

#[test]
fn whoever_talks_without_end_is_heard_in_his_turn() {
    let gate = Gate::serve("jobs = 3\n");
    let report = b"{\"report\":{\"serial\":1,\"held\":0}}\n".repeat(1000);
    let control = b"\"stopped\"\n\"continued\"\n\"started\"\n".repeat(1000);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for bytes in [&report, &control, &report, &control] {
            let mut raw = gate.connect();
            raw.enter(&json!({"lease": "nothing", "style": "held"}));
            let over = &over;
            scope.spawn(move || pour(&raw.stream, bytes, |_| over.load(Ordering::Relaxed)));
        }
        let _end = AtTheEnd(&over);
        (0..20).for_each(|_| gate.serves_promptly());
    });
    gate.is_as_before();
}

#[test]
fn who_never_reads_is_told_so_much_and_no_more() {
    let gate = Gate::serve("jobs = 3\n");
    // Enough clients that an answer is long.
    let crowd: Vec<Raw> = (0..300)
        .map(|_| {
            let mut raw = gate.connect();
            raw.enter(&json!({"lease": "nothing", "style": "held", "label": "x".repeat(60)}));
            raw
        })
        .collect();
    let mut askers = Vec::new();
    let questions = b"\"status\"\n".repeat(1000);
    for _ in 0..20 {
        let mut asker = gate.connect();
        asker.enter(&json!({"asks_only": true}));
        let started = Instant::now();
        pour(&asker.stream, &questions, |_| started.elapsed() > Duration::from_millis(50));
        gate.serves_promptly();
        askers.push(asker);
    }
    // All are told of each; who asked doesn't read either.
    let mut setter = gate.connect();
    setter.enter(&json!({"asks_only": true}));
    let sets: String = (1..600).map(|wait| format!("{{\"set\":{{\"max-wait\":\"{wait}\"}}}}\n")).collect();
    let started = Instant::now();
    pour(&setter.stream, sets.as_bytes(), |_| started.elapsed() > Duration::from_millis(50));
    gate.serves_promptly();
    // Whoever begins to read gets his answers whole.
    let views = (0..5).map(|_| askers[0].await_word("status"));
    assert!(
        views.into_iter().all(|view| view["clients"].as_array().is_some_and(|clients| clients.len() >= 300))
    );
    drop((crowd, askers, setter));
    gate.is_as_before();
}

#[test]
fn who_says_half_of_it_is_gone_when_the_deadline_is_over() {
    let gate = Gate::serve("jobs = 3\n");
    let started = Instant::now();
    let mut silent: Vec<Raw> = (0..30).map(|_| gate.connect()).collect();
    // A line that never ends, a byte now and then; and one that is no hello, again and again.
    for (at, raw) in silent.iter_mut().enumerate() {
        match at % 3 {
            0 => raw.stream.write_all(b"{\"hello\":{\"prot").unwrap(),
            1 => {
                raw.enter(&json!({"lease": "nothing", "style": "held"}));
                raw.stream.write_all(b"\"started\"\n\"stat").unwrap();
            }
            _ => {}
        }
    }
    let mut dancing = gate.connect();
    dancing.stream.write_all(b"\"dance\"\n").unwrap();
    dancing.await_end();
    assert!(started.elapsed() < Duration::from_secs(3), "who doesn't say hello first isn't heard");
    gate.serves_promptly();
    silent.iter_mut().for_each(Raw::await_end);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    gate.is_as_before();
}

#[test]
fn ten_thousand_come_and_go() {
    let gate = Gate::serve("jobs = 3\n");
    let mut staying = Vec::new();
    for number in 0..10_000 {
        let mut raw = gate.connect();
        match number % 5 {
            0 => {}
            1 => raw.stream.write_all(b"{\"hello\"").unwrap(),
            2 => raw.say(&hello(&json!({ "lease": one() }))).unwrap(),
            3 => raw.say(&hello(&json!({"asks_only": true}))).unwrap(),
            _ => raw.say(&hello(&json!({"lease": "counted", "claim": {"lease": 1, "held": 9}}))).unwrap(),
        }
        if number % 250 == 0 {
            gate.serves_promptly();
            staying.push(raw);
        }
    }
    drop(staying);
    gate.is_as_before();
}

#[test]
fn half_closed_lines_get_their_answer_and_hold_nothing() {
    let gate = Gate::serve("jobs = 1\n");
    let mut crowd: Vec<Raw> = (0..400).map(|_| gate.connect()).collect();
    for raw in &mut crowd {
        raw.enter(&json!({"lease": "nothing", "style": "held", "label": "x".repeat(60)}));
    }
    // The answers are longer than what the kernel keeps of them.
    let mut asker = gate.connect();
    asker.say(&hello(&json!({"asks_only": true}))).unwrap();
    (0..5).for_each(|_| asker.say(&json!("status")).unwrap());
    asker.stream.shutdown(Shutdown::Write).unwrap();
    gate.shared
        .await_status(|status| status["clients"].as_array().is_some_and(|clients| clients.len() == 400));
    for _ in 0..5 {
        assert_eq!(asker.await_word("status")["clients"].as_array().map(Vec::len), Some(400));
    }
    asker.await_end();
    drop(crowd);

    let mut leaving = gate.connect();
    leaving.enter(&json!({ "lease": one() }));
    leaving.await_word("granted");
    leaving.say(&json!("started")).unwrap();
    leaving.stream.shutdown(Shutdown::Write).unwrap();
    let mut next = gate.connect();
    next.enter(&json!({ "lease": one() }));
    next.await_word("granted");
    drop((leaving, next));
    let started = Instant::now();
    gate.shared.await_status(|status| status["clients"] == json!([]));
    assert!(started.elapsed() < DEADLINE / 2);
}

#[test]
fn descriptors_that_are_sent_along_are_not_kept() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let gate = Gate::serve("jobs = 3\n");
    let files: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let fds: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let before = gate.count_descriptors();
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut raw = gate.connect();
        raw.enter(&json!({"lease": "nothing", "style": "held"}));
        for _ in 0..20 {
            let line = b"\"started\"\n";
            let along = [ControlMessage::ScmRights(&fds)];
            let sent =
                sendmsg::<()>(raw.stream.as_raw_fd(), &[IoSlice::new(line)], &along, MsgFlags::empty(), None);
            assert_eq!(sent, Ok(line.len()));
        }
        raw.status();
        clients.push(raw);
    }
    assert_eq!(gate.count_descriptors(), before + clients.len());
    drop(clients);
    gate.is_as_before();
}

#[test]
fn a_command_is_a_child_or_none() {
    let gate = Gate::serve("jobs = 6\n");
    let lent = |said: &[i32]| {
        let mut around = gate.connect();
        around.enter(&json!({ "lease": one() }));
        around.await_word("granted");
        around.say(&json!("started")).unwrap();
        // It waits for a word before it comes.
        let mut run = gate.shared.command("sh");
        run.args(["-c", "read go && exec \"$0\" run --label inner -- cat", support::jobgate()]);
        let mut run = run.stdin(std::process::Stdio::piped()).spawn().unwrap();
        for &pid in said {
            let pid = if pid == 0 { run.id() as i32 } else { pid };
            around.say(&json!({"command": {"pid": pid}})).unwrap();
        }
        around.status();
        run.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let inner = |status: &Value| {
            let clients = status["clients"].as_array().unwrap();
            let inner =
                clients.iter().find(|client| client["label"] == "inner" && client["waits_s"].is_null());
            inner.map(|client| client["borrowed"] == true)
        };
        let status = gate.shared.await_status(|status| inner(status).is_some());
        assert!(support::finish_child(run).status.success());
        inner(&status).unwrap()
    };
    let mut other = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let others = other.id() as i32;
    assert!(lent(&[]) && lent(&[0]), "the job of its command is paid for");
    assert!(!lent(&[others]), "whatever else is its child is an orphan");
    assert!(lent(&[1, -1, i32::MAX]), "none of these is its child");
    assert!(lent(&[0, others]) && !lent(&[others, 0]), "it has one command");
    drop(other.stdin.take());
    other.wait().unwrap();
}

/// Another bound for the server's descriptors, from now on.
fn bound_descriptors(gate: &Gate, most: rlim_t) {
    let (server, of) = (gate.server.pid().as_raw(), Resource::RLIMIT_NOFILE as _);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit lives for both calls.
    let set = unsafe {
        assert_eq!(libc::prlimit(server, of, std::ptr::null(), &raw mut limit), 0);
        limit.rlim_cur = most;
        libc::prlimit(server, of, &raw const limit, std::ptr::null_mut())
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn who_waited_for_want_of_descriptors_is_let_in_when_there_are_some() {
    let gate = Gate::serve("jobs = 3\n");
    let before = gate.count_descriptors() as rlim_t;
    let mut first = gate.connect();
    first.enter(&json!({"asks_only": true}));
    bound_descriptors(&gate, before + 1);
    let mut waiting: Vec<Raw> = (0..10).map(|_| gate.connect()).collect();
    for raw in &mut waiting {
        raw.say(&hello(&json!({"asks_only": true}))).unwrap();
    }
    let server: Value = first.status();
    assert_eq!(server["clients"], json!([]), "who is in is served");
    // One leaves, and another is let in; that one leaves, and so on.
    drop(first);
    for raw in &mut waiting[..5] {
        let answer = raw.hear().expect("an answer");
        assert!(answer.get("welcome").is_some(), "{answer}");
        raw.stream.shutdown(Shutdown::Both).unwrap();
    }
    // Nobody leaves, but there are more from now on.
    assert!(waiting[5].hear().is_some());
    bound_descriptors(&gate, before + 100);
    for raw in &mut waiting[6..] {
        assert!(raw.hear().is_some());
    }
    drop(waiting);
    gate.is_as_before();
}

#[test]
fn more_connections_than_there_may_be_are_told_so() {
    let shared = support::shared::Shared::new();
    let mut command = shared.command("sh");
    let script = "ulimit -n 64 && ulimit -Sn 30 && exec \"$0\" run -j2 -- \"$0\" exec -- cat";
    command.args(["-c", script, support::jobgate()]).stdin(std::process::Stdio::piped());
    let mut build = command.spawn().unwrap();
    let server = shared.await_status(|status| status["in_use"] == 1)["pid"].as_i64().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{server}/limits")).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_whitespace().nth(3), Some("64"), "it has lifted its own: {open}");
    let mut all: Vec<Raw> = Vec::new();
    let refused = loop {
        let mut raw = Raw::connect(&shared.socket);
        let answer = raw.hello(&json!({"asks_only": true}));
        if let Some(refused) = answer.get("refused") {
            break refused.clone();
        }
        all.push(raw);
        assert!(all.len() < 64);
    };
    let why = refused["why"].as_str().unwrap();
    assert!(why.ends_with("connections, and can have no more") && refused["request"] == false, "{refused}");
    assert!(all.len() > 25, "{}", all.len());
    // There is one file left to be read: its ancestors are looked at.
    assert!(all[0].status()["in_use"] == 1);
    drop(all);
    shared.await_status(|status| status["in_use"] == 1);
    drop(build.stdin.take());
    assert!(support::finish_child(build).status.success());
}
