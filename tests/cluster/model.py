#!/usr/bin/python3
"""The model test: random work from a seed, on a primary with two replicas, against a model.

    python3 tests/cluster/model.py --seconds 600 --seed 7

Applications (processes) run random transactions in the mount: rows, blobs, spilled caches, savepoints,
rollbacks, checkpoints, VACUUM, mode switches, and are killed; databases of random page size are made, renamed and dropped;
nodes are restarted or killed. The model is a SQLite database outside of the mount for each of them, in which
the same statements run. At quiescent points:

  * the nodes list the databases of the model, and no others;
  * each is at the same position on all nodes, and has the same pages;
  * SQLite's integrity_check is content, and the rows are the model's;
  * every change set in every log verifies;
  * now and then after a clean stop: the files below the mounts are equal, byte by byte.

The same seed does the same work. What is random beyond it is the machine's timing.
"""

import argparse
import os
import pathlib
import random
import shutil
import sqlite3
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import support  # noqa: E402
from support import App, SqliteFailed, wait_until  # noqa: E402

PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
MODES = ["WAL", "WAL", "WAL", "DELETE", "TRUNCATE", "PERSIST"]
ROWS = "SELECT id, a, length(b), hex(substr(b, 1, 8)) FROM t ORDER BY id"


class Modelled:
    """A database in the mount and its model."""

    def __init__(self, model, name):
        self.name, self.model = name, model
        chance = model.chance
        self.shadow_path = model.directory / f"shadow-{chance.getrandbits(48):x}"
        self.shadow = sqlite3.connect(self.shadow_path, isolation_level=None)
        self.shadow.execute("PRAGMA synchronous=OFF")
        self.apps, self.history = [], []
        self.app().sql(f"PRAGMA page_size={chance.choice(PAGE_SIZES)}",
                       f"PRAGMA auto_vacuum={chance.choice(['NONE', 'NONE', 'FULL', 'INCREMENTAL'])}",
                       f"PRAGMA journal_mode={chance.choice(MODES)}")
        self.both(["CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", "CREATE INDEX i ON t(a)"])

    def app(self):
        """One of up to three applications that have it open."""
        chance = self.model.chance
        if not self.apps or (len(self.apps) < 3 and chance.random() < 0.1):
            app = App(self.model.cluster.primary.path(self.name), busy_timeout=20)
            app.sql(f"PRAGMA cache_size={chance.choice([5, 10, 100, 2000])}",
                    f"PRAGMA synchronous={chance.choice(['OFF', 'NORMAL', 'FULL'])}",
                    f"PRAGMA wal_autocheckpoint={chance.choice([0, 5, 50, 1000])}")
            self.apps.append(app)
        return chance.choice(self.apps)

    def close_apps(self, kill=False):
        for app in self.apps:
            app.kill() if kill else app.close()
        self.apps = []

    def close_cleanly(self):
        """After this the file is the whole database: no hot journal, no WAL."""
        self.app().sql("SELECT count(*) FROM t", timeout=60)
        self.close_apps()

    def both(self, statements):
        """The same statements in the mount and in the model."""
        self.history.append(f"{self.model.steps}: {len(statements)} statements, {statements[0]} ... {statements[-1]}")
        self.app().sql(*statements, timeout=60)
        for statement in statements:
            self.shadow.execute(*([statement] if isinstance(statement, str) else statement))

    def changes(self):
        """Random statements without randomness of their own."""
        chance = self.model.chance
        statements = []
        for _ in range(chance.choice([1, 1, 2, 5, 40, 200])):
            key = chance.randrange(2000)
            # A blob that both sides compute from the same numbers.
            blob = f"CAST(printf('%.{chance.choice([1, 20, 300, 3000, 30000])}c', '{chr(97 + key % 26)}') AS BLOB)"
            statements.append(chance.choice([
                f"INSERT OR REPLACE INTO t VALUES({key}, {chance.randrange(1000)}, {blob})",
                f"INSERT OR REPLACE INTO t VALUES({key}, {chance.randrange(1000)}, {blob})",
                f"UPDATE t SET a = a + 1 WHERE id BETWEEN {key} AND {key + chance.randrange(300)}",
                f"UPDATE t SET b = {blob} WHERE id = {key}",
                f"DELETE FROM t WHERE id BETWEEN {key} AND {key + chance.randrange(60)}"]))
        return statements

    def transaction(self):
        chance = self.model.chance
        statements = [chance.choice(["BEGIN", "BEGIN IMMEDIATE"]), *self.changes()]
        for _ in range(chance.choice([0, 0, 1, 3])):
            statements += ["SAVEPOINT s", *self.changes(), *chance.choice([["ROLLBACK TO s"], []]), "RELEASE s"]
        self.both([*statements, chance.choice(["COMMIT"] * 4 + ["ROLLBACK"])])

    def killed_transaction(self):
        """Dies before its commit; what it has spilled is nobody's."""
        statements = ["BEGIN IMMEDIATE", *self.changes()]
        self.history.append(f"{self.model.steps}: killed after {len(statements)} statements")
        self.app().sql(*statements, timeout=60)
        self.close_apps(kill=True)

    def kill_apps(self):
        """All at once: the next one has only the files."""
        self.history.append(f"{self.model.steps}: {len(self.apps)} applications killed")
        self.close_apps(kill=True)

    def maintenance(self):
        """What changes no row."""
        chance = self.model.chance
        statement = chance.choice(["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(FULL)",
                                   "PRAGMA wal_checkpoint(RESTART)", "PRAGMA wal_checkpoint(TRUNCATE)",
                                   "PRAGMA incremental_vacuum(3)", "VACUUM", "REINDEX", "mode", "size"])
        if statement in ("mode", "size"):
            self.close_apps()  # these need the database for themselves
            statement = f"PRAGMA journal_mode={chance.choice(MODES)}"
            if chance.random() < 0.3:
                self.history.append(f"{self.model.steps}: another page size by VACUUM")
                self.app().sql("PRAGMA journal_mode=DELETE", f"PRAGMA page_size={chance.choice(PAGE_SIZES)}",
                               "VACUUM")
        self.history.append(f"{self.model.steps}: {statement}")
        self.app().sql(statement, timeout=60)

    def drop_shadow(self):
        self.shadow.close()
        self.shadow_path.unlink()


