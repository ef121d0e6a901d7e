#!/usr/bin/env python3
"""Upgrades and mixed versions, with a real older binary.

    python3 tests/upgrade/run.py [--old COMMIT | --old PATH] [--rounds 50] [--seed N] [--only NAME]

Builds the daemon of an older commit in a git worktree of its own (which is removed again; --keep DIR keeps it), or
takes the binary that is named, and tries what docs/operations.md lets a person do with the two: each round is one of
the scenarios below, with a journal mode, page size and number of transactions from the seed. Needs root.
"""

import argparse
import contextlib
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "cluster"))
import support  # noqa: E402
from support import RILLFS, Node, run, script, wait_until, watch  # noqa: E402

MODES = ["WAL", "DELETE", "TRUNCATE", "PERSIST"]
#: A log that forgets at once, so that a replica that was away needs a snapshot.
SHORT = ["--retention-bytes", "64KiB", "--retention-time", "1s", "--segment-size", "64KiB"]
#: What a daemon that cannot read something says.
REFUSALS = ["version", "later", "upgrade", "newer", "unsupported", "does not know"]

WRITER = """
import sqlite3, sys
path, mode, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
connection = sqlite3.connect(path, timeout=20, isolation_level=None)
connection.execute(f"PRAGMA page_size={sys.argv[5]}")
connection.execute(f"PRAGMA journal_mode={mode}")
connection.execute("PRAGMA synchronous=FULL")
connection.execute("PRAGMA wal_autocheckpoint=20")
connection.execute("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, b)")
for n in range(first, first + count):
    connection.execute("INSERT INTO t VALUES(?, randomblob(?))", (n, n * 997 % 9000))
    if n % 7 == 0:
        connection.execute("UPDATE t SET b=randomblob(length(b)) WHERE n % 5 = 0")
    print(n, flush=True)
"""


class Daemon(Node):
    """A node whose binary can be changed."""

    def __init__(self, directory, name, binary, primary=None, options=()):
        super().__init__(directory, name, primary, options)
        self.binary = binary

    def command(self, *command):
        return [str(self.binary), *super().command(*command)[1:]]

    def rillfs(self, *words, **options):
        return run(self.binary, words[0], "--data", self.data, *words[1:], **options)

    def stop(self, timeout=60):
        return super().stop(timeout)

    def verify_log(self):
        if self.segments():
            run(RILLFS, "ltx", "verify", *self.segments(), timeout=120)


class Round:
    """What one scenario works with; `clean_up` leaves nothing."""

    def __init__(self, directory, dice, old, new):
        self.directory, self.dice, self.old, self.new = directory, dice, old, new
        self.mode, self.page_size = dice.choice(MODES), dice.choice([512, 1024, 4096, 65536])
        self.count = dice.randrange(5, 60)
        self.nodes = []
        self.written = 0  # the last that was acknowledged

    def node(self, name, binary, primary=None, options=()):
        self.nodes.append(Daemon(self.directory, name, binary, primary, options))
        return self.nodes[-1]

    def write(self, node, count=None, kill_after=None):
        """Transactions, each acknowledged; the daemon dies after `kill_after` of them."""
        writer = script(WRITER, node.path("a.db"), self.mode, self.written + 1, count or self.count, self.page_size,
                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if kill_after else None)
        for done, line in enumerate(writer.stdout, 1):
            self.written = int(line)
            if done == kill_after:
                node.kill()
                break
        writer.kill()
        for line in writer.stdout:  # (was on its way)
            self.written = int(line)
        writer.wait(20)
        writer.stdout.close()
        watch.tell(f"gone {writer.pid}")

    def check(self, node):
        """Everything acknowledged, and at most one transaction more."""
        assert node.execute("a.db", "PRAGMA integrity_check") == [("ok",)], node.log()
        (count, last), = node.execute("a.db", "SELECT count(*), max(n) FROM t")
        assert count == last and self.written <= last <= self.written + 1, (self.written, count, last, node.log())
        self.written = last
        said = node.database("a.db")
        assert said["problem"] is None, (said, node.log())

    def check_equal(self, primary, replica):
        replica.wait_for_position("a.db", primary.position("a.db"), 40)
        self.check(replica)
        assert support.same_content(primary.export("a.db"), replica.export("a.db")), (primary.log(), replica.log())

    def start_or_refused(self, node):
        """True if it is mounted; else it has ended, and said why."""
        node.spawn()
        wait_until(lambda: node.ready() or node.process.poll() is not None, 20, "a start or an end", node.log)
        if node.running:
            return True
        assert node.reap() != 0 and any(word in node.log() for word in REFUSALS), node.log()
        return False

    def replicates_or_refused(self, primary, replica):
        """True if the replica follows; else both say that versions differ."""
        def settled():
            return replica.position("a.db") == primary.position("a.db") or "protocol version" in replica.log()
        wait_until(settled, 40, "replication or a refusal", lambda: primary.log() + replica.log())
        return "protocol version" not in replica.log()

    def clean_up(self):
        for node in reversed(self.nodes):
            node.clean_up()


# --- the scenarios: what happened, in a word


def stopped_then_upgraded(r):
    node = r.node("node", r.old).start()
    r.write(node)
    position = node.position("a.db")
    assert node.stop() == 0, node.log()
    node.binary = r.new
    node.start()
    assert node.position("a.db") == position, (position, node.log())
    r.check(node)
    r.write(node)
    r.check(node)
    assert node.restart() and node.position("a.db")
    r.check(node)
    node.verify_log()
    return "opened"


def killed_then_upgraded(r):
    node = r.node("node", r.old).start()
    r.write(node, 200, kill_after=r.count)
    node.binary = r.new
    node.start()
    r.check(node)
    r.write(node)
    r.check(node)
    node.verify_log()
    return "opened"


