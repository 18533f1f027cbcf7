"""A run directory from outside: all that is in it, also while a run goes on in it, and the way to go on."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from session.kit import content, ring_full
from session.stored_runs import content_of, difference

import dynlib
from dynlib import Buffers, ConfigError, ResumeError, Sim, StoreError, open_run
from dynlib.session.run_directory import Checkpoint, RunDirectory
from dynlib.session.sample_store import SampleStore

SMALL = Buffers(rows=8, logs=2, steps=5, foresee=False)
PLANS: dict[str, dict[str, Any]] = {
    "to a time": {"T": 6.0},
    "steps": {"N": 120, "record_interval": 3},
    "transient": {"T": 6.0, "transient": 2.0, "record_dt": 0.11, "tag": "main"},
    "few variables": {"T": 6.0, "record_vars": ["s", "u[1]"]},
}


@pytest.fixture(autouse=True, scope="module")
def short_pauses_and_no_waiting() -> Iterator[None]:
    """A run pauses after every step, so that tests do not depend on the speed of the machine.

    Nothing here is about the durability of a disk, and waiting for it is most of the time.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dynlib.runtime.driver._CHUNK_SECONDS", 0.0)
        patch.setattr(os, "fsync", lambda handle: None)
        yield


def ring() -> Sim:
    return Sim(ring_full(), buffers=SMALL)


def stop_at(t: float) -> Callable[[float, float], None]:
    """A progress that ends its own process, as far as the run can see, at a time."""

    def progress(fraction: float, now: float) -> None:
        if now >= t:
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


def cut(folder: Path, t: float, **plan: Any) -> None:
    """A run that SIGTERM ends on its way."""
    with pytest.raises(SystemExit) as stop:
        ring().run(store=folder, progress=stop_at(t), **plan)
    assert stop.value.code == 143


def test_all_that_a_session_recorded_is_there(tmp_path: Path) -> None:
    sim = ring()
    sim.run(T=3.0, store=tmp_path / "run", tag="a")
    sim.run(T=5.03, resume=True)
    run = open_run(tmp_path / "run")
    assert content(run.results().raw) == content(sim.raw_results())
    assert [s.name for s in run.segments] == ["a", "run#1"]
    assert run.columns == sim.raw_results().columns
    assert run.model.structure_hash == sim.full_model.model.structure_hash
    assert run.manifest["plan"]["T"] == 5.03
    assert run.status == "DONE"
    assert len(run) == len(sim.results())
    assert run.checkpoint().meta.lineage.state_digest == sim.lineage().last.state_digest
    entries = len(sim.raw_results().log.t)
    assert repr(run) == f"<run of 'ring' in {run.path}: 102 samples, {entries} log entries, DONE>"


def test_a_part_and_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynlib.session.table.CHUNK_BYTES", 1000)
    sim = ring()
    sim.run(T=5.0, store=tmp_path / "run")
    whole, run = sim.raw_results(), open_run(tmp_path / "run")
    part = run.results(17, 60).raw
    assert part.data.tobytes() == whole.data[17:60].tobytes()
    assert part.t.tobytes() == whole.t[17:60].tobytes()
    blocks = list(run.blocks())
    assert len(blocks) > 3
    for k, name in enumerate(("t", "step", "at_stop", "data")):
        assert np.concatenate([b[k] for b in blocks]).tobytes() == getattr(whole, name).tobytes()
    for first, last in ((-1, 3), (4, 3), (0, len(run) + 1)):
        with pytest.raises(ConfigError, match="not within the 101 rows"):
            run.results(first, last)


