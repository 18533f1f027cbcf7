"""Taylor coefficients of a model's solution as straight-line code, by recurrences over its expressions.

Jorba & Zou, Experimental Mathematics 14 (2005) 99–117; Barrio, Appl. Math. Comput. 163 (2005) 525–545;
Hairer, Nørsett & Wanner I, I.8. The normalised coefficients of a quantity u are u_[k] = u^(k) / k!.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite

from msgspec import Struct, field

from dynlib.compile.forms import SCALAR_LIMIT, Form
from dynlib.compile.writer import Writer
from dynlib.errors import ConfigError
from dynlib.spec.expressions import (
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
_SUM, _PRODUCT, _ATOM, _NAME = 0, 1, 2, 3
_PIECES = frozenset(
    {"abs", "sign", "heaviside", "step", "relu", "clip", "approx", "copysign", "min", "max"}
    | {"floor", "ceil", "trunc", "round"}
)
_COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip

Term = Node | int
"""What an expression stands for: a constant (a number or a name), or the number of a series."""


class Coefficient(Struct, frozen=True):
    """The text of a coefficient: a name, or a literal."""

    text: str
    ready: int = 0  # after how many cycles of the step it is known, about
    order: int = 0


class Part(Struct, frozen=True):
    """A term of a sum: its text without sign, how it binds, when it is known; of a product of two also the factors.

    `fresh`: it has a coefficient of the order that is being computed, which in a product is the second factor.
    """

    sign: int
    text: str
    level: int
    ready: int
    factors: tuple[str, str] | None = None
    fresh: bool = False


class Op(Struct, frozen=True):
    """How one series comes from others.

    `parts` are other series, with signs for a sum; `constant` is a factor, an exponent, a numerator or what is added
    to the first coefficient; `start` is the first coefficient where it is no consequence of the recurrence.
    """

    kind: str
    parts: tuple[int, ...] = ()
    signs: tuple[int, ...] = ()
    constant: Node | None = None
    start: Node | None = None


class _Lines(Struct):
    """Code that computes the constants of a step: once for each call of the kernel, or for each step."""

    call: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)


class Series:
    """The series of one model up to an order, and the lines that compute them.

    The code uses the local names of the states and parameters and `t`, and computes the vectors `{s1}`, `{s2}`, … of
    coefficients. `once` are lines for the start of a kernel, `held` for that of a step; `first` computes all first
    coefficients and `{s1}`, `rest` the others. `last` is `first` at the end of a step: `{end}` at `{new}`; after `kept`
    its results are the first coefficients of the next step. `piecewise`: the coefficients are those of the piece in
    which the step begins. Raises `ConfigError` for a model that has no such series.
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
        self.constant_lines = _Lines()
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
        self.once, self.held = self.constant_lines.call, self.constant_lines.step
        start, end = _Coefficients(self, order, START), _Coefficients(self, 1, _Place("new", form.end_time, "e", "end"))
        self.first, self.rest, self.last = start.lines[: start.after_first], start.lines[start.after_first :], end.lines
        self.kept = [f"{a} = {b}" for a, b in zip(_assigned(self.first), _assigned(self.last), strict=True)]
        self.piecewise = any(op.kind == "test" for op in self.ops)
        used |= self.writer.used | {"dot", "fused"}

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
            lines = self.constant_lines.step if varies else self.constant_lines.call
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
            case Binary(op="//" | "%" as op, left=left, right=right):
                return self._rest(op, self.term(left, given), self.term(right, given))
            case Choice(cond=cond, then=then, other=other):
                return self._choice(self._test(cond, given), self.term(then, given), self.term(other, given))
            case Compare() | Logic() | Unary(op="not"):
                return self._choice(self._test(node, given), Num(1.0), Num(0.0))
        raise self._fail(_brief(node))

    def _test(self, cond: Node, given: Mapping[str, Term]) -> Node:
        """A condition on constants and first coefficients."""
        match cond:
            case Bool():
                return cond
            case Unary(op="not", operand=operand):
                return Unary("not", self._test(operand, given))
            case Logic(op=op, operands=operands):
                parts = []
                for part in operands:
                    parts.append(self._test(part, given))
                return Logic(op, tuple(parts))
            case Compare(ops=ops, operands=operands):
                values = []
                for part in operands:
                    values.append(_atom(self.term(part, given)))
                return Compare(ops, tuple(values))
            case Choice(cond=inner, then=then, other=other):
                return Choice(self._test(inner, given), self._test(then, given), self._test(other, given))
            case Call(fn="approx", args=args):
                x, y, near = (_atom(self.term(part, given)) for part in args)
                return Call("approx", (x, y, near))
        return Compare(("!=",), (_atom(self.term(cond, given)), Num(0.0)))

    def _choice(self, test: Node, then: Term, other: Term) -> Term:
        """One of two, by the condition at the start of the step."""
        if isinstance(test, Bool):
            return then if test.value else other
        if isinstance(then, Node) and isinstance(other, Node) and not _varying(test):
            return self._constant(Choice(test, then, other))
        return self._series(
            Op("choice", (self._series(Op("test", start=test)), self._as_series(then), self._as_series(other)))
        )

    def _as_series(self, term: Term) -> int:
        return term if isinstance(term, int) else self._series(Op("held", start=term))

    def _rest(self, op: str, a: Term, b: Term) -> Term:
        """`a // b`, a constant inside the step, and `a % b` = a - b·(a // b)."""
        if isinstance(a, Node) and isinstance(b, Node):
            return self._constant(Binary(op, a, b))
        whole = self._series(Op("held", start=Binary("//", _atom(a), _atom(b))))
        if op == "//":
            return whole
        return self._restarted(self._sum(a, -1, self._product(b, whole)), Binary("%", _atom(a), _atom(b)))

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
        if fn in _PIECES:
            return self._pieces(fn, terms)
        if len(terms) == 1 and isinstance(terms[0], int):
            return self._call_of(fn, terms[0], node)
        raise self._fail(_brief(node))

    def _pieces(self, fn: str, terms: tuple[Term, ...]) -> Term:
        """A function that is smooth in pieces."""
        x = terms[0]
        below = Compare(("<",), (_atom(x), Num(0.0)))
        match fn:
            case "abs":
                return self._choice(below, self._negative(x), x)
            case "sign":
                above = Compare((">",), (_atom(x), Num(0.0)))
                return self._choice(above, Num(1.0), self._choice(below, Num(-1.0), Num(0.0)))
            case "heaviside" | "step":
                return self._choice(Compare((">=",), (_atom(x), Num(0.0))), Num(1.0), Num(0.0))
            case "relu":
                return self._pieces("max", (x, Num(0.0)))
            case "clip":
                return self._pieces("min", (self._pieces("max", terms[:2]), terms[2]))
            case "approx":
                a, b, near = map(_atom, terms)
                return self._choice(Call("approx", (a, b, near)), Num(1.0), Num(0.0))
            case "copysign":
                same = Compare(("==",), (Call("copysign", (_atom(x), _atom(terms[1]))), _atom(x)))
                return self._choice(same, x, self._negative(x))
            case "min" | "max":
                for other in terms[1:]:
                    better = Compare(("<" if fn == "min" else ">",), (_atom(other), _atom(x)))
                    x = self._choice(better, other, x)
                return x
        return self._series(Op("held", start=Call(fn, (_atom(x),))))

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


