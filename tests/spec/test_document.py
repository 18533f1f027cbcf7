"""Documents: every table of the language loads, and every mistake is a `ModelError` that names its place."""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlib.errors import ExpressionError, ModelError
from dynlib.spec.document import model_from_document
from dynlib.spec.expressions import Lag, Name, canonical, parse, walk
from dynlib.spec.locations import load_model
from dynlib.spec.model import Action, Model, Quantity

Change = Callable[[dict[str, Any]], object]


def base(**tables: Any) -> dict[str, Any]:
    """A small valid document; keywords replace tables."""
    document: dict[str, Any] = {
        "model": {"type": "ode", "name": "base"},
        "states": {"x": 1.0, "y": 0.0},
        "params": {"a": 2.0, "b": 3.0},
        "equations": {"rhs": {"x": "a*y", "y": "-b*x"}},
    }
    return document | tables


def map_base(**tables: Any) -> dict[str, Any]:
    return base(model={"type": "map"}, equations={"rhs": {"x": "y", "y": "x/b"}}) | tables


def load(**tables: Any) -> Model:
    return model_from_document(base(**tables), "m.toml")


def fails(document: dict[str, Any], place: str, message: str) -> None:
    """The document is refused; the message starts with file and place and contains `message`."""
    with pytest.raises(ModelError) as caught:
        model_from_document(document, "m.toml")
    text = str(caught.value)
    assert text.startswith(f"m.toml {place}".rstrip() + ":"), text
    assert message in text


def rhs_of(model: Model) -> dict[str, str]:
    return {e.target: canonical(e.expr) for e in model.equations}


# -- states, parameters, constants -----------------------------------------------------------------------------


def test_a_minimal_model_loads() -> None:
    model = load()
    assert (model.kind, model.name, model.dtype) == ("ode", "base", "float64")
    assert model.states == (Quantity("x", None, (1.0,)), Quantity("y", None, (0.0,)))
    assert model.params == (Quantity("a", None, (2.0,)), Quantity("b", None, (3.0,)))
    assert rhs_of(model) == {"x": "(a * y)", "y": "((- b) * x)"}


def test_values_may_be_expressions_in_quotes() -> None:
    model = load(params={"a": "8/3", "b": "-2*pi"}, states={"x": "sqrt(2)", "y": "1e-3"})
    assert [q.values[0] for q in model.params] == [8 / 3, -2 * 3.141592653589793]
    assert [q.values[0] for q in model.states] == [2**0.5, 0.001]


def test_constants_may_use_earlier_constants() -> None:
    model = load(constants={"k": 3, "m": "k**2 + 1"}, params={"a": "m/k", "b": 0})
    assert model.constants == (("k", 3.0), ("m", 10.0))
    assert model.params[0].values == (10 / 3,)


def test_constants_cannot_use_later_ones() -> None:
    fails(base(constants={"m": "k + 1", "k": 3}), "[constants] m", "unknown name 'k'")


@pytest.mark.parametrize("table", ["states", "params", "constants"])
@pytest.mark.parametrize(
    "value", [True, None, [], {}, "", "a b", "1/0", "log(0)", "sqrt(-1)", "(-1)**0.5", "10.0**400", "t", "rand()"]
)
def test_a_value_that_is_no_number_is_refused(table: str, value: object) -> None:
    document = base()
    document.setdefault(table, {})["z"] = value
    with pytest.raises(ModelError) as caught:
        model_from_document(document, "m.toml")
    assert str(caught.value).startswith(f"m.toml [{table}] z:")


@pytest.mark.parametrize(
    "value", [float("inf"), float("nan"), -float("inf"), 10**400, "1e308*10", "1e308*10 - 1e308*10"]
)
@pytest.mark.parametrize("table", ["states", "params", "constants"])
def test_a_value_that_is_not_finite_is_refused(table: str, value: object) -> None:
    document = base()
    document.setdefault(table, {})["z"] = value
    with pytest.raises(ModelError, match="finite|too large|range"):
        model_from_document(document, "m.toml")


def test_initial_values_do_not_depend_on_parameters() -> None:
    fails(base(states={"x": "a", "y": 0}), "[states] x", "unknown name 'a'")


def test_float32_is_kept() -> None:
    assert load(model={"type": "ode", "dtype": "float32"}).dtype == "float32"


# -- equations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["d{}", "d({})", "d( {} )", "d{}/dt", "d{} / dt", "{}", "d({})/dt"])
def test_an_equation_of_an_ode_may_be_written_in_several_ways(left: str) -> None:
    block = f"\n{left.format('x')} = a*y\n\n  {left.format('y')} = -b*x  # the other one\n"
    assert load(equations={"expr": block}).equations == load().equations


def test_an_equation_of_a_map_gives_the_next_state() -> None:
    model = model_from_document(map_base(equations={"expr": "x = y\ny = x/b"}), "m.toml")
    assert rhs_of(model) == {"x": "y", "y": "(x / b)"}
    assert model.kind == "map"


