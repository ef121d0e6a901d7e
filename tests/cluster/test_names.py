"""What names mean: virtual files, negative entries that must not outlive a creation, and which names an
application on a replica may make."""

import errno
import os
import stat

import pytest

from support import SqliteFailed, wait_until

CREATE = ("PRAGMA journal_mode=WAL", "CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")


def test_primary_file_is_on_replicas_only(cluster):
    assert cluster.replica.path(".primary").read_text() == cluster.primary.address + "\n"
    assert not cluster.primary.path(".primary").exists()


def test_lag_file_is_zero_on_the_primary_and_small_when_caught_up(cluster):
    assert cluster.primary.path(".lag").read_text() == "0\n"
    wait_until(lambda: int(cluster.replica.path(".lag").read_text()) < 5000, what="a small lag")


def test_position_file_exists_exactly_beside_databases(cluster, name):
    assert not cluster.primary.path(name + "-pos").exists()
    cluster.primary.execute(name, *CREATE)
    assert cluster.primary.txid(name) > 0
    cluster.primary.path("plain").write_text("no database")
    assert not cluster.primary.path("plain-pos").exists()
    cluster.check(name)


def test_position_is_current_when_commit_returns(cluster, name):
    cluster.primary.execute(name, *CREATE)
    before = cluster.primary.txid(name)
    with cluster.primary.sqlite(name) as connection:
        for i in range(1, 51):
            connection.execute("INSERT INTO t VALUES(?)", (i,))
            assert cluster.primary.txid(name) == before + i


def test_virtual_files_are_not_listed_and_read_only(cluster, name):
    cluster.primary.execute(name, *CREATE)
    cluster.wait_for_replicas(name)
    for node in cluster.nodes:
        listed = os.listdir(node.mountpoint)
        assert name in listed
        assert not {".primary", ".lag", name + "-pos"} & set(listed)
        with pytest.raises(OSError):
            open(node.path(name + "-pos"), "w")
        with pytest.raises(OSError):
            os.truncate(node.path(".lag"), 0)


def test_name_looked_for_in_vain_appears_after_creation_by_another_process(cluster):
    path = cluster.primary.path("looked-for")
    for _ in range(3):
        assert not path.exists()
    app = cluster.app(cluster.primary.path("looked-for"))
    app.sql("CREATE TABLE t(a)")
    assert path.exists() and path.stat().st_size > 0
    app.close()
    os.unlink(path)
    assert not path.exists()


def test_replica_shows_a_new_database_that_was_looked_for_in_vain(cluster, name):
    path = cluster.replica.path(name)
    for _ in range(3):
        assert not path.exists()
        assert not cluster.replica.path(name + "-wal").exists()
        with pytest.raises(FileNotFoundError):
            os.open(path, os.O_RDONLY)
    cluster.primary.execute(name, *CREATE)
    cluster.wait_for_replicas(name)
    assert path.exists()
    assert cluster.replica.execute(name, "SELECT a FROM t") == [(1,)]


def test_replica_shows_a_new_database_in_a_directory_it_did_not_have(cluster, name):
    nested = f"new-{name}/deep/{name}"
    assert not cluster.replica.path(nested).exists()
    cluster.primary.path(nested).parent.mkdir(parents=True)
    cluster.primary.execute(nested, *CREATE)
    cluster.check(nested)


def test_plain_file_on_the_replica_is_moved_aside_for_a_database(cluster, name):
    cluster.replica.path(name).write_text("mine")
    cluster.primary.execute(name, *CREATE)
    cluster.check(name)
    assert cluster.replica.path(name + ".local-1").read_text() == "mine"


def test_database_name_that_was_dropped_is_missing_on_the_replica_and_comes_back(cluster, name):
    cluster.primary.execute(name, *CREATE)
    cluster.check(name)
    os.unlink(cluster.primary.path(name))
    assert not cluster.primary.path(name).exists()
    assert cluster.primary.position(name) is None
    cluster.check_gone(name)
    cluster.primary.execute(name, "CREATE TABLE other(b)", "INSERT INTO other VALUES(7)")
    cluster.check(name)
    assert cluster.replica.execute(name, "SELECT b FROM other") == [(7,)]


