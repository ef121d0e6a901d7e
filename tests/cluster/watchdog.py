"""A process beside the tests that frees them when a mount hangs.

A system call on a mount whose daemon does not answer cannot be interrupted from within the process that made
it, and a page fault on a mapping even stops every thread of a Python process. So the one who watches is a
process of its own. It is told through its standard input, line by line:

    deadline SECONDS NAME   the test NAME begins and has this long
    done                    the test has ended
    daemon PID MOUNTPOINT   started
    gone PID                reaped; the pid may mean somebody else from now on
    app PID / gone PID      an application process

When a deadline passes, or its standard input ends (the test run was killed), it kills every daemon and
application that it knows by pid and takes their mounts away. The calls that hung then fail.
"""

import os
import select
import signal
import subprocess
import sys

from allowance import Allowance


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def describe(pid):
    """Where the threads of a process are, for the report of a hang."""
    lines = []
    try:
        for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
            of = f"/proc/{pid}/task/{task}"
            fields = read(f"{of}/stat").rsplit(")", 1)[1].split()
            syscall = read(f"{of}/syscall").split(" ")[0]
            stack = [line.split()[1].split("+")[0] for line in read(f"{of}/stack").splitlines()]
            lines.append(f"    thread {task}: {fields[0]} syscall {syscall}, {fields[11]}+{fields[12]} ticks, "
                         f"in {' < '.join(stack[:8]) or 'user mode'}")
    except OSError as error:
        lines.append(f"    {error}")
    return "\n".join(lines)


def unmount(mountpoint):
    subprocess.run(["umount", "-f", "-l", mountpoint], stderr=subprocess.DEVNULL, timeout=20)


class Watchdog:
    def __init__(self):
        self.mounts = {}  # pid of a daemon -> mountpoint
        self.pids = []
        self.allowance = None
        self.test = ""

    def free_everything(self, why):
        for pid in self.pids:
            if why:
                print(f"  {self.mounts.get(pid, 'application')} (process {pid}):\n{describe(pid)}",
                      file=sys.stderr)
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for mountpoint in self.mounts.values():
            try:
                unmount(mountpoint)
            except subprocess.TimeoutExpired:
                print(f"  {mountpoint} cannot be unmounted", file=sys.stderr)
        self.pids, self.mounts, self.allowance = [], {}, None

    def report_hang(self):
        print(f"\nHUNG: {self.test} is over its time; killing its daemons. The machine stood still for "
              f"{self.allowance.stood_still:.0f} s of it. Disks:\n{read('/proc/diskstats')}", file=sys.stderr)

    def take(self, line):
        words = line.split(" ", 2)
        if words[0] == "deadline":
            self.allowance, self.test = Allowance(float(words[1])), words[2]
        elif words[0] == "done":
            self.allowance = None
        elif words[0] == "daemon":
            self.pids.append(int(words[1]))
            self.mounts[int(words[1])] = words[2]
        elif words[0] == "app":
            self.pids.append(int(words[1]))
        elif words[0] == "gone" and int(words[1]) in self.pids:
            self.pids.remove(int(words[1]))
            self.mounts.pop(int(words[1]), None)

    def run(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        pending = b""
        while True:
            readable, _, _ = select.select([0], [], [], None if self.allowance is None else 1.0)
            if self.allowance is not None and self.allowance.used_up():
                self.report_hang()
                self.free_everything(why=True)
            if not readable:
                continue
            data = os.read(0, 65536)
            if not data:
                return self.free_everything(why=False)
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self.take(os.fsdecode(line))


if __name__ == "__main__":
    Watchdog().run()
