"""No kernel reads or writes outside of its arrays: compiled code does not check an index, so each is proven before.

The indices of a model are whole numbers, loop indices and + - * // %, whose bounds are computed when the model is read;
no state, parameter or time has a part in them. Those that the library writes itself, for steppers, recording, lags and
events, are followed here: every kernel of the conformance tests runs on arrays that refuse each index from the end,
and each one that is too large.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conformance.cases import CASES, full, horizon
from hypothesis import given
from hypothesis import strategies as st

from dynlib import Buffers, ModelError, Sim, build, ensemble, get_stepper, ode_model, setup
from dynlib.compile.lanes import lane_kernel
from dynlib.errors import ExpressionError, Where
from dynlib.spec.expressions import parse
from dynlib.spec.locations import load_model
from dynlib.spec.resolve import Resolver, Scope


class Checked(np.ndarray[Any, Any]):
    """An array that takes only indices from 0 to its size, and stretches that lie in it."""

    def _check(self, key: Any) -> None:
        parts = key if isinstance(key, tuple) else (key,)
        for size, part in zip(self.shape, parts, strict=False):
            if isinstance(part, slice):
                start, stop = part.start or 0, size if part.stop is None else part.stop
                inside = 0 <= start <= stop <= size and part.step is None
            else:
                inside = isinstance(part, int | np.integer) and 0 <= part < size
            if not inside or len(parts) > self.ndim:
                raise IndexError(f"[{key}] of {self.shape}")

    def __getitem__(self, key: Any) -> Any:
        self._check(key)
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._check(key)
        super().__setitem__(key, value)


def checked(array: Any) -> Any:
    return array.view(Checked) if isinstance(array, np.ndarray) else array


CHECKING = SimpleNamespace(
    **{
        **vars(np),
        "empty": lambda *a: checked(np.empty(*a)),
        "zeros": lambda *a: checked(np.zeros(*a)),
        "array": lambda *a: checked(np.array(*a)),
    }
)
"""NumPy, whose new arrays are checked."""


def watch(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From here on the kernel runs on checked arrays; the list has one entry for each call."""
    inner, calls = kernel.module.kernel, []

    def outer(*arguments: Any) -> Any:
        calls.append(len(arguments))
        return inner(*map(checked, arguments))

    monkeypatch.setitem(vars(kernel.module), "kernel", outer)
    monkeypatch.setitem(vars(kernel.module), "np", CHECKING)
    return calls


def test_the_check_finds_what_it_is_for() -> None:
    a = checked(np.zeros((2, 3)))
    for wrong in (-1, 2, (0, 3), (0, -1), (slice(0, 3), 0), (0, slice(2, 4)), (0, slice(-1, 2))):
        with pytest.raises(IndexError):
            a[wrong]
    with pytest.raises(IndexError):
        a[1][-1] = 0.0
    assert a[1, 0:3].shape == (3,)


