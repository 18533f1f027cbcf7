"""Generated code: same bits interpreted and compiled, names that cannot clash, arrays, and the cache on disk."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dynlib
from dynlib import (
    Model,
    Observer,
    Sim,
    Status,
    build,
    get_stepper,
    list_steppers,
    load_model,
    map_model,
    ode_model,
    sde_model,
)
from dynlib.spec.expressions import FUNCTIONS, is_reserved

GOLDEN = Path(__file__).with_name("golden")
RANGE = {
    "asin": (-1, 1), "acos": (-1, 1), "atanh": (-1, 1), "log": (0, 50), "log2": (0, 50), "log10": (0, 50),
    "acosh": (1, 9), "sqrt": (0, 99), "log1p": (-1, 20),
}  # fmt: skip
POWERS = [
    "x**2",
    "x**3",
    "x**4",
    "abs(x)**0.5",
    "x**-1",
    "x**-2",
    "x**5",
    "abs(x)**1.7",
    "2**x",
    "4**x",
    "0.5**x",
    "10**x",
    "abs(x)**x",
]
OTHERS = ["x % 1.7", "x // 1.7", "-x % 0.3", "clip(x, -1, 1)", "approx(x, 1, 2)", "atan2(x, 0.3)", "hypot(x, 3)",
          "copysign(2, x)", "max(x, 1, 2)", "min(x, 0)", "sum(x*i for i in range(1, 9, 2) if i > 2)"]  # fmt: skip


def same_bits(expressions: list[str], low: float, high: float, dtype: str) -> None:
    """Iterate a map whose argument sweeps an interval and odd values, in both modes."""
    states = {f"r{k}": 0.0 for k in range(len(expressions))}
    equations = {f"r{k}": e for k, e in enumerate(expressions)}
    model = map_model(
        "f", states={"z": 0.0, **states}, params={"low": low, "high": high}, dtype=dtype,
        constants={"scale": 700.0},
        functions={"sweep": {"args": ["s"], "expr": "low + (high - low)*(0.5 + 0.5*sin(s*s))"}},
        aux={"x": "sweep(z)"},
        equations={"z": "z + 1", **equations},
    )  # fmt: skip
    found = []
    for jit in (True, False):
        sim = Sim(build(model, jit=jit))
        sim.run(N=700)
        found.append(sim.raw_results().data)
    assert found[0].shape == (701, len(expressions) + 2)
    for k, text in enumerate(expressions, 1):
        assert found[0][:, k].tobytes() == found[1][:, k].tobytes(), text


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_function_gives_the_same_bits_in_both_modes(dtype: str) -> None:
    """Interpreted and compiled code call the same library and round alike."""
    plain = [f for f, (least, most) in FUNCTIONS.items() if (least, most) == (1, 1) and f not in RANGE]
    same_bits([f"{f}(x)" for f in plain], -4.0, 5.0, dtype)
    for f, (low, high) in RANGE.items():
        same_bits([f"{f}(x)"], low, high, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_powers_and_other_operations_give_the_same_bits(dtype: str) -> None:
    """Also where a compiler likes to replace one function by another."""
    same_bits(POWERS, -3.0, 6.0, dtype)
    same_bits(OTHERS, -5.0, 5.0, dtype)


def named(kind: str, names: list[str], array: bool, separable: bool) -> tuple[Model, list[Observer]]:
    """A model with a bit of everything whose scalar states have these names."""
    terms = [f"-0.3*{x} + 0.1*{names[k - 1]}*{x} + 0.01*sum({x}*jj for jj in range(2))" for k, x in enumerate(names)]
    terms[0] += f" + 0.1*lag_{names[0]}(2) + 0.01*ff(2)" + (" + 0.1*randn()" if kind == "map" else "")
    if separable:  # each reads its neighbour only
        near = [names[1], *names[:-1]]
        terms = [f"-0.3*{x} + 0.01*sum({x}*jj for jj in range(2))" for x in near]
    more = f"-{names[0]}" if separable else "-uu[ii]"
    tables: dict[str, Any] = {
        "states": {name: 0.3 + 0.01 * k for k, name in enumerate(names)} | ({"uu[2]": 0.1} if array else {}),
        "params": {"qq": 0.5},
        "equations": dict(zip(names, terms, strict=True)) | ({"uu[ii]": more} if array else {}),
        "aux": {"au": f"qq*{names[0]}"},
        "functions": {"ff": {"args": ["zz"], "expr": f"zz*{names[-1]}"}},
        "events": {
            "ev": {"phase": "both", "cond": f"cross_down({names[0]}, 0.25)", "action": "qq = qq + au", "log": ["au"]}
        },
        "sim": {"stop": f"{names[0]} > 100"},
    }
    if kind == "sde":
        tables["noise"] = {names[0]: f"0.1*{names[-1]}"}
    make = {"ode": ode_model, "map": map_model, "sde": sde_model}[kind]
    path = Observer("ob", {"mm": 0.0}, {"tt": f"{names[0]} - before_{names[0]}", "mm": "mm + tt*au + ff(2)"})
    return make("m", **tables), [path]


def ran(stepper: str, names: list[str], array: bool) -> tuple[str, list[bytes]]:
    spec = get_stepper(stepper)
    model, observers = named(spec.kinds[0], names, array, spec.symplectic)
    dt = None if spec.adaptive or "map" in spec.kinds else 0.1
    sim = dynlib.setup(model, stepper=stepper, dt=dt, jit=False, observers=observers)
    sim.run(T=1.03 if spec.stiff else 4.03, record_dt=0.37)
    raw, state = sim.raw_results(), sim.state
    parts = [raw.t, raw.data, raw.log.values, state.times, state.reals, state.counts]
    return sim.full_model.kernel.source, [part.tobytes() for part in parts]


ONE_OF_EACH = list({(get_stepper(name).family, get_stepper(name).adaptive): name for name in list_steppers()}.values())
"""A stepper of each family."""


@pytest.mark.parametrize("array", [False, True], ids=["scalars", "arrays"])
@pytest.mark.parametrize("stepper", ONE_OF_EACH)
def test_any_name_may_be_used(stepper: str, array: bool) -> None:
    """Every word of the generated text, and Python's own, may be the name of a state and changes nothing."""
    size = 25
    plain = [f"ss{k}" for k in range(size)]
    source, _ = ran(stepper, plain, array)
    own = {*plain, "uu", "qq", "au", "zz", "jj", "ii", "mm", "tt"}
    words = {"lambda", "None_", "x", "y", "p", "new_x", "k1_x"} | {s.name for s in Status}
    words |= set(re.findall(r"\b[A-Za-z]\w*", source))
    usable = sorted(w for w in words - own if not is_reserved(w))
    expected = ran(stepper, plain, array)[1]
    for k in range(0, len(usable), size):
        chosen = [*usable[k : k + size], *plain][:size]
        assert ran(stepper, chosen, array)[1] == expected, chosen


