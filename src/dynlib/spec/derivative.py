"""Derivatives of expressions, as expressions; only as far as functions of the language have one."""

from __future__ import annotations

from collections.abc import Mapping

from dynlib.errors import ModelError, Where
from dynlib.spec.expressions import Binary, Bool, Call, Choice, Compare, Name, Node, Num, Unary, rebuild, walk
from dynlib.spec.model import Model

ZERO, ONE, TWO = Num(0.0), Num(1.0), Num(2.0)


def jacobian_of(model: Model) -> tuple[tuple[Node, ...], ...]:
    """Rows of `d rhs_i / d x_j`: the model's own Jacobian where it has one, else derived. Scalar states only.

    Raises `ModelError` for array states and for expressions without a derivative.
    """
    if any(q.size is not None for q in model.states):
        raise ModelError("a Jacobian is derived for scalar states only", Where(model.name, "states"))
    if model.jacobian:
        return model.jacobian
    names = [q.name for q in model.states]
    rhs = {e.target: e.expr for e in model.equations}
    return tuple(tuple(derivative(rhs[i], j, model) for j in names) for i in names)


def derivative(node: Node, name: str, model: Model) -> Node:
    """The partial derivative with respect to a state or parameter, entering aux variables and functions."""

    def d(part: Node) -> Node:
        return derivative(part, name, model)

    match node:
        case Num() | Bool():
            return ZERO
        case Name(id=found):
            if found == name:
                return ONE
            aux = next((a for a in model.aux if a.name == found), None)
            return ZERO if aux is None else d(aux.expr)
        case Unary(op="-", operand=operand):
            return negative(d(operand))
        case Binary(op="+" | "-" as op, left=left, right=right):
            return plus(d(left), d(right)) if op == "+" else plus(d(left), negative(d(right)))
        case Binary(op="*", left=left, right=right):
            return plus(times(d(left), right), times(left, d(right)))
        case Binary(op="/", left=left, right=right):
            first = over(d(left), right)
            return plus(first, negative(over(times(left, d(right)), times(right, right))))
        case Binary(op="**", left=left, right=right):
            return _power(left, right, d(left), d(right))
        case Choice(cond=cond, then=then, other=other):
            a, b = d(then), d(other)
            return a if a == b else Choice(cond, a, b)
        case Call(fn=fn, args=args):
            return _call(node, fn, args, name, model)
    if not any(isinstance(part, Name) and part.id == name for part in walk(node)):
        return ZERO
    what = repr(node.op) if isinstance(node, Binary) else type(node).__name__.lower()
    raise ModelError(f"{what} has no derivative here; give [equations.jacobian]", Where(model.name))


def _power(left: Node, right: Node, dl: Node, dr: Node) -> Node:
    first: Node = ZERO
    if dl != ZERO:
        lower = Num(right.value - 1.0) if isinstance(right, Num) and right.value >= 1.0 else Binary("-", right, ONE)
        power = ONE if lower == ZERO else left if lower == ONE else Binary("**", left, lower)
        first = times(times(right, power), dl)
    second = times(times(Binary("**", left, right), Call("log", (left,))), dr) if dr != ZERO else ZERO
    return plus(first, second)


def _call(node: Call, fn: str, args: tuple[Node, ...], name: str, model: Model) -> Node:
    function = next((f for f in model.functions if f.name == fn), None)
    if function is not None:
        given = dict(zip(function.args, args, strict=True))
        return derivative(substituted(function.expr, given), name, model)
    inner = [derivative(a, name, model) for a in args]
    if all(part == ZERO for part in inner):
        return ZERO
    if fn in ("min", "max") and len(args) == 2:
        a, b = args
        cond = Compare(("<=",) if fn == "min" else (">=",), (a, b))
        return Choice(cond, inner[0], inner[1])
    if fn == "pow":
        return _power(args[0], args[1], inner[0], inner[1])
    x = args[0]
    square = times(x, x)
    outer: dict[str, Node] = {
        "sin": Call("cos", args),
        "cos": negative(Call("sin", args)),
        "tan": plus(ONE, times(node, node)),
        "exp": node,
        "expm1": Call("exp", args),
        "log": over(ONE, x),
        "log1p": over(ONE, plus(ONE, x)),
        "log2": over(ONE, times(x, Num(0.6931471805599453))),
        "log10": over(ONE, times(x, Num(2.302585092994046))),
        "sqrt": over(ONE, times(TWO, node)),
        "sinh": Call("cosh", args),
        "cosh": Call("sinh", args),
        "tanh": plus(ONE, negative(times(node, node))),
        "asin": over(ONE, Call("sqrt", (plus(ONE, negative(square)),))),
        "acos": negative(over(ONE, Call("sqrt", (plus(ONE, negative(square)),)))),
        "atan": over(ONE, plus(ONE, square)),
        "abs": Call("sign", args),
        "relu": Call("heaviside", args),
    }
    if fn not in outer:
        raise ModelError(f"{fn}() has no derivative here; give [equations.jacobian]", Where(model.name))
    return times(outer[fn], inner[0])


def substituted(node: Node, given: Mapping[str, Node]) -> Node:
    """The expression with other expressions in the place of names."""
    if isinstance(node, Name) and node.id in given:
        return given[node.id]
    return rebuild(node, lambda part: substituted(part, given))


def plus(a: Node, b: Node) -> Node:
    """`a + b`, without zeros."""
    if a == ZERO:
        return b
    if b == ZERO:
        return a
    return Binary("-", a, b.operand) if isinstance(b, Unary) and b.op == "-" else Binary("+", a, b)


def negative(a: Node) -> Node:
    """`-a`, without zeros and double signs."""
    if a == ZERO:
        return ZERO
    return a.operand if isinstance(a, Unary) and a.op == "-" else Unary("-", a)


def times(a: Node, b: Node) -> Node:
    """`a*b`, without zeros and ones."""
    if ZERO in (a, b):
        return ZERO
    if a == ONE:
        return b
    return a if b == ONE else Binary("*", a, b)


def over(a: Node, b: Node) -> Node:
    """`a/b`, without zeros and ones."""
    return ZERO if a == ZERO else a if b == ONE else Binary("/", a, b)
