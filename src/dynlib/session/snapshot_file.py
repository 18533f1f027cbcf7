"""Snapshot files: what is in one, how a state goes into it and comes out, and everything that may not fit.

A file stands for itself: it carries the model as a document and the lineage of the state. The format is described in
`docs/snapshot-format.md`; its bytes are made and read in `archive.py`, earlier versions in `migrations.py`.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict

from dynlib.arguments import checked
from dynlib.compile.layout import Field, Layout
from dynlib.errors import ConfigError, ModelError, SnapshotError, SnapshotFileError
from dynlib.results import Results, ResultsView
from dynlib.runtime.state import Array, SessionPins, SessionState
from dynlib.session.archive import MAX_FILE, pack, unpack
from dynlib.session.durable import DISK, Disk, read_file, write_file
from dynlib.session.environment import environment
from dynlib.session.lineage import Ancestor, digest_of, lineage_from_json, lineage_json
from dynlib.session.migrations import VERSIONS, migrated
from dynlib.session.snapshots import Snapshot
from dynlib.session.stored_results import (
    FOLDER,
    NAMES,
    StorePosition,
    recordable,
    results_from_arrays,
    results_to_arrays,
)
from dynlib.spec.document import model_from_document
from dynlib.spec.model import Model
from dynlib.spec.source import document_of
from dynlib.status import Status
from dynlib.steppers import get_stepper

_T = TypeVar("_T")
SCHEMA = "dynlib-snapshot"
SCHEMA_VERSION = VERSIONS[-1]
_LONGEST = 500  # characters of a message
_TEXT = {"schema", "digest", "name", "description", "created", "model", "status"}
_NUMBERS = {"t", "time_shift", "nominal_dt"}
_KEYS = (
    _TEXT
    | _NUMBERS
    | {
        "schema_version",
        "step",
        "pins",
        "stepper_config",
        "arrays",
        "document",
        "lineage",
        "environment",
        "observers",
        "results",
        "store",
    }
)


class SnapshotMeta(Struct, frozen=True):
    """What `meta.json` says. A file of version 1 has no `document`, and a `lineage` that begins with it.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=1.0)
    >>> sim.export_snapshot("one.npz", results=True)
    >>> meta = dynlib.inspect_snapshot("one.npz")
    >>> meta.model, meta.t, meta.step, meta.pins.stepper
    ('van_der_pol', 1.0, 100, 'rk4')
    """

    name: str
    description: str
    created: str
    model: str
    t: float
    step: int
    time_shift: float
    nominal_dt: float
    status: str
    pins: SessionPins
    stepper_config: Mapping[str, float]
    environment: Mapping[str, str]
    document: Mapping[str, Any] | None
    observers: list[dict[str, Any]]
    results: Mapping[str, Any] | None
    store: StorePosition | None
    lineage: Ancestor
    schema_version: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        """In strict JSON, without the model itself: of observers the names, of results the columns."""
        plain = {name: getattr(self, name) for name in self.__struct_fields__}
        config = {name: _json_number(value) for name, value in self.stepper_config.items()}
        return {
            **{k: v for k, v in plain.items() if k != "document"},
            "pins": asdict(self.pins),
            "stepper_config": config,
            "environment": dict(self.environment),
            "observers": [o["name"] for o in self.observers],
            "results": None if self.results is None else list(self.results["columns"]),
            "store": None if self.store is None else self.store.to_json(),
            "lineage": lineage_json(self.lineage),
        }


def member_of(spot: Field) -> str:
    """The name of a field's array in the file, without `.npy`."""
    if spot.name in ("y", "params"):
        return spot.name
    return f"workspace/{'stepper' if spot.role == 'stepper' else 'runtime'}/{spot.name}"


def _is_whole(array: Array, spot: Field) -> bool:
    """Whether the numbers are finite; the memory of an observer may be anything."""
    return array.dtype.kind != "f" or spot.role == "observer" or bool(np.isfinite(array).all())


