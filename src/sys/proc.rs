//! What the kernel tells of the machine: pressure files, usable cpus.
//!
//! Doesn't know thresholds or rates. Pressure files hang from a root folder, `/proc` by default: a test is a folder.

use super::again::fill;
use super::files::read_regular;
use crate::policy::pressure::{PerResource, Resource, Totals};
use crate::proto::findings::Unreadable;
use crate::proto::text;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The pressure files, kept open: one reader, `pread`, never an open per sample.
#[derive(Debug)]
pub struct PressureFiles([Option<File>; 3]);

impl PressureFiles {
    /// Opens `ROOT/pressure/{cpu,io,memory}`, those that are `watched`, and reads each once.
    ///
    /// The error names the file. A kernel may have no PSI (no files) or have it turned off (EOPNOTSUPP).
    pub fn open(root: &Path, watched: PerResource<bool>) -> Result<PressureFiles, String> {
        let mut files = PressureFiles([None, None, None]);
        for resource in Resource::ALL {
            if watched.get(resource) {
                let path = root.join("pressure").join(resource.name());
                let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                files.0[resource as usize] = Some(file);
                files.read(resource).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        Ok(files)
    }

    /// Those that can be read, whichever they are.
    pub fn open_any(root: &Path) -> PressureFiles {
        let mut all = PressureFiles([None, None, None]);
        for resource in Resource::ALL {
            let one = PressureFiles::open(root, PerResource::from_fn(|other| other == resource));
            if let Ok(PressureFiles(mut files)) = one {
                all.0[resource as usize] = files[resource as usize].take();
            }
        }
        all
    }

    /// Reads what isn't known yet, as far as that can be read.
    pub fn complete(&self, mut totals: Totals) -> Totals {
        for resource in Resource::ALL {
            if totals.get(resource).is_none() {
                totals.set(resource, self.read(resource).ok().flatten());
            }
        }
        totals
    }

    /// Reads them all now.
    pub fn sample(&self) -> io::Result<Totals> {
        let mut totals = Totals::default();
        for resource in Resource::ALL {
            totals.set(resource, self.read(resource)?);
        }
        Ok(totals)
    }

    fn read(&self, resource: Resource) -> io::Result<Option<u64>> {
        let Some(file) = &self.0[resource as usize] else { return Ok(None) };
        let mut text = [0; 512];
        // Its first line is all that is looked at.
        let length = fill(&mut text, |to, at| file.read_at(to, at as u64), |text| text.contains(&b'\n'))?;
        match text::some_total(&text[..length]) {
            Some(total) => Ok(Some(total)),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "no line 'some ... total=N' in it")),
        }
    }
}

/// What one pressure file says now, or why it says nothing.
pub fn pressure(root: &Path, resource: Resource) -> Result<Vec<u8>, Unreadable> {
    read_regular(&root.join("pressure").join(resource.name())).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => Unreadable::Absent,
        Some(libc::EOPNOTSUPP) => Unreadable::Off,
        _ => Unreadable::Other(error.to_string()),
    })
}

/// The kernel's release, as `uname -r` says it; empty where it can't be read.
pub fn kernel() -> String {
    let text = read_regular(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Cpus that this process may use: affinity and the cgroup's cpu quota, 1 or more.
pub fn usable_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(cpu: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("pressure")).unwrap();
        std::fs::write(root.path().join("pressure/cpu"), cpu).unwrap();
        root
    }

    fn only_cpu() -> PerResource<bool> {
        PerResource::from_fn(|resource| resource == Resource::Cpu)
    }

    #[test]
    fn reads_only_what_is_watched_and_anew_each_time() {
        let line = |total| format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\nfull total=1\n");
        let root = root(&line(41));
        let files = PressureFiles::open(root.path(), only_cpu()).unwrap();
        assert_eq!(files.sample().unwrap().get(Resource::Cpu), Some(41));
        std::fs::write(root.path().join("pressure/cpu"), line(42)).unwrap();
        assert_eq!(files.sample().unwrap().get(Resource::Cpu), Some(42));
        assert_eq!(files.sample().unwrap().get(Resource::Io), None);
    }

    #[test]
    fn says_which_file_is_missing_or_odd() {
        let root = root("garbage");
        let missing = PressureFiles::open(root.path(), PerResource::from_fn(|r| r == Resource::Io));
        assert!(missing.unwrap_err().contains("pressure/io: No such file"));
        let odd = PressureFiles::open(root.path(), only_cpu()).unwrap_err();
        assert!(odd.contains("pressure/cpu: no line"), "{odd}");
    }
}
