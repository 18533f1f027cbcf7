"""Snapshots as a tree: addresses, lineage, forks, differences, edits, adoption, and files that stand for themselves."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from session.kit import content, digest_of, forged, neuron, parts, ring, unchanged

import dynlib
from dynlib import ConfigError, PinMismatchError, Sim, SnapshotError, SnapshotFileError, UnknownNameError
from dynlib.session.difference import ulp_distance
from dynlib.session.lineage import Edit, Recorder, Stretch


def study() -> Sim:
    """`initial` → `a` → {`b`, `c` → `d`}, standing behind `d`."""
    sim = ring("rk45")
    sim.run(T=1.03)
    sim.create_snapshot("a")
    sim.assign(k=0.5)
    sim.run(T=2.0, resume=True)
    sim.create_snapshot("b")
    sim.reset("a")
    sim.assign({"g[1]": 3.0, "w": 0.25})
    sim.run(T=1.5, rtol=1e-7)
    sim.create_snapshot("c")
    sim.run(T=3.0, resume=True)
    sim.create_snapshot("d", "last")
    sim.run(T=3.5, resume=True)
    return sim


def test_the_tree_shows_how_each_came_from_another() -> None:
    tree = study().tree()
    names = [b.moment.name for b in tree.branches]
    parents = {b.moment.name: None if b.parent is None else names[b.parent] for b in tree.branches}
    assert parents == {"initial": None, "a": "initial", "b": "a", "c": "a", "d": "c", "now": "d"}
    lines = str(tree).splitlines()
    assert [line.split("  t = ")[0] for line in lines] == [
        "initial", "└─ a", "   ├─ b", "   └─ c", "      └─ d", "         └─ now",
    ]  # fmt: skip
    assert "set k: 0.7 → 0.5" in lines[2] or "→ 0.5" in lines[2]
    assert "<pre>" in tree._repr_html_()


def test_edits_are_logged_with_old_and_new_values_and_what_they_dropped() -> None:
    sim = study()
    log = sim.edits()
    assert [[(name, new) for name, _, new in e.changes] for e in log] == [
        [("w", 0.25), ("g[1]", 3.0)],
        [("option.rtol", 1e-7)],
    ]
    assert log[0].changes[1][1] == ring().param_dict()["g"][1]
    assert {"pending", "k1", "h"} <= set(log[0].dropped)
    assert log[1].dropped == (), "an option drops nothing"
    assert (log[0].t, log[0].restart, log[1].restart) == (1.03, True, False)


def test_an_edit_names_only_what_it_changed() -> None:
    sim = ring("rk45")
    sim.assign(k=0.2)
    assert sim.edits()[0].dropped == (), "nothing had happened that could be given up"
    sim.run(T=1.0)
    before = sim.state
    sim.assign(k=0.3)
    changed = {f.name for f in before.layout.fields if before[f.name].tobytes() != sim.state[f.name].tobytes()}
    assert set(sim.edits()[-1].dropped) == {"pending", "begun", "k1", "h", "error_before", "error_earlier", "k1_valid"}
    assert changed == {*sim.edits()[-1].dropped, "params", "base", "t_base", "time_shift", "n_anchor", "lag_w"}
    sim.run(T=5.0, t0=-0.0)
    assert sim.replay().ok, "also where only the sign of a zero was set"


def test_an_edit_drops_the_history_of_a_multistep_method() -> None:
    sim = ring("ab3")
    sim.run(T=1.0)
    sim.assign(k=0.1)
    (edit,) = sim.edits()
    assert {"f1", "f2", "history"} <= set(edit.dropped)
    assert not sim.state["history"].any()


def test_a_long_story_is_told_shortly() -> None:
    sim = ring("euler")
    sim.run(T=0.05)
    for k in range(100):
        sim.assign(k=0.1 + 0.001 * k)
    sim.create_snapshot("far")
    line = str(sim.tree()).splitlines()[1]
    assert "run t = 0 … 0.05" in line
    assert "… 95 more …; set k: 0.196 → 0.197; " in line
    assert len(sim.edits()) == 100


def test_addresses_are_of_the_content() -> None:
    one, two = study(), study()
    for name in ("initial", "a", "b", "c", "d"):
        assert one.snapshot(name).id == two.snapshot(name).id
    ids = {one.snapshot(name).id for name in ("initial", "a", "b", "c", "d")}
    assert len(ids) == 5
    other = ring("rk45")
    other.run(T=1.03)
    assert other.create_snapshot("another name", "other words").id == one.snapshot("a").id
    other.assign(k=0.5)
    assert other.create_snapshot("x").id != one.snapshot("a").id


def test_stops_leave_no_mark_in_the_lineage() -> None:
    """A run in three pieces is the same content as one run, so it has the same address."""
    one, three = ring("rk45"), ring("rk45")
    one.run(T=3.0)
    for k, t in enumerate((0.77, 1.9, 3.0)):
        three.run(T=t, resume=k > 0)
    assert one.create_snapshot("x").id == three.create_snapshot("y").id
    deeds = three.snapshot("y").trail.deeds
    assert [type(d) for d in deeds] == [Recorder, Stretch]


def test_short_runs_that_add_up_are_kept_for_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynlib.runtime.trace.PAUSE_SECONDS", 1e-9)
    sim, whole = ring("rk45"), ring("rk45")
    whole.run(T=5.0)
    for k in range(1, 40):
        sim.run(T=0.123 * k, resume=k > 1, record=False)
    assert len(sim._traces[-1].states) == 40
    res = whole.results()
    for k in range(1, len(res), 3):
        if res.t[k] < sim.t:
            assert sim.at(float(res.t[k]))["w"] == res["w"][k]
    assert sim.at(0.123 * 7 - 0.001)["w"] == whole.at(0.123 * 7 - 0.001)["w"]


def test_a_long_history_costs_a_reference_per_deed() -> None:
    sim = ring("euler")
    sim.run(T=0.05)
    for k in range(2000):
        sim.create_snapshot(f"s{k}")
    assert len(sim.lineage().parts) == 2002
    assert len(sim.tree().branches) == 2001
    assert sim.snapshot("s1999").id


def test_a_fork_is_independent_and_knows_where_it_comes_from() -> None:
    sim = ring("rk45")
    sim.run(T=1.03)
    sim.add_preset("p", params={"k": 0.2})
    with unchanged(ring()):
        branch = sim.fork("branch", "here they part")
    assert (branch.state is sim.state, branch.t, len(branch.results())) == (True, 1.03, 0)
    assert branch.list_presets() == ["p"]
    branch.assign(k=0.1)
    branch.run(T=2.0, resume=True)
    branch.create_snapshot("theirs")
    sim.run(T=2.0, resume=True)
    sim.create_snapshot("ours")
    assert [s["name"] for s in sim.list_snapshots()] == ["initial", "branch", "ours"]
    assert [s["name"] for s in branch.list_snapshots()] == ["initial", "branch", "theirs"]
    whole = ring("rk45")
    whole.run(T=2.0)
    assert sim.state.same_bits(whole.state)
    names = [b.moment.name for b in sim.tree(branch).branches]
    assert sorted(names) == ["branch", "initial", "ours", "theirs"]
    with pytest.raises(SnapshotError, match="'branch' exists already"):
        sim.fork("branch")


def test_rename_and_delete() -> None:
    sim = study()
    before = sim.snapshot("b").id
    sim.rename_snapshot("b", "beta")
    assert (sim.snapshot("beta").id, sim.snapshot("beta").name) == (before, "beta")
    assert [s["name"] for s in sim.list_snapshots()] == ["initial", "a", "beta", "c", "d"]
    sim.delete_snapshot("a")
    tree = sim.tree()
    names = [b.moment.name for b in tree.branches]
    assert {b.moment.name: b.parent is not None and names[b.parent] for b in tree.branches}["c"] == "initial"
    assert sim.replay("c").ok
    for name in ("a", "nope"):
        with pytest.raises(UnknownNameError):
            sim.delete_snapshot(name)
        with pytest.raises(UnknownNameError):
            sim.rename_snapshot(name, "x")
    for call in (lambda: sim.delete_snapshot("initial"), lambda: sim.rename_snapshot("initial", "x"),
                 lambda: sim.rename_snapshot("c", "d"), lambda: sim.rename_snapshot("c", "")):  # fmt: skip
        with pytest.raises(SnapshotError):
            call()


def test_names_in_lineages_follow_and_states_of_deleted_snapshots_are_given_up() -> None:
    sim = study()
    fork = sim.fork("f")
    ids = {name: sim.snapshot(name).id for name in ("c", "d")}
    sim.rename_snapshot("a", "alpha")
    sim.delete_snapshot("c")
    names = [m.name for _, m in sim.lineage().parts]
    assert names == ["initial", "alpha", "c", "d", "f", "current"]
    assert [m.name for _, m in fork.lineage().parts][:3] == ["initial", "a", "c"]
    assert sim.snapshot("d").id == ids["d"]
    assert {type(m).__name__ for _, m in sim.lineage("d").parts} == {"Snapshot", "Ancestor"}
    assert sim.lineage("d").parts[2][1].id == ids["c"]
    assert sim.replay().ok
    assert sim.diff("b", "d").common is sim.snapshot("alpha")


def test_a_session_under_another_model_forks_and_runs_from_that_model_s_start() -> None:
    sim, full = ring("rk4"), neuron().full_model
    sim.run(T=1.0)
    own = sim.full_model
    sim.full_model = full
    fork = sim.fork("f")
    assert not fork.can_resume()[0]
    fork.run(T=2.0)
    assert fork.replay().ok
    sim.full_model = own
    sim.run(T=2.0)
    whole = ring("rk4")
    whole.run(T=2.0)
    assert sim.state.same_bits(whole.state)


def test_the_difference_of_two_moments() -> None:
    sim = study()
    with unchanged(sim):
        found = sim.diff("b", "c")
    assert {r.name for r in found.changed} >= {"k", "g[1]", "rtol", "t"}
    assert found["k"].ulps not in (0, None)
    assert found["k"].absolute == abs(found["k"].a - found["k"].b)
    assert found["g[0]"].ulps == 0
    assert found.common is not None
    assert found.common.name == "a"
    assert any(isinstance(d, Edit) for d in found.deeds_a)
    assert "nearest common ancestor: a" in str(found)
    assert sim.diff("d").deeds_a == ()
    assert sim.diff("a", "a").changed == ()


def test_ulps_count_the_floats_in_between() -> None:
    sim = ring()
    sim.create_snapshot("x")
    sim.assign(k=float(np.nextafter(np.nextafter(sim.param_dict()["k"], 9.0), 9.0)))
    assert sim.diff("x")["k"].ulps == 2
    sim.assign(w=-0.0)
    sim.create_snapshot("minus")
    sim.assign(w=0.0)
    assert [(r.name, r.ulps, r.absolute) for r in sim.diff("minus").changed] == [("w", 1, 0.0)], "one bit differs"
    with pytest.raises(UnknownNameError, match="unknown value 'ww'; did you mean 'w'"):
        sim.diff("minus")["ww"]


def test_distances_in_ulps() -> None:
    nan = math.nan
    one = np.array([0.0, -0.0, 1.0, -1.0, nan, nan, -5e-324])
    two = np.array([-0.0, -0.0, np.nextafter(1.0, 2.0), -1.0, nan, 1.0, 5e-324])
    assert ulp_distance(one, two).tolist() == [1, 0, 1, 0, 0, -1, 3]
    assert ulp_distance(two, one).tolist() == [1, 0, 1, 0, 0, -1, 3]
    assert ulp_distance(
        np.float32([1.0, -0.0]), np.float32([np.nextafter(np.float32(1), np.float32(2)), 0.0])
    ).tolist() == [1, 1]


# -- files that stand for themselves -------------------------------------------------------------------------------


def test_a_file_is_enough_to_go_on(tmp_path: Path) -> None:
    """In another process, in another folder, with nothing but the file."""
    sim = study()
    sim.export_snapshot(tmp_path / "a.npz")
    script = (
        "import sys, dynlib\n"
        "sim = dynlib.open_snapshot(sys.argv[1], jit=False)\n"
        "sim.run(T=6.0, resume=True)\n"
        "sim.export_snapshot(sys.argv[2])\n"
    )
    (tmp_path / "empty").mkdir()
    subprocess.run([sys.executable, "-c", script, "../a.npz", "b.npz"], cwd=tmp_path / "empty", check=True, timeout=120)
    sim.run(T=6.0, resume=True)
    sim.import_snapshot(tmp_path / "empty" / "b.npz")
    other = study()
    other.run(T=6.0, resume=True)
    assert sim.state.same_bits(other.state)
    assert [m.name for _, m in sim.lineage().parts][:4] == ["initial", "a", "c", "d"]
    assert sim.replay().ok


def test_an_imported_lineage_goes_on(tmp_path: Path) -> None:
    sim = study()
    sim.export_snapshot(tmp_path / "d.npz", source="snapshot", name="d")
    other = ring("rk45")
    other.import_snapshot(tmp_path / "d.npz")
    other.assign(k=0.9)
    other.run(T=5.0, resume=True)
    other.create_snapshot("e")
    assert [m.name for _, m in other.lineage("e").parts] == ["initial", "a", "c", "d", "initial", "e"]
    assert other.lineage("e").parts[3][1].id == sim.snapshot("d").id
    assert other.replay("e").ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["document"]["equations"].update(expr="x"), "the model in it cannot be read"),
        (lambda m: m["document"]["params"].update(extra=1.0), "not the one that its state belongs to"),
        (lambda m: m["document"]["sim"].update(stepper="nope") or m["pins"].update(stepper="nope"), "nope"),
        (lambda m: m.update(document=[]), "wrong kind"),
        (lambda m: m.update(lineage=None), "lineage is malformed"),
        (lambda m: m["lineage"].update(more=1), "lineage is malformed"),
        (lambda m: m["lineage"].update(moments=[]), "it has no moments"),
        (lambda m: m["lineage"]["moments"][0].update(state="00"), "a moment is malformed"),
        (lambda m: m["lineage"]["moments"][-1].update(t=9.0), "differ between metadata and lineage"),
        (lambda m: m["lineage"]["moments"][-1].update(state="0" * 64), "leads to another state"),
        (lambda m: m["lineage"]["moments"][1]["deeds"].append({"what": "eval"}), "no known kind"),
        (lambda m: m["lineage"]["moments"][1]["deeds"][0].update(interval=-1), "a count is malformed"),
        (lambda m: m["lineage"]["moments"][1]["deeds"][1].update(t_to="x"), "a number is malformed"),
        (lambda m: m["lineage"]["moments"][1]["deeds"][1].update(status="FINE"), "a run is malformed"),
        (lambda m: m["lineage"]["root"].update(dt=True), "a number is malformed"),
        (lambda m: m["lineage"]["root"].update(options=[]), "the root is malformed"),
    ],
)
def test_a_forged_story_is_refused(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "a.npz"
    study().export_snapshot(path)
    meta, arrays = parts(path)
    change(meta)  # type: ignore[operator]
    meta["digest"] = digest_of(meta, arrays)
    path.write_bytes(forged(meta, arrays))
    with pytest.raises(DYNLIB_FILE_ERRORS, match=message):
        dynlib.open_snapshot(path, jit=False)


DYNLIB_FILE_ERRORS = (SnapshotFileError, PinMismatchError)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_file_carries_the_results_if_asked(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "a.npz"
    sim = ring("rk4", dtype)
    sim.run(T=4.0, record_vars=["w", "u[2]"], tag="first")
    sim.run(T=8.02, resume=True)
    sim.export_snapshot(path)
    with pytest.raises(SnapshotFileError, match="it carries no results"):
        dynlib.read_results(path)
    sim.export_snapshot(path, results=True)
    res = dynlib.read_results(path)
    assert content(res.raw) == content(sim.raw_results())
    assert res.segments == sim.results().segments
    assert res.raw.log.names == sim.results().raw.log.names
    assert res.segment("first")["w"].tobytes() == sim.results().segment("first")["w"].tobytes()
    other = ring("rk4", dtype)
    other.import_snapshot(path)
    assert len(other.results()) == 0, "an import clears what is recorded"
    assert other.state.same_bits(sim.state)


def spoil(name: str, array: object) -> object:
    return lambda m, a: a.update({f"results/{name}": array})


@pytest.mark.parametrize(
    "change",
    [
        lambda m, a: m.update(results=None),
        lambda m, a: m.update(results=3),
        lambda m, a: m["results"].update(columns=["nope"]),
        lambda m, a: m["results"].update(columns=["w", "w"]),
        lambda m, a: m["results"].update(columns=[["w"]]),
        lambda m, a: m["results"].update(segments=3),
        lambda m, a: m["results"]["segments"][0].update(rows=[0, 10**6]),
        lambda m, a: m["results"]["segments"][0].update(rows=[0, True]),
        lambda m, a: m["results"]["segments"][0].update(status="FINE"),
        lambda m, a: m["results"]["segments"][0].pop("tag", None) or m["results"]["segments"][0].pop("name"),
        lambda m, a: a.pop("results/data"),
        spoil("data", np.zeros(5)),
        spoil("step", np.zeros(5, np.int64)),
        spoil("t", np.zeros(81, np.int64)),
        spoil("log_event", np.full(3, 99)),
    ],
)
def test_forged_results_are_refused(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "a.npz"
    sim = ring("rk4")
    sim.run(T=4.0)
    sim.export_snapshot(path, results=True)
    meta, arrays = parts(path)
    change(meta, arrays)
    meta["arrays"] = sorted(arrays)
    meta["digest"] = digest_of(meta, arrays)
    path.write_bytes(forged(meta, arrays))
    with pytest.raises(SnapshotFileError):
        dynlib.read_results(path)


# -- adoption ------------------------------------------------------------------------------------------------------


def changed_model() -> dynlib.FullModel:
    model = dynlib.ode_model(
        "second",
        states={"u[4]": 9.0, "speed": 9.0, "fresh": 0.125},
        params={"k": 9.0, "h": 0.5},
        equations={"u[i]": "-k*u[i]", "speed": "-h*speed", "fresh": "lag_fresh(2) - fresh"},
    )
    return dynlib.build(model, stepper="rk4", dt=0.05, jit=False)


def test_adoption_carries_values_by_name_and_says_what_became_of_each(tmp_path: Path) -> None:
    old = ring("rk45")
    old.run(T=1.03)
    snapshot = old.create_snapshot("x")
    old.export_snapshot(tmp_path / "x.npz")
    for source in (snapshot, tmp_path / "x.npz"):
        sim = Sim(changed_model())
        with unchanged(sim):
            plan = sim.adopt_snapshot(source, rename={"w": "speed"}, fill={"h": 0.75}, dry_run=True)
        report = sim.adopt_snapshot(source, rename={"w": "speed"}, fill={"h": 0.75})
        assert report == plan
        assert (report.kept, report.renamed) == (("u", "k"), (("w", "speed"),))
        assert report.filled == (("fresh", 0.125, "the model's own"), ("h", 0.75, "given"))
        assert report.dropped == ("g",)
        assert "renamed  w → speed" in str(report)
        assert (sim.t, sim.step) == (1.03, old.step)
        assert sim.state_dict()["u"].tolist() == old.state_dict()["u"].tolist()
        assert (sim.state_dict()["speed"], sim.param_dict()["h"]) == (old.state_dict()["w"], 0.75)
        assert not sim.lineage().root.exact
        assert "adopted from" in sim.lineage().root.note
        sim.run(T=2.0, resume=True)
        assert sim.t == 2.0
        with pytest.raises(SnapshotError, match="its root is not exact: adopted from"):
            sim.replay()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"rename": {"ww": "speed"}}, "unknown name to rename 'ww'; did you mean 'w'"),
        ({"rename": {"w": "sped"}}, "unknown new name 'sped'; did you mean 'speed'"),
        ({"fill": {"hh": 1.0}}, "unknown name to fill 'hh'"),
        ({"rename": {"u": "speed"}}, "'u' has 4 value"),
        ({"rename": {"w": "speed", "s": "speed"}}, "unknown name to rename 's'"),
        ({"rename": {"w": "h"}}, "only one of 'w' and 'h' is a state; give fill= for 'h'"),
        ({"rename": {"k": "speed"}}, "only one of 'k' and 'speed' is a state"),
        ({"fill": {"h": "x"}}, "'h' takes a number, not 'x'"),
        ({"fill": {"h": None}}, "finite"),
        ({"fill": {"h": [1.0, 2.0]}}, r"'h' takes 1 value\(s\), got shape \(2,\)"),
        ({"fill": {"u": [1.0, 2.0]}}, "'u' takes 4 value"),
        ({"fill": {"h": float("nan")}}, "finite"),
    ],
)
def test_an_impossible_adoption_changes_nothing(how: dict[str, dict[str, object]], message: str) -> None:
    snapshot = ring().create_snapshot("x")
    sim = Sim(changed_model())
    with unchanged(sim), pytest.raises(ConfigError, match=message):
        sim.adopt_snapshot(snapshot, **how)  # type: ignore[arg-type]


def test_values_are_adopted_from_a_file_of_another_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynlib.session import full_model

    old = ring("rk45")
    old.run(T=1.0)
    old.export_snapshot(tmp_path / "x.npz")
    monkeypatch.setattr(full_model, "NUMERICS_REVISION", 99)
    sim = Sim(changed_model())
    assert "u" in sim.adopt_snapshot(tmp_path / "x.npz").kept
    with pytest.raises(PinMismatchError, match="numerics_revision"):
        dynlib.open_snapshot(tmp_path / "x.npz", jit=False)
    assert dynlib.open_snapshot(tmp_path / "x.npz", jit=False, accept=("numerics_revision",)).t == 1.0


def test_a_new_name_wins_over_the_same_name_there() -> None:
    old = ring()
    old.assign({"w": 0.625, "u": [1.0, 2.0, 3.0, 4.0]})
    names = {"u[4]": 9.0, "w": 9.0, "v[4]": 8.0}
    model = dynlib.ode_model("third", states=names, params={"k": 1.0},
                             equations={"u[i]": "-k", "w": "-k", "v[i]": "-k"})  # fmt: skip
    sim = dynlib.setup(model, stepper="rk4", dt=0.1, jit=False)
    report = sim.adopt_snapshot(old.create_snapshot("x"), rename={"g": "k"}, fill={"k": 2.5, "v": [1.0, 2.0, 3.0, 4.0]})
    assert report.filled == (("v", 1.0, "given"), ("k", 2.5, "given"))
    assert sim.state_dict()["v"].tolist() == [1.0, 2.0, 3.0, 4.0]
    pair = [dynlib.ode_model("p", states=s, equations=dict.fromkeys(s, "-1"))
            for s in ({"a": 1.0, "b": 2.0}, {"b": 9.0}, {"b": 7.0, "a": 8.0})]  # fmt: skip
    snapshot = dynlib.setup(pair[0], stepper="rk4", dt=0.1, jit=False).create_snapshot("x")
    one, two = (dynlib.setup(each, stepper="rk4", dt=0.1, jit=False) for each in pair[1:])
    report = one.adopt_snapshot(snapshot, rename={"a": "b"})
    assert (report.renamed, report.dropped, one.state_dict()) == ((("a", "b"),), ("b",), {"b": 1.0})
    two.adopt_snapshot(snapshot, rename={"a": "b", "b": "a"})
    assert two.state_dict() == {"b": 1.0, "a": 2.0}


def test_a_value_too_large_for_the_dtype_is_not_adopted() -> None:
    large, narrow = (
        dynlib.setup(
            dynlib.ode_model("x", states={"x": value}, equations={"x": "-1"}, dtype=dtype),
            stepper="rk4", dt=0.1, jit=False,
        )
        for value, dtype in ((1e300, "float64"), (1.0, "float32"))
    )  # fmt: skip
    with unchanged(narrow), pytest.raises(ConfigError, match="finite, also as float32"):
        narrow.adopt_snapshot(large.create_snapshot("x"))


def test_a_file_from_another_environment_is_of_the_same_numerics(tmp_path: Path) -> None:
    sim = ring("rk45")
    sim.export_snapshot(tmp_path / "a.npz")
    assert sim.compat_check(tmp_path / "a.npz").level == "bitwise"
    meta, arrays = parts(tmp_path / "a.npz")
    assert set(meta["environment"]) == {
        "library", "python", "numpy", "llvmlite", "libc", "system", "machine", "kernel",
    }  # fmt: skip
    meta["environment"]["libc"] = "musl 1.2"
    meta["digest"] = digest_of(meta, arrays)
    (tmp_path / "a.npz").write_bytes(forged(meta, arrays))
    found = sim.compat_check(tmp_path / "a.npz")
    assert (found.ok, found.level) == (True, "same-numerics")
    assert found.environment["libc"][1] == "musl 1.2"
    sim.import_snapshot(tmp_path / "a.npz")


def test_a_tree_is_drawn() -> None:
    import matplotlib

    matplotlib.use("agg")
    from dynlib import plot

    sim = study()
    ax = plot.tree(sim.tree())
    words = {text.get_text() for text in ax.texts}
    assert {"initial", "a", "b", "c", "d", "now", "k = 0.5"} <= words
    ax.figure.savefig("/dev/null", format="png")
    sim.create_snapshot("before")
    sim.assign(k=0.125)
    sim.create_snapshot("behind")
    assert "before\nbehind" in {text.get_text() for text in plot.tree(sim.tree()).texts}, "no two names in one place"


def test_levels_of_agreement() -> None:
    sim = ring("rk45")
    assert sim.compat_check(ring("rk45").create_snapshot("x")).level == "bitwise"
    assert sim.compat_check(ring("rk4").create_snapshot("x")).level == "structure-only"
    assert sim.compat_check(neuron().create_snapshot("x")).level == "incompatible"
