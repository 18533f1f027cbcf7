"""How much one step computes: sums in sums and functions in functions must come to an end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dynlib.errors import ModelError, Where
from dynlib.spec.expressions import Call, Name, Node, walk
from dynlib.spec.model import Equation, Model
from dynlib.spec.resolve import Interval, Resolver, Scope

MAX_WORK = 1e10
"""Operations of all expressions of a model, each evaluated once: more than a minute of compiled code."""
MAX_NEEDED = 1_000_000
"""Aux variables that all functions need, counted for each function."""


def limit_work(model: Model, where: Where) -> None:
    """Refuse a model whose steps would practically never end. Raises `ModelError`."""
    total = 0.0
    for work, at in _shares(model, where):
        total += work
        if total > MAX_WORK:
            raise ModelError(f"one step would take more than {MAX_WORK:g} operations", at)


def step_work(model: Model) -> float:
    """The most operations that all expressions of a model take, each evaluated once."""
    return sum(work for work, _ in _shares(model, Where()))


def work_of(node: Node, calls: Mapping[str, float], local: Mapping[str, Interval] | None = None) -> float:
    """The most operations of a resolved expression; `calls` are those of functions, `local` are loop indices."""
    return Resolver(Scope(), "", Where(), local=local or {}).work(node, calls)


def work_of_calls(model: Model, where: Where) -> dict[str, float]:
    """The most operations of a call of each function. A call computes the aux variables it needs anew.

    Raises `ModelError` where functions need aux variables so often that their code has no end.
    """
    aux, functions = model.aux_by_name, model.function_by_name
    calls: dict[str, float] = {}
    own: dict[str, float] = {}  # of an aux variable, without the others
    uses: dict[str, list[str]] = {}
    needed = 0

    def names(expr: Node, args: tuple[str, ...]) -> list[str]:
        found = {node.id: None for node in walk(expr) if isinstance(node, Name) and node.id not in args}
        return [name for name in found if name in aux]

    def call_all(expr: Node) -> None:
        for fn in {node.fn: None for node in walk(expr) if isinstance(node, Call) and node.fn in functions}:
            enter(fn)

    def enter(name: str) -> None:
        nonlocal needed
        if name in calls:
            return
        function = functions[name]
        call_all(function.expr)
        total = work_of(function.expr, calls)
        queue = names(function.expr, function.args)
        seen = set(queue)
        while queue:
            each = queue.pop()
            needed += 1
            if needed > MAX_NEEDED:
                raise ModelError("functions need aux variables too often", where.at(table=f"functions.{name}"))
            if each not in own:
                call_all(aux[each].expr)
                own[each] = work_of(aux[each].expr, calls)
                uses[each] = names(aux[each].expr, ())
            total += own[each]
            queue.extend(other for other in uses[each] if other not in seen)
            seen.update(uses[each])
        calls[name] = total

    for name in functions:
        enter(name)
    return calls


def _shares(model: Model, where: Where) -> Iterator[tuple[float, Where]]:
    calls = work_of_calls(model, where)
    for aux in model.aux:
        yield work_of(aux.expr, calls), where.at(table="aux", key=aux.name)
    for equation in model.equations:
        yield _equation(equation, calls), where.at(table="equations", key=equation.target)
    for column in model.noise:
        for equation in column:
            yield _equation(equation, calls), where.at(table="noise", key=equation.target)
    for event in model.events:
        at = where.at(table=f"events.{event.name}")
        for node in (event.cond, *(a.expr for a in event.actions), *(expr for _, expr in event.log)):
            yield work_of(node, calls), at
    if model.sim.stop is not None:
        yield work_of(model.sim.stop, calls), where.at(table="sim", key="stop")


def _equation(equation: Equation, calls: Mapping[str, float]) -> float:
    loop = equation.loop
    if loop is None:
        return work_of(equation.expr, calls)
    return len(loop.indices) * work_of(equation.expr, calls, {loop.var: (loop.start, loop.indices[-1])})
