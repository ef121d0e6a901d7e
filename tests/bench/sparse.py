"""A large database that takes little room on the disk: nearly all of its pages are free ones, whose content nobody
needs, so the file has holes there. It is a valid database (integrity_check finds nothing) and every page of it counts."""

import contextlib
import pathlib
import sqlite3
import struct

from bench import copy_in

PAGE = 4096
LEAVES = PAGE // 4 - 8  # of a trunk page, as SQLite fills them


def make(path, mib):
    """Of `mib` MiB, with a small table `bench`, in WAL mode."""
    path = pathlib.Path(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size={PAGE}")
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute("CREATE TABLE bench(id INTEGER PRIMARY KEY, value BLOB)")
        connection.execute("CREATE TABLE log(id INTEGER PRIMARY KEY, value TEXT)")
        connection.execute("INSERT INTO bench(value) VALUES(randomblob(100))")
    add_free_pages(path, mib * 2**20 // PAGE)


def add_free_pages(path, last):
    """Makes the database `last` pages large; the new ones are on its freelist."""
    first = path.stat().st_size // PAGE + 1
    trunks = list(range(first, last + 1, LEAVES + 1))
    with open(path, "r+b") as file:
        file.truncate(last * PAGE)
        for trunk, following in zip(trunks, [*trunks[1:], 0]):
            leaves = range(trunk + 1, min(trunk + LEAVES, last) + 1)
            file.seek((trunk - 1) * PAGE)
            file.write(struct.pack(f">II{len(leaves)}I", following, len(leaves), *leaves))
        file.seek(24)
        change_counter = struct.unpack(">I", file.read(4))[0]
        file.write(struct.pack(">III", last, first, last - first + 1))
        file.seek(92)
        file.write(struct.pack(">I", change_counter))  # says that the size at 28 counts


def put(node, directory, name, mib):
    """Such a database in a node's mount."""
    source = pathlib.Path(directory) / f"source-{name}"
    make(source, mib)
    copy_in(node, source, name)
    source.unlink()
