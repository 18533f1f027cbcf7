"""Fuzzing of model files and expressions: generators, mutators, contracts, and a long run.

The contracts: whatever a text says, it is a `Model` or a `ModelError` that names its place, in bounded time, memory and
depth of calls; a `Model` is read back from its own document; its code runs interpreted; and one step of it is, to the
bit, what its expressions say when they are evaluated directly.

The test suite runs a few hundred inputs (`tests/spec/test_fuzz_models.py`). A long run is one command:

    python tests/fuzz/models.py --minutes 10

It is guided by coverage where atheris is installed (`pip install atheris`, into an environment of your own), or from
Python 3.12 on by the interpreter's own line events; else inputs are random and seeded. Every input that breaks a
contract is written to the folder given by `--failures`.
"""

from __future__ import annotations

import argparse
import ast
import atexit
import datetime
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from importlib.util import find_spec
from keyword import kwlist
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from dynlib.errors import ConfigError, ExpressionError, ModelError, NumericsWarning, Where
from dynlib.session.full_model import build
from dynlib.session.sim import Sim
from dynlib.spec.derivative import jacobian_of
from dynlib.spec.document import TABLES, model_from_document
from dynlib.spec.expressions import (
    EVENT_MACROS,
    FUNCTIONS,
    RANDOM,
    Binary,
    Call,
    Choice,
    Item,
    Lag,
    Name,
    Node,
    Num,
    Reduce,
    Unary,
    canonical,
    parse,
    rebuild,
    spell,
)
from dynlib.spec.locations import builtin_models, load_model, read_document
from dynlib.spec.model import Event, Model
from dynlib.spec.mods import VERBS
from dynlib.spec.observer import Observer, bind, running_mean
from dynlib.spec.resolve import Scope, Terms, evaluate, resolve_text
from dynlib.spec.source import document_of
from dynlib.spec.tangent import with_lyapunov
from dynlib.spec.work import step_work
from dynlib.steppers import list_steppers

Draw = Callable[[st.SearchStrategy[Any]], Any]

# -- bounds ----------------------------------------------------------------------------------------------------

SECONDS = 10.0  # of processor time for one input
FRAMES = 700  # of the 1000 that Python allows, the rest is the caller's
MESSAGE = 2500  # characters of an error
RUN_WORK = 20_000.0  # operations per step of a model that is run here
RUN_STATES = 500
MEMORY = 6 * 2**30  # address space of the long run


class Defect(AssertionError):
    """A contract that does not hold."""


current = ""
"""The input under test, for reports."""


