//! From what was typed and bitbake's variables to settings, or to the sentence that says what is wrong.
//!
//! Doesn't read the environment itself: it is given a function that does.

use super::args::{GateArgs, RunArgs};
use super::summary::{self, When};
use super::{Failure, disks};
use crate::policy::gate::{Hold, Threshold, Thresholds};
use crate::policy::law::Kind;
use crate::policy::law::memory::Reserve;
use crate::policy::pressure::{PerResource, Resource};
use crate::proto::diskmon::Monitor;
use crate::proto::status::hold_name;
use crate::proto::values::{self, Scope};
use crate::proto::wire::WishesSaid;
use crate::server::settings::{Layer, entry};
use std::ffi::OsString;
use std::time::Duration;

/// The variable that says the law.
pub const LAW: &str = "JOBGATE_LAW";

/// By what the user wants tokens handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StyleWish {
    #[default]
    Auto,
    Pipe,
    Fifo,
}

/// What was asked of the gate; `None`: nothing was said.
#[derive(Clone, Debug, Default)]
pub struct GateWishes {
    /// `-j`; `None`: auto, too.
    pub jobs: Option<u32>,
    pub thresholds: Thresholds,
    pub hold: Option<Hold>,
    pub heartbeat: Option<Duration>,
    pub law: Option<Kind>,
    pub min_available: Option<Reserve>,
    pub max_load: Option<f64>,
    pub freeze_on_thrash: bool,
    pub scope: Option<Scope>,
    /// Zero: without end.
    pub max_wait: Option<Duration>,
    /// What the user should know although it stops nothing.
    pub warnings: Vec<String>,
}

/// All that was asked of a run.
#[derive(Debug, Default)]
pub struct Wishes {
    pub gate: GateWishes,
    pub cap: Option<u32>,
    pub weight: Option<u32>,
    pub style: StyleWish,
    /// When a summary is given.
    pub summary: When,
    /// What the disk space monitor is to watch.
    pub diskmon: Option<Monitor>,
}

impl GateWishes {
    /// Reads them; options come before variables.
    pub fn read(args: &GateArgs, variable: impl Fn(&str) -> Option<OsString>) -> Result<GateWishes, Failure> {
        let mut warnings = Vec::new();
        let mut thresholds = Thresholds::default();
        for resource in Resource::ALL {
            let Some(Source { name, value }) = threshold_source(args, &variable, resource) else { continue };
            let (threshold, warning) = values::threshold(&name, &value)?;
            thresholds.set(resource, Some(threshold));
            warnings.extend(warning);
        }
        let load = args.max_load.clone().map(|value| Source { name: "--max-load".to_owned(), value });
        let load = load.or_else(|| from_variable("BB_LOADFACTOR_MAX", &variable));
        let law = args.law.clone().map(|value| Source { name: "--law".to_owned(), value });
        let law = law.or_else(|| from_variable(LAW, &variable));
        let reserve = |value: &str| values::reserve("--min-available", value);
        Ok(GateWishes {
            jobs: args.jobs.as_deref().map_or(Ok(None), |jobs| values::jobs("-j", jobs))?,
            thresholds,
            hold: args.hold.as_deref().map(|hold| values::hold("--hold", hold)).transpose()?,
            heartbeat: read_heartbeat(args, &variable, &mut warnings),
            law: law.map(|law| values::law(&law.name, &law.value)).transpose()?,
            min_available: args.min_available.as_deref().map(reserve).transpose()?,
            freeze_on_thrash: args.freeze_on_thrash,
            max_load: load.map(|load| values::max_load(&load.name, &load.value)).transpose()?,
            scope: args.scope.as_deref().map(|scope| values::scope("--scope", scope)).transpose()?,
            max_wait: args.max_wait.as_deref().map(|wait| values::wait("--max-wait", wait)).transpose()?,
            warnings,
        })
    }

    /// Which resources are watched.
    pub fn watched(&self) -> PerResource<bool> {
        PerResource::from_fn(|resource| self.thresholds.get(resource).is_some())
    }

    /// As a shared gate is told.
    pub fn said(&self) -> WishesSaid {
        let max = Resource::ALL.into_iter().filter_map(|resource| {
            let max = self.thresholds.get(resource).map(Threshold::us_per_second)?;
            // JSON has no infinity, and no pressure comes near this.
            Some((resource.name().to_owned(), max.min(1e12)))
        });
        WishesSaid {
            jobs: self.jobs,
            max: max.collect(),
            hold: self.hold.map(|hold| hold_name(hold).to_owned()),
            heartbeat_s: self.heartbeat.map(|beat| beat.as_secs_f64()),
            law: self.law.map(|law| values::law_name(law).to_owned()),
            min_available: self.min_available.map(values::reserve_text),
            max_load: self.max_load,
            freeze_on_thrash: self.freeze_on_thrash,
            scope: self.scope.as_ref().map(values::scope_text),
        }
    }
}

