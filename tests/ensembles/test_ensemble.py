"""Ensembles: every member is the run alone, whatever runs beside it."""

from __future__ import annotations

import platform
import re
import signal
import subprocess
import sys
import time
import warnings
from typing import Any

import numpy as np
import pytest

import dynlib
from dynlib import ConfigError, NumericsWarning, Sim, Status, UnknownNameError, ensemble
from dynlib.compile import vectorised
from dynlib.compile.kernel import generated_module
from dynlib.compile.lanes import LANES, lane_kernel, why_not
from dynlib.compile.native import machine
from dynlib.compile.native.types import ELEMENTS, F64, I64, ArrayType
from dynlib.runtime.progress import MembersDone, ProgressDisplay
from dynlib.steppers import get_stepper

MEMBERS = LANES + 7
SPIKES = dynlib.ode_model(
    "spikes", states={"v": -65.0, "u": -13.0}, params={"I": 10.0, "fired": 0.0},
    equations={"v": "0.04*v*v + 5*v + 140 - u + I", "u": "0.02*(0.2*v - u)"},
    events={"spike": {"cond": "v >= 30", "action": "v = -65\nu = u + 8\nfired += 1"},
            "push": {"phase": "pre", "cond": "u > 2", "action": "v = v - 0.5"}},
    sim={"stop": "fired > 6", "dt": 0.25},
)  # fmt: skip


def alone(full: dynlib.FullModel, ic: dict[str, float], params: dict[str, float], **run: Any) -> Sim:
    sim = Sim(full)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericsWarning)
        sim.run(ic=ic or None, params=params or None, record=False, **run)
    return sim


@pytest.mark.parametrize(
    ("model", "stepper", "run"),
    [
        ("builtin://ode/lorenz", "rk4", {"T": 3.0}),
        ("builtin://ode/lorenz", "rk4", {"T": 2.9987}),  # inside a step
        ("builtin://ode/lorenz", "euler", {"N": 150}),
        ("builtin://ode/rossler", "rk2", {"T": 7.0, "t0": 1.5}),
        ("builtin://map/henon", "map", {"N": 40}),
        (SPIKES, "rk4", {"T": 133.33}),
    ],
)
@pytest.mark.parametrize("jit", [True, False])
def test_a_member_with_a_fixed_step_has_the_bits_of_a_run(model: Any, stepper: str, run: Any, jit: bool) -> None:
    full = dynlib.build(model, stepper=stepper, jit=jit, **({} if stepper == "map" else {"dt": 0.01}))
    first = full.model.params[0] if model is SPIKES else full.model.states[0]
    if not jit:
        run = {**run, "T": 1.0 + run.get("t0", 0.0)} if "T" in run else {"N": 20}
    values = first.values[0] + np.linspace(0.0, 10.0 if model is SPIKES else 0.5, MEMBERS)
    kind = "params" if model is SPIKES else "ic"
    found = ensemble(full, **{kind: {first.name: values}}, threads=2, **run)
    assert found.lanes
    for k in (0, 3, LANES - 1, LANES, MEMBERS - 1):
        sim = alone(full, **{"ic": {}, "params": {}, kind: {first.name: values[k]}}, **run)
        assert [found[q.name][k] for q in full.model.states] == sim.state_vector().tolist()
        assert (found.t[k], found.steps[k], found.status[k]) == (sim.t, sim.step, sim.state.status)
    if model is SPIKES and jit:
        assert found.counts["spike"].min() > 0
        assert found.counts["spike"].max() == 7
        assert {Status.STOPPED, Status.DONE} == set(found.status.tolist())


def test_a_member_under_step_size_control_is_as_good_as_a_run() -> None:
    full = dynlib.build("builtin://ode/lorenz", stepper="dop853", rtol=1e-10, atol=1e-10)
    rho = np.linspace(20.0, 30.0, MEMBERS)
    found = ensemble(full, params={"rho": rho}, T=4.0)
    for k in (0, 11, MEMBERS - 1):
        sim = alone(full, {}, {"rho": rho[k]}, T=4.0)
        assert [found[q.name][k] for q in full.model.states] == pytest.approx(sim.state_vector(), rel=1e-7)
        assert abs(found.steps[k] - sim.step) <= 1
        assert (found.t[k], found.status[k]) == (4.0, Status.DONE)