@contextmanager
def bounded() -> Iterator[None]:
    """Limits of time and depth, and every warning an error."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Defect(f"took more than {SECONDS} seconds")

    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    limit, before = sys.getrecursionlimit(), signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    sys.setrecursionlimit(depth + FRAMES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", NumericsWarning)
            warnings.filterwarnings("ignore", ".* is an option of no stepper", UserWarning)
            yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
        sys.setrecursionlimit(limit)


def demand(holds: bool, message: str) -> None:
    if not holds:
        raise Defect(message)


# -- contracts -------------------------------------------------------------------------------------------------


def refused(problem: ModelError, file: str) -> None:
    """What every refusal owes its reader."""
    text = str(problem)
    demand(len(text) <= MESSAGE, f"an error of {len(text)} characters")
    demand(text.startswith(file), f"the error does not name {file!r}: {text}")
    text.encode()
    if isinstance(problem, ExpressionError):
        demand(problem.line >= 1 and problem.column >= 1, "line and column count from 1")
        pointer, shown = text.split("\n")[-1], text.split("\n")[-2]
        demand(pointer.strip() == "^" and len(pointer) <= len(shown) + 1, f"the pointer is off: {text}")


def check_text(text: str, mods: tuple[str, ...] = ()) -> Model | None:
    """Any text after `inline:` is a `Model` or a `ModelError`."""
    global current
    current = text
    with bounded():
        try:
            model = load_model(f"inline:{text}", mods)
        except ModelError as problem:
            refused(problem, "inline mod")
            return None
    check_model(model)
    return model


def check_file(data: bytes) -> None:
    """Any bytes in a file are a `Model` or a `ModelError`."""
    global current
    current = data.decode("utf-8", "backslashreplace")
    path = scratch() / "fuzz.toml"
    path.write_bytes(data)
    with bounded():
        try:
            model = load_model(path)
        except ModelError as problem:
            refused(problem, str(path))
            return
    check_model(model)


def check_location(location: str, mods: tuple[str, ...]) -> None:
    """Any location is a `Model` or a `ModelError`."""
    global current
    current = repr((location, mods))
    with bounded():
        try:
            load_model(location, mods)
        except ModelError as problem:
            demand(len(str(problem)) <= MESSAGE, "a long error")


def check_expression(text: str) -> None:
    """Any text is an expression or an `ExpressionError`; an expression is written and read back."""
    global current
    current = text
    with bounded():
        for events in (False, True):
            try:
                node = resolve_text(text, SCOPE, PLACE, events=events)
            except ExpressionError as problem:
                refused(problem, "fuzz.toml [aux] a")
                continue
            demand(resolve_text(spell(node), SCOPE, PLACE) == node, f"{spell(node)!r} is read as something else")
            demand(len(canonical(node)) < 10**6, "a long text")
        try:
            value = evaluate(parse(text), {"x": 0.5, "t": 2.0}, Terms())
        except (ExpressionError, ArithmeticError, ValueError):
            return
        demand(isinstance(value, float), f"a value of {type(value)}")


SCOPE = Scope(
    frozenset({"x", "y", "u"}),
    frozenset({"a", "g"}),
    {"N": 5.0, "k": -0.25},
    {"u": 5, "g": 3},
    frozenset({"r"}),
    {"f": 1, "h": 2},
)
PLACE = Where("fuzz.toml", "aux", "a")


def check_model(model: Model) -> None:
    """A model is read back from its document, has derivatives or says why not, and runs."""
    with bounded():
        check_document(model)
        check_derivatives(model)
        small = model.n_states <= RUN_STATES and model.n_params <= RUN_STATES and step_work(model) <= RUN_WORK
        if small:
            steppers = list_steppers(model.kind)
            run(model, steppers[zlib.crc32(model.structure_hash.encode()) % len(steppers)])
            check_step(model)


def check_document(model: Model) -> None:
    """Writing and reading a model changes nothing."""
    document = document_of(model)
    text = toml_text(document)
    demand(json.loads(json.dumps(document, allow_nan=False)) == document, "another document after JSON")
    again = model_from_document(read_document(f"inline:{text}")[0], model.source)
    demand(again.structure_hash == model.structure_hash, f"another structure hash:\n{text}")
    demand(again == model, f"another model:\n{text}")
    demand(toml_text(document_of(again)) == text, "another document")


def check_derivatives(model: Model) -> None:
    """Jacobian, slopes and tangent equations exist, or a `ModelError` says why not; what exists can be computed."""
    if model.n_states <= RUN_STATES and model.n_params <= RUN_STATES and step_work(model) <= RUN_WORK:
        check_numbers(model)
    try:
        jacobian = jacobian_of(model)
        extended = with_lyapunov(model)
    except ModelError as problem:
        demand(len(str(problem)) <= MESSAGE, "a long error")
        return
    demand(len(jacobian) == model.n_states, "a Jacobian of another size")
    if model.n_states <= 4 and step_work(model) < 300.0:
        run(extended)


def check_numbers(model: Model) -> None:
    """A stated Jacobian is what is derived, or refused; derivatives are computed."""
    try:
        full = build(model, jit=False)
    except ModelError as problem:
        demand(bool(model.jacobian) and len(str(problem)) <= MESSAGE, f"not built: {problem}")
        full = build(structs.replace(model, jacobian=()), jit=False)
    except ConfigError:
        return
    try:
        demand(full.jacobian().shape == (model.n_states, model.n_states), "a Jacobian of another size")
        demand(full.time_derivative().shape == (model.n_states,), "a slope of another size")
        for q in model.params[:3]:
            if q.size is None:
                demand(full.parameter_derivative(q.name).shape == (model.n_states,), "a slope of another size")
    except ModelError as problem:
        demand(len(str(problem)) <= MESSAGE, "a long error")


def run(
    model: Model,
    stepper: str | None = None,
    observers: tuple[Observer, ...] = (),
    n: int = 3,
    dt: float | None = None,
) -> Sim | None:
    """A session after `n` recorded steps of interpreted code; None where stepper or options do not fit the model.

    Without the Jacobian that the model states, which is mostly wrong here and would be refused.
    """
    try:
        full = build(structs.replace(model, jacobian=()), stepper=stepper, dt=dt, jit=False, observers=observers)
    except ConfigError:
        return None
    ast.parse(full.kernel.source)
    sim = Sim(full)
    try:
        sim.run(N=n, max_steps=20, record=True)
        sim.results()
    except ConfigError:
        return None
    finally:
        sys.modules.pop(full.kernel.module.__name__, None)
        full.kernel.path.unlink(missing_ok=True)
    return sim


class Unsupported(Exception):
    """Something that is not evaluated directly."""


def check_step(model: Model) -> None:
    """One step of a map, or one Euler step, is what the expressions say, to the bit."""
    if model.narrow or model.kind == "sde" or model.random:
        return
    start = Moment(model)
    try:
        expected = start.after_one_step()
    except (Unsupported, ArithmeticError, ValueError):
        return
    sim = run(model, "map" if model.kind == "map" else "euler", n=1, dt=start.dt)
    if sim is None:
        raise Defect("the simplest stepper does not fit the model")
    names = [*(e for q in model.states for e in q.element_names), *(e for q in model.params for e in q.element_names)]
    found = dict(zip(names, [*sim.state_vector(), *sim.param_vector()], strict=True))
    same = all(_bits(found[name]) == _bits(expected[name]) for name in names)
    finite = all(map(math.isfinite, (expected[name] for name in names)))
    demand(same or not finite, f"a step gives {found}, the expressions {expected}")
    for aux in model.aux:
        try:
            value = start.value(Name(aux.name))
        except (Unsupported, ArithmeticError, ValueError):
            continue
        first = float(sim.results()[aux.name][0])
        same = _bits(first) == _bits(value) or (math.isnan(first) and math.isnan(value))
        demand(same, f"{aux.name} is recorded as {first}, its expression gives {value}")


def _bits(value: float) -> bytes:
    return np.float64(value).tobytes()


class Moment:
    """The values of everything in a model at its start, and expressions evaluated directly."""

    def __init__(self, model: Model) -> None:
        self.model, self.aux, self.functions = model, model.aux_by_name, model.function_by_name
        self.dt = 1.0 if model.kind == "map" else 0.25
        self.values: dict[str, float] = {"t": model.sim.t0}
        for q in (*model.states, *model.params):
            self.values.update(zip(q.element_names, q.values, strict=True))
        for state, depth in model.lag_depth.items():
            self.values.update((f"lag_{state}({k})", self.values[state]) for k in range(1, depth + 1))
        self.fuel = 3000

    def value(self, node: Node, loops: Mapping[str, int] | None = None) -> float:
        """The value of an expression now."""
        self.fuel = 3000
        return evaluate(self.plain(node, {}, loops or {}), self.values, Terms())

    def after_one_step(self) -> dict[str, float]:
        """All values after the first step and its events."""
        model = self.model
        began = self.values
        for event in model.events:
            if "pre" in event.phases:
                self.act(event)
        new = {}
        for e in model.equations:
            for i in [None] if e.loop is None else e.loop.indices:
                loops = {} if e.loop is None or i is None else {e.loop.var: i}
                name = e.target if e.index is None else f"{e.target}[{int(self.value(e.index, loops))}]"
                rate = self.value(e.expr, loops)
                new[name] = rate if model.kind == "map" else self.values[name] + self.dt * rate
        if not all(map(math.isfinite, new.values())):
            raise Unsupported
        self.values = {**self.values, **new, "t": model.sim.t0 + self.dt}
        for event in model.events:
            if "post" in event.phases:
                self.act(event)
        found, self.values = self.values, began
        return found

    def act(self, event: Event) -> None:
        """Do what the event does, if its condition holds."""
        if self.value(event.cond) == 0.0:
            return
        for action in event.actions:
            name = action.target if action.index is None else f"{action.target}[{int(self.value(action.index))}]"
            self.values = {**self.values, name: self.value(action.expr)}

    def plain(self, node: Node, args: Mapping[str, Node], loops: Mapping[str, int]) -> Node:
        """The expression without aux variables, functions and arrays, and with the meaning of powers written out."""
        self.fuel -= 1
        if self.fuel < 0:
            raise Unsupported

        def inner(part: Node) -> Node:
            return self.plain(part, args, loops)

        match node:
            case Name(id=name) if name in args:
                return args[name]
            case Name(id=name) if name in loops:
                return Num(float(loops[name]))
            case Name(id=name) if name in self.aux:
                return self.plain(self.aux[name].expr, {}, {})
            case Item(id=name, index=index):
                return Name(f"{name}[{int(evaluate(inner(index), {}, Terms()))}]")
            case Lag(state=state, steps=steps):
                return Name(f"lag_{state}({steps})")
            case Call(fn=fn, args=given) if fn in self.functions:
                function = self.functions[fn]
                return self.plain(function.expr, dict(zip(function.args, map(inner, given), strict=True)), {})
            case Call(fn="pow", args=(base, exponent)) | Binary(op="**", left=base, right=exponent):
                return self.power(base, exponent, inner)
            case Call(fn=fn) if fn in (*RANDOM, "hypot"):  # hypot has an algorithm of its own
                raise Unsupported
            case Reduce(kind=kind, body=body, var=var, start=start, stop=stop, step=step, cond=cond):
                span = range(*(int(evaluate(inner(part), {}, Terms())) for part in (start, stop, step)))
                total: Node = Num(0.0 if kind == "sum" else 1.0)
                for i in span:
                    turn = {**loops, var: i}
                    part = self.plain(body, args, turn)
                    if cond is not None:
                        part = Choice(self.plain(cond, args, turn), part, Num(0.0 if kind == "sum" else 1.0))
                    total = Binary("+" if kind == "sum" else "*", total, part)
                return total
        return rebuild(node, inner)

    def power(self, base: Node, exponent: Node, inner: Callable[[Node], Node]) -> Node:
        """Small whole powers are products, and powers of 2**n are not evaluated here."""
        negative = isinstance(exponent, Unary)
        number = exponent.operand if isinstance(exponent, Unary) else exponent
        x = inner(base)
        if isinstance(number, Num) and number.value in (0.5, 1.0, 2.0, 3.0, 4.0):
            square = Binary("*", x, x)
            found = {0.5: Call("sqrt", (x,)), 1.0: x, 2.0: square, 3.0: Binary("*", square, x),
                     4.0: Binary("*", square, square)}[number.value]  # fmt: skip
            return Binary("/", Num(1.0), found) if negative else found
        if isinstance(base, Num) and base.value > 0.0 and math.frexp(base.value)[0] == 0.5:
            raise Unsupported
        return Call("pow", (x, inner(exponent)))


@cache
def scratch() -> Path:
    """A folder for files under test, with some links and neighbours."""
    folder = Path(tempfile.mkdtemp(prefix="dynlib-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "sub").mkdir()
    model = '[model]\ntype = "map"\n[states]\nx = 1\n[equations]\nexpr = "x = x"\n[mods.m.set.states]\nx = 2\n'
    (folder / "good.toml").write_text(model)
    (folder / "empty.toml").write_text("")
    (folder / "broken.toml").write_bytes(b"\xff\xfe\x00")
    (folder / "loop.toml").symlink_to("loop.toml")
    (folder / "link.toml").symlink_to("good.toml")
    (folder / "nowhere.toml").symlink_to("absent/absent.toml")
    (folder / "up.toml").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.toml")
    return folder


# -- documents as text -----------------------------------------------------------------------------------------


def toml_text(document: Mapping[str, Any]) -> str:
    """A document as TOML, every table in braces."""
    return "".join(f"{toml_string(key)} = {toml_value(value)}\n" for key, value in document.items())


def toml_string(text: str) -> str:
    safe = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in text)
    return f'"{"".join(safe)}"'


def toml_value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value.bit_length() < 10_000 else hex(abs(value))
        case float():
            return repr(value)
        case str():
            return toml_string(value)
        case Mapping():
            return f"{{{', '.join(f'{toml_string(k)} = {toml_value(v)}' for k, v in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case datetime.date():
            return value.isoformat()
    raise TypeError(f"no TOML for {value!r}")


# -- generators: expressions -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """What an expression may use."""

    values: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()  # constants: not to divide by
    arrays: tuple[tuple[str, int], ...] = ()
    functions: tuple[tuple[str, int], ...] = ()
    lags: tuple[str, ...] = ()
    loops: tuple[tuple[str, int, int], ...] = ()
    macros: bool = False
    draws: bool = False
    free: tuple[str, ...] = field(default=("i", "j", "k", "_", "__debug__", "__class__", "e", "lambda", "acc1_"))


_NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "0.5",
    "7",
    "10",
    "0.1",
    "1e-3",
    "1.5",
    "1e300",
    "5e-324",
    ".25",
    "6.",
    "1e5",
    "64",
]
_SMALL = ("0", "1", "2", "0.5", "3", "0.1")
_ONE = [name for name, (least, _) in FUNCTIONS.items() if least == 1]
_TWO = [name for name, (least, most) in FUNCTIONS.items() if least <= 2 <= most]


def expression(draw: Draw, words: Words, fuel: int) -> str:
    """A valid expression, drawn from the grammar."""

    def inner(used: Words = words) -> str:
        return expression(draw, used, fuel // 2)

    atoms = ["number"] + ["value"] * 3 * bool(words.values) + ["loop"] * 2 * bool(words.loops)
    atoms += ["item"] * bool(words.arrays) + ["lag"] * bool(words.lags) + ["constant"] * bool(words.numbers)
    if fuel <= 1:
        kind = draw(st.sampled_from(atoms))
    else:
        more = ["sum", "product", "quotient", "power", "minus", "not", "compare", "logic", "choice", "call", "brackets",
                "reduce"]  # fmt: skip
        more += ["function"] * 2 * bool(words.functions) + ["macro"] * words.macros + ["draw"] * words.draws
        kind = draw(st.sampled_from([*atoms, *more]))
    match kind:
        case "number":
            return str(draw(st.sampled_from(_NUMBERS)))
        case "value":
            return str(draw(st.sampled_from(words.values)))
        case "constant":
            return str(draw(st.sampled_from(words.numbers)))
        case "loop":
            return str(draw(st.sampled_from(words.loops))[0])
        case "item":
            name, size = draw(st.sampled_from(words.arrays))
            return f"{name}[{index(draw, words, size)}]"
        case "lag":
            k = draw(st.integers(0, 4))
            return f"lag_{draw(st.sampled_from(words.lags))}({k or ''})"
        case "sum":
            return f"{inner()} {draw(st.sampled_from('+-'))} {inner()}"
        case "product":
            return f"({inner()})*({inner()})"
        case "quotient":
            op = draw(st.sampled_from(["/", "//", "%"]))
            bottom = draw(st.sampled_from(["2", "0.3", "1e-3"]))
            if words.values and draw(st.booleans()):
                bottom = f"({draw(st.sampled_from(words.values))} + {inner()})"
            return f"({inner()}) {op} {bottom}"
        case "power":
            op = draw(st.sampled_from(["**", "^"]))
            exponent = draw(st.sampled_from(["2", "3", "4", "-2", "0.5", "-1", "1.7", ""])) or f"({inner()})"
            return f"({inner()}){op}{exponent}"
        case "minus":
            return f"-({inner()})" if draw(st.booleans()) else f"- - -{draw(st.sampled_from(_SMALL))}"
        case "not":
            return f"(not {inner()})"
        case "compare":
            ops = draw(st.lists(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), min_size=1, max_size=2))
            return "(" + "".join(f"({inner()}) {op} " for op in ops) + f"({inner()}))"
        case "logic":
            return f"({inner()} {draw(st.sampled_from(['and', 'or']))} {inner()})"
        case "choice":
            return f"({inner()} if {inner()} else {inner()})"
        case "call":
            if draw(st.booleans()):
                return f"{draw(st.sampled_from(_ONE))}({inner()})"
            if draw(st.booleans()):
                return f"{draw(st.sampled_from(_TWO))}({inner()}, {inner()})"
            return f"{draw(st.sampled_from(['clip', 'approx', 'min', 'max']))}({inner()}, {inner()}, {inner()})"
        case "brackets":
            return f"({inner()})"
        case "function":
            name, arity = draw(st.sampled_from(words.functions))
            return f"{name}({', '.join(inner() for _ in range(arity))})"
        case "macro":
            name = draw(st.sampled_from(sorted(EVENT_MACROS)))
            rest = "".join(f", {inner(replace(words, macros=False))}" for _ in range(EVENT_MACROS[name] - 1))
            return f"{name}({draw(st.sampled_from(words.lags))}{rest})"
        case "draw":
            return f"{draw(st.sampled_from(RANDOM))}()"
    used = {loop[0] for loop in words.loops}
    taken = {*words.values, *words.numbers, *(n for n, _ in words.arrays), *(n for n, _ in words.functions)}
    free = [word for word in words.free if word not in used | taken]
    if len(words.loops) >= 3 or not free:
        return "1"
    var = draw(st.sampled_from(free))
    start, length = draw(st.integers(0, 3)), draw(st.integers(0, 4))
    body = replace(words, loops=(*words.loops, (var, start, max(start, start + length - 1))), draws=False)
    tail = f" if {inner(body)}" if draw(st.booleans()) else ""
    kind = draw(st.sampled_from(["sum", "prod"]))
    return f"{kind}({inner(body)} for {var} in range({start}, {start + length}){tail})"


def index(draw: Draw, words: Words, size: int) -> str:
    """An index that stays inside."""
    if words.loops and draw(st.booleans()):
        var, low, high = draw(st.sampled_from(words.loops))
        if high < size and draw(st.booleans()):
            return str(var)
        return f"({var} + {draw(st.integers(0, 9))}) % {size}" if low >= 0 else "0"
    return str(draw(st.integers(0, size - 1)))


def constant(draw: Draw, fuel: int, names: tuple[str, ...]) -> str | float | int:
    """A finite number, or an expression of constants."""
    if fuel <= 1:
        return draw(st.sampled_from([0, 1, -1, 2, 0.5, -0.0, 3.25, 1e-3, -7.5, "-0.0", "1/3", "2*pi", "-e", *names]))  # type: ignore[no-any-return]
    a, b = constant(draw, fuel // 2, names), constant(draw, fuel // 2, names)
    return str(
        draw(st.sampled_from([f"({a}) + ({b})", f"({a})*({b})", f"({a}) - ({b})", f"sin({a})", f"max({a}, {b})"]))
    )


@st.composite
def expression_texts(draw: Draw) -> str:
    """A valid expression of `SCOPE`, or something near one."""
    words = Words(("x", "y", "a", "r", "t"), ("N", "k"), (("u", 5), ("g", 3)), (("f", 1), ("h", 2)), ("x", "y"), (),
                  macros=draw(st.booleans()))  # fmt: skip
    text = expression(draw, words, draw(st.sampled_from([1, 4, 16, 64])))
    return mutated(draw, text, draw(st.integers(0, 3)))


# -- generators: documents -------------------------------------------------------------------------------------


@cache
def words_of_code() -> tuple[str, ...]:
    """Every identifier of generated code, words of Python, of the language and of TOML."""
    found = {*kwlist, *FUNCTIONS, *EVENT_MACROS}
    found |= {
        "match",
        "type",
        "print",
        "self",
        "object",
        "eval",
        "globals",
        "nan",
        "inf",
        "float64",
        "x1",
        "dx",
        "pi",
        "e",
        "tau",
    }
    found |= {"lag_x", "before_x", "before_t", "fn_f", "arg_x", "v_x", "x_"}
    for text in WORDY:
        for kind in ("ode", "map", "sde"):
            noise = {"noise": {"x": "0.1", "u[i]": "0.1"}} if kind == "sde" else {}
            document = {**json.loads(text), "model": {"type": kind}, **noise}
            if "u[3]" not in document["states"]:
                noise.get("noise", {}).pop("u[i]", None)
            for stepper in list_steppers(kind):
                model = model_from_document(document)
                try:
                    source = build(model, stepper=stepper, jit=False, observers=[running_mean("x")]).kernel.source
                except ConfigError:
                    continue  # a stepper for other systems
                found |= set(re.findall(r"[A-Za-z_]\w*", source))
    reserved = {"t", "and", "or", "not", "if", "else", "for", "in", "range", "sum", "prod", "true", "false"}
    return tuple(sorted(w for w in found if w[0].isalpha() and w.lower() not in reserved and len(w) <= 40))


WORDY = (
    """{"states": {"x": 1}, "params": {"p1": 1}, "aux": {"r": "x*p1"},
    "functions": {"f": {"args": ["z"], "expr": "z + t"}},
    "equations": {"rhs": {"x": "f(r) + sum((x + i)**3 for i in range(3)) + lag_x(2)"}}, "sim": {"stop": "x > 9"},
    "events": {"e": {"phase": "both", "cond": "x > 1", "action": "x = 0; p1 += x", "log": ["x"]}}}""",
    """{"states": {"x": 1, "u[3]": 1}, "equations": {"rhs": {"x": "u[0]", "u[i]": "(u[i] + x)**3"}}}""",
)
"""Documents whose code has every kind of line."""
_PLAIN_WORDS = ("x", "y", "z", "v", "w", "a", "b", "c", "mu", "u", "g", "alpha", "I", "E", "k_1", "X", "x0")


def _unused(words: tuple[str, ...], taken: Mapping[str, object]) -> str:
    return next(w for w in (*words, *(f"s{k}" for k in range(99))) if w not in taken)


@st.composite
def documents(draw: Draw) -> dict[str, Any]:
    """A valid document."""
    pool = draw(st.sampled_from([_PLAIN_WORDS, words_of_code()]))
    names = draw(st.lists(st.sampled_from(pool), min_size=14, max_size=14, unique=True))
    kind = draw(st.sampled_from(["ode", "map", "sde"]))
    n_states, n_params = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    free = tuple(w for w in Words().free if w not in names)  # a loop index must mean nothing else in the model
    states, params, names = names[:n_states], names[3 : 3 + n_params], names[5:]
    fuel = draw(st.sampled_from([2, 6, 20]))
    constants: dict[str, Any] = {}
    for name in names[: draw(st.integers(0, 2))]:
        constants[name] = constant(draw, 2, tuple(constants))
    fixed = tuple(constants)

    def number() -> Any:
        return constant(draw, draw(st.integers(1, 3)), fixed)

    document: dict[str, Any] = {"model": {"type": kind}, "constants": constants}
    if draw(st.booleans()):
        document["model"]["name"] = draw(st.text(max_size=8))
    if draw(st.integers(0, 3)) == 0:
        document["model"]["dtype"] = "float32"
    arrays: list[tuple[str, int]] = []
    document["states"] = {name: number() for name in states}
    document["params"] = {name: number() for name in params}
    array_state = draw(st.integers(0, 2)) == 0
    if array_state:
        size = draw(st.integers(1, 5))
        arrays.append((names[2], size))
        values = [number(), [number() for _ in range(size)], f"0.5*i + 1 for i in range({size})"]
        document["states"][f"{names[2]}[{size}]"] = draw(st.sampled_from(values))
    if draw(st.integers(0, 3)) == 0:
        size = draw(st.integers(1, 4))
        arrays.append((names[3], size))
        document["params"][f"{names[3]}[{size}]"] = [number() for _ in range(size)]
    # functions must not be named like those of the language, nor like a lag of a state
    spoken = [w for w in names[4:6] if w not in FUNCTIONS and w not in EVENT_MACROS and not w.startswith("lag_")]
    functions: list[tuple[str, int]] = []
    base = Words(("t", *states, *params), fixed, tuple(arrays), (), tuple(states), free=free)
    document["functions"] = {}
    for name in spoken[: draw(st.integers(0, 2))]:
        args = draw(st.lists(st.sampled_from([*pool[:30], "z", *states]), max_size=2, unique=True))
        inside = replace(base, values=(*dict.fromkeys([*base.values, *args]),), functions=tuple(functions))
        inside = replace(inside, arrays=tuple(a for a in arrays if a[0] not in args))
        inside = replace(inside, numbers=tuple(n for n in fixed if n not in args))
        document["functions"][name] = {"args": args, "expr": expression(draw, inside, fuel)}
        functions.append((name, len(args)))
    aux: dict[str, str] = {}
    for name in names[6 : 6 + draw(st.integers(0, 3))]:
        use = replace(base, values=(*base.values, *aux), functions=tuple(functions))
        aux[name] = expression(draw, use, fuel)
    document["aux"] = aux if draw(st.booleans()) else dict(reversed(aux.items()))
    meant = {*base.values, *aux, *(n for n, _ in (*arrays, *functions))}
    # an argument hides quantities in a function only: what follows sees all of them
    words = replace(base, values=(*base.values, *aux), functions=tuple(functions))
    rhs: dict[str, Any] = {}
    right = replace(words, draws=kind == "map")
    for name in states:
        rhs[name] = expression(draw, right, fuel)
    if array_state:
        name, size = arrays[0]
        var = _unused(("i", "j", "k"), dict.fromkeys([*meant, *fixed]))
        rhs[f"{name}[{var}]"] = expression(draw, replace(right, loops=((var, 0, size - 1),)), fuel)
    document["equations"] = {"rhs": rhs} if draw(st.booleans()) else {"expr": _lines_of(rhs, kind)}
    now = replace(words, lags=())
    if kind == "map" and draw(st.integers(0, 4)) == 0 and not array_state:
        document["equations"]["inverse"] = {name: expression(draw, now, 3) for name in states}
        # functions and aux variables may read the past, which an inverse cannot
    if draw(st.integers(0, 5)) == 0 and not array_state:
        document["equations"]["jacobian"] = {"expr": [[expression(draw, now, 2) for _ in states] for _ in states]}
    if kind == "sde":
        if array_state or draw(st.booleans()):
            document["noise"] = {name: expression(draw, words, 3) for name in states[:1]}
            if array_state:
                var = _unused(("m", "j", "i"), dict.fromkeys([*meant, *fixed]))
                document["noise"][f"{arrays[0][0]}[{var}]"] = f"0.1*{var}"
        else:
            document["noise"] = {name: [expression(draw, words, 2) for _ in range(2)] for name in states}
    document["events"] = {}
    targets = [*states, *params, *(f"{n}[{s - 1}]" for n, s in arrays)]
    for name in draw(st.lists(st.sampled_from(["e1", "status", "class", "k1"]), max_size=2, unique=True)):
        event: dict[str, Any] = {"cond": expression(draw, replace(words, macros=True), fuel)}
        event["phase"] = draw(st.sampled_from(["pre", "post", "both", "start", "end"]))
        acts = []
        for _ in range(draw(st.integers(0, 3))):
            op = draw(st.sampled_from(["=", "=", "+=", "-=", "*="]))
            acts.append(f"{draw(st.sampled_from(targets))} {op} {expression(draw, replace(words, draws=True), 4)}")
        event["action"] = draw(st.sampled_from(["; ", "\n"])).join(acts)
        event["log"] = list(dict.fromkeys(expression(draw, words, 2) for _ in range(draw(st.integers(0, 2)))))
        event["tags"] = draw(st.lists(st.text(max_size=3), max_size=2, unique=True))
        document["events"][name] = event
    if draw(st.booleans()):
        document["presets"] = {"p-1": {"states": dict.fromkeys(states[:1], 1.5), "params": {}}}
    sim: dict[str, Any] = {}
    for key, values in (
        ("t0", [0.0, -1.0, 2.5]), ("t_end", [3.0]), ("dt", [0.25, 1.0, 1e-3]), ("record", [True, False]),
        ("max_steps", [100]), ("rtol", [1e-4]), ("stop", [None]),
    ):  # fmt: skip
        if draw(st.integers(0, 3)) == 0:
            value = draw(st.sampled_from(values))
            sim[key] = expression(draw, replace(words, macros=True), 3) if value is None else value
    document["sim"] = sim
    document["mods"] = {"m": {"set": {"states": {states[0]: number()}}}}
    if draw(st.booleans()):
        document["meta"] = {"note": draw(st.text(max_size=5)), "n": 3}
    return {key: table for key, table in document.items() if table or draw(st.booleans())}


def _lines_of(rhs: Mapping[str, str], kind: str) -> str:
    lines = []
    for target, text in rhs.items():
        name, bracket, rest = target.partition("[")
        lines.append(f"{name}{bracket}{rest} = {text}" if kind == "map" else f"d({name}){bracket}{rest} = {text}")
    return "# lines\n" + "\n\n".join(lines)


# -- mutators --------------------------------------------------------------------------------------------------

_TOKEN_WORDS = """
( ) [ ] { } , . ; = == # " ' \"\"\" \\ + - * ** / // % ^ < >= != ! ~ & | @ : := -> ` $ ? and or not if else for
in range sum( prod( lambda import None true t 0 1 -1 1e308 1e309 5e-324 10**10**10 99999999999999999999
9007199254740993 0x10 1_0 1j inf nan 1. .5 1e 0b1 10**400 2**20000 1/0 0**-1 (-1)**0.5 log(0) x y u u[0] u[N]
u[-1] u[i] u[99999999999] lag_x(1) lag_x(1001) lag_x(x) lag_u(1) changed(x) rand() randn() sign( clip(x,0,1)
x[1:2] x.real f(f(1)) __import__('os') __class__ __debug__ ().__class__ exec('1') globals() [model] [states]
[[states]] [a.b.c.d] a.b.c=1 type expr d(x)= dx/dt= inline: #mod=m cross_up(x,1) λ х ａ ² 𝑥 é ١
"""
TOKENS = (
    *_TOKEN_WORDS.split(),
    "cross_either(x, cross_either(x, 1))",
    "sum(1 for i in range(10**9))",
    "sum(i for i in range(1000000))",
    " for i in range(3)",
    *["\n", "\t", "\x00", "\x85", "\x0b", "\x1c", "\u2028", "\u200b", "\u202e", "\ufeff", "�"],
)
"""What a mutator puts into a text: the language and its neighbours, odd numbers, letters that look like others."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**63, 10**12, 10**400, 2**20_000, -(2**20_000), 0.0, -0.0, 3.5, 1e308, 1e-320),
    *(float("inf"), float("nan"), "", " ", "x", "t", "0", "1/0", "10**10**10", "9**9**9**9", "x" * 300, "x" * 30_000),
    *("(" * 70 + "x" + ")" * 70, "-" * 300 + "x", "not " * 199 + "x", "+".join("x" * 250), "%".join("x" * 199)),
    *("x if x else " * 70 + "x", "sign(" * 50 + "x" + ")" * 50, "clip(" * 50 + "x" + ",0,1)" * 50),
    *("sum(" * 12 + "x" + "".join(f" for i{k} in range(2))" for k in range(12)), "min(x," * 50 + "1" + ")" * 50),
    *("sum(x for i in range(1000000000000))", "i for i in range(1000000000000)", "max(" + "x," * 63 + "x)"),
    *("cross_either(x, " * 40 + "1" + ")" * 40, [], [[]], [[1], "x"], {}, {"expr": "x"}, {"a": {"b": {"c": 1}}}),
    *([1.0] * 3, ["1", "x"], datetime.date(2000, 1, 1), "\u0445", "x\x00", "x\ny", "x # y", "x;y", '"', "'", "\\"),
    *("x + 1", "x**2", "-x", "sin(x)", "x > 0", "x = 1", "dx = 1", "d(x) = x", ["x"], ["x", "x"], "post", "pre"),
)
"""What a mutator puts into a document; None takes a value away."""
_KEY_WORDS = """
type name dtype rhs expr args cond action log tags phase x u[N] u[3] u[1000000000000] u[0] u[1.5]
theta[10**12] u[u[1]] u[ u[] u[i] du[i] d(x) dx/dt t e pi lag_x if class lambda None True true __class__
__debug__ _x x.y x-y 1x last_t record_t0 acc1_ q1_ DONE times reals F np inf status n h dt
"""
KEYS = (
    *TABLES,
    *_KEY_WORDS.split(),
    *(
        "remove",
        "replace",
        "add",
        "set",
        "states",
        "m",
        "stop",
        "",
        " x",
        "x ",
        "\u0445",
        "\u03bb",
        "x\n",
        "x" * 101,
        "x" * 5000,
    ),
)
"""Names a mutator gives to tables and keys."""


def builtin_text(location: str) -> str:
    """The file of a model that comes with the library."""
    return (resources.files("dynlib.models") / f"{location.removeprefix('builtin://')}.toml").read_text("utf-8")


def mutated(draw: Draw, text: str, times: int) -> str:
    """The text with some tokens deleted, doubled, repeated, exchanged or put in."""
    parts = re.findall(r"\w+|\s+|.", text, re.DOTALL)
    for _ in range(times):
        at = draw(st.integers(0, len(parts)))
        match draw(st.integers(0, 6)):
            case 0:
                del parts[at : at + draw(st.integers(1, 4))]
            case 1 | 2:
                parts.insert(at, draw(st.sampled_from(TOKENS)))
            case 3:
                parts[at : at + 1] = [draw(st.sampled_from(TOKENS))]
            case 4:
                parts[at:at] = parts[at : at + draw(st.integers(1, 8))] * draw(st.sampled_from([1, 2, 30, 250]))
            case 5:
                other = draw(st.integers(0, len(parts)))
                parts[at : at + 1], parts[other : other + 1] = parts[other : other + 1], parts[at : at + 1]
            case _:
                n = draw(st.sampled_from([1, 5, 59, 200]))
                parts[at : at + 1] = ["(" * n, *parts[at : at + 1], ")" * n]
    return "".join(parts)


def changed(draw: Draw, document: dict[str, Any], times: int) -> dict[str, Any]:
    """The document with some keys and values removed, renamed, exchanged, copied or put in."""
    for _ in range(times):
        tables = [document]
        tables += [value for table in tables for value in table.values() if isinstance(value, dict)]
        # the list grows while it is read: tables in tables too
        table = draw(st.sampled_from(tables))
        keys = list(table)
        key = draw(st.sampled_from(keys)) if keys else "x"
        match draw(st.integers(0, 6)):
            case 0:
                table.pop(key, None)
            case 1 | 2:
                table[key] = draw(st.sampled_from(VALUES))
            case 3:
                table[draw(st.sampled_from(KEYS))] = table.pop(key, 1)
            case 4:
                table[draw(st.sampled_from(KEYS))] = draw(st.sampled_from(VALUES))
            case 5:
                other = draw(st.sampled_from(tables))
                if isinstance(table.get(key), str | int | float | list):
                    other[key] = table[key]
            case _:
                if isinstance(table.get(key), str):
                    table[key] = mutated(draw, table[key], 2)
    return document


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value if v is not None] if isinstance(value, list) else value


@st.composite
def changed_documents(draw: Draw) -> dict[str, Any]:
    """Documents near valid ones."""
    return changed(draw, draw(documents()), draw(st.integers(1, 4)))


@st.composite
def changed_texts(draw: Draw) -> str:
    """Texts near valid documents."""
    text = toml_text(draw(documents()))
    if draw(st.booleans()):
        name = draw(st.sampled_from(builtin_models()))
        text = builtin_text(name)
    return mutated(draw, text, draw(st.integers(1, 4)))


@st.composite
def changed_bytes(draw: Draw) -> bytes:
    """Files near valid ones, byte by byte."""
    data = bytearray(draw(changed_texts()).encode("utf-8", "replace"))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                data[at:at] = draw(
                    st.sampled_from([b"\xff", b"\x00", b"\xc0\x80", b"\xed\xa0\x80", b"\r", b"\xef\xbb\xbf"])
                )
            case 2:
                del data[at : at + draw(st.integers(1, 30))]
            case _:
                del data[at:]
    return bytes(data)


@st.composite
def mods(draw: Draw) -> tuple[dict[str, Any], dict[str, Any]]:
    """A valid document and a mod that may do anything to it."""
    document = draw(documents())
    names = [key for table in ("events", "params", "aux", "functions", "states") for key in document.get(table, {})]
    names += ["nothing"]

    mod: dict[str, Any] = {}
    for verb in draw(st.lists(st.sampled_from([*VERBS, "group", "exclusive", "other"]), max_size=4)):
        where = draw(st.sampled_from([*VERBS.get(verb, ()), "equations"]))
        some = draw(st.lists(st.sampled_from(names), max_size=3))
        body: Any = {name: draw(st.sampled_from(VALUES)) for name in some}
        if verb == "remove" and draw(st.integers(0, 3)):
            body = {"names": some}
        mod[verb] = {where: body} if draw(st.integers(0, 3)) else draw(st.sampled_from(VALUES))
    return document, mod


_PATH_WORDS = """
good.toml link.toml loop.toml nowhere.toml up.toml pipe.toml empty.toml broken.toml sub .. / ../ ./ #mod=m
#mod= , m builtin:// builtin://ode/lorenz inline: ~ ~root file:// http://x * ? %2e%2e \\ .toml #
"""
_LOCATION_PARTS = (
    *_PATH_WORDS.split(),
    *(
        "ode/",
        "=",
        'x="',
        "errors.py",
        "/dev/stdin",
        "/proc/self/mem",
        "/etc/passwd",
        "\0",
        "\n",
        " ",
        "x" * 300,
        "\u0445",
        "\ud800",
    ),
    *("[model]\n", "[mod]\nname='m'\nset={states={x=3}}"),
)


@st.composite
def locations(draw: Draw) -> tuple[str, tuple[str, ...]]:
    """Locations and mods, most of them nonsense."""

    def one() -> str:
        text = "".join(draw(st.lists(st.sampled_from(_LOCATION_PARTS), max_size=4)))
        match draw(st.integers(0, 4)):
            case 0:
                return text
            case 1:
                return f"builtin://{text}"
            case 2:
                return f"{draw(st.sampled_from(builtin_models()))}{text}"
            case 3:
                return f"{scratch()}/good.toml#mod=m{text}"
        return f"{scratch()}/{text}"

    return one(), tuple(one() for _ in range(draw(st.integers(0, 2))))


@st.composite
def observers(draw: Draw) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """A valid document and observers that may fit it."""
    document = draw(documents())
    pool = draw(st.sampled_from([_PLAIN_WORDS, words_of_code()]))
    states = [name for name in document["states"] if "[" not in name]
    made: list[tuple[Any, ...]] = []
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from([*pool, "o", "before", "before_x", ""]))
        keys = draw(st.lists(st.sampled_from([*pool, "m", "c_d"]), min_size=1, max_size=3, unique=True))
        memory = {key: draw(st.sampled_from([0.0, 1.0, 1e300, 10**400, 2**20_000, True, -1])) for key in keys[:2]}
        words = Words(("t", "before_t", *states, *(f"before_{x}" for x in states), *memory))
        update = {key: mutated(draw, expression(draw, words, 6), draw(st.integers(0, 1))) for key in keys}
        read = {"r": expression(draw, Words(tuple(memory)), 4)} if memory else {}
        made.append((name, memory, update, read))
    return document, made


