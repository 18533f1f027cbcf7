"""The benchmark suite is whole, and runs from end to end."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent.parent))

from benchmarks.suite import environments, fresh, measure, pictures, report, rows, worker
from benchmarks.suite.peers import dynlib as ours

ROOT = Path(__file__).parent.parent
HERE = ("c", "dynlib")


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.suite", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def run_quickly(folder: Path, *more: str) -> dict[str, Any]:
    file = folder / "numbers.json"
    done = suite(
        "--quick", "--only", "lorenz-rk4,logistic", "--peers", "c,dynlib,heyoka", "--environments", str(folder),
        "--json", str(file), "--docs", str(folder), "--pictures", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {**json.loads(file.read_text("utf-8")), "printed": done.stdout}


def test_every_row_has_a_name_of_its_own_and_is_done_by_dynlib() -> None:
    names = [row.name for row in rows.ROWS]
    assert len(set(names)) == len(names)
    for row in rows.ROWS:
        if row.kind == "fresh":
            assert fresh.PROGRAMS[row.name]["dynlib"], row.name
        else:
            assert ours.WORKS[row.name](row.parameters), row.name
            assert row.agree > 0.0, row.name
        assert (row.kind == "to_error") == math.isfinite(row.target), row.name
        assert row.reference is None or all(map(math.isfinite, row.reference)), row.name
        assert not (row.quick.keys() | row.checked.keys()) - row.parameters.keys(), row.name
    assert set(ours.WORKS) | set(fresh.PROGRAMS) == set(names)


def test_every_peer_has_an_adapter_an_environment_a_name_and_a_colour() -> None:
    folder = ROOT / "benchmarks" / "suite" / "peers"
    assert {p.stem for p in folder.glob("*.py")} == {"__init__", *measure.PEERS}
    assert set(environments.PEERS) == set(measure.PEERS) - set(HERE)
    assert set(report.NAMES) == set(measure.PEERS)
    assert set(pictures.COLOURS) == set(pictures.MARKERS) == set(measure.PEERS) - {"c"}


def test_every_program_for_a_fresh_process_compiles() -> None:
    for row, peers in fresh.PROGRAMS.items():
        for peer, variants in peers.items():
            assert peer in measure.PEERS
            for variant, text in variants.items():
                compile(fresh.HEAD + text, f"{row}/{peer}/{variant}", "exec")


def test_values_are_compared_by_their_worst_component() -> None:
    assert worker.distance([1.0, 3.0], [1.0, 1.0], 1.0) == 1.0
    assert worker.distance([1.0], [1.0, 1.0], 1.0) == math.inf
    assert worker.distance([math.nan], [1.0], 1.0) == math.inf
    assert worker.distance(None, [1.0], 1.0) == math.inf


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_quick_run_measures_compares_and_writes_the_page(tmp_path: Path) -> None:
    found = run_quickly(tmp_path)
    assert found["missing"] == ["heyoka"]
    results = {(r["row"], r["peer"], r["variant"]): r for row in found["rows"].values() for r in row["results"]}
    assert {row for row, _, _ in results} == {"lorenz-rk4", "lorenz-rk4-recorded", "logistic-end", "logistic-orbits"}
    assert all(0.0 < r["amount"] < math.inf for r in results.values())
    for key in ("Sim", "kernel alone"):  # the same formulas under the same contract: the bits of C
        assert results["lorenz-rk4", "dynlib", key]["difference"] == 0.0
        assert results["lorenz-rk4-recorded", "dynlib", key]["difference"] == 0.0
    page = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert "Lorenz RK4, every step recorded" in page
    assert "left out: heyoka" in page
    assert (tmp_path / "benchmarks-ratios.svg").exists()
    again = run_quickly(tmp_path, "--keep")
    assert again["rows"] == found["rows"]
    assert "measured in" not in again["printed"]


def test_names_that_do_not_exist_are_refused() -> None:
    for arguments, word in ((("--only", "nothing"), "--list"), (("--peers", "nobody"), "nobody")):
        done = suite(*arguments)
        assert done.returncode == 1
        assert word in done.stderr
