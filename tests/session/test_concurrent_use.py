"""A session does one thing at a time: whoever would change it meanwhile is refused, and the run is none the worse."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from session.kit import content, ring, ring_full

from dynlib import Buffers, ConcurrentUseError, Sim

CHANGES: dict[str, Callable[[Sim], Any]] = {
    "run": lambda sim: sim.run(N=5),
    "resume": lambda sim: sim.run(N=5, resume=True),
    "assign": lambda sim: sim.assign(k=0.2),
    "reset": lambda sim: sim.reset(),
    "create_snapshot": lambda sim: sim.create_snapshot("meanwhile"),
    "fork": lambda sim: sim.fork("meanwhile"),
    "rename_snapshot": lambda sim: sim.rename_snapshot("a", "b"),
    "delete_snapshot": lambda sim: sim.delete_snapshot("a"),
    "import_snapshot": lambda sim: sim.import_snapshot("nowhere.npz"),
    "adopt_snapshot": lambda sim: sim.adopt_snapshot("nowhere.npz"),
    "resume_or_start": lambda sim: sim.resume_or_start("nowhere", N=5),
    "name_segment": lambda sim: sim.name_segment(0, "x"),
    "reset_observers": lambda sim: sim.reset_observers(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("where", ["in its own run", "in another thread"])
def test_a_change_in_the_middle_of_a_run_is_refused(change: Callable[[Sim], Any], where: str) -> None:
    whole = ring("rk4")
    whole.create_snapshot("a")
    whole.run(N=200)
    sim = Sim(ring_full("rk4"), buffers=Buffers(steps=10))
    sim.create_snapshot("a")
    met: list[BaseException] = []

    def attempt() -> None:
        try:
            change(sim)
        except ConcurrentUseError as problem:
            met.append(problem)

    def meanwhile(fraction: float, t: float) -> None:
        if where == "in its own run":
            attempt()
        else:
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()

    sim.run(N=200, progress=meanwhile)
    assert met
    assert "busy with run()" in str(met[0])
    assert content(sim.raw_results()) == content(whole.raw_results())
    assert sim.state.same_bits(whole.state)
    change_now = {"resume_or_start", "import_snapshot", "adopt_snapshot"}
    if not any(change is CHANGES[name] for name in change_now):
        change(sim)  # afterwards it may


def test_what_does_not_change_a_session_may_be_read_meanwhile(tmp_path: Path) -> None:
    sim = Sim(ring_full("rk4"), buffers=Buffers(steps=10))
    sim.run(N=20)
    seen = []

    def look(fraction: float, t: float) -> None:
        seen.append((sim.state_dict(), sim.t, sim.session_state_summary(), len(sim.results()), repr(sim), sim.tree()))
        sim.export_snapshot(tmp_path / "meanwhile.npz")

    sim.run(N=50, resume=True, progress=look)
    assert seen
    assert all(t == seen[0][1] for _, t, *_ in seen)  # the state before the run, until it has ended
