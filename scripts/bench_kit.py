"""What the cases of `scripts/bench` are made of: commands run and paid for, numbers, rows, things to run.

Doesn't know any case. `OPTIONS` and `ENVIRONMENT` are filled in by scripts/bench.
"""

import argparse
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
CORES = len(os.sched_getaffinity(0))
NULL = os.devnull

OPTIONS = argparse.Namespace()  # what was typed, and `scratch`, a folder that is gone afterwards
ENVIRONMENT = {}                # of what is spawned
RESIDENT = set()                # pids that outlive the command being measured, and aren't its price

Cost = namedtuple("Cost", "wall cpu out")


class Skip(Exception):
    """Something the case needs isn't on this machine."""


class Broken(Exception):
    """A measured command failed, or didn't end."""


# ---- Processes -------------------------------------------------------------------------------


def clean_environment():
    """Ours without what would make a command part of somebody else's pool."""
    ours = re.compile(r"(CARGO_)?MAKEFLAGS|MFLAGS|MAKELEVEL|NINJAFLAGS|JOBGATE_|BB_PRESSURE_MAX_")
    kept = {k: v for k, v in os.environ.items() if not ours.match(k)}
    # What jobgate costs beside a pool of that size; `regulation` names its laws. What a build says is for who looks at it.
    return {**kept, "JOBGATE_LAW": "fixed", "JOBGATE_SUMMARY": "never"}


