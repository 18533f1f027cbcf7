"""Verification of run directories: all that is whole passes, and any damage is named."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google_crc32c import value as crc32c
from session.kit import forged, parts, ring_full
from session.stored_runs import CASES, Case
from session.test_open_run import SMALL, cut, ring, short_pauses_and_no_waiting, stop_at  # noqa: F401

from dynlib import Sim, StoreBusyError, StoreError, open_run
from dynlib.session.lock import FolderLock, holder_of
from dynlib.session.run_directory import RunDirectory
from dynlib.session.run_info import describe_run
from dynlib.session.snapshot_file import state_from
from dynlib.session.snapshots import Snapshot
from dynlib.session.verification import Verification, verify_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended, of several chunks, with log entries."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as small:
        small.setattr("dynlib.session.table.CHUNK_BYTES", 3000)
        ring().run(T=5.0, store=folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be damaged."""
    monkeypatch.setattr("dynlib.session.table.CHUNK_BYTES", 3000)
    return Path(shutil.copytree(finished, tmp_path / "run"))


def failed(found: Verification) -> str:
    """All that is wrong, in words."""
    assert not found.ok
    return "\n".join(f"{c.name}: {c.detail}" for c in found.checks if not c.ok)


def passes(folder: Path, *, notes: int = 0) -> Verification:
    found = verify_run(folder, replay=True)
    assert found.ok, found
    assert len(found.notes) == notes, found
    return found


# -- what is whole passes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_runs_that_ended_and_runs_that_did_not(case: Case, tmp_path: Path) -> None:
    T = 40.0 if case.stepper == "map" else 6.0
    sim, folder = Sim(case.model(jit=False), buffers=SMALL), tmp_path / "run"
    with pytest.raises(SystemExit):
        sim.resume_or_start(folder, T, checkpoint="5 steps", progress=stop_at(0.6 * T), **case.arguments)
    assert "has not ended" in passes(folder).checks[-1].detail
    case.run(folder, T, "5 steps", jit=False)
    assert "equal byte for byte" in passes(folder).checks[-1].detail


def test_a_run_of_many_parts(tmp_path: Path) -> None:
    """Begun in memory, brought to a folder, stopped by a limit, recorded anew, with snapshots on the way."""
    sim, folder = ring(), tmp_path / "run"
    sim.run(T=1.03, tag="before")
    sim.run(T=2.0, resume=True, store=folder)
    with pytest.warns(UserWarning, match="MAX_STEPS"):
        sim.run(T=9.0, resume=True, max_steps=10)
    sim.create_snapshot("half")
    sim.run(N=15, resume=True, record_dt=0.07, tag="fine")
    with pytest.raises(SystemExit):
        sim.run(T=6.0, resume=True, record_interval=2, progress=stop_at(4.0), checkpoint="3 steps")
    passes(folder)
    sim.run(T=6.0, resume=True)
    assert [s.name for s in open_run(folder).segments] == ["before", "run#1", "run#2", "fine", "run#4"]
    found = passes(folder)
    assert "end.npz in every number" in found.checks[-1].detail  # the snapshot on the way is in its lineage


def test_nothing_is_changed_by_looking(run: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in run.rglob("*")}
    passes(run)
    describe_run(run)
    assert before == {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in run.rglob("*")}


def test_what_killed_processes_leave_is_noted_only(run: Path) -> None:
    (run / "samples.zarr" / "u" / "c" / "0" / ".0.4194305.3.tmp").write_bytes(b"half")
    (run / "samples.zarr" / "w" / "c" / "99").write_bytes(b"unpublished")
    (run / "samples.zarr" / "u" / "c" / "99").mkdir()
    (run / "samples.zarr" / "u" / "c" / "99" / "0").write_bytes(b"unpublished")
    found = passes(run, notes=2)
    assert "temporary files of a killed process: 1" in str(found)
    assert "beyond what is published: 2" in str(found)


# -- what is damaged does not --------------------------------------------------------------------------------------


