"""Sessions on the neuron of the specification's examples."""

from __future__ import annotations

import pytest
from session.kit import neuron

from dynlib import Sim


@pytest.fixture
def sim() -> Sim:
    """The neuron with classical Runge–Kutta and steps of 0.1, not yet run."""
    return neuron()