class _Place(Struct, frozen=True):
    """Where first coefficients are computed: the state and the time, the stem of their names, and the slope's name."""

    state: str
    time: str
    stem: str
    slope: str


START = _Place("base", "t", "w", "s1")


class _Coefficients:
    """Writes the recurrences: order after order, each series after those that it is made from.

    A coefficient of order k is linear in the others of order k, with factors that are known since order 0. These terms
    are added last, so that little waits for them; all others are ready when the order begins.
    """

    def __init__(self, series: Series, order: int, place: _Place) -> None:
        self.series, self.form, self.ops, self.place = series, series.form, series.ops, place
        self.lines: list[str] = []
        self.k = self.after_first = 0
        self.found: list[list[Coefficient | None]] = [[] for _ in self.ops]
        self.times: dict[tuple[int, int], Coefficient | None] = {}  # k times the coefficient k
        self.doubled: dict[tuple[int, int], Coefficient | None] = {}
        self.gains: dict[tuple[int, str], Coefficient] = {}
        self.alive = self._alive()
        self.inlined = self._inlined()
        self.names = [q.name for q in self.form.model.states] if self.form.scalar else []
        for self.k in range(order):
            if self.k > 0:
                self.lines.append(f"# order {self.k + 1}")
            for number, op in enumerate(self.ops):
                if op.kind == "state":
                    if self.k == 0:
                        self.found[number].append(self._base(number))
                elif number in self.alive:
                    self.found[number].append(None if number in self.inlined else self._next(number, op, self.k))
            for component, root in enumerate(series.roots):
                self._state(component, root, self.k)
            self.after_first = self.after_first or len(self.lines)

    def number(self, value: float) -> str:
        """A literal."""
        return self.form.number(value)

    def _needed(self, number: int) -> Iterator[int]:
        """What a series is computed from."""
        op = self.ops[number]
        yield from op.parts
        for leaf in _leaves(op.start) if op.start is not None else ():
            if isinstance(leaf, Name) and leaf.id.startswith("#s"):
                yield int(leaf.id[2:])
        if op.kind in ("fore", "tangent"):  # with the series beside it
            yield number + 1

    def _alive(self) -> set[int]:
        """The series that the states need."""
        alive: set[int] = set()
        queue = [root for root in self.series.roots if isinstance(root, int)]
        while queue:
            number = queue.pop()
            if number not in alive:
                alive.add(number)
                queue += self._needed(number)
        return alive

    def _inlined(self) -> set[int]:
        """Series that are used once, in a sum: their terms become terms of that sum."""
        uses = [0] * len(self.ops)
        sums = [0] * len(self.ops)
        for number in self.alive:
            for part in self._needed(number):
                uses[part] += 1
            for part in self.ops[number].parts if self.ops[number].kind == "sum" else ():
                sums[part] += 1
        for root in self.series.roots:
            if isinstance(root, int):
                uses[root] += 1
                sums[root] += 1
        kinds = ("sum", "scaled", "product", "square")
        return {k for k, op in enumerate(self.ops) if uses[k] == sums[k] == 1 and op.kind in kinds}

    # -- texts -------------------------------------------------------------------------------------------------

    def named(self, name: str, parts: list[Part], factor: Coefficient | None = None) -> Coefficient | None:
        """A line that computes a sum under a name, where `factor` is for the terms of earlier orders.

        None for an empty sum; no line for what is a name already.
        """
        earlier = _total(part for part in parts if not part.fresh)
        if earlier is not None and factor is not None:
            earlier = _times(earlier, factor)
        total = _joined(earlier, [part for part in parts if part.fresh])
        if total is None:
            return None
        if total.sign > 0 and total.level == _NAME:
            return Coefficient(total.text, total.ready, self.k)
        self.lines.append(f"{name} = {_signed_text(total)}")
        return Coefficient(name, total.ready, self.k)

    def value(self, node: Node, truth: bool = False) -> str:
        """A constant or a first coefficient as text."""
        writer = self.series.writer
        writer.lines = self.lines
        for leaf in _leaves(node):
            if isinstance(leaf, Name) and leaf.id.startswith("#s"):
                self.series.args[leaf.id] = self.first(int(leaf.id[2:])).text
        return writer.condition(node) if truth else writer.stored(node)

    def constant(self, node: Node) -> Coefficient:
        """A constant: a literal or a name."""
        return Coefficient(self.number(node.value) if isinstance(node, Num) else self.value(node))

    def product(self, sign: int, a: Coefficient | None, b: Coefficient | None) -> list[Part]:
        """A product as a term of a sum; none if a factor is zero."""
        if a is None or b is None:
            return []
        if a.order > b.order:
            a, b = b, a
        ready, fresh = max(a.ready, b.ready) + _MULTIPLY, b.order == self.k > 0
        one = self.number(1.0)
        for x, y in ((a, b), (b, a)):
            if x.text == one:
                return [Part(sign, y.text, _NAME, y.ready, None, fresh)]
        return [Part(sign, f"{a.text} * {b.text}", _PRODUCT, ready, (a.text, b.text), fresh)]

    def single(self, sign: int, a: Coefficient | None) -> list[Part]:
        """A coefficient as a term of a sum."""
        return [] if a is None else [Part(sign, a.text, _NAME, a.ready, None, a.order == self.k > 0)]

    def at(self, number: int, k: int) -> Coefficient | None:
        """The coefficient k of a series."""
        return self.found[number][k]

    def first(self, number: int) -> Coefficient:
        """The coefficient 0."""
        found = self.found[number][0]
        assert found is not None
        return found

    def times_at(self, number: int, k: int) -> Coefficient | None:
        """k times the coefficient k."""
        return self._multiple(self.times, "d", f"{self.number(float(k))} * {{0}}", number, k, k == 1)

    def doubled_at(self, number: int, k: int) -> Coefficient | None:
        """Twice the coefficient k."""
        return self._multiple(self.doubled, "b", "{0} + {0}", number, k, False)

    def _multiple(
        self, kept: dict[tuple[int, int], Coefficient | None], stem: str, text: str, number: int, k: int, same: bool
    ) -> Coefficient | None:
        if (number, k) not in kept:
            plain = self.at(number, k)
            if plain is not None and not same:
                self.lines.append(f"{stem}{k}_{number} = {text.format(plain.text)}")
                plain = Coefficient(f"{stem}{k}_{number}", plain.ready + _MULTIPLY, k)
            kept[number, k] = plain
        return kept[number, k]

    def gain(self, number: int, text: str, ready: int) -> Coefficient:
        """A factor that a recurrence has at every order, under a name."""
        if (number, text) not in self.gains:
            name = f"g{number}_{sum(n == number for n, _ in self.gains)}"
            self.lines.append(f"{name} = {text}")
            self.gains[number, text] = Coefficient(name, ready)
        return self.gains[number, text]

    def inverse(self, number: int, over: float = 1.0) -> Coefficient:
        """One over the first coefficient."""
        first = self.first(number)
        return self.gain(number, f"{self.number(over)} / {first.text}", first.ready + _DIVIDE)

    def convolution(self, sign: int, a: int, b: int, first: int, last: int, total: int) -> list[Part]:
        """±Σ a_[j] b_[total - j] for j from first to last."""
        parts: list[Part] = []
        for j in range(first, last + 1):
            parts += self.product(sign, self.at(a, j), self.at(b, total - j))
        return parts

    def half(self, sign: int, a: int, first: int, total: int) -> list[Part]:
        """±Σ a_[j] a_[total - j] for j from first to total - first, using that the terms come twice."""
        parts: list[Part] = []
        for j in range(first, (total + 1) // 2):
            parts += self.product(sign, self.doubled_at(a, j), self.at(a, total - j))
        if total % 2 == 0 and total // 2 >= first:
            parts += self.product(sign, self.at(a, total // 2), self.at(a, total // 2))
        return parts

    def along(self, sign: int, a: int, g: int, k: int) -> list[Part]:
        """±Σ m a_[m] g_[k - m] for m from 1 to k - 1: k times the one of ∫ g da, without its last term."""
        parts: list[Part] = []
        for m in range(1, k):
            parts += self.product(sign, self.times_at(a, m), self.at(g, k - m))
        return parts

    # -- the recurrences ---------------------------------------------------------------------------------------

    def terms(self, number: int, sign: int, k: int) -> list[Part]:
        """The coefficient k as terms of a sum."""
        if number not in self.inlined:
            return self.single(sign, self.at(number, k))
        return self._expanded(number, sign, k)

    def _expanded(self, number: int, sign: int, k: int) -> list[Part]:
        op = self.ops[number]
        parts: list[Part] = []
        match op.kind:
            case "sum":
                for part, s in zip(op.parts, op.signs, strict=True):
                    parts += self.terms(part, sign * s, k)
                if k == 0 and op.constant is not None:
                    parts += self.single(sign, self.constant(op.constant))
            case "scaled":
                assert op.constant is not None
                parts = self.product(sign, self.constant(op.constant), self.at(op.parts[0], k))
            case "product":
                a, b = op.parts
                parts = self.convolution(sign, a, b, 0, k, k)
            case "square":
                parts = self.half(sign, op.parts[0], 0, k)
        return parts

    def _next(self, number: int, op: Op, k: int) -> Coefficient | None:
        """The coefficient k of a series."""
        name = f"{self.place.stem}{k}_{number}"
        if op.kind in ("sum", "scaled", "product", "square"):
            return self.named(name, self._expanded(number, 1, k))
        if op.kind == "t":
            now = self.place.time if self.place.time.isidentifier() else f"({self.place.time})"
            now = f"F({self.place.time})" if self.form.model.narrow else now
            return (Coefficient(now), Coefficient(self.number(1.0), order=1), None)[min(k, 2)]
        if op.kind == "restarted" and k > 0:
            return self.at(op.parts[0], k)
        if op.kind in ("held", "test") and k > 0:
            return None
        if op.kind == "choice":
            test, then, other = op.parts
            return self._chosen(name, test, then, other, k)
        if k == 0:
            return self._first(name, op)
        a = op.parts[0]
        latest, part = self.at(a, k), self.number(1.0 / k)
        match op.kind:
            case "quotient":
                divisor, first = op.parts[-1], self.first(number)
                inverse = self.inverse(divisor)
                back = self.gain(number, f"{first.text} * {inverse.text}", first.ready)
                new = [] if op.constant is not None else self.product(1, inverse, latest)
                new += self.product(-1, back, self.at(divisor, k))
                return self.named(name, new + self.convolution(-1, divisor, number, 1, k - 1, k), inverse)
            case "root":
                inverse = self.inverse(number, 0.5)
                return self.named(name, self.product(1, inverse, latest) + self.half(-1, number, 1, k), inverse)
            case "grown":
                new = self.product(1, self.first(number), latest)
                return self.named(name, new + self.along(1, a, number, k), Coefficient(part))
            case "fore" | "aft":
                other = number + (1 if op.kind == "fore" else -1)
                sign = 1 if op.kind == "fore" else op.signs[0]
                new = self.product(sign, self.first(other), latest)
                return self.named(name, new + self.along(sign, a, other, k), Coefficient(part))
            case "tangent":
                sign, first = op.signs[0], self.first(number + 1)
                slope = f"{self.number(1.0)} {'+' if sign > 0 else '-'} {first.text}"
                new = self.product(1, self.gain(number, slope, first.ready), latest)
                return self.named(name, new + self.along(sign, a, number + 1, k), Coefficient(part))
            case "along":
                assert op.constant is not None
                factor, first = self.constant(op.constant).text, self.first(op.parts[1])
                new = self.product(1, self.gain(number, f"{factor} * {first.text}", first.ready), latest)
                return self.named(
                    name, new + self.along(1, a, op.parts[1], k), Coefficient(f"{factor} * {part}")
                )  # fmt: skip
            case "over":
                inverse = self.inverse(op.parts[1])
                parts = self.product(1, inverse, latest) + self.along(-1, number, op.parts[1], k)
                return self.named(name, parts, Coefficient(f"{part} * {inverse.text}", inverse.ready))
            case "power":
                return self._next_power(name, number, op, k)
            case "angle":
                y, x, square = op.parts
                inverse = self.inverse(square)
                new = []
                for sign, u, v in ((1, y, x), (-1, x, y)):
                    first = self.first(v)
                    gain = self.gain(number, f"{first.text} * {inverse.text}", inverse.ready)
                    new += self.product(sign, gain, self.at(u, k))
                old = self.along(1, y, x, k) + self.along(-1, x, y, k) + self.along(-1, number, square, k)
                return self.named(name, new + old, Coefficient(f"{part} * {inverse.text}", inverse.ready))
        raise TypeError(f"no recurrence for {op.kind!r}")

    def _chosen(self, name: str, test: int, then: int, other: int, k: int) -> Coefficient | None:
        """The coefficient k of the piece in which the step begins."""
        a, b = self.at(then, k), self.at(other, k)
        if a == b:
            return a
        zero = Coefficient(self.number(0.0))
        a, b = a or zero, b or zero
        self.lines.append(f"{name} = {a.text} if {self.first(test).text} else {b.text}")
        return Coefficient(name, max(a.ready, b.ready) + _ADD, k)

    def _next_power(self, name: str, number: int, op: Op, k: int) -> Coefficient | None:
        """u = a**c: k a_[0] u_[k] = c Σ m a_[m] u_[k - m] - Σ j u_[j] a_[k - j]."""
        a = op.parts[0]
        assert op.constant is not None
        inverse, exponent, first = self.inverse(a), self.constant(op.constant), self.first(number)
        gain = self.gain(number, f"{exponent.text} * {first.text} * {inverse.text}", first.ready + _MULTIPLY)
        parts = self.product(1, gain, self.at(a, k))
        grown = _total(self.along(1, a, number, k))
        if grown is not None:
            parts.append(_times(grown, exponent))
        parts += self.along(-1, number, a, k)
        return self.named(name, parts, Coefficient(f"{self.number(1.0 / k)} * {inverse.text}", inverse.ready))

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
        text = self.value(expr, truth=op.kind == "test")
        self.lines.append(f"{name} = {text}")
        return Coefficient(name, ready + _CALL)

    def _base(self, number: int) -> Coefficient:
        """A component of the state at the start of the step."""
        place = self.series.components.index(number)
        if self.form.scalar:
            return Coefficient(self.form.component(self.place.state, self.names[place]))
        name = f"{self.place.stem}0_{number}"
        self.lines.append(f"{name} = {self.form.spelled(self.place.state)}[{place}]")
        return Coefficient(name)

    def _state(self, place: int, root: Term, k: int) -> None:
        """The coefficient k + 1 of a component of the state, from the coefficient k of its right-hand side."""
        number = self.series.components[place]
        vector = self.place.slope if k == 0 else f"s{k + 1}"
        code = f"{self.place.stem}{k + 1}_{number}"
        if self.form.scalar:
            code = self.form.component(vector, self.names[place])
        if isinstance(root, int):
            parts = self.terms(root, 1, k)
        else:
            parts = self.single(1, self.constant(root)) if k == 0 and root != Num(0.0) else []
        total = _joined(_total(part for part in parts if not part.fresh), [part for part in parts if part.fresh])
        if total is None:
            self.lines.append(f"{code} = {self.number(0.0)}")
            self.found[number].append(None)
        else:
            total = total if k == 0 else _times(total, Coefficient(self.number(1.0 / (k + 1))))
            self.lines.append(f"{code} = {_signed_text(total)}")
            self.found[number].append(Coefficient(code, total.ready, k + 1))
        if not self.form.scalar:
            self.lines.append(f"{vector}[{place}] = {code}")


def _first(number: int) -> Name:
    """The first coefficient of a series, in an expression."""
    return Name(f"#s{number}")


def _atom(term: Term) -> Node:
    """A constant, or the first coefficient of a series."""
    return term if isinstance(term, Node) else _first(term)


def _varying(test: Node) -> bool:
    """Whether a condition reads first coefficients."""
    return any(isinstance(leaf, Name) and leaf.id.startswith("#s") for leaf in _leaves(test))


def _leaves(node: Node) -> Iterator[Node]:
    match node:
        case Choice(cond=cond, then=then, other=other):
            for part in (cond, then, other):
                yield from _leaves(part)
        case Compare(operands=operands) | Logic(operands=operands):
            for part in operands:
                yield from _leaves(part)
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


def _assigned(lines: list[str]) -> list[str]:
    """What the lines compute."""
    return [line.partition(" = ")[0] for line in lines]


def _brief(node: Node) -> str:
    text = spell(node)
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


def _total(terms: Iterable[Part]) -> Part | None:
    """The sum, adding first what is known first; products of one sign are summed by `dot`."""
    parts: list[Part] = []
    products: dict[int, list[Part]] = {1: [], -1: []}
    for part in terms:
        (products[part.sign] if part.factors else parts).append(part)
    for sign, group in products.items():
        if len(group) < 2:
            parts += group
            continue
        group.sort(key=lambda part: part.ready)
        text = ", ".join(name for part in group for name in part.factors or ())
        parts.append(Part(sign, f"dot({text})", _ATOM, group[-1].ready + _ADD))
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


def _joined(total: Part | None, terms: list[Part]) -> Part | None:
    """The sum with further terms, added one after the other in the order in which they are known."""
    for part in sorted(terms, key=lambda part: part.ready):
        if total is None:
            total = part
            continue
        ready = max(total.ready, part.ready) + _ADD
        same = part.sign == total.sign
        if part.factors is None:
            left, right = (total, part) if total.sign > 0 or same else (part, total)
            text = right.text if right.level > _SUM else f"({right.text})"
            total = Part(left.sign, f"{left.text} {'+' if same else '-'} {text}", _SUM, ready)
        else:
            a, b = part.factors
            total = Part(total.sign, f"fused({'' if same else '-'}{a}, {b}, {total.text})", _ATOM, ready)
    return total


def _times(part: Part, factor: Coefficient) -> Part:
    """A term times a name or literal."""
    text = f"{factor.text} * {part.text if part.level >= _ATOM else f'({part.text})'}"
    return Part(part.sign, text, _PRODUCT, max(part.ready, factor.ready) + _MULTIPLY)


def _signed_text(part: Part) -> str:
    if part.sign > 0:
        return part.text
    return f"-{part.text}" if part.level > _SUM else f"-({part.text})"
