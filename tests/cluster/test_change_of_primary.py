"""A person changes the primary, as docs/operations.md says. What only the old one had is kept, and two
histories are never mixed."""

import contextlib
import pathlib
import shutil
import sqlite3

import pytest

from support import end, script, wait_until


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_branch_that_lost_is_parked_and_the_node_follows(make_cluster, mode):
    cluster = make_cluster(replicas=1)
    old, new = cluster.primary, cluster.replica
    old.execute("a.db", f"PRAGMA journal_mode={mode}", "CREATE TABLE t(x)", "INSERT INTO t VALUES('both')")
    cluster.wait_for_replicas("a.db")

    new.stop()
    old.execute("a.db", "INSERT INTO t VALUES('only the old one')")
    old.stop()
    new.primary = None
    new.start()
    new.execute("a.db", "INSERT INTO t VALUES('the new one')")
    assert new.status()["epoch"] == 2

    old.primary = new
    old.start()
    old.wait_for_position("a.db", new.position("a.db"))
    assert old.execute("a.db", "SELECT x FROM t") == [("both",), ("the new one",)]
    assert old.database("a.db")["parked"] == 1
    parked = list((pathlib.Path(old.data) / "parked").glob("*/database"))
    assert len(parked) == 1 and str(parked[0].parent) in old.log(), old.log()
    with contextlib.closing(sqlite3.connect(f"file:{parked[0]}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [("both",), ("only the old one",)]

    new.execute("a.db", "INSERT INTO t VALUES('later')")
    old.wait_for_position("a.db", new.position("a.db"))
    old.restart()  # parked once, not once a start
    old.wait_for_position("a.db", new.position("a.db"))
    assert old.database("a.db")["parked"] == 1


@contextlib.contextmanager
def parked_database(node):
    """The one branch that is parked there."""
    parked = list((pathlib.Path(node.data) / "parked").glob("*/database"))
    assert len(parked) == 1, (parked, node.log())
    with contextlib.closing(sqlite3.connect(f"file:{parked[0]}?mode=ro", uri=True)) as connection:
        yield connection


FORGETFUL = ("--retention-bytes", "64KiB", "--retention-time", "1s", "--segment-size", "64KiB")


def forget(node, segment, statement):
    """Commits until the node's log has the segment no more."""
    def forgotten():
        node.execute("a.db", statement)
        node.restart()
        return segment not in [there.name for there in node.segments()]
    wait_until(forgotten, 40, "the log to forget", node.log)


@pytest.mark.parametrize("remembers", [True, False], ids=["log_reaches_back", "log_has_forgotten"])
def test_branch_is_parked_when_the_new_primary_has_gone_further_than_it(make_cluster, remembers):
    cluster = make_cluster(replicas=1, options=() if remembers else FORGETFUL)
    old, new = cluster.primary, cluster.replica
    old.execute("a.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(x, y)", "INSERT INTO t VALUES('both', 0)")
    cluster.wait_for_replicas("a.db")
    new.stop()
    old.execute("a.db", "INSERT INTO t VALUES('only the old one', 0)")
    old.stop()
    new.primary = None
    new.start()
    newest = new.segments()[-1].name
    for n in range(5):
        new.execute("a.db", f"INSERT INTO t VALUES('the new one', {n})")
    if not remembers:
        forget(new, newest, "UPDATE t SET y=randomblob(70000) WHERE x='both'")
    old.primary = new
    old.start()
    old.wait_for_position("a.db", new.position("a.db"))
    assert old.execute("a.db", "SELECT x FROM t") == [("both",)] + 5 * [("the new one",)]
    with parked_database(old) as branch:
        assert branch.execute("SELECT x FROM t").fetchall() == [("both",), ("only the old one",)]


@pytest.mark.parametrize("goes_on", [True, False], ids=["with_new_commits", "with_what_all_had"])
def test_branch_is_parked_when_both_primaries_have_the_same_epoch(make_cluster, goes_on):
    """Two that follow each other without having met: both make the next epoch."""
    cluster = make_cluster(replicas=2, options=FORGETFUL)
    first, (one, other) = cluster.primary, cluster.replicas
    first.execute("a.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(x, y)", "INSERT INTO t VALUES('all', 0)")
    cluster.wait_for_replicas("a.db")
    for node in (first, one, other):
        node.stop()
    one.primary = None
    one.start()
    one.execute("a.db", "INSERT INTO t VALUES('only the one', 0)")
    one.stop()
    other.primary = None
    other.start()
    assert other.status()["epoch"] == 2
    for _ in range(2 if goes_on else 0):  # further than the one has come
        forget(other, other.segments()[-1].name, "UPDATE t SET y=randomblob(70000) WHERE x='all'")
    one.primary = other
    one.start()
    wait_until(lambda: one.position("a.db") == other.position("a.db"), what="the same content", detail=one.log)
    assert one.status()["epoch"] == 2
    assert one.execute("a.db", "SELECT x FROM t") == [("all",)]
    with parked_database(one) as branch:
        assert branch.execute("SELECT x FROM t").fetchall() == [("all",), ("only the one",)]


def test_replica_that_was_only_behind_parks_nothing(make_cluster):
    cluster = make_cluster(replicas=1, options=FORGETFUL)
    primary, replica = cluster.primary, cluster.replica
    primary.execute("a.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(x)", "INSERT INTO t VALUES(1)")
    cluster.wait_for_replicas("a.db")
    replica.stop()
    forget(primary, primary.segments()[-1].name, "INSERT INTO t VALUES(randomblob(70000))")
    replica.start()
    cluster.check("a.db")
    assert not list((pathlib.Path(replica.data) / "parked").iterdir())


UNTAKEN = """
import os, sys
# Writes a database's first page alone, over another database, and never the rest: half a copy.
with open(sys.argv[2], "rb") as source, open(sys.argv[1], "r+b") as target:
    target.write(source.read(4096 * int(sys.argv[3])))
    target.flush()
    os.kill(int(sys.argv[4]), 9)
"""


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "half_a_copy"])
def test_content_that_was_not_taken_over_is_parked_when_the_node_comes_back_as_a_replica(make_cluster, whole):
    cluster = make_cluster(replicas=1)
    old, new = cluster.primary, cluster.replica
    old.execute("a.db", "CREATE TABLE t(x, y)", "INSERT INTO t VALUES('both', 0)")
    cluster.wait_for_replicas("a.db")
    new.stop()
    origin = old.directory / "origin.db"
    with contextlib.closing(sqlite3.connect(origin, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t(x, y)")
        connection.execute("INSERT INTO t VALUES('copied here', zeroblob(40000))")
    pages = origin.stat().st_size // 4096
    # Killed within the second in which it would be taken over.
    end(script(UNTAKEN, old.path("a.db"), origin, pages if whole else 3, old.process.pid))
    old.reap()
    assert list(old.data.glob("dbs/*/unlogged")), "it was taken over before it could be tried"
    new.primary = None
    new.start()
    new.execute("a.db", "INSERT INTO t VALUES('the new one', 0)")
    old.primary = new
    old.start()
    cluster_position = new.position("a.db")
    old.wait_for_position("a.db", cluster_position)
    assert old.execute("a.db", "SELECT x FROM t") == [("both",), ("the new one",)]
    if whole:
        with parked_database(old) as branch:
            assert branch.execute("SELECT x FROM t").fetchall() == [("copied here",)]
    else:
        kept, = (pathlib.Path(old.data) / "parked").glob("*not-taken-over*/database")
        assert kept.read_bytes()[:3 * 4096] == origin.read_bytes()[:3 * 4096]
        assert "not taken over" in old.rillfs_parked("list").stdout
    old.restart()  # once, not once a start
    old.wait_for_position("a.db", new.position("a.db"))
    assert len(list((pathlib.Path(old.data) / "parked").iterdir())) == 1


def test_replaced_primary_is_not_followed_any_more(make_cluster):
    cluster = make_cluster(replicas=2)
    old, new, third = cluster.primary, *cluster.replicas
    old.execute("a.db", "CREATE TABLE t(x)")
    cluster.wait_for_replicas("a.db")
    new.stop()
    new.primary = None
    new.start()
    third.stop()
    third.primary = new
    third.start()
    new.execute("a.db", "INSERT INTO t VALUES(2)")
    third.wait_for_position("a.db", new.position("a.db"))

    third.stop()
    third.primary = old  # still running, of epoch 1
    third.start()
    wait_until(lambda: "has been replaced" in third.log() or "has seen epoch" in third.log(), what="the refusal",
               detail=third.log)
    assert third.execute("a.db", "SELECT x FROM t") == [(2,)]
    wait_until(lambda: "somebody else has become primary" in old.log(), what="the old primary's report", detail=old.log)


def test_database_that_the_primary_has_lost_is_parked_and_one_that_it_dropped_is_not(make_cluster):
    cluster = make_cluster(replicas=1)
    primary, replica = cluster.primary, cluster.replica
    primary.execute("older.db", "CREATE TABLE t(x)")
    primary.stop()
    shutil.copytree(primary.data, primary.directory / "copy")  # the disk image that will come back
    primary.start()
    for name in ("lost.db", "dropped.db"):
        primary.execute(name, "PRAGMA journal_mode=WAL", "CREATE TABLE t(x)", f"INSERT INTO t VALUES('{name}')")
        cluster.wait_for_replicas(name)
    replica.stop()
    primary.path("dropped.db").unlink()
    replica.start()
    cluster.check_gone("dropped.db")
    assert not list((pathlib.Path(replica.data) / "parked").iterdir())

    primary.stop()
    shutil.rmtree(primary.data)
    (primary.directory / "copy").rename(primary.data)
    primary.start()
    cluster.check_gone("lost.db", 20)
    parked = list((pathlib.Path(replica.data) / "parked").glob("*/database"))
    assert len(parked) == 1, replica.log()
    with contextlib.closing(sqlite3.connect(f"file:{parked[0]}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [("lost.db",)]
    cluster.check("older.db")
