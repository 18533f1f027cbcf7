"""The largest Lyapunov exponent as an observer: a tangent vector that follows the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from dynlib.errors import ModelError, Where
from dynlib.spec.derivative import ZERO, jacobian_of, plus, substituted, times
from dynlib.spec.expressions import (
    MAX_NODES,
    MAX_TREE,
    Call,
    Item,
    Name,
    Node,
    Reduce,
    is_random,
    measure,
    rebuild,
    spell,
    walk,
)
from dynlib.spec.model import Model
from dynlib.spec.observer import BEFORE, Observer

MAX_STATES = MAX_TREE - 20  # the length of the vector is one sum
_OWN = re.compile(r"(?:tangent|w|mid|[a-d]|[pqr])\d+|h|t_mid|size|total|span|exponent")


def largest_lyapunov(model: Model, name: str = "lyapunov") -> Observer:
    """An estimate of the largest Lyapunov exponent: `exponent` per iteration (maps) or unit of time (ODEs).

    A tangent vector is carried along with the Jacobian at each step and brought back to length one, and the logarithms
    of its growth are summed (Benettin et al., Meccanica 15, 1980). For a map this is exact. For an ODE the vector is
    advanced by the classical Runge–Kutta method with the Jacobian at both ends of the step and at the middle of the
    cubic through them, so its error is of order four in the step size. The Jacobian is the model's own, or derived.
    Raises `ModelError` where there is none: array states, lags, noise, functions without a derivative, events that set
    a state, too many states.
    """
    if model.noise:
        raise ModelError("the tangent vector of a stochastic system is not computed", Where(model.name))
    if model.lag_depth:
        raise ModelError("a system with lags has no finite tangent vector", Where(model.name))
    if model.n_states > MAX_STATES:
        raise ModelError(
            f"a tangent vector has at most {MAX_STATES} components, not {model.n_states}", Where(model.name)
        )
    model = _plain(model)
    states = [q.name for q in model.states]
    jacobian = jacobian_of(model)
    rhs = {e.target: e.expr for e in model.equations}
    cells = [cell for row in jacobian for cell in row]
    _check_jumps(model, [*rhs.values(), *cells])
    if any(is_random(part) for cell in cells for part in walk(cell)):
        raise ModelError("the Jacobian holds random numbers, which are not drawn a second time", Where(model.name))
    n = range(len(states))
    o = _prefix(model)  # of all names of the observer

    def product(row: int, vector: str, at: Mapping[str, Node]) -> str:
        total: Node = ZERO
        for k, cell in enumerate(jacobian[row]):
            total = plus(total, times(substituted(cell, at), Name(f"{o}{vector}{k}")))
        return spell(total)

    before: dict[str, Node] = {x: Name(f"{BEFORE}{x}") for x in (*states, "t")}
    update: dict[str, str] = {}
    if model.kind == "map":
        update |= {f"{o}w{k}": product(k, "tangent", before) for k in n}
    else:
        middle: dict[str, Node] = {"t": Name(f"{o}t_mid")}
        middle.update((x, Name(f"{o}mid{k}")) for k, x in enumerate(states))
        update |= {f"{o}h": f"t - {BEFORE}t", f"{o}t_mid": f"{BEFORE}t + 0.5*{o}h"}
        for k, x in enumerate(states):
            bend = f"({spell(substituted(rhs[x], before))}) - ({spell(rhs[x])})"
            update[f"{o}mid{k}"] = f"0.5*({BEFORE}{x} + {x}) + 0.125*{o}h*({bend})"
        stages: list[tuple[str, str, Mapping[str, Node], str]] = [
            ("a", "tangent", before, ""),
            ("b", "p", middle, f"0.5*{o}h*{o}a"),
            ("c", "q", middle, f"0.5*{o}h*{o}b"),
            ("d", "r", {}, f"{o}h*{o}c"),
        ]
        for slope, vector, at, ahead in stages:
            if ahead:
                update |= {f"{o}{vector}{k}": f"{o}tangent{k} + {ahead}{k}" for k in n}
            update |= {f"{o}{slope}{k}": product(k, vector, at) for k in n}
        mean = "{o}a{k} + 2*{o}b{k} + 2*{o}c{k} + {o}d{k}"
        update |= {f"{o}w{k}": f"{o}tangent{k} + {o}h/6*({mean.format(o=o, k=k)})" for k in n}
    update[f"{o}size"] = f"sqrt({' + '.join(f'{o}w{k}*{o}w{k}' for k in n)})"
    update[f"{o}total"] = f"{o}total + log({o}size)"
    # a vector that has become 0 has grown by log(0), minus infinity; the next one starts anew
    update |= {f"{o}tangent{k}": f"{o}w{k}/{o}size if {o}size > 0 else {o}tangent{k}" for k in n}
    update[f"{o}span"] = f"{o}span + " + ("1" if model.kind == "map" else f"{o}h")
    memory = {f"{o}tangent{k}": len(states) ** -0.5 for k in n} | {f"{o}total": 0.0, f"{o}span": 0.0}
    return Observer(name, memory, update, {"exponent": f"{o}total/{o}span"})


def _check_jumps(model: Model, read: list[Node]) -> None:
    """Events may set what the right-hand side and the Jacobian do not read."""
    used = {part.id for expr in read for part in walk(expr) if isinstance(part, Name | Item)}
    used |= {q.name for q in model.states}
    for event in model.events:
        for action in event.actions:
            if action.target in used:
                raise ModelError(
                    f"event {event.name!r} sets {action.target!r}: the tangent vector does not follow such a jump",
                    Where(model.name),
                )


def _prefix(model: Model) -> str:
    """What keeps the observer's names apart from those of the model: mostly nothing."""
    names = [q.name for q in (*model.states, *model.params)]
    prefix = ""
    while any(_OWN.fullmatch(name, len(prefix)) for name in names if name.startswith(prefix)):
        prefix += "own_"
    return prefix


def _plain(model: Model) -> Model:
    """The model with the aux variables and functions written out in its equations and its Jacobian."""
    aux, functions = model.aux_by_name, model.function_by_name
    parts = 0
    large = "is too large when its aux variables and functions are written out"

    def plain(node: Node, given: Mapping[str, Node], depth: int) -> Node:
        nonlocal parts
        parts += 1
        if parts > MAX_NODES or depth > MAX_TREE:
            raise ModelError(large, Where(model.name))
        match node:
            case Name(id=name) if name in given:
                return given[name]
            case Name(id=name) if name in aux:
                return plain(aux[name].expr, {}, depth + 1)
            case Call(fn=fn, args=args) if fn in functions:
                values = [plain(a, given, depth + 1) for a in args]
                return plain(functions[fn].expr, dict(zip(functions[fn].args, values, strict=True)), depth + 1)
            case Reduce(var=var) if any(isinstance(n, Name) and n.id == var for g in given.values() for n in walk(g)):
                raise ModelError(
                    f"the loop index {var!r} is also that of a loop outside; rename one", Where(model.name)
                )
        return rebuild(node, lambda part: plain(part, given, depth + 1))

    def whole(node: Node) -> Node:
        found = plain(node, {}, 0)
        if any(size > most for size, most in zip(measure(found), (MAX_NODES, MAX_TREE), strict=True)):
            raise ModelError(large, Where(model.name))  # what is given to a function is shared by all its uses
        return found

    return replace(
        model,
        equations=tuple(replace(e, expr=whole(e.expr)) for e in model.equations),
        jacobian=tuple(tuple(map(whole, row)) for row in model.jacobian),
        aux=(),
        functions=(),
    )
