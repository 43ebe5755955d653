//! What can be typed. Values are kept as typed; `settings` gives them meaning.
//!
//! Doesn't know what any of it does. What stands below the options in `--help` is read by `pages` as well: see there how it is written.

use clap::{Parser, Subcommand, ValueHint};
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
    /// Run a command whose whole process tree shares one pool of jobs with the other runs
    Run(RunArgs),
    /// Hold tokens while a tool that knows no jobserver runs
    Exec(ExecArgs),
    /// Print exports that bring a shell or a CI script into the gate
    Env(EnvArgs),
    /// Serve what a process is about to start, and print the variables for it
    Attach(AttachArgs),
    /// Serve the shared gate in the foreground
    Serve(ServeArgs),
    /// Tell how the gate stands, why it is held, and who holds what
    Status(StatusArgs),
    /// Show on a terminal how the gate stands, and how it stood in the last minutes
    Top(TopArgs),
    /// Change the running gate
    Set(SetArgs),
    /// Draw what a journal says: who ran how many jobs, the limit, the pressure, and when the gate was held
    Report(ReportArgs),
    /// Tell what a journal's time would have been with other settings, and thresholds to start from
    Replay(ReplayArgs),
    /// Install what stands for make, ninja and others on PATH, and print its folder
    Shims,
    /// Look for what would keep a build on this machine out of the gate
    Doctor(DoctorArgs),
    /// Write the manual pages and the shells' completions below a folder, as PREFIX/share has them
    #[command(hide = true)]
    Pages(PagesArgs),
}

/// What a gate is set to.
#[derive(Debug, Default, clap::Args)]
pub struct GateArgs {
    /// The most jobs that may run at once, the implicit one of make or ninja counted in; auto: four times the usable cpus; by the
    /// fixed law as many
    #[arg(short = 'j', long = "jobs", value_name = "N|auto", allow_hyphen_values = true)]
    pub jobs: Option<String>,
    /// Hold new jobs back while some work waits for a cpu for more than so many microseconds per second
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub max_cpu: Option<String>,
    /// Hold new jobs back while some work waits for io for more than so many microseconds per second
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub max_io: Option<String>,
    /// Hold new jobs back while some work waits for memory for more than so many microseconds per second
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    pub max_memory: Option<String>,
    /// What a held gate holds back: every new job, or only the start of commands [default: all]
    #[arg(long, value_name = "all|starts")]
    pub hold: Option<String>,
    /// Seconds between two beats [default: 1]
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    pub heartbeat: Option<String>,
    /// How the limit is found; fixed: it is what -j says; adaptive: by how busy cpus, io and memory are [default: adaptive]
    #[arg(long, value_name = "adaptive|fixed")]
    pub law: Option<String>,
    /// Memory that is to stay available; no new job takes it [default: a twentieth of it by the adaptive law, else none]
    #[arg(long, value_name = "SIZE|PERCENT", allow_hyphen_values = true)]
    pub min_available: Option<String>,
    /// Stop the youngest jobs (SIGSTOP) while everything waits for memory, and let them go on one by one; with the adaptive law
    #[arg(long)]
    pub freeze_on_thrash: bool,
    /// Hold while the load average of the last minute is above so much per cpu; only where no pressure has a threshold
    #[arg(long, value_name = "LOAD", allow_hyphen_values = true)]
    pub max_load: Option<String>,
    /// Whose cpus and pressure count; auto: the cgroup's that has a cpu quota, else the host's [default: auto]
    #[arg(long, value_name = "host|cgroup[:PATH]")]
    pub scope: Option<String>,
    /// Seconds after which a command that waits for its first token is started above the limit; 0: never [default: 60, or 300 where the gate is held]
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    pub max_wait: Option<String>,
    /// Where pressure/cpu, io and memory, stat, meminfo, loadavg, and our cgroup are read [default: /proc]
    #[arg(long, value_name = "DIR")]
    pub proc: Option<PathBuf>,
}

/// `jobgate run`
#[derive(Debug, Default, clap::Args)]
#[command(
    args_override_self = true,
    override_usage = "jobgate run [OPTIONS] [--] COMMAND [ARGUMENT]...",
    after_help = "\
Exit status:
  125  jobgate itself failed, or refused what was typed; nothing was started
  126  the command can't be run
  127  the command wasn't found
Any other is the command's own. If a signal ended the command, that signal ends jobgate.

Environment:
  JOBGATE_SOCKET  the gate's socket, as --socket
  JOBGATE_LAW     as --law
  JOBGATE_SUMMARY as --summary
  BB_PRESSURE_MAX_CPU, BB_PRESSURE_MAX_IO, BB_PRESSURE_MAX_MEMORY, BB_LOADFACTOR_MAX, BB_HEARTBEAT_EVENT
                  as --max-cpu, --max-io, --max-memory, --max-load and --heartbeat
  BB_DISKMON_DIRS, BB_DISKMON_WARNINTERVAL
                  as --diskmon, and how much less there must be for the next warning [default: 50M,5K]
  JOBGATE_LOG     what is told besides on standard error: error, warn, info, debug or trace
