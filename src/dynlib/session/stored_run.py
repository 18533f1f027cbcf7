"""A run in a directory: started there, or taken up where the last whole checkpoint left it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from dynlib.compile.layout import TIME_TOLERANCE
from dynlib.errors import ConfigError, NumericsWarning, ResumeError, SnapshotFileError, StoreError
from dynlib.runtime.driver import Buffers
from dynlib.runtime.progress import Watch
from dynlib.runtime.state import SessionState
from dynlib.runtime.trace import Trace
from dynlib.session.accumulator import Accumulator
from dynlib.session.environment import environment
from dynlib.session.every import Every
from dynlib.session.full_model import FullModel
from dynlib.session.journal import NAME, Journal
from dynlib.session.lineage import Trail, edit_of
from dynlib.session.passage import Passage, carry_out
from dynlib.session.pins import compare_environments, compare_pins
from dynlib.session.run_directory import Checkpoint, RunDirectory
from dynlib.session.run_plan import FAR, RunArguments, RunPlan
from dynlib.session.sample_store import SampleStore
from dynlib.session.snapshot_file import state_from
from dynlib.session.snapshots import Snapshot
from dynlib.session.stored_results import StorePosition
from dynlib.session.values import by_name, plain
from dynlib.status import Status


class Standing(Struct, frozen=True):
    """Where a session stands before a run: state, what led to it, its trace, and what is recorded."""

    state: SessionState
    trail: Trail
    trace: Trace
    accumulator: Accumulator


class StoredPassage(Struct, frozen=True):
    """What came of a run in a directory; `failure` is the error of the disk, or the Ctrl-C while it was saved.

    `kind` says whether the run was "started" or "continued", or was "complete" before.
    """

    passage: Passage
    accumulator: Accumulator
    failure: StoreError | KeyboardInterrupt | None
    terminated: bool
    kind: str = "started"


def run_in_directory(
    full: FullModel,
    directory: RunDirectory,
    arguments: RunArguments,
    plan: RunPlan,
    here: Standing,
    buffers: Buffers,
    watch: Watch | None,
    again: bool,
) -> StoredPassage:
    """Run a plan in a directory. With `again` a run that stands there is continued, else it is refused.

    Raises `StoreError`, `StoreBusyError`, and `ResumeError` for a horizon that is behind.
    """
    every = Every.parse(arguments.checkpoint)
    if not plan.recording:
        raise ConfigError("store= keeps what is recorded; leave record out, or record seldom (record_interval=…)")
    own = here.accumulator.store is not None  # this session has been running there
    _check_free(directory, again or own)
    directory.make_folder()
    try:
        _check_free(directory, again or own)  # another process may have come first
        directory.sweep()
        origin, kind = here.state, "continued" if directory.exists else "started"
        if own:
            directory.check_untouched()
            directory.update_plan(_further(directory, arguments, plan, here))
            here.accumulator.reopen_segment()
        elif directory.exists:
            asked = plan
            here, plan, origin, ended = _taken_up(full, directory, arguments, asked, here)
            if _is_complete(directory, plan, here.state, ended):
                directory.remove_checkpoints()
                done = Passage(here.state, here.trail, here.trace, here.state)
                return StoredPassage(done, here.accumulator, None, False, "complete")
            directory.update_plan(_plan_document(arguments, asked))
        else:
            _begin(full, directory, arguments, plan, here)
        return replace(_carried_out(full, directory, plan, here, origin, buffers, watch, every), kind=kind)
    finally:
        directory.lock.release()


def _check_free(directory: RunDirectory, may_hold_a_run: bool) -> None:
    """Raises `StoreError` for a folder that holds something else, or a run where none may be."""
    if directory.exists and not may_hold_a_run:
        raise StoreError(f"{directory.path} holds a run already; go on with resume_or_start(), or give a new folder")


def _begin(full: FullModel, directory: RunDirectory, arguments: RunArguments, plan: RunPlan, here: Standing) -> None:
    """Make a run of the folder: what it is, and where it begins."""
    store = SampleStore(directory.path, full.model, plan.columns, directory.disk)
    here.accumulator.move_to(store)
    state = here.state
    store.publish(here.accumulator.segments)
    snapshot = Snapshot(NAME, state, full.model, here.trail, observers=full.observers)
    a = here.accumulator
    position = StorePosition(a.rows, a.entries, plan.extent.transient_end, plan.columns, tuple(a.segments))
    directory.begin(snapshot, position, full.kernel.jit)
    versions = environment(full.kernel.jit)
    directory.write_manifest({**facts_of(full, state), "versions": versions, "plan": _plan_document(arguments, plan)})


def facts_of(full: FullModel, state: SessionState) -> dict[str, Any]:
    """What the manifest says of the model and of the state in which a run begins."""
    return {
        "model": full.model.name,
        "structure": full.pins.structure,
        "stepper": full.stepper.name,
        "options": {k: v if math.isfinite(v) else repr(v) for k, v in zip(full.stepper.option_names, state.config)},
        "dt": state.nominal_dt,
        "dtype": full.model.dtype,
        "math": full.kernel.math,
        "t0": state.t,
        "states": plain(by_name(full.model.states, state["y"])),
        "params": plain(by_name(full.model.params, state["params"])),
        "seed": int(state["seed"][0]) if full.model.random else None,
    }


def _plan_document(arguments: RunArguments, plan: RunPlan) -> dict[str, Any]:
    extent = plan.extent
    interval, grid = plan.recorder or (0, 0.0)
    return {
        "T": extent.horizon if math.isfinite(extent.horizon) else None,
        "N": extent.steps,
        "max_steps": arguments.max_steps,
        "transient": arguments.transient,
        "record_interval": interval,
        "record_dt": grid,
        "record_vars": list(plan.columns),
        "tag": plan.tag,
        "checkpoint": arguments.checkpoint,
    }


def _further(directory: RunDirectory, arguments: RunArguments, plan: RunPlan, here: Standing) -> dict[str, Any]:
    """The plan in the manifest with how far the run is to go now, as whoever takes it up from its start counts."""
    extent, segments = plan.extent, here.accumulator.segments
    origin = segments[0].step_start if segments else here.state.step
    limited = extent.steps is None and extent.n_limit < FAR
    return {
        **directory.manifest()["plan"],
        "T": extent.horizon if math.isfinite(extent.horizon) else None,
        "N": None if extent.steps is None else extent.n_limit - origin,
        "max_steps": extent.n_limit - directory.start().meta.step if limited else None,
        "checkpoint": arguments.checkpoint,
    }


_SAME = ("transient", "record_interval", "record_dt", "record_vars", "tag")
"""What of a plan must be the same when a run is taken up; how far it goes and how often it is saved may change."""


def _taken_up(
    full: FullModel, directory: RunDirectory, arguments: RunArguments, plan: RunPlan, here: Standing
) -> tuple[Standing, RunPlan, SessionState, bool]:
    """The session as if it had run there itself, what is left to do, where the run began, and whether it has ended."""
    manifest, begin = directory.manifest(), directory.start()
    origin = _state_of(full, begin)
    document = _plan_document(arguments, plan)
    _check_same(full, directory, manifest["plan"], document, origin, here.state)
    last = directory.latest()
    state, position = _state_of(full, last), last.position
    for name, (now, then) in compare_environments(environment(full.kernel.jit), last.meta.environment).items():
        message = (
            f"{directory.path} was last continued with {name} {then!r}, here it is {now!r}: the last bits may differ"
        )
        warnings.warn(message, NumericsWarning, stacklevel=5)
    store = SampleStore(directory.path, full.model, position.columns, directory.disk)
    rows, entries = store.published()
    if rows < position.rows or entries < position.entries:
        raise StoreError(f"{directory.path} is damaged: its tables hold fewer samples than {last.path.name} counts")
    store.rewind(position.rows, position.entries)
    accumulator = Accumulator(full, store)
    accumulator.continue_from(position, store.last_t(position.rows))
    extent = replace(plan.extent, transient_end=position.transient_end)
    if position.segments:
        first = position.segments[0].step_start
        limit = extent.n_limit if extent.steps is None else first + extent.steps
        going_on = accumulator.reopen_segment()
        tag = plan.tag if going_on else accumulator.new_name(None, resume=True)
        plan = replace(plan, extent=replace(extent, n_limit=limit), recorder=None, tag=tag, resume=True)
    else:
        plan = replace(plan, extent=extent)
    trail = last.meta.lineage.trail
    return Standing(state, trail, Trace.starting_at(state), accumulator), plan, origin, last.ended


def _state_of(full: FullModel, checkpoint: Checkpoint) -> SessionState:
    verdict = compare_pins(full.pins, checkpoint.meta.pins)
    if not verdict.ok:
        raise StoreError(f"{checkpoint.path.parent} holds a run of another model: {verdict.reason()}")
    try:
        return state_from(checkpoint.path, checkpoint.meta, checkpoint.arrays, full.initial_state())
    except SnapshotFileError as problem:
        raise StoreError(str(problem)) from None


def _check_same(
    full: FullModel,
    directory: RunDirectory,
    plan_there: Mapping[str, Any],
    plan_here: Mapping[str, Any],
    there: SessionState,
    here: SessionState,
) -> None:
    """Raises `StoreError` naming all that differs between how the run began and how this one would begin."""
    names = full.stepper.option_names
    changes = edit_of(there, here, full.model, names, restart=False).changes
    differences = [f"{name.removeprefix('run.')} = {old:g} there, {new:g} here" for name, old, new in changes]
    differences += [
        f"{name} = {plan_there.get(name)!r} there, {plan_here[name]!r} here"
        for name in _SAME
        if plan_there.get(name) != plan_here[name]
    ]
    if not differences and not there.same_bits(here):
        differences = [f"it began at t = {there.t:g}, step {there.step}; this session stands elsewhere in its history"]
    if differences:
        more = f" and {len(differences) - 6} more" if len(differences) > 6 else ""
        raise StoreError(
            f"{directory.path} holds another run: {'; '.join(differences[:6])}{more}. "
            "Give another folder, or begin as that run did"
        )


def _is_complete(directory: RunDirectory, plan: RunPlan, state: SessionState, ended: bool) -> bool:
    """Whether there is nothing left to do. Raises `ResumeError` if the run has gone further than it is now asked to."""
    horizon, tolerance = plan.extent.horizon, TIME_TOLERANCE * abs(state.t)
    if ended and state.status not in (Status.DONE, Status.MAX_STEPS):
        return True
    if state.t > horizon + tolerance:
        raise ResumeError(
            f"the run in {directory.path} has gone on to t = {state.t:g}, past T = {horizon:g}; choose a later T"
        )
    return ended and (state.t >= horizon - tolerance or state.step >= plan.extent.n_limit)


def _carried_out(
    full: FullModel,
    directory: RunDirectory,
    plan: RunPlan,
    here: Standing,
    origin: SessionState,
    buffers: Buffers,
    watch: Watch | None,
    every: Every,
) -> StoredPassage:
    accumulator = here.accumulator
    journal = Journal(full, directory, accumulator, every)
    journal.enter(here.trail, here.state, plan.extent.transient_end)
    before, last_t = journal.position(here.state), accumulator.last_t
    try:
        passage = carry_out(
            full, plan, here.state, origin, here.trail, here.trace, accumulator, buffers, watch, journal
        )
    except BaseException:
        accumulator.rewind(before, last_t)
        raise
    if journal.failure is None:
        try:
            journal.end(passage.state)
        except (StoreError, KeyboardInterrupt) as problem:  # what was computed is not lost to the session
            journal.failure = problem
    return StoredPassage(passage, accumulator, journal.failure, journal.terminated)
