"""A mount is an ordinary directory for everything that is no database. Each test compares what the mount does
with what POSIX says, as an application sees it; the files are those of this node alone."""

import ctypes
import errno
import mmap
import os
import stat

import pytest

RENAME_NOREPLACE = 1
AT_FDCWD = -100
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(params=["primary", "replica"])
def here(request, cluster):
    """A directory of its own, on a primary and on a replica."""
    node = cluster.primary if request.param == "primary" else cluster.replica
    directory = node.path(request.node.name.replace("[", "-").replace("]", ""))
    directory.mkdir()
    return directory


def test_rename_replaces_and_keeps_content(here):
    (here / "a").write_text("a")
    (here / "b").write_text("b")
    os.rename(here / "a", here / "b")
    assert (here / "b").read_text() == "a"
    assert not (here / "a").exists()
    assert os.listdir(here) == ["b"]


def test_rename_of_an_open_file_keeps_the_descriptor(here):
    with open(here / "a", "w+") as file:
        file.write("before ")
        file.flush()
        os.rename(here / "a", here / "b")
        file.write("after")
    assert (here / "b").read_text() == "before after"


def test_rename_noreplace_refuses_an_existing_name(here):
    (here / "a").write_text("a")
    (here / "b").write_text("b")
    old, new = os.fsencode(here / "a"), os.fsencode(here / "b")
    assert libc.renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE) == -1
    assert ctypes.get_errno() == errno.EEXIST
    assert libc.renameat2(AT_FDCWD, old, AT_FDCWD, os.fsencode(here / "c"), RENAME_NOREPLACE) == 0
    assert (here / "c").read_text() == "a" and (here / "b").read_text() == "b"


def test_truncate_shrinks_and_grows_with_zeros(here):
    path = here / "f"
    path.write_bytes(b"0123456789")
    os.truncate(path, 4)
    assert path.read_bytes() == b"0123"
    os.truncate(path, 8)
    assert path.read_bytes() == b"0123\0\0\0\0"
    with open(path, "r+b") as file:
        file.truncate(2)
        assert os.fstat(file.fileno()).st_size == 2


def test_sparse_file_reads_zeros_between(here):
    path = here / "f"
    with open(path, "wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
    assert path.stat().st_size == 5_000_003
    with open(path, "rb") as file:
        assert file.read(4096) == bytes(4096)
        file.seek(-3, os.SEEK_END)
        assert file.read() == b"end"
    assert path.stat().st_blocks * 512 < 1_000_000


def test_append_goes_to_the_end_from_two_descriptors(here):
    path = here / "f"
    with open(path, "ab", buffering=0) as one, open(path, "ab", buffering=0) as two:
        for i in range(100):
            (one if i % 2 else two).write(b"%02d," % i)
    assert path.read_bytes() == b"".join(b"%02d," % i for i in range(100))


def test_symbolic_links_resolve_and_dangle(here):
    (here / "target").write_text("x")
    os.symlink("target", here / "link")
    os.symlink("nowhere", here / "dangling")
    assert (here / "link").read_text() == "x"
    assert os.readlink(here / "dangling") == "nowhere"
    with pytest.raises(FileNotFoundError):
        open(here / "dangling")
    os.unlink(here / "link")
    assert (here / "target").exists()


def test_mode_owner_and_times_are_kept(here):
    path = here / "f"
    path.write_text("x")
    os.chmod(path, 0o640)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)
    os.utime(path, ns=(1_000_000_001, 2_000_000_002))
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    os.symlink("f", here / "link")
    os.utime(here / "link", ns=(3_000_000_003, 4_000_000_004), follow_symlinks=False)
    assert os.lstat(here / "link").st_mtime_ns == 4_000_000_004
    assert path.stat().st_mtime_ns == 2_000_000_002


