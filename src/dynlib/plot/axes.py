"""Axes to draw on: given ones, or those of a new figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes_or_new(ax: Axes | None) -> Axes:
    """The Axes given, or new ones of a wide figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # heavy and optional

    return plt.figure(figsize=(8, 3.5), layout="constrained").add_subplot()