def test_a_flipped_bit_in_any_file_is_found(run: Path) -> None:
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.name != "lock")
    assert len(files) > 20
    for number, file in enumerate(files):
        good = file.read_bytes()
        at = (7919 * (number + 1)) % len(good)
        while good[at : at + 1].isspace():
            at = (at + 1) % len(good)
        file.write_bytes(good[:at] + bytes([good[at] ^ 1 << number % 7]) + good[at + 1 :])
        found = verify_run(run)
        assert file.name.split(".")[0] in failed(found) or file.parent.name in failed(found), (file, found)
        file.write_bytes(good)
    assert verify_run(run).ok


def test_a_truncated_or_missing_file_is_found(run: Path) -> None:
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.name not in ("lock", "manifest.json"))
    for file in [*files[:2], *files[2::3]]:
        good = file.read_bytes()
        file.write_bytes(good[:-1])
        assert file.name in failed(verify_run(run))
        file.unlink()
        if file.name != "end.npz":  # without it the run has simply not ended
            assert file.name in failed(verify_run(run))
        file.write_bytes(good)
    (run / "manifest.json").write_bytes((run / "manifest.json").read_bytes()[:-9])
    assert "manifest.json is damaged" in failed(verify_run(run))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda run: (run / "notes.txt").write_text(""), "notes.txt does not belong"),
        (lambda run: (run / "samples.zarr" / "w" / "c" / "01").write_text(""), "c/01 does not belong"),
        (lambda run: (run / "samples.zarr" / "z").mkdir(), "samples.zarr/z is a folder"),
        (lambda run: (run / "more").mkdir(), "more is a folder"),
        (lambda run: (run / "checkpoint-000009.npz").symlink_to("end.npz"), "symbolic link"),
        (lambda run: os.mkfifo(run / "pipe"), "pipe is not a regular file"),
        (lambda run: shutil.copy(run / "end.npz", run / "last.npz"), "last.npz does not belong"),
    ],
)
def test_strangers(make: Callable[[Path], object], message: str, run: Path) -> None:
    make(run)
    assert message in failed(verify_run(run))


def test_a_file_that_is_a_link_is_not_followed(run: Path) -> None:
    chunk = run / "samples.zarr" / "w" / "c" / "0"
    chunk.rename(run.parent / "elsewhere")
    chunk.symlink_to(run.parent / "elsewhere")
    text = failed(verify_run(run))
    assert "samples.zarr/w/c/0 is a symbolic link" in text
    assert "cannot read" in text


def test_files_of_another_run_are_noticed(run: Path, tmp_path: Path) -> None:
    """Each file is whole, but they do not belong together."""
    edited, other = tmp_path / "edited", ring()
    other.assign(k=0.2)
    other.run(T=5.0, store=edited)
    for name, message in (("end.npz", "does not go on from start.npz"), ("manifest.json", "params is not that of")):
        good = (edited / name).read_bytes()
        (edited / name).write_bytes((run / name).read_bytes())
        assert message in failed(verify_run(edited))
        (edited / name).write_bytes(good)
    ring().run(T=2.0, store=tmp_path / "short")
    shutil.rmtree(run / "samples.zarr")
    shutil.copytree(tmp_path / "short" / "samples.zarr", run / "samples.zarr")
    assert "end.npz counts 101 samples" in failed(verify_run(run))


def rewrite(chunk: Path, dtype: str, change: Callable[[np.ndarray], None]) -> None:
    """Change the numbers in a chunk, and its checksum with them."""
    values = np.frombuffer(chunk.read_bytes()[:-4], dtype).copy()
    change(values)
    data = values.tobytes()
    chunk.write_bytes(data + crc32c(data).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("name", "dtype", "row", "value"),
    [
        ("samples.zarr/t/c/0", "<f8", 12, 0.2),
        ("samples.zarr/t/c/1", "<f8", 3, np.nan),
        ("samples.zarr/step/c/1", "<i8", 3, 9),
        ("samples.zarr/step/c/0", "<i8", 0, -1),
        ("samples.zarr/t/c/0", "<f8", 0, -1.0),
        ("events.zarr/step/c/0", "<i8", 4, 1),
        ("events.zarr/event/c/0", "<i4", 0, 7),
    ],
)
def test_order_is_checked_though_the_checksums_are_right(
    name: str, dtype: str, row: int, value: float, run: Path
) -> None:
    def change(values: np.ndarray) -> None:
        values[row] = value

    rewrite(run / name, dtype, change)
    assert any(word in failed(verify_run(run)) for word in ("out of order", "logs events that the model does not"))


