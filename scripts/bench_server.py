"""Cases of `scripts/bench` about the shared gate: what its server costs, with one client and with many.

Knows the command line, and of the protocol a hello and the names of two answers. Doesn't know what
makes a client report, so clients are real runs.
"""

import itertools
import json
import math
import os
import re
import shutil
import signal
import socket
import statistics
import time
from contextlib import contextmanager
from pathlib import Path

from bench_kit import (CORES, ENVIRONMENT, OPTIONS, RESIDENT, ROOT, Broken, Cost, Skip, figures, gate,
                       in_turns, newer_make, note, ratio_row, reap_orphans, row, run, server, spawn,
                       stop, system_make, tool, version, wait)


# ---- One client ------------------------------------------------------------------------------


def start():
    """What every wrapped command pays, however short."""
    with server(CORES):
        start_row("start", "server up", [OPTIONS.jobgate, "run", "--", "true"], 5)


def start_server():
    """What the first one pays: no server listens at its socket yet."""
    sockets = (OPTIONS.scratch / f"start-{i}.socket" for i in itertools.count())
    start_row("start-server", "it starts the server",
              lambda: run([OPTIONS.jobgate, "run", "--socket", next(sockets), "--", "true"]), 12)


def start_row(case, how, jobgate, demand):
    costs = in_turns({"jobgate": jobgate, "env": ["env", "true"]}, OPTIONS.starts)
    ours, plain = ([1000 * c.wall for c in each] for each in costs.values())
    both = f"{statistics.median(ours):.2f} ms / {statistics.median(plain):.2f} ms"
    row(case, f"`jobgate run -- true`, {how}, minus `env true` ({both})",
        [a - b for a, b in zip(ours, plain)], demand, " ms", 2)


def idle():
    """A gate that waits must cost nothing, and one that watches no more than its beats."""
    idle_rows("idle", ("--private",), 6)


def idle_server():
    """The same where the gate is a server beside the run: both together."""
    idle_rows("idle-server", (), None)


def idle_rows(case, options, most_resident):
    for name, extra in (("no threshold", ()), ("--max-cpu", ("--max-cpu", "1000000"))):
        pid = spawn(gate(CORES, "sleep", str(OPTIONS.seconds), extra=(*options, *extra)))
        try:
            time.sleep(OPTIONS.seconds / 4)
            before, began = gauges(pid), time.monotonic()
            time.sleep(OPTIONS.seconds / 2)
            after, window = gauges(pid), time.monotonic() - began
        finally:
            stop(pid)
        switches, cpu = after[0] - before[0], after[1] - before[1]
        beats = math.ceil(window) + 1 if extra else 0
        row(case, f"{name}: context switches in {window:.0f} s", [switches], beats, digits=0)
        row(case, f"{name}: share of one core", [100 * cpu / window], 0.1, " %", 4)
        row(case, f"{name}: resident", [after[2]], most_resident, " MiB", 2)


def gauges(pid):
    """(context switches, cpu seconds, resident MiB) of the run, and of any server it has started,
    which would be a child of either."""
    ours = re.compile(rf"^PPid:\t({os.getpid()}|{pid})$", re.M)
    all_of_it = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if ours.search((process / "status").read_text()) and os.path.samefile(
                    process / "exe", f"/proc/{pid}/exe"):
                all_of_it.append(figures(process))
        except (FileNotFoundError, ProcessLookupError):
            continue  # has ended since it was listed
    if not all_of_it:
        raise Broken("the gate ended early")
    return tuple(map(sum, zip(*all_of_it)))


# ---- Two builds ------------------------------------------------------------------------------


def share():
    """Two builds at once in the jobs of one: no longer than one after the other."""
    project = ROOT / "tests" / "project"
    if not (project / "Makefile").exists():
        raise Skip("no tests/project")
    copies = [OPTIONS.scratch / "share-a", OPTIONS.scratch / "share-b"]
    for copy in copies:
        shutil.copytree(project, copy)
    for find in (system_make, newer_make):
        make = find()
        builds = [gate(CORES, make, "-C", copy, "lib", "numeric") for copy in copies]
        clean = [[make, "-C", copy, "clean"] for copy in copies]
        with server(CORES):
            arms = {"shared": lambda: run(*builds), "in sequence": lambda: in_sequence(builds)}
            costs = in_turns(arms, OPTIONS.pairs, before=clean)
        detail = f"two builds, {version(make)} -j{CORES}"
        ratio_row("share", costs, "shared", "in sequence", detail, demand=1.03)
        ratio_row("share", costs, "shared", "in sequence", detail, "cpu")


