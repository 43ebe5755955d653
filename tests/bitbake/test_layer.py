"""The layer's share in tasks: which ones wait, what they ask for, what they are told, and that none fails because of it.

Doesn't know bitbake's worker: the event that it sends in a task's process is sent here.
"""

import ast
import io
import json
import os
import sys
import unittest
import unittest.mock

from kit import HELD, LAYER, POOL, BuildTest, bb, layer

COMPILE = "do_compile () {\n    oe_runmake\n}\n"


class Which(BuildTest):
    # (task, what its recipe says of it, whether it waits)
    ROWS = [
        ("do_compile", "", True),
        ("do_compile_setscene", "", False),
        ("do_package_setscene", 'JOBGATE_TASKS = "*"', False),
        ("do_fetch", "", False),
        ("do_build", "", False),
        ("do_image_ext4", "", True),
        ("do_imagewic", "", False),
        ("do_compile_ptest_base", "", True),
        ("do_compile_ptest", "", False),
        ("do_compile", 'JOBGATE_TASKS = ""', False),
        ("do_bundle", 'JOBGATE_TASKS = "do_bun* do_other"', True),
        ("do_compile", 'JOBGATE_TASKS = "do_bun* do_other"', False),
        ("do_bundle", 'JOBGATE_TASKS:append = " do_bundle"', True),
    ]

    def test_tasks_that_wait(self):
        self.configure()
        for task, said, waits in self.ROWS:
            with self.subTest(task=task, said=said):
                self.fake.forget()
                self.start(task, self.recipe(said + "\n" + COMPILE))
                self.assertEqual(self.fake.argv() is not None, waits)
        self.assertEqual(self.console.said("ERROR"), [])

    def test_events_of_the_class(self):
        d = self.configure()
        masks = {name: d.getVarFlag(name, "eventmask").split() for name in d.getVar("__BBHANDLERS", False)}
        build = ["bb.event.BuildStarted", "bb.event.HeartbeatEvent", "bb.event.BuildCompleted"]
        self.assertEqual(masks, {"jobgate_build": build, "jobgate_task": ["bb.build.TaskStarted"]})
        for name in build + masks["jobgate_task"]:
            module, event = name.rsplit(".", 1)
            self.assertTrue(hasattr(sys.modules[module], event), name)

    def test_a_layer_by_name(self):
        d = self.configure(as_layer=True)
        self.assertEqual(d.getVar("JOBGATE_LAYER"), LAYER)
        # It says for which releases it is.
        self.assertFalse([text for text in self.console.said("WARNING") if "jobgate" in text])
        self.start("do_compile", self.recipe(COMPILE))
        self.assertIsNotNone(self.fake.argv())

    def test_syntax_of_the_oldest_python(self):
        with open(layer.__file__) as file:
            ast.parse(file.read(), feature_version=(3, 8))


