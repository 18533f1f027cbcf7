"""Sparse systems: the elimination found at build time, and the functions that use it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dynlib.compile import factorization
from dynlib.compile.elimination import Elimination, elimination

GROWTH = 1e8


def found(n: int, rows: Any, cols: Any) -> Elimination:
    plan = elimination(n, np.asarray(rows), np.asarray(cols), np.inf, 10**9)
    assert plan is not None
    return plan


def grid(m: int) -> tuple[int, NDArray[Any], NDArray[Any]]:
    """The pattern of the five-point star on a square of m × m points."""
    i = np.arange(m * m)
    r, c = np.divmod(i, m)
    rows, cols = [], []
    for dr, dc in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
        inside = (r + dr >= 0) & (r + dr < m) & (c + dc >= 0) & (c + dc < m)
        rows.append(i[inside])
        cols.append(((r + dr) * m + c + dc)[inside])
    by_row = np.argsort(np.concatenate(rows), kind="stable")
    return m * m, np.concatenate(rows)[by_row], np.concatenate(cols)[by_row]


def solved(
    n: int, rows: NDArray[Any], cols: NDArray[Any], values: NDArray[Any], diagonal: float, b: NDArray[Any],
    growth: float = GROWTH,
) -> tuple[int, NDArray[Any], NDArray[Any]]:  # fmt: skip
    """Whether it is refused, the solution, and the product with b."""
    plan = found(n, rows, cols)
    lu, row, x, out = np.zeros(len(plan.columns)), np.zeros(n), b.copy(), np.zeros(n)
    with np.errstate(all="ignore"):
        singular = factorization.sparse_factor(
            values, diagonal, growth, plan.places(rows, cols), plan.start, plan.middle, plan.columns, lu, row
        )
        factorization.sparse_solve(lu, plan.order, plan.start, plan.middle, plan.columns, row, x)
    factorization.sparse_product(values, np.searchsorted(rows, np.arange(n + 1)), cols, b, out)
    return singular, x, out


def dense(n: int, rows: NDArray[Any], cols: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    full = np.zeros((n, n))
    full[rows, cols] = values
    return full


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 25), density=st.floats(0.0, 0.6), diagonal=st.sampled_from([0.0, 1e-3, 1.0, 30.0]),
    seed=st.integers(0, 10**6), whole=st.booleans(),
)  # fmt: skip
def test_random_patterns(n: int, density: float, diagonal: float, seed: int, whole: bool) -> None:
    """What is not refused is as good as the growth of elements allows; dominant diagonals are never refused."""
    rng = np.random.default_rng(seed)
    rows, cols = np.nonzero(rng.random((n, n)) < density)
    values = rng.integers(-2, 3, len(rows)).astype(float) if whole else rng.normal(size=len(rows))
    b = rng.normal(size=n)
    jacobian = dense(n, rows, cols, values)
    system = diagonal * np.eye(n) - jacobian
    singular, x, product = solved(n, rows, cols, values, diagonal, b)
    np.testing.assert_allclose(product, jacobian @ b, rtol=1e-12, atol=1e-12)
    others = np.abs(system).sum(axis=1) - np.abs(np.diag(system))
    if np.all(np.abs(np.diag(system)) > others):
        assert singular == 0
        np.testing.assert_allclose(x, np.linalg.solve(system, b), rtol=1e-9, atol=1e-9 * np.abs(x).max())
    if singular == 0:
        error = np.abs(x - np.linalg.solve(system, b)).max()
        assert error <= 1e-16 * GROWTH * 100 * np.linalg.cond(system) * np.abs(x).max()


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 30), density=st.floats(0.0, 0.4), seed=st.integers(0, 10**6))
def test_the_pattern_holds_all_that_elimination_makes(n: int, density: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = np.nonzero(rng.random((n, n)) < density)
    plan = found(n, rows, cols)
    assert sorted(plan.order) == list(range(n))
    full = np.zeros((n, n), bool)
    full[plan.ranks[rows], plan.ranks[cols]] = True
    full |= full.T | np.eye(n, dtype=bool)
    for k in range(n):
        full[k + 1 :, k + 1 :] |= np.outer(full[k + 1 :, k], full[k, k + 1 :])
    pattern = [plan.columns[a:b].tolist() for a, b in zip(plan.start, plan.start[1:], strict=False)]
    assert pattern == [np.flatnonzero(row).tolist() for row in full]
    assert plan.columns[plan.middle].tolist() == list(range(n))
    assert plan.work == sum(int(row[k + 1 :].sum()) * (int(row[k + 1 :].sum()) + 1) for k, row in enumerate(full))
    np.testing.assert_array_equal(plan.columns[plan.places(rows, cols)], plan.ranks[cols])


def test_fill_of_a_grid_and_of_a_ring() -> None:
    """A grid of 100 × 100 has 49,600 elements; a band, with room for exchanges, would have 3 million."""
    n, rows, cols = grid(100)
    assert len(found(n, rows, cols).columns) < 450_000
    i = np.arange(10_000)
    ring = found(10_000, np.repeat(i, 3), np.stack([i, (i + 1) % 10_000, (i - 1) % 10_000]).T.ravel())
    assert len(ring.columns) < 50_000
    hub = found(
        1000,
        np.concatenate([np.zeros(1000, int), np.arange(1000)]),
        np.concatenate([np.arange(1000), np.zeros(1000, int)]),
    )
    assert len(hub.columns) == 2998


def test_too_much_work_is_given_up() -> None:
    n, rows, cols = grid(10)
    plan = found(n, rows, cols)
    assert elimination(n, rows, cols, plan.work, 10**9) is not None
    assert elimination(n, rows, cols, plan.work - 1, 10**9) is None
    upper = (len(plan.columns) - n) // 2
    assert elimination(n, rows, cols, np.inf, upper) is not None
    assert elimination(n, rows, cols, np.inf, upper - 1) is None


def test_singular_and_inaccurate_systems_are_refused() -> None:
    n, rows, cols = grid(4)
    ones = np.ones(n)
    on = rows == cols
    assert solved(n, rows, cols, np.zeros(len(rows)), 0.0, ones)[0] == 1
    assert solved(n, rows, cols, np.zeros(len(rows)), 1.0, ones)[0] == 0
    assert solved(n, rows, cols, on * 1.0, 1.0, ones)[0] == 1
    for bad in (np.nan, np.inf):
        assert solved(n, rows, cols, np.full(len(rows), bad), 1.0, ones)[0] == 1
    swap = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    for small, refused in ((1e-20, 1), (0.0, 1), (1e-3, 0)):
        values = -np.array([small, 1.0, 1.0, 1.0])
        singular, x, _ = solved(2, *swap, values, 0.0, np.array([1.0, 2.0]))
        assert singular == refused
        if not refused:
            np.testing.assert_allclose(x, np.linalg.solve([[small, 1.0], [1.0, 1.0]], [1.0, 2.0]), rtol=1e-9)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), units=st.lists(st.floats(-9, 9), min_size=12, max_size=12))
def test_what_is_refused_does_not_depend_on_units(seed: int, units: list[float]) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    rows, cols = np.nonzero(rng.random((n, n)) < 0.3)
    values, b, size = rng.normal(size=len(rows)), rng.normal(size=n), 2.0 ** np.round(units)
    plain = solved(n, rows, cols, values, 0.5, b, 30.0)
    scaled = solved(n, rows, cols, values * size[rows] / size[cols], 0.5, b * size, 30.0)
    assert plain[0] == scaled[0]
    if plain[0] == 0:
        np.testing.assert_array_equal(plain[1], scaled[1] / size)
