"""One run watched from outside: how many jobs ran at once, cpu pressure, how busy others kept the machine, the gate's limit.

Knows /proc, the log of scripts/job.c, and of jobgate how its socket is asked for the limit. Doesn't know what is compared.
"""

import json
import os
import resource
import select
import shutil
import signal
import socket
import statistics
import time
from collections import deque, namedtuple
from contextlib import contextmanager
from pathlib import Path

from bench_kit import CORES, ENVIRONMENT, OPTIONS, RESIDENT, Broken, Skip, reap_orphans, spawn, tool, wait

STEP = 0.05      # seconds between two looks at the limit, which reads no counter of the kernel
SECOND = 1.0     # between two looks at pressure: read often it vanishes, for everybody (scale: jiffies since the last read)
REPLACED = 0.1   # seconds: a job that starts so soon after another's end stands in its place
SETTLED = 1.0    # seconds from the first start on in which the number of jobs may still grow


# ---- Jobs ------------------------------------------------------------------------------------


class Jobs:
    """What the log says: how many jobs ran when, and how each ended."""

    def __init__(self, path):
        running, marks = {}, []
        self.lengths, self.statuses = [], []  # (start, end) and status of each
        for line in path.read_text().splitlines() if path.exists() else ():
            kind, at, pid, *status = line.split()
            at = float(at)
            marks.append((at, 1 if kind == "S" else -1))
            if kind == "S":
                running[pid] = at
            else:
                self.lengths.append((running.pop(pid), at))
                self.statuses += map(int, status)
        if not self.lengths or running:
            raise Broken(f"{len(running)} jobs started and never ended, {len(self.lengths)} did")
        marks.sort()
        self.first = marks[0][0]
        self.last = max(at for at, change in marks if change > 0)  # while there was something to start
        self.steps = steps(marks)

    def peak(self):
        return max(jobs for _, jobs in self.steps)

    def spans(self, since, until):
        """(seconds, jobs) of each stretch."""
        ends = [at for at, _ in self.steps[1:]] + [until]
        for (begin, jobs), end in zip(self.steps, ends):
            seconds = min(end, until) - max(begin, since)
            if seconds > 0:
                yield seconds, jobs

    def mean_and_sd(self, since=None):
        """Over time, from when the build has got going until nothing was left to start."""
        spans = list(self.spans(self.first + SETTLED if since is None else since, self.last))
        whole = sum(seconds for seconds, _ in spans)
        if not whole:
            raise Broken("the build was over before it got going")
        mean = sum(seconds * jobs for seconds, jobs in spans) / whole
        return mean, (sum(seconds * (jobs - mean) ** 2 for seconds, jobs in spans) / whole) ** 0.5

    def at(self, when):
        return next((jobs for at, jobs in reversed(self.steps) if at <= when), 0)

    def until(self, since, is_there):
        """Seconds from `since` until the number of jobs was so, None where it never was."""
        if is_there(self.at(since)):
            return 0.0
        return next((at - since for at, jobs in self.steps if at > since and is_there(jobs)), None)

    def length(self, when):
        """Of those that ran then, in seconds: the mean; None: none did."""
        then = [end - start for start, end in self.lengths if start <= when < end]
        return statistics.mean(then) if then else None


def steps(marks):
    """[(time, jobs)], a job that is replaced at once left out: starting the next one takes its time, and isn't a smaller number."""
    ended, kept = deque(), []
    for at, change in marks:
        while ended and at - ended[0] > REPLACED:
            kept.append((ended.popleft(), -1))
        if change < 0:
            ended.append(at)
        elif ended:
            ended.popleft()
        else:
            kept.append((at, 1))
    jobs, found = 0, []
    for at, change in sorted(kept + [(at, -1) for at in ended]):
        jobs += change
        found.append((at, jobs))
    return found


# ---- The machine -----------------------------------------------------------------------------