class Wanted(BuildTest):
    CAP_1 = (["--cap", "1"], False, False)
    # (task, what its recipe says, (options, in the pool, held))
    ROWS = [
        ("do_compile", "", (["--cap", "4"], True, False)),
        ("do_compile", 'PARALLEL_MAKE = ""', CAP_1),
        ("do_compile", 'PARALLEL_MAKE = " "', CAP_1),
        ("do_compile", 'PARALLEL_MAKE = "-j 16 -l 75"', (["--cap", "16"], True, False)),
        ("do_compile", 'PARALLEL_MAKE = "-l 75 -j16"', (["--cap", "16"], True, False)),
        ("do_compile", 'PARALLEL_MAKE = "--jobs=3"', (["--cap", "3"], True, False)),
        ("do_compile", 'PARALLEL_MAKE = "--jobs 3"', (["--cap", "3"], True, False)),
        ("do_compile", 'PARALLEL_MAKE = "-j"', ([], True, False)),
        ("do_compile", 'PARALLEL_MAKE = "-j0"', (["--cap", "1"], True, False)),
        ("do_compile", 'PARALLEL_MAKE:append = " -j1"', (["--cap", "1"], True, False)),
        ("do_compile", 'PARALLEL_MAKE:task-compile = ""', CAP_1),
        ("do_compile", 'PARALLEL_MAKEINST = ""', (["--cap", "4"], True, False)),
        ("do_install", "", (["--cap", "4"], True, False)),
        ("do_install", 'PARALLEL_MAKE = ""', CAP_1),
        ("do_install", 'PARALLEL_MAKEINST = ""', CAP_1),
        ("do_install", 'PARALLEL_MAKE = ""\nPARALLEL_MAKEINST = "-j2"', (["--cap", "2"], True, False)),
        ("do_install_ptest_base", 'PARALLEL_MAKEINST = "-j2"', (["--cap", "2"], True, False)),
        ("do_install_ptest_base", 'PTEST_PARALLEL_MAKEINST = ""', CAP_1),
        ("do_compile_ptest_base", 'PTEST_PARALLEL_MAKE = ""', CAP_1),
        ("do_compile_ptest_base", 'PTEST_PARALLEL_MAKE = "-j2"', (["--cap", "2"], True, False)),
        ("do_compile_ptest_base", "", (["--cap", "4"], True, False)),
        ("do_compile", 'PTEST_PARALLEL_MAKE = ""', (["--cap", "4"], True, False)),
        ("do_configure", "", ([], False, False)),
        ("do_package", 'PARALLEL_MAKE = ""', ([], False, False)),
        ("do_compile", 'inherit held\nJOBGATE_HELD_CLASSES = "go held"', (["-n", "1-4"], False, True)),
        ("do_compile", 'inherit held\nJOBGATE_HELD_CLASSES = "go eld"', (["--cap", "4"], True, False)),
        ("do_compile", 'JOBGATE_HELD_CLASSES = "go held"', (["--cap", "4"], True, False)),
        ("do_compile", 'inherit held\nJOBGATE_HELD_CLASSES = "held"\nPARALLEL_MAKE = ""', CAP_1),
        ("do_compile", 'inherit held\nJOBGATE_HELD_CLASSES = "held"\nPARALLEL_MAKE = "-j"', ([], True, False)),
        ("do_configure", 'inherit held\nJOBGATE_HELD_CLASSES = "held"', ([], False, False)),
    ]

    def test_by_what_recipes_say(self):
        self.configure()
        for task, said, expected in self.ROWS:
            with self.subTest(task=task, said=said):
                d = self.recipe(said + "\n" + COMPILE)
                # bitbake names the task in a task's own datastore.
                d.setVar("OVERRIDES", "task-%s" % task[3:].replace("_", "-"))
                wants = layer.wanted(task, d)
                self.assertEqual((wants.options, wants.in_pool, wants.held), expected)

    def test_the_default_for_installing(self):
        """`??=` counts only where nobody has said anything."""
        d = bb.data.init()
        d.setVar("JOBGATE_PARALLEL_TASKS", "do_install")
        d.setVar("PARALLEL_MAKE", "-j8")
        self.assertEqual(layer.wanted("do_install", d).options, ["--cap", "8"])
        d.setVarFlag("PARALLEL_MAKEINST", "_defaultval", "-j5")
        self.assertEqual(layer.wanted("do_install", d).options, ["--cap", "5"])


