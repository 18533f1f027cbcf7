"""Events where they are, and times that no step crosses, over every stepper for ODEs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dynlib
from dynlib import Model, ModelError, NumericsWarning, Sim, Status, get_stepper, list_steppers, ode_model
from dynlib.spec.document import model_from_document
from dynlib.spec.source import document_of

STEPPERS = list_steppers("ode")
every_stepper = pytest.mark.parametrize("stepper", STEPPERS)


def session(model: Model, stepper: str, dt: float = 0.02, **options: Any) -> Sim:
    adaptive = get_stepper(stepper).adaptive
    return dynlib.setup(model, stepper=stepper, jit=False, **({"dt": dt} if not adaptive else {}), **options)


def tight(stepper: str) -> dict[str, Any]:
    return {"rtol": 1e-9, "atol": 1e-9} if "rtol" in get_stepper(stepper).option_names else {}


def order(stepper: str) -> int:
    return get_stepper(stepper).order


OSCILLATOR: dict[str, Any] = {"states": {"x": 0.0, "y": 1.0}, "equations": {"x": "y", "y": "-x"}}
BALL: dict[str, Any] = {
    "states": {"h": 1.0, "v": 0.0},
    "params": {"g": 9.81, "e": 0.9},
    "equations": {"h": "v", "v": "-g"},
}
BOUNCE = {"cond": "h <= 0", "locate": True, "action": "v = -e*v", "log": ["t", "v"]}


@every_stepper
def test_crossings_are_logged_where_they_are(stepper: str) -> None:
    """Up, down and both, also two in one step; the trajectory is as without them."""
    events = {
        "up": {"cond": "cross_up(x, 0.5)", "locate": True, "log": ["t"]},
        "down": {"cond": "x < 0.5", "locate": True, "log": ["t"]},
        "crest": {"cond": "x == 0.9999", "locate": True, "log": ["t", "y"]},
    }
    plain = session(ode_model("o", **OSCILLATOR), stepper, **tight(stepper))
    sim = session(ode_model("o", **OSCILLATOR, events=events), stepper, **tight(stepper))
    for each in (plain, sim):
        each.run(T=7.0)
    assert sim.state_vector().tobytes() == plain.state_vector().tobytes()
    log = sim.raw_results().log
    got = {name: log.t[log.event == k] for k, name in enumerate(events)}
    crest = math.acos(0.9999)
    exact = {
        "up": [math.pi / 6, 13 * math.pi / 6],
        "down": [5 * math.pi / 6],
        "crest": [math.pi / 2 - crest, math.pi / 2 + crest],
    }
    # what one step of a low order is wrong by, and a crest multiplies it
    error = {1: 0.3, 2: 2e-3}.get(order(stepper), 2e-5)
    for name in ("up", "down"):
        assert got[name] == pytest.approx(exact[name], abs=error), name
    if order(stepper) > 2:
        assert got["crest"] == pytest.approx(exact["crest"], abs=50 * error)
    assert np.all(np.diff(log.t) > 0)


@every_stepper
def test_an_event_that_acts_ends_the_step(stepper: str) -> None:
    """A ball: the times between bounces shrink by e, and the state is set at the time of the bounce."""
    dt = 0.001 if order(stepper) == 1 else 0.01
    sim = session(ode_model("ball", **BALL, events={"bounce": BOUNCE}), stepper, dt, **tight(stepper))
    sim.run(T=1.9)
    v = math.sqrt(2 * 9.81)
    times = [v / 9.81]
    while times[-1] + 2 * 0.9 * v / 9.81 < 1.9:
        v *= 0.9
        times.append(times[-1] + 2 * v / 9.81)
    log = sim.raw_results().log
    error = 0.05 if order(stepper) == 1 else 1e-6
    assert log.t == pytest.approx(times, abs=error)
    assert log.values[:, 0].tobytes() == log.t.tobytes()
    steps = sim.raw_results()
    for t in log.t:
        assert np.any(steps.t == t)


@every_stepper
def test_a_terminal_event_stops_where_it_happens(stepper: str) -> None:
    events = {"end": {"cond": "cross_down(x, -0.5)", "locate": True, "terminal": True, "log": ["t", "x"]}}
    sim = session(ode_model("o", **OSCILLATOR, events=events), stepper, **tight(stepper))
    sim.run(T=100.0)
    assert sim.state.status is Status.STOPPED
    assert sim.t == pytest.approx(7 * math.pi / 6, abs={1: 0.3, 2: 2e-3}.get(order(stepper), 2e-5))
    assert sim.state_dict()["x"] == pytest.approx(-0.5, abs=1e-9)
    assert sim.raw_results().t[-1] == sim.t == sim.raw_results().log.t[-1]


def test_a_terminal_event_at_the_end_of_steps() -> None:
    events = {"end": {"cond": "x > 0.5", "terminal": True}}
    sim = session(ode_model("o", **OSCILLATOR, events=events), "rk4", 0.1)
    sim.run(T=100.0)
    assert (sim.state.status, sim.state.step) == (Status.STOPPED, 6)


@pytest.mark.parametrize("stepper", ["rk4", "rk45", "dop853", "ab3"])
def test_simultaneous_events_act_in_the_order_of_their_declaration(stepper: str) -> None:
    two = {
        "first": {"cond": "x >= 0.5", "locate": True, "action": "a = 10*a + 1", "log": ["a"]},
        "second": {"cond": "2*x >= 1", "locate": True, "action": "a = 10*a + 2", "log": ["a"]},
    }
    for events, end in ((two, 12.0), (dict(reversed(two.items())), 21.0)):
        sim = session(ode_model("o", **OSCILLATOR, params={"a": 0.0}, events=events), stepper)
        sim.run(T=1.0)
        assert sim.param_dict()["a"] == end
        log = sim.raw_results().log
        assert log.t[0] == log.t[1]
        assert log.event.tolist() == [0, 1]


@pytest.mark.parametrize("stepper", ["rk4", "rk45", "dop853", "ab3", "bs32"])
def test_chattering_is_reported(stepper: str) -> None:
    """A ball that comes to rest, and a switch that is thrown to and fro."""
    switch = ode_model(
        "switch", states={"x": 1.0}, params={"s": 1.0}, equations={"x": "-s"},
        events={
            "below": {"cond": "x <= 0", "locate": True, "action": "s = -1"},
            "above": {"cond": "x > 0", "locate": True, "action": "s = 1"},
        },
    )  # fmt: skip
    rest = math.sqrt(2 / 9.81) * (1 + 0.9) / (1 - 0.9)
    for model, end in ((ode_model("ball", **BALL, events={"bounce": BOUNCE}), rest), (switch, 1.0)):
        sim = session(model, stepper, 0.05)
        with pytest.warns(NumericsWarning, match="CHATTERING"):
            sim.run(T=100.0)
        assert sim.state.status is Status.CHATTERING
        assert not sim.state.status.ok
        assert sim.t == pytest.approx(end, abs=1e-3)


@every_stepper
def test_no_step_crosses_a_barrier(stepper: str) -> None:
    """A pulse far shorter than a step is never skipped, wherever runs end."""
    model = ode_model(
        "pulse", states={"q": 0.0, "p": 1.0}, params={"t0": 1.2345, "w": 1e-3, "A": 100.0},
        equations={"q": "p", "p": "-q + A*(heaviside(t - t0) - heaviside(t - t0 - w))"},
    )  # fmt: skip
    whole, split = (session(model, stepper, 0.02, **tight(stepper)) for _ in range(2))
    whole.run(T=2.0)
    for T in (0.5, 1.2344, 1.2345, 1.2349, 1.2355, 1.9, 2.0):
        split.run(T=T, resume=True)
    assert split.state.same_bits(whole.state)
    kick = 100.0 * (math.cos(2.0 - 1.2355) - math.cos(2.0 - 1.2345))
    assert whole.state_dict()["q"] == pytest.approx(math.sin(2.0) + kick, abs=0.03 if order(stepper) == 1 else 1e-3)
    times = whole.raw_results().t
    assert 1.2345 in times
    assert np.any(np.abs(times - 1.2355) < 1e-15)


def test_barriers_follow_parameters_and_tstops() -> None:
    model = ode_model(
        "b", states={"x": 0.0}, params={"t0": 1.3}, equations={"x": "1 if t < t0 else (t % 0.7 < 0.1)"},
        sim={"tstops": [2.2222]}, events={"later": {"cond": "t >= 1.3 and t0 < 1.5", "action": "t0 = 1.55"}},
    )  # fmt: skip
    sim = session(model, "rk4", 0.11)
    sim.run(T=2.5)
    for t in (1.3, 1.55, 2.2222, 0.7, 1.4, 2.1, 0.8, 1.5, 2.2):
        assert np.any(np.abs(sim.raw_results().t - t) < 1e-12), t
    sim = session(model, "rk4", 0.11)
    sim.run(T=1.5, params={"t0": 1.7321}, t0=1.0)
    sim.run(T=2.0, resume=True)
    assert 1.7321 in sim.raw_results().t
    assert 1.3 not in sim.raw_results().t


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"cond": "x > 0 and y > 0", "locate": True}, "a located event needs one comparison"),
        ({"cond": "0 < x < 1", "locate": True}, "a located event needs one comparison"),
        ({"cond": "x != 0", "locate": True}, "a located event needs one comparison"),
        ({"cond": "changed(x)", "locate": True}, "a located event needs one comparison"),
        ({"cond": "x > lag_x(1)", "locate": True}, "cannot read past values"),
        ({"cond": "x > 0", "locate": True, "phase": "pre"}, "leave phase out"),
        ({"cond": "x > 0", "terminal": True, "phase": "both"}, "leave phase out"),
        ({"cond": "x > 0", "locate": 1}, "must be true or false"),
        ({"cond": "cross_up(x)", "locate": True}, "takes 2 arguments"),
        ({"cond": "cross_up(z, 1)", "locate": True}, "must be the name of a state"),
    ],
)
def test_what_cannot_be_located_is_refused(event: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ode_model("o", **OSCILLATOR, events={"e": event})


def test_maps_have_nothing_between_their_steps() -> None:
    with pytest.raises(ModelError, match="located between the steps of an ODE; this is a map"):
        dynlib.map_model("m", states={"x": 0.1}, equations={"x": "x"}, events={"e": {"cond": "x > 0", "locate": True}})


def test_located_events_and_tolerances_survive_the_document() -> None:
    model = ode_model(
        "o", **OSCILLATOR, events={"e": {"cond": "cross_either(x, 0.5)", "locate": True, "terminal": True}},
        sim={"tstops": [2.0, 1.0], "atol": {"x": 1e-9}, "rtol_of": {"y": 1e-3}, "rtol": 1e-6},
    )  # fmt: skip
    again = model_from_document(document_of(model))
    assert again == model
    assert model.sim.tolerances == (("atol", "x", 1e-9), ("rtol", "y", 1e-3))
    assert model.sim.tstops == (1.0, 2.0)
    plain = ode_model("o", **OSCILLATOR, events={"e": {"cond": "x == 0.5"}})
    assert plain.structure_hash != model.structure_hash


@pytest.mark.parametrize("jit", [False, True])
def test_a_state_has_its_own_tolerance(jit: bool) -> None:
    model = ode_model(
        "t",
        states={"x": 1.0, "u[3]": 1.0},
        equations={"x": "-x", "u[i]": "-50*u[i]*(1 + 0.1*sin(t)) for i in range(3)"},
    )
    errors = []
    for given in ({}, {"atol": {"u": 1e-12}, "rtol": {"u": 1e-10}}):
        sim = dynlib.setup(model, stepper="rk45", jit=jit, **given)
        sim.run(T=0.1)
        exact = math.exp(-50 * (0.1 + 0.1 * (1 - math.cos(0.1))))
        errors.append(abs(sim.state_vector()[1] - exact) / exact)
    assert errors[1] < 1e-8 < errors[0]
    with pytest.raises(ModelError, match="'xx' is not a state; did you mean 'x'"):
        dynlib.setup(model, atol={"xx": 1e-3})
    with pytest.raises(ModelError, match="must be greater than 0"):
        dynlib.setup(model, atol={"x": 0.0})