def write_snapshot(
    path: str | os.PathLike[str],
    snapshot: Snapshot,
    *,
    created: str,
    jit: bool,
    observers: list[dict[str, Any]],
    results: Results | None = None,
    store: StorePosition | None = None,
    disk: Disk = DISK,
    durable: bool = True,
) -> None:
    """Write a snapshot file; an interrupted write leaves an earlier file whole.

    `store` says, for a checkpoint of a run directory, how much of the recording there belongs to the state. Raises
    `SnapshotError`.
    """
    _path(path)
    state = snapshot.state
    arrays = {member_of(spot): state[spot.name] for spot in state.layout.fields}
    for spot in state.layout.fields:
        if not _is_whole(arrays[member_of(spot)], spot):
            where = member_of(spot)
            raise SnapshotError(f"the state holds a value that is not finite (in {where}) and cannot be saved")
    option_names = get_stepper(state.pins.stepper).option_names
    if option_names:
        arrays["stepper_config"] = np.array(state.config, "<f8")
    recorded: dict[str, Any] | None = None
    if results is not None:
        recording, recorded = results_to_arrays(results)
        arrays |= recording
    meta: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": snapshot.name,
        "description": snapshot.description,
        "created": created,
        "model": state.model_name,
        "t": state.t,
        "step": state.step,
        "time_shift": state.time_shift,
        "nominal_dt": state.nominal_dt,
        "status": state.status.name,
        "pins": asdict(state.pins),
        "stepper_config": {k: _json_number(v) for k, v in zip(option_names, state.config, strict=True)},
        "environment": environment(jit),
        "observers": observers,
        "document": document_of(snapshot.model),
        "lineage": lineage_json(snapshot),
        "results": recorded,
        "store": None if store is None else store.to_json(),
    }
    try:
        data = pack(meta, arrays)
    except ValueError as problem:
        raise SnapshotError(f"{os.fspath(path)} cannot be written: {problem}") from None
    try:
        write_file(path, data, disk, durable=durable)
    except OSError as problem:
        raise SnapshotError(f"cannot write {os.fspath(path)}: {problem.strerror}") from problem


@checked
def inspect_snapshot(path: str | os.PathLike[str]) -> SnapshotMeta:
    """The metadata of a snapshot file, after checking the whole file. Raises `SnapshotFileError`.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=1.0)
    >>> sim.export_snapshot("one.npz", results=True)
    >>> dynlib.inspect_snapshot("one.npz").status
    'DONE'
    """
    return read_snapshot(path)[0]


def state_from(
    path: str | os.PathLike[str],
    meta: SnapshotMeta,
    arrays: Mapping[str, Array],
    fresh: SessionState,
) -> SessionState:
    """The state in a file, checked field by field against `fresh`, a state of the active model.

    Raises `SnapshotFileError` naming the first field that does not fit; nothing is changed by then.
    """
    layout: Layout = fresh.layout
    stepper = get_stepper(fresh.pins.stepper)
    option_names = stepper.option_names
    wanted = {member_of(spot): spot for spot in layout.fields}
    expected = {*wanted, *(["stepper_config"] if option_names else [])}
    present = {name for name in arrays if not name.startswith(FOLDER)}
    for name in sorted(expected ^ present):
        what = "is missing" if name in expected else "is not part of this model's state"
        raise _bad(path, f"array {name!r} {what}")
    blocks = fresh.blocks()
    for name, spot in wanted.items():
        array, block = arrays[name], blocks[spot.block]
        if array.dtype != block.dtype or array.shape != (spot.size,):
            raise _bad(path, f"array {name!r} is {array.dtype}{list(array.shape)}, expected {block.dtype}[{spot.size}]")
        if not _is_whole(array, spot):
            raise _bad(path, f"array {name!r} holds a value that is not finite")
        if array.dtype.kind == "i" and (array.min(initial=0) < 0 or array.max(initial=0) > 2**53):
            raise _bad(path, f"array {name!r} holds an impossible count")
        block[spot.span] = array
    if set(meta.stepper_config) != set(option_names):
        raise _bad(path, "stepper configuration has other options than the stepper")
    config = tuple(meta.stepper_config[name] for name in option_names)
    if option_names and arrays["stepper_config"].tobytes() != np.array(config, "<f8").tobytes():
        raise _bad(path, "stepper configuration differs between metadata and array")
    try:
        stepper.configure(**meta.stepper_config)
    except ConfigError as problem:
        raise _bad(path, f"stepper configuration holds an impossible value: {problem}") from None
    state = SessionState(
        layout,
        fresh.pins,
        **blocks,
        config=config,
        status=Status[meta.status],
        state_slots=fresh.state_slots,
        model_name=fresh.model_name,
    )
    if (
        any(int(state[n][0]) > 1 for n in ("begun", "pending", "struck") if n in layout)
        or int(state["n_anchor"][0]) > state.step
    ):
        raise _bad(path, "the workspace holds impossible counters")
    for memory in stepper.memory:
        if memory.most and int(state[memory.name][0]) > memory.most:
            raise _bad(path, f"the workspace holds an impossible {memory.name!r}")
    if any(float(state[n][0]) < 0 for n in ("dt", "record_dt", "h") if n in layout):
        raise _bad(path, "a step size is negative")
    grid = state.record_dt
    reach = max(abs(state.t), abs(float(state["record_t0"][0])))
    if grid > 0.0 and not reach / grid < 2**50:
        raise _bad(path, "the recording grid is finer than times can be told apart")
    same = (meta.t, meta.step, meta.time_shift, meta.nominal_dt)
    if same != (state.t, state.step, state.time_shift, state.nominal_dt):
        raise _bad(path, "time or step count differ between metadata and arrays")
    if meta.schema_version > 1 and meta.pins == state.pins and meta.lineage.state_digest != digest_of(state):
        raise _bad(path, "the lineage leads to another state")
    return state


