"""A lock on a folder that the death of its holder releases, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from dynlib.errors import StoreBusyError, StoreError


class FolderLock:
    """Held by one process at a time; the file `lock` in the folder names the holder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises `StoreBusyError` naming the holder, `StoreError`."""
        if self._handle is not None:
            return
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as problem:
            raise StoreError(f"cannot lock {self._path.parent}: {problem.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(handle)
            os.close(handle)
            raise StoreBusyError(f"{self._path.parent} is in use by {holder}; wait for it, or stop it") from None
        self._handle = handle
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, without a name
            os.ftruncate(handle, 0)
            os.pwrite(handle, _description(), 0)

    def release(self) -> None:
        """Give the lock up; nothing happens if it is not held."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


def holder_of(folder: Path) -> str | None:
    """Who holds the lock on a folder, in words; None if nobody does. Raises `StoreError`."""
    try:
        handle = os.open(folder / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise StoreError(f"cannot read {folder / 'lock'}: {problem.strerror}") from None
    try:
        if not os.fstat(handle).st_size:
            return None  # given up, or not yet described
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _holder(handle)
    else:
        return None  # its holder died
    finally:
        os.close(handle)


def _description() -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()


def _holder(handle: int) -> str:
    try:
        content = json.loads(os.pread(handle, 1000, 0))
        return f"process {int(content['pid'])} on {str(content['host'])[:100]} since {str(content['since'])[:40]}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
