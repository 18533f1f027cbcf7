"""What holds for every function of `dynlib.plot`, and pictures over time with segments, events and differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

import dynlib
import dynlib.plot
from dynlib import ConfigError, ResultsView, Sim, UnknownNameError


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def _ring() -> Sim:
    model = dynlib.ode_model(
        "ring", states={"x": 1.0, "y": 0.0, "u": [0.1, 0.2, 0.3]},
        equations={"x": "-y", "y": "x", "u[i]": "u[(i + 1) % 3] - u[i]"},
        events={"up": {"cond": "cross_up(x, 0.5)", "log": ["x"]}, "down": {"cond": "cross_down(x, 0.5)", "log": ["x"]}},
    )  # fmt: skip
    sim = dynlib.setup(model, stepper="rk4", dt=0.125, jit=False)
    sim.run(T=8.0, tag="first")
    sim.run(T=16.0, resume=True, tag="second")
    sim.run(T=20.0, resume=True, tag="$third_$")
    return sim


RING, LOGISTIC = _ring(), dynlib.setup("builtin://map/logistic", jit=False)
LOGISTIC.run(N=20)
FLOW = dynlib.build("builtin://ode/van_der_pol", jit=False)
RES = RING.results()
WINDOW = (-2.0, 2.0), (-2.0, 2.0)


def nothing(results: ResultsView) -> ResultsView:
    """The same results without any sample or log entry."""
    return results.between(-2.0, -1.0)


@dataclass(frozen=True)
class Case:
    """How a function is called, with results and a name that may be wrong; whether it has these at all."""

    draw: Callable[..., Axes]
    labels: tuple[str, str]
    name: str = ""
    empty: bool = True


def draw_field(function: Callable[..., Axes]) -> Callable[..., Axes]:
    return lambda _, name, **ax: function(FLOW, (name, "y"), *WINDOW, points=5, **ax)


CASES = {
    "time_series": Case(lambda r, n, **ax: dynlib.plot.time_series(r, n, **ax), ("t", "x"), "x"),
    "compare": Case(lambda r, n, **ax: dynlib.plot.compare({"a": r, "b": r}, n, **ax), ("t", "x"), "x"),
    "phase_portrait": Case(lambda r, n, **ax: dynlib.plot.phase_portrait(r, (n, "y"), **ax), ("x", "y"), "x"),
    "raster": Case(lambda r, n, **ax: dynlib.plot.raster(r, n, **ax), ("t", "up"), "up"),
    "return_map": Case(lambda r, n, **ax: dynlib.plot.return_map(r, n, **ax), ("x now", "x next"), "x"),
    "cobweb": Case(
        lambda r, _, **ax: dynlib.plot.cobweb(LOGISTIC.full_model, LOGISTIC.results() if r is RES else r, **ax),
        ("x now", "x next"),
    ),
    "vector_field": Case(draw_field(dynlib.plot.vector_field), ("x", "y"), "x", empty=False),
    "nullclines": Case(draw_field(dynlib.plot.nullclines), ("x", "y"), "x", empty=False),
    "bifurcation": Case(
        lambda r, _, **ax: dynlib.plot.bifurcation(np.arange(3.0), np.zeros((0 if r is not RES else 2, 3)), **ax),
        ("parameter", "state"),
    ),
    "mark_points": Case(
        lambda r, _, **ax: dynlib.plot.mark_points([(0.0, 1.0, "here")] if r is RES else [], **ax), ("", "")
    ),
    "tree": Case(lambda _, __, **ax: dynlib.plot.tree(RING.tree(), **ax), ("t", ""), empty=False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_axes_that_are_given_are_drawn_on_and_others_left_alone(case: Case) -> None:
    _, (first, second) = plt.subplots(1, 2)
    plt.sca(second)
    known, settings = plt.get_fignums(), dict(matplotlib.rcParams)
    assert case.draw(RES, case.name, ax=first) is first
    assert first.has_data()
    assert not second.has_data()
    assert plt.gca() is second
    assert plt.get_fignums() == known
    assert dict(matplotlib.rcParams) == settings


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_new_axes_stand_in_a_figure_of_their_own_with_labels(case: Case) -> None:
    other = plt.figure().add_subplot()
    axes = case.draw(RES, case.name)
    assert axes.figure is not other.figure
    assert not other.has_data()
    assert (axes.get_xlabel(), axes.get_ylabel()) == case.labels
    axes.figure.canvas.draw()


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.empty], ids=[n for n, c in CASES.items() if c.empty])
def test_nothing_recorded_is_an_empty_picture(case: Case) -> None:
    empty = nothing(LOGISTIC.results() if case is CASES["cobweb"] else RES)
    axes = case.draw(empty, case.name)
    axes.figure.canvas.draw()
    assert (axes.get_xlabel(), axes.get_ylabel()) == case.labels


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.name], ids=[n for n, c in CASES.items() if c.name])
def test_an_unknown_name_is_an_error_before_anything_is_drawn(case: Case) -> None:
    _, axes = plt.subplots()
    known = plt.get_fignums()
    with pytest.raises(UnknownNameError, match=rf"'{case.name}q'; did you mean '{case.name}'|'{case.name}q'; known"):
        case.draw(RES, f"{case.name}q", ax=axes)
    with pytest.raises(UnknownNameError):
        case.draw(RES, f"{case.name}q")
    assert plt.get_fignums() == known
    assert not axes.has_data()


def test_the_contracts_cover_every_function() -> None:
    assert {*CASES, "legend_above"} == set(dynlib.plot.__all__)


def test_an_array_state_has_a_line_for_each_element() -> None:
    axes = dynlib.plot.time_series(RES, "u")
    assert [line.get_label() for line in axes.lines] == ["u[0]", "u[1]", "u[2]"]
    for k, line in enumerate(axes.lines):
        assert np.asarray(line.get_ydata()).tolist() == RES["u"][:, k].tolist()
    with pytest.raises(ConfigError, match="'u' of 'a' is an array state"):
        dynlib.plot.compare({"a": RES}, "u")
    part = dynlib.setup(RING.full_model.model, stepper="rk4", dt=0.125, jit=False)
    part.run(T=1.0, record_vars=["u[2]", "u[0]"])
    assert [line.get_label() for line in dynlib.plot.time_series(part.results(), "u").lines] == ["u[2]", "u[0]"]


def test_segments_are_shaded_in_turn_and_named() -> None:
    axes = dynlib.plot.time_series(RES, "x", segments=True, events=("up", "down"))
    (shade,) = axes.patches
    assert shade.get_extents().transformed(axes.transData.inverted()).intervalx == pytest.approx((8.0, 16.0))
    assert [(text.get_text(), text.xy[0]) for text in axes.texts] == [  # type: ignore[attr-defined]
        ("first", 0.0), ("second", 8.0), ("$third_$", 16.0)
    ]  # fmt: skip
    dynlib.plot.legend_above(axes)
    axes.figure.canvas.draw()
    legend: Any = axes.get_legend()
    named = [text.get_window_extent() for text in axes.texts]
    assert not any(legend.get_window_extent().overlaps(box) for box in named)


def test_events_are_marked_when_they_happened() -> None:
    axes = dynlib.plot.time_series(RES, "x", events=("up", "down"))
    curve, *marks = axes.lines
    assert np.asarray(curve.get_xdata()).tolist() == RES.t.tolist()
    assert [mark.get_label() for mark in marks] == ["up", "down"]
    for mark in marks:
        assert len(mark.get_xdata()) > 1  # type: ignore[arg-type]
        assert np.asarray(mark.get_xdata()).tolist() == RES.event(str(mark.get_label())).t.tolist()
    assert len({(mark.get_color(), mark.get_marker()) for mark in marks}) == 2
    low, high = axes.get_ylim()
    assert low < RES["x"].min() < RES["x"].max() < high  # marks do not stretch the axis of values
    assert low > -2.0
    with pytest.raises(UnknownNameError, match="did you mean 'down'"):
        dynlib.plot.time_series(RES, "x", events="dwn")


def test_differences_are_those_at_common_times() -> None:
    other = dynlib.setup(RING.full_model.model, stepper="rk4", dt=0.125, jit=False)
    other.run(T=12.0, record_dt=0.5, ic={"x": 1.25})
    runs = {"one": RES, "two": other.results()}
    upper = dynlib.plot.compare(runs, "x", difference=True)
    _, below = upper.figure.axes
    line = below.lines[0]
    times = np.asarray(line.get_xdata())
    assert times.tolist() == other.results().t.tolist()  # every one of them is a time of the first as well
    here = RES["x"][np.searchsorted(RES.t, times)]
    assert np.asarray(line.get_ydata()).tolist() == (other.results()["x"] - here).tolist()
    assert (below.get_ylabel(), below.get_xlabel(), upper.get_xlabel()) == ("difference of x", "t", "")
    assert below.get_shared_x_axes().joined(below, upper)
    upper.figure.canvas.draw()
    assert below.get_window_extent().y1 < upper.get_window_extent().y0


def test_a_logarithmic_difference_has_gaps_where_branches_agree() -> None:
    branch = dynlib.setup(RING.full_model.model, stepper="rk4", dt=0.125, jit=False)
    branch.run(T=8.0)
    branch.assign(x=2.0)
    branch.run(T=16.0, resume=True)
    upper = dynlib.plot.compare({"one": RES, "two": branch.results()}, "x", difference="log")
    below = upper.figure.axes[1]
    line = below.lines[0]
    t, size = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert below.get_yscale() == "log"
    assert np.isnan(size[t < 8.0]).all()
    assert (size[t > 8.0] > 0.0).all()
    upper.figure.canvas.draw()


def test_a_difference_needs_common_times_a_place_and_a_known_kind() -> None:
    other = dynlib.setup(RING.full_model.model, stepper="rk4", dt=0.125, jit=False)
    other.run(T=30.3, t0=30.0)
    with pytest.raises(ConfigError, match="no times in common; record both with the same record_dt"):
        dynlib.plot.compare({"one": RES, "two": other.results()}, "x", difference=True)
    with pytest.raises(ConfigError, match="not 'lgo'"):
        dynlib.plot.compare({"one": RES}, "x", difference="lgo")
    loose = plt.figure().add_axes((0.1, 0.1, 0.8, 0.8))
    with pytest.raises(ConfigError, match="stand in a grid"):
        dynlib.plot.compare({"one": RES, "two": RES}, "x", difference=True, ax=loose)
    _, (left, right) = plt.subplots(1, 2)
    before = left.get_position().bounds
    assert dynlib.plot.compare({"one": RES, "two": RES}, "x", difference=True, ax=right) is right
    assert left.get_position().bounds == before
