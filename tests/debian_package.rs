//! The Debian package: built of this tree, installed by dpkg, used, removed and purged.
//!
//! It is installed in a view of this machine's own system that nobody else sees and that keeps no change: an overlay in a mount
//! namespace, which needs root. Doesn't know systemd: none runs there.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Real, clean, finish, jobs, makefile, succeed, tool};

/// The version of `scripts/tools`.
const CARGO_DEB: &str = "cargo-deb-3.8.0/bin/cargo-deb";

/// The file that scripts/deb has made in the folder; `None` after a line that says SKIPPED.
fn package(folder: &Path) -> Option<PathBuf> {
    let cargo_deb = support::tool_at(CARGO_DEB)?;
    if !Path::new("/var/lib/dpkg/status").exists() {
        support::skipped("this is no Debian system");
        return None;
    }
    // What it is to a user: without what only debuggers read.
    let binary = folder.join("jobgate");
    succeed(clean(Command::new("strip")).arg("-o").arg(&binary).arg(support::jobgate()));
    let file = folder.join("jobgate.deb");
    let mut make = clean(Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deb")));
    make.arg("--fast").arg("--output").arg(&file);
    // What it lays for a moment lies there, too.
    make.env("CARGO_TARGET_DIR", folder.join("target")).env("JOBGATE_BINARY", binary);
    make.env("PATH", support::path_with(&[&cargo_deb]));
    assert_eq!(succeed(&mut make), format!("{}\n", file.display()));
    Some(file)
}

/// All that isn't a folder below this one, by its path there.
fn files(folder: &Path) -> BTreeSet<String> {
    let listed = succeed(Command::new("find").arg(folder).args(["!", "-type", "d", "-printf", "%P\\n"]));
    listed.lines().map(str::to_owned).collect()
}

/// It is made once: packing is what takes long.
#[test]
fn it_is_made_installed_used_removed_and_purged() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(package) = package(folder.path()) {
        holds_what_the_script_installs(folder.path(), &package);
        if tool(Real::SystemMake).is_some() && can_be_installed() {
            is_installed_used_removed_and_purged(folder.path());
        }
    }
}

/// Whoever adds a file to the one must add it to the other.
fn holds_what_the_script_installs(folder: &Path, package: &Path) {
    let unpacked = folder.join("unpacked");
    succeed(Command::new("dpkg-deb").arg("-x").arg(package).arg(&unpacked));
    let installed = folder.join("installed");
    let mut install = clean(Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install")));
    install.env("PREFIX", "/usr").env("SYSCONFDIR", "/etc").env("UNITDIR", "/usr/lib/systemd/system");
    install.env("DESTDIR", &installed).env("JOBGATE_BINARY", folder.join("jobgate"));
    succeed(&mut install);
    let as_packaged = |name: String| match name.strip_suffix(".1") {
        Some(page) => format!("{page}.1.gz"),
        None => name.replace("zsh/site-functions", "zsh/vendor-completions"),
    };
    let expected: BTreeSet<String> = files(&installed).into_iter().map(as_packaged).collect();
    let (documents, others): (BTreeSet<_>, BTreeSet<_>) =
        files(&unpacked).into_iter().partition(|name| name.starts_with("usr/share/doc/jobgate/"));
    assert_eq!(others, expected);
    let named: Vec<&str> = documents.iter().filter_map(|name| name.rsplit('/').next()).collect();
    assert_eq!(named, ["README.md", "SECURITY.md", "changelog.Debian.gz", "changelog.gz", "copyright"]);
    for unit in ["jobgate.service", "jobgate.socket"] {
        let read =
            |root: &Path| std::fs::read_to_string(root.join("usr/lib/systemd/system").join(unit)).unwrap();
        let places =
            |text: String| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert_eq!(places(read(&unpacked)), places(read(&installed)));
    }
    let field = |name: &str| succeed(Command::new("dpkg-deb").arg("-f").arg(package).arg(name));
    let changelog = include_str!("../scripts/debian/changelog");
    assert!(changelog.starts_with(&format!("jobgate ({}) ", field("Version").trim())), "{changelog}");
    assert!(field("Depends").contains("libc6"), "{}", field("Depends"));
}

/// The system as it is, to be changed at will: `inside` runs a script there. `$FOLDER` is the same inside and outside.
const VIEW: &str = r#"
set -eu
mkdir "$FOLDER/view"
mount -t tmpfs view "$FOLDER/view"
cd "$FOLDER/view"
mkdir upper work root
mount -t overlay view -o lowerdir=/,upperdir="$PWD/upper",workdir="$PWD/work" root
mount --rbind /dev root/dev
mount -t proc proc root/proc
mount -t tmpfs run root/run
mount -t tmpfs tmp root/tmp
mkdir -p "root$FOLDER"
mount --bind "$FOLDER" "root$FOLDER"
inside() { chroot root sh -euc "$1" >>"$FOLDER/said" 2>&1; }
"#;

/// What an administrator and a user do. What each step finds stands in files of the folder.
const INSTALL: &str = r#"
cd "$FOLDER"
dpkg --path-include='/usr/share/*' -i jobgate.deb
find /etc/systemd -name 'jobgate*' >enabled
if command -v man; then MANPATH=/usr/share/man man -w jobgate jobgate-run >pages; fi
jobgate run -j3 -- sh -c 'readlink -f "$(command -v make)"' >shim
LOG=$FOLDER/alone jobgate run -j3 -- make -j8
sed -i 's/^#jobs = .*/jobs = 2/' /etc/jobgate.toml
mkfifo ready
$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/jobgate.service) --ready-fd 3 3>ready &
read word <ready
jobgate status --json >status
LOG=$FOLDER/served jobgate run -- make -j8
kill $!
wait $!
"#;

