"""Names get their meaning: what is unknown, misplaced or out of bounds is named with its place."""

from __future__ import annotations

from typing import Any

import pytest

from dynlib.errors import ExpressionError, Where
from dynlib.spec.document import model_from_document
from dynlib.spec.expressions import Lag, Name, Node, Num, Unary, canonical, parse, walk
from dynlib.spec.resolve import MAX_LAG, Resolver, Scope, resolve_text

SCOPE = Scope(
    states=frozenset({"x", "velocity", "u"}),
    params=frozenset({"alpha", "w"}),
    constants={"N": 10.0, "zero": 0.0, "low": -2.5},
    sizes={"u": 10, "w": 4},
    aux=frozenset({"energy"}),
    functions={"gate": 2, "noargs": 0},
)


def resolve(text: str, **options: Any) -> Node:
    return Resolver(SCOPE, text, Where(), **options).resolve(parse(text))


def document(expr: str) -> dict[str, Any]:
    return {
        "model": {"type": "ode"},
        "states": {"velocity": 0.0},
        "params": {"alpha": 1.0},
        "equations": {"rhs": {"velocity": expr}},
    }


# -- names -----------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_reported_with_file_table_key_and_column() -> None:
    with pytest.raises(ExpressionError) as caught:
        model_from_document(document("1 + velocty"), "oscillator.toml")
    message = str(caught.value)
    assert message.startswith("oscillator.toml [equations.rhs] velocity: unknown name 'velocty'")
    assert (caught.value.line, caught.value.column) == (1, 5)
    assert "column 5" in message


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("velocty", "velocity"),
        ("alhpa", "alpha"),
        ("energi", "energy"),
        ("X", "x"),
        ("sinn(x)", "sin"),
        ("gat(x, x)", "gate"),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(text: str, meant: str) -> None:
    with pytest.raises(ExpressionError, match=f"did you mean '{meant}'"):
        resolve(text)


def test_a_name_like_no_other_gets_the_list_of_names() -> None:
    with pytest.raises(ExpressionError, match=r"unknown name 'qqqq'; known: .*'alpha'"):
        resolve("qqqq")


def test_constants_become_numbers() -> None:
    assert resolve("N") == Num(10.0)
    assert resolve("low") == Unary("-", Num(2.5))


def test_pi_is_known_but_a_name_of_the_model_goes_first() -> None:
    assert resolve("pi") == Num(3.141592653589793)
    own = Scope(params=frozenset({"pi"}))
    assert resolve_text("pi", own, Where()) == Name("pi")


@pytest.mark.parametrize("text", ["sin", "gate + 1"])
def test_a_function_without_call_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="is a function; call it"):
        resolve(text)


def test_an_unknown_function_is_refused() -> None:
    with pytest.raises(ExpressionError, match="unknown function '__import__'"):
        resolve("__import__(x)")


def test_a_state_cannot_be_called() -> None:
    with pytest.raises(ExpressionError, match="'velocity' is a value, not a function"):
        resolve("velocity(1)")


def test_time_has_no_meaning_where_there_is_none() -> None:
    assert resolve("t") == Name("t")
    with pytest.raises(ExpressionError, match="unknown name 't': only numbers"):
        resolve("t", timed=False)


def test_arguments_of_a_function_hide_nothing_outside_it() -> None:
    assert resolve("q", args=frozenset({"q"})) == Name("q")
    with pytest.raises(ExpressionError, match="unknown name 'q'"):
        resolve("q")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sin(x, x)", r"sin\(\) takes 1 argument, got 2"),
        ("sin()", r"sin\(\) takes 1 argument, got 0"),
        ("atan2(x)", r"atan2\(\) takes 2 arguments, got 1"),
        ("clip(x, 0)", r"clip\(\) takes 3 arguments, got 2"),
        ("max(x)", r"max\(\) takes 2 or more arguments, got 1"),
        ("gate(x)", r"gate\(\) takes 2 arguments, got 1"),
        ("noargs(x)", r"noargs\(\) takes 0 arguments, got 1"),
    ],
)
def test_a_wrong_number_of_arguments_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        resolve(text)


@pytest.mark.parametrize("text", ["max(x, 1, 2, 3)", "gate(x, 1)", "noargs()", "clip(x, 0, 1)"])
def test_a_right_number_of_arguments_is_accepted(text: str) -> None:
    assert resolve(text) == parse(text)


