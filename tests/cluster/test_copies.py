"""Content that comes without a transaction: copied, moved, renamed or written over a database, by SQLite's own
backup, or by any program. It is taken over soon, as one change set of what differs, and arrives at the replica."""

import os
import shutil
import sqlite3

import pytest

from making import arrives, bring, rows_arrive, rows_in, sample, start
from support import run, wait_until


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_copy_into_the_mount_is_taken_over(cluster, name, tmp_path, mode):
    run("cp", sample(tmp_path, mode=mode), cluster.primary.path(name))
    arrives(cluster, name, 200)
    cluster.primary.execute(name, "INSERT INTO s VALUES(1, 2)")
    arrives(cluster, name, 201)


def test_copy_over_a_database_is_taken_over(cluster, name, tmp_path):
    path = sample(tmp_path)
    run("cp", path, cluster.primary.path(name))
    arrives(cluster, name, 200)
    path.unlink()
    run("cp", sample(tmp_path, 50), cluster.primary.path(name))
    arrives(cluster, name, 50)


def test_move_into_the_mount_is_taken_over(cluster, name, tmp_path):
    run("mv", sample(tmp_path), cluster.primary.path(name))
    arrives(cluster, name, 200)


def test_temporary_copy_renamed_over_a_database_replaces_it(cluster, name, tmp_path):
    path = sample(tmp_path)
    run("cp", path, cluster.primary.path(name))
    arrives(cluster, name, 200)
    path.unlink()
    shutil.copy(sample(tmp_path, 30), cluster.primary.path(name + ".tmp"))
    os.rename(cluster.primary.path(name + ".tmp"), cluster.primary.path(name))
    arrives(cluster, name, 30)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_delete_and_make_again_under_the_same_name(cluster, name, mode):
    for i in range(8):
        connection = start(cluster, name, mode)
        connection.execute("INSERT INTO t VALUES(?, 0, 0)", (i,))
        connection.close()
        if i % 3 == 0:
            cluster.check(name)
        os.unlink(cluster.primary.path(name))
    cluster.check_gone(name)
    start(cluster, name, mode).close()
    cluster.check(name)
    assert cluster.primary.database_names().count(name) == 1


def test_database_that_shrinks_to_nothing_and_grows_again(cluster, name):
    connection = start(cluster, name, "DELETE")
    connection.execute("INSERT INTO t VALUES(1, 2, zeroblob(100000))")
    cluster.check(name)
    connection.close()
    with open(cluster.primary.path(name), "r+b") as file:
        file.truncate(0)
    start(cluster, name, "WAL").close()
    wait_until(lambda: cluster.replica.position(name) == cluster.primary.position(name), what="equality")
    cluster.check(name)


@pytest.mark.parametrize("old,new", [(4096, 1024), (512, 65536), (65536, 4096)])
def test_made_again_with_another_page_size(cluster, name, old, new):
    path = cluster.primary.path(name)
    for size, mode in ((old, "WAL"), (new, "DELETE"), (old, "DELETE"), (new, "WAL")):
        connection = start(cluster, name, mode, f"page_size={size}")
        connection.execute("INSERT INTO t VALUES(?, ?, randomblob(9000))", (size, mode))
        connection.close()
        cluster.check(name)
        path.unlink()
    cluster.check_gone(name)


@pytest.mark.parametrize("size", [4096, 1024])
def test_copy_over_a_database_that_applications_have_open(cluster, name, tmp_path, size):
    """As on a disk: nobody who has it open may be using it meanwhile; afterwards they see the new content."""
    run("cp", sample(tmp_path), cluster.primary.path(name))
    arrives(cluster, name, 200)
    apps = [cluster.app(node.path(name)) for node in cluster.nodes]
    for app in apps:
        assert app.sql("SELECT count(*) FROM s") == [(200,)]
    run("cp", sample(tmp_path, 70, page_size=size), cluster.primary.path(name))
    arrives(cluster, name, 70)
    for app in apps:
        assert app.sql("SELECT count(*) FROM s") == [(70,)]


def test_rename_over_a_database_that_applications_have_open(cluster, name, tmp_path):
    connection = start(cluster, name)
    connection.execute("INSERT INTO t VALUES(1, 2, 3)")
    connection.close()
    cluster.check(name)
    reader = cluster.app(cluster.replica.path(name))
    old = cluster.app(cluster.primary.path(name))
    assert reader.sql("SELECT count(*) FROM t") == old.sql("SELECT count(*) FROM t") == [(1,)]
    shutil.copy(sample(tmp_path, 40), cluster.primary.path("new-" + name))
    os.rename(cluster.primary.path("new-" + name), cluster.primary.path(name))
    old.close()
    arrives(cluster, name, 40)
    cluster.primary.execute(name, "INSERT INTO s VALUES(1, 2)")
    arrives(cluster, name, 41)


