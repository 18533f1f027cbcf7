"""Runs in directories that the tests of faults and of killing share, and the comparison of two directories."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.cases import full

from dynlib import FullModel, RunOutcome, Sim
from dynlib.runtime.driver import Buffers


@dataclass(frozen=True)
class Case:
    """A kernel of the conformance suite and the arguments of a run with it."""

    stepper: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.stepper}-{self.kind}"

    def model(self, jit: bool) -> FullModel:
        return full(self.stepper, self.kind, jit=jit)

    def run(self, folder: Path, T: float, checkpoint: str, *, jit: bool = True, buffers: Buffers | None = None,
            sim: Sim | None = None) -> RunOutcome:  # fmt: skip
        """The command that is given again and again."""
        sim = sim or Sim(self.model(jit), buffers=buffers)
        return sim.resume_or_start(folder, T, checkpoint=checkpoint, **self.arguments)


CASES = (
    Case("rk45", "both"),
    Case("rk4", "observed", {"record_dt": 0.037, "transient": 3.0}),
    Case("euler_maruyama", "both", {"seed": 7, "record_interval": 3}),
    Case("ab3", "events", {"record_vars": ["r", "x"]}),
    Case("map", "both", {"transient": 20.0, "tag": "only"}),
)


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A temporary folder, in memory where the system has such a place: these runs write thousands of small files."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file of a run directory but the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def difference(one: Mapping[str, bytes], two: Mapping[str, bytes]) -> str:
    """The first file that differs, in words; empty if none does."""
    for name in sorted({*one, *two}):
        if name not in one or name not in two:
            return f"{name} is only in the {'first' if name in one else 'second'}"
        if one[name] != two[name]:
            return f"{name} differs"
    return ""


def reference(case: Case, T: float, checkpoint: str, folder: Path, buffers: Buffers | None = None) -> dict[str, bytes]:
    """The directory of a run that nothing disturbs."""
    case.run(folder / case.name, T, checkpoint, buffers=buffers)
    return content_of(folder / case.name)
