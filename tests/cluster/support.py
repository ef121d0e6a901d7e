"""Real nodes, real mounts, applications as processes: what the tests of this directory are made of.

Nothing here waits for time; everything waits for a condition, and says what it was when it does not come.
"""

import contextlib
import errno
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

from allowance import Allowance

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RILLFS = os.environ.get("RILLFS", str(ROOT / "build" / "rillfs"))
SANITIZED = "san" in pathlib.Path(RILLFS).parent.name  # takes more memory
FIRST_PORT, PORTS = int(os.environ.get("RILLFS_TEST_PORTS", "21000")), 1000
PYTHON = "/usr/bin/python3"


class Watch:
    """This side of watchdog.py."""

    def __init__(self):
        self.process = None

    def tell(self, line):
        if self.process is None:
            self.process = subprocess.Popen([PYTHON, "-S", str(HERE / "watchdog.py")],
                                            stdin=subprocess.PIPE, start_new_session=True)
        self.process.stdin.write(os.fsencode(line) + b"\n")
        self.process.stdin.flush()

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(60)
            self.process = None


watch = Watch()


def wait_until(predicate, timeout=10.0, what="the condition", detail=None):
    """Returns what `predicate` returned once it is true. `detail()` is added to the failure."""
    allowance = Allowance(timeout)
    pause = 0.001
    while True:
        value = predicate()
        if value:
            return value
        if allowance.used_up():
            more = f": {detail()}" if detail else ""
            raise AssertionError(f"waited {timeout} s in vain for {what}{more}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


_given_ports = set()


def free_port():
    """A port that nobody listens at and that nobody else was given: not every node listens at once."""
    for _ in range(200):
        port = FIRST_PORT + random.SystemRandom().randrange(PORTS)
        if port in _given_ports:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                _given_ports.add(port)
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def is_mounted(path):
    """Without touching the mount itself."""
    escaped = str(path).replace("\\", "\\134").replace(" ", "\\040")
    with open("/proc/self/mounts") as mounts:
        return any(line.split()[1] == escaped for line in mounts)


def run(*command, timeout=30, check=True, **options):
    """A command with captured output; fails with that output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=timeout,
                          **{"text": True, **options})
    if check and done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


class Node:
    """One daemon: its data directory, its mountpoint, its log of this and earlier runs."""

    def __init__(self, directory, name, primary=None, options=()):
        self.name = name
        self.directory = pathlib.Path(directory) / name
        self.data = self.directory / "data"
        self.mountpoint = self.directory / "mnt"
        self.log_path = self.directory / "log"
        self.address = f"127.0.0.1:{free_port()}"
        self.primary = primary
        self.options = list(options)
        self.process = None
        self.directory.mkdir(parents=True)
        self.mountpoint.mkdir()

    # --- life
    def command(self, *command):
        line = [RILLFS, "mount", "--data", str(self.data), "--listen", self.address]
        if self.primary:
            line += ["--primary", self.primary.address if isinstance(self.primary, Node) else self.primary]
        line += [*self.options, str(self.mountpoint)]
        return line + (["--", *command] if command else [])

    def spawn(self, *command, environment=None):
        """Starts it and does not wait. `environment`: variables it has besides ours."""
        assert self.process is None, f"{self.name} runs already"
        self.log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(*command), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.directory,
                                            env={**os.environ, **(environment or {})})
        watch.tell(f"daemon {self.process.pid} {self.mountpoint}")
        return self

    def start(self, timeout=15):
        """Returns when it is mounted and answers."""
        self.spawn()
        wait_until(lambda: self.ready() or self.process.poll() is not None, timeout,
                   f"the start of {self.name}", self.log)
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}: {self.log()}"
        return self

    def ready(self):
        return " is mounted, " in self.log()

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def stacks(self):
        """Where its threads are, for who reads why it does not end."""
        done = subprocess.run(["gdb", "-p", str(self.process.pid), "-batch", "-ex", "thread apply all bt 12"],
                              capture_output=True, text=True, timeout=60) if shutil.which("gdb") else None
        return done.stdout if done else "(gdb is not here)"

    def reap(self, timeout=15):
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end: {self.log()}\n{self.stacks()}") from None
        watch.tell(f"gone {self.process.pid}")
        self.process = None
        return code

    def stop(self, timeout=15):
        """SIGTERM, and its exit code."""
        self.process.terminate()
        return self.reap(timeout)

    def kill(self):
        self.process.kill()
        return self.reap()

    def restart(self):
        self.stop()
        return self.start()

    def clean_up(self):
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(AssertionError):
                self.reap()
        for _ in range(5):
            if not is_mounted(self.mountpoint):
                break
            subprocess.run(["umount", "-f", "-l", str(self.mountpoint)], stderr=subprocess.DEVNULL, timeout=20)

    # --- what it says
    def log(self, whole=False):
        """The log of this run."""
        if not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as log:
            log.seek(0 if whole else self.log_start)
            return log.read().decode(errors="replace")

    def rillfs(self, *words, **options):
        """A command about this node."""
        return run(RILLFS, words[0], "--data", self.data, *words[1:], **options)

    def rillfs_parked(self, *words, **options):
        return run(RILLFS, "parked", words[0], "--data", self.data, *words[1:], **options)

    def memory_kib(self, what):
        """VmRSS: what it takes now; VmHWM: the most that it has taken."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1])
        raise AssertionError(f"no {what}")

    def status(self):
        return json.loads(self.rillfs("status", "--json").stdout)

    def database(self, name):
        """A database's part of the status, or None."""
        return next((d for d in self.status()["databases"] if d["name"] == name), None)

    # --- files
    def path(self, *names):
        return self.mountpoint.joinpath(*names)

    def position(self, name):
        """What NAME-pos says; None without that file."""
        try:
            with open(self.path(name + "-pos"), "rb") as file:
                text = file.read().decode()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ESTALE:  # dropped after it was opened
                return None
            raise
        assert re.fullmatch(r"[0-9a-f]{16}/[0-9a-f]{16}\n", text), repr(text)
        return text.strip()

    def txid(self, name):
        position = self.position(name)
        return 0 if position is None else int(position.split("/")[0], 16)

    def wait_for_position(self, name, position, timeout=15):
        """Until it is there, or beyond it where somebody goes on writing."""
        txid = int(position.split("/")[0], 16)
        wait_until(lambda: self.position(name) == position or self.txid(name) > txid, timeout, f"{name} at {position} on {self.name}",
                   lambda: f"it is at {self.position(name)}; log:\n{self.log()}")

    def sqlite(self, name, **options):
        """A connection of this process; autocommit unless told otherwise."""
        options = {"timeout": 10, "isolation_level": None, **options}
        return contextlib.closing(sqlite3.connect(self.path(name), **options))

    def execute(self, name, *statements):
        """Runs statements on a connection of its own; the rows of the last one."""
        rows = []
        with self.sqlite(name) as connection:
            for statement in statements:
                rows = connection.execute(statement).fetchall()
        return rows

    def export(self, name):
        """The content of a database as bytes, by `rillfs export`."""
        target = self.directory / f"export-{random.getrandbits(64):x}"
        try:
            self.rillfs("export", "-q", name, target)
            return target.read_bytes()
        finally:
            target.unlink(missing_ok=True)

    def backing(self, name):
        """The database file below the mount; the truth only after a clean stop."""
        return self.data / "tree" / name

    def database_names(self):
        return sorted(d["name"] for d in self.status()["databases"])

    def segments(self):
        """Every log segment, of all databases."""
        return sorted(self.data.glob("dbs/*/log/*.seg"))

    def verify_log(self):
        segments = self.segments()
        if segments:
            run(RILLFS, "ltx", "verify", *segments, timeout=120)

    def change_sets(self, name):
        """`ltx list` of one database's log."""
        for info in self.data.glob("dbs/*/info.json"):
            if json.loads(info.read_text()).get("path") == name:
                segments = sorted((info.parent / "log").glob("*.seg"))
                return json.loads(run(RILLFS, "ltx", "list", "--json", *segments).stdout)
        raise AssertionError(f"{self.name} has no log of {name}")


def same_content(ours, theirs):
    """Whether two exports hold the same pages. SQLite's backup makes bytes 24..27 and 92..99 of page 1 anew."""
    def comparable(image):
        return image[:24] + image[28:92] + image[100:]
    return comparable(ours) == comparable(theirs)


def difference(ours, theirs):
    """Which pages of two exports differ, for a message."""
    size = int.from_bytes(ours[16:18], "big")
    size = 65536 if size == 1 else size
    pages = [n // size + 1 for n in range(0, max(len(ours), len(theirs)), size)
             if ours[n:n + size] != theirs[n:n + size]]
    return f"{len(pages)} of {len(ours) // size} and {len(theirs) // size} pages: {pages[:20]}"


class Cluster:
    """A primary and its replicas below one temporary directory."""

    def __init__(self, replicas=1, options=(), replica_options=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rillfs-cluster-"))
        self.primary = Node(self.directory, "primary", options=options)
        self.replicas = [
            Node(self.directory, f"replica{i + 1}", self.primary, [*options, *replica_options])
            for i in range(replicas)
        ]
        self.apps = []

    @property
    def replica(self):
        return self.replicas[0]

    @property
    def nodes(self):
        return [self.primary, *self.replicas]

    def start(self):
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            wait_until(lambda: node.ready() or node.process.poll() is not None, 15,
                       f"the start of {node.name}", node.log)
            assert node.running, f"{node.name} ended: {node.log()}"
        return self

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.clean_up()
            raise

    def __exit__(self, *_):
        self.clean_up()

    def clean_up(self):
        for app in self.apps:
            app.kill()
        for node in reversed(self.nodes):
            node.clean_up()
        assert not any(is_mounted(node.mountpoint) for node in self.nodes), "a mount is left"
        shutil.rmtree(self.directory)

    def app(self, *arguments, **options):
        app = App(*arguments, **options)
        self.apps.append(app)
        return app

    def logs(self):
        return "\n".join(f"--- {node.name}\n{node.log(whole=True)[-4000:]}" for node in self.nodes)

    # --- what the nodes must agree about
    def wait_for_replicas(self, name, timeout=20):
        """Until every replica is where the primary is; returns that position."""
        position = self.primary.position(name)
        assert position is not None, f"{name} has no position on the primary\n{self.logs()}"
        for replica in self.replicas:
            replica.wait_for_position(name, position, timeout)
        return position

    def check(self, name, timeout=20):
        """The database is the same everywhere: position, status, pages, and SQLite finds nothing wrong."""
        position = self.wait_for_replicas(name, timeout)
        images = {}
        for node in self.nodes:
            said = node.database(name)
            assert said, f"{node.name} does not list {name}"
            assert f"{said['txid']:016x}/{said['checksum']}" == position, (node.name, said, position)
            assert said["problem"] is None, (node.name, said)
            assert node.execute(name, "PRAGMA integrity_check") == [("ok",)], (node.name, name)
            images[node.name] = node.export(name)
        for node in self.replicas:
            if not same_content(images["primary"], images[node.name]):
                again = [self.primary.export(name), node.export(name)]
                raise AssertionError(
                    f"{name} at {position} differs between primary and {node.name}, "
                    f"{difference(images['primary'], images[node.name])}; looked at again "
                    f"{'it is the same' if same_content(*again) else difference(*again)}; positions now "
                    f"{[n.position(name) for n in self.nodes]}")
        return position

    def check_stopped(self, name):
        """After a clean stop the database files below the mounts are the same, byte by byte."""
        expected = self.primary.backing(name).read_bytes()
        for node in self.replicas:
            assert node.backing(name).read_bytes() == expected, f"{name}: file of {node.name} differs"

    def check_gone(self, name, timeout=10):
        for replica in self.replicas:
            wait_until(lambda: not replica.path(name).exists(), timeout, f"{name} to go from {replica.name}",
                       replica.log)


class SqliteFailed(Exception):
    """What SQLite said in an application: its code's name and its message."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class App:
    """An application: a process with one SQLite connection, driven from here. See application.py."""

    def __init__(self, path, busy_timeout=5.0):
        self.process = subprocess.Popen(
            [PYTHON, "-S", str(HERE / "application.py"), str(path), str(busy_timeout)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        watch.tell(f"app {self.process.pid}")
        readable, _, _ = select.select([self.process.stdout], [], [], 30)
        connected = bool(readable) and self.process.stdout.readline() != b""
        if not connected:
            self.kill()
        assert connected, f"an application could not open {path}"

    def send(self, *statements):
        """Without waiting for the answer."""
        self.process.stdin.write(json.dumps(statements).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, timeout=30):
        readable, _, _ = select.select([self.process.stdout], [], [], timeout)
        assert readable, f"an application got no answer from SQLite within {timeout} s"
        line = self.process.stdout.readline()
        assert line, "the application died"
        answer = json.loads(line)
        if "error" in answer:
            raise SqliteFailed(answer["error"], answer["message"])
        return [tuple(row) for row in answer["rows"]]

    def sql(self, *statements, timeout=30):
        """Runs statements; the rows of the last one, or SqliteFailed."""
        self.send(*statements)
        return self.answer(timeout)

    def close(self):
        """Ends it as an application ends that closes its database."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(20)
            self.forget()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.forget()

    def forget(self):
        watch.tell(f"gone {self.process.pid}")
        self.process.stdout.close()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process = None


def script(source, *arguments, **options):
    """A Python program as a process of its own; the caller ends it with `end`."""
    process = subprocess.Popen([PYTHON, "-S", "-c", source, *map(str, arguments)], **options)
    watch.tell(f"app {process.pid}")
    return process


def end(process, timeout=20, kill=False):
    if kill:
        process.kill()
    try:
        return process.wait(timeout)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(20)
        watch.tell(f"gone {process.pid}")
