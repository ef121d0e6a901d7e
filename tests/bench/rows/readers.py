"""Eight processes that read at once: point SELECTs and scans of a cached database in WAL mode."""

from bench import Row, in_turns
from figures import at_least, compared

PROCESSES = 8


def run(bench):
    with Row(bench, "readers") as row:
        primary, replica = row.pair()
        places = {"native": row.native, "primary": primary.mountpoint, "replica": replica.mountpoint}
        for name in ("native", "primary"):
            # (Larger than SQLite's own cache of 2 MiB, or scans would never reach the file.)
            row.generate(places[name], rows=40_000, transactions=1)
        replica.wait_for_position("bench.db", primary.position("bench.db"), 60)
        seconds = bench.size(2, 1)
        for what, option in (("SELECT", "reads"), ("scan", "scans")):
            def measure(place):
                return row.generate(place, processes=PROCESSES, duration=seconds, warm_up=0.3,
                                    **{option: 100})["per_second"]
            rates = in_turns(bench.rounds, places, measure)
            for place in ("primary", "replica"):
                yield compared(f"readers.{option}.{place}", f"{PROCESSES} processes, {what}, WAL, {place}", "/s",
                               rates[place], rates["native"], times=False, goal=at_least(0.95))
