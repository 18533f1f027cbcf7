"""The journal of a run: hands samples to its directory while it goes on, and writes checkpoints when they are due."""

from __future__ import annotations

import signal
from collections.abc import Callable

from msgspec.structs import replace

from dynlib.errors import StoreError
from dynlib.runtime.recording import Recording
from dynlib.runtime.state import SessionState
from dynlib.session.accumulator import Accumulator
from dynlib.session.every import Every
from dynlib.session.full_model import FullModel
from dynlib.session.lineage import Trail, stretch_of
from dynlib.session.run_directory import RunDirectory
from dynlib.session.snapshots import Snapshot
from dynlib.session.stored_results import StorePosition
from dynlib.status import Status

NAME = "checkpoint"
"""The name of every snapshot in a run directory."""


class Journal:
    """What the driver gives a run to, so that it outlives the process. A `runtime.driver.Keeper`.

    A failure of the disk stops the run at the next pause; it is kept in `failure`, and nothing that was computed is
    lost: samples that could not be written stay in memory until they can.
    """

    def __init__(self, full: FullModel, directory: RunDirectory, accumulator: Accumulator, every: Every) -> None:
        assert accumulator.store is not None
        self.full, self.directory, self.accumulator, self.store = full, directory, accumulator, accumulator.store
        self.every = every
        self.failure: StoreError | KeyboardInterrupt | None = None
        self.terminated = False  # by SIGTERM
        self._trail: Trail | None = None
        self._from: SessionState | None = None
        self._transient_end: float | None = None

    def enter(self, trail: Trail, state: SessionState, transient_end: float | None) -> None:
        """A part of the run begins: what led to it, its state, and the end of the transient if it is one."""
        self._trail, self._from, self._transient_end = trail, state, transient_end
        self.every.done(state)

    def keep(self, recording: Recording, pause: Callable[[], SessionState] | None) -> bool:
        """Called by the driver when a buffer is full, and (with a way to the state) when it pauses.

        Returns whether the run may go on.
        """
        self.accumulator.take(recording)
        try:
            self.store.flush()
            if pause is not None:
                state = replace(pause(), status=Status.INTERRUPTED)
                if self.every.due(state):
                    self.checkpoint(state)
        except StoreError as problem:
            self.failure = problem
        return self.failure is None

    def stopped_by(self, number: int) -> None:
        """The run ends because of this signal."""
        self.terminated = number == signal.SIGTERM

    def checkpoint(self, state: SessionState) -> None:
        """Write a checkpoint of a state that the run has reached. Raises `StoreError`."""
        self._publish(state)
        self.directory.checkpoint(self._snapshot(state), self.position(state), self.full.kernel.jit)
        self.every.done(state)

    def end(self, state: SessionState) -> None:
        """Write where the run has come to an end, or a checkpoint if it was interrupted. Raises `StoreError`."""
        if state.status is Status.INTERRUPTED:
            self.checkpoint(state)
            return
        self._publish(state)
        self.directory.complete(self._snapshot(state), self.position(state), self.full.kernel.jit)

    def position(self, state: SessionState) -> StorePosition:
        """Where the samples stand."""
        a = self.accumulator
        return StorePosition(a.rows, a.entries, self._transient_end, a.columns or (), a.segments_at(state))

    def _publish(self, state: SessionState) -> None:
        self.store.publish(self.accumulator.segments_at(state))

    def _snapshot(self, state: SessionState) -> Snapshot:
        assert self._trail is not None
        assert self._from is not None
        trail = self._trail
        before = self._from
        if (state.t, state.step, state.pending, state.status) != (before.t, before.step, before.pending, before.status):
            trail = trail.then(stretch_of(before, state))
        return Snapshot(NAME, state, self.full.model, trail, observers=self.full.observers)
