"""Snapshot files: one canonical `.npz` without pickle, written atomically and durably, read with suspicion.

A file stands for itself: it carries the model as a document and the lineage of the state. It is a zip of uncompressed
members: `meta.json` (strict JSON), `y.npy`, `params.npy`, `stepper_config.npy` where
the stepper has options, `workspace/runtime/<name>.npy` and `workspace/stepper/<name>.npy`. Equal states give equal
bytes. `digest` in the metadata covers the metadata and the name, dtype, shape and content of every array.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import math
import os
import re
import struct
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from dynlib.compile.layout import Field, Layout
from dynlib.errors import ModelError, SnapshotError, SnapshotFileError
from dynlib.results import Results, ResultsView
from dynlib.runtime.state import Array, SessionPins, SessionState
from dynlib.session.environment import environment
from dynlib.session.lineage import Ancestor, digest_of, lineage_from_json, lineage_json
from dynlib.session.snapshots import Snapshot
from dynlib.session.stored_results import FOLDER, NAMES, results_from_arrays, results_to_arrays
from dynlib.spec.document import model_from_document
from dynlib.spec.model import Model
from dynlib.spec.source import document_of
from dynlib.status import Status
from dynlib.steppers import get_stepper

SCHEMA = "dynlib-snapshot"
SCHEMA_VERSION = 2
MAX_FILE = 2 * 2**30
MAX_META = 64 * 2**20
_COUNTER = itertools.count()
_EPOCH = (1980, 1, 1, 0, 0, 0)
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
    }
)
_MEMBER = re.compile(r"(y|params|stepper_config|(workspace/(runtime|stepper)|results)/[A-Za-z]\w*)\.npy\Z")
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(.{2})\{'descr': '(<f8|<f4|<i8)', 'fortran_order': False, 'shape': \((\d{1,15}),\), \} *\n",
    re.DOTALL,
)
_TYPES: dict[str, np.dtype[Any]] = {"<f8": np.dtype("<f8"), "<f4": np.dtype("<f4"), "<i8": np.dtype("<i8")}


@dataclass(frozen=True)
class SnapshotMeta:
    """What `meta.json` says."""

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
    document: Mapping[str, Any]
    observers: list[dict[str, Any]]
    results: Mapping[str, Any] | None
    lineage: Ancestor
    schema_version: int
    digest: str


def member_of(spot: Field) -> str:
    """The name of a field's array in the file, without `.npy`."""
    if spot.name in ("y", "params"):
        return spot.name
    return f"workspace/{'stepper' if spot.role == 'stepper' else 'runtime'}/{spot.name}"


def write_snapshot(
    path: str | os.PathLike[str],
    snapshot: Snapshot,
    *,
    created: str,
    jit: bool,
    observers: list[dict[str, Any]],
    results: Results | None = None,
) -> None:
    """Write a snapshot file; an interrupted write leaves an earlier file whole. Raises `SnapshotError`."""
    state = snapshot.state
    arrays = {member_of(spot): _stored(state[spot.name]) for spot in state.layout.fields}
    for member, array in arrays.items():
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise SnapshotError(f"the state holds a value that is not finite (in {member}) and cannot be saved")
    option_names = get_stepper(state.pins.stepper).option_names
    if option_names:
        arrays["stepper_config"] = np.array(state.config, "<f8")
    recorded: dict[str, Any] | None = None
    if results is not None:
        stored, recorded = results_to_arrays(results)
        arrays |= {name: _stored(array) for name, array in stored.items()}
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
        "stepper_config": {k: _to_json(v) for k, v in zip(option_names, state.config, strict=True)},
        "environment": environment(jit),
        "observers": observers,
        "document": document_of(snapshot.model),
        "lineage": lineage_json(snapshot),
        "results": recorded,
        "arrays": sorted(arrays),
    }
    meta["digest"] = _digest(meta, arrays)
    _write_atomically(Path(path), _pack(meta, arrays))


