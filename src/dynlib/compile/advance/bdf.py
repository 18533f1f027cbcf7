"""Backward differentiation: order 2 with fixed and with adaptive steps, and orders 1 to 5 with quasi-constant steps."""

from __future__ import annotations

from dynlib.compile.advance.control import CUT_SHORT, Attempt, attempts, controlled, first_step, norm, options, scale
from dynlib.compile.advance.implicit import linear_of
from dynlib.compile.advance.newton import FAILED, MEASURE, newton, newton_unpack, weigh
from dynlib.compile.advance.parts import Advance, fixed_time, indented, inside
from dynlib.compile.forms import Form
from dynlib.spec.model import Model
from dynlib.steppers.bdf import Differences
from dynlib.steppers.dirk import SDIRK2
from dynlib.steppers.registry import StepperSpec


def _parabola(form: Form) -> dict[str, list[str]]:
    """The parabola through both ends of the step with the slope of the formula at the end.

    For the formula of order 2 this is the one through the value before the step too.
    """
    return {
        "prepare_outputs": form.each("{delta} = {new} - {base}", "{bend} = h * lin_d * {z} - {delta}"),
        "interpolate": [
            inside(form.model, "dt"),
            *form.each(f"{{out}} = {{base}} + theta * ({{delta}} + (theta - {form.number(1.0)}) * {{bend}})"),
        ],
    }


def bdf2(model: Model, stepper: StepperSpec, form: Form, used: set[str]) -> Advance:
    """Equal steps; begun with a step of SDIRK2, whose two stages are equations of the same kind.

    The Jacobian is that at the guess for the end of the step.
    """
    used |= {"larger", "sqrt", "power"}
    linear = linear_of(form, stepper, used)
    number = form.number
    gamma = SDIRK2.a[0][0]
    third = number(1.0 / 3.0)
    again = [f"{{z1}} = {number((1.0 - gamma) / gamma)} * {{z}}", "{z0} = {base} + {z1}"]
    return Advance(
        unpack=["history = counts[@history]", *newton_unpack(form, fixed=True), *linear.unpack],
        step=[
            *fixed_time(form),
            f"stages = 1 if history == 1{' and walled == 0' if form.walls else ''} else 2",
            "if stages == 1:",
            f"    inverse = {number(1.5)} / h",
            *indented(
                form.each(
                    f"{{z1}} = {third} * ({{base}} - {{past1}})", "{z0} = {base} + {z1}", "{z} = {z1} + {z1}",
                    "{mid} = {z0} + {z}",
                )
            ),
            "else:  # no history",
            f"    inverse = {number(1.0 / gamma)} / h",
            *indented(form.each("{z0} = {base}", f"{{z}} = {number(0.0)}", "{mid} = {base}")),
            *linear.evaluate(form.end_time, "mid"),
            *linear.factor("inverse"),
            *weigh(form, MEASURE),
            "unsolved = singular",
            "newton_ratio = 1.0",
            "for stage in range(stages):",
            "    if unsolved == 0:",
            f"        node = {form.end_time} if stage + 1 == stages else t + {gamma!r} * dt",
            *indented(indented(newton(form, linear, "node"))),
            "    if unsolved == 0 and stage + 1 < stages:  # the slope stays the same, as a guess",
            *indented(indented(form.each(*again))),
            *FAILED,
            *form.each("{new} = {z0} + {z}"),
        ],
        commit=[*form.each("{past1} = {base}"), "history = 1"],
        forget=["history = 0"],
        pack=["counts[@history] = history"],
        functions=linear.functions(),
        **_parabola(form),
    )  # fmt: skip


