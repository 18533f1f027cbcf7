"""Results by name: what a notebook holds in its hands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from msgspec.structs import asdict, replace

from dynlib.arguments import checked, said, unchanging
from dynlib.errors import ConfigError, DynlibError, UnknownNameError
from dynlib.markup import both_ends, panel, table
from dynlib.results.preview import PREVIEWS, sparkline
from dynlib.results.recorded import InMemory, free_name, quantities_of
from dynlib.results.results import Array, EventLog, Results, Segment
from dynlib.version import VERSION

if TYPE_CHECKING:
    import pandas
    import polars
    import xarray


@unchanging("what was recorded does not change; take a copy of an array, as in results['x'].copy()")
class EventView:
    """The entries of one event, or of all events with a tag: `t`, `step`, and logged values by label."""

    name: str
    columns: tuple[str, ...]
    t: Array
    step: Array
    _values: Array

    def __init__(self, name: str, log: EventLog, which: Array, columns: tuple[str, ...]) -> None:
        vars(self).update(name=name, columns=columns, t=log.t[which], step=log.step[which], _values=log.values[which])

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, label: str) -> Array:
        """Logged values, shape (entries,). Raises `UnknownNameError`."""
        if not isinstance(label, str):
            raise ConfigError(f"a logged value is chosen by its label, such as 't', not {said(label)}")
        if label in self.columns:
            values: Array = self._values[:, self.columns.index(label)]
            return values
        if label in ("t", "step"):
            return self.t if label == "t" else self.step
        raise UnknownNameError(f"logged value of event {self.name!r}", label, (*self.columns, "t", "step"))

    def to_pandas(self) -> pandas.DataFrame:
        """A table of the entries. Needs pandas."""
        pd = optional("pandas", "pandas")
        return pd.DataFrame(
            {"t": self.t, "step": self.step, **{c: self[c] for c in self.columns if c not in ("t", "step")}}
        )

    def __repr__(self) -> str:
        span = f", t = {self.t[0]:g} … {self.t[-1]:g}" if len(self) else ""
        return f"<event {self.name!r}: {len(self)} entries{span}>"

    def _repr_html_(self) -> str:
        labels = [label for label in self.columns if label not in ("t", "step")]
        columns = [self[label] for label in labels]
        rows = [
            (f"… {len(self)} in all …",) if k is None
            else (f"{self.t[k]:.6g}", f"{self.step[k]}", *(f"{column[k]:.6g}" for column in columns))
            for k in both_ends(len(self))
        ]  # fmt: skip
        return panel(f"event {self.name}: {len(self)} entries", table(rows, ("t", "step", *labels)))


@unchanging("what was recorded does not change; take a copy of an array, as in results['x'].copy()")
class ResultsView:
    """Recorded results, selected by name.

    `res["v"]` has shape (samples,), or (samples, N) for an array state; `res[["x", "y"]]` has shape (samples, 2);
    `res.t` and `res.step` give times and step counts. `res.segment("phase-1")` is the same view of one segment,
    `res.event("spike")` the log of an event.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/izhikevich")
    >>> outcome = sim.run(T=100.0, tag="first")
    >>> res = sim.results()
    >>> res["v"].shape, res[["v", "u"]].shape, res.t[-1].item(), res.step[-1].item()
    ((1001,), (1001, 2), 100.0, 1000)
    >>> res.names, res.columns, res.events, [s.name for s in res.segments]
    (('v', 'u'), ('v', 'u'), ('spike',), ['first'])
    >>> len(res.segment("first").event("spike"))
    3
    >>> list(res.to_dict())
    ['t', 'step', 'v', 'u']
    """

    raw: Results
    _at: Callable[[float], dict[str, Any]] | None

    def __init__(self, results: Results, at: Callable[[float], dict[str, Any]] | None = None) -> None:
        vars(self).update(raw=results, _at=at)

    @checked
    def at(self, t: float | Sequence[float] | Array) -> dict[str, Any]:
        """States and aux variables at any time of the run, by name, whatever was recorded.

        They are computed by the session, with the stepper's own continuous extension, to the bit as a recording would
        have shown them: numbers (arrays of shape (N,) for array states) for one time; for several, arrays whose first
        dimension is that of the times. Raises `ConfigError` for a time that the session no longer reaches, and
        `DynlibError` for results that come from a file.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> outcome = sim.run(T=100.0, record=False)
        >>> sim.results().at([10.0, 20.0])["v"].shape
        (2,)
        """
        if self._at is None:
            raise DynlibError("these results come without their session; use the at() of a session that ran there")
        try:
            times = np.asarray(t, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"at() takes a time or several, not {said(t)}") from None
        if times.ndim == 0:
            return self._at(float(times))
        found = [self._at(float(time)) for time in times.ravel()]
        return {name: np.array([moment[name] for moment in found]) for name in found[0]} if found else {}

    @property
    def t(self) -> Array:
        """Times of the samples, shape (samples,)."""
        return self.raw.t

    @property
    def step(self) -> Array:
        """Completed steps at each sample, shape (samples,)."""
        return self.raw.step

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the recorded columns; an array state has one per element."""
        return self.raw.columns

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments in their order."""
        return self.raw.segments

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the recorded quantities; an array state appears once."""
        return tuple(quantities_of(self.columns))

    @cached_property
    def _groups(self) -> dict[str, list[int]]:
        return {column: [k] for k, column in enumerate(self.columns)} | quantities_of(self.columns)

    def __len__(self) -> int:
        return len(self.t)

    def __contains__(self, name: object) -> bool:
        return name in self._groups or name in ("t", "step")

    @overload
    def __getitem__(self, name: str) -> Array: ...
    @overload
    def __getitem__(self, name: list[str]) -> Array: ...
    def __getitem__(self, name: str | list[str]) -> Array:
        if isinstance(name, list):
            if not name:
                raise UnknownNameError("recorded variable", name, (*self.names, "t", "step"))
            return np.column_stack([self[part] for part in name])
        if isinstance(name, str) and name in ("t", "step") and name not in self._groups:
            return self.t if name == "t" else self.step
        if not isinstance(name, str) or name not in self._groups:
            hint = "" if self.columns else "nothing is recorded yet: run() first"
            raise UnknownNameError("recorded variable", name, (*self.names, "t", "step"), hint=hint)
        which = self._groups[name]
        if len(which) == 1 and self.columns[which[0]] == name:
            column: Array = self.raw.data[:, which[0]]
            return column
        block: Array = self.raw.data[:, which]
        return block

    @checked
    def segment(self, which: str | int) -> ResultsView:
        """One segment by name or position. Raises `UnknownNameError`."""
        names = [s.name for s in self.segments]
        if isinstance(which, str):
            if which not in names:
                raise UnknownNameError("segment", which, names)
            chosen = self.segments[names.index(which)]
        else:
            if not -len(names) <= which < len(names):
                raise UnknownNameError("segment", which, names)
            chosen = self.segments[which]
        a, b = chosen.rows
        c, d = chosen.entries
        raw, log = self.raw, self.raw.log
        part = replace(log, t=log.t[c:d], step=log.step[c:d], event=log.event[c:d], values=log.values[c:d])
        moved = replace(chosen, rows=(0, b - a), entries=(0, d - c))
        return ResultsView(
            replace(raw, t=raw.t[a:b], step=raw.step[a:b], at_stop=raw.at_stop[a:b], data=raw.data[a:b],
                    segments=(moved,), log=part)
        )  # fmt: skip

    @property
    def events(self) -> tuple[str, ...]:
        """Names of the events that log."""
        return tuple(n for n, c in zip(self.raw.log.names, self.raw.log.columns, strict=True) if c)

    @checked
    def event(self, name: str | None = None, *, tag: str | None = None) -> EventView:
        """The log of one event by name, or of all events with a tag. Raises `UnknownNameError`.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> outcome = sim.run(T=100.0)
        >>> spikes = sim.results().event("spike")
        >>> len(spikes), bool((spikes["v"] >= 30.0).all())
        (3, True)
        """
        log = self.raw.log
        if tag is not None:
            ids = [k for k, tags in enumerate(log.tags) if tag in tags and log.columns[k]]
            if not ids:
                raise UnknownNameError("event tag", tag, sorted({x for tags in log.tags for x in tags}))
            shared = log.columns[ids[0]] if all(log.columns[k] == log.columns[ids[0]] for k in ids) else ()
            return EventView(f"tag {tag}", log, np.isin(log.event, ids), shared)
        if name not in self.events:
            if name in log.names:
                raise UnknownNameError("logged event (add a log to it):", name, self.events)
            raise UnknownNameError("event", name, self.events)
        k = log.names.index(name)
        return EventView(name, log, log.event == k, log.columns[k])

    @checked
    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write everything to a file that `load_results` reads: `.npz`, `.nc`, `.zarr`, `.parquet`. Returns the files.

        Files of before are replaced once all are complete. Raises `UnknownNameError`, `ConfigError`, `ExportError`.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> outcome = sim.run(T=100.0)
        >>> [str(path) for path in sim.results().save("neuron.npz")]
        ['neuron.npz']
        """
        from dynlib.results.formats import loadable, write_results  # what they need takes long to import

        return write_results(InMemory(self.raw), path, loadable(path))

    def to_dict(self) -> dict[str, Array]:
        """Times, steps and all recorded quantities by name."""
        return {"t": self.t, "step": self.step, **{name: self[name] for name in self.names}}

    def to_pandas(self) -> pandas.DataFrame:
        """A table with the times as index and one column per recorded column. Needs pandas.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> outcome = sim.run(T=100.0)
        >>> sim.results().to_pandas().columns.tolist()
        ['step', 'segment', 'v', 'u']
        """
        pd = optional("pandas", "pandas")
        frame = pd.DataFrame(self.raw.data, columns=list(self.columns), index=pd.Index(self.t, name="t"))
        frame.insert(0, "step", self.step, allow_duplicates=True)
        labels = np.empty(len(self), dtype=object)
        for s in self.segments:
            labels[slice(*s.rows)] = s.name
        frame.insert(1, "segment", labels, allow_duplicates=True)
        return frame

    def to_polars(self) -> polars.DataFrame:
        """A table with the columns t, step, segment and one per recorded column. Needs polars.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> outcome = sim.run(T=100.0)
        >>> sim.results().to_polars().columns
        ['t', 'step', 'segment', 'v', 'u']
        """
        pl = optional("polars", "polars")
        labels = np.repeat([s.name for s in self.segments], [s.rows[1] - s.rows[0] for s in self.segments])
        taken = list(self.columns)
        t, step, segment = (free_name(name, taken) for name in ("t", "step", "segment"))
        table: polars.DataFrame = pl.DataFrame(
            {t: self.t, step: self.step, segment: labels.astype(str),
             **{name: self.raw.data[:, k] for k, name in enumerate(self.columns)}}
        )  # fmt: skip
        return table

    def to_xarray(self) -> xarray.Dataset:
        """A data set over the dimension t, as a netCDF export has it. Needs xarray.

        The variables are the recorded quantities, with a second dimension `NAME_index` for an array state; step counts
        and the names of segments are coordinates along t. Each event that logs has a dimension of its own,
        `EVENT_entry`, with its times and logged values. Attributes name model, library and segments.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> outcome = sim.run(T=100.0)
        >>> data = sim.results().to_xarray()
        >>> data["v"].dims, data.sizes["spike_entry"], float(data["v"].sel(t=50.0, method="nearest")) < 40
        (('t',), 3, True)
        """
        xr = optional("xarray", "xarray")
        labels = np.repeat([s.name for s in self.segments], [s.rows[1] - s.rows[0] for s in self.segments])
        taken = [*self.names, "t"]
        coords: dict[str, Any] = {"t": ("t", self.t, {"long_name": "time"})}
        for name, values in (("step", self.step), ("segment", labels.astype(str))):
            coords[free_name(name, taken)] = ("t", values)
        variables: dict[str, Any] = {}
        for name in self.names:
            block = self[name]
            across = free_name(f"{name}_index", taken)
            variables[name] = (("t",) if block.ndim == 1 else ("t", across), block)
        for name in self.events:
            log = self.event(name)
            entry = free_name(f"{name}_entry", taken)
            for label in dict.fromkeys(("t", "step", *log.columns)):
                variables[free_name(f"{name}_{label}", taken)] = (entry, log[label])
        attributes = {"model": self.raw.model_name, "source": f"dynlib {VERSION}",
                      "segments": json.dumps([asdict(s) for s in self.segments])}  # fmt: skip
        data: xarray.Dataset = xr.Dataset(variables, coords, attributes)
        return data

    @checked
    def between(self, t0: float, t1: float) -> ResultsView:
        """The samples from time `t0` to time `t1`, both included, and the events of that time.

        Of several segments that passed through these times, all are kept. Raises `ConfigError`.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> outcome = sim.run(T=100.0)
        >>> part = sim.results().between(20.0, 50.0)
        >>> part.t.min().item(), part.t.max().item()
        (20.0, 50.0)
        """
        if not t0 <= t1:
            raise ConfigError(f"between needs times t0 <= t1, not {t0!r} and {t1!r}")
        raw, log = self.raw, self.raw.log
        rows, entries = (raw.t >= t0) & (raw.t <= t1), (log.t >= t0) & (log.t <= t1)
        before, earlier = np.concatenate([[0], np.cumsum(rows)]), np.concatenate([[0], np.cumsum(entries)])
        segments = tuple(
            replace(s, rows=(int(before[s.rows[0]]), int(before[s.rows[1]])),
                    entries=(int(earlier[s.entries[0]]), int(earlier[s.entries[1]])))
            for s in self.segments
        )  # fmt: skip
        part = replace(log, t=log.t[entries], step=log.step[entries], event=log.event[entries],
                       values=log.values[entries])  # fmt: skip
        return ResultsView(
            replace(raw, t=raw.t[rows], step=raw.step[rows], at_stop=raw.at_stop[rows], data=raw.data[rows],
                    segments=segments, log=part), self._at,
        )  # fmt: skip

    @checked
    def resample(self, dt: float) -> dict[str, Array]:
        """States and aux variables on a grid of times with spacing `dt`, by the stepper's continuous extension.

        The grid begins with the first sample and ends with the last; `"t"` holds it. What is between samples is
        computed again by the session, see `at`, whose errors it raises.

        >>> sim = dynlib.setup("builtin://ode/izhikevich")
        >>> outcome = sim.run(T=100.0)
        >>> grid = sim.results().resample(0.25)
        >>> grid["v"].shape, grid["t"][1].item()
        ((401,), 0.25)
        """
        if not 0.0 < dt < float("inf"):
            raise ConfigError(f"dt must be a time span, not {dt!r}")
        if not len(self):
            return {"t": np.zeros(0)}
        first, last = float(self.t[0]), float(self.t[-1])
        grid = first + dt * np.arange(int((last - first) / dt * (1 + 1e-14) + 1e-9) + 1)
        return {"t": grid, **self.at(grid)}

    def _facts(self) -> list[tuple[str, str]]:
        span = f"{self.t[0]:g} … {self.t[-1]:g}" if len(self) else "—"
        names = ", ".join(self.names[:8]) + (", …" if len(self.names) > 8 else "")
        facts = [("model", self.raw.model_name), ("samples", f"{len(self)}"), ("t", span), ("recorded", names)]
        for name in self.events:
            facts.append((f"event {name}", f"{len(self.event(name))} entries"))
        return facts

    def __repr__(self) -> str:
        lines = [f"  {label:<10} {value}" for label, value in self._facts()]
        for k in both_ends(len(self.segments)):
            if k is None:
                lines.append(f"  …          {len(self.segments)} segments in all")
                continue
            s = self.segments[k]
            kind = "resumed" if s.resume else "fresh"
            lines.append(f"  segment    {s.name!r}: t = {s.t_start:g} … {s.t_end:g}, {kind}, {s.status}")
        return "\n".join(["<results", *lines, ">"])

    def _repr_html_(self) -> str:
        previews = []
        for column in self.columns[:PREVIEWS] if len(self) else ():
            values = self[column]
            span = f"{np.nanmin(values):.4g} … {np.nanmax(values):.4g}" if np.isfinite(values).any() else "—"
            previews.append((column, sparkline(self.t, values), span))
        rows = [
            (
                s.name,
                f"{s.t_start:g}",
                f"{s.t_end:g}",
                str(s.step_end - s.step_start),
                "yes" if s.resume else "no",
                s.status,
            )
            for s in self.segments
        ]
        return panel(
            "results",
            table(self._facts()),
            table(previews, ("", "over t", "range")) if previews else "",
            table(rows, ("segment", "from", "to", "steps", "resumed", "status")),
        )


def optional(package: str, extra: str) -> Any:
    """A heavy package that not everybody has. Raises `DynlibError`."""
    try:
        return import_module(package)
    except ImportError:
        raise DynlibError(
            f"to_{package}() needs {package}; install it with: pip install 'dynlib[{extra}]' from the checkout"
        ) from None
