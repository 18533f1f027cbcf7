"""Proof: runs that must agree to the bit are made and compared, and a lineage is run again from its root."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from dynlib.compile.layout import TIME_TOLERANCE
from dynlib.errors import ConfigError, NumericsWarning, SnapshotError
from dynlib.results import EventLog, Results
from dynlib.runtime.driver import Buffers, Task
from dynlib.runtime.state import Array, SessionState
from dynlib.session.difference import ulp_distance
from dynlib.session.full_model import FullModel
from dynlib.session.lineage import Deed, Edit, Moment, Recorder, digest_of, repeated_edit
from dynlib.session.snapshot_file import read_results
from dynlib.spec.model import Model
from dynlib.status import Status

if TYPE_CHECKING:
    from dynlib.session.sim import Sim

_FAR = 2**62
_SMALL = Buffers(rows=4, logs=1, steps=7, foresee=False)
_FRACTIONS = (0.37, 0.5, 0.11, 0.83, 0.62, 0.93, 0.24, 0.71, 0.05, 0.47)


class Check(Struct, frozen=True):
    """One way to run: whether it agreed, or the first difference (step, time, variable, distance in ulps)."""

    name: str
    ok: bool
    detail: str


class Proof(Struct, frozen=True):
    """What `verify_restart` found."""

    checks: tuple[Check, ...]
    t_from: float
    t_to: float
    steps: int

    @property
    def ok(self) -> bool:
        """Whether all ways agreed to the bit."""
        return all(check.ok for check in self.checks)

    def __repr__(self) -> str:
        return f"<proof\n{self}\n>"

    def __str__(self) -> str:
        head = f"t = {self.t_from:g} … {self.t_to:g}, {self.steps} steps"
        rows = [f"  {'equal ' if c.ok else 'DIFFERS'}  {c.name:<34} {c.detail}" for c in self.checks]
        return "\n".join([head, *rows, "every bit agrees" if self.ok else "NOT the same run"])


def verify_restart(
    twin: Callable[[Buffers], Sim], start: SessionState, T: float, cuts: int | Sequence[float], process: bool
) -> Proof:
    """Run from a state to `T` in several ways; `twin` makes a session that stands at the state."""
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        single = twin(Buffers())
        most = single.full_model.model.sim.max_steps

        def run(sim: Sim, t: float, resume: bool = False) -> None:
            """Run on; the model's limit on steps holds for the whole way."""
            left = None if most is None else start.step + most - sim.step
            if left != 0:
                sim.run(t, resume=resume, record=True, max_steps=left)

        times = _cut_times(cuts, start.t, T)
        run(single, T)
        end, whole = single.state, single.raw_results()
        times = [t for t in times if end.t - t > 2 * TIME_TOLERANCE * abs(t)]  # the run may have ended early
        shown = ", ".join(f"{t:.6g}" for t in times[:4]) + (", …" if len(times) > 4 else "")
        shown = f"at t = {shown}" if times else f"no cut: the run ended at t = {end.t:.6g}"
        checks: list[Check] = []

        def check(name: str, detail: str, after: SessionState, *pieces: Results) -> None:
            found = first_difference(whole, *pieces) or state_difference(single.full_model.model, end, after)
            checks.append(Check(name, not found, found or detail))

        again = twin(Buffers())
        run(again, T)
        check("run twice", "", again.state, again.raw_results())
        split, watched, through, small = twin(Buffers()), twin(Buffers()), twin(Buffers()), twin(_SMALL)
        path = Path(folder) / "cut.npz"
        pieces: list[Results] = []
        for k, t in enumerate((*times, T)):
            for sim in (split, watched, through, small):
                if sim.state.status.ok or k == 0:
                    run(sim, t, resume=k > 0)
            watched.create_snapshot(f"verify-{k}")
            watched.export_snapshot(path)
            pieces += [through.raw_results()] if through.raw_results().columns else []
            through.export_snapshot(path)
            through.import_snapshot(path)
        check("cut", shown, split.state, split.raw_results())
        check("cut, snapshots and files written", shown, watched.state, watched.raw_results())
        check("cut, continued from files", shown, through.state, *pieces)
        check("cut, smallest buffers", f"{_SMALL.rows} rows, {_SMALL.steps} steps at a time", small.state,
              small.raw_results())  # fmt: skip
        if process:
            first, last = Path(folder) / "first.npz", Path(folder) / "last.npz"
            begin = twin(Buffers())
            begin.export_snapshot(first)
            command = [sys.executable, "-m", "dynlib.cli.main", "run", str(first), f"--T={T!r}", "--quiet"]
            command += ["--snapshot", str(last), "--with-results"]
            command += [] if begin.full_model.kernel.jit else ["--no-jit"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode not in (0, 1) or not last.exists():
                checks.append(Check("new process", False, done.stderr.strip()[-300:]))
            else:
                begin.import_snapshot(last)
                check("new process", "continued from a file", begin.state, read_results(last).raw)
        return Proof(tuple(checks), start.t, end.t, end.step - start.step)


def _cut_times(cuts: int | Sequence[float], start: float, end: float) -> list[float]:
    """Times in between, in their order, none within rounding of another. Raises `ConfigError`."""
    if isinstance(cuts, int | np.integer):
        if isinstance(cuts, bool) or not 1 <= cuts <= 1000:
            raise ConfigError(f"cuts must be a number from 1 to 1000, or times, not {cuts!r}")
        fractions = [_FRACTIONS[k % 10] / (1 + k // 10) for k in range(int(cuts))]
        cuts = [start + f * (end - start) for f in fractions]
    try:
        times = sorted({float(t) for t in cuts})
    except (TypeError, ValueError):
        raise ConfigError(f"cuts must be a number of stops, or their times, not {cuts!r}") from None
    if not times:
        raise ConfigError("cuts holds no time")
    for t in times:
        if not start < t < end:
            raise ConfigError(f"cut at {t!r} does not lie between the start at t = {start:g} and T = {end:g}")
    kept, before = [], start
    for t in times:
        if t - before > 2 * TIME_TOLERANCE * abs(t) < end - t:
            kept.append(t)
            before = t
    return kept


def first_difference(one: Results, *pieces: Results) -> str:
    """Where a recording, given in pieces, first differs from another, in words; empty if they agree.

    Samples at stops only do not count.
    """
    keep = ~one.at_stop
    t, step, data = one.t[keep], one.step[keep], one.data[keep]
    u, count, other, at_stop = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("t", "step", "data", "at_stop")
    )
    keep = ~at_stop | np.isin(u, t)
    u, count, other = u[keep], count[keep], other[keep]
    rows = min(len(t), len(u))
    values = _differ(data[:rows], other[:rows])
    differs = values.any(axis=1) | _differ(t[:rows], u[:rows]) | (step[:rows] != count[:rows])
    if differs.any():
        k = int(np.argmax(differs))
        where = f"first at step {step[k]} (t = {t[k]:.9g})"
        if values[k].any():
            column = int(np.argmax(values[k]))
            return f"{where}: {_gap(one.columns[column], data[k, column], other[k, column])}"
        return f"{where}: {_gap('t', t[k], u[k]) or f'counted as step {count[k]}'}"
    if len(t) > rows:
        return f"first at step {step[rows]} (t = {t[rows]:.9g}): the sample is missing"
    if len(u) > rows:
        return f"first at step {count[rows]} (t = {u[rows]:.9g}): a sample too many"
    return _log_difference(one.log, [piece.log for piece in pieces])


def _log_difference(one: EventLog, pieces: Sequence[EventLog]) -> str:
    t, step, event, values = (
        np.concatenate([getattr(log, name) for log in pieces]) for name in ("t", "step", "event", "values")
    )
    rows = min(len(t), len(one.t))
    differs = _differ(one.t[:rows], t[:rows]) | (one.step[:rows] != step[:rows]) | (one.event[:rows] != event[:rows])
    differs |= _differ(one.values[:rows], values[:rows]).any(axis=1)
    if not differs.any() and len(t) == len(one.t):
        return ""
    k = int(np.argmax(differs)) if differs.any() else rows
    at, n, which = (one.t, one.step, one.event) if k < len(one.t) else (t, step, event)
    where = f"in the event log, first at step {n[k]} (t = {at[k]:.9g}): {one.names[which[k]]}"
    if k >= len(t):
        return f"{where} is missing"
    if k >= len(one.t):
        return f"{where} is too much"
    if (event[k], step[k]) != (which[k], n[k]):
        return f"{where} is {one.names[event[k]]} at step {step[k]}"
    labels = one.columns[which[k]]
    gaps = [_gap(label, a, b) for label, a, b in zip(labels, one.values[k], values[k], strict=False)]
    return f"{where}, {next((gap for gap in gaps if gap), '') or _gap('t', at[k], t[k])}"


def _differ(a: Array, b: Array) -> Array:
    """Where two arrays differ in a bit."""
    bits = np.dtype(f"i{a.dtype.itemsize}")
    differ: Array = np.ascontiguousarray(a).view(bits) != np.ascontiguousarray(b).view(bits)
    return differ


def _gap(name: str, a: Any, b: Any) -> str:
    """How far a value is from what it should be, in words; empty if every bit agrees."""
    gap = ulp_distance(np.array([a]), np.array([b]))[0]
    return "" if gap == 0 else f"{name} by {gap} ulp" if gap > 0 else f"{name} is {b} instead of {a}"


def state_difference(model: Model, a: SessionState, b: SessionState) -> str:
    elements = {
        "y": [e for q in model.states for e in q.element_names],
        "params": [e for q in model.params for e in q.element_names],
    }
    where = f"in the final state (step {a.step})"
    for spot in a.layout.fields:
        x, y = a[spot.name], b[spot.name]
        if x.tobytes() == y.tobytes():
            continue
        k = int(np.argmax(_differ(x, y)))
        if x.dtype.kind != "f":
            return f"{where}: {spot.name} is {y[k]} instead of {x[k]}"
        return f"{where}: {_gap(elements[spot.name][k] if spot.name in elements else f'{spot.name}[{k}]', x[k], y[k])}"
    if a.status is not b.status:
        return f"{where}: it ended with {b.status.name} instead of {a.status.name}"
    return "" if a.config == b.config else "in the options of the stepper"


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericsWarning)
        yield


# -- replay --------------------------------------------------------------------------------------------------------


class Replay(Struct, frozen=True):
    """A lineage run again: for each moment, whether its state came out to the bit."""

    moments: tuple[tuple[str, float, int, bool], ...]

    @property
    def ok(self) -> bool:
        """Whether every moment came out to the bit."""
        return all(same for *_, same in self.moments)

    def __repr__(self) -> str:
        return f"<replay\n{self}\n>"

    def __str__(self) -> str:
        rows = [
            f"  {'equal ' if same else 'DIFFERS'}  {name}  t = {t:g}, step {step}"
            for name, t, step, same in self.moments
        ]
        return "\n".join([*rows, "every bit agrees" if self.ok else "NOT the same run"])


def replay(full: FullModel, last: Moment) -> Replay:
    """Run a lineage again from its root, and compare the digest of every moment on the way.

    Raises `SnapshotError` if the root is not exact.
    """
    root = last.trail.root
    if not root.exact:
        raise SnapshotError(f"this lineage cannot be replayed, its root is not exact: {root.note}")
    state = full.state_at_root(tuple(v for _, v in root.options), root.dt)
    found = []
    for moment in (*last.trail.moments(), last):
        for deed in moment.trail.deeds:
            state = repeated(full, deed, state)
        found.append((moment.name, moment.t, moment.step, digest_of(state) == moment.state_digest))
    return Replay(tuple(found))


def repeated(full: FullModel, deed: Deed, state: SessionState) -> SessionState:
    """The state after a deed is done once more."""
    match deed:
        case Edit():
            try:
                return repeated_edit(deed, state, full.model, full.stepper.option_names)
            except KeyError as name:
                raise SnapshotError(f"the lineage sets {name}, which the model does not have") from None
        case Recorder():
            return state.recorded(deed.interval, deed.dt)
    failed = not Status[deed.status].ok and Status[deed.status] not in (Status.MAX_STEPS, Status.INTERRUPTED)
    horizon = deed.t_to if deed.pending else np.inf
    limit = _FAR if deed.pending or failed else deed.step_to
    while True:
        after, _ = full.advance(state, Task(horizon, limit, Status.DONE))
        if after.status is Status.INTERRUPTED:
            raise KeyboardInterrupt("the replay was interrupted")
        stopped = after.status is Status.STOPPED and (after.t, after.step) != (state.t, state.step)
        state = after
        if not stopped or (after.step >= limit):
            return replace(state, status=Status[deed.status])
