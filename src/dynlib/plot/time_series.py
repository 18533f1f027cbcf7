"""A recorded quantity over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlib.arguments import checked, is_number, said
from dynlib.errors import ConfigError, printable
from dynlib.plot.axes import COLORS, NAME_ABOVE, axes_or_new
from dynlib.results import ResultsView
from dynlib.results.recorded import elements_of, quantities_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_SYMBOLS = "^vDs"


@checked
def time_series(
    results: ResultsView,
    name: str,
    *,
    ax: Axes | None = None,
    label: str | None = None,
    segments: bool = False,
    events: str | Sequence[str] = (),
    **style: Any,
) -> Axes:
    """Plot one recorded quantity over time; `style` goes to `Axes.plot`. Returns the Axes.

    An array state gives one line for each element. `segments` shades every second segment and writes their names above
    the Axes; `events` names one or several events that log, whose moments are marked at the lower edge. Raises
    `UnknownNameError`.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0, tag="rest")
    >>> outcome = sim.run(T=200.0, resume=True, tag="more")
    >>> ax = dynlib.plot.time_series(sim.results(), "v", segments=True, events="spike", color="black")
    >>> ax.figure.savefig("neuron.png")
    """
    wanted = (events,) if isinstance(events, str) else tuple(events)
    values, logs = results[name], [results.event(event) for event in wanted]
    axes = axes_or_new(ax)
    shown = label if label is not None else name
    labels = shown if values.ndim == 1 else [f"{shown}[{k}]" for k in _elements(results, name)]
    axes.plot(results.t, values, label=labels, **style)
    axes.set_xlabel("t")
    axes.set_ylabel(name)
    if segments:
        _shade(results, axes)
    for k, (event, log) in enumerate(zip(wanted, logs, strict=True)):
        color, symbol = COLORS[(k + 1) % len(COLORS)], _SYMBOLS[k % len(_SYMBOLS)]
        axes.plot(log.t, np.full(len(log), 0.03), symbol, transform=axes.get_xaxis_transform(), color=color, ms=7,
                  label=event, clip_on=False, zorder=4)  # fmt: skip
    return axes


def _elements(results: ResultsView, name: str) -> list[int]:
    """The recorded elements of an array state."""
    return elements_of(results.columns, quantities_of(results.columns)[name]) or []


def _shade(results: ResultsView, axes: Axes) -> None:
    """Shade every second segment, and write the name of each above the Axes where it begins."""
    for k, segment in enumerate(results.segments):
        if k % 2:
            axes.axvspan(segment.t_start, segment.t_end, color="0.92", lw=0, zorder=0)
        axes.annotate(printable(segment.name), (segment.t_start, 1.0), (2, 3), xycoords=axes.get_xaxis_transform(),
                      textcoords="offset points", fontsize=9, color="0.3", parse_math=False, gid=NAME_ABOVE,
                      annotation_clip=True)  # fmt: skip


@checked
def mark_points(points: Iterable[tuple[float, float, str]], *, ax: Axes | None = None) -> Axes:
    """Mark moments (t, value, name), such as those of snapshots. Returns the Axes.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0)
    >>> ax = dynlib.plot.time_series(sim.results(), "v")
    >>> ax = dynlib.plot.mark_points([(50.0, sim.at(50.0)["v"], "half time")], ax=ax)
    """
    marks = list(points) if isinstance(points, Iterable) else None
    for mark in [None] if marks is None else marks:
        good = isinstance(mark, tuple | list) and len(mark) == 3 and is_number(mark[0]) and is_number(mark[1])
        if not (good and isinstance(mark[2], str)):
            raise ConfigError(
                f"points are given as [(t, value, name), …], not {said(points if mark is None else mark)}"
            )
    axes = axes_or_new(ax)
    for t, value, name in marks or ():
        axes.plot([t], [value], "o", color="black", ms=7, mfc="white", mew=1.6, zorder=5)
        axes.annotate(name, (t, value), xytext=(6, 8), textcoords="offset points", fontsize=9)
    return axes
