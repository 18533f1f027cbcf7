"""TSDynamics: solvers in Rust with right-hand sides compiled by Cranelift. It needs Python 3.12."""

from __future__ import annotations

from typing import Any

import numpy as np
import tsdynamics

from benchmarks.suite.right_hand_sides import STIFF
from benchmarks.suite.worker import Prepare, Run, Works

SETTINGS = 'its own Lorenz and logistic systems, others by its language; the default `backend="jit"`; two samples kept'


def version() -> str:
    return tsdynamics.__version__


class VanDerPol(tsdynamics.ContinuousSystem):
    """van der Pol's oscillator with mu = 1000."""

    params = {"mu": 1000.0}  # noqa: RUF012
    dim = 2
    variables = ("x", "y")

    @staticmethod
    def _equations(y: Any, t: Any, *, mu: Any) -> Any:
        return [y(1), mu * (1 - y(0) * y(0)) * y(1) - y(0)]


class Robertson(tsdynamics.ContinuousSystem):
    """Robertson's reaction."""

    params = {"k": 0.04}  # noqa: RUF012
    dim = 3
    variables = ("a", "b", "c")

    @staticmethod
    def _equations(y: Any, t: Any, *, k: Any) -> Any:
        fast, square = 1e4 * y(1) * y(2), 3e7 * y(1) * y(1)
        return [fast - k * y(0), k * y(0) - fast - square, square]


class Arenstorf(tsdynamics.ContinuousSystem):
    """Arenstorf's orbit."""

    params = {"mu": 0.012277471}  # noqa: RUF012
    dim = 4
    variables = ("x", "y", "u", "v")

    @staticmethod
    def _equations(y: Any, t: Any, *, mu: Any) -> Any:
        nu = 1 - mu
        a = ((y(0) + mu) ** 2 + y(1) ** 2) ** 1.5
        b = ((y(0) - nu) ** 2 + y(1) ** 2) ** 1.5
        return [
            y(2), y(3),
            y(0) + 2 * y(3) - nu * (y(0) + mu) / a - mu * (y(0) - nu) / b,
            y(1) - 2 * y(2) - nu * y(1) / a - mu * y(1) / b,
        ]  # fmt: skip


SYSTEMS = {
    "lorenz": tsdynamics.systems.Lorenz,
    "arenstorf": Arenstorf,
    "van_der_pol": VanDerPol,
    "robertson": Robertson,
}


def adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare(solver: str) -> Prepare:
        def prepared() -> Run:
            system, t_end = SYSTEMS[p["system"]](), p["t_end"]

            def run() -> Any:
                found = system.run(t_end, dt=t_end, ic=p["start"], solver=solver, rtol=p["rtol"], atol=p["atol"])
                return found.y[-1]

            return run

        return prepared

    return {m: prepare(m) for m in (("rosenbrock", "bdf") if p["system"] in STIFF else ("rk45", "dop853"))}


def lorenz_rk4_recorded(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        system, n = tsdynamics.systems.Lorenz(), p["steps"]

        def run() -> Any:
            found = system.run(p["dt"] * n, dt=p["dt"], ic=p["start"], solver="rk4").y
            return np.array([*found[n // 2], *found[n]])

        return run

    return {"rk4": prepare}


def exponents(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        system = tsdynamics.systems.Lorenz()

        def run() -> Any:
            found = tsdynamics.analysis.lyapunov_spectrum(
                system, k=p["exponents"], final_time=p["dt"] * p["steps"], dt=p["dt"], transient=0.0, ic=p["start"],
                solver="rk4",
            )  # fmt: skip
            return np.asarray(found.exponents)

        return run

    return {"lyapunov_spectrum": prepare}


WORKS: Works = {
    "lorenz-rk4-recorded": lorenz_rk4_recorded,
    "lorenz-dp5": adaptive,
    "lorenz-to-error": adaptive,
    "arenstorf-to-error": adaptive,
    "van-der-pol": adaptive,
    "van-der-pol-to-error": adaptive,
    "robertson": adaptive,
    "robertson-to-error": adaptive,
    "lorenz-exponent": exponents,
    "lorenz-spectrum": exponents,
}
