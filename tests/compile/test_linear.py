"""Jacobians and linear systems in generated code: right, and the same bits interpreted and compiled."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dynlib import Model, Sim, build, load_model, ode_model
from dynlib.compile import factorization
from dynlib.compile.cache import Store, cache_folder, load_module
from dynlib.compile.elementary import NAMES
from dynlib.compile.forms import SCALAR_LIMIT, Form
from dynlib.compile.layout import layout_of
from dynlib.compile.linear import Linear
from dynlib.compile.matrices import Band, Full, Sparse, Unrolled
from dynlib.compile.native.function import compile_module
from dynlib.compile.writer import code_names
from dynlib.errors import ModelError
from dynlib.steppers import get_stepper

Vector = NDArray[Any]


@dataclass
class Bench:
    """A module made of the lines of `Linear` alone, interpreted and compiled."""

    model: Model
    linear: Linear
    source: str
    functions: tuple[Any, Any]

    def all(self, y: Any, p: Any, diagonal: float, b: Any, t: float = 0.5) -> tuple[int, Vector, Vector, Vector]:
        """Whether singular, solution for b, `J·b`, and slope in time; the same bits from both modes."""
        dtype = np.dtype(self.model.dtype)
        found = []
        for function in self.functions:
            reals = np.zeros(self.linear.form.layout.size("reals"), dtype)
            reals[self.linear.form.layout["base"].span] = y
            reals[self.linear.form.layout["params"].span] = p
            vector, tables = np.array(b, dtype), self.linear.form.tables
            outs = [np.zeros(self.model.n_states, dtype) for _ in range(3)]
            with np.errstate(all="ignore"):
                singular = function(t, reals, tables, dtype.type(diagonal), vector, *outs)
            found.append((singular, *outs))
        assert found[0][0] == found[1][0]
        for one, other in zip(found[0][1:], found[1][1:], strict=True):
            if not found[0][0]:
                assert one.tobytes() == other.tobytes()
        return found[0]

    def matrix(self, y: Any, p: Any, t: float = 0.5) -> Vector:
        """The Jacobian, column by column."""
        n = self.model.n_states
        return np.array([self.all(y, p, 1.0, np.eye(n)[k], t)[2] for k in range(n)]).T


def bench(model: Model) -> Bench:
    """What a kernel does with `Linear`, and nothing else."""
    scalar = model.n_states <= SCALAR_LIMIT and all(q.size is None for q in (*model.states, *model.params))
    form = Form(model, code_names(model, scalar), layout_of(model, get_stepper("rk4")), scalar,
                {"base": "base", "params": "params"})  # fmt: skip
    used: set[str] = set()
    linear = Linear(form, used)
    body = [
        *linear.evaluate("t", "base"),
        *linear.factor("out_d"),
        *form.each("{k1} = out_b[#]", "{k2} = out_b[#]"),
        *linear.solve("k1"),
        *form.each("out_x[#] = {k1}"),
        *linear.product("k3", "k2"),
        *form.each("out_product[#] = {k3}"),
        *linear.time_slope("k4", "t", "base"),
        *form.each("out_slope[#] = {k4}"),
        "return singular",
    ]
    functions = [*form.functions(used), *linear.functions()]
    lines = [
        "from math import inf",
        "import numpy as np",
        *([f"from dynlib.compile.elementary import {', '.join(sorted(used & NAMES))}"] if used & NAMES else []),
        "F = np.float32",
        *functions,
        "def kernel(t, reals, tables, out_d, out_b, out_x, out_product, out_slope):",
        *(f"    {line}" for line in [*form.unpack(), *linear.unpack, *body]),
    ]
    source = "\n".join(lines) + "\n"
    name = f"bench_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    store = Store(cache_folder())
    interpreted, compiled = (load_module(source, name, jit, store) for jit in (False, True))
    compile_module(compiled, source, contract=False, store=store)
    return Bench(model, linear, source, (interpreted.kernel, compiled.kernel))


@lru_cache
def any_matrix(n: int, form: str, dtype: str = "float64") -> Bench:
    """A linear system whose matrix is its parameters."""
    if form == "scalar":
        params: dict[str, Any] = {f"a{i}_{j}": 0.0 for i in range(n) for j in range(n)}
        equations = {f"x{i}": " + ".join(f"a{i}_{j}*x{j}" for j in range(n)) for i in range(n)}
        return bench(ode_model("m", states=dict.fromkeys(equations, 0.0), params=params, equations=equations,
                               dtype=dtype))  # fmt: skip
    width = {"full": "", "band": " if -1 <= i - j <= 2"}[form]
    return bench(
        ode_model(
            "m", states={"u[N]": 0.0}, params={"A[N*N]": 0.0}, constants={"N": n}, dtype=dtype,
            equations={"u[i]": f"sum(A[i*N + j]*u[j] for j in range(N){width}) for i in range(N)"},
        )
    )  # fmt: skip


KINDS = [(1, "scalar"), (2, "scalar"), (3, "scalar"), (4, "scalar"), (6, "scalar"), (4, "full"), (14, "band")]


def solves(made: Bench, matrix: Vector, diagonal: float, b: Vector, tolerance: float) -> None:
    n = len(b)
    singular, x, product, _ = made.all(np.zeros(n), matrix.ravel(), diagonal, b)
    np.testing.assert_allclose(product, matrix @ b, rtol=tolerance, atol=tolerance * (1 + np.abs(matrix).max()))
    system = diagonal * np.eye(n) - matrix
    if singular:
        assert np.linalg.cond(system) > 1 / tolerance
        return
    residual = np.abs(system @ x.astype(float) - b).max()
    assert residual <= 100 * tolerance * (np.abs(system).max() * np.abs(x).max() + np.abs(b).max())


def test_the_form_of_the_matrix_follows_from_the_model() -> None:
    kinds = [type(any_matrix(*kind).linear.matrix) for kind in KINDS]
    assert kinds == [Unrolled, Unrolled, Unrolled, Unrolled, Full, Full, Band]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_systems_at_random_are_solved(kind: tuple[int, str], data: st.DataObject) -> None:
    """Small whole numbers: many zeros, so that rows must be exchanged, and singular ones among them."""
    n, form = kind
    made = any_matrix(n, form)
    numbers = st.sampled_from([0.0, 0.0, 0.0, 1.0, -1.0, 2.0, -3.0, 1e-9, 1e6, 0.7])
    matrix = np.array(data.draw(st.lists(numbers, min_size=n * n, max_size=n * n))).reshape(n, n)
    if form == "band":
        matrix[[[not -1 <= i - j <= 2 for j in range(n)] for i in range(n)]] = 0.0
    b = np.array(data.draw(st.lists(numbers, min_size=n, max_size=n)))
    solves(made, matrix, data.draw(numbers), b, 1e-13)


@pytest.mark.parametrize("kind", [(3, "scalar"), (6, "scalar"), (4, "full"), (14, "band")])
def test_systems_of_single_precision(kind: tuple[int, str]) -> None:
    rng = np.random.default_rng(5)
    n, form = kind
    made = any_matrix(n, form, "float32")
    for _ in range(20):
        matrix = rng.normal(size=(n, n)).astype(np.float32)
        if form == "band":
            matrix[[[not -1 <= i - j <= 2 for j in range(n)] for i in range(n)]] = 0.0
        solves(made, matrix, 0.3, rng.normal(size=n).astype(np.float32), 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_singular_systems_are_known(kind: tuple[int, str]) -> None:
    n, form = kind
    made = any_matrix(n, form)
    ones = np.zeros(n)
    assert made.all(ones, np.zeros(n * n), 0.0, ones + 1.0)[0] == 1
    assert made.all(ones, np.zeros(n * n), 1.0, ones + 1.0)[0] == 0
    assert made.all(ones, np.eye(n).ravel(), 1.0, ones + 1.0)[0] == 1
    for bad in (np.nan, np.inf):
        assert made.all(ones, np.full(n * n, bad), 1.0, ones + 1.0)[0] == 1
    if n > 1 and form != "band":
        same = np.zeros((n, n))
        same[0, 1] = same[1, 1] = -1.0  # two rows are equal
        assert made.all(ones, (same + np.diag([0.0, 0.0] + [1.0] * (n - 2))).ravel(), 0.0, ones)[0] == 1


@pytest.mark.parametrize("kind", [k for k in KINDS if k[0] > 1])
def test_rows_are_exchanged(kind: tuple[int, str]) -> None:
    """A zero on the diagonal; and a small one, with which elimination alone would lose all digits."""
    n, form = kind
    made = any_matrix(n, form)
    swap = np.eye(n)
    swap[:2, :2] = [[0.0, 1.0], [1.0, 0.0]]
    b = np.arange(1.0, n + 1)
    for small in (0.0, 1e-20):
        swap[0, 0] = small
        singular, x, *_ = made.all(np.zeros(n), -swap.ravel(), 0.0, b)
        assert singular == 0
        np.testing.assert_allclose(x, [b[1], b[0], *b[2:]], rtol=1e-15)


@settings(max_examples=150, deadline=None)
@given(n=st.integers(1, 9), lower=st.integers(0, 3), upper=st.integers(0, 3), seed=st.integers(0, 10**6))
def test_a_band_gives_what_the_full_matrix_gives(n: int, lower: int, upper: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    full = rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.8)
    band = np.zeros((n, 2 * lower + upper + 1))
    for i in range(n):
        for j in range(n):
            if -upper <= i - j <= lower:
                band[i, j - i + lower] = full[i, j]
            else:
                full[i, j] = 0.0
    x = rng.normal(size=n)
    solutions, products = [x.copy(), x.copy()], [np.zeros(n), np.zeros(n)]
    lu, pivot = np.zeros((n, n)), np.zeros(n, np.int64)
    factors, pivots = np.zeros_like(band), np.zeros(n, np.int64)
    with np.errstate(all="ignore"):
        singular = factorization.full_factor(full, 0.5, lu, pivot)
        assert factorization.band_factor(band, 0.5, lower, factors, pivots) == singular
    factorization.full_product(full, x, products[0])
    factorization.band_product(band, lower, x, products[1])
    np.testing.assert_allclose(products[1], products[0], rtol=1e-13, atol=1e-13)
    if singular == 0:
        factorization.full_solve(lu, pivot, solutions[0])
        factorization.band_solve(factors, lower, pivots, solutions[1])
        size = np.abs(solutions[0]).max() * np.linalg.cond(0.5 * np.eye(n) - full)
        np.testing.assert_allclose(solutions[1], solutions[0], rtol=1e-9, atol=1e-14 * size)


# -- Jacobians ---------------------------------------------------------------------------------------------------

MODELS: dict[str, dict[str, Any]] = {
    "names": {
        "states": {"jac": 0.4, "singular": 0.3}, "params": {"lin_a0_0": 0.7, "time_slope": 1.3, "lin_d": 0.2},
        "aux": {"jacobian": "lin_a0_0*jac*singular"},
        "functions": {"lin_most": {"args": ["lin_r0"], "expr": "lin_r0*jac*t"}},
        "equations": {"jac": "jacobian*time_slope + lin_d*singular", "singular": "lin_most(singular)*jacobian - jac"},
    },
    "chain": {
        "constants": {"N": 9}, "params": {"D": 0.3}, "states": {"u[N]": "sin(i) for i in range(N)"},
        "equations": {"u[0]": "D*(u[1] - u[0])", "u[N-1]": "D*(u[N-2] - u[N-1])*t",
                      "u[i]": "D*(u[i-1] - 2*u[i] + u[i+1]) + u[i]*(1 - u[i])*t for i in range(1, N-1)"},
    },
    "ring": {  # the same element twice
        "constants": {"N": 3}, "params": {"K": 0.3}, "states": {"u[N]": "sin(i) for i in range(N)"},
        "equations": {"u[i]": "K*sin(u[(i+1) % N] - u[i]) + cos(u[(i+2) % N] - u[(i-2) % N])"},
    },
    "all with all": {
        "constants": {"N": 6}, "params": {"K": 0.8, "w[N]": "0.1*i for i in range(N)"},
        "states": {"z": 0.5, "u[N]": "cos(i) for i in range(N)", "s": -0.3},
        "aux": {"m": "sum(cos(u[j]) for j in range(N))/N", "mm": "m*m + u[2]*s"},
        "functions": {"f": {"args": ["q"], "expr": "q*m + sum(q*u[j]*j for j in range(2)) + s"}},
        "equations": {
            "u[j]": "w[j] + z*mm*u[j] + tanh(K/N*sum(sin(u[k] - u[j])*t for k in range(N) if k != j)) + f(u[j]*z)",
            "z": "prod(1 + u[k]*s for k in range(3))*z + sum(f(u[j])*j for j in range(N))",
            "s": "sum(sum(u[k]*u[j] for k in range(j, N, 2))**2 for j in range(1, N)) + sum(s*u[1] for k in range(2))",
        },
    },
    "triangle": {
        "constants": {"N": 30}, "states": {"u[N]": "0.02*i - 0.31 for i in range(N)"},
        "equations": {"u[i]": "sum(prod(u[k] - u[j]*0.5 for k in range(j, j + 3)) for j in range(N - 2)"
                              " if j <= i and i - j < 4) - u[i]*t"},
    },
    "many": {
        "states": {f"s{k}": 0.3 + 0.01 * k for k in range(42)},
        "params": {"a": 0.7},
        "equations": {f"s{k}": f"-a*s{k}*s{(k + 1) % 42} + sin(s{k} + t)" for k in range(42)},
    },
    "stated": {
        "states": {"x": 0.3, "u[2]": 0.4},
        "equations": {"rhs": {"x": "x*u[0]", "u[0]": "u[1]*t", "u[1]": "x*x"},
                      "jacobian": {"expr": [["u[0]", "x", "0"], ["0", "0", "t"], ["2*x", "0", "0"]]}},
    },
    "rows of zeros": {
        "states": {"u[3]": 0.4, "v[2]": 0.3}, "equations": {"u[i]": "-v[0]*u[i]", "v[i]": "t"},
    },
    "constant": {"states": {"x": 0.3, "y": 0.2}, "equations": {"x": "t", "y": "2"}},
}  # fmt: skip


@lru_cache
def of(name: str, dtype: str = "float64") -> Bench:
    tables = dict(MODELS[name])
    if "rhs" in tables["equations"]:
        from dynlib.spec.document import model_from_document

        return bench(model_from_document({"model": {"type": "ode", "dtype": dtype}, **tables}))
    return bench(ode_model("m", dtype=dtype, **tables))


def right_hand_side(made: Bench, y: Vector, p: Vector, t: float) -> Vector:
    """The slopes that generated code gives."""
    form = made.linear.form
    rhs = made.functions[0].__globals__["rhs"]
    needs = form.rhs_needs
    if not form.scalar:
        out = np.zeros(len(y))
        rhs(t, y, p, out)
        return out
    places = {q.name: k for k, q in enumerate(made.model.params)}
    return np.array(rhs(t, *y, *(p[places[name]] for name in needs.params)))


def values(model: Model) -> tuple[Vector, Vector]:
    return (np.array([v for q in group for v in q.values]) for group in (model.states, model.params))  # type: ignore[return-value]


def differences(made: Bench, y: Vector, p: Vector, t: float) -> tuple[Vector, Vector]:
    """Jacobian and slope in time by difference quotients of order four."""

    def quotient(at: Any) -> Vector:
        h = 1e-3
        return (8 * (at(h) - at(-h)) - at(2 * h) + at(-2 * h)) / (12 * h)  # type: ignore[no-any-return]

    columns = []
    for k in range(len(y)):
        unit = np.eye(len(y))[k]
        columns.append(quotient(lambda h, u=unit: right_hand_side(made, y + h * u, p, t)))
    return np.array(columns).T, quotient(lambda h: right_hand_side(made, y, p, t + h))


@pytest.mark.parametrize("name", MODELS)
def test_jacobians_are_those_of_the_equations(name: str) -> None:
    made = of(name)
    y, p = values(made.model)
    jacobian, slope = differences(made, y, p, 0.5)
    np.testing.assert_allclose(made.matrix(y, p), jacobian, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(made.all(y, p, 1.0, y)[3], slope, rtol=1e-7, atol=1e-8)
    assert made.linear.autonomous == (name in ("ring",))
    pattern = np.zeros(jacobian.shape, bool)
    pattern[made.linear.jacobian.sparsity.rows, made.linear.jacobian.sparsity.cols] = True
    assert not np.any(np.abs(jacobian[~pattern]) > 1e-9)
    if name not in ("many", "stated", "constant", "names"):
        assert np.all(np.abs(jacobian[pattern]) > 1e-9), "the pattern is larger than need be"


@pytest.mark.parametrize("name", [name for name in MODELS if name != "many"])
def test_jacobians_of_single_precision(name: str) -> None:
    made, wide = of(name, "float32"), of(name)
    y, p = values(made.model)
    np.testing.assert_allclose(made.matrix(y, p), wide.matrix(y, p), rtol=1e-3, atol=1e-5)


def test_the_text_does_not_grow_with_the_arrays() -> None:
    texts = []
    for n in (1000, 2000):
        tables = MODELS["chain"] | {"constants": {"N": n}}
        texts.append(bench(ode_model("m", **tables)).source)
    assert texts[0] != texts[1]
    assert re.sub(r"\d{3,}", "N", texts[0]) == re.sub(r"\d{3,}", "N", texts[1])


RING = {
    "constants": {"N": 20}, "params": {"K": 0.3}, "states": {"u[N]": "sin(i) for i in range(N)"},
    "equations": {"u[i]": "K*sin(u[(i+1) % N] - u[i]) + u[(i-1) % N]*t"},
}  # fmt: skip
SPARSE: dict[str, dict[str, Any]] = {
    "ring": RING,
    "network": {  # conditions on indices around loops, products, and a condition on values
        "constants": {"N": 40},
        "params": {"K": 0.3, "w[N]": "0.1*i - 1.1 for i in range(N)"},
        "states": {"s": 0.4, "u[N]": "cos(i) for i in range(N)"},
        "equations": {
            "s": "-s + u[3]",
            "u[i]": "sum(w[j]*sum(u[j]*u[k] for k in range(j, N, 19)) for j in range(i % 5, N, 13)"
                    " if j != i and j % 3 != i % 3)"
                    " + sum(prod(u[k]*u[i] for k in range(j, j + 2)) for j in range(2) if w[i] > 0)"
                    " + K*u[(i*5 + 2) % N] - u[i] + s*t",
        },
    },
    "names": {
        "states": {f"s{k}": 0.3 + 0.01 * k for k in range(30)},
        "params": {"tables": 0.7},
        "equations": {f"s{k}": f"-tables*s{k}*s{(k + 1) % 30} + sin(s{k} + t)" for k in range(30)},
    },
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SPARSE)
def test_sparse_systems(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Jacobian is that of the equations, and systems with it are solved; the same bits in both modes."""
    for constant, value in (("DETOUR", 1e-3), ("MOST_DENSE", 1.0)):  # also where a full matrix would be faster
        monkeypatch.setattr(f"dynlib.compile.matrices.{constant}", value)
    made = bench(ode_model("m", **SPARSE[name], dtype=dtype))
    assert isinstance(made.linear.matrix, Sparse)
    y, p = values(made.model)
    wide = made if dtype == "float64" else bench(ode_model("m", **SPARSE[name]))
    jacobian, slope = differences(wide, y, p, 0.5)
    rtol, atol = (1e-7, 1e-8) if dtype == "float64" else (1e-4, 1e-5)
    np.testing.assert_allclose(made.matrix(y, p), jacobian, rtol=rtol, atol=atol)
    b = np.cos(np.arange(len(y)))
    singular, x, _, found = made.all(y, p, 20.0, b)
    assert singular == 0
    np.testing.assert_allclose(found, slope, rtol=rtol, atol=atol)
    np.testing.assert_allclose(x, np.linalg.solve(20.0 * np.eye(len(y)) - jacobian, b), rtol=100 * rtol, atol=atol)


