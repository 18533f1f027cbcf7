"""Verification of a run directory: is every file whole and in its place, and does all of it tell the same story?"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from dynlib.compile.layout import TIME_TOLERANCE
from dynlib.errors import SnapshotFileError, StoreBusyError, StoreError
from dynlib.results import Segment
from dynlib.runtime.state import Array, SessionState
from dynlib.session.full_model import FullModel
from dynlib.session.lock import holder_of
from dynlib.session.open_run import StoredRecording, StoredRun, published_in
from dynlib.session.pins import compare_pins
from dynlib.session.proof import Check
from dynlib.session.rerun import deeds_since, run_anew
from dynlib.session.run_directory import MANIFEST, Checkpoint, RunDirectory, folder_of
from dynlib.session.sample_store import SampleStore
from dynlib.session.snapshot_file import state_from
from dynlib.session.stored_run import facts_of
from dynlib.session.stored_snapshot import full_model_in
from dynlib.status import Status

_MOST = 100
"""Damages of a table that are named; a forged number of rows would make no end of them."""
_TEMPORARY = re.compile(r"\..+\.tmp\Z", re.DOTALL)
_CHUNK = re.compile(r"/c/(\d{1,15})(?:/0)?\Z")


class Verification(Struct, frozen=True):
    """What `verify_run` found: one check per thing that was looked at, or per damage; notes are of no harm."""

    path: Path
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged and nothing differs."""
        return all(check.ok for check in self.checks)

    def __str__(self) -> str:
        rows = [f"  {'ok    ' if c.ok else 'FAILED'}  {c.name:<24} {c.detail}" for c in self.checks]
        notes = [f"  note: {note}" for note in self.notes]
        return "\n".join([f"{self.path}", *rows, *notes, "whole" if self.ok else "NOT whole"])

    def to_json(self) -> dict[str, Any]:
        """In strict JSON."""
        checks = [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in self.checks]
        return {"folder": str(self.path), "ok": self.ok, "checks": checks, "notes": list(self.notes)}


class _Findings(Struct):
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def damage(self, name: str, *details: object) -> None:
        self.checks += [Check(name, False, str(detail)) for detail in details]

    def unless(self, damage: Sequence[object], name: str, detail: str) -> None:
        """One line that all is well, or one per damage."""
        if damage:
            self.damage(name, *damage)
        else:
            self.checks.append(Check(name, True, detail))


def verify_run(path: str | os.PathLike[str], *, replay: bool = False) -> Verification:
    """Look at every byte of a run directory; with `replay` also run it anew and compare every file byte for byte.

    Looked at: the manifest; every checkpoint, and that its state goes on from where the run began; every chunk and what
    describes it; the order of times and steps, and the segments; and that there is nothing else in the folder.
    Nothing is changed. A run anew takes the time of the run, and its room in the folder for temporary files. Raises
    `StoreError` if there is no run, or if one that was edited on the way is to be run anew; `StoreBusyError` if
    it is in use.
    """
    folder = folder_of(path)
    directory, found = RunDirectory(folder), _Findings()
    if not directory.exists:
        raise StoreError(f"{folder} holds no run")
    holder = holder_of(folder)
    if holder is not None:
        raise StoreBusyError(f"{folder} is in use by {holder}; verify it when it stands still")
    manifest = _manifest(directory, found)
    states = _states(directory, found)
    begin = states.get("start.npz")
    if begin is None:
        found.damage("tables", "cannot be read without start.npz, which says what is in them")
        return Verification(folder, tuple(found.checks), tuple(found.notes))
    try:
        full = full_model_in(begin.path, begin.meta, jit=False)
    except SnapshotFileError as problem:
        found.damage("states", problem)
        return Verification(folder, tuple(found.checks), tuple(found.notes))
    _same_story(full, manifest, states, found)
    store = SampleStore(folder, full.model, begin.position.columns)
    recorded = _tables(store, states, found)
    _strangers(folder, store, recorded, found)
    if replay and all(check.ok for check in found.checks):
        run = StoredRun(folder)
        with tempfile.TemporaryDirectory(prefix="dynlib-") as temporary:
            anew = run_anew(run, Path(temporary, "run"))
        found.unless([anew.difference] if anew.difference else [], "run anew", anew.detail)
        found.notes += anew.notes
    elif replay:
        found.notes.append("not run anew, as it is damaged")
    return Verification(folder, tuple(found.checks), tuple(found.notes))


def _manifest(directory: RunDirectory, found: _Findings) -> Mapping[str, Any] | None:
    try:
        manifest = directory.manifest()
    except StoreError as problem:
        found.damage(MANIFEST, problem)
        return None
    found.unless([], MANIFEST, f"digest {manifest['digest'][:16]}")
    return manifest


