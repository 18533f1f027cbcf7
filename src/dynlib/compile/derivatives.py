"""Derivatives of a model as numbers, by the functions of generated code that kernels use, interpreted."""

from __future__ import annotations

import math
from functools import cached_property
from types import ModuleType

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from dynlib.compile.forms import Form, is_scalar
from dynlib.compile.kernel import generated_module
from dynlib.compile.layout import Layout
from dynlib.compile.linear import Linear
from dynlib.compile.matrices import Elements
from dynlib.compile.skeleton import module_source
from dynlib.compile.writer import Needs, code_names, needs_of
from dynlib.errors import ModelError, Where
from dynlib.spec.jacobian import Sparsity, parameter_slopes
from dynlib.spec.model import Equation, Model, Quantity
from dynlib.spec.work import step_work, work_of, work_of_calls

Reals = NDArray[np.floating]
TRIALS = 6
"""Points at which a stated Jacobian is compared with the derived one."""
ITERATIONS = 60
"""Of the power iteration; an estimate of a few per cent will do."""
MAX_CHECKED = 20_000.0
"""Operations of the equations and of a stated Jacobian up to which they are compared: about a second, at most."""


class Point(Struct, frozen=True):
    """Where derivatives are taken: a time, all states and parameters in a row, and states some steps ago."""

    t: float
    y: Reals
    params: Reals
    lags: dict[tuple[str, int], np.floating]


class Derivatives:
    """The derivatives of the right-hand side of a model (of a map, of the next state).

    Raises `ModelError` where they cannot be had.
    """

    def __init__(self, model: Model, layout: Layout) -> None:
        self.model, self.layout = model, layout
        self._slopes: dict[str, tuple[ModuleType, Needs] | None] = {}

    def _form(self) -> Form:
        model = self.model
        return Form(model, code_names(model, is_scalar(model)), self.layout, is_scalar(model), {})

    @cached_property
    def _linear(self) -> tuple[Linear, ModuleType]:
        used: set[str] = set()
        form = self._form()
        linear = Linear(form, used, Elements)
        return linear, self._module("Jacobian", used, [*form.own_functions(used), *linear.functions()])

    def _module(self, what: str, used: set[str], functions: list[str]) -> ModuleType:
        return generated_module(module_source(self.model, f"and its {what}", used, functions, []))

    @cached_property
    def _tables(self) -> NDArray[np.int64]:
        return self._linear[0].matrix.tables

    @property
    def sparsity(self) -> Sparsity:
        """The elements of the Jacobian that may differ from 0."""
        return self._linear[0].jacobian.sparsity

    def elements(self, at: Point) -> Reals:
        """Those elements, in the same order."""
        linear, module = self._linear
        found = np.zeros(len(self.sparsity.rows), self.model.dtype)
        with np.errstate(all="ignore"):
            module.jacobian(*self._given(linear.needs, at), found, self._tables)
        return found

    def fastest_decay(self, at: Point) -> float:
        """How fast the mode with the eigenvalue of greatest modulus decays, 1/time, found by power iteration.

        NaN where that eigenvalue is not real, or not alone: then the iteration settles on no direction.
        """
        rows, cols, values = self.sparsity.rows, self.sparsity.cols, self.elements(at).astype(np.float64)
        n = self.model.n_states
        direction: NDArray[np.float64] = 1.0 + np.arange(n) % 7 / 7.0  # some direction, the same every time
        rate, off = 0.0, np.inf
        for _ in range(ITERATIONS):
            direction = direction / np.linalg.norm(direction)
            image: NDArray[np.float64] = np.bincount(rows, values * direction[cols], n).astype(np.float64)
            rate = float(direction @ image)
            off = float(np.linalg.norm(image - rate * direction))
            if not image.any() or not np.isfinite(image).all():
                break
            direction = image
        return -rate if off < 0.1 * abs(rate) else float("nan")

    def rhs(self, at: Point) -> Reals:
        """The right-hand side itself, shape (n,). Raises `ModelError` for a map that draws random numbers."""
        if self.model.random:
            raise ModelError("the next state is drawn at random", Where(self.model.name))
        return self._slope(self._rhs[0], "rhs", self._rhs[1], at)

    @cached_property
    def _rhs(self) -> tuple[ModuleType, Needs]:
        form, used = self._form(), set[str]()
        needs = form.rhs_needs
        text = form.system("rhs", "Right-hand side.", self.model.equations, needs.lag_names(form.names), needs, used)
        return self._module("right-hand side", used, [*form.own_functions(used), *text]), needs

    def time_slope(self, at: Point) -> Reals:
        """The derivative with respect to time, shape (n,)."""
        linear, module = self._linear
        return np.zeros(self.model.n_states, self.model.dtype) if linear.autonomous else (
            self._slope(module, "time_slope", linear.slope_needs, at)
        )  # fmt: skip

    def parameter_slope(self, name: str, at: Point) -> Reals:
        """The derivative with respect to a scalar parameter, shape (n,). Raises `ModelError`."""
        if name not in self._slopes:
            equations = parameter_slopes(self.model, name)
            self._slopes[name] = self._parameter_module(name, equations) if equations else None
        found = self._slopes[name]
        if found is None:
            return np.zeros(self.model.n_states, self.model.dtype)
        return self._slope(found[0], "parameter_slope", found[1], at)

    def _parameter_module(self, name: str, equations: tuple[Equation, ...]) -> tuple[ModuleType, Needs]:
        form, used = self._form(), set[str]()
        needs = needs_of(self.model, [e.expr for e in equations])
        what = f"Slope in the parameter {name}."
        text = form.system("parameter_slope", what, equations, needs.lag_names(form.names), needs, used)
        return self._module(f"slope in {name}", used, [*form.own_functions(used), *text]), needs

    def _slope(self, module: ModuleType, name: str, needs: Needs, at: Point) -> Reals:
        out = np.zeros(self.model.n_states, self.model.dtype)
        given = self._given(needs, at)
        with np.errstate(all="ignore"):
            if is_scalar(self.model):
                out[:] = vars(module)[name](*given)
            else:
                vars(module)[name](*given, out)
        return out

    def _given(self, needs: Needs, at: Point) -> list[object]:
        """What the functions are called with."""
        lags = [at.lags[lag] for lag in needs.lags]
        if not is_scalar(self.model):
            return [np.float64(at.t), at.y, at.params, *lags]
        places = {q.name: k for k, q in enumerate(self.model.params)}
        return [np.float64(at.t), *at.y, *(at.params[places[name]] for name in needs.params), *lags]