# -- what is tried ---------------------------------------------------------------------------------------------

UNFORESEEN = (
    "division by 0",
    "the derivative",
    "written out",
    "nested deeper",
    "terms in a row",
    "an inverse goes back in time",
    "functions that call one another",
)
"""Why a document from the grammar may be refused after all."""


def try_valid(document: dict[str, Any]) -> None:
    """A valid document is a model."""
    text = toml_text(document)
    check_text(text)
    try:
        load_model(f"inline:{text}", ("m",))
    except ModelError as problem:
        demand(any(part in str(problem) for part in UNFORESEEN), f"a valid document is refused: {problem}")


def try_compiled(document: dict[str, Any]) -> None:
    """Compiled code computes the bits of interpreted code. Takes seconds for each model."""
    global current
    current = toml_text(document)
    try:
        model = model_from_document(document)
    except ModelError:
        return
    steppers = list_steppers(model.kind)
    found = []
    for jit in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                full = build(model, stepper=steppers[zlib.crc32(current.encode()) % len(steppers)], jit=jit)
            except ConfigError:
                return
            sim = Sim(full)
            sim.run(N=5, max_steps=40, record=True)
        values = [sim.state_vector(), sim.param_vector(), sim.raw_results().data]
        found.append([np.where(np.isnan(v), v.dtype.type(np.nan), v).tobytes() for v in values])
    demand(found[0] == found[1], f"compiled code computes something else:\n{full.kernel.source}")


