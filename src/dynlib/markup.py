"""Pieces of HTML: everything that is put in is escaped, for it may come from a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from msgspec import Struct

from dynlib.errors import printable, shortened

_WIDTH, _HEIGHT = 220, 34  # pixels
_LETTER = 6.2  # pixels of a letter above a dot
_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")


class Markup(Struct, frozen=True):
    """HTML that was made here and is put in as it is."""

    text: str


Cell = str | Markup
MOST_LETTERS = 500
MOST_ROWS = 24
"""Of a longer table, as many rows are shown from both ends."""


def _escape(text: str, quote: bool = True) -> str:
    from html import escape  # it loads a table of all entities

    return escape(text, quote)


def escaped(text: str) -> str:
    """Text of which nothing is an order to a browser."""
    return _escape(printable(text))


def markup(cell: Cell) -> str:
    """HTML for a cell. Of text nothing is an order to a browser, nor to MathJax, which looks for `$`."""
    if isinstance(cell, Markup):
        return cell.text
    text = escaped(shortened(cell, MOST_LETTERS))
    return f'<span class="tex2jax_ignore mathjax_ignore">{text}</span>' if "$" in text or "\\" in text else text


def math(latex: str) -> Markup:
    """A formula that MathJax typesets where it stands. What LaTeX shares with HTML is escaped."""
    return Markup(f"${_escape(latex, quote=False)}$")


def block(latex: str) -> str:
    """A formula on lines of its own."""
    return f"<div>$${_escape(latex, quote=False)}$$</div>"


def both_ends(count: int) -> list[int | None]:
    """Which of many things are shown: their places, and None where others are left out."""
    if count <= MOST_ROWS + 1:
        return list(range(count))
    return [*range(MOST_ROWS // 2), None, *range(count - MOST_ROWS // 2, count)]


def table(rows: Iterable[Sequence[Cell]], head: Sequence[str] = ()) -> str:
    """A table; without a head, the first cell of each row is its label. Of a long one both ends are shown."""
    every = list(rows)
    left_out = (f"… {len(every) - MOST_ROWS} more …",)
    shown = [left_out if k is None else every[k] for k in both_ends(len(every))]
    left = ' style="text-align:left"'
    lines = []
    if head:
        lines.append("<tr>" + "".join(f"<th{left}>{markup(c)}</th>" for c in head) + "</tr>")
    for label, *rest in shown:
        first = f"<td{left}>{markup(label)}</td>" if head else f"<th{left}>{markup(label)}</th>"
        lines.append(f"<tr>{first}" + "".join(f"<td{left}>{markup(c)}</td>" for c in rest) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


def panel(title: str, *parts: str) -> str:
    """A heading and what stands below it."""
    return f"<div><strong>{markup(title)}</strong>{''.join(parts)}</div>"


def scaled(values: Sequence[float], least: float, most: float) -> list[float]:
    """Values moved and stretched to fill a range."""
    low, high = min(values), max(values)
    if not 0.0 < high - low < inf:
        return [(least + most) / 2] * len(values)
    return [least + (v - low) / (high - low) * (most - least) for v in values]


def curve(x: Sequence[float], y: Sequence[float]) -> Markup:
    """A curve as a small picture without axes."""
    points = zip(scaled(x, 1.0, _WIDTH - 1.0), scaled([-v for v in y], 2.0, _HEIGHT - 2.0))
    text = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    return Markup(
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img"><polyline points="{text}" fill="none" '
        f'stroke="{_COLORS[0]}" stroke-width="1"/></svg>'
    )


class Dot(Struct, frozen=True):
    """A moment in a picture of a tree: its name, time, row, and the dot before it (an index)."""

    name: str
    t: float
    row: int
    parent: int | None
    note: str = ""


def tree_picture(dots: Sequence[Dot]) -> str:
    """Branches as rows, time to the right; names above the dots, notes when the pointer rests on them."""
    if not dots:
        return ""
    width, step = 560, 40
    x = scaled([d.t for d in dots], 30.0, width - 110.0)
    lines, marks, names = [], [], []
    seen: dict[tuple[int, int], int] = {}
    for d, at in zip(dots, x):
        y, color = 26 + step * d.row, _COLORS[d.row % len(_COLORS)]
        if d.parent is not None:
            before = dots[d.parent]
            start = f"{x[d.parent]:.1f},{26 + step * before.row}"
            lines.append(
                f'<polyline points="{start} {x[d.parent]:.1f},{y} {at:.1f},{y}" fill="none" stroke="{color}" '
                'stroke-width="2"/>'
            )
        note = f"<title>{escaped(shortened(f'{d.name}: {d.note}', MOST_LETTERS))}</title>"
        marks.append(f'<circle cx="{at:.1f}" cy="{y}" r="4.5" fill="{color}">{note}</circle>')
        place = (round(at) // 8, d.row)
        seen[place] = seen.get(place, 0) + 1
        if seen[place] == 1:
            same = [e.name for e, b in zip(dots, x) if (round(b) // 8, e.row) == place]
            ahead = [b for e, b in zip(dots, x) if e.row == d.row and b > at and (round(b) // 8, e.row) != place]
            room = int((min(ahead, default=width + 250.0) - at) / _LETTER)
            name = ", ".join(same)
            if room < 3:
                continue
            text = escaped(name if len(name) <= room else f"{name[: room - 1]}…")
            names.append(f'<text x="{at - 5:.1f}" y="{y - 9}" font-size="11" fill="currentColor">{text}</text>')
    height = 26 + step * max(d.row for d in dots) + 16
    return f'<svg width="{width}" height="{height}" role="img">{"".join(lines + marks + names)}</svg>'
