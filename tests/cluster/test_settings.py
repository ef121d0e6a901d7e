"""What applications set in SQLite, beyond the journal modes: every commit is still one change set, and equal on
the replica."""

import os
import sqlite3
import struct

import pytest

from making import rows_arrive, start
from support import end, run, script, wait_until

SWITCHED = """
import random, sqlite3, sys, time
path, me, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
connection = sqlite3.connect(path, timeout=60, isolation_level=None)
for i in range(count):
    connection.execute("INSERT INTO t VALUES(?, ?, zeroblob(?))", (me, i, 300 * (i % 9)))
connection.close()
"""


def test_persist_with_a_size_limit_of_the_journal(cluster, name):
    connection = start(cluster, name, "PERSIST", "journal_size_limit=5000")
    for i in range(12):
        before = cluster.primary.txid(name)
        connection.execute("INSERT INTO t VALUES(?, 0, randomblob(?))", (i, 40000 if i % 3 else 10))
        connection.execute("UPDATE t SET c = randomblob(30000)")
        assert cluster.primary.txid(name) == before + 2
        assert cluster.primary.path(name + "-journal").stat().st_size <= 5000
    connection.execute("PRAGMA journal_size_limit=0")
    connection.execute("UPDATE t SET a = a + 1")
    assert cluster.primary.path(name + "-journal").stat().st_size == 0
    connection.close()
    cluster.check(name)


def test_mode_is_switched_both_ways_while_others_write(cluster, name):
    start(cluster, name).close()
    before = cluster.primary.txid(name)
    writers = [script(SWITCHED, cluster.primary.path(name), me, 150) for me in range(3)]
    switcher = sqlite3.connect(cluster.primary.path(name), timeout=0.05, isolation_level=None)
    modes, switched = ["delete", "wal", "truncate", "wal", "persist", "wal"], 0
    while any(writer.poll() is None for writer in writers):
        try:
            mode = modes[switched % len(modes)]
            switched += switcher.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
        except sqlite3.OperationalError as error:
            assert "locked" in str(error), error
    assert [end(writer, 60) for writer in writers] == [0] * 3
    switcher.close()
    print(f"{switched} switches")
    rows = "SELECT a, count(*), count(DISTINCT b) FROM t GROUP BY a ORDER BY a"
    assert cluster.primary.execute(name, rows) == [(me, 150, 150) for me in range(3)]
    assert cluster.primary.txid(name) >= before + 450
    cluster.check(name)
    assert cluster.replica.execute(name, rows) == [(me, 150, 150) for me in range(3)]


