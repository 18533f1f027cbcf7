"""Observers: memory that follows a run step by step, written in the expressions of the model language."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import force_setattr

from dynlib.arguments import checked
from dynlib.errors import ConfigError, ModelError, Where
from dynlib.spec.expressions import MAX_NAME, Lag, Node, canonical, is_reserved, parse, walk
from dynlib.spec.model import Model
from dynlib.spec.resolve import Resolver, Scope, Terms, evaluate
from dynlib.spec.work import MAX_WORK, work_of, work_of_calls

BEFORE = "before_"


def _is_name(word: str) -> bool:
    return len(word) <= MAX_NAME and word.isascii() and word.isidentifier() and word[0].isalpha()


def _text(where: Where, key: str, value: object) -> str:
    if not isinstance(value, str | int | float):
        raise ConfigError(f"{where}: {key!r} must be an expression in quotes, not {value!r}")
    return str(value)


class Observer(Struct, frozen=True):
    """A named set of numbers that is updated after every completed step and is part of the state.

    `memory` maps names to initial values. `update` maps names to expressions, done in this order after the events of
    the step; a name that is not in the memory is a value for the later lines only. An expression may read states,
    parameters, aux variables, `t`, the memory, and `before_x`, `before_t`: a state and the time before the step.
    `read` maps further names to expressions of the memory alone, computed when somebody looks. Names that the model
    has too mean what the observer says, inside the observer. All numbers of an observer are float64, also in a model of
    float32; they may become infinite or NaN, which ends no run.

    >>> import dynlib
    >>> steps = dynlib.Observer("path", {"length": 0.0}, {"length": "length + abs(x - before_x)"})
    >>> sim = dynlib.setup("builtin://map/logistic", observers=[steps])
    >>> outcome = sim.run(N=100)
    >>> round(sim.observer("path")["length"], 1)
    43.5
    """

    name: str
    memory: Mapping[str, float]
    update: Mapping[str, str]
    read: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        name, memory, update, read = self.name, self.memory, self.update, self.read
        where = Where("", f"observer {name}")
        if not isinstance(name, str) or not _is_name(name):
            raise ConfigError(f"the name of an observer must be a word, not {name!r}")
        for part, table in (("memory", memory), ("update", update), ("read", read)):
            if not isinstance(table, Mapping) or any(not isinstance(key, str) for key in table):
                raise ConfigError(f"{where}: {part} must be a table of names, not {table!r}")
        for key, start in memory.items():
            if isinstance(start, bool) or not isinstance(start, int | float) or not abs(start) <= sys.float_info.max:
                found = "a whole number too large for a float" if type(start) is int else repr(start)
                raise ConfigError(f"{where}: the memory {key!r} begins with a finite number, not {found}")
        for word in (*memory, *update, *read):
            if not _is_name(word) or is_reserved(word):
                raise ConfigError(f"{where}: {word!r} is not a name")
        values = {key: float(value) for key, value in memory.items()}
        texts, reads = ({key: _text(where, key, text) for key, text in part.items()} for part in (update, read))
        for key, value in (("name", name), ("memory", values), ("update", texts), ("read", reads)):
            force_setattr(self, key, value)
        for key in reads:
            if key in values:
                raise ConfigError(f"{where}: {key!r} is in the memory already; read it under another name")
        unchanged = [key for key in values if key not in texts]
        if unchanged:
            raise ConfigError(f"{where}: nothing updates {unchanged[0]!r}")

    def as_document(self) -> dict[str, Any]:
        """The observer in plain values."""
        return {"name": self.name, "memory": self.memory, "update": self.update, "read": self.read}


class BoundObserver(Struct, frozen=True):
    """An observer whose expressions are resolved against a model."""

    observer: Observer
    updates: tuple[tuple[str, Node], ...]
    reads: tuple[tuple[str, Node], ...]

    @property
    def name(self) -> str:
        """Its name."""
        return self.observer.name

    def field(self, key: str) -> str:
        """The name of one of its numbers in the state."""
        return f"observer_{self.name}_{key}"

    @property
    def text(self) -> str:
        """What it computes, in one spelling."""
        lines = [f"{key} = {canonical(node)}" for key, node in self.updates]
        return "\n".join([self.name, ", ".join(self.observer.memory), *lines])

    def values(self, memory: Mapping[str, float]) -> dict[str, float]:
        """The memory with what is read from it; NaN where that is not defined."""
        found = dict(memory)
        for key, node in self.reads:
            try:
                found[key] = evaluate(node, found, Terms())
            except (ArithmeticError, ValueError):
                found[key] = float("nan")
        return found


def bind(observers: Iterable[Observer], model: Model) -> tuple[BoundObserver, ...]:
    """Observers made ready for a model. Raises `ConfigError`, and `ModelError` for their expressions."""
    if isinstance(observers, Observer) or not isinstance(observers, Iterable):
        said = f"{observers.name!r} alone" if isinstance(observers, Observer) else repr(observers)
        raise ConfigError(f"observers must be a list, such as [running_mean('x')], not {said}")
    found: dict[str, BoundObserver] = {}
    for observer in observers:
        if not isinstance(observer, Observer):
            raise ConfigError(f"observers must be Observer values, such as running_mean('x'), not {observer!r}")
        if observer.name in found:
            raise ConfigError(f"there are two observers named {observer.name!r}")
        found[observer.name] = _bind(observer, model)
    owners: dict[str, str] = {}
    for each in found.values():
        for key in {**each.observer.memory, **each.observer.update}:
            other = owners.setdefault(each.field(key), each.name)
            if other != each.name:
                raise ConfigError(
                    f"observers {other!r} and {each.name!r} both have {each.field(key)}; rename one of them"
                )
    return tuple(found.values())


def _bind(observer: Observer, model: Model) -> BoundObserver:
    where = Where(model.name, f"observer {observer.name}")
    scope = Scope(
        frozenset(q.name for q in model.states),
        frozenset(q.name for q in model.params),
        dict(model.constants),
        {q.name: q.size for q in (*model.states, *model.params) if q.size is not None},
        frozenset(a.name for a in model.aux),
        {f.name: len(f.args) for f in model.functions},
    )
    before = {f"{BEFORE}{q.name}" for q in model.states if q.size is None} | {f"{BEFORE}t"}
    known = {*observer.memory, *before}
    calls = work_of_calls(model, where)
    updates = []
    for key, text in observer.update.items():
        at = where.at(key=key)
        node = Resolver(scope, text, at, args=frozenset(known)).whole(parse(text, at))
        if any(isinstance(part, Lag) for part in walk(node)):
            raise ConfigError(f"{at}: an observer keeps its own past and cannot use lags")
        if work_of(node, calls) > MAX_WORK:
            raise ModelError(f"one step would take more than {MAX_WORK:g} operations", at)
        updates.append((key, node))
        known.add(key)
    reads, seen = [], frozenset(observer.memory)
    for key, text in observer.read.items():
        at = where.at(key=key)
        reads.append((key, Resolver(Scope(), text, at, args=seen, timed=False).whole(parse(text, at))))
        seen = seen | {key}
    return BoundObserver(observer, tuple(updates), tuple(reads))


@checked
def running_mean(variable: str, name: str | None = None) -> Observer:
    """Count, mean and variance of a variable, or an expression, over the steps (Welford 1962).

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://map/logistic", observers=[dynlib.running_mean("x")])
    >>> outcome = sim.run(N=100)
    >>> round(sim.observer("mean_of_x")["mean"], 2)
    0.63
    """
    x = f"({variable})"
    return _of_variable(
        variable,
        name or f"mean_of_{_word(variable)}",
        {"count": 0.0, "mean": 0.0, "m2": 0.0},
        {
            "count": "count + 1",
            "delta": f"{x} - mean",
            "mean": "mean + delta/count",
            "m2": f"m2 + delta*({x} - mean)",
        },
        {"variance": "m2/count", "deviation": "sqrt(m2/count)"},
    )


@checked
def extrema(variable: str, name: str | None = None) -> Observer:
    """The least and greatest value of a variable, or an expression, at a step, and their times.

    >>> import dynlib
    >>> sim = dynlib.setup("builtin://map/logistic", observers=[dynlib.extrema("x")])
    >>> outcome = sim.run(N=100)
    >>> found = sim.observer("extrema_of_x")
    >>> round(found["least"], 2), round(found["greatest"], 2)
    (0.1, 0.97)
    """
    x = f"({variable})"
    return _of_variable(
        variable,
        name or f"extrema_of_{_word(variable)}",
        {"count": 0.0, "least": 0.0, "greatest": 0.0, "t_least": 0.0, "t_greatest": 0.0},
        {
            "t_least": f"t if count == 0 or {x} < least else t_least",
            "t_greatest": f"t if count == 0 or {x} > greatest else t_greatest",
            "least": f"{x} if count == 0 or {x} < least else least",
            "greatest": f"{x} if count == 0 or {x} > greatest else greatest",
            "count": "count + 1",
        },
        {},
    )


def _word(variable: str) -> str:
    """`u[3]` as part of a name."""
    return re.sub(r"\W+", "_", variable).strip("_")


def _of_variable(
    variable: str, name: str, memory: Mapping[str, float], update: Mapping[str, str], read: Mapping[str, str]
) -> Observer:
    """An observer of one variable. Raises `ConfigError` where its own names would hide those in the variable."""
    if hidden := sorted({*memory, *update} & set(re.findall(r"\w+", variable))):
        raise ConfigError(
            f"observer {name}: {hidden[0]!r} in {variable!r} is a name that this observer has for itself; "
            "write an Observer with other names"
        )
    return Observer(name, memory, update, read)
