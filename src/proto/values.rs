//! Settings as users write them: numbers of jobs, thresholds, seconds. Each has one reader, whoever asks: the command line,
//! bitbake's variables, `set`.
//!
//! Doesn't know where a value was written; it is told the name to complain about.

use super::text::python_float;
use crate::policy::gate::{BadThreshold, Hold, Threshold};
use crate::policy::ticker;
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

#[cfg(test)]
mod tests {
    use super::*;

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
