"""The threads that carry out an ensemble, and who hears Ctrl-C meanwhile."""

from __future__ import annotations

import math
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dynlib.runtime.driver import Interruption
from dynlib.runtime.progress import MembersDone, Progress, ProgressDisplay
from dynlib.runtime.recording import Recording
from dynlib.runtime.state import Array, SessionState
from dynlib.status import Status


class Crew:
    """The threads that carry out pieces of work, the calling one among them, which hears Ctrl-C and tells of progress.

    Every thread takes the next piece when it is done with one, so that all end at about the same time; no thread
    does nothing but wait for the others, which would take its turns from those that compute.
    """

    def __init__(self, workers: int, progress: bool | Progress) -> None:
        self.workers = workers
        self._progress = progress
        self._interruption = Interruption((signal.SIGINT,))
        self._given_up = threading.Event()
        self._caller = threading.get_ident()
        self.tell: Callable[[], None] = lambda: None

    @property
    def signal(self) -> int:
        """The signal that ended the work; 0 if none came."""
        return self._interruption.number

    @property
    def stopping(self) -> bool:
        """Whether the threads are to stop: they ask after each call of a kernel."""
        return self._interruption.raised or self._given_up.is_set()

    def work(
        self,
        act: Callable[[int, int], None],
        pieces: list[tuple[int, int]],
        members: int,
        way: Callable[[Array, Array], Array],
        status: Array,
        times: Array,
        steps: Array,
    ) -> None:
        """Carry out all pieces. Afterwards members that have not come to their end have the status INTERRUPTED."""
        display = ProgressDisplay() if self._progress is True else None
        tell = self._progress if callable(self._progress) else None

        def told() -> None:
            if display is None and tell is None:
                return
            ended = status[:members] != Status.RUNNING
            part = np.where(ended, 1.0, way(times[:members], steps[:members]))
            fraction = float(part.mean())
            if display is not None:
                display(MembersDone(fraction, int(ended.sum()), members))
            if tell is not None:
                tell(fraction, math.nan)

        self.tell = told
        waiting = deque(pieces)

        def work() -> None:
            try:
                while waiting and not self.stopping:
                    try:
                        piece = waiting.popleft()
                    except IndexError:  # another thread was faster
                        return
                    act(*piece)
                    self.passed()
            except BaseException:
                self._given_up.set()
                raise

        others = min(self.workers, len(pieces)) - 1
        try:
            with self._interruption:
                if others == 0:
                    work()
                else:
                    with ThreadPoolExecutor(others, thread_name_prefix="dynlib-ensemble") as pool:
                        running = [pool.submit(work) for _ in range(others)]
                        work()
                    for each in running:
                        each.result()
                told()
        finally:
            if display is not None:
                display.close()
        status[status == Status.RUNNING] = Status.INTERRUPTED

    def passed(self) -> None:
        """A thread looks up from its work: the calling one tells of progress."""
        if threading.get_ident() == self._caller:
            self.tell()

    def stop(self, number: int) -> None:
        """A signal was heard by someone else."""
        self._interruption.number = number


class Member:
    """Whom the driver of a single run asks whether it may go on, and who puts its samples in their rows."""

    def __init__(self, crew: Crew, rows: Array) -> None:
        self.crew = crew
        self._rows = rows
        self._taken = 0

    def keep(self, recording: Recording, pause: Callable[[], SessionState] | None) -> bool:
        """Samples are copied; one that stands only because a run stopped there is none of the grid."""
        for _, _, kind, data in recording.samples:
            block = data[kind == 0][: len(self._rows) - self._taken]
            self._rows[self._taken : self._taken + len(block)] = block
            self._taken += len(block)
        recording.samples = []
        return not self.crew.stopping

    def stopped_by(self, number: int) -> None:
        """The run of a member has heard a signal."""
        self.crew.stop(number)