KURAMOTO = """inline:
[model]
type = "ode"
[constants]
N = 1000
[states]
"theta[N]" = "sin(12.9898*i)*3 for i in range(N)"
[params]
K = 1.5
[equations]
expr = "dtheta[i] = cos(1.0*i) + K/N*sum(sin(theta[j] - theta[i]) for j in range(N))"
[aux]
R = "sqrt(sum(cos(theta[j]) for j in range(N))**2 + sum(sin(theta[j]) for j in range(N))**2)/N"
"""


def test_kuramoto_with_a_thousand_oscillators() -> None:
    """Array states: one Euler step equals numpy, and a snapshot continues exactly."""
    full = build(KURAMOTO, stepper="euler", dt=0.01)
    sim = Sim(full)
    start = sim.state_vector()
    i = np.arange(1000)
    slope = np.cos(1.0 * i) + 1.5 / 1000 * np.sin(start[None, :] - start[:, None]).sum(axis=1)
    sim.run(N=1)
    np.testing.assert_allclose(sim.state_dict()["theta"], start + 0.01 * slope, rtol=0, atol=1e-13)
    assert sim.results()["theta"].shape == (2, 1000)
    assert sim.results()["R"][0] == pytest.approx(abs(np.exp(1j * start).mean()), abs=1e-12)


