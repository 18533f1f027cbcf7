"""Threads: one `FullModel` serves many sessions at once, from its first compilation on, and no bit is different."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import pytest
from conformance.cases import OBSERVERS, horizon, model_of

from dynlib import FullModel, Sim, build, map_model
from dynlib.compile import kernel
from dynlib.runtime.driver import Buffers

THREADS = 8
CASES = [("rk45", "ode", "both"), ("map", "map", "both"), ("euler_maruyama", "sde", "events")]
T = TypeVar("T")


@pytest.fixture(autouse=True)
def nothing_is_compiled_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No kernel in memory or on disk, and threads that change places as often as they can."""
    monkeypatch.setenv("DYNLIB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel, "_loaded", lru_cache(kernel._loaded.__wrapped__))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(work: Callable[[int], T]) -> list[T]:
    """What the work gives for 0, 1, … when every thread begins at the same moment."""
    barrier = threading.Barrier(THREADS)

    def begin(k: int) -> T:
        barrier.wait()
        return work(k)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def session(full: FullModel, k: int, stepper: str) -> list[bytes]:
    """A session with values of its own, cut twice, branched, and with buffers that grow; everything that came of it."""
    end, found = horizon(stepper), []
    sim = Sim(full, buffers=Buffers(rows=4, logs=1, steps=16 + k))
    seed = {"seed": k} if full.model.kind == "sde" else {}
    sim.run(T=0.4 * end, params={"a": 1.2 - 0.02 * k}, **seed)
    sim.create_snapshot("middle")
    for b in (0.3, 0.2):
        sim.reset("middle")
        sim.assign(b=b)
        sim.run(T=0.7 * end, resume=True)
        sim.run(T=end, resume=True)
        raw = sim.raw_results()
        blocks = (raw.t, raw.step, raw.data, raw.log.t, raw.log.event, raw.log.values)
        found += [array.tobytes() for array in (*blocks, sim.state.times, sim.state.reals, sim.state.counts)]
    return found


@pytest.mark.parametrize(("stepper", "family", "kind"), CASES)
def test_sessions_in_threads_share_a_model(stepper: str, family: str, kind: str) -> None:
    """8 threads that begin together with a model not yet compiled find, bit for bit, what one thread finds."""
    observers = [make(*arguments) for make, arguments in OBSERVERS]
    dt = None if stepper in ("map", "rk45") else 0.1
    full = build(model_of(family, kind), stepper=stepper, dt=dt, observers=observers)
    found = together(lambda k: session(full, k, stepper))
    assert found == [session(full, k, stepper) for k in range(THREADS)]
    assert len({tuple(one) for one in found}) == THREADS, "every session had values of its own"
    assert all(len(one[3]) > 8 for one in found), "there were events"
    assert full.kernel.from_cache is False


def test_threads_that_build_the_same_model_at_once_get_one_kernel() -> None:
    """Two models, each built in four threads: one module for each model, and each thread gets the value of its own."""

    def work(k: int) -> tuple[FullModel, float]:
        model = map_model("m", states={"x": 0.5}, constants={"r": 2.0 + k % 2}, equations={"x": "r*x*(1 - x)"})
        sim = Sim(build(model))
        sim.run(N=1)
        return sim.full_model, sim.state_dict()["x"]

    found = together(work)
    assert [x for _, x in found] == [(2.0 + k % 2) / 4 for k in range(THREADS)]
    assert len({id(full.kernel.module) for full, _ in found}) == 2