@checked
def read_results(path: str | os.PathLike[str]) -> ResultsView:
    """The results that a snapshot file carries, by name. Raises `SnapshotFileError`, also if it carries none.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=1.0)
    >>> sim.export_snapshot("one.npz", results=True)
    >>> dynlib.read_results("one.npz")["x"].shape
    (101,)
    """
    meta, arrays = read_snapshot(path)
    if meta.results is None:
        raise _bad(path, "it carries no results; write them with export_snapshot(path, results=True)")
    try:
        return ResultsView(results_from_arrays(arrays, meta.results, model_in(path, meta)))
    except ValueError as problem:
        raise _bad(path, f"its results are malformed: {problem}") from None


def model_in(path: str | os.PathLike[str], meta: SnapshotMeta) -> Model:
    """The model that a file carries. Raises `SnapshotFileError`."""
    if meta.document is None:
        raise SnapshotFileError(
            f"{os.fspath(path)} cannot be opened by itself: files of version 1 do not carry their model "
            f"(here {meta.model!r}); set up the model and use import_snapshot"
        )
    try:
        model = model_from_document(meta.document, os.fspath(path))
    except ModelError as problem:
        raise _bad(path, f"the model in it cannot be read: {problem}") from None
    if model.structure_hash != meta.pins.structure:
        raise _bad(path, "the model in it is not the one that its state belongs to")
    if meta.store is not None and not set(meta.store.columns) <= set(recordable(model)):
        raise _bad(path, "its position in a store has columns that the model does not")
    return model


# -- reading -------------------------------------------------------------------------------------------------------


def shortly(why: object) -> str:
    """The text of a problem, of bounded length: it may quote what a file holds."""
    text = str(why)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _path(source: object) -> Path:
    """A path. Raises `SnapshotFileError`."""
    if not isinstance(source, str | os.PathLike):
        raise SnapshotFileError(f"a snapshot file is given by its path, not {source!r}")
    return Path(source)


def _bad(path: str | os.PathLike[str], why: str) -> SnapshotFileError:
    return SnapshotFileError(f"{os.fspath(path)} is not a usable snapshot file: {shortly(why)}")


def read_snapshot(source: str | os.PathLike[str]) -> tuple[SnapshotMeta, dict[str, Array]]:
    """Metadata and arrays of a whole, undamaged snapshot file. Raises `SnapshotFileError`."""
    path = _path(source)
    try:
        data = read_file(path, MAX_FILE, follow=True)
    except FileNotFoundError:
        raise SnapshotFileError(f"there is no file {path}") from None
    except OSError as problem:
        raise SnapshotFileError(f"cannot read {path}: {problem.strerror}") from None
    try:
        content, arrays = unpack(data, _readable)
        meta = _meta(migrated(content))
        if {name for name in arrays if name.startswith(FOLDER)} != (set() if meta.results is None else set(NAMES)):
            raise ValueError("the arrays of its results are not complete")
    except ValueError as problem:
        raise _bad(path, str(problem)) from None
    return meta, arrays


