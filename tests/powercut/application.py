"""An application of a power-cut run: one process, several databases, every way of writing them.

    application.py JSON      what it gets is Application.__init__'s `spec`

What SQLite or the kernel acknowledged goes to the file `acks`, one JSON list a line, with the block log's size
before the call and after its return: a cut after the latter must not lose it.
"""

import ctypes
import json
import os
import pathlib
import random
import sqlite3
import sys

import history
import lives

SYNC_FILE_RANGE_WRITE = 2


class Application:
    def __init__(self, spec):
        self.spec = spec
        self.dice = random.Random(f"{spec['seed']} {spec['number']} {spec['round']}")
        self.mount = pathlib.Path(spec["mount"])
        self.acks = open(spec["acks"], "ab", buffering=0)
        self.connections = {}
        self.lives = 0
        self.life = None

    def position(self):
        return os.stat(self.spec["log"]).st_size

    def acknowledge(self, *words):
        self.acks.write(json.dumps(words).encode() + b"\n")

    # --- databases
    def connect(self, name):
        if name not in self.connections:
            connection = sqlite3.connect(self.mount / name, timeout=60, isolation_level=None)
            connection.create_function("blob", 3, history.blob, deterministic=True)
            connection.execute(f"PRAGMA journal_mode={self.spec['mode']}")
            connection.execute(f"PRAGMA synchronous={self.spec['sync']}")
            connection.execute(f"PRAGMA cache_size={self.dice.choice([5, 2000])}")
            connection.execute(f"PRAGMA wal_autocheckpoint={self.dice.choice([10, 50, 1000])}")
            self.connections[name] = connection
        return self.connections[name]

    def any_database(self):
        return self.dice.choice(self.spec["names"])

    def transact(self):
        name = self.any_database()
        connection = self.connect(name)
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            n = 0
            for statement in history.SETUP:
                connection.execute(statement)
        else:
            n = connection.execute("SELECT count(*) + 1 FROM t").fetchone()[0]
            for statement in history.statements(self.spec["seed"], name, n):
                connection.execute(*statement)
        before = self.position()
        connection.execute("COMMIT")
        self.acknowledge("commit", name, n, before, self.position())

    def roll_back(self):
        connection = self.connect(self.any_database())
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute("UPDATE t SET v = randomblob(length(v))")
            connection.execute("UPDATE left_side SET amount = 0")
        connection.execute("ROLLBACK")

    def checkpoint(self):
        kind = self.dice.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
        self.try_alone(f"PRAGMA wal_checkpoint({kind})")

    def vacuum(self):
        self.try_alone("VACUUM")

    def try_alone(self, statement):
        """What may be in another process's way is given up then."""
        connection = self.connect(self.any_database())
        connection.execute("PRAGMA busy_timeout=0")
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xff not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
        connection.execute("PRAGMA busy_timeout=60000")

    def reopen(self):
        name = self.any_database()
        if name in self.connections:
            self.connections.pop(name).close()

    # --- databases that are made, renamed, written again and dropped: one step at a time
    def live(self):
        if self.life is None:
            kind = list(lives.KINDS)[self.lives % len(lives.KINDS)]
            key = f"{kind}-{self.spec['round']}-{self.spec['number']}-{self.lives}"
            self.life = (key, lives.of(key), 0)
            self.lives += 1
        key, life, stage = self.life
        before = self.position()
        life.step(stage, self.mount, self.fill)
        self.acknowledge("life", key, stage, before, self.position())
        self.life = (key, life, stage + 1) if stage + 1 < len(life.stages) else None

    def fill(self, name, statements):
        connection = self.connect(name)
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
        self.connections.pop(name).close()

    # --- content without a transaction: a file that is copied over the one that is there
    def copy_over(self):
        image = self.generation()
        fd = os.open(self.mount / history.COPIED, os.O_RDWR | os.O_CREAT, 0o644)
        for at in range(0, len(image), 4096):
            os.pwrite(fd, image[at:at + 4096], at)
        os.fdatasync(fd)
        os.close(fd)

    def generation(self):
        """A database; each has as many pages as the others."""
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE g(v)")
        for _ in range(10):
            connection.execute("INSERT INTO g VALUES(?)", (self.dice.randbytes(3000),))
        connection.commit()
        return connection.serialize()

    # --- what the kernel may do at any time
    def write_back(self):
        """Some file's dirty pages go to the disk, unflushed, as when memory runs short."""
        data = pathlib.Path(self.spec["data"])
        # (os.walk passes over what is dropped meanwhile)
        files = [pathlib.Path(top, name) for top, _, names in os.walk(data) for name in names]
        try:
            fd = os.open(self.dice.choice(files), os.O_RDONLY)
        except OSError:
            return
        ctypes.CDLL(None).sync_file_range(fd, ctypes.c_longlong(0), ctypes.c_longlong(0), SYNC_FILE_RANGE_WRITE)
        os.close(fd)

    def run(self):
        wal = self.spec["mode"] == "wal"
        work = {self.transact: 66, self.checkpoint: 5 if wal else 0, self.roll_back: 3, self.vacuum: 2,
                self.reopen: 3, self.live: 18, self.write_back: 12, self.copy_over: 4}
        for _ in range(self.spec["steps"]):
            self.dice.choices(list(work), work.values())[0]()
        os._exit(0)  # as a process ends that is killed: it leaves its WAL and its connections as they are


if __name__ == "__main__":
    Application(json.loads(sys.argv[1])).run()
