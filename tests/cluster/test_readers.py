"""Readers on a replica while transactions are applied: each sees whole transactions, in order, and holds
nothing up."""

import json

import pytest

from support import SqliteFailed, end, free_port, script, wait_until

ACCOUNTS = 200

# Moves money between accounts on different pages and counts: the sum never changes.
WRITER = """
import random, sqlite3, sys, time
path, transactions, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
connection = sqlite3.connect(path, timeout=60, isolation_level=None)
connection.execute("PRAGMA synchronous=NORMAL")
start, done = time.monotonic(), 0
while done < transactions:
    a, b, amount = random.randrange(200), random.randrange(200), random.randrange(100)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE account SET money = money - ? WHERE id = ?", (amount, a))
    connection.execute("UPDATE account SET money = money + ? WHERE id = ?", (amount, b))
    connection.execute("UPDATE counter SET n = n + 1")
    connection.execute("INSERT INTO log(a, b, amount) VALUES(?, ?, ?)", (a, b, amount))
    connection.execute("COMMIT")
    done += 1
    time.sleep(max(0, start + done / rate - time.monotonic()))
connection.close()
print(done)
"""

# Prints what it saw as JSON; fails by an exception when a rule is broken.
READER = """
import json, os, sqlite3, sys
path, stop = sys.argv[1], sys.argv[2]
connection = sqlite3.connect(path, timeout=float(sys.argv[3]), isolation_level=None)
last, reads, changes = -1, 0, 0
while not os.path.exists(stop):
    connection.execute("BEGIN")
    n, = connection.execute("SELECT n FROM counter").fetchone()
    money, = connection.execute("SELECT sum(money) FROM account").fetchone()
    lines, = connection.execute("SELECT count(*) FROM log").fetchone()
    again, = connection.execute("SELECT n FROM counter").fetchone()
    connection.execute("COMMIT")
    assert n == again, f"not repeatable: {n} and {again}"
    assert money == 200 * 1000, f"half a transaction: {money}"
    assert lines == n, f"{lines} lines at counter {n}"
    assert n >= last, f"back from {last} to {n}"
    changes += n > last
    last, reads = n, reads + 1
print(json.dumps({"last": last, "reads": reads, "changes": changes}))
"""


NEW_PAGE_SIZE = "PRAGMA journal_mode=DELETE;PRAGMA page_size={size};VACUUM"


def prepare(cluster, name, mode):
    with cluster.primary.sqlite(name) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, money, filler)")
        connection.execute("CREATE TABLE counter(n)")
        connection.execute("INSERT INTO counter VALUES(0)")
        connection.execute("CREATE TABLE log(id INTEGER PRIMARY KEY, a, b, amount)")
        connection.executemany("INSERT INTO account VALUES(?, 1000, zeroblob(700))",
                               ((i,) for i in range(ACCOUNTS)))
        connection.execute("COMMIT")
    cluster.check(name)


@pytest.mark.parametrize("mode,rate", [("WAL", 500), ("DELETE", 100)])
def test_readers_see_whole_transactions_in_order_while_many_are_applied(cluster, name, tmp_path, mode, rate):
    prepare(cluster, name, mode)
    stop = tmp_path / "stop"
    readers = [script(READER, cluster.replica.path(name), stop, 30, stdout=-1) for _ in range(3)]
    writer = script(WRITER, cluster.primary.path(name), 5 * rate, rate, stdout=-1)
    assert end(writer, 50) == 0
    done = int(writer.stdout.read())
    cluster.wait_for_replicas(name, timeout=20)
    # The readers get to see the last transaction before they are told to stop.
    assert cluster.replica.execute(name, "SELECT n FROM counter") == [(done,)]
    stop.touch()
    for reader in readers:
        assert end(reader, 40) == 0
        seen = json.loads(reader.stdout.read())
        assert seen["reads"] > 20 and seen["changes"] > 5, seen
        reader.stdout.close()
    writer.stdout.close()
    cluster.check(name)


def test_long_reader_keeps_its_snapshot_and_delays_nothing(cluster, name):
    prepare(cluster, name, "WAL")
    old = cluster.app(cluster.replica.path(name))
    old.sql("BEGIN", "SELECT * FROM counter")
    for i in range(50):
        cluster.primary.execute(name, "UPDATE counter SET n = n + 1",)
    cluster.wait_for_replicas(name)
    assert cluster.replica.execute(name, "SELECT n FROM counter") == [(50,)]
    assert old.sql("SELECT n FROM counter") == [(0,)]
    assert old.sql("COMMIT", "SELECT n FROM counter") == [(50,)]
    cluster.check(name)


