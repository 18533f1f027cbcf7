"""`dynlib snap`: files that carry their models are looked at, compared and shown as a family, without compilation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dynlib
from dynlib.cli.main import main

NEURON = "builtin://ode/izhikevich"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study: rest.npz, and from there strong.npz and weak.npz with other currents; a run directory beside them."""
    monkeypatch.chdir(tmp_path)
    sim = dynlib.setup(NEURON, stepper="rk4", jit=False)
    sim.run(T=5.0)
    sim.create_snapshot("after-rest")
    sim.export_snapshot("rest.npz", source="snapshot", name="after-rest")
    for name, current in (("strong", 15.0), ("weak", 4.0)):
        sim.reset("after-rest")
        sim.assign(I=current)
        sim.run(T=8.0)
        sim.export_snapshot(f"{name}.npz")
    other = dynlib.setup(NEURON, stepper="rk4", jit=False)
    other.run(T=8.0, store="run")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["snap", *arguments]) == 0
    return capsys.readouterr().out


def test_diff_shows_values_configuration_and_lineage(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "diff", "strong.npz", "weak.npz")
    assert "parameter I                                 15                      4         11" in text
    assert "state     v" in text
    assert "further values are equal" in text
    assert "nearest common ancestor: after-rest" in text
    assert "strong.npz: set I: 10 → 15" in text
    assert "weak.npz: run t = 5 … 8 (30 steps, DONE)" in text


def test_diff_as_json_has_every_digit(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "diff", "rest.npz", "run", "--json"))
    rows = {row["name"]: row for row in found["changed"]}
    a, b = dynlib.open_snapshot("rest.npz", jit=False), dynlib.open_run("run").results()
    assert (rows["v"]["a"], rows["v"]["b"]) == (a.state_dict()["v"], b["v"][-1])
    assert rows["v"]["ulps"] > 0
    assert rows["v"]["absolute"] == abs(rows["v"]["a"] - rows["v"]["b"])
    assert found["common"] == "initial"
    assert [deed["what"] for deed in found["deeds_b"]] == ["record", "run"]
    assert json.loads(said(capsys, "diff", "rest.npz", "rest.npz", "--json"))["changed"] == []


def test_diff_of_other_models_has_gaps(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "builtin://map/henon", "--N", "3", "--no-jit", "--quiet", "--snapshot", "map.npz"])
    found = json.loads(said(capsys, "diff", "rest.npz", "map.npz", "--json"))
    rows = {row["name"]: row for row in found["changed"]}
    assert rows["u"]["b"] is None
    assert rows["u"]["ulps"] is None
    assert found["pins"]["stepper"] == ["rk4", "map"]
    assert "nearest common ancestor: none" in said(capsys, "diff", "rest.npz", "map.npz")


def test_tree_of_several_files(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "tree", "strong.npz", "rest.npz", "run", "weak.npz")
    initial, *below = text.splitlines()
    assert initial.startswith("initial  t = 0, step 0, ")
    assert [line[:14] for line in below] == ["├─ rest.npz  t", "│  ├─ strong.n", "│  └─ weak.npz", "└─ run  t = 8,"]
    assert "← set I: 10 → 4; run t = 5 … 8 (30 steps, DONE)" in below[2]
    same = said(capsys, "tree", "weak.npz", "./weak.npz")
    assert "└─ weak.npz = ./weak.npz  t = 8, step 80" in same
    assert "└─ after-rest  t = 5" in same


def test_a_run_directory_stands_for_its_last_state(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "info", "run", "--json") == said(capsys, "info", "run/end.npz", "--json")
    assert "whole: run/end.npz, 'izhikevich' at t = 8, step 80" in said(capsys, "verify", "run")
    assert "further values are equal" in said(capsys, "diff", "run/start.npz", "run/end.npz")


def test_info(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "info", "weak.npz")
    assert "\nmodel                izhikevich\n" in text
    assert "\n  stepper            rk4\n" in text
    assert "set I: 10 → 4" in text
    facts = json.loads(said(capsys, "info", "weak.npz", "--json"))
    assert (facts["t"], facts["step"], facts["pins"]["stepper"]) == (8.0, 80, "rk4")
    assert [m["name"] for m in facts["lineage"]["moments"]] == ["initial", "after-rest", "current"]
    store = json.loads(said(capsys, "info", "run", "--json"))["store"]
    assert (store["rows"], store["columns"]) == (81, ["v", "u"])


def test_nothing_is_compiled_to_compare(files: Path) -> None:
    code = (
        "import sys, dynlib.cli.main as m\n"
        "m.main(['snap', 'diff', 'strong.npz', 'weak.npz']); m.main(['snap', 'tree', 'strong.npz', 'run'])\n"
        "print('llvmlite.binding' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize("action", ["info", "verify", "diff", "tree"])
def test_what_is_no_snapshot(action: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "empty.npz").write_bytes(b"")
    (files / "folder").mkdir()
    more = ["rest.npz"] if action == "diff" else []
    for name, message in (
        ("empty.npz", "empty.npz is not a usable snapshot file: it is empty"),
        ("nowhere.npz", "there is no file nowhere.npz"),
        ("folder", "folder has no checkpoint that is whole"),
    ):
        assert main(["snap", action, *more, name]) == 2
        assert message in capsys.readouterr().err