# -- event macros ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("cross_up(x, 1)", "(lag_x(1) < 1.0) and (x >= 1.0)"),
        ("cross_down(x, 1)", "(lag_x(1) > 1.0) and (x <= 1.0)"),
        ("cross_either(x, 1)", "((lag_x(1) < 1.0) and (x >= 1.0)) or ((lag_x(1) > 1.0) and (x <= 1.0))"),
        ("changed(x)", "x != lag_x(1)"),
        ("increasing(x)", "x > lag_x(1)"),
        ("decreasing(x)", "x < lag_x(1)"),
        ("in_interval(x, 0, 1)", "0 <= x <= 1"),
        ("enters_interval(x, 0, 1)", "not (0 <= lag_x(1) <= 1) and 0 <= x <= 1"),
        ("leaves_interval(x, 0, 1)", "0 <= lag_x(1) <= 1 and not (0 <= x <= 1)"),
    ],
)
def test_macros_compare_with_the_value_one_step_ago(text: str, meaning: str) -> None:
    assert canonical(resolve(text, events=True)) == canonical(resolve(meaning))


@pytest.mark.parametrize("text", ["cross_up(x, 1)", "changed(x)", "1 + increasing(x)"])
def test_macros_stand_only_in_conditions_of_events(text: str) -> None:
    with pytest.raises(ExpressionError, match="only in the condition of an event"):
        resolve(text)


def test_a_macro_wants_its_number_of_arguments() -> None:
    with pytest.raises(ExpressionError, match=r"cross_up\(\) takes 2 arguments, got 1"):
        resolve("cross_up(x)", events=True)


@pytest.mark.parametrize("subject", ["alpha", "x + 1", "energy", "2"])
def test_a_macro_watches_a_state(subject: str) -> None:
    with pytest.raises(ExpressionError, match="must be the name of a state"):
        resolve(f"cross_up({subject}, 0)", events=True)


# -- lags ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "steps"), [("lag_x()", 1), ("lag_x(1)", 1), (f"lag_x({MAX_LAG})", MAX_LAG)])
def test_a_lag_is_a_node_of_its_own(text: str, steps: int) -> None:
    assert resolve(text) == Lag("x", steps)


def test_the_greatest_lag_is_one_thousand() -> None:
    assert MAX_LAG == 1000


@pytest.mark.parametrize("steps", ["0", "1001", "1e6"])
def test_a_lag_out_of_range_is_refused(steps: str) -> None:
    with pytest.raises(ExpressionError, match="the lag must be 1 to 1000 steps"):
        resolve(f"lag_x({steps})")


@pytest.mark.parametrize("steps", ["1.5", "-1", "N", "alpha", "1 + 1", "1, 2"])
def test_a_lag_is_written_as_a_whole_number(steps: str) -> None:
    with pytest.raises(ExpressionError, match="one whole number, written out"):
        resolve(f"lag_x({steps})")


@pytest.mark.parametrize("name", ["alpha", "energy", "t", "y"])
def test_only_states_have_lags(name: str) -> None:
    with pytest.raises(ExpressionError, match=f"'{name}' is not a state"):
        resolve(f"lag_{name}(1)")


def test_array_states_have_no_lags() -> None:
    with pytest.raises(ExpressionError, match="lags of array states are not supported"):
        resolve("lag_u(1)")


# -- elements of arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["0", "9", "N - 1", "N // 2", "2 * 4 + 1", "-3 + 3", "17 % N"])
def test_a_constant_index_within_bounds_is_accepted(index: str) -> None:
    assert resolve(f"u[{index}]") == parse(f"u[{index.replace('N', '10.0')}]")