class Machine:
    """Counters from here on: who kept the cpus busy."""

    def __init__(self):
        self.began, self.was = time.monotonic(), (busy(), own(), kernel())

    def outside(self, now, at):
        """Share of all usable cpus' time that others took, until `at`, when busy() said `now`. What the kernel's own threads
        did isn't theirs: mostly they write what was written here."""
        threads = sum(seconds - self.was[2].get(thread, 0) for thread, seconds in kernel().items())
        others = now - self.was[0] - (own() - self.was[1]) - threads
        return max(0.0, others / CORES / (at - self.began))


def busy():
    """Seconds that usable cpus weren't idle, waiting for io counted as idle; what the hypervisor took is somebody else's."""
    usable = {f"cpu{n}" for n in os.sched_getaffinity(0)}
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    return sum(int(line[i]) for line in lines if line[0] in usable for i in (1, 2, 3, 6, 7, 8)) / os.sysconf("SC_CLK_TCK")


def own():
    """Seconds of ours, and of all that was started here and has ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def kernel():
    """{(pid, start): seconds} of the kernel's threads, which come and go; they are children of the one with pid 2."""
    threads = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # has ended since it was listed
        if fields[1] == "2":
            ticks = int(fields[11]) + int(fields[12])
            threads[stat.parent.name, fields[19]] = ticks / os.sysconf("SC_CLK_TCK")
    return threads


class Pressure:
    """Share of each second in which something waited for a cpu, by the counter, as the averages are minutes old."""

    def __init__(self):
        try:
            self.file = open("/proc/pressure/cpu", "rb", buffering=0)
            self.last = time.monotonic(), self.total()
        except OSError as why:
            raise Skip(f"no pressure files: {why}") from None
        self.seconds = []

    def total(self):
        some = os.pread(self.file.fileno(), 256, 0).split(b"\n")[0]
        return int(some.rpartition(b"total=")[2]) / 1e6

    def look(self, shortest=0.5):
        """Since the last look; what is shorter than that says little."""
        now, total = time.monotonic(), self.total()
        (before, was), self.last = self.last, (now, total)
        if now - before >= shortest:
            self.seconds.append(min(1.0, (total - was) / (now - before)))


class Limit:
    """The gate's limit, asked for at its socket; [(time, limit)] of each change."""

    def __init__(self):
        self.line = self.answers = None
        self.changes = []

    def look(self):
        try:
            if not self.line:
                self.line = socket.socket(socket.AF_UNIX)
                self.line.settimeout(2)
                self.line.connect(ENVIRONMENT["JOBGATE_SOCKET"])
                self.line.sendall(b'{"hello":{"protocol":"1.0","asks_only":true}}\n')
                self.answers = self.line.makefile("rb")
            self.line.sendall(b'"status"\n')
            while True:
                said = self.answers.readline()
                answer = json.loads(said) if said else None
                if not said or "status" in answer:
                    break
        except OSError:
            said = b""
        if not said:  # no server yet, or none any more
            self.close()
            return
        limit = answer["status"]["limit"]
        if not self.changes or self.changes[-1][1] != limit:
            self.changes.append((time.monotonic(), limit))

    def at(self, when):
        return next((limit for at, limit in reversed(self.changes) if at <= when), None)

    def cut(self, since):
        """Seconds from `since` until it was lower than then; None: never."""
        then = self.at(since)
        return next((at - since for at, limit in self.changes if at > since and then and limit < then), None)

    def close(self):
        """Both, or the server would still see a client."""
        for end in (self.answers, self.line):
            if end:
                end.close()
        self.line = self.answers = None


# ---- A run -----------------------------------------------------------------------------------

# `pressure`: of each second; `outside`: share of the cpus that others took; `came`, `went`: when spinners did, if any did;
# `killed`: processes, for want of memory in the cgroup.
Seen = namedtuple("Seen", "wall cpu outside pressure jobs limit came went killed")


