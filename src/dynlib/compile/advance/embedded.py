"""Explicit embedded Runge–Kutta pairs with their continuous extensions."""

from __future__ import annotations

from dynlib.compile.advance.control import Attempt, controlled, norm, scale
from dynlib.compile.advance.fixed import stage, stages
from dynlib.compile.advance.parts import Advance, combination, inside
from dynlib.compile.forms import Form
from dynlib.spec.model import Model
from dynlib.steppers.explicit_rk import Tableau
from dynlib.steppers.registry import StepperSpec


def embedded(model: Model, stepper: StepperSpec, tableau: Tableau, form: Form) -> Advance:
    """A pair whose error is estimated by the difference of its two formulas.

    The slope at the end of a step is the first of the next one: the last stage where the method has it so, and
    computed once the step is accepted where it has not.
    """
    advance = controlled(model, stepper, form, explicit_attempt(tableau, form))
    advance.prepare_outputs, advance.interpolate = explicit_extension(tableau, form)
    return advance


def explicit_attempt(tableau: Tableau, form: Form, squared: bool = False) -> Attempt:
    """One attempt at a step; `squared` leaves out the root of the error, which its logarithm does not need."""
    end = f"k{tableau.end_slope}"
    lines = stages(tableau, form)
    after: list[str] = []
    if not tableau.first_same_as_last:
        lines += form.each(f"{{new}} = {{base}} + h * ({combination(form, tableau.b)})")
        after = ["# slope at the end", form.rhs(end, form.end_time, "new")]
    error = _squared_error(tableau, form) if squared else _error(tableau, form)
    return Attempt([*lines, *error], tableau.error_order, accepted=after, end=end)


def _error(tableau: Tableau, form: Form) -> list[str]:
    error = f"part = h * ({combination(form, tableau.error)}) / scale"
    if not tableau.second_error:
        return norm(form, "err", scale(form), error)
    # two estimates of different order, combined as in the code DOP853 of Hairer & Wanner (HNW I, II.10)
    return [
        *norm(form, "err", scale(form), error),
        *norm(form, "err_low", scale(form), f"part = h * ({combination(form, tableau.second_error)}) / scale"),
        "if err > 0.0:",
        "    err = err * err / sqrt(err * err + 0.01 * err_low * err_low)",
    ]


def _squared_error(tableau: Tableau, form: Form) -> list[str]:
    """The square of the error in `err`, with as few divisions as can be."""
    zero, share = form.number(0.0), form.number(1.0 / form.model.n_states)
    formulas = [scale(form), "weight = h / scale"]
    for name, weights in (("err", tableau.error), ("err_low", tableau.second_error)):
        if weights:
            formulas += [f"part = ({combination(form, weights)}) * weight", f"{name} += part * part"]
    lines = [f"err = {zero}", *([f"err_low = {zero}"] if tableau.second_error else []), *form.each(*formulas)]
    if tableau.second_error:
        lines.append("err = err * err / (err + 0.01 * err_low) if err > 0.0 else err")
    return [*lines, f"err = err * {share}"]


def explicit_extension(tableau: Tableau, form: Form) -> tuple[list[str], list[str]]:
    """The lines that prepare and compute the continuous extension, nested as in HNW I, II.6 (codes CONTD5, CONTD8)."""
    one, last = form.number(1.0), tableau.end_slope
    prepare: list[str] = []
    for j, (node, row) in enumerate(tableau.more, last + 1):
        prepare += stage(form, j, node, row)
    rows = [f"{{r{j}}} = h * ({combination(form, row)})" for j, row in enumerate(tableau.dense, 4)]
    prepare += form.each(
        "{delta} = {new} - {base}",
        "{bend} = h * {k1} - {delta}",
        f"{{r3}} = {{delta}} - h * {{k{last}}} - {{bend}}",
        *rows,
    )
    text = ""
    for k, name in reversed(list(enumerate(["delta", "bend", "r3", *(f"r{j}" for j in range(4, 4 + len(rows)))]))):
        text = f"{{{name}}} + {'theta' if k % 2 else f'({one} - theta)'} * ({text})" if text else f"{{{name}}}"
    return prepare, [inside(form.model, "dt"), *form.each(f"{{out}} = {{base}} + theta * ({text})")]
