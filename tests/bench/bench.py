"""What the rows share: directories, programs, nodes, the size of a run. Everything that a row starts ends with it."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
os.environ.setdefault("RILLFS_TEST_PORTS", "22100")  # the cluster tests have others
sys.path.insert(0, str(HERE.parent / "cluster"))

import support  # noqa: E402


class Passthrough:
    """A mount that does the least that FUSE can do; see passthrough.cc."""

    def __init__(self, program, directory):
        self.backing, self.mountpoint = directory / "through-backing", directory / "through"
        self.backing.mkdir()
        self.mountpoint.mkdir()
        self.process = subprocess.Popen([program, str(self.backing), str(self.mountpoint)],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        support.watch.tell(f"daemon {self.process.pid} {self.mountpoint}")
        support.wait_until(lambda: support.is_mounted(self.mountpoint), 15, "the pass-through mount")

    def clean_up(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        support.end(self.process, kill=True)
        if support.is_mounted(self.mountpoint):
            subprocess.run(["umount", "-l", str(self.mountpoint)], timeout=20)


class Row:
    """One row's own directory and what it has started. `with Row(bench, name) as row:`"""

    def __init__(self, bench, name):
        self.bench, self.name = bench, name
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=bench.work))
        self.native = self.directory / "native"
        self.native.mkdir()
        self.started = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.started.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- what can be started
    def passthrough(self):
        through = Passthrough(self.bench.program("bench_passthrough"), self.directory)
        self.started.callback(through.clean_up)
        return through

    def node(self, name, primary=None, capture=None, options=(), start=True):
        """A RillFS node. capture: "hold" or "tail" where there is a choice."""
        chosen = ["--capture", capture] if capture and self.bench.can_choose_capture else []
        node = support.Node(self.directory, name, primary, [*chosen, *options])
        self.started.callback(node.clean_up)
        return node.start() if start else node

    def primaries(self):
        """[(capture source, its node)]: every source that there is."""
        return [(capture, self.node(f"primary-{capture}", capture=capture)) for capture in self.bench.captures]

    def pair(self, options=(), replica_options=(), **more):
        primary = self.node("primary", options=options, **more)
        return primary, self.node("replica", primary, options=[*options, *replica_options])

    def background(self, *words, **options):
        """A program that runs beside what is measured; `finish(process)` returns what it printed."""
        process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   text=True, **options)
        support.watch.tell(f"app {process.pid}")
        self.started.callback(lambda: support.end(process, kill=True))
        return process

    # --- programs
    def compare(self, load, rounds, operations, places):
        """{place: microseconds an operation, round by round}; see places.cc."""
        words = [f"{name}={path}" for name, path in places.items()]
        result = self.bench.json("bench_load", "compare", load, rounds, operations, *words)
        return {name: result["places"][name]["rounds_us"] for name in places}

    def fill(self, path, mode, rows, width=110):
        """A database to read: table t with `rows` rows of about `width` bytes."""
        self.bench.run("bench_load", "fill", path, mode, rows, width)

    def generator(self, directory, *options, **settings):
        """The command of rillfs-bench: generator(dir, rate=500, duration=5)."""
        words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        return [self.bench.program("rillfs-bench"), directory, "--json", *words, *options]

    def generate(self, directory, *options, **settings):
        return self.bench.json(*self.generator(directory, *options, **settings))


def finish(process, timeout=600):
    output, _ = process.communicate(timeout=timeout)
    if process.returncode != 0:
        raise AssertionError(f"{process.args} ended with {process.returncode}")
    return json.loads(output)


def copy_in(node, source, name):
    """Copies a database file into a node's mount, holes as holes; returns when the node has taken it over."""
    subprocess.run(["cp", "--sparse=always", source, node.path(name)], check=True)
    support.wait_until(lambda: node.txid(name) > 0, 300, f"{name} to be taken over", node.log)
    node.execute(name, "PRAGMA user_version=1")


def in_turns(rounds, places, measure):
    """{place: [measure(what), ...]}; each round begins with another place, so that drift hits all alike."""
    names = list(places)
    results = {name: [] for name in names}
    for number in range(rounds):
        for i in range(len(names)):
            name = names[(number + i) % len(names)]
            results[name].append(measure(places[name]))
    return results


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


class Bench:
    """The run. `quick`: smaller sizes and fewer rounds, to see that everything works, not for figures to keep."""

    def __init__(self, build, work, quick=False, litefs=None, litestream=None):
        self.build, self.quick = pathlib.Path(build), quick
        self.litefs, self.litestream = litefs, litestream
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="rillfs-bench.", dir=work))
        self.rounds = 5 if quick else 7
        self.can_choose_capture = "--capture" in support.run(support.RILLFS, "mount", "--help").stdout
        self.captures = ["hold", "tail"] if self.can_choose_capture else ["hold"]

    def clean_up(self):
        shutil.rmtree(self.work, ignore_errors=True)

    def size(self, whole, quick):
        return quick if self.quick else whole

    def program(self, name):
        return name if os.sep in str(name) else self.build / name

    def run(self, name, *words, timeout=900):
        return support.run(self.program(name), *words, timeout=timeout).stdout

    def json(self, name, *words, timeout=900):
        return json.loads(self.run(name, *words, timeout=timeout))
