"""A thin trace of the states that a run went through, kept so that any past time can be computed again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from msgspec import Struct, field

from dynlib.compile.layout import TIME_TOLERANCE
from dynlib.runtime.state import SessionState

BUDGET_BYTES = 64 * 2**20
MOST_STATES = 20_000
MOST_TRACES = 1000
PAUSE_SECONDS = 0.1


class Trace(Struct):
    """States of one uninterrupted stretch in their order, the first where it began; `end` is the time reached.

    States are offered at the pauses of the driver, a fraction of a second of work apart. When there are too many,
    every second one goes and from then on only every second one is taken, so that memory stays bounded.
    """

    states: list[SessionState]
    end: float
    every: int = 1
    offered: int = 0
    spent: float = 0.0
    times: list[float] = field(default_factory=list)

    @classmethod
    def starting_at(cls, state: SessionState) -> Trace:
        """A trace that begins here."""
        return cls([state], state.t, times=[state.t])

    def copy(self) -> Trace:
        """A trace that can be continued without changing this one."""
        return Trace(list(self.states), self.end, self.every, self.offered, self.spent, list(self.times))

    @property
    def reach(self) -> float:
        """The last time that counts as reached: a step within rounding of a stop is the stop."""
        return self.end + 2 * TIME_TOLERANCE * abs(self.end)

    @property
    def state_bytes(self) -> int:
        """What one state takes."""
        first = self.states[0]
        return first.times.nbytes + first.reals.nbytes + first.counts.nbytes + 400

    @property
    def limit(self) -> int:
        """The most states that are kept."""
        return max(8, min(MOST_STATES, BUDGET_BYTES // self.state_bytes))

    def offer(self, make: Callable[[], SessionState]) -> None:
        """Take a state, unless it is one of those left out."""
        self.spent = 0.0
        self.offered += 1
        if self.offered % self.every:
            return
        state = make()
        self.states.append(state)
        self.times.append(state.t)
        if len(self.states) > self.limit:
            del self.states[1::2], self.times[1::2]
            self.every *= 2

    def worked(self, seconds: float, state: SessionState) -> None:
        """Note work that ended without a pause; short runs that add up to a pause offer their last state."""
        self.end = state.t
        self.spent += seconds
        if self.spent > PAUSE_SECONDS:
            self.offer(lambda: state)

    def before(self, t: float) -> SessionState:
        """The last state kept that is not after `t`."""
        return self.states[max(0, bisect_right(self.times, t) - 1)]


def within_budget(traces: list[Trace]) -> list[Trace]:
    """The latest of some traces: the last one, and before it as many as fit into the memory for all."""
    kept = traces[-1:]
    room = BUDGET_BYTES - sum(len(t.states) * t.state_bytes for t in kept)
    for trace in reversed(traces[-MOST_TRACES:-1]):
        room -= len(trace.states) * trace.state_bytes
        if room < 0:
            break
        kept.append(trace)
    return kept[::-1]
