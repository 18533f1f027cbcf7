"""One hierarchy for every mistake a user can make, and for every file that cannot be trusted.

Failures of the numerics are not here: they are a `Status` that a run returns.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """The place in a model description that a message talks about."""

    file: str = ""
    table: str = ""
    key: str = ""

    def at(self, *, table: str | None = None, key: str | None = None) -> Where:
        """The same file, another table or key."""
        return Where(self.file, self.table if table is None else table, self.key if key is None else key)

    def __str__(self) -> str:
        parts = [shortened(self.file, 200)] if self.file else []
        if self.table:
            parts.append(f"[{shortened(self.table, 100)}]")
        if self.key:
            parts.append(shortened(self.key, 100))
        return " ".join(parts)


class DynlibError(Exception):
    """Base of all errors that dynlib raises on purpose."""

    @property
    def of_the_disk(self) -> bool:
        """Whether the system refused to write: the disk is full or failed, or may not be written to."""
        return isinstance(self.__cause__, OSError)


class ModelError(DynlibError):
    """A model description that cannot be used; the message starts with file, table and key."""

    def __init__(self, message: str, where: Where | None = None) -> None:
        self.where = where or Where()
        prefix, message = str(self.where), shortened(message, 1000)
        super().__init__(f"{prefix}: {message}" if prefix else message)


class ExpressionError(ModelError):
    """An expression outside the grammar, or naming something unknown; carries line and column."""

    def __init__(self, message: str, text: str, position: int, where: Where | None = None) -> None:
        before = text[:position]
        self.line = before.count("\n") + 1
        self.column = position - (before.rfind("\n") + 1) + 1
        lines = text.split("\n")
        shown = lines[self.line - 1]
        if len(shown) > 160:
            start = max(0, self.column - 80)
            shown, pointer = shown[start : start + 160], self.column - start
        else:
            pointer = self.column
        shown = "".join(c if c.isprintable() else " " for c in shown)
        place = f"line {self.line}, column {self.column}" if len(lines) > 1 else f"column {self.column}"
        super().__init__(f"{shortened(message, 400)} ({place})\n    {shown}\n    {' ' * (pointer - 1)}^", where)


class ConfigError(DynlibError, ValueError):
    """An argument or option that does not exist or has an impossible value."""


class UnknownNameError(ConfigError):
    """A name (state, parameter, snapshot, segment, …) that does not exist; the message suggests one that does."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        names = list(known)
        super().__init__(f"unknown {kind} {name!r}{suggest(str(name), names)}")


class ResumeError(DynlibError):
    """A run that cannot continue the session: overlap, forbidden override, incompatible state."""


class SnapshotError(DynlibError):
    """A snapshot that cannot be made or used."""


class PinMismatchError(SnapshotError):
    """A snapshot made by another model, stepper, dtype or numerics revision; names each pin and both values."""


class SnapshotFileError(SnapshotError):
    """A file that is not a whole, untouched snapshot file."""


class StoreError(DynlibError):
    """A run directory that cannot be made, written, read or continued."""


class StoreBusyError(StoreError):
    """A run directory that another process is writing to; names the process."""


class ExportError(DynlibError):
    """Results that cannot be written to a file: the disk, or a package that their format needs."""


class ConcurrentUseError(DynlibError):
    """A session that is used while it is busy: by another thread, or from within its own run."""


class CacheWarning(UserWarning):
    """The kernel cache cannot be used as it is; nothing is lost but the time to compile again."""


class NumericsWarning(UserWarning):
    """A run ended early because of its numerics; what was computed before is kept."""


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and end where it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 40]} … {text[-37:]}"


def suggest(name: str, known: Iterable[str]) -> str:
    """A tail for an error message: the nearest known name, or a list of a few."""
    names = list(known)
    comparable = [k for k in names[:1000] if len(k) <= 100] if len(name) <= 100 else []
    near = difflib.get_close_matches(name, comparable, n=1, cutoff=0.6)
    if not near:
        near = [k for k in names if k.lower() == name.lower()][:1]
    if near:
        return f"; did you mean {near[0]!r}?"
    if not names:
        return "; there are none"
    shown = ", ".join(repr(k) for k in names[:8])
    return f"; known: {shown}{', …' if len(names) > 8 else ''}"
