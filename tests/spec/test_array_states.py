"""Array states: large systems in a few lines, every element covered once, every index within bounds."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlib.errors import ExpressionError, ModelError
from dynlib.spec.document import model_from_document
from dynlib.spec.expressions import canonical, parse
from dynlib.spec.locations import load_model
from dynlib.spec.model import Equation, Loop, Model

CHAIN = """inline:
model = {type = "ode", name = "chain"}
constants = {N = 1000}
params = {D = 0.1, r = 1.0}
states = {"u[N]" = "exp(-((i - N/2)/10)**2) for i in range(N)"}
[equations.rhs]
"u[0]" = "D*(u[1] - u[0]) + r*u[0]*(1 - u[0])"
"u[i]" = "D*(u[i-1] - 2*u[i] + u[i+1]) + r*u[i]*(1 - u[i]) for i in range(1, N-1)"
"u[N-1]" = "D*(u[N-2] - u[N-1]) + r*u[N-1]*(1 - u[N-1])"
"""

RING = """inline:
model = {type = "ode", name = "ring"}
constants = {N = 1000}
params = {K = 0.8, "omega[N]" = "0.1*sin(i) for i in range(N)"}
states = {"theta[N]" = "2*pi*i/N for i in range(N)"}
[equations]
expr = "dtheta[i] = omega[i] + K*(sin(theta[(i+1) % N] - theta[i]) + sin(theta[(i-1) % N] - theta[i]))"
"""


def load(equations: Any, n: int = 10, **tables: Any) -> Model:
    body = {"expr": equations} if isinstance(equations, str) else {"rhs": equations}
    document = {
        "model": {"type": "ode"},
        "constants": {"N": n},
        "params": {"a": 1.0, "w[N]": 1.0},
        "states": {"u[N]": 0.0},
        "equations": body,
    }
    return model_from_document(document | tables, "m.toml")


def refused(message: str, equations: Any, n: int = 10, **tables: Any) -> None:
    with pytest.raises(ModelError) as caught:
        load(equations, n, **tables)
    assert str(caught.value).startswith("m.toml [equations")
    assert message in str(caught.value)


# -- large systems in a few lines --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [CHAIN, RING], ids=["chain", "ring"])
def test_a_thousand_elements_in_at_most_ten_lines(text: str) -> None:
    assert len(text.strip().splitlines()) - 1 <= 10
    assert load_model(text).n_states == 1000


def test_the_chain_has_an_inner_range_and_two_ends() -> None:
    model = load_model(CHAIN)
    assert [e.loop for e in model.equations] == [None, Loop("i", 1, 999, 1), None]
    assert [canonical(e.index) for e in model.equations if e.index] == ["0.0", "i", "(1000.0 - 1.0)"]


def test_the_ring_is_one_equation() -> None:
    model = load_model(RING)
    assert [e.loop for e in model.equations] == [Loop("i", 0, 1000, 1)]
    assert model.n_params == 1001


def test_initial_values_follow_their_expression() -> None:
    values = load_model(RING).states[0].values
    assert values == tuple(2 * 3.141592653589793 * i / 1000 for i in range(1000))


def test_elements_have_names() -> None:
    state = load_model(CHAIN).states[0]
    assert (state.element_names[0], state.element_names[999], state.count) == ("u[0]", "u[999]", 1000)


# -- sizes and initial values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "values"),
    [
        (2, (2.0, 2.0, 2.0)),
        ("1/4", (0.25, 0.25, 0.25)),
        ([1, "2", "N"], (1.0, 2.0, 3.0)),
        ("i**2 for i in range(N)", (0.0, 1.0, 4.0)),
        ("i for i in range(3, 9, 2)", (3.0, 5.0, 7.0)),
        ("1 if i == 1 else -1 for i in range(N)", (-1.0, 1.0, -1.0)),
        ("sum(j for j in range(i + 1)) for i in range(N)", (0.0, 1.0, 3.0)),
    ],
)
def test_initial_values_of_an_array(value: object, values: tuple[float, ...]) -> None:
    assert load({"u[i]": "1"}, n=3, states={"u[N]": value}).states[0].values == values


def test_a_list_gives_the_size() -> None:
    model = load({"u[i]": "1"}, states={"u": [1.0, 2.0]})
    assert model == load({"u[i]": "1"}, states={"u[2]": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("u[N]", [1, 2], "has 2 values for 3 elements"),
        ("u", [], "has 0 values"),
        ("u[N]", "i for i in range(N + 1)", "the loop gives 4 values for 3 elements"),
        ("u[N]", "i for i in range(0)", "is empty or runs backwards"),
        ("u[N]", "i for i in range(3, 0, -1)", "is empty or runs backwards"),
        ("u[N]", "1/i for i in range(N)", "cannot be computed"),
        ("u[N]", "1e308*10**i for i in range(N)", "finite"),
        ("u[N]", "log(i) for i in range(N)", "cannot be computed"),
        ("u[N]", "a for i in range(N)", "unknown name 'a'"),
        ("u[N]", "u[i] for i in range(N)", "unknown array 'u'"),
        ("u[N]", "i for i in range(0.5)", "whole numbers"),
        ("u[N]", [1, True, 2], "must be a number"),
        ("u[0]", 0, "the size must be a whole number from 1"),
        ("u[-1]", 0, "the size must be a whole number from 1"),
        ("u[1.5]", 0, "the size must be a whole number from 1"),
        ("u[1e9]", 0, "the size must be a whole number from 1"),
        ("u[1e308*10]", 0, "size must be a whole number from 1"),
        ("u[1e308*10 - 1e308*10]", 0, "size must be a whole number from 1"),
        ("u[M]", 0, "unknown name 'M'"),
        ("u[]", 0, "is not a name"),
        ("u[2][2]", 0, "unexpected ']'"),
    ],
)
def test_a_bad_size_or_initial_value_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        load({"u[i]": "1"}, n=3, states={key: value})
    assert str(caught.value).startswith(f"m.toml [states] {key}:")
    assert message in str(caught.value)


def test_all_arrays_together_are_bounded() -> None:
    with pytest.raises(ModelError, match="more than 2000000 components"):
        load({"u[i]": "1", "v[i]": "1"}, states={"u[1000001]": 0, "v[1000001]": 0})


# -- coverage ----------------------------------------------------------------------------------------------------


def test_the_short_form_covers_the_whole_array() -> None:
    assert load({"u[i]": "-u[i]"}) == load({"u[i]": "-u[i] for i in range(0, N, 1)"})


@pytest.mark.parametrize("left", ["du[i]", "d(u)[i]", "du[i]/dt", "u[i]"])
def test_the_derivative_of_an_element_may_be_written_in_several_ways(left: str) -> None:
    assert load(f"{left} = -u[i]") == load({"u[i]": "-u[i]"})


@pytest.mark.parametrize(
    ("equations", "missing"),
    [
        ({}, 0),
        ({"u[i]": "1 for i in range(1, N)"}, 0),
        ({"u[i]": "1 for i in range(N-1)"}, 9),
        ({"u[0]": "1", "u[i]": "1 for i in range(2, N)"}, 1),
        ({"u[i]": "1 for i in range(0, N, 2)"}, 1),
        ({"u[i+1]": "1 for i in range(N-1)"}, 0),
    ],
)
def test_a_gap_is_named(equations: dict[str, str], missing: int) -> None:
    refused(f"no equation for state 'u[{missing}]'", equations)


@pytest.mark.parametrize(
    "equations",
    [
        "du[i] = 1\ndu[0] = 1",
        "du[9] = 1\ndu[i] = 1",
        "du[i] = 1 for i in range(0, 6)\ndu[i] = 1 for i in range(5, 10)",
        "du[i] = 1 for i in range(0, N, 2)\ndu[i] = 1 for i in range(0, N, 3)",
        "du[i] = 1 for i in range(N-1)\ndu[i+1] = 1 for i in range(8, 9)\ndu[i+1] = 1 for i in range(8, 9)",
    ],
)
def test_an_overlap_is_refused(equations: str) -> None:
    refused("state 'u' has two equations", equations)


def test_even_and_odd_elements_may_have_equations_of_their_own() -> None:
    model = load("du[i] = 1 for i in range(0, N, 2)\ndu[i] = 2 for i in range(1, N, 2)")
    assert [e.loop for e in model.equations] == [Loop("i", 0, 10, 2), Loop("i", 1, 10, 2)]


def test_the_element_on_the_left_may_be_shifted() -> None:
    model = load("du[0] = 0\ndu[i+1] = u[i] for i in range(N-1)")
    assert model.equations[1] == Equation("u", parse("i+1"), Loop("i", 0, 9, 1), parse("u[i]"))
    assert load("du[N-1] = 0\ndu[i-1] = u[i] for i in range(1, N)").n_states == 10


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 19), max_size=5), st.sets(st.integers(0, 19), max_size=1))
def test_pieces_cover_an_array_exactly_when_none_is_left_out(cuts: set[int], dropped: set[int]) -> None:
    """The array is cut into ranges; one of them may be left out."""
    bounds = [0, *sorted(cuts), 20]
    pieces = list(pairwise(bounds))
    kept = [p for p in pieces if not any(p[0] <= d < p[1] for d in dropped)]
    block = "\n".join(f"du[i] = {k} for i in range({a}, {b})" for k, (a, b) in enumerate(kept))
    if len(kept) == len(pieces):
        covered = [i for e in load(block, n=20).equations if e.loop for i in e.loop.indices]
        assert sorted(covered) == list(range(20))
    else:
        missing = min(a for a, b in pieces if (a, b) not in kept)
        refused(f"no equation for state 'u[{missing}]'", block, n=20)


# -- indices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["(i+1) % N", "(i-1) % N", "N-1-i", "i//2", "i"])
def test_an_index_may_wrap(index: str) -> None:
    expr = load({"u[i]": f"u[{index}] + w[{index}]"}).equations[0].expr
    assert canonical(expr) == canonical(parse(f"u[{index}] + w[{index}]".replace("N", "10")))


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("u[i-1]", "index of 'u' runs over -1 to 8, but u[10] has 0 to 9"),
        ("u[i+1]", "index of 'u' runs over 1 to 10, but u[10] has 0 to 9"),
        ("w[2*i]", "index of 'w' runs over 0 to 18, but w[10] has 0 to 9"),
        ("u[N]", "index of 'u' runs over 10, but u[10] has 0 to 9"),
    ],
)
def test_an_index_that_leaves_the_array_is_refused_when_loading(expr: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        load({"u[i]": f"1 + {expr}"})
    assert str(caught.value).startswith(f"m.toml [equations.rhs] u[i]: {message}")
    assert caught.value.column == 5


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("u", "1", "is an array of 10; write an equation for u[i]"),
        ("u[10]", "1", "defines u[10]"),
        ("u[-1]", "1", "defines u[-1]"),
        ("u[0.5]", "1", "whole numbers"),
        ("u[i]", "1 for i in range(N+1)", "but u has 0 to 9"),
        ("u[i]", "1 for i in range(-1, N)", "but u has 0 to 9"),
        ("u[i-1]", "1 for i in range(N)", "but u has 0 to 9"),
        ("u[i]", "1 for i in range(5, 5)", "is empty or runs backwards"),
        ("u[i]", "1 for i in range(0, N, 0)", "is empty or runs backwards"),
        ("u[i]", "1 for i in range(a)", "whole numbers"),
        ("u[i]", "1 for j in range(N)", "unknown name 'i'"),
        ("u[2*i]", "1 for i in range(5)", "the element on the left must be u[i]"),
        ("u[i+0.5]", "1 for i in range(N)", "whole number"),
        ("u[i-0.5]", "1 for i in range(N)", "whole number"),
        ("u[a]", "1", "loop index 'a' is the name of something else"),
        ("u[t]", "1", "loop index 't' is the name of something else"),
        ("u[i]", "i[0]", "unknown array 'i'"),
        ("u[i]", "sum(u[i] for i in range(N))", "loop index 'i' is already in use"),
    ],
)
def test_a_bad_element_equation_is_refused(left: str, right: str, message: str) -> None:
    refused(message, {left: right})


def test_a_global_coupling_is_a_sum() -> None:
    model = load({"u[i]": "a/N*sum(sin(u[j] - u[i]) for j in range(N) if j != i)"})
    assert canonical(model.equations[0].expr) == canonical(
        parse("a/10*sum(sin(u[j] - u[i]) for j in range(10) if j != i)")
    )


def test_arrays_and_scalars_live_together() -> None:
    model = load({"u[i]": "x - u[i]", "x": "u[0]"}, states={"u[N]": 0.0, "x": 1.0})
    assert (model.n_states, [e.target for e in model.equations]) == (11, ["u", "x"])


def test_a_preset_gives_all_elements() -> None:
    model = load({"u[i]": "1"}, n=3, presets={"p": {"states": {"u": [1, 2, 3]}}})
    assert model.presets[0].states == (("u", (1.0, 2.0, 3.0)),)
    with pytest.raises(ModelError, match=re.escape("must be 3 number(s)")):
        load({"u[i]": "1"}, n=3, presets={"p": {"states": {"u": [1, 2]}}})
