"""How a matrix lies in generated code, and the lines that factor it, solve with it and multiply by it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynlib.compile.forms import Form
from dynlib.errors import ModelError, Where
from dynlib.spec.jacobian import Sparsity

MAX_UNROLLED = 5
"""Most states whose linear systems are written out to scalars: up to here that is measured to be faster, by far."""
MAX_FULL = 4000
"""Most states of a full matrix: 128 MB each for the Jacobian and its factors."""


def matrix_of(form: Form, sparsity: Sparsity) -> Matrix:
    """The form of matrix for a pattern of elements. Raises `ModelError` where none is small enough."""
    n = sparsity.n
    if form.scalar and n <= MAX_UNROLLED:
        return Unrolled(form, sparsity)
    if 2 * Band.width(sparsity) < n:
        return Band(form, sparsity)
    if n > MAX_FULL:
        raise ModelError(
            f"a full Jacobian has at most {MAX_FULL} rows, not {n}; use an explicit method", Where(form.model.name)
        )
    return Full(form, sparsity)


@dataclass
class Matrix(ABC):
    """The Jacobian `J` and the factors of `d·I − J`: names, arrays and lines. All names begin with `lin_`."""

    form: Form
    sparsity: Sparsity

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

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of the array `lin_jac`."""

    @abstractmethod
    def elements(self, jac: NDArray[np.floating]) -> NDArray[np.floating]:
        """Of such an array, the elements that may differ from 0, in the order of `sparsity`."""

    @abstractmethod
    def spot(self, row: str, col: str) -> str:
        """The index of an element in `jac`."""

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
    def shape(self) -> tuple[int, ...]:
        return self.n, self.n

    def elements(self, jac: NDArray[np.floating]) -> NDArray[np.floating]:
        return jac[self.sparsity.rows, self.sparsity.cols]

    @property
    def unpack(self) -> list[str]:
        return [*self.arrays(jac=self.shape, lu=self.shape), f"lin_pivot = np.zeros({self.n}, np.int64)"]

    def spot(self, row: str, col: str) -> str:
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
    def shape(self) -> tuple[int, ...]:
        return self.n, self.width(self.sparsity)

    def elements(self, jac: NDArray[np.floating]) -> NDArray[np.floating]:
        sparsity = self.sparsity
        found: NDArray[np.floating] = jac[sparsity.rows, sparsity.cols - sparsity.rows + sparsity.lower]
        return found

    @property
    def unpack(self) -> list[str]:
        return [*self.arrays(jac=self.shape, lu=self.shape), f"lin_pivot = np.zeros({self.n}, np.int64)"]

    def spot(self, row: str, col: str) -> str:
        if row.isdigit() and col.isdigit():
            return f"{row}, {int(col) - int(row) + self.sparsity.lower}"
        return f"{row}, {col} - ({row}) + {self.sparsity.lower}"

    def factor(self, diagonal: str) -> list[str]:
        return [f"singular = band_factor(lin_jac, {diagonal}, {self.sparsity.lower}, lin_lu, lin_pivot)"]

    def solve(self, x: str) -> list[str]:
        return [f"band_solve(lin_lu, {self.sparsity.lower}, lin_pivot, {x})"]

    def product(self, out: str, x: str) -> list[str]:
        return [f"band_product(lin_jac, {self.sparsity.lower}, {x}, {out})"]


class Unrolled(Matrix):
    """Every element a scalar; rows are exchanged by conditional assignments."""

    @property
    def unrolled(self) -> bool:
        return True

    @property
    def functions(self) -> frozenset[str]:
        return frozenset()

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.pattern),)

    def elements(self, jac: NDArray[np.floating]) -> NDArray[np.floating]:
        return jac

    @property
    def unpack(self) -> list[str]:
        return []

    def spot(self, row: str, col: str) -> str:
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