def downgraded(r, killed):
    node = r.node("node", r.new).start()
    r.write(node, 200 if killed else None, kill_after=r.count if killed else None)
    if not killed:
        assert node.stop() == 0, node.log()
    before = {path: path.read_bytes() for path in node.segments()}
    node.binary = r.old
    opened = r.start_or_refused(node)
    if opened:
        r.check(node)
        r.write(node)
        r.check(node)
        assert node.stop() == 0, node.log()
    else:
        assert {path: path.read_bytes() for path in node.segments()} == before, "refused, and changed"
    node.binary = r.new
    node.start()
    r.check(node)
    node.verify_log()
    return "opened" if opened else "refused"


def downgraded_after_a_stop(r):
    return downgraded(r, killed=False)


def downgraded_after_a_kill(r):
    return downgraded(r, killed=True)


def mixed(r, primary_binary, replica_binary):
    primary = r.node("primary", primary_binary, options=SHORT).start()
    replica = r.node("replica", replica_binary, primary, SHORT).start()
    r.write(primary)
    if not r.replicates_or_refused(primary, replica):
        return "refused"
    r.check_equal(primary, replica)
    replica.kill()  # away for longer than the log remembers
    newest = primary.segments()[-1].name

    def forgotten():
        r.write(primary, 40)
        primary.restart()
        return newest not in [segment.name for segment in primary.segments()]
    wait_until(forgotten, 60, "the log to forget", primary.log)
    replica.start()
    r.write(primary)
    r.check_equal(primary, replica)
    for node in (replica, primary):
        assert node.stop() == 0, node.log()
        node.verify_log()
    return "replicated"


def old_primary_new_replica(r):
    return mixed(r, r.old, r.new)


def new_primary_old_replica(r):
    return mixed(r, r.new, r.old)


def rolling_upgrade(r):
    """Replica first, then the primary, under a load that does not stop but for the primary's restart."""
    primary = r.node("primary", r.old).start()
    replica = r.node("replica", r.old, primary).start()
    r.write(primary)
    r.check_equal(primary, replica)
    replica.stop()
    replica.binary = r.new
    replica.start()
    r.write(primary)
    if not r.replicates_or_refused(primary, replica):
        return "refused"
    r.check_equal(primary, replica)
    primary.stop()
    primary.binary = r.new
    primary.start()
    r.write(primary)
    r.check_equal(primary, replica)
    return "replicated"


def far_behind(r):
    """What waits for an older replica is merged; then it is the primary, with a log of merged change sets."""
    primary = r.node("primary", r.new).start()
    replica = r.node("replica", r.old, primary).start()
    r.write(primary)
    if not r.replicates_or_refused(primary, replica):
        return "refused"
    replica.stop()
    r.write(primary, 300)
    replica.start()
    r.check_equal(primary, replica)
    replica.verify_log()
    primary.stop()
    replica.primary, primary.primary = None, replica
    replica.restart()
    r.write(replica)
    primary.start()
    r.check_equal(replica, primary)
    return "replicated"


SCENARIOS = [stopped_then_upgraded, killed_then_upgraded, downgraded_after_a_stop, downgraded_after_a_kill,
             old_primary_new_replica, new_primary_old_replica, rolling_upgrade, far_behind]


def build(commit, directory):
    """The daemon of that commit."""
    subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", directory, commit], check=True,
                   stdout=subprocess.DEVNULL)
    cache = (ROOT / "build" / "CMakeCache.txt").read_text()
    keep = [f"-D{line}" for line in cache.splitlines() if line.startswith(("RILLFS_BUNDLED_FUSE", "RILLFS_FUSE_TARBALL"))]
    for command in (["cmake", "-G", "Ninja", "-B", directory / "build", "-S", directory, "-DRILLFS_TESTS=OFF", *keep],
                    ["cmake", "--build", directory / "build", "--target", "rillfs"]):
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return directory / "build" / "rillfs"


@contextlib.contextmanager
def old_binary(old, keep):
    path = pathlib.Path(old)
    if path.is_file():
        yield path.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="rillfs-upgrade-") as temporary:
        directory = pathlib.Path(keep or temporary) / "old"
        try:
            yield build(old, directory)
        finally:
            if not keep:
                subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", directory], check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", default="HEAD~20", help="a commit, or the path of a binary")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--only", help="one scenario")
    parser.add_argument("--keep", help="where the old commit is built, and stays")
    options = parser.parse_args()
    scenarios = [one for one in SCENARIOS if options.only in (None, one.__name__)]
    print(f"seed {options.seed}", flush=True)
    tally, failed = {}, 0
    with old_binary(options.old, options.keep) as old:
        for number in range(options.rounds):
            scenario = scenarios[number % len(scenarios)]
            directory = pathlib.Path(tempfile.mkdtemp(prefix="rillfs-upgrade-round-"))
            r = Round(directory, random.Random(f"{options.seed} {number}"), old, RILLFS)
            begun = time.monotonic()
            try:
                outcome = scenario(r)
            except Exception as error:  # every kind of failure is a finding
                outcome, failed = "FAILED", failed + 1
                print(f"round {number}, {scenario.__name__}, {r.mode}, pages of {r.page_size}: "
                      f"{type(error).__name__}: {error}", flush=True)
            finally:
                r.clean_up()
                shutil.rmtree(directory, ignore_errors=True)
            key = (scenario.__name__, outcome)
            tally[key] = tally.get(key, 0) + 1
            if outcome == "FAILED":
                print(f"  ({time.monotonic() - begun:.1f} s)", flush=True)
    for (name, outcome), count in sorted(tally.items()):
        print(f"{name:28} {outcome:12} {count:4}")
    watch.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
