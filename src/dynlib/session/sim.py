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
    NumericsWarning,
    PinMismatchError,
    ResumeError,
    SnapshotError,
    UnknownNameError,
)
from dynlib.results import EventLog, Results, ResultsView, Segment
from dynlib.results.results import join
from dynlib.runtime.driver import Buffers, Progress, Recording, Task, drive, progress_line
from dynlib.runtime.state import Array, SessionState
from dynlib.session.full_model import FullModel, build, checked_dt
from dynlib.session.pins import Compatibility, compare_pins
from dynlib.session.presets import PresetShelf
from dynlib.session.snapshot_file import SnapshotMeta, inspect_snapshot, read_snapshot, state_from, write_snapshot
from dynlib.session.snapshots import Snapshot
from dynlib.spec.locations import ModelLike
from dynlib.spec.model import Quantity, spans
from dynlib.status import Status

_FAR = 2**62
_ON_RESUME = ("ic", "params", "t0", "dt", "transient")
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
        self._state_model = self._full.model  # whose names the state goes by, until another model takes over
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
        return _by_name(self._state_model.states, self.state_vector())

    def param_dict(self) -> dict[str, Any]:
        """The current parameters by name."""
        return _by_name(self._state_model.params, self.param_vector())

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

        Without `resume` the run starts at the mark and begins a new recording; `t0`, `ic`, `params`, `dt` and stepper
        `options` replace that part of the mark for this run, and `transient` is simulated first, unrecorded. With
        `resume=True` it continues the current state and appends to the recording. Every `record_interval`-th step is
        recorded, or the points of a grid of spacing `record_dt` (by the stepper's interpolant). `record_vars` chooses
        states and aux variables, by default all. `tag` names the segment.

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
            resume, dict(ic=ic, params=params, t0=t0, dt=dt, transient=transient or None), record_vars, options
        )
        state = self._state if resume else self._start(t0, dt, ic, params, options)
        recording = self._full.model.sim.record if record is None else record
        if T is None and N is None:
            T, N = self._usual_length()
        horizon, n_limit, limit_status = self._horizon(T, N, state, resume, transient, max_steps)
        columns = self._columns(record_vars, resume)
        tag = self._segment_name(tag, resume)
        self._check_recorder(state, horizon, record_interval, record_dt)
        report = progress_line() if progress is True else progress or None
        if "initial" not in self._snapshots:
            self._snapshots["initial"] = Snapshot("initial", self._mark, "before the first run")
        if transient > 0.0:
            allowed = _FAR if N is not None else n_limit
            state = self._drive(state, Task(state.t + transient, allowed, Status.MAX_STEPS), columns, report)[0]
            if N is not None:  # steps are counted from the end of the transient
                n_limit = state.step + N
        first = state
        state = self._with_recorder(state, recording, record_interval, record_dt, resume)
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
            after, blocks = self._drive(state, task, columns, report)
        if not resume:
            self._clear_recording()
        if recording:
            self._append(blocks, columns, tag, resume, first, after)
        self._state, self._state_model = after, self._full.model
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
        return state.edited(
            {
                "record_interval": 0 if grid is not None else (interval or 1),
                "record_n0": state.step,
                "record_dt": grid or 0.0,
                "record_t0": state.t,
            }
        )

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
        self, state: SessionState, task: Task, columns: tuple[str, ...], progress: Progress | None
    ) -> tuple[SessionState, Recording]:
        recording = self._new_recording(len(columns))
        every = self._full.columns
        select = np.full(max(1, len(every)), -1, np.int64)
        where = {name: k for k, name in enumerate(every)}
        for k, name in enumerate(columns):
            select[where[name]] = k
        after = drive(self._full.kernel, state, task, select, recording, self._buffers, progress)
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
            blocks, model = self._blocks, self._recorded_model
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
            results = Results(
                self._selected or (), t, step, kind.view(bool), data, tuple(self._segments), log, model.name
            )
            self._view = ResultsView(results)
        return self._view

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
        self._state = self._mark = self._state.restarted(y=y, params=p)
        if clear_history:
            self._clear_recording()

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
        snapshot = self._snapshots[name] = Snapshot(name, self._state, description)
        return snapshot

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

    def compat_check(self, snapshot: str | Snapshot) -> Compatibility:
        """Whether a snapshot fits this session, and each differing pin with both values (here, there)."""
        chosen = snapshot if isinstance(snapshot, Snapshot) else self.snapshot(snapshot)
        return compare_pins(self._full.pins, chosen.state.pins)

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
        self._state = self._mark = chosen.state
        self._state_model = self._full.model
        self._clear_recording()

    # -- files -------------------------------------------------------------------------------------------------

    def export_snapshot(self, path: str | os.PathLike[str], source: str = "current", name: str | None = None) -> None:
        """Write the current state, or a snapshot in memory (`source="snapshot"`, `name=…`), to one `.npz` file.

        The write is atomic and durable. Raises `SnapshotError`, `ConfigError`.
        """
        if source == "snapshot":
            if name is None:
                raise ConfigError("source='snapshot' needs name=, the snapshot to export")
            chosen = self.snapshot(name)
        elif source == "current":
            chosen = Snapshot(name or "current", self._state)
        else:
            raise ConfigError(f"source must be 'current' or 'snapshot', not {source!r}")
        write_snapshot(
            path,
            chosen.state,
            name=chosen.name,
            description=chosen.description,
            created="" if source == "current" else chosen.created,
        )

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
        self._state = self._mark = state
        self._state_model = self._full.model
        self._clear_recording()
        return meta


def setup(
    model: ModelLike,
    *,
    stepper: str | None = None,
    dt: float | None = None,
    jit: bool = True,
    math: str = "strict",
    mods: Sequence[str] = (),
    **options: float,
) -> Sim:
    """A session for a model: a path, `builtin://ode/izhikevich`, `inline:` text, or a `Model`. See `build`."""
    return Sim(build(model, stepper=stepper, dt=dt, jit=jit, math=math, mods=mods, **options))


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
