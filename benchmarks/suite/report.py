"""The measured numbers as Markdown: a summary, and a table for each row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from benchmarks.suite.measure import PEERS, Result
from benchmarks.suite.rows import ROWS, Row

NAMES = {
    "c": "C", "dynlib": "dynlib", "heyoka": "heyoka", "numbalsoda": "numbalsoda", "cyrk": "CyRK",
    "tsdynamics": "TSDynamics", "diffrax": "diffrax, jax", "scipy": "scipy, numpy", "pynamicalsys": "pynamicalsys",
    "dynlib_pypi": "dynlib 0.42 of PyPI",
}  # fmt: skip
Results = Mapping[str, list[Result]]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(r) + " |" for r in rows), ""]


def amount(row: Row, value: float) -> str:
    """A figure for one unit of the row."""
    if not math.isfinite(value):
        return "–"
    if row.amount != "seconds":
        return f"{value:.2f} {'MB' if row.amount == 'megabytes' else '×'}"
    each = value / row.units
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if each >= factor:
            return f"{each / factor:.3g} {unit}"
    return f"{each * 1e9:.3g} ns"


def ratio(value: float, base: float) -> str:
    if not (math.isfinite(value) and math.isfinite(base) and base > 0):
        return "–"
    r = value / base
    return f"{r:.2f}" if r < 10 else f"{r:.0f}" if r < 1e4 else f"{r:.0e}"


def base_of(row: Row, results: list[Result]) -> float:
    """The figure that the others are divided by; NaN where it was not measured."""
    return next((r.amount for r in results if (r.peer, r.variant) == row.base), math.nan)


def row_lines(row: Row, results: list[Result]) -> list[str]:
    """The table of a row, the fastest first."""
    base = base_of(row, results)
    peer, variant = row.base
    cells = []
    for r in sorted(results, key=lambda r: r.amount):
        remarks = [r.note.replace("|", "/")] if r.note else []
        if r.rtol is not None:
            remarks.append(f"rtol {r.rtol:.1e}")
        if not r.agrees(row):
            remarks.append("**differs**")
        shown = "–" if r.difference is None else "0" if r.difference == 0 else f"{r.difference:.0e}"
        first = "–" if r.cold is None else f"{r.cold:.2g} s"
        cells.append([
            f"{NAMES[r.peer]}: {r.variant}", amount(row, r.amount), ratio(r.amount, base), shown, first,
            "; ".join(remarks),
        ])  # fmt: skip
    unit = f"per {row.unit}" if row.amount == "seconds" else "amount"
    difference = "error" if row.reference is not None else "difference"
    head = ["who", unit, f"× {NAMES[peer]} ({variant})", difference, "first time", ""]
    return [f"### {row.title}", "", *table(head, cells)]


def best(results: list[Result], row: Row, peer: str, alone: bool | None = None) -> Result | None:
    """The fastest variant of a peer that computed the right thing; of memory, the variant that needs most."""
    mine = [r for r in results if r.peer == peer and math.isfinite(r.amount) and r.agrees(row)]
    if alone is not None:
        mine = [r for r in mine if ("kernel alone" in r.variant) == alone]
    sign = 1 if row.amount == "seconds" else -1
    return min(mine, key=lambda r: sign * r.amount, default=None)


def summary(results: Results) -> list[str]:
    """For each row the best of everybody."""
    rows = []
    for row in (r for r in ROWS if r.name in results):
        found = results[row.name]
        base = base_of(row, found)

        def cell(r: Result | None, row: Row = row, base: float = base) -> str:
            if r is None:
                return "–"
            variant = ", ".join(w for w in r.variant.split(", ") if w not in ("Sim", "kernel alone"))
            named = f"{variant}, " if variant else ""
            return f"**{ratio(r.amount, base)}** ({named}{amount(row, r.amount)})"

        others = [(r, p) for p in PEERS[2:] if (r := best(found, row, p)) is not None]
        others.sort(key=lambda pair: pair[0].amount)
        shown = ", ".join(f"{NAMES[p].split(',')[0]} {ratio(r.amount, base)}" for r, p in others)
        base_cell = f"{NAMES[row.base[0]]}: {amount(row, base)}"
        rows.append([row.title, base_cell, cell(best(found, row, "dynlib", True)),
                     cell(best(found, row, "dynlib", False)), shown or "–"])  # fmt: skip
    return table(["work", "1 is", "dynlib, kernel alone", "dynlib", "peers"], rows)


def page(saved: dict[str, Any], results: Results) -> str:
    """The page docs/benchmarks.md."""
    at = saved["machine"]
    rounds = sorted({found["rounds"] for found in saved["rows"].values()})
    about = (
        f"{at['processor']}, {at['cores']} cores, {at['system']} {at['machine']}, Python {at['python']}; the best of "
        f"{' or '.join(map(str, rounds))} rounds, {saved['date']}"
    )
    peers = [
        [NAMES[p], str(saved["peers"][p]["version"]), saved["peers"][p]["python"], saved["peers"][p]["settings"]]
        for p in PEERS
        if p in saved["peers"]
    ]
    missing = [NAMES[p] for p in saved["missing"]]
    parts = [
        INTRODUCTION.format(about=about),
        *summary(results),
        PICTURES,
        "## Who was measured, and how\n",
        *table(["who", "version", "Python", "settings"], peers),
        *([f"Not installed, and so left out: {', '.join(missing)}.", ""] if missing else []),
        "## All numbers\n",
        ALL,
        *(line for row in ROWS if row.name in results for line in row_lines(row, results[row.name])),
    ]
    return "\n".join(parts).rstrip() + "\n"


INTRODUCTION = """\
# Benchmarks: dynlib, hand-written C and other packages at the same work

Written by `python -m benchmarks.suite --docs docs --pictures`, which measures everything anew.
{about}.
Read the ratios of one row: all of them were timed in turns in one run.

- Everybody does the same work, and its value is compared: with a published value, or with C. A value that differs by
  more than the row allows is marked, and does not count as the best of anybody. Where rounding errors grow without
  limit, a shorter piece of the same work is compared.
- Times are warm: compiled, loaded and run before. What the first time costs stands beside them, and the rows on fresh
  processes have it whole, with empty and with warm caches.
- Each package runs in an environment and a process of its own, and is timed inside, so that asking it costs nothing.
- C is compiled by gcc with fused multiply-add ("fused", the unit of the ratios) and without ("not fused"): the second
  is what the strict floating-point contract of dynlib allows, and the bits are the same where the formulas are.
- dynlib is measured as its users call it, and as a call of the compiled kernel alone; the difference is the session.
- "Time to an error" gives every method the coarsest tolerance with which it, and the next finer one, meets the error.
"""
PICTURES = """\
![Time over that of C, for each row](benchmarks-ratios.svg)

![Time of a fresh process to its first result](benchmarks-first-result.svg)
"""
ALL = """\
The fastest first. "First time" is the preparation and the first run of a variant, after those of its package that were
measured before it in the same process.
"""
