"""Where in a step a function of time passes zero, and how far a step may go: plain code that is also compiled.

`hunt` works by reverse communication: it names the time at which it wants the function, and is told the value. So the
interpolant of the stepper stands once in a kernel, whatever is sought on it.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

WANTS, TAU, ROOT, G_ROOT, SIDE, BOTH, BEGIN, SPAN, PARTS, FINE, NODE, T_NODE, G_NODE = range(13)
T_LEFT, G_LEFT, T_A, G_A, T_B, G_B, T_C, G_C, COUNT, STAYED = range(13, 23)
SLOTS = 23
"""Slots of a hunt. `WANTS` is 0 (finished), 1 (looking at nodes), 2 (at a bend towards zero) or 3 (closing in)."""
FINEST = 10
"""Nodes close to the beginning of a step that follows an event: 2⁻³⁰, 2⁻²⁷, …, 2⁻³ of the step."""
ROOT_TOLERANCE = 4 * 2.0**-52
"""A root is found to this relative accuracy in time, or to 2⁻⁵² of the step if that is more."""
BARRIER_TOLERANCE = 8 * 2.0**-52
"""So far, relative to its time, a barrier is stayed away from."""


def hunt_begin(w: Any, t: Any, t_end: Any, value: Any, parts: Any, both: Any, fine: Any) -> None:
    """Look for the first root in a step from `t` to `t_end`, where the function begins with `value`.

    A root is a passage from below zero to zero or above, with `both` also one to below. `parts` says into how many
    pieces the step is divided; `fine` (0 or 1) asks for more nodes close to the beginning.
    """
    w[BEGIN] = t
    w[SPAN] = t_end - t
    w[PARTS] = parts
    w[BOTH] = both
    w[FINE] = fine
    _from_here(w, t, value, 1.0 if value > 0.0 else -1.0 if value < 0.0 else (0.0 if both > 0.0 else 1.0))


def hunt_again(w: Any) -> None:
    """Look for the next root, behind the one that was found."""
    _from_here(w, w[ROOT], w[G_ROOT], -w[SIDE])


def _from_here(w: Any, tau: Any, value: Any, side: Any) -> None:
    w[T_A] = tau
    w[G_A] = value
    w[T_LEFT] = tau
    w[G_LEFT] = value
    w[ROOT] = inf
    w[NODE] = -1.0
    w[COUNT] = 0.0
    w[SIDE] = side
    _next_node(w)


def _node(w: Any, j: Any) -> Any:
    """The place of a node in the step, 0 to 1; beyond 1 behind the last."""
    parts = w[PARTS]
    if w[FINE] > 0.0:
        if j < FINEST:
            return 2.0 ** (3.0 * j - 30.0)
        j = j - FINEST + 1.0
    if j < 0.5:
        return 0.015625
    if j < parts:
        return j / parts
    if j < parts + 1.0:
        return 0.984375
    return 1.0 if j < parts + 2.0 else 2.0


def _next_node(w: Any) -> None:
    while True:
        w[NODE] += 1.0
        place = _node(w, w[NODE])
        if place > 1.0:
            w[WANTS] = 0.0
            return
        tau = w[BEGIN] + w[SPAN] if place == 1.0 else w[BEGIN] + place * w[SPAN]
        if tau > w[T_A]:
            w[WANTS] = 1.0
            w[TAU] = tau
            return


def hunt(w: Any, value: Any) -> None:
    """The value at `w[TAU]`. Afterwards another one may be wanted; if not, `w[ROOT]` is the root or infinite."""
    if w[WANTS] == 1.0:
        _at_node(w, value)
    elif w[WANTS] == 2.0:
        _at_bend(w, value)
    else:
        _closing(w, value)


def _passes(w: Any, value: Any) -> Any:
    """Whether the value lies on the other side."""
    return value < 0.0 if w[SIDE] > 0.0 else value >= 0.0


def _at_node(w: Any, value: Any) -> None:
    tau = w[TAU]
    if w[SIDE] == 0.0:  # the function began at zero: its side is that of the first other value
        w[SIDE] = 1.0 if value > 0.0 else -1.0 if value < 0.0 else 0.0
    elif _passes(w, value):
        if w[SIDE] < 0.0 or w[BOTH] > 0.0:
            _close(w, w[T_A], w[G_A], tau, value)
            return
        w[SIDE] = -1.0  # a passage downwards, which is not sought
        _step_node(w, tau, value)
        w[COUNT] = 0.0  # what lies before it is on another side
        return
    elif w[COUNT] > 0.0 and abs(w[G_A]) <= abs(w[G_LEFT]) and abs(w[G_A]) <= abs(value) and _worth(w, tau, value):
        w[T_B], w[G_B] = w[T_A], w[G_A]  # the bend lies between the nodes left of and right of T_B
        w[T_C], w[G_C] = tau, value
        w[T_NODE], w[G_NODE] = tau, value
        w[COUNT] = 40.0
        w[WANTS] = 2.0
        _ask_bend(w)
        return
    _step_node(w, tau, value)


def _step_node(w: Any, tau: Any, value: Any) -> None:
    w[T_LEFT], w[G_LEFT] = w[T_A], w[G_A]
    w[T_A], w[G_A] = tau, value
    w[COUNT] = 1.0
    _next_node(w)


def _worth(w: Any, tau: Any, value: Any) -> Any:
    """Whether the parabola through three nodes comes close to zero."""
    a, b, c = abs(w[G_LEFT]), abs(w[G_A]), abs(value)
    u, v = w[T_A] - w[T_LEFT], tau - w[T_A]
    slope_a, slope_c = (b - a) / u, (c - b) / v
    bend = (slope_c - slope_a) / (u + v)
    if not bend > 0.0:
        return True
    slope = (slope_a * v + slope_c * u) / (u + v)
    return b - slope * slope / (4.0 * bend) < 0.5 * b


def _ask_bend(w: Any) -> None:
    """The golden section of the longer part."""
    if w[T_C] - w[T_B] > w[T_B] - w[T_LEFT]:
        w[TAU] = w[T_B] + 0.3819660112501051 * (w[T_C] - w[T_B])
    else:
        w[TAU] = w[T_B] - 0.3819660112501051 * (w[T_B] - w[T_LEFT])


def _at_bend(w: Any, value: Any) -> None:
    tau = w[TAU]
    if _passes(w, value):
        if w[SIDE] < 0.0 or w[BOTH] > 0.0:
            _close(w, w[T_LEFT], w[G_LEFT], tau, value)
        else:  # down and up again: the way up is the root
            w[SIDE] = -1.0
            _close(w, tau, value, w[T_C], w[G_C])
        return
    if abs(value) < abs(w[G_B]):
        if tau > w[T_B]:
            w[T_LEFT], w[G_LEFT] = w[T_B], w[G_B]
        else:
            w[T_C], w[G_C] = w[T_B], w[G_B]
        w[T_B], w[G_B] = tau, value
    elif tau > w[T_B]:
        w[T_C], w[G_C] = tau, value
    else:
        w[T_LEFT], w[G_LEFT] = tau, value
    w[COUNT] -= 1.0
    if w[COUNT] > 0.0 and w[T_C] - w[T_LEFT] > 1e-7 * w[SPAN]:
        _ask_bend(w)
        return
    w[T_A], w[G_A] = w[T_B], w[G_B]
    w[WANTS] = 1.0
    _step_node(w, w[T_NODE], w[G_NODE])


def _close(w: Any, a: Any, g_a: Any, b: Any, g_b: Any) -> None:
    """Close in on the passage between `a` and `b` (regula falsi, Illinois variant, with bisection as its guard)."""
    w[T_A], w[G_A], w[T_B], w[G_B] = a, g_a, b, g_b
    w[G_ROOT] = g_b
    w[WANTS] = 3.0
    w[COUNT] = 0.0
    w[STAYED] = 0.0
    _ask_close(w)


def _ask_close(w: Any) -> None:
    a, b = w[T_A], w[T_B]
    least = max(ROOT_TOLERANCE * max(abs(a), abs(b)), 2.220446049250313e-16 * w[SPAN])
    w[COUNT] += 1.0
    tau = a + 0.5 * (b - a)
    if w[COUNT] % 4.0 != 0.0 and w[G_B] != w[G_A]:
        gap = min(0.5 * least, 0.25 * (b - a))
        tau = min(max(a + (b - a) * (w[G_A] / (w[G_A] - w[G_B])), a + gap), b - gap)
    if b - a > least and a < tau < b:
        w[TAU] = tau
    else:
        w[ROOT] = b
        w[WANTS] = 0.0


def _closing(w: Any, value: Any) -> None:
    """The end that stays a second time gets half its weight."""
    if _passes(w, value):
        w[T_B], w[G_B], w[G_ROOT] = w[TAU], value, value
        if w[STAYED] < 0.0:
            w[G_A] *= 0.5
        w[STAYED] = -1.0
    else:
        w[T_A], w[G_A] = w[TAU], value
        if w[STAYED] > 0.0:
            w[G_B] *= 0.5
        w[STAYED] = 1.0
    _ask_close(w)


def earliest(hunts: Any) -> Any:
    """The hunt whose root comes first, the first of those that are equal; -1 if none has one."""
    which, best = -1, inf
    for k in range(len(hunts)):
        if hunts[k, ROOT] < best:
            which, best = k, hunts[k, ROOT]
    return which


def next_barrier(barriers: Any, t: Any) -> Any:
    """The first barrier behind `t`; each row has a time and a period (0: it happens once)."""
    wall = inf
    least = t + BARRIER_TOLERANCE * abs(t)
    for k in range(len(barriers)):
        at, period = barriers[k, 0], abs(barriers[k, 1])
        if period > 0.0:
            turns = np.floor((t - at) / period) + 1.0
            place = at + turns * period
            if not place > least:
                place = at + (turns + 1.0) * period
            at = place
        if at > least and at < wall:
            wall = at
    return wall


def last_barrier(barriers: Any, t: Any) -> Any:
    """The last barrier that is not behind `t`."""
    wall = -inf
    for k in range(len(barriers)):
        at, period = barriers[k, 0], abs(barriers[k, 1])
        if period > 0.0:
            at = at + np.floor((t - at) / period) * period
        if wall < at <= t:
            wall = at
    return wall


def just_before(t: Any) -> Any:
    """A time so little before `t` that rounding in an expression that jumps at `t` does not matter."""
    return min(t - BARRIER_TOLERANCE * abs(t), np.nextafter(t, -inf))


def just_behind(barriers: Any, t: Any) -> Any:
    """`t`, or a time so little behind a barrier where `t` lies on one."""
    for k in range(len(barriers)):
        at, period = barriers[k, 0], abs(barriers[k, 1])
        if period > 0.0:
            at = at + np.rint((t - at) / period) * period
        gap = max(BARRIER_TOLERANCE * abs(at), np.nextafter(at, inf) - at)
        if abs(t - at) < gap:
            return at + gap
    return t


PLAIN = (
    _node, _next_node, _from_here, hunt_begin, hunt_again, _passes, _worth, _ask_bend, _ask_close, _close, _step_node,
    _at_node, _at_bend, _closing, hunt, earliest, next_barrier, last_barrier, just_before, just_behind,
)  # fmt: skip
"""Functions whose Python text is also their compiled meaning."""

NAMES = frozenset(f.__name__ for f in PLAIN if not f.__name__.startswith("_"))
"""Every name that generated code may import from here."""
