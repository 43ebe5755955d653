//! How much is free where a directory lies, and on which device.
//!
//! Doesn't know how much is needed. What isn't there yet will be made where its nearest folder lies.

use super::again::again;
use crate::policy::diskmon::Amounts;
use crate::proto::diskmon::device_at;
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory's own path: absolute, and without links as far as it is there.
pub fn real_path(dir: &Path) -> PathBuf {
    std::fs::canonicalize(dir).or_else(|_| std::path::absolute(dir)).unwrap_or_else(|_| dir.to_owned())
}

/// What is free for an ordinary user.
pub fn free(dir: &Path) -> io::Result<Amounts> {
    let mut missing = Errno::ENOENT;
    for folder in dir.ancestors() {
        match again(|| statvfs(folder)) {
            Ok(seen) => {
                // A kernel that doesn't count inodes says 0 of all (btrfs) or -1 free (cephfs).
                let counts = seen.files() != 0 && seen.files_available() != u64::MAX as libc::fsfilcnt_t;
                let space = wide(seen.blocks_available()).saturating_mul(wide(seen.fragment_size()));
                let inodes = counts.then(|| wide(seen.files_available()));
                return Ok(Amounts { space: Some(space), inodes });
            }
            Err(error @ (Errno::ENOENT | Errno::ENOTDIR)) => missing = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(missing.into())
}

/// The kernel's counts are narrower on some machines.
fn wide(count: impl Into<u64>) -> u64 {
    count.into()
}

/// What is mounted there, as the kernel's table of mounts names it.
pub fn device(dir: &Path) -> Option<String> {
    let there = dir.ancestors().find_map(|folder| Some((folder, std::fs::metadata(folder).ok()?.dev())));
    let (mut point, device) = there?;
    // The last folder on the same device, on the way up, is where that is mounted.
    while let Some(above) = point.parent() {
        if std::fs::metadata(above).ok()?.dev() != device {
            break;
        }
        point = above;
    }
    device_at(&std::fs::read_to_string("/proc/self/mounts").ok()?, point.to_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_where_it_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("a/b");
        assert!(free(&missing).unwrap().space.is_some());
        assert_eq!(device(&missing), device(folder.path()));
        std::fs::write(folder.path().join("a"), "").unwrap();
        assert!(free(&missing).unwrap().space.is_some(), "below a file");
    }

    #[test]
    fn it_is_what_statvfs_says() {
        let seen = statvfs("/proc").unwrap();
        let free = free(Path::new("/proc")).unwrap();
        assert_eq!(free.space, Some(0));
        assert_eq!((seen.files(), free.inodes), (0, None), "no inodes are counted there");
        assert_eq!(device(Path::new("/proc")).as_deref(), Some("proc"));
    }

    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        assert_eq!(real_path(&link), Path::new("/proc"));
        assert_eq!(real_path(&folder.path().join("no/x")), folder.path().join("no/x"));
        assert!(real_path(Path::new("nowhere")).is_absolute());
    }
}
