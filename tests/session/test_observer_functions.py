"""Observers made of Python functions: read from the source, compiled, and part of the state as any other."""

# ruff: noqa: F821
from __future__ import annotations

import linecache
import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dynlib
from dynlib import ConfigError, ModelError, Observer, Sim


@dynlib.observer
def path(length=0.0):
    """How far the point has moved."""
    length = length + hypot(x - before_x, y - before_y)


@dynlib.observer(read={"mean": "total / n"})
def mean_of_x(total=0.0, n=0.0):
    total += x
    n += 1


def henon(*observers: Observer, jit: bool = False) -> Sim:
    return dynlib.setup("builtin://map/henon", jit=jit, observers=observers)


def test_a_function_is_an_observer_of_expressions() -> None:
    expected = Observer("path", {"length": 0.0}, {"length": "length + hypot(x - before_x, y - before_y)"})
    assert path == expected
    assert mean_of_x == Observer(
        "mean_of_x", {"total": 0.0, "n": 0.0}, {"total": "total + x", "n": "n + 1"}, {"mean": "total / n"}
    )


def test_it_goes_on_over_resume_and_file(tmp_path: Path) -> None:
    whole, split = henon(path, mean_of_x), henon(path, mean_of_x)
    whole.run(N=300)
    split.run(N=100)
    split.export_snapshot(tmp_path / "a.npz")
    other = dynlib.open_snapshot(tmp_path / "a.npz")
    other.run(N=200, resume=True)
    assert other.state.same_bits(whole.state)
    found = other.observer("mean_of_x")
    assert found["mean"] == found["total"] / 300
    assert found["mean"] == pytest.approx(whole.results()["x"][1:].mean())
    assert other.replay().ok


def test_branches_constants_and_names_for_one_step() -> None:
    @dynlib.observer(name="swings")
    def count(up=0, down=0, level=-0.25, last=0.0, high=-1e9):
        """Text that does not
        count as indentation."""
        distance = x - level
        if distance > 0 and before_x <= level:
            up += 1
            last = t
        elif distance <= 0 < before_x - level:
            down += 1
            waited = t - last
            if waited > 2:
                down += 10
        else:
            pass
        if not high > x:
            high = x

    assert count.name == "swings"
    assert list(count.memory) == ["up", "down", "last", "high"]
    sim = henon(count)
    sim.run(N=500)
    up = down = last = 0
    xs = sim.results()["x"].tolist()
    for n, (before, now) in enumerate(pairwise(xs), 1):
        if now > -0.25 >= before:
            up, last = up + 1, n
        elif now <= -0.25 < before:
            down += 11 if n - last > 2 else 1
    assert up > 50
    assert sim.observer("swings") == {"up": up, "down": down, "last": last, "high": max(xs[1:])}


def test_sums_over_arrays() -> None:
    @dynlib.observer
    def energy(most=0.0):
        now = sum(u[k] ** 2 for k in range(3) if u[k] > 0) + prod(i for i in range(1, 3)) * u[0]
        most = max(most, now)

    model = dynlib.map_model("m", states={"u[3]": [-1.0, 2.0, 4.0]}, equations={"u[i]": "2*u[i]"})
    sim = dynlib.setup(model, jit=False, observers=[energy])
    sim.run(N=1)
    assert sim.observer("energy")["most"] == 16.0 + 64.0 + 2.0 * -2.0


def made(source: str, name: str = "f") -> Any:
    """Run a source text that can be read again, as in a notebook."""
    file = f"<cell {hash(source)}>"
    text = textwrap.dedent(source)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {"observer": dynlib.observer}
    exec(compile(text, file, "exec"), names)
    return names[name]


