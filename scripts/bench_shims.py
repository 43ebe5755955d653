"""Cases of `scripts/bench` about shims: what stands for make and ninja on PATH, on top of the tool itself.

Knows the command line only. Each tool is measured inside one run, so that only the shim differs.
"""

import os
import statistics

from bench_kit import (CORES, ENVIRONMENT, OPTIONS, TARGET, gate, in_turns, many_targets, newer_make,
                       ratio_row, row, run, system_make)

CALLS = 50


def shim():
    """One that only execs: the tool that has nothing to do, through the shim and straight."""
    with_caches()
    nothing = OPTIONS.scratch / "nothing.mk"
    nothing.write_text("all:\n")
    build = OPTIONS.scratch / "nothing.ninja"
    build.write_text("build all: phony\n")
    ninja = TARGET / "tools/ninja-1.13.2/ninja"
    rows = [(system_make(), f"-s -f {nothing}"), (newer_make(), f"-s -f {nothing}")]
    if os.access(ninja, os.X_OK):
        rows.append((ninja, f"--quiet -f {build}"))
    for tool, args in rows:
        name = os.path.basename(tool)
        path = f"PATH=${{PATH%%:*}}:{os.path.dirname(tool)}:/usr/bin:/bin"
        arms = {way: gate(CORES, "sh", "-c", f"{path}; i=0; while [ $i -lt {CALLS} ]; do {call} {args} || exit; "
                          "i=$((i + 1)); done")
                for way, call in (("shim", name), ("tool", tool))}
        # The run's PATH says which tools have shims.
        old = ENVIRONMENT["PATH"]
        ENVIRONMENT["PATH"] = f"{os.path.dirname(tool)}:{old}"
        try:
            costs = in_turns(arms, OPTIONS.pairs)
        finally:
            ENVIRONMENT["PATH"] = old
        each = [1000 * (a.wall - b.wall) / CALLS for a, b in zip(costs["shim"], costs["tool"])]
        seen = " / ".join(f"{1000 * statistics.median(c.wall for c in costs[way]) / CALLS:.2f} ms" for way in arms)
        row("shim", f"{version(tool)}, one call: shim minus tool ({seen})", each, 3, " ms", 2)


def shim_nested():
    """A tree of 500 nested makes, each a shim that execs."""
    with_caches()
    nothing = OPTIONS.scratch / "nothing.mk"
    nothing.write_text("all:\n\t@/bin/true\n")
    path = many_targets("nested.mk", 500, f"$(MAKE) --no-print-directory -f {nothing}")
    for make in (system_make(), newer_make()):
        old = ENVIRONMENT["PATH"]
        ENVIRONMENT["PATH"] = f"{os.path.dirname(make)}:{old}"
        try:
            arms = {"shims": gate(CORES, "make", "-f", path),
                    "no shims": gate(CORES, "make", "-f", path, extra=("--no-shims",))}
            costs = in_turns(arms, OPTIONS.pairs)
        finally:
            ENVIRONMENT["PATH"] = old
        for field, demand in (("wall", 1.05), ("cpu", None)):
            ratio_row("shim-nested", costs, "shims", "no shims", f"500 nested, {version(make)}", field, demand)


def version(tool):
    return f"{os.path.basename(tool)} " + run([tool, "--version"]).out.split("\n")[0].split()[-1]


def with_caches():
    """Folders of this benchmark's own."""
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        ENVIRONMENT[name] = str(OPTIONS.scratch / name.lower())
