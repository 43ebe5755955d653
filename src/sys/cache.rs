//! A small file of ours in the user's cache folder: read as a whole, and replaced as a whole.
//!
//! Doesn't know what it says. All that can be lost there is time, so whatever is wrong with it is as if it weren't there:
//! a folder that is somebody else's or can't be written, a link in its place, a file that is too large.

use super::again::again;
use super::{guarded, users};
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// No file of ours is larger.
const LARGEST: u64 = 1 << 20;

/// Where a user's files that can be made again lie (XDG Base Directory Specification): in `jobgate` below
/// `$XDG_CACHE_HOME`, else below `$HOME/.cache`. A relative path counts as none.
pub fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("jobgate"))
}

/// What the file says; nothing where it isn't there.
pub fn read(folder: &Path, name: &str) -> Vec<u8> {
    try_read(folder, name).unwrap_or_default()
}

fn try_read(folder: &Path, name: &str) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let folder = guarded::open_own(folder)?;
    let file = again(|| openat(&folder, name, flags, Mode::empty()))?;
    let stat = fstat(&file)?;
    if !users::is_own(stat.st_uid) || !is_kind(&stat, SFlag::S_IFREG) || stat.st_size as u64 > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = Vec::new();
    File::from(file).take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// Puts a new file in the place of the old one, for nobody but us; makes the folder where only that is missing. Who reads
/// meanwhile reads the one or the other.
pub fn replace(folder: &Path, name: &str, text: &[u8]) {
    let _ = try_replace(folder, name, text);
}

