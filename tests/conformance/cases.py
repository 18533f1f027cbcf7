"""The models and kernels that every contract is tested on: each stepper with and without events and lags."""

from __future__ import annotations

from functools import cache

from dynlib import (
    FullModel,
    Model,
    Observer,
    build,
    extrema,
    get_stepper,
    list_steppers,
    map_model,
    ode_model,
    running_mean,
    sde_model,
)

KINDS = ("plain", "events", "lags", "both", "observed")
CASES = [*((stepper, kind) for stepper in list_steppers() for kind in KINDS), ("map", "random")]
EVENTS = {
    "kick": {"phase": "pre", "cond": "cross_up(y, 0.3)", "action": "x = x - 0.25*y", "log": ["t", "x"]},
    "count": {"phase": "post", "cond": "x > 0.7", "action": "hits += 1; y = 0.9*y", "log": ["t", "x", "hits"]},
    "seen": {"phase": "both", "cond": "y < -0.2", "log": ["t"], "tags": ["quiet"]},
}

OBSERVERS = (
    running_mean("r"),
    extrema("x"),
    Observer("path", {"length": 0.0}, {"length": "length + hypot(x - before_x, y - before_y) + 0*(t - before_t)"}),
)


@cache
def model_of(family: str, kind: str, dtype: str = "float64") -> Model:
    events = EVENTS if kind in ("events", "both", "observed", "random") else {}
    lagged = kind in ("lags", "both", "observed", "random")
    common = {"states": {"x": 0.5, "y": 0.1}, "events": events, "aux": {"r": "sqrt(x*x + y*y)"}, "dtype": dtype}
    params = {"a": 1.2, "b": 0.3, "hits": 0.0}
    if family == "map":
        past = "0.1*lag_x(3)" if lagged else "0.0"
        return map_model("m", equations={"x": f"1 - a*x*x + y + {past}", "y": "b*x"}, params=params, **common)
    if family == "random":
        past = "0.1*lag_x(3)" if lagged else "0.0"
        return map_model("r", equations={"x": f"1 - a*x*x + y + 0.01*randn() + {past}", "y": "b*x + 0.01*rand()"},
                         params=params, **common)  # fmt: skip
    past = "0.2*lag_y(4) - 0.1*lag_x(1)" if lagged else "0.0"
    equations = {"x": f"y + {past}", "y": "a*(1 - x*x)*y - x + b*cos(t)"}
    if family == "sde":
        noise = {"x": "0.1", "y": "0.2*y + 0.05*cos(t)"}
        return sde_model("s", equations=equations, noise=noise, params=params, **common)
    return ode_model("o", equations=equations, params=params, **common)


@cache
def full(stepper: str, kind: str, *, jit: bool = True, dtype: str = "float64") -> FullModel:
    """One kernel per case and process."""
    family = get_stepper(stepper).kinds[0]
    if (family, kind) == ("map", "random"):
        family = "random"
    dt = None if stepper in ("map", "rk45") else 0.1
    observers = OBSERVERS if kind == "observed" else ()
    return build(model_of(family, kind, dtype), stepper=stepper, dt=dt, jit=jit, observers=observers)


def horizon(stepper: str) -> float:
    return 40.0 if stepper == "map" else 12.0
