"""Kernels for ensembles: many members of one model side by side, in the lanes of vector instructions.

The members of a block go through the same formulas as a single run, in a loop over lanes whose body has no calls and no
branches that cannot become selections, so that the compiler makes vector instructions of it. With a fixed step all
lanes take it together. With step-size control every pass is one attempt of each lane, with its own time and step; a
lane that is finished hands over its result and takes the next member. No number of one lane depends on another.
"""

from __future__ import annotations

import re
from math import log
from types import ModuleType

from msgspec import Struct

from dynlib.compile import vectorised
from dynlib.compile.advance.control import Attempt, first_step, options
from dynlib.compile.advance.embedded import explicit_attempt, explicit_extension
from dynlib.compile.advance.fixed import explicit, iteration
from dynlib.compile.advance.parts import Advance, indented
from dynlib.compile.elementary import NAMES
from dynlib.compile.forms import Form, is_scalar
from dynlib.compile.kernel import generated_module
from dynlib.compile.layout import TIME_TOLERANCE, layout_of
from dynlib.compile.skeleton import act
from dynlib.compile.writer import code_names
from dynlib.spec.barriers import barriers_of
from dynlib.spec.model import Event, Model
from dynlib.status import Status
from dynlib.steppers.explicit_rk import Tableau
from dynlib.steppers.registry import StepperSpec

LANES = 64
"""Members of a block. With 16 to 128 lanes the time per member is about the same; eight do not fill the pipelines."""
ABREAST = 2
"""Vectors of lanes that go through a Runge–Kutta step side by side: while one waits for a sum, the other computes."""
MANY = 10
"""Iterations of a map in one go."""
MOMENTS = ("mean", "sum of squares", "least", "greatest")
"""What is kept of each state where statistics are wanted: Welford's mean and sum of squared deviations, extrema."""
ARGUMENTS = (
    "lane_y, lane_p, lane_out, lane_status, lane_steps, lane_times, lane_hits, lane_sums, lane_rec, lane_vars, "
    "lane_hist, lane_bins, lane_last, anchor, {step}, horizon, n_limit, lane_from, lane_begin, "
    "lane_every, config, lane_cursor, lane_work, lane_budget"
)
"""Arguments of every kernel: states and parameters of all members, one row each; what to fill; which to run; how.

A kernel returns PAUSED when it has taken `lane_budget` steps of a whole block. `lane_cursor` and `lane_work` then hold
where it stands, and each member under way has its last completed step and the status RUNNING; the same call goes on.
"""
_CROSSING, _IDLE = 97, 98


