"""A database of 2 GiB (random content) to a new replica, from its start until it is there, against `cp` and `sync` of
the same file on the same disk, page cache dropped before each; and the primary's commits meanwhile. What such a copy
costs the commits of a native database on this disk is measured as well: no file system can do much about it."""

import shutil
import subprocess
import time

from bench import Row, copy_in, drop_caches, finish
from figures import at_least, at_most, compared
from rows.follow import until_equal

RATE = 200


def run(bench):
    mib = bench.size(2048, 256)
    with Row(bench, "snapshot") as row:
        primary = row.node("primary")
        row.generate(row.native, transactions=1, rows=mib * 256, value_size=3900)
        copy_in(primary, row.native / "bench.db", "large.db")
        (row.native / "bench.db").unlink()
        row.generate(primary.mountpoint, transactions=1)
        size = primary.path("large.db").stat().st_size / 2**20
        copies, snapshots = [], []
        for number in range(5):
            copies.append(size / copy(primary, row.directory / "copy"))
            snapshots.append(size / snapshot(row, primary, f"replica{number}"))
        yield compared("snapshot", f"snapshot of {mib} MiB to a new replica, its start included", "MiB/s", snapshots,
                       copies, times=False, beside="cp and sync", goal=at_least(0.5))
        yield from commits_meanwhile(bench, row, primary, mib)


def copy(primary, target):
    drop_caches()
    begun = time.monotonic()
    subprocess.run(["cp", "--reflink=never", primary.backing("large.db"), target], check=True)
    subprocess.run(["sync"], check=True)
    taken = time.monotonic() - begun
    target.unlink()
    return taken


def snapshot(row, primary, name):
    """Seconds from the start of a new replica until it has the database; the replica is gone afterwards."""
    replica = row.node(name, primary, start=False)
    drop_caches()
    begun = time.monotonic()
    replica.spawn()
    until_equal(primary, replica, "large.db")
    taken = time.monotonic() - begun
    replica.clean_up()
    shutil.rmtree(replica.directory)
    return taken


def commits_meanwhile(bench, row, primary, mib):
    """99th percentile of commits (of another database) in the seconds of a snapshot, against as many before it, and
    against those of a native database beside a copy."""
    before, meanwhile, native = [], [], []
    row.generate(row.native, transactions=1)
    for number in range(bench.size(5, 3)):
        seconds = max(1.0, 1.2 * snapshot(row, primary, f"other{number}"))
        before.append(p99(row.generate(primary.mountpoint, rate=RATE, duration=seconds, warm_up=0.5)))
        replica = row.node(f"meanwhile{number}", primary, start=False)
        drop_caches()
        writer = row.background(*row.generator(primary.mountpoint, rate=RATE, duration=seconds, warm_up=0))
        replica.spawn()
        meanwhile.append(p99(finish(writer)))
        until_equal(primary, replica, "large.db")
        replica.clean_up()
        shutil.rmtree(replica.directory)
        writer = row.background(*row.generator(row.native, rate=RATE, duration=seconds, warm_up=0))
        copy(primary, row.directory / "copy")
        native.append(p99(finish(writer)))
    yield compared("snapshot.commits", f"p99 of commits at {RATE} tx/s while a snapshot of {mib} MiB is sent", "us",
                   meanwhile, before, beside="before", ours_over_theirs=True, goal=at_most(3))
    yield compared("snapshot.commits.native", "the same, beside native commits while cp and sync run", "us", meanwhile,
                   native, beside="native beside a copy", ours_over_theirs=True)


def p99(result):
    return result["kinds"]["write"]["latency"]["p99_us"]
