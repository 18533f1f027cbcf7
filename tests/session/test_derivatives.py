"""Jacobians and slopes for users, and the check of a Jacobian that a model states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dynlib
from dynlib import ConfigError, FullModel, ModelError, Sim, build, load_model, map_model, ode_model
from dynlib.errors import UnknownNameError
from dynlib.spec.document import model_from_document

CHAIN = {
    "u[0]": "D*(u[1] - u[0])",
    "u[N-1]": "D*(u[N-2] - u[N-1])",
    "u[i]": "D*(u[i-1] - 2*u[i] + u[i+1]) + u[i]*(1 - u[i]) for i in range(1, N-1)",
}


def chain(n: int, dtype: str = "float64") -> FullModel:
    return build(
        ode_model("chain", states={"u[N]": 0.25}, params={"D": 2.0}, constants={"N": n}, equations=CHAIN, dtype=dtype),
        jit=False,
    )


def stated(cells: list[list[str]], kind: str = "ode", **tables: Any) -> dict[str, Any]:
    rhs = {"x": "a*x*y", "y": "sin(x) - y*t"}
    return {
        "model": {"type": kind, "name": "stated"},
        "states": {"x": 0.3, "y": 0.0},
        "params": {"a": 2.0},
        "equations": {"rhs": rhs, "jacobian": {"expr": cells}},
    } | tables


RIGHT = [["a*y", "a*x"], ["cos(x)", "-t"]]


def test_lorenz_at_the_origin() -> None:
    full = build("builtin://ode/lorenz", jit=False)
    found = np.sort(np.linalg.eigvals(full.jacobian(y=[0, 0, 0])))
    np.testing.assert_allclose(found, [-22.82772345, -2.66666667, 11.82772345], atol=1e-8)


def test_values_that_are_not_given_are_those_of_the_model() -> None:
    full = build("builtin://ode/lorenz", jit=False)
    y = [v for q in full.model.states for v in q.values]
    own = full.jacobian()
    np.testing.assert_array_equal(own, full.jacobian(t=0.0, y=y, params=full.initial_state()["params"]))
    np.testing.assert_array_equal(full.jacobian(y={"z": 5.0})[1], [own[1, 0] + y[2] - 5.0, *own[1, 1:]])
    assert full.jacobian(params={"sigma": 3.0})[0, 1] == 3.0
    assert full.parameter_derivative("rho", y={"x": 4.0}).tolist() == [0.0, 4.0, 0.0]
    assert full.time_derivative().tolist() == [0.0, 0.0, 0.0]


def test_a_session_gives_it_where_it_stands() -> None:
    sim = Sim(build("builtin://ode/lorenz", jit=False, stepper="rk4", dt=0.01))
    sim.run(T=0.105)
    sim.assign(rho=20.0)
    expected = sim.full_model.jacobian(t=sim.t, y=sim.state_vector(), params=sim.param_vector())
    np.testing.assert_array_equal(sim.jacobian(), expected)
    assert not np.array_equal(sim.jacobian(), sim.full_model.jacobian())


def test_slopes_in_time_and_in_parameters() -> None:
    for functions in ({}, {"f": {"args": ["z"], "expr": "z*a*t"}}):
        call = "f(x)" if functions else "x*a*t"
        for states in ({"x": 0.5, "y": 2.0}, {"x": 0.5, "y": 2.0, "u[3]": 1.0}):
            equations = {"x": f"{call}*y", "y": "a**2", **({"u[i]": "i*a*t*x"} if len(states) == 3 else {})}
            full = build(ode_model("m", states=states, params={"a": 3.0}, functions=functions, equations=equations),
                         jit=False)  # fmt: skip
            more = [0.0, 1.5, 3.0] if len(states) == 3 else []
            np.testing.assert_allclose(full.time_derivative(t=7.0), [3.0, 0.0, *more])
            np.testing.assert_allclose(
                full.parameter_derivative("a", t=2.0), [2.0, 6.0, 0.0, 1.0, 2.0][: 2 + len(more)]
            )


def test_pattern_and_bandwidths() -> None:
    full = chain(50)
    assert (full.sparsity.n, full.sparsity.lower, full.sparsity.upper) == (50, 1, 1)
    assert len(full.sparsity.rows) == 3 * 50 - 2
    dense = full.jacobian()
    assert dense[7, 6:9].tolist() == [2.0, -3.5, 2.0]
    np.testing.assert_array_equal(dense[full.sparsity.rows, full.sparsity.cols], full.jacobian_elements())
    assert chain(50, "float32").jacobian().dtype == np.float32


def test_a_large_jacobian_is_given_as_its_elements() -> None:
    full = chain(5000)
    with pytest.raises(ConfigError, match=r"5000 states.*jacobian_elements\(\).*sparsity"):
        full.jacobian()
    with pytest.raises(ConfigError, match="jacobian_elements"):
        Sim(full).jacobian()
    diagonal = full.sparsity.rows == full.sparsity.cols
    assert full.jacobian_elements()[diagonal][2500] == -3.5


def test_lagged_values() -> None:
    """They are the state itself, and in a session what they were."""
    model = map_model("m", states={"x": 0.5}, params={"a": 2.0}, equations={"x": "a*x*lag_x(2)*lag_x(1)"})
    full = build(model, jit=False)
    assert full.jacobian(y=[3.0]).tolist() == [[18.0]]
    sim = Sim(full)
    sim.run(N=4)
    x = sim.results()["x"]
    assert sim.jacobian()[0, 0] == 2.0 * x[-2] * x[-3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [1.0, 2.0]}, "expected 3 state value"),
        ({"y": {"q": 1.0}}, "unknown state 'q'"),
        ({"y": {"x": "much"}}, "must be a number"),
        ({"params": [1.0]}, "expected 3 parameter value"),
        ({"params": {"sigm": 1.0}}, "did you mean 'sigma'"),
        ({"y": [0.0, np.nan, 0.0]}, "must be finite"),
        ({"t": np.inf}, "t must be a finite number"),
        ({"t": "now"}, "must be a number, not 'now'"),
    ],
)
def test_impossible_values_are_named(arguments: dict[str, Any], message: str) -> None:
    full = build("builtin://ode/lorenz", jit=False)
    for method in (full.jacobian, full.jacobian_elements, full.time_derivative):
        with pytest.raises(ConfigError, match=message):
            method(**arguments)
    with pytest.raises(ConfigError, match=message):
        full.parameter_derivative("rho", **arguments)


def test_only_scalar_parameters_have_a_derivative() -> None:
    full = build(
        ode_model("m", states={"x": 1.0}, params={"a": 1.0, "w[2]": 0.0}, equations={"x": "a*x*w[1]"}), jit=False
    )
    for name in ("w", "b", "x"):
        with pytest.raises(UnknownNameError, match="known: 'a'"):
            full.parameter_derivative(name)
    assert full.parameter_derivative("a", params={"w": 3.0}) == [3.0]


def test_random_numbers_have_no_derivative() -> None:
    full = build(map_model("m", states={"x": 1.0}, params={"a": 1.0}, equations={"x": "x*rand()*a"}), jit=False)
    with pytest.raises(ModelError, match="random numbers"):
        full.jacobian()
    with pytest.raises(ModelError, match="random numbers"):
        full.parameter_derivative("a")


# -- the check of a stated Jacobian ---------------------------------------------------------------------------------


def test_a_right_jacobian_passes() -> None:
    for kind in ("ode", "map"):
        full = build(model_from_document(stated(RIGHT, kind)), jit=False)
        assert full.jacobian(t=2.0).tolist() == [[0.0, 0.6], [np.cos(0.3), -2.0]]
    narrow = stated(RIGHT)
    narrow["model"]["dtype"] = "float32"
    build(model_from_document(narrow), jit=False)


@pytest.mark.parametrize(("row", "col", "cell", "true"), [
    (0, 0, "a*y*1.00001", "a*y"), (0, 1, "0", "a*x"), (1, 0, "-cos(x)", "cos(x)"), (1, 1, "-1.5", "-t"),
])  # fmt: skip
def test_a_wrong_element_is_named(row: int, col: int, cell: str, true: str) -> None:
    cells = [list(r) for r in RIGHT]
    cells[row][col] = cell
    model = model_from_document(stated(cells))  # reading it is no mistake yet
    with pytest.raises(ModelError) as caught:
        build(model, jit=False)
    message = str(caught.value)
    place = f"[equations.jacobian]: row {row + 1}, column {col + 1}: the derivative of the right-hand side of "
    assert place + f"{'xy'[row]!r} with respect to {'xy'[col]!r} is " in message
    values = dict(pair.split(" = ") for pair in message.split(" at ")[1].split(". Correct")[0].split(", "))
    at = {name: float(value) for name, value in values.items()}
    shown = [float(word) for word in message.split(" is ")[1].split(", at ")[0].split(", not ")]
    known = {"cos": np.cos, **at}
    np.testing.assert_allclose(shown, [eval(true, known), eval(cell, known)], rtol=1e-4)


def test_array_states_are_named_by_element() -> None:
    model = model_from_document({
        "model": {"type": "ode"}, "states": {"u[2]": 1.0},
        "equations": {"rhs": {"u[i]": "-u[i]*u[0]"}, "jacobian": {"expr": [["-2*u[0]", "0"], ["u[1]", "-u[0]"]]}},
    })  # fmt: skip
    with pytest.raises(ModelError, match=r"row 2, column 1: .* of 'u\[1\]' with respect to 'u\[0\]' is -"):
        build(model, jit=False)


def test_points_without_a_value_are_left_out() -> None:
    """The root exists on one side only, or nowhere."""
    for f, slope, passes in (
        ("sqrt(y)", "0.5/sqrt(y)", True),
        ("sqrt(y)", "1/sqrt(y)", False),
        ("sqrt(-1 - y*y)", "7", True),
    ):
        model = model_from_document(stated([["0", slope], ["0", "0"]]) | {
            "equations": {"rhs": {"x": f, "y": "0"}, "jacobian": {"expr": [["0", slope], ["0", "0"]]}}
        })  # fmt: skip
        if passes:
            build(model, jit=False)
        else:
            with pytest.raises(ModelError, match="row 1, column 2"):
                build(model, jit=False)


def test_what_cannot_be_derived_is_not_checked() -> None:
    aux = {"r0": "x*x", **{f"r{k}": f"r{k - 1}*r{k - 1}" for k in range(1, 20)}}
    tables = stated([["1", "0"], ["0", "0"]], aux=aux)
    tables["equations"]["rhs"] = {"x": "r19", "y": "0"}
    with pytest.raises(ModelError, match="too large"):
        build(ode_model("m", states={"x": 0.3}, aux=aux, equations={"x": "r19"}), jit=False).jacobian()
    assert build(model_from_document(tables), jit=False).jacobian()[0, 0] == 1.0


def test_the_library_states_what_can_be_derived() -> None:
    with_own = [name for name in dynlib.builtin_models() if load_model(name).jacobian]
    assert with_own
    for name in with_own:
        build(name, jit=False)
