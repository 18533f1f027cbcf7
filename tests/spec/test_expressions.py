"""The grammar: what parses, what it means, and what is refused with a line and a column."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlib.errors import ExpressionError, ModelError, Where
from dynlib.spec import expressions as ex
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
)
from dynlib.spec.resolve import Terms, evaluate


def value(text: str, **names: float) -> float:
    return evaluate(parse(text), names, Terms())


# -- precedence and meaning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spelled_out"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a / b * c", "(a / b) * c"),
        ("a * b // c % d", "((a * b) // c) % d"),
        ("-x**2", "-(x**2)"),
        ("2**-1", "2**(-1)"),
        ("a**b**c", "a**(b**c)"),
        ("a**-b**c", "a**(-(b**c))"),
        ("-a * x", "(-a) * x"),
        ("-a % b", "(-a) % b"),
        ("a < b + 1", "a < (b + 1)"),
        ("not a < b", "not (a < b)"),
        ("not a and b", "(not a) and b"),
        ("a or b and c", "a or (b and c)"),
        ("a if b or c else d", "a if (b or c) else d"),
        ("a if b else c if d else e", "a if b else (c if d else e)"),
        ("a + 1 if b else c", "(a + 1) if b else c"),
        ("+x", "x"),
        ("x[i] ** 2", "(x[i]) ** 2"),
    ],
)
def test_precedence_is_that_of_python(text: str, spelled_out: str) -> None:
    assert parse(text) == parse(spelled_out)


@pytest.mark.parametrize(
    ("text", "other"),
    [("a - b - c", "a - (b - c)"), ("-x**2", "(-x)**2"), ("a**b**c", "(a**b)**c"), ("a < b < c", "(a < b) < c")],
)
def test_brackets_that_matter_change_the_tree(text: str, other: str) -> None:
    assert parse(text) != parse(other)


def test_caret_is_power() -> None:
    assert parse("-x^2^k") == parse("-x**2**k") == Unary("-", Binary("**", Name("x"), parse("2**k")))


def test_chained_comparison_is_one_node() -> None:
    assert parse("0 < x <= 1 != y") == Compare(("<", "<=", "!="), (Num(0.0), Name("x"), Num(1.0), Name("y")))


def test_chained_comparison_means_all_of_them() -> None:
    assert [value("0 < x <= 1", x=x) for x in (0.0, 0.5, 1.0, 2.0)] == [0.0, 1.0, 1.0, 0.0]


def test_choice_keeps_condition_and_branches_apart() -> None:
    assert parse("a if c else b") == Choice(Name("c"), Name("a"), Name("b"))
    assert [value("10 if c else 20", c=c) for c in (1.0, 0.0)] == [10.0, 20.0]


def test_and_or_are_flat_and_need_two_operands() -> None:
    assert parse("a and b and c") == Logic("and", (Name("a"), Name("b"), Name("c")))
    assert parse("a or b") == Logic("or", (Name("a"), Name("b")))


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_truth_values(text: str) -> None:
    assert parse(text) == Bool(True)
    assert value(f"not {text}") == 0.0


def test_range_takes_one_to_three_arguments() -> None:
    full = parse("sum(i for i in range(0, n, 1))")
    assert parse("sum(i for i in range(n))") == full
    assert parse("sum(i for i in range(0, n))") == full
    assert parse("sum(i for i in range(0, n, 2))") != full


def test_sum_with_condition() -> None:
    assert value("sum(i**2 for i in range(10) if i % 2 == 1)") == sum(i**2 for i in range(10) if i % 2 == 1)


def test_prod_with_condition() -> None:
    assert value("prod(i + 1 for i in range(1, 9, 3) if not i == 4)") == 2 * 8


def test_reductions_nest() -> None:
    assert value("sum(prod(i + j for j in range(1, 3)) for i in range(4))") == sum((i + 1) * (i + 2) for i in range(4))


def test_the_body_of_a_sum_may_be_a_choice() -> None:
    tree = parse("sum(a if c else b for i in range(3))")
    assert tree == Reduce("sum", parse("a if c else b"), "i", Num(0.0), Num(3.0), Num(1.0), None)


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1.0), ("1.", 1.0), (".5", 0.5), ("2.5e-3", 0.0025), ("1E+2", 100.0), ("1e16", 1e16)]
)
def test_numbers(text: str, number: float) -> None:
    assert parse(text) == Num(number)


def test_white_space_and_line_ends_do_not_matter() -> None:
    assert parse(" a\n *\t( b+1 )\r\n") == parse("a*(b+1)")


def test_item_index_is_an_expression() -> None:
    assert parse("u[(i + 1) % N]") == Item("u", Binary("%", parse("i + 1"), Name("N")))


def test_call_without_arguments() -> None:
    assert parse("f()") == Call("f", ())


def test_position_takes_no_part_in_comparison() -> None:
    assert parse("   x").pos != parse("x").pos
    assert parse("   x") == parse("x")


# -- canonical spelling ----------------------------------------------------------------------------------------

_names = st.sampled_from(["x", "y", "t", "long_name2", "_u", "lag_x", "e", "inf"])


def _extend(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    some = st.lists(inner, min_size=2, max_size=3).map(tuple)
    comparisons = st.lists(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), min_size=1, max_size=2).flatmap(
        lambda ops: st.builds(
            Compare,
            st.just(tuple(ops)),
            st.lists(inner, min_size=len(ops) + 1, max_size=len(ops) + 1).map(tuple),
        )
    )
    return st.one_of(
        st.builds(Unary, st.sampled_from(["-", "not"]), inner),
        st.builds(Binary, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner, inner),
        comparisons,
        st.builds(Logic, st.sampled_from(["and", "or"]), some),
        st.builds(Choice, inner, inner, inner),
        st.builds(Call, st.sampled_from(["sin", "f", "max", "lag_x"]), st.lists(inner, max_size=3).map(tuple)),
        st.builds(Item, _names, inner),
        st.builds(
            Reduce, st.sampled_from(["sum", "prod"]), inner, st.just("k"), inner, inner, inner, st.none() | inner
        ),
    )


_trees = st.recursive(
    st.one_of(
        st.builds(Num, st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)),
        st.builds(Bool, st.booleans()),
        st.builds(Name, _names),
    ),
    _extend,
    max_leaves=14,
)


@settings(max_examples=300, deadline=None)
@given(_trees)
def test_a_canonical_text_reads_back_as_the_same_tree(tree: Node) -> None:
    assert parse(canonical(tree)) == tree


@settings(max_examples=200, deadline=None)
@given(_trees, _trees)
def test_texts_are_equal_exactly_when_trees_are(one: Node, other: Node) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


def test_canonical_does_not_depend_on_formatting() -> None:
    assert canonical(parse("-a*x+1")) == canonical(parse("((-a) * x) + 1.0")) == "(((- a) * x) + 1.0)"


# -- an independent check: Python's own reading of the same text -------------------------------------------------

_atoms = st.sampled_from(["0.0", "1.0", "2.0", "3.5", "0.25", "7.0", "x", "y"])


def _texts(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Longer texts, with brackets only sometimes, so that precedence decides."""
    arithmetic = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", " - ", "*-", "**-", "- -"])
    return st.one_of(
        st.tuples(inner, arithmetic, inner).map("".join),
        inner.map(lambda s: f"-{s}"),
        inner.map(lambda s: f"({s})"),
        st.tuples(inner, _atoms, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), _atoms, inner).map(
            lambda p: f"({p[0]} if {p[1]} {p[2]} {p[3]} else {p[4]})"
        ),
        st.tuples(_atoms, _atoms, _atoms, inner).map(lambda p: f"({p[0]} < {p[1]} <= {p[2]}) + {p[3]}"),
        st.tuples(_atoms, _atoms, inner).map(lambda p: f"(not {p[0]} == {p[1]} or {p[1]} < 1.0) * {p[2]}"),
    )


