"""The Jacobian and linear systems `(d·I − J) x = b` in generated code, for methods that need them.

Small systems are written out to scalars. Larger ones use arrays and the functions of `factorization`: full matrices, or
bands where the elements that can differ from 0 lie near the diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dynlib.compile.forms import Form
from dynlib.compile.matrices import Matrix, Unrolled, matrix_of
from dynlib.compile.writer import Needs, Writer, needs_of
from dynlib.spec.derivative import ONE, times
from dynlib.spec.expressions import Name, Node
from dynlib.spec.jacobian import Block, Jacobian, Turns, jacobian_blocks, time_slopes


class Linear:
    """The Jacobian `J = ∂f/∂y` of one kernel and the systems that methods solve with it.

    Times, numbers and vectors are given as they are spelled in code, vectors as in `Form.each` without braces. What
    `evaluate` and `factor` compute stays until they are used again, but not from one call of the kernel to the next.
    Raises `ModelError` for models whose Jacobian cannot be had.
    """

    def __init__(self, form: Form, used: set[str], kind: Callable[[Form, Jacobian], Matrix] = matrix_of) -> None:
        self.form, self.used = form, used
        self.jacobian = jacobian_blocks(form.model)
        self.needs = needs_of(form.model, self.jacobian.nodes())
        self._slopes = time_slopes(form.model)
        self.slope_needs = needs_of(form.model, [e.expr for e in self._slopes])
        self.matrix = kind(form, self.jacobian)
        self.autonomous = not self._slopes
        """Whether the right-hand side does not depend on time: `time_slope` gives zeros."""
        used |= self.matrix.functions

    @property
    def unpack(self) -> list[str]:
        """Lines before the loop: arrays that the others use, also from the tables that the form keeps then."""
        self.form.tables = self.matrix.tables
        return self.matrix.unpack

    def functions(self) -> list[str]:
        """The functions of the module that the lines call, as text."""
        lines = self._jacobian_function()
        if not self.autonomous:
            needs = self.slope_needs
            lags = needs.lag_names(self.form.names)
            lines += self.form.system("time_slope", "Slope in time.", self._slopes, lags, needs, self.used)
        return lines

    def evaluate(self, time: str, at: str) -> list[str]:
        """`J` ← its value at a time and state."""
        given = self._given(self.needs, time, at)
        if not isinstance(self.matrix, Unrolled):
            return [f"jacobian({', '.join([*given, 'lin_jac', *self._tables])})"]
        results = [f"lin_j{r}_{c}" for r, c in self.matrix.pattern]
        return [f"{_listed(results)} = jacobian({', '.join(given)})"] if results else []

    def factor(self, diagonal: str) -> list[str]:
        """Factors of `diagonal·I − J`; `singular` ← 1 if there are none, else 0."""
        value = f"F({diagonal})" if self.form.model.narrow else diagonal
        return [f"lin_d = {value}", *self.matrix.factor("lin_d")]

    def solve(self, vector: str) -> list[str]:
        """`vector` ← `(diagonal·I − J)⁻¹ vector`, in place."""
        form = self.form
        form.note(f"{{{vector}}}")
        if isinstance(self.matrix, Unrolled):
            return self.matrix.solve(vector)
        if not form.scalar:
            return self.matrix.solve(form.spelled(vector))
        return [
            *form.each(f"lin_x[#] = {{{vector}}}"), *self.matrix.solve("lin_x"), *form.each(f"{{{vector}}} = lin_x[#]")
        ]  # fmt: skip

    def product(self, out: str, vector: str) -> list[str]:
        """`out` ← `J·vector`; these are two vectors."""
        form = self.form
        form.note(f"{{{out}}}{{{vector}}}")
        if isinstance(self.matrix, Unrolled):
            return self.matrix.product(out, vector)
        if not form.scalar:
            return self.matrix.product(form.spelled(out), form.spelled(vector))
        return [
            *form.each(f"lin_x[#] = {{{vector}}}"),
            *self.matrix.product("lin_b", "lin_x"),
            *form.each(f"{{{out}}} = lin_b[#]"),
        ]

    def magnitude(self, name: str) -> list[str]:
        """`name` ← the Frobenius norm of `J`, a bound for its largest eigenvalue."""
        if not isinstance(self.matrix, Unrolled):
            self.used.add("magnitude")
            return [f"{name} = np.float64(magnitude(lin_jac))"]
        self.used.add("sqrt")
        squares = [f"lin_j{r}_{c} * lin_j{r}_{c}" for r, c in self.matrix.pattern]
        return [f"{name} = np.float64(sqrt({' + '.join(squares)}))" if squares else f"{name} = 0.0"]

    def time_slope(self, out: str, time: str, at: str) -> list[str]:
        """`out` ← `∂f/∂t` at a time and state."""
        form = self.form
        if self.autonomous:
            return form.each(f"{{{out}}} = {form.number(0.0)}")
        form.note(f"{{{out}}}")
        given = self._given(self.slope_needs, time, at)
        if not form.scalar:
            return [f"time_slope({', '.join([*given, form.spelled(out)])})"]
        return [f"{_listed([form.component(out, q.name) for q in form.model.states])} = time_slope({', '.join(given)})"]

    @property
    def _tables(self) -> list[str]:
        return ["tables"] if self.matrix.counted else []

    def _given(self, needs: Needs, time: str, at: str) -> list[str]:
        """What the functions are called with: time, state, parameters and lags."""
        form = self.form
        form.note(f"{{{at}}}")
        lags = needs.lag_names(form.names)
        if not form.scalar:
            return [time, form.spelled(at), "p", *lags]
        states = [form.component(at, q.name) for q in form.model.states]
        return [time, *states, *(form.names[name] for name in needs.params), *lags]

    def _jacobian_function(self) -> list[str]:
        """`jacobian(…)`: gives back the elements that can differ from 0, or fills the array it is given."""
        form, needs, matrix = self.form, self.needs, self.matrix
        body: list[str] = []
        writer = form.writer(body, "    ")
        writer.sums = {}
        head = ["t", *(form.names[q.name] for q in form.model.states), *(form.names[name] for name in needs.params)]
        if not form.scalar:
            head = ["t", "y", "p"]
            body += [f"    {line}" for line in form.views({*needs.states, *needs.params})]
        head += needs.lag_names(form.names)
        writer.hoist(self.jacobian.nodes())
        if isinstance(matrix, Unrolled):
            if not matrix.pattern:
                return []
            places = self.jacobian.places
            found = {
                (places[row.state], places[element.state]): writer.stored(element.value)
                for row in self.jacobian.rows
                for element in row.block.elements
            }
            body.append(f"    return {_listed([found[at] for at in matrix.pattern])}")
        else:
            head += ["jac", *self._tables]
            equals = "=" if self.jacobian.once else "+="
            if not self.jacobian.once:
                body.append("    jac[:] = 0.0")
            filling = _Filling(self.jacobian, matrix, writer, equals)
            if matrix.counted:
                loops = sum(block.turns is not None for block in self.jacobian.blocks())
                body += [f"    lin_t{k} = -1" for k in range(loops)]
            for row in self.jacobian.rows:
                filling.block(row.block, None, row.state, row.index)
        self.used |= writer.used
        return [f"def jacobian({', '.join(head)}):", '    """Derivatives of the right-hand side."""', *body, "", ""]


def _listed(names: list[str]) -> str:
    """A tuple without brackets."""
    return ", ".join(names) + ("," if len(names) == 1 else "")


class _Filling:
    """Writes the lines that add the elements of row blocks to the array `jac`."""

    def __init__(self, jacobian: Jacobian, matrix: Matrix, writer: Writer, equals: str) -> None:
        self.jacobian, self.matrix, self.writer, self.equals = jacobian, matrix, writer, equals
        self.row = ""
        self.visits = self.loops = 0  # elements and loops so far

    def block(self, block: Block, weight: Node | None, state: str = "", index: Node | None = None) -> None:
        """The lines of a block; `weight` is what all its elements are multiplied by."""
        writer = self.writer
        weight = self.named(weight, block.weight)
        with self.turns(block) as turn:
            if state:
                self.row = self.place(state, index)
            weight = self.named(weight, block.others)
            for element in block.elements:
                text = writer.value(element.value if weight is None else times(weight, element.value))
                spot = self.matrix.spot(self.row, self.place(element.state, element.index), self.visits, turn)
                self.visits += 1
                writer.emit(f"jac[{spot}] {self.equals} {text}")
            for inner in block.inner:
                self.block(inner, weight)

    def named(self, weight: Node | None, more: Node) -> Node | None:
        """The product of two weights under a name."""
        if more == ONE:
            return weight
        writer = self.writer
        text = writer.stored(more if weight is None else times(weight, more))
        name = writer.fresh("lin_w")
        writer.emit(f"{name} = {text}")
        key = f"·{name}"  # no name of a model
        writer.args = {**writer.args, key: name}
        return Name(key)

    @contextmanager
    def turns(self, block: Block) -> Iterator[str]:
        """The loop around a block; what is written meanwhile stands inside. Gives what counts its turns, if needed."""
        if block.turns is None:
            yield ""
            return
        counter = f"lin_t{self.loops}"
        self.loops += 1
        writer, turns = self.writer, block.turns
        with writer.loop(turns.var, self.bounds(turns)):
            if self.matrix.counted:
                writer.emit(f"{counter} += 1")
            if turns.cond is not None:
                writer.emit(f"if {writer.condition(turns.cond)}:")
                outside = writer.indent
                writer.indent += "    "
            yield counter
            if turns.cond is not None and self.matrix.counted and block.inner:
                writer.indent = outside
                writer.emit("else:")
                writer.indent += "    "
                self.skipped(block, int(counter.removeprefix("lin_t")) + 1)

    def skipped(self, block: Block, loops: int) -> int:
        """Count the turns of the loops inside a block without doing anything; gives the number of the next loop."""
        writer = self.writer
        for inner in block.inner:
            if inner.turns is not None:
                with writer.loop(inner.turns.var, self.bounds(inner.turns)):
                    writer.emit(f"lin_t{loops} += 1")
                    loops = self.skipped(inner, loops + 1)
        return loops

    def bounds(self, turns: Turns) -> str:
        """What the loop ranges over."""
        return ", ".join(_bare(self.writer.index(x)) for x in (turns.start, turns.stop, turns.step))

    def place(self, state: str, index: Node | None) -> str:
        """Where an element of the state is in the vector of all."""
        at = self.jacobian.places[state]
        if index is None:
            return str(at)
        text = self.writer.index(index)
        return f"{at} + {text}" if at else text


def _bare(text: str) -> str:
    return text[1:-1] if text.startswith("(") else text
