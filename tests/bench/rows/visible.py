"""From COMMIT on the primary to visible on a loopback replica at 500 transactions a second, without and with a reader
that has its transaction open on the replica all the while."""

import sys

import others
from bench import Row
from figures import Figure, at_most

RATE = 500


def run(bench):
    with Row(bench, "visible") as row:
        primary, replica = row.pair()
        row.fill(primary.path("wal.db"), "WAL", 1000)
        replica.wait_for_position("wal.db", primary.position("wal.db"), 60)
        yield from figures(bench, primary.mountpoint, replica.mountpoint)
        rivals = others.litefs_pair(row)
        if rivals:
            row.fill(rivals["LiteFS"] / "wal.db", "WAL", 1000)
            others.wait_for_file(rivals, "wal.db")
            yield from rival_figures(bench, rivals["LiteFS"], rivals["LiteFS replica"])


def figures(bench, primary, replica):
    without = measure(bench, primary, replica, bench.size(20, 4), hold=0)
    held = measure(bench, primary, replica, bench.size(60, 6), hold=1)
    for share, most in (("p50", 1), ("p99", 5)):
        value, beside = held[f"{share}_ms"], without[f"{share}_ms"]
        yield Figure(f"visible.{share}", f"COMMIT to visible at {RATE} tx/s, {share}", "ms", beside,
                     goal=at_most(most, "value"), note=f"of it the commit itself {without[f'commit_{share}_ms']:.3f}",
                     series=without["percentiles"] if share == "p50" else [])
        yield Figure(f"visible.{share}.reader", f"the same with a reader open, {share}", "ms", value,
                     beside="without", beside_value=beside, ratio=value / beside, ratio_name="with / without",
                     goal=at_most(1.2), series=held["percentiles"] if share == "p50" else [])


def rival_figures(bench, primary, replica):
    """Without a reader only: with one open, LiteFS shows nothing until it closes, and there is no end to wait for.
    Nor is it our failure when its replica does not keep up."""
    try:
        without = measure(bench, primary, replica, bench.size(20, 4), hold=0)
    except AssertionError as failure:
        return print(f"bench:   LiteFS: {str(failure).strip().splitlines()[-1]}", file=sys.stderr)
    for share in ("p50", "p99"):
        yield Figure(f"visible.litefs.{share}", f"COMMIT to visible at {RATE} tx/s, {share}, LiteFS", "ms",
                     without[f"{share}_ms"], note=f"{without['rate']:.0f} tx/s were made",
                     series=without["percentiles"] if share == "p50" else [])


def measure(bench, primary, replica, seconds, hold):
    return bench.json("bench_load", "visible", primary / "wal.db", replica / "wal.db", RATE, seconds, hold)
