"""Explicit Runge–Kutta methods as Butcher tableaus."""

from __future__ import annotations

from msgspec import Struct


class Tableau(Struct, frozen=True):
    """Rows of `a` below the diagonal, nodes `c`, weights `b`.

    Stages are numbered 1..s. The slope at the end of the step, f(t + h, new), is stage s itself if `first_same_as_last`
    (it is then the first of the next step), else stage s + 1; the stages in `more`, each a node and a row of `a`, come
    after it. Rows of `more` and `dense` are weights over all stages so numbered; a short row ends in zeros.

    `error` holds b − b̂ for an embedded pair, with b̂ of order `error_order`. `second_error` is that of a second embedded
    formula, which only DOP853 has: there `error` belongs to the one of order 5, `second_error` to the one of order 3.

    With `dense_order` > 0 the method has a continuous extension of that order, in the nested form of Hairer, Nørsett &
    Wanner's codes (I, II.6; CONTD5, CONTD8). With Δ = new − base, r₂ = h k₁ − Δ, r₃ = Δ − h k_end − r₂ and, for j ≥ 4,
    r_j = h Σ_i dense[j − 4][i] k_i, it is
    u(θ) = base + θ(Δ + (1−θ)(r₂ + θ(r₃ + (1−θ)(r₄ + θ(r₅ + (1−θ)(r₆ + …)))))).
    Without rows in `dense` that is the cubic Hermite interpolant.
    """

    order: int
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...] = ()
    error_order: int = 0
    second_error: tuple[float, ...] = ()
    first_same_as_last: bool = False
    more: tuple[tuple[float, tuple[float, ...]], ...] = ()
    dense: tuple[tuple[float, ...], ...] = ()
    dense_order: int = 0

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.b)

    @property
    def end_slope(self) -> int:
        """The number of the slope at the end of a step."""
        return self.stages if self.first_same_as_last else self.stages + 1


EULER = Tableau(1, (0.0,), ((),), (1.0,))
MIDPOINT = Tableau(2, (0.0, 0.5), ((), (0.5,)), (0.0, 1.0))
RK4 = Tableau(
    4,
    (0.0, 0.5, 0.5, 1.0),
    ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
)
BS32 = Tableau(
    3,
    (0.0, 1 / 2, 3 / 4, 1.0),
    ((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    (2 / 9, 1 / 3, 4 / 9, 0.0),
    error=(-5 / 72, 1 / 12, 1 / 9, -1 / 8),
    error_order=2,
    first_same_as_last=True,
    dense_order=3,
)
"""Bogacki & Shampine, Appl. Math. Lett. 2 (1989) 321–325."""
DORMAND_PRINCE = Tableau(
    5,
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    error=(71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
    error_order=4,
    first_same_as_last=True,
    dense=(
        (
            -12715105075 / 11282082432,
            0.0,
            87487479700 / 32700410799,
            -10690763975 / 1880347072,
            701980252875 / 199316789632,
            -1453857185 / 822651844,
            69997945 / 29380423,
        ),
    ),
    dense_order=4,
)
TSIT5 = Tableau(
    5,
    (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0),
    (
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
        (
            0.09646076681806523, 1 / 100, 0.4798896504144996,
            1.379008574103742, -3.290069515436081, 2.324710524099774,
        ),
    ),
    (
        0.09646076681806523, 1 / 100, 0.4798896504144996,
        1.379008574103742, -3.290069515436081, 2.324710524099774, 0.0,
    ),
    error=(
        0.0017800110522257714, 0.0008164344596567469, -0.007880878010261995,
        0.1447110071732629, -0.5823571654525552, 0.45808210592918697, -1 / 66,
    ),
    error_order=4,
    first_same_as_last=True,
    dense=(
        (
            -1.0530884977290216, 0.1017, 2.490627285651253,
            -16.548102889244902, 47.37952196281928, -34.87065786149661, 5 / 2,
        ),
    ),
    dense_order=4,
)  # fmt: skip
"""Tsitouras, Comput. Math. Appl. 62 (2011) 770–775, with his free interpolant."""
