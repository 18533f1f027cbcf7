"""Comparing pins: does a state belong to the model at hand?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import NamedTuple

from dynlib.errors import UnknownNameError
from dynlib.runtime.state import SessionPins

PIN_NAMES = tuple(f.name for f in fields(SessionPins) if f.compare)
ACCEPTABLE = ("numerics_revision", "math")
"""Pins whose difference a caller may accept; the others make a state unusable."""


class Compatibility(NamedTuple):
    """Whether a state fits, and each differing pin with both values (here, there)."""

    ok: bool
    differences: dict[str, tuple[object, object]]

    @property
    def level(self) -> str:
        """How far the two agree.

        "bitwise": the same numbers on the same machine. "structure-only": the same equations under other numerics
        (stepper, dtype, arithmetic, revision); values can be taken over, bits cannot. "incompatible": another model.
        """
        if not self.differences:
            return "bitwise"
        return "incompatible" if "structure" in self.differences else "structure-only"

    def reason(self) -> str | None:
        """One line naming each differing pin and both values; None if the state fits."""
        if self.ok:
            return None
        parts = [
            f"{name}: this session has {_show(a)}, the state has {_show(b)}"
            for name, (a, b) in self.differences.items()
        ]
        return "; ".join(parts)


def compare_pins(here: SessionPins, there: SessionPins, accept: Iterable[str] = ()) -> Compatibility:
    """Compare all pins but those accepted. Raises `UnknownNameError` for a pin that cannot be accepted."""
    accepted = set(accept)
    for name in accepted:
        if name not in ACCEPTABLE:
            raise UnknownNameError("pin to accept", name, ACCEPTABLE)
    differences = {
        name: (getattr(here, name), getattr(there, name))
        for name in PIN_NAMES
        if name not in accepted and getattr(here, name) != getattr(there, name)
    }
    return Compatibility(not differences, differences)


def _show(value: object) -> str:
    return repr(value[:16] if isinstance(value, str) else value)