def test_a_chain_is_the_same_in_arrays_and_in_scalars() -> None:
    """A diffusion chain of 30, as one array and as 30 scalars, to the last bit in every stepper."""
    n = 30
    chain = f"""inline:
[model]
type = "ode"
[constants]
N = {n}
[states]
"u[N]" = "exp(-0.1*(i - 7)*(i - 7)) for i in range(N)"
[params]
D = 0.7
[equations]
expr = '''
du[0] = D*(u[1] - u[0])
du[i] = D*(u[i-1] - 2*u[i] + u[i+1]) + u[i]*(1 - u[i]) for i in range(1, N-1)
du[N-1] = D*(u[N-2] - u[N-1])
'''
"""
    model = load_model(chain)
    states = {f"u{k}": v for k, v in enumerate(model.states[0].values)}
    inner = {f"u{k}": f"D*(u{k - 1} - 2*u{k} + u{k + 1}) + u{k}*(1 - u{k})" for k in range(1, n - 1)}
    ends = {"u0": "D*(u1 - u0)", f"u{n - 1}": f"D*(u{n - 2} - u{n - 1})"}
    scalars = ode_model("scalars", states=states, params={"D": 0.7}, equations={**inner, **ends})
    for stepper in ("euler", "rk4", "ab3", "rk45"):
        a, b = (Sim(build(m, stepper=stepper, dt=0.05, jit=False)) for m in (model, scalars))
        for sim in (a, b):
            sim.run(T=1.234)
            sim.run(T=2.0, resume=True)
        assert a.state_vector().tobytes() == b.state_vector().tobytes()
        assert a.raw_results().data.tobytes() == b.raw_results().data.tobytes()


def test_large_array_models_stop_and_resume_exactly_when_compiled() -> None:
    """Arrays changed in place leave the same bits over a seam."""
    full = build(KURAMOTO.replace("N = 1000", "N = 60"), stepper="rk45")
    split, single = Sim(full), Sim(full)
    single.run(T=3.0)
    for t in (0.4, 1.0001, 3.0):
        split.run(T=t, resume=True)
    assert split.state.same_bits(single.state)


def test_a_second_process_loads_the_compiled_kernel(tmp_path: Path) -> None:
    """The cache on disk is hit: the second process compiles nothing."""
    code = (
        "import dynlib; sim = dynlib.setup('builtin://map/logistic'); sim.run(N=5);"
        "print(sim.full_model.kernel.from_cache)"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "DYNLIB_CACHE_DIR": str(tmp_path)}, check=True,
            capture_output=True, text=True,
        ).stdout.strip()
        for _ in range(2)
    ]  # fmt: skip
    assert answers == ["False", "True"]


def test_generated_source_is_stable_and_readable() -> None:
    """The text for exponential decay and its place on disk; rewrite the golden file when the generator changes."""
    kernel = build("builtin://ode/exponential_decay", stepper="rk2", jit=False).kernel
    golden = GOLDEN / "exponential_decay_rk2.py.txt"
    assert kernel.source == golden.read_text("utf-8")
    assert kernel.path.read_text("utf-8") == kernel.source


def test_tracebacks_point_into_the_generated_file() -> None:
    """The module is a real file under its own name."""
    kernel = build("builtin://ode/lorenz", stepper="rk4", jit=False).kernel
    assert sys.modules[kernel.module.__name__] is kernel.module
    assert kernel.function.__code__.co_filename == str(kernel.path)
    assert math.isclose(kernel.module.rhs(0.0, 1.0, 1.0, 1.0, 10.0, 28.0, 8 / 3)[1], 26.0)


def both(model: Model) -> list[bytes]:
    """The recorded samples and events of a run, interpreted and compiled."""
    found = []
    for jit in (False, True):
        sim = dynlib.setup(model, stepper="rk4", dt=0.01, jit=jit)
        sim.run(T=1.0)
        raw = sim.raw_results()
        found.append(raw.data.tobytes() + raw.log.values.tobytes())
    return found


def test_a_long_chain_of_aux_variables_is_computed_once_and_compiles() -> None:
    """Each is one line, however many others use it: 2**150 evaluations would not end."""
    aux = {f"p{k}": f"0.5*(p{k + 1} + p{k + 1})" for k in range(150)} | {"p150": "x"}
    model = dynlib.ode_model("chain", states={"x": 1.0}, equations={"x": "-p0"}, aux=aux)
    source = dynlib.build(model, stepper="rk4", jit=False).kernel.source
    assert source.count("p7 = ") == 2, "once in the right-hand side, once where samples are written"
    interpreted, compiled = both(model)
    assert interpreted == compiled
    sim = dynlib.setup(model, stepper="rk4", dt=0.01, jit=False)
    sim.run(T=1.0)
    assert sim.state_dict()["x"] == pytest.approx(math.exp(-1.0), rel=1e-9)


