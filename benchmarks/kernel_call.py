"""The compiled kernel called directly, without the session around it: the least time in which a run can be done."""

from __future__ import annotations

import math
import time

import numpy as np

from dynlib import Sim, Status


class KernelCall:
    """One run of a session to a time, or of at most `budget` steps, as one call of its kernel.

    The session stays as it is. Recording everything takes room for `rows` samples; with 0 nothing is recorded.
    """

    def __init__(self, sim: Sim, t_end: float, budget: int, rows: int = 0) -> None:
        full, self.state = sim.full_model, sim.state
        limit = self.state.step + budget
        self.kernel, self.y = full.kernel, full.kernel.layout["y"].span
        self.select = np.arange(len(full.columns), dtype=np.int64) if rows else np.full(max(1, len(full.columns)), -1)
        self.to_end = math.isfinite(t_end)
        self.recording, self.rows = full.new_recording(len(full.columns) if rows else 0), rows
        self.extent = np.array(self.state.config), t_end, limit, int(Status.MAX_STEPS), limit, 2 if rows else 0

    def __call__(self) -> np.ndarray:
        """The final state; NaN where the run did not reach its end."""
        blocks = self.state.blocks()
        self.samples = self.recording.sample_block(max(4, self.rows))
        status = self.kernel.function(
            blocks["times"], blocks["reals"], blocks["counts"], *self.extent, np.zeros(3, np.int64),
            np.array([math.nan]), self.select, self.kernel.tables, *self.samples, *self.recording.event_block(1),
        )  # fmt: skip
        y = blocks["reals"][self.y]
        expected = Status.DONE if self.to_end else Status.MAX_STEPS
        return y if status == expected else np.full(len(y), np.nan)

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
