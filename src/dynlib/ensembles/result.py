"""What came of an ensemble: arrays by name, of its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from dynlib.errors import UnknownNameError
from dynlib.markup import panel, table
from dynlib.results.preview import PREVIEWS, sparkline
from dynlib.results.view import optional
from dynlib.runtime.state import Array
from dynlib.status import Status

if TYPE_CHECKING:
    import pandas
    import xarray


class Statistics(Struct, frozen=True, eq=False):
    """Of each state over the completed steps, weighted by their lengths: arrays by name, of the ensemble's shape.

    >>> import dynlib
    >>> found = dynlib.ensemble("builtin://map/logistic", params={"r": [2.0, 4.0]}, N=500, statistics=True, jit=False)
    >>> found.statistics.greatest["x"].shape
    (2,)
    """

    mean: dict[str, Array]
    variance: dict[str, Array]
    least: dict[str, Array]
    greatest: dict[str, Array]

    def __repr__(self) -> str:
        return f"<mean, variance, least and greatest of {', '.join(self.mean)}>"


class EnsembleResult(Struct, frozen=True, eq=False):
    """What came of the members of an ensemble; every array has the shape of the ensemble, `shape`.

    `result["x"]` is the state x of each member where it ended, `t` when, `steps` after how many steps, and `status`
    how (see `Status`; `ok` is True where the horizon or a stop condition was reached). A member that failed stands at
    its last good step. `params` and `ic` are the values that were given, `counts` how often each event happened.
    `samples` has what was recorded, with one more axis in front for `sample_t`. `lanes` says whether the members ran
    side by side in vector instructions; if not, `reason` says why.

    >>> import dynlib
    >>> found = dynlib.ensemble("builtin://map/henon", ic={"x": [0.1, 0.2]}, N=10, jit=False)
    >>> found, found["y"].shape, found.ok.tolist()
    (<ensemble of 2 members (2,), run in lanes: 2 reached the end>, (2,), [True, True])
    """

    shape: tuple[int, ...]
    final: dict[str, Array]
    t: Array
    steps: Array
    status: Array
    counts: dict[str, Array]
    params: dict[str, Array]
    ic: dict[str, Array]
    statistics: Statistics | None
    histograms: dict[str, Array]
    edges: dict[str, Array]
    samples: dict[str, Array]
    sample_t: Array
    lanes: bool
    reason: str | None

    @property
    def ok(self) -> Array:
        """Which members reached the horizon or their stop condition."""
        return np.asarray((self.status == Status.DONE) | (self.status == Status.STOPPED))

    def __getitem__(self, name: str) -> Array:
        if not isinstance(name, str) or name not in self.final:
            raise UnknownNameError("state", name, self.final)
        return self.final[name]

    def __repr__(self) -> str:
        done = int(self.ok.sum())
        how = "in lanes" if self.lanes else "one by one"
        return f"<ensemble of {self.t.size} members {self.shape}, run {how}: {done} reached the end>"

    def _columns(self) -> dict[str, Array]:
        """One array for each thing that every member has, by name."""
        found = {**self.final, "t": self.t, "steps": self.steps, "status": self.status}
        found |= {f"counts_{name}": values for name, values in self.counts.items()}
        if self.statistics is not None:
            kinds = {"mean": self.statistics.mean, "variance": self.statistics.variance,
                     "least": self.statistics.least, "greatest": self.statistics.greatest}  # fmt: skip
            found |= {f"{kind}_{name}": v for kind, table in kinds.items() for name, v in table.items()}
        return found

    def _given(self) -> dict[str, Array]:
        """The values that were given; of a state, whose name is that of its end, as `ic_NAME`."""
        return {**self.params, **{f"ic_{name}": values for name, values in self.ic.items()}}

    def to_pandas(self) -> pandas.DataFrame:
        """A table with a row for each member, in the order of `ravel`. Needs pandas.

        Columns: the given parameters, and initial states as `ic_NAME`; states at the end, `t`, `steps`, `status`,
        `counts_EVENT`; and `mean_NAME`, `variance_NAME`, `least_NAME`, `greatest_NAME` where there are statistics.

        >>> import dynlib
        >>> found = dynlib.ensemble("builtin://map/logistic", params={"r": [2.0, 3.2]}, N=10, jit=False)
        >>> found.to_pandas().columns.tolist()
        ['r', 'x', 't', 'steps', 'status']
        """
        pd = optional("pandas", "pandas")
        table = {**self._given(), **self._columns()}
        return pd.DataFrame({name: np.broadcast_to(v, self.shape).ravel() for name, v in table.items()})

    def to_xarray(self) -> xarray.Dataset:
        """A data set over the axes of the ensemble. Needs xarray.

        An axis along which exactly one given quantity varies, and that alone, has its name and its values as
        coordinate; others are called `axis_0`, `axis_1`, …, and given quantities lie along them. Variables are named as
        in `to_pandas`; samples are `samples_NAME` over `sample_t`, histograms `histograms_NAME` over `bin_NAME`, the
        middles of the bins.

        >>> import dynlib, numpy as np
        >>> found = dynlib.ensemble("builtin://map/henon", N=10, jit=False,
        ...                         params={"a": np.linspace(1.0, 1.4, 3)[:, None], "b": [0.1, 0.3]})
        >>> dict(found.to_xarray()["x"].sizes)
        {'a': 3, 'b': 2}
        """
        xr = optional("xarray", "xarray")
        rank = len(self.shape)
        given = self._given()
        sizes = {name: (1,) * (rank - v.ndim) + v.shape for name, v in given.items()}
        along = [[name for name, size in sizes.items() if size[k] > 1] for k in range(rank)]
        own = {
            names[0]: k for k, names in enumerate(along) if len(names) == 1 and sum(names[0] in o for o in along) == 1
        }
        dims = [next((name for name, at in own.items() if at == k), f"axis_{k}") for k in range(rank)]
        coords: dict[str, Any] = {name: (name, given[name].ravel()) for name in own}
        for name, values in given.items():
            if name not in own:
                kept = [k for k in range(rank) if sizes[name][k] > 1]
                coords[name] = ([dims[k] for k in kept], values.reshape([sizes[name][k] for k in kept]))
        variables: dict[str, Any] = {name: (dims, values) for name, values in self._columns().items()}
        if self.samples:
            coords["sample_t"] = ("sample_t", self.sample_t)
        for name, values in self.samples.items():
            variables[f"samples_{name}"] = (["sample_t", *dims], values)
        for name, values in self.histograms.items():
            coords[f"bin_{name}"] = (f"bin_{name}", 0.5 * (self.edges[name][1:] + self.edges[name][:-1]))
            variables[f"histograms_{name}"] = ([f"bin_{name}", *dims], values)
        return xr.Dataset(variables, coords)

    def _repr_html_(self) -> str:
        facts = [
            ("shape", " × ".join(map(str, self.shape)) or "one member"),
            ("reached the end", f"{int(self.ok.sum())} of {self.t.size}"),
            ("run", "in lanes" if self.lanes else f"one by one: {self.reason}"),
            ("t at the end", _range(self.t)),
        ]
        facts += [(f"given {name}", _range(values)) for name, values in (*self.params.items(), *self.ic.items())]
        facts += [(f"event {name}", f"{int(times.sum())} times in all") for name, times in self.counts.items()]
        members = np.arange(self.t.size)
        line = len(self.shape) == 1
        states = [
            (name, *((sparkline(members, values),) if line else ()), _range(values))
            for name, values in ((name, self.final[name]) for name in list(self.final)[:PREVIEWS])
        ]
        head = ("state at the end", *(("over the members",) if line else ()), "range")
        return panel(f"ensemble of {self.t.size} members", table(facts), table(states, head))


def _range(values: Array) -> str:
    """The least and greatest of some numbers."""
    finite = values[np.isfinite(values)]
    ends = dict.fromkeys((f"{finite.min():.4g}", f"{finite.max():.4g}")) if finite.size else ("—",)
    return " … ".join(ends)


class EnsembleInterrupt(KeyboardInterrupt):
    """Ctrl-C ended an ensemble; `result` has what came of it until then.

    Members that were not at their end stand at their last completed step with the status INTERRUPTED.

    >>> import dynlib
    >>> try:
    ...     found = dynlib.ensemble("builtin://ode/lorenz", ic={"x": [1.0, 2.0]}, T=10.0)
    ... except dynlib.EnsembleInterrupt as stopped:
    ...     found = stopped.result
    >>> found.status.size
    2
    """

    def __init__(self, result: EnsembleResult) -> None:
        done, members = int((result.status != Status.INTERRUPTED).sum()), result.status.size
        super().__init__(f"stopped with {done} of {members} members at their end; the result is kept in this exception")
        self.result = result