@pytest.mark.parametrize("left", ["dx", "d(x)", "dx/dt"])
def test_a_map_has_no_derivatives(left: str) -> None:
    document = map_base(equations={"expr": f"{left} = y\ny = x"})
    fails(document, "[equations] expr line 1", "x")


def test_a_table_and_a_block_complete_each_other() -> None:
    assert load(equations={"rhs": {"x": "a*y"}, "expr": "dy = -b*x"}).equations == load().equations


def test_an_equation_in_a_block_may_go_on_in_the_next_line_within_brackets() -> None:
    block = "dx = (a  # gain\n      *y)\ndy = -b*x"
    assert load(equations={"expr": block}).equations == load().equations


def test_a_comparison_in_a_block_is_not_the_equals_sign() -> None:
    assert rhs_of(load(equations={"expr": "dx = 1 if x == a else 0\ndy = x"}))["x"] == "(1.0 if (x == a) else 0.0)"


def test_a_number_may_stand_for_an_expression() -> None:
    assert rhs_of(load(equations={"rhs": {"x": 1, "y": 0.5}})) == {"x": "1.0", "y": "0.5"}


def test_a_state_whose_name_starts_with_d() -> None:
    document = base(states={"delta": 0.0}, equations={"expr": "delta = -delta"})
    assert model_from_document(document) == model_from_document(
        base(states={"delta": 0}, equations={"expr": "ddelta = -delta"})
    )


def test_a_name_that_is_state_and_derivative_is_refused_in_a_block() -> None:
    document = base(states={"x": 0.0, "dx": 0.0}, equations={"expr": "dx = 1\nddx = 1"})
    fails(document, "[equations] expr line 1", "also reads as the derivative of 'x'")
    assert set(rhs_of(load(states={"x": 0.0, "dx": 0.0}, equations={"rhs": {"x": "dx", "dx": "-x"}}))) == {"x", "dx"}


def test_equations_come_in_the_order_of_the_states() -> None:
    assert [e.target for e in load(equations={"rhs": {"y": "x", "x": "y"}}).equations] == ["x", "y"]


def test_a_missing_equation_is_named() -> None:
    fails(base(equations={"rhs": {"x": "y"}}), "[equations]", "no equation for state 'y'")


@pytest.mark.parametrize("second", ["dx = 2", "d(x) = 2", "x = 2"])
def test_a_state_defined_twice_is_refused(second: str) -> None:
    fails(base(equations={"expr": f"dx = 1\ndy = 1\n{second}"}), "[equations] expr line 3", "'x' has two equations")


def test_a_state_defined_in_table_and_block_is_refused() -> None:
    document = base(equations={"rhs": {"x": "1", "y": "1"}, "expr": "dy = 1"})
    fails(document, "[equations] expr line 1", "'y' has two equations")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dx", "expected an equation such as 'dx = …', found 'dx'"),
        ("dx == 1", "expected an equation"),
        ("dz = 1", "'dz' is not a state; known: 'dx', 'dy'"),
        ("1 = dx", "'1' is not a state"),
        ("d(x = 1", "is not a state"),
        ("dx = ", "the expression ends here"),
        ("dx = 1 +", "the expression ends here"),
        ("dx = q", "unknown name 'q'"),
        ("dx[0] = 1", "is a scalar and has no elements"),
        ("dx = 1 for i in range(3)", "takes no 'for'"),
    ],
)
def test_a_bad_line_of_a_block_is_named_by_its_number(line: str, message: str) -> None:
    fails(base(equations={"expr": f"# first\n\n{line}\ndy = x"}), "[equations] expr line 3", message)


def test_an_equation_for_something_else_is_refused() -> None:
    fails(base(equations={"rhs": {"x": "1", "y": "1", "a": "1"}}), "[equations.rhs] a", "'a' is not a state")


@pytest.mark.parametrize("value", [None, [], {}, datetime.date(2000, 1, 1)])
def test_an_equation_is_an_expression(value: object) -> None:
    fails(base(equations={"rhs": {"x": value, "y": "1"}}), "[equations.rhs] x", "must be an expression in quotes")


def test_a_number_too_great_for_a_float_is_refused_in_an_equation() -> None:
    with pytest.raises(ModelError, match=re.escape("m.toml [equations.rhs] x")):
        load(equations={"rhs": {"x": 10**400, "y": "1"}})


@pytest.mark.parametrize("left", ["x/dt", "x / dt"])
def test_only_a_derivative_is_divided_by_dt(left: str) -> None:
    fails(base(equations={"expr": f"{left} = 1\ndy = 1"}), "[equations] expr line 1", "x")


def test_an_inverse_in_each_form() -> None:
    rhs = {"x": "y", "y": "b*x"}
    forms = [rhs, {"rhs": rhs}, {"expr": "x = y\ny = b*x"}]
    models = [
        model_from_document(map_base(equations={"rhs": {"x": "y", "y": "x/b"}, "inverse": form})) for form in forms
    ]
    assert models[0] == models[1] == models[2]
    assert [canonical(e.expr) for e in models[0].inverse] == ["y", "(b * x)"]


