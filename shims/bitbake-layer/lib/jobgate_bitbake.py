"""What jobgate does on bitbake's events: tasks are attached to the gate before they begin.

Knows bitbake's datastore and events (2.0 to 2.19), OE's names for parallelism, and the command line of `jobgate attach`.
Doesn't know how tokens are handed out. Nothing in here may fail a build: whatever goes wrong is warned about, once a build.
"""

import errno
import fnmatch
import json
import os
import re
import shutil
import socket
import subprocess
import time

import bb

# What a recipe's own command lines would take out of the pool.
NUMBER = re.compile(r"(?:-j|--jobs=?)\s*(\d+)")

# A gate that is held for longer is worth a line on the console.
HELD_FOR = 10.0

# The gate's status is asked for by bitbake's own loop: it mustn't wait for longer.
PATIENCE = 0.2

# A gate's clients are read by people; bitbake may have been given a thousand targets.
LONGEST_LABEL = 200

PRESSURES = ("CPU", "IO", "MEMORY")

# What bitbake watches by itself where it has no gate. The load counts only beside no threshold: it goes and returns with them.
WATCHED = tuple("PRESSURE_MAX_" + name for name in PRESSURES) + ("LOADFACTOR_MAX",)


# ---- Tasks: in the task's own process, before its script ---------------------------------------------------------------


def on_task(task, d):
    """Waits for the task's token, and tells the task where the others are."""
    guarded(d, begin, task, d)


def begin(task, d):
    if not matches(task, d.getVar("JOBGATE_TASKS")):
        return
    began = time.monotonic()
    wants = wanted(task, d)
    label = "%s:%s" % (d.getVar("PF") or d.getVar("PN") or "", task)
    given = attach(d, ["--label", label] + wants.options, d.getVar("PATH"))
    if wants.in_pool and not given.get("MAKEFLAGS"):
        raise Absent("it names no pool")
    if wants.held and not given.get("JOBGATE_TOKENS", "").isdigit():
        raise Absent("it doesn't say how many tokens there are")
    waited = time.monotonic() - began
    tell(d, given, wants)
    journal(d, {"at": round(time.time(), 3), "task": label, "waited_s": round(waited, 3)})


def journal(d, entry):
    """One line, appended in one piece: tasks write at the same time. buildstats counts the wait as the task's own time."""
    path = d.getVar("JOBGATE_JOURNAL")
    if not path:
        return
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(file, (json.dumps(entry) + "\n").encode())
        finally:
            os.close(file)
    except OSError as why:
        bb.debug(1, "jobgate: %s: %s" % (path, why))


def matches(task, patterns):
    """Whether the task is one of these names or patterns; setscene tasks never are."""
    return not task.endswith("_setscene") and any(fnmatch.fnmatchcase(task, one) for one in (patterns or "").split())


class Wanted:
    """What a task is to be given."""

    def __init__(self, options, in_pool=False, held=False):
        self.options, self.in_pool, self.held = options, in_pool, held


def wanted(task, d):
    """By what the recipe says of its own parallelism: an empty PARALLEL_MAKE means that it must be serial."""
    if not matches(task, d.getVar("JOBGATE_PARALLEL_TASKS")):
        return Wanted([])
    parallel = parallelism(task, d)
    if not parallel:
        return Wanted(["--cap", "1"])
    numbers = NUMBER.findall(parallel)
    if not numbers:
        return Wanted([], in_pool=True)
    # The last one, as make does: it is how recipes lower it.
    number = max(1, int(numbers[-1]))
    classes = (d.getVar("JOBGATE_HELD_CLASSES") or "").split()
    if any(bb.data.inherits_class(one, d) for one in classes):
        return Wanted(["-n", "1-%d" % number], held=True)
    return Wanted(["--cap", str(number)], in_pool=True)


def parallelism(task, d):
    """What OE puts on the command lines of this task: its own variable, or, where that isn't set, the general one."""
    kind = "INST" if "install" in task else ""
    names = ["PARALLEL_MAKE" + kind, "PARALLEL_MAKE"]
    if "ptest" in task:
        names.insert(0, "PTEST_PARALLEL_MAKE" + kind)
    values = [d.getVar(name) for name in names]
    return next((value.strip() for value in values if value is not None), "")


