"""Databases that are brought in as an application left them that died within a transaction: the file has half of
it, and the rollback journal what was there before. Only the two together are content."""

import os
import shutil
import sqlite3

import pytest

from making import arrives, bring, rows_in, sample
from support import wait_until

ROWS = 200


def content(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT a, hex(b) FROM s ORDER BY a").fetchall()
    finally:
        connection.close()


@pytest.fixture
def died(tmp_path):
    """A database with a hot journal beside it, and the rows that it has once that is rolled back."""
    path = sample(tmp_path, ROWS)
    before = content(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size=5")
    connection.execute("BEGIN")
    connection.execute("UPDATE s SET b = randomblob(2000)")
    left = tmp_path / "left"
    left.mkdir()
    for end in ("", "-journal"):
        shutil.copy(str(path) + end, left / ("x.db" + end))
    connection.close()
    shutil.copy(left / "x.db", left / "alone.db")
    assert content(left / "alone.db") != before, "the file has nothing of the transaction"
    return left / "x.db", before


def bring_another(cluster, name, tmp_path):
    """A database of 50 rows that has the name before."""
    other = tmp_path / "other"
    other.mkdir()
    bring(cluster, sample(other, 50), name, [""], "cp")
    arrives(cluster, name, 50)


def restart(node, how):
    if how == "stopped":
        assert node.stop() == 0
    else:
        node.kill()
    node.start()


ORDERS = {"database first": ["", "-journal"], "journal first": ["-journal", ""]}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("means", ["cp", "rename"])
@pytest.mark.parametrize("over", ["nothing", "a database"])
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_restart_before_anybody_has_opened_it_loses_nothing(cluster, name, tmp_path, died, order, means, over, how):
    path, before = died
    if over == "a database":
        bring_another(cluster, name, tmp_path)
    bring(cluster, path, name, ORDERS[order], means)
    restart(cluster.primary, how)
    assert content(cluster.primary.path(name)) == before
    assert not cluster.primary.path(name + "-journal").exists()
    arrives(cluster, name, ROWS)
    assert content(cluster.replica.path(name)) == before


@pytest.mark.parametrize("over", ["nothing", "a database"])
def test_half_a_transaction_is_not_shown_to_replicas(cluster, name, tmp_path, died, over):
    path, before = died
    if over == "a database":
        bring_another(cluster, name, tmp_path)
    bring(cluster, path, name, ORDERS["journal first"], "cp")
    if over == "a database":
        wait_until(lambda: "rolls the transaction back" in (cluster.primary.database(name)["problem"] or ""),
                   what="the status to say what to do", detail=cluster.logs)
        assert rows_in(cluster.replica, name, "s") == 50
    else:
        wait_until(lambda: "rolls the transaction back" in cluster.primary.log(),
                   what="the log to say what to do", detail=cluster.logs)
        assert rows_in(cluster.replica, name, "s") is None
    assert content(cluster.primary.path(name)) == before
    arrives(cluster, name, ROWS)


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
def test_commits_after_the_rollback_are_kept(make_cluster, died, mode):
    cluster, name = make_cluster(), "x.db"
    path, before = died
    bring(cluster, path, name, ORDERS["journal first"], "cp")
    app = cluster.app(cluster.primary.path(name))
    app.sql(f"PRAGMA journal_mode={mode}", "PRAGMA synchronous=FULL")
    assert app.sql("SELECT count(*) FROM s") == [(ROWS,)]
    app.sql("INSERT INTO s VALUES(1000, x'00')")
    cluster.primary.kill()
    app.kill()
    cluster.primary.start()
    assert content(cluster.primary.path(name)) == before + [(1000, "00")]
    cluster.check(name)


@pytest.mark.parametrize("bs", [16, 512, 4096])
def test_journal_that_is_copied_in_small_pieces(cluster, name, died, bs):
    path, before = died
    bring(cluster, path, name, [""], "cp")
    with open(str(path) + "-journal", "rb") as source, \
            open(cluster.primary.path(name + "-journal"), "wb", buffering=0) as target:
        while piece := source.read(bs):
            target.write(piece)
    restart(cluster.primary, "killed")
    assert content(cluster.primary.path(name)) == before
    arrives(cluster, name, ROWS)


def test_journal_that_is_taken_away_leaves_what_is_there(cluster, name, died):
    """As on a disk: who removes the journal has half a transaction."""
    path, _ = died
    bring(cluster, path, name, ORDERS["journal first"], "cp")
    os.unlink(cluster.primary.path(name + "-journal"))
    wait_until(lambda: cluster.primary.position(name), what="the file to be taken over", detail=cluster.logs)
    cluster.wait_for_replicas(name)
    assert cluster.primary.export(name) == cluster.replica.export(name)
