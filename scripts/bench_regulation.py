"""Cases of `scripts/bench` about the limit: what each law makes of a build, counted from outside, beside what is demanded of
the adaptive one.

Where it is about cpus the jobs are real compilers; what eats memory runs in a memory cgroup or not at all. Knows the command
line only: bench_laws.py has the laws and their rounds, bench_watch.py how a run is watched.
"""

import math
import os
import re
import shlex
import statistics
import time
from pathlib import Path

from bench_cgroups import cgroup
from bench_kit import CORES, OPTIONS, ROOT, Broken, Skip, newer_make, note, row, system_make
from bench_laws import (ADAPTIVE, MANY, OWN, OWN_LOAD, OWN_MANY, STATIC, adaptive, clean_row, in_rounds, over, own_pool,
                        ratio, static, steadiness, threshold)
from bench_sources import jobs, project
from bench_watch import log, out

BEAT = 1.0
FIFO = "adaptive, fifo"
FILES = 17
MIB = 1 << 20


def build(make, makefile, to=""):
    """The command that builds it all, each job with its lines in the log."""
    return [make, "-f", makefile, f"LOG={log()}", f"OUT={out()}/{to}"]


def with_fifo(arms, makefile):
    """The adaptive law once more, where make takes a fifo: from that a job's token may be taken again before anybody sees it."""
    try:
        return {**arms, FIFO: [adaptive(build(newer_make(), makefile))]}
    except Skip as why:
        note(f"no row with a fifo: {why}")
        return arms


def those_of(seen, *names):
    """[(name, [(run,), ...])] of those that ran."""
    return [(name, [(run,) for run in seen[name]]) for name in names if name in seen]


# ---- Cpus ------------------------------------------------------------------------------------


