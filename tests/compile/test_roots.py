"""The hunt for roots: what passes zero is found where it does, in order, and nothing else is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlib.compile import roots


def found(f: Callable[[float], float], a: float, b: float, *, both: bool, parts: int = 5, fine: int = 0) -> list[float]:
    """All roots in a step, in the order in which they are found."""
    w = np.zeros(roots.SLOTS)
    roots.hunt_begin(w, a, b, f(a), float(parts), float(both), fine)
    times = []
    while True:
        for _ in range(1000):
            if w[roots.WANTS] == 0.0:
                break
            assert a <= w[roots.TAU] <= b
            roots.hunt(w, f(w[roots.TAU]))
        else:
            pytest.fail("the hunt does not end")
        if not w[roots.ROOT] < math.inf:
            return times
        times.append(float(w[roots.ROOT]))
        assert len(times) < 100
        roots.hunt_again(w)


@settings(max_examples=300, deadline=None)
@given(
    rate=st.floats(0.5, 7.0),
    phase=st.floats(0.0, 6.2),
    level=st.floats(-0.999999, 0.999999),
    begin=st.floats(-100.0, 100.0),
)
def test_all_roots_of_a_wave_are_found(rate: float, phase: float, level: float, begin: float) -> None:
    """Also two that lie close together at a crest, within a step of about one period."""

    def wave(t: float) -> float:
        return math.sin(rate * (t - begin) + phase) - level

    exact = []
    for k in range(-2, 3):
        for angle, rising in ((math.asin(level), 1.0), (math.pi - math.asin(level), -1.0)):
            place = (angle + 2 * math.pi * k - phase) / rate
            if 0.0 < place <= 1.0:
                exact.append((begin + place, rising))
    edge = min((min(abs(t - begin), abs(t - begin - 1.0)) for t, _ in exact), default=1.0)
    gap = min((abs(t - s) for t, _ in exact for s, _ in exact if s != t), default=1.0)
    if edge < 1e-6 or gap < 1e-5:
        return  # too close to the end of the step, or to one another, for the rounding of the wave
    noise = 1e-14 * (1 + abs(begin)) / max(rate * math.sqrt(1 - level * level), 1e-9)
    got = found(wave, begin, begin + 1.0, both=True)
    assert got == pytest.approx(sorted(t for t, _ in exact), abs=max(noise, 1e-12))
    up = found(wave, begin, begin + 1.0, both=False)
    assert up == pytest.approx(sorted(t for t, rising in exact if rising > 0), abs=max(noise, 1e-12))


@pytest.mark.parametrize("power", [1, 3, 5])
def test_flat_roots(power: int) -> None:
    assert found(lambda t: (t - 0.3) ** power, 0.0, 1.0, both=False) == pytest.approx(
        [0.3], abs=1e-3 if power > 3 else 1e-5
    )


def test_a_beginning_on_zero_is_no_root() -> None:
    """A directed hunt begins on the upper side; one in both directions on the side of the first other value."""
    assert found(lambda t: t, 0.0, 1.0, both=False) == []
    assert found(lambda t: t, 0.0, 1.0, both=True) == []
    assert found(lambda t: -t, 0.0, 1.0, both=True) == []
    assert found(lambda t: t * (t - 0.5), 0.0, 1.0, both=False) == pytest.approx([0.5])


def test_the_value_at_a_root_lies_on_the_far_side() -> None:
    for target in np.linspace(0.01, 0.99, 37):
        (root,) = found(lambda t: math.expm1(t) - math.expm1(target), 0.0, 1.0, both=False)  # noqa: B023
        assert math.expm1(root) - math.expm1(target) >= 0.0
        assert root == pytest.approx(target, rel=1e-14)


def test_roots_next_to_the_last_event() -> None:
    """A ball that bounces lower and lower: after an event the beginning of a step is looked at closely."""
    for height in 2.0 ** -np.arange(3, 28):
        assert found(lambda t: t * (t - height), 0.0, 1.0, both=False, fine=1) == pytest.approx([height])  # noqa: B023


def test_not_a_number_is_no_root() -> None:
    assert found(lambda t: math.nan, 0.0, 1.0, both=True) == []
    assert found(lambda t: t - 0.5 if t < 0.4 else math.nan, 0.0, 1.0, both=True) == []


@np.errstate(all="ignore")  # as kernels run
def test_barriers() -> None:
    once, often = np.array([[2.0, 0.0]]), np.array([[0.25, 1.0], [5.0, 0.0], [math.nan, 0.0], [math.inf, 1.0]])
    assert roots.next_barrier(once, 1.0) == 2.0
    assert roots.next_barrier(once, 2.0) == math.inf
    assert roots.next_barrier(once, 2.0 - 1e-15) == math.inf  # reached, up to rounding
    assert roots.next_barrier(often, 0.0) == 0.25
    assert roots.next_barrier(often, 0.25) == 1.25
    assert roots.next_barrier(often, -3.5) == -2.75
    assert roots.next_barrier(often, 4.9) == 5.0
    assert roots.next_barrier(np.array([[0.0, -0.5]]), 0.6) == 1.0
    assert roots.just_before(1.0) == 1.0 - roots.BARRIER_TOLERANCE < 1.0
    assert roots.just_before(0.0) < 0.0
    for at, barriers in ((2.0, once), (4.25, often), (0.25, often), (5.0, often)):
        behind = roots.just_behind(barriers, at)
        assert at < behind < at + 1e-14
        assert roots.just_behind(barriers, roots.just_before(at) + 1e-16) in (behind, roots.just_before(at))
        assert roots.just_behind(barriers, behind) == behind
        assert roots.just_behind(barriers, at + 0.1) == at + 0.1
        assert roots.next_barrier(barriers, behind) > at + 0.1 or at == 4.25
