"""The most commits a second that a loopback replica follows: it is where the primary is within 0.1 s of the last one,
after some seconds at that rate, and the writer was not slower than asked."""

import time

from bench import Row
from figures import Figure, at_least

BEHIND_S = 0.1


def run(bench):
    with Row(bench, "follow") as row:
        primary, replica = row.pair()
        row.generate(primary.mountpoint, transactions=1)
        # (While this is open, the writer's end makes no checkpoint, which would give the replica time.)
        with primary.sqlite("bench.db") as open_all_the_while:
            open_all_the_while.execute("SELECT count(*) FROM bench").fetchall()
            top, behind = attempt(row, primary, replica, 0)
            tried = [[round(top), behind]]
            best = top if behind <= BEHIND_S else search(row, primary, replica, top, tried)
        yield Figure("follow", "sustained commits a second that a replica follows", "tx/s", best, more_is_better=True,
                     goal=at_least(10_000, "value"), series=sorted(tried),
                     note=f"as fast as it goes: {top:.0f} tx/s, then {behind * 1e3:.0f} ms behind")


def search(row, primary, replica, top, tried):
    low, high = 0, top
    for _ in range(row.bench.size(6, 4)):
        rate = (low + high) / 2
        reached, behind = attempt(row, primary, replica, rate)
        tried.append([round(reached), behind])
        if behind <= BEHIND_S and reached >= 0.98 * rate:
            low = rate
        else:
            high = rate
    return low


def attempt(row, primary, replica, rate):
    """(commits a second, seconds until the replica had all of them)."""
    result = row.generate(primary.mountpoint, rate=rate, duration=row.bench.size(5, 2), warm_up=0.5)
    return result["per_second"], until_equal(primary, replica)


def until_equal(primary, replica, name="bench.db", timeout=300):
    """Seconds until the replica is where the primary is now."""
    begun, target = time.monotonic(), primary.txid(name)
    while replica.txid(name) < target:
        assert time.monotonic() - begun < timeout, f"the replica is at {replica.txid(name)}, not {target}"
        time.sleep(0.002)
    return time.monotonic() - begun
