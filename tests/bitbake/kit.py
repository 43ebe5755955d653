"""What the layer's unit tests share: a build's configuration as bitbake itself reads it, a jobgate that answers as told, and a
gate to be asked for its status.

Doesn't know what any test asserts, nor what the layer makes of it.
"""

import json
import logging
import os
import select
import socket
import sys
import tempfile
import threading
import types
import unittest
import unittest.mock

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
LAYER = os.path.normpath(os.path.join(HERE, "..", "..", "shims", "bitbake-layer"))
sys.path.append(os.path.join(LAYER, "lib"))

# The wheel lacks it; only those who share their hashes need it.
for missing in ("hashserv", "hashserv.client"):
    sys.modules.setdefault(missing, types.ModuleType(missing))

import bb
import bb.build
import bb.cache
import bb.cookerdata
import bb.data
import bb.event
import bb.parse

import jobgate_bitbake as layer

# Records what it was called with, and gives the answer that was laid beside it; nothing in it depends on PATH.
PROGRAM = """#!/bin/sh
for one; do printf '%s\\0' "$one"; done >"$0.argv"
/usr/bin/env -0 >"$0.env"
/bin/cat "$0.stderr" >&2
/bin/cat "$0.stdout"
read status <"$0.status"
exit "$status"
"""

# As `jobgate attach` answers a task that is in the pool.
POOL = {
    "JOBGATE_SOCKET": "/run/gate", "JOBGATE_AUTH": "fifo:/run/f", "JOBGATE_TREE": "/run/tree", "JOBGATE_SHIMS": "/shims",
    "MAKEFLAGS": " -j4 --jobserver-auth=fifo:/run/f", "CARGO_MAKEFLAGS": "-j4 --jobserver-auth=fifo:/run/f", "JOBGATE_ATTACHED": "4711",
}

# ... and one that holds what it was leased.
HELD = {
    "JOBGATE_SOCKET": "/run/gate", "JOBGATE_INSIDE": "1", "JOBGATE_TREE": "", "JOBGATE_TOKENS": "3", "JOBGATE_SHIMS": "/shims",
    "JOBGATE_ATTACHED": "4711",
}


class Fake:
    """The jobgate on a caller's PATH."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "jobgate")
        self.answer(POOL)
        with open(self.path, "w") as file:
            file.write(PROGRAM)
        os.chmod(self.path, 0o755)

    def answer(self, stdout, stderr="", status=0):
        text = stdout if isinstance(stdout, (bytes, str)) else json.dumps(stdout)
        for name, content in (("stdout", text), ("stderr", stderr), ("status", "%d\n" % status)):
            with open(self.path + "." + name, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())

    def _recorded(self, name):
        try:
            with open(self.path + "." + name) as file:
                return file.read().split("\0")[:-1]
        except FileNotFoundError:
            return None

    def argv(self):
        """Of its last call; None: there was none."""
        return self._recorded("argv")

    def env(self):
        return dict(pair.split("=", 1) for pair in self._recorded("env"))

    def forget(self):
        for name in ("argv", "env"):
            if os.path.exists(self.path + "." + name):
                os.unlink(self.path + "." + name)


class Gate:
    """Listens as a gate does. `answers` gives what a line is answered with: bytes, pieces of them, or None; it raises to
    close the line."""

    def __init__(self, path):
        self.answers = self.as_a_gate
        self.gate = {"state": "open"}
        self.heard = []
        # Between two pieces of an answer.
        self.pause = 0.05
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def as_a_gate(self, message):
        if message == "status":
            return self.say({"status": {"version": "1", "gate": self.gate}})
        return self.say({"welcome": {"protocol": "1.0", "id": 1}})

    @staticmethod
    def say(message):
        return json.dumps(message).encode() + b"\n"

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            try:
                for line in lines:
                    message = json.loads(line.decode())
                    self.heard.append(message)
                    self._answer(connection, self.answers(message))
            except (OSError, EOFError):
                pass

    def _answer(self, connection, answer):
        """What isn't bytes comes in pieces, each some time after the other."""
        if isinstance(answer, (bytes, type(None))):
            connection.sendall(answer or b"")
            return
        for number, piece in enumerate(answer):
            if number and select.select([connection], [], [], self.pause)[0]:
                raise EOFError
            connection.sendall(piece)

    def close(self):
        self.listener.close()