def test_only_a_map_has_an_inverse() -> None:
    document = base(equations={"rhs": {"x": "y", "y": "x"}, "inverse": {"x": "y", "y": "x"}})
    fails(document, "[equations.inverse]", "only a map has an inverse")


def test_an_inverse_is_complete() -> None:
    document = map_base(equations={"rhs": {"x": "y", "y": "x"}, "inverse": {"x": "y"}})
    fails(document, "[equations.inverse]", "no equation for state 'y'")


def test_a_lag_in_an_inverse_is_counted_or_refused() -> None:
    document = map_base(equations={"rhs": {"x": "y", "y": "x"}, "inverse": {"x": "y", "y": "lag_x(3)"}})
    try:
        model = model_from_document(document)
    except ModelError:
        return
    assert model.lag_depth == {"x": 3}


@pytest.mark.parametrize("key", ["expr", "rows"])
def test_a_jacobian_is_a_square_of_expressions(key: str) -> None:
    model = load(equations={"rhs": {"x": "a*y", "y": "-b*x"}, "jacobian": {key: [["0", "a"], ["-b", 0]]}})
    assert [[canonical(cell) for cell in row] for row in model.jacobian] == [["0.0", "a"], ["(- b)", "0.0"]]


@pytest.mark.parametrize(
    "rows", [[], [["0", "1"]], [["0"], ["1"]], [["0", "1"], ["1", "0"], ["0", "0"]], "0", [1, 2], None]
)
def test_a_jacobian_of_another_shape_is_refused(rows: object) -> None:
    document = base(equations={"rhs": {"x": "y", "y": "x"}, "jacobian": {"expr": rows}})
    fails(document, "[equations.jacobian] expr", "must be 2 rows of 2 expressions")


# -- aux and functions -----------------------------------------------------------------------------------------


def test_aux_variables_may_use_each_other_in_any_order() -> None:
    model = load(aux={"p": "q + 1", "q": "x*y"}, equations={"rhs": {"x": "p", "y": "q"}})
    assert [(a.name, canonical(a.expr)) for a in model.aux] == [("p", "(q + 1.0)"), ("q", "(x * y)")]


def test_functions_have_arguments_of_their_own() -> None:
    model = load(
        functions={"f": {"args": ["x", "k"], "expr": "x**k + a"}}, equations={"rhs": {"x": "f(y, 2)", "y": "1"}}
    )
    assert (model.functions[0].args, canonical(model.functions[0].expr)) == (("x", "k"), "((x ** k) + a)")


def test_a_function_may_call_another() -> None:
    functions = {"f": {"args": ["z"], "expr": "g(z) + 1"}, "g": {"args": ["z"], "expr": "z**2"}}
    assert len(load(functions=functions).functions) == 2


@pytest.mark.parametrize(
    ("tables", "place", "cycle"),
    [
        ({"aux": {"p": "p + 1"}}, "[aux] p", "p → p"),
        ({"aux": {"p": "q", "q": "r", "r": "p"}}, "[aux] p", "p → q → r → p"),
        ({"functions": {"f": {"args": ["z"], "expr": "f(z)"}}}, "[functions.f] expr", "f → f"),
        (
            {"functions": {"f": {"args": ["z"], "expr": "g(z)"}, "g": {"args": ["z"], "expr": "f(z)"}}},
            "[functions.f] expr",
            "f → g → f",
        ),
        ({"aux": {"p": "f(1)"}, "functions": {"f": {"args": ["z"], "expr": "p"}}}, "[aux] p", "p → f → p"),
        ({"functions": {"f": {"args": ["f"], "expr": "f(f)"}}}, "[functions.f] expr", "f → f"),
        (
            {"functions": {"f": {"args": ["g"], "expr": "g(g)"}, "g": {"args": ["z"], "expr": "f(z)"}}},
            "[functions.f] expr",
            "f → g → f",
        ),
    ],
)
def test_recursion_is_refused(tables: dict[str, Any], place: str, cycle: str) -> None:
    fails(base(**tables), place, f"{cycle} refers to itself")


def test_an_argument_named_like_an_aux_variable_is_no_recursion() -> None:
    tables = {"aux": {"p": "f(x)"}, "functions": {"f": {"args": ["p"], "expr": "p + 1"}}}
    assert [a.name for a in load(**tables).aux] == ["p"]


def test_functions_that_call_one_another_have_a_limit() -> None:
    functions = {f"f{k}": {"args": ["z"], "expr": f"f{k + 1}(z)"} for k in range(20)}
    last = {"f20": {"args": ["z"], "expr": "z"}}
    with pytest.raises(ModelError, match=r"\[functions.f0\] expr: needs more than 20 functions that call one another"):
        load(functions=functions | last)
    assert len(load(functions={k: v for k, v in functions.items() if k != "f0"} | last).functions) == 20


