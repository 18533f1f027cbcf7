"""The table of result formats, and the one way to write results to files and to read them again."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from dynlib.errors import ConfigError, ExportError, ResultsFileError, UnknownNameError, shortened
from dynlib.results.export_csv import export_csv, export_csv_log
from dynlib.results.export_netcdf import export_netcdf, read_netcdf
from dynlib.results.export_npz import export_npz, read_npz
from dynlib.results.export_parquet import export_parquet, export_parquet_log, read_parquet
from dynlib.results.export_zarr import export_zarr, is_of_results, read_zarr
from dynlib.results.header import Header, header_of, results_in
from dynlib.results.recorded import Recorded, log_beside
from dynlib.results.results import Array, Results

Opened = Callable[[bytes], Header]
_DAMAGE = (OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError, ArithmeticError, zipfile.BadZipFile,
           struct.error)  # fmt: skip
"""What the packages raise for files that are not what they should be."""


class Format(Struct, frozen=True):
    """A format: its name, its file suffix, who writes it, block by block, and who reads it.

    `folder` says that it is a folder of files. A format that holds one table only has `write_log`, for the event log in
    a file beside that of the samples. One without `read` does not hold all that results are.
    """

    name: str
    suffix: str
    write: Callable[[Recorded, Path], None]
    write_log: Callable[[Recorded, Path], None] | None = None
    read: Callable[[Path, Opened], tuple[Header, dict[str, Array]]] | None = None
    folder: bool = False


FORMATS = (
    Format("csv", ".csv", export_csv, export_csv_log),
    Format("npz", ".npz", export_npz, read=read_npz),
    Format("netcdf", ".nc", export_netcdf, read=read_netcdf),
    Format("zarr", ".zarr", export_zarr, read=read_zarr, folder=True),
    Format("parquet", ".parquet", export_parquet, export_parquet_log, read_parquet),
)
EXPORTERS = {each.suffix: each for each in FORMATS}
_ELSEWHERE = dict.fromkeys((".netcdf", ".nc4", ".cdf", ".h5", ".hdf5"), ".nc") | {".pq": ".parquet", ".npy": ".npz"}


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
        raise UnknownNameError("format of results", suffix, EXPORTERS, _ELSEWHERE)
    return EXPORTERS[suffix]


def loadable(path: str | os.PathLike[str]) -> Format:
    """The format that a file's suffix names, if it holds all that results are. Raises `ConfigError`."""
    form = format_of(path)
    if form.read is None:
        whole = ", ".join(each.suffix for each in FORMATS if each.read is not None)
        raise ConfigError(f"a {form.suffix} file does not hold all of the results ({os.fspath(path)}); take {whole}")
    return form


def write_results(recorded: Recorded, path: str | os.PathLike[str], form: Format) -> list[Path]:
    """Write results; returns the files. They take their names once all are complete. Raises `ExportError`."""
    target = Path(path)
    written = [(target, form.write)]
    if form.write_log is not None and any(labels for _, labels in recorded.events):
        written.append((log_beside(target), form.write_log))
    with ExitStack() as complete:
        for file, write in written:
            write(recorded, complete.enter_context(_replaced(file)))
    return [file for file, _ in written]


def read_results_file(path: str | os.PathLike[str], most_bytes: int) -> Results:
    """The results in a file. Raises `UnknownNameError`, `ConfigError`, `ResultsFileError`, `ExportError`."""
    form, file = loadable(path), Path(path)
    if not (file.is_file() or (form.folder and file.is_dir())):
        raise ResultsFileError(f"there is no file {file}")
    try:
        return results_in(*form.read(file, partial(header_of, most_bytes=most_bytes)))  # type: ignore[misc]
    except _DAMAGE as problem:
        raise ResultsFileError(f"{file} holds no whole results: {shortened(str(problem), 500)}") from None


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A temporary file or folder that takes the place of `path` when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            yield temporary
            if temporary.is_dir() and path.is_dir():
                _exchanged(temporary, path)
            else:
                os.replace(temporary, path)
        except BaseException:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as problem:
        raise ExportError(f"cannot write {path}: {problem.strerror or problem}") from problem


def _exchanged(new: Path, old: Path) -> None:
    """A folder in the place of another one that was written here; a folder of anything else is left alone."""
    if not is_of_results(old):
        raise ExportError(f"cannot write {old}: it is a folder of something else; remove it, or take another name")
    aside = new.with_suffix(".old")
    os.replace(old, aside)
    try:
        os.replace(new, old)
    except BaseException:
        os.replace(aside, old)
        raise
    shutil.rmtree(aside)