def live_copy(directory, rows):
    """A database outside of the mount whose last transactions are in its WAL, as a copy of a running one has it."""
    source = directory / "live"
    source.mkdir()
    connection = sqlite3.connect(source / "a.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE s(a, b)")
    connection.execute("INSERT INTO s VALUES(0, 'in the database')")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for i in range(1, rows):
        connection.execute("INSERT INTO s VALUES(?, randomblob(3000))", (i,))
    copies = directory / "copies"
    shutil.copytree(source, copies)
    connection.close()
    return copies / "a.db"


@pytest.mark.parametrize("order", ["database first", "WAL first"])
@pytest.mark.parametrize("means", ["cp", "rename"])
def test_database_that_comes_with_its_wal(cluster, name, tmp_path, order, means):
    source = live_copy(tmp_path, 30)
    bring(cluster, source, name, ["", "-wal"] if order == "database first" else ["-wal", ""], means)
    rows_arrive(cluster, name, "s", 30)
    cluster.primary.execute(name, "INSERT INTO s VALUES(1, 2)")
    rows_arrive(cluster, name, "s", 31)
    cluster.check(name)


@pytest.mark.parametrize("means", ["cp", "rename"])
def test_wal_that_was_there_before_its_database_is_taken_over_before_anybody_opens_it(cluster, name, tmp_path, means):
    """Only the replica is asked, and the primary is started anew: SQLite's own recovery never runs."""
    source = live_copy(tmp_path, 30)
    bring(cluster, source, name, ["-wal", ""], means)
    wait_until(lambda: rows_in(cluster.replica, name, "s") == 30, 20, "the rows of the WAL", cluster.logs)
    cluster.primary.stop()
    cluster.primary.start()
    with cluster.primary.sqlite(name) as connection:
        assert connection.execute("SELECT count(*) FROM s").fetchone() == (30,)


def test_wal_renamed_over_the_one_of_a_database(cluster, name, tmp_path):
    """A restore file by file into a name that had other content, a WAL and a wal-index."""
    connection = start(cluster, name)
    connection.execute("INSERT INTO t VALUES(1, 2, 3)")
    cluster.check(name)
    source = live_copy(tmp_path, 25)
    for end in ("", "-wal"):
        shutil.copy(str(source) + end, cluster.primary.path(f"restored{end}"))
    connection.close()
    for end in ("", "-wal"):
        os.rename(cluster.primary.path(f"restored{end}"), cluster.primary.path(name + end))
    rows_arrive(cluster, name, "s", 25)
    cluster.check(name)


def test_database_moved_away_with_its_companions_and_back(cluster, name):
    connection = start(cluster, name)
    for i in range(20):
        connection.execute("INSERT INTO t VALUES(?, 0, randomblob(2000))", (i,))
    away = cluster.primary.path("away")
    away.mkdir()
    for end in ("", "-wal", "-shm"):
        os.rename(cluster.primary.path(name + end), away / ("x.db" + end))
    connection.close()
    rows_arrive(cluster, "away/x.db", "t", 20)
    for end in ("-wal", ""):
        if (away / ("x.db" + end)).exists():
            os.rename(away / ("x.db" + end), cluster.primary.path(name + end))
    rows_arrive(cluster, name, "t", 20)
    cluster.check(name)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_vacuum_into_and_backup_in_every_direction(cluster, name, tmp_path, mode):
    with start(cluster, name, mode) as connection:
        for i in range(100):
            connection.execute("INSERT INTO t VALUES(?, 0, randomblob(3000))", (i,))
        inside = cluster.primary.path("vacuumed-" + name)
        connection.execute("VACUUM INTO ?", (str(inside),))
        connection.execute("VACUUM INTO ?", (str(tmp_path / "outside.db"),))
    connection.close()
    rows_arrive(cluster, "vacuumed-" + name, "t", 100)
    cluster.check("vacuumed-" + name)
    outside = sqlite3.connect(tmp_path / "outside.db")
    assert outside.execute("SELECT count(*) FROM t").fetchone() == (100,)
    outside.execute("INSERT INTO t VALUES(1, 2, 3)")
    outside.commit()
    outside.execute("VACUUM INTO ?", (str(cluster.primary.path("from-outside-" + name)),))
    rows_arrive(cluster, "from-outside-" + name, "t", 101)
    # The backup interface: one transaction over a database that is there, and page by page into a new one.
    for target in (name, "backed-up-" + name):
        into = sqlite3.connect(cluster.primary.path(target), isolation_level=None)
        before = cluster.primary.txid(target) if target == name else 0
        outside.backup(into, pages=7, sleep=0)
        into.close()
        assert target != name or cluster.primary.txid(name) == before + 1
        rows_arrive(cluster, target, "t", 101)
        cluster.check(target)
    outside.close()
    run("sqlite3", cluster.primary.path(name), f".backup {tmp_path / 'taken.db'}")
    assert run("sqlite3", tmp_path / "taken.db", "PRAGMA integrity_check; SELECT count(*) FROM t").stdout == "ok\n101\n"


