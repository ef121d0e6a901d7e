"""Renames and kill -9 of the daemon at random instants: a database keeps its identity, its log and its content,
under the name that its file has. The seed is printed; --seed gives it again."""

import json
import os
import random

import pytest

from support import end, script, wait_until
from test_kills import FACTOR, pause

# Renames for ever: databases, databases over databases, directories of databases. Ends when the mount goes away.
RENAMER = """
import itertools, os, random, sqlite3, sys
root, progress, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
chance = random.Random(seed)
log = os.open(progress, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.chdir(root)
try:
    for n in itertools.count():
        if os.path.exists("fresh.db"):  # left by a kill, and perhaps one of those to keep
            os.rename("fresh.db", f"x{seed}-{n}-left.db")
        top = sorted(name for name in os.listdir() if name.endswith(".db"))
        folder = next(name for name in os.listdir() if name.startswith("folder"))
        os.rename(chance.choice(top), f"x{seed}-{n}.db")
        os.rename(folder, f"folder{seed}-{n}")
        inside = f"folder{seed}-{n}/" + chance.choice(os.listdir(f"folder{seed}-{n}"))
        os.rename(inside, f"folder{seed}-{n}/y{seed}-{n}.db")
        fresh = sqlite3.connect("fresh.db", isolation_level=None)
        fresh.execute("CREATE TABLE IF NOT EXISTS t(mark)")
        fresh.close()
        os.rename(chance.choice(sorted(name for name in os.listdir() if name.startswith("x"))), "fresh.db")
        os.rename("fresh.db", f"x{seed}-{n}-over.db")
        os.write(log, b".")
except (OSError, sqlite3.Error) as error:
    sys.exit(3)
"""


def identities(node):
    """Mark in the database to its id, by what lies below the mount of a node that is not running."""
    found = {}
    for info in node.data.glob("dbs/*/info.json"):
        path = json.loads(info.read_text())["path"]
        found[path] = info.parent.name
    return found


def marks(node):
    """id to mark, as applications see it."""
    return {path: node.execute(path, "SELECT mark FROM t") for path in node.database_names()}


@pytest.mark.deadline(120 * FACTOR)
def test_killed_daemon_among_renames_leaves_every_database_its_identity(make_cluster, tmp_path, seed):
    chance = random.Random(seed)
    cluster = make_cluster()
    primary = cluster.primary
    os.mkdir(primary.path("folder"))
    names = ["x1.db", "x2.db", "x3.db", "folder/y1.db", "folder/y2.db", "folder/y3.db"]
    for mark in names:
        primary.execute(mark, "CREATE TABLE t(mark)", f"INSERT INTO t VALUES('{mark}')")
        cluster.wait_for_replicas(mark)
    by_path = identities(primary)
    original = {by_path[mark]: mark for mark in names}
    progress = tmp_path / "progress"
    for round_ in range(15 * FACTOR):
        before = progress.stat().st_size if progress.exists() else 0
        renamer = script(RENAMER, primary.mountpoint, progress, chance.randrange(1 << 30))
        wait_until(lambda: (progress.exists() and progress.stat().st_size > before) or renamer.poll() is not None,
                   20, "renames", cluster.logs)
        pause(chance, 0.1)
        primary.kill()
        assert end(renamer, 20) == 3
        primary.start()
        assert not list((primary.data / "parked").iterdir()), primary.log()
        assert not (primary.data / "dbs" / "rename.json").exists()
        now = identities(primary)
        for path, rows in marks(primary).items():
            assert rows in ([], [(original.get(now[path]),)]), (round_, path, rows, original, primary.log())
        assert set(original) <= set(now.values()), (round_, original, now, primary.log())
        assert len(set(now.values())) == len(now), now
    for name in primary.database_names():
        cluster.check(name)
    wait_until(lambda: cluster.replica.database_names() == primary.database_names(), 20, "the same names",
               cluster.logs)
