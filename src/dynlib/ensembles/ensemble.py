"""`ensemble`: many members of one model at once, and what came of each."""

from __future__ import annotations

import math as mathematics
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from msgspec import Struct

from dynlib.arguments import checked, is_number, said
from dynlib.compile.lanes import LANES, LaneKernel, lane_kernel, why_not
from dynlib.compile.layout import TIME_TOLERANCE
from dynlib.ensembles.crew import Crew, Member
from dynlib.ensembles.result import EnsembleInterrupt, EnsembleResult, Statistics
from dynlib.errors import ConfigError, UnknownNameError
from dynlib.runtime.driver import Pace, Task
from dynlib.runtime.progress import Passing, Progress
from dynlib.runtime.state import Array
from dynlib.session.accumulator import columns_named
from dynlib.session.full_model import FullModel, build_for
from dynlib.session.run_plan import FAR, checked_seed
from dynlib.session.values import whole
from dynlib.spec.locations import ModelLike
from dynlib.spec.model import Model
from dynlib.status import Status

if TYPE_CHECKING:
    pass

Bins = tuple[float, float, int]
"""Lower end, upper end and number of the bins of a histogram."""
MAX_BYTES = 2**36
_STATISTICS = 4
_FIRST_STEPS = 64
"""Of a block of members in the first call of a kernel: a small part of a second, whatever the model."""
_MADE: WeakKeyDictionary[FullModel, dict[bool, tuple[LaneKernel, Pace]]] = WeakKeyDictionary()
"""Kernels by model, with and without statistics, and how many steps they take in a moment."""


@checked
def ensemble(
    model: ModelLike | FullModel,
    *,
    params: Mapping[str, Any] | None = None,
    ic: Mapping[str, Any] | None = None,
    T: float | None = None,
    N: int | None = None,
    t0: float | None = None,
    dt: float | None = None,
    stepper: str | None = None,
    transient: float = 0.0,
    statistics: bool = False,
    histograms: Mapping[str, Bins] | None = None,
    record_interval: int | None = None,
    record_dt: float | None = None,
    record_vars: Sequence[str] | None = None,
    max_steps: int | None = None,
    seed: int | None = None,
    threads: int | None = None,
    jit: bool = True,
    math: str = "strict",
    progress: bool | Progress = False,
    **options: Any,
) -> EnsembleResult:
    """Run many members of a model to the absolute time `T`, or for `N` steps.

    `params` and `ic` give parameters and initial states by name, as numbers or arrays; all are broadcast to the shape
    of the ensemble, and what is not given is the model's own. Each member goes through the steps of a single run with
    the same stepper and options. Only final states are kept, unless more is asked for: `statistics` (mean, variance,
    extrema), `histograms` by state as (low, high, bins), or samples of `record_vars`: at every `record_interval`-th
    step, or every `record_dt` in time, for which members run one by one. All three are of what comes after the
    `transient`, a span of time; `N` counts the steps after it.

    Explicit Runge–Kutta methods and maps run in lanes of vector instructions, others one by one (`result.lanes`), all
    on `threads` cores (by default on every one). The result does not depend, in any bit, on the number of threads or on
    the company a member is in. With `math="strict"` a fixed-step member has the bits of `Sim.run`, as long as the model
    uses no functions such as `exp`, which lanes compute by themselves (`docs/ensembles.md` has their errors).

    >>> import dynlib, numpy as np
    >>> found = dynlib.ensemble("builtin://map/logistic", params={"r": [2.0, 3.2]}, ic={"x": 0.3}, N=1000, jit=False)
    >>> found["x"].round(4).tolist()
    [0.5, 0.7995]

    `progress=True` shows the members done, their rate and the time that is left; a function is called with the
    fraction done and NaN. Ctrl-C raises `EnsembleInterrupt`, a KeyboardInterrupt whose `result` has what came of the
    members until then. Raises `ConfigError` and `UnknownNameError` as `build` and `Sim.run` do, and for what does not
    run in lanes.
    """
    if isinstance(model, FullModel):
        for name, value in {"stepper": stepper, "dt": dt, **options}.items():
            if value is not None:
                raise ConfigError(f"{name} was chosen when this model was built; give it to dynlib.build(…)")
        full = model
    else:
        full = build_for("ensemble()", model, stepper=stepper, dt=dt, jit=jit, math=math, **options)
    request = _Request(full, params, ic, T, N, t0, transient, max_steps, seed)
    reason = why_not(full.model, full.stepper)
    if record_interval is not None and full.stepper.adaptive:
        raise ConfigError("record_interval samples steps, which are each member's own under step-size control; "
                          "give record_dt, or choose a stepper with a fixed step, such as rk4")  # fmt: skip
    if record_dt is not None:
        request.check_grid(record_dt, record_interval)
        reason = reason or "samples between steps are those of single runs"
    if histograms and full.stepper.adaptive:
        raise ConfigError("histograms count equal steps; choose a stepper with a fixed step, such as rk4")
    if reason is not None and (statistics or histograms):
        raise ConfigError(
            f"statistics and histograms of an ensemble are made in lanes, but {reason}; "
            "choose an explicit Runge–Kutta method without record_dt, or compute them from samples (record_dt)"
        )
    crew = Crew((os.cpu_count() or 1) if threads is None else whole("threads", threads), progress)
    if reason is not None:
        found = _one_by_one(request, crew, reason, record_interval, record_dt, record_vars)
    else:
        wanted = _Wanted.of(full.model, statistics, histograms, record_interval, record_vars)
        found = _in_lanes(request, wanted, crew)
    if crew.signal == signal.SIGTERM:
        raise SystemExit(128 + signal.SIGTERM)
    if crew.signal:
        raise EnsembleInterrupt(found)
    return found