def _states(directory: RunDirectory, found: _Findings) -> dict[str, Checkpoint]:
    """All states on disk that are whole, by the names of their files."""
    whole, damage = {}, []
    for path in directory.saved():
        try:
            whole[path.name] = directory.read(path)
        except StoreError as problem:
            damage.append(problem)
    if "start.npz" not in whole and not damage:
        damage.append(StoreError(f"{directory.path / 'start.npz'} is missing"))
    found.unless(damage, "states", f"{', '.join(whole)}")
    return whole


def _same_story(
    full: FullModel, manifest: Mapping[str, Any] | None, states: Mapping[str, Checkpoint], found: _Findings
) -> None:
    """Whether manifest and checkpoints belong to the run that began in start.npz."""
    begin, damage = states["start.npz"], []
    origin: SessionState | None = None
    for checkpoint in states.values():
        name, meta = checkpoint.path.name, checkpoint.meta
        verdict = compare_pins(full.pins, meta.pins)
        if not verdict.ok:
            damage.append(f"{name} is of another model than start.npz, or of another revision: {verdict.reason()}")
            continue
        try:
            state = state_from(checkpoint.path, meta, checkpoint.arrays, full.initial_state())
        except SnapshotFileError as problem:
            damage.append(str(problem))
            continue
        origin = state if checkpoint is begin else origin
        if deeds_since(begin.meta.lineage, meta.lineage) is None:
            damage.append(f"{name} does not go on from start.npz")
        if checkpoint.position.columns != begin.position.columns:
            damage.append(f"{name} records other variables than start.npz")
        damage += [f"{name}: {text}" for text in _segments_apart(checkpoint.position.segments)]
    if manifest is not None and origin is not None:
        facts = facts_of(full, origin)
        damage += [f"{MANIFEST}: {k} is not that of start.npz" for k in facts if facts[k] != manifest.get(k)]
        if manifest["plan"].get("record_vars") != list(begin.position.columns):
            damage.append(f"{MANIFEST}: record_vars are not those of start.npz")
    found.unless(damage, "one run", "manifest and states go on from start.npz")


def _tables(store: SampleStore, states: Mapping[str, Checkpoint], found: _Findings) -> StoredRecording | None:
    """Chunks, order and segments of what is published; None if that cannot be told."""
    try:
        recorded = published_in(store)
    except StoreError as problem:
        found.damage("tables", problem)
        return None
    whole, beside = True, store.attributes(recorded.segments)
    for table, rows in zip(store.tables, store.published()):
        damage: list[object] = list(islice(table.damage(rows), _MOST))
        if table.published()[1] != beside[table.folder.name]:
            damage.append(f"{table.folder / 'zarr.json'} is damaged: its attributes are not those of this run")
        whole = whole and not damage
        files = table.chunks(rows) * len(table.columns)
        found.unless(damage, table.folder.name, f"{rows} rows of {len(table.columns)} arrays in {files} chunks")
    damage_of_counts = [
        f"{c.path.name} counts {c.position.rows} samples and {c.position.entries} log entries, more than are there"
        for c in states.values()
        if c.position.rows > recorded.rows or c.position.entries > store.published()[1]
    ]
    found.unless(damage_of_counts, "counts", "every state has its samples")
    if whole:
        damage_of_order = [*_segments_apart(recorded.segments)]
        try:
            damage_of_order += _out_of_order(recorded)
        except StoreError as problem:  # whole chunks with impossible numbers
            damage_of_order.append(str(problem))
        for checkpoint in states.values():
            name = checkpoint.path.name
            damage_of_order += [f"{name}: {t}" for t in _other_segments(checkpoint, recorded.segments)]
        text = f"{recorded.rows} samples and {recorded.entries} log entries in {len(recorded.segments)} segments"
        found.unless(damage_of_order, "order", text)
    return recorded


def _segments_apart(segments: Sequence[Segment]) -> Iterator[str]:
    """Where segments do not follow one another."""
    if segments and (segments[0].rows[0], segments[0].entries[0]) != (0, 0):
        yield f"segment {segments[0].name!r} does not begin at the first sample"
    for s in segments:
        if s.t_end < s.t_start or s.step_end < s.step_start:
            yield f"segment {s.name!r} ends before it begins"
    for one, two in pairwise(segments):
        if (one.rows[1], one.entries[1]) != (two.rows[0], two.entries[0]):
            yield f"segment {two.name!r} does not begin with the sample after {one.name!r}"
        if two.t_start < one.t_end or two.step_start < one.step_end:
            yield f"segment {two.name!r} begins before {one.name!r} ends"
    if len({s.name for s in segments}) < len(segments):
        yield "two segments have one name"


