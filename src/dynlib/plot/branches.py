"""Branches of a study side by side, and the samples of an ensemble over a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlib.arguments import checked
from dynlib.errors import ConfigError
from dynlib.plot.axes import COLORS, axes_or_new, legend_above, numbers, results_by_name
from dynlib.results import ResultsView
from dynlib.runtime.state import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
def compare(branches: Mapping[str, ResultsView], name: str, *, ax: Axes | None = None, **style: Any) -> Axes:
    """Plot one quantity of several results over time, each under its name. Returns the Axes. Raises `UnknownNameError`.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> other = sim.fork("more current")
    >>> other.assign(I=15.0)
    >>> outcomes = [each.run(T=200.0, resume=True) for each in (sim, other)]
    >>> ax = dynlib.plot.compare({"as before": sim.results(), "I = 15": other.results()}, "v")
    """
    named = results_by_name("branches", branches)
    axes = axes_or_new(ax)
    for k, (label, results) in enumerate(named.items()):
        axes.plot(results.t, results[name], **{"color": COLORS[k % len(COLORS)], "lw": 1.1, "label": label, **style})
    axes.set_xlabel("t")
    axes.set_ylabel(name)
    legend_above(axes)
    return axes


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
