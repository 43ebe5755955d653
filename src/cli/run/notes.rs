//! What is noted of a run: its journal, and its summary.
//!
//! Doesn't know how it is served.

use super::Plan;
use crate::cli::args::RunArgs;
use crate::cli::summary::When;
use crate::policy::time::Moment;
use crate::proto::recorder::Who;
use crate::proto::wire::Hello;
use crate::proxy::journal::Journal;
use crate::proxy::link::Link;
use crate::proxy::source::Source;
use crate::server::settings::{entry, resolve};
use crate::sys::say::say;

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

    /// How it is called and when it is said.
    pub(super) fn sum_up(&self, args: &RunArgs, source: &mut Source, now: Moment) -> Option<(When, String)> {
        let when = self.sums_up.filter(|&when| when != When::Never)?;
        source.keep_summary(now, self.waited);
        Some((when, self.hello(args).label))
    }
}
