"""The table of result formats: file suffix → writer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dynlib.errors import UnknownNameError
from dynlib.results.export_csv import export_csv
from dynlib.results.export_npz import export_npz
from dynlib.results.view import ResultsView

EXPORTERS: dict[str, Callable[[ResultsView, Path], None]] = {".csv": export_csv, ".npz": export_npz}


def export_results(results: ResultsView, path: str | os.PathLike[str]) -> None:
    """Write results in the format that the file's suffix names. Raises `UnknownNameError`."""
    target = Path(path)
    if target.suffix not in EXPORTERS:
        raise UnknownNameError("format of results", target.suffix, EXPORTERS)
    EXPORTERS[target.suffix](results, target)