def blocked_rename(cluster, name):
    """A rename that the replica cannot do yet: its new directory has the name of a local file there."""
    cluster.primary.execute(name, *CREATE)
    cluster.check(name)
    directory = "d-" + name
    cluster.replica.path(directory).write_text("mine")
    cluster.primary.path(directory).mkdir()
    os.rename(cluster.primary.path(name), cluster.primary.path(directory, name))
    problem = wait_until(lambda: cluster.replica.database(name)["problem"], what="a problem in the status")
    assert f"rename to {directory}/{name}" in problem
    return directory


@pytest.mark.parametrize("reader", [False, True])
def test_rename_that_a_replica_cannot_do_yet_is_done_when_it_can(cluster, name, reader):
    directory = blocked_rename(cluster, name)
    app = cluster.app(cluster.replica.path(name)) if reader else None
    # The content goes on under the old name.
    cluster.primary.execute(f"{directory}/{name}", "INSERT INTO t VALUES(2)")
    cluster.replica.wait_for_position(name, cluster.primary.position(f"{directory}/{name}"))
    assert cluster.replica.execute(name, "SELECT sum(a) FROM t") == [(3,)]
    if app:
        assert app.sql("SELECT sum(a) FROM t") == [(3,)]
    os.unlink(cluster.replica.path(directory))
    wait_until(lambda: cluster.replica.path(directory, name).exists(), what="the new name")
    cluster.primary.execute(f"{directory}/{name}", "INSERT INTO t VALUES(3)")
    cluster.check(f"{directory}/{name}")
    assert not cluster.replica.path(name).exists()
    if app:
        assert app.sql("SELECT sum(a) FROM t") == [(6,)]


def test_rename_back_ends_a_rename_that_a_replica_could_not_do(cluster, name):
    directory = blocked_rename(cluster, name)
    os.rename(cluster.primary.path(directory, name), cluster.primary.path(name))
    wait_until(lambda: not cluster.replica.database(name)["problem"], what="an end of the problem")
    os.unlink(cluster.replica.path(directory))
    os.rename(cluster.primary.path(name), cluster.primary.path("last-" + name))
    wait_until(lambda: cluster.replica.path("last-" + name).exists(), what="the last name")
    cluster.primary.execute("last-" + name, "INSERT INTO t VALUES(2)")
    cluster.check("last-" + name)
    assert not cluster.replica.path(directory).exists()


def attributes(path):
    status = os.stat(path)
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


@pytest.mark.parametrize("reading", [False, True])
def test_mode_and_owner_of_a_database_reach_its_files_on_the_replica(cluster, name, reading):
    cluster.primary.execute(name, *CREATE)
    cluster.check(name)
    ours, theirs = cluster.primary.path(name), cluster.replica.path(name)
    if reading:
        cluster.app(theirs).sql("SELECT * FROM t")
    for mode, owner in ((0o600, 1234), (0o664, 4321), (0o644, 0)):
        assert attributes(theirs) == attributes(ours)  # and the kernel has them cached
        os.chmod(ours, mode)
        if os.geteuid() == 0:
            os.chown(ours, owner, owner + 1)
        for suffix in ("", "-wal", "-shm") if reading else ("",):
            wait_until(lambda: attributes(str(theirs) + suffix) == attributes(ours),
                       what=f"mode and owner of {name + suffix}")
    cluster.check(name)


def test_mode_that_changed_while_the_replica_was_away_is_taken_over(make_cluster):
    cluster = make_cluster()
    cluster.primary.execute("x.db", *CREATE)
    cluster.check("x.db")
    cluster.replica.stop()
    os.chmod(cluster.primary.path("x.db"), 0o600)
    cluster.replica.start()
    wait_until(lambda: attributes(cluster.replica.path("x.db"))[0] == 0o600, what="the new mode")


def test_hard_link_to_a_database_is_refused(cluster, name):
    cluster.primary.execute(name, *CREATE)
    for target in (name, name + "2-wal"):
        with pytest.raises(PermissionError):
            os.link(cluster.primary.path(name), cluster.primary.path(target + "-link"))


