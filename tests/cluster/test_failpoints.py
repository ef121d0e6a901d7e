"""The daemon dies at each of its named steps (replication/base/failpoint.h), and again in the recovery.

Whatever the step: nothing that was acknowledged is lost, nothing is half done, integrity_check is ok, the log
verifies, and the replica ends with the same. A choice of the steps is taken; with RILLFS_TEST_ROUNDS=2 every one, in
one journal mode each; with 10 in all of them, and then every recovery is killed at each of its steps.
"""

import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import tempfile

import pytest

import every_step
from support import HERE, PYTHON, RILLFS, Cluster, end, run, script, wait_until, watch

ROUNDS = int(os.environ.get("RILLFS_TEST_ROUNDS", "1"))
EVERYTHING = ROUNDS >= 10
MODES = ["WAL", "DELETE", "TRUNCATE", "PERSIST"]
SHORT = ("--retention-bytes", "64KiB", "--retention-time", "1s", "--segment-size", "64KiB")


class Template:
    """Data directories of a primary and a replica that have the databases to begin with."""

    def __init__(self, mode):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rillfs-template-"))
        cluster = Cluster(options=SHORT)
        try:
            cluster.start()
            said = self.directory / "said"
            application = every_step.Application(str(cluster.primary.mountpoint), mode, said)
            application.prepare()
            for name in every_step.NAMES:
                cluster.wait_for_replicas(name)
            self.make_image()
            cluster.replica.stop()
            cluster.primary.stop()
            for node in cluster.nodes:
                shutil.copytree(node.data, self.directory / node.name)
        finally:
            cluster.clean_up()

    def make_image(self):
        self.image = self.directory / "image"
        application = every_step.Application(str(self.directory), "DELETE", self.directory / "unsaid")
        application.create("image")
        for n in (1, 2, 3, 50):
            application.transaction(n, "image")
        application.close()


@pytest.fixture(scope="module")
def templates():
    made = {}

    def get(mode):
        if mode not in made:
            made[mode] = Template(mode)
        return made[mode]
    yield get
    for one in made.values():
        shutil.rmtree(one.directory)


