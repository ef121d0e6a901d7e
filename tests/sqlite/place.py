"""Where other people's programs run: on a mount of our own, followed by a replica if asked for, or in any directory.

    with place.of(arguments, "programs", seconds) as here:
        ... run something below here.root ...
        here.check("w0/")          both nodes agree about the databases below it; nothing to do in a directory

They run as an ordinary user, who must be able to reach them; below a closed directory, as root without the right
to override permissions, for whom SQLite's suite passes as well.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from xml.etree import ElementTree

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cluster"))

import support  # noqa: E402
from support import wait_until  # noqa: E402

BUILD = HERE.parent.parent / "build"
BUILT = BUILD / "sqlite"
REACHABLE = all(directory.stat().st_mode & 0o001 for directory in [BUILD, *BUILD.parents])
USER = 65534 if REACHABLE else 0
AS_USER = (["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if REACHABLE else
           ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"])


def add_options(parser):
    parser.add_argument("--replica", action="store_true", help="with a second node that follows")
    parser.add_argument("--dir", type=pathlib.Path, help="an existing directory instead of a mount of our own")
    parser.add_argument("--junit", type=pathlib.Path, help="write the results there")


class Place:
    def __init__(self, root, cluster=None):
        self.root, self.cluster = root, cluster

    def directory(self, name):
        """A new one, of the user."""
        made = self.root / name
        made.mkdir()
        os.chown(made, USER, USER)
        return made

    def check(self, below="", timeout=120):
        """Every node has the same databases, in which SQLite finds nothing wrong; and the primary no problem."""
        if not self.cluster:
            return
        names = [name for name in self.cluster.primary.database_names() if name.startswith(below)]
        for name in names:
            self.cluster.check(name, timeout)
        for node in self.cluster.replicas:
            wait_until(lambda: [n for n in node.database_names() if n.startswith(below)] == names, timeout,
                       "the replica to have the same databases", self.cluster.logs)

    def warnings(self):
        if not self.cluster:
            return []
        return re.findall(r"^\S+ (?:warning|error|critical) .*$", self.cluster.primary.log(whole=True), re.M)


@contextlib.contextmanager
def mount(replica, what, seconds):
    support.watch.tell(f"deadline {seconds} {what}")
    cluster = support.Cluster(replicas=1 if replica else 0)
    cluster.directory.chmod(0o755)
    try:
        with cluster:
            cluster.primary.directory.chmod(0o755)
            try:
                yield Place(cluster.primary.mountpoint, cluster)
            except BaseException:
                print(cluster.logs(), file=sys.stderr)
                raise
    finally:
        support.watch.close()


def of(arguments, what, seconds):
    """What the options say; `seconds` is after how long a hanging mount is taken away."""
    if not arguments.dir:
        return mount(arguments.replica, what, seconds)
    return contextlib.nullcontext(Place(arguments.dir.resolve()))


@contextlib.contextmanager
def scratch():
    """A directory of the user on the machine's disk."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="rillfs-sqlite-"))
    os.chown(made, USER, USER)
    try:
        yield made
    finally:
        shutil.rmtree(made)


def empty(directory):
    """Whatever a test left must go, as it goes from a disk; what did not, or None."""
    problem = None
    for entry in sorted(directory.iterdir(), reverse=True):  # a journal before its database: the harder way
        try:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        except OSError as error:
            problem = f"cannot be removed: {error}"
    return problem


def own(directory):
    """Gives the user all of it."""
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, USER, USER, follow_symlinks=False)


def run(command, directory, log, timeout, **environment):
    """Runs it as the user, all output into `log`; its exit code, or None if it had to be killed."""
    with open(log, "wb") as out:
        process = subprocess.Popen([*AS_USER, "env", f"HOME={directory}", *[f"{k}={v}" for k, v in environment.items()],
                                    *map(str, command)],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=directory, start_new_session=True)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            return None


def write_junit(path, suite, cases):
    """`cases`: (name, seconds, problem or None)"""
    root = ElementTree.Element("testsuite", name=suite)
    for name, seconds, problem in cases:
        case = ElementTree.SubElement(root, "testcase", classname=suite, name=name, time=f"{seconds:.1f}")
        if problem:
            ElementTree.SubElement(case, "failure").text = problem
    ElementTree.ElementTree(root).write(path)