class _Request:
    """The members: their states and parameters as matrices, one column each, and how far they go."""

    def __init__(
        self,
        full: FullModel,
        params: Mapping[str, Any] | None,
        ic: Mapping[str, Any] | None,
        T: float | None,
        N: int | None,
        t0: float | None,
        transient: float,
        max_steps: int | None,
        seed: int | None,
    ) -> None:
        self.full = full
        mother = full.initial_state()
        self.params = _arrays("parameter", params, full.model.params)
        self.ic = _arrays("state", ic, full.model.states)
        given = [*self.params.values(), *self.ic.values()]
        try:
            self.shape = np.broadcast_shapes(*(a.shape for a in given))
        except ValueError:
            shapes = {name: a.shape for name, a in {**self.params, **self.ic}.items()}
            raise ConfigError(f"these shapes do not fit together: {shapes}; each must broadcast to all") from None
        self.members = mathematics.prod(self.shape)
        if self.members == 0:
            raise ConfigError("an ensemble has at least one member; an array of values is empty")
        self.y = self._matrix(mother["y"], self.ic, [e for q in full.model.states for e in q.element_names])
        self.p = self._matrix(mother["params"], self.params, [e for q in full.model.params for e in q.element_names])
        self.t0 = mother.t if t0 is None else t0
        if not (is_number(self.t0) and mathematics.isfinite(self.t0)):
            raise ConfigError(f"t0 must be finite, not {t0!r}")
        if (T is None) == (N is None):
            raise ConfigError("give T (absolute end time) or N (number of steps), one of them")
        if T is not None and not (is_number(T) and self.t0 < T < mathematics.inf):
            raise ConfigError(f"T must be a finite time after the start at t = {self.t0:g}, not {T!r}")
        if not (is_number(transient) and 0.0 <= transient < mathematics.inf):
            raise ConfigError(f"transient must be a time span, not {transient!r}")
        start = self.t0 + float(transient)
        if T is not None and start + TIME_TOLERANCE * abs(start) >= T:
            raise ConfigError(
                f"T = {T:g} is not ahead of the end of the transient at t = {start:g}: T is an absolute time; "
                "choose a later T, or a shorter transient"
            )
        self.horizon = mathematics.inf if T is None else float(T)
        self.n_limit = whole("N", N) if N is not None else FAR
        limit = full.model.sim.max_steps if max_steps is None else max_steps
        if limit is not None:
            limit = whole("max_steps", limit)
            self.n_limit = limit if N is None else self.n_limit
        self.counted = self.t0 + float(transient)
        self.begin = 0  # steps of the transient
        if transient > 0.0 and not full.stepper.adaptive:
            self.begin = mathematics.ceil(transient / full.dt * (1 - TIME_TOLERANCE))
        if N is not None and transient > 0.0:
            if full.stepper.adaptive:
                raise ConfigError("N counts the steps after a transient, which differ from member to member under "
                                  "step-size control; give T instead")  # fmt: skip
            self.n_limit += self.begin
        self.seed = None if seed is None else checked_seed(full, seed)

    def _matrix(self, own: Array, given: dict[str, Array], names: list[str]) -> Array:
        """Rows are components; the last members are repeated up to a whole number of blocks."""
        columns = -(-self.members // LANES) * LANES
        found = np.repeat(own.astype(np.float64)[:, None], columns, axis=1)
        for name, values in given.items():
            row = found[names.index(name)]
            row[: self.members] = np.broadcast_to(values, self.shape).ravel()
            row[self.members :] = row[self.members - 1]
        return found

    def check_grid(self, dt: float, interval: int | None) -> None:
        """Whether samples can be taken every `dt`. Raises `ConfigError`."""
        if interval is not None:
            raise ConfigError("give record_interval (steps) or record_dt (time), not both")
        if not 0.0 < dt < mathematics.inf:
            raise ConfigError(f"record_dt must be a positive time, not {dt!r}")
        if self.horizon == mathematics.inf:
            raise ConfigError("record_dt needs T, the time at which all members end; N counts steps")

    def way(self, times: Array, steps: Array) -> Array:
        """How much of its way each member has gone."""
        if self.horizon < mathematics.inf:
            return np.asarray((times - self.t0) / (self.horizon - self.t0))
        return np.asarray(steps / self.n_limit)

    def shaped(self, row: Array) -> Array:
        """Values of the members, in the shape of the ensemble; no copy where none is needed."""
        return row[..., : self.members].reshape((*row.shape[:-1], *self.shape))


def _arrays(kind: str, given: Mapping[str, Any] | None, quantities: Iterable[Any]) -> dict[str, Array]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"values of {kind}s are given by name, such as {{'x': [1, 2, 3]}}, not {given!r}")
    known = [e for q in quantities for e in q.element_names]
    found = {}
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError(kind, name, known)
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"{kind} {name!r} must be a number or an array of numbers, not {said(value)}") from None
        if not np.isfinite(array).all():
            raise ConfigError(f"{kind} {name!r} must be finite; it holds {array[~np.isfinite(array)][0]!r}")
        found[name] = array
    return found