class Told(BuildTest):
    def script(self, d, task="do_compile"):
        """The lines before a task's script that are about its environment."""
        text = io.StringIO()
        bb.data.emit_func(task, text, d)
        return dict(line[7:].split("=", 1) for line in text.getvalue().splitlines() if line.startswith("export "))

    def test_a_task_in_the_pool(self):
        self.configure()
        d = self.recipe(COMPILE)
        self.start("do_compile", d)
        exported = self.script(d)
        for name in ("MAKEFLAGS", "CARGO_MAKEFLAGS", "JOBGATE_SOCKET", "JOBGATE_AUTH", "JOBGATE_TREE"):
            self.assertEqual(exported[name], '"%s"' % POOL[name])
            self.assertEqual(os.environ[name], POOL[name])
        self.assertEqual(exported["PATH"], '"/shims:/task/bin:/usr/bin:/bin"')
        for name in ("JOBGATE_SHIMS", "JOBGATE_ATTACHED", "JOBGATE_TOKENS"):
            self.assertNotIn(name, exported)
        for name in ("PARALLEL_MAKE", "PARALLEL_MAKEINST", "PTEST_PARALLEL_MAKE", "PTEST_PARALLEL_MAKEINST"):
            self.assertEqual(d.getVar(name), "")

    def test_a_task_that_must_be_serial(self):
        self.configure()
        d = self.recipe('PARALLEL_MAKE = ""\n' + COMPILE)
        self.start("do_compile", d)
        exported = self.script(d)
        self.assertNotIn("MAKEFLAGS", exported)
        self.assertNotIn("CARGO_MAKEFLAGS", exported)
        self.assertEqual(exported["PATH"], '"/shims:/task/bin:/usr/bin:/bin"')
        self.assertEqual(exported["JOBGATE_TREE"], '"/run/tree"')

    def test_a_task_whose_tool_takes_a_number(self):
        self.configure()
        self.fake.answer(HELD)
        d = self.recipe('inherit held\nJOBGATE_HELD_CLASSES = "held"\n' + COMPILE)
        self.start("do_compile", d)
        exported = self.script(d)
        self.assertEqual((d.getVar("PARALLEL_MAKE"), d.getVar("PARALLEL_MAKEINST")), ("-j 3", "-j 3"))
        self.assertEqual((exported["JOBGATE_INSIDE"], exported["JOBGATE_TREE"]), ('"1"', '""'))
        self.assertNotIn("JOBGATE_TOKENS", exported)
        self.assertNotIn("MAKEFLAGS", exported)

    def test_a_task_that_had_no_number(self):
        """do_configure may ask for PARALLEL_MAKE, as cmake's does: it stays as it was."""
        self.configure()
        d = self.recipe(COMPILE)
        self.start("do_configure", d)
        self.assertEqual(d.getVar("PARALLEL_MAKE"), "-j4")
        self.assertNotIn("MAKEFLAGS", self.script(d))

    def test_what_is_null_is_not_told(self):
        self.configure()
        self.fake.answer(dict(POOL, JOBGATE_INSIDE=None))
        d = self.recipe(COMPILE)
        self.start("do_compile", d)
        self.assertEqual((d.getVar("JOBGATE_INSIDE"), d.getVar("MAKEFLAGS")), (None, POOL["MAKEFLAGS"]))

    def test_each_wait_is_written_down(self):
        self.configure()
        d = self.recipe(COMPILE)
        path = d.getVar("JOBGATE_JOURNAL")
        self.assertTrue(path.endswith("/buildstats/jobgate.log"), path)
        self.start("do_compile", d)
        self.start("do_fetch", self.recipe(COMPILE))
        with open(path) as journal:
            entry, = map(json.loads, journal)
        self.assertTrue(entry["task"].endswith(":do_compile") and 0 <= entry["waited_s"] < 60, entry)
        d = self.recipe('JOBGATE_JOURNAL = "/dev/null/nowhere"\n' + COMPILE)
        self.start("do_compile", d)
        self.assertEqual(d.getVar("MAKEFLAGS"), POOL["MAKEFLAGS"], "a journal that can't be had stops nothing")

    def test_hashes_stay(self):
        """Neither the class, nor what it is told, has a part in what a task is."""
        def hashes(settings="", **how):
            self.configure(settings=settings, **how)
            names = ("held", "serial", "number", "install", "ninja")
            return [self.recipe(name=name + ".bb").getVar("__siggen_basehashes") for name in names]

        plain = hashes(with_layer=False)
        self.assertTrue(all(len(row) == 4 for row in plain))
        self.assertEqual(hashes(), plain)
        self.assertEqual(hashes('JOBGATE_TASKS = "*"\nJOBGATE_HELD_CLASSES = "held"\nJOBGATE_HOLD = "all"\n'), plain)
        self.assertEqual(hashes(as_layer=True), plain)
        self.assertEqual(hashes(env={"JOBGATE_LENDER": "7", "MAKEFLAGS": "-j"}), plain)
        # They are such as would notice.
        self.assertNotEqual(hashes('PARALLEL_MAKE = "-j5"\n'), plain)


