"""The expression language: a closed grammar, its syntax tree, and one way to write a tree as text.

Nothing of a model is ever evaluated by Python: text becomes tokens, tokens become the frozen nodes below,
and only these nodes reach the code generator. Precedence is Python's; `^` is another way to write `**`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import ClassVar

from msgspec import Struct

from dynlib.compared import Compared
from dynlib.errors import ExpressionError, Where

MAX_TEXT = 20_000
MAX_DEPTH = 60
MAX_NODES = 20_000
MAX_TREE = 200
MAX_NAME = 100

EVENT_MACROS = {
    "cross_up": 2,
    "cross_down": 2,
    "cross_either": 2,
    "changed": 1,
    "increasing": 1,
    "decreasing": 1,
    "in_interval": 3,
    "enters_interval": 3,
    "leaves_interval": 3,
}
"""Event macros and their number of arguments; the first argument is a state."""

C_FUNCTIONS = (
    *("exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc"),
)
"""Functions of one argument that are those of the C library."""

FUNCTIONS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("abs", "round", *C_FUNCTIONS, "sqrt", "floor", "ceil", "trunc"), (1, 1)),
    **dict.fromkeys(("sign", "heaviside", "step", "relu"), (1, 1)),
    **dict.fromkeys(("atan2", "hypot", "copysign", "pow"), (2, 2)),
    **dict.fromkeys(("clip", "approx"), (3, 3)),
    **dict.fromkeys(("min", "max"), (2, 64)),
    **dict.fromkeys(("rand", "randn"), (0, 0)),
}
"""Functions of the language with the least and greatest number of arguments."""

ELSEWHERE = {
    "ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "sgn": "sign", "h": "heaviside", "theta": "heaviside", "power": "pow",
    "fabs": "abs", "maximum": "max", "minimum": "min", "normal": "randn", "random": "rand", "uniform": "rand",
}  # fmt: skip
"""What other languages call these functions, in lower case."""

RANDOM = ("rand", "randn")
"""Functions that give another number at every step."""

RESERVED = frozenset({"t", "and", "or", "not", "if", "else", "for", "in", "range", "sum", "prod", "true", "false"})
_TRUTH = {"true": True, "false": False}
_BUILTIN_CONSTANTS = {"pi": 3.141592653589793, "e": 2.718281828459045, "tau": 6.283185307179586}


class Node(Compared, frozen=True, eq=False, kw_only=True):
    """Base of all nodes; `pos` is the offset in the text and takes no part in comparison."""

    apart: ClassVar[frozenset[str]] = frozenset({"pos"})

    pos: int = 0


class Num(Node, frozen=True, eq=False):
    """A number."""

    value: float


class Bool(Node, frozen=True, eq=False):
    """`true` or `false`."""

    value: bool


class Name(Node, frozen=True, eq=False):
    """A state, parameter, constant, aux variable, argument, loop index, or `t`."""

    id: str


class Item(Node, frozen=True, eq=False):
    """One element of an array state or parameter: `u[i-1]`."""

    id: str
    index: Node


class Unary(Node, frozen=True, eq=False):
    """`-x`, `not c`."""

    op: str
    operand: Node


class Binary(Node, frozen=True, eq=False):
    """Arithmetic: `+ - * / // % **`."""

    op: str
    left: Node
    right: Node


class Compare(Node, frozen=True, eq=False):
    """A chain of comparisons: `0 < x <= 1`."""

    ops: tuple[str, ...]
    operands: tuple[Node, ...]


class Logic(Node, frozen=True, eq=False):
    """`and` or `or` of two or more conditions."""

    op: str
    operands: tuple[Node, ...]


class Choice(Node, frozen=True, eq=False):
    """`a if c else b`."""

    cond: Node
    then: Node
    other: Node


class Call(Node, frozen=True, eq=False):
    """A function of the language or of the model, or an event macro."""

    fn: str
    args: tuple[Node, ...]


class Lag(Node, frozen=True, eq=False):
    """The value of a state `steps` completed steps ago."""

    state: str
    steps: int


class Reduce(Node, frozen=True, eq=False):
    """`sum(body for i in range(start, stop, step) if cond)`, or `prod`."""

    kind: str
    body: Node
    var: str
    start: Node
    stop: Node
    step: Node
    cond: Node | None


_TOKEN = re.compile(
    r"\s*(?:(?P<num>(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<op>\*\*|//|<=|>=|==|!=|[-+*/%^<>()\[\],]))"
)

_WRITTEN = {
    "=": "a comparison is written ==",
    "&": "write 'and'",
    "|": "write 'or'",
    "!": "write 'not', or != to compare",
    "?": "a choice is written 'a if condition else b'",
    ":": "a choice is written 'a if condition else b'",
    ";": "write one equation a line",
    ".": "a name stands alone: sin(x), not np.sin(x)",
    "'": "write the derivative on the left, as in dx = …",
    "{": "use round brackets",
    "−": "write -",
    "·": "write *",
    "×": "write *",
    "÷": "write /",
    "²": "write **2",
    "³": "write **3",
    "≤": "write <=",
    "≥": "write >=",
    "≠": "write !=",
}
"""What is meant by signs that the grammar does not have."""

_COMPARE = ("<", "<=", ">", ">=", "==", "!=")
_BINDING = {"+": 50, "-": 50, "*": 60, "/": 60, "//": 60, "%": 60}


class _Token(Struct, frozen=True):
    kind: str
    text: str
    pos: int


def _tokenize(text: str, where: Where) -> list[_Token]:
    tokens: list[_Token] = []
    pos = 0
    end_of_text = len(text.rstrip())
    while pos < end_of_text:
        match = _TOKEN.match(text, pos)
        if match is None or match.lastgroup is None:
            while text[pos].isspace():
                pos += 1
            meant = f"; {_WRITTEN[text[pos]]}" if text[pos] in _WRITTEN else ""
            raise ExpressionError(f"unexpected character {text[pos]!r}{meant}", text, pos, where)
        start = match.start(match.lastgroup)
        token = match.group(match.lastgroup)
        end = match.end()
        if match.lastgroup == "num" and end < len(text) and (text[end].isalpha() or text[end] in "_."):
            meant = f"; a product is written {token}*{text[end]}" if text[end].isalpha() else ""
            raise ExpressionError(f"malformed number {token + text[end]!r}{meant}", text, start, where)
        if match.lastgroup == "name" and len(token) > MAX_NAME + 20:  # a name with `lag_` or `before_`
            raise ExpressionError(
                f"{token[:20]!r}… is too long; a name has at most {MAX_NAME} letters", text, start, where
            )
        tokens.append(_Token(match.lastgroup, token, start))
        pos = end
    tokens.append(_Token("end", "", len(text)))
    return tokens


class _Parser:
    """Pratt parser; one instance per expression. Brackets in brackets cost few calls: Python allows only so many."""

    def __init__(self, text: str, where: Where) -> None:
        if len(text) > MAX_TEXT:
            raise ExpressionError(f"expression longer than {MAX_TEXT} characters", text[:80], 0, where)
        self.text, self.where = text, where
        self.tokens = _tokenize(text, where)
        self.at = 0
        self.depth = 0

    def fail(self, message: str, pos: int) -> ExpressionError:
        return ExpressionError(message, self.text, pos, self.where)

    @property
    def peek(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def is_word(self, word: str) -> bool:
        return self.peek.kind == "name" and self.peek.text == word

    def is_op(self, *ops: str) -> bool:
        return self.peek.kind == "op" and self.peek.text in ops

    def expect(self, text: str) -> _Token:
        token = self.peek
        if token.text != text or token.kind == "end":
            found = "the end of the expression" if token.kind == "end" else repr(token.text)
            form = "; a choice is written 'a if condition else b'" if text == "else" else ""
            raise self.fail(f"expected {text!r}, found {found}{form}", token.pos)
        return self.take()

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"expression nested deeper than {MAX_DEPTH} levels", self.peek.pos)
        node = self.disjunction()
        if self.is_word("if"):
            self.take()
            cond = self.disjunction()
            self.expect("else")
            node = Choice(cond, node, self.expression(), pos=node.pos)
        self.depth -= 1
        return node

    def disjunction(self) -> Node:
        first = self.conjunction()
        parts = [first]
        while self.is_word("or"):
            self.take()
            parts.append(self.conjunction())
        return first if len(parts) == 1 else Logic("or", tuple(parts), pos=first.pos)

    def conjunction(self) -> Node:
        first = self.comparison()
        parts = [first]
        while self.is_word("and"):
            self.take()
            parts.append(self.comparison())
        return first if len(parts) == 1 else Logic("and", tuple(parts), pos=first.pos)

    def comparison(self) -> Node:
        nots: list[int] = []
        while self.is_word("not"):
            nots.append(self.take().pos)
        first = self.arithmetic(0)
        ops: list[str] = []
        operands = [first]
        while self.is_op(*_COMPARE):
            ops.append(self.take().text)
            operands.append(self.arithmetic(0))
        node = Compare(tuple(ops), tuple(operands), pos=first.pos) if ops else first
        for pos in reversed(nots):
            node = Unary("not", node, pos=pos)
        return node

    def arithmetic(self, least: int) -> Node:
        left = self.signed()
        while self.peek.kind == "op" and _BINDING.get(self.peek.text, -1) > least:
            token = self.take()
            left = Binary(token.text, left, self.arithmetic(_BINDING[token.text]), pos=token.pos)
        return left

    def signed(self) -> Node:
        signs: list[_Token] = []
        while self.is_op("-", "+"):
            signs.append(self.take())
        node = self.primary()
        if self.is_op("**", "^"):
            token = self.take()
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self.fail(f"expression nested deeper than {MAX_DEPTH} levels", token.pos)
            node = Binary("**", node, self.signed(), pos=token.pos)
            self.depth -= 1
        for token in reversed(signs):
            if token.text == "-":
                node = Unary("-", node, pos=token.pos)
        return node

    def primary(self) -> Node:
        token = self.take()
        if token.kind == "num":
            value = float(token.text)
            if value == float("inf"):
                raise self.fail(f"number {token.text} is too large", token.pos)
            return Num(value, pos=token.pos)
        if token.kind == "op" and token.text == "(":
            node = self.expression()
            self.expect(")")
            return node
        if token.kind == "name":
            if token.text.lower() in _TRUTH:
                return Bool(_TRUTH[token.text.lower()], pos=token.pos)
            if token.text in ("sum", "prod"):
                return self.reduction(token)
            if token.text in RESERVED and token.text != "t":
                raise self.fail(f"{token.text!r} cannot stand here", token.pos)
            if self.is_op("("):
                return Call(token.text, self.arguments(), pos=token.pos)
            if self.is_op("["):
                self.take()
                index = self.expression()
                self.expect("]")
                return Item(token.text, index, pos=token.pos)
            return Name(token.text, pos=token.pos)
        found = "the expression ends here" if token.kind == "end" else f"{token.text!r} cannot stand here"
        raise self.fail(f"expected a number, a name or '(': {found}", token.pos)

    def arguments(self) -> tuple[Node, ...]:
        self.expect("(")
        args: list[Node] = []
        if not self.is_op(")"):
            args.append(self.expression())
            while self.is_op(","):
                self.take()
                args.append(self.expression())
        self.expect(")")
        return tuple(args)

    def reduction(self, token: _Token) -> Node:
        self.expect("(")
        body = self.expression()
        var, (start, stop, step) = self.loop()
        cond: Node | None = None
        if self.is_word("if"):
            self.take()
            cond = self.disjunction()
        self.expect(")")
        return Reduce(token.text, body, var, start, stop, step, cond, pos=token.pos)

    def loop(self) -> tuple[str, tuple[Node, Node, Node]]:
        """`for i in range(a, b, c)`."""
        self.expect("for")
        var = self.take()
        if var.kind != "name" or is_reserved(var.text) or len(var.text) > MAX_NAME:
            raise self.fail("expected the name of a loop index after 'for'", var.pos)
        self.expect("in")
        self.expect("range")
        pos = self.peek.pos
        args = self.arguments()
        if not 1 <= len(args) <= 3:
            raise self.fail("range() takes one to three arguments", pos)
        zero, one = Num(0.0, pos=pos), Num(1.0, pos=pos)
        start, stop = (zero, args[0]) if len(args) == 1 else args[:2]
        return var.text, (start, stop, args[2] if len(args) == 3 else one)

    def finish(self) -> None:
        if self.peek.kind != "end":
            begins = self.peek.kind in ("num", "name") or self.is_op("(")
            meant = "; is there an operator missing, such as *?" if begins else ""
            raise self.fail(f"unexpected {self.peek.text!r} after the expression{meant}", self.peek.pos)


def parse(text: str, where: Where | None = None) -> Node:
    """The tree of one expression. Raises `ExpressionError` with line and column."""
    parser = _Parser(text, where or Where())
    node = parser.expression()
    parser.finish()
    _limit_tree(parser, node)
    return node


def parse_looped(text: str, where: Where) -> tuple[Node, str | None, tuple[Node, Node, Node] | None]:
    """An expression that may end in `for i in range(…)`: the body, the index and the bounds."""
    parser = _Parser(text, where)
    node = parser.expression()
    var: str | None = None
    bounds: tuple[Node, Node, Node] | None = None
    if parser.is_word("for"):
        var, bounds = parser.loop()
    parser.finish()
    _limit_tree(parser, node)
    return node, var, bounds


def _limit_tree(parser: _Parser, node: Node) -> None:
    """Chains such as `a + b + c + …` nest without brackets; what is too deep is refused here, in one place."""
    level, depth = [node], 0
    while level:
        depth += 1
        if depth > MAX_TREE:
            raise parser.fail(f"more than {MAX_TREE} terms in a row; split the expression with [aux]", level[0].pos)
        level = [part for parent in level for part in children(parent)]


def measure(node: Node) -> tuple[int, int]:
    """Number of parts and of levels; where there are more than `MAX_NODES` parts, it stops counting.

    Nodes may be shared: a short text with macros can stand for a tree that no machine could write.
    """
    level, parts, depth = [node], 0, 0
    while level and parts <= MAX_NODES:
        parts, depth = parts + len(level), depth + 1
        level = [part for parent in level for part in children(parent)]
    return parts, depth


def children(node: Node) -> Iterator[Node]:
    """The direct parts of a node, left to right."""
    for name in node.__struct_fields__:
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (part for part in value if isinstance(part, Node))


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(children(current))


def rebuild(node: Node, change: Callable[[Node], Node]) -> Node:
    """A copy of the node whose direct parts went through `change`."""
    values: dict[str, object] = {}
    for name in node.__struct_fields__:
        value = getattr(node, name)
        if isinstance(value, Node):
            value = change(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Node):
            value = tuple(change(part) for part in value)
        values[name] = value
    return type(node)(**values)  # type: ignore[arg-type]


def is_random(node: Node) -> bool:
    """Whether the node is a call of `rand` or `randn`."""
    return isinstance(node, Call) and node.fn in RANDOM


def is_reserved(name: str) -> bool:
    """Whether a name is a word of the language (`true` and `false` however they are spelled)."""
    return name in RESERVED or name.lower() in _TRUTH


def builtin_constant(name: str) -> float | None:
    """The value of `pi`, `e` or `tau`; None for any other name."""
    return _BUILTIN_CONSTANTS.get(name)


_CHOICE, _OR, _AND, _NOT, _COMPARED, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(10)
_STRENGTH = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "//": _PRODUCT, "%": _PRODUCT}


def canonical(node: Node) -> str:
    """One fully parenthesised spelling: equal text if and only if the trees are equal."""
    return _spelled(node, True)[0]


def spell(node: Node) -> str:
    """The text with the fewest brackets that is parsed to this tree again."""
    return _spelled(node, False)[0]


def _spelled(node: Node, full: bool) -> tuple[str, int]:
    """The text and how strongly it binds; with `full`, whatever has parts stands in brackets."""

    def part(child: Node, least: int) -> str:
        text, strength = _spelled(child, full)
        return text if strength >= least else f"({text})"

    def compound(text: str, strength: int) -> tuple[str, int]:
        return (f"({text})", _ATOM) if full else (text, strength)

    match node:
        case Num(value=value):
            return repr(value), _ATOM
        case Bool(value=flag):
            return ("true" if flag else "false"), _ATOM
        case Name(id=name):
            return name, _ATOM
        case Item(id=name, index=index):
            return f"{name}[{part(index, _CHOICE)}]", _ATOM
        case Unary(op=op, operand=operand):
            strength = _NOT if op == "not" else _SIGN
            return compound(f"{op} {part(operand, strength)}", strength)
        case Binary(op="**", left=left, right=right):
            return compound(f"{part(left, _ATOM)} ** {part(right, _SIGN)}", _POWER)
        case Binary(op=op, left=left, right=right):
            strength = _STRENGTH[op]
            tighter = _SIGN if strength == _PRODUCT else _PRODUCT
            return compound(f"{part(left, strength)} {op} {part(right, tighter)}", strength)
        case Compare(ops=ops, operands=operands):
            rest = "".join(f" {op} {part(x, _SUM)}" for op, x in zip(ops, operands[1:], strict=True))
            return compound(part(operands[0], _SUM) + rest, _COMPARED)
        case Logic(op=op, operands=operands):
            strength = _AND if op == "and" else _OR
            return compound(f" {op} ".join(part(x, strength + 1) for x in operands), strength)
        case Choice(cond=cond, then=then, other=other):
            return compound(f"{part(then, _OR)} if {part(cond, _OR)} else {part(other, _CHOICE)}", _CHOICE)
        case Call(fn=fn, args=args):
            return f"{fn}({', '.join(part(a, _CHOICE) for a in args)})", _ATOM
        case Lag(state=state, steps=steps):
            return f"lag_{state}({steps})", _ATOM
        case Reduce(kind=kind, body=body, var=var, start=start, stop=stop, step=step, cond=cond):
            tail = f" if {part(cond, _OR)}" if cond is not None else ""
            bounds = ", ".join(part(x, _CHOICE) for x in (start, stop, step))
            return f"{kind}({part(body, _CHOICE)} for {var} in range({bounds}){tail})", _ATOM
    raise TypeError(f"not an expression node: {node!r}")
