//! Folders in whose place nobody but we and root can put something else: each folder on the way there is ours or root's, and
//! where others may write to one, they can't rename what lies in it (the sticky bit).
//!
//! Doesn't know what is kept there. What is found to be so stays so as far as others are concerned, so what is done below such a
//! folder by its path can't be led elsewhere.

use super::again::again;
use super::users;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, mkdirat};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// As the kernel: a path that leads through more links leads nowhere (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// Folders that are root's on every system. In a user namespace that doesn't know root they seem to be nobody's; so does what
/// any other user has put elsewhere.
const OF_THE_SYSTEM: [&str; 10] =
    ["/", "/dev", "/dev/shm", "/home", "/run", "/run/jobgate", "/run/user", "/tmp", "/var", "/var/tmp"];

/// Whose group may write to a folder without being one of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// The user's own: nobody else is in it.
    Private,
    /// That, and the one of a folder of root's: who administers programs here.
    OfPrograms,
}

/// Opens the folder at `path`, to be named with it and not to be read. The error names what on the way there isn't guarded.
pub fn open_folder(path: &Path, groups: Groups) -> io::Result<OwnedFd> {
    Ok(Walk { groups, missing: None }.to(path)?.folder)
}

/// The same for one that is ours, too, that nobody else can write to, and that isn't named by a link.
pub fn open_own(path: &Path) -> io::Result<OwnedFd> {
    own(Walk { groups: Groups::Private, missing: None }, path)
}

/// The same; of what is missing on the way it makes up to the last so many folders, for nobody but us.
pub fn make_own(path: &Path, last: usize) -> io::Result<OwnedFd> {
    let missing = Some(Missing { mode: Mode::S_IRWXU, last });
    own(Walk { groups: Groups::Private, missing }, path)
}

/// The same as `open_folder`; makes all folders that are missing on the way, with these permissions.
pub fn make_folder(path: &Path, mode: Mode, groups: Groups) -> io::Result<OwnedFd> {
    let missing = Some(Missing { mode, last: usize::MAX });
    Ok(Walk { groups, missing }.to(path)?.folder)
}

/// The same as `open_folder`; makes the folder, with these permissions, where it alone is missing.
pub fn make_last(path: &Path, mode: Mode) -> io::Result<OwnedFd> {
    Ok(Walk { groups: Groups::Private, missing: Some(Missing { mode, last: 1 }) }.to(path)?.folder)
}

/// Whether what lies in the folder can have been put there by nobody but us and root.
pub fn is_closed(path: &Path, groups: Groups) -> bool {
    let walk = Walk { groups, missing: None };
    walk.to(path).is_ok_and(|place| !walk.others_write_to(&place))
}

/// Whether the folder is ours, by a link or not, and nobody else can put something there.
pub fn is_own(path: &Path) -> bool {
    let place = Walk { groups: Groups::Private, missing: None }.to(path);
    place.is_ok_and(|place| users::is_own(place.stat.st_uid) && place.stat.st_mode & 0o022 == 0)
}

