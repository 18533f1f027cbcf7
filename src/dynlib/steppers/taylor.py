"""Taylor series methods: which order a tolerance asks for."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log

MIN_ORDER, MAX_ORDER = 2, 40


def order_for(options: Mapping[str, float]) -> int:
    """The order that is given, else the one for `rtol` (Jorba & Zou, Experimental Mathematics 14 (2005), eq. 3–9)."""
    if options["order"] > 0.0:
        return int(options["order"])
    wanted = 1 - log(min(options["rtol"], 0.1)) / 2
    return max(MIN_ORDER + 1, min(ceil(wanted), MAX_ORDER))
