"""Right-hand sides as each peer wants them for speed, and members of ensembles.

`dy` is written from `y`, parameters are constants.
`sqrt` is that of whoever computes: of Python, of numba, of an array library, or of symbols.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

RightHandSide = Callable[[Any, Any, Any], None]


def lorenz(sqrt: Any, y: Any, dy: Any) -> None:
    dy[0] = 10.0 * (y[1] - y[0])
    dy[1] = y[0] * (28.0 - y[2]) - y[1]
    dy[2] = y[0] * y[1] - (8 / 3) * y[2]


def arenstorf(sqrt: Any, y: Any, dy: Any) -> None:
    mu, nu = 0.012277471, 1 - 0.012277471
    a = (y[0] + mu) * (y[0] + mu) + y[1] * y[1]
    b = (y[0] - nu) * (y[0] - nu) + y[1] * y[1]
    a, b = a * sqrt(a), b * sqrt(b)
    dy[0] = y[2]
    dy[1] = y[3]
    dy[2] = y[0] + 2 * y[3] - nu * (y[0] + mu) / a - mu * (y[0] - nu) / b
    dy[3] = y[1] - 2 * y[2] - nu * y[1] / a - mu * y[1] / b


def van_der_pol(sqrt: Any, y: Any, dy: Any) -> None:
    dy[0] = y[1]
    dy[1] = 1000.0 * (1 - y[0] * y[0]) * y[1] - y[0]


def robertson(sqrt: Any, y: Any, dy: Any) -> None:
    fast, square = 1e4 * y[1] * y[2], 3e7 * y[1] * y[1]
    dy[0] = -0.04 * y[0] + fast
    dy[1] = 0.04 * y[0] - fast - square
    dy[2] = square


RIGHT_HAND_SIDES: dict[str, RightHandSide] = {
    "lorenz": lorenz,
    "arenstorf": arenstorf,
    "van_der_pol": van_der_pol,
    "robertson": robertson,
}
STIFF = ("van_der_pol", "robertson")


def list_form(system: str, sqrt: Any) -> Callable[[float, Any], list[Any]]:
    """f(t, y) that returns a list."""
    rhs = RIGHT_HAND_SIDES[system]

    def f(t: float, y: Any) -> list[Any]:
        dy: list[Any] = [0.0] * len(y)
        rhs(sqrt, y, dy)
        return dy

    return f


NEURON_AT_REST = (0.003620668808, 0.052955086813, 0.595994124740, 0.317732399761)
"""V, m, h, n of the Hodgkin–Huxley model without a current."""


def lorenz_starts(members: int) -> Any:
    """The x in which the trajectories of an ensemble begin; y and z are 1."""
    return np.linspace(-10.0, 10.0, members)


def currents(members: int) -> Any:
    """The currents of an ensemble of neurons."""
    return np.linspace(0.0, 20.0, members)


def some_members(y: Any) -> Any:
    """What is compared of the states of an ensemble, of shape (states, members)."""
    return np.ascontiguousarray(y[:, :: max(1, y.shape[1] // 7)]).ravel()