def test_events_under_step_size_control() -> None:
    full = dynlib.build(SPIKES, stepper="rk45", rtol=1e-8, atol=1e-8)
    found = ensemble(full, params={"I": np.linspace(5.0, 15.0, 9)}, T=60.0)
    for k in (0, 4, 8):
        sim = alone(full, {}, {"I": 5.0 + 1.25 * k}, T=60.0)
        assert found.counts["spike"][k] == sim.param_dict()["fired"]
        assert found["u"][k] == pytest.approx(sim.state_dict()["u"], rel=1e-4)


@pytest.mark.parametrize("stepper", ["rk4", "tsit5"])
def test_no_bit_depends_on_the_company(stepper: str) -> None:
    full = dynlib.build("builtin://ode/hodgkin_huxley", stepper=stepper, **({"dt": 0.01} if stepper == "rk4" else {}))
    current = np.linspace(0.0, 20.0, 3 * LANES + 5)
    whole = ensemble(full, params={"I": current}, T=3.0, threads=1)
    order = np.random.default_rng(1).permutation(len(current))
    others = [
        ensemble(full, params={"I": current}, T=3.0, threads=3),
        ensemble(full, params={"I": current[order]}, T=3.0, threads=2),
    ]
    for name in ("V", "m", "h", "n"):
        assert others[0][name].tobytes() == whole[name].tobytes()
        assert others[1][name].tobytes() == whole[name][order].tobytes()
        for k in (0, 40):
            assert ensemble(full, params={"I": current[k]}, T=3.0)[name] == whole[name][k]
    assert (whole.steps == others[0].steps).all()


def test_statistics_histograms_and_samples_are_those_of_the_recorded_run() -> None:
    full = dynlib.build("builtin://ode/lorenz", stepper="rk4", dt=0.01)
    x = np.linspace(0.5, 1.5, 5)
    found = ensemble(full, ic={"x": x}, T=12.0, transient=2.0, statistics=True, histograms={"z": (0.0, 50.0, 25)},
                     record_interval=10, record_vars=["y"])  # fmt: skip
    assert found.statistics is not None
    for k in (0, 4):
        sim = Sim(full)
        sim.run(T=12.0, ic={"x": x[k]})
        res = sim.results()
        late = res.t > 2.0
        assert found.statistics.mean["x"][k] == pytest.approx(res["x"][late].mean(), rel=1e-12)
        assert found.statistics.variance["y"][k] == pytest.approx(res["y"][late].var(), rel=1e-12)
        assert found.statistics.least["z"][k] == res["z"][late].min()
        assert found.statistics.greatest["z"][k] == res["z"][late].max()
        bins = np.histogram(res["z"][late], found.edges["z"])[0]
        assert found.histograms["z"][:, k].tolist() == bins.tolist()
        assert found.samples["y"][:, k].tolist() == res["y"][200::10].tolist()
        assert found.sample_t == pytest.approx(res.t[200::10])


def test_what_comes_after_a_transient_is_what_a_run_records() -> None:
    full = dynlib.build("builtin://map/logistic")
    r = np.linspace(2.9, 4.0, MEMBERS)
    found = ensemble(full, params={"r": r}, N=70, transient=130.0, record_interval=3)
    for k in (0, LANES, MEMBERS - 1):
        sim = Sim(full)
        sim.run(N=70, transient=130.0, params={"r": r[k]}, record_interval=3)
        res = sim.results()
        on = (res.step - 130) % 3 == 0
        assert found.samples["x"][:, k].tolist() == res["x"][on].tolist()
        assert (found["x"][k], found.steps[k], found.t[k]) == (sim.state_dict()["x"], sim.step, sim.t)
    with pytest.raises(ConfigError, match="give T"):
        ensemble("builtin://ode/lorenz", N=10, transient=1.0, stepper="rk45", jit=False)