def spawn(argv, out=NULL, err=NULL):
    """posix_spawn, as subprocess's own work would drown what `start` measures. A group of its own,
    so that a command that hangs can be ended with its jobs. Python ignores SIGPIPE; tools don't."""
    how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [(os.POSIX_SPAWN_OPEN, 0, NULL, os.O_RDONLY, 0),
             (os.POSIX_SPAWN_OPEN, 1, str(out), how, 0o600),
             (os.POSIX_SPAWN_OPEN, 2, str(err), how, 0o600)]
    try:
        return os.posix_spawnp(str(argv[0]), [str(a) for a in argv], ENVIRONMENT, file_actions=files,
                               setpgroup=0, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError as e:
        raise Broken(f"{argv[0]}: {e.strerror}") from None


def wait(pid, timeout):
    """(wait status, cpu seconds) of a child, ended with its group at the timeout."""
    fd, ready = os.pidfd_open(pid), []
    try:
        ready = select.select([fd], [], [], timeout)[0]
    finally:  # also at Ctrl-C, which doesn't reach other groups by itself
        os.close(fd)
        if not ready:
            os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    if not ready:
        raise Broken(f"not over after {timeout:.0f} s")
    return status, usage.ru_utime + usage.ru_stime


def stop(pid):
    """Ends a command and its jobs as a terminal would."""
    os.killpg(pid, signal.SIGTERM)
    wait(pid, 20)
    reap_orphans()


def reap_orphans(patience=2.0):
    """Cpu seconds of what the command left behind: a server in the background is part of its price.
    We are the subreaper, so it comes to us."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    cpu, until = 0.0, time.monotonic() + patience
    while set(map(int, children.read_text().split())) - RESIDENT:
        pid, _, usage = os.wait4(-1, os.WNOHANG)
        if pid in RESIDENT:
            raise Broken("a server, or a client of one, ended early")
        cpu += usage.ru_utime + usage.ru_stime if pid else 0
        if time.monotonic() > until:
            note("something started here is still alive, and its cpu time not counted")
            break
        if not pid:
            time.sleep(0.005)
    return cpu


def run(*argvs, timeout=300):
    """One command, or several at once: until the last has ended."""
    files = [(OPTIONS.scratch / f"stdout-{i}", OPTIONS.scratch / f"stderr-{i}") for i in range(len(argvs))]
    ends, began = [], time.perf_counter()
    left = [spawn(argv, *file) for argv, file in zip(argvs, files)]
    try:
        while left:
            ends.append(wait(left.pop(0), timeout))
    finally:
        for pid in left:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    wall = time.perf_counter() - began
    cpu = sum(used for _, used in ends) + reap_orphans()
    for argv, (status, _), (_, err) in zip(argvs, ends, files):
        if status:
            said = err.read_text(errors="replace").strip().splitlines()[-3:]
            raise Broken(f"{' '.join(map(str, argv))}: status {os.waitstatus_to_exitcode(status)}: {' / '.join(said)}")
    return Cost(wall, cpu, files[0][0].read_text(errors="replace"))


@contextmanager
def server(jobs):
    """A gate of so many jobs at JOBGATE_SOCKET, up until the end of the block; gives its pid."""
    config = OPTIONS.scratch / "none.toml"
    config.write_text("")  # else it reads the host's
    ours, its = os.pipe()
    os.set_inheritable(its, True)
    pid = None
    try:
        pid = spawn([OPTIONS.jobgate, "serve", "-j", jobs, "--config", config, "--ready-fd", its],
                    err=OPTIONS.scratch / "stderr-server")
        os.close(its)
        if not select.select([ours], [], [], 10)[0] or os.read(ours, 16) != b"ready\n":
            raise Broken(f"no server: {(OPTIONS.scratch / 'stderr-server').read_text().strip()}")
        RESIDENT.add(pid)
        yield pid
    finally:
        os.close(ours)
        RESIDENT.discard(pid)
        if pid:
            stop(pid)


def figures(process):
    """(context switches, cpu seconds, resident MiB) of a /proc/PID. The scheduler's nanoseconds:
    ticks of 10 ms would say 0."""
    resident = int(re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())[1])
    switches = nanoseconds = 0
    for thread in (process / "task").iterdir():
        counts = re.findall(r"ctxt_switches:\s+(\d+)", (thread / "status").read_text())
        switches += sum(map(int, counts))
        nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return switches, nanoseconds / 1e9, resident / 1024


# ---- Numbers and rows ------------------------------------------------------------------------


def note(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def in_turns(arms, times, before=None):
    """Runs the named commands, or functions that give a Cost, A B A B ..., once unmeasured to warm
    up; {name: [Cost, ...]}."""
    costs = {name: [] for name in arms}
    for turn in range(times + 1):
        for name, arm in arms.items():
            if before:
                run(*before)
            cost = arm() if callable(arm) else run(arm)
            if turn:
                costs[name].append(cost)
        if turn:
            note(", ".join(f"{n} {c[-1].wall:.4f} s (cpu {c[-1].cpu:.4f})" for n, c in costs.items()))
    return costs


def spread(values, digits):
    q1, _, q3 = statistics.quantiles(values, n=4, method="inclusive") if values[1:] else values * 3
    return "{} [{}–{}] ({}–{})".format(
        *(f"{v:.{digits}f}" for v in (statistics.median(values), q1, q3, min(values), max(values))))


def row(case, what, values, demand=None, unit="", digits=3, judged=statistics.median, doubt=""):
    """`judged` picks the value the demand is about; `doubt` says why the verdict may mean little."""
    verdict = "–"
    if demand is not None:
        which = "" if judged is statistics.median or len(values) == 1 else f"{judged.__name__} "
        verdict = f"{which}≤ {demand:g}{unit}: {'met' if judged(values) <= demand else '**missed**'}"
        verdict += f" ({doubt})" if doubt else ""
    shown = spread(values, digits) if values[1:] else f"{values[0]:.{digits}f}"
    line(case, what, f"{shown}{unit}", verdict, len(values))


def line(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def ratio_row(case, costs, over, under, detail, field="wall", demand=None):
    """The ratio within each pair, and both medians in seconds, to show what it is a ratio of."""
    a, b = ([getattr(c, field) for c in costs[name]] for name in (over, under))
    seconds = f"{statistics.median(a):.3f} s / {statistics.median(b):.3f} s"
    row(case, f"{field}, {over} / {under}, {detail} ({seconds})",
        [x / y for x, y in zip(a, b)], demand)


# ---- What is run -----------------------------------------------------------------------------


def gate(jobs, *command, style=None, extra=()):
    """`jobgate run`; without a style it is jobgate's own choice, as for its users."""
    chosen = ["--style", style] if style else []
    return [OPTIONS.jobgate, "run", "-j", jobs, *chosen, *extra, "--", *command]


def tool(name):
    """A C program from beside this script."""
    built = OPTIONS.scratch / name
    if not built.exists():
        cc = shutil.which("cc") or shutil.which("gcc")
        if not cc:
            raise Skip("no C compiler")
        run([cc, "-std=gnu11", "-O2", "-o", built, ROOT / "scripts" / f"{name}.c"])
    return built


def system_make():
    found = shutil.which("make")
    if not found:
        raise Skip("no make")
    return found


def newer_make():
    if not os.access(OPTIONS.make44, os.X_OK):
        raise Skip(f"no {OPTIONS.make44}: run scripts/tools, or give --make44")
    return OPTIONS.make44


def version(make):
    return "make " + run([make, "--version"]).out.split("\n")[0].split()[-1]


def many_targets(name, count, recipe, head=""):
    """Phony, each with its own rule: make must spend its time on jobs, not on searching."""
    targets = " ".join(f"t{i}" for i in range(count))
    path = OPTIONS.scratch / name
    path.write_text(f"{head}all: {targets}\n.PHONY: all {targets}\n{targets}:\n\t@{recipe}\n")
    return path
