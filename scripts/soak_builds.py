"""The builds of `scripts/soak`: what is laid out in a folder, the command that builds it, and what is to come of it.

Knows the tools' own languages and jobgate's command line, and nothing of what is done to a build while it runs. Each is
drawn from the seed and its number alone.
"""

import os
import random
from pathlib import Path

from bench_kit import ENVIRONMENT, OPTIONS, TARGET, Skip, newer_make, run, system_make

MOST = 16            # what every run asks for: the gate's own limit where nothing is `set`
SHORTEST, LONGEST = 40, 400   # of a job, in ms


class Build:
    """One build: laid out, and what is known of it afterwards."""

    def __init__(self, number, seed, kind=None):
        self.number, self.name = number, f"b{number}"
        self.rng = random.Random(f"{seed}/build/{number}")
        self.folder = OPTIONS.scratch / "builds" / self.name
        self.folder.mkdir()
        self.kind = kind or self.rng.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]
        self.path = self.rng.choice(OPTIONS.paths)
        self.environment = {"PATH": self.path.variable}
        self.products = {}       # each job's, by the job's name
        self.expected = 0        # its exit status
        self.cap = None          # the most jobs at once that it may have
        self.is_shared = True    # with all others
        self.is_exact = True     # each token out is a job that runs, but for moments
        self.is_outside = False  # it joins a gate only where one runs
        # What happens to it.
        self.pid = self.began = self.ended = self.status = self.said = None
        self.hits, self.stops = [], []
        self.exempt = None       # from then on nobody regulates all of it
        self.cuts = []           # when a tool in it was killed: nobody regulates the jobs that it had
        self.was_client = False  # seen by the gate,
        self.missed = 0          # ... and how often not
        self.command = KINDS[self.kind][0](self)

    def is_counted(self):
        """Its jobs are the gate's."""
        return self.is_shared and (self.was_client or not self.is_outside)

    def show(self):
        hits = ", ".join(f"{hit.signal.name} to the {hit.role} after {hit.at - self.began:.2f} s" for hit in self.hits)
        stops = ", ".join(f"its {role} stopped after {at - self.began:.2f} s" for at, _, role in self.stops)
        words = " ".join(map(str, self.command)).replace(str(self.folder), ".")
        return f"{self.name} ({self.kind}: {words}; began {self.began:.2f}; {'; '.join(filter(None, (hits, stops))) or 'nobody hit it'})"

    # ---- What it is made of

    def job(self, folder, fails=False):
        """(name, command): one that makes the file of its name in its folder."""
        name = f"j{len(self.products)}"
        self.products[f"{self.name}.{name}"] = folder / name
        ms = self.rng.randint(SHORTEST, LONGEST)
        return name, f"{OPTIONS.job} {OPTIONS.log} {self.name}.{name} {ms} {name}{' 3' if fails else ''}"

    def jobs(self, folder, least=2, most=10):
        return [self.job(folder) for _ in range(self.rng.randint(least, most))]

    def makefile(self, folder, jobs, calls=()):
        """`calls`: commands that start another tool."""
        folder.mkdir(exist_ok=True)
        names = [name for name, _ in jobs]
        phony = [f"call{i}" for i in range(len(calls))]
        rules = [f"{name}:\n\t@{command}\n" for name, command in jobs]
        rules += [f"{name}:\n\t{call}\n" for name, call in zip(phony, calls)]
        # Those come first, or they would begin when all else is done.
        text = f"all: {' '.join(phony + names)}\n.PHONY: all {' '.join(phony)}\n" + "".join(rules)
        (folder / "Makefile").write_text(text)

    def ninjafile(self, folder, jobs, calls=()):
        folder.mkdir(exist_ok=True)
        rules = "rule job\n  command = $run\n  description = $out\n"
        both = [(f"call{i}", call) for i, call in enumerate(calls)] + list(jobs)
        (folder / "build.ninja").write_text(
            rules + "".join(f"build {name}: job\n  run = {command}\n" for name, command in both))

    def below(self, tool, name, calls=lambda folder: ()):
        """A folder that this tool builds; the command for it."""
        folder = self.folder / name
        folder.mkdir()
        lay = self.makefile if tool == "make" else self.ninjafile
        lay(folder, self.jobs(folder, 2, 6), calls(folder))
        number = self.rng.choice(["", f" -j{self.rng.randint(2, 9)}", f" -j{self.rng.randint(2, 9)}"])
        return f"{tool} -C {folder}{number}"

    # ---- How it is started

    def gated(self, *command, extra=()):
        """`jobgate run`, with some options."""
        words = [OPTIONS.jobgate, "run", "-j", MOST, "--label", self.name]
        if self.rng.random() < 0.25:
            self.cap = self.rng.randint(1, 6)
            words += ["--cap", self.cap]
        if self.rng.random() < 0.25:
            words += ["--weight", self.rng.randint(2, 4)]
        if command[0] in ("make", "ninja") and self.rng.random() < 0.5:
            # A make before 4.4 dies of a fifo, as it does below make's own.
            fifo = command[0] == "ninja" or self.path.has_new_make
            words += ["--style", self.rng.choice(["pipe", "fifo"]) if fifo else "pipe"]
        return [*words, *extra, "--", *command]

    def script(self, text):
        """A shell script of its own."""
        path = self.folder / "build.sh"
        path.write_text(text)
        return ["sh", path]


