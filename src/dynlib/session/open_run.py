"""`open_run`: a run directory seen from outside, with nothing but the directory; a run may be going on in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from dynlib.arguments import checked
from dynlib.errors import ConfigError, SnapshotFileError, StoreError
from dynlib.results import ResultsView, Segment
from dynlib.results.export import export_results
from dynlib.results.formats import FORMATS, format_named, format_of
from dynlib.runtime.progress import Progress
from dynlib.runtime.state import Array
from dynlib.session.run_directory import Checkpoint, RunDirectory, folder_of
from dynlib.session.sample_store import SampleStore
from dynlib.session.sim import RunOutcome, Sim, open_snapshot
from dynlib.session.snapshot_file import model_in
from dynlib.session.stored_results import recordable, segments_from_json
from dynlib.spec.model import Model


class StoredRecording(Struct, frozen=True):
    """What was published at one moment, read from the disk a chunk at a time: a `results.recorded.Recorded`.

    A run that goes on only adds to it, unless it was killed meanwhile and taken up at an earlier checkpoint; an
    iterator that finds this raises `StoreError`, as it does for a chunk that is not whole.
    """

    store: SampleStore
    rows: int
    entries: int
    segments: tuple[Segment, ...]

    @property
    def model_name(self) -> str:
        """The name of the model."""
        return self.store.model.name

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the recorded columns."""
        return self.store.columns

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of values and logged values."""
        return np.dtype(self.store.model.dtype)

    @property
    def events(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Names of all events, each with the labels of what it logs."""
        return tuple((e.name, tuple(label for label, _ in e.log)) for e in self.store.model.events)

    @property
    def tags(self) -> tuple[tuple[str, ...], ...]:
        """The tags of each event."""
        return tuple(e.tags for e in self.store.model.events)

    def clock(self) -> Iterator[tuple[Array, ...]]:
        """Time, step, at_stop."""
        yield from self.store.clock(0, self.rows)
        self._check_still_there()

    def values(self, which: Sequence[int]) -> Iterator[Array]:
        """Some columns by position."""
        yield from self.store.values(which, 0, self.rows)
        self._check_still_there()

    def log(self) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Time, step, event, values."""
        yield from self.store.log_blocks(0, self.entries)
        self._check_still_there()

    def _check_still_there(self) -> None:
        rows, entries = self.store.published()
        if rows < self.rows or entries < self.entries:
            raise StoreError(
                f"the run in {self.store.folder} was taken up at an earlier point meanwhile; read it again"
            )


def published_in(store: SampleStore) -> StoredRecording:
    """What is published at this moment. Raises `StoreError`."""
    rows, attributes = store.samples()
    entries = store.published()[1]
    try:
        segments = segments_from_json(attributes.get("segments"), rows, entries)
    except ValueError as problem:
        raise StoreError(f"{store.folder} is damaged: {problem}") from None
    return StoredRecording(store, rows, segments[-1].entries[1] if segments else 0, segments)


class StoredRun:
    """What stands in a run directory: `manifest`, `model`, `columns`, and all that is published so far.

    Every read goes to the disk, so that it sees how far a run has come that is under way.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=10.0, store="runs/exp1", record_dt=0.5)
    >>> run = dynlib.open_run("runs/exp1")
    >>> run
    <run of 'van_der_pol' in runs/exp1: 21 samples, 0 log entries, DONE>
    >>> [s.name for s in run.segments], run.status, run.standing()
    (['run#0'], 'DONE', 't = 10, step 1000, with 21 samples')
    >>> run.results(last=3).t.tolist()
    [0.0, 0.5, 1.0]
    >>> [values.shape for t, step, at_stop, values in run.blocks()]
    [(21, 2)]
    >>> run.recorded().columns, run.checkpoint().meta.t, run.sim().t
    (('x', 'y'), 10.0, 0.0)
    >>> sim, outcome = run.resume(T=20.0)
    >>> outcome.kind, outcome.t
    ('continued', 20.0)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = RunDirectory(path)
        if not self.directory.exists:
            raise StoreError(f"{path} holds no run; one is begun there with run(…, store={os.fspath(path)!r})")
        self.manifest: dict[str, Any] = self.directory.manifest()
        begin = self.directory.start()
        self.model: Model = model_in(begin.path, begin.meta)
        self.columns: tuple[str, ...] = begin.position.columns
        if not set(self.columns) <= set(recordable(self.model)):
            raise StoreError(f"{begin.path} records variables that its model does not have")
        self.store = SampleStore(path, self.model, self.columns)

    def recorded(self) -> StoredRecording:
        """All that is published at this moment, for `export_results` and to be read in pieces. Raises `StoreError`."""
        return published_in(self.store)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, the last one as far as it is published. Raises `StoreError`."""
        return self.recorded().segments

    @property
    def status(self) -> str:
        """How the last segment ended; INTERRUPTED also while a run is under way."""
        segments = self.segments
        return segments[-1].status if segments else "INTERRUPTED"

    def __len__(self) -> int:
        return self.store.published()[0]

    @checked
    def results(self, first: int = 0, last: int | None = None) -> ResultsView:
        """Samples from row `first` to before row `last`, by default all, read into memory. Raises `StoreError`."""
        r = self.recorded()
        last = r.rows if last is None else last
        if not 0 <= first <= last <= r.rows:
            raise ConfigError(f"rows {first} to {last} are not within the {r.rows} rows of {self.path}")
        whole = (first, last) == (0, r.rows)
        segments, entries = (r.segments, r.entries) if whole else ((), 0)
        return ResultsView(self.store.results(self.columns, last, entries, segments, first))

    def blocks(self) -> Iterator[tuple[Array, Array, Array, Array]]:
        """All samples, a chunk at a time: time, step, at_stop, values (rows, columns). Raises `StoreError`."""
        return self.store.blocks(0, len(self))

    def checkpoint(self) -> Checkpoint:
        """The most advanced whole checkpoint. Raises `StoreError`."""
        return self.directory.latest()

    def standing(self) -> str:
        """Where the run stands on disk, in words. Raises `StoreError`."""
        last = self.checkpoint()
        return f"t = {last.meta.t:g}, step {last.meta.step}, with {last.position.rows} samples"

    @checked
    def sim(self, *, jit: bool = True) -> Sim:
        """A session that stands where the run began, ready to take the run up. Raises `SnapshotFileError`."""
        return open_snapshot(self.directory.start().path, jit=jit)

    @checked
    def resume(
        self,
        T: float | None = None,
        *,
        N: int | None = None,
        max_steps: int | None = None,
        checkpoint: str | None = None,
        progress: bool | Progress = False,
        jit: bool = True,
    ) -> tuple[Sim, RunOutcome]:
        """Go on with the run, to its own end or to another one; what is not given is as the manifest says.

        Raises `StoreError`, `StoreBusyError`, `ResumeError`.
        """
        plan = self.manifest["plan"]
        if T is None and N is None:
            T, N = plan["T"], plan["N"]
        sim = self.sim(jit=jit)
        outcome = sim.resume_or_start(
            self.path,
            T,
            N=N,
            max_steps=plan["max_steps"] if max_steps is None else max_steps,
            checkpoint=checkpoint or plan["checkpoint"],
            progress=progress,
            transient=plan["transient"],
            record_interval=plan["record_interval"] or None,
            record_dt=plan["record_dt"] or None,
            record_vars=list(self.columns),
            tag=plan["tag"],
        )
        return sim, outcome

    def __repr__(self) -> str:
        r = self.recorded()
        return f"<run of {self.model.name!r} in {self.path}: {r.rows} samples, {r.entries} log entries, {self.status}>"


def open_run(path: str | os.PathLike[str]) -> StoredRun:
    """The run in a directory: its results, its model, and the way to go on. Raises `StoreError`.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=10.0, store="runs/exp1", record_dt=0.5)
    >>> run = dynlib.open_run("runs/exp1")
    >>> run.status, len(run)
    ('DONE', 21)
    """
    try:
        return StoredRun(folder_of(path))
    except SnapshotFileError as problem:
        raise StoreError(str(problem)) from None


def export_run(
    path: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, to: str | None = None
) -> list[Path]:
    """Write all that a run directory has recorded to a file, a chunk at a time; returns the files that were written.

    `to` is a format by name, by default that of the suffix of `out`; `out` is by default named after the folder and
    stands beside it. Raises `StoreError`, `ExportError`, `ConfigError`.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=10.0, store="runs/exp1", record_dt=0.5)
    >>> from dynlib.session.open_run import export_run
    >>> [str(path) for path in export_run("runs/exp1", "exp1.csv")]
    ['exp1.csv']
    """
    run = open_run(path)
    if out is None and to is None:
        raise ConfigError(f"name a format, one of {', '.join(f.name for f in FORMATS)}, or a file")
    form = format_of(out or "") if to is None else format_named(to)
    home = run.path.resolve()
    named = home if run.path.name in ("", "..") else run.path
    target = named.with_name(f"{named.name}{form.suffix}") if out is None else Path(out)
    if home in (target.resolve(), *target.resolve().parents):
        raise ConfigError(f"{target} lies in the run directory; results are written outside of it")
    return export_results(run.recorded(), target, form)
