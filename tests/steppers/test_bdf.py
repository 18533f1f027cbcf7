"""Backward differentiation: coefficients, differences for other step sizes, stiff decay, restarts and failures."""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session.kit import forged, parts

from dynlib import Sim, SnapshotFileError, Status, build, ode_model, setup
from dynlib.compile.differences import rescaled
from dynlib.steppers.bdf import NDF

ALL = ("bdf2", "bdf2a", "bdf")
pytestmark = pytest.mark.filterwarnings("ignore::dynlib.NumericsWarning")


def backward(values: list[float]) -> list[float]:
    """∇¹, ∇², … at the first of values that go back in time."""
    return [sum((-1) ** i * comb(j, i) * values[i] for i in range(j + 1)) for j in range(1, len(values))]


@pytest.mark.parametrize("order", range(1, NDF.orders + 1))
def test_formulas_are_exact_up_to_their_order_and_err_as_stated_beyond(order: int) -> None:
    """On y = tᵐ at 1 with h = 1: for m ≤ k the formula gives h y′; for m = k + 1 y is off by the share of ∇ᵏ⁺¹."""
    for degree in range(order + 2):
        values = [(1.0 - j) ** degree for j in range(order + 2)]
        nabla = [0.0, *backward(values)]
        guess = sum((-1) ** i * comb(order + 1, i + 1) * values[i + 1] for i in range(order + 1))
        kappa, gamma = NDF.kappa[order - 1], NDF.gammas[order]
        given = sum(nabla[j] / j for j in range(1, order + 1)) - kappa * gamma * (values[0] - guess)
        off = (degree - given) / NDF.alphas[order]
        assert NDF.alphas[order] == pytest.approx((1 - kappa) * gamma)
        if degree <= order:
            assert off == pytest.approx(0.0, abs=1e-10)
        else:
            assert off * NDF.alphas[order] == pytest.approx(NDF.shares[order] * nabla[order + 1], rel=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    order=st.integers(1, NDF.orders),
    ratio=st.floats(0.1, 10.0),
    c=st.lists(st.floats(-1.0, 1.0), min_size=NDF.orders + 1, max_size=NDF.orders + 1),
)
def test_differences_for_another_step_are_those_of_the_same_polynomial(
    order: int, ratio: float, c: list[float]
) -> None:
    old, new = np.zeros((NDF.orders + 2, 1)), np.full((NDF.orders + 2, 1), np.nan)

    def table(step: float) -> list[float]:
        return backward([float(np.polyval(c[: order + 1], -step * j)) for j in range(order + 1)])

    old[:order, 0] = table(1.0)
    old[order, 0] = 7.0
    rescaled(old, new, order, ratio, np.zeros((NDF.orders, NDF.orders)))
    np.testing.assert_allclose(new[:order, 0], table(ratio), rtol=1e-9, atol=1e-11 * max(1.0, ratio) ** order)
    if ratio == 1.0:
        assert new[: order + 1].tobytes() == old[: order + 1].tobytes()


DECAY = ode_model("decay", states={"x": 2.0}, params={"rate": 1e6}, equations={"x": "-rate*(x - cos(t)) - sin(t)"})
"""A solution near cos(t) that all others fall onto at once."""


@pytest.mark.parametrize("stepper", ["bdf2a", "bdf"])
def test_stiff_problems_take_steps_as_large_as_their_solution_allows(stepper: str) -> None:
    sim = Sim(build(DECAY, stepper=stepper, jit=False))
    sim.run(T=10.0, rtol=1e-6, atol=1e-6, record=False)
    assert abs(sim.state_vector()[0] - np.cos(10.0)) < 1e-4
    assert sim.state.step < 1500  # the stability of an explicit method asks for 5 million
    assert int(sim.state["rejected"][0]) < 100


def test_equal_steps_forget_a_stiff_component() -> None:
    """L-stability: what is off the smooth solution is gone within few steps, and does not ring."""
    sim = Sim(build(DECAY, stepper="bdf2", jit=False))
    sim.run(T=1.0, dt=0.1, record_interval=1)
    off = np.abs(sim.results()["x"] - np.cos(sim.results().t))
    assert off[0] == 1.0
    assert np.all(off[2:] < 1e-4)


def test_smooth_problems_reach_high_orders() -> None:
    model = ode_model("turn", states={"x": 1.0, "y": 0.0}, equations={"x": "y", "y": "-x"})
    sim = Sim(build(model, stepper="bdf", rtol=1e-8, atol=1e-8, jit=False))
    orders = []
    for k in range(1, 81):
        sim.run(N=k, resume=k > 1, record=False)
        orders.append(int(sim.state["order"][0]))
    assert orders[0] == 1
    assert set(orders) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("stepper", ALL)