def try_changed_document(document: dict[str, Any]) -> None:
    """A document near a valid one, as text and as plain values."""
    check_text(toml_text(_without_none(document)))
    with bounded():
        try:
            model_from_document(document, "fuzz.toml")
        except ModelError as problem:
            refused(problem, "fuzz.toml")


def try_mods(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """A valid document with any mod."""
    document, mod = case
    check_text(toml_text({**document, "mods": {"other": _without_none(mod)}}), ("other",))


def try_location(case: tuple[str, tuple[str, ...]]) -> None:
    """Any location with any mods."""
    check_location(*case)


def try_observers(case: tuple[dict[str, Any], list[tuple[Any, ...]]]) -> None:
    """Observers fit a model, or an error says why not."""
    global current
    document, made = case
    current = toml_text(document) + "".join(f"{o[0]} {toml_value(o[1:])}\n" for o in made)
    with bounded():
        try:
            model = model_from_document(document, "fuzz.toml")
            found = tuple(Observer(*parts) for parts in made)
            bind(found, model)
        except (ModelError, ConfigError) as problem:
            demand(len(str(problem)) <= MESSAGE, "a long error")
            return
        if step_work(model) <= RUN_WORK and (sim := run(model, observers=found)) is not None:
            for observer in found:
                demand(set(sim.observer(observer.name)) >= set(observer.memory), "an observer without its memory")


def try_expression_bytes(data: bytes) -> None:
    """Bytes as they come are an expression."""
    check_expression(data.decode("utf-8", "ignore"))


PROPERTIES: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], object]]] = {
    "valid": (documents(), try_valid),
    "changed document": (changed_documents(), try_changed_document),
    "changed text": (changed_texts(), check_text),
    "changed bytes": (changed_bytes(), check_file),
    "expression": (expression_texts(), check_expression),
    "mods": (mods(), try_mods),
    "location": (locations(), try_location),
    "observers": (observers(), try_observers),
}
"""What holds for which generated inputs."""
SLOW: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], object]]] = {"compiled": (documents(), try_compiled)}
"""Tried only where it is asked for."""
RAW: dict[str, Callable[[bytes], object]] = {"raw file": check_file, "raw expression": try_expression_bytes}
"""What holds for all bytes."""