class Run:
    """One cluster, one application, and what that was told."""

    def __init__(self, templates, clusters, mode, **options):
        self.mode, self.template = mode, templates(mode)
        self.cluster = Cluster(**{"options": SHORT, **options})
        clusters.append(self.cluster)
        for node in self.cluster.nodes:
            shutil.copytree(self.template.directory / node.name, node.data)
        self.said_path = self.cluster.directory / "said"
        self.said_path.write_bytes((self.template.directory / "said").read_bytes())

    @property
    def primary(self):
        return self.cluster.primary

    @property
    def replica(self):
        return self.cluster.replica

    def start(self, failing=None, failpoint=None):
        for node in self.cluster.nodes:
            if node is failing:
                node.spawn(environment={"RILLFS_FAILPOINT": failpoint})
            elif not node.running:
                node.spawn()
        for node in self.cluster.nodes:
            self.until_ready(node, failing)
        return self

    def until_ready(self, node, may_die=None):
        wait_until(lambda: node.ready() or node.process.poll() is not None, 15, f"the start of {node.name}", node.log)
        assert node.running or node is may_die, f"{node.name} ended: {node.log()}"

    def work(self, tries=1, timeout=60):
        """Runs the application to its end, its exit code."""
        process = subprocess.Popen([PYTHON, "-S", str(HERE / "every_step.py"), str(self.primary.mountpoint), self.mode,
                                    str(self.said_path), str(self.template.image), str(tries)])
        watch.tell(f"app {process.pid}")
        return end(process, timeout)

    def said(self):
        return [json.loads(line) for line in self.said_path.read_text().splitlines()]

    def errors(self):
        return [words[1:] for words in self.said() if words[0] == "error"]

    # --- what must hold
    def rows(self, node, name):
        """Transactions in the database; none is half there."""
        with node.sqlite(name) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], (node.name, name)
            if connection.execute("SELECT count(*) FROM sqlite_schema WHERE name='two'").fetchone() == (0,):
                return set()
            one = {n for n, in connection.execute("SELECT n FROM one")}
            two = dict(connection.execute("SELECT n, count(*) FROM two GROUP BY n"))
        assert two == {n: every_step.ROWS.get(n, 1) for n in one}, (node.name, name, one, two)
        return one

    def check(self):
        """On both nodes, with both running."""
        expected, gone, copied = {}, set(), False
        for kind, *words in self.said():
            if kind == "rows":
                expected.setdefault(words[0], set()).add(words[1])
            elif kind == "renamed":
                expected[words[1]] = expected.pop(words[0])
                gone = (gone | {words[0]}) - {words[1]}
            elif kind == "dropped":
                expected.pop(words[0])
                gone.add(words[0])
            elif kind == "copied":
                expected[words[0]] = {1, 2, 3, 50}
                copied = True
        there = {name for name in self.primary.database_names()}
        for name in gone:
            assert name not in there and not self.primary.path(name).exists(), f"{name} is there again"
        found = {name: self.rows(self.primary, name) for name in there}
        for name, rows in expected.items():
            if name in found:
                # A copy over a database is no transaction: what a copy that was not finished leaves is as on a disk.
                assert rows <= found[name] or (name == "copied.db" and not copied), (name, rows - found[name])
            elif name == "old.db":
                assert "renamed.db" in found or rows <= found["victim.db"], f"{name} is lost"
            elif name == "renamed.db":
                assert rows <= found["victim.db"], f"{name} is lost"
            else:
                assert name == "dropped.db", f"{name} is lost"
        if {"main.db", "second.db"} <= set(found) and self.mode != "WAL":
            assert (30 in found["main.db"]) == (30 in found["second.db"]), "half of a transaction over two databases"
        for name in there:
            self.cluster.wait_for_replicas(name)
        wait_until(lambda: set(self.replica.database_names()) == there, 15, "the same databases on the replica",
                   lambda: f"{self.replica.database_names()} and {there}\n{self.cluster.logs()}")
        for name in there:
            assert self.rows(self.replica, name) == found[name], name
        for node in self.cluster.nodes:
            assert [d["problem"] for d in node.status()["databases"]] == [None] * len(there), node.status()
            node.verify_log()

    def check_writes(self):
        """It goes on as if nothing had been."""
        application = every_step.Application(str(self.primary.mountpoint), self.mode, self.said_path)
        application.transaction(200, "main.db")
        application.close()
        self.cluster.wait_for_replicas("main.db")

    def recover(self, node, steps):
        """Recovery is killed at these steps, one start each, where it comes by; then it is let through."""
        for step in steps:
            node.spawn(environment={"RILLFS_FAILPOINT": step})
            self.until_ready(node, may_die=node)
            if node.running:
                node.kill()
            else:
                assert node.reap() == -signal.SIGKILL, node.log()
        node.start()


def died_at(node, name, timeout=20):
    """The daemon ends by itself, at that step and by no other cause."""
    wait_until(lambda: not node.running, timeout, f"{node.name} to reach {name}", node.log)
    code = node.reap()
    log = node.log()
    assert code == -signal.SIGKILL and f"failpoint {name}" in log, f"{name} was not reached ({code}): {log}"


def names():
    if not os.path.exists(RILLFS):
        return []
    done = subprocess.run([RILLFS, "failpoints"], capture_output=True, text=True, timeout=30)
    return done.stdout.split() if done.returncode == 0 else []