class _Wanted(Struct, frozen=True):
    """What is kept beside the final states."""

    statistics: bool
    bins: dict[str, Bins]
    interval: int
    columns: tuple[str, ...]

    @classmethod
    def of(
        cls,
        model: Model,
        statistics: bool,
        histograms: Mapping[str, Bins] | None,
        interval: int | None,
        columns: Sequence[str] | None,
    ) -> _Wanted:
        names = [q.name for q in model.states]
        for name, bins in (histograms or {}).items():
            if name not in names:
                raise UnknownNameError("state", name, names)
            good = isinstance(bins, tuple) and len(bins) == 3 and is_number(bins[0]) and is_number(bins[1])
            if not good or not bins[0] < bins[1] or isinstance(bins[2], bool) or not isinstance(bins[2], int):
                raise ConfigError(f"the histogram of {name!r} is given as (low, high, bins), not {bins!r}")
            if not 1 <= bins[2] <= 2**20:
                raise ConfigError(f"a histogram has 1 to {2**20} bins, not {bins[2]}")
        chosen = tuple(names if columns is None else columns)
        for name in chosen:
            if name not in names:
                raise UnknownNameError("state to record", name, names)
        return cls(bool(statistics), dict(histograms or {}),
                   0 if interval is None else whole("record_interval", interval), chosen)  # fmt: skip


def _room(what: str, *sizes: int) -> None:
    if 8 * mathematics.prod(sizes) > MAX_BYTES:
        raise ConfigError(f"{what} would take {8e-9 * mathematics.prod(sizes):.3g} GB; ask for less")


def _lines(*shape: int) -> Array:
    """An array that begins with a cache line, as `stream` likes it."""
    size = mathematics.prod(shape)
    room = np.empty(size + 7)
    skipped = -room.ctypes.data % 64 // 8
    return room[skipped : skipped + size].reshape(shape)


