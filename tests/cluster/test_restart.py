"""Starting, stopping and coming back: what a node does by itself, and what it refuses."""

import os
import signal

import pytest

from support import Node, RILLFS, SqliteFailed, is_mounted, run, wait_until

CREATE = ("PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)")


def fill(cluster, name="x.db", rows=50):
    with cluster.primary.sqlite(name) as connection:
        for i in range(rows):
            connection.execute("INSERT INTO t VALUES(?, randomblob(1000))", (i,))


def test_clean_restart_replays_nothing_and_keeps_the_position(make_cluster):
    cluster = make_cluster()
    cluster.primary.execute("x.db", *CREATE)
    fill(cluster)
    position = cluster.check("x.db")
    for node in reversed(cluster.nodes):
        assert node.stop() == 0
    cluster.check_stopped("x.db")
    cluster.primary.start()
    cluster.replica.start()
    for node in cluster.nodes:
        assert "replayed" not in node.log(), node.log()
        assert node.position("x.db") == position
    fill(cluster)
    cluster.check("x.db")


def test_restart_after_a_kill_replays_the_log(make_cluster):
    cluster = make_cluster()
    cluster.primary.execute("x.db", *CREATE)
    connection = cluster.app(cluster.primary.path("x.db"))
    connection.sql(*(f"INSERT INTO t VALUES({i}, zeroblob(3000))" for i in range(50)))
    position = cluster.wait_for_replicas("x.db")
    cluster.primary.kill()
    connection.kill()
    cluster.primary.start()
    assert "replayed" in cluster.primary.log(), cluster.primary.log()
    assert cluster.primary.position("x.db") == position
    assert cluster.primary.execute("x.db", "SELECT count(*) FROM t") == [(50,)]
    cluster.check("x.db")


@pytest.mark.parametrize("copied_in", [False, True])
def test_application_that_outlives_the_daemon_never_commits_into_nothing(make_cluster, copied_in):
    """Where the kernel passes its WAL through, it can go on without a daemon. What it is told to have committed is
    there; once another daemon has begun, it is told nothing."""
    cluster = make_cluster()
    cluster.primary.execute("x.db", *CREATE)
    app = cluster.app(cluster.primary.path("x.db"))
    app.sql("PRAGMA synchronous=NORMAL")  # so that a commit is no request
    committed = []

    def insert(number):
        try:
            app.sql(f"INSERT INTO t VALUES({number}, zeroblob(3000))")
            committed.append(number)
        except SqliteFailed:
            pass

    for number in range(10):
        insert(number)
    assert len(committed) == 10
    if copied_in:  # what comes without a transaction is not taken over yet when the daemon dies
        app.sql("PRAGMA wal_checkpoint(TRUNCATE)", "UPDATE t SET b = 1 WHERE a = 9")  # which leaves page 1 alone
        with open(cluster.primary.path("x.db"), "r+b", buffering=0) as file:
            page = os.pread(file.fileno(), 4096, 0)
            os.pwrite(file.fileno(), page[:1000], 0)
    cluster.primary.kill()
    for number in range(10, 20):
        insert(number)
    cluster.primary.start()
    before = len(committed)
    for number in range(20, 30):
        insert(number)
    app.kill()
    there = cluster.primary.execute("x.db", "SELECT a FROM t")
    assert set(committed) <= {a for a, in there}, f"{before} of {len(committed)} before the start, {len(there)} there"
    cluster.check("x.db")


def test_stale_mount_of_a_killed_daemon_is_taken_over(make_cluster):
    cluster = make_cluster()
    cluster.primary.execute("x.db", *CREATE)
    cluster.primary.kill()
    assert is_mounted(cluster.primary.mountpoint)
    cluster.primary.start()
    fill(cluster)
    cluster.check("x.db")


def test_terminated_node_leaves_no_mount_although_files_are_open(make_cluster):
    cluster = make_cluster()
    cluster.primary.execute("x.db", *CREATE)
    cluster.wait_for_replicas("x.db")
    apps = [cluster.app(node.path("x.db")) for node in cluster.nodes]
    for app in apps:
        app.sql("SELECT * FROM t")
    for node in cluster.nodes:
        assert node.stop(timeout=30) == 0
        assert not is_mounted(node.mountpoint)
    for app in apps:
        app.kill()


def test_unmount_from_outside_ends_the_node(make_cluster):
    cluster = make_cluster(replicas=0)
    run("umount", cluster.primary.mountpoint)
    cluster.primary.reap()
    assert "unmounted" in cluster.primary.log()


def test_second_daemon_on_the_same_data_is_refused_and_names_the_first(make_cluster):
    cluster = make_cluster(replicas=0)
    elsewhere = cluster.directory / "elsewhere"
    elsewhere.mkdir()
    second = run(RILLFS, "mount", "--data", cluster.primary.data, "--listen", "127.0.0.1:21999", elsewhere,
                 check=False)
    assert second.returncode == 1
    assert f"process {cluster.primary.process.pid})" in second.stderr, second.stderr
    assert cluster.primary.running


def test_second_daemon_on_the_same_mountpoint_is_refused(make_cluster):
    cluster = make_cluster(replicas=0)
    second = run(RILLFS, "mount", "--data", cluster.directory / "other", "--listen", "127.0.0.1:21998",
                 cluster.primary.mountpoint, check=False)
    assert second.returncode == 1 and "is mounted already" in second.stderr, second.stderr
    cluster.primary.execute("x.db", *CREATE)


def test_port_in_use_is_refused_with_the_address(make_cluster):
    cluster = make_cluster(replicas=0)
    elsewhere = cluster.directory / "elsewhere"
    elsewhere.mkdir()
    second = run(RILLFS, "mount", "--data", cluster.directory / "other", "--listen", cluster.primary.address,
                 elsewhere, check=False)
    assert second.returncode == 1 and cluster.primary.address in second.stderr, second.stderr
    assert not is_mounted(elsewhere)


