"""The command line, in this process and once in its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dynlib
from dynlib.cli.main import main

NEURON = "builtin://ode/izhikevich"


def test_run_writes_results_and_snapshots_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (str(tmp_path / name) for name in ("a.npz", "b.npz", "c.npz"))
    options = ["--no-jit", "--stepper", "rk4"]
    assert main(["run", NEURON, "--T", "5.03", "--set", "I=15", "--snapshot", a, *options]) == 0
    assert "DONE" in capsys.readouterr().out
    assert main(["run", NEURON, "--T", "9", "--from", a, "--snapshot", b, "--quiet", *options]) == 0
    assert main(["run", NEURON, "--T", "9", "--set", "I=15", "--record", "v", "--snapshot", c, *options]) == 0
    with np.load(b) as split, np.load(c) as single:
        assert split["y"].tobytes() == single["y"].tobytes()
    out = tmp_path / "r.csv"
    assert main(["run", NEURON, "--T", "2", "--record", "v", "--out", str(out), *options]) == 0
    assert out.read_text().splitlines()[0] == "t,step,v"


def test_models_and_steppers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "validate", NEURON]) == 0
    assert main(["model", "show", NEURON]) == 0
    assert main(["model", "show", NEURON, "--source"]) == 0
    assert main(["model", "list"]) == 0
    assert main(["steppers", "list", "--kind", "ode"]) == 0
    text = capsys.readouterr().out
    for wanted in ("valid: ode", "spike", "def kernel(", "builtin://map/henon", "Dormand"):
        assert wanted in text


def test_snapshots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "a.npz")
    main(["run", NEURON, "--T", "1", "--snapshot", path, "--no-jit", "--quiet"])
    assert main(["snap", "info", path]) == 0
    assert main(["snap", "verify", path, "--model", NEURON]) == 0
    assert "whole" in capsys.readouterr().out
    assert main(["snap", "verify", path, "--model", "builtin://ode/lorenz"]) == 2
    assert "structure" in capsys.readouterr().err
    Path(path).write_bytes(Path(path).read_bytes()[:-40])
    assert main(["snap", "verify", path]) == 2


def test_a_file_with_observers_fits_its_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "a.npz")
    sim = dynlib.setup(NEURON, jit=False, observers=[dynlib.running_mean("v")])
    sim.run(T=1.0)
    sim.export_snapshot(path)
    assert main(["snap", "verify", path, "--model", NEURON]) == 0
    assert "fits" in capsys.readouterr().out


def test_a_snapshot_carries_the_results_if_asked(tmp_path: Path) -> None:
    path = str(tmp_path / "a.npz")
    assert main(["run", NEURON, "--T", "1", "--snapshot", path, "--with-results", "--no-jit", "--quiet"]) == 0
    assert len(dynlib.read_results(path)) == 11


def test_results_that_cannot_be_written_do_not_cost_the_snapshot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = tmp_path / "a.npz", tmp_path / "r.csv"
    folder.mkdir()
    out = ["--snapshot", str(path), "--out", str(folder)]
    assert main(["run", NEURON, "--T", "1", *out, "--no-jit", "--quiet"]) == 3
    assert "Is a directory" in capsys.readouterr().err
    assert dynlib.Sim.inspect_snapshot(path).t == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "builtin://ode/izhikevitch", "--T", "1"], "did you mean"),
        (["run", NEURON, "--T", "1", "--set", "J=1"], "unknown state or parameter 'J'"),
        (["run", NEURON, "--T", "1", "--set", "I"], "NAME=NUMBER"),
        (["run", NEURON, "--T", "1", "--out", "x.doc"], ".csv"),
        (["run", NEURON, "--T", "1", "--out", "no-such-folder/x.csv"], "there is no folder no-such-folder"),
        (["run", NEURON, "--T", "1", "--snapshot", "no-such-folder/x.npz"], "there is no folder no-such-folder"),
        (["run", NEURON, "--T", "1", "--with-results"], "needs --snapshot"),
        (["run", NEURON, "--T", "1", "--option", "jit=1"], "not an option"),
        (["model", "validate", "nowhere.toml"], "no such model file"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, dynlib.cli.main as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([x for x in ('numpy', 'llvmlite', 'tomllib') if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.endswith("[]\n")
    assert "steppers" in done.stdout


def test_a_seed_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "walk.toml"
    model.write_text('[model]\ntype = "sde"\n[states]\nx = 0\n[equations.rhs]\nx = "0"\n[noise]\nx = "1"\n')
    shown = []
    for seed in ("1", "1", "2"):
        assert main(["run", str(model), "--N", "5", "--dt", "0.1", "--seed", seed, "--no-jit"]) == 0
        shown.append([line for line in capsys.readouterr().out.splitlines() if "x = " in line])
    assert shown[0] == shown[1] != shown[2]
