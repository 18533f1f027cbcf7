"""Values that are compared by some of their fields only."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class Compared(Struct, frozen=True, eq=False):
    """Equal are two of one class whose fields are, but for those that are `apart`."""

    apart: ClassVar[frozenset[str]] = frozenset()

    def _key(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self.__struct_fields__ if name not in self.apart])

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return self._key() == other._key() if isinstance(other, type(self)) else NotImplemented

    def __ne__(self, other: object) -> bool:  # that of `Struct` would ask for identity
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return hash((type(self), self._key()))
