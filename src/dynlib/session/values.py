"""Values as users give them: numbers, and states and parameters by name or by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynlib.arguments import is_number, said
from dynlib.errors import ConfigError, UnknownNameError
from dynlib.runtime.state import Array
from dynlib.spec.model import Model, Quantity, spans

Values = float | Sequence[float] | Array
Given = Mapping[str, Values] | Sequence[float] | Array


def whole(name: str, value: object) -> int:
    """A count of steps, at least 1. Raises `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value < 2**53:
        raise ConfigError(f"{name} must be a whole number of steps, at least 1, not {value!r}")
    return int(value)


def plain(values: Mapping[str, Values]) -> dict[str, float | list[float]]:
    """Numbers and lists of numbers, as a document holds them. Raises `ConfigError`."""
    for name, value in values.items():
        if not isinstance(name, str):
            raise ConfigError(f"values are given by name, such as {{'x': 1.0}}; {said(name)} is no name")
        try:
            single = np.ndim(value) == 0
        except ValueError:  # rows of several lengths
            single = True
        if single and not is_number(value):
            raise ConfigError(f"{name!r} must be a number, not {said(value)}")
    return {k: float(v) if np.ndim(v) == 0 else np.asarray(v).tolist() for k, v in values.items()}  # type: ignore[arg-type]


def by_name(quantities: tuple[Quantity, ...], vector: Array) -> dict[str, Any]:
    """The parts of a vector by name: a float, or an array for an array quantity."""
    return {q.name: float(vector[span.start]) if q.size is None else vector[span] for q, span in spans(quantities)}


def merged(quantities: tuple[Quantity, ...], vector: Array, given: Given, kind: str) -> Array:
    """A copy of the vector with some values replaced by name, or all by position.

    Raises `UnknownNameError`, and `ConfigError` for what is no finite number or has another shape.
    """
    result = vector.copy()
    if not isinstance(given, Mapping):
        wanted = f"expected {result.size} {kind} value(s) ({_listed(quantities)}), or some by name"
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"{wanted}, not {said(given)}") from None
        if values.shape != result.shape:
            raise ConfigError(f"{wanted}, got shape {values.shape}")
        result[:] = values
    else:
        spots: dict[str, slice] = {}
        for q, span in spans(quantities):
            spots[q.name] = span
            if q.size is not None:
                spots |= {name: slice(i, i + 1) for i, name in enumerate(q.element_names, span.start)}
        for name, value in given.items():
            if name not in spots:
                raise unknown(kind, name, quantities)
            try:
                if isinstance(value, str | bytes):
                    raise TypeError
                numbers = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError, OverflowError):
                raise ConfigError(f"{kind} {name!r} must be a number, not {said(value)}") from None
            size = spots[name].stop - spots[name].start
            if numbers.ndim > 1 or numbers.size not in (1, size):
                raise ConfigError(f"{kind} {name!r} takes {size} value(s), got shape {numbers.shape}")
            result[spots[name]] = numbers
    finite = np.isfinite(result)
    if not np.all(finite):
        names = [name for q in quantities for name in q.element_names]
        k = int(np.argmin(finite))
        raise ConfigError(f"{kind} {names[k]!r} must be finite, not {result[k]}")
    return result


def unknown(kind: str, name: str, quantities: tuple[Quantity, ...], model: Model | None = None) -> UnknownNameError:
    """The error for a name that no quantity has; `model` may know it as something that cannot be set."""
    base = str(name).partition("[")[0]
    hint = ""
    for q in quantities:
        if q.name == base and q.size is not None:
            hint = f"{base!r} has the elements {base}[0] to {base}[{q.size - 1}]"
    if model is not None and name in model.aux_by_name:
        hint = "it is computed from the state ([aux]) and cannot be set"
    if model is not None and name in dict(model.constants):
        hint = "it is a constant of the model; declare it in [params] to change it"
    return UnknownNameError(kind, name, [q.name for q in quantities], hint=hint)


def _listed(quantities: tuple[Quantity, ...]) -> str:
    names = [q.name if q.size is None else f"{q.name}[{q.size}]" for q in quantities]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
