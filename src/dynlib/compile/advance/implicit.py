"""What implicit methods share: the Jacobian of the model, and the error inside a step."""

from __future__ import annotations

from dynlib.compile.advance.control import norm, scale
from dynlib.compile.advance.parts import indented, stage_time
from dynlib.compile.forms import Form
from dynlib.compile.linear import Linear
from dynlib.errors import ModelError, Where
from dynlib.steppers.registry import StepperSpec

MIDDLE = 0.3
"""Where in a step its continuous extension is put to the test."""


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


def residual(linear: Linear, form: Form, state: str, slope: str) -> list[str]:
    """`err` ← the larger of it and the error of the continuous extension, whose state and slope at `MIDDLE` are given.

    Steps over which a stiff solution bends can end on it none the less, and their error estimates are about 0
    (Prothero & Robinson, Math. Comp. 28 (1974) 145–162). What is read inside them would be wrong. So the residual of
    the extension counts too, multiplied by (I/(h γ) − J)⁻¹: for stiff components that is the error itself.
    """
    lines = [
        *form.each(f"{{mid}} = {state}"),
        form.rhs("end", stage_time(MIDDLE), "mid"),
        *form.each(f"{{dz}} = {{end}} - ({slope})"),
        *linear.solve("dz"),
        *norm(form, "err_low", scale(form), "part = {dz} / scale"),
        "if not err_low <= err:",
        "    err = err_low",
    ]
    return ["if err <= 1.0:  # the state inside the step, too", *indented(lines)]