def cpu():
    """A build and nothing else: what there is to lose."""
    case, makefile = "regulation-cpu", project("cpu", 6 if OPTIONS.quick else FILES, max(1, CORES // 2))
    command = build(system_make(), makefile)
    arms = {OWN: [own_pool(CORES, command)], ADAPTIVE: [adaptive(command)], STATIC: [static(CORES, command)],
            OWN_MANY: [own_pool(MANY, command)], OWN_LOAD: [own_pool(MANY, command, f"-l{CORES}")],
            "bitbake's rule 15000": [threshold(15_000, command)],
            "bitbake's rule 200000": [threshold(200_000, command)]}
    seen = in_rounds(case, with_fifo(arms, makefile))
    for name in seen:
        if name != OWN:
            ratio(case, seen, name, OWN, 1.03 if name in (ADAPTIVE, FIFO) else None, steadiness)
    for name, runs in those_of(seen, ADAPTIVE, FIFO):
        clean_row(case, f"{name}: seconds with P > .30", runs, over, 10, " %", digits=1)
        clean_row(case, f"{name}: most jobs at once", runs, lambda s: s.jobs.peak(), CORES + 1, digits=0, judged=max)
        clean_row(case, f"{name}: sd of J", runs, lambda s: s.jobs.mean_and_sd()[1], 0.25)


SPINNERS = CORES
COME, STAY = 5.0, 5.0   # seconds
# A spinner each keeps a cpu busy; one job always runs.
TARGET = max(1, math.floor(1.15 * CORES - SPINNERS + 0.5))


def spinners():
    """Others come and go amid a long build."""
    case, makefile = "regulation-spinners", project("spinners", FILES, CORES)
    command = build(system_make(), makefile)
    arms = {STATIC: [static(CORES, command)], ADAPTIVE: [adaptive(command)],
            OWN_LOAD: [own_pool(MANY, command, f"-l{CORES}")],
            "bitbake's rule 15000": [threshold(15_000, command)],
            "bitbake's rule 200000": [threshold(200_000, command)]}
    seen = in_rounds(case, with_fifo(arms, makefile), visitors=(SPINNERS, COME, STAY), ask=True)
    for run in sum(seen.values(), []):
        if run.went is None or run.jobs.last < run.went + 2 * BEAT:
            raise Broken("a build was over before the spinners had been gone for two beats")
    for name in seen:
        if name != STATIC:
            ratio(case, seen, name, STATIC, tell=reactions)
    for name, runs in those_of(seen, ADAPTIVE, FIFO):
        clean_row(case, f"{name}: from {SPINNERS} spinners' start to a lower limit", runs, cut, BEAT, " s")
        lengths = statistics.median(length(run) for run, in runs)
        took = statistics.median(down(run) for run, in runs)
        clean_row(case, f"{name}: from their start to J = {TARGET}, less 1.5 jobs ({took:.2f} s, jobs of {lengths:.2f} s)",
                  runs, lambda s: down(s) - 1.5 * length(s), BEAT, " s")
        clean_row(case, f"{name}: from their end to J = {CORES}", runs, up, 2 * BEAT, " s")


def cut(seen):
    """Seconds until the limit fell; all the time they stayed where it didn't."""
    return seen.went - seen.came if seen.limit.cut(seen.came) is None else seen.limit.cut(seen.came)


def down(seen):
    """Seconds until few enough ran; likewise."""
    took = seen.jobs.until(seen.came, lambda jobs: jobs <= TARGET)
    return seen.went - seen.came if took is None else min(took, seen.went - seen.came)


def up(seen):
    """Seconds until each cpu had a job again; until nothing was left to start where it never had."""
    took = seen.jobs.until(seen.went, lambda jobs: jobs >= CORES)
    return seen.jobs.last - seen.went if took is None else took


def length(seen):
    return seen.jobs.length(seen.came) or 0


def reactions(seen):
    """In words."""
    downs, ups = (statistics.median(map(of, seen)) for of in (down, up))
    never = sum(down(s) >= s.went - s.came for s in seen)
    told = f" ({never} of {len(seen)} times not at all)" if never else ""
    peak = max(s.jobs.peak() for s in seen)
    return f"J = {TARGET} after {downs:.2f} s{told}, J = {CORES} again after {ups:.2f} s, peak J {peak}"


def nice():
    """Beside a load that yields: no reason to yield to it."""
    case, makefile = "regulation-nice", project("nice", 6 if OPTIONS.quick else FILES, max(1, CORES // 2))
    command = build(system_make(), makefile)
    arms = {STATIC: [static(CORES, command)], ADAPTIVE: [adaptive(command)], OWN: [own_pool(CORES, command)]}
    scoped, around = "adaptive, cgroup's pressure", cgroup
    try:
        with cgroup():
            pass
        arms[scoped] = [adaptive(command, scope="cgroup")]
    except Skip as why:
        scoped, around = ADAPTIVE, None
        note(f"the host's pressure only: {why}")
    seen = in_rounds(case, arms, around=around, visitors=(CORES, 0.0, None, 19))
    for name in seen:
        if name != STATIC:
            ratio(case, seen, name, STATIC, 1.15 if name == scoped else None, steadiness)


def three():
    """Three makes started at once share the cpus as one would have them."""
    case, makefile = "regulation-three", project("three", 3 if OPTIONS.quick else 6, max(1, CORES // 2))
    each = [build(system_make(), makefile, to) for to in "abc"]
    sequence, at_once, shared = f"{OWN} one after the other", f"three {OWN} at once", "static pool, shared"
    arms = {sequence: [["sh", "-c", " && ".join(shlex.join(map(str, own_pool(CORES, command))) for command in each)]],
            ADAPTIVE: [adaptive(command) for command in each], shared: [static(CORES, command) for command in each],
            at_once: [own_pool(CORES, command) for command in each]}
    seen = in_rounds(case, arms)
    for name in seen:
        if name != sequence:
            ratio(case, seen, name, sequence, tell=steadiness)
    for name, runs in those_of(seen, ADAPTIVE):
        clean_row(case, f"{name}: mean J while there is something to start", runs, lambda s: s.jobs.mean_and_sd()[0],
                  CORES + 0.1)


# ---- Disks -----------------------------------------------------------------------------------


def sync():
    """Jobs that wait for the disk: more of them than cpus get more done."""
    case, took = "regulation-sync", sync_time()
    if took < 50e-6:
        raise Skip(f"fsync costs nothing in {OPTIONS.scratch}")
    times = math.ceil((0.5 if OPTIONS.quick else 1) / took)
    note(f"{case}: {1000 * took:.2f} ms for a block on the disk, {times} of them a job")
    command = build(system_make(), jobs("sync", 12 * CORES, f"sync $(OUT){{n}} {times}"))
    bitbakes = "bitbake's rule 15000 on cpu and io"
    arms = {STATIC: [static(CORES, command)], ADAPTIVE: [adaptive(command)], OWN_MANY: [own_pool(MANY, command)],
            bitbakes: [threshold(15_000, command, ("cpu", "io"))]}
    seen = in_rounds(case, arms)
    for name in seen:
        if name != STATIC:
            ratio(case, seen, name, STATIC, 1.1 if name == ADAPTIVE else None, most_jobs)
    if ADAPTIVE in seen and bitbakes in seen:
        ratio(case, seen, ADAPTIVE, bitbakes, 0.75)


def sync_time(times=30):
    """Seconds until a small block is on the disk, alone."""
    seen = []
    with open(OPTIONS.scratch / "block", "wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(16 * 1024))
            os.fsync(file.fileno())
            seen.append(time.perf_counter() - began)
    return statistics.median(seen)


def most_jobs(seen):
    return f"peak J {max(s.jobs.peak() for s in seen)}, mean {statistics.median(mean_jobs(s) for s in seen):.1f}"


def mean_jobs(seen):
    return seen.jobs.mean_and_sd(seen.jobs.first)[0]


# ---- Memory ----------------------------------------------------------------------------------


def limited(bytes_):
    """Makes a cgroup of so much memory for each run; a Skip where the machine itself would be short of it."""
    available = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
    if not available or int(available[1]) << 10 < 2 * bytes_:
        raise Skip(f"less than {2 * bytes_ // MIB} MiB of memory are available")
    return lambda: cgroup(memory=bytes_)


HUNGRY, SIZE, ROOM = 16, 300, 1200   # jobs, MiB of each, MiB for all


def memory():
    """Jobs that grow to more than there is when too many run."""
    case, around = "regulation-memory", limited(ROOM * MIB)
    command = build(system_make(), jobs("memory", HUNGRY, f"memory {SIZE} 1500"))
    pools = {f"{STATIC} -j{count}": count for count in (ROOM // SIZE - 1, ROOM // SIZE, MANY)}
    arms = {**{name: [static(count, command)] for name, count in pools.items()}, ADAPTIVE: [adaptive(command)],
            "bitbake's rule 15000 on memory": [threshold(15_000, command, ("memory",))], OWN_MANY: [own_pool(MANY, command)]}
    seen = in_rounds(case, arms, around=around)
    for name, runs in seen.items():
        # Who was killed in a job's place counts, too.
        killed = sum(max(s.killed, sum(status == 128 + 9 for status in s.jobs.statuses)) for s in runs)
        row(case, f"{name}: killed of {HUNGRY * len(runs)} jobs of {SIZE} MB in {ROOM} MB ({most_jobs(runs)})", [killed],
            0 if name == ADAPTIVE else None, digits=0)
    safe = [name for name in pools if name in seen and not any(s.killed for s in seen[name])]
    if not safe:
        note(f"{case}: no static pool was safe")
    elif ADAPTIVE in seen:
        ratio(case, seen, ADAPTIVE, max(safe, key=pools.get), 1.15)


PAGES, PASSES = 40, 24   # MiB of each file, and how often a job reads them


def thrash():
    """Jobs whose files fit into memory when few run; when many do, each pushes out what the others need."""
    case, fit = "regulation-thrash", max(2, CORES)
    around = limited((fit * PAGES + PAGES) * MIB)
    files = [OPTIONS.scratch / f"pages-{n}" for n in range(6 * fit)]
    for file in files:
        with open(file, "wb") as pages:
            for _ in range(PAGES):
                pages.write(os.urandom(MIB))
            pages.flush()
            os.fsync(pages.fileno())

    def forget():
        """Else they would be in memory that isn't the cgroup's."""
        for file in files:
            with open(file, "rb") as pages:
                os.posix_fadvise(pages.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    passes = PASSES // 4 if OPTIONS.quick else PASSES
    command = build(system_make(), jobs("thrash", len(files), f"read {OPTIONS.scratch}/pages-{{n}} {passes}"))
    pools = {f"{STATIC} -j{count}": [static(count, command)] for count in (max(1, fit // 2), fit, fit + 1)}
    try:
        seen = in_rounds(case, {**pools, ADAPTIVE: [adaptive(command)], f"{STATIC} -j{MANY}": [static(MANY, command)],
                                "bitbake's rule 15000 on memory": [threshold(15_000, command, ("memory",))]},
                         around=around, before=forget)
    finally:
        for file in files:
            file.unlink()
    ran = [name for name in pools if name in seen]
    if ran:
        best = min(ran, key=lambda name: statistics.median(s.wall for s in seen[name]))
        for name in seen:
            if name != best:
                ratio(case, seen, name, best, 1.5 if name == ADAPTIVE else None, most_jobs)


# ---- More cpus than there are ----------------------------------------------------------------


PLANT_LINE = re.compile(r"^(.+?)  +(\d+)  adaptive +([\d.]+) +(\d+) +([\d.]+) +([\d.]+|-) +([\d.]+|-)$", re.M)
WHEN_QUIET = ("time beside a static pool", 1.02, ""), ("seconds with P > .30", 5, " %"), ("sd of J over cpus", 0.15, "")
WHEN_VISITED = ("from others' coming to as few jobs as fit", 3, " s"), ("from their going to full use", 2, " s")


def plant():
    """Numbers of cpus that this machine hasn't: what tests/plant.rs finds on a simulated one, a table that it keeps true."""
    case, table = "regulation-plant", ROOT / "tests" / "plant.table"
    if not table.exists():
        raise Skip("no tests/plant.table")
    found = [(name.strip(), int(cpus), *figures) for name, cpus, *figures in PLANT_LINE.findall(table.read_text())]
    for cpus in (2, 8, 64):
        quiet = [figures for name, n, *figures in found if n == cpus and name.startswith("quiet")]
        visited = [figures[3:] for name, n, *figures in found if n == cpus and name == "visitors, jobs of 1 s"]
        if not quiet or not visited:
            raise Broken(f"{table} has no rows for {cpus} cpus")
        for column, (what, demand, unit) in enumerate(WHEN_QUIET):
            values = [float(figures[column]) for figures in quiet]
            row(case, f"{cpus} simulated cpus: {what}, jobs of .2 to 30 s", values, demand, unit, 2, judged=max)
        for column, (what, demand, unit) in enumerate(WHEN_VISITED):
            values = [float(figures[column]) for figures in visited]
            row(case, f"{cpus} simulated cpus: {what}, jobs of 1 s", values, demand, unit, 1)


CASES = {f"regulation-{case.__name__}": case for case in (cpu, spinners, sync, memory, thrash, nice, three, plant)}
