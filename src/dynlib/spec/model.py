"""The frozen `Model`: everything a simulation needs to know about a system, and its structure hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import ClassVar

from msgspec import Struct

from dynlib.arguments import unchanging
from dynlib.compared import Compared
from dynlib.markup import Markup, block, markup, math, panel, table
from dynlib.spec.expressions import Binary, Call, Compare, Lag, Name, Node, Num, canonical, is_random, walk
from dynlib.spec.latex import equations_latex, event_latex, name_latex

KINDS = {"ode": "ordinary differential equations", "map": "a map", "sde": "stochastic differential equations"}


class Quantity(Struct, frozen=True):
    """A state or parameter: scalar (`size is None`) or array, with its default values."""

    name: str
    size: int | None
    values: tuple[float, ...]

    @property
    def count(self) -> int:
        """Number of scalar components."""
        return 1 if self.size is None else self.size

    @property
    def element_names(self) -> tuple[str, ...]:
        """`x` for a scalar, `x[0]`, `x[1]`, … for an array."""
        if self.size is None:
            return (self.name,)
        return tuple(f"{self.name}[{i}]" for i in range(self.size))


def spans(quantities: Iterable[Quantity]) -> Iterator[tuple[Quantity, slice]]:
    """Each quantity with the stretch it takes in the flat vector of all of them."""
    at = 0
    for q in quantities:
        yield q, slice(at, at + q.count)
        at += q.count


class Loop(Struct, frozen=True):
    """`for var in range(start, stop, step)` with fixed bounds."""

    var: str
    start: int
    stop: int
    step: int

    @property
    def indices(self) -> range:
        """The values the index takes."""
        return range(self.start, self.stop, self.step)


class Equation(Struct, frozen=True):
    """The right-hand side of one state, of one element, or of a range of elements."""

    target: str
    index: Node | None
    loop: Loop | None
    expr: Node


class Aux(Struct, frozen=True):
    """A named quantity computed from the state, for recording and for use in other expressions."""

    name: str
    expr: Node


class Function(Struct, frozen=True):
    """A function of the model."""

    name: str
    args: tuple[str, ...]
    expr: Node


class Action(Struct, frozen=True):
    """One assignment of an event; assignments run in their order."""

    target: str
    index: Node | None
    expr: Node


class Event(Struct, frozen=True):
    """A condition tested at the start (`pre`) or end (`post`) of each step, with actions and a log.

    A `located` event happens inside steps, where its condition, one comparison, becomes true. A `terminal` event ends
    the run.
    """

    name: str
    phases: tuple[str, ...]
    cond: Node
    actions: tuple[Action, ...]
    log: tuple[tuple[str, Node], ...]
    tags: tuple[str, ...]
    located: bool = False
    terminal: bool = False

    @property
    def ends_step(self) -> bool:
        """Whether the step in which the event happens ends there."""
        return self.located and (bool(self.actions) or self.terminal)

    @property
    def strict(self) -> bool:
        """Of a located event: whether it is not yet due where its root is exactly 0."""
        return isinstance(self.cond, Compare) and self.cond.ops[0] in ("<", ">")

    @property
    def root(self) -> tuple[Node, bool]:
        """Of a located event: the expression that passes from below 0 to 0 or above, and whether also back."""
        if not isinstance(self.cond, Compare):
            raise TypeError(f"event {self.name} is not located")
        left, right = self.cond.operands
        if self.cond.ops[0].startswith("<"):
            left, right = right, left
        both = self.cond.ops == ("==",)
        return (left if right == Num(0.0) else Binary("-", left, right)), both


class Preset(Struct, frozen=True):
    """Named values for some parameters and states."""

    name: str
    params: tuple[tuple[str, tuple[float, ...]], ...]
    states: tuple[tuple[str, tuple[float, ...]], ...]


class SimDefaults(Struct, frozen=True):
    """The `[sim]` table: what a run uses when it is not told otherwise. No part of the structure hash."""

    t0: float = 0.0
    t_end: float | None = None
    dt: float | None = None
    stepper: str | None = None
    record: bool = True
    max_steps: int | None = None
    stop: Node | None = None
    options: tuple[tuple[str, float], ...] = ()
    tolerances: tuple[tuple[str, str, float], ...] = ()
    """`rtol` or `atol`, a state, and its tolerance."""
    tstops: tuple[float, ...] = ()
    """Times that a step must not cross."""


@unchanging("a value of the model is set in a session: sim.assign({name}={value})")
class Model(Compared, frozen=True, eq=False, dict=True):
    """A dynamical system, checked and immutable.

    Built by `load_model` from TOML or by `ode_model` / `map_model` from Python; both give equal objects for
    equal systems. `structure_hash` identifies what is computed, not the numbers it starts from.

    >>> import dynlib
    >>> model = dynlib.load_model("builtin://ode/lorenz")
    >>> model.name, model.n_states, model.n_params
    ('lorenz', 3, 3)
    >>> model.quantity("rho").values
    (28.0,)
    """

    apart: ClassVar[frozenset[str]] = frozenset({"source"})

    kind: str
    name: str
    dtype: str
    states: tuple[Quantity, ...]
    params: tuple[Quantity, ...]
    constants: tuple[tuple[str, float], ...]
    equations: tuple[Equation, ...]
    inverse: tuple[Equation, ...] = ()
    jacobian: tuple[tuple[Node, ...], ...] = ()
    noise: tuple[tuple[Equation, ...], ...] = ()
    aux: tuple[Aux, ...] = ()
    functions: tuple[Function, ...] = ()
    events: tuple[Event, ...] = ()
    presets: tuple[Preset, ...] = ()
    sim: SimDefaults = SimDefaults()
    meta: tuple[tuple[str, str], ...] = ()
    noise_shared: int = 0
    source: str = ""

    @cached_property
    def n_states(self) -> int:
        """Number of scalar components of the state."""
        return sum(q.count for q in self.states)

    @cached_property
    def n_params(self) -> int:
        """Number of scalar components of the parameters."""
        return sum(q.count for q in self.params)

    @cached_property
    def log_depth(self) -> int:
        """The most values that one entry of the event log holds."""
        return max((len(e.log) for e in self.events), default=0)

    @cached_property
    def narrow(self) -> bool:
        """Whether the model computes in float32."""
        return self.dtype == "float32"

    def quantity(self, name: str) -> Quantity | None:
        """The state or parameter of that name."""
        return next((q for q in (*self.states, *self.params) if q.name == name), None)

    def roots(self) -> Iterator[Node]:
        """Every expression of the model that a kernel may compute."""
        for equation in self.equations:
            yield equation.expr
        for column in self.noise:
            for equation in column:
                yield equation.expr
        for aux in self.aux:
            yield aux.expr
        for function in self.functions:
            yield function.expr
        for event in self.events:
            yield event.cond
            for action in event.actions:
                yield action.expr
            for _, expr in event.log:
                yield expr
        if self.sim.stop is not None:
            yield self.sim.stop

    @cached_property
    def aux_by_name(self) -> dict[str, Aux]:
        """The aux variables by name."""
        return {a.name: a for a in self.aux}

    @cached_property
    def function_by_name(self) -> dict[str, Function]:
        """The functions by name."""
        return {f.name: f for f in self.functions}

    @cached_property
    def scalar_places(self) -> dict[str, tuple[str, int]]:
        """Each scalar state and parameter: the vector that holds it, "y" or "p", and where."""
        return {
            q.name: (vector, span.start)
            for vector, group in (("y", self.states), ("p", self.params))
            for q, span in spans(group)
            if q.size is None
        }

    @cached_property
    def lag_depth(self) -> dict[str, int]:
        """For each state read by `lag_x(k)` or a crossing macro, the greatest k; in order of the states."""
        depth: dict[str, int] = {}
        for root in self.roots():
            for node in walk(root):
                if isinstance(node, Lag):
                    depth[node.state] = max(depth.get(node.state, 0), node.steps)
        return {q.name: depth[q.name] for q in self.states if q.name in depth}

    @cached_property
    def rhs_uses_lags(self) -> bool:
        """Whether the right-hand side reads past states (directly, through aux or through functions)."""
        return any(isinstance(node, Lag) for node in walk_through(self, *(e.expr for e in self.equations)))

    @cached_property
    def located(self) -> tuple[Event, ...]:
        """The events that happen inside steps, in their order."""
        return tuple(e for e in self.events if e.located)

    @cached_property
    def random(self) -> bool:
        """Whether the model draws random numbers."""
        return bool(self.noise) or any(is_random(node) for root in self.roots() for node in walk(root))

    @property
    def noise_kind(self) -> str:
        """ "none", "diagonal" (each state has a Wiener process of its own) or "general" (all share some)."""
        if not self.noise:
            return "none"
        return "diagonal" if self.noise_shared == 0 else "general"

    @cached_property
    def structure(self) -> dict[str, object]:
        """What the structure hash covers, as plain data in canonical spelling."""

        def quantities(items: tuple[Quantity, ...]) -> list[list[object]]:
            return [[q.name, q.size] for q in items]

        def equations(items: tuple[Equation, ...]) -> list[str]:
            return sorted(_equation_text(e) for e in items)

        noise = {"noise": [self.noise_shared, *map(equations, self.noise)]} if self.noise else {}
        return noise | {
            "kind": self.kind,
            "states": quantities(self.states),
            "params": quantities(self.params),
            "equations": equations(self.equations),
            "inverse": equations(self.inverse),
            "jacobian": [[canonical(cell) for cell in row] for row in self.jacobian],
            "aux": sorted(f"{a.name} = {canonical(a.expr)}" for a in self.aux),
            "functions": sorted(f"{f.name}({', '.join(f.args)}) = {canonical(f.expr)}" for f in self.functions),
            "events": [
                {
                    "name": e.name,
                    "phases": list(e.phases),
                    "cond": canonical(e.cond),
                    "actions": [_action_text(a) for a in e.actions],
                    "log": [[label, canonical(expr)] for label, expr in e.log],
                    "tags": sorted(e.tags),
                    **({"located": True} if e.located else {}),
                    **({"terminal": True} if e.terminal else {}),
                }
                for e in self.events
            ],
        }

    @cached_property
    def structure_hash(self) -> str:
        """Hex digest (SHA-256) of the structure: equal for equal systems, whatever their formatting or values."""
        text = json.dumps(self.structure, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __repr__(self) -> str:
        states = ", ".join(q.name if q.size is None else f"{q.name}[{q.size}]" for q in self.states)
        return f"<Model {self.name!r}: {self.kind} of {states}; structure {self.structure_hash[:12]}>"

    def _repr_latex_(self) -> str:
        return f"$${equations_latex(self)}$$"

    def _repr_html_(self) -> str:
        def values(items: tuple[Quantity, ...]) -> str:
            return table(
                (math(name_latex(q.name)), f"{q.values[0]:g}" if q.size is None else _of_array(q)) for q in items
            )

        parts = [block(equations_latex(self))]
        about = dict(self.meta)
        parts += [f"<p>{markup(about[key])}</p>" for key in ("title", "description") if key in about]
        if self.events:
            happenings = ((e.name, math(event_latex(e)), ", ".join(e.phases)) for e in self.events)
            parts.append(table(happenings, ("event", "what happens", "when")))
        parts += [table([("states", Markup(values(self.states))), ("parameters", Markup(values(self.params)))])]
        if self.presets:
            parts.append(table([("presets", ", ".join(p.name for p in self.presets))]))
        return panel(f"{self.name}: {KINDS[self.kind]}", *parts)


def _of_array(q: Quantity) -> str:
    shown = ", ".join(f"{v:g}" for v in q.values[:3])
    return f"{q.size} elements: {shown}{', …' if q.count > 3 else ''}"


def walk_through(model: Model, *nodes: Node) -> Iterator[Node]:
    """Like `walk`, but also entering, once each, the aux variables and functions that the expressions use."""
    aux = {name: a.expr for name, a in model.aux_by_name.items()}
    functions = {name: f.expr for name, f in model.function_by_name.items()}
    seen: set[str] = set()
    queue = list(nodes)
    while queue:
        for part in walk(queue.pop()):
            yield part
            match part:
                case Name(id=name) if name in aux and name not in seen:
                    seen.add(name)
                    queue.append(aux[name])
                case Call(fn=fn) if fn in functions and fn not in seen:
                    seen.add(fn)
                    queue.append(functions[fn])


def _equation_text(equation: Equation) -> str:
    target = equation.target if equation.index is None else f"{equation.target}[{canonical(equation.index)}]"
    loop = equation.loop
    tail = "" if loop is None else f" for {loop.var} in range({loop.start}, {loop.stop}, {loop.step})"
    return f"{target} = {canonical(equation.expr)}{tail}"


def _action_text(action: Action) -> str:
    target = action.target if action.index is None else f"{action.target}[{canonical(action.index)}]"
    return f"{target} = {canonical(action.expr)}"
