"""Each clause of the specification of snapshots and resume, shown on a real neuron."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from session.izhikevich import full, neuron

import dynlib
from dynlib import ConfigError, PinMismatchError, ResumeError, Sim, SnapshotError, SnapshotFileError, UnknownNameError
from dynlib.session import full_model


def test_1_1_initial_is_made_before_the_first_run() -> None:
    """Clause 1.1; it holds the mark, not the overrides of the first run."""
    sim = neuron()
    assert sim.list_snapshots() == []
    sim.run(T=2.0, params={"I": 3.0}, ic={"v": -50.0}, t0=1.0)
    assert [s["name"] for s in sim.list_snapshots()] == ["initial"]
    sim.reset()
    assert (sim.t, sim.param_dict()["I"], sim.state_dict()["v"]) == (0.0, 10.0, -65.0)


def test_1_2_create_snapshot_keeps_everything_and_overwrites_nothing() -> None:
    """Clause 1.2."""
    sim = neuron("rk45")
    sim.run(T=20.0)
    kept = sim.create_snapshot("a", "text")
    assert kept.state.same_bits(sim.state)
    assert (kept.name, kept.description, kept.t) == ("a", "text", 20.0)
    assert {"h", "k1", "base", "time_shift", "dt"} <= set(kept.state.layout.by_name)
    with pytest.raises(SnapshotError, match="'a' exists already"):
        sim.create_snapshot("a")
    sim.run(T=30.0, resume=True)
    assert kept.t == 20.0
    with pytest.raises(ValueError, match="read-only"):
        kept.state.reals[0] = 1.0


def test_1_3_list_snapshots_shows_name_time_step_creation_description() -> None:
    """Clause 1.3."""
    sim = neuron()
    sim.run(T=2.0)
    sim.create_snapshot("a", "why")
    entry = sim.list_snapshots()[1]
    assert {k: entry[k] for k in ("name", "t", "step", "description")} == {
        "name": "a", "t": 2.0, "step": 20, "description": "why",
    }  # fmt: skip
    assert re.match(r"\d{4}-\d\d-\d\dT", str(entry["created"]))


def other_models() -> dict[str, Callable[[], dynlib.FullModel]]:
    return {
        "stepper": lambda: full("euler"),
        "structure": lambda: dynlib.build("builtin://ode/fitzhugh_nagumo", stepper="rk4", jit=False),
        "dtype": lambda: dynlib.build(replace(full().model, dtype="float32"), stepper="rk4", jit=False),
        "math": lambda: dynlib.build(full().model, stepper="rk4", math="contract", jit=False),
    }


@pytest.mark.parametrize("pin", ["stepper", "structure", "dtype", "math"])
def test_1_4_compat_check_and_reset_name_the_pin_and_both_values(pin: str) -> None:
    """Clauses 1.4 and 3.7: another model, stepper or dtype is refused before anything happens."""
    sim = neuron()
    sim.run(T=2.0)
    sim.create_snapshot("a")
    sim.full_model = other = other_models()[pin]()
    ok, differences = sim.compat_check("a")
    assert not ok
    here, there = differences[pin]
    assert here == getattr(other.pins, pin)
    assert there == getattr(full().pins, pin)
    with pytest.raises(PinMismatchError, match=pin):
        sim.reset("a")
    resumable, reason = sim.can_resume()
    assert not resumable
    assert pin in str(reason)
    with pytest.raises(ResumeError, match=pin):
        sim.run(T=9.0, resume=True)


def test_1_4_decision_version_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clause 1.4, decision "version pin": the numerics revision counts, another library version does not."""
    path = tmp_path / "a.npz"
    sim = neuron()
    sim.run(T=2.0)
    monkeypatch.setattr(full_model, "VERSION", "9.9.9")
    newer = Sim(dynlib.build(full().model, stepper="rk4", dt=0.1))
    newer.run(T=2.0)
    newer.export_snapshot(path)
    assert sim.import_snapshot(path).pins.library_version == "9.9.9"
    monkeypatch.setattr(full_model, "NUMERICS_REVISION", 77)
    other = Sim(dynlib.build(full().model, stepper="rk4", dt=0.1))
    other.run(T=2.0)
    other.export_snapshot(path)
    with pytest.raises(PinMismatchError, match=r"numerics_revision: this session has 1, the state has 77"):
        sim.import_snapshot(path)
    sim.import_snapshot(path, accept=("numerics_revision",))
    with pytest.raises(UnknownNameError, match="numerics_revision"):
        sim.import_snapshot(path, accept=("numerics_revison",))


