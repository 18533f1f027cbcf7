"""Diagonally implicit Runge–Kutta methods: stage after stage, each by a simplified Newton iteration."""

from __future__ import annotations

from dynlib.compile.advance.control import Attempt, controlled, norm, scale
from dynlib.compile.advance.implicit import MIDDLE, linear_of, residual
from dynlib.compile.advance.newton import FAILED, MEASURE, newton, newton_unpack, weigh
from dynlib.compile.advance.parts import Advance, combination, fixed_time, indented, inside, stage_time
from dynlib.compile.forms import Form
from dynlib.compile.linear import Linear
from dynlib.spec.model import Model
from dynlib.steppers.dirk import Diagonal
from dynlib.steppers.registry import StepperSpec

DEGREE = 2
"""Of the polynomial through the slopes of stages from which the slope at the next one is guessed."""


def dirk(model: Model, stepper: StepperSpec, method: Diagonal, form: Form, used: set[str]) -> Advance:
    """A method with error estimate and step-size control, or one with a fixed step.

    With control the Jacobian is that at the beginning of the step, whatever attempts are made at it. A fixed step
    cannot become smaller: there it is evaluated anew in every turn of the iteration. The slope at the end of the step
    follows from the equation of the last stage, which stiff problems do not amplify.
    """
    linear = linear_of(form, stepper, used)
    new = form.each("{new} = {z0} + {z}")
    if stepper.adaptive:
        lines = [*_stages(method, linear, form), "err = inf", "if unsolved == 0:", *indented(new)]
        lines += indented([*_error(method, linear, form), *_inside(method, linear, form)])
        begin = [*linear.evaluate("t", "base"), *weigh(form, scale(form, both=False))]
        order = min(method.order, method.error_order)
        end = f"k{method.stages}" if method.a[0] == (0.0,) else ""
        advance = controlled(model, stepper, form, Attempt(lines, order, begin, end=end, implicit=True))
    else:
        used |= {"larger", "sqrt", "power"}
        stages = _stages(method, linear, form, fresh=True)
        advance = Advance(step=[*fixed_time(form), *weigh(form, MEASURE), *stages, *FAILED, *new])
    advance.unpack += [*linear.unpack, *newton_unpack(form, not stepper.adaptive)]
    if form.scalar:  # the compiler does not see that a stage comes after those that it reads
        for stage in range(1, method.stages):
            advance.unpack += form.each(f"{{k{stage}}} = {form.number(0.0)}") if f"k{stage}" not in form.kept else []
    advance.functions = linear.functions()
    advance.prepare_outputs, advance.interpolate = _extension(method, form)
    return advance


def _stages(method: Diagonal, linear: Linear, form: Form, fresh: bool = False) -> list[str]:
    """The iteration is written once, in a loop over the stages; afterwards `{z0} + {z}` is the state at the last.

    At a stage with the known part z0 of its state, z = h γ k is solved for.
    """
    gamma = method.a[-1][-1]
    inverse = f"per_h * {form.number(1.0 / gamma)}"
    first = 2 if method.a[0] == (0.0,) else 1
    before, after = [], []
    for stage in range(first, method.stages + 1):
        known, guess = combination(form, method.a[stage - 1][:-1]), combination(form, _guess(method, stage))
        test = f"{'if' if stage == first else 'elif'} newton_stage == {stage}:"
        start = f"h * {form.number(gamma)} * ({guess})" if guess else form.number(0.0)
        before += [
            test,
            f"    newton_time = {stage_time(method.c[stage - 1])}",
            *indented(form.each(f"{{z0}} = {{base}}{f' + h * ({known})' if known else ''}", f"{{z}} = {start}")),
        ]
        after += [test, *indented(form.each(f"{{k{stage}}} = lin_d * {{z}}"))]
    return [
        f"per_h = {form.number(1.0)} / h",
        *(["unsolved = 0"] if fresh else [*linear.factor(inverse), "unsolved = singular"]),
        "newton_ratio = 1.0",
        f"newton_stage = {first}",
        f"while unsolved == 0 and newton_stage <= {method.stages}:",
        *indented(before),
        *indented(newton(form, linear, "newton_time", inverse if fresh else "")),
        *indented(after),
        "    newton_stage += 1",
    ]


def _guess(method: Diagonal, stage: int) -> tuple[float, ...]:
    """Weights of the slopes before a stage for the slope there: the polynomial through the last of them."""
    known = list(range(stage - 1))[-DEGREE - 1 :]
    weights = [0.0] * (stage - 1)
    for i in known:
        weights[i] = 1.0
        for j in known:
            if j != i:
                weights[i] *= (method.c[stage - 1] - method.c[j]) / (method.c[i] - method.c[j])
    return tuple(weights)


def _error(method: Diagonal, linear: Linear, form: Form) -> list[str]:
    """The error estimate, where the method wants it multiplied by (I − h γ J)⁻¹."""
    error = f"h * ({combination(form, method.error)})"
    if not method.filtered:
        return norm(form, "err", scale(form), f"part = {error} / scale")
    lines = [*form.each(f"{{dz}} = lin_d * ({error})"), *linear.solve("dz")]
    return lines + norm(form, "err", scale(form), "part = {dz} / scale")


def _inside(method: Diagonal, linear: Linear, form: Form) -> list[str]:
    values = tuple(sum(w * MIDDLE**p for p, w in enumerate(row, 1)) for row in method.extension)
    slopes = tuple(sum(p * w * MIDDLE ** (p - 1) for p, w in enumerate(row, 1)) for row in method.extension)
    return residual(linear, form, f"{{base}} + h * ({combination(form, values)})", combination(form, slopes))


def _extension(method: Diagonal, form: Form) -> tuple[list[str], list[str]]:
    """The continuous extension of the method."""
    rows, text = [], ""
    for power in range(len(method.extension[0]), 0, -1):
        weights = tuple(row[power - 1] for row in method.extension)
        rows.append(f"{{q{power}}} = h * ({combination(form, weights)})")
        text = f"theta * ({{q{power}}} + {text})" if text else f"theta * {{q{power}}}"
    return form.each(*rows), [inside(form.model, "dt"), *form.each(f"{{out}} = {{base}} + {text}")]
