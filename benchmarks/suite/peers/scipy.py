"""scipy: compiled solvers with a right-hand side in Python, and the large systems by numpy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from scipy.integrate import odeint, solve_ivp

from benchmarks.suite.right_hand_sides import STIFF, list_form
from benchmarks.suite.worker import Prepare, Run, Works

SETTINGS = (
    "right-hand sides in plain Python on lists, the fastest for few states; for large systems numpy on whole arrays"
)
MOST = 10_000_000
Array = np.ndarray[Any, np.dtype[np.float64]]


def version() -> str:
    return f"{scipy.__version__} (numpy {np.__version__})"


def adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    f = list_form(p["system"], math.sqrt)
    start, t_end, rtol, atol = p["start"], p["t_end"], p["rtol"], p["atol"]

    def rhs(t: float, y: Array) -> list[float]:
        return f(t, y.tolist())

    def ivp(method: str) -> Prepare:
        def run() -> Any:
            found = solve_ivp(rhs, (0.0, t_end), start, method, t_eval=[t_end], rtol=rtol, atol=atol)
            return found.y[:, -1] if found.success else None

        return lambda: run

    def lsoda() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y, info = odeint(
                rhs, start, [0.0, t_end], rtol=rtol, atol=atol, tfirst=True, full_output=True, mxstep=MOST
            )  # fmt: skip
        return y[-1] if info["message"] == "Integration successful." else None

    method = "Radau" if p["system"] in STIFF else "DOP853"
    return {"odeint": lambda: lsoda, method: ivp(method)}


def stepped(f: Callable[[Array], Array], start: Array, p: dict[str, Any]) -> Run:
    h = p["dt"]

    def run() -> Array:
        y = start.copy()
        for _ in range(p["steps"]):
            k1 = f(y)
            k2 = f(y + 0.5 * h * k1)
            k3 = f(y + 0.5 * h * k2)
            k4 = f(y + h * k3)
            y += h * (1 / 6 * k1 + 1 / 3 * k2 + 1 / 3 * k3 + 1 / 6 * k4)
        return y[:: len(y) // 10]

    return run


def chain(p: dict[str, Any]) -> dict[str, Prepare]:
    def f(u: Array) -> Array:
        d = u * (1 - u) * (u - 0.1)
        flow = np.diff(u)
        d[:-1] += flow
        d[1:] -= flow
        return d

    return {"numpy": lambda: stepped(f, 0.5 + 0.4 * np.sin(0.05 * np.arange(p["n"])), p)}


def kuramoto(p: dict[str, Any]) -> dict[str, Prepare]:
    n = p["n"]
    omega = np.sin(7.0 * np.arange(n))

    def f(u: Array) -> Array:
        return omega + p["coupling"] / n * np.sin(u[None, :] - u[:, None]).sum(axis=1)

    return {"numpy": lambda: stepped(f, np.sin(3.0 * np.arange(n)), p)}


WORKS: Works = {
    "lorenz-dp5": adaptive,
    "lorenz-to-error": adaptive,
    "arenstorf-to-error": adaptive,
    "van-der-pol": adaptive,
    "van-der-pol-to-error": adaptive,
    "robertson": adaptive,
    "robertson-to-error": adaptive,
    "chain-1000": chain,
    "chain-100000": chain,
    "kuramoto-1000": kuramoto,
}