def test_1_5_a_snapshot_shares_the_immutable_state() -> None:
    """Clause 1.5: no array is copied."""
    sim = neuron()
    sim.run(T=2.0)
    assert sim.create_snapshot("a").state is sim.state


def test_2_1_reset_clears_the_recording_and_keeps_snapshots() -> None:
    """Clauses 2.1 and 5.2."""
    sim = neuron()
    sim.run(T=2.0, tag="x")
    sim.create_snapshot("a")
    sim.run(T=3.0, resume=True)
    sim.reset("a")
    assert len(sim.results()) == 0
    assert sim.results().segments == ()
    assert [s["name"] for s in sim.list_snapshots()] == ["initial", "a"]
    assert sim.t == 2.0
    sim.run(T=4.0, resume=True)
    assert sim.results().segments[0].name == "run#0"
    with pytest.raises(UnknownNameError, match="did you mean 'initial'"):
        sim.reset("inital")


def test_2_2_the_next_run_starts_at_the_snapshot() -> None:
    """Clause 2.2: time shift and nominal dt come back, and the run starts from exactly that moment."""
    sim = neuron()
    sim.run(T=2.0)
    sim.create_snapshot("a")
    sim.run(T=5.0, t0=1.0, dt=0.05)
    assert sim.state.nominal_dt == 0.05
    sim.reset("a")
    assert (sim.state.nominal_dt, sim.state.time_shift) == (0.1, 0.0)
    sim.run(T=3.0)
    res = sim.results()
    assert (res.t[0], res.t[-1]) == (2.0, 3.0)


def test_2_3_after_reset_another_selection_may_be_recorded() -> None:
    """Clause 2.3; also for a run that resumes."""
    sim = neuron()
    sim.run(T=2.0, record_vars=["u"])
    sim.create_snapshot("a")
    sim.reset("a")
    sim.run(T=3.0, record_vars=["v"])
    assert sim.results().names == ("v",)
    sim.reset("a")
    sim.run(T=3.0, resume=True, record_vars=["v", "u"])
    assert sim.results().names == ("v", "u")


def test_2_4_summary_runs_nothing() -> None:
    """Clause 2.4."""
    sim = neuron()
    summary = sim.session_state_summary()
    assert (summary["can_resume"], summary["reason"], summary["t"]) == (True, None, 0.0)
    assert sim.list_snapshots() == []
    sim.full_model = full("euler")
    summary = sim.session_state_summary()
    assert summary["can_resume"] is False
    assert "stepper" in summary["reason"]


@pytest.mark.parametrize("stepper", ["rk4", "rk45"])
def test_3_1_and_3_2_resume_is_an_uninterrupted_extension(stepper: str) -> None:
    """Clauses 3.1 and 3.2."""
    split, single = neuron(stepper), neuron(stepper)
    split.run(T=7.77)
    assert split.state.pending
    split.run(T=50.0, resume=True)
    single.run(T=50.0)
    assert split.state.same_bits(single.state)


@pytest.mark.parametrize(
    "override",
    [{"ic": {"v": 1.0}}, {"params": {"I": 1.0}}, {"t0": 0.0}, {"dt": 0.2}, {"record_vars": ["v"]}, {"transient": 1.0}],
    ids=lambda d: next(iter(d)),
)
def test_3_3_overrides_are_errors_on_resume(override: dict[str, Any]) -> None:
    """Clause 3.3; the session and its results stay as they were."""
    sim = neuron()
    sim.run(T=2.0)
    state, rows = sim.state, len(sim.results())
    with pytest.raises(ResumeError, match=next(iter(override))):
        sim.run(T=3.0, resume=True, **override)
    assert sim.state is state
    assert len(sim.results()) == rows