def test_umask_applies_to_new_files(here):
    before = os.umask(0o027)
    try:
        os.close(os.open(here / "f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(here / "d", 0o777)
    finally:
        os.umask(before)
    assert stat.S_IMODE((here / "f").stat().st_mode) == 0o640
    assert stat.S_IMODE((here / "d").stat().st_mode) == 0o750


def test_writing_moves_the_modification_time(here):
    path = here / "f"
    path.write_text("x")
    os.utime(path, (1, 1))
    path.write_text("y")
    assert path.stat().st_mtime > 1_000_000


def test_fallocate_extends(here):
    with open(here / "f", "w+b") as file:
        file.write(b"abc")
        file.flush()
        os.posix_fallocate(file.fileno(), 0, 100_000)
        assert os.fstat(file.fileno()).st_size == 100_000
        file.seek(0)
        assert file.read(5) == b"abc\0\0"


def test_names_may_be_any_bytes(here):
    name = os.fsencode(here) + b"/\xff\xfe caf\xe9 \n'\""
    with open(name, "wb") as file:
        file.write(b"x")
    assert os.listdir(os.fsencode(here)) == [b"\xff\xfe caf\xe9 \n'\""]
    os.rename(name, name + b"2")
    with open(name + b"2", "rb") as file:
        assert file.read() == b"x"


def test_name_of_255_bytes_works_and_256_is_too_long(here):
    (here / ("n" * 255)).write_text("x")
    assert (here / ("n" * 255)).read_text() == "x"
    with pytest.raises(OSError) as failure:
        (here / ("n" * 256)).write_text("x")
    assert failure.value.errno == errno.ENAMETOOLONG


def test_exclusive_creation_fails_on_an_existing_name(here):
    os.close(os.open(here / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    with pytest.raises(FileExistsError):
        os.open(here / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)


def test_hard_links_share_content(here):
    (here / "a").write_text("1")
    os.link(here / "a", here / "b")
    (here / "b").write_text("2")
    assert (here / "a").read_text() == "2"
    assert (here / "a").stat().st_nlink == 2
    assert (here / "a").stat().st_ino == (here / "b").stat().st_ino
    os.unlink(here / "a")
    assert (here / "b").read_text() == "2" and (here / "b").stat().st_nlink == 1


def test_directories_nest_move_and_refuse_removal_while_full(here):
    os.makedirs(here / "a" / "b" / "c")
    (here / "a" / "b" / "f").write_text("x")
    os.rename(here / "a", here / "z")
    assert (here / "z" / "b" / "f").read_text() == "x"
    with pytest.raises(OSError) as failure:
        os.rmdir(here / "z" / "b")
    assert failure.value.errno == errno.ENOTEMPTY
    os.rmdir(here / "z" / "b" / "c")
    os.unlink(here / "z" / "b" / "f")
    os.rmdir(here / "z" / "b")
    assert os.listdir(here / "z") == []
    with pytest.raises(NotADirectoryError):
        (here / "g").write_text("x")
        os.rmdir(here / "g")


def test_shared_mapping_writes_reach_other_readers(here):
    path = here / "f"
    path.write_bytes(bytes(3 * 4096))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[5000:5005] = b"hello"
        mapping.flush()
        assert path.read_bytes()[5000:5005] == b"hello"
    with open(path, "rb") as file:
        file.seek(5000)
        assert file.read(5) == b"hello"


def test_unlinked_but_open_file_stays_usable(here):
    with open(here / "f", "w+") as file:
        file.write("kept")
        file.flush()
        os.unlink(here / "f")
        assert not (here / "f").exists()
        (here / "f").write_text("new one")
        file.seek(0)
        assert file.read() == "kept"
        file.write(" and more")
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        assert file.read() == "kept and more"
        assert os.fstat(file.fileno()).st_nlink == 0
    assert (here / "f").read_text() == "new one"


def test_directory_of_2000_files_lists_each_once(here):
    for i in range(2000):
        os.close(os.open(here / f"file-{i}", os.O_CREAT | os.O_WRONLY))
    assert sorted(os.listdir(here)) == sorted(f"file-{i}" for i in range(2000))
    assert sum(1 for entry in os.scandir(here) if entry.is_file()) == 2000
    for i in range(0, 2000, 2):
        os.unlink(here / f"file-{i}")
    assert len(os.listdir(here)) == 1000


def test_statvfs_tells_free_space(here):
    assert os.statvfs(here).f_bavail > 0


def test_fsync_of_file_and_directory_succeeds(here):
    with open(here / "f", "w") as file:
        file.write("x")
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    directory = os.open(here, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
