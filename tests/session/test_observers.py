"""Observers: memory that is part of the state, so that it goes on over resume, snapshot and file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session.kit import neuron_full

import dynlib
from dynlib import ConfigError, ModelError, Observer, Sim, UnknownNameError, extrema, largest_lyapunov, running_mean
from dynlib.spec.derivative import derivative, jacobian_of
from dynlib.spec.expressions import Name, parse, walk
from dynlib.spec.resolve import Terms, evaluate


def oscillator(*observers: Observer, stepper: str = "rk4", dtype: str = "float64", jit: bool = False) -> Sim:
    model = dynlib.ode_model(
        "oscillator",
        states={"x": 1.0, "y": 0.0},
        params={"w": 1.5},
        equations={"x": "y", "y": "-w*w*x"},
        aux={"energy": "0.5*(y*y + w*w*x*x)"},
        dtype=dtype,
    )
    dt = None if stepper == "rk45" else 0.05
    return dynlib.setup(model, stepper=stepper, dt=dt, jit=jit, observers=observers)


def test_mean_variance_and_extrema_are_those_of_the_steps() -> None:
    sim = oscillator(running_mean("x"), running_mean("energy"), extrema("y"))
    sim.run(T=7.0)
    res = sim.results()
    x, y = res["x"][1:], res["y"][1:]
    found = sim.observer("mean_of_x")
    assert found["count"] == len(x) == sim.step
    assert found["mean"] == pytest.approx(x.mean(), rel=1e-12)
    assert found["variance"] == pytest.approx(x.var(), rel=1e-12)
    assert found["deviation"] == pytest.approx(x.std(), rel=1e-12)
    assert sim.observer("mean_of_energy")["mean"] == pytest.approx(res["energy"][1:].mean(), rel=1e-12)
    ends = sim.observer("extrema_of_y")
    assert (ends["least"], ends["greatest"]) == (y.min(), y.max())
    assert (ends["t_least"], ends["t_greatest"]) == (res.t[1:][y.argmin()], res.t[1:][y.argmax()])


def test_a_stop_inside_a_step_feeds_nothing_twice() -> None:
    split, whole = (oscillator(running_mean("x"), stepper="rk45") for _ in range(2))
    whole.run(T=9.0)
    for k in range(1, 200):
        split.run(T=0.045 * k, resume=k > 1)
    split.run(T=9.0, resume=True)
    assert split.observer("mean_of_x") == whole.observer("mean_of_x")
    assert split.state.same_bits(whole.state)


def test_the_memory_goes_through_snapshots_and_files(tmp_path: Path) -> None:
    sim, whole = (oscillator(running_mean("x"), extrema("y")) for _ in range(2))
    whole.run(T=9.0)
    sim.run(T=4.03)
    sim.create_snapshot("a")
    before = sim.observer("mean_of_x")
    sim.run(T=9.0, resume=True)
    assert sim.observer("mean_of_x") == whole.observer("mean_of_x")
    sim.reset("a")
    assert sim.observer("mean_of_x") == before
    sim.export_snapshot(tmp_path / "a.npz")
    other = dynlib.open_snapshot(tmp_path / "a.npz", jit=False)
    other.run(T=9.0, resume=True)
    assert other.observer("extrema_of_y") == whole.observer("extrema_of_y")
    assert other.session_state_summary()["observers"] == ["mean_of_x", "extrema_of_y"]


def test_assign_keeps_the_memory_and_reset_observers_clears_it() -> None:
    sim = oscillator(running_mean("x"))
    sim.run(T=2.0)
    before = sim.observer("mean_of_x")
    sim.assign(w=2.0)
    assert sim.observer("mean_of_x") == before
    y = sim.state["y"].tobytes()
    sim.reset_observers()
    assert sim.observer("mean_of_x")["count"] == 0.0
    assert math.isnan(sim.observer("mean_of_x")["variance"])
    assert sim.state["y"].tobytes() == y
    sim.run(T=3.0, resume=True)
    assert sim.observer("mean_of_x")["count"] == 20
    assert sim.edits()[-1].changes[0][0] == "field.observer_mean_of_x_count"
    assert sim.replay().ok


def test_a_transient_does_not_count() -> None:
    sim = oscillator(running_mean("x"))
    sim.run(T=5.0, transient=2.0)
    res = sim.results()
    found = sim.observer("mean_of_x")
    assert found["count"] == len(res) - 1 == 60
    assert found["mean"] == pytest.approx(res["x"][1:].mean(), rel=1e-12)
    assert sim.replay().ok


def test_observers_do_not_touch_the_trajectory() -> None:
    sim, plain = oscillator(running_mean("x"), extrema("y")), oscillator()
    for each in (sim, plain):
        each.run(T=5.0)
    assert sim.raw_results().data.tobytes() == plain.raw_results().data.tobytes()
    assert "observer" not in plain.full_model.kernel.source


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_interpreted_and_compiled_agree(dtype: str) -> None:
    found = []
    for jit in (False, True):
        sim = oscillator(running_mean("energy"), extrema("x"), dtype=dtype, jit=jit)
        sim.run(T=3.0)
        found.append(sim.state)
    assert found[0].same_bits(found[1])


def test_counts_do_not_end_in_single_precision() -> None:
    sim = oscillator(Observer("n", {"count": 2.0**24}, {"count": "count + 1"}), dtype="float32")
    sim.run(N=5)
    assert sim.observer("n")["count"] == 2.0**24 + 5


def test_another_observer_of_one_name_does_not_fit(tmp_path: Path) -> None:
    one = oscillator(Observer("o", {"a": 0.0}, {"a": "a + x"}))
    one.export_snapshot(tmp_path / "a.npz")
    two = oscillator(Observer("o", {"a": 0.0}, {"a": "a + y"}))
    assert set(two.compat_check(one.create_snapshot("x")).differences) == {"workspace"}
    with pytest.raises(dynlib.PinMismatchError, match="workspace"):
        two.import_snapshot(tmp_path / "a.npz")
    same = oscillator(Observer("o", {"a": 0.0}, {"a": "a+x"}))
    assert same.compat_check(one.snapshot("x")).ok


def test_pins_of_sessions_without_observers_do_not_know_of_them() -> None:
    assert neuron_full().kernel.layout.meaning == ""


def test_own_names_hide_those_of_the_model() -> None:
    sim = oscillator(Observer("o", {"x": 3.0}, {"w": "2", "x": "x + w"}))
    sim.run(N=4)
    assert sim.observer("o")["x"] == 11.0
    assert sim.param_dict()["w"] == 1.5


@pytest.mark.parametrize(
    ("observer", "error", "message"),
    [
        (lambda: Observer("", {}, {}), ConfigError, "must be a word"),
        (lambda: Observer("a b", {}, {}), ConfigError, "must be a word"),
        (lambda: Observer("o", {"a": 0}, {}), ConfigError, "nothing updates 'a'"),
        (lambda: Observer("o", {"1a": 0}, {"1a": "1"}), ConfigError, "'1a' is not a name"),
        (lambda: Observer("o", {"for": 0}, {"for": "1"}), ConfigError, "'for' is not a name"),
        (lambda: Observer("o", {"a": 0}, {"a": "a + z"}), ModelError, "observer o.* a: unknown name 'z'"),
        (lambda: Observer("o", {"a": 0}, {"a": "a +"}), ModelError, "the expression ends here"),
        (lambda: Observer("o", {"a": 0}, {"a": "__import__('os')"}), ModelError, "unexpected character"),
        (lambda: Observer("o", {"a": 0}, {"a": "lag_x(2)"}), ConfigError, "cannot use lags"),
        (lambda: Observer("o", {"a": 0}, {"a": "a"}, {"b": "x"}), ModelError, "unknown name 'x'"),
        (lambda: Observer("o", {"a": 0}, {"a": "cross_up(x, 1)"}), ModelError, "only in the condition of an event"),
        (lambda: Observer("o", {"a": "x"}, {"a": "a"}), ConfigError, "begins with a finite number, not 'x'"),
        (lambda: Observer("o", {"a": math.inf}, {"a": "a"}), ConfigError, "begins with a finite number"),
        (lambda: Observer("o", {"a": 0}, ["a"]), ConfigError, "update must be a table"),
        (lambda: Observer("é", {}, {}), ConfigError, "must be a word"),
        (lambda: 3, ConfigError, "must be Observer values"),
    ],
)
def test_bad_observers(observer: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        oscillator(observer())


def test_names_of_observers() -> None:
    with pytest.raises(ConfigError, match="must be a list of Observer values"):
        dynlib.setup("builtin://map/henon", observers=running_mean("x"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="two observers named 'mean_of_x'"):
        oscillator(running_mean("x"), running_mean("x"))
    with pytest.raises(UnknownNameError, match="did you mean 'mean_of_x'"):
        oscillator(running_mean("x")).observer("mean_of_y")


# -- derivatives and Lyapunov exponents ------------------------------------------------------------------------------

_SMOOTH = st.recursive(
    st.sampled_from(["x", "y", "a", "0.7", "2"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*"]), inner),
        st.builds("({}/(3 + {}**2))".format, inner, inner),
        st.builds("{}({})".format, st.sampled_from(["sin", "cos", "tanh", "atan", "f"]), inner),
        st.builds("exp(-{}**2)".format, inner),
        st.builds("({})**3".format, inner),
        st.builds("sqrt(1 + ({})**2)".format, inner),
        st.builds("log(2 + ({})**2)".format, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(_SMOOTH, st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_derivatives_are_those_of_finite_differences(text: str, x: float, y: float) -> None:
    model = dynlib.ode_model(
        "m", states={"x": 0.0, "y": 0.0}, params={"a": 1.3}, equations={"x": text, "y": "0"}, aux={"q": "x*y"},
        functions={"f": {"args": ["z"], "expr": "z*sin(z)"}},
    )  # fmt: skip

    def at(node: Any, x: float) -> float:
        from dynlib.spec.derivative import substituted

        while any(getattr(part, "fn", "") == "f" for part in walk(node)):
            node = _inlined(node)
        return evaluate(substituted(node, {}), {"x": x, "y": y, "a": 1.3}, Terms())

    expr = model.equations[0].expr
    slope = at(derivative(expr, "x", model), x)
    h = 1e-5
    expected = (at(expr, x - 2 * h) - 8 * at(expr, x - h) + 8 * at(expr, x + h) - at(expr, x + 2 * h)) / (12 * h)
    assert slope == pytest.approx(expected, rel=1e-5, abs=1e-6 * (1 + abs(at(expr, x))))


def _inlined(node: Any) -> Any:
    from dynlib.spec.derivative import substituted
    from dynlib.spec.expressions import Call, rebuild

    if isinstance(node, Call) and node.fn == "f":
        return substituted(parse("z*sin(z)"), {"z": _inlined(node.args[0])})
    return rebuild(node, _inlined)


def test_the_jacobian_of_a_file_is_used_and_others_are_derived() -> None:
    lorenz = dynlib.load_model("builtin://ode/lorenz")
    rows = jacobian_of(lorenz)
    values = {"x": 1.0, "y": 2.0, "z": 3.0, "sigma": 10.0, "rho": 28.0, "beta": 8 / 3}
    numbers = [[evaluate(cell, values, Terms()) for cell in row] for row in rows]
    assert numbers == [[-10.0, 10.0, 0.0], [25.0, -1.0, -1.0], [2.0, 1.0, -8 / 3]]
    assert not any(isinstance(n, Name) and n.id == "q" for row in rows for cell in row for n in walk(cell))


@pytest.mark.parametrize("rhs", ["floor(x)", "x % 2", "erf(x)", "lag_x(2)"])
def test_what_has_no_derivative_is_refused(rhs: str) -> None:
    model = dynlib.ode_model("m", states={"x": 1.0}, equations={"x": rhs})
    with pytest.raises(ModelError, match="derivative|lags"):
        largest_lyapunov(model)
    arrays = dynlib.ode_model("m", states={"u[3]": 1.0}, equations={"u[i]": "-u[i]"})
    with pytest.raises(ModelError, match="scalar states"):
        largest_lyapunov(arrays)


@pytest.mark.parametrize(
    ("location", "stepper", "dt", "steps", "params", "expected", "tolerance"),
    [
        ("builtin://map/logistic", "map", None, 200_000, {"r": 4.0}, math.log(2), 1e-3),
        ("builtin://map/henon", "map", None, 200_000, None, 0.4192, 2e-3),
        ("builtin://ode/lorenz", "rk4", 0.01, 400_000, None, 0.9056, 6e-3),
        ("builtin://ode/exponential_decay", "rk4", 0.01, 1000, None, None, 1e-9),
    ],
)
def test_largest_lyapunov_exponents(
    location: str, stepper: str, dt: float | None, steps: int, params: Any, expected: float | None, tolerance: float
) -> None:
    """ln 2 exactly; Hénon and Lorenz as published (Sprott, Chaos and Time-Series Analysis, 2003); a linear decay."""
    model = dynlib.load_model(location)
    sim = dynlib.setup(model, stepper=stepper, dt=dt, observers=[largest_lyapunov(model)])
    sim.run(N=steps, record=False, params=params, transient=100.0)
    if expected is None:
        expected = -next(iter(sim.param_dict().values()))
    assert sim.observer("lyapunov")["exponent"] == pytest.approx(expected, abs=tolerance)


def test_a_lyapunov_estimate_goes_on_over_a_resume() -> None:
    """It covers the whole run, not the last segment."""
    model = dynlib.load_model("builtin://map/henon")
    split, whole = (Sim(dynlib.build(model, jit=False, observers=[largest_lyapunov(model)])) for _ in range(2))
    whole.run(N=900)
    for k in range(9):
        split.run(N=100, resume=k > 0)
    assert split.observer("lyapunov") == whole.observer("lyapunov")
    assert whole.observer("lyapunov")["span"] == 900
    assert np.isfinite(whole.observer("lyapunov")["exponent"])
