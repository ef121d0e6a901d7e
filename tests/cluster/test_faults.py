"""The data directory's disk fails or fills up, at every kind of access that changes it.

No room (ENOSPC, EDQUOT, a write that stops half way): the application gets SQLITE_FULL where SQLite can say so, what
was committed stays, and it all works again once there is room, without a restart, on the primary and on a replica.
EIO: an I/O error, and after a restart everything that was acknowledged is there. By injection at each labelled
access (replication/base/failpoint.h), and with real filesystems that are full. RILLFS_TEST_ROUNDS=2 takes all of
them; without, a choice.
"""

import contextlib
import json
import os
import resource
import sqlite3
import subprocess

import pytest

from making import rows_in
from support import SANITIZED, Cluster, end, script, wait_until
from test_failpoints import MODES, NAMES, ROUNDS, Run, templates  # noqa: F401: a fixture

NO_ROOM = ["enospc", "edquot", "short"]

# What is written to, in parts of `everything` of every_step.py: what it is for, and the calls.
PRIMARY = {
    "base: record": "create write truncate sync rename remove sync_directory",
    "base: sync database": "sync",
    "create database": "make_directory sync_directory",
    "database info": "create write truncate sync rename sync_directory",
    "drop database": "remove rename",
    "dropped databases": "create write",
    "log: append": "write",
    "log: retain": "remove",
    "log: roll": "create write sync_directory",
    "log: sync": "sync",
    "log: zeroes ahead": "write truncate",
    "note unlogged write": "create sync_directory",
    "reconcile: read": "remove",
    "rename": "sync_directory",
    "rename record": "create write truncate sync rename remove sync_directory",
    "database: write": "write truncate",
    "write": "write",
}
WAL = {"capture: write WAL": "write truncate", "database: sync": "sync"}
ROLLBACK = {
    "attached record": "create write truncate sync rename remove sync_directory",
    "transaction: journal": "write",
    "transaction: stage": "create write truncate",
    "transaction: super-journal": "sync_directory",
    "commit: copy staged pages": "write",
}
REPLICA = {
    "base: record": "create write truncate sync rename remove sync_directory",
    "base: sync database": "sync",
    "database info": "create write truncate sync rename sync_directory",
    "database: write": "write truncate",
    "drop database": "remove rename",
    "install database": "create write sync rename remove make_directory sync_directory",
    "log: append": "write",
    "log: open": "make_directory sync sync_directory",
    "log: roll": "create write sync_directory",
    "log: sync": "sync",
    "log: zeroes ahead": "write truncate",
    "receive: spool image": "create write truncate",
    "receive: make spool directory": "make_directory",
    "receive: remove spooled image": "remove",
    "rename": "sync_directory",
    "rename record": "create write truncate sync rename remove sync_directory",
    "snapshot: receive": "create write truncate sync",
}
# A sync that failed may have lost what was to be written, and a page over another one may be half there: then only the
# log is right, and a database is closed to writers until the restart, whatever the error was.
CLOSES = {("file.sync", "log: sync"), ("file.sync", "database: sync"), ("file.sync_directory", "log: roll"),
          ("file.write", "commit: copy staged pages")}
# Whose failure is that of a write of SQLite's, so that it can say what it is (not of a call that ends a journal).
SAYS_FULL = {"capture: write WAL", "transaction: stage", "transaction: journal"}
# On a replica these need a restart, whatever the error was.
CLOSES_REPLICA = {("file.sync", "log: sync"), ("file.sync_directory", "log: roll")}
# These come by at the start as well, where a failure ends the daemon: there is no more to it.
AT_START = {"rename record", "log: open", "base: record"}


def pairs(*tables):
    return [(f"file.{call}", label) for table in tables for label, calls in table.items() for call in calls.split()]


def choice(cases):
    """What runs without being asked for more."""
    return cases if ROUNDS > 1 else [case for i, case in enumerate(cases) if i % 40 == 0]


def cases(all_pairs, actions, modes, but=()):
    made = []
    for i, (call, label) in enumerate(pair for pair in all_pairs if pair not in but):
        for j, action in enumerate(actions):
            if action != "short" or call == "file.write":
                mode = modes[(i + j) % len(modes)]
                made.append(pytest.param(call, label, action, mode, id=f"{call}@{label.replace(': ', ' ')}-{action}-{mode}"))
    return choice(made)


