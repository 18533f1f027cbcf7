"""`Sim`: the one mutable object. It holds a kernel, the current state, the recording and the snapshots."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dynlib.compile.layout import TIME_TOLERANCE
from dynlib.errors import (
    ConfigError,
    ModelError,
    NumericsWarning,
    PinMismatchError,
    ResumeError,
    SnapshotError,
    SnapshotFileError,
    UnknownNameError,
)
from dynlib.results import EventLog, Results, ResultsView, Segment
from dynlib.results.results import join
from dynlib.runtime.driver import Buffers, Progress, Recording, Task, drive, progress_line
from dynlib.runtime.state import Array, SessionState
from dynlib.runtime.trace import Trace
from dynlib.session.adoption import Adoption, adopt
from dynlib.session.difference import Difference, compare
from dynlib.session.environment import environment
from dynlib.session.full_model import FullModel, build, checked_dt
from dynlib.session.lineage import (
    Edit,
    Lineage,
    Moment,
    Recorder,
    Root,
    Trail,
    Tree,
    edit_of,
    stretch_of,
    tree_of,
)
from dynlib.session.pins import Compatibility, compare_environments, compare_pins
from dynlib.session.presets import PresetShelf
from dynlib.session.proof import Proof, Replay, replay, verify_restart
from dynlib.session.snapshot_file import (
    SnapshotMeta,
    inspect_snapshot,
    model_in,
    read_snapshot,
    state_from,
    write_snapshot,
)
from dynlib.session.snapshots import Snapshot
from dynlib.spec.locations import ModelLike
from dynlib.spec.model import Quantity, spans
from dynlib.spec.observer import Observer
from dynlib.status import Status
from dynlib.steppers import get_stepper

_FAR = 2**62
_MOST_TRACES = 1000
_ON_RESUME = ("ic", "params", "t0", "dt", "seed", "transient")
Values = float | Sequence[float] | Array


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended: its status, the time and step reached, steps taken and seconds spent."""

    status: Status
    t: float
    step: int
    steps: int
    seconds: float
    segment: str | None

    @property
    def ok(self) -> bool:
        """Whether the run reached its horizon or its stop condition."""
        return self.status.ok


