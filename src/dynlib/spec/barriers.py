"""Times at which the right-hand side may jump or bend: read off the expressions, so that no step crosses one unseen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from msgspec import Struct

from dynlib.errors import ModelError
from dynlib.spec.derivative import ONE, ZERO, derivative, negative, over, plus, substituted, times
from dynlib.spec.expressions import (
    Binary,
    Call,
    Compare,
    Item,
    Lag,
    Name,
    Node,
    Num,
    Reduce,
    children,
    is_random,
    rebuild,
    walk,
)
from dynlib.spec.model import Model

MAX_VISITS = 20_000
MAX_BARRIERS = 1000
_AT_ZERO = ("heaviside", "step", "sign", "abs", "relu")
_AT_WHOLE = {"floor": 0.0, "ceil": 0.0, "trunc": 0.0, "round": 0.5}


class Barrier(Struct, frozen=True):
    """A time, or with a `period` (not `ZERO`) the times `time + k·period`; both read parameters only."""

    time: Node
    period: Node = ZERO


def barriers_of(model: Model) -> tuple[Barrier, ...]:
    """The barriers of an ODE: `tstops` of the model, then what its equations say, each once.

    Found are comparisons, `heaviside`, `step`, `sign`, `abs`, `relu`, `min`, `max`, `clip`, `floor`, `ceil`, `trunc`,
    `round`, `//` and `%` of expressions that are linear in `t` and read nothing else but parameters.
    """
    if model.kind == "map":
        return ()
    found = {Barrier(Num(time)): None for time in model.sim.tstops}
    search = _Search(model)
    for column in (model.equations, *model.noise):
        for equation in column:
            for barrier in search.visit(equation.expr, {}):
                found[barrier] = None
            if len(found) > MAX_BARRIERS or search.visits > MAX_VISITS:
                return tuple(found)[:MAX_BARRIERS]
    return tuple(found)


class _Search:
    def __init__(self, model: Model) -> None:
        self.model, self.visits = model, 0
        self.aux, self.functions = model.aux_by_name, model.function_by_name
        self.entered: set[str] = set()
        self.free = {q.name for q in model.params if q.size is None}

    def visit(self, node: Node, given: Mapping[str, Node]) -> Iterator[Barrier]:
        """The barriers in an expression; `given` are the arguments of the function it stands in."""
        self.visits += 1
        if self.visits > MAX_VISITS:
            return
        match node:
            case Name(id=name) if name in self.aux and name not in given and name not in self.entered:
                self.entered.add(name)
                yield from self.visit(self.aux[name].expr, {})
            case Call(fn=fn, args=args) if fn in self.functions:
                values = [substituted(a, given) for a in args]
                body = self.functions[fn]
                yield from self.visit(body.expr, dict(zip(body.args, values, strict=True)))
            case Compare(operands=operands):
                for left, right in pairwise(operands):
                    yield from self.where_zero(plus(left, negative(right)), given)
            case Call(fn=fn, args=args) if fn in _AT_ZERO:
                yield from self.where_zero(args[0], given)
            case Call(fn="clip", args=args):
                for limit in args[1:]:
                    yield from self.where_zero(plus(args[0], negative(limit)), given)
            case Call(fn="min" | "max", args=args):
                for k, left in enumerate(args):
                    for right in args[:k]:
                        yield from self.where_zero(plus(left, negative(right)), given)
            case Call(fn=fn, args=args) if fn in _AT_WHOLE:
                yield from self.where_whole(args[0], Num(_AT_WHOLE[fn]), ONE, given)
            case Binary(op="%" | "//", left=left, right=right):
                yield from self.where_whole(left, ZERO, right, given)
        for part in children(node):
            yield from self.visit(part, given)

    def where_zero(self, node: Node, given: Mapping[str, Node]) -> Iterator[Barrier]:
        """Where `node` is 0; where it holds one `x % p`, once in each period."""
        node = substituted(node, given)
        rests = [part for part in walk(node) if isinstance(part, Binary) and part.op == "%"]
        if not rests:
            line = self.line(node)
            if line is not None:
                yield Barrier(over(negative(line[0]), line[1]))
            return
        if len(set(rests)) > 1 or _timed(_replaced(node, rests[0], ZERO)):
            return
        line, inner = self.line(_replaced(node, rests[0], Name("t"))), self.line(rests[0].left)
        if line is not None and inner is not None and self.is_free(rests[0].right):
            # node = a + b·(x % p) is 0 where x % p = -a/b, and x = c + d·t
            time = over(plus(over(negative(line[0]), line[1]), negative(inner[0])), inner[1])
            yield Barrier(time, over(rests[0].right, inner[1]))

    def where_whole(self, node: Node, shift: Node, unit: Node, given: Mapping[str, Node]) -> Iterator[Barrier]:
        """Where `node` passes `shift` more than a multiple of `unit`."""
        line, unit = self.line(substituted(node, given)), substituted(unit, given)
        if line is not None and self.is_free(unit):
            yield Barrier(over(plus(times(shift, unit), negative(line[0])), line[1]), over(unit, line[1]))

    def line(self, node: Node) -> tuple[Node, Node] | None:
        """`a` and `b` where the expression is `a + b·t` with parameters and constants only; None for any other."""
        if not _timed(node):
            return None
        try:
            slope = derivative(node, "t", self.model)
        except ModelError:
            return None
        start = substituted(node, {"t": ZERO})
        return (start, slope) if slope != ZERO and self.is_free(slope) and self.is_free(start) else None

    def is_free(self, node: Node) -> bool:
        """Whether an expression reads scalar parameters only."""
        for part in walk(node):
            if isinstance(part, Item | Lag | Reduce) or is_random(part):
                return False
            if isinstance(part, Name) and part.id not in self.free:
                return False
            if isinstance(part, Call) and part.fn in self.functions:
                return False
        return True


def _replaced(node: Node, old: Node, new: Node) -> Node:
    return new if node == old else rebuild(node, lambda part: _replaced(part, old, new))


def _timed(node: Node) -> bool:
    return any(isinstance(part, Name) and part.id == "t" for part in walk(node))
