"""1,000 databases, each with a connection open on the primary and on the replica, and nobody does anything."""

import os
import subprocess
import time

import support
from bench import Row
from figures import Figure, at_most

# A process of its own holds the connections: every program that this one starts would close its copies of them, and
# that is a request each.
APPLICATION = """
import resource, sqlite3, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
directory, create, count = sys.argv[1], sys.argv[2] == "create", int(sys.argv[3])
connections = []
for i in range(count):
    connection = sqlite3.connect(f"{directory}/{i}.db", isolation_level=None)
    if create:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, value TEXT)")
        connection.execute("INSERT INTO t(value) VALUES('one row')")
    connection.execute("SELECT count(*) FROM t").fetchall()
    connections.append(connection)
print("open", flush=True)
sys.stdin.read()
"""


def run(bench):
    count = bench.size(1000, 200)
    with Row(bench, "many") as row:
        primary, replica = row.pair()
        # (One first: what a daemon takes once is not counted for each.)
        primary.execute("first.db", "PRAGMA journal_mode=WAL", "CREATE TABLE t(id INTEGER PRIMARY KEY)")
        replica.wait_for_position("first.db", primary.position("first.db"), 60)
        before = {node.name: node.memory_kib("VmRSS") for node in (primary, replica)}
        open_all(row, primary, "create", count)
        for i in range(count):
            replica.wait_for_position(f"{i}.db", primary.position(f"{i}.db"), 120)
        open_all(row, replica, "open", count)
        for node, most in ((primary, 50), (replica, 100)):
            used = (node.memory_kib("VmRSS") - before[node.name]) / count
            yield Figure(f"many.rss.{node.name}", f"{count} databases open, memory for each, {node.name}", "KiB", used,
                         goal=at_most(most, "value"), note="growth of VmRSS / databases")
        yield from idle(bench, (primary, replica))


def open_all(row, node, how, count):
    process = support.script(APPLICATION, node.mountpoint, how, count, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    row.started.callback(lambda: support.end(process, kill=True))
    assert process.stdout.readline() == b"open\n", f"the databases of {node.name} could not be opened: {node.log()}"


def settle(nodes):
    """Until the kernel has written back what was changed in mapped wal-indexes: some hundred at a time when it is asked,
    a few every four seconds when it is not."""
    asked = []
    while len(asked) < 60 and (len(asked) < 3 or asked[-3] != asked[-1]):
        os.sync()
        time.sleep(1)
        asked.append([sum(node.status()["requests"].values()) for node in nodes])


def idle(bench, nodes):
    """Processor time and requests while nothing is asked for, and nothing is left to be written."""
    settle(nodes)
    seconds = bench.size(20, 5)
    before = {node.name: (cpu_seconds(node), node.status()["requests"], time.monotonic()) for node in nodes}
    time.sleep(seconds)
    for node in nodes:
        cpu, asked, at = before[node.name]
        passed = time.monotonic() - at
        yield Figure(f"many.cpu.{node.name}", f"the same, processor while idle, {node.name}", "%",
                     100 * (cpu_seconds(node) - cpu) / passed, goal=at_most(1, "value"))
        more = {kind: n - asked.get(kind, 0) for kind, n in node.status()["requests"].items() if n > asked.get(kind, 0)}
        yield Figure(f"many.requests.{node.name}", f"the same, requests while idle, {node.name}", "/s",
                     sum(more.values()) / passed, goal=at_most(0, "value"),
                     note=", ".join(f"{kind} {n}" for kind, n in more.items()))


def cpu_seconds(node):
    with open(f"/proc/{node.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