def check_jacobian(model: Model, layout: Layout) -> None:
    """Compare the Jacobian that a model states with the derived one, at points near its initial state and parameters.

    A point where not all of both is finite is left out, and so is a model for which none can be derived, or whose
    equations take long. Raises `ModelError` where they differ by more than rounding.
    """
    if not model.jacobian or _work(model) > MAX_CHECKED:
        return
    wide = replace(model, dtype="float64")
    stated, derived = Derivatives(wide, layout), Derivatives(replace(wide, jacobian=()), layout)
    try:
        places = [d.sparsity.keys for d in (stated, derived)]
    except ModelError:
        return  # there is nothing to compare with
    n = model.n_states
    spread = _Spread()
    for k in range(TRIALS):
        at = _near(model, spread, signed=k % 2 == 1)
        full = np.zeros((2, n * n))
        for one, keys, d in zip(full, places, (stated, derived), strict=True):
            one[keys] = d.elements(at)
        if not np.all(np.isfinite(full)):
            continue
        mine, theirs = full.reshape(2, n, n)
        size = np.maximum(abs(mine), abs(theirs))
        wrong = np.argwhere(abs(mine - theirs) > 1e-6 * size + 1e-9 * size.max(axis=1, keepdims=True))
        if len(wrong):
            row, col = wrong[0]
            names = [e for q in model.states for e in q.element_names]
            raise ModelError(
                f"row {row + 1}, column {col + 1}: the derivative of {_slope_of(model)} of {names[row]!r} with respect "
                f"to {names[col]!r} is {theirs[row, col]:.10g}, not {mine[row, col]:.10g}, at {_spelled(model, at)}. "
                "Correct the expression, or leave the table out: it is derived then",
                Where(model.source or model.name, "equations.jacobian"),
            )


def _work(model: Model) -> float:
    calls = work_of_calls(model, Where())
    return step_work(model) + sum(work_of(cell, calls) for row in model.jacobian for cell in row)


class _Spread:
    """Numbers from 0 to 1, spread evenly whatever their count: multiples of the golden ratio, modulo 1."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, count: int) -> Reals:
        first, self.given = self.given + 1, self.given + count
        found: Reals = np.arange(first, self.given + 1) * ((math.sqrt(5) - 1) / 2) % 1.0
        return found


def _near(model: Model, spread: _Spread, signed: bool) -> Point:
    """A point near the model's own; what is 0 there moves up, or to both sides."""

    def moved(quantities: tuple[Quantity, ...]) -> Reals:
        values = np.array([v for q in quantities for v in q.values])
        steps = spread(len(values))
        return np.where(values == 0.0, 0.2 * steps - 0.1 * signed, values * (0.9 + 0.2 * steps))

    t, y, params = model.sim.t0 + float(spread(1)[0]), moved(model.states), moved(model.params)
    lags: dict[tuple[str, int], np.floating] = {}
    for name, depth in model.lag_depth.items():
        past = y[model.scalar_places[name][1]]
        lags |= {(name, k): np.float64(past * (0.95 + 0.1 * spread(1)[0])) for k in range(1, depth + 1)}
    return Point(t, y, params, lags)


def _slope_of(model: Model) -> str:
    return "the next state" if model.kind == "map" else "the right-hand side"


def _spelled(model: Model, at: Point) -> str:
    names = [e for group in (model.states, model.params) for q in group for e in q.element_names]
    pairs = [f"{name} = {value:.6g}" for name, value in zip(names, (*at.y, *at.params), strict=True)]
    return ", ".join([f"t = {at.t:.6g}", *pairs[:12], *(["…"] if len(pairs) > 12 else [])])
