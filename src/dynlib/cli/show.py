"""What commands say: one JSON object, plain text, or tables with colours where a terminal has them.

Plain text is all that is needed; rich (the extra `cli`) is imported for a terminal only, and not with NO_COLOR.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from msgspec import Struct

from dynlib.errors import printable

_COLOURS = {
    "equal": "green",
    "ok": "green",
    "whole": "green",
    "every bit agrees": "green",
    "yes": "green",
    "DIFFERS": "bold red",
    "FAILED": "bold red",
    "NOT whole": "bold red",
    "NOT the same run": "bold red",
}
"""Words that stand out where they fill a cell or a line."""


class Table(Struct, frozen=True):
    """Rows of cells, under headings or (`columns` empty) without; `right`: columns that hold numbers, by position."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    right: tuple[int, ...] = ()

    def texts(self) -> list[list[str]]:
        """All cells as text of one line; nothing is shown as a dash."""
        return [[_cell(cell) for cell in row] for row in self.rows]

    def __str__(self) -> str:
        rows = [list(self.columns), *self.texts()] if self.columns else self.texts()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if k in self.right else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )


def _cell(value: object) -> str:
    text = "—" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}"
    return text.replace("\n", " ")


def show(arguments: argparse.Namespace, facts: Mapping[str, Any], *views: str | Table) -> None:
    """Print what a command found: the facts with `--json`, else the views."""
    if arguments.json:
        print(as_json(facts))
    elif _is_colourful():
        _in_colours(views)
    else:
        for view in views:
            print(printable(str(view)))


def as_json(facts: Mapping[str, Any]) -> str:
    """Strict JSON; a number that is not finite is "inf", "-inf" or "nan", as in snapshot files."""
    return json.dumps(_strict(facts), indent=1, allow_nan=False)


def _strict(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _strict(each) for key, each in value.items()}
        case list() | tuple():
            return [_strict(each) for each in value]
        case float() if not math.isfinite(value):
            return str(float(value))
        case bool() | None | int() | float() | str():
            return value
    return _strict(value.tolist())  # an array or a number of numpy


def _is_colourful() -> bool:
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") not in (None, "", "dumb")
        and find_spec("rich") is not None
    )


def _in_colours(views: Sequence[str | Table]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(highlight=True)
    for view in views:
        if isinstance(view, str):
            text = printable(view)
            console.print(text, style=_COLOURS.get(text), markup=False, soft_wrap=True)
            continue
        table = RichTable(box=SIMPLE_HEAD, show_header=bool(view.columns), header_style="bold", pad_edge=False)
        for k, heading in enumerate(view.columns or view.texts()[0]):
            table.add_column(heading, justify="right" if k in view.right else "left", style="cyan" if k == 0 else None)
        for row in view.texts():
            table.add_row(*(Text(printable(cell), _COLOURS.get(cell, "")) for cell in row))
        console.print(table)
