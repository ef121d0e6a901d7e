#!/usr/bin/python3
"""SQLite's own load programs, unchanged, on a RillFS mount: mptester, threadtest3, speedtest1, kvtest.

    bash tests/sqlite/build.sh --all && python3 tests/sqlite/programs.py [--replica]    some of all: two minutes
    python3 tests/sqlite/programs.py --all [--replica] [--repeat 3]                     every script, test and mode
    python3 tests/sqlite/programs.py --all --dir DIR                                    any directory, for comparison
    python3 tests/sqlite/programs.py --all threadtest3                                  these only

What a run does in DIR or on the mount it also does in a directory of the machine's disk, except for threadtest3,
whose tests take their time anywhere. A run is ok if it ends as on the disk: mptester with the same errors (its
config scripts change the page size, which WAL mode refuses), speedtest1 with the same hash of all that it reads.
With --replica both nodes must be equal after each run.
"""

import argparse
import re
import sys
import time

import place
from place import BUILT

MODES = ["delete", "truncate", "persist", "wal"]
SCRIPTS = ["crash01", "multiwrite01", "config01", "config02"]
THREADS = ["walthread1", "walthread2", "walthread3", "walthread4", "walthread5", "cgt_pager_1", "dynamic_triggers",
           "checkpoint_starvation_1", "checkpoint_starvation_2", "create_drop_index_1", "lookaside1", "vacuum1",
           "stress1", "stress2", "shared1"]
TIMEOUT = 600


class Run:
    """One run of a program: its commands, and what of their output says how it went."""

    def __init__(self, program, mode, commands, told, native=True):
        self.program, self.mode, self.commands, self.told, self.native = program, mode, commands, told, native

    def __call__(self, directory, log):
        """Seconds, whether it ended well, and what it told."""
        began = time.monotonic()
        codes, text = [], ""
        for command in self.commands:
            codes.append(place.run([BUILT / "build" / self.program, *command], directory, log, TIMEOUT))
            text += log.read_text(errors="replace")
        return time.monotonic() - began, codes, sorted(set(re.findall(self.told, text, re.M)))


def mptester(everything):
    for script in SCRIPTS if everything else SCRIPTS[:2]:
        for mode in MODES:
            # In WAL mode config01 waits for clients that cannot come, for minutes, on a disk as well.
            if (script, mode) == ("config01", "wal") or (not everything and mode in ("truncate", "persist")):
                continue
            path = BUILT / f"source/mptest/{script}.test"
            yield Run("mptester", f"{script} {mode}", [["mptest.db", path, "--journalmode", mode, "--sync"]],
                      r"^Summary: (\d+) errors out of \d+ tests")


def threadtest3(everything):
    for name in THREADS if everything else ["walthread5", "cgt_pager_1", "create_drop_index_1", "vacuum1", "stress1"]:
        yield Run("threadtest3", name, [[name]], r"^(\d+ errors out of \d+) tests", native=False)


def speedtest1(everything):
    size = ["--size", "25" if everything else "10", "--verify"]
    for mode in MODES:
        for page in [512, 4096, 65536] if everything else [4096]:
            yield Run("speedtest1", f"{mode} {page}", [[*size, "--journal", mode, "--pagesize", page, "speed.db"]],
                      r"^Verification Hash: (.*)$")
    for page in [1024, 16384] if everything else [4096]:
        yield Run("speedtest1", f"wal mmap {page}",
                  [[*size, "--journal", "wal", "--mmap", 1 << 28, "--pagesize", page, "speed.db"]],
                  r"^Verification Hash: (.*)$")


def kvtest(everything):
    check = ["--count", "500", "--integrity-check"]
    for mode in MODES if everything else ["delete", "wal"]:
        runs = [["init", "kv.db", "--count", "1000", "--size", "10000", "--variance", "3000"],
                ["run", "kv.db", *check, "--update", "--jmode", mode],
                ["run", "kv.db", *check, "--update", "--multitrans", "--jmode", mode],
                ["run", "kv.db", *check, "--random"], ["run", "kv.db", *check, "--blob-api", "--mmap", str(1 << 28)],
                ["export", "kv.db", "files", "--tree"], ["run", "files", "--count", "500"]]
        yield Run("kvtest", mode, runs, r"^integrity-check: (.*)$")


PROGRAMS = {program.__name__: program for program in [mptester, threadtest3, speedtest1, kvtest]}


def once(run, number, here, scratch):
    """Runs it there and on the disk: (seconds, seconds on the disk or None, problem or None)."""
    log, name = scratch / "log", f"run{number}"
    expected, on_disk = ([0], None), None
    if run.native:
        with place.scratch() as disk:
            on_disk, *expected = run(disk, log)
    directory = here.directory(name)
    seconds, codes, told = run(directory, log)
    problem = None
    if run.native and [codes, told] != expected:
        problem = f"ends with {codes} {told}, on a disk with {expected}: {log.read_text(errors='replace')[-500:]}"
    if not run.native and any(codes):
        problem = f"ends with {codes} {told}: {log.read_text(errors='replace')[-1000:]}"
    try:
        here.check(name + "/")
    except AssertionError as error:
        problem = problem or str(error)
    problem = place.empty(directory) or problem
    if not problem:
        directory.rmdir()
    return seconds, on_disk, problem


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("programs", nargs="*", help=f"of {', '.join(PROGRAMS)}; all of them if none is named")
    parser.add_argument("--all", action="store_true", help="every script, test and mode")
    parser.add_argument("--repeat", type=int, default=1)
    place.add_options(parser)
    arguments = parser.parse_args()
    names = arguments.programs or PROGRAMS
    runs = [run for name in names for run in PROGRAMS[name](arguments.all)] * arguments.repeat

    cases, began = [], time.monotonic()
    with place.scratch() as scratch, place.of(arguments, "programs", 2 * TIMEOUT * len(runs)) as here:
        for number, run in enumerate(runs):
            seconds, on_disk, problem = once(run, number, here, scratch)
            title = f"{run.program} {run.mode}"
            print(f"{title:36} {'failed' if problem else 'ok':6} {seconds:6.1f} s"
                  + (f", on a disk {on_disk:.1f} s" if on_disk is not None else "")
                  + (f": {problem}" if problem else ""), flush=True)
            cases.append((title, seconds, problem))
    if arguments.junit:
        place.write_junit(arguments.junit, "programs", cases)
    failed = sum(bool(problem) for _, _, problem in cases)
    print(f"{len(cases)} runs in {time.monotonic() - began:.0f} s: {len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