def test_the_text_of_a_sparse_kernel_does_not_grow() -> None:
    texts = []
    for n in (1000, 2000):
        made = bench(ode_model("m", **RING | {"constants": {"N": n}}))
        assert isinstance(made.linear.matrix, Sparse)
        texts.append(re.sub(r"\d{3,}", "N", made.source))
    assert texts[0] == texts[1]


def test_a_kernel_with_tables_runs() -> None:
    """Implicit steps on a ring: as an explicit method goes, and the same bits interpreted and compiled."""
    model = ode_model("ring", **RING)
    ends = []
    for arguments in ({"stepper": "rodas4", "jit": False}, {"stepper": "rodas4"}, {"stepper": "rk45", "jit": False}):
        sim = Sim(build(model, rtol=1e-8, atol=1e-8, **arguments))  # type: ignore[arg-type]
        assert sim.run(T=1.0).ok
        ends.append(sim.state_vector())
    assert len(sim.full_model.kernel.tables) == 1
    assert ends[0].tobytes() == ends[1].tobytes()
    np.testing.assert_allclose(ends[0], ends[2], rtol=1e-6)


@pytest.mark.parametrize("location", ["builtin://ode/lorenz", "builtin://ode/van_der_pol"])
def test_stated_jacobians_are_used(location: str) -> None:
    model = load_model(location)
    made = bench(model)
    y, p = values(model)
    np.testing.assert_allclose(made.matrix(y, p), differences(made, y, p, 0.5)[0], rtol=1e-9, atol=1e-9)


def test_a_matrix_that_would_not_fit_in_memory_is_refused() -> None:
    for n, message in ((5000, "full Jacobian"), (20_000, "visits more than")):
        equations = {"u[i]": "sum(u[j] for j in range(N))"}
        with pytest.raises(ModelError, match=message):
            bench(ode_model("m", states={"u[N]": 0.0}, constants={"N": n}, equations=equations))
