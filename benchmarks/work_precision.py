"""Work and precision of every adaptive stepper on the validation problems; writes docs/validation.md and its pictures.

Each stepper runs each problem of its class at tolerances from 1e-3 to 1e-11, compiled, final state only: the error
against the published solution, the best time of several runs, steps taken and rejected. Steppers that are not made for
stiff problems run those once, with a limit on their steps; what they call done must be right. Symplectic methods make a
million steps, and the energy is followed. Bifurcations are found with the models of the library.

Usage: python benchmarks/work_precision.py [--seconds S] [--only PART_OF_A_NAME] [--keep FILE]
With `--keep` the numbers measured are kept in a file, and only what it lacks is measured. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from kernel_call import KernelCall
from validation.bifurcations import DOUBLINGS, HOPF_POINTS, doubling
from validation.problems import PROBLEMS, Problem, problem, steppers

import dynlib
from dynlib import ConfigError, Status

TOLERANCES = [10.0**-k for k in range(3, 12)]
BUDGET = 3_000_000
LIMIT = 100_000
"""Steps for a stepper on a problem that it is not made for."""
GENTLE = 200
"""Stiff steppers run problems that are not stiff where the errors are amplified by less than this."""
SHOWN = (1e-4, 1e-6, 1e-8, 1e-10)


@dataclass(frozen=True)
class Point:
    """One stepper on one problem at one tolerance.

    `error` is `Problem.error` for rtol = 1; `status` is "refused" where the stepper does not take the model. `seconds`
    are those of the kernel, `whole` those of `Sim.run`.
    """

    problem: str
    stepper: str
    rtol: float
    status: str
    t: float = math.nan
    error: float = math.nan
    seconds: float = math.nan
    whole: float = math.nan
    steps: int = 0
    rejected: int = 0
    note: str = ""


@dataclass(frozen=True)
class Energy:
    """The greatest error of the energy in the first and the last twentieth of a run of fixed steps."""

    problem: str
    stepper: str
    dt: float
    steps: int
    first: float
    last: float
    seconds: float


@dataclass(frozen=True)
class Value:
    """A published number and the one found here."""

    what: str
    published: str
    found: float
    error: float
    source: str


# -- measuring -----------------------------------------------------------------------------------------------------


def point(case: Problem, stepper: str, rtol: float, budget: int, spend: float) -> Point:
    sim = case.prepared(stepper, rtol)
    alone = KernelCall(sim, case.t_end, budget)
    whole, until = math.inf, time.perf_counter() + spend
    while True:
        began = time.perf_counter()
        outcome = case.run(sim, max_steps=budget)
        ended = time.perf_counter()
        whole = min(whole, ended - began)
        if ended > until:
            break
    end = sim.state
    rejected = int(end["rejected"][0]) if "rejected" in end.layout else 0
    error, seconds = math.nan, whole
    if outcome.status is Status.DONE:
        error, seconds = case.error(end["y"], 1.0), alone.seconds(spend)
    found = outcome.status.name, outcome.t, error, seconds, whole, outcome.steps, rejected
    return Point(case.name, stepper, rtol, *found)


def work(case: Problem, stepper: str, tolerances: Sequence[float], budget: int, seconds: float) -> list[Point]:
    """From coarse to fine, as long as a run takes at most two seconds."""
    try:
        case.run(case.prepared(stepper), max_steps=1)
    except ConfigError as refusal:
        return [Point(case.name, stepper, 0.0, "refused", note=str(refusal))]
    found = []
    for rtol in tolerances:
        found.append(point(case, stepper, rtol, budget, seconds))
        if found[-1].seconds > 2.0:
            break
    return found


def measure_all(only: str, seconds: float, known: list[Point]) -> list[Point]:
    """Every stepper on every problem of its class; what is known already is kept."""
    found: list[Point] = []
    for case in PROBLEMS:
        if only not in case.name:
            found += [q for q in known if q.problem == case.name]
            continue
        for spec in (s for stiff in (False, True) for s in steppers(adaptive=True, stiff=stiff)):
            if spec.stiff and spec.family != "switching" and case.kind != "stiff" and case.multiple > GENTLE:
                continue
            there = [q for q in known if (q.problem, q.stepper) == (case.name, spec.name)]
            if there:
                found += there
            elif case.kind != "stiff" or spec.stiff:
                found += work(case, spec.name, TOLERANCES, BUDGET, seconds)
            else:
                found += work(case, spec.name, [1e-6], LIMIT, 0.0)
            last = found[-1]
            print(f"{case.name:40} {spec.name:12} {last.rtol:8.0e} {last.status:14} {last.error:9.2e}", flush=True)
    return found


def energies(only: str, known: list[Energy], steps: int = 1_000_000) -> list[Energy]:
    """Symplectic methods, and classical Runge–Kutta to compare with."""
    cases = (("kepler", 2 * math.pi / 200), ("henon_heiles", 0.05), ("outer_solar_system", 20.0))
    found = []
    for name, dt in cases:
        if only and only not in name:
            found += [e for e in known if e.problem == name]
            continue
        for spec in (dynlib.get_stepper("rk4"), *steppers(adaptive=False, stiff=False, symplectic=True)):
            there = [e for e in known if (e.problem, e.stepper) == (name, spec.name)]
            if there:
                found += there
                continue
            sim = dynlib.Sim(dynlib.build(f"builtin://ode/{name}", stepper=spec.name, dt=dt))
            sim.run(N=1, record=False)
            began = time.perf_counter()
            sim.run(N=steps, record_interval=97, record_vars=["energy"])
            seconds = time.perf_counter() - began
            energy = sim.results()["energy"]
            errors, part = np.abs(energy / energy[0] - 1), len(energy) // 20
            found.append(
                Energy(name, spec.name, dt, steps, float(errors[:part].max()), float(errors[-part:].max()), seconds)
            )
            print(found[-1], flush=True)
    return found


def bifurcations() -> list[Value]:
    found = []
    for point in HOPF_POINTS:
        value = point.locate()
        error = abs(value - point.published)
        found.append(Value(f"Hopf point of {point.name}", digits(point.published), value, error, point.source))
    for k, published in enumerate(DOUBLINGS):
        value = doubling(k)
        source = ("exact: 3", "exact: 1 + √6")[k] if k < 2 else "Newton's method with 16 digits"
        what = f"Logistic map, period {2**k} → {2 ** (k + 1)}"
        found.append(Value(what, digits(published), value, abs(value - published), source))
    return found


# -- pictures ------------------------------------------------------------------------------------------------------

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Okabe & Ito's palette, told apart by the colour-blind too; its yellow is replaced, which is pale on white."""
MARKERS = "os^DvP*X"
TITLES = {"non-stiff": "Problems that are not stiff", "stiff": "Stiff problems"}