def test_a_loop_index_is_no_name_of_the_model() -> None:
    fails(base(aux={"p": "sum(x for x in range(3))"}), "[aux] p", "loop index 'x' is the name of something else")


def test_a_long_chain_of_aux_variables_is_refused() -> None:
    aux = {f"p{k}": f"p{k + 1} + 1" for k in range(1500)} | {"p1500": "x"}
    with pytest.raises(ModelError, match="a chain of more than 200 aux variables"):
        load(aux=aux)
    with pytest.raises(ModelError, match="a chain of more than 200 aux variables"):
        load(aux=dict(reversed(aux.items())))
    assert len(load(aux=dict(list(aux.items())[-150:])).aux) == 150


@pytest.mark.parametrize(
    ("body", "key", "message"),
    [
        ({"expr": 3}, "", None),
        ({"args": ["z"]}, "expr", "must be an expression"),
        ({"args": "z", "expr": "1"}, "args", "must be a list of names"),
        ({"args": [1], "expr": "1"}, "args", "must be a list of names"),
        ({"args": ["z", "z"], "expr": "1"}, "args", "a name twice"),
        ({"args": ["t"], "expr": "1"}, "args", "cannot name an argument"),
        ({"args": ["1z"], "expr": "1"}, "args", "cannot name an argument"),
        ({"args": ["z"], "expr": "w"}, "expr", "unknown name 'w'"),
        ({"args": ["z"], "expr": "z[0]"}, "expr", "unknown array 'z'"),
    ],
)
def test_the_parts_of_a_function_are_checked(body: dict[str, Any], key: str, message: str | None) -> None:
    document = base(functions={"f": body})
    if message is None:
        assert model_from_document(document).functions[0].args == ()
    else:
        fails(document, f"[functions.f] {key}", message)


# -- events ----------------------------------------------------------------------------------------------------


def event(**body: Any) -> Any:
    return load(events={"e": {"cond": "x > 1"} | body}).events[0]


@pytest.mark.parametrize(
    ("phase", "phases"),
    [("pre", ("pre",)), ("start", ("pre",)), ("post", ("post",)), ("end", ("post",)), ("both", ("pre", "post"))],
)
def test_phases_and_their_synonyms(phase: str, phases: tuple[str, ...]) -> None:
    assert event(phase=phase).phases == phases


def test_an_event_is_tested_at_the_end_unless_told_otherwise() -> None:
    assert event().phases == ("post",)


@pytest.mark.parametrize("phase", ["later", "", 1, ["pre"], {"pre": 1}, None])
def test_another_phase_is_refused(phase: object) -> None:
    fails(base(events={"e": {"cond": "x > 1", "phase": phase}}), "[events.e] phase", "must be 'pre', 'post' or 'both'")


def test_actions_as_text_and_as_table_are_equal() -> None:
    text = event(action="x = a; b = b + 1\ny = 0").actions
    table = event(action={"x": "a", "b": "b + 1", "y": 0}).actions
    assert (
        text
        == table
        == (Action("x", None, parse("a")), Action("b", None, parse("b + 1")), Action("y", None, parse("0")))
    )


@pytest.mark.parametrize("op", ["+", "-", "*", "/", "//", "%", "**"])
def test_augmented_assignment_reads_the_old_value(op: str) -> None:
    assert event(action=f"x {op}= a + 1").actions == (Action("x", None, parse(f"x {op} (a + 1)")),)


def test_an_assignment_of_a_signed_value_is_not_augmented() -> None:
    assert event(action="x =-a").actions == (Action("x", None, parse("-a")),)


def test_actions_keep_their_order() -> None:
    assert [a.target for a in event(action="y = x; x = 0; y += x").actions] == ["y", "x", "y"]


def test_an_action_on_an_element() -> None:
    model = load(
        states={"u[3]": 0.0},
        equations={"rhs": {"u[i]": "1"}},
        events={
            "e": {"cond": "u[0] > 1", "action": "u[2] += 1"},
            "f": {"cond": "true", "action": {"u[2]": "u[2] + 1"}},
        },
    )
    assert model.events[0].actions == model.events[1].actions == (Action("u", parse("2"), parse("u[2] + 1")),)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("z = 1", "'z' is neither"),
        ("xx = 1", "did you mean 'x'"),
        ("t = 0", "'t' is neither"),
        ("k = 0", "'k' is neither"),
        ("p = 0", "'p' is neither"),
        ("x", "is not an assignment"),
        ("x == 1", "is not an assignment"),
        ("x = ", "the expression ends here"),
        ("x = y = 1", "unexpected character '='"),
        ("x = 1 if y", "expected 'else'"),
        ("x[0] = 1", "is a scalar"),
        ("x = cross_up(x, 1)", "only in the condition of an event"),
        ("x = 1/0", "division by 0"),
        ("x /= 0", "division by 0"),
        ("x %= k - k", "division by 0"),
        (3, "must be text such as"),
    ],
)
def test_a_bad_action_is_refused(action: object, message: str) -> None:
    document = base(constants={"k": 1}, aux={"p": "x"}, events={"e": {"cond": "x > 1", "action": action}})
    fails(document, "[events.e] action", message)