def _in_lanes(request: _Request, wanted: _Wanted, crew: Crew) -> EnsembleResult:
    full, model = request.full, request.full.model
    made = _MADE.setdefault(full, {})
    if wanted.statistics not in made:
        made[wanted.statistics] = (
            lane_kernel(model, full.stepper, statistics=wanted.statistics, jit=full.kernel.jit, math=full.kernel.math),
            Pace(_FIRST_STEPS if full.kernel.jit else 1),
        )
    kernel, pace = made[wanted.statistics]
    n, width = request.y.shape
    names = [q.name for q in model.states]
    sums = np.zeros((_STATISTICS * n + 1 if wanted.statistics else 0, width))
    sums[2:-1:4], sums[3:-1:4] = mathematics.inf, -mathematics.inf
    hits = np.zeros((len(model.events), width), np.int64)
    status, steps, times = np.zeros(width, np.int64), np.zeros(width, np.int64), np.full(width, float(request.t0))
    out = request.y.copy()
    rows = _rows(request, full, wanted)
    _room("the recording", rows, len(wanted.columns), width)
    recorded = _lines(rows, len(wanted.columns), width)
    recorded[-1:] = np.nan  # the last row is written only if rounding lets the last step be one
    chosen = np.array([names.index(name) for name in wanted.columns], np.int64)
    most = max((bins for _, _, bins in wanted.bins.values()), default=0)
    _room("the histograms", len(wanted.bins), width, most)
    counted = np.zeros((len(wanted.bins), width, most), np.int64)
    table = np.array(
        [[names.index(k), low, bins / (high - low), bins] for k, (low, high, bins) in wanted.bins.items()]
    ).reshape(-1, 4)  # fmt: skip
    config = np.array(full.config, np.float64)
    step = full.dt

    def part(first: int, last: int) -> None:
        cursor, work = np.array([first, 0, 0], np.int64), np.zeros((kernel.rows, LANES))
        again = True
        with nullcontext() if full.kernel.jit else np.errstate(all="ignore"):
            while again and not crew.stopping:
                began, budget = time.perf_counter(), pace.steps
                again = kernel.module.kernel(
                    request.y, request.p, out, status, steps, times, hits, sums, recorded, chosen, counted, table,
                    last, float(request.t0), float(step), request.horizon, request.n_limit, request.counted,
                    request.begin, wanted.interval, config, cursor, work, budget,
                ) == Status.PAUSED  # fmt: skip
                pace.learn(time.perf_counter() - began, again and budget == pace.steps)
                crew.passed()
        reached[first] = int(cursor[0]), int(cursor[2])

    pieces = _pieces(request, kernel, crew.workers)
    reached: dict[int, tuple[int, int]] = {}  # by pieces: the block that is next, and its row
    crew.work(part, pieces, request.members, request.way, status, times, steps)
    if crew.signal and wanted.interval:
        for first, last in pieces:
            block, row = reached.get(first, (first, 0))
            recorded[row:, :, block * LANES : min(last, block + 1) * LANES] = np.nan
            recorded[:, :, (block + 1) * LANES : last * LANES] = np.nan
    if request.n_limit < FAR and request.horizon == mathematics.inf:
        status[status == Status.MAX_STEPS] = Status.DONE
    shaped = request.shaped
    found = None
    if wanted.statistics:
        weight = sums[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = {name: shaped(sums[4 * k + 1] / weight) for k, name in enumerate(names)}
        found = Statistics(
            *({name: shaped(sums[4 * k + j]) for k, name in enumerate(names)} if j != 1 else spread for j in range(4))
        )
    return EnsembleResult(
        request.shape,
        {name: shaped(out[k]) for k, name in enumerate(names)},
        shaped(times),
        shaped(steps),
        shaped(status),
        {e.name: shaped(hits[k]) for k, e in enumerate(model.events)},
        request.params,
        request.ic,
        found,
        {name: np.moveaxis(counted[k, : request.members, :bins], -1, 0).reshape((bins, *request.shape)).copy()
         for k, (name, (_, _, bins)) in enumerate(wanted.bins.items())},
        {name: np.linspace(low, high, bins + 1) for name, (low, high, bins) in wanted.bins.items()},
        {name: request.shaped(recorded[:, k]) for k, name in enumerate(wanted.columns)} if wanted.interval else {},
        request.t0 + step * (request.begin + wanted.interval * np.arange(rows)),
        True,
        None,
    )  # fmt: skip


def _rows(request: _Request, full: FullModel, wanted: _Wanted) -> int:
    """How many samples a run with a fixed step makes, the first one included."""
    if wanted.interval == 0:
        return 0
    ahead = request.n_limit
    if request.horizon < mathematics.inf:
        ahead = min(ahead, int((request.horizon - request.t0) / full.dt * (1 + 1e-12) + 1e-9))
    return max(0, (ahead - request.begin) // wanted.interval + 1)


def _pieces(request: _Request, kernel: LaneKernel, workers: int) -> list[tuple[int, int]]:
    """Ranges of blocks (fixed step) or members: enough of them that every thread stays busy and Ctrl-C is heard."""
    blocks = request.y.shape[1] // LANES
    size = max(1, min(16, blocks // (16 * workers)))
    if kernel.adaptive:
        size = max(size, min(8, -(-blocks // workers)))
    ranges = [(k, min(blocks, k + size)) for k in range(0, blocks, size)]
    if not kernel.adaptive:
        return ranges
    return [(a * LANES, min(b * LANES, request.members)) for a, b in ranges]


def _one_by_one(
    request: _Request, crew: Crew, reason: str, interval: int | None, dt: float | None, wanted: Sequence[str] | None
) -> EnsembleResult:
    """Members under the kernel of single runs, with the steps and the samples that `Sim.run` would have."""
    full, model = request.full, request.full.model
    mother = full.initial_state()
    names = [e for q in model.states for e in q.element_names]
    out = request.y[:, : request.members].copy()
    times, steps = np.full(request.members, float(request.t0)), np.zeros(request.members, np.int64)
    status = np.zeros(request.members, np.int64)
    limit_status = Status.DONE if request.horizon == mathematics.inf else Status.MAX_STEPS
    every = 0 if interval is None else whole("record_interval", interval)
    columns = columns_named(full, wanted) if every or dt is not None else ()
    recording = bool(columns)
    task = Task(request.horizon, request.n_limit, limit_status, recording=recording, start_sample=recording)
    grid = full.dt * every if dt is None else dt
    rows = 0
    if columns:
        ahead = min(request.horizon, request.t0 + full.dt * request.n_limit) if every else request.horizon
        rows = int((ahead - request.counted) / grid * (1 + 1e-12) + 1e-9) + 1
        _room("samples", rows, len(columns), request.members)
    samples = np.full((rows, len(columns), request.members), np.nan)

    def part(first: int, last: int) -> None:
        for k in range(first, last):
            if crew.stopping:
                return

            def passing(at: Passing, k: int = k) -> None:
                times[k], steps[k] = at.t, at.steps
                crew.passed()

            state = mother.restarted(y=request.y[:, k], params=request.p[:, k], t=request.t0, new_past=True)
            if model.random:
                state = state.edited({"seed": request.seed or 0, "stream": k})
            member = Member(crew, samples[:, :, k])
            after = state
            if columns and request.counted > request.t0:
                after, _ = full.advance(after, Task(request.counted, FAR, limit_status), watch=passing, keeper=member)
            if after.status is Status.RUNNING or after.status.ok:
                if columns:
                    after = after.recorded(every, 0.0 if dt is None else dt)
                after, rest = full.advance(after, task, columns, watch=passing, keeper=member)
                member.keep(rest, None)
            out[:, k], times[k], steps[k], status[k] = after["y"], after.t, after.step, after.status

    size = max(1, request.members // (16 * crew.workers))
    pieces = [(0, 1), *((k, min(request.members, k + size)) for k in range(1, request.members, size))]
    crew.work(part, pieces, request.members, request.way, status, times, steps)
    shaped = request.shaped
    return EnsembleResult(
        request.shape, {name: shaped(out[k]) for k, name in enumerate(names)}, shaped(times), shaped(steps),
        shaped(status), {}, request.params, request.ic, None, {}, {},
        {name: shaped(samples[:, k]) for k, name in enumerate(columns)},
        request.counted + grid * np.arange(rows), False, reason,
    )  # fmt: skip
