//! A small file of the kernel's that is read over and over: opened once, never more than so much of it.
//!
//! Doesn't know what stands in it.

use super::again::fill;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a file is given at first.
const USUAL: usize = 4096;

/// Of a file that is longer the rest isn't read: `/proc/stat` of the largest machines has a third of that.
const LONGEST: usize = 1 << 18;

/// See the module.
#[derive(Debug)]
pub struct Counter {
    file: File,
    text: RefCell<Vec<u8>>,
}

impl Counter {
    /// Opens it; `None`: it can't be.
    pub fn open(path: impl AsRef<Path>) -> Option<Counter> {
        Counter::try_open(path.as_ref()).ok()
    }

    /// Opens it.
    pub fn try_open(path: &Path) -> io::Result<Counter> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Counter { file, text: RefCell::new(vec![0; USUAL]) })
    }

    /// What is read off its text now; `None`: it can't be read, or nothing is.
    pub fn read<T>(&self, value: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        self.try_read(value).ok().flatten()
    }

    /// The same; an error says why it can't be read.
    pub fn try_read<T>(&self, value: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let mut text = self.text.borrow_mut();
        loop {
            // The kernel gives whole lines at once, as many as there is room for.
            let length =
                fill(&mut text, |to, at| self.file.read_at(to, at as u64), |text| text.ends_with(b"\n"))?;
            if length < text.len() || length >= LONGEST {
                return Ok(value(&text[..length]));
            }
            // As short as the buffer, or cut by it: a longer one next, from here on.
            let longer = text.len() * 4;
            text.resize(longer, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(counter: &Counter) -> Option<usize> {
        counter.read(|text| Some(text.len()))
    }

    #[test]
    fn reads_anew_each_time_and_not_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stat");
        std::fs::write(&path, "abc").unwrap();
        let counter = Counter::open(&path).unwrap();
        assert_eq!(length(&counter), Some(3));
        std::fs::write(&path, vec![b'x'; 20_000]).unwrap();
        assert_eq!(length(&counter), Some(20_000));
        std::fs::write(&path, vec![b'x'; 10 * LONGEST]).unwrap();
        assert_eq!(length(&counter), Some(LONGEST));
        std::fs::write(&path, "").unwrap();
        assert_eq!(length(&counter), Some(0));
        assert!(Counter::open(folder.path()).is_none() && Counter::open(path.join("x")).is_none());
    }
}
