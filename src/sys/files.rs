//! Small files.
//!
//! Doesn't know what stands in them.

use super::users;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The whole text.
pub fn read_text(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// All bytes of a regular file; at anything else, where one might have to wait, it isn't looked.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    std::fs::read(path)
}

/// The whole text of a file that nobody but we or root can have written, if it is no longer than a configuration is.
pub fn read_trusted_text(path: &Path) -> io::Result<String> {
    const LARGEST: u64 = 1 << 20;
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    let meta = file.metadata()?;
    let is_trusted = (meta.uid() == 0 || users::is_own(meta.uid())) && meta.mode() & 0o002 == 0;
    if !meta.is_file() || meta.len() > LARGEST || !is_trusted {
        let why = "no file of ours or root's that others can't write to";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// The files in a folder, in the order of their names.
pub fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .filter(|path| path.as_ref().map_or(true, |path| path.is_file()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The number that stands alone in a file, as the kernel's settings do.
pub fn read_number(path: &Path) -> Option<u64> {
    String::from_utf8(read_regular(path).ok()?).ok()?.trim().parse().ok()
}

/// Writes a file that all may read, with the folders on the way to it: whole, or not at all.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)?;
    let unnamed = folder.join(format!(".new.{}", std::process::id()));
    let write = || {
        let mut file = File::create_new(&unnamed)?;
        file.set_permissions(PermissionsExt::from_mode(0o644))?;
        file.write_all(bytes)?;
        std::fs::rename(&unnamed, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&unnamed);
    })
}

/// Whether both are the same file, whatever the links on the way there.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::chown;

    #[test]
    fn a_configuration_of_somebody_elses_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobgate.toml");
        let read = || read_trusted_text(&file).ok();
        std::fs::write(&file, "one").unwrap();
        assert_eq!(read().as_deref(), Some("one"));
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o646)).unwrap();
        assert_eq!(read(), None, "writable for all");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        if chown(&file, Some(4_000_000_001), None).is_ok() {
            assert_eq!(read(), None);
        }
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(), None, "and it isn't waited for");
    }
}