def flat_make(build):
    fails = build.rng.random() < 0.15
    jobs = build.jobs(build.folder, 4, 14) + ([build.job(build.folder, True)] if fails else [])
    build.makefile(build.folder, jobs)
    build.expected = 2 if fails else 0
    number = build.rng.randint(2, 20)
    command = build.gated("make", *(["-k"] if fails else []), f"-j{number}")
    build.cap = min(build.cap or number, number)
    return command


def flat_ninja(build):
    fails = build.rng.random() < 0.15
    jobs = build.jobs(build.folder, 4, 14) + ([build.job(build.folder, True)] if fails else [])
    build.ninjafile(build.folder, jobs)
    build.expected = build.path.ninja_failure if fails else 0
    build.is_exact = build.path.ninja_joins
    return build.gated("ninja", "--quiet", *(["-k", "0"] if fails else []))


def nested(build):
    """Tools below make, started in every way."""
    ways = [lambda i: f"+@$(MAKE) -C {build.folder}/s{i}",
            lambda i: f"@make -C s{i} -j{build.rng.randint(2, 9)}",
            lambda i: f"@ninja --quiet -C s{i} -j{build.rng.randint(2, 9)}",
            lambda i: f"@env -i PATH=\"$$PATH\" make -C s{i} -j3",
            lambda i: f"@setsid -w make -C s{i} -j4",
            lambda i: f"@make -C s{i} -j2 & make -C t{i} -j2; r=$$?; wait $$! && exit $$r"]
    calls = []
    for i in range(build.rng.randint(1, 3)):
        call = build.rng.choice(ways)(i)
        for name in (f"s{i}", f"t{i}") if f" t{i} " in call else (f"s{i}",):
            build.below("ninja" if "ninja" in call else "make", name)
        calls.append(call)
    build.makefile(build.folder, build.jobs(build.folder, 1, 6), calls)
    build.is_exact = build.path.ninja_joins
    return build.gated("make", "--no-print-directory")


def ninja_above(build):
    """make below ninja, and perhaps a ninja below that."""
    def calls(folder):
        return ["@" + build.below("ninja", "inner")] if build.rng.random() < 0.5 else []
    call = build.below("make", "middle", calls)
    build.ninjafile(build.folder, build.jobs(build.folder, 1, 6), [call])
    build.is_exact = False
    return build.gated("ninja", "--quiet")


def several(build):
    """A script that starts two at once, then a third."""
    first, second, third = (build.below(tool, f"s{i}") for i, tool in enumerate(("make", "ninja", "make")))
    build.is_exact = False
    return build.gated(*build.script(f"{first} & {second} || r=$?\nwait $! || r=$?\n{third} || r=$?\nexit ${{r:-0}}\n"))


def cargo(build):
    crates = [f"c{build.number}x{i}" for i in range(3)]
    for crate in crates:
        (build.folder / crate / "src").mkdir(parents=True)
        (build.folder / crate / "src/lib.rs").write_text("pub fn f() {}\n")
        (build.folder / crate / "Cargo.toml").write_text(f"[package]\nname = \"{crate}\"\nversion = \"0.0.0\"\n")
        build.products[f"{build.name}.{crate}"] = build.folder / "target/debug" / f"lib{crate}.rlib"
    (build.folder / "Cargo.toml").write_text(f"[workspace]\nresolver = \"2\"\nmembers = {crates}\n".replace("'", '"'))
    wrapper = build.folder / "rustc"
    wrapper.write_text(f"#!/bin/sh\nexec {OPTIONS.job} {OPTIONS.log} {build.name}.${{CARGO_CRATE_NAME:-probe}} -- \"$@\"\n")
    wrapper.chmod(0o755)
    build.environment |= {"RUSTC_WRAPPER": str(wrapper), "CARGO_TARGET_DIR": str(build.folder / "target")}
    build.is_exact = False
    return build.gated("cargo", "build", "--offline", "--quiet")


def held(build):
    """`exec`: as many jobs as tokens were to be had."""
    jobs = [build.job(build.folder) for _ in range(4)]
    commands = "".join(f"[ $JOBGATE_TOKENS -le {i} ] || {command} &\n" for i, (_, command) in enumerate(jobs))
    build.is_exact = False
    return [OPTIONS.jobgate, "exec", "-n", build.rng.choice(["1", "1-2", "1-4"]), "--label", build.name,
            "--", *build.script(f"{commands}wait\n")]


