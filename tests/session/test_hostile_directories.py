"""Run directories are input like any other: whatever stands there is whole and checked, or one `StoreError`.

For each way to damage or forge a file: reading gives what was recorded or raises `StoreError`; the same command again
ends in what an undisturbed run has, or raises `StoreError`; and the session that tried stays as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from session.faults import SMALL, small_chunks
from session.faulty_disk import HastyDisk, in_place_of_the_disk
from session.kit import standing
from session.stored_runs import CASES, content_of, quick_folder

from dynlib import ConfigError, Sim, StoreError, open_run

CASE = CASES[0]
EVERY = "40 steps"
T = 12.0


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with small_chunks(), in_place_of_the_disk(HastyDisk()):
        yield


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "run"


@pytest.fixture(scope="module", params=["under way", "ended"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted, and one that has ended."""
    place = tmp_path_factory.mktemp("run") / "run"
    if request.param == "under way":
        with pytest.raises(KeyboardInterrupt):
            interrupted(place)
    else:
        CASE.run(place, T, EVERY, buffers=SMALL)
    return place


def interrupted(place: Path) -> None:
    calls = []

    def stop(fraction: float, t: float) -> None:
        calls.append(t)
        if len(calls) == 5:
            os.kill(os.getpid(), 2)

    Sim(CASE.model(jit=True), buffers=SMALL).resume_or_start(place, T, checkpoint=EVERY, progress=stop)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("whole") / "run"
    CASE.run(place, T, EVERY, buffers=SMALL)
    return content_of(place)


def rows_of(place: Path) -> np.ndarray[Any, Any]:
    return open_run(place).results().raw.data


def check(place: Path, recorded: np.ndarray[Any, Any], whole: dict[str, bytes], damaged: str) -> str:
    """How a damaged directory is met: "refused" or "mended"; anything else fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a damaged checkpoint is passed over with a warning
        try:
            seen = rows_of(place)
        except StoreError:
            pass
        else:
            assert seen.tobytes() == recorded.tobytes(), f"{damaged}: other samples were read"
        sim = Sim(CASE.model(jit=True), buffers=SMALL)
        before = standing(sim)
        try:
            sim.resume_or_start(place, T, checkpoint=EVERY)
        except StoreError:
            met_later = sim.t == T  # not what was read, but what stood in the way of writing
            assert met_later or standing(sim) == before, f"{damaged}: the session was changed"
            return "refused"
    now = content_of(place)
    wrong = [name for name in whole if now.get(name) != whole[name] and name != damaged]
    assert not wrong, f"{damaged}: {wrong} differ"
    return "mended"


def some_files(folder: Path) -> list[str]:
    """Every file, but of the chunks of an array only the first and the last."""
    chunks: dict[str, list[str]] = {}
    for name in content_of(folder):
        chunks.setdefault(name.split("/c/")[0] if "/c/" in name else name, []).append(name)
    return sorted({name for names in chunks.values() for name in (names[0], names[-1])})


def damaged_copies(folder: Path, place: Path, change: Callable[[bytes, int], bytes | None]) -> Iterator[str]:
    """The directory again and again, each time with one file changed at several places."""
    for name in some_files(folder):
        data = (folder / name).read_bytes()
        for at in sorted({0, (3 * len(data)) // 5, len(data) - 1}):
            new = change(data, at)
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder, place)
            if new is None:
                (place / name).unlink()
            else:
                (place / name).write_bytes(new)
            yield name
            if new is None:
                break


CHANGES: dict[str, Callable[[bytes, int], bytes | None]] = {
    "bit": lambda data, at: data[:at] + bytes([data[at] ^ (1 << (at % 8))]) + data[at + 1 :],
    "cut": lambda data, at: data[:at],
    "longer": lambda data, at: data[:at] + b"\0" + data[at:],
    "gone": lambda data, at: None,
    "zeros": lambda data, at: data[:at] + bytes(len(data) - at),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_damaged_file_is_refused_or_made_again(
    folder: Path, whole: dict[str, bytes], change: Callable[[bytes, int], bytes | None], place: Path
) -> None:
    recorded = rows_of(folder)
    met = {"refused": 0, "mended": 0}
    for name in damaged_copies(folder, place, change):
        met[check(place, recorded, whole, name)] += 1
    assert met["refused"] > 3
    assert met["mended"] > 0


def test_links_and_other_things_in_place_of_files_are_refused(
    folder: Path, whole: dict[str, bytes], place: Path
) -> None:
    recorded, away = rows_of(folder), place.with_name("away")
    for number, name in enumerate(some_files(folder)):
        for kind in (("link", "folder"), ("loop", "fifo"))[number % 2]:
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder, place)
            away.write_bytes((place / name).read_bytes())
            (place / name).unlink()
            if kind == "link":
                (place / name).symlink_to(away)
            elif kind == "loop":
                (place / name).symlink_to(place / name)
            elif kind == "folder":
                (place / name).mkdir()
            else:
                os.mkfifo(place / name)
            check(place, recorded, whole, name)
            assert away.read_bytes() == (folder / name).read_bytes()  # nothing is written through a link


def forged(content: dict[str, Any]) -> bytes:
    content = {k: v for k, v in content.items() if k != "digest"}
    text = json.dumps(content, indent=1).encode("ascii")
    return json.dumps({**content, "digest": hashlib.sha256(text).hexdigest()}, indent=1).encode("ascii")


@pytest.mark.parametrize("value", [None, "x", -1, 1e400, [], {}, True, 2**70, [[[]]]], ids=repr)
def test_a_forged_manifest_is_refused(folder: Path, value: object, place: Path) -> None:
    good = json.loads((folder / "manifest.json").read_bytes())
    for key in [*good, *(f"plan.{k}" for k in good["plan"])]:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder, place)
        content = json.loads(json.dumps(good))
        if key.startswith("plan."):
            content["plan"][key.removeprefix("plan.")] = value
        else:
            content[key] = value
        (place / "manifest.json").write_bytes(forged(content))
        try:
            run = open_run(place)
            repr(run)
            run.results()
            run.resume(T)
        except (StoreError, ConfigError):  # what is well formed may still be an impossible plan
            continue
        assert content_of(place).keys() >= {"manifest.json", "end.npz"}


def test_metadata_of_a_table_is_what_would_be_written_or_refused(folder: Path, place: Path) -> None:
    path = Path("samples.zarr", "zarr.json")
    good = json.loads((folder / path).read_bytes())
    arrays = good["consolidated_metadata"]["metadata"]
    forgeries: list[dict[str, Any]] = []
    for name in arrays:
        for key, value in (("shape", [2**62]), ("shape", [-1]), ("shape", []), ("data_type", "string"),
                           ("codecs", [{"name": "numcodecs.pickle"}]), ("fill_value", 1e300),
                           ("chunk_grid", {"name": "regular"})):  # fmt: skip
            other = json.loads(json.dumps(good))
            other["consolidated_metadata"]["metadata"][name][key] = value
            forgeries.append(other)
    everywhere = json.loads(json.dumps(good))
    for array in everywhere["consolidated_metadata"]["metadata"].values():
        array["shape"][0] = 2**50  # all agree: the chunks are not there
    forgeries += [everywhere, {}, {"zarr_format": 3}]
    for forgery in forgeries:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder, place)
        (place / path).write_text(json.dumps(forgery))
        with pytest.raises(StoreError):
            open_run(place).results()


def test_a_folder_with_other_files_is_not_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(StoreError, match=r"holds no run but other files \(thesis.tex\)"):
        CASE.run(tmp_path, T, EVERY)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