class Console(logging.Handler):
    """What bitbake was given to say: (level, text), from all of its processes."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        open(path, "w").close()

    def emit(self, record):
        with open(self.path, "a") as file:
            file.write(json.dumps([record.levelname, record.getMessage()]) + "\n")

    def said(self, level=None):
        with open(self.path) as file:
            lines = [json.loads(line) for line in file]
        return [text for name, text in lines if level in (None, name)]


class BuildTest(unittest.TestCase):
    """A build of the small project, configured anew by each test that doesn't change it for others."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.fake = Fake(self.make_folder("bin"))
        self.console = Console(os.path.join(self.folder, "console"))
        logging.getLogger("BitBake").addHandler(self.console)
        self.addCleanup(logging.getLogger("BitBake").removeHandler, self.console)
        # Nothing of the caller's; and what the layer puts there is gone after the test.
        patched = unittest.mock.patch.dict(os.environ, {"PATH": "/usr/bin:/bin", "HOME": self.folder}, clear=True)
        patched.start()
        self.addCleanup(patched.stop)
        for name in ("attached", "socket", "line", "held_since"):
            setattr(layer.Build, name, None)
        layer.Build.said = False
        self.addCleanup(layer.close_line)

    def make_folder(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def configure(self, with_layer=True, env=(), settings="", as_layer=False):
        """What bitbake makes of the project's configuration, and of ours: by BBPOSTCONF, as `jobgate run` does, or as a layer."""
        env = dict({"PATH": os.path.dirname(self.fake.path) + ":/usr/bin:/bin", "HOME": self.folder}, **dict(env))
        with open(os.path.join(HERE, "conf", "bblayers.conf")) as file:
            layers = file.read().replace("${PROJECT}", HERE)
        if as_layer:
            self.write("core/conf/layer.conf", 'LAYERSERIES_CORENAMES = "scarthgap"\n')
            layers += 'BBLAYERS += "%s %s"\n' % (os.path.join(self.folder, "core"), LAYER)
        self.write("build/conf/bblayers.conf", layers + 'PROJECT = "%s"\n' % HERE)
        self.write("build/conf/test.conf", 'PATH = "/task/bin:/usr/bin:/bin"\nLOG = "/log"\n' + settings)
        how = bb.cookerdata.CookerConfiguration()
        how.env = env
        if with_layer and not as_layer:
            with open(os.path.join(LAYER, "conf", "jobgate.conf")) as file:
                how.postfile = [self.write("jobgate.conf", file.read().replace("@LAYER@", LAYER))]
        old = os.getcwd()
        os.chdir(os.path.join(self.folder, "build"))
        try:
            self.builder = bb.cookerdata.CookerDataBuilder(how)
            self.builder.parseBaseConfiguration()
        finally:
            os.chdir(old)
        return self.builder.data

    def recipe(self, text="", name="some.bb"):
        """A recipe's datastore, as a task has it; of one of the project's where there is no text."""
        path = self.write("recipes/" + name, text) if text else os.path.join(HERE, "recipes", name)
        return self.builder.parseRecipe(path, [], "tests")

    def start(self, task, d):
        """As bitbake does in the task's process before its script."""
        bb.event.fire_class_handlers(bb.build.TaskStarted(task, d.getVar("FILE"), "log", {}, d), d)

    def begin_build(self, d, targets=("all:do_build",)):
        bb.event.fire_class_handlers(bb.event.BuildStarted("a-build", list(targets)), d)

    def end_build(self, d):
        bb.event.fire_class_handlers(bb.event.BuildCompleted(1, "a-build", ["all:do_build"], 0, 0), d)
