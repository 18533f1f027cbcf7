"""Tangent equations: they are the derivative of what the stepper computes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dynlib
from dynlib import ConfigError, Model, ModelError, with_lyapunov, with_tangent
from dynlib.spec.document import model_from_document
from dynlib.spec.source import document_of

RING: dict[str, Any] = {
    "states": {"u[4]": [0.1, 0.5, -0.3, 0.9], "w": 0.2},
    "params": {"k": 0.7, "c[4]": [1.0, 2.0, 3.0, 4.0]},
    "equations": {
        "expr": "d(u)[i] = k*sin(u[(i+1) % 4] - u[i]) + w*c[i] for i in range(0, 3)\n"
        "d(u)[3] = prod(u[j] + 2 for j in range(3)) - u[3]**3\n"
        "d(w) = g(w) - mean*exp(-w*w) + cos(t)"
    },
    "aux": {"mean": "sum(u[j]*u[j] for j in range(4) if j != 2)/4"},
    "functions": {"g": {"args": ["z"], "expr": "-z*mean if z > 0 else tanh(z)"}},
}
PLANE: dict[str, Any] = {
    "states": {"x": 0.5, "y": -0.2}, "params": {"a": 1.1},
    "equations": {"expr": "d(x) = y*s + min(x, 3) - x**3\nd(y) = a*s - hypot(x, y)*y"}, "aux": {"s": "x*y + a"},
}  # fmt: skip


def ode(name: str) -> Model:
    return model_from_document(
        {"model": {"type": "ode"}, **{"ring": RING, "plane": PLANE}[name]} if name in ("ring", "plane")
        else document_of(dynlib.load_model(name))
    )  # fmt: skip


def end(model: Model, y: Any, *, N: int, stepper: str = "rk4", dt: float = 0.05) -> np.ndarray:
    step = {} if model.kind == "map" else {"dt": dt}
    sim = dynlib.setup(model, stepper="map" if model.kind == "map" else stepper, jit=False, **step)
    start = sim.state_vector()
    start[: len(y)] = y
    sim.run(N=N, ic=start, record=False)
    return sim.state_vector()


@pytest.mark.parametrize(
    ("name", "stepper"),
    [("ring", "rk4"), ("ring", "ab3"), ("plane", "rk4"), ("plane", "euler"), ("builtin://ode/lorenz", "rk4"),
     ("builtin://ode/henon_heiles", "yoshida4"), ("builtin://map/henon", "map"), ("builtin://map/ikeda", "map"),
     ("plane", "bdf2"), ("builtin://ode/hodgkin_huxley", "rk4")],
)  # fmt: skip
def test_the_fundamental_matrix_is_the_derivative_of_the_steps_themselves(name: str, stepper: str) -> None:
    """A fixed-step method applied to the tangent equations gives the derivative of the method, not of the flow only."""
    model = ode(name)
    n = model.n_states
    y0 = np.array([v for q in model.states for v in q.values])
    steps = 5 if model.kind == "map" else 12
    found = end(with_tangent(model, n), y0, N=steps, stepper=stepper)
    alone = end(model, y0, N=steps, stepper=stepper)
    np.testing.assert_allclose(
        found[:n], alone, rtol=1e-9 if stepper == "bdf2" else 0.0
    )  # its iteration ends elsewhere
    h = 1e-5
    for j in range(n):
        ahead, behind = y0.copy(), y0.copy()
        ahead[j] += h
        behind[j] -= h
        slope = (end(model, ahead, N=steps, stepper=stepper) - end(model, behind, N=steps, stepper=stepper)) / (2 * h)
        np.testing.assert_allclose(found[(j + 1) * n : (j + 2) * n], slope, rtol=2e-6, atol=2e-6 * np.abs(slope).max())


def test_a_stated_jacobian_is_taken() -> None:
    document = {**PLANE, "model": {"type": "ode"}, "equations": {"expr": "d(x) = -2*x + y\nd(y) = -x*y",
                "jacobian": {"expr": [["-2", "1"], ["-y", "-x"]]}}}  # fmt: skip
    del document["aux"]
    stated = model_from_document(document)
    del document["equations"]["jacobian"]
    y0 = [0.3, 0.4]
    np.testing.assert_array_equal(
        end(with_tangent(stated, 2), y0, N=5), end(with_tangent(model_from_document(document), 2), y0, N=5)
    )


def test_orthonormal_vectors_stay_orthonormal() -> None:
    model = ode("builtin://ode/lorenz")
    found = end(with_lyapunov(model, 3), [1.0, 1.0, 20.0], N=2000, dt=0.01)[3:].reshape(3, 4)[:, :3]
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-3)


def test_growth_adds_up_to_the_divergence_and_goes_on_over_a_resume() -> None:
    base = ode("ring")
    whole, split = (dynlib.setup(with_lyapunov(base, 5), stepper="rk4", dt=0.005, jit=False) for _ in range(2))
    whole.run(T=2.0, record_vars=["growth1"])
    for k in range(1, 5):
        split.run(T=k / 2, resume=k > 1, record_vars=["growth1"] if k == 1 else None)
    assert split.state.same_bits(whole.state)
    growth = sum(whole.state_dict()[f"growth{j}"] for j in range(1, 6))
    start = [v for q in base.states for v in q.values]
    matrix = end(with_tangent(base, 5), start, N=400, dt=0.005)[5:].reshape(5, 5)
    assert growth == pytest.approx(np.linalg.slogdet(matrix)[1], abs=1e-4)


def test_a_superstable_orbit_counts_the_smallest_number() -> None:
    model = with_lyapunov(ode("builtin://map/logistic"))
    sim = dynlib.setup(model, jit=False)
    sim.run(N=5, params={"r": 2.0}, ic={"x": 0.5}, record=False)
    assert sim.state_dict()["growth1"] == pytest.approx(5 * math.log(5e-324))
    assert sim.state_dict()["tangent1_x"] == 1.0


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"equations": {"rhs": {"x": "x*randn()"}}}, "the Jacobian holds random numbers"),
        ({"equations": {"rhs": {"x": "lag_x(2)"}}}, "lags"),
        ({"events": {"e": {"cond": "x > 1", "action": "x = 0"}}}, "event 'e' sets 'x': the tangent vector does not"),
        ({"events": {"e": {"cond": "x > 1", "action": "k = 0"}}}, "event 'e' sets 'k': the tangent vector does not"),
        ({"params": {"k": 1.0, "tangent1_x": 2.0}}, "'tangent1_x' is the name of a tangent quantity; rename"),
        ({"equations": {"rhs": {"x": "f(" * 30 + "x" + ")" * 30}},
          "functions": {"f": {"args": ["z"], "expr": "z*z"}}}, "too large"),
    ],
)  # fmt: skip
def test_systems_without_tangent_equations_are_refused(tables: dict[str, Any], message: str) -> None:
    given = {"model": {"type": "map"}, "states": {"x": 0.5}, "params": {"k": 1.0, "hits": 0.0},
             "equations": {"rhs": {"x": "k*x"}}} | tables  # fmt: skip
    for extend in (with_tangent, with_lyapunov):
        with pytest.raises(ModelError, match=message):
            extend(model_from_document(given))


def test_a_stochastic_system_and_a_wrong_number_of_vectors_are_refused() -> None:
    noisy = dynlib.sde_model("m", states={"x": 1.0}, equations={"x": "-x"}, noise={"x": "0.1"})
    with pytest.raises(ModelError, match="stochastic"):
        with_tangent(noisy)
    for number in (0, 4, True, 1.0):
        with pytest.raises(ConfigError, match="from 1 to 3|whole number"):
            with_lyapunov(ode("builtin://ode/lorenz"), number)  # type: ignore[arg-type]


def test_a_counter_in_an_event_does_not_disturb_the_tangent_vector() -> None:
    """Neither do random numbers that are added."""
    model = dynlib.map_model(
        "m", states={"x": 0.5}, params={"hits": 0.0}, equations={"x": "0.5*x + randn()"},
        events={"e": {"cond": "x > 0", "action": "hits += 1"}},
    )  # fmt: skip
    sim = dynlib.setup(with_lyapunov(model), jit=False)
    sim.run(N=40, record=False)
    assert sim.param_dict()["hits"] > 0
    assert sim.state_dict()["growth1"] / 40 == pytest.approx(math.log(0.5))


def test_a_large_ring_keeps_its_loops() -> None:
    n = 1000
    model = dynlib.ode_model(
        "ring", states={f"u[{n}]": "sin(i) for i in range(1000)"},
        equations={"u[i]": f"u[(i+1) % {n}] - u[i] - u[i]**3"},
    )  # fmt: skip
    extended = with_lyapunov(model, 2)
    assert len(extended.equations) == 5
    sim = dynlib.setup(extended, stepper="rk4", dt=0.05)
    sim.run(N=50, record=False)
    assert np.isfinite(sim.state_vector()).all()
