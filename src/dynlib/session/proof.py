"""Proof: runs that must agree to the bit are made and compared, and a lineage is run again from its root."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dynlib.errors import ConfigError, NumericsWarning, SnapshotError
from dynlib.results import Results
from dynlib.runtime.driver import Buffers, Task
from dynlib.runtime.state import SessionState
from dynlib.session.difference import ulp_distance
from dynlib.session.full_model import FullModel
from dynlib.session.lineage import Deed, Edit, Moment, Recorder, digest_of, repeated_edit
from dynlib.status import Status

if TYPE_CHECKING:
    from dynlib.session.sim import Sim

_FAR = 2**62
_SMALL = Buffers(rows=4, logs=1, steps=7, foresee=False)
_FRACTIONS = (0.37, 0.5, 0.11, 0.83, 0.62, 0.93, 0.24, 0.71, 0.05, 0.47)


@dataclass(frozen=True, slots=True)
class Check:
    """One way to run: whether it agreed, or the first difference (step, time, variable, distance in ulps)."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What `verify_restart` found."""

    checks: tuple[Check, ...]
    t_from: float
    t_to: float
    steps: int

    @property
    def ok(self) -> bool:
        """Whether all ways agreed to the bit."""
        return all(check.ok for check in self.checks)

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
        single.run(T)
        end, whole = single.state, single.raw_results()
        times = _cut_times(cuts, start.t, end.t)
        shown = ", ".join(f"{t:.6g}" for t in times[:4]) + (", …" if len(times) > 4 else "")
        checks: list[Check] = []

        def check(name: str, detail: str, sim: Sim, *, recorded: bool = True) -> None:
            found = first_difference(whole, sim.raw_results()) if recorded else ""
            found = found or _state_difference(end, sim.state)
            checks.append(Check(name, not found, found or detail))

        again = twin(Buffers())
        again.run(T)
        check("run twice", "", again)
        split, watched, through, small = twin(Buffers()), twin(Buffers()), twin(Buffers()), twin(_SMALL)
        path = Path(folder) / "cut.npz"
        for k, t in enumerate((*times, T)):
            for sim in (split, watched, through, small):
                if sim.state.status.ok or k == 0:
                    sim.run(t, resume=k > 0)
            watched.create_snapshot(f"verify-{k}")
            watched.export_snapshot(path)
            through.export_snapshot(path)
            through.import_snapshot(path)
        check("cut", f"at t = {shown}", split)
        check("cut, snapshots and files written", f"at t = {shown}", watched)
        check("cut, continued from files", f"at t = {shown}", through, recorded=False)
        check("cut, smallest buffers", f"{_SMALL.rows} rows, {_SMALL.steps} steps at a time", small)
        if process:
            first, last = Path(folder) / "first.npz", Path(folder) / "last.npz"
            begin = twin(Buffers())
            begin.export_snapshot(first)
            command = [sys.executable, "-m", "dynlib.cli.main", "run", str(first), "--T", repr(T), "--quiet"]
            command += ["--snapshot", str(last), *([] if begin.full_model.kernel.jit else ["--no-jit"])]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode not in (0, 1):
                checks.append(Check("new process", False, done.stderr.strip()[-300:]))
            else:
                begin.import_snapshot(last)
                check("new process", "continued from a file", begin, recorded=False)
        return Proof(tuple(checks), start.t, end.t, end.step - start.step)


def _cut_times(cuts: int | Sequence[float], start: float, end: float) -> list[float]:
    if isinstance(cuts, int):
        if isinstance(cuts, bool) or not 1 <= cuts <= 1000:
            raise ConfigError(f"cuts must be a number from 1 to 1000, or times, not {cuts!r}")
        fractions = [_FRACTIONS[k % 10] / (1 + k // 10) for k in range(cuts)]
        cuts = [start + f * (end - start) for f in fractions]
    for t in cuts:
        if not start < t:
            raise ConfigError(f"cut at {t!r} is not after the start at t = {start:g}")
    return sorted({float(t) for t in cuts if t < end})


def first_difference(one: Results, two: Results) -> str:
    """Where two recordings first differ, in words; empty if they agree. Samples at stops only do not count."""
    keep, other = ~one.at_stop, ~two.at_stop | np.isin(two.t, one.t[~one.at_stop])
    a, b = one.data[keep], two.data[other]
    rows = min(len(a), len(b))
    t, step = one.t[keep], one.step[keep]
    bits = np.dtype(f"i{a.dtype.itemsize}")
    x, y = np.ascontiguousarray(a[:rows]), np.ascontiguousarray(b[:rows])
    differs = (x.view(bits) != y.view(bits)).any(axis=1) | (t[:rows] != two.t[other][:rows])
    if differs.any():
        k = int(np.argmax(differs))
        gaps = ulp_distance(a[k], b[k])
        column = next((j for j, gap in enumerate(gaps) if gap != 0), None)
        if column is None:
            return f"first at step {step[k]}: the times {t[k]!r} and {two.t[other][k]!r}"
        return f"first at step {step[k]} (t = {t[k]:.9g}): {one.columns[column]} by {gaps[column]} ulp"
    if len(a) != len(b):
        return f"{len(b)} samples instead of {len(a)}"
    for name in ("t", "step", "event", "values"):
        if getattr(one.log, name).tobytes() != getattr(two.log, name).tobytes():
            return f"the event log differs ({name})"
    return ""


def _state_difference(a: SessionState, b: SessionState) -> str:
    for spot in a.layout.fields:
        x, y = a[spot.name], b[spot.name]
        if x.tobytes() != y.tobytes():
            if x.dtype.kind != "f":
                return f"in the final state: {spot.name} is {y.tolist()} instead of {x.tolist()}"
            gaps = ulp_distance(x, y)
            k = next(j for j, gap in enumerate(gaps) if gap != 0)
            return f"in the final state: {spot.name}[{k}] by {gaps[k]} ulp"
    return "" if a.config == b.config else "in the options of the stepper"


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericsWarning)
        yield


# -- replay --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replay:
    """A lineage run again: for each moment, whether its state came out to the bit."""

    moments: tuple[tuple[str, float, int, bool], ...]

    @property
    def ok(self) -> bool:
        """Whether every moment came out to the bit."""
        return all(same for *_, same in self.moments)

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
        stopped = after.status is Status.STOPPED and (after.t, after.step) != (state.t, state.step)
        state = after
        if not stopped or (after.step >= limit):
            return replace(state, status=Status[deed.status])
