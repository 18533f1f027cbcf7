"""A snapshot file by itself: the model that it carries, made ready to run or only to be looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from dynlib.errors import ConfigError, ModelError, SnapshotFileError
from dynlib.session.full_model import FullModel, build
from dynlib.session.lineage import Moment, Tree, tree_of
from dynlib.session.run_directory import RunDirectory
from dynlib.session.snapshot_file import SnapshotMeta, inspect_snapshot, model_in, read_snapshot, shortly, state_from
from dynlib.session.snapshots import Snapshot
from dynlib.spec.observer import Observer
from dynlib.steppers import get_stepper


def full_model_in(path: str | os.PathLike[str], meta: SnapshotMeta, *, jit: bool) -> FullModel:
    """The model that a file carries, with its stepper and observers. Raises `SnapshotFileError`."""
    model = model_in(path, meta)
    try:
        spec = get_stepper(meta.pins.stepper)
        observers = [Observer(**each) for each in meta.observers]
        return build(
            model, stepper=spec.name, dt=meta.nominal_dt or None, jit=jit, math=meta.pins.math, observers=observers
        )
    except (ConfigError, ModelError) as problem:
        raise SnapshotFileError(
            f"{os.fspath(path)} needs what this library does not have: {shortly(problem)}"
        ) from None


def file_of(path: str | os.PathLike[str]) -> Path:
    """The snapshot file that a path names: itself, or the most advanced checkpoint of a run directory."""
    return RunDirectory(Path(path)).latest().path if os.path.isdir(path) else Path(path)


def snapshot_in(path: str | os.PathLike[str]) -> Snapshot:
    """The snapshot in a file, or the last of a run directory, named after the path; nothing is compiled.

    Raises `SnapshotFileError`, `StoreError`.
    """
    file = file_of(path)
    meta, arrays = read_snapshot(file)
    full = full_model_in(file, meta, jit=False)
    fresh = full.initial_state()
    state = state_from(file, meta, arrays, replace(fresh, pins=meta.pins))
    lineage = meta.lineage
    return Snapshot(os.fspath(path), state, full.model, lineage.trail, meta.description, full.observers)


def tree_in(paths: Sequence[str | os.PathLike[str]]) -> Tree:
    """The tree of the lineages of some files: what they stand at, under their names, and all snapshots on the way.

    Files of equal content are one point. Raises `SnapshotFileError`, `StoreError`.
    """
    moments: dict[str, Moment] = {}
    names: dict[str, list[str]] = {}
    for path in paths:
        last = inspect_snapshot(file_of(path)).lineage
        moments |= {m.id: m for m in (*last.trail.moments(), last)}
        names.setdefault(last.id, []).append(os.fspath(path))
    for key, files in names.items():
        moments[key] = replace(moments[key], name=" = ".join(dict.fromkeys(files)))  # type: ignore[type-var]
    return tree_of(list(moments.values()))