fn try_replace(folder: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    // It, and the cache folder that it lies in; not what that lies in: a home that isn't there isn't to be. Below `sudo` the
    // home may be the caller's, who couldn't write to what root makes there.
    let folder = guarded::make_own(folder, 2)?;
    // Of a random name: another process, or another machine, may write at the same time.
    let new = format!(".{name}-{:016x}", RandomState::new().build_hasher().finish());
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = again(|| openat(&folder, new.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR))?;
    let written = File::from(file).write_all(text);
    let done = written.and_then(|()| Ok(renameat(&folder, new.as_str(), &folder, name)?));
    if done.is_err() {
        let _ = unlinkat(&folder, new.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    done
}

fn is_kind(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::geteuid;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("cache/jobgate");
        (place, folder)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(folder: &Path) -> Vec<OsString> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn where_it_lies() {
        type Row = (&'static [(&'static str, &'static str)], Option<&'static str>);
        let rows: [Row; 8] = [
            (&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")], Some("/c/jobgate")),
            (&[("XDG_CACHE_HOME", "/c")], Some("/c/jobgate")),
            (&[("HOME", "/h")], Some("/h/.cache/jobgate")),
            (&[("XDG_CACHE_HOME", ""), ("HOME", "/h")], Some("/h/.cache/jobgate")),
            (&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")], Some("/h/.cache/jobgate")),
            (&[("HOME", "h")], None),
            (&[("HOME", "")], None),
            (&[], None),
        ];
        for (variables, expected) in rows {
            let variable = |name: &str| variables.iter().find(|row| row.0 == name).map(|row| row.1.into());
            assert_eq!(folder(variable).as_deref(), expected.map(Path::new), "{variables:?}");
        }
    }

    #[test]
    fn written_for_nobody_but_us_and_read_again() {
        let (_place, folder) = place();
        assert_eq!(read(&folder, "x.json"), b"");
        for text in ["one", "two"] {
            replace(&folder, "x.json", text.as_bytes());
            assert_eq!(read(&folder, "x.json"), text.as_bytes());
        }
        assert_eq!(mode(&folder.join("x.json")), 0o600);
        assert_eq!([mode(&folder), mode(folder.parent().unwrap())], [0o700, 0o700]);
        assert_eq!(names(&folder), ["x.json"]);
    }

    #[test]
    fn no_home_is_made() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("nonexistent");
        replace(&home.join(".cache/jobgate"), "x.json", b"one");
        assert!(!home.exists());
    }

    #[test]
    fn links_are_not_followed() {
        let (place, folder) = place();
        let elsewhere = place.path().join("elsewhere");
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("x.json"), "theirs").unwrap();
        std::fs::create_dir(folder.parent().unwrap()).unwrap();
        // In place of the folder:
        symlink(&elsewhere, &folder).unwrap();
        replace(&folder, "x.json", b"ours");
        assert_eq!(read(&folder, "x.json"), b"");
        // Of the file: the link gives way, what it led to stays.
        std::fs::remove_file(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        symlink(elsewhere.join("x.json"), folder.join("x.json")).unwrap();
        assert_eq!(read(&folder, "x.json"), b"");
        replace(&folder, "x.json", b"ours");
        assert_eq!(read(&folder, "x.json"), b"ours");
        assert_eq!(std::fs::read(elsewhere.join("x.json")).unwrap(), b"theirs");
        assert_eq!(names(&elsewhere), ["x.json"]);
    }

    #[test]
    fn a_cache_folder_that_is_a_link_is_one_where_nobody_else_could_put_it() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("home");
        let elsewhere = place.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::create_dir(&home).unwrap();
        symlink(&elsewhere, home.join(".cache")).unwrap();
        for (mode, text) in [(0o1777, ""), (0o755, "one")] {
            std::fs::set_permissions(&home, PermissionsExt::from_mode(mode)).unwrap();
            replace(&home.join(".cache/jobgate"), "x.json", b"one");
            assert_eq!(read(&home.join(".cache/jobgate"), "x.json"), text.as_bytes(), "{mode:o}");
            assert_eq!(elsewhere.join("jobgate").exists(), !text.is_empty(), "{mode:o}");
        }
    }

    #[test]
    fn folders_that_others_can_write_to_are_left_alone() {
        let (_place, folder) = place();
        replace(&folder, "x.json", b"one");
        for mode in [0o770, 0o707] {
            std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
            replace(&folder, "x.json", b"two");
            assert_eq!(read(&folder, "x.json"), b"", "{mode:o}");
        }
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
        assert_eq!(read(&folder, "x.json"), b"one");
    }

    /// Only root can give folders away, and only somebody else than root has any that are somebody else's at hand.
    #[test]
    fn folders_of_others_are_left_alone() {
        let (_place, folder) = place();
        replace(&folder, "x.json", b"one");
        if geteuid().is_root() {
            std::os::unix::fs::chown(folder.parent().unwrap(), Some(65534), None).unwrap();
            replace(&folder, "x.json", b"two");
            assert_eq!(read(&folder, "x.json"), b"", "the cache folder is theirs");
            std::os::unix::fs::chown(folder.parent().unwrap(), Some(0), None).unwrap();
            std::os::unix::fs::chown(&folder, Some(65534), None).unwrap();
            replace(&folder, "x.json", b"two");
            assert_eq!(read(&folder, "x.json"), b"", "ours in it is theirs");
            std::os::unix::fs::chown(&folder, Some(0), None).unwrap();
            std::os::unix::fs::chown(folder.join("x.json"), Some(65534), None).unwrap();
            assert_eq!(read(&folder, "x.json"), b"", "the file is theirs");
            std::os::unix::fs::chown(folder.join("x.json"), Some(0), None).unwrap();
            assert_eq!(read(&folder, "x.json"), b"one");
        } else {
            replace(Path::new("/etc/jobgate-test"), "x.json", b"one");
            assert!(!Path::new("/etc/jobgate-test").exists());
        }
    }

    /// `/proc/self` is ours, and nothing can be made there, by root either.
    #[test]
    fn a_folder_that_can_not_be_written_is_no_matter() {
        replace(Path::new("/proc/self/jobgate"), "x.json", b"one");
        assert_eq!(read(Path::new("/proc/self/jobgate"), "x.json"), b"");
    }

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let (_place, folder) = place();
        replace(&folder, "x.json", &vec![b'x'; LARGEST as usize + 1]);
        assert_eq!(read(&folder, "x.json"), b"");
        replace(&folder, "x.json", &vec![b'x'; LARGEST as usize]);
        assert_eq!(read(&folder, "x.json").len(), LARGEST as usize);
        let fifo = folder.join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        assert_eq!(read(&folder, "fifo"), b"", "and it doesn't wait");
        // A folder in the file's place can't be replaced: nothing is left beside it.
        std::fs::create_dir(folder.join("y.json")).unwrap();
        replace(&folder, "y.json", b"one");
        let mut left = names(&folder);
        left.sort();
        assert_eq!(left, ["fifo", "x.json", "y.json"]);
    }

    #[test]
    fn who_reads_while_others_write_reads_the_one_or_the_other() {
        let (_place, folder) = place();
        let texts = [b'a', b'b', b'c', b'd'].map(|letter| vec![letter; 50_000]);
        replace(&folder, "x.json", &texts[0]);
        std::thread::scope(|scope| {
            for text in &texts {
                let folder = &folder;
                scope.spawn(move || (0..300).for_each(|_| replace(folder, "x.json", text)));
            }
            for _ in 0..2000 {
                let text = read(&folder, "x.json");
                assert!(texts.contains(&text), "{} bytes", text.len());
            }
        });
        assert_eq!(names(&folder), ["x.json"]);
    }
}
