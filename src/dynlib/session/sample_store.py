"""The samples and log entries of a run on disk: two tables, one of samples and one of events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dynlib.errors import StoreError
from dynlib.results import EventLog, Results, Segment
from dynlib.results.recorded import free_name
from dynlib.results.results import event_log
from dynlib.runtime.recording import Recording, join
from dynlib.runtime.state import Array
from dynlib.session.durable import DISK, Disk
from dynlib.session.stored_results import segments_json
from dynlib.session.table import Column, Table
from dynlib.spec.model import Model

SAMPLES, EVENTS = "samples.zarr", "events.zarr"
MOST_SAMPLES, MOST_ENTRIES = 2**16, 2**12
"""Rows of a chunk, unless it would be too large; the last one takes as much room as the others."""


class SampleStore:
    """Rows of a recording in a folder: `samples.zarr`, and `events.zarr` where the model logs events.

    `samples.zarr` has `t`, `step`, `at_stop` and one array per recorded quantity; an array state that is recorded
    whole has two dimensions. A quantity that is itself called `step` keeps its name, and the count is `step_`.
    """

    def __init__(self, folder: Path, model: Model, columns: tuple[str, ...], disk: Disk = DISK) -> None:
        self.folder, self.model, self.columns = folder, model, columns
        self._spans = _spans_of(model, columns)
        taken = [name for name, _ in self._spans]
        own = [free_name(name, taken) for name in ("step", "at_stop")]
        quantities = [
            Column(name, model.dtype, None if span.stop - span.start == 1 else span.stop - span.start)
            for name, span in self._spans
        ]
        self._samples = Table(
            folder / SAMPLES,
            "t",
            [
                Column("t", "float64", None, (("long_name", "time"),)),
                Column(own[0], "int64", None, (("long_name", "completed steps"),)),
                Column(own[1], "bool", None, (("long_name", "only because a run stopped here"),)),
                *quantities,
            ],
            MOST_SAMPLES,
            disk,
        )
        names = " ".join(e.name for e in model.events)
        flags = (("flag_meanings", names), ("flag_values", list(range(len(model.events)))))
        self._events: Table | None = None
        if model.log_depth:
            self._events = Table(
                folder / EVENTS,
                "entry",
                [
                    Column("t", "float64", None, (("long_name", "time"),)),
                    Column("step", "int64", None, (("long_name", "completed steps"),)),
                    Column("event", "int32", None, flags),
                    Column("values", model.dtype, model.log_depth),
                ],
                MOST_ENTRIES,
                disk,
            )

    @property
    def rows(self) -> int:
        """Samples taken."""
        return self._samples.rows

    @property
    def entries(self) -> int:
        """Log entries taken."""
        return 0 if self._events is None else self._events.rows

    def take(self, new: Recording) -> None:
        """Take over copies of what was recorded; nothing is written yet."""
        for t, step, kind, data in new.samples:
            parts = [data[:, span.start] if span.stop - span.start == 1 else data[:, span] for _, span in self._spans]
            self._samples.take((t, step, kind != 0, *parts))
        if self._events is not None:
            for block in new.events:
                self._events.take(block)

    def flush(self) -> None:
        """Write complete chunks, so that memory stays bounded. Raises `StoreError`; nothing is lost by that."""
        self._samples.flush()
        if self._events is not None:
            self._events.flush()

    def publish(self, segments: Sequence[Segment]) -> None:
        """Make everything taken durable and visible. Raises `StoreError`; nothing is lost by that."""
        beside = self.attributes(segments)
        for table in reversed(self.tables):  # what counts is how many samples there are
            table.publish(beside[table.folder.name])

    def attributes(self, segments: Sequence[Segment]) -> dict[str, dict[str, Any]]:
        """What is published beside each table, by its name."""
        labels = {e.name: [label for label, _ in e.log] for e in self.model.events}
        return {
            SAMPLES: {"model": self.model.name, "columns": list(self.columns), "segments": segments_json(segments)},
            EVENTS: {"model": self.model.name, "values": labels},
        }

    def rewind(self, rows: int, entries: int) -> None:
        """Go back to numbers of rows that were published once. Raises `StoreError` if they are not whole."""
        self._samples.rewind(rows)
        if self._events is not None:
            self._events.rewind(entries)

    def last_t(self, rows: int) -> float:
        """Time of the last of so many samples; NaN if there is none."""
        return float(self._samples.read(rows - 1, rows)[0][0]) if rows else float("nan")

    def published(self) -> tuple[int, int]:
        """How many samples and entries are visible. Raises `StoreError`."""
        return self._samples.published()[0], 0 if self._events is None else self._events.published()[0]

    def samples(self) -> tuple[int, dict[str, Any]]:
        """How many samples are visible, and what is published beside them at that moment. Raises `StoreError`."""
        return self._samples.published()

    @property
    def tables(self) -> list[Table]:
        """The tables: samples, and log entries where the model logs events."""
        return [self._samples, *([] if self._events is None else [self._events])]

    def blocks(self, first: int, last: int) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Samples from `first` to before `last`, a chunk at a time: time, step, at_stop, values by column."""
        for t, step, at_stop, *parts in self._samples.blocks(first, last):
            columns = [part.reshape(len(t), -1) for part in parts]
            yield t, step, at_stop, np.hstack(columns) if columns else np.empty((len(t), 0), self.model.dtype)

    def clock(self, first: int, last: int) -> Iterator[tuple[Array, ...]]:
        """Time, step and at_stop of samples, a chunk at a time; no other files are read."""
        return self._samples.blocks(first, last, (0, 1, 2))

    def values(self, which: Sequence[int], first: int, last: int) -> Iterator[Array]:
        """Some columns of samples by position, a chunk at a time: shape (rows, columns); no other files are read."""
        homes = [next(k for k, (_, span) in enumerate(self._spans) if span.start <= w < span.stop) for w in which]
        needed = sorted(set(homes))
        for parts in self._samples.blocks(first, last, [k + 3 for k in needed]):
            found = dict(zip(needed, parts, strict=True))
            chosen = [found[k].reshape(len(found[k]), -1)[:, w - self._spans[k][1].start] for k, w in zip(homes, which)]
            yield np.column_stack(chosen)

    def log_blocks(self, first: int, last: int) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Time, step, event and values of log entries, a chunk at a time. Raises `StoreError`."""
        if self._events is None:
            return
        for t, step, event, values in self._events.blocks(first, last):
            if not 0 <= event.min() <= event.max() < len(self.model.events):
                raise StoreError(f"{self.folder / EVENTS} is damaged: it logs events that the model does not have")
            yield t, step, event, values

    def log(self, first: int, last: int) -> EventLog:
        """Log entries from `first` to before `last`."""
        empty = Recording(0, self.model.log_depth, np.dtype(self.model.dtype)).event_block(0)
        return event_log(self.model, join(list(self.log_blocks(first, last)), empty))

    def results(
        self, columns: tuple[str, ...], rows: int, entries: int, segments: Sequence[Segment], first: int = 0
    ) -> Results:
        """Samples from `first` on and all log entries, read into memory."""
        empty = Recording(len(columns), 0, np.dtype(self.model.dtype)).sample_block(0)
        t, step, at_stop, data = join(list(self.blocks(first, rows)), empty)
        log = self.log(0, entries)
        return Results(columns, t, step, at_stop.astype(bool), data, tuple(segments), log, self.model.name)


def _spans_of(model: Model, columns: tuple[str, ...]) -> list[tuple[str, slice]]:
    """Arrays and the columns they take; the elements of an array state are one array where all stand together."""
    whole = {q.element_names[0]: (q.name, q.element_names) for q in model.states if q.size is not None}
    found: list[tuple[str, slice]] = []
    at = 0
    while at < len(columns):
        name, elements = whole.get(columns[at], (columns[at], (columns[at],)))
        if columns[at : at + len(elements)] != elements:
            name, elements = columns[at], (columns[at],)
        found.append((name, slice(at, at + len(elements))))
        at += len(elements)
    return found