def property_of(name: str, examples: int) -> Callable[[], None]:
    """A property as a test with the same inputs every time."""
    strategy, contract = (PROPERTIES | SLOW)[name]

    def test(value: Any) -> None:
        contract(value)

    fixed = settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    return fixed(given(strategy)(test))


# -- the long run ----------------------------------------------------------------------------------------------


class Lines:
    """Lines of dynlib that were reached, from the events of the interpreter (Python 3.12 and later)."""

    def __init__(self) -> None:
        self.seen = 0
        self.known = hasattr(sys, "monitoring")
        if self.known:
            monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
            monitoring.use_tool_id(monitoring.COVERAGE_ID, "dynlib fuzzing")
            monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, self.reached)
            monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)

    def reached(self, code: CodeType, line: int) -> Any:
        """Count a line once."""
        self.seen += "dynlib" in code.co_filename
        return sys.monitoring.DISABLE  # type: ignore[attr-defined]


class Campaign:
    """Inputs by the thousand, and what broke."""

    def __init__(self, targets: list[str], failures: Path) -> None:
        self.failures, self.began = failures, time.monotonic()
        self.tried: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.told = self.began
        self.targets: list[tuple[str, Callable[[bytes], object]]] = []
        for name in targets:
            one: Any = RAW[name] if name in RAW else property_of(name, 1).hypothesis.fuzz_one_input  # type: ignore[attr-defined]
            self.targets.append((name, one))

    def feed(self, data: bytes) -> None:
        """One input: the first byte chooses the property."""
        global current
        name, one = self.targets[(data[0] if data else 0) % len(self.targets)]
        current = ""
        self.tried[name] += 1
        try:
            one(data[1:])
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is a finding
            self.note(name, problem)
        if time.monotonic() - self.told > 60:
            self.told = time.monotonic()
            self.report()

    def note(self, name: str, problem: Exception) -> None:
        """Keep the first input of each kind of failure."""
        frames = [
            f for f in traceback.extract_tb(problem.__traceback__) if "dynlib" in f.filename or "fuzz" in f.filename
        ]
        spot = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        label = f"{type(problem).__name__} {spot} {str(problem)[:60]!r}"
        self.broken[label] += 1
        if self.broken[label] == 1:
            self.failures.mkdir(parents=True, exist_ok=True)
            path = self.failures / f"failure-{len(self.broken)}.txt"
            told = "".join(traceback.format_exception(problem))
            path.write_bytes(f"{name}\n\n{current}\n\n{told}".encode("utf-8", "backslashreplace"))
            print(f"BROKEN [{name}] {label}: {path}", flush=True)

    def report(self) -> None:
        """Say how far it went."""
        total = sum(self.tried.values())
        counts = ", ".join(f"{name} {n}" for name, n in sorted(self.tried.items()))
        print(f"{time.monotonic() - self.began:.0f} s: {total} inputs ({counts}); {len(self.broken)} kinds of failure",
              flush=True)  # fmt: skip