@pytest.mark.parametrize("stop", [None, "x > 3.9"])
@pytest.mark.parametrize("jit", [True, False])
def test_maps_that_look_at_the_time(stop: str | None, jit: bool) -> None:
    model = dynlib.map_model("m", states={"x": 0.3, "y": 0.0}, params={"r": 3.7},
                             equations={"x": "r*x*(1 - x/4) + 0.01*t/100", "y": "y + x/(1 + t)"},
                             sim={} if stop is None else {"stop": stop})  # fmt: skip
    full = dynlib.build(model, jit=jit)
    r = np.linspace(2.0, 4.1, 5)
    found = ensemble(full, params={"r": r}, N=100, t0=-3.5)
    for k in range(5):
        sim = alone(full, {}, {"r": r[k]}, N=100, t0=-3.5)
        assert [found["x"][k], found["y"][k]] == sim.state_vector().tolist()
        assert (found.t[k], found.steps[k], found.status[k]) == (sim.t, sim.step, sim.state.status)
    assert len(set(found.status.tolist())) > 1


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 71, 200])
def test_iterations_in_one_go_are_iterations_one_by_one(steps: int) -> None:
    model = dynlib.map_model("m", states={"x": 0.3}, params={"r": 3.7}, equations={"x": "r*x*(1 - x)"}, sim={"dt": 0.5})
    for r in (3.7, 4.5):  # the second one leaves the interval, and then all numbers
        sim = alone(dynlib.build(model), {}, {"r": r}, N=steps)
        found = ensemble(model, params={"r": [r, 3.7]}, N=steps)
        assert (found["x"][0], found.steps[0], found.t[0]) == (sim.state_dict()["x"], sim.step, sim.t)
        assert found.status[0] == sim.state.status
        assert found.steps[1] == steps
        assert ensemble(model, params={"r": r}, T=steps / 2)["x"] == found["x"][0]


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(("interval", "transient"), [(1, 0.0), (1, 37.0), (3, 5.0), (25, 0.0), (1, 89.0)])
def test_what_is_recorded_in_one_go_is_what_runs_record(interval: int, transient: float, jit: bool) -> None:
    """Of each state that is asked for, in its order; where a member has left all numbers there is NaN."""
    full = dynlib.build("builtin://map/henon", jit=jit)
    x = np.linspace(0.0, 0.2, MEMBERS)
    x[-1] = 3.0
    found = ensemble(full, ic={"x": x}, N=90, transient=transient, record_interval=interval, record_vars=["y", "x"])
    one = ensemble(full, ic={"x": x}, N=90, transient=transient, record_interval=interval, record_vars=["y"])
    np.testing.assert_array_equal(one.samples["y"], found.samples["y"])
    for k in (0, LANES, MEMBERS - 1):
        sim = Sim(full)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NumericsWarning)
            sim.run(N=90 + int(transient), ic={"x": x[k]})
        res = sim.results()
        for name in ("x", "y"):
            whole = np.full(91 + int(transient), np.nan)
            whole[: len(res[name])] = res[name]
            np.testing.assert_array_equal(found.samples[name][:, k], whole[int(transient) :: interval])
    assert not found.ok[-1]
    assert found.ok[:-1].all()


@pytest.mark.parametrize("shift", range(8))
def test_streams_go_to_any_place(shift: int) -> None:
    source = (
        "from dynlib.compile.vectorised import stream\n\nLANES = 16\n\n\n"
        "def kernel(y, x):\n    for i in range(y.shape[0]):\n        stream(y, i, 0, 8, x, 1, LANES)\n    return 0\n"
    )
    for jit in (True, False):
        module, x, room = generated_module(source, jit), np.arange(20.0), np.zeros(2 * 40 + 16)
        shift += -room.ctypes.data % 64 // 8
        y = room[shift : shift + 80].reshape(2, 1, 40)
        module.kernel(y, x)
        assert y[:, 0, 8:24].tolist() == [x[1:17].tolist()] * 2
        assert y.sum() == room.sum() == 2 * x[1:17].sum()
        shift %= 8
    vector = ArrayType(ELEMENTS["float64"], 1)
    assert "nontemporal" in generated_module(source, True).kernel.ir((ArrayType(ELEMENTS["float64"], 3), vector))


def test_time_averages_under_step_size_control() -> None:
    model = dynlib.ode_model("m", states={"x": 0.0}, equations={"x": "cos(t)"})
    found = ensemble(model, T=20 * np.pi, statistics=True, stepper="rk45", max_step=0.02)
    assert found.statistics is not None
    assert float(found.statistics.variance["x"]) == pytest.approx(0.5, abs=1e-3)


def test_a_member_that_fails_stands_at_its_last_good_step() -> None:
    model = dynlib.ode_model("m", states={"x": 1.0}, params={"k": 1.0}, equations={"x": "k*x*x"}, sim={"dt": 0.01})
    for stepper in ("rk4", "rk45"):
        found = ensemble(model, params={"k": [0.1, 1.0, -1.0]}, T=5.0, stepper=stepper)
        assert found.ok.tolist() == [True, False, True]
        assert found.status[1] in (Status.NOT_FINITE, Status.STEP_TOO_SMALL)
        assert np.isfinite(found["x"]).all()
        assert found.t[1] < 1.1
        assert found["x"][0] == pytest.approx(2.0, abs=1e-4)
    found = ensemble(model, params={"k": [-1.0, -2.0]}, T=5.0, stepper="rk45", max_steps=3)
    assert (found.status == Status.MAX_STEPS).all()
    assert (found.steps == 3).all()