def test_aux_variables_follow_the_actions_of_an_event() -> None:
    """An action reads what the actions before it have set, also through aux variables; a log reads what was."""
    model = dynlib.ode_model(
        "events",
        states={"x": 1.0, "y": 0.0},
        equations={"x": "-1", "y": "0"},
        aux={"double": "2*x", "more": "double + 1"},
        events={"e": {"cond": "more < 1.5", "action": "x = 10; y = more; x = double", "log": ["more", "double"]}},
    )
    sim = dynlib.setup(model, stepper="euler", dt=0.125, jit=False)
    sim.run(N=7)
    assert sim.state_dict() == {"x": 20.0, "y": 21.0}
    assert (sim.results().event("e")["more"].tolist(), sim.results().event("e")["double"].tolist()) == ([1.25], [0.25])
    interpreted, compiled = both(model)
    assert interpreted == compiled


@pytest.mark.parametrize(
    ("functions", "aux", "rhs"),
    [
        ({"f": {"args": ["x"], "expr": "g() + x"}, "g": {"args": [], "expr": "x"}}, {}, lambda x: x + 2),
        ({"f": {"args": ["a"], "expr": "p*a"}}, {"p": "a*x"}, lambda x: 3 * x * 2),
        ({"f": {"args": ["p"], "expr": "g() + p"}, "g": {"args": [], "expr": "p"}}, {"p": "x"}, lambda x: x + 2),
        ({"f": {"args": ["x", "arg_x"], "expr": "x*arg_x + g()"}, "g": {"args": [], "expr": "x"}}, {}, None),
    ],
)
def test_an_argument_hides_a_quantity_only_inside_its_function(
    functions: dict[str, Any], aux: dict[str, str], rhs: Callable[[float], float] | None
) -> None:
    call = "f(2)" if rhs is not None else "f(2, 3)"
    model = dynlib.ode_model(
        "args", states={"x": 0.5}, params={"a": 3.0}, equations={"x": call}, functions=functions, aux=aux
    )
    sim = dynlib.setup(model, stepper="euler", dt=1.0, jit=False)
    sim.run(N=1)
    assert sim.state_dict()["x"] == 0.5 + (6.5 if rhs is None else rhs(0.5))
    interpreted, compiled = both(model)
    assert interpreted == compiled


ZEROS = [
    "heaviside(x - 1)", "sum(1 for i in range(3) if x > 5)", "sum(1/i for i in range(2))", "f(2)", "(q - 2)",
    "(0 if x < 5 else 1)", "hypot(0*heaviside(x), 0)", "max(heaviside(x - 1), 0)", "(x > 1)**3", "(x > 1)**-2",
    "x*(x > 1)", "(t + 1)",
]  # fmt: skip


def test_a_division_by_zero_gives_infinity_in_both_modes() -> None:
    """Also where interpreted code divides by a number of Python, which raises."""
    model = dynlib.ode_model(
        "zero",
        states={"x": 0.5},
        equations={"x": "0"},
        aux={f"w{k}": f"-1/{divisor}" for k, divisor in enumerate(ZEROS)} | {"q": "2"},
        functions={"f": {"args": ["z"], "expr": "1/(1/(z - 2))"}},
    )
    found = []
    for jit in (False, True):
        sim = dynlib.setup(model, stepper="euler", dt=0.5, jit=jit)
        sim.run(t0=-2.0, T=-1.0)
        found.append(sim.results()[[f"w{k}" for k in range(len(ZEROS))]][-1])
    assert set(found[0]) == {-math.inf, 0.0}
    assert found[0].tobytes() == found[1].tobytes()


def test_the_time_zero_at_a_horizon_divides_in_both_modes() -> None:
    model = dynlib.ode_model("zero", states={"x": 0.5}, equations={"x": "1"}, aux={"w": "1/t"})
    for jit in (False, True):
        sim = dynlib.setup(model, stepper="rk4", dt=0.3, jit=jit)
        sim.run(t0=-1.0, T=0.0)
        assert sim.results()["w"][-1] == math.inf
