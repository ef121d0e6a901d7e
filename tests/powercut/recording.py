"""One recorded run: a primary and a replica on logged disks, and applications that write."""

import contextlib
import json
import os
import subprocess

from block_log import BlockLog, copy_sparse
from devices import logged_devices, make_filesystem, mounted
from support import HERE as CLUSTER, PYTHON, Node, wait_until

POWERCUT = CLUSTER.parent / "powercut"
NAMES = ["a.db", "b.db", "sub/c.db"]
OPTIONS = ["--segment-size", "64KiB", "--retention-bytes", "256KiB", "--log-level", "info",
           "--heartbeat", "100ms"]


class Recording:
    """Where everything of one run lies, and what was acknowledged in it."""

    def __init__(self, directory, mode, sync, seed, size_mib):
        self.directory, self.mode, self.sync, self.seed = directory, mode, sync, seed
        self.name = f"{mode} {sync}"
        self.log_path, self.acks_path = directory / "log", directory / "acks"
        self.initial = [directory / f"initial-{i}" for i in range(2)]
        self.images = [directory / f"image-{i}" for i in range(2)]
        for initial, image in zip(self.initial, self.images):
            make_filesystem(initial, size_mib)
            copy_sparse(initial, image)

    def read(self):
        self.log = BlockLog(self.log_path)
        self.acks = [json.loads(line) for line in open(self.acks_path)]
        return self

    @property
    def loses_nothing(self):
        """docs/guarantees.md: only WAL with NORMAL may lose the last transactions."""
        return not (self.mode == "wal" and self.sync == "normal")


def record(recording, program, steps, applications=2, preload=None):
    """Fills the recording's log and acks."""
    with contextlib.ExitStack() as stack:
        devices = stack.enter_context(
            logged_devices(program, recording.log_path, recording.directory / "devices", recording.images))
        disks = [stack.enter_context(mounted(device, recording.directory / f"disk-{i}"))
                 for i, device in enumerate(devices)]
        recording.first = os.stat(recording.log_path).st_size
        primary = Node(recording.directory, "primary", options=OPTIONS)
        replica = Node(recording.directory, "replica", primary, options=OPTIONS)
        for node, disk in zip((primary, replica), disks):
            stack.callback(node.clean_up)
            node.data = disk / "data"
        with environment(preload or {}):
            primary.start()
        replica.start()
        (primary.mountpoint / "sub").mkdir()
        for number in range(2):
            work(recording, primary, number, steps // 2, applications)
            wait_for_replica(primary, replica)
            if number == 0:  # what happens in a recovery is recorded too
                for node in (primary, replica):
                    node.kill()
                with environment(preload or {}):
                    primary.start()
                replica.start()
        for node in (replica, primary):
            assert node.stop() == 0, node.log()
    return recording.read()


@contextlib.contextmanager
def environment(variables):
    old = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(old)


def work(recording, primary, number, steps, applications):
    spec = {"mount": str(primary.mountpoint), "data": str(primary.data), "log": str(recording.log_path),
            "acks": str(recording.acks_path), "mode": recording.mode, "sync": recording.sync,
            "seed": recording.seed, "names": NAMES, "steps": steps, "round": number}
    processes = [subprocess.Popen([PYTHON, str(POWERCUT / "application.py"), json.dumps({**spec, "number": i})])
                 for i in range(applications)]
    try:
        codes = [process.wait(300) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0] * applications, f"applications ended with {codes}: {primary.log()}"


def wait_for_replica(primary, replica):
    """Both positions anew each time: what was copied over is taken over some time after the last write."""
    def positions(node):
        return {name: node.position(name) for name in primary.database_names()}
    wait_until(lambda: positions(replica) == positions(primary), 60, "the replica at the primary's positions",
               lambda: f"{positions(primary)}, {positions(replica)}: {replica.log()}")
