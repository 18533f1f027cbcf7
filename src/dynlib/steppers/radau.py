"""The Radau IIA method of order 5 with the numbers that its implementation needs."""

from __future__ import annotations

from math import sqrt

from msgspec import Struct


class Radau(Struct, frozen=True):
    """A fully implicit method of three stages, to be solved in the variables of HW II, IV.8.

    HW II is Hairer & Wanner, Solving Ordinary Differential Equations II, 2nd ed. (1996). A step of y' = f(t, y) from
    (t, base) over h, with J ≈ ∂f/∂y:

    - The unknowns are z_i, the stages less base: z_i = h Σ_j a_ij f(t + c_j h, base + z_j). The method is stiffly
      accurate (`b` is the last row of `a`), so that new = base + z_3.
    - With z_i = Σ_j t_ij w_j (matrix `t`, whose inverse is `t_inverse`) the inverse of `a` takes the form
      t⁻¹ a⁻¹ t = ((real, 0, 0), (0, α, β), (0, −β, α)) where pair = (α, β). An iteration of the simplified Newton
      method computes g_i = Σ_j t_inverse_ij f(t + c_j h, base + z_j), solves
      (real/h I − J) Δw_1 = g_1 − real/h w_1 and, with complex numbers,
      ((α − iβ)/h I − J) (Δw_2 + i Δw_3) = g_2 + i g_3 − (α − iβ)/h (w_2 + i w_3),
      and adds Δw to w; z follows from w.
    - Error estimate, of a formula ŷ of order `error_order`, with the matrix of the first system:
      err = (real/h I − J)⁻¹ (f(t, base) + (1/h) Σ_i error_i z_i). Where that is too large in the first step or after a
      rejected one, it is computed again with f(t, base + err) in place of f(t, base). The vector in brackets times
      h/real is ŷ − new.
    - Dense output of order `dense_order`: the collocation polynomial, base + Σ_i Σ_j dense[i][j] θ^(j+1) z_i. Taken at
      θ > 1, it gives the first guess of the z_i of the next step.
    """

    order: int
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    real: float
    pair: tuple[float, float]
    t: tuple[tuple[float, ...], ...]
    t_inverse: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]
    error_order: int
    dense: tuple[tuple[float, ...], ...]
    dense_order: int

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.b)


_S6 = sqrt(6)

RADAU5 = Radau(
    5,
    ((4 - _S6) / 10, (4 + _S6) / 10, 1.0),
    (
        ((88 - 7 * _S6) / 360, (296 - 169 * _S6) / 1800, (-2 + 3 * _S6) / 225),
        ((296 + 169 * _S6) / 1800, (88 + 7 * _S6) / 360, (-2 - 3 * _S6) / 225),
        ((16 - _S6) / 36, (16 + _S6) / 36, 1 / 9),
    ),
    ((16 - _S6) / 36, (16 + _S6) / 36, 1 / 9),
    real=3 - 3 ** (1 / 3) + 3 ** (2 / 3),
    pair=(3 + (3 ** (1 / 3) - 3 ** (2 / 3)) / 2, (3 ** (5 / 6) + 3 ** (7 / 6)) / 2),
    t=(
        (0.09443876248897524, -0.1412552950209542, 0.030029194105147424),
        (0.25021312296533334, 0.20412935229379994, -0.3829421127572619),
        (1.0, 1.0, 0.0),
    ),
    t_inverse=(
        (4.178718591551905, 0.32768282076106237, 0.5233764454994495),
        (-4.178718591551905, -0.32768282076106237, 0.47662355450055044),
        (0.5028726349457868, -2.571926949855605, 0.5960392048282249),
    ),
    error=((-13 - 7 * _S6) / 3, (-13 + 7 * _S6) / 3, -1 / 3),
    error_order=3,
    dense=(
        ((13 + 7 * _S6) / 3, -(23 + 22 * _S6) / 3, (10 + 15 * _S6) / 3),
        ((13 - 7 * _S6) / 3, -(23 - 22 * _S6) / 3, (10 - 15 * _S6) / 3),
        (1 / 3, -8 / 3, 10 / 3),
    ),
    dense_order=3,
)
"""RADAU5: HW II, IV.5, table 5.6, and IV.8."""