impl Wishes {
    /// Reads them; options come before variables.
    pub fn read(args: &RunArgs, variable: impl Fn(&str) -> Option<OsString>) -> Result<Wishes, Failure> {
        let mut gate = GateWishes::read(&args.gate, &variable)?;
        let diskmon = disks::read(&args.diskmon, &variable, &mut gate.warnings)?;
        Ok(Wishes {
            gate,
            diskmon,
            cap: args.cap.as_deref().map(|cap| values::count("--cap", cap)).transpose()?,
            weight: args.weight.as_deref().map(|weight| values::count("--weight", weight)).transpose()?,
            style: read_style(args.style.as_deref())?,
            summary: match (args.summary, from_variable(summary::WHEN, &variable)) {
                (Some(when), _) => when,
                (None, Some(said)) => summary::when(&said.name, &said.value)?,
                (None, None) => When::default(),
            },
        })
    }
}

/// A value and where it came from, as the user would call it.
struct Source {
    name: String,
    value: String,
}

fn threshold_source(
    args: &GateArgs,
    variable: impl Fn(&str) -> Option<OsString>,
    resource: Resource,
) -> Option<Source> {
    let option = match resource {
        Resource::Cpu => &args.max_cpu,
        Resource::Io => &args.max_io,
        Resource::Memory => &args.max_memory,
    };
    let word = resource.name();
    if let Some(value) = option {
        return Some(Source { name: format!("--max-{word}"), value: value.clone() });
    }
    from_variable(&format!("BB_PRESSURE_MAX_{}", word.to_uppercase()), variable)
}

