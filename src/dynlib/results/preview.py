"""Small pictures of recorded quantities."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dynlib.markup import Markup, curve
from dynlib.results.results import Array

PREVIEWS = 8
"""Columns of which a notebook shows a curve."""
_STRETCHES = 220


def sparkline(t: Array, values: Array) -> Markup:
    """A curve as a small picture. Of many samples the extremes of each stretch are drawn, so that no spike is lost."""
    finite = np.isfinite(values) & np.isfinite(t)
    t, values = t[finite], values[finite]
    if len(values) < 2:
        return Markup("")
    if len(values) > 4 * _STRETCHES:
        edges = np.linspace(0, len(values), _STRETCHES + 1).astype(int).tolist()
        chosen = [a + k for a, b in pairwise(edges) for k in _extremes(values[a:b])]
        t, values = t[chosen], values[chosen]
    return curve(t.astype(np.float64).tolist(), values.astype(np.float64).tolist())


def _extremes(part: Array) -> list[int]:
    return sorted({int(part.argmin()), int(part.argmax())})