NAMES = names()
RECOVERY = [name for name in NAMES if name.startswith("recovery.")]
ROLLBACK_ONLY = ("journal.", "attached.")
WAL_ONLY = ("wal.", "tail.", "checkpoint.", "apply.wal.")
HOLD_ONLY = ("wal.frames.",)
FROM_WAL = ("recovery.before_wal", "recovery.after_wal")
TAIL_ONLY = ("tail.", *FROM_WAL)
ON_REPLICA = ("receive.", "apply.", "snapshot.", "install.")
DIVERGED = ("resync.", "difference.", "park.", "log.reset.")
TAKE_BACK = ("recovery.before_take_back", "recovery.after_take_back")
ALWAYS = ("wal.commit.", "journal.commit.")
# What the data directory's file calls are at which a kill is tried, besides the named steps.
NTH = {name: (3, 20) for name in NAMES if name.startswith("file.")}


def modes_of(name):
    if name.startswith(WAL_ONLY):
        return ["WAL"]
    if name.startswith(ROLLBACK_ONLY):
        return MODES[1:]
    if name in TAKE_BACK:
        return ["DELETE"]
    if name in FROM_WAL:
        return ["WAL"]
    return MODES


def cases(*, where):
    made = []
    for i, name in enumerate(n for n in NAMES if where(n)):
        if ROUNDS == 1 and i % 16 and not name.startswith(ALWAYS):
            continue
        modes = modes_of(name)
        for mode in modes if EVERYTHING else [modes[i % len(modes)]]:
            made.append(pytest.param(name, mode, i, id=f"{name}-{mode}"))
    return made


def is_diverged(name):
    return name.startswith(DIVERGED)


def is_on_replica(name):
    return name.startswith(ON_REPLICA)


def is_on_primary(name):
    return not is_diverged(name) and not is_on_replica(name) and name not in RECOVERY


def recovery_steps(i):
    steps = [step for step in RECOVERY if step not in TAKE_BACK]
    return steps if EVERYTHING else [steps[i % len(steps)]]


def test_every_step_has_a_case():
    assert NAMES, f"{RILLFS} has no failpoints: configure with -DRILLFS_FAILPOINTS=ON"
    kinds = [is_on_primary, is_on_replica, is_diverged, lambda name: name in RECOVERY]
    assert all(sum(kind(name) for kind in kinds) == 1 for name in NAMES)
    assert run(RILLFS, "mount", "--help").stdout.count("failpoint") == 0
    refused = run(RILLFS, "version", check=False, env={**os.environ, "RILLFS_FAILPOINT": "no.such.step"})
    assert refused.returncode == 2 and "no.such.step" in refused.stderr


def with_source(run_, name):
    """Some steps are met with one of the two sources of commits in a WAL only."""
    if name.startswith(HOLD_ONLY):
        run_.primary.options += ("--capture", "hold")
    elif name.startswith(TAIL_ONLY) and not tail_is_possible(run_.primary):
        pytest.skip("WALs are not passed through here")


def tail_is_possible(node):
    node.start()
    capture = node.status()["capture"]
    node.stop()
    return capture == "tail"


def recovers_and_goes_on(run_, node, i):
    run_.recover(node, recovery_steps(i))
    run_.check()
    run_.check_writes()


@pytest.mark.parametrize("name, mode, i", cases(where=is_on_primary))
@pytest.mark.deadline(120)
def test_primary_dies_at(name, mode, i, templates, clusters):
    run_ = Run(templates, clusters, mode)
    with_source(run_, name)
    nth = f":{NTH[name][i % 2]}" if name in NTH else ""
    run_.start(run_.primary, name + nth)
    if run_.primary.running:
        run_.work()
    if run_.primary.running:
        run_.primary.process.terminate()
    died_at(run_.primary, name)
    recovers_and_goes_on(run_, run_.primary, i)


# Has the database open for as long as it is there, so that it is in WAL mode on the replica.
READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=5)
while True:
    connection.execute("SELECT count(*) FROM one").fetchall()
