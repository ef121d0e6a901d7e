"""From starting the daemon until a query in the mount is answered, page cache dropped: after a clean stop, and after
kill -9 under load."""

import os
import subprocess
import time

import sparse
from bench import Row, copy_in, drop_caches
from figures import at_most, measured


def run(bench):
    for mib, real in bench.size(((2048, True), (10240, False)), ((256, True), (1024, False))):
        with Row(bench, "restart") as row:
            node = row.node("primary")
            if real:
                row.generate(row.native, transactions=1, rows=mib * 256, value_size=3900)
                copy_in(node, row.native / "bench.db", "bench.db")
                (row.native / "bench.db").unlink()
            else:
                sparse.put(node, row.directory, "bench.db", mib)
            kind = "random content" if real else "sparse: free pages that take no room on the disk"
            clean, killed = [], []
            for _ in range(5):
                node.stop(60)
                clean.append(time_to_answer(node))
                kill_under_load(row, node)
                killed.append(time_to_answer(node))
            yield measured(f"restart.clean.{mib}", f"restart with {mib} MiB after a clean stop", "ms", clean,
                           goal=at_most(300, "value"), note=kind)
            yield measured(f"restart.killed.{mib}", f"restart with {mib} MiB after kill -9 under load", "ms", killed,
                           goal=at_most(1000, "value"), note=kind)


def time_to_answer(node):
    drop_caches()
    begun = time.monotonic()
    node.spawn()
    path = node.path("bench.db")
    while not exists(path):
        assert node.running, f"{node.name} ended: {node.log()}"
        assert time.monotonic() - begun < 120, f"{node.name} does not answer: {node.log()}"
        time.sleep(0.0005)
    with node.sqlite("bench.db") as connection:
        connection.execute("SELECT id FROM bench WHERE id=1").fetchall()
    return (time.monotonic() - begun) * 1e3


def exists(path):
    try:
        return bool(os.stat(path))
    except OSError:  # the mount of the daemon that was killed, or none yet
        return False


def kill_under_load(row, node):
    """A writer at full speed; the daemon is killed when it has made some thousands of commits."""
    # (Its complaint when the daemon is gone is expected.)
    writer = row.background(*row.generator(node.mountpoint, duration=60, warm_up=0), stderr=subprocess.DEVNULL)
    begun = node.txid("bench.db")
    deadline = time.monotonic() + 60
    while node.txid("bench.db") < begun + 3000 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert writer.poll() is None, "the writer ended before the daemon was killed"
    node.kill()
    writer.kill()
    writer.wait(30)
