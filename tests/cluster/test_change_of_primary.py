"""A person changes the primary, as docs/operations.md says. What only the old one had is kept, and two
histories are never mixed."""

import contextlib
import pathlib
import shutil
import sqlite3

import pytest

from support import wait_until


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
