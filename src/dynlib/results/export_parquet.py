"""Results as Parquet: one row per sample, one column per recorded column. Needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import asdict

from dynlib.errors import ExportError
from dynlib.results.header import MARK, Header, arrays_for, header_text, taken
from dynlib.results.recorded import Recorded, free_name, log_beside
from dynlib.results.results import Array


def export_parquet(recorded: Recorded, path: Path) -> None:
    """Write time, step, at_stop and all recorded columns; model and segments are in the metadata of the schema.

    Raises `ExportError` without pyarrow.
    """
    r, (pa, pq) = recorded, _pyarrow()
    kind = pa.from_numpy_dtype(r.dtype)
    fields = [*_own(pa, r.columns), *((name, kind) for name in r.columns)]
    schema = pa.schema(fields, metadata={**_metadata(r), MARK: header_text(r)})
    with pq.ParquetWriter(path, schema, use_dictionary=False) as file:
        for clock, data in zip(r.clock(), r.values(range(len(r.columns))), strict=True):
            file.write_table(pa.Table.from_arrays([*map(pa.array, clock), *map(pa.array, data.T)], schema=schema))


def export_parquet_log(recorded: Recorded, path: Path) -> None:
    """Write the event log: time, step, event, and one column per event and label, null for other events."""
    r, (pa, pq) = recorded, _pyarrow()
    kind = pa.from_numpy_dtype(r.dtype)
    heads = [(f"{name}.{label}", kind) for name, labels in r.events for label in labels]
    fields = [("t", pa.float64()), ("step", pa.int64()), ("event", pa.string()), *heads]
    schema = pa.schema(fields, metadata=_metadata(r))
    names = [name for name, _ in r.events]
    with pq.ParquetWriter(path, schema, use_dictionary=["event"]) as file:
        for t, step, event, values in r.log():
            columns = [pa.array(t), pa.array(step), pa.array([names[k] for k in event], pa.string())]
            for k, (_, labels) in enumerate(r.events):
                columns += [pa.array(values[:, j], mask=event != k) for j in range(len(labels))]
            file.write_table(pa.Table.from_arrays(columns, schema=schema))


def read_parquet(path: Path, opened: Callable[[bytes], Header]) -> tuple[Header, dict[str, Array]]:
    """Header and arrays of a file, and of the one with the log beside it. Raises `ValueError`, `ExportError`."""
    pa, pq = _pyarrow()
    with pq.ParquetFile(path) as file:
        text = (file.schema_arrow.metadata or {}).get(MARK.encode())
        if text is None:
            raise ValueError("it was not written by this library, or it is the event log of results")
        header = opened(text)
        arrays, kind = arrays_for(header), pa.from_numpy_dtype(header.dtype)
        own = _own(pa, header.columns)
        table = _table(pa, file, [*own, *((name, kind) for name in header.columns)], header.rows)
        for name, k in (("t", 0), ("step", 1), ("at_stop", 2)):
            arrays[name] = _column(table, k, arrays[name])
        for k in range(len(header.columns)):
            arrays["data"][:, k] = _column(table, 3 + k, arrays["data"][:, k])
    if header.depth:
        heads = [(f"{e.name}.{label}", kind) for e in header.events for label in e.labels]
        with pq.ParquetFile(log_beside(path)) as file:
            fields = [("t", pa.float64()), ("step", pa.int64()), ("event", pa.string()), *heads]
            table = _table(pa, file, fields, header.entries)
        arrays["log_t"] = _column(table, 0, arrays["log_t"])
        arrays["log_step"] = _column(table, 1, arrays["log_step"])
        places = {event.name: k for k, event in enumerate(header.events)}
        arrays["log_event"][:] = [places[name] for name in table.column(2).to_pylist()]
        at = 3
        for k, event in enumerate(header.events):
            here = np.flatnonzero(arrays["log_event"] == k)
            for j in range(len(event.labels)):
                logged = table.column(at).drop_null().to_numpy()
                arrays["log_values"][here, j] = taken(logged, header.dtype, here.shape)
                at += 1
    return header, arrays


def _own(pa: Any, columns: Sequence[str]) -> list[tuple[str, Any]]:
    """The columns beside the recorded ones, and their types."""
    names = "t", free_name("step", columns), free_name("at_stop", columns)
    return list(zip(names, (pa.float64(), pa.int64(), pa.bool_()), strict=True))


def _table(pa: Any, file: Any, fields: list[tuple[str, Any]], rows: int) -> Any:
    """A whole file, if it has these columns and rows."""
    if not file.schema_arrow.equals(pa.schema(fields), check_metadata=False) or file.metadata.num_rows != rows:
        raise ValueError(f"its columns or rows are not what the header says ({file.metadata.num_rows} rows)")
    return file.read()


def _column(table: Any, k: int, room: Array) -> Array:
    return taken(table.column(k).to_numpy(), room.dtype, room.shape)


def _metadata(r: Recorded) -> dict[str, str]:
    return {"model": r.model_name, "segments": json.dumps([asdict(s) for s in r.segments])}


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # heavy and optional
        import pyarrow.parquet
    except ImportError:
        raise ExportError(
            "Parquet needs pyarrow; install it with: pip install 'dynlib[parquet]' from the checkout"
        ) from None
    return pyarrow, pyarrow.parquet
