"""From COMMIT on the primary to visible on a loopback replica at 500 transactions a second, without and with a reader
that has its transaction open on the replica all the while."""

import others
from bench import Row
from figures import Figure, at_most

RATE = 500


def run(bench):
    with Row(bench, "visible") as row:
        primary, replica = row.pair()
        row.fill(primary.path("wal.db"), "WAL", 1000)
        replica.wait_for_position("wal.db", primary.position("wal.db"), 60)
        yield from figures(bench, "visible", "", primary.mountpoint, replica.mountpoint, goals=True)
        rivals = others.litefs_pair(row)
        if rivals:
            row.fill(rivals["LiteFS"] / "wal.db", "WAL", 1000)
            others.wait_for_file(rivals, "wal.db")
            yield from figures(bench, "visible.litefs", ", LiteFS", rivals["LiteFS"], rivals["LiteFS replica"], False)


def figures(bench, key, suffix, primary, replica, goals):
    without = measure(bench, primary, replica, bench.size(20, 4), hold=0)
    held = measure(bench, primary, replica, bench.size(60, 6), hold=1)
    for share, most in (("p50", 1), ("p99", 5)):
        value, beside = held[f"{share}_ms"], without[f"{share}_ms"]
        yield Figure(f"{key}.{share}", f"COMMIT to visible at {RATE} tx/s, {share}{suffix}", "ms", beside,
                     goal=at_most(most, "value") if goals else None,
                     note=f"of it the commit itself {without[f'commit_{share}_ms']:.3f}",
                     series=without["percentiles"] if share == "p50" else [])
        yield Figure(f"{key}.{share}.reader", f"the same with a reader open, {share}{suffix}", "ms", value,
                     beside="without", beside_value=beside, ratio=value / beside, ratio_name="with / without",
                     goal=at_most(1.2) if goals else None, series=held["percentiles"] if share == "p50" else [])


def measure(bench, primary, replica, seconds, hold):
    return bench.json("bench_load", "visible", primary / "wal.db", replica / "wal.db", RATE, seconds, hold)
