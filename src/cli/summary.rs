//! A run's summary in three lines, and when it is given.
//!
//! Doesn't know how it is measured.

use crate::policy::gate::Cause;
use crate::policy::pressure::Resource;
use crate::policy::summary::{Brake, Summary};
use crate::report::words::{percent, span};
use clap::ValueEnum;
use std::time::Duration;

/// When a summary is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// Where the build was held back for a second, and for more than a tenth of its time.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The variable that says when.
pub const WHEN: &str = "JOBGATE_SUMMARY";

/// Reads it. The error names the variable.
pub fn when(name: &str, value: &str) -> Result<When, String> {
    When::from_str(value, false).map_err(|_| format!("{name} '{value}': give 'auto', 'always' or 'never'"))
}

/// Nobody is told of a shorter wait who hasn't asked, ...
const SHORT: Duration = Duration::from_secs(1);

/// ... and who has isn't told of this.
const NONE: Duration = Duration::from_millis(50);

/// The lines, if there are to be any.
pub fn lines(when: When, label: &str, summary: &Summary) -> Option<[String; 3]> {
    let (time, waited) = (summary.time(), summary.waited());
    let is_long = waited >= SHORT && waited * 10 > time;
    if when == When::Never || (when == When::Auto && !is_long) {
        return None;
    }
    let part = percent(waited.as_secs_f64(), time.as_secs_f64());
    let said = |time: Duration| span(time.as_secs_f64());
    let waits = summary.waits().into_iter().filter(|&(_, time)| time >= NONE);
    let causes: Vec<_> = waits.map(|(brake, time)| format!("{} {}", name(brake), said(time))).collect();
    let held = match causes.is_empty() {
        true => "was never held back".to_owned(),
        false => format!("was held back for {} of it ({part})", said(waited)),
    };
    Some([
        format!("{label}: took {}, {held}", said(time)),
        format!("{label}: at most {} at once, {:.1} on average", jobs(summary.peak()), summary.mean()),
        match causes.as_slice() {
            [] => format!("{label}: nothing held it back"),
            causes => format!("{label}: held back by: {}", causes.join(", ")),
        },
    ])
}

fn jobs(count: u32) -> String {
    format!("{count} {}", if count == 1 { "job" } else { "jobs" })
}

fn name(brake: Brake) -> &'static str {
    match brake {
        Brake::Lease => "the wait for its first job",
        Brake::Gate(Cause::Pressure(Resource::Cpu)) => "cpu pressure",
        Brake::Gate(Cause::Pressure(Resource::Io)) => "io pressure",
        Brake::Gate(Cause::Pressure(Resource::Memory)) => "memory pressure",
        Brake::Gate(Cause::Load) => "the load average",
        Brake::Io => "io that all jobs waited for",
        Brake::Memory => "no room in memory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::time::Moment;

    #[test]
    fn the_variable_is_read() {
        assert_eq!(when(WHEN, "never"), Ok(When::Never));
        assert_eq!(when(WHEN, "x").unwrap_err(), "JOBGATE_SUMMARY 'x': give 'auto', 'always' or 'never'");
    }

    #[test]
    fn is_given_where_it_matters_or_is_wanted() {
        let at = |seconds| Moment::at(Duration::from_secs(seconds));
        let of = |lease: u64, held: u64, free: u64| {
            let mut summary = Summary::new(at(0), Duration::from_secs(lease));
            summary.note(at(0), 4, Some(Brake::Gate(Cause::Pressure(Resource::Io))));
            summary.note(at(held), 2, None);
            summary.note(at(held + free), 0, None);
            summary
        };
        let long = lines(When::Auto, "make", &of(3, 31, 151)).unwrap();
        assert_eq!(
            long,
            [
                "make: took 3 min 05 s, was held back for 34 s of it (18 %)",
                "make: at most 4 jobs at once, 2.3 on average",
                "make: held back by: io pressure 31 s, the wait for its first job 3.0 s",
            ]
        );
        assert_eq!(lines(When::Auto, "make", &of(0, 1, 10)), None, "a tenth isn't more than a tenth");
        assert_eq!(lines(When::Auto, "make", &of(0, 0, 10)), None);
        assert_eq!(lines(When::Never, "make", &of(3, 31, 151)), None);
        let quiet = lines(When::Always, "make", &of(0, 0, 10)).unwrap();
        assert_eq!(quiet[0], "make: took 10 s, was never held back");
        assert_eq!(quiet[2], "make: nothing held it back");
    }
}