@pytest.mark.parametrize("max_steps", [99, 100, 101])
def test_the_horizon_comes_before_the_limit_of_steps(max_steps: int) -> None:
    full = dynlib.build("builtin://ode/lorenz", stepper="rk4", dt=0.01)
    found, sim = ensemble(full, T=1.0, max_steps=max_steps), alone(full, {}, {}, T=1.0, max_steps=max_steps)
    assert (found.status, found.steps, found.t) == (sim.state.status, sim.step, sim.t)


def test_shapes_are_broadcast() -> None:
    found = ensemble("builtin://map/henon", params={"a": np.linspace(1.0, 1.4, 4)[:, None]}, ic={"x": [0.1, 0.2, 0.3]},
                     N=10, jit=False)  # fmt: skip
    assert found.shape == found["x"].shape == (4, 3)
    assert ensemble("builtin://map/henon", N=10, jit=False)["x"].shape == ()
    assert repr(found) == "<ensemble of 12 members (4, 3), run in lanes: 12 reached the end>"


def test_what_does_not_run_in_lanes_runs_one_by_one() -> None:
    found = ensemble("builtin://ode/robertson", params={"k1": [0.04, 0.05]}, T=40.0, stepper="rodas5p", rtol=1e-8,
                     threads=2)  # fmt: skip
    assert not found.lanes
    assert "solves equations" in str(found.reason)
    assert found["A" if "A" in found.final else next(iter(found.final))][0] == pytest.approx(0.7158271, abs=1e-6)
    noisy = dynlib.sde_model("m", states={"x": 0.0}, equations={"x": "-x"}, noise={"x": "1"})
    first, second = (ensemble(noisy, ic={"x": np.zeros(50)}, T=1.0, dt=0.01, seed=3, threads=k)["x"] for k in (1, 2))
    assert (first == second).all()
    assert len(set(first.tolist())) == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give T"),
        ({"T": 1.0, "N": 3}, "give T"),
        ({"T": -1.0}, "after the start"),
        ({"T": 1.0, "params": {"rh": 3.0}}, "did you mean 'rho'"),
        ({"T": 1.0, "ic": {"q": 3.0}}, "known: 'x'"),
        ({"T": 1.0, "ic": {"x": [1, 2]}, "params": {"rho": [1, 2, 3]}}, "do not fit together"),
        ({"T": 1.0, "ic": {"x": [1.0, np.nan]}}, "must be finite; it holds"),
        ({"T": 1.0, "ic": {"x": []}}, "at least one member"),
        ({"T": 1.0, "ic": [1.0]}, "by name"),
        ({"T": 1.0, "histograms": {"x": (1.0, 0.0, 3)}}, "\\(low, high, bins\\)"),
        ({"T": 1.0, "record_interval": 1, "record_vars": ["w"]}, "known: 'x'"),
        ({"T": 1.0, "threads": 0}, "threads"),
        ({"T": 1.0, "progress": "yes"}, "progress"),
        ({"T": 1.0, "transient": 1.0}, "end of the transient at t = 1"),
        ({"T": 1.0, "t0": -3.0, "transient": 5.0}, "end of the transient at t = 2"),
        ({"T": 1.0, "stepper": "rk45", "record_interval": 3}, "under step-size control"),
        ({"T": 1.0, "stepper": "bdf", "statistics": True}, "made in lanes, but the stepper 'bdf'"),
        ({"N": 10**15, "record_interval": 1}, "would take"),
        ({"T": 1.0, "record_interval": 1, "record_dt": 0.1}, "not both"),
        ({"T": 1.0, "record_dt": 0.0}, "record_dt must be a positive time, not 0.0"),
        ({"N": 5, "record_dt": 0.1}, "record_dt needs T"),
        ({"T": 1e9, "record_dt": 1e-9, "stepper": "rk45"}, "would take"),
        ({"T": 1.0, "record_dt": 0.1, "record_vars": ["w"]}, "known: 'x'"),
        ({"T": 1.0, "record_dt": 0.1, "statistics": True}, "compute them from samples"),
    ],
)
def test_what_cannot_be_asked_for(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        ensemble("builtin://ode/lorenz", **{"jit": False, **arguments})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("transient", [0.0, 0.37])
@pytest.mark.parametrize("stepper", ["rk4", "tsit5", "rodas5p", "taylor"])
def test_samples_in_time_are_those_of_single_runs(stepper: str, transient: float, threads: int) -> None:
    full = dynlib.build("builtin://ode/lorenz", stepper=stepper)
    rho, x = np.array([10.0, 28.0]), np.array([[1.0], [2.0], [-3.0]])
    found = ensemble(
        full, params={"rho": rho}, ic={"x": x}, T=2.0, record_dt=0.1, transient=transient, record_vars=["z", "x"],
        threads=threads,
    )  # fmt: skip
    assert not found.lanes
    sim = Sim(full)
    for k, row in enumerate(x[:, 0].tolist()):
        for j, column in enumerate(rho.tolist()):
            sim.run(
                T=2.0, record_dt=0.1, transient=transient, params={"rho": column}, ic={"x": row}, record_vars=["z", "x"]
            )
            raw = sim.raw_results()
            kept = ~raw.at_stop
            np.testing.assert_allclose(found.sample_t, raw.t[kept], rtol=0, atol=1e-12)
            for c, name in enumerate("zx"):
                assert found.samples[name][:, k, j].tobytes() == raw.data[kept, c].tobytes()
            assert found["x"][k, j] == sim.state_vector()[0]


def test_steps_of_members_that_run_one_by_one_are_sampled() -> None:
    full = dynlib.build("builtin://ode/van_der_pol", stepper="ab3", dt=0.01, jit=False)
    found = ensemble(full, ic={"x": [0.5, 1.0]}, N=300, record_interval=50, transient=1.0)
    assert not found.lanes
    sim = Sim(full)
    sim.run(N=300, record_interval=50, transient=1.0, ic={"x": 1.0})
    kept = ~sim.raw_results().at_stop
    assert found.samples["x"][:, 1].tobytes() == sim.raw_results().data[kept, 0].tobytes()
    np.testing.assert_allclose(found.sample_t, sim.results().t[kept], rtol=0, atol=1e-12)


def test_a_member_that_fails_has_samples_up_to_there() -> None:
    model = dynlib.ode_model("burst", states={"x": 1.0}, params={"a": 1.0}, equations={"x": "a*x^2"})
    found = ensemble(model, params={"a": [-1.0, 1.0]}, T=2.0, record_dt=0.25, stepper="tsit5", jit=False)
    assert found.status[0] == Status.DONE
    assert found.status[1] != Status.DONE
    assert np.isfinite(found.samples["x"][:, 0]).all()
    np.testing.assert_allclose(found.samples["x"][:, 0], 1 / (1 + found.sample_t), rtol=1e-4)
    reached = np.isfinite(found.samples["x"][:, 1])
    assert reached[:4].all()
    assert not reached[5:].any()


def test_a_noisy_member_is_sampled_with_numbers_of_its_own() -> None:
    model = dynlib.sde_model("walk", states={"x": 0.0}, equations={"x": "0"}, noise={"x": "1"})
    found = ensemble(model, ic={"x": np.zeros(400)}, T=1.0, record_dt=0.25, dt=0.05, seed=7)
    variance = found.samples["x"].var(axis=1)
    np.testing.assert_allclose(variance, found.sample_t, atol=0.2)
    assert len(set(found.samples["x"][-1].tolist())) == 400
    assert found.samples["x"][-1].tobytes() == found["x"].tobytes()


@pytest.mark.parametrize("stepper", ["rk4", "rk45"])
@pytest.mark.parametrize("term", ["asin(x)", "x % 0.3", "exp(x)"])
def test_the_optimiser_has_nothing_to_complain_of(stepper: str, term: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Vectors are asked for only where they can be made: it says so to the user's terminal where they cannot."""
    model = dynlib.ode_model(
        "m", states={"x": 0.1, "y": 0.0}, params={"k": 1.0},
        equations={"x": f"-k*{term} + 0.01*x**y", "y": "-y/10"},
        events={"low": {"cond": "x < 0.05", "action": "k = 2*k\nx = 0.1"}}, sim={"stop": "k > 1000", "dt": 0.01},
    )  # fmt: skip
    assert ensemble(model, ic={"x": [0.1, 0.2]}, T=1.0, stepper=stepper, statistics=True).lanes
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize("stepper", ["rk4", "rk45"])
def test_the_code_is_made_of_vector_instructions(stepper: str) -> None:
    """Hodgkin–Huxley, with exponentials and branches: the great mass of arithmetic is on whole vectors."""
    model = dynlib.load_model("builtin://ode/hodgkin_huxley")
    assert why_not(model, get_stepper(stepper)) is None
    kernel = lane_kernel(model, get_stepper(stepper), statistics=False, jit=True, math="strict")

    def matrix(dtype: str, ndim: int) -> ArrayType:
        return ArrayType(ELEMENTS[dtype], ndim)

    f, i = "float64", "int64"
    kinds = (
        *[matrix(f, 2)] * 3, matrix(i, 1), matrix(i, 1), matrix(f, 1), matrix(i, 2), matrix(f, 2), matrix(f, 3),
        matrix(i, 1), matrix(i, 3), matrix(f, 2), I64, F64, F64, F64, I64, F64, I64, I64, matrix(f, 1),
        matrix(i, 1), matrix(f, 2), I64,
    )  # fmt: skip
    text = machine.assembly(kernel.module.kernel.ir(kinds))
    whole, single = r"v(?:mul|add|sub|div|fn?m(?:add|sub)\d+)pd", r"v(?:mul|add|sub|div|fn?m(?:add|sub)\d+)sd"
    if platform.machine() in ("aarch64", "arm64"):
        whole, single = r"f(?:mul|add|sub|div|ml[as])\s+v", r"f(?:mul|add|sub|div|madd|msub)\s+d"
    assert len(re.findall(whole, text)) > 500
    assert len(re.findall(whole, text)) > len(re.findall(single, text)) * 0.5


def test_a_sweep_as_table_and_as_data_set() -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("xarray")
    a, b = np.linspace(1.0, 1.4, 3), np.array([0.1, 0.3])
    grid = dict(zip("ab", np.meshgrid(a, b, indexing="ij", sparse=True), strict=True))
    found = ensemble("builtin://map/henon", params=grid, ic={"x": 0.1}, N=9, record_interval=3, statistics=True,
                     histograms={"y": (-1.0, 1.0, 4)}, jit=False)  # fmt: skip
    data = found.to_xarray()
    assert data["x"].dims == ("a", "b")
    assert float(data["x"].sel(a=1.2, b=0.3, method="nearest")) == found["x"][1, 1]
    assert data["samples_y"].dims == ("sample_t", "a", "b")
    assert data["samples_y"].sel(sample_t=9.0).values.tolist() == found["y"].tolist()
    assert data["histograms_y"].sizes["bin_y"] == 4
    assert data["bin_y"].values.tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert float(data["ic_x"]) == 0.1
    table = found.to_pandas()
    assert len(table) == 6
    row = table[(table["a"] == a[2]) & (table["b"] == b[0])]
    assert found.statistics is not None
    assert row["greatest_x"].item() == found.statistics.greatest["x"][2, 0]
    both = ensemble("builtin://map/henon", params={"a": a}, ic={"x": a}, N=3, jit=False).to_xarray()
    assert both["x"].dims == ("axis_0",)
    assert both["a"].dims == both["ic_x"].dims == ("axis_0",)


# -- calls of a kernel are bounded, Ctrl-C, progress -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "run"),
    [
        ("builtin://ode/lorenz", {"stepper": "rk4", "dt": 0.01}, {"T": 1.995, "record_interval": 7, "transient": 0.5}),
        ("builtin://ode/lorenz", {"stepper": "rk45"}, {"T": 2.0, "statistics": True}),
        ("builtin://ode/lorenz", {"stepper": "dop853"}, {"T": 2.0}),
        (SPIKES, {"stepper": "rk4"}, {"T": 133.33, "statistics": True}),
        (SPIKES, {"stepper": "rk45"}, {"T": 133.33}),
        ("builtin://map/henon", {}, {"N": 333, "record_interval": 1, "transient": 100.0}),
        ("builtin://map/henon", {}, {"N": 333, "histograms": {"x": (-2.0, 2.0, 20)}}),
    ],
)
def test_no_bit_depends_on_how_many_steps_a_call_takes(
    model: Any, options: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for first in (1, 3, 10**6):
        monkeypatch.setattr("dynlib.ensembles.ensemble._FIRST_STEPS", first)
        full = dynlib.build(model, **options)
        state = full.model.states[0]
        x = state.values[0] + np.linspace(0.0, 0.3, MEMBERS)
        one = ensemble(full, ic={state.name: x}, **run, threads=2)
        arrays = [*one.final.values(), one.t, one.steps, one.status, *one.counts.values(), *one.samples.values(),
                  *one.histograms.values()]  # fmt: skip
        if one.statistics is not None:
            arrays += one.statistics.variance.values()
        found.append([a.tobytes() for a in arrays])
    assert found[0] == found[1] == found[2]


CHILD = """
import signal, sys, dynlib, numpy as np
signal.signal(signal.SIGINT, signal.default_int_handler)
stepper, threads, members = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
options = dict(dt=0.01) if stepper == "rk4" else {}
full = dynlib.build("builtin://ode/lorenz", stepper=stepper, **options)
x = np.linspace(0.5, 1.5, members)
recorded = dict(record_interval=10**8) if stepper == "rk4" else {}
def say_once(fraction, t, said=[]):
    if not said and fraction > 0:
        said.append(print("running", flush=True))
try:
    dynlib.ensemble(full, ic={"x": x}, T=1e7, threads=threads, progress=say_once, **recorded)
except dynlib.EnsembleInterrupt as stopped:
    print("stopped", flush=True)
    found = stopped.result
assert issubclass(dynlib.EnsembleInterrupt, KeyboardInterrupt)
assert (found.status == dynlib.Status.INTERRUPTED).all() and not found.ok.any()
assert found.steps[0] > 2 and 0 < found.t[0] < 1e7 and np.isfinite(found["x"]).all()
begun = found.steps > 0
assert (found["x"][~begun] == x[~begun]).all() and (found.t[~begun] == 0).all()
if stepper == "rk4":
    assert np.isnan(found.samples["x"][1:]).all()
    again = dynlib.ensemble(full, ic={"x": x[:1]}, N=int(found.steps[0]))
    assert again["x"][0] == found["x"][0] and again.t[0] == found.t[0]
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print("good", flush=True)
"""


@pytest.mark.parametrize(
    ("stepper", "threads", "members"), [("rk4", 1, 200), ("rk4", 2, 200), ("tsit5", 2, 500), ("rodas5p", 2, 5)]
)
def test_ctrl_c_ends_an_ensemble_soon_and_keeps_what_came_of_it(stepper: str, threads: int, members: int) -> None:
    """The bound is generous: threads look up every 25 to 100 ms."""
    arguments = [sys.executable, "-c", CHILD, stepper, str(threads), str(members)]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "running\n"
    time.sleep(0.3)
    pressed = time.perf_counter()
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "stopped\n"
    assert time.perf_counter() - pressed < 2.0
    assert child.stdout.readline() == "good\n"
    assert child.wait() == 0
    child.stdout.close()


@pytest.mark.parametrize("stepper", ["rk4", "rk45", "rodas5p"])
def test_progress_grows_to_the_end(stepper: str, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[float] = []
    options = {"dt": 0.01} if stepper == "rk4" else {}
    ensemble("builtin://ode/lorenz", ic={"x": np.linspace(0.0, 1.0, 9)}, T=1.0, stepper=stepper, jit=False,
             threads=1, progress=lambda fraction, t: told.append(fraction), **options)  # fmt: skip
    assert told == sorted(told)
    assert 0.0 < told[0] < told[-1] == 1.0
    display = ProgressDisplay(after=0.0)
    display(MembersDone(0.5, 4, 9))
    display.close()
    assert "4 of 9 members" in capsys.readouterr().err


def test_what_progress_raises_ends_the_ensemble() -> None:
    def refuse(fraction: float, t: float) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        ensemble("builtin://ode/lorenz", ic={"x": np.zeros(300)}, T=1e7, stepper="rk4", threads=2, progress=refuse)


# -- elementary functions ---------------------------------------------------------------------------------------------

RANGES = {
    "exp": [(-707.0, 709.7), (-1.0, 1.0), (-1e-4, 1e-4)], "expm1": [(-40.0, 709.0), (-1.0, 1.0), (-1e-6, 1e-6)],
    "log": [(1e-300, 1e-290), (0.5, 2.0), (0.0, 1e10)], "log1p": [(-0.99, 10.0), (-1e-3, 1e-3)],
    "sin": [(-10.0, 10.0), (-1e6, 1e6)], "cos": [(-10.0, 10.0), (-1e6, 1e6)], "tan": [(-10.0, 10.0), (-1e6, 1e6)],
    "tanh": [(-30.0, 30.0), (-1e-2, 1e-2)], "sinh": [(-709.0, 709.0), (-1.0, 1.0)], "cosh": [(-709.0, 709.0)],
}  # fmt: skip


def compiled(name: str) -> Any:
    source = (
        f"from dynlib.compile.vectorised import {name}\n\nLANES = 16\n\n\n"
        f"def kernel(x, y):\n    for i in range(len(x)):\n        y[i] = {name}(x[i])\n    return 0\n"
    )
    return generated_module(source, True).kernel


def divided(divisor: float, function: str) -> Any:
    source = (
        f"from dynlib.compile.vectorised import {function}\n\nLANES = 16\n\n\n"
        "def part(x, y):\n    return x / y\n\n\n"
        f"def kernel(x, y):\n    for i in range(len(x)):\n        y[i] = part(x[i], {divisor!r})\n    return 0\n"
    )
    return generated_module(source, True).kernel


@pytest.mark.parametrize("divisor", [10.0, -18.0, 80.0, 0.375, 7e5, 281474976710655.0, -281474976710653.0 / 2**60])
def test_quotients_by_short_constants_are_products_with_the_same_bits(divisor: float) -> None:
    """Also where the quotient is as near as it can be to the middle between two numbers."""
    kernel, rng = divided(divisor, "exp"), np.random.default_rng(3)
    vector = ArrayType(ELEMENTS["float64"], 1)
    assert "fdiv" not in kernel.ir((vector, vector))
    q = rng.uniform(1.0, 2.0, 50_000) * 2.0 ** rng.integers(-900, 900, 50_000)
    middle = (q.astype(np.longdouble) + np.spacing(q).astype(np.longdouble) / 2) * np.longdouble(divisor)
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.7976931348623157e308, -1.7976931348623157e308]
    x = np.concatenate([q, -q, middle.astype(np.float64), np.arange(-500.0, 500.0), edges])
    y = np.empty_like(x)
    kernel(x, y)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(y, x / divisor)
        assert (np.signbit(y) == np.signbit(x / divisor))[~np.isnan(x)].all()


@pytest.mark.parametrize("divisor", [0.1, 3.141592653589793, 0.5, 1e-280, 0.0])
def test_quotients_by_other_constants_stay(divisor: float) -> None:
    vector = ArrayType(ELEMENTS["float64"], 1)
    assert "fdiv" in divided(divisor, "exp").ir((vector, vector))
    assert "fdiv" in divided(10.0, "bits_of").ir((vector, vector))  # no function of our own: the bits of single runs


@pytest.mark.parametrize("name", sorted(vectorised.NAMES))
def test_elementary_functions_keep_their_bounds(name: str) -> None:
    """Against the C library in extended precision; and interpreted they are the same."""
    function, rng = compiled(name), np.random.default_rng(5)
    for low, high in RANGES[name]:
        x = rng.uniform(low, high, 100_000)
        if name in ("sin", "cos", "tan") and high > 100:
            x = np.concatenate([x, np.rint(x) * (np.pi / 2)])
            x = x[abs(x) <= 1e6]
        y = np.empty_like(x)
        function(x, y)
        exact = getattr(np, name)(x.astype(np.longdouble))
        error = abs((y - exact) / np.spacing(abs(exact.astype(np.float64)))).max()
        assert error < vectorised.BOUNDS[name], (name, low, high, error)
        assert [getattr(vectorised, name)(v) for v in x[:60]] == y[:60].tolist()


@pytest.mark.parametrize("name", sorted(vectorised.NAMES))
def test_elementary_functions_at_the_edges(name: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e308, -1e308, 5e-324, -1.0, 1.0, 710.5, -746.0, -800.0])
    x = x if name not in ("sin", "cos", "tan") else x[abs(np.nan_to_num(x, posinf=0.0, neginf=0.0)) < 1e300]
    y = np.empty_like(x)
    compiled(name)(x, y)
    with np.errstate(all="ignore"):
        wanted = getattr(np, name)(x)
    np.testing.assert_allclose(y, wanted, rtol=1e-15, atol=0.0)
    assert (np.signbit(y) == np.signbit(wanted))[~np.isnan(wanted)].all()


def test_angles_that_mean_nothing_stay_within_one() -> None:
    x, y = np.array([1e200, -1e17, 1e16]), np.empty(3)
    for name in ("sin", "cos"):
        compiled(name)(x, y)
        assert (abs(y) <= 1.0).all()