def test_an_action_of_a_table_is_named_by_its_target() -> None:
    fails(base(events={"e": {"cond": "x > 1", "action": {"x": "q"}}}), "[events.e] action.x", "unknown name 'q'")


def test_a_comment_in_an_action_may_hold_a_semicolon() -> None:
    assert event(action="x = a  # reset; then go on\ny = 0").actions == event(action="x = a; y = 0").actions


def test_log_and_tags() -> None:
    found = event(log=["t", "x", "x*y"], tags=["spike", "fast"])
    assert [(label, canonical(expr)) for label, expr in found.log] == [("t", "t"), ("x", "x"), ("x*y", "(x * y)")]
    assert found.tags == ("spike", "fast")


@pytest.mark.parametrize("key", ["log", "tags"])
@pytest.mark.parametrize(
    ("value", "message"), [("x", "list of names"), ([1], "list of names"), (["x", "x"], "name twice")]
)
def test_log_and_tags_are_lists_of_names(key: str, value: object, message: str) -> None:
    fails(base(events={"e": {"cond": "x > 1", key: value}}), f"[events.e] {key}", message)


def test_an_event_needs_a_condition() -> None:
    fails(base(events={"e": {"action": "x = 1"}}), "[events.e] cond", "needs a condition")


def test_a_condition_may_use_macros_and_gives_the_depth_of_lags() -> None:
    model = load(events={"e": {"cond": "cross_up(y, a) or lag_x(4) > 1"}})
    assert model.lag_depth == {"x": 4, "y": 1}
    assert not model.rhs_uses_lags


def test_lags_in_aux_and_functions_reach_the_right_hand_side() -> None:
    tables: dict[str, Any] = {"aux": {"p": "f(1)"}, "functions": {"f": {"args": ["z"], "expr": "z*lag_x(2)"}}}
    assert not load(**tables).rhs_uses_lags
    assert load(**tables, equations={"rhs": {"x": "p", "y": "1"}}).rhs_uses_lags


# -- presets, sim, meta ----------------------------------------------------------------------------------------


def test_presets_name_values_of_parameters_and_states() -> None:
    model = load(presets={"fast-one": {"params": {"a": 5}, "states": {"y": 0.5}}, "slow": {"params": {"b": 1}}})
    assert [(p.name, p.params, p.states) for p in model.presets] == [
        ("fast-one", (("a", (5.0,)),), (("y", (0.5,)),)),
        ("slow", (("b", (1.0,)),), ()),
    ]


@pytest.mark.parametrize(
    ("body", "key", "message"),
    [
        ({}, "", "must have a params or a states table"),
        (3, "", "must have a params or a states table"),
        ({"param": {"a": 1}}, "", "unknown key 'param'; did you mean 'params'"),
        ({"params": 3}, " params", "must be a table of numbers"),
        ({"params": {"q": 1}}, " params.q", "'q' is not one of the params"),
        ({"params": {"x": 1}}, " params.x", "'x' is not one of the params"),
        ({"states": {"a": 1}}, " states.a", "'a' is not one of the states"),
        ({"params": {"a": True}}, " params.a", "must be 1 number(s)"),
        ({"params": {"a": [1, 2]}}, " params.a", "must be 1 number(s)"),
        ({"params": {"a": float("nan")}}, " params.a", "must be finite"),
        ({"params": {"a": 10**400}}, " params.a", "must be finite"),
    ],
)
def test_a_bad_preset_is_refused(body: object, key: str, message: str) -> None:
    fails(base(presets={"p": body}), f"[presets.p]{key}", message)


def test_sim_defaults() -> None:
    sim = load(
        sim={"t0": 1, "t_end": "2*pi", "dt": 0.1, "stepper": "rk4", "record": False, "max_steps": 50, "stop": "x > a"}
    ).sim
    assert (sim.t0, sim.t_end, sim.dt, sim.stepper) == (1.0, 2 * 3.141592653589793, 0.1, "rk4")
    assert (sim.record, sim.max_steps, sim.stop) == (False, 50, parse("x > a"))


def test_stop_as_text_and_as_table_are_equal() -> None:
    text = load(sim={"stop": "cross_up(x, 1)"})
    assert text == load(sim={"stop": {"cond": "cross_up(x, 1)", "phase": "post"}})
    assert text.sim.stop is not None
    assert Lag("x", 1) in list(walk(text.sim.stop))
    assert text.lag_depth == {"x": 1}


def test_other_keys_of_sim_are_options() -> None:
    sim = load(sim={"dt": 0.1, "rtol": 1e-6, "options": {"atol": 1, "order": "2 + 2"}}).sim
    assert sim.options == (("atol", 1.0), ("order", 4.0), ("rtol", 1e-6))


