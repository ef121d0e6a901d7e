"""Databases beyond 1 GiB, where SQLite's locks lie in a page that is never used, and beyond 4 GiB; transactions that
are larger than what a daemon may take of memory.

RILLFS_TEST_LARGE=1 tries 4 GiB and more page sizes; they need some minutes and 20 GB of disk."""

import os
import shutil
import sqlite3

import pytest

from making import rows_arrive
from support import SANITIZED, run

LARGE = bool(os.environ.get("RILLFS_TEST_LARGE"))
GIB = 1 << 30


def just_below(path, size, page_size):
    """A database of a little less than `size` bytes, nearly all zeros."""
    with sqlite3.connect(path, isolation_level=None) as connection:
        for pragma in (f"page_size={page_size}", "journal_mode=OFF", "synchronous=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE t(a, b, c)")
        left = size - 8 * max(page_size, 65536)
        while left > 0:
            connection.execute("INSERT INTO t VALUES(0, 0, zeroblob(?))", (min(left, 500_000_000),))
            left -= 500_000_000
    connection.close()
    assert size - (16 << 20) < path.stat().st_size < size


@pytest.mark.deadline(600)
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("size,page_size", [
    (GIB, 65536),
    pytest.param(GIB, 4096, marks=pytest.mark.skipif(not LARGE, reason="RILLFS_TEST_LARGE")),
    pytest.param(GIB, 512, marks=pytest.mark.skipif(not LARGE, reason="RILLFS_TEST_LARGE")),
    pytest.param(4 * GIB, 65536, marks=pytest.mark.skipif(not LARGE, reason="RILLFS_TEST_LARGE")),
    pytest.param(4 * GIB, 4096, marks=pytest.mark.skipif(not LARGE, reason="RILLFS_TEST_LARGE"))])
def test_database_grows_beyond(make_cluster, tmp_path, size, page_size, mode):
    cluster = make_cluster()
    name = "large.db"
    just_below(tmp_path / name, size, page_size)
    rows = -(-size // 500_000_000)
    run("cp", "--sparse=always", tmp_path / name, cluster.primary.path(name), timeout=300)
    (tmp_path / name).unlink()
    rows_arrive(cluster, name, "t", rows, timeout=300)
    with cluster.primary.sqlite(name) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        for i in range(40):
            before = cluster.primary.txid(name)
            connection.execute("INSERT INTO t VALUES(1, ?, randomblob(?))", (i, 100_000 if i % 4 else 16 * page_size))
            assert cluster.primary.txid(name) == before + 1
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        assert pages * page_size > size
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("UPDATE t SET c = randomblob(length(c)) WHERE a = 1 AND b % 2")
    connection.close()
    rows_arrive(cluster, name, "t", rows + 40, timeout=120)
    for node in cluster.nodes:
        assert node.execute(name, "PRAGMA quick_check") == [("ok",)]
        assert node.rillfs("verify", "--verify-rate", "4GiB", name, timeout=300).returncode == 0
    content = cluster.replica.execute(name, "SELECT b, hex(c) FROM t WHERE a = 1")
    assert content == cluster.primary.execute(name, "SELECT b, hex(c) FROM t WHERE a = 1")
    for node in cluster.nodes:
        node.kill()
        node.start(timeout=60)
    assert cluster.replica.execute(name, "SELECT b, hex(c) FROM t WHERE a = 1") == content
    cluster.primary.execute(name, "DELETE FROM t WHERE a = 0 OR b > 5")
    cluster.primary.execute(name, "VACUUM")
    assert cluster.primary.path(name).stat().st_size < 16 << 20
    cluster.check(name)


def takes_little_memory(cluster):
    for node in cluster.nodes:
        peak = node.memory_kib("VmHWM") // 1024
        assert SANITIZED or peak < 128, f"{node.name}: {peak} MiB"


@pytest.mark.deadline(120)
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_transaction_of_256_mib_takes_little_memory(make_cluster, mode):
    """As much as a page table of it: a limit of the daemon's memory is no limit of a transaction."""
    cluster = make_cluster()
    with cluster.primary.sqlite("a.db") as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t(a, b, c)")
        connection.execute("BEGIN")
        for i in range(32):
            connection.execute("INSERT INTO t VALUES(?, 0, randomblob(8388608))", (i,))
        connection.execute("COMMIT")
    connection.close()
    rows_arrive(cluster, "a.db", "t", 32, timeout=60)
    takes_little_memory(cluster)
    late = cluster.replica
    late.stop()
    shutil.rmtree(late.data)
    late.start()  # the same as a snapshot
    rows_arrive(cluster, "a.db", "t", 32, timeout=60)
    takes_little_memory(cluster)
