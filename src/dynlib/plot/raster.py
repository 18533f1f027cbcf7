"""Rasters: when events happened, one row for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dynlib.arguments import checked
from dynlib.plot.axes import COLORS, axes_or_new, results_by_name
from dynlib.results import ResultsView

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
def raster(
    results: ResultsView | Mapping[str, ResultsView], event: str, *, ax: Axes | None = None, **style: Any
) -> Axes:
    """Mark the times of an event by ticks: one row, or one for each of several results by name. Returns the Axes.

    Raises `UnknownNameError`.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=200.0)
    >>> ax = dynlib.plot.raster(sim.results(), "spike")
    """
    rows = {"": results} if isinstance(results, ResultsView) else results_by_name("results", results)
    times = [each.event(event).t for each in rows.values()]
    axes = axes_or_new(ax)
    axes.eventplot(times, **{"colors": COLORS[0], "linewidths": 1.2, "linelengths": 0.7, **style})
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("t")
    axes.set_ylabel(event if "" in rows else "")
    return axes
