"""pynamicalsys: methods written in Python for numba."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np
import pynamicalsys

from benchmarks.suite.worker import Prepare, Run, Works

SETTINGS = (
    "its own Lorenz and logistic models; `evolve_system` where only the end counts. Its adaptive method stops at the "
    "first step beyond the end, so that its value differs and there is no time to an error"
)


def version() -> str:
    return importlib.metadata.version("pynamicalsys")


def lorenz(method: str, **options: float) -> Any:
    system = pynamicalsys.ContinuousDynamicalSystem(model="lorenz system")
    system.integrator(method, **options)
    system.set_parameters([10.0, 28.0, 8 / 3])
    return system


def lorenz_rk4(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        system = lorenz("rk4", time_step=p["dt"])
        return lambda: system.evolve_system(p["start"], p["dt"] * (p["steps"] - 1))  # it takes one step more

    return {"evolve_system": prepare}


def lorenz_rk4_recorded(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        system, n = lorenz("rk4", time_step=p["dt"]), p["steps"]

        def run() -> Any:
            found = system.trajectory(p["start"], p["dt"] * n)
            return np.array([*found[n // 2 - 1, 1:], *found[n - 1, 1:]])

        return run

    return {"trajectory": prepare}


def adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        system = lorenz("rk45", rtol=p["rtol"], atol=p["atol"])
        return lambda: system.evolve_system(p["start"], p["t_end"])

    return {"rk45": prepare}


def logistic_orbits(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        system = pynamicalsys.DiscreteDynamicalSystem(model="logistic map")

        def run() -> Any:
            _, x = system.bifurcation_diagram(
                [0.2], 0, (p["r_min"], p["r_max"], p["values"]), p["transient"] + p["kept"],
                transient_time=p["transient"],
            )  # fmt: skip
            return np.asarray(x).reshape(p["values"], -1)[:6, -1]

        return run

    return {"bifurcation_diagram": prepare}


def exponents(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        system = lorenz("rk4", time_step=p["dt"])

        def run() -> Any:
            return np.atleast_1d(
                system.lyapunov(p["start"], p["dt"] * p["steps"], num_exponents=p["exponents"])
            )  # fmt: skip

        return run

    return {"lyapunov": prepare}


WORKS: Works = {
    "lorenz-rk4": lorenz_rk4,
    "lorenz-rk4-recorded": lorenz_rk4_recorded,
    "lorenz-dp5": adaptive,
    "logistic-orbits": logistic_orbits,
    "lorenz-exponent": exponents,
    "lorenz-spectrum": exponents,
}
