"""Pictures of results: each function takes results and returns matplotlib Axes; none simulates. Needs matplotlib."""

from dynlib.plot.time_series import mark_points, time_series

__all__ = ["mark_points", "time_series"]
