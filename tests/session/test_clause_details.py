"""The clauses of the specification once more, at their edges: what each one rules out."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from session.kit import neuron, neuron_full, parts, ring, ring_full, unchanged

import dynlib
from dynlib import ConfigError, PinMismatchError, ResumeError, Sim, SnapshotError, SnapshotFileError
from dynlib.session import full_model

COUNTS = {1: 5, 2: 4, 3: 10, 4: 5, 5: 2}
WANTED = [f"{section}.{k}" for section, count in COUNTS.items() for k in range(1, count + 1)] + ["6"]
DECISIONS = ("version pin", "where a run without resume starts", "uninterrupted", "trust")


@pytest.fixture
def sim() -> Sim:
    """A spiking neuron before its first run."""
    return neuron()


def test_clause_1_1_initial_is_made_once(sim: Sim) -> None:
    """Clause 1.1: "initial" holds the state before the first run, and later runs leave it."""
    start = sim.state
    sim.run(T=2.0, ic={"v": -40.0}, params={"I": 1.0}, t0=1.0, dt=0.05)
    sim.assign(I=3.0)
    sim.run(T=4.0)
    assert sim.snapshot("initial").state.same_bits(start)


def test_clause_1_2_a_snapshot_holds_all_that_a_run_needs() -> None:
    """Clause 1.2: workspace, options, time shift, nominal dt; a taken name is an error and nothing is lost."""
    sim = ring("rk45")
    sim.run(T=3.33, rtol=1e-7, dt=0.01, t0=0.5)
    kept = sim.create_snapshot("a", "text")
    assert (kept.state.time_shift, kept.state.nominal_dt, kept.state.config[0]) == (0.5, 0.01, 1e-7)
    sim.run(T=6.0, resume=True)
    final = sim.state
    with unchanged(sim), pytest.raises(SnapshotError, match="'a' exists already"):
        sim.create_snapshot("a")
    sim.reset("a")
    sim.run(T=6.0, resume=True)
    assert sim.state.same_bits(final)


def test_clause_1_3_the_list_keeps_the_order_of_making(sim: Sim) -> None:
    """Clause 1.3: each entry with name, t, step, time of creation, description."""
    sim.run(T=1.0)
    for name in ("z", "a"):
        sim.create_snapshot(name, f"about {name}")
    assert [set(s) for s in sim.list_snapshots()] == [{"name", "t", "step", "created", "description"}] * 3
    assert [(s["name"], s["t"], s["step"]) for s in sim.list_snapshots()] == [
        ("initial", 0.0, 0), ("z", 1.0, 10), ("a", 1.0, 10),
    ]  # fmt: skip


def test_clause_1_4_compat_check_of_a_snapshot_of_another_session(sim: Sim) -> None:
    """Clause 1.4: the check takes a name or a snapshot, touches nothing, and lists every pin that differs."""
    foreign = ring("rk45", "float32").create_snapshot("x")
    with unchanged(sim):
        ok, differences = sim.compat_check(foreign)
    assert not ok
    assert set(differences) == {"structure", "stepper", "workspace", "dtype"}
    assert differences["dtype"] == ("float64", "float32")


def test_clause_1_4_decision_version_pin(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clause 1.4, decision "version pin": the version is recorded and not compared, the revision is compared."""
    here = sim.full_model.pins.numerics_revision
    monkeypatch.setattr(full_model, "VERSION", "99.0")
    newer = Sim(dynlib.build(neuron_full().model, stepper="rk4", jit=False))
    assert newer.state.pins.library_version == "99.0"
    assert sim.compat_check(newer.create_snapshot("x")).ok
    monkeypatch.setattr(full_model, "NUMERICS_REVISION", 55)
    changed = Sim(dynlib.build(neuron_full().model, stepper="rk4", jit=False))
    assert sim.compat_check(changed.create_snapshot("x")).differences == {"numerics_revision": (here, 55)}


def test_clause_1_5_many_snapshots_cost_little(sim: Sim) -> None:
    """Clause 1.5: a thousand snapshots of one moment share one state."""
    sim.run(T=1.0)
    assert {id(sim.create_snapshot(f"s{k}").state) for k in range(1000)} == {id(sim.state)}


def test_clause_2_1_reset_clears_tags_and_bookkeeping(sim: Sim) -> None:
    """Clause 2.1: a tag used before the reset is free after it; default numbers begin anew."""
    sim.run(T=1.0, tag="x")
    sim.run(T=2.0, resume=True)
    sim.reset()
    sim.run(T=1.0, resume=True, tag="x")
    sim.run(T=2.0, resume=True)
    assert [s.name for s in sim.results().segments] == ["x", "run#1"]


