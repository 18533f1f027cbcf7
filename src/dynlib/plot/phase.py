"""Phase portraits: two or three recorded quantities against one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dynlib.arguments import checked
from dynlib.plot.axes import COLORS, SQUARE, axes_or_new, two_names
from dynlib.results import ResultsView

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
def phase_portrait(
    results: ResultsView, names: Sequence[str], *, ax: Axes | None = None, start: bool = True, **style: Any
) -> Axes:
    """Plot two quantities in the plane, or three in space; a dot marks where the recording begins. Returns the Axes.

    Axes that are given for three quantities have the projection "3d". Raises `ConfigError`, `UnknownNameError`.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/lorenz")
    >>> outcome = sim.run(T=20.0)
    >>> ax = dynlib.plot.phase_portrait(sim.results(), ("x", "y", "z"))
    """
    chosen = two_names(names)
    solid = {"projection": "3d"} if len(chosen) == 3 else {}
    columns = [results[name] for name in chosen]
    axes: Any = axes_or_new(ax, SQUARE, **solid)
    style = {"color": COLORS[0], "lw": 0.8, **style}
    axes.plot(*columns, **style)
    if start and len(results):
        axes.plot(*(column[:1] for column in columns), "o", color=style["color"], ms=5)
    for letter, name in zip("xyz", chosen, strict=False):
        getattr(axes, f"set_{letter}label")(name)
    found: Axes = axes
    return found