def test_3_4_segments() -> None:
    """Clauses 3.4 and 5.1: each recorded run appends one, tagged or numbered, and they can be renamed."""
    sim = neuron()
    sim.run(T=2.0, tag="first")
    sim.run(T=3.0, resume=True)
    sim.run(T=3.5, resume=True, record=False)
    sim.run(T=4.0, resume=True)
    first, second, third = sim.results().segments
    assert (first.name, second.name, third.name) == ("first", "run#1", "run#2")
    assert (first.t_start, first.t_end, first.step_start, first.step_end) == (0.0, 2.0, 0, 20)
    assert (first.resume, second.resume) == (False, True)
    assert first.cfg_hash == second.cfg_hash
    sim.name_segment("run#1", "middle")
    sim.name_last_segment("last")
    res = sim.results()
    assert [s.name for s in res.segments] == ["first", "middle", "last"]
    assert res.segment("middle").t[-1] == 3.0
    assert res.segment(-1).t[0] > 3.5
    with pytest.raises(ConfigError, match="exists already"):
        sim.name_segment(0, "last")


def test_3_5_one_contiguous_series() -> None:
    """Clause 3.5: no doubled and no missing sample at the seams."""
    split, single = neuron(), neuron()
    split.run(T=1.0)
    split.run(T=2.5, resume=True)
    split.run(T=4.0, resume=True)
    single.run(T=4.0)
    a, b = split.raw_results(), single.raw_results()
    assert a.t.tobytes() == b.t.tobytes()
    assert a.data.tobytes() == b.data.tobytes()
    assert np.array_equal(a.step, np.arange(41))


@pytest.mark.parametrize("T", [1.0, 2.0])
def test_3_6_no_overlap(T: float) -> None:
    """Clause 3.6."""
    sim = neuron()
    sim.run(T=2.0)
    with pytest.raises(ResumeError, match="not ahead"):
        sim.run(T=T, resume=True)


def test_3_7_can_resume() -> None:
    """Clause 3.7."""
    assert neuron().can_resume() == (True, None)


def test_3_8_a_fresh_run_begins_a_new_round() -> None:
    """Clauses 3.8 and 5.2."""
    sim = neuron()
    sim.run(T=2.0)
    sim.run(T=3.0, resume=True)
    sim.run(T=1.0)
    assert [s.name for s in sim.results().segments] == ["run#0"]
    assert sim.results().t[-1] == 1.0


def test_3_9_assign_between_segments() -> None:
    """Clause 3.9: the trajectory restarts from the reported state with the new values."""
    sim, fresh = neuron("ab3"), neuron("ab3")
    sim.run(T=2.03)
    sim.assign(I=15.0)
    assert not sim.state.pending
    start = sim.state_vector()
    sim.run(T=3.03, resume=True)
    fresh.run(T=3.03, t0=2.03, ic=start, params={"I": 15.0})
    assert np.array_equal(sim.state_vector(), fresh.state_vector())


def test_3_10_assign_with_clear_history() -> None:
    """Clause 3.10: results go, time and snapshots stay, and the next run records from here."""
    sim = neuron()
    sim.run(T=2.0)
    sim.create_snapshot("a")
    sim.assign(I=20.0, clear_history=True)
    assert len(sim.results()) == 0
    assert sim.t == 2.0
    assert len(sim.list_snapshots()) == 2
    sim.run(T=3.0)
    assert (sim.results().t[0], sim.results().t[-1]) == (2.0, 3.0)


def test_3_decision_where_a_run_without_resume_starts() -> None:
    """Decision "where a run without resume starts": at the mark, which a finished run does not move."""
    sim = neuron()
    sim.run(T=2.0)
    first = sim.raw_results()
    sim.run(T=2.0)
    assert sim.raw_results().data.tobytes() == first.data.tobytes()
    sim.create_snapshot("a")
    sim.reset("a")
    with pytest.raises(ConfigError, match="not ahead"):
        sim.run(T=2.0)
    sim.run(T=3.0)
    sim.run(T=3.0)
    assert sim.results().t[0] == 2.0


