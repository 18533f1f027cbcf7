"""The Taylor coefficients of generated code, against truncated power series in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dynlib import ConfigError, Model, build, get_stepper, ode_model
from dynlib.compile import elementary
from dynlib.compile.forms import Form
from dynlib.compile.layout import layout_of
from dynlib.compile.series import Series
from dynlib.compile.writer import code_names

ORDER = 7


class Power:
    """A power series up to t**ORDER; functions by composition with their Taylor series, or as integrals."""

    def __init__(self, *c: float) -> None:
        self.c = [float(x) for x in c] + [0.0] * (ORDER + 1 - len(c))

    def __add__(self, other: Any) -> Power:
        return Power(*(a + b for a, b in zip(self.c, power(other).c, strict=True)))

    def __neg__(self) -> Power:
        return Power(*(-a for a in self.c))

    def __sub__(self, other: Any) -> Power:
        return self + -power(other)

    def __rsub__(self, other: Any) -> Power:
        return power(other) - self

    def __mul__(self, other: Any) -> Power:
        b = power(other).c
        return Power(*(math.fsum(self.c[j] * b[k - j] for j in range(k + 1)) for k in range(ORDER + 1)))

    def __truediv__(self, other: Any) -> Power:
        return self * power(other).composed(lambda x, m: (-1.0) ** m * x ** (-1 - m))

    def __rtruediv__(self, other: Any) -> Power:
        return power(other) / self

    def __pow__(self, exponent: Any) -> Power:
        if isinstance(exponent, Power):
            return exp(exponent * log(self))

        def term(x: float, m: int) -> float:
            falling = math.prod(exponent - i for i in range(m)) / math.factorial(m)
            return falling * x ** (exponent - m) if falling else 0.0

        return self.composed(term)

    def __rpow__(self, base: float) -> Power:
        return exp(self * math.log(base))

    __radd__, __rmul__ = __add__, __mul__

    def composed(self, term: Callable[[float, int], float]) -> Power:
        """Σ term(c_0, m) (u - c_0)**m."""
        inner, result, factor = Power(0.0, *self.c[1:]), Power(), Power(1.0)
        for m in range(ORDER + 1):
            result += factor * term(self.c[0], m)
            factor *= inner
        return result

    def slope(self) -> Power:
        return Power(*(k * c for k, c in enumerate(self.c[1:], 1)))

    def integral(self, start: float) -> Power:
        return Power(start, *(c / (k + 1) for k, c in enumerate(self.c[:-1])))


def power(x: Any) -> Power:
    return x if isinstance(x, Power) else Power(x)


def cyclic(*values: Callable[[float], float]) -> Callable[[Power], Power]:
    """The function whose derivatives come round again."""
    return lambda u: u.composed(lambda x, m: values[m % len(values)](x) / math.factorial(m))


def primitive(start: Callable[[float], float], slope: Callable[[Power], Power]) -> Callable[[Power], Power]:
    return lambda u: (slope(u) * u.slope()).integral(start(u.c[0]))


exp = cyclic(math.exp)
sin = cyclic(math.sin, math.cos, lambda x: -math.sin(x), lambda x: -math.cos(x))
cos = cyclic(math.cos, lambda x: -math.sin(x), lambda x: -math.cos(x), math.sin)
sinh, cosh = cyclic(math.sinh, math.cosh), cyclic(math.cosh, math.sinh)
log = primitive(math.log, lambda u: 1 / u)
BELL = 2 / math.sqrt(math.pi)
REFERENCE: dict[str, Callable[..., Power]] = {
    "exp": exp, "sin": sin, "cos": cos, "sinh": sinh, "cosh": cosh, "log": log,
    "tan": lambda u: sin(u) / cos(u),
    "tanh": lambda u: sinh(u) / cosh(u),
    "sqrt": lambda u: u**0.5,
    "expm1": lambda u: exp(u) - 1,
    "log1p": lambda u: log(u + 1),
    "log2": lambda u: log(u) / math.log(2),
    "log10": lambda u: log(u) / math.log(10),
    "asin": primitive(math.asin, lambda u: (1 - u * u) ** -0.5),
    "acos": primitive(math.acos, lambda u: -((1 - u * u) ** -0.5)),
    "atan": primitive(math.atan, lambda u: 1 / (1 + u * u)),
    "asinh": primitive(math.asinh, lambda u: (1 + u * u) ** -0.5),
    "acosh": primitive(math.acosh, lambda u: (u * u - 1) ** -0.5),
    "atanh": primitive(math.atanh, lambda u: 1 / (1 - u * u)),
    "erf": primitive(math.erf, lambda u: BELL * exp(-(u * u))),
    "erfc": primitive(math.erfc, lambda u: -BELL * exp(-(u * u))),
    "hypot": lambda u, v: (u * u + v * v) ** 0.5,
    "pow": lambda u, v: u**v,
    "atan2": lambda y, x: ((x * y.slope() - y * x.slope()) / (x * x + y * y)).integral(math.atan2(y.c[0], x.c[0])),
}  # fmt: skip
SAFE = (
    *(f"{fn}(0.7*sin({{0}}))" for fn in ("exp", "sin", "cos", "sinh", "cosh", "tan", "tanh", "expm1", "asin", "acos")),
    *(f"{fn}(0.7*cos({{0}}))" for fn in ("atan", "asinh", "atanh", "erf", "erfc", "log1p")),
    *(f"{fn}(2.1 + sin({{0}}))" for fn in ("log", "log2", "log10", "sqrt", "acosh")),
    "{0} + {1}", "{0} - {1}", "({0})*({1})", "-({0})", "sin({0})*{1}", "({0})/(2.2 + sin({1}))", "1.5/(2.1 + cos({0}))",
    "({0})/(2.1 + cos({1}))**1.5", "(2.1 + sin({0}))**-0.5", "(2.1 + sin({0}))**a", "(2.1 + sin({0}))**(0.3*({1}))",
    "a**sin({0})", "2**sin({0})", "(sin({0}))**3", "(1.5 + sin({0}))**-2", "(sin({0}))**2 - ({1})/a", "b*({0})",
    "atan2(sin({0}), 2 + sin({1}))", "atan2(1.5, 2 + sin({0}))", "atan2(cos({0}), -1.5)", "hypot(sin({0}), 1.1)",
    "pow(2.1 + cos({0}), 2.5)", "sum((2.1 + cos({0}))/(i + 1) for i in range(3) if i != 1)",
)  # fmt: skip
LEAVES = st.sampled_from(["x", "y", "t", "a", "b", "0.4", "x*y", "half", "bent(x, t)"])
EXPRESSIONS = st.recursive(
    LEAVES, lambda inner: st.builds(lambda form, u, v: form.format(u, v), st.sampled_from(SAFE), inner, inner),
    max_leaves=5,
)  # fmt: skip


def coefficients(model: Model, order: int, t: float = 0.0) -> dict[str, list[float]]:
    """What the generated lines compute from the model's own initial values."""
    layout = layout_of(model, get_stepper("taylor"))
    form = Form(model, code_names(model, True), layout, True, {"base": "base", "out": "y", "params": "params"})
    series = Series(form, order, set())
    names: dict[str, Any] = {name: getattr(elementary, name) for name in elementary.NAMES}
    names |= {q.name: np.float64(q.values[0]) for q in (*model.states, *model.params)}
    names |= {"np": np, "inf": inf, "t": np.float64(t)}
    with np.errstate(all="ignore"):
        exec("\n".join([*series.once, *series.held, *series.first, *series.rest]), names)
    return {q.name: [float(names[f"s{k}_{q.name}"]) for k in range(1, order + 1)] for q in model.states}