@pytest.mark.parametrize(("stepper", "kind"), CASES, ids=["-".join(case) for case in CASES])
def test_no_kernel_leaves_its_arrays(stepper: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small buffers, so that they are full at every place where they can be, and a horizon inside a step."""
    model = full(stepper, kind, jit=False)
    calls = watch(model.kernel, monkeypatch)
    sim = Sim(model, buffers=Buffers(rows=4, logs=1, steps=7, foresee=False))
    third = horizon(stepper) / 8
    with np.errstate(all="ignore"):
        sim.run(T=third, record_interval=1)
        sim.run(T=1.35 * third, resume=True)
        sim.reset("initial")
        sim.run(T=third, record_dt=third / 50)
    assert len(calls) > 3


@pytest.mark.parametrize("stepper", ["rk4", "rk45"])
def test_no_ensemble_leaves_its_arrays(stepper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven members, which do not fill all lanes; values on and beyond the edges of the histograms."""
    model = load_model("builtin://ode/lorenz")
    kernel = lane_kernel(model, get_stepper(stepper), statistics=True, jit=False, math="strict")
    calls = watch(kernel, monkeypatch)
    bins = {"z": (0.0, 30.0, 7), "x": (-1.0, 1.0, 3)}
    more: dict[str, Any] = {"record_interval": 3, "histograms": bins} if stepper == "rk4" else {}
    found = ensemble(
        model, ic={"x": np.linspace(-30.0, 30.0, 11)}, T=0.1, stepper=stepper, statistics=True, jit=False, **more,
    )  # fmt: skip
    assert calls
    assert found.shape == (11,)


LARGE = {
    "ring": {"u[i]": "u[(i + 1) % 30] - 2*u[i] + u[(i - 1) % 30]"},
    "behind the start, modulo": {"u[i]": "u[(i - 31) % 30] - u[(-i) % 30]"},
    "halves": {"u[i]": "u[i // 2] - u[(i + 29) // 2]"},
    "triangle": {"u[i]": "sum(u[j] for j in range(i, 30)) - 30*u[i]"},
    "strides": {"u[i]": "sum(u[j - 1]*u[30 - j] for j in range(1, 31, 7)) - u[i]"},
    "borders": {"u[0]": "-u[1]", "u[29]": "-u[28]", "u[i]": "u[i-1] - u[i+1] for i in range(1, 29)"},
}


@pytest.mark.parametrize("stepper", ["rk45", "bdf", "rodas4", "taylor", "trbdf2"])
@pytest.mark.parametrize("equations", LARGE.values(), ids=LARGE)
def test_computed_indices_with_matrices_and_series(
    stepper: str, equations: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jacobians, their products and factors, and Taylor series have indices of their own."""
    model = build(
        ode_model("chain", states={"u[30]": "0.1*sin(i) for i in range(30)"}, equations=equations),
        stepper=stepper,
        jit=False,
    )
    calls = watch(model.kernel, monkeypatch)
    with np.errstate(all="ignore"):
        Sim(model).run(T=0.02)
    assert calls


WRONG = (
    "u[i-1]", "u[i+1]", "u[9]", "u[-1]", "u[(i + 1) % 10]", "u[2*i]", "u[i*i - 64]", "u[(i - 1) % 9 + 1]",
    "u[i // 1 + 1]", "u[a]", "u[x]", "u[t]", "u[u[0]]", "u[floor(x)]", "u[i % a]", "u[i // 0]", "u[i % 0]",
    "u[i % -3]", "u[1.5]", "u[pi]", "u[1e300]", "u[2**3]", "u[i > 0]", "u[0 if x > 0 else 9]",
    "u[i-1] if i > 0 else 0", "sum(u[j] for j in range(10))", "sum(u[j] for j in range(-1, 3))",
    "sum(u[i + j] for j in range(2))", "sum(u[j - 1] for j in range(i, 9))", "sum(u[j] for j in range(a))",
    "sum(u[j] for j in range(8, 0, -1))", "sum(u[j-1] for j in range(9) if j > 0)",
    "sum(u[k] for k in range(j) for j in range(3))", "u[9007199254740993*0]", "u[j]", "lag_u(1)", "u[lag_x(1)]",
    "u[rand()]",
)  # fmt: skip


@pytest.mark.parametrize("expression", WRONG)
def test_an_index_that_is_not_proven_is_refused(expression: str) -> None:
    """In an equation over all elements; a test that would guard the index does not count."""
    with pytest.raises((ExpressionError, ModelError)):
        ode_model("wrong", states={"u[9]": 0.1, "x": 0.0}, params={"a": 2.0}, equations={"u[i]": expression, "x": "0"})


@pytest.mark.parametrize("place", ["u[9]", "u[-1]", "u[a]", "u[x]", "u[i]", "u[8 + 1]", "u[0.5]"])
def test_an_event_writes_only_to_elements_that_there_are(place: str) -> None:
    with pytest.raises((ExpressionError, ModelError)):
        ode_model(
            "wrong",
            states={"u[9]": 0.1, "x": 0.0},
            params={"a": 2.0},
            equations={"u[i]": "-u[i]", "x": "1"},
            events={"kick": {"phase": "post", "cond": "x > 1", "action": f"{place} = 1"}},
        )


@pytest.mark.parametrize("left", ["u[i+1]", "u[i-1]", "u[2*i]", "u[9]", "u[-1]", "u[a]"])
def test_an_equation_defines_only_elements_that_there_are(left: str) -> None:
    text = "-u[0] for i in range(9)" if "i" in left else "-u[0]"
    with pytest.raises((ExpressionError, ModelError)):
        ode_model("wrong", states={"u[9]": 0.1}, params={"a": 2.0}, equations={left: text})


def _index(draw: Any, depth: int, names: tuple[str, ...]) -> str:
    if depth == 0:
        return str(draw(st.sampled_from((*names, "0", "1", "2", "5", "7"))))
    a = _index(draw, depth - 1, names)
    op = draw(st.sampled_from(("+", "-", "*", "//", "%", "neg")))
    if op == "neg":
        return f"(-{a})"
    b = str(draw(st.integers(1, 9))) if op in ("//", "%") else _index(draw, depth - 1, names)
    return f"({a} {op} {b})"


@given(st.data())
def test_bounds_of_an_index_hold_for_all_its_values(data: st.DataObject) -> None:
    """Against every value that it takes; the bounds are Python's own arithmetic, as compiled code has it."""
    spans = {name: sorted((data.draw(st.integers(-9, 9)), data.draw(st.integers(-9, 9)))) for name in ("i", "j")}
    text = _index(data.draw, data.draw(st.integers(0, 4)), ("i", "j"))
    local = {name: (low, high) for name, (low, high) in spans.items()}
    low, high = Resolver(Scope(), text, Where(), local=local).interval(parse(text))
    for i in range(spans["i"][0], spans["i"][1] + 1):
        for j in range(spans["j"][0], spans["j"][1] + 1):
            assert low <= eval(text, {"i": i, "j": j}) <= high


@pytest.mark.parametrize("stepper", ["rk4", "taylor", "bdf"])
def test_compiled_code_has_the_same_indices(stepper: str) -> None:
    """What the proof says of // and % holds for machine code: interpreted and compiled read the same elements."""
    equations = {"u[i]": "u[(i - 31) % 30] - u[(-i) % 30] + u[i // 2] - 0.5*u[(i + 29) // 2] - u[i]"}
    model = ode_model("indices", states={"u[30]": "sin(i) for i in range(30)"}, equations=equations)
    found = []
    for jit in (True, False):
        sim = setup(model, stepper=stepper, jit=jit)
        with np.errstate(all="ignore"):
            sim.run(T=0.1)
        found.append(sim.state)
    assert found[0].same_bits(found[1])
