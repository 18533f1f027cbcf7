"""Results as tables and data sets of other libraries, in part and on other grids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray

import dynlib
from dynlib import ConfigError, DynlibError, ResultsView, Sim


@pytest.fixture(name="sim")
def _sim() -> Sim:
    model = dynlib.ode_model(
        "ring", states={"u[3]": [0.1, 0.2, 0.3], "x": 1.0}, params={"k": 1.0},
        equations={"u[i]": "u[(i + 1) % 3] - u[i]", "x": "k*cos(t)"}, aux={"s": "sum(u[j] for j in range(3))"},
        events={"up": {"cond": "cross_up(x, 1.5)", "log": ["x"]}},
    )  # fmt: skip
    sim = dynlib.setup(model, stepper="rk4", dt=0.125, jit=False)
    sim.run(T=8.0, tag="first")
    sim.run(T=16.0, resume=True, tag="second")
    return sim


def test_a_polars_table_holds_what_the_results_do(sim: Sim) -> None:
    res = sim.results()
    table = res.to_polars()
    assert table.columns == ["t", "step", "segment", *res.columns]
    for name in ("t", "step", *res.columns):
        assert table[name].to_numpy().tolist() == res[name].tolist()
    assert table["segment"].unique(maintain_order=True).to_list() == ["first", "second"]


def test_a_data_set_has_dimensions_coordinates_events_and_its_provenance(sim: Sim, tmp_path: Path) -> None:
    res = sim.results()
    data = res.to_xarray()
    assert dict(data.sizes) == {"t": len(res), "u_index": 3, "up_entry": len(res.event("up"))}
    assert (data["u"].values == res["u"]).all()
    assert (data["up_x"].values == res.event("up")["x"]).all()
    assert data.coords["segment"].values[[0, -1]].tolist() == ["first", "second"]
    assert data.attrs["model"] == "ring"
    assert [s["name"] for s in json.loads(data.attrs["segments"])] == ["first", "second"]
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as again:
        assert (again["x"].values == res["x"]).all()


def test_a_part_between_two_times(sim: Sim) -> None:
    part = sim.results().between(6.0, 10.0)
    assert (part.t.min(), part.t.max()) == (6.0, 10.0)
    assert (part.segment("first").t <= 8.0).all()
    assert (part.segment("second").t >= 8.0).all()
    assert len(part.segment("first")) + len(part.segment("second")) == len(part)
    whole = sim.results().event("up").t
    assert part.event("up").t.tolist() == [t for t in whole if 6.0 <= t <= 10.0]
    with pytest.raises(ConfigError, match="t0 <= t1"):
        sim.results().between(3.0, 2.0)


def test_another_grid_has_the_bits_of_a_recording_on_it(sim: Sim) -> None:
    grid = sim.results().resample(0.3)
    again = sim.record_again(record_dt=0.3)
    assert grid["t"] == pytest.approx(again.t[: len(grid["t"])], abs=1e-12)
    assert np.abs(grid["x"] - again["x"][: len(grid["x"])]).max() < 1e-12
    assert grid["u"].shape == (54, 3)
    for wrong in (0.0, -1.0, float("inf"), "a"):
        with pytest.raises(ConfigError, match="time span|a number"):
            sim.results().resample(wrong)  # type: ignore[arg-type]
    with pytest.raises(DynlibError, match="without their session"):
        ResultsView(sim.raw_results()).resample(0.5)
