"""Pages that rot on disk: noticed by verify, by the scrub and by the reads themselves; a replica heals by itself, a
primary overwrites nothing."""

import errno
import json
import os
import sqlite3

import pytest

from support import SqliteFailed, wait_until

PAGE = 4096
REFUSALS = ("disk I/O error", "database disk image is malformed")  # SQLite's words for EIO, by where it reads


def fill(node, name="app.db", mode="WAL", rows=60):
    with node.sqlite(name) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, b)")
        connection.execute("BEGIN")
        for i in range(rows):
            connection.execute("INSERT INTO t VALUES(?, randomblob(9000))", (i,))
        connection.execute("COMMIT")


def forget(path):
    """What the kernel has cached of this file of the mount."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def flip(node, name="app.db", page=20):
    """A bit of the file below the mount."""
    with open(node.backing(name), "r+b") as file:
        file.seek((page - 1) * PAGE + 1000)
        byte = file.read(1)[0]
        file.seek((page - 1) * PAGE + 1000)
        file.write(bytes([byte ^ 0x04]))


def read_all(node, name="app.db"):
    return node.execute(name, "SELECT sum(length(hex(b))) FROM t")


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_damaged_page_of_the_primary_is_an_error_and_is_left_as_it_is(make_cluster, mode):
    cluster = make_cluster()
    primary, replica = cluster.primary, cluster.replica
    fill(primary, mode=mode)
    fill(primary, "other.db")
    cluster.check("app.db")
    said = primary.rillfs("verify")
    assert "app.db  ok, " in said.stdout and "other.db  ok, " in said.stdout, said.stdout
    flip(primary)
    damaged = primary.backing("app.db").read_bytes()
    forget(primary.path("app.db"))
    # The read notices.
    with pytest.raises(sqlite3.DatabaseError, match="|".join(REFUSALS)):
        read_all(primary)
    with open(primary.path("app.db"), "rb") as file, pytest.raises(OSError) as failed:
        file.seek(19 * PAGE)
        file.read(PAGE)
    assert failed.value.errno == errno.EIO
    assert "page 20 (bytes 77824 to 81919 of the file) is not what was committed" in primary.log()
    said = primary.database("app.db")
    assert "page 20" in said["problem"] and said["damaged"] == 1, said
    # So does verify.
    found = primary.rillfs("verify", check=False)
    assert found.returncode == 1 and "page 20" in found.stderr and "other.db  ok, " in found.stdout, found
    found = json.loads(primary.rillfs("verify", "--json", "app.db", check=False).stdout)
    assert not found["ok"] and found["databases"][0]["damaged"] == [20], found
    assert primary.database("app.db")["check"]["pages_damaged"] == 1
    # Nothing was overwritten, and the replica has it whole.
    assert primary.backing("app.db").read_bytes() == damaged
    assert replica.rillfs("verify", "app.db").returncode == 0
    # What the message says puts it right.
    copy = primary.directory / "copy"
    replica.rillfs("export", "-q", "app.db", copy)
    primary.path("app.db").unlink()
    primary.rillfs("import", "-q", copy, "app.db")
    cluster.check("app.db")
    assert primary.rillfs("verify").returncode == 0


@pytest.mark.parametrize("noticed_by", ["read", "verify", "scrub"])
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_damaged_page_of_a_replica_heals_by_itself(make_cluster, mode, noticed_by):
    scrub = ["--scrub-interval", "500ms"] if noticed_by == "scrub" else []
    cluster = make_cluster(replica_options=scrub)
    primary, replica = cluster.primary, cluster.replica
    fill(primary, mode=mode)
    cluster.check("app.db")
    expected = read_all(primary)
    app = cluster.app(replica.path("app.db"))  # in WAL mode: it is warm meanwhile
    assert app.sql("SELECT count(*) FROM t") == [(60,)]
    flip(replica)
    flip(replica, page=1) if noticed_by != "scrub" else None
    forget(replica.path("app.db"))
    if noticed_by == "read":
        try:
            assert read_all(replica) == expected
        except sqlite3.DatabaseError as error:
            assert str(error) in REFUSALS
    elif noticed_by == "verify":
        assert replica.rillfs("verify", check=False).returncode == 1
    wait_until(lambda: "it is in service again" in replica.log(), 20, "the replica to heal", cluster.logs)
    assert "not what was committed" in replica.log()
    wait_until(lambda: replica.database("app.db")["problem"] is None, 20, "no problem", cluster.logs)
    assert read_all(replica) == expected
    assert app.sql("SELECT sum(length(hex(b))) FROM t") == expected
    # It goes on as before.
    primary.execute("app.db", "UPDATE t SET b=randomblob(8000) WHERE n%7=0")
    cluster.check("app.db")
    app.close()
    assert replica.rillfs("verify").returncode == 0
    assert replica.database("app.db")["damaged"] >= 1


def test_a_replica_heals_while_the_primary_commits_and_readers_read(make_cluster):
    cluster = make_cluster()
    primary, replica = cluster.primary, cluster.replica
    fill(primary)
    cluster.check("app.db")
    app = cluster.app(replica.path("app.db"))
    with primary.sqlite("app.db") as writer:
        for i in range(3):
            flip(replica, page=15 + i)
            forget(replica.path("app.db"))
            replica.rillfs("verify", check=False)
            for j in range(40):
                writer.execute("UPDATE t SET b=randomblob(7000) WHERE n=?", (j,))
                try:
                    assert app.sql("SELECT count(*) FROM t") == [(60,)]
                except SqliteFailed as error:
                    assert error.message in REFUSALS, error
            wait_until(lambda: replica.database("app.db")["problem"] is None, 30, "no problem", cluster.logs)
    app.close()
    cluster.check("app.db")
    assert replica.rillfs("verify").returncode == 0


def test_the_scrub_of_a_primary_says_what_it_finds(make_cluster):
    cluster = make_cluster(replicas=0, options=["--scrub-interval", "500ms"])
    primary = cluster.primary
    fill(primary)
    wait_until(lambda: primary.database("app.db")["check"], 10, "a first round")
    flip(primary, page=33)
    wait_until(lambda: "page 33" in (primary.database("app.db")["problem"] or ""), 10, "the damage to be found",
               primary.log)
    flip(primary, page=33)  # put right by somebody
    wait_until(lambda: primary.database("app.db")["problem"] is None, 10, "the next round")


def test_verify_reads_many_databases_and_names_them_in_order(make_cluster):
    cluster = make_cluster()
    names = [f"db{i}.db" for i in range(10, 25)]
    for name in names:
        fill(cluster.primary, name)
    for name in names:
        cluster.wait_for_replicas(name)
    flip(cluster.primary, names[7])
    for node, wrong in ((cluster.primary, [names[7]]), (cluster.replica, [])):
        said = json.loads(node.rillfs("verify", "--json", check=False).stdout)
        assert [database["name"] for database in said["databases"]] == names
        assert [database["name"] for database in said["databases"] if not database["ok"]] == wrong
        assert all(database["complete"] for database in said["databases"])


def test_verify_says_what_it_cannot_do(make_cluster):
    cluster = make_cluster(replicas=0)
    fill(cluster.primary)
    unknown = cluster.primary.rillfs("verify", "nobody.db", check=False)
    assert unknown.returncode == 1 and "no database nobody.db" in unknown.stderr, unknown
    assert cluster.primary.rillfs("verify", "--verify-rate", "0", "app.db").returncode == 0
    cluster.primary.stop()
    gone = cluster.primary.rillfs("verify", check=False)
    assert gone.returncode == 1 and "no rillfs is running" in gone.stderr, gone


def test_a_parked_branch_is_listed_exported_and_dropped(make_cluster):
    cluster = make_cluster()
    primary, replica = cluster.primary, cluster.replica
    fill(primary)
    cluster.check("app.db")
    replica.stop()
    primary.execute("app.db", "INSERT INTO t VALUES(1000, 'only here')")
    primary.stop()
    replica.primary = None
    replica.start()
    replica.execute("app.db", "INSERT INTO t VALUES(2000, 'the history that counts')")
    primary.primary = replica
    primary.start()
    wait_until(lambda: primary.status()["parked"], 20, "the branch to be parked", cluster.logs)
    primary.wait_for_position("app.db", replica.position("app.db"))
    name = primary.status()["parked"][0]
    assert primary.database("app.db")["parked"] == 1
    assert name in primary.rillfs("status").stdout
    listed = json.loads(primary.rillfs_parked("list", "--json").stdout)
    assert [(one["name"], one["database"], one["exports_as"]) for one in listed] == [(name, "app.db", "database")]
    target = primary.directory / "branch.db"
    primary.rillfs_parked("export", name, target)
    with sqlite3.connect(target) as branch:
        assert branch.execute("SELECT b FROM t WHERE n>=1000").fetchall() == [("only here",)]
        assert branch.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    branch.close()
    asked = primary.rillfs_parked("drop", name, check=False)
    assert asked.returncode == 2 and "--yes" in asked.stderr, asked
    primary.rillfs_parked("drop", "--yes", name)
    assert primary.status()["parked"] == []
    assert "Nothing is parked" in primary.rillfs_parked("list").stdout
