"""LiteFS and Litestream, when their binaries are given: the same work in their directories, where it applies.

LiteFS: a primary and, where replicas count, a replica, each with a static lease. Litestream: the native directory with
`litestream replicate` beside it, which copies to a directory on the same disk; it changes what a commit costs, and has
no live replica to read from."""

import contextlib
import re
import shutil
import subprocess

import support

LITEFS = """\
fuse:
  dir: "{directory}/mnt"
data:
  dir: "{directory}/data"
http:
  addr: "127.0.0.1:{port}"
lease:
  type: "static"
  candidate: {candidate}
  advertise-url: "http://127.0.0.1:{primary_port}"
"""
LITESTREAM = """\
dbs:
  - dir: {directory}/dbs
    pattern: "*.db"
    watch: true
    replica:
      type: file
      path: {directory}/replica
"""


def litefs_pair(row):
    """{"LiteFS": directory, "LiteFS replica": directory}, or nothing."""
    if not row.bench.litefs:
        return {}
    primary, port = start_litefs(row, "litefs-primary")
    replica, _ = start_litefs(row, "litefs-replica", port)
    return {"LiteFS": primary, "LiteFS replica": replica}


def primaries(row):
    """What is written to, without replicas: {name: directory}."""
    places = {}
    if row.bench.litefs:
        places["LiteFS"], _ = start_litefs(row, "litefs")
    if row.bench.litestream:
        places["Litestream"] = start_litestream(row)
    return places


def start_litefs(row, name, primary_port=None):
    directory = row.directory / name
    (directory / "mnt").mkdir(parents=True)
    (directory / "data").mkdir()
    port = support.free_port()
    (directory / "litefs.yml").write_text(LITEFS.format(
        directory=directory, port=port, candidate="false" if primary_port else "true",
        primary_port=primary_port or port))
    spawn(row, directory, [row.bench.litefs, "mount", "-config", directory / "litefs.yml"], directory / "mnt")
    support.wait_until(lambda: support.is_mounted(directory / "mnt"), 30, "the mount of LiteFS",
                       lambda: (directory / "log").read_text())
    return directory / "mnt", port


def start_litestream(row):
    directory = row.directory / "litestream"
    (directory / "dbs").mkdir(parents=True)
    (directory / "replica").mkdir()
    (directory / "litestream.yml").write_text(LITESTREAM.format(directory=directory))
    spawn(row, directory, [row.bench.litestream, "replicate", "-config", directory / "litestream.yml"])
    return directory / "dbs"


def put(row, source, path):
    """Copies a database to `path` in one of these directories (by LiteFS's own import: through its mount it would take
    very long)."""
    config = path.parent.parent / "litefs.yml"
    if not config.exists():
        return shutil.copyfile(source, path)
    address = re.search(r'addr: "(.*)"', config.read_text())[1]
    return support.run(row.bench.litefs, "import", "-url", f"http://{address}", "-name", path.name, source, timeout=900)


def spawn(row, directory, command, mountpoint=None):
    with open(directory / "log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    support.watch.tell(f"daemon {process.pid} {mountpoint}" if mountpoint else f"app {process.pid}")

    def end():
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        support.end(process, kill=True)
        if mountpoint and support.is_mounted(mountpoint):
            subprocess.run(["umount", "-l", mountpoint], timeout=20)

    row.started.callback(end)


def wait_for_file(places, name):
    """Until LiteFS's replica, if there is one, has a database of as many bytes as its primary."""
    if "LiteFS replica" not in places:
        return
    ours, theirs = places["LiteFS"] / name, places["LiteFS replica"] / name
    support.wait_until(lambda: theirs.exists() and theirs.stat().st_size == ours.stat().st_size, 120,
                       f"{name} on the replica of LiteFS")
