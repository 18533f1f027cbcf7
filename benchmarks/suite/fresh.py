"""Programs that run in a process of their own: first results, builds, and memory.

Each reads its parameters `p` and prints one line of JSON: the `value` it computed, and what it measured itself
(`amount`), if that is not the time from its start to its end. They are written as their users would.
"""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

HEAD = "import json, sys\np = json.loads(sys.argv[1])\n"

_SETUP = "import dynlib\nsim = dynlib.setup('builtin://ode/lorenz', stepper='rk45', {options})\n"
_FIRST = (
    "sim.run(T=10.0, {run})\nfound = sim.results()\nprint(json.dumps({{'value': [found[q][-1] for q in 'xyz']}}))\n"
)
_RHS = "def f(t, y):\n    return [10.0 * (y[1] - y[0]), y[0] * (28.0 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]\n"

FIRST = {
    "dynlib": {
        "compiled": (_SETUP + _FIRST).format(options="rtol=1e-6, atol=1e-6", run=""),
        "jit=False": (_SETUP + _FIRST).format(options="rtol=1e-6, atol=1e-6, jit=False", run=""),
    },
    "dynlib_pypi": {
        "jit=True": (_SETUP + _FIRST).format(options="jit=True, disk_cache=True", run="dt=1e-3, rtol=1e-6, atol=1e-6"),
        "jit=False": (_SETUP + _FIRST).format(options="jit=False", run="dt=1e-3, rtol=1e-6, atol=1e-6"),
    },
    "heyoka": {
        "first": """\
import heyoka
x, y, z = heyoka.make_vars("x", "y", "z")
system = [(x, 10.0 * (y - x)), (y, x * (28.0 - z) - y), (z, x * y - 8 / 3 * z)]
integrator = heyoka.taylor_adaptive(system, [1.0, 1.0, 1.0], tol=1e-6)
integrator.propagate_until(10.0)
print(json.dumps({"value": list(integrator.state)}))
"""
    },
    "numbalsoda": {
        "lsoda": """\
import numba, numbalsoda, numpy as np
@numba.cfunc(numbalsoda.lsoda_sig)
def rhs(t, y, dy, q):
    dy[0] = 10.0 * (y[1] - y[0])
    dy[1] = y[0] * (28.0 - y[2]) - y[1]
    dy[2] = y[0] * y[1] - 8 / 3 * y[2]
y, ok = numbalsoda.lsoda(rhs.address, np.ones(3), np.array([0.0, 10.0]), np.zeros(1), 1e-6, 1e-6)
print(json.dumps({"value": list(y[-1])}))
"""
    },
    "scipy": {
        "RK45": "from scipy.integrate import solve_ivp\n"
        + _RHS
        + "y = solve_ivp(f, (0.0, 10.0), [1.0, 1.0, 1.0], 'RK45', rtol=1e-6, atol=1e-6).y\n"
        + "print(json.dumps({'value': list(y[:, -1])}))\n"
    },
    "cyrk": {
        "pysolve_ivp": "import numpy as np\nfrom CyRK import pysolve_ivp\n"
        + _RHS.replace("    return", "    return np.array(").replace("]\n", "])\n").replace("array( [", "array([")
        + "y = pysolve_ivp(f, (0.0, 10.0), np.ones(3), method='RK45', rtol=1e-6, atol=1e-6).y\n"
        + "print(json.dumps({'value': list(y[:, -1])}))\n"
    },
    "diffrax": {
        "Dopri5": """\
import jax
jax.config.update("jax_enable_x64", True)
import diffrax, jax.numpy as jnp
def f(t, y, args):
    return jnp.stack([10.0 * (y[1] - y[0]), y[0] * (28.0 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])
control = diffrax.PIDController(rtol=1e-6, atol=1e-6)
found = diffrax.diffeqsolve(
    diffrax.ODETerm(f), diffrax.Dopri5(), 0.0, 10.0, None, jnp.ones(3), stepsize_controller=control, max_steps=100_000
)
print(json.dumps({"value": found.ys[-1].tolist()}))
"""
    },
    "pynamicalsys": {
        "rk4": """\
from pynamicalsys import ContinuousDynamicalSystem
system = ContinuousDynamicalSystem(model="lorenz system")
system.integrator("rk4", time_step=0.01)
y = system.evolve_system([1.0, 1.0, 1.0], 9.99, parameters=[10.0, 28.0, 8 / 3])
print(json.dumps({"value": list(y)}))
"""
    },
    "tsdynamics": {
        "RK45": """\
import tsdynamics
found = tsdynamics.systems.Lorenz().run(10.0, dt=10.0, ic=[1.0, 1.0, 1.0], rtol=1e-6, atol=1e-6)
print(json.dumps({"value": list(found.y[-1])}))
"""
    },
}

