"""The models and kernels that every contract is tested on: each stepper with each kind of model that it is for.

This is the one list. A stepper is here once it is registered; an observer by a row of `OBSERVERS`; a way in which
models differ by a row of `KINDS`; another type of model by a row of `TYPES`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from dynlib import (
    FullModel,
    Model,
    Observer,
    build,
    extrema,
    get_stepper,
    list_steppers,
    map_model,
    observer,
    ode_model,
    running_mean,
    sde_model,
    with_tangent,
)
from dynlib.steppers.stochastic import Stochastic

TYPES: dict[str, Callable[..., Model]] = {"ode": ode_model, "map": map_model, "sde": sde_model}
KINDS: dict[str, frozenset[str]] = {
    "plain": frozenset(),
    "events": frozenset({"events"}),
    "lags": frozenset({"lags"}),
    "both": frozenset({"events", "lags"}),
    "observed": frozenset({"events", "lags", "observers", "random"}),
    "tangent": frozenset({"tangent"}),
    "arrays": frozenset({"events", "lags", "random", "observers", "arrays"}),
    "shared": frozenset({"events", "lags", "shared"}),
    "located": frozenset({"events", "located", "observers"}),
    "located arrays": frozenset({"located", "arrays"}),
}
"""What the models of a kind have; "tangent" are its tangent equations, "shared" is noise that states share.

"located" are events inside steps, barriers in time, and tolerances of single states.
"""


def swings(n=0, longest=0.0, last=0.0, level=0.2):  # type: ignore[no-untyped-def]
    """Read by `observer`, never called."""
    if before_x < level <= x:  # noqa: F821
        n += 1
        if t - last > longest:  # noqa: F821
            longest = t - last  # noqa: F821
        last = t  # noqa: F821


PATH = ("path", {"length": 0.0}, {"length": "length + hypot(x - before_x, y - before_y) + 0*(t - before_t)"})
OBSERVERS: tuple[tuple[Callable[..., Observer], tuple[Any, ...]], ...] = (
    (running_mean, ("r",)),
    (extrema, ("x",)),
    (Observer, PATH),
    (observer, (swings,)),
)
"""Functions that make an observer, and their arguments."""


CHOSEN = ("map", "rk4", "ab3", "rk45", "euler_maruyama", "milstein", "sri")
"""These are tested with every kind of model: what a kind asks for, the loop of all kernels gives."""
RICHEST = ("observed", "located arrays")
"""The kinds that all others are tested with: scalars with lags, events, observers; arrays with events inside steps."""


def _applies(kind: str, stepper: str, model_type: str) -> bool:
    method = get_stepper(stepper).method
    general = isinstance(method, Stochastic) and method.general
    if stepper not in CHOSEN and kind not in RICHEST:
        return False
    if get_stepper(stepper).symplectic and kind in ("lags", "both"):
        return False
    only = {"tangent": model_type != "sde", "shared": model_type == "sde" and general}
    return model_type == "ode" if kind.startswith("located") else only.get(kind, True)


def _cases() -> list[tuple[str, str]]:
    """Stepper and kind; the kind names the type of the model where that is not the stepper's first."""
    found = []
    for stepper in list_steppers():
        first = get_stepper(stepper).kinds[0]
        for model_type in get_stepper(stepper).kinds:
            prefix = "" if model_type == first else f"{model_type}-"
            found += [(stepper, prefix + kind) for kind in KINDS if _applies(kind, stepper, model_type)]
    return found


CASES = _cases()
NARROW = [
    (stepper, kind)
    for stepper, kind in CASES
    if (kind not in ("events", "lags", "both") if stepper in CHOSEN else kind == "observed")
]
"""The cases that are tested in single precision too; the others have less than "observed" has."""
EVENTS = {
    "kick": {"phase": "pre", "cond": "cross_up(y, 0.3)", "action": "x = x - 0.25*y", "log": ["t", "x"]},
    "count": {"phase": "post", "cond": "x > 0.7", "action": "hits += 1; y = 0.9*y", "log": ["t", "x", "hits"]},
    "seen": {"phase": "both", "cond": "y < -0.2", "log": ["t"], "tags": ["quiet"]},
}
LOCATED = {
    "back": {"cond": "cross_down(x, -0.4)", "locate": True, "action": "y = -0.5*y; hits += 1", "log": ["t", "y"]},
    "level": {"cond": "x*y == 0.05", "locate": True, "log": ["t", "x"]},
    "top": {"cond": "y <= 0", "locate": True, "log": ["t"]},
}
CHANCES = {
    "jump": {"phase": "both", "cond": "x > 0.6", "action": "x = x - 0.1*rand(); y = y + 0.01*randn()", "log": ["y"]}
}


