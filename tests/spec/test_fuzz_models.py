"""A bounded run of the fuzzing of model files: the same inputs every time. The long run: `tests/fuzz/models.py`."""

from __future__ import annotations

import random

import pytest
from fuzz import models

EXAMPLES = {
    "valid": 40,
    "changed document": 50,
    "changed text": 40,
    "changed bytes": 40,
    "expression": 150,
    "mods": 30,
    "location": 100,
    "observers": 40,
}


@pytest.fixture(autouse=True)
def _own_folder_for_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNLIB_CACHE_DIR", str(models.scratch() / "cache"))


@pytest.mark.parametrize("name", models.PROPERTIES)
def test_the_contract_holds_for_generated_inputs(name: str) -> None:
    """Every model runs as its expressions say; everything else is one clear error, in bounded time and depth."""
    models.property_of(name, EXAMPLES[name])()


@pytest.mark.parametrize("name", models.RAW)
def test_the_contract_holds_for_any_bytes(name: str) -> None:
    """Beginning with whole models of the library, a few bytes changed."""
    source = random.Random(5)
    texts = [models.builtin_text(location).encode() for location in models.builtin_models()]
    for _ in range(60):
        data = bytearray(source.choice(texts))
        for _ in range(source.randint(0, 6)):
            data[source.randrange(len(data))] = source.randrange(256)
        models.RAW[name](bytes(data))


def test_a_broken_contract_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzing itself can fail: a wrong sum, a lost warning, an endless loop, a deep recursion."""
    text = 'model = {type = "map"}\nstates = {x = 3}\nequations = {expr = "x = x + 0.1"}\n'
    assert models.check_text(text) is not None
    monkeypatch.setattr(models, "evaluate", lambda *_: 3.0)
    with pytest.raises(models.Defect, match="a step gives"):
        models.check_text(text)
    monkeypatch.undo()
    monkeypatch.setattr(models, "load_model", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        models.check_text(text)

    def forever(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr(models, "load_model", forever)
    monkeypatch.setattr(models, "SECONDS", 0.1)
    with pytest.raises(models.Defect, match="took more than"):
        models.check_text(text)

    def deep(*_: object) -> None:
        deep()

    monkeypatch.setattr(models, "load_model", deep)
    with pytest.raises(RecursionError):
        models.check_text(text)
