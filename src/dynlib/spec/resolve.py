"""Names get their meaning: constants become numbers, macros and lags become nodes, indices get checked bounds."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from itertools import islice

from msgspec import Struct, field
from msgspec.structs import replace

from dynlib.errors import ExpressionError, Where, suggest
from dynlib.spec.expressions import (
    C_FUNCTIONS,
    ELSEWHERE,
    EVENT_MACROS,
    FUNCTIONS,
    MAX_DEPTH,
    MAX_NAME,
    MAX_NODES,
    MAX_TEXT,
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
    children,
    measure,
    parse,
    rebuild,
    spell,
    walk,
)

MAX_LAG = 1000
MAX_VALUE_WORK = 10_000_000
MAX_SUMS = 8
_INT_LIMIT = 2**53
_TEXT_OF_A_NODE = MAX_NAME + 30  # a name, or a number and its operator
Interval = tuple[int, int]


class Scope(Struct, frozen=True):
    """All names a model defines; `sizes` maps array states and parameters to their length."""

    states: frozenset[str] = frozenset()
    params: frozenset[str] = frozenset()
    constants: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    aux: frozenset[str] = frozenset()
    functions: Mapping[str, int] = field(default_factory=dict)

    def defines(self, word: str) -> bool:
        """Whether the model has a quantity or function of this name."""
        return any(word in names for names in (self.states, self.params, self.aux, self.functions))

    def known(self) -> list[str]:
        """Names that may stand for a value."""
        return sorted({*self.states, *self.params, *self.constants, *self.aux, "t", "pi"})


class Resolver(Struct, frozen=True):
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

    def whole(self, node: Node) -> Node:
        """A whole expression with every name resolved, which can be written as text and read again.

        Constants and macros make a tree larger than its text was. Raises `ExpressionError`.
        """
        resolved = self.resolve(node)
        parts, depth = measure(resolved)
        if parts > MAX_NODES:
            raise self.fail(f"written out, this has more than {MAX_NODES} parts", node)
        if parts * _TEXT_OF_A_NODE < MAX_TEXT and depth < MAX_DEPTH:
            return resolved
        try:
            parse(spell(resolved))
        except ExpressionError as problem:
            reason = str(problem).split("\n", 1)[0]
            raise self.fail(f"written out, with the values of constants, this is refused: {reason}", node) from None
        return resolved

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
        if name == "t" and self.timed:
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
        if not self.timed:
            known = [*scope.constants, "pi", *self.local]
            raise self.fail(
                f"unknown name {name!r}: only numbers and [constants] can stand here{suggest(name, known)}", node
            )
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
            hint = "" if low == high else "; state the range, as in 'for i in range(1, 9)', or wrap it with %"
            raise self.fail(
                f"index of {node.id!r} runs over {span}, but {node.id}[{size}] has 0 to {size - 1}{hint}", node
            )
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
            raise self.fail(
                f"{name}() may stand only in the equations of a map and in the actions of events; for noise in a "
                'differential equation say type = "sde" and give [noise]',
                node,
            )
        elif name in FUNCTIONS:
            least, most = FUNCTIONS[name]
        else:
            known = [*FUNCTIONS, *self.scope.functions, *(EVENT_MACROS if self.events else ())]
            if name in self.scope.known():
                raise self.fail(f"{name!r} is a value, not a function; a product is written {name}*(…)", node)
            raise self.fail(f"unknown function {name!r}{suggest(name, known, ELSEWHERE)}", node)
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
        if self.scope.defines(node.var):
            raise self.fail(f"loop index {node.var!r} is the name of something else in the model", node)
        if len(self.local) >= MAX_SUMS:
            raise self.fail(f"more than {MAX_SUMS} loops inside one another", node)
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
        low, high = self._interval(node)
        if max(-low, high) >= _INT_LIMIT:
            raise self.fail("the numbers of an index or a range must stay below 2**53", node)
        return low, high

    def _interval(self, node: Node) -> Interval:
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

    def work(self, node: Node, calls: Mapping[str, float]) -> float:
        """The most operations that one evaluation of a resolved expression takes; `calls`: those of each function."""
        total, stack = 0.0, [node]
        while stack:
            part = stack.pop()
            total += 1.0
            match part:
                case Reduce(body=body, var=var, start=start, stop=stop, step=step, cond=cond):
                    (first, _), (_, end), (stride, _) = map(self.interval, (start, stop, step))
                    span = self.loop_interval(start, stop, step, part)
                    inner = replace(self, local={**self.local, var: span})
                    each = inner.work(body, calls) + (0.0 if cond is None else inner.work(cond, calls))
                    total += len(range(first, end, stride)) * each
                case Call(fn=fn, args=args):
                    total += calls.get(fn, 0.0)
                    stack.extend(args)
                case _:
                    stack.extend(children(part))
        return total


def _number(value: float, at: Node) -> Node:
    """A constant as it would be read from text: a sign is a node of its own."""
    if math.copysign(1.0, value) > 0:
        return Num(value, pos=at.pos)
    return Unary("-", Num(-value, pos=at.pos), pos=at.pos)


def _is_zero(node: Node) -> bool:
    """Whether the expression is 0, whatever the state; only short ones are looked at."""
    parts = list(islice(walk(node), 50))
    if len(parts) == 50 or any(isinstance(part, (Name, Item, Call, Lag, Reduce)) for part in parts):
        return False
    try:
        return evaluate(node, {}, Terms()) == 0
    except (ArithmeticError, ValueError):
        return False


def resolve_text(text: str, scope: Scope, where: Where, *, events: bool = False, timed: bool = True) -> Node:
    """Parse and resolve one expression."""
    return Resolver(scope, text, where, events, timed).whole(parse(text, where))


_PURE = {
    **{name: getattr(math, name) for name in (*C_FUNCTIONS, "sqrt", "atan2", "hypot", "copysign", "pow")},
    "floor": lambda x: math.copysign(math.floor(x), x),
    "ceil": lambda x: math.copysign(math.ceil(x), x),
    "trunc": lambda x: math.copysign(math.trunc(x), x),
    "round": lambda x: math.copysign(round(x), x),
    "abs": abs,
    "min": min,
    "max": max,
    "sign": lambda x: 1.0 if x > 0 else -1.0 if x < 0 else x * 0.0,
    "heaviside": lambda x: float(x >= 0),
    "step": lambda x: float(x >= 0),
    "relu": lambda x: max(x, 0.0),
    "clip": lambda x, low, high: min(max(x, low), high),
    "approx": lambda x, y, tol: float(abs(x - y) <= tol),
}


class Terms(Struct):
    """How many operations the loops of one document may still take while its values are computed."""

    left: int = MAX_VALUE_WORK

    def spend(self, turns: int, *bodies: Node | None) -> None:
        """Pay for the turns of a loop. Raises `ArithmeticError`."""
        self.left -= turns * sum(measure(body)[0] for body in bodies if body is not None)
        if self.left < 0:
            raise ArithmeticError(f"its loops take more than {MAX_VALUE_WORK} operations")


def evaluate(node: Node, names: Mapping[str, float], terms: Terms) -> float:
    """The value of a resolved expression of constants and loop indices; for sizes and initial values only.

    To the bit what generated code gives, except that a power is always that of the C library, `hypot` too, and that a
    value which does not exist is an exception. Raises `ArithmeticError` and `ValueError`.
    """
    return evaluator(node, terms)(names)


def evaluator(node: Node, terms: Terms) -> Callable[[Mapping[str, float]], float]:
    """`evaluate` as a function of the names, for one that is called often: the expression is read once."""

    def of(part: Node) -> Callable[[Mapping[str, float]], float]:
        return evaluator(part, terms)

    match node:
        case Num(value=number):
            return lambda names: number
        case Bool(value=flag):
            return lambda names: float(flag)
        case Name(id=name):
            return lambda names: float(names[name]) if name in names else _no_constant()
        case Unary(op="-", operand=operand):
            inner = of(operand)
            return lambda names: -inner(names)
        case Unary(operand=operand):
            inner = of(operand)
            return lambda names: float(not inner(names))
        case Binary(op=op, left=left, right=right):
            act, a, b = _OPERATORS.get(op, _power), of(left), of(right)
            return lambda names: act(a(names), b(names))
        case Compare(ops=ops, operands=operands):
            parts = [of(part) for part in operands]

            def compared(names: Mapping[str, float]) -> float:
                values = [part(names) for part in parts]
                return float(all(_compare(op, a, b) for op, a, b in zip(ops, values, values[1:], strict=False)))

            return compared
        case Logic(op=op, operands=operands):
            parts, some = [of(part) for part in operands], all if op == "and" else any
            return lambda names: float(some(bool(part(names)) for part in parts))
        case Choice(cond=cond, then=then, other=other):
            question, yes, no = of(cond), of(then), of(other)
            return lambda names: yes(names) if question(names) else no(names)
        case Call(fn=fn, args=args) if fn in _PURE:
            function, parts = _PURE[fn], [of(part) for part in args]
            return lambda names: float(function(*[part(names) for part in parts]))
        case Reduce():
            return _reduced(node, terms)
    return lambda names: _no_constant()


def _no_constant() -> float:
    raise ArithmeticError("not a constant expression")


def _reduced(node: Reduce, terms: Terms) -> Callable[[Mapping[str, float]], float]:
    start, stop, step, body = (evaluator(part, terms) for part in (node.start, node.stop, node.step, node.body))
    cond = None if node.cond is None else evaluator(node.cond, terms)

    def reduced(names: Mapping[str, float]) -> float:
        total = 0.0 if node.kind == "sum" else 1.0
        indices = range(int(start(names)), int(stop(names)), int(step(names)))
        terms.spend(len(indices), node.body, node.cond)
        for i in indices:
            inner = {**names, node.var: float(i)}
            if cond is None or cond(inner):
                part = body(inner)
                total = total + part if node.kind == "sum" else total * part
        return total

    return reduced


def _floored(a: float, b: float) -> float:
    quotient = (a - _modulo(a, b)) / b
    return math.copysign(round(quotient), quotient) if math.isfinite(quotient) else quotient


def _power(a: float, b: float) -> float:
    result = a**b
    if isinstance(result, complex):
        raise ArithmeticError(f"{a} ** {b} is not real")
    return float(result)


def _modulo(a: float, b: float) -> float:
    if b == 0.0:
        raise ZeroDivisionError("division by 0")
    rest = math.nan if math.isinf(a) else math.fmod(a, b)
    return rest + b if rest != 0 and (rest < 0) != (b < 0) else rest


_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": _floored, "%": _modulo,
}  # fmt: skip
"""All others are powers."""


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
