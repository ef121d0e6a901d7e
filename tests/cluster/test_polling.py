"""Workers poll the device for the next request of a transaction, and never when nobody writes."""

import os

import pytest

CREATE = ("CREATE TABLE t(id INTEGER PRIMARY KEY, value TEXT)",)


@pytest.mark.skipif(os.cpu_count() == 1, reason="on one core nobody polls")
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_polls_while_somebody_writes_and_only_then(cluster, name, journal):
    primary = cluster.primary
    before = primary.status()["polls"]
    primary.execute(name, f"PRAGMA journal_mode={journal}", *CREATE,
                    *(f"INSERT INTO t(value) VALUES('{i}')" for i in range(50)))
    with primary.sqlite(name) as reader:
        reader.execute("SELECT count(*) FROM t").fetchall()  # opens the files
        written = primary.status()["polls"]
        assert sum(written.values()) > sum(before.values())
        for _ in range(1000):
            reader.execute("SELECT count(*) FROM t").fetchall()
        # That the lead was taken from a slow leader is counted a moment after it was given up.
        polls = ("found", "in_vain")
        after = primary.status()["polls"]
        assert [after[kind] for kind in polls] == [written[kind] for kind in polls]
