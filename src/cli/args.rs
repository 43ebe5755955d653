//! What can be typed. Values are kept as typed; `settings` gives them meaning.
//!
//! Doesn't know what any of it does.

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// A jobserver for make, ninja, cargo and all they start, gated by cpu, io and memory pressure
#[derive(Debug, Parser)]
#[command(name = "jobgate", version, subcommand_required = true, arg_required_else_help = false)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command whose whole process tree shares one pool of jobs
    Run(RunArgs),
}

/// `jobgate run`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Exit status: the command's own; if a signal ended it, that signal ends jobgate. 125: jobgate itself failed,
nothing was started; 126: the command can't be run; 127: it wasn't found.
SIGUSR1: says on stderr the limit, what is out, and why the gate is held.
Environment: BB_PRESSURE_MAX_{CPU,IO,MEMORY} and BB_HEARTBEAT_EVENT stand in for the options (bitbake's names and
units); JOBGATE_LOG=debug tells more."
)]
pub struct RunArgs {
    /// The most jobs that may run at once, the implicit one of make or ninja counted in; auto: the usable cpus
    #[arg(short = 'j', long = "jobs", value_name = "N|auto", allow_hyphen_values = true)]
    pub jobs: Option<String>,
    /// Hold while work waits for a cpu longer than so many microseconds per second
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub max_cpu: Option<String>,
    /// Hold while work waits for io longer than so many microseconds per second
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub max_io: Option<String>,
    /// Hold while work waits for memory longer than so many microseconds per second
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub max_memory: Option<String>,
    /// What a held gate holds back: every new job, or only the start of commands [default: all]
    #[arg(long, value_name = "all|starts")]
    pub hold: Option<String>,
    /// Seconds between two beats [default: 1]
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    pub heartbeat: Option<String>,
    /// How the limit is found; fixed: it is what -j says [default: fixed]
    #[arg(long, value_name = "fixed")]
    pub law: Option<String>,
    /// How tokens are handed out; auto: by the tool and the makes on PATH [default: auto]
    #[arg(long, value_name = "auto|pipe|fifo")]
    pub style: Option<String>,
    /// At most so many of the jobs for this run
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cap: Option<String>,
    /// Where pressure/cpu, io and memory are read [default: /proc]
    #[arg(long, value_name = "DIR")]
    pub proc: Option<PathBuf>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
