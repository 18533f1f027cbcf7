"""Two pictures: the time of everybody over that of C, and the time of a fresh process to its first result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

from benchmarks.suite.measure import PEERS
from benchmarks.suite.report import NAMES, Results, base_of, best
from benchmarks.suite.rows import ROWS

COLOURS = {
    "dynlib": "#D55E00", "heyoka": "#0072B2", "numbalsoda": "#009E73", "cyrk": "#CC79A7", "tsdynamics": "#56B4E9",
    "diffrax": "#E69F00", "scipy": "#000000", "pynamicalsys": "#7A7A7A", "dynlib_pypi": "#B8A000",
}  # fmt: skip
MARKERS = dict(zip(PEERS[1:], "Do^sPvXd<"))


def draw(results: Results, folder: Path) -> None:
    """Draw both into a folder."""
    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "dynlib", "font.size": 9})
    save(ratios(results), folder / "benchmarks-ratios.svg")
    save(first_result(results), folder / "benchmarks-first-result.svg")


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)
    plt.close(figure)


def ratios(results: Results) -> Any:
    rows = [r for r in ROWS if r.base[0] == "c" and math.isfinite(base_of(r, results.get(r.name, [])))]
    figure, axis = plt.subplots(figsize=(9.0, 1.6 + 0.34 * len(rows)), layout="constrained")
    ours = {"markersize": 9, "markeredgecolor": COLOURS["dynlib"], "markeredgewidth": 1.3, "zorder": 4}
    theirs = {"markersize": 6.5, "markeredgecolor": "white", "markeredgewidth": 0.6, "zorder": 3}
    looks: list[tuple[str, bool | None, str, dict[str, Any]]] = [
        ("dynlib", False, "dynlib", {**ours, "color": COLOURS["dynlib"]}),
        ("dynlib", True, "its kernel alone", {**ours, "color": "white", "zorder": 3.5}),
        *((peer, None, NAMES[peer], {**theirs, "color": COLOURS[peer]}) for peer in PEERS[2:]),
    ]
    for peer, alone, label, look in looks:
        marks = [
            (found.amount / base_of(row, results[row.name]), height)
            for height, row in enumerate(reversed(rows))
            if (found := best(results[row.name], row, peer, alone)) is not None
        ]
        axis.plot(*zip(*marks or [(math.nan, math.nan)]), MARKERS[peer], linestyle="", label=label, **look)
    axis.axvline(1.0, color="0.3", linewidth=1.0)
    axis.set_xscale("log")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(range(len(rows)), [row.title for row in reversed(rows)])
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.grid(True, axis="x", color="0.88", linewidth=0.7)
    axis.grid(True, axis="y", color="0.93", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.set_xlabel("time over that of hand-written C (gcc -O3 -march=native); further left is faster")
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    return figure


def first_result(results: Results) -> Any:
    kinds = {"nothing cached": ("first-result-cold", "#0072B2"), "caches warm": ("first-result-warm", "#E69F00")}
    amounts: dict[str, dict[str, float]] = {}
    for kind, (name, _) in kinds.items():
        for r in results.get(name, []):
            if math.isfinite(r.amount):
                amounts.setdefault(f"{NAMES[r.peer].split(',')[0]}, {r.variant}", {})[kind] = r.amount
    order = sorted(amounts, key=lambda who: -amounts[who].get("caches warm", math.inf))
    figure, axis = plt.subplots(figsize=(9.0, 1.4 + 0.42 * max(1, len(order))), layout="constrained")
    for shift, (kind, (_, colour)) in zip((0.19, -0.19), kinds.items()):
        heights = [k + shift for k, who in enumerate(order) if kind in amounts[who]]
        values = [amounts[who][kind] for who in order if kind in amounts[who]]
        bars = axis.barh(heights, values, 0.36, color=colour, label=kind)
        axis.bar_label(bars, [f"{v:.2f}" for v in values], padding=3, fontsize=8)
    axis.set_yticks(range(len(order)), order)
    axis.set_xlabel("seconds from the start of the process to the Lorenz system at T = 10, rtol 1e-6")
    axis.grid(True, axis="x", color="0.88", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure
