"""Where and of what a run was made: without this its figures say nothing."""

import datetime
import os
import platform
import shlex
import sqlite3
import subprocess
import sys

import support


def first_line(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except OSError:
        return "unknown"


def processor():
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def describe(work):
    root = support.ROOT
    version = first_line([support.RILLFS, "version"]).splitlines()
    dirty = first_line(["git", "-C", root, "status", "--porcelain", "--untracked-files=no", "--", ":!docs"])
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "filesystem": first_line(["findmnt", "-n", "-o", "FSTYPE", "-T", work]),
        "sqlite": sqlite3.sqlite_version,
        "libfuse": next((line.removeprefix("libfuse ") for line in version if line.startswith("libfuse")), "unknown"),
        "commit": first_line(["git", "-C", root, "rev-parse", "--short", "HEAD"]) + (" with changes" if dirty else ""),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "load_before": round(os.getloadavg()[0], 2),
        "command": shlex.join(["bash", "tests/bench/run.sh", *sys.argv[1:]]),
    }


def as_text(about):
    return (f"{about['processor']}, {about['cores']} cores, {about['memory_mib']} MiB, Linux {about['kernel']}, "
            f"databases on {about['filesystem']}, SQLite {about['sqlite']}, libfuse {about['libfuse']}; commit "
            f"{about['commit']}, {about['date']}; load average before {about['load_before']}. `{about['command']}`, "
            f"{about['minutes']:.0f} minutes.")
