"""Derivatives of expressions, as expressions: every function of the language has one, almost everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from dynlib.errors import ModelError, Where
from dynlib.spec.expressions import (
    MAX_NODES,
    MAX_TREE,
    Binary,
    Bool,
    Call,
    Choice,
    Compare,
    Item,
    Lag,
    Logic,
    Name,
    Node,
    Num,
    Reduce,
    Unary,
    measure,
    rebuild,
    walk,
)
from dynlib.spec.model import Model, walk_through

ZERO, ONE, TWO = Num(0.0), Num(1.0), Num(2.0)
FLAT = frozenset({"floor", "ceil", "trunc", "round", "sign", "heaviside", "step", "approx", "rand", "randn"})
"""Functions whose derivative is 0 wherever there is one."""
MAX_DERIVED = 20_000
"""Parts that are visited for one derivative."""
MAX_JACOBIAN = 1_000_000
"""Parts that are visited and made for a whole Jacobian."""
MAX_DEEP = MAX_TREE


def jacobian_of(model: Model) -> tuple[tuple[Node, ...], ...]:
    """Rows of `d rhs_i / d x_j`: the model's own Jacobian where it has one, else derived. Scalar states only.

    Raises `ModelError` for array states and for derivatives that grow too large.
    """
    if any(q.size is not None for q in model.states):
        raise ModelError("a Jacobian is derived for scalar states only", Where(model.name, "states"))
    return model.jacobian or derived_jacobian(model)


def derived_jacobian(model: Model) -> tuple[tuple[Node, ...], ...]:
    """Rows of `d rhs_i / d x_j` of a model of scalar states, derived. Raises `ModelError`."""
    names = [q.name for q in model.states]
    rhs = {e.target: e.expr for e in model.equations}
    reads = {i: {part.id for part in walk_through(model, rhs[i]) if isinstance(part, Name)} for i in names}
    rules = Rules(model)
    return tuple(tuple(rules.whole(rhs[i], Name(j)) if j in reads[i] else ZERO for j in names) for i in names)


def derivative(node: Node, name: str, model: Model) -> Node:
    """The partial derivative with respect to `t`, a scalar state or a scalar parameter.

    Aux variables and functions are entered. Where an expression jumps or has a kink, the derivative is that of the
    piece which the expression takes. Raises `ModelError` where it grows too large.
    """
    return Rules(model, MAX_DERIVED).whole(node, Name(name))


class Direction(Struct, frozen=True):
    """A direction in the space of states: `names` gives, for a state or aux variable, the name of its part in it.

    The name is empty where there is none: the variable does not depend on the states.
    """

    names: Mapping[str, str]


class Rules:
    """The rules of derivation for one model, and how much may still be derived: chains of products double each time."""

    def __init__(self, model: Model, total: int = MAX_JACOBIAN) -> None:
        self.model, self.total = model, total
        self.aux, self.functions = model.aux_by_name, model.function_by_name
        self.left = 0  # for the derivative at hand
        self.words = {q.name for q in (*model.states, *model.params)} | {*self.aux, *self.functions}
        self.words |= {arg for f in model.functions for arg in f.args}

    def fail(self, message: str) -> ModelError:
        return ModelError(f"{message}; give [equations.jacobian]", Where(self.model.name))

    def whole(self, node: Node, symbol: Node | Direction) -> Node:
        """The derivative of a whole expression with respect to a name, an element of an array, or the value of a sum.

        Different elements are taken for independent, and sums for constants, unless it is a name that is derived by.
        Along a direction it is the sum of the derivatives with respect to all states, each times its part.
        """
        self.left = share = min(MAX_DERIVED, self.total)
        result = self.derive(node, symbol, 0)
        parts, depth = measure(result)
        self.total -= share - self.left + parts
        if parts > MAX_NODES or depth > MAX_TREE:
            raise self.fail("the derivative is too large")
        return result

    def visit(self, depth: int) -> None:
        """Count a part that is looked at; `depth` counts how far inside it lies."""
        self.left -= 1
        if self.left < 0 or depth > MAX_DEEP:
            raise self.fail("the derivative is too large")

    def derive(self, node: Node, symbol: Node | Direction, depth: int) -> Node:
        """The derivative of a part."""
        self.visit(depth)
        deeper = depth + 1
        along = symbol.names if isinstance(symbol, Direction) else {}
        match node:
            case Name(id=found) if found in along:
                return Name(along[found]) if along[found] else ZERO
            case Item(id=found, index=index) if found in along:
                return Item(along[found], index)
            case Name() | Item() | Reduce() if node == symbol:
                return ONE
            case Name(id=found) if found in self.aux:
                return self.derive(self.aux[found].expr, symbol, deeper)
            case Num() | Bool() | Name() | Item() | Lag() | Compare() | Logic() | Unary(op="not"):
                return ZERO
            case Unary(operand=operand):
                return negative(self.derive(operand, symbol, deeper))
            case Binary(op=op, left=left, right=right):
                dl, dr = self.derive(left, symbol, deeper), self.derive(right, symbol, deeper)
                return _operation(op, left, right, dl, dr)
            case Choice(cond=cond, then=then, other=other):
                return _chosen(cond, self.derive(then, symbol, deeper), self.derive(other, symbol, deeper))
            case Call(fn=fn) if fn in self.functions:
                return self.derive(self.entered(node), symbol, deeper)
            case Call(fn="clip", args=(x, low, high)):
                return self.derive(Call("min", (Call("max", (x, low)), high)), symbol, deeper)
            case Call(fn=fn, args=args):
                inner = []
                for part in args:
                    inner.append(self.derive(part, symbol, deeper))
                return ZERO if fn in FLAT or all(part == ZERO for part in inner) else _call(node, fn, args, inner)
            case Reduce(kind=kind, body=body):
                if not isinstance(symbol, Name | Direction):
                    return ZERO
                slope = self.derive(body, symbol, deeper)
                if slope == ZERO:
                    return ZERO
                return replace(node, kind="sum", body=slope if kind == "sum" else times(self.others(node), slope))
        raise TypeError(f"not an expression node: {node!r}")

    def entered(self, call: Call) -> Node:
        """What a call of a function of the model stands for."""
        function = self.functions[call.fn]
        return substituted(function.expr, dict(zip(function.args, call.args, strict=True)), self.words)

    def others(self, node: Reduce) -> Node:
        """Of a product with an index, the factors beside the one of that index."""
        other = _renamed(node, _unused(node.var, self.words | _names(node)))
        apart: Node = Compare(("!=",), (Name(other.var), Name(node.var)))
        return replace(other, cond=apart if other.cond is None else Logic("and", (apart, other.cond)))


def _chosen(cond: Node, a: Node, b: Node) -> Node:
    return a if isinstance(a, Num) and a == b else Choice(cond, a, b)


def _call(node: Call, fn: str, args: tuple[Node, ...], inner: list[Node]) -> Node:
    """The chain rule for a function of the language; `inner` are the derivatives of its arguments."""
    x, dx = args[0], inner[0]
    if fn in ("min", "max"):
        for k in range(1, len(args)):
            before = x if k == 1 else Call(fn, args[:k])
            dx = _chosen(Compare(("<=",) if fn == "min" else (">=",), (before, args[k])), dx, inner[k])
        return dx
    if fn == "pow":
        return _operation("**", x, args[1], dx, inner[1])
    if fn == "hypot":
        slope = over(plus(times(x, dx), times(args[1], inner[1])), node)
        return Choice(Compare((">",), (node, ZERO)), slope, ZERO)
    if fn == "atan2":
        y = args[1]
        return over(plus(times(y, dx), negative(times(x, inner[1]))), plus(times(x, x), times(y, y)))
    if fn == "copysign":
        return times(times(Call("sign", (x,)), Call("copysign", (ONE, args[1]))), dx)
    square = times(x, x)
    bell = times(Num(1.1283791670955126), Call("exp", (negative(square),)))  # 2/√π
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
        "asinh": over(ONE, Call("sqrt", (plus(square, ONE),))),
        "acosh": over(ONE, times(Call("sqrt", (Binary("-", x, ONE),)), Call("sqrt", (plus(x, ONE),)))),
        "atanh": over(ONE, times(Binary("-", ONE, x), plus(ONE, x))),
        "erf": bell,
        "erfc": negative(bell),
        "abs": Call("sign", args),
        "relu": Call("heaviside", args),
    }
    return times(outer[fn], dx)


def _operation(op: str, left: Node, right: Node, dl: Node, dr: Node) -> Node:
    """The rules of arithmetic; `dl` and `dr` are the derivatives of the two sides."""
    match op:
        case "+":
            return plus(dl, dr)
        case "-":
            return plus(dl, negative(dr))
        case "*":
            return plus(times(dl, right), times(left, dr))
        case "/":
            return plus(over(dl, right), negative(over(times(left, dr), times(right, right))))
        case "%":
            return plus(dl, negative(times(Binary("//", left, right), dr)))
        case "//":
            return ZERO
    first: Node = ZERO
    second: Node = ZERO
    if dl != ZERO:
        lower = _less_one(right)
        power = ONE if lower == ZERO else left if lower == ONE else Binary("**", left, lower)
        first = times(times(right, power), dl)
    if dr != ZERO:
        slope = times(times(Binary("**", left, right), Call("log", (left,))), dr)
        second = slope if isinstance(left, Num) else Choice(Compare(("==",), (left, ZERO)), ZERO, slope)
    return plus(first, second)


def _less_one(node: Node) -> Node:
    """The exponent minus 1, as a number where it is one."""
    match node:
        case Num(value=value):
            return Num(value - 1.0) if value >= 1.0 else Unary("-", Num(1.0 - value))
        case Unary(op="-", operand=Num(value=value)):
            return Unary("-", Num(value + 1.0))
    return Binary("-", node, ONE)


def substituted(node: Node, given: Mapping[str, Node], words: Iterable[str] = ()) -> Node:
    """The expression with other expressions in the place of names.

    The index of a sum that is a name in one of them gets another name, none of `words`.
    """
    found = {name for value in given.values() for name in _names(value)}

    def change(part: Node) -> Node:
        if isinstance(part, Name) and part.id in given:
            return given[part.id]
        if isinstance(part, Reduce) and part.var in found:
            part = _renamed(part, _unused(part.var, {*found, *words, *_names(part)}))
        return rebuild(part, change)

    return change(node)


def _renamed(node: Reduce, var: str) -> Reduce:
    """The sum with another name for its index."""
    given: dict[str, Node] = {node.var: Name(var)}
    cond = None if node.cond is None else substituted(node.cond, given)
    return replace(node, var=var, body=substituted(node.body, given), cond=cond)


def _names(node: Node) -> set[str]:
    """All names in an expression, also those of indices."""
    return {part.id if isinstance(part, Name) else part.var for part in walk(node) if isinstance(part, Name | Reduce)}


def _unused(stem: str, words: set[str]) -> str:
    while stem in words:
        stem += "_"
    return stem


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
    """`a*b`, without zeros and ones, the sign in front."""
    if ZERO in (a, b):
        return ZERO
    if isinstance(a, Unary) and a.op == "-":
        return negative(times(a.operand, b))
    if isinstance(b, Unary) and b.op == "-":
        return negative(times(a, b.operand))
    if a == ONE:
        return b
    return a if b == ONE else Binary("*", a, b)


def over(a: Node, b: Node) -> Node:
    """`a/b`, without zeros and ones."""
    return ZERO if a == ZERO else a if b == ONE else Binary("/", a, b)