class Visitors:
    """Others that keep cpus busy: so many, from so many seconds on, for so many (None: to the end)."""

    def __init__(self, count, since=0.0, seconds=None, nice=0):
        self.argv = ["nice", "-n", nice, tool("job"), "-", "spin"]
        self.count, self.since, self.until = count, since, since + seconds if seconds else float("inf")
        self.began, self.came, self.went, self.pids = time.monotonic(), None, None, []

    def look(self):
        passed = time.monotonic() - self.began
        if self.came is None and passed >= self.since:
            self.came = time.monotonic()
            for _ in range(self.count):
                self.pids.append(spawn(self.argv))
                RESIDENT.add(self.pids[-1])
        elif self.pids and passed >= self.until:
            self.leave()

    def leave(self):
        if self.pids:
            self.went = time.monotonic()
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            RESIDENT.discard(pid)
        self.pids = []


def log():
    """Where jobs say when they start and end."""
    return OPTIONS.scratch / "stamps"


def out():
    """Where builds put what they make: empty when a run starts."""
    return OPTIONS.scratch / "out"


def watch(*argvs, group=None, visitors=None, ask=False, timeout=600):
    """Runs one command, or several at once, to the end of the last. `ask`: the gate's limit, too."""
    files = [(OPTIONS.scratch / f"stdout-{i}", OPTIONS.scratch / f"stderr-{i}") for i in range(len(argvs))]
    with nothing_remembered():
        machine, pressure, limit = Machine(), Pressure(), Limit()
        guests = Visitors(*visitors) if visitors else Visitors(0, float("inf"))
        looks = {pressure.look: SECOND, guests.look: STEP, **({limit.look: STEP} if ask else {})}
        left, ends, began = {}, [], time.monotonic()
        try:
            for argv, file in zip(argvs, files):
                pid = spawn(group.enter(argv) if group else argv, *file)
                left[os.pidfd_open(pid)] = pid
            follow(left, ends, looks, timeout)
            ended, busy_then = time.monotonic(), busy()
            pressure.look()
        finally:
            for fd, pid in left.items():
                os.close(fd)
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            guests.leave()
            limit.close()
            pressure.file.close()
        cpu = sum(used for _, used in ends) + reap_orphans()
    if any(status for status, _ in ends):
        said = " / ".join(err.read_text(errors="replace").strip()[-300:] for _, err in files)
        raise Broken(f"{' '.join(map(str, argvs[0]))}: {said}")
    return Seen(ended - began, cpu, machine.outside(busy_then, ended), pressure.seconds, Jobs(log()), limit, guests.came,
                guests.went, group.killed() if group and group.memory else 0)


@contextmanager
def nothing_remembered():
    """Neither what an earlier run has made, nor what the gate may have learnt from it."""
    log().unlink(missing_ok=True)
    homes = {name: str(OPTIONS.scratch / "homes" / name) for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")}
    for folder in (out(), OPTIONS.scratch / "homes"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (out(), *map(Path, homes.values())):
        folder.mkdir(parents=True)
    before = {name: ENVIRONMENT.get(name) for name in homes}
    ENVIRONMENT.update(homes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del ENVIRONMENT[name]
            else:
                ENVIRONMENT[name] = value


def follow(left, ends, looks, timeout):
    """Until none is left, looking about at the intervals that `looks` says."""
    began = time.monotonic()
    due = {look: began + step for look, step in looks.items()}
    while left:
        for look, at in due.items():
            now = time.monotonic()
            if at <= now:
                look()
                due[look] = max(at + looks[look], now)  # late once, no catching up
        patience = max(0.0, min(due.values()) - time.monotonic())
        for fd in select.select(list(left), [], [], patience)[0]:
            ends.append(wait(left[fd], 5))
            del left[fd]
            os.close(fd)
        if time.monotonic() - began > timeout:
            raise Broken(f"not over after {timeout:.0f} s")
