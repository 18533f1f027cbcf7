"""Axes to draw on, and the colours that all pictures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlib.arguments import checked, said
from dynlib.errors import ConfigError
from dynlib.results import ResultsView
from dynlib.runtime.state import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that are told apart by all (Okabe & Ito, Color Universal Design, 2008)."""
NAME_ABOVE = "name above"
"""The group of texts that stand above the Axes."""
WIDE, SQUARE = (8.0, 3.5), (5.0, 4.6)


def axes_or_new(ax: Axes | None, size: tuple[float, float] = WIDE, **projection: Any) -> Axes:
    """The Axes given, or new ones."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # heavy and optional

    made: Axes = plt.figure(figsize=size, layout="constrained").add_subplot(**projection)
    return made


@checked
def legend_above(ax: Axes, columns: int = 4) -> None:
    """A legend above the Axes, where it lies over nothing, the names of segments neither.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> ax = dynlib.plot.time_series(sim.results(), "v")
    >>> dynlib.plot.legend_above(ax)
    """
    if not 1 <= columns <= 100:
        raise ConfigError(f"columns must be a whole number from 1 to 100, not {said(columns)}")
    if ax.get_legend_handles_labels()[1]:
        pad = 2.0 if any(text.get_gid() == NAME_ABOVE for text in ax.texts) else 0.5  # in letters
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, fontsize=9,
                  borderaxespad=pad)  # fmt: skip


def numbers(what: str, values: object) -> Array:
    """Numbers to draw. Raises `ConfigError`."""
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{what} must be numbers, in an array or a list, not {said(values)}") from None
    if found.ndim == 0:
        raise ConfigError(f"{what} must be several numbers, in an array or a list, not {said(values)}")
    return found


def results_by_name(what: str, given: Mapping[str, ResultsView]) -> dict[str, ResultsView]:
    """Several results and their names. Raises `ConfigError`."""
    for name, each in given.items():
        if not isinstance(each, ResultsView):
            raise ConfigError(f"{what}[{name!r}] must be results, as sim.results() gives them, not {said(each)}")
    return {str(name): each for name, each in given.items()}


def check_points(points: int) -> None:
    """Refuse a number of points that draws nothing, or takes minutes. Raises `ConfigError`."""
    if not 2 <= points <= 10_000:
        raise ConfigError(f"points must be a whole number from 2 to 10000, not {said(points)}")


def two_names(names: object, most: int = 3) -> tuple[str, ...]:
    """Names of two (or three) quantities. Raises `ConfigError`."""
    found = tuple(names) if isinstance(names, list | tuple) else ()
    if not 2 <= len(found) <= most or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"name 2{' or 3' if most == 3 else ''} quantities, such as ('x', 'y'), not {names!r}")
    return found
