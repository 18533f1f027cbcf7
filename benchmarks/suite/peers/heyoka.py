"""heyoka.py: Taylor series compiled by LLVM, of the order that the tolerance asks for."""

from __future__ import annotations

from typing import Any

import heyoka
import numpy as np

from benchmarks.suite.right_hand_sides import RIGHT_HAND_SIDES
from benchmarks.suite.worker import Prepare, Run, Works

SETTINGS = "`taylor_adaptive` with `tol` = rtol, parameters as constants; the integrator is built once and set back"


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


WORKS: Works = {"lorenz-dp5": adaptive, "lorenz-to-error": adaptive, "arenstorf-to-error": adaptive}
