"""Point SELECTs on a replica while it applies 500 transactions a second, against native SQLite while another
process writes 500 a second. One at a time, so that neither disturbs the other."""

from bench import Row, finish, in_turns
from figures import at_least, compared
from rows.follow import until_equal

RATE = 500


def run(bench):
    with Row(bench, "replica-reads") as row:
        primary, replica = row.pair()
        pairs = {"native": (row.native, row.native), "replica": (primary.mountpoint, replica.mountpoint)}
        for written, _ in pairs.values():
            row.generate(written, rows=100_000, transactions=1)
        replica.wait_for_position("bench.db", primary.position("bench.db"), 60)
        seconds, written_at, behind = bench.size(3, 1), [], []

        def measure(pair):
            written, read = pair
            writer = row.background(*row.generator(written, rate=RATE, duration=seconds + 1.5, warm_up=0))
            rate = row.generate(read, reads=100, duration=seconds, warm_up=0.5)["per_second"]
            written_at.append(finish(writer)["per_second"])
            assert written_at[-1] > RATE / 2, f"only {written_at[-1]:.0f} transactions a second were written"
            behind.append(until_equal(primary, replica))
            return rate

        rates = in_turns(bench.rounds, pairs, measure)
        yield compared("replica-reads", f"point SELECT on a replica that applies {RATE} tx/s", "/s",
                       rates["replica"], rates["native"], times=False, beside="native, written alike",
                       goal=at_least(0.95), note=f"slowest writer {min(written_at):.0f} tx/s; replica at most {max(behind) * 1e3:.0f} ms behind")
