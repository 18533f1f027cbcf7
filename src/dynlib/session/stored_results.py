"""Recorded results in a snapshot file (as arrays of one dimension) or beside it (as a position in their store)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict

from dynlib.results import EventLog, Results, Segment
from dynlib.runtime.state import Array
from dynlib.spec.model import Model
from dynlib.status import Status

FOLDER = "results/"
_NUMBERS = ("t", "data", "log_t", "log_values")
_COUNTS = ("step", "at_stop", "log_step", "log_event")
NAMES = tuple(f"{FOLDER}{name}" for name in (*_NUMBERS, *_COUNTS))


class StorePosition(Struct, frozen=True):
    """How much of the recording of a run directory belongs to a state.

    `rows` samples and `entries` of the event log, with `columns` and `segments` as in results. `transient_end` is the
    time at which recording begins, None if there is no transient.
    """

    rows: int
    entries: int
    transient_end: float | None
    columns: tuple[str, ...]
    segments: tuple[Segment, ...]

    def to_json(self) -> dict[str, Any]:
        """In strict JSON."""
        return {
            "rows": self.rows,
            "entries": self.entries,
            "transient_end": self.transient_end,
            "columns": list(self.columns),
            "segments": segments_json(self.segments),
        }

    @classmethod
    def from_json(cls, content: object) -> Self:
        """From JSON; whether the model has the columns is not known here. Raises `ValueError`."""
        if not isinstance(content, Mapping) or set(content) != {*cls.__struct_fields__}:
            raise ValueError("expected the keys rows, entries, transient_end, columns and segments")
        rows, entries, end = content["rows"], content["entries"], content["transient_end"]
        if not is_count(rows) or not is_count(entries):
            raise ValueError("a count is malformed")
        if end is not None and not is_finite(end):
            raise ValueError("transient_end is not a number")
        columns = _columns(content["columns"])
        return cls(
            rows,
            entries,
            None if end is None else float(end),
            columns,
            segments_from_json(content["segments"], rows, entries),
        )


def recordable(model: Model) -> tuple[str, ...]:
    """The columns that a recording of a model can have."""
    return (*(e for q in model.states for e in q.element_names), *(a.name for a in model.aux))


def results_to_arrays(results: Results) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of a recording by the names of their members, and the metadata beside them."""
    log = results.log
    arrays = {
        "t": results.t,
        "step": results.step,
        "at_stop": results.at_stop.astype("<i8"),
        "data": results.data.ravel(),
        "log_t": log.t,
        "log_step": log.step,
        "log_event": log.event.astype("<i8"),
        "log_values": log.values.ravel(),
    }
    return {f"{FOLDER}{name}": array for name, array in arrays.items()}, {
        "columns": list(results.columns),
        "segments": segments_json(results.segments),
    }


def results_from_arrays(arrays: Mapping[str, Array], content: object, model: Model) -> Results:
    """A recording again, checked in every length. Raises `ValueError`."""
    if not isinstance(content, Mapping) or set(content) != {"columns", "segments"}:
        raise ValueError("it has no columns and segments")
    parts = {name: arrays[f"{FOLDER}{name}"] for name in (*_NUMBERS, *_COUNTS)}
    columns = _columns(content["columns"])
    if not set(columns) <= set(recordable(model)):
        raise ValueError("it has columns that the model does not")
    depth = model.log_depth
    rows, entries = len(parts["t"]), len(parts["log_t"])
    for name, size in (("step", rows), ("at_stop", rows), ("data", rows * len(columns)), ("log_step", entries),
                       ("log_event", entries), ("log_values", entries * depth)):  # fmt: skip
        if len(parts[name]) != size:
            raise ValueError(f"{name} has {len(parts[name])} entries instead of {size}")
    kinds = {name: "f" if name in _NUMBERS else "i" for name in parts}
    if any(parts[name].dtype.kind != kind for name, kind in kinds.items()):
        raise ValueError("an array has the wrong type")
    if entries and not 0 <= parts["log_event"].min() <= parts["log_event"].max() < len(model.events):
        raise ValueError("it logs events that the model does not have")
    log = EventLog(
        tuple(e.name for e in model.events),
        tuple(tuple(label for label, _ in e.log) for e in model.events),
        tuple(e.tags for e in model.events),
        parts["log_t"], parts["log_step"], parts["log_event"].astype(np.int32),
        parts["log_values"].reshape(entries, depth),
    )  # fmt: skip
    return Results(
        columns,
        parts["t"],
        parts["step"],
        parts["at_stop"] != 0,
        parts["data"].reshape(rows, len(columns)),
        segments_from_json(content["segments"], rows, entries),
        log,
        model.name,
    )


def _columns(content: object) -> tuple[str, ...]:
    if (
        not isinstance(content, list)
        or not all(isinstance(c, str) for c in content)
        or len(set(content)) < len(content)
    ):
        raise ValueError("its columns are malformed")
    return tuple(content)


def segments_json(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """Segments in strict JSON."""
    return [{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(s).items()} for s in segments]


def segments_from_json(content: object, rows: int, entries: int) -> tuple[Segment, ...]:
    """Segments from JSON, within so many samples and log entries. Raises `ValueError`."""
    names = {*Segment.__struct_fields__}
    if not isinstance(content, list):
        raise ValueError("its segments are malformed")
    found: list[Segment] = []
    for item in content:
        if not isinstance(item, Mapping) or set(item) != names:
            raise ValueError("its segments are malformed")
        texts = all(isinstance(item[k], str) for k in ("name", "cfg_hash", "status"))
        numbers = all(is_finite(item[k]) for k in ("t_start", "t_end"))
        counts = all(is_count(item[k]) for k in ("step_start", "step_end"))
        spans = all(_is_span(item[k], size) for k, size in (("rows", rows), ("entries", entries)))
        if not (texts and numbers and counts and spans) or type(item["resume"]) is not bool:
            raise ValueError("its segments are malformed")
        if item["status"] not in Status.__members__:
            raise ValueError("its segments are malformed")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in item.items()}
        found.append(Segment(**values))
    return tuple(found)


def is_count(value: object) -> bool:
    """Whether a value from JSON is a count."""
    return type(value) is int and 0 <= value <= 2**53


def is_finite(value: object) -> bool:
    """Whether a value from JSON is a finite number."""
    return type(value) is not bool and isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _is_span(value: object, size: int) -> bool:
    if not isinstance(value, list) or len(value) != 2 or any(type(v) is not int for v in value):
        return False
    first, last = value
    return bool(0 <= first <= last <= size)
