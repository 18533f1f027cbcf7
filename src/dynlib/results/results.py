"""Immutable results: one contiguous time series over all segments, and the event log beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from msgspec import Struct

from dynlib.arguments import unchanging
from dynlib.spec.model import Model

Array = npt.NDArray[Any]


class Segment(Struct, frozen=True):
    """What one recorded run added.

    `rows` and `entries` are the half-open ranges of its samples and event entries; `cfg_hash` is a digest of the
    stepper's configuration; `status` says how the run ended.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=1.0, tag="first")
    >>> segment = sim.results().segments[0]
    >>> segment.name, segment.t_end, segment.status, segment.rows
    ('first', 1.0, 'DONE', (0, 101))
    """

    name: str
    t_start: float
    t_end: float
    step_start: int
    step_end: int
    resume: bool
    cfg_hash: str
    status: str
    rows: tuple[int, int]
    entries: tuple[int, int]


class EventLog(Struct, frozen=True, eq=False):
    """Entries of all events in order of time: `t`, `step`, `event` (index into `names`), `values` by column.

    `columns[e]` are the labels logged by event `e`; `tags[e]` its tags.
    """

    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    t: Array
    step: Array
    event: Array
    values: Array


@unchanging("what was recorded does not change; take a copy of an array, as in results['x'].copy()")
class Results(Struct, frozen=True, eq=False):
    """Samples of all segments.

    `t` has shape (samples,), `step` (samples,) counts completed steps, `data` (samples, columns) holds the recorded
    quantities named by `columns`. `at_stop` marks samples that stand only because a run stopped there, between two
    points of the recording.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=1.0)
    >>> raw = sim.raw_results()
    >>> raw.columns, raw.data.shape
    (('x', 'y'), (101, 2))
    """

    columns: tuple[str, ...]
    t: Array
    step: Array
    at_stop: Array
    data: Array
    segments: tuple[Segment, ...]
    log: EventLog
    model_name: str = ""
    time_name: str = "t"

    def __post_init__(self) -> None:
        for array in (self.t, self.step, self.at_stop, self.data, self.log.t, self.log.step, self.log.event):
            array.flags.writeable = False
        self.log.values.flags.writeable = False

    def __repr__(self) -> str:
        shown = ", ".join(self.columns[:8]) + (", …" if len(self.columns) > 8 else "")
        return f"<raw results of {self.model_name!r}: {len(self.t)} samples of {shown or 'nothing'}>"


def event_log(model: Model, entries: Sequence[Array]) -> EventLog:
    """Log entries (time, step, event, values) under the names of a model."""
    return EventLog(
        tuple(e.name for e in model.events),
        tuple(tuple(label for label, _ in e.log) for e in model.events),
        tuple(e.tags for e in model.events),
        *entries,
    )
