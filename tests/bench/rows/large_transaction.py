"""One transaction of 2 GiB: the most memory that the daemons had."""

from bench import Row
from figures import Figure, at_most

ROW_BYTES = 3900  # one row a page


def run(bench):
    mib = bench.size(2048, 256)
    with Row(bench, "large-transaction") as row:
        primary, replica = row.pair()
        row.generate(primary.mountpoint, transactions=1)
        replica.wait_for_position("bench.db", primary.position("bench.db"), 60)
        result = row.generate(primary.mountpoint, transactions=1, transaction=mib * 256, value_size=ROW_BYTES,
                              duration=3600)
        replica.wait_for_position("bench.db", primary.position("bench.db"), 600)
        for node in (primary, replica):
            yield Figure(f"large-transaction.{node.name}", f"one transaction of {mib} MiB, peak memory, {node.name}",
                         "MiB", node.memory_kib("VmHWM") / 1024, goal=at_most(256, "value"),
                         note=f"VmHWM; the transaction took {result['seconds']:.1f} s" if node is primary else "VmHWM")
