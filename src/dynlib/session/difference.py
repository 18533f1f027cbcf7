"""Two moments side by side: values with absolute, relative and ulp differences, configuration, lineage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from msgspec import Struct

from dynlib.errors import UnknownNameError
from dynlib.markup import escaped
from dynlib.runtime.state import Array
from dynlib.session.lineage import Deed, Moment, deeds_json
from dynlib.session.pins import compare_pins
from dynlib.session.snapshots import Snapshot
from dynlib.steppers import get_stepper


class Row(Struct, frozen=True):
    """One value in both moments; NaN where a moment does not have it. `ulps` counts the floats in between.

    `ulps` is None where a moment does not have the value, or has it in another dtype.
    """

    kind: str
    name: str
    a: float
    b: float
    ulps: int | None

    @property
    def absolute(self) -> float:
        """`|a - b|`."""
        return abs(self.a - self.b)

    @property
    def relative(self) -> float:
        """`|a - b|` over the larger magnitude."""
        larger = max(abs(self.a), abs(self.b))
        return self.absolute / larger if larger > 0 else self.absolute


class Difference(Struct, frozen=True):
    """All values of two moments. `rows` holds every value, `changed` those that differ in a bit.

    `pins` are the differing pins with both values; `common` is the nearest shared ancestor; `deeds_a` and `deeds_b`
    are what was done since it.
    """

    a: str
    b: str
    rows: tuple[Row, ...]
    pins: dict[str, tuple[object, object]]
    common: Moment | None
    deeds_a: tuple[Deed, ...]
    deeds_b: tuple[Deed, ...]

    @property
    def changed(self) -> tuple[Row, ...]:
        """The values that differ."""
        return tuple(row for row in self.rows if row.ulps != 0)

    def __getitem__(self, name: str) -> Row:
        """The row of a value. Raises `UnknownNameError`."""
        for row in self.rows:
            if row.name == name:
                return row
        raise UnknownNameError("value", name, [row.name for row in self.rows])

    def to_json(self) -> dict[str, Any]:
        """In strict JSON: the values that differ, null where a moment does not have one, and how many are equal."""

        def number(value: float) -> float | str | None:
            return None if math.isnan(value) else value if math.isfinite(value) else repr(value)

        return {
            "a": self.a,
            "b": self.b,
            "changed": [
                {
                    "kind": r.kind, "name": r.name, "a": number(r.a), "b": number(r.b),
                    "absolute": number(r.absolute), "relative": number(r.relative),
                    "ulps": None if r.ulps is None or r.ulps < 0 else r.ulps,
                }
                for r in self.changed
            ],
            "equal": len(self.rows) - len(self.changed),
            "pins": {name: list(pair) for name, pair in self.pins.items()},
            "common": None if self.common is None else self.common.name,
            "deeds_a": deeds_json(self.deeds_a),
            "deeds_b": deeds_json(self.deeds_b),
        }  # fmt: skip

    def __str__(self) -> str:
        a, b = (name if len(name) <= 22 else f"…{name[-21:]}" for name in (self.a, self.b))
        lines = [f"{'':<24}{a:>22} {b:>22} {'absolute':>10} {'relative':>10} {'ulps':>8}"]
        for r in self.changed:
            ulps = "—" if r.ulps is None or r.ulps < 0 else f"{r.ulps}"
            lines.append(
                f"{r.kind:<10}{r.name:<14}{r.a:>22.17g} {r.b:>22.17g} {r.absolute:>10.3g} {r.relative:>10.3g} {ulps:>8}"
            )
        lines.append(f"{len(self.rows) - len(self.changed)} further values are equal")
        lines += [f"pin {name}: {x!r}, {y!r}" for name, (x, y) in self.pins.items()]
        lines.append(f"nearest common ancestor: {self.common.name if self.common else 'none'}")
        for label, deeds in ((self.a, self.deeds_a), (self.b, self.deeds_b)):
            lines += [f"  {label}: {deed}" for deed in deeds]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<difference\n{self}\n>"

    def _repr_html_(self) -> str:
        return f"<pre>{escaped(str(self))}</pre>"


def ulp_distance(a: Array, b: Array) -> Array:
    """How many floats of their dtype lie between two arrays, element by element; 0 only where every bit agrees.

    The zeros of both signs are neighbours. -1 where bits differ and one is NaN.
    """
    bits = np.dtype(f"i{a.dtype.itemsize}")

    def place(x: Array) -> list[int]:
        low = np.iinfo(bits).min
        return [int(v) if v >= 0 else low - int(v) - 1 for v in np.ascontiguousarray(x).view(bits).ravel()]

    gaps = [abs(p - q) for p, q in zip(place(a), place(b), strict=True)]
    nan = np.isnan(a.ravel()) | np.isnan(b.ravel())
    return np.array([-1 if g and n else g for g, n in zip(gaps, nan, strict=True)], dtype=object)


def compare(a: Snapshot, b: Snapshot) -> Difference:
    """Everything in which two snapshots differ."""
    rows: list[Row] = []
    for kind, field in (("state", "y"), ("parameter", "params")):
        rows += _rows(kind, _values(a, field), _values(b, field))
    rows += _rows("run", _run(a), _run(b))
    ancestors = {m.id: m for m in (*a.trail.moments(), a)}
    common = next((m for m in reversed((*b.trail.moments(), b)) if m.id in ancestors), None)
    return Difference(
        a.name, b.name, tuple(rows), compare_pins(a.state.pins, b.state.pins).differences, common,
        _since(a, common), _since(b, common),
    )  # fmt: skip


def _values(s: Snapshot, field: str) -> dict[str, np.floating]:
    quantities = s.model.states if field == "y" else s.model.params
    names = [e for q in quantities for e in q.element_names]
    return dict(zip(names, s.state[field], strict=True))


def _run(s: Snapshot) -> dict[str, np.floating]:
    state = s.state
    numbers = {"t": state.t, "step": float(state.step), "dt": state.nominal_dt, "time_shift": state.time_shift}
    numbers |= dict(zip(get_stepper(state.pins.stepper).option_names, state.config, strict=True))
    return {name: np.float64(value) for name, value in numbers.items()}


def _rows(kind: str, a: dict[str, np.floating], b: dict[str, np.floating]) -> list[Row]:
    found = []
    for name in dict.fromkeys((*a, *b)):
        x, y = a.get(name), b.get(name)
        ulps = None
        if x is not None and y is not None and x.dtype == y.dtype:
            ulps = int(ulp_distance(np.array([x]), np.array([y]))[0])
        left, right = math.nan if x is None else float(x), math.nan if y is None else float(y)
        found.append(Row(kind, name, left, right, ulps))
    return found


def _since(moment: Moment, common: Moment | None) -> tuple[Deed, ...]:
    deeds: tuple[Deed, ...] = ()
    at: Moment | None = moment
    while at is not None and (common is None or at.id != common.id):
        deeds = at.trail.deeds + deeds
        at = at.trail.parent
    return deeds
