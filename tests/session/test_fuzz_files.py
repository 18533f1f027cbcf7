"""Hostile snapshot files: every damage of a small one, and some thousands of made-up ones (see `tests/fuzz`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.snapshots import (
    MAKERS,
    Bench,
    Broken,
    Input,
    Sound,
    cuts,
    flips,
    kinds,
    random_input,
    run,
    smallest,
    sound_files,
    spots,
)
from session.kit import forged

from dynlib.session.archive import unpack

INPUTS = 800


@pytest.fixture(scope="module")
def small() -> Sound:
    return smallest()


def test_there_is_a_sound_file_of_every_kind() -> None:
    sounds = sound_files()
    assert {s.meta["schema_version"] for s in sounds} == {1, 2, 3}
    assert any(s.meta.get("results") for s in sounds)
    assert any(s.meta.get("store") for s in sounds)
    assert any(s.meta.get("observers") for s in sounds)
    assert {s.full.stepper.name for s in sounds} == {"map", "rk4", "ab3", "rk45"}


@pytest.mark.parametrize("damage", [flips, cuts], ids=["every bit", "every length"])
def test_no_damage_of_a_small_file_goes_unseen(small: Sound, damage: object) -> None:
    assert unpack(small.data, lambda content: None)[0] == small.meta
    count = 0
    for given in damage(small):  # type: ignore[operator]
        with pytest.raises(ValueError):  # noqa: PT011 (any reason will do)
            unpack(given.data, lambda content: None)
        count += 1
    assert count == len(small.data) * (8 if damage is flips else 1)


def test_every_value_of_every_kind(small: Sound, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    count = 0
    for given in kinds(small):
        bench.judge(given)
        count += 1
    assert count == 10 * sum(1 for _ in spots(small.meta)) > 900
    assert bench.found["every kind", "refused"] > count / 2


def test_made_up_files(tmp_path: Path) -> None:
    bench, broken = run(2024, INPUTS, tmp_path)
    assert broken == []
    verdicts = {verdict for _, verdict in bench.found}
    assert verdicts == {"refused", "other pins", "taken"}
    assert bench.found["lawful", "taken"] > 20
    assert bench.found["opened", "taken"] > 5
    assert bench.found["results read", "taken"] > 5


def test_inputs_are_the_same_every_time() -> None:
    for index in range(3 * len(MAKERS)):
        assert random_input(7, index).data == random_input(7, index).data


def test_the_bench_takes_the_sound_files(tmp_path: Path) -> None:
    for sound in sound_files():
        assert Bench(tmp_path).judge(Input("sound", sound, sound.data)) == "taken"


def test_the_bench_sees_a_broken_contract(small: Sound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes changed without a trace, a low-level exception, a session that is touched, memory without bounds."""
    bench = Bench(tmp_path)
    meta, arrays = small.copy()
    with pytest.raises(Broken, match="not covered"):
        bench.judge(Input("x", small, forged({**meta, "description": "other"}, arrays)))
    sim = bench.sim(small)

    def leaks(path: Path) -> None:
        raise KeyError("low")

    def touches(path: Path) -> None:
        sim._mark = sim._state
        sim.assign({"x": 3.0})
        type(sim).import_snapshot(sim, path)

    def swells(path: Path) -> None:
        bytes(2**26)
        type(sim).import_snapshot(sim, path)

    for broken, reason in ((leaks, "KeyError"), (touches, "the session changed"), (swells, "bytes for")):
        monkeypatch.setitem(vars(sim), "import_snapshot", broken)
        with pytest.raises(Broken, match=reason):
            bench.judge(Input("x", small, small.data[:-1], heavy=True))