def test_clause_2_2_reset_into_the_middle_of_a_step() -> None:
    """Clause 2.2: the next run starts from exactly that moment, the pending step included."""
    sim = ring("rk45")
    sim.run(T=3.33)
    sim.create_snapshot("a")
    sim.run(T=8.0, resume=True)
    end, tail = sim.state, sim.results().segment(-1)
    for resume in (True, False):
        sim.reset("a")
        assert sim.state.pending
        sim.run(T=8.0, resume=resume)
        assert sim.state["base"].tobytes() == end["base"].tobytes()
        assert sim.results()["w"][-len(tail) :].tobytes() == tail["w"].tobytes()


def test_clause_2_3_import_also_frees_the_selection(sim: Sim, tmp_path: Path) -> None:
    """Clause 2.3: the stored record_vars go with the recorder."""
    sim.run(T=1.0, record_vars=["u"])
    sim.export_snapshot(tmp_path / "a.npz")
    for clear in (sim.reset, lambda: sim.import_snapshot(tmp_path / "a.npz")):
        clear()
        sim.run(T=2.0, record_vars=["v"], resume=True)
        assert sim.results().columns == ("v",)


def test_clause_2_4_the_summary_gives_the_reason(sim: Sim) -> None:
    """Clause 2.4: can_resume and reason agree with can_resume(), and nothing is run or made."""
    sim.run(T=1.0)
    sim.full_model = ring_full()
    with unchanged(sim):
        summary = sim.session_state_summary()
    assert (summary["can_resume"], summary["reason"]) == sim.can_resume()
    assert summary["can_resume"] is False


@pytest.mark.parametrize("stepper", ["rk4", "ab3", "rk45"])
def test_clause_3_1_resume_before_any_run(stepper: str) -> None:
    """Clause 3.1: the latest state of a new session is where it stands."""
    sim, single = ring(stepper), ring(stepper)
    sim.run(T=2.0, resume=True)
    single.run(T=2.0)
    assert sim.state.same_bits(single.state)


@pytest.mark.parametrize("stepper", ["rk4", "ab2", "ab3", "rk45"])
def test_clause_3_2_uninterrupted(stepper: str, tmp_path: Path) -> None:
    """Clause 3.2, decision "uninterrupted": stops anywhere, with files in between, change no bit."""
    single, split = ring(stepper), ring(stepper)
    single.run(T=12.0, record_interval=2)
    split.run(T=0.001, record_interval=2)
    for k, t in enumerate([0.002, 0.1, 1.0, 1.0000001, 5.55, 12.0]):
        if k % 2:
            split.export_snapshot(tmp_path / "a.npz")
            split = ring(stepper)
            split.import_snapshot(tmp_path / "a.npz")
        split.run(T=t, resume=True)
    assert split.state.same_bits(single.state)
    tail = split.raw_results()
    assert tail.data.tobytes() == single.raw_results().data[-len(tail.t) :].tobytes()


def test_clause_3_3_several_overrides_are_all_named() -> None:
    """Clause 3.3: one message for all; options of the stepper count; `transient=0` is no override."""
    sim = neuron("rk45")
    sim.run(T=1.0)
    with unchanged(sim), pytest.raises(ResumeError, match="ic, params, t0, dt, transient, rtol, record_vars"):
        sim.run(
            T=2.0, resume=True, ic={}, params={}, t0=0.0, dt=0.1, transient=0.5, record_vars=["v"], rtol=1e-9
        )  # fmt: skip
    sim.run(T=2.0, resume=True, transient=0.0)
    assert sim.t == 2.0


def test_clause_3_4_only_recorded_runs_make_segments(sim: Sim) -> None:
    """Clause 3.4: a run with record=False adds none, and takes no number."""
    sim.run(T=1.0, record=False)
    assert sim.results().segments == ()
    sim.run(T=2.0, resume=True)
    (segment,) = sim.results().segments
    assert (segment.name, segment.t_start, segment.t_end, segment.step_start) == ("run#0", 1.0, 2.0, 10)
    with pytest.raises(ConfigError, match="exists already"):
        sim.run(T=3.0, resume=True, tag="run#0")


def test_clause_3_5_raw_results_and_results_agree(sim: Sim) -> None:
    """Clause 3.5: one accumulator, one strictly increasing time."""
    for k in range(1, 30):
        sim.run(T=1.73 * k, resume=k > 1)
    whole = neuron()
    whole.run(T=1.73 * 29)
    res = sim.results()
    assert res.raw is sim.raw_results()
    assert np.all(np.diff(res.t) > 0)
    assert np.isin(whole.results().t, res.t).all()


