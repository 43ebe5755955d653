//! What the manual pages say beyond the options: of each command what it is for, and the sections that `--help` has no room for.
//!
//! Doesn't know how a page is made, nor how this is read: `pages` does.

/// Of the command called so, `jobgate` being the program itself: first what it does, then sections, as `pages` reads them.
/// `None`: there is no such command.
pub fn of(command: &str) -> Option<&'static str> {
    Some(match command {
        "jobgate" => JOBGATE,
        "run" => RUN,
        "exec" => EXEC,
        "env" => ENV,
        "attach" => ATTACH,
        "serve" => SERVE,
        "status" => STATUS,
        "top" => TOP,
        "set" => SET,
        "report" => REPORT,
        "replay" => REPLAY,
        "shims" => SHIMS,
        "doctor" => DOCTOR,
        _ => return None,
    })
}

/// What holds for every command that has no section of that name.
pub const EXIT_STATUS: &str = "\
Exit status:
  0    it is done
  125  it isn't; one line on standard error says why";

/// For every command that finds a gate.
pub const SOCKET: &str = "\
Environment:
  JOBGATE_SOCKET  the gate's socket, as --socket";

/// For all.
pub const LOG: &str = "\
Environment:
  JOBGATE_LOG  what is told besides on standard error: error, warn, info, debug or trace";

const JOBGATE: &str = "\
jobgate lets make, ninja, cargo and everything they start share one pool of jobs, with each other and with every other
`jobgate run` of the user, or of the machine. It speaks GNU make's jobserver protocol: no makefile is changed. Where a
threshold is set it holds new jobs back while the machine is short of cpu, io or memory, by the kernel's own pressure figures
(PSI), looked at on a heartbeat. It needs no root and no set-up.

The first `jobgate run` starts a small server in the background, the gate; the end of the last one ends it. Its limit is the
largest -j of the runs that are there, its thresholds the strictest. Hungry builds have equal shares; what one leaves standing
goes to the others. Where an administrator has started the service, the gate is that of the whole machine, and its
configuration says how many jobs there are: see `jobgate-serve`(1).

Below a run the names make, gmake, ninja, ninja-build, samu and bitbake lead to shims: whoever starts one of these tools, with
whatever -j, gets the real tool as a client of the pool. See `jobgate-shims`(1).

Nothing is printed when all is well. Where no gate can be had a command runs as it would without jobgate, after one line that
says why.

Exit status:
  125  jobgate itself failed, or refused what was typed; nothing was started
  126  the command of run or exec can't be run
  127  the command of run or exec wasn't found
Otherwise run and exec end as their command ended, by a signal, too; doctor with 1 if it found something; the others with 0.

Environment:
  JOBGATE_SOCKET  the gate's socket, as --socket
  BB_PRESSURE_MAX_CPU, BB_PRESSURE_MAX_IO, BB_PRESSURE_MAX_MEMORY, BB_HEARTBEAT_EVENT, BB_DISKMON_DIRS, BB_DISKMON_WARNINTERVAL
                  bitbake's variables, which stand for options: see `jobgate-run`(1)

Files:
  /run/jobgate/socket
     the gate of the machine, where its service runs
  /run/user/UID/jobgate, $XDG_RUNTIME_DIR/jobgate, $TMPDIR/jobgate-UID, /tmp/jobgate-UID
     the first that can be had holds the user's own gate, and the endpoints of his runs; below ~/.cache/jobgate where others could
     exchange those
  /etc/jobgate.toml
     the configuration of the service, and the tools of all users that know no jobserver
  ~/.config/jobgate.toml
     more such tools, the user's own
  ~/.local/share/jobgate
     the shims and bitbake's layer, where jobgate isn't installed for all
  ~/.cache/jobgate
     what versions tools have

Examples:
  jobgate run -- make -j16
     as many jobs as there are usable cpus, whatever the -j
  jobgate run -j8 --max-io 20000 -- ninja
     at most 8, and no new ones while io is short
  jobgate status
     the gate, why it is held, who has what
  eval \"$(jobgate env)\"
     what is started in this shell shares the gate";

const RUN: &str = "\
Runs a command. make, ninja, cargo and everything else that it starts take their jobs from the gate, which they share with the
other runs. The command itself waits for its first token; that is said once if it takes over a second.

The gate's limit is the largest -j of the runs that are there, its thresholds the strictest, its heartbeat the shortest. The -j
of a run is also its cap, and so is a -j of the command, of MAKEFLAGS and of GNUMAKEFLAGS. Where the machine's gate is a
service, its configuration says what the limit is, and -j is a cap alone.

Pressure is the time in which some work waits, in microseconds per second, as /proc/pressure tells it. While it grows faster than a
threshold no token is issued: what runs runs on, and one job always does. Afterwards jobs come back step by step. A build that
just fills two cpus shows 8000 to 25000 of cpu pressure.

A run inside a run that asks for nothing but a number of jobs joins the one around it. One with settings of its own is a client
of the gate, paid for by the job in which it was started.

The command keeps its caller's process group, terminal, signal mask, limits and descriptors. It gets MAKEFLAGS,
CARGO_MAKEFLAGS, a PATH that begins with the shims, and the endpoint's descriptors from 100 up.

Disk space:
What --diskmon is given is bitbake's BB_DISKMON_DIRS: entries of an action, a directory, and how much must be free there for users:
bytes, or with G, M or K, and inodes. It is looked at on each beat.
  WARN       says so, and again after each further decrease by BB_DISKMON_WARNINTERVAL
  STOPTASKS  hands out no more tokens to this run until there is enough space again; what runs runs on
  HALT       sends the command SIGTERM, and ends what it has left running in its session

Files:
  /etc/jobgate.toml, ~/.config/jobgate.toml
     [tools] lists tools that know no jobserver, and how each is told its number of jobs

