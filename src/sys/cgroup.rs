//! Cgroups, of both versions: where ours is, what bounds it, and the files that tell how it stands, kept open.
//!
//! Doesn't know what follows from any figure. What a kernel doesn't have isn't there, and no error.

use super::counter::Counter;
use crate::policy::pressure::Resource;
use crate::policy::reading::Memory;
use crate::proto::kernel;
use std::path::{Path, PathBuf};

/// No hierarchy is looked at deeper than that.
const DEEPEST: usize = 32;

/// A limit of so much memory is none.
const NO_LIMIT: i64 = 1 << 60;

/// A cgroup's folders: one in version 2's hierarchy, and one for each of version 1's controllers, where they are.
#[derive(Clone, Debug, Default)]
pub struct Group {
    unified: Option<Place>,
    cpu: Option<Place>,
    time: Option<Place>,
    memory: Option<Place>,
}

/// A folder, and the topmost one of its hierarchy.
#[derive(Clone, Debug)]
struct Place {
    folder: PathBuf,
    top: PathBuf,
}

impl Place {
    /// From the folder up.
    fn chain(&self) -> impl Iterator<Item = &Path> {
        let inside = |folder: &&Path| folder.starts_with(&self.top);
        self.folder.ancestors().take_while(inside).take(DEEPEST)
    }
}

/// How many cpus' time a cgroup may use.
#[derive(Clone, Debug)]
pub struct Quota {
    /// Cpus.
    pub cpus: f64,
    /// Where that is said.
    folder: PathBuf,
    is_unified: bool,
}

impl Group {
    /// Ours, as `ROOT/self` tells.
    pub fn own(root: &Path) -> Group {
        let read = |name: &str| super::files::read_regular(&root.join("self").join(name)).unwrap_or_default();
        let (cgroup, mountinfo) = (read("cgroup"), read("mountinfo"));
        let place = |controller: &str| {
            let mount = kernel::cgroup_mount(&mountinfo, controller)?;
            let folder = mount.folder(&kernel::cgroup_of(&cgroup, controller)?);
            Some(Place { folder, top: mount.point })
        };
        Group { unified: place(""), cpu: place("cpu"), time: place("cpuacct"), memory: place("memory") }
    }

    /// The one of that name: a path in each hierarchy, or the folder of one.
    pub fn named(root: &Path, name: &Path) -> Result<Group, String> {
        let own = Group::own(root);
        let place = |own: Option<Place>| {
            let top = own?.top;
            let below = name.strip_prefix(&top).or_else(|_| name.strip_prefix("/")).unwrap_or(name);
            let folder = top.join(below);
            folder.is_dir().then_some(Place { folder, top })
        };
        let group = Group {
            unified: place(own.unified),
            cpu: place(own.cpu),
            time: place(own.time),
            memory: place(own.memory),
        };
        let places = [&group.unified, &group.cpu, &group.time, &group.memory];
        if places.iter().all(|place| place.is_none()) {
            return Err(format!("there is no cgroup {}", name.display()));
        }
        Ok(group)
    }

