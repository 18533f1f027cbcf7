"""The problems of the validation suite with their published solutions, and which steppers they are for."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import dynlib
from dynlib import NumericsWarning, RunOutcome, Sim, StepperSpec, select_steppers

Kind = Literal["non-stiff", "stiff", "hamiltonian"]
Vector = NDArray[np.float64]

TEST_SET = "F. Mazzia & C. Magherini, Test Set for Initial Value Problem Solvers, release 2.4 (2008)"
HNW = "E. Hairer, S. P. Nørsett & G. Wanner, Solving Ordinary Differential Equations I, 2nd ed. (1993)"
VISWANATH = "D. Viswanath, The fractal property of the Lorenz attractor, Physica D 190 (2004) 115–128"
VDPOL_SCALED = """inline:
[model]
type = "ode"
name = "van_der_pol_scaled"
[states]
x = 2.0
y = 0.0
[params]
eps = 1e-6
[equations.rhs]
x = "y"
y = "((1 - x^2) * y - x) / eps"
"""


@dataclass(frozen=True)
class Problem:
    """A model from its initial values to a time where the solution is known.

    `reference` is that solution; None for an orbit that closes. Tolerances are `rtol`, and `atol = scale * rtol`.
    `multiple` bounds the global error in units of the tolerance: a well-conditioned problem amplifies the errors of its
    steps a little, a chaotic one by many orders.
    """

    name: str
    model: str
    t_end: float
    reference: tuple[float, ...] | None
    kind: Kind
    source: str
    multiple: float
    scale: float = 1.0
    ic: tuple[float, ...] | None = None
    params: dict[str, float] = field(default_factory=dict)
    chaotic: bool = False

    @property
    def start(self) -> Vector:
        """The initial values."""
        if self.ic is not None:
            return np.array(self.ic)
        return np.array([v for q in dynlib.load_model(self.model).states for v in q.values])

    @property
    def end(self) -> Vector:
        """The solution at `t_end`."""
        return self.start if self.reference is None else np.array(self.reference)

    def error(self, y: Vector, rtol: float) -> float:
        """The greatest error of a component at `t_end`, in units of the tolerance."""
        end = self.end
        return float(np.max(np.abs(y - end) / (rtol * (self.scale + np.abs(end)))))

    def bound(self, spec: StepperSpec, rtol: float) -> float:
        """The greatest `error` that a method may make.

        For order 2 it grows: with the local error at the tolerance, the global one falls as its power 2/3 only.
        """
        return self.multiple * (max(1.0, 0.2 * rtol ** (-1 / 3)) if spec.order == 2 else 1.0)

    def prepared(self, stepper: str, rtol: float | None = None, *, jit: bool = True) -> Sim:
        """A session that stands at the initial values, with the default tolerances or those that `rtol` stands for."""
        options = {} if rtol is None else {"rtol": rtol, "atol": rtol * self.scale}
        full = dynlib.build(self.model, stepper=stepper, jit=jit, **options)
        sim = Sim(full)
        names = [name for q in full.model.states for name in q.element_names]
        sim.assign({**dict(zip(names, self.start.tolist(), strict=True)), **self.params})
        return sim

    def run(self, sim: Sim, **arguments: float) -> RunOutcome:
        """One run to `t_end` that keeps the final state only; the warning of a numerical failure is left out."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NumericsWarning)
            return sim.run(T=self.t_end, record=False, **arguments)  # type: ignore[arg-type]


def lorenz_by_taylor(t_end: float = 20.0, steps: int = 800, order: int = 40, digits: int = 60) -> tuple[Decimal, ...]:
    """The Lorenz system from (1, 1, 1) by its Taylor series in decimal arithmetic; beta is the double nearest to 8/3.

    An independent solution: the recurrences of the series, a fixed step and no step control.
    """
    with localcontext() as context:
        context.prec = digits
        h, beta = Decimal(t_end) / steps, Decimal(8 / 3)
        x0 = y0 = z0 = Decimal(1)
        for _ in range(steps):
            x, y, z = [x0], [y0], [z0]
            for n in range(order):
                xz = sum((x[k] * z[n - k] for k in range(n + 1)), Decimal(0))
                xy = sum((x[k] * y[n - k] for k in range(n + 1)), Decimal(0))
                rates = 10 * (y[n] - x[n]), 28 * x[n] - xz - y[n], xy - beta * z[n]
                for series, rate in zip((x, y, z), rates, strict=True):
                    series.append(rate / (n + 1))
            x0, y0, z0 = (_polynomial(series, h) for series in (x, y, z))
        return x0, y0, z0


def _polynomial(coefficients: list[Decimal], h: Decimal) -> Decimal:
    value = Decimal(0)
    for c in reversed(coefficients):
        value = value * h + c
    return value


