"""A cgroup for one run, of version 1 or 2, whichever there is: its pressure, a memory limit, and nothing left of it.

Doesn't know what runs in it, nor jobgate.
"""

import os
import re
import signal
import time
from contextlib import contextmanager
from pathlib import Path

from bench_kit import Broken, Skip, note

NAME = "jobgate-bench-"
ENTER = 'for group in $0; do echo 0 >"$group/cgroup.procs" || exit 125; done; exec "$@"'


class Group:
    """Folders, one in each hierarchy in question."""

    def __init__(self):
        self.folders, self.memory = [], None

    def enter(self, argv):
        """The command, started in it."""
        return ["sh", "-c", ENTER, " ".join(map(str, self.folders)), *argv] if self.folders else argv

    def killed(self):
        """How many processes were killed because its memory was used up."""
        for name in ("memory.events", "memory.oom_control"):
            found = re.search(r"^oom_kill (\d+)", text(self.memory / name), re.M)
            if found:
                return int(found[1])
        raise Broken(f"{self.memory} doesn't say how many it has killed")

    def add(self, parent):
        """A new folder below that one; those of killed runs go."""
        for old in parent.glob(f"{NAME}*"):
            if not Path(f"/proc/{old.name[len(NAME):]}").exists():
                try:
                    old.rmdir()
                except OSError as why:
                    note(f"of an earlier run: {why}")
        folder = parent / f"{NAME}{os.getpid()}"
        try:
            folder.mkdir()
        except OSError as why:
            raise Skip(f"no cgroup can be made: {why}") from None
        self.folders.append(folder)
        return folder

    def remove(self, patience=5):
        """All that is still in it was started in it."""
        until = time.monotonic() + patience
        while self.folders:
            folder = self.folders[-1]
            for pid in text(folder / "cgroup.procs").split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                folder.rmdir()
            except OSError as why:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                note(f"left behind: {why}")
            self.folders.pop()


@contextmanager
def cgroup(memory=None):
    """Up to the end of the block. `memory`: bytes; without that only its pressure counts.

    Where that can't be had it is a Skip: nothing that eats memory may run outside.
    """
    group = Group()
    try:
        unified, first = own_folder(""), own_folder("memory")
        if not unified and not (memory and first):
            raise Skip("no memory cgroups here" if memory else "no cgroups of version 2 here: others have no pressure files")
        if unified:
            # What others have set up isn't changed: only below some may a child have a memory limit.
            needed = "memory" if memory and not first else ""
            fit = (at for at in unified if not needed or needed in text(at / "cgroup.subtree_control").split())
            parent = next(fit, None)
            if not parent:
                raise Skip("no cgroup of version 2 here lets its children have a memory limit")
            group.add(parent)
        if memory:
            group.memory = group.add(first[0]) if first else group.folders[0]
            bound(group.memory, memory)
        yield group
    finally:
        group.remove()


def bound(folder, memory):
    """Sets the limit, and sees that it is set: without swap, so that it can't be evaded."""
    is_first = (folder / "memory.limit_in_bytes").exists()
    limit = folder / ("memory.limit_in_bytes" if is_first else "memory.max")
    put(limit, memory)
    swap = folder / ("memory.swappiness" if is_first else "memory.swap.max")
    if swap.exists():
        put(swap, 0)
    if text(limit).strip() != str(memory):
        raise Skip(f"the memory limit of a cgroup can't be set: {text(limit).strip()} instead of {memory}")


def put(file, value):
    try:
        file.write_text(f"{value}\n")
    except OSError as why:
        raise Skip(f"no limit for a cgroup: {why}") from None


def text(file):
    try:
        return file.read_text()
    except OSError:
        return ""


def own_folder(controller):
    """Our own cgroup's folder and those above it, up to the mount; `""`: of version 2's hierarchy. None: no such."""
    ours = re.search(rf"^\d+:(?:[^:]*,)?{controller}(?:,[^:]*)?:(/.*)$" if controller else r"^0::(/.*)$",
                     text(Path("/proc/self/cgroup")), re.M)
    for line in text(Path("/proc/self/mountinfo")).splitlines():
        fields, _, rest = line.partition(" - ")
        root, point = fields.split()[3:5]
        kind, _, options = rest.split(" ", 2)
        wanted = kind == "cgroup" and controller in options.split(",") if controller else kind == "cgroup2"
        if ours and wanted:
            below = os.path.relpath(ours[1], root)
            top = Path(point)
            folder = top if below.startswith("..") else top / below
            return [folder, *(at for at in folder.parents if at.is_relative_to(top))]
    return None
