"""Results as Parquet: one row per sample, one column per recorded column. Needs pyarrow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from dynlib.errors import ExportError
from dynlib.results.recorded import Recorded, free_name


def export_parquet(recorded: Recorded, path: Path) -> None:
    """Write time, step, at_stop and all recorded columns; model and segments are in the metadata of the schema.

    Raises `ExportError` without pyarrow.
    """
    r, (pa, pq) = recorded, _pyarrow()
    kind = pa.from_numpy_dtype(r.dtype)
    own = [
        ("t", pa.float64()),
        (free_name("step", r.columns), pa.int64()),
        (free_name("at_stop", r.columns), pa.bool_()),
    ]
    schema = pa.schema([*own, *((name, kind) for name in r.columns)], metadata=_metadata(r))
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
