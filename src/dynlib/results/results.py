"""Immutable results: one contiguous time series over all segments, and the event log beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dynlib.spec.model import Model

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Segment:
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


@dataclass(frozen=True, eq=False)
class EventLog:
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


@dataclass(frozen=True, eq=False)
class Results:
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


def event_log(model: Model, entries: Sequence[Array]) -> EventLog:
    """Log entries (time, step, event, values) under the names of a model."""
    return EventLog(
        tuple(e.name for e in model.events),
        tuple(tuple(label for label, _ in e.log) for e in model.events),
        tuple(e.tags for e in model.events),
        *entries,
    )


class _Grown(tuple[Array, ...]):
    """A block that is the beginning of larger arrays: what comes later finds its place behind it, uncopied before.

    `room` are those arrays, and `taken` counts their rows in use, in a list that all beginnings of them share: only the
    longest one may grow. Pages of the room that nothing was written to take no memory.
    """

    room: tuple[Array, ...]
    taken: list[int]


def _grown(room: tuple[Array, ...], taken: list[int], rows: int) -> _Grown:
    block = _Grown(part[:rows] for part in room)
    block.room, block.taken = room, taken
    return block


def join(blocks: list[tuple[Array, ...]], empty: tuple[Array, ...]) -> tuple[Array, ...]:
    """Blocks of rows as one, which is then the only one in the list; `empty` gives the types when there are none.

    Each block is given up once it is copied, so that memory holds everything once and one block twice. Blocks that
    come after an earlier joining are put behind what was joined then.
    """
    if not blocks:
        return empty
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0]
    rows = sum(len(block[0]) for block in blocks)
    if isinstance(first, _Grown) and first.taken[0] == len(first[0]) and rows <= len(first.room[0]):
        room, taken, done = first.room, first.taken, len(first[0])
    else:
        room = tuple(np.empty((rows + rows // 2, *part.shape[1:]), part.dtype) for part in first)
        taken, done = [0], 0
    later = blocks[:0:-1] if done else blocks[::-1]
    del blocks[:], first
    try:
        while later:
            end = done + len(later[-1][0])
            for part, whole in zip(later[-1], room, strict=True):
                whole[done:end] = part
            taken[0] = end
            del later[-1], part
            done = end
    finally:  # a signal may come in between: what is not copied is still there
        blocks[:] = [_grown(room, taken, rows - sum(len(block[0]) for block in later)), *reversed(later)]
    return blocks[0]
