"""Databases made for tests: in the mount and outside of it, and what arrives on the replica."""

import os
import sqlite3

from support import run, wait_until


def start(cluster, name, mode="WAL", *pragmas):
    """A connection to a new database with table t(a, b, c); the position before anything else."""
    connection = sqlite3.connect(cluster.primary.path(name), timeout=10, isolation_level=None)
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    assert connection.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode.lower(),)
    connection.execute("CREATE TABLE t(a, b, c)")
    return connection


def sample(directory, rows=200, mode="DELETE", page_size=4096):
    """A database outside the mount."""
    path = directory / "sample.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={page_size}")
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("CREATE TABLE s(a, b)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO s VALUES(?, randomblob(2000))", ((i,) for i in range(rows)))
    connection.execute("COMMIT")
    connection.close()
    return path


def rows_in(node, name, table):
    """How many rows a table has, or None where there is no such table."""
    if not node.path(name).exists():
        return None
    with node.sqlite(name) as connection:  # one, since another database may take the name meanwhile
        if not connection.execute(f"SELECT 1 FROM sqlite_schema WHERE name='{table}'").fetchall():
            return None
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def rows_arrive(cluster, name, table, count, timeout=15):
    """Until all nodes say that the table has so many rows and are at one position."""
    wait_until(lambda: all(rows_in(node, name, table) == count for node in cluster.nodes) and
               len({node.position(name) for node in cluster.nodes}) == 1,
               timeout, f"{count} rows of {name} on all nodes", cluster.logs)


def arrives(cluster, name, count):
    rows_arrive(cluster, name, "s", count)
    cluster.check(name)


def bring(cluster, source, name, ends, means):
    """The files of a database, one after the other, into the primary's mount."""
    for end in ends:
        target = cluster.primary.path(name + end)
        if means == "cp":
            run("cp", str(source) + end, target)
        else:
            run("cp", str(source) + end, cluster.primary.path(f"unpacked-{name}.zip{end}"))
            os.rename(cluster.primary.path(f"unpacked-{name}.zip{end}"), target)
