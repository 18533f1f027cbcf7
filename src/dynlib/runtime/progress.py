"""What is told of a run on its way: a display of progress, and a warning where it crawls."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from dynlib.errors import NumericsWarning
from dynlib.runtime.state import SessionState

Progress = Callable[[float, float], None]
"""Called with the fraction done (NaN if unknown) and the time reached."""


class Passing(Struct, frozen=True):
    """A moment at which the driver looks up: the fraction done (NaN if unknown), time, end, and steps since the start.

    `pause` gives the state; None where a buffer became full inside a step.
    """

    fraction: float
    t: float
    horizon: float
    steps: int
    pause: Callable[[], SessionState] | None

    @property
    def count(self) -> int:
        """What a display counts where the fraction is unknown."""
        return self.steps

    def told(self, seconds: float) -> str:
        """Where the run stands after so many seconds, and its rate."""
        return f"t = {self.t:.6g}, {self.steps} steps, {self.steps / seconds:.3g} steps/s"


class MembersDone(Struct, frozen=True):
    """A moment of an ensemble: the fraction of all its work, and how many of its members are at their end."""

    fraction: float
    count: int
    members: int

    def told(self, seconds: float) -> str:
        """How many members are done after so many seconds, and their rate."""
        return f"{self.count} of {self.members} members, {self.count / seconds:.3g} members/s"


Watch = Callable[[Passing], None]

_SHORTLY = {"s": 60.0, "min": 60.0, "h": 24.0, "days": 365.0, "years": math.inf}


def duration(seconds: float) -> str:
    """A span of wall-clock time in the unit that suits it.

    >>> duration(90.0), duration(3e10)
    ('1.5 min', '951 years')
    """
    value = seconds
    for unit, most in _SHORTLY.items():
        if value < most:
            return f"{value:.0f} {unit}" if unit == "s" else f"{value:.3g} {unit}"
        value /= most
    return "for ever"


class ProgressDisplay:
    """A line that appears when a run takes longer than `after` seconds: by tqdm where it is installed, else plain text.

    It shows steps, time, rate and remaining time; in notebooks tqdm makes a widget of it.
    """

    def __init__(self, after: float = 1.0) -> None:
        self._began = time.perf_counter()
        self._next = after
        self._bar: Any = None
        self._plain = False

    def __call__(self, at: Passing | MembersDone) -> None:
        seconds = time.perf_counter() - self._began
        if seconds < self._next:
            return
        self._next = seconds + 0.2
        known = math.isfinite(at.fraction)
        left = f", {duration(seconds / at.fraction - seconds)} left" if known and at.fraction > 0 else ""
        text = f"{at.told(seconds)}, {duration(seconds)}{left}"
        if self._bar is None and not self._plain:
            self._bar = _new_bar(known)
            self._plain = self._bar is None
        if self._bar is None:
            part = f"{100 * at.fraction:5.1f} %  " if known else ""
            sys.stderr.write(f"\r{part}{text}   ")
            sys.stderr.flush()
        else:
            self._bar.n = min(at.fraction, 1.0) if known else at.count
            self._bar.set_description_str(text)

    def close(self) -> None:
        """The last state of the display stays."""
        if self._bar is not None:
            self._bar.close()
        elif self._plain:
            sys.stderr.write("\n")


def _new_bar(known: bool) -> Any:
    """A bar of tqdm; None where tqdm is not installed."""
    try:
        from tqdm.auto import tqdm  # optional
    except ImportError:
        return None
    quiet = type("Bar", (tqdm,), {"monitor_interval": 0})  # no thread beside the run
    return quiet(
        total=1.0 if known else None, bar_format="{percentage:3.0f}%|{bar}| {desc}" if known else "{desc}",
        file=sys.stderr, dynamic_ncols=True,
    )  # fmt: skip


class CrawlWarning:
    """Warns once where a run of an explicit method will take long because stability, not accuracy, limits its steps.

    The sign is that of Hairer & Wanner (Solving ODEs II, IV.2): the product of the step size and the dominant
    eigenvalue of the Jacobian lies at the border of the stability region, near -3. `decay` gives minus the real part of
    that eigenvalue at a state, NaN where it is unknown. It is asked after 2, 4, 8, … seconds of a run, so that it takes
    no time to speak of, and only where the run would take another minute. `said` is called when the warning is given.
    """

    AFTER = 2.0
    TOO_LONG = 60.0
    BOUND = 2.0

    def __init__(self, stepper: str, decay: Callable[[SessionState], float], said: Callable[[], None]) -> None:
        self._stepper, self._decay, self._said = stepper, decay, said
        self._clock = time.perf_counter
        self._began = self._since = self._clock()
        self._next = self.AFTER
        self._t = math.nan
        self._steps = 0

    def __call__(self, at: Passing) -> None:
        now = self._clock()
        if at.pause is None or now - self._began < self._next / 2:
            return
        if math.isnan(self._t):  # the present rate is that of the second half of the time
            self._t, self._steps, self._since = at.t, at.steps, now
            return
        if now - self._began < self._next or at.t <= self._t:
            return
        left = (at.horizon - at.t) * (now - self._since) / (at.t - self._t)
        size = (at.t - self._t) / max(at.steps - self._steps, 1)
        self._next *= 2
        self._t = math.nan
        if math.isfinite(left) and left > self.TOO_LONG and size * self._decay(at.pause()) > self.BOUND:
            self._next = math.inf
            self._said()
            warnings.warn(
                f"the run crawls: at t = {at.t:g} its steps are {size:.3g} long, and to t = {at.horizon:g} it takes "
                f"another {duration(left)}. Stability limits the steps of {self._stepper!r}, so the problem is "
                'probably stiff here: stop it and take stepper="rodas5p", or "auto", which changes by itself',
                NumericsWarning,
                stacklevel=_levels_of_the_library(),
            )


def _levels_of_the_library() -> int:
    """How many calls above the caller the first line outside this library stands."""
    levels, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "dynlib":
        levels, frame = levels + 1, frame.f_back
    return levels