BUILD = {
    "dynlib": {
        "first step": f"""\
import time, dynlib
sys.path.insert(0, {str(CHECKOUT)!r})
from benchmarks.suite.peers.dynlib import CHAIN
def first_step(model):
    dynlib.setup(model, stepper="rk4", dt=0.1).run(N=1, record=False)
first_step("builtin://ode/exponential_decay")  # what the first kernel of a process needs is not counted
began = time.perf_counter()
first_step(dynlib.load_model(CHAIN.format(**p)))
print(json.dumps({{"value": None, "amount": time.perf_counter() - began}}))
"""
    },
    "diffrax": {
        "jax loop": f"""\
import time
sys.path.insert(0, {str(CHECKOUT)!r})
from benchmarks.suite.peers.diffrax import WORKS
first = WORKS["chain-1000"]({{"n": 10, "dt": 0.1, "steps": 1}})["jax loop"]()
first()  # what the first compilation of a process needs is not counted
began = time.perf_counter()
WORKS["chain-1000"]({{"n": p["n"], "dt": 0.1, "steps": 0}})["jax loop"]()()
print(json.dumps({{"value": None, "amount": time.perf_counter() - began}}))
"""
    },
}

_MEMORY = """\
def memory(name):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))
def begin():
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
    return memory("VmRSS")
def growth(before):
    return memory("VmHWM") - before
"""
_LORENZ = _MEMORY + "import dynlib\nsim = dynlib.setup('builtin://ode/lorenz', stepper={stepper!r}, {options})\n"
_UNRECORDED = """\
sim.run({extent}, record=False)
sim.run({extent}, record=False)
before = begin()
sim.run({long}, record=False, max_steps=10**15)
print(json.dumps({{"value": None, "amount": growth(before) / 1e6}}))
"""
_RECORDED = """\
sim.run({extent})
sim.results().t
before = begin()
sim.run({long}, max_steps=10**15)
{then}
peak = growth(before)
print(json.dumps({{"value": None, "amount": peak / ({bytes} * len(sim.results().t))}}))
"""
_FIXED = {"stepper": "rk4", "options": "dt=1e-3"}
_ADAPTIVE = {"stepper": "rk45", "options": "rtol=1e-9, atol=1e-9"}
PER_STEP = 6.5e-3
"""Time of a step of rk45 at 1e-9, about."""


def _unrecorded(method: dict[str, str], extent: str, long: str) -> str:
    return (_LORENZ + _UNRECORDED).format(**method, extent=extent, long=long)


def _recorded(method: dict[str, str], extent: str, long: str, then: str = "pass", size: int = 41) -> str:
    return (_LORENZ + _RECORDED).format(**method, extent=extent, long=long, then=then, bytes=size)


_THEN = "sim.run(N={}, resume=True)\nsim.results().t"
_UNFORESEEN = f"T={PER_STEP} * p['samples']"
MEMORY = {
    "dynlib": {
        "RK4": _unrecorded(_FIXED, "N=1000", "N=p['steps']"),
        "rk45, adaptive": _unrecorded(_ADAPTIVE, "T=1.0", f"T={PER_STEP} * p['steps']"),
    }
}
RECORDED = {
    "dynlib": {
        "samples foreseen": _recorded(_FIXED, "N=1000", "N=p['samples']"),
        "samples foreseen, and results()": _recorded(_FIXED, "N=1000", "N=p['samples']", "sim.results().t"),
        "samples not foreseen": _recorded(_ADAPTIVE, "T=1.0", _UNFORESEEN),
        "samples not foreseen, and results()": _recorded(_ADAPTIVE, "T=1.0", _UNFORESEEN, "sim.results().t"),
        "two runs, and results()": _recorded(
            _FIXED, "N=1000", "N=p['samples'] // 2", _THEN.format("p['samples'] // 2")
        ),
        "a long run and a short one, and results()": _recorded(_FIXED, "N=1000", "N=p['samples']", _THEN.format(1000)),
    },
    "dynlib_pypi": {
        "Sim": _recorded(
            {"stepper": "rk4", "options": "jit=True"}, "T=1.0, dt=1e-3", "T=1e-3 * p['samples'], dt=1e-3", size=44
        )
    },
}  # fmt: skip

PROGRAMS: dict[str, dict[str, dict[str, str]]] = {
    "first-result-cold": FIRST,
    "first-result-warm": FIRST,
    "build-chain-1000": BUILD,
    "build-chain-100000": BUILD,
    "memory-unrecorded": MEMORY,
    "memory-recorded": RECORDED,
}
"""For each row, each peer and each variant its program."""