def in_sequence(builds):
    costs = [run(build) for build in builds]
    return Cost(sum(c.wall for c in costs), sum(c.cpu for c in costs), "")


# ---- Many clients ----------------------------------------------------------------------------

JOBS = 4096      # the most that a gate may have
CLIENTS = 100
TOKENS = 40      # each, its lease counted in: below JOBS / CLIENTS, so that joins find some free
A_SECOND = 10    # takings of each client, and returns


def server_under_load():
    """100 real runs of a client that takes ten tokens a second and returns ten. Full: a build with
    plenty to do, that takes again at once. Wandering: one whose needs change with every job."""
    for pattern in ("full", "wandering"):
        with server(JOBS) as gate_pid, clients(pattern) as pids:
            was = counts()
            before, began = figures(Path(f"/proc/{gate_pid}")), time.monotonic()
            time.sleep(OPTIONS.load)
            after, window = figures(Path(f"/proc/{gate_pid}")), time.monotonic() - began
            moved = [(b - a) / window for a, b in zip(was, counts())]
            joins = [1000 * join() for _ in range(OPTIONS.joins)]
            looks = [1000 * run([OPTIONS.jobgate, "status"]).wall for _ in range(30)]
            resident = figures(Path(f"/proc/{gate_pid}"))[2]
        if sum(moved) < 1.8 * A_SECOND * CLIENTS:
            raise Broken(f"{pattern}: only {moved[0]:.0f} takings and {moved[1]:.0f} returns a second")
        detail = f"{len(pids)} clients of up to {TOKENS} jobs, {pattern}"
        rate = f"{moved[0]:.0f} takings, {moved[1]:.0f} returns a second"
        row("server", f"{detail}: share of one core in {window:.0f} s ({rate}; "
            f"{(after[0] - before[0]) / window:.0f} context switches)",
            [100 * (after[1] - before[1]) / window], 2, " %", 2)
        row("server", f"{detail}: resident", [resident], 16, " MiB", 2)
        row("server", f"{detail}: connect, hello, welcome, granted", joins, 1, " ms", judged=max)
        row("server", f"{detail}: `jobgate status`", looks, 10, " ms", 2)


@contextmanager
def clients(pattern):
    churn, pids = tool("churn"), []
    for file in OPTIONS.scratch.glob("churn-*"):
        file.unlink()
    try:
        for i in range(CLIENTS):
            client = [churn, TOKENS - 1, A_SECOND, pattern, OPTIONS.scratch / f"churn-{i}"]
            pids.append(spawn(gate(TOKENS, *client, style="pipe"), err=OPTIONS.scratch / f"stderr-{i}"))
            RESIDENT.add(pids[-1])
        wait_for_all()
        time.sleep(1)
        yield pids
    finally:
        for pid in pids:
            os.killpg(pid, signal.SIGTERM)
        for pid in pids:
            RESIDENT.discard(pid)
            wait(pid, 20)
        reap_orphans()


def wait_for_all(patience=30):
    until = time.monotonic() + patience
    while len(list(OPTIONS.scratch.glob("churn-*"))) < CLIENTS:
        if time.monotonic() > until:
            raise Broken("not all clients could start")
        time.sleep(0.1)


def counts():
    """(takings, returns) of all clients so far, as they keep them."""
    both = [file.read_text().split() for file in OPTIONS.scratch.glob("churn-*")]
    return [sum(int(numbers[i]) for numbers in both) for i in (0, 1)]


def join():
    """Seconds until a client that comes has its lease."""
    lease = {"wait": {"min": 1, "max": 1}}
    hello = {"protocol": "1.0", "label": "bench", "style": "pipe", "cap": 1, "lease": lease}
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        began = time.perf_counter()
        line.connect(ENVIRONMENT["JOBGATE_SOCKET"])
        line.sendall(json.dumps({"hello": hello}).encode() + b"\n")
        said = b""
        while b'{"granted"' not in said or not said.endswith(b"\n"):
            more = line.recv(4096)
            if not more:
                raise Broken(f"not let in: {said.decode(errors='replace')}")
            said += more
        took = time.perf_counter() - began
        line.sendall(b'"started"\n')
    time.sleep(0.02)  # its leaving isn't the next one's wait
    return took
