"""Users can check the promise themselves: verify_restart, replay, and any past time computed again."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from conformance.cases import CASES, full, horizon
from session.kit import neuron, ring, unchanged

import dynlib
from dynlib import Buffers, ConfigError, NumericsWarning, Sim, SnapshotError
from dynlib.cli.main import main
from dynlib.session import sim as sim_module
from dynlib.session.proof import first_difference
from dynlib.session.snapshot_file import state_from

# -- verify_restart ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stepper", "kind"), CASES)
def test_every_stepper_and_kind_is_verified(stepper: str, kind: str) -> None:
    sim = Sim(full(stepper, kind))
    end = horizon(stepper)
    sim.run(T=0.3 * end)
    with unchanged(sim):
        proof = sim.verify_restart(end, 4, process=False)
    assert proof.ok, str(proof)
    assert len(proof.checks) == 5
    assert proof.steps > 5


def test_a_new_process_is_part_of_the_proof() -> None:
    sim = ring("rk45")
    sim.run(T=1.03)
    proof = sim.verify_restart(3.0, [1.5, 2.5])
    assert proof.ok, str(proof)
    assert [c.name for c in proof.checks][-1] == "new process"
    assert "every bit agrees" in str(proof)


def test_a_state_that_loses_one_bit_in_a_file_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*arguments: object) -> object:
        state = state_from(*arguments)  # type: ignore[arg-type]
        return state.edited({"h": float(np.nextafter(state["h"][0], 9.0))})

    sim = ring("rk45")
    monkeypatch.setattr(sim_module, "state_from", careless)
    proof = sim.verify_restart(5.0, 3, process=False)
    assert not proof.ok
    assert [c.name for c in proof.checks if not c.ok] == ["cut, continued from files"]
    assert "ulp" in str(proof)
    assert "NOT the same run" in str(proof)


def test_the_first_difference_is_named() -> None:
    sims = [neuron(), neuron()]
    for sim in sims:
        sim.run(T=5.0)
    sims[1].assign(u=float(np.nextafter(sims[1].state_dict()["u"], 9.0)))
    for sim in sims:
        sim.run(T=10.0, resume=True)
    one, two = (sim.raw_results() for sim in sims)
    assert first_difference(one, one) == ""
    found = first_difference(one, two)
    assert found.startswith("first at step 51 (t = 5.1)")
    assert "ulp" in found


@pytest.mark.parametrize("cuts", [0, -1, True, 10**6, [0.0], [-1.0]])
def test_impossible_cuts(cuts: object) -> None:
    with pytest.raises(ConfigError, match="cut"):
        ring().verify_restart(3.0, cuts)  # type: ignore[arg-type]


def test_a_run_that_fails_is_verified_up_to_its_end() -> None:
    model = dynlib.ode_model("blowup", states={"x": 1.0}, equations={"x": "x*x"})
    sim = dynlib.setup(model, stepper="rk4", dt=0.01, jit=False)
    proof = sim.verify_restart(5.0, 3, process=False)
    assert proof.ok, str(proof)
    assert proof.t_to < 1.5


# -- replay --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stepper", "kind"), CASES)
def test_the_lineage_of_every_stepper_and_kind_is_replayed(stepper: str, kind: str) -> None:
    """Runs, edits, transients, step limits and overrides: the root and the deeds give every bit again."""
    sim, end = Sim(full(stepper, kind)), horizon(stepper)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericsWarning)
        sim.assign(a=1.1)
        sim.run(T=0.31 * end, transient=0.1 * end, record_interval=3)
        sim.create_snapshot("one")
        sim.run(T=end, resume=True, max_steps=3)
        sim.create_snapshot("limited")
        sim.run(T=0.67 * end, resume=True)
        sim.assign({"x": 0.4, "b": 0.28})
        sim.run(N=7, resume=True)
        sim.create_snapshot("two")
        sim.run(T=1.5 * end, ic={"y": 0.05}, t0=0.5 * end, params={"b": 0.31}, record_dt=0.25)
    with unchanged(sim):
        found = [sim.replay("two"), sim.replay()]
    assert all(each.ok for each in found), f"{found[0]}\n{found[1]}"
    assert [m[0] for m in found[0].moments] == ["initial", "one", "limited", "two"]
    assert [m[0] for m in found[1].moments] == ["initial", "one", "limited", "current"], "the mark is the assignment"


def test_a_run_that_stops_or_fails_is_replayed() -> None:
    model = dynlib.ode_model("stop", states={"x": 0.0}, equations={"x": "1"}, sim={"stop": "cross_up(x, 1)"})
    sim = dynlib.setup(model, stepper="rk4", dt=0.13, jit=False)
    sim.run(T=5.0)
    sim.create_snapshot("stopped")
    sim.run(T=5.0, resume=True)
    assert sim.replay().ok
    blowup = dynlib.setup(
        dynlib.ode_model("blowup", states={"x": 1.0}, equations={"x": "x*x"}), stepper="rk4", dt=0.01, jit=False
    )
    with pytest.warns(NumericsWarning):
        blowup.run(T=5.0)
    assert blowup.replay().ok


def test_another_model_under_the_session_is_named() -> None:
    sim = ring("rk4")
    sim.run(T=1.0)
    sim.full_model = neuron().full_model
    with pytest.raises(dynlib.PinMismatchError, match="belongs to another model"):
        sim.replay()
    for call in (lambda: sim.at(0.5), lambda: sim.verify_restart(3.0), sim.reset_observers):
        with pytest.raises(dynlib.ResumeError):
            call()
    assert [m.name for _, m in sim.lineage().parts] == ["initial", "current"]


def test_a_lineage_that_is_not_true_is_found() -> None:
    sim = ring("rk45")
    sim.run(T=2.0)
    snapshot = sim.create_snapshot("x")
    object.__setattr__(snapshot, "state", snapshot.state.edited({"h": 0.123}))
    found = sim.replay(snapshot)
    assert not found.ok
    assert [m[3] for m in found.moments] == [True, False]


def test_accepted_numerics_are_no_exact_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynlib.session import full_model

    sim = ring()
    sim.run(T=1.0)
    sim.export_snapshot(tmp_path / "a.npz")
    monkeypatch.setattr(full_model, "NUMERICS_REVISION", 99)
    other = Sim(dynlib.build(sim.full_model.model, stepper="rk4", dt=0.05, jit=False))
    other.import_snapshot(tmp_path / "a.npz", accept=("numerics_revision",))
    with pytest.raises(SnapshotError, match="numerics_revision"):
        other.replay()


# -- the past ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stepper", "kind"), CASES)
def test_any_past_time_comes_again_as_it_was(stepper: str, kind: str) -> None:
    end = horizon(stepper)
    sim, shown = (Sim(full(stepper, kind), buffers=Buffers(steps=5)) for _ in range(2))
    shown.run(T=end)
    sim.run(T=0.4 * end, record=False)
    sim.run(T=end, resume=True, record=False)
    res = shown.results()
    with unchanged(sim):
        for k in (0, 1, len(res) // 3, len(res) - 1):
            found = sim.at(float(res.t[k]))
            assert {name: found[name] for name in res.names} == {name: res[name][k] for name in res.names}
        again = sim.record_again(["y", "r"])
        assert again.t.tobytes() == res.t[~res.raw.at_stop].tobytes()
        for name in ("y", "r"):
            assert again[name].tobytes() == res[name][~res.raw.at_stop].tobytes()
        part = sim.record_again(["x"], 0.25 * end, 0.6 * end)
        late = 0.6 * end * (1 + 1e-15)  # a step within rounding of the end belongs to it
        inside = (res.t >= 0.25 * end) & (res.t <= late) & ~res.raw.at_stop
        assert part["x"].tobytes() == res["x"][inside].tobytes()
        assert part.step.tobytes() == res.step[inside].tobytes()


def test_a_time_inside_a_step_is_that_of_a_recording_grid() -> None:
    sim, shown = ring("rk45"), ring("rk45")
    shown.run(T=5.0, record_dt=0.173)
    sim.run(T=5.0, record=False)
    grid = shown.results()
    for k in (1, 7, 20):
        assert sim.at(float(grid.t[k]))["w"] == grid["w"][k]
    again = sim.record_again(["w"], 0.0, 5.0, record_dt=0.173)
    assert again["w"].tobytes() == grid["w"][~grid.raw.at_stop].tobytes()


def test_the_past_reaches_over_edits() -> None:
    sim = ring("rk4")
    sim.run(T=2.0)
    before = sim.state_dict()["w"]
    sim.assign(w=0.9)
    sim.run(T=4.0, resume=True)
    res = sim.results()
    assert sim.at(2.0)["w"] == 0.9
    assert sim.at(1.0)["w"] == res["w"][20]
    assert sim.at(3.0)["w"] == res["w"][60]
    assert before != 0.9
    assert sim.record_again(["w"]).t[0] == 2.0
    assert sim.record_again(["w"], 0.5, 1.5)["w"].tobytes() == res["w"][10:31].tobytes()
    with pytest.raises(ConfigError, match="lies before the edit or start at t = 2"):
        sim.record_again(["w"], 1.0, 3.0)


@pytest.mark.parametrize("t", [-0.1, 4.1, math.nan, math.inf, "x", None])
def test_times_outside_the_past(t: object) -> None:
    sim = ring()
    sim.run(T=4.0)
    with pytest.raises(ConfigError):
        sim.at(t)  # type: ignore[arg-type]


def test_memory_for_the_past_is_bounded() -> None:
    from dynlib.runtime.trace import Trace

    sim = ring()
    trace = Trace.starting_at(sim.state)
    states = []
    for k in range(100_000):
        state = sim.state.edited({"t_base": float(k)}) if k % 1000 == 0 else sim.state
        trace.offer(lambda state=state: state)
        states.append(k)
    assert len(trace.states) <= trace.limit + 1
    assert len(trace.states) == len(trace.times) > trace.limit // 4
    assert trace.states[0] is sim.state


# -- the command line ----------------------------------------------------------------------------------------------


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.npz"
    assert main(["run", "builtin://map/henon", "--N", "50", "--snapshot", str(path), "--no-jit", "--quiet"]) == 0
    assert main(["verify", str(path), "--T", "120", "--no-jit", "--no-process"]) == 0
    assert "every bit agrees" in capsys.readouterr().out
    assert main(["replay", str(path), "--no-jit"]) == 0
    assert "equal   initial" in capsys.readouterr().out
    assert main(["run", str(path), "--N", "5", "--no-jit"]) == 0
    assert "DONE" in capsys.readouterr().out
    assert main(["snap", "info", str(path)]) == 0
    assert "<lineage" in capsys.readouterr().out
    assert main(["verify", "builtin://map/henon", "--T", "60", "--no-jit", "--no-process", "--cuts", "2"]) == 0
    assert main(["verify", str(path), "--stepper", "map"]) == 2
    assert main(["run", str(path), "--N", "5", "--stepper", "map"]) == 2
    assert "brings its own" in capsys.readouterr().err
