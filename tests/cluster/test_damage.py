"""One damaged database on a node that has others."""

import errno
import json
import os

import pytest

from support import wait_until

NAMES = ("good.db", "bad.db")


def fill(cluster):
    for name in NAMES:
        with cluster.primary.sqlite(name) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("CREATE TABLE t(a, b)")
            for i in range(20):
                connection.execute("INSERT INTO t VALUES(?, randomblob(3000))", (i,))
        cluster.check(name)


def directory_of(node, name):
    return next(i.parent for i in node.data.glob("dbs/*/info.json") if json.loads(i.read_text())["path"] == name)


def damage_log(node, name):
    """In the middle of records that later ones say were durable."""
    segment = sorted((directory_of(node, name) / "log").glob("*.seg"))[-1]
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 0xff
    segment.write_bytes(content)


def files_below(directory):
    return {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_primary_with_one_damaged_log_serves_the_others_and_replicas_keep_their_copy(make_cluster):
    cluster = make_cluster()
    fill(cluster)
    primary, replica = cluster.primary, cluster.replica
    position = replica.position("bad.db")
    primary.kill()
    damage_log(primary, "bad.db")
    before = files_below(directory_of(primary, "bad.db")), primary.backing("bad.db").read_bytes()
    primary.start()
    # The others work, and reach the replica.
    primary.execute("good.db", "INSERT INTO t VALUES(99, 99)")
    cluster.check("good.db")
    # It is reported with what, why and what to do.
    problem = primary.database("bad.db")["problem"]
    assert ".seg, offset " in problem and "backup" in problem, problem
    assert "bad.db: out of service" in primary.log(), primary.log()
    # Applications get EIO, whatever they try.
    attempts = [lambda p=primary.path("bad.db" + s), f=f: os.close(os.open(p, f))
                for s in ("", "-journal", "-wal") for f in (os.O_RDWR, os.O_RDWR | os.O_CREAT)
                if s == "" or f != os.O_RDWR]
    attempts += [lambda: os.truncate(primary.path("bad.db"), 0), lambda: os.unlink(primary.path("bad.db")),
                 lambda: os.rename(primary.path("bad.db"), primary.path("other.db")),
                 lambda: os.rename(primary.path("good.db"), primary.path("bad.db")),
                 lambda: os.link(primary.path("bad.db"), primary.path("link"))]
    for attempt in attempts:
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == errno.EIO, refused.value
    assert (files_below(directory_of(primary, "bad.db")), primary.backing("bad.db").read_bytes()) == before
    # The replica was not told to drop it.
    assert replica.position("bad.db") == position
    assert replica.execute("bad.db", "SELECT count(*) FROM t") == [(20,)]


def test_replica_with_one_damaged_database_parks_it_and_fetches_it_anew(make_cluster):
    cluster = make_cluster()
    fill(cluster)
    cluster.replica.kill()
    # Not its log: what a replica's log holds is not known to be durable there, and a damaged end is cut off.
    sums = next(directory_of(cluster.replica, "bad.db").glob("pages-*.crc"))
    sums.write_bytes(sums.read_bytes()[:-8] + bytes(8))
    cluster.replica.start()
    assert "pages-" in cluster.replica.log() and "parked" in cluster.replica.log(), cluster.replica.log()
    wait_until(lambda: cluster.replica.position("bad.db"), what="the database on the replica", detail=cluster.logs)
    for name in NAMES:
        cluster.primary.execute(name, "INSERT INTO t VALUES(99, 99)")
        cluster.check(name)
    assert cluster.replica.database("bad.db")["parked"] == 1
    assert cluster.replica.database("good.db")["parked"] == 0
