"""Observers written as small Python functions: read from their source, never executed."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, overload

from msgspec import Struct, field

from dynlib.arguments import checked
from dynlib.errors import ConfigError, Where
from dynlib.spec.expressions import is_reserved, parse
from dynlib.spec.observer import Observer
from dynlib.spec.syntax import syntax_tree

_ALLOWED = "an observer is made of assignments (=, +=, -=, …) to single names, if, elif and else"
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


@overload
def observer(function: Callable[..., None], /) -> Observer: ...


@overload
def observer(
    *, name: str | None = None, read: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Observer]: ...


@checked
def observer(
    function: Callable[..., None] | None = None,
    /,
    *,
    name: str | None = None,
    read: Mapping[str, str] | None = None,
) -> Observer | Callable[[Callable[..., None]], Observer]:
    """A decorator that makes an `Observer` of a Python function; the body is what happens after every completed step.

    The arguments are the memory, and their defaults its first values; an argument that the body never sets is a
    constant. The body may assign to them and to names of its own, which last for one step, with `if`, `elif` and
    `else`. It reads what an `Observer` reads (states, parameters, aux variables, `t`, `before_x`) in expressions of the
    model language, and no variables of Python. `read` is that of `Observer`; `name` is otherwise the function's.

    The body is read from the source of the function and never executed, so that the observer is compiled, and goes into
    snapshot files, as any other. Raises `ConfigError` naming the line where something else stands.

    >>> import dynlib
    >>> @dynlib.observer
    ... def rises(count=0):
    ...     if x > before_x:
    ...         count += 1
    >>> sim = dynlib.setup("builtin://map/logistic", observers=[rises])
    >>> outcome = sim.run(N=100)
    >>> sim.observer("rises")
    {'count': 56.0}
    """
    if function is None:
        return lambda given: _observer(given, name, read)
    return _observer(function, name, read)


def _observer(function: Callable[..., None], name: str | None, read: Mapping[str, str] | None) -> Observer:
    if not inspect.isfunction(function):
        raise ConfigError(f"observer: expected a function, not {function!r}")
    name = name or function.__name__
    node, first, file = _source(function, name)
    memory = _memory(function, name)
    body = _Body(name, file, first, memory, {n.id for n in ast.walk(node) if isinstance(n, ast.Name)})
    update = body.translated(node.body)
    kept = {key: value for key, value in memory.items() if key in body.own}
    if not kept:
        raise ConfigError(f"observer {name}: sets none of its arguments, so that it would keep nothing")
    return Observer(name, kept, update, read or {})


def _source(function: Any, name: str) -> tuple[ast.FunctionDef, int, str]:
    """The syntax tree of a function, what to add to its line numbers, and its file."""
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        raise ConfigError(
            f"observer {name}: the source of the function cannot be read; define it in a file or a notebook, or write "
            "an Observer with expressions"
        ) from None
    indented = lines[0][:1].isspace()
    try:
        tree = syntax_tree("".join(["if True:\n", *lines] if indented else lines)).body[0]
    except SyntaxError:
        tree = ast.Pass()
    if isinstance(tree, ast.If):
        tree = tree.body[0]
    if not isinstance(tree, ast.FunctionDef) or tree.name != function.__name__:
        raise ConfigError(f"observer {name}: must be a function defined with def, in a file that has not changed since")
    return tree, first - 1 - indented, function.__code__.co_filename


def _memory(function: Any, name: str) -> dict[str, float]:
    """The arguments with their defaults."""
    memory: dict[str, float] = {}
    for each in inspect.signature(function).parameters.values():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise ConfigError(f"observer {name}: *{each.name} is no memory; name each number and its first value")
        if each.default is each.empty:
            raise ConfigError(f"observer {name}: {each.name!r} needs a first value, as in {each.name}=0.0")
        memory[each.name] = each.default
    for key, value in Observer(name, memory, {key: key for key in memory}).memory.items():
        memory[key] = value  # checked
    return memory


class _Body(Struct):
    """Turns statements into updates that each set a name of their own; the last one of a name sets the name itself."""

    name: str
    file: str
    first: int
    memory: Mapping[str, float]
    words: set[str]  # all names in the function: no other name may be one of them
    updates: dict[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()  # the names that the function sets: nowhere in it are they the model's

    def fail(self, message: str, at: ast.AST) -> ConfigError:
        return ConfigError(f"{self.where(at)}: {message}")

    def where(self, at: ast.AST) -> Where:
        line = getattr(at, "lineno", 1) + self.first
        return Where(self.file, f"observer {self.name}", f"line {line}")

    def translated(self, body: list[ast.stmt]) -> dict[str, str]:
        """The updates of an observer, in their order."""
        self.own = frozenset(
            target.id
            for statement in body
            for node in ast.walk(statement)
            for target in _targets(node)
            if isinstance(target, ast.Name)
        )
        last = self.block(body, {key: key for key in self.memory if key in self.own})
        final = {code: key for key, code in last.items() if code is not None}

        def settled(text: str) -> str:
            return re.sub(r"[A-Za-z]\w*", lambda m: final.get(m[0], m[0]), text)

        return {final.get(code, code): settled(text) for code, text in self.updates.items()}

    # -- statements --------------------------------------------------------------------------------------------

    def block(self, body: list[ast.stmt], names: dict[str, str | None]) -> dict[str, str | None]:
        """Where each name stands after some statements; None for one that is set in one branch only."""
        for statement in body:
            match statement:
                case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                    pass
                case (
                    ast.Assign(targets=[ast.Name(id=target)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value)
                ):
                    names = self.assigned(target, self.text(value, names), names, statement)
                case ast.AugAssign(target=ast.Name(id=target) as left, op=op, value=value):
                    old = ast.copy_location(ast.Name(target, ast.Load()), left)
                    new = ast.copy_location(ast.BinOp(old, op, value), statement)
                    names = self.assigned(target, self.text(new, names), names, statement)
                case ast.If(test=test, body=then, orelse=other):
                    names = self.choice(test, then, other, names)
                case _:
                    what = ast.unparse(statement).splitlines()[0]
                    raise self.fail(f"{what!r} cannot stand here: {_ALLOWED}", statement)
        return names

    def assigned(self, target: str, text: str, names: dict[str, str | None], at: ast.AST) -> dict[str, str | None]:
        if is_reserved(target) or not re.fullmatch(r"[A-Za-z]\w*", target, re.ASCII):
            raise self.fail(f"{target!r} cannot be set; give it another name, of letters, digits and _", at)
        code = self.fresh(target)
        self.updates[code] = text
        return {**names, target: code}

    def choice(
        self, test: ast.expr, then: list[ast.stmt], other: list[ast.stmt], names: dict[str, str | None]
    ) -> dict[str, str | None]:
        """Both branches are computed, and then one of two values is taken for each name that they set."""
        cond = self.fresh("if")
        self.updates[cond] = self.text(test, names, truth=True)
        one, two = self.block(then, names), self.block(other, names)
        for name in dict.fromkeys([*one, *two]):
            a, b = one.get(name), two.get(name)
            if a == b:
                names = {**names, name: a}
            elif a is None or b is None:
                names = {**names, name: None}
            else:
                code = self.fresh(name)
                self.updates[code] = f"{a} if {cond} else {b}"
                names = {**names, name: code}
        return names

    def fresh(self, stem: str) -> str:
        number = 1
        while f"{stem}_{number}" in self.words:
            number += 1
        self.words.add(f"{stem}_{number}")
        return f"{stem}_{number}"

    # -- expressions -------------------------------------------------------------------------------------------

    def text(self, node: ast.expr, names: Mapping[str, str | None], truth: bool = False) -> str:
        """The expression in the model language, names as they stand."""
        text = ast.unparse(self.rewritten(node, names, frozenset(), truth))
        parse(text, self.where(node))
        return text

    def rewritten(
        self, node: ast.expr, names: Mapping[str, str | None], loops: frozenset[str], truth: bool = False
    ) -> ast.expr:
        """The expression with its names replaced; `truth` where only whether it holds is asked."""

        def again(part: ast.expr, truth: bool = False) -> ast.expr:
            return self.rewritten(part, names, loops, truth)

        match node:
            case ast.Constant(value=bool() | int() | float()):
                return node
            case ast.Name():
                return self.variable(node, names, loops)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return ast.UnaryOp(node.op, again(operand))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ast.UnaryOp(node.op, again(operand, True))
            case ast.BinOp(op=ast.BitXor()):
                raise self.fail("^ is no power in Python; write **", node)
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS):
                return ast.BinOp(again(left), op, again(right))
            case ast.BoolOp(op=op, values=values):
                if not truth and not all(map(_is_truth, values)):
                    raise self.fail("and/or of numbers has another value in Python; write a if c else b", node)
                return ast.BoolOp(op, [again(value, True) for value in values])
            case ast.Compare(left=left, ops=ops, comparators=parts) if all(isinstance(op, _COMPARISONS) for op in ops):
                return ast.Compare(again(left), ops, [again(part) for part in parts])
            case ast.IfExp(test=test, body=then, orelse=other):
                return ast.IfExp(again(test, True), again(then), again(other))
            case ast.Call(func=ast.Name(id="sum" | "prod" as fn), args=[ast.GeneratorExp() as loop], keywords=[]):
                return self.reduction(fn, loop, names, loops)
            case ast.Call(func=ast.Name() as function, args=args, keywords=[]):
                return ast.Call(function, [again(part) for part in args], [])
            case ast.Subscript(value=ast.Name() as array, slice=index):
                return ast.Subscript(array, again(index), ast.Load())
        what = ast.unparse(node)
        raise self.fail(f"{what!r} is no expression of the model language", node)

    def variable(self, node: ast.Name, names: Mapping[str, str | None], loops: frozenset[str]) -> ast.expr:
        name = node.id
        if name in loops:
            return node
        if name in self.own:
            code = names.get(name)
            if code is None:
                why = "is set in one branch only" if name in names else "is read before it is set"
                raise self.fail(
                    f"{name!r} {why}; give it a value in every case, or another name than the model's", node
                )
            return ast.Name(code)
        if name in self.memory:
            value = self.memory[name]
            number = ast.Constant(abs(value))
            return number if value >= 0 else ast.UnaryOp(ast.USub(), number)
        return node

    def reduction(
        self, fn: str, loop: ast.GeneratorExp, names: Mapping[str, str | None], loops: frozenset[str]
    ) -> ast.expr:
        """`sum(… for i in range(n) if c)`; as a name, because Python would write it with brackets of its own."""
        match loop.generators:
            case [
                ast.comprehension(target=ast.Name(id=var), iter=ast.Call(func=ast.Name(id="range")) as span, ifs=ifs)
            ]:
                if var in self.memory or var in self.own or len(ifs) > 1:
                    raise self.fail(f"the index {var!r} must be a name of its own, with at most one condition", loop)
                inner = loops | {var}
                body = self.rewritten(loop.elt, names, inner)
                cond = [f" if {ast.unparse(self.rewritten(c, names, inner, True))}" for c in ifs]
                span = ast.Call(span.func, [self.rewritten(part, names, loops) for part in span.args], [])
                return ast.Name(f"{fn}({ast.unparse(body)} for {var} in {ast.unparse(span)}{''.join(cond)})")
        raise self.fail(f"{fn}() takes one loop over a range, as in {fn}(u[i] for i in range(3))", loop)


def _targets(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to."""
    match node:
        case ast.Assign(targets=targets):
            return targets
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return [target]
    return []


def _is_truth(node: ast.expr) -> bool:
    """Whether Python gives this a truth value."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Constant(value=bool()):
            return True
        case ast.BoolOp(values=values):
            return all(map(_is_truth, values))
    return False
