"""Results as a numpy archive: one array per recorded quantity, and one group per event."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dynlib.results.header import MOST_TEXT, Header, arrays_for, header_text
from dynlib.results.recorded import Recorded, free_name, quantities_of
from dynlib.results.results import Array

_HEADER = "dynlib/header"
"""A text as bytes; no quantity has a name with a slash."""
_BYTE = np.dtype(np.uint8)
_LOG = (("t", np.float64), ("step", np.int64), ("event", np.int32))
_EPOCH = (1980, 1, 1, 0, 0, 0)


def export_npz(recorded: Recorded, path: Path) -> None:
    """Write `t`, `step`, `at_stop`, every quantity by name, `event/<name>/<label>`, and `log/t`, … of all events."""
    r = recorded
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "t", np.dtype(np.float64), (r.rows,), (t for t, _, _ in r.clock()))
        text = np.frombuffer(header_text(r).encode(), _BYTE)
        _add(archive, _HEADER, _BYTE, text.shape, [text])
        step, stop = free_name("step", r.columns), free_name("at_stop", r.columns)
        _add(archive, step, np.dtype(np.int64), (r.rows,), (step for _, step, _ in r.clock()))
        _add(archive, stop, np.dtype(bool), (r.rows,), (flag for _, _, flag in r.clock()))
        for name, which in quantities_of(r.columns).items():
            width = () if r.columns[which[0]] == name else (len(which),)
            _add(archive, name, r.dtype, (r.rows, *width), r.values(which))
        for part, (name, dtype) in enumerate(_LOG):
            _add(archive, f"log/{name}", np.dtype(dtype), (r.entries,), (block[part] for block in r.log()))
        counts = [0] * len(r.events)
        for _, _, event, _ in r.log():
            counts = (counts + np.bincount(event, minlength=len(counts))).tolist()
        for k, (name, labels) in enumerate(r.events):
            if labels:
                here = (counts[k],)
                own = [label for label in ("t", "step") if label not in labels]
                for label in own:
                    kind = np.dtype(np.float64 if label == "t" else np.int64)
                    _add(archive, f"event/{name}/{label}", kind, here, _entries(r, k, ("t", "step").index(label)))
                for j, label in enumerate(labels):
                    _add(archive, f"event/{name}/{label}", r.dtype, here, _entries(r, k, 3, j))


def read_npz(path: Path, opened: Callable[[bytes], Header]) -> tuple[Header, dict[str, Array]]:
    """Header and arrays of a file. Raises `ValueError` and what zipfile raises for a damaged one."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if f"{_HEADER}.npy" not in names:
            known = (
                "a snapshot file; read_results() gives the results it carries" if "meta.json" in names else "of others"
            )
            raise ValueError(f"it is {known}")
        header = opened(_text(archive))
        arrays, columns = arrays_for(header), header.columns
        own = {"t": "t", "step": free_name("step", columns), "at_stop": free_name("at_stop", columns)}
        own |= {f"log_{name}": f"log/{name}" for name, _ in _LOG}
        for name, member in own.items():
            arrays[name] = _array(archive, member, arrays[name].dtype, arrays[name].shape)
        kind = np.dtype(header.dtype)
        for name, which in quantities_of(columns).items():
            width = () if columns[which[0]] == name else (len(which),)
            block = _array(archive, name, kind, (header.rows, *width))
            arrays["data"][:, which] = block.reshape(header.rows, len(which))
        for k, event in enumerate(header.events):
            here = np.flatnonzero(arrays["log_event"] == k)
            for j, label in enumerate(event.labels):
                arrays["log_values"][here, j] = _array(archive, f"event/{event.name}/{label}", kind, here.shape)
    return header, arrays


def _text(archive: zipfile.ZipFile) -> bytes:
    data = _bytes(archive, f"{_HEADER}.npy", MOST_TEXT)
    start = 10 + int.from_bytes(data[8:10], "little")
    if data[:start] != _head(_BYTE, (len(data) - start,)):
        raise ValueError("its header is no array of bytes")
    return data[start:]


def _bytes(archive: zipfile.ZipFile, member: str, most: int) -> bytes:
    """The content of a member that is stored as it is; zipfile checks its CRC."""
    info = archive.getinfo(member)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.file_size > most:
        raise ValueError(f"member {member!r} is compressed or too large")
    return archive.read(info)


def _array(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """A member that is exactly what `_add` writes for this type and shape."""
    head = _head(dtype, shape)
    size = len(head) + dtype.itemsize * math.prod(shape)
    data = _bytes(archive, f"{name}.npy", size)
    if len(data) != size or not data.startswith(head):
        raise ValueError(f"member {name!r} has another type or shape than its header says")
    array: Array = np.frombuffer(data, dtype, offset=len(head)).reshape(shape)
    return array


def _head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _entries(recorded: Recorded, event: int, part: int, label: int | None = None) -> Iterator[Array]:
    """One column of the log entries of one event."""
    for block in recorded.log():
        column = block[part] if label is None else block[part][:, label]
        yield column[block[2] == event]


def _add(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[Array]
) -> None:
    """One array, written block by block."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w", force_zip64=True) as file:
        file.write(_head(dtype, shape))
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
