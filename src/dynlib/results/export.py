"""The table of result formats, and the one way to write results to a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from dynlib.errors import ExportError, UnknownNameError
from dynlib.results.export_csv import export_csv, export_csv_log
from dynlib.results.export_netcdf import export_netcdf
from dynlib.results.export_npz import export_npz
from dynlib.results.export_parquet import export_parquet, export_parquet_log
from dynlib.results.recorded import InMemory, Recorded
from dynlib.results.view import ResultsView


class Format(Struct, frozen=True):
    """A format: its name, its file suffix, and who writes it, block by block.

    A format that holds one table only has `write_log`, for the event log in a file beside that of the samples.
    """

    name: str
    suffix: str
    write: Callable[[Recorded, Path], None]
    write_log: Callable[[Recorded, Path], None] | None = None


FORMATS = (
    Format("csv", ".csv", export_csv, export_csv_log),
    Format("npz", ".npz", export_npz),
    Format("netcdf", ".nc", export_netcdf),
    Format("parquet", ".parquet", export_parquet, export_parquet_log),
)
EXPORTERS = {each.suffix: each for each in FORMATS}


def format_named(name: str) -> Format:
    """A format by its name. Raises `UnknownNameError`."""
    for each in FORMATS:
        if each.name == name:
            return each
    raise UnknownNameError("format of results", name, [f.name for f in FORMATS])


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format that a file's suffix names. Raises `UnknownNameError`."""
    suffix = Path(path).suffix
    if suffix not in EXPORTERS:
        raise UnknownNameError("format of results", suffix, EXPORTERS)
    return EXPORTERS[suffix]


def export_results(
    results: ResultsView | Recorded, path: str | os.PathLike[str], form: Format | None = None
) -> list[Path]:
    """Write results, by default in the format that the file's suffix names; returns the files that were written.

    A format of one table writes `NAME.events.SUFFIX` beside `NAME.SUFFIX` if the model logs events. A file is replaced
    as a whole once it is complete. Raises `UnknownNameError`, `ExportError`.

    >>> import dynlib
    >>> from dynlib.results.export import export_results
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> [str(path) for path in export_results(sim.results(), "neuron.csv")]
    ['neuron.csv', 'neuron.events.csv']
    """
    chosen = form or format_of(path)
    recorded = InMemory(results.raw) if isinstance(results, ResultsView) else results
    target = Path(path)
    written = [(target, chosen.write)]
    if chosen.write_log is not None and any(labels for _, labels in recorded.events):
        written.append((target.with_name(f"{target.stem}.events{target.suffix}"), chosen.write_log))
    for file, write in written:
        with _replaced(file) as temporary:
            write(recorded, temporary)
    return [file for file, _ in written]


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of `path` when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as problem:
        raise ExportError(f"cannot write {path}: {problem.strerror or problem}") from problem