def tell(d, given, wants):
    """Into the task's variables, which reach its script; no hash is made of them any more."""
    shims = given.pop("JOBGATE_SHIMS", None)
    tokens = given.pop("JOBGATE_TOKENS", None)
    given.pop("JOBGATE_ATTACHED", None)
    if not wants.in_pool:
        # It finds its way to the pool by its shims, should it start something with a -j.
        for name in ("MAKEFLAGS", "CARGO_MAKEFLAGS"):
            given.pop(name, None)
    for name, value in given.items():
        export(d, name, value)
    if wants.in_pool or wants.held:
        for name in ("PARALLEL_MAKE", "PARALLEL_MAKEINST", "PTEST_PARALLEL_MAKE", "PTEST_PARALLEL_MAKEINST"):
            d.setVar(name, "-j %s" % tokens if wants.held else "")
    if shims:
        export(d, "PATH", "%s:%s" % (shims, d.getVar("PATH") or os.environ.get("PATH", "")))


def export(d, name, value):
    d.setVar(name, value)
    d.setVarFlag(name, "export", "1")
    os.environ[name] = value


# ---- The build: in bitbake's server ------------------------------------------------------------------------------------


class Build:
    """The one that runs: its client of the gate, and what was last said about it."""

    attached = None
    socket = None
    line = None
    held_since = None
    said = False


def on_build(e, d):
    """BuildStarted, HeartbeatEvent, BuildCompleted. Each multiconfig has its own BuildStarted, the default one the first."""
    kind = type(e).__name__
    if kind == "BuildStarted" and not Build.attached and d.getVar("BB_CURRENT_MC") in (None, "", "default"):
        guarded(d, build_started, e, d)
    elif kind == "HeartbeatEvent" and Build.attached:
        guarded(d, heartbeat, time.monotonic())
    elif kind == "BuildCompleted":
        guarded(d, build_completed, d)


def build_started(e, d):
    """Makes the build a client of the gate, for its thresholds and its heartbeat; bitbake needn't watch them a second time."""
    for name in WATCHED:
        mine, its = "JOBGATE_" + name, "BB_" + name
        if d.getVar(its):
            d.setVar(mine, d.getVar(its))
        elif d.getVar(mine):
            d.setVar(its, d.getVar(mine))
    shutil.rmtree(warnings(d), ignore_errors=True)
    label = "bitbake " + " ".join(re.sub(":do_build$", "", one) for one in e.getPkgs())
    given = attach(d, ["--build", "--label", label[:LONGEST_LABEL]] + wishes(d), None)
    if not given.get("JOBGATE_SOCKET"):
        raise Absent("it names no socket")
    Build.attached, Build.socket = int(given["JOBGATE_ATTACHED"]), given["JOBGATE_SOCKET"]
    Build.line, Build.held_since, Build.said = None, None, False
    if any(d.getVar("BB_PRESSURE_MAX_" + name) for name in PRESSURES):
        for name in WATCHED:
            d.setVar("BB_" + name, "")


def wishes(d):
    options = []
    for name in PRESSURES:
        value = d.getVar("JOBGATE_PRESSURE_MAX_" + name)
        if value:
            options += ["--max-" + name.lower(), value]
    if options:
        options += ["--hold", d.getVar("JOBGATE_HOLD") or "starts"]
    beat = d.getVar("BB_HEARTBEAT_EVENT")
    return options + (["--heartbeat", beat] if beat else [])


def build_completed(d):
    attached, Build.attached = Build.attached, None
    if attached:
        try:
            os.kill(attached, 15)
        except OSError:
            pass
    close_line()
    shutil.rmtree(warnings(d), ignore_errors=True)


def heartbeat(now):
    """Says on the console that the gate is held, and why, when that has lasted; and once when it has opened again."""
    gate = ask_status()
    state = gate.get("state") if isinstance(gate, dict) else None
    if state == "open":
        if Build.said:
            bb.plain("NOTE: jobgate: the gate is open again")
        Build.held_since, Build.said = None, False
    elif state == "held":
        Build.held_since = now if Build.held_since is None else Build.held_since
        if not Build.said and now - Build.held_since >= HELD_FOR:
            Build.said = True
            bb.plain("NOTE: jobgate: the gate is held for %d s: %s" % (now - Build.held_since, reasons(gate)))