def guided(campaign: Campaign, seconds: float, seed: int, corpus: Path) -> None:
    """Let atheris choose the inputs. Does not return."""
    import atheris

    for name, module in list(sys.modules.items()):
        if name.startswith(("dynlib.spec.", "dynlib.compile.")) and name != "dynlib.compile.elementary":
            for value in vars(module).values():
                parts = list(vars(value).values()) if isinstance(value, type) else [value]
                for part in parts:
                    if (
                        isinstance(part, FunctionType)
                        and part.__module__ == name
                        and part.__code__.co_filename[:1] != "<"
                    ):
                        atheris.instrument_func(part)
    corpus.mkdir(parents=True, exist_ok=True)
    dictionary = corpus.parent / "tokens.dict"
    words = [t for t in (*TOKENS, *KEYS) if t and t.isascii() and t.isprintable() and len(t) < 60]
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    dictionary.write_text("".join(f'"{word}"\n' for word in quoted))
    for k, (name, _) in enumerate(campaign.targets):
        if name in RAW:
            for location in builtin_models():
                text = (
                    Path(str(sys.modules["dynlib"].__file__)).parent / "models" / f"{location[10:]}.toml"
                ).read_bytes()
                (corpus / f"{location.rsplit('/', 1)[-1]}-{k}").write_bytes(bytes([k]) + text)
        for n in range(20):
            (corpus / f"random-{k}-{n}").write_bytes(bytes([k]) + random.Random(n).randbytes(3000))
    atheris.Setup(
        [
            *(sys.argv[0], f"-max_total_time={seconds:.0f}", f"-seed={seed}", "-max_len=8000", "-len_control=20"),
            *("-timeout=120", "-rss_limit_mb=4000", f"-dict={dictionary}", "-print_final_stats=1", str(corpus)),
        ],
        campaign.feed,
    )
    atheris.Fuzz()


