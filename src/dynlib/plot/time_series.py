"""A recorded quantity over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dynlib.arguments import checked, is_number, said
from dynlib.errors import ConfigError
from dynlib.plot.axes import axes_or_new
from dynlib.results import ResultsView

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
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


@checked
def mark_points(points: Iterable[tuple[float, float, str]], *, ax: Axes | None = None) -> Axes:
    """Mark moments (t, value, name), such as those of snapshots. Returns the Axes.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> ax = dynlib.plot.time_series(sim.results(), "v")
    >>> ax = dynlib.plot.mark_points([(50.0, sim.at(50.0)["v"], "half time")], ax=ax)
    """
    marks = list(points) if isinstance(points, Iterable) else None
    for mark in [None] if marks is None else marks:
        good = isinstance(mark, tuple | list) and len(mark) == 3 and is_number(mark[0]) and is_number(mark[1])
        if not (good and isinstance(mark[2], str)):
            raise ConfigError(
                f"points are given as [(t, value, name), …], not {said(points if mark is None else mark)}"
            )
    axes = axes_or_new(ax)
    for t, value, name in marks or ():
        axes.plot([t], [value], "o", color="black", ms=7, mfc="white", mew=1.6, zorder=5)
        axes.annotate(name, (t, value), xytext=(6, 8), textcoords="offset points", fontsize=9)
    return axes
