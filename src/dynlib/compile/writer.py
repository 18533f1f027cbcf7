"""Expressions as Python text: the only place where a syntax tree becomes code."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from msgspec import Struct, field

from dynlib.compile import roots
from dynlib.compile.elementary import NAMES
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
    walk,
)
from dynlib.spec.model import Model, walk_through
from dynlib.status import Status

KERNEL_NAMES = frozenset(
    [
        "t",
        "steps",
        "dt0",
        "bad",
        "n",
        "h",
        "dt",
        "t_new",
        "t_out",
        "tau",
        "theta",
        "tol",
        "status",
        "inside",
        "times",
        "reals",
        "counts",
        "config",
        "horizon",
        "n_limit",
        "limit_status",
        "n_pause",
        "recording",
        "cursor",
        "last",
        "last_t",
        "record_t0",
        "record_dt",
        "select",
        "tables",
        "rec_t",
        "rec_n",
        "rec_kind",
        "rec_y",
        "log_t",
        "log_n",
        "log_id",
        "log_y",
        "rows",
        "logs",
        "grid",
        "next_n",
        "next_t",
        "edge",
        "begun",
        "anchor",
        "n_anchor",
        "base",
        "out",
        "new",
        "mid",
        "end",
        "kernel",
        "rhs",
        "write_sample",
        "F",
        "np",
        "abs",
        "float",
        "int",
        "range",
        "len",
        "min",
        "max",
        "inf",
        "history",
        "k1_valid",
        "error_before",
        "error_earlier",
        "err_low",
        "span",
        "beta1",
        "beta2",
        "beta3",
        "min_step",
        "weight",
        "size",
        "high",
        "low",
        "order",
        "known",
        "unsolved",
        *("inverse", "stages", "stage", "node", "share", "ratio", "beta", "curved", "bent", "back", "h1", "h2"),
        *("ahead0", "ahead1", "ahead2", "differences", "work", "weights", "gammas", "alphas", "shares", "spacing"),
        *("order", "equal", "level", "most", "planned", "j_"),
        *("err_high", "down", "same", "up", "along"),
        "rejected",
        *(
            "t_end",
            "hunts",
            "both",
            "acting",
            "due",
            "event",
            "value",
            "which",
            "passed",
            "logged",
            "struck",
            "close",
            "gap",
            "before",
            "near",
        ),
        *(
            *("kick", "drift", "interpolate", "halt", "stiff", "signs", "sign", "calm"),
            "clock",
            "turn",
            "kicks",
            "drifts",
            "places",
            "barriers",
            "wall",
            "walled",
            "nominal",
            "located",
            "log_located",
        ),
        "err",
        "acc",
        "scale",
        "part",
        "factor",
        "step",
        "trial",
        "row",
        "kind",
        "i_",
        "interval",
        "rec_dt",
        "rec_t0",
        "retried",
        "direct",
        "rtol",
        "atol",
        "safety",
        "min_factor",
        "max_factor",
        "max_step",
        "d0",
        "d1",
        "d2",
        "h0",
        "true",
        "false",
        "lag",
        "seed",
        "stream",
        "root",
        "jac",
        "jacobian",
        "singular",
        "time_slope",
        "per_h",
        "__debug__",
        *(status.name for status in Status),
    ]
)
_STAGED = re.compile(
    r"(?:[kf]\d+|observer|noise|[gz]\d*|dw|dz|iz|new|mid|end|out|lag|fn|q|delta|bend|[ar]tol_of|r\d+|trial|acc\d|lin|newton"
    r"|past|far|weight|lane)"
    r"_?\d*(?:_|$)"
    r"|(?:[bcdesw]\d+|weight)_|h\d+$"
)

_SUM, _PRODUCT, _UNARY, _ATOM = 4, 5, 6, 9
_CHOICE, _OR, _AND, _NOT, _COMPARE = 0, 1, 2, 2, 3
_LEVEL = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT}
_RENAMED = {"min": "smaller", "max": "larger", "round": "rint"}


ARRAY_NAMES = frozenset({"y", "p"})
MAX_BRACKETS = 40
"""Open brackets in one line of code; deeper values get a name of their own. Python ends at 200."""


def code_names(model: Model, scalar: bool, more: Iterable[Node] = ()) -> dict[str, str]:
    """The name in generated code of everything the model names; equal to the model's own unless that is taken.

    `more` are expressions beside those of the model; their loop indices get names too.
    """
    taken = KERNEL_NAMES | NAMES | roots.NAMES | (frozenset() if scalar else ARRAY_NAMES)
    names: dict[str, str] = {}
    used: set[str] = set()
    loops = {part.var for root in (*model.roots(), *more) for part in walk(root) if isinstance(part, Reduce)}
    systems = (model.equations, *model.noise)
    loops |= {e.loop.var for system in systems for e in system if e.loop is not None}
    given = [q.name for q in (*model.states, *model.params)] + [a.name for a in model.aux]
    arguments = sorted({arg for f in model.functions for arg in f.args})
    for name in [*given, *sorted(loops), *arguments]:
        if name in names:
            continue
        safe = name
        while safe in taken or safe in used or keyword.iskeyword(safe) or _STAGED.match(safe):
            safe = f"v_{safe}" if _STAGED.match(safe) else f"{safe}_"
        used.add(safe)
        names[name] = safe
    return names


class Needs(Struct, frozen=True):
    """What an expression reads, entering aux variables and functions; each in the model's order."""

    states: tuple[str, ...]
    params: tuple[str, ...]
    lags: tuple[tuple[str, int], ...]
    time: bool

    def lag_names(self, names: dict[str, str]) -> list[str]:
        """The local names of the lagged values."""
        return [lag_name(names, *lag) for lag in self.lags]


