"""What `scripts/soak` sees: jobs by their stamps, the ledger by `jobgate status`; and what must hold of both.

Counts from outside: a job runs from its first stamp to its last, or to its process's death. Doesn't know how jobgate works
inside; what its README calls unregulated isn't counted.
"""

import bisect
import os
import select
from collections import namedtuple

# The limit has fallen: what stands in a fifo is had back within this, a job of LONGEST and a busy machine counted in.
FALLING = 3.0
# Two beats, and a second for a machine that is busy.
BEATS = 3.0
# A server that is younger may not have heard all its clients.
YOUNG = 1.5
# From a tool's fork until its job's first stamp.
STARTING = 0.3

Sample = namedtuple("Sample", "asked told view")


class Job:
    """One run of scripts/soak_job.c."""

    def __init__(self, name, pid, start):
        self.name, self.pid, self.start = name, pid, start
        self.build = name.partition(".")[0]
        self.end = None          # of its last stamp, or when it was last seen alive
        self.is_whole = False    # it stamped its end
        self.alive = start
        try:
            self.fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self.fd = None       # over by now; the stamp of its end may be still to be read


class Jobs:
    """All jobs, by the log that they share."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.rest = b""
        self.all, self.running, self.fleeting = [], {}, []
        self.poller, self.by_fd = select.poll(), {}

    def read(self, now):
        """Takes in what has been stamped, and who has died."""
        # In this order: what is dead by now has stamped all that it ever will.
        seen = list(self.running.values())
        dead = [self.by_fd[fd] for fd, _ in self.poller.poll(0)]
        over, self.fleeting = dead + self.fleeting, []
        *lines, self.rest = (self.rest + self.file.read()).split(b"\n")
        for line in lines:
            letter, ns, pid, name = line.decode().split(" ")
            known = self.running.get(int(pid))
            if letter == "S":
                if known:
                    self.finish(known, known.alive, False)
                self.begin(Job(name, int(pid), int(ns) / 1e9))
            elif known:
                self.finish(known, int(ns) / 1e9, True)
        for job in over:
            if job.end is None:
                self.finish(job, job.alive, False)
        # A job that has begun since may be dead as well: it is looked at the next time.
        for job in seen:
            job.alive = now

    def begin(self, job):
        self.all.append(job)
        self.running[job.pid] = job
        if job.fd is None:
            self.fleeting.append(job)
        else:
            self.by_fd[job.fd] = job
            self.poller.register(job.fd, select.POLLIN)

    def finish(self, job, end, is_whole):
        job.end, job.is_whole = end, is_whole
        self.running.pop(job.pid)
        if job.fd is not None:
            del self.by_fd[job.fd]
            self.poller.unregister(job.fd)
            os.close(job.fd)

    def of(self, build):
        return [job for job in self.running.values() if job.build == build.name]

    def close(self):
        for job in list(self.running.values()):
            self.finish(job, job.alive, False)
        self.file.close()


class Limit:
    """The limits that were in force, as they were asked for."""

    def __init__(self, most):
        self.times, self.values = [0.0], [most]

    def set(self, value, moment):
        """A rise counts from when it is asked for, a fall from when it is seen."""
        self.times.append(moment)
        self.values.append(value)

    def now(self):
        return self.values[-1]

    def most(self, start, end):
        """The largest in force between two moments."""
        first = bisect.bisect_right(self.times, start) - 1
        last = bisect.bisect_right(self.times, end)
        return max(self.values[max(first, 0):last])


class Ledger:
    """What `jobgate status` says, sample by sample, against what may be."""

    def __init__(self, limit, find_build, jobs):
        self.limit, self.find_build, self.jobs = limit, find_build, jobs
        self.bounds = []       # (moment, what may be out from then on)
        self.gone = {}         # (server, client): since when its process isn't there
        self.excess = {}       # build: since when more was out than ran, without a break
        self.stuck = None      # since when somebody waits beside room
        self.server, self.overdue = None, 0
        self.lost, self.over = [], []
        self.charges = []      # (moment, tokens by build)

    def take(self, sample, is_disturbed):
        """One more; `is_disturbed`: something is stopped, so that it can't answer the gate."""
        view = sample.view
        if view["pid"] != self.server:
            self.server, self.gone = view["pid"], {}
        is_young = view["uptime_s"] < YOUNG or view["gate"]["state"] == "recovering"
        clients = [(client, self.find_build(client)) for client in view["clients"]]
        self.charges.append((sample.told, charges(clients)))
        self.check_bound(sample, view, clients, is_young)
        self.check_dead(sample, clients)
        if not is_young:
            self.check_settings(sample, view)
            self.check_excess(sample, clients, is_disturbed)
            self.check_waits(sample, view, is_disturbed)

    def may(self, moment):
        """The most that may be out then: the limit, or what was out when it fell and hasn't come back."""
        at = bisect.bisect_right(self.bounds, (moment, float("inf"))) - 1
        bound = self.bounds[at][1] if at >= 0 else 0
        return max(bound, self.limit.most(moment - FALLING, moment))

    def unpaid(self, moment, running):
        """Who has more jobs than tokens, by the samples before and after."""
        at = bisect.bisect_right(self.charges, moment, key=lambda entry: entry[0])
        around = [tokens for _, tokens in self.charges[max(at - 1, 0):at + 1]]
        return [f"{build.name} has {'/'.join(str(tokens.get(build)) for tokens in around)} for {count}"
                for build, count in running.items() if any(tokens.get(build, 0) < count for tokens in around)]

    def check_bound(self, sample, view, clients, is_young):
        charge = sum(c["lease"] + max(c["allotment"], c["held"]) for c, _ in clients if not c["stopped"])
        overdue = sum(c["lease"] for c, _ in clients if c["overdue"])
        # Who has just died may be there for the moment until its connection's end is read.
        counted = [c for c, build in clients if not c["stopped"] and not c["overdue"]
                   and (not build or not build.exempt) and os.path.exists(f"/proc/{c['pid']}")]
        out = sum(c["lease"] + c["held"] for c in counted)
        may = self.may(sample.told)
        if out > may + self.overdue:
            self.over.append(f"{sample.told:.2f}: {out} out of {may} by the ledger: {self.show(view)}")
        if not is_young:
            self.bounds.append((sample.told, min(may, charge - overdue) + overdue))
        self.overdue = overdue

    def check_settings(self, sample, view):
        wanted = self.limit.most(sample.asked - 1, sample.told)
        if view["jobs"] > wanted:
            self.over.append(f"{sample.told:.2f}: the gate has {view['jobs']} jobs, and was told {wanted}")

    def check_dead(self, sample, clients):
        """A client without a process has nothing after two beats."""
        for client, _ in clients:
            key = client["id"]
            if os.path.exists(f"/proc/{client['pid']}"):
                self.gone.pop(key, None)
                continue
            since = self.gone.setdefault(key, sample.told)
            if since is not None and sample.asked - since > BEATS:
                self.gone[key] = None  # said once
                self.lost.append(f"{sample.told:.2f}: a dead client has {client['lease'] + client['held']}: {client}")

    def check_excess(self, sample, clients, is_disturbed):
        """Where each token is a running job's, none is out without one for long."""
        out = {}
        for client, build in clients:
            if build and build.is_exact and not build.hits and not build.exempt:
                out[build] = out.get(build, 0) + client["lease"] + client["held"]
        runs = {build: len(self.jobs.of(build)) for build in out}
        self.excess = {build: since for build, since in self.excess.items() if out.get(build, 0) > runs.get(build, 0)}
        for build, tokens in out.items():
            if tokens > runs[build] and not is_disturbed:
                since = self.excess.setdefault(build, sample.asked)
                if sample.asked - since > BEATS:
                    self.excess[build] = sample.asked
                    self.lost.append(f"{sample.told:.2f}: {build.name} ({build.kind}) has {tokens} for {runs[build]} jobs")

    def check_waits(self, sample, view, is_disturbed):
        """Nobody waits for a lease beside room."""
        waits = any((c["waits_s"] or 0) > BEATS and not c["stopped"] for c in view["clients"])
        if not waits or view["in_use"] >= view["limit"] or is_disturbed:
            self.stuck = None
            return
        if self.stuck is None:
            self.stuck = sample.asked
        if sample.asked - self.stuck > BEATS:
            self.stuck = sample.asked
            self.lost.append(f"{sample.told:.2f}: somebody waits beside room: {self.show(view)}")

    @staticmethod
    def show(view):
        who = [f"{c['label']}:{c['pid']}:{c['lease']}+{c['held']}/{c['allotment']}{'s' * c['stopped']}"
               f"{'o' * c['overdue']}{'b' * c['borrowed']}{'w' * (c['waits_s'] is not None)}" for c in view["clients"]]
        return f"limit {view['limit']}, in use {view['in_use']}, {view['gate']['state']}, up {view['uptime_s']:.1f}: {' '.join(who)}"


