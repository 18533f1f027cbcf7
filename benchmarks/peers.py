"""Time to a given accuracy against heyoka.py, numbalsoda and scipy, all in one run, final state only.

Non-stiff: Lorenz to T = 20 and the Arenstorf orbit, time to a global error of 1e-6 (the greatest of all components).
For each solver the tolerance is scanned from coarse to fine, four values to a power of ten; the coarsest one is taken
that meets the error together with the next finer one, so that no lucky hit counts. Stiff: van der Pol with mu = 1000 to
T = 2000 and Robertson's reaction to 1e11 at rtol 1e-6, and the time to an error no larger than that of numbalsoda's
lsoda. Errors of stiff problems are relative, in units of 1 (see `Problem.error` in tests/validation/problems.py).

The repetitions are interleaved and the best of each is printed. For dynlib that is `Sim.run(T, record=False)` of a
prepared session, and beside it the call of the compiled kernel alone. Peers that are not installed are left out;
requirements/benchmarks.txt says how to install them.

Usage: python benchmarks/peers.py [--rounds N] [--only PART_OF_A_PROBLEM'S_NAME] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from kernel_call import KernelCall
from validation.problems import Problem, Vector, problem, steppers

import dynlib
from dynlib import Status

TARGET = 1e-6
SCAN = [10.0 ** (-k / 4) for k in range(12, 58)]
BUDGET = 2_000_000
SLOWEST = 2.0  # seconds; what needs more in the scan is not measured
Run = Callable[[], Vector]


@dataclass(frozen=True)
class Solver:
    """A solver of one problem: `prepare(rtol)` gives a function that solves it once and returns the final state."""

    name: str
    prepare: Callable[[float], Run]
    bare: bool = False  # a second way to time another row, not compared


# -- dynlib --------------------------------------------------------------------------------------------------------


def through_sim(case: Problem, stepper: str) -> Solver:
    def prepare(rtol: float) -> Run:
        sim = case.prepared(stepper, rtol)

        def run() -> Vector:
            outcome = sim.run(T=case.t_end, record=False, max_steps=BUDGET)
            y = sim.state_vector()
            return y if outcome.status is Status.DONE else np.full(len(y), np.nan)

        return run

    return Solver(f"dynlib {stepper}", prepare)


def kernel_alone(case: Problem, stepper: str) -> Solver:
    def prepare(rtol: float) -> Run:
        return KernelCall(case.prepared(stepper, rtol), case.t_end, BUDGET)

    return Solver(f"dynlib {stepper}, kernel alone", prepare, bare=True)


def dynlib_solvers(case: Problem) -> Iterator[Solver]:
    for spec in steppers(adaptive=True, stiff=case.kind == "stiff"):
        yield through_sim(case, spec.name)
        yield kernel_alone(case, spec.name)


# -- peers ---------------------------------------------------------------------------------------------------------
# The right-hand sides are written as each peer wants them for speed, parameters as constants.


def installed(package: str) -> bool:
    if importlib.util.find_spec(package) is None:
        print(f"{package} is not installed and is left out")
        return False
    return True


def lorenz(s: Any, y: Any, dy: Any) -> None:
    dy[0] = 10.0 * (y[1] - y[0])
    dy[1] = y[0] * (28.0 - y[2]) - y[1]
    dy[2] = y[0] * y[1] - (8 / 3) * y[2]


def arenstorf(s: Any, y: Any, dy: Any) -> None:
    mu, nu = 0.012277471, 1 - 0.012277471
    a = (y[0] + mu) * (y[0] + mu) + y[1] * y[1]
    b = (y[0] - nu) * (y[0] - nu) + y[1] * y[1]
    a, b = a * s(a), b * s(b)
    dy[0] = y[2]
    dy[1] = y[3]
    dy[2] = y[0] + 2 * y[3] - nu * (y[0] + mu) / a - mu * (y[0] - nu) / b
    dy[3] = y[1] - 2 * y[2] - nu * y[1] / a - mu * y[1] / b


def van_der_pol(s: Any, y: Any, dy: Any) -> None:
    dy[0] = y[1]
    dy[1] = 1000.0 * (1 - y[0] * y[0]) * y[1] - y[0]


def robertson(s: Any, y: Any, dy: Any) -> None:
    fast, square = 1e4 * y[1] * y[2], 3e7 * y[1] * y[1]
    dy[0] = -0.04 * y[0] + fast
    dy[1] = 0.04 * y[0] - fast - square
    dy[2] = square


RHS = {"Lorenz": lorenz, "Arenstorf": arenstorf, "van der Pol": van_der_pol, "ROBER": robertson}


def rhs_of(case: Problem) -> Callable[[Any, Any, Any], None]:
    return next(f for name, f in RHS.items() if case.name.startswith(name))


def heyoka_solvers(case: Problem) -> Iterator[Solver]:
    import heyoka

    if case.kind == "stiff":
        return
    start = case.start

    def prepare(rtol: float) -> Run:
        names = [f"x{k}" for k in range(len(start))]
        variables = heyoka.make_vars(*names)
        rates: list[Any] = [0.0] * len(names)
        rhs_of(case)(heyoka.sqrt, variables, rates)
        integrator = heyoka.taylor_adaptive(list(zip(variables, rates)), start.copy(), tol=rtol)

        def run() -> Vector:
            integrator.time = 0.0
            integrator.state[:] = start
            integrator.propagate_until(case.t_end)
            return integrator.state

        return run

    yield Solver("heyoka taylor", prepare)


def numbalsoda_solvers(case: Problem) -> Iterator[Solver]:
    import numba
    import numbalsoda

    inner, root = numba.njit(rhs_of(case)), numba.njit(lambda x: math.sqrt(x))

    @numba.cfunc(numbalsoda.lsoda_sig)
    def rhs(t: Any, y: Any, dy: Any, p: Any) -> None:
        inner(root, y, dy)

    data, times, start = np.zeros(1), np.array([0.0, case.t_end]), case.start

    def solver(name: str, function: Any) -> Solver:
        def prepare(rtol: float) -> Run:
            def run() -> Vector:
                y, ok = function(rhs.address, start, times, data, rtol, rtol * case.scale, BUDGET)
                return y[-1] if ok else np.full(len(start), np.nan)

            return run

        return Solver(name, prepare)

    if case.kind != "stiff":
        yield solver("numbalsoda dop853", numbalsoda.dop853)
    yield solver("numbalsoda lsoda", numbalsoda.lsoda)


def scipy_solvers(case: Problem) -> Iterator[Solver]:
    from scipy.integrate import odeint, solve_ivp

    if case.kind != "stiff":
        return
    inner, start = rhs_of(case), case.start
    n = len(start)

    def rhs(t: float, y: Vector) -> list[float]:
        dy = [0.0] * n
        inner(math.sqrt, y.tolist(), dy)
        return dy

    def radau(rtol: float) -> Run:
        def run() -> Vector:
            found = solve_ivp(rhs, (0.0, case.t_end), start, "Radau", rtol=rtol, atol=rtol * case.scale)
            return np.asarray(found.y[:, -1]) if found.success else np.full(n, np.nan)

        return run

    def lsoda(rtol: float) -> Run:
        def run() -> Vector:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                y, info = odeint(
                    rhs, start, [0.0, case.t_end], rtol=rtol, atol=rtol * case.scale, tfirst=True,
                    full_output=True, mxstep=BUDGET,
                )  # fmt: skip
            return y[-1] if info["message"] == "Integration successful." else np.full(n, np.nan)

        return run

    yield Solver("scipy Radau", radau)
    yield Solver("scipy odeint", lsoda)


def solvers(case: Problem, peers: list[Callable[[Problem], Iterator[Solver]]]) -> Iterator[Solver]:
    yield from dynlib_solvers(case)
    for peer in peers:
        yield from peer(case)


# -- measuring -----------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    solver: Solver
    rtol: float
    error: float
    run: Run
    seconds: float = math.inf

    def slow(self) -> bool:
        """Whether a run that is not the first, which may compile something, takes too long."""
        began = time.perf_counter()
        self.run()
        return time.perf_counter() - began > SLOWEST

    def once(self) -> None:
        """The best of a few milliseconds of runs."""
        until = time.perf_counter() + 5e-3
        while True:
            began = time.perf_counter()
            self.run()
            ended = time.perf_counter()
            self.seconds = min(self.seconds, ended - began)
            if ended > until:
                return


def error_of(case: Problem, y: Vector) -> float:
    if case.kind == "stiff":
        return case.error(y, 1.0)
    return float(np.max(np.abs(y - case.end)))


def at_tolerance(case: Problem, solver: Solver, rtol: float) -> Measured:
    run = solver.prepare(rtol)
    return Measured(solver, rtol, error_of(case, run()), run)


def to_error(case: Problem, solver: Solver, target: float) -> Measured | None:
    """The coarsest tolerance that meets the error together with the next finer one."""
    before: Measured | None = None
    for rtol in SCAN:
        now = at_tolerance(case, solver, rtol)
        if now.error <= target:
            if before is not None:
                return before
            before = now
        else:
            before = None
            if now.slow():
                return None
    return None


def table(title: str, rows: list[Measured], peer: str, rounds: int) -> list[str]:
    for _ in range(rounds):
        for row in rows:
            row.once()
    base = {row.solver.name: row.seconds for row in rows}
    lines = [f"**{title}**", ""]
    columns = [name for name in (peer, "numbalsoda lsoda") if name in base]
    columns = list(dict.fromkeys([*columns, *(n for n in base if n == "numbalsoda dop853")]))
    lines += [
        "| solver | rtol | error | time, µs | " + " | ".join(f"× {name}" for name in columns) + " |",
        "|---|---|---|---|" + "---|" * len(columns),
    ]
    for row in sorted(rows, key=lambda r: r.seconds):
        ratios = " | ".join(f"{row.seconds / base[name]:.2f}" for name in columns)
        lines.append(f"| {row.solver.name} | {row.rtol:.1e} | {row.error:.1e} | {row.seconds * 1e6:.1f} | {ratios} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", default="")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", dynlib.NumericsWarning)
    known = {"heyoka": heyoka_solvers, "numbalsoda": numbalsoda_solvers, "scipy": scipy_solvers}
    peers = [make for package, make in known.items() if installed(package)]
    lines = [
        f"{platform.machine()}, Python {platform.python_version()}, best of {arguments.rounds} interleaved rounds",
        "",
    ]

    def show(new: list[str]) -> None:
        print("\n".join(new), flush=True)
        lines.extend(new)

    for name in ("Lorenz, T = 20", "Arenstorf"):
        if arguments.only in name:
            case = problem(name)
            rows = [row for s in solvers(case, peers) if (row := to_error(case, s, TARGET)) is not None]
            show(table(f"{case.name}: time to a global error of {TARGET:g}", rows, "heyoka taylor", arguments.rounds))
    for name in ("van der Pol, mu = 1000", "ROBER"):
        if arguments.only in name:
            case = problem(name)
            everyone = list(solvers(case, peers))
            rows = [row for s in everyone if math.isfinite((row := at_tolerance(case, s, TARGET)).error)]
            show(table(f"{case.name}: rtol {TARGET:g}", rows, "numbalsoda lsoda", arguments.rounds))
            target = next((r.error for r in rows if r.solver.name == "numbalsoda lsoda"), 1e-5)
            mine = [s for s in everyone if s.name.startswith("dynlib") or s.name == "numbalsoda lsoda"]
            fitting = [row for s in mine if (row := to_error(case, s, target)) is not None]
            show(table(f"{case.name}: time to an error of {target:.1e}", fitting, "numbalsoda lsoda", arguments.rounds))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines), "utf-8")


if __name__ == "__main__":
    main()
