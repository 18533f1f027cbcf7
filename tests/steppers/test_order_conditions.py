"""Every table satisfies the order conditions of the orders it states, and not those of the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import combinations_with_replacement
from math import factorial, prod

import numpy as np
import pytest

from dynlib.steppers.dormand_prince_8 import DOP853
from dynlib.steppers.explicit_rk import BS32, DORMAND_PRINCE, EULER, MIDPOINT, RK4, TSIT5, Tableau

TOLERANCE = 2e-15
"""Of sums whose terms are of size 1; times `scale` it is near 1e-13 for the methods of high order."""
THETAS = np.array([0.1, 0.25, 0.5, 0.7, 0.95, 1.0])

Tree = tuple["Tree", ...]
"""A rooted tree is the sorted tuple of the trees that hang on its root."""
Vector = np.ndarray
Matrix = np.ndarray


@cache
def trees(size: int) -> tuple[Tree, ...]:
    """All rooted trees of that many vertices."""

    def forests(left: int, largest: int) -> list[Tree]:
        if left == 0:
            return [()]
        found = []
        for root in range(min(left, largest), 0, -1):
            for copies in range(left // root, 0, -1):
                for rest in forests(left - copies * root, root - 1):
                    found += [chosen + rest for chosen in combinations_with_replacement(trees(root), copies)]
        return found

    return tuple(forests(size - 1, size - 1))


@cache
def vertices(tree: Tree) -> int:
    return 1 + sum(vertices(t) for t in tree)


@cache
def density(tree: Tree) -> int:
    return vertices(tree) * prod(density(t) for t in tree)


def test_there_are_as_many_trees_as_known() -> None:
    # HNW I, II.2, table 2.1
    assert [len(trees(q)) for q in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]
    assert len(set(trees(9))) == 286
    assert density(((((),),),)) == factorial(4)


def elementary_weights(a: Matrix, stem: Matrix | None = None) -> Callable[[Tree], Vector]:
    """Tree → Φ_i of every stage i. `stem` replaces `a` on the edge to an only child (Rosenbrock, HW II, IV.7)."""
    only = a if stem is None else stem

    @cache
    def phi(tree: Tree) -> Vector:
        edge = only if len(tree) == 1 else a
        found = np.ones(len(a), dtype=np.longdouble)
        for child in tree:
            found = found * (edge @ phi(child))
        return found

    return phi


def misses(phi: Callable[[Tree], Vector], weights: Vector, order: int, theta: float = 1.0) -> float:
    """Largest error of the conditions Σ_i b_i Φ_i(t) = θ^ρ(t) / γ(t) over the trees of that order."""
    target = np.longdouble(theta) ** order
    return max(abs(float(weights @ phi(t) - target / density(t))) for t in trees(order))


def assert_order(phi: Callable[[Tree], Vector], weights: Vector, order: int, scale: float, theta: float = 1.0) -> None:
    for q in range(1, order + 1):
        assert misses(phi, weights, q, theta) < TOLERANCE * scale, f"order {q} at {theta}"


# ---- explicit methods

EXPLICIT = {
    "euler": EULER,
    "midpoint": MIDPOINT,
    "rk4": RK4,
    "bs32": BS32,
    "dormand_prince": DORMAND_PRINCE,
    "tsit5": TSIT5,
    "dop853": DOP853,
}
PAIRS = [name for name, tableau in EXPLICIT.items() if tableau.error]
CONTINUOUS = [name for name, tableau in EXPLICIT.items() if tableau.dense_order]


def padded(row: tuple[float, ...], size: int) -> Vector:
    found = np.zeros(size, dtype=np.longdouble)
    found[: len(row)] = row
    return found


class Stages:
    """The stages of an explicit method in the numbering of `Tableau`, with the end of the step and those in `more`."""

    def __init__(self, tableau: Tableau) -> None:
        rows = [*tableau.a]
        nodes = [*tableau.c]
        if not tableau.first_same_as_last:
            rows.append(tableau.b)
            nodes.append(1.0)
        self.end = len(rows) - 1
        for node, row in tableau.more:
            rows.append(row)
            nodes.append(node)
        self.size = len(rows)
        self.rows = rows
        self.a = np.array([padded(row, self.size) for row in rows])
        self.c = np.array(nodes, dtype=np.longdouble)
        self.b = padded(tableau.b, self.size)
        self.phi = elementary_weights(self.a)
        self.scale = float(max(1.0, abs(self.b).sum(), abs(self.a).sum(axis=1).max()))
        self.tableau = tableau

    def continuous(self, theta: float) -> Vector:
        """Weights b_i(θ) of the nested form."""
        first, end = np.eye(self.size, dtype=np.longdouble)[[0, self.end]]
        parts = [self.b, first - self.b, 2.0 * self.b - first - end]
        parts += [padded(row, self.size) for row in self.tableau.dense]
        found = np.zeros(self.size, dtype=np.longdouble)
        at = np.longdouble(theta)
        for j in range(len(parts) - 1, -1, -1):
            found = (found + parts[j]) * (at if j % 2 == 0 else 1.0 - at)
        return found


def explicit_methods(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stages", [Stages(EXPLICIT[name]) for name in names], ids=names)


@explicit_methods(list(EXPLICIT))
def test_explicit_method_has_its_order_and_no_more(stages: Stages) -> None:
    order = stages.tableau.order
    assert_order(stages.phi, stages.b, order, stages.scale)
    assert misses(stages.phi, stages.b, order + 1) > 1e-7


@explicit_methods(list(EXPLICIT))
def test_nodes_are_row_sums(stages: Stages) -> None:
    assert abs(stages.a.sum(axis=1) - stages.c).max() < TOLERANCE * stages.scale
    assert all(len(row) <= i for i, row in enumerate(stages.rows)), "explicit"
    assert len(stages.tableau.c) == len(stages.tableau.a) == stages.tableau.stages


@explicit_methods(PAIRS)
def test_embedded_formula_has_its_order_and_no_more(stages: Stages) -> None:
    tableau = stages.tableau
    assert len(tableau.error) == tableau.stages
    embedded = stages.b - padded(tableau.error, stages.size)
    assert_order(stages.phi, embedded, tableau.error_order, stages.scale)
    assert misses(stages.phi, embedded, tableau.error_order + 1) > 1e-6


def test_second_embedded_formula_of_dop853_has_order_3_and_no_more() -> None:
    stages = Stages(DOP853)
    embedded = stages.b - padded(DOP853.second_error, stages.size)
    assert_order(stages.phi, embedded, 3, stages.scale)
    assert misses(stages.phi, embedded, 4) > 1e-6


@explicit_methods([name for name in PAIRS if EXPLICIT[name].first_same_as_last])
def test_last_stage_is_the_first_of_the_next_step(stages: Stages) -> None:
    tableau = stages.tableau
    assert (*tableau.a[-1], 0.0) == tableau.b
    assert tableau.c[-1] == 1.0


@explicit_methods(CONTINUOUS)
def test_continuous_extension_has_its_order_and_no_more(stages: Stages) -> None:
    order = stages.tableau.dense_order
    for theta in THETAS:
        assert_order(stages.phi, stages.continuous(theta), order, stages.scale, theta)
    assert misses(stages.phi, stages.continuous(0.5), order + 1, 0.5) > 1e-7


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_changed_coefficient_of_an_explicit_method_is_found(name: str) -> None:
    """The conditions see a change of 1e-6 in any coefficient that is not zero."""
    tableau = EXPLICIT[name]

    def fails(changed: Tableau) -> bool:
        stages = Stages(changed)
        rows = [(changed.order, stages.b, 1.0)]
        rows.append((changed.error_order, stages.b - padded(changed.error, stages.size), 1.0))
        if changed.second_error:
            rows.append((3, stages.b - padded(changed.second_error, stages.size), 1.0))
        rows.append((changed.dense_order, stages.continuous(0.3), 0.3))
        return abs(stages.a.sum(axis=1) - stages.c).max() > TOLERANCE * stages.scale or any(
            misses(stages.phi, weights, q, theta) > TOLERANCE * stages.scale
            for order, weights, theta in rows
            for q in range(1, order + 1)
        )

    def shifted(row: tuple[float, ...]) -> list[tuple[float, ...]]:
        return [(*row[:i], value + 1e-6, *row[i + 1 :]) for i, value in enumerate(row) if value != 0.0]

    def nested(rows: tuple[tuple[float, ...], ...]) -> list[tuple[tuple[float, ...], ...]]:
        return [(*rows[:i], changed, *rows[i + 1 :]) for i, row in enumerate(rows) for changed in shifted(row)]

    assert not fails(tableau)
    changes = [replace(tableau, a=a) for a in nested(tableau.a)]
    changes += [replace(tableau, c=c) for c in shifted(tableau.c)]
    changes += [replace(tableau, b=b) for b in shifted(tableau.b)]
    changes += [replace(tableau, error=error) for error in shifted(tableau.error)]
    changes += [replace(tableau, second_error=error) for error in shifted(tableau.second_error)]
    changes += [replace(tableau, dense=dense) for dense in nested(tableau.dense)]
    nodes, rows = tuple(node for node, _ in tableau.more), tuple(row for _, row in tableau.more)
    changes += [replace(tableau, more=tuple(zip(nodes, changed))) for changed in nested(rows)]
    changes += [replace(tableau, more=tuple(zip(changed, rows))) for changed in shifted(nodes)]
    assert len(changes) >= 15
    for changed in changes:
        assert fails(changed)
