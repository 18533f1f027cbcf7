"""The kernel cache: generated modules and their compiled code on disk, used only where nobody else can have written.

A generated module is executed from the text in memory; its file is for people and tracebacks, and is written anew if
it differs. Compiled code has to come from disk, as object code, and a damaged one kills the process or gives other
numbers. An entry is one file, with no index beside it that could disagree with it:

- It is opened once, without following links, and the descriptor says who owns it and who can write it.
- It begins with a digest of the code and of everything the code depends on. What was damaged, cut off or exchanged by
  accident does not fit its digest and is compiled again. People can compute digests too: against them stand owner
  and mode, not the digest.
- Of more than `MOST_ENTRIES` those go that were not used for longest; what a process has loaded it keeps.
- It is written under another name and renamed, so that any number of processes may start at once on an empty folder.
  Several may compile the same kernel; the last one to finish stays, and all are the same code.
"""

from __future__ import annotations

import errno
import hashlib
import linecache
import os
import re
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from dynlib.errors import CacheWarning, DynlibError

_T = TypeVar("_T")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
MOST_ENTRIES = 4000
"""Modules and compiled functions in a folder: some 60 MB."""
_ENTRY = re.compile(r"\.?kernel_[0-9a-f]{24}(?:-[0-9a-f]{16}\.bin|\.py)(?:\.[0-9a-f]{32}\.tmp)?\Z")
_LOCK = threading.Lock()
_warned: set[Path] = set()
_private: dict[int, Path] = {}


class _UnsafeError(Exception):
    """What others could have written; says what it is, and what to do."""

    def __init__(self, path: Path, wrong: str, info: os.stat_result, remedy: str) -> None:
        super().__init__(f"{path} {wrong} ({_owner_and_mode(info)})")
        self.remedy = remedy


def cache_folder() -> Path:
    """Where generated modules and their compiled code are kept.

    `$DYNLIB_CACHE_DIR`, else `$XDG_CACHE_HOME/dynlib`, else `~/.cache/dynlib`. Raises `DynlibError` without a home.
    """
    if chosen := os.environ.get("DYNLIB_CACHE_DIR"):
        return Path(chosen).absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "dynlib"
    try:
        return Path.home().absolute() / ".cache" / "dynlib"
    except RuntimeError:
        raise DynlibError("no home folder for the kernel cache: set DYNLIB_CACHE_DIR to a folder of your own") from None


class Store:
    """A folder of entries, each read and written whole.

    A folder or an entry that others could have written, and a folder that cannot be written, are given up for the
    private temporary folder of this process, with one `CacheWarning` for each folder. If that cannot be used either,
    nothing is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._chosen = folder
        self._given_up = 0

    @property
    def folder(self) -> Path | None:
        """The folder in use now."""
        if self._given_up == 0:
            return self._chosen
        return _private_folder() if self._given_up == 1 else None

    def path(self, name: str) -> Path:
        """Where an entry is, or would be."""
        return (self.folder or self._chosen) / name

    def read(self, name: str) -> bytes | None:
        """An entry that only this user and root can have written; None if there is none."""
        return self._in_folder(lambda folder, handle: _read(folder, handle, name))

    def write(self, name: str, data: bytes) -> None:
        """Put an entry in place; whoever opens it finds all of it."""
        self._in_folder(lambda folder, handle: _put(handle, name, data))

    def _in_folder(self, act: Callable[[Path, int], _T]) -> _T | None:
        while (folder := self.folder) is not None:
            try:
                with _opened(folder) as handle:
                    return act(folder, handle)
            except (_UnsafeError, OSError) as problem:
                self._give_up(folder, problem)
        return None

    def _give_up(self, folder: Path, problem: _UnsafeError | OSError) -> None:
        self._given_up += 1
        with _LOCK:
            if folder != self._chosen or folder in _warned:
                return
            _warned.add(folder)
        if isinstance(problem, OSError):
            at = Path(os.fsdecode(problem.filename or "."))
            seen = f"{problem.strerror}: {at}" if at in folder.parents else problem.strerror
            with suppress(OSError):
                seen = f"{seen}; {_owner_and_mode(folder.stat())}"
            what, remedy = f"it cannot be used ({seen})", "make it a folder that can be written"
        else:
            what, remedy = str(problem), problem.remedy
        warnings.warn(
            f"kernel cache {self._chosen}: {what}. "
            "Until this process ends, compiled code is kept in a temporary folder. "
            f"Remedy: {remedy}, or set DYNLIB_CACHE_DIR to a folder that only you can write.",
            CacheWarning,
            stacklevel=4,
        )


def sealed(key: str, payload: bytes) -> bytes:
    """The payload behind a digest of it and of what it depends on."""
    return hashlib.sha256(key.encode() + b"\0" + payload).digest() + payload


def unsealed(key: str, data: bytes | None) -> bytes | None:
    """The payload; None if there is none, or if it is damaged or belongs to another key."""
    if data is None:
        return None
    payload = data[32:]
    return payload if sealed(key, payload) == data else None


def load_module(source: str, name: str, compiled: bool, store: Store) -> ModuleType:
    """The module with this source; the store has its text afterwards.

    The name is registered in `sys.modules` before anything is compiled, so that the compiled code is found again by
    the next process. Interpreted and compiled modules have the same file and different names.
    """
    file, data = f"{name}.py", source.encode()
    if store.read(file) != data:
        store.write(file, data)
    path = str(store.path(file))
    linecache.cache[path] = (len(data), None, source.splitlines(keepends=True), path)  # tracebacks show what ran
    module = ModuleType(name if compiled else f"{name}_interpreted")
    module.__file__ = path
    sys.modules[module.__name__] = module
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    return module


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of the folder, made if it is missing. Raises `_UnsafeError` and `OSError`."""
    for part in (*reversed(folder.parents), folder):
        part.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _check(folder, os.fstat(handle), "make it yours alone (chown, chmod go-w)")
        for parent in {*folder.parents, *Path(os.path.realpath(folder)).parents}:
            info = os.stat(parent)
            if info.st_mode & _OTHERS_WRITE and not info.st_mode & stat.S_ISVTX:
                raise _UnsafeError(parent, "can be written by others", info, f"chmod go-w {parent}")
        yield handle
    finally:
        os.close(handle)