def unguided(campaign: Campaign, seconds: float, seed: int) -> None:
    """Random inputs, and changes of those that reached new lines where that is known."""
    source, lines = random.Random(seed), Lines()
    pool: list[bytes] = []
    while time.monotonic() - campaign.began < seconds:
        data = bytearray(source.randbytes(source.choice([50, 500, 4000])))
        if pool and source.random() < 0.7:
            data = bytearray(source.choice(pool))
            for _ in range(source.randint(1, 8)):
                data[source.randrange(len(data))] = source.randrange(256)
        before = lines.seen
        campaign.feed(bytes(data))
        if lines.seen > before:
            pool.append(bytes(data))
    if lines.known:
        print(f"{lines.seen} lines of dynlib reached, {len(pool)} inputs kept")


def main() -> int:
    """The long run."""
    arguments = argparse.ArgumentParser(description="Fuzz model files and expressions for a while.")
    arguments.add_argument("--minutes", type=float, default=10.0)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument(
        "--target", action="append", choices=[*PROPERTIES, *RAW, *SLOW], help="try only this; may be repeated"
    )
    arguments.add_argument("--engine", choices=["auto", "atheris", "random"], default="auto")
    arguments.add_argument("--failures", type=Path, default=Path(tempfile.gettempdir(), "dynlib-fuzz-failures"))
    arguments.add_argument("--corpus", type=Path, default=scratch() / "corpus")
    chosen = arguments.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.dont_write_bytecode = True
    os.environ["DYNLIB_CACHE_DIR"] = str(scratch() / "cache")
    campaign = Campaign(chosen.target or [*PROPERTIES, *RAW], chosen.failures)
    installed = find_spec("atheris") is not None
    if chosen.engine == "atheris" and not installed:
        arguments.error("atheris is not here; `pip install atheris` puts it into this environment")
    if installed and chosen.engine != "random":
        guided(campaign, 60 * chosen.minutes, chosen.seed, chosen.corpus)
    else:
        unguided(campaign, 60 * chosen.minutes, chosen.seed)
    campaign.report()
    return 1 if campaign.broken else 0


if __name__ == "__main__":
    sys.exit(main())
