"""The commands, against live nodes."""

import json
import re
import sqlite3

import pytest

from support import RILLFS, run, same_content

CREATE = ("PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)", "INSERT INTO t VALUES(1, 'x')")


@pytest.fixture
def source(tmp_path):
    """A database outside of the mount, with settings that must come along."""
    path = tmp_path / "source.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("PRAGMA page_size=8192", "PRAGMA auto_vacuum=INCREMENTAL", "PRAGMA journal_mode=WAL",
                      "PRAGMA user_version=77", "CREATE TABLE s(a, b)"):
        connection.execute(statement)
    connection.executemany("INSERT INTO s VALUES(?, randomblob(3000))", ((i,) for i in range(300)))
    connection.close()
    return path


def test_status_json_has_the_documented_keys(cluster, name):
    cluster.primary.execute(name, *CREATE)
    cluster.wait_for_replicas(name)
    for node, role in ((cluster.primary, "primary"), (cluster.replica, "replica")):
        status = node.status()
        assert status["role"] == role and status["connected"] is True
        assert status["primary"] == cluster.primary.address
        assert status["data"] == str(node.data) and status["mountpoint"] == str(node.mountpoint)
        assert re.fullmatch("[0-9a-f]{16}", status["node"]) and re.fullmatch("[0-9a-f]{16}", status["cluster"])
        assert status["epoch"] >= 1 and status["requests"]["write"] >= 0
        (database,) = [d for d in status["databases"] if d["name"] == name]
        assert {"txid", "checksum", "size", "log_bytes", "journal_mode", "lag_ms", "lag_txs", "parked",
                "problem", "snapshot"} <= set(database)
        assert database["journal_mode"] == "wal" and database["size"] == 8192
    assert cluster.primary.status()["cluster"] == cluster.replica.status()["cluster"]
    (replica,) = cluster.primary.status()["replicas"]
    assert replica["connected"] and replica["address"] == cluster.replica.address
    assert replica["node"] == cluster.replica.status()["node"]


def test_status_table_names_databases_and_replicas(cluster, name):
    cluster.primary.execute(name, *CREATE)
    cluster.wait_for_replicas(name)
    for node in cluster.nodes:
        assert name in node.rillfs("status").stdout
    assert cluster.replica.address in cluster.primary.rillfs("status").stdout


def test_primary_command_says_who_it_is(cluster):
    for node in cluster.nodes:
        assert cluster.primary.address in node.rillfs("primary").stdout
        said = json.loads(node.rillfs("primary", "--json").stdout)
        assert said["primary"] == cluster.primary.address


def test_commands_without_a_node_fail_with_a_reason(tmp_path):
    for command in (["status"], ["primary"], ["export", "a.db", tmp_path / "out"]):
        done = run(RILLFS, command[0], "--data", tmp_path, *command[1:], check=False)
        assert done.returncode == 1 and "rillfs" in done.stderr, done


def test_import_is_one_transaction_with_everything(cluster, name, source):
    cluster.primary.rillfs("import", "-q", source, name)
    cluster.check(name)
    assert cluster.primary.txid(name) <= 2
    for node in cluster.nodes:
        assert node.execute(name, "SELECT count(*) FROM s") == [(300,)]
        assert node.execute(name, "PRAGMA user_version") == [(77,)]
        assert node.execute(name, "PRAGMA page_size") == [(8192,)]
        assert node.execute(name, "PRAGMA auto_vacuum") == [(2,)]
        assert node.execute(name, "PRAGMA journal_mode") == [("wal",)]


def test_import_over_a_database_that_readers_have_open(cluster, name, source):
    cluster.primary.execute(name, "PRAGMA page_size=8192", *CREATE)
    cluster.check(name)
    readers = [cluster.app(node.path(name)) for node in cluster.nodes]
    for reader in readers:
        assert reader.sql("SELECT a FROM t") == [(1,)]
    cluster.primary.rillfs("import", "-q", source, name)
    cluster.check(name)
    for reader in readers:
        assert reader.sql("SELECT count(*) FROM s") == [(300,)]


def test_import_on_a_replica_is_refused_and_names_the_primary(cluster, name, source):
    done = cluster.replica.rillfs("import", "-q", source, name, check=False)
    assert done.returncode == 1 and cluster.primary.address in done.stderr


def test_import_of_what_is_no_database_is_refused(cluster, name, tmp_path):
    (tmp_path / "text").write_text("not a database" * 1000)
    done = cluster.primary.rillfs("import", "-q", tmp_path / "text", name, check=False)
    assert done.returncode == 1 and done.stderr
    assert not cluster.primary.path(name).exists()


def test_export_makes_a_complete_database_and_replaces_only_with_force(cluster, name, tmp_path):
    cluster.primary.execute(name, *CREATE)
    cluster.wait_for_replicas(name)
    out = tmp_path / "out.db"
    for node in cluster.nodes:
        node.rillfs("export", "-q", "-f", name, out)
        assert run("sqlite3", out, "pragma integrity_check; select a, b from t").stdout == "ok\n1|x\n"
    refused = cluster.primary.rillfs("export", "-q", name, out, check=False)
    assert refused.returncode == 1 and "exists" in refused.stderr
    missing = cluster.primary.rillfs("export", "-q", "no-such.db", tmp_path / "no", check=False)
    assert missing.returncode == 1 and not (tmp_path / "no").exists()


def test_exports_of_all_nodes_are_the_same(cluster, name, source):
    cluster.primary.rillfs("import", "-q", source, name)
    cluster.check(name)
    assert same_content(cluster.primary.export(name), cluster.replica.export(name))


def test_ltx_commands_read_real_segments(cluster, name, tmp_path):
    cluster.primary.execute(name, *CREATE)
    for i in range(10):
        cluster.primary.execute(name, f"INSERT INTO t VALUES({i}, zeroblob({i * 1000}))")
    cluster.check(name)
    for node in cluster.nodes:
        node.verify_log()
    sets = cluster.primary.change_sets(name)
    for before, after in zip(sets, sets[1:]):
        assert after["min_txid"] == before["max_txid"] + 1
        assert after["pre_apply"] == before["post_apply"]
    assert f"{sets[-1]['max_txid']:016x}/{sets[-1]['post_apply']}" == cluster.primary.position(name)
    segments = [s for s in cluster.primary.segments() if s.stat().st_size]
    for segment in segments:
        directory = tmp_path / segment.parent.parent.name
        written = run(RILLFS, "ltx", "extract", segment, directory).stdout.split("\n")[:-1]
        assert written
        for path in written:
            assert run(RILLFS, "ltx", "verify", path).stdout.endswith(": ok\n")
        assert "header" in run(RILLFS, "ltx", "dump", written[0]).stdout


def test_ltx_verify_finds_a_flipped_byte(cluster, name, tmp_path):
    cluster.primary.execute(name, *CREATE)
    segment = max(cluster.primary.segments(), key=lambda s: s.stat().st_mtime)
    image = bytearray(segment.read_bytes().rstrip(b"\0"))
    copy = tmp_path / segment.name
    copy.write_bytes(image)
    found = 0
    positions = range(0, len(image), max(1, len(image) // 25))
    for position in positions:
        image[position] ^= 0x10
        copy.write_bytes(image)
        found += run(RILLFS, "ltx", "verify", copy, check=False).returncode == 1
        image[position] ^= 0x10
    assert found == len(positions)
