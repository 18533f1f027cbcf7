"""Results as netCDF: one variable per recorded quantity over `t`, the event log as a group. Needs h5netcdf and h5py."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import asdict

from dynlib.errors import ExportError
from dynlib.results.recorded import Recorded, elements_of, free_name, quantities_of
from dynlib.results.results import Array
from dynlib.version import VERSION


def export_netcdf(recorded: Recorded, path: Path) -> None:
    """Write `t`, `step`, `at_stop`, every quantity by name, and the group `events` if the model logs any.

    An array state has a second dimension, with the numbers of its elements as coordinate. Raises `ExportError`
    without h5netcdf and h5py.
    """
    r, h5netcdf = recorded, _h5netcdf()
    quantities = quantities_of(r.columns)
    with h5netcdf.File(path, "w") as file:
        file.attrs["source"] = f"dynlib {VERSION}"
        file.attrs["model"] = r.model_name
        file.attrs["segments"] = json.dumps([asdict(s) for s in r.segments])
        file.dimensions["t"] = r.rows
        _fill(file, "t", ("t",), np.dtype("<f8"), (t for t, _, _ in r.clock()), long_name="time")
        taken = list(quantities)
        step, stop = free_name("step", taken), free_name("at_stop", taken)
        taken += ["t", step, stop]
        _fill(file, step, ("t",), np.dtype("<i8"), (n for _, n, _ in r.clock()), long_name="completed steps")
        flags = (flag.astype("i1") for _, _, flag in r.clock())
        _fill(file, stop, ("t",), np.dtype("i1"), flags, long_name="only because a run stopped here")
        file[stop].attrs["dtype"] = "bool"  # netCDF has no truth values; this is how xarray marks them
        for name, which in quantities.items():
            elements = elements_of(r.columns, which)
            if elements is None:
                _fill(file, name, ("t",), r.dtype, (block[:, 0] for block in r.values(which)))
                continue
            across = free_name(f"{name}_index", taken)
            taken.append(across)
            file.dimensions[across] = len(elements)
            _fill(file, across, (across,), np.dtype("<i8"), [np.array(elements)], long_name=f"element of {name}")
            _fill(file, name, ("t", across), r.dtype, r.values(which))
        if any(labels for _, labels in r.events):
            _log(file.create_group(free_name("events", taken)), r)


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


def _h5netcdf() -> Any:
    try:
        import h5netcdf  # heavy and optional
        import h5py  # noqa: F401 - h5netcdf writes through it
    except ImportError:
        raise ExportError(
            "netCDF needs h5netcdf and h5py; install them with: pip install 'dynlib[netcdf]' from the checkout"
        ) from None
    return h5netcdf
