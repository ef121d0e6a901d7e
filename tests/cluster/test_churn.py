"""Names that come and go faster than a replica can follow: at the end it has what the primary has, and nothing
else. Every test suite of an application works like this."""

import os
import random

import pytest

from support import wait_until

NAMES = ["a.db", "b.db", "c.db"]


def churn(cluster, chance, steps):
    for _ in range(steps):
        path = cluster.primary.path(chance.choice(NAMES))
        if not path.exists():
            mode = chance.choice(["WAL", "DELETE"])
            cluster.primary.execute(path.name, f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a)",
                                    f"INSERT INTO t VALUES({chance.randrange(1000)})")
        elif chance.random() < 0.3:
            path.rename(cluster.primary.path(chance.choice(NAMES)))
        else:
            path.unlink()


def check_same_names(cluster):
    names = cluster.primary.database_names()
    for replica in cluster.replicas:
        def left():
            logs = [entry.name for entry in (replica.data / "dbs").iterdir()]
            return (replica.database_names(), sorted(os.listdir(replica.mountpoint)), len(logs),
                    os.listdir(replica.data / "spool"))
        wait_until(lambda: left() == (names, names, len(names), []), 30, f"{replica.name} to have just {names}",
                   lambda: f"{left()}\n{cluster.logs()}")
    for name in names:
        cluster.check(name)


@pytest.mark.deadline(200)
def test_names_come_and_go_faster_than_a_replica_follows(make_cluster, seed):
    cluster, chance = make_cluster(), random.Random(seed)
    for _ in range(10):
        churn(cluster, chance, 60)
        check_same_names(cluster)


@pytest.mark.deadline(200)
def test_names_come_and_go_while_a_replica_is_killed(make_cluster, seed):
    cluster, chance = make_cluster(), random.Random(seed)
    for _ in range(8):
        churn(cluster, chance, 15)
        cluster.replica.kill()
        churn(cluster, chance, chance.choice([0, 10]))
        cluster.replica.start()
        check_same_names(cluster)
