//! How the machine stands: one look at all that was asked for, by files that are kept open.
//!
//! Files hang from a root folder, `/proc` by default: a test is a folder. Doesn't know what follows from any figure, nor when to
//! look; not more often than every 20 ms (policy/ticker.rs says why).

use super::cgroup::{Group, MemoryLimit, Quota, Throttled, Time};
use super::counter::Counter;
use super::proc::{affinity, usable_cpus};
use crate::policy::pressure::{PerResource, Resource, Totals};
use crate::policy::reading::{CpuUse, Memory, Reading};
use crate::policy::regulator::Wants;
use crate::proto::kernel;
use crate::proto::values::Scope;
use std::path::Path;
use std::time::{Duration, Instant};

/// Affinity and quotas are looked up so often: it takes some system calls.
const CPUS_LOOK: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Machine {
    wants: Wants,
    /// What has a threshold and could be read.
    watched: PerResource<bool>,
    pressure: [Option<Counter>; 3],
    stat: Option<Counter>,
    loadavg: Option<Counter>,
    meminfo: Option<Counter>,
    limits: Vec<MemoryLimit>,
    /// The cgroup that counts, if it isn't the whole host.
    group: Option<Bound>,
    cpus: Option<(Instant, u32)>,
    /// It was told that pressure can't be believed.
    told: bool,
}

/// What is read of a cgroup in place of the host's figures.
#[derive(Debug)]
struct Bound {
    time: Time,
    quota: Option<Quota>,
    throttled: Option<Throttled>,
}

impl Machine {
    /// Opens what is wanted below `root`, and looks at each pressure file once. What isn't there isn't told of later; but for
    /// pressure that has a threshold: then the error names the file. A kernel may have no PSI (no files) or have it turned off
    /// (EOPNOTSUPP).
    pub fn open(root: &Path, scope: &Scope, wants: Wants) -> Result<Machine, String> {
        let (law, memory) = (wants.law, wants.law || wants.memory);
        let recorded = wants.recorded;
        // It costs some system calls, and who has thresholds alone means the host's pressure.
        let own = if memory { Group::own(root) } else { Group::default() };
        let group = match scope {
            Scope::Host => None,
            Scope::Cgroup(None) => Some(if memory { own.clone() } else { Group::own(root) }),
            Scope::Cgroup(Some(name)) => Some(Group::named(root, name)?),
            // Where a quota is set the host's cpus aren't ours.
            Scope::Auto => {
                let quota = own.quota().filter(|quota| quota.cpus < f64::from(affinity().count()));
                quota.map(|quota| own.at(&quota))
            }
        };
        let open = |wanted: bool, name: &str| if wanted { Counter::open(root.join(name)) } else { None };
        let mut machine = Machine {
            wants,
            watched: PerResource::none(),
            pressure: [None, None, None],
            stat: open(law || wants.load || recorded, "stat"),
            loadavg: open(wants.load || recorded, "loadavg"),
            meminfo: open(memory || recorded, "meminfo"),
            limits: if memory { group.as_ref().unwrap_or(&own).memory_limits() } else { Vec::new() },
            group: group.as_ref().filter(|_| law).and_then(Bound::of),
            cpus: None,
            told: false,
        };
        for resource in Resource::ALL {
            machine.open_pressure(root, group.as_ref(), resource)?;
        }
        Ok(machine)
    }

    /// The cgroup's, or the host's; needed only where it has a threshold.
    fn open_pressure(
        &mut self,
        root: &Path,
        group: Option<&Group>,
        resource: Resource,
    ) -> Result<(), String> {
        let is_watched = self.wants.pressure.get(resource);
        let of_group = group.and_then(|group| group.pressure(resource));
        // A quota of version 1 shows in no pressure of its own: the host's would be everybody's.
        let shows_otherwise = self.group.as_ref().is_some_and(|group| group.throttled.is_some())
            && resource == Resource::Cpu
            && of_group.is_none();
        if !is_watched && (!(self.wants.law || self.wants.recorded) || shows_otherwise) {
            return Ok(());
        }
        match open_pressure(&of_group.unwrap_or_else(|| root.join("pressure").join(resource.name()))) {
            Ok(file) => {
                self.pressure[resource as usize] = Some(file);
                self.watched.set(resource, is_watched);
            }
            Err(why) if is_watched => return Err(why),
            Err(why) => log::info!("the law does without: {why}"),
        }
        Ok(())
    }