@pytest.mark.parametrize("T", [0.0, 1.0, 2.0, float(np.nextafter(2.0, 3.0))])
def test_clause_3_6_overlap_is_an_error(sim: Sim, T: float) -> None:
    """Clause 3.6: a horizon behind, at, or within rounding of the current time."""
    sim.run(T=2.0)
    with unchanged(sim), pytest.raises(ResumeError, match="not ahead of the current time"):
        sim.run(T=T, resume=True)


def test_clause_3_7_then_reset_or_a_compatible_model(sim: Sim) -> None:
    """Clause 3.7: (False, reason) until the session is on a state that fits."""
    sim.run(T=1.0)
    own = sim.full_model
    sim.full_model = neuron_full("ab2")
    ok, reason = sim.can_resume()
    assert not ok
    assert "stepper: this session has 'ab2', the state has 'rk4'" in str(reason)
    sim.full_model = own
    assert sim.can_resume() == (True, None)
    assert sim.run(T=2.0, resume=True).ok


def test_clause_3_8_a_fresh_run_forgets_the_round_before(sim: Sim) -> None:
    """Clause 3.8: also one that records nothing."""
    sim.run(T=1.0, tag="x")
    sim.run(T=2.0, record=False)
    assert len(sim.results()) == 0
    assert sim.results().segments == ()


def test_clause_3_9_assign_keeps_the_recording(sim: Sim) -> None:
    """Clause 3.9: values change between segments, and the results of both stand side by side."""
    sim.run(T=2.0)
    sim.assign({"I": 0.0, "v": -80.0})
    sim.run(T=4.0, resume=True)
    res = sim.results()
    assert [s.resume for s in res.segments] == [False, True]
    assert np.array_equal(res.step, np.arange(41))
    assert res["v"][21] < -70.0


def test_clause_3_10_time_snapshots_and_options_stay() -> None:
    """Clause 3.10: only results and segments go."""
    sim = ring("rk45")
    sim.run(T=2.03, rtol=1e-8, record_vars=["w"])
    sim.create_snapshot("a")
    step, config = sim.step, sim.config()["options"]
    sim.assign(k=0.2, clear_history=True)
    assert (sim.t, sim.step, sim.config()["options"], len(sim.results())) == (2.03, step, config, 0)
    assert [s["name"] for s in sim.list_snapshots()] == ["initial", "a"]
    sim.run(T=3.0, record_vars=["u"])
    assert sim.results().t[0] == 2.03
    assert sim.config()["options"]["rtol"] == 1e-8


def test_clause_3_decision_where_a_run_without_resume_starts(sim: Sim, tmp_path: Path) -> None:
    """Decision "where a run without resume starts": construction, reset, import and assign place the mark."""
    sim.run(T=2.0)
    sim.run(T=2.0)
    assert sim.results().t[0] == 0.0
    sim.export_snapshot(tmp_path / "a.npz")
    sim.run(T=3.0, resume=True)
    sim.run(T=2.5)
    assert sim.results().t[0] == 0.0, "a finished run, resumed or not, does not move the mark"
    sim.assign(I=20.0)
    for _ in range(2):
        sim.run(T=3.0)
        assert sim.results().t[0] == 2.5
    sim.import_snapshot(tmp_path / "a.npz")
    sim.run(T=3.0)
    assert sim.results().t[0] == 2.0
    sim.run(T=3.0, t0=1.0)
    assert sim.results().t[0] == 1.0
    with unchanged(sim), pytest.raises(ConfigError, match="not ahead"):
        sim.run(T=2.0)


def test_clause_4_1_both_sources(sim: Sim, tmp_path: Path) -> None:
    """Clause 4.1: the current state or a snapshot; the file says which."""
    sim.run(T=1.0)
    sim.create_snapshot("a", "text")
    sim.run(T=2.0, resume=True)
    sim.export_snapshot(tmp_path / "now.npz")
    sim.export_snapshot(tmp_path / "then.npz", source="snapshot", name="a")
    assert [parts(tmp_path / f)[0]["t"] for f in ("now.npz", "then.npz")] == [2.0, 1.0]
    assert parts(tmp_path / "then.npz")[0]["description"] == "text"


def test_clause_4_2_a_reader_of_the_old_file_is_not_disturbed(sim: Sim, tmp_path: Path) -> None:
    """Clause 4.2: a write replaces the file as a whole, and leaves no other behind."""
    path = tmp_path / "a.npz"
    sim.export_snapshot(path)
    before = path.read_bytes()
    with path.open("rb") as reader:
        sim.run(T=1.0)
        sim.export_snapshot(path)
        assert reader.read() == before
    assert list(tmp_path.iterdir()) == [path]


