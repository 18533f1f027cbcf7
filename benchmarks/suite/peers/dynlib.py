"""This checkout: through `Sim.run`, and the compiled kernel called alone."""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))

from validation.problems import problem, steppers

import dynlib
from benchmarks.kernel_call import KernelCall
from benchmarks.suite.right_hand_sides import STIFF, currents, lorenz_starts, some_members
from benchmarks.suite.worker import Prepare, Run, Works
from dynlib import NumericsWarning, Sim, Status

SETTINGS = (
    "`Sim.run` of a prepared session, with `record=False` where only the end counts; beside it the call of the "
    'compiled "kernel alone". `math="strict"` (no fused multiply-add) unless "contract" is named'
)
MOST = 10_000_000
warnings.simplefilter("ignore", NumericsWarning)


def version() -> str:
    return dynlib.__version__


def final(sim: Sim, **extent: Any) -> Run:
    """A run that keeps the final state only."""

    def run() -> np.ndarray[Any, Any] | None:
        outcome = sim.run(record=False, max_steps=None if "N" in extent else MOST, **extent)
        return sim.state_vector() if outcome.status is Status.DONE else None

    return run


def lorenz_rk4(p: dict[str, Any]) -> dict[str, Prepare]:
    def session(math_mode: str) -> Sim:
        return dynlib.setup("builtin://ode/lorenz", stepper="rk4", dt=p["dt"], math=math_mode)

    n = p["steps"]
    return {
        "Sim, contract": lambda: final(session("contract"), N=n),
        "kernel alone, contract": lambda: KernelCall(session("contract"), math.inf, n),
        "Sim": lambda: final(session("strict"), N=n),
        "kernel alone": lambda: KernelCall(session("strict"), math.inf, n),
    }


