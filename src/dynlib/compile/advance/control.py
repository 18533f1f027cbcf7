"""Step-size control: the loop of attempts that every adaptive one-step method shares.

The next step is `h · safety · err₀^(−β₁/k) · err₁^(−β₂/k) · err₂^(−β₃/k)` with the errors of this step and of the two
before it, measured in units of the tolerance, and `k` one more than the order of the error estimate. β₂ = β₃ = 0 is the
elementary controller, β₃ = 0 a PI controller (HNW II, IV.2), all three a PID controller (Söderlind, ACM Trans. Math.
Softw. 29 (2003) 1–26).
"""

from __future__ import annotations

from msgspec import Struct, field

from dynlib.compile.advance.parts import Advance, indented
from dynlib.compile.forms import Form
from dynlib.spec.model import Model
from dynlib.steppers.registry import StepperSpec

_WALL = (
    "walled = 0",
    "if t + 1.01 * dt >= wall:  # no step crosses a barrier, and none is left that is tiny",
    "    dt = just_before(wall) - t",
    "    t_new = wall",
    "    walled = 1",
)


CUT_SHORT = ["step = smaller(step, max_factor * (t_new - t))"]
"""After a step that an event ended, for methods that keep the next step: events may come ever faster."""


class Attempt(Struct):
    """One attempt at a step of size `dt` (`h` in the model's dtype), from `{base}` with the slope `{k1}`.

    `lines` compute `{new}` and `err`, in units of the tolerance; `err` infinite or NaN is a failed attempt. An implicit
    method sets `unsolved` to 1 where its equations had no solution. `order` is that of the error estimate. `begin`
    holds lines before the first attempt of a step, `{k1}` known. `end` names the slope at the end of the step if the
    attempt or `accepted` computes it; else the next step computes its own.
    """

    lines: list[str]
    order: int
    begin: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    end: str = ""
    implicit: bool = False


def scale(form: Form, both: bool = True) -> str:
    """What an error is measured in: `atol + rtol |y|`, at the beginning or with the larger end of the step."""
    size = "larger(abs({base}), abs({new}))" if both else "abs({base})"
    return (
        f"scale = {{atol_of}} + {{rtol_of}} * {size}" if form.model.sim.tolerances else f"scale = atol + rtol * {size}"
    )


def norm(form: Form, name: str, *formulas: str) -> list[str]:
    """The root mean square of `part` over all components."""
    zero, count = form.number(0.0), form.number(float(form.model.n_states))
    return [
        f"acc = {zero}",
        *form.each(*formulas, "acc += part * part"),
        f"{name} = np.float64(sqrt(acc / {count}))",
    ]


def options(model: Model, stepper: StepperSpec, form: Form, order: int) -> list[str]:
    """The options of the stepper as local names, and the tolerances of states that have their own."""
    lines = []
    for k, name in enumerate(stepper.option_names):
        value = f"config[{k}]"
        if name in ("rtol", "atol") and model.narrow:
            value = f"F({value})"
        if name in ("beta1", "beta2", "beta3"):
            value = f"{value} / {float(order + 1)!r}"
        lines.append(f"{name} = {value}")
    if model.sim.tolerances:
        lines += form.each("{atol_of} = atol", "{rtol_of} = rtol")
        for kind, state, tolerance in model.sim.tolerances:
            lines += form.put(f"{kind}_of", state, form.number(tolerance))
    return lines


def first_step(form: Form, order: int) -> list[str]:
    """HNW I, II.4, "starting step size"; needs `{k1}`."""
    step_at = "F(h0)" if form.model.narrow else "h0"
    measure = scale(form, both=False)
    return [
        *norm(form, "d0", measure, "part = {base} / scale"),
        *norm(form, "d1", measure, "part = {k1} / scale"),
        "h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * (d0 / d1)",
        *form.each(f"{{mid}} = {{base}} + {step_at} * {{k1}}"),
        form.rhs("k2", "t + h0", "mid"),
        *norm(form, "d2", measure, "part = ({k2} - {k1}) / scale"),
        "d2 = larger(d1, d2 / h0)",
        f"step = larger(1e-6, h0 * 1e-3) if d2 <= 1e-15 else power(0.01 / d2, {1.0 / (order + 1)!r})",
        "step = smaller(100.0 * h0, step)",
        "if not step < inf:",
        "    step = 1e-6",
    ]