class Model:
    def __init__(self, seed, replicas=2):
        self.seed, self.chance = seed, random.Random(seed)
        self.cluster = support.Cluster(replicas=replicas)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rillfs-model-"))
        self.databases = {}
        self.steps = self.checks = self.made = 0

    def __enter__(self):
        self.cluster.start()
        return self

    def __exit__(self, *_):
        for database in self.databases.values():
            database.close_apps(kill=True)
            database.shadow.close()
        shutil.rmtree(self.directory)
        self.cluster.clean_up()

    # --- steps
    def make(self):
        if len(self.databases) < 5:
            self.made += 1
            name = self.chance.choice(["", "dir/", "dir/deep/"]) + f"m{self.made}.db"
            self.cluster.primary.path(name).parent.mkdir(parents=True, exist_ok=True)
            self.databases[name] = Modelled(self, name)

    def drop(self):
        if len(self.databases) > 1:
            database = self.databases.pop(self.chance.choice(sorted(self.databases)))
            database.close_apps()
            path = self.cluster.primary.path(database.name)
            path.unlink()
            for suffix in ("-journal", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            database.drop_shadow()

    def rename(self):
        database = self.databases.pop(self.chance.choice(sorted(self.databases)))
        database.close_cleanly()
        old = self.cluster.primary.path(database.name)
        self.made += 1
        database.name = f"m{self.made}.db"
        old.with_name(old.name + "-journal").unlink(missing_ok=True)  # PERSIST leaves a cold one
        old.rename(self.cluster.primary.path(database.name))
        self.databases[database.name] = database

    def rename_directory(self):
        path = self.cluster.primary.path("dir")
        inside = [name for name in self.databases if name.startswith("dir/")]
        if not path.exists() or not inside:
            return
        self.made += 1
        moved = f"d{self.made}"
        for name in inside:
            self.databases[name].close_cleanly()
        path.rename(self.cluster.primary.path(moved))
        for name in inside:
            database = self.databases.pop(name)
            database.name = moved + name[3:]
            self.databases[database.name] = database

    def disturb_replica(self):
        replica = self.chance.choice(self.cluster.replicas)
        self.chance.choice([replica.stop, replica.kill])()
        replica.start()

    def disturb_primary(self):
        """Between transactions: what was acknowledged must be there afterwards."""
        kill = self.chance.random() < 0.5
        for database in self.databases.values():
            database.close_apps(kill=kill)
        self.cluster.primary.kill() if kill else self.cluster.primary.stop()
        self.cluster.primary.start()

    def step(self):
        self.steps += 1
        if not self.databases:
            return self.make()
        database = self.databases[self.chance.choice(sorted(self.databases))]
        what = self.chance.choices(
            [database.transaction, database.maintenance, database.close_apps, database.kill_apps,
             database.killed_transaction, self.make, self.drop, self.rename, self.rename_directory,
             self.disturb_replica, self.disturb_primary],
            [100, 10, 5, 3, 3, 5, 1.5, 1.5, 1, 1, 1])[0]
        what()

    # --- checks
    def check(self):
        self.checks += 1
        names = sorted(self.databases)
        for node in self.cluster.nodes:
            wait_until(lambda: node.database_names() == names, 20, f"{node.name} to list {names}",
                       lambda: f"{node.database_names()}\n{self.cluster.logs()}")
        for name in names:
            # What a killed application left is rolled back by the next one that looks; free pages, which no
            # journal has, may differ afterwards: then that is a change set.
            self.cluster.primary.execute(name, "SELECT count(*) FROM t")
            self.cluster.check(name, timeout=30)
            expected = self.databases[name].shadow.execute(ROWS).fetchall()
            for node in self.cluster.nodes:
                rows = node.execute(name, ROWS)
                assert rows == expected, f"{name} on {node.name} is not what the model says"
        for node in self.cluster.nodes:
            node.verify_log()

    def check_stopped(self):
        for database in self.databases.values():
            database.close_cleanly()
        self.check()
        for node in reversed(self.cluster.nodes):
            node.stop()
        for name in self.databases:
            self.cluster.check_stopped(name)

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(self.chance.randrange(20, 120)):
                self.step()
                if time.monotonic() > end:
                    break
            self.check()
            if self.chance.random() < 0.1:
                self.check_stopped()
                for node in self.cluster.nodes:
                    node.start()
        self.check_stopped()
        for node in self.cluster.nodes:
            node.start()
        self.check()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    support.watch.tell(f"deadline {arguments.seconds + 300} model")
    model = Model(arguments.seed)
    try:
        with model:
            try:
                model.run(arguments.seconds)
            except (AssertionError, OSError, SqliteFailed):
                for database in model.databases.values():
                    print(f"{database.name}:", *database.history[-25:], sep="\n    ")
                print(f"failed with seed {model.seed} at step {model.steps}\n{model.cluster.logs()}")
                raise
    finally:
        support.watch.close()
    print(f"{model.steps} steps, {model.checks} checks, all equal")


if __name__ == "__main__":
    main()
