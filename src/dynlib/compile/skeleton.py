"""The one loop of every kernel: fragments of the model and the stepper are filled into it, and nothing else loops."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from dynlib.compile import roots
from dynlib.compile.advance import Advance, advance_of
from dynlib.compile.elementary import NAMES
from dynlib.compile.forms import Form, is_scalar
from dynlib.compile.layout import TIME_TOLERANCE, Layout
from dynlib.compile.located import due, located_of, walls_of
from dynlib.compile.writer import Writer, code_names, lag_name
from dynlib.spec.barriers import Barrier, barriers_of
from dynlib.spec.expressions import Lag, Name, walk
from dynlib.spec.model import Event, Model
from dynlib.spec.observer import BEFORE, BoundObserver
from dynlib.status import Status
from dynlib.steppers.registry import StepperSpec

KERNEL_ARGUMENTS = (
    "times, reals, counts, config, horizon, n_limit, limit_status, n_pause, recording, cursor, last, select, "
    "tables, rec_t, rec_n, rec_kind, rec_y, log_t, log_n, log_id, log_y"
)
"""Arguments of every kernel: the state's three blocks (changed in place), what to do, and the buffers to fill.

`recording` is 0 (off), 1 (on) or 2 (on, starting with a sample of the state as it stands). `cursor` counts rows,
log entries and the next point of the recording grid; `last` holds the time of the last sample. `tables` are those
of `Kernel`.
"""

_SKELETON = """\
def kernel({arguments}):
    {unpack}
    status = 0
    inside = 0
    if recording == 2:
        {start_sample}
    while True:
        # -- before the step: nothing has happened yet
        tol = {tolerance} * abs(t)
        if rows + 2 > len(rec_t) or logs + {n_logs} > len(log_t):
            status = FULL
            break
        if t >= horizon - tol:
            status = DONE
            break
        if n >= n_limit:
            status = limit_status
            break
        if n >= n_pause:
            status = PAUSED
            break
        {before}
        # -- advance
        {step}
        # -- accept: the new state must be finite
        {check}
        {find_events}
        # -- outputs inside the step
        tol = {tolerance} * abs(t_new)
        if edge < t_new - tol:
            {prepare_outputs}
            while next_t < t_new - tol and next_t <= horizon:
                if rows + 2 > len(rec_t):
                    status = FULL
                    break
                tau = next_t
                {interpolate}
                {grid_sample}
                grid += 1
                next_t = record_t0 + grid * record_dt
            if status != 0:
                break
            edge = smaller(next_t, horizon)
            if horizon < t_new - tol:  # the step stays pending, its state at the horizon is reported
                tau = horizon
                {interpolate}
                inside = 1
                status = DONE
                break
        # -- commit
        {commit}
        t = t_new
        n += 1
        begun = 0
        {after}
        # -- record
        if n == next_n:
            {sample}
            next_n += interval
        elif next_t <= t + tol:
            {sample}
            grid += 1
            next_t = record_t0 + grid * record_dt
            edge = smaller(next_t, horizon)
        {stop}
    # -- the one exit: report, close the recording, pack
    t_out = horizon
    if inside == 0:
        t_out = t
        {report}
    if recording != 0 and status != PAUSED and status != FULL and last_t != t_out:
        {stop_sample}
    {pack}
    return status
"""

_SLOT = re.compile(r"^( *)\{(\w+)\}\n", re.MULTILINE)


def kernel_source(
    model: Model, stepper: StepperSpec, layout: Layout, observers: tuple[BoundObserver, ...] = ()
) -> tuple[str, NDArray[np.int64]]:
    """The text of the generated module, deterministic, readable, and all that a run executes; and its tables."""
    scalar = is_scalar(model)
    names = code_names(model, scalar, [expr for o in observers for _, expr in o.updates])
    kept = {"base": "base", "out": "y", "params": "params"}
    kept |= {m.name: m.name for m in stepper.memory if m.vector and m.rows == 1}
    barriers = barriers_of(model)
    form = Form(model, names, layout, scalar, kept, walls=bool(barriers))
    used = {"smaller", "larger", "sqrt", "power"} if stepper.adaptive else {"smaller"}
    functions = form.functions(used)
    body, more = _loop(model, stepper, layout, form, used, observers, barriers)
    statuses = [f"{s.name} = {s.value}" for s in Status if re.search(rf"\b{s.name}\b", body)]
    text = module_source(model, f"with stepper {stepper.name}", used, [*functions, *more], statuses) + body
    return text, form.tables


def module_source(model: Model, what: str, used: set[str], functions: list[str], statuses: list[str]) -> str:
    """The text of a generated module: imports, statuses and functions."""
    imports = [f"from dynlib.compile.elementary import {', '.join(sorted(used & NAMES))}"] if used & NAMES else []
    if used & roots.NAMES:
        imports.insert(0, f"from dynlib.compile.roots import {', '.join(sorted(used & roots.NAMES))}")
    lines = [
        f'"""{model.kind} {", ".join(q.name for q in model.states[:8])}{", …" if len(model.states) > 8 else ""}'
        f' {what}; written by dynlib."""',
        "from math import inf",
        "",
        "import numpy as np",
        *reversed(imports),
        "",
        *(["F = np.float32"] if model.narrow else []),
        *statuses,
        "",
        "",
        *functions,
    ]
    return "\n".join(lines) + "\n"


