"""The gate of `scripts/soak`: a server that its clients start, or one in the foreground that is restarted when it dies.

Does what the machine around jobgate does: systemd, somebody who changes the limit, a cleaner of temporary folders.
"""

import os
import signal
import socket

from bench_kit import ENVIRONMENT, OPTIONS, NULL, spawn
from soak_events import words

ASK_AGAIN = 0.7  # seconds after which a limit that isn't in force is asked for again


class Gate:
    """One that its clients start."""

    is_service = False

    def __init__(self, soak, folder):
        self.soak, self.folder, self.path = soak, folder, folder / "socket"
        folder.mkdir(mode=0o700)
        ENVIRONMENT["JOBGATE_SOCKET"] = str(self.path)
        self.wanted, self.asked = None, 0.0
        self.disturbances = []   # (from, until): its server was killed, stopped or without its socket
        self.away = []           # [from, until, the server that was killed]: seen not to be there

    def servers(self):
        """Those that run, by their command lines: whoever starts one, it becomes our child."""
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            pids = map(int, file.read().split())
        return [pid for pid in pids if {"serve", str(self.path)} <= set(words(pid))]

    def server(self):
        return min(self.servers(), default=None)

    def pass_time(self, now):
        if self.wanted is not None and now - self.asked > ASK_AGAIN:
            self.ask(now)

    def set_jobs(self, jobs):
        if self.wanted is not None:
            return None  # the last one isn't in force yet
        self.wanted = jobs
        now = self.soak.now()
        if jobs > self.soak.limit.now():
            self.soak.limit.set(jobs, now)
        self.ask(now)
        return f"the limit becomes {jobs}"

    def ask(self, now):
        self.asked = now
        self.soak.expect(spawn([OPTIONS.jobgate, "set", f"jobs={self.wanted}"]))

    def saw(self, sample):
        """It is there, with these settings."""
        for absence in self.away:
            if absence[1] is None and sample.asked > absence[0] and sample.view["pid"] != absence[2]:
                absence[1] = sample.told
        if self.wanted == sample.view["jobs"] and sample.asked > self.asked:
            if self.wanted < self.soak.limit.now():
                self.soak.limit.set(self.wanted, sample.told)
            self.wanted = None

    def disturb(self, until):
        self.disturbances.append((self.soak.now(), until))

    def was_disturbed(self, start, end, around=2.0):
        return any(first < end + around and last > start - around for first, last in self.disturbances)

    def goes_away(self, seconds, killed=None):
        """Its server is killed, or stopped, now; for so long, or as long as it takes on a busy machine."""
        now = self.soak.now()
        self.away.append([now, None, killed])
        self.disturb(now + seconds)

    def was_away(self, start, end, seconds):
        """For so long at least, at some time between the two."""
        return any(first < end and (last or end) > start and (last or end) - first > seconds for first, last, _ in self.away)

    def is_there(self, now):
        """A build may begin."""
        return True

    def lose_socket(self, now):
        self.disturb(now)
        try:
            self.path.unlink()
        except FileNotFoundError:
            return None
        return "the socket was removed"

    def end(self):
        """What has no clients any more is gone within a second."""
        until = self.soak.now() + 1.5
        self.soak.wait_for(lambda: not self.servers() or self.soak.now() > until)
        return [f"the server {pid} is still there" for pid in self.servers()]


class Service(Gate):
    """One in the foreground, which we restart. `activated`: as systemd's socket unit has it, by our own socket, so that
    clients wait in the backlog meanwhile; else in a folder in which they can't start one themselves."""

    is_service = True

    def __init__(self, soak, folder, activated):
        super().__init__(soak, folder)
        self.config = folder / "jobgate.toml"
        self.listener, self.pid, self.due = None, None, 0.0
        self.write(OPTIONS.most)
        if activated:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(self.path))
            self.listener.listen(128)
        else:
            folder.chmod(0o770)
        self.start()

    def write(self, jobs):
        new = self.folder / "new"
        new.write_text(f"jobs = {jobs}\n")
        new.rename(self.config)

    def start(self):
        words = [OPTIONS.jobgate, "serve", "--config", self.config]
        if self.listener:
            fd = self.listener.fileno()
            script = f"LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&{fd} {fd}<&-"
            words = ["sh", "-c", script if fd != 3 else script.replace(" 3<&3 3<&-", ""), "sh", *words]
            os.set_inheritable(fd, True)
        self.pid = spawn(words, err=self.folder / "said")
        if self.listener:
            os.set_inheritable(self.listener.fileno(), False)
        self.soak.expect(self.pid, self.ended)

    def ended(self, status):
        self.pid = None

    def server(self):
        return self.pid

    def servers(self):
        return [self.pid] if self.pid else []

    def pass_time(self, now):
        if self.pid is None and now >= self.due:
            self.start()
        super().pass_time(now)

    def ask(self, now):
        self.asked = now
        self.write(self.wanted)
        # Before it has taken its signals in hand, one would end it.
        if self.pid and self.is_there(now):
            os.kill(self.pid, signal.SIGHUP)

    def goes_away(self, seconds, killed=None):
        super().goes_away(seconds, killed)
        self.due = self.soak.now() + seconds

    def is_there(self, now):
        return not any(first <= now < last + 1 for first, last in self.disturbances[-5:])

    def lose_socket(self, now):
        return None

    def end(self):
        self.due = float("inf")
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
        until = self.soak.now() + 2
        self.soak.wait_for(lambda: not self.pid or self.soak.now() > until)
        said = (self.folder / "said").read_text().strip()
        if self.listener:
            self.listener.close()
            self.path.unlink()
        return ([f"the server {self.pid} doesn't end"] if self.pid else []) + ([f"the server said: {said}"] if said else [])
