"""From a document (the tables of a TOML file, or the same as Python dicts) to a checked, frozen `Model`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dynlib.errors import ExpressionError, ModelError, Where, suggest
from dynlib.spec.expressions import (
    EVENT_MACROS,
    FUNCTIONS,
    MAX_NAME,
    MAX_TREE,
    Binary,
    Call,
    Compare,
    Item,
    Lag,
    Name,
    Node,
    Num,
    is_reserved,
    parse,
    parse_looped,
    walk,
)
from dynlib.spec.model import (
    Action,
    Aux,
    Equation,
    Event,
    Function,
    Loop,
    Model,
    Preset,
    Quantity,
    SimDefaults,
)
from dynlib.spec.resolve import Resolver, Scope, Terms, evaluate, evaluator, resolve_text
from dynlib.spec.source import document_of
from dynlib.spec.work import limit_work

MAX_COMPONENTS = 2_000_000
MAX_CALLS = 20  # a compiler visits functions that call functions recursively
MAX_FUNCTIONS = MAX_PRESETS = MAX_PROCESSES = 1000
MAX_ARGUMENTS = 64
MAX_STOPS = 10_000
MAX_KEYS = 100_000  # of all tables
MAX_TEXTS = 1_000_000  # characters of all expressions and other texts
MAX_LEVELS = 16  # tables in tables
MAX_BITS = 4096  # of a whole number; floats end at 1024
MAX_NARROW = 3.4028235677973366e38  # rounds to infinity in float32
TOLERANCES = ("rtol", "atol")
_CROSSINGS = {"cross_up": ">=", "cross_down": "<=", "cross_either": "=="}
TABLES = [
    "model",
    "states",
    "params",
    "constants",
    "equations",
    "noise",
    "aux",
    "functions",
    "events",
    "presets",
    "mods",
    "mod",
    "sim",
    "meta",
]
ELSEWHERE = {
    "initial": "states", "initial_conditions": "states", "ic": "states", "variables": "states", "vars": "states",
    "constant": "constants", "rhs": "equations", "odes": "equations", "condition": "cond", "when": "cond",
    "do": "action", "tol": "rtol", "tolerance": "rtol", "reltol": "rtol", "abstol": "atol", "solver": "stepper",
    "method": "stepper", "integrator": "stepper", "tmax": "t_end", "t_max": "t_end", "tend": "t_end", "t": "t_end",
    "duration": "t_end", "t1": "t_end", "tstart": "t0", "t_start": "t0", "tmin": "t0", "h": "dt", "step": "dt",
    "max_step_size": "max_step",
}  # fmt: skip
"""What tables and keys are called elsewhere, in lower case."""
SIM_KEYS = ("t0", "t_end", "dt", "stepper", "record", "max_steps", "stop", "tstops")
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{MAX_NAME - 1}}}\Z")
_SIZED = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*\[(.+)\]\s*\Z", re.DOTALL)
_TARGET = re.compile(
    r"\s*(?:d\(\s*(?P<call>[A-Za-z]\w*)\s*\)|(?P<name>[A-Za-z]\w*))\s*(?:\[(?P<index>[^\]]*)\])?\s*(?P<per>/\s*dt)?\s*\Z"
)
_ASSIGN = re.compile(r"\s*(?P<name>[A-Za-z]\w*)\s*(?:\[(?P<index>[^\]]*)\])?\s*(?P<op>\+|-|\*\*|\*|//|/|%)?=(?!=)")
_PHASES = {
    "pre": ("pre",),
    "start": ("pre",),
    "post": ("post",),
    "end": ("post",),
    "both": ("pre", "post"),
}
Document = Mapping[str, Any]


def model_from_document(document: Document, source: str = "") -> Model:
    """Check a document and freeze it. Raises `ModelError` naming file, table, key and column."""
    keys, letters = check_plain(document, Where(source))
    model = _Reader(document, source).model()
    if 2 * keys > MAX_KEYS or 100 * letters > MAX_TEXTS:
        check_plain(document_of(model), Where(source))  # written out, it is longer, and must be read again
    return model


def with_tolerances(model: Model, given: Mapping[str, Mapping[str, float]]) -> Model:
    """The model with tolerances of single states: `{"atol": {"x": 1e-9}}`. Raises `ModelError`."""
    document = document_of(model)
    sim = document.setdefault("sim", {})
    for kind, table in given.items():
        own = sim.setdefault("options", {}).setdefault(f"{kind}_of", {})
        own.update(table)
    return model_from_document(document, model.source)


def check_plain(document: object, where: Where) -> tuple[int, int]:
    """Refuse what no model needs and what ordinary code trips over: deep tables, endless numbers, broken text.

    Returns the number of keys and of characters of text. Raises `ModelError`.
    """
    stack: list[tuple[object, tuple[str, ...], int]] = [(document, (), 0)]
    keys = letters = 0
    while stack:
        value, path, level = stack.pop()
        at = where.at(table=".".join(path[:-1]), key=path[-1]) if path else where
        if level > MAX_LEVELS:
            raise ModelError(f"tables and lists are nested deeper than {MAX_LEVELS} levels", where.at(table=path[0]))
        match value:
            case str():
                letters += len(value)
                _check_text(value, at)
            case int() if value.bit_length() > MAX_BITS:
                raise ModelError("is a whole number with thousands of digits", at)
            case Mapping():
                keys += len(value)
                for key, part in value.items():
                    if not isinstance(key, str):
                        raise ModelError(f"a key must be text, not {type(key).__name__}", at)
                    _check_text(key, at)
                    stack.append((part, (*path, key), level + 1))
            case list() | tuple():
                stack.extend((part, path, level + 1) for part in value if not isinstance(part, float))
        if keys > MAX_KEYS or letters > MAX_TEXTS:
            most = f"{MAX_KEYS} names" if keys > MAX_KEYS else f"{MAX_TEXTS} characters of text"
            raise ModelError(f"has more than {most}; array states need one name and one equation", where)
    return keys, letters


def _check_text(text: str, at: Where) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ModelError("holds text that is not valid Unicode", at) from None


class _Reader:
    def __init__(self, document: Document, source: str) -> None:
        self.document, self.where = document, Where(source)
        self.source = source
        self.scope = Scope()
        self.terms = Terms()
        self.random = False
        self.narrow = False

    # -- plain access ------------------------------------------------------------------------------------------

    def table(self, name: str) -> Mapping[str, Any]:
        value = self.document.get(name, {})
        if not isinstance(value, Mapping):
            raise ModelError("must be a table", self.where.at(table=name))
        return value

    def keys(self, table: Mapping[str, Any], allowed: Iterable[str], where: Where) -> None:
        known = list(allowed)
        for key in table:
            if key not in known:
                what = "key" if where.table else "table"
                raise ModelError(f"unknown {what} {key!r}{suggest(key, known, ELSEWHERE)}", where)

    def text(self, value: object, where: Where) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return _spell(_float(value), where)
        if callable(value):
            raise ModelError('must be an expression in quotes, such as "-k*x", not a function of Python', where)
        if not isinstance(value, str):
            raise ModelError(f"must be an expression in quotes, not {value!r}", where)
        return value

    def number(self, value: object, where: Where, names: Mapping[str, float] | None = None) -> float:
        """A finite number, given as such or as an expression of constants."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ModelError(f"must be a number or an expression of constants, not {value!r}", where)
        result = self.constant(value, where, names or {}) if isinstance(value, str) else _float(value)
        if not math.isfinite(result):
            raise ModelError(f"must be finite, not {result}", where)
        return result

    def constant(self, text: str, where: Where, names: Mapping[str, float]) -> float:
        local = {name: (int(v), int(v)) for name, v in names.items()}
        scope = Scope(constants=self.scope.constants)
        node = Resolver(scope, text, where, timed=False, local=local).resolve(parse(text, where))
        return self.value_of(node, text, where, names)

    def value_of(self, node: Node, text: str, where: Where, names: Mapping[str, float]) -> float:
        with self.computing(node, text, where):
            return evaluate(node, names, self.terms)

    @contextmanager
    def computing(self, node: Node, text: str, where: Where) -> Iterator[None]:
        """Whatever has no value is an `ExpressionError` with its place."""
        try:
            yield
        except (ArithmeticError, ValueError) as problem:
            raise ExpressionError(
                f"cannot be computed from constants alone ({problem})", text, node.pos, where
            ) from None

    def fresh_name(self, name: str, where: Where, taken: Mapping[str, str]) -> str:
        if not _NAME.match(name):
            raise ModelError(
                f"{name!r} is not a name (at most {MAX_NAME} letters, digits and _, starting with a letter)", where
            )
        if is_reserved(name):
            raise ModelError(f"{name!r} is a word of the language and cannot be redefined; choose another name", where)
        if name in taken:
            raise ModelError(f"{name!r} is already defined in [{taken[name]}]; choose another name", where)
        return name

    def initial(self, value: object, where: Where) -> float:
        """A finite number of the model's dtype."""
        return self.within(self.number(value, where), where)

    def within(self, value: float, where: Where) -> float:
        if self.narrow and not abs(value) < MAX_NARROW:
            raise ModelError(f"{value:g} is too large for float32", where)
        return value

    # -- the model ---------------------------------------------------------------------------------------------

    def model(self) -> Model:
        if not isinstance(self.document, Mapping):
            raise ModelError("a model description must be a table of tables", self.where)
        self.keys(self.document, TABLES, self.where)
        head, where = self.table("model"), self.where.at(table="model")
        self.keys(head, ("type", "name", "dtype", "title", "description", "label"), where)
        if "type" not in head:
            raise ModelError("is missing; it must be 'ode', 'map' or 'sde'", where.at(key="type"))
        kind = head["type"]
        if kind not in ("ode", "map", "sde"):
            raise ModelError(f"must be 'ode', 'map' or 'sde', not {kind!r}", where.at(key="type"))
        dtype = head.get("dtype", "float64")
        if dtype not in ("float64", "float32"):
            raise ModelError(f"must be 'float64' or 'float32', not {dtype!r}", where.at(key="dtype"))
        self.narrow = dtype == "float32"
        taken: dict[str, str] = {}
        constants = self.constants(taken)
        self.scope = Scope(constants=constants)
        states = self.quantities("states", taken)
        if not states:
            raise ModelError("a model needs at least one state, such as x = 1.0", self.where.at(table="states"))
        params = self.quantities("params", taken)
        if sum(q.count for q in (*states, *params)) > MAX_COMPONENTS:
            raise ModelError(f"more than {MAX_COMPONENTS} components", self.where.at(table="states"))
        aux, functions = self.table("aux"), self.table("functions")
        for name in aux:
            taken[self.fresh_name(name, self.where.at(table="aux"), taken)] = "aux"
        arity: dict[str, int] = {}
        if len(functions) > MAX_FUNCTIONS:
            raise ModelError(f"has more than {MAX_FUNCTIONS} functions", self.where.at(table="functions"))
        for name, body in functions.items():
            at = self.where.at(table=f"functions.{name}")
            self.fresh_name(name, at, taken)
            if name in FUNCTIONS or name in EVENT_MACROS:
                raise ModelError(f"{name!r} is a function of the language and cannot be redefined", at)
            if name.startswith("lag_") and taken.get(name[4:]) == "states":
                raise ModelError(f"{name!r} is how past values of the state {name[4:]!r} are written", at)
            taken[name] = "functions"
            if not isinstance(body, Mapping):
                raise ModelError("must be a table with args and expr", at)
            self.keys(body, ("args", "expr"), at)
            arity[name] = len(self.names(body.get("args", []), at.at(key="args")))
            if arity[name] > MAX_ARGUMENTS:
                raise ModelError(f"has more than {MAX_ARGUMENTS} arguments", at.at(key="args"))
        self.scope = Scope(
            frozenset(q.name for q in states),
            frozenset(q.name for q in params),
            constants,
            {q.name: q.size for q in (*states, *params) if q.size is not None},
            frozenset(aux),
            arity,
        )
        by_state = {q.name: q for q in states}
        if len(self.table("presets")) > MAX_PRESETS:
            raise ModelError(f"has more than {MAX_PRESETS} presets", self.where.at(table="presets"))
        rhs, inverse, jacobian = self.equations(kind, by_state)
        noise, shared = self.noise(kind, by_state)
        model = Model(
            kind=kind,
            name=str(head.get("name") or head.get("label") or head.get("title") or "model"),
            dtype=dtype,
            states=states,
            params=params,
            constants=tuple(constants.items()),
            equations=rhs,
            inverse=inverse,
            jacobian=jacobian,
            noise=noise,
            noise_shared=shared,
            aux=tuple(
                Aux(name, self.expression(body, self.where.at(table="aux", key=name))) for name, body in aux.items()
            ),
            functions=tuple(self.function(name, body) for name, body in functions.items()),
            events=tuple(self.event(name, body) for name, body in self.table("events").items()),
            presets=tuple(self.preset(name, body, states, params) for name, body in self.table("presets").items()),
            sim=self.sim(),
            meta=tuple((k, str(v)) for k, v in self.table("meta").items()),
            source=self.source,
        )
        for node in (part for row in model.jacobian for cell in row for part in walk(cell)):
            if isinstance(node, Lag) and node.steps > model.lag_depth.get(node.state, 0):
                at = self.where.at(table="equations.jacobian", key="expr")
                raise ModelError(f"uses lag_{node.state}({node.steps}), which nothing else in the model does", at)
        self.no_cycles(model)
        limit_work(model, self.where)
        if sum(model.lag_depth.values()) > MAX_COMPONENTS:
            raise ModelError(f"lags of more than {MAX_COMPONENTS} past values", self.where)
        return model

    def constants(self, taken: dict[str, str]) -> dict[str, float]:
        values: dict[str, float] = {}
        self.scope = Scope(constants=values)  # each may use those before it
        for name, value in self.table("constants").items():
            where = self.where.at(table="constants", key=name)
            taken[self.fresh_name(name, where, taken)] = "constants"
            values[name] = self.number(value, where)
        return values

    def quantities(self, table: str, taken: dict[str, str]) -> tuple[Quantity, ...]:
        return tuple(self.quantity(table, key, value, taken) for key, value in self.table(table).items())

    def quantity(self, table: str, key: str, value: object, taken: dict[str, str]) -> Quantity:
        where = self.where.at(table=table, key=key)
        size: int | None = None
        name = key
        if sized := _SIZED.match(key):
            name = sized[1]
            number = self.constant(sized[2], where, {})
            if not 1 <= number <= MAX_COMPONENTS or number != int(number):
                raise ModelError(f"the size must be a whole number from 1 to {MAX_COMPONENTS}, not {number:g}", where)
            size = int(number)
        taken[self.fresh_name(name, where, taken)] = table
        if isinstance(value, list | tuple):
            if size is None:
                size = len(value)
            if len(value) != size or not value:
                raise ModelError(f"has {len(value)} values for {size} elements", where)
            return Quantity(name, size, tuple(self.initial(v, where) for v in value))
        if size is None:
            return Quantity(name, None, (self.initial(value, where),))
        return Quantity(name, size, self.array_values(value, size, where))

    def array_values(self, value: object, size: int, where: Where) -> tuple[float, ...]:
        """Initial values of an array: one number for all, or `expr for i in range(N)`."""
        if not isinstance(value, str):
            return (self.initial(value, where),) * size
        body, var, bounds = parse_looped(value, where)
        if var is None or bounds is None:
            return (self.initial(value, where),) * size
        resolver = Resolver(self.scope, value, where, timed=False)
        loop = self.loop(var, bounds, resolver)
        if len(loop.indices) != size:
            raise ModelError(f"the loop gives {len(loop.indices)} values for {size} elements", where)
        inner = Resolver(self.scope, value, where, timed=False, local={var: (loop.start, loop.stop - 1)})
        node = inner.resolve(body)
        try:
            self.terms.spend(size, node)
        except ArithmeticError as problem:
            raise inner.fail(f"cannot be computed ({problem})", node) from None
        found = evaluator(node, self.terms)
        with self.computing(node, value, where):
            values = tuple(found({var: float(i)}) for i in loop.indices)
        if not all(math.isfinite(v) for v in values):
            raise ModelError("gives a value that is not finite", where)
        return tuple(self.within(v, where) for v in values)

    def loop(self, var: str, bounds: tuple[Node, Node, Node], resolver: Resolver) -> Loop:
        numbers = []
        for part in bounds:
            low, high = resolver.interval(resolver.resolve(part))
            if low != high:
                raise resolver.fail("the bounds of this range must be constants", part)
            numbers.append(low)
        start, stop, step = numbers
        if step < 1 or not start < stop:
            raise resolver.fail(f"range({start}, {stop}, {step}) is empty or runs backwards", bounds[1])
        return Loop(var, start, stop, step)

    def expression(self, value: object, where: Where, *, events: bool = False) -> Node:
        text = self.text(value, where)
        return resolve_text(text, self.scope, where, events=events)

    # -- equations ---------------------------------------------------------------------------------------------

    def equations(
        self, kind: str, states: Mapping[str, Quantity]
    ) -> tuple[tuple[Equation, ...], tuple[Equation, ...], tuple[tuple[Node, ...], ...]]:
        table, where = self.table("equations"), self.where.at(table="equations")
        self.keys(table, ("rhs", "expr", "inverse", "jacobian"), where)
        self.random = kind == "map"
        self.kind = kind
        rhs = self.system({k: v for k, v in table.items() if k in ("rhs", "expr")}, "equations", kind, states)
        self.random = False
        inverse: tuple[Equation, ...] = ()
        if "inverse" in table:
            at = where.at(table="equations.inverse")
            if kind != "map":
                raise ModelError("only a map has an inverse", at)
            if not isinstance(table["inverse"], Mapping):
                raise ModelError("must be a table with rhs or expr", at)
            body = table["inverse"]
            if body and not set(body) & {"rhs", "expr"}:
                body = {"rhs": body}
            self.keys(body, ("rhs", "expr"), at)
            inverse = self.system(body, "equations.inverse", kind, states)
            if any(isinstance(node, Lag) for e in inverse for node in walk(e.expr)):
                raise ModelError("an inverse goes back in time and cannot use lags", at)
        return rhs, inverse, self.jacobian(table, states)

    def noise(self, kind: str, states: Mapping[str, Quantity]) -> tuple[tuple[tuple[Equation, ...], ...], int]:
        """The columns of the noise, and how many Wiener processes all states share (0: each has its own)."""
        table, where = self.table("noise"), self.where.at(table="noise")
        if kind != "sde":
            if table:
                raise ModelError(
                    f"noise belongs to models of type 'sde'; this is '{kind}'. Say type = \"sde\" in [model]", where
                )
            return (), 0
        if not table:
            raise ModelError("a model of type 'sde' needs noise, such as x = \"sigma*x\"", where)
        lists = [isinstance(value, list | tuple) for value in table.values()]
        if any(lists) and not all(lists):
            raise ModelError("must be one expression for each state, or a list for each state", where)
        width = len(next(iter(table.values()))) if all(lists) else 1
        if width > MAX_PROCESSES:
            raise ModelError(f"has more than {MAX_PROCESSES} processes", where)
        columns = []
        for k in range(width):
            covered = {q.name: bytearray(q.count) for q in states.values()}
            column = []
            for key, value in table.items():
                at = where.at(key=key)
                if all(lists) and (len(value) != width or "[" in key):
                    raise ModelError(f"must be {width} expressions, as for the other states, of a scalar state", at)
                body = value[k] if all(lists) else value
                column.append(self.equation(key, self.text(body, at), at, states, "", covered))
            columns.append(tuple(column))
        if not columns:
            raise ModelError("must have at least one expression", where)
        return tuple(columns), width if all(lists) else 0

    def jacobian(self, table: Mapping[str, Any], states: Mapping[str, Quantity]) -> tuple[tuple[Node, ...], ...]:
        if "jacobian" not in table:
            return ()
        at = self.where.at(table="equations.jacobian", key="expr")
        body = table["jacobian"]
        if isinstance(body, Mapping):
            self.keys(body, ("expr", "rows"), at.at(key=""))
        rows = body.get("expr", body.get("rows")) if isinstance(body, Mapping) else None
        n = sum(q.count for q in states.values())
        if not isinstance(rows, list) or len(rows) != n or any(not isinstance(r, list) or len(r) != n for r in rows):
            raise ModelError(f"must be {n} rows of {n} expressions", at)
        return tuple(tuple(self.expression(cell, at) for cell in row) for row in rows)

    def system(
        self, table: Mapping[str, Any], name: str, kind: str, states: Mapping[str, Quantity]
    ) -> tuple[Equation, ...]:
        found: list[Equation] = []
        covered = {q.name: bytearray(q.count) for q in states.values()}
        if "rhs" in table:
            where = self.where.at(table=f"{name}.rhs")
            if not isinstance(table["rhs"], Mapping):
                raise ModelError("must be a table of state = expression", where)
            for key, value in table["rhs"].items():
                at = where.at(key=key)
                found.append(self.equation(key, self.text(value, at), at, states, "", covered))
        if "expr" in table:
            where = self.where.at(table=name, key="expr")
            for number, line in _lines(self.text(table["expr"], where)):
                at = where.at(key=f"expr line {number}")
                left, equals, right = line.partition("=")
                if not equals or right.startswith("="):
                    raise ModelError(
                        f"expected an equation such as {_example(kind, states)!r}, found {line.strip()!r}", at
                    )
                found.append(self.equation(left, right, at, states, kind, covered))
        for q in states.values():
            missing = covered[q.name].find(0)
            if missing >= 0:
                element = q.name if q.size is None else f"{q.name}[{missing}]"
                example = f'{element} = "…"' if "rhs" in table else _example(kind, {element: q})
                raise ModelError(f"no equation for state {element!r}; add {example}", self.where.at(table=name))
        order = {state: k for k, state in enumerate(states)}
        return tuple(sorted(found, key=lambda e: order[e.target]))

    def equation(
        self,
        left: str,
        right: str,
        where: Where,
        states: Mapping[str, Quantity],
        prefix: str,
        covered: dict[str, bytearray],
    ) -> Equation:
        """One equation; `prefix` is the model kind where `dx` may be written for `x`, else empty."""
        state, index_text = self.target(left, where, states, prefix)
        q = states[state]
        body, var, bounds = parse_looped(right, where)
        resolver = Resolver(self.scope, right, where, random=self.random)
        if index_text is None:
            if q.size is not None:
                example = _example(prefix or "map", {f"{state}[i]": q})
                raise ModelError(
                    f"state {state!r} is an array of {q.size}; write an equation for {state}[i]: {example}", where
                )
            if var is not None:
                raise ModelError(f"state {state!r} is a scalar; its equation takes no 'for'", where)
            self.cover(covered[state], range(1), state, where)
            return Equation(state, None, None, resolver.whole(body))
        if q.size is None:
            raise ModelError(f"state {state!r} is a scalar and has no elements", where)
        index = parse(index_text, where)
        if var is None and isinstance(index, Name) and index.id not in self.scope.constants:
            loop: Loop | None = Loop(index.id, 0, q.size, 1)
        elif var is not None and bounds is not None:
            loop = self.loop(var, bounds, resolver)
        else:
            loop = None
        if loop is not None:
            if self.scope.defines(loop.var) or loop.var == "t":
                raise ModelError(f"loop index {loop.var!r} is the name of something else in the model", where)
            span = {loop.var: (loop.start, loop.indices[-1])}
            resolver = Resolver(self.scope, right, where, local=span, random=self.random)
        index = Resolver(self.scope, index_text, where, local=resolver.local).whole(index)
        self.cover(covered[state], _elements(index, loop, resolver, q, where), state, where)
        return Equation(state, index, loop, resolver.whole(body))

    def cover(self, flags: bytearray, elements: range, state: str, where: Where) -> None:
        span = slice(elements.start, elements.stop, elements.step)
        if any(flags[span]):
            raise ModelError(f"state {state!r} has two equations; write one that holds both, or leave one out", where)
        flags[span] = b"\x01" * len(elements)

    def target(self, left: str, where: Where, states: Mapping[str, Quantity], prefix: str) -> tuple[str, str | None]:
        match = _TARGET.match(left)
        if match is None:
            raise ModelError(
                f"{left.strip()!r} is not a state; an equation is written {_example(prefix or 'map', states)!r}", where
            )
        name, index = match["name"] or match["call"], match["index"]
        flow = prefix in ("ode", "sde")
        derivative = name[1:] if match["name"] and name.startswith("d") and flow else None
        if match["call"] or match["per"]:
            if not flow:
                raise ModelError(
                    f"{left.strip()!r} is a derivative, but this is a map; write the new value of the state: "
                    f"{_example(prefix, states)}",
                    where,
                )
            if match["per"] and match["name"]:
                if derivative is None:
                    raise ModelError(f"{left.strip()!r} is not a derivative; write d{name}/dt", where)
                name = derivative
            derivative = None
        if derivative in states and name in states:
            raise ModelError(
                f"{name!r} is a state and also reads as the derivative of {derivative!r}; use [equations.rhs]", where
            )
        if derivative in states and derivative is not None:
            return derivative, index
        if name in states:
            return name, index
        known = [f"d{s}" for s in states] if flow else list(states)
        if name in self.scope.params or derivative in self.scope.params:
            at = name if name in self.scope.params else derivative
            raise ModelError(f"{at!r} is not a state but a parameter; declare in [states] what has an equation", where)
        tail = suggest(name, known)
        if flow and derivative is None and "did you mean" not in tail:
            tail = f"{tail}. What is computed from states belongs to [aux]"
        raise ModelError(f"{name!r} is not a state{tail}", where)

    # -- everything else ---------------------------------------------------------------------------------------

    def names(self, value: object, where: Where) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or any(not isinstance(v, str) for v in value):
            raise ModelError(f'must be a list of names in quotes, such as ["x"], not {value!r}', where)
        if len(set(value)) != len(value):
            raise ModelError("has a name twice", where)
        return tuple(value)

    def function(self, name: str, body: Mapping[str, Any]) -> Function:
        where = self.where.at(table=f"functions.{name}")
        args = self.names(body.get("args", []), where.at(key="args"))
        for arg in args:
            if not _NAME.match(arg) or is_reserved(arg):
                raise ModelError(f"{arg!r} cannot name an argument", where.at(key="args"))
        text = self.text(body.get("expr"), where.at(key="expr"))
        node = Resolver(self.scope, text, where.at(key="expr"), args=frozenset(args)).whole(
            parse(text, where.at(key="expr"))
        )
        return Function(name, args, node)

    def event(self, name: str, body: object) -> Event:
        where = self.where.at(table=f"events.{name}")
        if not _NAME.match(name):
            raise ModelError(f"{name!r} is not a name", where)
        if not isinstance(body, Mapping):
            raise ModelError("must be a table with cond", where)
        self.keys(body, ("phase", "cond", "action", "log", "tags", "locate", "terminal"), where)
        phases = self.phases(body, where)
        if "cond" not in body:
            raise ModelError('an event needs a condition, such as cond = "x > 1"', where.at(key="cond"))
        log = self.names(body.get("log", []), where.at(key="log"))
        located, terminal = self.flag(body, "locate", where), self.flag(body, "terminal", where)
        if (located or terminal) and phases != ("post",):
            word = "located" if located else "terminal"
            raise ModelError(f"a {word} event happens inside or at the end of a step; leave phase out", where)
        return Event(
            name,
            phases,
            self.crossing(body["cond"], where.at(key="cond"))
            if located
            else self.expression(body["cond"], where.at(key="cond"), events=True),
            tuple(self.actions(body.get("action", ""), where.at(key="action"))),
            tuple((label, self.expression(label, where.at(key="log"))) for label in log),
            self.names(body.get("tags", []), where.at(key="tags")),
            located,
            terminal,
        )

    def flag(self, body: Mapping[str, Any], key: str, where: Where) -> bool:
        value = body.get(key, False)
        if not isinstance(value, bool):
            raise ModelError(f"must be true or false, not {value!r}", where.at(key=key))
        return value

    def crossing(self, value: object, where: Where) -> Node:
        """The condition of a located event: one comparison, or a crossing macro as one."""
        if self.kind != "ode":
            raise ModelError(f"events are located between the steps of an ODE; this is a {self.kind}", where)
        text = self.text(value, where)
        cond = parse(text, where)
        if isinstance(cond, Call) and cond.fn in _CROSSINGS and cond.fn not in self.scope.functions:
            self.expression(value, where, events=True)  # the rules of the macro
            cond = Compare((_CROSSINGS[cond.fn],), cond.args, pos=cond.pos)
        if not isinstance(cond, Compare) or len(cond.ops) != 1 or cond.ops == ("!=",):
            raise ModelError(
                "a located event needs one comparison (x >= c, x < c, x == c for both directions) or one of "
                f"{', '.join(_CROSSINGS)}, not {text!r}",
                where,
            )
        cond = Resolver(self.scope, text, where).whole(cond)
        if any(isinstance(part, Lag) for part in walk(cond)):
            raise ModelError("the condition of a located event cannot read past values", where)
        return cond

    def phases(self, body: Mapping[str, Any], where: Where) -> tuple[str, ...]:
        phase = body.get("phase", "post")
        if not isinstance(phase, str) or phase not in _PHASES:
            raise ModelError(f"must be 'pre', 'post' or 'both', not {phase!r}", where.at(key="phase"))
        return _PHASES[phase]

    def actions(self, value: object, where: Where) -> Iterable[Action]:
        if isinstance(value, Mapping):
            for target, expr in value.items():
                at = where.at(key=f"action.{target}")
                sized = _SIZED.match(target)
                yield self.action(
                    sized[1] if sized else target, sized[2] if sized else None, "", self.text(expr, at), at
                )
            return
        if not isinstance(value, str):
            raise ModelError("must be text such as 'v = c; u = u + d'", where)
        for _, line in _lines(value):
            for part in filter(str.strip, line.split(";")):
                match = _ASSIGN.match(part)
                if match is None:
                    raise ModelError(f"{part.strip()!r} is not an assignment such as 'v = c'", where)
                yield self.action(match["name"], match["index"], match["op"] or "", part[match.end() :], where)

    def action(self, target: str, index_text: str | None, op: str, text: str, where: Where) -> Action:
        scope = self.scope
        if target not in scope.states and target not in scope.params:
            known = sorted(scope.states | scope.params)
            raise ModelError(
                f"an action can set states and parameters; {target!r} is neither{suggest(target, known)}", where
            )
        expr = parse(text, where)
        index: Node | None = None
        if index_text is not None:
            item = Resolver(scope, index_text, where).whole(Item(target, parse(index_text, where)))
            index = item.index if isinstance(item, Item) else None
        elif target in scope.sizes:
            raise ModelError(f"{target!r} is an array; set one element, as in {target}[0] = …", where)
        if op:
            current: Node = Name(target) if index is None else Item(target, index)
            expr = Binary(op, current, expr)
        return Action(target, index, Resolver(scope, text, where, random=True).whole(expr))

    def preset(self, name: str, body: object, states: tuple[Quantity, ...], params: tuple[Quantity, ...]) -> Preset:
        return read_preset(name, body, states, params, self.where.at(table=f"presets.{name}"))

    def sim(self) -> SimDefaults:
        table, where = dict(self.table("sim")), self.where.at(table="sim")
        if isinstance(table.get("options"), Mapping):
            table.update(table.pop("options"))

        def number(key: str, least: float | None = None) -> float | None:
            if key not in table:
                return None
            value = self.number(table.pop(key), where.at(key=key))
            if least is not None and not value > least:
                raise ModelError(f"must be greater than {least:g}, not {value:g}", where.at(key=key))
            return value

        stop = table.pop("stop", None)
        if isinstance(stop, Mapping):
            at = where.at(table="sim.stop")
            self.keys(stop, ("cond", "phase"), at)
            if self.phases(stop, at) != ("post",):
                raise ModelError(
                    "a stop condition is asked at the end of each step; leave phase out", at.at(key="phase")
                )
            if "cond" not in stop:
                raise ModelError("a stop needs a condition, cond", at)
            stop = stop["cond"]
        record = table.pop("record", True)
        if not isinstance(record, bool):
            raise ModelError(f"must be true or false, not {record!r}", where.at(key="record"))
        stepper = table.pop("stepper", None)
        if stepper is not None and not isinstance(stepper, str):
            raise ModelError(f"must be the name of a stepper, not {stepper!r}", where.at(key="stepper"))
        tolerances = [
            (kind, *self.tolerance(state, value, where.at(key=f"{key}.{state}")))
            for kind in TOLERANCES
            for key in (kind, f"{kind}_of")
            if isinstance(table.get(key), Mapping)
            for state, value in table.pop(key).items()
        ]
        stops = table.pop("tstops", [])
        if not isinstance(stops, list | tuple) or len(stops) > MAX_STOPS:
            raise ModelError(f"must be a list of at most {MAX_STOPS} times", where.at(key="tstops"))
        t0, t_end, dt, steps = number("t0"), number("t_end"), number("dt", 0.0), number("max_steps", 0.0)
        if steps is not None and steps != int(steps):
            raise ModelError(f"must be a whole number of steps, not {steps:g}", where.at(key="max_steps"))
        return SimDefaults(
            t0=t0 or 0.0,
            t_end=t_end,
            dt=dt,
            stepper=stepper,
            record=record,
            max_steps=None if steps is None else int(steps),
            stop=None if stop is None else self.expression(stop, where.at(key="stop"), events=True),
            options=tuple((key, self.number(value, where.at(key=key))) for key, value in sorted(table.items())),
            tolerances=tuple(sorted(tolerances)),
            tstops=tuple(sorted({self.number(value, where.at(key="tstops")) for value in stops})),
        )

    def tolerance(self, state: str, value: object, where: Where) -> tuple[str, float]:
        if state not in self.scope.states:
            raise ModelError(f"{state!r} is not a state{suggest(state, sorted(self.scope.states))}", where)
        number = self.number(value, where)
        if not number > 0.0:
            raise ModelError(f"must be greater than 0, not {number:g}", where)
        return state, number

    def no_cycles(self, model: Model) -> None:
        """Aux variables and functions must not need themselves."""
        uses: dict[str, tuple[Node, Where]] = {
            a.name: (a.expr, self.where.at(table="aux", key=a.name)) for a in model.aux
        }
        uses |= {f.name: (f.expr, self.where.at(table=f"functions.{f.name}", key="expr")) for f in model.functions}
        chains: dict[str, tuple[int, int]] = {}  # the longest below each name, and the most calls in one
        functions = {f.name: f for f in model.functions}
        order = {name: k for k, name in enumerate(uses)}

        def visit(name: str, path: tuple[str, ...]) -> tuple[int, int]:
            if name in chains:
                return chains[name]
            expr, where = uses[name]
            if name in path:
                raise ModelError(f"{' → '.join((*path[path.index(name) :], name))} refers to itself", where)
            local = functions[name].args if name in functions else ()
            used = {node.id for node in walk(expr) if isinstance(node, Name) and node.id not in local}
            used |= {node.fn for node in walk(expr) if isinstance(node, Call)}
            length, calls = len(path), 0
            if length <= MAX_TREE:
                below = [visit(other, (*path, name)) for other in sorted(used & order.keys(), key=order.__getitem__)]
                length = 1 + max((each for each, _ in below), default=0)
                calls = (name in functions) + max((each for _, each in below), default=0)
            if length > MAX_TREE:
                raise ModelError(f"needs a chain of more than {MAX_TREE} aux variables and functions", where)
            if calls > MAX_CALLS:
                raise ModelError(f"needs more than {MAX_CALLS} functions that call one another", where)
            chains[name] = length, calls
            return chains[name]

        for name in uses:
            visit(name, ())