class Asked(BuildTest):
    ORIGINAL = {
        "MAKEFLAGS": "-j --jobserver-auth=3,4", "GNUMAKEFLAGS": "-k", "CARGO_MAKEFLAGS": "-j", "JOBGATE_AUTH": "fifo:/f",
        "JOBGATE_TREE": "/t", "JOBGATE_INSIDE": "1", "JOBGATE_PRIVATE": "1", "LD_PRELOAD": "libnone.so",
        "JOBGATE_SOCKET": "/run/mine", "XDG_RUNTIME_DIR": "/run/user/7", "LANG": "C", "ODD": "${LANG} ${PN} `x`",
    }

    def test_the_environment_of_the_one_who_called_bitbake(self):
        self.configure(env=self.ORIGINAL)
        os.environ["LD_PRELOAD"] = ""
        os.environ["TASKS_OWN"] = "1"
        self.start("do_compile", self.recipe(COMPILE))
        env = self.fake.env()
        kept = {name: self.ORIGINAL[name] for name in ("JOBGATE_SOCKET", "XDG_RUNTIME_DIR", "LANG", "ODD")}
        # The shell adds PWD, and more.
        own = {name: value for name, value in env.items() if name not in ("PWD", "OLDPWD", "SHLVL", "_")}
        self.assertEqual(own, dict(kept, HOME=self.folder, PATH="/task/bin:/usr/bin:/bin", PSEUDO_UNLOAD="1"))

    def test_whom_it_is_for(self):
        self.configure()
        self.start("do_compile", self.recipe(COMPILE, name="thing.bb"))
        self.assertEqual(self.fake.argv(), ["attach", "--pid", str(os.getpid()), "--label", "thing-1:do_compile", "--cap", "4"])

    def test_the_lender_is_the_tasks(self):
        d = self.configure(env={"JOBGATE_LENDER": "77"})
        self.start("do_compile", self.recipe(COMPILE))
        self.assertEqual(self.fake.argv()[-2:], ["--lender", "77"])
        self.begin_build(d)
        self.assertEqual(self.fake.argv()[3], "--build")
        self.assertNotIn("--lender", self.fake.argv())

    def test_which_program(self):
        other = self.make_folder("other") + "/jobgate"
        os.symlink(self.fake.path, other)
        self.configure(env={"JOBGATE_PROGRAM": other, "PATH": "/nowhere"})
        for settings, expected in (("", other), ('JOBGATE_PROGRAM = "%s"\n' % self.fake.path, self.fake.path)):
            d = self.recipe(settings + COMPILE)
            with unittest.mock.patch.object(layer.subprocess, "run", side_effect=OSError("enough")) as run:
                self.start("do_compile", d)
            self.assertEqual(run.call_args[0][0][0], expected)


