"""Run directories: a run on disk that outlives its process.

A folder holds `manifest.json` (what the run is), `start.npz` (where it began), the last two of `checkpoint-N.npz` while
it is under way or `end.npz` once it has ended, and the tables of `SampleStore`. Checkpoints are snapshot files. The
order of writes keeps two things true at every instant: a checkpoint never counts samples that are not on disk, and
every published sample is one that the run, taken up at any checkpoint, computes again to the bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from dynlib.errors import SnapshotError, SnapshotFileError, StoreError
from dynlib.runtime.state import Array
from dynlib.session.archive import json_bytes
from dynlib.session.durable import DISK, Disk, make_folder, missing_folders, write_file
from dynlib.session.lock import FolderLock
from dynlib.session.sample_store import EVENTS, SAMPLES
from dynlib.session.snapshot_file import SnapshotMeta, read_snapshot, write_snapshot
from dynlib.session.snapshots import Snapshot
from dynlib.session.stored_results import StorePosition, is_count, is_finite
from dynlib.session.table import cannot_write, read_stored

FORMAT = "dynlib-run"
FORMAT_VERSION = 1
MAX_MANIFEST = 64 * 2**20
MANIFEST, START, END = "manifest.json", "start.npz", "end.npz"
_CHECKPOINT = re.compile(r"checkpoint-(\d{6,9})\.npz\Z")
_OURS = re.compile(rf"(lock|{re.escape(START)}|{re.escape(SAMPLES)}|{re.escape(EVENTS)}|\..*\.tmp)\Z", re.DOTALL)
KEPT = 2
"""Checkpoints that are kept; the last good one is never the one that is being written."""


class Checkpoint(Struct, frozen=True):
    """A point of the run as it stands on disk."""

    path: Path
    meta: SnapshotMeta
    arrays: Mapping[str, Array]

    @property
    def position(self) -> StorePosition:
        """Where the samples stood."""
        assert self.meta.store is not None
        return self.meta.store

    @property
    def ended(self) -> bool:
        """Whether the run came to an end there by itself."""
        return self.path.name == END


class RunDirectory:
    """A folder for a run, whether one `exists` there or not; written to by whoever holds its `lock`."""

    def __init__(self, path: Path, disk: Disk = DISK) -> None:
        self.path = path
        self.lock = FolderLock(path)
        self.disk = disk
        self._last: str | None = None  # digest of the state that was written last
        self._number = 0

    # -- finding -----------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether a run stands there. Raises `StoreError` if the folder holds something else."""
        if (self.path / MANIFEST).is_file():
            return True
        if self.path.is_symlink() and not self.path.exists():
            raise StoreError(f"{self.path} is a link that leads nowhere")
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is not a folder; give the name of a folder for the run")
        strange = [i.name for i in self.path.iterdir() if not _OURS.match(i.name)] if self.path.exists() else []
        if strange:
            raise StoreError(
                f"{self.path} holds no run but other files ({', '.join(sorted(strange)[:3])}); give a new folder"
            )
        return False

    def manifest(self) -> dict[str, Any]:
        """What the run is. Raises `StoreError` for anything but an untouched manifest."""
        path = self.path / MANIFEST
        try:
            content = json.loads(read_stored(path, MAX_MANIFEST))
            digest = _digest(content) if isinstance(content, dict) else ""
        except (ValueError, RecursionError):
            raise StoreError(f"{path} is damaged: it is not JSON") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise StoreError(f"{path} is not the manifest of a run directory")
        if content.get("format_version") != FORMAT_VERSION:
            raise StoreError(
                f"{path} is of format version {content.get('format_version')!r}; this library reads {FORMAT_VERSION}"
            )
        if content.get("digest") != digest:
            raise StoreError(f"{path} is damaged or was altered: its digest does not agree with its content")
        _check_manifest(path, content)
        return content

    def start(self) -> Checkpoint:
        """Where the run began. Raises `StoreError`."""
        return self.read(self.path / START)

    def latest(self) -> Checkpoint:
        """The most advanced checkpoint that is whole; a damaged one is named in a warning and passed over.

        Raises `StoreError` if there is none.
        """
        while True:
            found: list[Checkpoint] = []
            vanished = False  # as happens to who looks at a run that goes on
            for path in self.saved():
                try:
                    found.append(self.read(path))
                except StoreError as problem:
                    if os.path.lexists(path):
                        warnings.warn(f"{problem}; an earlier checkpoint is used", stacklevel=3)
                    else:
                        vanished = True
            if not vanished:
                break
        if not found:
            raise StoreError(f"{self.path} has no checkpoint that is whole; the run cannot be continued")
        return max(found, key=lambda c: (c.meta.step, c.meta.t, c.position.rows, c.ended))

    def saved(self) -> list[Path]:
        """The files of all states that are there: the end, the checkpoints from the newest on, the start."""
        files = [self.path / END, *self._checkpoints(), self.path / START]
        return [path for path in files if path.exists() or path.is_symlink()]

    def read(self, path: Path) -> Checkpoint:
        """The state in one of these files. Raises `StoreError`."""
        if path.is_symlink():
            raise StoreError(f"{path} is a symbolic link; a run directory holds its own files")
        try:
            meta, arrays = read_snapshot(path)
        except SnapshotFileError as problem:
            raise StoreError(str(problem)) from None
        if meta.store is None:
            raise StoreError(f"{path} is a snapshot but no checkpoint of a run directory")
        return Checkpoint(path, meta, arrays)

    def _checkpoints(self) -> list[Path]:
        """Checkpoints, the newest first."""
        return sorted((p for p in self.path.iterdir() if _CHECKPOINT.match(p.name)), reverse=True)

    # -- writing -----------------------------------------------------------------------------------------------

    def make_folder(self) -> None:
        """The folder itself, with the lock on it. Raises `StoreError`."""
        try:
            for new in missing_folders(self.path):
                make_folder(new, self.disk)
        except OSError as problem:
            raise StoreError(f"cannot make the folder {self.path}: {problem.strerror}") from problem
        self.lock.acquire()

    def begin(self, snapshot: Snapshot, position: StorePosition, jit: bool) -> None:
        """Write where the run begins; the manifest, written next, makes it a run. Raises `StoreError`."""
        self._write(self.path / START, snapshot, position, jit)

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        """Write what the run is. Raises `StoreError`."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **content}
        content = {**content, "digest": _digest(content)}
        path = self.path / MANIFEST
        try:
            write_file(path, json_bytes(content) + b"\n", self.disk)
        except OSError as problem:
            raise cannot_write(path, problem) from problem

    def update_plan(self, plan: Mapping[str, Any]) -> None:
        """Note in the manifest how far the run is to go now. Raises `StoreError`."""
        content = self.manifest()
        if content["plan"] != plan:
            self.write_manifest({**content, "plan": plan})

    def checkpoint(self, snapshot: Snapshot, position: StorePosition, jit: bool) -> None:
        """Write one more checkpoint, then remove those that are no longer needed. Raises `StoreError`."""
        before = self._checkpoints()
        if before:
            self._number = max(self._number, int(before[0].stem.rpartition("-")[2]))
        self._number += 1
        self._write(self.path / f"checkpoint-{self._number:06d}.npz", snapshot, position, jit)
        self._remove(before[KEPT - 1 :])

    def check_untouched(self) -> None:
        """Raises `StoreError` if the last checkpoint is not the one that was written here last."""
        if self.latest().meta.lineage.state_digest != self._last:
            raise StoreError(
                f"{self.path} was changed by another process since; take the run up with resume_or_start()"
            )

    def remove_checkpoints(self) -> None:
        """Remove what a run that has ended no longer needs. Raises `StoreError`."""
        self._remove(self._checkpoints())

    def sweep(self) -> None:
        """Remove the temporary files of killed processes; the lock says that nobody is writing.

        Raises `StoreError` for links and whatever else is no file: nothing is ever written through them.
        """
        for folder, folders, names in os.walk(self.path):
            for name in (*folders, *names):
                path = Path(folder, name)
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise StoreError(f"{path} is a link or no file at all; a run directory holds its own files only")
                if name.startswith(".") and name.endswith(".tmp"):
                    self._remove([path])

    def complete(self, snapshot: Snapshot, position: StorePosition, jit: bool) -> None:
        """Write where the run has ended; the checkpoints before are removed. Raises `StoreError`."""
        self._write(self.path / END, snapshot, position, jit)
        self.remove_checkpoints()

    def _write(self, path: Path, snapshot: Snapshot, position: StorePosition, jit: bool) -> None:
        observers = [o.observer.as_document() for o in snapshot.observers]
        try:
            write_snapshot(path, snapshot, created="", jit=jit, observers=observers, store=position, disk=self.disk)
        except SnapshotError as problem:
            if isinstance(problem.__cause__, OSError):
                raise cannot_write(path, problem.__cause__) from problem
            raise StoreError(str(problem)) from problem
        self._last = snapshot.state_digest

    def _remove(self, paths: list[Path]) -> None:
        try:
            for path in paths:
                self.disk.unlink(path)
            if paths:
                self.disk.fsync_folder(self.path)
        except OSError as problem:
            raise cannot_write(self.path, problem) from problem


_TEXTS = ("model", "structure", "stepper", "dtype", "math")
_TABLES = ("options", "states", "params", "versions", "plan")


def _check_manifest(path: Path, content: Mapping[str, Any]) -> None:
    """Raises `StoreError` for a manifest that no run has, whoever wrote its digest."""
    plan = content.get("plan")
    good = (
        all(isinstance(content.get(key), str) for key in _TEXTS)
        and all(isinstance(content.get(key), dict) for key in _TABLES)
        and isinstance(plan, dict)
        and (plan.get("T") is None or is_finite(plan["T"]))
        and all(plan.get(key) is None or (is_count(plan[key]) and plan[key] >= 1) for key in ("N", "max_steps"))
        and all(is_finite(plan.get(key)) and plan[key] >= 0 for key in ("transient", "record_dt"))
        and is_count(plan.get("record_interval"))
        and isinstance(plan.get("record_vars"), list)
        and all(isinstance(name, str) for name in plan["record_vars"])
        and all(isinstance(plan.get(key), str) and plan[key] for key in ("tag", "checkpoint"))
    )
    if not good:
        raise StoreError(f"{path} is not the manifest of a run: a value is missing or of the wrong kind")


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json_bytes({k: v for k, v in content.items() if k != "digest"})).hexdigest()


def folder_of(path: str | os.PathLike[str]) -> Path:
    """The folder that a user names. Raises `StoreError`."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise StoreError(f"store must be the name of a folder, not {path!r}")
    return Path(path)
