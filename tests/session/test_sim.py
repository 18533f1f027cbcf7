"""The rest of the session: values by name, presets, Ctrl-C, ends of runs."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from session.izhikevich import full, neuron

import dynlib
from dynlib import ConfigError, ModelError, Sim, Status, UnknownNameError, build, ode_model


def test_vectors_and_dicts_are_copies() -> None:
    sim = neuron()
    sim.state_vector()[0] = 99.0
    sim.param_vector()[0] = 99.0
    assert sim.state_dict() == {"v": -65.0, "u": -13.0}
    assert sim.param_dict()["a"] == 0.02
    assert sim.config()["stepper"] == "rk4"
    assert "izhikevich" in repr(sim).lower()


def test_assign_names_what_is_wrong() -> None:
    sim = neuron()
    with pytest.raises(UnknownNameError, match="did you mean 'v_th'"):
        sim.assign(vth=3.0)
    with pytest.raises(ConfigError, match="finite"):
        sim.assign(I=float("nan"))
    with pytest.raises(ConfigError, match="'I' must be a number"):
        sim.assign({"I": "much"})  # type: ignore[dict-item]
    assert sim.param_dict()["I"] == 10.0


def test_arrays_are_assigned_whole_or_by_element() -> None:
    model = ode_model("a", states={"u[4]": 1.0}, params={"w": [1.0, 2.0]}, equations={"u[i]": "-u[i]*w[1]"})
    sim = Sim(build(model, stepper="rk4", jit=False))
    sim.assign({"u[2]": 5.0, "w": [3.0, 4.0]})
    assert sim.state_dict()["u"].tolist() == [1.0, 1.0, 5.0, 1.0]
    assert sim.param_dict()["w"].tolist() == [3.0, 4.0]
    sim.run(T=0.1, record_vars=["u[2]"])
    assert sim.results().columns == ("u[2]",)


def test_presets(tmp_path: Path) -> None:
    sim = neuron()
    assert "fast_spiking" in sim.list_presets("fast*")
    sim.apply_preset("fast_spiking")
    assert sim.param_dict()["a"] == 0.1
    sim.add_preset("mine", params={"I": 7.0})
    sim.save_preset("mine", tmp_path / "p.toml")
    other = neuron()
    assert other.load_preset("*", tmp_path / "p.toml") == ["mine"]
    with pytest.raises(ConfigError, match="on_conflict"):
        other.load_preset("mine", tmp_path / "p.toml")
    assert other.load_preset("mine", tmp_path / "p.toml", on_conflict="keep") == []
    other.apply_preset("mine")
    assert other.param_dict()["I"] == 7.0
    with pytest.raises(UnknownNameError, match="did you mean 'mine'"):
        other.apply_preset("mien")
    (tmp_path / "bad.toml").write_text("[x]\n")
    with pytest.raises(ModelError, match="__presets__"):
        other.load_preset("*", tmp_path / "bad.toml")


def test_ctrl_c_leaves_a_session_that_resumes_exactly() -> None:
    """The interruption falls between two steps; what was recorded stays."""
    sim, single = neuron(), neuron()
    sim.run(T=1.0)
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt, match="can be resumed"):
        sim.run(T=1e9, record_interval=1000)
    assert sim.state.status is Status.INTERRUPTED
    assert 0.0 < sim.t < 1e9
    assert len(sim.results()) > 1
    end = sim.t + 10.0
    sim.run(T=end, resume=True)
    single.run(T=end, record_interval=1000)
    assert sim.state.same_bits(single.state)


def test_a_stop_condition_stops_and_resumes() -> None:
    model = ode_model("s", states={"x": 0.0}, equations={"x": "1"}, sim={"stop": "cross_up(x, 0.5)", "t_end": 2.0})
    sim = Sim(build(model, stepper="euler", dt=0.125, jit=False))
    assert sim.run().status is Status.STOPPED
    assert sim.t == 0.5
    assert sim.run(resume=True).status is Status.DONE
    assert sim.t == 2.0


def test_transient_is_simulated_and_not_recorded() -> None:
    sim, plain = neuron(), neuron()
    sim.run(T=5.0, transient=2.0)
    plain.run(T=5.0)
    assert sim.results().t[0] == 2.0
    assert sim.state_vector().tobytes() == plain.state_vector().tobytes()


def test_steps_are_counted_from_the_end_of_the_transient() -> None:
    sim = neuron()
    outcome = sim.run(N=30, transient=2.0)
    assert (sim.step, outcome.steps) == (50, 30)
    assert len(sim.results()) == 31


def test_progress_is_reported() -> None:
    seen: list[float] = []
    Sim(full(), buffers=dynlib.Buffers(steps=16)).run(T=20.0, progress=lambda fraction, t: seen.append(fraction))
    assert len(seen) > 1
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"T": 1.0, "N": 3}, {"N": 0}, {"N": 10**30}, {"N": 2.5}, {"T": float("nan")}, {"T": 1.0, "record_interval": 0},
     {"T": 1.0, "record_dt": -1.0}, {"T": 1.0, "record_dt": 0.1, "record_interval": 2}, {"T": 1.0, "tag": ""},
     {"T": 1.0, "transient": -1.0}, {"T": 1.0, "max_steps": 0}, {"T": 1.0, "record_vars": []}],
    ids=str,
)  # fmt: skip
def test_impossible_arguments_are_errors(arguments: dict[str, float]) -> None:
    sim = Sim(build(ode_model("m", states={"x": 1.0}, equations={"x": "-x"}), stepper="rk4", jit=False))
    with pytest.raises(ConfigError):
        sim.run(**arguments)  # type: ignore[arg-type]
    assert sim.t == 0.0
    assert np.array_equal(sim.state_vector(), [1.0])


def test_results_know_every_time_of_the_run(tmp_path: Path) -> None:
    """`res.at(t)` is the stepper's own continuous extension, whatever was recorded."""
    sim, fine = (dynlib.setup("builtin://ode/lorenz", stepper="dop853", jit=False) for _ in range(2))
    sim.run(T=2.0, record_interval=1000)
    fine.run(T=2.0, record_dt=0.25)
    res, times = sim.results(), fine.results().t[1:-1]
    found = res.at(times)
    for name in ("x", "y", "z"):
        assert found[name].tobytes() == fine.results()[name][1:-1].tobytes()
    assert res.at(0.25)["x"] == found["x"][0]
    assert res.at([]) == {}
    with pytest.raises(ConfigError):
        res.at(3.0)
    sim.export_snapshot(tmp_path / "s.npz", results=True)
    with pytest.raises(dynlib.DynlibError, match="come without their session"):
        dynlib.read_results(tmp_path / "s.npz").at(1.0)