def test_4_1_the_file(tmp_path: Path) -> None:
    """Clause 4.1: one archive with strict JSON, vectors and workspaces; equal states give equal bytes."""
    sim = neuron("rk45")
    sim.run(T=7.7)
    sim.create_snapshot("a", "text")
    sim.run(T=9.0, resume=True)
    path = tmp_path / "a.npz"
    sim.export_snapshot(path, source="snapshot", name="a")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        meta = json.loads(archive.read("meta.json"), parse_constant=lambda c: pytest.fail(c))
    assert {"meta.json", "y.npy", "params.npy", "stepper_config.npy"} <= names
    assert {"workspace/runtime/base.npy", "workspace/stepper/k1.npy", "workspace/stepper/h.npy"} <= names
    assert {"schema_version", "pins", "name", "t", "step", "time_shift", "nominal_dt", "stepper_config"} <= set(meta)
    assert (meta["name"], meta["t"], meta["description"]) == ("a", 7.7, "text")
    with np.load(path, allow_pickle=False) as arrays:
        assert np.array_equal(arrays["y"], sim.snapshot("a").state["y"])
    again = tmp_path / "b.npz"
    sim.export_snapshot(again, source="snapshot", name="a")
    assert path.read_bytes() == again.read_bytes()
    with pytest.raises(ConfigError, match="name="):
        sim.export_snapshot(path, source="snapshot")


