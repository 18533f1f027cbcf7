"""Hand-written C, compiled twice: with fused multiply-add, and without, as the strict contract of dynlib has it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite.right_hand_sides import NEURON_AT_REST, STIFF, currents, lorenz_starts, some_members
from benchmarks.suite.worker import Prepare, Run, Works
from dynlib.steppers.rosenbrock import RODAS4

SOURCES = Path(__file__).parent.parent / "c"
FLAGS = {"fused": ["-O3", "-march=native"], "not fused": ["-O3", "-march=native", "-ffp-contract=off"]}
SETTINGS = "gcc `-O3 -march=native`, and the same with `-ffp-contract=off`; called through ctypes"
MOST = 10_000_000
Array = np.ndarray[Any, np.dtype[np.float64]]


def version() -> str:
    return subprocess.run(["gcc", "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    made = tempfile.TemporaryDirectory(prefix="benchmark-c-")
    rows = {"A": RODAS4.a, "C": RODAS4.C}
    lines = [f"#define GAMMA {RODAS4.gamma!r}"]
    for name, table in rows.items():
        inner = ", ".join("{" + (", ".join(map(repr, row)) or "0") + "}" for row in table)
        lines.append(f"static const double {name}[6][6] = {{{inner}}};")
    Path(made.name, "rodas4.h").write_text("\n".join(lines) + "\n", "utf-8")
    return made


@cache
def library(source: str, flags: str) -> ctypes.CDLL:
    """A source file compiled with a set of flags."""
    target = os.path.join(folder().name, f"{source}-{flags.replace(' ', '-')}.so")
    options = [*FLAGS[flags], "-shared", "-fPIC", f"-I{folder().name}"]
    subprocess.run(["gcc", *options, str(SOURCES / f"{source}.c"), "-o", target, "-lm"], check=True)
    return ctypes.CDLL(target)


def pointer(a: np.ndarray[Any, Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(a.ctypes.data)


def real(x: float) -> ctypes.c_double:
    return ctypes.c_double(x)


def whole(n: int) -> ctypes.c_long:
    return ctypes.c_long(n)


def both(source: str, name: str, run: Callable[[Any], Any]) -> dict[str, Prepare]:
    """The work with both sets of flags; `run` calls the function."""

    def prepare(flags: str) -> Prepare:
        def prepared() -> Run:
            function = library(source, flags)[name]
            return lambda: run(function)

        return prepared

    return {flags: prepare(flags) for flags in FLAGS}


def lorenz_rk4(p: dict[str, Any]) -> dict[str, Prepare]:
    def run(function: Any) -> Array:
        y = np.array(p["start"])
        function(pointer(y), real(p["dt"]), whole(p["steps"]))
        return y

    return both("lorenz", "lorenz_rk4", run)


def lorenz_rk4_recorded(p: dict[str, Any]) -> dict[str, Prepare]:
    n = p["steps"]

    def run(function: Any) -> Array:
        y, t, step, data = np.array(p["start"]), np.empty(n + 1), np.empty(n + 1, np.int64), np.empty((n + 1, 3))
        function(pointer(y), real(0.0), real(p["dt"]), whole(n), pointer(t), pointer(step), pointer(data))
        return np.array([*data[n // 2], *data[-1]])

    return both("lorenz", "lorenz_rk4_recorded", run)


def lorenz_exponents(p: dict[str, Any]) -> dict[str, Prepare]:
    def run(function: Any) -> Array:
        y, out = np.array(p["start"]), np.empty(p["exponents"])
        function(pointer(y), real(p["dt"]), whole(p["steps"]), pointer(out))
        return out

    return both("lorenz", f"lorenz_exponents_{p['exponents']}", run)


def adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    source, method = ("stiff", "rodas4") if p["system"] in STIFF else ("adaptive", "dopri5")

    def run(function: Any) -> Array | None:
        y = np.array(p["start"])
        done = function(pointer(y), real(p["t_end"]), real(p["rtol"]), real(p["atol"]), whole(MOST))
        return y if done else None

    return both(source, f"{p['system']}_{method}", run)


def logistic_orbits(p: dict[str, Any]) -> dict[str, Prepare]:
    r, kept = np.linspace(p["r_min"], p["r_max"], p["values"]), p["kept"]

    def run(function: Any) -> Array:
        out = np.empty((len(r), kept))
        function(pointer(r), whole(len(r)), whole(p["transient"]), whole(kept), pointer(out))
        return out[:6, -1]

    return both("systems", "logistic_orbits", run)


def logistic_end(p: dict[str, Any]) -> dict[str, Prepare]:
    r = np.linspace(p["r_min"], p["r_max"], p["values"])

    def run(function: Any) -> Array:
        out = np.empty((len(r), 1))
        function(pointer(r), whole(len(r)), whole(p["transient"] - 1), whole(1), pointer(out))
        return out[:6, 0]

    return both("systems", "logistic_orbits", run)


def ensemble(name: str, *given: str) -> Callable[[dict[str, Any]], dict[str, Prepare]]:
    """Lorenz trajectories one after another; `given` are the parameters beside the states and their number."""

    def work(p: dict[str, Any]) -> dict[str, Prepare]:
        def run(function: Any) -> Array:
            y = np.ones((3, p["members"]))
            y[0] = lorenz_starts(p["members"])
            numbers = [whole(p[key]) if key == "steps" else real(p[key]) for key in given]
            function(pointer(y), whole(p["members"]), *numbers)
            return some_members(y)

        return both("ensembles", name, run)

    return work


def neurons(p: dict[str, Any]) -> dict[str, Prepare]:
    current = currents(p["members"])

    def run(function: Any) -> Array:
        y = np.repeat(np.array(NEURON_AT_REST)[:, None], p["members"], axis=1)
        function(pointer(y), pointer(current), whole(p["members"]), real(p["dt"]), whole(p["steps"]))
        return some_members(y)

    return both("ensembles", "neurons_rk4", run)


def chain(p: dict[str, Any]) -> dict[str, Prepare]:
    n = p["n"]

    def run(function: Any) -> Array:
        y = 0.5 + 0.4 * np.sin(0.05 * np.arange(n))
        function(pointer(y), whole(n), real(p["dt"]), whole(p["steps"]))
        return y[:: n // 10]

    return both("systems", "run_chain", run)


def kuramoto(p: dict[str, Any]) -> dict[str, Prepare]:
    n = p["n"]
    omega = np.sin(7.0 * np.arange(n))

    def run(function: Any) -> Array:
        y = np.sin(3.0 * np.arange(n))
        function(pointer(y), pointer(omega), real(p["coupling"]), whole(n), real(p["dt"]), whole(p["steps"]))
        return y[:: n // 10]

    return both("systems", "run_kuramoto", run)


WORKS: Works = {
    "lorenz-rk4": lorenz_rk4,
    "lorenz-rk4-recorded": lorenz_rk4_recorded,
    "lorenz-dp5": adaptive,
    "lorenz-to-error": adaptive,
    "arenstorf-to-error": adaptive,
    "van-der-pol": adaptive,
    "van-der-pol-to-error": adaptive,
    "robertson": adaptive,
    "robertson-to-error": adaptive,
    "ensemble-rk4": ensemble("lorenz_rk4", "dt", "steps"),
    "ensemble-adaptive": ensemble("lorenz_dopri5", "t_end", "tolerance"),
    "ensemble-neurons": neurons,
    "logistic-end": logistic_end,
    "logistic-orbits": logistic_orbits,
    "lorenz-exponent": lorenz_exponents,
    "lorenz-spectrum": lorenz_exponents,
    "chain-1000": chain,
    "chain-100000": chain,
    "kuramoto-1000": kuramoto,
}