def test_readers_that_come_and_go_never_see_an_error(cluster, name, tmp_path):
    """Opening makes the daemon prepare the WAL, the last close takes it away again; both race with applying."""
    prepare(cluster, name, "WAL")
    writer = script(WRITER, cluster.primary.path(name), 1500, 300)
    last = opened = 0
    while writer.poll() is None:
        with cluster.replica.sqlite(name) as connection:
            (n, money), = connection.execute(
                "SELECT (SELECT n FROM counter), (SELECT sum(money) FROM account)").fetchall()
        assert money == 1000 * ACCOUNTS and n >= last, (n, money, last)
        last, opened = n, opened + 1
    assert end(writer) == 0 and opened > 20
    cluster.check(name)


def test_reader_of_a_rollback_database_blocks_applying_only_while_it_reads(cluster, name):
    prepare(cluster, name, "DELETE")
    reader = cluster.app(cluster.replica.path(name))
    reader.sql("BEGIN", "SELECT * FROM counter")
    cluster.primary.execute(name, "UPDATE counter SET n = 7")
    assert reader.sql("SELECT n FROM counter") == [(0,)]
    reader.sql("COMMIT")
    cluster.wait_for_replicas(name)
    assert reader.sql("SELECT n FROM counter") == [(7,)]


def test_reader_survives_changes_of_mode_and_schema(cluster, name):
    prepare(cluster, name, "WAL")
    reader = cluster.app(cluster.replica.path(name))
    for i, change in enumerate(["CREATE TABLE more(a)", "PRAGMA journal_mode=DELETE", "DROP TABLE more",
                                "PRAGMA journal_mode=WAL", "ALTER TABLE counter ADD COLUMN x", "VACUUM"]):
        cluster.primary.execute(name, change, f"UPDATE counter SET n = {i}")
        def current():
            try:
                return reader.sql("SELECT n FROM counter") == [(i,)]
            except SqliteFailed as failure:
                assert failure.code.startswith("SQLITE_BUSY"), failure
        wait_until(current, 15, f"the reader to see what follows {change}", cluster.logs)
    cluster.check(name)


def test_change_of_page_size_waits_for_a_connection_in_wal_mode_and_status_names_it(cluster, name):
    """A WAL cannot hold it, and SQLite itself does it only where nobody else has the database open."""
    prepare(cluster, name, "WAL")
    reader = cluster.app(cluster.replica.path(name))
    reader.sql("SELECT * FROM counter")
    cluster.primary.execute(name, "PRAGMA journal_mode=DELETE", "PRAGMA page_size=16384", "VACUUM",
                            "UPDATE counter SET n = 3")
    problem = wait_until(lambda: cluster.replica.database(name)["problem"], what="a problem in the status")
    assert f"process {reader.process.pid} has the database open in WAL mode" in problem
    # Who comes meanwhile reads what there is, and may leave again.
    assert cluster.replica.execute(name, "SELECT n FROM counter") == [(0,)]
    assert reader.sql("SELECT n FROM counter") == [(0,)]
    reader.close()
    cluster.wait_for_replicas(name, timeout=5)
    cluster.check(name)


def test_reader_that_is_killed_makes_way_for_a_change_of_page_size(cluster, name):
    prepare(cluster, name, "WAL")
    reader = cluster.app(cluster.replica.path(name))
    reader.sql("BEGIN", "SELECT * FROM counter")
    cluster.primary.execute(name, *NEW_PAGE_SIZE.format(size=512).split(";"), "PRAGMA journal_mode=WAL")
    wait_until(lambda: cluster.replica.database(name)["problem"], what="a problem in the status")
    reader.kill()
    cluster.check(name)


def test_changes_of_page_size_one_after_the_other_wait_for_the_last_reader(cluster, name):
    prepare(cluster, name, "WAL")
    readers = [cluster.app(cluster.replica.path(name)) for _ in range(2)]
    for reader in readers:
        reader.sql("SELECT * FROM counter")
    for i, size in enumerate([16384, 1024, 65536, 4096]):
        cluster.primary.execute(name, *NEW_PAGE_SIZE.format(size=size).split(";"), "PRAGMA journal_mode=WAL",
                                f"UPDATE counter SET n = {i}")
    readers[0].close()
    wait_until(lambda: cluster.replica.database(name)["problem"], what="a problem in the status")
    assert readers[1].sql("SELECT n FROM counter") == [(0,)]
    readers[1].close()
    cluster.check(name)
    # And once more while somebody reads who came after it.
    late = cluster.app(cluster.replica.path(name))
    assert late.sql("SELECT n FROM counter") == [(3,)]
    cluster.primary.execute(name, "UPDATE counter SET n = 9")
    cluster.wait_for_replicas(name)
    assert late.sql("SELECT n FROM counter") == [(9,)]


def test_candidate_lets_nobody_write_while_a_change_of_page_size_waits(make_cluster):
    cluster = make_cluster(replica_options=["--candidate"])
    prepare(cluster, "x.db", "WAL")
    reader = cluster.app(cluster.replica.path("x.db"), busy_timeout=0.1)
    reader.sql("SELECT * FROM counter")
    cluster.primary.execute("x.db", *NEW_PAGE_SIZE.format(size=1024).split(";"), "UPDATE counter SET n = 2")
    wait_until(lambda: cluster.replica.database("x.db")["problem"], what="a problem in the status")
    for _ in range(20):
        with pytest.raises(SqliteFailed) as failure:
            reader.sql("UPDATE counter SET n = 1000")
        assert failure.value.code.startswith("SQLITE_BUSY"), failure.value
    reader.close()
    cluster.check("x.db")


