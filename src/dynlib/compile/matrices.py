"""How a matrix lies in generated code, and the lines that factor it, solve with it and multiply by it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from dynlib.compile.elimination import Elimination, elimination
from dynlib.compile.forms import NO_TABLES, Form
from dynlib.errors import ModelError, Where
from dynlib.spec.jacobian import Indices, Jacobian, Sparsity

MAX_UNROLLED = 5
"""Most states whose linear systems are written out to scalars: up to here that is measured to be faster, by far."""
MAX_FULL = 4000
"""Most states of a full matrix: 128 MB each for the Jacobian and its factors."""
MAX_FILL = 10_000_000
"""Most elements of a factor of a sparse matrix: 320 MB for both, and where they are."""
DETOUR = 6.0
"""How many multiplications of full rows one costs that has to look up where it stands."""
MOST_DENSE = 0.25
"""Up to this part of its elements a matrix is tried as a sparse one."""
MAX_GROWTH, MAX_GROWTH_NARROW = 1e8, 1e3
"""In the factors of a sparse matrix, what elimination by a pivot may take from the diagonal, as multiples of it."""
NARROW = 8
"""Bands up to this width are not tried as sparse matrices."""


def matrix_of(form: Form, jacobian: Jacobian) -> Matrix:
    """The form of matrix with the least work for a Jacobian. Raises `ModelError` where none is small enough."""
    sparsity = jacobian.sparsity
    n = sparsity.n
    if form.scalar and n <= MAX_UNROLLED:
        return Unrolled(form, jacobian)
    banded = 2 * Band.width(sparsity) < n
    if banded and Band.width(sparsity) <= NARROW:
        return Band(form, jacobian)
    possible = n <= MAX_FULL or (banded and n * Band.width(sparsity) <= MAX_FULL**2)
    work = 2.0 * n * sparsity.lower * (sparsity.lower + sparsity.upper) if banded else 2.0 * n**3 / 3
    if len(sparsity.rows) < MOST_DENSE * n * n:
        limit = work / DETOUR if possible else np.inf
        found = elimination(n, sparsity.rows, sparsity.cols, limit, MAX_FILL)
        if found is not None:
            return Sparse(form, jacobian, found)
    if not possible:
        raise ModelError(
            f"a full Jacobian has at most {MAX_FULL} rows, not {n}, and the factors of a sparse one at most {MAX_FILL} "
            "elements; use an explicit method",
            Where(form.model.name),
        )
    return Band(form, jacobian) if banded else Full(form, jacobian)


class Matrix(ABC):
    """The Jacobian `J` and the factors of `d·I − J`: names, arrays and lines. All names begin with `lin_`."""

    def __init__(self, form: Form, jacobian: Jacobian) -> None:
        self.form, self.jacobian = form, jacobian

    @property
    def sparsity(self) -> Sparsity:
        """The elements that may differ from 0."""
        return self.jacobian.sparsity

    @property
    def tables(self) -> Indices:
        """Where elements lie, for the argument `tables` of the kernel."""
        return NO_TABLES

    @property
    def counted(self) -> bool:
        """Whether `spot` needs the number of the turn of a loop."""
        return False

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.sparsity.n

    @property
    def unrolled(self) -> bool:
        """Whether every element is a scalar; else they are in the array `lin_jac`, `jac` where it is filled."""
        return False

    @property
    @abstractmethod
    def functions(self) -> frozenset[str]:
        """The functions of `factorization` that the lines call."""

    @property
    @abstractmethod
    def unpack(self) -> list[str]:
        """Lines that make the arrays."""

    @abstractmethod
    def spot(self, row: str, col: str, visit: int, turn: str) -> str:
        """The index of an element in `jac`.

        `visit` counts the elements in the order of the code. Inside of loops, `turn` is the code for the number of
        turns before this one; else it is empty.
        """

    @abstractmethod
    def factor(self, diagonal: str) -> list[str]:
        """Lines that make the factors of `diagonal·I − J` and set `singular`."""

    @abstractmethod
    def solve(self, x: str) -> list[str]:
        """Lines that replace a vector by the solution for it."""

    @abstractmethod
    def product(self, out: str, x: str) -> list[str]:
        """Lines for `out` ← `J·x`."""

    def arrays(self, **shapes: tuple[int, ...]) -> list[str]:
        """Lines that make arrays of zeros; scalar forms need two for vectors, too."""
        kind = "np.float32" if self.form.model.narrow else "np.float64"
        if self.form.scalar:
            shapes |= {"x": (self.n,), "b": (self.n,)}
        return [f"lin_{name} = np.zeros({shape}, {kind})" for name, shape in shapes.items()]


class Full(Matrix):
    """All elements, row by row."""

    @property
    def functions(self) -> frozenset[str]:
        return frozenset({"full_factor", "full_solve", "full_product"})

    @property
    def unpack(self) -> list[str]:
        shape = self.n, self.n
        return [*self.arrays(jac=shape, lu=shape), f"lin_pivot = np.zeros({self.n}, np.int64)"]

    def spot(self, row: str, col: str, visit: int, turn: str) -> str:
        return f"{row}, {col}"

    def factor(self, diagonal: str) -> list[str]:
        return [f"singular = full_factor(lin_jac, {diagonal}, lin_lu, lin_pivot)"]

    def solve(self, x: str) -> list[str]:
        return [f"full_solve(lin_lu, lin_pivot, {x})"]

    def product(self, out: str, x: str) -> list[str]:
        return [f"full_product(lin_jac, {x}, {out})"]


class Band(Matrix):
    """The elements near the diagonal, row by row, with room for what exchanges of rows bring in."""

    @staticmethod
    def width(sparsity: Sparsity) -> int:
        """Elements of a row."""
        return 2 * sparsity.lower + sparsity.upper + 1

    @property
    def functions(self) -> frozenset[str]:
        return frozenset({"band_factor", "band_solve", "band_product"})

    @property
    def unpack(self) -> list[str]:
        shape = self.n, self.width(self.sparsity)
        return [*self.arrays(jac=shape, lu=shape), f"lin_pivot = np.zeros({self.n}, np.int64)"]

    def spot(self, row: str, col: str, visit: int, turn: str) -> str:
        if row.isdigit() and col.isdigit():
            return f"{row}, {int(col) - int(row) + self.sparsity.lower}"
        return f"{row}, {col} - ({row}) + {self.sparsity.lower}"

    def factor(self, diagonal: str) -> list[str]:
        return [f"singular = band_factor(lin_jac, {diagonal}, {self.sparsity.lower}, lin_lu, lin_pivot)"]

    def solve(self, x: str) -> list[str]:
        return [f"band_solve(lin_lu, {self.sparsity.lower}, lin_pivot, {x})"]

    def product(self, out: str, x: str) -> list[str]:
        return [f"band_product(lin_jac, {self.sparsity.lower}, {x}, {out})"]


class Elements(Matrix):
    """The elements that may differ from 0 alone, in the order of `sparsity`; nothing is factored."""

    @cached_property
    def _visits(self) -> list[Indices]:
        """For each element in the order of the code, where it lies at every turn; 0 where it is always skipped."""
        sparsity, found = self.sparsity, []
        for visit in self.jacobian.visits():
            spots = sparsity.where(visit.rows, visit.cols)
            found.append(spots if visit.live is None else np.where(visit.live, spots, 0))
        return found

    @cached_property
    def _starts(self) -> list[int]:
        return np.cumsum([0, *(len(spots) for spots in self._visits)]).tolist()  # type: ignore[no-any-return]

    @property
    def tables(self) -> Indices:
        return np.concatenate([NO_TABLES, *self._visits])

    @property
    def counted(self) -> bool:
        return True

    @property
    def functions(self) -> frozenset[str]:
        return frozenset()

    @property
    def unpack(self) -> list[str]:
        return self.arrays(jac=(len(self.sparsity.rows),))

    def spot(self, row: str, col: str, visit: int, turn: str) -> str:
        if not turn:
            return str(self._visits[visit][0])
        return f"tables[{len(NO_TABLES) + self._starts[visit]} + {turn}]"

    def factor(self, diagonal: str) -> list[str]:
        raise TypeError("these elements are not factored")

    def solve(self, x: str) -> list[str]:
        raise TypeError("these elements are not factored")

    def product(self, out: str, x: str) -> list[str]:
        raise TypeError("these elements are not multiplied")


class Sparse(Elements):
    """Elements with a fixed elimination; the kernel is given where everything lies."""

    def __init__(self, form: Form, jacobian: Jacobian, elimination: Elimination) -> None:
        super().__init__(form, jacobian)
        self.elimination = elimination

    @cached_property
    def _arrays(self) -> dict[str, Indices]:
        """The arrays that the functions use, by name."""
        plan, sparsity = self.elimination, self.sparsity
        return {
            "first": np.searchsorted(sparsity.rows, np.arange(self.n + 1)),
            "cols": sparsity.cols,
            "place": plan.places(sparsity.rows, sparsity.cols),
            "order": plan.order,
            "start": plan.start,
            "middle": plan.middle,
            "columns": plan.columns,
        }

    @property
    def tables(self) -> Indices:
        return np.concatenate([super().tables, *self._arrays.values()])

    @property
    def functions(self) -> frozenset[str]:
        return frozenset({"sparse_factor", "sparse_solve", "sparse_product"})

    @property
    def unpack(self) -> list[str]:
        at = len(NO_TABLES) + self._starts[-1]
        lines = []
        for name, array in self._arrays.items():
            lines.append(f"lin_{name} = tables[{at}:{at + len(array)}]")
            at += len(array)
        elements, factors = len(self.sparsity.rows), len(self.elimination.columns)
        return [*lines, *self.arrays(jac=(elements,), lu=(factors,), row=(self.n,))]

    def factor(self, diagonal: str) -> list[str]:
        growth = self.form.number(MAX_GROWTH_NARROW if self.form.model.narrow else MAX_GROWTH)
        given = f"lin_jac, {diagonal}, {growth}, lin_place, lin_start, lin_middle, lin_columns, lin_lu, lin_row"
        return [f"singular = sparse_factor({given})"]

    def solve(self, x: str) -> list[str]:
        return [f"sparse_solve(lin_lu, lin_order, lin_start, lin_middle, lin_columns, lin_row, {x})"]

    def product(self, out: str, x: str) -> list[str]:
        return [f"sparse_product(lin_jac, lin_first, lin_cols, {x}, {out})"]


class Unrolled(Matrix):
    """Every element a scalar; rows are exchanged by conditional assignments."""

    @property
    def unrolled(self) -> bool:
        return True

    @property
    def functions(self) -> frozenset[str]:
        return frozenset()

    @property
    def unpack(self) -> list[str]:
        return []

    def spot(self, row: str, col: str, visit: int, turn: str) -> str:
        return f"{row}_{col}"

    @property
    def pattern(self) -> list[tuple[int, int]]:
        """The elements that can differ from 0."""
        return list(zip(self.sparsity.rows.tolist(), self.sparsity.cols.tolist(), strict=True))

    def _plan(self) -> tuple[list[list[int]], set[tuple[int, int]]]:
        """For each column the rows that may be exchanged with the one on the diagonal, and all elements ever not 0."""
        n = range(self.n)
        rows = [{c for r, c in self.pattern if r == i} | {i} for i in n]
        exchanged = []
        for k in n:
            other = [i for i in n if i > k and k in rows[i]]
            exchanged.append(other)
            for i in other:
                rows[k], rows[i] = rows[k] | rows[i], rows[k] | rows[i]
            for i in other:
                rows[i] |= {c for c in rows[k] if c > k}
        return exchanged, {(i, c) for i in n for c in rows[i]}

    def factor(self, diagonal: str) -> list[str]:
        one, zero = self.form.number(1.0), self.form.number(0.0)
        exchanged, ever = self._plan()
        given = set(self.pattern)
        lines = ["singular = 0"]
        for i, c in sorted(ever):
            at = f"lin_j{i}_{c}" if (i, c) in given else ""
            value = f"{diagonal} - {at}" if i == c and at else diagonal if i == c else f"-{at}" if at else zero
            lines.append(f"lin_a{i}_{c} = {value}")
        for k, others in enumerate(exchanged):
            lines.append(f"lin_most = abs(lin_a{k}_{k})")
            if others:
                lines.append(f"lin_p{k} = {k}")
            for i in others:
                size = f"abs(lin_a{i}_{k})"
                lines += [f"if {size} > lin_most:", f"    lin_most = {size}", f"    lin_p{k} = {i}"]
            for i in others:
                columns = [c for c in range(self.n) if (k, c) in ever or (i, c) in ever]
                mine, theirs = ([f"lin_a{r}_{c}" for c in columns] for r in (k, i))
                lines += [
                    f"{'if' if i == others[0] else 'elif'} lin_p{k} == {i}:",
                    f"    {', '.join(mine + theirs)} = {', '.join(theirs + mine)}",
                ]
            lines += [
                "if not 0.0 < lin_most < inf:",
                "    singular = 1",
                f"    lin_a{k}_{k} = {one}",
                f"lin_r{k} = {one} / lin_a{k}_{k}",
            ]
            for i in others:
                lines.append(f"lin_a{i}_{k} = lin_a{i}_{k} * lin_r{k}")
                lines += [
                    f"lin_a{i}_{c} = lin_a{i}_{c} - lin_a{i}_{k} * lin_a{k}_{c}"
                    for c in range(k + 1, self.n)
                    if (k, c) in ever
                ]
        return lines

    def solve(self, x: str) -> list[str]:
        names = [self.form.component(x, q.name) for q in self.form.model.states]
        exchanged, ever = self._plan()
        lines = []
        for k, others in enumerate(exchanged):
            for i in others:
                lines += [
                    f"{'if' if i == others[0] else 'elif'} lin_p{k} == {i}:",
                    f"    {names[k]}, {names[i]} = {names[i]}, {names[k]}",
                ]
        for i, name in enumerate(names):
            terms = [f" - lin_a{i}_{c} * {names[c]}" for c in range(i) if (i, c) in ever]
            if terms:
                lines.append(f"{name} = {name}{''.join(terms)}")
        for i, name in reversed(list(enumerate(names))):
            terms = [f" - lin_a{i}_{c} * {names[c]}" for c in range(i + 1, self.n) if (i, c) in ever]
            lines.append(f"{name} = ({name}{''.join(terms)}) * lin_r{i}" if terms else f"{name} = {name} * lin_r{i}")
        return lines

    def product(self, out: str, x: str) -> list[str]:
        states = [q.name for q in self.form.model.states]
        lines = []
        for i, name in enumerate(states):
            terms = [f"lin_j{i}_{c} * {self.form.component(x, states[c])}" for r, c in self.pattern if r == i]
            lines.append(f"{self.form.component(out, name)} = {' + '.join(terms) or self.form.number(0.0)}")
        return lines
