"""Results as a Zarr group (version 3) in a folder: one array per recorded quantity over `t`, the event log as a group.

Needs zarr.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import asdict

from dynlib.errors import ExportError
from dynlib.results.header import MARK, MOST_TEXT, Header, arrays_in, header_text, taken
from dynlib.results.recorded import Recorded, names_of
from dynlib.results.results import Array
from dynlib.version import VERSION

_CHUNK_BYTES, _CHUNK_ROWS = 2**20, 2**12
_TYPES = {"float64": "<f8", "float32": "<f4", "int64": "<i8", "int32": "<i4", "bool": "|b1"}
_LOG = (("t", "<f8"), ("step", "<i8"), ("event", "<i4"))


def export_zarr(recorded: Recorded, path: Path) -> None:
    """Write `t`, `step`, `at_stop`, every quantity by name, and the group `events` if the model logs any.

    An array state has a second dimension, with the numbers of its elements as coordinate. Numbers stand uncompressed.
    Raises `ExportError` without zarr.
    """
    r, names = recorded, names_of(recorded.columns)
    about = {
        "source": f"dynlib {VERSION}", "model": r.model_name, MARK: header_text(r),
        "segments": json.dumps([asdict(s) for s in r.segments]),
    }  # fmt: skip
    group = _zarr().create_group(store=str(path), zarr_format=3, attributes=about)
    _fill(group, "t", ("t",), "<f8", (r.rows,), (t for t, _, _ in r.clock()), "time")
    _fill(group, names.step, ("t",), "<i8", (r.rows,), (n for _, n, _ in r.clock()), "completed steps")
    flags = (flag for _, _, flag in r.clock())
    _fill(group, names.at_stop, ("t",), "|b1", (r.rows,), flags, "only because a run stopped here")
    for each in names.variables:
        if each.elements is None:
            _fill(group, each.name, ("t",), r.dtype.str, (r.rows,), (block[:, 0] for block in r.values(each.which)), "")
            continue
        shape, meaning = (r.rows, len(each.which)), f"element of {each.name}"
        _fill(group, each.axis, (each.axis,), "<i8", shape[1:], [np.array(each.elements)], meaning)
        _fill(group, each.name, ("t", each.axis), r.dtype.str, shape, r.values(each.which), "")
    if any(labels for _, labels in r.events):
        values = {"values": json.dumps({name: list(labels) for name, labels in r.events})}
        log = group.create_group(names.events, attributes=values)
        for part, (name, kind) in enumerate(_LOG):
            _fill(log, name, ("entry",), kind, (r.entries,), (block[part] for block in r.log()), "")
        depth = max(len(labels) for _, labels in r.events)
        _fill(log, "values", ("entry", "label"), r.dtype.str, (r.entries, depth), (block[3] for block in r.log()), "")


def read_zarr(path: Path, opened: Callable[[bytes], Header]) -> tuple[Header, dict[str, Array]]:
    """Header and arrays of a folder. Raises `ValueError`, what zarr raises for a damaged one, and `ExportError`."""
    zarr = _zarr()
    text = _document(path).get("attributes", {}).get(MARK)
    if not isinstance(text, str):
        raise ValueError("it was not written by this library")
    header = opened(text.encode())
    return header, arrays_in(header, lambda name, dtype, shape: _read(zarr, path / name, dtype, shape))


def is_of_results(folder: Path) -> bool:
    """Whether a folder was written by `export_zarr`."""
    try:
        return MARK in _document(folder).get("attributes", {})
    except (OSError, ValueError):  # errors of msgspec are among them
        return False


def _chunks(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Rows of a chunk, and whole rows."""
    row = dtype.itemsize * max(1, int(np.prod(shape[1:])))
    return max(1, min(_CHUNK_BYTES // row, _CHUNK_ROWS, shape[0])), *(max(1, size) for size in shape[1:])


def _fill(
    group: Any, name: str, dimensions: tuple[str, ...], kind: str, shape: tuple[int, ...], blocks: Iterable[Array],
    meaning: str,
) -> None:  # fmt: skip
    """One array, written chunk by chunk."""
    dtype = np.dtype(kind)
    array = group.create_array(
        name, shape=shape, dtype=dtype, chunks=_chunks(dtype, shape), compressors=None, dimension_names=dimensions,
        attributes={"long_name": meaning} if meaning else None,
    )  # fmt: skip
    size = array.chunks[0]
    chunk, filled, row = np.empty((size, *shape[1:]), dtype), 0, 0
    for block in blocks:
        at = 0
        while at < len(block):
            part = block[at : at + size - filled]
            chunk[filled : filled + len(part)] = part
            at, filled = at + len(part), filled + len(part)
            if filled == size:
                array[row : row + size] = chunk
                row, filled = row + size, 0
    if filled:
        array[row : row + filled] = chunk[:filled]


def _document(folder: Path) -> dict[str, Any]:
    """What describes a group or an array."""
    file = folder / "zarr.json"
    if not stat.S_ISREG(file.lstat().st_mode) or file.lstat().st_size > 2 * MOST_TEXT:
        raise ValueError(f"{file.name} is no file, or too large")
    found = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    if found.get("zarr_format") != 3:
        raise ValueError("it is not of Zarr version 3")
    return found


def _read(zarr: Any, folder: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """An array of plain numbers in files of this very folder, with the type and shape that the header says.

    No codec but plain bytes is let through, as others may be anything that is installed.
    """
    found, chunks = _document(folder), _chunks(dtype, shape)
    grid = {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}
    plain = [codec.get("name") for codec in found.get("codecs", [])] == ["bytes"] and not found.get(
        "storage_transformers"
    )
    kind = _TYPES.get(str(found.get("data_type")), "")
    if not plain or kind != dtype.str or found.get("shape") != list(shape) or found.get("chunk_grid") != grid:
        raise ValueError(f"array {folder.name!r} is not what the header says")
    limit = int(np.prod(chunks)) * dtype.itemsize
    for file in folder.rglob("*"):
        about = file.lstat()
        if not (stat.S_ISDIR(about.st_mode) or stat.S_ISREG(about.st_mode)):
            raise ValueError(f"array {folder.name!r} holds what is no file")
        if file.name != "zarr.json" and stat.S_ISREG(about.st_mode) and about.st_size > limit:
            raise ValueError(f"a chunk of array {folder.name!r} is too large")
    return taken(np.asarray(zarr.open_array(store=str(folder), mode="r")[...]), dtype, shape)


def _zarr() -> Any:
    try:
        import zarr  # heavy and optional
    except ImportError:
        raise ExportError("Zarr needs zarr; install it with: pip install 'dynlib[zarr]' from the checkout") from None
    return zarr
