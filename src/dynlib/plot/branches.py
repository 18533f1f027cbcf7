"""Branches of a study side by side, and the samples of an ensemble over a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlib.arguments import checked
from dynlib.errors import ConfigError
from dynlib.plot.axes import COLORS, WIDE, axes_or_new, legend_above, numbers, results_by_name
from dynlib.results import ResultsView
from dynlib.runtime.state import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_Curve = tuple[str, Array, Array]


@checked
def compare(
    branches: Mapping[str, ResultsView],
    name: str,
    *,
    ax: Axes | None = None,
    difference: bool | str = False,
    **style: Any,
) -> Axes:
    """Plot one quantity of several results over time, each under its name. Returns the Axes.

    With `difference=True` a second pair of axes below shows by how much each result differs from the first one, at the
    times that both recorded; with `difference="log"`, how large the difference is, on a logarithmic scale, where exact
    agreement is a gap. The axes below are the last ones of the figure. Raises `ConfigError`, `UnknownNameError`.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> other = sim.fork("more current")
    >>> other.assign(I=15.0)
    >>> outcomes = [each.run(T=200.0, resume=True) for each in (sim, other)]
    >>> branches = {"as before": sim.results(), "I = 15": other.results()}
    >>> ax = dynlib.plot.compare(branches, "v", difference=True)
    >>> [each.get_ylabel() for each in ax.figure.axes]
    ['v', 'difference of v']
    """
    if not (isinstance(difference, bool) or difference == "log"):
        raise ConfigError(f"difference is True, False or 'log', not {difference!r}")
    found = [(label, results.t, results[name]) for label, results in results_by_name("branches", branches).items()]
    for label, _, values in found:
        if values.ndim != 1:
            raise ConfigError(f"compare needs one number at a time; {name!r} of {label!r} is an array state")
    apart = [_apart(found[0], other) for other in found[1:]] if difference else []
    if difference and ax is not None and ax.get_subplotspec() is None:
        raise ConfigError("a difference takes the lower half of Axes that stand in a grid, such as those of subplots()")
    axes = axes_or_new(ax, (WIDE[0], 1.5 * WIDE[1]) if difference else WIDE)
    styles = [{"color": COLORS[k % len(COLORS)], "lw": 1.1, "label": label, **style}
              for k, (label, _, _) in enumerate(found)]  # fmt: skip
    for (_, t, values), own in zip(found, styles, strict=True):
        axes.plot(t, values, **own)
    axes.set_xlabel("t")
    axes.set_ylabel(name)
    legend_above(axes)
    if difference:
        below = _below(axes)
        for (t, values), own in zip(apart, styles[1:], strict=True):
            below.plot(t, np.where(values == 0.0, np.nan, np.abs(values)) if difference == "log" else values, **own)
        if difference == "log":
            below.set_yscale("log")
        else:
            below.axhline(0.0, color="0.7", lw=0.8, zorder=0)
        below.set_xlabel("t")
        below.set_ylabel(f"|difference of {name}|" if difference == "log" else f"difference of {name}")
        axes.set_xlabel("")
        axes.tick_params(labelbottom=False)
    return axes


def _apart(first: _Curve, other: _Curve) -> tuple[Array, Array]:
    """The common times of two results, and by how much the second one differs there."""
    t, here, there = np.intersect1d(first[1], other[1], return_indices=True)
    if not len(t) and len(first[1]) and len(other[1]):
        raise ConfigError(f"{first[0]!r} and {other[0]!r} have no times in common; record both with the same record_dt")
    return t, other[2][there] - first[2][here]


def _below(axes: Axes) -> Axes:
    """New Axes in the lower part of the place of others, which keep the upper part."""
    place: Any = axes.get_subplotspec()
    upper, lower = place.subgridspec(2, 1, height_ratios=(3, 2))
    axes.set_subplotspec(upper)
    figure: Any = axes.figure
    made: Axes = figure.add_subplot(lower, sharex=axes)
    return made


@checked
def bifurcation(
    parameter: Array,
    samples: Array,
    *,
    name: str = "parameter",
    state: str = "state",
    ax: Axes | None = None,
    **style: Any,
) -> Axes:
    """Plot the samples of many runs over the parameter of each, as dots.

    `parameter` has shape (runs,), `samples` (samples, runs), as `ensemble(…, record_interval=…)` gives them; NaN is
    left out. Returns the Axes. Raises `ConfigError`.

    >>> import dynlib.plot, numpy as np
    >>> r = np.linspace(2.8, 4.0, 300)
    >>> found = dynlib.ensemble("builtin://map/logistic", params={"r": r}, N=400, record_interval=1)
    >>> ax = dynlib.plot.bifurcation(r, found.samples["x"][300:], name="r", state="x")
    """
    values, orbits = numbers("parameter", parameter), numbers("samples", samples)
    if values.ndim != 1 or orbits.ndim != 2 or orbits.shape[1] != len(values):
        raise ConfigError(
            f"parameter and samples have shapes (runs,) and (samples, runs), not {values.shape} and {orbits.shape}"
        )
    axes = axes_or_new(ax)
    axes.plot(np.broadcast_to(values, orbits.shape).ravel(), orbits.ravel(),
              **{"ls": "", "marker": ",", "color": COLORS[0], "alpha": 0.35, "rasterized": True, **style})  # fmt: skip
    axes.set_xlabel(name)
    axes.set_ylabel(state)
    axes.margins(x=0)
    return axes
