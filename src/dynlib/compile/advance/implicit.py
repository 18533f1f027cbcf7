"""What implicit methods share: the Jacobian of the model, or why there is none."""

from __future__ import annotations

from dynlib.compile.forms import Form
from dynlib.compile.linear import Linear
from dynlib.errors import ModelError, Where
from dynlib.steppers.registry import StepperSpec


def linear_of(form: Form, stepper: StepperSpec, used: set[str]) -> Linear:
    """The linear systems of a model. Raises `ModelError` where its Jacobian cannot be had."""
    try:
        return Linear(form, used)
    except ModelError as problem:
        raise ModelError(
            f"stepper {stepper.name!r} needs the Jacobian of the model: {problem}; "
            "take an explicit stepper, or state the Jacobian in [equations.jacobian]",
            Where(form.model.name),
        ) from problem
