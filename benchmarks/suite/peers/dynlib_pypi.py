"""The PyPI package called dynlib, which is another project, in version 0.42."""

from __future__ import annotations

import importlib.metadata
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from dynlib.runtime.observers import lyapunov_mle_observer, lyapunov_spectrum_observer

import dynlib
from benchmarks.suite.worker import Prepare, Run, Works

SETTINGS = "`setup(jit=True, disk_cache=True)`, `record=False` where only the end counts, its `fastpath` where it fits"
MOST = 20_000_000
LORENZ = "builtin://ode/lorenz"


def version() -> str:
    return importlib.metadata.version("dynlib")


def final(sim: Any, **more: Any) -> Run:
    def run() -> Any:
        sim.reset()
        sim.run(record=False, max_steps=MOST, **more)
        return sim.state_vector()

    return run


def session(model: str, stepper: str) -> Any:
    return dynlib.setup(model, stepper=stepper, jit=True, disk_cache=True)


def lorenz_rk4(p: dict[str, Any]) -> dict[str, Prepare]:
    return {"Sim": lambda: final(session(LORENZ, "rk4"), T=p["dt"] * p["steps"], dt=p["dt"])}


def lorenz_rk4_recorded(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        sim, n = session(LORENZ, "rk4"), p["steps"]

        def run() -> Any:
            sim.reset()
            sim.run(T=p["dt"] * n, dt=p["dt"], record=True, max_steps=MOST, cap_rec=n + 2)
            found = sim.results()
            return np.array([found[q][k] for k in (n // 2, n) for q in "xyz"])

        return run

    return {"Sim": prepare}


ARENSTORF = """inline:
[model]
type = "ode"
[states]
x = 0.994
y = 0.0
u = 0.0
v = -2.00158510637908252240537862224
[params]
mu = 0.012277471
nu = 0.987722529
[equations.rhs]
x = "u"
y = "v"
u = "x + 2*v - nu*(x + mu)/((x + mu)**2 + y**2)**1.5 - mu*(x - nu)/((x - nu)**2 + y**2)**1.5"
v = "y - 2*u - nu*y/((x + mu)**2 + y**2)**1.5 - mu*y/((x - nu)**2 + y**2)**1.5"
"""
VAN_DER_POL = """inline:
[model]
type = "ode"
[states]
x = 2.0
y = 0.0
[equations.rhs]
x = "y"
y = "1000.0*(1 - x*x)*y - x"
[equations.jacobian]
expr = [["0", "1"], ["-2000.0*x*y - 1", "1000.0*(1 - x*x)"]]
"""
ROBERTSON = """inline:
[model]
type = "ode"
[states]
A = 1.0
B = 0.0
C = 0.0
[equations.rhs]
A = "-0.04*A + 1e4*B*C"
B = "0.04*A - 1e4*B*C - 3e7*B*B"
C = "3e7*B*B"
[equations.jacobian]
expr = [["-0.04", "1e4*C", "1e4*B"], ["0.04", "-1e4*C - 6e7*B", "-1e4*B"], ["0", "6e7*B", "0"]]
"""
MODELS = {"lorenz": LORENZ, "arenstorf": ARENSTORF, "van_der_pol": VAN_DER_POL, "robertson": ROBERTSON}


def adaptive(p: dict[str, Any]) -> dict[str, Prepare]:
    stepper = "tr-bdf2a" if p["system"] in ("van_der_pol", "robertson") else "rk45"

    def prepare() -> Run:
        sim = session(MODELS[p["system"]], stepper)
        return final(sim, T=p["t_end"], dt=1e-4, rtol=p["rtol"], atol=p["atol"])

    return {stepper: prepare}


def logistic_orbits(p: dict[str, Any]) -> dict[str, Prepare]:
    grid, kept = np.linspace(p["r_min"], p["r_max"], p["values"]), p["kept"]

    def prepare() -> Run:
        sim = session("builtin://map/logistic", "map")

        def run() -> Any:
            out = np.empty((len(grid), kept))
            for k, r in enumerate(grid):
                view = sim.fastpath(N=kept, transient=p["transient"], params=np.array([r]), record_vars=["x"],
                                    ic=np.array([0.2]))  # fmt: skip
                out[k] = view["x"][-kept:]
            return out[:6, -1]

        return run

    return {"fastpath, one run after another": prepare}


def exponents(p: dict[str, Any]) -> dict[str, Prepare]:
    k = p["exponents"]

    def prepare() -> Run:
        sim = session(LORENZ, "rk4")
        every = {"model": sim.model, "record_interval": 1000}  # made once: each one is compiled anew
        observer = lyapunov_mle_observer(**every) if k == 1 else lyapunov_spectrum_observer(k=k, **every)

        def run() -> Any:
            sim.reset()
            sim.run(T=p["dt"] * p["steps"], dt=p["dt"], record=False, max_steps=MOST, observers=observer)
            found = sim.results().observers["lyapunov_mle" if k == 1 else "lyapunov_spectrum"]
            return [found.mle] if k == 1 else [found[f"lyap{j}"][-1] for j in range(k)]

        return run

    return {"observer": prepare}


def snapshot(p: dict[str, Any]) -> dict[str, Prepare]:
    def prepare() -> Run:
        sim = session(LORENZ, "rk4")
        sim.run(T=1.0, dt=0.01)
        folder = tempfile.TemporaryDirectory(prefix="benchmark-snapshots-")
        path = Path(folder.name, "s.npz")
        sim.create_snapshot("there")
        sim.export_snapshot(path)
        names = (f"s{k}" for k in itertools.count())
        deeds = {
            "create": lambda: sim.create_snapshot(next(names)),
            "reset": lambda: sim.reset("there"),
            "export": lambda: sim.export_snapshot(path),
            "import": lambda: sim.import_snapshot(path),
        }
        deed = deeds[p["deed"]]

        def run(folder: object = folder) -> Any:
            deed()
            return sim.state_vector()

        return run

    return {"Sim": prepare}


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
    "logistic-orbits": logistic_orbits,
    "lorenz-exponent": exponents,
    "lorenz-spectrum": exponents,
    **{f"snapshot-{deed}": snapshot for deed in ("create", "reset", "export", "import")},
}