def _other_segments(checkpoint: Checkpoint, published: Sequence[Segment]) -> Iterator[str]:
    """Where the segments of a checkpoint are not those that are published; an interrupted one may have gone on."""
    known = checkpoint.position.segments
    if len(known) > len(published):
        yield "it counts more segments than are published"
    for one, two in zip(known, published):
        if one is known[-1] and one.status == Status.INTERRUPTED.name:
            two = replace(two, t_end=one.t_end, step_end=one.step_end, status=one.status,
                          rows=(two.rows[0], one.rows[1]), entries=(two.entries[0], one.entries[1]))  # fmt: skip
        if one != two:
            yield f"segment {one.name!r} is not the one that is published"


def _out_of_order(recorded: StoredRecording) -> Iterator[str]:
    """Samples and log entries whose time or step is not after that of the one before, or outside of its segment."""
    segments = recorded.segments
    spans = [s.rows for s in segments], [s.entries for s in segments]
    for what, blocks, span, rows in (
        ("sample", recorded.clock(), spans[0], recorded.rows),
        ("log entry", recorded.log(), spans[1], recorded.entries),
    ):
        if (span[-1][1] if span else 0) != rows:
            yield f"the segments do not hold all {rows} of each {what}"
        at, t_before, step_before = 0, -np.inf, -1
        for t, step, *_ in blocks:
            times, steps = np.concatenate([[t_before], t]), np.concatenate([[step_before], step])
            same = (np.diff(times) == 0) & (np.diff(steps) == 0) & (what == "sample")
            bad = ~np.isfinite(t) | (np.diff(times) < 0) | (np.diff(steps) < 0) | same
            for segment, (first, last) in zip(segments, span, strict=True):
                part = slice(max(first - at, 0), max(last - at, 0))
                bad[part] |= _outside(t[part], step[part], segment)
            if bad.any():
                k = int(np.argmax(bad))
                yield f"{what} {at + k} (t = {float(t[k])!r}, step {step[k]}) is out of order, or not in its segment"
                break
            at, t_before, step_before = at + len(t), float(t[-1]), int(step[-1])


def _outside(t: Array, step: Array, segment: Segment) -> Array:
    late = segment.t_end + 2 * TIME_TOLERANCE * abs(segment.t_end)
    early = segment.t_start - 2 * TIME_TOLERANCE * abs(segment.t_start)
    outside: Array = (t < early) | (t > late) | (step < segment.step_start) | (step > segment.step_end)
    return outside


def _strangers(folder: Path, store: SampleStore, recorded: StoredRecording | None, found: _Findings) -> None:
    """Whether the folder holds anything but the files of the run; what killed processes leave is only noted."""
    expected = {folder / "lock", folder / MANIFEST, *RunDirectory(folder).saved()}
    folders = set()
    counts = store.published() if recorded is not None else (0, 0)
    bounds = {table.folder: table.chunks(rows) for table, rows in zip(store.tables, counts)}
    strange, left, beyond = [], [], 0
    for table in store.tables:
        expected |= {*table.meta_files()}
        folders |= {table.folder, *(file.parent for file in table.meta_files())}
        folders |= {file.parent / "c" for file in table.meta_files()[1:]}
    for parent, inner, files in os.walk(folder):
        for name in (*inner, *files):
            path = Path(parent, name)
            relative = path.relative_to(folder)
            mode = path.lstat().st_mode
            match = _CHUNK.search(path.as_posix())
            table_here = next((t for t in store.tables if t.folder in path.parents), None)
            is_chunk = match is not None and table_here is not None and path in table_here.chunk_files(int(match[1]))
            if stat.S_ISDIR(mode):
                deep = path.parent in folders and path.parent.name == "c" and name.isdigit()
                if path not in folders and not deep:
                    strange.append(f"{relative} is a folder that does not belong to the run")
            elif stat.S_ISLNK(mode):
                strange.append(f"{relative} is a symbolic link")
            elif not stat.S_ISREG(mode):
                strange.append(f"{relative} is not a regular file")
            elif is_chunk and match is not None and table_here is not None:
                beyond += recorded is not None and int(match[1]) >= bounds[table_here.folder]
            elif _TEMPORARY.match(name):
                left.append(str(relative))
            elif path not in expected:
                strange.append(f"{relative} does not belong to the run")
    found.unless(strange, "folder", "nothing else is in it")
    if left:
        found.notes.append(f"temporary files of a killed process: {len(left)}, such as {left[0]}; the next run sweeps")
    if beyond:
        found.notes.append(f"chunks of a killed process beyond what is published: {beyond}; the next run goes on")
