"""CyRK: solvers in C++, called from numba with a right-hand side compiled by numba."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import CyRK
import numba
import numpy as np

from benchmarks.suite.right_hand_sides import RIGHT_HAND_SIDES, STIFF
from benchmarks.suite.worker import Prepare, Run, Works

SETTINGS = "`nbsolve2_ivp` with the right-hand side as a C callback by numba; only the end is kept (`t_eval`)"


def version() -> str:
    return CyRK.__version__


@cache
def address(system: str) -> int:
    inner, root = numba.njit(RIGHT_HAND_SIDES[system]), numba.njit(lambda x: math.sqrt(x))

    def rhs(dy: Any, t: Any, y: Any, args: Any) -> None:
        inner(root, y, dy)

    return CyRK.nb_diffeq_addr(rhs)


@numba.njit
def solved(rhs: int, t_end: float, start: Any, method: str, kept: Any, rtol: float, atol: float) -> Any:
    found = CyRK.nbsolve2_ivp(rhs, (0.0, t_end), start, method, kept, False, None, rtol, atol)
    end = found.y[:, -1].copy() if found.success else np.full(len(start), np.nan)
    found.free()
    return end


def adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    start, kept = np.array(p["start"]), np.array([p["t_end"]])

    def prepare(method: str) -> Prepare:
        def prepared() -> Run:
            rhs = address(p["system"])
            return lambda: solved(rhs, p["t_end"], start, method, kept, p["rtol"], p["atol"])

        return prepared

    return {m: prepare(m) for m in (("LSODA", "RADAU") if p["system"] in STIFF else ("RK45", "DOP853", "Vern8"))}


WORKS: Works = {
    "lorenz-dp5": adaptive,
    "lorenz-to-error": adaptive,
    "arenstorf-to-error": adaptive,
    "van-der-pol": adaptive,
    "van-der-pol-to-error": adaptive,
    "robertson": adaptive,
    "robertson-to-error": adaptive,
}
