"""Ensembles against scalar C (gcc -O3 -march=native), all in one run: times, ratios, and that both found the same.

gcc fuses multiplications and additions unless it is told not to; `math="contract"` allows the same here. The default,
`math="strict"`, is measured beside it.

The two sides of a row alternate, and the least time of each counts: a ratio then hardly depends on what else the
machine does. Needs gcc. Usage: python benchmarks/ensembles.py [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import dynlib

MEMBERS = 10_000


@dataclass(frozen=True)
class Row:
    """One ensemble: seconds in C and here, their ratio, the ratio that is aimed at, and the largest difference."""

    name: str
    c: float
    here: float
    ratio: float
    target: float
    difference: float

    @property
    def met(self) -> bool:
        """Whether it is as fast as is aimed at."""
        return self.ratio <= self.target


def built(folder: Path) -> ctypes.CDLL:
    """The C functions, compiled by gcc."""
    library = folder / "ensembles.so"
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, str(Path(__file__).with_suffix(".c")), "-o", str(library), "-lm"], check=True)
    found, array, real, whole = ctypes.CDLL(str(library)), ctypes.c_void_p, ctypes.c_double, ctypes.c_long
    found.lorenz_rk4.argtypes = [array, whole, real, whole]
    found.lorenz_dopri5.argtypes = [array, whole, real, real]
    found.logistic.argtypes = [array, array, whole, whole, whole]
    found.neurons_rk4.argtypes = [array, array, whole, real, whole]
    return found


def measured(
    name: str,
    target: float,
    rounds: int,
    ours: Callable[[], np.ndarray],
    theirs: Callable[[], np.ndarray],
    near: float,
) -> Row:
    """Both in turn; raises `ValueError` if they differ by more than `near`."""
    ours(), theirs()
    times: tuple[list[float], list[float]] = ([], [])
    found = []
    for _ in range(rounds):
        found.clear()
        for act, spent in zip((ours, theirs), times, strict=True):
            began = time.perf_counter()
            found.append(act())
            spent.append(time.perf_counter() - began)
    difference = float(np.max(np.abs(found[0] - found[1])))
    if not difference <= near:
        raise ValueError(f"{name}: results differ by {difference:.3g}")
    here, c = min(times[0]), min(times[1])
    return Row(name, c, here, here / c, target, difference)


def pointer(array: np.ndarray) -> int:
    """Where the numbers lie."""
    return array.ctypes.data


def _states(found: dynlib.EnsembleResult) -> np.ndarray:
    if not found.ok.all() or not found.lanes:
        raise ValueError(f"not all members ran to their end in lanes: {found!r}")
    return np.array(list(found.final.values()))


def lorenz_rk4(library: ctypes.CDLL, rounds: int, math: str) -> list[Row]:
    """10^4 Lorenz trajectories of 1000 classical Runge–Kutta steps, on one and on two threads."""
    full = dynlib.build("builtin://ode/lorenz", stepper="rk4", dt=0.01, math=math)
    start = np.linspace(-10.0, 10.0, MEMBERS)

    def theirs() -> np.ndarray:
        y = np.ones((3, MEMBERS))
        y[0] = start
        library.lorenz_rk4(pointer(y), MEMBERS, 0.01, 1000)
        return y

    return [
        measured(
            f"Lorenz, rk4, {threads} thread{'s' if threads > 1 else ''}, {math}", target, rounds,
            lambda threads=threads: _states(dynlib.ensemble(full, ic={"x": start}, N=1000, threads=threads)),
            theirs, 1e-2,
        )
        for threads, target in ((1, 0.10), (2, 0.055))
    ]  # fmt: skip


def lorenz_adaptive(library: ctypes.CDLL, rounds: int, stepper: str, math: str) -> Row:
    """10^3 Lorenz trajectories to t = 10 with tolerance 1e-9, against DOPRI5 in C."""
    members, tol = 1000, 1e-9
    full = dynlib.build("builtin://ode/lorenz", stepper=stepper, rtol=tol, atol=tol, math=math)
    start = np.linspace(-10.0, 10.0, members)

    def theirs() -> np.ndarray:
        y = np.ones((3, members))
        y[0] = start
        library.lorenz_dopri5(pointer(y), members, 10.0, tol)
        return y

    return measured(
        f"Lorenz, {stepper}, 1e-9, 1 thread, {math}", 10.9 / 128, rounds,
        lambda: _states(dynlib.ensemble(full, ic={"x": start}, T=10.0, threads=1)), theirs, 1e-2,
    )  # fmt: skip


def logistic(library: ctypes.CDLL, rounds: int, math: str) -> list[Row]:
    """10^5 values of r and 1100 iterations: the last state, and the orbit diagram with the last 101 of them.

    The first touch of 80 MB is a third of what the diagram takes here, and costs both sides the same.
    """
    r = np.linspace(2.9, 3.56, 100_000)  # not yet chaotic: fused operations must not lead elsewhere
    full = dynlib.build("builtin://map/logistic", math=math)

    def theirs(kept: int) -> np.ndarray:
        out = np.empty((kept + 1, r.size))
        library.logistic(pointer(r), pointer(out), r.size, 1100 - kept, kept)
        return out

    def end() -> np.ndarray:
        return _states(dynlib.ensemble(full, params={"r": r}, ic={"x": 0.3}, N=1100, threads=1))

    def diagram() -> np.ndarray:
        found = dynlib.ensemble(
            full, params={"r": r}, ic={"x": 0.3}, N=100, transient=1000.0, record_interval=1, threads=1
        )  # fmt: skip
        return found.samples["x"]

    return [
        measured(f"logistic, final state, 1 thread, {math}", 0.12, rounds, end, lambda: theirs(0), 1e-3),
        measured(f"logistic, orbit diagram, 1 thread, {math}", 0.12, rounds, diagram, lambda: theirs(100), 1e-3),
    ]


def neurons(library: ctypes.CDLL, rounds: int, math: str) -> Row:
    """10^4 Hodgkin–Huxley neurons under different currents, 100 classical Runge–Kutta steps."""
    full = dynlib.build("builtin://ode/hodgkin_huxley", stepper="rk4", dt=0.01, math=math)
    current = np.linspace(0.0, 20.0, MEMBERS)
    rest = full.initial_state()["y"]

    def theirs() -> np.ndarray:
        y = np.repeat(rest[:, None], MEMBERS, axis=1)
        library.neurons_rk4(pointer(y), pointer(current), MEMBERS, 0.01, 100)
        return y

    return measured(
        f"Hodgkin–Huxley, rk4, 1 thread, {math}", 0.2, rounds,
        lambda: _states(dynlib.ensemble(full, params={"I": current}, N=100, threads=1)), theirs, 1e-8,
    )  # fmt: skip


def measure(rounds: int = 10) -> list[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        library = built(Path(folder))
        rows: list[Row] = []
        for math in ("contract", "strict"):
            rows += lorenz_rk4(library, rounds, math)
            rows += [lorenz_adaptive(library, rounds, stepper, math) for stepper in ("rk45", "dop853")]
            rows += [*logistic(library, rounds, math), neurons(library, rounds, math)]
        return rows


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if shutil.which("gcc") is None:
        sys.exit("this benchmark needs gcc")
    rows = measure(given.rounds)
    print(f"{'ensemble':42} {'C ms':>9} {'here ms':>9} {'ratio':>7} {'target':>7}  difference")
    for row in rows:
        verdict = "" if row.met else "  over"
        print(f"{row.name:42} {row.c * 1e3:9.2f} {row.here * 1e3:9.2f} {row.ratio:7.4f} {row.target:7.4f}  "
              f"{row.difference:.1e}{verdict}")  # fmt: skip
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
