"""Results as netCDF: one variable per recorded quantity over `t`, the event log as a group. Needs h5netcdf and h5py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import asdict

from dynlib.errors import ExportError
from dynlib.results.header import MARK, Header, arrays_in, header_text, taken
from dynlib.results.recorded import Recorded, names_of
from dynlib.results.results import Array
from dynlib.version import VERSION


def export_netcdf(recorded: Recorded, path: Path) -> None:
    """Write `t`, `step`, `at_stop`, every quantity by name, and the group `events` if the model logs any.

    An array state has a second dimension, with the numbers of its elements as coordinate. Raises `ExportError`
    without h5netcdf and h5py.
    """
    r, h5netcdf = recorded, _packages()[0]
    names = names_of(r.columns)
    with h5netcdf.File(path, "w") as file:
        file.attrs["source"] = f"dynlib {VERSION}"
        file.attrs["model"] = r.model_name
        file.attrs[MARK] = header_text(r)
        file.attrs["segments"] = json.dumps([asdict(s) for s in r.segments])
        file.dimensions["t"] = r.rows
        _fill(file, "t", ("t",), np.dtype("<f8"), (t for t, _, _ in r.clock()), long_name="time")
        _fill(file, names.step, ("t",), np.dtype("<i8"), (n for _, n, _ in r.clock()), long_name="completed steps")
        flags = (flag.astype("i1") for _, _, flag in r.clock())
        _fill(file, names.at_stop, ("t",), np.dtype("i1"), flags, long_name="only because a run stopped here")
        file[names.at_stop].attrs["dtype"] = "bool"  # netCDF has no truth values; this is how xarray marks them
        for each in names.variables:
            if each.elements is None:
                _fill(file, each.name, ("t",), r.dtype, (block[:, 0] for block in r.values(each.which)))
                continue
            file.dimensions[each.axis] = len(each.elements)
            meaning = f"element of {each.name}"
            _fill(file, each.axis, (each.axis,), np.dtype("<i8"), [np.array(each.elements)], long_name=meaning)
            _fill(file, each.name, ("t", each.axis), r.dtype, r.values(each.which))
        if any(labels for _, labels in r.events):
            _log(file.create_group(names.events), r)


def read_netcdf(path: Path, opened: Callable[[bytes], Header]) -> tuple[Header, dict[str, Array]]:
    """Header and arrays of a file. Raises `ValueError`, what h5py raises for a damaged one, and `ExportError`."""
    h5py = _packages()[1]
    with h5py.File(path, "r") as file:
        text = file.attrs.get(MARK)
        if not isinstance(text, str):
            raise ValueError("it was not written by this library")
        header = opened(text.encode())

        def read(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
            return _read(h5py, file, name, "i1" if dtype.kind == "b" else dtype, shape).astype(dtype, copy=False)

        return header, arrays_in(header, read)


def _read(h5py: Any, file: Any, name: str, dtype: Any, shape: tuple[int, ...]) -> Array:
    """A variable that stands in this very file, uncompressed, with the type and shape that the header says."""
    data = file[name]
    kept = isinstance(data, h5py.Dataset) and data.file == file and data.external is None and not data.is_virtual
    if not kept or data.shape != shape or data.dtype != np.dtype(dtype) or data.compression is not None:
        raise ValueError(f"variable {name!r} is not what the header says")
    if data.id.get_storage_size() < data.nbytes:
        raise ValueError(f"variable {name!r} is not all there")
    return taken(np.asarray(data[...]), dtype, shape)


def _log(group: Any, r: Recorded) -> None:
    """The event log, laid out as in a run directory."""
    group.attrs["values"] = json.dumps({name: list(labels) for name, labels in r.events})
    group.dimensions["entry"] = r.entries
    group.dimensions["label"] = max(len(labels) for _, labels in r.events)
    _fill(group, "t", ("entry",), np.dtype("<f8"), (t for t, _, _, _ in r.log()), long_name="time")
    _fill(group, "step", ("entry",), np.dtype("<i8"), (n for _, n, _, _ in r.log()), long_name="completed steps")
    _fill(group, "event", ("entry",), np.dtype("<i4"), (event for _, _, event, _ in r.log()), long_name="event")
    group["event"].attrs["flag_values"] = np.arange(len(r.events), dtype="<i4")
    group["event"].attrs["flag_meanings"] = " ".join(name for name, _ in r.events)
    _fill(group, "values", ("entry", "label"), r.dtype, (values for _, _, _, values in r.log()))


def _fill(
    group: Any,
    name: str,
    dimensions: tuple[str, ...],
    dtype: np.dtype[Any],
    blocks: Iterable[Array],
    long_name: str | None = None,
) -> None:
    """One variable, written block by block."""
    variable = group.create_variable(name, dimensions, dtype)
    if long_name is not None:
        variable.attrs["long_name"] = long_name
    row = 0
    for block in blocks:
        variable[row : row + len(block)] = block
        row += len(block)


def _packages() -> tuple[Any, Any]:
    try:
        import h5netcdf  # heavy and optional
        import h5py  # h5netcdf writes through it
    except ImportError:
        raise ExportError(
            "netCDF needs h5netcdf and h5py; install them with: pip install 'dynlib[netcdf]' from the checkout"
        ) from None
    return h5netcdf, h5py
