"""Pictures: each function takes results, or a tree, and returns matplotlib Axes; none simulates. Needs matplotlib."""

from dynlib.plot.time_series import mark_points, time_series
from dynlib.plot.tree import tree

__all__ = ["mark_points", "time_series", "tree"]
