"""How continuing and book-keeping fail elsewhere, and do not here."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest

from dynlib import (
    ConfigError,
    FullModel,
    NumericsWarning,
    Sim,
    Status,
    build,
    get_stepper,
    list_steppers,
    map_model,
    ode_model,
    setup,
)

DECAY = {"states": {"x": 1.0}, "params": {"k": 1.0}, "equations": {"x": "-k*x + sin(t)"}}


@cache
def decay(stepper: str, events: str = "") -> FullModel:
    tables = {"log": {"seen": {"cond": "x > 0", "log": ["t"]}}, "": {}}[events]
    return build(ode_model("decay", events=tables, **DECAY), stepper=stepper, dt=0.1)


@cache
def van_der_pol() -> FullModel:
    return build("builtin://ode/van_der_pol", stepper="rk45", rtol=1e-6, atol=1e-9)


def test_an_adaptive_step_is_not_shortened_to_the_horizon() -> None:
    """The step sizes after a stop are those of the run without it."""
    split, single = Sim(van_der_pol()), Sim(van_der_pol())
    single.run(T=20.0)
    for t in (0.3, 1.7, 1.7000001, 11.0, 20.0):
        split.run(T=t, resume=True)
    assert split.state.same_bits(single.state)
    assert split.step == single.step


def test_times_do_not_accumulate() -> None:
    """T=1 with dt=0.1 takes 10 steps; splitting at a multiple of dt adds none."""
    sim = Sim(decay("euler"))
    sim.run(T=1.0)
    assert sim.step == 10
    for k in range(11, 31):
        sim.run(T=k * 0.1, resume=True)
    assert sim.step == 30
    assert np.array_equal(sim.results().step, np.arange(31))
    assert sim.results().t.tolist() == [k * 0.1 for k in range(31)]


@pytest.mark.parametrize("stepper", ["ab2", "ab3"])
def test_multistep_history_survives_a_stop_inside_a_step(stepper: str) -> None:
    """No sliver of a step ever enters a formula with constant coefficients."""
    split, single = Sim(decay(stepper)), Sim(decay(stepper))
    split.run(T=0.55)
    split.run(T=3.0, resume=True)
    single.run(T=3.0)
    assert split.state.same_bits(single.state)


def test_growing_a_log_re_executes_nothing() -> None:
    """A counter fed by an event at every step counts each once, however often the log grows."""
    model = map_model(
        "count",
        states={"x": 0.0},
        params={"hits": 0},
        equations={"x": "x + 1"},
        events={"hit": {"cond": "true", "action": "hits += 1", "log": ["hits"]}},
    )
    sim = Sim(build(model))
    sim.run(N=5000)
    assert sim.param_dict()["hits"] == 5000.0
    assert np.array_equal(sim.results().event("hit")["hits"], np.arange(5000))


def test_an_event_that_only_logs_changes_nothing() -> None:
    """Not even a multistep method notices it."""
    logged, silent = Sim(decay("ab3", "log")), Sim(decay("ab3"))
    logged.run(T=3.0)
    silent.run(T=3.0)
    assert logged.state_vector().tobytes() == silent.state_vector().tobytes()


@pytest.mark.parametrize("stepper", ["ab2", "ab3", "rk45"])
def test_assign_drops_the_history_of_the_stepper(stepper: str) -> None:
    """After an edit the method starts as it does from fresh initial values."""
    sim, fresh = Sim(decay(stepper)), Sim(decay(stepper))
    sim.run(T=1.0)
    sim.assign(x=10.0)
    sim.run(T=1.5, resume=True)
    fresh.run(T=1.5, t0=1.0, ic={"x": 10.0})
    assert sim.state_vector().tobytes() == fresh.state_vector().tobytes()


def test_record_interval_keeps_its_phase_over_segments() -> None:
    """Labels neither repeat nor shift, also after a segment that records nothing."""
    sim = Sim(decay("euler"))
    sim.run(N=8, record_interval=3)
    sim.run(N=5, resume=True)
    sim.run(N=4, resume=True, record=False)
    sim.run(N=4, resume=True)
    raw = sim.raw_results()
    regular = raw.step[~raw.at_stop]
    assert regular.tolist() == [0, 3, 6, 9, 12, 18, 21]
    assert raw.step[raw.at_stop].tolist() == [8, 13]


def test_reset_and_assign_run_from_their_own_moment() -> None:
    """Neither falls back to the model's t0."""
    sim = Sim(decay("rk4"))
    sim.run(T=2.0)
    sim.create_snapshot("a")
    sim.reset("a")
    sim.run(T=3.0)
    assert sim.results().t[0] == 2.0
    sim.assign(k=2.0, clear_history=True)
    sim.run(T=4.0)
    assert sim.results().t[0] == 3.0


def test_samples_before_a_nan_stay() -> None:
    """A run that blows up keeps what it recorded and stands at the last good step."""
    model = ode_model("blowup", states={"x": 1.0}, equations={"x": "x*x*x"}, params={})
    for stepper in ("rk4", "rk45"):
        sim = Sim(build(model, stepper=stepper, dt=0.01))
        with pytest.warns(NumericsWarning):
            outcome = sim.run(T=5.0)
        assert outcome.status in (Status.NOT_FINITE, Status.STEP_TOO_SMALL)
        res = sim.results()
        assert len(res) > 10
        assert np.all(np.isfinite(res["x"]))
        assert np.all(np.isfinite(sim.state_vector()))
        assert res.segments[0].status == outcome.status.name


def test_a_mistaken_call_keeps_the_history() -> None:
    """Arguments are checked before anything is cleared."""
    sim = Sim(decay("rk4"))
    sim.run(T=2.0)
    state = sim.state
    for wrong in ({"T": -1.0}, {"T": 3.0, "dt": -1.0}, {"T": 3.0, "ic": {"z": 1.0}}, {"T": 3.0, "record_vars": ["z"]}):
        with pytest.raises(ConfigError):
            sim.run(**wrong)
    assert len(sim.results()) == 21
    assert sim.state is state


def test_the_step_limit_is_reported() -> None:
    """Running into max_steps is a status of its own, and the run can be resumed."""
    sim = Sim(decay("rk4"))
    with pytest.warns(NumericsWarning, match="MAX_STEPS"):
        outcome = sim.run(T=100.0, max_steps=17)
    assert (outcome.status, sim.step) == (Status.MAX_STEPS, 17)
    assert not outcome.ok
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sim.run(T=2.0, resume=True).status is Status.DONE


def test_a_million_steps_give_a_million_and_one_records() -> None:
    """One sample per step and one for the start."""
    sim = Sim(decay("euler"))
    sim.run(T=100_000.0)
    assert sim.step == 1_000_000
    assert len(sim.results()) == 1_000_001


@pytest.mark.parametrize("stepper", [name for name in list_steppers() if get_stepper(name).adaptive])
def test_a_first_step_below_the_smallest_one_is_too_small_not_a_failure_of_the_model(stepper: str) -> None:
    sim = setup("builtin://ode/exponential_decay", stepper=stepper, dt=1e-3, min_step=0.1, jit=False)
    with pytest.warns(NumericsWarning, match="STEP_TOO_SMALL"):
        assert sim.run(T=1.0).status is Status.STEP_TOO_SMALL
    assert sim.t == 0.0