def reasons(gate):
    try:
        text = ", ".join("%s %.0f > %.0f us/s" % (one["resource"], one["rate"], one["max"]) for one in gate["reasons"])
    except (KeyError, TypeError, ValueError):
        text = ""
    return text or "see jobgate status"


def ask_status():
    """The gate by its status, or None."""
    until = time.monotonic() + PATIENCE
    try:
        if not Build.line:
            Build.line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            Build.line.settimeout(PATIENCE)
            Build.line.connect(Build.socket)
            Build.line.sendall(b'{"hello":{"protocol":"1.0","asks_only":true}}\n')
            reply(Build.line, "welcome", until)
        Build.line.sendall(b'"status"\n')
        return reply(Build.line, "status", until).get("gate")
    except Exception:  # Whatever it is that listens there.
        close_line()
        return None


def reply(line, name, until):
    """The message of this name; the line is of no use any more when it doesn't come in time."""
    text = b""
    while True:
        while b"\n" not in text:
            line.settimeout(max(0.001, until - time.monotonic()))
            more = line.recv(65536)
            if not more or time.monotonic() > until:
                raise OSError(errno.EPIPE, "the gate says nothing")
            text += more
        one, text = text.split(b"\n", 1)
        message = json.loads(one.decode())
        if name in message:
            return message[name]


def close_line():
    if Build.line:
        Build.line.close()
    Build.line = None


# ---- Both --------------------------------------------------------------------------------------------------------------


class Absent(Exception):
    """There is no gate: the build goes on as without it."""


def guarded(d, what, *args):
    """Does it. Whatever may be wrong there, the build goes on."""
    try:
        what(*args)
    except Absent as why:
        warn_once(d, why)
    except Exception as why:
        warn_once(d, "%s: %s" % (type(why).__name__, why))


def caller(d):
    """The environment in which bitbake was called."""
    env = d.getVar("BB_ORIGENV", False)
    pairs = [(name, env.getVar(name, False)) for name in env.keys()] if env else []
    return {name: value for name, value in pairs if isinstance(value, str)}


def attach(d, options, path):
    """Attaches this process; gives the variables that `jobgate attach` prints."""
    env = caller(d)
    program = d.getVar("JOBGATE_PROGRAM") or env.get("JOBGATE_PROGRAM") or shutil.which("jobgate", path=env.get("PATH"))
    if not program:
        raise Absent("jobgate isn't on PATH")
    lender = env.get("JOBGATE_LENDER")
    if lender and "--build" not in options:
        options = options + ["--lender", lender]
    # Of what surrounded bitbake's caller only the gate itself counts here.
    for name in ("MAKEFLAGS", "GNUMAKEFLAGS", "CARGO_MAKEFLAGS", "JOBGATE_AUTH", "JOBGATE_TREE", "JOBGATE_INSIDE",
                 "JOBGATE_PRIVATE", "LD_PRELOAD"):
        env.pop(name, None)
    # Below pseudo we would be root, and files somebody else's.
    env["PSEUDO_UNLOAD"] = "1"
    env["PATH"] = path or env.get("PATH") or os.defpath
    try:
        done = subprocess.run([program, "attach", "--pid", str(os.getpid())] + options, env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        if done.returncode:
            raise Absent(done.stderr.strip().replace("jobgate: ", "", 1) or "%s ended with %d" % (program, done.returncode))
        said = json.loads(done.stdout)
    except (OSError, ValueError) as why:
        raise Absent("%s: %s" % (program, why))
    given = {name: value for name, value in said.items() if value is not None} if isinstance(said, dict) else {}
    if not given.get("JOBGATE_ATTACHED") or not all(isinstance(value, str) for value in given.values()):
        raise Absent("%s: no answer of jobgate's" % program)
    return given


def warnings(d):
    # Among the stamps, where pseudo looks away: it fails builds when what it has seen is removed outside of it.
    return os.path.join(d.getVar("STAMPS_DIR") or d.getVar("TMPDIR") or d.getVar("TOPDIR") or ".", "jobgate-warned")


def warn_once(d, why):
    """Once a build, whichever of its processes comes first."""
    try:
        os.makedirs(warnings(d))
    except FileExistsError:
        return
    except Exception:  # It can't be remembered that it was said.
        pass
    bb.warn("jobgate: %s; the build goes on without the gate" % why)