class Sim:
    """A simulation to hold: `run`, `create_snapshot`, `reset`, `assign`, `export_snapshot`, and go on.

    A run without `resume` starts at the session's *mark*: where it was last placed by construction, `reset`,
    `import_snapshot` or `assign`. A resumed run continues from the current state. `T` is always an absolute time.
    """

    def __init__(self, model: FullModel | ModelLike, *, buffers: Buffers | None = None) -> None:
        self._full = model if isinstance(model, FullModel) else build(model)
        self._buffers = buffers or Buffers()
        self._state = self._mark = self._full.initial_state()
        self._state_full = self._full  # whose names the state goes by, until another model takes over
        self._trail = self._mark_trail = self._new_trail()
        self._traces = [Trace.starting_at(self._state)]
        self._snapshots: dict[str, Snapshot] = {}
        self._presets = PresetShelf(self._full.model)
        self._clear_recording()

    # -- what it is --------------------------------------------------------------------------------------------

    @property
    def full_model(self) -> FullModel:
        """The model with its kernel. Setting another keeps state, results and snapshots.

        If the state does not fit the other model it cannot be resumed, and a fresh run starts from that model's
        initial state.
        """
        return self._full

    @full_model.setter
    def full_model(self, other: FullModel) -> None:
        self._full = other
        self._presets = PresetShelf(other.model)
        if not compare_pins(other.pins, self._state.pins).ok:
            self._mark = other.initial_state()
            self._mark_trail = self._new_trail()

    @property
    def state(self) -> SessionState:
        """The current state: an immutable value."""
        return self._state

    @property
    def t(self) -> float:
        """The current time."""
        return self._state.t

    @property
    def step(self) -> int:
        """Number of completed steps."""
        return self._state.step

    def state_vector(self) -> Array:
        """The current state, shape (n,), as a copy."""
        return self._state["y"].copy()

    def param_vector(self) -> Array:
        """The current parameters, shape (p,), as a copy."""
        return self._state["params"].copy()

    def state_dict(self) -> dict[str, Any]:
        """The current state by name: a float, or an array of shape (N,) for an array state."""
        return _by_name(self._state_full.model.states, self.state_vector())

    def param_dict(self) -> dict[str, Any]:
        """The current parameters by name."""
        return _by_name(self._state_full.model.params, self.param_vector())

    def config(self) -> dict[str, Any]:
        """Stepper, its options, step size, dtype and arithmetic, as the next run will use them."""
        full = self._full
        state = self._state if self.can_resume()[0] else self._mark
        return {
            "model": full.model.name,
            "stepper": full.stepper.name,
            "dt": state.nominal_dt,
            "options": dict(zip(full.stepper.option_names, state.config, strict=True)),
            "dtype": full.model.dtype,
            "math": full.kernel.math,
            "jit": full.kernel.jit,
        }

    def session_state_summary(self) -> dict[str, Any]:
        """Where the session stands, and whether it can be resumed, without running anything."""
        ok, reason = self.can_resume()
        state = self._state
        return {
            "t": state.t,
            "step": state.step,
            "status": state.status.name,
            "can_resume": ok,
            "reason": reason,
            "stepper": state.pins.stepper,
            "dt": state.nominal_dt,
            "time_shift": state.time_shift,
            "inside_a_step": state.pending,
            "observers": [o.name for o in self._full.observers],
            "samples": self._rows,
            "segments": [s.name for s in self._segments],
            "snapshots": list(self._snapshots),
        }

    def __repr__(self) -> str:
        full = self._full
        return (
            f"<Sim {full.model.name!r} with {full.stepper.name}: t = {self.t:g}, step {self.step}, "
            f"{self._rows} samples in {len(self._segments)} segments, {len(self._snapshots)} snapshots>"
        )

    # -- run ---------------------------------------------------------------------------------------------------

    def run(
        self,
        T: float | None = None,
        *,
        N: int | None = None,
        t0: float | None = None,
        dt: float | None = None,
        ic: Mapping[str, Values] | Sequence[float] | Array | None = None,
        params: Mapping[str, Values] | Sequence[float] | Array | None = None,
        seed: int | None = None,
        record: bool | None = None,
        record_interval: int | None = None,
        record_dt: float | None = None,
        record_vars: Sequence[str] | None = None,
        transient: float = 0.0,
        resume: bool = False,
        tag: str | None = None,
        max_steps: int | None = None,
        progress: bool | Progress = False,
        **options: float,
    ) -> RunOutcome:
        """Run to the absolute time `T`, or for `N` steps.

        Without `resume` the run starts at the mark and begins a new recording; `t0`, `ic`, `params`, `dt`, `seed` (of a
        random model) and stepper `options` replace that part of the mark for this run, and `transient` is simulated
        first, unrecorded. With `resume=True` it continues the current state and appends to the recording. Every
        `record_interval`-th step is recorded, or the points of a grid of spacing `record_dt` (by the stepper's
        interpolant). `record_vars` chooses states and aux variables, by default all. `tag` names the segment.

        Returns how the run ended; a numerical failure or step limit also gives a `NumericsWarning`, and what was
        recorded stays. Ctrl-C keeps everything recorded, leaves the session resumable, and raises KeyboardInterrupt.
        Raises `ConfigError`, and `ResumeError` where a run cannot continue.
        """
        began = time.perf_counter()
        if record is not None and not isinstance(record, bool | np.bool_):
            raise ConfigError(f"record must be True or False, not {record!r}")
        if not isinstance(progress, bool) and not callable(progress):
            raise ConfigError(f"progress must be True, False or a function of (fraction, t), not {progress!r}")
        self._check_arguments(
            resume,
            dict(ic=ic, params=params, t0=t0, dt=dt, seed=seed, transient=transient or None),
            record_vars,
            options,
        )
        state = self._state if resume else self._start(t0, dt, ic, params, options)
        if seed is not None:
            state = self._seeded(state, seed)
        recording = self._full.model.sim.record if record is None else record
        if T is None and N is None:
            T, N = self._usual_length()
        horizon, n_limit, limit_status = self._horizon(T, N, state, resume, transient, max_steps)
        columns = self._columns(record_vars, resume)
        tag = self._segment_name(tag, resume)
        self._check_recorder(state, horizon, record_interval, record_dt)
        report = progress_line() if progress is True else progress or None
        if "initial" not in self._snapshots:
            self._keep_initial()
        trail = self._trail if resume else self._mark_trail
        if not resume and state is not self._mark:
            names = self._full.stepper.option_names
            begun = not (t0 is None and dt is None and ic is None and params is None)
            trail = trail.then(
                edit_of(self._mark, state, self._full.model, names, restart=begun, new_past=ic is not None)
            )
        trace = self._traces[-1].copy() if resume else Trace.starting_at(state)
        if transient > 0.0:
            allowed = _FAR if N is not None else n_limit
            before = state
            state = self._drive(state, Task(state.t + transient, allowed, Status.MAX_STEPS), columns, report, trace)[0]
            trail = trail.then(stretch_of(before, state))
            if self._full.observers:  # a transient does not count
                untouched = {name: float(before[name][0]) for name in self._full.fresh_observers}
                state, trail = self._with_fields(state, untouched, trail)
                trace = Trace.starting_at(state)
            if N is not None:  # steps are counted from the end of the transient
                n_limit = state.step + N
        first = state
        state = self._with_recorder(state, recording, record_interval, record_dt, resume)
        if state is not first:
            trail = trail.then(Recorder(int(state["record_interval"][0]), float(state["record_dt"][0])))
        seam = float(self._blocks.samples[-1][0][-1]) if resume and self._blocks.samples else math.nan
        task = Task(
            horizon,
            n_limit,
            limit_status,
            recording,
            recording and not resume,
            seam,
            self._rows_expected(state, horizon, n_limit),
        )
        if transient > 0.0 and not first.status.ok:
            after, blocks = first, self._new_recording(len(columns))
        else:
            after, blocks = self._drive(state, task, columns, report, trace)
            trail = trail.then(stretch_of(state, after))
        if not resume:
            self._clear_recording()
        trace.worked(time.perf_counter() - began, after)
        self._trail, self._traces = trail, [*(self._traces[:-1] if resume else []), trace]
        if recording:
            self._append(blocks, columns, tag, resume, first, after)
        self._state, self._state_full = after, self._full
        outcome = RunOutcome(
            after.status,
            after.t,
            after.step,
            after.step - first.step,
            time.perf_counter() - began,
            tag if recording else None,
        )
        if after.status is Status.INTERRUPTED:
            raise KeyboardInterrupt(f"stopped at t = {after.t:g}; the session stands there and can be resumed")
        if not after.status.ok:
            warnings.warn(
                f"{after.status.name} at t = {after.t:g}: {after.status.meaning}", NumericsWarning, stacklevel=2
            )
        return outcome

    def _check_arguments(
        self, resume: bool, overrides: dict[str, Any], record_vars: Sequence[str] | None, options: Mapping[str, float]
    ) -> None:
        transient = overrides["transient"]
        if transient is not None and not (_is_number(transient) and 0.0 <= transient < math.inf):
            raise ConfigError(f"transient must be a time span, not {transient!r}")
        if not resume:
            return
        given = [name for name in _ON_RESUME if overrides[name] is not None] + list(options)
        if record_vars is not None and self._selected is not None:
            given.append("record_vars")
        if given:
            raise ResumeError(
                f"{', '.join(given)} cannot be given with resume=True: a resumed run continues exactly. "
                "Use assign() to change values, or run() without resume"
            )
        ok, reason = self.can_resume()
        if not ok:
            raise ResumeError(f"cannot resume: {reason}; reset() to a snapshot or build a compatible model")

    def _start(
        self,
        t0: float | None,
        dt: float | None,
        ic: Mapping[str, Values] | Sequence[float] | Array | None,
        params: Mapping[str, Values] | Sequence[float] | Array | None,
        options: Mapping[str, float],
    ) -> SessionState:
        """The mark, with this run's overrides."""
        state, full = self._mark, self._full
        if options:
            now = dict(zip(full.stepper.option_names, state.config, strict=True))
            state = replace(state, config=full.stepper.configure(**{**now, **options}))
        if t0 is None and dt is None and ic is None and params is None:
            return state
        if t0 is not None and not (_is_number(t0) and math.isfinite(t0)):
            raise ConfigError(f"t0 must be finite, not {t0!r}")
        return state.restarted(
            y=None if ic is None else _merged(full.model.states, state["y"], ic, "state"),
            params=None if params is None else _merged(full.model.params, state["params"], params, "parameter"),
            t=t0,
            dt=None if dt is None else checked_dt(dt),
            new_past=ic is not None,
        )

    def _seeded(self, state: SessionState, seed: int) -> SessionState:
        if not self._full.model.random:
            raise ConfigError(f"model {self._full.model.name!r} draws no random numbers and takes no seed")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**53:
            raise ConfigError(f"seed must be a whole number from 0 to 2**53 - 1, not {seed!r}")
        return state.edited({"seed": int(seed)})

    def _usual_length(self) -> tuple[float | None, int | None]:
        """T or N as the model file has them; a map may give `max_steps` alone."""
        model = self._full.model
        if model.kind == "map" and model.sim.t_end is None:
            return None, model.sim.max_steps
        return model.sim.t_end, None

    def _horizon(
        self, T: float | None, N: int | None, state: SessionState, resume: bool, transient: float, max_steps: int | None
    ) -> tuple[float, int, Status]:
        if T is not None and N is not None:
            raise ConfigError("give T (absolute end time) or N (number of steps), not both")
        if N is not None:
            return math.inf, state.step + _whole("N", N), Status.DONE
        limit = self._full.model.sim.max_steps if max_steps is None else max_steps
        if limit is not None:
            limit = _whole("max_steps", limit)
        if T is None:
            raise ConfigError("give T=, the absolute end time: the model has no t_end of its own")
        if not (_is_number(T) and math.isfinite(T)):
            raise ConfigError(f"T must be a finite number, not {T!r}")
        start = state.t + transient
        if start + TIME_TOLERANCE * abs(start) >= T:
            if resume:
                raise ResumeError(f"T = {T:g} is not ahead of the current time {state.t:g}; T is an absolute time")
            raise ConfigError(
                f"T = {T:g} is not ahead of the start of this run at t = {start:g}; T is an absolute time. "
                "Choose a later T, or reset() to an earlier snapshot"
            )
        return float(T), _FAR if limit is None else state.step + int(limit), Status.MAX_STEPS

    def _check_recorder(self, state: SessionState, horizon: float, interval: int | None, grid: float | None) -> None:
        if interval is not None and grid is not None:
            raise ConfigError("give record_interval or record_dt, not both")
        if interval is not None:
            _whole("record_interval", interval)
        if grid is not None:
            checked_dt(grid)
            reach = max(abs(state.t), abs(horizon) if math.isfinite(horizon) else 0.0)
            if grid <= TIME_TOLERANCE * reach:
                raise ConfigError(f"record_dt = {grid:g} is finer than times near {reach:g} can be told apart")

    def _with_recorder(
        self, state: SessionState, recording: bool, interval: int | None, grid: float | None, resume: bool
    ) -> SessionState:
        """The state with its recorder set: where the count of steps or the grid of times begins, and its spacing."""
        running = int(state["record_interval"][0]) > 0 or float(state["record_dt"][0]) > 0.0
        if not recording or (resume and running and interval is None and grid is None):
            return state
        return state.recorded(0 if grid is not None else (interval or 1), grid or 0.0)

    def _rows_expected(self, state: SessionState, horizon: float, n_limit: int) -> int:
        """A guess at the number of samples, only to size the first buffer."""
        grid, interval, dt = float(state["record_dt"][0]), int(state["record_interval"][0]), state.nominal_dt
        spacing = grid if grid > 0.0 else dt * interval
        if not math.isfinite(horizon):
            return min((n_limit - state.step) // max(interval, 1) + 2, 2**40)
        if spacing <= 0.0 or (self._full.stepper.adaptive and grid <= 0.0):
            return 0
        return int(min((horizon - state.t) / spacing + 2, 2.0**40))

    def _drive(
        self,
        state: SessionState,
        task: Task,
        columns: tuple[str, ...],
        progress: Progress | None = None,
        trace: Trace | None = None,
    ) -> tuple[SessionState, Recording]:
        recording = self._new_recording(len(columns))
        every = self._full.columns
        select = np.full(max(1, len(every)), -1, np.int64)
        where = {name: k for k, name in enumerate(every)}
        for k, name in enumerate(columns):
            select[where[name]] = k
        after = drive(self._full.kernel, state, task, select, recording, self._buffers, progress, trace)
        return after, recording

    # -- the recording -----------------------------------------------------------------------------------------

    def _new_recording(self, width: int) -> Recording:
        depth = max((len(e.log) for e in self._full.model.events), default=0)
        return Recording(width, depth, np.dtype(self._full.model.dtype))

    def _clear_recording(self) -> None:
        self._selected: tuple[str, ...] | None = None
        self._recorded_model = self._full.model
        self._segments: list[Segment] = []
        self._blocks = self._new_recording(0)
        self._rows = self._entries = 0
        self._next_number = 0
        self._view: ResultsView | None = None

    def _append(
        self,
        new: Recording,
        columns: tuple[str, ...],
        tag: str,
        resume: bool,
        before: SessionState,
        after: SessionState,
    ) -> None:
        if self._selected is None:
            self._selected = columns
            self._blocks = self._new_recording(len(columns))
        rows = sum(len(block[0]) for block in new.samples)
        entries = sum(len(block[0]) for block in new.events)
        self._blocks.samples += new.samples
        self._blocks.events += new.events
        segment = Segment(
            tag, before.t, after.t, before.step, after.step, resume, self._cfg_hash(after), after.status.name,
            (self._rows, self._rows + rows), (self._entries, self._entries + entries),
        )  # fmt: skip
        self._segments.append(segment)
        self._rows += rows
        self._entries += entries
        self._next_number += 1
        self._view = None

    def _cfg_hash(self, state: SessionState) -> str:
        names = self._full.stepper.option_names
        text = json.dumps(
            [state.pins.stepper, repr(state.nominal_dt), dict(zip(names, map(repr, state.config), strict=True))]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _segment_name(self, tag: str | None, resume: bool) -> str:
        names = [s.name for s in self._segments] if resume else []
        if tag is None:
            number = self._next_number if resume else 0
            while f"run#{number}" in names:
                number += 1
            return f"run#{number}"
        if not isinstance(tag, str) or not tag:
            raise ConfigError(f"tag must be a non-empty text, not {tag!r}")
        if tag in names:
            raise ConfigError(f"a segment named {tag!r} exists already")
        return tag

    def _columns(self, wanted: Sequence[str] | None, resume: bool) -> tuple[str, ...]:
        if resume and self._selected is not None:
            return self._selected
        every = self._full.columns
        if wanted is None:
            return every
        if isinstance(wanted, str) or not isinstance(wanted, Iterable):
            raise ConfigError(f"record_vars must be a list of names, such as [{every[0]!r}], not {wanted!r}")
        model = self._full.model
        arrays = {q.name: q.element_names for q in model.states if q.size is not None}
        chosen: dict[str, None] = {}
        for name in wanted:
            if name not in arrays and name not in every:
                known = [*(q.name for q in model.states), *(a.name for a in model.aux)]
                raise UnknownNameError("variable to record", name, known)
            chosen.update(dict.fromkeys(arrays.get(name, (name,))))
        if not chosen:
            raise ConfigError("record_vars is empty; use record=False to record nothing")
        return tuple(chosen)

    def raw_results(self) -> Results:
        """Everything recorded since the last fresh run, as immutable arrays."""
        return self.results().raw

    def results(self) -> ResultsView:
        """Everything recorded since the last fresh run, by name."""
        if self._view is None:
            self._view = self._view_of(self._selected or (), self._blocks, tuple(self._segments))
        return self._view

    def _view_of(self, columns: tuple[str, ...], blocks: Recording, segments: tuple[Segment, ...]) -> ResultsView:
        model = self._recorded_model
        samples = join(blocks.samples, blocks.sample_block(0))
        entries = join(blocks.events, blocks.event_block(0))
        blocks.samples = [samples] if len(samples[0]) else []
        blocks.events = [entries] if len(entries[0]) else []
        log = EventLog(
            tuple(e.name for e in model.events),
            tuple(tuple(label for label, _ in e.log) for e in model.events),
            tuple(e.tags for e in model.events),
            *entries,
        )
        t, step, kind, data = samples
        return ResultsView(Results(columns, t, step, kind.view(bool), data, segments, log, model.name))

    def name_segment(self, which: str | int, name: str) -> None:
        """Rename a segment, given by name or position. Raises `UnknownNameError` and `ConfigError`."""
        names = [s.name for s in self._segments]
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
        self._segments[index] = replace(self._segments[index], name=name)
        self._view = None

    def name_last_segment(self, name: str) -> None:
        """Rename the last segment."""
        self.name_segment(-1, name)

    # -- values ------------------------------------------------------------------------------------------------

    def assign(
        self, values: Mapping[str, Values] | None = None, /, *, clear_history: bool = False, **more: Values
    ) -> None:
        """Set states and parameters by name; the trajectory restarts from the reported state at the current time.

        A pending step, stepper history and the controller's memory are dropped; step count, lag buffers, snapshots and
        options stay. The mark moves here. With `clear_history=True` results and segments are cleared. Arrays take a
        sequence, one element is written `{"u[3]": 1.0}`. Raises `UnknownNameError`, `ConfigError`.
        """
        given = {**(values or {}), **more}
        ok, reason = self.can_resume()
        if not ok:
            raise ResumeError(f"cannot assign to this state: {reason}; reset() to a snapshot first")
        model = self._full.model
        known = {e for q in (*model.states, *model.params) for e in (q.name, *q.element_names)}
        for name in given:
            if name not in known:
                raise UnknownNameError("state or parameter", name, [q.name for q in (*model.states, *model.params)])
        states = {e for q in model.states for e in (q.name, *q.element_names)}
        y = _merged(model.states, self._state["y"], {k: v for k, v in given.items() if k in states}, "state")
        p = _merged(
            model.params, self._state["params"], {k: v for k, v in given.items() if k not in states}, "parameter"
        )
        before = self._state
        self._state = self._mark = before.restarted(y=y, params=p)
        self._trail = self._trail.then(edit_of(before, self._state, model, self._full.stepper.option_names))
        self._mark_trail = self._trail
        self._traces = [*self._traces[1 - _MOST_TRACES :], Trace.starting_at(self._state)]
        if clear_history:
            self._clear_recording()

    def observer(self, name: str) -> dict[str, float]:
        """The numbers of an observer by name, and what is read from them. Raises `UnknownNameError`."""
        if not self.can_resume()[0]:
            raise ResumeError(f"the state belongs to another model: {self.can_resume()[1]}")
        for each in self._full.observers:
            if each.name == name:
                return each.values({key: float(self._state[each.field(key)][0]) for key in each.observer.memory})
        raise UnknownNameError("observer", name, [o.name for o in self._full.observers])

    def reset_observers(self) -> None:
        """Begin anew with the memory of all observers; the trajectory goes on as it is. The mark moves here."""
        ok, reason = self.can_resume()
        if not ok:
            raise ResumeError(f"cannot reset the observers of this state: {reason}")
        state, trail = self._with_fields(self._state, self._full.fresh_observers, self._trail)
        self._state = self._mark = state
        self._trail = self._mark_trail = trail
        self._traces = [*self._traces[1 - _MOST_TRACES :], Trace.starting_at(state)]

    def _with_fields(
        self, state: SessionState, memory: Mapping[str, float], trail: Trail
    ) -> tuple[SessionState, Trail]:
        after = state.edited(dict(memory))
        names = self._full.stepper.option_names
        return after, trail.then(edit_of(state, after, self._full.model, names, restart=False))

    @property
    def presets(self) -> PresetShelf:
        """The presets of this session."""
        return self._presets

    def list_presets(self, pattern: str = "*") -> list[str]:
        """Names of presets that match a shell pattern."""
        return self._presets.names(pattern)

    def apply_preset(self, name: str) -> None:
        """Assign the values of a preset."""
        self.assign(self._presets.values(name))

    def add_preset(
        self,
        name: str,
        *,
        params: Mapping[str, Values] | None = None,
        states: Mapping[str, Values] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Add a preset; without values it takes the session's current parameters."""
        if params is None and states is None:
            params = self.param_dict()
        self._presets.add(name, _plain(params or {}), _plain(states or {}), overwrite)

    def load_preset(self, pattern: str, path: str | os.PathLike[str], on_conflict: str = "error") -> list[str]:
        """Load matching presets from a file; `on_conflict` is "error", "keep" or "replace". Returns their names."""
        return self._presets.load(pattern, path, on_conflict)

    def save_preset(self, name: str, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write a preset to a file, beside those already in it."""
        self._presets.save(name, path, overwrite)

    # -- snapshots ---------------------------------------------------------------------------------------------

    def create_snapshot(self, name: str, description: str = "") -> Snapshot:
        """Keep the current state under a name. Raises `SnapshotError` if the name is taken."""
        if name in self._snapshots:
            raise SnapshotError(f"a snapshot named {name!r} exists already; snapshots are never overwritten")
        if not isinstance(name, str) or not name:
            raise SnapshotError(f"the name of a snapshot must be a non-empty text, not {name!r}")
        if not isinstance(description, str):
            raise SnapshotError(f"the description of a snapshot must be a text, not {description!r}")
        snapshot = self._current(name, description)
        if self._mark is self._state:
            self._mark_trail = self._trail.after(snapshot)
        self._trail = self._trail.after(snapshot)
        self._snapshots[name] = snapshot
        return snapshot

    def _keep_initial(self) -> None:
        full = self._full
        snapshot = Snapshot(
            "initial", self._mark, full.model, self._mark_trail, "before the first run", observers=full.observers
        )
        if self._mark is self._state:
            self._trail = self._trail.after(snapshot)
        self._mark_trail = self._mark_trail.after(snapshot)
        self._snapshots["initial"] = snapshot

    def _new_trail(self) -> Trail:
        full = self._full
        return Trail(Root(full.dt, tuple(zip(full.stepper.option_names, full.config, strict=True))))

    def _stand_at(self, state: SessionState, trail: Trail) -> None:
        """Place the session: state and mark are this one, and nothing is recorded."""
        self._state = self._mark = state
        self._state_full = self._full
        self._trail = self._mark_trail = trail
        self._traces = [Trace.starting_at(state)]
        self._clear_recording()

    def rename_snapshot(self, old: str, new: str) -> None:
        """Give a snapshot another name; its content and address stay. Raises `UnknownNameError`, `SnapshotError`."""
        chosen = self._changeable(old)
        if not isinstance(new, str) or not new:
            raise SnapshotError(f"the name of a snapshot must be a non-empty text, not {new!r}")
        if new in self._snapshots:
            raise SnapshotError(f"a snapshot named {new!r} exists already")
        self._snapshots = {
            new if name == old else name: replace(chosen, name=new) if name == old else snapshot
            for name, snapshot in self._snapshots.items()
        }

    def delete_snapshot(self, name: str) -> None:
        """Forget a snapshot; what came from it stays, and knows its lineage. Raises `UnknownNameError`."""
        self._changeable(name)
        del self._snapshots[name]

    def _changeable(self, name: str) -> Snapshot:
        if name == "initial":
            raise SnapshotError("'initial' is where reset() goes by default; it is neither renamed nor deleted")
        return self.snapshot(name)

    # -- the tree ----------------------------------------------------------------------------------------------

    def fork(self, name: str, description: str = "", *, rng: str = "continue") -> Sim:
        """An independent session that stands where this one does; the branching point is kept here as a snapshot.

        It shares the model and begins with the snapshots and presets of this session; nothing that either does
        afterwards reaches the other. In a random model `rng` says which numbers the fork sees: "continue": those that
        this session would have seen; "reseed": its own; "common": those of every fork made here with "common". Raises
        `SnapshotError` if the name is taken.
        """
        if rng not in ("continue", "reseed", "common"):
            raise ConfigError(f"rng must be 'continue', 'reseed' or 'common', not {rng!r}")
        if rng != "continue" and not self._full.model.random:
            raise ConfigError(f"model {self._full.model.name!r} draws no random numbers; leave rng out")
        point = self.lineage().last.id
        self.create_snapshot(name, description)
        other = self._twin(self._buffers)
        if rng != "continue":
            word = hashlib.sha256(f"{point} {name if rng == 'reseed' else ''}".encode()).digest()
            stream = int.from_bytes(word[:4], "little") | 1
            state, trail = other._with_fields(other._state, {"stream": stream}, other._trail)
            other._stand_at(state, trail)
        return other

    branch = fork

    def _twin(self, buffers: Buffers) -> Sim:
        other = Sim(self._full, buffers=buffers)
        other._snapshots = dict(self._snapshots)
        other._presets = self._presets.copy()
        other._stand_at(self._state, self._trail)
        other._state_full = self._state_full
        return other

    def lineage(self, snapshot: str | Snapshot | None = None) -> Lineage:
        """What led from the root to a snapshot, or to the current state: runs and edits with old and new values."""
        return Lineage(self._moment(snapshot))

    def tree(self, *others: Sim) -> Tree:
        """All snapshots, and the current states, of this session and others: how each came from another."""
        found: list[Moment] = []
        for number, sim in enumerate((self, *others)):
            found += sim._snapshots.values()
            if sim._trail.deeds:
                found.append(sim._current("now" if number == 0 else f"now ({number})"))
        return tree_of(found)

    def diff(self, a: str | Snapshot, b: str | Snapshot | None = None) -> Difference:
        """Two snapshots, or a snapshot and the current state, side by side: values, configuration and lineage."""
        return compare(self._moment(a), self._moment(b))

    def _current(self, name: str = "current", description: str = "") -> Snapshot:
        full = self._state_full
        return Snapshot(name, self._state, full.model, self._trail, description, observers=full.observers)

    def _moment(self, which: str | Snapshot | None) -> Snapshot:
        if which is None:
            return self._current()
        return which if isinstance(which, Snapshot) else self.snapshot(which)

    # -- the past ----------------------------------------------------------------------------------------------

    def at(self, t: float) -> dict[str, Any]:
        """States and aux variables at a past time, by name, to the bit as a recording would have shown them.

        The time is computed again from the nearest of the states that every run keeps by itself, a fraction of a
        second of work apart (see `Trace`). Where a value was assigned at that very time, the new one counts. Raises
        `ConfigError` for a time outside of what this session has run through since it was last placed.
        """
        if not (_is_number(t) and math.isfinite(t)):
            raise ConfigError(f"t must be a finite number, not {t!r}")
        state = self._again(float(t))
        task = Task(state.t, state.step, Status.DONE, True, True)
        _, blocks = self._drive(state, task, self._full.columns)
        view = self._view_of(self._full.columns, blocks, ())
        found = {name: view[name][0] for name in view.names}
        return {name: float(value) if np.ndim(value) == 0 else value for name, value in found.items()}

    def record_again(
        self,
        record_vars: Sequence[str] | None = None,
        t0: float | None = None,
        t1: float | None = None,
        *,
        record_interval: int | None = None,
        record_dt: float | None = None,
    ) -> ResultsView:
        """What a run would have recorded between two past times, computed again; nothing of the session changes.

        By default everything since the session was last placed or edited. A grid of `record_dt` and the count of
        `record_interval` begin at `t0`. Raises `ConfigError`, `UnknownNameError`.
        """
        trace = self._traces[-1]
        t0 = trace.states[0].t if t0 is None else t0
        t1 = trace.end if t1 is None else t1
        if not (_is_number(t0) and _is_number(t1) and t0 < t1):
            raise ConfigError(f"record_again needs times t0 < t1, not {t0!r} and {t1!r}")
        trace = self._trace_at(float(t1))
        if t0 < trace.states[0].t:
            raise ConfigError(
                f"t0 = {t0:g} lies before the edit or start at t = {trace.states[0].t:g}; record again from there"
            )
        columns = self._columns(record_vars, resume=False)
        state = self._again(float(t0), trace)
        self._check_recorder(state, t1, record_interval, record_dt)
        state = self._with_recorder(state, True, record_interval, record_dt, resume=False)
        task = Task(float(t1), _FAR, Status.MAX_STEPS, True, record_dt is not None or not state.pending)
        _, blocks = self._drive(state, task, columns)
        for k, (times, steps, kind, data) in enumerate(blocks.samples):
            shown = kind == 0
            blocks.samples[k] = times[shown], steps[shown], kind[shown], data[shown]
        return self._view_of(columns, blocks, ())

    def _trace_at(self, t: float) -> Trace:
        for trace in reversed(self._traces):
            if trace.states[0].t <= t <= trace.end:
                return trace
        raise ConfigError(
            f"t = {t:g} lies outside of t = {self._traces[0].states[0].t:g} … {self._traces[-1].end:g}, which this "
            "session has run through since it was last placed"
        )

    def _again(self, t: float, trace: Trace | None = None) -> SessionState:
        """The state at a past time, reached again."""
        if not self.can_resume()[0]:
            raise ResumeError(f"the past belongs to another model: {self.can_resume()[1]}")
        trace = trace or self._trace_at(t)
        state = trace.before(t)
        while state.t < t:
            after = self._drive(state, Task(t, _FAR, Status.MAX_STEPS), ())[0]
            if (after.t, after.step) == (state.t, state.step):
                break
            state = after
        return state

    # -- proof -------------------------------------------------------------------------------------------------

    def verify_restart(self, T: float, cuts: int | Sequence[float] = 5, *, process: bool = True) -> Proof:
        """Run from here to `T` in several ways that must agree to the bit, and say where the first one differs.

        Ways: twice; cut at some times (`cuts`: how many, or which); with files written on the way; continued from
        files; with other buffer capacities; and (`process`) in a new process. The session itself stays as it is.
        """
        ok, reason = self.can_resume()
        if not ok:
            raise ResumeError(f"cannot run from here: {reason}")
        self._horizon(T, None, self._state, True, 0.0, None)
        return verify_restart(self._twin, self._state, float(T), cuts, process)

    def replay(self, snapshot: str | Snapshot | None = None) -> Replay:
        """Run the lineage of a snapshot, or of the current state, again from its root and compare every bit.

        Raises `PinMismatchError` if it belongs to another model, `SnapshotError` if its root is not exact.
        """
        moment = self._moment(snapshot)
        verdict = self.compat_check(moment)
        if not verdict.ok:
            raise PinMismatchError(f"the lineage of {moment.name!r} belongs to another model: {verdict.reason()}")
        return replay(self._full, moment)

    def list_snapshots(self) -> list[dict[str, object]]:
        """For each snapshot: name, time `t`, step count, time of creation, description."""
        return [s.summary() for s in self._snapshots.values()]

    def snapshot(self, name: str) -> Snapshot:
        """A snapshot by name. Raises `UnknownNameError`."""
        if name not in self._snapshots:
            if not self._snapshots:
                raise SnapshotError(f"there is no snapshot {name!r} yet: the first run() makes 'initial'")
            raise UnknownNameError("snapshot", name, self._snapshots)
        return self._snapshots[name]

    def compat_check(self, snapshot: str | os.PathLike[str] | Snapshot) -> Compatibility:
        """Whether a snapshot, or a snapshot file given as a path, fits this session; nothing is changed.

        Gives each differing pin with both values (here, there), and how far the two agree (`level`). Raises
        `UnknownNameError`, `SnapshotFileError`.
        """
        if isinstance(snapshot, str):
            snapshot = self.snapshot(snapshot)
        if isinstance(snapshot, Snapshot):
            return compare_pins(self._full.pins, snapshot.state.pins)
        meta = inspect_snapshot(snapshot)
        surroundings = compare_environments(environment(self._full.kernel.jit), meta.environment)
        return replace(compare_pins(self._full.pins, meta.pins), environment=surroundings)

    def can_resume(self) -> tuple[bool, str | None]:
        """`(True, None)`, or `(False, reason)` if the state does not fit the model."""
        verdict = compare_pins(self._full.pins, self._state.pins)
        return verdict.ok, verdict.reason()

    def reset(self, name: str = "initial") -> None:
        """Go back to a snapshot and clear everything recorded; snapshots stay.

        Raises `UnknownNameError`, and `PinMismatchError` naming the pin and both values.
        """
        chosen = self.snapshot(name)
        verdict = self.compat_check(chosen)
        if not verdict.ok:
            raise PinMismatchError(f"snapshot {name!r} does not fit this session: {verdict.reason()}")
        self._stand_at(chosen.state, chosen.trail.after(chosen))

    # -- files -------------------------------------------------------------------------------------------------

    def export_snapshot(
        self,
        path: str | os.PathLike[str],
        source: str = "current",
        name: str | None = None,
        *,
        results: bool = False,
    ) -> None:
        """Write the current state, or a snapshot in memory (`source="snapshot"`, `name=…`), to one `.npz` file.

        With `results=True` the file also carries what is recorded, for `read_results`. The write is atomic and
        durable. Raises `SnapshotError`, `ConfigError`.
        """
        if source == "snapshot":
            if name is None:
                raise ConfigError("source='snapshot' needs name=, the snapshot to export")
            chosen = self.snapshot(name)
        elif source == "current":
            chosen = self._current(name or "current")
        else:
            raise ConfigError(f"source must be 'current' or 'snapshot', not {source!r}")
        created = "" if source == "current" else chosen.created
        if results and self._recorded_model is not chosen.model:
            raise ConfigError("the results belong to another model than the state and cannot share its file")
        recording = self.raw_results() if results else None
        observers = [o.observer.as_document() for o in chosen.observers]
        write_snapshot(path, chosen, created=created, jit=self._full.kernel.jit, observers=observers, results=recording)

    @staticmethod
    def inspect_snapshot(path: str | os.PathLike[str]) -> SnapshotMeta:
        """The metadata of a snapshot file; the session is not touched. Raises `SnapshotFileError`."""
        return inspect_snapshot(path)

    def import_snapshot(self, path: str | os.PathLike[str], *, accept: Sequence[str] = ()) -> SnapshotMeta:
        """Replace the session's state by that of a file, and clear everything recorded.

        `accept=("numerics_revision",)` takes a file of another numerics revision. On any error the session stays as it
        was. Raises `SnapshotFileError`, `PinMismatchError`.
        """
        meta, arrays = read_snapshot(path)
        verdict = compare_pins(self._full.pins, meta.pins, accept)
        if not verdict.ok:
            raise PinMismatchError(f"{os.fspath(path)} does not fit this session: {verdict.reason()}")
        state = state_from(path, meta, arrays, self._full.initial_state())
        moment = meta.lineage
        trail = moment.trail.after(moment)
        if meta.pins != self._full.pins:
            note = f"{meta.name}, accepted with other {', '.join(compare_pins(self._full.pins, meta.pins).differences)}"
            trail = Trail(replace(moment.trail.root, exact=False, note=note))
        self._stand_at(state, trail)
        return meta

    def adopt_snapshot(
        self,
        source: str | os.PathLike[str] | Snapshot,
        *,
        rename: Mapping[str, str] | None = None,
        fill: Mapping[str, float] | None = None,
        dry_run: bool = False,
    ) -> Adoption:
        """Take over states and parameters by name from a snapshot, or a snapshot file, of another model.

        `rename` maps names there to names here, `fill` gives values for names that are not there (otherwise the
        model's own values are taken). Time and step count come along; stepper memory does not, and the result is the
        root of a new lineage that is not exact. With `dry_run` nothing changes. Returns what was kept, renamed,
        filled and dropped. Raises `SnapshotFileError`, `UnknownNameError`, `ConfigError`.
        """
        if isinstance(source, Snapshot):
            there = source
        elif isinstance(source, str) and source in self._snapshots:
            there = self._snapshots[source]
        else:
            there = open_snapshot(source, jit=False)._current(os.fspath(source))
        report, y, params = adopt(self._full.model, there.model, there.state, rename or {}, fill or {})
        if not dry_run:
            fresh = self._full.initial_state().edited({"n": there.state.step})
            state = fresh.restarted(y=y, params=params, t=there.t, new_past=True)
            root = self._new_trail().root
            note = f"adopted from {there.name!r} of model {there.model.name!r} at t = {there.t:g}"
            self._stand_at(state, Trail(replace(root, exact=False, note=note)))
        return report

    def edits(self) -> tuple[Edit, ...]:
        """The log of edits that led to the current state: what changed, from what to what, and what was dropped."""
        return tuple(d for deeds, _ in self.lineage().parts for d in deeds if isinstance(d, Edit))


def open_snapshot(path: str | os.PathLike[str], *, jit: bool = True) -> Sim:
    """A session that stands where a snapshot file does, with nothing but the file: it carries its model.

    Raises `SnapshotFileError`, and `PinMismatchError` if this library computes differently from the one that wrote it.
    """
    meta, _ = read_snapshot(path)
    model = model_in(path, meta)
    try:
        spec = get_stepper(meta.pins.stepper)
        observers = [Observer(**each) for each in meta.observers]
        full = build(
            model, stepper=spec.name, dt=meta.nominal_dt or None, jit=jit, math=meta.pins.math, observers=observers
        )
    except (ConfigError, ModelError) as problem:
        raise SnapshotFileError(f"{os.fspath(path)} needs what this library does not have: {problem}") from None
    sim = Sim(full)
    sim.import_snapshot(path)
    return sim


def setup(
    model: ModelLike,
    *,
    stepper: str | None = None,
    dt: float | None = None,
    jit: bool = True,
    math: str = "strict",
    mods: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    **options: float,
) -> Sim:
    """A session for a model: a path, `builtin://ode/izhikevich`, `inline:` text, or a `Model`. See `build`."""
    return Sim(build(model, stepper=stepper, dt=dt, jit=jit, math=math, mods=mods, observers=observers, **options))


def _whole(name: str, value: object) -> int:
    """A count of steps. Raises `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value < 2**53:
        raise ConfigError(f"{name} must be a whole number of steps, at least 1, not {value!r}")
    return int(value)


def _plain(values: Mapping[str, Values]) -> dict[str, float | list[float]]:
    return {k: float(v) if np.ndim(v) == 0 else np.asarray(v).tolist() for k, v in values.items()}  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _by_name(quantities: tuple[Quantity, ...], vector: Array) -> dict[str, Any]:
    return {q.name: float(vector[span.start]) if q.size is None else vector[span] for q, span in spans(quantities)}


def _merged(
    quantities: tuple[Quantity, ...], vector: Array, given: Mapping[str, Values] | Sequence[float] | Array, kind: str
) -> Array:
    """A copy of the vector with some values replaced by name, or all by position."""
    result = vector.copy()
    if not isinstance(given, Mapping):
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise ConfigError(f"expected {result.size} {kind} value(s), not {given!r}") from None
        if values.shape != result.shape:
            raise ConfigError(f"expected {result.size} {kind} value(s), got shape {values.shape}")
        result[:] = values
    else:
        spots: dict[str, slice] = {}
        for q, span in spans(quantities):
            spots[q.name] = span
            if q.size is not None:
                spots |= {name: slice(i, i + 1) for i, name in enumerate(q.element_names, span.start)}
        for name, value in given.items():
            if name not in spots:
                raise UnknownNameError(kind, name, [q.name for q in quantities])
            try:
                numbers = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError):
                raise ConfigError(f"{kind} {name!r} must be a number, not {value!r}") from None
            size = spots[name].stop - spots[name].start
            if numbers.ndim > 1 or numbers.size not in (1, size):
                raise ConfigError(f"{kind} {name!r} takes {size} value(s), got shape {numbers.shape}")
            result[spots[name]] = numbers
    if not np.all(np.isfinite(result)):
        raise ConfigError(f"{kind} values must be finite")
    return result
