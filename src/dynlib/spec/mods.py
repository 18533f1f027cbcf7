"""Mods: named edits of a model document, applied before it is checked (remove, replace, add, set)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from dynlib.errors import ModelError, Where, suggest

VERBS: dict[str, tuple[str, ...]] = {
    "remove": ("events", "params", "aux", "functions"),
    "replace": ("events", "aux", "functions"),
    "add": ("events", "params", "aux", "functions"),
    "set": ("states", "params", "aux", "functions"),
}
"""Verbs in the order they are applied, with the tables each may touch."""
_HEAD = ("name", "group", "exclusive", "label", "description")


def available_mods(document: Mapping[str, Any], where: Where) -> dict[str, Mapping[str, Any]]:
    """The mods a document carries, by name (`[mods.<name>]`, or one `[mod]` with a name)."""
    found: dict[str, Mapping[str, Any]] = {}
    mods = document.get("mods", {})
    if not isinstance(mods, Mapping):
        raise ModelError("must be a table of mods", where.at(table="mods"))
    for name, body in mods.items():
        if not isinstance(body, Mapping):
            raise ModelError("must be a table", where.at(table=f"mods.{name}"))
        found[str(name)] = body
    single = document.get("mod")
    if single is not None:
        if not isinstance(single, Mapping):
            raise ModelError("must be a table", where.at(table="mod"))
        found[str(single.get("name", "mod"))] = single
    return found


def apply_mods(
    document: Mapping[str, Any], mods: Iterable[tuple[str, Mapping[str, Any]]], where: Where
) -> dict[str, Any]:
    """A copy of the document with the mods applied in order. Raises `ModelError` for an impossible edit."""
    result: dict[str, Any] = copy.deepcopy(dict(document))
    joined: dict[str, tuple[str, bool]] = {}  # group → its last mod, and whether that one wants to be alone
    for name, mod in mods:
        at = where.at(table=f"mods.{name}")
        for key in mod:
            if key not in (*VERBS, *_HEAD):
                raise ModelError(f"unknown key {key!r}{suggest(key, (*VERBS, *_HEAD))}", at)
        group = mod.get("group")
        if group is not None and not isinstance(group, str):
            raise ModelError(f"must be a text, not {group!r}", at.at(key="group"))
        if group is not None:
            alone = bool(mod.get("exclusive"))
            if group in joined and (alone or joined[group][1]):
                raise ModelError(f"cannot join mod {joined[group][0]!r}: group {group!r} is exclusive", at)
            joined[group] = name, alone
        for verb, tables in VERBS.items():
            _apply(result, verb, mod.get(verb, {}), tables, at.at(table=f"mods.{name}.{verb}"))
    return result


def _apply(document: dict[str, Any], verb: str, edits: Any, tables: tuple[str, ...], where: Where) -> None:
    if not isinstance(edits, Mapping):
        raise ModelError("must be a table", where)
    for table, body in edits.items():
        if table not in tables:
            raise ModelError(f"cannot {verb} in {table!r}; possible: {', '.join(tables)}", where)
        if not isinstance(body, Mapping):
            raise ModelError("must be a table", where.at(key=table))
        target = document.setdefault(table, {})
        if not isinstance(target, dict):
            raise ModelError("must be a table", Where(where.file, table))
        if verb == "remove":
            names = body.get("names")
            if set(body) != {"names"} or not isinstance(names, list):
                raise ModelError("must have one key, names = [ … ]", where.at(key=table))
            for name in names:
                _must_exist(target, name, table, where)
                del target[name]
            continue
        for name, value in body.items():
            if verb == "replace" or (verb == "set" and table in ("states", "params")):
                _must_exist(target, name, table, where)
            if verb == "add" and name in target:
                raise ModelError(f"{name!r} already exists in [{table}]; use replace or set", where.at(key=table))
            target[name] = copy.deepcopy(value)


def _must_exist(target: Mapping[str, Any], name: object, table: str, where: Where) -> None:
    if not isinstance(name, str) or name not in target:
        raise ModelError(f"{name!r} does not exist in [{table}]{suggest(str(name), target)}", where.at(key=table))