def _check(path: Path, info: os.stat_result, remedy: str) -> None:
    if info.st_uid not in (os.geteuid(), 0):
        raise _UnsafeError(path, f"belongs neither to user {os.geteuid()} nor to root", info, remedy)
    if info.st_mode & _OTHERS_WRITE:
        raise _UnsafeError(path, "can be written by others", info, remedy)


def _read(folder: Path, handle: int, name: str) -> bytes | None:
    try:
        entry = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            info = os.stat(name, dir_fd=handle, follow_symlinks=False)
            raise _UnsafeError(folder / name, "is a symbolic link", info, "remove it") from None
        return None
    try:
        info = os.fstat(entry)
        if not stat.S_ISREG(info.st_mode):
            raise _UnsafeError(folder / name, "is no regular file", info, "remove it")
        _check(folder / name, info, "remove it")
        with suppress(OSError), open(entry, "rb", closefd=False) as file:
            return file.read()
        return None
    finally:
        os.close(entry)


def _write(handle: int, name: str, data: bytes) -> None:
    temporary = f".{name}.{os.urandom(16).hex()}.tmp"
    try:
        with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600, dir_fd=handle)) as file:
            file.write(data)
        os.replace(temporary, name, src_dir_fd=handle, dst_dir_fd=handle)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=handle)
        raise


def _put(handle: int, name: str, data: bytes) -> None:
    _write(handle, name, data)
    names = [each for each in os.listdir(handle) if _ENTRY.match(each)]  # a folder may hold files of others
    if len(names) > MOST_ENTRIES:
        ages = sorted((_last_used(handle, each), each) for each in names)
        for _, each in ages[: len(names) - MOST_ENTRIES * 3 // 4]:
            with suppress(OSError):  # another process was faster
                os.unlink(each, dir_fd=handle)


def _last_used(handle: int, name: str) -> float:
    """When an entry was read or written; systems note a reading once a day."""
    try:
        info = os.stat(name, dir_fd=handle, follow_symlinks=False)
    except OSError:
        return 0.0
    return max(info.st_atime, info.st_mtime)


def _private_folder() -> Path | None:
    """The temporary folder of this process, made when it is first needed and removed when the process ends."""
    import shutil  # this and the following are hardly ever needed, and take long to import
    import tempfile
    from multiprocessing.util import Finalize

    with _LOCK:
        process = os.getpid()
        if process not in _private:
            try:
                folder = Path(tempfile.mkdtemp(prefix="dynlib-")).absolute()
            except OSError:
                return None
            _private[process] = folder
            Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)  # also in processes of multiprocessing
        return _private[process]


def _owner_and_mode(info: os.stat_result) -> str:
    return f"owner {info.st_uid}, mode {stat.S_IMODE(info.st_mode):04o}"
