"""The layout of the state: which slot of which flat array holds what, declared once for kernel, files and messages."""

from __future__ import annotations

import hashlib
from functools import cached_property

from msgspec import Struct

from dynlib.spec.model import Model
from dynlib.spec.observer import BoundObserver
from dynlib.steppers.registry import StepperSpec

TIME_TOLERANCE = 4 * 2.0**-52
"""Relative distance at which a time counts as being a point of the grid of fixed steps."""


class Field(Struct, frozen=True):
    """A named stretch of one block.

    `block` is "times" (float64), "reals" (the model's dtype) or "counts" (int64). `role` says who owns it:
    "state", "params", "runtime" (clock, recorder, lags), "stepper" or "observer". `on_edit` is what becomes of it
    when a state or parameter is set from outside: "keep", "restart" (back to its value at the start of a run) or
    "rewrite" (set by the session itself). `fresh` is its value at the start of a run.
    """

    name: str
    block: str
    size: int
    role: str
    on_edit: str
    start: int = 0
    fresh: float = 0.0

    @property
    def span(self) -> slice:
        """Where the field lies in its block."""
        return slice(self.start, self.start + self.size)


class Layout(Struct, frozen=True, dict=True):
    """All fields of a model under a stepper; `signature` identifies the workspace."""

    fields: tuple[Field, ...]
    meaning: str = ""  # what else a workspace must agree in: observers, tolerances of states, barriers

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Fields by name."""
        return {f.name: f for f in self.fields}

    def __getitem__(self, name: str) -> Field:
        return self.by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def size(self, block: str) -> int:
        """Number of slots in a block."""
        return sum(f.size for f in self.fields if f.block == block)

    @cached_property
    def signature(self) -> str:
        """Hex digest over names, blocks, sizes and order of all fields."""
        text = ";".join(f"{f.name}:{f.block}:{f.size}:{f.role}" for f in self.fields)
        return hashlib.sha256((text + self.meaning).encode()).hexdigest()[:16]


def layout_of(model: Model, stepper: StepperSpec, observers: tuple[BoundObserver, ...] = ()) -> Layout:
    """Where everything with memory between two steps is kept."""
    n = model.n_states
    rows: list[tuple[str, str, int, str, str]] = [
        ("y", "reals", n, "state", "rewrite"),  # the reported state
        ("params", "reals", model.n_params, "params", "rewrite"),
        ("base", "reals", n, "runtime", "rewrite"),  # the state at the last completed step
        ("t", "times", 1, "runtime", "keep"),  # the reported time
        ("t_base", "times", 1, "runtime", "rewrite"),
        ("time_shift", "times", 1, "runtime", "rewrite"),  # the time of step n_anchor
        ("dt", "times", 1, "runtime", "keep"),
        ("record_t0", "times", 1, "runtime", "keep"),
        ("record_dt", "times", 1, "runtime", "keep"),
        ("n", "counts", 1, "runtime", "keep"),
        ("n_anchor", "counts", 1, "runtime", "rewrite"),
        ("begun", "counts", 1, "runtime", "restart"),  # the pre events of the pending step have run
        ("pending", "counts", 1, "runtime", "restart"),  # y and t lie inside the pending step
        ("record_n0", "counts", 1, "runtime", "keep"),
        ("record_interval", "counts", 1, "runtime", "keep"),
    ]
    if model.random:
        rows += [("seed", "counts", 1, "runtime", "keep"), ("stream", "counts", 1, "runtime", "keep")]
    if model.located:
        rows += [
            ("logged", "counts", 1, "runtime", "restart"),  # events already logged inside the pending step
            ("struck", "counts", 1, "runtime", "restart"),  # the last step ended with an event
            ("close", "counts", 1, "runtime", "restart"),  # events in a row that came in no time
            ("gap", "times", 1, "runtime", "restart"),  # the time between the last two events
        ]
    rows += [(f"lag_{name}", "reals", depth + 1, "runtime", "rewrite") for name, depth in model.lag_depth.items()]
    fresh = {m.name: m.fresh for m in stepper.memory}
    rows += [(m.name, m.block, n * m.rows if m.vector else 1, "stepper", m.on_edit) for m in stepper.memory]
    # float64 also in models of float32: an observer counts, and sums over many steps
    rows += [(o.field(key), "times", 1, "observer", "keep") for o in observers for key in o.observer.memory]
    ends = {"reals": 0, "times": 0, "counts": 0}
    fields = []
    for name, block, size, role, on_edit in rows:
        fields.append(Field(name, block, size, role, on_edit, ends[block], fresh.get(name, 0.0)))
        ends[block] += size
    meaning = [o.text for o in observers]
    meaning += [f"{kind} of {state}: {value!r}" for kind, state, value in model.sim.tolerances if stepper.adaptive]
    meaning += [f"tstop {time!r}" for time in model.sim.tstops]
    return Layout(tuple(fields), "".join(f"\n{text}" for text in meaning))