def split(segments: list[dict[str, Any]], **wrong: object) -> None:
    """One segment as two, of which the second has something wrong."""
    first = segments[0]
    rows, entries = [81, first["rows"][1]], [20, first["entries"][1]]
    second = {**first, "name": "b", "t_start": 4.0, "step_start": 80, "rows": rows, "entries": entries, "resume": True}
    first.update(t_end=4.0, step_end=80, rows=[0, 81], entries=[0, 20])
    segments.append(second | wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[0].update(t_end=3.0), "not the one that is published"),
        (lambda s: s[0].update(rows=[0, 90]), "do not hold all 101"),
        (lambda s: s.append({**s[0], "name": "b"}), "does not begin with the sample after"),
        (lambda s: s[0].update(step_end=90, t_end=4.5), "not in its segment"),
        (lambda s: s.clear(), "more segments than are published"),
        (lambda s: split(s, t_start=3.9), "'b' begins before 'run#0' ends"),
        (lambda s: split(s, step_start=79), "'b' begins before 'run#0' ends"),
        (lambda s: split(s, name="run#0"), "two segments have one name"),
        (lambda s: s[0].update(t_start=6.0), "ends before it begins"),
    ],
)
def test_segments_are_checked(change: Callable[[list[dict[str, Any]]], None], message: str, run: Path) -> None:
    path = run / "samples.zarr" / "zarr.json"
    root = json.loads(path.read_bytes())
    change(root["attributes"]["segments"])
    path.write_text(json.dumps(root, indent=1))
    assert message in failed(verify_run(run))


def test_a_forged_number_of_rows_is_no_endless_list(run: Path) -> None:
    for name in ("", "t", "step", "at_stop", "u", "w", "s"):
        path = run / "samples.zarr" / name / "zarr.json"
        path.write_bytes(re.sub(rb'("shape": \[\s+)101', rb"\g<1>1234567890123", path.read_bytes()))
    text = failed(verify_run(run))
    assert 50 < text.count("cannot read") <= 100


# -- running anew --------------------------------------------------------------------------------------------------


def test_a_run_anew_finds_what_is_consistent_and_wrong(run: Path) -> None:
    def change(values: np.ndarray) -> None:
        values[5] = np.nextafter(values[5], 1.0)

    rewrite(run / "samples.zarr" / "w" / "c" / "1", "<f8", change)
    assert verify_run(run).ok
    step = open_run(run).results().step[5 + np.diff([0, *_chunk_rows(run)])[0]]
    assert f"run anew: first at step {step} " in failed(verify_run(run, replay=True))
    assert "w by 1 ulp" in failed(verify_run(run, replay=True))


def _chunk_rows(run: Path) -> list[int]:
    document = json.loads((run / "samples.zarr" / "w" / "zarr.json").read_bytes())
    return document["chunk_grid"]["configuration"]["chunk_shape"]


def test_a_run_anew_finds_a_forged_log_entry_flag_or_state(run: Path) -> None:
    def log(values: np.ndarray) -> None:
        values[1] += 1e-9

    def flag(values: np.ndarray) -> None:
        values[3] = 1

    for name, dtype, change, message in (
        ("events.zarr/values/c/0/0", "<f8", log, "in the event log, first at step"),
        ("samples.zarr/at_stop/c/0", "i1", flag, "only because a run stopped there"),
    ):
        good = (run / name).read_bytes()
        rewrite(run / name, dtype, change)
        assert verify_run(run).ok
        assert message in failed(verify_run(run, replay=True))
        (run / name).write_bytes(good)


