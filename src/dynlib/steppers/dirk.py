"""Diagonally implicit Runge–Kutta methods as Butcher tableaus."""

from __future__ import annotations

from math import sqrt

from msgspec import Struct


class Diagonal(Struct, frozen=True):
    """Rows of `a` with the diagonal, nodes `c`, weights `b`; a first row (0,) is an explicit first stage, f(t, base).

    Stage i solves k_i = f(t + c_i h, base + h Σ_{j≤i} a_ij k_j); new = base + h Σ_i b_i k_i. All entries of the
    diagonal but such a first one are the same γ, so that one matrix I − h γ J serves all stages. The methods here are
    L-stable and stiffly accurate: `b` is the last row of `a`, new is the argument of the last f, k_s the slope there.

    `error` holds b − b̂ with b̂ of order `error_order`, which may be higher than `order`. If `filtered`, (I − h γ J)⁻¹ is
    applied to the estimate, since b̂ is not stable for stiff problems.

    With `dense_order` > 0 the state within the step is base + h Σ_i b_i(θ) k_i with b_i(θ) = Σ_j dense[i][j] θ^(j+1);
    without, there is only the cubic Hermite interpolant of both ends and their slopes.
    """

    order: int
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...]
    error_order: int
    filtered: bool = False
    dense: tuple[tuple[float, ...], ...] = ()
    dense_order: int = 0

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.b)

    @property
    def extension(self) -> tuple[tuple[float, ...], ...]:
        """`dense`, or the same for the cubic Hermite interpolant, which needs an explicit first stage."""
        if self.dense:
            return self.dense
        rows = [[0.0, 3 * weight, -2 * weight] for weight in self.b]
        for stage, slope in ((0, (1.0, -2.0, 1.0)), (-1, (0.0, -1.0, 1.0))):
            rows[stage] = [x + y for x, y in zip(rows[stage], slope, strict=True)]
        return tuple(tuple(row) for row in rows)


