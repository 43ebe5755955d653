//! What must hold of every text that is read, whatever its bytes: for the fuzz targets, and for their corpora as tests.
//!
//! Doesn't know where bytes come from. Each function panics where something doesn't hold.

use jobgate::policy::regulator::Settings;
use jobgate::proto::ancestry::Stat;
use jobgate::proto::argv::{self, NumberOption, Tool};
use jobgate::proto::journal::{self, Reader, Record};
use jobgate::proto::makeflags::{self, Auth, Inherited};
use jobgate::proto::scene::Scene;
use jobgate::proto::sizes::Sizes;
use jobgate::proto::tree::Tree;
use jobgate::proto::versions::Versions;
use jobgate::proto::wire::{self, LONGEST_LINE, Lines, Reply, Request};
use jobgate::proto::{config, diskmon, kernel, text, values};
use jobgate::report::replay::Replay;
use jobgate::report::story::Story;
use jobgate::report::{page, picture};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What must hold of some bytes.
pub type Check = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const ALL: [(&str, Check); 6] = [
    ("wire", wire),
    ("makeflags", makeflags),
    ("config", config),
    ("argv", argv),
    ("text", text),
    ("journal", journal),
];

/// Lines of a socket, in chunks whose size the first byte says.
pub fn wire(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else { return };
    let mut lines = Lines::default();
    let mut found = Vec::new();
    for chunk in bytes.chunks(usize::from(size).max(1)) {
        lines.push(chunk);
        while let Some(line) = lines.next_line() {
            found.push(line);
        }
        assert!(!lines.is_too_long() || bytes.len() > LONGEST_LINE, "too long at {} bytes", bytes.len());
    }
    let mut whole: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let rest = whole.pop().unwrap_or_default();
    assert_eq!(found, whole, "whatever the chunks");
    assert_eq!(lines.is_amid(), !rest.is_empty());
    for line in found {
        if let Ok(Some(request)) = wire::read::<Request>(&line) {
            let again = wire::line(&request);
            assert!(matches!(wire::read::<Request>(&again[..again.len() - 1]), Ok(Some(_))), "{request:?}");
        }
        if let Ok(Some(reply)) = wire::read::<Reply>(&line) {
            let again = wire::line(&reply);
            assert!(matches!(wire::read::<Reply>(&again[..again.len() - 1]), Ok(Some(_))), "{reply:?}");
        }
    }
}

/// A journal, and the same cut where its first two bytes say.
pub fn journal(data: &[u8]) {
    let Some((&[high, low], bytes)) = data.split_first_chunk() else { return };
    let Ok(mut reader) = Reader::new(bytes) else { return };
    let records: Vec<Record> = reader.by_ref().collect();
    let mut scene = Scene::default();
    for record in &records {
        scene.take(record);
        let clients = scene.clients.values();
        std::hint::black_box((
            scene.running(),
            clients.map(|client| client.total(u64::MAX)).collect::<Vec<_>>(),
        ));
    }
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let mut story = Story::default();
    records.iter().for_each(|record| story.take(record));
    story.end();
    for text in [page::draw(&story, &[]), picture::draw(&story, true)] {
        assert!(!text.contains("NaN"), "{text}");
    }
    let mut replay = Replay::new(|settings| Settings { jobs: 3, ..settings });
    records.iter().for_each(|record| replay.take(record));
    let outcome = replay.end();
    assert!(
        [outcome.seconds, outcome.job_s, outcome.limit_s, outcome.waited_s]
            .iter()
            .all(|figure| *figure >= 0.0)
    );
    assert_eq!(records.len() as u64 + reader.skipped(), lines);
    assert_eq!(reader.is_cut(), bytes.last().is_some_and(|&byte| byte != b'\n'));
    let again = journal::text(&records);
    if !records.is_empty() {
        let read: Vec<Record> = Reader::new(&again).expect("a header comes first").collect();
        // The last digit of a number that is no whole one may differ.
        assert_eq!(read.len(), records.len(), "{records:?}");
        assert!(read.iter().map(Record::t).eq(records.iter().map(Record::t)));
    }
    let cut = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    let part: Vec<Record> = Reader::new(&bytes[..cut]).expect("the beginning of one").collect();
    assert_eq!(part, records[..part.len()], "cut at {cut}");
}