PROBLEMS = (
    Problem(
        "van der Pol, mu = 1, one period",
        "builtin://ode/van_der_pol",
        6.6632868593231301896996820305,
        None,
        "non-stiff",
        f"{HNW}, exercise of I.16",
        multiple=100,
        ic=(2.00861986087484313650940188, 0.0),
    ),
    Problem(
        "Lorenz, orbit AB",
        "builtin://ode/lorenz",
        1.5586522107161747,
        None,
        "non-stiff",
        VISWANATH,
        multiple=200,
        ic=(-13.7636106821342, -19.5787519424518, 27.0),
    ),
    Problem(
        "Lorenz, orbit AAB",
        "builtin://ode/lorenz",
        2.3059072639398,
        None,
        "non-stiff",
        VISWANATH,
        multiple=300,
        ic=(-12.595115397689, -16.970525307084, 27.0),
    ),
    Problem(
        "Lorenz, orbit of period 3.82",
        "builtin://ode/lorenz",
        3.8202541634368,
        None,
        "non-stiff",
        VISWANATH,
        multiple=1e3,
        ic=(-13.056930146345, -17.987214049281, 27.0),
    ),
    Problem(
        "Lorenz, T = 20",
        "builtin://ode/lorenz",
        20.0,
        (13.79319959513038, 12.951803936192501, 34.901608681136814),
        "non-stiff",
        "Taylor series of order 40 with 60 digits: `lorenz_by_taylor`",
        multiple=2e6,
        chaotic=True,
    ),
    Problem(
        "Arenstorf orbit",
        "builtin://ode/arenstorf",
        17.0652165601579625588917206249,
        None,
        "non-stiff",
        f"{HNW}, II.0",
        multiple=2e5,
    ),
    Problem(
        "Pleiades",
        "builtin://ode/pleiades",
        3.0,
        (
            0.3706139143970502, 3.237284092057233, -3.222559032418324, 0.6597091455775310,
            0.3425581707156584, 1.562172101400631, -0.7003092922212495,
            -3.943437585517392, -3.271380973972550, 5.225081843456543, -2.590612434977470,
            1.198213693392275, -0.2429682344935824, 1.091449240428980,
            3.417003806314313, 1.354584501625501, -2.590065597810775, 2.025053734714242,
            -1.155815100160448, -0.8072988170223021, 0.5952396354208710,
            -3.741244961234010, 0.3773459685750630, 0.9386858869551073, 0.3667922227200571,
            -0.3474046353808490, 2.344915448180937, -1.947020434263292,
        ),
        "non-stiff",
        f"{TEST_SET}, PLEI",
        multiple=1e4,
    ),
    Problem(
        "Kepler, e = 0.6, one period",
        "builtin://ode/kepler",
        2 * math.pi,
        None,
        "hamiltonian",
        "exact: the period is 2 pi",
        multiple=5e3,
    ),
    Problem(
        "VDPOL: van der Pol, eps = 1e-6",
        VDPOL_SCALED,
        2.0,
        (1.706167732170483, -0.8928097010247975),
        "stiff",
        f"{TEST_SET}, VDPOL",
        multiple=100,
    ),
    Problem(
        "van der Pol, mu = 1000, T = 2000",
        "builtin://ode/van_der_pol",
        2000.0,
        (1.706167732170483, -0.8928097010247975e-3),
        "stiff",
        f"{TEST_SET}, VDPOL, in the time 1000 t",
        multiple=100,
        scale=1e-3,
        params={"mu": 1000.0},
    ),
    Problem(
        "ROBER: Robertson's reaction to 1e11",
        "builtin://ode/robertson",
        1e11,
        (0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050),
        "stiff",
        f"{TEST_SET}, ROBER",
        multiple=300,
        scale=1e-14,
    ),
    Problem(
        "OREGO: Oregonator",
        "builtin://ode/oregonator",
        360.0,
        (1.000814870318523, 1228.178521549917, 132.0554942846706),
        "stiff",
        f"{TEST_SET}, OREGO",
        multiple=1e3,
    ),
    Problem(
        "HIRES: high irradiance response",
        "builtin://ode/hires",
        321.8122,
        (
            0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
            0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2,
        ),
        "stiff",
        f"{TEST_SET}, HIRES",
        multiple=300,
        scale=1e-3,
    ),
)  # fmt: skip


def steppers(*, adaptive: bool, stiff: bool, symplectic: bool = False) -> list[StepperSpec]:
    """The registered steppers of a class."""
    return [
        s for s in select_steppers(kind="ode", adaptive=adaptive) if s.stiff == stiff and s.symplectic == symplectic
    ]


def tolerances(case: Problem, spec: StepperSpec) -> tuple[float, ...]:
    """A coarse and a fine `rtol` that a method of this order reaches in a reasonable number of steps.

    None for a method of low order on a chaotic problem, where a coarse tolerance says nothing.
    """
    if case.chaotic:
        return (1e-8, 1e-10) if spec.order >= 5 else ()
    return (1e-6, 1e-9) if spec.order >= 4 else (1e-4, 1e-6)


def problem(name: str) -> Problem:
    """The problem whose name begins so."""
    (found,) = [p for p in PROBLEMS if p.name.startswith(name)]
    return found
