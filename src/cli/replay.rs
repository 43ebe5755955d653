//! `jobgate replay`: what a journal's time would have been with other settings, and thresholds to start from.
//!
//! Doesn't know how it is found out.

use super::Failure;
use super::args::{GateArgs, ReplayArgs};
use super::journals::Journals;
use super::settings::GateWishes;
use crate::policy::pressure::Resource;
use crate::policy::regulator::Settings;
use crate::proto::text::printable;
use crate::proto::values::law_name;
use crate::report::replay::{Outcome, Replay};
use crate::report::story::Story;
use crate::report::words::{percent, span};
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Takes a recorded threshold away.
const NONE: &str = "none";

/// Replays it, and prints what came of it.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let change = changes(args)?;
    let journals = Journals::read(&args.journal)?;
    let (mut story, mut same, mut other) =
        (Story::default(), Replay::new(|settings| settings), Replay::new(&change));
    let notes = journals.each(|record| {
        story.take(record);
        same.take(record);
        other.take(record);
    });
    story.end();
    let (same, other) = (same.end(), other.end());
    let recorded = story.scene.settings.settings();
    let mut text = table(&story, &recorded, &change(recorded), &same, &other);
    thresholds(&mut text, &story);
    for note in notes {
        let _ = writeln!(text, "{}", printable(&note));
    }
    let _ = io::stdout().write_all(text.as_bytes()); // nobody reads any more
    Ok(())
}

/// What is changed of the settings that were recorded.
fn changes(args: &ReplayArgs) -> Result<impl Fn(Settings) -> Settings, Failure> {
    let max = [&args.max_cpu, &args.max_io, &args.max_memory];
    let taken_away = max.map(|max| max.as_deref() == Some(NONE));
    let [max_cpu, max_io, max_memory] = max.map(|max| max.clone().filter(|max| max != NONE));
    let gate = GateArgs {
        jobs: args.jobs.clone(),
        max_cpu,
        max_io,
        max_memory,
        hold: args.hold.clone(),
        law: args.law.clone(),
        min_available: args.min_available.clone(),
        max_load: args.max_load.clone(),
        ..GateArgs::default()
    };
    let wishes = GateWishes::read(&gate, |_| None)?;
    Ok(move |mut settings: Settings| {
        for resource in Resource::ALL {
            if taken_away[resource as usize] {
                settings.thresholds.set(resource, None);
            } else if let Some(max) = wishes.thresholds.get(resource) {
                settings.thresholds.set(resource, Some(max));
            }
        }
        settings.jobs = wishes.jobs.unwrap_or(settings.jobs);
        settings.hold = wishes.hold.unwrap_or(settings.hold);
        settings.law.kind = wishes.law.unwrap_or(settings.law.kind);
        settings.law.reserve = wishes.min_available.or(settings.law.reserve);
        settings.max_load = wishes.max_load.or(settings.max_load);
        settings
    })
}

fn table(story: &Story, was: &Settings, is: &Settings, same: &Outcome, other: &Outcome) -> String {
    let mut text = format!("{} clients, {}\n\n", story.clients.len(), span(story.seconds()));
    let mut row = |what: &str, cells: [String; 3]| {
        let [recorded, same, other] = cells;
        let _ = writeln!(text, "{what:<26} {recorded:<20} {same:<20} {other}");
    };
    row("", ["recorded".to_owned(), "the same, replayed".to_owned(), "replayed".to_owned()]);
    let law = |settings: &Settings| format!("{} law, -j {}", law_name(settings.law.kind), settings.jobs);
    row("", [law(was), law(was), law(is)]);
    for resource in Resource::ALL {
        let max = |settings: &Settings| {
            settings
                .thresholds
                .get(resource)
                .map_or(NONE.to_owned(), |max| format!("{:.0}", max.us_per_second()))
        };
        if max(was) != NONE || max(is) != NONE {
            row(&format!("max-{}", resource.name()), [max(was), max(was), max(is)]);
        }
    }
    let part = |seconds: f64| format!("{} ({})", span(seconds), percent(seconds, story.seconds()));
    let held = |outcome: &Outcome| part(outcome.held.values().fold(0.0, |sum, seconds| sum + seconds));
    row("held", [part(story.held_s), held(same), held(other)]);
    let names: std::collections::BTreeSet<_> = same.held.keys().chain(other.held.keys()).collect();
    for name in names {
        let by = |outcome: &Outcome| outcome.held.get(name).map_or("-".to_owned(), |&seconds| span(seconds));
        row(&format!("  by {name}"), ["".to_owned(), by(same), by(other)]);
    }
    let peaks = [story.peak, same.peak, other.peak];
    row("jobs at most", peaks.map(|peak| peak.to_string()));
    let seconds = story.seconds().max(1e-6);
    let recorded: f64 = story.clients.iter().map(|told| told.token_s).sum();
    row("jobs on average", [recorded, same.job_s, other.job_s].map(|jobs| format!("{:.2}", jobs / seconds)));
    let limit: f64 = story.limit.columns().map(|column| story.limit.at(column).area).sum();
    row(
        "limit on average",
        [limit / 1e6, same.limit_s, other.limit_s].map(|jobs| format!("{:.2}", jobs / seconds)),
    );
    let waited: f64 = story.clients.iter().map(|told| told.waited_s).sum();
    row("waits for first jobs", [waited, same.waited_s, other.waited_s].map(span));
    text.push_str(
        "\nReplayed by what was recorded: the pressure is as it was, though with other jobs it would have been another; who could\n\
         use more jobs is given all that he may have, and a job is thought to take a second.\n",
    );
    text
}

/// How high the pressure was while jobs ran, and what follows for thresholds.
fn thresholds(text: &mut String, story: &Story) {
    let parts = [0.5, 0.9, 0.99, 1.0];
    let mut options = Vec::new();
    let heads =
        ["half the time", "nine tenths", "99 of 100", "most"].map(|head| format!("{head:>15}")).concat();
    let _ = writeln!(text, "\n{:<30}{heads}", "pressure while jobs ran, us/s");
    for resource in Resource::ALL {
        let Some(levels) = story.levels[resource as usize].at(parts) else { continue };
        let _ = write!(text, "{:<30}", resource.name());
        for level in levels {
            let _ = write!(text, "{level:>15.0}");
        }
        text.push('\n');
        let start = two_digits(levels[1]);
        if start > 0.0 {
            options.push(format!("--max-{} {start:.0}", resource.name()));
        }
    }
    let is_known = story.levels.iter().any(|levels| levels.at([1.0]).is_some());
    let _ = match options.as_slice() {
        [] if !is_known => writeln!(text, "\nNo pressure was recorded while jobs ran."),
        [] => writeln!(text, "\nNo work waited: any threshold would have held nothing."),
        options => writeln!(
            text,
            "\nThresholds to start from, each above what the pressure was for nine tenths of that time:\n  {}",
            options.join(" ")
        ),
    };
}

/// Rounded up to two digits.
fn two_digits(value: f64) -> f64 {
    let unit = 10f64.powf((value.max(1.0).log10().floor() - 1.0).max(0.0));
    (value / unit).ceil() * unit
}
