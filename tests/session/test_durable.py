"""Atomic, durable writing, on a disk that fails, writes in pieces, or stops at any call."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import pytest

from dynlib.session.durable import Disk, make_folder, read_file, write_file

OLD, NEW = b"old content", bytes(range(256)) * 5


class Stopped(BaseException):
    """The process is no more: nothing runs after this."""


class Faulty(Disk):
    """Counts its calls; from call `at` on it fails with `error`, or (None) only call `at` never returns."""

    def __init__(self, at: int, error: int | None, piece: int = 2**31) -> None:
        self.at, self.error, self.piece = at, error, piece
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) > self.at:
            raise Stopped if self.error is None else OSError(self.error, os.strerror(self.error))

    def open(self, path: Path, flags: int, mode: int = 0o666) -> int:
        self._call("open")
        return super().open(path, flags, mode)

    def write(self, handle: int, data: memoryview) -> int:
        self._call("write")
        return super().write(handle, data[: self.piece])

    def chmod(self, handle: int, mode: int) -> None:
        self._call("chmod")
        super().chmod(handle, mode)

    def fsync(self, handle: int) -> None:
        self._call("fsync")
        super().fsync(handle)

    def close(self, handle: int) -> None:
        super().close(handle)
        self._call("close")

    def replace(self, source: Path, target: Path) -> None:
        self._call("replace")
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        super().unlink(path)

    def mkdir(self, path: Path) -> None:
        self._call("mkdir")
        super().mkdir(path)

    def fsync_folder(self, path: Path) -> None:
        self._call("fsync_folder")
        super().fsync_folder(path)


GOOD = 2**31


def test_the_order_of_the_calls(tmp_path: Path) -> None:
    disk = Faulty(GOOD, None)
    write_file(tmp_path / "a", OLD, disk)
    assert disk.calls == ["open", "write", "fsync", "close", "replace", "fsync_folder"]
    write_file(tmp_path / "a", NEW, disk)
    assert disk.calls[6:] == ["open", "write", "chmod", "fsync", "close", "replace", "fsync_folder"]
    assert (tmp_path / "a").read_bytes() == NEW


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_short_writes_are_continued(tmp_path: Path, piece: int) -> None:
    disk = Faulty(GOOD, None, piece)
    write_file(tmp_path / "a", NEW, disk)
    assert (tmp_path / "a").read_bytes() == NEW
    assert disk.calls.count("write") == -(-len(NEW) // piece)


def test_a_disk_that_takes_nothing_is_an_error_and_no_hang(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="takes no more data; no file was made"):
        write_file(tmp_path / "a", NEW, Faulty(GOOD, None, 0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("old", [None, OLD], ids=["new", "replaced"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_an_error_at_any_call_is_reported_and_leaves_one_whole_file(
    tmp_path: Path, error: int, old: bytes | None
) -> None:
    """The text says which of the two files stands, and that is true."""
    target, seen = tmp_path / "a", set()
    for at in range(20):
        target.unlink(missing_ok=True)
        if old is not None:
            target.write_bytes(old)
        disk = Faulty(at, error, 500)
        try:
            write_file(target, NEW, disk)
        except OSError as problem:
            assert (problem.errno, problem.filename) == (error, str(target))
            said = str(problem.strerror)
            assert said.startswith(os.strerror(error))
            content = target.read_bytes() if target.exists() else None
            wanted = NEW if "the new file is whole" in said else old
            assert content == wanted
            assert ("no file was made" in said) == (content is None)
            assert ("the file of before is whole" in said) == (content is not None and content == old)
            seen.add(disk.calls[at])
        else:
            break
        for item in tmp_path.iterdir():  # a disk that cannot remove a file keeps it, under a name of its own
            assert item == target or item.name.endswith(".tmp")
            item.unlink()
    assert {"open", "write", "fsync", "close", "replace", "fsync_folder"} <= seen


@pytest.mark.parametrize("old", [None, OLD], ids=["new", "replaced"])
def test_a_stop_at_any_call_leaves_one_whole_file(tmp_path: Path, old: bytes | None) -> None:
    target, stops = tmp_path / "a", 0
    for at in range(20):
        target.unlink(missing_ok=True)
        if old is not None:
            target.write_bytes(old)
        disk = Faulty(at, None, 500)
        try:
            write_file(target, NEW, disk)
        except Stopped:
            stops += 1
            replaced = "fsync_folder" in disk.calls
            assert (target.read_bytes() if target.exists() else None) == (NEW if replaced else old)
        else:
            break
    assert stops == (9 if old is not None else 8)  # and then it succeeds
    assert target.read_bytes() == NEW


def test_a_failing_write_closes_its_handle(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for at in range(1, 5):
        with pytest.raises(OSError, match="no file was made"):
            write_file(tmp_path / "a", NEW, Faulty(at, errno.EIO))
    assert len(os.listdir("/proc/self/fd")) == before


def test_targets_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        write_file(tmp_path, NEW)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_file(tmp_path / "no" / "a", NEW)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="not a regular file"):
        write_file(tmp_path / "pipe", NEW)
    assert [item.name for item in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_is_made_and_its_name_is_synced(tmp_path: Path) -> None:
    disk = Faulty(GOOD, None)
    make_folder(tmp_path / "f", disk)
    assert disk.calls == ["mkdir", "fsync_folder"]
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "f", disk)


def test_reading_takes_regular_files_within_their_size(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(NEW)
    link.symlink_to(path)
    tracemalloc.start()
    assert read_file(path, 2**31) == NEW
    assert tracemalloc.get_traced_memory()[1] < 2**20, "memory goes by the file, not by the limit"
    tracemalloc.stop()
    assert read_file(link, len(NEW), follow=True) == NEW
    with pytest.raises(OSError, match="larger than 5 bytes"):
        read_file(path, 5)
    with pytest.raises(OSError, match="symbolic links"):
        read_file(link, 2**31)
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            read_file(other, 2**31)