An option comes before its variable. Those that begin with BB_ have bitbake's meanings and units.

Signals:
  SIGUSR1  says on standard error the limit, what is out, and why the gate is held"
)]
pub struct RunArgs {
    #[command(flatten)]
    pub gate: GateArgs,
    /// How tokens are handed out; auto: as the tool and the makes on PATH can read them [default: auto]
    #[arg(long, value_name = "auto|pipe|fifo")]
    pub style: Option<String>,
    /// The most jobs of this run, whatever the limit of the gate
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cap: Option<String>,
    /// This run's share beside others [default: 1]
    #[arg(long, value_name = "W", allow_hyphen_values = true)]
    pub weight: Option<String>,
    /// What status calls this run [default: the command]
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Warn, start nothing new, or end the build while less than that is free in a directory (bitbake's BB_DISKMON_DIRS)
    #[arg(long, value_name = "WARN|STOPTASKS|HALT,DIR,MINSPACE[,MININODES]")]
    pub diskmon: Vec<String>,
    /// Write there what happens in the gate: JSON lines, a header first; an older journal is overwritten
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Say in three lines at the end how long it took, how many jobs ran, and how long what held it back [default: auto, where that
    /// was a second and a tenth of its time]
    #[arg(long, value_name = "auto|always|never", num_args = 0..=1, require_equals = true, default_missing_value = "always", hide_possible_values = true)]
    pub summary: Option<super::summary::When>,
    /// Write what the machine does meanwhile there, as OpenEmbedded's buildstats do, for pybootchartgui
    #[arg(long, value_name = "DIR")]
    pub buildstats: Option<PathBuf>,
    /// Use a gate of its own, shared with nobody
    #[arg(long)]
    pub private: bool,
    /// Leave PATH as it is: tools below that are told a -j of their own, or know no jobserver, run as they would
    #[arg(long)]
    pub no_shims: bool,
    /// The gate's socket [default: the host's gate, else the user's own, started where it is missing]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// `jobgate exec`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    override_usage = "jobgate exec [OPTIONS] [--] COMMAND [ARGUMENT]...",
    after_help = "\
Exit status:
  125  jobgate itself failed, or refused what was typed; nothing was started
  126  the command can't be run
  127  the command wasn't found
Any other is the command's own.

Environment:
  JOBGATE_TOKENS  set for the command: how many tokens it got

Examples:
  jobgate exec -n 1-8 -- sh -c 'xz -T$JOBGATE_TOKENS big.tar'
     as many threads as there are free tokens, eight at the most; waits for one"
)]
pub struct ExecArgs {
    /// How many tokens: a number, or the least and the most [default: 1]
    #[arg(short = 'n', long = "tokens", value_name = "N|MIN-MAX", allow_hyphen_values = true)]
    pub tokens: Option<String>,
    /// Seconds after which it is started above the limit; 0: never [default: 60, or 300 where the gate is held]
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    pub max_wait: Option<String>,
    /// Its share beside others [default: 1]
    #[arg(long, value_name = "W", allow_hyphen_values = true)]
    pub weight: Option<String>,
    /// What status calls it [default: the command]
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// The gate's socket [default: the host's gate, else the user's own]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// `jobgate env`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Examples:
  eval \"$(jobgate env)\"          make, ninja and cargo started in this shell share the gate, until the shell ends
  jobgate env --shell fish | source
                                 the same in fish
  eval \"$(jobgate env --stop)\"   leaves the gate"
)]
pub struct EnvArgs {
    /// Serve until this process ends [default: the shell that asks]
    #[arg(long, value_name = "PID", conflicts_with = "until_stopped")]
    pub pid: Option<i32>,
    /// Serve until 'jobgate env --stop'
    #[arg(long)]
    pub until_stopped: bool,
    /// End what an earlier 'jobgate env' has started
    #[arg(long, conflicts_with_all = ["pid", "until_stopped"])]
    pub stop: bool,
    /// How the exports are written [default: by $SHELL]
    #[arg(long, value_name = "sh|fish|json")]
    pub shell: Option<String>,
    /// The most jobs of it, whatever the limit of the gate
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cap: Option<String>,
    /// The most jobs, as for run
    #[arg(short = 'j', long = "jobs", value_name = "N|auto", allow_hyphen_values = true)]
    pub jobs: Option<String>,
    /// What status calls it [default: the shell's name]
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// The gate's socket [default: the host's gate, else the user's own]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `jobgate attach`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Waits until the gate gives the process its first token, leaves a proxy in the background that serves it until it ends, and
prints one JSON object: the variables for it. Where no shared gate can be had it fails. bitbake's tasks are attached so."
)]
pub struct AttachArgs {
    #[command(flatten)]
    pub gate: GateArgs,
    /// The process that is served
    #[arg(long, value_name = "PID")]
    pub pid: i32,
    /// How many tokens to hold for it, instead of an endpoint: a number, or the least and the most
    #[arg(short = 'n', long = "tokens", value_name = "N|MIN-MAX", allow_hyphen_values = true)]
    pub tokens: Option<String>,
    /// The process whose job pays where it can: the one that asked for the build
    #[arg(long, value_name = "PID")]
    pub lender: Option<i32>,
    /// It is a build whose tasks are attached one by one: it has wishes, and takes nothing
    #[arg(long, conflicts_with_all = ["tokens", "lender"])]
    pub build: bool,
    /// The most jobs of it, whatever the limit of the gate
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cap: Option<String>,
    /// What status calls it [default: the process's name]
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// The gate's socket [default: the host's gate, else the user's own]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `jobgate serve`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Signals:
  SIGHUP           reads the configuration again; a bad one leaves the old settings in force, and its line is named
  SIGTERM, SIGINT  end it; its clients go on with what they have, and start a gate of their own"
)]
pub struct ServeArgs {
    #[command(flatten)]
    pub gate: GateArgs,
    /// Write what happens into files there: the last 8 are kept, of 16 MiB each
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// The configuration [default: /etc/jobgate.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The socket to listen on [default: /run/jobgate/socket for root, else the user's own]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Write a line to this descriptor, and close it, once clients can connect
    #[arg(long, value_name = "N")]
    pub ready_fd: Option<i32>,
    /// Started by a client, ends with the last one
    #[arg(long, hide = true)]
    pub on_demand: bool,
    /// The one before it died
    #[arg(long, hide = true)]
    pub recovering: bool,
}

