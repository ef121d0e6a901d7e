"""Whoever reaches the port may send anything: commits, replicas and memory do not care."""

import contextlib
import random
import socket
import struct
import threading

from support import SANITIZED, wait_until


def connect(node):
    host, port = node.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=5)


def connections(node):
    """How many peers it holds on to."""
    port = int(node.address.rsplit(":", 1)[1])
    established = f"0100007F:{port:04X}"
    return sum(line.split()[1] == established and line.split()[3] == "01"
               for line in open("/proc/net/tcp").readlines()[1:])


def garbage(chance):
    """Random bytes; a length of 4 GiB; a small length and no more; a long row of zeros."""
    yield chance.randbytes(chance.randrange(1, 100_000))
    yield struct.pack(">I", 0xFFFFFFFF) + b"x" * 10_000
    yield struct.pack("<I", 0xFFFFFFFF) + b"x" * 10_000
    yield struct.pack(">I", 100) + b"\x0a"
    yield bytes(1_000_000)


def test_garbage_silence_and_slowness_disturb_nobody(make_cluster, seed):
    cluster = make_cluster()
    primary, chance = cluster.primary, random.Random(seed)
    primary.execute("app.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(a, b)")
    cluster.check("app.db")
    before_kib = primary.memory_kib("VmRSS")
    stop = threading.Event()

    def attack():
        while not stop.is_set():
            for bytes_ in garbage(chance):
                with contextlib.suppress(OSError), connect(primary) as peer:
                    peer.sendall(bytes_)
                    peer.settimeout(0.05)
                    peer.recv(100_000)

    attacker = threading.Thread(target=attack)
    attacker.start()
    silent = [connect(primary) for _ in range(300)]
    try:
        for i in range(300):
            primary.execute("app.db", f"INSERT INTO t VALUES({i}, randomblob(1000))")
        cluster.wait_for_replicas("app.db")
        cluster.replica.restart()  # connects beside all of them
        cluster.wait_for_replicas("app.db")
    finally:
        stop.set()
        attacker.join()
    # Peers that say nothing are given up, whatever they are.
    wait_until(lambda: connections(primary) == 1, 30, "the silent ones to be given up", primary.log)
    for peer in silent:
        peer.close()
    assert SANITIZED or primary.memory_kib("VmRSS") < before_kib + 64 * 1024
    assert primary.running and cluster.replica.running
    cluster.check("app.db")


def test_replica_follows_a_liar_without_harm(make_cluster, seed):
    """A replica is pointed at something that is no primary, and at one that sends garbage."""
    cluster = make_cluster()
    chance = random.Random(seed)
    cluster.primary.execute("app.db", "CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
    cluster.check("app.db")
    replica, primary = cluster.replica, cluster.primary
    replica.stop()
    liar = socket.create_server(("127.0.0.1", 0))
    met = []

    def lie():
        while len(met) < 8:
            with contextlib.suppress(OSError):
                peer, _ = liar.accept()
                with peer:
                    met.append(1)
                    for bytes_ in garbage(chance):
                        peer.sendall(bytes_)

    thread = threading.Thread(target=lie)
    thread.start()
    true_primary, replica.primary = replica.primary, f"127.0.0.1:{liar.getsockname()[1]}"
    replica.start()
    wait_until(lambda: len(met) >= 8, 60, "eight attempts", replica.log)
    thread.join()
    liar.close()
    assert replica.execute("app.db", "SELECT a FROM t") == [(1,)]
    assert replica.running
    replica.stop()
    replica.primary = true_primary
    replica.start()
    primary.execute("app.db", "INSERT INTO t VALUES(2)")
    cluster.check("app.db")