def test_4_2_a_failed_write_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clause 4.2; file and folder are synced."""
    sim = neuron()
    sim.run(T=2.0)
    path = tmp_path / "a.npz"
    synced: list[int] = []
    real = dynlib.session.snapshot_file.os.fsync
    monkeypatch.setattr(dynlib.session.snapshot_file.os, "fsync", lambda f: (synced.append(f), real(f))[1])
    sim.export_snapshot(path)
    assert len(synced) == 2
    before = path.read_bytes()
    sim.run(T=3.0, resume=True)

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dynlib.session.snapshot_file.os, "fsync", fail)
    with pytest.raises(SnapshotError, match="No space left"):
        sim.export_snapshot(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_4_3_inspect_does_not_touch_the_session(tmp_path: Path) -> None:
    """Clause 4.3."""
    sim = neuron()
    sim.run(T=2.0)
    sim.export_snapshot(tmp_path / "a.npz")
    state = sim.state
    meta = sim.inspect_snapshot(tmp_path / "a.npz")
    assert (meta.t, meta.step, meta.pins) == (2.0, 20, sim.full_model.pins)
    assert sim.state is state


def test_4_4_import_replaces_the_state_and_clears_results(tmp_path: Path) -> None:
    """Clause 4.4."""
    sim, other = neuron(), neuron()
    sim.run(T=2.05, params={"I": 12.0})
    sim.export_snapshot(tmp_path / "a.npz")
    other.run(T=9.0, dt=0.05, record_vars=["u"])
    other.import_snapshot(tmp_path / "a.npz")
    assert other.state.same_bits(sim.state)
    assert len(other.results()) == 0
    assert other.state.nominal_dt == 0.1
    other.run(T=3.0, record_vars=["v"])
    assert other.results().t[0] == 2.05
    stranger = Sim(full("euler"))
    with pytest.raises(PinMismatchError, match="stepper: this session has 'euler', the state has 'rk4'"):
        stranger.import_snapshot(tmp_path / "a.npz")
    assert stranger.t == 0.0


def test_4_5_a_long_computation_goes_on_after_import(tmp_path: Path) -> None:
    """Clause 4.5: a checkpoint taken in one session continues in another."""
    single = neuron("rk45")
    single.run(T=200.0)
    t = 0.0
    while t < 200.0:
        sim = neuron("rk45")
        if t:
            sim.import_snapshot(tmp_path / "a.npz")
        t = min(t + 37.3, 200.0)
        sim.run(T=t, resume=True)
        sim.export_snapshot(tmp_path / "a.npz")
    assert np.array_equal(sim.state["base"], single.state["base"])
    assert np.array_equal(sim.state_vector(), single.state_vector())


def test_4_decision_trust(tmp_path: Path) -> None:
    """Decision "trust": a damaged file raises one clear error and leaves the session as it was."""
    sim = neuron("rk45")
    sim.run(T=7.7)
    path = tmp_path / "a.npz"
    sim.export_snapshot(path)
    good = path.read_bytes()
    state, rows = sim.state, len(sim.results())
    rng = np.random.default_rng(1)
    damaged = [b"", b"hello", good[:50]] + [good[:n] for n in range(0, len(good), 97)]
    for spot in rng.integers(0, len(good), 400):
        flipped = bytearray(good)
        flipped[spot] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            sim.inspect_snapshot(path)
            sim.import_snapshot(path)
        except SnapshotFileError:
            refused += 1
            assert len(sim.results()) == rows or sim.state is not state
        else:
            assert sim.state.same_bits(state)
    assert refused > 0.8 * len(damaged)
    assert sim.state.same_bits(state)


def test_6_typical_use() -> None:
    """Clause 6, typical use."""
    sim = dynlib.setup("builtin://ode/izhikevich")
    sim.run(T=2.0, record=True, tag="phase-1")
    sim.create_snapshot("phase-1", "after the first stimulus")
    sim.run(T=5.0, resume=True, tag="phase-2")
    assert [s.name for s in sim.results().segments] == ["phase-1", "phase-2"]
    whole = sim.raw_results()
    sim.reset("phase-1")
    sim.run(T=3.0, record=True, tag="phase-1-replay")
    replay = sim.raw_results()
    assert (replay.t[0], replay.t[-1]) == (2.0, 3.0)
    start = int(np.flatnonzero(whole.t == 2.0)[0])
    assert replay.data.tobytes() == whole.data[start : start + len(replay.t)].tobytes()


def test_6_examples_1_to_3() -> None:
    """Clause 6, the three branching examples."""
    sim = dynlib.setup("builtin://ode/izhikevich")
    sim.run(T=2.0, record=True, tag="baseline")
    sim.create_snapshot("after-baseline", "End of baseline run")
    sim.reset("after-baseline")
    sim.assign(I=15.0)
    sim.run(T=3.0, record=True, tag="modified-current")
    assert sim.results().t[0] == 2.0
    assert sim.param_dict()["I"] == 15.0

    sim = dynlib.setup("builtin://ode/izhikevich")
    sim.run(T=2.0, record=True, tag="phase-1")
    sim.create_snapshot("phase-1-end", "End of phase 1")
    sim.reset("phase-1-end")
    sim.assign(a=0.02, b=0.25)
    sim.run(T=5.0, resume=True, tag="phase-2-modified")
    assert sim.t == 5.0
    assert [s.name for s in sim.results().segments] == ["phase-2-modified"]

    sim = dynlib.setup("builtin://ode/izhikevich")
    sim.run(T=2.0, record=True, tag="initial")
    sim.assign(I=20.0, clear_history=True)
    sim.run(T=3.0, record=True, tag="new-segment")
    assert [s.name for s in sim.results().segments] == ["new-segment"]
    assert sim.results().t[0] == 2.0


def test_every_clause_has_a_test() -> None:
    """The docstrings above name every numbered clause."""
    text = " ".join(str(f.__doc__) for name, f in globals().items() if name.startswith("test_"))
    wanted = [f"1.{k}" for k in range(1, 6)] + [f"2.{k}" for k in range(1, 5)] + [f"3.{k}" for k in range(1, 11)]
    wanted += [f"4.{k}" for k in range(1, 6)] + ["5.1", "5.2", "Clause 6"]
    assert [clause for clause in wanted if not re.search(rf"{re.escape(clause)}(?!\d)", text)] == []
