"""`SessionState`: everything a run continues from, in three flat arrays that are never changed in place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from dynlib.arguments import unchanging
from dynlib.compared import Compared
from dynlib.compile.layout import Layout
from dynlib.spec.model import Model, spans
from dynlib.status import Status

Array = npt.NDArray[Any]


class SessionPins(Compared, frozen=True, eq=False):
    """What a state belongs to. `library_version` is recorded and shown; all others must fit.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> sim.state.pins.stepper, sim.state.pins.dtype, sim.state.pins.math
    ('rk4', 'float64', 'strict')
    """

    apart: ClassVar[frozenset[str]] = frozenset({"library_version"})

    structure: str
    stepper: str
    workspace: str
    dtype: str
    math: str
    numerics_revision: int
    library_version: str


@unchanging("a value of the model is set in a session: sim.assign({name}={value})")
class SessionState(Struct, frozen=True, eq=False):
    """A moment of a simulation: `times` (float64), `reals` (the model's dtype), `counts` (int64), by `layout`.

    `y` and `t` are the reported state and time. Where the last horizon fell inside a step, the step itself is
    pending: `base` and `t_base` hold the last completed one, from which the step is taken again.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=0.015)
    >>> state = sim.state
    >>> state.t, state.step, state.pending, state["y"].shape
    (0.015, 1, True, (2,))
    """

    layout: Layout
    pins: SessionPins
    times: Array
    reals: Array
    counts: Array
    config: tuple[float, ...]
    status: Status = Status.RUNNING
    state_slots: Mapping[str, int] = field(default_factory=dict)
    """Where each state begins in the state vector."""
    model_name: str = ""

    def __post_init__(self) -> None:
        for block in (self.times, self.reals, self.counts):
            block.flags.writeable = False

    def __repr__(self) -> str:
        inside = ", inside a step" if self.pending else ""
        return f"<state of {self.model_name!r}: t = {self.t:g}, step {self.step}{inside}, {self.status.name}>"

    def __getitem__(self, name: str) -> Array:
        spot = self.layout[name]
        block: Array = getattr(self, spot.block)
        return block[spot.span]

    @property
    def t(self) -> float:
        """The reported time."""
        return self._number("t")

    @property
    def step(self) -> int:
        """Number of completed steps."""
        return self._whole("n")

    @property
    def time_shift(self) -> float:
        """The time at which the present grid of steps begins."""
        return self._number("time_shift")

    @property
    def nominal_dt(self) -> float:
        """The nominal step size; 0 if an adaptive stepper chooses its first step."""
        return self._number("dt")

    @property
    def record_interval(self) -> int:
        """Every how many steps a sample is taken; 0 if samples stand on a grid of times, or nowhere."""
        return self._whole("record_interval")

    @property
    def record_dt(self) -> float:
        """The spacing of the grid of times at which samples are taken; 0 if there is none."""
        return self._number("record_dt")

    @property
    def pending(self) -> bool:
        """Whether the reported state lies inside a step that is still to be completed."""
        return self._whole("pending") != 0

    def _number(self, name: str) -> float:
        return float(self.times[self.layout[name].start])

    def _whole(self, name: str) -> int:
        return int(self.counts[self.layout[name].start])

    def blocks(self) -> dict[str, Array]:
        """Copies of the three arrays, to be changed."""
        return {"times": self.times.copy(), "reals": self.reals.copy(), "counts": self.counts.copy()}

    def same_bits(self, other: SessionState) -> bool:
        """Whether two states agree in every bit."""
        return (
            self.layout.signature == other.layout.signature
            and self.reals.dtype == other.reals.dtype
            and all(getattr(self, b).tobytes() == getattr(other, b).tobytes() for b in ("times", "reals", "counts"))
            and np.array(self.config).tobytes() == np.array(other.config).tobytes()
        )

    def _with(self, blocks: Mapping[str, Array]) -> SessionState:
        return self.moved(blocks["times"], blocks["reals"], blocks["counts"], self.status)

    def moved(self, times: Array, reals: Array, counts: Array, status: Status) -> SessionState:
        """Another moment of the same simulation."""
        return SessionState(
            self.layout, self.pins, times, reals, counts, self.config, status, self.state_slots, self.model_name
        )

    def edited(self, fields: Mapping[str, float | Array]) -> SessionState:
        """A copy with some fields replaced as they stand; no other field follows."""
        blocks: dict[str, Array] = {"times": self.times, "reals": self.reals, "counts": self.counts}
        for name, value in fields.items():
            spot = self.layout[name]
            block = blocks[spot.block]
            if not block.flags.writeable:
                block = blocks[spot.block] = block.copy()
            block[spot.span] = value
        return self._with(blocks)

    def recorded(self, interval: int, dt: float) -> SessionState:
        """A copy whose recorder begins here: every `interval` steps, or (interval 0) on a grid of spacing `dt`."""
        return self.edited({"record_interval": interval, "record_n0": self.step, "record_dt": dt, "record_t0": self.t})

    def restarted(
        self,
        *,
        y: Array | None = None,
        params: Array | None = None,
        t: float | None = None,
        dt: float | None = None,
        new_past: bool = False,
    ) -> SessionState:
        """The trajectory begins anew at the reported state: no pending step, no stepper history, a new grid of steps.

        The step counter goes on. Lag buffers keep the past and take the new state as their latest value, unless
        `new_past` says that the state was always `y`.
        """
        blocks = self.blocks()

        def put(name: str, value: float | Array) -> None:
            if name in self.layout:
                spot = self.layout[name]
                blocks[spot.block][spot.span] = value

        for spot in self.layout.fields:
            if spot.on_edit == "restart":
                put(spot.name, spot.fresh)
        state = self["y"] if y is None else y
        now = self.t if t is None else t
        step = self.nominal_dt if dt is None else dt
        put("y", state)
        put("base", state)
        if params is not None:
            put("params", params)
        put("t", now)
        put("t_base", now)
        put("time_shift", now)
        put("dt", step)
        put("n_anchor", self.step)
        put("h", step)
        for spot in self.layout.fields:
            if spot.name.startswith("lag_"):
                value = blocks["reals"][self.layout["base"].start + self.state_slots[spot.name.removeprefix("lag_")]]
                blocks["reals"][spot.span if new_past else spot.start + self.step % spot.size] = value
        return self.moved(blocks["times"], blocks["reals"], blocks["counts"], Status.RUNNING)


def initial_state(
    model: Model, layout: Layout, pins: SessionPins, config: tuple[float, ...], dt: float
) -> SessionState:
    """The state in which a session begins: the model's own initial values, parameters and time."""
    dtype = np.dtype(model.dtype)
    empty = SessionState(
        layout,
        pins,
        np.zeros(layout.size("times")),
        np.zeros(layout.size("reals"), dtype),
        np.zeros(layout.size("counts"), np.int64),
        config,
        state_slots={q.name: span.start for q, span in spans(model.states)},
        model_name=model.name,
    )
    y = np.array([v for q in model.states for v in q.values], dtype)
    params = np.array([v for q in model.params for v in q.values], dtype)
    return empty.restarted(y=y, params=params, t=model.sim.t0, dt=dt, new_past=True)


def next_grid_index(t0: float, dt: float, now: float, tolerance: float) -> int:
    """The first point of the recording grid `t0 + k*dt` that lies more than `tolerance` after `now`."""
    k = max(0, math.floor((now - t0) / dt) - 2)
    while t0 + k * dt <= now + tolerance:
        k += 1
    return k
