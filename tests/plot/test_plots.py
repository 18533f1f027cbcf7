"""Pictures: what they show, and that every one in the documentation can be made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

import dynlib
import dynlib.plot
from dynlib import ConfigError, Sim, UnknownNameError

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def ran(model: str, **run: Any) -> Sim:
    sim = dynlib.setup(model, jit=False, **({"stepper": "rk4", "dt": 0.05} if "ode" in model else {}))
    sim.run(**run)
    return sim


def test_phase_portraits_in_the_plane_and_in_space() -> None:
    res = ran("builtin://ode/lorenz", T=2.0).results()
    flat = dynlib.plot.phase_portrait(res, ("x", "z"))
    assert flat.lines[0].get_xdata().tolist() == res["x"].tolist()
    assert (flat.get_xlabel(), flat.get_ylabel(), len(flat.lines)) == ("x", "z", 2)
    solid = dynlib.plot.phase_portrait(res, ["x", "y", "z"], start=False)
    assert (solid.name, solid.get_zlabel()) == ("3d", "z")  # type: ignore[attr-defined]
    assert dynlib.plot.phase_portrait(res, ("x", "y"), ax=flat) is flat
    with pytest.raises(ConfigError, match="name 2 or 3 quantities"):
        dynlib.plot.phase_portrait(res, ["x"])
    with pytest.raises(UnknownNameError):
        dynlib.plot.phase_portrait(res, ("x", "q"))


def test_a_raster_has_a_row_for_each_result() -> None:
    runs = {f"I = {i:g}": ran("builtin://ode/izhikevich", T=120.0, params={"I": i}).results() for i in (5.0, 15.0)}
    axes = dynlib.plot.raster(runs, "spike")
    shown = [collection.get_positions() for collection in axes.collections]  # type: ignore[attr-defined]
    assert [list(times) for times in shown] == [list(res.event("spike").t) for res in runs.values()]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(runs)
    assert dynlib.plot.raster(runs["I = 5"], "spike").get_ylabel() == "spike"


def test_a_return_map_pairs_each_value_with_the_next() -> None:
    res = ran("builtin://map/henon", N=50).results()
    axes = dynlib.plot.return_map(res, "x")
    assert axes.lines[-1].get_xdata().tolist() == res["x"][:-1].tolist()
    assert axes.lines[-1].get_ydata().tolist() == res["x"][1:].tolist()
    assert dynlib.plot.return_map(np.diff([1.0, 2.0, 4.0, 7.0])).get_xlabel() == "value now"
    with pytest.raises(ConfigError, match="x, y"):
        dynlib.plot.return_map(res)


def test_a_cobweb_steps_between_the_graph_and_the_diagonal() -> None:
    sim = ran("builtin://map/logistic", N=20)
    axes = dynlib.plot.cobweb(sim.full_model, sim.results())
    graph, _, stairs = axes.lines
    r = sim.param_dict()["r"]
    x = np.asarray(graph.get_xdata())
    assert np.asarray(graph.get_ydata()) == pytest.approx(r * x * (1 - x))
    orbit = sim.results()["x"]
    assert np.asarray(stairs.get_ydata())[::2] == pytest.approx(np.repeat(orbit, 2)[1:-1][::2])
    with pytest.raises(ConfigError, match="a map of one state"):
        dynlib.plot.cobweb(ran("builtin://map/henon", N=3).full_model, sim.results())


def test_a_vector_field_has_the_directions_of_the_flow_and_nullclines_their_zeros() -> None:
    full = dynlib.build("builtin://ode/van_der_pol", jit=False)
    axes = dynlib.plot.vector_field(full, ("x", "y"), (-2.0, 2.0), (-3.0, 3.0), points=5, params={"mu": 0.5})
    quiver = axes.collections[0]
    u, v = np.reshape(quiver.U, (5, 5)), np.reshape(quiver.V, (5, 5))  # type: ignore[attr-defined]
    rate = full.rhs({"x": 1.0, "y": -1.5}, params={"mu": 0.5})
    assert u[1, 3] / v[1, 3] == pytest.approx((rate[0] / 4) / (rate[1] / 6))
    dynlib.plot.nullclines(full, ("x", "y"), (-2.0, 2.0), (-3.0, 3.0), points=41, ax=axes)
    line = axes.collections[1].get_paths()[0].vertices
    assert np.abs(line[:, 1]).max() < 1e-9  # dx/dt = y
    for wrong, error in ((("x", "q"), UnknownNameError), (("x",), ConfigError)):
        with pytest.raises(error):
            dynlib.plot.vector_field(full, wrong, (-1.0, 1.0), (-1.0, 1.0))
    with pytest.raises(ConfigError, match="window"):
        dynlib.plot.nullclines(full, ("x", "y"), (1.0, 1.0), (-1.0, 1.0))
    with pytest.raises(ConfigError, match="no velocities"):
        dynlib.plot.vector_field(dynlib.build("builtin://map/henon", jit=False), ("x", "y"), (-1.0, 1.0), (-1.0, 1.0))


def test_branches_side_by_side_and_samples_over_a_parameter() -> None:
    rhos = {"a": 20.0, "b": 28.0}
    runs = {name: ran("builtin://ode/lorenz", T=1.0, params={"rho": rho}).results() for name, rho in rhos.items()}
    axes = dynlib.plot.compare(runs, "z")
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    legend = axes.get_legend()
    assert legend is not None
    axes.figure.canvas.draw()
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1 - 1  # it lies over no curve
    r = np.linspace(3.0, 4.0, 7)
    found = dynlib.ensemble("builtin://map/logistic", params={"r": r}, N=30, record_interval=1, jit=False)
    dots = dynlib.plot.bifurcation(r, found.samples["x"][20:], name="r", state="x").lines[0]
    assert np.asarray(dots.get_xdata()).tolist() == np.tile(r, 11).tolist()
    with pytest.raises(ConfigError, match="shapes"):
        dynlib.plot.bifurcation(r, found.samples["x"].T)


def test_every_picture_of_the_page_is_there() -> None:
    page = (DOCS / "plots.md").read_text("utf-8")
    shown = {line.partition("](")[2].rstrip(")") for line in page.splitlines() if line.startswith("![")}
    assert shown
    for name in shown:
        assert (DOCS / name).read_bytes().startswith(b"\x89PNG"), name
    for function in dynlib.plot.__all__:
        assert f"`{function}" in page or f"plot.{function}(" in page, function
