"""The driver: runs a kernel in chunks, gives it room to record, listens for Ctrl-C and tells of progress in between."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from types import FrameType
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from dynlib.arguments import said
from dynlib.compile.kernel import Kernel
from dynlib.compile.layout import TIME_TOLERANCE
from dynlib.errors import ConfigError
from dynlib.runtime.progress import Passing, Watch
from dynlib.runtime.recording import Recording, beginning
from dynlib.runtime.state import Array, SessionState, next_grid_index
from dynlib.runtime.trace import Trace
from dynlib.status import Status

_CHUNK_SECONDS = 0.05
_SMALL = 16  # states; the first chunk of a larger system, whose steps may take long, is shorter
_BLOCK_BYTES = 32 * 2**20
_FORESEEN_BYTES = 2**30
_SPARED_BYTES = 2**26
"""From here on there is as much room again behind what is foreseen, for runs that follow: pages that nothing was
written to take no memory. Below, the allocator gives out memory again that was in use before, which is faster."""


class Buffers(Struct, frozen=True):
    """Sizes of the working buffers; they change memory and speed, never a result.

    >>> import dynlib
    >>> sim = dynlib.Sim("builtin://ode/van_der_pol", buffers=dynlib.Buffers(rows=64))
    >>> sim.run(T=10.0).ok
    True
    """

    rows: int = 4096
    logs: int = 1024
    steps: int = 2000
    foresee: bool = True  # size the first buffer by the number of samples to come, where that is known

    def __post_init__(self) -> None:
        for name, size in (("rows", self.rows), ("logs", self.logs), ("steps", self.steps)):
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size < 2**53:
                raise ConfigError(f"{name} of Buffers must be a whole number, at least 1, not {said(size)}")
        if not isinstance(self.foresee, bool):
            raise ConfigError(f"foresee of Buffers must be True or False, not {said(self.foresee)}")


class Task(Struct, frozen=True):
    """What one call of the driver is to do."""

    horizon: float
    n_limit: int
    limit_status: Status
    recording: bool = False
    start_sample: bool = False
    last_t: float = math.nan
    rows_expected: int = 0


class Keeper(Protocol):
    """Who keeps what a run produces while it goes on."""

    def keep(self, recording: Recording, pause: Callable[[], SessionState] | None) -> bool:
        """Take what was recorded out of `recording`, whose arrays are used again afterwards.

        `pause` gives the state, None where a buffer became full inside a step. Returns whether the run may go on.
        """

    def stopped_by(self, number: int) -> None:
        """The run ends because of this signal."""


class Pace:
    """How many steps one call of a kernel takes: so many that it lasts about as long as a chunk, never much longer."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def learn(self, elapsed: float, whole: bool) -> None:
        """A call took so many seconds; `whole` says that it took all of its steps."""
        if whole and elapsed < _CHUNK_SECONDS / 2:
            self.steps = min(2 * self.steps, 2**40)
        elif elapsed > 2 * _CHUNK_SECONDS:
            self.steps = max(int(self.steps * _CHUNK_SECONDS / elapsed), 1)


