//! Settings as users write them: numbers of jobs, thresholds, seconds. Each has one reader, whoever asks: the command line,
//! bitbake's variables, `set`.
//!
//! Doesn't know where a value was written; it is told the name to complain about.

use super::diskmon;
use super::text::python_float;
use crate::policy::gate::{BadThreshold, Hold, Threshold};
use crate::policy::law::Kind;
use crate::policy::law::memory::Reserve;
use crate::policy::ticker;
use std::path::PathBuf;
use std::time::Duration;

/// The most jobs: a fifo's tokens must fit into two pages of its buffer.
pub const MOST_JOBS: u32 = 4096;

/// A number of jobs, or `None` for `auto`.
pub fn jobs(name: &str, value: &str) -> Result<Option<u32>, String> {
    match value {
        "auto" => Ok(None),
        number => count(name, number).map(Some).map_err(|sentence| format!("{sentence}, or 'auto'")),
    }
}

/// A number from 1 to the most jobs.
pub fn count(name: &str, value: &str) -> Result<u32, String> {
    match value.parse() {
        Ok(count @ 1..=MOST_JOBS) => Ok(count),
        Ok(_) | Err(_) => Err(format!("{name} '{value}': give a number from 1 to {MOST_JOBS}")),
    }
}

/// How many tokens at least and at most: `3`, `2-8`.
pub fn range(name: &str, value: &str) -> Result<(u32, u32), String> {
    let bad = || format!("{name} '{value}': give a number, or two as in 2-8, from 1 to {MOST_JOBS}");
    let number = |text: &str| count("", text).map_err(|_| bad());
    match value.split_once('-') {
        None => number(value).map(|both| (both, both)),
        Some((least, most)) => {
            let (least, most) = (number(least)?, number(most)?);
            if least <= most { Ok((least, most)) } else { Err(bad()) }
        }
    }
}

/// A threshold, and what its user should know of it although it stops nothing.
pub fn threshold(name: &str, value: &str) -> Result<(Threshold, Option<String>), String> {
    let number = python_float(value).unwrap_or(f64::NAN);
    match Threshold::new(number) {
        Ok(threshold) => {
            let lax = threshold.is_lax().then(|| {
                format!("{name} {value} will hardly ever hold: pressure can't exceed 1000000 us per second")
            });
            Ok((threshold, lax))
        }
        Err(BadThreshold::NotANumber) => {
            Err(format!("{name} '{value}' is not a number of microseconds per second"))
        }
        Err(BadThreshold::BelowOne) => {
            Err(format!("{name} {value} is too low: the minimum is 1.0 microsecond per second"))
        }
    }
}

/// What a held gate holds back.
pub fn hold(name: &str, value: &str) -> Result<Hold, String> {
    match value {
        "all" => Ok(Hold::All),
        "starts" => Ok(Hold::Starts),
        other => Err(format!("{name} '{other}': give 'all' or 'starts'")),
    }
}

/// The time between two beats.
pub fn heartbeat(name: &str, value: &str) -> Result<Duration, String> {
    python_float(value)
        .and_then(ticker::heartbeat)
        .ok_or_else(|| format!("{name} '{value}': it must be a number of seconds above 0"))
}

/// A wait in seconds; zero: without end.
pub fn wait(name: &str, value: &str) -> Result<Duration, String> {
    let seconds = value.parse::<f64>().ok().filter(|seconds| (0.0..1e9).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("{name} '{value}': give a number of seconds, 0 to wait without end"))
}

/// By what the limit is found.
pub fn law(name: &str, value: &str) -> Result<Kind, String> {
    match value {
        "adaptive" => Ok(Kind::Adaptive),
        "fixed" => Ok(Kind::Fixed),
        other => Err(format!("{name} '{other}': give 'adaptive' or 'fixed'")),
    }
}

/// The word for it.
pub fn law_name(law: Kind) -> &'static str {
    match law {
        Kind::Adaptive => "adaptive",
        Kind::Fixed => "fixed",
    }
}

/// `on` or `off`.
pub fn switch(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("{name} '{other}': give 'on' or 'off'")),
    }
}

/// What must stay available of memory: `2G`, `500M`, `10%`, or both as in `2G,10%`, where the larger counts.
pub fn reserve(name: &str, value: &str) -> Result<Reserve, String> {
    let bad = || format!("{name} '{value}': give a size as in 2G or 500M, or a part as in 10%");
    let mut reserve = Reserve { bytes: 0, share: 0.0 };
    for part in value.split(',') {
        match part.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent));
                reserve.share = reserve.share.max(percent.ok_or_else(bad)? / 100.0);
            }
            None => reserve.bytes = reserve.bytes.max(diskmon::size(part).ok_or_else(bad)?),
        }
    }
    Ok(reserve)
}

