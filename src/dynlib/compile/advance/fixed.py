"""Methods with a fixed step: explicit Runge–Kutta, Adams–Bashforth, and the iteration of a map."""

from __future__ import annotations

from dynlib.compile.advance.parts import Advance, combination, fixed_time, hermite, indented, stage_time
from dynlib.compile.forms import Form
from dynlib.spec.model import Model
from dynlib.steppers.adams_bashforth import AdamsBashforth
from dynlib.steppers.explicit_rk import RK4, Tableau


def iteration(model: Model, form: Form) -> Advance:
    """A map: the next state is the right-hand side."""
    return Advance(step=[*fixed_time(form), form.rhs("new", "t", "base")], interpolate=form.each("{out} = {base}"))


def explicit(model: Model, tableau: Tableau, form: Form) -> Advance:
    """An explicit Runge–Kutta method."""
    lines = ["# stage 1", form.rhs("k1", "t", "base"), *stages(tableau, form), *_result(tableau, form)]
    return Advance(step=[*fixed_time(form), *lines], **hermite(form))


def stages(tableau: Tableau, form: Form) -> list[str]:
    """Stages 2 and on; the last stage of a first-same-as-last method is computed at `{new}`."""
    lines: list[str] = []
    for j in range(1, tableau.stages):
        same = tableau.first_same_as_last and j == tableau.stages - 1
        lines += stage(form, j + 1, tableau.c[j], tableau.a[j], "new" if same else "mid")
    return lines


def stage(form: Form, number: int, node: float, row: tuple[float, ...], at: str = "mid") -> list[str]:
    """The lines of one stage: the state where it lies, and the slope there."""
    return [
        f"# stage {number}",
        *form.each(f"{{{at}}} = {{base}} + h * ({combination(form, row)})"),
        form.rhs(f"k{number}", stage_time(node), at),
    ]


def _result(tableau: Tableau, form: Form) -> list[str]:
    return form.each(f"{{new}} = {{base}} + h * ({combination(form, tableau.b)})")


def adams_bashforth(model: Model, method: AdamsBashforth, form: Form) -> Advance:
    """An explicit multistep method, started by classical Runge–Kutta steps."""
    order = method.order
    first, *rest = method.weights
    terms = [f"{form.number(first)} * {{k1}}"]
    terms += [f"{'-' if w < 0 else '+'} {form.number(abs(w))} * {{f{j}}}" for j, w in enumerate(rest, 1)]
    shift = [f"{{f{j}}} = {{f{j - 1}}}" for j in range(order - 1, 1, -1)] + ["{f1} = {k1}"]
    start = [*stages(RK4, form), *_result(RK4, form)]
    return Advance(
        unpack=["history = counts[@history]"],
        step=[
            *fixed_time(form),
            form.rhs("k1", "t", "base"),
            f"if history >= {order - 1}{' and walled == 0' if form.walls else ''}:",
            *indented(form.each(f"{{new}} = {{base}} + h * ({' '.join(terms)})")),
            "else:  # too little history: one classical Runge–Kutta step",
            *indented(start),
        ],
        commit=[*form.each(*shift), f"history = min(history + 1, {order - 1})"],
        forget=["history = 0"],
        pack=["counts[@history] = history"],
        **hermite(form),
    )
