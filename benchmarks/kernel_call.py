"""The compiled kernel called directly, without the session around it: the least time in which a run can be done."""

from __future__ import annotations

import math
import time

import numpy as np

from dynlib import Sim, Status


class KernelCall:
    """One run of a session to a time, as one call of its kernel that records nothing. The session stays as it is."""

    def __init__(self, sim: Sim, t_end: float, budget: int) -> None:
        full, self.state = sim.full_model, sim.state
        limit = self.state.step + budget
        self.function, self.y = full.kernel.function, full.kernel.layout["y"].span
        select = np.full(max(1, len(full.columns)), -1, np.int64)
        recording = full.new_recording(0)
        self.arguments = (
            np.array(self.state.config), t_end, limit, int(Status.MAX_STEPS), limit, 0, np.zeros(3, np.int64),
            np.array([math.nan]), select, full.kernel.tables, *recording.sample_block(4), *recording.event_block(1),
        )  # fmt: skip

    def __call__(self) -> np.ndarray:
        """The final state; NaN where the run did not reach its end."""
        blocks = self.state.blocks()
        status = self.function(blocks["times"], blocks["reals"], blocks["counts"], *self.arguments)
        y = blocks["reals"][self.y]
        return y if status == Status.DONE else np.full(len(y), np.nan)

    def seconds(self, spend: float) -> float:
        """The best time of one call, of as many as fit into a time span."""
        best, until = math.inf, time.perf_counter() + spend
        while True:
            began = time.perf_counter()
            self()
            ended = time.perf_counter()
            best = min(best, ended - began)
            if ended > until:
                return best