@example("x", "t/(2.2 + sin(x))")
@settings(deadline=None)
@given(EXPRESSIONS, EXPRESSIONS)
def test_every_smooth_expression_has_its_series(f: str, g: str) -> None:
    """Picard's iteration with truncated series gives one more coefficient each time."""
    assume(max(f.count("sum("), g.count("sum(")) < 2)  # sums in sums need indices of their own
    model = ode_model(
        "random", states={"x": 0.3, "y": -0.6}, params={"a": 1.3, "b": -0.7}, equations={"x": f, "y": g},
        aux={"half": "0.5*y + 0.2"}, functions={"bent": {"args": ["u", "v"], "expr": "u*cos(v + b) - v"}},
    )  # fmt: skip
    t = 0.2
    x, y = Power(0.3), Power(-0.6)
    names: dict[str, Any] = {"a": 1.3, "b": -0.7, "t": Power(t, 1.0), **REFERENCE, "sum": sum, "range": range}
    for _ in range(ORDER):
        names |= {"x": x, "y": y, "half": 0.5 * y + 0.2}
        names["bent"] = lambda u, v: power(u) * cos(power(v) - 0.7) - v
        now = {**names, **{fn: (lambda *u, of=of: of(*map(power, u))) for fn, of in REFERENCE.items()}}
        now["pow"] = REFERENCE["pow"]
        x, y = (power(eval(text, dict(now))).integral(start) for text, start in ((f, 0.3), (g, -0.6)))
    found = coefficients(model, ORDER, t)
    for name, wanted in (("x", x), ("y", y)):
        size = max(map(abs, wanted.c))
        assert found[name] == pytest.approx(wanted.c[1:], rel=1e-9, abs=1e-11 * (1 + size))


