"""Lorenz RK4 against hand-written C with the same floating-point contract, recording included.

Both sides are timed in alternation in one process; the ratio of the medians is printed, and the results are compared
to the bit. Needs gcc. Usage: python benchmarks/lorenz_rk4.py [steps] [rounds]
"""

from __future__ import annotations

import ctypes
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import dynlib


def build_c(folder: Path) -> ctypes.CDLL:
    source, library = Path(__file__).with_suffix(".c"), folder / "lorenz.so"
    flags = ["-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def main() -> None:
    if shutil.which("gcc") is None:
        sys.exit("this benchmark needs gcc")
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    dt = 0.001
    sim = dynlib.setup("builtin://ode/lorenz", stepper="rk4", dt=dt)
    params, start = sim.param_vector(), sim.state_vector()
    sim.run(N=10)

    def pointer(a: np.ndarray) -> ctypes.c_void_p:
        return a.ctypes.data_as(ctypes.c_void_p)

    with tempfile.TemporaryDirectory() as folder:
        c = build_c(Path(folder)).lorenz_rk4
        c.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_double] * 2 + [ctypes.c_long] + [ctypes.c_void_p] * 3
        mine, theirs = [], []
        for _ in range(rounds):
            began = time.perf_counter()
            sim.run(N=steps)
            data = sim.raw_results().data
            mine.append(time.perf_counter() - began)
            began = time.perf_counter()
            state = start.copy()
            t, n, y = np.empty(steps + 1), np.empty(steps + 1, np.int64), np.empty((steps + 1, 3))
            c(pointer(state), pointer(params), 0.0, dt, steps, pointer(t), pointer(n), pointer(y))
            theirs.append(time.perf_counter() - began)
        same = data.tobytes() == y.tobytes()
    a, b = statistics.median(mine), statistics.median(theirs)
    print(f"{steps} steps, every step recorded, median of {rounds} rounds")
    print(f"dynlib {a * 1e9 / steps:7.2f} ns/step")
    print(f"C      {b * 1e9 / steps:7.2f} ns/step")
    print(f"ratio  {a / b:7.3f}   results {'equal to the last bit' if same else 'DIFFER'}")

    sim.reset()
    names = iter(f"s{k}" for k in range(10**6))
    began = time.perf_counter()
    for _ in range(20_000):
        sim.create_snapshot(next(names))
    print(f"create_snapshot {(time.perf_counter() - began) / 20_000 * 1e6:.2f} us (3 states)")


if __name__ == "__main__":
    main()
