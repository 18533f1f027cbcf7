"""Vectors in generated code: one set of formulas, written out per state or as loops over arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import cached_property

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from dynlib.compile.layout import Layout
from dynlib.compile.writer import Needs, Writer, literal, needs_of
from dynlib.spec.expressions import Name, Node, is_random, walk
from dynlib.spec.model import Equation, Event, Function, Model, spans

SCALAR_LIMIT = 40
"""Most scalar states that are written out by name; above, and with array states, code uses arrays."""
WIENER_SITES = 2
"""Random numbers that a method for diagonal noise draws for each state in a step, at most."""
_VECTOR = re.compile(r"\{(\w+)\}")
NO_TABLES = np.zeros(1, np.int64)


def is_scalar(model: Model) -> bool:
    """Whether code is written out by name, not for arrays."""
    return model.n_states <= SCALAR_LIMIT and all(q.size is None for q in (*model.states, *model.params))


class Form(Struct, dict=True):
    """How the vectors of one kernel are spelled.

    A formula writes vectors in braces: `"{new} = {base} + h * {k1}"`. `scratch` collects vectors that live only
    inside a step; the others are kept in the state (`kept`: vector name → layout field).
    """

    model: Model
    names: dict[str, str]
    layout: Layout
    scalar: bool
    kept: dict[str, str]
    walls: bool = False  # there are times that a step must not cross
    tables: NDArray[np.int64] = field(default_factory=lambda: NO_TABLES)  # what the kernel is given to look up
    scratch: list[str] = field(default_factory=list)
    sites: list[int] = field(default_factory=list)  # the next call of a random function in an event
    function_needs: dict[str, Needs] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The numbers of events come after those of the equations, or of the increments of Wiener processes."""
        calls = [sum(is_random(part) for part in walk(e.expr)) for e in self.model.equations]
        shared = -(-self.model.noise_shared // self.model.n_states)
        self.sites = [max(WIENER_SITES if self.model.noise else 0, shared, *calls)]

    def writer(self, lines: list[str], indent: str, observing: bool = False) -> Writer:
        """A writer for expressions at this place."""
        return Writer(
            self.model, self.names, self.scalar, lines, indent, sites=self.sites, needs=self.function_needs,
            observing=observing,
        )  # fmt: skip

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each state begins in the vector of all."""
        return {q.name: span.start for q, span in spans(self.model.states)}

    @cached_property
    def rhs_needs(self) -> Needs:
        """What the right-hand side reads."""
        return needs_of(self.model, [e.expr for e in self.model.equations])

    def noise_needs(self, column: int) -> Needs:
        """What a column of the noise reads."""
        return needs_of(self.model, [e.expr for e in self.model.noise[column]])

    @cached_property
    def aux_needs(self) -> Needs:
        """What the aux variables read."""
        return needs_of(self.model, [a.expr for a in self.model.aux])

    def number(self, value: float) -> str:
        """A literal of the model's dtype."""
        return literal(self.model, value)

    def component(self, vector: str, name: str) -> str:
        """The name of a component of a vector, in scalar form."""
        return self.names[name] if vector == "base" else f"{vector}_{self.names[name]}"

    def note(self, formula: str) -> None:
        """Vectors of a formula that nothing keeps live inside a step."""
        for vector in _VECTOR.findall(formula):
            if vector not in self.kept and vector not in self.scratch:
                self.scratch.append(vector)

    def each(self, *formulas: str, only: frozenset[str] | None = None) -> list[str]:
        """The formulas for every component of the state, or `only` for those of some states."""
        for formula in formulas:
            self.note(formula)
        chosen = [(q, span) for q, span in spans(self.model.states) if only is None or q.name in only]
        if self.scalar:
            return [
                _VECTOR.sub(
                    lambda m, name=q.name: self.component(m[1], name),  # type: ignore[misc]
                    formula.replace("#", str(span.start)),
                )
                for q, span in chosen
                for formula in formulas
            ]
        body = [
            "    " + _VECTOR.sub(lambda m: f"{self.spelled(m[1])}[i_]", formula.replace("#", "i_"))
            for formula in formulas
        ]
        if only is None:
            return [f"for i_ in range({self.model.n_states}):", *body]
        return [line for _, span in chosen for line in (f"for i_ in range({span.start}, {span.stop}):", *body)]

    def put(self, vector: str, state: str, value: str) -> list[str]:
        """Set all components that belong to one state."""
        if self.scalar:
            return [f"{self.component(vector, state)} = {value}"]
        place = self.places[state]
        size = next(q.count for q in self.model.states if q.name == state)
        return [f"{vector}[{place}:{place + size}] = {value}"]

    def spelled(self, vector: str) -> str:
        """The name of a whole vector, in array form."""
        return "y" if vector == "base" else vector

    @property
    def draws(self) -> list[str]:
        """What the right-hand side of a random map needs for its random numbers."""
        return ["n", "seed", "stream"] if self.model.kind == "map" and self.model.random else []

    def rhs(self, out: str, time: str, at: str, column: int | None = None) -> str:
        """`out` = right-hand side, or a column of the noise, at a time and state."""
        if column is None:
            return self.evaluation("rhs", self.rhs_needs, out, time, at, self.draws)
        return self.evaluation(f"noise_{column}", self.noise_needs(column), out, time, at)

    def evaluation(self, name: str, needs: Needs, out: str, time: str, at: str, extra: Iterable[str] = ()) -> str:
        """`out` = what a function made by `system` gives at a time and state."""
        self.note(f"{{{out}}}{{{at}}}")
        lags = [*needs.lag_names(self.names), *extra]
        if not self.scalar:
            return f"{name}({', '.join([time, self.spelled(at), 'p', *lags, self.spelled(out)])})"
        states = [self.component(at, q.name) for q in self.model.states]
        params = [self.names[name] for name in needs.params]
        results = [self.component(out, q.name) for q in self.model.states]
        targets = f"{', '.join(results)}{',' if len(results) == 1 else ''}"
        return f"{targets} = {name}({', '.join([time, *states, *params, *lags])})"

    @property
    def end_time(self) -> str:
        """The time at which a slope at the end of a step is taken: before a barrier there, where there may be one."""
        return "t + dt" if self.walls else "t_new"

    def vectors(self, at: str) -> list[str]:
        """The arguments that stand for the state `at` and all parameters."""
        self.note(f"{{{at}}}")
        if not self.scalar:
            return [self.spelled(at), "p"]
        return [self.component(at, q.name) for q in self.model.states] + [self.names[q.name] for q in self.model.params]

    def sample(self, kind: str, time: str, at: str) -> list[str]:
        """Record the state `at`."""
        self.note(f"{{{at}}}")
        needs = self.aux_needs
        lags = needs.lag_names(self.names)
        if self.scalar:
            vectors = [self.component(at, q.name) for q in self.model.states]
            vectors += [self.names[name] for name in needs.params]
        else:
            vectors = [self.spelled(at), "p"]
        arrays = "select, rec_t, rec_n, rec_kind, rec_y"
        return [
            f"write_sample({', '.join(['rows', kind, time, 'n', *vectors, *lags, arrays])})",
            "rows += 1",
            f"last_t = {time}",
        ]

    def unpack(self) -> list[str]:
        """Load the vectors of the state."""
        lines = []
        for vector, field_name in self.kept.items():
            span = self.layout[field_name].span
            if self.scalar:
                quantities = self.model.params if vector == "params" else self.model.states
                for k, q in enumerate(quantities):
                    name = self.names[q.name] if vector == "params" else self.component(vector, q.name)
                    lines.append(f"{name} = reals[{span.start + k}]")
            else:
                name = {"base": "y", "params": "p"}.get(vector, vector)
                lines.append(f"{name} = reals[{span.start}:{span.stop}]")
        if not self.scalar:
            lines += self.views({q.name for q in (*self.model.states, *self.model.params)})
            kind = "np.float32" if self.model.narrow else "np.float64"
            lines += [f"{vector} = np.empty({self.model.n_states}, {kind})" for vector in self.scratch]
        return lines

    def views(self, wanted: set[str]) -> list[str]:
        """In array form, one view per array quantity."""
        lines = []
        for vector, group in (("y", self.model.states), ("p", self.model.params)):
            for q, span in spans(group):
                if q.size is not None and q.name in wanted:
                    lines.append(f"{self.names[q.name]} = {vector}[{span.start}:{span.stop}]")
        return lines

    def pack(self, written: set[str]) -> list[str]:
        """Store the vectors of the state; in array form they are already in place."""
        if not self.scalar:
            return []
        lines = []
        for vector, field_name in self.kept.items():
            start = self.layout[field_name].start
            if vector == "params":
                lines += [
                    f"reals[{start + k}] = {self.names[q.name]}"
                    for k, q in enumerate(self.model.params)
                    if q.name in written
                ]
            else:
                lines += [
                    f"reals[{start + k}] = {self.component(vector, q.name)}" for k, q in enumerate(self.model.states)
                ]
        return lines

    # -- module-level functions --------------------------------------------------------------------------------

    def functions(self, used: set[str]) -> list[str]:
        """The model's functions, right-hand side and the sample writer, as text."""
        lines = self.own_functions(used)
        what = "Next state." if self.model.kind == "map" else "Right-hand side."
        lines += self.system("rhs", what, self.model.equations, [*self.rhs_needs.lag_names(self.names), *self.draws],
                              self.rhs_needs, used)  # fmt: skip
        for k, column in enumerate(self.model.noise):
            needs = self.noise_needs(k)
            what = f"Noise, process {k}." if self.model.noise_shared else "Noise of each state."
            lines += self.system(f"noise_{k}", what, column, needs.lag_names(self.names), needs, used)
        return lines + self._write_sample(used)

    def own_functions(self, used: set[str]) -> list[str]:
        """The model's functions, as text."""
        lines: list[str] = []
        for function in self.model.functions:
            lines += self._function(function, used)
        return lines

    def log_needs(self, events: Iterable[Event]) -> Needs:
        """What the logs of some events read."""
        return needs_of(self.model, [expr for e in events for _, expr in e.log])

    def located(self, events: tuple[Event, ...], used: set[str]) -> list[str]:
        """The functions whose roots are sought, and the writer of logs inside a step."""
        given = [self.names[q.name] for q in (*self.model.states, *self.model.params)] if self.scalar else ["y", "p"]
        lines = [f"def located({', '.join(['event', 't', *given])}):", '    """What passes zero at an event."""']
        for k, event in enumerate(events):
            lines += self._case(
                k, [event.root[0]], lambda writer, root: [f"value = np.float64({writer.value(root)})"], used
            )
            # what is 0 has passed, but for x > c and x < c, which are not yet true there
            lines.append(f"        return {'value if value != 0.0 else -5e-324' if event.strict else 'value'}")
        lines += ["    return np.nan", "", ""]
        quiet = [(k, e) for k, e in enumerate(events) if e.log and not e.ends_step]
        if not quiet:
            return lines
        lags = self.log_needs(e for _, e in quiet).lag_names(self.names)
        head = ", ".join(["event", "row", "t", "n", *given, *lags, "log_t, log_n, log_id, log_y"])
        lines += [f"def log_located({head}):", '    """Log an event inside a step; returns the number of entries."""']
        order = {e.name: k for k, e in enumerate(self.model.events)}
        for k, event in quiet:
            column = iter(range(len(event.log)))
            lines += self._case(
                k,
                [expr for _, expr in event.log],
                lambda writer, expr: [f"log_y[row, {next(column)}] = {writer.value(expr)}"],  # noqa: B023
                used,
            )
            lines += [
                "        log_t[row] = t",
                "        log_n[row] = n",
                f"        log_id[row] = {order[event.name]}",
                "        return 1",
            ]
        return [*lines, "    return 0", "", ""]

    def _case(self, k: int, roots: list[Node], write: Callable[[Writer, Node], list[str]], used: set[str]) -> list[str]:
        lines = [f"    if event == {k}:"]
        if not self.scalar:
            needs = needs_of(self.model, roots)
            lines += [f"        {line}" for line in self.views({*needs.states, *needs.params})]
        writer = self.writer(lines, " " * 8)
        writer.hoist(roots)
        for root in roots:
            for line in write(writer, root):
                writer.emit(line)
        used |= writer.used
        return lines

    def _argument(self, arg: str) -> str:
        """The name of a function's argument, apart from a quantity of the same name that the function may reach."""
        name = self.names[arg]
        if arg in self.named:
            name = f"arg_{name}"
            while name in self.spoken:
                name += "_"
        return name

    @cached_property
    def named(self) -> set[str]:
        """The names of all quantities and aux variables."""
        return {*(q.name for q in (*self.model.states, *self.model.params)), *self.model.aux_by_name}

    @cached_property
    def spoken(self) -> set[str]:
        """All names of the code that come from the model."""
        return set(self.names.values())

    def _function(self, function: Function, used: set[str]) -> list[str]:
        body: list[str] = []
        writer = self.writer(body, "    ")
        writer.args = {arg: self._argument(arg) for arg in function.args}
        context = writer.context(function.name)
        writer.hoist([function.expr])
        text = writer.stored(function.expr)
        used |= writer.used
        needs = needs_of(self.model, [function.expr])
        views = [] if self.scalar else self.views({*needs.states, *needs.params})
        return [
            f"def fn_{function.name}({', '.join([*writer.args.values(), *context])}):",
            *(f"    {v}" for v in views),
            *body,
            f"    return {text}",
            "",
            "",
        ]

    def system(
        self, name: str, what: str, equations: tuple[Equation, ...], extra: list[str], needs: Needs, used: set[str]
    ) -> list[str]:
        """The text of a function that computes one number per state; states without an equation give 0."""
        model = self.model
        body: list[str] = []
        writer = self.writer(body, "    ")
        partial = name != "rhs"
        if self.scalar:
            states = [self.names[q.name] for q in model.states]
            params = [self.names[param] for param in needs.params]
            head = f"def {name}({', '.join(['t', *states, *params, *extra])}):"
            if partial:
                body += [f"    end_{state} = {self.number(0.0)}" for state in states]
        else:
            head = f"def {name}({', '.join(['t', 'y', 'p', *extra, 'end'])}):"
            body += [f"    {line}" for line in self.views(set(needs.states + needs.params))]
            if partial:
                body.append(f"    end[:] = {self.number(0.0)}")
        writer.hoist(e.expr for e in equations)
        for equation in equations:
            self._equation(equation, writer)
        if self.scalar:
            body.append(f"    return ({''.join(f'end_{s}, ' for s in states)})" if len(states) == 1 else
                        f"    return {', '.join(f'end_{s}' for s in states)}")  # fmt: skip
        used |= writer.used
        return [head, f'    """{what}"""', *body, "", ""]

    def _equation(self, equation: Equation, writer: Writer) -> None:
        writer.sites = [0]  # counted in each equation, whatever their order
        if self.scalar:
            writer.slot = str(self.places[equation.target])
            text = writer.stored(equation.expr)
            writer.emit(f"end_{self.names[equation.target]} = {text}")
            return
        at = self.places[equation.target]
        offset = f"{at} + " if at else ""
        loop = equation.loop
        with nullcontext() if loop is None else writer.loop(loop.var, f"{loop.start}, {loop.stop}, {loop.step}"):
            slot = str(at) if equation.index is None else f"{offset}{writer.index(equation.index)}"
            writer.slot = slot
            text = writer.value(equation.expr)
            writer.emit(f"end[{slot}] = {text}")

    def _write_sample(self, used: set[str]) -> list[str]:
        model = self.model
        needs = self.aux_needs
        lags = needs.lag_names(self.names)
        vectors = ["y", "p"]
        if self.scalar:
            vectors = [self.names[q.name] for q in model.states] + [self.names[name] for name in needs.params]
        head = ", ".join(["row", "kind", "t", "n", *vectors, *lags, "select, rec_t, rec_n, rec_kind, rec_y"])
        lines = [
            f"def write_sample({head}):",
            '    """Record one sample: selected states, then selected aux variables."""',
            "    rec_t[row] = t",
            "    rec_n[row] = n",
            "    rec_kind[row] = kind",
        ]
        if self.scalar:
            for k, q in enumerate(model.states):
                lines += [f"    if select[{k}] >= 0:", f"        rec_y[row, select[{k}]] = {self.names[q.name]}"]
        else:
            lines += [
                f"    for i_ in range({model.n_states}):",
                "        if select[i_] >= 0:",
                "            rec_y[row, select[i_]] = y[i_]",
            ]
            lines += [f"    {line}" for line in self.views(set(needs.states + needs.params))]
        if model.aux:
            spots = range(model.n_states, model.n_states + len(model.aux))
            lines.append(f"    if {' or '.join(f'select[{k}] >= 0' for k in spots)}:")
            writer = self.writer(lines, " " * 8)
            writer.hoist(Name(aux.name) for aux in model.aux)
            for k, aux in zip(spots, model.aux, strict=True):
                writer.emit(f"if select[{k}] >= 0:")
                writer.emit(f"    rec_y[row, select[{k}]] = {self.names[aux.name]}")
            used |= writer.used
        return [*lines, "", ""]
