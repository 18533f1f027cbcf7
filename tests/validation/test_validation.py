"""Every stepper on published problems of its class: the accuracy asked for, or a status that says otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from validation.bifurcations import DOUBLINGS, HOPF_POINTS, HopfPoint, doubling
from validation.problems import PROBLEMS, Problem, lorenz_by_taylor, problem, steppers, tolerances

from dynlib import Status, StepperSpec

NAMED = dict(ids=lambda x: x.name)
SMOOTH = [p for p in PROBLEMS if p.kind != "stiff"]
TAME = [p for p in SMOOTH if p.multiple <= 100]
SWITCHING = [s for s in steppers(adaptive=True, stiff=True) if s.family == "switching"]
HARD = [p for p in PROBLEMS if p.kind == "stiff"]
BUDGET = 200_000


def pairs(cases: list[Problem], specs: list[StepperSpec]) -> list[object]:
    return [
        pytest.param(case, spec, id=f"{case.name}-{spec.name}")
        for case in cases
        for spec in specs
        if tolerances(case, spec)
    ]


def meets_its_tolerance(case: Problem, spec: StepperSpec) -> None:
    for rtol in tolerances(case, spec):
        sim = case.prepared(spec.name, rtol, jit=False)
        outcome = case.run(sim, max_steps=BUDGET)
        assert outcome.status is Status.DONE, f"rtol {rtol:g}: {outcome.status.name} at t = {outcome.t:g}"
        error = case.error(sim.state_vector(), rtol)
        assert error <= case.bound(spec, rtol), f"rtol {rtol:g}: the error is {error:.3g} times the tolerance"


# -- adaptive methods ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "spec"), pairs(SMOOTH, [*steppers(adaptive=True, stiff=False), *SWITCHING]))
def test_adaptive_methods_meet_their_tolerance(case: Problem, spec: StepperSpec) -> None:
    meets_its_tolerance(case, spec)


@pytest.mark.parametrize(("case", "spec"), pairs([*HARD, *TAME], steppers(adaptive=True, stiff=True)))
def test_stiff_methods_meet_their_tolerance(case: Problem, spec: StepperSpec) -> None:
    meets_its_tolerance(case, spec)


@pytest.mark.parametrize("spec", steppers(adaptive=True, stiff=False), **NAMED)
@pytest.mark.parametrize("case", HARD, **NAMED)
def test_a_method_that_is_unfit_for_stiff_problems_says_so(case: Problem, spec: StepperSpec) -> None:
    """It may be slow and stop at the limit of steps, but what it calls done is right."""
    sim = case.prepared(spec.name, 1e-5, jit=False)
    outcome = case.run(sim, max_steps=3000)
    if outcome.status is Status.DONE:
        assert case.error(sim.state_vector(), 1e-5) <= case.bound(spec, 1e-5)
    else:
        assert outcome.t < case.t_end
        assert np.all(np.isfinite(sim.state_vector()))


# -- methods with a fixed step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", steppers(adaptive=False, stiff=False), **NAMED)
def test_explicit_methods_with_a_fixed_step_do_not_survive_a_stiff_problem(spec: StepperSpec) -> None:
    """A step far beyond the bound of stability ends in a failure with the last good state, not in an answer."""
    case = problem("HIRES")
    sim = case.prepared(spec.name, jit=False)
    outcome = case.run(sim, dt=0.5)
    assert outcome.status is Status.NOT_FINITE
    assert outcome.t < case.t_end
    assert np.all(np.isfinite(sim.state_vector()))


@pytest.mark.parametrize("spec", steppers(adaptive=False, stiff=True), **NAMED)
def test_stiff_methods_with_a_fixed_step_survive_it(spec: StepperSpec) -> None:
    case = problem("HIRES")
    sim = case.prepared(spec.name, jit=False)
    assert case.run(sim, dt=0.1).status is Status.DONE
    assert case.error(sim.state_vector(), 1.0) < 0.05


@pytest.mark.parametrize("spec", steppers(adaptive=False, stiff=False, symplectic=True), **NAMED)
def test_symplectic_methods_keep_the_energy_for_a_million_steps(spec: StepperSpec) -> None:
    """Kepler's problem with e = 0.6: the error of the energy oscillates and does not grow."""
    case = problem("Kepler")
    sim = case.prepared(spec.name)
    dt = 2 * math.pi / 200
    assert sim.run(N=1_000_000, dt=dt, record_interval=97, record_vars=["energy"]).status is Status.DONE
    errors = np.abs(sim.results()["energy"] + 0.5)
    early, late = errors[: len(errors) // 20].max(), errors[-len(errors) // 20 :].max()
    assert late < 1.2 * early + 1e-11
    assert errors.max() < 0.02


# -- bifurcations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", HOPF_POINTS, **NAMED)
def test_hopf_points(point: HopfPoint) -> None:
    """The published values, to their last digit."""
    assert point.locate() == pytest.approx(point.published, abs=point.within)


def test_period_doubling_cascade_of_the_logistic_map() -> None:
    """M. J. Feigenbaum, J. Stat. Phys. 19 (1978) 25–52: r1 = 3, r2 = 1 + sqrt(6), and the ratio of the distances."""
    found = [doubling(k) for k in range(len(DOUBLINGS))]
    np.testing.assert_allclose(found, DOUBLINGS, rtol=0, atol=1e-12)
    gaps = np.diff(found)
    assert gaps[3] / gaps[4] == pytest.approx(4.669, abs=0.01)


# -- the references themselves -------------------------------------------------------------------------------------


def test_lorenz_reference() -> None:
    """Computed anew with other steps: every digit of a double agrees."""
    case = problem("Lorenz, T = 20")
    assert tuple(float(x) for x in lorenz_by_taylor(steps=600)) == case.reference


def test_lorenz_reference_is_reached() -> None:
    """By a method of another kind, as far as rounding lets it: a factor of 1e9 lies between start and end."""
    case = problem("Lorenz, T = 20")
    sim = case.prepared("rk45", 1e-14)
    case.run(sim)
    assert np.max(np.abs(sim.state_vector() - case.end)) < 1e-6
