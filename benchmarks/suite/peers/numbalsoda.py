"""numbalsoda: DOP853 and LSODA in C++ with a right-hand side compiled by numba."""

from __future__ import annotations

import importlib.metadata
import math
from typing import Any

import numba
import numbalsoda
import numpy as np

from benchmarks.suite.right_hand_sides import RIGHT_HAND_SIDES, STIFF
from benchmarks.suite.worker import Prepare, Run, Works

SETTINGS = "the right-hand side is a numba `cfunc`, parameters as constants; only the end is kept"
MOST = 10_000_000


def version() -> str:
    return importlib.metadata.version("numbalsoda")


def adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    start, times, data = np.array(p["start"]), np.array([0.0, p["t_end"]]), np.zeros(1)

    def prepare(function: Any) -> Prepare:
        def prepared() -> Run:
            rhs = compiled(p["system"])

            def run() -> Any:
                y, ok = function(rhs.address, start, times, data, p["rtol"], p["atol"], MOST)
                return y[-1] if ok else None

            return run

        return prepared

    explicit = {} if p["system"] in STIFF else {"dop853": prepare(numbalsoda.dop853)}
    return {**explicit, "lsoda": prepare(numbalsoda.lsoda)}


COMPILED: dict[str, Any] = {}


def compiled(system: str) -> Any:
    if system not in COMPILED:
        inner, root = numba.njit(RIGHT_HAND_SIDES[system]), numba.njit(lambda x: math.sqrt(x))

        @numba.cfunc(numbalsoda.lsoda_sig)
        def rhs(t: Any, y: Any, dy: Any, p: Any) -> None:
            inner(root, y, dy)

        COMPILED[system] = rhs
    return COMPILED[system]


WORKS: Works = {
    "lorenz-dp5": adaptive,
    "lorenz-to-error": adaptive,
    "arenstorf-to-error": adaptive,
    "van-der-pol": adaptive,
    "van-der-pol-to-error": adaptive,
    "robertson": adaptive,
    "robertson-to-error": adaptive,
}