def _python(text: str, names: dict[str, float]) -> float | None:
    """What Python makes of the text; None where it is not a real number."""
    try:
        result = eval(text, {"__builtins__": {}}, dict(names))
    except (ArithmeticError, TypeError):
        return None
    return None if isinstance(result, complex) else float(result)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@settings(max_examples=500, deadline=None)
@given(st.recursive(_atoms, _texts, max_leaves=10), st.floats(-4, 4), st.floats(-4, 4))
def test_evaluation_agrees_with_python(text: str, x: float, y: float) -> None:
    names = {"x": x, "y": y}
    expected = _python(text, names)
    if expected is None:
        with pytest.raises(ArithmeticError):
            evaluate(parse(text), names, Terms())
    else:
        result = evaluate(parse(text), names, Terms())
        assert result == expected or (math.isnan(result) and math.isnan(expected))


# -- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a + $", 1, 5, "unexpected character '$'"),
        ("a +\n  b ? c", 2, 5, "unexpected character '?'"),
        ("(a + b", 1, 7, "expected ')', found the end of the expression"),
        ("f(a,\nb", 2, 2, "expected ')'"),
        ("u[i", 1, 4, "expected ']'"),
        ("a + b)", 1, 6, "unexpected ')' after the expression"),
        ("1.2.3", 1, 1, "malformed number '1.2.'"),
        ("a + 1e", 1, 5, "malformed number '1e'"),
        ("\n\n 0x10", 3, 2, "malformed number '0x'"),
        ("1_000", 1, 1, "malformed number '1_'"),
        ("2 x", 1, 3, "unexpected 'x' after the expression"),
        ("a + 1e999", 1, 5, "too large"),
        ("a *", 1, 4, "the expression ends here"),
        ("", 1, 1, "the expression ends here"),
        ("a if b", 1, 7, "expected 'else'"),
        ("a + for", 1, 5, "'for' cannot stand here"),
        ("1 + not a", 1, 5, "'not' cannot stand here"),
        ("sum(x for 1 in range(3))", 1, 11, "loop index"),
        ("sum(x for if in range(3))", 1, 11, "loop index"),
        ("sum(x for i in range())", 1, 21, "one to three arguments"),
        ("sum(x for i in range(1, 2, 3, 4))", 1, 21, "one to three arguments"),
        ("sum(x)", 1, 6, "expected 'for'"),
    ],
)
def test_errors_point_at_the_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_an_error_shows_the_line_with_a_pointer() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("a +\n  b $ c", Where("model.toml", "equations.rhs", "x"))
    message, shown, pointer = str(caught.value).splitlines()
    assert message == "model.toml [equations.rhs] x: unexpected character '$' (line 2, column 5)"
    assert shown[pointer.index("^")] == "$"


