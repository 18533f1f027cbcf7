"""Rosenbrock methods: one linear system for each stage, with one matrix for all."""

from __future__ import annotations

from dynlib.compile.advance.control import Attempt, controlled, norm, scale
from dynlib.compile.advance.implicit import MIDDLE, linear_of, residual
from dynlib.compile.advance.parts import Advance, combination, indented, inside, stage_time
from dynlib.compile.forms import Form
from dynlib.compile.linear import Linear
from dynlib.spec.model import Model
from dynlib.steppers.registry import StepperSpec
from dynlib.steppers.rosenbrock import Rosenbrock


def rosenbrock(model: Model, stepper: StepperSpec, method: Rosenbrock, form: Form, used: set[str]) -> Advance:
    """A method with error estimate and dense output; its formulas are those of `Rosenbrock`, with z for u.

    The Jacobian and the slope in time are those at the beginning of the step, whatever attempts are made at it.
    """
    linear = linear_of(form, stepper, used)
    advance = controlled(model, stepper, form, rosenbrock_attempt(method, linear, form))
    advance.unpack += linear.unpack
    advance.functions = linear.functions()
    advance.prepare_outputs, advance.interpolate = rosenbrock_extension(method, form)
    return advance


def rosenbrock_attempt(method: Rosenbrock, linear: Linear, form: Form) -> Attempt:
    """One attempt at a step."""
    begin = linear.evaluate("t", "base")
    if not linear.autonomous:
        begin += linear.time_slope("g", "t", "base")
    lines = [
        f"per_h = {form.number(1.0)} / h",
        *linear.factor(f"per_h * {form.number(1.0 / method.gamma)}"),
        "err = inf",
        "if singular == 1:",
        "    unsolved = 1",
        "else:",
        *indented(_stages(method, linear, form)),
        *indented(norm(form, "err", scale(form), f"part = ({combination(form, method.error, 'z')}) / scale")),
        *indented(_inside(method, linear, form)),
    ]
    return Attempt(lines, method.error_order, begin=begin, implicit=True)


def _stages(method: Rosenbrock, linear: Linear, form: Form) -> list[str]:
    """The stages and the new state. Rows of `a` that add one stage to the row before go on from its state."""
    lines: list[str] = []
    for j in range(method.stages):
        lines.append(f"# stage {j + 1}")
        slope = "k1"
        if j > 0:
            slope = "end"
            lines += _state("mid", method, j, method.a[j], form)
            lines.append(form.rhs("end", stage_time(method.c[j]), "mid"))
        formula = f"{{z{j + 1}}} = {{{slope}}}"
        if j > 0:
            formula += f" + per_h * ({combination(form, method.C[j], 'z')})"
        if method.d[j] != 0.0 and not linear.autonomous:
            formula += f" + h * {form.number(method.d[j])} * {{g}}"
        lines += [*form.each(formula), *linear.solve(f"z{j + 1}")]
    return lines + _state("new", method, method.stages, method.m, form)


def _state(at: str, method: Rosenbrock, j: int, row: tuple[float, ...], form: Form) -> list[str]:
    """The state in front of stage j + 1."""
    if row == (*method.a[j - 1], 1.0):
        return form.each(f"{{{at}}} = {{mid}} + {{z{j}}}")
    return form.each(f"{{{at}}} = {{base}} + {combination(form, row, 'z')}")


def _inside(method: Rosenbrock, linear: Linear, form: Form) -> list[str]:
    values, slopes = [0.0] * method.stages, [0.0] * method.stages
    # θ m + θ(1−θ) q₁ + θ²(1−θ) q₂ + …
    for power, row in enumerate([method.m, *method.dense]):
        for i, weight in enumerate(row):
            if power == 0:
                values[i] += weight * MIDDLE
                slopes[i] += weight
            else:
                values[i] += weight * (MIDDLE**power - MIDDLE ** (power + 1))
                slopes[i] += weight * (power * MIDDLE ** (power - 1) - (power + 1) * MIDDLE**power)
    state = f"{{base}} + {combination(form, tuple(values), 'z')}"
    slope = f"per_h * ({combination(form, tuple(slopes), 'z')})"
    return residual(linear, form, state, slope)


def rosenbrock_extension(method: Rosenbrock, form: Form) -> tuple[list[str], list[str]]:
    """The lines that prepare and compute the continuous extension (HW II, IV.7)."""
    one = form.number(1.0)
    names = [f"q{j}" for j in range(1, len(method.dense) + 1)]
    rows = [f"{{{q}}} = {combination(form, row, 'z')}" for q, row in zip(names, method.dense, strict=True)]
    text = f"{{{names[-1]}}}"
    for name in reversed(names[:-1]):
        text = f"{{{name}}} + theta * ({text})"
    formula = f"{{out}} = {{base}} + theta * ({{delta}} + ({one} - theta) * ({text}))"
    return form.each("{delta} = {new} - {base}", *rows), [inside(form.model, "dt"), *form.each(formula)]
