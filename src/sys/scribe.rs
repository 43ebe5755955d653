//! Writes a journal, in a thread of its own: who has something to write never waits for a disk.
//!
//! Doesn't know records, only for how many a text stands. What the disk doesn't take, or the queue, is dropped and
//! counted; a file only ever holds whole texts.

use super::again::again;
use super::{clock, users};
use crate::proto::gap::Weight;
use crate::proto::journal;
use crate::proto::text;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// So many texts may wait for the disk ...
const MOST_WAITING: usize = 1024;

/// ... of so many bytes altogether.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// A folder keeps so many journals.
const MOST_FILES: usize = 8;

/// What is written is waited for so long at the end.
const PATIENCE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub struct Scribe {
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
    /// What the thread is to have, before it is started.
    idle: Option<(Receiver<Order>, Target)>,
    done: Receiver<()>,
}

#[derive(Debug)]
enum Order {
    Write(Vec<u8>, Weight),
    /// The next file of the folder.
    Turn,
}

/// What both sides see.
#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicU64,
    records: AtomicU64,
    told: AtomicU64,
    why: Mutex<Option<String>>,
}

impl Shared {
    fn lose(&self, weight: Weight, error: &io::Error) {
        self.records.fetch_add(weight.records, Ordering::Relaxed);
        self.told.fetch_add(weight.told, Ordering::Relaxed);
        if let Ok(mut why) = self.why.lock() {
            why.get_or_insert_with(|| error.to_string());
        }
    }
}

impl Scribe {
    /// Into that file, which is emptied if it is a journal. The error is a sentence.
    pub fn into_file(path: &Path) -> Result<Scribe, String> {
        let file = open(path).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Scribe::new(Target { file: Some(file), length: 0, folder: None }))
    }

    /// Into files of that folder, which is made if it isn't there: one after the other, the last ones are kept.
    pub fn into_folder(folder: &Path) -> Result<Scribe, String> {
        let failed = |error: io::Error| format!("{}: {error}", folder.display());
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let mut target = Target { file: None, length: 0, folder: Some(folder.to_owned()) };
        target.turn(folder).map_err(failed)?;
        Ok(Scribe::new(target))
    }

    fn new(target: Target) -> Scribe {
        let (orders, received) = sync_channel(MOST_WAITING);
        // The thread's end is told by the end of the channel: it has the other side.
        let (_, done) = sync_channel(0);
        Scribe { orders, shared: Arc::default(), idle: Some((received, target)), done }
    }

    /// Starts the thread. What was written before waits for it: who forks, does so first.
    pub fn start(&mut self) -> io::Result<()> {
        let Some((received, target)) = self.idle.take() else { return Ok(()) };
        let (alive, done) = sync_channel(0);
        self.done = done;
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let _alive: SyncSender<()> = alive;
            target.serve(&received, &shared);
        };
        std::thread::Builder::new().name("jg-journal".to_owned()).spawn(work).map(drop)
    }

    /// Writes; `false`: too much waits for the disk.
    pub fn write(&self, text: Vec<u8>, weight: Weight) -> bool {
        let length = text.len() as u64;
        let waiting = self.shared.waiting.fetch_add(length, Ordering::Relaxed);
        let has_room = waiting == 0 || waiting + length <= MOST_BYTES;
        let sent = has_room && self.orders.try_send(Order::Write(text, weight)).is_ok();
        if !sent {
            self.shared.waiting.fetch_sub(length, Ordering::Relaxed);
        }
        sent
    }

    /// What is written from here on stands in the next file of the folder; `false`: not yet.
    pub fn turn(&self) -> bool {
        self.orders.try_send(Order::Turn).is_ok()
    }

    /// What couldn't be written since it was last asked.
    pub fn lost(&self) -> Weight {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Weight { records: take(&self.shared.records), told: take(&self.shared.told) }
    }

    /// Why something couldn't be written, at first.
    pub fn why(&self) -> Option<String> {
        self.shared.why.lock().ok().and_then(|why| why.clone())
    }

    /// Waits until all is written, but not for long; `false`: it isn't.
    pub fn finish(&mut self) -> bool {
        let (nowhere, _) = sync_channel(0);
        self.orders = nowhere;
        if self.idle.take().is_some() {
            return false;
        }
        self.done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected)
    }
}

/// The thread's.
#[derive(Debug)]
struct Target {
    file: Option<File>,
    /// Of what is written whole.
    length: u64,
    folder: Option<PathBuf>,
}

