"""Results in detail: what views share, what they copy, and what stands at the seams."""

from __future__ import annotations

import html
from itertools import pairwise

import numpy as np
import pytest
from session.kit import content, map_full, ring

import dynlib
from dynlib import ConfigError, DynlibError, ResultsView, Sim, UnknownNameError


def recorded() -> Sim:
    """Three segments, with seams on a step and inside a step, and events on both sides."""
    sim = ring()
    sim.run(T=4.0, tag="first")
    sim.run(T=8.02, resume=True)
    sim.run(T=12.0, resume=True, tag="last")
    return sim


@pytest.fixture(scope="module")
def res() -> ResultsView:
    return recorded().results()


def test_selection_by_name(res: ResultsView) -> None:
    n = len(res)
    assert [res[k].shape for k in ("u", "w", "u[3]", "t", "step")] == [(n, 4), (n,), (n,), (n,), (n,)]
    assert np.array_equal(res[["w", "u"]], np.column_stack([res["w"], res["u"]]))
    assert np.array_equal(res[["t", "w"]][:, 0], res.t)
    assert all(k in res for k in ("u", "u[0]", "w", "s", "t", "step"))
    assert not any(k in res for k in ("u[4]", "k", "g", 3, None))


@pytest.mark.parametrize("name", ["ww", "u[4]", "k", "", 0, None, "U"])
def test_unknown_names(res: ResultsView, name: object) -> None:
    with pytest.raises(UnknownNameError, match="unknown recorded variable"):
        res[name]  # type: ignore[index]
    with pytest.raises(UnknownNameError):
        res[["w", name]]  # type: ignore[list-item]


def test_an_empty_selection_is_an_error_of_the_library(res: ResultsView) -> None:
    with pytest.raises(DynlibError):
        res[[]]


def test_results_before_any_run_are_empty() -> None:
    res = ring().results()
    assert (len(res), res.names, res.segments, res.columns) == (0, (), (), ())
    assert len(res.event("low")) == 0
    assert "samples" in repr(res)
    assert len(res.to_pandas()) == 0
    with pytest.raises(UnknownNameError):
        res.segment(-1)


def test_a_selection_of_variables_keeps_its_order_over_segments() -> None:
    sim, whole = ring(), ring()
    sim.run(T=1.0, record_vars=["s", "u[2]", "w"])
    sim.run(T=2.0, resume=True)
    whole.run(T=2.0)
    assert sim.results().columns == ("s", "u[2]", "w")
    for name in ("s", "u[2]", "w"):
        assert sim.results()[name].tobytes() == whole.results()[name].tobytes()
    assert sim.results()["u"].shape[1] == 1


def test_segments_tile_the_results(res: ResultsView) -> None:
    for ranges, end in (
        ([s.rows for s in res.segments], len(res)),
        ([s.entries for s in res.segments], len(res.raw.log.t)),
    ):
        assert (ranges[0][0], ranges[-1][1]) == (0, end)
        assert all(a[1] == b[0] for a, b in pairwise(ranges))
    assert all((a.t_end, a.step_end) == (b.t_start, b.step_start) for a, b in pairwise(res.segments))


@pytest.mark.parametrize(("which", "k"), [("first", 0), ("run#1", 1), ("last", 2), (0, 0), (2, 2), (-1, 2), (-3, 0)])
def test_one_segment(res: ResultsView, which: str | int, k: int) -> None:
    part, segment = res.segment(which), res.segments[k]
    assert part.raw.data.tobytes() == res.raw.data[slice(*segment.rows)].tobytes()
    assert part.raw.log.values.tobytes() == res.raw.log.values[slice(*segment.entries)].tobytes()
    assert part.segment(0).t.tolist() == part.t.tolist()
    assert set(part.to_pandas()["segment"]) == {segment.name}
    assert np.all((part.t > segment.t_start) | (not segment.resume))
    assert np.all(part.t <= segment.t_end)


@pytest.mark.parametrize("which", ["fist", 3, -4, "", "FIRST"])
def test_unknown_segments(res: ResultsView, which: str | int) -> None:
    with pytest.raises(UnknownNameError, match="unknown segment"):
        res.segment(which)


def test_segments_can_be_renamed() -> None:
    sim = recorded()
    before = sim.results()
    sim.name_segment("run#1", "middle")
    sim.name_segment(0, "start")
    sim.name_last_segment("end")
    for bad in ("middle", "", None, 3):
        with pytest.raises(ConfigError):
            sim.name_segment("start", bad)  # type: ignore[arg-type]
    for unknown in ("first", 3, -4):
        with pytest.raises(UnknownNameError):
            sim.name_segment(unknown, "x")
    assert [s.name for s in sim.results().segments] == ["start", "middle", "end"]
    assert [s.name for s in before.segments] == ["first", "run#1", "last"], "results are values and do not change"


