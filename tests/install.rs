//! `scripts/install` into a folder of its own: what lies where afterwards, and what is left when it was undone.
//!
//! Doesn't know what the units mean to systemd, nor the configuration to the server.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use support::{finish, jobgate, succeed};

const PROGRAM: &str = "usr/local/bin/jobgate";
const SERVICE: &str = "usr/local/lib/systemd/system/jobgate.service";
const SOCKET: &str = "usr/local/lib/systemd/system/jobgate.socket";
const CONFIG: &str = "etc/jobgate.toml";

/// The script, below `destination`, from a shell that hides what it makes.
fn install(destination: &Path, arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install");
    let mut command = support::clean(Command::new("sh"));
    command.args(["-c", r#"umask 077; exec "$@""#, "sh"]).arg(script).args(arguments);
    for name in ["PREFIX", "SYSCONFDIR", "UNITDIR"] {
        command.env_remove(name);
    }
    command.env("DESTDIR", destination).env("JOBGATE_BINARY", jobgate());
    command
}

/// Runs it; it has nothing to say.
fn quietly(command: &mut Command) {
    let output = finish(command);
    let said = [output.stdout, output.stderr].concat();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&said).as_ref()), (Some(0), ""));
}

/// All files below `folder` with their modes; folders must be open to everybody.
fn files(folder: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap().flatten() {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            if entry.path().is_dir() {
                assert_eq!(mode, 0o755, "{}", entry.path().display());
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, mode);
            }
        }
    }
    found
}

fn expected(rows: &[(&str, u32)]) -> BTreeMap<String, u32> {
    rows.iter().map(|&(name, mode)| (name.to_owned(), mode)).collect()
}

/// These, and what lies below the prefix wherever else things are: shims, layer, manual pages, completions.
fn with_the_rest(rows: &[(&str, u32)], prefix: &str) -> BTreeMap<String, u32> {
    let names = [".jobgate", "bitbake", "make", "gmake", "ninja", "ninja-build", "samu"];
    let mode = |name: &str| if name.starts_with('.') { 0o755 } else { 0o777 }; // links
    let shims = names.map(|name| (format!("{prefix}/lib/jobgate/shims/{name}"), mode(name)));
    let layer = ["conf/layer.conf", "conf/jobgate.conf", "classes/jobgate.bbclass", "lib/jobgate_bitbake.py"];
    let layer = layer.map(|name| (format!("{prefix}/lib/jobgate/bitbake-layer/{name}"), 0o644));
    let commands = [
        "", "-run", "-exec", "-env", "-attach", "-serve", "-status", "-top", "-set", "-report", "-replay",
        "-shims", "-doctor",
    ];
    let pages = commands.map(|command| format!("man/man1/jobgate{command}.1"));
    let completions = [
        "bash-completion/completions/jobgate",
        "zsh/site-functions/_jobgate",
        "fish/vendor_completions.d/jobgate.fish",
    ];
    let shared = pages.into_iter().chain(completions.map(str::to_owned));
    let shared = shared.map(|name| (format!("{prefix}/share/{name}"), 0o644));
    expected(rows).into_iter().chain(shims).chain(layer).chain(shared).collect()
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn sample() -> String {
    read(Path::new(env!("CARGO_MANIFEST_DIR")), "scripts/jobgate.toml")
}

/// The values of a key in a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn everything_is_in_its_place() {
    let root = tempfile::tempdir().unwrap();
    // Made where it is missing.
    let root = root.path().join("destination");
    quietly(&mut install(&root, &[]));
    let all = [(PROGRAM, 0o755), (SERVICE, 0o644), (SOCKET, 0o644), (CONFIG, 0o644)];
    assert_eq!(files(&root), with_the_rest(&all, "usr/local"));
    assert_eq!(read(&root, CONFIG), sample());
    let shims = root.join("usr/local/lib/jobgate/shims");
    let said = succeed(support::clean(Command::new(root.join(PROGRAM))).arg("shims"));
    let make = Path::new(said.trim_end()).join("make");
    assert_eq!(std::fs::read_link(make).unwrap(), shims.join(".jobgate"), "what is installed is what is run");
    let conf = read(&root, "usr/local/lib/jobgate/bitbake-layer/conf/jobgate.conf");
    assert!(conf.contains("BBPATH .= \":/usr/local/lib/jobgate/bitbake-layer\""), "{conf}");
    let make = Command::new(shims.join("make")).args(["-f", "/dev/null", "--version"]).output().unwrap();
    assert!(make.stdout.starts_with(b"GNU Make"), "{make:?}");
    let version = |program: &Path| succeed(Command::new(program).arg("--version"));
    assert_eq!(version(&root.join(PROGRAM)), version(Path::new(jobgate())));

    let (service, socket) = (read(&root, SERVICE), read(&root, SOCKET));
    assert_eq!(
        values(&service, "ExecStart"),
        ["/usr/local/bin/jobgate serve --config /etc/jobgate.toml"],
        "without the destination, which is only where a package is put together"
    );
    assert_eq!(values(&socket, "ListenStream"), ["/run/jobgate/socket"]);
    // The folder of the socket is made by either unit.
    assert_eq!(values(&service, "RuntimeDirectory"), ["jobgate"]);
    assert_eq!(values(&service, "RuntimeDirectoryMode"), values(&socket, "DirectoryMode"));
    assert_eq!(values(&service, "RuntimeDirectoryPreserve"), ["yes"]);

    quietly(&mut install(&root, &["--uninstall"]));
    assert_eq!(files(&root), expected(&[]));
}

