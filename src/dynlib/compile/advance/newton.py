"""The simplified Newton iteration of implicit methods: one factorization for all turns (HW II, IV.8)."""

from __future__ import annotations

from dynlib.compile.advance.control import norm
from dynlib.compile.advance.parts import indented
from dynlib.compile.forms import Form
from dynlib.compile.linear import Linear

KAPPA = 0.05
"""The error of a solution in units of the tolerance (HW II, IV.8: between 0.1 and 0.01)."""
TURNS = 10
"""Iterations for one system, at most."""
LEAST = {False: 1e-13, True: 5e-5}
"""Relative tolerance below which the iteration is not asked to go, in double and in single precision."""
MEASURE = "scale = newton_atol + newton_rtol * abs({base})"
"""What corrections are measured in where there is no tolerance of errors: in methods with a fixed step."""
FAILED = ["if unsolved == 1:", "    status = NEWTON_FAILED", "    break"]
"""A step of fixed size that has no solution."""


def newton_unpack(form: Form, fixed: bool) -> list[str]:
    """Lines before the loop; with the options of a method with a fixed step."""
    lines = ["newton_before = np.float64(0.0)"]
    if fixed:
        value = "F(config[{}])" if form.model.narrow else "config[{}]"
        lines += [f"newton_rtol = {value.format(0)}", f"newton_atol = {value.format(1)}"]
    return lines


def weigh(form: Form, measure: str) -> list[str]:
    """What corrections are multiplied by, so that 1 is the size of those that do not matter."""
    least = form.number(LEAST[form.model.narrow])
    return form.each(
        f"{measure} + {least} * abs({{base}})",
        f"{{newton_weight}} = {form.number(1.0 / KAPPA)} / scale",
    )


def newton(form: Form, linear: Linear, time: str, inverse: str = "") -> list[str]:
    """Solve `z = hγ f(time, z0 + z)` from the guess in `{z}`; `unsolved` ← 0 if that came to an end, else 1.

    Needs `{z0}`, `lin_d` = 1/(hγ) with its factors, the weights, and `newton_ratio`: 1, or as the system before left
    it. The errors that are left are estimated from the rate at which corrections shrink (HW II, IV.8), for a first
    correction from that of the system before. Slopes on the way are in `{end}`; the one at the solution is `lin_d z`.
    If `inverse` is given, 1/(hγ), Jacobian and factors are made anew in every turn: it is Newton's own iteration.
    """
    part = "part = {dz} * {newton_weight}"
    if form.model.narrow:  # a state that begins at 0 is known no better than rounding leaves its change
        one, least = form.number(1.0), form.number(KAPPA * LEAST[True])
        part = f"part = {{dz}} / ({one} / {{newton_weight}} + {least} * abs({{z}}))"
    fresh = (
        [*linear.evaluate(time, "mid"), *linear.factor(inverse), "if singular == 1:", "    break"] if inverse else []
    )
    return [
        "unsolved = 1",
        "newton_ratio = power(newton_ratio, 0.8)",
        f"for newton_turn in range({TURNS}):",
        *indented(
            [
                *form.each("{mid} = {z0} + {z}"),
                *fresh,
                form.rhs("end", time, "mid"),
                *form.each("{dz} = {end} - lin_d * {z}"),
                *linear.solve("dz"),
                *form.each("{z} = {z} + {dz}"),
                *norm(form, "newton_size", part),
                "if newton_turn > 0:",
                "    newton_rate = newton_size / newton_before",
                "    if not newton_rate < 1.0:  # it grows",
                "        break",
                "    newton_ratio = newton_rate / (1.0 - newton_rate)",
                f"    if newton_ratio * newton_size * power(newton_rate, {TURNS - 1.0!r} - newton_turn) > 1.0:",
                "        break  # too slow",
                "if newton_ratio * newton_size <= 1.0:",
                "    unsolved = 0",
                "    break",
                "newton_before = newton_size",
            ]
        ),
    ]