@pytest.mark.parametrize("how", [{"locate": True}, {"phase": "post"}], ids=str)
def test_an_event_that_acts_begins_the_method_anew(stepper: str, how: dict[str, object]) -> None:
    """Nothing of the history is left, and the run goes on as one that begins there: with adaptive steps to the bit."""

    def kicked(**more: object) -> Sim:
        event = {"cond": "cross_down(x, 0.5)", "action": "v = 0.3", **how, **more}
        states = {"x": 1.0, "v": 0.0}
        model = ode_model("m", states=states, equations={"x": "v", "v": "-x"}, events={"kick": event})
        return Sim(build(model, stepper=stepper, jit=False))

    there, through, fresh = kicked(terminal=True), kicked(), kicked()
    assert there.run(T=3.0).status is Status.STOPPED
    for name in ("history", "order", "equal", "k1_valid"):
        assert name not in there.state.layout or there.state[name][0] == 0
    x, v = (float(c) for c in there.state_vector())
    assert v == 0.3
    through.run(T=1.5)
    step = {} if stepper == "bdf2" else {"dt": float(there.state["h"][0])}
    fresh.run(T=1.5, t0=there.t, ic={"x": x, "v": v}, **step)
    np.testing.assert_allclose(through.state["y"], fresh.state["y"], rtol=1e-12)
    if stepper != "bdf2":
        assert through.state["y"].tobytes() == fresh.state["y"].tobytes()


def test_equations_without_a_solution_end_the_run() -> None:
    """x = x₀ + hγx² has none for a large step."""
    sim = Sim(build(ode_model("burst", states={"x": 1.0}, equations={"x": "x*x"}), stepper="bdf2", jit=False))
    sim.run(T=5.0, dt=0.5, record=False)
    assert sim.state.status is Status.NEWTON_FAILED
    assert sim.t < 1.5


@pytest.mark.parametrize("stepper", ["bdf2a", "bdf"])
def test_adaptive_methods_go_on_with_smaller_steps_as_long_as_that_helps(stepper: str) -> None:
    """Beyond t = 1 the right-hand side is no number: steps shrink towards it, and the run says why it ends."""
    model = ode_model("edge", states={"x": 0.0}, equations={"x": "sqrt(1 - t)"})
    sim = Sim(build(model, stepper=stepper, jit=False))
    sim.run(T=2.0, record=False)
    assert sim.state.status is Status.NEWTON_FAILED
    assert 0.999 < sim.t <= 1.0
    assert sim.state_vector()[0] == pytest.approx(2 / 3, abs=1e-3)


@pytest.mark.parametrize("stepper", ["bdf2a", "bdf"])
def test_single_precision_meets_a_tolerance_it_can(stepper: str) -> None:
    model = ode_model("turn", states={"x": 1.0, "y": 0.0}, equations={"x": "y", "y": "-x"}, dtype="float32")
    sim = Sim(build(model, stepper=stepper, jit=False))
    sim.run(T=3.0, rtol=1e-4, atol=1e-4, record=False)
    assert sim.state.status is Status.DONE
    np.testing.assert_allclose(sim.state_vector(), [np.cos(3.0), -np.sin(3.0)], atol=2e-2)


@pytest.mark.parametrize("stepper", ["bdf2a", "bdf"])
def test_arrays_of_states_follow_the_same_formulas(stepper: str) -> None:
    """A chain of diffusion with more states than are written out, against its exact modes."""
    n = 24
    model = ode_model(
        "chain", constants={"N": n}, states={"u[N]": "sin(pi*(i + 1)/(N + 1)) for i in range(N)"}, params={"D": 1e3},
        equations={
            "u[0]": "D*(u[1] - 2*u[0])",
            "u[i]": "D*(u[i-1] - 2*u[i] + u[i+1]) for i in range(1, N-1)",
            "u[N-1]": "D*(u[N-2] - 2*u[N-1])",
        },
    )  # fmt: skip
    sim = Sim(build(model, stepper=stepper, jit=False))
    start = sim.state_vector()
    sim.run(T=0.05, rtol=1e-6, atol=1e-9, record=False)
    rate = 1e3 * (2 - 2 * np.cos(np.pi / (n + 1)))
    np.testing.assert_allclose(sim.state_vector(), start * np.exp(-rate * 0.05), rtol=1e-3)


def test_a_file_cannot_ask_for_an_order_that_there_is_not(tmp_path: Path) -> None:
    """The order is an index into the differences."""
    sim = setup("builtin://ode/van_der_pol", stepper="bdf", jit=False)
    sim.run(T=1.0)
    sim.export_snapshot(tmp_path / "s.npz")
    meta, arrays = parts(tmp_path / "s.npz")
    arrays["workspace/stepper/order"][0] = NDF.orders + 1
    (tmp_path / "s.npz").write_bytes(forged(meta, arrays))
    with pytest.raises(SnapshotFileError, match="impossible 'order'"):
        sim.import_snapshot(tmp_path / "s.npz")