#[test]
fn other_places_are_named_in_the_units() {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = |arguments: &[&str]| {
        let mut command = install(root.path(), arguments);
        command.env("PREFIX", "/opt/job-gate/").env("SYSCONFDIR", "/opt/etc").env("UNITDIR", "/etc/units");
        quietly(&mut command);
        files(root.path())
    };
    let all = [
        ("opt/job-gate/bin/jobgate", 0o755),
        ("etc/units/jobgate.service", 0o644),
        ("etc/units/jobgate.socket", 0o644),
        ("opt/etc/jobgate.toml", 0o644),
    ];
    assert_eq!(elsewhere(&[]), with_the_rest(&all, "opt/job-gate"));
    let service = read(root.path(), "etc/units/jobgate.service");
    assert!(!service.contains("/usr/bin") && !service.contains(" /etc/"), "{service}");
    assert_eq!(
        values(&service, "ExecStart"),
        ["/opt/job-gate/bin/jobgate serve --config /opt/etc/jobgate.toml"]
    );
    assert_eq!(elsewhere(&["--uninstall"]), expected(&[]));
}

#[test]
fn a_changed_configuration_outlives_the_rest() {
    let root = tempfile::tempdir().unwrap();
    quietly(&mut install(root.path(), &[]));
    let changed = sample().replace("#jobs = \"auto\"", "jobs = 3");
    std::fs::write(root.path().join(CONFIG), &changed).unwrap();
    std::fs::write(root.path().join(SERVICE), "an older one").unwrap();
    quietly(&mut install(root.path(), &[]));
    assert_eq!(read(root.path(), CONFIG), changed);
    assert!(read(root.path(), SERVICE).contains("\nExecStart="), "units are renewed");
    quietly(&mut install(root.path(), &["--uninstall"]));
    assert_eq!(files(root.path()), expected(&[(CONFIG, 0o644)]));
    assert_eq!(read(root.path(), CONFIG), changed);
    quietly(&mut install(root.path(), &["--uninstall"]));
}

#[test]
fn what_cannot_be_done_is_said_and_nothing_is_written() {
    let rows: [(&[&str], (&str, &str), &str); 4] = [
        (&[], ("PREFIX", "opt"), "PREFIX 'opt': give an absolute path of letters, digits and . _ / + @ ~ -"),
        (&[], ("SYSCONFDIR", "/a%b"), "SYSCONFDIR '/a%b': give an absolute path of"),
        (&[], ("JOBGATE_BINARY", "/no/jobgate"), "'/no/jobgate' can't be run"),
        (&["--remove"], ("PREFIX", "/opt"), "usage: scripts/install [--uninstall]"),
    ];
    for (arguments, (name, value), sentence) in rows {
        let root = tempfile::tempdir().unwrap();
        let output = finish(install(root.path(), arguments).env(name, value));
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("install: {sentence}")) && said.lines().count() == 1, "{said}");
        assert_eq!(files(root.path()), expected(&[]));
    }
}
