"""A passage: a planned run carried out, from the state it starts in to the state it ends in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from dynlib.runtime.driver import Buffers
from dynlib.runtime.progress import Watch
from dynlib.runtime.recording import Recording
from dynlib.runtime.state import SessionState
from dynlib.runtime.trace import Trace
from dynlib.session.accumulator import Accumulator
from dynlib.session.full_model import FullModel
from dynlib.session.lineage import Recorder, Trail, edited_fields, stretch_of
from dynlib.session.run_plan import RunPlan
from dynlib.status import Status

if TYPE_CHECKING:
    from dynlib.session.journal import Journal


class Passage(Struct, frozen=True):
    """What came of a run: the state after it, what led there, and the state in which its recorded part began."""

    state: SessionState
    trail: Trail
    trace: Trace
    first: SessionState


def carry_out(
    full: FullModel,
    plan: RunPlan,
    start: SessionState,
    origin: SessionState,
    trail: Trail,
    trace: Trace,
    accumulator: Accumulator,
    buffers: Buffers,
    watch: Watch | None,
    journal: Journal | None,
) -> Passage:
    """Run a plan; what is recorded goes to the accumulator.

    `origin` is the state in which a transient began: observers go on from their memory there. With a `journal` samples
    and checkpoints go to disk on the way; otherwise the accumulator is changed at the very end only.
    """
    began = time.perf_counter()
    state, extent = start, plan.extent
    if extent.transient_end is not None:
        if journal is not None:
            journal.enter(trail, start, extent.transient_end)
        state, _ = full.advance(start, extent.transient_task(), (), buffers, watch, trace, journal)
        trail = trail.then(stretch_of(start, state))
        if not state.status.ok:
            trace.worked(time.perf_counter() - began, state)
            return Passage(state, trail, trace, state)
        if full.observers:  # a transient does not count
            memory = {name: float(origin[name][0]) for name in full.fresh_observers}
            state, edit = edited_fields(full.model, full.stepper.option_names, state, memory)
            trail, trace = trail.then(edit), Trace.starting_at(state)
        extent = extent.after_transient(state)
    first, state = state, plan.with_recorder(state)
    if state is not first:
        trail = trail.then(Recorder(state.record_interval, state.record_dt))
    task = plan.task(full, state, extent, accumulator.last_t)
    if journal is not None:
        if plan.recording and not accumulator.is_open:
            accumulator.open_segment(full, plan.columns, plan.tag, first, plan.resume)
        journal.enter(trail, state, None)
    after, recording = full.advance(state, task, plan.columns, buffers, watch, trace, journal)
    trail = trail.then(stretch_of(state, after))
    if plan.recording:
        if journal is None:
            accumulator.open_segment(full, plan.columns, plan.tag, first, plan.resume)
        elif after.status is Status.INTERRUPTED:
            _drop_stop_sample(recording)
        accumulator.take(recording)
        accumulator.close_segment(after)
    trace.worked(time.perf_counter() - began, after)
    return Passage(after, trail, trace, first)


def _drop_stop_sample(recording: Recording) -> None:
    """Leave out the sample of an interruption: the run goes on later as if there had been none."""
    if recording.samples and recording.samples[-1][2][-1] != 0:
        *whole, last = recording.samples
        recording.samples = [*whole, *([tuple(a[:-1] for a in last)] if len(last[0]) > 1 else [])]
