"""`FullModel`: a model with its stepper, options and kernel; the immutable half of a `Sim`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from msgspec import Struct, field

from dynlib.arguments import checked, is_number, unchanging
from dynlib.compile.kernel import Kernel, build_kernel
from dynlib.errors import ConfigError, ModelError, UnknownNameError, Where, suggest
from dynlib.markup import table
from dynlib.runtime.driver import Buffers, Keeper, Task, drive
from dynlib.runtime.progress import Watch
from dynlib.runtime.recording import Recording
from dynlib.runtime.state import Array, SessionPins, SessionState, initial_state
from dynlib.runtime.trace import Trace
from dynlib.session.keywords import check_keywords
from dynlib.session.values import Given, merged
from dynlib.spec.document import ELSEWHERE, SIM_KEYS, TOLERANCES, with_tolerances
from dynlib.spec.locations import ModelLike, load_model
from dynlib.spec.model import Model
from dynlib.spec.observer import BoundObserver, Observer, bind
from dynlib.spec.source import document_of
from dynlib.steppers import StepperSpec, get_stepper, list_steppers
from dynlib.version import NUMERICS_REVISION, VERSION

if TYPE_CHECKING:
    from dynlib.compile.derivatives import Derivatives, Point
    from dynlib.spec.jacobian import Sparsity

_T = TypeVar("_T")
DEFAULT_STEPPER = {"ode": "rk45", "map": "map", "sde": "euler_maruyama"}
DEFAULT_FIXED_DT = 0.01
DEFAULT_BUFFERS = Buffers()
MAX_DENSE = 2000
"""Most states whose Jacobian is given as a full matrix: 32 MB."""


@unchanging("a value of the model is set in a session: sim.assign({name}={value}); other options by dynlib.build(…)")
class FullModel(Struct, frozen=True, eq=False, dict=True, weakref=True):
    """A model ready to run. Made by `build`; several sessions may share one.

    >>> import dynlib
    >>> full = dynlib.build("builtin://ode/van_der_pol")
    >>> full
    <FullModel 'van_der_pol': rk4, float64, compiled>
    >>> full.columns, full.pins.stepper
    (('x', 'y'), 'rk4')
    >>> [dynlib.Sim(full).run(T=1.0, params={"mu": mu}).ok for mu in (1.0, 2.0)]
    [True, True]
    """

    model: Model
    stepper: StepperSpec
    kernel: Kernel
    config: tuple[float, ...]
    dt: float
    observers: tuple[BoundObserver, ...] = ()
    _kernels: dict[int, Kernel] = field(default_factory=dict)
    _selections: dict[tuple[str, ...], Array] = field(default_factory=dict)

    @cached_property
    def pins(self) -> SessionPins:
        """What a state must fit to be used with this model."""
        return SessionPins(
            structure=self.model.structure_hash,
            stepper=self.stepper.name,
            workspace=self.kernel.layout.signature,
            dtype=self.model.dtype,
            math=self.kernel.math,
            numerics_revision=NUMERICS_REVISION,
            library_version=VERSION,
        )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Everything that can be recorded: components of the state, then aux variables."""
        model = self.model
        return (*(e for q in model.states for e in q.element_names), *(a.name for a in model.aux))

    def initial_state(self) -> SessionState:
        """The state that the model itself describes."""
        return self._initial_state

    @cached_property
    def _initial_state(self) -> SessionState:
        return self.state_at_root(self.config, self.dt)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The model as tables in plain values; it is not to be changed."""
        return document_of(self.model)

    def state_at_root(self, config: tuple[float, ...], dt: float) -> SessionState:
        """The state that the model itself describes, under given options and step size."""
        return initial_state(self.model, self.kernel.layout, self.pins, config, dt).edited(self.fresh_observers)

    @cached_property
    def fresh_observers(self) -> dict[str, float]:
        """The memory of the observers before their first step, by field."""
        return {o.field(key): value for o in self.observers for key, value in o.observer.memory.items()}

    def new_recording(self, width: int) -> Recording:
        """An empty recording of so many columns."""
        return Recording(width, self.model.log_depth, self._dtype)

    @cached_property
    def _dtype(self) -> np.dtype[np.floating[Any]]:
        return np.dtype(self.model.dtype)

    def advance(
        self,
        state: SessionState,
        task: Task,
        columns: tuple[str, ...] = (),
        buffers: Buffers = DEFAULT_BUFFERS,
        watch: Watch | None = None,
        trace: Trace | None = None,
        keeper: Keeper | None = None,
    ) -> tuple[SessionState, Recording]:
        """The state after a task, and what was recorded of the columns on the way. The one way to the driver."""
        recording = self.new_recording(len(columns))
        select = self._selections.get(columns)
        if select is None:
            select = self._selections[columns] = self._selection(columns)
        return drive(
            self.kernel_for(state.config), state, task, select, recording, buffers, watch, trace, keeper
        ), recording

    def _selection(self, columns: tuple[str, ...]) -> Array:
        """For everything that can be recorded its place among the columns, or -1."""
        select = np.full(max(1, len(self.columns)), -1, np.int64)
        where = {name: k for k, name in enumerate(self.columns)}
        for k, name in enumerate(columns):
            select[where[name]] = k
        return select

    def kernel_for(self, config: tuple[float, ...]) -> Kernel:
        """The kernel for given options: another one where they ask for another order of the method."""
        if config == self.config:
            return self.kernel
        spec = self.stepper.compiled_for(config)
        if spec.order == self.stepper.compiled_for(self.config).order:
            return self.kernel
        if spec.order not in self._kernels:
            mode = self.kernel
            self._kernels[spec.order] = build_kernel(
                self.model, spec, jit=mode.jit, math=mode.math, observers=self.observers
            )
        return self._kernels[spec.order]

    # -- derivatives -------------------------------------------------------------------------------------------

    @cached_property
    def _derivatives(self) -> Derivatives:
        from dynlib.compile.derivatives import Derivatives  # not every session wants derivatives

        return Derivatives(self.model, self.kernel.layout)

    @property
    def sparsity(self) -> Sparsity:
        """The elements of the Jacobian that may differ from 0: `rows` and `cols`, and the bandwidths `lower`, `upper`.

        Raises `ModelError` where there is no Jacobian.
        """
        return self._derivatives.sparsity

    @checked
    def jacobian(self, *, t: float | None = None, y: Given | None = None, params: Given | None = None) -> Array:
        """The derivatives of the right-hand side (of a map, of the next state) with respect to the state, shape (n, n).

        It is the model's own Jacobian where it has one, else it follows from the equations; where these jump or have a
        kink, it is that of the piece which they take. `t`, `y` and `params` are the model's own where they are not
        given, or in part by name; `lag_x(k)` is the state itself. Raises `ModelError` where there is no Jacobian, and
        `ConfigError` for impossible values and for more than 2000 states.

        >>> full = dynlib.build("builtin://ode/van_der_pol")
        >>> full.jacobian(y={"x": 0.0}).tolist()
        [[0.0, 1.0], [-1.0, 1.0]]
        >>> full.jacobian_elements(y={"x": 0.0}).tolist()
        [1.0, -1.0, 1.0]
        >>> full.sparsity.rows.tolist(), full.sparsity.cols.tolist()
        ([0, 1, 1], [1, 0, 1])
        """
        return self.jacobian_at(self._state_of(t, y, params))

    @checked
    def jacobian_at(self, state: SessionState) -> Array:
        """The same, at a state of this model."""
        n = self.model.n_states
        if n > MAX_DENSE:
            raise ConfigError(
                f"a Jacobian of {n} states is not given as a full matrix (at most {MAX_DENSE}); take its elements from "
                "jacobian_elements(), and their rows and columns from sparsity"
            )
        full = np.zeros((n, n), self.model.dtype)
        full[self.sparsity.rows, self.sparsity.cols] = self._derivatives.elements(self._point(state))
        return full

    @checked
    def jacobian_elements(
        self, *, t: float | None = None, y: Given | None = None, params: Given | None = None
    ) -> Array:
        """The elements of the Jacobian at `sparsity.rows` and `sparsity.cols`; else like `jacobian`, for any size."""
        return self._derivatives.elements(self._point(self._state_of(t, y, params)))

    @checked
    def rhs(self, y: Given | None = None, *, t: float | None = None, params: Given | None = None) -> Array:
        """The right-hand side (of a map, the next state) at a point, shape (n,); else like `jacobian`.

        >>> full = dynlib.build("builtin://ode/van_der_pol")
        >>> full.rhs({"x": 0.0, "y": 1.0}).tolist()
        [1.0, 1.0]
        """
        return self._derivatives.rhs(self._point(self._state_of(t, y, params)))

    @checked
    def time_derivative(self, *, t: float | None = None, y: Given | None = None, params: Given | None = None) -> Array:
        """The derivative of the right-hand side with respect to `t`, shape (n,); else like `jacobian`.

        >>> full = dynlib.build("builtin://ode/duffing")
        >>> full.time_derivative(t=1.0, params={"gamma": 0.0}).tolist()
        [0.0, -0.0]
        """
        return self._derivatives.time_slope(self._point(self._state_of(t, y, params)))

    @checked
    def parameter_derivative(
        self, name: str, *, t: float | None = None, y: Given | None = None, params: Given | None = None
    ) -> Array:
        """The derivative of the right-hand side with respect to a scalar parameter, shape (n,); else like `jacobian`.

        Raises `UnknownNameError` if there is no such parameter.

        >>> full = dynlib.build("builtin://ode/van_der_pol")
        >>> full.parameter_derivative("mu", y={"x": 0.0, "y": 1.0}).tolist()
        [0.0, 1.0]
        """
        scalars = [q.name for q in self.model.params if q.size is None]
        if name not in scalars:
            raise UnknownNameError("scalar parameter", name, scalars)
        return self._derivatives.parameter_slope(name, self._point(self._state_of(t, y, params)))

    @checked
    def fastest_decay_at(self, state: SessionState) -> float:
        """The rate at which the fastest mode decays at a state, 1/time; NaN where there is no Jacobian."""
        try:
            return self._derivatives.fastest_decay(self._point(state))
        except ModelError:
            return nan

    def _state_of(self, t: float | None, y: Given | None, params: Given | None) -> SessionState:
        state = self.initial_state()
        if t is not None and not (is_number(t) and isfinite(t)):
            raise ConfigError(f"t must be a finite number, not {t!r}")
        return state.restarted(
            t=t,
            y=None if y is None else merged(self.model.states, state["y"], y, "state"),
            params=None if params is None else merged(self.model.params, state["params"], params, "parameter"),
            new_past=True,
        )

    def _point(self, state: SessionState) -> Point:
        lags: dict[tuple[str, int], np.floating] = {}
        for name, depth in self.model.lag_depth.items():
            ring = state[f"lag_{name}"]
            lags |= {(name, k): ring[(state.step - k) % ring.size] for k in range(1, depth + 1)}
        from dynlib.compile.derivatives import Point

        return Point(state.t, state["y"], state["params"], lags)

    @property
    def _mode(self) -> str:
        return "compiled" if self.kernel.jit else "interpreted"

    def __repr__(self) -> str:
        return f"<FullModel {self.model.name!r}: {self.stepper.name}, {self.model.dtype}, {self._mode}>"

    def _repr_html_(self) -> str:
        options = zip(self.stepper.option_names, self.config, strict=True)
        facts = [
            ("stepper", f"{self.stepper.name}, order {self.stepper.order}"),
            ("dt", f"{self.dt:g}" if self.dt else "chosen by the stepper"),
            ("options", ", ".join(f"{name} = {value:g}" for name, value in options) or "—"),
            (
                "arithmetic",
                f"{self.model.dtype}, {self.kernel.math}, {'compiled' if self.kernel.jit else 'interpreted'}",
            ),
        ]
        return self.model._repr_html_() + table(facts)


@checked
def build(
    model: ModelLike,
    *,
    stepper: str | None = None,
    dt: float | None = None,
    jit: bool = True,
    math: str = "strict",
    mods: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    **options: float | Mapping[str, float],
) -> FullModel:
    """Load a model and make it ready to run.

    `stepper` defaults to the model's own, else to rk45 (ODEs) or map (maps). `dt` is the step size of a fixed-step
    method and the first step of an adaptive one (which otherwise chooses it). `options` are those of the stepper
    (`rtol`, `atol`, …); `rtol` and `atol` may also be given for states by name, `atol={"x": 1e-9}`.
    `math="contract"` allows fused multiply-add. `observers` follow every run. A Jacobian that the model states is
    compared with its equations. Raises `ModelError` and `ConfigError`.

    >>> import dynlib
    >>> full = dynlib.build("builtin://ode/van_der_pol", stepper="rk4", dt=0.02)
    >>> dynlib.Sim(full).run(T=1.0).steps
    50
    """
    return build_for(
        "setup()", model, stepper=stepper, dt=dt, jit=jit, math=math, mods=mods, observers=observers, **options
    )


def build_for(
    call: str,
    model: ModelLike,
    *,
    stepper: str | None = None,
    dt: float | None = None,
    jit: bool = True,
    math: str = "strict",
    mods: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    **options: float | Mapping[str, float],
) -> FullModel:
    """The same, for a call that hands its keywords on: messages speak of its arguments."""
    loaded = load_model(model, mods)
    of_states = {name: table for name, table in options.items() if isinstance(table, Mapping) and name in TOLERANCES}
    numbers: dict[str, Any] = {name: value for name, value in options.items() if name not in of_states}
    if of_states:
        loaded = with_tolerances(loaded, of_states)
    spec = get_stepper(DEFAULT_STEPPER[loaded.kind] if stepper is None else stepper)
    if stepper is None and loaded.sim.stepper is not None:
        spec = _in_place(loaded, "stepper", get_stepper, loaded.sim.stepper)
    if not isinstance(jit, bool):
        raise ConfigError(f"jit must be True or False, not {jit!r}")
    check_keywords(call, numbers, loaded, spec)
    own = _model_options(loaded, spec)
    _in_place(loaded, "", spec.configure, **own)
    config = spec.configure(**{**own, **numbers})
    bound = bind(observers, loaded)
    kernel = build_kernel(loaded, spec.compiled_for(config), jit=jit, math=math, observers=bound)
    if loaded.jacobian:
        from dynlib.compile.derivatives import check_jacobian

        check_jacobian(loaded, kernel.layout)
    return FullModel(loaded, spec, kernel, config, _nominal_dt(loaded, spec, dt), bound)


def _in_place(model: Model, key: str, check: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """What a check gives for something in the [sim] table of a model. Raises `ModelError` that names the place."""
    try:
        return check(*args, **options)
    except ConfigError as problem:
        raise ModelError(str(problem), Where(model.source or model.name, "sim", key)) from None


def _nominal_dt(model: Model, stepper: StepperSpec, dt: float | None) -> float:
    if dt is not None:
        return checked_dt(dt)
    if model.sim.dt is not None:
        return model.sim.dt
    if model.kind == "map":
        return 1.0
    return 0.0 if stepper.adaptive else DEFAULT_FIXED_DT


def checked_dt(dt: float, name: str = "dt") -> float:
    """A usable step size. Raises `ConfigError`."""
    if not (is_number(dt) and 0.0 < dt < float("inf")):
        raise ConfigError(f"{name} must be a positive finite number, not {dt!r}")
    return float(dt)


def _model_options(model: Model, stepper: StepperSpec) -> Mapping[str, float]:
    """The options of the model's [sim] table that this stepper has; those of no stepper get a warning."""
    every = [get_stepper(name) for name in list_steppers()]
    known = {*SIM_KEYS, *(name for other in every for name in other.option_names)}
    for name, _ in model.sim.options:
        if not any(other.takes(name) for other in every):
            warnings.warn(
                f"{model.source or model.name} [sim]: {name!r} is an option of no stepper and is ignored"
                f"{suggest(name, sorted(known), ELSEWHERE)}",
                stacklevel=5,
            )
    return {name: value for name, value in model.sim.options if stepper.takes(name)}
