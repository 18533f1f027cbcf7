"""Methods that change between an explicit and an implicit formula as stiffness comes and goes."""

from __future__ import annotations

from msgspec import Struct

from dynlib.steppers.explicit_rk import DORMAND_PRINCE, Tableau
from dynlib.steppers.rosenbrock import RODAS5P, Rosenbrock


class Switching(Struct, frozen=True):
    """A pair of methods, and when one gives way to the other.

    The `explicit` one, whose last two stages both lie at the end of the step, estimates the largest eigenvalue λ by
    |f(t + h, new) − f(t + h, g)| / |new − g| with the state g of the last but one. Where h λ exceeds `bound`, the edge
    of its stability, in `signs` steps before `calm` steps in a row did not, the problem is stiff (HW II: Hairer &
    Wanner, Solving Ordinary Differential Equations II, 2nd ed. (1996), IV.2, code DOPRI5). The `implicit` one gives
    way where h |J| lay below half of `bound` for `signs` steps in a row: there the explicit method is stable with the
    same step (compare Petzold, SIAM J. Sci. Stat. Comput. 4 (1983) 136–148).
    """

    explicit: Tableau
    implicit: Rosenbrock
    bound: float
    signs: int
    calm: int


AUTO = Switching(DORMAND_PRINCE, RODAS5P, 3.25, 15, 6)
