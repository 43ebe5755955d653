"""How a build of `scripts/soak` has ended, and how it may have.

Knows what each tool makes of a signal; nothing of the gate.
"""

import signal

# Words of ours that say that all is well.
QUIET = "jobgate: waiting for a job:"
# Words where no gate can be had.
NO_GATE = ("no gate at", "a gate of its own", "this run has its own")
# Seconds without a server after which there may be such words, as it is seen from here.
LONG_AWAY = 1.5


def judge(build, jobs, gate):
    """What is wrong, in words."""
    said = build.said.read_text(errors="replace")
    if any(words in said for words in NO_GATE):
        if gate.was_away(build.began, build.ended, LONG_AWAY):
            build.exempt = build.began
            return []
        if gate.is_service and NO_GATE[0] in said and gate.was_disturbed(build.began, build.ended):
            return []  # a gate that is named must be there when somebody comes
    if build.hits:
        return judge_hit(build, jobs, said)
    if build.status != build.expected:
        return [f"ended with {build.status}, not {build.expected}: {last(said)}"]
    found = []
    words = [line for line in said.splitlines() if not line.startswith(QUIET)]
    if words and (not build.expected or any(line.startswith("jobgate:") for line in words)):
        found.append(f"said: {last(' / '.join(words))}")
    ran = {}
    for job in jobs:
        if not job.name.endswith(".probe"):
            ran.setdefault(job.name, []).append(job)
    if build.kind == "exec":
        if not ran:
            found.append("ran nothing")
    elif missing := set(build.products) - set(ran):
        found.append(f"didn't run {sorted(missing)}")
    twice = [name for name, runs in ran.items() if len(runs) > 1 or not runs[0].is_whole]
    if twice:
        found.append(f"ran not once and to the end: {twice}")
    failing = build.expected != 0
    broken = [name for name in ran if not is_whole(build, name)]
    if len(broken) > (1 if failing else 0):
        found.append(f"not whole: {broken}")
    if build.is_outside and not build.was_client and build.missed >= 3 and not gate.was_disturbed(build.began, build.began):
        found.append("stayed outside")
    return found


def judge_hit(build, jobs, said):
    """It ends as what hit it makes it end, or as if nothing had; with status 0 all is there."""
    signals = {hit.signal for hit in build.hits}
    found = []
    # make 2, ninja 1, 2, 130 or the job's own status, cargo 101; a shell's 128 and more.
    may = {build.expected, 1, 2, 3, 101, 130} | {-s for s in signals} | {128 + s for s in signals}
    # Who is killed tells its tree by SIGTERM; tools that are told to end make of it what they like.
    may |= {-signal.SIGTERM, 128 + signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGKILL, 255}
    if any(hit.role == "background" for hit in build.hits):
        may.add(125)  # as the script says where it can't be attached
    if build.status not in may:
        found.append(f"ended with {build.status}: {last(said)}")
    if build.status == 0 and build.kind != "exec":
        broken = [name for name in build.products if not is_whole(build, name)]
        if broken:
            found.append(f"ended with 0, and isn't whole: {broken}")
    only_hit = build.hits[0] if len(build.hits) == 1 else None
    if only_hit and only_hit.role == "run" and only_hit.signal == signal.SIGKILL and build.status not in (-signal.SIGKILL, build.expected):
        found.append(f"its jobgate was killed, and ended with {build.status}")
    if build.kind in ("make", "private") and not any(s == signal.SIGKILL for s in signals):
        half = [name for name, path in build.products.items() if path.exists() and path.read_text() == "half\n"]
        if half and not any(job.end is None for job in jobs):
            found.append(f"left half made, which make deletes: {half}")
    return found


def is_whole(build, name):
    path = build.products[name] if name in build.products else None
    if path is None or not path.exists():
        return False
    return path.suffix == ".rlib" or path.read_text() == "half\nwhole\n"


def last(text):
    return text.strip()[-300:].replace("\n", " / ")