def test_a_checkpoint_is_run_anew(tmp_path: Path) -> None:
    """A forged state is refused by its own lineage; one whose lineage is forged too does not come out again."""
    folder = tmp_path / "run"
    cut(folder, 2.9, T=5.0, checkpoint="5 steps")
    directory, full = RunDirectory(folder), ring_full()
    last = directory.latest()
    meta, arrays = parts(last.path)
    arrays["workspace/runtime/base"][0] += 1e-12
    last.path.write_bytes(forged(meta, arrays))
    assert "the lineage leads to another state" in failed(verify_run(folder))
    state = state_from(last.path, last.meta, last.arrays, full.initial_state())
    base = state["base"] * (1 + 2.0**-52)
    other = Snapshot("checkpoint", state.edited({"base": base}), full.model, last.meta.lineage.trail)
    directory.checkpoint(other, last.position, jit=False)
    last.path.unlink()
    assert verify_run(folder).ok
    assert re.search(
        r"run anew: checkpoint-\d+.npz: in the final state.* base.* by \d ulp", failed(verify_run(folder, replay=True))
    )


def test_an_edited_run_is_not_run_anew(tmp_path: Path) -> None:
    sim = ring()
    sim.run(T=1.0, store=tmp_path / "run")
    sim.assign(k=0.3)
    sim.run(T=2.0, resume=True)
    assert verify_run(tmp_path / "run").ok
    with pytest.raises(StoreError, match=r"was edited on the way \(t = 1: set k: 0.15 → 0.3\)"):
        verify_run(tmp_path / "run", replay=True)


def test_another_environment_is_a_note(run: Path) -> None:
    manifest = RunDirectory(run).manifest()
    manifest["versions"]["numpy"] = "1.0"
    RunDirectory(run).write_manifest(manifest)
    found = passes(run, notes=1)
    assert "numpy was '1.0' then" in found.notes[0]
    assert "manifest.json in every number" in str(found)


# -- who uses it, and what it is -----------------------------------------------------------------------------------


def test_a_run_in_use_is_left_alone(run: Path) -> None:
    lock = FolderLock(run)
    assert holder_of(run) is None
    lock.acquire()
    holder = holder_of(run)
    assert holder is not None
    assert holder.startswith(f"process {os.getpid()} on ")
    assert describe_run(run)["in_use"] == holder
    with pytest.raises(StoreBusyError, match=f"in use by process {os.getpid()} "):
        verify_run(run)
    lock.release()
    assert holder_of(run) is None
    assert verify_run(run).ok


def test_the_lock_of_a_killed_process_is_no_lock(run: Path) -> None:
    code = "import os, sys; from pathlib import Path; from dynlib.session.lock import FolderLock; "
    code += "FolderLock(Path(sys.argv[1])).acquire(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(run)], check=False).returncode == 9
    assert (run / "lock").stat().st_size > 0
    assert holder_of(run) is None


def test_what_a_directory_says_of_itself(tmp_path: Path) -> None:
    cut(tmp_path / "run", 2.9, T=5.0, checkpoint="5 steps")
    facts = describe_run(tmp_path / "run")
    json.dumps(facts, allow_nan=False)
    run = open_run(tmp_path / "run")
    last = run.checkpoint()
    assert (facts["t"], facts["step"], facts["samples"]) == (last.meta.t, last.meta.step, len(run))
    assert (facts["status"], facts["ended"], facts["plan"]["T"]) == ("INTERRUPTED", False, 5.0)
    files = sum(p.stat().st_size for p in (tmp_path / "run").rglob("*") if p.is_file())
    assert facts["bytes"]["total"] == files
    last.path.write_bytes(b"")
    facts = describe_run(tmp_path / "run")
    assert "not a usable snapshot" in facts["checkpoints"][0]["damage"]
    assert 0 < facts["step"] < last.meta.step
    with pytest.raises(StoreError, match="holds no run"):
        describe_run(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="holds no run"):
        verify_run(tmp_path / "nowhere")
