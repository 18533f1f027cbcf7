"""Models and expressions written as text again: what is read from it is equal."""

from __future__ import annotations

import json

import pytest
from conformance.cases import KINDS, TYPES, model_of
from hypothesis import given, settings
from hypothesis import strategies as st

import dynlib
from dynlib import Model, builtin_models, load_model
from dynlib.spec.document import model_from_document
from dynlib.spec.expressions import (
    Binary,
    Bool,
    Call,
    Choice,
    Compare,
    Item,
    Logic,
    Name,
    Node,
    Num,
    Reduce,
    Unary,
    canonical,
    parse,
    spell,
)
from dynlib.spec.source import document_of

_LEAVES = st.one_of(
    st.floats(0.0, 1e300).map(Num), st.booleans().map(Bool), st.sampled_from("xyz").map(Name), st.just(Num(1e-5))
)


def _larger(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        st.builds(Unary, st.sampled_from(["-", "not"]), inner),
        st.builds(Binary, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner, inner),
        st.builds(Compare, st.sampled_from([("<",), ("==",)]), pairs),
        st.builds(Logic, st.sampled_from(["and", "or"]), pairs),
        st.builds(Choice, inner, inner, inner),
        st.builds(Call, st.just("max"), pairs),
        st.builds(Item, st.just("u"), inner),
        st.builds(
            Reduce, st.sampled_from(["sum", "prod"]), inner, st.just("i"), inner, inner, inner, st.none() | inner
        ),
    )


@settings(max_examples=500, deadline=None)
@given(st.recursive(_LEAVES, _larger, max_leaves=12))
def test_an_expression_is_read_back_as_it_was(node: Node) -> None:
    assert parse(spell(node)) == node
    assert parse(canonical(node)) == node
    assert len(spell(node)) <= len(canonical(node))


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("((a*b) + c) - d", "a * b + c - d"),
        ("a - (b - c)", "a - (b - c)"),
        ("-(x**2)", "- x ** 2.0"),
        ("(-x)**2", "(- x) ** 2.0"),
        ("a**(-b)", "a ** - b"),
        ("(a if c else b) + 1", "(a if c else b) + 1.0"),
        ("not (a and b) or c", "not (a and b) or c"),
    ],
)
def test_only_needed_brackets_are_written(text: str, short: str) -> None:
    assert spell(parse(text)) == short


def _models() -> list[Model]:
    ring = """inline:
[model]
type = "ode"
[constants]
N = 9
[states]
"u[N]" = "sin(i) for i in range(N)"
z = 1
[params]
"g[3]" = 2.0
[equations]
expr = '''
du[i] = u[i-1] - g[i % 3] for i in range(1, N)
du[0] = -u[0] + sum(u[j] for j in range(N) if j != 0)
dz = 1
'''
[events.e]
cond = "u[3] > 1"
action = "u[3] -= 1; g[1] = z"
[presets.p.states]
u = [1,2,3,4,5,6,7,8,9]
[sim]
stop = "cross_up(z, 3)"
rtol = 1e-9
"""
    cases = [
        model_of(model_type, kind)
        for model_type in TYPES
        for kind in KINDS
        if model_type == "ode" or not kind.startswith("located")
    ]
    shared = dynlib.sde_model(
        "shared",
        states={"x": 0.0, "y": 1.0},
        equations={"x": "y", "y": "-x"},
        noise={"x": ["1", "x"], "y": ["0", "2*y"]},
    )
    line = dynlib.sde_model(
        "line", states={"u[4]": 0.0}, equations={"u[i]": "-u[i]"}, noise={"u[i]": "0.1*i for i in range(1, 4)"}
    )
    return [shared, line, *(load_model(location) for location in (*builtin_models(), ring)), *cases]


@pytest.mark.parametrize("model", _models(), ids=lambda model: model.name)
def test_a_model_is_made_again_from_its_document(model: Model) -> None:
    text = json.dumps(document_of(model), allow_nan=False)
    again = model_from_document(json.loads(text), model.source)
    assert again == model
    assert again.structure_hash == model.structure_hash
    assert json.dumps(document_of(again)) == text
