"""The case of `scripts/bench` about reports: a journal of ten hours and 200 clients, drawn and replayed.

Knows the journal's format (src/proto/journal.rs), nothing of how it is drawn. The build is made up.
"""

import json
import random

from bench_kit import OPTIONS, row, run

HOURS, CLIENTS, LIMIT = 10, 200, 64
TICKS = HOURS * 3600 * 4


def report():
    """What somebody waits for who asks what happened, and how much it is to send."""
    journal = OPTIONS.scratch / "long.journal"
    with open(journal, "w") as file:
        for kind, record in records():
            file.write(json.dumps({kind: record}, separators=(",", ":")) + "\n")
    size = journal.stat().st_size / 1e6
    for ending in ("html", "svg"):
        page = OPTIONS.scratch / f"long.{ending}"
        walls = [run([OPTIONS.jobgate, "report", journal, "-o", page]).wall for _ in range(5)]
        row("report", f"{HOURS} hours of {CLIENTS} clients ({size:.0f} MB) as .{ending}", walls, 2, " s")
        row("report", "... its size", [page.stat().st_size / 1e6], 2, " MB")
    walls = [run([OPTIONS.jobgate, "replay", journal, "-j", "8"]).wall for _ in range(3)]
    row("report", "the same, replayed with -j 8", walls, None, " s")


def records():
    chance = random.Random(5)
    settings = {"jobs": LIMIT, "cpus": LIMIT, "max": {"cpu": 300000.0, "io": 500000.0}, "hold": "all", "heartbeat_s": 1.0,
                "law": "adaptive", "from": {"jobs": {"value": str(LIMIT), "from": "-j"}}}
    yield "header", {"journal": 1, "program": "0", "kernel": "6", "cpus": LIMIT, "pid": 77, "socket": "/s", "t": 1000,
                     "unix_us": 1795608740573446, "settings": settings}
    yield "gate", {"t": 1000, "state": "open"}
    yield "limit", {"t": 1000, "limit": LIMIT, "tightest": "ceiling"}
    events = {}
    for client in range(1, CLIENTS + 1):
        comes = chance.randrange(0, TICKS * 8 // 10)
        events.setdefault(comes, []).append((client, True))
        events.setdefault(min(TICKS - 1, comes + chance.randrange(200, TICKS // 3)), []).append((client, False))
    t, counters, here, held = 1000, [0, 0, 0], set(), False
    for tick in range(TICKS):
        t += 250_000 + chance.randrange(500)
        for client, comes in events.get(tick, ()):
            if comes:
                here.add(client)
                yield "join", {"t": t, "since": t, "id": client, "uid": 1000 + client % 3, "pid": 1000 + client,
                               "label": f"make -C layer{client}", "style": "pipe", "waits_for": [1, 1], "pays": True,
                               "cap": LIMIT, "weight": 1, "takes": True}
                yield "clients", {"t": t, "of": [{"id": client, "lease": 1, "allotment": 5, "hungry": True}]}
            elif client in here:
                here.remove(client)
                yield "leave", {"t": t, "id": client, "token_s": 100 * chance.random(), "waited_s": chance.random(), "peak": 5}
        grown = (chance.randrange(250_000 >> (tick // 4000) % 2), chance.randrange(30_000), chance.randrange(500))
        counters = [before + more for before, more in zip(counters, grown)]
        cpu, io, memory = counters
        yield "sample", {"t": t, "cpu": cpu, "io": io, "memory": memory, "full_io": io // 2, "full_memory": memory // 3,
                         "busy": [tick * 20, tick * 25], "running": 5, "bytes": [24 << 30, 32 << 30], "cpus": LIMIT}
        if chance.random() < 0.02:
            held = not held
            reasons = {"reasons": [{"resource": "cpu", "rate": 350000.0, "max": 300000.0}]} if held else {}
            yield "gate", {"t": t, "state": "held" if held else "open", **reasons}
        changed = chance.sample(sorted(here), min(3, len(here)))
        if changed:
            yield "clients", {"t": t, "of": [{"id": client, "held": chance.randrange(6)} for client in changed]}
        if tick % 4 == 0:
            yield "beat", {"t": t, "beat": tick // 4, "missed": tick // 40_000, "limit": LIMIT, "leased": len(here),
                           "held": 9, "charge": 9, "clients": len(here), "waiting": 0, "wanting": 2}
    yield "end", {"t": t, "of": []}
