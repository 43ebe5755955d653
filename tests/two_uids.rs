//! Two users of one machine: an honest one with real builds, and a hostile one that tries a list of things while they run.
//! Whatever he tries, the builds end as they would without him, keep to their limit, aren't slowed much, and nothing of
//! theirs is read or changed.
//!
//! Needs root, to be both of them; and processes of their own, so this program starts itself, without libtest.

mod support;

#[path = "two_uids/flooding.rs"]
mod flooding;
#[path = "two_uids/hostile.rs"]
mod hostile;
#[path = "two_uids/own.rs"]
mod own;
#[path = "two_uids/planting.rs"]
mod planting;
#[path = "two_uids/scene.rs"]
mod scene;

use hostile::ON_A_SERVICE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use planting::IN_SHARED_FOLDERS;
use scene::{COUNT, Hostile, House, JOB, ROLE, Scene, Tool, variable_of};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use support::shims::descendants;
use support::{finish, finish_child, skipped, span};

/// Each user's in the scenes with a service.
const QUOTA: usize = 2;

/// Beyond what the build takes with its share of the jobs: a factor, and some seconds. The machine is busy with the hostile
/// user's system calls, too.
const SLOWED: (f64, f64) = (4.0, 4.0);

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("own") => return println!("{}", jobgate::sys::users::is_own(jobgate::sys::users::own_uid())),
        Ok(role) => return hostile::act(role),
        Err(_) => {}
    }
    if !nix::unistd::geteuid().is_root() {
        return skipped("it takes root to be two users");
    }
    let Some(house) = House::build() else { return };
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in tests() {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word)) {
            continue;
        }
        let went = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&house)));
        println!("test {name} ... {}", if went.is_ok() { "ok" } else { "FAILED" });
        failed += i32::from(went.is_err());
    }
    drop(house);
    std::process::exit(if failed > 0 { 101 } else { 0 });
}

