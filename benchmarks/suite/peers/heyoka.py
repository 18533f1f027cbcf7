"""heyoka.py: Taylor series compiled by LLVM, of the order that the tolerance asks for."""

from __future__ import annotations

from typing import Any

import heyoka
import numpy as np

from benchmarks.suite.right_hand_sides import RIGHT_HAND_SIDES, lorenz_starts, some_members
from benchmarks.suite.worker import Prepare, Run, Works

SETTINGS = (
    "`taylor_adaptive` (for ensembles `taylor_adaptive_batch` with a member for each number of a vector) with `tol` = "
    "rtol, parameters as constants; the integrator is built once and set back"
)


def version() -> str:
    return heyoka.__version__


def adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    start = np.array(p["start"])

    def prepare() -> Run:
        variables = heyoka.make_vars(*(f"x{k}" for k in range(len(start))))
        rates: list[Any] = [0.0] * len(start)
        RIGHT_HAND_SIDES[p["system"]](heyoka.sqrt, variables, rates)
        integrator = heyoka.taylor_adaptive(list(zip(variables, rates)), start.copy(), tol=p["rtol"])

        def run() -> np.ndarray[Any, Any]:
            integrator.time = 0.0
            integrator.state[:] = start
            integrator.propagate_until(p["t_end"])
            return integrator.state

        return run

    return {"taylor": prepare}


def ensemble(p: dict[str, Any]) -> dict[str, Prepare]:
    """As many trajectories at once as a vector of the processor has numbers."""

    def prepare() -> Run:
        members = p["members"]
        start = np.ones((3, members))
        start[0] = lorenz_starts(members)
        variables, rates = heyoka.make_vars("x", "y", "z"), [0.0] * 3
        RIGHT_HAND_SIDES["lorenz"](heyoka.sqrt, variables, rates)
        width = heyoka.recommended_simd_size()
        system = list(zip(variables, rates))
        integrator = heyoka.taylor_adaptive_batch(system, np.ones((3, width)), tol=p["tolerance"])

        def run() -> np.ndarray[Any, Any]:
            y = start.copy()
            for first in range(0, members, width):
                part = y[:, first : first + width]
                integrator.set_time(0.0)
                integrator.state[:, : part.shape[1]] = part
                integrator.propagate_until(p["t_end"])
                part[:] = integrator.state[:, : part.shape[1]]
            return some_members(y)

        return run

    return {"taylor, batches": prepare}


WORKS: Works = {"lorenz-dp5": adaptive, "lorenz-to-error": adaptive, "arenstorf-to-error": adaptive,
                "ensemble-adaptive": ensemble}  # fmt: skip
