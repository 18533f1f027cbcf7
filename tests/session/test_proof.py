"""Users can check the promise themselves: verify_restart, replay, and any past time computed again."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.cases import CASES, full, horizon
from msgspec.structs import force_setattr, replace
from session.kit import neuron, ring, unchanged

import dynlib
from dynlib import Buffers, ConfigError, NumericsWarning, Sim, SnapshotError
from dynlib.cli.main import main
from dynlib.session import snapshot_file
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
    monkeypatch.setattr(snapshot_file, "state_from", careless)
    proof = sim.verify_restart(5.0, 3, process=False)
    assert not proof.ok
    assert [c.name for c in proof.checks if not c.ok] == ["cut, continued from files"]
    assert "first at step" in str(proof)
    assert "ulp" in str(proof)
    assert "NOT the same run" in str(proof)


@pytest.mark.parametrize("field", ["base", "k1", "pending", "n", "lag_w", "h", "u"])
def test_whatever_a_resumed_kernel_gets_wrong_is_found(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that goes wrong by a bit of each number when it takes up a pending step: step and variable are named."""
    sim = ring("rk45")
    sim.run(T=1.0)
    layout = sim.full_model.kernel.layout
    kernel, spot = sim.full_model.kernel.module.kernel, layout["base" if field == "u" else field]
    steps: list[int] = []

    def wrong(times: Any, reals: Any, counts: Any, *rest: Any) -> Any:
        if counts[layout["pending"].start] and rest[1] > 2.0:  # not in the first piece
            block = {"times": times, "reals": reals, "counts": counts}[spot.block]
            at = slice(spot.start + 2, spot.start + 3) if field == "u" else spot.span
            block[at] = block[at] + 1 if spot.block == "counts" else np.nextafter(block[at], np.inf)
            steps.append(int(counts[layout["n"].start]))
        return kernel(times, reals, counts, *rest)

    monkeypatch.setattr(sim.full_model.kernel.module, "kernel", wrong)
    proof = sim.verify_restart(5.0, [1.9, 3.1], process=False)
    failed = {c.name: c.detail for c in proof.checks if not c.ok}
    if field == "pending":  # a flag of the report; the kernel does not read it
        assert not failed
        return
    assert {"cut", "cut, snapshots and files written", "cut, continued from files"} <= set(failed), str(proof)
    if field == "u":
        words = f"first at step {min(steps) + 1} (t = "
        assert all(words in detail and ": u[2] by 1 ulp" in detail for detail in failed.values()), str(proof)


def test_what_goes_wrong_in_a_new_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sim, real = ring("rk4"), subprocess.run
    sim.run(T=1.0)
    near = float(np.nextafter(sim.state_dict()["w"], 9.0))
    lists = [["--set", f"w={near!r}"], ["--no-such-option"]]
    details = []
    for extra in lists:
        monkeypatch.setattr(subprocess, "run", lambda command, extra=extra, **more: real([*command, *extra], **more))
        proof = sim.verify_restart(2.0, 1)
        assert [c.name for c in proof.checks if not c.ok] == ["new process"]
        details.append(proof.checks[-1].detail)
    assert details[0].startswith("first at step 20 (t = 1): w by 1 ulp")
    assert "no-such-option" in details[1]


def test_a_negative_end_reaches_the_new_process() -> None:
    model = dynlib.ode_model("before", states={"x": 1.0}, equations={"x": "-x"}, sim={"t0": -1.0})
    proof = dynlib.setup(model, stepper="rk4", dt=0.1, jit=False).verify_restart(-1e-5, 1)
    assert proof.ok, str(proof)


@pytest.mark.parametrize("settings", [{"max_steps": 30}, {"record": False}, {"stop": "x < 0.5"}])
def test_the_model_s_own_limits_hold_for_the_whole_run(settings: dict[str, Any]) -> None:
    model = dynlib.ode_model("decay", states={"x": 1.0}, equations={"x": "-x"}, sim=settings)
    sim = dynlib.setup(model, stepper="rk4", dt=0.1, jit=False)
    proof = sim.verify_restart(10.0, 3)
    assert proof.ok, str(proof)
    assert proof.steps == {"max_steps": 30, "record": 100, "stop": 7}[next(iter(settings))]


def test_a_model_that_records_nothing_is_compared_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*arguments: object) -> object:
        state = state_from(*arguments)  # type: ignore[arg-type]
        return state.edited({"base": state["base"] + 1e-9})

    model = dynlib.ode_model("decay", states={"x": 1.0}, equations={"x": "-x"}, sim={"record": False})
    sim = dynlib.setup(model, stepper="rk4", dt=0.1, jit=False)
    monkeypatch.setattr(snapshot_file, "state_from", careless)
    proof = sim.verify_restart(1.0, [0.35], process=False)
    (found,) = [c.detail for c in proof.checks if not c.ok]
    assert found.startswith("first at step 4 (t = 0.4): x by ")


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


