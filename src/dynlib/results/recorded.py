"""What exporters read: a recording, a block at a time, whether it stands in memory or on disk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from dynlib.results.results import Array, Results, Segment

_ELEMENT = re.compile(r"(.+)\[(\d+)\]\Z")
_ROWS = 2**14


class Recorded(Protocol):
    """Samples and log entries that do not change while they are read.

    The three iterators cut samples, and log entries, into blocks of rows; `clock` and `values` cut in the same places.
    """

    @property
    def model_name(self) -> str:
        """The name of the model."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the recorded columns; an array state has one per element."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of values and logged values."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments in their order."""

    @property
    def events(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Names of all events, each with the labels of what it logs."""

    @property
    def tags(self) -> tuple[tuple[str, ...], ...]:
        """The tags of each event."""

    @property
    def rows(self) -> int:
        """Number of samples."""

    @property
    def entries(self) -> int:
        """Number of log entries."""

    def clock(self) -> Iterator[tuple[Array, ...]]:
        """Time, completed steps, and whether a sample stands only because a run stopped there."""

    def values(self, which: Sequence[int]) -> Iterator[Array]:
        """Some columns of the samples, by position: shape (rows, columns)."""

    def log(self) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Time, completed steps, event (an index into `events`) and values (entries, labels) of log entries."""


class InMemory:
    """Results in memory as exporters read them."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self.model_name, self.columns, self.segments = results.model_name, results.columns, results.segments
        self.dtype: np.dtype[Any] = results.data.dtype
        self.events = tuple(zip(results.log.names, results.log.columns, strict=True))
        self.tags = results.log.tags
        self.rows, self.entries = len(results.t), len(results.log.t)

    def clock(self) -> Iterator[tuple[Array, ...]]:
        """Time, step, at_stop."""
        r = self._results
        for part in _parts(self.rows):
            yield r.t[part], r.step[part], r.at_stop[part]

    def values(self, which: Sequence[int]) -> Iterator[Array]:
        """Some columns."""
        for part in _parts(self.rows):
            yield self._results.data[part][:, list(which)]

    def log(self) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Time, step, event, values."""
        log = self._results.log
        for part in _parts(self.entries):
            yield log.t[part], log.step[part], log.event[part], log.values[part]


def _parts(rows: int) -> Iterator[slice]:
    return (slice(k, min(k + _ROWS, rows)) for k in range(0, rows, _ROWS))


def quantities_of(columns: Sequence[str]) -> dict[str, list[int]]:
    """The recorded quantities and the positions of their columns; an array state is one quantity."""
    found: dict[str, list[int]] = {}
    for k, column in enumerate(columns):
        match = _ELEMENT.match(column)
        found.setdefault(match[1] if match else column, []).append(k)
    return found


def elements_of(columns: Sequence[str], which: Sequence[int]) -> list[int] | None:
    """Which elements of an array state some columns are; None for a quantity that is no array."""
    matches = [_ELEMENT.match(columns[k]) for k in which]
    return [int(m[2]) for m in matches if m] if all(matches) else None


def free_name(name: str, taken: Sequence[str]) -> str:
    """A name for something beside the recorded quantities: the one wished for, unless a quantity has it."""
    while name in taken:
        name += "_"
    return name


class Variable(Struct, frozen=True):
    """A recorded quantity in a file: its name, its columns, and of an array the elements and the name of their axis."""

    name: str
    which: list[int]
    elements: list[int] | None
    axis: str


class Names(Struct, frozen=True):
    """What stands in a file beside `t`: every name differs from all others."""

    step: str
    at_stop: str
    variables: tuple[Variable, ...]
    events: str


def names_of(columns: Sequence[str]) -> Names:
    """The names in a file that has a variable for each quantity, axes by name, and a group for the event log."""
    quantities = quantities_of(columns)
    used = list(quantities)
    step, at_stop = free_name("step", used), free_name("at_stop", used)
    used += ["t", step, at_stop]
    variables = []
    for name, which in quantities.items():
        elements = elements_of(columns, which)
        axis = "" if elements is None else free_name(f"{name}_index", used)
        used += [axis] if axis else []
        variables.append(Variable(name, which, elements, axis))
    return Names(step, at_stop, tuple(variables), free_name("events", used))


def log_beside(path: Path) -> Path:
    """The file with the event log, for formats that hold one table."""
    return path.with_name(f"{path.stem}.events{path.suffix}")
