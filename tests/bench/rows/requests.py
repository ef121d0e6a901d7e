"""How many requests the kernel sends to the daemon for an operation: from the daemon's counters."""

import support
from bench import Row
from figures import at_most, measured
from rows.many import settle


def run(bench):
    with Row(bench, "requests") as row:
        primary, replica = row.pair()
        row.fill(primary.path("wal.db"), "WAL", 100_000)
        replica.wait_for_position("wal.db", primary.position("wal.db"), 60)
        count = bench.size(100_000, 20_000)
        settle((primary, replica))
        for node in (primary, replica):
            counted = ask(row, node, "select", "wal.db", count)
            yield measured(f"requests.select.{node.name}", f"requests to the daemon, {count} point SELECTs, {node.name}",
                           "requests", [counted["requests"]], goal=at_most(0, "value"), note=kinds(counted, 1))
        for mode in ("WAL", "DELETE"):
            name = f"count-{mode}.db"
            primary.execute(name, f"PRAGMA journal_mode={mode}", "CREATE TABLE log(id INTEGER PRIMARY KEY, value TEXT)")
            counted = ask(row, primary, "insert", name, 500)
            yield measured(f"requests.insert.{mode.lower()}", f"requests per commit, {mode}", "requests",
                           [counted["per_operation"]], note=kinds(counted, counted["operations"]))


def kinds(counted, operations):
    return ", ".join(f"{kind} {n / operations:g}" for kind, n in counted["kinds"].items())


def ask(row, node, what, name, count):
    return row.bench.json("bench_load", "requests", what, node.path(name), count, support.RILLFS, "status", "--json",
                          "--data", node.data)
