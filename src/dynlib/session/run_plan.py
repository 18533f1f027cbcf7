"""What a run is to do: every argument of `Sim.run` checked and resolved against the state that it starts from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from dynlib.arguments import is_number
from dynlib.compile.layout import TIME_TOLERANCE
from dynlib.errors import ConfigError, ResumeError, UnknownNameError
from dynlib.runtime.driver import Task
from dynlib.runtime.progress import Progress
from dynlib.runtime.state import SessionState
from dynlib.session.accumulator import Accumulator, columns_named
from dynlib.session.every import DEFAULT_CHECKPOINT, Every
from dynlib.session.full_model import FullModel, checked_dt
from dynlib.session.keywords import check_keywords
from dynlib.session.values import Given, merged, whole
from dynlib.spec.model import Model
from dynlib.status import Status

FAR = 2**62


class Extent(Struct, frozen=True):
    """How far a run goes: to a time, at most up to a step count; or a number of steps after its transient."""

    horizon: float
    n_limit: int
    steps: int | None = None
    transient_end: float | None = None

    def transient_task(self) -> Task:
        """The part that is not recorded."""
        assert self.transient_end is not None
        return Task(self.transient_end, FAR if self.steps is not None else self.n_limit, Status.MAX_STEPS)

    def after_transient(self, state: SessionState) -> Extent:
        """What is left to do when the transient has ended in a state."""
        limit = self.n_limit if self.steps is None else state.step + self.steps
        return Extent(self.horizon, limit, self.steps)

    @property
    def limit_status(self) -> Status:
        """How a run ends that reaches its last step."""
        return Status.MAX_STEPS if self.steps is None else Status.DONE


class RunPlan(Struct, frozen=True):
    """A run with nothing left to decide. `recorder` is (interval, dt), or None to go on with the one that runs."""

    extent: Extent
    recording: bool
    recorder: tuple[int, float] | None
    columns: tuple[str, ...]
    tag: str
    resume: bool

    def with_recorder(self, state: SessionState) -> SessionState:
        """The state with its recorder set: where the count of steps or the grid of times begins, and its spacing."""
        return state if self.recorder is None else state.recorded(*self.recorder)

    def task(self, full: FullModel, state: SessionState, extent: Extent, last_t: float) -> Task:
        """The recorded part, from the state after the transient."""
        return Task(
            extent.horizon,
            extent.n_limit,
            extent.limit_status,
            self.recording,
            self.recording and not self.resume,
            last_t if self.resume else math.nan,
            _rows_expected(full, state, extent) if self.recording else 0,
        )


class RunArguments(Struct, frozen=True):
    """What `Sim.run` is called with; see there."""

    T: float | None = None
    N: int | None = None
    t0: float | None = None
    dt: float | None = None
    ic: Given | None = None
    params: Given | None = None
    seed: int | None = None
    record: bool | None = None
    record_interval: int | None = None
    record_dt: float | None = None
    record_vars: Sequence[str] | None = None
    transient: float = 0.0
    resume: bool = False
    tag: str | None = None
    max_steps: int | None = None
    progress: bool | Progress = False
    store: str | os.PathLike[str] | None = None
    checkpoint: str = DEFAULT_CHECKPOINT
    options: Mapping[str, float] = field(default_factory=dict)

    def check(self, accumulator: Accumulator) -> None:
        """Refuse what no run takes, and what a resumed run does not. Raises `ConfigError`, `ResumeError`."""
        if self.record is not None and not isinstance(self.record, bool | np.bool_):
            raise ConfigError(f"record must be True or False, not {self.record!r}")
        if not isinstance(self.resume, bool):
            raise ConfigError(f"resume must be True or False, not {self.resume!r}")
        if not isinstance(self.progress, bool) and not callable(self.progress):
            raise ConfigError(f"progress must be True, False or a function of (fraction, t), not {self.progress!r}")
        if not (is_number(self.transient) and 0.0 <= self.transient < math.inf):
            raise ConfigError(f"transient must be a span of time, 0 or longer, not {self.transient!r}")
        if self.store is None and self.checkpoint is not DEFAULT_CHECKPOINT:
            Every.parse(self.checkpoint)
        if not self.resume:
            return
        values = {"ic": self.ic, "params": self.params, "t0": self.t0, "dt": self.dt, "seed": self.seed}
        given = [name for name, value in values.items() if value is not None]
        given += ["transient"] if self.transient else []
        given += self.options
        if self.record_vars is not None and accumulator.columns is not None:
            given.append("record_vars")
        if given:
            raise ResumeError(
                f"{', '.join(given)} cannot be given with resume=True: a resumed run continues exactly. "
                "Use assign() to change values, or run() without resume"
            )

    @property
    def moves_the_start(self) -> bool:
        """Whether the run begins a trajectory of its own instead of that of the mark."""
        return not (self.t0 is None and self.dt is None and self.ic is None and self.params is None)

    def start(self, full: FullModel, mark: SessionState) -> SessionState:
        """The mark with what this run replaces of it. Raises `ConfigError`, `UnknownNameError`."""
        state = mark
        if self.options:
            check_keywords("run()", self.options, full.model, full.stepper)
            now = dict(zip(full.stepper.option_names, state.config, strict=True))
            state = replace(state, config=full.stepper.configure(**{**now, **self.options}))
        if self.t0 is not None and not (is_number(self.t0) and math.isfinite(self.t0)):
            raise ConfigError(f"t0 must be a finite number, not {self.t0!r}")
        self._in_their_places(full.model)
        if self.moves_the_start:
            state = state.restarted(
                y=None if self.ic is None else merged(full.model.states, state["y"], self.ic, "state"),
                params=None
                if self.params is None
                else merged(full.model.params, state["params"], self.params, "parameter"),
                t=self.t0,
                dt=None if self.dt is None else checked_dt(self.dt),
                new_past=self.ic is not None,
            )
        if self.seed is not None:
            state = state.edited({"seed": checked_seed(full, self.seed)})
        return state

    def _in_their_places(self, model: Model) -> None:
        """Refuse parameters in `ic`, and states in `params`. Raises `UnknownNameError`."""
        for kind, given, others, hint in (
            ("state", self.ic, model.params, "it is a parameter: give it in params"),
            ("parameter", self.params, model.states, "it is a state: give it in ic"),
        ):
            for q in others:
                if isinstance(given, Mapping) and q.name in given:
                    raise UnknownNameError(kind, q.name, (), hint=hint)

    def plan(self, full: FullModel, state: SessionState, accumulator: Accumulator) -> RunPlan:
        """The plan of a run that starts in a state. Raises `ConfigError`, `ResumeError`, `UnknownNameError`."""
        recording = full.model.sim.record if self.record is None else bool(self.record)
        T, N = self.T, self.N
        if T is None and N is None:
            T, N = _usual_length(full)
        extent = extent_of(
            full, state, T=T, N=N, resume=self.resume, transient=self.transient, max_steps=self.max_steps
        )
        columns = (accumulator.columns if self.resume else None) or columns_named(full, self.record_vars)
        tag = accumulator.new_name(self.tag, self.resume)
        recorder = checked_recorder(state, extent.horizon, self.record_interval, self.record_dt)
        running = state.record_interval > 0 or state.record_dt > 0.0
        goes_on = self.resume and running and self.record_interval is None and self.record_dt is None
        return RunPlan(extent, recording, recorder if recording and not goes_on else None, columns, tag, self.resume)


def checked_seed(full: FullModel, seed: int) -> int:
    """A usable seed. Raises `ConfigError`, also for a model that draws no random numbers."""
    if not full.model.random:
        raise ConfigError(f"model {full.model.name!r} draws no random numbers and takes no seed; leave it out")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**53:
        raise ConfigError(f"seed must be a whole number from 0 to 2**53 - 1, not {seed!r}")
    return int(seed)


def extent_of(
    full: FullModel,
    state: SessionState,
    *,
    T: float | None,
    N: int | None = None,
    resume: bool = False,
    transient: float = 0.0,
    max_steps: int | None = None,
) -> Extent:
    """How far a run from a state goes. Raises `ConfigError`, and `ResumeError` for a horizon that is not ahead."""
    end = state.t + transient if transient > 0.0 else None
    if T is not None and N is not None:
        raise ConfigError("give T (absolute end time) or N (number of steps), not both")
    if N is not None:
        steps = whole("N", N)
        return Extent(math.inf, state.step + steps, steps, end)
    limit = full.model.sim.max_steps if max_steps is None else max_steps
    if limit is not None:
        limit = whole("max_steps", limit)
    if T is None:
        raise ConfigError("give an end, T (an absolute time) or N (steps): the model has no t_end of its own")
    if not (is_number(T) and math.isfinite(T)):
        raise ConfigError(f"T must be a finite number, the absolute end time, not {T!r}")
    start = state.t + transient
    if start + TIME_TOLERANCE * abs(start) >= T:
        span = f" (to run for {T:g} from there, give T={start + T:g})" if T > 0 else ""
        remedy = f"T is an absolute time{span}. Choose a later T, or reset() to an earlier snapshot"
        if resume:
            raise ResumeError(f"T = {T:g} is not ahead of the current time {state.t:g}; {remedy}")
        raise ConfigError(f"T = {T:g} is not ahead of the start of this run at t = {start:g}; {remedy}")
    return Extent(float(T), FAR if limit is None else state.step + limit, None, end)


def checked_recorder(
    state: SessionState, horizon: float, interval: int | None, grid: float | None
) -> tuple[int, float]:
    """The recorder as (interval, dt), one of them 0. Raises `ConfigError`."""
    if interval is not None and grid is not None:
        raise ConfigError("give record_interval or record_dt, not both")
    if grid is None:
        return (1 if interval is None else whole("record_interval", interval)), 0.0
    grid = checked_dt(grid, "record_dt")
    reach = max(abs(state.t), abs(horizon) if math.isfinite(horizon) else 0.0)
    if grid <= TIME_TOLERANCE * reach:
        raise ConfigError(f"record_dt = {grid:g} is finer than times near {reach:g} can be told apart")
    return 0, grid


def _usual_length(full: FullModel) -> tuple[float | None, int | None]:
    """T or N as the model file has them; a map may give `max_steps` alone."""
    sim = full.model.sim
    if full.model.kind == "map" and sim.t_end is None:
        return None, sim.max_steps
    return sim.t_end, None


def _rows_expected(full: FullModel, state: SessionState, extent: Extent) -> int:
    """A guess at the number of samples, only to size the first buffer."""
    grid, interval, dt = state.record_dt, state.record_interval, state.nominal_dt
    spacing = grid if grid > 0.0 else dt * interval
    if not math.isfinite(extent.horizon):
        return min((extent.n_limit - state.step) // max(interval, 1) + 2, 2**40)
    if spacing <= 0.0 or (full.stepper.adaptive and grid <= 0.0):
        return 0
    return int(min((extent.horizon - state.t) / spacing + 2, 2.0**40))