def commit_in_rollback_mode(path):
    """Says in page 1 that the database is in rollback mode, as one transaction with a journal."""
    page, journal = path.read_bytes()[:4096], path.with_name(path.name + "-journal")
    magic = bytes((0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7))
    with open(journal, "wb", buffering=0) as file:
        file.write((magic + struct.pack(">IIIII", 1, 7, path.stat().st_size // 4096, 512, 4096)).ljust(512, b"\0"))
        file.write(struct.pack(">I", 1) + page + struct.pack(">I", (7 + sum(page[i] for i in range(4096 - 200, 0, -200)))))
        os.fsync(file.fileno())
    with open(path, "r+b", buffering=0) as file:
        file.write(page[:18] + b"\x01\x01" + page[20:])
        os.fsync(file.fileno())
    journal.unlink()


@pytest.mark.parametrize("rows", [1, 40])  # in page 2 alone, or so that page 1 is in the WAL as well
def test_a_wal_lies_over_what_a_journal_commits(cluster, name, rows):
    """A connection that switches from WAL to DELETE may have seen no WAL. If another one commits to a new WAL
    meanwhile, and closes it while the first holds its lock, SQLite leaves the WAL there, and the first commits
    with a journal. Whoever opens the database next finds the WAL, whose frames lie over the file."""
    start(cluster, name).close()
    app = cluster.app(cluster.primary.path(name))
    for i in range(rows):
        app.sql(f"INSERT INTO t VALUES({i}, {i}, zeroblob(1000))")
    app.kill()  # the WAL stays
    position = cluster.wait_for_replicas(name)
    commit_in_rollback_mode(cluster.primary.path(name))
    assert cluster.replica.execute(name, "SELECT count(*) FROM t") == [(rows,)]
    if rows > 1:
        assert cluster.primary.position(name) == position  # all that was written is below the WAL
    cluster.check(name)
    with cluster.primary.sqlite(name) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (rows,)
        connection.execute("INSERT INTO t VALUES(-1, -1, -1)")
        connection.commit()
    cluster.check(name)
    assert "went away" not in cluster.primary.log()
    assert cluster.replica.execute(name, "SELECT count(*) FROM t") == [(rows + 1,)]


def test_vacuum_in_wal_mode_shrinks_by_thousands_of_pages_under_a_reader(cluster, name):
    connection = start(cluster, name, "WAL", "page_size=1024")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO t VALUES(?, 0, randomblob(5000))", ((i,) for i in range(2000)))
    connection.execute("COMMIT")
    readers = [cluster.app(node.path(name)) for node in cluster.nodes]
    cluster.check(name)
    for reader in readers:
        assert reader.sql("BEGIN", "SELECT count(*) FROM t") == [(2000,)]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute("DELETE FROM t WHERE a >= 50")
    connection.execute("VACUUM")
    assert connection.execute("PRAGMA page_count").fetchone()[0] < pages / 20
    cluster.replica.wait_for_position(name, cluster.primary.position(name))
    for reader in readers:
        assert reader.sql("SELECT count(*), sum(length(c)) FROM t") == [(2000, 10_000_000)]
        reader.sql("COMMIT")
        assert reader.sql("SELECT count(*) FROM t") == [(50,)]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    cluster.check(name)


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "PERSIST"])
def test_incremental_vacuum(cluster, name, mode):
    connection = start(cluster, name, mode, "page_size=512", "auto_vacuum=INCREMENTAL")
    for i in range(200):
        connection.execute("INSERT INTO t VALUES(?, 0, randomblob(2000))", (i,))
    connection.execute("DELETE FROM t WHERE a % 2")
    for step in (1, 10, 100, 1000):
        before = cluster.primary.txid(name)
        run("sqlite3", cluster.primary.path(name), f"PRAGMA incremental_vacuum({step})")  # Python takes one step only
        assert cluster.primary.txid(name) == before + 1
        cluster.check(name)
    assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    connection.close()
    cluster.check(name)


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "TRUNCATE"])
def test_memory_mapped_reads_see_every_commit(cluster, name, mode):
    connection = start(cluster, name, mode, "mmap_size=268435456")
    connection.execute("INSERT INTO t VALUES(0, 0, 0)")
    connection.execute("INSERT INTO t SELECT 1, 1, randomblob(2000000)")
    cluster.check(name)
    mapped = [cluster.app(node.path(name)) for node in cluster.nodes]
    for app in mapped:
        assert app.sql("PRAGMA mmap_size=268435456") == [(268435456,)]
    for i in range(25):
        connection.execute("UPDATE t SET b = ? WHERE a = 0", (i,))
        connection.execute("INSERT INTO t SELECT 2, ?, randomblob(70000)", (i,))
        if i % 5 == 4:
            connection.execute("DELETE FROM t WHERE a = 2")
            connection.execute("VACUUM")
        cluster.wait_for_replicas(name)
        for app in mapped:
            assert app.sql("SELECT b, (SELECT sum(length(c)) FROM t WHERE a = 1) FROM t WHERE a = 0") == [
                (i, 2_000_000)]
    connection.close()
    for app in mapped:
        app.close()
    cluster.check(name)


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL", "OFF"])
@pytest.mark.parametrize("mode", ["WAL", "DELETE", "PERSIST"])
def test_without_powersafe_overwrite(cluster, name, mode, synchronous):
    """psow=0: SQLite fills a WAL up to a sector by repeating the last frame, and journals whole sectors."""
    uri = f"file:{cluster.primary.path(name)}?psow=0"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.execute("PRAGMA page_size=512")
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("CREATE TABLE t(a, b, c)")
    before = cluster.primary.txid(name)
    for i in range(30):
        connection.execute("INSERT INTO t VALUES(?, 0, randomblob(?))", (i, i * 50))
        assert cluster.primary.txid(name) == before + i + 1
    connection.close()
    cluster.check(name)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_temporary_files_in_the_mount(cluster, name, mode):
    """Temporary tables, sorters and statement journals whose files SQLite puts, unlinked, into the mount."""
    start(cluster, name, mode).close()
    cluster.check(name)
    work = """
PRAGMA temp_store=FILE; PRAGMA cache_size=10;
BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000)
INSERT INTO t SELECT i, i%7, randomblob(500) FROM n;
CREATE TEMP TABLE u AS SELECT * FROM t ORDER BY c; CREATE INDEX i ON t(c);
INSERT INTO t SELECT a+3000, b, c FROM u; COMMIT;
SELECT count(*) FROM (SELECT DISTINCT c FROM t ORDER BY b, c);
"""
    before = cluster.primary.txid(name)
    done = run("sqlite3", cluster.primary.path(name), work,
               env={**os.environ, "SQLITE_TMPDIR": str(cluster.primary.mountpoint)})
    assert done.stdout.split()[-1] == "3000", done
    assert cluster.primary.txid(name) == before + 1
    cluster.check(name)
    assert not [each for each in os.listdir(cluster.primary.mountpoint) if each.startswith("etilqs")]