def bdf2_adaptive(model: Model, stepper: StepperSpec, form: Form, used: set[str]) -> Advance:
    """Steps of any size; begun with a step of order 1, whose smaller order the error estimate sees.

    The guess is the parabola through the last three values, and its distance from the solution gives the error
    (Skelboe, BIT 17 (1977) 91–107). A step is at most 2.4 times the one before it: the formula is stable up to 1 + √2.
    The Jacobian is that at the guess.
    """
    linear = linear_of(form, stepper, used)
    cast = "F({})" if model.narrow else "{}"
    zero = form.number(0.0)

    def coefficients(**values: str) -> list[str]:
        return [f"    {name} = {cast.format(value) if value != zero else zero}" for name, value in values.items()]

    lines = [
        "if history == 0:",
        "    share = 0.5",
        *coefficients(inverse="1.0 / dt", ahead0="dt", ahead1=zero, ahead2=zero, back=zero),
        "else:",
        "    ratio = dt / h1",
        "    beta = (1.0 + ratio) / (1.0 + 2.0 * ratio)",
        "    curved = 0.0",
        "    bent = 0.0",
        "    share = ratio / (1.0 + ratio)  # as if of order 1",
        "    if history == 2:",
        "        curved = dt * (dt + h1) / ((h1 + h2) * h1)",
        "        bent = dt * (dt + h1) / ((h1 + h2) * h2)",
        "        share = beta * dt / (dt + h1 + h2 + beta * dt)",
        *coefficients(
            inverse="1.0 / (beta * dt)", ahead0=zero, ahead1="ratio * beta + curved", ahead2="bent",
            back="ratio * ratio / (1.0 + 2.0 * ratio)",
        ),
        *form.each(
            "{delta} = {base} - {past1}",
            "{z0} = {base} + back * {delta}",
            "{z1} = ahead0 * {k1} + ahead1 * {delta} - ahead2 * ({past1} - {past2})",
            "{z} = {z1}",
            "{mid} = {z0} + {z}",
        ),
        *linear.evaluate(form.end_time, "mid"),
        *linear.factor("inverse"),
        "unsolved = singular",
        "err = inf",
        "newton_ratio = 1.0",
        "if unsolved == 0:",
        *indented(newton(form, linear, form.end_time)),
        "if unsolved == 0:",
        *indented(form.each("{new} = {z0} + {z}")),
        *indented(norm(form, "err", scale(form), "part = ({z} - {z1}) / scale")),
        "    err = share * err",
    ]  # fmt: skip
    attempt = Attempt(
        lines,
        order=2,
        begin=["if history > 0:", "    step = smaller(step, 2.4 * h1)", *weigh(form, scale(form, both=False))],
        accepted=form.each("{k2} = lin_d * {z}"),
        end="k2",
        implicit=True,
    )
    advance = controlled(model, stepper, form, attempt)
    advance.unpack += [
        "history = min(max(counts[@history], 0), 2)",
        "h1 = times[@h1]",
        "h2 = times[@h2]",
        *newton_unpack(form, fixed=False),
        *linear.unpack,
    ]
    advance.commit += [*form.each("{past2} = {past1}", "{past1} = {base}"), "h2 = h1", "h1 = dt"]
    advance.commit.append("history = min(history + 1, 2)")
    advance.forget.append("history = 0")
    advance.pack += ["counts[@history] = history", "times[@h1] = h1", "times[@h2] = h2"]
    advance.functions = linear.functions()
    parabola = _parabola(form)
    advance.prepare_outputs, advance.interpolate = parabola["prepare_outputs"], parabola["interpolate"]
    return advance


