#!/usr/bin/python3
"""The model test: random work from a seed, on a primary with two replicas, against a model.

    python3 tests/cluster/model.py --seconds 600 --seed 7

Applications (processes) run random transactions in the mount: rows, blobs, spilled caches, savepoints,
rollbacks, checkpoints, VACUUM, mode switches, transactions over attached databases, exclusive locking, no journal at
all, and are killed; databases of random page size are made, renamed, dropped, and replaced by cp, rename or backup;
readers on replicas keep their transactions open; nodes are restarted or killed, replicas are away for so long that
the log has forgotten, their files rot. The model is a SQLite database outside of the mount for each of them, in which
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
from modelled import ROWS, Modelled  # noqa: E402
from support import App, SqliteFailed, wait_until  # noqa: E402

# Half of the runs: what a replica was away for is forgotten, so that it compares page checksums when it returns.
SHORT_MEMORY = ["--retention-bytes", "64KiB", "--retention-time", "1s", "--segment-size", "64KiB"]
STATE = "SELECT count(*), total(a), total(length(b)) FROM t"


class Model:
    def __init__(self, seed, replicas=2):
        self.seed, self.chance = seed, random.Random(seed)
        self.cluster = support.Cluster(replicas=replicas, options=self.chance.choice([[], SHORT_MEMORY]))
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rillfs-model-"))
        self.databases = {}
        self.readers = []  # (application on a replica, what it saw when its transaction began)
        self.steps = self.checks = self.made = 0

    def __enter__(self):
        self.cluster.start()
        return self

    def __exit__(self, *_):
        for database in self.databases.values():
            database.close_apps(kill=True)
            database.shadow.close()
        for reader, _ in self.readers:
            reader.kill()
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

    def attached(self):
        if len(self.databases) > 1:
            one, other = self.chance.sample(sorted(self.databases), 2)
            self.databases[one].attached(self.databases[other])

    def read(self):
        """A transaction on a replica that stays open while the work goes on."""
        name = self.chance.choice(sorted(self.databases))
        self.settled(name)
        reader = App(self.chance.choice(self.cluster.replicas).path(name), busy_timeout=20)
        self.readers.append((reader, reader.sql("BEGIN", STATE)))

    def finish_readers(self):
        readers, self.readers = self.readers, []
        for reader, seen in readers:
            assert reader.sql(STATE) == seen, "a reader's snapshot has changed"
            reader.close()

    def settled(self, name):
        """Readers may hold up a change of the page size or of a rollback-mode database."""
        self.finish_readers()
        self.databases[name].app().sql("SELECT count(*) FROM t", timeout=60)  # rolls back what a killed one left
        self.cluster.wait_for_replicas(name)

    def disturb_replica(self):
        self.finish_readers()
        replica = self.chance.choice(self.cluster.replicas)
        self.chance.choice([replica.stop, replica.kill])()
        for _ in range(self.chance.choice([0, 0, 10, 40])):  # away
            self.databases[self.chance.choice(sorted(self.databases))].transaction()
        replica.start()

    def damage_replica(self):
        """A bit of a page flips; the node is asked to look and heals."""
        name = self.chance.choice(sorted(self.databases))
        self.settled(name)
        replica = self.chance.choice(self.cluster.replicas)
        path = replica.backing(name)
        at = self.chance.randrange(path.stat().st_size)
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ (1 << self.chance.randrange(8))]))
        self.databases[name].note(f"byte {at} damaged on {replica.name}")
        replica.rillfs("verify", name, check=False)
        wait_until(lambda: replica.database(name)["problem"] is None, 20, "the replica to heal", self.cluster.logs)

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
             self.disturb_replica, self.disturb_primary, self.attached, database.by_one_application,
             database.replaced, self.read, self.damage_replica],
            [100, 10, 5, 3, 3, 5, 1.5, 1.5, 1, 1, 1, 5, 2, 2, 3, 1])[0]
        what()

    # --- checks
    def check(self):
        self.checks += 1
        self.finish_readers()
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
        try:
            self.work(seconds)
        except (AssertionError, OSError, SqliteFailed, sqlite3.Error):
            for database in self.databases.values():
                print(f"{database.name}:", *database.history[-25:], sep="\n    ")
            print(f"failed with seed {self.seed} at step {self.steps}\n{self.cluster.logs()}")
            raise

    def work(self, seconds):
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
            model.run(arguments.seconds)
    finally:
        support.watch.close()
    print(f"{model.steps} steps, {model.checks} checks, all equal")


if __name__ == "__main__":
    main()
