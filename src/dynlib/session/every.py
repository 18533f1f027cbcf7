"""How often a run writes a checkpoint: by wall time, by steps, or by simulated time."""

from __future__ import annotations

import math
import re
import time

from msgspec import Struct, field

from dynlib.errors import ConfigError
from dynlib.runtime.state import SessionState

DEFAULT_CHECKPOINT = "5min"
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TEXT = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(s|min|h|d|steps|t)\s*\Z")


class Every(Struct):
    """`amount` of `unit` between two checkpoints: "seconds" of wall time, "steps", or "t" (simulated time).

    Asked at the pauses of the driver, about a tenth of a second of work apart.
    """

    amount: float
    unit: str
    _wall: float = field(default_factory=time.monotonic)
    _step: int = 0
    _t: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Every:
        """From "30s", "5min", "2h", "1d", "100000 steps" or "50 t". Raises `ConfigError`."""
        match = _TEXT.match(text) if isinstance(text, str) else None
        try:
            amount = float(match[1]) if match else math.nan
        except ValueError:
            amount = math.nan
        if match is None or not 0.0 < amount < math.inf:
            raise ConfigError(
                f"checkpoint must be wall time ('30s', '5min', '2h', '1d'), steps ('100000 steps') or simulated time "
                f"('50 t'), not {text!r}"
            )
        unit = match[2]
        return cls(amount * _SECONDS[unit], "seconds") if unit in _SECONDS else cls(amount, unit)

    def due(self, state: SessionState) -> bool:
        """Whether it is time again."""
        if self.unit == "seconds":
            return time.monotonic() - self._wall >= self.amount
        if self.unit == "steps":
            return state.step - self._step >= self.amount
        return abs(state.t - self._t) >= self.amount

    def done(self, state: SessionState) -> None:
        """A checkpoint was written of this state."""
        self._wall, self._step, self._t = time.monotonic(), state.step, state.t
