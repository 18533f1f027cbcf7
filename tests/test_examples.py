"""Every public name has a docstring with an example, the examples do as they say, and the API pages show them."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import matplotlib
import pytest

import dynlib
import dynlib.plot

PUBLIC = sorted(set(dynlib.__all__) - {"__version__"})
HELD = (dynlib.Sim, dynlib.ResultsView, dynlib.StoredRun)
"""Classes that users work with by their methods: each method is in some example of the class."""
OTHERS = (
    "dynlib.results.export.export_results",
    "dynlib.session.open_run.export_run",
    *(f"dynlib.plot.{name}" for name in dynlib.plot.__all__),
)
"""Functions that have no name in the package itself."""
API = Path(__file__).parent.parent / "docs" / "reference" / "api"


def examples_of(name: str, value: object) -> list[doctest.DocTest]:
    """Those in the docstring of a public name, and in those of its methods, which may take the package for granted."""
    module = importlib.import_module(str(value.__module__))
    found = doctest.DocTestFinder().find(value, name, module, globs={"dynlib": dynlib})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", [*PUBLIC, *OTHERS])
def test_every_public_name_has_an_example_that_works(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matplotlib.use("agg")
    home, _, leaf = name.rpartition(".")
    tests = examples_of(name, getattr(importlib.import_module(home or "dynlib"), leaf))
    assert name in [test.name for test in tests], f"{name} has no example in its docstring"
    for number, test in enumerate(tests):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        wrong: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=wrong.append)
        assert not wrong, "".join(wrong)


@pytest.mark.parametrize("held", HELD, ids=lambda held: held.__name__)
def test_every_method_is_in_an_example(held: type) -> None:
    text = "".join(each.source for test in examples_of(held.__name__, held) for each in test.examples)
    methods = {name for name in vars(held) if not name.startswith("_")}
    assert sorted(name for name in methods if not re.search(rf"\.{name}\b", text)) == []


def test_every_public_name_is_on_an_api_page() -> None:
    text = "".join(page.read_text("utf-8") for page in sorted(API.glob("*.md")))
    listed = re.findall(r"^\.\. auto(?:class|function|exception|decorator):: ([\w.]+)$", text, re.MULTILINE)
    assert sorted(name for name in listed if "." not in name) == PUBLIC
