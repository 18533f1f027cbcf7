"""What a run records: blocks of samples and of log entries, and how they become one."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from msgspec import Struct, field

from dynlib.runtime.state import Array


class Recording(Struct):
    """Samples and event log of one run, as blocks in their order; `width` columns, `log_width` logged values."""

    width: int
    log_width: int
    dtype: np.dtype[np.floating]
    samples: list[tuple[Array, ...]] = field(default_factory=list)
    events: list[tuple[Array, ...]] = field(default_factory=list)

    def sample_block(self, rows: int) -> tuple[Array, ...]:
        """Room for samples: time, step, kind (1 where a run stopped off the recording's own points), values."""
        return (
            np.empty(rows),
            np.empty(rows, np.int64),
            np.empty(rows, np.uint8),
            np.empty((rows, self.width), self.dtype),
        )

    def event_block(self, rows: int) -> tuple[Array, ...]:
        """Room for event entries: time, step, event, logged values."""
        values = np.full((rows, self.log_width), np.nan, self.dtype)
        return np.empty(rows), np.empty(rows, np.int64), np.empty(rows, np.int32), values


class _Beginning(tuple[Array, ...]):
    """A block that is the beginning of larger arrays: what comes later finds its place behind it, uncopied before.

    `room` are those arrays, and `taken` counts their rows in use, in a list that all beginnings of them share: only the
    longest one may grow. Pages of the room that nothing was written to take no memory.
    """

    room: tuple[Array, ...]
    taken: list[int]


def beginning(room: tuple[Array, ...], rows: int, taken: list[int] | None = None) -> tuple[Array, ...]:
    """The first rows of arrays whose further rows are free for what comes later."""
    block = _Beginning(part[:rows] for part in room)
    block.room, block.taken = room, [rows] if taken is None else taken
    return block


def join(blocks: list[tuple[Array, ...]], empty: tuple[Array, ...]) -> tuple[Array, ...]:
    """Blocks of rows as one, which is then the only one in the list; `empty` gives the types when there are none.

    Where there is room behind the first block, the others are put there. Else all are copied into new arrays, and each
    array of a block is given up once it is copied, so that memory holds everything once, and one array twice. A signal
    may come in between: the list holds everything then, in one block or several.
    """
    if not blocks:
        return empty
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0]
    sizes = [len(block[0]) for block in blocks]
    ends = list(accumulate(sizes))
    if isinstance(first, _Beginning) and first.taken[0] == sizes[0] and ends[-1] <= len(first.room[0]):
        room, taken = first.room, first.taken
        taken[0] = ends[-1]
    else:
        room = tuple(np.empty((ends[-1] + ends[-1] // 2, *part.shape[1:]), part.dtype) for part in first)
        taken = [ends[-1]]
    columns = [list(column) for column in zip(*blocks, strict=True)]
    del blocks[:], first
    try:
        for column, whole in zip(columns, room, strict=True):
            for k, end in enumerate(ends):
                place = whole[end - sizes[k] : end]
                if not np.may_share_memory(column[k], place):  # the first block, where it stands already
                    place[...] = column[k]
                column[k] = place
    finally:
        blocks[:] = list(zip(*columns, strict=True))
    blocks[:] = [beginning(room, ends[-1], taken)]
    return blocks[0]