def lag_name(names: dict[str, str], state: str, steps: int) -> str:
    """The local name of a lagged value."""
    return f"lag_{names[state]}_{steps}"


def literal(model: Model, value: float) -> str:
    """A number of the model's dtype."""
    return f"F({value!r})" if model.narrow else repr(value)


def needs_of(model: Model, roots: Iterable[Node]) -> Needs:
    """The states, parameters, lags and time that some expressions read."""
    found: set[str] = set()
    lags: set[tuple[str, int]] = set()
    for part in walk_through(model, *roots):
        match part:
            case Name(id=name) | Item(id=name):
                found.add(name)
            case Lag(state=state, steps=steps):
                lags.add((state, steps))
    order = {q.name: k for k, q in enumerate(model.states)}
    return Needs(
        tuple(name for name in order if name in found),
        tuple(q.name for q in model.params if q.name in found),
        tuple(sorted(lags, key=lambda lag: (order[lag[0]], lag[1]))),
        "t" in found,
    )


class Writer(Struct, dict=True):
    """Writes expressions of one model.

    In scalar form states and parameters are local names; in array form they are elements of `y` and `p`, with a
    view per array quantity. Sums and powers may need lines of their own before the expression: these go to `lines`.
    Aux variables are local names, which `hoist` computes before the expressions that use them. `args` maps the
    arguments of a function of the model to their names in the code.
    """

    model: Model
    names: dict[str, str]
    scalar: bool
    lines: list[str] = field(default_factory=list)
    indent: str = ""
    local_aux: set[str] = field(default_factory=set)
    args: Mapping[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    counter: int = 0
    sites: list[int] = field(default_factory=lambda: [0])  # the next call of a random function
    needs: dict[str, Needs] = field(default_factory=dict)  # of the model's functions, as far as they are known
    sums: dict[Node, str] | None = None  # sums that have a name here; None: each is computed where it stands
    slot: str = "0"  # of the component being computed: each has random numbers of its own
    observing: bool = False  # an observer: computes in float64, whatever the model does

    def __post_init__(self) -> None:
        self.narrow = self.model.narrow and not self.observing
        self.aux, self.functions = self.model.aux_by_name, self.model.function_by_name
        self.loops: set[str] = set()

    def number(self, value: float) -> str:
        """A literal of the dtype that is computed in."""
        return f"F({value!r})" if self.narrow else repr(value)

    def emit(self, text: str) -> None:
        """Add a line at the current indentation."""
        self.lines.append(self.indent + text)

    def fresh(self, stem: str) -> str:
        """A local name not used before in this text."""
        self.counter += 1
        return f"{stem}{self.counter}_"

    def value(self, node: Node) -> str:
        """The expression as a number."""
        return self._value(node)[0]

    def stored(self, node: Node) -> str:
        """The expression as a number that is kept under a name.

        Interpreted code raises an exception where it divides one plain Python float by another that is 0. Whatever
        has a name is therefore of the model's dtype, and so is the left side of a division of plain numbers.
        """
        text = self.value(node)
        return f"np.float64({text})" if self._plain(node) else text

    def _plain(self, node: Node) -> bool:
        """Whether interpreted code may give a plain Python float."""
        if self.narrow:
            return False
        match node:
            case Num() | Bool() | Compare() | Logic() | Reduce() | Unary(op="not"):
                return True
            case Name(id=name):
                return name in self.loops and name not in self.args
            case Unary(operand=operand):
                return self._plain(operand)
            case Binary(op="+" | "-" | "*" | "**", left=left, right=right):
                return self._plain(left) and self._plain(right)
            case Choice(then=then, other=other):
                return self._plain(then) or self._plain(other)
            case Call(fn=fn, args=args) if fn not in self.functions:
                return fn in ("heaviside", "step", "sign", "relu", "approx") or (
                    fn in ("abs", "min", "max", "clip", "pow", "hypot") and any(self._plain(a) for a in args)
                )
        return False

    def condition(self, node: Node) -> str:
        """The expression as a truth value."""
        return self._condition(node)[0]

    def index(self, node: Node) -> str:
        """The expression as a whole number."""
        match node:
            case Num(value=value):
                return str(int(value))
            case Name(id=name):
                return self.names[name]
            case Unary(operand=operand):
                return f"-{self.index(operand)}"
            case Binary(op=op, left=left, right=right):
                return f"({self.index(left)} {op} {self.index(right)})"
        raise TypeError(f"not an index: {node!r}")

    def element(self, name: str, index: Node) -> str:
        """`u[i - 1]`."""
        text = self.index(index)
        return f"{self.names[name]}[{text[1:-1] if text.startswith('(') else text}]"

    def variable(self, name: str) -> str:
        """A scalar state or parameter."""
        if self.scalar:
            return self.names[name]
        vector, place = self.model.scalar_places[name]
        return f"{vector}[{place}]"

    def context(self, function: str) -> list[str]:
        """What the code of a function of the model needs besides its own arguments."""
        if function not in self.needs:
            self.needs[function] = needs_of(self.model, [self.functions[function].expr])
        needs = self.needs[function]
        lags = needs.lag_names(self.names)
        head = ["t"] if needs.time else []
        if self.scalar:
            return [*head, *(self.names[s] for s in needs.states), *(self.names[q] for q in needs.params), *lags]
        return [*head, "y", "p", *lags]

    def hoist(self, roots: Iterable[Node]) -> None:
        """Compute the aux variables that these expressions need as local names, each once."""
        for root in roots:
            for part in walk(root):
                known = not isinstance(part, Name) or part.id in self.local_aux or part.id in self.args
                if isinstance(part, Name) and part.id in self.aux and not known:
                    expr = self.aux[part.id].expr
                    args, self.args = self.args, {}  # an aux variable does not see the arguments of a function
                    narrow, self.narrow = self.narrow, self.model.narrow
                    self.hoist([expr])
                    text = self.stored(expr)
                    self.emit(f"{self.names[part.id]} = {text}")
                    self.narrow = narrow
                    self.local_aux.add(part.id)
                    self.args = args

    # Each of the following returns the text and its binding strength.

    def _wrap(self, pair: tuple[str, int], least: int) -> str:
        return pair[0] if pair[1] >= least else f"({pair[0]})"

    def _value(self, node: Node) -> tuple[str, int]:
        return self._flat(self._number(node))

    def _condition(self, node: Node) -> tuple[str, int]:
        return self._flat(self._truth(node))

    def _flat(self, pair: tuple[str, int]) -> tuple[str, int]:
        """A text with too many open brackets becomes a name."""
        text = pair[0]
        if text.count("(") <= MAX_BRACKETS or _brackets(text) <= MAX_BRACKETS:
            return pair
        name = self.fresh("q")
        self.emit(f"{name} = {text}")
        return name, _ATOM

    def _number(self, node: Node) -> tuple[str, int]:
        match node:
            case Num(value=value):
                return self.number(value), _ATOM
            case Bool(value=flag):
                return self.number(float(flag)), _ATOM
            case Name(id=name):
                return self._name(name)
            case Item(id=name, index=index):
                return self._widened(self.element(name, index)), _ATOM
            case Lag(state=state, steps=steps):
                return lag_name(self.names, state, steps), _ATOM
            case Unary(op="-", operand=operand):
                return f"-{self._wrap(self._value(operand), _UNARY)}", _UNARY
            case Binary(op="**", left=left, right=right):
                return self._power(left, right)
            case Binary(op="%" | "//" as op, left=left, right=right):
                return self._call("modulo" if op == "%" else "floor_divide", left, right)
            case Binary(op=op, left=left, right=right):
                level = _LEVEL[op]
                a, b = self._value(left), self._value(right)
                if op == "/" and self._plain(left) and self._plain(right):
                    a = f"np.float64({a[0]})", _ATOM
                return f"{self._wrap(a, level)} {op} {self._wrap(b, level + 1)}", level
            case Choice(cond=cond, then=then, other=other):
                parts = self._wrap(self._value(then), 1), self._wrap(self._condition(cond), 1), self._value(other)[0]
                return f"{parts[0]} if {parts[1]} else {parts[2]}", _CHOICE
            case Call(fn=fn, args=args):
                return self._function(fn, args)
            case Reduce():
                return self._reduce(node), _ATOM
        text = self._wrap(self._condition(node), 1)
        return f"{self.number(1.0)} if {text} else {self.number(0.0)}", _CHOICE

    def _name(self, name: str) -> tuple[str, int]:
        if name in self.args:
            return self.args[name], _ATOM
        if name == "t":
            return ("F(t)" if self.narrow else "t"), _ATOM
        if name in self.loops:
            return f"{'F' if self.narrow else 'float'}({self.names[name]})", _ATOM
        if name in self.aux:
            return self._widened(self.names[name]), _ATOM
        return self._widened(self.variable(name)), _ATOM

    def _widened(self, text: str) -> str:
        """A value of the model in the dtype that is computed in."""
        return f"np.float64({text})" if self.model.narrow and not self.narrow else text

    def _truth(self, node: Node) -> tuple[str, int]:
        match node:
            case Bool(value=flag):
                return str(flag), _ATOM
            case Unary(op="not", operand=operand):
                return f"not {self._wrap(self._condition(operand), _NOT + 1)}", _NOT
            case Compare(ops=ops, operands=operands):
                texts = [self._wrap(self._value(part), _SUM) for part in operands]
                rest = "".join(f" {op} {text}" for op, text in zip(ops, texts[1:], strict=True))
                return texts[0] + rest, _COMPARE
            case Logic(op=op, operands=operands):
                level = _AND if op == "and" else _OR
                return f" {op} ".join(self._wrap(self._condition(part), level + 1) for part in operands), level
            case Choice(cond=cond, then=then, other=other):
                a, c, b = self._condition(then), self._condition(cond), self._condition(other)
                return f"{self._wrap(a, 1)} if {self._wrap(c, 1)} else {b[0]}", _CHOICE
            case Call(fn="approx", args=(x, y, tol)):
                gap = Call("abs", (Binary("-", x, y),))
                return self._condition(Compare(("<=",), (gap, tol)))
        return f"{self._wrap(self._value(node), _SUM)} != {self.number(0.0)}", _COMPARE

    def _call(self, name: str, *args: Node) -> tuple[str, int]:
        self.used.add(name)
        texts = []
        for part in args:
            texts.append(self._value(part)[0])
        return f"{name}({', '.join(texts)})", _ATOM

    def _simple(self, node: Node) -> str:
        """The value as a name that may be written several times."""
        text, level = self._value(node)
        if level == _ATOM and re.fullmatch(r"[\w.]+(\[[\w]+\])?", text):
            return text
        name = self.fresh("q")
        self.emit(f"{name} = {text}")
        return name

    def _power(self, base: Node, exponent: Node) -> tuple[str, int]:
        sign, number = (-1, exponent.operand) if isinstance(exponent, Unary) else (1, exponent)
        if isinstance(number, Num) and number.value in (0.5, 1.0, 2.0, 3.0, 4.0):
            if number.value == 0.5:
                text, level = self._call("sqrt", base)
            elif number.value == 1.0:
                text, level = self._value(base)
            else:
                x = self._simple(base)
                square = f"{x} * {x}"
                text = {2.0: square, 3.0: f"{square} * {x}", 4.0: f"{square} * ({square})"}[number.value]
                level = _PRODUCT
            if sign > 0:
                return text, level
            one = f"np.float64({self.number(1.0)})" if self._plain(base) else self.number(1.0)
            return f"{one} / {self._wrap((text, level), _PRODUCT + 1)}", _PRODUCT
        if isinstance(base, Num) and base.value > 0.0 and math.frexp(base.value)[0] == 0.5 and base.value != 1.0:
            times = math.frexp(base.value)[1] - 1  # a compiler rewrites powers of 2**n this way; both modes do
            scaled = exponent if times == 1 else Binary("*", Num(float(abs(times))), exponent)
            return self._call("exp2", scaled if times > 0 else Unary("-", scaled))
        return self._call("power", base, exponent)

    def _function(self, fn: str, args: tuple[Node, ...]) -> tuple[str, int]:
        if fn in self.functions:
            if self.model.narrow and not self.narrow:
                own = [f"F({self.value(a)})" for a in args]
            else:
                own = [self.stored(a) for a in args]
            return self._widened(f"fn_{fn}({', '.join([*own, *self.context(fn)])})"), _ATOM
        match fn:
            case "abs":
                return f"abs({self.value(args[0])})", _ATOM
            case "pow":
                return self._power(*args)
            case "min" | "max":
                self.used.add(_RENAMED[fn])
                text = self.value(args[0])
                for part in args[1:]:
                    text = self._flat((f"{_RENAMED[fn]}({text}, {self.value(part)})", _ATOM))[0]
                return text, _ATOM
            case "heaviside" | "step":
                return self._value(Choice(Compare((">=",), (args[0], Num(0.0))), Num(1.0), Num(0.0)))
            case "sign":
                x, one, zero = self._simple(args[0]), self.number(1.0), self.number(0.0)
                return f"{one} if {x} > {zero} else -{one} if {x} < {zero} else {x} * {zero}", _CHOICE
            case "relu":
                return self._function("max", (args[0], Num(0.0)))
            case "clip":
                return self._function("min", (Call("max", args[:2]), args[2]))
            case "rand" | "randn":
                self.used.add(fn)
                site, self.sites[0] = self.sites[0], self.sites[0] + 1
                draw = f"{fn}(seed, stream, n, {site * self.model.n_states} + {self.slot})"
                if not self.narrow:
                    return draw, _ATOM
                if fn == "randn":
                    return f"F({draw})", _ATOM
                self.used.add("smaller")
                return f"smaller(F({draw}), {self.number(1 - 2.0**-24)})", _ATOM  # rounding must not give 1
            case "approx":
                return self._value(Choice(Call(fn, args), Num(1.0), Num(0.0)))
        if fn not in NAMES and fn not in _RENAMED:
            raise TypeError(f"no code for function {fn!r}")
        return self._call(_RENAMED.get(fn, fn), *args)

    def _reduce(self, node: Reduce) -> str:
        if self.sums is not None and node in self.sums:
            return self.sums[node]
        total = self.fresh("acc")
        self.emit(f"{total} = {self.number(0.0 if node.kind == 'sum' else 1.0)}")
        with self.loop(node.var, ", ".join(self._bare(part) for part in (node.start, node.stop, node.step))):
            if node.cond is not None:
                self.emit(f"if {self.condition(node.cond)}:")
                self.indent += "    "
            body = self._wrap(self._value(node.body), _SUM if node.kind == "sum" else _PRODUCT + 1)
            self.emit(f"{total} {'+' if node.kind == 'sum' else '*'}= {body}")
        if self.sums is not None:
            self.sums[node] = total
        return total

    @contextmanager
    def loop(self, var: str, bounds: str) -> Iterator[None]:
        """A loop over an index; what is written meanwhile stands inside. An index of the same name is hidden."""
        names, loops, outer, sums = self.names, self.loops, self.indent, self.sums
        if var in loops or var not in names:
            self.names = {**names, var: self.fresh("q")}
        self.emit(f"for {self.names[var]} in range({bounds}):")
        self.loops, self.indent = loops | {var}, outer + "    "
        if sums is not None:  # those that read an index of the same name are others here
            self.sums = {} if var in loops else dict(sums)
        yield
        self.names, self.loops, self.indent, self.sums = names, loops, outer, sums

    def _bare(self, node: Node) -> str:
        text = self.index(node)
        return text[1:-1] if text.startswith("(") else text


def _brackets(text: str) -> int:
    """How many brackets are open at once."""
    depth = most = 0
    for c in text:
        if c == "(":
            depth += 1
            most = max(most, depth)
        elif c == ")":
            depth -= 1
    return most
