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
    /// Run a command whose whole process tree shares one pool of jobs with the other runs
    Run(RunArgs),
    /// Hold tokens while a tool that knows no jobserver runs
    Exec(ExecArgs),
    /// Print exports that bring a shell or a CI script into the gate
    Env(EnvArgs),
    /// Serve the tree of a process that is about to build, and print its variables
    Attach(AttachArgs),
    /// Serve the shared gate in the foreground
    Serve(ServeArgs),
    /// Tell how the gate stands, why it is held, and who holds what
    Status(StatusArgs),
    /// Change the running gate
    Set(SetArgs),
    /// Install what stands for make and ninja on PATH, and print its folder
    Shims,
    /// Look for what would keep a build on this machine out of the gate
    Doctor(DoctorArgs),
}

/// What a gate is set to.
#[derive(Debug, Default, clap::Args)]
pub struct GateArgs {
    /// The most jobs that may run at once, the implicit one of make or ninja counted in; auto: four times the usable cpus; by the
    /// fixed law as many
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
    /// Seconds after which a command that waits for its first token is started above the limit; 0: never
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
    after_help = "\
Exit status: the command's own; if a signal ended it, that signal ends jobgate. 125: jobgate itself failed,
nothing was started; 126: the command can't be run; 127: it wasn't found.
SIGUSR1: says on stderr the limit, what is out, and why the gate is held.
Environment: JOBGATE_SOCKET names the gate, JOBGATE_LAW the law; BB_PRESSURE_MAX_{CPU,IO,MEMORY}, BB_LOADFACTOR_MAX, BB_HEARTBEAT_EVENT
and BB_DISKMON_DIRS stand in for the options (bitbake's names and units), BB_DISKMON_WARNINTERVAL goes with the last; JOBGATE_LOG=debug tells more."
)]
pub struct RunArgs {
    #[command(flatten)]
    pub gate: GateArgs,
    /// How tokens are handed out; auto: by the tool and the makes on PATH [default: auto]
    #[arg(long, value_name = "auto|pipe|fifo")]
    pub style: Option<String>,
    /// At most so many of the jobs for this run
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
    /// A gate of its own, shared with nobody
    #[arg(long)]
    pub private: bool,
    /// Leave PATH as it is: tools below that are told another -j, or know no jobserver, run as they would
    #[arg(long)]
    pub no_shims: bool,
    /// The gate's socket [default: the host's gate, else the user's own, started on demand]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `jobgate exec`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Takes what is free up to MAX tokens, waits for at least MIN, and tells the command how many it got in JOBGATE_TOKENS:
  jobgate exec -n 1-8 -- sh -c 'xz -T$JOBGATE_TOKENS big.tar'
Inside a job that is paid for already, that job's own token counts."
)]
pub struct ExecArgs {
    /// How many tokens: a number, or the least and the most [default: 1]
    #[arg(short = 'n', long = "tokens", value_name = "N|MIN-MAX", allow_hyphen_values = true)]
    pub tokens: Option<String>,
    /// Seconds after which it is started above the limit; 0: never
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    pub max_wait: Option<String>,
    /// Its share beside others [default: 1]
    #[arg(long, value_name = "W", allow_hyphen_values = true)]
    pub weight: Option<String>,
    /// What status calls it [default: the command]
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// The gate's socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `jobgate env`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
  eval \"$(jobgate env)\"          in a shell: make, ninja and cargo started there share the gate, until the shell ends
  eval \"$(jobgate env --stop)\"   leaves it"
)]
pub struct EnvArgs {
    /// Serve until this process ends [default: the shell that asks]
    #[arg(long, value_name = "PID", conflicts_with = "until_stopped")]
    pub pid: Option<i32>,
    /// Serve until `jobgate env --stop`
    #[arg(long)]
    pub until_stopped: bool,
    /// End what an earlier `jobgate env` has started
    #[arg(long, conflicts_with_all = ["pid", "until_stopped"])]
    pub stop: bool,
    /// How the exports are written [default: by $SHELL]
    #[arg(long, value_name = "sh|fish|json")]
    pub shell: Option<String>,
    /// At most so many of the jobs
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cap: Option<String>,
    /// The most jobs, as for run
    #[arg(short = 'j', long = "jobs", value_name = "N|auto", allow_hyphen_values = true)]
    pub jobs: Option<String>,
    /// What status calls it [default: the shell's name]
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// The gate's socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `jobgate attach`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Waits for a lease, leaves a proxy in the background that serves until the process ends, and prints one JSON object: the
variables for the process. Where no shared gate can be had it fails. bitbake's tasks are attached so."
)]
pub struct AttachArgs {
    #[command(flatten)]
    pub gate: GateArgs,
    /// The process
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
    /// At most so many of the jobs
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cap: Option<String>,
    /// What status calls it [default: the process's name]
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// The gate's socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `jobgate serve`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
SIGHUP reads the configuration again; SIGTERM and SIGINT end it: its clients go on with what they have, and start a gate
of their own. Under systemd it takes the socket that it is given and tells when it is ready."
)]
pub struct ServeArgs {
    #[command(flatten)]
    pub gate: GateArgs,
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
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Again every second, until the gate is gone
    #[arg(long)]
    pub watch: bool,
    /// The gate's socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `jobgate set`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Settings: jobs, law, max-cpu, max-io, max-memory, max-load, min-available, freeze-on-thrash, hold, heartbeat, max-wait, scope; 'none' unsets a
threshold.
  jobgate set jobs=4 max-cpu=100000"
)]
pub struct SetArgs {
    /// The gate's socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What to change
    #[arg(required = true, value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

/// `jobgate doctor`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Looks at the kernel's pressure files and limits, the tools, the variables, the makefile in this folder, and the gate's
socket; says of each thing that is wrong what to do.
Exit status: 0 nothing was found, 1 something was, 125 jobgate itself failed."
)]
pub struct DoctorArgs {
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Where pressure/cpu, io and memory, and the kernel's settings below sys/fs, are read [default: /proc]
    #[arg(long, value_name = "DIR")]
    pub proc: Option<PathBuf>,
    /// The gate's socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}
