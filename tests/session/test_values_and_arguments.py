"""What a session does with values, presets, arguments, interruptions and models that change under it."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from session.kit import content, deadline, map_full, neuron, neuron_full, ring, ring_full, unchanged

import dynlib
from dynlib import (
    Buffers,
    ConfigError,
    DynlibError,
    NumericsWarning,
    PinMismatchError,
    ResumeError,
    Sim,
    SnapshotError,
    Status,
    UnknownNameError,
)

# -- values ----------------------------------------------------------------------------------------------------------


def test_assign_by_name_element_array_and_mapping() -> None:
    sim = ring()
    sim.assign(w=0.25)
    sim.assign({"u[2]": 7.0, "g": [3.0, 4.0]}, k=0.5)
    assert sim.state_dict()["u"].tolist() == [0.1, 0.2, 7.0, 0.4]
    assert sim.state_vector().tolist() == [0.1, 0.2, 7.0, 0.4, 0.25]
    assert sim.param_vector().tolist() == [3.0, 4.0, 0.5]
    sim.assign({"u": np.arange(4.0), "g[1]": np.float32(2.5)})
    assert sim.state_vector().tolist() == [0.0, 1.0, 2.0, 3.0, 0.25]
    assert sim.param_dict()["g"].tolist() == [3.0, 2.5]
    sim.assign(u=1.5)
    assert sim.state_dict()["u"].tolist() == [1.5] * 4
    sim.assign({"u": 0.0, "u[1]": 9.0})
    assert sim.state_dict()["u"].tolist() == [0.0, 9.0, 0.0, 0.0]


def test_assign_of_nothing_changes_no_value() -> None:
    sim = ring()
    sim.run(T=1.0)
    y, p, rows = sim.state_vector(), sim.param_vector(), len(sim.results())
    sim.assign()
    assert np.array_equal(sim.state_vector(), y)
    assert np.array_equal(sim.param_vector(), p)
    assert len(sim.results()) == rows


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ww": 1.0}, "unknown state or parameter 'ww'; did you mean 'w'"),
        ({"u[4]": 1.0}, r"unknown state or parameter 'u\[4\]'"),
        ({"s": 1.0}, "unknown state or parameter 's'"),
        ({"w": math.inf}, "state 'w' must be finite, not inf"),
        ({"k": math.nan}, "parameter 'k' must be finite, not nan"),
        ({"w": 1.0, "k": -math.inf}, "finite"),
        ({"u": [1.0, 2.0]}, r"state 'u' takes 4 value\(s\)"),
        ({"u": [[1.0, 2.0], [3.0, 4.0]]}, "state 'u' takes 4"),
        ({"w": [1.0, 2.0]}, "state 'w' takes 1"),
        ({"w": "one"}, "state 'w' must be a number"),
        ({"w": 1j}, "state 'w' must be a number"),
        ({"w": None}, "finite|must be a number"),
        ({"w": 1.0, "nope": 2.0}, "unknown"),
    ],
    ids=str,
)
def test_assign_of_a_bad_value_changes_nothing(values: dict[str, Any], message: str) -> None:
    sim = ring()
    sim.run(T=1.02)
    with unchanged(sim), pytest.raises(ConfigError, match=message):
        sim.assign(values, clear_history=True)


def test_values_handed_out_are_copies() -> None:
    sim = ring()
    sim.run(T=0.5)
    with unchanged(sim):
        sim.state_vector()[:] = 99.0
        sim.param_vector()[:] = 99.0
        sim.state_dict()["u"][:] = 99.0
        sim.param_dict()["g"][:] = 99.0
    given = np.arange(4.0)
    sim.assign(u=given)
    given[:] = 5.0
    assert sim.state_dict()["u"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_config_and_summary() -> None:
    sim = ring("rk45")
    config = sim.config()
    assert {k: config[k] for k in ("model", "stepper", "dt", "dtype", "math", "jit")} == {
        "model": "ring", "stepper": "rk45", "dt": 0.05, "dtype": "float64", "math": "strict", "jit": False,
    }  # fmt: skip
    assert config["options"]["rtol"] == 1e-5
    sim.run(T=1.03, rtol=1e-8, tag="x")
    assert sim.config()["options"]["rtol"] == 1e-8
    summary = sim.session_state_summary()
    assert set(summary) == {
        "t", "step", "status", "can_resume", "reason", "stepper", "dt", "time_shift", "inside_a_step", "observers",
        "samples", "segments", "snapshots",
    }  # fmt: skip
    assert (summary["t"], summary["status"], summary["inside_a_step"]) == (1.03, "DONE", True)
    assert (summary["samples"], summary["segments"], summary["snapshots"]) == (len(sim.results()), ["x"], ["initial"])
    assert "ring" in repr(sim)
    assert "rk45" in repr(sim)


def test_options_and_dt_of_one_run_do_not_move_the_mark() -> None:
    sim = ring("rk45")
    sim.run(T=1.0, rtol=1e-9, dt=0.001)
    sim.run(T=1.0)
    assert sim.config()["options"]["rtol"] == 1e-5
    assert sim.config()["dt"] == 0.05


# -- presets ---------------------------------------------------------------------------------------------------------


def test_presets_list_apply_add() -> None:
    sim = neuron()
    assert sim.list_presets() == ["bursting", "slow"]
    assert sim.list_presets("b*") == ["bursting"]
    assert sim.list_presets("nothing") == []
    sim.apply_preset("slow")
    assert (sim.param_dict()["a"], sim.state_dict()["v"]) == (0.01, -70.0)
    sim.add_preset("mine", params={"I": 4}, states={"u": np.float64(-1.0)})
    sim.apply_preset("mine")
    assert (sim.param_dict()["I"], sim.state_dict()["u"]) == (4.0, -1.0)
    sim.add_preset("now")
    sim.assign(a=0.5, I=77.0)
    sim.apply_preset("now")
    assert (sim.param_dict()["a"], sim.param_dict()["I"]) == (0.01, 4.0)


def test_presets_of_arrays() -> None:
    sim = ring()
    sim.add_preset("p", params={"g": [5.0, 6.0]}, states={"u": np.ones(4)})
    sim.apply_preset("p")
    assert sim.param_dict()["g"].tolist() == [5.0, 6.0]
    assert sim.state_dict()["u"].tolist() == [1.0] * 4
    sim.add_preset("now")
    sim.assign(g=[0.0, 0.0])
    sim.apply_preset("now")
    assert sim.param_dict()["g"].tolist() == [5.0, 6.0]


def test_presets_refuse_what_they_cannot_hold() -> None:
    sim = neuron()
    with pytest.raises(UnknownNameError, match="did you mean 'bursting'"):
        sim.apply_preset("burstin")
    with pytest.raises(ConfigError, match="exists already; pass overwrite=True"):
        sim.add_preset("slow", params={"a": 1.0})
    for values in ({"nope": 1.0}, {"a": math.nan}, {"a": [1.0, 2.0]}, {"v": 1.0}):
        with pytest.raises(DynlibError):
            sim.add_preset("bad", params=values)
    with pytest.raises(DynlibError):
        sim.add_preset('quote"d', params={"a": 1.0})
    assert sim.list_presets() == ["bursting", "slow"]
    sim.add_preset("slow", params={"a": 0.3}, overwrite=True)
    sim.apply_preset("slow")
    assert (sim.param_dict()["a"], sim.state_dict()["v"]) == (0.3, -65.0)


def test_presets_are_saved_beside_others_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    sim = ring()
    sim.add_preset("one", params={"g": [0.1, 1e-17], "k": 1 / 3}, states={"u": [1, 2, 3, 4]})
    sim.add_preset("two", params={"k": 2.0})
    sim.save_preset("one", path)
    sim.save_preset("two", path)
    with pytest.raises(ConfigError, match="already has a preset 'one'"):
        sim.save_preset("one", path)
    sim.save_preset("one", path, overwrite=True)
    with pytest.raises(UnknownNameError, match="did you mean 'two'"):
        sim.save_preset("twoo", path)

    other = ring()
    assert sorted(other.load_preset("*", path)) == ["one", "two"]
    assert sorted(other.list_presets()) == ["one", "two"]
    other.apply_preset("one")
    assert other.param_dict()["g"].tolist() == [0.1, 1e-17]
    assert other.param_dict()["k"] == 1 / 3
    assert other.state_dict()["u"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_presets_on_conflict(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    source = ring()
    for name, k in (("one", 1.0), ("two", 2.0)):
        source.add_preset(name, params={"k": k})
        source.save_preset(name, path)

    def with_own() -> Sim:
        sim = ring()
        sim.add_preset("one", params={"k": 9.0})
        return sim

    def value(sim: Sim) -> float:
        sim.apply_preset("one")
        return float(sim.param_dict()["k"])

    sim = with_own()
    with pytest.raises(ConfigError, match="preset 'one' exists already"):
        sim.load_preset("*", path)
    assert sim.list_presets() == ["one"], "nothing is loaded where one is refused"
    assert (sim.load_preset("*", path, "keep"), value(sim)) == (["two"], 9.0)
    sim = with_own()
    assert (sim.load_preset("one", path, "replace"), value(sim)) == (["one"], 1.0)
    assert sim.list_presets() == ["one"]
    with pytest.raises(ConfigError, match="on_conflict"):
        sim.load_preset("*", path, "merge")
    with pytest.raises(UnknownNameError):
        sim.load_preset("thre*", path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[one.params]\nk = 1.0\n",
        '[__presets__]\nschema = "other"\n',
        "not toml at all [",
        '[__presets__]\nschema = "dynlib-presets-v1"\n[one.params]\nnope = 1.0\n',
        '[__presets__]\nschema = "dynlib-presets-v1"\n[one.params]\nk = nan\n',
        '[__presets__]\nschema = "dynlib-presets-v1"\n[one.params]\nk = "1"\n',
        '[__presets__]\nschema = "dynlib-presets-v1"\none = 3\n',
        '[__presets__]\nschema = "dynlib-presets-v1"\n[good.params]\nk = 1.0\n[one]\nparams = 3\n',
    ],
)
def test_a_bad_file_of_presets_loads_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    sim = ring()
    with pytest.raises(DynlibError):
        sim.load_preset("*", path)
    assert sim.list_presets() == []
    with pytest.raises(DynlibError, match="no such preset file"):
        sim.load_preset("*", tmp_path / "none.toml")


# -- runs by number of steps, defaults, progress ----------------------------------------------------------------------


@pytest.mark.parametrize("stepper", ["rk4", "ab3", "rk45"])
def test_runs_of_n_steps(stepper: str) -> None:
    sim, single = ring(stepper), ring(stepper)
    outcome = sim.run(N=7)
    assert (outcome.steps, outcome.step, outcome.status, outcome.ok) == (7, 7, Status.DONE, True)
    assert sim.results().step.tolist() == list(range(8))
    sim.run(N=5, resume=True)
    single.run(N=12)
    assert sim.state.same_bits(single.state)
    assert content(sim.raw_results())[2:] == content(single.raw_results())[2:]


def test_runs_of_n_steps_after_a_transient() -> None:
    """The transient takes none of the steps that were asked for."""
    sim, whole = Sim(map_full()), Sim(map_full())
    outcome = sim.run(N=10, transient=5.0)
    whole.run(N=15)
    assert (outcome.steps, sim.step) == (10, 15)
    assert sim.results().t.tolist() == [5.0 + k for k in range(11)]
    assert sim.results()["x"].tolist() == whole.results()["x"][5:].tolist()


def test_the_length_a_map_gives_itself_is_counted_after_the_transient() -> None:
    model = dynlib.map_model("m", states={"x": 0.3}, equations={"x": "3.7*x*(1 - x)"}, sim={"max_steps": 8})
    sim = dynlib.setup(model, stepper="map", jit=False)
    assert sim.run().steps == 8
    assert (sim.run(transient=5.0).steps, sim.step) == (8, 13)


def test_the_transient_is_not_recorded_and_changes_nothing_else() -> None:
    sim, whole = ring(), ring()
    sim.run(T=3.0, transient=1.0)
    whole.run(T=3.0)
    assert sim.state["y"].tobytes() == whole.state["y"].tobytes()
    assert sim.results().t[0] == pytest.approx(1.0)
    assert sim.results()["w"].tobytes() == whole.results()["w"][20:].tobytes()
    (segment,) = sim.results().segments
    assert (segment.step_start, segment.step_end) == (20, 60)


def test_the_end_of_the_model_is_the_default() -> None:
    model = dynlib.ode_model("m", states={"x": 1.0}, equations={"x": "-x"}, sim={"t_end": 2.5, "t0": 0.5, "dt": 0.1})
    sim = dynlib.setup(model, stepper="rk4", jit=False)
    assert sim.t == 0.5
    assert sim.run().t == 2.5
    with pytest.raises(ConfigError, match="no t_end"):
        neuron().run()


def test_progress_is_called_with_fraction_and_time() -> None:
    sim = ring()
    sim._buffers = dynlib.Buffers(steps=10)
    calls: list[tuple[float, float]] = []
    plain = ring()
    plain.run(T=20.0)
    sim.run(T=20.0, progress=lambda fraction, t: calls.append((fraction, t)))
    assert len(calls) >= 3
    assert all(a < b for (_, a), (_, b) in pairwise(calls))
    assert all(fraction == pytest.approx(t / 20.0) for fraction, t in calls)
    assert sim.state.same_bits(plain.state)
    calls.clear()
    short = Sim(ring_full(), buffers=dynlib.Buffers(steps=10))
    short.run(N=100, progress=lambda f, t: calls.append((f, t)))
    assert calls
    assert [fraction for fraction, _ in calls] == [t / short.t for _, t in calls]


def test_an_exception_in_the_progress_callback_leaves_the_session() -> None:
    sim = Sim(ring_full(), buffers=dynlib.Buffers(steps=10))
    sim.run(T=1.0)

    def fail(fraction: float, t: float) -> None:
        raise RuntimeError("window closed")

    with unchanged(sim), pytest.raises(RuntimeError, match="window closed"):
        sim.run(T=50.0, resume=True, progress=fail)
    sim.run(T=2.0, resume=True)
    assert sim.t == 2.0


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stepper", ["rk4", "rk45"])
def test_ctrl_c_keeps_everything_and_can_be_resumed(stepper: str) -> None:
    sim, single = neuron(stepper, jit=True), neuron(stepper, jit=True)
    for warm in (sim, single):
        warm.run(T=1.0)
    far, interval = 1e7, 200
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt, match="can be resumed"):
        sim.run(T=far, record_interval=interval, tag="cut")
    timer.join()
    assert time.perf_counter() - began < 5.0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sim.state.status is Status.INTERRUPTED
    assert 0 < sim.t < far
    (segment,) = sim.results().segments
    assert (segment.name, segment.status, segment.t_end) == ("cut", "INTERRUPTED", sim.t)
    assert len(sim.results()) > 10
    assert sim.results().t[-1] == sim.t
    assert sim.can_resume() == (True, None)
    end = sim.t + 100.0
    sim.run(T=end, resume=True)
    single.run(T=end, record_interval=interval)
    assert sim.state.same_bits(single.state)
    res, own = sim.raw_results(), single.raw_results()
    kept = ~res.at_stop | np.isin(res.t, own.t)
    assert res.data[kept].tobytes() == own.data.tobytes()
    assert (~kept).sum() <= 1


@pytest.mark.parametrize("stepper", ["rk4", "rk45"])
def test_ctrl_c_inside_a_step_with_many_samples_waits_for_its_end(stepper: str) -> None:
    """A buffer that is full in the middle of a step is no place to stop at: time and recording never go back."""
    model = dynlib.ode_model("line", states={"x": 0.0}, equations={"x": "1"})
    full = dynlib.build(model, stepper=stepper, dt=10.0, jit=False)
    small = Buffers(rows=4, logs=1, steps=2, foresee=False)
    sim, single = Sim(full, buffers=small), Sim(full)

    def press(fraction: float, t: float) -> None:
        if sim.state.status is Status.RUNNING and not pressed:
            pressed.append(t)
            os.kill(os.getpid(), signal.SIGINT)

    pressed: list[float] = []
    with pytest.raises(KeyboardInterrupt):
        sim.run(T=95.0, record_dt=0.5, progress=press)
    assert pressed
    assert 0.0 < sim.t < 95.0
    sim.run(T=95.0, resume=True)
    single.run(T=95.0, record_dt=0.5)
    kept = ~sim.raw_results().at_stop
    assert sim.results().t[kept].tobytes() == single.results().t.tobytes()
    assert sim.state.same_bits(single.state)
    assert sim.replay().ok


def test_ctrl_c_in_a_run_too_short_to_pause_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    sim, single = ring("rk4"), ring("rk4")
    kernel = sim.full_model.kernel.module.kernel

    def press(*arguments: Any) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return int(kernel(*arguments))

    monkeypatch.setattr(sim.full_model.kernel.module, "kernel", press)
    with pytest.raises(KeyboardInterrupt, match="stopped at t = 1;"):
        sim.run(T=1.0)
    monkeypatch.undo()
    single.run(T=1.0)
    assert sim.state.same_bits(single.state), "the run was at its end"
    assert sim.replay().ok


def test_ctrl_c_is_left_alone_outside_the_main_thread() -> None:
    sim = ring()
    outcomes: list[Any] = []
    worker = threading.Thread(target=lambda: outcomes.append(sim.run(T=1.0)))
    worker.start()
    worker.join()
    assert outcomes[0].ok


# -- arguments -------------------------------------------------------------------------------------------------------

BAD: list[dict[str, Any]] = [
    dict(T=math.nan), dict(T=math.inf), dict(T="5"), dict(T=True), dict(T=0.0), dict(T=-1.0), dict(T=5.0, N=3),
    dict(N=0), dict(N=-2), dict(N=2.5), dict(N=True), dict(N="5"), dict(N=math.nan), dict(N=math.inf), dict(N=[1]),
    dict(N=10**30),
    dict(T=5.0, max_steps=0), dict(T=5.0, max_steps=1.5), dict(T=5.0, max_steps=math.nan),
    dict(T=5.0, max_steps=math.inf), dict(T=5.0, max_steps="9"),
    dict(T=5.0, t0=math.nan), dict(T=5.0, t0="x"), dict(T=5.0, t0=5.0), dict(T=5.0, t0=9.0),
    dict(T=5.0, dt=0.0), dict(T=5.0, dt=-0.1), dict(T=5.0, dt=math.nan), dict(T=5.0, dt=math.inf), dict(T=5.0, dt="x"),
    dict(T=5.0, dt=True),
    dict(T=5.0, transient=-1.0), dict(T=5.0, transient=math.nan), dict(T=5.0, transient=math.inf),
    dict(T=5.0, transient=5.0), dict(T=5.0, transient="x"),
    dict(T=5.0, record_interval=0), dict(T=5.0, record_interval=-1), dict(T=5.0, record_interval=1.5),
    dict(T=5.0, record_interval=True), dict(T=5.0, record_interval=math.nan), dict(T=5.0, record_interval="x"),
    dict(T=5.0, record_interval=10**30),
    dict(T=5.0, record_dt=0.0), dict(T=5.0, record_dt=-1.0), dict(T=5.0, record_dt=math.nan),
    dict(T=5.0, record_dt="x"),
    dict(T=5.0, record_interval=2, record_dt=0.1),
    dict(T=5.0, transient=1.0, record_interval=0),
    dict(T=5.0, record_vars=["nope"]), dict(T=5.0, record_vars=[]), dict(T=5.0, record_vars="w"),
    dict(T=5.0, record="no"), dict(T=5.0, record=1), dict(T=5.0, progress=3), dict(T=5.0, progress="yes"),
    dict(T=5.0, record_vars=[1]), dict(T=5.0, record_vars=3),
    dict(T=5.0, ic={"nope": 1.0}), dict(T=5.0, ic=[1.0]), dict(T=5.0, ic={"w": math.nan}), dict(T=5.0, ic="abc"),
    dict(T=5.0, ic={"k": 1.0}), dict(T=5.0, params={"w": 1.0}), dict(T=5.0, params={"k": math.inf}),
    dict(T=5.0, params=[1.0, 2.0, 3.0, 4.0]),
    dict(T=5.0, tag=""), dict(T=5.0, tag=5), dict(T=5.0, rtol=1e-3), dict(T=5.0, stepper="rk45"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", BAD, ids=str)
def test_bad_arguments_leave_a_session_with_results(arguments: dict[str, Any]) -> None:
    sim = ring()
    sim.run(T=1.03, tag="a")
    sim.create_snapshot("b")
    with deadline(2.0), unchanged(sim), pytest.raises(ConfigError):
        sim.run(**arguments)


@pytest.mark.parametrize("arguments", BAD, ids=str)
def test_bad_arguments_leave_a_new_session(arguments: dict[str, Any]) -> None:
    """A run that is refused is no run: it makes no snapshot either."""
    sim = ring()
    with deadline(2.0), unchanged(sim), pytest.raises(ConfigError):
        sim.run(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(T=0.5), dict(T=1.03), dict(T=2.0, ic={"w": 1.0}), dict(T=2.0, params={"k": 1.0}), dict(T=2.0, t0=0.0),
        dict(T=2.0, dt=0.1), dict(T=2.0, transient=0.5), dict(T=2.0, record_vars=["w"]), dict(T=2.0, rtol=1e-6),
        dict(T=2.0, tag="a"), dict(T=math.nan), dict(N=0), dict(T=2.0, record_interval=0), dict(T=2.0, N=2),
    ],
    ids=str,
)  # fmt: skip
def test_bad_arguments_to_a_resumed_run(arguments: dict[str, Any]) -> None:
    sim = ring("rk45")
    sim.run(T=1.03, tag="a")
    with unchanged(sim), pytest.raises((ConfigError, ResumeError)):
        sim.run(resume=True, **arguments)


def test_a_recording_grid_finer_than_time_itself_is_refused() -> None:
    """At t = 1 no point of a grid of 1e-300 lies after any other; the run must not look for it forever."""
    sim = ring()
    with deadline(2.0), unchanged(sim), pytest.raises(ConfigError):
        sim.run(t0=1.0, T=2.0, record_dt=1e-300)


def test_messages_say_what_to_do() -> None:
    sim = ring()
    sim.run(T=2.0)
    sim.create_snapshot("here")
    sim.reset("here")
    with pytest.raises(ConfigError, match=r"T = 1 is not ahead of the start of this run at t = 2.*absolute.*reset\(\)"):
        sim.run(T=1.0)
    with pytest.raises(ResumeError, match=r"T = 1 is not ahead of the current time 2"):
        sim.run(T=1.0, resume=True)
    with pytest.raises(UnknownNameError, match="did you mean 'here'"):
        sim.reset("hear")
    with pytest.raises(SnapshotError, match="no snapshot 'initial' yet: the first run"):
        ring().reset()


# -- how runs end ----------------------------------------------------------------------------------------------------


def test_a_stop_condition_ends_a_run_that_can_be_resumed() -> None:
    model = dynlib.ode_model(
        "fall", states={"x": 1.0}, params={"floor": 0.5}, equations={"x": "-x"}, sim={"stop": "x < floor"}
    )
    sim = dynlib.setup(model, stepper="rk4", dt=0.1, jit=False)
    outcome = sim.run(T=5.0)
    assert (outcome.status, outcome.ok, sim.step) == (Status.STOPPED, True, 7)
    assert sim.results().segments[0].status == "STOPPED"
    assert sim.can_resume() == (True, None)
    sim.assign(floor=0.2)
    assert sim.run(T=5.0, resume=True).status is Status.STOPPED
    assert 0.17 < sim.state_dict()["x"] < 0.2
    sim.assign(floor=-1.0)
    assert sim.run(T=5.0, resume=True).status is Status.DONE
    assert sim.t == 5.0
    steps = sim.results().step
    assert np.array_equal(steps, np.arange(steps[-1] + 1))


def test_a_limit_on_steps_says_so_and_can_be_resumed() -> None:
    sim, single = ring(), ring()
    with pytest.warns(NumericsWarning, match="MAX_STEPS at t = 1"):
        outcome = sim.run(T=5.0, max_steps=20)
    assert (outcome.status, outcome.ok, sim.step) == (Status.MAX_STEPS, False, 20)
    sim.run(T=5.0, resume=True)
    single.run(T=5.0)
    assert sim.state.same_bits(single.state)
    assert sim.raw_results().data.tobytes() == single.raw_results().data.tobytes()


def test_a_run_that_blows_up_keeps_the_samples_before() -> None:
    model = dynlib.ode_model("blowup", states={"x": 1.0}, equations={"x": "x*x"})
    sim = dynlib.setup(model, stepper="rk4", dt=0.01, jit=False)
    with pytest.warns(NumericsWarning, match="NOT_FINITE"):
        outcome = sim.run(T=5.0)
    assert outcome.status is Status.NOT_FINITE
    res = sim.results()
    assert len(res) == sim.step + 1 > 90
    assert np.all(np.isfinite(res["x"]))
    assert sim.state_dict()["x"] == res["x"][-1]
    sim.reset()
    sim.run(T=0.5)
    assert sim.results().t[-1] == 0.5


def test_step_labels_go_on_through_unrecorded_segments() -> None:
    sim = ring()
    sim.run(T=1.0, record_interval=3)
    sim.run(T=2.0, resume=True, record=False)
    sim.run(T=3.0, resume=True)
    res = sim.results()
    on_grid = res.step[~res.raw.at_stop]
    assert on_grid.tolist() == [*range(0, 20, 3), *range(42, 61, 3)]
    assert np.all(np.diff(res.step) > 0)


# -- another model under the session ----------------------------------------------------------------------------------


def swapped() -> Sim:
    sim = neuron()
    sim.run(T=60.0, tag="before")
    sim.create_snapshot("mine")
    sim.full_model = ring_full()
    return sim


def test_another_model_cannot_resume_and_says_why() -> None:
    sim = neuron()
    sim.run(T=2.0)
    sim.full_model = neuron_full("rk45")
    ok, reason = sim.can_resume()
    assert not ok
    assert "stepper: this session has 'rk45', the state has 'rk4'" in str(reason)
    summary = sim.session_state_summary()
    assert (summary["can_resume"], summary["reason"]) == (False, reason)
    with unchanged(sim):
        with pytest.raises(ResumeError, match="stepper"):
            sim.run(T=3.0, resume=True)
        with pytest.raises(ResumeError, match="stepper"):
            sim.assign(I=3.0)
        with pytest.raises(PinMismatchError, match="stepper: this session has 'rk45', the state has 'rk4'"):
            sim.reset()


def test_another_model_runs_afresh_and_the_first_can_come_back() -> None:
    sim = neuron()
    sim.run(T=2.0)
    state = sim.create_snapshot("mine").state
    first = sim.full_model
    sim.full_model = ring_full()
    sim.run(T=1.0)
    assert sim.results().names == ("u", "w", "s")
    assert sim.can_resume() == (True, None)
    with pytest.raises(PinMismatchError):
        sim.reset("mine")
    sim.full_model = first
    sim.reset("mine")
    assert sim.state is state
    sim.run(T=3.0)
    assert sim.results().t[0] == 2.0


def test_a_rebuilt_equal_model_can_resume() -> None:
    sim = neuron()
    sim.run(T=2.0)
    sim.full_model = dynlib.build(neuron_full().model, stepper="rk4", jit=False)
    assert sim.can_resume() == (True, None)
    sim.run(T=3.0, resume=True)
    sim.reset()
    assert sim.t == 0.0


def test_results_of_the_model_before_keep_their_names() -> None:
    res = swapped().results()
    assert res.names == ("v", "u")
    assert res.events == ("spike",)
    assert len(res.event("spike")) > 0
    assert res.raw.model_name == "neuron"


def test_values_of_the_state_before_keep_their_names() -> None:
    sim = swapped()
    assert set(sim.state_dict()) == {"v", "u"}
    assert set(sim.param_dict()) == {"a", "b", "c", "d", "I", "v_th"}


# -- snapshots in memory ----------------------------------------------------------------------------------------------


def test_a_snapshot_is_a_reference_to_an_immutable_state() -> None:
    sim = ring("rk45")
    sim.run(T=1.03)
    kept = sim.create_snapshot("a")
    assert kept.state is sim.state
    for block in (kept.state.times, kept.state.reals, kept.state.counts):
        assert not block.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            block[0] = 0
    with pytest.raises(AttributeError):
        kept.name = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        kept.state.times = kept.state.times  # type: ignore[misc]


def test_the_arrays_a_state_hands_out_cannot_change_it() -> None:
    sim = ring()
    with pytest.raises(ValueError, match="read-only"):
        sim.state["y"][0] = 5.0
    blocks = sim.state.blocks()
    with unchanged(sim):
        blocks["reals"][:] = 9.0


def test_restoring_a_snapshot_again_and_again_gives_the_same() -> None:
    sim = ring("rk45")
    sim.run(T=1.03)
    before = [b.tobytes() for b in sim.create_snapshot("a").state.blocks().values()]
    ends = []
    for _ in range(3):
        sim.reset("a")
        sim.assign(k=0.3)
        sim.run(T=2.0, resume=True)
        ends.append(sim.state)
        sim.reset("a")
        assert [b.tobytes() for b in sim.state.blocks().values()] == before
    assert ends[0].same_bits(ends[1])
    assert ends[1].same_bits(ends[2])


def test_sessions_that_share_a_model_do_not_share_anything_else() -> None:
    one, two = ring(), ring()
    one.run(T=1.0)
    one.assign(w=3.0)
    one.add_preset("p", params={"k": 1.0})
    assert (two.t, two.list_snapshots(), two.list_presets()) == (0.0, [], [])
    assert two.state_dict()["w"] == 0.5


def test_taking_a_snapshot_does_not_change_the_run() -> None:
    sim, plain = ring("rk45"), ring("rk45")
    sim.run(T=1.03)
    plain.run(T=1.03)
    sim.create_snapshot("a")
    sim.list_snapshots()
    sim.session_state_summary()
    sim.results()
    sim.run(T=4.0, resume=True)
    plain.run(T=4.0, resume=True)
    assert sim.state.same_bits(plain.state)
    assert content(sim.raw_results()) == content(plain.raw_results())


def test_names_of_snapshots() -> None:
    sim = ring()
    with pytest.raises(SnapshotError, match="non-empty text"):
        sim.create_snapshot("")
    for bad in (None, 3):
        with pytest.raises(ConfigError, match="must be a text"):
            sim.create_snapshot(bad)  # type: ignore[arg-type]
    sim.create_snapshot("initial", "mine")
    sim.run(T=1.0)
    assert [(s["name"], s["description"]) for s in sim.list_snapshots()] == [("initial", "mine")]


def test_no_warning_where_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sim = neuron("rk45")
        sim.run(T=30.0)
        sim.run(T=60.0, resume=True)