class Interruption:
    """Turns signals into a flag that is read between chunks, so that a step is never torn.

    A second Ctrl-C stops at once. A handler that others have installed for another signal is left alone, and so is a
    signal that is ignored, as Ctrl-C is by processes in the background.
    """

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.number = 0
        self._numbers = numbers if threading.current_thread() is threading.main_thread() else ()
        self._before: list[tuple[int, Any]] = []

    @property
    def raised(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt("stopped at once; what this run computed is given up")
        self.number = self.number or number

    def __enter__(self) -> Interruption:
        for number in self._numbers:
            handler = signal.getsignal(number)
            if handler is signal.SIG_DFL or (number == signal.SIGINT and callable(handler)):
                self._before.append((number, handler))
                signal.signal(number, self._note)
        return self

    def __exit__(self, *problem: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)


def drive(
    kernel: Kernel,
    state: SessionState,
    task: Task,
    select: Array,
    recording: Recording,
    buffers: Buffers,
    watch: Watch | None = None,
    trace: Trace | None = None,
    keeper: Keeper | None = None,
) -> SessionState:
    """Run until the task is done; the new state carries the status. What was recorded is added to `recording`.

    A `watch` is told of the way, a `trace` is offered the states at pauses. A `keeper` is given the recording at pauses
    and whenever a buffer is full, so that memory stays bounded; with it SIGTERM stops a run as Ctrl-C does.
    """
    times, reals, counts = state.times.copy(), state.reals.copy(), state.counts.copy()
    config = np.array(state.config, dtype=np.float64)
    cursor = np.zeros(3, np.int64)
    last = np.array([task.last_t])
    layout = kernel.layout
    n_slot, t_slot = layout["n"].start, layout["t"].start
    record_t0, record_dt = times[layout["record_t0"].start], times[layout["record_dt"].start]
    if record_dt > 0.0 and task.recording:
        # at the end of a step with a fixed size, points within rounding of it belong to it; inside a step none do
        exact = state.pending or "h" in layout
        tolerance = 0.0 if exact else TIME_TOLERANCE * abs(state.t)
        cursor[2] = next_grid_index(float(record_t0), float(record_dt), state.t, tolerance)
    row_bytes = 8 * (recording.width + 3)
    largest = max(buffers.rows, _BLOCK_BYTES // row_bytes)
    rows, n_events = 4, 1
    if task.recording:
        rows = max(4, min(buffers.rows, largest))
        if buffers.foresee and keeper is None:
            spare = task.rows_expected if task.rows_expected * row_bytes > _SPARED_BYTES else 4
            rows = max(rows, min(task.rows_expected + spare, _FORESEEN_BYTES // row_bytes))
        if recording.log_width:
            n_events = max(1, buffers.logs)
    samples, events = recording.sample_block(rows), recording.event_block(n_events)
    mode = 0 if not task.recording else 2 if task.start_sample else 1
    pace = Pace(_first_chunk(kernel, buffers))
    t_first, n_first = state.t, state.step
    to_time = math.isfinite(task.horizon)
    span = task.horizon - t_first if to_time else float(task.n_limit - n_first)
    n_limit, limit_status = task.n_limit, task.limit_status
    function = kernel.function

    def seal() -> None:
        nonlocal samples, events
        if cursor[0]:
            recording.samples.append(beginning(samples, int(cursor[0])))
        if cursor[1]:
            recording.events.append(beginning(events, int(cursor[1])))
        cursor[0] = cursor[1] = 0

    def here() -> SessionState:
        return state.moved(times.copy(), reals.copy(), counts.copy(), state.status)

    signals = (signal.SIGINT,) if keeper is None else (signal.SIGINT, signal.SIGTERM)
    may_go_on = True
    with Interruption(signals) as flag, nullcontext() if kernel.jit else np.errstate(all="ignore"):
        paused = time.perf_counter()
        while True:
            began = time.perf_counter()
            # a full buffer may leave the kernel inside a step: only a pause is a place to stop at
            overdue = began - paused > 2 * _CHUNK_SECONDS
            ahead = 1 if flag.raised or not may_go_on or overdue else pace.steps
            status = Status(
                function(
                    times, reals, counts, config, np.float64(task.horizon), n_limit, int(limit_status),
                    int(counts[n_slot]) + ahead, mode, cursor, last, select, kernel.tables, *samples, *events,
                )
            )  # fmt: skip
            mode = min(mode, 1)
            if status is Status.FULL:
                seal()
                rows = max(4, min(2 * rows, largest))
                n_events = 2 * n_events if n_events < 2**20 else n_events
                if keeper is not None:
                    may_go_on = keeper.keep(recording, None) and may_go_on
                samples, events = recording.sample_block(rows), recording.event_block(n_events)
            elif status is not Status.PAUSED:
                break
            now = time.perf_counter()
            pace.learn(now - began, status is Status.PAUSED and ahead == pace.steps)
            if status is Status.PAUSED:
                paused = now
                if keeper is not None:
                    used = cursor[1]
                    seal()
                    may_go_on = keeper.keep(recording, here) and may_go_on
                    events[3][:used] = np.nan  # the buffer is used again; what an entry does not log is NaN
                if flag.raised or not may_go_on:
                    n_limit, limit_status = int(counts[n_slot]), Status.INTERRUPTED
                if trace is not None:
                    trace.offer(here)
            if watch is not None:
                t, steps = float(times[t_slot]), int(counts[n_slot]) - n_first
                fraction = (t - t_first if to_time else steps) / span if span > 0 else math.nan
                watch(Passing(fraction, t, task.horizon, steps, here if status is Status.PAUSED else None))
    seal()
    if keeper is not None and flag.raised:
        keeper.stopped_by(flag.number)
    elif flag.raised and (status.ok or status is limit_status):  # a run at its end was asked to stop too
        status = Status.INTERRUPTED
    return state.moved(times, reals, counts, status)


def _first_chunk(kernel: Kernel, buffers: Buffers) -> int:
    """So many steps that they are over soon, whatever one takes: that is not known before."""
    n = kernel.layout["y"].size
    if not kernel.jit:
        return min(buffers.steps, 64)
    return buffers.steps if n <= _SMALL else max(1, buffers.steps * _SMALL // n**2)
