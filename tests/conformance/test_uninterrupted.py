"""The decision "uninterrupted means bit for bit", for every stepper and every kind of model."""

from __future__ import annotations

import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.cases import CASES, OBSERVERS, full, horizon
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dynlib
from dynlib import Buffers, Results, SessionState, Sim

EXACT = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # a kernel may have to be compiled


def arrays(raw: Results, keep: np.ndarray | slice = slice(None)) -> list[bytes]:
    parts = [raw.t[keep], raw.step[keep], raw.data[keep], raw.log.t, raw.log.step, raw.log.event, raw.log.values]
    return [np.ascontiguousarray(part).tobytes() for part in parts]


@cache
def single(stepper: str, kind: str, **how: Any) -> tuple[SessionState, list[bytes], set[float]]:
    sim = Sim(full(stepper, kind))
    sim.run(T=horizon(stepper), **how)
    raw = sim.raw_results()
    return sim.state, arrays(raw), set(raw.t.tolist())


def stops(stepper: str) -> st.SearchStrategy[list[float]]:
    end = horizon(stepper)
    grid = st.integers(1, int(end * 10) - 1).map(lambda k: k * 0.1)
    near = st.tuples(grid, st.sampled_from([-1.0, 1.0])).map(lambda p: float(np.nextafter(p[0], p[1] * np.inf)))
    return st.lists(st.floats(0.001, end - 0.001) | grid | near, min_size=1, max_size=5, unique=True).map(sorted)


def run_split(sim: Sim, times: list[float], end: float, **how: Any) -> None:
    sim.run(T=times[0], **how)
    for t in [*times[1:], end]:
        if t > sim.t * (1 + 1e-15):
            sim.run(T=t, resume=True)


def check_split(stepper: str, kind: str, times: list[float], buffers: Buffers | None = None, **how: Any) -> None:
    state, recorded, own = single(stepper, kind, **how)
    sim = Sim(full(stepper, kind), buffers=buffers)
    run_split(sim, times, horizon(stepper), **how)
    raw = sim.raw_results()
    assert sim.state.same_bits(state)
    extra = raw.at_stop & ~np.isin(raw.t, list(own))
    assert extra.sum() <= len(times)
    assert arrays(raw, ~extra) == recorded


@pytest.mark.parametrize(("stepper", "kind"), CASES)
@EXACT
@given(data=st.data())
def test_split_equals_unsplit(stepper: str, kind: str, data: st.DataObject) -> None:
    """Decision "uninterrupted", clauses 3.2 and 3.5: any stop times give the same steps, state and samples."""
    check_split(stepper, kind, data.draw(stops(stepper)))


@pytest.mark.parametrize(("stepper", "kind"), [case for case in CASES if case[1] == "both"])
@pytest.mark.parametrize("how", [{"record_interval": 3}, {"record_dt": 0.037}, {"record_dt": 0.2}], ids=str)
@settings(EXACT, max_examples=8)
@given(data=st.data())
def test_the_recording_does_not_see_the_seams(
    stepper: str, kind: str, how: dict[str, Any], data: st.DataObject
) -> None:
    """Clause 3.5: sparse recordings and grids of times go on over seams without a missing or doubled sample."""
    check_split(stepper, kind, data.draw(stops(stepper)), **how)


@pytest.mark.parametrize(("stepper", "kind"), CASES)
def test_no_buffer_size_changes_a_result(stepper: str, kind: str) -> None:
    """Buffers of a few rows, one log entry and one step per chunk give the same bits."""
    tiny = Buffers(rows=4, logs=1, steps=1, foresee=False)
    check_split(stepper, kind, [horizon(stepper) / 3], tiny)
    if kind == "both":
        check_split(stepper, kind, [horizon(stepper) / 3], tiny, record_dt=0.013)