def test_a_name_given_by_hand_is_never_given_twice() -> None:
    sim = ring()
    sim.run(T=1.0)
    sim.name_last_segment("run#1")
    sim.run(T=2.0, resume=True)
    sim.run(T=3.0, resume=True)
    assert len({s.name for s in sim.results().segments}) == 3


def test_events_by_name_tag_and_segment(res: ResultsView) -> None:
    low, high, both = res.event("low"), res.event("high"), res.event(tag="drop")
    assert min(len(low), len(high)) > 1
    assert np.all(high["w"] > 0.55)
    assert sorted(both.t.tolist()) == sorted([*low.t.tolist(), *high.t.tolist()])
    assert np.all(np.diff(both.t) >= 0)
    assert res.event(tag="level").t.tolist() == high.t.tolist()
    parts = [res.segment(k).event("low") for k in range(3)]
    assert np.concatenate([p.t for p in parts]).tobytes() == low.t.tobytes()
    with pytest.raises(UnknownNameError, match="add a log to it"):
        res.event("quiet")


@pytest.mark.parametrize("stepper", ["rk4", "ab3", "rk45"])
@pytest.mark.parametrize("how", [{}, {"record_interval": 3}, {"record_dt": 0.17}], ids=str)
def test_no_sample_is_doubled_or_missing_at_a_seam(stepper: str, how: dict[str, float]) -> None:
    """One stop on a step, one inside a step, one a hair before and one a hair after a step."""
    split, single = ring(stepper), ring(stepper)
    stops = [1.0, 2.02, float(np.nextafter(3.0, 0.0)), float(np.nextafter(4.0, 9.0)), 6.0]
    split.run(T=stops[0], **how)  # type: ignore[arg-type]
    for t in stops[1:]:
        split.run(T=t, resume=True)
    single.run(T=6.0, **how)  # type: ignore[arg-type]
    a, b = split.raw_results(), single.raw_results()
    assert np.all(np.diff(a.t) > 0)
    extra = ~np.isin(a.t, b.t)
    for name in ("t", "data", "step"):
        assert getattr(a, name)[~extra].tobytes() == getattr(b, name).tobytes()
    assert all(np.isclose(t, stops, rtol=1e-15, atol=0.0).any() for t in a.t[extra])
    assert np.all(a.at_stop[extra])
    for name in ("t", "step", "event", "values"):
        assert getattr(a.log, name).tobytes() == getattr(b.log, name).tobytes()


def test_seams_of_a_map() -> None:
    split, single = Sim(map_full()), Sim(map_full())
    split.run(N=4)
    for _ in range(3):
        split.run(N=4, resume=True)
    single.run(N=16)
    assert content(split.raw_results())[2:] == content(single.raw_results())[2:]


def test_every_array_is_read_only_and_copies_do_not_reach_the_results(res: ResultsView) -> None:
    raw, before = res.raw, content(res.raw)
    arrays = [raw.t, raw.step, raw.at_stop, raw.data, raw.log.t, raw.log.step, raw.log.event, raw.log.values]
    for array in (*arrays, res["w"], res.t, res.segment(1)["w"], res.segment(1).t, res.to_dict()["w"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    frame = res.to_pandas()
    frame.iloc[:, 2:] = 9.0
    for copy in (res["u"], res[["w", "u"]], res.event("low")["w"], res.event("low").t):
        copy[:] = 9.0
    assert content(raw) == before


def test_results_held_do_not_change_when_the_session_goes_on() -> None:
    sim = ring()
    sim.run(T=1.0)
    held, before = sim.raw_results(), content(sim.raw_results())
    sim.run(T=2.0, resume=True)
    assert content(sim.raw_results()) != before
    sim.assign(w=5.0, clear_history=True)
    sim.run(T=3.0)
    sim.reset()
    assert content(held) == before


def test_states_named_like_the_labels_of_a_table() -> None:
    """A state may be called `step` or `segment`; neither the state nor the table is lost."""
    names = {"step": "-step", "segment": "-segment"}
    sim = dynlib.setup(
        dynlib.ode_model("odd", states=dict.fromkeys(names, 1.0), equations=names), stepper="rk4", dt=0.1, jit=False
    )
    sim.run(T=1.0)
    res = sim.results()
    assert (res["step"][0], res.step[0]) == (1.0, 0)
    assert len(res.to_pandas()) == 11


def test_html_escapes_what_it_shows() -> None:
    sim = ring()
    nasty = "<script>alert('x')</script>&"
    sim.run(T=1.0, tag=nasty)
    page = sim.results()._repr_html_()
    assert nasty not in page
    assert html.escape(nasty) in page
