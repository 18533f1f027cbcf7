"""Symplectic compositions of kicks and drifts, for separable Hamiltonian systems."""

from __future__ import annotations

from dynlib.compile.advance.parts import Advance, fixed_time, indented
from dynlib.compile.forms import Form
from dynlib.compile.writer import needs_of
from dynlib.errors import ConfigError
from dynlib.spec.expressions import Item, Name
from dynlib.spec.model import Equation, Model, walk_through
from dynlib.steppers.composition import Composition
from dynlib.steppers.registry import StepperSpec


def symplectic(model: Model, stepper: StepperSpec, method: Composition, form: Form, used: set[str]) -> Advance:
    """A composition method. The force at the end of a step is that of the first kick of the next one.

    Inside a step the state is that of the method itself over a part of the step, so it has the order of the method.
    """
    positions, momenta = halves(model, stepper.name)
    functions: list[str] = []
    if form.walls:  # the clock runs beyond the ends of a step, but never across a barrier
        used |= {"smaller", "larger", "last_barrier"}

    def system(name: str, what: str, states: frozenset[str]) -> None:
        chosen = tuple(e for e in model.equations if e.target in states)
        needs = needs_of(model, [e.expr for e in chosen])
        functions.extend(form.system(name, what, chosen, [], needs, used))

    system("drift", "Rates of the positions.", positions)
    system("kick", "Forces: rates of the momenta.", momenta)

    def slopes(name: str, out: str, time: str, at: str, states: frozenset[str]) -> str:
        needs = needs_of(model, [e.expr for e in model.equations if e.target in states])
        return form.evaluation(name, needs, out, time, at)

    def sequence(target: str, dt: str, h: str, force: str) -> list[str]:
        """All kicks and drifts over a time; `force` names the vector of forces at its beginning and end."""
        return [
            *form.each(f"{{{target}}} = {{base}}"),
            "clock = t",
            f"for turn in range({method.stages}):",
            *indented(form.each(f"{{{target}}} += kicks[turn] * {h} * {{{force}}}", only=momenta)),
            "    " + slopes("drift", "g1", "clock", target, positions),
            *indented(form.each(f"{{{target}}} += drifts[turn] * {h} * {{g1}}", only=positions)),
            f"    clock = t + places[turn] * {dt}",
            *(["    clock = smaller(larger(clock, past), just_before(wall))"] if form.walls else []),
            "    " + slopes("kick", force, "clock", target, momenta),
            *form.each(f"{{{target}}} += kicks[{method.stages}] * {h} * {{{force}}}", only=momenta),
        ]

    places = [sum(method.drifts[: k + 1]) for k in range(method.stages - 1)] + [1.0]
    kind = ", np.float32" if model.narrow else ""
    return Advance(
        unpack=[
            f"kicks = np.array({list(method.kicks)}{kind})",
            f"drifts = np.array({list(method.drifts)}{kind})",
            f"places = np.array({places})",
            "k1_valid = counts[@k1_valid]",
        ],
        step=[
            *fixed_time(form),
            *(["past = just_behind(barriers, last_barrier(barriers, t))"] if form.walls else []),
            "if k1_valid == 0:",
            "    " + slopes("kick", "k1", "t", "base", momenta),
            "    k1_valid = 1",
            *form.each("{g2} = {k1}"),
            *sequence("new", "dt", "h", "g2"),
        ],
        interpolate=[
            "part = F(tau - t)" if model.narrow else "part = tau - t",
            *form.each("{g3} = {k1}"),
            *sequence("out", "(tau - t)", "part", "g3"),
        ],
        commit=form.each("{k1} = {g2}"),
        forget=["k1_valid = 0"],
        pack=["counts[@k1_valid] = k1_valid"],
        functions=functions,
    )


def halves(model: Model, stepper: str) -> tuple[frozenset[str], frozenset[str]]:
    """The positions, whose rates depend on momenta only, and the momenta, whose rates depend on positions only.

    In each coupled group the positions are the side with a state whose rate is a momentum itself, else that of the
    state declared first. Raises `ConfigError` for a system that is not so.
    """
    if model.rhs_uses_lags:
        raise ConfigError(f"stepper {stepper!r} is for systems whose rates do not read past states")
    states = [q.name for q in model.states]
    reads: dict[str, set[str]] = {name: set() for name in states}
    timed: dict[str, bool] = dict.fromkeys(states, False)
    rates: dict[str, list[Equation]] = {name: [] for name in states}
    for equation in model.equations:
        rates[equation.target].append(equation)
        for part in walk_through(model, equation.expr):
            if isinstance(part, Name | Item):
                if part.id in reads:
                    reads[equation.target].add(part.id)
                timed[equation.target] |= part.id == "t"
    side: dict[str, int] = {}
    near = {a: reads[a] | {b for b in states if a in reads[b]} for a in states}
    for first in states:
        if first in side:
            continue
        side[first], group = 0, [first]
        for name in group:
            for other in sorted(near[name], key=states.index):
                if other not in side:
                    side[other] = 1 - side[name]
                    group.append(other)
                elif side[other] == side[name]:
                    what = f"{name!r} itself" if name == other else f"{other!r}, and both would be positions or momenta"
                    raise ConfigError(
                        f"stepper {stepper!r} is for separable systems, dq = f(p) and dp = g(q); "
                        f"here the rate of {name!r} depends on {what}. Take another one, such as 'rk4'"
                    )
        plain = [name for name in group if all(isinstance(e.expr, Name | Item) and reads[name] for e in rates[name])]
        if plain and side[plain[0]] == 1:
            side.update((name, 1 - side[name]) for name in group)
    positions = frozenset(name for name in states if side[name] == 0)
    for name in positions:
        if timed[name]:
            raise ConfigError(f"stepper {stepper!r}: the rate of the position {name!r} must not depend on time")
    return positions, frozenset(states) - positions
