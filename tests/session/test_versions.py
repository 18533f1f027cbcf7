"""Files of every version of the format: read, continued as if nothing had happened, written to the same bytes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from session.golden.make import CASES, ENVIRONMENT, EXACT, played, recorded, write_all
from session.kit import content, forged, parts, unchanged

import dynlib
from dynlib import PinMismatchError, Sim, SnapshotError, SnapshotFileError, SnapshotMeta
from dynlib.session import full_model as full_model_module
from dynlib.session import snapshot_file
from dynlib.session.environment import environment
from dynlib.session.migrations import VERSIONS, migrated
from dynlib.session.stored_results import StorePosition

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("version-*/*.npz"))
FIRST = GOLDEN / "version-1"
OTHERS = {"first": "map", "recorded": "neuron", "checkpoint": "neuron"}
all_files = pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")


def case_of(path: Path) -> str:
    return OTHERS.get(path.stem, path.stem)


def version_of(path: Path) -> int:
    return int(path.parent.name.removeprefix("version-"))


def session(case: str) -> Sim:
    model, stepper, _, _ = CASES[case]
    return dynlib.setup(model, stepper=stepper, jit=False)


@cache
def whole(case: str, edited: bool) -> tuple[Sim, Sim]:
    """Sessions that were never in a file: where the file was written, and at the end."""
    there, end = (recorded() if edited else played(case) for _ in range(2))
    end.run(T=CASES[case][3], resume=True)
    return there, end


def agree(case: str, one: Sim, other: Sim) -> bool:
    """Bit for bit; but step-size control takes powers, which another C library may round otherwise."""
    here = environment(False)
    if case in EXACT or all(here[name] == ENVIRONMENT[name] for name in ("libc", "system", "machine")):
        return one.state.same_bits(other.state)
    return np.allclose(one.state_vector(), other.state_vector(), rtol=1e-9)


def test_there_are_files_of_every_version() -> None:
    assert {version_of(path) for path in FILES} == set(VERSIONS)
    assert VERSIONS == (1, 2, 3)


@all_files
def test_a_file_of_any_version_is_continued_as_if_nothing_had_happened(path: Path) -> None:
    case = case_of(path)
    there, end = whole(case, path.stem in ("recorded", "checkpoint"))
    sim = session(case)
    meta = sim.import_snapshot(path)
    assert (meta.schema_version, meta.name, meta.t) == (version_of(path), "golden", CASES[case][2])
    assert agree(case, sim, there)
    assert sim.can_resume() == (True, None)
    sim.run(T=CASES[case][3], resume=True)
    assert agree(case, sim, end)
    if case in EXACT:
        new = sim.raw_results()
        assert len(new.t) > 5
        for mine, theirs in ((new, end.raw_results()), (new.log, end.raw_results().log)):
            late = theirs.t > meta.t
            assert np.array_equal(mine.t[mine.t > meta.t], theirs.t[late])
            assert np.array_equal(mine.step[mine.t > meta.t], theirs.step[late])


@all_files
def test_a_file_tells_its_version(path: Path) -> None:
    meta = dynlib.inspect_snapshot(path)
    assert meta.schema_version == version_of(path)
    assert meta.environment == ({} if path.stem == "first" or meta.schema_version == 1 else ENVIRONMENT)
    assert (meta.results is None) == (path.stem != "recorded")
    assert (meta.store is None) == (path.stem != "checkpoint")
    assert session(case_of(path)).compat_check(path).ok


@pytest.mark.parametrize("path", [p for p in FILES if version_of(p) > 1], ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_files_from_version_2_on_stand_for_themselves(path: Path) -> None:
    case = case_of(path)
    sim = dynlib.open_snapshot(path, jit=False)
    sim.run(T=CASES[case][3], resume=True)
    assert agree(case, sim, whole(case, path.stem in ("recorded", "checkpoint"))[1])
    if case in EXACT:
        assert sim.replay().ok
    if path.stem in ("recorded", "checkpoint"):
        assert [str(edit) for edit in sim.edits()] == ["set I: 10 → 12"]


@pytest.mark.parametrize("version", [2, 3])
def test_results_of_any_version_are_read(version: int) -> None:
    there = recorded().raw_results()
    read = dynlib.read_results(GOLDEN / f"version-{version}" / "recorded.npz").raw
    assert content(read) == content(there)


def test_a_position_in_a_store_is_read() -> None:
    raw = recorded().raw_results()
    meta = dynlib.inspect_snapshot(GOLDEN / "version-3" / "checkpoint.npz")
    assert meta.store == StorePosition(len(raw.t), len(raw.log.t), 2.5, raw.columns, raw.segments)


def test_equal_content_gives_equal_bytes_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the present version are written again; what they say of machine and library is held fixed."""
    monkeypatch.setattr(snapshot_file, "environment", lambda jit: ENVIRONMENT)
    monkeypatch.setattr(full_model_module, "VERSION", "0.1.0")
    write_all(tmp_path)
    here = environment(False)
    alike = all(here[name] == ENVIRONMENT[name] for name in ("libc", "system", "machine"))
    names = sorted(p.name for p in (GOLDEN / f"version-{VERSIONS[-1]}").iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    for name in names:
        if alike or case_of(tmp_path / name) in EXACT:
            assert (tmp_path / name).read_bytes() == (GOLDEN / f"version-{VERSIONS[-1]}" / name).read_bytes(), name


# -- version 1: no model, no lineage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in CASES if (FIRST / f"{case}.npz").exists()])
def test_a_file_of_version_1_cannot_be_opened_by_itself(case: str) -> None:
    path = FIRST / f"{case}.npz"
    with pytest.raises(SnapshotFileError) as caught:
        dynlib.open_snapshot(path, jit=False)
    name = parts(path)[0]["model"]
    assert str(caught.value) == (
        f"{path} cannot be opened by itself: files of version 1 do not carry their model (here {name!r}); "
        "set up the model and use import_snapshot"
    )
    sim = session("map")
    with unchanged(sim), pytest.raises(SnapshotFileError, match="do not carry their model"):
        sim.adopt_snapshot(path)
    with pytest.raises(SnapshotFileError, match="carries no results"):
        dynlib.read_results(path)


def test_the_lineage_of_a_file_of_version_1_begins_with_it() -> None:
    sim = session("neuron")
    meta = sim.import_snapshot(FIRST / "neuron.npz")
    root = sim.lineage().root
    assert not root.exact
    assert root.note == "read from a file of version 1, which does not tell how its state came about"
    assert [(m.name, m.t) for _, m in sim.lineage().parts] == [("golden", 40.03), ("current", 40.03)]
    assert meta.document is None
    with pytest.raises(SnapshotError, match="version 1"):
        sim.replay()


def test_a_file_of_version_1_goes_on_as_one_of_the_present_version(tmp_path: Path) -> None:
    sim = session("ring")
    sim.import_snapshot(FIRST / "ring.npz")
    sim.run(T=2.0, resume=True)
    sim.export_snapshot(tmp_path / "a.npz")
    other = dynlib.open_snapshot(tmp_path / "a.npz", jit=False)
    assert dynlib.inspect_snapshot(tmp_path / "a.npz").schema_version == VERSIONS[-1]
    assert not other.lineage().root.exact
    other.run(T=CASES["ring"][3], resume=True)
    assert other.state.same_bits(whole("ring", False)[1].state)


def first(**edit: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    meta, arrays = parts(FIRST / "neuron.npz")
    return {**meta, **edit}, arrays


def refused(path: Path, data: bytes, match: str, kind: type[SnapshotError] = SnapshotFileError) -> None:
    path.write_bytes(data)
    sim = session("neuron")
    with unchanged(sim), pytest.raises(kind, match=match):
        sim.import_snapshot(path)


def test_an_old_file_with_another_workspace_is_refused(tmp_path: Path) -> None:
    """No layout changed between the versions that there are; one that does is told by its pin."""
    meta, arrays = first()
    meta["pins"]["workspace"] = "0123456789abcdef"
    here = session("neuron").full_model.pins.workspace
    wanted = f"workspace: this session has {here!r}, the state has '0123456789abcdef'"
    refused(tmp_path / "a.npz", forged(meta, arrays), wanted, PinMismatchError)
    refused(tmp_path / "a.npz", (FIRST / "map.npz").read_bytes(), "structure: .*; stepper: .*", PinMismatchError)


def test_the_digest_of_an_old_file_is_over_its_own_content(tmp_path: Path) -> None:
    data = (FIRST / "neuron.npz").read_bytes()
    assert forged(*first()) == data
    meta, arrays = first(t=41.0)
    refused(tmp_path / "a.npz", forged(meta, arrays), "time or step count differ")
    sound = parts(FIRST / "neuron.npz")[0]["digest"].encode()
    refused(tmp_path / "a.npz", data.replace(sound, sound[::-1]), "damaged")


@pytest.mark.parametrize("key", ["document", "lineage", "environment", "observers", "results"])
def test_a_file_of_version_1_has_no_later_keys(tmp_path: Path, key: str) -> None:
    refused(tmp_path / "a.npz", forged(*first(**{key: {}})), f"its version has no {key}")


def test_a_file_of_version_2_has_no_position_in_a_store(tmp_path: Path) -> None:
    meta, arrays = parts(GOLDEN / "version-2" / "neuron.npz")
    refused(tmp_path / "a.npz", forged({**meta, "store": None}, arrays), "its version has no store")


@pytest.mark.parametrize("version", [2, 3])
def test_only_version_1_may_lack_a_model(tmp_path: Path, version: int) -> None:
    meta, arrays = parts(GOLDEN / f"version-{version}" / "neuron.npz")
    refused(tmp_path / "a.npz", forged({**meta, "document": None}, arrays), "wrong kind")
    del meta["document"]
    refused(tmp_path / "a.npz", forged(meta, arrays), "missing or unknown keys: document")


@pytest.mark.parametrize(
    "edit",
    [{"t": "1"}, {"name": 1}, {"stepper_config": []}, {"nominal_dt": None}, {"step": -1}, {"step": 1.5}],
    ids=str,
)
def test_malformed_values_in_old_files_are_refused(tmp_path: Path, edit: dict[str, Any]) -> None:
    refused(tmp_path / "a.npz", forged(*first(**edit)), "wrong kind|malformed")


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_migration_keeps_what_was_there(path: Path) -> None:
    before = parts(path)[0]
    kept = dict(before)
    after = migrated(before)
    assert before == kept, "a step does not change what it is given"
    assert {key: after[key] for key in before} == before
    present = {"schema", "digest", "schema_version", "arrays"} | set(SnapshotMeta.__struct_fields__)
    assert set(after) == present