def read_preset(
    name: str, body: object, states: tuple[Quantity, ...], params: tuple[Quantity, ...], where: Where
) -> Preset:
    """Check the `params` and `states` tables of a preset against the model's quantities."""
    if not _NAME.match(name.replace("-", "_")):
        raise ModelError(f"{name!r} is not a name for a preset", where)
    if not isinstance(body, Mapping) or not body:
        raise ModelError("must have a params or a states table", where)
    for key in body:
        if key not in ("params", "states"):
            raise ModelError(f"unknown key {key!r}{suggest(str(key), ('params', 'states'))}", where)

    def values(key: str, known: tuple[Quantity, ...]) -> tuple[tuple[str, tuple[float, ...]], ...]:
        table = body.get(key, {})
        sizes = {q.name: q for q in known}
        if not isinstance(table, Mapping):
            raise ModelError("must be a table of numbers", where.at(key=key))
        found = []
        for item, value in table.items():
            at = where.at(key=f"{key}.{item}")
            if item not in sizes:
                raise ModelError(f"{item!r} is not one of the {key}{suggest(item, sizes)}", at)
            entries = tuple(value) if isinstance(value, list | tuple) else (value,)
            if len(entries) != sizes[item].count or any(
                isinstance(v, bool) or not isinstance(v, int | float) for v in entries
            ):
                raise ModelError(f"must be {sizes[item].count} number(s), not {value!r}", at)
            numbers = tuple(_float(v) for v in entries)
            if not all(math.isfinite(v) for v in numbers):
                raise ModelError("must be finite", at)
            found.append((item, numbers))
        return tuple(found)

    return Preset(name, values("params", params), values("states", states))


