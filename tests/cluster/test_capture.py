"""Every committed transaction becomes exactly one change set, however SQLite is used, and arrives at the
replica; what was not committed becomes none."""

import os

import pytest

from making import rows_in, start
from support import end, script, wait_until

MODES = ["WAL", "DELETE", "TRUNCATE", "PERSIST"]

WRITERS = """
import sqlite3, sys
path, me, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
connection = sqlite3.connect(path, timeout=60, isolation_level=None)
for i in range(count):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES(?, ?, zeroblob(?))", (me, i, 100 * (i % 7)))
    connection.execute("COMMIT")
connection.close()
"""


@pytest.mark.parametrize("mode", MODES)
def test_one_transaction_is_one_txid(cluster, name, mode):
    connection = start(cluster, name, mode)
    before = cluster.primary.txid(name)
    for i in range(20):
        connection.execute("BEGIN")
        for j in range(i + 1):
            connection.execute("INSERT INTO t VALUES(?, ?, 'x')", (i, j))
        connection.execute("COMMIT")
        assert cluster.primary.txid(name) == before + i + 1
    cluster.check(name)
    connection.close()
    assert cluster.primary.txid(name) == before + 20
    sets = cluster.primary.change_sets(name)
    assert [s["max_txid"] for s in sets] == list(range(1, before + 21))


@pytest.mark.parametrize("mode", MODES)
def test_rollback_and_empty_transactions_make_no_change_set(cluster, name, mode):
    connection = start(cluster, name, mode)
    connection.execute("INSERT INTO t VALUES(1, 2, 3)")
    before = cluster.primary.position(name)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE t SET a = 99")
    connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM t").fetchall()
    connection.execute("COMMIT")
    assert cluster.primary.position(name) == before
    connection.execute("INSERT INTO t VALUES(4, 5, 6)")
    assert cluster.primary.txid(name) == int(before.split("/")[0], 16) + 1
    connection.close()
    cluster.check(name)


