"""Adoption: states and parameters carried by name to a changed model, with a report of what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from dynlib.errors import ConfigError, UnknownNameError
from dynlib.runtime.state import Array, SessionState
from dynlib.spec.model import Model, Quantity, spans

Values = float | Sequence[float] | Array


class Adoption(Struct, frozen=True):
    """What became of each name: `kept` and `dropped` names, `renamed` (old, new), `filled` (name, value, reason)."""

    kept: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    filled: tuple[tuple[str, float, str], ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        rows = [
            ("kept", ", ".join(self.kept)),
            ("renamed", ", ".join(f"{old} → {new}" for old, new in self.renamed)),
            ("filled", ", ".join(f"{name} = {value:g} ({why})" for name, value, why in self.filled)),
            ("dropped", ", ".join(self.dropped)),
        ]
        return "\n".join(f"{label:<8} {text or '—'}" for label, text in rows)


def adopt(
    here: Model, there: Model, state: SessionState, rename: Mapping[str, str], fill: Mapping[str, Values]
) -> tuple[Adoption, Array, Array]:
    """State and parameter vectors for `here` from a state of `there`. Raises `UnknownNameError`, `ConfigError`.

    A name that another is renamed to is taken from that other, and is dropped itself.
    """
    known_there = [q.name for q in (*there.states, *there.params)]
    known_here = [q.name for q in (*here.states, *here.params)]
    for old, new in rename.items():
        if old not in known_there:
            raise UnknownNameError("name to rename", old, known_there)
        if new not in known_here:
            raise UnknownNameError("new name", new, known_here)
    for name in fill:
        if name not in known_here:
            raise UnknownNameError("name to fill", name, known_here)
    if len(set(rename.values())) != len(rename):
        raise ConfigError("rename gives one name to two quantities")
    kept, renamed, filled, used = [], [], [], set()
    vectors: list[Array] = []
    for field, kind, theirs, ours in (
        ("y", "state", there.states, here.states),
        ("params", "parameter", there.params, here.params),
    ):
        values = {
            rename.get(q.name, q.name): (q, state[field][span])
            for q, span in spans(theirs)
            if q.name in rename or q.name not in rename.values()
        }
        for old, new in rename.items():
            if (old in (q.name for q in theirs)) != (new in (q.name for q in ours)):
                raise ConfigError(f"rename: only one of {old!r} and {new!r} is a {kind}; give fill= for {new!r}")
        vector = np.array([v for q in ours for v in q.values], np.float64)
        for q, span in spans(ours):
            if q.name in fill:
                vector[span] = _numbers(q, fill[q.name])
                filled.append((q.name, float(vector[span.start]), "given"))
            elif q.name not in values:
                filled.append((q.name, float(q.values[0]), "the model's own"))
            else:
                source, numbers = values[q.name]
                if source.count != q.count:
                    raise ConfigError(
                        f"{source.name!r} has {source.count} value(s) there and {q.name!r} {q.count} here; "
                        "give fill= for it"
                    )
                vector[span] = numbers
                used.add(source.name)
                if source.name == q.name:
                    kept.append(q.name)
                else:
                    renamed.append((source.name, q.name))
        with np.errstate(over="ignore"):  # too large for the dtype here: not finite, said below
            vectors.append(vector.astype(here.dtype))
    if not all(np.all(np.isfinite(vector)) for vector in vectors):
        raise ConfigError(f"adopted values must be finite, also as {here.dtype}")
    dropped = tuple(name for name in known_there if name not in used)
    return Adoption(tuple(kept), tuple(renamed), tuple(filled), dropped), vectors[0], vectors[1]


def _numbers(q: Quantity, given: Values) -> Array:
    try:
        numbers = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"fill: {q.name!r} takes a number, not {given!r}") from None
    if numbers.ndim > 1 or numbers.size not in (1, q.count):
        raise ConfigError(f"fill: {q.name!r} takes {q.count} value(s), got shape {numbers.shape}")
    return numbers