def _loop(
    model: Model,
    stepper: StepperSpec,
    layout: Layout,
    form: Form,
    used: set[str],
    observers: tuple[BoundObserver, ...],
    barriers: tuple[Barrier, ...],
) -> tuple[str, list[str]]:
    """The text of the kernel, and the functions that it needs beside those of the model."""
    advance: Advance = advance_of(model, stepper, form, used)
    walls = walls_of(barriers, model, form, advance, used)
    located = located_of(model, form, advance, stepper.interpolant_order, used)
    anchored = not stepper.adaptive and (bool(barriers) or any(e.ends_step for e in model.located))
    events = {phase: [e for e in model.events if phase in e.phases] for phase in ("pre", "post")}
    written = {a.target for e in model.events for a in e.actions}
    load_lags = _load_lags(form)
    before = [f"    {line}" for line in _events(events["pre"], form, advance, used)]
    if before:
        before = ["if begun == 0:", *before, "    begun = 1"]
    after = [*load_lags, *_events(events["post"], form, advance, used), *_store_lags(form)]
    watch = _Watch(observers, form, layout)
    slots = {
        "start_sample": form.sample("0", "t_out", "out"),
        "before": [*before, *walls.before],
        "step": [*watch.remember, *advance.step],
        "check": _finite(form),
        "find_events": located.find,
        "prepare_outputs": [] if located.find else advance.prepare_outputs,
        "interpolate": advance.interpolate,
        "grid_sample": form.sample("0", "tau", "out"),
        "commit": [
            *advance.commit,
            *walls.commit,
            *located.commit,
            *(_new_anchor(barriers, model) if anchored else []),
            *form.each("{base} = {new}"),
        ],
        "after": [*after, *watch.update(used)],
        "sample": form.sample("0", "t", "base"),
        "stop": [*_stop(model, form, used), *located.stop],
        "report": form.each("{out} = {base}"),
        "stop_sample": form.sample("1", "t_out", "out"),
    }
    slots["unpack"] = [
        "# -- unpack",
        *form.unpack(),
        "t = times[@t_base]",
        "t_out = times[@t]",
        "anchor = times[@time_shift]",
        "dt = times[@dt]",
        "record_t0 = times[@record_t0]",
        "record_dt = times[@record_dt]",
        "n = counts[@n]",
        "n_anchor = counts[@n_anchor]",
        "begun = counts[@begun]",
        "interval = counts[@record_interval]",
        "rows = cursor[0]",
        "logs = cursor[1]",
        "grid = cursor[2]",
        "last_t = last[0]",
        "next_n = np.int64(-1)",
        "next_t = inf",
        "if recording != 0 and interval > 0:",
        "    next_n = counts[@record_n0] + ((n - counts[@record_n0]) // interval + 1) * interval",
        "if recording != 0 and record_dt > 0.0:",
        "    next_t = record_t0 + grid * record_dt",
        "edge = smaller(next_t, horizon)",
        *(["seed = counts[@seed]", "stream = counts[@stream]"] if model.random else []),
        *watch.unpack,
        *advance.unpack,
        *(["nominal = dt"] if barriers and not stepper.adaptive else []),
        *walls.unpack,
        *located.unpack,
        *(["halt = 0"] if any(e.terminal for e in model.events) else []),
        *load_lags,
    ]
    slots["pack"] = [
        *form.pack(written),
        "times[@t_base] = t",
        "times[@t] = t_out",
        "counts[@n] = n",
        "counts[@begun] = begun",
        "counts[@pending] = inside",
        "cursor[0] = rows",
        "cursor[1] = logs",
        "cursor[2] = grid",
        "last[0] = last_t",
        *(["times[@time_shift] = anchor", "counts[@n_anchor] = n_anchor"] if anchored else []),
        *watch.pack,
        *located.pack,
        *advance.pack,
    ]

    def fill(match: re.Match[str]) -> str:
        lines = slots[match[2]]
        return "".join(f"{match[1]}{line}\n" for line in lines)

    text = _SLOT.sub(fill, _SKELETON)
    text = text.replace("{arguments}", KERNEL_ARGUMENTS)
    text = text.replace("{tolerance}", "0.0" if stepper.adaptive else repr(TIME_TOLERANCE))
    text = text.replace("{n_logs}", str(len(events["pre"]) + len(events["post"])))
    return re.sub(r"@(\w+)", lambda m: str(layout[m[1]].start), text), [*advance.functions, *located.functions]


def _new_anchor(barriers: tuple[Barrier, ...], model: Model) -> list[str]:
    """A step with a fixed size that ended early begins a new grid of steps."""
    tests = (["walled == 1"] if barriers else []) + (["which >= 0"] if any(e.ends_step for e in model.located) else [])
    return [f"if {' or '.join(tests)}:", "    anchor = t_new", "    n_anchor = n + 1"]


