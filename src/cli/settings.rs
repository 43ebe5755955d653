//! From what was typed and bitbake's variables to settings, or to the sentence that says what is wrong.
//!
//! Doesn't read the environment itself: it is given a function that does.

use super::Failure;
use super::args::RunArgs;
use crate::policy::gate::{BadThreshold, Hold, Threshold, Thresholds};
use crate::policy::pressure::{PerResource, Resource};
use crate::policy::ticker::{self, DEFAULT_HEARTBEAT};
use crate::proto::text::python_float;
use std::ffi::OsString;
use std::time::Duration;

/// The most jobs: a fifo's tokens must fit into two pages of its buffer.
const MOST_JOBS: u32 = 4096;

/// By what the user wants tokens handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StyleWish {
    Auto,
    Pipe,
    Fifo,
}

/// All that was asked for.
#[derive(Debug)]
pub struct Wishes {
    /// `-j`; `None`: auto.
    pub jobs: Option<u32>,
    pub cap: Option<u32>,
    pub thresholds: Thresholds,
    pub hold: Hold,
    pub heartbeat: Duration,
    pub style: StyleWish,
    /// What the user should know although it stops nothing.
    pub warnings: Vec<String>,
}

impl Wishes {
    /// Reads them; options come before variables.
    pub fn read(args: &RunArgs, variable: impl Fn(&str) -> Option<OsString>) -> Result<Wishes, Failure> {
        let mut warnings = Vec::new();
        let mut thresholds = Thresholds::default();
        for resource in Resource::ALL {
            let source = threshold_source(args, &variable, resource);
            thresholds.set(resource, read_threshold(source, &mut warnings)?);
        }
        if let Some(law) = args.law.as_deref().filter(|&law| law != "fixed") {
            return Err(Failure(format!("--law {law}: there is only 'fixed'")));
        }
        Ok(Wishes {
            jobs: read_jobs(args.jobs.as_deref())?,
            cap: args.cap.as_deref().map(|cap| read_count("--cap", cap)).transpose()?,
            thresholds,
            hold: read_hold(args.hold.as_deref())?,
            heartbeat: read_heartbeat(args, &variable, &mut warnings),
            style: read_style(args.style.as_deref())?,
            warnings,
        })
    }

    /// Which resources are watched.
    pub fn watched(&self) -> PerResource<bool> {
        PerResource::from_fn(|resource| self.thresholds.get(resource).is_some())
    }
}

/// A value and where it came from, as the user would call it.
struct Source {
    name: String,
    value: String,
}

fn threshold_source(
    args: &RunArgs,
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

fn read_threshold(source: Option<Source>, warnings: &mut Vec<String>) -> Result<Option<Threshold>, Failure> {
    let Some(Source { name, value }) = source else { return Ok(None) };
    let number = python_float(&value).unwrap_or(f64::NAN);
    match Threshold::new(number) {
        Ok(threshold) => {
            if threshold.is_lax() {
                warnings.push(format!(
                    "{name} {value} will hardly ever hold: pressure can't exceed 1000000 us per second"
                ));
            }
            Ok(Some(threshold))
        }
        Err(BadThreshold::NotANumber) => {
            Err(Failure(format!("{name} '{value}' is not a number of microseconds per second")))
        }
        Err(BadThreshold::BelowOne) => {
            Err(Failure(format!("{name} {value} is too low: the minimum is 1.0 microsecond per second")))
        }
    }
}

fn read_jobs(jobs: Option<&str>) -> Result<Option<u32>, Failure> {
    match jobs {
        None | Some("auto") => Ok(None),
        Some(number) => read_count("-j", number)
            .map(Some)
            .map_err(|Failure(sentence)| Failure(format!("{sentence}, or 'auto'"))),
    }
}

fn read_count(name: &str, value: &str) -> Result<u32, Failure> {
    match value.parse() {
        Ok(count @ 1..=MOST_JOBS) => Ok(count),
        Ok(_) | Err(_) => Err(Failure(format!("{name} '{value}': give a number from 1 to {MOST_JOBS}"))),
    }
}

fn read_hold(hold: Option<&str>) -> Result<Hold, Failure> {
    match hold {
        None | Some("all") => Ok(Hold::All),
        Some("starts") => Ok(Hold::Starts),
        Some(other) => Err(Failure(format!("--hold '{other}': give 'all' or 'starts'"))),
    }
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
    args: &RunArgs,
    variable: impl Fn(&str) -> Option<OsString>,
    warnings: &mut Vec<String>,
) -> Duration {
    let option = args.heartbeat.clone().map(|value| Source { name: "--heartbeat".to_owned(), value });
    let Some(Source { name, value }) = option.or_else(|| from_variable("BB_HEARTBEAT_EVENT", variable))
    else {
        return DEFAULT_HEARTBEAT;
    };
    python_float(&value).and_then(ticker::heartbeat).unwrap_or_else(|| {
        warnings.push(format!("ignoring {name} '{value}': it must be a number of seconds above 0"));
        DEFAULT_HEARTBEAT
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Command};
    use clap::Parser;

    fn read(options: &[&str], variables: &[(&str, &str)]) -> Result<Wishes, String> {
        let line = ["jobgate", "run"].iter().chain(options).chain(&["--", "true"]);
        let Command::Run(args) = Args::try_parse_from(line).unwrap().command;
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        Wishes::read(&args, variable).map_err(|Failure(sentence)| sentence)
    }

    fn max_cpu(wishes: &Wishes) -> Option<f64> {
        wishes.thresholds.get(Resource::Cpu).map(Threshold::us_per_second)
    }

    #[test]
    fn bad_input_says_which_and_what_to_give() {
        let rows: [(&[&str], &str); 12] = [
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
            (&["--law", "adaptive"], "--law adaptive: there is only 'fixed'"),
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
        assert_eq!(wishes.watched(), PerResource::from_fn(|resource| resource == Resource::Cpu));
        assert_eq!(wishes.heartbeat, Duration::from_millis(500));
        let wishes = read(&["--max-cpu", "20000", "--heartbeat", "2"], &variables).unwrap();
        assert_eq!((max_cpu(&wishes), wishes.heartbeat), (Some(20000.0), Duration::from_secs(2)));
        let refused = read(&[], &[("BB_PRESSURE_MAX_MEMORY", "0")]).unwrap_err();
        assert_eq!(refused, "BB_PRESSURE_MAX_MEMORY 0 is too low: the minimum is 1.0 microsecond per second");
    }

    #[test]
    fn odd_values_are_warned_about_and_the_build_goes_on() {
        for bad in ["0", "-1", "nan", "inf", "abc"] {
            let wishes = read(&["--heartbeat", bad], &[]).unwrap();
            assert_eq!(wishes.heartbeat, DEFAULT_HEARTBEAT);
            assert_eq!(
                wishes.warnings,
                [format!("ignoring --heartbeat '{bad}': it must be a number of seconds above 0")]
            );
        }
        let lax = read(&["--max-cpu", "2e6"], &[]).unwrap();
        assert_eq!(lax.warnings.len(), 1);
        assert!(read(&["--max-cpu", "1e6"], &[]).unwrap().warnings.is_empty());
    }
}
