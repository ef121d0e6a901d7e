"""A replica that was away and is far behind: what waits for it is merged, each page once. Whoever reads, whenever it
is killed, and whoever is primary next, nothing is lost or shown half."""

import pathlib

import pytest

from proxy import Proxy
from support import wait_until

ROWS = 40  # one a page
COMMITS = 2000


def fill(node, name, mode="WAL"):
    node.execute(name, f"PRAGMA journal_mode={mode}", "CREATE TABLE t(n INTEGER PRIMARY KEY, version, b)",
                 "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 40) "
                 "INSERT INTO t SELECT n, 0, randomblob(3800) FROM c")


def commit(node, name, count, first=1):
    """Each transaction gives two rows on different pages its number."""
    with node.sqlite(name) as connection:
        connection.execute("PRAGMA synchronous=NORMAL")
        for version in range(first, first + count):
            rows = (1 + version % ROWS, 1 + (version + ROWS // 2) % ROWS)
            connection.execute("UPDATE t SET version=?, b=randomblob(3800) WHERE n IN (?, ?)", (version, *rows))


def ranges(node, name):
    """How many transactions each change set in the node's log has."""
    return [entry["max_txid"] - entry["min_txid"] + 1 for entry in node.change_sets(name)]


def log_size(node):
    return sum(segment.stat().st_size for segment in node.segments())


def away(make_cluster, mode="WAL"):
    """A cluster in step, whose replica has been stopped."""
    cluster = make_cluster()
    fill(cluster.primary, "a.db", mode)
    cluster.wait_for_replicas("a.db")
    cluster.replica.stop()
    return cluster


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_each_page_moves_once_and_the_log_has_few_change_sets(make_cluster, mode):
    cluster = away(make_cluster, mode)
    primary, replica = cluster.primary, cluster.replica
    commits = COMMITS if mode == "WAL" else COMMITS // 8
    commit(primary, "a.db", commits)
    logged = log_size(primary)
    with Proxy(primary.address) as proxy:
        replica.primary = proxy.address
        replica.start()
        replica.wait_for_position("a.db", primary.position("a.db"), 40)
        moved = proxy.moved()
        print(f"{moved} bytes moved, {logged} in the primary's log; {ranges(replica, 'a.db')}")
        assert moved < logged // 5, (moved, logged)
        assert "snapshot" not in primary.log(), primary.log()
        sizes = ranges(replica, "a.db")
        assert len(sizes) < 12 and max(sizes) > 100, sizes
        # One that keeps up gets each.
        for n in range(5):
            primary.execute("a.db", f"UPDATE t SET version={n}")
            replica.wait_for_position("a.db", primary.position("a.db"))
        assert ranges(replica, "a.db")[-5:] == [1] * 5
    replica.verify_log()
    replica.primary = primary
    replica.restart()
    cluster.check("a.db", 40)


def test_readers_see_only_what_the_primary_had(make_cluster):
    """Every transaction writes two rows: a reader that sees one of its pages and not the other is told apart by that."""
    cluster = away(make_cluster)
    primary, replica = cluster.primary, cluster.replica
    commit(primary, "a.db", COMMITS)
    replica.start()
    seen, position = [], primary.position("a.db")
    with replica.sqlite("a.db") as connection:
        def arrived():
            rows = dict(connection.execute("SELECT n, version FROM t").fetchall())
            newest = max(rows.values())
            seen.append(newest)
            expected = {n: 0 for n in rows}
            for version in range(max(1, newest - ROWS), newest + 1):
                expected[1 + version % ROWS] = expected[1 + (version + ROWS // 2) % ROWS] = version
            assert rows == expected, (newest, rows)
            return replica.position("a.db") == position
        wait_until(arrived, 40, "the replica to catch up", replica.log)
    assert seen == sorted(seen)
    cluster.check("a.db", 40)


def test_killed_while_it_catches_up(make_cluster):
    """A merged change set is in its log as a whole or not at all."""
    cluster = away(make_cluster)
    primary, replica = cluster.primary, cluster.replica
    for first in range(1, 5 * COMMITS, COMMITS):
        commit(primary, "a.db", COMMITS, first)
        begun = log_size(replica)
        replica.spawn()
        wait_until(lambda: log_size(replica) > begun, 40, "the first of it to be logged", replica.log)
        replica.kill()
        replica.start()
        replica.wait_for_position("a.db", primary.position("a.db"), 40)
        replica.stop()
    replica.verify_log()
    replica.start()
    cluster.check("a.db", 40)


def test_another_replica_within_what_the_new_primary_has_merged(make_cluster):
    """The new primary's log leads over the place where the other one stands: it gets what differs. It may have been a
    branch for all that anybody knows, so it is kept aside."""
    cluster = make_cluster(replicas=2)
    old, (new, other) = cluster.primary, cluster.replicas
    fill(old, "a.db")
    cluster.wait_for_replicas("a.db")
    new.stop()
    commit(old, "a.db", 100)
    other.wait_for_position("a.db", old.position("a.db"))
    other.stop()
    stands = old.txid("a.db")
    commit(old, "a.db", 300, 101)
    new.start()
    new.wait_for_position("a.db", old.position("a.db"), 40)
    last = [entry for entry in new.change_sets("a.db") if entry["min_txid"] <= stands < entry["max_txid"]]
    assert last, new.change_sets("a.db")
    old.stop()
    new.primary = None
    new.restart()
    new.execute("a.db", "UPDATE t SET version=-1 WHERE n=7")
    for node in (other, old):
        node.primary = new
        node.start()
        node.wait_for_position("a.db", new.position("a.db"), 40)
        assert node.execute("a.db", "SELECT version FROM t WHERE n=7") == [(-1,)]
        assert node.execute("a.db", "PRAGMA integrity_check") == [("ok",)]
    assert len(list((pathlib.Path(other.data) / "parked").iterdir())) == 1
    assert not list((pathlib.Path(old.data) / "parked").iterdir())
