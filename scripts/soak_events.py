"""What `scripts/soak` does to builds and to their gate: whom it hits, by what, and when.

Each event is drawn from the seed and its number; whom it finds there is the moment's. Judges nothing, but notes on each build
what was done to it.
"""

import os
import random
import re
import signal
from collections import namedtuple

from bench_kit import OPTIONS

SIGNALS = {signal.SIGKILL: 8, signal.SIGTERM: 5, signal.SIGINT: 4, signal.SIGHUP: 3}
BETWEEN = 0.35           # seconds between two events, on average
SHORT, LONG = 0.05, 2.0  # seconds of a standstill, ...
LONG_SERVER = 1.2        # ... of the server's: it is to answer within 2
LEAST = 3                # the lowest limit

# Whom they are for, and how often; what isn't there is passed over.
VICTIMS = {"job": 14, "tool": 12, "command": 8, "run": 10, "proxy": 10, "background": 5, "witness": 4, "group": 6}
STOPPED = {"run": 4, "command": 3, "proxy": 3, "background": 2, "job": 2, "group": 3, "tool": 2, "witness": 1}
KINDS = {"kill": 60, "stop": 14, "limit": 7, "server-kill": 9, "server-stop": 5, "socket": 2}

# When one of these is gone, or told to end, what is left of its build has no regulator; likewise while it is stopped.
REGULATORS = {"run", "command", "background", "group"}

Process = namedtuple("Process", "pid parent name")
Hit = namedtuple("Hit", "at signal role")


def processes():
    """All there are, by pid, and the children of each."""
    found, children = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                head, _, tail = file.read().rpartition(")")
        except OSError:
            continue
        state, parent = tail.split()[:2]
        if state in "ZX":
            continue
        process = Process(int(pid), int(parent), head.partition("(")[2])
        found[process.pid] = process
        children.setdefault(process.parent, []).append(process.pid)
    return found, children


def words(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def program(pid):
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)")
    except OSError:
        return ""


def below(pid, children):
    """It and its descendants."""
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], ())
    return found


class Tree:
    """The processes of one build, by their roles."""

    def __init__(self, build, everybody, children):
        self.roles = {"group": [build.pid]}
        own = below(build.pid, children)
        # What serves from the background has no parent of the build's.
        for pid in children.get(os.getpid(), ()):
            line = words(pid) if pid != build.pid else ()
            if build.name in line and {"env", "attach"} & set(line[1:2]):
                own += below(pid, children)
        for pid in own:
            if pid in everybody:
                self.roles.setdefault(self.role(everybody[pid], everybody), []).append(pid)

    @staticmethod
    def role(process, everybody):
        exe = program(process.pid)
        if process.name == "jg-witness":
            return "witness"
        if exe == OPTIONS.jobgate.name:
            return "background" if {"env", "attach"} & set(words(process.pid)[1:2]) else "run"
        if exe == ".jobgate":
            return "proxy"
        if exe == "soak_job":
            return "job"
        parent = everybody.get(process.parent)
        if parent and program(parent.pid) == OPTIONS.jobgate.name:
            return "command"
        return "tool" if exe in ("make", "ninja", "cargo") else "shell"


class Events:
    """All that happens by chance. `soak`: what it happens to."""

    def __init__(self, soak, seed):
        self.soak, self.seed = soak, seed
        self.number, self.next = 0, 0.0
        self.standing = []       # (when it goes on, how)
        self.killed, self.told = 0, []

    def pass_time(self, now):
        for due, go_on in [entry for entry in self.standing if entry[0] <= now]:
            self.standing.remove((due, go_on))
            go_on()
        if now < self.next or not self.soak.goes_on(now):
            return
        rng = random.Random(f"{self.seed}/event/{self.number}")
        self.number += 1
        self.next = now + rng.expovariate(1 / BETWEEN)
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        if kind in OPTIONS.without:
            return
        said = getattr(self, kind.replace("-", "_"))(rng, now)
        if said:
            self.told.append(f"{now:.2f}: {said}")

    def end(self):
        for _, go_on in self.standing:
            go_on()
        self.standing = []

    def is_disturbed(self, now):
        """Something stands still: it can't answer the gate."""
        return bool(self.standing)

    # ---- One event each; what was done, in words

    def pick(self, rng, roles):
        """(build, role, pid) of somebody there. Chance is spent alike, whatever is there."""
        role = rng.choices(list(roles), list(roles.values()))[0]
        where, who = rng.random(), rng.random()
        living = list(self.soak.living.values())
        first = int(where * len(living))
        everybody, children = processes()
        for build in living[first:] + living[:first]:
            pids = sorted(Tree(build, everybody, children).roles.get(role, ()))
            if pids:
                return build, role, pids[int(who * len(pids))]
        return None

    def kill(self, rng, now):
        which = rng.choices(list(SIGNALS), list(SIGNALS.values()))[0]
        picked = self.pick(rng, VICTIMS)
        if not picked:
            return None
        build, role, pid = picked
        if role == "witness":
            which = signal.SIGKILL  # it hears nothing else
        self.killed += 1
        self.note(build, role, which, self.soak.now())
        self.send(role, pid, which)
        return f"{which.name} to the {role} {pid} of {build.name} ({build.kind})"

    def note(self, build, role, which, now):
        """What becomes of the build's figures. The witness's death changes nothing."""
        if role == "witness":
            return
        build.hits.append(Hit(now, which, role))
        if role in REGULATORS or build.kind == "inner" or (role == "proxy" and which == signal.SIGKILL):
            build.exempt = build.exempt or now
        if role in ("tool", "proxy"):
            build.cuts.append(now)  # its jobs outlive a tool that is killed

    def stop(self, rng, now):
        seconds = rng.uniform(SHORT, LONG)
        picked = self.pick(rng, STOPPED)
        if not picked:
            return None
        build, role, pid = picked
        now = self.soak.now()
        if role not in ("job", "witness"):
            build.exempt = build.exempt or now
        self.send(role, pid, signal.SIGSTOP)
        self.standing.append((now + seconds, lambda: self.send(role, pid, signal.SIGCONT)))
        build.stops.append((now, seconds, role))
        return f"the {role} {pid} of {build.name} ({build.kind}) stands still for {seconds:.2f} s"

    @staticmethod
    def send(role, pid, which):
        try:
            (os.killpg if role == "group" else os.kill)(pid, which)
        except ProcessLookupError:
            pass

    def limit(self, rng, now):
        return self.soak.gate.set_jobs(rng.randint(LEAST, OPTIONS.most))

    def server_kill(self, rng, now):
        which = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        gap = rng.choice([0.0, 0.1, 0.5, 1.5])
        server = self.soak.gate.server()
        if not server:
            return None
        self.killed += 1
        self.soak.gate.goes_away(gap, killed=server)
        os.kill(server, which)
        return f"{which.name} to the server {server}" + (f", restarted after {gap} s" if self.soak.gate.is_service else "")

    def server_stop(self, rng, now):
        seconds = rng.uniform(SHORT, LONG_SERVER)
        server = self.soak.gate.server()
        if not server:
            return None
        self.soak.gate.goes_away(seconds)
        os.kill(server, signal.SIGSTOP)
        self.standing.append((now + seconds, lambda: self.send("server", server, signal.SIGCONT)))
        return f"the server {server} stands still for {seconds:.2f} s"

    def socket(self, rng, now):
        return self.soak.gate.lose_socket(now)
