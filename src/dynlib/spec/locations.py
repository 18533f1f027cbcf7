"""Where models come from: a path, `builtin://…`, `inline:` text, a `Model`, or Python values."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dynlib.arguments import checked, said
from dynlib.errors import ModelError, Where, printable, shortened, suggest
from dynlib.spec.document import check_plain, model_from_document
from dynlib.spec.model import Model
from dynlib.spec.mods import apply_mods, available_mods

MAX_FILE = 16 * 1024 * 1024
_TOML_LINE = re.compile(r"\(at line (\d+), column \d+\)\Z")
_BARE = re.compile(r"""\s*[\w."'\[\]-]+\s*=\s*[^\s"'\[{]""")
ModelLike = str | Path | Model
_BUILTIN = "builtin://"
_MODELS = Path(__file__).parents[1] / "models"
_INLINE = "inline:"
_BUILTIN_NAME = re.compile(r"[a-z0-9_]+(?:/[a-z0-9_]+)*\Z")
MAX_KEY_PARTS = 20
_TOML_TOKEN = re.compile(
    r"""(?P<skip>\#[^\n]*+|[ \t]++|"{3}(?:[^"\\]|\\.|"(?!""))*+(?:"{3})?|'{3}(?:[^']|'(?!''))*+(?:'{3})?)"""
    r"""|(?P<part>[\w+-]++|"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?)|(?P<dot>\.)|.""",
    re.DOTALL | re.ASCII,
)


def builtin_models() -> list[str]:
    """Locations of the models that come with the library, sorted.

    >>> import dynlib
    >>> "builtin://ode/lorenz" in dynlib.builtin_models()
    True
    """
    return sorted(f"{_BUILTIN}{file.parent.name}/{file.stem}" for file in _MODELS.glob("*/*.toml"))


@checked
def load_model(location: ModelLike, mods: Sequence[str] = ()) -> Model:
    """The model at a location.

    `location` is a path to a TOML file, `builtin://ode/izhikevich`, text starting with `inline:`, or a `Model`.
    A path or builtin may end in `#mod=NAME` to apply one of the file's own mods; `mods` names further ones, in
    order: a mod of the file, another location with `#mod=`, or `inline:` text with a `[mod]` table.
    Raises `ModelError`.

    >>> import dynlib
    >>> model = dynlib.load_model("builtin://ode/lorenz")
    >>> model.kind, [q.name for q in model.states]
    ('ode', ['x', 'y', 'z'])
    """
    if not isinstance(location, str | os.PathLike | Model):
        said = "None" if location is None else f"a value of type {type(location).__name__!r}"
        raise ModelError(
            "a model is a path to a .toml file, 'builtin://…', 'inline:…' or a Model (from Python values: ode_model(), "
            f"map_model(), sde_model()), not {said}"
        )
    if isinstance(mods, str) or not isinstance(mods, Iterable) or not all(isinstance(mod, str) for mod in mods):
        raise ModelError(f"mods must be a list of names, such as ['slow'], not {mods!r}")
    if isinstance(location, Model):
        if mods:
            raise ModelError("mods apply to model files; this is a finished Model", Where(location.source))
        return location
    base, chosen = _split_mod(str(location))
    document, source = read_document(base)
    edits = [edit for name in (*chosen, *mods) for edit in _find_mods(name, document, source)]
    if edits:
        document = apply_mods(document, edits, Where(source))
    return model_from_document(document, source)


def read_document(location: str) -> tuple[dict[str, Any], str]:
    """The tables at a location, and the name by which messages call it."""
    if location.startswith(_INLINE):
        return _parse(location.removeprefix(_INLINE), "inline model"), "inline model"
    if location.startswith(_BUILTIN):
        name = location.removeprefix(_BUILTIN).removesuffix(".toml")
        known = builtin_models()
        if not _BUILTIN_NAME.match(name):
            raise ModelError(f"{name!r} is not the name of a built-in model", Where(location))
        if f"{_BUILTIN}{name}" not in known:
            same = [k for k in known if k.rsplit("/", 1)[-1] == name.rsplit("/", 1)[-1]]
            hint = f"; did you mean {same[0]!r}?" if same else suggest(f"{_BUILTIN}{name}", known)
            raise ModelError(f"there is no such built-in model{hint}", Where(location))
        folder, _, leaf = name.rpartition("/")
        return _parse((_MODELS / folder / f"{leaf}.toml").read_text("utf-8"), location), location
    if "\n" in location or "://" in location:
        lacks = "; this text lacks 'inline:' before it" if "\n" in location else ""
        raise ModelError(
            f"not a model location: expected a path to a .toml file, 'builtin://…' or 'inline:…'{lacks}",
            Where(location.lstrip().partition("\n")[0][:60]),
        )
    try:
        return _parse(_read(Path(location).expanduser(), location), location), location
    except UnicodeDecodeError as problem:
        raise ModelError(f"cannot be read as text ({problem})", Where(location)) from None
    except (OSError, RuntimeError, ValueError) as problem:
        raise ModelError(f"cannot be read ({problem})"[:200], Where(location[:60])) from None


def _read(path: Path, location: str) -> str:
    if path.is_dir():
        raise ModelError("is a folder; a model is a .toml file", Where(location))
    if not path.exists():
        raise ModelError(f"no such model file{_meant(path, location)}", Where(location))
    if not path.is_file():
        raise ModelError("not a regular file", Where(location))
    if path.suffix == ".npz":
        raise ModelError("is a snapshot file; open_snapshot() makes a session from it", Where(location))
    if path.stat().st_size > MAX_FILE:
        raise ModelError(f"file larger than {MAX_FILE // 2**20} MiB", Where(location))
    with path.open(encoding="utf-8") as file:
        return file.read(MAX_FILE + 1)


def _meant(path: Path, location: str) -> str:
    """What else may be meant by the path of a file that is not there."""
    leaf = path.name.removesuffix(".toml").rpartition(":")[2]
    known = [builtin for builtin in builtin_models() if builtin.endswith(f"/{leaf}")]
    if known:
        return f"; did you mean {known[0]!r}?"
    if "=" in location:
        return "; the text of a model begins with 'inline:'"
    near = [str(p) for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    return suggest(location, near) if near else ""


def _parse(text: str, source: str) -> dict[str, Any]:
    if len(text) > MAX_FILE:
        raise ModelError(f"text larger than {MAX_FILE // 2**20} MiB", Where(source))
    _check_keys(text, Where(source))
    try:
        document = tomllib.loads(text)
    except ValueError as problem:  # not TOML, or a number with thousands of digits
        raise ModelError(f"not valid TOML: {problem}{_shown(text, str(problem))}", Where(source)) from None
    except RecursionError:
        raise ModelError("not valid TOML: nested too deeply", Where(source)) from None
    check_plain(document, Where(source))
    return document


def _shown(text: str, problem: str) -> str:
    """The line that a message of `tomllib` names, and what such a line often lacks."""
    place = _TOML_LINE.search(problem)
    if place is None:
        return ""
    line = shortened(text.split("\n")[int(place[1]) - 1], 160)
    hint = ""
    if "overwrite" in problem:
        hint = ". A name stands once in a table"
    elif _BARE.match(line):
        hint = '. Numbers have a decimal point; an expression stands in quotes, as in k = "1/3"'
    return f"{hint}\n    {printable(line)}"


def _check_keys(text: str, where: Where) -> None:
    """The time that `tomllib` takes for a key grows with the square of its parts."""
    parts = 0  # in a row, with dots between them
    dotted = False
    for token in _TOML_TOKEN.finditer(text):
        match token.lastgroup:
            case "part":
                parts = parts + 1 if dotted else 1
                dotted = False
                if parts > MAX_KEY_PARTS:
                    line = text.count("\n", 0, token.start()) + 1
                    raise ModelError(f"line {line} has a key of more than {MAX_KEY_PARTS} parts", where)
            case "dot":
                dotted = parts > 0
            case None:
                parts, dotted = 0, False


def _split_mod(location: str) -> tuple[str, tuple[str, ...]]:
    if location.startswith(_INLINE) or "#mod=" not in location:
        return location, ()
    base, _, names = location.partition("#mod=")
    return base, tuple(n for n in names.split(",") if n)


def _find_mods(name: str, document: Mapping[str, Any], source: str) -> list[tuple[str, Mapping[str, Any]]]:
    if name.startswith(_INLINE):
        mods = available_mods(_parse(name.removeprefix(_INLINE), "inline mod"), Where("inline mod"))
        return [_single(mods, "inline mod")]
    base, chosen = _split_mod(name)
    if chosen or base.endswith(".toml"):
        other, other_source = read_document(base)
        mods = available_mods(other, Where(other_source))
        return [(each, _named(mods, each, other_source)) for each in chosen] or [_single(mods, other_source)]
    return [(name, _named(available_mods(document, Where(source)), name, source))]


def _named(mods: Mapping[str, Mapping[str, Any]], name: str, source: str) -> Mapping[str, Any]:
    if name not in mods:
        raise ModelError(f"no mod {name!r}{suggest(name, mods)}", Where(source, "mods"))
    return mods[name]


def _single(mods: Mapping[str, Mapping[str, Any]], source: str) -> tuple[str, Mapping[str, Any]]:
    if len(mods) != 1:
        raise ModelError(f"holds {len(mods)} mods; name one with #mod=…", Where(source, "mods"))
    return next(iter(mods.items()))


def ode_model(
    name: str,
    *,
    states: Mapping[str, Any],
    equations: Mapping[str, Any] | str,
    params: Mapping[str, Any] | None = None,
    **tables: Any,
) -> Model:
    """A system of ordinary differential equations, written in Python.

    `equations` maps each state to its right-hand side, or is a block of lines `dx = …`. Further keywords are the
    tables of the TOML language (`constants`, `aux`, `functions`, `events`, `presets`, `sim`), plus `dtype`.
    Raises `ModelError`.

    >>> import dynlib
    >>> model = dynlib.ode_model(
    ...     "pendulum", states={"q": 1.0, "p": 0.0}, params={"k": 1.0}, equations={"q": "p", "p": "-k*sin(q)"}
    ... )
    >>> model.n_states
    2
    """
    return _from_python("ode", name, states, equations, params, tables)


def map_model(
    name: str,
    *,
    states: Mapping[str, Any],
    equations: Mapping[str, Any] | str,
    params: Mapping[str, Any] | None = None,
    **tables: Any,
) -> Model:
    """A discrete map, written in Python; arguments as for `ode_model`, equations give the next state.

    >>> import dynlib
    >>> model = dynlib.map_model("tent", states={"x": 0.3}, params={"m": 1.9}, equations={"x": "m*min(x, 1 - x)"})
    >>> model.kind
    'map'
    """
    return _from_python("map", name, states, equations, params, tables)


def sde_model(
    name: str,
    *,
    states: Mapping[str, Any],
    equations: Mapping[str, Any] | str,
    noise: Mapping[str, Any],
    params: Mapping[str, Any] | None = None,
    **tables: Any,
) -> Model:
    """A system of stochastic differential equations (Itô), written in Python.

    `equations` are the drift, as for `ode_model`. `noise` maps states to an expression, each with a Wiener process of
    its own, or to lists of m expressions, for m processes that all states share. Raises `ModelError`.

    >>> import dynlib
    >>> model = dynlib.sde_model(
    ...     "noisy decay", states={"x": 1.0}, params={"s": 0.1}, equations={"x": "-x"}, noise={"x": "s"}
    ... )
    >>> model.kind
    'sde'
    """
    return _from_python("sde", name, states, equations, params, {"noise": noise, **tables})


def _from_python(
    kind: str,
    name: str,
    states: Mapping[str, Any],
    equations: Mapping[str, Any] | str,
    params: Mapping[str, Any] | None,
    tables: dict[str, Any],
) -> Model:
    if not isinstance(name, str):
        raise ModelError(f"the name of a model must be a text, not {said(name)}")
    if not isinstance(equations, Mapping | str):
        raise ModelError(
            f"must be a table such as {{'x': '-k*x'}}, or text such as 'dx = -k*x', not {equations!r}",
            Where(f"model {name!r}", "equations"),
        )
    for table, values in {
        "states": states,
        "params": {} if params is None else params,
        "noise": tables.get("noise", {}),
    }.items():
        if not isinstance(values, Mapping):
            raise ModelError(f"must be a table such as {{'x': 1.0}}, not {values!r}", Where(f"model {name!r}", table))
    head = {"type": kind, "name": name}
    if "dtype" in tables:
        head["dtype"] = tables.pop("dtype")
    body = {"expr": equations} if isinstance(equations, str) else {"rhs": dict(equations)}
    for key in ("inverse", "jacobian"):
        if key in tables:
            body[key] = tables.pop(key)
    document = {"model": head, "states": dict(states), "params": dict(params or {}), "equations": body, **tables}
    return model_from_document(_plain(document), f"model {name!r}")


def _plain(value: Any) -> Any:
    """Python and numpy values as the plain types that TOML would give."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Iterable):
        return [_plain(v) for v in value]
    return value