def why_not(model: Model, stepper: StepperSpec) -> str | None:
    """Why members of a model do not run in lanes under a stepper; None if they do."""
    known = stepper.family == "iteration" or isinstance(stepper.method, Tableau)
    reasons = {
        f"the stepper {stepper.name!r} solves equations or keeps a past": not known,
        "the model has array states, or too many": not is_scalar(model),
        "the model computes in float32": model.narrow,
        "the model draws random numbers": model.random or bool(model.noise),
        "the model has lags": bool(model.lag_depth),
        "the model has events located inside steps": bool(model.located),
        "the equations jump at given times": bool(barriers_of(model)),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class LaneKernel(Struct, frozen=True):
    """The generated module of an ensemble, whose `kernel` takes `ARGUMENTS`."""

    source: str
    module: ModuleType
    adaptive: bool
    rows: int
    """Of `lane_work`."""


def lane_kernel(model: Model, stepper: StepperSpec, *, statistics: bool, jit: bool, math: str) -> LaneKernel:
    """The kernel for a model that runs in lanes."""
    source, rows = lane_source(model, stepper, statistics)
    return LaneKernel(source, generated_module(source, jit, math), stepper.adaptive, rows)


def lane_source(model: Model, stepper: StepperSpec, statistics: bool) -> tuple[str, int]:
    """The text of the module, and how many rows of `lane_work` it needs."""
    kept = {"base": "base", "out": "y", "params": "params"}
    form = Form(model, code_names(model, True), layout_of(model, stepper), True, kept)
    text = _Lanes(model, stepper, form, statistics)
    body = text.adaptive() if stepper.adaptive else text.fixed()
    own = form.own_functions(text.used)
    needs = form.rhs_needs
    own += form.system("rhs", "Right-hand side.", model.equations, [], needs, text.used)
    code = "\n".join([*own, *body]) + "\n"
    used = text.used & NAMES
    quick = sorted((used & vectorised.NAMES) | (set() if stepper.adaptive else {"stream"}))
    slow = sorted(used - vectorised.NAMES)
    names = ", ".join(q.name for q in model.states[:8])
    head = [
        f'"""Lanes of {model.kind} {names} with stepper {stepper.name}; written by dynlib."""',
        "from math import inf, nan",
        "",
        "import numpy as np",
        *([f"from dynlib.compile.elementary import {', '.join(slow)}"] if slow else []),
        *([f"from dynlib.compile.vectorised import {', '.join(quick)}"] if quick else []),
        "",
        f"LANES = {LANES}",
        *([] if stepper.family == "iteration" else [f"ABREAST = {ABREAST}"]),
        *[f"{s.name} = {s.value}" for s in Status if re.search(rf"\b{s.name}\b", code)],
        "",
        "",
    ]
    return "\n".join(head) + code, len(text.own()) + 1 if stepper.adaptive else 0


class _Lanes:
    """The parts of the text that both kinds of kernel share."""

    def __init__(self, model: Model, stepper: StepperSpec, form: Form, statistics: bool) -> None:
        self.model, self.stepper, self.form, self.statistics = model, stepper, form, statistics
        self.used: set[str] = {"smaller", "larger", "sqrt"} | ({"power", "exp", "log"} if stepper.adaptive else set())
        self.states = [form.names[q.name] for q in model.states]
        self.params = [form.names[q.name] for q in model.params]
        written = {action.target for e in model.events for action in e.actions}
        self.written = [form.names[q.name] for q in model.params if q.name in written]
        self.moments = [(state, k, 4 * j + k) for j, state in enumerate(self.states) for k in range(4)]

    # -- columns -----------------------------------------------------------------------------------------------

    def columns(self) -> list[tuple[str, str, str]]:
        """What each lane has: the name in the loop, the array of all members, and the row there."""
        found = [(state, "lane_y", str(k)) for k, state in enumerate(self.states)]
        found += [(param, "lane_p", str(k)) for k, param in enumerate(self.params)]
        found += [(f"lane_hits{k}", "lane_hits", str(k)) for k in range(len(self.model.events))]
        if self.statistics:
            found += [(f"lane_m{row}", "lane_sums", str(row)) for _, _, row in self.moments]
            found.append(("lane_weight", "lane_sums", str(len(self.moments))))
        return found

    def kept(self, name: str) -> bool:
        """Whether a column changes."""
        return name not in self.params or name in self.written

    # -- fragments ---------------------------------------------------------------------------------------------

    def events(self, phase: str) -> list[str]:
        """Conditions and assignments of the events of a phase; each counts how often it happens."""
        lines: list[str] = []
        for k, event in enumerate(self.model.events):
            if phase in event.phases:
                lines += self._event(k, event)
        return lines

    def _event(self, k: int, event: Event) -> list[str]:
        lines = [f"# event {event.name}"]
        writer = self.form.writer(lines, "")
        writer.hoist([event.cond])
        lines.append(f"if {writer.condition(event.cond)}:")
        writer.indent = "    "
        writer.emit(f"lane_hits{k} += 1")
        act(event, writer)
        if event.terminal:
            writer.emit("status = STOPPED")
        self.used |= writer.used
        return lines

    def stop(self) -> list[str]:
        """The stop condition of the model."""
        if self.model.sim.stop is None:
            return []
        lines: list[str] = []
        writer = self.form.writer(lines, "")
        writer.hoist([self.model.sim.stop])
        test = writer.condition(self.model.sim.stop)
        self.used |= writer.used
        return [*lines, f"if {test}:", "    status = STOPPED"]

    def count(self, weight: str) -> list[str]:
        """Statistics over completed steps, each with a weight (West, Commun. ACM 22, 532, 1979)."""
        if not self.statistics:
            return []
        lines = ["if t > lane_from:", f"    lane_weight += {weight}"]
        for j, state in enumerate(self.states):
            mean, square, least, greatest = (f"lane_m{4 * j + k}" for k in range(4))
            lines += [
                f"    lane_away = {state} - {mean}",
                f"    {mean} += {weight} / lane_weight * lane_away",
                f"    {square} += {weight} * lane_away * ({state} - {mean})",
                f"    {least} = smaller({least}, {state})",
                f"    {greatest} = larger({greatest}, {state})",
            ]
        return lines

    def finite(self) -> str:
        """The test of the new state."""
        terms = [self.form.component("new", q.name) for q in self.model.states]
        return f"{' + '.join(f'({x} - {x})' for x in terms)} == 0.0"

    def method(self) -> Advance:
        """The fragments of a method with a fixed step."""
        tableau = self.stepper.method
        return explicit(self.model, tableau, self.form) if isinstance(tableau, Tableau) else iteration(
            self.model, self.form
        )  # fmt: skip

    # -- fixed step --------------------------------------------------------------------------------------------

    def fixed(self) -> list[str]:
        """All lanes of a block take each step together."""
        advance, form = self.method(), self.form
        columns = self.columns()
        load = [f"{name} = lane_of_{name}[lane_l]" for name, _, _ in columns]
        save = [f"lane_of_{name}[lane_l] = {name}" for name, _, _ in columns if self.kept(name)]
        take = [
            *self.events("pre"),
            *advance.step,
            f"if {self.finite()}:",
            *indented([*form.each("{base} = {new}"), "t = t_new", "steps += 1", *self.events("post"), *self.stop(),
                       *self.count("1.0")]),
            "else:",
            "    status = NOT_FINITE",
        ]  # fmt: skip
        look = [
            *self.events("pre"),
            *advance.step,
            *advance.prepare_outputs,
            "tau = horizon",
            *advance.interpolate,
        ]
        # arrays of the block's own: the optimiser knows that they do not overlap
        quiet = ["lane_quiet = lane_begin if lane_every > 0 else n_limit",  # the step at which somebody looks next
                 "if len(lane_bins) > 0:", "    lane_quiet = 0"]  # fmt: skip
        tries = [f"lane_try{k} = np.zeros(LANES, np.float64)" for k in range(len(self.states)) if self.in_one_go]
        tries += [f"lane_kept{k} = np.zeros({MANY * LANES}, np.float64)" for k in range(len(self.states))]
        own = [f"lane_of_{name} = np.zeros(LANES, np.{'int64' if array == 'lane_hits' else 'float64'})"
               for name, array, _ in columns]  # fmt: skip
        fetch = [f"lane_of_{name}[lane_l] = {array}[{row}, lane_at + lane_l]" for name, array, row in columns]
        bring = [f"{array}[{row}, lane_at + lane_l] = lane_of_{name}[lane_l]" for name, array, row in columns
                 if self.kept(name)]  # fmt: skip
        tol = f"{TIME_TOLERANCE!r} * abs"
        return [
            f"def kernel({ARGUMENTS.format(step='dt')}):",
            *indented(own),
            "    lane_s = np.zeros(LANES, np.int64)",
            "    lane_n = np.zeros(LANES, np.int64)",
            "    n_anchor = 0",
            *indented(tries),
            "    lane_left = lane_budget",
            "    for lane_b in range(lane_cursor[0], lane_last):",
            "        lane_at = lane_b * LANES",
            "        for lane_l in range(LANES):",
            *indented(fetch, 3),
            "            lane_s[lane_l] = lane_status[lane_at + lane_l]",
            "            lane_n[lane_l] = lane_steps[lane_at + lane_l]",
            "        n = lane_cursor[1]",
            "        row = lane_cursor[2]",
            "        lane_pause = n + lane_left",
            "        lane_paused = 0",
            "        lane_partial = 0",
            "        lane_whole = 1",
            *indented(quiet if self.in_one_go else [], 2),
            "        while True:",
            "            lane_now = anchor + n * dt",
            "            lane_end = horizon",
            "            if n >= lane_pause:",
            "                lane_paused = 1",
            "                break",
            "            if lane_every > 0 and n >= lane_begin and (n - lane_begin) % lane_every == 0:",
            *indented(self.record(), 4),
            f"            lane_end = horizon - {tol}(lane_now)",
            "            if lane_now >= lane_end or n >= n_limit:",
            "                break",
            "            t_new = anchor + (n + 1) * dt",
            f"            if horizon < t_new - {tol}(t_new):",
            "                lane_partial = 1",
            "                break",
            *indented(self.many(load), 3),
            "            if n % 64 == 0:",
            "                lane_busy = 0",
            "                for lane_l in range(LANES):",
            "                    lane_busy += 1 if lane_s[lane_l] == 0 else 0",
            "                if lane_busy == 0 and lane_every == 0:",
            "                    break",
            "            for lane_l in range(LANES):",
            *indented(load, 4),
            "                status = lane_s[lane_l]",
            "                steps = lane_n[lane_l]",
            "                t = lane_now",
            "                if status == 0:",
            *indented(take, 5),
            *indented(save, 4),
            "                lane_s[lane_l] = status",
            "                lane_n[lane_l] = steps",
            *indented(self.sort(), 3),
            "            n += 1",
            "        # the state at the horizon, inside the step that would cross it",
            "        for lane_l in range(LANES):",
            *indented(load, 3),
            "            t = lane_now",
            *indented(form.each("{out} = {base}"), 3),
            "            lane_end_t = anchor + lane_n[lane_l] * dt",
            "            if lane_s[lane_l] == 0 and lane_paused == 0:",
            "                if lane_partial == 1:",
            *indented(look, 5),
            "                    lane_end_t = horizon",
            "                lane_late = lane_partial == 0 and lane_now < lane_end and horizon < inf",
            "                lane_s[lane_l] = MAX_STEPS if lane_late else DONE",
            "            lane_times[lane_at + lane_l] = lane_end_t",
            "            lane_status[lane_at + lane_l] = lane_s[lane_l]",
            "            lane_steps[lane_at + lane_l] = lane_n[lane_l]",
            *[f"            lane_out[{k}, lane_at + lane_l] = {form.component('out', q.name)}"
              for k, q in enumerate(self.model.states)],
            *indented(bring, 3),
            "        lane_cursor[0] = lane_b + 1 - lane_paused",
            "        lane_cursor[1] = n * lane_paused",
            "        lane_cursor[2] = row * lane_paused",
            "        if lane_paused == 1:",
            "            return PAUSED",
            "        lane_left = lane_pause - n",
            "    return 0",
        ]  # fmt: skip

    def many(self, load: list[str]) -> list[str]:
        """Several iterations of a map at once: where nobody looks at what is between them, or where all are recorded.

        Whether all members run and all numbers were finite is asked at the end; if not, the block goes on one by one.
        """
        if not self.in_one_go:
            return []
        ahead = f"n + {MANY} <= n_limit and anchor + (n + {MANY + 1}) * dt <= horizon"
        return [
            "if lane_whole == 1:",
            f"    if n + {MANY} <= lane_quiet and {ahead}:",
            *indented(self.go(load, keep=False), 2),
            f"    elif lane_every == 1 and n >= lane_begin and len(lane_bins) == 0 and {ahead}:",
            *indented(self.go(load, keep=True), 2),
        ]

    def go(self, load: list[str], *, keep: bool) -> list[str]:
        """One go: where all is well the block stands `MANY` iterations further; those between are rows if wanted."""
        news = [self.form.component("new", q.name) for q in self.model.states]
        once = [
            self.form.rhs("new", "t", "base"),
            *self.form.each("{base} = {new}"),
            *(f"part += {x} * 0.0" for x in news),
        ]
        lines = ["lane_bad = 0", "for lane_l in range(LANES):", *indented(load)]
        lines.append("    part = 0.0 if lane_s[lane_l] == 0 else nan")
        for k in range(MANY):
            kept = [f"lane_kept{j}[{k * LANES} + lane_l] = {x}" for j, x in enumerate(self.states)]
            kept = kept if keep and k < MANY - 1 else []
            lines += indented([f"t = anchor + (n + {k}) * dt", *once, *kept])
        rows = [f"for lane_k in range({MANY - 1}):", *indented(self.rows("row + lane_k", "lane_k * LANES")),
                f"row += {MANY - 1}"] if keep else []  # fmt: skip
        return [
            *lines,
            *(f"    lane_try{k}[lane_l] = {state}" for k, state in enumerate(self.states)),
            "    lane_bad += 0 if part == 0.0 else 1",
            "if lane_bad == 0:",
            "    for lane_l in range(LANES):",
            *(f"        lane_of_{state}[lane_l] = lane_try{k}[lane_l]" for k, state in enumerate(self.states)),
            f"        lane_n[lane_l] += {MANY}",
            f"    n += {MANY}",
            *indented(rows),
            "    continue",
            "lane_whole = 0",
        ]

    @property
    def in_one_go(self) -> bool:
        """Whether iterations may be taken several at once."""
        return (
            self.model.kind == "map" and not self.model.events and not self.statistics and self.model.sim.stop is None
        )

    def record(self) -> list[str]:
        """Copy the states of all lanes; NaN where a member has ended."""
        kept = (f"lane_kept{k}[lane_l] = lane_of_{x}[lane_l] if lane_s[lane_l] == 0 else nan"
                for k, x in enumerate(self.states))  # fmt: skip
        return [
            "for lane_l in range(LANES):",
            *indented(list(kept)),
            *self.rows("row", "0"),
            "row += 1",
            *(["lane_quiet = n + lane_every if len(lane_bins) == 0 else 0"] if self.in_one_go else []),
        ]

    def rows(self, row: str, start: str) -> list[str]:
        """Bring what is kept of the states that are asked for into one row of the recording."""
        lines = ["for lane_v in range(len(lane_vars)):"]
        for k in range(len(self.states)):
            lines += [
                f"    if lane_vars[lane_v] == {k}:",
                f"        stream(lane_rec, {row}, lane_v, lane_at, lane_kept{k}, {start}, LANES)",
            ]
        return lines

    def sort(self) -> list[str]:
        """Count the states of all lanes into the bins of the histograms."""
        lines = ["if len(lane_bins) > 0 and t_new > lane_from:", "    for lane_v in range(len(lane_bins)):"]
        for k, state in enumerate(self.states):
            lines += [
                f"        if lane_bins[lane_v, 0] == {float(k)}:",
                "            for lane_l in range(LANES):",
                f"                lane_place = (lane_of_{state}[lane_l] - lane_bins[lane_v, 1]) * lane_bins[lane_v, 2]",
                "                if lane_s[lane_l] == 0 and lane_place >= 0.0 and lane_place < lane_bins[lane_v, 3]:",
                "                    lane_hist[lane_v, lane_at + lane_l, int(lane_place)] += 1",
            ]
        return lines

    @property
    def carried(self) -> bool:
        """Whether a step begins with the last slope of the one before."""
        tableau = self.stepper.method
        return isinstance(tableau, Tableau) and tableau.first_same_as_last and not self.model.events

    def own(self) -> list[str]:
        """What each lane under step-size control has from one attempt to the next."""
        slopes = [self.form.component("k1", q.name) for q in self.model.states] if self.carried else []
        own = [*(name for name, _, _ in self.columns()), *slopes, "t", "step", "error_before", "error_earlier",
               "lane_bad", "status", "steps", "retried", "dt"]  # fmt: skip
        return [*own, "begun"] if self.events("pre") else own

    def whole(self) -> set[str]:
        """Which of it are whole numbers."""
        return {"status", "steps", "retried", "begun", *(f"lane_hits{k}" for k in range(len(self.model.events)))}

    # -- step-size control -------------------------------------------------------------------------------------

    def adaptive(self) -> list[str]:
        """Every lane has its own time and step, and takes the next member when it is finished."""
        form, tableau = self.form, self.stepper.method
        assert isinstance(tableau, Tableau)
        attempt = explicit_attempt(tableau, form, squared=True)
        prepare, interpolate = explicit_extension(tableau, form)
        carried, own, whole = self.carried, self.own(), self.whole()
        arrays = [f"lane_of_{name} = np.zeros(LANES, np.{'int64' if name in whole else 'float64'})" for name in own]
        resume = [f"lane_of_{name}[lane_l] = {'int' if name in whole else 'float'}(lane_work[{k}, lane_l])"
                  for k, name in enumerate(own, 1)]  # fmt: skip
        load = [f"{name} = lane_of_{name}[lane_l]" for name in own]
        save = [f"lane_of_{name}[lane_l] = {name}" for name in own if self.kept(name)]
        begin = [
            *(["if begun == 0:", *indented([*self.events("pre"), "begun = 1"])] if self.events("pre") else []),
            *([] if carried else [form.rhs("k1", "t", "base")]),
        ]
        return [
            f"def kernel({ARGUMENTS.format(step='dt0')}):",
            *indented(options(self.model, self.stepper, form, attempt.order)),
            *indented(arrays),
            "    lane_which = np.zeros(LANES, np.int64)",
            "    lane_next = lane_cursor[0]",
            "    lane_left = lane_budget",
            "    for lane_l in range(LANES):",
            "        if lane_cursor[1] == 0:",
            f"            lane_of_status[lane_l] = {_IDLE}",
            "            lane_which[lane_l] = -1",
            "        else:",
            "            lane_which[lane_l] = int(lane_work[0, lane_l])",
            *indented(resume, 3),
            "    while True:",
            "        lane_idle = 0",
            "        for lane_l in range(0, LANES):  # one after the other",
            "            if lane_of_status[lane_l] != 0:",
            "                lane_k = lane_which[lane_l]",
            "                if lane_k >= 0:",
            *indented(self.hand_over(own, attempt, begin, prepare, interpolate), 5),
            "                if lane_next < lane_last:",
            *indented(self.take_over(own, attempt), 5),
            "                else:",
            "                    lane_which[lane_l] = -1",
            f"                    lane_of_status[lane_l] = {_IDLE}",
            "                    lane_idle += 1",
            "        if lane_idle == LANES:",
            "            break",
            "        if lane_left <= 0:",
            "            for lane_l in range(LANES):",
            "                lane_work[0, lane_l] = float(lane_which[lane_l])",
            *indented([f"lane_work[{k}, lane_l] = float(lane_of_{name}[lane_l])" for k, name in enumerate(own, 1)], 4),
            "                lane_k = lane_which[lane_l]",
            "                if lane_k >= 0:",
            *indented([*load, *form.each("{out} = {base}"), "lane_end_t = t", *self.report()], 5),
            "            lane_cursor[0] = lane_next",
            "            lane_cursor[1] = 1",
            "            return PAUSED",
            "        while True:",
            "            lane_done = 0",
            "            for lane_l in range(LANES):",
            *indented(load, 4),
            "                if status == 0:",
            *indented(self.attempt(attempt, begin, carried), 5),
            *indented(save, 4),
            "                lane_done += 0 if status == 0 else 1",
            "            lane_left -= 1",
            "            if lane_done > lane_idle or lane_left <= 0:",
            "                break",
            "    return 0",
        ]  # fmt: skip

    def attempt(self, attempt: Attempt, begin: list[str], carried: bool) -> list[str]:
        """One attempt of one lane; see `compile/advance/control.py` for the formulas. Errors are kept as logarithms."""
        form = self.form
        done = [
            "step = smaller(dt * lane_grow, dt) if retried > 0 else dt * lane_grow",
            "error_earlier = error_before",
            "error_before = larger(lane_log, -9.210340371976182)",
            "retried = 0",
            *(form.each(f"{{k1}} = {{{attempt.end}}}") if carried else []),
            *form.each("{base} = {new}"),
            "t = t_new",
            "steps += 1",
            *(["begun = 0"] if self.events("pre") else []),
            *self.events("post"),
            *self.stop(),
            *self.count("dt"),
            "if status == 0 and t >= horizon:",
            "    status = DONE",
            "if status == 0 and steps >= n_limit:",
            "    status = MAX_STEPS",
        ]
        return [
            "dt = smaller(step, max_step)",
            "t_new = t + dt",
            "h = dt",
            *begin,
            *attempt.lines,
            "lane_log = 0.5 * log(err)",
            "lane_more = beta2 * error_before + beta3 * error_earlier if err <= 1.0 else 0.0",
            "lane_most = max_factor if err <= 1.0 else inf",
            "lane_grow = larger(min_factor, smaller(lane_most, safety * exp(-(beta1 * lane_log + lane_more))))",
            "if not dt > 2.3e-16 * abs(t) or dt < min_step:",
            "    status = NOT_FINITE if lane_bad > 0.0 else STEP_TOO_SMALL",
            "else:",
            "    if err <= 1.0:",
            f"        if {self.finite()}:",
            "            if horizon < t_new:",
            f"                status = {_CROSSING}",
            "            else:",
            *indented(done, 4),
            "        else:",
            "            status = NOT_FINITE",
            "    else:",
            "        retried += 1",
            "        lane_bad = 0.0 if err < inf else 1.0",
            "        step = dt * (lane_grow if err < inf else 0.1)",
        ]

    def hand_over(
        self, own: list[str], attempt: Attempt, begin: list[str], prepare: list[str], interpolate: list[str]
    ) -> list[str]:
        """The result of a lane that is finished; where the horizon lies inside the step, that is taken once more."""
        form = self.form
        return [
            *[f"{name} = lane_of_{name}[lane_l]" for name in own],
            *form.each("{out} = {base}"),
            "lane_end_t = t",
            f"if status == {_CROSSING}:",
            *indented(["t_new = t + dt", "h = dt", *begin, *attempt.lines, *attempt.accepted, *prepare,
                       "tau = horizon", *interpolate, "lane_end_t = horizon", "status = DONE"]),
            *self.report(),
        ]  # fmt: skip

    def report(self) -> list[str]:
        """Where a member stands: at `lane_end_t`, in the state `{out}`."""
        return [
            *[f"{array}[{row}, lane_k] = {name}" for name, array, row in self.columns() if self.kept(name)],
            *[f"lane_out[{k}, lane_k] = {self.form.component('out', q.name)}" for k, q in enumerate(self.model.states)],
            "lane_status[lane_k] = status",
            "lane_steps[lane_k] = steps",
            "lane_times[lane_k] = lane_end_t",
        ]

    def take_over(self, own: list[str], attempt: Attempt) -> list[str]:
        """The next member, with its first step."""
        form = self.form
        return [
            "lane_k = lane_next",
            "lane_next += 1",
            "lane_which[lane_l] = lane_k",
            *[f"{name} = {array}[{row}, lane_k]" for name, array, row in self.columns()],
            "t = anchor",
            "step = dt0",
            "dt = dt0",
            "status = 0",
            "steps = 0",
            "retried = 0",
            *(["begun = 0"] if "begun" in own else []),
            *(f"{m.name} = {log(m.fresh)!r}" for m in self.stepper.memory if m.name.startswith("error_")),
            "lane_bad = 0.0",
            form.rhs("k1", "t", "base"),
            "if step == 0.0:  # choose the first step",
            *indented(first_step(form, attempt.order)),
            "if t >= horizon:",
            "    status = DONE",
            *[f"lane_of_{name}[lane_l] = {name}" for name in own],
        ]
