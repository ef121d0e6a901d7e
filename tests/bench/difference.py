#!/usr/bin/python3
"""What moves, and how long it takes, when 1 % of a database has changed while a replica was away.

  /usr/bin/python3 tests/bench/difference.py [--mib 1024] [--percent 1] [--work DIR] [--sparse]

Starts a primary and a replica, stops the replica, changes rows all over the database, lets the log forget, and lets
the replica return by way of a proxy that counts bytes in both directions. --sparse: rows of zeroes, which take the
mount and the network little. Needs root and /dev/fuse; about 5 times the database's size on disk."""

import argparse
import json
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cluster"))

import support  # noqa: E402
from proxy import Proxy  # noqa: E402

# (retention keeps less than the changes take)
SHORT = ("--retention-bytes", "64KiB", "--retention-time", "1s", "--segment-size", "64KiB")
BATCH = 20000


def fill(node, rows, sparse):
    value = "zeroblob(3900)" if sparse else "randomblob(3900)"
    with node.sqlite("big.db") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, b BLOB)")
        for first in range(1, rows + 1, BATCH):
            last = min(first + BATCH - 1, rows)
            connection.execute(f"WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n+1 FROM c WHERE n<{last}) "
                               f"INSERT INTO t SELECT n, {value} FROM c")


def change(node, rows, percent):
    step = max(1, round(100 / percent))
    node.execute("big.db", f"UPDATE t SET b=randomblob(3900) WHERE n % {step} = 0")


def forget(node, timeout):
    old = node.segments()[-1]
    deadline = time.monotonic() + timeout
    while old.exists():
        assert time.monotonic() < deadline, "the log does not forget"
        node.execute("big.db", "UPDATE t SET b=randomblob(3900) WHERE n <= 20")
        node.stop(timeout)
        node.start(timeout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--percent", type=float, default=1)
    parser.add_argument("--work")
    parser.add_argument("--sparse", action="store_true")
    arguments = parser.parse_args()
    if arguments.work:
        tempfile.tempdir = arguments.work
    rows, timeout = arguments.mib * 256, 60 + arguments.mib
    cluster = support.Cluster(replicas=1, options=SHORT)
    primary, replica = cluster.nodes
    try:
        cluster.start()
        fill(primary, rows, arguments.sparse)
        cluster.wait_for_replicas("big.db", timeout)
        replica.stop(timeout)
        change(primary, rows, arguments.percent)
        forget(primary, timeout)
        with Proxy(primary.address) as proxy:
            replica.primary = proxy.address
            begun = time.monotonic()
            replica.start(timeout)
            replica.wait_for_position("big.db", primary.position("big.db"), timeout)
            seconds, moved = time.monotonic() - begun, proxy.moved()
        by_difference = "sending a snapshot" in primary.log()
        print(json.dumps({"mib": arguments.mib, "percent": arguments.percent, "by_difference": by_difference,
                          "moved_mib": round(moved / 2**20, 2), "seconds": round(seconds, 1)}))
        return 0 if by_difference and replica.running else 1
    finally:
        cluster.clean_up()


sys.exit(main())
