"""Vector fields and nullclines of two states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlib.arguments import checked, is_number, said
from dynlib.errors import ConfigError, UnknownNameError
from dynlib.plot.axes import COLORS, SQUARE, axes_or_new, check_points, legend_above, two_names
from dynlib.runtime.state import Array
from dynlib.session.full_model import FullModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Range = tuple[float, float]


@checked
def vector_field(
    full: FullModel,
    names: Sequence[str],
    x: Range,
    y: Range,
    *,
    params: Mapping[str, Any] | None = None,
    ic: Mapping[str, Any] | None = None,
    t: float = 0.0,
    points: int = 21,
    ax: Axes | None = None,
    **style: Any,
) -> Axes:
    """Draw the direction of the flow over a window of two states; all arrows are equally long, their colour is speed.

    The other states stand at their initial values, or at those of `ic`. Returns the Axes. Raises `ConfigError`,
    `UnknownNameError`.

    >>> import dynlib.plot
    >>> full = dynlib.build("builtin://ode/fitzhugh_nagumo", jit=False)
    >>> names = [q.name for q in full.model.states]
    >>> ax = dynlib.plot.vector_field(full, names, (-2.5, 2.5), (-1.0, 2.0), points=9)
    """
    chosen = two_names(names, 2)
    grid_x, grid_y, dx, dy = _slopes(full, chosen, x, y, params, ic, t, points)
    axes = axes_or_new(ax, SQUARE)
    wide, tall = dx / (x[1] - x[0]), dy / (y[1] - y[0])  # as long on paper in every direction
    length = np.hypot(wide, tall)
    length[length == 0.0] = 1.0
    axes.quiver(grid_x, grid_y, wide / length, tall / length, np.log10(np.hypot(dx, dy) + 1e-300),
                **{"cmap": "viridis", "angles": "uv", "pivot": "mid", "scale": 1.25 * points, "width": 0.004,
                   **style})  # fmt: skip
    axes.set_xlabel(chosen[0])
    axes.set_ylabel(chosen[1])
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    return axes


@checked
def nullclines(
    full: FullModel,
    names: Sequence[str],
    x: Range,
    y: Range,
    *,
    params: Mapping[str, Any] | None = None,
    ic: Mapping[str, Any] | None = None,
    t: float = 0.0,
    points: int = 121,
    ax: Axes | None = None,
    **style: Any,
) -> Axes:
    """Draw where the rate of each of two states is 0; where both are, the others fixed, is an equilibrium.

    Arguments as for `vector_field`. Returns the Axes.

    >>> import dynlib.plot
    >>> full = dynlib.build("builtin://ode/fitzhugh_nagumo", jit=False)
    >>> names = [q.name for q in full.model.states]
    >>> ax = dynlib.plot.nullclines(full, names, (-2.5, 2.5), (-1.0, 2.0), points=25)
    """
    chosen = two_names(names, 2)
    grid_x, grid_y, dx, dy = _slopes(full, chosen, x, y, params, ic, t, points)
    axes = axes_or_new(ax, SQUARE)
    for name, slope, color in zip(chosen, (dx, dy), COLORS[1:], strict=False):
        axes.contour(grid_x, grid_y, slope, [0.0], **{"colors": [color], "linewidths": 1.8, **style})
        axes.plot([], [], color=color, lw=1.8, label=f"d{name}/dt = 0")
    axes.set_xlabel(chosen[0])
    axes.set_ylabel(chosen[1])
    legend_above(axes)
    return axes


def _slopes(
    full: FullModel,
    names: tuple[str, ...],
    x: Range,
    y: Range,
    params: Mapping[str, Any] | None,
    ic: Mapping[str, Any] | None,
    t: float,
    points: int,
) -> tuple[Array, Array, Array, Array]:
    scalars = [q.name for q in full.model.states if q.size is None]
    for name in names:
        if name not in scalars:
            raise UnknownNameError("scalar state", name, scalars)
    if full.model.kind == "map":
        raise ConfigError(f"{full.model.name!r} is a map; its next states are no velocities")
    check_points(points)
    for axis, window in (("x", x), ("y", y)):
        good = isinstance(window, tuple | list) and len(window) == 2 and all(is_number(end) for end in window)
        if not (good and -math.inf < window[0] < window[1] < math.inf):
            raise ConfigError(f"the window {axis} is given as (low, high), not {said(window)}")
    places = [full.columns.index(name) for name in names]
    axis_x, axis_y = np.linspace(*x, points), np.linspace(*y, points)
    dx, dy = np.empty((points, points)), np.empty((points, points))
    for i, second in enumerate(axis_y):
        for j, first in enumerate(axis_x):
            rate = full.rhs({**(ic or {}), names[0]: first, names[1]: second}, t=t, params=params)
            dx[i, j], dy[i, j] = rate[places[0]], rate[places[1]]
    return axis_x, axis_y, dx, dy
