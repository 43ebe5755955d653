//! A folder that stands for `/proc`, whose counters grow as a machine's would that is as busy as it is told to be.
//!
//! Doesn't know who reads it.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How the machine stands, from now on.
#[derive(Clone, Copy, Debug)]
pub struct Stand {
    /// Share of time in which the cpus are busy.
    pub busy: f64,
    /// Cpu pressure, as a share of time; below 0: there are no pressure files.
    pub pressure: f64,
    /// Threads that could run.
    pub running: u32,
    /// Share of time in which all wait for io, and for memory.
    pub io_full: f64,
    pub memory_full: f64,
    /// Of 64 GiB, in GiB.
    pub available: u64,
    /// Load average.
    pub load: f64,
}

impl Default for Stand {
    /// Idle.
    fn default() -> Stand {
        Stand {
            busy: 0.0,
            pressure: 0.0,
            running: 1,
            io_full: 0.0,
            memory_full: 0.0,
            available: 60,
            load: 0.0,
        }
    }
}

/// See the module. Renewed every 20 ms until it is dropped.
pub struct FakeMachine {
    root: tempfile::TempDir,
    stand: Arc<Mutex<Stand>>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeMachine {
    /// One that stands so.
    pub fn new(stand: Stand) -> FakeMachine {
        let root = tempfile::tempdir().expect("a temporary folder");
        if stand.pressure >= 0.0 {
            std::fs::create_dir(root.path().join("pressure")).expect("a folder in it");
        }
        let stand = Arc::new(Mutex::new(stand));
        let (stop, stopped) = mpsc::channel::<()>();
        let (path, shared) = (root.path().to_owned(), stand.clone());
        let mut counters = Counters::default();
        counters.write(&path, *shared.lock().expect("nobody panics with it"));
        let thread = std::thread::spawn(move || {
            let mut last = Instant::now();
            while stopped.recv_timeout(Duration::from_millis(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
                let stand = *shared.lock().expect("nobody panics with it");
                counters.pass(last.elapsed().as_secs_f64(), stand);
                last = Instant::now();
                counters.write(&path, stand);
            }
        });
        FakeMachine { root, stand, stop: Some(stop), thread: Some(thread) }
    }

    /// The path for `--proc`.
    pub fn path(&self) -> &str {
        self.root.path().to_str().expect("a temporary folder's name is text")
    }

    /// From here on it stands so.
    pub fn stand(&self, stand: Stand) {
        *self.stand.lock().expect("nobody panics with it") = stand;
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Microseconds, all growing from 0.
#[derive(Default)]
struct Counters {
    time: f64,
    busy: f64,
    cpu: f64,
    io: f64,
    memory: f64,
}

impl Counters {
    fn pass(&mut self, seconds: f64, stand: Stand) {
        self.time += 1e6 * seconds;
        self.busy += 1e6 * seconds * stand.busy;
        self.cpu += 1e6 * seconds * stand.pressure;
        self.io += 1e6 * seconds * stand.io_full;
        self.memory += 1e6 * seconds * stand.memory_full;
    }

    /// Each file in one write of fixed width, so that a reader never sees half of it.
    fn write(&self, root: &Path, stand: Stand) {
        let idle = self.time - self.busy;
        let ticks = format!("{:020.0} 0 0 {:020.0} 0 0 0 0 0 0", self.busy, idle);
        write(
            &root.join("stat"),
            &format!("cpu  {ticks}\ncpu0 {ticks}\nprocs_running {:010}\n", stand.running),
        );
        let kib = |gib: u64| gib << 20;
        let (all, available) = (kib(64), kib(stand.available));
        write(&root.join("meminfo"), &format!("MemTotal: {all:020} kB\nMemAvailable: {available:020} kB\n"));
        write(&root.join("loadavg"), &format!("{:010.2} 1.00 1.00 1/2 3\n", stand.load));
        if stand.pressure < 0.0 {
            return;
        }
        for (name, some, full) in
            [("cpu", self.cpu, 0.0), ("io", self.io, self.io), ("memory", self.memory, self.memory)]
        {
            let averages = "avg10=0.00 avg60=0.00 avg300=0.00";
            let text = format!("some {averages} total={some:020.0}\nfull {averages} total={full:020.0}\n");
            write(&root.join("pressure").join(name), &text);
        }
    }
}

fn write(path: &Path, text: &str) {
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path);
    file.and_then(|file| file.write_all_at(text.as_bytes(), 0)).expect("a file can be written");
}
