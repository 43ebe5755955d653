//! Users and groups as the system's databases know them.
//!
//! Doesn't know what a user may do. A look-up may ask a directory over the network and take its time: not a thing for an
//! event that comes often.

use super::files::read_number;
use crate::proto::config::Name;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// The uid of a user. A number is taken as it is, known or not; for an unknown name the error names it.
pub fn uid_of(user: &Name) -> Result<u32, String> {
    match user {
        Name::Number(uid) => Ok(*uid),
        Name::Text(name) => match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(format!("there is no user '{name}'")),
            Err(error) => Err(format!("user '{name}' can't be looked up: {}", error.desc())),
        },
    }
}

/// The gid of a group, likewise.
pub fn gid_of(group: &Name) -> Result<u32, String> {
    match group {
        Name::Number(gid) => Ok(*gid),
        Name::Text(name) => match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(format!("there is no group '{name}'")),
            Err(error) => Err(format!("group '{name}' can't be looked up: {}", error.desc())),
        },
    }
}

/// Whose process this is.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Whether we act for somebody else than who has started us: a set-user-ID or set-group-ID program (credentials(7)).
pub fn acts_for_another() -> bool {
    use nix::unistd::{getegid, geteuid, getgid, getuid};
    getuid() != geteuid() || getgid() != getegid()
}

/// Whether a uid may be anybody's: it stands for all who have no number in our user namespace.
pub fn is_unmapped(uid: u32) -> bool {
    let map = || std::fs::read_to_string("/proc/self/uid_map").ok();
    uid == overflow_uid() && map().is_some_and(|map| !maps(&map, uid))
}

/// Whether a table of uids, of lines 'first, first outside, count', has this one.
fn maps(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse::<u32>().ok());
        let (first, count) = (numbers.next(), numbers.nth(1));
        first.zip(count).is_some_and(|(first, count)| uid >= first && uid - first < count)
    })
}

/// Whether that uid is ours, and ours alone.
pub fn is_own(uid: u32) -> bool {
    uid == own_uid() && !is_unmapped(uid)
}

/// Whether nobody but us is in a group: it is our own one, named as we are, and has no other members.
pub fn is_private_group(gid: u32) -> bool {
    if gid != nix::unistd::getegid().as_raw() {
        return false; // without a look-up
    }
    let own = User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    own.zip(group)
        .is_some_and(|(own, group)| own.name == group.name && group.mem.iter().all(|name| *name == own.name))
}

/// The home folder that the databases name for us.
pub fn home() -> Option<PathBuf> {
    User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir)
}

/// The number that stands for every user whom our user namespace doesn't know (user_namespaces(7)): nobody's, mostly.
pub fn overflow_uid() -> u32 {
    overflow("overflowuid")
}

/// Likewise for groups.
pub fn overflow_gid() -> u32 {
    overflow("overflowgid")
}

fn overflow(name: &str) -> u32 {
    let known = read_number(&Path::new("/proc/sys/kernel").join(name));
    known.and_then(|number| u32::try_from(number).ok()).unwrap_or(65_534)
}

/// Whether a process of `uid`, whose own group is `primary_gid`, belongs to one of the groups `gids`: by that group, or by
/// what the databases say of the user. A user who can't be looked up has no group but that one.
pub fn is_member(uid: u32, primary_gid: u32, gids: &[u32]) -> bool {
    if gids.contains(&primary_gid) {
        return true;
    }
    if gids.is_empty() {
        return false; // without a look-up
    }
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    groups.iter().copied().map(Gid::as_raw).any(|gid| gids.contains(&gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody has them on a machine for builds and tests.
    const NOBODYS: u32 = 3_999_999_999;

    fn text(name: &str) -> Name {
        Name::Text(name.to_owned())
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(uid_of(&text("root")), Ok(0));
        assert_eq!(gid_of(&text("root")), Ok(0));
        assert_eq!(uid_of(&Name::Number(NOBODYS)), Ok(NOBODYS));
        assert_eq!(gid_of(&Name::Number(NOBODYS)), Ok(NOBODYS));
    }

    #[test]
    fn an_unknown_name_is_named() {
        let unknown = text("no such-user");
        assert_eq!(uid_of(&unknown), Err("there is no user 'no such-user'".to_owned()));
        assert_eq!(gid_of(&unknown), Err("there is no group 'no such-user'".to_owned()));
        let odd = uid_of(&text("a\0b"));
        assert!(odd.is_err(), "{odd:?}");
    }

    #[test]
    fn a_table_of_uids() {
        let whole = "         0          0 4294967295\n";
        let rows = [
            (whole, true),
            ("1000 1000 1\n", false),
            ("0 1000 1\n1 100000 65536\n", true),
            ("", false),
            ("x\n", false),
        ];
        for (map, has) in rows {
            assert_eq!(maps(map, 65_534), has, "{map}");
        }
        assert!(maps("0 1000 1\n", 0) && !maps("0 1000 1\n", 1) && maps("5 0 2\n", 6) && !maps("5 0 2\n", 4));
        assert!(!is_unmapped(0) && is_own(own_uid()) && !is_own(own_uid().wrapping_add(1)));
    }

    #[test]
    fn members_by_their_process_or_by_the_databases() {
        let root = gid_of(&text("root")).unwrap();
        assert!(is_member(0, NOBODYS, &[NOBODYS - 1, root]), "root's group in the databases");
        assert!(is_member(NOBODYS, 7, &[7]), "the process's own group");
        assert!(!is_member(0, 7, &[NOBODYS]));
        assert!(!is_member(NOBODYS, NOBODYS, &[root]), "an unknown user isn't taken for root");
        assert!(!is_member(0, root, &[]));
    }
}
