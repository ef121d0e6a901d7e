"""Eight processes that write at once, WAL FULL: transactions a second."""

import others
from bench import Row, in_turns
from figures import at_least, compared

PROCESSES = 8


def run(bench):
    with Row(bench, "writers") as row:
        primaries = dict(row.primaries())
        places = {"native": row.native, **{capture: node.mountpoint for capture, node in primaries.items()},
                  **others.primaries(row)}

        def measure(place):
            return row.generate(place, processes=PROCESSES, synchronous="FULL", duration=bench.size(4, 1),
                                warm_up=0.5)["per_second"]

        rates = in_turns(bench.rounds, places, measure)
        for name in places:
            if name != "native":
                yield compared(f"writers.{name}", f"{PROCESSES} processes writing, WAL FULL, {name}", "tx/s",
                               rates[name], rates["native"], times=False,
                               goal=at_least(0.9) if name in primaries else None)
