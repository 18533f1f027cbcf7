"""Mods: named edits of a document, in a fixed order of verbs, refused when they do not fit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlib.errors import ModelError, Where
from dynlib.spec.document import model_from_document
from dynlib.spec.mods import VERBS, apply_mods, available_mods

WHERE = Where("m.toml")


def base() -> dict[str, Any]:
    return {
        "model": {"type": "ode"},
        "states": {"x": 1.0},
        "params": {"a": 1.0, "b": 2.0},
        "equations": {"rhs": {"x": "-a*x"}},
        "aux": {"p": "x + 1"},
        "functions": {"f": {"args": ["z"], "expr": "z"}},
        "events": {"reset": {"cond": "x > 1", "action": "x = 0"}},
    }


def edit(*mods: dict[str, Any]) -> dict[str, Any]:
    return apply_mods(base(), [(f"m{k}", mod) for k, mod in enumerate(mods, 1)], WHERE)


def fails(message: str, *mods: Any) -> None:
    with pytest.raises(ModelError) as caught:
        edit(*mods)
    assert str(caught.value).startswith(f"m.toml [mods.m{len(mods)}")
    assert message in str(caught.value)


def test_no_mods_give_an_equal_document() -> None:
    assert edit() == base()


@pytest.mark.parametrize(("table", "name"), [("events", "reset"), ("params", "b"), ("aux", "p"), ("functions", "f")])
def test_remove(table: str, name: str) -> None:
    result = edit({"remove": {table: {"names": [name]}}})
    assert name not in result[table]
    assert result == base() | {table: {k: v for k, v in base()[table].items() if k != name}}


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [("events", "reset", {"cond": "x > 2"}), ("aux", "p", "x*2"), ("functions", "f", {"args": [], "expr": "1"})],
)
def test_replace(table: str, name: str, value: object) -> None:
    result = edit({"replace": {table: {name: value}}})
    assert result == base() | {table: {name: value}}


@pytest.mark.parametrize(
    ("table", "value"), [("events", {"cond": "x > 2"}), ("params", 5), ("aux", "x*2"), ("functions", {"expr": "1"})]
)
def test_add(table: str, value: object) -> None:
    result = edit({"add": {table: {"fresh": value}}})
    assert result == base() | {table: base()[table] | {"fresh": value}}


@pytest.mark.parametrize(("table", "name", "value"), [("states", "x", 9.0), ("params", "a", 9.0), ("aux", "p", "9")])
def test_set(table: str, name: str, value: object) -> None:
    result = edit({"set": {table: {name: value}}})
    assert result == base() | {table: base()[table] | {name: value}}


def test_set_may_make_an_aux_variable() -> None:
    assert edit({"set": {"aux": {"fresh": "1"}}})["aux"] == {"p": "x + 1", "fresh": "1"}


def test_add_may_make_the_table() -> None:
    document = base()
    del document["aux"]
    assert apply_mods(document, [("m", {"add": {"aux": {"q": "1"}}})], WHERE)["aux"] == {"q": "1"}


def test_verbs_apply_in_their_own_order() -> None:
    mod = {
        "set": {"params": {"c": 7.0}},
        "add": {"params": {"c": 1.0}, "aux": {"p": "2*x"}},
        "remove": {"aux": {"names": ["p"]}},
    }
    result = edit(mod)
    assert (result["params"]["c"], result["aux"]) == (7.0, {"p": "2*x"})
    assert list(VERBS) == ["remove", "replace", "add", "set"]


def test_mods_apply_in_the_order_given() -> None:
    one, two = {"set": {"params": {"a": 5.0}}}, {"set": {"params": {"a": 6.0}}}
    assert (edit(one, two)["params"]["a"], edit(two, one)["params"]["a"]) == (6.0, 5.0)


def test_a_later_mod_sees_the_work_of_an_earlier_one() -> None:
    assert edit({"add": {"params": {"c": 1.0}}}, {"set": {"params": {"c": 2.0}}})["params"]["c"] == 2.0


def test_the_document_and_the_mod_stay_as_they_were() -> None:
    document, mod = base(), {"add": {"events": {"e": {"cond": "x > 1", "log": ["x"]}}}}
    before = copy.deepcopy((document, mod))
    result = apply_mods(document, [("m", mod)], WHERE)
    result["events"]["e"]["log"].append("t")
    result["params"]["a"] = 99
    assert (document, mod) == before


def test_a_modded_document_loads_as_if_written_so() -> None:
    changed = model_from_document(edit({"add": {"params": {"c": 3.0}}, "replace": {"aux": {"p": "c*x"}}}))
    written = base()
    written["params"]["c"] = 3.0
    written["aux"]["p"] = "c*x"
    assert changed == model_from_document(written)


@pytest.mark.parametrize(
    ("mod", "message"),
    [
        ({"delete": {}}, "unknown key 'delete'"),
        ({"ad": {}}, "unknown key 'ad'; did you mean 'add'"),
        ({"add": 3}, "must be a table"),
        ({"add": {"params": 3}}, "must be a table"),
        ({"add": {"states": {"y": 1}}}, "cannot add in 'states'"),
        ({"set": {"events": {"e": {}}}}, "cannot set in 'events'"),
        ({"replace": {"params": {"a": 1}}}, "cannot replace in 'params'"),
        ({"remove": {"states": {"names": ["x"]}}}, "cannot remove in 'states'"),
        ({"set": {"equations": {"rhs": {}}}}, "cannot set in 'equations'"),
        ({"add": {"params": {"a": 1}}}, "'a' already exists in [params]"),
        ({"replace": {"aux": {"pp": "1"}}}, "'pp' does not exist in [aux]; did you mean 'p'"),
        ({"set": {"params": {"aa": 1}}}, "'aa' does not exist in [params]; did you mean 'a'"),
        ({"set": {"states": {"y": 1}}}, "'y' does not exist in [states]"),
        ({"remove": {"events": {"names": ["rest"]}}}, "'rest' does not exist in [events]; did you mean 'reset'"),
        ({"remove": {"events": {"names": ["reset", "reset"]}}}, "'reset' does not exist in [events]"),
        ({"remove": {"events": {"names": "reset"}}}, "names = [ … ]"),
        ({"remove": {"events": {"reset": True}}}, "names = [ … ]"),
        ({"remove": {"events": {"names": ["reset"], "also": 1}}}, "names = [ … ]"),
        ({"remove": {"events": {"names": [["reset"]]}}}, "['reset']"),
        ({"group": ["g"]}, "group"),
    ],
)
def test_an_impossible_edit_is_refused(mod: dict[str, Any], message: str) -> None:
    fails(message, mod)


def test_a_mod_of_a_document_with_a_table_that_is_no_table_is_refused() -> None:
    with pytest.raises(ModelError, match="must be a table"):
        apply_mods(base() | {"params": 3}, [("m", {"add": {"params": {"c": 1.0}}})], WHERE)


def test_mods_of_an_exclusive_group_do_not_join() -> None:
    fails("cannot join mod 'm1': group 'drive' is exclusive", {"group": "drive", "exclusive": True}, {"group": "drive"})
    fails("cannot join mod 'm1'", {"group": "drive"}, {"group": "drive", "exclusive": True})


def test_mods_of_other_groups_join() -> None:
    one = {"group": "drive", "exclusive": True, "set": {"params": {"a": 5.0}}}
    two = {"group": "noise", "exclusive": True, "set": {"params": {"b": 6.0}}}
    assert edit(one, two)["params"] == {"a": 5.0, "b": 6.0}


def test_mods_of_a_group_that_is_not_exclusive_join() -> None:
    assert edit({"group": "g"}, {"group": "g"}, {"set": {"params": {"a": 2.0}}})["params"]["a"] == 2.0


def test_available_mods_by_name() -> None:
    document = {"mods": {"one": {"label": "1"}, "two": {}}, "mod": {"name": "three", "label": "3"}}
    assert available_mods(document, WHERE) == {"one": {"label": "1"}, "two": {}, "three": document["mod"]}


def test_a_single_mod_without_name_is_called_mod() -> None:
    assert list(available_mods({"mod": {}}, WHERE)) == ["mod"]


@pytest.mark.parametrize(
    ("document", "place"), [({"mods": 3}, "[mods]"), ({"mods": {"one": 3}}, "[mods.one]"), ({"mod": 3}, "[mod]")]
)
def test_mods_are_tables(document: dict[str, Any], place: str) -> None:
    with pytest.raises(ModelError) as caught:
        available_mods(document, WHERE)
    assert str(caught.value).startswith(f"m.toml {place}: must be a table")


_keys = st.sampled_from(
    [*VERBS, "states", "params", "aux", "functions", "events", "names", "group", "exclusive", "x", "a"]
)
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["x", "a", "p", "1"])),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)
_tables = st.sampled_from(["states", "params", "aux", "functions", "events"])
_edits = st.dictionaries(_tables, _values | st.dictionaries(_keys, _values, max_size=2), max_size=2)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_keys, _values | _edits, max_size=3), st.dictionaries(_tables, _values, max_size=2))
def test_any_mod_applies_or_is_refused(mod: dict[str, Any], tables: dict[str, Any]) -> None:
    try:
        result = apply_mods(base() | tables, [("m", mod), ("n", mod)], WHERE)
    except ModelError as error:
        assert str(error).startswith("m.toml")
    else:
        assert set(result) >= set(base())