    /// The smallest quota of it and of those that it is in.
    pub fn quota(&self) -> Option<Quota> {
        let of_unified = |folder: &Path| kernel::cpu_max(&read(&folder.join("cpu.max")));
        let of_first = |folder: &Path| {
            let number = |name: &str| kernel::only_number(&read(&folder.join(name)));
            kernel::quota(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
        };
        let unified = self.unified.iter().flat_map(Place::chain).filter_map(|folder| {
            let cpus = of_unified(folder)?;
            Some(Quota { cpus, folder: folder.to_owned(), is_unified: true })
        });
        let first = self.cpu.iter().flat_map(Place::chain).filter_map(|folder| {
            let cpus = of_first(folder)?;
            Some(Quota { cpus, folder: folder.to_owned(), is_unified: false })
        });
        unified.chain(first).min_by(|a, b| a.cpus.total_cmp(&b.cpus))
    }

    /// The cgroup that has that quota.
    pub fn at(&self, quota: &Quota) -> Group {
        let own = if quota.is_unified { &self.unified } else { &self.cpu };
        let Some(own) = own else { return self.clone() };
        let depth = own.folder.ancestors().take_while(|folder| *folder != quota.folder).count();
        let up = |place: &Option<Place>| {
            let place = place.as_ref()?;
            let folder = place.chain().nth(depth).unwrap_or(&place.top).to_owned();
            Some(Place { folder, top: place.top.clone() })
        };
        // Another hierarchy may have another cgroup at that depth: only what is known to be the same counts.
        let is_same = |place: &Option<Place>| {
            let below = |place: &Place| place.folder.strip_prefix(&place.top).ok().map(Path::to_owned);
            place.as_ref().is_some_and(|place| below(place) == below(own))
        };
        let only = |place: &Option<Place>| if is_same(place) { up(place) } else { None };
        Group {
            unified: only(&self.unified),
            cpu: only(&self.cpu),
            time: only(&self.time),
            memory: only(&self.memory),
        }
    }

    /// The file of its pressure, if it can be read.
    pub fn pressure(&self, resource: Resource) -> Option<PathBuf> {
        let file = self.unified.as_ref()?.folder.join(format!("{}.pressure", resource.name()));
        kernel::pressure_total(&read(&file), "some").is_some().then_some(file)
    }

    /// The counter of the cpu time that it has used.
    pub fn time(&self) -> Option<Time> {
        let unified = self.unified.as_ref().map(|place| place.folder.join("cpu.stat"));
        let unified = unified.and_then(Counter::open).map(Time::Unified).filter(|time| time.read().is_some());
        let first = || self.time.as_ref().and_then(|place| Counter::open(place.folder.join("cpuacct.usage")));
        unified.or_else(|| first().map(Time::First))
    }

    /// The memory limits of it and of those that it is in.
    pub fn memory_limits(&self) -> Vec<MemoryLimit> {
        let unified = self.unified.iter().flat_map(Place::chain).map(|folder| (folder, UNIFIED_MEMORY));
        let first = self.memory.iter().flat_map(Place::chain).map(|folder| (folder, FIRST_MEMORY));
        unified.chain(first).filter_map(|(folder, names)| MemoryLimit::open(folder, names)).collect()
    }
}

impl Quota {
    /// The counter of how long it has kept threads from running.
    pub fn throttled(&self) -> Option<Throttled> {
        let counter = Counter::open(self.folder.join("cpu.stat"))?;
        Some(Throttled { counter, is_unified: self.is_unified })
    }

    /// What it is by now, or was.
    pub fn renew(&mut self) {
        let now = if self.is_unified {
            kernel::cpu_max(&read(&self.folder.join("cpu.max")))
        } else {
            let number = |name: &str| kernel::only_number(&read(&self.folder.join(name)));
            number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us")).and_then(|(q, p)| kernel::quota(q, p))
        };
        self.cpus = now.unwrap_or(f64::INFINITY);
    }
}

/// A small file; what can't be read is empty.
fn read(path: &Path) -> Vec<u8> {
    super::files::read_regular(path).unwrap_or_default()
}

/// Cpu time used, by version.
#[derive(Debug)]
pub enum Time {
    /// `cpu.stat`.
    Unified(Counter),
    /// `cpuacct.usage`, nanoseconds.
    First(Counter),
}

impl Time {
    /// Microseconds.
    pub fn read(&self) -> Option<u64> {
        match self {
            Time::Unified(counter) => counter.read(|text| kernel::number(text, "usage_usec")),
            Time::First(counter) => {
                counter.read(kernel::only_number).map(|time| u64::try_from(time).unwrap_or(0) / 1000)
            }
        }
    }
}

/// Time that threads were kept from running by a quota, summed over the cpus.
#[derive(Debug)]
pub struct Throttled {
    counter: Counter,
    is_unified: bool,
}

impl Throttled {
    /// Microseconds.
    pub fn read(&self) -> Option<u64> {
        if self.is_unified {
            self.counter.read(|text| kernel::number(text, "throttled_usec"))
        } else {
            self.counter.read(|text| kernel::number(text, "throttled_time")).map(|time| time / 1000)
        }
    }
}

/// A cgroup that has a memory limit.
#[derive(Debug)]
pub struct MemoryLimit {
    limit: Counter,
    /// Version 2 may slow down what is over this.
    high: Option<Counter>,
    usage: Counter,
    stat: Counter,
    names: Names,
}

/// What the files and lines are called.
#[derive(Clone, Copy, Debug)]
struct Names {
    limit: &'static str,
    high: Option<&'static str>,
    usage: &'static str,
    inactive: &'static str,
    active: &'static str,
}

const UNIFIED_MEMORY: Names = Names {
    limit: "memory.max",
    high: Some("memory.high"),
    usage: "memory.current",
    inactive: "inactive_file",
    active: "active_file",
};

const FIRST_MEMORY: Names = Names {
    limit: "memory.limit_in_bytes",
    high: None,
    usage: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
    active: "total_active_file",
};

impl MemoryLimit {
    fn open(folder: &Path, names: Names) -> Option<MemoryLimit> {
        let open = |name: &str| Counter::open(folder.join(name));
        let opened = MemoryLimit {
            limit: open(names.limit)?,
            high: names.high.and_then(open),
            usage: open(names.usage)?,
            stat: open("memory.stat")?,
            names,
        };
        opened.read().is_some().then_some(opened)
    }