@pytest.mark.parametrize(
    ("equation", "start", "closed"),
    [
        ("x", 1.0, lambda k: 1 / math.factorial(k)),
        ("x**2", 1.0, lambda k: 1.0),
        ("abs(x)", -1.0, lambda k: -((-1) ** k) / math.factorial(k)),
        ("relu(x) + heaviside(-x)*2", 1.0, lambda k: 1 / math.factorial(k)),
        ("min(x, 2*x, 7)", 1.0, lambda k: 1 / math.factorial(k)),
        ("clip(3*x, 0, x)", 1.0, lambda k: 1 / math.factorial(k)),
        ("copysign(x, -1) if x > 5 or not x < 3 else x*sign(x)*(x >= 0)", 1.0, lambda k: 1 / math.factorial(k)),
        ("x % 2 + floor(x/4) + x // 3", 1.0, lambda k: 1 / math.factorial(k)),
        ("1/(2*x)", 1.0, lambda k: math.prod(0.5 - i for i in range(k)) / math.factorial(k)),
    ],
)
def test_series_in_closed_form(equation: str, start: float, closed: Callable[[int], float]) -> None:
    """Functions that are smooth in pieces have the series of the piece in which the step begins."""
    model = ode_model("closed", states={"x": start}, equations={"x": equation})
    found = coefficients(model, 10)["x"]
    assert found == pytest.approx([closed(k) for k in range(1, 11)], rel=1e-12)


def test_what_is_not_needed_is_not_computed() -> None:
    """A negative power is no quotient; equal parts are computed once."""
    text = build(
        ode_model("two", states={"x": 1.0, "y": 2.0}, equations={"x": "y/(x*x + 1)**1.5", "y": "x/(x*x + 1)**1.5"}),
        stepper="taylor", order=4, jit=False,
    ).kernel.source  # fmt: skip
    first = text[text.index("known == 0") : text.index("known = 1")]
    assert first.count("power(") == 1
    assert "/" not in first


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (ode_model("long", states={"u[41]": "0.0"}, equations={"u[i]": "-u[i] for i in range(41)"}), "more than 40"),
        (ode_model("many", states={"x": 1.0}, equations={"x": "sum(x for i in range(9000))"}), "sum"),
    ],
    ids=["states", "terms"],
)
def test_a_model_without_series_is_refused_with_the_reason(model: Model, what: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){what}.*use another stepper"):
        build(model, stepper="taylor", jit=False)