/// `jobgate status`
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Print it again every second, until the gate is gone
    #[arg(long)]
    pub watch: bool,
    /// The gate's socket [default: the host's gate, else the user's own]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `jobgate top`
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct TopArgs {
    /// The gate's socket [default: the host's gate, else the user's own]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `jobgate set`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Settings:
  jobs       the most jobs at once: a number, or auto
  max-cpu, max-io, max-memory
             the thresholds, in microseconds per second; none: not watched
  max-load   the highest load average of the last minute per cpu; none: not watched
  law        adaptive or fixed
  min-available
             memory that is to stay available: a size or a percentage; none: as much as the law says
  freeze-on-thrash
             on or off
  scope      whose cpus and pressure count: auto, host, cgroup or cgroup:PATH
  hold       what a held gate holds back: all or starts
  heartbeat  seconds between two beats
  max-wait   seconds after which a command that waits for its first token is started above the limit; 0: never; default: 60,
             or 300 where the gate is held

Examples:
  jobgate set jobs=4 max-cpu=100000"
)]
pub struct SetArgs {
    /// The gate's socket [default: the host's gate, else the user's own]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What to change
    #[arg(required = true, value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

/// `jobgate report`
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct ReportArgs {
    /// The page (.html) or the picture (.svg) to write; it needs nothing else to be looked at
    #[arg(short, long, value_name = "FILE.html|FILE.svg")]
    pub output: PathBuf,
    /// What run --journal has written, or the folder of serve --journal
    #[arg(value_name = "JOURNAL")]
    pub journal: PathBuf,
}

/// `jobgate replay`
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct ReplayArgs {
    /// The most jobs
    #[arg(short = 'j', long = "jobs", value_name = "N|auto", allow_hyphen_values = true)]
    pub jobs: Option<String>,
    /// Hold above so much cpu pressure
    #[arg(long, value_name = "US|none", allow_hyphen_values = true)]
    pub max_cpu: Option<String>,
    /// Hold above so much io pressure
    #[arg(long, value_name = "US|none", allow_hyphen_values = true)]
    pub max_io: Option<String>,
    /// Hold above so much memory pressure
    #[arg(long, value_name = "US|none", allow_hyphen_values = true)]
    pub max_memory: Option<String>,
    /// What a held gate holds back
    #[arg(long, value_name = "all|starts")]
    pub hold: Option<String>,
    /// How the limit is found
    #[arg(long, value_name = "adaptive|fixed")]
    pub law: Option<String>,
    /// Memory that is to stay available
    #[arg(long, value_name = "SIZE|PERCENT", allow_hyphen_values = true)]
    pub min_available: Option<String>,
    /// Hold above that load average per cpu, where no pressure has a threshold
    #[arg(long, value_name = "LOAD", allow_hyphen_values = true)]
    pub max_load: Option<String>,
    /// What run --journal has written, or the folder of serve --journal
    #[arg(value_name = "JOURNAL")]
    pub journal: PathBuf,
}

/// `jobgate doctor`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Looks at the kernel's pressure files and limits, the tools, the variables, the makefile in this folder, and the gate's
socket; says of each thing that is wrong what to do.

Exit status:
  0    nothing was found
  1    something was found
  125  jobgate itself failed"
)]
pub struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where pressure/cpu, pressure/io and pressure/memory, and the kernel's settings below sys/fs, are read [default: /proc]
    #[arg(long, value_name = "DIR")]
    pub proc: Option<PathBuf>,
    /// The gate's socket [default: the host's gate, else the user's own]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `jobgate pages`
#[derive(Debug, clap::Args)]
pub struct PagesArgs {
    /// The folder: pages come into man/man1 below it, completions where bash, zsh and fish look for them
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}