def attempts(form: Form, lines: list[str], shrink: list[str], solving: bool) -> list[str]:
    """The loop of attempts, from `step` to one that is accepted or a failure; `shrink` sets `trial` after an error."""
    model = form.model
    return [
        "trial = smaller(step, max_step)",
        "retried = 0",
        "while True:  # attempts",
        "    dt = trial",
        "    t_new = t + dt",
        *(["    " + line for line in _WALL] if form.walls else []),
        "    if not dt > 2.3e-16 * abs(t) or dt < min_step:",
        "        status = STEP_TOO_SMALL",
        "        break",
        f"    h = {'F(dt)' if model.narrow else 'dt'}",
        *(["    unsolved = 0"] if solving else []),
        *indented(lines),
        "    if err <= 1.0:",
        "        break",
        "    retried += 1",
        "    if err < inf:",
        *("        " + line for line in shrink),
        "    else:",
        f"        trial = {'(0.25 if unsolved == 1 else 0.1)' if solving else '0.1'} * dt",
        "if status != 0:",
        "    if retried > 0 and not err < inf:",
        f"        status = {'NEWTON_FAILED if unsolved == 1 else NOT_FINITE' if solving else 'NOT_FINITE'}",
        "    break",
    ]


def controlled(model: Model, stepper: StepperSpec, form: Form, attempt: Attempt) -> Advance:
    """A method with its control: everything but the outputs inside a step."""
    solving = attempt.implicit
    shrink = ["trial = dt / smaller(1.0 / min_factor, power(err, beta1) / safety)"]
    step = [
        "if k1_valid == 0:",
        "    " + form.rhs("k1", "t", "base"),
        "    k1_valid = 1",
        "if step == 0.0:  # choose the first step",
        *indented(first_step(form, attempt.order)),
        "err = inf",
        *attempt.begin,
        *attempts(form, attempt.lines, shrink, solving),
        *attempt.accepted,
    ]
    keep = [*form.each(f"{{k1}} = {{{attempt.end}}}")] if attempt.end else []
    return Advance(
        unpack=[
            *options(model, stepper, form, attempt.order),
            "step = times[@h]",
            "error_before = times[@error_before]",
            "error_earlier = times[@error_earlier]",
            "k1_valid = counts[@k1_valid]",
            "rejected = counts[@rejected]",
            *(["unsolved = 0"] if solving else []),
        ],
        step=step,
        commit=[
            "factor = power(err, beta1) * power(error_before, beta2) / safety",
            "if beta3 != 0.0:",
            "    factor *= power(error_earlier, beta3)",
            "factor = larger(1.0 / max_factor, smaller(1.0 / min_factor, factor))",
            *(
                ["step = larger(step, dt / factor) if walled == 1 and retried == 0 else dt / factor"]
                if form.walls
                else ["step = dt / factor"]
            ),
            "if retried > 0:",
            "    step = smaller(step, dt)",
            "rejected += retried",
            "error_earlier = error_before",
            "error_before = larger(err, 1e-4)",
            *keep,
            f"k1_valid = {1 if attempt.end and not model.rhs_uses_lags else 0}",
        ],
        forget=["k1_valid = 0"],
        cut_short=CUT_SHORT,
        pack=[
            "times[@h] = step",
            "times[@error_before] = error_before",
            "times[@error_earlier] = error_earlier",
            "counts[@k1_valid] = k1_valid",
            "counts[@rejected] = rejected",
        ],
    )
