"""Cases of `scripts/bench` about bitbake: a build of a dozen recipes, unregulated, under bitbake's own threshold, and gated.

Knows the project in tests/bitbake and the command line. Needs a bitbake, in BITBAKE_DIR (the first folder of it).
"""

import os
import shutil
import statistics
import subprocess
import time

from bench_kit import CORES, ENVIRONMENT, OPTIONS, ROOT, TARGET, Skip, in_turns, newer_make, note, ratio_row, row, run, server, spawn, stop

PROJECT = ROOT / "tests/bitbake"


def folder(name, lines=""):
    """A folder to build in."""
    place = OPTIONS.scratch / name
    (place / "conf").mkdir(parents=True, exist_ok=True)
    layers = (PROJECT / "conf/bblayers.conf").read_text()
    (place / "conf/bblayers.conf").write_text(layers.replace("${PROJECT}", str(PROJECT)))
    tools = f"{os.path.dirname(newer_make())}:{TARGET / 'tools/ninja-1.13.2'}:"
    (place / "conf/test.conf").write_text(
        f'PATH =. "{tools}"\nPROJECT = "{PROJECT}"\nLOG = "{place}/log"\n'
        f'JOBGATE_HELD_CLASSES = "held"\nJOB = "{PROJECT}/src/busy.sh 150000"\n{lines}\n')
    return place


def bitbake():
    """Wall and the most compilers at once, each arm from a clean start."""
    named = os.environ.get("BITBAKE_DIR", "").split(":")[0]
    if not os.access(f"{named}/bin/bitbake", os.X_OK):
        raise Skip("BITBAKE_DIR names no bitbake")
    ENVIRONMENT.update(PATH=f"{named}/bin:{ENVIRONMENT['PATH']}", LC_ALL="en_US.UTF-8", PROJECT=str(PROJECT),
                       BB_ENV_PASSTHROUGH_ADDITIONS="PROJECT", XDG_DATA_HOME=str(OPTIONS.scratch / "data"),
                       XDG_CACHE_HOME=str(OPTIONS.scratch / "cache"))
    plain = ["bitbake", "all"]
    ways = {"unregulated": (plain, ""), "bitbake's threshold": (plain, 'BB_PRESSURE_MAX_CPU = "200000"'),
            "jobgate": ([OPTIONS.jobgate, "run", "-j", CORES, "--", *plain], "")}
    peaks = {name: [] for name in ways}

    def arm(name):
        def build():
            command, lines = ways[name]
            place = folder(name.replace(" ", "-").replace("'", ""), lines)
            shutil.rmtree(place / "tmp", ignore_errors=True)
            (place / "log").unlink(missing_ok=True)
            ENVIRONMENT["BBPATH"] = str(place)
            cost = run(["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", place, *command])
            peaks[name].append(peak(place / "log"))
            return cost
        return build

    costs = in_turns({name: arm(name) for name in ways}, OPTIONS.pairs)
    ratio_row("bitbake", costs, "jobgate", "unregulated", f"{CORES} cpus, BB_NUMBER_THREADS=4, -j4", "wall", 1.03)
    ratio_row("bitbake", costs, "bitbake's threshold", "unregulated", "the same", "wall")
    for name, seen in peaks.items():
        row("bitbake", f"jobs at once, {name}", seen[1:], CORES if name == "jobgate" else None, "", 0, max)


def peak(log):
    running = most = 0
    for line in log.read_text().splitlines():
        running += 1 if line.startswith("S") else -1
        most = max(most, running)
    return most


def attach():
    """A task's way through its handler, with the gate open: a lease, an endpoint, and the variables."""
    ENVIRONMENT.update(XDG_DATA_HOME=str(OPTIONS.scratch / "data"), XDG_CACHE_HOME=str(OPTIONS.scratch / "cache"))
    seen = []
    with server(CORES):
        for turn in range(31):
            task = spawn(["sleep", "60"])
            began = time.perf_counter()
            subprocess.run([OPTIONS.jobgate, "attach", "--pid", str(task)], env=ENVIRONMENT, check=True,
                           stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=60)
            if turn:
                seen.append(1000 * (time.perf_counter() - began))
            stop(task)
    note(f"attach {statistics.median(seen):.2f} ms")
    row("attach", "`jobgate attach`, gate open", seen, 20, " ms", 2)
