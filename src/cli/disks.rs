//! What the disk space monitor is to watch: `--diskmon`, or bitbake's variables.
//!
//! Doesn't know what is free, nor what is done then.

use super::Failure;
use crate::policy::diskmon::Intervals;
use crate::proto::diskmon::{Monitor, entries, intervals};
use std::ffi::OsString;

const DIRS: &str = "BB_DISKMON_DIRS";
const INTERVAL: &str = "BB_DISKMON_WARNINTERVAL";

/// Reads it; options come before the variable. A bad variable leaves the build without a monitor, as bitbake does; what was asked
/// for by option isn't dropped for a bad interval.
pub fn read(
    options: &[String],
    variable: impl Fn(&str) -> Option<OsString>,
    warnings: &mut Vec<String>,
) -> Result<Option<Monitor>, Failure> {
    let interval = || text(&variable, INTERVAL).and_then(|text| intervals(INTERVAL, &text));
    if !options.is_empty() {
        let mut all = Vec::new();
        for option in options {
            let (found, renamed) = entries("--diskmon", option)?;
            if found.is_empty() {
                return Err(Failure(format!("--diskmon '{option}': give ACTION,DIR,MINSPACE[,MININODES]")));
            }
            all.extend(found);
            warnings.extend(renamed.filter(|renamed| !warnings.contains(renamed)));
        }
        let intervals = interval().unwrap_or_else(|why| {
            warnings.push(format!("ignoring {why}"));
            Intervals::default()
        });
        return Ok(Some(Monitor { entries: all, intervals }));
    }
    let read = || {
        let (entries, renamed) = entries(DIRS, &text(&variable, DIRS)?)?;
        let intervals = if entries.is_empty() { Intervals::default() } else { interval()? };
        Ok((Monitor { entries, intervals }, renamed))
    };
    match read() {
        Ok((monitor, renamed)) => {
            warnings.extend(renamed);
            Ok(Some(monitor).filter(|monitor| !monitor.entries.is_empty()))
        }
        Err(why) => {
            let why: String = why;
            warnings.push(format!("{why}; the disk space monitor will NOT be enabled"));
            Ok(None)
        }
    }
}

/// A variable's text; one that isn't set is empty.
fn text(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Result<String, String> {
    let value = variable(name).unwrap_or_default();
    value.into_string().map_err(|value| format!("{name} '{}': it isn't text", value.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given = (Option<usize>, Option<u64>, Vec<String>);

    /// How many entries, the interval for space, and what is said.
    fn given(options: &[&str], dirs: &str, interval: &str) -> Result<Given, String> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let variable = |name: &str| match name {
            DIRS => Some(dirs.into()),
            INTERVAL => Some(interval.into()),
            other => panic!("{other}"),
        };
        let mut warnings = Vec::new();
        let monitor = read(&options, variable, &mut warnings).map_err(|Failure(sentence)| sentence)?;
        let (entries, interval) =
            monitor.map(|monitor| (monitor.entries.len(), monitor.intervals.space)).unzip();
        Ok((entries, interval, warnings))
    }

    #[test]
    fn options_come_before_the_variable_and_none_is_dropped() {
        let said = |entries, interval| Ok((Some(entries), Some(interval), vec![]));
        assert_eq!(given(&["WARN,/,1", "HALT,/,1 WARN,/x,2"], "WARN,/,9", "7"), said(3, 7));
        assert_eq!(given(&[], "WARN,/,9 WARN,/a,9", "7"), said(2, 7));
        assert_eq!(given(&["WARN,/,1"], "nonsense", ""), said(1, 50 << 20));
        for nothing in ["", "  "] {
            assert_eq!(given(&[], nothing, "nonsense"), Ok((None, None, vec![])));
        }
    }

    #[test]
    fn what_is_bad_is_refused_or_leaves_no_monitor() {
        let refused = given(&["WARN,/,1", "WARN,/,x"], "", "").unwrap_err();
        assert!(refused.starts_with("--diskmon 'WARN,/,x': 'x' is no space"), "{refused}");
        assert_eq!(given(&[" "], "", "").unwrap_err(), "--diskmon ' ': give ACTION,DIR,MINSPACE[,MININODES]");
        let disabled =
            |why: &str| Ok((None, None, vec![format!("{why}; the disk space monitor will NOT be enabled")]));
        let bad = "BB_DISKMON_DIRS 'FOO,/,1': the action is WARN, STOPTASKS or HALT";
        assert_eq!(given(&[], "WARN,/,1 FOO,/,1", ""), disabled(bad));
        let bad = "BB_DISKMON_WARNINTERVAL 'x': give sizes as in 50M,5K";
        assert_eq!(given(&[], "WARN,/,1", "x"), disabled(bad));
        let ignored = vec![format!("ignoring {bad}")];
        assert_eq!(given(&["WARN,/,1"], "", "x"), Ok((Some(1), Some(50 << 20), ignored)));
    }

    #[test]
    fn the_old_name_is_told_once() {
        let told = |name| {
            vec![format!("The {name} \"ABORT\" action has been renamed to \"HALT\", update configuration")]
        };
        assert_eq!(given(&["ABORT,/,1", "ABORT,/a,1"], "", "").unwrap().2, told("--diskmon"));
        assert_eq!(given(&[], "ABORT,/,1 ABORT,/a,1", "").unwrap().2, told("BB_DISKMON_DIRS"));
    }
}