def bdf(model: Model, stepper: StepperSpec, formulas: Differences, form: Form, used: set[str]) -> Advance:
    """Orders 1 to 5 with steps that stay equal for a while, in backward differences (Shampine & Reichelt 1997).

    The table of differences is that of steps of the size `spacing`. A step of another size begins by rescaling a copy,
    so that a step that is tried again starts from the same numbers. Size and order change where the errors of the
    orders around the present one say so, after as many equal steps as these need. Order 0 is no history: the first
    difference is then the slope at the beginning. The Jacobian is that at the guess.
    """
    used |= {"rescaled"}
    linear = linear_of(form, stepper, used)
    n, orders, dtype = model.n_states, formulas.orders, "np.float32" if model.narrow else "np.float64"
    whole = "F({})" if model.narrow else "({})"
    table = form.layout["differences"].span
    zero, one = form.number(0.0), form.number(1.0)
    lines = [
        "if order == 0:",
        *indented(form.each("work[0, #] = h * {k1}")),
        "else:",
        "    rescaled(differences, work, level, dt / spacing, weights)",
        *form.each("{mid} = {base}", f"{{z1}} = {zero}"),
        "for j_ in range(level):",
        *indented(form.each("{mid} += work[j_, #]", "{z1} += gammas[j_] * work[j_, #]")),
        f"share = {one} / alphas[level]",
        *form.each("{z1} = {z1} * share", "{z} = {z1}", "{z0} = {mid} - {z1}"),
        *linear.evaluate(form.end_time, "mid"),
        *linear.factor("alphas[level] / h"),
        "unsolved = singular",
        "err = inf",
        "newton_ratio = 1.0",
        "if unsolved == 0:",
        *indented(newton(form, linear, form.end_time)),
        "if unsolved == 0:",
        *indented(form.each("{new} = {z0} + {z}", "{z1} = {z} - {z1}", scale(form), f"{{weight}} = {one} / scale")),
        *indented(norm(form, "err", "part = {z1} * {weight}")),
        "    err = shares[level] * err",
    ]
    shrink = [
        "most = 1000.0 if order == 0 else 1.0 / min_factor  # a step of high order may have been before",
        "same = smaller(most, power(err, 1.0 / (level + 1)) / safety)",
        "if retried == 1 and level > 1:",
        *indented(norm(form, "err_low", "part = (work[level - 1, #] + {z1}) * {weight}")),
        "    down = power(shares[level - 1] * err_low, 1.0 / level) / safety",
        "    if down < same:",
        "        level -= 1",
        "        same = larger(1.0, down)",
        "trial = dt / same",
    ]
    return Advance(
        unpack=[
            *options(model, stepper, form, orders),
            "step = times[@h]",
            "spacing = times[@spacing]",
            f"order = min(max(counts[@order], 0), {orders})",
            "equal = counts[@equal]",
            "rejected = counts[@rejected]",
            "unsolved = 0",
            f"differences = reals[{table.start}:{table.stop}].reshape(({orders + 2}, {n}))",
            f"work = np.zeros(({orders + 2}, {n}), {dtype})",
            f"weights = np.zeros(({orders}, {orders}))",
            f"gammas = np.array({list(formulas.gammas[1:])}, {dtype})",
            f"alphas = np.array({list(formulas.alphas)}, {dtype})",
            f"shares = np.array({list(formulas.shares)})",
            *newton_unpack(form, fixed=False),
            *linear.unpack,
        ],
        step=[
            "if order == 0:",
            "    " + form.rhs("k1", "t", "base"),
            "    if step == 0.0:  # choose the first step",
            *indented(indented(first_step(form, 1))),
            *weigh(form, scale(form, both=False)),
            "level = max(order, 1)",
            "err = inf",
            *attempts(form, lines, shrink, solving=True),
            "# differences at the end of the step",
            *form.each("work[level + 1, #] = {z1} - work[level, #]", "work[level, #] = {z1}"),
            "for j_ in range(level - 1, -1, -1):",
            *indented(form.each("work[j_, #] += work[j_ + 1, #]")),
        ],
        prepare_outputs=form.each("{far} = {new}"),
        interpolate=[
            inside(model, "dt"),
            f"along = {one}",
            *form.each("{out} = {far}"),
            "for j_ in range(level):",
            f"    along = along * (theta + {whole.format('j_ - 1')}) / {whole.format('j_ + 1')}",
            *indented(form.each("{out} += along * work[j_, #]")),
        ],
        commit=[
            "equal = equal + 1 if dt == spacing and level == order else 1",
            "spacing = dt",
            "order = level",
            "rejected += retried",
            "for j_ in range(level + 2):",
            *indented(form.each("differences[j_, #] = work[j_, #]")),
            *(["planned = step"] if form.walls else []),
            "step = dt",
            "if equal > level:  # the differences that the errors of other orders need are those of equal steps",
            "    same = power(larger(err, 1e-10), 1.0 / (level + 1)) / safety",
            "    if level > 1:",
            *indented(indented(norm(form, "err_low", "part = work[level - 1, #] * {weight}"))),
            "        down = 1.08 * power(larger(shares[level - 1] * err_low, 1e-10), 1.0 / level) / safety",
            "        if down < same:",
            "            same = down",
            "            order = level - 1",
            f"    if level < {orders}:",
            *indented(indented(norm(form, "err_high", "part = work[level + 1, #] * {weight}"))),
            "        up = 1.16 * power(larger(shares[level + 1] * err_high, 1e-10), 1.0 / (level + 2)) / safety",
            "        if up < same:",
            "            same = up",
            "            order = level + 1",
            "    same = larger(1.0 / max_factor, smaller(1.0 / min_factor, same))",
            "    if same < 0.9 or order < level:",
            "        step = dt / same",
            "        equal = 0",
            "    else:",
            "        order = level",
            *(["if walled == 1 and retried == 0:", "    step = larger(step, planned)"] if form.walls else []),
        ],
        forget=["order = 0", "equal = 0"],
        cut_short=CUT_SHORT,
        pack=[
            "times[@h] = step",
            "times[@spacing] = spacing",
            "counts[@order] = order",
            "counts[@equal] = equal",
            "counts[@rejected] = rejected",
        ],
        functions=linear.functions(),
    )
