"""A replica that is too far behind, or has another history, gets the pages that are different. What moves is counted
by a proxy between the two, in both directions."""

import contextlib
import pathlib
import sqlite3

from proxy import Proxy
from support import wait_until

# A log that forgets at once, so that the replica's position is not in it any more.
SHORT = ("--retention-bytes", "64KiB", "--retention-time", "1s", "--segment-size", "64KiB")
ROWS = 8000  # one a page


def fill(node, name, rows=ROWS):
    with node.sqlite(name) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, b BLOB)")
        connection.execute("BEGIN")
        for n in range(1, rows + 1):
            connection.execute("INSERT INTO t VALUES(?, randomblob(3900))", (n,))
        connection.execute("COMMIT")


def forget(node, name, log_of):
    """Commits until the log does not reach back to `log_of`, a segment's name, any more."""
    def forgotten():
        for _ in range(3):
            node.execute(name, "UPDATE t SET b=randomblob(3900) WHERE n <= 20")
        node.restart()  # a clean stop makes the file the base, and lets go of the log before it
        return log_of not in [segment.name for segment in node.segments()]
    wait_until(forgotten, 40, "the log to forget", node.log)


def away_while_one_in(n, make_cluster):
    """A cluster whose replica has stopped; one row in `n` has changed since, and the log has forgotten that."""
    cluster = make_cluster(options=SHORT)
    primary = cluster.primary
    fill(primary, "a.db")
    cluster.wait_for_replicas("a.db", 40)
    cluster.replica.stop()
    newest = primary.segments()[-1].name
    primary.execute("a.db", f"UPDATE t SET b=randomblob(3900) WHERE n % {n} = 0")
    forget(primary, "a.db", newest)
    return cluster


def test_only_what_differs_moves_to_a_replica_that_was_away(make_cluster):
    cluster = away_while_one_in(100, make_cluster)
    primary, replica = cluster.primary, cluster.replica
    with Proxy(primary.address) as proxy:
        replica.primary = proxy.address
        replica.start()
        replica.wait_for_position("a.db", primary.position("a.db"), 40)
        moved = proxy.moved()
    assert "sending a snapshot" in primary.log(), primary.log()
    size = ROWS * 4096
    print(f"{moved} bytes moved of a database of {size}")
    assert moved < size // 10, (moved, size)
    replica.primary = primary
    replica.restart()
    cluster.check("a.db", 40)


def test_readers_keep_the_old_content_until_the_new_one_is_there(make_cluster):
    cluster = make_cluster(options=SHORT)
    primary, replica = cluster.primary, cluster.replica
    fill(primary, "a.db")
    primary.execute("a.db", "CREATE TABLE generation(g)", "INSERT INTO generation VALUES(1)")
    cluster.wait_for_replicas("a.db", 40)
    replica.stop()
    newest = primary.segments()[-1].name
    primary.execute("a.db", "UPDATE generation SET g=2", "UPDATE t SET b=randomblob(3900) WHERE n % 7 = 0")
    forget(primary, "a.db", newest)
    replica.start()
    seen = []

    def arrived():
        seen.append(replica.execute("a.db", "SELECT g, (SELECT count(*) FROM t) FROM generation")[0])
        return seen[-1][0] == 2
    wait_until(arrived, 40, "the new content", replica.log)
    assert set(seen) <= {(1, ROWS), (2, ROWS)}, seen
    cluster.check("a.db", 40)


def test_branch_that_diverged_is_parked_and_healed_by_the_difference(make_cluster):
    cluster = make_cluster(replicas=1)
    old, new = cluster.primary, cluster.replica
    fill(old, "a.db")
    old.execute("a.db", "CREATE TABLE u(x)", "INSERT INTO u VALUES('both')")
    cluster.wait_for_replicas("a.db", 40)
    new.stop()
    old.execute("a.db", "INSERT INTO u VALUES('only the old one')")
    old.stop()
    new.primary = None
    new.start()
    new.execute("a.db", "INSERT INTO u VALUES('the new one')")
    with Proxy(new.address) as proxy:
        old.primary = proxy.address
        old.start()
        old.wait_for_position("a.db", new.position("a.db"), 40)
        moved = proxy.moved()
    assert moved < ROWS * 4096 // 20, moved
    assert old.execute("a.db", "SELECT x FROM u") == [("both",), ("the new one",)]
    assert old.database("a.db")["parked"] == 1
    parked = list((pathlib.Path(old.data) / "parked").glob("*/database"))
    with contextlib.closing(sqlite3.connect(f"file:{parked[0]}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT x FROM u").fetchall() == [("both",), ("only the old one",)]


def test_replica_killed_while_it_compares_has_the_old_content_or_the_new_one(make_cluster):
    cluster = away_while_one_in(2, make_cluster)
    primary, replica = cluster.primary, cluster.replica
    for _ in range(3):
        replica.start()
        spool = pathlib.Path(replica.data) / "spool"
        wait_until(lambda: list(spool.glob("snapshot-*")) or replica.position("a.db") == primary.position("a.db"), 40,
                   "a beginning", replica.log)
        replica.kill()
    replica.start()
    cluster.check("a.db", 40)
