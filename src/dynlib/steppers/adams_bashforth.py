"""Adams–Bashforth methods: weights of f at the current and earlier steps (HNW I, III.1, eq. 1.5)."""

from __future__ import annotations

from msgspec import Struct


class AdamsBashforth(Struct, frozen=True):
    """`weights[j]` multiplies f at j steps back."""

    weights: tuple[float, ...]

    @property
    def order(self) -> int:
        """Order of accuracy, equal to the number of steps."""
        return len(self.weights)


AB2 = AdamsBashforth((3 / 2, -1 / 2))
AB3 = AdamsBashforth((23 / 12, -4 / 3, 5 / 12))
