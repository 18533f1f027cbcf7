"""Derivatives of expressions, as expressions; only as far as functions of the language have one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dynlib.errors import ModelError, Where
from dynlib.spec.expressions import (
    MAX_NODES,
    MAX_TREE,
    Binary,
    Bool,
    Call,
    Choice,
    Compare,
    Name,
    Node,
    Num,
    Unary,
    measure,
    rebuild,
)
from dynlib.spec.model import Model, walk_through

ZERO, ONE, TWO = Num(0.0), Num(1.0), Num(2.0)
MAX_DERIVED = 20_000
"""Parts that are visited for one derivative."""
MAX_JACOBIAN = 1_000_000
"""Parts that are visited and made for a whole Jacobian."""
MAX_DEEP = MAX_TREE


def jacobian_of(model: Model) -> tuple[tuple[Node, ...], ...]:
    """Rows of `d rhs_i / d x_j`: the model's own Jacobian where it has one, else derived. Scalar states only.

    Raises `ModelError` for array states, for expressions without a derivative and for derivatives that grow too large.
    """
    if any(q.size is not None for q in model.states):
        raise ModelError("a Jacobian is derived for scalar states only", Where(model.name, "states"))
    if model.jacobian:
        return model.jacobian
    names = [q.name for q in model.states]
    rhs = {e.target: e.expr for e in model.equations}
    reads = {i: {part.id for part in walk_through(model, rhs[i]) if isinstance(part, Name)} for i in names}
    rules = _Rules(model, MAX_JACOBIAN)
    return tuple(tuple(rules.whole(rhs[i], j) if j in reads[i] else ZERO for j in names) for i in names)


def derivative(node: Node, name: str, model: Model) -> Node:
    """The partial derivative with respect to a state or parameter, entering aux variables and functions.

    Raises `ModelError` where there is none, and where it grows too large.
    """
    return _Rules(model, MAX_DERIVED).whole(node, name)


class _Rules:
    """The rules of derivation for one model, and how much may still be derived: chains of products double each time."""

    def __init__(self, model: Model, total: int) -> None:
        self.model, self.total = model, total
        self.aux, self.functions = model.aux_by_name, model.function_by_name
        self.left = 0  # for the derivative at hand

    def fail(self, message: str) -> ModelError:
        return ModelError(f"{message}; give [equations.jacobian]", Where(self.model.name))

    def whole(self, node: Node, name: str) -> Node:
        """The derivative of a whole expression."""
        self.left = share = min(MAX_DERIVED, self.total)
        result = self.derive(node, name, 0)
        parts, depth = measure(result)
        self.total -= share - self.left + parts
        if parts > MAX_NODES or depth > MAX_TREE:
            raise self.fail("the derivative is too large")
        return result

    def derive(self, node: Node, name: str, depth: int) -> Node:
        """The derivative of a part; `depth` counts how far inside it lies."""
        self.left -= 1
        if self.left < 0 or depth > MAX_DEEP:
            raise self.fail("the derivative is too large")
        deeper = depth + 1
        match node:
            case Num() | Bool():
                return ZERO
            case Name(id=found):
                if found == name:
                    return ONE
                return self.derive(self.aux[found].expr, name, deeper) if found in self.aux else ZERO
            case Unary(op="-", operand=operand):
                return negative(self.derive(operand, name, deeper))
            case Binary(op="+" | "-" | "*" | "/" | "**" as op, left=left, right=right):
                return _operation(op, left, right, self.derive(left, name, deeper), self.derive(right, name, deeper))
            case Choice(cond=cond, then=then, other=other):
                a, b = self.derive(then, name, deeper), self.derive(other, name, deeper)
                return a if isinstance(a, Num) and a == b else Choice(cond, a, b)
            case Call(fn=fn, args=args) if fn in self.functions:
                given = dict(zip(self.functions[fn].args, args, strict=True))
                return self.derive(substituted(self.functions[fn].expr, given), name, deeper)
            case Call(fn=fn, args=args):
                inner = []
                for part in args:
                    inner.append(self.derive(part, name, deeper))
                return ZERO if all(part == ZERO for part in inner) else self.call(node, fn, args, inner)
        if not any(isinstance(part, Name) and part.id == name for part in walk_through(self.model, node)):
            return ZERO
        what = repr(node.op) if isinstance(node, Binary) else type(node).__name__.lower()
        raise self.fail(f"{what} has no derivative here")

    def call(self, node: Call, fn: str, args: tuple[Node, ...], inner: list[Node]) -> Node:
        """The chain rule for a function of the language; `inner` are the derivatives of its arguments."""
        if fn in ("min", "max") and len(args) == 2:
            cond = Compare(("<=",) if fn == "min" else (">=",), args)
            return Choice(cond, inner[0], inner[1])
        if fn == "pow":
            return _operation("**", args[0], args[1], inner[0], inner[1])
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
            raise self.fail(f"{fn}() has no derivative here")
        return times(outer[fn], inner[0])


def _operation(op: str, left: Node, right: Node, dl: Node, dr: Node) -> Node:
    """The rules of sum, product, quotient and power; `dl` and `dr` are the derivatives of the two sides."""
    match op:
        case "+":
            return plus(dl, dr)
        case "-":
            return plus(dl, negative(dr))
        case "*":
            return plus(times(dl, right), times(left, dr))
        case "/":
            return plus(over(dl, right), negative(over(times(left, dr), times(right, right))))
    first: Node = ZERO
    if dl != ZERO:
        lower = Num(right.value - 1.0) if isinstance(right, Num) and right.value >= 1.0 else Binary("-", right, ONE)
        power = ONE if lower == ZERO else left if lower == ONE else Binary("**", left, lower)
        first = times(times(right, power), dl)
    second = times(times(Binary("**", left, right), Call("log", (left,))), dr) if dr != ZERO else ZERO
    return plus(first, second)


def substituted(node: Node, given: Mapping[str, Node]) -> Node:
    """The expression with other expressions in the place of names."""
    if isinstance(node, Name) and node.id in given:
        return given[node.id]
    return rebuild(node, partial(substituted, given=given))


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