def inspect_snapshot(path: str | os.PathLike[str]) -> SnapshotMeta:
    """The metadata of a snapshot file, after checking the whole file. Raises `SnapshotFileError`."""
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
    option_names = get_stepper(fresh.pins.stepper).option_names
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
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise _bad(path, f"array {name!r} holds a value that is not finite")
        if array.dtype.kind == "i" and (array.min(initial=0) < 0 or array.max(initial=0) > 2**53):
            raise _bad(path, f"array {name!r} holds an impossible count")
        block[spot.span] = array
    if set(meta.stepper_config) != set(option_names):
        raise _bad(path, "stepper configuration has other options than the stepper")
    config = tuple(meta.stepper_config[name] for name in option_names)
    if option_names and arrays["stepper_config"].tobytes() != np.array(config, "<f8").tobytes():
        raise _bad(path, "stepper configuration differs between metadata and array")
    if any(not value > 0.0 for value in config):
        raise _bad(path, "stepper configuration holds an impossible value")
    state = SessionState(
        layout,
        fresh.pins,
        **blocks,
        config=config,
        status=Status[meta.status],
        state_slots=fresh.state_slots,
        model_name=fresh.model_name,
    )
    flags = [n for n in ("begun", "pending", "k1_valid") if n in layout]
    if any(int(state[n][0]) > 1 for n in flags) or int(state["n_anchor"][0]) > state.step:
        raise _bad(path, "the workspace holds impossible counters")
    if "history" in layout and int(state["history"][0]) > sum(f.name in ("f1", "f2") for f in layout.fields):
        raise _bad(path, "the workspace holds an impossible history length")
    if any(float(state[n][0]) < 0 for n in ("dt", "record_dt", "h") if n in layout):
        raise _bad(path, "a step size is negative")
    grid = float(state["record_dt"][0])
    reach = max(abs(state.t), abs(float(state["record_t0"][0])))
    if grid > 0.0 and not reach / grid < 2**50:
        raise _bad(path, "the recording grid is finer than times can be told apart")
    same = (meta.t, meta.step, meta.time_shift, meta.nominal_dt)
    if same != (state.t, state.step, state.time_shift, state.nominal_dt):
        raise _bad(path, "time or step count differ between metadata and arrays")
    if meta.pins == state.pins and meta.lineage.state_digest != digest_of(state):
        raise _bad(path, "the lineage leads to another state")
    return state


def read_results(path: str | os.PathLike[str]) -> ResultsView:
    """The results that a snapshot file carries, by name. Raises `SnapshotFileError`, also if it carries none."""
    meta, arrays = read_snapshot(path)
    if meta.results is None:
        raise _bad(path, "it carries no results; write them with export_snapshot(path, results=True)")
    try:
        return ResultsView(results_from_arrays(arrays, meta.results, model_in(path, meta)))
    except ValueError as problem:
        raise _bad(path, f"its results are malformed: {problem}") from None


def model_in(path: str | os.PathLike[str], meta: SnapshotMeta) -> Model:
    """The model that a file carries. Raises `SnapshotFileError`."""
    try:
        model = model_from_document(meta.document, os.fspath(path))
    except ModelError as problem:
        raise _bad(path, f"the model in it cannot be read: {problem}") from None
    if model.structure_hash != meta.pins.structure:
        raise _bad(path, "the model in it is not the one that its state belongs to")
    return model


# -- bytes ---------------------------------------------------------------------------------------------------------


