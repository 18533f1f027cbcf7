"""Random sequences of run, resume, assign, snapshot, reset, fork, export and import against a reference model.

The reference is the specification in plain arithmetic: a state that grows at a constant rate. All numbers are multiples
of powers of two, so Euler steps, the interpolant and the reference are exact, and every comparison is of equality.
"""

from __future__ import annotations

import copy
import math
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dynlib import FullModel, ResumeError, Sim, SnapshotError, build, ode_model

DT = 0.125
SPANS = st.integers(1, 24).map(lambda k: k / 16)


@cache
def model() -> FullModel:
    return build(
        ode_model("line", states={"x": 0.0}, params={"rate": 1.0}, equations={"x": "rate"}),
        stepper="euler",
        dt=DT,
        jit=False,
    )


@dataclass
class Place:
    """Where the reference stands: value, rate, and the grid of steps."""

    t: float = 0.0
    x: float = 0.0
    rate: float = 1.0
    anchor: float = 0.0
    steps_before: int = 0

    @property
    def step(self) -> int:
        return self.steps_before + math.floor((self.t - self.anchor) / DT)

    def moved(self, t: float) -> Place:
        return Place(t, self.x + self.rate * (t - self.t), self.rate, self.anchor, self.steps_before)

    def edited(self, x: float, rate: float, t: float | None = None) -> Place:
        now = self.t if t is None else t
        return Place(now, x, rate, now, self.step)

    def grid(self, T: float) -> list[float]:
        """Times of completed steps after now, up to T."""
        first = math.floor((self.t - self.anchor) / DT) + 1
        last = math.floor((T - self.anchor) / DT)
        return [self.anchor + k * DT for k in range(first, last + 1)]


@dataclass
class Reference:
    place: Place = field(default_factory=Place)
    mark: Place = field(default_factory=Place)
    snapshots: dict[str, Place] = field(default_factory=dict)
    samples: list[tuple[float, float]] = field(default_factory=list)
    segments: int = 0

    def run(self, T: float, resume: bool, start: Place | None = None) -> None:
        self.snapshots.setdefault("initial", self.mark)
        begin = self.place if resume else start or self.mark
        if not resume:
            self.samples, self.segments = [(begin.t, begin.x)], 0
        for t in begin.grid(T):
            self.samples.append((t, begin.moved(t).x))
        self.place = begin.moved(T)
        if not self.samples or self.samples[-1][0] != T:
            self.samples.append((T, self.place.x))
        self.segments += 1

    def stand_at(self, place: Place) -> None:
        self.place = self.mark = place
        self.samples, self.segments = [], 0


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.pairs = [(Sim(model()), Reference())]
        self.files: dict[Path, Place] = {}
        self.names = iter(f"s{k}" for k in range(10_000))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def pick(self, which: int) -> tuple[Sim, Reference]:
        return self.pairs[which % len(self.pairs)]

    @rule(which=st.integers(0, 9), span=SPANS, resume=st.booleans())
    def run(self, which: int, span: float, resume: bool) -> None:
        sim, ref = self.pick(which)
        T = (ref.place if resume else ref.mark).t + span
        outcome = sim.run(T=T, resume=resume)
        ref.run(T, resume)
        assert (outcome.t, outcome.step) == (T, ref.place.step)

    @rule(which=st.integers(0, 9), span=SPANS, x=st.integers(-8, 8), rate=st.integers(-4, 4))
    def run_with_overrides(self, which: int, span: float, x: int, rate: int) -> None:
        sim, ref = self.pick(which)
        start = ref.mark.edited(float(x), float(rate), 0.5)
        sim.run(T=0.5 + span, ic={"x": x}, params={"rate": rate}, t0=0.5)
        ref.run(0.5 + span, False, start)

    @rule(which=st.integers(0, 9), x=st.none() | st.integers(-8, 8), rate=st.integers(-4, 4), clear=st.booleans())
    def assign(self, which: int, x: int | None, rate: int, clear: bool) -> None:
        sim, ref = self.pick(which)
        values = {"rate": float(rate)} | ({} if x is None else {"x": float(x)})
        sim.assign(values, clear_history=clear)
        ref.place = ref.mark = ref.place.edited(ref.place.x if x is None else float(x), float(rate))
        if clear:
            ref.samples, ref.segments = [], 0

    @rule(which=st.integers(0, 9))
    def snapshot(self, which: int) -> None:
        sim, ref = self.pick(which)
        name = next(self.names)
        sim.create_snapshot(name)
        ref.snapshots[name] = ref.place
        with pytest.raises(SnapshotError):
            sim.create_snapshot(name)

    @precondition(lambda self: any(ref.snapshots for _, ref in self.pairs))
    @rule(which=st.integers(0, 9), choice=st.integers(0, 99))
    def reset(self, which: int, choice: int) -> None:
        sim, ref = self.pick(which)
        if ref.snapshots:
            name = list(ref.snapshots)[choice % len(ref.snapshots)]
            sim.reset(name)
            ref.stand_at(ref.snapshots[name])

    @precondition(lambda self: len(self.pairs) < 4)
    @rule(which=st.integers(0, 9))
    def fork(self, which: int) -> None:
        sim, ref = self.pick(which)
        name = next(self.names)
        other = sim.fork(name)
        ref.snapshots[name] = ref.place
        twin = Reference(snapshots=dict(ref.snapshots))
        twin.stand_at(copy.copy(ref.place))
        self.pairs.append((other, twin))

    @rule(which=st.integers(0, 9))
    def export(self, which: int) -> None:
        sim, ref = self.pick(which)
        path = Path(self.folder.name) / f"{len(self.files)}.npz"
        sim.export_snapshot(path)
        self.files[path] = ref.place

    @precondition(lambda self: self.files)
    @rule(which=st.integers(0, 9), choice=st.integers(0, 99))
    def import_(self, which: int, choice: int) -> None:
        sim, ref = self.pick(which)
        path = list(self.files)[choice % len(self.files)]
        sim.import_snapshot(path)
        ref.stand_at(self.files[path])

    @rule(which=st.integers(0, 9))
    def overlap_is_refused(self, which: int) -> None:
        sim, ref = self.pick(which)
        with pytest.raises(ResumeError):
            sim.run(T=ref.place.t, resume=True)

    @rule(which=st.integers(0, 9), part=st.floats(0.0, 1.0))
    def look_back(self, which: int, part: float) -> None:
        sim, ref = self.pick(which)
        trace = sim._traces[-1]
        t = trace.states[0].t + math.floor(16 * part * (trace.end - trace.states[0].t)) / 16
        assert sim.at(t)["x"] == ref.place.x - ref.place.rate * (ref.place.t - t)

    @rule(which=st.integers(0, 9))
    def replay(self, which: int) -> None:
        assert self.pick(which)[0].replay().ok

    @invariant()
    def agree(self) -> None:
        for sim, ref in getattr(self, "pairs", []):
            place = ref.place
            assert (sim.t, sim.state_dict()["x"], sim.param_dict()["rate"]) == (place.t, place.x, place.rate)
            assert sim.step == place.step
            assert [s["name"] for s in sim.list_snapshots()] == list(ref.snapshots)
            assert [(s["t"], s["step"]) for s in sim.list_snapshots()] == [
                (p.t, p.step) for p in ref.snapshots.values()
            ]
            res = sim.results()
            assert list(zip(res.t.tolist(), [] if not len(res) else res["x"].tolist(), strict=True)) == ref.samples
            assert len(res.segments) == ref.segments
            assert sim.can_resume() == (True, None)


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestSessions = Machine.TestCase