/// An empty variable counts as unset, as in bitbake.
fn from_variable(name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<Source> {
    let value = variable(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then(|| Source { name: name.to_owned(), value })
}

fn read_style(style: Option<&str>) -> Result<StyleWish, Failure> {
    match style {
        None | Some("auto") => Ok(StyleWish::Auto),
        Some("pipe") => Ok(StyleWish::Pipe),
        Some("fifo") => Ok(StyleWish::Fifo),
        Some(other) => Err(Failure(format!("--style '{other}': give 'auto', 'pipe' or 'fifo'"))),
    }
}

/// A bad heartbeat is warned about and ignored, as bitbake does with what isn't a float.
fn read_heartbeat(
    args: &GateArgs,
    variable: impl Fn(&str) -> Option<OsString>,
    warnings: &mut Vec<String>,
) -> Option<Duration> {
    let option = args.heartbeat.clone().map(|value| Source { name: "--heartbeat".to_owned(), value });
    let Source { name, value } = option.or_else(|| from_variable("BB_HEARTBEAT_EVENT", variable))?;
    match values::heartbeat(&name, &value) {
        Ok(heartbeat) => Some(heartbeat),
        Err(why) => {
            warnings.push(format!("ignoring {why}"));
            None
        }
    }
}

/// What was typed, by name.
pub fn typed(args: &GateArgs, wishes: &GateWishes) -> Layer {
    let mut layer = Layer::new();
    let mut note = |key: &str, value: Option<String>, option: &str| {
        if let Some(value) = value {
            layer.insert(key.to_owned(), entry(value, option));
        }
    };
    note("jobs", args.jobs.clone(), "-j");
    for resource in Resource::ALL {
        let max = wishes.thresholds.get(resource).map(|max| max.us_per_second().to_string());
        let word = resource.name();
        let name = format!("--max-{word} or BB_PRESSURE_MAX_{}", word.to_uppercase());
        note(&format!("max-{word}"), max, &name);
    }
    note("law", wishes.law.map(|law| values::law_name(law).to_owned()), "--law or JOBGATE_LAW");
    note("min-available", args.min_available.clone(), "--min-available");
    note("freeze-on-thrash", args.freeze_on_thrash.then(|| "on".to_owned()), "--freeze-on-thrash");
    note("scope", args.scope.clone(), "--scope");
    note("max-load", wishes.max_load.map(|load| load.to_string()), "--max-load or BB_LOADFACTOR_MAX");
    note("hold", args.hold.clone(), "--hold");
    let beat = wishes.heartbeat.map(|beat| beat.as_secs_f64().to_string());
    note("heartbeat", beat, "--heartbeat or BB_HEARTBEAT_EVENT");
    note("max-wait", wishes.max_wait.map(|wait| wait.as_secs_f64().to_string()), "--max-wait");
    layer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Command};
    use clap::Parser;

    fn read(options: &[&str], variables: &[(&str, &str)]) -> Result<Wishes, String> {
        let line = ["jobgate", "run"].iter().chain(options).chain(&["--", "true"]);
        let Command::Run(args) = Args::try_parse_from(line).unwrap().command else { panic!("run") };
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        Wishes::read(&args, variable).map_err(|Failure(sentence)| sentence)
    }

    fn max_cpu(wishes: &Wishes) -> Option<f64> {
        wishes.gate.thresholds.get(Resource::Cpu).map(Threshold::us_per_second)
    }

    #[test]
    fn bad_input_says_which_and_what_to_give() {
        let rows: [(&[&str], &str); 16] = [
            (&["-j0"], "-j '0': give a number from 1 to 4096, or 'auto'"),
            (&["-jx"], "-j 'x': give a number from 1 to 4096, or 'auto'"),
            (&["-j", "-1"], "-j '-1': give a number from 1 to 4096, or 'auto'"),
            (&["-j4097"], "-j '4097': give a number from 1 to 4096, or 'auto'"),
            (&["--cap", "0"], "--cap '0': give a number from 1 to 4096"),
            (&["--max-cpu", "0.5"], "--max-cpu 0.5 is too low: the minimum is 1.0 microsecond per second"),
            (&["--max-io", "-5"], "--max-io -5 is too low: the minimum is 1.0 microsecond per second"),
            (&["--max-memory", "x"], "--max-memory 'x' is not a number of microseconds per second"),
            (&["--max-memory", "nan"], "--max-memory 'nan' is not a number of microseconds per second"),
            (&["--hold", "none"], "--hold 'none': give 'all' or 'starts'"),
            (&["--style", "sem"], "--style 'sem': give 'auto', 'pipe' or 'fifo'"),
            (&["--law", "pid"], "--law 'pid': give 'adaptive' or 'fixed'"),
            (
                &["--min-available", "lots"],
                "--min-available 'lots': give a size as in 2G or 500M, or a part as in 10%",
            ),
            (&["--max-load", "0"], "--max-load '0': give a number above 0"),
            (&["--max-load", "-1"], "--max-load '-1': give a number above 0"),
            (&["--scope", "all"], "--scope 'all': give 'auto', 'host', 'cgroup' or 'cgroup:PATH'"),
        ];
        for (options, sentence) in rows {
            assert_eq!(read(options, &[]).unwrap_err(), sentence, "{options:?}");
        }
    }

    #[test]
    fn bitbakes_variables_stand_in_for_options() {
        let variables =
            [("BB_PRESSURE_MAX_CPU", "15000"), ("BB_PRESSURE_MAX_IO", ""), ("BB_HEARTBEAT_EVENT", "0.5")];
        let wishes = read(&[], &variables).unwrap();
        assert_eq!(max_cpu(&wishes), Some(15000.0));
        assert_eq!(wishes.gate.watched(), PerResource::from_fn(|resource| resource == Resource::Cpu));
        assert_eq!(wishes.gate.heartbeat, Some(Duration::from_millis(500)));
        let wishes = read(&["--max-cpu", "20000", "--heartbeat", "2"], &variables).unwrap();
        assert_eq!((max_cpu(&wishes), wishes.gate.heartbeat), (Some(20000.0), Some(Duration::from_secs(2))));
        let load = |options: &[&str], variable| read(options, &[("BB_LOADFACTOR_MAX", variable)]);
        assert_eq!(load(&[], "1.5").unwrap().gate.max_load, Some(1.5));
        assert_eq!(load(&[], "").unwrap().gate.max_load, None);
        assert_eq!(load(&["--max-load", "2"], "0").unwrap().gate.max_load, Some(2.0));
        let law = |options: &[&str], variable| {
            read(options, &[("JOBGATE_LAW", variable)]).map(|wishes| wishes.gate.law)
        };
        assert_eq!(law(&["--law", "adaptive"], "fixed"), Ok(Some(Kind::Adaptive)));
        assert_eq!((law(&[], "fixed"), law(&[], "")), (Ok(Some(Kind::Fixed)), Ok(None)));
        assert_eq!(law(&[], "fast").unwrap_err(), "JOBGATE_LAW 'fast': give 'adaptive' or 'fixed'");
        assert_eq!(load(&[], "0").unwrap_err(), "BB_LOADFACTOR_MAX '0': give a number above 0");
        let refused = read(&[], &[("BB_PRESSURE_MAX_MEMORY", "0")]).unwrap_err();
        assert_eq!(refused, "BB_PRESSURE_MAX_MEMORY 0 is too low: the minimum is 1.0 microsecond per second");
    }

    #[test]
    fn odd_values_are_warned_about_and_the_build_goes_on() {
        for bad in ["0", "-1", "nan", "inf", "abc"] {
            let wishes = read(&["--heartbeat", bad], &[]).unwrap();
            assert_eq!(wishes.gate.heartbeat, None);
            assert_eq!(
                wishes.gate.warnings,
                [format!("ignoring --heartbeat '{bad}': it must be a number of seconds above 0")]
            );
        }
        let lax = read(&["--max-cpu", "2e6"], &[]).unwrap();
        assert_eq!(lax.gate.warnings.len(), 1);
        assert!(read(&["--max-cpu", "1e6"], &[]).unwrap().gate.warnings.is_empty());
    }
}
