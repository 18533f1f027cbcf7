"""Hold a neuron: run, snapshot, branch, save, continue in a new process, and check every bit.

The Izhikevich neuron goes through the typical use and three kinds of branch; then a snapshot is exported, another
process imports it and continues, and its end is compared with an uninterrupted run. Usage:
python examples/hold_a_neuron.py [FOLDER]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import dynlib
from dynlib.plot import legend_above, mark_points, time_series

MODEL = "builtin://ode/izhikevich"
MS = 40.0
"""One unit of the story below, in milliseconds: phases of 2 to 5 units show several spikes."""


def typical_use() -> dynlib.ResultsView:
    sim = dynlib.setup(MODEL)
    sim.run(T=2.0 * MS, record=True, tag="phase-1")
    sim.create_snapshot("phase-1", "after the first stimulus")
    sim.run(T=5.0 * MS, resume=True, tag="phase-2")
    whole = sim.results()
    sim.reset("phase-1")
    sim.run(T=3.0 * MS, record=True, tag="phase-1-replay")
    replay = sim.results()
    first = int(np.searchsorted(whole.t, replay.t[0]))
    part = slice(first, first + len(replay))
    same = whole.t[part].tobytes() == replay.t.tobytes() and whole["v"][part].tobytes() == replay["v"].tobytes()
    say("typical use", f"{len(whole)} samples in {len(whole.segments)} segments, {len(whole.event('spike'))} spikes; "
        f"replay from the snapshot equal to the last bit: {yes(same)}")  # fmt: skip
    return whole


def branch_with_more_current() -> dynlib.ResultsView:
    sim = dynlib.setup(MODEL)
    sim.run(T=2.0 * MS, record=True, tag="baseline")
    sim.create_snapshot("after-baseline", "End of baseline run")
    sim.reset("after-baseline")
    sim.assign(I=15.0)
    sim.run(T=5.0 * MS, record=True, tag="modified-current")
    say("branch 1: I = 15", f"{len(sim.results().event('spike'))} spikes after the snapshot")
    return sim.results()


def branch_with_other_recovery() -> dynlib.ResultsView:
    sim = dynlib.setup(MODEL)
    sim.run(T=2.0 * MS, record=True, tag="phase-1")
    sim.create_snapshot("phase-1-end", "End of phase 1")
    sim.reset("phase-1-end")
    sim.assign(a=0.02, b=0.25)
    sim.run(T=5.0 * MS, resume=True, tag="phase-2-modified")
    say("branch 2: b = 0.25", f"{len(sim.results().event('spike'))} spikes after the snapshot, resumed")
    return sim.results()


def new_recording() -> dynlib.ResultsView:
    sim = dynlib.setup(MODEL)
    sim.run(T=2.0 * MS, record=True, tag="initial")
    sim.assign(I=20.0, clear_history=True)
    sim.run(T=5.0 * MS, record=True, tag="new-segment")
    say(
        "branch 3: I = 20",
        f"{len(sim.results().event('spike'))} spikes in a new recording from t = {sim.results().t[0]:g}",
    )
    return sim.results()


def another_process(folder: Path) -> bool:
    """Export at an odd moment, continue elsewhere, and compare with a run that was never interrupted."""
    file, end = folder / "neuron.npz", folder / "neuron_end.npz"
    good = True
    for stepper in ("rk4", "rk45"):
        sim = dynlib.setup(MODEL, stepper=stepper)
        sim.run(T=1.2345 * MS)
        sim.export_snapshot(file)
        began = time.perf_counter()
        worker = [sys.executable, __file__, "--continue", stepper, str(file), str(end)]
        subprocess.run(worker, check=True)
        seconds = time.perf_counter() - began
        single = dynlib.setup(MODEL, stepper=stepper)
        single.run(T=5.0 * MS)
        sim.import_snapshot(end)
        same = sim.state.same_bits(single.state)
        good &= same
        say(f"new process ({stepper})", f"imported, ran on, exported in {seconds:.1f} s; equal to an uninterrupted run "
            f"to the last bit: {yes(same)}")  # fmt: skip
    return good


def continue_elsewhere(stepper: str, file: str, end: str) -> None:
    sim = dynlib.setup(MODEL, stepper=stepper)
    sim.import_snapshot(file)
    sim.run(T=5.0 * MS, resume=True)
    sim.export_snapshot(end)


def picture(path: Path, whole: dynlib.ResultsView, branches: dict[str, dynlib.ResultsView]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11, 1.9 * (1 + len(branches))), layout="constrained")
    rows = figure.subplots(1 + len(branches), 1, sharex=True, sharey=True)
    moment = 2.0 * MS
    level = float(whole["v"][whole.t <= moment][-1])
    for ax, (label, color, result) in zip(
        rows,
        [("uninterrupted story", "0.25", whole)]
        + [(label, color, r) for (label, r), color in zip(branches.items(), ("C0", "C3", "C2"), strict=True)],
        strict=True,
    ):
        if result is not whole:
            time_series(whole, "v", ax=ax, label="", color="0.8", lw=1.0)
        time_series(result, "v", ax=ax, label=label, color=color, lw=1.3)
        mark_points([(moment, level, "snapshot")], ax=ax)
        ax.set_ylabel("v [mV]")
        ax.set_xlabel("")
        legend_above(ax)
    rows[-1].set_xlabel("t [ms]")
    figure.suptitle("Izhikevich neuron: one snapshot, three branches")
    figure.savefig(path, dpi=130)


def say(label: str, text: str) -> None:
    global _last
    now = time.perf_counter()
    print(f"  {label:<20} {text}  [{now - _last:.2f} s]", flush=True)
    _last = now


def yes(flag: bool) -> str:
    return "yes" if flag else "NO"


_last = time.perf_counter()


def main() -> int:
    if sys.argv[1:2] == ["--continue"]:
        continue_elsewhere(*sys.argv[2:5])
        return 0
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    print("Hold a neuron: run, snapshot, branch, save, resume\n")
    whole = typical_use()
    branches = {
        "branch 1: I = 15, new recording": branch_with_more_current(),
        "branch 2: b = 0.25, resumed": branch_with_other_recovery(),
        "branch 3: I = 20, new recording": new_recording(),
    }
    good = another_process(folder)
    path = folder / "hold_a_neuron.png"
    picture(path, whole, branches)
    say("picture", str(path))
    seconds = time.perf_counter() - began
    print(f"\n{'All is well' if good else 'FAILED'}: {seconds:.1f} s in total (first run: compilation included)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
