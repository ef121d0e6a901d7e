"""kill -9 at random instants under load. After it: nothing that was acknowledged is lost, nothing is half
done, replicas are equal again, and nobody hangs. The seed is printed; --seed gives it again.
RILLFS_TEST_ROUNDS multiplies the number of rounds, and adds TRUNCATE and PERSIST."""

import os
import random
import time

import pytest

from support import App, SqliteFailed, end, script, wait_until

FACTOR = int(os.environ.get("RILLFS_TEST_ROUNDS", "1"))

# Writes one row a transaction over two tables and appends its number to a file outside of the mount once
# COMMIT has returned. Ends quietly when the mount goes away.
WRITER = """
import os, sqlite3, sys
path, acknowledged, mode, me, blob = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
try:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    if mode in ("TRUNCATE", "PERSIST"):  # each connection sets them for itself
        connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA cache_size=10")
    connection.execute("PRAGMA wal_autocheckpoint=50")
    while True:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO one(writer, filler) VALUES(?, randomblob(?))", (me, blob))
        n, = connection.execute("SELECT last_insert_rowid()").fetchone()
        connection.execute("INSERT INTO two VALUES(?, ?, randomblob(?))", (n, me, blob))
        connection.execute("COMMIT")
        os.write(log, b"%d\\n" % n)
except (sqlite3.Error, OSError) as error:
    print(error, file=sys.stderr)
    sys.exit(3)
"""


class Load:
    """Writers on the primary, and what they were told."""

    def __init__(self, cluster, tmp_path, mode, writers=2):
        self.cluster, self.tmp_path, self.mode, self.count = cluster, tmp_path, mode, writers
        self.processes = []
        with cluster.primary.sqlite("x.db") as connection:
            connection.execute(f"PRAGMA journal_mode={mode}")
            connection.execute("CREATE TABLE one(id INTEGER PRIMARY KEY AUTOINCREMENT, writer, filler)")
            connection.execute("CREATE TABLE two(id INTEGER PRIMARY KEY, writer, filler)")

    def start(self):
        for me in range(self.count):
            log = open(self.tmp_path / "writers", "ab")
            self.processes.append(script(WRITER, self.cluster.primary.path("x.db"), self.tmp_path / "acknowledged",
                                         self.mode, me, 50 + 1500 * me, stderr=log))
            log.close()

    def acknowledged(self):
        path = self.tmp_path / "acknowledged"
        return [int(line) for line in path.read_bytes().split()] if path.exists() else []

    def wait_for_progress(self, count):
        before = len(self.acknowledged())
        wait_until(lambda: len(self.acknowledged()) >= before + count or self.ended(), 20, "writers to write")

    def ended(self):
        return [p for p in self.processes if p.poll() is not None]

    def kill_one(self, chance):
        process = chance.choice(self.processes)
        end(process, kill=True)
        self.processes.remove(process)

    def stop(self, kill=False):
        """Waits for writers whose mount is gone; none may hang."""
        for process in self.processes:
            end(process, 20, kill=kill)
        self.processes = []

    def check(self):
        wait_until(lambda: self.cluster.primary.position("x.db"), what="the database")
        one = {n for n, in self.cluster.primary.execute("x.db", "SELECT id FROM one")}
        two = {n for n, in self.cluster.primary.execute("x.db", "SELECT id FROM two")}
        lost = set(self.acknowledged()) - one
        assert not lost, f"acknowledged and lost: {sorted(lost)[:10]} of {len(self.acknowledged())}"
        assert one == two, f"half done: {sorted(one ^ two)[:10]}"
        self.cluster.check("x.db")
        for node in self.cluster.nodes:
            node.verify_log()


def pause(chance, most):
    """The random instant: this time is the experiment, not a wait for something."""
    time.sleep(chance.random() * most)


MODES = pytest.mark.parametrize("mode", ["WAL", "DELETE"] + (["TRUNCATE", "PERSIST"] if FACTOR > 1 else []))


@MODES
@pytest.mark.deadline(90 * FACTOR)
def test_killed_writers_lose_nothing_and_leave_nothing_half_done(make_cluster, tmp_path, seed, mode):
    chance = random.Random(seed)
    cluster = make_cluster()
    load = Load(cluster, tmp_path, mode)
    for _ in range(12 * FACTOR):
        load.start()
        load.wait_for_progress(3)
        pause(chance, 0.1)
        while load.processes:
            load.kill_one(chance)
            pause(chance, 0.02)
        load.check()
    assert len(load.acknowledged()) > 50