/// The same as it would be typed.
pub fn reserve_text(reserve: Reserve) -> String {
    let Reserve { bytes, share } = reserve;
    let percent = format!("{}%", (share * 1e6).round() / 1e4);
    match (bytes, share > 0.0) {
        (0, _) => percent,
        (bytes, false) => bytes.to_string(),
        (bytes, true) => format!("{bytes},{percent}"),
    }
}

/// The highest load average of the last minute per cpu, as bitbake checks `BB_LOADFACTOR_MAX`: above 0.
pub fn max_load(name: &str, value: &str) -> Result<f64, String> {
    let load = python_float(value).filter(|load| *load > 0.0);
    // JSON has no infinity, and no load comes near this.
    load.map(|load| load.min(1e12)).ok_or_else(|| format!("{name} '{value}': give a number above 0"))
}

/// Whose pressure and whose cpus count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those of the cgroup that has a cpu quota, where there is one; else the host's.
    #[default]
    Auto,
    /// The host's.
    Host,
    /// Our cgroup's, or those of one that is named.
    Cgroup(Option<PathBuf>),
}

/// Reads it: `auto`, `host`, `cgroup`, `cgroup:PATH`.
pub fn scope(name: &str, value: &str) -> Result<Scope, String> {
    match value.split_once(':') {
        None if value == "auto" => Ok(Scope::Auto),
        None if value == "host" => Ok(Scope::Host),
        None if value == "cgroup" => Ok(Scope::Cgroup(None)),
        Some(("cgroup", path)) if !path.is_empty() => Ok(Scope::Cgroup(Some(path.into()))),
        Some(_) | None => Err(format!("{name} '{value}': give 'auto', 'host', 'cgroup' or 'cgroup:PATH'")),
    }
}

/// The same as it would be typed.
pub fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::Auto => "auto".to_owned(),
        Scope::Host => "host".to_owned(),
        Scope::Cgroup(None) => "cgroup".to_owned(),
        Scope::Cgroup(Some(path)) => format!("cgroup:{}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserves() {
        let read = |value| reserve("--min-available", value);
        let said = |bytes, share| Ok(Reserve { bytes, share });
        assert_eq!(read("2G"), said(2 << 30, 0.0));
        assert_eq!(read("12.5%"), said(0, 0.125));
        assert_eq!((read("1G,10%"), read("10%,1G")), (said(1 << 30, 0.1), said(1 << 30, 0.1)));
        assert_eq!(read("1G,500M"), said(1 << 30, 0.0));
        for bad in ["", "x", "-1", "101%", "-1%", "nan%", "%", "2G,", "0", "1.5G"] {
            assert!(read(bad).unwrap_err().starts_with(&format!("--min-available '{bad}'")), "{bad}");
        }
        for text in ["2147483648", "10%", "0.5%", "1073741824,10%"] {
            assert_eq!(read(text).map(reserve_text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn loads_scopes_and_laws() {
        assert_eq!((max_load("", "1.5"), max_load("", "inf")), (Ok(1.5), Ok(1e12)));
        for bad in ["0", "-1", "nan", "x", ""] {
            assert!(max_load("--max-load", bad).is_err(), "{bad}");
        }
        assert_eq!(scope("", "cgroup:/a:b"), Ok(Scope::Cgroup(Some("/a:b".into()))));
        for text in ["auto", "host", "cgroup", "cgroup:/a"] {
            assert_eq!(scope("", text).as_ref().map(scope_text).as_deref(), Ok(text));
        }
        for bad in ["", "cgroup:", "host:x", "Host"] {
            assert!(scope("--scope", bad).is_err(), "{bad}");
        }
        for kind in [Kind::Adaptive, Kind::Fixed] {
            assert_eq!(law("--law", law_name(kind)), Ok(kind));
        }
        assert!(law("--law", "pid").is_err());
    }

    #[test]
    fn ranges() {
        assert_eq!(range("-n", "3"), Ok((3, 3)));
        assert_eq!(range("-n", "2-8"), Ok((2, 8)));
        for bad in ["", "0", "8-2", "2-", "-2", "x", "1-9999", "2-3-4"] {
            assert!(range("-n", bad).unwrap_err().starts_with(&format!("-n '{bad}'")), "{bad}");
        }
    }

    #[test]
    fn waits() {
        assert_eq!(wait("--max-wait", "0"), Ok(Duration::ZERO));
        assert_eq!(wait("--max-wait", "1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["", "-1", "nan", "inf", "x"] {
            assert!(wait("--max-wait", bad).is_err(), "{bad}");
        }
    }
}