/// What is new or changed below, but what dpkg and what its triggers call keep for themselves.
const LEFT: &str = r#"
left() {
    (cd upper && find . ! -type d && find . -type d | while read -r folder; do [ -d "/$folder" ] || echo "$folder"; done) |
        grep -Ev '^\./(var/(lib/dpkg|log|cache/man|cache/ldconfig)|etc/ld\.so\.cache)(/|$)' | sort >"$FOLDER/$1" || true
}
"#;

/// Whether it could be installed here; else a line says SKIPPED and why.
fn can_be_installed() -> bool {
    let try_it = "set -e; mount -t tmpfs view \"$0\"; cd \"$0\"; mkdir upper work root; \
                  mount -t overlay view -o lowerdir=/,upperdir=upper,workdir=work root; chroot root true";
    let folder = tempfile::tempdir().unwrap();
    let mut command = in_a_namespace();
    let can = command.args(["sh", "-c", try_it]).arg(folder.path()).output();
    let can = can.is_ok_and(|output| output.status.success());
    if !can {
        support::skipped("no overlay of this system can be had: that needs root, unshare(1) and overlayfs");
    }
    can
}

/// All that runs there ends with it.
fn in_a_namespace() -> Command {
    let mut command = clean(Command::new("unshare"));
    command.args(["--mount", "--pid", "--fork", "--kill-child"]);
    command
}

fn is_installed_used_removed_and_purged(folder: &Path) {
    let path = |name: &str| folder.join(name);
    std::fs::write(path("Makefile"), makefile(8, 0.25)).unwrap();
    let steps =
        "inside \"$INSTALL\"; inside 'dpkg -r jobgate'; left removed; inside 'dpkg -P jobgate'; left purged";
    let mut command = in_a_namespace();
    command.args(["sh", "-c", &format!("{VIEW}{LEFT}{steps}")]).env("INSTALL", INSTALL).env("FOLDER", folder);
    // Nothing of the user's, and the host's gate.
    command.env("HOME", path("home")).env_remove("JOBGATE_SOCKET");
    for name in ["XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMPDIR"] {
        command.env_remove(name);
    }
    let output = finish(&mut command);
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_default();
    assert!(output.status.success(), "{output:?}\n{}", read("said"));

    assert_eq!(read("enabled"), "", "it is installed, and that is all");
    if path("pages").exists() {
        let expected = ["jobgate", "jobgate-run"].map(|page| format!("/usr/share/man/man1/{page}.1.gz\n"));
        assert_eq!(read("pages"), expected.concat());
    }
    assert_eq!(read("shim"), "/usr/lib/jobgate/shims/.jobgate\n");
    let status: serde_json::Value = serde_json::from_str(&read("status")).expect("an object");
    assert_eq!(status["limit"], 2, "as /etc/jobgate.toml says: {status}");
    for (log, most) in [("alone", 3), ("served", 2)] {
        let seen = jobs(&path(log));
        assert!(seen.count == 8 && seen.peak == most, "{log}: {seen:?}\n{}", read("said"));
    }
    // Until it is purged deb-systemd-helper, which Debian's packages share, remembers and masks the units.
    let removed = read("removed");
    let ours = removed.lines().filter(|name| !name.contains("/systemd/"));
    assert_eq!(ours.collect::<Vec<_>>(), ["./etc/jobgate.toml"], "a changed one is the administrator's");
    assert_eq!(read("purged"), "");
}
