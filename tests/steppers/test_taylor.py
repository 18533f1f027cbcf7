"""Taylor series: order, accuracy, dense output, kinks, and failures that are told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from dynlib import ConfigError, NumericsWarning, Sim, Status, build, get_stepper, ode_model

LORENZ = ode_model(
    "lorenz", states={"x": 1.0, "y": 1.0, "z": 1.0}, params={"sigma": 10.0, "rho": 28.0, "beta": 8 / 3},
    equations={"x": "sigma*(y - x)", "y": "x*(rho - z) - y", "z": "x*y - beta*z"},
)  # fmt: skip
LORENZ_AT_20 = (13.793199595128607, 12.951803936189883, 34.90160868113513)
"""From a Taylor method in extended precision with a tolerance of 1e-19."""
KEPLER = ode_model(
    "kepler", states={"x": 0.5, "y": 0.0, "u": 0.0, "v": math.sqrt(3)}, aux={"r3": "(x*x + y*y)**1.5"},
    equations={"x": "u", "y": "v", "u": "-x/r3", "v": "-y/r3"},
)  # fmt: skip
WAVE = ode_model("wave", states={"x": 0.0, "v": 1.0}, params={"w": 1.0}, equations={"x": "v", "v": "-w*x"})


def rejected(sim: Sim) -> int:
    return int(sim._state["rejected"][0])


def test_the_tolerance_chooses_the_order() -> None:
    """Jorba & Zou: 1 - ln(tolerance)/2, rounded up; an order that is given stands."""
    spec = get_stepper("taylor")
    orders = {tol: spec.compiled_for(spec.configure(rtol=tol)).order for tol in (1e-3, 1e-5, 1e-9, 1e-15)}
    assert orders == {1e-3: 5, 1e-5: 7, 1e-9: 12, 1e-15: 19}
    assert spec.compiled_for(spec.configure(rtol=1e-5, order=20)).order == 20
    for wrong in (1, 41, 7.5):
        with pytest.raises(ConfigError, match="order.*whole number from 2 to 40"):
            spec.configure(order=wrong)


def test_a_run_with_another_tolerance_has_another_order() -> None:
    """It is the run of a model that was built with it."""
    loose, tight = build(WAVE, stepper="taylor", jit=False), build(WAVE, stepper="taylor", jit=False, rtol=1e-12)
    a, b, c = Sim(loose), Sim(tight), Sim(loose)
    a.run(T=5.0, rtol=1e-12)
    b.run(T=5.0)
    c.run(T=5.0)
    assert a.state_vector().tobytes() == b.state_vector().tobytes()
    assert len(c.results().t) != len(a.results().t)


@pytest.mark.parametrize(("tolerance", "largest"), [(1e-9, 1e-5), (1e-12, 1e-8)])
def test_lorenz_to_20(tolerance: float, largest: float) -> None:
    """The error grows by 7e7 on the way."""
    sim = Sim(build(LORENZ, stepper="taylor", rtol=tolerance, atol=tolerance))
    sim.run(T=20.0, record=False)
    assert np.max(np.abs(sim.state_vector() - LORENZ_AT_20)) < largest


def test_kepler_closes_and_its_output_lies_on_the_orbit() -> None:
    """Ten periods of an orbit of eccentricity 0.5; every sample between steps has its energy."""
    sim = Sim(build(KEPLER, stepper="taylor", rtol=1e-13, atol=1e-13))
    sim.run(T=20 * math.pi, record_dt=0.01)
    assert sim.state_vector() == pytest.approx([0.5, 0.0, 0.0, math.sqrt(3)], abs=1e-11)
    x, y, u, v = (sim.results()[name] for name in "xyuv")
    assert np.max(np.abs((u * u + v * v) / 2 - 1 / np.hypot(x, y) + 0.5)) < 1e-12


@pytest.mark.parametrize("order", [4, 9, 16])
def test_error_per_step_falls_with_the_power_of_the_order(order: int) -> None:
    """With steps of one size, halving it divides the error by 2**order."""
    errors = []
    first = {4: 0.2, 9: 0.8, 16: 2.0}[order]
    for size in (first, first / 2):
        sim = Sim(build(WAVE, stepper="taylor", jit=False, order=order, rtol=0.5, atol=1e6, max_step=size, dt=size))
        sim.run(T=8.0, record=False)
        errors.append(np.hypot(*(sim.state_vector() - [math.sin(8.0), math.cos(8.0)])))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.5)


def test_small_last_terms_do_not_hide_large_ones_after_them() -> None:
    """Of cos(t**4) at 0 only every eighth coefficient differs from 0: the slope at the end of a step tells."""
    sim = Sim(build(ode_model("sparse", states={"x": 0.0}, equations={"x": "cos(t**4)"}), stepper="taylor", jit=False))
    sim.run(T=2.0, dt=2.0)
    assert rejected(sim) > 0
    assert float(sim.state_vector()[0]) == pytest.approx(quad(lambda t: math.cos(t**4), 0, 2)[0], abs=1e-5)


def test_kinks_in_the_state_are_met() -> None:
    """∫ |sin t| dt over three half waves, and a jump where the state passes 1."""
    bent = ode_model(
        "bent", states={"x": 0.0, "v": 1.0, "y": 0.0, "z": 0.0},
        equations={"x": "v", "v": "-x", "y": "abs(x)", "z": "1 if z < 1 else 0.25"},
    )  # fmt: skip
    sim = Sim(build(bent, stepper="taylor", rtol=1e-9, atol=1e-9, jit=False))
    sim.run(T=3 * math.pi, record=False)
    assert rejected(sim) > 0
    assert sim.state_vector() == pytest.approx([0.0, -1.0, 6.0, 1 + (3 * math.pi - 1) / 4], abs=1e-7)


def test_jumps_in_time_are_no_obstacle() -> None:
    """A pulse that is shorter than the steps around it, told by the expression."""
    pulse = ode_model("pulse", states={"x": 0.0}, equations={"x": "heaviside(t - 3) - heaviside(t - 3.001) - 0*x"})
    sim = Sim(build(pulse, stepper="taylor", jit=False))
    sim.run(T=10.0)
    assert float(sim.state_vector()[0]) == pytest.approx(0.001, abs=1e-9)
    assert rejected(sim) == 0


@pytest.mark.parametrize("equation", ["x*x", "x**3 + 0*t", "log(x)"])
def test_where_the_solution_ends_the_run_says_so(equation: str) -> None:
    """A pole at t = 2, a branch point, and the edge of a domain."""
    model = ode_model("ends", states={"x": 0.5}, equations={"x": equation})
    for jit in (False, True):
        sim = Sim(build(model, stepper="taylor", jit=jit))
        with pytest.warns(NumericsWarning):
            sim.run(T=10.0)
        assert sim._state.status in (Status.STEP_TOO_SMALL, Status.NOT_FINITE)
        assert np.all(np.isfinite(sim.state_vector()))


def test_the_step_is_held_between_its_limits() -> None:
    sim = Sim(build(WAVE, stepper="taylor", jit=False, max_step=0.125))
    sim.run(T=4.0, dt=0.01)
    steps = np.diff(sim.results().t)
    assert steps[0] == pytest.approx(0.01)
    assert np.max(steps) == 0.125
    sim = Sim(build(LORENZ, stepper="taylor", jit=False, min_step=0.5))
    with pytest.warns(NumericsWarning):
        sim.run(T=4.0, dt=1.0)
    assert sim._state.status is Status.STEP_TOO_SMALL


def test_a_state_may_have_a_tolerance_of_its_own() -> None:
    sim = Sim(build(WAVE, stepper="taylor", jit=False, order=8, atol={"x": 1e-12, "v": 1e-12}, rtol=1e-12))
    loose = Sim(build(WAVE, stepper="taylor", jit=False, order=8, rtol=1e-3))
    for one in (sim, loose):
        one.run(T=10.0)
    assert len(sim.results().t) > 3 * len(loose.results().t)
