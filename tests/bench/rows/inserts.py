"""Single-row INSERT, a transaction each, one connection: native, bare pass-through, primary without replicas (on one
machine their work would be charged to it), by each capture source."""

import others
from bench import Row
from figures import at_most, compared

# load: (title, rounds and operations of a whole run and a quick one, goals by capture source against native)
LOADS = {
    "insert-wal-normal": ("INSERT, WAL NORMAL", (31, 2000), (11, 300), {"tail": 1.3}),
    "insert-wal-full": ("INSERT, WAL FULL", (31, 150), (11, 30), {"tail": 1.5, "hold": 1.8}),
    "insert-delete-full": ("INSERT, DELETE FULL", (31, 60), (11, 15), {"tail": 1.0, "hold": 1.0}),
}


def run(bench):
    with Row(bench, "inserts") as row:
        primaries = dict(row.primaries())
        through = row.passthrough()
        rivals = others.primaries(row)
        for load, (title, whole, quick, goals) in LOADS.items():
            places = {"native": row.native, "pass-through": through.mountpoint,
                      **{capture: node.mountpoint for capture, node in primaries.items()}, **rivals}
            rounds = row.compare(load, *bench.size(whole, quick),
                                 {name: place / f"{load}.db" for name, place in places.items()})
            yield from figures(load, title, rounds, primaries, goals)
            for rival in rivals:
                yield compared(f"{load}.{rival}", f"{title}, {rival}", "us", rounds[rival], rounds["native"],
                               ours_over_theirs=True)


def figures(load, title, rounds, primaries, goals):
    yield compared(f"{load}.pass-through", f"{title}, bare pass-through", "us", rounds["pass-through"],
                   rounds["native"], ours_over_theirs=True)
    for capture in primaries:
        goal = at_most(goals[capture]) if capture in goals else None
        yield compared(f"{load}.{capture}", f"{title}, {capture}", "us", rounds[capture], rounds["native"],
                       ours_over_theirs=True, goal=goal)
    if load == "insert-wal-normal" and "hold" in primaries:
        yield compared(f"{load}.hold-through", f"{title}, hold", "us", rounds["hold"], rounds["pass-through"],
                       beside="pass-through", ours_over_theirs=True, goal=at_most(1.0))
