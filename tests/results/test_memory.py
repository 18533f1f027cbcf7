"""Memory of a run: what its samples need, and hardly more on the way; nothing where nothing is recorded."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import dynlib

def peak():  # MiB
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024

sim = dynlib.setup("builtin://ode/lorenz", stepper="rk45", rtol=1e-9, atol=1e-9)
sim.run(T=1.0)
before = peak()
sim.run(T=40_000.0, record=False)
silent = peak() - before
before = peak()
sim.run(T=12_000.0)
samples = len(sim.results())
print(silent, (peak() - before) / (samples * (8 + 8 + 1 + 3 * 8) / 2**20), samples)
"""


def test_a_run_takes_the_memory_of_its_samples() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    silent, times, samples = map(float, done.stdout.split())
    assert samples > 1e6
    assert silent < 4.0
    assert 0.9 < times < 1.5