@pytest.mark.parametrize(("stepper", "kind"), CASES)
def test_interpreted_and_compiled_agree(stepper: str, kind: str) -> None:
    """The same file, interpreted and compiled, gives the same state and samples to the bit."""
    found = []
    for jit in (True, False):
        sim = Sim(full(stepper, kind, jit=jit))
        sim.run(T=horizon(stepper) / 2, record_dt=0.21)
        found.append((sim.state, arrays(sim.raw_results())))
    assert found[0][0].same_bits(found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize(("stepper", "kind"), CASES)
def test_replay_from_a_snapshot_equals_the_continuation(stepper: str, kind: str) -> None:
    """Clause 2.2: a run after reset, or in a fork, starts from exactly the snapshot's moment, pending step included."""
    sim = Sim(full(stepper, kind))
    sim.run(T=horizon(stepper) * 0.377)
    sim.create_snapshot("here")
    other = sim.fork("fork")
    sim.run(T=horizon(stepper), resume=True)
    end = sim.state
    other.run(T=horizon(stepper), resume=True)
    assert other.state.same_bits(end)
    for resume in (False, True):
        sim.reset("here")
        sim.run(T=horizon(stepper), resume=resume)
        for name in ("y", "base", "params", "t", "n"):
            assert sim.state[name].tobytes() == end[name].tobytes()


@pytest.mark.parametrize(("stepper", "kind"), CASES)
def test_threads_that_share_a_kernel_share_nothing_else(stepper: str, kind: str) -> None:
    """Several sessions at once over one model, each with its own values, do what each does alone."""

    def run(k: int) -> tuple[list[bytes], list[bytes]]:
        sim = Sim(full(stepper, kind))
        sim.run(T=horizon(stepper) * 0.4, ic={"x": 0.5 - 0.01 * k})
        sim.run(T=horizon(stepper), resume=True)
        return arrays(sim.raw_results()), [b.tobytes() for b in sim.state.blocks().values()]

    alone = [run(k) for k in range(6)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, range(6))) == alone
    assert len({state[1] for _, state in alone}) == 6


def test_every_observer_of_the_library_is_in_the_list() -> None:
    """A public function that makes an observer has a row in OBSERVERS."""
    public = [getattr(dynlib, name) for name in dynlib.__all__]
    makers = {f for f in public if inspect.isfunction(f) and "Observer" in f.__annotations__["return"].split(" | ")}
    assert makers <= {make for make, _ in OBSERVERS}
    assert makers


def test_export_new_process_import_continues_exactly(tmp_path: Path) -> None:
    """Decision "uninterrupted", clauses 4.1, 4.4, 4.5: the same through a file and another process, for every case."""
    before: dict[tuple[str, str], Results] = {}
    for stepper, kind in CASES:
        sim = Sim(full(stepper, kind))
        sim.run(T=horizon(stepper) * 0.4321)
        sim.export_snapshot(tmp_path / f"{stepper}-{kind}.npz")
        before[stepper, kind] = sim.raw_results()
    (tmp_path / "list.txt").write_text("\n".join(f"{a} {b}" for a, b in CASES))
    worker = Path(__file__).with_name("continue_worker.py")
    subprocess.run([sys.executable, str(worker), str(tmp_path)], check=True, timeout=600)
    for stepper, kind in CASES:
        state, recorded, own = single(stepper, kind)
        sim = Sim(full(stepper, kind))
        sim.import_snapshot(tmp_path / f"{stepper}-{kind}-end.npz")
        assert sim.state.same_bits(state), (stepper, kind)
        a = before[stepper, kind]
        keep = ~(a.at_stop & ~np.isin(a.t, list(own)))
        with np.load(tmp_path / f"{stepper}-{kind}-data.npz") as b:
            joined = [
                np.concatenate([a.t[keep], b["t"]]),
                np.concatenate([a.step[keep], b["step"]]),
                np.concatenate([a.data[keep], b["data"]]),
            ]
            events = [np.concatenate([a.log.t, b["log_t"]]), np.concatenate([a.log.event, b["log_id"]])]
        assert [part.tobytes() for part in joined] == recorded[:3], (stepper, kind)
        assert [events[0].tobytes(), events[1].tobytes()] == [recorded[3], recorded[5]], (stepper, kind)
