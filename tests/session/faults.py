"""Every system call of the write path fails, or is the last one before the power goes: nothing may be lost.

The long run: `python tests/session/faults.py` takes every call of every case; the test suite a part of them.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from session.faulty_disk import FAULTS, FaultyDisk, PowerCut, in_place_of_the_disk
from session.stored_runs import CASES, Case, content_of, difference, quick_folder, reference

from dynlib import Buffers, Sim, StoreError, open_run
from dynlib.session import sample_store

EVERY = "40 steps"
SMALL = Buffers(rows=7, logs=2, steps=20)


@contextmanager
def small_chunks() -> Iterator[None]:
    """Tables of small chunks, so that short runs fill several."""
    before = sample_store.MOST_SAMPLES, sample_store.MOST_ENTRIES
    sample_store.MOST_SAMPLES, sample_store.MOST_ENTRIES = 32, 16
    try:
        yield
    finally:
        sample_store.MOST_SAMPLES, sample_store.MOST_ENTRIES = before


def horizon(case: Case) -> float:
    return 60.0 if case.stepper == "map" else 12.0


def calls_of(case: Case, folder: Path) -> int:
    """How many system calls a run makes."""
    disk = FaultyDisk()
    with in_place_of_the_disk(disk):
        case.run(folder, horizon(case), EVERY, buffers=SMALL)
    return disk.calls


def struck(case: Case, fault: str, at: int, whole: dict[str, bytes], folder: Path) -> str:
    """What is wrong after a fault at one call and the same command again; empty if nothing is."""
    T, disk = horizon(case), FaultyDisk(fault, at, seed=at)
    sim = Sim(case.model(jit=True), buffers=SMALL)
    met: BaseException | None = None
    with in_place_of_the_disk(disk):
        try:
            case.run(folder, T, EVERY, sim=sim)
        except (StoreError, PowerCut) as problem:
            met = problem
    if fault == "short":
        return "" if met is None else f"short writes were not completed: {met}"
    if met is None and fault.startswith("crash"):
        return "the power cut was swallowed"
    if isinstance(met, PowerCut):
        disk.lose()
        sim = Sim(case.model(jit=True), buffers=SMALL)
    readable = _readable(folder)
    if readable:
        return readable
    with in_place_of_the_disk(FaultyDisk()):
        case.run(folder, T, EVERY, sim=sim)
    return difference(whole, content_of(folder))


def _readable(folder: Path) -> str:
    """Whether what is published can be read in between; nothing is, before the run has begun."""
    if not (folder / "manifest.json").exists():
        return ""
    run = open_run(folder)
    rows = len(run.results())
    counted = run.checkpoint().position.rows
    return "" if rows >= counted else f"{rows} samples can be read, the checkpoint counts {counted}"


def strike(case: Case, stride: int, seed: int, folder: Path) -> Iterator[tuple[str, int, str]]:
    """Faults at every `stride`-th call, from a random first one: fault, call, what is wrong."""
    with small_chunks():
        with in_place_of_the_disk(FaultyDisk()):
            whole = reference(case, horizon(case), EVERY, folder / "whole")
        calls = calls_of(case, folder / "counted")
        draw = random.Random(seed)
        for fault in FAULTS:
            first = draw.randrange(stride)
            for at in [0] if fault == "short" else range(first, calls, stride):
                place = folder / "struck"
                yield fault, at, struck(case, fault, at, whole, place)
                shutil.rmtree(place, ignore_errors=True)


def main() -> int:
    """Strike every call of every case and count."""
    stride = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    tried: Counter[str] = Counter()
    wrong = 0
    for case in CASES:
        with quick_folder() as folder:
            for fault, at, problem in strike(case, stride, 0, folder):
                tried[fault] += 1
                if problem:
                    wrong += 1
                    print(f"{case.name}: {fault} at call {at}: {problem}")
        print(f"{case.name}: {sum(tried.values())} faults so far, {wrong} lost something", flush=True)
    print(", ".join(f"{fault}: {count}" for fault, count in tried.items()))
    print(f"{sum(tried.values())} faults, {wrong} lost something")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