/// Whether `make_folder` would find nothing on its way that isn't guarded; what is missing is no matter.
pub fn could_be(path: &Path) -> bool {
    match open_folder(path, Groups::Private) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn own(walk: Walk, path: &Path) -> io::Result<OwnedFd> {
    let place = walk.to(path)?;
    if place.by_link {
        return Err(refused("it", "is a link"));
    }
    if !users::is_own(place.stat.st_uid) {
        return Err(refused("it", "is somebody else's"));
    }
    if place.stat.st_mode & 0o022 != 0 {
        return Err(refused("it", "is writable for others"));
    }
    Ok(place.folder)
}

fn refused(name: impl std::fmt::Display, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{name} {why}"))
}

/// What is done about a folder that isn't there.
#[derive(Clone, Copy)]
struct Missing {
    mode: Mode,
    /// Only about the last so many.
    last: usize,
}

/// The way from the root folder.
struct Walk {
    groups: Groups,
    missing: Option<Missing>,
}

/// A folder on the way.
struct Place {
    folder: OwnedFd,
    stat: FileStat,
    path: PathBuf,
    /// The last name of the path led here by a link.
    by_link: bool,
}

enum Entry {
    Folder(Place),
    Link(PathBuf),
}

impl Walk {
    fn to(&self, path: &Path) -> io::Result<Place> {
        if !path.is_absolute() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path"));
        }
        let mut here = self.root()?;
        let mut names: VecDeque<OsString> = names(path).collect();
        let (mut links, mut by_link) = (0, false);
        while let Some(name) = names.pop_front() {
            match self.enter(&here, &name, names.len())? {
                Entry::Folder(next) => here = next,
                Entry::Link(target) => {
                    by_link |= names.is_empty();
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    if target.is_absolute() {
                        here = self.root()?;
                    }
                    names = self::names(&target).chain(names).collect();
                }
            }
        }
        Ok(Place { by_link, ..here })
    }

    /// Whoever has the root folder has us.
    fn root(&self) -> io::Result<Place> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = again(|| open("/", flags, Mode::empty()))?;
        let place = Place { stat: fstat(&folder)?, folder, path: PathBuf::from("/"), by_link: false };
        self.check_writers(&place)?;
        Ok(place)
    }

    /// `left`: how many names come behind this one.
    fn enter(&self, here: &Place, name: &OsStr, left: usize) -> io::Result<Entry> {
        let path = if name == ".." {
            here.path.parent().unwrap_or(&here.path).to_owned()
        } else {
            here.path.join(name)
        };
        // A link is opened itself; nothing else is more than looked at.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let entry = match (again(|| openat(&here.folder, name, flags, Mode::empty())), self.missing) {
            (Err(Errno::ENOENT), Some(missing)) if left < missing.last => {
                make(here, name, missing.mode)?;
                again(|| openat(&here.folder, name, flags, Mode::empty()))?
            }
            (entry, _) => entry?,
        };
        let stat = fstat(&entry)?;
        if !is_trusted(stat.st_uid, &path) {
            return Err(refused(path.display(), "is somebody else's"));
        }
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => {
                let place = Place { folder: entry, stat, path, by_link: false };
                self.check_writers(&place)?;
                Ok(Entry::Folder(place))
            }
            // With a hard link others can put a link of ours there.
            SFlag::S_IFLNK if self.others_write_to(here) => {
                Err(refused(path.display(), "is a link in a folder that is writable for others"))
            }
            SFlag::S_IFLNK => Ok(Entry::Link(again(|| readlinkat(&entry, ""))?.into())),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    /// Refuses a folder in which others can put something in the place of what lies there.
    fn check_writers(&self, place: &Place) -> io::Result<()> {
        if place.stat.st_mode & libc::S_ISVTX == 0 && self.others_write_to(place) {
            return Err(refused(
                place.path.display(),
                "is writable for others, who can rename what lies in it",
            ));
        }
        Ok(())
    }

    fn others_write_to(&self, place: &Place) -> bool {
        let FileStat { st_mode, st_uid, st_gid, .. } = place.stat;
        let of_programs = self.groups == Groups::OfPrograms && st_uid == 0;
        let by_group = || st_mode & 0o020 != 0 && !of_programs && !users::is_private_group(st_gid);
        st_mode & 0o002 != 0 || by_group()
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// Somebody may be quicker: what then lies there is looked at as what lay there before.
fn make(here: &Place, name: &OsStr, mode: Mode) -> io::Result<()> {
    match mkdirat(&here.folder, name, mode) {
        // A umask may have taken our own rights away. Nobody can have put another there: it was seen to be guarded.
        Ok(()) => Ok(fchmodat(&here.folder, name, mode, FchmodatFlags::FollowSymlink)?),
        Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether an owner is we or root.
fn is_trusted(uid: u32, path: &Path) -> bool {
    if users::is_unmapped(uid) {
        return OF_THE_SYSTEM.iter().any(|system| Path::new(system) == path);
    }
    uid == 0 || uid == users::own_uid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::geteuid;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    /// A folder of ours, a shared one in it, and what is asked of each row.
    struct Scene(tempfile::TempDir);

    impl Scene {
        fn new() -> Scene {
            Scene(tempfile::tempdir().unwrap())
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn folder(&self, path: &str, mode: u32) -> PathBuf {
            std::fs::create_dir_all(self.at(path)).unwrap();
            std::fs::set_permissions(self.at(path), PermissionsExt::from_mode(mode)).unwrap();
            self.at(path)
        }

        /// Somebody else's; false where only root could make one.
        fn give_away(&self, path: &str) -> bool {
            std::os::unix::fs::lchown(self.at(path), Some(4_000_000_001), None).is_ok()
        }

        fn why_not(&self, path: &str) -> String {
            open_folder(&self.at(path), Groups::Private)
                .map_or_else(|error| error.to_string(), |_| "good".into())
        }
    }

    const RENAME: &str = "is writable for others, who can rename what lies in it";

    #[test]
    fn who_may_write_to_a_folder_on_the_way_must_not_be_able_to_rename() {
        let scene = Scene::new();
        for (mode, good) in [(0o755, true), (0o1777, true), (0o1770, true), (0o777, false), (0o773, false)] {
            scene.folder("on/the/way", 0o755);
            let on = scene.folder("on", mode);
            let why = scene.why_not("on/the/way");
            assert_eq!(why == "good", good, "{mode:o}: {why}");
            assert!(good || why == format!("{} {RENAME}", on.display()), "{why}");
            // Of the last as well: what lies in it could be renamed.
            assert_eq!(scene.why_not("on") == "good", good, "{mode:o}");
            assert!(mode == 0o1770 || is_closed(&on, Groups::Private) == (mode == 0o755), "{mode:o}");
            assert_eq!(is_own(&on), mode == 0o755, "{mode:o}");
        }
    }

    #[test]
    fn a_group_is_others_unless_nobody_else_is_in_it() {
        let scene = Scene::new();
        let folder = scene.folder("shared", 0o775);
        if chown(&folder, None, Some(4_000_000_001)).is_err() {
            return; // somebody who isn't root has no other group at hand
        }
        assert!(scene.why_not("shared").contains(RENAME));
        assert!(open_folder(&folder, Groups::OfPrograms).is_ok() || !geteuid().is_root());
        chown(&folder, None, Some(nix::unistd::getegid().as_raw())).unwrap();
        assert_eq!(scene.why_not("shared"), "good", "our own group, and we alone are in it");
    }

    #[test]
    fn folders_of_others_are_seen_wherever_they_lie() {
        let scene = Scene::new();
        scene.folder("shared", 0o1777);
        scene.folder("shared/theirs/ours", 0o700);
        if !scene.give_away("shared/theirs") {
            return; // only root can make it
        }
        let theirs = format!("{} is somebody else's", scene.at("shared/theirs").display());
        for path in ["shared/theirs", "shared/theirs/ours", "shared/theirs/ours/../../theirs"] {
            assert_eq!(scene.why_not(path), theirs);
        }
        assert!(open_folder(&scene.at("shared/theirs"), Groups::OfPrograms).is_err());
        assert!(
            make_own(&scene.at("shared/theirs/new"), 9).is_err() && !scene.at("shared/theirs/new").exists()
        );
    }

    #[test]
    fn links_lead_on_if_nobody_else_can_have_put_them_there() {
        let scene = Scene::new();
        scene.folder("real/deep", 0o700);
        symlink("real/deep", scene.at("mine")).unwrap();
        symlink(scene.at("mine/.."), scene.at("up")).unwrap();
        symlink("loop", scene.at("loop")).unwrap();
        assert_eq!([scene.why_not("mine"), scene.why_not("up/deep")], ["good", "good"]);
        assert!(open_own(&scene.at("up/deep")).is_ok());
        assert_eq!(open_own(&scene.at("mine")).unwrap_err().to_string(), "it is a link");
        assert!(is_own(&scene.at("mine")) && is_closed(&scene.at("mine"), Groups::Private));
        assert!(scene.why_not("loop").contains("Too many levels"), "{}", scene.why_not("loop"));
        scene.folder("shared", 0o1777);
        symlink("../real/deep", scene.at("shared/planted")).unwrap();
        let planted = scene.at("shared/planted").display().to_string();
        let why = format!("{planted} is a link in a folder that is writable for others");
        assert_eq!(scene.why_not("shared/planted"), why, "who it is that has put it there can't be seen");
        if scene.give_away("shared/planted") {
            assert_eq!(scene.why_not("shared/planted"), format!("{planted} is somebody else's"));
        }
    }

    #[test]
    fn ones_own_is_made_for_oneself_alone_and_only_the_last() {
        let scene = Scene::new();
        let mode = |path: &str| std::fs::metadata(scene.at(path)).unwrap().permissions().mode() & 0o7777;
        make_own(&scene.at("own"), 1).unwrap();
        assert_eq!(mode("own"), 0o700);
        let missing = make_own(&scene.at("no/own"), 1).unwrap_err();
        assert!(missing.kind() == io::ErrorKind::NotFound && !scene.at("no").exists());
        make_own(&scene.at("no/own"), 2).unwrap();
        assert_eq!([mode("no"), mode("no/own")], [0o700; 2]);
        for (mode, good) in [(0o700, true), (0o755, true), (0o1777, false), (0o730, false), (0o702, false)] {
            scene.folder("own", mode);
            assert_eq!(
                (make_own(&scene.at("own"), 1).is_ok(), open_own(&scene.at("own")).is_ok()),
                (good, good)
            );
        }
        std::fs::write(scene.at("file"), "").unwrap();
        assert!(make_own(&scene.at("file"), 1).is_err());
        make_folder(&scene.at("a/b/c"), Mode::from_bits_truncate(0o755), Groups::Private).unwrap();
        assert_eq!([mode("a"), mode("a/b"), mode("a/b/c")], [0o755; 3]);
        make_last(&scene.at("d"), Mode::from_bits_truncate(0o750)).unwrap();
        assert!(mode("d") == 0o750 && make_last(&scene.at("e/f"), Mode::S_IRWXU).is_err());
        assert!(could_be(&scene.at("x/y")) && could_be(&scene.at("a")) && !could_be(&scene.at("file/x")));
        assert!(make_own(Path::new("own"), 1).is_err(), "a relative path");
    }
}