@pytest.mark.parametrize("mode", MODES)
def test_spilled_transactions_commit_and_roll_back_whole(cluster, name, mode):
    connection = start(cluster, name, mode, "cache_size=10", "cache_spill=10")
    connection.execute("CREATE INDEX i ON t(b)")
    for count, verb in ((800, "COMMIT"), (900, "ROLLBACK"), (700, "COMMIT"), (500, "ROLLBACK")):
        before = cluster.primary.txid(name)
        connection.execute("BEGIN")
        for i in range(count):
            connection.execute("INSERT INTO t VALUES(?, random(), randomblob(900))", (i,))
            if i % 3 == 0:
                connection.execute("UPDATE t SET c = randomblob(950) WHERE rowid = ?", (i // 2,))
        connection.execute(verb)
        assert cluster.primary.txid(name) == before + (verb == "COMMIT")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1500,)
    connection.close()
    cluster.check(name)
    assert cluster.replica.execute(name, "SELECT count(*) FROM t") == [(1500,)]


@pytest.mark.parametrize("mode", MODES)
def test_savepoints_keep_what_was_released(cluster, name, mode):
    connection = start(cluster, name, mode, "cache_size=10")
    before = cluster.primary.txid(name)
    connection.execute("BEGIN")
    for i in range(30):
        connection.execute("SAVEPOINT s")
        for j in range(20):
            connection.execute("INSERT INTO t VALUES(?, ?, randomblob(700))", (i, j))
        if i % 3:
            connection.execute("ROLLBACK TO s")
        connection.execute("RELEASE s")
    connection.execute("COMMIT")
    assert cluster.primary.txid(name) == before + 1
    connection.close()
    cluster.check(name)
    assert cluster.replica.execute(name, "SELECT count(*) FROM t") == [(200,)]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_several_writer_processes_lose_nothing(cluster, name, mode):
    start(cluster, name, mode).close()
    before = cluster.primary.txid(name)
    writers = [script(WRITERS, cluster.primary.path(name), me, 60) for me in range(4)]
    assert [end(writer, 60) for writer in writers] == [0] * 4
    assert cluster.primary.txid(name) == before + 240
    cluster.check(name)
    rows = cluster.replica.execute(name, "SELECT a, count(*), count(DISTINCT b) FROM t GROUP BY a ORDER BY a")
    assert rows == [(me, 60, 60) for me in range(4)]


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_checkpoints_of_every_mode_make_no_change_set(cluster, name, mode):
    connection = start(cluster, name)
    for round_ in range(6):
        for i in range(15):
            connection.execute("INSERT INTO t VALUES(?, ?, randomblob(500))", (round_, i))
        before = cluster.primary.position(name)
        assert connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0
        assert cluster.primary.position(name) == before
        if round_ % 2:
            cluster.check(name)
    connection.close()
    cluster.check(name)


def test_small_autocheckpoint_restarts_the_wal_often(cluster, name):
    connection = start(cluster, name, "WAL", "wal_autocheckpoint=3")
    before = cluster.primary.txid(name)
    for i in range(200):
        connection.execute("INSERT INTO t VALUES(?, 0, randomblob(300))", (i,))
    assert cluster.primary.txid(name) == before + 200
    cluster.check(name)
    connection.close()
    cluster.check(name)


def test_last_close_and_open_again_go_on_counting(cluster, name):
    start(cluster, name).close()
    for i in range(10):
        before = cluster.primary.txid(name)
        cluster.primary.execute(name, f"INSERT INTO t VALUES({i}, 0, 0)")
        assert not cluster.primary.path(name + "-wal").exists()
        assert cluster.primary.txid(name) == before + 1
    cluster.check(name)


def test_commits_that_nobody_syncs_are_found_after_many_that_were_synced(cluster, name):
    """Where fsync finds the commits, the follower of the WAL looks less often; it must not stop looking."""
    connection = start(cluster, name, "WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for i in range(300):
        connection.execute("INSERT INTO t VALUES(1, ?, 'synced')", (i,))
    connection.execute("PRAGMA synchronous=NORMAL")
    for i in range(20):
        connection.execute("INSERT INTO t VALUES(2, ?, 'not synced')", (i,))
        # The replica alone is asked: a connection on the primary would be a gate when it is closed.
        wait_until(lambda rows=301 + i: rows_in(cluster.replica, name, "t") == rows, what="the commit to arrive")
    connection.close()
    cluster.check(name)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("size", [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536])
def test_page_sizes(cluster, name, mode, size):
    connection = start(cluster, name, mode, f"page_size={size}")
    assert connection.execute("PRAGMA page_size").fetchone() == (size,)
    for i in range(10):
        connection.execute("INSERT INTO t VALUES(?, 0, randomblob(?))", (i, i * 700))
    connection.execute("DELETE FROM t WHERE a % 2")
    connection.close()
    cluster.check(name)


def test_page_size_changes_by_vacuum(cluster, name):
    connection = start(cluster, name, "DELETE", "page_size=1024")
    for i in range(200):
        connection.execute("INSERT INTO t VALUES(?, 0, randomblob(500))", (i,))
    for size in (8192, 512, 65536):
        connection.execute(f"PRAGMA page_size={size}")
        connection.execute("VACUUM")
        assert connection.execute("PRAGMA page_size").fetchone() == (size,)
        cluster.check(name)
    connection.close()


def test_journal_mode_switches_back_and_forth(cluster, name):
    connection = start(cluster, name, "DELETE")
    for i in range(3):
        for mode in ("wal", "delete", "wal", "truncate", "persist", "wal", "memory", "delete"):
            assert connection.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
            if mode != "memory":
                connection.execute("INSERT INTO t VALUES(?, ?, 'x')", (i, mode))
            if mode in ("wal", "persist"):
                cluster.check(name)
    connection.close()
    cluster.check(name)
    assert cluster.replica.execute(name, "SELECT count(*) FROM t") == [(21,)]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_vacuum_and_auto_vacuum_shrink_the_replica(cluster, name, mode):
    connection = start(cluster, name, mode, "auto_vacuum=FULL")
    for i in range(300):
        connection.execute("INSERT INTO t VALUES(?, 0, randomblob(3000))", (i,))
    cluster.check(name)
    big = cluster.replica.database(name)["size"]
    connection.execute("DELETE FROM t WHERE a >= 20")
    cluster.check(name)
    connection.execute("VACUUM")
    cluster.check(name)
    assert cluster.replica.database(name)["size"] < big / 5
    for i in range(100):
        connection.execute("INSERT INTO t VALUES(?, 1, randomblob(3000))", (i,))
    connection.close()
    cluster.check(name)


@pytest.mark.parametrize("mode", ["MEMORY", "OFF"])
def test_journals_in_memory_are_taken_over_soon(cluster, name, mode):
    connection = start(cluster, name, mode)
    for i in range(10):
        connection.execute("INSERT INTO t VALUES(?, 0, 0)", (i,))
    connection.close()
    wait_until(lambda: cluster.replica.path(name).exists()
               and cluster.replica.execute(name, "SELECT count(*) FROM sqlite_schema") == [(1,)]
               and cluster.replica.execute(name, "SELECT count(*) FROM t") == [(10,)],
               what="the rows on the replica", detail=cluster.logs)
    cluster.check(name)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_exclusive_locking_mode_is_captured(cluster, name, mode):
    connection = start(cluster, name, mode, "locking_mode=EXCLUSIVE")
    before = cluster.primary.txid(name)
    for i in range(20):
        connection.execute("INSERT INTO t VALUES(?, 0, 0)", (i,))
        assert cluster.primary.txid(name) == before + i + 1
    cluster.replica.wait_for_position(name, cluster.primary.position(name))
    connection.close()
    cluster.check(name)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_rename_of_a_database_moves_it_on_the_replica(cluster, name, mode):
    start(cluster, name, mode).close()
    position = cluster.check(name)
    new = "moved-" + name
    os.rename(cluster.primary.path(name), cluster.primary.path(new))
    assert cluster.primary.position(new) == position
    wait_until(lambda: cluster.replica.path(new).exists(), what="the new name", detail=cluster.logs)
    assert cluster.check(new) == position
    cluster.check_gone(name)
    cluster.primary.execute(new, "INSERT INTO t VALUES(1, 2, 3)")
    cluster.check(new)
    start(cluster, name, mode).close()
    cluster.check(name)


def test_rename_of_a_directory_moves_the_databases_in_it(cluster, name):
    old, new = f"dir-{name}", f"moved-{name}"
    cluster.primary.path(old, "sub").mkdir(parents=True)
    for place in ("a.db", "sub/b.db"):
        start(cluster, f"{old}/{place}").close()
        cluster.check(f"{old}/{place}")
    os.rename(cluster.primary.path(old), cluster.primary.path(new))
    for place in ("a.db", "sub/b.db"):
        wait_until(lambda: cluster.replica.path(new, place).exists(), what=place, detail=cluster.logs)
        cluster.primary.execute(f"{new}/{place}", "INSERT INTO t VALUES(1, 2, 3)")
        cluster.check(f"{new}/{place}")
        cluster.check_gone(f"{old}/{place}")


def test_rename_of_an_open_database_keeps_its_reader_on_the_replica(cluster, name):
    start(cluster, name).close()
    cluster.check(name)
    reader = cluster.app(cluster.replica.path(name))
    assert reader.sql("SELECT count(*) FROM t") == [(0,)]
    os.rename(cluster.primary.path(name), cluster.primary.path("r-" + name))
    wait_until(lambda: cluster.replica.path("r-" + name).exists(), what="the new name", detail=cluster.logs)
    cluster.primary.execute("r-" + name, "INSERT INTO t VALUES(1, 2, 3)")
    cluster.check("r-" + name)
    reader.sql("SELECT count(*) FROM t")


def test_drop_is_replicated_while_a_reader_has_it_open(cluster, name):
    start(cluster, name).close()
    cluster.check(name)
    reader = cluster.app(cluster.replica.path(name))
    assert reader.sql("SELECT count(*) FROM t") == [(0,)]
    os.unlink(cluster.primary.path(name))
    cluster.check_gone(name)
    reader.close()
    assert name not in cluster.replica.database_names()


def test_attached_databases_commit_together(cluster, name):
    other = "other-" + name
    for each in (name, other):
        start(cluster, each, "DELETE").close()
    with cluster.primary.sqlite(name) as connection:
        connection.execute("ATTACH ? AS o", (str(cluster.primary.path(other)),))
        for i in range(10):
            connection.execute("BEGIN")
            connection.execute("INSERT INTO main.t VALUES(?, 0, 0)", (i,))
            connection.execute("INSERT INTO o.t VALUES(?, 0, 0)", (i,))
            connection.execute("COMMIT")
    for each in (name, other):
        cluster.check(each)
        assert cluster.replica.execute(each, "SELECT count(*) FROM t") == [(10,)]


def test_killed_writer_leaves_a_hot_journal_that_the_next_one_rolls_back(cluster, name):
    connection = start(cluster, name, "DELETE", "cache_size=5")
    connection.execute("INSERT INTO t VALUES(1, 2, 3)")
    connection.close()
    before = cluster.primary.position(name)
    app = cluster.app(cluster.primary.path(name))
    app.sql("PRAGMA cache_size=5", "BEGIN",
            "INSERT INTO t VALUES(5, 5, randomblob(3000000))")
    assert cluster.primary.path(name + "-journal").exists()
    app.kill()
    assert cluster.primary.execute(name, "SELECT count(*) FROM t") == [(1,)]
    assert cluster.primary.position(name) == before
    cluster.primary.execute(name, "INSERT INTO t VALUES(7, 8, 9)")
    cluster.check(name)


def test_a_journal_takes_one_request_a_write(make_cluster):
    """SQLite's writes to it begin and end within a page; those to the kernel's cache are cut there."""
    cluster = make_cluster(replicas=0)
    primary, name = cluster.primary, "a.db"
    connection = start(cluster, name, "DELETE")
    connection.execute("INSERT INTO t VALUES(0, 0, 0)")
    before = primary.status()["requests"]["write"]
    for n in range(1, 51):
        connection.execute("UPDATE t SET a = ?", (n,))
    # Header, two pages with their number and checksum, the count of pages; then the two pages themselves.
    assert primary.status()["requests"]["write"] - before <= 50 * 10
    connection.close()


def test_whoever_reads_a_journal_sees_what_was_written_last(cluster, name, tmp_path):
    """Every way to read it, through handles that stay open: they go past the kernel's cache as the writer does."""
    connection = start(cluster, name, "PERSIST")
    journal = cluster.primary.path(name + "-journal")
    with journal.open("rb", buffering=0) as open_before, (tmp_path / "copy").open("w+b") as copy:
        for n in range(20):
            connection.execute("INSERT INTO t VALUES(?, randomblob(900), 0)", (n,))
            truth = cluster.primary.backing(name + "-journal").read_bytes()
            assert os.pread(open_before.fileno(), len(truth) + 1, 0) == truth
            copy.truncate(0)
            copy.seek(0)
            offset = 0
            while sent := os.sendfile(copy.fileno(), open_before.fileno(), offset, len(truth) + 1):
                offset += sent
            copy.seek(0)
            assert copy.read() == truth
            assert journal.read_bytes() == truth
    connection.close()
