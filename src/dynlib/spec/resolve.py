"""Names get their meaning: constants become numbers, macros and lags become nodes, indices get checked bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dynlib.errors import ExpressionError, Where, suggest
from dynlib.spec.expressions import (
    C_FUNCTIONS,
    EVENT_MACROS,
    FUNCTIONS,
    RANDOM,
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
    builtin_constant,
    parse,
    rebuild,
    walk,
)

MAX_LAG = 1000
MAX_TERMS = 1_000_000
_INT_LIMIT = 2**53
Interval = tuple[int, int]


@dataclass(frozen=True)
class Scope:
    """All names a model defines; `sizes` maps array states and parameters to their length."""

    states: frozenset[str] = frozenset()
    params: frozenset[str] = frozenset()
    constants: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    aux: frozenset[str] = frozenset()
    functions: Mapping[str, int] = field(default_factory=dict)

    def known(self) -> list[str]:
        """Names that may stand for a value."""
        return sorted({*self.states, *self.params, *self.constants, *self.aux, "t", "pi"})


@dataclass(frozen=True)
class Resolver:
    """Resolves the expressions of one text; `local` are loop indices with their intervals, `args` free names."""

    scope: Scope
    text: str
    where: Where
    events: bool = False
    timed: bool = True
    args: frozenset[str] = frozenset()
    local: Mapping[str, Interval] = field(default_factory=dict)
    random: bool = False

    def fail(self, message: str, node: Node) -> ExpressionError:
        return ExpressionError(message, self.text, node.pos, self.where)

    def resolve(self, node: Node) -> Node:
        """The node with every name resolved. Raises `ExpressionError`."""
        match node:
            case Name():
                return self._name(node)
            case Item():
                return self._item(node)
            case Call():
                return self._call(node)
            case Reduce():
                return self._reduce(node)
        resolved = rebuild(node, self.resolve)
        if isinstance(resolved, Binary) and resolved.op in ("/", "//", "%") and _is_zero(resolved.right):
            raise self.fail("division by 0", node)
        return resolved

    def _name(self, node: Name) -> Node:
        name, scope = node.id, self.scope
        if name in self.local or name in self.args:
            return node
        if name == "t":
            if not self.timed:
                raise self.fail("'t' has no meaning here", node)
            return node
        if name in scope.sizes:
            raise self.fail(f"{name!r} is an array of {scope.sizes[name]}; write one element, as in {name}[i]", node)
        if name in scope.states or name in scope.params or name in scope.aux:
            return node
        if name in scope.constants:
            return _number(scope.constants[name], node)
        value = builtin_constant(name)
        if value is not None:
            return Num(value, pos=node.pos)
        if name in scope.functions or name in FUNCTIONS:
            raise self.fail(f"{name!r} is a function; call it as {name}(…)", node)
        raise self.fail(f"unknown name {name!r}{suggest(name, [*scope.known(), *self.args, *self.local])}", node)

    def _item(self, node: Item) -> Node:
        size = self.scope.sizes.get(node.id)
        if size is None:
            if node.id in self.scope.states or node.id in self.scope.params:
                raise self.fail(f"{node.id!r} is a scalar and has no elements", node)
            raise self.fail(f"unknown array {node.id!r}{suggest(node.id, self.scope.sizes)}", node)
        index = self.resolve(node.index)
        low, high = self.interval(index)
        if low < 0 or high >= size:
            span = str(low) if low == high else f"{low} to {high}"
            raise self.fail(f"index of {node.id!r} runs over {span}, but {node.id}[{size}] has 0 to {size - 1}", node)
        return Item(node.id, index, pos=node.pos)

    def _call(self, node: Call) -> Node:
        name, args = node.fn, node.args
        if name.startswith("lag_") and name not in self.scope.functions:
            return self._lag(node, name[4:], args)
        if name in EVENT_MACROS and name not in self.scope.functions:
            return self._macro(node)
        if name in self.scope.functions:
            least = most = self.scope.functions[name]
        elif name in RANDOM and not self.random:
            raise self.fail(f"{name}() may stand only in the equations of a map and in the actions of events", node)
        elif name in FUNCTIONS:
            least, most = FUNCTIONS[name]
        else:
            known = [*FUNCTIONS, *self.scope.functions, *(EVENT_MACROS if self.events else ())]
            raise self.fail(f"unknown function {name!r}{suggest(name, known)}", node)
        if not least <= len(args) <= most:
            wanted = str(least) if least == most else f"{least} or more"
            raise self.fail(f"{name}() takes {wanted} argument{'s' * (least != 1)}, got {len(args)}", node)
        return rebuild(node, self.resolve)

    def _lag(self, node: Node, state: str, args: tuple[Node, ...]) -> Node:
        if state not in self.scope.states:
            raise self.fail(f"lag_{state}(): {state!r} is not a state{suggest(state, self.scope.states)}", node)
        if state in self.scope.sizes:
            raise self.fail(f"lag_{state}(): lags of array states are not supported", node)
        steps = 1
        if args:
            first = args[0]
            if len(args) > 1 or not isinstance(first, Num) or first.value != int(first.value):
                raise self.fail(f"lag_{state}(k) takes one whole number, written out", node)
            steps = int(first.value)
        if not 1 <= steps <= MAX_LAG:
            raise self.fail(f"lag_{state}({steps}): the lag must be 1 to {MAX_LAG} steps", node)
        return Lag(state, steps, pos=node.pos)

    def _macro(self, node: Call) -> Node:
        """Event macros compare the state now with its value one completed step ago."""
        if not self.events:
            raise self.fail(f"{node.fn}() may stand only in the condition of an event", node)
        wanted = EVENT_MACROS[node.fn]
        if len(node.args) != wanted:
            raise self.fail(f"{node.fn}() takes {wanted} argument{'s' * (wanted != 1)}, got {len(node.args)}", node)
        subject, *rest = node.args
        if not isinstance(subject, Name) or subject.id not in self.scope.states:
            raise self.fail(f"the first argument of {node.fn}() must be the name of a state", subject)
        x = self.resolve(subject)
        was = self._lag(node, subject.id, ())
        limits = [self.resolve(part) for part in rest]

        def compare(op: str, left: Node, right: Node) -> Node:
            return Compare((op,), (left, right), pos=node.pos)

        def inside(value: Node) -> Node:
            return Compare(("<=", "<="), (limits[0], value, limits[1]), pos=node.pos)

        def both(a: Node, b: Node) -> Node:
            return Logic("and", (a, b), pos=node.pos)

        def up() -> Node:
            return both(compare("<", was, limits[0]), compare(">=", x, limits[0]))

        def down() -> Node:
            return both(compare(">", was, limits[0]), compare("<=", x, limits[0]))

        match node.fn:
            case "cross_up":
                return up()
            case "cross_down":
                return down()
            case "cross_either":
                return Logic("or", (up(), down()), pos=node.pos)
            case "changed":
                return compare("!=", x, was)
            case "increasing":
                return compare(">", x, was)
            case "decreasing":
                return compare("<", x, was)
            case "in_interval":
                return inside(x)
            case "enters_interval":
                return both(Unary("not", inside(was), pos=node.pos), inside(x))
            case _:
                return both(inside(was), Unary("not", inside(x), pos=node.pos))

    def _reduce(self, node: Reduce) -> Node:
        if node.var in self.local or node.var in self.args:
            raise self.fail(f"loop index {node.var!r} is already in use", node)
        if node.var in (*self.scope.states, *self.scope.params, *self.scope.aux, *self.scope.functions):
            raise self.fail(f"loop index {node.var!r} is the name of something else in the model", node)
        bounds = [self.resolve(part) for part in (node.start, node.stop, node.step)]
        span = self.loop_interval(bounds[0], bounds[1], bounds[2], node)
        inner = Resolver(
            self.scope, self.text, self.where, self.events, self.timed, self.args, {**self.local, node.var: span}
        )  # no random numbers inside: one call would stand for many draws
        cond = None if node.cond is None else inner.resolve(node.cond)
        return Reduce(
            node.kind, inner.resolve(node.body), node.var, bounds[0], bounds[1], bounds[2], cond, pos=node.pos
        )

    def loop_interval(self, start: Node, stop: Node, step: Node, at: Node) -> Interval:
        """The interval of the values that a loop index can take."""
        (a, _), (_, d), (least, most) = self.interval(start), self.interval(stop), self.interval(step)
        if least != most or least < 1:
            raise self.fail("the step of range() must be a positive whole number", at)
        return (a, max(a, d - 1)) if d > a else (a, a)

    def interval(self, node: Node) -> Interval:
        """Bounds of a whole-number expression over all values of its loop indices."""
        match node:
            case Num(value=value) if value == int(value) and abs(value) < _INT_LIMIT:
                return int(value), int(value)
            case Name(id=name) if name in self.local:
                return self.local[name]
            case Unary(op="-", operand=operand):
                low, high = self.interval(operand)
                return -high, -low
            case Binary(op=op, left=left, right=right) if op in ("+", "-", "*", "//", "%"):
                (a, b), (c, d) = self.interval(left), self.interval(right)
                if op == "+":
                    return a + c, b + d
                if op == "-":
                    return a - d, b - c
                if op == "*":
                    corners = (a * c, a * d, b * c, b * d)
                    return min(corners), max(corners)
                if c != d or c < 1:
                    raise self.fail(f"the divisor of {op!r} in an index must be a positive constant", node)
                if op == "//":
                    return a // c, b // c
                return (a, b) if a >= 0 and b < c else (0, c - 1)
        raise self.fail("an index must be made of whole numbers, loop indices and + - * // %", node)


def _number(value: float, at: Node) -> Node:
    return Num(value, pos=at.pos) if value >= 0 else Unary("-", Num(-value, pos=at.pos), pos=at.pos)


def _is_zero(node: Node) -> bool:
    if any(isinstance(part, (Name, Item, Call, Lag, Reduce)) for part in walk(node)):
        return False
    try:
        return evaluate(node, {}, Terms()) == 0
    except ArithmeticError:
        return False


def resolve_text(text: str, scope: Scope, where: Where, *, events: bool = False, timed: bool = True) -> Node:
    """Parse and resolve one expression."""
    return Resolver(scope, text, where, events, timed).resolve(parse(text, where))


_PURE = {
    **{
        name: getattr(math, name)
        for name in (*C_FUNCTIONS, "sqrt", "atan2", "hypot", "copysign", "pow", "floor", "ceil", "trunc")
    },
    "abs": abs,
    "min": min,
    "max": max,
    "round": round,
    "sign": lambda x: float((x > 0) - (x < 0)),
    "heaviside": lambda x: float(x >= 0),
    "step": lambda x: float(x >= 0),
    "relu": lambda x: max(x, 0.0),
    "clip": lambda x, low, high: min(max(x, low), high),
    "approx": lambda x, y, tol: float(abs(x - y) <= tol),
}


@dataclass
class Terms:
    """How many terms the sums and products of one document may still have while its values are computed."""

    left: int = MAX_TERMS

    def spend(self, count: int) -> None:
        if count > self.left:
            raise ArithmeticError(f"its sums have more than {MAX_TERMS} terms")
        self.left -= count


def evaluate(node: Node, names: Mapping[str, float], terms: Terms) -> float:
    """The value of a resolved expression of constants and loop indices; for sizes and initial values only."""

    def value(part: Node) -> float:
        return evaluate(part, names, terms)

    match node:
        case Num(value=number):
            return number
        case Bool(value=flag):
            return float(flag)
        case Name(id=name) if name in names:
            return float(names[name])
        case Unary(op="-", operand=operand):
            return -value(operand)
        case Unary(operand=operand):
            return float(not value(operand))
        case Binary(op=op, left=left, right=right):
            return _arithmetic(op, value(left), value(right))
        case Compare(ops=ops, operands=operands):
            values = [value(part) for part in operands]
            return float(all(_compare(op, a, b) for op, a, b in zip(ops, values, values[1:], strict=False)))
        case Logic(op=op, operands=operands):
            return float((all if op == "and" else any)(bool(value(part)) for part in operands))
        case Choice(cond=cond, then=then, other=other):
            return value(then) if value(cond) else value(other)
        case Call(fn=fn, args=args) if fn in _PURE:
            return float(_PURE[fn](*(value(part) for part in args)))
        case Reduce(kind=kind, body=body, var=var, start=start, stop=stop, step=step, cond=cond):
            total = 0.0 if kind == "sum" else 1.0
            indices = range(int(value(start)), int(value(stop)), int(value(step)))
            terms.spend(len(indices))
            for i in indices:
                inner = {**names, var: float(i)}
                if cond is None or evaluate(cond, inner, terms):
                    part = evaluate(body, inner, terms)
                    total = total + part if kind == "sum" else total * part
            return total
    raise ArithmeticError("not a constant expression")


def _arithmetic(op: str, a: float, b: float) -> float:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return a / b
        case "//":
            return a // b
        case "%":
            return a % b
    result = a**b
    if isinstance(result, complex):
        raise ArithmeticError(f"{a} ** {b} is not real")
    return float(result)


def _compare(op: str, a: float, b: float) -> bool:
    match op:
        case "<":
            return a < b
        case "<=":
            return a <= b
        case ">":
            return a > b
        case ">=":
            return a >= b
        case "==":
            return a == b
    return a != b
