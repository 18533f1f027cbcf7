"""Return maps and cobwebs: a quantity against its own next value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynlib.arguments import checked
from dynlib.errors import ConfigError
from dynlib.plot.axes import COLORS, SQUARE, axes_or_new, check_points, legend_above, numbers
from dynlib.results import ResultsView
from dynlib.runtime.state import Array
from dynlib.session.full_model import FullModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
def return_map(values: ResultsView | Array, name: str | None = None, *, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot each value against the next one: of a recorded quantity, or of a sequence such as intervals between spikes.

    Returns the Axes; the thin line is where nothing changes. Raises `ConfigError`, `UnknownNameError`.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://map/henon")
    >>> outcome = sim.run(N=2000)
    >>> ax = dynlib.plot.return_map(sim.results(), "x")
    """
    if isinstance(values, ResultsView):
        if name is None:
            raise ConfigError(f"name the quantity whose return map is wanted: {', '.join(values.names)}")
        series = values[name]
    else:
        series = numbers("values", values)
    if series.ndim != 1:
        raise ConfigError(f"a return map needs one number at a time, not values of shape {series.shape[1:]}")
    axes = axes_or_new(ax, SQUARE)
    axes.axline((0.0, 0.0), slope=1.0, color="0.7", lw=0.8, zorder=0) if len(series) else None
    axes.plot(series[:-1], series[1:], **{"ls": "", "marker": ".", "ms": 3, "color": COLORS[0], **style})
    label = name or "value"
    axes.set_xlabel(f"{label} now")
    axes.set_ylabel(f"{label} next")
    return axes


@checked
def cobweb(full: FullModel, results: ResultsView, *, ax: Axes | None = None, points: int = 400, **style: Any) -> Axes:
    """Plot the graph of a map of one state and the staircase of a recorded orbit. Returns the Axes.

    The parameters are the model's own unless `params` says otherwise. Raises `ConfigError` for other models.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://map/logistic")
    >>> outcome = sim.run(N=40)
    >>> ax = dynlib.plot.cobweb(sim.full_model, sim.results())
    """
    check_points(points)
    params = style.pop("params", None)
    model = full.model
    if model.kind != "map" or model.n_states != 1:
        raise ConfigError(f"a cobweb shows a map of one state; {model.name!r} is a {model.kind} of {model.n_states}")
    name = model.states[0].name
    orbit = results[name]
    low, high = (float(orbit.min()), float(orbit.max())) if len(orbit) else (0.0, 1.0)
    margin = 0.1 * (high - low) or 0.5
    grid = np.linspace(low - margin, high + margin, points)
    axes = axes_or_new(ax, SQUARE)
    axes.plot(grid, [full.rhs([x], params=params)[0] for x in grid], color=COLORS[1], lw=1.5, label="next value")
    axes.plot(grid, grid, color="0.6", lw=0.8)
    stairs = np.repeat(orbit, 2)
    axes.plot(stairs[:-2], stairs[1:-1], **{"color": COLORS[0], "lw": 0.7, "label": "orbit", **style})
    axes.set_xlabel(f"{name} now")
    axes.set_ylabel(f"{name} next")
    legend_above(axes)
    return axes
