"""Derivatives of generated array models, evaluated by generated code, against differences of their equations."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dynlib import FullModel, ModelError, build, ode_model

Draw = Any
Reals = NDArray[np.float64]


def index(draw: Draw, loops: list[str], size: str) -> str:
    """An index that is always inside."""
    i = draw(st.sampled_from([*loops, "0", "2"]))
    return draw(st.sampled_from([f"{i} % {size}", f"({i} + 1) % {size}", f"({i}*3) % {size}", "0", f"{size} - 1",
                                 f"({size} - 1 - {i}) % {size}", f"({i} // 2) % {size}"]))  # fmt: skip


def condition(draw: Draw, loops: list[str]) -> str:
    i, j = (draw(st.sampled_from([*loops, "1"])) for _ in range(2))
    return draw(st.sampled_from([f"{i} != {j}", f"{i} % 2 == 0", f"abs({i} - {j}) <= 1", f"{i} < {j} and u[0] > 0.5",
                                 f"not {i} == {j}", "v[0] > 0.2 or x > 0", f"{i} >= a"]))  # fmt: skip


def expression(draw: Draw, loops: list[str], fuel: int, words: list[str]) -> str:
    def inner(more: str = "") -> str:
        return expression(draw, [*loops, more] if more else loops, fuel - 1, words)

    kinds = ["leaf", "leaf", "u", "v"] + (["sum", "prod", "+", "*", "call", "choice"] * 2 if fuel else [])
    match draw(st.sampled_from(kinds)):
        case "u":
            return f"u[{index(draw, loops, 'N')}]"
        case "v":
            return f"v[{index(draw, loops, 'M')}]"
        case "sum" | "prod" as kind:
            k = f"k{len(loops)}"
            start = draw(st.sampled_from(["0", *loops]))
            tail = f" if {condition(draw, [*loops, k])}" if draw(st.booleans()) else ""
            bounds = draw(st.sampled_from([f"{start}, 3", "N", "0, M, 2", "1, N"]))
            return f"{kind}(0.7*{inner(k)} for {k} in range({bounds}){tail})"
        case "+":
            return f"({inner()} - {inner()})"
        case "*":
            return f"{inner()}*{inner()}"
        case "call":
            return f"{draw(st.sampled_from(['sin', 'tanh', 'cos', *words]))}({inner()})"
        case "choice":
            return f"({inner()} if {condition(draw, loops)} else {inner()})"
    return draw(st.sampled_from(["x", "a", "0.6", "t", *(["r"] if words else [])]))


@st.composite
def models(draw: Draw) -> dict[str, Any]:
    """Two array states and a scalar one; sums inside sums, conditions, aux variables and functions that read arrays."""
    n, m = draw(st.integers(2, 5)), draw(st.integers(1, 4))
    equations = {"x": expression(draw, [], 3, ["f"])}
    if draw(st.booleans()):
        equations["u[i]"] = expression(draw, ["i"], 3, ["f"])
    else:
        equations |= {"u[0]": expression(draw, [], 2, ["f"]),
                      "u[k]": expression(draw, ["k"], 2, ["f"]) + " for k in range(1, N)"}  # fmt: skip
    equations["v[j]"] = expression(draw, ["j"], 2, ["f"])
    return {
        "constants": {"N": n, "M": m},
        "states": {"v[M]": 0.3, "x": 0.4, "u[N]": 0.5},
        "params": {"a": 0.7},
        "aux": {"r": expression(draw, [], 2, [])},
        "functions": {"f": {"args": ["q"], "expr": f"q*{expression(draw, [], 1, [])} + 0.1*r"}},
        "equations": equations,
        "dtype": draw(st.sampled_from(["float64", "float64", "float32"])),
    }


def slopes(full: FullModel, t: float, y: Reals, a: float) -> Reals:
    out = np.zeros(len(y))
    full.kernel.module.rhs(t, y, np.array([a]), out)
    return out


def quotient(at: Any) -> Reals | None:
    """A difference quotient of order four; None where it is not to be trusted."""

    def by(h: float) -> Reals:
        return (8 * (at(h) - at(-h)) - at(2 * h) + at(-2 * h)) / (12 * h)  # type: ignore[no-any-return]

    fine, others = by(1e-4), (by(2e-4), by(2.7e-4))
    close = all(np.all(abs(other - fine) <= 1e-6 * (1 + abs(fine))) for other in others)
    return fine if close and np.all(abs(at(0.0)) < 1e4) else None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables=models(), seed=st.integers(0, 10**6))
def test_array_models_at_random(tables: dict[str, Any], seed: int) -> None:
    try:
        model = ode_model("m", **tables)
    except ModelError:
        return  # a condition or a bound that the language does not allow
    narrow = model.dtype == "float32"
    full = build(ode_model("m", **{**tables, "dtype": "float64"}), jit=False, stepper="euler")
    rng = np.random.default_rng(seed)
    y, a, t = rng.uniform(0.1, 0.9, model.n_states), float(rng.uniform(0.3, 0.9)), 0.37
    given_: dict[str, Any] = {"t": t, "y": y, "params": [a]}
    found = build(model, jit=False, stepper="euler") if narrow else full
    jacobian = found.jacobian(**given_)
    close = {"rtol": 1e-2, "atol": 1e-2} if narrow else {"rtol": 1e-5, "atol": 1e-5}
    for k, column in enumerate(jacobian.T):
        unit = np.eye(len(y))[k]
        expected = quotient(lambda h, u=unit: slopes(full, t, y + h * u, a))
        if expected is not None:
            np.testing.assert_allclose(column, expected, **close)
    for slope, expected in (
        (found.time_derivative(**given_), quotient(lambda h: slopes(full, t + h, y, a))),
        (found.parameter_derivative("a", **given_), quotient(lambda h: slopes(full, t, y, a + h))),
    ):
        if expected is not None:
            np.testing.assert_allclose(slope, expected, **close)
