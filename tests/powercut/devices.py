"""Mounts of a power-cut run. The run has a mount namespace of its own (run.py), in which the kernel takes
everything away that is left here after a failure."""

import contextlib
import subprocess

from support import is_mounted, run, wait_until

#: Without ext4's help for programs that rename what they have not synced.
OPTIONS = "noatime,noauto_da_alloc"


def make_filesystem(path, size_mib):
    with open(path, "wb") as image:
        image.truncate(size_mib << 20)
    run("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-m", "0", "-N", "2048",
        "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", path)


@contextlib.contextmanager
def mounted(image, mountpoint, options=OPTIONS):
    """An image by a loop device that goes with the mount."""
    mountpoint.mkdir(exist_ok=True)
    run("mount", "-o", f"loop,{options}", image, mountpoint)
    try:
        yield mountpoint
    finally:
        unmount(mountpoint)


def unmount(mountpoint):
    def gone():
        subprocess.run(["umount", str(mountpoint)], stderr=subprocess.DEVNULL, timeout=60)
        return not is_mounted(mountpoint)
    wait_until(gone, 30, f"{mountpoint} to be free")


@contextlib.contextmanager
def logged_devices(program, log, mountpoint, images):
    """Files below `mountpoint`, one an image, whose writes and flushes go to `log`."""
    mountpoint.mkdir(exist_ok=True)
    process = subprocess.Popen([str(word) for word in (program, log, mountpoint, *images)])
    try:
        wait_until(lambda: is_mounted(mountpoint) or process.poll() is not None, 10, "the block log")
        assert process.poll() is None, "the block log ended"
        yield [mountpoint / str(i) for i in range(len(images))]
    finally:
        process.terminate()
        process.wait(30)
