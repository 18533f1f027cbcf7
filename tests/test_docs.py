"""The examples of the documentation work as they are printed."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pytest

from dynlib import list_steppers
from dynlib.cli.main import main
from dynlib.spec.locations import load_model

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LESSONS = sorted(
    page
    for folder in ("tutorial", "how-to", "coming-from")
    for page in (DOCS / folder).glob("*.md")
    if page.stem != "index"
)
"""Pages whose blocks belong together, from the first to the last."""
PAGES = [ROOT / "README.md", *sorted(set(DOCS.rglob("*.md")) - set(LESSONS))]
"""Pages whose blocks stand alone."""
_BLOCK = re.compile(r"^```(?:\{code-block\} )?(\w+)\n((?::[\w-]+:[^\n]*\n)*)(.*?)^```", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"^!\[[^]]*\]\((\S+)\)", re.MULTILINE)
_CAPTION = re.compile(r"^:caption: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line where it starts, and the file that its caption names."""

    language: str
    text: str
    line: int
    file: str | None


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in _BLOCK.finditer(text):
        caption = _CAPTION.search(match[2])
        yield Block(match[1], match[3], text.count("\n", 0, match.start()) + 1, caption[1] if caption else None)


def blocks(language: str) -> list[object]:
    """Every block in one language that stands alone, named after page and line."""
    found = [
        pytest.param(block.text, id=f"{page.name}:{block.line}")
        for page in PAGES
        for block in blocks_of(page)
        if block.language == language
    ]
    assert found
    return found


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")


def run_python(code: str, names: dict[str, object]) -> None:
    file = Path("example.py").absolute()  # an observer may read its source
    file.write_text(code, "utf-8")
    exec(compile(code, str(file), "exec"), names)


def check_model(text: str) -> None:
    head = "" if "[model]" in text else '[model]\ntype = "ode"\n'
    assert load_model(f"inline:{head}{text}").n_states > 1


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code: str) -> None:
    run_python(code, {"__name__": "example"})


@pytest.mark.parametrize("text", blocks("toml"))
def test_models_load(text: str) -> None:
    check_model(text)


@pytest.mark.parametrize("text", blocks("sh"))
def test_commands_succeed(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in text.splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program == "dynlib":
            assert main(arguments) == 0, line
            assert capsys.readouterr().out, line


@pytest.mark.parametrize("text", blocks("console"))
def test_sessions_in_a_shell_print_what_they_show(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines after a command are what it prints; `…` stands for anything."""
    for part in text.removeprefix("$ ").split("\n$ "):
        line, _, shown = f"{part.rstrip()}\n".partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "dynlib", line
        code = main(arguments)
        said = capsys.readouterr()
        assert bool(said.err) == (code == 2), line
        wanted = ".*".join(map(re.escape, shown.split("…")))
        assert re.fullmatch(wanted, said.out + said.err, re.DOTALL), f"{line}\n{said.out}{said.err}"


@pytest.mark.parametrize("page", LESSONS, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_page_works_from_its_first_block_to_its_last(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one folder: captioned blocks are files, `text` is what the block before it prints, `…` stands for anything."""
    names: dict[str, object] = {"__name__": "example"}
    printed = ""
    assert list(blocks_of(page))
    for block in blocks_of(page):
        place = f"{page.name}:{block.line}"
        match block:
            case Block("text", text):
                flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
                assert doctest.OutputChecker().check_output(text.replace("…", "..."), printed, flags), (place, printed)
            case Block(_, text, _, str(file)):
                Path(file).write_text(text, "utf-8")
            case Block("python", text):
                run_python(text, names)
                printed = capsys.readouterr().out
            case Block("toml", text):
                check_model(text)
            case Block("sh", text):
                printed = "".join(output_of(line, place, capsys) for line in text.splitlines())
            case _:
                pytest.fail(f"{place}: nobody knows how to run {block.language}")
    for picture in _PICTURE.findall(page.read_text("utf-8")):
        assert list(Path.cwd().rglob(picture)), f"no block of {page.name} makes {picture}"


def output_of(line: str, place: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints. Commands that set up or look at something are left to the reader."""
    program, *arguments = shlex.split(line, comments=True) or [""]
    if program == "dynlib":
        assert main(arguments) == 0, f"{place}: {line}"
        return capsys.readouterr().out
    if program == "make" and arguments == ["demo"]:
        program, arguments = "python", [str(ROOT / "examples" / "hold_a_neuron.py"), "out"]
    if program != "python":
        assert program in ("", "cd", "cat", "ls", "make", "pip", "source"), f"{place}: {line}"
        return ""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{place}: {line}\n{done.stderr}"
    return done.stdout


def test_every_stepper_is_on_its_page() -> None:
    text = (DOCS / "steppers.md").read_text("utf-8")
    for name in list_steppers():
        assert f"`{name}`" in text, name
