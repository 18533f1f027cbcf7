"""Snapshots in memory: a name for a state. States are immutable, so keeping one costs a reference."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dynlib.runtime.state import SessionState


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A named moment of a session: the whole state with workspace, time shift, nominal dt and stepper options."""

    name: str
    state: SessionState
    description: str = ""
    seconds: float = field(default_factory=time.time)

    @property
    def t(self) -> float:
        """Simulation time."""
        return self.state.t

    @property
    def created(self) -> str:
        """Time of creation, ISO 8601, UTC."""
        return datetime.fromtimestamp(self.seconds, UTC).isoformat(timespec="milliseconds")

    def summary(self) -> dict[str, object]:
        """What a list of snapshots shows."""
        return {
            "name": self.name,
            "t": self.state.t,
            "step": self.state.step,
            "created": self.created,
            "description": self.description,
        }
