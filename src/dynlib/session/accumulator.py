"""The accumulator: everything a session has recorded since its last fresh run, and the segments it falls into."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dynlib.errors import ConfigError, UnknownNameError
from dynlib.results import Results, ResultsView, Segment
from dynlib.results.results import event_log
from dynlib.runtime.recording import Recording, join
from dynlib.runtime.state import SessionState
from dynlib.session.full_model import FullModel
from dynlib.spec.model import Model
from dynlib.status import Status

if TYPE_CHECKING:
    from dynlib.session.sample_store import SampleStore
    from dynlib.session.stored_results import StorePosition


class Accumulator:
    """Samples and log entries of one recording round, and the segments they fall into.

    They stand in memory, as blocks in their order, or in the `store` of a run directory. `columns` is the selection
    that every run of the round shares, None until a run has recorded.
    """

    def __init__(self, full: FullModel, store: SampleStore | None = None) -> None:
        self.model = full.model
        self.columns: tuple[str, ...] | None = None
        self.segments: list[Segment] = []
        self.store = store
        self.rows = self.entries = 0
        self._open: Segment | None = None
        self._blocks = full.new_recording(0)
        self._last_t = math.nan
        self._view: ResultsView | None = None

    @property
    def last_t(self) -> float:
        """Time of the last sample; NaN if there is none."""
        return self._last_t

    # -- growing -----------------------------------------------------------------------------------------------

    def open_segment(
        self, full: FullModel, columns: tuple[str, ...], tag: str, state: SessionState, resume: bool
    ) -> None:
        """A run begins to record at a state."""
        if self.columns is None:
            self.columns = columns
            self._blocks = full.new_recording(len(columns))
        self._open = Segment(
            tag, state.t, state.t, state.step, state.step, resume, configuration_hash(full, state), "",
            (self.rows, self.rows), (self.entries, self.entries),
        )  # fmt: skip

    def take(self, new: Recording) -> None:
        """Take over what a run recorded; `new` is empty afterwards and its buffers may be used again."""
        if new.samples:
            self._last_t = float(new.samples[-1][0][-1])
        self.rows += sum(len(block[0]) for block in new.samples)
        self.entries += sum(len(block[0]) for block in new.events)
        if self.store is None:
            self._blocks.samples += new.samples
            self._blocks.events += new.events
        else:
            self.store.take(new)
        new.samples, new.events = [], []
        self._view = None

    def segments_at(self, state: SessionState) -> tuple[Segment, ...]:
        """All segments, the open one among them as if it ended in this state."""
        if self._open is None:
            return tuple(self.segments)
        (rows, _), (entries, _) = self._open.rows, self._open.entries
        return *self.segments, replace(
            self._open, t_end=state.t, step_end=state.step, status=state.status.name,
            rows=(rows, self.rows), entries=(entries, self.entries),
        )  # fmt: skip

    def close_segment(self, state: SessionState) -> None:
        """The run that records has ended in a state."""
        self.segments = list(self.segments_at(state))
        self._open = None
        self._view = None

    def continue_from(self, position: StorePosition, last_t: float) -> None:
        """Stand where a run directory does."""
        self.columns, self.segments = position.columns, list(position.segments)
        self.rows, self.entries = position.rows, position.entries
        self._last_t = last_t
        self._open = None
        self._view = None

    def rewind(self, position: StorePosition, last_t: float) -> None:
        """Stand where a run began that came to nothing."""
        if self.store is not None:
            self.store.rewind(position.rows, position.entries)
        self.continue_from(position, last_t)

    @property
    def is_open(self) -> bool:
        """Whether a segment is under way."""
        return self._open is not None

    def reopen_segment(self) -> bool:
        """Whether the last segment was interrupted: it is then under way again."""
        self._view = None
        if not self.segments or self.segments[-1].status != Status.INTERRUPTED.name:
            return False
        self._open = self.segments.pop()
        return True

    def move_to(self, store: SampleStore) -> None:
        """Hand everything in memory to a store on disk."""
        self.columns = store.columns
        store.take(self._blocks)
        self._blocks.samples, self._blocks.events = [], []
        self.store = store

    # -- names -------------------------------------------------------------------------------------------------

    def new_name(self, tag: str | None, resume: bool) -> str:
        """The name of the segment that a run will add: its tag, or a number. Raises `ConfigError`."""
        names = [s.name for s in self.segments] if resume else []
        if tag is None:
            number = len(self.segments) if resume else 0
            while f"run#{number}" in names:
                number += 1
            return f"run#{number}"
        if not isinstance(tag, str) or not tag:
            raise ConfigError(f"tag must be a non-empty text, not {tag!r}")
        if tag in names:
            raise ConfigError(f"a segment named {tag!r} exists already; choose another tag")
        return tag

    def rename(self, which: str | int, name: str) -> None:
        """Rename a segment, given by name or position. Raises `UnknownNameError` and `ConfigError`."""
        if self.store is not None:
            raise ConfigError("segments in a run directory keep their names; name them with tag= when they are run")
        names = [s.name for s in self.segments]
        if isinstance(which, str) and which in names:
            index = names.index(which)
        elif isinstance(which, int) and -len(names) <= which < len(names):
            index = which % len(names)
        else:
            raise UnknownNameError("segment", which, names)
        if not isinstance(name, str) or not name:
            raise ConfigError(f"the name of a segment must be a non-empty text, not {name!r}")
        if name in names and names[index] != name:
            raise ConfigError(f"a segment named {name!r} exists already")
        self.segments[index] = replace(self.segments[index], name=name)
        self._view = None

    def view(self) -> ResultsView:
        """Everything recorded, by name; what stands on disk is read again."""
        if self._view is None and self.store is not None:
            self._view = ResultsView(self.store.results(self.columns or (), self.rows, self.entries, self.segments))
        if self._view is None:
            self._view = view_of(self.model, self.columns or (), self._blocks, tuple(self.segments))
        return self._view


def view_of(model: Model, columns: tuple[str, ...], blocks: Recording, segments: tuple[Segment, ...]) -> ResultsView:
    """Blocks of a recording as results by name; the blocks are joined on the way."""
    samples = join(blocks.samples, blocks.sample_block(0))
    entries = join(blocks.events, blocks.event_block(0))
    log = event_log(model, entries)
    t, step, kind, data = samples
    return ResultsView(Results(columns, t, step, kind.view(bool), data, segments, log, model.name))


def configuration_hash(full: FullModel, state: SessionState) -> str:
    """Digest over stepper, step size and options."""
    options = zip(full.stepper.option_names, map(repr, state.config), strict=True)
    return _digest(state.pins.stepper, repr(state.nominal_dt), tuple(options))


@lru_cache
def _digest(stepper: str, dt: str, options: tuple[tuple[str, str], ...]) -> str:
    return hashlib.sha256(json.dumps([stepper, dt, dict(options)]).encode()).hexdigest()[:16]


def columns_named(full: FullModel, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The columns that a selection of states and aux variables stands for. Raises `UnknownNameError`, `ConfigError`."""
    every = full.columns
    if wanted is None:
        return every
    wanted = wanted if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise ConfigError(f"record_vars must be a list of names, such as [{every[0]!r}], not {wanted!r}")
    model = full.model
    arrays = {q.name: q.element_names for q in model.states if q.size is not None}
    single, chosen = set(every), dict[str, None]()
    for name in wanted:
        if name not in arrays and name not in single:
            known = [*(q.name for q in model.states), *(a.name for a in model.aux)]
            raise UnknownNameError("variable to record", name, known)
        chosen.update(dict.fromkeys(arrays.get(name, (name,))))
    if not chosen:
        raise ConfigError("record_vars is empty; use record=False to record nothing")
    return tuple(chosen)