"""


def restart_the_wal(run_):
    """That takes a change set which comes after a checkpoint, which a large one starts, has ended; and somebody
    who has the database open and does not read just then."""
    run_.cluster.app(run_.replica.path("main.db")).sql("SELECT count(*) FROM one")
    for n in range(40):
        size = 3000 if n % 2 else 6_000_000
        run_.primary.execute("main.db", f"INSERT INTO marker VALUES(randomblob({size}))")
        position = run_.primary.txid("main.db")
        wait_until(lambda: not run_.replica.running or run_.replica.txid("main.db") == position, 20, "the replica")
        if not run_.replica.running:
            return


@pytest.mark.parametrize("name, mode, i", cases(where=is_on_replica))
@pytest.mark.deadline(120)
def test_replica_dies_at(name, mode, i, templates, clusters):
    run_ = Run(templates, clusters, mode)
    run_.start(run_.replica, name)
    reader = None
    restart = name == "apply.wal.after_restart"
    if run_.replica.running and mode == "WAL":
        reader = script(READER, run_.replica.path("main.db"))
    assert run_.work() == 0, run_.errors()
    run_.primary.execute("main.db", "CREATE TABLE IF NOT EXISTS marker(a)")
    position = run_.primary.txid("main.db")
    wait_until(lambda: not run_.replica.running or run_.replica.txid("main.db") == position, 20, "the replica")
    if reader:
        end(reader, kill=True)
    if restart and run_.replica.running:
        restart_the_wal(run_)
    if run_.replica.running:
        run_.replica.process.terminate()
    died_at(run_.replica, name)
    recovers_and_goes_on(run_, run_.replica, i)


def diverge(run_):
    """The primary's disk image of before: the replica has what it does not."""
    run_.start()
    for name in ("main.db", "second.db"):
        run_.primary.execute(name, "INSERT INTO one VALUES(70, 'lost')", "INSERT INTO two(n, filler) VALUES(70, 'lost')")
        run_.cluster.wait_for_replicas(name)
    run_.replica.stop()
    run_.primary.kill()
    shutil.rmtree(run_.primary.data)
    shutil.copytree(run_.template.directory / "primary", run_.primary.data)
    run_.primary.start()
    run_.primary.execute("main.db", "INSERT INTO one VALUES(71, 'new')", "INSERT INTO two(n, filler) VALUES(71, 'new')")


@pytest.mark.parametrize("name, mode, i", cases(where=is_diverged))
@pytest.mark.deadline(120)
def test_replica_that_is_resynchronised_dies_at(name, mode, i, templates, clusters):
    run_ = Run(templates, clusters, mode)
    diverge(run_)
    run_.start(run_.replica, name)
    died_at(run_.replica, name)
    run_.recover(run_.replica, recovery_steps(i))
    run_.check()
    parked = sorted((run_.replica.data / "parked").glob("*/database"))
    assert len(parked) == 2, run_.replica.log()
    for path in parked:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            assert connection.execute("SELECT count(*) FROM one WHERE n = 70").fetchone() == (1,)
        connection.close()
    run_.check_writes()


@pytest.mark.parametrize("name, mode, i", cases(where=lambda name: name in RECOVERY))
@pytest.mark.deadline(120)
def test_recovery_dies_at(name, mode, i, templates, clusters):
    run_ = Run(templates, clusters, mode)
    with_source(run_, name)
    first = "attached.before_unlink" if name in TAKE_BACK else "drop.before_note"
    if name in FROM_WAL:
        first = "tail.commit.before:9"
    run_.start(run_.primary, first)
    run_.work()
    died_at(run_.primary, first.partition(":")[0])
    run_.primary.spawn(environment={"RILLFS_FAILPOINT": name})
    died_at(run_.primary, name)
    run_.recover(run_.primary, recovery_steps(i))
    run_.check()
    run_.check_writes()


def test_a_lost_commit_would_be_noticed(templates, clusters):
    """The negative control."""
    run_ = Run(templates, clusters, "WAL")
    run_.start()
    with open(run_.said_path, "a") as said:
        said.write('["rows", "main.db", 77]\n')
    with pytest.raises(AssertionError):
        run_.check()
