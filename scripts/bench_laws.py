"""The laws that are compared by what they make of a build, run in rounds, and the rows that come of it.

Doesn't know what is built. Each round runs all of them, every other one backwards, so that what drifts meets all alike. A run
beside which others took too much of the machine is repeated, a few times; what stays so is shown, and counts only where
there is nothing better.
"""

import functools
import statistics
from contextlib import nullcontext

from bench_kit import CORES, OPTIONS, Broken, gate, line, note, row, run
from bench_watch import watch

MANY = 4 * CORES
OWN, OWN_MANY, OWN_LOAD = f"make -j{CORES}", f"make -j{MANY}", f"make -j{MANY} -l{CORES}"
STATIC, ADAPTIVE = "static pool", "adaptive"
OVER = 0.30     # pressure above which a second counts as overloaded


# ---- Laws ------------------------------------------------------------------------------------


def own_pool(jobs, build, *options):
    """Of make, without a gate."""
    return [*build, f"-j{jobs}", *options]


def static(jobs, build):
    return gate(jobs, *build, extra=("--law", "fixed"))


def threshold(most, build, resources=("cpu",)):
    """bitbake's rule: `most` is growth in microseconds a second."""
    limits = [part for resource in resources for part in (f"--max-{resource}", most)]
    return gate(MANY, *build, extra=("--law", "fixed", *limits))


def adaptive(build, scope=None):
    """As its users would: without a setting."""
    return [OPTIONS.jobgate, "run", "--law", "adaptive", *(["--scope", scope] if scope else []), "--", *build]


@functools.cache
def refused(*options):
    """Why jobgate knows no such option; None: it does."""
    try:
        run([OPTIONS.jobgate, "run", *options, "--private", "--", "true"])
    except Broken as why:
        return str(why)
    return None


def built_in(case, arms):
    """The arms whose options this jobgate knows; a row says which it doesn't."""
    kept = {}
    for name, argvs in arms.items():
        asked = tuple(part for option in ("--law", "--scope") if option in argvs[0]
                      for part in (option, argvs[0][argvs[0].index(option) + 1]))
        why = refused(*asked) if asked else None
        if why:
            note(f"{case}: {name}: {why}")
            line(case, f"{name}: skipped: `{' '.join(asked)}` is not built in", "–", "–", 0)
        else:
            kept[name] = argvs
    return kept


# ---- Rounds ----------------------------------------------------------------------------------


def in_rounds(case, arms, around=None, before=None, ask=False, **how):
    """{name: [Seen, ...]} of the arms that are built in, each one or several commands at once.

    `around`: makes a cgroup for each run; `before`: called before each; `ask`: gates are asked for their limit; the rest goes
    to `watch`.
    """
    arms = built_in(case, arms)
    seen = {name: [] for name in arms}
    for turn in range(OPTIONS.rounds):
        for name in reversed(arms) if turn % 2 else arms:
            asked = ask and OPTIONS.jobgate in arms[name][0]
            seen[name].append(undisturbed(case, name, arms[name], around, before, dict(how, ask=asked)))
    return seen


def undisturbed(case, name, argvs, around, before, how):
    """The run beside which others took least, of a few at most."""
    best = None
    for _ in range(1 + OPTIONS.again):
        if before:
            before()
        with around() if around else nullcontext() as group:
            new = watch(*argvs, group=group, **how)
        note(f"{case}: {name}: {new.wall:.2f} s (cpu {new.cpu:.2f} s), peak J {new.jobs.peak()}, "
             f"outside load {100 * new.outside:.0f} %{', polluted' if is_polluted(new) else ''}")
        if best is None or new.outside < best.outside:
            best = new
        if not is_polluted(best):
            break
    return best


def is_polluted(seen):
    return 100 * seen.outside > OPTIONS.outside


def outside(seen):
    """What others took, in words."""
    polluted = sum(map(is_polluted, seen))
    told = f", {polluted} of {len(seen)} runs polluted" if polluted else ""
    return f"outside load {100 * statistics.median(s.outside for s in seen):.0f} %{told}"


# ---- Rows ------------------------------------------------------------------------------------


def clean_row(case, what, tuples, value, demand=None, unit="", **how):
    """A row of `value(*seen)` for each of the tuples of runs that belong together: of clean ones where there are any."""
    clean = [each for each in tuples if not any(map(is_polluted, each))]
    row(case, what, [value(*each) for each in clean or tuples], demand, unit,
        doubt="" if clean else "polluted", **how)


def ratio(case, seen, name, base, demand=None, tell=None, times=1):
    """Time beside another arm of the same round, which is taken `times` times."""
    ours, theirs = seen[name], seen[base]
    seconds = " / ".join(f"{statistics.median(s.wall for s in arm):.2f} s" for arm in (ours, theirs))
    told = f"; {tell(ours)}" if tell else ""
    clean_row(case, f"time, {name} / {'' if times == 1 else f'{times} x '}{base} ({seconds}{told}; {outside(ours)})",
           list(zip(ours, theirs)), lambda a, b: a.wall / (times * b.wall), demand)


def over(seen):
    """Percent of its seconds in which the cpus were overloaded."""
    return 100 * sum(p > OVER for p in seen.pressure) / max(1, len(seen.pressure))


def steadiness(seen):
    """Of several runs, in words."""
    def median(value):
        return statistics.median(map(value, seen))
    return (f"P {median(lambda s: statistics.mean(s.pressure or [0])):.2f}, above {OVER:.2f} in {median(over):.0f} % of seconds, "
            f"peak J {max(s.jobs.peak() for s in seen)}, sd of J {median(lambda s: s.jobs.mean_and_sd()[1]):.2f}")
