"""A study: a session in a thread of its own, run in slices, so that it answers at once while it runs."""

from __future__ import annotations

import math
import queue
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dynlib.errors import ConfigError, DynlibError, NumericsWarning, SnapshotError, UnknownNameError
from dynlib.explore.script import Origin, script_of
from dynlib.runtime.state import Array
from dynlib.session.sim import RunOutcome, Sim
from dynlib.status import Status

SLICE = 0.05
"""Seconds between two slices, and what the work of one should take at most."""
SHOWN = 8
"""Columns that are watched at most."""
POINTS = 4000
"""Samples of a whole picture at most, before the extremes of each column are kept."""
VALUES, SLICES = 4_000_000, 20_000
"""Numbers and runs that a recording holds before the study keeps a snapshot and begins an empty one there."""
_FIRST_BUDGET = 1000
_NAME = 100

Result = TypeVar("Result")


class Study:
    """A session that a page looks at and steers. Every method may be called from any thread.

    The session belongs to the thread of the study alone: a command is put in its queue, done between two slices, and
    its errors are raised where it was called.
    """

    def __init__(self, sim: Sim, origin: Origin) -> None:
        self._sim, self._origin = sim, origin
        full = sim.full_model
        self.columns = full.columns
        span = full.model.sim.t_end
        span = span if span is not None and span > 0 else 1000 * full.dt
        self._speed = span / 20
        self._grid = span / 2000 if full.stepper.adaptive else None  # long steps would be drawn as corners
        self._until: float | None = None
        self._running, self._note = False, ""
        self._budget, self._slices = _FIRST_BUDGET, 0
        self._watched = self.columns[:4]
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._epoch = self._rows = 0
        self._blocks: list[list[list[float | None]]] = []
        self._facts: dict[str, Any] = {}
        self._version = 0
        self._tree: list[dict[str, Any]] = []
        self._replan()
        self._publish()
        self._thread = threading.Thread(target=self._work, name="study", daemon=True)
        self._thread.start()

    # -- from outside ------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the study has ended."""
        return self._closed

    def close(self) -> None:
        """End the thread; the session stays as it is."""
        self._closed = True
        self._commands.put(lambda: None)
        self._thread.join()

    def about(self) -> dict[str, Any]:
        """What does not change: the model, its columns, its parameters."""
        model = self._sim.full_model.model
        return {
            "model": model.name,
            "kind": model.kind,
            "stepper": self._sim.full_model.stepper.name,
            "columns": list(self.columns),
            "most": SHOWN,
            "parameters": [name for q in model.params for name in q.element_names],
        }

    def frame(self, version: int, epoch: int, blocks: int) -> dict[str, Any] | None:
        """What is new since a version, of an epoch of which so many blocks are known; None if nothing is."""
        with self._lock:
            if version == self._version:
                return None
            known = blocks if epoch == self._epoch else 0
            return {
                **self._facts,
                "version": self._version,
                "epoch": self._epoch,
                "whole": known == 0,
                "blocks": len(self._blocks),
                "samples": self._blocks[known:],
            }

    def do(self, command: Mapping[str, Any]) -> Future[None]:
        """Carry out a command such as `{"what": "set", "values": {"I": 15}}`. The future raises `DynlibError`."""
        what = command.get("what")
        commands: dict[str, tuple[tuple[str, ...], Callable[..., None]]] = {
            "run": (("until",), self._run),
            "pause": ((), self._pause),
            "set": (("values",), self._set),
            "snapshot": (("name",), self._snapshot),
            "branch": ((), self._branch),
            "goto": (("name",), self._goto),
            "reset": ((), self._reset),
            "speed": (("value",), self._set_speed),
            "watch": (("names",), self._watch),
        }
        if not isinstance(what, str) or what not in commands:
            raise UnknownNameError("command", what if isinstance(what, str) else repr(what), commands)
        names, action = commands[what]
        given = {name: value for name, value in command.items() if name != "what"}
        if set(given) != set(names):
            raise ConfigError(f"command {what!r} takes {', '.join(names) or 'nothing'}, not {sorted(given)}")

        def act() -> None:
            try:
                action(**given)
                self._note = ""
            finally:
                self._replan()
                self._publish()

        return self._ask(act)

    def script(self) -> Future[str]:
        """A script that leads to the present state. The future raises `SnapshotError`."""

        def write() -> str:
            recorded = self._sim.results().t
            since = float(recorded[0]) if len(recorded) else self._sim.t
            return script_of(self._origin, self._sim.lineage(), self._watched, since)

        return self._ask(write)

    def snapshot_file(self) -> Future[bytes]:
        """The present state as the bytes of a snapshot file."""

        def write() -> bytes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "snapshot.npz"
                self._sim.export_snapshot(path, name="explored", durable=False)
                return path.read_bytes()

        return self._ask(write)

    def _ask(self, action: Callable[[], Result]) -> Future[Result]:
        answer: Future[Result] = Future()

        def carry_out() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(action())
            except (DynlibError, OSError) as problem:
                answer.set_exception(problem)

        self._commands.put(carry_out)
        return answer

    # -- the thread --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._serve()
        finally:
            self._closed = True

    def _serve(self) -> None:
        while not self._closed:
            began = time.perf_counter()
            if self._running:
                self._advance()
                self._publish()
            wait = max(0.0, SLICE - (time.perf_counter() - began)) if self._running else None
            try:
                command = self._commands.get(timeout=wait)
            except queue.Empty:
                continue
            command()

    def _advance(self) -> None:
        """One slice: as far as the pace asks for, but no more steps than a slice has time for."""
        sim = self._sim
        target = sim.t + self._speed * SLICE
        if self._until is not None:
            target = min(target, self._until)
        first = not self._slices
        try:
            outcome = self._ran(target)
        except DynlibError as problem:
            self._stop(str(problem))
            return
        if outcome.seconds > SLICE:
            self._budget = max(10, self._budget // 2)
        elif outcome.steps == self._budget and outcome.seconds < SLICE / 2:
            self._budget *= 2
        self._slices += 1
        if outcome.status not in (Status.DONE, Status.MAX_STEPS):
            self._stop(f"{outcome.status.name} at t = {outcome.t:g}: {outcome.status.meaning}")
        elif self._until is not None and sim.t >= self._until:
            self._stop("")
        elif sim.session_state_summary()["samples"] * len(self.columns) > VALUES or self._slices > SLICES:
            sim.reset(self._keep())
            self._begin_picture()
        elif first:
            self._replan()

    def _ran(self, target: float) -> RunOutcome:
        state = self._sim.state
        recorded = state.record_interval > 0 or state.record_dt > 0
        grid = None if recorded else self._grid
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NumericsWarning)
            return self._sim.run(target, resume=True, record=True, record_dt=grid, max_steps=self._budget)

    def _stop(self, note: str) -> None:
        self._running, self._note = False, note
        self._replan()

    # -- commands ----------------------------------------------------------------------------------------------

    def _run(self, until: object) -> None:
        if until is not None:
            goal = _number("the time to run until", until)
            if goal <= self._sim.t:
                raise ConfigError(f"the time to run until, {goal:g}, is not ahead of t = {self._sim.t:g}")
            self._until = goal
        else:
            self._until = None
        self._running = True

    def _pause(self) -> None:
        self._running = False

    def _set(self, values: Mapping[str, Any]) -> None:
        self._sim.assign(values)

    def _snapshot(self, name: str) -> None:
        if isinstance(name, str) and len(name) > _NAME:
            raise SnapshotError(f"the name of a snapshot has at most {_NAME} characters here, not {len(name)}")
        self._sim.create_snapshot(name)

    def _branch(self) -> None:
        """Keep the present, and go back to the last snapshot on its way."""
        *before, _ = self._sim.lineage().parts
        names = [moment.name for _, moment in before if moment.name in self._names()]
        end = self._sim.lineage().last
        if not end.trail.deeds and len(names) > 1:
            names.pop()
        self._goto(names[-1] if names else "initial")

    def _goto(self, name: str) -> None:
        """Go to a snapshot; the present is kept, so that nothing is lost."""
        if not isinstance(name, str):
            raise ConfigError(f"the name of a snapshot must be a text, not {name!r}")
        self._sim.snapshot(name)
        self._running = False
        if self._sim.lineage().last.trail.deeds:
            self._keep()
        self._sim.reset(name)
        self._begin_picture()

    def _reset(self) -> None:
        self._running = False
        self._sim.reset()
        self._begin_picture()

    def _set_speed(self, value: object) -> None:
        speed = _number("the speed, in units of time per second,", value)
        if speed <= 0:
            raise ConfigError(f"the speed must be positive, not {speed:g}")
        self._speed = speed

    def _watch(self, names: Sequence[str]) -> None:
        if not isinstance(names, list) or not 1 <= len(names) <= SHOWN:
            raise ConfigError(f"1 to {SHOWN} names of variables can be watched at a time")
        for name in names:
            if name not in self.columns:
                raise UnknownNameError("variable", str(name), self.columns)
        self._watched = tuple(dict.fromkeys(names))
        self._begin_picture()

    def _names(self) -> list[str]:
        return [str(each["name"]) for each in self._sim.list_snapshots()]

    def _keep(self) -> str:
        """Keep the present under the name of its time."""
        taken, base = self._names(), f"t = {self._sim.t:.6g}"
        name = next(n for n in (base, *(f"{base} ({k})" for k in range(2, len(taken) + 3))) if n not in taken)
        self._sim.create_snapshot(name)
        return name

    # -- what is seen ------------------------------------------------------------------------------------------

    def _begin_picture(self) -> None:
        with self._lock:
            self._epoch += 1
            self._rows, self._blocks, self._slices = 0, [], 0

    def _replan(self) -> None:
        """See the tree anew."""
        tree = self._sim.tree()
        kept = self._names()
        self._tree = [
            {
                "name": b.moment.name,
                "t": b.moment.t,
                "step": b.moment.step,
                "parent": b.parent,
                "how": [str(d) for d in b.deeds if str(d).startswith("set ")][:6],
                "kept": b.moment.name in kept,
            }
            for b in tree.branches
        ]
        last = self._sim.lineage().last
        self._here = "now" if last.trail.deeds else last.trail.parent.name if last.trail.parent else ""

    def _publish(self) -> None:
        sim = self._sim
        view = sim.results()
        rows = len(view.t)
        block = None
        if rows > self._rows:
            new = slice(self._rows, rows)
            values = np.column_stack([view.t[new], *(view[name][new] for name in self._watched)])
            block = [_finite(column) for column in thinned(values, POINTS if not self._blocks else 200).T]
        state = sim.state
        with self._lock:
            if block is not None:
                self._blocks.append(block)
                self._rows = rows
            self._version += 1
            self._facts = {
                "running": self._running,
                "note": self._note,
                "t": state.t,
                "step": state.step,
                "status": state.status.name,
                "speed": self._speed,
                "watched": list(self._watched),
                "values": dict(zip(self.about()["parameters"], _finite(sim.param_vector()), strict=True)),
                "tree": self._tree,
                "here": self._here,
            }


def thinned(values: Array, most: int) -> Array:
    """Rows of a table, all of them or about `most`: of each run of rows those where a column is least or greatest."""
    rows, columns = values.shape
    if rows <= most:
        return values
    edges = np.linspace(0, rows, max(1, most // (2 * columns)) + 1).astype(int)
    kept = {0, rows - 1}
    for a, b in pairwise(edges):
        part = values[a:b]
        kept.update((a + part.argmin(axis=0)).tolist(), (a + part.argmax(axis=0)).tolist())
    return values[sorted(kept)]


def _number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{what} must be a finite number, not {value!r}")
    return float(value)


def _finite(values: Array) -> list[float | None]:
    return [float(v) if math.isfinite(v) else None for v in values.tolist()]