def test_clause_4_3_inspect_works_for_a_file_of_another_model(sim: Sim, tmp_path: Path) -> None:
    """Clause 4.3: looking needs no fitting session."""
    ring("rk45").export_snapshot(tmp_path / "a.npz")
    with unchanged(sim):
        assert sim.inspect_snapshot(tmp_path / "a.npz").model == "ring"


def test_clause_4_4_import_refuses_other_pins(sim: Sim, tmp_path: Path) -> None:
    """Clause 4.4: and a refusal leaves state, results, snapshots and mark."""
    sim.run(T=1.0)
    sim.export_snapshot(tmp_path / "a.npz")
    for other in (ring(), neuron("ab2")):
        other.run(T=1.5)
        with unchanged(other), pytest.raises(PinMismatchError, match="this session has"):
            other.import_snapshot(tmp_path / "a.npz")


def test_clause_4_5_a_resume_point_for_a_colleague(sim: Sim, tmp_path: Path) -> None:
    """Clause 4.5: changed values travel with the file."""
    sim.run(T=5.0)
    sim.assign(I=14.0, a=0.05)
    sim.run(T=7.77, resume=True)
    sim.export_snapshot(tmp_path / "a.npz")
    theirs = Sim(dynlib.build(neuron_full().model, stepper="rk4", jit=False))
    theirs.import_snapshot(tmp_path / "a.npz")
    assert theirs.param_dict() == sim.param_dict()
    for each in (theirs, sim):
        each.run(T=20.0, resume=True)
    assert theirs.state.same_bits(sim.state)


def test_clause_4_decision_trust(sim: Sim, tmp_path: Path) -> None:
    """Decision "trust": one kind of error, which a caller can catch as SnapshotError, and nothing changed."""
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK\x03\x04 but nothing more")
    sim.run(T=1.0)
    with unchanged(sim), pytest.raises(SnapshotFileError, match=re.escape(str(path))):
        sim.import_snapshot(path)
    assert issubclass(SnapshotFileError, SnapshotError)


def test_clause_5_1_cfg_hash_tells_configurations_apart() -> None:
    """Clause 5.1: equal for equal configurations, different for another option, step size or stepper."""

    def digest(sim: Sim, **how: float) -> str:
        sim.run(T=1.0, **how)  # type: ignore[arg-type]
        return sim.results().segments[0].cfg_hash

    same = {digest(ring("rk45")), digest(ring("rk45"))}
    others = [digest(ring("rk45"), rtol=1e-7), digest(ring("rk45"), dt=0.01), digest(ring("rk4")), digest(ring("ab2"))]
    assert len(same) == 1
    assert len(same | set(others)) == 5


def test_clause_5_2_segments_are_added_by_resumed_runs_only(sim: Sim) -> None:
    """Clause 5.2: reset empties the list and keeps the snapshots."""
    sim.run(T=1.0)
    sim.run(T=2.0)
    assert len(sim.results().segments) == 1
    sim.run(T=3.0, resume=True)
    assert len(sim.results().segments) == 2
    sim.reset()
    assert sim.results().segments == ()
    assert len(sim.list_snapshots()) == 1


def test_clause_6_example_2_uses_the_new_values() -> None:
    """Clause 6: after reset and assign, a resumed run goes on with the changed parameters from t = 2."""
    sim = dynlib.setup("builtin://ode/izhikevich", jit=False)
    sim.run(T=2.0, record=True, tag="phase-1")
    sim.create_snapshot("phase-1-end", "End of phase 1")
    before = sim.state_vector()
    sim.reset("phase-1-end")
    sim.assign(a=0.02, b=0.25)
    sim.run(T=5.0, resume=True, tag="phase-2-modified")
    other = dynlib.setup("builtin://ode/izhikevich", jit=False)
    other.run(T=5.0, t0=2.0, ic=before, params={"b": 0.25})
    assert np.array_equal(sim.state_vector(), other.state_vector())


def test_every_clause_and_decision_has_a_test() -> None:
    """The docstrings of this module name them all, and the names of the tests agree with their docstrings."""
    tests = dict(inspect.getmembers(sys.modules[__name__], inspect.isfunction))
    texts = {n: inspect.getdoc(f) or "" for n, f in tests.items() if n.startswith("test_clause_")}
    text = "\n".join(texts.values())
    assert [c for c in WANTED if not re.search(rf"Clause {re.escape(c)}(?![\d.]\d?\d)", text)] == []
    assert [d for d in DECISIONS if f'"{d}"' not in text] == []
    for name, own in texts.items():
        if match := re.match(r"test_clause_(\d)_(\d+)_", name):
            assert f"Clause {match[1]}.{match[2]}" in own, name
