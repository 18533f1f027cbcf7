"""Symplectic methods for separable Hamiltonian systems as sequences of kicks and drifts."""

from __future__ import annotations

from itertools import pairwise

from msgspec import Struct


class Composition(Struct, frozen=True):
    """A step over h for H = T(p) + V(q): kick, drift, kick, …, drift, kick, one kick more than there are drifts.

    A kick with κ is p += −κ h ∂V/∂q, a drift with δ is q += δ h ∂T/∂p. Time goes with the drifts: after the first j of
    them it is t + h (δ_1 + … + δ_j), and kicks see the time they are at. Both sequences are palindromes with sum 1: the
    methods are symmetric, of even order. The force of the last kick is that of the first kick of the next step.
    """

    order: int
    kicks: tuple[float, ...]
    drifts: tuple[float, ...]

    @property
    def stages(self) -> int:
        """Number of evaluations of the force in a step, that of the first kick left out."""
        return len(self.drifts)


def _of_verlet(order: int, *half: float) -> Composition:
    """Verlet steps over w_1 h, w_2 h, …, of which `half` ends with the middle one; kicks that meet are joined."""
    weights = (*half, *half[-2::-1])
    ends = (0.0, *weights, 0.0)
    return Composition(order, tuple((a + b) / 2 for a, b in pairwise(ends)), weights)


VERLET = _of_verlet(2, 1.0)
"""Velocity form: half a kick, a drift, half a kick (GNI: Hairer, Lubich & Wanner, Geometric Numerical Integration, 2nd
ed. (2006), I.1.4)."""
YOSHIDA4 = _of_verlet(4, 1 / (2 - 2 ** (1 / 3)), 1 - 2 / (2 - 2 ** (1 / 3)))
"""Yoshida, Phys. Lett. A 150 (1990) 262–268."""
YOSHIDA6 = _of_verlet(6, 0.7845136104775573, 0.23557321335935813, -1.177679984178871, 1.3151863206839112)
"""Solution A of Yoshida, Phys. Lett. A 150 (1990) 262–268; more digits: GNI, V.3.2, eq. 3.11."""
KAHAN_LI8 = _of_verlet(
    8,
    0.13020248308889007,
    0.5611629817751084,
    -0.38947496264484727,
    0.1588419065551556,
    -0.39590389413323757,
    0.1845396409783157,
    0.25837438768632204,
    0.2950117236093103,
    -0.6055085338300346,
)
"""s17odr8a of Kahan & Li, Math. Comput. 66 (1997) 1089–1099."""
