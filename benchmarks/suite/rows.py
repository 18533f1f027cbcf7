"""The work that is measured: a row for each, with what all who do it must agree on."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from validation.problems import Problem, problem

Parameters = dict[str, Any]
Kind = Literal["work", "to_error", "fresh"]


@dataclass(frozen=True)
class Row:
    """One piece of work, the same for everybody.

    `parameters` describe it to the adapters of `peers/`, which offer the names of rows that they can do. What is timed
    stands for `units` times `unit`. Everyone's value must lie within `agree` of the `reference` (where there is none,
    of the C that does not fuse; without C, of dynlib's): the greatest difference of a component over its size plus
    `scale`. Where rounding errors grow without limit, or the value is large, `checked` replaces those parameters for a
    smaller piece of the same work, which is compared instead.

    `kind`: "work" is done by a worker again and again; "to_error" is work with a tolerance, first scanned for the
    coarsest one that meets the error `target`; "fresh" is a program of `fresh.py` that runs in a process of its own.
    `amount` is what is measured: seconds, megabytes, or times something. `base` is the peer and variant that the others
    are divided by. `quick` replaces parameters for a tiny run.
    """

    name: str
    title: str
    unit: str
    units: float = 1.0
    parameters: Parameters = field(default_factory=dict)
    checked: Parameters = field(default_factory=dict)
    agree: float = 0.0
    reference: tuple[float, ...] | None = None
    scale: float = 1.0
    kind: Kind = "work"
    target: float = math.nan
    base: tuple[str, str] = ("c", "fused")
    amount: str = "seconds"
    quick: Parameters = field(default_factory=dict)


STEPS = 1_000_000
MEMBERS = 10_000
LORENZ = {"system": "lorenz", "start": [1.0, 1.0, 1.0]}


def of_problem(name: str, system: str, rtol: float) -> Parameters:
    case = problem(name)
    tolerances = {"rtol": rtol, "atol": rtol * case.scale, "atol_per_rtol": case.scale}
    return {"system": system, "problem": name, "start": case.start.tolist(), "t_end": case.t_end, **tolerances}


def end_of(case: Problem) -> tuple[float, ...]:
    return tuple(case.end.tolist())


def to_error(row: str, title: str, name: str, system: str, target: float) -> Row:
    case = problem(name)
    return Row(
        row, title, "run", 1, of_problem(name, system, 1e-6), kind="to_error", target=target, agree=target,
        reference=end_of(case), scale=case.scale if case.kind == "stiff" else 1.0,
    )  # fmt: skip


def stiff(row: str, title: str, name: str, system: str) -> Row:
    case = problem(name)
    return Row(
        row, title, "run", 1, of_problem(name, system, 1e-6), agree=1e-3, reference=end_of(case), scale=case.scale
    )  # fmt: skip


def snapshot(deed: str) -> Row:
    return Row(
        f"snapshot-{deed}", f"snapshot of the Lorenz session: {deed}", "call", 1, {"deed": deed}, agree=1e-12,
        base=("dynlib", "Sim"),
    )  # fmt: skip


RK4 = {**LORENZ, "dt": 1e-3, "steps": STEPS}
ROWS = (
    Row(
        "lorenz-rk4", "Lorenz RK4, final state", "step", STEPS, RK4,
        checked={"steps": 5000}, agree=1e-10, quick={"steps": 1000},
    ),
    Row(
        "lorenz-rk4-recorded", "Lorenz RK4, every step recorded", "step", STEPS, RK4,
        checked={"steps": 5000}, agree=1e-10, quick={"steps": 1000},
    ),
    Row(
        "lorenz-dp5", "Lorenz, rtol = atol = 1e-9, T = 1000", "run", 1,
        {**LORENZ, "t_end": 1000.0, "rtol": 1e-9, "atol": 1e-9, "atol_per_rtol": 1.0},
        checked={"t_end": 10.0}, agree=1e-4, quick={"t_end": 10.0},
    ),
    to_error("lorenz-to-error", "Lorenz to T = 20: time to a global error of 1e-6", "Lorenz, T = 20", "lorenz", 1e-6),
    to_error("arenstorf-to-error", "Arenstorf orbit: time to a global error of 1e-6", "Arenstorf", "arenstorf", 1e-6),
    stiff("van-der-pol", "van der Pol, µ = 1000, T = 2000, rtol 1e-6", "van der Pol, mu = 1000", "van_der_pol"),
    to_error(
        "van-der-pol-to-error", "van der Pol, µ = 1000: time to an error of 1e-5", "van der Pol, mu = 1000",
        "van_der_pol", 1e-5,
    ),
    stiff("robertson", "Robertson to 1e11, rtol 1e-6", "ROBER", "robertson"),
    to_error("robertson-to-error", "Robertson to 1e11: time to an error of 1e-5", "ROBER", "robertson", 1e-5),
    Row(
        "ensemble-rk4", "10⁴ Lorenz trajectories, RK4, final states", "step", MEMBERS * 1000,
        {"members": MEMBERS, "dt": 0.01, "steps": 1000}, checked={"steps": 500}, agree=1e-6, quick={"steps": 10},
    ),
    Row(
        "ensemble-adaptive", "1000 Lorenz trajectories to t = 10, rtol = atol = 1e-9", "trajectory", 1000,
        {"members": 1000, "t_end": 10.0, "tolerance": 1e-9}, agree=1e-5, quick={"t_end": 0.1},
    ),
    Row(
        "ensemble-neurons", "10⁴ Hodgkin–Huxley neurons, RK4, final states", "step", MEMBERS * 100,
        {"members": MEMBERS, "dt": 0.01, "steps": 100}, agree=1e-8, quick={"steps": 2},
    ),
    Row(
        "logistic-end", "10⁴ values of r, 1100 iterations of the logistic map, final states", "iteration", 1.1e7,
        {"r_min": 2.8, "r_max": 4.0, "values": 10_000, "transient": 1100, "kept": 0},
        checked={"r_min": 2.9, "r_max": 3.4, "values": 6}, agree=1e-6, quick={"values": 20},
    ),
    Row(
        "logistic-orbits", "logistic orbit diagram, 10⁴ values of r × 1100", "iteration", 1.1e7,
        {"r_min": 2.8, "r_max": 4.0, "values": 10_000, "transient": 1000, "kept": 100},
        checked={"r_min": 2.9, "r_max": 3.4, "values": 6}, agree=1e-6, quick={"values": 20},
    ),
    Row(
        "lorenz-exponent", "Lorenz maximal Lyapunov exponent, RK4", "step", 100_000,
        {**LORENZ, "dt": 0.01, "steps": 100_000, "exponents": 1}, agree=0.02, reference=(0.9056,),
        quick={"steps": 30000},
    ),
    Row(
        "lorenz-spectrum", "Lorenz spectrum of Lyapunov exponents, RK4", "step", 100_000,
        {**LORENZ, "dt": 0.01, "steps": 100_000, "exponents": 3}, agree=0.02, reference=(0.9056, 0.0, -14.5723),
        quick={"steps": 30000},
    ),
    Row(
        "chain-1000", "reaction–diffusion chain, N = 1000, RK4", "step", 2000,
        {"n": 1000, "dt": 0.1, "steps": 2000}, checked={"steps": 100}, agree=1e-11, quick={"steps": 10},
    ),
    Row(
        "chain-100000", "reaction–diffusion chain, N = 100,000, RK4", "step", 50,
        {"n": 100_000, "dt": 0.1, "steps": 50}, checked={"steps": 10}, agree=1e-11, quick={"steps": 2},
    ),
    Row(
        "kuramoto-1000", "Kuramoto, N = 1000, all pairs, RK4", "step", 4,
        {"n": 1000, "dt": 0.01, "steps": 4, "coupling": 2.0}, agree=1e-11, quick={"n": 50},
    ),
    *(snapshot(deed) for deed in ("create", "reset", "export", "import")),
    Row(
        "first-result-cold", "fresh process to Lorenz T = 10, nothing cached", "process", kind="fresh",
        parameters={"cache": "empty"}, agree=0.05, base=("heyoka", "first"),
    ),
    Row(
        "first-result-warm", "fresh process to Lorenz T = 10, caches warm", "process", kind="fresh",
        parameters={"cache": "warm"}, agree=0.05, base=("heyoka", "first"),
    ),
    *(
        Row(
            f"build-chain-{n}", f"reaction–diffusion chain, N = {n:,}: from the model to its first step", "build",
            kind="fresh", parameters={"cache": "empty", "n": n}, base=("dynlib", "first step"),
        )
        for n in (1000, 100_000)
    ),
    Row(
        "memory-unrecorded", "growth of the peak memory over 10⁸ steps of Lorenz RK4 without recording", "run",
        kind="fresh", amount="megabytes", base=("dynlib", "RK4"), quick={"steps": 100_000},
        parameters={"cache": "empty", "steps": 100_000_000},
    ),
    Row(
        "memory-recorded", "peak memory while recording 4·10⁶ samples, over the size of the samples", "run",
        kind="fresh", amount="times", base=("dynlib", "samples foreseen"), quick={"samples": 100_000},
        parameters={"cache": "empty", "samples": 4_000_000},
    ),
)  # fmt: skip
