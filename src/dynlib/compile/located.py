"""The fragments of located events and barriers: where a step ends early, and what is logged inside it."""

from __future__ import annotations

import ast

from msgspec import Struct, field

from dynlib.compile.advance.parts import Advance, indented
from dynlib.compile.forms import Form
from dynlib.compile.roots import ROOT, SLOTS, TAU, WANTS
from dynlib.spec.barriers import Barrier
from dynlib.spec.expressions import Name, walk
from dynlib.spec.model import Event, Model
from dynlib.spec.syntax import syntax_tree

CHATTERS = 20
"""So many close events in a row, with no step in between, are chattering.

Close is what comes after `CHATTER_TIME`, relative to the time and to the size of the step; or after `SHRINKING`,
relative to the time, if that is less than last time: so comes a bouncing ball to rest.
"""
CHATTER_TIME = 1e-12
SHRINKING = 1e-6


class Located(Struct):
    """Lines for the skeleton; all empty for a model without located events."""

    unpack: list[str] = field(default_factory=list)
    find: list[str] = field(default_factory=list)
    commit: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    pack: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)


def located_of(model: Model, form: Form, advance: Advance, order: int, used: set[str]) -> Located:
    """The search for roots on the continuous extension (of that order), once a step is accepted.

    The step ends at the first event that acts. Events that only log leave the trajectory as it is.
    """
    events = model.located
    if not events:
        return Located()
    interpolation, advance.interpolate = outlined(advance.interpolate, form)
    used |= {"hunt", "hunt_begin", "hunt_again", "earliest", "larger"}
    acts = [k for k, e in enumerate(events) if e.ends_step]
    parts, both = float(max(4, order + 1)), [float(e.root[1]) for e in events]
    here, there = form.vectors("base"), form.vectors("out")
    copy = form.each("{out} = {new}")
    read = [
        "if tau < t_end:",
        *indented(advance.interpolate),
        "else:",
        *indented(copy),
    ]
    quiet = [e for e in events if e.log and not e.ends_step]
    lags = form.log_needs(quiet).lag_names(form.names)
    find = [
        "# -- located events: where in the step they happen",
        "t_end = t_new",
        *advance.prepare_outputs,
        f"for event in range({len(events)}):",
        f"    value = {call('located', 'event', 't', *here)}",
        f"    hunt_begin(hunts[event], t, t_end, value, {parts!r}, both[event], struck)",
        "which = -1",
        "passed = 0",
        "while True:",
        f"    for event in range({len(events)}):",
        f"        while hunts[event, {WANTS}] > 0.0:",
        f"            tau = hunts[event, {TAU}]",
        *indented(read, 3),
        f"            hunt(hunts[event], {call('located', 'event', 'tau', *there)})",
        "    which = earliest(hunts)",
        "    if which < 0 or acting[which] == 1:",
        "        break",
        f"    tau = hunts[which, {ROOT}]",
        "    if tau > horizon:  # not yet",
        "        which = -1",
        "        break",
        "    if passed == logged:  # the others were logged when the run stood inside this step before",
        *(
            [
                f"        if logs + {2 * len(model.events) + 1} > len(log_t):",
                "            status = FULL",
                "            break",
                "        if recording != 0:",
                *indented(read, 3),
                f"            logs += {call('log_located', 'which', 'logs', 'tau', 'n', *there, *lags, *_LOG)}",
            ]
            if quiet
            else []
        ),
        "        logged += 1",
        "    passed += 1",
        "    hunt_again(hunts[which])",
        "if status != 0:",
        "    break",
    ]
    commit, first = ["logged = 0"], f"hunts[which, {ROOT}]"
    if acts:
        find += [
            "if which >= 0:  # the step ends here, with all events that happen at the same time",
            f"    t_new = {first}",
            f"    for event in range({len(events)}):",
            "        due[event] = 0",
            f"        if acting[event] == 1 and hunts[event, {ROOT}] <= {first} + 1.8e-15 * abs({first}):",
            "            due[event] = 1",
            f"            t_new = larger(t_new, hunts[event, {ROOT}])",
            "    tau = t_new",
            *indented(read),
            *indented(form.each("{new} = {out}")),
        ]
        commit += [
            "if which >= 0:",
            "    before = gap",
            "    gap = t_new - t",
            f"    near = gap <= {CHATTER_TIME!r} * larger(abs(t), dt)",
            f"    near = near or (gap < before and gap <= {SHRINKING!r} * abs(t))",
            "    close = close + 1 if near and struck == 1 else 0",
            "    struck = 1",
            *indented([*advance.forget, *advance.cut_short]),
            "else:",
            "    struck = 0",
            "    close = 0",
        ]
    return Located(
        unpack=[
            f"hunts = np.zeros(({len(events)}, {SLOTS}))",
            f"both = np.array({both})",
            f"acting = np.array({[int(e.ends_step) for e in events]})",
            f"due = np.zeros({len(events)}, np.int64)",
            "logged = counts[@logged]",
            "struck = counts[@struck]",
            "close = counts[@close]",
            "gap = times[@gap]",
        ],
        find=find,
        commit=commit,
        stop=[
            f"if close >= {CHATTERS}:",
            "    status = CHATTERING",
            "    break",
        ]
        if acts
        else [],
        pack=["counts[@logged] = logged", "counts[@struck] = struck", "counts[@close] = close", "times[@gap] = gap"],
        functions=[*interpolation, *form.located(events, used)],
    )