@pytest.mark.parametrize(("index", "span"), [("10", "10"), ("N", "10"), ("-1", "-1"), ("2 - 5", "-3")])
def test_a_constant_index_out_of_bounds_is_refused(index: str, span: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        resolve(f"u[{index}]")
    assert f"index of 'u' runs over {span}, but u[10] has 0 to 9" in str(caught.value)


@pytest.mark.parametrize("index", ["i", "(i + 1) % N", "(i - 1) % N", "N - 1 - i", "i // 2", "(3 * i) % N", "i % 4"])
def test_an_index_over_the_full_range_may_wrap(index: str) -> None:
    resolved = resolve(f"u[{index}]", local={"i": (0, 9)})
    assert any(node == Name("i") for node in walk(resolved))


@pytest.mark.parametrize(
    ("index", "span"), [("i - 1", "-1 to 8"), ("i + 1", "1 to 10"), ("2 * i", "0 to 18"), ("-i", "-9 to 0")]
)
def test_an_index_that_leaves_the_array_is_refused(index: str, span: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        resolve(f"u[{index}]", local={"i": (0, 9)})
    assert f"index of 'u' runs over {span}, but u[10] has 0 to 9" in str(caught.value)


def test_an_index_over_a_shorter_range_may_be_shifted() -> None:
    assert resolve("u[i - 1] + u[i + 1]", local={"i": (1, 8)}) == parse("u[i - 1] + u[i + 1]")


@pytest.mark.parametrize("index", ["0.5", "x", "alpha", "t", "i / 2", "i ** 2", "sin(i)", "1 if x else 0", "u[0]"])
def test_an_index_is_made_of_whole_numbers(index: str) -> None:
    with pytest.raises(ExpressionError, match="an index must be made of whole numbers"):
        resolve(f"u[{index}]", local={"i": (0, 3)})


def test_the_divisor_in_an_index_is_a_positive_constant() -> None:
    with pytest.raises(ExpressionError, match="must be a positive constant"):
        resolve("u[3 % i]", local={"i": (1, 3)})


def test_a_scalar_has_no_elements() -> None:
    with pytest.raises(ExpressionError, match="'x' is a scalar and has no elements"):
        resolve("x[0]")


def test_an_array_cannot_stand_for_a_number() -> None:
    with pytest.raises(ExpressionError, match=r"'u' is an array of 10; write one element, as in u\[i\]"):
        resolve("u + 1")


def test_an_unknown_array_gets_a_suggestion() -> None:
    with pytest.raises(ExpressionError, match="unknown array 'uu'; did you mean 'u'"):
        resolve("uu[0]")


def test_a_sum_binds_its_index() -> None:
    assert resolve("sum(u[i] for i in range(N))") == parse("sum(u[i] for i in range(10))")
    with pytest.raises(ExpressionError, match="unknown name 'i'"):
        resolve("sum(u[i] for i in range(N)) + i")


def test_a_sum_that_leaves_the_array_is_refused() -> None:
    with pytest.raises(ExpressionError, match="runs over 0 to 10"):
        resolve("sum(u[i] for i in range(N + 1))")


def test_bounds_of_an_inner_sum_may_use_the_outer_index() -> None:
    text = "sum(u[j] for j in range(i + 1))"
    assert resolve(text, local={"i": (0, 9)}) == parse(text)
    with pytest.raises(ExpressionError, match="runs over 0 to 10"):
        resolve(text, local={"i": (0, 10)})


def test_an_index_cannot_be_bound_twice() -> None:
    with pytest.raises(ExpressionError, match="loop index 'i' is already in use"):
        resolve("sum(sum(u[i] for i in range(2)) for i in range(2))")


@pytest.mark.parametrize("step", ["0", "-1"])
def test_a_range_runs_forwards(step: str) -> None:
    with pytest.raises(ExpressionError, match="positive whole number"):
        resolve(f"sum(u[i] for i in range(0, 3, {step}))")


def test_a_range_has_whole_constant_bounds() -> None:
    with pytest.raises(ExpressionError, match="whole numbers"):
        resolve("sum(i for i in range(alpha))")


# -- division by zero ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["x / 0", "x // 0.0", "x % 0", "x / (1 - 1)", "x / zero", "1 + x / (N - 10)", "x / -zero"]
)
def test_division_by_a_constant_zero_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="division by -?0"):
        resolve(text)


@pytest.mark.parametrize("text", ["x / x", "x / alpha", "x / (1 - 2)", "x / (0 * x)", "0 / x", "x / (1e300 * 1e300)"])
def test_other_divisions_are_accepted(text: str) -> None:
    assert canonical(resolve(text)) == canonical(parse(text))


def test_the_work_grows_with_the_text_and_not_with_its_nesting(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    original = Resolver.resolve

    def counted(self: Resolver, node: Node) -> Node:
        nonlocal calls
        calls += 1
        return original(self, node)

    monkeypatch.setattr(Resolver, "resolve", counted)
    resolve("1 / (x + " * 12 + "x" + ")" * 12)
    assert calls < 1000