impl Target {
    fn serve(mut self, received: &Receiver<Order>, shared: &Shared) {
        for order in received {
            match order {
                Order::Write(text, weight) => {
                    if let Err(error) = self.write(&text) {
                        shared.lose(weight, &error);
                    }
                    shared.waiting.fetch_sub(text.len() as u64, Ordering::Relaxed);
                }
                Order::Turn => {
                    let folder = self.folder.clone();
                    self.file = None;
                    if let Some(Err(error)) = folder.map(|folder| self.turn(&folder)) {
                        // Nothing is written until there is one: what there is mustn't grow for ever.
                        shared.lose(Weight::default(), &error);
                    }
                }
            }
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if let (None, Some(folder)) = (&self.file, self.folder.clone()) {
            self.turn(&folder)?;
        }
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(error) = file.write_all_at(text, self.length) {
            // Nothing is left of what is there in part.
            let _ = again(|| file.set_len(self.length));
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }

    fn turn(&mut self, folder: &Path) -> io::Result<()> {
        let begin = format!("{PREFIX}{}-", text::stamp(clock::wall_us() / 1_000_000));
        // Of one second they are numbered: a name that was taken away isn't given again, as it would be the oldest.
        let number = |name: &String| name.strip_prefix(&begin)?.strip_suffix(SUFFIX)?.parse::<u32>().ok();
        let last = names(folder).iter().filter_map(number).max();
        let number = last.map_or(0, |last| last.saturating_add(1));
        let path = folder.join(format!("{begin}{number:03}{SUFFIX}"));
        let options = fresh(File::options().create_new(true));
        let file = again(|| options.open(&path))?;
        self.file = Some(lock(file)?);
        self.length = 0;
        clear(folder);
        Ok(())
    }
}

/// Names of a folder's journals begin and end so; between them is when each was begun.
const PREFIX: &str = "jobgate-";
const SUFFIX: &str = ".journal";

/// Of all there, the oldest first.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)).collect();
    names.sort();
    names
}

/// Takes the oldest away, as far as there are too many.
fn clear(folder: &Path) {
    let names = names(folder);
    let surplus = names.len().saturating_sub(MOST_FILES);
    for name in &names[..surplus] {
        let _ = std::fs::remove_file(folder.join(name));
    }
}

fn fresh(options: &mut std::fs::OpenOptions) -> std::fs::OpenOptions {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    options.read(true).write(true).mode(0o600).custom_flags(flags).clone()
}

/// For us alone until it is closed.
fn lock(file: File) -> io::Result<File> {
    // SAFETY: the descriptor is open. (Nix's lock panics where it can't be taken away again.)
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Opens a journal to be written from its beginning. Nothing else is overwritten, nothing is waited for.
fn open(path: &Path) -> Result<File, String> {
    const ANOTHER: &str = "it is there and is no journal of jobgate's: give another name, or take it away";
    // Nor is a link followed: others may have put it there.
    if std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err("a journal is a regular file, and that is none".to_owned());
    }
    let say = |error: io::Error| error.to_string();
    let file = fresh(File::options().create(true).truncate(false)).open(path).map_err(say)?;
    let meta = file.metadata().map_err(say)?;
    if !meta.is_file() {
        return Err("a journal is a regular file, and that is none".to_owned());
    }
    if !users::is_own(meta.uid()) {
        return Err(format!("it belongs to user {}: give another name", meta.uid()));
    }
    let mut beginning = [0; 64];
    let there = again(|| file.read_at(&mut beginning, 0)).map_err(say)?;
    if there > 0 && !journal::is_one(&beginning[..there]) {
        return Err(ANOTHER.to_owned());
    }
    let file = lock(file).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => "another jobgate is writing it".to_owned(),
        _ => error.to_string(),
    })?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(say)?;
    file.set_len(0).map_err(say)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Weight = Weight { records: 1, told: 0 };

    fn finished(mut scribe: Scribe) -> bool {
        scribe.finish()
    }

    #[test]
    fn what_is_no_journal_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let refused = |what: &str| {
            let why = Scribe::into_file(&path).unwrap_err();
            assert!(why.contains(what) && why.starts_with(path.to_str().unwrap()), "{why}");
        };
        std::fs::write(&path, "precious").unwrap();
        refused("is no journal");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::write(&path, "{\"header\":{\"journal\":1}}\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let scribe = Scribe::into_file(&path).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (0, 0o600));
        refused("another jobgate is writing");
        drop(scribe);
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused("regular");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        refused("regular");
        std::fs::remove_dir(&path).unwrap();
        let (other, there) = (folder.path().join("other"), || std::fs::metadata(folder.path().join("other")));
        std::fs::write(&other, "").unwrap();
        std::fs::set_permissions(&other, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        refused("regular");
        assert_eq!(there().unwrap().permissions().mode() & 0o777, 0o644);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        if std::os::unix::fs::chown(&path, Some(4_000_000_001), None).is_ok() {
            refused("belongs to user 4000000001");
        }
    }

    #[test]
    fn what_waits_for_the_thread_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut scribe = Scribe::into_file(&path).unwrap();
        let taken = (0..2 * MOST_WAITING).filter(|_| scribe.write(vec![b'x'; 10], ONE)).count();
        assert_eq!(taken, MOST_WAITING);
        scribe.start().unwrap();
        assert!(finished(scribe));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 10 * MOST_WAITING as u64);
        let scribe = Scribe::into_file(&folder.path().join("other")).unwrap();
        let taken = (0..100).filter(|_| scribe.write(vec![b'x'; 100_000], ONE)).count() as u64;
        assert_eq!(taken, MOST_BYTES / 100_000);
        assert!(!finished(scribe), "nothing was written");
    }

    #[test]
    fn a_folder_keeps_the_last_ones() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("journals");
        let names = || {
            let names = std::fs::read_dir(&own).unwrap();
            let mut names: Vec<_> =
                names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        std::fs::create_dir(&own).unwrap();
        for old in ["jobgate-20010101T000000Z-00.journal", "another's"] {
            std::fs::write(own.join(old), "").unwrap();
        }
        let mut scribe = Scribe::into_folder(&own).unwrap();
        scribe.start().unwrap();
        for number in 0..10 {
            assert!(scribe.write(vec![b'0' + number], ONE) && scribe.turn());
        }
        assert!(finished(scribe));
        let names = names();
        assert_eq!(names.len(), MOST_FILES + 1, "{names:?}");
        assert!(
            names.contains(&"another's".to_owned())
                && !names.contains(&"jobgate-20010101T000000Z-00.journal".to_owned())
        );
        let texts: String =
            names[1..].iter().map(|name| std::fs::read_to_string(own.join(name)).unwrap()).collect();
        assert_eq!(texts, "3456789");
        let file = own.join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Scribe::into_folder(&file).is_err());
    }
}