def styles(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and line of each stepper; dashed where the colours begin anew."""
    return {
        n: (COLOURS[k % 8], MARKERS[(k + k // 8) % 8], "-" if k < 8 else "--") for k, n in enumerate(names)
    }  # fmt: skip


def picture(points: list[Point], cases: list[Problem], title: str, file: Path) -> None:
    """A panel for each problem: time over error; down and to the left is better."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter, NullLocator

    plt.rcParams.update({"svg.hashsalt": "dynlib", "svg.fonttype": "none", "font.size": 9})
    fits = {p.name: [q for q in points if q.problem == p.name and q.status == "DONE" and q.error > 0] for p in cases}
    names = list(dict.fromkeys(q.stepper for p in cases for q in fits[p.name]))
    look, columns = styles(names), 3
    rows = -(-(len(cases) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(10.5, 3.1 * rows), layout="constrained", squeeze=False)
    panels = axes.ravel()
    for axis, case in zip(panels, cases):
        for name in names:
            line = [q for q in fits[case.name] if q.stepper == name]
            if line:
                colour, marker, dash = look[name]
                errors, times = [q.error for q in line], [1e3 * q.seconds for q in line]
                axis.loglog(errors, times, color=colour, marker=marker, linestyle=dash, markersize=4.5, linewidth=1.3)
        axis.set_title(case.name, fontsize=9.5)
        axis.grid(True, color="0.88", linewidth=0.6)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.invert_xaxis()
        axis.set_xlabel("error at the end")
        axis.set_ylabel("time, ms")
    legend = panels[len(cases)]
    for axis in panels[len(cases) :]:
        axis.axis("off")
    for name in names:
        colour, marker, dash = look[name]
        legend.plot([], [], color=colour, marker=marker, linestyle=dash, label=name)
    if names:
        legend.legend(loc="center", ncols=2 if len(names) > 8 else 1, frameon=False, title="stepper")
    caption = "time over error, from rtol 1e-3 to 1e-11: more exact to the right, faster downwards"
    figure.suptitle(f"{title}: {caption}", fontsize=10.5)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=110)
    plt.close(figure)


# -- the report ----------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(r) + " |" for r in rows), ""]


def digits(x: float) -> str:
    return f"{x:.16g}"


def reached(points: list[Point], cases: list[Problem]) -> list[str]:
    """For each problem the published value of its first component, and the best one reached here."""
    rows = []
    for case in cases:
        done = [q for q in points if q.problem == case.name and q.status == "DONE"]
        if not done:
            continue
        best = min(done, key=lambda q: q.error)
        sim = case.prepared(best.stepper, best.rtol, jit=False)
        case.run(sim, max_steps=BUDGET)
        name = sim.full_model.columns[0]
        rows.append([
            case.name, f"{name} = {digits(case.end[0])}", digits(sim.state_vector()[0]), f"{best.error:.1e}",
            f"`{best.stepper}`, {best.rtol:.0e}", case.source,
        ])  # fmt: skip
    head = ("problem", "published", "reached", "greatest error", "by, rtol", "source")
    return table(head, rows)


def accuracy(points: list[Point], cases: list[Problem]) -> list[str]:
    """A table for each problem: error, steps and time of each stepper at a few tolerances."""
    lines = []
    for case in cases:
        mine = [q for q in points if q.problem == case.name]
        rows = []
        for name in dict.fromkeys(q.stepper for q in mine):
            by_rtol = {q.rtol: q for q in mine if q.stepper == name}
            if not by_rtol.keys() & set(SHOWN):
                continue
            if case.kind == "stiff" and not dynlib.get_stepper(name).stiff:
                continue
            rows.append([f"`{name}`", *(cell(by_rtol.get(rtol)) for rtol in SHOWN)])
        head = ("stepper", *(f"rtol {rtol:.0e}" for rtol in SHOWN))
        atol = "rtol" if case.scale == 1 else f"{case.scale:g} rtol"
        lines += [f"**{case.name}** (atol = {atol}; bound in the tests: {case.multiple:g} × the tolerance)", ""]
        lines += table(head, rows)
    return lines


def cell(q: Point | None) -> str:
    if q is None:
        return "—"
    if q.status != "DONE":
        return f"{q.status} at t = {q.t:.4g}"
    return f"{q.error:.1e}, {q.steps} + {q.rejected} steps, {1e3 * q.seconds:.3g} ms"


def unsuited(points: list[Point]) -> list[str]:
    cases = [p for p in PROBLEMS if p.kind == "stiff"]
    names = [s.name for s in steppers(adaptive=True, stiff=False)]
    rows = []
    for case in cases:
        row = [case.name]
        for name in names:
            found = [q for q in points if q.problem == case.name and q.stepper == name]
            q = found[0] if found else None
            if q is None:
                row.append("—")
            elif q.status == "DONE":
                row.append(f"DONE, error {q.error:.0e}" + ("" if q.error <= bound(q) else " **WRONG**"))
            else:
                row.append(q.status if q.status == "refused" else f"{q.status}, t = {q.t:.3g}")
        rows.append(row)
    return table(("problem, to t", *(f"`{n}`" for n in names)), rows)


def refusals(points: list[Point]) -> list[str]:
    found = [q for q in points if q.status == "refused"]
    return [f"- `{q.stepper}` does not take {q.problem}: {q.note.splitlines()[0]}" for q in found]


def bound(q: Point) -> float:
    """The greatest error that the tests allow."""
    return q.rtol * problem(q.problem).bound(dynlib.get_stepper(q.stepper), q.rtol)


def report(points: list[Point], energy: list[Energy], values: list[Value], about: str) -> str:
    smooth = [p for p in PROBLEMS if p.kind != "stiff"]
    stiff = [p for p in PROBLEMS if p.kind == "stiff"]
    wrong = [q for q in points if q.status == "DONE" and not q.error <= bound(q)]
    refused = refusals(points)
    overhead = statistics.median(
        [q.whole - q.seconds for q in points if q.status == "DONE" and q.whole < 0.01] or [math.nan]
    )
    bifurcation_rows = [[v.what, v.published, digits(v.found), f"{v.error:.0e}", v.source] for v in values]
    energy_rows = [
        [e.problem, f"`{e.stepper}`", f"{e.dt:.4g}", f"{e.first:.1e}", f"{e.last:.1e}", f"{e.seconds:.2f}"]
        for e in energy
    ]
    failures = [f"- {q.problem}, `{q.stepper}`, rtol {q.rtol:.0e}: {q.error:.1e}" for q in wrong]
    parts = [
        INTRODUCTION.format(about=about, overhead=1e6 * overhead),
        "## Values\n",
        *reached(points, [*smooth, *stiff]),
        "## Bifurcations\n",
        *table(("what", "published", "found", "difference", "source"), bifurcation_rows),
        PICTURES,
        *accuracy(points, [*smooth, *stiff]),
        UNSUITED.format(limit=LIMIT),
        *unsuited(points),
        *(["Models that a stepper does not take:", "", *refused, ""] if refused else []),
        "Answers called `DONE` whose error is beyond the bound of the problem (on a chaotic one, a coarse tolerance",
        "bounds nothing: the Lorenz system to T = 20 multiplies errors by a million):" + ("" if failures else " none."),
        *(["", *failures] if failures else []),
        ENERGY,
        *table(("model", "stepper", "dt", "first twentieth", "last twentieth", "time, s"), energy_rows),
    ]
    return "\n".join(parts).rstrip() + "\n"


INTRODUCTION = """\
# Validation: published problems, and what each stepper makes of them

Written by `python benchmarks/work_precision.py`, which measures everything anew. Errors are those at the end of a run:
the greatest of all components, each divided by its size plus the scale of the problem (1 where `atol` = `rtol`), so
that they compare with `rtol`. A tolerance bounds the error of one step; the problem decides what becomes of it on the
way. `tests/validation` holds every adaptive stepper to a multiple of its tolerance on every problem of its class, and
the others to a status that says that the end was not reached. The multiple is stated with each problem; for methods of
order 2, whose error falls as the power 2/3 of the tolerance only, it is larger by 0.2 rtol^(-1/3).

Times are those of the compiled kernel ({about}).
Compare those of one table, since the machine may have been busy. `Sim.run` adds {overhead:.0f} µs to each run (the
median over all of them).
"""
PICTURES = """\
## Work and precision

![Time over error on problems that are not stiff](work-precision-non-stiff.svg)

![Time over error on stiff problems](work-precision-stiff.svg)

Cells give the error, the steps taken + rejected, and the time.
"""
UNSUITED = """\
## What is unsuited for what

Steppers that are not made for stiff problems, at rtol 1e-6 with at most {limit:,} steps: they may stop early, but what
they call `DONE` is right.
"""
ENERGY = """
## Energy over a million steps

The greatest relative error of the energy in the first and in the last twentieth of the steps. A symplectic method keeps
it bounded; with `rk4` it drifts.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.05, help="time spent on the repetitions of one point")
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", type=Path, help="a file of measured numbers: only what it lacks is measured")
    parser.add_argument("--docs", type=Path, default=Path(__file__).parent.parent / "docs")
    arguments = parser.parse_args()
    kept = {"points": [], "energy": []}
    if arguments.keep and arguments.keep.exists():
        kept = json.loads(arguments.keep.read_text("utf-8"))
    points = measure_all(arguments.only, arguments.seconds, [Point(**q) for q in kept["points"]])
    energy = energies(arguments.only, [Energy(**q) for q in kept["energy"]])
    values = bifurcations()
    if arguments.keep:
        text = json.dumps({"points": [asdict(q) for q in points], "energy": [asdict(q) for q in energy]})
        arguments.keep.write_text(text, "utf-8")
    for kind in ("non-stiff", "stiff"):
        cases = [p for p in PROBLEMS if (p.kind == "stiff") == (kind == "stiff")]
        if cases:
            chosen = [q for q in points if kind != "stiff" or dynlib.get_stepper(q.stepper).stiff]
            picture(chosen, cases, TITLES[kind], arguments.docs / f"work-precision-{kind}.svg")
    about = f"{platform.machine()}, Python {platform.python_version()}, best of the runs in {arguments.seconds:g} s"
    (arguments.docs / "validation.md").write_text(report(points, energy, values, about), "utf-8")


if __name__ == "__main__":
    main()