    /// The limit and what is left of it: files' pages count as left, as far as they are used no more, and half of the others,
    /// as in the kernel's own estimate for the whole machine. `None`: there is no limit.
    pub fn read(&self) -> Option<Memory> {
        let bytes = |counter: &Counter| {
            counter.read(kernel::only_number).filter(|bytes| (0..NO_LIMIT).contains(bytes))
        };
        let high = self.high.as_ref().and_then(bytes);
        let limit = [bytes(&self.limit), high].into_iter().flatten().min()? as u64;
        let usage = bytes(&self.usage)? as u64;
        let pages = |name| self.stat.read(|text| kernel::number(text, name)).unwrap_or(0);
        let left = pages(self.names.inactive) + pages(self.names.active) / 2;
        Some(Memory { available: limit.saturating_sub(usage.saturating_sub(left)), total: limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A `/proc/self` and hierarchies below a folder: our cgroup is `/a/b` in each.
    struct Fake(tempfile::TempDir);

    impl Fake {
        fn new(controllers: &[&str]) -> Fake {
            let fake = Fake(tempfile::tempdir().unwrap());
            let (mut cgroup, mut mountinfo) = (String::new(), String::new());
            for (number, &controller) in controllers.iter().enumerate() {
                let point = fake.folder(controller);
                fs::create_dir_all(point.join("a/b")).unwrap();
                let (id, kind) = if controller.is_empty() { (0, "cgroup2") } else { (number + 1, "cgroup") };
                cgroup += &format!("{id}:{controller}:/a/b\n");
                let point = point.display();
                mountinfo += &format!("40 31 0:1 / {point} rw - {kind} cgroup rw,{controller}\n");
            }
            fs::create_dir_all(fake.0.path().join("self")).unwrap();
            fs::write(fake.0.path().join("self/cgroup"), cgroup).unwrap();
            fs::write(fake.0.path().join("self/mountinfo"), mountinfo).unwrap();
            fake
        }

        fn folder(&self, controller: &str) -> PathBuf {
            self.0.path().join(if controller.is_empty() { "unified" } else { controller })
        }

        fn write(&self, controller: &str, file: &str, text: &str) {
            fs::write(self.folder(controller).join(file), text).unwrap();
        }

        fn own(&self) -> Group {
            Group::own(self.0.path())
        }
    }

    #[test]
    fn version_2() {
        let fake = Fake::new(&[""]);
        assert!(fake.own().quota().is_none() && fake.own().memory_limits().is_empty());
        fake.write("", "a/b/cpu.max", "max 100000\n");
        fake.write("", "a/cpu.max", "150000 100000\n");
        fake.write("", "cpu.max", "400000 100000\n");
        fake.write("", "a/cpu.stat", "usage_usec 5000\nthrottled_usec 70\n");
        let pressure = "some avg10=0.00 total=12\nfull avg10=0.00 total=3\n";
        fake.write("", "a/cpu.pressure", pressure);
        let quota = fake.own().quota().unwrap();
        assert_eq!((quota.cpus, quota.throttled().unwrap().read()), (1.5, Some(70)));
        let around = fake.own().at(&quota);
        assert_eq!(around.time().unwrap().read(), Some(5000));
        assert_eq!(around.pressure(Resource::Cpu), Some(fake.folder("").join("a/cpu.pressure")));
        assert_eq!(around.pressure(Resource::Io), None);
        assert!(fake.own().time().is_none(), "a/b tells nothing");
        let mut quota = quota;
        fake.write("", "a/cpu.max", "300000 100000\n");
        quota.renew();
        assert_eq!(quota.cpus, 3.0);
    }

    #[test]
    fn version_1() {
        let fake = Fake::new(&["cpu", "cpuacct", "memory"]);
        fake.write("cpu", "a/b/cpu.cfs_quota_us", "-1\n");
        fake.write("cpu", "a/b/cpu.cfs_period_us", "100000\n");
        assert!(fake.own().quota().is_none());
        fake.write("cpu", "a/b/cpu.cfs_quota_us", "50000\n");
        fake.write("cpu", "a/b/cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 9000\n");
        fake.write("cpuacct", "a/b/cpuacct.usage", "77000\n");
        let quota = fake.own().quota().unwrap();
        assert_eq!((quota.cpus, quota.throttled().unwrap().read()), (0.5, Some(9)));
        assert_eq!(fake.own().at(&quota).time().unwrap().read(), Some(77));
    }

    #[test]
    fn memory_of_both_versions() {
        let rows = [
            ("", UNIFIED_MEMORY, "inactive_file 100\nactive_file 50\n"),
            ("memory", FIRST_MEMORY, "inactive_file 7\ntotal_inactive_file 100\ntotal_active_file 50\n"),
        ];
        for (controller, names, stat) in rows {
            let fake = Fake::new(&[controller]);
            let unlimited = if controller.is_empty() { "max\n" } else { "9223372036854771712\n" };
            for folder in ["a/b", "a"] {
                let limit = if folder == "a" { "1000\n" } else { unlimited };
                fake.write(controller, &format!("{folder}/{}", names.limit), limit);
                fake.write(controller, &format!("{folder}/{}", names.usage), "600\n");
                fake.write(controller, &format!("{folder}/memory.stat"), stat);
            }
            let limits = fake.own().memory_limits();
            let read: Vec<_> = limits.iter().map(MemoryLimit::read).collect();
            assert_eq!(read, [Some(Memory { available: 525, total: 1000 })], "{controller:?}");
            fake.write(controller, &format!("a/{}", names.usage), "1200\n");
            assert_eq!(limits[0].read(), Some(Memory { available: 0, total: 1000 }));
        }
    }

    #[test]
    fn memory_high_is_a_limit_too() {
        let fake = Fake::new(&[""]);
        for (file, text) in
            [("max", "max\n"), ("high", "800\n"), ("current", "600\n"), ("stat", "anon 600\n")]
        {
            fake.write("", &format!("a/b/memory.{file}"), text);
        }
        let limits = fake.own().memory_limits();
        assert_eq!(limits.first().and_then(MemoryLimit::read), Some(Memory { available: 200, total: 800 }));
    }

    #[test]
    fn one_that_is_named() {
        let fake = Fake::new(&["", "memory"]);
        let folder = |group: Result<Group, String>| {
            group.map(|group| group.unified.map(|place| place.folder.display().to_string()))
        };
        let a = Some(fake.folder("").join("a").display().to_string());
        let root = fake.0.path();
        assert_eq!(folder(Group::named(root, Path::new("/a"))), Ok(a.clone()));
        assert_eq!(folder(Group::named(root, Path::new("a"))), Ok(a.clone()));
        assert_eq!(folder(Group::named(root, &fake.folder("").join("a"))), Ok(a));
        let no = folder(Group::named(root, Path::new("/x")));
        assert_eq!(no, Err("there is no cgroup /x".to_owned()));
    }

    #[test]
    fn where_there_are_none_there_is_nothing() {
        let empty = tempfile::tempdir().unwrap();
        let group = Group::own(empty.path());
        assert!(group.quota().is_none() && group.time().is_none() && group.memory_limits().is_empty());
        assert_eq!(group.pressure(Resource::Cpu), None);
    }
}