/// A value of MAKEFLAGS or GNUMAKEFLAGS.
pub fn makeflags(data: &[u8]) {
    if data.contains(&0) {
        return; // no variable has one
    }
    let value = OsStr::from_bytes(data);
    let _ = (makeflags::inherited(value), makeflags::asks_nothing(value));
    let left = makeflags::strip(value);
    let auth = Auth::Pipe { read: 100, write: 101 };
    let composed = makeflags::compose(&auth, Some(value));
    assert_eq!(composed.cap, left.cap, "{value:?}");
    if data.contains(&b'$') {
        return; // what a reference stands for nobody knows: a word with one stays as it is
    }
    assert!(!makeflags::names_jobserver(&left.value), "{left:?} of {value:?}");
    let again = makeflags::strip(&left.value);
    assert_eq!((&again.value, again.cap), (&left.value, None), "of {value:?}");
    let names = makeflags::inherited(&composed.value);
    assert_eq!(names, Some(Inherited::Pipe { read: 100, write: 101 }), "{composed:?} of {value:?}");
    let twice = makeflags::compose(&auth, Some(&composed.value));
    assert_eq!(twice.value, composed.value, "of {value:?}");
}

/// A configuration.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(bad) = config::parse(text) {
        let lines = text.split('\n').count();
        assert!((1..=lines + 1).contains(&bad.line) && !bad.what.is_empty(), "{bad:?}, {lines} lines");
    }
}

/// A command line, a word a line.
pub fn argv(data: &[u8]) {
    if data.contains(&0) {
        return; // no word has one
    }
    let args: Vec<OsString> =
        data.split(|&byte| byte == b'\n').map(|word| OsStr::from_bytes(word).to_owned()).collect();
    for tool in [Tool::Make, Tool::Ninja, Tool::Cargo, Tool::Other] {
        let _ = argv::asks_nothing(tool, &args);
        let left = argv::strip(tool, &args);
        let again = argv::strip(tool, &left.args);
        assert_eq!((&again.args, again.cap), (&left.args, None), "{tool:?} of {args:?}");
        assert!(left.args.len() <= args.len());
    }
    let Some(option) = args[0].to_str().and_then(NumberOption::parse) else { return };
    let _ = option.strip(&args[1..]);
    assert!(!option.fill(3).is_empty());
}

fn of_the_kernel(data: &[u8]) {
    let _ = (kernel::pressure_total(data, "some"), kernel::pressure_total(data, "full"));
    let odd = |cpu| cpu % 2 == 1;
    let ticks = [kernel::cpu_ticks(data, None), kernel::cpu_ticks(data, Some(&odd))];
    assert!(ticks.into_iter().flatten().all(|(busy, all)| busy <= all), "{ticks:?}");
    let _ = (kernel::cpus_listed(data), kernel::number(data, "procs_running"), kernel::memory(data));
    let loads = [kernel::load(data), kernel::cpu_max(data)];
    assert!(loads.into_iter().flatten().all(|load| load.is_finite()), "{loads:?}");
    let _ = (kernel::only_number(data), kernel::cgroup_of(data, ""), kernel::cgroup_of(data, "cpu"));
    let _ = (kernel::cgroup_mount(data, ""), kernel::cgroup_mount(data, "memory"));
}

/// Short texts of all kinds: files of the kernel's and of ours, answers of tools, values of options and variables.
pub fn text(data: &[u8]) {
    let _ = (Stat::parse(data), text::gnu_make_version(data), text::ninja_joins(data));
    of_the_kernel(data);
    let versions = Versions::read(data).text();
    assert_eq!(Versions::read(versions.as_bytes()).text(), versions);
    let sizes = Sizes::read(data);
    assert_eq!(Sizes::read(sizes.text().as_bytes()), sizes);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(tree) = Tree::parse(text) {
        assert_eq!(Tree::parse(&tree.text()).map(|tree| tree.text()), Some(tree.text()));
    }
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let _ = (diskmon::entries("x", text), diskmon::intervals("x", text), diskmon::device_at(rest, first));
    let _ = (values::jobs("x", text), values::count("x", text), values::range("x", text));
    let _ = (values::threshold("x", text), values::hold("x", text), values::wait("x", text));
    if let Ok(beat) = values::heartbeat("x", text) {
        assert!(!beat.is_zero());
    }
}
