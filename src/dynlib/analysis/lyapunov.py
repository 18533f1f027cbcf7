"""Lyapunov exponents: how fast neighbouring trajectories part."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct

from dynlib.arguments import checked
from dynlib.errors import ConfigError, ModelError
from dynlib.markup import math, panel, table
from dynlib.results.preview import sparkline
from dynlib.runtime.progress import Progress
from dynlib.runtime.state import Array
from dynlib.session.full_model import build_for
from dynlib.session.sim import Sim
from dynlib.session.values import Given, by_name, merged, whole
from dynlib.spec.locations import ModelLike, load_model
from dynlib.spec.tangent import with_lyapunov
from dynlib.status import Status


class LyapunovExponents(Struct, frozen=True, eq=False):
    """The largest Lyapunov exponents of a trajectory, per unit of time (ODEs) or per iteration (maps), base e.

    `values` has shape (k,), the largest first. `t` (m,) and `estimates` (m, k) show how they settled: what they would
    be had the run ended at that time. `status` says how the run ended; if it failed, the values are those of the
    stretch before. `error` is a guess of the statistical error: the spread of the last half of the estimates.

    >>> import dynlib
    >>> found = dynlib.lyapunov_exponents("builtin://map/henon", N=2000, exponents=2)
    >>> round(float(found.values.sum()), 3)  # log(0.3)
    -1.204
    >>> round(found.kaplan_yorke_dimension, 1)
    1.3
    >>> bool(found.error[0] < 0.1), found.estimates.shape
    (True, (200, 2))
    """

    values: Array
    t: Array
    estimates: Array
    status: Status

    @property
    def error(self) -> Array:
        """How far the estimates of the last half of the run lie apart, shape (k,)."""
        late = self.estimates[len(self.t) // 2 :]
        return np.asarray(late.max(axis=0) - late.min(axis=0))

    @property
    def kaplan_yorke_dimension(self) -> float:
        """The dimension `j + (λ₁ + … + λⱼ)/|λⱼ₊₁|` with the largest j whose sum is not negative (Kaplan & Yorke 1979).

        NaN where it takes more exponents than were computed; 0 for a trajectory with only negative ones.
        """
        sums = np.cumsum(self.values)
        below = np.flatnonzero(sums < 0.0)
        if not len(below):
            return float("nan")
        j = int(below[0])
        return 0.0 if j == 0 else j + float(sums[j - 1] / abs(self.values[j]))

    def __repr__(self) -> str:
        values = ", ".join(f"{value:.4g} ± {error:.1g}" for value, error in zip(self.values, self._errors, strict=True))
        return f"<Lyapunov exponents {values}: {self.status.name}>"

    @property
    def _errors(self) -> Array:
        """The errors, NaN where there are no estimates."""
        return self.error if len(self.t) else np.full(len(self.values), np.nan)

    def _repr_html_(self) -> str:
        settled = [sparkline(self.t, self.estimates[:, j]) for j in range(len(self.values))]
        rows = [
            (math(rf"\lambda_{{{j + 1}}}"), f"{value:.6g}", f"{error:.2g}", curve)
            for j, (value, error, curve) in enumerate(zip(self.values, self._errors, settled, strict=True))
        ]
        dimension = f"{self.kaplan_yorke_dimension:.4g}"
        return panel(
            "Lyapunov exponents",
            table(rows, ("exponent", "value", "error", "estimates over t")),
            table([("Kaplan–Yorke dimension", dimension), ("status", self.status.name)]),
        )


@checked
def lyapunov_exponents(
    model: ModelLike,
    T: float | None = None,
    *,
    N: int | None = None,
    exponents: int = 1,
    transient: float = 0.0,
    ic: Given | None = None,
    params: Given | None = None,
    stepper: str | None = None,
    dt: float | None = None,
    samples: int = 200,
    jit: bool = True,
    progress: bool | Progress = False,
    **options: Any,
) -> LyapunovExponents:
    """The `exponents` largest Lyapunov exponents along the trajectory to the absolute time `T`, or over `N` steps.

    The trajectory is that of `Sim.run` for the model of `with_lyapunov`, whose equations are carried by the same
    stepper with the same control of the error; what happens before the end of the `transient` does not count, save that
    the tangent vectors turn to their directions meanwhile. `samples` is the number of estimates on the way.

    >>> import dynlib
    >>> found = dynlib.lyapunov_exponents("builtin://map/logistic", N=2000, params={"r": 4.0}, transient=100, jit=False)
    >>> bool(abs(found.values[0] - 0.6931) < 0.02)
    True

    Raises `ModelError` and `ConfigError` as `with_lyapunov`, `build` and `Sim.run` do.
    """
    samples = whole("samples", samples)
    if (T is None) == (N is None):
        raise ConfigError("give T (absolute end time) or N (number of steps), one of them")
    base = load_model(model)
    if base.kind == "sde":
        raise ModelError(f"model {base.name!r} is stochastic; Lyapunov exponents are computed for ODEs and maps")
    extended = with_lyapunov(base, exponents)
    sim = Sim(build_for("lyapunov_exponents()", extended, stepper=stepper, dt=dt, jit=jit, **options))
    names = [f"growth{j + 1}" for j in range(exponents)]
    if ic is not None:
        ic = by_name(
            base.states, merged(base.states, np.array([v for q in base.states for v in q.values]), ic, "state")
        )
    spacing = 0.0 if T is None else (T - base.sim.t0 - transient) / samples
    ended = sim.run(
        T, N=N, ic=ic, params=params, transient=transient, record_vars=names, progress=progress,
        record_interval=None if N is None else max(1, N // samples), record_dt=spacing if spacing > 0.0 else None,
    )  # fmt: skip
    found = sim.results()
    growth = np.column_stack([found[name] for name in names])
    span = found.t - found.t[0]
    later = span > 0.0
    estimates = (growth[later] - growth[0]) / span[later, None]
    values = estimates[-1] if len(estimates) else np.full(exponents, np.nan)
    return LyapunovExponents(values, found.t[later], estimates, ended.status)