@cache
def model_of(model_type: str, kind: str, dtype: str = "float64", separable: bool = False) -> Model:
    """A model with the states x and y, the parameters a, b and hits, and the aux variable r.

    A `separable` one is a Hamiltonian system, without what such a system cannot have.
    """
    has = KINDS[kind] - ({"lags", "random"} if separable else set())
    states: dict[str, Any] = {"x": 0.5, "y": 0.1}
    if model_type == "map":
        past = " + 0.1*lag_x(3)" if "lags" in has else ""
        chance = " + 0.01*randn() + 0.01*rand()" if "random" in has else ""
        equations = {"x": f"1 - a*x*x + y{past}{chance}", "y": f"b*x{chance}"}
        element = "0.5*u[i] + 0.1*x - 0.01*w" + (" + 0.01*randn()" if "random" in has else "")
    else:
        past = " + 0.2*lag_y(4) - 0.1*lag_x(1)" if "lags" in has else ""
        jumps = " + 0.3*heaviside(t - 2*a) - 0.1*(t % 3 < b)" if "located" in has else ""
        equations = {"x": f"y{past}", "y": f"a*(1 - x*x)*y - x + b*cos(t){jumps}"}
        element = "x - u[i] + sin(u[(i + 1) % 4]) + 0.1*w"
        if separable:
            equations = {"x": "y", "y": f"a*(1 - x*x)*x + b*cos(t){jumps}"}
            element = "y + 0.1*w*i"
    if "arrays" in has:
        states |= {"u[4]": "0.1*i for i in range(4)", "w": 0.0}
        equations |= {"u[i]": element, "w": f"0.1*sum(u[j]*j for j in range(4)) - 0.1*{'x' if separable else 'y'}"}
    more: dict[str, Any] = {}
    if model_type == "sde":
        noise: dict[str, Any] = {"x": "0.1", "y": "0.2*y + 0.05*cos(t)"}
        if "shared" in has:
            noise = {"x": ["0.1", "0.02*y", "0"], "y": ["0.1*x", "0", "0.05*cos(t)"]}
        if "arrays" in has:
            noise["u[k]"] = "0.05*u[k] + 0.01*k for k in range(1, 4)"
        more["noise"] = noise
    return TYPES[model_type](
        f"{model_type} {kind}",
        states=states,
        params={"a": 1.2, "b": 0.3, "hits": 0.0},
        equations=equations,
        sim={"tstops": [2.5], "atol_of": {"y": 1e-9}} if "located" in has else {},
        events=(LOCATED if "located" in has else {})
        | (EVENTS if "events" in has else {})
        | (CHANCES if "random" in has else {}),
        aux={"r": "sqrt(x*x + y*y)"},
        dtype=dtype,
        **more,
    )


@cache
def full(stepper: str, kind: str, *, jit: bool = True, dtype: str = "float64") -> FullModel:
    """One kernel per case and process."""
    spec = get_stepper(stepper)
    other, _, kind = kind.rpartition("-")
    model = model_of(other or spec.kinds[0], kind, dtype, spec.symplectic)
    has = KINDS[kind]
    observers = [make(*arguments) for make, arguments in OBSERVERS if "observers" in has]
    model = with_tangent(model, 2) if "tangent" in has else model
    dt = None if spec.adaptive or model.kind == "map" else 0.1
    return build(model, stepper=stepper, dt=dt, jit=jit, observers=observers)


def horizon(stepper: str) -> float:
    """How far the tests run."""
    return 40.0 if "map" in get_stepper(stepper).kinds else 12.0
