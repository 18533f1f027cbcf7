"""Diagonally implicit Runge–Kutta methods: stage after stage, each by a simplified Newton iteration."""

from __future__ import annotations

from dynlib.compile.advance.control import Attempt, controlled, norm, scale
from dynlib.compile.advance.implicit import linear_of
from dynlib.compile.advance.parts import Advance, combination, fixed_time, hermite, indented, inside, stage_time
from dynlib.compile.forms import Form
from dynlib.compile.linear import Linear
from dynlib.spec.model import Model
from dynlib.steppers.dirk import Diagonal
from dynlib.steppers.registry import StepperSpec

KAPPA = 0.05
"""The error of a solved stage in units of the tolerance (HW II, IV.8: between 0.1 and 0.01)."""
TURNS = 10
"""Newton iterations at a stage, at most."""
LEAST = {False: 1e-13, True: 5e-5}
"""Relative tolerance below which the iteration is not asked to go, in double and in single precision."""
DEGREE = 2
"""Of the polynomial through the slopes of stages from which the slope at the next one is guessed."""


def dirk(model: Model, stepper: StepperSpec, method: Diagonal, form: Form, used: set[str]) -> Advance:
    """A method with error estimate and step-size control, or one with a fixed step.

    The Jacobian is that at the beginning of the step, whatever attempts are made at it. The slope at the end of the
    step follows from the equation of the last stage, which stiff problems do not amplify.
    """
    linear = linear_of(form, stepper, used)
    last = f"k{method.stages}"
    new = form.each("{new} = {z0} + {z}")
    if stepper.adaptive:
        lines = [*_stages(method, linear, form), "err = inf", "if unsolved == 0:", *indented(new)]
        lines += indented(_error(method, linear, form))
        begin = [*linear.evaluate("t", "base"), *_weights(form, scale(form, both=False))]
        order = min(method.order, method.error_order)
        explicit = last if method.a[0] == (0.0,) else ""
        advance = controlled(model, stepper, form, Attempt(lines, order, begin, end=explicit, implicit=True))
    else:
        used |= {"larger", "sqrt", "power"}
        measure = "scale = newton_atol + newton_rtol * abs({base})"
        begin = [*linear.evaluate("t", "base"), *_weights(form, measure), "unsolved = 0"]
        failed = ["if unsolved == 1:", "    status = NEWTON_FAILED", "    break"]
        config = [f"F(config[{k}])" if model.narrow else f"config[{k}]" for k in range(2)]
        advance = Advance(
            unpack=[f"newton_rtol = {config[0]}", f"newton_atol = {config[1]}"],
            step=[*fixed_time(form), *begin, *_stages(method, linear, form), *failed, *new],
        )
    advance.unpack += [*linear.unpack, "newton_before = np.float64(0.0)"]
    if form.scalar:  # the compiler does not see that a stage comes after those that it reads
        for stage in range(1, method.stages):
            advance.unpack += form.each(f"{{k{stage}}} = {form.number(0.0)}") if f"k{stage}" not in form.kept else []
    advance.functions = linear.functions()
    outputs = _extension(method, form) if method.dense else hermite(form, end=last)
    advance.prepare_outputs, advance.interpolate = outputs["prepare_outputs"], outputs["interpolate"]
    return advance


def _weights(form: Form, measure: str) -> list[str]:
    """What corrections are multiplied by, so that 1 is the size of those that do not matter."""
    least = form.number(LEAST[form.model.narrow])
    return form.each(
        f"{measure} + {least} * abs({{base}})",
        f"{{newton_weight}} = {form.number(1.0 / KAPPA)} / scale",
    )


def _stages(method: Diagonal, linear: Linear, form: Form) -> list[str]:
    """The iteration is written once, in a loop over the stages; afterwards `{z0} + {z}` is the state at the last.

    At a stage with the known part z0 of its state, z = h γ k is solved for. The errors that are left are estimated from
    the rate at which corrections shrink (HW II, IV.8), for a first correction from the rate at the stage before.
    """
    gamma = method.a[-1][-1]
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
    iteration = [
        *form.each("{mid} = {z0} + {z}"),
        form.rhs("end", "newton_time", "mid"),
        *form.each("{dz} = {end} - lin_d * {z}"),
        *linear.solve("dz"),
        *form.each("{z} = {z} + {dz}"),
        *norm(form, "newton_size", "part = {dz} * {newton_weight}"),
        "if newton_turn > 0:",
        "    newton_rate = newton_size / newton_before",
        "    if not newton_rate < 1.0:  # it grows",
        "        break",
        "    newton_ratio = newton_rate / (1.0 - newton_rate)",
        f"    if newton_ratio * newton_size * power(newton_rate, {TURNS - 1.0!r} - newton_turn) > 1.0:  # too slow",
        "        break",
        "if newton_ratio * newton_size <= 1.0:",
        "    unsolved = 0",
        "    break",
        "newton_before = newton_size",
    ]
    return [
        f"per_h = {form.number(1.0)} / h",
        *linear.factor(f"per_h * {form.number(1.0 / gamma)}"),
        "unsolved = singular",
        "newton_ratio = 1.0",
        f"newton_stage = {first}",
        f"while unsolved == 0 and newton_stage <= {method.stages}:",
        *indented(before),
        "    unsolved = 1",
        "    newton_ratio = power(newton_ratio, 0.8)",
        f"    for newton_turn in range({TURNS}):",
        *indented(indented(iteration)),
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


def _extension(method: Diagonal, form: Form) -> dict[str, list[str]]:
    """The continuous extension of the method."""
    rows, text = [], ""
    for power in range(len(method.dense[0]), 0, -1):
        weights = tuple(row[power - 1] for row in method.dense)
        rows.append(f"{{q{power}}} = h * ({combination(form, weights)})")
        text = f"theta * ({{q{power}}} + {text})" if text else f"theta * {{q{power}}}"
    return {
        "prepare_outputs": form.each(*rows),
        "interpolate": [inside(form.model, "dt"), *form.each(f"{{out}} = {{base}} + {text}")],
    }