def test_the_variable_that_differs_is_named_beside_others_that_are_not_numbers() -> None:
    model = dynlib.ode_model(
        "odd",
        states={"x": 1.0, "y": 0.0},
        equations={"x": "-x", "y": "0"},
        params={"a": -1.0},
        aux={"none": "log(a)", "double": "2*y"},
        events={"seen": {"phase": "post", "cond": "x < 0.95", "log": ["t", "a", "x"]}},
    )
    full = dynlib.build(model, stepper="rk4", dt=0.1, jit=False)
    sims = {name: Sim(full) for name in ("one", "zero", "nan", "a")}
    sims["zero"].assign(y=-0.0)
    sims["nan"].assign(a=2.0)
    sims["a"].assign(a=float(np.nextafter(-1.0, 0.0)))
    for sim in sims.values():
        sim.run(T=1.0, record_vars=["x", "none", "y", "double"])
    raw = {name: sim.raw_results() for name, sim in sims.items()}
    assert first_difference(raw["one"], raw["one"]) == ""
    assert first_difference(raw["one"], raw["zero"]) == "first at step 0 (t = 0): y by 1 ulp"
    assert first_difference(raw["one"], raw["nan"]).startswith("first at step 0 (t = 0): none is 0.69")
    assert first_difference(raw["one"], raw["a"]) == "in the event log, first at step 1 (t = 0.1): seen, a by 1 ulp"


def test_a_sample_or_an_event_that_is_missing_is_named() -> None:
    sim, other = neuron(), neuron()
    sim.run(T=30.0)
    other.run(T=25.0)
    one, two = sim.raw_results(), other.raw_results()
    assert first_difference(one, two) == "first at step 251 (t = 25.1): the sample is missing"
    assert first_difference(two, one) == "first at step 251 (t = 25.1): a sample too many"
    spikes = one.log.t
    less = replace(one, log=replace(one.log, **{n: getattr(one.log, n)[1:] for n in ("t", "step", "event", "values")}))
    none = replace(one, log=replace(one.log, **{n: getattr(one.log, n)[:0] for n in ("t", "step", "event", "values")}))
    late = replace(one, log=replace(one.log, t=np.nextafter(spikes, 99.0)))
    begin = f"in the event log, first at step {one.log.step[0]} (t = {spikes[0]:.9g}): spike"
    assert first_difference(one, less) == f"{begin} is spike at step {one.log.step[1]}"
    assert first_difference(one, none) == f"{begin} is missing"
    assert first_difference(none, one) == f"{begin} is too much"
    assert first_difference(one, late) == f"{begin}, t by 1 ulp"
    again = replace(one, step=one.step + (one.step > 7))
    assert first_difference(one, again) == "first at step 8 (t = 0.8): counted as step 9"


@pytest.mark.parametrize(
    "cuts", [0, -1, True, 10**6, [0.0], [-1.0], [3.0], [1.0, 100.0], [math.nan], [], "abc", ["x"], None, 2.5]
)
def test_impossible_cuts(cuts: object) -> None:
    with pytest.raises(ConfigError, match="cut"):
        ring().verify_restart(3.0, cuts)  # type: ignore[arg-type]


def test_cuts_within_rounding_of_each_other_are_one() -> None:
    proof = ring("rk4").verify_restart(3.0, [1.0, 1.0000000000000002, 2.9999999999999996], process=False)
    assert proof.ok, str(proof)
    assert proof.checks[1].detail == "at t = 1"
    assert ring("rk4").verify_restart(3.0, np.int64(2), process=False).ok  # type: ignore[arg-type]


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


def decay(x: float, k: float, start: float = 0.0) -> dynlib.FullModel:
    model = dynlib.ode_model("decay", states={"x": x}, params={"k": k}, equations={"x": "-k*x"})
    seen = dynlib.Observer("seen", {"n": start}, {"n": "n + 1"})
    return dynlib.build(model, stepper="rk4", dt=0.1, jit=False, observers=[seen])


def test_the_root_is_that_of_the_model_in_which_the_lineage_began(tmp_path: Path) -> None:
    """The same equations with other default values fit, and keep the past that a state brings along."""
    one, other = Sim(decay(1.0, 1.0)), Sim(decay(2.0, 3.0, 5.0))
    one.run(T=1.0)
    one.create_snapshot("one")
    one.export_snapshot(tmp_path / "a.npz")
    other.import_snapshot(tmp_path / "a.npz")
    assert other.replay().ok
    other.run(T=2.0, resume=True)
    assert other.replay().ok
    other.export_snapshot(tmp_path / "b.npz", results=True)
    assert dynlib.open_snapshot(tmp_path / "b.npz", jit=False).replay().ok
    other.run(T=1.5)
    assert other.replay().ok
    one.full_model = other.full_model
    one.run(T=2.0, resume=True)
    assert one.replay().ok
    assert one.fork("branch").replay().ok
    one.export_snapshot(tmp_path / "c.npz")
    assert dynlib.open_snapshot(tmp_path / "c.npz", jit=False).replay().ok
    one.reset("one")
    assert one.replay("one").ok


