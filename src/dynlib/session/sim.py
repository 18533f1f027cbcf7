"""`Sim`: the one mutable object. It holds a kernel, the current state, the recording and the snapshots."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from dynlib.arguments import checked, is_number, said
from dynlib.errors import (
    ConcurrentUseError,
    ConfigError,
    ModelError,
    NumericsWarning,
    PinMismatchError,
    ReadOnlyError,
    ResumeError,
    SnapshotError,
    SnapshotFileError,
    UnknownNameError,
    shortened,
    suggest,
)
from dynlib.markup import markup, panel, table
from dynlib.results import Results, ResultsView
from dynlib.runtime.driver import Buffers, Task
from dynlib.runtime.progress import CrawlWarning, Passing, Progress, ProgressDisplay, Watch
from dynlib.runtime.state import Array, SessionState
from dynlib.runtime.trace import Trace, within_budget
from dynlib.session.accumulator import Accumulator, columns_named, view_of
from dynlib.session.every import DEFAULT_CHECKPOINT
from dynlib.session.full_model import FullModel, build
from dynlib.session.keywords import ARGUMENTS
from dynlib.session.lineage import (
    Ancestor,
    Edit,
    Lineage,
    Moment,
    Root,
    Trail,
    Tree,
    digest_of,
    edit_of,
    edited_fields,
    tree_of,
    with_ancestor,
    with_moment,
)
from dynlib.session.passage import carry_out
from dynlib.session.pins import Compatibility, compare_environments, compare_pins
from dynlib.session.presets import PresetShelf
from dynlib.session.run_plan import FAR, RunArguments, checked_recorder, extent_of
from dynlib.session.snapshots import Snapshot
from dynlib.session.values import Given, Values, by_name, merged, plain, unknown
from dynlib.spec.locations import ModelLike
from dynlib.spec.model import Model
from dynlib.spec.observer import BoundObserver, Observer, bind
from dynlib.status import Status

if TYPE_CHECKING:  # what follows is imported where it is used first: a session should start at once
    from dynlib.session.adoption import Adoption
    from dynlib.session.difference import Difference
    from dynlib.session.proof import Proof, Replay
    from dynlib.session.run_directory import RunDirectory
    from dynlib.session.snapshot_file import SnapshotMeta

_QUIET_SECONDS = 60.0
"""How long a warning about a slow run is not repeated."""
Method = TypeVar("Method", bound=Callable[..., Any])


def _exclusive(method: Method) -> Method:
    """A method that changes the session: refused while another one is at work, in whatever thread."""
    name = method.__name__

    @wraps(method)
    def guarded(self: Sim, *args: Any, **kwargs: Any) -> Any:
        if not self._busy.acquire(blocking=False):
            raise ConcurrentUseError(
                f"{name}() was called while this session is busy with {self._doing}(); it does one thing at a time. "
                "For another thread, make a session of its own with fork()"
            )
        vars(self)["_doing"] = name
        try:
            return method(self, *args, **kwargs)
        finally:
            self._busy.release()

    return cast(Method, guarded)


class RunOutcome(Struct, frozen=True):
    """How a run ended: its status, the time and step reached, steps taken and seconds spent.

    `kind` says whether the run was "started" or "continued"; one in a directory that had nothing left to do is
    "complete".

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=5.0)
    >>> outcome.ok, outcome.kind, outcome.t, outcome.steps, outcome.segment
    (True, 'started', 5.0, 500, 'run#0')
    """

    status: Status
    t: float
    step: int
    steps: int
    seconds: float
    segment: str | None
    kind: str

    @property
    def ok(self) -> bool:
        """Whether the run reached its horizon or its stop condition."""
        return self.status.ok

    def _repr_html_(self) -> str:
        rows = [("t", f"{self.t:g}"), ("steps", f"{self.steps}"), ("seconds", f"{self.seconds:.3g}")]
        rows += [("segment", self.segment)] if self.segment is not None else []
        return panel(f"run {self.kind}: {self.status.name}", f"<p>{markup(self.status.meaning)}</p>", table(rows))


class Sim:
    """A simulation to hold: `run`, `create_snapshot`, `reset`, `assign`, `export_snapshot`, and go on.

    A run without `resume` starts at the session's *mark*: where it was last placed by construction, `reset`,
    `import_snapshot` or `assign`. A resumed run continues from the current state. `T` is always an absolute time.

    >>> import dynlib
    >>> sim = dynlib.Sim("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> snapshot = sim.create_snapshot("after-baseline")
    >>> outcome = sim.run(T=200.0, resume=True)
    >>> sim.reset("after-baseline")
    >>> sim.t, sim.step, sim.state.status.name, sim.can_resume()
    (100.0, 1000, 'DONE', (True, None))
    >>> sim.assign(I=20.0)
    >>> outcome = sim.run(T=200.0, resume=True)
    >>> sim
    <Sim 'izhikevich' with rk4: t = 200, step 2000, 1000 samples in 1 segments, 2 snapshots>
    >>> sim.full_model
    <FullModel 'izhikevich': rk4, float64, compiled>
    """

    _recording: Accumulator
    _directory: RunDirectory | None  # where the recording stands, if on disk
    _busy: threading.Lock

    @checked
    def __init__(self, model: FullModel | ModelLike, *, buffers: Buffers | None = None) -> None:
        self._full = model if isinstance(model, FullModel) else build(model)
        self._buffers = buffers or Buffers()
        self._state = self._mark = self._full.initial_state()
        self._state_full = self._mark_full = self._full  # the models in which the lineages of state and mark began
        self._trail = self._mark_trail = self._new_trail()
        self._traces = [Trace.starting_at(self._state)]
        self._snapshots: dict[str, Snapshot] = {}
        self._presets = PresetShelf(self._full.model)
        self._busy, self._doing = threading.Lock(), ""
        self._quiet_until = 0.0  # until when no warning about slow runs is repeated
        self._clear_recording()

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and name != "full_model":
            raise self._read_only(name, value)
        object.__setattr__(self, name, value)

    def _read_only(self, name: str, value: object) -> ReadOnlyError:
        model, how = self._full.model, f"{name}={said(value)}"
        if model.quantity(name) is not None:
            return ReadOnlyError(
                f"{name!r} is a value of the model, not an attribute of the session; set it with assign({how})"
            )
        calls = {"setup() and run()": ("dt", *self._full.stepper.option_names), **ARGUMENTS}
        for call, names in calls.items():
            if name in names:
                return ReadOnlyError(f"{name!r} is an argument of {call}, not an attribute of the session; give {how}")
        if name in dir(self):
            return ReadOnlyError(f"{name!r} of a session cannot be set; run(), assign() and reset() move and change it")
        known = [q.name for q in (*model.states, *model.params)]
        return ReadOnlyError(
            f"a session has no attribute {name!r}; values of its model are set with assign(NAME=…)"
            f"{suggest(name, known)}"
        )

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
        if not isinstance(other, FullModel):
            raise ConfigError(
                f"full_model must be a model ready to run, as dynlib.build(…) gives it, not {said(other)}"
            )
        self._full = other
        self._presets = PresetShelf(other.model)
        if not compare_pins(other.pins, self._mark.pins).ok:
            self._mark, self._mark_trail, self._mark_full = other.initial_state(), self._new_trail(), other

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
        """The current state by name: a float, or an array of shape (N,) for an array state.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> sim.state_dict(), sim.state_vector().tolist()
        ({'x': 2.0, 'y': 0.0}, [2.0, 0.0])
        """
        return by_name(self._state_full.model.states, self.state_vector())

    def param_dict(self) -> dict[str, Any]:
        """The current parameters by name.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> sim.param_dict(), sim.param_vector().tolist()
        ({'mu': 1.0}, [1.0])
        """
        return by_name(self._state_full.model.params, self.param_vector())

    def jacobian(self) -> Array:
        """The derivatives of the right-hand side with respect to the state, here and now, shape (n, n).

        See `FullModel.jacobian`, which gives them for any other time, state and parameters.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> sim.jacobian().tolist()
        [[0.0, 1.0], [-1.0, -3.0]]
        """
        return self._state_full.jacobian_at(self._state)

    def config(self) -> dict[str, Any]:
        """Stepper, its options, step size, dtype and arithmetic, as the next run will use them.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> sim.config()["stepper"], sim.config()["dt"]
        ('rk4', 0.01)
        """
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
        """Where the session stands, and whether it can be resumed, without running anything.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> summary = sim.session_state_summary()
        >>> summary["t"], summary["status"], summary["can_resume"]
        (0.0, 'RUNNING', True)
        """
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
            "samples": self._recording.rows,
            "segments": [s.name for s in self._recording.segments],
            "snapshots": list(self._snapshots),
        }

    def __repr__(self) -> str:
        full = self._full
        return (
            f"<Sim {full.model.name!r} with {full.stepper.name}: t = {self.t:g}, step {self.step}, "
            f"{self._recording.rows} samples in {len(self._recording.segments)} segments, "
            f"{len(self._snapshots)} snapshots>"
        )

    def _repr_html_(self) -> str:
        full, recording = self._full, self._recording
        values = {**self.state_dict(), **self.param_dict()}
        now = [(name, f"{v:.6g}" if is_number(v) else f"{len(v)} elements") for name, v in values.items()]
        facts = [
            ("stepper", full.stepper.name),
            ("t", f"{self.t:g}"),
            ("step", f"{self.step}"),
            ("status", self._state.status.name),
            ("recorded", f"{recording.rows} samples in {len(recording.segments)} segments"),
            ("snapshots", ", ".join(self._snapshots) or "—"),
        ]
        return panel(f"session of {full.model.name}", table(facts), table(now, ("name", "value now")))

    # -- run ---------------------------------------------------------------------------------------------------

    @_exclusive
    def run(
        self,
        T: float | None = None,
        *,
        N: int | None = None,
        t0: float | None = None,
        dt: float | None = None,
        ic: Given | None = None,
        params: Given | None = None,
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
        store: str | os.PathLike[str] | None = None,
        checkpoint: str = DEFAULT_CHECKPOINT,
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

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=10.0, params={"mu": 2.0}, record_dt=0.5, tag="first")
        >>> outcome = sim.run(T=20.0, resume=True, tag="second")
        >>> [(s.name, s.t_start, s.t_end) for s in sim.results().segments]
        [('first', 0.0, 10.0), ('second', 10.0, 20.0)]
        """
        arguments = RunArguments(
            T, N, t0, dt, ic, params, seed, record, record_interval, record_dt, record_vars, transient, resume, tag,
            max_steps, progress, store, checkpoint, options,
        )  # fmt: skip
        return self._run(arguments, resume_or_start=False)

    @checked
    @_exclusive
    def resume_or_start(self, store: str | os.PathLike[str], T: float | None = None, **arguments: Any) -> RunOutcome:
        """Go on with the run in a directory, or start it there: the same call again after any end of the process.

        Takes the arguments of `run`. If the directory holds no run yet, this is `run(T, store=store, …)`. Otherwise the
        run there must have begun just as this session would begin it; the session then stands at its last whole
        checkpoint, as if it had run there itself, and goes on. A run that has reached its end already takes no steps.
        Raises `StoreError` if it began in another way, naming what differs, and `StoreBusyError` if another process
        has it.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> sim.resume_or_start("runs/exp1", T=10.0).kind
        'started'
        >>> sim.resume_or_start("runs/exp1", T=10.0).kind
        'complete'
        >>> sim.resume_or_start("runs/exp1", T=20.0).kind
        'continued'
        """
        names = {*RunArguments.__struct_fields__} - {"options"}
        options = {name: value for name, value in arguments.items() if name not in names}
        given = {name: value for name, value in arguments.items() if name in names}
        if given.get("resume"):
            raise ConfigError("resume_or_start() decides by itself whether to resume; leave resume out")
        return self._run(RunArguments(T, **{**given, "store": store}, options=options), resume_or_start=True)

    def _run(self, arguments: RunArguments, resume_or_start: bool) -> RunOutcome:
        began = time.perf_counter()
        resume, full = arguments.resume, self._full
        arguments.check(self._recording)
        if resume and not self.can_resume()[0]:
            raise ResumeError(
                f"cannot resume: {self.can_resume()[1]}; reset() to a snapshot or build a compatible model"
            )
        start = self._state if resume else arguments.start(full, self._mark)
        accumulator = self._recording if resume else Accumulator(full)
        plan = arguments.plan(full, start, accumulator)
        directory = self._directory_for(arguments)
        display = ProgressDisplay() if arguments.progress is True else None
        watch = self._watch(display, arguments.progress)
        before = dict(self._snapshots), self._trail, self._mark_trail
        if "initial" not in self._snapshots:
            self._keep_initial()
        trail = self._trail if resume else self._mark_trail
        if not resume and start is not self._mark:
            names = full.stepper.option_names
            restart, new_past = arguments.moves_the_start, arguments.ic is not None
            trail = trail.then(edit_of(self._mark, start, full.model, names, restart=restart, new_past=new_past))
        trace = self._traces[-1].copy() if resume else Trace.starting_at(start)
        failure, terminated, kind = None, False, "continued" if resume else "started"
        try:
            if directory is None:
                passage = carry_out(full, plan, start, start, trail, trace, accumulator, self._buffers, watch, None)
            else:
                from dynlib.session.stored_run import Standing, run_in_directory

                here = Standing(start, trail, trace, accumulator)
                found = run_in_directory(full, directory, arguments, plan, here, self._buffers, watch, resume_or_start)
                passage, accumulator = found.passage, found.accumulator
                failure, terminated, kind = found.failure, found.terminated, found.kind
        except BaseException:  # nothing has come of the run
            self._snapshots, self._trail, self._mark_trail = before
            raise
        finally:
            if display is not None:
                display.close()
        after = passage.state
        vars(self).update(  # all at once, and without __setattr__ six times
            _state=after,
            _state_full=self._state_full if resume else self._mark_full,
            _trail=passage.trail,
            _recording=accumulator,
            _directory=directory,
            _traces=[*(self._traces[:-1] if resume else []), passage.trace],
        )
        if failure is not None:
            raise failure
        if terminated:
            raise SystemExit(128 + signal.SIGTERM)
        if after.status is Status.INTERRUPTED:
            raise KeyboardInterrupt(f"stopped at t = {after.t:g}; the session stands there and can be resumed")
        if not after.status.ok:
            warnings.warn(
                f"{after.status.name} at t = {after.t:g}: {after.status.meaning}", NumericsWarning, stacklevel=4
            )
        return RunOutcome(
            after.status,
            after.t,
            after.step,
            after.step - passage.first.step,
            time.perf_counter() - began,
            accumulator.segments[-1].name if plan.recording and accumulator.segments else None,
            kind,
        )

    def _watch(self, display: ProgressDisplay | None, given: bool | Progress) -> Watch | None:
        """Who looks at a run on its way: the display or the user's function, and the warning where it may be needed."""
        stepper = self._full.stepper
        crawl = None
        if stepper.family == "explicit_rk" and stepper.adaptive and time.monotonic() >= self._quiet_until:
            crawl = CrawlWarning(stepper.name, self._full.fastest_decay_at, self._crawl_was_said)
        shown: Watch | None = display
        if not isinstance(given, bool):

            def shown(at: Passing) -> None:
                given(at.fraction, at.t)

        if crawl is None or shown is None:
            return crawl or shown

        def both(at: Passing) -> None:
            shown(at)
            crawl(at)

        return both

    def _crawl_was_said(self) -> None:
        self._quiet_until = time.monotonic() + _QUIET_SECONDS

    def _directory_for(self, arguments: RunArguments) -> RunDirectory | None:
        """The directory that a run goes to: the one it names, or the one that the recording stands in."""
        if arguments.store is None:
            return self._directory if arguments.resume else None
        from dynlib.session.run_directory import RunDirectory, folder_of

        path = folder_of(arguments.store)
        if arguments.resume and self._directory is not None:
            if path.resolve() != self._directory.path.resolve():
                raise ResumeError(f"the recording stands in {self._directory.path} and cannot go on in {path}")
            return self._directory
        return RunDirectory(path)

    # -- the recording -----------------------------------------------------------------------------------------

    def raw_results(self) -> Results:
        """Everything recorded since the last fresh run, as immutable arrays."""
        return self.results().raw

    def results(self) -> ResultsView:
        """Everything recorded since the last fresh run, by name.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0, record_dt=0.25)
        >>> sim.results().t.tolist(), sim.raw_results().data.shape
        ([0.0, 0.25, 0.5, 0.75, 1.0], (5, 2))
        """
        return ResultsView(self._recording.view().raw, self.at)

    @checked
    @_exclusive
    def name_segment(self, which: str | int, name: str) -> None:
        """Rename a segment, given by name or position. Raises `UnknownNameError` and `ConfigError`.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0)
        >>> sim.name_last_segment("start")
        >>> sim.name_segment("start", "first second")
        >>> sim.results().segments[0].name
        'first second'
        """
        self._recording.rename(which, name)

    @checked
    @_exclusive
    def name_last_segment(self, name: str) -> None:
        """Rename the last segment."""
        self._recording.rename(-1, name)

    # -- values ------------------------------------------------------------------------------------------------

    @checked
    @_exclusive
    def assign(
        self, values: Mapping[str, Values] | None = None, /, *, clear_history: bool = False, **more: Values
    ) -> None:
        """Set states and parameters by name; the trajectory restarts from the reported state at the current time.

        A pending step, stepper history and the controller's memory are dropped; step count, lag buffers, snapshots and
        options stay. The mark moves here. With `clear_history=True` results and segments are cleared. Arrays take a
        sequence, one element is written `{"u[3]": 1.0}`. Raises `UnknownNameError`, `ConfigError`.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0)
        >>> sim.assign(x=0.5, mu=3.0)
        >>> sim.state_dict()["x"], sim.param_dict()["mu"], sim.t
        (0.5, 3.0, 1.0)
        >>> sim.edits()[-1].changes[-1]
        ('mu', 1.0, 3.0)
        """
        given = {**(values or {}), **more}
        ok, reason = self.can_resume()
        if not ok:
            raise ResumeError(f"cannot assign to this state: {reason}; reset() to a snapshot first")
        model = self._full.model
        known = {e for q in (*model.states, *model.params) for e in (q.name, *q.element_names)}
        for name in given:
            if name not in known:
                raise unknown("state or parameter", name, (*model.states, *model.params), model)
        states = {e for q in model.states for e in (q.name, *q.element_names)}
        y = merged(model.states, self._state["y"], {k: v for k, v in given.items() if k in states}, "state")
        p = merged(
            model.params, self._state["params"], {k: v for k, v in given.items() if k not in states}, "parameter"
        )
        before = self._state
        self._state = self._mark = before.restarted(y=y, params=p)
        self._mark_full = self._state_full
        self._trail = self._trail.then(edit_of(before, self._state, model, self._full.stepper.option_names))
        self._mark_trail = self._trail
        self._traces = within_budget([*self._traces, Trace.starting_at(self._state)])
        if clear_history:
            self._clear_recording()

    @checked
    def observer(self, name: str) -> dict[str, float]:
        """The numbers of an observer by name, and what is read from them. Raises `UnknownNameError`.

        >>> sim = dynlib.setup("builtin://map/logistic", observers=[dynlib.extrema("x")])
        >>> outcome = sim.run(N=100)
        >>> round(sim.observer("extrema_of_x")["greatest"], 3)
        0.974
        >>> sim.reset_observers()
        >>> sim.observer("extrema_of_x")["count"]
        0.0
        """
        if not self.can_resume()[0]:
            raise ResumeError(f"the state belongs to another model: {self.can_resume()[1]}")
        for each in self._full.observers:
            if each.name == name:
                return each.values({key: float(self._state[each.field(key)][0]) for key in each.observer.memory})
        raise UnknownNameError("observer", name, [o.name for o in self._full.observers])

    @_exclusive
    def reset_observers(self) -> None:
        """Begin anew with the memory of all observers; the trajectory goes on as it is. The mark moves here."""
        ok, reason = self.can_resume()
        if not ok:
            raise ResumeError(f"cannot reset the observers of this state: {reason}")
        state, edit = self._edited(self._state, self._full.fresh_observers)
        self._state = self._mark = state
        self._mark_full = self._state_full
        self._trail = self._mark_trail = self._trail.then(edit)
        self._traces = within_budget([*self._traces, Trace.starting_at(state)])

    def _edited(self, state: SessionState, values: Mapping[str, float]) -> tuple[SessionState, Edit]:
        return edited_fields(self._full.model, self._full.stepper.option_names, state, values)

    @property
    def presets(self) -> PresetShelf:
        """The presets of this session."""
        return self._presets

    @checked
    def list_presets(self, pattern: str = "*") -> list[str]:
        """Names of presets that match a shell pattern."""
        return self._presets.names(pattern)

    @checked
    def apply_preset(self, name: str) -> None:
        """Assign the values of a preset.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> sim.list_presets("*bursting")
        ['intrinsic_bursting', 'bursting']
        >>> sim.presets.values("bursting")
        {'a': 0.02, 'b': 0.2, 'c': -50.0, 'd': 2.0}
        >>> sim.apply_preset("bursting")
        >>> sim.param_dict()["c"]
        -50.0
        """
        self.assign(self._presets.values(name))

    @checked
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
        self._presets.add(name, plain(params or {}), plain(states or {}), overwrite)

    @checked
    def load_preset(self, pattern: str, path: str | os.PathLike[str], on_conflict: str = "error") -> list[str]:
        """Load matching presets from a file; `on_conflict` is "error", "keep" or "replace". Returns their names."""
        return self._presets.load(pattern, path, on_conflict)

    @checked
    def save_preset(self, name: str, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write a preset to a file, beside those already in it.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> sim.add_preset("mine", params={"I": 12.0})
        >>> sim.save_preset("mine", "presets.toml")
        >>> dynlib.setup("builtin://ode/izhikevich").load_preset("m*", "presets.toml")
        ['mine']
        """
        self._presets.save(name, path, overwrite)

    # -- snapshots ---------------------------------------------------------------------------------------------

    @checked
    @_exclusive
    def create_snapshot(self, name: str, description: str = "") -> Snapshot:
        """Keep the current state under a name. Raises `SnapshotError` if the name is taken.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0)
        >>> snapshot = sim.create_snapshot("one", "a unit of time")
        >>> snapshot.t, snapshot.step
        (1.0, 100)
        >>> sim.rename_snapshot("one", "first")
        >>> sim.snapshot("first").id == snapshot.id
        True
        >>> sim.delete_snapshot("first")
        >>> [each["name"] for each in sim.list_snapshots()]
        ['initial']
        """
        if name in self._snapshots:
            raise SnapshotError(
                f"a snapshot named {name!r} exists already; snapshots are never overwritten: choose another name"
            )
        if not name:
            raise SnapshotError("the name of a snapshot must be a non-empty text, not ''")
        snapshot = self._current(name, description)
        if self._mark is self._state:
            self._mark_trail = self._trail.after(snapshot)
        self._trail = self._trail.after(snapshot)
        self._snapshots[name] = snapshot
        return snapshot

    def _keep_initial(self) -> None:
        full = self._mark_full
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

    def _stand_at(self, state: SessionState, trail: Trail, began_in: FullModel) -> None:
        """Place the session: state and mark are this one, and nothing is recorded.

        `began_in` is the model in which the lineage began: its own values are those of the root.
        """
        vars(self).update(  # all at once, and without __setattr__ nine times
            _state=state,
            _mark=state,
            _state_full=began_in,
            _mark_full=began_in,
            _trail=trail,
            _mark_trail=trail,
            _traces=[Trace.starting_at(state)],
            _recording=Accumulator(self._full),
            _directory=None,
        )

    def _clear_recording(self) -> None:
        """Begin a new, empty recording; one that stands in a run directory stays there."""
        self._recording = Accumulator(self._full)
        self._directory = None

    @checked
    @_exclusive
    def rename_snapshot(self, old: str, new: str) -> None:
        """Give a snapshot another name; its content and address stay. Raises `UnknownNameError`, `SnapshotError`."""
        chosen = self._changeable(old)
        if not new:
            raise SnapshotError("the name of a snapshot must be a non-empty text, not ''")
        if new in self._snapshots:
            raise SnapshotError(f"a snapshot named {new!r} exists already")
        self._snapshots = {new if name == old else name: each for name, each in self._snapshots.items()}
        self._replace_moment(chosen, replace(chosen, name=new))

    @checked
    @_exclusive
    def delete_snapshot(self, name: str) -> None:
        """Forget a snapshot; what came from it stays, and knows its lineage. Raises `UnknownNameError`."""
        chosen = self._changeable(name)
        del self._snapshots[name]
        known = Ancestor(chosen.name, chosen.t, chosen.step, chosen.trail, chosen.state_digest, chosen.known_id)
        self._replace_moment(chosen, known)  # its state is no longer kept for the lineage of others

    def _replace_moment(self, old: Moment, new: Moment) -> None:
        """Put another moment of the same content in the place of one, in all lineages of this session."""
        done: dict[int, Moment] = {id(old): new}
        self._snapshots = {name: with_moment(each, done) for name, each in self._snapshots.items()}
        self._trail, self._mark_trail = (with_ancestor(t, done) for t in (self._trail, self._mark_trail))

    def _changeable(self, name: str) -> Snapshot:
        if name == "initial":
            raise SnapshotError("'initial' is where reset() goes by default; it is neither renamed nor deleted")
        return self.snapshot(name)

    # -- the tree ----------------------------------------------------------------------------------------------

    @checked
    def fork(self, name: str, description: str = "", *, rng: str = "continue") -> Sim:
        """An independent session that stands where this one does; the branching point is kept here as a snapshot.

        It shares the model and begins with the snapshots and presets of this session; nothing that either does
        afterwards reaches the other. In a random model `rng` says which numbers the fork sees: "continue": those that
        this session would have seen; "reseed": its own; "common": those of every fork made here with "common". Raises
        `SnapshotError` if the name is taken.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0)
        >>> other = sim.fork("point")
        >>> other.assign(mu=3.0)
        >>> outcome = other.run(T=2.0, resume=True)
        >>> sim.t, other.t
        (1.0, 2.0)
        >>> third = sim.branch("same point")  # another name for it
        """
        if rng not in ("continue", "reseed", "common"):
            raise ConfigError(f"rng must be 'continue', 'reseed' or 'common', not {rng!r}")
        if rng != "continue" and not self._full.model.random:
            raise ConfigError(f"model {self._full.model.name!r} draws no random numbers; leave rng out")
        point = digest_of(self._state)
        self.create_snapshot(name, description)
        other = self._twin(self._buffers)
        if rng != "continue":
            word = hashlib.sha256(f"{point} {name if rng == 'reseed' else ''}".encode()).digest()
            stream = int.from_bytes(word[:4], "little") | 1
            state, edit = self._edited(other._state, {"stream": stream})
            other._stand_at(state, other._trail.then(edit), other._state_full)
        return other

    branch = fork

    def _twin(self, buffers: Buffers) -> Sim:
        other = Sim(self._full, buffers=buffers)
        other._snapshots = dict(self._snapshots)
        other._presets = self._presets.copy()
        other._stand_at(self._state, self._trail, self._state_full)
        if not self.can_resume()[0]:  # the state belongs to another model: runs begin where they would begin here
            other._mark, other._mark_trail, other._mark_full = self._mark, self._mark_trail, self._mark_full
        return other

    @checked
    def lineage(self, snapshot: str | Snapshot | None = None) -> Lineage:
        """What led from the root to a snapshot, or to the current state: runs and edits with old and new values.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0)
        >>> sim.assign(mu=3.0)
        >>> "set mu: 1 → 3" in str(sim.lineage())
        True
        """
        return Lineage(self._moment(snapshot))

    @checked
    def tree(self, *others: Sim) -> Tree:
        """All snapshots, and the current states, of this session and others: how each came from another.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0)
        >>> snapshot = sim.create_snapshot("one")
        >>> [branch.moment.name for branch in sim.tree().branches]
        ['initial', 'one']
        """
        found: list[Moment] = []
        for number, sim in enumerate((self, *others)):
            found += sim._snapshots.values()
            if sim._trail.deeds:
                found.append(sim._current("now" if number == 0 else f"now ({number})"))
        return tree_of(found)

    @checked
    def diff(self, a: str | Snapshot, b: str | Snapshot | None = None) -> Difference:
        """Two snapshots, or a snapshot and the current state, side by side: values, configuration and lineage.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> snapshot = sim.create_snapshot("start")
        >>> sim.assign(mu=3.0)
        >>> [(row.name, row.a, row.b) for row in sim.diff("start").changed]
        [('mu', 1.0, 3.0)]
        """
        from dynlib.session.difference import compare

        return compare(self._moment(a), self._moment(b))

    def _current(self, name: str = "current", description: str = "") -> Snapshot:
        full = self._state_full
        return Snapshot(name, self._state, full.model, self._trail, description, observers=full.observers)

    def _moment(self, which: str | Snapshot | None) -> Snapshot:
        if which is None:
            return self._current()
        return which if isinstance(which, Snapshot) else self.snapshot(which)

    # -- the past ----------------------------------------------------------------------------------------------

    @checked
    def at(self, t: float) -> dict[str, Any]:
        """States and aux variables at a past time, by name, to the bit as a recording would have shown them.

        The time is computed again from the nearest of the states that every run keeps by itself, a fraction of a
        second of work apart (see `Trace`). Where a value was assigned at that very time, the new one counts. Raises
        `ConfigError` for a time outside of what this session has run through since it was last placed.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=10.0, record=False)
        >>> round(sim.at(2.5)["x"], 6)
        -0.840966
        """
        if not (is_number(t) and math.isfinite(t)):
            raise ConfigError(f"t must be a finite number, not {t!r}")
        state = self._again(float(t))
        task = Task(state.t, state.step, Status.DONE, True, True)
        _, blocks = self._full.advance(state, task, self._full.columns, self._buffers)
        view = view_of(self._full.model, self._full.columns, blocks, ())
        found = {name: view[name][0] for name in view.names}
        return {name: float(value) if np.ndim(value) == 0 else value for name, value in found.items()}

    @checked
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

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=10.0, record=False)
        >>> sim.record_again(["x"], 2.0, 3.0, record_dt=0.5).t.tolist()
        [2.0, 2.5, 3.0]
        """
        trace = self._traces[-1]
        t0 = trace.states[0].t if t0 is None else t0
        t1 = trace.end if t1 is None else t1
        if not (is_number(t0) and is_number(t1) and t0 < t1):
            raise ConfigError(f"record_again needs times t0 < t1, not {t0!r} and {t1!r}")
        trace = self._trace_at(float(t1), float(t0))
        if t0 < trace.states[0].t:
            raise ConfigError(
                f"t0 = {t0:g} lies before the edit or start at t = {trace.states[0].t:g}; record again from there"
            )
        columns = columns_named(self._full, record_vars)
        state = self._again(float(t0), trace)
        state = state.recorded(*checked_recorder(state, t1, record_interval, record_dt))
        task = Task(float(t1), FAR, Status.MAX_STEPS, True, record_dt is not None or not state.pending)
        blocks = self._full.new_recording(len(columns))
        while True:  # a stop condition of the model ended a run, but not the past
            after, part = self._full.advance(state, task, columns, self._buffers)
            blocks.events += part.events
            for times, steps, kind, data in part.samples:
                shown = kind == 0
                blocks.samples.append((times[shown], steps[shown], kind[shown], data[shown]))
            if after.status is Status.INTERRUPTED:
                raise KeyboardInterrupt("interrupted; nothing of the session has changed")
            if after.status is not Status.STOPPED or after.t >= t1:
                return view_of(self._full.model, columns, blocks, ())
            state, task = after, replace(task, start_sample=False)

    def _trace_at(self, t: float, since: float | None = None) -> Trace:
        """The latest stretch of the past with a time, and with an earlier one where it can be."""
        found = [trace for trace in self._traces if trace.states[0].t <= t <= trace.reach]
        if found:
            return next((trace for trace in reversed(found) if since is None or trace.states[0].t <= since), found[-1])
        raise ConfigError(
            f"t = {t:g} lies outside of t = {self._traces[0].states[0].t:g} … {self._traces[-1].end:g}, which this "
            "session has run through since it was last placed; run further first, or reset() to an earlier snapshot"
        )

    def _again(self, t: float, trace: Trace | None = None) -> SessionState:
        """The state at a past time, reached again."""
        if not self.can_resume()[0]:
            raise ResumeError(f"the past belongs to another model: {self.can_resume()[1]}")
        trace = trace or self._trace_at(t)
        state = trace.before(t)
        while state.t < t:
            after = self._full.advance(state, Task(t, FAR, Status.MAX_STEPS), (), self._buffers)[0]
            if after.status is Status.INTERRUPTED:
                raise KeyboardInterrupt("interrupted; nothing of the session has changed")
            if (after.t, after.step) == (state.t, state.step):
                break
            state = after
        return state

    # -- proof -------------------------------------------------------------------------------------------------

    @checked
    def verify_restart(self, T: float, cuts: int | Sequence[float] = 5, *, process: bool = True) -> Proof:
        """Run from here to `T` in several ways that must agree to the bit, and say where the first one differs.

        Ways: twice; cut at some times (`cuts`: how many, or which); with files written on the way; continued from
        files; with other buffer capacities; and (`process`) in a new process. The session itself stays as it is.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0)
        >>> sim.verify_restart(2.0, cuts=2, process=False).ok
        True
        """
        from dynlib.session.proof import verify_restart

        ok, reason = self.can_resume()
        if not ok:
            raise ResumeError(f"cannot run from here: {reason}")
        extent_of(self._full, self._state, T=T, resume=True)
        return verify_restart(self._twin, self._state, float(T), cuts, process)

    @checked
    def replay(self, snapshot: str | Snapshot | None = None) -> Replay:
        """Run the lineage of a snapshot, or of the current state, again from its root and compare every bit.

        Raises `PinMismatchError` if it belongs to another model, `SnapshotError` if its root is not exact.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0)
        >>> sim.replay().ok
        True
        """
        from dynlib.session.proof import replay

        moment = self._moment(snapshot)
        verdict = self.compat_check(moment)
        if not verdict.ok:
            raise PinMismatchError(f"the lineage of {moment.name!r} belongs to another model: {verdict.reason()}")
        # the root is what that model describes: the session's own may have other values for the same equations
        return replay(replace(self._full, model=moment.model, observers=moment.observers), moment)

    def list_snapshots(self) -> list[dict[str, object]]:
        """For each snapshot: name, time `t`, step count, time of creation, description."""
        return [s.summary() for s in self._snapshots.values()]

    @checked
    def snapshot(self, name: str) -> Snapshot:
        """A snapshot by name. Raises `UnknownNameError`."""
        return self._named(name)

    def _named(self, name: str) -> Snapshot:
        if name not in self._snapshots:
            if not self._snapshots:
                raise SnapshotError(f"there is no snapshot {name!r} yet: the first run() makes 'initial'")
            raise UnknownNameError("snapshot", name, self._snapshots)
        return self._snapshots[name]

    @checked
    def compat_check(self, snapshot: str | os.PathLike[str] | Snapshot) -> Compatibility:
        """Whether a snapshot, or a snapshot file given as a path, fits this session; nothing is changed.

        Gives each differing pin with both values (here, there), and how far the two agree (`level`). Raises
        `UnknownNameError`, `SnapshotFileError`.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> snapshot = sim.create_snapshot("start")
        >>> sim.compat_check("start").level
        'bitwise'
        """
        if isinstance(snapshot, str):
            snapshot = self.snapshot(snapshot)
        if isinstance(snapshot, Snapshot):
            return compare_pins(self._full.pins, snapshot.state.pins)
        from dynlib.session.environment import environment
        from dynlib.session.snapshot_file import inspect_snapshot

        meta = inspect_snapshot(snapshot)
        surroundings = compare_environments(environment(self._full.kernel.jit), meta.environment)
        return replace(compare_pins(self._full.pins, meta.pins), environment=surroundings)

    def can_resume(self) -> tuple[bool, str | None]:
        """`(True, None)`, or `(False, reason)` if the state does not fit the model."""
        verdict = compare_pins(self._full.pins, self._state.pins)
        return verdict.ok, verdict.reason()

    @checked
    @_exclusive
    def reset(self, name: str = "initial") -> None:
        """Go back to a snapshot and clear everything recorded; snapshots stay.

        Raises `UnknownNameError`, and `PinMismatchError` naming the pin and both values.
        """
        chosen = self._named(name)
        verdict = compare_pins(self._full.pins, chosen.state.pins)
        if not verdict.ok:
            raise PinMismatchError(f"snapshot {name!r} does not fit this session: {verdict.reason()}")
        began_in = self._full
        if chosen.model is not began_in.model or chosen.observers is not began_in.observers:
            began_in = replace(began_in, model=chosen.model, observers=chosen.observers)
        self._stand_at(chosen.state, chosen.trail.after(chosen), began_in)

    # -- files -------------------------------------------------------------------------------------------------

    @checked
    def export_snapshot(
        self,
        path: str | os.PathLike[str],
        source: str = "current",
        name: str | None = None,
        *,
        results: bool = False,
        durable: bool = True,
    ) -> None:
        """Write the current state, or a snapshot in memory (`source="snapshot"`, `name=…`), to one `.npz` file.

        With `results=True` the file also carries what is recorded, for `read_results`. The write is atomic and
        durable; `durable=False` does not wait for the disk, so that a power cut may take the file. Raises
        `SnapshotError`, `ConfigError`.

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> outcome = sim.run(T=1.0)
        >>> sim.export_snapshot("one.npz")
        >>> sim.inspect_snapshot("one.npz").t
        1.0
        >>> other = dynlib.setup("builtin://ode/van_der_pol")
        >>> meta = other.import_snapshot("one.npz")
        >>> other.run(T=2.0, resume=True).ok
        True
        """
        from dynlib.session.snapshot_file import write_snapshot

        if source == "snapshot":
            if name is None:
                raise ConfigError("source='snapshot' needs name=, the snapshot to export")
            chosen = self.snapshot(name)
        elif source == "current":
            chosen = self._current(name or "current")
        else:
            raise ConfigError(f"source must be 'current' or 'snapshot', not {source!r}")
        created = "" if source == "current" else chosen.created
        if results and self._recording.model.structure_hash != chosen.model.structure_hash:
            raise ConfigError("the results belong to another model than the state and cannot share its file")
        recording = self.raw_results() if results else None
        observers = [o.observer.as_document() for o in chosen.observers]
        write_snapshot(
            path, chosen, created=created, jit=self._full.kernel.jit, observers=observers, results=recording,
            durable=durable,
        )  # fmt: skip

    @staticmethod
    @checked
    def inspect_snapshot(path: str | os.PathLike[str]) -> SnapshotMeta:
        """The metadata of a snapshot file; the session is not touched. Raises `SnapshotFileError`."""
        from dynlib.session.snapshot_file import inspect_snapshot

        return inspect_snapshot(path)

    @checked
    @_exclusive
    def import_snapshot(self, path: str | os.PathLike[str], *, accept: Sequence[str] = ()) -> SnapshotMeta:
        """Replace the session's state by that of a file, and clear everything recorded.

        `accept=("numerics_revision",)` takes a file of another numerics revision. On any error the session stays as it
        was. Raises `SnapshotFileError`, `PinMismatchError`.
        """
        from dynlib.session.snapshot_file import model_in, read_snapshot, state_from

        meta, arrays = read_snapshot(path)
        verdict = compare_pins(self._full.pins, meta.pins, accept)
        if not verdict.ok:
            there, here = shortened(meta.model, 100), self._full.model.name
            raise PinMismatchError(
                f"{os.fspath(path)}, of model {there!r}, does not fit this session of {here!r}: {verdict.reason()}"
            )
        state = state_from(path, meta, arrays, self._full.initial_state())
        began_in = self._full
        own = [o.observer.as_document() for o in began_in.observers]
        if meta.document is not None and (meta.document, meta.observers) != (began_in.document, own):
            model = model_in(path, meta)
            began_in = replace(self._full, model=model, observers=_observers_in(path, meta, model))
        moment = meta.lineage
        trail = moment.trail.after(moment)
        if meta.pins != self._full.pins:
            note = f"{meta.name}, accepted with other {', '.join(compare_pins(self._full.pins, meta.pins).differences)}"
            trail = Trail(replace(moment.trail.root, exact=False, note=note))
        self._stand_at(state, trail, began_in)
        return meta

    @checked
    @_exclusive
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

        >>> sim = dynlib.setup("builtin://ode/van_der_pol")
        >>> snapshot = sim.create_snapshot("start")
        >>> other = dynlib.setup("builtin://ode/brusselator")
        >>> other.adopt_snapshot(snapshot, dry_run=True).kept
        ('x', 'y')
        """
        from dynlib.session.adoption import adopt

        if isinstance(source, Snapshot):
            there = source
        elif isinstance(source, str) and source in self._snapshots:
            there = self._snapshots[source]
        else:
            there = open_snapshot(source, jit=False, accept=("numerics_revision",))._current(os.fspath(source))
        report, y, params = adopt(self._full.model, there.model, there.state, rename or {}, fill or {})
        if not dry_run:
            fresh = self._full.initial_state().edited({"n": there.state.step})
            state = fresh.restarted(y=y, params=params, t=there.t, new_past=True)
            root = self._new_trail().root
            note = f"adopted from {there.name!r} of model {there.model.name!r} at t = {there.t:g}"
            self._stand_at(state, Trail(replace(root, exact=False, note=note)), self._full)
        return report

    def edits(self) -> tuple[Edit, ...]:
        """The log of edits that led to the current state: what changed, from what to what, and what was dropped."""
        return tuple(d for deeds, _ in self.lineage().parts for d in deeds if isinstance(d, Edit))


def _observers_in(path: str | os.PathLike[str], meta: SnapshotMeta, model: Model) -> tuple[BoundObserver, ...]:
    """The observers that a file carries. Raises `SnapshotFileError`."""
    from dynlib.session.snapshot_file import shortly

    try:
        return bind([Observer(**each) for each in meta.observers], model)
    except (ConfigError, ModelError) as problem:
        raise SnapshotFileError(f"{os.fspath(path)} has observers that cannot be read: {shortly(problem)}") from None


@checked
def open_snapshot(path: str | os.PathLike[str], *, jit: bool = True, accept: Sequence[str] = ()) -> Sim:
    """A session that stands where a snapshot file does, with nothing but the file: it carries its model.

    Raises `SnapshotFileError`, and `PinMismatchError` if this library computes differently from the one that wrote it
    and `accept=("numerics_revision",)` does not say that this is wanted.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=1.0)
    >>> sim.export_snapshot("one.npz")
    >>> other = dynlib.open_snapshot("one.npz")
    >>> other.run(T=2.0, resume=True).t
    2.0
    """
    from dynlib.session.snapshot_file import read_snapshot
    from dynlib.session.stored_snapshot import full_model_in

    meta, _ = read_snapshot(path)
    sim = Sim(full_model_in(path, meta, jit=jit))
    sim.import_snapshot(path, accept=accept)
    return sim


@checked
def setup(
    model: ModelLike,
    *,
    stepper: str | None = None,
    dt: float | None = None,
    jit: bool = True,
    math: str = "strict",
    mods: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    **options: float | Mapping[str, float],
) -> Sim:
    """A session for a model: a path, `builtin://ode/izhikevich`, `inline:` text, or a `Model`. See `build`.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/lorenz", stepper="rk4", dt=0.01)
    >>> outcome = sim.run(T=10.0)
    >>> sim.results()["x"].shape
    (1001,)
    """
    return Sim(build(model, stepper=stepper, dt=dt, jit=jit, math=math, mods=mods, observers=observers, **options))
