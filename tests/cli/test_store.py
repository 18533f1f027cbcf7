"""Runs in directories from the command line: real processes, real signals, and what is said about them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from session.faulty_disk import FaultyDisk, in_place_of_the_disk
from session.stored_runs import content_of, difference

import dynlib
from dynlib.cli.exits import Exit, table
from dynlib.cli.main import main
from dynlib.session.lock import FolderLock

NEURON = "builtin://ode/izhikevich"
LONG = [
    "--T",
    "200000",
    "--stepper",
    "rk4",
    "--dt",
    "0.01",
    "--record-interval",
    "1000",
    "--checkpoint",
    "1000000 steps",
]
"""A few seconds of work of a compiled kernel, and not much to store."""
RING = """
[model]
type = "ode"
name = "ring"
[constants]
N = 400
[states]
"u[N]" = "0.1*i for i in range(N)"
[equations]
expr = "du[i] = sin(u[(i+1) % N] - u[i])"
[sim]
dt = 0.01
stepper = "rk4"
"""


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dynlib.cli.main", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], file: Path) -> None:
    """Until a file is there that was not there before."""
    deadline = time.monotonic() + 60.0
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.01)


def newest(folder: Path) -> str:
    """The newest checkpoint there is, as a number that grows."""
    return max((p.name for p in folder.glob("checkpoint-*.npz")), default="")


def interrupt(folder: Path, *numbers: int) -> tuple[int, str, str]:
    """Give the command, and once it has written a checkpoint of its own, send signals; exit code and what it said."""
    before = newest(folder)
    process = start(["run", "builtin://ode/van_der_pol", "--store", str(folder), *LONG])
    deadline = time.monotonic() + 60.0
    while newest(folder) <= before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_signals_end_a_run_and_the_same_command_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGTERM, Ctrl-C, Ctrl-C twice, then to the end: the same bytes as a run that nothing disturbed."""
    whole, folder = tmp_path / "whole", tmp_path / "run"
    command = ["run", "builtin://ode/van_der_pol", *LONG]
    assert main([*command, "--store", str(whole)]) == 0  # compiles, for all of the processes below
    assert capsys.readouterr().out.startswith("started\nDONE")
    reached = [0]
    for numbers, code, word in (
        ((signal.SIGTERM,), 143, "terminated"),
        ((signal.SIGINT,), 130, "interrupted"),
        ((signal.SIGINT, signal.SIGINT, signal.SIGINT), 130, "interrupted"),
    ):
        ended, out, err = interrupt(folder, *numbers)
        assert (ended, out) == (code, ""), err
        told = re.fullmatch(rf"dynlib: {word}; {folder} stands at t = (\S+), step (\d+), with (\d+) samples; "
                            rf"to go on: the same command, or dynlib resume {folder}\n", err)  # fmt: skip
        assert told, err
        last = dynlib.open_run(folder).checkpoint()
        assert (int(told[2]), int(told[3])) == (last.meta.step, last.position.rows)
        assert reached[-1] < last.meta.step < 20_000_000
        reached.append(last.meta.step)
        assert main(["store", "verify", str(folder)]) == 0
        capsys.readouterr()
    assert main(["resume", str(folder)]) == 0
    assert re.match(r"continued\nDONE.*\nt = 200000 after \d+ \(of 20000000\) steps", capsys.readouterr().out)
    assert not difference(content_of(whole), content_of(folder))
    assert main([*command, "--store", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("complete: nothing was left to do\nDONE")
    assert f"20001 samples, 0 log entries in {folder}" in text


def test_a_second_ctrl_c_stops_inside_of_a_long_stretch(tmp_path: Path) -> None:
    """The first waits for the end of a step, which takes seconds here; the second does not."""
    (tmp_path / "ring.toml").write_text(RING.replace("N = 400", "N = 200_000"))
    folder = tmp_path / "run"
    process = start(["run", str(tmp_path / "ring.toml"), "--T", "1000", "--store", str(folder), "--no-jit"])
    wait_for(process, folder / "manifest.json")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - asked < 10.0
    assert f"interrupted; {folder} stands at t = 0, step 0, with 0 samples; to go on" in err
    assert dynlib.open_run(folder).resume(N=1)[1].step == 1


def test_without_a_folder_ctrl_c_says_that_nothing_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def ask(fraction: float, t: float) -> None:
        if not asked:  # a second one would be another request
            asked.append(t)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("dynlib.cli.run._progress", lambda arguments: ask)
    assert main(["run", NEURON, "--T", "1e9", "--no-jit"]) == 130
    assert capsys.readouterr().err == "dynlib: interrupted; nothing is kept; a run with --store DIR can be continued\n"


def test_a_folder_in_use_or_with_another_run_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    command = ["run", NEURON, "--T", "2", "--no-jit", "--store", str(folder)]
    assert main(command) == 0
    assert main([*command, "--set", "I=3", "--record", "v"]) == 2
    assert "holds another run: I = 10 there, 3 here; record_vars = ['v', 'u'] there" in capsys.readouterr().err
    lock = FolderLock(folder)
    lock.acquire()
    for again in (command, ["resume", str(folder), "--no-jit"], ["store", "verify", str(folder)]):
        assert main(again) == 2
        assert f"is in use by process {os.getpid()} on" in capsys.readouterr().err
    assert main(["store", "info", str(folder)]) == 0
    assert f"process {os.getpid()} on" in capsys.readouterr().out
    lock.release()
    assert main(["run", NEURON, "--T", "1", "--no-jit", "--store", str(folder)]) == 2
    assert "has gone on to t = 2, past T = 1" in capsys.readouterr().err
    assert main(["run", NEURON, "--T", "1", "--no-jit", "--store", str(tmp_path)]) == 2
    assert "holds no run but other files" in capsys.readouterr().err


def test_a_full_disk_has_an_exit_code_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    command = ["run", NEURON, "--T", "20", "--no-jit", "--store", str(folder)]
    with in_place_of_the_disk(FaultyDisk("full", 60)):
        assert main(command) == 3
    assert re.search("cannot write .*: No space left on device.* The last checkpoint is whole", capsys.readouterr().err)
    assert main(command) == 0
    assert main([*command[:-1], str(tmp_path / "other"), "--out", str(tmp_path)]) == 2  # no suffix
    (tmp_path / "taken.csv").mkdir()
    assert main([*command, "--out", str(tmp_path / "taken.csv")]) == 3
    assert "cannot write" in capsys.readouterr().err


def test_a_run_that_fails_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The numerics are the same every time: the command says so again and takes no steps."""
    (tmp_path / "m.toml").write_text('[model]\ntype = "ode"\n[states]\nx = 1\n[equations.rhs]\nx = "x*x"\n')
    command = ["run", str(tmp_path / "m.toml"), "--T", "3", "--no-jit", "--store", str(tmp_path / "run")]
    assert main(command) == 1
    first = capsys.readouterr()
    assert re.match(r"started\n(STEP_TOO_SMALL|NOT_FINITE)", first.out)
    assert re.fullmatch(r"dynlib: (STEP_TOO_SMALL|NOT_FINITE) at t = .*\n", first.err)
    assert main(command) == 1
    assert capsys.readouterr().out.startswith("complete: nothing was left to do\n")
    limited = ["run", NEURON, "--T", "9", "--max-steps", "20", "--no-jit", "--store", str(tmp_path / "limited")]
    assert main(limited) == 1
    assert "MAX_STEPS" in capsys.readouterr().out
    assert main(["resume", str(tmp_path / "limited"), "--max-steps", "1000", "--no-jit"]) == 0
    assert re.match(r"continued\nDONE.*\nt = 9 after 70 \(of 90\)", capsys.readouterr().out)


def test_results_and_snapshot_of_a_run_in_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out, end = tmp_path / "run", tmp_path / "r.npz", tmp_path / "end.npz"
    command = ["run", NEURON, "--T", "60", "--no-jit", "--store", str(folder), "--quiet"]
    assert main([*command, "--out", str(out), "--snapshot", str(end)]) == 0
    assert capsys.readouterr().out == ""
    run = dynlib.open_run(folder)
    with np.load(out) as arrays:
        assert arrays["v"].tobytes() == np.ascontiguousarray(run.results()["v"]).tobytes()
        assert len(arrays["event/spike/t"]) == len(run.results().event("spike")) > 0
    assert main(["run", str(end), "--T", "70", "--no-jit", "--quiet"]) == 0
    assert main(["resume", str(folder), "--N", "650", "--no-jit", "--out", str(tmp_path / "r.csv")]) == 0
    shown = capsys.readouterr().out
    assert f"results → {tmp_path / 'r.csv'}\nresults → {tmp_path / 'r.events.csv'}\n" in shown
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 652


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", NEURON, "--T", "1", "--checkpoint", "5min"], "--checkpoint needs --store"),
        (["run", NEURON, "--T", "1", "--store", "d", "--checkpoint", "often"], "checkpoint must be wall time"),
        (["run", NEURON, "--T", "1", "--store", "d", "--snapshot", "s.npz", "--with-results"], "stand in the folder"),
        (["resume", "nowhere"], "nowhere holds no run"),
        (["store", "info", "nowhere"], "nowhere holds no run"),
        (["store", "verify", "nowhere"], "nowhere holds no run"),
        (["store", "export", "nowhere", "--to", "csv"], "nowhere holds no run"),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


# -- store info, verify, export ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A small run that has ended, in the current folder."""
    monkeypatch.chdir(tmp_path)
    main(["run", NEURON, "--T", "30", "--no-jit", "--store", "runs/exp1", "--quiet"])
    return tmp_path / "runs" / "exp1"


def test_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "info", "runs/exp1"]) == 0
    text = capsys.readouterr().out
    for line in ("model                izhikevich", "  I                  10.0", "samples              301",
                 "  file end.npz, t 30.0, step 300, samples 301", "in_use               —"):  # fmt: skip
        assert f"\n{line}\n" in text, line
    assert main(["store", "info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["samples"], facts["t"], facts["ended"], facts["in_use"]) == (301, 30.0, True, None)
    assert facts["bytes"]["total"] > facts["bytes"]["samples.zarr"] > 0


def test_verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "verify", "runs/exp1", "--replay"]) == 0
    assert re.search(r"run anew +all of \d+ files are equal byte for byte\nwhole\n", capsys.readouterr().out)
    chunk = folder / "samples.zarr" / "v" / "c" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert main(["store", "verify", "runs/exp1", "--replay"]) == 1
    text = capsys.readouterr().out
    assert re.search(r"FAILED  samples.zarr .*samples.zarr/v/c/0 is damaged", text)
    assert text.endswith("note: not run anew, as it is damaged\nNOT whole\n")
    assert main(["store", "verify", "runs/exp1", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert [c["name"] for c in found["checks"] if not c["ok"]] == ["samples.zarr"]


def test_export(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "export", "runs/exp1", "--to", "parquet"]) == 0
    assert capsys.readouterr().out == "runs/exp1.parquet\nruns/exp1.events.parquet\n"
    assert main(["store", "export", "runs/exp1", "--out", "all.nc"]) == 0
    assert main(["store", "export", ".", "--to", "csv", "--out", "odd.name"]) == 2  # holds no run
    assert main(["store", "export", "runs/exp1", "--to", "csv", "--out", "odd.name"]) == 0
    assert Path("odd.name").read_text().startswith("t,step,v,u\n")
    assert Path("all.nc").stat().st_size > 301 * 8 * 4
    for arguments, message in (
        (["runs/exp1"], "name a format, one of csv, npz, netcdf, zarr, parquet, or a file"),
        (["runs/exp1", "--to", "netdcf"], "did you mean 'netcdf'?"),
        (["runs/exp1", "--out", "x.doc"], "unknown format of results '.doc'"),
        (["runs/exp1", "--out", "runs/exp1/x.csv"], "lies in the run directory"),
    ):
        capsys.readouterr()
        assert main(["store", "export", *arguments]) == 2
        assert message in capsys.readouterr().err


# -- exit codes ----------------------------------------------------------------------------------------------------


def test_exit_codes_stand_in_the_help_and_in_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out.endswith(f"exit codes:\n{table()}\n")
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text("utf-8")
    for code in Exit:
        assert f"| {code} | {code.meaning} |" in page
