#!/usr/bin/env python3
"""Power cuts: nodes on recorded disks, and a start from everything that a cut could have left of them.

    python3 tests/powercut/run.py [--modes wal,delete] [--sync full] [--points 300] [--seed N]
    python3 tests/powercut/run.py --control        log segments are not synced: this must find losses

Needs root. Everything happens in mount and process namespaces of its own, so that nothing is left behind,
whatever happens: mounts, loop devices and daemons go with the last process.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build"
sys.path[:0] = [str(HERE), str(HERE.parent / "cluster")]
MODES, SYNCS = ["wal", "delete", "truncate", "persist"], ["full", "normal"]


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--sync", default=",".join(SYNCS))
    parser.add_argument("--points", type=int, default=300, help="cuts of each mode")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--steps", type=int, default=300, help="what each application does, in steps")
    parser.add_argument("--size", type=int, default=64, help="MiB of each disk")
    parser.add_argument("--replica-every", type=int, default=3, help="every how manieth cut has a replica")
    parser.add_argument("--control", action="store_true", help="break a rule; finding nothing is the failure")
    parser.add_argument("--fail-fast", type=int, default=0, help="go on with the next mode after so many failures")
    parser.add_argument("--directory", help="where the images go [a new one in /dev/shm]")
    parser.add_argument("--no-build", action="store_true", help="take what is built; RILLFS names another daemon")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def in_namespaces(arguments):
    """Runs this again where nothing can be left behind; its exit code."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork",
               "--kill-child", "--mount-proc", "sh", "-c", '"$@" & wait $!', "sh",
               "/usr/bin/python3", str(HERE / "run.py"), *arguments, "--inside"]
    process = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return process.wait()
    finally:
        process.kill()
        process.wait()


def say(text):
    print(text, flush=True)


def main():
    options = parse(sys.argv[1:])
    if not options.inside:
        if not options.no_build:
            subprocess.run(["cmake", "--build", str(BUILD), "--target", "powercut"], check=True,
                           stdout=subprocess.DEVNULL)
        if options.directory:
            return in_namespaces(sys.argv[1:])
        with tempfile.TemporaryDirectory(prefix="rillfs-powercut-", dir="/dev/shm") as directory:
            return in_namespaces([*sys.argv[1:], "--directory", directory])
    return all_modes(options)


def all_modes(options):
    say(f"seed {options.seed}")
    rows, failed = [], False
    for mode in options.modes.split(","):
        for sync in options.sync.split(","):
            tally = one_mode(options, mode, sync)
            found = tally.corrupt + tally.lost + tally.unusable
            failed |= (found == 0) if options.control else (found != 0)
            rows.append((f"{mode} {sync}", tally))
    table(rows)
    if options.control:
        say("control: losses were found, as they must be" if not failed else "control: NOTHING was found")
    return 1 if failed else 0


def one_mode(options, mode, sync):
    from block_log import choose_cuts
    from recording import Recording, record
    from replay import replay
    directory = pathlib.Path(options.directory) / f"{mode}-{sync}"
    directory.mkdir(parents=True)
    seed = f"{options.seed} {mode} {sync}"
    recording = Recording(directory, mode, sync, seed, options.size)
    faults = BUILD / "tests" / "powercut" / "libpowercut_faults.so"
    preload = {"LD_PRELOAD": str(faults), "POWERCUT_BREAK": "segments"} if options.control else None
    record(recording, BUILD / "powercut_block_log", options.steps, preload=preload)
    log = recording.log
    say(f"{recording.name}: {len(log.records)} records, {sum(map(len, log.flushes.values()))} flushes, "
        f"{len(recording.acks)} acknowledgements")
    cuts = choose_cuts(log, log.index_at(recording.first), options.points, random.Random(seed))
    tally = replay(recording, cuts, directory / "replay", faults, options.replica_every, say, options.fail_fast)
    say(f"{recording.name}: {tally.points} points, {tally.rate():.1f}/s")
    log.bytes.close()
    if not (tally.corrupt + tally.lost + tally.unusable):
        subprocess.run(["rm", "-rf", str(directory)], check=True)
    return tally


def table(rows):
    say(f"{'mode':16} {'points':>7} {'corrupt':>8} {'lost':>6} {'unusable':>9} {'parked':>7} {'NORMAL lost':>12}")
    for name, tally in rows:
        say(f"{name:16} {tally.points:7} {tally.corrupt:8} {tally.lost:6} {tally.unusable:9} {tally.parked:7} "
            f"{tally.allowed_losses:12}")


if __name__ == "__main__":
    sys.exit(main())