def test_no_key_of_sim_is_dropped_silently() -> None:
    with pytest.raises(ModelError, match="steper"):
        load(sim={"steper": "rk4"})


@pytest.mark.parametrize(
    ("sim", "place", "message"),
    [
        ({"dt": 0}, "[sim] dt", "must be greater than 0"),
        ({"dt": -0.1}, "[sim] dt", "must be greater than 0"),
        ({"dt": "a"}, "[sim] dt", "unknown name 'a'"),
        ({"max_steps": 0}, "[sim] max_steps", "must be greater than 0"),
        ({"max_steps": 2.5}, "[sim] max_steps", "whole"),
        ({"t_end": float("inf")}, "[sim] t_end", "must be finite"),
        ({"t0": None}, "[sim] t0", "must be a number"),
        ({"record": 1}, "[sim] record", "must be true or false"),
        ({"stepper": 4}, "[sim] stepper", "must be the name of a stepper"),
        ({"stop": "x >"}, "[sim] stop", "the expression ends here"),
        ({"stop": ["x"]}, "[sim] stop", "must be an expression in quotes"),
        ({"stop": {"cond": "x > 1", "when": 1}}, "[sim.stop]", "unknown key 'when'"),
        ({"stop": {"cond": "x > 1", "phase": "never"}}, "[sim.stop] phase", "must be 'pre', 'post' or 'both'"),
        ({"stop": {"cond": "x > 1", "phase": []}}, "[sim.stop] phase", "must be 'pre', 'post' or 'both'"),
        ({"stop": {"phase": "post"}}, "[sim.stop]", "cond"),
        ({"stop": {"cond": "x > 1", "phase": "pre"}}, "[sim.stop] phase", "leave phase out"),
        ({"rtol": True}, "[sim] rtol", "must be a number"),
        ({"rtol": 10**400}, "[sim] rtol", "finite"),
    ],
)
def test_a_bad_key_of_sim_is_refused(sim: dict[str, Any], place: str, message: str) -> None:
    fails(base(sim=sim), place, message)


def test_meta_is_kept_as_text() -> None:
    assert load(meta={"author": "someone", "year": 2003}).meta == (("author", "someone"), ("year", "2003"))


def test_the_name_comes_from_name_then_label_then_title() -> None:
    names = [
        load(model={"type": "ode"} | head).name
        for head in ({"name": "n", "label": "l", "title": "t"}, {"label": "l", "title": "t"}, {"title": "t"}, {})
    ]
    assert names == ["n", "l", "t", "model"]


# -- names -----------------------------------------------------------------------------------------------------

_namespaces: dict[str, Callable[[str], dict[str, Any]]] = {
    "constants": lambda name: {"constants": {name: 1.0}},
    "states": lambda name: {"states": {name: 1.0}},
    "params": lambda name: {"params": {name: 1.0}},
    "aux": lambda name: {"aux": {name: "1"}},
    "functions": lambda name: {"functions": {name: {"args": ["z"], "expr": "z"}}},
}


def defining(name: str, *tables: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "model": {"type": "ode"},
        "states": {"s": 0.0},
        "equations": {"rhs": {"s": "1"} | ({name: "1"} if "states" in tables else {})},
    }
    for table in tables:
        for key, body in _namespaces[table](name).items():
            document[key] = document.get(key, {}) | body
    return document


@pytest.mark.parametrize("first", list(_namespaces))
@pytest.mark.parametrize("second", list(_namespaces))
def test_a_name_is_defined_in_one_table_only(first: str, second: str) -> None:
    document = defining("both", first, second)
    if first == second:
        assert model_from_document(document).kind == "ode"
        return
    with pytest.raises(ModelError, match=r"'both' is already defined in \[(\w+)\]") as caught:
        model_from_document(document, "m.toml")
    found = re.match(r"m\.toml \[(\w+)[.\]].*already defined in \[(\w+)\]", str(caught.value))
    assert found is not None
    assert set(found.groups()) == {first, second}


@pytest.mark.parametrize("table", list(_namespaces))
@pytest.mark.parametrize("word", ["t", "and", "if", "for", "in", "range", "sum", "prod", "true", "True", "FALSE"])
def test_words_of_the_language_cannot_be_redefined(table: str, word: str) -> None:
    with pytest.raises(ModelError, match=f"'{word}' is a word of the language") as caught:
        model_from_document(defining(word, table), "m.toml")
    assert str(caught.value).startswith(f"m.toml [{table}")


@pytest.mark.parametrize("table", list(_namespaces))
@pytest.mark.parametrize("name", ["1x", "_x", "x-y", "x y", "é", "x.y", "", "x\n", "__class__"])
def test_a_name_is_letters_digits_and_underscores(table: str, name: str) -> None:
    with pytest.raises(ModelError, match="is not a name") as caught:
        model_from_document(defining(name, table), "m.toml")
    assert str(caught.value).startswith(f"m.toml [{table}")


