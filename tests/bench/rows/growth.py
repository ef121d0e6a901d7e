"""What a commit costs as the database grows, as its log grows, and as replicas grow."""

import sparse
from bench import Row, in_turns
from figures import Figure, at_most, median, ratio_of_rounds, spread

RATE = 200


def run(bench):
    yield from database_size(bench)
    yield from log_length(bench)
    yield from replicas(bench)


def slope(key, title, xs, costs, note=""):
    """xs: sizes, ascending; costs: {x: microseconds, round by round}. The largest against the smallest."""
    ratio = ratio_of_rounds(costs[xs[-1]], costs[xs[0]])
    return Figure(key, title, "us", median(costs[xs[-1]]), beside=f"at {xs[0]:,}", beside_value=median(costs[xs[0]]),
                  ratio=ratio, ratio_name="largest / smallest", goal=at_most(1.1), note=note,
                  rounds=[*map(list, zip(*(costs[x] for x in xs)))],
                  noise=spread([a / b for a, b in zip(costs[xs[-1]], costs[xs[0]])]),
                  series=[[x, median(costs[x])] for x in xs])


def compare_inserts(row, paths):
    size = row.bench.size((15, 1000), (9, 200))
    costs = row.compare("insert-wal-normal", *size, {str(x): path for x, path in paths.items()})
    return {x: costs[str(x)] for x in paths}


def database_size(bench):
    sizes = bench.size([1, 100, 1024, 10240], [1, 100, 1024])
    with Row(bench, "growth") as row:
        node = row.node("primary")
        for mib in sizes:
            sparse.put(node, row.directory, f"{mib}.db", mib)
            sparse.make(row.native / f"{mib}.db", mib)
        ours = compare_inserts(row, {mib: node.path(f"{mib}.db") for mib in sizes})
        native = compare_inserts(row, {mib: row.native / f"{mib}.db" for mib in sizes})
        note = "sparse: free pages that take no room on the disk; native: " + ", ".join(
            f"{median(native[mib]):.1f}" for mib in sizes)
        yield slope("growth.database", f"commit, database of {sizes[0]} to {sizes[-1]:,} MiB", sizes, ours, note)


def log_length(bench):
    lengths = bench.size([1_000, 30_000, 1_000_000], [1_000, 30_000])
    with Row(bench, "growth") as row:
        node = row.node("primary", options=("--retention-bytes", "200GiB"))
        for records in lengths:
            row.generate(node.mountpoint, database=f"{records}.db", transactions=records, duration=3600)
        first = {records: len(node.change_sets(f"{records}.db")) for records in lengths[:1]}
        costs = compare_inserts(row, {records: node.path(f"{records}.db") for records in lengths})
        yield slope("growth.log", f"commit, log of {lengths[0]:,} to {lengths[-1]:,} records", lengths, costs,
                    f"records counted in the log of the first: {first[lengths[0]]:,}")


def replicas(bench):
    """At a modest rate, and the time that a commit itself takes: all nodes share this machine's processors."""
    with Row(bench, "growth") as row:
        primary = row.node("primary")
        row.generate(primary.mountpoint, transactions=1)
        counts, costs, started = [0, 1, 2, 4, 8], {}, 0
        for count in counts:
            for number in range(started, count):
                replica = row.node(f"replica{number}", primary)
                replica.wait_for_position("bench.db", primary.position("bench.db"), 60)
            started = count
            results = in_turns(bench.rounds, {count: primary.mountpoint}, lambda place: row.generate(
                place, rate=RATE, duration=bench.size(4, 1), warm_up=0.5)["kinds"]["write"]["service"]["p50_us"])
            costs[count] = results[count]
        yield slope("growth.replicas", f"commit, 0 to 8 replicas at {RATE} tx/s, p50", counts, costs,
                    "all nodes on the same processors")

