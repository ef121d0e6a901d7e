#!/usr/bin/python3
"""SQLite's own test suite on a RillFS mount: the failures must be exactly those that a disk gives.

    bash tests/sqlite/build.sh && python3 tests/sqlite/suite.py               the sample that CI runs
    python3 tests/sqlite/suite.py --all [--replica] [--sync]                  the 1110 files of veryquick
    python3 tests/sqlite/suite.py --permutation wal                           the files of that permutation
    python3 tests/sqlite/suite.py --permutation some                          those of several, about journals and locks
    python3 tests/sqlite/suite.py --all --dir DIR                             any directory, for comparison
    python3 tests/sqlite/suite.py wal2.test lock4.test                        these files

Every file runs in a process of its own, through permutations.test, as an ordinary user. With --replica a
second node follows; at the end both must have the same databases at the same positions.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import queue
import re
import sys
import time

import place
from place import BUILT, HERE

# What fails on ext4 as well: Debian changes the default page size that this case expects.
FAILS_ON_A_DISK = {("io.test", "io-5.5"), ("rollback.test", "exclusive-truncate.rollback-2.3")}
SOME = ["wal", "persistent_journal", "truncate_journal", "exclusive", "exclusive-truncate", "no_journal",
        "persistent_journal_error", "no_journal_error", "autovacuum_crash", "autovacuum_ioerr"]
LIST = """
set argv0 {%s}
set argv {}
source [file dirname $argv0]/permutations.test
array set options $::testspec(%s)
puts "FILES [lmap file $options(-files) {file tail $file}]"
exit
"""


class Outcome:
    def __init__(self, permutation, name, seconds, cases, failures, problem):
        self.name = name if permutation == "veryquick" else f"{permutation}/{name}"
        self.seconds, self.cases = seconds, cases
        unexpected = [case for case in failures if (name, case) not in FAILS_ON_A_DISK]
        self.problem = problem or ("fails " + " ".join(unexpected) if unexpected else None)


def files_of(permutation, scratch):
    script = scratch / f"list-{permutation}.tcl"
    script.write_text(LIST % (BUILT / "source/test/list.test", permutation))
    log = scratch / f"list-{permutation}.log"
    place.run([BUILT / "build/testfixture", script], scratch, log, 60)
    found = re.search(r"^FILES (.*)$", log.read_text(), re.M)
    if not found:
        sys.exit(f"no permutation {permutation}: {log.read_text()[-300:]}")
    return sorted(found.group(1).split())


def chosen(arguments, scratch):
    """(permutation, file) for everything to run."""
    names = arguments.permutation or ["veryquick"]
    for permutation in SOME if names == ["some"] else names:
        if arguments.files:
            files = arguments.files
        elif permutation == "veryquick":
            files = (HERE / ("veryquick.txt" if arguments.all else "sample.txt")).read_text().split()
        else:
            files = files_of(permutation, scratch)
        yield from ((permutation, name) for name in files)


def run_file(permutation, name, directory, arguments, scratch):
    fixture = BUILT / "build" / ("testfixture-sync" if arguments.sync else "testfixture")
    log = scratch / f"{permutation}-{name.replace('/', '_')}.log"
    began = time.monotonic()
    code = place.run([fixture, BUILT / "source/test/permutations.test", permutation, name, f"--testdir={directory}"],
                     scratch, log, arguments.timeout)
    text = log.read_text(errors="replace")
    totals = re.findall(r"^(\d+) errors out of (\d+) tests", text, re.M)
    failures = re.findall(r"^!Failures on these tests: (.*)$", text, re.M)
    problem = None
    if code is None:
        problem = f"not done after {arguments.timeout} s"
    elif not totals:
        problem = f"ended with {code}: {text.strip()[-300:]}"
    problem = place.empty(directory) or problem
    return Outcome(permutation, name, time.monotonic() - began, int(totals[-1][1]) if totals else 0,
                   failures[-1].split() if failures else [], problem)


def run_all(files, here, arguments, scratch):
    directories = queue.Queue()
    for worker in range(arguments.jobs):
        directories.put(here.directory(f"w{worker}"))

    def one(file):
        directory = directories.get()
        try:
            outcome = run_file(*file, directory, arguments, scratch)
        finally:
            directories.put(directory)
        if outcome.problem:
            print(f"{outcome.name}: {outcome.problem}", flush=True)
        return outcome

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = list(pool.map(one, files))
    while not directories.empty():
        directories.get().rmdir()
    return outcomes


@contextlib.contextmanager
def scratch_of(arguments):
    if not arguments.keep:
        with place.scratch() as scratch:
            yield scratch
    else:
        arguments.keep.mkdir(exist_ok=True)
        os.chown(arguments.keep, place.USER, place.USER)
        yield arguments.keep.resolve()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", help="test files, as SQLite names them")
    parser.add_argument("--all", action="store_true", help="the 1110 files of veryquick")
    parser.add_argument("--permutation", action="append", help=f"may be repeated; `some`: {', '.join(SOME)}")
    parser.add_argument("--sync", action="store_true", help="with a fixture that really syncs")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one file")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the logs of the files there")
    place.add_options(parser)
    arguments = parser.parse_args()

    began = time.monotonic()
    with scratch_of(arguments) as scratch:
        files = list(chosen(arguments, scratch))
        with place.of(arguments, "sqlite suite", arguments.timeout * len(files)) as here:
            outcomes = run_all(files, here, arguments, scratch)
            here.check()
            scratch.joinpath("warnings").write_text("".join(line + "\n" for line in here.warnings()))
    if arguments.junit:
        place.write_junit(arguments.junit, "sqlite", [(o.name, o.seconds, o.problem) for o in outcomes])
    bad = [outcome for outcome in outcomes if outcome.problem]
    print(f"{len(outcomes)} files, {sum(o.cases for o in outcomes)} cases in {time.monotonic() - began:.0f} s: "
          f"{len(outcomes) - len(bad)} passed, {len(bad)} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
