"""Pictures: each function takes results, a model or a tree, and returns matplotlib Axes; none simulates.

Needs matplotlib.
"""

from dynlib.plot.axes import legend_above
from dynlib.plot.branches import bifurcation, compare
from dynlib.plot.field import nullclines, vector_field
from dynlib.plot.maps import cobweb, return_map
from dynlib.plot.phase import phase_portrait
from dynlib.plot.raster import raster
from dynlib.plot.time_series import mark_points, time_series
from dynlib.plot.tree import tree

__all__ = [
    "bifurcation",
    "cobweb",
    "compare",
    "legend_above",
    "mark_points",
    "nullclines",
    "phase_portrait",
    "raster",
    "return_map",
    "time_series",
    "tree",
    "vector_field",
]
