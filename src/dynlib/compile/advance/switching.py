"""A stepper that changes between an explicit pair and a Rosenbrock method."""

from __future__ import annotations

from dynlib.compile.advance.control import Attempt, controlled, norm
from dynlib.compile.advance.embedded import explicit_attempt, explicit_extension
from dynlib.compile.advance.implicit import linear_of
from dynlib.compile.advance.parts import Advance, indented
from dynlib.compile.advance.rosenbrock import rosenbrock_attempt, rosenbrock_extension
from dynlib.compile.forms import Form
from dynlib.spec.model import Model
from dynlib.steppers.registry import StepperSpec
from dynlib.steppers.switching import Switching


def switching(model: Model, stepper: StepperSpec, method: Switching, form: Form, used: set[str]) -> Advance:
    """Both methods under one control. Which one is used, and the signs of a change, are part of the state."""
    linear = linear_of(form, stepper, used)
    explicit, implicit = explicit_attempt(method.explicit, form), rosenbrock_attempt(method.implicit, linear, form)
    last, before = method.explicit.end_slope, method.explicit.end_slope - 1
    attempt = Attempt(
        _either(explicit.lines, implicit.lines),
        min(explicit.order, implicit.order),
        begin=["if stiff != 0:", *indented(implicit.begin)] if implicit.begin else [],
        accepted=[
            "if stiff == 0:",
            *indented(norm(form, "d0", f"part = {{k{last}}} - {{k{before}}}")),
            *indented(norm(form, "d1", "part = {new} - {mid}")),
            f"    sign = dt * d0 > {method.bound!r} * d1",
            "else:",
            "    " + form.rhs(explicit.end, form.end_time, "new"),
            *indented(linear.magnitude("d0")),
            f"    sign = dt * d0 < {0.5 * method.bound!r}",
        ],
        end=explicit.end,
        implicit=True,
    )
    advance = controlled(model, stepper, form, attempt)
    advance.unpack += [*linear.unpack, "stiff = counts[@stiff]", "signs = counts[@signs]", "calm = counts[@calm]"]
    advance.commit += [
        "calm = 0 if sign else calm + 1",
        "if sign:",
        "    signs += 1",
        f"elif stiff != 0 or calm >= {method.calm}:",
        "    signs = 0",
        f"if signs >= {method.signs}:",
        "    stiff = 1 - stiff",
        "    signs = 0",
        "    calm = 0",
    ]
    advance.pack += ["counts[@stiff] = stiff", "counts[@signs] = signs", "counts[@calm] = calm"]
    one, other = explicit_extension(method.explicit, form), rosenbrock_extension(method.implicit, form)
    advance.prepare_outputs, advance.interpolate = _either(one[0], other[0]), _either(one[1], other[1])
    rows = [f"r{j}" for j in range(3, 4 + len(method.explicit.dense))]
    rows += [f"q{j}" for j in range(1, 1 + len(method.implicit.dense))]
    # each extension is prepared where it is used; the other one then has no values yet
    advance.unpack += form.each(*(f"{{{name}}} = {form.number(0.0)}" for name in ("delta", "bend", *rows)))
    advance.functions = linear.functions()
    return advance


def _either(explicit: list[str], implicit: list[str]) -> list[str]:
    return ["if stiff == 0:", *indented(explicit), "else:", *indented(implicit)]
