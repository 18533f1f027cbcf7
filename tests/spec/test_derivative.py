"""Derivatives are those of the expressions: against differences, for every function and for expressions at random."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dynlib import Model, map_model, ode_model
from dynlib.errors import ExpressionError
from dynlib.spec.derivative import FLAT, derivative, derived_jacobian, substituted
from dynlib.spec.expressions import (
    FUNCTIONS,
    Binary,
    Call,
    Compare,
    Logic,
    Node,
    Num,
    Reduce,
    Unary,
    canonical,
    children,
    parse,
    rebuild,
)
from dynlib.spec.resolve import Terms, evaluate

POINTS = {
    "acosh": 1.7, "asin": 0.4, "acos": 0.4, "atanh": 0.4, "log": 0.8, "log2": 0.8, "log10": 0.8, "sqrt": 0.8,
}  # fmt: skip


LARGE = 1e6
"""Above it, too many digits of a difference quotient are lost."""


def pieces(node: Node, at: dict[str, float]) -> list[float]:
    """Which smooth piece every part takes, as numbers that change where it jumps or bends; refuses large values."""
    found: list[float] = []
    if isinstance(node, Reduce):
        for k in range(int(evaluate(node.start, at, Terms())), int(evaluate(node.stop, at, Terms()))):
            for part in [node.body] if node.cond is None else [node.cond, node.body]:
                found += pieces(part, {**at, node.var: k})
        return found
    for part in children(node):
        found += pieces(part, at)
    if abs(evaluate(node, at, Terms())) > LARGE:
        raise ArithmeticError("digits are lost")
    values = [evaluate(part, at, Terms()) for part in children(node)]
    match node:
        case Compare() | Logic() | Unary(op="not") | Call(fn="floor" | "ceil" | "trunc" | "round" | "approx"):
            found.append(evaluate(node, at, Terms()))
        case Call(fn="min" | "max" | "clip"):
            found += [evaluate(Compare(("<",), (Num(a), Num(b))), {}, Terms()) for a in values for b in values]
        case Call(fn="abs" | "sign" | "heaviside" | "step" | "relu" | "copysign" | "hypot" | "atan2"):
            found += [(value > 0) - (value < 0) for value in values]
        case Binary(op="%" | "//", left=left, right=right):
            found.append(evaluate(Binary("//", left, right), at, Terms()))
    return found


def slope(node: Node, name: str, at: dict[str, float]) -> float:
    """A difference quotient of order four; refuses points where it is not to be trusted."""
    here = pieces(node, at)

    def value(x: float) -> float:
        moved = {**at, name: x}
        if pieces(node, moved) != here:
            raise ArithmeticError("no smooth piece")
        return evaluate(node, moved, Terms())

    def quotient(h: float) -> float:
        x = at[name]
        return (8 * (value(x + h) - value(x - h)) - value(x + 2 * h) + value(x - 2 * h)) / (12 * h)

    fine, *others = (quotient(h) for h in (1e-4, 2e-4, 2.7e-4))
    if not max(abs(fine - other) for other in others) <= 1e-6 * (1.0 + abs(fine)):
        raise ArithmeticError("no smooth piece")
    return fine


def same(text: str, at: dict[str, float], name: str = "x") -> None:
    model = ode_model("m", states={"x": 0.5, "y": 0.5}, params={"a": 2.0}, equations={"x": text, "y": "0"})
    node = model.equations[0].expr
    expected = slope(node, name, at)
    found = evaluate(derivative(node, name, model), at, Terms())
    assert found == pytest.approx(expected, rel=2e-6, abs=2e-6), text


@pytest.mark.parametrize("fn", [f for f, (least, _) in FUNCTIONS.items() if least == 1])
def test_every_function_of_one_argument(fn: str) -> None:
    x = POINTS.get(fn, 0.7)
    for sign in (1, -1) if fn not in POINTS else (1,):
        same(f"{fn}(x)", {"x": sign * x, "y": 0.3})
        same(f"{fn}(x*y)*y", {"x": sign * x / 1.1, "y": 1.1})


@pytest.mark.parametrize(
    "text",
    [
        "atan2(x, y)", "atan2(y, x)", "hypot(x, y)", "hypot(y, 2*x)", "copysign(x, y)", "copysign(y, x)", "pow(x, 3)",
        "pow(x*x, y)", "clip(x, -0.2, 0.9)", "clip(x, y, 2)", "clip(y, x, 2)", "clip(3, y, x)", "approx(x, y, 0.1)",
        "min(x, y, 0.4)", "min(0.9, x, y)", "max(x, y, 0.4, -3)", "min(3, 2, y, x*y)", "max(x, y)",
        "x % y", "y % x", "(5*x) % -0.3", "y // x", "x // 0.3", "3**x", "x**-2", "x**-1", "x**2.5*y", "(x*x)**x",
        "x > 0.2", "not x", "x if x > y else x*x", "(x > 0)*x + (x < 1 and y > 0)*x*y",
        "sum(x**k*k for k in range(5))", "sum(y*k for k in range(5))", "prod(x + k*y for k in range(4))",
        "prod(x - k for k in range(9) if k % 2 == 0)", "sum(prod(x*j + k for k in range(3)) for j in range(1, 4))",
        "sum(sum(sin(x*j*k) for k in range(j)) for j in range(4))", "-x*-x", "x/y/x", "1/(x*x)", "e**(x/y)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("point", [(0.7, 0.3), (0.25, 0.8), (1.3, 1.9)])
def test_other_functions_and_operators(text: str, point: tuple[float, float]) -> None:
    same(text, dict(zip("xy", point, strict=True)))
    same(text, dict(zip("xy", point, strict=True)), "y")


def test_functions_that_are_flat_have_the_derivative_zero() -> None:
    """Everything else of the language has one that is not."""
    arguments = ["0.3*x + y", "y", "x"]
    flat = set()
    for fn, (least, _) in FUNCTIONS.items():
        text = f"{fn}({', '.join(arguments[:least])})"
        model = map_model("m", states={"x": 0.5, "y": 0.5}, equations={"x": text, "y": "0"})
        if canonical(derivative(model.equations[0].expr, "x", model)) == "0.0":
            flat.add(fn)
    assert flat == FLAT


def expressions() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(["x", "y", "a", "0.5", "2", "1.5", "t"])
    one = st.sampled_from(["sin", "cos", "tanh", "exp", "abs", "atan", "relu", "floor", "erf", "asinh", "sign", "cosh"])
    two = st.sampled_from(["hypot", "atan2", "min", "max", "copysign"])
    operators = st.sampled_from(["+", "-", "*", "/", "%", "//"])

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(inner, operators, inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
            st.tuples(one, inner).map(lambda p: f"{p[0]}({p[1]})"),
            st.tuples(two, inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
            st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} > 0.4 else {p[2]})"),
            st.tuples(inner, inner).map(lambda p: f"sum({p[0]}*k for k in range(3) if {p[1]} < k)"),
            st.tuples(inner, st.sampled_from(["2", "3", "-1", "-2", "0.5"])).map(lambda p: f"({p[0]})**{p[1]}"),
        )

    return st.recursive(leaves, grow, max_leaves=8)


@settings(max_examples=300, deadline=None)
@given(text=expressions(), point=st.tuples(*[st.floats(0.1, 2.0)] * 4), name=st.sampled_from(["x", "y", "a", "t"]))
def test_expressions_at_random(text: str, point: tuple[float, ...], name: str) -> None:
    assume(text.count("range") <= 1)
    try:
        same(text, dict(zip(("x", "y", "a", "t"), point, strict=True)), name)
    except (ArithmeticError, ValueError, ExpressionError):
        assume(False)  # the expression has no value here


@pytest.mark.parametrize("rhs", ["r % 2", "r // 0.3*x", "sum(r*i for i in range(3))", "f(x)", "(r > 1)*x", "f(r)"])
def test_what_is_inside_aux_variables_and_functions_is_entered(rhs: str) -> None:
    functions: dict[str, Any] = {"f": {"args": ["z"], "expr": "z*(x % 2)*sum(z*k + x for k in range(3))"}}
    model = ode_model("m", states={"x": 1.0}, aux={"r": "x*x"}, functions=functions, equations={"x": rhs})
    found = derivative(model.equations[0].expr, "x", model)

    def plain(node: Node) -> Node:
        text = canonical(node)
        while "f(" in text or "r" in names(text):
            node = written_out(parse(text), model)
            text = canonical(node)
        return node

    at = {"x": 0.7}
    assert evaluate(plain(found), at, Terms()) == pytest.approx(
        slope(plain(model.equations[0].expr), "x", at), rel=1e-6
    )


def names(text: str) -> set[str]:
    return set("".join(c if c.isalnum() else " " for c in text).split())


def written_out(node: Node, model: Model) -> Node:
    if isinstance(node, Call) and node.fn == "f":
        return substituted(model.functions[0].expr, {"z": node.args[0]})
    return substituted(rebuild(node, lambda part: written_out(part, model)), {"r": model.aux[0].expr})


def test_the_index_of_a_sum_does_not_capture_what_is_put_inside() -> None:
    node = substituted(parse("sum(z*j for j in range(3)) + z"), {"z": parse("j + j_")}, ["j__"])
    assert canonical(node) == canonical(parse("sum((j + j_)*j___ for j___ in range(3)) + (j + j_)"))


def test_the_index_of_a_product_does_not_meet_another_name() -> None:
    model = ode_model("m", states={"x": 0.5, "k_": 0.3}, equations={"x": "prod(x + k*k_ for k in range(3))", "k_": "0"})
    row = derived_jacobian(model)[0]
    at = {"x": 0.5, "k_": 0.3}
    assert evaluate(row[0], at, Terms()) == pytest.approx(0.8 * 1.1 + 0.5 * 1.1 + 0.5 * 0.8)
    assert evaluate(row[1], at, Terms()) == pytest.approx(0.5 * 1.1 + 2 * 0.5 * 0.8)