def _lines(block: str) -> Iterable[tuple[int, str]]:
    """Logical lines with their numbers: comments dropped, open brackets continue on the next line."""
    pending, first, depth = "", 0, 0
    for number, raw in enumerate(block.splitlines(), 1):
        line = raw.split("#", 1)[0].rstrip()
        if not line.strip() and not depth:
            continue
        if not depth:
            pending, first = line, number
        else:
            pending += " " + line.strip()
        depth += sum(line.count(c) for c in "([") - sum(line.count(c) for c in ")]")
        if depth <= 0:
            yield first, pending
            depth = 0
    if depth:
        yield first, pending


def _elements(index: Node, loop: Loop | None, resolver: Resolver, q: Quantity, where: Where) -> range:
    """The elements an equation defines. The index is a constant, or the loop index plus or minus a constant."""
    low, high = resolver.interval(index)
    if loop is None:
        elements = range(low, high + 1)
    else:
        match index:
            case Name(id=name) if name == loop.var:
                shift = 0
            case Binary(op="+" | "-" as op, left=Name(id=name), right=Num(value=value)) if name == loop.var:
                shift = int(value) if op == "+" else -int(value)
            case _:
                raise ModelError(
                    f"the element on the left must be {q.name}[{loop.var}], or that plus or minus a number", where
                )
        elements = range(loop.start + shift, loop.stop + shift, loop.step)
    if elements[0] < 0 or elements[-1] >= q.count:
        raise ModelError(
            f"defines {q.name}[{elements[0]}] to [{elements[-1]}], but {q.name} has 0 to {q.count - 1}", where
        )
    return range(elements.start, elements[-1] + 1, elements.step)


def _example(kind: str, states: Mapping[str, Quantity]) -> str:
    first = next(iter(states))
    return f"{first} = …" if kind == "map" else f"d{first} = …"


def _float(value: float) -> float:
    """A whole number of TOML has any length; one that is too large for a float is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _spell(value: float, where: Where) -> str:
    if not math.isfinite(value):
        raise ModelError(f"must be finite, not {value}", where)
    return repr(value)
