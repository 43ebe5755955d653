"""The layer's share in a build as a whole: the thresholds that it hands to the gate, what it says of the gate, and its end.

Doesn't know bitbake's server: the events that it sends are sent here, and the time of a heartbeat is a number.
"""

import itertools
import os
import subprocess
import time
import unittest
import unittest.mock

from kit import BuildTest, Gate, bb, layer

CPU, IO, MEMORY = ("BB_PRESSURE_MAX_" + name for name in ("CPU", "IO", "MEMORY"))
LOAD = "BB_LOADFACTOR_MAX"


class Thresholds(BuildTest):
    # (the configuration, what the gate is asked for)
    ROWS = [
        ({}, []),
        ({CPU: "15000"}, ["--max-cpu", "15000", "--hold", "starts"]),
        ({CPU: ""}, []),
        ({IO: "1", MEMORY: "2.5"}, ["--max-io", "1", "--max-memory", "2.5", "--hold", "starts"]),
        ({CPU: "1", "JOBGATE_HOLD": "all"}, ["--max-cpu", "1", "--hold", "all"]),
        ({CPU: "1", "JOBGATE_HOLD": ""}, ["--max-cpu", "1", "--hold", "starts"]),
        ({"JOBGATE_HOLD": "all"}, []),
        ({"JOBGATE_PRESSURE_MAX_CPU": "9"}, ["--max-cpu", "9", "--hold", "starts"]),
        ({"BB_HEARTBEAT_EVENT": "0.5"}, ["--heartbeat", "0.5"]),
        ({CPU: "1", LOAD: "2", "BB_HEARTBEAT_EVENT": "60"}, ["--max-cpu", "1", "--hold", "starts", "--heartbeat", "60"]),
    ]

    def configured(self, variables):
        return self.configure(settings="".join('%s = "%s"\n' % pair for pair in variables.items()))

    def watched(self, d):
        return [d.getVar(name) or "" for name in (CPU, IO, MEMORY, LOAD)]

    def test_what_is_handed_on(self):
        for variables, expected in self.ROWS:
            with self.subTest(variables=variables):
                d = self.configured(variables)
                self.begin_build(d, ["one:do_build", "two:do_compile"])
                argv = self.fake.argv()
                self.assertEqual(argv[1:6], ["--pid", str(os.getpid()), "--build", "--label", "bitbake one two:do_compile"])
                self.assertEqual(argv[6:], expected)
                self.assertEqual(self.watched(d)[:3], ["", "", ""])
                self.assertEqual(d.getVar("BB_HEARTBEAT_EVENT"), variables.get("BB_HEARTBEAT_EVENT"))
                self.finish_build(d)

    def finish_build(self, d):
        with unittest.mock.patch.object(layer.os, "kill"):
            self.end_build(d)

    def test_thresholds_come_back_without_a_gate_and_go_again(self):
        said = {CPU: "15000", MEMORY: "7", LOAD: "1.5"}
        d = self.configured(said)
        for has_gate in (True, False, False, True, True):
            self.fake.answer({"JOBGATE_ATTACHED": "4711", "JOBGATE_SOCKET": "/run/gate"}, status=0 if has_gate else 1)
            self.begin_build(d)
            self.assertEqual(self.watched(d), ["", "", "", ""] if has_gate else ["15000", "", "7", "1.5"])
            self.finish_build(d)

    def test_a_load_alone_stays_with_bitbake(self):
        d = self.configured({LOAD: "1.5"})
        self.begin_build(d)
        self.assertEqual(self.watched(d), ["", "", "", "1.5"])

    def test_many_targets_are_a_short_label(self):
        d = self.configure()
        self.begin_build(d, ["target%d:do_build" % number for number in range(1000)])
        self.assertEqual(len(self.fake.argv()[5]), 200)

    def test_only_the_default_multiconfig_is_a_client(self):
        for name, called in (("other", False), ("default", True), ("", True)):
            d = self.configure().createCopy()
            d.setVar("BB_CURRENT_MC", name)
            self.fake.forget()
            event = bb.event.BuildStarted("a-build", ["all:do_build"])
            layer.on_build(event, d)
            self.assertEqual(self.fake.argv() is not None, called, name)
            layer.Build.attached = None

    def test_answers_of_no_use_leave_all_to_bitbake(self):
        whole = {"JOBGATE_ATTACHED": "4711", "JOBGATE_SOCKET": "/run/gate"}
        rows = ["", "garbage", [], {}] + [dict(whole, JOBGATE_SOCKET=socket) for socket in (None, "", 1)]
        rows.append(dict(whole, JOBGATE_ATTACHED="x"))
        d = self.configured({CPU: "15000"})
        for number, answer in enumerate(rows):
            with self.subTest(answer=answer):
                self.fake.answer(answer)
                self.begin_build(d)
                self.assertEqual((layer.Build.attached, d.getVar(CPU)), (None, "15000"))
                bb.event.fire_class_handlers(bb.event.HeartbeatEvent(0), d)
                # One for each build.
                warned = [text for text in self.console.said("WARNING") if "without the gate" in text]
                self.assertEqual(len(warned), number + 1, warned)
                # Its tasks don't repeat it.
                layer.warn_once(d, "again")
                self.assertEqual(len([text for text in self.console.said("WARNING") if "again" in text]), 0)
        self.assertEqual(self.console.said("ERROR"), [])

    def test_its_end_ends_what_is_attached(self):
        with subprocess.Popen(["sleep", "600"]) as attached:
            try:
                self.fake.answer({"JOBGATE_ATTACHED": str(attached.pid), "JOBGATE_SOCKET": "/run/gate"})
                d = self.configure()
                self.begin_build(d)
                self.end_build(d)
                self.assertEqual(attached.wait(10), -15)
            finally:
                attached.kill()
        with unittest.mock.patch.object(layer.os, "kill") as kill:
            self.end_build(d)
            kill.assert_not_called()
            # What has ended by itself is no error.
            kill.side_effect = ProcessLookupError
            self.begin_build(d)
            self.end_build(d)
            kill.assert_called_once()
        self.assertEqual([text for text in self.console.said("WARNING") if "without the gate" in text], [])
        self.assertEqual(self.console.said("ERROR"), [])

    def test_nothing_is_left_where_it_warned(self):
        self.fake.answer("", status=1)
        d = self.configure()
        self.begin_build(d)
        self.assertTrue(os.path.isdir(layer.warnings(d)))
        self.end_build(d)
        self.assertFalse(os.path.exists(layer.warnings(d)))
        d.setVar("STAMPS_DIR", "/stamps")
        self.assertEqual(layer.warnings(d), "/stamps/jobgate-warned")


