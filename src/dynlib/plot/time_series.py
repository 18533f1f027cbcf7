"""A recorded quantity over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dynlib.plot.axes import axes_or_new
from dynlib.results import ResultsView

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def time_series(
    results: ResultsView, name: str, *, ax: Axes | None = None, label: str | None = None, **style: Any
) -> Axes:
    """Plot one recorded quantity over time; `style` goes to `Axes.plot`. Returns the Axes.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> ax = dynlib.plot.time_series(sim.results(), "v", color="black")
    >>> ax.figure.savefig("neuron.png")
    """
    axes = axes_or_new(ax)
    axes.plot(results.t, results[name], label=label if label is not None else name, **style)
    axes.set_xlabel("t")
    axes.set_ylabel(name)
    return axes


def mark_points(points: Iterable[tuple[float, float, str]], *, ax: Axes | None = None) -> Axes:
    """Mark moments (t, value, name), such as those of snapshots. Returns the Axes.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> ax = dynlib.plot.time_series(sim.results(), "v")
    >>> ax = dynlib.plot.mark_points([(50.0, sim.at(50.0)["v"], "half time")], ax=ax)
    """
    axes = axes_or_new(ax)
    for t, value, name in points:
        axes.plot([t], [value], "o", color="black", ms=7, mfc="white", mew=1.6, zorder=5)
        axes.annotate(name, (t, value), xytext=(6, 8), textcoords="offset points", fontsize=9)
    return axes
