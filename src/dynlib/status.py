"""How a run can end. A failure of the numerics is one of these values, never an exception."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The outcome of a run; `PAUSED` and `FULL` stay between the kernel and its driver.

    >>> import dynlib
    >>> dynlib.Status.DONE.ok, dynlib.Status.MAX_STEPS.ok
    (True, False)
    >>> dynlib.Status.MAX_STEPS.meaning
    'the limit on the number of steps was reached before the horizon; raise max_steps or resume'
    """

    RUNNING = 0
    DONE = 1
    STOPPED = 2
    MAX_STEPS = 3
    STEP_TOO_SMALL = 4
    NOT_FINITE = 5
    INTERRUPTED = 6
    PAUSED = 7
    FULL = 8
    NEWTON_FAILED = 9
    CHATTERING = 10

    @property
    def ok(self) -> bool:
        """Whether the run reached its horizon or its stop condition."""
        return self in (Status.DONE, Status.STOPPED)

    @property
    def meaning(self) -> str:
        """One sentence for a message."""
        return _MEANING[self]


_MEANING = {
    Status.RUNNING: "the run is under way",
    Status.DONE: "the horizon was reached",
    Status.STOPPED: "the stop condition of the model became true, or a terminal event happened",
    Status.MAX_STEPS: "the limit on the number of steps was reached before the horizon; raise max_steps or resume",
    Status.STEP_TOO_SMALL: "the step size fell below the resolution of time; the problem may be stiff here (try "
    "'rodas5p'), or its solution may end",
    Status.NOT_FINITE: "the state became infinite or NaN; the session stands at the last good step (shorter steps "
    "or a smaller rtol may help, unless the solution itself is unbounded)",
    Status.INTERRUPTED: "the run was interrupted; resume it to go on",
    Status.PAUSED: "the run paused between two chunks",
    Status.FULL: "a buffer is full",
    Status.NEWTON_FAILED: "the equations of an implicit step had no solution, however small the step (try another "
    "stepper, and look at the equations near this state)",
    Status.CHATTERING: "an event happens again and again in no time; the session stands at the last good step (let its "
    "action lead away from its condition, or make it terminal)",
}
