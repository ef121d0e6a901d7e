"""Databases of a power-cut run that are made, renamed, written again and dropped, one step at a time.

Each kind of life has stages; a stage is what is there when its step is done: the databases by name, with their
number of rows. So what a cut leaves must be one of the stages, and none before the last that was acknowledged. The
last `removals` stages only remove something.
"""

import contextlib
import os
import sqlite3

CREATE = "CREATE TABLE x(v)"


def rows(count):
    return "INSERT INTO x VALUES" + ", ".join(["(1)"] * count)


class Alone:
    """Takes a free name."""

    removals = 1

    def __init__(self, key):
        self.young, self.old = f"life-{key}.db", f"moved-{key}.db"
        self.stages = [{self.young: 3}, {self.old: 3}, {self.old: 4}, {}]
        self.on_a_replica = []

    def step(self, stage, mount, fill):
        if stage == 0:
            fill(self.young, [CREATE, rows(3)])
        elif stage == 1:
            os.rename(mount / self.young, mount / self.old)
        elif stage == 2:
            fill(self.old, [rows(1)])
        else:
            os.unlink(mount / self.old)


class Over:
    """Takes the name of another database, which is gone with that."""

    removals = 1

    def __init__(self, key):
        self.young, self.old = f"young-{key}.db", f"over-{key}.db"
        self.stages = [{self.old: 1}, {self.old: 1, self.young: 3}, {self.old: 3}, {self.old: 4}, {}]
        # The other one is dropped there first; and each comes by itself.
        self.on_a_replica = [{self.young: 3}]

    def step(self, stage, mount, fill):
        if stage == 0:
            fill(self.old, [CREATE, rows(1)])
        elif stage == 1:
            fill(self.young, [CREATE, rows(3)])
        elif stage == 2:
            os.rename(mount / self.young, mount / self.old)
        elif stage == 3:
            fill(self.old, [rows(1)])
        else:
            os.unlink(mount / self.old)


class InDirectory:
    """Two of them are in a directory that is renamed."""

    removals = 2

    def __init__(self, key):
        self.directory, self.moved = f"dir-{key}", f"moved-dir-{key}"
        a, b = f"{self.directory}/a.db", f"{self.directory}/deep/b.db"
        c, d = f"{self.moved}/a.db", f"{self.moved}/deep/b.db"
        self.stages = [{a: 3}, {a: 3, b: 3}, {c: 3, d: 3}, {c: 4, d: 3}, {d: 3}, {}]
        # One after the other is renamed there; and each comes by itself.
        self.on_a_replica = [{b: 3}, {c: 3}, {d: 3}, {a: 3, d: 3}, {c: 3, b: 3}, {c: 4, b: 3}]
        self.first, self.second, self.third, self.fourth = a, b, c, d

    def step(self, stage, mount, fill):
        if stage == 0:
            (mount / self.directory / "deep").mkdir(parents=True)
            fill(self.first, [CREATE, rows(3)])
        elif stage == 1:
            fill(self.second, [CREATE, rows(3)])
        elif stage == 2:
            os.rename(mount / self.directory, mount / self.moved)
        elif stage == 3:
            fill(self.third, [rows(1)])
        elif stage == 4:
            os.unlink(mount / self.third)
        else:
            os.unlink(mount / self.fourth)


KINDS = {"alone": Alone, "over": Over, "directory": InDirectory}


def of(key):
    """The life that goes by this key, which begins with its kind."""
    return KINDS[key.split("-")[0]](key)


class Wrong(Exception):
    pass


def look(life, mount):
    """The databases that are there, with their rows; one without content is not there. Raises Wrong."""
    there = {}
    for name in sorted({name for stage in life.stages for name in stage}):
        path = mount / name
        if not path.exists():
            continue
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                raise Wrong(f"{path}: integrity_check")
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                there[name] = connection.execute("SELECT count(*) FROM x").fetchone()[0]
    return there
