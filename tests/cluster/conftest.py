"""Fixtures. `cluster` is shared by the tests of a file, each of which takes names of its own; a test that
stops or kills nodes makes its own with `make_cluster`."""

import itertools
import pathlib
import os
import random
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import support  # noqa: E402

DEADLINE = 60  # seconds a test may take before the watchdog kills its daemons


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="seed of the random tests; printed by each of them")


def pytest_configure(config):
    config.addinivalue_line("markers", "deadline(seconds): how long the watchdog lets a test run")


def pytest_unconfigure(config):
    support.watch.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when == "call":
        for value in item.funcargs.values():
            for cluster in value if isinstance(value, list) else [value]:
                if isinstance(cluster, support.Cluster):
                    report.sections.append(("logs", cluster.logs()))


@pytest.fixture(autouse=True)
def deadline(request):
    marker = request.node.get_closest_marker("deadline")
    support.watch.tell(f"deadline {marker.args[0] if marker else DEADLINE} {request.node.name}")
    yield
    support.watch.tell("done")


@pytest.fixture
def seed(request):
    given = request.config.getoption("--seed")
    # One seed for the check that every change passes, so that it says something about the change; another one
    # with every other run.
    value = 14 if os.environ.get("CI") else random.SystemRandom().randrange(1 << 32)
    value = value if given is None else given
    print(f"seed {value}")
    return value


class Shared:
    def __init__(self):
        self.cluster = None

    def get(self):
        """A cluster that a test has broken is not given to the next one."""
        if self.cluster is None or not all(node.running for node in self.cluster.nodes):
            self.close()
            self.cluster = support.Cluster(replicas=1).__enter__()
        return self.cluster

    def close(self):
        if self.cluster is not None:
            cluster, self.cluster = self.cluster, None
            cluster.clean_up()


@pytest.fixture(scope="module")
def shared():
    holder = Shared()
    yield holder
    holder.close()


@pytest.fixture
def cluster(shared):
    cluster = shared.get()
    yield cluster
    for app in cluster.apps:
        app.kill()
    cluster.apps.clear()


@pytest.fixture
def clusters():
    """What `make_cluster` has made."""
    made = []
    yield made
    for one in made:
        one.clean_up()


@pytest.fixture
def make_cluster(clusters):
    def make(**options):
        one = support.Cluster(**options)
        clusters.append(one)
        return one.start()
    return make


_numbers = itertools.count(1)


@pytest.fixture
def name():
    """A database name that no other test uses."""
    return f"db{next(_numbers)}.db"