def shell(build):
    """A script that joins by `env`, whose tools each wait for a token."""
    calls = "".join(f"{build.below(tool, f's{i}')} || r=$?\n" for i, tool in enumerate(("make", "ninja", "make")))
    build.is_exact = False
    return build.script(f"eval \"$({OPTIONS.jobgate} env --shell sh -j {MOST} --label {build.name})\"\n{calls}"
                        "exit ${r:-0}\n")


UNJSON = r"""s/^{//; s/}$//; s/"\([A-Z_]*\)":"\([^"]*\)",\{0,1\}/export \1='\2';/g; s/"\([A-Z_]*\)":null,\{0,1\}/unset \1;/g"""


def attached(build):
    """A script that is attached before it begins, as a task of bitbake's is."""
    calls = "".join(f"{build.below('make', f's{i}')} || r=$?\n" for i in range(2))
    (build.folder / "unjson").write_text(UNJSON + "\n")
    build.is_exact = False
    return build.script(
        f"said=$({OPTIONS.jobgate} attach --pid $$ -j {MOST} --label {build.name}) || exit 125\n"
        f"eval \"$(echo \"$said\" | sed -f {build.folder}/unjson)\"\nPATH=$JOBGATE_SHIMS:$PATH\n{calls}"
        "exit ${r:-0}\n")


def outside(build):
    """A shim outside of every run: it joins the gate that runs."""
    tool = build.rng.choice(["make", "ninja"])
    (build.makefile if tool == "make" else build.ninjafile)(build.folder, build.jobs(build.folder, 4, 10))
    build.environment["PATH"] = f"{build.path.shims}:{build.path.variable}"
    build.is_outside, build.is_exact = True, tool == "make" or build.path.ninja_joins
    build.cap = build.rng.randint(2, 6)
    return [build.path.shims / tool, f"-j{build.cap}"]


def private(build):
    jobs = build.jobs(build.folder, 4, 14)
    build.makefile(build.folder, jobs)
    build.is_shared, build.is_exact = False, False
    build.cap = build.rng.randint(1, 4)
    return [OPTIONS.jobgate, "run", "--private", "-j", build.cap, "--", "make"]


def inner(build):
    """Jobs that are a client of the gate themselves, paid for by the job they run in."""
    ways = [lambda: f"@{OPTIONS.jobgate} run --weight 2 -j {MOST} --label {build.name} -- {build.below('make', 's0')}",
            lambda: f"@{OPTIONS.jobgate} exec --label {build.name} -- {build.job(build.folder)[1]}",
            lambda: f"@{OPTIONS.jobgate} run -- {build.below('make', 's1')}"]
    calls = [way() for way in build.rng.sample(ways, build.rng.randint(1, 3))]
    build.makefile(build.folder, build.jobs(build.folder, 1, 5), calls)
    build.is_exact = False
    command = build.gated("make")
    build.cap = None  # of the outer one alone
    return command


# What lays it out and gives its command, and how often it is drawn.
KINDS = {"make": (flat_make, 10), "ninja": (flat_ninja, 8), "nested": (nested, 12), "ninja-above": (ninja_above, 7),
         "several": (several, 6), "cargo": (cargo, 1), "exec": (held, 5), "env": (shell, 5), "attach": (attached, 5),
         "outside": (outside, 5), "private": (private, 3), "inner": (inner, 5)}


class ToolPath:
    """A PATH, and what its tools are."""

    def __init__(self, *tools):
        folders = dict.fromkeys(os.path.dirname(tool) for tool in tools if tool != system_make())
        self.variable = ":".join([*folders, os.environ["PATH"]])
        self.has_new_make = tools[0] != system_make()
        self.ninja_joins = "stock" not in str(tools[1])
        self.shims, self.ninja_failure = None, None

    def look(self):
        """Asks what can only be found out by trying."""
        failing = OPTIONS.scratch / "failing"
        failing.mkdir(exist_ok=True)
        (failing / "build.ninja").write_text("rule job\n  command = exit 3\nbuild out: job\n")
        old = ENVIRONMENT["PATH"]
        ENVIRONMENT["PATH"] = self.variable
        try:
            self.shims = Path(run([OPTIONS.jobgate, "shims"]).out.strip())
            # The failed job's own, or always 1: by its version.
            self.ninja_failure = int(run(["sh", "-c", f"ninja -C {failing} >&2; echo $?"]).out)
        finally:
            ENVIRONMENT["PATH"] = old
        return self


def find_paths():
    """The sets of tools that there are."""
    ninjas = [path for path in sorted(TARGET.glob("tools/ninja*/ninja"))]
    if not ninjas:
        raise Skip("no ninja: run scripts/tools")
    makes = [system_make(), newer_make()]
    pairs = [(make, ninja) for make in makes for ninja in ninjas]
    return [ToolPath(*pair).look() for pair in pairs]