def test_wal_that_is_kept_after_the_last_close(cluster, name):
    """SQLITE_FCNTL_PERSIST_WAL: with and without a size limit."""
    start(cluster, name).close()
    before = cluster.primary.txid(name)
    for i in range(5):
        limit = f"PRAGMA journal_size_limit={(-1, 0, 10000)[i % 3]};"
        run("sqlite3", cluster.primary.path(name), ".filectrl persist_wal 1", limit,
            f"INSERT INTO t VALUES({i}, 0, randomblob(20000));")
        assert cluster.primary.path(name + "-wal").exists()
        assert cluster.primary.txid(name) == before + i + 1
        cluster.check(name)
    cluster.primary.execute(name, "INSERT INTO t VALUES(9, 9, 9)")
    assert cluster.primary.txid(name) == before + 6
    cluster.check(name)


@pytest.mark.parametrize("mode", ["TRUNCATE", "PERSIST", "MEMORY"])
def test_exclusive_locking_with_other_journals(cluster, name, mode):
    connection = start(cluster, name, "DELETE", "locking_mode=EXCLUSIVE")
    connection.execute(f"PRAGMA journal_mode={mode}")
    for i in range(20):
        connection.execute("INSERT INTO t VALUES(?, 0, randomblob(5000))", (i,))
    connection.close()
    rows_arrive(cluster, name, "t", 20)
    cluster.check(name)


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK", "killed"])
def test_open_transaction_without_a_journal_is_not_taken_over(cluster, name, ending):
    """journal_mode=MEMORY writes pages into the file before the commit: nobody may see them until then."""
    start(cluster, name, "DELETE").close()
    cluster.primary.execute(name, "INSERT INTO t VALUES(0, 0, randomblob(200000))")
    before = cluster.check(name)
    app = cluster.app(cluster.primary.path(name))
    app.sql("PRAGMA journal_mode=MEMORY", "PRAGMA cache_size=5", "BEGIN",
            "INSERT INTO t VALUES(1, 1, randomblob(300000))", "UPDATE t SET c = randomblob(210000) WHERE a = 0")
    # A commit in another database, made later, is taken over first.
    other = sqlite3.connect(cluster.primary.path("other-" + name), isolation_level=None)
    other.execute("PRAGMA journal_mode=MEMORY")
    other.execute("CREATE TABLE t(a)")
    rows_arrive(cluster, "other-" + name, "t", 0)
    assert cluster.replica.position(name) == cluster.primary.position(name) == before
    if ending == "killed":
        return app.kill()  # SQLite promises nothing then; nor does anybody else
    app.sql(ending)
    rows_arrive(cluster, name, "t", 2 if ending == "COMMIT" else 1)
    app.close()
    cluster.check(name)
    if ending == "ROLLBACK":
        assert cluster.primary.execute(name, "SELECT count(*) FROM t") == [(1,)]


def test_10000_files_in_a_directory_of_which_many_are_databases(cluster, name):
    directory = cluster.primary.path("many-" + name)
    directory.mkdir()
    for i in range(10_000 - 100):
        (directory / f"{i:05}.txt").touch()
    for i in range(100):
        cluster.primary.execute(f"many-{name}/{i}.db", "CREATE TABLE t(a)")
    listed = os.listdir(directory)
    assert len(listed) == len(set(listed)) == 10_000
    there = cluster.replica.path("many-" + name)
    wait_until(lambda: there.is_dir() and len(os.listdir(there)) == 100, 30, "the databases", cluster.logs)
    run("rm", "-r", directory)
    wait_until(lambda: not any(each.startswith("many-") for each in cluster.replica.database_names()), 30,
               "the databases to go", cluster.logs)


def test_names_as_long_as_sqlite_takes_them(cluster):
    """A journal's name is 8 bytes longer than the database's, and 255 is the end; the whole path has 512."""
    long = "n" * 247
    for mode in ("WAL", "DELETE"):
        start(cluster, long, mode).close()
        cluster.primary.execute(long, "INSERT INTO t VALUES(1, 2, 3)")
        cluster.check(long)
        os.rename(cluster.primary.path(long), cluster.primary.path("m" * 247))
        cluster.check("m" * 247)
        cluster.primary.path("m" * 247).unlink()
        cluster.check_gone("m" * 247)
    deep = "/".join(["d" * 60] * 6) + "/x.db"
    cluster.primary.path(deep).parent.mkdir(parents=True)
    start(cluster, deep).close()
    cluster.check(deep)
    with pytest.raises(OSError):
        cluster.primary.path("n" * 256).touch()


def test_local_file_with_a_long_name_makes_way_for_a_database(make_cluster):
    cluster = make_cluster()
    long = "n" * 250  # WAL needs 254; with what is added for the local file it would be too long
    cluster.replica.path(long).write_text("mine")
    connection = sqlite3.connect(cluster.primary.path(long), isolation_level=None)
    connection.execute("PRAGMA journal_mode=MEMORY")
    connection.execute("CREATE TABLE t(a)")
    connection.close()

    def aside():
        return [path for path in cluster.replica.mountpoint.iterdir() if ".local-" in path.name]

    wait_until(aside, 15, "the file to make way", cluster.logs)
    rows_arrive(cluster, long, "t", 0)
    assert [path.read_text() for path in aside()] == ["mine"]
