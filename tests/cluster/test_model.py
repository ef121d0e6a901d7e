"""The model test for a short while, and its negative control: damage done from outside to a stopped replica
must be found by the same checks. RILLFS_TEST_SECONDS lets it run for longer."""

import os
import shutil
import sqlite3

import pytest

from model import Model

SECONDS = float(os.environ.get("RILLFS_TEST_SECONDS", "20"))


@pytest.mark.deadline(SECONDS + 120)
def test_random_work_leaves_all_nodes_equal_to_the_model(seed):
    with Model(seed) as model:
        model.run(SECONDS)
        assert model.steps > 20


def flip(path, page_size, _):
    with open(path, "r+b") as file:
        file.seek(3 * page_size + page_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x40]))


def drop_page(path, page_size, _):
    os.truncate(path, path.stat().st_size - page_size)


def swap_pages(path, page_size, _):
    with open(path, "r+b") as file:
        file.seek(2 * page_size)
        one, two = file.read(page_size), file.read(page_size)
        assert one != two
        file.seek(2 * page_size)
        file.write(two + one)


def skip_change_set(path, _, earlier):
    shutil.copyfile(earlier, path)


@pytest.mark.parametrize("damage", [flip, drop_page, swap_pages, skip_change_set])
def test_damage_to_a_replica_is_found(seed, damage):
    with Model(seed, replicas=1) as model:
        model.make()
        (database,) = model.databases.values()
        for i in range(40):
            database.both([f"INSERT OR REPLACE INTO t VALUES({i}, {i}, zeroblob(3000 + {i}))"])
        model.check_stopped()  # nothing to be found yet
        replica = model.cluster.replica
        backing = replica.backing(database.name)
        earlier = model.directory / "earlier"
        shutil.copyfile(backing, earlier)
        for node in model.cluster.nodes:
            node.start()
        database.both(["UPDATE t SET a = a + 1000, b = zeroblob(3500)"])
        model.check_stopped()
        page_size = int.from_bytes(backing.read_bytes()[16:18], "big")
        damage(backing, 65536 if page_size == 1 else page_size, earlier)
        with pytest.raises(AssertionError):
            model.cluster.check_stopped(database.name)
        # And on live nodes: either it meets the damage, or the replica noticed (the kernel reads ahead) and healed
        # before anybody met it.
        for node in model.cluster.nodes:
            node.start()
        try:
            model.check()
        except (AssertionError, OSError, sqlite3.Error) as failure:
            print(failure)
        else:
            assert "not what was committed" in replica.log(), model.cluster.logs()