def charges(clients):
    """What each build pays for; borrowed tokens are another client's of the same build."""
    found = {}
    for client, build in clients:
        if build:
            found[build] = found.get(build, 0) + client["lease"] + max(client["allotment"], client["held"])
    return found


def regulated_until(job, build):
    """When it ends, or loses the tool that has its token; what that one was just starting is lost as well."""
    end = float("inf") if job.end is None else job.end
    cuts = [cut for cut in build.cuts if job.start - STARTING < cut < end]
    return min([end, *cuts, *([build.exempt] if build.exempt else [])])


def count_at_once(jobs, builds, ledger):
    """Every start of a job against what might be out then: the violations, and the most that ran at once."""
    found, peak = [], 0
    points, own = [], {}
    for job in jobs:
        build = builds.get(job.build)
        if build is None:
            continue
        end = regulated_until(job, build)
        if end <= job.start:
            continue
        if build.is_counted():
            points += [(job.start, 1, build), (end, 0, build)]
        if build.cap:
            own.setdefault(build, []).extend([(job.start, 1), (end, 0)])
    running = {}
    for at, begins, build in sorted(points, key=lambda point: point[:2]):
        running[build] = running.get(build, 0) + (1 if begins else -1)
        total = sum(running.values())
        peak = max(peak, total)
        may = ledger.may(at)
        if begins and total > may:
            who = ", ".join(f"{build.name} ({build.kind}) {count}" for build, count in running.items() if count)
            unpaid = "; ".join(ledger.unpaid(at, {build: count for build, count in running.items() if count}))
            found.append(f"{at:.3f}: {total} of {may} run, {unpaid or 'all paid for'}: {who}")
    for build, marks in own.items():
        count = 0
        for at, begins in sorted(marks):
            count += 1 if begins else -1
            if begins and count > build.cap:
                found.append(f"{at:.3f}: {count} of {build.cap} run in {build.name} ({build.kind})")
    return found, peak