    /// The same where something is better than nothing: what can be had of it, and why not all.
    pub fn open_what_there_is(root: &Path, scope: &Scope, wants: Wants) -> (Option<Machine>, Option<String>) {
        if wants.is_nothing() {
            return (None, None);
        }
        match Machine::open(root, scope, wants) {
            Ok(machine) => (Some(machine), None),
            Err(why) => {
                let rest = Wants { pressure: PerResource::none(), ..wants };
                let machine = Machine::open(root, &Scope::Host, rest).ok().filter(|_| !rest.is_nothing());
                (machine, Some(why))
            }
        }
    }

    /// Looks. With it, once, why the pressure that has a threshold can't be read any more.
    pub fn look(&mut self) -> (Reading, Option<String>) {
        let mut why = None;
        let (mut some, mut full) = (Totals::default(), Totals::default());
        for resource in Resource::ALL {
            let Some(file) = &self.pressure[resource as usize] else { continue };
            let read = file.try_read(|text| {
                (kernel::pressure_total(text, "some"), kernel::pressure_total(text, "full"))
            });
            let error = match read {
                Ok((Some(total), of_all)) => {
                    some.set(resource, Some(total));
                    full.set(resource, of_all);
                    continue;
                }
                Ok((None, _)) => NO_TOTAL.to_owned(),
                Err(error) => error.to_string(),
            };
            self.pressure[resource as usize] = None;
            if self.watched.get(resource) {
                why = Some(error);
            }
        }
        if why.is_some() {
            self.watched = PerResource::none();
        }
        let cpus = self.wants.law.then(|| self.cpus());
        let (cpu, throttled) = self.use_of_cpus();
        let running = |text: &[u8]| kernel::number(text, "procs_running")?.try_into().ok();
        let reading = Reading {
            some,
            full,
            cpu,
            throttled,
            running: self.stat.as_ref().filter(|_| self.group.is_none()).and_then(|stat| stat.read(running)),
            memory: self.memory(),
            load: self.load(),
            cpus,
        };
        (reading, why)
    }

    /// What its user should know once, where pressure is found not to be believed.
    pub fn note(&mut self, distrusts_pressure: bool) -> Option<&'static str> {
        (distrusts_pressure && !std::mem::replace(&mut self.told, true)).then_some(
            "somebody reads /proc/pressure so fast that it says nothing: the limit goes by the run queue instead",
        )
    }

    fn cpus(&mut self) -> u32 {
        match self.cpus {
            Some((when, cpus)) if when.elapsed() < CPUS_LOOK => cpus,
            Some(_) | None => {
                let quota = self.group.as_mut().and_then(|group| group.quota.as_mut());
                let quota = quota.map_or(u32::MAX, |quota| {
                    quota.renew();
                    // Part of a cpu is rounded down, as for the usable ones.
                    (quota.cpus.floor().clamp(1.0, f64::from(u32::MAX))) as u32
                });
                let cpus = usable_cpus().min(quota).max(1);
                self.cpus = Some((Instant::now(), cpus));
                cpus
            }
        }
    }

    fn use_of_cpus(&self) -> (Option<CpuUse>, Option<u64>) {
        if !(self.wants.law || self.wants.recorded) {
            return (None, None);
        }
        if let Some(group) = &self.group {
            let throttled = group.throttled.as_ref().and_then(Throttled::read);
            return (group.time.read().map(CpuUse::Time), throttled);
        }
        let ticks = |text: &[u8]| {
            let usable = affinity();
            let is_all = usable.count() >= kernel::cpus_listed(text);
            let counts = |cpu: usize| usable.has(cpu);
            kernel::cpu_ticks(text, if is_all { None } else { Some(&counts) })
        };
        let ticks = self.stat.as_ref().and_then(|stat| stat.read(ticks));
        (ticks.map(|(busy, total)| CpuUse::Share { busy, total }), None)
    }

    /// The machine's, or that of the cgroup in which the least is left.
    fn memory(&self) -> Option<Memory> {
        let host = self.meminfo.as_ref().and_then(|meminfo| meminfo.read(kernel::memory));
        let host = host.map(|(available, total)| Memory { available, total });
        let limits = self.limits.iter().filter_map(MemoryLimit::read);
        host.into_iter().chain(limits).min_by_key(|memory| memory.available)
    }

    fn load(&self) -> Option<f64> {
        let load = self.loadavg.as_ref()?.read(kernel::load)?;
        let cpus = self.stat.as_ref()?.read(|text| Some(kernel::cpus_listed(text)))?;
        Some(load / f64::from(cpus.max(1)))
    }
}

