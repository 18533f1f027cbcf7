"""Backward differentiation formulas: coefficients of the fixed step, and of the orders 1 to 5 with differences."""

from __future__ import annotations

from msgspec import Struct


class TwoStep(Struct, frozen=True):
    """The formula of order 2, with coefficients for equal or for any steps (HNW I, III.1 and III.5)."""


class Differences(Struct, frozen=True):
    """Formulas of the orders 1 to `len(kappa)` in backward differences ∇ʲ of equal steps.

    The one of order k is Σ_{j≤k} ∇ʲy/j = h f + κ_k γ_k (y − p), with y new, p the polynomial of degree k through the
    values before it, there, and γ_k = Σ_{j≤k} 1/j (Shampine & Reichelt, SIAM J. Sci. Comput. 18 (1997) 1–22, eq. 3).
    """

    kappa: tuple[float, ...]

    @property
    def orders(self) -> int:
        """The highest order."""
        return len(self.kappa)

    @property
    def gammas(self) -> tuple[float, ...]:
        """γ_0, γ_1, …"""
        return tuple(sum(1.0 / i for i in range(1, k + 1)) for k in range(len(self.kappa) + 1))

    @property
    def alphas(self) -> tuple[float, ...]:
        """(1 − κ_k) γ_k, what multiplies y; index 0 is unused."""
        return (1.0, *((1.0 - k) * g for k, g in zip(self.kappa, self.gammas[1:], strict=True)))

    @property
    def shares(self) -> tuple[float, ...]:
        """The local error of order k in units of ∇ᵏ⁺¹y: κ_k γ_k + 1/(k + 1), for k from 0 to one above the last."""
        kappa = (0.0, *self.kappa, 0.0)
        gammas = (*self.gammas, 0.0)
        return tuple(k * g + 1.0 / (j + 1) for j, (k, g) in enumerate(zip(kappa, gammas, strict=True)))


BDF2 = TwoStep()
NDF = Differences((-0.1850, -1.0 / 9.0, -0.0823, -0.0415, 0.0))
"""Shampine & Reichelt (1997), table 1."""
