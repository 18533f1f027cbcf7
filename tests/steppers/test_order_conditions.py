"""Every table satisfies the order conditions of the orders it states, and not those of the next one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations_with_replacement, pairwise
from math import factorial, prod
from types import ModuleType
from typing import TypeVar

import numpy as np
import pytest
from msgspec.structs import replace

from dynlib.steppers import composition, dirk, dormand_prince_8, explicit_rk, rosenbrock, verner
from dynlib.steppers.composition import KAHAN_LI8, Composition
from dynlib.steppers.dirk import ESDIRK54, SDIRK2, Diagonal
from dynlib.steppers.dormand_prince_8 import DOP853
from dynlib.steppers.explicit_rk import Tableau
from dynlib.steppers.radau import RADAU5
from dynlib.steppers.rosenbrock import RODAS5P, Rosenbrock

TOLERANCE = 2e-15
"""Of sums whose terms are of size 1; times `scale` it is near 1e-13 for the methods of high order."""
THETAS = np.array([0.1, 0.25, 0.5, 0.7, 0.95, 1.0])

Tree = tuple["Tree", ...]
"""A rooted tree is the sorted tuple of the trees that hang on its root."""
Vector = np.ndarray
Matrix = np.ndarray
Table = TypeVar("Table")


def tables(kind: type[Table], *modules: ModuleType) -> dict[str, Table]:
    """Every table of that kind in the modules, by its name."""
    return {n.lower(): v for module in modules for n, v in vars(module).items() if isinstance(v, kind)}


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


def padded(row: tuple[float, ...], size: int) -> Vector:
    found = np.zeros(size, dtype=np.longdouble)
    found[: len(row)] = row
    return found


def assert_l_stable(a: Matrix) -> None:
    """R(z) = ((I − z A)⁻¹ 1)_s of a stiffly accurate method, whose poles 1 / a_ii are not on the left, is at most 1 on
    the imaginary axis and 0 at infinity."""
    a = a.astype(float)
    assert (np.diag(a) >= 0.0).all()
    assert np.triu(a, 1).max() == 0.0

    def growth(z: complex) -> float:
        return abs(np.linalg.solve(np.eye(len(a)) - z * a, np.ones(len(a)))[-1])

    assert max(growth(1j * y) for y in np.geomspace(1e-3, 1e5, 400)) < 1.0 + 1e-13
    assert growth(-1e12) < 1e-10


# ---- explicit methods

EXPLICIT = tables(Tableau, explicit_rk, dormand_prince_8, verner)
PAIRS = [name for name, tableau in EXPLICIT.items() if tableau.error]
CONTINUOUS = [name for name, tableau in EXPLICIT.items() if tableau.dense_order]


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

    def balanced(rows: tuple[tuple[float, ...], ...]) -> list[tuple[tuple[float, ...], ...]]:
        """Two neighbours in a row changed so that its sum stays: only the order conditions can see that."""
        found = []
        for i, row in enumerate(rows):
            places = [k for k, value in enumerate(row) if value != 0.0]
            for j, k in pairwise(places):
                changed = list(row)
                changed[j], changed[k] = row[j] + 1e-6, row[k] - 1e-6
                found.append((*rows[:i], tuple(changed), *rows[i + 1 :]))
        return found

    assert not fails(tableau)
    changes = [replace(tableau, a=a) for a in nested(tableau.a) + balanced(tableau.a)]
    changes += [replace(tableau, c=c) for c in shifted(tableau.c)]
    changes += [replace(tableau, b=b) for b in shifted(tableau.b)]
    changes += [replace(tableau, error=error) for error in shifted(tableau.error)]
    changes += [replace(tableau, second_error=error) for error in shifted(tableau.second_error)]
    changes += [replace(tableau, dense=dense) for dense in nested(tableau.dense)]
    nodes, rows = tuple(node for node, _ in tableau.more), tuple(row for _, row in tableau.more)
    changes += [replace(tableau, more=tuple(zip(nodes, changed))) for changed in nested(rows) + balanced(rows)]
    changes += [replace(tableau, more=tuple(zip(changed, rows))) for changed in shifted(nodes)]
    assert len(changes) >= 15
    for changed in changes:
        assert fails(changed)


# ---- diagonally implicit methods

DIAGONAL = tables(Diagonal, dirk)
diagonal_methods = pytest.mark.parametrize("method", DIAGONAL.values(), ids=list(DIAGONAL))


def matrix(method: Diagonal) -> Matrix:
    return np.array([padded(row, method.stages) for row in method.a])


def scale_of(method: Diagonal) -> float:
    return float(max(1.0, abs(matrix(method)).sum(axis=1).max()))


def diagonal_continuous(method: Diagonal, theta: float) -> Vector:
    at = np.longdouble(theta)
    return np.array([sum(value * at ** (j + 1) for j, value in enumerate(row)) for row in method.dense])


@diagonal_methods
def test_diagonal_method_has_its_orders_and_no_more(method: Diagonal) -> None:
    a, b = matrix(method), padded(method.b, method.stages)
    phi = elementary_weights(a)
    embedded = b - padded(method.error, method.stages)
    assert_order(phi, b, method.order, scale_of(method))
    assert misses(phi, b, method.order + 1) > 1e-4
    assert_order(phi, embedded, method.error_order, scale_of(method))
    assert misses(phi, embedded, method.error_order + 1) > 1e-4


@diagonal_methods
def test_diagonal_method_is_l_stable_stiffly_accurate_with_one_matrix(method: Diagonal) -> None:
    a = matrix(method)
    assert abs(a.sum(axis=1) - padded(method.c, method.stages)).max() < TOLERANCE * scale_of(method)
    assert [len(row) for row in method.a] == list(range(1, method.stages + 1))
    assert method.a[-1] == method.b
    assert method.c[-1] == 1.0
    diagonal = {row[-1] for row in method.a}
    assert len(diagonal - {0.0}) == 1
    assert all(row[-1] != 0.0 for row in method.a[1:])
    assert_l_stable(a)


def test_embedded_formula_of_sdirk2_is_stable_as_said() -> None:
    a, embedded = matrix(SDIRK2).astype(float), np.array(SDIRK2.b) - np.array(SDIRK2.error)
    for y in np.geomspace(1e-3, 1e5, 200):
        assert abs(1.0 + 1j * y * embedded @ np.linalg.solve(np.eye(2) - 1j * y * a, np.ones(2))) < 1.0 + 1e-13


@pytest.mark.parametrize("name", [name for name, method in DIAGONAL.items() if method.dense])
def test_continuous_extension_of_diagonal_method_has_its_order_and_no_more(name: str) -> None:
    method = DIAGONAL[name]
    phi = elementary_weights(matrix(method))
    size = float(max(abs(np.array(row)).sum() for row in method.dense))
    for theta in THETAS:
        assert_order(phi, diagonal_continuous(method, theta), method.dense_order, size, theta)
    assert misses(phi, diagonal_continuous(method, 0.5), method.dense_order + 1, 0.5) > 1e-5
    assert abs(diagonal_continuous(method, 1.0) - padded(method.b, method.stages)).max() < TOLERANCE * size


def test_a_changed_coefficient_of_a_diagonal_method_is_found() -> None:
    def worst(method: Diagonal) -> float:
        phi = elementary_weights(matrix(method))
        return max(misses(phi, padded(method.b, method.stages), q) for q in range(1, method.order + 1))

    assert worst(ESDIRK54) < TOLERANCE * scale_of(ESDIRK54)
    row = (*ESDIRK54.a[3][:2], ESDIRK54.a[3][2] + 1e-6, ESDIRK54.a[3][3])
    assert worst(replace(ESDIRK54, a=(*ESDIRK54.a[:3], row, *ESDIRK54.a[4:]))) > 1e-9


# ---- Rosenbrock methods

ROSENBROCK = tables(Rosenbrock, rosenbrock)


class Untransformed:
    """α, β = α + Γ and b of a Rosenbrock method before its transformation (HW II, IV.7)."""

    def __init__(self, method: Rosenbrock) -> None:
        self.method = method
        size = method.stages
        unit = np.eye(size, dtype=np.longdouble)
        inverse = unit / np.longdouble(method.gamma) - np.array([padded(row, size) for row in method.C])
        gamma = np.zeros_like(inverse)
        for i in range(size):  # the inverse of a lower triangular matrix
            gamma[i] = (unit[i] - inverse[i] @ gamma) / inverse[i, i]
        self.gamma = gamma
        self.alpha = np.array([padded(row, size) for row in method.a]) @ gamma
        self.beta = self.alpha + gamma
        self.b = padded(method.m, size) @ gamma
        self.error = padded(method.error, size) @ gamma
        self.phi = elementary_weights(self.alpha, self.beta)
        self.scale = float(abs(self.alpha).sum(axis=1).max() + abs(gamma).sum(axis=1).max())

    def continuous(self, theta: float) -> Vector:
        at = np.longdouble(theta)
        found = np.zeros_like(self.b)
        for row in reversed(self.method.dense):
            found = found * at + padded(row, self.method.stages)
        return at * self.b + at * (1.0 - at) * found @ self.gamma


rosenbrock_methods = pytest.mark.parametrize(
    "method", [Untransformed(method) for method in ROSENBROCK.values()], ids=list(ROSENBROCK)
)


@rosenbrock_methods
def test_rosenbrock_method_has_its_orders_and_no_more(method: Untransformed) -> None:
    table = method.method
    assert_order(method.phi, method.b, table.order, method.scale)
    assert misses(method.phi, method.b, table.order + 1) > 1e-4
    assert_order(method.phi, method.b - method.error, table.error_order, method.scale)
    assert misses(method.phi, method.b - method.error, table.error_order + 1) > 1e-4
    for theta in THETAS:
        assert_order(method.phi, method.continuous(theta), table.dense_order, method.scale, theta)
    assert misses(method.phi, method.continuous(0.5), table.dense_order + 1, 0.5) > 1e-4


@rosenbrock_methods
def test_rosenbrock_nodes_are_row_sums(method: Untransformed) -> None:
    assert abs(method.alpha.sum(axis=1) - method.method.c).max() < TOLERANCE * method.scale
    assert abs(method.gamma.sum(axis=1) - method.method.d).max() < TOLERANCE * method.scale


@rosenbrock_methods
def test_rosenbrock_method_is_stiffly_accurate_and_l_stable(method: Untransformed) -> None:
    table = method.method
    assert table.m == (*table.a[-1], 1.0)
    assert table.error == (0.0,) * (table.stages - 1) + (1.0,)
    assert abs(method.b - method.beta[-1]).max() < TOLERANCE * method.scale
    assert_l_stable(method.beta)


def test_a_changed_coefficient_of_a_rosenbrock_method_is_found() -> None:
    def worst(table: Rosenbrock) -> float:
        method = Untransformed(table)
        return max(misses(method.phi, method.b, q) for q in range(1, table.order + 1))

    assert worst(RODAS5P) < TOLERANCE * Untransformed(RODAS5P).scale
    row = (*RODAS5P.C[4][:2], RODAS5P.C[4][2] + 1e-6, RODAS5P.C[4][3])
    assert worst(replace(RODAS5P, C=(*RODAS5P.C[:4], row, *RODAS5P.C[5:]))) > 1e-9
    assert worst(replace(RODAS5P, gamma=RODAS5P.gamma + 1e-6)) > 1e-9


Problem = tuple[Callable[[float, Vector], Vector], Callable[[float, Vector], Matrix], Callable[[float, Vector], Vector]]

CURVED: Problem = (  # f, ∂f/∂y, ∂f/∂t
    lambda t, y: np.array([y[1], (1.0 - y[0] ** 2) * y[1] - y[0] + np.sin(2.0 * t)]),
    lambda t, y: np.array([[0.0, 1.0], [-2.0 * y[0] * y[1] - 1.0, 1.0 - y[0] ** 2]]),
    lambda t, y: np.array([0.0, 2.0 * np.cos(2.0 * t)]),
)
PRODUCT: Problem = (
    lambda t, y: np.array([y[0] * y[1] * np.cos(t), -(y[1] ** 2) + 0.1 * t * t * y[0]]),
    lambda t, y: np.array([[y[1] * np.cos(t), y[0] * np.cos(t)], [0.1 * t * t, -2.0 * y[1]]]),
    lambda t, y: np.array([-y[0] * y[1] * np.sin(t), 0.2 * t * y[0]]),
)


def rosenbrock_step(
    table: Rosenbrock, problem: Problem, t: float, base: Vector, h: float
) -> tuple[Vector, Vector, Vector]:
    """New state, state at the middle and error estimate, by the formulas of the docstring of `Rosenbrock`."""
    f, jacobian, slope_in_time = problem
    w = np.eye(len(base)) / (h * table.gamma) - jacobian(t, base)
    in_time = slope_in_time(t, base)
    u: list[Vector] = []
    for i in range(table.stages):
        at = base + sum((v * x for v, x in zip(table.a[i], u)), np.zeros_like(base))
        carried = sum((v * x for v, x in zip(table.C[i], u)), np.zeros_like(base))
        u.append(np.linalg.solve(w, f(t + table.c[i] * h, at) + carried / h + h * table.d[i] * in_time))
    new = base + np.array(table.m) @ u
    bend = np.zeros_like(base)
    for row in reversed(table.dense):
        bend = bend * 0.5 + np.array(row) @ u
    return new, 0.5 * base + 0.5 * (new + 0.5 * bend), np.array(table.error) @ u


@pytest.mark.parametrize("problem", [CURVED, PRODUCT], ids=["curved", "product"])
@pytest.mark.parametrize("table", ROSENBROCK.values(), ids=list(ROSENBROCK))
def test_rosenbrock_step_converges_with_the_formulas_of_its_docstring(table: Rosenbrock, problem: Problem) -> None:
    """Local errors of one step fall by 2 to the power of the order plus one, also for f that depends on time."""
    base, t = np.array([1.0, 0.7]), 0.3

    def exact(h: float) -> Vector:
        y, at, small = base, t, h / 64
        for _ in range(64):
            y, _, _ = rosenbrock_step(RODAS5P, problem, at, y, small)
            at += small
        return y

    steps = 0.2 * 0.5 ** np.arange(4)
    errors = []
    for h in steps:
        new, middle, estimate = rosenbrock_step(table, problem, t, base, h)
        errors.append([np.linalg.norm(new - exact(h)), np.linalg.norm(middle - exact(h / 2)), np.linalg.norm(estimate)])
    rates = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    expected = np.array([table.order, table.dense_order, table.error_order]) + 1.0
    assert (rates[-1] > expected - 0.35).all(), rates


# ---- compositions

COMPOSITIONS = tables(Composition, composition)
compositions = pytest.mark.parametrize("method", COMPOSITIONS.values(), ids=list(COMPOSITIONS))


@compositions
def test_composition_is_symmetric_and_consistent(method: Composition) -> None:
    assert len(method.kicks) == len(method.drifts) + 1
    assert method.kicks == method.kicks[::-1]
    assert method.drifts == method.drifts[::-1]
    assert abs(sum(np.array(method.kicks, dtype=np.longdouble)) - 1.0) < 1e-15
    assert abs(sum(np.array(method.drifts, dtype=np.longdouble)) - 1.0) < 1e-15


@compositions
def test_composition_of_verlet_removes_odd_powers_below_its_order(method: Composition) -> None:
    """Σ w^k = 0 for odd k below the order (GNI, V.3.2): necessary, and sharp enough to find a changed digit."""
    weights = np.array(method.drifts, dtype=np.longdouble)
    assert [abs((weights**k).sum()) < 1e-15 for k in range(3, method.order, 2)] == [True] * (method.order // 2 - 1)
    if method.order > 2:
        weights[1] += 1e-6
        assert abs((weights**3).sum()) > 1e-8


def swing(method: Composition, q: Vector, p: Vector, h: Vector) -> tuple[Vector, Vector]:
    """A step for the pendulum H = p² / 2 − cos q by the formulas of the docstring of `Composition`."""
    for j, kick in enumerate(method.kicks):
        p = p - kick * h * np.sin(q)
        if j < len(method.drifts):
            q = q + method.drifts[j] * h * p
    return q, p


@compositions
def test_composition_converges_with_its_order_and_no_more(method: Composition) -> None:
    start = np.longdouble(2.0), np.longdouble(0.6)
    steps = [np.longdouble(h) for h in (0.8, 0.4, 0.2)]
    errors = []
    for h in steps:
        q, p = start
        for _ in range(32):
            q, p = swing(KAHAN_LI8, q, p, h / 32)
        found = swing(method, *start, h)
        errors.append(np.hypot(float(found[0] - q), float(found[1] - p)))
    rates = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    assert abs(rates[-1] - method.order - 1) < 0.6, (rates, errors)  # the order of a symmetric method is even


@compositions
def test_composition_goes_back_the_way_it_came(method: Composition) -> None:
    start = np.longdouble(2.0), np.longdouble(0.6)
    q, p = swing(method, *start, np.longdouble(0.5))
    back = swing(method, q, p, np.longdouble(-0.5))
    assert abs(back[0] - start[0]) + abs(back[1] - start[1]) < 50 * np.finfo(np.longdouble).eps


# ---- Radau IIA

RADAU_A = np.array(RADAU5.a, dtype=np.longdouble)
RADAU_B = np.array(RADAU5.b, dtype=np.longdouble)
RADAU_C = np.array(RADAU5.c, dtype=np.longdouble)


def test_radau_satisfies_the_simplifying_assumptions() -> None:
    """B(5) and not B(6), C(3) and not C(4), D(2) (HW II, IV.5)."""
    for k in range(1, 6):
        assert abs((RADAU_B * RADAU_C ** (k - 1)).sum() - np.longdouble(1.0) / k) < TOLERANCE
    assert abs((RADAU_B * RADAU_C**5).sum() - 1.0 / 6.0) > 1e-4
    for k in range(1, 4):
        assert abs(RADAU_A @ RADAU_C ** (k - 1) - RADAU_C**k / k).max() < TOLERANCE
    assert abs(RADAU_A @ RADAU_C**3 - RADAU_C**4 / 4).max() > 1e-4
    for k in range(1, 3):
        assert abs((RADAU_B * RADAU_C ** (k - 1)) @ RADAU_A - RADAU_B * (1.0 - RADAU_C**k) / k).max() < TOLERANCE


def test_radau_has_its_order_and_no_more_and_is_l_stable() -> None:
    phi = elementary_weights(RADAU_A)
    assert_order(phi, RADAU_B, RADAU5.order, 1.0)
    assert misses(phi, RADAU_B, RADAU5.order + 1) > 1e-5
    assert RADAU5.a[-1] == RADAU5.b
    a = RADAU_A.astype(float)
    assert (np.linalg.eigvals(a).real > 0.0).all()

    def growth(z: complex) -> float:
        return abs(np.linalg.solve(np.eye(3) - z * a, np.ones(3))[-1])

    assert max(growth(1j * y) for y in np.geomspace(1e-3, 1e5, 400)) < 1.0 + 1e-13
    assert growth(-1e12) < 1e-10


def test_radau_transformation_has_the_eigenvalues() -> None:
    t, inverse = np.array(RADAU5.t, dtype=np.longdouble), np.array(RADAU5.t_inverse, dtype=np.longdouble)
    assert abs(inverse @ t - np.eye(3)).max() < TOLERANCE
    alpha, beta = RADAU5.pair
    blocks = np.array([[RADAU5.real, 0.0, 0.0], [0.0, alpha, beta], [0.0, -beta, alpha]])
    assert abs(inverse - blocks @ inverse @ RADAU_A).max() < 20 * TOLERANCE, "t⁻¹ a⁻¹ t is of that form"
    found = sorted(1.0 / np.linalg.eigvals(RADAU_A.astype(float)), key=lambda v: v.imag)
    assert np.allclose(found, [alpha - 1j * beta, RADAU5.real, alpha + 1j * beta], rtol=0.0, atol=1e-13)


def test_radau_embedded_formula_has_its_order_and_no_more() -> None:
    """ŷ = new + h / real (f(t, base) + Σ error_i z_i / h) as weights of four stages, the first one explicit."""
    a = np.zeros((4, 4), dtype=np.longdouble)
    a[1:, 1:] = RADAU_A
    embedded = np.zeros(4, dtype=np.longdouble)
    embedded[0] = 1.0 / RADAU5.real
    embedded[1:] = RADAU_B + np.array(RADAU5.error, dtype=np.longdouble) @ RADAU_A / RADAU5.real
    phi = elementary_weights(a)
    assert_order(phi, embedded, RADAU5.error_order, 10.0)
    assert misses(phi, embedded, RADAU5.error_order + 1) > 1e-4


def test_radau_dense_output_is_the_collocation_polynomial() -> None:
    dense = np.array(RADAU5.dense, dtype=np.longdouble)

    def weights_of_z(theta: float) -> Vector:
        return dense @ np.longdouble(theta) ** np.arange(1, 4)

    for i, node in enumerate(RADAU_C):
        assert abs(weights_of_z(node) - np.eye(3)[i]).max() < 10 * TOLERANCE
    phi = elementary_weights(RADAU_A)
    for theta in THETAS:
        assert_order(phi, weights_of_z(theta) @ RADAU_A, RADAU5.dense_order, 10.0, theta)
    assert misses(phi, weights_of_z(0.5) @ RADAU_A, RADAU5.dense_order + 1, 0.5) > 1e-4


def test_radau_iteration_of_the_docstring_solves_a_linear_problem_at_once() -> None:
    slope, h, base = -0.7, 0.9, 1.3
    t, inverse = np.array(RADAU5.t), np.array(RADAU5.t_inverse)
    w = np.array([0.2, -0.1, 0.4])
    g = inverse @ (slope * (base + t @ w))
    pair = complex(RADAU5.pair[0], -RADAU5.pair[1])
    w[0] += (g[0] - RADAU5.real / h * w[0]) / (RADAU5.real / h - slope)
    moved = (g[1] + 1j * g[2] - pair / h * (w[1] + 1j * w[2])) / (pair / h - slope)
    z = t @ (w + np.array([0.0, moved.real, moved.imag]))
    stages = np.linalg.solve(np.eye(3) - h * slope * np.array(RADAU5.a), np.ones(3) * base)
    assert abs(base + z - stages).max() < 1e-14
