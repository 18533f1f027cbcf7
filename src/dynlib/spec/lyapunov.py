"""The largest Lyapunov exponent as an observer: a tangent vector that follows the run."""

from __future__ import annotations

from collections.abc import Mapping

from dynlib.errors import ModelError, Where
from dynlib.spec.derivative import ZERO, jacobian_of, plus, substituted, times
from dynlib.spec.expressions import Name, Node, spell, walk
from dynlib.spec.model import Model
from dynlib.spec.observer import BEFORE, Observer


def largest_lyapunov(model: Model, name: str = "lyapunov") -> Observer:
    """An estimate of the largest Lyapunov exponent: `exponent` per iteration (maps) or unit of time (ODEs).

    A tangent vector is carried along with the Jacobian at each step and brought back to length one, and the logarithms
    of its growth are summed (Benettin et al., Meccanica 15, 1980). For a map this is exact. For an ODE the vector is
    advanced by the classical Runge–Kutta method with the Jacobian at both ends of the step and at the middle of the
    cubic through them, so its error is of order four in the step size. The Jacobian is the model's own, or derived.
    Raises `ModelError` where there is none: array states, lags, noise, functions without a derivative.
    """
    if model.noise:
        raise ModelError("the tangent vector of a stochastic system is not computed", Where(model.name))
    if model.lag_depth:
        raise ModelError("a system with lags has no finite tangent vector", Where(model.name))
    states = [q.name for q in model.states]
    jacobian = [[_plain(cell, model) for cell in row] for row in jacobian_of(model)]
    n = range(len(states))

    def product(row: int, vector: str, at: Mapping[str, Node]) -> str:
        total: Node = ZERO
        for k, cell in enumerate(jacobian[row]):
            total = plus(total, times(substituted(cell, at), Name(f"{vector}{k}")))
        return spell(total)

    before: dict[str, Node] = {x: Name(f"{BEFORE}{x}") for x in (*states, "t")}
    update: dict[str, str] = {}
    if model.kind == "map":
        update |= {f"w{k}": product(k, "tangent", before) for k in n}
    else:
        rhs = {e.target: _plain(e.expr, model) for e in model.equations}
        middle: dict[str, Node] = {"t": Name("t_mid")}
        middle.update((x, Name(f"mid{k}")) for k, x in enumerate(states))
        update |= {"h": f"t - {BEFORE}t", "t_mid": f"{BEFORE}t + 0.5*h"}
        update |= {
            f"mid{k}": f"0.5*({BEFORE}{x} + {x}) + 0.125*h*(({spell(substituted(rhs[x], before))}) - ({spell(rhs[x])}))"
            for k, x in enumerate(states)
        }
        stages: list[tuple[str, str, Mapping[str, Node], str]] = [
            ("a", "tangent", before, ""),
            ("b", "p", middle, "0.5*h*a"),
            ("c", "q", middle, "0.5*h*b"),
            ("d", "r", {}, "h*c"),
        ]
        for slope, vector, at, ahead in stages:
            if ahead:
                update |= {f"{vector}{k}": f"tangent{k} + {ahead}{k}" for k in n}
            update |= {f"{slope}{k}": product(k, vector, at) for k in n}
        update |= {f"w{k}": f"tangent{k} + h/6*(a{k} + 2*b{k} + 2*c{k} + d{k})" for k in n}
    update["size"] = f"sqrt({' + '.join(f'w{k}*w{k}' for k in n)})"
    update["total"] = "total + log(size)"
    update |= {f"tangent{k}": f"w{k}/size" for k in n}
    update["span"] = "span + 1" if model.kind == "map" else "span + h"
    memory = {f"tangent{k}": len(states) ** -0.5 for k in n} | {"total": 0.0, "span": 0.0}
    return Observer(name, memory, update, {"exponent": "total/span"})


def _plain(node: Node, model: Model) -> Node:
    """The expression without aux variables."""
    aux = {a.name: a.expr for a in model.aux}
    while any(isinstance(part, Name) and part.id in aux for part in walk(node)):
        node = substituted(node, aux)
    return node