impl Bound {
    fn of(group: &Group) -> Option<Bound> {
        let quota = group.quota();
        let throttled =
            quota.as_ref().and_then(Quota::throttled).filter(|throttled| throttled.read().is_some());
        Some(Bound { time: group.time()?, quota, throttled })
    }
}

const NO_TOTAL: &str = "no line 'some ... total=N' in it";

fn open_pressure(path: &Path) -> Result<Counter, String> {
    let named = |why: String| format!("{}: {why}", path.display());
    let file = Counter::try_open(path).map_err(|error| named(error.to_string()))?;
    match file.try_read(|text| kernel::pressure_total(text, "some")) {
        Ok(Some(_)) => Ok(file),
        Ok(None) => Err(named(NO_TOTAL.to_owned())),
        Err(error) => Err(named(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const PRESSURE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=41\nfull avg10=0.00 total=7\n";

    fn root(pressure: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("pressure")).unwrap();
        for name in pressure {
            fs::write(root.path().join("pressure").join(name), PRESSURE).unwrap();
        }
        root
    }

    fn only(watched: Resource) -> Wants {
        Wants { pressure: PerResource::from_fn(|resource| resource == watched), ..Wants::default() }
    }

    fn open(root: &tempfile::TempDir, wants: Wants) -> Result<Machine, String> {
        Machine::open(root.path(), &Scope::Auto, wants)
    }

    const LAW: Wants =
        Wants { pressure: PerResource::none(), law: true, memory: false, load: false, recorded: false };

    #[test]
    fn reads_only_what_is_wanted_and_anew_each_time() {
        let root = root(&["cpu", "io", "memory"]);
        let mut machine = open(&root, only(Resource::Cpu)).unwrap();
        assert_eq!(machine.look().0.some.get(Resource::Cpu), Some(41));
        fs::write(root.path().join("pressure/cpu"), PRESSURE.replace("41", "42")).unwrap();
        let (reading, why) = machine.look();
        assert_eq!(
            (reading.some.get(Resource::Cpu), reading.some.get(Resource::Io), why),
            (Some(42), None, None)
        );
        assert_eq!(reading, Reading { some: reading.some, full: reading.full, ..Reading::default() });
    }

    #[test]
    fn says_which_file_is_missing_or_odd_where_it_has_a_threshold() {
        let root = root(&["cpu"]);
        fs::write(root.path().join("pressure/cpu"), "garbage").unwrap();
        let why = |wants| open(&root, wants).map(drop).unwrap_err();
        assert!(why(only(Resource::Io)).contains("pressure/io: No such file"));
        assert!(why(only(Resource::Cpu)).contains("pressure/cpu: no line"));
        assert_eq!(open(&root, LAW).unwrap().look().0.some, Totals::default(), "the law does without");
    }

    #[test]
    fn what_cannot_be_read_any_more_is_told_once() {
        let root = root(&["cpu", "io", "memory"]);
        let both = Wants { pressure: only(Resource::Cpu).pressure, ..LAW };
        let mut machine = open(&root, both).unwrap();
        fs::write(root.path().join("pressure/io"), "").unwrap();
        let (reading, why) = machine.look();
        assert_eq!(
            (reading.full.get(Resource::Io), reading.full.get(Resource::Memory), why),
            (None, Some(7), None)
        );
        fs::write(root.path().join("pressure/cpu"), "").unwrap();
        assert_eq!(machine.look().1.as_deref(), Some(NO_TOTAL));
        assert_eq!(machine.look().1, None);
    }

    fn write_host(root: &Path) {
        let stat = "cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 10 0 10 70 10 0 0 0 0 0\nprocs_running 5\n";
        fs::write(root.join("stat"), stat).unwrap();
        fs::write(root.join("loadavg"), "3.00 1.00 1.00 1/2 3\n").unwrap();
        fs::write(root.join("meminfo"), "MemTotal: 1000 kB\nMemAvailable: 600 kB\n").unwrap();
    }

    #[test]
    fn all_that_a_law_goes_by() {
        let root = root(&["cpu", "io", "memory"]);
        write_host(root.path());
        let (reading, why) = open(&root, Wants { load: true, ..LAW }).unwrap().look();
        assert_eq!(reading.cpu, Some(CpuUse::Share { busy: 20, total: 100 }));
        assert_eq!((reading.running, reading.load, why), (Some(5), Some(3.0), None));
        assert_eq!(reading.memory, Some(Memory { available: 614_400, total: 1_024_000 }));
        assert_eq!(reading.cpus, Some(usable_cpus()));
        let (reading, _) = open(&root, Wants { memory: true, ..Wants::default() }).unwrap().look();
        assert_eq!(reading.memory, Some(Memory { available: 614_400, total: 1_024_000 }));
        assert_eq!(reading, Reading { memory: reading.memory, ..Reading::default() });
    }

    /// Our cgroup, of version 2, is `/a` below a folder.
    fn write_group(root: &Path, cpu_max: &str) -> std::path::PathBuf {
        let point = root.join("cgroup");
        let folder = point.join("a");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(root.join("self")).unwrap();
        fs::write(root.join("self/cgroup"), "0::/a\n").unwrap();
        let mount = format!("40 31 0:1 / {} rw - cgroup2 cgroup rw\n", point.display());
        fs::write(root.join("self/mountinfo"), mount).unwrap();
        fs::write(folder.join("cpu.max"), cpu_max).unwrap();
        fs::write(folder.join("cpu.stat"), "usage_usec 900\nthrottled_usec 30\n").unwrap();
        fs::write(folder.join("memory.max"), "500000\n").unwrap();
        fs::write(folder.join("memory.current"), "400000\n").unwrap();
        fs::write(folder.join("memory.stat"), "inactive_file 0\nactive_file 0\n").unwrap();
        for name in ["cpu", "io", "memory"] {
            fs::write(folder.join(format!("{name}.pressure")), PRESSURE.replace("41", "5")).unwrap();
        }
        folder
    }

    #[test]
    fn where_a_quota_is_set_the_cgroup_counts() {
        let root = root(&["cpu", "io", "memory"]);
        write_host(root.path());
        let folder = write_group(root.path(), "max 100000\n");
        let look = |scope: &Scope| Machine::open(root.path(), scope, LAW).unwrap().look().0;
        let some = |reading: &Reading| reading.some.get(Resource::Cpu);
        let host = look(&Scope::Auto);
        assert_eq!((some(&host), host.throttled), (Some(41), None));
        assert_eq!(host.memory, Some(Memory { available: 100_000, total: 500_000 }), "a limit always counts");
        let own = look(&Scope::Cgroup(None));
        assert_eq!((some(&own), own.cpu, own.throttled), (Some(5), Some(CpuUse::Time(900)), None));
        fs::write(folder.join("cpu.max"), "50000 100000\n").unwrap();
        let quota = look(&Scope::Auto);
        assert_eq!((some(&quota), quota.cpu, quota.throttled), (Some(5), Some(CpuUse::Time(900)), Some(30)));
        assert_eq!((quota.cpus, quota.running), (Some(1), None));
        assert_eq!(some(&look(&Scope::Host)), Some(41));
        assert_eq!(some(&look(&Scope::Cgroup(Some("/a".into())))), Some(5));
        let missing = Machine::open(root.path(), &Scope::Cgroup(Some("/x".into())), LAW).map(drop);
        assert_eq!(missing, Err("there is no cgroup /x".to_owned()));
    }

    #[test]
    fn a_note_is_told_once() {
        let mut machine = open(&root(&[]), LAW).unwrap();
        let told = [false, true, true, false, true].map(|distrusts| machine.note(distrusts).is_some());
        assert_eq!(told, [false, true, false, false, false]);
    }

    #[test]
    fn this_machine() {
        let mut machine =
            Machine::open(Path::new("/proc"), &Scope::Host, Wants { load: true, ..LAW }).unwrap();
        let (reading, _) = machine.look();
        assert!(matches!(reading.cpu, Some(CpuUse::Share { busy, total }) if busy > 0 && busy < total));
        assert!(reading.running.is_some_and(|running| running >= 1) && reading.load.is_some());
        assert!(reading.memory.is_some_and(|memory| memory.available <= memory.total));
    }
}