class Heartbeat(BuildTest):
    HELD = {"state": "held", "hold": "all", "reasons": [{"resource": "cpu", "rate": 348035.6, "max": 200000.0},
                                                         {"resource": "io", "rate": 2.4, "max": 1.0}]}
    OPENED = "NOTE: jobgate: the gate is open again"

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.folder, "gate")
        self.gate = Gate(self.path)
        self.addCleanup(self.gate.close)
        self.fake.answer({"JOBGATE_ATTACHED": "4711", "JOBGATE_SOCKET": self.path})
        self.d = self.configure()
        self.begin_build(self.d)
        self.assertEqual(layer.Build.socket, self.path)
        # Where time isn't what is tested, a machine that is slow is no matter.
        self.assertEqual(layer.PATIENCE, 0.2)
        self.patience(30)

    def patience(self, seconds):
        patched = unittest.mock.patch.object(layer, "PATIENCE", seconds)
        patched.start()
        self.addCleanup(patched.stop)

    def beat(self, now):
        """One heartbeat of bitbake's at this time; gives what it said, and how long it took."""
        before = len(self.console.said())
        real = time.monotonic
        began = real()
        with unittest.mock.patch.object(layer, "heartbeat", lambda _, beats=layer.heartbeat: beats(now)):
            bb.event.fire_class_handlers(bb.event.HeartbeatEvent(0), self.d)
        took = real() - began
        return self.console.said()[before:], took

    def test_a_line_for_each_change(self):
        def held(seconds):
            return "NOTE: jobgate: the gate is held for %d s: cpu 348036 > 200000 us/s, io 2 > 1 us/s" % seconds
        recovering, opened = {"state": "recovering"}, {"state": "open"}
        # (time, the gate, what is said)
        rows = [
            (0, opened, []), (1, self.HELD, []), (10.9, self.HELD, []), (11, self.HELD, [held(10)]), (12, self.HELD, []),
            (500, self.HELD, []), (501, recovering, []), (502, opened, [self.OPENED]), (503, opened, []),
            # Shorter ones aren't worth a line, nor are several of them one long one.
            (504, self.HELD, []), (513, self.HELD, []), (513.5, opened, []), (514, self.HELD, []), (523, self.HELD, []),
            (526, self.HELD, [held(12)]), (527, opened, [self.OPENED]),
        ]
        for now, gate, expected in rows:
            self.gate.gate = gate
            self.assertEqual(self.beat(now)[0], expected, now)
        # One line for all of them.
        self.assertEqual(self.gate.heard, [{"hello": {"protocol": "1.0", "asks_only": True}}] + ["status"] * len(rows))

    def test_reasons_that_cannot_be_read(self):
        rows = [None, [], 7, [7], [{}], [{"resource": "cpu", "rate": None, "max": 1}], "many"]
        now = 0
        for reasons in rows:
            self.gate.gate = {"state": "held", "reasons": reasons}
            self.assertEqual(self.beat(now)[0], [], reasons)
            self.assertEqual(self.beat(now + 10)[0], ["NOTE: jobgate: the gate is held for 10 s: see jobgate status"], reasons)
            self.gate.gate = {"state": "open"}
            self.assertEqual(self.beat(now + 11)[0], [self.OPENED])
            now += 20

    def close(self, _):
        raise EOFError

    def amid(self, answer):
        """Greets, and only then answers so."""
        return lambda message: answer(message) if message == "status" else self.gate.as_a_gate(message)

    def drip(self, _):
        return (b" " for _ in range(1000))

    def flood(self, _):
        return (self.gate.say({"why": {"why": "x" * 1000}}) for _ in range(1000))

    def torrent(self, _):
        self.gate.pause = 0
        return (b" " * 1000 for _ in itertools.count())

    def late(self, message):
        """Greets when there is hardly any time left, and then says nothing."""
        return None if message == "status" else (b"", b"", b"", self.gate.as_a_gate(message))

    def test_strange_gates_are_passed_over(self):
        def answering(text):
            return lambda _: text
        rows = [
            answering(b"garbage\n"), answering(b"\xff\xfe\n"), answering(b"[]\n"), answering(b"7\n"), answering(b"[" * 60000 + b"\n"),
            answering(self.gate.say({"refused": {"why": "no"}})), answering(b'{"welcome":1}\n{"status":7}\n'),
            answering(self.gate.say({"status": {"gate": []}})), answering(self.gate.say({"status": None})),
            answering(self.gate.say({"status": {"gate": [7]}})), self.close, answering(None), self.drip, self.flood,
            self.torrent, self.late,
        ]
        for number, answers in enumerate(rows + [self.amid(answers) for answers in rows]):
            with self.subTest(number=number):
                self.gate.answers, self.gate.gate, self.gate.pause = self.gate.as_a_gate, self.HELD, 0.05
                self.patience(30)
                self.assertEqual(len(self.beat(100 * number)[0] + self.beat(100 * number + 10)[0]), 1)
                self.gate.answers = answers
                # The line may be kept: what was asked before is not answered anew.
                layer.close_line()
                self.patience(0.2)
                beats = [self.beat(100 * number + 20) for _ in range(2)]
                # It isn't known to be open.
                self.assertEqual([said for said, _ in beats], [[], []])
                # The quicker one: what else runs here may slow one down.
                self.assertLess(min(took for _, took in beats), 0.3)
                self.patience(30)
                # A good one is heard again at once.
                self.gate.answers, self.gate.gate = self.gate.as_a_gate, {"state": "open"}
                self.assertEqual(self.beat(100 * number + 30)[0], [self.OPENED])

    def test_what_else_a_gate_says(self):
        self.gate.gate = self.HELD
        self.gate.answers = lambda message: self.gate.say({"set": {"set": {}}}) + self.gate.as_a_gate(message)
        self.assertEqual((self.beat(0)[0], len(self.beat(10)[0])), ([], 1))

    def test_no_gate_any_more(self):
        os.unlink(self.path)
        self.assertEqual([self.beat(now)[0] for now in (0, 20)], [[], []])

    def test_the_line_ends_with_the_build(self):
        self.beat(0)
        self.assertIsNotNone(layer.Build.line)
        with unittest.mock.patch.object(layer.os, "kill"):
            self.end_build(self.d)
        self.assertIsNone(layer.Build.line)
        heard = len(self.gate.heard)
        self.assertEqual(self.beat(1)[0], [])
        self.assertEqual(len(self.gate.heard), heard)


if __name__ == "__main__":
    unittest.main()
