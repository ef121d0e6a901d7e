#!/usr/bin/python3
"""SQLite's own test suite on a RillFS mount: the failures must be exactly those that a disk gives.

    bash tests/sqlite/build.sh && python3 tests/sqlite/suite.py               the sample that CI runs
    python3 tests/sqlite/suite.py --all [--replica] [--sync] [--permutation wal]
    python3 tests/sqlite/suite.py --all --dir DIR                             any directory, for comparison
    python3 tests/sqlite/suite.py wal2.test lock4.test                        these files

Every file runs in a process of its own, through permutations.test, as an ordinary user. With --replica a
second node follows; at the end both must have the same databases at the same positions.
"""

import argparse
import concurrent.futures
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from xml.etree import ElementTree

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cluster"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

BUILT = HERE.parent.parent / "build" / "sqlite"
# An ordinary user, who must be able to reach the programs; below a closed directory, root without the right to
# override permissions, for whom the suite passes as well.
REACHABLE = all(directory.stat().st_mode & 0o001 for directory in [BUILT.parent, *BUILT.parent.parents])
USER = 65534 if REACHABLE else 0
AS_USER = (["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if REACHABLE else
           ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"])
# What fails on ext4 as well: Debian changes the default page size that this case expects.
FAILS_ON_A_DISK = {("io.test", "io-5.5"), ("rollback.test", "exclusive-truncate.rollback-2.3")}


class Outcome:
    def __init__(self, name, seconds, cases, failures, problem):
        self.name, self.seconds, self.cases = name, seconds, cases
        self.failures, self.problem = failures, problem

    @property
    def unexpected(self):
        return [case for case in self.failures if (self.name, case) not in FAILS_ON_A_DISK]

    @property
    def good(self):
        return not self.problem and not self.unexpected


def run_file(name, directory, arguments, scratch):
    fixture = BUILT / "build" / ("testfixture-sync" if arguments.sync else "testfixture")
    test = BUILT / "source" / "test" / "permutations.test"
    log = scratch / f"{name.replace('/', '_')}.log"
    began = time.monotonic()
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [*AS_USER, "env", f"HOME={scratch}", str(fixture), str(test), arguments.permutation, name, f"--testdir={directory}"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=scratch, start_new_session=True)
        try:
            code = process.wait(arguments.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            code = None
    text = log.read_text(errors="replace")
    totals = re.findall(r"^(\d+) errors out of (\d+) tests", text, re.M)
    failures = re.findall(r"^!Failures on these tests: (.*)$", text, re.M)
    problem = None
    if code is None:
        problem = f"not done after {arguments.timeout} s"
    elif not totals:
        problem = f"ended with {code}: {text.strip()[-300:]}"
    for entry in directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return Outcome(name, time.monotonic() - began, int(totals[-1][1]) if totals else 0,
                   failures[-1].split() if failures else [], problem)


def run_all(files, root, arguments, scratch):
    directories = queue.Queue()
    for worker in range(arguments.jobs):
        directory = root / f"w{worker}"
        directory.mkdir()
        os.chown(directory, USER, USER)
        directories.put(directory)

    def one(name):
        directory = directories.get()
        try:
            outcome = run_file(name, directory, arguments, scratch)
        finally:
            directories.put(directory)
        if not outcome.good:
            print(f"{name}: {outcome.problem or 'fails ' + ' '.join(outcome.unexpected)}", flush=True)
        return outcome

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = list(pool.map(one, files))
    while not directories.empty():
        directories.get().rmdir()
    return outcomes


def on_mount(files, arguments, scratch):
    support.watch.tell(f"deadline {arguments.timeout * len(files)} sqlite suite")
    cluster = support.Cluster(replicas=1 if arguments.replica else 0)
    cluster.directory.chmod(0o755)
    try:
        with cluster:
            cluster.primary.directory.chmod(0o755)
            outcomes = run_all(files, cluster.primary.mountpoint, arguments, scratch)
            for name in cluster.primary.database_names():
                cluster.check(name, timeout=120)
            for node in cluster.replicas:
                wait_until(lambda: node.database_names() == cluster.primary.database_names(), 120,
                           "the replica to have the same databases", cluster.logs)
            for line in re.findall(r"^\S+ (?:warning|error|critical) .*$", cluster.primary.log(whole=True), re.M):
                scratch.joinpath("warnings").open("a").write(line + "\n")
    finally:
        support.watch.close()
    return outcomes


def write_junit(path, outcomes):
    suite = ElementTree.Element("testsuite", name="sqlite")
    for outcome in outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname="sqlite", name=outcome.name,
                                      time=f"{outcome.seconds:.1f}")
        if not outcome.good:
            failure = ElementTree.SubElement(case, "failure")
            failure.text = outcome.problem or " ".join(outcome.unexpected)
    ElementTree.ElementTree(suite).write(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", help="test files, as SQLite names them")
    parser.add_argument("--all", action="store_true", help="the 1110 files of veryquick")
    parser.add_argument("--permutation", default="veryquick")
    parser.add_argument("--sync", action="store_true", help="with a fixture that really syncs")
    parser.add_argument("--replica", action="store_true", help="with a second node that follows")
    parser.add_argument("--dir", type=pathlib.Path, help="an existing directory instead of a mount of our own")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one file")
    parser.add_argument("--junit", type=pathlib.Path, help="write the results there")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the logs of the files there")
    arguments = parser.parse_args()
    listed = HERE / ("veryquick.txt" if arguments.all else "sample.txt")
    files = arguments.files or listed.read_text().split()

    scratch = arguments.keep or pathlib.Path(tempfile.mkdtemp(prefix="rillfs-sqlite-"))
    scratch.mkdir(exist_ok=True)
    os.chown(scratch, USER, USER)
    began = time.monotonic()
    try:
        outcomes = (run_all(files, arguments.dir, arguments, scratch) if arguments.dir
                    else on_mount(files, arguments, scratch))
    finally:
        if not arguments.keep:
            shutil.rmtree(scratch)
    if arguments.junit:
        write_junit(arguments.junit, outcomes)
    bad = [outcome for outcome in outcomes if not outcome.good]
    print(f"{len(outcomes)} files, {sum(o.cases for o in outcomes)} cases in {time.monotonic() - began:.0f} s: "
          f"{len(outcomes) - len(bad)} passed, {len(bad)} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
