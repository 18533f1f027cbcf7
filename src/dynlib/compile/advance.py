"""The advance fragments: one per family of methods, written once for every form of vectors.

Each fragment computes `{new}` and `t_new` from `{base}`, `t` and `dt` without touching the state: what a step changes
beyond that is said in `commit`, so that a step can be taken again from the same state and give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dynlib.compile.forms import Form
from dynlib.errors import ConfigError
from dynlib.spec.model import Model
from dynlib.steppers.adams_bashforth import AdamsBashforth
from dynlib.steppers.explicit_rk import RK4, Tableau
from dynlib.steppers.registry import StepperSpec
from dynlib.steppers.stochastic import Stochastic


@dataclass
class Advance:
    """The lines a stepper contributes to the skeleton."""

    unpack: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)
    prepare_outputs: list[str] = field(default_factory=list)
    interpolate: list[str] = field(default_factory=list)
    commit: list[str] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    pack: list[str] = field(default_factory=list)


def kept_vectors(stepper: StepperSpec) -> dict[str, str]:
    """Vectors of the stepper that live in the state: vector name → field."""
    if stepper.family == "adams_bashforth":
        return {f"f{j}": f"f{j}" for j in range(1, stepper.order)}
    return {"k1": "k1"} if stepper.adaptive else {}


def advance_of(model: Model, stepper: StepperSpec, form: Form, used: set[str]) -> Advance:
    """The fragment of a stepper for one model."""
    match stepper.method:
        case Tableau() as tableau if stepper.adaptive:
            return _embedded(model, stepper, tableau, form)
        case Tableau() as tableau:
            lines = ["# stage 1", form.rhs("k1", "t", "base"), *_stages(tableau, form), *_result(tableau, form)]
            return Advance(step=[*_fixed_time(model), *lines], **_hermite(form))
        case AdamsBashforth() as method:
            return _adams_bashforth(model, method, form)
        case Stochastic() as scheme:
            return _stochastic(model, stepper, scheme, form, used)
    if stepper.family != "iteration":
        raise ConfigError(f"no code for stepper family {stepper.family!r}")
    return Advance(step=[*_fixed_time(model), form.rhs("new", "t", "base")], interpolate=form.each("{out} = {base}"))


def _fixed_time(model: Model) -> list[str]:
    lines = ["t_new = anchor + (n + 1 - n_anchor) * dt"]
    if model.kind != "map":
        lines.append("h = F(dt)" if model.narrow else "h = dt")
    return lines


def _combination(form: Form, weights: tuple[float, ...]) -> str:
    terms = [(w, f"{{k{j}}}") for j, w in enumerate(weights, 1) if w != 0.0]
    return " + ".join(v if w == 1.0 else f"{form.number(w)} * {v}" for w, v in terms)


def _stages(tableau: Tableau, form: Form) -> list[str]:
    """Stages 2 and on; the last stage of a first-same-as-last method is computed at `{new}`."""
    lines: list[str] = []
    for j in range(1, tableau.stages):
        same = tableau.first_same_as_last and j == tableau.stages - 1
        at = "new" if same else "mid"
        lines.append(f"# stage {j + 1}")
        lines += form.each(f"{{{at}}} = {{base}} + h * ({_combination(form, tableau.a[j])})")
        node = tableau.c[j]
        time = "t" if node == 0.0 else "t + dt" if node == 1.0 else f"t + {node!r} * dt"
        lines.append(form.rhs(f"k{j + 1}", time, at))
    return lines


def _result(tableau: Tableau, form: Form) -> list[str]:
    return form.each(f"{{new}} = {{base}} + h * ({_combination(form, tableau.b)})")


def _hermite(form: Form) -> dict[str, list[str]]:
    """Cubic Hermite interpolation (HNW I, II.6, eq. 6.7); the slope at the far end is computed only when needed."""
    one, two = form.number(1.0), form.number(2.0)
    narrow = form.model.narrow
    return {
        "prepare_outputs": [form.rhs("end", "t_new", "new")],
        "interpolate": [
            "theta = F((tau - t) / (t_new - t))" if narrow else "theta = (tau - t) / (t_new - t)",
            *form.each(
                "{delta} = {new} - {base}",
                f"{{out}} = {{base}} + theta * {{delta}} + theta * (theta - {one}) * "
                f"(({one} - {two} * theta) * {{delta}} + (theta - {one}) * h * {{k1}} + theta * h * {{end}})",
            ),
        ],
    }


def _adams_bashforth(model: Model, method: AdamsBashforth, form: Form) -> Advance:
    order = method.order
    first, *rest = method.weights
    terms = [f"{form.number(first)} * {{k1}}"]
    terms += [f"{'-' if w < 0 else '+'} {form.number(abs(w))} * {{f{j}}}" for j, w in enumerate(rest, 1)]
    shift = [f"{{f{j}}} = {{f{j - 1}}}" for j in range(order - 1, 1, -1)] + ["{f1} = {k1}"]
    start = [*_stages(RK4, form), *_result(RK4, form)]
    return Advance(
        unpack=["history = counts[@history]"],
        step=[
            *_fixed_time(model),
            form.rhs("k1", "t", "base"),
            f"if history >= {order - 1}:",
            *("    " + line for line in form.each(f"{{new}} = {{base}} + h * ({' '.join(terms)})")),
            "else:  # too little history: one classical Runge–Kutta step",
            *("    " + line for line in start),
        ],
        commit=[*form.each(*shift), f"history = min(history + 1, {order - 1})"],
        forget=["history = 0"],
        pack=["counts[@history] = history"],
        **_hermite(form),
    )


def _stochastic(model: Model, stepper: StepperSpec, scheme: Stochastic, form: Form, used: set[str]) -> Advance:
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
    lines = [*_fixed_time(model), "root = sqrt(h)", form.rhs("k1", "t", "base")]
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
        interpolate=[
            "theta = F((tau - t) / (t_new - t))" if narrow else "theta = (tau - t) / (t_new - t)",
            *form.each("{out} = {base} + theta * ({new} - {base})"),
        ],
    )


def _embedded(model: Model, stepper: StepperSpec, tableau: Tableau, form: Form) -> Advance:
    """An embedded pair with first-same-as-last and PI control (HNW I, II.4, and their code DOPRI5)."""
    n, last = model.n_states, tableau.stages
    zero, one = form.number(0.0), form.number(1.0)
    narrow = model.narrow
    step_at = "F(h0)" if narrow else "h0"
    tolerances = ("rtol", "atol") if narrow else ()
    unpack = [
        f"{name} = {f'F(config[{k}])' if name in tolerances else f'config[{k}]'}"
        for k, name in enumerate(stepper.option_names)
    ]
    unpack += [
        "step = times[@h]",
        "error_before = times[@error_before]",
        "k1_valid = counts[@k1_valid]",
        "rejected = counts[@rejected]",
    ]

    def norm(name: str, *formulas: str) -> list[str]:
        return ["acc = " + zero, *form.each(*formulas), f"{name} = np.float64(sqrt(acc / {form.number(float(n))}))"]

    initial = [  # HNW I, II.4, "starting step size"
        *norm("d0", "scale = atol + rtol * abs({base})", "part = {base} / scale", "acc += part * part"),
        *norm("d1", "scale = atol + rtol * abs({base})", "part = {k1} / scale", "acc += part * part"),
        "h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * (d0 / d1)",
        *form.each(f"{{mid}} = {{base}} + {step_at} * {{k1}}"),
        form.rhs("k2", "t + h0", "mid"),
        *norm("d2", "scale = atol + rtol * abs({base})", "part = ({k2} - {k1}) / scale", "acc += part * part"),
        "d2 = larger(d1, d2 / h0)",
        "step = larger(1e-6, h0 * 1e-3) if d2 <= 1e-15 else power(0.01 / d2, 0.2)",
        "step = smaller(100.0 * h0, step)",
        "if not step < inf:",
        "    step = 1e-6",
    ]
    attempt = [
        "trial = smaller(step, max_step)",
        "retried = 0",
        "while True:  # attempts",
        "    dt = trial",
        "    t_new = t + dt",
        "    if not dt > 2.3e-16 * abs(t):",
        "        status = STEP_TOO_SMALL",
        "        break",
        f"    h = {'F(dt)' if narrow else 'dt'}",
        *("    " + line for line in _stages(tableau, form)),
        *("    " + line for line in norm(
            "err",
            "scale = atol + rtol * larger(abs({base}), abs({new}))",
            f"part = h * ({_combination(form, tableau.error)}) / scale",
            "acc += part * part",
        )),
        "    if err <= 1.0:",
        "        break",
        "    retried += 1",
        "    if err < inf:",
        "        trial = dt / smaller(1.0 / min_factor, power(err, 0.17) / safety)",
        "    else:",
        "        trial = 0.1 * dt",
        "if status != 0:",
        "    if not err < inf:",
        "        status = NOT_FINITE",
        "    break",
    ]  # fmt: skip
    return Advance(
        unpack=unpack,
        step=[
            "if k1_valid == 0:",
            "    " + form.rhs("k1", "t", "base"),
            "    k1_valid = 1",
            "if step == 0.0:  # choose the first step",
            *("    " + line for line in initial),
            "err = inf",
            *attempt,
        ],
        prepare_outputs=form.each(
            "{delta} = {new} - {base}",
            "{bend} = h * {k1} - {delta}",
            f"{{r4}} = {{delta}} - h * {{k{last}}} - {{bend}}",
            f"{{r5}} = h * ({_combination(form, tableau.dense)})",
        ),
        interpolate=[
            "theta = F((tau - t) / dt)" if narrow else "theta = (tau - t) / dt",
            *form.each(
                f"{{out}} = {{base}} + theta * ({{delta}} + ({one} - theta) * "
                f"({{bend}} + theta * ({{r4}} + ({one} - theta) * {{r5}})))"
            ),
        ],
        commit=[
            "factor = power(err, 0.17) / power(error_before, 0.04) / safety",
            "factor = larger(1.0 / max_factor, smaller(1.0 / min_factor, factor))",
            "step = dt / factor",
            "if retried > 0:",
            "    step = smaller(step, dt)",
            "rejected += retried",
            "error_before = larger(err, 1e-4)",
            *form.each(f"{{k1}} = {{k{last}}}"),
            f"k1_valid = {0 if model.rhs_uses_lags else 1}",
        ],
        forget=["k1_valid = 0"],
        pack=[
            "times[@h] = step",
            "times[@error_before] = error_before",
            "counts[@k1_valid] = k1_valid",
            "counts[@rejected] = rejected",
        ],
    )
