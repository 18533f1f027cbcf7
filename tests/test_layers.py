"""The order of layers: a module imports only from its own layer and those above it in the list."""

from __future__ import annotations

import ast
from pathlib import Path

import dynlib

LAYERS = (
    ("version", "errors", "status", "compared", "arguments"),
    ("markup",),
    ("spec",),
    ("steppers",),
    ("compile",),
    ("runtime",),
    ("results",),
    ("session",),
    ("ensembles",),
    ("analysis",),
    ("plot",),
    ("explore",),
    ("cli",),
)
ROOT = Path(str(dynlib.__file__)).parent
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("dynlib.")}
    return found


def test_imports_go_down_the_layers_only() -> None:
    seen = 0
    for path in ROOT.rglob("*.py"):
        layer = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if layer in ("__init__", "models"):
            continue
        for used in imports(path):
            seen += 1
            assert RANK[used] <= RANK[layer], f"{path.relative_to(ROOT)} imports dynlib.{used}"
    assert seen > 50


def test_every_public_name_exists_and_is_documented() -> None:
    for name in dynlib.__all__:
        value = getattr(dynlib, name)
        assert name == "__version__" or value.__doc__, name


def test_no_module_hides_a_public_name() -> None:
    """A package `dynlib.x` takes the place of a public name x as soon as anything imports it."""
    assert not set(dynlib.__all__) & {path.stem for path in ROOT.iterdir()}


def test_every_module_opens_with_a_sentence() -> None:
    for path in ROOT.rglob("*.py"):
        text = path.read_text("utf-8")
        assert not text or ast.get_docstring(ast.parse(text)), path
