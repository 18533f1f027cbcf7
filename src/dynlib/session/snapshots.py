"""Snapshots in memory: a name for a state. States are immutable, so keeping one costs a reference."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cached_property

from msgspec import Struct, field

from dynlib.arguments import unchanging
from dynlib.markup import panel, table
from dynlib.runtime.state import SessionState
from dynlib.session.lineage import Trail, digest_of, moment_id
from dynlib.spec.model import Model
from dynlib.spec.observer import BoundObserver


@unchanging("a snapshot does not change: sim.reset(…) goes back to it, then sim.assign({name}={value}) sets a value")
class Snapshot(Struct, frozen=True, eq=False, dict=True):
    """A named moment of a session: the whole state with workspace, time shift, nominal dt and stepper options.

    `trail` is what led to it since its parent; `model` is the model whose state it is.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=1.0)
    >>> snapshot = sim.create_snapshot("one")
    >>> snapshot.name, snapshot.t, snapshot.step
    ('one', 1.0, 100)
    """

    name: str
    state: SessionState
    model: Model
    trail: Trail
    description: str = ""
    observers: tuple[BoundObserver, ...] = ()
    seconds: float = field(default_factory=time.time)
    known_id: list[str] = field(default_factory=list)

    @property
    def t(self) -> float:
        """Simulation time."""
        return self.state.t

    @property
    def step(self) -> int:
        """Number of completed steps."""
        return self.state.step

    @property
    def created(self) -> str:
        """Time of creation, ISO 8601, UTC."""
        return datetime.fromtimestamp(self.seconds, UTC).isoformat(timespec="milliseconds")

    @cached_property
    def state_digest(self) -> str:
        """Digest over every bit of the state."""
        return digest_of(self.state)

    @property
    def id(self) -> str:
        """Digest over state and lineage: the address of its content, whatever its name."""
        return moment_id(self)

    def summary(self) -> dict[str, object]:
        """What a list of snapshots shows."""
        return {
            "name": self.name,
            "t": self.state.t,
            "step": self.state.step,
            "created": self.created,
            "description": self.description,
        }

    def __repr__(self) -> str:
        return f"<snapshot {self.name!r} of {self.model.name!r}: t = {self.t:g}, step {self.step}>"

    def _repr_html_(self) -> str:
        rows = [
            (label, f"{value:g}" if isinstance(value, float) else str(value))
            for label, value in (*self.summary().items(), ("model", self.model.name), ("id", self.id[:16]))
        ]
        return panel(f"snapshot {self.name}", table(rows[1:]))
