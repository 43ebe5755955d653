//! The tools that the host's configuration and the user's list: those that know no jobserver.
//!
//! Doesn't know the rest of a configuration, nor complains about it: `serve` does.

use crate::proto::argv::NumberOption;
use crate::proto::config;
use crate::sys::files;
use std::path::PathBuf;

/// The host's configuration.
pub const OF_THE_HOST: &str = "/etc/jobgate.toml";

/// Each tool's name and how it is told its number of jobs; a name's first one counts, and the user's come first.
pub fn tools() -> Vec<(String, NumberOption)> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let own = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    let files = [own.map(|folder| folder.join("jobgate.toml")), Some(PathBuf::from(OF_THE_HOST))];
    let read = |file: PathBuf| {
        // Below `sudo` the home may be another user's, who isn't to say what we are run with.
        let text = files::read_trusted_text(&file)
            .inspect_err(|error| log::debug!("{}: {error}", file.display()))
            .ok()?;
        let parsed = config::parse(&text).inspect_err(|bad| log::info!("{}: {bad:?}", file.display()));
        parsed.ok().map(|(config, _)| config.tools)
    };
    files.into_iter().flatten().filter_map(read).flatten().collect()
}

/// Their names alone.
pub fn names() -> Vec<String> {
    tools().into_iter().map(|(name, _)| name).collect()
}