def test_looking_on_while_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is seen on the way is a beginning of what is there in the end, and never damaged."""
    monkeypatch.setattr("dynlib.session.table.CHUNK_BYTES", 1000)
    seen = []

    def look(fraction: float, now: float) -> None:
        if round(now / 0.05) % 9:
            return
        run = open_run(tmp_path / "run")
        seen.append(run.results().raw)
        assert run.status == "INTERRUPTED"
        assert run.checkpoint().position.rows <= len(run)

    sim = ring()
    sim.run(T=6.0, store=tmp_path / "run", checkpoint="7 steps", progress=look)
    whole = sim.raw_results()
    assert len({len(raw.t) for raw in seen}) > 10
    for raw in seen:
        rows, entries = len(raw.t), len(raw.log.t)
        assert raw.data.tobytes() == whole.data[:rows].tobytes()
        assert raw.log.values.tobytes() == whole.log.values[:entries].tobytes()
        assert [(s.name, s.rows, s.entries) for s in raw.segments] == [("run#0", (0, rows), (0, entries))] * len(
            raw.segments
        )
    assert len(seen[-1].log.t) > 0


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_nothing_but_the_directory_is_needed_to_go_on(plan: dict[str, Any], tmp_path: Path) -> None:
    ring().run(store=tmp_path / "whole", **plan)
    for t in (1.0, 2.9) if "transient" in plan else (2.9,):
        cut(tmp_path / "cut", t, **plan)
        sim, outcome = open_run(tmp_path / "cut").resume(jit=False)
        assert outcome.kind == "continued"
        assert outcome.steps > 0
        assert not difference(content_of(tmp_path / "whole"), content_of(tmp_path / "cut"))
        assert content(sim.raw_results()) == content(open_run(tmp_path / "whole").results().raw)
        assert open_run(tmp_path / "cut").resume(jit=False)[1].kind == "complete"
        shutil.rmtree(tmp_path / "cut")


def test_a_run_that_was_cut_where_it_is_to_end_ends_there(tmp_path: Path) -> None:
    """No step is left to take, and still the folder is that of a run that nothing disturbed."""
    cut(tmp_path / "cut", 2.9, T=6.0)
    step = open_run(tmp_path / "cut").checkpoint().meta.step
    _, outcome = open_run(tmp_path / "cut").resume(N=step, jit=False)
    assert (outcome.kind, outcome.steps, outcome.status.name) == ("continued", 0, "DONE")
    ring().run(N=step, store=tmp_path / "whole")
    assert not difference(content_of(tmp_path / "whole"), content_of(tmp_path / "cut"))


def test_going_further_than_was_asked_first(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ring().run(T=2.0, store=folder)
    sim, outcome = open_run(folder).resume(4.0, jit=False, checkpoint="3 steps")
    assert (outcome.kind, outcome.t, outcome.segment) == ("continued", 4.0, "run#1")
    assert open_run(folder).manifest["plan"]["T"] == 4.0
    assert open_run(folder).manifest["plan"]["checkpoint"] == "3 steps"
    with pytest.raises(ResumeError, match="has gone on to t = 4, past T = 3"):
        open_run(folder).resume(3.0, jit=False)
    single = ring()
    single.run(T=4.0)
    assert sim.state.same_bits(single.state)


@pytest.mark.parametrize("further", [{"T": 8.0}, {"N": 70}])
def test_a_further_run_of_the_session_is_taken_up_to_its_own_end(further: dict[str, Any], tmp_path: Path) -> None:
    """The manifest says how far the last run of the session was to go, not the first."""
    whole, sim = ring(), ring()
    for each, folder in ((whole, "whole"), (sim, "cut")):
        each.run(T=3.0, store=tmp_path / folder)
    whole.run(resume=True, **further)
    with pytest.raises(SystemExit):
        sim.run(resume=True, progress=stop_at(4.0), **further)
    again, outcome = open_run(tmp_path / "cut").resume(jit=False)
    assert outcome.status.name == "DONE"
    assert not difference(content_of(tmp_path / "whole"), content_of(tmp_path / "cut"))
    assert again.state.same_bits(whole.state)


def test_ctrl_c_while_the_end_is_saved_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session stands at the end of the run with all that it recorded, and goes on in its folder."""
    whole, sim = ring(), ring()
    whole.run(T=3.0, store=tmp_path / "whole")
    whole.run(T=6.0, resume=True)
    sim.run(T=1.5, store=tmp_path / "run")
    sim.run(T=3.0, resume=True)  # one segment more, so that samples would be there twice

    def impatient(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dynlib.session.run_directory.RunDirectory.complete", impatient)
        with pytest.raises(KeyboardInterrupt):
            sim.run(T=4.5, resume=True)
    assert sim.t == 4.5
    sim.run(T=6.0, resume=True)
    assert sim.state.same_bits(whole.state)
    assert sim.raw_results().data.tobytes() == whole.raw_results().data.tobytes()
    assert open_run(tmp_path / "run").results().raw.data.tobytes() == whole.raw_results().data.tobytes()


def test_a_checkpoint_that_goes_while_it_is_looked_at_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks on lists the checkpoints, and the run replaces them before they are read."""
    cut(tmp_path / "run", 2.9, T=5.0, checkpoint="5 steps")
    run = open_run(tmp_path / "run")
    number = int(run.checkpoint().path.stem.rpartition("-")[2])
    read = RunDirectory.read

    def late(self: RunDirectory, path: Path) -> Checkpoint:
        for k in (number, number - 1):
            old = tmp_path / "run" / f"checkpoint-{k:06d}.npz"
            if old.exists():
                old.rename(old.with_name(f"checkpoint-{k + 2:06d}.npz"))
        return read(self, path)

    monkeypatch.setattr(RunDirectory, "read", late)
    assert run.checkpoint().path.name == f"checkpoint-{number + 2:06d}.npz"


def test_samples_that_are_taken_back_meanwhile_are_noticed(tmp_path: Path) -> None:
    """A run that was killed and taken up counts fewer samples for a while; a reader must not see the gap as zeros."""
    ring().run(T=3.0, store=tmp_path / "run")
    run = open_run(tmp_path / "run")
    recorded = run.recorded()
    store = SampleStore(run.path, run.model, run.columns)
    store.rewind(20, 0)
    store.publish(())
    for read in (recorded.clock, lambda: recorded.values([0]), recorded.log):
        with pytest.raises(StoreError, match="taken up at an earlier point meanwhile"):
            list(read())


def test_what_holds_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        open_run(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is not a folder"):
        open_run(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("")
    with pytest.raises(StoreError, match="other files \\(letter.txt\\)"):
        open_run(tmp_path / "other")
    with pytest.raises(StoreError, match="must be the name of a folder"):
        open_run(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("manifest.json", lambda data: data.replace(b'"T": 2.0', b'"T": 3.0'), "digest"),
        ("manifest.json", lambda data: data[:-40], "not JSON"),
        ("manifest.json", lambda data: b"[]", "not the manifest"),
        ("manifest.json", lambda data: data.replace(b'version": 1', b'version": 9'), "format version 9"),
        ("start.npz", lambda data: data[:-40], "start.npz is not a usable snapshot file"),
        ("samples.zarr/zarr.json", lambda data: data.replace(b'"rows"', b'"cols"'), "segments are malformed"),
        ("samples.zarr/u/c/0/0", lambda data: data[:8] + b"\x01" + data[9:], "checksum"),
        ("samples.zarr/u/c/0/0", lambda data: data[:-1], "length"),
        ("events.zarr/event/c/0", None, "cannot read"),
    ],
)
def test_damage_is_one_clear_error(
    name: str, change: Callable[[bytes], bytes] | None, message: str, tmp_path: Path
) -> None:
    ring().run(T=2.0, store=tmp_path / "run")
    path = tmp_path / "run" / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(StoreError, match=message):
        open_run(tmp_path / "run").results()


def test_a_directory_of_another_model_is_not_continued(tmp_path: Path) -> None:
    ring().run(T=2.0, store=tmp_path / "run")
    other = dynlib.setup("builtin://map/henon", jit=False)
    with pytest.raises(StoreError, match="holds a run of another model"):
        other.resume_or_start(tmp_path / "run", N=10)
