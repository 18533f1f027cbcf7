"""What runs recorded: immutable results, views by name, segments and events."""

from dynlib.results.results import EventLog, Results, Segment
from dynlib.results.view import EventView, ResultsView

__all__ = ["EventLog", "EventView", "Results", "ResultsView", "Segment"]