class _Watch:
    """The fragments of the observers: nothing at all where there are none."""

    def __init__(self, observers: tuple[BoundObserver, ...], form: Form, layout: Layout) -> None:
        self.observers, self.form = observers, form
        slots = [(o.field(key), layout[o.field(key)].start) for o in observers for key in o.observer.memory]
        self.unpack = [f"{name} = times[{slot}]" for name, slot in slots]
        self.pack = [f"times[{slot}] = {name}" for name, slot in slots]
        read = {n.id for o in observers for _, e in o.updates for n in walk(e) if isinstance(n, Name)}
        kept = ["t", *(q.name for q in form.model.states if q.size is None)]
        self.before = {BEFORE + name: f"observer__{BEFORE}{name}" for name in kept if BEFORE + name in read}
        writer = form.writer([], "", observing=True)
        self.remember = [
            f"{code} = {writer.value(Name(name.removeprefix(BEFORE)))}" for name, code in self.before.items()
        ]

    def update(self, used: set[str]) -> list[str]:
        """The lines after a completed step."""
        lines: list[str] = []
        for o in self.observers:
            lines.append(f"# observer {o.name}")
            writer = self.form.writer(lines, "", observing=True)
            own = {**self.before, **{key: o.field(key) for key in o.observer.memory}}
            for key, expr in o.updates:
                writer.args = own
                writer.hoist([expr])
                writer.emit(f"{o.field(key)} = np.float64({writer.value(expr)})")
                own = {**own, key: o.field(key)}
            used |= writer.used
        return lines


def _finite(form: Form) -> list[str]:
    if form.scalar:
        terms = [form.component("new", q.name) for q in form.model.states]
        return [
            f"if not ({' + '.join(f'({x} - {x})' for x in terms)} == 0.0):",
            "    status = NOT_FINITE",
            "    break",
        ]
    return [
        "bad = 0",  # not a sum of floats, whose order would make it slow
        *form.each("bad = bad | (0 if {new} - {new} == 0.0 else 1)"),
        "if bad != 0:",
        "    status = NOT_FINITE",
        "    break",
    ]


def _load_lags(form: Form) -> list[str]:
    wanted = sorted(_all_lags(form.model))
    lines = []
    for state, steps in wanted:
        field = form.layout[f"lag_{state}"]
        lines.append(f"{lag_name(form.names, state, steps)} = reals[{field.start} + (n - {steps}) % {field.size}]")
    return lines


def _all_lags(model: Model) -> set[tuple[str, int]]:
    return {(part.state, part.steps) for root in model.roots() for part in walk(root) if isinstance(part, Lag)}


def _store_lags(form: Form) -> list[str]:
    writer = form.writer([], "")
    rings = {state: form.layout[f"lag_{state}"] for state in form.model.lag_depth}
    return [f"reals[{ring.start} + n % {ring.size}] = {writer.variable(state)}" for state, ring in rings.items()]


def act(event: Event, writer: Writer) -> None:
    """Write the assignments of an event."""
    for action in event.actions:
        writer.hoist([action.expr])
        text = writer.stored(action.expr)
        target = writer.variable(action.target) if action.index is None else writer.element(action.target, action.index)
        writer.emit(f"{target} = {text}")
        writer.local_aux = set()  # it may have changed them


def _events(events: list[Event], form: Form, advance: Advance, used: set[str]) -> list[str]:
    lines: list[str] = []
    order = {e.name: k for k, e in enumerate(form.model.events)}
    for event in events:
        lines.append(f"# event {event.name}")
        if event.located and not event.ends_step:
            lines.append("# logged where it happens")
            continue
        writer = form.writer(lines, "")
        if event.located:
            test = due(event, form.model)
        else:
            writer.hoist([event.cond])
            test = writer.condition(event.cond)
        known = set(writer.local_aux)
        lines.append(f"if {test}:")
        writer.indent = "    "
        if event.log:
            lines.append("    if recording != 0:")
            writer.indent = " " * 8
            writer.hoist(expr for _, expr in event.log)
            for k, (_, expr) in enumerate(event.log):
                text = writer.value(expr)
                writer.emit(f"log_y[logs, {k}] = {text}")
            writer.emit("log_t[logs] = t")
            writer.emit("log_n[logs] = n")
            writer.emit(f"log_id[logs] = {order[event.name]}")
            writer.emit("logs += 1")
            writer.indent, writer.local_aux = "    ", known
        act(event, writer)
        if event.actions:
            for line in advance.forget:
                writer.emit(line)
        if event.terminal:
            writer.emit("halt = 1")
        elif not event.log and not event.actions:
            writer.emit("pass")
        used |= writer.used
    return lines


def _stop(model: Model, form: Form, used: set[str]) -> list[str]:
    lines: list[str] = []
    if any(e.terminal for e in model.events):
        lines += ["# -- terminal event", "if halt == 1:", "    status = STOPPED", "    break"]
    if model.sim.stop is None:
        return lines
    lines.append("# -- stop condition")
    writer = form.writer(lines, "")
    writer.hoist([model.sim.stop])
    test = writer.condition(model.sim.stop)
    used |= writer.used
    return [*lines, f"if {test}:", "    status = STOPPED", "    break"]