def test_a_transient_that_reaches_the_step_limit_is_replayed() -> None:
    sim = ring("rk4")
    with pytest.warns(NumericsWarning):
        sim.run(T=4.0, transient=1.0, max_steps=3)
    assert sim.replay().ok


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
    force_setattr(snapshot, "state", snapshot.state.edited({"h": 0.123}))
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
            assert all(np.array_equal(found[name], res[name][k]) for name in res.names)
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


def stopping() -> Sim:
    model = dynlib.ode_model("stop", states={"x": 0.0}, equations={"x": "1"}, sim={"stop": "cross_up(x, 1)"})
    return dynlib.setup(model, stepper="rk4", dt=0.1, jit=False)


def test_the_past_goes_on_over_a_stop_condition() -> None:
    sim = stopping()
    sim.run(T=3.0)
    sim.run(T=3.0, resume=True)
    res = sim.results()
    again = sim.record_again()
    assert len(again) == 31
    assert again.t.tobytes() == res.t.tobytes()
    assert again["x"].tobytes() == res["x"].tobytes()
    assert sim.record_again(None, 0.5, 1.1)["x"].tobytes() == res["x"][5:12].tobytes()


def test_the_past_reaches_up_to_an_edit_and_over_the_end_that_was_asked_for() -> None:
    sim = ring("rk4")
    sim.run(T=2.0)
    res = sim.results()
    sim.assign(w=0.9)
    sim.run(T=4.0, resume=True)
    assert sim.record_again(["w"], 0.5, 2.0)["w"].tobytes() == res["w"][10:].tobytes(), "as it was before the edit"
    assert sim.record_again(["w"], 2.0, 3.0)["w"][0] == 0.9
    sim = stopping()
    sim.run(T=0.9, dt=0.3)
    assert sim.t < 0.9, "the end is the step within rounding of it"
    assert sim.at(0.9) == sim.at(sim.t) == {"x": sim.results()["x"][-1]}
    assert sim.record_again(None, 0.0, 0.9).t.tobytes() == sim.results().t.tobytes()


def test_the_past_can_be_left_with_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = ring("rk4")
    sim.run(T=4.0)
    kernel = sim.full_model.kernel.module.kernel

    def press(*arguments: Any) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return int(kernel(*arguments))

    for call in (lambda: sim.at(3.21), lambda: sim.record_again(["w"], 0.5, 3.0), lambda: sim.replay()):
        with unchanged(sim), monkeypatch.context() as patch:
            patch.setattr(sim.full_model.kernel.module, "kernel", press)
            with pytest.raises(KeyboardInterrupt):
                call()


def test_memory_for_the_past_stays_bounded_over_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    from dynlib.runtime import trace

    sim = ring("rk4")
    monkeypatch.setattr(trace, "BUDGET_BYTES", 20 * trace.Trace.starting_at(sim.state).state_bytes)
    for k in range(100):
        sim.run(T=0.05 * (k + 1), resume=k > 0)
        sim.assign(k=0.1 + 0.001 * k)
    assert sum(len(t.states) for t in sim._traces) <= 20
    assert sim.at(sim.t - 0.01)


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


def test_memory_for_the_past_is_bounded_over_all_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    from dynlib.runtime import trace

    state = ring().state
    one = trace.Trace.starting_at(state)
    monkeypatch.setattr(trace, "BUDGET_BYTES", 5 * one.state_bytes)
    many = [trace.Trace([state] * n, float(n), times=[0.0] * n) for n in (1, 1, 1, 2, 1)]
    assert trace.within_budget(many) == many[1:]
    assert trace.within_budget([*many, trace.Trace([state] * 9, 9.0)])[0].end == 9.0, "the last one always stays"
    monkeypatch.setattr(trace, "BUDGET_BYTES", 2**40)
    assert len(trace.within_budget([one] * 2000)) == trace.MOST_TRACES
    assert trace.within_budget([one]) == [one]


# -- the command line ----------------------------------------------------------------------------------------------


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.npz"
    assert main(["run", "builtin://map/henon", "--N", "50", "--snapshot", str(path), "--no-jit", "--quiet"]) == 0
    assert main(["verify", str(path), "--T", "120", "--no-jit", "--no-process"]) == 0
    assert "every bit agrees" in capsys.readouterr().out
    assert main(["replay", str(path), "--no-jit"]) == 0
    assert "equal  initial" in capsys.readouterr().out
    assert main(["run", str(path), "--N", "5", "--no-jit"]) == 0
    assert "DONE" in capsys.readouterr().out
    assert main(["snap", "info", str(path)]) == 0
    assert "<lineage" in capsys.readouterr().out
    assert main(["verify", "builtin://map/henon", "--T", "60", "--no-jit", "--no-process", "--cuts", "2"]) == 0
    assert main(["verify", str(path), "--stepper", "map"]) == 2
    assert main(["run", str(path), "--N", "5", "--stepper", "map"]) == 2
    assert "brings its own" in capsys.readouterr().err