Examples:
  jobgate run -j8 -- ./build-all.sh
     whatever it starts: make, then ninja, then cargo
  jobgate run -j8 -- bitbake world
     its tasks and all that they start, with no edit of anyone's configuration
  jobgate run --max-io 20000 --diskmon 'STOPTASKS,.,1G HALT,.,100M' -- make
     nothing new while io or disk space is short";

const EXEC: &str = "\
Takes as many tokens as are free, up to the most that were asked for, waits for the least, and holds them until the command has
ended. It is for tools that know no jobserver, but can be told how many threads to use.

Inside a job that is paid for already, as in a recipe of a makefile, that job's own token counts.";

const ENV: &str = "\
Leaves a proxy in the background, and prints the variables that lead to it, for the shell to read. make, ninja and cargo that are
started there share the gate from then on. The shell itself takes no token.

The proxy ends with the shell that called it. In a script that calls it through another program, give --pid $$.";

const ATTACH: &str = "\
Brings a process that runs already into the gate: whoever is about to build calls this for itself, and sets the variables that are
printed.";

const SERVE: &str = "\
Serves the gate that runs share until it is ended by a signal. A user needn't call it: the first `jobgate run` starts a gate. It is
for a gate that all users of a machine share, as a service of systemd, in a container, or by hand.

Options come before the configuration. Who may connect, how much each user may have, and all else that no option says, stands
in the configuration, which explains each of its keys; `jobgate-set`(1) changes the gate until the next reload.

Installing the package starts nothing. To have one gate for the machine:
  systemctl enable --now jobgate.socket

Environment:
  JOBGATE_SOCKET  the socket to listen on, as --socket
  BB_PRESSURE_MAX_CPU, BB_PRESSURE_MAX_IO, BB_PRESSURE_MAX_MEMORY, BB_HEARTBEAT_EVENT
                  as --max-cpu, --max-io, --max-memory and --heartbeat

Files:
  /etc/jobgate.toml
     the configuration
  /run/jobgate/socket
     the socket of root's gate, at which every user's runs look first";

const STATUS: &str = "\
Prints the limit and how much of it is in use, whether the gate is held and by what, and a line for each client: how many jobs it
HAS, how many it MAY have, and how many more it WANTS. Of other users' clients a service shows no more than that they are there.";

const TOP: &str = "\
Shows on a terminal what `jobgate status` tells, each second anew: the limit and what bounds it, the gate and why it is held, and
below the clients, those who have the most first. Between them two charts of the last five minutes: jobs that are out against the
limit, and the pressure of cpu, io and memory. Where there is little room the charts go first, then users and styles.

A gate that is gone is looked for; what was seen last stays there meanwhile.

Keys:
  q, Esc, Ctrl-C  quit
  up, down, page up, page down  other clients
  ?  help
  Ctrl-L  draw it all anew

Environment:
  NO_COLOR  if it is set to anything, no colours";

const SET: &str = "\
Changes settings of the gate that runs. Those of a gate that runs have started hold until it ends; those of a service until its
configuration is read again. Of a service, only root and its owner may.";

const REPORT: &str = "\
Draws what a journal says: the jobs that ran, by client, against the limit; when the gate was held, and by what; beats that were
missed; the pressure of cpu, io and memory against its thresholds. Below stand a table of the clients, what bounded them while
they could use more, and one sentence that says what held the build back most.

The page needs nothing else to be shown, no script and no network. It can be printed, and nothing in it is told by colour alone.
A journal that was cut off is drawn up to there, and the page says so.

Examples:
  jobgate run --journal build.journal -- make -j16; jobgate report build.journal -o build.html
  jobgate report /var/log/jobgate -o week.svg
     all that a service has kept";

const REPLAY: &str = "\
Tells the gate's own regulator, in virtual time, of what a journal has recorded: the pressure, the clients, and what they could
use, with settings other than those that were recorded. It prints how long the gate would have been held and by what, how many
jobs would have run at most and on average, and how long clients would have waited; beside it what was recorded, and the same
settings replayed, which shows how near a replay comes. What isn't said stays as it was recorded.

The pressure is what it was, though with more or fewer jobs it would have been another; and clients come and go when they did.
So a replay says how settings would have judged that time, not how long a build would have taken.

Below stands how high the pressure was while jobs ran, and thresholds to start from.

Examples:
  jobgate replay build.journal --max-cpu 300000
  jobgate replay /var/log/jobgate --law fixed -j 8 --max-cpu none";

const SHIMS: &str = "\
Sees that the folder of shims is there, and prints its path. A shim is jobgate itself under the name of a tool: make, gmake, ninja,
ninja-build, samu, bitbake, and what [tools] of the configuration lists. With the folder first on PATH the tool becomes a client of
the run around it, or of a gate that runs; where there is neither it is the tool itself, with the same arguments, output and status.

`jobgate run` and `jobgate env` put it on PATH by themselves. It stands only for tools that PATH has, and the same tools have the
same folder for ever.

A -j of the tool is taken out and is its cap; -l is taken out. -n, -q, -t, --version and ninja's -t pass through. Tools that know
no jobserver run with as many jobs as tokens are held for them.

Files:
  PREFIX/lib/jobgate/shims
     of a jobgate that was installed for all users
  ~/.local/share/jobgate/shims
     else; in $XDG_DATA_HOME, if that is set
  /etc/jobgate.toml, ~/.config/jobgate.toml
     [tools] lists tools that know no jobserver, and how each is told its number of jobs

Examples:
  export PATH=\"$(jobgate shims):$PATH\"
     make and ninja, wherever they are started, join a gate that runs";

const DOCTOR: &str = "\
Lists the build tools on PATH, what each would be given, and what keeps a build on this machine out of the gate.";
