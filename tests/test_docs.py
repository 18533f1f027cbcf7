"""The examples of the documentation work as they are printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import matplotlib
import pytest

from dynlib import list_steppers
from dynlib.cli.main import main
from dynlib.spec.locations import load_model

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[object]:
    """Every fenced block in one language, with the page and line where it starts as its name."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in _BLOCK.finditer(text):
            if match[1] == language:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[2], id=f"{page.name}:{line}"))
    assert found
    return found


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code: str) -> None:
    file = Path("example.py").absolute()  # an observer may read its source
    file.write_text(code, "utf-8")
    exec(compile(code, str(file), "exec"), {"__name__": "example"})


@pytest.mark.parametrize("text", blocks("toml"))
def test_models_load(text: str) -> None:
    head = "" if "[model]" in text else '[model]\ntype = "ode"\n'
    assert load_model(f"inline:{head}{text}").n_states > 1


@pytest.mark.parametrize("text", blocks("sh"))
def test_commands_succeed(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in text.splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program == "dynlib":
            assert main(arguments) == 0, line
            assert capsys.readouterr().out, line


def test_every_stepper_is_on_its_page() -> None:
    text = (ROOT / "docs" / "steppers.md").read_text("utf-8")
    for name in list_steppers():
        assert f"`{name}`" in text, name
