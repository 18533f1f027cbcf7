"""In which order the rows of a sparse matrix are eliminated, and which elements of its factors can differ from 0.

Rows are eliminated with the pivot on the diagonal, the row with the fewest neighbours first, in the graph of the matrix
and its transpose. What is eliminated is kept as an element, a set of rows that have become neighbours of each other
(George & Liu, SIAM Review 31, 1989); the number of neighbours is the bound of Amestoy, Davis and Duff (SIAM J. Matrix
Anal. Appl. 17, 1996).
"""

from __future__ import annotations

from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Elimination(Struct, frozen=True, eq=False, dict=True):
    """The order of elimination and the pattern of both factors, row by row in that order.

    Row i of the factors holds `columns[start[i]:start[i + 1]]`, ascending, with its diagonal element at `middle[i]`.
    `work` counts multiplications.
    """

    order: Indices
    start: Indices
    middle: Indices
    columns: Indices
    work: int

    @cached_property
    def ranks(self) -> Indices:
        """Where each row of the matrix stands in the order."""
        ranks = np.empty_like(self.order)
        ranks[self.order] = np.arange(len(self.order))
        return ranks

    @cached_property
    def _keys(self) -> Indices:
        n = len(self.order)
        return np.repeat(np.arange(n), np.diff(self.start)) * n + self.columns

    def places(self, rows: Indices, cols: Indices) -> Indices:
        """Where elements of the matrix lie among those of the factors."""
        return np.searchsorted(self._keys, self.ranks[rows] * len(self.order) + self.ranks[cols])


def elimination(n: int, rows: Indices, cols: Indices, most_work: float, most_fill: int) -> Elimination | None:
    """The elimination of a matrix of n rows with elements at `rows` and `cols`, and on the diagonal.

    None if it takes more multiplications, or if a factor has more elements, than allowed.
    """
    found = _minimum_degree(n, _neighbours(n, rows, cols), most_work, most_fill)
    if found is None:
        return None
    order, later, work = found
    ranks = np.empty(n, np.int64)
    ranks[order] = np.arange(n)
    counts = np.array([len(x) for x in later], np.int64)
    upper_rows = np.repeat(np.arange(n), counts)
    upper_cols = ranks[np.fromiter((v for x in later for v in x), np.int64, int(counts.sum()))]
    diagonal = np.arange(n) * (n + 1)
    keys = np.sort(np.concatenate([upper_rows * n + upper_cols, upper_cols * n + upper_rows, diagonal]))
    found_rows, columns = np.divmod(keys, n)
    start = np.searchsorted(found_rows, np.arange(n + 1))
    return Elimination(np.array(order, np.int64), start, np.searchsorted(keys, diagonal), columns, work)


def _neighbours(n: int, rows: Indices, cols: Indices) -> list[set[int]]:
    apart = rows != cols
    one, other = np.concatenate([rows[apart], cols[apart]]), np.concatenate([cols[apart], rows[apart]])
    by_row = np.argsort(one, kind="stable")
    ends = np.searchsorted(one[by_row], np.arange(n + 1)).tolist()
    others = other[by_row].tolist()
    return [set(others[a:b]) for a, b in pairwise(ends)]


def _minimum_degree(
    n: int, near: list[set[int]], most_work: float, most_fill: int
) -> tuple[list[int], list[set[int]], int] | None:
    """The order, for each row in it the neighbours that come later, and the work; `near` is used up."""
    members: dict[int, set[int]] = {}  # of the elements, named after the row that made them
    touched: list[set[int]] = [set() for _ in range(n)]  # the elements that a row belongs to
    degrees = [len(x) for x in near]
    heap = [(d, i) for i, d in enumerate(degrees)]
    heapify(heap)
    order: list[int] = []
    later: list[set[int]] = []
    work = fill = 0
    left = set(range(n))
    while left:
        degree, i = heappop(heap)
        if i not in left or degree != degrees[i]:
            continue
        left.remove(i)
        new = near[i].union(*(members[e] for e in touched[i]))
        new.discard(i)
        order.append(i)
        later.append(new)
        fill += len(new)
        work += len(new) * (len(new) + 1)
        if work > most_work or fill > most_fill:
            return None
        if len(new) == len(left):  # all that is left are neighbours of each other
            rest = sorted(left)
            sizes = range(len(rest))
            if work + sum(k * (k + 1) for k in sizes) > most_work or fill + sum(sizes) > most_fill:
                return None
            for k, row in enumerate(rest):
                order.append(row)
                later.append(set(rest[k + 1 :]))
            return order, later, work + sum(k * (k + 1) for k in sizes)
        gone = touched[i]
        for e in gone:
            del members[e]
        outside: dict[int, int] = {}  # of each element that the new one meets, the members outside it
        for v in new:
            touched[v] -= gone
            if near[v]:
                near[v] = near[v] - new
                near[v].discard(i)
            for e in touched[v]:
                outside[e] = outside.get(e, len(members[e])) - 1
        covered = {e for e, count in outside.items() if count == 0}
        for e in covered:
            del members[e]
        near[i] = touched[i] = set()
        kept: list[int] = []
        alone: list[int] = []  # those without other neighbours: their elimination adds nothing
        for v in sorted(new):
            if covered:
                touched[v] -= covered
            (kept if near[v] or touched[v] else alone).append(v)
        members[i] = remaining = set(kept)
        for k, v in enumerate(alone):
            order.append(v)
            later.append(remaining.union(alone[k + 1 :]))
            fill += len(later[-1])
            work += len(later[-1]) * (len(later[-1]) + 1)
        left.difference_update(alone)
        most = len(left) - 1
        for v in kept:
            d = len(near[v]) + len(kept) - 1 + sum([outside[e] for e in touched[v]])
            touched[v].add(i)
            degrees[v] = d = min(d, most)
            heappush(heap, (d, v))
    return order, later, work