def _stored(array: Array) -> Array:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _to_json(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def _json(meta: Mapping[str, Any]) -> bytes:
    text = json.dumps(meta, ensure_ascii=True, allow_nan=False, indent=1)
    return text.encode("ascii")


def _digest(meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    total = hashlib.sha256(_json({k: v for k, v in meta.items() if k != "digest"}))
    for name in sorted(arrays):
        array = arrays[name]
        head = f"\n{name} {array.dtype.str} {array.shape}\n"
        total.update(head.encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _pack(meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

        def add(name: str, data: bytes) -> None:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)

        add("meta.json", _json(meta))
        for name in sorted(arrays):
            data = io.BytesIO()
            np.lib.format.write_array(data, arrays[name], version=(1, 0), allow_pickle=False)
            add(f"{name}.npy", data.getvalue())
    return buffer.getvalue()


def _write_atomically(path: Path, data: bytes) -> None:
    """Temporary file beside the target, fsync, rename, fsync of the folder; keeps the mode of a file it replaces."""
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    folder = path.parent
    if path.is_dir():
        raise SnapshotError(f"{path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise SnapshotError(f"{path} is not a regular file and is not replaced")
    if not folder.is_dir():
        raise SnapshotError(f"cannot write {path}: there is no folder {folder}")
    _remove_orphans(path)
    temporary = folder / f".{path.name}.{os.getpid()}.{next(_COUNTER)}.tmp"
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666  # a new file gets its mode from the umask
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                if path.exists():
                    os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        folder_handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(folder_handle)
        finally:
            os.close(folder_handle)
    except OSError as problem:
        raise SnapshotError(f"cannot write {path}: {problem.strerror or problem}") from problem


def _remove_orphans(path: Path) -> None:
    """Delete temporary files that killed processes left behind for this target."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)(?:\.\d+)?\.tmp\Z")
    for item in path.parent.iterdir():
        if (match := pattern.match(item.name)) and not _alive(int(match[1])):
            with contextlib.suppress(OSError):
                item.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


# -- reading -------------------------------------------------------------------------------------------------------


def _bad(path: str | os.PathLike[str], why: str) -> SnapshotFileError:
    return SnapshotFileError(f"{os.fspath(path)} is not a usable snapshot file: {why}")


def read_snapshot(source: str | os.PathLike[str]) -> tuple[SnapshotMeta, dict[str, Array]]:
    """Metadata and arrays of a whole, undamaged snapshot file. Raises `SnapshotFileError`."""
    path = Path(source)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise _bad(path, "it is not a regular file")
        if size > MAX_FILE:
            raise _bad(path, f"it is larger than {MAX_FILE // 2**30} GiB")
        data = path.read_bytes()
    except FileNotFoundError:
        raise SnapshotFileError(f"there is no file {path}") from None
    except OSError as problem:
        raise SnapshotFileError(f"cannot read {path}: {problem.strerror}") from None
    if not data.startswith(b"PK\x03\x04"):
        raise _bad(path, "it is empty" if not data else "it does not begin like one")
    members = _members(path, data)
    raw = members.pop("meta.json", None)
    if raw is None or len(raw) > MAX_META:
        raise _bad(path, "meta.json is missing" if raw is None else "meta.json is too large")
    content = _parse_json(path, raw)
    if content.get("schema") != SCHEMA:
        raise _bad(path, f"its schema is {content.get('schema')!r}")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise _bad(path, f"schema version {content.get('schema_version')!r}; this library reads {SCHEMA_VERSION}")
    meta = _meta(path, content)
    arrays = {name.removesuffix(".npy"): _array(path, name, data) for name, data in members.items()}
    if content["arrays"] != sorted(arrays):
        raise _bad(path, "the list of arrays does not agree with the members")
    stored = {name for name in arrays if name.startswith(FOLDER)}
    if stored != (set() if meta.results is None else set(NAMES)):
        raise _bad(path, "the arrays of its results are not complete")
    if _digest(content, arrays) != meta.digest:
        raise _bad(path, "the digest does not agree with the content: the file is damaged or was altered")
    return meta, arrays


def _members(path: Path, data: bytes) -> dict[str, bytes]:
    """All members of the archive, uncompressed, each once and each within the file's own size."""
    found: dict[str, bytes] = {}
    position = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.filename in found:
                    raise _bad(path, f"member {info.filename!r} is there twice")
                if info.filename != "meta.json" and not _MEMBER.match(info.filename):
                    raise _bad(path, f"unexpected member {info.filename!r}")
                if (
                    info.compress_type != zipfile.ZIP_STORED
                    or info.flag_bits & 1
                    or not (info.file_size == info.compress_size <= len(data))
                ):
                    raise _bad(path, f"member {info.filename!r} is compressed, encrypted or longer than the file")
                if info.header_offset != position:
                    raise _bad(path, f"member {info.filename!r} does not follow the one before: members overlap")
                position += len(info.FileHeader(zip64=False)) + info.file_size
                if not _is_canonical(info, data):
                    raise _bad(path, f"truncated or damaged (the record of member {info.filename!r})")
                found[info.filename] = archive.read(info)
            if archive.comment:
                raise _bad(path, "the archive carries a comment")
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        EOFError,
        ValueError,
        NotImplementedError,
        struct.error,
        OSError,
    ) as problem:
        raise _bad(path, f"truncated or damaged ({problem})") from None
    return found


def _huge(value: float) -> bool:
    return isinstance(value, int) and abs(value) > 2**63


def _is_canonical(info: zipfile.ZipInfo, data: bytes) -> bool:
    """Whether a member is described, in both of its records, just as it is written here."""
    header = info.FileHeader(zip64=False)
    return (
        info.date_time == _EPOCH
        and info.create_system == 3
        and info.external_attr == 0o644 << 16
        and (info.flag_bits, info.volume, info.internal_attr, info.extra, info.comment) == (0, 0, 0, b"", b"")
        and data[info.header_offset : info.header_offset + len(header)] == header
    )


def _parse_json(path: Path, raw: bytes) -> dict[str, Any]:
    def refuse(token: str) -> float:
        raise ValueError(f"{token} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key is there twice")
        return result

    try:
        content = json.loads(raw.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as problem:
        raise _bad(path, f"meta.json is not strict JSON ({problem})") from None
    if not isinstance(content, dict):
        raise _bad(path, "meta.json is not an object")
    return content


def _meta(path: Path, content: dict[str, Any]) -> SnapshotMeta:
    if set(content) != _KEYS:
        odd = ", ".join(sorted(set(content) ^ _KEYS))
        raise _bad(path, f"meta.json has missing or unknown keys: {odd}")
    pins, config = content["pins"], content["stepper_config"]
    types = {f.name: int if f.name == "numerics_revision" else str for f in fields(SessionPins)}
    good = (
        all(isinstance(content[k], str) for k in _TEXT)
        and all(isinstance(content[k], float | int) and not isinstance(content[k], bool) for k in _NUMBERS)
        and all(abs(content[k]) <= sys.float_info.max for k in _NUMBERS)
        and type(content["step"]) is int
        and isinstance(pins, dict)
        and isinstance(config, dict)
        and isinstance(content["arrays"], list)
        and isinstance(content["document"], dict)
        and (content["results"] is None or isinstance(content["results"], dict))
        and _are_observers(content["observers"])
        and isinstance(content["environment"], dict)
        and all(isinstance(v, str) for v in content["environment"].values())
        and set(pins) == set(types)
        and all(type(pins[k]) is kind for k, kind in types.items())
        and content["status"] in Status.__members__
    )
    if not good:
        raise _bad(path, "meta.json holds a value of the wrong kind")
    try:
        lineage = lineage_from_json(content["lineage"])
    except (ValueError, OverflowError) as problem:
        raise _bad(path, f"its lineage is malformed: {problem}") from None
    if (lineage.name, lineage.t, lineage.step) != (content["name"], content["t"], content["step"]):
        raise _bad(path, "name, time or step count differ between metadata and lineage")
    values: dict[str, float] = {}
    for key, value in config.items():
        if value == "inf":
            value = math.inf
        if isinstance(value, bool) or not isinstance(value, int | float) or _huge(value):
            raise _bad(path, f"stepper option {key!r} is not a number")
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


def _array(path: Path, name: str, data: bytes) -> Array:
    """One member in the `.npy` format, version 1.0: plain little-endian numbers, one dimension, exact length.

    The header is matched as text; nothing of it is evaluated.
    """
    match = _NPY_HEADER.match(data)
    if match is None:
        raise _bad(path, f"member {name!r} has an unexpected type, shape or length: it is not a plain array")
    kind, count = _TYPES[match[2].decode()], int(match[3])
    body = data[match.end() :]
    if int.from_bytes(match[1], "little") != match.end() - 10 or len(body) != count * kind.itemsize:
        raise _bad(path, f"member {name!r} has an unexpected type, shape or length")
    array: Array = np.frombuffer(body, kind)
    return array