def fails(run_, node, call, label, action, times="1-2"):
    run_.start(node, f"{call}@{label}:{times}={action}")
    if not node.running:
        assert label in AT_START, node.log()
        assert node.reap() == 1 and "failpoint" in node.log(), node.log()
        node.start()


def stop_all(run_):
    """The last of what there is to write is written now."""
    for node in reversed(run_.cluster.nodes):
        assert node.stop() == 0, node.log()


@pytest.mark.parametrize("call, label, action, mode",
                         cases(pairs(PRIMARY, WAL), NO_ROOM, ["WAL"], CLOSES)
                         + cases(pairs(PRIMARY, ROLLBACK), NO_ROOM, MODES[1:], CLOSES))
@pytest.mark.deadline(120)
def test_primary_without_room_at(call, label, action, mode, templates, clusters):  # noqa: F811
    run_ = Run(templates, clusters, mode)
    fails(run_, run_.primary, call, label, action)
    assert run_.work(tries=8) == 0, (run_.errors(), run_.primary.log())
    if label in SAYS_FULL and call != "file.truncate":
        assert {code for _, code, _ in run_.errors()} <= {"SQLITE_FULL", "OSError"}, run_.errors()
    run_.check()
    run_.check_writes()
    stop_all(run_)
    assert f"failpoint {call}@{label}" in run_.primary.log(whole=True)
    run_.start()
    run_.check()


@pytest.mark.parametrize("call, label, mode",
                         [case.values[:2] + case.values[3:] for case in
                          cases(pairs(PRIMARY, WAL), ["eio"], ["WAL"]) + cases(pairs(PRIMARY, ROLLBACK), ["eio"], MODES[1:])])
@pytest.mark.deadline(120)
def test_primary_with_an_io_error_at(call, label, mode, templates, clusters):  # noqa: F811
    run_ = Run(templates, clusters, mode)
    fails(run_, run_.primary, call, label, "eio")
    run_.work()
    for what, code, message in run_.errors():
        assert code.startswith("SQLITE_IOERR") or code in ("OSError", "SQLITE_CANTOPEN", "NONE"), (what, code, message)
    run_.primary.stop()
    assert f"failpoint {call}@{label}" in run_.primary.log(whole=True)
    run_.start()
    run_.check()
    run_.check_writes()


@pytest.mark.parametrize("call, label, action, mode", cases(pairs(REPLICA), [*NO_ROOM, "eio"], MODES))
@pytest.mark.deadline(120)
def test_replica_that_fails_at(call, label, action, mode, templates, clusters):  # noqa: F811
    run_ = Run(templates, clusters, mode)
    fails(run_, run_.replica, call, label, action)
    assert run_.work() == 0, run_.errors()
    if action == "eio" or (call, label) in CLOSES_REPLICA:
        assert run_.replica.stop() == 0
        run_.start()
    run_.check()
    run_.check_writes()
    stop_all(run_)
    assert f"failpoint {call}@{label}" in run_.replica.log(whole=True)
    run_.start()
    run_.check()


# --- the real thing


class SmallDisk:
    """A node's data directory, or a part of it, on a filesystem of its own."""

    def __init__(self, node, mib, below):
        self.directory = node.data / below
        self.directory.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "none", str(self.directory)], check=True,
                       timeout=20)

    def grow(self, mib):
        subprocess.run(["mount", "-o", f"remount,size={mib}m", str(self.directory)], check=True, timeout=20)

    def clean_up(self):
        subprocess.run(["umount", "-l", str(self.directory)], check=True, timeout=20)


@pytest.fixture
def on_small_disk():
    """A cluster, one of whose nodes has little room."""
    made = []

    def make(of, mib, options=(), below="."):
        cluster = Cluster(options=options)
        made.append((cluster, SmallDisk(getattr(cluster, of), mib, below)))
        return (cluster.start(), made[-1][1])
    yield make
    for cluster, disk in made:
        for app in cluster.apps:
            app.kill()
        for node in reversed(cluster.nodes):
            node.clean_up()
        disk.clean_up()
        cluster.clean_up()


def insert(connection, n):
    size = 3000 + 37 * (n % 9) + (60000 if n % 5 == 0 else 0)
    connection.execute("INSERT INTO t VALUES(?, randomblob(?))", (n, size))


