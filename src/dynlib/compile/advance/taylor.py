"""Taylor series of any order, with the coefficients from recurrences over the model's expressions."""

from __future__ import annotations

from dynlib.compile.advance.control import CUT_SHORT, attempts, options
from dynlib.compile.advance.parts import Advance, indented
from dynlib.compile.forms import Form
from dynlib.compile.series import Series
from dynlib.spec.model import Model
from dynlib.steppers.registry import StepperSpec


def taylor(model: Model, stepper: StepperSpec, form: Form, used: set[str]) -> Advance:
    """One step: coefficients, the largest step that they allow, the polynomial there, and a check of its slope.

    The last two terms are held at the tolerance (Jorba & Zou, Experimental Mathematics 14 (2005), 3.2, with any order).
    Two small coefficients do not prove that the rest is small: the slope of the polynomial at the end of the step must
    also be that of the equations (defect control: Enright, J. Comput. Appl. Math. 125 (2000) 159–170). The remainder
    is the defect times `h / (p + 1)`, since it grows with the power p + 1. What the check computes is the beginning of
    the next step.
    """
    order = stepper.order
    series = Series(form, order, used)
    used |= {"log2", "exp2"}
    own = bool(model.sim.tolerances)
    attempt = [
        *_powers(order),
        *form.each(f"{{new}} = fused(h, {_polynomial(form, order, slope=False)}, {{base}})"),
        "# slope there, by the equations and by the polynomial",
        *series.last,
        *_sum(form, "err", f"abs({{end}} - {_polynomial(form, order, slope=True)}) * {{weight}}"),
        f"err *= {1.0 / (order + 1)!r} * dt",
    ]
    step = [
        *series.held,
        "if known == 0:  # first coefficients, unless the step before has computed them",
        *indented(series.first),
        "    known = 1",
        *series.rest,
        "# step size",
        *form.each(
            f"{{weight}} = {form.number(1.0)} / ({'{atol_of} + {rtol_of}' if own else 'atol + rtol'} * abs({{base}}))"
        ),
        *_sum(form, "high", f"abs({{s{order}}}) * {{weight}}"),
        *_sum(form, "low", f"abs({{s{order - 1}}}) * {{weight}}"),
        f"size = safety * exp2(-larger({1 / order!r} * log2(high), {1 / (order - 1)!r} * log2(low)))",
        "if not size > 0.0:",
        "    status = NOT_FINITE",
        "    break",
        "if step == 0.0:  # the first step is at most the time in which the state changes by itself",
        *indented(_sum(form, "high", "abs({base}) * {weight}")),
        *indented(_sum(form, "low", "abs({s1}) * {weight}")),
        "    step = high / low if low > 0.0 else 0.0",
        "    if not 1e-6 < step < inf:",
        "        step = 1e-6",
        "step = smaller(size, step)",
        "err = 0.0",
        *attempts(form, attempt, ["trial = 0.5 * dt"], False),
    ]  # fmt: skip
    horner = f"{{s{order}}}"
    for k in range(order - 1, 0, -1):
        horner = f"fused(theta, {horner}, {{s{k}}})"
    return Advance(
        unpack=[
            *options(model, stepper, form, order),
            "step = times[@h]",
            "rejected = counts[@rejected]",
            "known = 0",
            *series.once,
        ],
        step=step,
        interpolate=[
            "theta = F(tau - t)" if model.narrow else "theta = tau - t",
            *form.each(f"{{out}} = fused(theta, {horner}, {{base}})"),
        ],
        commit=[
            f"step = dt if retried > 0 else {'larger(step, max_factor * dt)' if form.walls else 'max_factor * dt'}",
            "rejected += retried",
            *(["known = 0"] if model.rhs_uses_lags else series.kept),
        ],
        forget=["known = 0"],
        cut_short=CUT_SHORT,
        pack=["times[@h] = step", "counts[@rejected] = rejected"],
    )


def _sum(form: Form, name: str, term: str) -> list[str]:
    """The sum over all components, NaN if one is."""
    return [f"acc = {form.number(0.0)}", *form.each(f"acc += {term}"), f"{name} = np.float64(acc)"]


def _powers(order: int) -> list[str]:
    """`h2`, `h4`, `h8`, … up to the half of the order."""
    lines, k = [], 1
    while 2 * k < order:
        root = "h" if k == 1 else f"h{k}"
        lines.append(f"h{2 * k} = {root} * {root}")
        k *= 2
    return lines


def _polynomial(form: Form, order: int, *, slope: bool) -> str:
    """`Σ s_k h^(k-1)`, or with `slope` `Σ k s_k h^(k-1)`, as a tree of sums (Estrin's scheme)."""

    def part(first: int, count: int) -> str:
        if count == 1:
            return f"{form.number(float(first))} * {{s{first}}}" if slope and first > 1 else f"{{s{first}}}"
        half = 1
        while 2 * half < count:
            half *= 2
        power = "h" if half == 1 else f"h{half}"
        return f"fused({power}, {part(first + half, count - half)}, {part(first, half)})"

    return part(1, order)