@pytest.mark.parametrize("name", ["sin", "max", "cross_up"])
def test_functions_of_the_language_cannot_be_redefined(name: str) -> None:
    fails(defining(name, "functions"), f"[functions.{name}]", "is a function of the language")


def test_the_same_array_twice_is_refused() -> None:
    document = base(states={"x": 1.0, "x[3]": 1.0}, equations={"rhs": {"x": "1"}})
    fails(document, "[states] x[3]", "'x' is already defined in [states]")


def test_a_key_twice_in_a_file_is_refused() -> None:
    with pytest.raises(ModelError, match="inline model: not valid TOML"):
        load_model('inline:[model]\ntype = "ode"\n[states]\nx = 1\nx = 2\n[equations.rhs]\nx = "1"')


# -- unknown keys and wrong kinds of values ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (lambda d: d.update(state={}), "", "unknown table 'state'; did you mean 'states'"),
        (lambda d: d["model"].update(typ="ode"), "[model]", "unknown key 'typ'; did you mean 'type'"),
        (lambda d: d["equations"].update(rsh={}), "[equations]", "unknown key 'rsh'; did you mean 'rhs'"),
        (lambda d: d.update(events={"e": {"condition": "x > 1"}}), "[events.e]", "unknown key 'condition'"),
        (lambda d: d.update(functions={"f": {"arg": [], "expr": "1"}}), "[functions.f]", "unknown key 'arg'"),
        (
            lambda d: d["equations"].update(jacobian={"expr": [["0", "0"], ["0", "0"]], "col": 1}),
            "[equations.jacobian]",
            "unknown key 'col'",
        ),
    ],
)
def test_unknown_keys_are_refused(change: Change, place: str, message: str) -> None:
    document = base()
    change(document)
    fails(document, place, message)


def test_an_unknown_key_of_an_inverse_is_refused() -> None:
    document = map_base()
    document["equations"]["inverse"] = {"rhs": {"x": "y", "y": "x"}, "exp": "x = y"}
    fails(document, "[equations.inverse]", "unknown key 'exp'; did you mean 'expr'")


@pytest.mark.parametrize(
    "table",
    ["model", "states", "params", "constants", "equations", "aux", "functions", "events", "presets", "sim", "meta"],
)
@pytest.mark.parametrize("value", [3, "text", [], True])
def test_a_table_that_is_no_table_is_refused(table: str, value: object) -> None:
    fails(base(**{table: value}), f"[{table}]", "must be a table")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda d: d["equations"].update(rhs=3), "[equations.rhs]"),
        (lambda d: d["equations"].update(expr=[]), "[equations] expr"),
        (lambda d: d["equations"].update(jacobian=3), "[equations.jacobian] expr"),
        (lambda d: d.update(functions={"f": 3}), "[functions.f]"),
        (lambda d: d.update(events={"e": 3}), "[events.e]"),
        (lambda d: d.update(aux={"p": []}), "[aux] p"),
    ],
)
def test_an_inner_value_of_the_wrong_kind_is_refused(change: Change, place: str) -> None:
    document = base()
    change(document)
    fails(document, place, "must be")


@pytest.mark.parametrize("kind", [None, "", "pde", 1, ["ode"], {}])
def test_the_type_of_a_model_is_one_of_three(kind: object) -> None:
    fails(base(model={"type": kind}), "[model] type", "must be 'ode', 'map' or 'sde'")


@pytest.mark.parametrize("dtype", ["float16", "double", 64, []])
def test_the_dtype_is_one_of_two(dtype: object) -> None:
    fails(base(model={"type": "ode", "dtype": dtype}), "[model] dtype", "must be 'float64' or 'float32'")


def test_a_model_without_states_is_refused() -> None:
    fails(base(states={}), "[states]", "at least one state")


def test_an_empty_document_is_refused() -> None:
    fails({}, "[model] type", "must be 'ode', 'map' or 'sde'")


def test_an_error_in_an_expression_has_the_column_within_it() -> None:
    with pytest.raises(ExpressionError) as caught:
        load(aux={"p": "x + y * q"})
    assert (caught.value.line, caught.value.column) == (1, 9)


def test_a_document_is_not_changed_by_loading_it() -> None:
    document = base(sim={"dt": 0.1, "stop": "x > 1", "options": {"rtol": 1e-3}}, presets={"p": {"params": {"a": 1}}})
    before = copy.deepcopy(document)
    model_from_document(document)
    assert document == before


def test_names_left_in_a_model_are_its_own() -> None:
    model = load(constants={"k": 2}, aux={"p": "k*x"}, equations={"rhs": {"x": "p*k + t", "y": "a"}})
    names = {n.id for root in model.roots() for n in walk(root) if isinstance(n, Name)}
    assert names == {"x", "p", "t", "a"}


# -- anything at all -------------------------------------------------------------------------------------------

