"""Tangent equations: a model extended by vectors that follow the linearised flow, for every stepper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from dynlib.arguments import checked
from dynlib.errors import ConfigError, ModelError, Where
from dynlib.spec.derivative import ONE, TWO, ZERO, Direction, Rules, negative, over, plus, times
from dynlib.spec.document import model_from_document
from dynlib.spec.expressions import Call, Choice, Compare, Item, Name, Node, Num, Reduce, is_random, spell, walk
from dynlib.spec.model import Aux, Equation, Model, walk_through
from dynlib.spec.source import document_of

SMALLEST = 5e-324
"""A vector that has become 0 counts as this long."""
_NOTHING: Node = ZERO
HALF = Num(0.5)
Vector = Callable[[Equation], Node]
"""What stands in the place of an equation: the component of a vector there."""


@checked
def with_tangent(model: Model, vectors: int = 1) -> Model:
    """The model with tangent vectors beside its states: v' = J(x, t) v (ODEs) or v ← J(x) v (maps).

    Vector `j` = 1, 2, … has the states `tangent{j}_{state}`, of the same shapes; it begins as the j-th unit vector, so
    that with as many vectors as there are states they form the fundamental matrix. The equations are derived from
    those of the model (scalars, arrays with their loops and sums, aux variables, functions), or come from its stated
    Jacobian, and the result is a model like any other: every stepper, snapshot and exporter takes it.

    >>> import dynlib
    >>> pendulum = dynlib.ode_model("pendulum", states={"q": 0.0, "p": 0.0}, equations={"q": "p", "p": "-sin(q)"})
    >>> sim = dynlib.setup(dynlib.with_tangent(pendulum, 2), stepper="verner9", jit=False)
    >>> _ = sim.run(T=1.0, record=False)
    >>> round(sim.state_dict()["tangent1_q"], 9)  # cos(1)
    0.540302306

    Raises `ModelError` for lags, noise, random numbers in the derivative, and events that set what the equations
    read; `ConfigError` for a number of vectors that is not between 1 and the number of states.
    """
    extension = _Extension(model, _whole(model, vectors, "vectors"))
    for j in extension.numbers:
        start = [0.0] * model.n_states
        start[j - 1] = 1.0
        extension.add_vector(j, extension.slope(j), start)
    return extension.model(f"{model.name} with {vectors} tangent vector{'s' if vectors > 1 else ''}")


@checked
def with_lyapunov(model: Model, exponents: int = 1) -> Model:
    """The model with orthonormal tangent vectors and the logarithms of their growth.

    Beside `tangent{j}_{state}` (see `with_tangent`) there is a state `growth{j}` for each exponent: its increase over a
    stretch of time, divided by that time (or number of iterations), estimates the j-th largest Lyapunov exponent.

    ODEs: continuous Gram–Schmidt orthonormalisation with a restoring term (Christiansen & Rugh, Nonlinearity 10, 1063,
    1997), here with normalised projections, so that any positive strength restores; it is `|J v₁|/2|v₁|`, so that
    what is restored relaxes at the rate of the flow. Maps: Gram–Schmidt after every iteration (Benettin et al.,
    Meccanica 15, 9, 1980); a vector that becomes 0 counts as 5e-324 long. `lyapunov_exponents` makes the run as well.
    Raises as `with_tangent`.

    >>> import dynlib
    >>> sim = dynlib.setup(dynlib.with_lyapunov(dynlib.load_model("builtin://map/logistic")), jit=False)
    >>> _ = sim.run(N=1000, params={"r": 4.0}, ic={"x": 0.3})
    >>> abs(sim.state_dict()["growth1"] / 1000 - 0.6931) < 0.02
    True
    """
    extension = _Extension(model, _whole(model, exponents, "exponents"))
    (_flow if model.kind == "ode" else _iteration)(extension)
    return extension.model(f"{model.name} with {exponents} Lyapunov exponent{'s' if exponents > 1 else ''}")


def _whole(model: Model, number: int, what: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= model.n_states:
        raise ConfigError(f"{what} must be a whole number from 1 to {model.n_states}, the states, not {number!r}")
    return number


class _Extension:
    """What is added to the tables of a model."""

    def __init__(self, model: Model, vectors: int) -> None:
        where = Where(model.name)
        if model.noise:
            raise ModelError("the tangent vector of a stochastic system is not computed", where)
        if model.lag_depth:
            raise ModelError("a system with lags has no finite tangent vector", where)
        self.base, self.numbers, self.rules = model, range(1, vectors + 1), Rules(model)
        self.states: dict[str, Any] = {}
        self.equations: list[str] = []
        self.aux: dict[str, str] = {}
        self.read = {n.id for e in model.equations for n in walk_through(model, e.expr) if isinstance(n, Name | Item)}

    def vector(self, j: int) -> Vector:
        """The j-th tangent vector."""

        def component(e: Equation) -> Node:
            name = f"tangent{j}_{e.target}"
            return Name(name) if e.index is None else Item(name, e.index)

        return component

    def slope(self, j: int) -> Vector:
        """The Jacobian times the j-th vector."""
        model = self.base
        names = {q.name: f"tangent{j}_{q.name}" for q in model.states}
        for a in _in_order(model):
            moved = self.rules.whole(a.expr, Direction(names))
            names[a.name] = self.define(f"tangent{j}_{a.name}", moved) if moved != ZERO else ""
        along = Direction(names)
        stated = model.jacobian and all(q.size is None for q in model.states)
        places = [q.name for q in model.states]

        def component(e: Equation) -> Node:
            if stated:
                row = model.jacobian[places.index(e.target)]
                parts = (times(cell, Name(names[x])) for cell, x in zip(row, places, strict=True))
                slope: Node = reduce(plus, parts, _NOTHING)
            else:
                slope = self.rules.whole(e.expr, along)
            if any(is_random(part) for part in walk_through(model, slope)):
                raise ModelError(
                    "the Jacobian holds random numbers, which are not drawn a second time", Where(model.name)
                )
            return slope

        return self.named(f"slope{j}", component)

    def named(self, stem: str, vector: Vector) -> Vector:
        """The same vector, its scalar components as aux variables."""
        found: dict[int, Node] = {}
        for e in self.base.equations:
            value = vector(e)
            plain = e.index is not None or isinstance(value, Num | Name)
            found[id(e)] = value if plain else Name(self.define(f"{stem}_{e.target}", value))
        return lambda e: found[id(e)]

    def define(self, name: str, value: Node) -> str:
        """A further aux variable."""
        self.aux[name] = spell(value)
        return name

    def add_vector(self, j: int, rhs: Vector, start: Sequence[float]) -> None:
        """The states and equations of the j-th vector."""
        at = 0
        for q in self.base.states:
            values = list(start[at : at + q.count])
            at += q.count
            name = f"tangent{j}_{q.name}"
            self.states[name if q.size is None else f"{name}[{q.size}]"] = values[0] if q.size is None else values
        for e in self.base.equations:
            self.add_equation(f"tangent{j}_{e.target}", rhs(e), e)

    def add_equation(self, target: str, rhs: Node, like: Equation | None = None) -> None:
        """One equation more, in the loop of another one."""
        left = target if self.base.kind == "map" else f"d({target})"
        loop = ""
        if like is not None and like.index is not None:
            left += f"[{spell(like.index)}]"
        if like is not None and like.loop is not None:
            run = like.loop
            loop = f" for {run.var} in range({run.start}, {run.stop}, {run.step})"
        self.equations.append(f"{left} = {spell(rhs)}{loop}")

    def dot(self, a: Vector, b: Vector) -> Node:
        """The inner product of two vectors."""
        total = _NOTHING
        for e in self.base.equations:
            part = times(a(e), b(e))
            if e.loop is not None and part != ZERO:
                run = e.loop
                start, stop, step = map(_number, (run.start, run.stop, run.step))
                part = Reduce("sum", part, run.var, start, stop, step, None)
            total = plus(total, part)
        return total

    def model(self, name: str) -> Model:
        """The extended model. Raises `ModelError`."""
        model = self.base
        self.check_jumps()
        document = document_of(model)
        document["model"]["name"] = name
        for table, more in (("states", self.states), ("aux", self.aux)):
            taken = {q.name for q in (*model.states, *model.params)} | set(model.aux_by_name)
            for each in more:
                if each.partition("[")[0] in taken:
                    raise ModelError(f"{each!r} is the name of a tangent quantity; rename the model's own",
                                     Where(model.name, table))  # fmt: skip
            document[table] = {**document.get(table, {}), **more}
        document["equations"] = {"expr": "\n".join([document["equations"]["expr"], *self.equations])}
        return model_from_document(document, f"model {name!r}")

    def check_jumps(self) -> None:
        """Events may set what the right-hand side does not read."""
        used = self.read | {q.name for q in self.base.states}
        for event in self.base.events:
            for action in event.actions:
                if action.target in used:
                    raise ModelError(
                        f"event {event.name!r} sets {action.target!r}: the tangent vector does not follow such a jump",
                        Where(self.base.name),
                    )


def _in_order(model: Model) -> list[Aux]:
    """The aux variables, each after those that it reads."""
    found: dict[str, Aux] = {}

    def visit(aux: Aux) -> None:
        for part in walk(aux.expr):
            names = [part.id] if isinstance(part, Name) else []
            if isinstance(part, Call) and part.fn in model.function_by_name:
                body = walk_through(model, model.function_by_name[part.fn].expr)
                names = [inner.id for inner in body if isinstance(inner, Name)]
            for name in names:
                if name in model.aux_by_name and name not in found and name != aux.name:
                    visit(model.aux_by_name[name])
        found[aux.name] = aux

    for aux in model.aux:
        if aux.name not in found:
            visit(aux)
    return list(found.values())


def _number(value: int) -> Node:
    return Num(float(value)) if value >= 0 else negative(Num(float(-value)))


def _flow(extension: _Extension) -> None:
    """Continuous Gram–Schmidt orthonormalisation."""
    v = {j: extension.vector(j) for j in extension.numbers}
    w = {j: extension.slope(j) for j in extension.numbers}
    size = {j: Name(extension.define(f"size{j}", extension.dot(v[j], v[j]))) for j in extension.numbers}
    rate = {j: Name(extension.define(f"rate{j}", over(extension.dot(v[j], w[j]), size[j]))) for j in extension.numbers}
    strength = Name(
        extension.define("restoring", times(HALF, Call("sqrt", (over(extension.dot(w[1], w[1]), size[1]),))))
    )
    starts = _orthonormal(extension.base.n_states, len(extension.numbers))
    for j in extension.numbers:
        keep = plus(rate[j], times(strength, plus(size[j], negative(ONE))))
        pulls: list[tuple[Node, Vector]] = [(keep, v[j])]
        for i in range(1, j):
            angle = extension.dot(v[i], v[j])
            both = plus(extension.dot(v[i], w[j]), extension.dot(v[j], w[i]))
            back = times(plus(times(TWO, strength), negative(plus(rate[i], rate[j]))), angle)
            pulls.append((Name(extension.define(f"turn{i}_{j}", plus(both, back))), v[i]))
        extension.add_vector(j, _less(w[j], pulls), starts[j - 1])
        extension.states[f"growth{j}"] = 0.0
        extension.add_equation(f"growth{j}", rate[j])


def _iteration(extension: _Extension) -> None:
    """Gram–Schmidt orthonormalisation after each iteration."""
    v = {j: extension.vector(j) for j in extension.numbers}
    w: dict[int, Vector] = {}
    square: dict[int, Node] = {}
    starts = _orthonormal(extension.base.n_states, len(extension.numbers))
    for j in extension.numbers:
        u = extension.slope(j)
        parts: list[tuple[Node, Vector]] = []
        for i in range(1, j):
            part = Choice(Compare((">",), (square[i], ZERO)), over(extension.dot(w[i], u), square[i]), ZERO)
            parts.append((Name(extension.define(f"part{i}_{j}", part)), w[i]))
        w[j] = extension.named(f"apart{j}", _less(u, parts)) if parts else u
        square[j] = Name(extension.define(f"square{j}", extension.dot(w[j], w[j])))
        length = Name(extension.define(f"length{j}", Call("sqrt", (square[j],))))
        extension.add_vector(j, _normalised(w[j], length, v[j]), starts[j - 1])
        name = f"growth{j}"
        extension.states[name] = 0.0
        extension.add_equation(name, plus(Name(name), Call("log", (Call("max", (length, Num(SMALLEST))),))))


def _less(vector: Vector, parts: Sequence[tuple[Node, Vector]]) -> Vector:
    """A vector less multiples of others."""

    def component(e: Equation) -> Node:
        return reduce(lambda total, part: plus(total, negative(times(part[0], part[1](e)))), parts, vector(e))

    return component


def _normalised(vector: Vector, length: Node, otherwise: Vector) -> Vector:
    """A vector over its length; another one where that is 0."""
    alive = Compare((">",), (length, ZERO))
    return lambda e: Choice(alive, over(vector(e), length), otherwise(e))


def _orthonormal(n: int, count: int) -> list[list[float]]:
    """Orthonormal vectors in no special direction, the same on every machine."""
    found: list[list[float]] = []
    for j in range(count):
        vector = [1.0 if j == 0 else ((k + 1) * (j + 1) * 0.6180339887498949) % 1.0 - 0.5 for k in range(n)]
        for _ in range(2):
            for other in found:
                part = math.fsum(a * b for a, b in zip(vector, other, strict=True))
                vector = [a - part * b for a, b in zip(vector, other, strict=True)]
        length = math.sqrt(math.fsum(a * a for a in vector))
        found.append([a / length for a in vector])
    return found
