"""Comparing pins: does a state belong to the model at hand?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from dynlib.errors import UnknownNameError
from dynlib.runtime.state import SessionPins

PIN_NAMES = tuple(name for name in SessionPins.__struct_fields__ if name not in SessionPins.apart)
ACCEPTABLE = ("numerics_revision", "math")
"""Pins whose difference a caller may accept; the others make a state unusable."""


_REMEDY = {
    "structure": " (another model: adopt_snapshot() takes its values over by name)",
    "stepper": " (set the session up with stepper={})",
    "math": " (set the session up with math={})",
    "numerics_revision": " (computed by another version: accept=('numerics_revision',) takes it)",
}
"""What to do about a pin that differs, given the state's value."""


class Compatibility(Struct, frozen=True):
    """Whether a state fits, and each differing pin with both values (here, there); unpacks into these two.

    `environment` holds what else differs (versions, C library, machine); it is never a reason to refuse.
    """

    ok: bool
    differences: dict[str, tuple[object, object]]
    environment: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.ok, self.differences))

    @property
    def level(self) -> str:
        """How far the two agree.

        "bitwise": every bit will be the same. "same-numerics": the same computation, in another environment, where
        the C library or the processor may round a function differently. "structure-only": the same equations under
        other numerics (stepper, dtype, arithmetic, revision); values can be taken over, bits cannot. "incompatible":
        another model.
        """
        if not self.differences:
            return "same-numerics" if self.environment else "bitwise"
        return "incompatible" if "structure" in self.differences else "structure-only"

    def reason(self) -> str | None:
        """One line naming each differing pin and both values; None if the state fits."""
        if self.ok:
            return None
        explained = self.differences.keys() & {"structure", "stepper"}
        parts = [
            f"{name}: this session has {_show(a)}, the state has {_show(b)}{_REMEDY.get(name, '').format(_show(b))}"
            for name, (a, b) in self.differences.items()
            if not (name == "workspace" and explained)  # it follows from them
        ]
        return "; ".join(parts)


def compare_environments(here: Mapping[str, str], there: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What differs of all that the bits may depend on; interpreted and compiled kernels agree and do not count."""
    names = dict.fromkeys((*here, *there))
    pairs = {name: (here.get(name, ""), there.get(name, "")) for name in names if name not in ("kernel", "python")}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


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