def outlined(lines: list[str], form: Form) -> tuple[list[str], list[str]]:
    """The interpolation as a function of the module and its call: it is needed at many places, and compiled once."""
    tree = syntax_tree("\n".join(lines))
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    functions = {
        node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    read = {node.id for node in names} - stored - functions - {"np"}
    given = sorted(read)
    results = [form.component("out", q.name) for q in form.model.states] if form.scalar else []
    head = f"def interpolate({', '.join(given)}):"
    body = [f"    {line}" for line in lines]
    if results:
        body.append(f"    return {', '.join(results)}{',' if len(results) == 1 else ''}")
    text = call("interpolate", *given)
    if results:
        text = f"{', '.join(results)}{',' if len(results) == 1 else ''} = {text}"
    return [head, '    """The state inside a step."""', *body, "", ""], [text]


def call(name: str, *arguments: str) -> str:
    """The text of a call."""
    return f"{name}({', '.join(arguments)})"


_LOG = ["log_t", "log_n", "log_id", "log_y"]


class Walls(Struct):
    """Lines for a model with barriers in time; all empty without."""

    unpack: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    commit: list[str] = field(default_factory=list)


def walls_of(barriers: tuple[Barrier, ...], model: Model, form: Form, advance: Advance, used: set[str]) -> Walls:
    """Where the next barrier lies. Steps are computed from just behind one barrier to just before the next."""
    if not barriers:
        return Walls()
    used |= {"next_barrier", "just_before", "just_behind"}
    read = {part.id for b in barriers for e in (b.time, b.period) for part in walk(e) if isinstance(part, Name)}
    changed = read & {a.target for e in model.events for a in e.actions}
    fill: list[str] = []
    writer = form.writer(fill, "", observing=True)
    for k, barrier in enumerate(barriers):
        writer.emit(f"barriers[{k}, 0] = {writer.value(barrier.time)}")
        writer.emit(f"barriers[{k}, 1] = {writer.value(barrier.period)}")
    used |= writer.used
    return Walls(
        unpack=[f"barriers = np.zeros(({len(barriers)}, 2))", *([] if changed else fill), "walled = 0"],
        before=[*(fill if changed else []), "t = just_behind(barriers, t)", "wall = next_barrier(barriers, t)"],
        commit=["if walled == 1:", *indented(advance.forget or ["pass"])],
    )


def due(event: Event, model: Model) -> str:
    """The test whether a located event happened at the end of the step just taken."""
    return f"which >= 0 and due[{model.located.index(event)}] == 1"