def test_the_pointer_stays_right_in_a_long_line() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("a + " * 200 + "? + a" + " + a" * 100)
    _, shown, pointer = str(caught.value).splitlines()
    assert shown[pointer.index("^")] == "?"
    assert len(shown) < 200
    assert caught.value.column == 801


@pytest.mark.parametrize(
    "nested",
    ["(" * 500 + "x" + ")" * 500, "abs(" * 500 + "x" + ")" * 500, "u[" * 500 + "0" + "]" * 500, "x**" * 500 + "x"],
)
def test_too_deep_nesting_is_refused(nested: str) -> None:
    with pytest.raises(ExpressionError, match="nested deeper than") as caught:
        parse(nested)
    assert caught.value.line == 1
    assert caught.value.column > ex.MAX_DEPTH


def test_nesting_up_to_the_limit_is_accepted() -> None:
    assert parse("(" * (ex.MAX_DEPTH - 1) + "x" + ")" * (ex.MAX_DEPTH - 1)) == Name("x")


def test_too_long_text_is_refused_at_once() -> None:
    with pytest.raises(ExpressionError, match=f"longer than {ex.MAX_TEXT} characters") as caught:
        parse("x + " * ex.MAX_TEXT + "x")
    assert (caught.value.line, caught.value.column) == (1, 1)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "x + " * 4_900 + "x",
        "x * " * 4_900 + "x",
        "-" * 19_000 + "x",
        "not " * 4_900 + "x",
        "(x if -1 + 2*-x**(not 1 < " * 19 + "x" + ") else 1)" * 19,
    ],
    ids=["sum", "product", "minus", "not", "mixed"],
)
def test_a_text_that_parses_can_be_walked_and_spelled(text: str) -> None:
    try:
        tree = parse(text)
    except ExpressionError:
        return
    assert canonical(tree).count("x") == text.count("x")
    ex.rebuild(tree, lambda part: part)
    assert tree == parse(text)


@pytest.mark.parametrize(
    "hostile",
    [
        "__import__('os')",
        "x.__class__",
        "x.real",
        "lambda x: x",
        "(lambda: 0)()",
        "(x := 3)",
        "'text'",
        '"text"',
        'f"{x}"',
        "a[0:1]",
        "a[0][1]",
        "f(x)(y)",
        "f(*x)",
        "f(x=1)",
        "[1, 2]",
        "{1: 2}",
        "{1, 2}",
        "(1, 2)",
        "()",
        "x; y",
        "x = 1",
        "x is y",
        "x in y",
        "x & y",
        "x | y",
        "~x",
        "x << 2",
        "x @ y",
        "x!",
        "x <> y",
        "a && b",
        "`x`",
        "x\\\n+ y",
        "await x",
        "[i for i in range(3)]",
        "f(i for i in range(3))",
        "1j",
        "...",
        "x # comment",
        "x\0",
    ],
)
def test_anything_outside_the_grammar_is_refused(hostile: str) -> None:
    with pytest.raises(ExpressionError):
        parse(hostile)


@pytest.mark.parametrize("text", ["x * \u0663", "\uff11 + x", "\u0661.\u0662"])
def test_only_plain_digits_make_numbers(text: str) -> None:
    with pytest.raises(ExpressionError, match="unexpected character"):
        parse(text)


def test_an_expression_error_is_a_model_error() -> None:
    assert issubclass(ExpressionError, ModelError)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    _parse_or_refuse(text)


_pieces = st.sampled_from(
    [
        "x",
        "u",
        "t",
        "1",
        "2.5",
        ".5e3",
        "1e",
        "1e999",
        "+",
        "-",
        "*",
        "**",
        "/",
        "//",
        "%",
        "^",
        "<",
        "<=",
        "==",
        "!=",
        "(",
        ")",
        "[",
        "]",
        ",",
        "and",
        "or",
        "not",
        "if",
        "else",
        "for",
        "in",
        "range",
        "sum",
        "prod",
        "true",
        "range(",
        "sum(",
        "f(",
        "u[",
        "'a'",
        ":",
        ".",
        "=",
        "!",
        "\n",
        "\t",
        "\u2028",
        "é",
        "_",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_pieces, max_size=40))
def test_any_sequence_of_words_parses_or_is_refused(pieces: list[str]) -> None:
    _parse_or_refuse(" ".join(pieces))


def _parse_or_refuse(text: str) -> None:
    try:
        tree = parse(text)
    except ExpressionError as error:
        assert 1 <= error.line <= text.count("\n") + 1
        assert 1 <= error.column <= len(text) + 1
    else:
        assert parse(canonical(tree)) == tree
