"""Published bifurcations of the models of the library, located with nothing but the public interface."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

import dynlib
from dynlib import Sim

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class HopfPoint:
    """The value of a parameter where the leading eigenvalues of rest cross the imaginary axis.

    It is sought between `low` and `high`, from a state near rest; the published value has an error of at most `within`.
    """

    name: str
    model: str
    parameter: str
    low: float
    high: float
    near: tuple[float, ...]
    published: float
    within: float
    source: str

    def locate(self) -> float:
        """The value found here, by the Jacobian of the model at rest."""
        full = dynlib.build(f"builtin://ode/{self.model}", stepper="euler", dt=1.0, jit=False)
        sim = Sim(full)

        def leading(value: float) -> float:
            params = {self.parameter: value}
            y = np.array(self.near)
            for _ in range(60):
                sim.run(N=1, ic=y.tolist(), params=params, record=False)  # the next state is y + f(y)
                change = np.linalg.solve(full.jacobian(y=y.tolist(), params=params), sim.state_vector() - y)
                y = y - change
                if np.all(np.abs(change) <= 1e-13 * (1 + np.abs(y))):
                    values = np.linalg.eigvals(full.jacobian(y=y.tolist(), params=params))
                    return float(values.real.max())
            raise ArithmeticError("Newton's method did not converge")

        return float(brentq(leading, self.low, self.high, xtol=1e-13, rtol=1e-14))


_ENCLOSED = "interval arithmetic; first by B. Hassard, J. Theor. Biol. 71 (1978) 401–420"
_CLOSED = "closed form; parameters of R. FitzHugh, Biophys. J. 1 (1961) 445–466"
_RINZEL = "J. Rinzel & B. Ermentrout, in Methods in Neuronal Modeling, 2nd ed. (1998), 251–291"

HOPF_POINTS = (
    HopfPoint("Lorenz, rho", "lorenz", "rho", 20.0, 28.0, (8.0, 8.0, 24.0), 470 / 19, 1e-11,
              "exact; E. N. Lorenz, J. Atmos. Sci. 20 (1963) 130–141"),
    HopfPoint("Brusselator, B", "brusselator", "B", 1.5, 2.5, (1.0, 2.0), 2.0, 1e-11,
              "exact; R. Lefever & G. Nicolis, J. Theor. Biol. 30 (1971) 267–284"),
    HopfPoint("Hodgkin–Huxley, I, lower", "hodgkin_huxley", "I", 9.0, 11.0, (5.3, 0.1, 0.4, 0.4),
              9.775437995393, 2e-12, _ENCLOSED),
    HopfPoint("Hodgkin–Huxley, I, upper", "hodgkin_huxley", "I", 150.0, 160.0, (21.9, 0.4, 0.1, 0.65),
              154.522433665808, 1e-11, _ENCLOSED),
    HopfPoint("FitzHugh–Nagumo, I, lower", "fitzhugh_nagumo", "I", 0.2, 0.5, (-1.0, -0.3),
              0.3312813374547463, 1e-12, _CLOSED),
    HopfPoint("FitzHugh–Nagumo, I, upper", "fitzhugh_nagumo", "I", 1.2, 1.6, (1.0, 2.1),
              1.4187186625452537, 1e-12, _CLOSED),
    HopfPoint("Morris–Lecar, I, lower", "morris_lecar", "I", 90.0, 100.0, (-26.0, 0.13), 93.86, 5e-3, _RINZEL),
    HopfPoint("Morris–Lecar, I, upper", "morris_lecar", "I", 200.0, 220.0, (8.0, 0.6), 212.0, 0.5, _RINZEL),
)  # fmt: skip

DOUBLINGS = (3.0, 1 + math.sqrt(6), 3.544090359551923, 3.564407266095433, 3.568759419543826, 3.569691609801397)
"""Where the orbits of period 1, 2, 4, … of the logistic map lose their stability; the first two are exact."""


def doubling(k: int) -> float:
    """Where the multiplier of the orbit of period 2^k is -1, sought near the published value."""
    near, below = DOUBLINGS[k], DOUBLINGS[k - 1] if k else 1.0
    sim = Sim(dynlib.build("builtin://map/logistic", jit=False))
    n = 2**k
    low, high = near - 0.1 * (near - below), near + 0.02 * (near - below)
    sim.run(N=2000 * n, ic=[0.5], params={"r": low}, record=False)
    on_orbit = float(sim.state_vector()[0])

    def multiplier(r: float) -> float:
        nonlocal on_orbit
        for _ in range(50):
            sim.run(N=n, ic=[on_orbit], params={"r": r})
            x: Vector = sim.results()["x"]
            slope = math.prod((r * (1 - 2 * x[:-1])).tolist())
            change = float(x[-1] - x[0]) / (slope - 1)
            on_orbit -= change
            if abs(change) < 1e-14:
                return slope
        raise ArithmeticError("Newton's method did not converge")

    return float(brentq(lambda r: multiplier(r) + 1, low, high, xtol=1e-15))
