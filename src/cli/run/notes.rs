//! What is noted of a run: its journal, and its summary.
//!
//! Doesn't know how it is served.

use super::Plan;
use crate::cli::Failure;
use crate::cli::args::RunArgs;
use crate::cli::summary::When;
use crate::policy::time::Moment;
use crate::proto::recorder::Who;
use crate::proto::wire::Hello;
use crate::proxy::journal::Journal;
use crate::proxy::link::Link;
use crate::proxy::source::Source;
use crate::proxy::stats::{self, Stats};
use crate::server::settings::{entry, resolve};
use crate::sys::say::say;
use crate::sys::stats_folder::StatsFolder;

impl Plan {
    /// The shared gate tells what happens there, from before the wait for the lease on.
    pub(super) fn ask_journal(&mut self, link: &mut Link) {
        if self.journal.is_some() && !link.tells_journals() {
            let at = link.socket().display();
            say(&format!("there is no journal: the gate at {at} is of an older jobgate, which keeps none"));
            self.journal = None;
        } else if self.journal.is_some()
            && let Err(error) = link.ask_journal()
        {
            log::info!("the gate is gone: {error}"); // as will be found
        }
    }

    pub(super) fn keep_journal(&mut self, args: &RunArgs, source: &mut Source, now: Moment) {
        let (Some(file), Some(scribe)) = (args.journal.clone(), self.journal.take()) else { return };
        let settings = self.own_settings();
        let mut said = resolve(settings.cpus, &[&self.said]).1;
        if settings.jobs < self.wishes.gate.jobs.unwrap_or(settings.law.kind.usual_ceiling(settings.cpus)) {
            said.insert("jobs".to_owned(), entry(settings.jobs.to_string(), "--cap, or -j of the command"));
        }
        let Hello { label, style, .. } = self.hello(args);
        let who = Who { pid: std::process::id() as i32, label, style };
        source.keep_journal(Journal::new(scribe, file, said, who, now), now);
    }

    /// The folder for the build's statistics, ready to be written to.
    pub(super) fn stats_folder(&self, args: &RunArgs) -> Result<Option<StatsFolder>, Failure> {
        let Some(folder) = &args.buildstats else { return Ok(None) };
        let files = stats::files(&self.command.program.to_string_lossy());
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let folder = StatsFolder::new(folder, &files, &self.proc_root);
        folder.map(Some).map_err(|why| Failure(format!("--buildstats {why}")))
    }

    pub(super) fn keep_stats(&mut self, args: &RunArgs, source: &mut Source, now: Moment) {
        let Some(folder) = self.stats.take() else { return };
        let (command, beat) = (self.command.program.to_string_lossy(), self.own_settings().heartbeat);
        source.keep_stats(Stats::new(folder, &command, &self.hello(args).label, beat, now));
    }

    /// How it is called and when it is said.
    pub(super) fn sum_up(&self, args: &RunArgs, source: &mut Source, now: Moment) -> Option<(When, String)> {
        let when = self.sums_up.filter(|&when| when != When::Never)?;
        source.keep_summary(now, self.waited);
        Some((when, self.hello(args).label))
    }
}
