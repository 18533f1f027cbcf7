"""What commands print: one JSON object, plain text or tables with colours; help, completion and what is imported."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dynlib
from dynlib.cli.main import main, parser
from dynlib.cli.show import Table, as_json
from dynlib.errors import printable

NEURON = "builtin://ode/izhikevich"
PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text("utf-8")
KEYS = {
    row[1]: row[2].split() for row in re.finditer(r"^\| `dynlib ([a-z ]*[a-z])[^`]*` \| [^|]* \| (.*) \|$", PAGE, re.M)
}
"""What the page says of the object of each command."""


def leaves(p: argparse.ArgumentParser, *path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All commands that do something, by their words."""
    below = [a for a in p._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield " ".join(path), p
    for name, child in (item for action in below for item in action.choices.items()):
        yield from leaves(child, *path, name)


COMMANDS = dict(leaves(parser()))
EXAMPLES = {
    "run": [NEURON, "--T", "5", "--no-jit", "--snapshot", "a.npz", "--with-results"],
    "resume": ["folder", "--T", "6", "--no-jit"],
    "verify": ["a.npz", "--T", "6", "--no-jit", "--no-process", "--cuts", "1"],
    "replay": ["a.npz", "--no-jit"],
    "snap list": [],
    "snap info": ["a.npz"],
    "snap verify": ["a.npz"],
    "snap diff": ["a.npz", "folder"],
    "snap tree": ["a.npz", "folder"],
    "snap branch": ["a.npz", "--set", "I=4", "--snapshot", "b.npz"],
    "snap adopt": ["a.npz", "builtin://ode/fitzhugh_nagumo"],
    "snap export": ["a.npz", "--out", "a.csv"],
    "store info": ["folder"],
    "store verify": ["folder"],
    "store export": ["folder", "--to", "csv"],
    "model list": [],
    "model show": [NEURON],
    "model validate": [NEURON],
    "steppers list": [],
    "steppers show": ["rk4"],
    "completion": ["bash"],
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot file `a.npz` with results and a run in `folder`."""
    monkeypatch.chdir(tmp_path)
    assert main(["run", *EXAMPLES["run"], "--quiet"]) == 0
    assert main(["run", NEURON, "--T", "4", "--no-jit", "--quiet", "--store", "folder"]) == 0
    return tmp_path


def test_every_command_prints_one_object_with_the_keys_on_the_page(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = ["explore"]  # until Ctrl-C: see tests/explore
    assert sorted([*EXAMPLES, *served]) == sorted(COMMANDS) == sorted(KEYS)
    for name, arguments in EXAMPLES.items():
        capsys.readouterr()
        assert main([*name.split(), *arguments, "--json"]) == 0, name
        found = json.loads(capsys.readouterr().out)
        assert isinstance(found, dict)
        keys = KEYS["run" if name == "resume" else name]
        assert list(found) == [key.strip("`") for key in keys], name


def test_numbers_of_an_object_have_all_their_digits(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "a.npz", "--T", "7", "--no-jit", "--json", "--snapshot", "b.npz"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["states"] == dynlib.open_snapshot("b.npz", jit=False).state_dict()
    assert (found["status"], found["samples"], found["snapshot"]) == ("DONE", 21, "b.npz")


def test_what_json_does_not_have_is_text() -> None:
    import numpy as np

    facts = {"a": float("nan"), "b": [np.float64("inf"), np.int64(3)], "c": np.array([1.5]), "d": np.True_, "e": None}
    assert json.loads(as_json(facts)) == {"a": "nan", "b": ["inf", 3], "c": [1.5], "d": True, "e": None}


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["steppers", "show", "rk5"], 2, "UnknownNameError"),
        (["rum"], 2, "ConfigError"),
        (["run", NEURON, "--T", "soon"], 2, "ConfigError"),
        (["model", "validate", "nowhere.toml"], 2, "ModelError"),
        (["snap", "info", "nowhere.npz"], 2, "SnapshotFileError"),
    ],
)
def test_a_mistake_is_an_object_too(
    arguments: list[str], code: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json"]) == code
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["exit"], found["error"]["kind"]) == (code, kind)
    assert said.err == f"dynlib: {found['error']['message']}\n"
    assert main(arguments) == code
    assert capsys.readouterr() == ("", said.err)


def test_a_check_that_fails_still_gives_its_object(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "folder" / "stranger").write_text("")
    capsys.readouterr()
    assert main(["store", "verify", "folder", "--json"]) == 1
    assert not json.loads(capsys.readouterr().out)["ok"]


# -- other snapshots from one --------------------------------------------------------------------------------------


def test_a_branch_has_other_values_and_knows_where_it_came_from(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["snap", "branch", "a.npz", "--preset", "fast_spiking", "--set", "I=4", "--snapshot", "b.npz"]) == 0
    assert "set a: 0.02 → 0.1" in capsys.readouterr().out
    there, here = dynlib.open_snapshot("a.npz", jit=False), dynlib.open_snapshot("b.npz", jit=False)
    assert (here.t, here.step, here.param_dict()["I"]) == (there.t, there.step, 4.0)
    assert here.state_dict() == there.state_dict()
    names = [moment.name for _, moment in here.lineage().parts]
    assert names[-2:] == ["a", "b"] or names[-3:-1] == ["a", "b"]
    assert main(["run", "b.npz", "--T", "9", "--no-jit", "--snapshot", "end.npz", "--quiet"]) == 0
    assert main(["replay", "end.npz", "--no-jit"]) == 0


def test_branches_of_a_random_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = '[model]\ntype = "sde"\n[states]\nx = 0\n[equations.rhs]\nx = "0"\n[noise]\nx = "1"\n'
    Path("walk.toml").write_text(model)
    quiet = ["--no-jit", "--quiet"]
    assert main(["run", "walk.toml", "--N", "5", "--dt", "0.1", "--snapshot", "a.npz", *quiet]) == 0
    ends: dict[str, Any] = {"same": "a.npz"}
    for name, rng in (("one", "reseed"), ("two", "reseed"), ("three", "common"), ("four", "common")):
        ends[name] = f"{name}.npz"
        assert main(["snap", "branch", "a.npz", "--rng", rng, "--snapshot", ends[name]]) == 0
    for name, start in ends.items():
        assert main(["run", start, "--N", "5", "--snapshot", "end.npz", *quiet]) == 0
        ends[name] = dynlib.open_snapshot("end.npz", jit=False).state_dict()["x"]
    assert ends["three"] == ends["four"]
    assert len(set(ends.values())) == 4


def test_adoption_writes_only_if_asked(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["snap", "adopt", "a.npz", "builtin://ode/fitzhugh_nagumo", "--rename", "u=w", "--fill", "eps=0.1"]
    before = sorted(study.iterdir())
    assert main(command) == 0
    assert "renamed  u → w" in capsys.readouterr().out
    assert sorted(study.iterdir()) == before
    assert main([*command, "--snapshot", "b.npz"]) == 0
    there, here = dynlib.open_snapshot("a.npz", jit=False), dynlib.open_snapshot("b.npz", jit=False)
    assert (here.state_dict()["w"], here.param_dict()["eps"]) == (there.state_dict()["u"], 0.1)


def test_a_list_names_what_is_no_snapshot(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "broken.npz").write_bytes(b"PK")
    (study / "other").mkdir()
    capsys.readouterr()
    assert main(["snap", "list"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["file", "name", "model", "stepper", "t", "step"]
    assert [row.split()[:3] for row in rows[:2]] == [
        ["a.npz", "a", "izhikevich"],
        ["folder", "checkpoint", "izhikevich"],
    ]
    assert rows[2].startswith("not a snapshot: broken.npz is not a usable snapshot file")
    assert main(["snap", "list", "other"]) == 0
    assert capsys.readouterr().out == "no snapshot in other\n"


# -- terminals -----------------------------------------------------------------------------------------------------


def in_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM")}
    env |= {"TERM": "xterm", "COLUMNS": "80", **environment}
    done = subprocess.Popen(
        [sys.executable, "-m", "dynlib.cli.main", *arguments], stdout=theirs, stdin=subprocess.DEVNULL, env=env
    )
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so where the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    assert done.wait(60) == 0
    return b"".join(pieces).decode().replace("\r\n", "\n")


def test_tables_have_colours_in_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["steppers", "list", "--kind", "sde"]
    assert main(command) == 0
    plain = capsys.readouterr().out
    assert "\x1b[" in in_a_terminal(*command)
    assert "─────" in in_a_terminal(*command)
    assert in_a_terminal(*command, NO_COLOR="1") == plain
    assert in_a_terminal(*command, TERM="dumb") == plain
    json.loads(in_a_terminal(*command, "--json"))


def test_what_a_file_says_gives_no_orders_to_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.toml"
    model.write_text(
        '[model]\ntype = "ode"\nname = "a\\u001b]0;b\\u0007"\n[states]\nx = 1\n[equations.rhs]\nx = "-x"\n'
    )
    assert main(["model", "show", str(model)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("a\ufffd]0;b\ufffd (ode")
    assert "\x1b]0" not in in_a_terminal("model", "show", str(model))
    assert printable("a\tb\nc → d") == "a\tb\nc → d"


def test_a_plain_table_is_aligned() -> None:
    table = Table(("name", "n"), [("a", 1), ("long", 200), ("c", None), ("d", 0.5)], right=(1,))
    assert f"{table}" == "name    n\na       1\nlong  200\nc       —\nd     0.5"


# -- help, completion, imports -------------------------------------------------------------------------------------


def test_alone_it_says_what_to_try_first(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    text = capsys.readouterr().out
    for other in (["--help"], ["help"]):
        with pytest.raises(SystemExit, match="0"):
            main(other)
        assert capsys.readouterr().out == text
    first = re.findall(r"^  (dynlib [a-z][^\n]*?)(?:  |\n)", text, re.M)
    assert len(first) == 4
    for line in first:
        assert main(line.split()[1:]) == 0, line
    assert all(f"\n    {name.split()[0]} " in text for name in COMMANDS), text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [[], ["--version"], ["--help"], ["run", "--help"]])
def test_nothing_heavy_is_imported_to_help(arguments: list[str]) -> None:
    code = (
        "import sys, dynlib.cli.main as m\n"
        f"try: m.main({arguments})\n"
        "except SystemExit: pass\n"
        "print([x for x in ('numpy', 'llvmlite', 'rich', 'argcomplete', 'tomllib') if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.endswith("\n[]\n")


def test_every_option_says_what_it_is_for() -> None:
    for name, p in COMMANDS.items():
        assert p.description, name
        assert all(a.help or not a.option_strings for a in p._actions), name


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("dynlib ", ["run", "resume", "verify", "snap", "completion"]),
        ("dynlib snap ", ["list", "info", "diff", "branch"]),
        ("dynlib run builtin://ode/izh", ["//ode/izhikevich "]),  # bash takes the colon for the end of a word
        ("dynlib run --st", ["--stepper", "--store"]),
        ("dynlib run a.npz --set ", ["I=", "v_th=", "v="]),
        (f"dynlib run {NEURON} --preset f", ["fast_spiking "]),
        (f"dynlib run {NEURON} --stepper dop853 --option r", ["rtol="]),
        (f"dynlib run {NEURON} --record v,", ["v,u "]),
        ("dynlib run nowhere.toml --set ", []),
        ("dynlib steppers show tsi", ["tsit5 "]),
        ("dynlib snap info a", ["a.npz "]),
        ("dynlib store export x --to n", ["npz", "netcdf"]),
    ],
)
def test_completion_in_bash(line: str, wanted: list[str], study: Path) -> None:
    (study / "bin").mkdir()
    program = study / "bin" / "dynlib"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dynlib.cli.main "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(dynlib completion bash)"\n'
        'COMP_LINE="$1"; COMP_POINT=${#1}; COMP_TYPE=9; _python_argcomplete dynlib\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script, "bash", line], capture_output=True, text=True, check=True, env=env)
    assert done.stderr == ""
    found = [text for text in done.stdout.splitlines() if text]
    assert set(wanted) <= set(found)
    assert wanted or not found


def test_completion_for_other_shells(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, word in (("zsh", "compdef"), ("fish", "complete --command dynlib")):
        assert main(["completion", shell]) == 0
        assert word in capsys.readouterr().out
    assert main(["completion", "tcsh"]) == 2
    assert "unknown SHELL 'tcsh'; known: 'bash', 'zsh', 'fish'" in capsys.readouterr().err