@pytest.mark.deadline(90)
def test_full_log_under_a_checkpoint_takes_no_commit_of_another_thread_back(on_small_disk):
    """Both are one process, and locks are a process's: the sync that fails could be that of the open commit."""
    cluster, disk = on_small_disk("primary", 2, below="dbs")
    if cluster.primary.status()["capture"] != "tail":
        pytest.skip("WALs are not passed through here")  # then each commit is refused itself
    with cluster.primary.sqlite("a.db") as writer, cluster.primary.sqlite("a.db") as other:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, b)")
        for connection in (writer, other):
            for pragma in ("synchronous=NORMAL", "wal_autocheckpoint=0", "cache_size=5"):
                connection.execute(f"PRAGMA {pragma}")
        for n in range(100):  # 4 MB; the log takes less than 2
            writer.execute("INSERT INTO t VALUES(?, randomblob(40000))", (n,))
        writer.execute("BEGIN")
        writer.execute("INSERT INTO t VALUES(100, randomblob(60000))")
        with pytest.raises(sqlite3.Error):
            other.execute("PRAGMA wal_checkpoint").fetchall()
        disk.grow(64)
        writer.execute("COMMIT")
        # Before they are closed: what SQLite writes back then would be taken over as content that arrived.
        wait_until(lambda: rows_in(cluster.replica, "a.db", "t") == 101, 20, "all rows", cluster.logs)
    cluster.check("a.db")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.deadline(90)
def test_full_disk_of_a_primary_is_said_to_be_full_and_is_over_when_there_is_room(on_small_disk, mode):
    cluster, disk = on_small_disk("primary", 6)
    n, refused = 0, []
    with cluster.primary.sqlite("a.db") as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, b)")
        while len(refused) < 12:
            try:
                insert(connection, n)
                n += 1
            except sqlite3.Error as error:
                refused.append(error.sqlite_errorname)
        assert set(refused) == {"SQLITE_FULL"}, refused
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (n,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        disk.grow(64)
        for more in range(20):
            insert(connection, n + more)
    cluster.check("a.db")
    assert cluster.replica.execute("a.db", "SELECT count(*) FROM t") == [(n + 20,)]
    cluster.primary.restart()
    cluster.check("a.db")


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.deadline(90)
def test_full_disk_of_a_replica_holds_it_back_until_there_is_room(on_small_disk, mode):
    cluster, disk = on_small_disk("replica", 6)
    primary, replica = cluster.primary, cluster.replica
    with primary.sqlite("a.db") as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, b)")
        cluster.wait_for_replicas("a.db")
        # Who comes later needs room itself, for a wal-index.
        reader = cluster.app(replica.path("a.db"))
        reader.sql("SELECT count(*) FROM t")
        for n in range(600):
            insert(connection, n)
    wait_until(lambda: "No space left on device" in replica.log(), 20, "the replica to say what is missing", replica.log)
    wait_until(lambda: replica.database("a.db")["lag_txs"] or replica.database("a.db")["problem"], 20,
               "the replica's status to show it", replica.log)
    assert reader.sql("PRAGMA integrity_check") == [("ok",)]
    disk.grow(200)
    cluster.check("a.db", 40)
    assert replica.running and replica.execute("a.db", "SELECT count(*) FROM t") == [(600,)]


@pytest.mark.deadline(120)
def test_replica_that_cannot_keep_up_does_not_hold_the_primarys_log(on_small_disk):
    """It stays connected and takes nothing: its disk is full. The primary's budget wins; later it gets what differs."""
    cluster, disk = on_small_disk("replica", 8, ("--retention-bytes", "1MiB", "--segment-size", "256KiB"))
    primary, replica = cluster.primary, cluster.replica
    with primary.sqlite("a.db") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, b)")
        cluster.wait_for_replicas("a.db")
        sizes = []

        def lets_go_of_its_log():  # not before the next replay base, which is due after 64 MiB
            for _ in range(10):
                connection.execute("INSERT OR REPLACE INTO t VALUES(abs(random()) % 10, randomblob(300000))")
            sizes.append(sum(segment.stat().st_size for segment in primary.segments()))
            return sizes[-1] < max(sizes) // 2 or sizes[-1] > 200 << 20
        wait_until(lets_go_of_its_log, 80, "so many commits")
        assert sizes[-1] < 100 << 20, f"the log holds {sizes[-1]} bytes for a replica that takes nothing"
    assert "No space left on device" in replica.log(), replica.log()
    assert primary.status()["replicas"][0]["connected"], primary.status()
    disk.grow(300)
    cluster.check("a.db", 40)
    assert not list((replica.data / "parked").iterdir())