def test_snapshot_with_another_page_size_waits_for_a_connection_in_wal_mode(make_cluster):
    """The replica runs on without its primary, and what it missed is no longer in the log."""
    cluster = make_cluster(options=["--retention-bytes", "64KiB", "--segment-size", "64KiB",
                                    "--retention-time", "1s"])
    prepare(cluster, "x.db", "WAL")
    reader = cluster.app(cluster.replica.path("x.db"))
    reader.sql("SELECT * FROM counter")
    primary, address = cluster.primary, cluster.primary.address
    primary.stop()
    primary.address = f"127.0.0.1:{free_port()}"
    primary.start()
    primary.execute("x.db", *NEW_PAGE_SIZE.format(size=16384).split(";"), "PRAGMA journal_mode=WAL",
                    "PRAGMA wal_autocheckpoint=20", "CREATE TABLE filler(a)",
                    *["INSERT INTO filler VALUES(randomblob(400000))"] * 40, "UPDATE counter SET n = 5")
    primary.restart()  # the replay base moves to the end, and the log may go
    primary.execute("x.db", *["INSERT INTO filler VALUES(randomblob(400000))"] * 20)
    primary.stop()
    primary.address = address
    primary.start()
    wait_until(lambda: "open in WAL mode" in (cluster.replica.database("x.db")["problem"] or ""), 20,
               "the reader in the status", cluster.logs)
    assert "sending a snapshot" in primary.log()
    assert reader.sql("SELECT n FROM counter") == [(0,)]
    reader.close()
    cluster.check("x.db")
    assert cluster.replica.execute("x.db", "SELECT n FROM counter") == [(5,)]


def test_switches_of_the_mode_under_open_readers_stop_nothing(cluster, name):
    """A WAL that applications have open is used until they leave, whatever the mode on the primary."""
    prepare(cluster, name, "WAL")
    first = cluster.app(cluster.replica.path(name))
    first.sql("SELECT * FROM counter")
    for i, mode in enumerate(["DELETE", "WAL", "TRUNCATE", "WAL", "DELETE"]):
        cluster.primary.execute(name, f"PRAGMA journal_mode={mode}", f"UPDATE counter SET n = {i}")
        cluster.wait_for_replicas(name)
        assert first.sql("SELECT n FROM counter") == [(i,)]
        late = cluster.app(cluster.replica.path(name))
        assert late.sql("SELECT n FROM counter") == [(i,)]
        late.close()
    first.close()
    cluster.primary.execute(name, "UPDATE counter SET n = 10")
    cluster.check(name)


def test_switch_to_another_page_size_in_rollback_mode_waits_for_no_idle_reader(cluster, name):
    """An application that merely has the database open must not stop replication for ever."""
    prepare(cluster, name, "DELETE")
    reader = cluster.app(cluster.replica.path(name))
    reader.sql("SELECT * FROM counter")
    cluster.primary.execute(name, "PRAGMA page_size=16384", "VACUUM", "UPDATE counter SET n = 3")
    cluster.wait_for_replicas(name)
    assert reader.sql("SELECT n FROM counter") == [(3,)]


def test_a_change_set_costs_a_replica_one_request_and_its_readers_none(make_cluster):
    """What is appended to the WAL is in the kernel's cache, whole pages of it."""
    cluster = make_cluster()  # of its own: the kernel writes the indexes of other databases back when it likes
    primary, replica, name = cluster.primary, cluster.replica, "a.db"
    prepare(cluster, name, "WAL")
    reader = cluster.app(replica.path(name))
    reader.sql("SELECT * FROM counter")

    def show(n):
        primary.execute(name, f"UPDATE counter SET n = {n}", f"INSERT INTO log(a, b) VALUES({n}, {n})")
        newest = primary.database(name)["txid"]
        wait_until(lambda: replica.database(name)["txid"] == newest, 20, "the change to arrive", cluster.logs)
        wait_until(lambda: reader.sql("SELECT n FROM counter") == [(n,)], 20, "it to be visible", cluster.logs)
        assert reader.sql("SELECT max(a) FROM log") == [(n,)]

    show(1000)
    before = replica.status()["requests"]
    for n in range(1001, 1051):
        show(n)
    after = replica.status()["requests"]
    made = {kind: after[kind] - before.get(kind, 0) for kind in after if after[kind] != before.get(kind, 0)}
    assert made.get("write", 0) <= 110, made  # two change sets each time; the kernel may write the index back
    assert sum(made.values()) - made.get("write", 0) <= 5, made
