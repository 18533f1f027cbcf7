"""Tables of backward differences in plain loops: one order of operations, interpreted and compiled."""

from __future__ import annotations

from typing import Any


def rescaled(old: Any, new: Any, order: Any, ratio: Any, weights: Any) -> None:
    """`new` ← the differences for steps that are `ratio` times as large, of the polynomial that `old` describes.

    Row j holds ∇ʲ⁺¹; `order` rows change, one more is copied. `weights` is room for a square of `order` numbers
    (Shampine & Reichelt, SIAM J. Sci. Comput. 18 (1997) 1–22, section 2.2).
    """
    n = old.shape[1]
    for j in range(order + 1):
        for i in range(n):
            new[j, i] = old[j, i]
    if ratio == 1.0:
        return
    for k in range(order):  # the difference k of the polynomial's value at −(m + 1) new steps
        for m in range(order):
            product = 1.0
            for i in range(k + 1):
                product *= (i - ratio * (m + 1)) / (i + 1)
            weights[k, m] = product
    for j in range(order):
        for i in range(n):
            new[j, i] = 0.0
        for k in range(j, order):
            binomial = 1.0
            weight = 0.0
            for m in range(j + 1):
                binomial *= -(j + 1.0 - m) / (m + 1)
                weight += binomial * weights[k, m]
            for i in range(n):
                new[j, i] += weight * old[k, i]
