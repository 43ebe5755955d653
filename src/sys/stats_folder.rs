//! The logs of a build's statistics in a folder, and the files of the kernel that they are made of.
//!
//! Doesn't know their formats.

use super::again::again;
use super::files;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub struct StatsFolder {
    folder: PathBuf,
    proc_root: PathBuf,
}

impl StatsFolder {
    /// The folder, which is made if only it is missing; logs of those names that lie there go, so that two builds are never taken
    /// for one. The error is a sentence.
    pub fn new(folder: &Path, logs: &[&str], proc_root: &Path) -> Result<StatsFolder, String> {
        let stats = StatsFolder { folder: folder.to_owned(), proc_root: proc_root.to_owned() };
        stats.make(Path::new("")).map_err(|error| format!("{}: {error}", folder.display()))?;
        for log in logs {
            let path = folder.join(log);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(format!("{}: {error}", path.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(stats)
    }

    fn make(&self, name: &Path) -> io::Result<()> {
        match DirBuilder::new().create(self.folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A link to a folder will do.
                if self.folder.join(name).is_dir() {
                    Ok(())
                } else {
                    Err(io::ErrorKind::NotADirectory.into())
                }
            }
            made => made,
        }
    }

    /// What a file of the kernel says now.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        files::read_regular(&self.proc_root.join(name))
    }

    /// Appends to a log, in one write. It is made where it isn't there, and so is its folder. The error is a sentence.
    pub fn append(&self, log: &str, text: &str) -> Result<(), String> {
        let path = self.folder.join(log);
        let write = || {
            if let Some(folder) = Path::new(log).parent() {
                self.make(folder)?;
            }
            let mut file = again(|| File::options().create(true).append(true).open(&path))?;
            file.write_all(text.as_bytes())
        };
        write().map_err(|error: io::Error| format!("{}: {error}", path.display()))
    }
}