@pytest.mark.deadline(90)
@pytest.mark.skipif(SANITIZED, reason="UBSan opens a pipe to look at an object, and takes a failure for a finding")
def test_too_few_descriptors_refuse_what_is_new_and_lose_nothing(make_cluster):
    cluster = make_cluster()
    primary = cluster.primary
    primary.execute("a.db", "CREATE TABLE t(x)", "INSERT INTO t VALUES(1)")
    soft, hard = resource.prlimit(primary.process.pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{primary.process.pid}/fd"))
    with primary.sqlite("a.db") as connection:
        connection.execute("SELECT * FROM t").fetchall()
        resource.prlimit(primary.process.pid, resource.RLIMIT_NOFILE, (used + 12, hard))
        refused, made = [], []
        for n in range(40):
            try:
                primary.execute(f"b{n}.db", "CREATE TABLE t(x)", "INSERT INTO t VALUES(1)")
                made.append(f"b{n}.db")
            except sqlite3.Error as error:
                refused.append(error.sqlite_errorname)
        assert refused and all(code.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR")) for code in refused), refused
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
        resource.prlimit(primary.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    primary.execute("a.db", "INSERT INTO t VALUES(2)")
    primary.execute("late.db", "CREATE TABLE t(x)")
    for name in ["a.db", "late.db", *made]:
        cluster.check(name)
    assert primary.running


@pytest.mark.deadline(120)
@pytest.mark.skipif(SANITIZED, reason="needs all the memory that there is")
@pytest.mark.parametrize("room_kib", [0, 256, 2048])
def test_too_little_memory_ends_the_node_at_most_and_loses_nothing(make_cluster, room_kib):
    cluster = make_cluster()
    primary = cluster.primary
    primary.execute("a.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(x INTEGER PRIMARY KEY, y)")
    cluster.wait_for_replicas("a.db")
    limit = (primary.memory_kib("VmData") + room_kib) * 1024
    resource.prlimit(primary.process.pid, resource.RLIMIT_DATA, (limit, limit))
    committed = 0
    application = script(WRITES_UNTIL_REFUSED, primary.path("a.db"), stdout=subprocess.PIPE)
    for line in application.stdout:
        committed = int(line)
    end(application, kill=True)
    application.stdout.close()
    with contextlib.suppress(PermissionError, ProcessLookupError):  # it may be ending just now
        resource.prlimit(primary.process.pid, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    # What it has still to do may be what it has no memory for.
    wait_until(lambda: not primary.running or is_followed(cluster), 30, "the end, or the replica", primary.log)
    rows = None
    while rows is None:
        if not primary.running:
            primary.reap()
            assert "out of memory" in primary.log(), primary.log()
            primary.start()
        rows = rows_before_one_more(primary.path("a.db"))
        if rows is None:
            wait_until(lambda: not primary.running, what="the node to end", detail=primary.log)
    assert committed <= rows <= committed + 1
    cluster.check("a.db")


def rows_before_one_more(path):
    """None if the node ends meanwhile. In a process of its own, which has the wal-index mapped: where it cannot be
    read any more, that is the end of the process."""
    application = script(COUNTS_AND_WRITES, path, stdout=subprocess.PIPE)
    said = application.stdout.read()
    end(application)
    application.stdout.close()
    return int(said) if said.strip() else None


def is_followed(cluster):
    """The replica has all that the primary's applications have committed."""
    statuses = [node.rillfs("status", "--json", check=False) for node in cluster.nodes]
    if any(status.returncode != 0 for status in statuses):
        return False
    primary, replica = ({d["name"]: d["txid"] for d in json.loads(status.stdout)["databases"]} for status in statuses)
    return primary == replica


# Whatever an earlier try has left.
COUNTS_AND_WRITES = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
(rows,), = connection.execute("SELECT count(*) FROM t WHERE x <> 100000")
connection.execute("INSERT OR REPLACE INTO t VALUES(100000, 1)")
print(rows, flush=True)
"""

# Says what has been committed; transactions of more and more pages.
WRITES_UNTIL_REFUSED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
for n in range(1, 60):
    try:
        connection.execute("INSERT INTO t VALUES(?, zeroblob(?))", (n, n * 60000))
    except sqlite3.Error:
        break
    print(n, flush=True)
"""
