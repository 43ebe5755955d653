//! Journals as a user names them: a file, or a folder of files that took turns.
//!
//! Doesn't know what is made of them.

use super::Failure;
use crate::proto::journal::{NoJournal, Reader, Record, VERSION};
use crate::sys::files;
use std::path::{Path, PathBuf};

/// Texts in the order in which they were written.
pub struct Journals {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Journals {
    /// Reads them all. The error names the file that is none.
    pub fn read(path: &Path) -> Result<Journals, Failure> {
        let failed = |path: &Path, why: String| Failure(format!("{}: {why}", path.display()));
        let is_folder = path.is_dir();
        let names = if is_folder {
            files::names(path).map_err(|error| failed(path, error.to_string()))?
        } else {
            vec![path.to_owned()]
        };
        let mut found = Vec::new();
        for name in names {
            let text = files::read_regular(&name).map_err(|error| failed(&name, error.to_string()))?;
            match Reader::new(&text) {
                Ok(_) => found.push((name, text)),
                Err(NoJournal::Another) if is_folder => {}
                Err(NoJournal::Another) => return Err(failed(&name, "this is no journal".to_owned())),
                Err(NoJournal::Version(version)) => {
                    let why = format!("a journal of version {version}; this jobgate reads version {VERSION}");
                    return Err(failed(&name, why));
                }
            }
        }
        if found.is_empty() {
            return Err(failed(path, "no journal is in this folder".to_owned()));
        }
        Ok(Journals { files: found })
    }

    /// Gives each record, and then what its reader should know of the journal itself.
    pub fn each(&self, mut take: impl FnMut(&Record)) -> Vec<String> {
        let (mut notes, mut is_over, mut count) = (Vec::new(), true, 0);
        for (name, text) in &self.files {
            let Ok(mut reader) = Reader::new(text) else { continue }; // it was one when it was read
            for record in reader.by_ref() {
                is_over = matches!(record, Record::End(_));
                count += 1;
                take(&record);
            }
            if reader.skipped() > 0 {
                let lines = reader.skipped();
                notes
                    .push(format!("{lines} lines of {} couldn't be read, and are left out.", name.display()));
            }
            if reader.is_cut() {
                notes.push(format!("The last line of {} is cut off, and is left out.", name.display()));
            }
        }
        if count == 0 {
            notes.push("Nothing is written there yet.".to_owned());
        } else if !is_over {
            notes.push("The journal has no end: what wrote it was killed, or writes on.".to_owned());
        }
        notes
    }
}