SDIRK2 = Diagonal(
    2,
    (1 - sqrt(1 / 2), 1.0),
    ((1 - sqrt(1 / 2),), (sqrt(1 / 2), 1 - sqrt(1 / 2))),
    (sqrt(1 / 2), 1 - sqrt(1 / 2)),
    error=(3 * sqrt(1 / 2) - 2, 2 - 3 * sqrt(1 / 2)),
    error_order=1,
    dense=((sqrt(2), -sqrt(1 / 2)), (1 - sqrt(2), sqrt(1 / 2))),
    dense_order=2,
)
"""Alexander, SIAM J. Numer. Anal. 14 (1977) 1006–1021. b̂ = (2 − √2, √2 − 1) is of order 1 and A-stable; the dense
output is the one of order 2 that its two stages allow."""
TR_BDF2 = Diagonal(
    2,
    (0.0, 2 - sqrt(2), 1.0),
    ((0.0,), (1 - sqrt(1 / 2), 1 - sqrt(1 / 2)), (sqrt(1 / 8), sqrt(1 / 8), 1 - sqrt(1 / 2))),
    (sqrt(1 / 8), sqrt(1 / 8), 1 - sqrt(1 / 2)),
    error=((sqrt(2) - 1) / 3, -1 / 3, (2 - sqrt(2)) / 3),
    error_order=3,
    filtered=True,
)
"""Bank et al., IEEE Trans. Electron Devices 32 (1985) 1992–2007, with the estimate of order 3 of Hosea & Shampine,
Appl. Numer. Math. 20 (1996) 21–37, who filter it."""
KENCARP4 = Diagonal(
    4,
    (0.0, 1 / 2, 83 / 250, 31 / 50, 17 / 20, 1.0),
    (
        (0.0,),
        (1 / 4, 1 / 4),
        (8611 / 62500, -1743 / 31250, 1 / 4),
        (5012029 / 34652500, -654441 / 2922500, 174375 / 388108, 1 / 4),
        (15267082809 / 155376265600, -71443401 / 120774400, 730878875 / 902184768, 2285395 / 8070912, 1 / 4),
        (82889 / 524892, 0.0, 15625 / 83664, 69875 / 102672, -2260 / 8211, 1 / 4),
    ),
    (82889 / 524892, 0.0, 15625 / 83664, 69875 / 102672, -2260 / 8211, 1 / 4),
    error=(31666707 / 9881966720, 0.0, -256875 / 105007616, -2768025 / 128864768, 169839 / 3864644, -5247 / 225920),
    error_order=3,
    dense=(
        (6943876665148 / 7220017795957, -54480133 / 30881146, 6818779379841 / 7100303317025),
        (0.0, 0.0, 0.0),
        (7640104374378 / 9702883013639, -11436875 / 14766696, 2173542590792 / 12501825683035),
        (-20649996744609 / 7521556579894, 174696575 / 18121608, -31592104683404 / 5083833661969),
        (8854892464581 / 2390941311638, -12120380 / 966161, 61146701046299 / 7138195549469),
        (-11397109935349 / 6675773540249, 3843 / 706, -17219254887155 / 4939391667607),
    ),
    dense_order=3,
)
"""Implicit part of ARK4(3)6L[2]SA, with its dense output: Kennedy & Carpenter, Appl. Numer. Math. 44 (2003) 139–181."""
ESDIRK54 = Diagonal(
    5,
    (0.0, 46 / 125, 7121331996143 / 11335814405378, 49 / 353, 3706679970760 / 5295570149437, 347 / 382, 1.0),
    (
        (0.0,),
        (23 / 125, 23 / 125),
        (791020047304 / 3561426431547, 791020047304 / 3561426431547, 23 / 125),
        (
            -158159076358 / 11257294102345, -158159076358 / 11257294102345, -85517644447 / 5003708988389, 23 / 125,
        ),
        (
            -1653327111580 / 4048416487981, -1653327111580 / 4048416487981, 1514767744496 / 9099671765375,
            14283835447591 / 12247432691556, 23 / 125,
        ),
        (
            -4540011970825 / 8418487046959, -4540011970825 / 8418487046959, -1790937573418 / 7393406387169,
            10819093665085 / 7266595846747, 4109463131231 / 7386972500302, 23 / 125,
        ),
        (
            -188593204321 / 4778616380481, -188593204321 / 4778616380481, 2809310203510 / 10304234040467,
            1021729336898 / 2364210264653, 870612361811 / 2470410392208, -1307970675534 / 8059683598661, 23 / 125,
        ),
    ),
    (
        -188593204321 / 4778616380481, -188593204321 / 4778616380481, 2809310203510 / 10304234040467,
        1021729336898 / 2364210264653, 870612361811 / 2470410392208, -1307970675534 / 8059683598661, 23 / 125,
    ),
    error=(
        -188593204321 / 4778616380481 + 582099335757 / 7214068459310,
        -188593204321 / 4778616380481 + 582099335757 / 7214068459310,
        2809310203510 / 10304234040467 - 615023338567 / 3362626566945,
        1021729336898 / 2364210264653 - 3192122436311 / 6174152374399,
        870612361811 / 2470410392208 - 6156034052041 / 14430468657929,
        -1307970675534 / 8059683598661 + 1011318518279 / 9693750372484,
        23 / 125 - 1914490192573 / 13754262428401,
    ),
    error_order=4,
    dense=(
        (1.0, -3.07029075205247471, 2.98271722766598838, -0.951892544723253929),
        (0.0, 4.27747114637305705, -8.71280656918507514, 4.39586935370227783),
        (0.0, -2.12274830351796949, 5.3360425680369097, -2.94065777426869753),
        (0.0, 0.970743662661383408, -0.212826635241613962, -0.325751854899481232),
        (0.0, -0.772218992293793874, 2.95410232951914429, -1.82946725099246128),
        (0.0, 0.565768724357634977, -1.780679891851028, 1.05262555670945351),
        (0.0, 0.151274514472162636, -0.566549028944325271, 0.599274514472162636),
    ),
    dense_order=4,
)  # fmt: skip
"""ESDIRK5(4)7L[2]SA2: Kennedy & Carpenter, Appl. Numer. Math. 146 (2019) 221–244.

The dense output follows from the order conditions: of degree 4, its slopes at both ends those of the method, so that
it joins smoothly, and of the two numbers then left those with the least errors of order 5 over the step."""
