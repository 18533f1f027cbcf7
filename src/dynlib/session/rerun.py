"""A run directory run anew from where the run began: are the same files made, byte for byte?"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from dynlib.errors import StoreError
from dynlib.results import Results, Segment
from dynlib.runtime.driver import Buffers
from dynlib.runtime.state import SessionState
from dynlib.runtime.trace import Trace
from dynlib.session.accumulator import Accumulator
from dynlib.session.environment import environment
from dynlib.session.full_model import FullModel
from dynlib.session.lineage import Deed, Edit, Moment, Recorder, Stretch
from dynlib.session.open_run import StoredRecording, StoredRun
from dynlib.session.pins import compare_environments
from dynlib.session.proof import first_difference, repeated, state_difference
from dynlib.session.run_directory import END, MANIFEST, START, Checkpoint, RunDirectory
from dynlib.session.run_plan import RunArguments
from dynlib.session.sample_store import SAMPLES, SampleStore
from dynlib.session.snapshot_file import state_from
from dynlib.session.stored_run import Standing, run_in_directory
from dynlib.session.stored_snapshot import full_model_in
from dynlib.status import Status

_NO_LIMIT, _ROWS = 2**52, 2**16


class Anew(Struct, frozen=True):
    """What came of a run anew: the first difference in words (empty if there is none), what was compared, notes."""

    difference: str
    detail: str
    notes: tuple[str, ...] = ()


def run_anew(run: StoredRun, folder: Path) -> Anew:
    """Run what stands in a directory anew, in another folder, and compare.

    A run that has ended must give the same files, byte for byte. Of one that has not, all samples and every checkpoint
    must come out to the bit. Raises `StoreError` if values were set on the way: they are not in start.npz.
    """
    begin, last, recorded = run.directory.start(), run.checkpoint(), run.recorded()
    deeds = deeds_since(begin.meta.lineage, last.meta.lineage) or ()
    _check_unedited(run, deeds, recorded.segments)
    full = full_model_in(begin.path, begin.meta, jit=run.manifest["versions"].get("kernel") == "compiled")
    origin = state_from(begin.path, begin.meta, begin.arrays, full.initial_state())
    _repeat(run, full, origin, begin, recorded.segments, _recorders(deeds), folder)
    difference = _tables_differ(recorded, SampleStore(folder, full.model, run.columns), last.ended)
    if last.ended:
        difference, detail = _files_differ(run, folder, full, origin, difference)
    else:
        others = [run.directory.read(p) for p in run.directory.saved() if p != begin.path]
        for checkpoint in others:
            difference = difference or _checkpoint_differs(full, origin, begin, checkpoint)
        detail = f"{recorded.rows} samples, {len(others)} checkpoint(s) to the bit; the run has not ended"
    here, there = environment(full.kernel.jit), run.manifest["versions"]
    odd = compare_environments(here, there)
    return Anew(difference, detail, tuple(f"{name} was {b!r} then and is {a!r} now" for name, (a, b) in odd.items()))


def deeds_since(first: Moment, last: Moment) -> tuple[Deed, ...] | None:
    """What was done from one moment to another, None if the one does not lead to the other.

    A run that goes on is one deed: the first of these may have begun before.
    """
    before, after = _all_deeds(first), _all_deeds(last)
    if first.trail.root != last.trail.root or len(after) < len(before):
        return None
    if after[: len(before)] == before:
        return after[len(before) :]
    *same, run = before
    longer = after[len(same)]
    if after[: len(same)] != tuple(same) or not (isinstance(run, Stretch) and isinstance(longer, Stretch)):
        return None
    return after[len(same) :] if (run.t_from, run.step_from) == (longer.t_from, longer.step_from) else None


def _all_deeds(moment: Moment) -> tuple[Deed, ...]:
    return tuple(deed for m in (*moment.trail.moments(), moment) for deed in m.trail.deeds)


def _check_unedited(run: StoredRun, deeds: Sequence[Deed], segments: Sequence[Segment]) -> None:
    """Raises `StoreError` if a value was set on the way; observers that begin anew after a transient are no such."""
    transient = run.manifest["plan"].get("transient")
    for deed in deeds:
        if isinstance(deed, Edit):
            fields_only = not deed.restart and all(name.startswith("field.") for name, _, _ in deed.changes)
            begins = bool(segments) and (deed.t, deed.step) == (segments[0].t_start, segments[0].step_start)
            if not (transient and fields_only and begins):
                raise StoreError(
                    f"{run.path} was edited on the way (t = {deed.t:g}: {deed}) and cannot be run anew from start.npz"
                )


def _recorders(deeds: Sequence[Deed]) -> dict[tuple[float, int], Recorder]:
    """Where on the way the recorder was set, by time and step."""
    return {
        (run.t_from, run.step_from): deed
        for deed, run in pairwise(deeds)
        if isinstance(deed, Recorder) and isinstance(run, Stretch)
    }


# -- running anew --------------------------------------------------------------------------------------------------


def _repeat(
    run: StoredRun,
    full: FullModel,
    origin: SessionState,
    begin: Checkpoint,
    segments: Sequence[Segment],
    recorders: Mapping[tuple[float, int], Recorder],
    folder: Path,
) -> None:
    """Make the run in another folder, segment by segment, as the session made it that ran there."""
    target, plan = RunDirectory(folder), run.manifest["plan"]
    known = len(begin.position.segments)
    here = Standing(origin, begin.meta.lineage.trail, Trace.starting_at(origin), _recorded_before(run, full, begin))
    for segment in segments[known:]:
        recorder = recorders.get((segment.t_start, segment.step_start))
        interval, grid = (recorder.interval, recorder.dt) if recorder else (0, 0.0)
        if not segment.resume:
            interval, grid = plan["record_interval"], plan["record_dt"]
        beyond = max(segment.t_end, plan["T"] or segment.t_end) + max(1.0, abs(segment.t_end))
        done = segment.status == Status.DONE.name
        limited = segment.status in (Status.MAX_STEPS.name, Status.INTERRUPTED.name)
        arguments = RunArguments(
            T=segment.t_end if done else beyond,
            max_steps=max(1, segment.step_end - here.state.step) if limited else _NO_LIMIT,
            record=True,
            record_interval=interval or None,
            record_dt=grid or None,
            record_vars=run.columns,
            transient=0.0 if segment.resume else plan["transient"],
            resume=segment.resume,
            tag=segment.name,
            checkpoint=plan["checkpoint"],
        )
        again = arguments.plan(full, here.state, here.accumulator)
        found = run_in_directory(full, target, arguments, again, here, Buffers(), None, False)
        if found.failure is not None:
            raise found.failure
        if found.terminated:
            raise SystemExit(128 + signal.SIGTERM)
        passage = found.passage
        if passage.state.status is Status.INTERRUPTED:
            raise KeyboardInterrupt("the verification was interrupted")
        here = Standing(passage.state, passage.trail, passage.trace, found.accumulator)
    if target.exists:
        target.update_plan(plan)


def _recorded_before(run: StoredRun, full: FullModel, begin: Checkpoint) -> Accumulator:
    """What the session had recorded in memory when its run came to the folder."""
    accumulator, position = Accumulator(full), begin.position
    if position.segments:
        accumulator.columns, accumulator.segments = position.columns, list(position.segments)
        blocks = full.new_recording(len(position.columns))
        for t, step, at_stop, data in run.store.blocks(0, position.rows):
            blocks.samples.append((t, step, at_stop, data))
        blocks.events += run.store.log_blocks(0, position.entries)
        accumulator.take(blocks)
    return accumulator


# -- comparing -----------------------------------------------------------------------------------------------------


def _tables_differ(recorded: StoredRecording, anew: SampleStore, ended: bool) -> str:
    """Where samples or log entries first differ, in words; of a run that has not ended there may be more anew."""
    there = recorded.store
    counts = anew.published() if (anew.folder / SAMPLES).exists() else (0, 0)
    nothing = there.results(there.columns, 0, 0, ())

    def samples(store: SampleStore, first: int, last: int) -> Results:
        found = store.results(store.columns, last, 0, (), first)
        return replace(found, at_stop=np.zeros(len(found.t), bool))

    for a in range(0, min(recorded.rows, counts[0]), _ROWS):
        b = min(a + _ROWS, recorded.rows, counts[0])
        if text := first_difference(samples(there, a, b), samples(anew, a, b)):
            return text
        for (*_, one), (*_, two) in zip(there.clock(a, b), anew.clock(a, b), strict=True):
            if one.tobytes() != two.tobytes():
                return f"samples {a} to {b}: not the same ones stand only because a run stopped there"
    for a in range(0, min(recorded.entries, counts[1]), _ROWS):
        b = min(a + _ROWS, recorded.entries, counts[1])
        if text := first_difference(*(replace(nothing, log=store.log(a, b)) for store in (there, anew))):
            return text
    for what, there_are, come_out in zip(("samples", "log entries"), (recorded.rows, recorded.entries), counts):
        if come_out < there_are or (ended and come_out > there_are):
            return f"{there_are} {what} are there, {come_out} came out anew"
    return ""


def _checkpoint_differs(full: FullModel, origin: SessionState, begin: Checkpoint, checkpoint: Checkpoint) -> str:
    """Whether the state of a checkpoint comes out again, in words."""
    state = origin
    for deed in deeds_since(begin.meta.lineage, checkpoint.meta.lineage) or ():
        state = repeated(full, deed, state)
    return _state_differs(full, checkpoint, state)


def _state_differs(full: FullModel, checkpoint: Checkpoint, state: SessionState) -> str:
    there = state_from(checkpoint.path, checkpoint.meta, checkpoint.arrays, full.initial_state())
    text = state_difference(full.model, there, state)
    return f"{checkpoint.path.name}: {text}" if text else ""


def _files_differ(
    run: StoredRun, folder: Path, full: FullModel, origin: SessionState, difference: str
) -> tuple[str, str]:
    """The first file that differs, in words, unless a difference is known; and how many were compared."""
    anew, count, odd = RunDirectory(folder), 0, []
    for name in _names(run):
        count += 1
        one, two = ((each / name).read_bytes() if (each / name).is_file() else None for each in (run.path, folder))
        if one == two or difference:
            continue
        if one is None or two is None:
            difference = f"{name} is {'missing' if one is None else 'not made anew'}"
        elif name == MANIFEST:
            odd.append(name)
            there, here = run.directory.manifest(), anew.manifest()
            keys = [k for k in there if there[k] != here.get(k) and k not in ("versions", "digest")]
            difference = f"{name}: other {', '.join(keys)}" if keys else ""
        elif name.endswith(".npz"):
            odd.append(name)
            state = anew.read(folder / name)
            difference = _state_differs(
                full, run.directory.read(run.path / name),
                state_from(state.path, state.meta, state.arrays, full.initial_state()),
            )  # fmt: skip
        else:
            difference = f"{name} differs"
    equal = f"all of {count} files are equal byte for byte"
    if odd:
        equal = f"{count - len(odd)} of {count} files are equal byte for byte; {', '.join(odd)} in every number"
    return difference, equal


def _names(run: StoredRun) -> list[str]:
    """The files of a run that has ended, by their names relative to the folder; not what killed processes left."""
    files = [run.path / MANIFEST, run.path / START, run.path / END]
    for table, rows in zip(run.store.tables, run.store.published(), strict=False):
        files += table.meta_files()
        for index in range(table.chunks(rows)):
            files += table.chunk_files(index)
    return [file.relative_to(run.path).as_posix() for file in files]