class Failing(BuildTest):
    # (what jobgate says, to stderr, how it ends, what is warned of)
    ROWS = [
        ("", "jobgate: no shared gate to be had (none)\n", 1, "no shared gate to be had (none)"),
        ("", "", 3, "ended with 3"),
        ("", "", 0, "/jobgate: Expecting value"),
        ("garbage", "", 0, "Expecting value"),
        (b"\xff\xfe", "", 0, "codec can't decode"),
        ("[" * 100000, "", 0, "RecursionError"),
        ([], "", 0, "no answer of jobgate's"),
        (7, "", 0, "no answer of jobgate's"),
        ({}, "", 0, "no answer of jobgate's"),
        (dict(POOL, JOBGATE_ATTACHED=7), "", 0, "no answer of jobgate's"),
        (dict(POOL, MAKEFLAGS=["-j"]), "", 0, "no answer of jobgate's"),
        (dict(POOL, MAKEFLAGS=None), "", 0, "it names no pool"),
        (HELD, "", 0, "it names no pool"),
    ]

    def after(self, expected, d, text=COMPILE):
        """The task is as without us, after one warning."""
        said = len(self.console.said("WARNING"))
        layer.shutil.rmtree(layer.warnings(d), ignore_errors=True)
        d = self.recipe(text)
        self.start("do_compile", d)
        self.start("do_install", d)
        self.assertEqual((d.getVar("PARALLEL_MAKE"), d.getVar("MAKEFLAGS")), ("-j4", None))
        self.assertEqual(d.getVar("PATH"), "/task/bin:/usr/bin:/bin")
        new = self.console.said("WARNING")[said:]
        self.assertEqual(len(new), 1, new)
        self.assertIn(expected, new[0])
        self.assertIn("the build goes on without the gate", new[0])
        self.assertEqual(self.console.said("ERROR"), [])

    def test_answers_of_no_use(self):
        d = self.configure()
        for stdout, stderr, status, expected in self.ROWS:
            with self.subTest(stdout=str(stdout)[:40], status=status):
                self.fake.answer(stdout, stderr, status)
                self.after(expected, d)

    def test_a_number_that_is_none(self):
        d = self.configure()
        for tokens in (None, "", "many"):
            self.fake.answer(dict(HELD, JOBGATE_TOKENS=tokens))
            self.after("it doesn't say how many", d, 'inherit held\nJOBGATE_HELD_CLASSES = "held"\n' + COMPILE)

    def test_no_program(self):
        rows = (({"PATH": "/nowhere"}, "jobgate isn't on PATH"), ({"JOBGATE_PROGRAM": "/nowhere/it"}, "No such file"))
        for env, expected in rows:
            self.after(expected, self.configure(env=env))

    def test_a_variable_that_cannot_be_had(self):
        self.configure()
        d = self.recipe('JOBGATE_TASKS = "${@nothing.of.the.kind}"\n' + COMPILE)
        self.start("do_compile", d)
        self.assertEqual(len([text for text in self.console.said("WARNING") if "ExpansionError" in text]), 1)

    def test_no_layer_any_more(self):
        self.configure(settings='JOBGATE_LAYER:forcevariable = "/nowhere"\nOVERRIDES = "forcevariable"\n')
        with unittest.mock.patch.dict(sys.modules), unittest.mock.patch.object(sys, "path", []):
            del sys.modules["jobgate_bitbake"]
            self.start("do_compile", self.recipe(COMPILE))
        self.assertEqual(len([text for text in self.console.said() if "No module named" in text]), 1)

    def test_one_warning_however_many_processes_warn(self):
        self.configure(env={"PATH": "/nowhere"})
        d = self.recipe(COMPILE)
        waiting, go = os.pipe()
        here, arrived = os.pipe()
        makedirs = os.makedirs

        def all_at_once(*args, **options):
            """Whatever was looked at before this, nobody has made the folder yet."""
            os.write(arrived, b".")
            os.read(waiting, 1)
            makedirs(*args, **options)

        children = []
        for _ in range(16):
            child = os.fork()
            if child == 0:
                os.close(go)
                try:
                    with unittest.mock.patch.object(layer.os, "makedirs", all_at_once):
                        self.start("do_compile", d)
                finally:
                    os._exit(0)
            children.append(child)
        for _ in children:
            os.read(here, 1)
        for one in (go, waiting, here, arrived):
            os.close(one)
        self.assertEqual([os.waitpid(child, 0)[1] for child in children], [0] * 16)
        self.assertEqual(len([text for text in self.console.said("WARNING") if "isn't on PATH" in text]), 1)


if __name__ == "__main__":
    unittest.main()
