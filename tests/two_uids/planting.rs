//! What a hostile user puts, moves and exchanges in folders that he shares with others, under every name that they will use.
//!
//! Doesn't know what the honest user's build made of it.

use super::hostile::{Strike, breach, once, place};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A name, what it is, and the variables of the victim that lead there; `@` stands for the folder of the scene.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What is planted in shared folders.
pub const IN_SHARED_FOLDERS: &[Row] = &[
    ("folder", "has made a folder of the victim's name", &[]),
    ("link-to-theirs", "has put a link there that leads to another folder of the victim's", &[]),
    (
        "link-to-mine",
        "has put a link there that leads to his own folder, with a gate in it that answers",
        &[],
    ),
    ("file", "has put a file there", &[]),
    ("fifo", "has put a fifo there", &[]),
    ("gate", "has put a socket there", &[]),
    ("loop", "exchanges all of that while the victim starts", &[]),
    (
        "temporary",
        "has made the folder that the victim's TMPDIR names, and renames what is made there",
        &[("TMPDIR", "@/hostile/open")],
    ),
    ("unsticky", "may rename what the victim makes in TMPDIR, and does", &[("TMPDIR", "@/unsticky")]),
    (
        "runtime",
        "has a gate in the folder that XDG_RUNTIME_DIR names",
        &[("XDG_RUNTIME_DIR", "@/hostile/open")],
    ),
    ("cache", "knows better of what version tools are", &[("XDG_CACHE_HOME", "@/hostile/open")]),
];

/// By its name.
pub fn strike(name: &str) -> Strike {
    let victim = std::env::var("VICTIM").expect("it is set");
    let theirs = PathBuf::from(format!("/tmp/jobgate-{victim}"));
    let open = place("OWN").join("open");
    match name {
        "folder" | "link-to-theirs" | "link-to-mine" | "file" | "fifo" | "gate" => {
            let name = name.to_owned();
            once(move || plant(&name, &theirs))
        }
        "loop" => forever(move || {
            for name in ["folder", "link-to-theirs", "fifo", "link-to-mine", "file", "gate"] {
                let _listener = lay(name, &theirs);
                clear(&theirs);
            }
        }),
        "temporary" => {
            make_open(&open);
            forever(move || take_away(&open.join(format!("jobgate-{victim}"))))
        }
        "unsticky" => forever(move || {
            take_away(&place("SHARED").with_file_name("unsticky").join(format!("jobgate-{victim}")))
        }),
        "runtime" => {
            make_open(&open);
            once(move || plant("link-to-mine", &open.join("jobgate")))
        }
        "data" => {
            make_open(&open);
            // However often the victim puts its own there.
            forever(move || {
                programs(&open.join("jobgate/shims"));
                programs(&open.join("jobgate/shims/sets/gmake+make"));
            })
        }
        "beside" => {
            programs(&place("SHARED").join("lib/jobgate/shims"));
            Box::new(|_| {})
        }
        "cache" => {
            make_open(&open);
            versions(&open.join("jobgate"));
            Box::new(|_| {})
        }
        "answers" => once(|| plant("gate", &place("SHARED").join("socket"))),
        other => panic!("no such role: {other}"),
    }
}

/// Again and again, from a thread of its own: others wait for nothing here.
fn forever(mut act: impl FnMut() + Send + 'static) -> Strike {
    act();
    std::thread::spawn(move || {
        loop {
            act();
        }
    });
    Box::new(|_| {})
}

fn set_mode(path: &Path, mode: u32) {
    let _ = std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
}

/// A folder of ours that everybody may write to.
fn make_open(path: &Path) {
    let _ = std::fs::create_dir(path);
    set_mode(path, 0o777);
}

fn clear(path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_dir(path);
}

/// Puts it there, if the name is free; a gate answers.
fn plant(name: &str, path: &Path) -> Option<UnixListener> {
    let listener = lay(name, path)?;
    answer(listener.try_clone().ok()?);
    Some(listener)
}

/// Puts it there, if the name is free.
fn lay(name: &str, path: &Path) -> Option<UnixListener> {
    match name {
        "folder" => make_open(path),
        "link-to-theirs" => drop(symlink(place("VICTIMS").join("src"), path)),
        "link-to-mine" => {
            let mine = place("OWN").join("mine");
            make_open(&mine);
            let _ = std::fs::File::create(mine.join("socket.lock"));
            drop(symlink(&mine, path));
            return listen(&mine.join("socket"));
        }
        "file" => drop(std::fs::write(path, "{\"anchor\":1}")),
        "fifo" => drop(nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU)),
        "gate" => return listen(path),
        other => panic!("no such thing: {other}"),
    }
    None
}

fn listen(socket: &Path) -> Option<UnixListener> {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).ok()?;
    set_mode(socket, 0o777);
    Some(listener)
}

/// A gate of ours that grants whatever is asked.
fn answer(listener: UnixListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut said = [0; 4096];
                if stream.read(&mut said).is_ok_and(|length| length > 0) {
                    breach("the victim has said hello to a gate of ours");
                }
                let lines = "{\"welcome\":{\"protocol\":\"1.0\",\"id\":1,\"jobs\":64}}\n\
                             {\"allot\":{\"tokens\":64,\"serial\":1}}\n{\"granted\":{\"tokens\":1}}\n";
                let _ = stream.write_all(lines.as_bytes());
                while stream.read(&mut said).is_ok_and(|length| length > 0) {}
            });
        }
    });
}

/// Programs that the victim mustn't run: they leave a mark, and fail.
fn programs(folder: &Path) {
    let _ = std::fs::create_dir_all(folder);
    folder.ancestors().take(4).for_each(|folder| set_mode(folder, 0o777));
    let mark = place("SHARED").join("mark");
    for name in [".jobgate", "make", "gmake", "ninja"] {
        let new = folder.join("new");
        let _ = std::fs::write(&new, format!("#!/bin/sh\n>>{}\nexit 3\n", mark.display()));
        set_mode(&new, 0o777);
        let _ = std::fs::rename(&new, folder.join(name));
    }
}

/// Moves what the victim has made out of the way, as soon as it is there, and puts ours in its place.
fn take_away(path: &Path) {
    if std::fs::rename(path, path.with_extension("aside")).is_ok() {
        breach("took away the folder that the victim uses");
        plant("link-to-mine", path);
    }
}

/// Says of a make 4.3 that it is one that knows fifos: it would die of one.
fn versions(folder: &Path) {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::canonicalize("/usr/bin/make").expect("it is there");
    let meta = std::fs::metadata(&file).expect("it is there");
    let program = jobgate::proto::versions::Program {
        path: file.to_str().expect("text").to_owned(),
        size: meta.len(),
        mtime_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
    };
    let mut versions = jobgate::proto::versions::Versions::default();
    versions.remember(program, b"GNU Make 4.4.1\n");
    std::fs::create_dir_all(folder).expect("a folder of ours");
    std::fs::write(folder.join("versions.json"), versions.text()).expect("a file of ours");
}
