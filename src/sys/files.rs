//! Small files.
//!
//! Doesn't know what stands in them.

use std::io;
use std::path::Path;

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

/// The number that stands alone in a file, as the kernel's settings do.
pub fn read_number(path: &Path) -> Option<u64> {
    String::from_utf8(read_regular(path).ok()?).ok()?.trim().parse().ok()
}

/// Whether both are the same file, whatever the links on the way there.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}
