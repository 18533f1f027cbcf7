"""One hierarchy for every mistake a user can make, and for every file that cannot be trusted.

Failures of the numerics are not here: they are a `Status` that a run returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct


class Where(Struct, frozen=True):
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
    """Base of all errors that dynlib raises on purpose.

    >>> import dynlib
    >>> try:
    ...     dynlib.load_model("no-such-file.toml")
    ... except dynlib.DynlibError as error:
    ...     print(type(error).__name__)
    ModelError
    """

    @property
    def of_the_disk(self) -> bool:
        """Whether the system refused to write: the disk is full or failed, or may not be written to."""
        return isinstance(self.__cause__, OSError)


class ModelError(DynlibError):
    """A model description that cannot be used; the message starts with file, table and key.

    >>> import dynlib
    >>> dynlib.load_model("builtin://ode/lorentz")
    Traceback (most recent call last):
        ...
    dynlib.errors.ModelError: builtin://ode/lorentz: there is no such built-in model; did you mean 'builtin://ode/lorenz'?
    """

    def __init__(self, message: str, where: Where | None = None) -> None:
        self.where = where or Where()
        prefix, message = str(self.where), shortened(message, 1000)
        super().__init__(f"{prefix}: {message}" if prefix else message)


class ExpressionError(ModelError):
    """An expression outside the grammar, or naming something unknown; carries line and column.

    >>> import dynlib
    >>> try:
    ...     dynlib.ode_model("decay", states={"x": 1.0}, equations={"x": "-k*x"})
    ... except dynlib.ExpressionError as error:
    ...     print(error)
    ...     print(error.line, error.column)
    model 'decay' [equations.rhs] x: unknown name 'k'; known: 'pi', 't', 'x' (column 2)
        -k*x
         ^
    1 2
    """

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
    """An argument or option that does not exist or has an impossible value.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> sim.run(T="soon")
    Traceback (most recent call last):
        ...
    dynlib.errors.ConfigError: T must be a finite number, the absolute end time, not 'soon'
    """


class UnknownNameError(ConfigError):
    """A name (state, parameter, snapshot, segment, …) that does not exist; the message suggests one that does.

    `elsewhere` are names by which other programs call what is known here; a `hint` takes the place of a suggestion.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> sim.assign(nu=3.0)
    Traceback (most recent call last):
        ...
    dynlib.errors.UnknownNameError: unknown state or parameter 'nu'; known: 'x', 'y', 'mu'
    """

    def __init__(
        self, kind: str, name: object, known: Iterable[str], elsewhere: Mapping[str, str] | None = None, hint: str = ""
    ) -> None:
        said = shortened(repr(name), 200)
        super().__init__(f"unknown {kind} {said}{f'; {hint}' if hint else suggest(str(name), known, elsewhere)}")


class ReadOnlyError(ConfigError, AttributeError):
    """An attribute that cannot be set, or that does not exist; the message says how such a value is set.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> sim.mu = 3.0
    Traceback (most recent call last):
        ...
    dynlib.errors.ReadOnlyError: 'mu' is a value of the model, not an attribute of the session; ...
    """


class ResumeError(DynlibError):
    """A run that cannot continue the session: overlap, forbidden override, incompatible state.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=2.0)
    >>> sim.run(T=1.0, resume=True)
    Traceback (most recent call last):
        ...
    dynlib.errors.ResumeError: T = 1 is not ahead of the current time 2; T is an absolute time ...
    """


class SnapshotError(DynlibError):
    """A snapshot that cannot be made or used.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> snapshot = sim.create_snapshot("one")
    >>> sim.create_snapshot("one")
    Traceback (most recent call last):
        ...
    dynlib.errors.SnapshotError: a snapshot named 'one' exists already; snapshots ...
    """


class PinMismatchError(SnapshotError):
    """A snapshot made by another model, stepper, dtype or numerics revision; names each pin and both values.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> sim.export_snapshot("rk4.npz")
    >>> other = dynlib.setup("builtin://ode/van_der_pol", stepper="rk2")
    >>> other.import_snapshot("rk4.npz")
    Traceback (most recent call last):
        ...
    dynlib.errors.PinMismatchError: rk4.npz, of model ..., does not fit this session of ...: stepper: ...
    """


class SnapshotFileError(SnapshotError):
    """A file that is not a whole, untouched snapshot file.

    >>> from pathlib import Path
    >>> import dynlib
    >>> length = Path("broken.npz").write_bytes(b"not a snapshot")
    >>> try:
    ...     dynlib.open_snapshot("broken.npz")
    ... except dynlib.SnapshotFileError as error:
    ...     print("refused")
    refused
    """


class StoreError(DynlibError):
    """A run directory that cannot be made, written, read or continued.

    >>> import dynlib
    >>> dynlib.open_run("runs/nowhere")
    Traceback (most recent call last):
        ...
    dynlib.errors.StoreError: runs/nowhere holds no run; one is begun there with run(…, store='runs/nowhere')
    """


class StoreBusyError(StoreError):
    """A run directory that another process is writing to; names the process.

    >>> import dynlib
    >>> sim, other = (dynlib.setup("builtin://ode/van_der_pol") for _ in range(2))
    >>> def meddle(fraction, t):
    ...     other.resume_or_start("runs/exp1", T=1.0)
    >>> sim.run(T=1000.0, store="runs/exp1", progress=meddle)
    Traceback (most recent call last):
        ...
    dynlib.errors.StoreBusyError: ...
    """


class ExportError(DynlibError):
    """Results that cannot be written: the disk, or a package that their format needs, for reading too.

    >>> import dynlib
    >>> from dynlib.results.export import export_results
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=1.0)
    >>> try:
    ...     export_results(sim.results(), "no-such-folder/results.csv")
    ... except dynlib.ExportError as error:
    ...     print(error)
    cannot write no-such-folder/results.csv: No such file or directory
    """


class ResultsFileError(DynlibError):
    """A file that does not hold whole, undamaged results.

    >>> from pathlib import Path
    >>> import dynlib
    >>> length = Path("broken.npz").write_bytes(b"no results")
    >>> dynlib.load_results("broken.npz")
    Traceback (most recent call last):
        ...
    dynlib.errors.ResultsFileError: broken.npz holds no whole results: File is not a zip file
    """


class ConcurrentUseError(DynlibError):
    """A session that is used while it is busy: by another thread, or from within its own run.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> def meddle(fraction, t):
    ...     sim.assign(mu=2.0)
    >>> sim.run(T=1000.0, progress=meddle)
    Traceback (most recent call last):
        ...
    dynlib.errors.ConcurrentUseError: assign() was called while this session is busy with run(); ...
    """


class CacheWarning(UserWarning):
    """The kernel cache cannot be used as it is; nothing is lost but the time to compile again.

    >>> import warnings
    >>> import dynlib
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", dynlib.CacheWarning)  # for a job that must not compile again and again
    ...     sim = dynlib.setup("builtin://ode/van_der_pol")
    """


class NumericsWarning(UserWarning):
    """A run ended early because of its numerics; what was computed before is kept.

    >>> import warnings
    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     outcome = sim.run(T=100.0, max_steps=10)
    >>> outcome.status.name, caught[0].category.__name__
    ('MAX_STEPS', 'NumericsWarning')
    """


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and end where it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 40]} … {text[-37:]}"


def printable(text: str) -> str:
    """The text without what a terminal would take for an order: it may quote a file."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def suggest(name: str, known: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """A tail for an error message: the nearest known name, or a list of a few.

    `elsewhere` are names by which other programs call what is known here, in lower case.
    """
    names = list(known)
    near = _nearest(name, names, elsewhere or {})
    if near is not None:
        return f"; did you mean {near!r}?"
    if not names:
        return "; there are none"
    shown = ", ".join(repr(k) for k in names[:8])
    return f"; known: {shown}{', …' if len(names) > 8 else ''}"


def _nearest(name: str, names: list[str], elsewhere: Mapping[str, str]) -> str | None:
    if len(name) > 100:
        return None
    if elsewhere.get(name.lower()) in names:
        return elsewhere[name.lower()]
    from difflib import get_close_matches  # only where something is wrong

    comparable = [k for k in names[:1000] if len(k) <= 100]
    near = [k for k in comparable if k.lower() == name.lower()]
    near = near or get_close_matches(name, comparable, n=1, cutoff=0.75)
    near = near or [k for k in comparable if min(len(k), len(name)) > 2 and (k.startswith(name) or name.startswith(k))]
    near = near or get_close_matches(name, comparable, n=1, cutoff=0.6)
    return near[0] if near else None
