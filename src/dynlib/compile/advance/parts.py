"""What a stepper gives to the loop, and pieces that several families share."""

from __future__ import annotations

from msgspec import Struct, field

from dynlib.compile.forms import Form
from dynlib.compile.layout import TIME_TOLERANCE
from dynlib.spec.model import Model


class Advance(Struct):
    """The lines a stepper contributes to the skeleton.

    `step` computes `{new}` and `t_new` from `{base}`, `t` and `dt` without touching the state: what a step changes
    beyond that is said in `commit`, so that a step can be taken again from the same state and give the same bits.
    `prepare_outputs` runs once before `interpolate`, which computes `{out}` at `tau` inside the step and may not read
    `{new}` or `t_new`. `forget` says that the state or the parameters were changed from outside, `cut_short` that an
    event ended the step.
    """

    unpack: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)
    prepare_outputs: list[str] = field(default_factory=list)
    interpolate: list[str] = field(default_factory=list)
    commit: list[str] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    cut_short: list[str] = field(default_factory=list)
    pack: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)


def fixed_time(form: Form) -> list[str]:
    """The end of a step on the grid of equal steps."""
    lines = [f"t_new = anchor + (n + 1 - n_anchor) * {'nominal' if form.walls else 'dt'}"]
    if form.walls:
        lines += [
            "dt = nominal",
            "walled = 0",
            f"if t_new >= wall - {TIME_TOLERANCE} * abs(wall):",
            "    t_new = wall",
            "    dt = just_before(wall) - t",
            "    walled = 1",
        ]
    if form.model.kind != "map":
        lines.append("h = F(dt)" if form.model.narrow else "h = dt")
    return lines


def combination(form: Form, weights: tuple[float, ...], letter: str = "k") -> str:
    """`Σ weights[j] k_j`, without zeros; also with another letter."""
    terms = [(w, f"{{{letter}{j}}}") for j, w in enumerate(weights, 1) if w != 0.0]
    return " + ".join(v if w == 1.0 else f"{form.number(w)} * {v}" for w, v in terms)


def stage_time(node: float) -> str:
    """The time of a stage."""
    return "t" if node == 0.0 else "t + dt" if node == 1.0 else f"t + {node!r} * dt"


def indented(lines: list[str], depth: int = 1) -> list[str]:
    """The lines of a block, so many blocks deep."""
    return ["    " * depth + line for line in lines]


def inside(model: Model, span: str) -> str:
    """`theta`: where in the step `tau` lies."""
    return f"theta = F((tau - t) / {span})" if model.narrow else f"theta = (tau - t) / {span}"


def hermite(form: Form, start: str = "k1", end: str = "") -> dict[str, list[str]]:
    """Cubic Hermite interpolation (HNW I, II.6, eq. 6.7).

    `end` names the slope at the far end; without it that is computed, when it is needed.
    """
    one, two = form.number(1.0), form.number(2.0)
    last = end or "end"
    return {
        "prepare_outputs": [
            *([] if end else [form.rhs("end", form.end_time, "new")]),
            "span = t_new - t",
            *form.each("{delta} = {new} - {base}"),
        ],
        "interpolate": [
            inside(form.model, "span"),
            *form.each(
                f"{{out}} = {{base}} + theta * {{delta}} + theta * (theta - {one}) * "
                f"(({one} - {two} * theta) * {{delta}} + (theta - {one}) * h * {{{start}}} + theta * h * {{{last}}})",
            ),
        ],
    }