_VALUES = st.recursive(
    st.sampled_from(["x", "y", "before_x", "t", "m", "n", "k", "d", "0.5", "2"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*"]), inner),
        st.builds("-{}".format, inner),
        st.builds("({} if {} {} {} else {})".format, inner, inner, st.sampled_from(["<", ">="]), inner, inner),
        st.builds("min({}, {})".format, inner, inner),
    ),
    max_leaves=5,
)
_TESTS = st.builds("{} < {}".format, _VALUES, _VALUES) | st.builds(
    "not {} >= {} or {} == {}".format, _VALUES, _VALUES, _VALUES, _VALUES
)
_SET = st.builds(
    lambda name, op, value: [f"{name} {op}= {value}"], st.sampled_from("mnd"), st.sampled_from(["", "+", "-"]), _VALUES
)


def _branches(inner: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    blocks = st.lists(inner, min_size=1, max_size=3).map(lambda found: [line for each in found for line in each])

    def written(test: str, then: list[str], other: list[str]) -> list[str]:
        return [f"if {test}:", *("    " + s for s in then), "else:", *("    " + s for s in other)]

    return st.builds(written, _TESTS, blocks, blocks)


_PROGRAMS = st.lists(st.recursive(_SET, _branches, max_leaves=5), min_size=1, max_size=5).map(
    lambda found: [line for each in found for line in each]
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_PROGRAMS)
def test_the_observer_does_what_the_function_does(program: list[str]) -> None:
    """Any mixture of assignments and branches, executed by Python after each step, leaves the same numbers."""
    body = "\n".join("    " + line for line in ["m = 0.9*m", "n = n", "d = x", *program, "m = min(max(m, -9), 9)"])
    watched = made(f"@observer\ndef f(m=0.25, n=-1.0, k=3.0):\n{body}\n    n = min(max(n, -9), 9)\n")
    step = made(f"def f(m, n, k, x, y, before_x, t):\n{body}\n    n = min(max(n, -9), 9)\n    return m, n\n")
    sim = henon(watched)
    sim.run(N=12)
    xs, ys = sim.results()["x"].tolist(), sim.results()["y"].tolist()
    m, n = 0.25, -1.0
    for i in range(12):
        m, n = step(m, n, 3.0, xs[i + 1], ys[i + 1], xs[i], float(i + 1))
    assert sim.observer("f") == {"m": m, "n": n}


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("for i in range(3):\n    n += i", 3, r"'for i in range\(3\):' cannot stand here: an observer is made of"),
        ("n += 1\nwhile n > 3:\n    n -= 1", 4, "cannot stand here"),
        ("print(n)", 3, r"'print\(n\)' cannot stand here"),
        ("n = 1\nreturn n", 4, "'return n' cannot stand here"),
        ("n = 1\nimport os", 4, "'import os' cannot stand here"),
        ("n, m = 1, 2", 3, "single names"),
        ("n = m = 1", 3, "single names"),
        ("u[0] = n", 3, "single names"),
        ("n: float", 3, "cannot stand here"),
        ("n = x.real", 3, "'x.real' is no expression of the model language"),
        ("n = math.sin(x)", 3, r"'math.sin\(x\)' is no expression"),
        ("n = 'a'", 3, "is no expression"),
        ("n = [x]", 3, "is no expression"),
        ("n = x if 1 in (1, 2) else 0", 3, "is no expression"),
        ("n = (m := 3)", 3, "is no expression"),
        ("n = min(x, key=3)", 3, "is no expression"),
        ("n = u[0:1]", 3, "is no expression"),
        ("n = 3j", 3, "is no expression"),
        ("n = x ^ 2", 3, r"\^ is no power in Python; write \*\*"),
        ("n = x or y", 3, "and/or of numbers"),
        ("n = sum(x for i in range(2) for j in range(2))", 3, r"sum\(\) takes one loop over a range"),
        ("n = sum(n for n in range(2))", 3, "the index 'n' must be a name of its own"),
        ("d = 1\nn = sum(d for d in range(2))", 4, "the index 'd' must be a name of its own"),
        ("n = d\nd = x", 3, "'d' is read before it is set"),
        ("if x > 0:\n    d = 1\nn = d", 5, "'d' is set in one branch only"),
        ("t = 3\nn = t", 3, "'t' cannot be set"),
        ("_d = 3\nn = _d", 3, "'_d' cannot be set"),
        ("é = 3\nn = é", 3, "'é' cannot be set"),
    ],
)
def test_what_else_a_function_may_hold_is_refused(body: str, line: int, message: str) -> None:
    """The message names the line and what is allowed."""
    source = "@observer\ndef f(n=0.0):\n" + textwrap.indent(body, "    ")
    with pytest.raises(ConfigError, match=message) as caught:
        made(source)
    assert f"[observer f] line {line}: " in str(caught.value)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("@observer\ndef f(n):\n    n += 1", ConfigError, "'n' needs a first value, as in n=0.0"),
        ("@observer\ndef f(*n):\n    n += 1", ConfigError, r"\*n is no memory"),
        ("@observer\ndef f(**n):\n    n += 1", ConfigError, r"\*n is no memory"),
        ("@observer\ndef f(n=None):\n    n += 1", ConfigError, "'n' begins with a finite number, not None"),
        ("@observer\ndef f(n=0, k=True):\n    n += k", ConfigError, "'k' begins with a finite number, not True"),
        ("@observer\ndef f(n=0):\n    pass", ConfigError, "sets none of its arguments"),
        ("@observer\ndef f(sum=0):\n    sum += 1", ConfigError, "'sum' is not a name"),
        ("@observer\ndef _f(n=0):\n    n += 1", ConfigError, "must be a word, not '_f'"),
        ("f = observer(lambda n=0: n)", ConfigError, "must be a function defined with def"),
        ("f = observer(3)", ConfigError, "must be a function, not 3"),
        ("@observer\nclass f:\n    pass", ConfigError, "expected a function"),
        ("@observer(read={'n': '2*n'})\ndef f(n=0):\n    n += 1", ConfigError, "'n' is in the memory already"),
        ("@observer\ndef f(n=0):\n    n = 1e999", ModelError, r"\[observer f\] line 3: number 1e309 is too large"),
    ],
)
def test_bad_observer_functions(source: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(source)


def test_names_are_those_of_the_model_alone() -> None:
    """A variable of Python is not seen: its value could not be kept in a file."""
    limit = 3.0

    @dynlib.observer
    def beyond(n=0):
        n += x > limit

    with pytest.raises(ModelError, match=r"\[observer beyond\] n: unknown name 'limit'"):
        henon(beyond)


def test_a_function_whose_source_is_nowhere() -> None:
    names: dict[str, Callable[..., Any]] = {}
    exec("def f(n=0.0):\n    n += 1", names)
    with pytest.raises(ConfigError, match="observer f: the source of the function cannot be read; define it in a file"):
        dynlib.observer(names["f"])
