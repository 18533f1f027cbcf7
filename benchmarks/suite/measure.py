"""Measuring a row: everybody prepares the same work, values are compared, then all are timed in turns."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.suite.fresh import PROGRAMS
from benchmarks.suite.processes import PeerFailure, Process, python_of, run_fresh
from benchmarks.suite.rows import Row
from benchmarks.suite.worker import distance

PEERS = (
    "c", "dynlib", "heyoka", "numbalsoda", "cyrk", "tsdynamics", "diffrax", "scipy", "pynamicalsys", "dynlib_pypi"
)  # fmt: skip
SPEND = 0.02
"""Seconds that one turn of timing lasts, one run at least."""
SLOW = 1.0
"""Runs longer than that take one turn only, and runs of three times that none after the one that prepared them."""


@dataclass
class Result:
    """What one variant of a peer needed for a row.

    `amount` is in seconds for the whole work (or as the row says), infinite where it failed: `note` says how.
    `difference` is that of the value from the reference, `cold` the time of the first run with its preparation. `rtol`
    and `error` are those that a scan found.
    """

    row: str
    peer: str
    variant: str
    amount: float = math.inf
    value: list[float] | None = None
    difference: float | None = None
    cold: float | None = None
    rtol: float | None = None
    error: float | None = None
    note: str = ""

    def agrees(self, row: Row) -> bool:
        """Whether the value is what it must be."""
        return self.difference is None or self.difference <= row.agree


class Crew:
    """The peers that are here, each with its worker."""

    def __init__(self, peers: list[str], folder: Path, caches: str) -> None:
        self.caches = caches
        self.pythons = {peer: python for peer in peers if (python := python_of(peer, folder)) is not None}
        self.missing = [peer for peer in peers if peer not in self.pythons]
        self.workers = {peer: Process(peer, python, self._folder(peer)) for peer, python in self.pythons.items()}
        self.about: dict[str, dict[str, Any]] = {}
        for peer, worker in self.workers.items():
            try:
                self.about[peer] = worker.ask(do="about")
            except PeerFailure as failure:
                self.missing.append(peer)
                self.about[peer] = {"version": f"does not start: {failure}", "settings": "", "python": ""}

    def _folder(self, peer: str) -> str:
        path = Path(self.caches, peer)
        path.mkdir(exist_ok=True)
        return str(path)

    @property
    def there(self) -> list[str]:
        return [peer for peer in self.pythons if peer not in self.missing]

    def fresh(self, peer: str, program: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """A program in a process of its own, with an empty cache or the warm one of the peer."""
        python = self.pythons[peer]
        if parameters["cache"] == "warm":
            return run_fresh(peer, python, program, parameters, self._folder(f"{peer}-warm"))
        with tempfile.TemporaryDirectory(dir=self.caches) as empty:
            return run_fresh(peer, python, program, parameters, empty)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


@contextmanager
def crew(peers: list[str], folder: Path) -> Iterator[Crew]:
    """The workers of some peers, ended at the end."""
    with tempfile.TemporaryDirectory(prefix="benchmark-caches-") as caches:
        made = Crew(peers, folder, caches)
        try:
            yield made
        finally:
            made.close()


def measure(row: Row, who: Crew, rounds: int, quick: bool) -> list[Result]:
    """The results of all peers that can do the work of a row."""
    parameters = {**row.parameters, **(row.quick if quick else {})}
    if row.kind == "fresh":
        turns = min(rounds, 3) if row.amount == "seconds" else 1
        results = list(in_fresh_processes(row, who, turns, parameters))
    else:
        results = list(by_workers(row, who, rounds, parameters))
    reference = reference_of(row, results)
    for result in results:
        if reference is not None and result.value is not None:
            result.difference = distance(result.value, reference, row.scale)
    return results


def reference_of(row: Row, results: list[Result]) -> list[float] | None:
    """What the values are compared with."""
    if row.reference is not None:
        return list(row.reference)
    firsts = [r for r in results if r.value is not None and (r.peer, r.variant) == ("c", "not fused")]
    firsts += [r for r in results if r.value is not None and r.peer == "dynlib"]
    return firsts[0].value if firsts else None


def by_workers(row: Row, who: Crew, rounds: int, parameters: dict[str, Any]) -> Iterator[Result]:
    """Where a worker ends, everything that was prepared in it is lost: it keeps the times that it has."""
    ready: list[tuple[Result, int]] = []
    for peer in who.there:
        worker = who.workers[peer]
        try:
            variants = worker.ask(do="variants", row=row.name, parameters=parameters)["variants"]
        except PeerFailure as failure:
            yield Result(row.name, peer, "", note=str(failure))
            continue
        for variant in variants:
            result = Result(row.name, peer, variant)
            try:
                ready.append((result, prepared(row, worker, result, rounds, parameters)))
            except PeerFailure as failure:
                result.note = str(failure)
                ready = [(r, turns) for r, turns in ready if r.peer != peer]
            yield result
    ended: set[str] = set()
    for turn in range(rounds):
        for result, turns in ready:
            if turn >= turns or result.peer in ended:
                continue
            try:
                found = who.workers[result.peer].ask(do="time", row=row.name, variant=result.variant, spend=SPEND)
                result.amount = min(result.amount, found["seconds"])
            except PeerFailure as failure:
                ended.add(result.peer)
                result.note = str(failure)


def prepared(row: Row, worker: Process, result: Result, rounds: int, parameters: dict[str, Any]) -> int:
    """Prepare a variant; in how many rounds it is timed."""
    common = {"row": row.name, "variant": result.variant, "parameters": parameters}
    if row.kind == "to_error":
        assert row.reference is not None
        found = worker.ask(do="scan", **common, reference=list(row.reference), scale=row.scale, target=row.target)
        result.rtol, result.error = found["rtol"], found["error"]
        if result.rtol is None:
            result.note = "does not get there"
            return 0
        result.difference = result.error
        return rounds
    found = worker.ask(do="prepare", **common, checked=row.checked)
    result.value, result.cold, result.amount = found["value"], found["cold"], found["once"]
    if result.value is None:
        result.amount, result.note = math.inf, "reports a failure"
        return 0
    return rounds if result.amount < SLOW else 1 if result.amount < 3 * SLOW else 0


def in_fresh_processes(row: Row, who: Crew, rounds: int, parameters: dict[str, Any]) -> Iterator[Result]:
    programs = {(p, v): text for p, t in PROGRAMS[row.name].items() if p in who.there for v, text in t.items()}
    results = {key: Result(row.name, *key) for key in programs}
    for turn in range(rounds + (parameters["cache"] == "warm")):
        for key, result in results.items():
            if result.note:
                continue
            try:
                found = who.fresh(key[0], programs[key], parameters)
            except PeerFailure as failure:
                result.note = str(failure)
                continue
            result.value = found["value"]
            if turn or parameters["cache"] == "empty":  # the first one fills the caches
                result.amount = min(result.amount, found["amount"])
    yield from results.values()
