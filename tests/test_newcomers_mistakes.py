"""What the likely mistakes of a newcomer print: the page `docs/errors.md` is the table, and every case of it is made.

After a message was changed on purpose, `python tests/test_newcomers_mistakes.py` writes the page anew; then read it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dynlib
from dynlib.cli.main import main

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"
CASE = re.compile(
    r"^### ([^\n]+)\n\n```(toml|text|python|sh) mistake\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
CASES = CASE.findall(PAGE.read_text("utf-8"))


def said(language: str, code: str) -> str:
    """What a mistake prints, made in the current folder, which is empty."""
    if language == "sh":
        text = io.StringIO()
        with contextlib.redirect_stderr(text), contextlib.redirect_stdout(io.StringIO()) as out:
            assert main(shlex.split(code)[1:]) == 2
        assert out.getvalue() == ""
        return text.getvalue()
    if language in ("toml", "text"):  # text: what is not TOML
        head = "" if "[model]" in code else '[model]\ntype = "ode"\n'
        Path("model.toml").write_text(head + code, "utf-8")
        code = 'dynlib.setup("model.toml", jit=False)'
    names: Mapping[str, Any] = {"dynlib": dynlib, "np": np, "sim": session()}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            exec(compile(code, "<case>", "exec"), dict(names))
        except dynlib.DynlibError as problem:
            return f"{type(problem).__name__}: {problem}\n"
    return "".join(f"{w.category.__name__}: {w.message}\n" for w in told)


def session() -> dynlib.Sim:
    """The neuron of the page: it has run to t = 2."""
    sim = dynlib.setup("builtin://ode/izhikevich", jit=False)
    sim.run(T=2.0)
    return sim


@pytest.mark.parametrize(("language", "code", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_mistake_prints_what_the_page_says(
    language: str, code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(language, code) == message


def test_the_page_has_its_cases() -> None:
    """At least fifty, each under a heading of its own, and none that is not found."""
    headings = re.findall(r"^### (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert headings == [title for title, *_ in CASES]
    assert len(set(headings)) == len(headings) >= 50


def test_keywords_are_those_of_the_calls() -> None:
    """The table that says where a keyword belongs knows every argument."""
    import inspect

    from dynlib.session.keywords import ARGUMENTS

    calls = {"setup()": dynlib.setup, "run()": dynlib.Sim.run, "ensemble()": dynlib.ensemble}
    calls["lyapunov_exponents()"] = dynlib.lyapunov_exponents
    assert ARGUMENTS.keys() == calls.keys()
    for name, call in calls.items():
        kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        found = [p.name for p in inspect.signature(call).parameters.values() if p.kind in kinds]
        assert ARGUMENTS[name] == tuple(n for n in found if n not in ("self", "model"))


def test_names_from_elsewhere_lead_to_something() -> None:
    from dynlib.session.keywords import _ELSEWHERE as KEYWORDS
    from dynlib.session.keywords import ARGUMENTS
    from dynlib.spec.document import ELSEWHERE as KEYS
    from dynlib.spec.document import SIM_KEYS, TABLES
    from dynlib.spec.expressions import ELSEWHERE as OF_FUNCTIONS
    from dynlib.spec.expressions import FUNCTIONS
    from dynlib.steppers.registry import _ELSEWHERE as OF_STEPPERS

    steppers = dynlib.list_steppers()
    options = {o for name in steppers for o in dynlib.get_stepper(name).option_names}
    assert set(OF_STEPPERS.values()) <= set(steppers)
    assert set(OF_FUNCTIONS.values()) <= FUNCTIONS.keys()
    assert set(KEYS.values()) <= {*TABLES, *SIM_KEYS, *options, "cond", "action"}
    assert set(KEYWORDS.values()) <= {*options, *ARGUMENTS["setup()"], *ARGUMENTS["run()"]}
    for table in (OF_STEPPERS, OF_FUNCTIONS, KEYS, KEYWORDS):
        assert all(name == name.lower() for name in table)


def written_anew() -> str:
    """The page with what each case prints now."""

    def case(match: re.Match[str]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            message = said(match[2], match[3])
        return f"### {match[1]}\n\n```{match[2]} mistake\n{match[3]}```\n\n```text\n{message}```"

    return CASE.sub(case, PAGE.read_text("utf-8"))


if __name__ == "__main__":
    sys.stdout.write(f"{len(CASES)} cases\n")
    PAGE.write_text(written_anew(), "utf-8")