@MODES
@pytest.mark.deadline(90 * FACTOR)
def test_killed_primary_daemon_loses_nothing(make_cluster, tmp_path, seed, mode):
    chance = random.Random(seed)
    cluster = make_cluster()
    load = Load(cluster, tmp_path, mode)
    for _ in range(8 * FACTOR):
        load.start()
        load.wait_for_progress(3)
        pause(chance, 0.2)
        cluster.primary.kill()
        load.stop()
        cluster.primary.start()
        load.check()


@MODES
@pytest.mark.deadline(90 * FACTOR)
def test_writers_and_daemon_killed_together_and_recovery_killed_again(make_cluster, tmp_path, seed, mode):
    chance = random.Random(seed)
    cluster = make_cluster()
    load = Load(cluster, tmp_path, mode)
    for round_ in range(6 * FACTOR):
        load.start()
        load.wait_for_progress(3)
        pause(chance, 0.2)
        load.kill_one(chance)
        cluster.primary.kill()
        load.stop(kill=True)
        for _ in range(round_ % 4):
            cluster.primary.spawn()
            pause(chance, 0.05)
            cluster.primary.kill()
        cluster.primary.start()
        load.check()


@MODES
@pytest.mark.deadline(90 * FACTOR)
def test_killed_replica_converges_again_while_the_primary_goes_on(make_cluster, tmp_path, seed, mode):
    chance = random.Random(seed)
    cluster = make_cluster()
    load = Load(cluster, tmp_path, mode)
    load.start()
    cluster.wait_for_replicas("x.db")
    for round_ in range(8 * FACTOR):
        pause(chance, 0.2)
        cluster.replica.kill()
        for _ in range(round_ % 3):
            cluster.replica.spawn()
            pause(chance, 0.05)
            cluster.replica.kill()
        cluster.replica.start()
        position = cluster.primary.txid("x.db")
        wait_until(lambda: cluster.replica.txid("x.db") >= position, 20, "the replica", cluster.logs)
    assert not load.ended(), (tmp_path / "writers").read_text()
    load.stop(kill=True)
    load.check()


READER = """
import sqlite3, sys
try:
    connection = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
    while True:
        connection.execute("SELECT count(*), sum(length(filler)) FROM one").fetchall()
except sqlite3.Error as error:
    sys.exit(3)
"""


@pytest.mark.deadline(150)
def test_busy_replica_killed_100_times_never_hangs_itself_nor_an_application(make_cluster, tmp_path, seed):
    """The daemon uses its own mount while it is killed; readers are inside the mount as well."""
    chance = random.Random(seed)
    cluster = make_cluster()
    load = Load(cluster, tmp_path, "WAL", writers=1)
    load.start()
    cluster.wait_for_replicas("x.db")
    for _ in range(100):
        readers = [script(READER, cluster.replica.path("x.db")) for _ in range(2)]
        pause(chance, 0.15)
        cluster.replica.kill()  # fails when the process stays
        for reader in readers:
            end(reader, 10, kill=True)  # what is cached it may go on reading; but it must end
        cluster.replica.start()
    load.stop(kill=True)
    load.check()


def test_open_transaction_of_a_killed_writer_is_gone_and_the_next_one_writes_at_once(make_cluster):
    cluster = make_cluster()
    for mode in ("WAL", "DELETE"):
        name = mode + ".db"
        app = App(cluster.primary.path(name))
        app.sql(f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a)", "PRAGMA cache_size=5", "BEGIN IMMEDIATE",
                "INSERT INTO t VALUES(randomblob(2000000))")
        other = App(cluster.primary.path(name), busy_timeout=0.1)
        with pytest.raises(SqliteFailed) as failure:
            other.sql("INSERT INTO t VALUES(1)")
        assert failure.value.code == "SQLITE_BUSY"
        app.kill()
        other.sql("INSERT INTO t VALUES(2)")
        assert other.sql("SELECT a FROM t") == [(2,)]
        other.close()
        cluster.check(name)