def lorenz_rk4_recorded(p: dict[str, Any]) -> dict[str, Prepare]:
    n = p["steps"]

    def through_sim(math_mode: str) -> Run:
        sim = dynlib.setup("builtin://ode/lorenz", stepper="rk4", dt=p["dt"], math=math_mode)

        def run() -> np.ndarray[Any, Any]:
            sim.run(N=n)
            data = sim.raw_results().data
            return np.array([*data[n // 2], *data[-1]])

        return run

    def alone() -> Run:
        sim = dynlib.setup("builtin://ode/lorenz", stepper="rk4", dt=p["dt"])
        call = KernelCall(sim, math.inf, n, rows=n + 4)  # it stops before two may not fit
        call.state = sim.state.recorded(1, 0.0)

        def run() -> np.ndarray[Any, Any]:
            y, data = call(), call.samples[3]
            return np.array([*data[n // 2], *(data[n] if np.all(np.isfinite(y)) else y)])

        return run

    return {
        "Sim, contract": lambda: through_sim("contract"),
        "Sim": lambda: through_sim("strict"),
        "kernel alone": alone,
    }


def both(name: str, session: Callable[[], Sim], t_end: float) -> dict[str, Prepare]:
    return {
        name: lambda: final(session(), T=t_end),
        f"{name}, kernel alone": lambda: KernelCall(session(), t_end, MOST),
    }


def lorenz_adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    def session(stepper: str, math_mode: str = "strict") -> Sim:
        return dynlib.setup("builtin://ode/lorenz", stepper=stepper, rtol=p["rtol"], atol=p["atol"], math=math_mode)

    found: dict[str, Prepare] = {}
    for stepper in ("rk45", "dop853", "taylor"):
        found.update(both(stepper, lambda stepper=stepper: session(stepper), p["t_end"]))
    return {**found, **both("rk45, contract", lambda: session("rk45", "contract"), p["t_end"])}


def on_problem(p: dict[str, Any]) -> dict[str, Prepare]:
    case = problem(p["problem"])
    found: dict[str, Prepare] = {}
    for spec in steppers(adaptive=True, stiff=p["system"] in STIFF):
        if spec.order >= 4:
            found.update(both(spec.name, lambda name=spec.name: case.prepared(name, p["rtol"]), p["t_end"]))
    return found


def logistic_orbits(p: dict[str, Any]) -> dict[str, Prepare]:
    grid, kept = np.linspace(p["r_min"], p["r_max"], p["values"]), p["kept"]

    def one_by_one() -> Run:
        sim = dynlib.setup("builtin://map/logistic")

        def run() -> np.ndarray[Any, Any]:
            out = np.empty((len(grid), kept))
            for k, r in enumerate(grid.tolist()):
                sim.run(N=kept, transient=float(p["transient"]), params={"r": r})
                out[k] = sim.raw_results().data[1:, 0]
            return out[:6, -1]

        return run

    def members(found: dynlib.EnsembleResult) -> np.ndarray[Any, Any]:
        return np.array(found.samples["x"][-1, :6] if kept else found["x"][:6])

    def extent() -> dict[str, Any]:
        if not kept:
            return {"N": p["transient"]}
        return {"N": kept, "transient": float(p["transient"]), "record_interval": 1}

    together = in_lanes("builtin://map/logistic", members, lambda: {"params": {"r": grid}, **extent()})
    return together if not kept else {**together, "Sim, one run after another": one_by_one}


def in_lanes(
    model: str, value: Callable[[dynlib.EnsembleResult], Any], given: Callable[[], dict[str, Any]], **build: Any
) -> dict[str, Prepare]:
    """An ensemble under both contracts, on one thread and on two."""

    def prepare(math_mode: str, threads: int) -> Prepare:
        def prepared() -> Run:
            full, arguments = dynlib.build(model, math=math_mode, **build), given()

            def run() -> np.ndarray[Any, Any] | None:
                found = dynlib.ensemble(full, threads=threads, **arguments)
                return value(found) if found.lanes and found.ok.all() else None

            return run

        return prepared

    words = f", {build['stepper']}" if build.get("stepper") not in (None, "rk4") else ""
    return {
        f"ensemble{words}{', 2 threads' if threads == 2 else ''}{', contract' if math_mode == 'contract' else ''}":
            prepare(math_mode, threads)
        for threads in (1, 2)
        for math_mode in ("contract", "strict")
    }  # fmt: skip


def states(found: dynlib.EnsembleResult) -> np.ndarray[Any, Any]:
    return some_members(np.array(list(found.final.values())))


def ensemble_rk4(p: dict[str, Any]) -> dict[str, Prepare]:
    start = {"x": lorenz_starts(p["members"])}
    return in_lanes("builtin://ode/lorenz", states, lambda: {"ic": start, "N": p["steps"]}, stepper="rk4", dt=p["dt"])


def ensemble_adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    start, tolerances = {"x": lorenz_starts(p["members"])}, dict.fromkeys(("rtol", "atol"), p["tolerance"])
    found: dict[str, Prepare] = {}
    for stepper in ("dop853", "rk45"):
        given = {"ic": start, "T": p["t_end"]}
        found |= in_lanes("builtin://ode/lorenz", states, lambda given=given: given, stepper=stepper, **tolerances)
    return found


def ensemble_neurons(p: dict[str, Any]) -> dict[str, Prepare]:
    given = {"params": {"I": currents(p["members"])}, "N": p["steps"]}
    return in_lanes("builtin://ode/hodgkin_huxley", states, lambda: given, stepper="rk4", dt=p["dt"])


def exponents(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        return lambda: (
            dynlib.lyapunov_exponents("builtin://ode/lorenz", N=p["steps"], dt=p["dt"], exponents=p["exponents"]).values
        )

    def alone() -> Run:
        model = dynlib.with_lyapunov(dynlib.load_model("builtin://ode/lorenz"), p["exponents"])
        sim = dynlib.setup(model, dt=p["dt"])
        call, first = KernelCall(sim, math.inf, p["steps"]), sim.state_vector()
        names = [name for q in model.states for name in q.element_names]
        growth = [names.index(f"growth{j + 1}") for j in range(p["exponents"])]
        return lambda: (call() - first)[growth] / (p["steps"] * p["dt"])

    return {"lyapunov_exponents": prepare, "kernel alone": alone}


CHAIN = """inline:
[model]
type = "ode"
name = "chain"
[constants]
N = {n}
[states]
"u[N]" = "0.5 + 0.4*sin(0.05*i) for i in range(N)"
[functions.reaction]
args = ["u"]
expr = "u*(1 - u)*(u - 0.1)"
[equations]
expr = \"\"\"
du[0] = u[1] - u[0] + reaction(u[0])
du[i] = u[i-1] - 2*u[i] + u[i+1] + reaction(u[i]) for i in range(1, N-1)
du[N-1] = u[N-2] - u[N-1] + reaction(u[N-1])
\"\"\"
"""
KURAMOTO = """inline:
[model]
type = "ode"
name = "kuramoto"
[constants]
N = {n}
[states]
"theta[N]" = "sin(3.0*i) for i in range(N)"
[params]
coupling = {coupling}
"omega[N]" = "sin(7.0*i) for i in range(N)"
[equations]
expr = "dtheta[i] = omega[i] + coupling/N*sum(sin(theta[j] - theta[i]) for j in range(N))"
"""


def large(text: str) -> Callable[[dict[str, Any]], dict[str, Prepare]]:
    def works(p: dict[str, Any]) -> dict[str, Prepare]:
        def session(math_mode: str) -> Sim:
            model = dynlib.load_model(text.format(**p))
            return dynlib.setup(model, stepper="rk4", dt=p["dt"], math=math_mode)

        def shown(run: Run) -> Run:
            return lambda: run()[:: p["n"] // 10]

        return {
            "Sim": lambda: shown(final(session("strict"), N=p["steps"])),
            "Sim, contract": lambda: shown(final(session("contract"), N=p["steps"])),
            "kernel alone": lambda: shown(KernelCall(session("strict"), math.inf, p["steps"])),
        }

    return works


def snapshot(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare(durable: bool) -> Run:
        sim = dynlib.setup("builtin://ode/lorenz", stepper="rk4", dt=0.01)
        sim.run(N=100)
        folder = tempfile.TemporaryDirectory(prefix="benchmark-snapshots-")
        path = Path(folder.name, "s.npz")
        sim.create_snapshot("there")
        sim.export_snapshot(path)
        names = (f"s{k}" for k in itertools.count())
        deeds = {
            "create": lambda: sim.create_snapshot(next(names)),
            "reset": lambda: sim.reset("there"),
            "export": lambda: sim.export_snapshot(path, durable=durable),
            "import": lambda: sim.import_snapshot(path),
        }
        deed = deeds[p["deed"]]

        def run(folder: object = folder) -> np.ndarray[Any, Any]:
            deed()
            return sim.state_vector()

        return run

    found: dict[str, Prepare] = {"Sim": lambda: prepare(True)}
    return found | {"Sim, durable=False": lambda: prepare(False)} if p["deed"] == "export" else found


WORKS: Works = {
    "lorenz-rk4": lorenz_rk4,
    "lorenz-rk4-recorded": lorenz_rk4_recorded,
    "lorenz-dp5": lorenz_adaptive,
    "lorenz-to-error": on_problem,
    "arenstorf-to-error": on_problem,
    "van-der-pol": on_problem,
    "van-der-pol-to-error": on_problem,
    "robertson": on_problem,
    "robertson-to-error": on_problem,
    "ensemble-rk4": ensemble_rk4,
    "ensemble-adaptive": ensemble_adaptive,
    "ensemble-neurons": ensemble_neurons,
    "logistic-end": logistic_orbits,
    "logistic-orbits": logistic_orbits,
    "lorenz-exponent": exponents,
    "lorenz-spectrum": exponents,
    "chain-1000": large(CHAIN),
    "chain-100000": large(CHAIN),
    "kuramoto-1000": large(KURAMOTO),
    **{f"snapshot-{deed}": snapshot for deed in ("create", "reset", "export", "import")},
}
