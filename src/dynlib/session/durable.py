"""Files that are whole or absent: every write goes to a temporary file, to the disk, and only then to its name."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
from pathlib import Path

_COUNTER = itertools.count()


class Disk:
    """The system calls of all writing, one method each; a test puts a disk with faults in its place.

    Every method raises `OSError`. `handle` is a file descriptor.
    """

    def open(self, path: Path, flags: int, mode: int = 0o666) -> int:
        """A handle on a file; a new file gets `mode` less the umask."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def write(self, handle: int, data: memoryview) -> int:
        """Write a beginning of the data; the number of bytes that were written."""
        return os.write(handle, data)

    def chmod(self, handle: int, mode: int) -> None:
        """Set the permissions of an open file."""
        os.fchmod(handle, mode)

    def fsync(self, handle: int) -> None:
        """Wait until the content of a file is on the disk."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Give a handle back."""
        os.close(handle)

    def replace(self, source: Path, target: Path) -> None:
        """Give a file another name, in one step, in place of what had that name."""
        os.replace(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def mkdir(self, path: Path) -> None:
        """Make a folder."""
        os.mkdir(path)

    def fsync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


DISK = Disk()
"""The disk of this machine."""


def write_all(handle: int, data: bytes | memoryview, disk: Disk = DISK) -> None:
    """Write all of the data to an open file, in as many pieces as the system takes. Raises `OSError`."""
    rest = memoryview(data).cast("B")
    while rest:
        count = disk.write(handle, rest)
        if count <= 0:
            raise OSError(errno.EIO, "the system takes no more data")
        rest = rest[count:]


def read_file(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The content of a regular file of at most `limit` bytes; links are followed if asked. Raises `OSError`."""
    handle = os.open(path, os.O_RDONLY | (0 if follow else os.O_NOFOLLOW) | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", str(path))
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(status.st_size)  # a buffer of this size is made at once, so not of `limit`
    finally:
        os.close(handle)


def write_file(
    path: str | os.PathLike[str],
    data: bytes | memoryview,
    disk: Disk = DISK,
    *,
    settle: bool = True,
    durable: bool = True,
) -> None:
    """Write a file atomically and durably: temporary file beside it, fsync, rename, fsync of the folder.

    Links are followed; a file that is replaced keeps its permissions. Without `settle` the last step, and the removal
    of what killed processes left, is up to the caller, who writes many files to one folder. Without `durable` nothing
    waits for the disk: the file is whole or absent as long as the machine runs. Raises `OSError`, whose text says what
    stands at the path then.
    """
    target = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    folder = target.parent
    there = target.exists()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder; give the name of a file", str(target))
    if there and not target.is_file():
        raise FileExistsError(errno.EEXIST, "it is not a regular file and is not replaced", str(target))
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}", str(target))
    standing = "the file of before is whole" if there else "no file was made"
    try:
        if settle:
            remove_orphans(target, disk)
        mode = target.stat().st_mode & 0o777 if there else None
        temporary = folder / f".{target.name}.{os.getpid()}.{next(_COUNTER)}.tmp"
        try:
            _fill(temporary, data, mode, disk, durable)
            disk.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.unlink(temporary)
            raise
        standing = "the new file is whole, but might not outlast a power cut"
        if settle and durable:
            disk.fsync_folder(folder)
    except OSError as problem:
        raise OSError(problem.errno, f"{problem.strerror or problem}; {standing}", str(target)) from problem


def _fill(path: Path, data: bytes | memoryview, mode: int | None, disk: Disk, durable: bool) -> None:
    """Make a new file with this content, and wait until it is on the disk if it is to be durable."""
    handle = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
    try:
        write_all(handle, data, disk)
        if mode is not None:
            disk.chmod(handle, mode)
        if durable:
            disk.fsync(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.close(handle)
        raise
    disk.close(handle)


def missing_folders(path: Path) -> list[Path]:
    """A folder and those above it that do not exist yet, the outermost first."""
    missing: list[Path] = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    return missing[::-1]


def make_folder(path: str | os.PathLike[str], disk: Disk = DISK) -> None:
    """Make a folder whose name is on the disk. Raises `OSError`, also if the path exists."""
    disk.mkdir(Path(path))
    disk.fsync_folder(Path(path).parent)


def remove_orphans(path: Path, disk: Disk = DISK) -> None:
    """Delete temporary files that killed processes left behind for this target."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)(?:\.\d+)?\.tmp\Z")
    for item in path.parent.iterdir():
        if (match := pattern.match(item.name)) and not _alive(int(match[1])):
            with contextlib.suppress(OSError):
                disk.unlink(item)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
