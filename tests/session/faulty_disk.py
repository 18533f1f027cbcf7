"""A disk with faults: it fails, is full, takes less than it is given, or loses power at a chosen call.

When the power goes, what was never waited for may be lost: the content of files without fsync, and the names in folders
without fsync. How much of it is lost is drawn from a seed, folder by folder and file by file.
Waiting itself is simulated: it takes no time, and what it would save is known.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dynlib.session.durable import DISK, Disk

CALLS = ("open", "write", "chmod", "fsync", "close", "replace", "unlink", "mkdir", "fsync_folder")
FAULTS = ("full", "broken", "short", "crash before", "crash after")


T = TypeVar("T")


class PowerCut(BaseException):
    """The process is gone; nothing that follows reaches the disk."""


class FaultyDisk(Disk):
    """Behaves until call number `at`, counted from 0; then the fault."""

    def __init__(self, fault: str | None = None, at: int = -1, seed: int = 0) -> None:
        self.fault, self.at = fault, at
        self.calls = 0
        self.dead = False
        self._random = random.Random(seed)
        self._paths: dict[int, Path] = {}
        self._unsure: dict[Path, int] = {}  # files whose content may be lost: the size that is sure
        self._undo: dict[Path, list[Callable[[], None]]] = {}  # by folder: how to undo what may be lost

    # -- calls -------------------------------------------------------------------------------------------------

    def open(self, path: Path, flags: int, mode: int = 0o666) -> int:
        def work() -> int:
            handle = super(FaultyDisk, self).open(path, flags, mode)
            self._paths[handle] = path
            self._unsure[path] = 0
            self._later(path.parent, lambda: path.unlink(missing_ok=True))
            return handle

        return self._call(work)

    def write(self, handle: int, data: memoryview) -> int:
        if self.fault == "short" and len(data) > 1:
            data = data[: self._random.randint(1, len(data) - 1)]
        return self._call(lambda: super(FaultyDisk, self).write(handle, data), torn=(handle, data))

    def chmod(self, handle: int, mode: int) -> None:
        self._call(lambda: super(FaultyDisk, self).chmod(handle, mode))

    def fsync(self, handle: int) -> None:
        def work() -> None:
            self._unsure.pop(self._paths[handle], None)

        self._call(work)

    def close(self, handle: int) -> None:
        def work() -> None:
            super(FaultyDisk, self).close(handle)
            self._paths.pop(handle, None)

        self._call(work)

    def replace(self, source: Path, target: Path) -> None:
        def work() -> None:
            old = target.read_bytes() if target.exists() else None
            new = source.read_bytes()
            super(FaultyDisk, self).replace(source, target)
            if source in self._unsure:
                self._unsure[target] = self._unsure.pop(source)

            def undo() -> None:
                source.write_bytes(new)
                if old is None:
                    target.unlink(missing_ok=True)
                else:
                    target.write_bytes(old)

            self._later(target.parent, undo)

        self._call(work)

    def unlink(self, path: Path) -> None:
        def work() -> None:
            old = path.read_bytes()
            super(FaultyDisk, self).unlink(path)
            self._unsure.pop(path, None)
            self._later(path.parent, lambda: path.write_bytes(old) and None)

        self._call(work)

    def mkdir(self, path: Path) -> None:
        def work() -> None:
            super(FaultyDisk, self).mkdir(path)
            self._later(path.parent, lambda: shutil.rmtree(path, ignore_errors=True))

        self._call(work)

    def fsync_folder(self, path: Path) -> None:
        def work() -> None:
            assert path.is_dir()
            self._undo.pop(path, None)

        self._call(work)

    # -- faults ------------------------------------------------------------------------------------------------

    def _call(self, work: Callable[[], T], torn: tuple[int, memoryview] | None = None) -> T:
        if self.dead:
            raise PowerCut
        number, self.calls = self.calls, self.calls + 1
        if number != self.at or self.fault == "short":
            return work()
        if self.fault == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault == "broken":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.fault == "crash after":
            work()
        elif torn is not None:  # a part of the data had reached the system
            handle, data = torn
            os.write(handle, data[: self._random.randint(0, len(data))])
        self.dead = True
        raise PowerCut

    def _later(self, folder: Path, undo: Callable[[], None]) -> None:
        self._undo.setdefault(folder, []).append(undo)

    def lose(self) -> None:
        """What the power cut takes away: content and names that nobody waited for."""
        for handle in self._paths:
            os.close(handle)
        for path, sure in self._unsure.items():
            if path.exists():
                os.truncate(path, self._random.randint(sure, path.stat().st_size))
        for folder, undoings in sorted(self._undo.items()):
            if not folder.exists():  # lost with its own name
                continue
            kept = self._random.choice((0, len(undoings), self._random.randint(0, len(undoings))))
            for undo in reversed(undoings[kept:]):
                undo()


class HastyDisk(Disk):
    """Does not wait for anything to reach the disk."""

    def fsync(self, handle: int) -> None:
        pass

    def fsync_folder(self, path: Path) -> None:
        pass


@contextmanager
def in_place_of_the_disk(other: Disk) -> Iterator[None]:
    """All writing of the library goes to another disk."""
    for name in CALLS:
        setattr(DISK, name, getattr(other, name))
    try:
        yield
    finally:
        for name in CALLS:
            delattr(DISK, name)
