"""Arguments of public calls: what is of a wrong kind is refused before anything is done, by what the signature says."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from typing import Any, TypeVar, cast

from dynlib.errors import ConfigError, ReadOnlyError, UnknownNameError, shortened

Call = TypeVar("Call", bound=Callable[..., Any])
Kind = TypeVar("Kind")
_LARGEST = int(sys.float_info.max)


def is_number(value: object) -> bool:
    """Whether something is a real number that a float can hold, and not a truth value; NaN and infinity are numbers."""
    if isinstance(value, float):
        return True
    if isinstance(value, int):
        return not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST
    return isinstance(value, Real)


def said(value: object) -> str:
    """A value as a message shows it."""
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        return "a whole number too large for a float"
    return shortened(" ".join(repr(value).split()), 100)


def _names(value: object) -> bool:
    return (
        isinstance(value, Collection) and not isinstance(value, bytes) and all(isinstance(each, str) for each in value)
    )


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "None": (lambda value: value is None, ""),
    "str": (lambda value: isinstance(value, str), "a text"),
    "bool": (lambda value: isinstance(value, bool) or type(value).__name__ == "bool", "True or False"),
    "int": (lambda value: isinstance(value, Integral) and not isinstance(value, bool), "a whole number"),
    "float": (lambda value: is_number(value) and value == value, "a number"),
    "Sequence[str]": (_names, "a list of texts"),
    "Mapping": (lambda value: isinstance(value, Mapping), "a table by name, as in {'x': …}"),
    "os.PathLike": (lambda value: isinstance(value, os.PathLike), "a path"),
    "Progress": (callable, "a function of (fraction, t)"),
    "Callable": (callable, "a function"),
}
"""By the word of a signature: whether a value is of that kind (a truth value of numpy too), and what it is called."""
_OBJECTS = {
    "Axes": "Axes of matplotlib, as plt.subplots() gives them",
    "Buffers": "Buffers(…)",
    "FullModel": "a model ready to run, as dynlib.build(…) or sim.full_model gives it",
    "Model": "a model, as dynlib.load_model(…) gives it",
    "ResultsView": "results, as sim.results() gives them",
    "SessionState": "a state of a session, as sim.state gives it",
    "Sim": "a session, as dynlib.setup(…) makes it",
    "Snapshot": "a snapshot, as sim.create_snapshot(…) gives it",
    "Tree": "a tree, as sim.tree() gives it",
}
"""Objects by the name of their class, which may belong to a package that is not imported yet."""


class _Places:
    """What the signature of a call says of its arguments; it is read when the call is made for the first time."""

    def __init__(self, call: Callable[..., Any]) -> None:
        places = list(signature(call).parameters.values())
        either = [p.name for p in places if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
        self.named = [p.name for p in places if p.kind is Parameter.KEYWORD_ONLY]
        self.nameless = [p.name for p in places if p.kind is Parameter.POSITIONAL_ONLY]
        self.order = self.nameless + either
        self.keywords = [name for name in either + self.named if name != "self"]
        self.rest = next((p.name for p in places if p.kind is Parameter.VAR_POSITIONAL), None)
        self.any_keyword = any(p.kind is Parameter.VAR_KEYWORD for p in places)
        self.words = {p.name: _words(str(p.annotation)) for p in places if p.kind is not Parameter.VAR_KEYWORD}
        self.title = call.__qualname__.removesuffix(".__init__").rpartition(".")[2]

    def check(self, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        """Raises `ConfigError` and `UnknownNameError`."""
        if len(args) > len(self.order) and self.rest is None:
            shown = ", ".join(said(value) for value in args[self.order.count("self") :])
            example = (self.named or self.keywords or ["NAME"])[0]
            if self.nameless and self.any_keyword:
                example = next((text for text in args if isinstance(text, str) and text.isidentifier()), "NAME")
            raise ConfigError(
                f"{self.title}({shown}) has more values than places; name them, as in {self.title}({example}=…)"
            )
        for k, value in enumerate(args):
            name = self.order[k] if k < len(self.order) else self.rest
            if name is not None and self.words[name]:
                _check(self.title, name, value, self.words[name])
        for name, value in given.items():
            if name in self.keywords:
                if self.words[name]:
                    _check(self.title, name, value, self.words[name])
            elif not self.any_keyword:
                raise UnknownNameError(f"argument of {self.title}()", name, self.keywords)


def checked(call: Call) -> Call:
    """A call whose arguments must be of the kinds that its signature names, and whose keywords must be its own.

    Words of the signature that are in neither table are left to the call. Raises `ConfigError`, `UnknownNameError`.
    """
    places: _Places | None = None

    @wraps(call)
    def guarded(*args: Any, **given: Any) -> Any:
        nonlocal places
        if places is None:
            places = _Places(call)
        places.check(args, given)
        return call(*args, **given)

    return cast(Call, guarded)


def unchanging(remedy: str) -> Callable[[type[Kind]], type[Kind]]:
    """A class whose objects refuse, by a `ReadOnlyError`, that an attribute is set or deleted.

    `remedy` says how a change is made, with `{name}` and `{value}` in it.
    """

    def refusing(kind: type[Kind]) -> type[Kind]:
        def set_attribute(self: object, name: str, value: object) -> None:
            how = remedy.format(name=name, value=said(value))
            raise ReadOnlyError(f"{name!r} of {kind.__name__} cannot be set; {how}")

        def delete_attribute(self: object, name: str) -> None:
            raise ReadOnlyError(f"{name!r} of {kind.__name__} cannot be deleted: it never changes")

        for method, act in (("__setattr__", set_attribute), ("__delattr__", delete_attribute)):
            setattr(kind, method, act)
        return kind

    return refusing


def _words(annotation: str) -> tuple[str, ...]:
    """The alternatives of a signature, or none if there is one that is left to the call."""
    found = []
    for word in annotation.strip("'").split(" | "):
        head = word if word in _KINDS else word.partition("[")[0]
        if head not in _KINDS and head not in _OBJECTS:
            return ()
        found.append(head)
    return tuple(found)


def _check(call: str, name: str, value: object, words: tuple[str, ...]) -> None:
    for word in words:
        if word in _KINDS:
            if _KINDS[word][0](value):
                return
        elif any(base.__name__ == word for base in type(value).__mro__):
            return
    known = [_KINDS[word][1] if word in _KINDS else _OBJECTS[word] for word in words if word != "None"]
    raise ConfigError(f"{name} of {call}() must be {' or '.join(known)}, not {said(value)}")
