"""Lyapunov exponents against published and exact values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dynlib
from dynlib import ConfigError, ModelError, lyapunov_exponents


@pytest.mark.parametrize(
    ("location", "arguments", "expected", "tolerance", "dimension"),
    [
        # J. C. Sprott, Chaos and Time-Series Analysis (2003)
        ("ode/lorenz", {"T": 4050.0, "transient": 50.0, "dt": 0.01}, (0.9056, 0.0, -14.5723), 0.01, 2.06215),
        ("ode/rossler", {"T": 5100.0, "transient": 100.0, "dt": 0.02}, (0.0714, 0.0, -5.3943), 0.006, 2.0132),
        ("map/henon", {"N": 200_000, "transient": 100.0}, (0.41922, -1.62319), 2e-3, 1.25827),
        ("map/logistic", {"N": 200_000, "params": {"r": 4.0}}, (math.log(2),), 1e-3, None),
    ],
)
def test_published_exponents(
    location: str, arguments: dict[str, Any], expected: tuple[float, ...], tolerance: float, dimension: float | None
) -> None:
    stepper = "map" if location.startswith("map") else "rk4"
    found = lyapunov_exponents(f"builtin://{location}", exponents=len(expected), stepper=stepper, **arguments)
    assert found.status.ok
    assert found.values == pytest.approx(expected, abs=tolerance)
    assert (np.abs(found.values - expected) < 3 * found.error + 1e-3).all()
    if dimension is not None:
        assert found.kaplan_yorke_dimension == pytest.approx(dimension, abs=2e-3)
    else:
        assert math.isnan(found.kaplan_yorke_dimension)


@pytest.mark.parametrize("stepper", ["tsit5", "taylor", "rodas5p", "bdf", "ab3"])
def test_the_sum_is_the_divergence_with_every_family_of_steppers(stepper: str) -> None:
    """Lorenz: the divergence is -(σ + 1 + β) everywhere."""
    options: dict[str, Any] = {"dt": 0.002} if stepper == "ab3" else {"rtol": 1e-8, "atol": 1e-8}
    found = lyapunov_exponents("builtin://ode/lorenz", T=30.0, transient=5.0, exponents=3, stepper=stepper, **options)
    assert found.values.sum() == pytest.approx(-(10 + 1 + 8 / 3), abs=1e-4)
    assert found.t[-1] == 30.0
    assert found.estimates.shape == (len(found.t), 3)


def test_a_linear_system_has_the_real_parts_of_its_eigenvalues() -> None:
    model = dynlib.ode_model("m", states={"x": 1.0, "y": 1.0, "z[2]": 1.0}, equations={
        "x": "0.3*x - 2*y", "y": "2*x + 0.3*y", "z[i]": "(-1 - i)*z[i]"})  # fmt: skip
    found = lyapunov_exponents(model, T=60.0, transient=30.0, exponents=4, stepper="rk4", dt=0.01)
    assert found.values == pytest.approx([0.3, 0.3, -1.0, -2.0], abs=1e-6)


def test_area_is_kept_by_the_standard_map() -> None:
    found = lyapunov_exponents("builtin://map/standard", N=20_000, exponents=2, params={"K": 6.0}, ic=[0.3, 0.2])
    assert found.values.sum() == pytest.approx(0.0, abs=1e-10)
    assert found.values[0] == pytest.approx(math.log(3.0), abs=0.05)


def test_a_trajectory_that_ends_early_gives_what_it_reached() -> None:
    model = dynlib.map_model("m", states={"x": 2.0}, equations={"x": "x*x"})
    with pytest.warns(dynlib.NumericsWarning, match="NOT_FINITE"):
        found = lyapunov_exponents(model, N=100, jit=False)
    assert not found.status.ok
    assert np.isfinite(found.values).all()


def test_what_cannot_be_asked_for() -> None:
    for arguments in ({}, {"T": 1.0, "N": 3}):
        with pytest.raises(ConfigError, match="give T"):
            lyapunov_exponents("builtin://map/henon", **arguments)  # type: ignore[arg-type]
    noisy = dynlib.sde_model("m", states={"x": 1.0}, equations={"x": "-x"}, noise={"x": "0.1"})
    with pytest.raises(ModelError, match="stochastic"):
        lyapunov_exponents(noisy, T=1.0)
    with pytest.raises(ConfigError, match="not ahead of the start"):
        lyapunov_exponents("builtin://ode/lorenz", T=1.0, transient=2.0, jit=False)
