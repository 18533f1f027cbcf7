"""The Jacobian of any model as loops over its elements: what is computed where, and which elements can differ from 0.

A loop equation gives one block for all its rows, so that the size of what is derived does not grow with the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, reduce
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from dynlib.errors import ModelError, Where
from dynlib.spec.derivative import ONE, ZERO, Rules
from dynlib.spec.expressions import (
    Binary,
    Call,
    Compare,
    Item,
    Logic,
    Name,
    Node,
    Num,
    Reduce,
    Unary,
    children,
    is_random,
)
from dynlib.spec.model import Equation, Model, spans, walk_through

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Reals = NDArray[np.float64]
EXACT = 2.0**24
"""Whole numbers below it are exact also in float32."""
MAX_VISITS = 50_000_000
"""Elements that one evaluation of a Jacobian visits; more would not fit in memory either."""


class Turns(Struct, frozen=True):
    """`for var in range(start, stop, step) if cond`."""

    var: str
    start: Node
    stop: Node
    step: Node
    cond: Node | None = None


class Element(Struct, frozen=True):
    """What is added in one column: the derivative with respect to a scalar state or one element of an array."""

    state: str
    index: Node | None
    value: Node


class Block(Struct, frozen=True):
    """Elements inside a loop (or none), each multiplied by `weight` (taken outside the loop) and `others` (inside)."""

    turns: Turns | None
    weight: Node
    others: Node
    elements: tuple[Element, ...]
    inner: tuple[Block, ...]


class Row(Struct, frozen=True):
    """The elements that one equation fills; those of the same place are added."""

    state: str
    index: Node | None
    block: Block


class Sparsity(Struct, frozen=True, eq=False, dict=True):
    """The elements that may differ from 0: `rows` and `cols` by row, then column; `n` rows in all.

    `lower` and `upper` are the greatest distances below and above the diagonal.
    """

    n: int
    rows: Indices
    cols: Indices

    @cached_property
    def lower(self) -> int:
        """The greatest distance of an element below the diagonal."""
        return int(max(0, np.max(self.rows - self.cols, initial=0)))

    @cached_property
    def upper(self) -> int:
        """The greatest distance of an element above the diagonal."""
        return int(max(0, np.max(self.cols - self.rows, initial=0)))

    @cached_property
    def keys(self) -> Indices:
        """`row*n + column` of every element, ascending."""
        return self.rows * self.n + self.cols

    def where(self, rows: Indices, cols: Indices) -> Indices:
        """The places of elements in `rows` and `cols`."""
        return np.searchsorted(self.keys, rows * self.n + cols)


class Visit(Struct, frozen=True, eq=False):
    """Where one element lies at each turn of its loops; `live` tells the turns that are not always skipped."""

    rows: Indices
    cols: Indices
    live: Mask | None

    @property
    def taken(self) -> Mask | slice:
        """What picks the turns that may count."""
        return slice(None) if self.live is None else self.live


class Jacobian(Struct, frozen=True, eq=False, dict=True):
    """The derivatives of the right-hand side of a model (of a map, of the next state) with respect to its states.

    The model's own Jacobian where it has one, else derived. Made by `jacobian_blocks`.
    """

    model: Model
    rows: tuple[Row, ...]

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each state begins in the vector of all."""
        return {q.name: span.start for q, span in spans(self.model.states)}

    def visits(self) -> Iterator[Visit]:
        """Every element in the order of the code: rows first, in each block its elements, then the blocks inside.

        Raises `ModelError` where they are too many.
        """
        for row in self.rows:
            yield from self._visits(row, row.block, {}, np.zeros(1, np.int64), None)

    def _visits(
        self, row: Row, block: Block, at: Mapping[str, Indices], rows: Indices, live: Mask | None
    ) -> Iterator[Visit]:
        if block.turns is not None:
            at, turns = self._unrolled(block.turns, at, len(rows))
            rows, live = rows[turns], None if live is None else live[turns]
            if block.turns.cond is not None and (holds := _truth(block.turns.cond, at)) is not None:
                live = np.broadcast_to(holds if live is None else holds & live, len(rows))
        if block is row.block:
            rows = self._place(row.state, row.index, at, len(rows))
        for element in block.elements:
            yield Visit(rows, self._place(element.state, element.index, at, len(rows)), live)
        for inner in block.inner:
            yield from self._visits(row, inner, at, rows, live)

    def _unrolled(self, turns: Turns, at: Mapping[str, Indices], count: int) -> tuple[dict[str, Indices], Indices]:
        """All indices at every turn of a loop inside others, and for each the turn of those others."""
        start, stop, step = (np.broadcast_to(_whole(x, at), count) for x in (turns.start, turns.stop, turns.step))
        lengths = np.maximum(0, -((start - stop) // step))
        total = int(lengths.sum())
        if total > MAX_VISITS:
            raise ModelError(
                f"one evaluation of the Jacobian visits more than {MAX_VISITS} elements; use an explicit method",
                Where(self.model.name),
            )
        outer = np.repeat(np.arange(count), lengths)
        turn = np.arange(total) - (np.cumsum(lengths) - lengths)[outer]
        inside = {name: values[outer] for name, values in at.items()}
        return {**inside, turns.var: start[outer] + turn * step[outer]}, outer

    def _place(self, state: str, index: Node | None, at: Mapping[str, Indices], turns: int) -> Indices:
        if index is None:
            return np.full(turns, self.places[state])
        return np.broadcast_to(_whole(index, at) + self.places[state], turns)

    @cached_property
    def sparsity(self) -> Sparsity:
        """Which elements may differ from 0. Raises `ModelError` where they are too many."""
        n = self.model.n_states
        keys = (visit.rows[visit.taken] * n + visit.cols[visit.taken] for visit in self.visits())
        if n * n <= MAX_VISITS:
            found = np.zeros(n * n, np.bool_)
            for key in keys:
                found[key] = True
            rows, cols = np.divmod(np.flatnonzero(found), n)
        else:
            rows, cols = np.divmod(np.unique(np.concatenate([np.unique(key) for key in keys])), n)
        return Sparsity(n, rows, cols)

    @cached_property
    def once(self) -> bool:
        """Whether each of these elements is computed once, and always."""
        if any(block.turns is not None and block.turns.cond is not None for block in self.blocks()):
            return False
        return sum(len(visit.rows) for visit in self.visits()) == len(self.sparsity.rows)

    def blocks(self) -> Iterator[Block]:
        """Every block, in the order of the code."""
        stack = [row.block for row in reversed(self.rows)]
        while stack:
            block = stack.pop()
            yield block
            stack.extend(reversed(block.inner))

    def nodes(self) -> Iterator[Node]:
        """Every expression that is computed for it."""
        for block in self.blocks():
            yield block.weight
            yield block.others
            if block.turns is not None and block.turns.cond is not None:
                yield block.turns.cond
            for element in block.elements:
                yield element.value


def jacobian_blocks(model: Model) -> Jacobian:
    """The Jacobian of any model: its own where it has one, else derived.

    Raises `ModelError` for derivatives that grow too large and for derivatives that hold random numbers.
    """
    found = stated_blocks(model) if model.jacobian else derived_blocks(model)
    _check_random(model, found.nodes())
    return found


def _check_random(model: Model, nodes: Iterable[Node]) -> None:
    if any(is_random(part) for part in walk_through(model, *nodes)):
        raise ModelError(
            "the Jacobian holds random numbers, which are not drawn a second time", Where(model.name, "equations")
        )


def stated_blocks(model: Model) -> Jacobian:
    """The Jacobian that the model states."""
    places = [(q.name, None if q.size is None else Num(float(k))) for q in model.states for k in range(q.count)]
    rows = []
    for (state, index), cells in zip(places, model.jacobian, strict=True):
        elements = tuple(Element(*place, cell) for place, cell in zip(places, cells, strict=True) if cell != ZERO)
        rows.append(Row(state, index, Block(None, ONE, ONE, elements, ())))
    return Jacobian(model, tuple(rows))


def derived_blocks(model: Model) -> Jacobian:
    """The Jacobian as it follows from the equations. Raises `ModelError`."""
    deriver = _Blocks(model)
    rows = tuple(deriver.row(e) for e in model.equations)
    return Jacobian(model, tuple(row for row in rows if row.block.elements or row.block.inner))


def time_slopes(model: Model) -> tuple[Equation, ...]:
    """The derivatives of the right-hand side with respect to `t`; equations where it is 0 are left out."""
    return _slopes(model, "t")


def parameter_slopes(model: Model, name: str) -> tuple[Equation, ...]:
    """The derivatives of the right-hand side with respect to a scalar parameter; zeros are left out.

    Raises `ModelError` if there is no such parameter.
    """
    if not any(q.name == name and q.size is None for q in model.params):
        raise ModelError(f"has no scalar parameter {name!r}", Where(model.name, "params"))
    return _slopes(model, name)


def _slopes(model: Model, name: str) -> tuple[Equation, ...]:
    rules = Rules(model)
    reading = [e for e in model.equations if Name(name) in walk_through(model, e.expr)]
    found = (Equation(e.target, e.index, e.loop, rules.whole(e.expr, Name(name))) for e in reading)
    slopes = tuple(e for e in found if e.expr != ZERO)
    _check_random(model, (e.expr for e in slopes))
    return slopes


class _Blocks:
    """Derives the blocks of one model."""

    def __init__(self, model: Model) -> None:
        self.model, self.rules = model, Rules(model)
        self.arrays = {q.name for q in model.states if q.size is not None}
        self.scalars = [q.name for q in model.states if q.size is None]
        self.of_aux: dict[str, dict[Node, None]] = {}

    def row(self, equation: Equation) -> Row:
        loop, turns = equation.loop, None
        if loop is not None:
            turns = Turns(loop.var, *(_number(v) for v in (loop.start, loop.stop, loop.step)))
        read = {part.id for part in walk_through(self.model, equation.expr) if isinstance(part, Name)}
        scalars = tuple(
            Element(name, None, slope)
            for name in self.scalars
            if name in read and (slope := self.rules.whole(equation.expr, Name(name))) != ZERO
        )
        block = self.block(equation.expr, turns, ONE, ONE)
        block = Block(turns, ONE, ONE, scalars + block.elements, block.inner)
        return Row(equation.target, equation.index, block)

    def block(self, node: Node, turns: Turns | None, weight: Node, others: Node) -> Block:
        """The elements of arrays in an expression, and the blocks of its sums."""
        elements, inner = [], []
        self.rules.left = share = self.rules.total
        accesses = self.accesses(node, 0)
        self.rules.total -= share - self.rules.left
        for access in accesses:
            slope = self.rules.whole(node, access)
            if slope == ZERO:
                continue
            if isinstance(access, Item):
                elements.append(Element(access.id, access.index, slope))
            elif isinstance(access, Reduce):
                own = Turns(access.var, access.start, access.stop, access.step, access.cond)
                rest = ONE if access.kind == "sum" else self.rules.others(access)
                block = self.block(access.body, own, slope, rest)
                if block.elements or block.inner:
                    inner.append(block)
        return Block(turns, weight, others, tuple(elements), tuple(inner))

    def accesses(self, node: Node, depth: int) -> dict[Node, None]:
        """Elements of array states that an expression reads, and its sums that do so."""
        self.rules.visit(depth)
        match node:
            case Item(id=name):
                return {node: None} if name in self.arrays else {}
            case Reduce():
                return {node: None} if self.reads_arrays(node) else {}
            case Name(id=name) if name in self.rules.aux:
                if name not in self.of_aux:
                    self.of_aux[name] = self.accesses(self.rules.aux[name].expr, depth + 1)
                return self.of_aux[name]
            case Call(fn=fn) if fn in self.rules.functions:
                return self.accesses(self.rules.entered(node), depth + 1)
        found: dict[Node, None] = {}
        for part in children(node):
            found |= self.accesses(part, depth + 1)
        return found

    def reads_arrays(self, node: Node) -> bool:
        return any(isinstance(part, Item) and part.id in self.arrays for part in walk_through(self.model, node))


def _number(value: int) -> Node:
    return Num(float(value)) if value >= 0 else Unary("-", Num(float(-value)))


def _whole(node: Node, at: Mapping[str, Indices]) -> Indices:
    """An index at given values of the loop indices."""
    match node:
        case Num(value=value):
            return np.asarray(int(value))
        case Name(id=name):
            return at[name]
        case Unary(operand=operand):
            return -_whole(operand, at)
        case Binary(op=op, left=left, right=right):
            found: Indices = _OPERATIONS[op](_whole(left, at), _whole(right, at))
            return found
    raise TypeError(f"not an index: {node!r}")


def _truth(node: Node, at: Mapping[str, Indices]) -> Mask | None:
    """A condition that compares indices, at given values; None for any other condition."""
    parts: list[Mask] = []
    match node:
        case Compare(ops=ops, operands=operands):
            values: list[Reals] = []
            for part in operands:
                value = _side(part, at)
                if value is None:
                    return None
                values.append(value)
            parts += (_OPERATIONS[op](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case Logic(op="and", operands=operands):  # what is not known may hold
            parts += (truth for operand in operands if (truth := _truth(operand, at)) is not None)
        case Unary(op="not", operand=Compare() as operand):
            found = _truth(operand, at)
            return None if found is None else ~found
    if not parts:
        return None
    every: Mask = reduce(np.logical_and, parts)
    return every


def _side(node: Node, at: Mapping[str, Indices]) -> Reals | None:
    """A side of a comparison, if it is made of loop indices and numbers that every dtype holds exactly."""
    value: Reals | None = None
    match node:
        case Call(fn="abs", args=(x,)):
            inner = _side(x, at)
            value = None if inner is None else np.abs(inner)
        case Num(value=number) if number == int(number):
            value = np.asarray(number)
        case Name(id=name) if name in at:
            value = at[name].astype(np.float64)
        case Unary(op="-", operand=operand):
            inner = _side(operand, at)
            value = None if inner is None else -inner
        case Binary(op="+" | "-" | "*" as op, left=left, right=right):
            a, b = _side(left, at), _side(right, at)
            value = None if a is None or b is None else _OPERATIONS[op](a, b)
    return value if value is not None and np.max(np.abs(value), initial=0.0) < EXACT else None


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "//": np.floor_divide, "%": np.remainder,
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip
