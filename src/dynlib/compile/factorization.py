"""Linear systems `(d·I − J) x = b` in plain loops: one order of operations, interpreted and compiled.

Matrices are full arrays of rows, or band arrays, whose row i holds columns i − lower … i + upper + lower from left to
right (the last `lower` are room for what exchanges of rows bring in). Factors replace nothing of `J`, so that it
serves for several `d`. Gaussian elimination with exchange of rows (Golub & Van Loan, Matrix Computations, 4th ed.,
algorithms 3.4.1 and 4.3.1). A pivot that is 0 or not finite ends the factorization with 1, for a singular matrix.

Sparse matrices are the elements that can differ from 0, by row and column; their factors are those of `elimination`,
row by row in its order, without exchange of rows (for `d·I − J` with the `d` of small steps none is needed).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def magnitude(jac: Any) -> Any:
    """The Frobenius norm of the elements, a bound for the largest eigenvalue of the matrix that they make."""
    total = jac.dtype.type(0)
    for x in jac.flat:
        total = total + x * x
    return np.sqrt(total)


def full_factor(jac: Any, diagonal: Any, lu: Any, pivot: Any) -> Any:
    """`lu` and `pivot` ← factors of `diagonal·I − jac`, pivots as reciprocals; 1 if that is singular, else 0."""
    n = len(pivot)
    one = lu.dtype.type(1)
    for i in range(n):
        for j in range(n):
            lu[i, j] = -jac[i, j]
        lu[i, i] = diagonal - jac[i, i]
    for k in range(n):
        at = k
        most = abs(lu[k, k])
        for i in range(k + 1, n):
            size = abs(lu[i, k])
            if size > most:
                most = size
                at = i
        if not most > 0 or most - most != 0:
            return 1
        pivot[k] = at
        if at != k:
            for j in range(n):
                x = lu[k, j]
                lu[k, j] = lu[at, j]
                lu[at, j] = x
        inverse = one / lu[k, k]
        lu[k, k] = inverse
        for i in range(k + 1, n):
            weight = lu[i, k] * inverse
            lu[i, k] = weight
            if weight != 0:
                for j in range(k + 1, n):
                    lu[i, j] = lu[i, j] - weight * lu[k, j]
    return 0


def full_solve(lu: Any, pivot: Any, x: Any) -> None:
    """`x` ← the solution for the right-hand side `x`."""
    n = len(pivot)
    for k in range(n):
        at = pivot[k]
        if at != k:
            part = x[k]
            x[k] = x[at]
            x[at] = part
    for i in range(1, n):
        part = x[i]
        for j in range(i):
            part = part - lu[i, j] * x[j]
        x[i] = part
    for i in range(n - 1, -1, -1):
        part = x[i]
        for j in range(i + 1, n):
            part = part - lu[i, j] * x[j]
        x[i] = part * lu[i, i]


def full_product(jac: Any, x: Any, out: Any) -> None:
    """`out` ← `jac·x`."""
    for i in range(len(x)):
        part = jac[i, 0] * x[0]
        for j in range(1, len(x)):
            part = part + jac[i, j] * x[j]
        out[i] = part


def band_factor(jac: Any, diagonal: Any, lower: Any, lu: Any, pivot: Any) -> Any:
    """The same for a band, whose width is that of `jac`; multipliers stay where they were made."""
    n, width = jac.shape
    one = lu.dtype.type(1)
    reach = width - 1 - lower  # the farthest column to the right of the diagonal
    for i in range(n):
        for j in range(width):
            lu[i, j] = -jac[i, j]
        lu[i, lower] = diagonal - jac[i, lower]
    for k in range(n):
        last = min(n - 1, k + lower)
        at = k
        most = abs(lu[k, lower])
        for i in range(k + 1, last + 1):
            size = abs(lu[i, k - i + lower])
            if size > most:
                most = size
                at = i
        if not most > 0 or most - most != 0:
            return 1
        pivot[k] = at
        length = min(n - 1, k + reach) - k + 1
        row = lu[k, lower : lower + length]
        if at != k:
            other = lu[at, lower + k - at : lower + k - at + length]
            for j in range(length):
                x = row[j]
                row[j] = other[j]
                other[j] = x
        inverse = one / row[0]
        row[0] = inverse
        for i in range(k + 1, last + 1):
            below = lu[i, lower + k - i : lower + k - i + length]
            weight = below[0] * inverse
            below[0] = weight
            if weight != 0:
                for j in range(1, length):
                    below[j] = below[j] - weight * row[j]
    return 0


def band_solve(lu: Any, lower: Any, pivot: Any, x: Any) -> None:
    """`x` ← the solution for the right-hand side `x`."""
    n, width = lu.shape
    reach = width - 1 - lower
    for k in range(n):
        at = pivot[k]
        part = x[at]
        x[at] = x[k]
        x[k] = part
        for i in range(k + 1, min(n, k + lower + 1)):
            x[i] = x[i] - lu[i, k - i + lower] * part
    for i in range(n - 1, -1, -1):
        part = x[i]
        for j in range(i + 1, min(n, i + reach + 1)):
            part = part - lu[i, j - i + lower] * x[j]
        x[i] = part * lu[i, lower]


def band_product(jac: Any, lower: Any, x: Any, out: Any) -> None:
    """`out` ← `jac·x`."""
    n, width = jac.shape
    for i in range(n):
        part = jac[i, lower] * x[i]
        for j in range(max(0, i - lower), min(n, i + width - 2 * lower)):
            if j != i:
                part = part + jac[i, j - i + lower] * x[j]
        out[i] = part


def sparse_factor(
    jac: Any, diagonal: Any, growth: Any, place: Any, start: Any, middle: Any, columns: Any, lu: Any, row: Any
) -> Any:
    """The same for a sparse matrix; also 1 where the digits of what is on the diagonal may be lost.

    `place` is where each element of `jac` lies in the factors; the others are the arrays of `Elimination`, and `row`
    is room for one row. What the elimination by one pivot takes from a later element of the diagonal may be `growth`
    times that pivot, at most: this measure is the same in all units of the states.
    """
    one = lu.dtype.type(1)
    for p in range(len(lu)):
        lu[p] = 0
    for e in range(len(place)):
        lu[place[e]] = -jac[e]
    for i in range(len(middle)):
        lu[middle[i]] = diagonal + lu[middle[i]]
    for i in range(len(middle)):
        at = middle[i]
        for p in range(start[i], start[i + 1]):
            row[columns[p]] = lu[p]
        for p in range(start[i], at):
            k = columns[p]
            inverse = lu[middle[k]]
            weight = row[k] * inverse
            lu[p] = weight
            if weight != 0:
                before = row[i]
                for q in range(middle[k] + 1, start[k + 1]):
                    j = columns[q]
                    row[j] = row[j] - weight * lu[q]
                if abs((before - row[i]) * inverse) > growth:
                    return 1
        if not abs(row[i]) > 0 or row[i] - row[i] != 0:
            return 1
        lu[at] = one / row[i]
        for p in range(at + 1, start[i + 1]):
            lu[p] = row[columns[p]]
    return 0


def sparse_solve(lu: Any, order: Any, start: Any, middle: Any, columns: Any, row: Any, x: Any) -> None:
    """`x` ← the solution for the right-hand side `x`."""
    n = len(middle)
    for i in range(n):
        part = x[order[i]]
        for p in range(start[i], middle[i]):
            part = part - lu[p] * row[columns[p]]
        row[i] = part
    for i in range(n - 1, -1, -1):
        part = row[i]
        for p in range(middle[i] + 1, start[i + 1]):
            part = part - lu[p] * row[columns[p]]
        row[i] = part * lu[middle[i]]
    for i in range(n):
        x[order[i]] = row[i]


def sparse_product(jac: Any, first: Any, cols: Any, x: Any, out: Any) -> None:
    """`out` ← `jac·x`; row i holds the elements from `first[i]` to `first[i + 1]`."""
    for i in range(len(out)):
        part = out.dtype.type(0)
        for e in range(first[i], first[i + 1]):
            part = part + jac[e] * x[cols[e]]
        out[i] = part
