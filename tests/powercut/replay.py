"""One power cut after the other: the disks as they could be, and whether the nodes come back from them."""

import contextlib
import json
import pathlib
import random
import shutil
import sqlite3
import traceback
import threading
import time

import history
import lives
from block_log import Cut, Disk
from devices import mounted
from recording import NAMES, OPTIONS, environment
from support import Node, run, wait_until


class Lost(Exception):
    """Something acknowledged is not there."""


class Unusable(Exception):
    """A node does not start, or does not do its work, without a person's help."""


class Replay:
    def __init__(self, recording, directory, faults):
        self.recording, self.directory, self.faults = recording, directory, faults
        directory.mkdir()
        self.disks = [Disk(recording.log, i, recording.initial[i], directory) for i in range(2)]
        self.primary = Node(directory, "primary", options=OPTIONS)
        self.replica = Node(directory, "replica", self.primary, options=OPTIONS)
        self.allowed_losses = 0
        self.parked = 0

    def check(self, cut, with_replica):
        """Raises Corrupt, Lost, Unusable or AssertionError."""
        dice = random.Random(cut.seed)
        watchdog = threading.Timer(120, self.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(self.kill)
                self.node_on_disk(stack, 0, self.primary, cut, dice)
                new_cluster = not knows_cluster(self.primary)
                positions = self.check_primary(cut, dice)
                if with_replica:
                    replicas = self.replicas_cut(cut, dice)
                    self.node_on_disk(stack, 1, self.replica, replicas, dice)
                    # A replica of a later instant may be of the cluster that the primary had not founded for certain.
                    if new_cluster and knows_cluster(self.replica) and replicas.index > cut.index:
                        self.check_refusal()
                    else:
                        self.check_replica(positions, replicas.index == cut.index)
        finally:
            watchdog.cancel()

    def kill(self):
        for node in (self.replica, self.primary):
            if node.process is not None:
                node.clean_up()

    def node_on_disk(self, stack, number, node, cut, dice):
        image = self.directory / f"cut-{number}"
        self.disks[number].cut(cut, dice, image)
        disk = stack.enter_context(mounted(image, self.directory / f"disk-{number}"))
        stack.callback(node.clean_up)
        node.data = disk / "data"
        # The machine that comes back has booted; the one that plays it here has not.
        for mark in node.data.glob("dbs/*/followed"):
            mark.write_text("a boot before this one")

    def replicas_cut(self, cut, dice):
        """At the same instant or at another: the replica may know more, or less, than the primary's disk."""
        distance = dice.choice([0, 0, 50, 1000, -50, -1000])
        first = self.recording.log.index_at(self.recording.first)
        index = min(max(first, cut.index + distance), len(self.recording.log.records))
        return Cut(index, cut.unflushed, cut.seed)

    # --- the primary alone
    def check_primary(self, cut, dice):
        interrupted = self.interrupted_on_a_copy(dice)
        self.start(self.primary)
        positions = self.positions(self.primary)
        self.primary.kill()
        self.start(self.primary)
        self.same(positions, self.positions(self.primary), "after a second recovery")
        if interrupted is not None:
            self.same(positions, interrupted, "where the first recovery was killed (first: without)")
        self.check_content(self.primary, self.recording.log.position(cut.index))
        self.primary.verify_log()
        return positions

    def interrupted_on_a_copy(self, dice):
        """The same disk, but its recovery is killed at one of its steps: where it ends. Now and then."""
        if dice.random() > 0.34 or not self.primary.data.exists():
            return None
        original, self.primary.data = self.primary.data, self.directory / "copy"
        shutil.rmtree(self.primary.data, ignore_errors=True)
        run("cp", "-a", "--sparse=always", original, self.primary.data)
        try:
            with environment({"LD_PRELOAD": str(self.faults), "POWERCUT_DIE_AT": str(dice.randrange(1, 80))}):
                self.primary.spawn()
                wait_until(lambda: self.primary.ready() or not self.primary.running, 30, "the killed start")
            self.primary.kill()
            self.start(self.primary)
            positions = self.positions(self.primary)
            self.primary.kill()
            return positions
        finally:
            self.primary.data = original

    def start(self, node):
        try:
            node.start(timeout=30)
        except AssertionError as error:
            raise Unusable(str(error)) from None
        status = node.status()
        broken = [one for one in status["databases"] if one["problem"] is not None]
        if broken:
            raise Unusable(f"{node.name}: {broken}\n{node.log()}")

    def context(self):
        """What a finding needs to be understood: the nodes' last words, and where the check was."""
        where = "".join(traceback.format_exc(limit=-4))
        return "\n".join([where, *(f"--- {node.name}\n{node.log()[-2500:]}" for node in (self.primary, self.replica)
                                   if node.log_path.exists())])

    def names(self, node):
        return sorted(str(path.relative_to(node.mountpoint)) for path in node.mountpoint.glob("**/*.db"))

    def positions(self, node):
        return {name: node.position(name) for name in self.names(node)}

    def replicated(self, node):
        """An empty file is no database yet, and stays where it was made."""
        return {name: position for name, position in self.positions(node).items() if position is not None}

    def same(self, first, second, when):
        if first != second:
            raise history.Corrupt(f"positions differ {when}: {first} and {second}\n{self.primary.log(whole=True)[-6000:]}")

    # --- content
    def check_content(self, node, position):
        """`position`: what was acknowledged before it must be there; None where nothing was promised."""
        for name in NAMES:
            self.check_history(node, name, position)
        keys = {words[1] for words in self.recording.acks if words[0] == "life"}
        for key in sorted(keys):
            self.check_life(node, key, position)

    def check_history(self, node, name, position):
        acknowledged = [words[2] for words in self.recording.acks if words[:2] == ["commit", name]
                        and position is not None and words[4] <= position]
        needed = max(acknowledged, default=-1)
        there = -1
        if node.path(name).exists():
            with node.sqlite(name) as connection:
                connection.create_function("blob", 3, history.blob, deterministic=True)
                there = history.look(connection, self.recording.seed, name)
        if there < needed:
            if self.recording.loses_nothing:
                raise Lost(f"{name} on {node.name} stands after transaction {there}; {needed} was acknowledged")
            self.allowed_losses += needed - there

    def check_life(self, node, key, position):
        life = lives.of(key)
        try:
            there = lives.look(life, node.mountpoint)
        except lives.Wrong as error:
            raise history.Corrupt(f"{error} on {node.name}") from None
        if there not in life.stages + (life.on_a_replica if position is None else []):
            raise history.Corrupt(f"{there} is on {node.name}, which is no stage of {key}: {life.stages}")
        if position is None or not self.recording.loses_nothing:
            return
        stages = [words[2:] for words in self.recording.acks if words[:2] == ["life", key]]
        done = max((stage for stage, _, after in stages if after <= position), default=-1)
        begun = max((stage for stage, before, _ in stages if before < position), default=-1)
        if begun == stages[-1][0]:  # and perhaps the next one, which was never acknowledged
            begun = min(begun + 1, len(life.stages) - 1)
        # A removed name may come back, as on any file system: nobody has synced the directory.
        least = min(done, len(life.stages) - 1 - life.removals)
        allowed = life.stages[max(least, 0):begun + 1] + ([{}] if done == -1 else [])
        if there not in allowed:
            raise Lost(f"databases {key} on {node.name}: {there} is there, stage {done} was acknowledged and {begun} "
                       f"begun of {life.stages}")

    # --- with the replica
    def check_refusal(self):
        self.replica.start(timeout=30)
        wait_until(lambda: "belongs to cluster" in self.replica.log(), 15, "the replica to refuse", self.replica.log)
        self.check_content(self.replica, None)

    def check_replica(self, positions, same_instant):
        address, self.replica.primary = self.replica.primary, "127.0.0.1:1"  # nobody is there
        try:
            self.start(self.replica)
            own = self.replicated(self.replica)
            self.check_content(self.replica, None)
            self.replica.kill()
        finally:
            self.replica.primary = address
        self.replica.start(timeout=30)
        self.wait_for_convergence()
        self.same(positions, self.positions(self.primary), "on the primary once a replica has come")
        self.check_parked(positions, own, same_instant)
        self.write_on(positions)
        self.wait_for_convergence()
        self.compare_files()

    def wait_for_convergence(self):
        def same():
            return self.replicated(self.replica) == self.replicated(self.primary)
        wait_until(same, 15, "the replica at the primary's positions", lambda: (
            f"primary {self.positions(self.primary)}\nreplica {self.positions(self.replica)}\n"
            f"{self.replica.log()[-3000:]}\n--- primary\n{self.primary.log()[-3000:]}"))

    def check_parked(self, primary, replica, same_instant):
        """What the replica had beyond the primary is kept. (A database that the primary does not know at all is
        dropped; from the same instant a replica cannot have one, unless the primary has dropped it.)"""
        def txid(position):
            return int(position.split("/")[0], 16) if position else 0
        ahead = [name for name in replica if txid(replica[name]) > txid(primary.get(name))
                 and (txid(primary.get(name)) or (same_instant and name in NAMES))]
        parked = list((pathlib.Path(self.replica.data) / "parked").glob("*/database"))
        if len(parked) < len(ahead):
            raise Lost(f"the replica was ahead in {ahead}; parked is only {parked}\n{self.replica.log()}")
        self.parked += len(parked)
        for path in parked:
            with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
                if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                    raise history.Corrupt(f"{path}: integrity_check")

    def write_on(self, positions):
        for name in set(positions) - {history.COPIED}:
            with self.primary.sqlite(name) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS after_the_cut(x)")
                connection.execute("INSERT INTO after_the_cut VALUES(1)")

    def compare_files(self):
        names = self.replicated(self.primary)
        for name in set(names) - {history.COPIED}:
            assert self.replica.execute(name, "PRAGMA integrity_check") == [("ok",)], name
        for node in (self.replica, self.primary):
            code = node.stop()
            if code != 0:
                raise Unusable(f"{node.name} ended with {code}: {node.log()}")
            node.verify_log()
        for name in names:
            if self.primary.backing(name).read_bytes() != self.replica.backing(name).read_bytes():
                raise history.Corrupt(f"{name}: the files of primary and replica differ")


def knows_cluster(node):
    return (node.data / "cluster.json").exists()


class Tally:
    def __init__(self):
        self.points = self.corrupt = self.lost = self.unusable = self.started = 0

    def rate(self):
        return self.points / max(0.001, time.monotonic() - self.started)


def replay(recording, cuts, directory, faults, replica_every, say, stop_at=None):
    """Tries every cut; a failure keeps the cut's images in `directory`."""
    tally = Tally()
    tally.started = time.monotonic()
    replayed = Replay(recording, directory, faults)
    for number, cut in enumerate(cuts):
        tally.points += 1
        try:
            replayed.check(cut, number % replica_every == 0)
        except Exception as error:  # every kind of failure is a finding
            kind = "lost" if isinstance(error, Lost) else \
                "corrupt" if isinstance(error, (history.Corrupt, sqlite3.DatabaseError)) else "unusable"
            setattr(tally, kind, getattr(tally, kind) + 1)
            say(f"{kind.upper()} {recording.name}, {cut}: {type(error).__name__}: {error}\n{replayed.context()}")
            if stop_at and tally.corrupt + tally.lost + tally.unusable >= stop_at:
                break
    tally.parked, tally.allowed_losses = replayed.parked, replayed.allowed_losses
    return tally
