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
from dynlib import ConfigError, ModelError, Observer, Sim, UnknownNameError, extrema, running_mean
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


def counting(*observers: Observer, jit: bool = False) -> Sim:
    """A map with x = 1, 2, 3, …"""
    model = dynlib.map_model("m", states={"x": 0.0}, equations={"x": "x + 1"}, params={"before_k": 7.0})
    return dynlib.setup(model, jit=jit, observers=observers)


def test_observers_do_not_share_numbers() -> None:
    """Names are put together from two words each, and must not come out alike."""
    sim = counting(
        Observer("before", {"x": 100.0}, {"x": "x + 1"}), Observer("o", {"all": 0.0}, {"all": "all + before_x"})
    )
    sim.run(N=4)
    assert sim.observer("before") == {"x": 104.0}
    assert sim.observer("o") == {"all": 0.0 + 1.0 + 2.0 + 3.0}
    one = Observer("a", {"b_c": 0.0}, {"b_c": "b_c + 1"})
    for other in (Observer("a_b", {"c": 0.0}, {"c": "c + 1"}), Observer("a_b", {"d": 0.0}, {"c": "7", "d": "d + c"})):
        with pytest.raises(ConfigError, match="'a' and 'a_b' both have observer_a_b_c; rename one"):
            counting(one, other)


def test_a_name_means_the_model_until_the_observer_has_given_it() -> None:
    """A line before the one that sets a name reads the model's; `before_k` is no state before the step here."""
    sim = counting(Observer("o", {"a": 0.0, "before_z": 0.0}, {"a": "a + x", "x": "10", "before_z": "x + before_k"}))
    sim.run(N=2)
    assert sim.observer("o") == {"a": 3.0, "before_z": 17.0}


def test_sums_in_observers_have_loop_indices_of_their_own() -> None:
    model = dynlib.map_model("m", states={"u[3]": [1.0, 2.0, 4.0]}, equations={"u[i]": "2*u[i]"})
    observers = [Observer("o", {"a": 0.0}, {"a": "sum(j*u[j] for j in range(3))"}), running_mean("u[2]")]
    sim = dynlib.setup(model, jit=False, observers=observers)
    sim.run(N=1)
    assert sim.observer("o")["a"] == 20.0
    assert sim.observer("mean_of_u_2")["mean"] == 8.0


def test_means_and_extrema_of_expressions() -> None:
    """An expression stands as a whole, and its names are those of the model."""
    choice = "x if x > 2 else -x"
    sim = counting(running_mean(choice, "m"), extrema(choice, "e"))
    sim.run(N=4)
    values = np.array([-1.0, -2.0, 3.0, 4.0])
    found = sim.observer("m")
    assert (found["mean"], found["variance"]) == pytest.approx((values.mean(), values.var()))
    assert sim.observer("e")["least"] == -2.0
    assert sim.observer("e")["t_least"] == 2.0
    for make in (running_mean, extrema):
        with pytest.raises(ConfigError, match="'count' in 'count' is a name that this observer has for itself"):
            make("count")


@pytest.mark.parametrize("jit", [False, True])
def test_observers_of_single_precision_models_compute_in_double(jit: bool) -> None:
    """Literals, the time, and what is chosen between the model's numbers and the observer's own."""
    observer = Observer(
        "o",
        {"third": 0.0, "span": 0.0, "most": 0.1, "called": 0.0},
        {
            "third": "third + 0.1",
            "span": "span + (t - before_t)**2",
            "most": "max(most, 0*x)*1.1 + x*0.1",
            "called": "twice(third)/3",
        },
    )
    model = dynlib.map_model(
        "m", states={"x": 0.1}, equations={"x": "x"}, dtype="float32",
        functions={"twice": {"args": ["z"], "expr": "2*z"}},
    )  # fmt: skip
    sim = dynlib.setup(model, jit=jit, observers=[observer, extrema("x")])
    sim.run(t0=2.0**24, N=3)
    x = float(np.float32(0.1))
    most = 0.1
    for _ in range(3):
        most = most * 1.1 + x * 0.1
    third = 0.1 + 0.1 + 0.1
    assert sim.observer("o") == {
        "third": third, "span": 3.0, "most": most, "called": float(2 * np.float32(third)) / 3,
    }  # fmt: skip
    assert sim.observer("extrema_of_x")["t_least"] == 2.0**24 + 1


def test_numbers_that_are_not_finite_stay_with_their_observer(tmp_path: Path) -> None:
    """They end no run, and go through a file."""
    sim = counting(Observer("o", {"a": 0.0, "b": 0.0}, {"a": "a + log(before_x)", "b": "b + 0/before_x"}))
    sim.run(N=3)
    assert sim.observer("o")["a"] == -math.inf
    assert math.isnan(sim.observer("o")["b"])
    sim.export_snapshot(tmp_path / "a.npz")
    other = dynlib.open_snapshot(tmp_path / "a.npz", jit=False)
    assert other.state.same_bits(sim.state)
    other.reset_observers()
    other.run(N=1, resume=True)
    assert other.observer("o") == {"a": math.log(3), "b": 0.0}
    other.export_snapshot(tmp_path / "b.npz")
    assert dynlib.open_snapshot(tmp_path / "b.npz", jit=False).replay().ok


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
        (lambda: Observer("o", {"a": 10**400}, {"a": "a"}), ConfigError, "begins with a finite number"),
        (lambda: Observer("o", {"a": 0}, ["a"]), ConfigError, "update must be a table"),
        (lambda: Observer("o", {"a": 0}, {"a": None}), ConfigError, "'a' must be an expression in quotes, not None"),
        (lambda: Observer("o", {"a": 0}, {"a": "a"}, {"b": []}), ConfigError, "'b' must be an expression in quotes"),
        (lambda: Observer("o", {"a": 0}, {"a": "a"}, {"a": "2*a"}), ConfigError, "'a' is in the memory already"),
        (lambda: Observer("o", {"a": 0}, {"a": "a + randn()"}), ModelError, "may stand only in the equations of a map"),
        (lambda: Observer("é", {}, {}), ConfigError, "must be a word"),
        (lambda: 3, ConfigError, "must be Observer values"),
    ],
)
def test_bad_observers(observer: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        oscillator(observer())


def test_names_of_observers() -> None:
    with pytest.raises(ConfigError, match="observers must be a list"):
        dynlib.setup("builtin://map/henon", observers=running_mean("x"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="two observers named 'mean_of_x'"):
        oscillator(running_mean("x"), running_mean("x"))
    with pytest.raises(UnknownNameError, match="did you mean 'mean_of_x'"):
        oscillator(running_mean("x")).observer("mean_of_y")


# -- derivatives ------------------------------------------------------------------------------------------------------

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