def test_symbolic_link_to_a_database_opens_it(cluster, name):
    cluster.primary.execute(name, *CREATE)
    os.symlink(name, cluster.primary.path("link-" + name))
    cluster.primary.execute("link-" + name, "INSERT INTO t VALUES(2)")
    cluster.check(name)
    assert cluster.replica.execute(name, "SELECT sum(a) FROM t") == [(3,)]


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "TRUNCATE", "PERSIST"])
def test_write_on_a_replica_says_readonly_at_once(cluster, name, mode):
    cluster.primary.execute(name, f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a)")
    cluster.wait_for_replicas(name)
    app = cluster.app(cluster.replica.path(name), busy_timeout=30)
    for statement in ("INSERT INTO t VALUES(1)", "CREATE TABLE u(a)", "DROP TABLE t", "VACUUM",
                      "PRAGMA user_version=5"):
        with pytest.raises(SqliteFailed) as failure:
            app.sql(statement, timeout=5)
        assert failure.value.message == "attempt to write a readonly database", (statement, failure.value)
        assert failure.value.code.startswith("SQLITE_READONLY"), failure.value
    assert app.sql("SELECT count(*) FROM t") == [(0,)]
    cluster.primary.execute(name, "INSERT INTO t VALUES(5)")
    cluster.wait_for_replicas(name)
    assert app.sql("SELECT a FROM t") == [(5,)]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_creating_a_database_on_a_replica_fails_to_open(cluster, name, mode):
    app = cluster.app(cluster.replica.path(name))
    with pytest.raises(SqliteFailed) as failure:
        app.sql(f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a)", timeout=5)
    assert failure.value.message == "unable to open database file", failure.value
    assert failure.value.code == "SQLITE_CANTOPEN", failure.value


def test_write_on_a_candidate_replica_is_busy_after_its_timeout(make_cluster):
    cluster = make_cluster(replica_options=["--candidate"])
    cluster.primary.execute("x.db", *CREATE)
    cluster.wait_for_replicas("x.db")
    app = cluster.app(cluster.replica.path("x.db"), busy_timeout=0.1)
    assert app.sql("SELECT a FROM t") == [(1,)]
    with pytest.raises(SqliteFailed) as failure:
        app.sql("INSERT INTO t VALUES(2)", timeout=5)
    assert failure.value.code.startswith("SQLITE_BUSY"), failure.value
    cluster.primary.execute("x.db", "INSERT INTO t VALUES(3)")
    cluster.wait_for_replicas("x.db")
    assert app.sql("SELECT count(*) FROM t") == [(2,)]


def test_replica_refuses_removing_renaming_and_truncating_a_database(cluster, name):
    cluster.primary.execute(name, *CREATE)
    position = cluster.wait_for_replicas(name)
    path = cluster.replica.path(name)
    for change in (lambda: os.unlink(path), lambda: os.rename(path, str(path) + "2"),
                   lambda: os.rename(cluster.replica.path(".."), path)):
        with pytest.raises(OSError) as failure:
            change()
        assert failure.value.errno in (errno.EROFS, errno.EACCES, errno.EBUSY, errno.EXDEV), failure.value
    assert cluster.check(name) == position


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_checkpoint_on_a_replica_is_no_error_and_harms_nothing(cluster, name, mode):
    cluster.primary.execute(name, *CREATE)
    cluster.wait_for_replicas(name)
    app = cluster.app(cluster.replica.path(name), busy_timeout=0.05)
    app.sql("SELECT * FROM t")
    try:
        app.sql(f"PRAGMA wal_checkpoint({mode})", timeout=5)
    except SqliteFailed as failure:
        assert failure.code.startswith(("SQLITE_BUSY", "SQLITE_READONLY", "SQLITE_LOCKED")), failure
    for i in range(20):
        cluster.primary.execute(name, f"INSERT INTO t VALUES({i})")
    cluster.check(name)
    assert app.sql("SELECT count(*) FROM t") == [(21,)]


def test_commands_of_the_shell_work_on_both_nodes(cluster, name):
    """The unchanged sqlite3 shell, as people use it."""
    import subprocess
    shell = lambda node, *words: subprocess.run(  # noqa: E731
        ["sqlite3", str(node.path(name)), *words], capture_output=True, text=True, timeout=20)
    assert shell(cluster.primary, "create table t(a); insert into t values(1);").returncode == 0
    cluster.wait_for_replicas(name)
    assert shell(cluster.replica, "select a from t").stdout == "1\n"
    refused = shell(cluster.replica, "insert into t values(2)")
    assert refused.returncode != 0 and "attempt to write a readonly database" in refused.stderr
    dump = shell(cluster.replica, ".dump")
    assert dump.returncode == 0 and dump.stdout == shell(cluster.primary, ".dump").stdout
