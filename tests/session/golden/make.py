"""Writes golden snapshot files with whatever version of the library is imported: `python make.py FOLDER`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import dynlib
from dynlib.session import snapshot_file

with contextlib.suppress(ImportError):  # not in the first version
    from dynlib.session import stored_results

OSCILLATOR = """inline:
[model]
type = "ode"
name = "oscillator"
[states]
x = 1.0
y = 0.5
[params]
mu = 1.5
[equations.rhs]
x = "y"
y = "mu*(1 - x*x)*y - x"
"""
NEURON = """inline:
[model]
type = "ode"
name = "neuron"
[states]
v = -65.0
u = -13.0
[params]
a = 0.02
b = 0.2
c = -65.0
d = 8.0
I = 10.0
[equations.rhs]
v = "0.04*v*v + 5*v + 140 - u + I"
u = "a*(b*v - u)"
[events.spike]
phase = "post"
cond = "cross_up(v, 30)"
action = "v = c; u = u + d"
log = ["t", "v"]
[sim]
dt = 0.1
"""
RING = """inline:
[model]
type = "ode"
name = "ring"
dtype = "float32"
[states]
"x[3]" = [0.1, 0.2, 0.4]
[params]
k = 0.5
[equations]
expr = "dx[i] = k*(x[(i+1) % 3] - x[i]) - x[i]*x[i]*x[i]"
[sim]
dt = 0.05
"""
MAP = """inline:
[model]
type = "map"
name = "delayed"
[states]
x = 0.3
[params]
r = 1.6
[equations.rhs]
x = "r*x*(1 - lag_x(3))"
"""
CASES = {
    "oscillator": (OSCILLATOR, "rk45", 3.03, 9.0),
    "neuron": (NEURON, "rk4", 40.03, 90.0),
    "ring": (RING, "ab3", 1.03, 4.0),
    "map": (MAP, "map", 17.0, 60.0),
}
"""Model, stepper, where the file is written (inside a step, for all but the map), and where its continuation ends."""
EXACT = ("neuron", "ring", "map")
"""Those without a function of the C library: every machine computes the same bits. Step-size control takes powers."""


def played(case: str) -> dynlib.Sim:
    """A session at the place where the file is written."""
    model, stepper, T, _ = CASES[case]
    sim = dynlib.setup(model, stepper=stepper, jit=False)
    sim.run(T=T / 2)
    sim.run(T=T, resume=True)
    return sim


def recorded() -> dynlib.Sim:
    """A session with a snapshot, an edit and results."""
    model, stepper, T, _ = CASES["neuron"]
    sim = dynlib.setup(model, stepper=stepper, jit=False)
    sim.run(T=20.0, record_interval=40, tag="rest")
    sim.create_snapshot("before", "the end of rest")
    sim.assign(I=12.0)
    sim.run(T=T, resume=True)
    return sim


ENVIRONMENT = {
    "library": "0.1.0",
    "python": "3.11.0",
    "numpy": "2.0.0",
    "numba": "0.61.0",
    "libc": "glibc 2.36",
    "system": "Linux",
    "machine": "x86_64",
    "kernel": "interpreted",
}
"""What the files say of the machine, whatever machine writes them."""


def write_all(folder: Path) -> None:
    """Every file that this version of the library can write."""
    for case in CASES:
        played(case).export_snapshot(folder / f"{case}.npz", name="golden")
    if snapshot_file.SCHEMA_VERSION > 1:
        recorded().export_snapshot(folder / "recorded.npz", name="golden", results=True)
    if snapshot_file.SCHEMA_VERSION > 2:
        sim = recorded()
        raw = sim.raw_results()
        position = stored_results.StorePosition(len(raw.t), len(raw.log.t), 2.5, raw.columns, raw.segments)
        snapshot_file.write_snapshot(
            folder / "checkpoint.npz", sim._current("golden"), created="", jit=False, observers=[], store=position
        )


if __name__ == "__main__":
    if snapshot_file.SCHEMA_VERSION > 1:
        snapshot_file.environment = lambda jit: ENVIRONMENT
    write_all(Path(sys.argv[1]))