def test_primary_of_another_cluster_is_refused_and_nothing_is_lost(make_cluster):
    first, second = make_cluster(), make_cluster(replicas=0)
    first.primary.execute("x.db", *CREATE)
    fill(first)
    position = first.check("x.db")
    second.primary.execute("x.db", "CREATE TABLE other(a)")
    first.replica.stop()
    first.replica.primary = second.primary
    first.replica.start()
    wait_until(lambda: "cluster" in first.replica.log().lower(), 10, "a message about the cluster",
               first.replica.log)
    assert first.replica.position("x.db") == position
    assert first.replica.execute("x.db", "SELECT count(*) FROM t") == [(50,)]
    assert not first.replica.status()["connected"]


def test_replica_that_was_away_catches_up_from_the_log(make_cluster):
    cluster = make_cluster()
    cluster.primary.execute("x.db", *CREATE)
    cluster.check("x.db")
    cluster.replica.stop()
    fill(cluster)
    cluster.primary.execute("new.db", *CREATE)
    cluster.replica.start()
    cluster.check("x.db")
    wait_until(lambda: cluster.replica.path("new.db").exists(), what="the new database")
    cluster.check("new.db")
    assert "x.db: snapshot" not in cluster.replica.log()


def test_replica_that_was_away_for_too_long_gets_a_snapshot(make_cluster):
    cluster = make_cluster(options=["--retention-bytes", "64KiB", "--segment-size", "64KiB",
                                    "--retention-time", "1s"])
    cluster.primary.execute("x.db", *CREATE)
    cluster.check("x.db")
    cluster.replica.stop()
    with cluster.primary.sqlite("x.db") as connection:
        connection.execute("PRAGMA wal_autocheckpoint=20")
        for i in range(60):
            connection.execute("INSERT INTO t VALUES(?, randomblob(400000))", (i,))
    cluster.primary.restart()  # the replay base moves to the end, and the log may go
    fill(cluster)
    cluster.replica.start()
    cluster.check("x.db", timeout=30)
    if "sending a snapshot" not in cluster.primary.log():
        pytest.fail(f"the log was not trimmed: {[s.stat().st_size for s in cluster.primary.segments()]}")


def test_drop_and_rename_while_the_replica_is_away(make_cluster):
    cluster = make_cluster()
    for name in ("a.db", "b.db", "c.db"):
        cluster.primary.execute(name, *CREATE)
        cluster.check(name)
    cluster.replica.stop()
    os.unlink(cluster.primary.path("a.db"))
    os.rename(cluster.primary.path("b.db"), cluster.primary.path("a.db"))
    os.unlink(cluster.primary.path("c.db"))
    cluster.primary.execute("c.db", "CREATE TABLE fresh(x)")
    cluster.replica.start()
    wait_until(lambda: not cluster.replica.path("b.db").exists(), what="b.db to go", detail=cluster.logs)
    for name in ("a.db", "c.db"):
        wait_until(lambda: cluster.replica.position(name) == cluster.primary.position(name), 10, name,
                   cluster.logs)
        cluster.check(name)


def test_primary_that_was_away_is_found_again(make_cluster):
    cluster = make_cluster()
    cluster.primary.execute("x.db", *CREATE)
    cluster.check("x.db")
    cluster.primary.stop()
    wait_until(lambda: not cluster.replica.status()["connected"], 10, "the replica to notice")
    assert cluster.replica.execute("x.db", "SELECT count(*) FROM t") == [(0,)]
    assert cluster.replica.path(".primary").read_text().strip() == cluster.primary.address
    cluster.primary.start()
    fill(cluster)
    cluster.check("x.db")


def test_databases_found_in_the_tree_are_adopted_at_the_start(make_cluster):
    cluster = make_cluster()
    cluster.primary.stop()
    run("sqlite3", cluster.primary.backing("found.db"), "create table t(a); insert into t values(5)")
    cluster.primary.start()
    wait_until(lambda: cluster.replica.path("found.db").exists(), what="the database", detail=cluster.logs)
    cluster.check("found.db")


# --- COMMAND

def command_node(cluster, primary=None):
    return Node(cluster.directory, f"command{len(list(cluster.directory.iterdir()))}", primary)


def run_command(cluster, node, *command):
    node.spawn(*command)
    try:
        return node.reap(timeout=20)
    finally:
        node.clean_up()


def test_command_runs_when_ready_and_gives_its_exit_code(make_cluster):
    cluster = make_cluster(replicas=0)
    cluster.primary.execute("x.db", *CREATE)
    fill(cluster, rows=7)
    node = command_node(cluster, cluster.primary)
    code = run_command(cluster, node, "sh", "-c",
                       f"test $(sqlite3 {node.mountpoint}/x.db 'select count(*) from t') = 7 || exit 9; exit 5")
    assert code == 5, node.log()
    assert not is_mounted(node.mountpoint)


def test_command_that_is_not_there_is_127(make_cluster):
    cluster = make_cluster(replicas=0)
    assert run_command(cluster, command_node(cluster), "/no/such/program") == 127


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_forwarded_to_the_command(make_cluster, number):
    cluster = make_cluster(replicas=0)
    node = command_node(cluster)
    name = number.name[3:]
    node.spawn("sh", "-c", f"trap 'echo got; exit 42' {name}; echo up; while :; do sleep 0.05; done")
    try:
        wait_until(lambda: "\nup\n" in node.log(), what="the command", detail=node.log)
        node.process.send_signal(number)
        assert node.reap() == 42
        assert "got" in node.log()
    finally:
        node.clean_up()