_words = st.sampled_from(
    [
        "model",
        "states",
        "params",
        "constants",
        "equations",
        "aux",
        "functions",
        "events",
        "presets",
        "mods",
        "mod",
        "sim",
        "meta",
        "type",
        "name",
        "dtype",
        "rhs",
        "expr",
        "inverse",
        "jacobian",
        "args",
        "cond",
        "phase",
        "action",
        "log",
        "tags",
        "stop",
        "record",
        "stepper",
        "dt",
        "t0",
        "t_end",
        "max_steps",
        "options",
        "title",
        "x",
        "y",
        "u[4]",
        "u[i]",
        "a",
        "b",
        "f",
        "e",
        "pre",
        "u",
        "u[N]",
        "N",
        "u[0.5]",
        "u[1e308*10]",
        "x[0]",
    ]
)
_expressions = st.sampled_from(
    [
        "x",
        "a*y",
        "1/0",
        "x +",
        "u[i]",
        "u[i+1] for i in range(3)",
        "u[i]*2 for i in range(4)",
        "dx = 1",
        "x = 1; y = 2",
        "x += 1",
        "ode",
        "map",
        "pre",
        "float32",
        "sum(x for i in range(3))",
        "cross_up(x, 1)",
        "lag_x(2)",
        "f(x)",
        "f(1, 2)",
        "x.__class__",
        "8/3",
        "1e308*10",
        "(-1)**0.5",
        "p",
        "q",
        "t",
        "é",
        "\n",
        "=",
        "u[9]",
        "d(u)[i] = 1",
        "range(",
        "for i in range(3)",
        "i for i in range(0.5)",
        "1 for i in range(1e308*10)",
    ]
)
_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.just(-(10**400)),
    st.floats(),
    st.text(max_size=8),
    _expressions,
    st.just(datetime.datetime(2000, 1, 1)),
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words | st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def _everything() -> dict[str, Any]:
    """A document that uses every table."""
    return base(
        states={"x": "8/3", "y": 0.0, "u[N]": "i/N for i in range(N)"},
        params={"a": 1.0, "b": "2*k", "w": [1, 2, 3, 4]},
        constants={"N": 4, "k": "N/2"},
        equations={
            "rhs": {"x": "f(p) + lag_x(2)", "u[i]": "w[i]*(u[(i+1) % N] - u[i])"},
            "expr": "dy = -b*x",
        },
        aux={"p": "a*x + q", "q": "sum(u[i] for i in range(N) if i > 1)"},
        functions={"f": {"args": ["z"], "expr": "z**2 + g()"}, "g": {"args": [], "expr": "a"}},
        events={
            "e": {"cond": "cross_up(x, b)", "phase": "both", "action": "x = 0; u[1] += 1", "log": ["t"], "tags": ["s"]}
        },
        presets={"p1": {"params": {"a": 2.0, "w": [1, 1, 1, 1]}, "states": {"x": 1}}},
        sim={
            "t0": 0.0,
            "t_end": 10.0,
            "dt": 0.1,
            "stepper": "rk4",
            "stop": {"cond": "x > 3"},
            "options": {"rtol": 1e-3},
        },
        meta={"author": "someone"},
    )


def test_the_document_that_uses_every_table_loads() -> None:
    model = model_from_document(_everything())
    assert (model.n_states, model.n_params, len(model.events), len(model.presets)) == (6, 6, 1, 1)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a document."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [place for key, part in items for place in ((*path, key), *_places(part, (*path, key)))]


def _put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def _loads_or_is_refused(document: dict[str, Any]) -> None:
    try:
        model = model_from_document(document, "m.toml")
    except ModelError as error:
        assert str(error).startswith("m.toml")
    else:
        assert len(model.structure_hash) == 64
        assert model == model_from_document(document)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(_places(_everything())), _values)
def test_any_value_in_any_place_loads_or_is_refused(path: tuple[Any, ...], value: Any) -> None:
    document = _everything()
    _put(document, path, value)
    _loads_or_is_refused(document)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(_places(_everything())), _words | st.text(max_size=6), _values)
def test_any_key_in_any_table_loads_or_is_refused(path: tuple[Any, ...], key: str, value: Any) -> None:
    document = _everything()
    parent: Any = document
    for step in path[:-1]:
        parent = parent[step]
    if isinstance(parent, dict):
        parent[key] = value
    _loads_or_is_refused(document)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(_words, _values, max_size=6))
def test_any_document_loads_or_is_refused(tables: dict[str, Any]) -> None:
    _loads_or_is_refused(tables)
    _loads_or_is_refused(base() | tables)


@pytest.mark.parametrize("shape", ["x + ", "x * ", "-", "not ", "x ** ", "1/(x + ", "max(1, ", "x if x else "])
def test_any_length_and_depth_of_an_expression_loads_or_is_refused(shape: str) -> None:
    for count in (20, 50, 190, 1000, 4000):
        closing = ")" * (shape.count("(") * count)
        _loads_or_is_refused(base(aux={"p": shape * count + "x" + closing}))
