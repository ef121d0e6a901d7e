"""A replica that was away for 100,000 small transactions: from its start until it has them, against the rate at which
the primary made them, as fast as it goes and with nobody following."""

from bench import Row
from figures import at_least, compared
from rows.follow import until_equal

OPTIONS = ("--retention-bytes", "8GiB")


def run(bench):
    count = bench.size(100_000, 10_000)
    with Row(bench, "catch-up") as row:
        primary, replica = row.pair(OPTIONS)
        row.generate(primary.mountpoint, transactions=1)
        replica.wait_for_position("bench.db", primary.position("bench.db"), 60)
        made, caught_up = [], []
        for _ in range(bench.size(5, 3)):
            replica.stop()
            made.append(row.generate(primary.mountpoint, transactions=count, duration=600)["per_second"])
            replica.spawn()
            caught_up.append(count / until_equal(primary, replica))
            assert "sending a snapshot" not in primary.log(), "a snapshot was sent"
        yield compared("catch-up", f"replica catching up {count} transactions, its start included", "tx/s", caught_up,
                       made, times=False, beside="primary's top rate", goal=at_least(2))
