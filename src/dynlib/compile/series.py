"""Taylor coefficients of a model's solution as straight-line code, by recurrences over its expressions.

Jorba & Zou, Experimental Mathematics 14 (2005) 99–117; Barrio, Appl. Math. Comput. 163 (2005) 525–545;
Hairer, Nørsett & Wanner I, I.8. The normalised coefficients of a quantity u are u_[k] = u^(k) / k!.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite

from dynlib.compile.forms import SCALAR_LIMIT, Form
from dynlib.compile.writer import Writer
from dynlib.errors import ConfigError
from dynlib.spec.expressions import (
    Binary,
    Bool,
    Call,
    Compare,
    Item,
    Lag,
    Logic,
    Name,
    Node,
    Num,
    Reduce,
    Unary,
    is_random,
    spell,
)

MAX_SERIES = 5_000
"""Series of one model, at most."""
MAX_INSIDE = 200
"""Aux variables, functions and brackets inside each other, at most."""
_WHOLE_POWERS = 64
"""Powers up to this one are products; these need no division by the base, which may be 0."""
_MULTIPLY, _ADD, _DIVIDE, _CALL = 4, 3, 13, 40
"""Cycles that an operation takes, about: sums add first what is known first."""
_SUM, _PRODUCT, _ATOM = 0, 1, 2
_COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip

Term = Node | int
"""What an expression stands for: a constant (a number or a name), or the number of a series."""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """The text of a coefficient: a name, or a literal."""

    text: str
    ready: int = 0  # after how many cycles of the step it is known, about


@dataclass(frozen=True, slots=True)
class Part:
    """A term of a sum: its text without sign, how it binds, and when it is known."""

    sign: int
    text: str
    level: int
    ready: int


@dataclass(frozen=True, slots=True)
class Op:
    """How one series comes from others.

    `parts` are other series, with signs for a sum; `constant` is a factor, an exponent, a numerator or what is added
    to the first coefficient; `start` is the first coefficient where it is no consequence of the recurrence.
    """

    kind: str
    parts: tuple[int, ...] = ()
    signs: tuple[int, ...] = ()
    constant: Node | None = None
    start: Node | None = None


@dataclass
class _Lines:
    """Code that computes the constants of a step: once for each call of the kernel, or for each step."""

    call: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)


class Series:
    """The series of one model up to an order, and the lines that compute them.

    `lines` use the local names of the states and parameters and `t`, and compute the vectors `{s1}`, `{s2}`, … of
    coefficients. `once` are lines for the start of a kernel. Raises `ConfigError` for a model that has no such series.
    """

    def __init__(self, form: Form, order: int, used: set[str]) -> None:
        self.form, self.model, self.order = form, form.model, order
        self.ops: list[Op] = []
        self.known: dict[Op, int] = {}
        self.aux: dict[str, Term] = {}
        self.calls: dict[tuple[str, tuple[Term, ...]], Term] = {}
        self.constants: dict[Node, Name] = {}
        self.changing = {a.target for e in self.model.events for a in e.actions}
        self.varies: set[Node] = set()
        self.held = _Lines()
        self.depth = 0
        self.args: dict[str, str] = {}
        self.writer: Writer = form.writer([], "")
        self.writer.args = self.args
        if self.model.n_states > SCALAR_LIMIT:
            raise self._fail(f"more than {SCALAR_LIMIT} components of the state")
        self.places = form.places
        self.components = [
            self._series(Op("state", start=Name(q.name) if q.size is None else Item(q.name, Num(float(k)))))
            for q in self.model.states
            for k in range(q.count)
        ]
        self.roots = self._roots()
        self.once, self.lines = self._code()
        used |= self.writer.used

    # -- from expressions to series ----------------------------------------------------------------------------

    def _fail(self, what: str) -> ConfigError:
        return ConfigError(
            f"stepper 'taylor' has no series for {what} in the equations of {self.model.name!r}; "
            "use another stepper, such as rk45"
        )

    def _roots(self) -> list[Term]:
        """The right-hand side of each component of the state."""
        roots: list[Term] = [Num(0.0)] * self.model.n_states
        for equation in self.model.equations:
            loop = equation.loop
            for k in (None,) if loop is None else loop.indices:
                given = {} if loop is None or k is None else {loop.var: Num(float(k))}
                element = 0 if equation.index is None else self._index(equation.index, given)
                roots[self.places[equation.target] + element] = self.term(equation.expr, given)
        return roots

    def _index(self, node: Node, given: Mapping[str, Term]) -> int:
        """The value of an index."""
        match node:
            case Num(value=value):
                return int(value)
            case Name(id=name) if isinstance(index := given.get(name), Num):
                return int(index.value)
            case Unary(op="-", operand=operand):
                return -self._index(operand, given)
            case Binary(op=op, left=left, right=right):
                a, b = self._index(left, given), self._index(right, given)
                match op:
                    case "+":
                        return a + b
                    case "-":
                        return a - b
                    case "*":
                        return a * b
                    case "%" if b != 0:
                        return a % b
                    case "//" if b != 0:
                        return a // b
        raise self._fail(_brief(node))

    def _series(self, op: Op) -> int:
        if op not in self.known:
            if len(self.ops) >= MAX_SERIES:
                raise self._fail(f"more than {MAX_SERIES} different parts")
            self.known[op] = len(self.ops)
            self.ops.append(op)
        return self.known[op]

    def _constant(self, node: Node) -> Node:
        """A constant expression of constants as a name, or as a number where it is one."""
        value = _folded(node)
        if value is not None:
            return value
        if node not in self.constants:
            name = Name(f"#c{len(self.constants)}")
            code = f"c{len(self.constants)}_"
            varies = any(part in self.varies or isinstance(part, Lag) for part in _leaves(node))
            varies |= any(isinstance(part, Name | Item) and part.id in self.changing for part in _leaves(node))
            lines = self.held.step if varies else self.held.call
            self.writer.lines = lines
            lines.append(f"{code} = {self.writer.stored(node)}")
            self.args[name.id] = code
            self.constants[node] = name
            if varies:
                self.varies.add(name)
        return self.constants[node]

    def term(self, node: Node, given: Mapping[str, Term]) -> Term:
        """The expression as a constant or a series; `given` are the arguments of a function, or indices."""
        self.depth += 1
        if self.depth > MAX_INSIDE:
            raise self._fail(f"more than {MAX_INSIDE} parts inside each other")
        found = self._term(node, given)
        self.depth -= 1
        return found

    def _term(self, node: Node, given: Mapping[str, Term]) -> Term:
        match node:
            case Num() | Lag():
                return node
            case Bool(value=flag):
                return Num(float(flag))
            case Name(id=name):
                return self._name(name, given)
            case Item(id=name, index=index):
                k = self._index(index, given)
                return self.components[self.places[name] + k] if name in self.places else Item(name, Num(float(k)))
            case Unary(op="-", operand=operand):
                return self._negative(self.term(operand, given))
            case Binary(op="+" | "-" as op, left=left, right=right):
                return self._sum(self.term(left, given), 1 if op == "+" else -1, self.term(right, given))
            case Binary(op="*", left=left, right=right):
                return self._product(self.term(left, given), self.term(right, given))
            case Binary(op="/", left=left, right=right):
                return self._quotient(self.term(left, given), self.term(right, given))
            case Binary(op="**", left=left, right=right):
                return self._power(self.term(left, given), self.term(right, given))
            case Call(fn=fn, args=args) if not is_random(node):
                terms = []
                for arg in args:
                    terms.append(self.term(arg, given))
                return self._call(node, fn, tuple(terms))
            case Reduce():
                return self._reduce(node, given)
        raise self._fail(_brief(node))

    def _name(self, name: str, given: Mapping[str, Term]) -> Term:
        if name in given:
            return given[name]
        if name == "t":
            return self._series(Op("t"))
        if name in self.places:
            return self.components[self.places[name]]
        if name in self.model.aux_by_name:
            if name not in self.aux:
                self.aux[name] = self.term(self.model.aux_by_name[name].expr, {})
            return self.aux[name]
        return Name(name)

    def _sum(self, a: Term, sign: int, b: Term) -> Term:
        if isinstance(a, Node) and isinstance(b, Node):
            return self._constant(Binary("+" if sign > 0 else "-", a, b))
        parts: list[int] = []
        signs: list[int] = []
        constant: Node | None = None
        for s, part in ((1, a), (sign, b)):
            if isinstance(part, int):
                parts.append(part)
                signs.append(s)
            else:
                constant = part if s > 0 else self._constant(Unary("-", part))
        if constant == Num(0.0) and signs == [1]:
            return parts[0]
        return self._series(Op("sum", tuple(parts), tuple(signs), None if constant == Num(0.0) else constant))

    def _signed(self, part: int) -> tuple[int, int]:
        """The series without its sign, and the sign."""
        op = self.ops[part]
        if op.kind == "sum" and op.signs == (-1,) and op.constant is None:
            return -1, op.parts[0]
        return 1, part

    def _negative(self, a: Term) -> Term:
        if isinstance(a, Node):
            return self._constant(Unary("-", a))
        sign, part = self._signed(a)
        return part if sign < 0 else self._series(Op("sum", (part,), (-1,)))

    def _product(self, a: Term, b: Term) -> Term:
        if isinstance(a, Node):
            return self._constant(Binary("*", a, b)) if isinstance(b, Node) else self._scaled(a, b)
        if isinstance(b, Node):
            return self._scaled(b, a)
        (s, p), (r, q) = self._signed(a), self._signed(b)
        result = self._square(p) if p == q else self._series(Op("product", (min(p, q), max(p, q))))
        return result if s * r > 0 else self._negative(result)

    def _square(self, part: int) -> int:
        return self._series(Op("square", (part,)))

    def _scaled(self, factor: Node, part: int) -> Term:
        sign, part = self._signed(part)
        if sign < 0:
            factor = self._constant(Unary("-", factor))
        if factor == Num(1.0):
            return part
        return self._negative(part) if factor == Num(-1.0) else self._series(Op("scaled", (part,), constant=factor))

    def _quotient(self, a: Term, b: Term) -> Term:
        if isinstance(b, Node):
            if isinstance(a, Node):
                return self._constant(Binary("/", a, b))
            return self._scaled(self._constant(Binary("/", Num(1.0), b)), a)
        sign, b = self._signed(b)
        op = self.ops[b]
        if op.kind == "power":  # a / u**c is a * u**-c
            assert op.constant is not None
            inverse = self._series(Op("power", op.parts, constant=self._constant(Unary("-", op.constant))))
            return self._product(a if sign > 0 else self._negative(a), inverse)
        if isinstance(a, int):
            s, a = self._signed(a)
            result = self._series(Op("quotient", (a, b)))
            return result if s * sign > 0 else self._negative(result)
        return self._series(Op("quotient", (b,), constant=a if sign > 0 else self._constant(Unary("-", a))))

    def _power(self, a: Term, b: Term) -> Term:
        if isinstance(a, Node) and isinstance(b, Node):
            return self._constant(Binary("**", a, b))
        if isinstance(b, int):
            logarithm = self._constant(Call("log", (a,))) if isinstance(a, Node) else self._call_of("log", a)
            start = Binary("**", a if isinstance(a, Node) else _first(a), _first(b))
            return self._grown(self._product(b, logarithm), start)
        assert isinstance(a, int)
        if not isinstance(b, Num):
            return self._series(Op("power", (a,), constant=b))
        value = b.value
        if value == int(value) and abs(value) <= _WHOLE_POWERS:
            whole = self._whole_power(a, abs(int(value)))
            return whole if value >= 0 else self._quotient(Num(1.0), whole)
        if value == 0.5:
            return self._root(a)
        if value == -0.5:
            return self._quotient(Num(1.0), self._root(a))
        return self._series(Op("power", (a,), constant=b))

    def _root(self, a: int) -> int:
        return self._series(Op("root", (a,)))

    def _whole_power(self, a: int, n: int) -> Term:
        result: Term = Num(1.0)
        square: Term = a
        while n:
            if n & 1:
                result = square if result == Num(1.0) else self._product(result, square)
            n >>= 1
            if n:
                square = self._product(square, square)
        return result

    def _grown(self, exponent: Term, start: Node) -> Term:
        """u' = u·v' for an exponent v."""
        assert isinstance(exponent, int)
        return self._series(Op("grown", (exponent,), start=start))

    def _call(self, node: Node, fn: str, terms: tuple[Term, ...]) -> Term:
        if fn in self.model.function_by_name:
            key = (fn, terms)
            if key not in self.calls:
                function = self.model.function_by_name[fn]
                self.calls[key] = self.term(function.expr, dict(zip(function.args, terms, strict=True)))
            return self.calls[key]
        constants = tuple(part for part in terms if isinstance(part, Node))
        if len(constants) == len(terms):
            return self._constant(Call(fn, constants))
        if fn == "pow":
            return self._power(*terms)
        if fn == "hypot":
            return self._root_of(self._sum(self._product(terms[0], terms[0]), 1, self._product(terms[1], terms[1])))
        if fn == "atan2":
            return self._angle(*terms)
        if len(terms) == 1 and isinstance(terms[0], int):
            return self._call_of(fn, terms[0], node)
        raise self._fail(_brief(node))

    def _root_of(self, a: Term) -> Term:
        return self._root(a) if isinstance(a, int) else self._constant(Call("sqrt", (a,)))

    def _call_of(self, fn: str, a: int, node: Node | None = None) -> Term:
        """A function of the language of one series."""
        one = Num(1.0)
        start = Call(fn, (_first(a),))
        match fn:
            case "sqrt":
                return self._root(a)
            case "exp":
                return self._grown(a, start)
            case "expm1":
                return self._restarted(self._grown(a, Call("exp", (_first(a),))), start)
            case "log":
                return self._series(Op("over", (a, a), start=start))
            case "log1p":
                return self._over(a, self._sum(a, 1, one), start)
            case "log2" | "log10":
                factor = Num(1.4426950408889634 if fn == "log2" else 0.4342944819032518)
                return self._restarted(self._scaled(factor, self._series(Op("over", (a, a),
                                       start=Call("log", (_first(a),))))), start)  # fmt: skip
            case "sin" | "cos":
                return self._pair(a, "sin", "cos", -1)[fn == "cos"]
            case "sinh" | "cosh":
                return self._pair(a, "sinh", "cosh", 1)[fn == "cosh"]
            case "tan":
                return self._tangent(a, fn, 1)
            case "tanh":
                return self._tangent(a, fn, -1)
            case "asin":
                return self._over(a, self._root_of(self._sum(one, -1, self._square(a))), start)
            case "acos":
                arc = self._over(a, self._root_of(self._sum(one, -1, self._square(a))), Call("asin", (_first(a),)))
                return self._restarted(self._negative(arc), start)
            case "atan":
                return self._over(a, self._sum(self._square(a), 1, one), start)
            case "asinh":
                return self._over(a, self._root_of(self._sum(self._square(a), 1, one)), start)
            case "acosh":
                return self._over(a, self._root_of(self._sum(self._square(a), -1, one)), start)
            case "atanh":
                return self._over(a, self._sum(one, -1, self._square(a)), start)
            case "erf":
                return self._bell(a, 1.1283791670955126, start)
            case "erfc":
                return self._bell(a, -1.1283791670955126, start)
        raise self._fail(_brief(node or start))

    def _over(self, a: int, divisor: Term, start: Node) -> int:
        """u' = a' / divisor."""
        assert isinstance(divisor, int)
        return self._series(Op("over", (a, divisor), start=start))

    def _pair(self, a: int, first: str, second: str, sign: int) -> tuple[int, int]:
        """Two series u' = v·a', v' = ±u·a', that stand next to each other."""
        u = self._series(Op("fore", (a,), (sign,), start=Call(first, (_first(a),))))
        v = self._series(Op("aft", (a, u), (sign,), start=Call(second, (_first(a),))))
        return u, v

    def _tangent(self, a: int, fn: str, sign: int) -> int:
        """u' = (1 ± u²)·a'; the square stands next to it."""
        u = self._series(Op("tangent", (a,), (sign,), start=Call(fn, (_first(a),))))
        self._square(u)
        return u

    def _bell(self, a: int, factor: float, start: Node) -> int:
        """u' = factor · exp(-a²) · a'."""
        square = self._square(a)
        bell = self._grown(self._negative(square), Call("exp", (Unary("-", _first(square)),)))
        assert isinstance(bell, int)
        return self._series(Op("along", (a, bell), constant=Num(factor), start=start))

    def _restarted(self, a: Term, start: Node) -> int:
        """The same series with a first coefficient of its own."""
        assert isinstance(a, int)
        return self._series(Op("restarted", (a,), start=start))

    def _angle(self, y: Term, x: Term) -> Term:
        """atan2: u' = (x·y' - y·x') / (x² + y²)."""
        square = self._sum(self._product(x, x), 1, self._product(y, y))
        assert isinstance(square, int)
        firsts = tuple(_first(part) if isinstance(part, int) else part for part in (y, x))
        start = Call("atan2", firsts)
        if isinstance(y, Node):
            assert isinstance(x, int)
            return self._over_scaled(self._negative(y), x, square, start)
        if isinstance(x, Node):
            return self._over_scaled(x, y, square, start)
        return self._series(Op("angle", (y, x, square), start=start))

    def _over_scaled(self, factor: Term, a: int, divisor: int, start: Node) -> Term:
        assert isinstance(factor, Node)
        scaled = self._scaled(factor, a)
        assert isinstance(scaled, int)
        return self._over(scaled, divisor, start)

    def _reduce(self, node: Reduce, given: Mapping[str, Term]) -> Term:
        start, stop, step = (self._index(part, given) for part in (node.start, node.stop, node.step))
        if step == 0 or len(range(start, stop, step)) > MAX_SERIES:
            raise self._fail(_brief(node))
        total: Term = Num(0.0 if node.kind == "sum" else 1.0)
        for k in range(start, stop, step):
            inside = {**given, node.var: Num(float(k))}
            if node.cond is not None and not self._holds(node.cond, inside):
                continue
            part = self.term(node.body, inside)
            total = self._sum(total, 1, part) if node.kind == "sum" else self._product(total, part)
        return total

    def _holds(self, cond: Node, given: Mapping[str, Term]) -> bool:
        """Whether a condition on indices holds."""
        match cond:
            case Bool(value=flag):
                return flag
            case Unary(op="not", operand=operand):
                return not self._holds(operand, given)
            case Logic(op=op, operands=operands):
                found = [self._holds(part, given) for part in operands]
                return all(found) if op == "and" else any(found)
            case Compare(ops=ops, operands=operands):
                values = [self._index(part, given) for part in operands]
                return all(_COMPARE[op](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        raise self._fail(_brief(cond))

    # -- from series to code -----------------------------------------------------------------------------------

    def _code(self) -> tuple[list[str], list[str]]:
        return self.held.call, [*self.held.step, *_Coefficients(self).lines]


class _Coefficients:
    """Writes the recurrences: order after order, each series after those that it is made from."""

    def __init__(self, series: Series) -> None:
        self.series, self.form, self.ops = series, series.form, series.ops
        self.lines: list[str] = []
        self.found: list[list[Coefficient | None]] = [[] for _ in self.ops]
        self.times: dict[tuple[int, int], Coefficient | None] = {}  # k times the coefficient k
        self.inverses: dict[int, Coefficient] = {}
        self.twice: dict[int, Coefficient] = {}
        self.inlined = self._inlined()
        integrals = ("grown", "fore", "aft", "tangent", "along", "over")
        self.wanted_times = {op.parts[0] for op in self.ops if op.kind in integrals}
        self.wanted_times |= {part for op in self.ops if op.kind == "angle" for part in op.parts[:2]}
        self.names = [q.name for q in self.form.model.states] if self.form.scalar else []
        for k in range(series.order):
            self.lines.append(f"# order {k + 1}")
            for number, op in enumerate(self.ops):
                if op.kind != "state":
                    self.found[number].append(None if number in self.inlined else self._next(number, op, k))
                elif k == 0:
                    self.found[number].append(self._base(number))
            for place, root in enumerate(series.roots):
                self._state(place, root, k)

    def number(self, value: float) -> str:
        """A literal."""
        return self.form.number(value)

    def _inlined(self) -> set[int]:
        """Series that are used once, in a sum: their terms become terms of that sum."""
        uses = [0] * len(self.ops)
        sums = [0] * len(self.ops)
        for op in self.ops:
            for part in op.parts:
                uses[part] += 1
                sums[part] += op.kind == "sum"
        for number, op in enumerate(self.ops):
            for leaf in _leaves(op.start) if op.start is not None else ():
                if isinstance(leaf, Name) and leaf.id.startswith("#s"):
                    uses[int(leaf.id[2:])] += 1
            if op.kind == "tangent":
                uses[number + 1] += 1
        for root in self.series.roots:
            if isinstance(root, int):
                uses[root] += 1
                sums[root] += 1
        kinds = ("sum", "scaled", "product", "square")
        return {k for k, op in enumerate(self.ops) if uses[k] == sums[k] == 1 and op.kind in kinds}

    # -- texts -------------------------------------------------------------------------------------------------

    def named(self, name: str, parts: list[Part], factor: Coefficient | None = None) -> Coefficient | None:
        """A line that computes a sum times a factor under a name; None for an empty sum, no line for a name."""
        total = _total(parts)
        if total is None:
            return None
        if factor is None and total.sign > 0 and total.level == _ATOM:
            return Coefficient(total.text, total.ready)
        part = total if factor is None else _times(total, factor)
        self.lines.append(f"{name} = {_signed_text(part)}")
        return Coefficient(name, part.ready)

    def value(self, node: Node) -> str:
        """A constant or a first coefficient as text."""
        writer = self.series.writer
        writer.lines = self.lines
        for leaf in _leaves(node):
            if isinstance(leaf, Name) and leaf.id.startswith("#s"):
                first = self.found[int(leaf.id[2:])][0]
                self.series.args[leaf.id] = self.number(0.0) if first is None else first.text
        return writer.stored(node)

    def constant(self, node: Node) -> Coefficient:
        """A constant: a literal or a name."""
        if isinstance(node, Num):
            return Coefficient(self.number(node.value))
        return Coefficient(self.value(node))

    def product(self, sign: int, a: Coefficient | None, b: Coefficient | None) -> list[Part]:
        """A product as a term of a sum; none if a factor is zero."""
        if a is None or b is None:
            return []
        one = self.number(1.0)
        for x, y in ((a, b), (b, a)):
            if x.text == one:
                return [Part(sign, y.text, _ATOM, y.ready)]
        first, second = (a, b) if a.ready <= b.ready else (b, a)
        return [Part(sign, f"{first.text} * {second.text}", _PRODUCT, second.ready + _MULTIPLY)]

    def at(self, number: int, k: int) -> Coefficient | None:
        """The coefficient k of a series."""
        return self.found[number][k]

    def times_at(self, number: int, k: int) -> Coefficient | None:
        """k times the coefficient k."""
        if (number, k) not in self.times:
            plain = self.at(number, k)
            if plain is None or k == 1:
                self.times[number, k] = plain
            else:
                parts = self.product(1, Coefficient(self.number(float(k))), plain)
                self.times[number, k] = self.named(f"d{k}_{number}", parts)
        return self.times[number, k]

    def inverse(self, number: int) -> Coefficient:
        """One over the first coefficient."""
        if number not in self.inverses:
            first = self.at(number, 0)
            assert first is not None
            self.lines.append(f"r{number}_ = {self.number(1.0)} / {first.text}")
            self.inverses[number] = Coefficient(f"r{number}_", first.ready + _DIVIDE)
        return self.inverses[number]

    def convolution(self, sign: int, a: int, b: int, first: int, last: int, total: int) -> list[Part]:
        """±Σ a_[j] b_[total - j] for j from first to last."""
        parts: list[Part] = []
        for j in range(first, last + 1):
            parts += self.product(sign, self.at(a, j), self.at(b, total - j))
        return parts

    def half(self, name: str, sign: int, a: int, first: int, total: int) -> list[Part]:
        """±Σ a_[j] a_[total - j] for j from first to total - first, using that the terms come twice."""
        parts: list[Part] = []
        inner: list[Part] = []
        for j in range(first, (total + 1) // 2):
            if j == 0:
                parts += self.product(sign, self._doubled(a), self.at(a, total))
            else:
                inner += self.product(1, self.at(a, j), self.at(a, total - j))
        if inner:
            part = _total(inner)
            assert part is not None
            parts.append(_times(Part(sign * part.sign, part.text, part.level, part.ready),
                                Coefficient(self.number(2.0))))  # fmt: skip
        if total % 2 == 0 and total // 2 >= first:
            parts += self.product(sign, self.at(a, total // 2), self.at(a, total // 2))
        return parts

    def _doubled(self, a: int) -> Coefficient | None:
        if a not in self.twice:
            first = self.at(a, 0)
            if first is None:
                return None
            self.lines.append(f"d0_{a} = {first.text} + {first.text}")
            self.twice[a] = Coefficient(f"d0_{a}", first.ready + _ADD)
        return self.twice[a]

    # -- the recurrences ---------------------------------------------------------------------------------------

    def terms(self, number: int, sign: int, k: int) -> list[Part]:
        """The coefficient k as terms of a sum."""
        if number not in self.inlined:
            known = self.at(number, k)
            return [] if known is None else [Part(sign, known.text, _ATOM, known.ready)]
        return self._expanded(number, sign, k)

    def _expanded(self, number: int, sign: int, k: int) -> list[Part]:
        op = self.ops[number]
        parts: list[Part] = []
        match op.kind:
            case "sum":
                for part, s in zip(op.parts, op.signs, strict=True):
                    parts += self.terms(part, sign * s, k)
                if k == 0 and op.constant is not None:
                    constant = self.constant(op.constant)
                    parts.append(Part(sign, constant.text, _ATOM, constant.ready))
            case "scaled":
                assert op.constant is not None
                inner = _total(self.terms(op.parts[0], sign, k))
                if inner is not None:
                    parts.append(_times(inner, self.constant(op.constant)))
            case "product":
                a, b = op.parts
                parts = self.convolution(sign, a, b, 0, k, k)
            case "square":
                parts = self.half(f"w{k}_{number}", sign, op.parts[0], 0, k)
        return parts

    def _next(self, number: int, op: Op, k: int) -> Coefficient | None:
        """The coefficient k of a series."""
        name = f"w{k}_{number}"
        if op.kind in ("sum", "scaled", "product", "square"):
            return self.named(name, self._expanded(number, 1, k))
        if op.kind == "t":
            return (Coefficient("F(t)" if self.form.model.narrow else "t"), Coefficient(self.number(1.0)), None)[
                min(k, 2)
            ]
        if op.kind == "restarted" and k > 0:
            return self.at(op.parts[0], k)
        if k == 0:
            return self._first(name, op)
        a = op.parts[0]
        match op.kind:
            case "quotient":
                divisor = op.parts[-1]
                parts = [] if op.constant is not None else self.terms(a, 1, k)
                for j in range(1, k + 1):
                    parts += self.product(-1, self.at(divisor, j), self.at(number, k - j))
                return self.named(name, parts, self.inverse(divisor))
            case "root":
                parts = [*self.terms(a, 1, k), *self.half(name, -1, number, 1, k)]
                return self.named(name, parts, self._half_inverse(number))
            case "power":
                return self._next_power(name, number, op, k)
            case "grown":
                return self._integrated(name, number, k, self.along(1, a, number, k))
            case "fore":
                return self._integrated(name, number, k, self.along(1, a, number + 1, k))
            case "aft":
                return self._integrated(name, number, k, self.along(op.signs[0], a, number - 1, k))
            case "tangent":
                square = number + 1
                parts = self.along(op.signs[0], a, square, k)
                first = self.times_at(a, k)
                parts += [] if first is None else [Part(1, first.text, _ATOM, first.ready)]
                return self._integrated(name, number, k, parts)
            case "along":
                assert op.constant is not None
                return self._integrated(name, number, k, self.along(1, a, op.parts[1], k), self.constant(op.constant))
            case "over":
                first = self.times_at(a, k)
                parts = [] if first is None else [Part(1, first.text, _ATOM, first.ready)]
                return self._divided(name, number, k, parts, op.parts[1])
            case "angle":
                y, x, square = op.parts
                return self._divided(name, number, k, [*self.along(1, y, x, k), *self.along(-1, x, y, k)], square)
        raise TypeError(f"no recurrence for {op.kind!r}")

    def along(self, sign: int, a: int, g: int, k: int) -> list[Part]:
        """±Σ m a_[m] g_[k - m] for m from 1 to k: k times the coefficient k of the integral of g da."""
        parts: list[Part] = []
        for m in range(1, k + 1):
            parts += self.product(sign, self.times_at(a, m), self.at(g, k - m))
        return parts

    def _integrated(
        self, name: str, number: int, k: int, parts: list[Part], factor: Coefficient | None = None
    ) -> Coefficient | None:
        """The coefficient k from k times itself; both are kept where both are needed."""
        times = self.named(f"d{k}_{number}", parts, factor)
        self.times[number, k] = times
        if times is None or k == 1:
            return times
        return self.named(name, [Part(1, times.text, _ATOM, times.ready)], Coefficient(self.number(1.0 / k)))

    def _divided(self, name: str, number: int, k: int, parts: list[Part], divisor: int) -> Coefficient | None:
        """u' = v' / divisor, where `parts` are k times the coefficient k of v."""
        for j in range(1, k):
            parts += self.product(-1, self.times_at(number, j), self.at(divisor, k - j))
        return self._integrated(name, number, k, parts, self.inverse(divisor))

    def _half_inverse(self, number: int) -> Coefficient:
        if number not in self.inverses:
            first = self.at(number, 0)
            assert first is not None
            self.lines.append(f"r{number}_ = {self.number(0.5)} / {first.text}")
            self.inverses[number] = Coefficient(f"r{number}_", first.ready + _DIVIDE)
        return self.inverses[number]

    def _next_power(self, name: str, number: int, op: Op, k: int) -> Coefficient | None:
        """k a_[0] u_[k] = Σ (c (k - j) - j) a_[k - j] u_[j] for j from 0 to k - 1, for u = a**c."""
        a = op.parts[0]
        assert op.constant is not None
        inverse = self.inverse(a)
        parts: list[Part] = []
        if isinstance(op.constant, Num):
            for j in range(k):
                weight = (op.constant.value * (k - j) - j) / k
                x, y = self.at(a, k - j), self.at(number, j)
                if weight == 0.0 or x is None or y is None:
                    continue
                first, second = (x, y) if x.ready <= y.ready else (y, x)
                scaled = Part(1, f"{self.number(abs(weight))} * {first.text}", _PRODUCT, first.ready + _MULTIPLY)
                part = _times(scaled, second, keep_order=True)
                parts.append(Part(1 if weight > 0 else -1, part.text, part.level, part.ready))
            return self.named(name, parts, inverse)
        exponent = self.constant(op.constant)
        for j in range(k):
            parts += self.product(1, self.times_at(a, k - j), self.at(number, j))
        grown = _total(parts)
        parts = [] if grown is None else [_times(grown, exponent)]
        for j in range(1, k):
            parts += self.product(-1, self.times_at(number, j), self.at(a, k - j))
        return self._integrated(name, number, k, parts, inverse)

    def _first(self, name: str, op: Op) -> Coefficient:
        """The first coefficient where it is no sum of products."""
        match op.kind:
            case "quotient" if op.constant is not None:
                expr: Node = Binary("/", op.constant, _first(op.parts[0]))
            case "quotient":
                expr = Binary("/", _first(op.parts[0]), _first(op.parts[1]))
            case "root":
                expr = Call("sqrt", (_first(op.parts[0]),))
            case "power":
                assert op.constant is not None
                expr = Call("pow", (_first(op.parts[0]), op.constant))
            case _:
                assert op.start is not None
                expr = op.start
        ready = max((c.ready for p in op.parts if (c := self.found[p][0] if self.found[p] else None)), default=0)
        text = self.value(expr)
        self.lines.append(f"{name} = {text}")
        return Coefficient(name, ready + _CALL)

    def _base(self, number: int) -> Coefficient:
        """A component of the state at the start of the step."""
        place = self.series.components.index(number)
        if self.form.scalar:
            return Coefficient(self.form.component("base", self.names[place]))
        self.lines.append(f"w0_{number} = y[{place}]")
        return Coefficient(f"w0_{number}")

    def _state(self, place: int, root: Term, k: int) -> None:
        """The coefficient k + 1 of a component of the state, from the coefficient k of its right-hand side."""
        number = self.series.components[place]
        code = self.form.component(f"s{k + 1}", self.names[place]) if self.form.scalar else f"w{k + 1}_{number}"
        factor = None if k == 0 else Coefficient(self.number(1.0 / (k + 1)))
        if isinstance(root, int):
            parts = self.terms(root, 1, k)
        elif k == 0 and root != Num(0.0):
            constant = self.constant(root)
            parts = [Part(1, constant.text, _ATOM, constant.ready)]
        else:
            parts = []
        if number in self.wanted_times and k > 0:
            times = self.named(f"d{k + 1}_{number}", parts)
            self.times[number, k + 1] = times
            parts = [] if times is None else [Part(1, times.text, _ATOM, times.ready)]
        total = _total(parts)
        if total is None:
            self.lines.append(f"{code} = {self.number(0.0)}")
            self.found[number].append(None)
        else:
            part = total if factor is None else _times(total, factor)
            self.lines.append(f"{code} = {_signed_text(part)}")
            self.found[number].append(Coefficient(code, part.ready))
        if not self.form.scalar:
            self.lines.append(f"s{k + 1}[{place}] = {code}")


def _first(number: int) -> Name:
    """The first coefficient of a series, in an expression."""
    return Name(f"#s{number}")


def _leaves(node: Node) -> Iterator[Node]:
    match node:
        case Unary(operand=operand):
            yield from _leaves(operand)
        case Binary(left=left, right=right):
            yield from _leaves(left)
            yield from _leaves(right)
        case Call(args=args):
            for arg in args:
                yield from _leaves(arg)
        case _:
            yield node


def _folded(node: Node) -> Num | None:
    """Arithmetic of numbers, done now."""
    match node:
        case Unary(op="-", operand=Num(value=x)):
            return Num(-x)
        case Binary(op=op, left=Num(value=x), right=Num(value=y)) if op in "+-*/" and not (op == "/" and y == 0.0):
            value = {"+": x + y, "-": x - y, "*": x * y}.get(op)
            value = x / y if value is None else value
            return Num(value) if isfinite(value) else None
    return None


def _brief(node: Node) -> str:
    text = spell(node)
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


def _total(parts: Iterable[Part]) -> Part | None:
    """The sum, adding first what is known first."""
    heap = [(part.ready, k, part) for k, part in enumerate(parts)]
    heapq.heapify(heap)
    count = len(heap)
    while len(heap) > 1:
        a, b = heapq.heappop(heap)[2], heapq.heappop(heap)[2]
        if a.sign < 0 < b.sign:
            a, b = b, a
        left = a.text
        right = b.text if b.level > _SUM else f"({b.text})"
        op = "+" if a.sign == b.sign else "-"
        total = Part(a.sign, f"{left} {op} {right}", _SUM, max(a.ready, b.ready) + _ADD)
        heapq.heappush(heap, (total.ready, count, total))
        count += 1
    return heap[0][2] if heap else None


def _times(part: Part, factor: Coefficient, keep_order: bool = False) -> Part:
    """A term times a name or literal."""
    text = part.text if part.level > _SUM else f"({part.text})"
    if keep_order:
        text = f"{text} * {factor.text}"
    else:
        text = f"{factor.text} * {text if part.level != _PRODUCT else f'({text})'}"
    return Part(part.sign, text, _PRODUCT, max(part.ready, factor.ready) + _MULTIPLY)


def _signed_text(part: Part) -> str:
    if part.sign > 0:
        return part.text
    return f"-{part.text}" if part.level > _SUM else f"-({part.text})"
