"""Results by name."""

from __future__ import annotations

import numpy as np
import pytest

import dynlib
from dynlib import ResultsView, UnknownNameError, ode_model


@pytest.fixture(scope="module")
def results() -> ResultsView:
    model = ode_model(
        "pair", states={"x": 1.0, "u[3]": [1.0, 2.0, 3.0]}, equations={"x": "-x", "u[i]": "-u[i]"},
        aux={"s": "x + u[0]"},
        events={"low": {"cond": "cross_down(x, 0.5)", "log": ["t", "x"], "tags": ["edge"]}, "mute": {"cond": "x < 0"}},
    )  # fmt: skip
    sim = dynlib.setup(model, stepper="rk4", dt=0.1, jit=False)
    sim.run(T=1.0, tag="a")
    sim.run(T=2.0, resume=True)
    return sim.results()


def test_names_and_shapes(results: ResultsView) -> None:
    assert results.names == ("x", "u", "s")
    assert results.columns == ("x", "u[0]", "u[1]", "u[2]", "s")
    assert results["u"].shape == (21, 3)
    assert results["u[1]"].shape == (21,)
    assert results[["x", "s"]].shape == (21, 2)
    assert np.array_equal(results["s"], results["x"] + results["u[0]"])
    assert "x" in results
    assert "z" not in results
    assert len(results) == 21


def test_unknown_names_suggest(results: ResultsView) -> None:
    with pytest.raises(UnknownNameError, match="unknown recorded variable 'y'"):
        results["y"]
    with pytest.raises(UnknownNameError, match="did you mean 'run#1'"):
        results.segment("run1")
    with pytest.raises(UnknownNameError):
        results.segment(2)
    with pytest.raises(UnknownNameError, match="did you mean 'low'"):
        results.event("lo")
    with pytest.raises(UnknownNameError, match="add a log"):
        results.event("mute")


def test_segments(results: ResultsView) -> None:
    first, last = results.segment("a"), results.segment(-1)
    assert first.t.tolist() == results.t[:11].tolist()
    assert last["x"].tolist() == results["x"][11:].tolist()
    assert last.segment(0)["x"].tolist() == last["x"].tolist()


def test_events_by_name_and_tag(results: ResultsView) -> None:
    low = results.event("low")
    assert len(low) == 1
    assert low.t[0] == low["t"][0] == pytest.approx(0.7)
    assert low["x"][0] < 0.5
    assert results.event(tag="edge").t.tolist() == low.t.tolist()
    assert len(results.segment("a").event("low")) == 1
    assert len(results.segment(1).event("low")) == 0


def test_results_are_immutable(results: ResultsView) -> None:
    with pytest.raises(ValueError, match="read-only"):
        results["x"][0] = 3.0


def test_tables_and_displays(results: ResultsView) -> None:
    frame = results.to_pandas()
    assert list(frame.columns) == ["step", "segment", "x", "u[0]", "u[1]", "u[2]", "s"]
    assert frame["segment"].tolist() == ["a"] * 11 + ["run#1"] * 10
    assert list(results.event("low").to_pandas().columns) == ["t", "step", "x"]
    assert "21" in repr(results)
    assert "'a'" in repr(results)
    assert "<table>" in results._repr_html_()
    assert set(results.to_dict()) == {"t", "step", "x", "u", "s"}
