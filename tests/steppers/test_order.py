"""Each method converges with its order, and so does its interpolant; against exact and independent solutions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dynlib import (
    ConfigError,
    Sim,
    StepperSpec,
    UnknownNameError,
    build,
    get_stepper,
    list_steppers,
    ode_model,
    select_steppers,
)

FIXED = list(select_steppers(kind="ode", adaptive=False))
MODEL = ode_model(
    "known", states={"x": 1.0, "y": 0.0}, params={"w": 1.0}, equations={"x": "y*cos(t)", "y": "-w*x*cos(t)"}
)


SEPARABLE = ode_model("forced", states={"x": 1.0, "y": 0.0}, equations={"x": "y", "y": "0.5*cos(2*t) - x"})


def exact(t: np.ndarray | float, spec: StepperSpec) -> np.ndarray:
    if spec.symplectic:
        return np.array([7 * np.cos(t) - np.cos(2 * t), 2 * np.sin(2 * t) - 7 * np.sin(t)]) / 6
    return np.array([np.cos(np.sin(t)), -np.sin(np.sin(t))])


def steps(spec: StepperSpec) -> list[float]:
    """Sizes at which the error is that of the method, neither of its next order nor of rounding."""
    return [2.0 / n for n in ((5, 10, 20) if spec.order > 4 else (40, 80, 160))]


@pytest.mark.parametrize("spec", FIXED, ids=lambda s: s.name)
def test_order_of_convergence(spec: StepperSpec) -> None:
    """The error at t = 2 falls with the order of the method."""
    name, order = spec.name, spec.order
    full = build(SEPARABLE if spec.symplectic else MODEL, stepper=name, jit=False)
    errors, sizes = [], steps(spec)
    for dt in sizes:
        sim = Sim(full)
        sim.run(T=2.0, dt=dt, record=False)
        errors.append(float(np.max(np.abs(sim.state_vector() - exact(2.0, spec)))))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("spec", FIXED, ids=lambda s: s.name)
def test_the_interpolant_keeps_the_order(spec: StepperSpec) -> None:
    """Samples inside steps are as accurate as the method (at most cubic Hermite)."""
    name, order = spec.name, spec.order
    full = build(SEPARABLE if spec.symplectic else MODEL, stepper=name, jit=False)
    errors, sizes = [], steps(spec)
    for dt in sizes:
        sim = Sim(full)
        sim.run(T=2.0, dt=dt, record_dt=0.0313)
        res = sim.results()
        errors.append(float(np.max(np.abs(res[["x", "y"]].T - exact(res.t, spec)))))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope > min(order, 4) - 0.3


@pytest.mark.parametrize("spec", select_steppers(kind="ode", adaptive=True), ids=lambda s: s.name)
def test_adaptive_methods_follow_their_tolerance_and_their_output_too(spec: StepperSpec) -> None:
    """Against DOP853 at tight tolerance, at points that are no steps.

    The local error follows the tolerance, and so the error at the end its power k/(k + 1) with the order k.
    """
    vdp = build("builtin://ode/van_der_pol", stepper=spec.name, jit=False)
    mu = Sim(vdp).param_dict()
    start = Sim(vdp).state_vector()
    assert len(mu) == 1
    m = next(iter(mu.values()))
    times = np.arange(0.0, 10.0, 0.37)
    truth = solve_ivp(
        lambda t, y: [y[1], m * (1 - y[0] ** 2) * y[1] - y[0]], (0, 10), start, "DOP853", times, rtol=1e-13, atol=1e-13
    )
    errors = []
    for tolerance in (1e-4, 1e-6, 1e-8):
        sim = Sim(vdp)
        sim.run(T=10.0, record_dt=0.37, rtol=tolerance, atol=tolerance)
        raw = sim.raw_results()
        errors.append(float(np.max(np.abs(raw.data[~raw.at_stop] - truth.y.T))))
    fall = min(12.0, 0.6 * 100.0 ** (spec.order / (spec.order + 1)))
    assert errors[0] < (2e-2 if spec.order > 2 else 1e-1)
    assert errors[1] < errors[0] / fall
    assert errors[2] < errors[1] / fall


def test_arenstorf_orbit_closes() -> None:
    """Hairer, Nørsett & Wanner I, II.0, eq. 0.1: one period of the restricted three-body problem."""
    mu = 0.012277471
    r1, r2 = "((x + mu)**2 + y**2)**1.5", "((x - (1 - mu))**2 + y**2)**1.5"
    model = ode_model(
        "arenstorf",
        constants={"mu": mu},
        states={"x": 0.994, "y": 0.0, "u": 0.0, "v": -2.00158510637908252240537862224},
        equations={
            "x": "u",
            "y": "v",
            "u": f"x + 2*v - (1 - mu)*(x + mu)/{r1} - mu*(x - (1 - mu))/{r2}",
            "v": f"y - 2*u - (1 - mu)*y/{r1} - mu*y/{r2}",
        },
    )
    sim = Sim(build(model, stepper="rk45", rtol=1e-13, atol=1e-13))
    start = sim.state_vector()
    sim.run(T=17.0652165601579625588917206249)
    assert np.max(np.abs(sim.state_vector() - start)[:2]) < 1e-5


def test_lorenz_periodic_orbit_closes() -> None:
    """Viswanath, Nonlinearity 16 (2003): the orbit AB of period 1.5586522107161747."""
    for stepper, options in (("rk45", {"rtol": 1e-12, "atol": 1e-12}), ("rk4", {"dt": 1e-4})):
        sim = Sim(build("builtin://ode/lorenz", stepper=stepper, **options))
        start = [-13.7636106821342, -19.5787519424518, 27.0]
        sim.run(T=1.5586522107161747, ic=start, record=False)
        assert np.max(np.abs(sim.state_vector() - start)) < 1e-7


def test_map_iterates() -> None:
    """The period-3 orbit of the logistic map at r = 1 + √8."""
    sim = Sim(build("builtin://map/logistic", jit=False))
    name = next(iter(sim.param_dict()))
    sim.run(N=3000, params={name: 1 + math.sqrt(8)}, record=False)
    orbit = []
    for _ in range(3):
        sim.run(N=1, resume=True, record=False)
        orbit.append(float(sim.state_vector()[0]))
    assert sorted(orbit) == pytest.approx([0.1599288, 0.5143553, 0.9563178], abs=1e-3)


def test_the_registry_answers() -> None:
    """Names, aliases, capabilities, and a suggestion for a slip."""
    assert {"map", "euler", "rk2", "rk4", "ab2", "ab3", "rk45"} <= set(list_steppers())
    assert "map" in list_steppers("map")
    assert get_stepper("dopri5") is get_stepper("rk45")
    assert "rk45" in [s.name for s in select_steppers(adaptive=True)]
    assert all(s.adaptive for s in select_steppers(adaptive=True))
    assert all(s.reference and s.description for s in select_steppers())
    with pytest.raises(UnknownNameError, match="did you mean 'euler'"):
        get_stepper("eulr")
    with pytest.raises(UnknownNameError, match="rtol"):
        build(MODEL, stepper="rk45", rtoll=1e-3)
    with pytest.raises(ConfigError, match="greater than 0"):
        build(MODEL, stepper="rk45", rtol=-1.0)
    with pytest.raises(ConfigError, match="map"):
        build(MODEL, stepper="map")


@pytest.mark.parametrize("name", ["safety", "min_factor"])
def test_options_that_would_retry_a_step_for_ever_are_refused(name: str) -> None:
    spec = get_stepper("rk45")
    for value in (1.0, 2.0, float("inf")):
        with pytest.raises(ConfigError, match=f"{name}' must be less than 1, not {value}: a rejected step must shrink"):
            spec.configure(**{name: value})
    assert 0.999 in spec.configure(**{name: 0.999})
