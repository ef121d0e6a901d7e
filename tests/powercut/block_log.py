"""Reading what powercut_block_log recorded, and making of it the disks that a power cut could leave.

A disk with a write cache has, after a cut, every write before its last flush, and of the later ones any
subset; of a write that was under way, any of its 512-byte sectors.
"""

import bisect
import mmap
import os
import struct

HEADER = struct.Struct("<IIQII")
WRITE, FLUSH = ord("W"), ord("F")
SECTOR = 512
#: ext4's superblock is outside of its journal's protection: no tear there that no ext4 would survive.
NEVER_TORN_BELOW = 4096


class Record:
    __slots__ = ("operation", "device", "offset", "length", "data_at", "end")

    def __init__(self, operation, device, offset, length, data_at):
        self.operation, self.device, self.offset = operation, device, offset
        self.length, self.data_at, self.end = length, data_at, data_at + length


class BlockLog:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.records = list(self.read())
        self.ends = [record.end for record in self.records]
        self.flushes = {}  # device -> indices
        for i, record in enumerate(self.records):
            if record.operation == FLUSH:
                self.flushes.setdefault(record.device, []).append(i)

    def read(self):
        at = 0
        while at + HEADER.size <= len(self.bytes):
            operation, device, offset, length, _ = HEADER.unpack_from(self.bytes, at)
            record = Record(operation, device, offset, length, at + HEADER.size)
            if record.end > len(self.bytes):
                return
            at = record.end
            yield record

    def data(self, record):
        return self.bytes[record.data_at:record.end]

    def index_at(self, position):
        """The number of records that were complete when the log had this size."""
        return bisect.bisect_right(self.ends, position)

    def position(self, index):
        """The log's size after its first `index` records."""
        return self.ends[index - 1] if index else 0

    def last_flush(self, device, index):
        """The index after the device's last flush among the first `index` records."""
        flushes = self.flushes.get(device, [])
        i = bisect.bisect_left(flushes, index)
        return flushes[i - 1] + 1 if i else 0


class Cut:
    """Where the power goes, and what becomes of what was not flushed: kept | dropped | torn."""

    def __init__(self, index, unflushed, seed):
        self.index, self.unflushed, self.seed = index, unflushed, seed

    def __str__(self):
        return f"record {self.index}, unflushed writes {self.unflushed}, seed {self.seed}"


class Disk:
    """One device over time. Cheap as long as cuts ascend."""

    def __init__(self, log, device, initial, directory):
        self.log, self.device, self.initial = log, device, initial
        self.durable_path = directory / f"durable-{device}"
        self.done = None  # records up to here are in durable_path

    def advance(self, index):
        if self.done is None or index < self.done:
            copy_sparse(self.initial, self.durable_path)
            self.done = 0
        with open(self.durable_path, "r+b", buffering=0) as disk:
            for record in self.writes(self.done, index):
                os.pwrite(disk.fileno(), self.log.data(record), record.offset)
        self.done = index

    def writes(self, start, end):
        return (record for record in self.log.records[start:end]
                if record.operation == WRITE and record.device == self.device)

    def cut(self, cut, dice, path):
        """Makes `path` the disk after the cut; returns how many writes were unflushed."""
        flushed = self.log.last_flush(self.device, cut.index)
        self.advance(flushed)
        copy_sparse(self.durable_path, path)
        unflushed = list(self.writes(flushed, cut.index))
        with open(path, "r+b", buffering=0) as disk:
            for record in unflushed:
                if cut.unflushed == "kept" or dice.random() < 0.5:
                    self.write(disk.fileno(), record, cut.unflushed == "torn", dice)
        return len(unflushed)

    def write(self, fd, record, torn, dice):
        data = self.log.data(record)
        if not torn or record.offset < NEVER_TORN_BELOW:
            os.pwrite(fd, data, record.offset)
            return
        for at in range(0, len(data), SECTOR):
            if dice.random() < 0.5:
                os.pwrite(fd, data[at:at + SECTOR], record.offset + at)


def copy_sparse(source, target):
    """Only what has data: the images are mostly holes."""
    with open(source, "rb") as old, open(target, "wb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        at = 0
        while True:
            try:
                start = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            at = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            copy_range(old.fileno(), new.fileno(), start, at)


def copy_range(source, target, start, end):
    os.lseek(target, start, os.SEEK_SET)
    while start < end:
        start += os.sendfile(target, source, start, end - start)


def choose_cuts(log, first, count, dice):
    """Half at flush boundaries (before the flush, after it), half anywhere with writes dropped or torn."""
    boundaries = [i + after for flushes in log.flushes.values() for i in flushes for after in (0, 1)
                  if i + after >= first]
    if len(boundaries) > count // 2:
        boundaries = dice.sample(boundaries, count // 2)
    cuts = [Cut(i, "kept", dice.getrandbits(32)) for i in boundaries]
    while len(cuts) < count:
        index = dice.randrange(first, len(log.records) + 1)
        cuts.append(Cut(index, dice.choice(["dropped", "torn"]), dice.getrandbits(32)))
    return sorted(cuts, key=lambda cut: cut.index)
