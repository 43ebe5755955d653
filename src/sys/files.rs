//! Small files.
//!
//! Doesn't know what stands in them.

use std::io;
use std::path::Path;

/// The whole text.
pub fn read_text(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}