def test_empty_file_is_a_database_that_waits_for_content(cluster, name):
    path = cluster.primary.path(name)
    path.touch()
    assert cluster.primary.execute(name, "SELECT count(*) FROM sqlite_schema") == [(0,)]
    assert path.stat().st_size == 0
    start(cluster, name, "DELETE").close()
    cluster.check(name)


def test_text_becomes_a_database_and_text_again(cluster, name, tmp_path):
    path = cluster.primary.path(name)
    source = sample(tmp_path, 60)
    for _ in range(2):
        path.write_text("no database " * 1000)
        assert cluster.primary.position(name) is None
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            cluster.primary.execute(name, "SELECT * FROM s")
        run("cp", source, path)
        arrives(cluster, name, 60)
        path.unlink()
        cluster.check_gone(name)


def test_text_over_a_database_is_seen_as_it_is_and_replicas_keep_theirs(cluster, name, tmp_path):
    """What is no database any more is no change set; nobody's copy of the data is destroyed by it."""
    run("cp", sample(tmp_path), cluster.primary.path(name))
    arrives(cluster, name, 200)
    cluster.primary.path(name).write_text("hello\n")
    assert cluster.primary.path(name).read_text() == "hello\n"
    for restart in (False, True):
        if restart:
            cluster.primary.restart()
        wait_until(lambda: "is not taken over" in ((cluster.primary.database(name) or {}).get("problem") or ""),
                   10, "a word about it", cluster.logs)
        assert cluster.primary.path(name).read_text() == "hello\n"
    assert cluster.replica.execute(name, "SELECT count(*) FROM s") == [(200,)]
    run("cp", sample(tmp_path, 10), cluster.primary.path(name))
    arrives(cluster, name, 10)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_bytes_written_into_a_database_by_a_program_are_taken_over(cluster, name, tmp_path, mode):
    source = sample(tmp_path, 50, mode=mode)
    run("cp", source, cluster.primary.path(name))
    arrives(cluster, name, 50)
    image = source.read_bytes()
    at = image.rindex(b"\x00" * 3)  # somewhere in a page; what stands there makes the file another one
    with open(cluster.primary.path(name), "r+b") as file:
        file.seek(at)
        file.write(b"\x01\x02\x03")
    expected = image[:at] + b"\x01\x02\x03" + image[at + 3:]
    wait_until(lambda: cluster.replica.path(name).read_bytes() == expected, 10, "the same bytes", cluster.logs)


def test_bytes_written_beside_an_open_wal_are_taken_over(cluster, name):
    """No checkpoint writes a page that the WAL does not have: it is somebody's own doing, as good as any."""
    app = cluster.app(cluster.primary.path(name))
    app.sql("PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)", "INSERT INTO t VALUES(1, printf('%.20000c', 'x'))",
            "CREATE TABLE u(a)", "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO u VALUES(1)")
    cluster.check(name)
    image = cluster.primary.path(name).read_bytes()
    at = image.index(b"x" * 4000)  # an overflow page
    with open(cluster.primary.path(name), "r+b") as file:
        file.seek(at)
        file.write(b"y" * 100)
    rows = "SELECT length(b), length(replace(b, 'y', '')) FROM t"
    wait_until(lambda: cluster.replica.execute(name, rows) == [(20000, 19900)], 10, "the same bytes", cluster.logs)
    app.sql("INSERT INTO u VALUES(2)")
    app.close()
    cluster.check(name)
    assert cluster.primary.rillfs("verify", name).returncode == 0


def test_wal_database_whose_wal_was_removed(cluster, name):
    """Its last transactions go with it, as on a disk: what is left is what everybody gets."""
    app = cluster.app(cluster.primary.path(name))
    app.sql("PRAGMA journal_mode=WAL", "CREATE TABLE t(a)", "INSERT INTO t VALUES(1)", "PRAGMA wal_checkpoint")
    app.sql("INSERT INTO t VALUES(2)")
    cluster.check(name)
    app.kill()
    for end in ("-wal", "-shm"):
        cluster.primary.path(name + end).unlink()
    rows_arrive(cluster, name, "t", 1)
    cluster.check(name)
