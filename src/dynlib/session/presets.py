"""Presets: named sets of values, from the model, from the session, or from a file."""

from __future__ import annotations

import fnmatch
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dynlib.errors import ConfigError, ModelError, UnknownNameError, Where
from dynlib.spec.document import read_preset
from dynlib.spec.locations import MAX_FILE
from dynlib.spec.model import Model, Preset

SCHEMA = "dynlib-presets-v1"


class PresetShelf:
    """The presets a session can apply."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._presets = {p.name: p for p in model.presets}

    def __repr__(self) -> str:
        return f"<presets: {', '.join(map(repr, self._presets)) or 'none'}>"

    def copy(self) -> PresetShelf:
        """A shelf with the same presets."""
        other = PresetShelf(self._model)
        other._presets = dict(self._presets)
        return other

    def names(self, pattern: str = "*") -> list[str]:
        """Names that match a shell pattern."""
        return [name for name in self._presets if fnmatch.fnmatchcase(name, pattern)]

    def get(self, name: str) -> Preset:
        """A preset. Raises `UnknownNameError`."""
        if name not in self._presets:
            raise UnknownNameError("preset", name, self._presets)
        return self._presets[name]

    def values(self, name: str) -> dict[str, Any]:
        """All values of a preset by name."""
        preset = self.get(name)
        return _plain((*preset.params, *preset.states))

    def add(self, name: str, params: Mapping[str, Any], states: Mapping[str, Any], overwrite: bool) -> None:
        """Add a preset of checked values."""
        if not isinstance(name, str):
            raise ConfigError(f"the name of a preset must be a text, not {name!r}")
        if name in self._presets and not overwrite:
            raise ConfigError(f"a preset named {name!r} exists already; pass overwrite=True to replace it")
        body = {k: v for k, v in (("params", dict(params)), ("states", dict(states))) if v}
        self._presets[name] = self._read(name, body, Where("add_preset()"))

    def _read(self, name: str, body: object, where: Where) -> Preset:
        return read_preset(name, body, self._model.states, self._model.params, where)

    def load(self, pattern: str, path: str | os.PathLike[str], on_conflict: str) -> list[str]:
        """Take matching presets from a file; all are checked before any is taken."""
        if on_conflict not in ("error", "keep", "replace"):
            raise ConfigError(f"on_conflict must be 'error', 'keep' or 'replace', not {on_conflict!r}")
        tables = _read_file(Path(path))
        where = Where(os.fspath(path))
        chosen = {
            n: self._read(n, body, where.at(table=n)) for n, body in tables.items() if fnmatch.fnmatchcase(n, pattern)
        }
        if not chosen:
            raise UnknownNameError("preset", pattern, tables)
        clash = [n for n in chosen if n in self._presets]
        if clash and on_conflict == "error":
            raise ConfigError(f"preset {clash[0]!r} exists already; pass on_conflict='keep' or 'replace'")
        taken = {n: p for n, p in chosen.items() if on_conflict == "replace" or n not in self._presets}
        self._presets |= taken
        return list(taken)

    def save(self, name: str, path: str | os.PathLike[str], overwrite: bool) -> None:
        """Write a preset to a file, keeping the others in it."""
        preset = self.get(name)
        target = Path(path)
        tables = _read_file(target) if target.exists() else {}
        if name in tables and not overwrite:
            raise ConfigError(f"{target} already has a preset {name!r}; pass overwrite=True to replace it")
        tables[name] = {
            key: _plain(group) for key, group in (("params", preset.params), ("states", preset.states)) if group
        }
        lines = ["[__presets__]", f'schema = "{SCHEMA}"', ""]
        for entry, body in tables.items():
            for key, values in body.items():
                lines += [f'["{entry}".{key}]', *(f'"{k}" = {v!r}' for k, v in values.items()), ""]
        try:
            target.write_text("\n".join(lines), "utf-8")
        except OSError as problem:
            raise ConfigError(f"cannot write {target}: {problem.strerror}") from problem


def _plain(values: Iterable[tuple[str, tuple[float, ...]]]) -> dict[str, Any]:
    """Values by name, as a file or an assignment writes them."""
    return {name: list(numbers) if len(numbers) > 1 else numbers[0] for name, numbers in values}


def _read_file(path: Path) -> dict[str, Any]:
    where = Where(str(path))
    if not path.is_file():
        raise ModelError("no such preset file", where)
    if path.stat().st_size > MAX_FILE:
        raise ModelError("file too large", where)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise ModelError(f"not valid TOML: {problem}", where) from None
    head = content.pop("__presets__", None)
    if not isinstance(head, Mapping) or head.get("schema") != SCHEMA:
        raise ModelError(f"must begin with a table [__presets__] that says schema = {SCHEMA!r}", where)
    return content
