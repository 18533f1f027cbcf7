"""Methods for stochastic differential equations in the sense of Itô."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stochastic:
    """A scheme with its strong and weak order; `general` says whether states may share Wiener processes."""

    name: str
    strong_order: float
    weak_order: float
    general: bool = False


EULER_MARUYAMA = Stochastic("euler_maruyama", 0.5, 1.0, general=True)
MILSTEIN = Stochastic("milstein", 1.0, 1.0)
SRI = Stochastic("sri", 1.5, 1.5)