type Other = (&'static str, fn(&House));

type Test<'a> = Box<dyn Fn(&House) + 'a>;

fn tests() -> Vec<(String, Test<'static>)> {
    let mut tests: Vec<(String, Test)> = Vec::new();
    for (at, &(name, what, _)) in ON_A_SERVICE.iter().enumerate() {
        let tool = [Tool::OldMake, Tool::Make, Tool::Ninja][at % 3];
        tests.push((
            format!("service {name}: he {what}"),
            Box::new(move |house| on_a_service(house, name, tool)),
        ));
    }
    for &(name, what, variables) in IN_SHARED_FOLDERS {
        let test = move |house: &House| in_shared_folders(house, name, variables);
        tests.push((format!("folders {name}: he {what}"), Box::new(test)));
    }
    let others: [Other; 11] = [
        ("page: SECURITY.md names tests that are there", the_page_is_true),
        ("service stranger: one who isn't let in connects", a_stranger_is_not_let_in),
        ("service weight: he asks for a million times the share", weight_is_bounded),
        (
            "service number: he keeps a connection whose opener's number the victim gets",
            a_number_is_no_process,
        ),
        (
            "folders answers: he has a gate at a socket that the victim names",
            a_named_socket_where_anybody_listens,
        ),
        (
            "folders programs: he has some beside the victim's own, and where XDG_DATA_HOME says",
            own::programs_for_the_victim,
        ),
        (
            "folders path: he has given the victim his program, which is put on PATH",
            own::what_comes_first_on_path,
        ),
        ("folders modes: he looks what he may open, whatever the victim's umask", own::modes_and_umasks),
        ("set-user-ID: somebody has given jobgate root's rights", own::set_user_id),
        ("root: with the user's variables", own::root_with_the_users_variables),
        ("namespaces: without a number, with other pids, with hidden processes", in_namespaces),
    ];
    tests.extend(others.map(|(name, test)| (name.to_owned(), Box::new(test) as Test)));
    tests
}

/// Each name is a word behind what kind of test it is; that stands before the first of its kind.
fn the_page_is_true(_: &House) {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md")).expect("a page");
    let known: Vec<String> = tests().into_iter().map(|(name, _)| name).collect();
    let mut named = 0;
    for list in page.split("`two_uids`: ").skip(1) {
        let list = list.split([';', '|', ')']).next().unwrap_or_default();
        let mut kind = String::new();
        for name in list.trim().split(", ") {
            if let Some((before, _)) = name.split_once(' ') {
                kind = format!("{before} ");
            }
            let whole = if name.contains(' ') { name.to_owned() } else { format!("{kind}{name}") };
            assert!(known.iter().any(|known| known.starts_with(&format!("{whole}:"))), "no test '{whole}'");
            named += 1;
        }
    }
    assert!(named > 30, "{named} are named");
}

/// What he could do that he mustn't, tried while a build runs.
fn on_a_service(house: &House, name: &str, tool: Tool) {
    let scene = Scene::new(house);
    // Where one job alone may run, what is started in it can't but be paid for by it.
    let quota = if ["nothing", "bound"].contains(&name) { 1 } else { QUOTA };
    let server = scene.serve(&format!("[quota]\ndefault = {quota}\n"));
    let mut hostile = scene.hostile(name);
    // A job of the build asks the gate for itself, and is paid for by the job that it is.
    let asks = "$JOBGATE exec --label secret-too -- true";
    let mut build = scene.build(tool, &["--label", "secret"], asks, &[]).spawn().expect("it starts");
    scene.await_first(&mut build);
    strike(&mut hostile, &build);
    let status = scene.status();
    let output = scene.let_go(build);
    let breaches = hostile.breaches();
    assert_eq!(breaches, Vec::<String>::new());
    assert_built(&scene, &output, quota);
    assert_eq!(status["jobs"], 6, "{status}");
    let has = held_by(&status, house.users.hostile);
    // What is said to be held already may bring him to twice his quota.
    let most = if ["claims", "flood"].contains(&name) { 2 * quota } else { quota };
    assert!(has <= most as u64, "he has {has}: {status}");
    let log = scene.path("hostile/log");
    assert!(name != "quota" || support::jobs(&log).peak == QUOTA, "{:?}", support::jobs(&log));
    let resident = resident(server.pid().as_raw());
    assert!(resident < 64 << 10, "the server had {resident} KiB");
    server.end();
}

/// Tells him who builds: the proxy, its command, the fifo.
fn strike(hostile: &mut Hostile, build: &Child) {
    let below = descendants(build.id() as i32);
    let auth = |pid: &i32| Some((*pid, variable_of(*pid, "JOBGATE_AUTH")?));
    let (command, auth) = below.iter().find_map(auth).expect("it runs");
    hostile.strike(build.id() as i32, command, auth.strip_prefix("fifo:").unwrap_or_default());
}

/// Tokens of a user's clients, as root sees it.
fn held_by(status: &Value, uid: u32) -> u64 {
    let clients = status["clients"].as_array().expect("a list").iter();
    let own = clients.filter(|client| client["uid"] == uid && client["stopped"] == false);
    own.map(|client| client["lease"].as_u64().unwrap_or(0) + client["held"].as_u64().unwrap_or(0)).sum()
}

/// The most memory that it had, in KiB.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The build has ended as it would without him, within its limit and its time.
fn assert_built(scene: &Scene, output: &Output, limit: usize) {
    assert_eq!((output.status.code(), said(output).as_str()), (Some(0), ""));
    let seen = scene.jobs();
    assert!(seen.count == COUNT && seen.peak <= limit, "{seen:?}");
    let (first, last) = span(&scene.path("honest/log"), "honest");
    let ideal = COUNT as f64 * JOB / limit as f64;
    assert!(last - first < ideal * SLOWED.0 + SLOWED.1, "{} s instead of {ideal}", last - first);
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What he has put where the victim's things are to be.
fn in_shared_folders(house: &House, name: &str, variables: &[(&str, &str)]) {
    for tool in [Tool::OldMake, Tool::Make, Tool::Ninja] {
        let scene = Scene::new(house);
        scene.folder("unsticky", 0, 0o777);
        let hostile = scene.hostile(name);
        let mut build = scene.build(tool, &["-j2"], "", &[]);
        build.env_remove("JOBGATE_SOCKET");
        for (variable, value) in variables {
            build.env(
                variable,
                value.replace('@', scene.path("").to_str().expect("text").trim_end_matches('/')),
            );
        }
        let mut build = build.spawn().expect("it starts");
        scene.await_first(&mut build);
        let output = scene.let_go(build);
        let breaches = hostile.breaches();
        assert_eq!(breaches, Vec::<String>::new(), "{tool:?}");
        assert_built(&scene, &output, 2);
        assert_untouched(&scene);
    }
}

/// Nothing of the victim's was changed, nothing of his lies in the hostile user's folders, and nobody ran what was planted.
fn assert_untouched(scene: &Scene) {
    let src = scene.path("honest/src");
    let mode = std::fs::metadata(&src).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!((mode, std::fs::read_dir(&src).expect("a folder").count()), (0o751, 0), "his other folder");
    assert_eq!(owned_by(&scene.path("hostile"), scene.house.users.honest), Vec::<String>::new());
    assert!(!scene.path("shared/mark").exists(), "a planted program has run");
}

/// All below a folder that is that user's.
fn owned_by(folder: &Path, uid: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            if meta.uid() == uid {
                found.push(entry.path().display().to_string());
            }
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

fn a_stranger_is_not_let_in(house: &House) {
    let scene = Scene::new(house);
    let server = scene.serve("");
    let stranger = house.users.stranger;
    for words in [&["run", "--", "true"][..], &["exec", "--", "true"], &["status"], &["set", "jobs=1"]] {
        let mut command = scene.command_of(stranger, &house.program("jobgate"));
        let output = finish(command.args(words));
        let why = format!("user {stranger} may not use the gate");
        assert!(output.status.code() == Some(125) && said(&output).contains(&why), "{words:?}: {output:?}");
    }
    assert_eq!(scene.status()["clients"].as_array().map(Vec::len), Some(0));
    server.end();
}

fn weight_is_bounded(house: &House) {
    let scene = Scene::new(house);
    let server = scene.serve("");
    let hostile = scene.hostile("weight");
    let mut build = scene.build(Tool::Make, &[], "", &[]).spawn().expect("it starts");
    scene.await_first(&mut build);
    let output = scene.let_go(build);
    assert_eq!(hostile.breaches(), Vec::<String>::new());
    let seen = scene.jobs();
    assert!(output.status.success() && seen.count == COUNT, "{output:?}");
    assert!(seen.peak >= 3, "the half of 6 is his: {seen:?}");
    server.end();
}

/// From the next number on the kernel looks for one that is free.
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// The kernel gives a number that is free to whoever starts next: here to the victim's make, below its proxy.
fn a_number_is_no_process(house: &House) {
    if !Path::new(LAST_PID).exists() {
        return skipped("this kernel doesn't let a test choose the next pid");
    }
    // Once somebody else's process has it, it stays that one's.
    if !(0..5).any(|_| a_number_is_tried(house)) {
        skipped("somebody else always gets that pid");
    }
}

/// False where the number went to somebody else.
fn a_number_is_tried(house: &House) -> bool {
    let scene = Scene::new(house);
    let server = scene.serve("[quota]\ndefault = 1\n");
    let hostile = scene.hostile("number");
    let number: u32 = hostile.word("number").and_then(|word| word.parse().ok()).expect("a pid");
    let build = scene.build(Tool::Make, &[], "$JOBGATE exec -- true", &[]);
    let words: Vec<_> = build.get_args().map(ToOwned::to_owned).collect();
    let (ours, make) =
        words.split_at(words.iter().position(|word| word == "--").expect("it has a command") + 1);
    // Others start processes, too: it tries until it has that number, and what waits for a word does no harm.
    let script = "while read word; do case $word in try) sh -c 'read x <$LET && exec \"$@\"' sh \"$@\" & echo $!;; \
                  wait) wait $!; exit $?;; esac; done";
    let mut tries = scene.command_of(house.users.honest, Path::new(build.get_program()));
    tries.args(ours).args(["sh", "-c", script, "sh"]).args(make);
    tries.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    tries.current_dir(build.get_current_dir().expect("it has one")).env("LET", scene.path("honest/let"));
    let let_it = scene.fifo("honest/let");
    let mut build = tries.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut say = build.stdin.take().expect("piped");
    let mut hear = BufReader::new(build.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let has_it = (0..20).any(|_| {
        std::fs::write(LAST_PID, (number - 1).to_string()).expect("we are root");
        say.write_all(b"try\n").expect("it reads");
        let pid: u32 = hear.next().and_then(|line| line.parse().ok()).expect("a pid");
        if pid != number {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        pid == number
    });
    if !has_it {
        drop(say);
        finish_child(build);
        return false;
    }
    say.write_all(b"wait\n").expect("it reads");
    (&let_it).write_all(b"go\n").expect("there is room");
    scene.await_first(&mut build);
    let output = scene.let_go(build);
    assert_eq!(hostile.breaches(), Vec::<String>::new());
    // Its job pays for what asks the gate in it; nobody else's does, nor keeps it from that.
    assert_built(&scene, &output, 1);
    server.end();
    true
}

fn a_named_socket_where_anybody_listens(house: &House) {
    let scene = Scene::new(house);
    let hostile = scene.hostile("answers");
    for words in [&["run", "--", "true"][..], &["exec", "--", "true"], &["status"]] {
        let mut command = scene.command_of(house.users.honest, &house.program("jobgate"));
        let output = finish(command.args(words).env("JOBGATE_SOCKET", scene.path("shared/socket")));
        let why = format!("user {} listens there", house.users.hostile);
        assert!(output.status.code() == Some(125) && said(&output).contains(&why), "{words:?}: {output:?}");
    }
    assert_eq!(hostile.breaches(), Vec::<String>::new());
}

/// Who has no number at the gate, or whose pids aren't the gate's, or who can't see anybody, has his share all the same.
fn in_namespaces(house: &House) {
    let honest = house.users.honest.to_string();
    let become_honest = format!("exec setpriv --reuid {honest} --regid {honest} --clear-groups \"$@\"");
    let hides = format!("mount -t proc -o hidepid=2 proc /proc && {become_honest}");
    let rows: [(&str, bool, Vec<&str>); 6] = [
        ("no number at all", false, vec!["unshare", "--user"]),
        ("its own number", false, vec!["unshare", "--user", "--map-current-user"]),
        ("as its own root", false, vec!["unshare", "--user", "--map-root-user"]),
        ("other pids", true, vec!["unshare", "--pid", "--fork", "sh", "-c", &become_honest, "sh"]),
        (
            "other pids and processes",
            true,
            vec!["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", &become_honest, "sh"],
        ),
        ("hidden processes", true, vec!["unshare", "--mount", "sh", "-c", &hides, "sh"]),
    ];
    let scene = Scene::new(house);
    let server = scene.serve(&format!("[quota]\ndefault = {QUOTA}\n"));
    for (what, as_root, around) in rows {
        let around: Vec<String> = around.iter().map(|word| (*word).to_owned()).collect();
        let prepare = |mut command: Command| {
            if as_root {
                use std::os::unix::process::CommandExt;
                command.uid(0).gid(0);
            }
            command
        };
        let mut probe = prepare(scene.command_of(house.users.honest, Path::new(&around[0])));
        if !finish(probe.args(&around[1..]).arg("true")).status.success() {
            skipped(&format!("{what}: no such namespace can be had"));
            continue;
        }
        let mut says = prepare(scene.command_of(house.users.honest, Path::new(&around[0])));
        says.args(&around[1..]).arg(house.program("two_uids")).env(ROLE, "own");
        let is_own = finish(&mut says).stdout == b"true\n";
        assert_eq!(is_own, what != "no number at all", "{what}: what seems to be its own may be anybody's");
        scene.clear();
        // Who is nobody has no folder for shims, and is told so.
        let options: &[&str] = if is_own { &[] } else { &["--no-shims"] };
        let build = prepare(scene.build(Tool::Make, options, "$JOBGATE exec -- true", &around)).spawn();
        let mut build = build.expect("it starts");
        scene.await_first(&mut build);
        let output = scene.let_go(build);
        println!("  {what}");
        assert_built(&scene, &output, QUOTA);
    }
    server.end();
}
