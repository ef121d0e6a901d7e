#!/usr/bin/python3
"""Suites of drivers for Python, Go and Node, unchanged: the same tests fail on a RillFS mount as on a disk, if any.

    bash tests/sqlite/drivers.sh && python3 tests/sqlite/drivers.py [--replica]
    python3 tests/sqlite/drivers.py --dir DIR            any directory, for comparison
    python3 tests/sqlite/drivers.py go node              these only

Each suite runs twice, in a directory of the machine's disk and on the mount: working directory, TMPDIR and HOME
are there. With --replica both nodes must be equal after each suite.
"""

import argparse
import re
import shutil
import sys
import time

import place

GOT = place.BUILD / "drivers"
TIMEOUT = 1200


class Suite:
    """The commands, and how a failed and any other test is told in their output."""

    def __init__(self, commands, failed, tests, environment=None, package=None):
        self.commands, self.failed, self.tests = commands, failed, tests
        self.environment, self.package = environment or {}, package

    def __call__(self, directory, log):
        """How many tests there were, and which of them failed."""
        work = directory
        if self.package:
            work = directory / "package"
            shutil.copytree(self.package, work)
            place.own(work)
        text = ""
        for command in self.commands:
            code = place.run(command, work, log, TIMEOUT, TMPDIR=directory, **self.environment)
            text += log.read_text(errors="replace")
            if code is None:
                text += f"\nnot done after {TIMEOUT} s: {command[0]}"
        found = re.findall(self.tests, text, re.M)
        tests = int(found[0]) if len(found) == 1 and found[0].isdigit() else len(found)
        return tests, sorted(set(re.findall(self.failed, text, re.M))), text[-1500:]


SUITES = {
    "python": Suite([["/usr/bin/python3", "-m", "apsw.tests", "-v"]], r"^(?:ERROR|FAIL): (.*)$", r"^Ran (\d+) tests",
                    {"PYTHONPATH": GOT / "python", "PYTHONDONTWRITEBYTECODE": 1}),
    "go": Suite([[GOT / "go/go-sqlite3.test", "-test.v"]], r"^ *--- FAIL: (\S+)|^(panic: .*)$", r"^ *--- \w+: (\S+)"),
    "node": Suite([["node", "test/support/createdb.js"],
                   ["node", GOT / "node/node_modules/mocha/bin/mocha.js", "-R", "tap", "--timeout", "480000"]],
                  r"^not ok \d+ (.*)$", r"^(?:not )?ok \d+ (.*)$",
                  {"NODE_PATH": GOT / "node/node_modules"}, GOT / "node/package"),
}


def compare(name, here, scratch):
    """Runs it on the disk and there: (tests, failed on the disk, seconds on the disk, seconds there, problem)."""
    suite, log = SUITES[name], scratch / "log"
    began = time.monotonic()
    with place.scratch() as disk:
        tests, failed, end = suite(disk, log)
    on_disk = time.monotonic() - began
    if tests == 0:
        return tests, failed, on_disk, 0, f"no test ran on the disk: {end}"
    directory = here.directory(name)
    began = time.monotonic()
    tests_there, failed_there, end = suite(directory, log)
    seconds = time.monotonic() - began
    problem = None
    if (tests, failed) != (tests_there, failed_there):
        problem = (f"{tests_there} tests, {tests} on a disk; fails besides {sorted({*failed_there} - {*failed})}, "
                   f"not {sorted({*failed} - {*failed_there})}: {end}")
    try:
        here.check(name + "/")
    except AssertionError as error:
        problem = problem or str(error)
    problem = place.empty(directory) or problem
    return tests, failed, on_disk, seconds, problem


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("languages", nargs="*", help=f"of {', '.join(SUITES)}; all of them if none is named")
    place.add_options(parser)
    arguments = parser.parse_args()
    cases = []
    with place.scratch() as scratch, place.of(arguments, "drivers", 2 * TIMEOUT * len(SUITES)) as here:
        for name in arguments.languages or SUITES:
            tests, failed, on_disk, seconds, problem = compare(name, here, scratch)
            print(f"{name:8} {'failed' if problem else 'ok':6} {tests} tests, {len(failed)} of them fail on a disk as well; "
                  f"{seconds:.1f} s, on a disk {on_disk:.1f} s" + (f": {problem}" if problem else ""), flush=True)
            cases.append((name, seconds, problem))
    if arguments.junit:
        place.write_junit(arguments.junit, "drivers", cases)
    return 1 if any(problem for _, _, problem in cases) else 0


if __name__ == "__main__":
    sys.exit(main())