def _readable(content: Mapping[str, Any]) -> None:
    if content.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {content.get('schema')!r}")
    version = content.get("schema_version")
    if type(version) is not int or version not in VERSIONS:
        raise ValueError(f"schema version {version!r}; this library reads versions {VERSIONS[0]} to {VERSIONS[-1]}")


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def _part(name: str, read: Callable[[object], _T], content: object) -> _T:
    try:
        return read(content)
    except (ValueError, OverflowError) as problem:
        raise ValueError(f"its {name} is malformed: {problem}") from None


def _huge(value: float) -> bool:
    return isinstance(value, int) and abs(value) > 2**63


def _meta(content: Mapping[str, Any]) -> SnapshotMeta:
    """Metadata of the present version, every value checked. Raises `ValueError`."""
    if set(content) != _KEYS:
        odd = ", ".join(sorted(set(content) ^ _KEYS))
        raise ValueError(f"meta.json has missing or unknown keys: {odd}")
    pins, config = content["pins"], content["stepper_config"]
    types = {name: int if name == "numerics_revision" else str for name in SessionPins.__struct_fields__}
    good = (
        all(isinstance(content[k], str) for k in _TEXT)
        and all(isinstance(content[k], float | int) and not isinstance(content[k], bool) for k in _NUMBERS)
        and all(abs(content[k]) <= sys.float_info.max for k in _NUMBERS)
        and type(content["step"]) is int
        and isinstance(pins, dict)
        and isinstance(config, dict)
        and isinstance(content["arrays"], list)
        and isinstance(content["document"], dict if content["schema_version"] > 1 else NoneType)
        and (content["results"] is None or isinstance(content["results"], dict))
        and _are_observers(content["observers"])
        and isinstance(content["environment"], dict)
        and all(isinstance(v, str) for v in content["environment"].values())
        and set(pins) == set(types)
        and all(type(pins[k]) is kind for k, kind in types.items())
        and content["status"] in Status.__members__
    )
    if not good:
        raise ValueError("meta.json holds a value of the wrong kind")
    lineage = _part("lineage", lineage_from_json, content["lineage"])
    if (lineage.name, lineage.t, lineage.step) != (content["name"], content["t"], content["step"]):
        raise ValueError("name, time or step count differ between metadata and lineage")
    store = (
        None if content["store"] is None else _part("position in a store", StorePosition.from_json, content["store"])
    )
    values: dict[str, float] = {}
    for key, value in config.items():
        if value == "inf":
            value = math.inf
        if isinstance(value, bool) or not isinstance(value, int | float) or _huge(value):
            raise ValueError(f"stepper option {key!r} is not a number")
        values[key] = float(value)
    return SnapshotMeta(
        name=content["name"],
        description=content["description"],
        created=content["created"],
        model=content["model"],
        t=float(content["t"]),
        step=content["step"],
        time_shift=float(content["time_shift"]),
        nominal_dt=float(content["nominal_dt"]),
        status=content["status"],
        pins=SessionPins(**pins),
        stepper_config=values,
        environment=content["environment"],
        document=content["document"],
        observers=content["observers"],
        results=content["results"],
        store=store,
        lineage=lineage,
        schema_version=content["schema_version"],
        digest=content["digest"],
    )


def _are_observers(content: object) -> bool:
    def table(item: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> bool:
        return isinstance(item[key], dict) and all(
            type(v) in (kind if isinstance(kind, tuple) else (kind,)) for v in item[key].values()
        )

    return isinstance(content, list) and all(
        isinstance(item, dict)
        and set(item) == {"name", "memory", "update", "read"}
        and isinstance(item["name"], str)
        and table(item, "memory", (int, float))
        and table(item, "update", str)
        and table(item, "read", str)
        for item in content
    )
