"""Methods for stochastic differential equations in the sense of Itô."""

from __future__ import annotations

from dynlib.compile.advance.parts import Advance, fixed_time, inside
from dynlib.compile.forms import Form
from dynlib.errors import ConfigError
from dynlib.spec.model import Model
from dynlib.steppers.registry import StepperSpec
from dynlib.steppers.stochastic import Stochastic


def stochastic(model: Model, stepper: StepperSpec, scheme: Stochastic, form: Form, used: set[str]) -> Advance:
    """Methods for Itô equations. The increments of a step are a function of (seed, stream, step), so that a pending
    step that is taken again is the same step. Between steps the state is read from the chord."""
    if model.noise_shared and not scheme.general:
        raise ConfigError(
            f"stepper {stepper.name!r} is for diagonal noise (each state with a process of its own); "
            "use euler_maruyama for processes that states share"
        )
    used |= {"randn", "sqrt"}
    narrow = model.narrow
    half, two, three, six = (form.number(v) for v in (0.5, 2.0, 3.0, 6.0))
    draw = "F(randn(seed, stream, n, {}))" if narrow else "randn(seed, stream, n, {})"
    n = model.n_states
    lines = [*fixed_time(form), "root = sqrt(h)", form.rhs("k1", "t", "base")]
    if model.noise_shared:
        lines += form.each("{new} = {base} + h * {k1}")
        for k in range(model.noise_shared):
            lines += [form.rhs("g1", "t", "base", k), f"z{k} = root * {draw.format(k)}"]
            lines += form.each(f"{{new}} = {{new}} + {{g1}} * z{k}")
    else:
        lines += [form.rhs("g1", "t", "base", 0), *form.each(f"{{dw}} = root * {draw.format('#')}")]
    if scheme.name == "euler_maruyama":
        if not model.noise_shared:
            lines += form.each("{new} = {base} + h * {k1} + {g1} * {dw}")
    elif scheme.name == "milstein":
        lines += form.each("{mid} = {base} + h * {k1} + {g1} * root")
        lines.append(form.rhs("g2", "t", "mid", 0))
        lines += form.each(
            "{new} = {base} + h * {k1} + {g1} * {dw} + "
            f"({{g2}} - {{g1}}) * ({{dw}} * {{dw}} - h) / ({two} * root)"
        )
    elif scheme.name == "sri":
        number = form.number
        lines += form.each(
            f"{{dz}} = root * {draw.format(f'{n} + #')}",  # the second of WIENER_SITES
            f"{{iz}} = {half} * ({{dw}} + {{dz}} / {number(3**0.5)})",  # I(1,0) / h
            f"{{mid}} = {{base}} + {number(0.75)} * h * {{k1}} + {number(1.5)} * {{g1}} * {{iz}}",
        )
        lines.append(form.rhs("k2", "t + 0.75 * dt", "mid"))
        lines += form.each(f"{{mid}} = {{base}} + {number(0.25)} * h * {{k1}} + {half} * root * {{g1}}")
        lines.append(form.rhs("g2", "t + 0.25 * dt", "mid", 0))
        lines += form.each("{mid} = {base} + h * {k1} - root * {g1}")
        lines.append(form.rhs("g3", "t + dt", "mid", 0))
        lines += form.each(
            f"{{mid}} = {{base}} + {number(0.25)} * h * {{k1}} + "
            f"root * ({three} * {{g2}} - {number(5.0)} * {{g1}} + {half} * {{g3}})"
        )
        lines.append(form.rhs("g4", "t + 0.25 * dt", "mid", 0))
        first, third = number(4 / 3), number(2 / 3)
        lines += form.each(
            f"{{z1}} = ({{dw}} * {{dw}} - h) / ({two} * root)",  # I(1,1) / √h
            f"{{z2}} = ({{dw}} * {{dw}} * {{dw}} - {three} * h * {{dw}}) / ({six} * h)",  # I(1,1,1) / h
            f"{{new}} = {{base}} + h * ({number(1 / 3)} * {{k1}} + {third} * {{k2}})"
            f" + (-{{dw}} - {{z1}} + {two} * {{iz}} - {two} * {{z2}}) * {{g1}}"
            f" + ({first} * ({{dw}} + {{z1}} - {{iz}}) + {number(5 / 3)} * {{z2}}) * {{g2}}"
            f" + ({third} * ({{dw}} - {half} * {{z1}} - {{iz}} - {{z2}})) * {{g3}}"
            f" + {{z2}} * {{g4}}",
        )
    else:
        raise ConfigError(f"no code for the stochastic scheme {scheme.name!r}")
    return Advance(
        step=lines,
        prepare_outputs=["span = t_new - t", *form.each("{delta} = {new} - {base}")],
        interpolate=[
            inside(model, "span"),
            *form.each("{out} = {base} + theta * {delta}"),
        ],
    )
